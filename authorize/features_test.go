package authorize_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	"github.com/usher-auth/usher/authorize/cimd"
	"github.com/usher-auth/usher/authorize/dcr"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

const (
	featureIssuer   = "https://accounts.example"
	featureAPI      = "https://api.example/v1"
	featureCallback = "https://app.example/callback"
	featureDocument = "https://tool.example/client.json"
	featureMetadata = "/.well-known/oauth-authorization-server"
)

// featureHost is a host in which optional features are on or off.
type featureHost struct {
	config   authorize.Config
	endpoint *authorize.Handler
	mux      *http.ServeMux
	members  []map[string]any // of the metadata, from other packages
	fetches  int              // of the document
}

func newFeatureHost(t *testing.T, features ...func(*testing.T, *featureHost)) *featureHost {
	t.Helper()
	memory := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{{
		ID: "app", FirstParty: true, RedirectURIs: []string{featureCallback}, Scopes: []string{"read", "write"},
		ResponseTypes: []string{"code", "none"},
	}}})
	h := &featureHost{mux: http.NewServeMux()}
	h.config = authorize.Config{
		Issuer: featureIssuer, Clients: memory, Codes: memory, Login: authorize.LoginURL("/login"),
		Consent: &authorize.Consent{Page: "/consent", Store: memory},
		Sessions: authorize.SessionFunc(func(*http.Request) (*session.Session, error) {
			return &session.Session{ID: "1", Subject: "alice", AuthTime: time.Now()}, nil
		}),
		ErrorPage: func(w http.ResponseWriter, _ *http.Request, p authorize.PageError) {
			w.WriteHeader(p.Status)
			fmt.Fprint(w, "the error page says ", p.Code)
		},
	}
	for _, feature := range features {
		feature(t, h)
	}
	var err error
	if h.endpoint, err = authorize.New(h.config); err != nil {
		t.Fatal(err)
	}
	h.mux.Handle("/authorize", h.endpoint)
	h.mux.Handle(featureMetadata, h.endpoint.MetadataHandler(h.members...))
	for _, page := range []string{"/consent", "/create", "/terms"} {
		h.mux.HandleFunc(page, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the page ", page) })
	}
	return h
}

// ask returns what the user sees or what the client gets.
func (h *featureHost) ask(t *testing.T, id, name, value string) string {
	t.Helper()
	client := authorizetest.Client{Issuer: featureIssuer, ID: id, RedirectURI: featureCallback, Scopes: []string{"read"}}
	browser, flow := authorizetest.NewBrowser(), client.Start(url.Values{name: {value}})
	browser.Handle(featureIssuer, h.mux)
	page, err := browser.Open(flow.URL)
	if err != nil {
		t.Fatal(err)
	}
	if !page.Left {
		return page.Body
	}
	code, err := flow.Check(page.Request)
	if err != nil {
		return string(oautherr.Of(err).Code)
	}
	if code == "" {
		return "no code"
	}
	record, err := h.endpoint.Redeem(context.Background(), flow.Redemption(code))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("a code for %s at %s", record.Scopes, record.Resources)
}

var featureKeys = []authorize.Key{{Secret: []byte("0123456789abcdef0123456789abcdef")}}

func featureDCR(t *testing.T, h *featureHost) {
	t.Helper()
	store, err := dcr.New(dcr.Config{Clients: h.config.Clients, Issuer: featureIssuer, Keys: featureKeys, Scopes: []string{"read"}})
	if err != nil {
		t.Fatal(err)
	}
	h.config.Clients, h.members = store, append(h.members, store.Metadata())
	h.mux.Handle("/register", store)
}

// register returns the answer of the registration endpoint.
func (h *featureHost) register() (status int, clientID string) {
	r := httptest.NewRequest("POST", featureIssuer+"/register", strings.NewReader(`{"redirect_uris":["`+featureCallback+`"]}`))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.mux.ServeHTTP(w, r)
	var answer struct {
		ClientID string `json:"client_id"`
	}
	json.Unmarshal(w.Body.Bytes(), &answer) // a 404 has none
	return w.Code, answer.ClientID
}

// transport answers with the document, and counts.
type transport struct{ host *featureHost }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.host.fetches++
	body := fmt.Sprintf(`{"client_id": %q, "client_name": "Tool", "redirect_uris": [%q]}`, r.URL, featureCallback)
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)), Request: r,
	}, nil
}

