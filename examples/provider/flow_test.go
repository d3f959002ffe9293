package main

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize/authorizetest"
	oautherr "github.com/usher-auth/usher/errors"
)

func TestSignInConsentTokensUserinfo(t *testing.T) {
	p := newProvider(t)
	client := p.client("web")
	client.Scopes = []string{"openid", "email", "api:read"}
	flow := client.Start(url.Values{"claims": {`{"id_token":{"email":null,"name":null},"ID_TOKEN":{"email_verified":null},"userinfo":{"name":null}}`}})

	login := p.page(p.browser.Open(flow.URL))("Sign in")
	if !strings.Contains(login.Body, "The &lt;web&gt; &amp; more") {
		t.Errorf("the login page does not name the client:\n%s", login)
	}
	consent := p.page(login.Submit(as("alice")))("Allow access?")
	for _, want := range []string{
		"The &lt;web&gt; &amp; more", "<strong>web.example</strong>", "<strong>alice</strong>",
		"<code>openid</code>", "<code>email</code>", "<code>api:read</code>", meanings["email"], meanings["openid"],
		claimMeanings["name"] + " <code>name</code>",
	} {
		if !strings.Contains(consent.Body, want) {
			t.Errorf("the consent page lacks %s:\n%s", want, consent)
		}
	}
	page, err := consent.Submit(nil, "allow")
	code := p.code(flow, page, err)

	a := p.redeem(flow, code, basic("web", "web s3cret:%+é"))
	if a.json["token_type"] != "Bearer" || a.json["expires_in"] != 3600.0 || a.json["scope"] != "openid email api:read" {
		t.Errorf("the token response is %v", a.json)
	}
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Pragma") != "no-cache" {
		t.Errorf("the token response can be cached: %v", a.header)
	}
	checkIDToken(t, p, flow, a)

	user := p.userinfoWith("Bearer " + a.json["access_token"].(string))
	want := map[string]any{"sub": "alice", "email": "alice@example.com", "email_verified": true, "api:read": "all", "name": "Alice"}
	if user.status != http.StatusOK || !equalJSON(user.json, want) {
		t.Errorf("userinfo is %d %v, want %v", user.status, user.json, want)
	}
}

func checkIDToken(t *testing.T, p *provider, flow *authorizetest.Flow, a answer) {
	t.Helper()
	want := map[string]any{
		"iss":       testIssuer,
		"sub":       "alice",
		"aud":       "web",
		"nonce":     flow.Nonce,
		"acr":       "1",
		"amr":       []any{"pwd"},
		"email":     "alice@example.com", // asked for by claims, covered by a scope; ID_TOKEN is nothing
		"name":      "Alice",             // asked for by claims, and agreed to
		"at_hash":   halfHash(a.json["access_token"].(string)),
		"iat":       float64(p.clock.Unix()),
		"auth_time": float64(p.clock.Unix()),
		"exp":       float64(p.clock.Add(time.Hour).Unix()),
	}
	if got := p.idTokenOf(a); !equalJSON(got, want) {
		t.Errorf("the ID token is\n%v, want\n%v", got, want)
	}
}

func equalJSON(a, b map[string]any) bool { return string(mustJSON(a)) == string(mustJSON(b)) }

func TestConsentIsRemembered(t *testing.T) {
	p := newProvider(t)
	p.signInAlone("alice")
	flow := p.client("web").Start()
	consent := p.page(p.browser.Open(flow.URL))("Allow access?")
	page, err := consent.Submit(nil, "allow")
	p.code(flow, page, err)

	flow = p.client("web").Start()
	page, err = p.browser.Open(flow.URL)
	p.code(flow, page, err) // not asked again

	more := p.client("web")
	more.Scopes = []string{"openid", "profile"}
	p.page(p.browser.Open(more.Start().URL))("Allow access?")
	p.page(p.browser.Open(p.client("web").Start(url.Values{"prompt": {"consent"}}).URL))("Allow access?")
}

