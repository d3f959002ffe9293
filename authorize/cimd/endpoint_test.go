package cimd_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	"github.com/usher-auth/usher/authorize/cimd"
	"github.com/usher-auth/usher/authorize/tokenendpoint"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// endpoint is a real one with consent, and the server of a client that has a document. Both
// are on loopback, as they are while somebody develops.
type endpoint struct {
	t       *testing.T
	handler *authorize.Handler
	browser *authorizetest.Browser
	client  authorizetest.Client
	now     time.Time

	answer  http.HandlerFunc
	fetches atomic.Int64
}

const endpointIssuer = "http://127.0.0.1:8080"

func newEndpoint(t *testing.T) *endpoint {
	t.Helper()
	e := &endpoint{t: t, now: time.Now()}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.fetches.Add(1)
		e.answer(w, r)
	}))
	t.Cleanup(server.Close)
	e.client = authorizetest.Client{
		Issuer: endpointIssuer, ID: server.URL + "/client.json",
		RedirectURI: "https://client.example/callback", Scopes: []string{"notes:read"},
	}
	e.publish(e.client.RedirectURI)

	memory := authorize.NewMemory(authorize.MemoryConfig{})
	signedIn := e.now
	clock := func() time.Time { return e.now }
	clients, err := cimd.New(cimd.Config{Issuer: endpointIssuer, Clients: memory, Scopes: e.client.Scopes, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	e.handler, err = authorize.New(authorize.Config{
		Issuer: endpointIssuer, Clients: clients, Codes: memory, Now: clock,
		Login:   authorize.LoginURL("/login"),
		Consent: &authorize.Consent{Page: "/consent", Store: memory},
		Sessions: authorize.SessionFunc(func(*http.Request) (*session.Session, error) {
			return &session.Session{Subject: "alice", AuthTime: signedIn}, nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/authorize", e.handler)
	mux.HandleFunc("/consent", func(w http.ResponseWriter, r *http.Request) {
		pending, err := e.handler.Pending(r)
		switch {
		case err != nil:
			e.handler.ShowError(w, r, err)
		case r.Method == http.MethodPost:
			e.handler.Grant(w, r, authorize.Granted{Scopes: pending.Request.Scopes})
		default:
			w.Header().Set("Content-Type", "text/html")
			w.Write([]byte(`<form method="post"><button>Allow ` + pending.Request.Client.DisplayName() + `</button></form>`))
		}
	})
	e.browser = authorizetest.NewBrowser()
	e.browser.Handle(endpointIssuer, mux)
	return e
}

func (e *endpoint) publish(redirectURIs ...string) {
	e.answer = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		json.NewEncoder(w).Encode(map[string]any{"client_id": e.client.ID, "client_name": "Notes", "redirect_uris": redirectURIs})
	}
}

// open begins a sign-in and says where the browser ends.
func (e *endpoint) open() (*authorizetest.Flow, *authorizetest.Page) {
	e.t.Helper()
	flow := e.client.Start()
	page, err := e.browser.Open(flow.URL)
	if err != nil {
		e.t.Fatal(err)
	}
	return flow, page
}

func (e *endpoint) wantCode(flow *authorizetest.Flow, page *authorizetest.Page) {
	e.t.Helper()
	if code, err := flow.Check(page.Request); err != nil || code == "" {
		e.t.Fatalf("no code: %v\n%s", err, page)
	}
}

func (e *endpoint) allow(page *authorizetest.Page) *authorizetest.Page {
	e.t.Helper()
	if page.URL.Path != "/consent" || !strings.Contains(page.Body, "Allow Notes") {
		e.t.Fatalf("no consent page of the client:\n%s", page)
	}
	page, err := page.Submit(nil)
	if err != nil {
		e.t.Fatal(err)
	}
	return page
}

func TestAClientThatNobodyKnowsGetsItsCode(t *testing.T) {
	e := newEndpoint(t)
	flow, page := e.open()
	e.now = e.now.Add(20 * time.Minute) // the user takes that long, and the document is not to be stored
	e.wantCode(flow, e.allow(page))
	if n := e.fetches.Load(); n != 2 {
		t.Errorf("%d fetches, want one for the page and one for the code", n)
	}
}

// A token endpoint in another process has no document at hand, and never fetches one.
func TestATokenEndpointNeedsNoDocument(t *testing.T) {
	for _, c := range []struct {
		rule  string
		allow bool
		want  error
	}{
		{"the code names the client", true, nil},
		{"the domain is blocked by now", false, oautherr.InvalidClient},
	} {
		t.Run(c.rule, func(t *testing.T) {
			e := newEndpoint(t)
			e.client.TokenEndpoint = endpointIssuer + "/token"
			flow, page := e.open()
			code, err := flow.Check(e.allow(page).Request)
			if err != nil {
				t.Fatal(err)
			}
			clients, err := cimd.New(cimd.Config{
				Issuer: endpointIssuer, Clients: authorize.NewMemory(authorize.MemoryConfig{}), Scopes: e.client.Scopes,
				Allow: func(context.Context, *url.URL) (bool, error) { return c.allow, nil },
			})
			if err != nil {
				t.Fatal(err)
			}
			token, err := tokenendpoint.New(tokenendpoint.Config{
				Clients: clients, Redeem: e.handler.Redeem,
				Issue: func(context.Context, *tokenendpoint.Request, *authorize.Code) (*tokenendpoint.Response, error) {
					return &tokenendpoint.Response{AccessToken: "token"}, nil
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			before := e.fetches.Load()
			if _, err := flow.Exchange(token, code); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if n := e.fetches.Load() - before; n != 0 {
				t.Errorf("the token endpoint made %d fetches", n)
			}
		})
	}
}

func TestConsentIsAskedForAgainWhenTheDocumentChanges(t *testing.T) {
	e := newEndpoint(t)
	flow, page := e.open()
	e.wantCode(flow, e.allow(page))
	e.wantCode(e.open()) // remembered
	e.publish(e.client.RedirectURI, "https://elsewhere.example/callback")
	e.now = e.now.Add(time.Minute)
	flow, page = e.open()
	e.wantCode(flow, e.allow(page))
	e.wantCode(e.open())
}

func TestNobodyFetchesThroughTheEndpointUnseen(t *testing.T) {
	for _, c := range []struct {
		rule    string
		change  func(url.Values)
		header  [2]string
		fetches int64
	}{
		{"a navigation", func(url.Values) {}, [2]string{"Sec-Fetch-Mode", "navigate"}, 1},
		{"a script of a page", func(url.Values) {}, [2]string{"Sec-Fetch-Mode", "cors"}, 0},
		{"a picture of a page", func(url.Values) {}, [2]string{"Sec-Fetch-Mode", "no-cors"}, 0},
		{"without redirect_uri", func(q url.Values) { q.Del("redirect_uri") }, [2]string{"Sec-Fetch-Mode", "navigate"}, 0},
		{"two client_id", func(q url.Values) { q.Add("client_id", "x") }, [2]string{"Sec-Fetch-Mode", "navigate"}, 0},
	} {
		t.Run(c.rule, func(t *testing.T) {
			e := newEndpoint(t)
			u, err := url.Parse(e.client.Start().URL)
			if err != nil {
				t.Fatal(err)
			}
			query := u.Query()
			c.change(query)
			u.RawQuery = query.Encode()
			r := httptest.NewRequest("GET", u.String(), nil)
			r.Header.Set(c.header[0], c.header[1])
			e.handler.ServeHTTP(httptest.NewRecorder(), r)
			e.handler.Explain(t.Context(), u.RawQuery, nil)
			if n := e.fetches.Load(); n != c.fetches {
				t.Errorf("%d fetches, want %d", n, c.fetches)
			}
		})
	}
}

func TestWhatTheUserSeesWithoutADocument(t *testing.T) {
	for _, c := range []struct {
		rule       string
		answer     http.HandlerFunc
		status     int
		text       string
		retryAfter string
	}{
		{"it is missing", http.NotFound, 400, "missing or cannot be used", ""},
		{"its host has an error", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) }, 503, "Try again later", "10"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			e := newEndpoint(t)
			e.answer = c.answer
			_, page := e.open()
			if page.Status != c.status || !strings.Contains(page.Body, c.text) || page.Header.Get("Retry-After") != c.retryAfter {
				t.Errorf("%v\n%s", page.Header, page)
			}
		})
	}
}
