package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize/authorizetest"
	oautherr "github.com/usher-auth/usher/errors"
)

var selectAccount = url.Values{"prompt": {"select_account"}}

// signInAnother signs a user in beside those who are signed in already.
func (p *provider) signInAnother(name string) {
	p.t.Helper()
	login := p.page(p.browser.Open(p.origin + p.path + "/login?another"))("Sign in")
	p.page(login.Submit(as(name)))("You are signed in")
}

// withAliceAndBob has both signed in; bob is the active one.
func withAliceAndBob(t *testing.T) *provider {
	t.Helper()
	p := newProvider(t)
	p.signInAlone("alice")
	p.signInAnother("bob")
	return p
}

// choice opens a request that asks for a choice of accounts.
func (p *provider) choice(client string, changes ...url.Values) (*authorizetest.Flow, *authorizetest.Page) {
	p.t.Helper()
	flow := p.client(client).Start(append([]url.Values{selectAccount}, changes...)...)
	return flow, p.page(p.browser.Open(flow.URL))("Choose an account")
}

// subject redeems the code that the browser takes to the trusted client.
func (p *provider) subject(flow *authorizetest.Flow, page *authorizetest.Page, err error) any {
	p.t.Helper()
	code := p.code(flow, page, err)
	return p.idTokenOf(p.redeem(flow, code, basic("own", "own-secret")))["sub"]
}

