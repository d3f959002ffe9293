package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/authorize/authorizetest"
	oautherr "github.com/usher-auth/usher/errors"
)

// Three unrelated domains.
const (
	issuer  = "https://accounts.example"
	urlA    = "https://club.test"
	urlB    = "https://shop.invalid"
	jsonOfA = `{"session":"a1","back":"/läden?x=1&y=2#z","list":[1,2]}`
)

var alice = url.Values{"username": {"alice"}, "password": {"alice-password"}}

// world is the whole program and one browser. The browser cannot reach the clients' redirect
// URIs, so it stops at a response.
type world struct {
	t       *testing.T
	server  *server
	handler http.Handler
	browser *authorizetest.Browser
	visited []string // paths at the issuer, in order
	token   string   // sent in the Authorization header if it is set
}

func newWorld(t *testing.T, more ...func(*server)) *world {
	t.Helper()
	s, err := newServer(issuer, urlA, urlB)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range more {
		change(s)
	}
	w := &world{t: t, server: s}
	if w.handler, err = s.handler(); err != nil {
		t.Fatal(err)
	}
	w.newBrowser()
	return w
}

// in is the same world for a subtest.
func (w world) in(t *testing.T) *world {
	w.t = t
	return &w
}

// newBrowser uses a new browser without cookies.
func (w *world) newBrowser() {
	w.browser = authorizetest.NewBrowser()
	w.browser.Handle(issuer, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.visited = append(w.visited, r.URL.Path)
		if w.token != "" {
			r.Header.Set("Authorization", "Bearer "+w.token)
		}
		w.handler.ServeHTTP(rw, r)
	}))
}

// call sends one request without the browser, with a form and with pairs of a header and its
// value.
func (w *world) call(method, address string, form url.Values, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, address, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for header := range slices.Chunk(headers, 2) {
		r.Header.Add(header[0], header[1])
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return rec
}

// makeToken makes an access token as the signed-in user.
func (w *world) makeToken() (token string, home *authorizetest.Page) {
	w.t.Helper()
	home = w.submit(w.visit(issuer+"/"), nil, "Make an access token")
	_, token, found := strings.Cut(home.Body, "Bearer ")
	token, _, ended := strings.Cut(token, "<")
	if !found || !ended {
		w.t.Fatalf("there is no token:\n%s", home)
	}
	return token, home
}

// request is a request of a client for the account page. changes replace parameters; a name
// without values removes its parameter.
func request(client string, changes ...url.Values) *authorizetest.Flow {
	c := authorizetest.Client{Issuer: issuer, Endpoint: issuer + "/oauth2/authorize", ID: client}
	switch client {
	case "client-b":
		c.RedirectURI, c.Scopes = urlB+"/callback", []string{"shop-checkout"}
	case "former-partner":
		c.RedirectURI, c.Scopes = urlA+"/former-partner", []string{"club-profile"}
	default:
		c.RedirectURI, c.Scopes = urlA+"/callback", []string{"club-profile"}
	}
	method := url.Values{
		"response_type": {"none"}, "x_method": {"edit-account"},
		"code_challenge": nil, "code_challenge_method": nil,
	}
	return c.Start(append([]url.Values{method}, changes...)...)
}

// open follows a link of the client's site to the endpoint.
func (w *world) open(f *authorizetest.Flow) *authorizetest.Page {
	w.t.Helper()
	w.visited = nil
	return w.page(w.browser.OpenFrom(urlA+"/", f.URL))
}

func (w *world) visit(address string) *authorizetest.Page {
	w.t.Helper()
	return w.page(w.browser.Open(address))
}

func (w *world) click(page *authorizetest.Page, link string) *authorizetest.Page {
	w.t.Helper()
	return w.page(page.Click(link))
}

func (w *world) submit(page *authorizetest.Page, values url.Values, button ...string) *authorizetest.Page {
	w.t.Helper()
	return w.page(page.Submit(values, button...))
}

func (w *world) page(page *authorizetest.Page, err error) *authorizetest.Page {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	return page
}

// refused follows a link that leads back to the client with an error.
func (w *world) refused(f *authorizetest.Flow, want oautherr.Code) {
	w.t.Helper()
	f.Expect(w.t, w.open(f), want)
}

// signIn signs alice in without any client.
func (w *world) signIn() {
	w.t.Helper()
	w.at(w.submit(w.visit(issuer+"/login"), alice), "/")
}

func (w *world) signOut() {
	w.t.Helper()
	w.submit(w.visit(issuer+"/"), nil, "Sign out")
}

// agree signs alice in and gives consent to the client, which is remembered.
func (w *world) agree(client string) {
	w.t.Helper()
	w.signIn()
	f := request(client, url.Values{"x_method": nil})
	w.answered(f, w.submit(w.at(w.open(f), "/consent"), nil, "Allow"))
}

// at checks which page this is.
func (w *world) at(page *authorizetest.Page, path string) *authorizetest.Page {
	w.t.Helper()
	if page.Left || page.URL.Path != path || !strings.HasPrefix(page.URL.String(), issuer) {
		w.t.Fatalf("the browser is at %s, want %s:\n%s", page.URL, path, page)
	}
	return page
}

// answered checks that the browser returns to the client with state and iss, and with
// neither a code nor a token.
func (w *world) answered(f *authorizetest.Flow, page *authorizetest.Page) {
	w.t.Helper()
	f.Expect(w.t, page, nil)
	query := page.URL.Query()
	for name := range query {
		if name != "state" && name != "iss" {
			w.t.Errorf("the answer has %s=%s", name, query.Get(name))
		}
	}
}

// shown checks that the user sees the error on a page without a redirect. The page must not
// show an unchecked address.
func (w *world) shown(page *authorizetest.Page, code oautherr.Code) {
	w.t.Helper()
	if page.Left || page.Status != http.StatusBadRequest || !strings.Contains(page.Body, string(code)) || strings.Contains(page.Body, "attacker.example") {
		w.t.Errorf("want status 400 and a page with %s:\n%s", code, page)
	}
}
