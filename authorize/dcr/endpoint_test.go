package dcr_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	"github.com/usher-auth/usher/authorize/dcr"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// host is a program with a login page, a consent page and the endpoint, and with the keys
// of the registrations for its waiting requests too.
type host struct {
	endpoint *authorize.Handler
	store    *dcr.Store
	browser  *authorizetest.Browser
	session  *session.Session // nil: nobody is signed in
}

func TestARequestWithoutABody(t *testing.T) {
	h := openHost(t)
	r, w := httptest.NewRequest("POST", issuer+"/register", nil), httptest.NewRecorder()
	r.Body = nil // as in an adapter for functions
	r.Header.Set("Content-Type", "application/json")
	if h.store.ServeHTTP(w, r); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "invalid_client_metadata") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func openHost(t *testing.T, changes ...func(*dcr.Config)) *host {
	t.Helper()
	h := &host{}
	// The browser's cookies live by the real clock.
	changes = append(changes, func(c *dcr.Config) { c.Now = nil })
	h.store, _ = open(t, changes...)
	memory := authorize.NewMemory(authorize.MemoryConfig{})
	var err error
	h.endpoint, err = authorize.New(authorize.Config{
		Issuer: issuer, Clients: h.store, Codes: memory, Keys: keys, Login: authorize.LoginURL("/login"),
		Consent: &authorize.Consent{Page: "/consent", Store: memory},
		Sessions: authorize.SessionFunc(func(*http.Request) (*session.Session, error) {
			return h.session, nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/register", h.store)
	mux.Handle("/authorize", h.endpoint)
	form := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte(`<form method="post"><button>Go on</button></form>`))
	}
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			form(w)
			return
		}
		h.session = &session.Session{Subject: "alice", AuthTime: time.Now()}
		h.endpoint.Resume(w, r)
	})
	mux.HandleFunc("/consent", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			form(w)
			return
		}
		h.endpoint.Grant(w, r, authorize.Granted{Scopes: []string{"read"}})
	})
	h.browser = authorizetest.NewBrowser()
	h.browser.Handle(issuer, mux)
	return h
}

func (h *host) page(t *testing.T, page *authorizetest.Page, err error) *authorizetest.Page {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func TestAClientThatHasRegisteredGetsACode(t *testing.T) {
	h := openHost(t)
	id := register(t, h.store, editor)
	longestID, longestURI, _ := longest(t, h.store)
	for _, c := range []struct{ rule, id, redirectURI string }{
		{"https", id, "https://e.example/cb"},
		{"loopback with the port that it registered", id, "http://localhost:80/cb"},
		{"loopback with another port", id, "http://localhost:4711/cb"},
		{"an app", id, "cursor://a/cb"},
		{"the longest client_id", longestID, longestURI},
	} {
		t.Run(c.rule, func(t *testing.T) {
			h.session = nil
			client := authorizetest.Client{Issuer: issuer, ID: c.id, RedirectURI: c.redirectURI, Scopes: []string{"read", "write"}}
			flow := client.Start()
			page, err := h.browser.Open(flow.URL)
			if page = h.page(t, page, err); page.URL.Path != "/login" {
				t.Fatal(page)
			}
			page, err = page.Submit(nil)
			if page = h.page(t, page, err); !page.Left && page.URL.Path == "/consent" {
				page, err = page.Submit(nil)
				page = h.page(t, page, err)
			} else if !strings.HasPrefix(c.redirectURI, "https:") {
				t.Error("consent is remembered where any program could take the code") // RFC 8252 §8.6
			}
			record, err := h.endpoint.Redeem(t.Context(), flow.Redemption(flow.Expect(t, page, nil)))
			if err != nil || record.ClientID != c.id || strings.Join(record.Scopes, " ") != "read" {
				t.Errorf("%+v, %v", record, err)
			}
		})
	}
}

// Nobody makes the endpoint send a browser to an address that anybody could register.
func TestErrorsOfSuchAClientAreShownOnAPage(t *testing.T) {
	h := openHost(t)
	client := authorizetest.Client{
		Issuer: issuer, ID: register(t, h.store, editor), RedirectURI: "https://e.example/cb", Scopes: []string{"read"},
	}
	for rule, changes := range map[string]url.Values{
		"an unknown scope": {"scope": {"admin"}},
		"no page":          {"prompt": {"none"}},
		"no PKCE":          {"code_challenge": nil},
	} {
		t.Run(rule, func(t *testing.T) {
			page, err := h.browser.Open(client.Start(changes).URL)
			if page = h.page(t, page, err); page.Left || page.Status != http.StatusBadRequest {
				t.Errorf("%v %d", page, page.Status)
			}
		})
	}
}

// A client of which the host knows no more is unknown. One of which it cannot know is not.
func TestTheEndpointSaysWhatItIs(t *testing.T) {
	id := register(t, must(open(t)), editor)
	for _, c := range []struct {
		rule, id string
		change   func(*dcr.Config)
		status   int
		text     string
	}{
		{"it cannot be opened", id + "A", func(*dcr.Config) {}, 400, "not known here"},
		{"its key is gone", id, func(c *dcr.Config) { c.Keys = []authorize.Key{{Secret: []byte(strings.Repeat("x", 32))}} },
			400, "connect it again"},
		{"the host says no", id, func(c *dcr.Config) {
			c.Allow = func(_ context.Context, _ dcr.Registration) (bool, error) { return false, nil }
		}, 400, "not known here"},
		{"the host cannot say", id, func(c *dcr.Config) {
			c.Allow = func(_ context.Context, _ dcr.Registration) (bool, error) { return true, oautherr.InvalidClient }
		}, 503, "Try again"},
		{"the host panics", id, func(c *dcr.Config) {
			c.Allow = func(_ context.Context, _ dcr.Registration) (bool, error) { panic("at the host") }
		}, 503, "Try again"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			h := openHost(t, c.change)
			client := authorizetest.Client{Issuer: issuer, ID: c.id, RedirectURI: "https://e.example/cb", Scopes: []string{"read"}}
			page, err := h.browser.Open(client.Start().URL)
			if page = h.page(t, page, err); page.Left || page.Status != c.status || !strings.Contains(page.Body, c.text) {
				t.Errorf("%v %d %s", page, page.Status, page.Body)
			}
		})
	}
}

// Both are JWTs, here of one key: neither can be taken for the other.
func TestAClientIDIsNoWaitingRequestAndNoneIsAClientID(t *testing.T) {
	h := openHost(t)
	id := register(t, h.store, editor)
	client := authorizetest.Client{Issuer: issuer, ID: id, RedirectURI: "https://e.example/cb", Scopes: []string{"read"}}
	page, err := h.browser.Open(client.Start().URL)
	req := h.page(t, page, err).URL.Query().Get("req")
	for _, waiting := range []string{req, "dcr." + req} {
		if client, err := h.store.Client(t.Context(), waiting); req == "" || client != nil {
			t.Errorf("a waiting request is the client %+v, %v", client, err)
		}
	}
	if _, err := h.store.Client(t.Context(), "dcr."+req); err == nil || !strings.Contains(err.Error(), "usher-request+jwt") {
		t.Errorf("%d bytes: %v", len(req), err)
	}
	page, err = h.browser.Open(issuer + "/authorize?req=" + strings.TrimPrefix(id, "dcr."))
	if page = h.page(t, page, err); page.Left || page.Status != http.StatusBadRequest || !strings.Contains(page.Body, "damaged") {
		t.Errorf("%v %d %s", page, page.Status, page.Body)
	}
}