// A native app is asked about every time, on whatever port it listens.
func TestNativeApp(t *testing.T) {
	p := newProvider(t)
	p.signInAlone("alice")
	for _, port := range []string{"51004", "51005"} {
		client := p.client("app")
		client.RedirectURI = "http://127.0.0.1:" + port + "/cb"
		flow := client.Start()
		consent := p.page(p.browser.Open(flow.URL))("Allow access?")
		if !strings.Contains(consent.Body, "127.0.0.1:"+port+"</strong>, a program on this device") {
			t.Errorf("the consent page does not say where the answer goes:\n%s", consent)
		}
		page, err := consent.Submit(nil, "allow")
		code := p.code(flow, page, err)
		form := grant(flow, code)
		form.Set("client_id", "app")
		if a := p.tokenRequest(form); a.status != http.StatusOK {
			t.Errorf("no tokens: %d %v", a.status, a.json)
		}
	}
}

func TestTheUserSaysNo(t *testing.T) {
	p := newProvider(t)
	flow := p.client("web").Start()
	login := p.page(p.browser.Open(flow.URL))("Sign in")
	page, err := login.Submit(nil, "Cancel")
	if err != nil {
		t.Fatal(err)
	}
	flow.Expect(t, page, oautherr.AccessDenied)

	p.signInAlone("alice")
	flow = p.client("web").Start()
	consent := p.page(p.browser.Open(flow.URL))("Allow access?")
	page, err = consent.Submit(nil, "deny")
	if err != nil {
		t.Fatal(err)
	}
	flow.Expect(t, page, oautherr.AccessDenied)
}

func TestConsentWithoutADecision(t *testing.T) {
	p := newProvider(t)
	p.signInAlone("alice")
	consent := p.page(p.browser.Open(p.client("web").Start().URL))("Allow access?")
	consent.Forms[0].Buttons[0].Value = "perhaps"
	again := p.page(consent.Submit(nil))("Allow access?")
	if again.Status != http.StatusBadRequest {
		t.Errorf("status %d, want 400", again.Status)
	}
}

// Alice's consent page, on which Bob cannot agree: he has not read it.
func TestConsentIsOfTheUserWhoWasAsked(t *testing.T) {
	p := newProvider(t)
	p.signInAlone("alice")
	flow := p.client("web").Start()
	consent := p.page(p.browser.Open(flow.URL))("Allow access?")
	choice := p.page(consent.Click("Not you?"))("Choose an account")
	login := p.page(choice.Click("Use another account"))("Sign in")
	ofBob := p.page(login.Submit(as("bob")))("Allow access?")
	again := p.page(consent.Submit(nil, "allow"))("Allow access?")
	if !strings.Contains(again.Body, "<strong>bob</strong>") {
		t.Errorf("Bob agreed on Alice's page:\n%s", again)
	}
	page, err := ofBob.Submit(nil, "allow")
	code := p.code(flow, page, err)
	if sub := p.idTokenOf(p.redeem(flow, code, basic("web", "web s3cret:%+é")))["sub"]; sub != "bob" {
		t.Errorf("sub is %v, want bob", sub)
	}
}

func TestSignedOutBeforeConsent(t *testing.T) {
	p := newProvider(t)
	p.signInAlone("alice")
	consent := p.page(p.browser.Open(p.client("web").Start().URL))("Allow access?")
	logout := p.page(p.browser.Open(testIssuer + "/logout"))("Sign out")
	p.page(logout.Submit(nil))("You are not signed in")
	p.page(consent.Submit(nil, "allow"))("Sign in")
}

