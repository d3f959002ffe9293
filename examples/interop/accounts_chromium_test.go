package interop

import (
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

var bob = user{"bob", "bob-password", map[string]any{"name": "Bob Example"}}

// startAccounts starts the provider for alice, bob and a client that needs no consent.
func startAccounts(t *testing.T, s *site) (issuer string) {
	t.Helper()
	s.FirstParty = true
	return startConfigured(t, config{Clients: []client{s.client}, Users: []user{alice, bob}})
}

// logInAs fills in the login page for a user and submits it.
func (b tab) logInAs(u user) {
	b.t.Helper()
	b.do(
		chromedp.SetValue(chromedp.CSS("input[name=username]"), u.Username),
		chromedp.SendKeys(chromedp.CSS("input[name=password]"), u.Password),
	)
	b.click("form button.main")
}

// subject sends prompt=none and returns the subject that the client gets.
func (s *site) subject(b tab, issuer string) string {
	b.t.Helper()
	b.open(s.ask(issuer, url.Values{"prompt": {"none"}}))
	b.do(chromedp.WaitVisible(chromedp.CSS("#back")))
	code := (<-s.answers).values.Get("code")
	if code == "" {
		return ""
	}
	b.open(issuer + "/")
	return b.evaluate(`Promise.resolve(document.querySelector("main p strong").textContent)`)
}

func TestAccountsInChromium(t *testing.T) {
	b, s := newTab(t), newSite(t)
	issuer := startAccounts(t, s)
	choice := url.Values{"prompt": {"select_account"}}
	answer := url.Values{"state": {"s1"}, "iss": {issuer}}

	// Nobody is signed in yet: first the login page, then one account to choose.
	b.open(s.ask(issuer, choice))
	b.logInAs(alice)
	if text := b.text("button.choose"); !strings.Contains(text, "Alice Example") || !strings.Contains(text, s.Name) {
		t.Errorf("the page says:\n%s", text)
	}
	b.click("a.button") // use another
	b.logInAs(bob)
	s.answer(b, "GET", answer)
	if sub := s.subject(b, issuer); sub != "bob" {
		t.Errorf("%s is active, want bob", sub)
	}

	b.open(s.ask(issuer, choice))
	b.click("button[name=account][value=alice]")
	s.answer(b, "GET", answer)
	if sub := s.subject(b, issuer); sub != "alice" {
		t.Errorf("%s is active, want alice", sub)
	}

	b.open(s.ask(issuer, choice))
	b.decide("deny")
	s.answer(b, "GET", url.Values{"state": {"s1"}, "error": {"access_denied"}})

	// Alice signs out on the page. This does not make Bob active.
	b.open(s.ask(issuer, choice))
	b.click("button[name=signout][value=alice]")
	if text := b.text("button.choose"); strings.Contains(text, "Alice") || !strings.Contains(text, "Bob Example") {
		t.Errorf("the page says:\n%s", text)
	}
	if sub := s.subject(b.another(), issuer); sub != "" {
		t.Errorf("%s is active, want nobody", sub)
	}
	b.click("button[name=account][value=bob]")
	s.answer(b, "GET", answer)
}

// TestAccountsInTwoTabsInChromium chooses in one tab while the other shows the page.
func TestAccountsInTwoTabsInChromium(t *testing.T) {
	first, s := newTab(t), newSite(t)
	issuer := startAccounts(t, s)
	choice := url.Values{"prompt": {"select_account"}}
	first.open(s.ask(issuer, choice))
	first.logInAs(alice)
	second := first.another()
	second.open(s.ask(issuer, url.Values{"prompt": {"select_account"}, "state": {"s2"}, "response_mode": {"form_post"}}))
	second.click("a.button")
	second.logInAs(bob)
	s.answer(second, "POST", url.Values{"state": {"s2"}})

	first.click("button[name=account][value=alice]")
	s.answer(first, "GET", url.Values{"state": {"s1"}})
	if sub := s.subject(first, issuer); sub != "alice" {
		t.Errorf("%s is active, want alice", sub)
	}
}
