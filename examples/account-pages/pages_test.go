package main

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize/authorizetest"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// withClients is a world whose browser knows the clients' sites too.
func withClients(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.browser.Handle(urlA, w.handler)
	w.browser.Handle(urlB, w.handler)
	return w
}

func TestClientsAreServedUnderTheirHosts(t *testing.T) {
	w := withClients(t)
	page := w.visit(urlA + "/")
	if !strings.Contains(page.Body, "The Club") {
		t.Fatalf("the page is\n%s", page)
	}
	links := 0
	for _, link := range page.Links {
		if link.Text == "Edit your account" {
			page = w.visit(link.URL.String())
			links++
			break
		}
	}
	if links == 0 {
		t.Fatalf("there is no link to the account:\n%s", page)
	}
	page = w.submit(w.submit(w.at(page, "/login"), alice), nil, "Allow")
	page = w.submit(page, url.Values{"name": {"Alice B."}}, "Save")
	if page.URL.Host != "club.test" || !strings.Contains(page.Body, "You are back") || !strings.Contains(page.Body, "you had chosen “<span id=\"task\">Edit your account</span>”") {
		t.Errorf("the page is\n%s", page)
	}

	page, err := w.visit(urlB + "/").Click("Sign in and come straight back")
	if err != nil {
		t.Fatal(err)
	}
	page = w.submit(w.at(page, "/consent"), nil, "Deny")
	if page.URL.Host != "shop.invalid" || !strings.Contains(page.Body, "access_denied") {
		t.Errorf("the page is\n%s", page)
	}
}

func (w *world) visit(address string) *authorizetest.Page {
	w.t.Helper()
	page, err := w.browser.Open(address)
	if err != nil {
		w.t.Fatal(err)
	}
	return page
}

func TestClientChecksItsAnswer(t *testing.T) {
	w := newWorld(t)
	w.agree("client-a")
	var answer *url.URL
	w.browser = authorizetest.NewBrowser()
	for _, origin := range []string{issuer, urlA} {
		w.browser.Handle(origin, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/callback" && answer == nil {
				answer = r.URL
				return
			}
			w.handler.ServeHTTP(rw, r)
		}))
	}
	w.signIn()
	w.visit(urlA + "/go?scope=club-profile")
	if answer == nil {
		t.Fatal("there was no answer")
	}
	good := answer.Query()
	text, err := base64.StdEncoding.DecodeString(good.Get("state"))
	if err != nil {
		t.Fatal(err)
	}
	changed := base64.StdEncoding.EncodeToString([]byte(strings.Replace(string(text), "Sign in", "Paid", 1)))
	for name, query := range map[string]url.Values{
		"no iss":              {"state": good["state"]},
		"iss of another":      {"state": good["state"], "iss": {"https://other.example"}},
		"no state":            {"iss": good["iss"]},
		"state of another":    {"iss": good["iss"], "state": {"eyJub25jZSI6IngifQ=="}},
		"state made up":       {"iss": good["iss"], "state": {"x"}},
		"state changed":       {"iss": good["iss"], "state": {changed}},
		"state with more":     {"iss": good["iss"], "state": {good.Get("state") + "x"}},
		"everything, swapped": {"iss": good["state"], "state": good["iss"]},
	} {
		if page := w.visit(urlA + "/callback?" + query.Encode()); page.Status != http.StatusBadRequest {
			t.Errorf("%s: the answer was taken:\n%s", name, page)
		}
	}
	if page := w.visit(urlA + "/callback?" + good.Encode()); page.Status != http.StatusOK {
		t.Errorf("the answer was not taken:\n%s", page)
	}
	if page := w.visit(urlA + "/callback?" + good.Encode()); page.Status != http.StatusBadRequest {
		t.Errorf("the answer was taken twice:\n%s", page)
	}
}

func TestPagesWithoutARequest(t *testing.T) {
	w := newWorld(t)
	w.at(w.visit(issuer+"/"), "/login")
	w.at(w.visit(issuer+"/edit-account"), "/login")
	w.signIn()
	w.at(w.visit(issuer+"/consent"), "/")
	page := w.submit(w.at(w.visit(issuer+"/edit-account"), "/edit-account"), url.Values{"name": {"Alice C."}}, "Save")
	if !strings.Contains(w.at(page, "/").Body, "Hello, Alice C.") {
		t.Errorf("the page is\n%s", page)
	}
	page = w.submit(w.visit(issuer+"/newsletters"), url.Values{"newsletter": {"News", "Offers"}})
	w.at(page, "/")
	page = w.visit(issuer + "/newsletters")
	if strings.Count(page.Body, "checked") != 2 {
		t.Errorf("the choice is lost:\n%s", page)
	}
}