func TestWrongPassword(t *testing.T) {
	for name, form := range map[string]url.Values{
		"wrong password":    {"username": {"alice"}, "password": {"bob-password"}},
		"empty password":    {"username": {"alice"}, "password": {""}},
		"unknown user":      {"username": {"carol"}, "password": {"alice-password"}},
		"no user":           {"username": {""}, "password": {""}},
		"in another case":   {"username": {"Alice"}, "password": {"alice-password"}},
		"markup for a user": {"username": {`"><script>`}, "password": {"x"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			flow := p.client("own").Start()
			login := p.page(p.browser.Open(flow.URL))("Sign in")
			again := p.page(login.Submit(form))("Sign in")
			if again.Status != http.StatusForbidden || !strings.Contains(again.Body, "User name or password is wrong") {
				t.Errorf("status %d, want 403 and a message:\n%s", again.Status, again)
			}
			if strings.Contains(again.Body, "<script>") {
				t.Errorf("the user name is not escaped:\n%s", again)
			}
			page, err := again.Submit(as("alice"))
			p.code(flow, page, err)
		})
	}
}

func TestLoginPageFillsInTheUserName(t *testing.T) {
	p := newProvider(t)
	for name, test := range map[string]struct{ parameter, value, want string }{
		"login_hint": {"login_hint", "alice&co", "alice&co"},
		"sub":        {"claims", `{"id_token":{"sub":{"value":"bob"}}}`, "bob"},
	} {
		t.Run(name, func(t *testing.T) {
			flow := p.client("own").Start(url.Values{test.parameter: {test.value}})
			login := p.page(p.browser.Open(flow.URL))("Sign in")
			if got := login.Forms[0].Fields.Get("username"); got != test.want {
				t.Errorf("the user name is %q, want %q", got, test.want)
			}
		})
	}
}

// A sign-in that is there is not enough for prompt=login, nor an old one for
// max_age: the login page is shown, says why, and makes a later auth_time.
func TestSignInAgain(t *testing.T) {
	for name, test := range map[string]struct {
		changes url.Values
		why     string
	}{
		"prompt=login": {url.Values{"prompt": {"login"}}, "be sure that it is you"},
		"max_age":      {url.Values{"max_age": {"30"}}, "signed in a while ago"},
		"max_age=0":    {url.Values{"max_age": {"0"}}, "signed in a while ago"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			p.signInAlone("alice")
			flow, code := p.authorizeOwn()
			before := p.idTokenOf(p.redeem(flow, code, basic("own", "own-secret")))["auth_time"].(float64)
			p.clock = p.clock.Add(time.Minute)
			flow = p.client("own").Start(test.changes)
			login := p.page(p.browser.Open(flow.URL))("Sign in")
			if !strings.Contains(login.Body, test.why) {
				t.Errorf("the page does not say why:\n%s", login)
			}
			page, err := login.Submit(as("alice"))
			code = p.code(flow, page, err)
			after := p.idTokenOf(p.redeem(flow, code, basic("own", "own-secret")))["auth_time"].(float64)
			if after-before != 60 {
				t.Errorf("auth_time moved by %v s, want 60", after-before)
			}
		})
	}
}

func TestMaxAgeThatIsLongEnough(t *testing.T) {
	p := newProvider(t)
	p.signInAlone("alice")
	flow, code := p.authorizeOwn(url.Values{"max_age": {"15000"}})
	first := p.idTokenOf(p.redeem(flow, code, basic("own", "own-secret")))
	p.clock = p.clock.Add(time.Minute)
	flow, code = p.authorizeOwn(url.Values{"max_age": {"10000"}})
	second := p.idTokenOf(p.redeem(flow, code, basic("own", "own-secret")))
	if first["auth_time"] != second["auth_time"] {
		t.Errorf("auth_time went from %v to %v", first["auth_time"], second["auth_time"])
	}
}

func TestPromptNone(t *testing.T) {
	p := newProvider(t)
	none := url.Values{"prompt": {"none"}}
	refused := func(id string, want oautherr.Code) {
		t.Helper()
		flow := p.client(id).Start(none)
		page, err := p.browser.Open(flow.URL)
		if err != nil {
			t.Fatal(err)
		}
		flow.Expect(t, page, want)
	}
	refused("own", oautherr.LoginRequired)
	p.signInAlone("alice")
	p.authorizeOwn(none)
	refused("web", oautherr.ConsentRequired)
}

