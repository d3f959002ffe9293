package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

const (
	base = "http://127.0.0.1:8080"
	app  = "http://client.localhost:8080"
)

// The clients of the tests. Only the policy under test applies to lax; see newSite.
var (
	appClient     = authorizetest.Client{Issuer: base, Endpoint: base + path, ID: "app", RedirectURI: app + "/", Scopes: []string{"profile"}, TokenEndpoint: base + "/token"}
	partnerClient = authorizetest.Client{Issuer: base, Endpoint: base + path, ID: "partner", RedirectURI: "https://partner.example/callback", Scopes: []string{"profile"}}
	laxClient     = authorizetest.Client{Issuer: base, Endpoint: base + path, ID: "lax", RedirectURI: "https://lax.example/callback", Scopes: []string{"profile"}}

	// anHour is the parameter that partner has to add to its requests.
	anHour = url.Values{"max_age": {"3600"}}
)

// site is the program and a browser without cookies.
type site struct {
	t       *testing.T
	server  *server
	handler http.Handler
	browser *authorizetest.Browser
}

// newSite starts the program with these changes and with one more client, lax, which may leave
// out all optional parameters.
func newSite(t *testing.T, changes ...policy) *site {
	t.Helper()
	sessions, err := session.NewCookies(session.Config{Insecure: true, Name: cookieName})
	if err != nil {
		t.Fatal(err)
	}
	config := configure(base, app, sessions)
	lax := authorize.Client{
		ID: "lax", RedirectURIs: []string{laxClient.RedirectURI}, DefaultRedirectURI: true,
		Scopes: laxClient.Scopes, DefaultScopes: laxClient.Scopes, PKCEOptional: true,
	}
	for _, change := range changes {
		change(&config, &lax)
	}
	if err := config.Clients.(*authorize.Memory).PutClient(lax); err != nil {
		t.Fatal(err)
	}
	endpoint, err := authorize.New(config)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := newTokens(config, endpoint)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, server: &server{endpoint, tokens, sessions, base, app}, browser: authorizetest.NewBrowser()}
	s.handler = s.server.routes()
	s.browser.Handle(base, s.handler)
	return s
}

// policy changes the required parameters, for the server or for a client.
type policy func(c *authorize.Config, lax *authorize.Client)

func serverPolicy(*authorize.Config, *authorize.Client) {}

func clientPolicy(c *authorize.Config, lax *authorize.Client) { c.Require, lax.Require = nil, required }

func noPolicy(c *authorize.Config, _ *authorize.Client) { c.Require = nil }

// page fails the test if there is no page.
func (s *site) page(page *authorizetest.Page, err error) *authorizetest.Page {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	return page
}

// open follows the client's link in the browser.
func (s *site) open(flow *authorizetest.Flow) *authorizetest.Page {
	s.t.Helper()
	return s.page(s.browser.OpenFrom("https://elsewhere.example/", flow.URL))
}

// refused follows a link that leads back to the client with an error, and returns its text.
func (s *site) refused(flow *authorizetest.Flow, want oautherr.Code) (description string) {
	s.t.Helper()
	return flow.Expect(s.t, s.open(flow), want)
}

// signIn fills in the login page.
func (s *site) signIn(page *authorizetest.Page) *authorizetest.Page {
	s.t.Helper()
	s.wantAt(page, "/login")
	return s.page(page.Submit(url.Values{"username": {"alice"}, "password": {"alice-password"}}))
}

// allow agrees on the consent page.
func (s *site) allow(page *authorizetest.Page) *authorizetest.Page {
	s.t.Helper()
	s.wantAt(page, "/consent")
	return s.page(page.Submit(nil, "Allow"))
}

// authorize follows the client's link and completes all pages, up to the response.
func (s *site) authorize(flow *authorizetest.Flow) *authorizetest.Page {
	s.t.Helper()
	return s.allow(s.signIn(s.open(flow)))
}

// redeem checks the response and redeems its code.
func (s *site) redeem(flow *authorizetest.Flow, answer *authorizetest.Page) *authorize.Code {
	s.t.Helper()
	code := flow.Expect(s.t, answer, nil)
	record, err := s.server.endpoint.Redeem(context.Background(), flow.Redemption(code))
	if err != nil {
		s.t.Fatal(err)
	}
	return record
}

func (s *site) wantAt(page *authorizetest.Page, path string) {
	s.t.Helper()
	if page.Left || page.URL.Path != path || page.Status != http.StatusOK {
		s.t.Fatalf("want the page %s:\n%s", path, page)
	}
}

// wantErrorPage expects an error page and no response to the client.
func (s *site) wantErrorPage(page *authorizetest.Page, want oautherr.Code) {
	s.t.Helper()
	if page.Left || page.Status != http.StatusBadRequest || !strings.Contains(page.Body, string(want)) {
		s.t.Errorf("want %s on a page:\n%s", want, page)
	}
}

// call sends one request without a browser.
func (s *site) call(method, url, body string, header http.Header) *http.Response {
	s.t.Helper()
	r := httptest.NewRequest(method, url, strings.NewReader(body))
	for name, values := range header {
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w.Result()
}