// lists checks which accounts the page offers, in order.
func (p *provider) lists(page *authorizetest.Page, want ...string) {
	p.t.Helper()
	var got []string
	for _, b := range page.Forms[0].Buttons {
		if b.Name == "account" {
			got = append(got, b.Value)
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		p.t.Errorf("the page lists %q, want %q:\n%s", got, want, page)
	}
}

func TestChooseAnAccount(t *testing.T) {
	for name, other := range map[string]string{"alice": "bob", "bob": "alice"} {
		t.Run(name, func(t *testing.T) {
			p := withAliceAndBob(t)
			p.clock = p.clock.Add(5 * time.Minute)
			flow, page := p.choice("own")
			p.lists(page, "bob", "alice")
			for _, want := range []string{
				"<strong>own</strong>", "<strong>Alice</strong> <small>alice, signed in 5 minutes ago</small>",
				"<strong>bob</strong> <small>signed in 5 minutes ago, in use</small>",
			} {
				if !strings.Contains(page.Body, want) {
					t.Errorf("the page lacks %s:\n%s", want, page)
				}
			}
			checkPageHeaders(t, "/accounts", page.Header)
			answer, err := page.Submit(nil, name)
			if sub := p.subject(flow, answer, err); sub != name {
				t.Errorf("the code is for %v, want %s", sub, name)
			}

			// It is the active account from then on; nobody is asked for it.
			for _, changes := range []url.Values{nil, {"prompt": {"none"}}} {
				flow = p.client("own").Start(changes)
				answer, err = p.browser.Open(flow.URL)
				if sub := p.subject(flow, answer, err); sub != name {
					t.Errorf("%v: the code is for %v, want %s", changes, sub, name)
				}
			}
			_, page = p.choice("own")
			p.lists(page, name, other)
		})
	}
}

// The sign-in and the choice are one: the browser goes from the login page to the client.
func TestUseAnotherAccount(t *testing.T) {
	p := newProvider(t)
	p.signInAlone("alice")
	flow, page := p.choice("own")
	p.lists(page, "alice")
	login := p.page(page.Click("Use another account"))("Sign in")
	back := p.page(login.Click("Choose an account that is signed in"))("Choose an account")
	login = p.page(back.Click("Use another account"))("Sign in")
	login = p.page(login.Submit(url.Values{"username": {"bob"}, "password": {"wrong"}}))("Sign in")
	p.page(login.Click("Choose an account that is signed in"))("Choose an account")
	answer, err := login.Submit(as("bob"))
	if sub := p.subject(flow, answer, err); sub != "bob" {
		t.Errorf("the code is for %v, want bob", sub)
	}
	_, page = p.choice("own")
	p.lists(page, "bob", "alice")
}

func TestNobodyChooses(t *testing.T) {
	p := withAliceAndBob(t)
	flow, page := p.choice("own")
	left, err := page.Submit(nil, "Cancel")
	if err != nil {
		t.Fatal(err)
	}
	flow.Expect(t, left, oautherr.AccessDenied)

	flow, page = p.choice("own")
	page.Forms[0].Buttons[0].Name = "perhaps"
	page = p.page(page.Submit(nil))("Choose an account")
	if page.Status != http.StatusBadRequest {
		t.Errorf("status %d, want 400", page.Status)
	}
	answer, err := page.Submit(nil, "alice")
	p.subject(flow, answer, err)
}

func TestAChoiceOfNobodysAccount(t *testing.T) {
	p := withAliceAndBob(t)
	flow, page := p.choice("own")
	for _, name := range []string{"", "carol", `"><script>`} {
		page.Forms[0].Buttons[0].Value = name
		page = p.page(page.Submit(nil))("Choose an account")
		if page.Status != http.StatusConflict || !strings.Contains(page.Body, "not signed in any more") || strings.Contains(page.Body, "<script>") {
			t.Errorf("%q: status %d, want 409 and a sentence:\n%s", name, page.Status, page)
		}
	}
	answer, err := page.Submit(nil, "alice")
	p.subject(flow, answer, err)
}

// Alice's sign-in expires while the page is shown.
func TestAnAccountExpiresInBetween(t *testing.T) {
	p := withAliceAndBob(t)
	p.clock = p.clock.Add(20 * time.Minute)
	flow, page := p.choice("own") // a use of bob's
	p.lists(page, "bob", "alice")
	p.clock = p.clock.Add(11 * time.Minute)
	page = p.page(page.Submit(nil, "alice"))("Choose an account")
	if page.Status != http.StatusConflict || !strings.Contains(page.Body, "not signed in any more") {
		t.Errorf("status %d, want 409 and a sentence:\n%s", page.Status, page)
	}
	p.lists(page, "bob")
	answer, err := page.Submit(nil, "bob")
	if sub := p.subject(flow, answer, err); sub != "bob" {
		t.Errorf("the code is for %v, want bob", sub)
	}
}

// Everybody signs out in another tab while the page is shown.
func TestAllAccountsEndInBetween(t *testing.T) {
	p := withAliceAndBob(t)
	flow, page := p.choice("own")
	logout := p.page(p.browser.Open(testIssuer + "/logout"))("Sign out")
	if !strings.Contains(logout.Body, "<strong>bob</strong>, <strong>alice</strong>") {
		t.Errorf("the page does not say who signs out:\n%s", logout)
	}
	p.page(logout.Submit(nil))("You are not signed in")
	login := p.page(page.Submit(nil, "alice"))("Sign in")
	if strings.Contains(login.Body, "that is signed in") {
		t.Errorf("there is an account to choose:\n%s", login)
	}
	answer, err := login.Submit(as("alice"))
	if sub := p.subject(flow, answer, err); sub != "alice" {
		t.Errorf("the code is for %v, want alice", sub)
	}
}

func TestSignOneOut(t *testing.T) {
	p := withAliceAndBob(t)
	flow, page := p.choice("own")
	page = p.page(page.Submit(nil, "Sign out bob"))("Choose an account")
	p.lists(page, "alice")
	if strings.Contains(page.Body, "in use") {
		t.Errorf("alice became active without a choice:\n%s", page)
	}
	other := p.client("own").Start()
	p.page(p.browser.Open(other.URL))("Sign in") // nobody is active
	answer, err := page.Submit(nil, "alice")
	if sub := p.subject(flow, answer, err); sub != "alice" {
		t.Errorf("the code is for %v, want alice", sub)
	}

	flow, page = p.choice("own")
	login := p.page(page.Submit(nil, "Sign out alice"))("Sign in")
	answer, err = login.Submit(as("bob"))
	if sub := p.subject(flow, answer, err); sub != "bob" {
		t.Errorf("the code is for %v, want bob", sub)
	}
}

// Nobody is active, but the login page knows that somebody is there.
func TestChooseInPlaceOfSigningIn(t *testing.T) {
	p := withAliceAndBob(t)
	_, page := p.choice("own")
	p.page(page.Submit(nil, "Sign out bob"))("Choose an account")
	flow := p.client("own").Start()
	login := p.page(p.browser.Open(flow.URL))("Sign in")
	page = p.page(login.Click("Choose an account that is signed in"))("Choose an account")
	answer, err := page.Submit(nil, "alice")
	if sub := p.subject(flow, answer, err); sub != "alice" {
		t.Errorf("the code is for %v, want alice", sub)
	}
}

// A hint names alice while bob is active.
func TestChooseTheAccountOfTheHint(t *testing.T) {
	p := newProvider(t)
	p.signInAlone("alice")
	flow, code := p.authorizeOwn()
	hint := url.Values{"id_token_hint": {p.redeem(flow, code, basic("own", "own-secret")).json["id_token"].(string)}}
	p.signInAnother("bob")

	flow = p.client("own").Start(hint)
	login := p.page(p.browser.Open(flow.URL))("Sign in")
	page := p.page(login.Click("Choose an account that is signed in"))("Choose an account")
	p.lists(page, "alice") // bob would not do
	answer, err := page.Submit(nil, "alice")
	if sub := p.subject(flow, answer, err); sub != "alice" {
		t.Errorf("the code is for %v, want alice", sub)
	}

	p.browser = p.newBrowser()
	p.signInAlone("bob")
	login = p.page(p.browser.Open(p.client("own").Start(hint).URL))("Sign in")
	if strings.Contains(login.Body, "that is signed in") {
		t.Errorf("bob is offered as alice:\n%s", login)
	}
}

// A choice is no sign-in: where one is wanted, it comes after the choice, and no account
// is offered in its place.
func TestAChoiceIsNoSignIn(t *testing.T) {
	for name, changes := range map[string]url.Values{
		"max_age":      {"max_age": {"30"}},
		"prompt=login": {"prompt": {"login select_account"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := withAliceAndBob(t)
			p.clock = p.clock.Add(time.Minute)
			flow := p.client("own").Start(selectAccount, changes)
			page, err := p.browser.Open(flow.URL)
			logins := 0
			for range 5 {
				switch {
				case err != nil:
					t.Fatal(err)
				case page.Left:
					code := p.code(flow, page, err)
					claims := p.idTokenOf(p.redeem(flow, code, basic("own", "own-secret")))
					if claims["sub"] != "alice" || claims["auth_time"] != float64(p.clock.Unix()) || logins == 0 {
						t.Errorf("after %d logins the code is for %v", logins, claims)
					}
					return
				case strings.Contains(page.Body, "<title>Choose"):
					page, err = page.Submit(nil, "alice")
				default:
					if strings.Contains(page.Body, "that is signed in") {
						t.Errorf("an account is offered in place of a new sign-in:\n%s", page)
					}
					logins++
					page, err = page.Submit(as("alice"))
				}
			}
			t.Errorf("the pages do not end:\n%s", page)
		})
	}
}

// Whoever is asked for consent is the one who was chosen.
func TestChooseAndConsent(t *testing.T) {
	p := withAliceAndBob(t)
	flow := p.client("web").Start(selectAccount)
	page := p.page(p.browser.Open(flow.URL))("Choose an account")
	page = p.page(page.Submit(nil, "alice"))("Allow access?")
	answer, err := page.Submit(nil, "allow")
	code := p.code(flow, answer, err)
	if sub := p.idTokenOf(p.redeem(flow, code, basic("web", "web s3cret:%+é")))["sub"]; sub != "alice" {
		t.Errorf("the code is for %v, want alice", sub)
	}

	// "Not you?" leads to the same page.
	consent := p.page(p.browser.Open(p.client("web").Start(url.Values{"prompt": {"consent"}}).URL))("Allow access?")
	page = p.page(consent.Click("Not you?"))("Choose an account")
	consent = p.page(page.Submit(nil, "bob"))("Allow access?")
	if !strings.Contains(consent.Body, "<strong>bob</strong>") {
		t.Errorf("bob is not asked:\n%s", consent)
	}
}

// The page of one browser in another, where others are signed in.
func TestAChoiceInAnotherBrowser(t *testing.T) {
	p := withAliceAndBob(t)
	_, page := p.choice("own")
	p.browser = p.newBrowser()
	login := p.page(p.browser.Open(page.URL.String()))("Sign in")  // nobody there can be chosen
	anew := p.page(login.Submit(as("alice")))("Choose an account") // the request begins anew
	p.lists(anew, "alice")
	forged := p.page(p.browser.Open(page.URL.String()))("Choose an account")
	p.lists(forged, "alice")
	again := p.page(forged.Submit(nil, "alice"))("Choose an account") // that choice does not count
	if again.URL.String() == forged.URL.String() {
		t.Error("the request of another browser goes on in this one")
	}
}

// The page without any request.
func TestAccountsAlone(t *testing.T) {
	p := newProvider(t)
	p.page(p.browser.Open(testIssuer + "/accounts"))("Sign in")
	p.signInAlone("alice")
	status := p.page(p.browser.Open(testIssuer + "/"))("You are signed in")
	page := p.page(status.Click("Switch account"))("Choose an account")
	if strings.Contains(page.Body, "Cancel") || strings.Contains(page.Body, "to continue") {
		t.Errorf("the page is about a request:\n%s", page)
	}
	login := p.page(page.Click("Use another account"))("Sign in")
	p.page(login.Submit(as("bob")))("You are signed in")
	page = p.page(p.browser.Open(testIssuer + "/accounts"))("Choose an account")
	p.lists(page, "bob", "alice")
	status = p.page(page.Submit(nil, "alice"))("You are signed in")
	if !strings.Contains(status.Body, "<strong>alice</strong>") {
		t.Errorf("alice is not active:\n%s", status)
	}
	page.Forms[0].Buttons[0].Name = "decision"
	page.Forms[0].Buttons[0].Value = "deny" // there is nobody to tell
	page = p.page(page.Submit(nil))("Choose an account")
	page = p.page(page.Submit(nil, "Sign out alice"))("Choose an account")
	p.lists(page, "bob")
	p.page(p.browser.Open(testIssuer + "/"))("You are not signed in")
	login = p.page(p.browser.Open(testIssuer + "/login"))("Sign in")
	page = p.page(login.Click("Choose an account that is signed in"))("Choose an account")
	p.page(page.Submit(nil, "Sign out bob"))("Sign in")
	p.page(p.browser.Open(testIssuer + "/accounts?req=x"))("Sign-in cannot continue")
}

func TestAccountsAtAnIssuerWithAPath(t *testing.T) {
	p := newProviderAt(t, "https://as.example/one")
	p.signInAlone("alice")
	flow, page := p.choice("own")
	login := p.page(page.Click("Use another account"))("Sign in")
	page = p.page(login.Click("Choose an account that is signed in"))("Choose an account")
	page = p.page(page.Submit(nil, "Sign out alice"))("Sign in")
	answer, err := page.Submit(as("bob"))
	if sub := p.subject(flow, answer, err); sub != "bob" {
		t.Errorf("the code is for %v, want bob", sub)
	}
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:                  "just now",
		0:                             "just now",
		59 * time.Second:              "just now",
		time.Minute:                   "1 minute ago",
		119 * time.Second:             "1 minute ago",
		59 * time.Minute:              "59 minutes ago",
		time.Hour:                     "1 hour ago",
		11*time.Hour + 59*time.Minute: "11 hours ago",
	} {
		if got := ago(d); got != want {
			t.Errorf("ago(%v) is %q, want %q", d, got, want)
		}
	}
}
