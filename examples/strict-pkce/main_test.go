package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/usher-auth/usher/authorize/authorizetest"
	oautherr "github.com/usher-auth/usher/errors"
)

// A client's own policy adds to the server's policy.
func TestPartnerRequiresMore(t *testing.T) {
	s := newSite(t)
	for rule, without := range map[string]url.Values{"left out": nil, "empty": {"max_age": {""}}} {
		if got := s.refused(partnerClient.Start(without), oautherr.InvalidRequest); !strings.Contains(got, "max_age") {
			t.Errorf("%s: the client reads %q", rule, got)
		}
	}
	s.refused(partnerClient.Start(anHour, url.Values{"state": nil}), oautherr.InvalidRequest)
	s.wantAt(s.open(partnerClient.Start(anHour)), "/login")
	s.wantAt(s.open(appClient.Start()), "/login") // only partner has to send max_age
}

// The standard cases of a sign-in.
func TestHost(t *testing.T) {
	submit := func(values url.Values, button string) func(*authorizetest.Page) (*authorizetest.Page, error) {
		return func(page *authorizetest.Page) (*authorizetest.Page, error) { return page.Submit(values, button) }
	}
	authorizetest.TestHost(t, authorizetest.Host{
		Client:        appClient,
		Other:         partnerClient,
		Open:          func(t *testing.T, browser *authorizetest.Browser) { browser.Handle(base, newSite(t).handler) },
		SignIn:        submit(url.Values{"username": {"alice"}, "password": {"alice-password"}}, "Sign in"),
		WrongPassword: submit(url.Values{"username": {"alice"}, "password": {"bob-password"}}, "Sign in"),
		Cancel:        submit(nil, "Cancel"),
		Agree:         submit(nil, "Allow"),
		Deny:          submit(nil, "Deny"),
		Claims:        map[string]string{"phone_number": "<code>phone_number</code>"},
	})
}

func TestToken(t *testing.T) {
	s, flow := newSite(t), appClient.Start()
	tokens, err := flow.Exchange(s.handler, flow.Expect(t, s.authorize(flow), nil))
	if err != nil {
		t.Fatal(err)
	}
	delete(tokens, "access_token") // random
	want := map[string]any{"token_type": "Bearer", "expires_in": 600.0, "scope": "profile", "sub": "alice"}
	if diff := cmp.Diff(want, tokens); diff != "" {
		t.Errorf("the response (-want +got):\n%s", diff)
	}
	response := s.call("POST", base+"/token", "", http.Header{"Origin": {"https://attacker.example"}})
	if response.StatusCode != http.StatusBadRequest {
		t.Errorf("without a form the status is %d", response.StatusCode)
	}
	for name, want := range map[string]string{"Access-Control-Allow-Origin": app, "Access-Control-Allow-Credentials": ""} {
		if got := response.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// The server and its client share only the process.
func TestOrigins(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		rule, url string
		status    int
		want      string
	}{
		{"the server leads to the client", base + "/", http.StatusSeeOther, app},
		{"the login page", base + "/login", http.StatusOK, "<h1>Sign in</h1>"},
		{"the consent page", base + "/consent", http.StatusBadRequest, "Sign-in cannot continue"},
		{"no script of the client at the server", base + "/client.js", http.StatusNotFound, ""},
		{"no files", base + "/pages/login.html", http.StatusNotFound, ""},
		{"the client", app + "/", http.StatusOK, `data-issuer="` + base + `"`},
		{"the client's script", app + "/client.js", http.StatusOK, "code_challenge"},
		{"the client's style", app + "/style.css", http.StatusOK, "font"},
		{"no login page at the client", app + "/login", http.StatusNotFound, ""},
		{"no token endpoint at the client", app + "/token", http.StatusNotFound, ""},
		{"no authorization endpoint at the client", app + path, http.StatusNotFound, ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			response := s.call("GET", c.url, "", nil)
			var body strings.Builder
			if err := response.Write(&body); err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != c.status || !strings.Contains(body.String(), c.want) {
				t.Errorf("want status %d and %q:\n%s", c.status, c.want, &body)
			}
		})
	}
}

