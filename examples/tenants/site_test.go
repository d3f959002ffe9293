package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	oautherr "github.com/usher-auth/usher/errors"
)

const (
	port     = "8080"
	ownPort  = "9090" // of the login process
	callback = "http://app.localhost:8080/callback"
)

var alice = url.Values{"username": {"alice"}, "password": {"alice-password"}}

// world is the whole program with both processes but without sockets, and a browser.
type world struct {
	t       *testing.T
	server  *server
	own     sites
	key     ed25519.PrivateKey // of the login process
	browser *authorizetest.Browser
	clock   time.Time
	calls   []string // from the login process to the main process
	offline bool     // these fail
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, clock: time.Now()}
	now := func() time.Time { return w.clock }
	quiet := slog.New(slog.DiscardHandler)
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.key = private
	work := task{Server: "127.0.0.1:" + port, Token: "login-process"}
	w.own = newOwnSites(work, private, &http.Client{Transport: w}, quiet, now)
	if w.server, err = newServer(surroundings{port, ready{ownPort, public}, work.Token, quiet, now}); err != nil {
		t.Fatal(err)
	}
	w.newBrowser()
	return w
}

// newBrowser uses a new browser without cookies. It cannot reach the application, so it stops
// at a response.
func (w *world) newBrowser() {
	w.browser = authorizetest.NewBrowser()
	w.connect(w.browser)
}

func (w *world) connect(browser *authorizetest.Browser) {
	for _, t := range w.server.tenants {
		browser.Handle(t.issuer, w.server.sites)
		if t.OwnLogin != "" {
			browser.Handle(urlOf(t.host(), ownPort), w.own)
		}
	}
}

// RoundTrip connects the login process to the main process.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	w.calls = append(w.calls, r.URL.Path)
	if w.offline {
		return nil, errors.New("the main process is out of reach")
	}
	r = r.Clone(r.Context())
	r.RequestURI = r.URL.RequestURI()
	recorder := httptest.NewRecorder()
	w.server.sites.ServeHTTP(recorder, r)
	return recorder.Result(), nil
}

func (w *world) tenant(name string) *tenant {
	w.t.Helper()
	for _, t := range w.server.tenants {
		if t.Name == name {
			return t
		}
	}
	w.t.Fatalf("there is no tenant %s", name)
	return nil
}

// forEachTenant runs the test for each tenant, in a new world: with shared pages, with the
// tenant's own pages and with some of each.
func forEachTenant(t *testing.T, test func(w *world, on *tenant)) {
	t.Helper()
	for _, settings := range registry {
		t.Run(settings.Name, func(t *testing.T) {
			w := newWorld(t)
			test(w, w.tenant(settings.Name))
		})
	}
}

// holds runs the test of a rule for each tenant, atEachTenant that of each case.
func holds(t *testing.T, rule string, test func(w *world, on *tenant)) {
	t.Helper()
	t.Run(rule, func(t *testing.T) { forEachTenant(t, test) })
}

func atEachTenant[C any](t *testing.T, cases map[string]C, test func(w *world, on *tenant, c C)) {
	t.Helper()
	for rule, c := range cases {
		holds(t, rule, func(w *world, on *tenant) { test(w, on, c) })
	}
}

// byThemselves are cases whose value is the name.
func byThemselves(values ...string) map[string]string {
	cases := map[string]string{}
	for _, value := range values {
		cases[value] = value
	}
	return cases
}

// clientOf is the tenant's client.
func clientOf(on *tenant) *authorizetest.Client {
	return &authorizetest.Client{Issuer: on.issuer, ID: "notes-" + on.Name, RedirectURI: callback, Scopes: []string{"openid"}}
}

// ask is a request of the tenant's client; changes replace parameters.
func ask(on *tenant, changes ...url.Values) *authorizetest.Flow {
	return clientOf(on).Start(changes...)
}

func (w *world) page(page *authorizetest.Page, err error) *authorizetest.Page {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	return page
}

// open follows a link of the application.
func (w *world) open(flow *authorizetest.Flow) *authorizetest.Page {
	w.t.Helper()
	return w.page(w.browser.OpenFrom("http://app.localhost:8080/", flow.URL))
}

