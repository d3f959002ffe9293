package interop

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// startStrict starts strict-pkce and returns its address and that of its client.
func startStrict(t *testing.T) (issuer, client string) {
	t.Helper()
	issuer = start(t, "strict-pkce")
	return issuer, strings.Replace(issuer, "127.0.0.1", "client.localhost", 1)
}

// signInAtClient goes from the client's page through login and consent and back.
func (b tab) signInAtClient(client, decision string) {
	b.t.Helper()
	b.open(client)
	b.click("#sign-in")
	b.logIn(alice.Password)
	b.decide(decision)
}

func TestStrictPKCEInChromium(t *testing.T) {
	b := newTab(t)
	issuer, client := startStrict(t)
	b.open(issuer) // leads to the client
	b.click("#sign-in")
	b.logIn("wrong")
	if text := b.text("p.wrong"); !strings.Contains(text, "wrong") {
		t.Errorf("the login page says:\n%s", text)
	}
	b.logIn(alice.Password)
	for _, want := range []string{"Single-page client", "client.localhost", "profile", "email"} {
		if text := b.text("button[name=decision]"); !strings.Contains(text, want) {
			t.Errorf("the consent page does not say %q:\n%s", want, text)
		}
	}
	b.decide("allow")
	if text := b.text(".note"); !strings.Contains(text, "Signed in as alice, for profile and email.") {
		t.Errorf("the client says:\n%s", text)
	}
	if at := b.evaluate("location.href"); at != client+"/" {
		t.Errorf("the client is at %s, want no code in the address", at)
	}

	// The page says so after a reload too, until the user signs out.
	b.open(client)
	if text := b.text(".note"); !strings.Contains(text, "Signed in as alice") {
		t.Errorf("loaded again, the client says:\n%s", text)
	}
	b.do(chromedp.Click(chromedp.CSS("#sign-out")))
	b.open(client)
	if text := b.text("#status"); !strings.Contains(text, "Nobody is signed in here.") {
		t.Errorf("after the user has signed out, the client says:\n%s", text)
	}

	// Now there is a session cookie, so there is no second login.
	b.click("#sign-in")
	b.decide("allow")
	b.text(".note")
}

// TestStrictPKCELeavesSomethingOutInChromium sends requests without a parameter.
func TestStrictPKCELeavesSomethingOutInChromium(t *testing.T) {
	b := newTab(t)
	_, client := startStrict(t)
	b.open(client)
	for _, name := range []string{"scope", "state", "code_challenge", "code_challenge_method", "response_type"} {
		t.Run(name, func(t *testing.T) {
			b := b.in(t)
			b.click(`button[data-without="` + name + `"]`)
			if text := b.text(".wrong"); !strings.Contains(text, "invalid_request: The parameter "+name+" is missing") {
				t.Errorf("the client says:\n%s", text)
			}
		})
	}
	for _, name := range []string{"redirect_uri", "client_id"} {
		t.Run(name, func(t *testing.T) {
			b := b.in(t)
			b.open(client)
			b.click(`button[data-without="` + name + `"]`)
			if text := b.text("h1"); !strings.Contains(text, "Sign-in cannot continue") {
				t.Errorf("the page says:\n%s", text)
			}
		})
	}
}

func TestStrictPKCECancelInChromium(t *testing.T) {
	b := newTab(t)
	_, client := startStrict(t)
	b.open(client)
	b.click("#sign-in")
	b.decide("deny")
	if text := b.text(".wrong"); !strings.Contains(text, "access_denied") {
		t.Errorf("the client says:\n%s", text)
	}
}

func TestStrictPKCEDenialInChromium(t *testing.T) {
	b := newTab(t)
	_, client := startStrict(t)
	b.signInAtClient(client, "deny")
	if text := b.text(".wrong"); !strings.Contains(text, "access_denied") {
		t.Errorf("the client says:\n%s", text)
	}
}

// TestStrictPKCEForgedAnswerInChromium sends the client a response to no request, as another
// site could.
func TestStrictPKCEForgedAnswerInChromium(t *testing.T) {
	b := newTab(t)
	issuer, client := startStrict(t)
	b.open(client + "/?code=forged&state=forged&iss=" + issuer)
	if text := b.text(".wrong"); !strings.Contains(text, "did not ask") {
		t.Errorf("the client says:\n%s", text)
	}
}

// TestStrictPKCEScriptsInChromium calls the endpoints from scripts that may not use them.
func TestStrictPKCEScriptsInChromium(t *testing.T) {
	b, s := newTab(t), newSite(t)
	issuer, client := startStrict(t)
	b.signInAtClient(client, "allow")
	b.text(".note")
	token := `fetch("` + issuer + `/token", {method: "POST"})`
	endpoint := `fetch("` + issuer + `/api/id/v1/auth/authorize", {credentials: "include"})`
	for _, c := range []struct {
		who, page, call, want string
	}{
		{"the client at the token endpoint", client, token, "400"},
		{"the client at the authorization endpoint", client, endpoint, "TypeError: Failed to fetch"},
		{"another origin at the token endpoint", s.url + "/callback", token, "TypeError: Failed to fetch"},
		{"another origin at the authorization endpoint", s.url + "/callback", endpoint, "TypeError: Failed to fetch"},
	} {
		t.Run(c.who, func(t *testing.T) {
			b := b.in(t)
			b.open(c.page)
			if got := b.evaluate(c.call + ".then(r => String(r.status), String)"); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// evaluate waits for the result of a script and returns its text.
func (b tab) evaluate(script string) string {
	b.t.Helper()
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](script, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatal(err)
	}
	return text
}