func featureCIMD(t *testing.T, h *featureHost) {
	t.Helper()
	store, err := cimd.New(cimd.Config{
		Clients: h.config.Clients, Issuer: featureIssuer, Scopes: []string{"read"}, Transport: transport{h},
	})
	if err != nil {
		t.Fatal(err)
	}
	h.config.Clients, h.members = store, append(h.members, store.Metadata())
}

func featureResources(_ *testing.T, h *featureHost) {
	h.config.Resources = authorize.ResourceMap{featureAPI: {}}
}

// Each feature is advertised and works where it is on. Where it is off it is not advertised,
// and a request that uses it is refused, or it is ignored. No feature changes another.
func TestEachFeatureIsAdvertisedAndWorksOrNeither(t *testing.T) {
	status, registered := newFeatureHost(t, featureDCR).register()
	if status != http.StatusCreated {
		t.Fatalf("registered with status %d", status)
	}
	features := []struct {
		name   string
		on     func(*testing.T, *featureHost)
		member string // of the metadata, which is the value or has it in its list
		value  any
		use    func(*testing.T, *featureHost) string
		ifOn   string
		ifOff  string
	}{
		{
			name: "resources", on: featureResources, member: "protected_resources", value: featureAPI,
			use: func(t *testing.T, h *featureHost) string {
				return h.ask(t, "app", "resource", featureAPI) + ", " + h.ask(t, "app", "resource", "urn:other")
			},
			ifOn:  "a code for [read] at [" + featureAPI + "], invalid_target",
			ifOff: "a code for [read] at [], a code for [read] at []",
		},
		{
			name: "dcr", on: featureDCR, member: "registration_endpoint", value: featureIssuer + "/register",
			use: func(t *testing.T, h *featureHost) string {
				status, _ := h.register()
				return fmt.Sprint(status, ", ", h.ask(t, registered, "state", "s"))
			},
			ifOn:  "201, the page /consent",
			ifOff: "404, the error page says invalid_client",
		},
		{
			name: "cimd", on: featureCIMD, member: "client_id_metadata_document_supported", value: true,
			use: func(t *testing.T, h *featureHost) string {
				return fmt.Sprint(h.ask(t, featureDocument, "state", "s"), ", fetched ", h.fetches)
			},
			ifOn:  "the page /consent, fetched 1",
			ifOff: "the error page says invalid_client, fetched 0",
		},
		{
			name: "a list of scopes", on: func(_ *testing.T, h *featureHost) { h.config.Scopes = []string{"read"} },
			member: "scopes_supported", value: "read",
			use:   func(t *testing.T, h *featureHost) string { return h.ask(t, "app", "scope", "write") },
			ifOn:  "invalid_scope",
			ifOff: "a code for [write] at []",
		},
		{
			name: "prompt=create", on: func(_ *testing.T, h *featureHost) { h.config.Register = authorize.LoginURL("/create") },
			member: "prompt_values_supported", value: "create",
			use:   func(t *testing.T, h *featureHost) string { return h.ask(t, "app", "prompt", "create") },
			ifOn:  "the page /create",
			ifOff: "invalid_request",
		},
		{
			name: "a prompt of the host's own", on: func(_ *testing.T, h *featureHost) {
				h.config.Interactions = []authorize.Interaction{{Name: "terms", Prompt: "terms", Page: "/terms"}}
			},
			member: "prompt_values_supported", value: "terms",
			use:   func(t *testing.T, h *featureHost) string { return h.ask(t, "app", "prompt", "terms") },
			ifOn:  "the page /terms",
			ifOff: "invalid_request",
		},
		{
			name: "response_type=none", on: func(_ *testing.T, h *featureHost) { h.config.ResponseTypes = []string{"code", "none"} },
			member: "response_types_supported", value: "none",
			use:   func(t *testing.T, h *featureHost) string { return h.ask(t, "app", "response_type", "none") },
			ifOn:  "no code",
			ifOff: "unsupported_response_type",
		},
	}
	for mask := range 1 << len(features) {
		var names []string
		var on []func(*testing.T, *featureHost)
		for i, feature := range features {
			if mask&(1<<i) != 0 {
				names, on = append(names, feature.name), append(on, feature.on)
			}
		}
		t.Run(cmp.Or(strings.Join(names, " and "), "none"), func(t *testing.T) {
			h := newFeatureHost(t, on...)
			w, m := httptest.NewRecorder(), map[string]any{}
			h.mux.ServeHTTP(w, httptest.NewRequest("GET", featureIssuer+featureMetadata, nil))
			if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
				t.Fatal(err)
			}
			for i, feature := range features {
				isOn, got := mask&(1<<i) != 0, m[feature.member]
				list, isList := got.([]any)
				if advertised := isList && slices.Contains(list, feature.value) || reflect.DeepEqual(got, feature.value); advertised != isOn {
					t.Errorf("%s: on: %t, but the metadata have %s: %v", feature.name, isOn, feature.member, got)
				}
				want := feature.ifOff
				if isOn {
					want = feature.ifOn
				}
				if got := feature.use(t, h); got != want {
					t.Errorf("%s: on: %t: %s, want %s", feature.name, isOn, got, want)
				}
			}
		})
	}
}

