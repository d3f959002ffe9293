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

// withAliceAndBob signs both in; bob is the active one.
func withAliceAndBob(t *testing.T) *provider {
	t.Helper()
	p := newProvider(t)
	p.signInAs("alice")
	p.signInAs("bob")
	return p
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
			flow, page := p.begins("own", "Choose an account", selectAccount)
			p.lists(page, "bob", "alice")
			for _, want := range []string{
				"<strong>own</strong>", "<strong>Alice</strong> <small>alice, signed in 5 minutes ago</small>",
				"<strong>bob</strong> <small>signed in 5 minutes ago, active</small>",
			} {
				if !strings.Contains(page.Body, want) {
					t.Errorf("the page lacks %s:\n%s", want, page)
				}
			}
			checkPageHeaders(t, page.Header)
			p.isFor(flow, name)(page.Submit(nil, name))

			// From then on it is the active account, without a question.
			for _, changes := range []url.Values{nil, {"prompt": {"none"}}} {
				flow = p.client("own").Start(changes)
				p.isFor(flow, name)(p.browser.Open(flow.URL))
			}
			_, page = p.begins("own", "Choose an account", selectAccount)
			p.lists(page, name, other)
		})
	}
}

// A sign-in is also the choice: the browser goes from the login page to the client.
func TestUseAnotherAccount(t *testing.T) {
	p := newProvider(t)
	p.signInAs("alice")
	flow, page := p.begins("own", "Choose an account", selectAccount)
	p.lists(page, "alice")
	login := p.page(page.Click("Use another account"))("Sign in")
	back := p.page(login.Click("Choose a signed-in account"))("Choose an account")
	login = p.page(back.Click("Use another account"))("Sign in")
	login = p.page(login.Submit(url.Values{"username": {"bob"}, "password": {"wrong"}}))("Sign in")
	p.page(login.Click("Choose a signed-in account"))("Choose an account")
	p.isFor(flow, "bob")(login.Submit(as("bob")))
	_, page = p.begins("own", "Choose an account", selectAccount)
	p.lists(page, "bob", "alice")
}

func TestNobodyChooses(t *testing.T) {
	p := withAliceAndBob(t)
	flow, page := p.begins("own", "Choose an account", selectAccount)
	p.expect(flow, oautherr.AccessDenied)(page.Submit(nil, "Cancel"))

	flow, page = p.begins("own", "Choose an account", selectAccount)
	page.Forms[0].Buttons[0].Name = "perhaps"
	page = p.page(page.Submit(nil))("Choose an account")
	if page.Status != http.StatusBadRequest {
		t.Errorf("status %d, want 400", page.Status)
	}
	p.isFor(flow, "alice")(page.Submit(nil, "alice"))
}

func TestAChoiceOfNobodysAccount(t *testing.T) {
	for rule, name := range map[string]string{"empty": "", "a user who is not signed in": "carol", "markup": `"><script>`} {
		t.Run(rule, func(t *testing.T) {
			p := withAliceAndBob(t)
			flow, page := p.begins("own", "Choose an account", selectAccount)
			page.Forms[0].Buttons[0].Value = name
			page = p.page(page.Submit(nil))("Choose an account")
			if page.Status != http.StatusConflict || !strings.Contains(page.Body, "not signed in any more") || strings.Contains(page.Body, "<script>") {
				t.Errorf("status %d, want 409 and a sentence:\n%s", page.Status, page)
			}
			p.isFor(flow, "alice")(page.Submit(nil, "alice"))
		})
	}
}

// All accounts are signed out in another tab while the page is shown.
func TestAllAccountsEndInBetween(t *testing.T) {
	p := withAliceAndBob(t)
	flow, page := p.begins("own", "Choose an account", selectAccount)
	logout := p.page(p.browser.Open(testIssuer + "/logout"))("Sign out")
	if !strings.Contains(logout.Body, "<strong>bob</strong>, <strong>alice</strong>") {
		t.Errorf("the page does not say who signs out:\n%s", logout)
	}
	p.page(logout.Submit(nil))("You are not signed in")
	login := p.page(page.Submit(nil, "alice"))("Sign in")
	if strings.Contains(login.Body, "that is signed in") {
		t.Errorf("there is an account to choose:\n%s", login)
	}
	p.isFor(flow, "alice")(login.Submit(as("alice")))
}

func TestSignOneOut(t *testing.T) {
	p := withAliceAndBob(t)
	flow, page := p.begins("own", "Choose an account", selectAccount)
	page = p.page(page.Submit(nil, "Sign out bob"))("Choose an account")
	p.lists(page, "alice")
	if strings.Contains(page.Body, ", active") {
		t.Errorf("alice became active without a choice:\n%s", page)
	}
	other := p.client("own").Start()
	p.page(p.browser.Open(other.URL))("Sign in") // no account is active
	p.isFor(flow, "alice")(page.Submit(nil, "alice"))

	flow, page = p.begins("own", "Choose an account", selectAccount)
	login := p.page(page.Submit(nil, "Sign out alice"))("Sign in")
	p.isFor(flow, "bob")(login.Submit(as("bob")))
}