func TestIDTokenHint(t *testing.T) {
	p := newProvider(t)
	p.signInAlone("alice")
	flow, code := p.authorizeOwn()
	hint := p.redeem(flow, code, basic("own", "own-secret")).json["id_token"].(string)
	p.clock = p.clock.Add(2 * time.Hour) // the hint and the session expire
	p.signInAlone("alice")
	p.authorizeOwn(url.Values{"prompt": {"none"}, "id_token_hint": {hint}})

	p.browser = p.newBrowser()
	p.signInAlone("bob")
	again := p.client("own").Start(url.Values{"id_token_hint": {hint}})
	login := p.page(p.browser.Open(again.URL))("Sign in")
	if !strings.Contains(login.Body, "another account") || login.Forms[0].Fields.Get("username") != "alice" {
		t.Errorf("the page does not ask for Alice:\n%s", login)
	}
	page, err := login.Submit(as("alice"))
	p.code(again, page, err)
}

func TestFormPost(t *testing.T) {
	p := newProvider(t)
	p.signInAlone("alice")
	flow := p.client("own").Start(url.Values{"response_mode": {"form_post"}})
	page, err := p.browser.Open(flow.URL)
	if err != nil {
		t.Fatal(err)
	}
	page, err = page.Submit(nil)
	p.redeem(flow, p.code(flow, page, err), basic("own", "own-secret"))
}

// Some libraries for browsers ask for it by default.
func TestFragment(t *testing.T) {
	p := newProvider(t)
	p.signInAlone("alice")
	fragment := url.Values{"response_mode": {"fragment"}}
	flow := p.client("own").Start(fragment)
	page, err := p.browser.Open(flow.URL)
	code := p.code(flow, page, err)
	if page.URL.RawQuery != "" {
		t.Errorf("the answer is at %s", page.URL)
	}
	p.redeem(flow, code, basic("own", "own-secret"))

	flow = p.client("named").Start(fragment) // not registered for it
	if page, err = p.browser.Open(flow.URL); err != nil {
		t.Fatal(err)
	}
	if _, err = flow.Check(page.Request); err == nil || oautherr.Of(err).Code != oautherr.InvalidRequest || page.URL.Fragment != "" {
		t.Errorf("%v at %s", err, page.URL)
	}
}

func TestResponseTypeNone(t *testing.T) {
	p := newProvider(t)
	p.signInAlone("alice")
	none := url.Values{"response_type": {"none"}, "code_challenge": nil, "code_challenge_method": nil}
	if _, code := p.authorizeOwn(none); code != "" {
		t.Errorf("there is a code: %s", code)
	}
	flow := p.client("web").Start(none) // not registered for it
	page, err := p.browser.Open(flow.URL)
	if err != nil {
		t.Fatal(err)
	}
	flow.Expect(t, page, oautherr.UnauthorizedClient)
}

func TestClientSwitchedOff(t *testing.T) {
	p := newProvider(t)
	page := p.page(p.browser.Open(p.client("off").Start().URL))("Sign-in cannot continue")
	if page.Status != http.StatusBadRequest {
		t.Errorf("status %d, want 400", page.Status)
	}
}

// Signing in and out without any client.
func TestSignInAndOut(t *testing.T) {
	p := newProvider(t)
	p.page(p.browser.Open(testIssuer + "/"))("You are not signed in")
	p.page(p.browser.Open(testIssuer + "/logout"))("You are not signed in")
	p.signInAlone("alice")
	p.page(p.browser.Open(testIssuer + "/login"))("You are signed in")
	status := p.page(p.browser.Open(testIssuer + "/"))("You are signed in")
	logout := p.page(status.Click("Sign out"))("Sign out")
	p.page(p.browser.Open(testIssuer + "/login"))("You are signed in") // a GET has done nothing
	p.page(logout.Submit(nil))("You are not signed in")
	p.page(p.browser.Open(testIssuer + "/login"))("Sign in")
	p.page(p.browser.Open(p.client("own").Start().URL))("Sign in")
}