func TestCancelOnTheLoginPage(t *testing.T) {
	for _, link := range []string{"Sign in", "Create account"} {
		w := newWorld(t)
		f := request("client-a")
		page := w.open(f)
		if link == "Create account" {
			var err error
			if page, err = page.Click(link); err != nil {
				t.Fatal(err)
			}
		}
		f.Expect(w.t, w.submit(page, nil, "Cancel"), oautherr.AccessDenied)
	}
}

func TestAccounts(t *testing.T) {
	a := newAccounts()
	for _, c := range []struct {
		name, username, display, password string
		good                              bool
	}{
		{"an ordinary one", "carol", "Carol", "carol-password", true},
		{"taken", "alice", "Alice", "alice-password", false},
		{"no user name", "", "Carol", "carol-password", false},
		{"markup", "<b>", "Carol", "carol-password", false},
		{"capitals, which are easily mistaken", "Alice", "Alice", "alice-password", false},
		{"no name", "dave", " ", "dave-password", false},
		{"a long name", "dave", strings.Repeat("x", 101), "dave-password", false},
		{"a short password", "dave", "Dave", "1234567", false},
	} {
		if wrong := a.create(c.username, c.display, c.password); (wrong == "") != c.good {
			t.Errorf("%s: %q", c.name, wrong)
		}
	}
	if !a.check("carol", "carol-password") || a.check("carol", "alice-password") || a.check("nobody", "") || a.check("dave", "1234567") {
		t.Error("the passwords are not those that were given")
	}
}

func TestTokensExpireAndAreBounded(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	tokens := newTokens(func() time.Time { return now })
	token, err := tokens.issue(session.Session{ID: "1", Subject: "alice"})
	if err != nil || tokens.find(token) == nil || tokens.find("") != nil {
		t.Fatalf("%v", err)
	}
	now = now.Add(tokenLifetime)
	if tokens.find(token) != nil {
		t.Error("an expired token is good")
	}
	for range maxTokens {
		if _, err := tokens.issue(session.Session{ID: "2", Subject: "bob"}); err != nil {
			t.Fatalf("expired tokens take the room: %v", err)
		}
	}
	if _, err := tokens.issue(session.Session{ID: "2", Subject: "bob"}); err == nil {
		t.Error("there is no bound")
	}
}

func TestAuthorizationOfAnotherSchemeLeavesTheCookie(t *testing.T) {
	w := newWorld(t)
	r := httptest.NewRequest("GET", "/", nil)
	if _, err := w.server.cookies.SignIn(httptest.NewRecorder(), r, session.Session{Subject: "alice"}); err != nil {
		t.Fatal(err)
	}
	for header, signedIn := range map[string]bool{"": true, "Basic eDp5": true, "Bearer x": false, "bearer x": false, "Bearer": false} {
		r.Header.Set("Authorization", header)
		s, err := w.server.whoIsSignedIn(r)
		if err != nil || s.SignedIn() != signedIn {
			t.Errorf("%q: %v, %v", header, s, err)
		}
	}
}

func TestOtherSitesCannotPostToThePages(t *testing.T) {
	w := newWorld(t)
	for _, route := range []string{"/", "/login", "/register", "/consent", "/edit-account", "/newsletters", "/logout"} {
		r := httptest.NewRequest("POST", issuer+route, strings.NewReader(alice.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		rec := httptest.NewRecorder()
		w.handler.ServeHTTP(rec, r)
		if rec.Code != http.StatusForbidden || rec.Header().Get("Set-Cookie") != "" {
			t.Errorf("%s: status %d", route, rec.Code)
		}
	}
}

func TestPageHeaders(t *testing.T) {
	w := withClients(t)
	login := w.open(request("client-a"))
	for _, page := range []*authorizetest.Page{login, w.visit(urlA + "/")} {
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "Referrer-Policy": "same-origin",
			"X-Content-Type-Options": "nosniff", "Content-Type": "text/html; charset=utf-8",
		} {
			if got := page.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", page.URL.Path, name, got, want)
			}
		}
		if strings.Contains(page.Header.Get("Content-Security-Policy"), "form-action") {
			t.Error("a form-action stops answers in Chromium")
		}
	}
	long := strings.Repeat("x", maxForm)
	page := w.submit(login, url.Values{"username": {long}, "password": {"x"}})
	if page.Status != http.StatusBadRequest {
		t.Errorf("status %d for a form that is too long", page.Status)
	}
}