// No account is active, but the login page offers those that are signed in.
func TestChooseInPlaceOfSigningIn(t *testing.T) {
	p := withAliceAndBob(t)
	_, page := p.begins("own", "Choose an account", selectAccount)
	p.page(page.Submit(nil, "Sign out bob"))("Choose an account")
	flow, login := p.begins("own", "Sign in")
	page = p.page(login.Click("Choose a signed-in account"))("Choose an account")
	p.isFor(flow, "alice")(page.Submit(nil, "alice"))
}

// The hint is for alice while bob is active.
func TestChooseTheAccountOfTheHint(t *testing.T) {
	p := newProvider(t)
	p.signInAs("alice")
	flow, code := p.authorizeOwn()
	hint := url.Values{"id_token_hint": {p.redeem(flow, code).json["id_token"].(string)}}
	p.signInAs("bob")

	flow, login := p.begins("own", "Sign in", hint)
	page := p.page(login.Click("Choose a signed-in account"))("Choose an account")
	p.lists(page, "alice") // bob is not enough
	p.isFor(flow, "alice")(page.Submit(nil, "alice"))

	p.browser = p.newBrowser()
	p.signInAs("bob")
	login = p.page(p.browser.Open(p.client("own").Start(hint).URL))("Sign in")
	if strings.Contains(login.Body, "that is signed in") {
		t.Errorf("bob is offered as alice:\n%s", login)
	}
}

// A choice is not a sign-in. If the request requires a new sign-in, it comes after the choice,
// and the login page offers no account instead.
func TestAChoiceIsNoSignIn(t *testing.T) {
	for name, changes := range map[string]url.Values{
		"max_age":      {"max_age": {"30"}},
		"prompt=login": {"prompt": {"login select_account"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := withAliceAndBob(t)
			p.clock = p.clock.Add(time.Minute)
			flow, first := p.begins("own", "Sign in", selectAccount, changes)
			choice := p.page(first.Submit(as("alice")))("Choose an account")
			second := p.page(choice.Submit(nil, "bob"))("Sign in") // his sign-in is old
			if strings.Contains(first.Body+second.Body, "that is signed in") {
				t.Errorf("an account is offered in place of a new sign-in:\n%s\n%s", first, second)
			}
			claims := p.claims(flow, p.expect(flow, nil)(second.Submit(as("bob"))))
			if claims["sub"] != "bob" || claims["auth_time"] != float64(p.clock.Unix()) {
				t.Errorf("the code is for %v", claims)
			}
		})
	}
}

// The chosen user is asked for consent.
func TestChooseAndConsent(t *testing.T) {
	p := withAliceAndBob(t)
	flow, page := p.begins("web", "Choose an account", selectAccount)
	page = p.page(page.Submit(nil, "alice"))("Allow access?")
	p.isFor(flow, "alice")(page.Submit(nil, "allow"))

	// "Not you?" leads to the same page.
	_, consent := p.begins("web", "Allow access?", url.Values{"prompt": {"consent"}})
	page = p.page(consent.Click("Not you?"))("Choose an account")
	consent = p.page(page.Submit(nil, "bob"))("Allow access?")
	if !strings.Contains(consent.Body, "<strong>bob</strong>") {
		t.Errorf("bob is not asked:\n%s", consent)
	}
}

// The page of one browser is opened in another, where others are signed in.
func TestAChoiceInAnotherBrowser(t *testing.T) {
	p := withAliceAndBob(t)
	_, page := p.begins("own", "Choose an account", selectAccount)
	p.browser = p.newBrowser()
	login := p.page(p.browser.Open(page.URL.String()))("Sign in")  // there is no account to choose
	anew := p.page(login.Submit(as("alice")))("Choose an account") // the request starts again
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
	p.signInAs("alice")
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
	page.Forms[0].Buttons[0].Value = "deny" // no client gets this
	page = p.page(page.Submit(nil))("Choose an account")
	page = p.page(page.Submit(nil, "Sign out alice"))("Choose an account")
	p.lists(page, "bob")
	p.page(p.browser.Open(testIssuer + "/"))("You are not signed in")
	login = p.page(p.browser.Open(testIssuer + "/login"))("Sign in")
	page = p.page(login.Click("Choose a signed-in account"))("Choose an account")
	p.page(page.Submit(nil, "Sign out bob"))("Sign in")
	p.page(p.browser.Open(testIssuer + "/accounts?req=x"))("Sign-in cannot continue")
}

func TestAccountsAtAnIssuerWithAPath(t *testing.T) {
	p := newProviderOf(t, []byte(testConfig), "https://as.example/one", false)
	p.signInAs("alice")
	flow, page := p.begins("own", "Choose an account", selectAccount)
	login := p.page(page.Click("Use another account"))("Sign in")
	page = p.page(login.Click("Choose a signed-in account"))("Choose an account")
	page = p.page(page.Submit(nil, "Sign out alice"))("Sign in")
	p.isFor(flow, "bob")(page.Submit(as("bob")))
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
		t.Run(d.String(), func(t *testing.T) {
			if got := ago(d); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}