func TestPagesWithoutAGoodRequest(t *testing.T) {
	p := newProvider(t)
	p.signInAlone("alice")
	login := p.page(p.browser.Open(p.client("own").Start(url.Values{"prompt": {"login"}}).URL))("Sign in")
	login.Forms[0].Fields.Set("req", login.Forms[0].Fields.Get("req")+"x")
	p.page(login.Submit(as("alice")))("Sign-in cannot continue")
	for _, path := range []string{"/consent", "/consent?req=x", "/login?req=x", "/login?req="} {
		page := p.page(p.browser.Open(testIssuer + path))("Sign-in cannot continue")
		if page.Status != http.StatusBadRequest {
			t.Errorf("%s: status %d, want 400", path, page.Status)
		}
	}
}

// Allow, Back and then no: the no is never a code, though consent is remembered by now.
func TestANoAfterAYes(t *testing.T) {
	p := newProvider(t)
	p.signInAlone("alice")
	flow := p.client("web").Start()
	consent := p.page(p.browser.Open(flow.URL))("Allow access?")
	page, err := consent.Submit(nil, "allow")
	p.code(flow, page, err)
	no := p.page(consent.Submit(nil, "deny"))("Sign-in cannot continue")
	if !strings.Contains(no.Body, "error=access_denied") || no.URL.Host != "as.example" {
		t.Errorf("there is no way back with the no:\n%s", no)
	}
}

// What was started in one browser cannot be finished in another.
func TestAnotherBrowser(t *testing.T) {
	p := newProvider(t)
	p.signInAlone("alice")
	consent := p.page(p.browser.Open(p.client("web").Start().URL))("Allow access?")
	alices := p.browser
	p.browser = p.newBrowser()
	p.signInAlone("bob") // who is not whom the page is for
	for _, who := range []string{"bob", "alice"} {
		anew := p.page(p.browser.Open(consent.URL.String()))("Allow access?")
		if anew.URL.String() == consent.URL.String() || !strings.Contains(anew.Body, "<strong>"+who+"</strong>") {
			t.Errorf("%s in another browser sees the page of the first:\n%s", who, anew)
		}
		p.browser = p.newBrowser()
		p.signInAlone("alice")
	}

	// Another account of the same browser is asked for itself.
	p.browser = alices
	login := p.page(p.browser.Open(testIssuer + "/login?another"))("Sign in")
	p.page(login.Submit(as("bob")))("You are signed in")
	asked := p.page(p.browser.Open(consent.URL.String()))("Allow access?")
	if !strings.Contains(asked.Body, "<strong>bob</strong>") || asked.URL.String() == consent.URL.String() {
		t.Errorf("bob sees alice's page:\n%s", asked)
	}
}

func TestIssuerWithAPath(t *testing.T) {
	p := newProviderAt(t, "https://as.example/one/two")
	flow := p.client("web").Start()
	login := p.page(p.browser.Open(flow.URL))("Sign in")
	if login.URL.Path != "/one/two/login" {
		t.Errorf("the login page is at %s", login.URL.Path)
	}
	consent := p.page(login.Submit(as("alice")))("Allow access?")
	page, err := consent.Submit(nil, "allow")
	p.redeem(flow, p.code(flow, page, err), basic("web", "web s3cret:%+é"))
	status := p.page(p.browser.Open("https://as.example/one/two/login"))("You are signed in")
	logout := p.page(status.Click("Sign out"))("Sign out")
	p.page(logout.Submit(nil))("You are not signed in")
	for _, path := range []string{
		"/one/two/.well-known/openid-configuration",
		"/one/two/.well-known/oauth-authorization-server",
		"/.well-known/openid-configuration/one/two",
		"/.well-known/oauth-authorization-server/one/two",
	} {
		metadata := p.get(path)
		if metadata.json["issuer"] != p.issuer || metadata.json["token_endpoint"] != "https://as.example/one/two/token" {
			t.Errorf("%s: %d %v", path, metadata.status, metadata.json)
		}
	}
	if outside := p.get("/login"); outside.status != http.StatusNotFound {
		t.Errorf("/login outside of the path: status %d", outside.status)
	}
}

