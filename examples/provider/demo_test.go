package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// newDemo is the program without a file.
func newDemo(t *testing.T) *provider {
	t.Helper()
	return newProviderOf(t, defaultConfig, "http://127.0.0.1:8080", true)
}

func TestDemo(t *testing.T) {
	p := newDemo(t)
	home := p.page(p.browser.Open(p.issuer + "/"))("You are not signed in")
	login := p.page(home.Click("Try it"))("Sign in")
	if hint := "or as <strong>bob</strong> with the password <strong>bob-password</strong>"; !strings.Contains(login.Body, hint) {
		t.Errorf("the page does not say %q:\n%s", hint, login)
	}
	consent := p.page(login.Submit(as("bob")))("Allow access?")
	back := p.page(consent.Submit(nil, "Allow"))("Demo app")
	for _, want := range []string{"<strong>bob</strong>", "<dt>name</dt><dd>Bob Example</dd>", "<dt>email</dt><dd>bob@example.com</dd>", "<dt>email_verified</dt><dd>false</dd>"} {
		if !strings.Contains(back.Body, want) {
			t.Errorf("the page does not say %q:\n%s", want, back)
		}
	}
	again := p.page(p.browser.Open(back.URL.String()))("Demo app")
	if again.Status != http.StatusBadRequest || strings.Contains(again.Body, "bob") {
		t.Errorf("the same answer was taken twice:\n%s", again)
	}
	p.page(again.Click("Done"))("You are signed in")
}

func TestDemoIsRefused(t *testing.T) {
	p := newDemo(t)
	login := p.page(p.browser.Open(p.issuer + "/try"))("Sign in")
	if back := p.page(login.Submit(nil, "deny"))("Demo app"); !strings.Contains(back.Body, "access_denied") {
		t.Errorf("the page is\n%s", back)
	}
}

// Another site can send the browser to the redirect URI.
func TestDemoTakesOnlyAnswersToItsRequests(t *testing.T) {
	p := newDemo(t)
	p.page(p.browser.Open(p.issuer + "/try"))("Sign in")
	state := ""
	for _, cookie := range p.browser.Cookies(p.issuer + "/callback") {
		if found, ok := strings.CutPrefix(cookie.Name, "demo-"); ok {
			state = found
		}
	}
	for rule, query := range map[string]url.Values{
		"another state":  {"code": {"x"}, "state": {"made-up"}, "iss": {p.issuer}},
		"no state":       {"code": {"x"}, "iss": {p.issuer}},
		"another issuer": {"code": {"x"}, "state": {state}, "iss": {"https://attacker.example"}},
		"no issuer":      {"code": {"x"}, "state": {state}},
	} {
		t.Run(rule, func(t *testing.T) {
			p := p.in(t)
			page := p.page(p.browser.Open(p.issuer + "/callback?" + query.Encode()))("Demo app")
			if page.Status != http.StatusBadRequest || !strings.Contains(page.Body, "did not ask") {
				t.Errorf("the page is\n%s", page)
			}
		})
	}
	answer := url.Values{"code": {"made-up"}, "state": {state}, "iss": {p.issuer}}
	if page := p.page(p.browser.Open(p.issuer + "/callback?" + answer.Encode()))("Demo app"); !strings.Contains(page.Body, "invalid_grant") {
		t.Errorf("a code that nobody issued:\n%s", page)
	}
}

// With a file there is no redirect URI of the demo.
func TestNoDemoWithAFile(t *testing.T) {
	p := newProvider(t)
	home := p.page(p.browser.Open(testIssuer + "/"))("You are not signed in")
	if link, err := home.Click("Try it"); err == nil {
		t.Errorf("there is a demo: %s", link.URL)
	}
	for _, path := range []string{"/try", "/callback"} {
		t.Run(path, func(t *testing.T) {
			if a := p.get(path); a.status != http.StatusNotFound {
				t.Errorf("status %d", a.status)
			}
		})
	}
	if login := p.page(p.browser.Open(testIssuer + "/login"))("Sign in"); strings.Contains(login.Body, "alice-password") {
		t.Errorf("the page tells the passwords of the file:\n%s", login)
	}
}

func TestWelcome(t *testing.T) {
	p := newDemo(t)
	cfg, err := parseConfig(defaultConfig)
	if err != nil {
		t.Fatal(err)
	}
	want := "listening on http://127.0.0.1:8080\nopen http://127.0.0.1:8080 in a browser, choose \"Try it\"" +
		" and sign in as alice with alice-password or bob with bob-password\n"
	if got := p.welcome(p.issuer, cfg, ""); got != want {
		t.Errorf("it prints\n%swant\n%s", got, want)
	}
	if got := newProvider(t).welcome("http://127.0.0.1:8080", cfg, "my.json"); strings.Contains(got, "alice-password") ||
		strings.Contains(got, "Try it") || !strings.Contains(got, "open https://as.example in a browser") || !strings.Contains(got, "my.json") {
		t.Errorf("with a file, it prints\n%s", got)
	}
}
