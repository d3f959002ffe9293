package interop

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestAccountPagesInChromium signs in at one client, edits the account there and goes
// on to a client on another domain, which gets its answer without a login.
func TestAccountPagesInChromium(t *testing.T) {
	b := newTab(t)
	issuer := start(t, "account-pages")
	at := func(host string) string { return strings.Replace(issuer, "127.0.0.1", host, 1) }
	back := func(client, task string) {
		t.Helper()
		if text := b.text("#back"); !strings.Contains(text, task) {
			t.Errorf("the client does not know what it asked for (%s):\n%s", task, text)
		}
		if page := b.page(); !strings.HasPrefix(page, at(client)+"/callback\n") {
			t.Errorf("the page is %s", page)
		}
	}

	b.open(at("client-a.localhost"))
	b.click(`a[href$="x_method=edit-account"]`)
	b.logIn(alice.Password)
	b.decide("allow")
	b.text("input[name=name]")
	b.do(chromedp.SetValue(chromedp.CSS("input[name=name]"), "Alice Edited"))
	b.decide("save")
	back("client-a.localhost", "Edit your account")

	// click waits for the next page: if it were the login, decide would fail.
	b.open(at("client-b.localhost"))
	b.click(`a[href="/go?scope=shop-checkout"]`)
	b.decide("allow")
	back("client-b.localhost", "Sign in and come straight back")
	b.click(`a[href="/go?scope=shop-checkout"]`)
	if passwords := b.finish(); passwords != 0 {
		t.Errorf("alice was asked for her password %d times", passwords)
	}
	back("client-b.localhost", "Sign in and come straight back")

	b.open(issuer + "/")
	if text := b.text("h1"); !strings.Contains(text, "Alice Edited") {
		t.Errorf("the account was not edited:\n%s", text)
	}
}

// TestRegistrationInChromium creates an account during a request.
func TestRegistrationInChromium(t *testing.T) {
	b := newTab(t)
	issuer := start(t, "account-pages")
	b.open(strings.Replace(issuer, "127.0.0.1", "client-b.localhost", 1))
	b.click(`a[href$="x_method=newsletters"]`)
	b.click(`a[href^="/register"]`)
	b.do(
		chromedp.SendKeys(chromedp.CSS("input[name=username]"), "bob"),
		chromedp.SendKeys(chromedp.CSS("input[name=name]"), "Bob"),
		chromedp.SendKeys(chromedp.CSS("input[name=password]"), "bob-password"),
	)
	b.click("button.main")
	b.decide("allow")
	b.do(chromedp.Click(chromedp.CSS("input[value=Offers]")))
	b.click("button.main")
	if text := b.text("#back"); !strings.Contains(text, "Choose your newsletters") {
		t.Errorf("the page says:\n%s", text)
	}
}

// TestHandOverInChromium gives alice's access token to a client in another browser, which
// signs her in there.
func TestHandOverInChromium(t *testing.T) {
	home := newTab(t)
	issuer := start(t, "account-pages")
	client := strings.Replace(issuer, "127.0.0.1", "client-a.localhost", 1)
	home.open(issuer + "/login")
	home.logIn(alice.Password)
	home.click(`form[action="/"] button`)
	token, err := chromedp.Run(home.ctx, chromedp.TextContent(chromedp.CSS(".note code")))
	if err != nil {
		t.Fatal(err)
	}

	b := newTab(t)
	b.open(client)
	b.do(chromedp.SendKeys(chromedp.CSS("#token"), strings.TrimPrefix(token, "Bearer ")))
	b.click(`form[action="/handover"] button`)
	b.decide("allow")
	if text := b.text("input[name=name]"); !strings.Contains(text, "alice") {
		t.Errorf("the page says:\n%s", text)
	}
	if at := b.evaluate("Promise.resolve(location.href)"); strings.Contains(at, "user_ticket") {
		t.Errorf("the ticket is in the address: %s", at)
	}
	b.decide("save")
	if text := b.text("#back"); !strings.Contains(text, "Edit your account") {
		t.Errorf("the page says:\n%s", text)
	}
	b.open(issuer + "/")
	if text := b.text("h1"); !strings.Contains(text, "alice") {
		t.Errorf("nobody is signed in:\n%s", text)
	}
}