// atLogin checks that this is the tenant's login page, and returns req.
func (w *world) atLogin(on *tenant, page *authorizetest.Page) string {
	w.t.Helper()
	want := map[string]string{
		"acme":    "http://acme.localhost:8080/login",
		"globex":  "http://globex.localhost:9090/login",
		"initech": "http://initech.localhost:9090/login",
	}[on.Name]
	at, query, _ := strings.Cut(page.URL.String(), "?")
	req, found := strings.CutPrefix(query, "req=")
	if page.Left || at != want || page.Status != http.StatusOK || !found {
		w.t.Fatalf("want the login page %s with req:\n%s", want, page)
	}
	return req
}

func (w *world) signIn(on *tenant, page *authorizetest.Page) *authorizetest.Page {
	w.t.Helper()
	w.atLogin(on, page)
	return w.page(page.Submit(alice))
}

// signedIn signs alice in at the tenant.
func (w *world) signedIn(on *tenant) {
	w.t.Helper()
	flow := ask(on)
	w.redeem(on, flow, w.signIn(on, w.open(flow)))
	w.clock = w.clock.Add(time.Minute)
}

// withAndWithout checks something before alice has signed in and afterwards.
func (w *world) withAndWithout(on *tenant, check func()) {
	w.t.Helper()
	check()
	w.signedIn(on)
	check()
}

// refused follows a link that leads back to the client with an error, and returns its text.
func (w *world) refused(flow *authorizetest.Flow, want oautherr.Code) (description string) {
	w.t.Helper()
	return flow.Expect(w.t, w.open(flow), want)
}

// silently gets a code without a page.
func (w *world) silently(on *tenant, changes ...url.Values) {
	w.t.Helper()
	flow := ask(on, changes...)
	w.redeem(on, flow, w.open(flow))
}

// redeem checks the response and redeems its code.
func (w *world) redeem(on *tenant, flow *authorizetest.Flow, answer *authorizetest.Page) *authorize.Code {
	w.t.Helper()
	code := flow.Expect(w.t, answer, nil)
	record, err := on.endpoint.Load().Redeem(context.Background(), flow.Redemption(code))
	if err != nil {
		w.t.Fatal(err)
	}
	if record.Subject != "alice" || record.ClientID != "notes-"+on.Name {
		w.t.Errorf("the code is for %s of %s", record.ClientID, record.Subject)
	}
	return record
}

// onErrorPage expects the tenant's error page, to which the browser was redirected.
func (w *world) onErrorPage(on *tenant, page *authorizetest.Page, want oautherr.Code) {
	w.t.Helper()
	at, heading := "http://"+on.host()+":8080/error", "Sign-in cannot continue"
	if on.OwnErrors {
		at, heading = "http://"+on.host()+":9090/oops", "Oops"
	}
	where, _, _ := strings.Cut(page.URL.String(), "?")
	if page.Left || where != at || page.Status != http.StatusBadRequest || !strings.Contains(page.Body, heading) {
		w.t.Fatalf("want the error page %s:\n%s", at, page)
	}
	query := page.URL.Query()
	if query.Get("error") != string(want) || query.Get("error_description") == "" || query.Get("error_id") == "" {
		w.t.Errorf("the error page is opened with %v, want %s, a description and an id", query, want)
	}
	w.says(page, string(want))
	w.says(page, query.Get("error_id"))
}

// call sends one request without a browser, to the main process.
func (w *world) call(method, address, body string, header http.Header) *http.Response {
	w.t.Helper()
	return callHandler(w.server.sites, method, address, body, header)
}

func callHandler(handler http.Handler, method, address, body string, header http.Header) *http.Response {
	r := httptest.NewRequest(method, address, strings.NewReader(body))
	for name, values := range header {
		r.Header[name] = values
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, r)
	return recorder.Result()
}

// formOf is the header of a form that a page of this site posts.
func formOf(site string) http.Header {
	return http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Sec-Fetch-Site": {site}}
}
