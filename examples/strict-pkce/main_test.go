package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	oautherr "github.com/usher-auth/usher/errors"
)

// A client's own policy comes on top of the server's.
func TestPartnerRequiresMore(t *testing.T) {
	s := newSite(t)
	for _, without := range []url.Values{nil, {"max_age": {""}}} {
		flow := partnerClient.Start(without)
		if got := flow.Expect(s.t, s.open(flow), oautherr.InvalidRequest); !strings.Contains(got, "max_age") {
			t.Errorf("the client reads %q", got)
		}
	}
	flow := partnerClient.Start(anHour, url.Values{"state": nil})
	flow.Expect(s.t, s.open(flow), oautherr.InvalidRequest)
	s.wantAt(s.open(partnerClient.Start(anHour)), "/login")
	s.wantAt(s.open(appClient.Start()), "/login") // max_age is partner's alone
}

func TestToken(t *testing.T) {
	s := newSite(t)
	flow := appClient.Start()
	code := flow.Expect(t, s.authorize(flow), nil)
	for _, c := range []struct {
		rule   string
		change url.Values
		status int
		want   string
	}{
		{"another grant type", url.Values{"grant_type": {"client_credentials"}}, 400, `{"error":"unsupported_grant_type"}`},
		{"no grant type", url.Values{"grant_type": nil}, 400, `{"error":"unsupported_grant_type"}`},
		{"another verifier", url.Values{"code_verifier": {appClient.Start().Verifier}}, 400, `{"error":"invalid_grant"}`},
		{"another client", url.Values{"client_id": {"partner"}}, 400, `{"error":"invalid_grant"}`},
		{"another redirect URI", url.Values{"redirect_uri": {app}}, 400, `{"error":"invalid_grant"}`},
		{"all of it right, and none of the above used the code up", nil, 200, `{"scopes":["profile"],"sub":"alice"}`},
		{"the same once more", nil, 400, `{"error":"invalid_grant"}`},
	} {
		form := url.Values{
			"grant_type": {"authorization_code"}, "client_id": {"app"}, "redirect_uri": {app + "/"},
			"code": {code}, "code_verifier": {flow.Verifier},
		}
		for name, values := range c.change {
			form[name] = values
		}
		response := s.call("POST", base+"/token", form.Encode(), http.Header{
			"Content-Type": {"application/x-www-form-urlencoded"}, "Origin": {"https://attacker.example"},
		})
		var body json.RawMessage
		if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != c.status || string(body) != c.want {
			t.Errorf("%s: status %d and %s, want %d and %s", c.rule, response.StatusCode, body, c.status, c.want)
		}
		for name, want := range map[string]string{
			"Access-Control-Allow-Origin": app, "Content-Type": "application/json", "Cache-Control": "no-store",
			"X-Content-Type-Options": "nosniff", "Access-Control-Allow-Credentials": "",
		} {
			if got := response.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", c.rule, name, got, want)
			}
		}
	}
}

// The server and its client share a process and nothing else.
func TestOrigins(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		url    string
		status int
		want   string
	}{
		{base + "/", http.StatusSeeOther, app},
		{base + "/login", http.StatusOK, "<h1>Sign in</h1>"},
		{base + "/consent", http.StatusBadRequest, "Sign-in cannot continue"},
		{base + "/client.js", http.StatusNotFound, ""},
		{base + "/pages/login.html", http.StatusNotFound, ""},
		{app + "/", http.StatusOK, `data-issuer="` + base + `"`},
		{app + "/client.js", http.StatusOK, "code_challenge"},
		{app + "/style.css", http.StatusOK, "font"},
		{app + "/login", http.StatusNotFound, ""},
		{app + "/token", http.StatusNotFound, ""},
		{app + path, http.StatusNotFound, ""},
	} {
		response := s.call("GET", c.url, "", nil)
		var body strings.Builder
		if err := response.Write(&body); err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != c.status || !strings.Contains(body.String(), c.want) {
			t.Errorf("%s: want status %d and %q:\n%s", c.url, c.status, c.want, &body)
		}
	}
}

func TestPages(t *testing.T) {
	s := newSite(t)
	login := s.open(appClient.Start())
	consent := s.signIn(login)
	for name, header := range map[string]http.Header{
		"login": login.Header, "consent": consent.Header, "client": s.call("GET", app+"/", "", nil).Header,
	} {
		for field, want := range map[string]string{
			"Content-Type":            "text/html; charset=utf-8",
			"Content-Security-Policy": "default-src 'none'; img-src data:; script-src 'self'; style-src 'self'; connect-src " + base + "; frame-ancestors 'none'; base-uri 'none'",
			"X-Content-Type-Options":  "nosniff",
			"Referrer-Policy":         "same-origin",
			"Cache-Control":           "no-store",
		} {
			if got := header.Get(field); got != want {
				t.Errorf("%s: %s is %q, want %q", name, field, got, want)
			}
		}
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
	s := newSite(t)
	for _, page := range []string{"/login", "/consent"} {
		response := s.call("POST", base+page, "username=alice&password=alice-password&decision=allow", http.Header{
			"Content-Type": {"application/x-www-form-urlencoded"}, "Sec-Fetch-Site": {"cross-site"},
		})
		if response.StatusCode != http.StatusForbidden || response.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: status %d with %v, want 403", page, response.StatusCode, response.Header)
		}
	}
}

func TestMainIsShort(t *testing.T) {
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(source), "\n"); lines >= 150 {
		t.Errorf("main.go has %d lines, want less than 150", lines)
	}
}

func TestLoginPage(t *testing.T) {
	s := newSite(t)
	flow := appClient.Start(url.Values{"login_hint": {"ali"}})
	login := s.open(flow)
	s.wantAt(login, "/login")
	if got := login.Forms[0].Fields.Get("username"); got != "ali" || !strings.Contains(login.Body, "to continue to <strong>Single-page client</strong>") {
		t.Errorf("want the client's name and its hint, got %q:\n%s", got, login)
	}
	again := s.page(login.Submit(url.Values{"username": {"alicia"}, "password": {"alice-password"}}))
	if got := again.Forms[0].Fields.Get("username"); again.Status != http.StatusForbidden || got != "alicia" || !strings.Contains(again.Body, "is wrong") {
		t.Errorf("want the user name that was typed, got %q:\n%s", got, again)
	}
	flow.Expect(s.t, s.page(again.Submit(nil, "Cancel")), oautherr.AccessDenied)

	// Nobody is there to be told of a Cancel if nobody asked.
	if alone := s.page(s.browser.Open(base + "/login")); strings.Contains(alone.Body, "Cancel") || strings.Contains(alone.Body, "to continue") {
		t.Errorf("the page is\n%s", alone)
	}
}

// Another user can sign in from the consent page, and is asked in turn.
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