// A document that is not at hand is not fetched for an explanation, which says so.
func TestExplainDoesNotFetch(t *testing.T) {
	h := newFeatureHost(t, featureDCR, featureCIMD)
	client := authorizetest.Client{Issuer: featureIssuer, ID: featureDocument, RedirectURI: featureCallback, Scopes: []string{"read"}}
	alice := &session.Session{ID: "1", Subject: "alice", AuthTime: time.Now()}
	e := h.endpoint.Explain(context.Background(), client.Start().URL, alice)
	last := e.Checks[len(e.Checks)-1]
	if h.fetches != 0 || e.Action != authorize.ActionPage || e.Reason != authorize.ReasonClientUnreachable ||
		last.Name != "the client is known" || last.Passed || !strings.Contains(last.Detail, "its document is not at hand") {
		t.Errorf("fetched %d times for\n%s", h.fetches, e)
	}
	if got := h.ask(t, featureDocument, "state", "s"); got != "the page /consent" || h.fetches != 1 {
		t.Fatalf("%s, fetched %d times", got, h.fetches)
	}
	if e := h.endpoint.Explain(context.Background(), client.Start().URL, alice); e.Interaction != "consent" || h.fetches != 1 {
		t.Errorf("fetched %d times for\n%s", h.fetches, e)
	}
}

// An explanation asks for the resources and the remembered choice as a request does.
func TestExplainOfResourcesAndGrantData(t *testing.T) {
	for _, c := range []struct {
		name, resource, remembered string
		member, covers             bool
		want                       string // the last line
		detail                     string // of the check that did not pass
	}{
		{"nothing is remembered", featureAPI, "", true, true, "-> interaction consent interaction", "the page of consent is needed"},
		{"what is remembered counts", featureAPI, "acme", true, true, "-> approval satisfied " + featureCallback, ""},
		{"it does not count for this request", featureAPI, "acme", true, false, "-> interaction consent interaction", "the page of consent is needed"},
		{"the user may not choose it any more", featureAPI, "acme", false, true, "-> error access_denied forbidden " + featureCallback, "forbidden"},
		{"another resource", "urn:other", "acme", true, true, "-> error invalid_target " + featureCallback, `Config.Resources has no "urn:other" for this client`},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newFeatureHost(t, featureResources, func(t *testing.T, h *featureHost) {
				store := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{
					{ID: "app", RedirectURIs: []string{featureCallback}, Scopes: []string{"read"}},
				}})
				if c.remembered != "" {
					err := store.SaveConsent(context.Background(), &authorize.ConsentRecord{
						Subject: "alice", ClientID: "app", Scopes: []string{"read"}, Resources: []string{featureAPI}, Data: []byte(c.remembered),
					})
					if err != nil {
						t.Fatal(err)
					}
				}
				h.config.Clients, h.config.Consent.Store = store, store
				h.config.Consent.Covers = func(_ context.Context, r *authorize.ConsentRecord, _ *authorize.Request) (bool, error) {
					return c.covers && string(r.Data) == "acme", nil
				}
				h.config.Allow = func(_ context.Context, _ *session.Session, r *authorize.Request) (bool, error) {
					return r.GrantData == nil || c.member && string(r.GrantData) == "acme", nil
				}
			})
			client := authorizetest.Client{Issuer: featureIssuer, ID: "app", RedirectURI: featureCallback, Scopes: []string{"read"}}
			e := h.endpoint.Explain(context.Background(), client.Start(url.Values{"resource": {c.resource}}).URL,
				&session.Session{ID: "1", Subject: "alice", AuthTime: time.Now()})
			lines := strings.Split(e.String(), "\n")
			if got := lines[len(lines)-1]; got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			failed := slices.IndexFunc(e.Checks, func(check authorize.Check) bool { return !check.Passed })
			if failed < 0 != (c.detail == "") || failed >= 0 && !strings.Contains(e.Checks[failed].Detail, c.detail) {
				t.Errorf("want %q in\n%s", c.detail, e)
			}
		})
	}
}