func TestScopesReleaseTheirClaims(t *testing.T) {
	p := newProvider(t)
	for scopes, want := range map[string]string{
		"openid":                        "",
		"openid profile":                "name updated_at",
		"openid email":                  "email email_verified",
		"openid api:read":               "api:read",
		"openid profile email api:read": "api:read email email_verified name updated_at",
	} {
		t.Run(scopes, func(t *testing.T) {
			names := []string{}
			for name := range p.users["alice"].released(strings.Fields(scopes), nil) {
				names = append(names, name)
			}
			slices.Sort(names)
			if got := strings.Join(names, " "); got != want {
				t.Errorf("released are %q, want %q", got, want)
			}
		})
	}
	// A number keeps all its digits.
	if got := string(p.users["alice"].released([]string{"profile"}, nil)["updated_at"]); got != "9007199254740993" {
		t.Errorf("updated_at is %s", got)
	}
	if got := p.users["bob"].released([]string{"profile"}, nil); len(got) != 0 {
		t.Errorf("a user without claims has %v", got)
	}
}

// What a client asks for one by one is on the consent page, and the user's agreement to it
// is for the place where it was asked for.
func TestClaimsThatAreAskedForOneByOne(t *testing.T) {
	secrets := map[string]string{"web": "web s3cret:%+é", "own": "own-secret", "named": "named-secret"}
	for _, c := range []struct {
		rule     string
		client   string
		claims   string
		lines    string // of the consent page, beside openid
		idToken  string // names of the user's claims in it
		userInfo string
	}{
		{"in the ID token", "web", `{"id_token":{"name":null}}`, "name", "name", ""},
		{"from userinfo", "web", `{"userinfo":{"email":{"essential":true},"name":null}}`, "email name", "", "email name"},
		{"each at its place", "web", `{"id_token":{"email":null},"userinfo":{"name":null}}`, "email name", "email", "name"},
		{"at both places, on one line", "web", `{"id_token":{"name":null},"userinfo":{"name":null,"name#de":null}}`, "name", "name", "name"},
		{"what nobody has", "web", `{"userinfo":{"<b>shoe":null,"gender":null}}`, "&lt;b&gt;shoe gender", "", ""},
		{"a place in the other case", "web", `{"UserInfo":{"name":null}}`, "", "", ""},
		{"all in the ID token", "named", `{"userinfo":{"name":null}}`, "", "name", "name"},
		{"of the provider's own client", "own", `{"userinfo":{"name":null}}`, "", "", "name"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			p := newProvider(t)
			p.signInAlone("alice")
			flow := p.client(c.client).Start(url.Values{"claims": {c.claims}})
			page, err := p.browser.Open(flow.URL)
			if c.client == "web" {
				consent := p.page(page, err)("Allow access?")
				var lines []string
				for _, found := range regexp.MustCompile(`<li>(.+) <code>(.*)</code>`).FindAllStringSubmatch(consent.Body, -1)[1:] {
					want := claimMeanings[found[2]]
					if want == "" {
						want = "See something else about you"
					}
					if found[1] != want {
						t.Errorf("%s means %q", found[2], found[1])
					}
					lines = append(lines, found[2])
				}
				if strings.Join(lines, " ") != c.lines {
					t.Errorf("the page has the lines %q", lines)
				}
				page, err = consent.Submit(nil, "allow")
			}
			a := p.redeem(flow, p.code(flow, page, err), basic(c.client, secrets[c.client]))
			user := p.userinfoWith("Bearer " + a.json["access_token"].(string))
			if got := namesOf(p.idTokenOf(a)); got != c.idToken {
				t.Errorf("the ID token has %q", got)
			}
			if got := namesOf(user.json); got != c.userInfo {
				t.Errorf("userinfo has %q", got)
			}
		})
	}
}

// namesOf are those of claims about a user.
func namesOf(claims map[string]any) string {
	names := []string{}
	for name := range claims {
		if !slices.Contains(protocolClaims, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}