func TestOnlySeeWhetherIAmSignedIn(t *testing.T) {
	w := withClients(t)
	page, err := w.visit(urlB + "/").Click("Only see whether I am signed in")
	if err != nil {
		t.Fatal(err)
	}
	if page.URL.Host != "shop.invalid" || !strings.Contains(page.Body, "login_required") || !strings.Contains(page.Body, "Only see whether I am signed in</span>”") {
		t.Errorf("nobody is signed in, and the page is\n%s", page)
	}
	w.signIn()
	if page, err = page.Click("Sign in and come straight back"); err != nil {
		t.Fatal(err)
	}
	w.submit(w.at(page, "/consent"), nil, "Allow")
	if page, err = w.visit(urlB + "/").Click("Only see whether I am signed in"); err != nil {
		t.Fatal(err)
	}
	if page.URL.Host != "shop.invalid" || !strings.Contains(page.Body, "You are back from your account") {
		t.Errorf("alice is signed in, and the page is\n%s", page)
	}
}

// What a client is said to see is what an account has.
func TestConsentNamesWhatThereIs(t *testing.T) {
	for entry, what := range entryPoints {
		if strings.Contains(what, "email") {
			t.Errorf("%s shares %q, which nobody is asked for", entry, what)
		}
	}
}

// A page can be left without a change, with a request and without one.
func TestNewslettersCanBeLeft(t *testing.T) {
	w := newWorld(t)
	w.agree("client-a")
	f := request("client-a", url.Values{"x_method": {"newsletters"}})
	w.answered(f, w.submit(w.open(f), url.Values{"newsletter": {"News"}}, "Skip"))
	w.at(w.submit(w.visit(issuer+"/newsletters"), url.Values{"newsletter": {"News"}}, "Cancel"), "/")
	w.at(w.submit(w.visit(issuer+"/edit-account"), url.Values{"name": {"Other"}}, "Cancel"), "/")
	if x, _ := w.server.accounts.find("alice"); len(x.Newsletters) != 0 || x.Name != "Alice" {
		t.Errorf("the account is %+v", x)
	}
}

// A name that belongs to nobody has no pages, least of all one for a password.
func TestUnknownHosts(t *testing.T) {
	w := newWorld(t)
	for _, host := range []string{"other.example", "www.accounts.example", "accounts.example.attacker.example", "localhost"} {
		for _, path := range []string{"/", "/login", "/oauth2/authorize", "/callback"} {
			r := httptest.NewRequest("GET", "https://"+host+path, nil)
			rec := httptest.NewRecorder()
			w.handler.ServeHTTP(rec, r)
			if body := rec.Body.String(); rec.Code != http.StatusNotFound || !strings.Contains(body, "Nobody lives here") || strings.Contains(body, "<form") {
				t.Errorf("%s%s: status %d\n%s", host, path, rec.Code, body)
			}
		}
	}
	r := httptest.NewRequest("GET", "https://accounts.example:443/login", nil)
	rec := httptest.NewRecorder()
	if w.handler.ServeHTTP(rec, r); rec.Code != http.StatusOK {
		t.Errorf("the issuer with its port: status %d", rec.Code)
	}
}

func TestErrorPage(t *testing.T) {
	w := newWorld(t)
	page := w.open(request("client-a", url.Values{"redirect_uri": {"https://attacker.example/"}}))
	w.shown(page, "redirect_uri_mismatch")
	for _, want := range []string{"An example, made with usher.", "accounts.example", "The Club"} {
		if !strings.Contains(page.Body, want) {
			t.Errorf("the page does not say %q:\n%s", want, page)
		}
	}
	if got := page.Header.Get("Content-Security-Policy"); got != policy {
		t.Errorf("the policy is %q, want that of the other pages", got)
	}
}