func TestPages(t *testing.T) {
	s := newSite(t)
	login := s.open(appClient.Start())
	consent := s.signIn(login)
	for name, header := range map[string]http.Header{
		"login": login.Header, "consent": consent.Header, "client": s.call("GET", app+"/", "", nil).Header,
	} {
		t.Run(name, func(t *testing.T) {
			for field, want := range map[string]string{
				"Content-Type":            "text/html; charset=utf-8",
				"Content-Security-Policy": "default-src 'none'; img-src data:; script-src 'self'; style-src 'self'; connect-src " + base + "; frame-ancestors 'none'; base-uri 'none'",
				"X-Content-Type-Options":  "nosniff",
				"Referrer-Policy":         "same-origin",
				"Cache-Control":           "no-store",
			} {
				if got := header.Get(field); got != want {
					t.Errorf("%s is %q, want %q", field, got, want)
				}
			}
		})
	}
}

func TestLoginByItself(t *testing.T) {
	s := newSite(t)
	login := s.page(s.browser.Open(base + "/login"))
	if after := s.signIn(login); !after.Left || after.URL.String() != app {
		t.Errorf("want the client:\n%s", after)
	}
	s.wantAt(s.open(appClient.Start()), "/consent")
}

func TestOtherSitesCannotPostForms(t *testing.T) {
	for _, page := range []string{"/login", "/consent"} {
		t.Run(page, func(t *testing.T) {
			s := newSite(t)
			form := url.Values{"username": {"alice"}, "password": {"alice-password"}, "decision": {"allow"}}
			refused := s.page(s.browser.PostFrom("https://attacker.example/", base+page, form))
			if refused.Status != http.StatusForbidden || refused.Header.Get("Set-Cookie") != "" {
				t.Errorf("want status 403 and no cookie, got %v:\n%s", refused.Header, refused)
			}
		})
	}
}

func TestLoginPage(t *testing.T) {
	s := newSite(t)
	login := s.open(appClient.Start(url.Values{"login_hint": {"ali"}}))
	s.wantAt(login, "/login")
	if got := login.Forms[0].Fields.Get("username"); got != "ali" || !strings.Contains(login.Body, "to continue to <strong>Single-page client</strong>") {
		t.Errorf("want the client's name and its hint, got %q:\n%s", got, login)
	}
	again := s.page(login.Submit(url.Values{"username": {"alicia"}, "password": {"alice-password"}}))
	if got := again.Forms[0].Fields.Get("username"); again.Status != http.StatusForbidden || got != "alicia" || !strings.Contains(again.Body, "is wrong") {
		t.Errorf("want the user name that was typed, got %q:\n%s", got, again)
	}

	// Without a request there is no Cancel.
	if alone := s.page(s.browser.Open(base + "/login")); strings.Contains(alone.Body, "Cancel") || strings.Contains(alone.Body, "to continue") {
		t.Errorf("the page is\n%s", alone)
	}
}

// If another user signs in from the consent page, this user is asked.
func TestConsentIsForWhoIsSignedIn(t *testing.T) {
	s := newSite(t)
	flow := appClient.Start()
	consent := s.signIn(s.open(flow))
	if !strings.Contains(consent.Body, "signed in as <strong>alice</strong>") {
		t.Errorf("the page is\n%s", consent)
	}
	login, err := consent.Click("Not you?")
	again := s.signIn(s.page(login, err))
	s.redeem(flow, s.allow(again))

	s = newSite(t)
	consent = s.signIn(s.open(appClient.Start()))
	if err := s.browser.SetCookies(base, &http.Cookie{Name: cookieName, Value: "gone", Path: "/"}); err != nil {
		t.Fatal(err)
	}
	s.wantAt(s.page(s.browser.Open(consent.URL.String())), "/login")
}
