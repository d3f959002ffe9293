package main

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize/authorizetest"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// withClients is a world whose browser can reach the clients' sites too.
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
	first := slices.IndexFunc(page.Links, func(link authorizetest.Link) bool { return link.Text == "Edit your account" })
	if first < 0 {
		t.Fatalf("there is no link to the account:\n%s", page)
	}
	page = w.visit(page.Links[first].URL.String()) // there is one for each entry point
	page = w.submit(w.submit(w.at(page, "/login"), alice), nil, "Allow")
	page = w.submit(page, url.Values{"name": {"Alice B."}}, "Save")
	if page.URL.Host != "club.test" || !strings.Contains(page.Body, "You are back") || !strings.Contains(page.Body, "your choice was “<span id=\"task\">Edit your account</span>”") {
		t.Errorf("the page is\n%s", page)
	}

	page = w.click(w.visit(urlB+"/"), "Sign in and come straight back")
	page = w.submit(w.at(page, "/consent"), nil, "Deny")
	if page.URL.Host != "shop.invalid" || !strings.Contains(page.Body, "access_denied") {
		t.Errorf("the page is\n%s", page)
	}
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
		t.Run(name, func(t *testing.T) {
			if page := w.in(t).visit(urlA + "/callback?" + query.Encode()); page.Status != http.StatusBadRequest {
				t.Errorf("the answer was taken:\n%s", page)
			}
		})
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
	w := newWorld(t)
	f := request("client-a")
	login := w.open(f)
	f.Expect(t, w.submit(login, nil, "Cancel"), oautherr.AccessDenied)

	w = newWorld(t)
	register := w.click(w.open(f), "Create account")
	f.Expect(t, w.submit(register, nil, "Cancel"), oautherr.AccessDenied)
}

func TestAccounts(t *testing.T) {
	a := newAccounts()
	if wrong := a.create("carol", "Carol", "carol-password"); wrong != "" {
		t.Error(wrong)
	}
	for _, c := range []struct{ rule, username, display, password string }{
		{"taken", "alice", "Alice", "alice-password"},
		{"no user name", "", "Carol", "carol-password"},
		{"markup", "<b>", "Carol", "carol-password"},
		{"capitals, which are easily mistaken", "Alice", "Alice", "alice-password"},
		{"no name", "dave", " ", "dave-password"},
		{"a long name", "dave", strings.Repeat("x", 101), "dave-password"},
		{"a short password", "dave", "Dave", "1234567"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if a.create(c.username, c.display, c.password) == "" {
				t.Error("there is such an account now")
			}
		})
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
		t.Run(fmt.Sprintf("%q", header), func(t *testing.T) {
			r.Header.Set("Authorization", header)
			s, err := w.server.whoIsSignedIn(r)
			if err != nil || s.SignedIn() != signedIn {
				t.Errorf("%v, %v", s, err)
			}
		})
	}
}

func TestOtherSitesCannotPostToThePages(t *testing.T) {
	w := newWorld(t)
	for _, route := range []string{"/", "/login", "/register", "/consent", "/edit-account", "/newsletters", "/logout"} {
		t.Run(route, func(t *testing.T) {
			rec := w.call("POST", issuer+route, alice, "Sec-Fetch-Site", "cross-site")
			if rec.Code != http.StatusForbidden || rec.Header().Get("Set-Cookie") != "" {
				t.Errorf("status %d", rec.Code)
			}
		})
	}
}

func TestPageHeaders(t *testing.T) {
	w := withClients(t)
	login := w.open(request("client-a"))
	for whose, page := range map[string]*authorizetest.Page{"the server's": login, "a client's": w.visit(urlA + "/")} {
		t.Run(whose, func(t *testing.T) {
			for name, want := range map[string]string{
				"Cache-Control": "no-store", "Referrer-Policy": "same-origin",
				"X-Content-Type-Options": "nosniff", "Content-Type": "text/html; charset=utf-8",
			} {
				if got := page.Header.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			if strings.Contains(page.Header.Get("Content-Security-Policy"), "form-action") {
				t.Error("a form-action stops answers in Chromium")
			}
		})
	}
	long := strings.Repeat("x", maxForm)
	page := w.submit(login, url.Values{"username": {long}, "password": {"x"}})
	if page.Status != http.StatusBadRequest {
		t.Errorf("status %d for a form that is too long", page.Status)
	}
}

func TestOnlySeeWhetherIAmSignedIn(t *testing.T) {
	w := withClients(t)
	page := w.click(w.visit(urlB+"/"), "Only check whether I am signed in")
	if page.URL.Host != "shop.invalid" || !strings.Contains(page.Body, "login_required") || !strings.Contains(page.Body, "Only check whether I am signed in</span>”") {
		t.Errorf("nobody is signed in, and the page is\n%s", page)
	}
	w.signIn()
	w.submit(w.at(w.click(page, "Sign in and come straight back"), "/consent"), nil, "Allow")
	page = w.click(w.visit(urlB+"/"), "Only check whether I am signed in")
	if page.URL.Host != "shop.invalid" || !strings.Contains(page.Body, "You are back from your account") {
		t.Errorf("alice is signed in, and the page is\n%s", page)
	}
}

// The consent page names only data that an account has.
func TestConsentNamesWhatThereIs(t *testing.T) {
	for entry, what := range entryPoints {
		t.Run(entry, func(t *testing.T) {
			if strings.Contains(what, "email") {
				t.Errorf("it shares %q, which nobody is asked for", what)
			}
		})
	}
}

// The user can leave a page without a change, with a request and without one.
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

// An unknown host has no pages, so no page asks for a password there.
func TestUnknownHosts(t *testing.T) {
	w := newWorld(t)
	for _, host := range []string{"other.example", "www.accounts.example", "accounts.example.attacker.example", "localhost"} {
		t.Run(host, func(t *testing.T) {
			for _, path := range []string{"/", "/login", "/oauth2/authorize", "/callback"} {
				rec := w.call("GET", "https://"+host+path, nil)
				if body := rec.Body.String(); rec.Code != http.StatusNotFound || !strings.Contains(body, "There is no such site") || strings.Contains(body, "<form") {
					t.Errorf("%s: status %d\n%s", path, rec.Code, body)
				}
			}
		})
	}
	if rec := w.call("GET", "https://accounts.example:443/login", nil); rec.Code != http.StatusOK {
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
