package main

import (
	"cmp"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize"
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
	code := p.expect(flow, nil)(consent.Submit(nil, "allow"))

	a := p.redeem(flow, code)
	if a.json["token_type"] != "Bearer" || a.json["expires_in"] != 3600.0 || a.json["scope"] != "openid email api:read" {
		t.Errorf("the token response is %v", a.json)
	}
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Pragma") != "no-cache" {
		t.Errorf("the token response can be cached: %v", a.header)
	}
	idToken := map[string]any{
		"iss":       testIssuer,
		"sub":       "alice",
		"aud":       "web",
		"nonce":     flow.Nonce,
		"acr":       "1",
		"amr":       []any{"pwd"},
		"email":     "alice@example.com", // asked for by claims, and covered by a scope; ID_TOKEN has no effect
		"name":      "Alice",             // asked for by claims, and agreed to
		"at_hash":   halfHash(a.json["access_token"].(string)),
		"iat":       float64(p.clock.Unix()),
		"auth_time": float64(p.clock.Unix()),
		"exp":       float64(p.clock.Add(time.Hour).Unix()),
	}
	if got := p.idTokenOf(a); !equalJSON(got, idToken) {
		t.Errorf("the ID token is\n%v, want\n%v", got, idToken)
	}

	user := p.userinfoWith("Bearer " + a.json["access_token"].(string))
	want := map[string]any{"sub": "alice", "email": "alice@example.com", "email_verified": true, "api:read": "all", "name": "Alice"}
	if user.status != http.StatusOK || !equalJSON(user.json, want) {
		t.Errorf("userinfo is %d %v, want %v", user.status, user.json, want)
	}
}

func equalJSON(a, b map[string]any) bool { return string(mustJSON(a)) == string(mustJSON(b)) }

func TestConsentIsRemembered(t *testing.T) {
	p := newProvider(t)
	p.signInAs("alice")
	flow, consent := p.begins("web", "Allow access?")
	p.expect(flow, nil)(consent.Submit(nil, "allow"))

	flow = p.client("web").Start()
	p.expect(flow, nil)(p.browser.Open(flow.URL)) // not asked again

	more := p.client("web")
	more.Scopes = []string{"openid", "profile"}
	consent = p.page(p.browser.Open(more.Start().URL))("Allow access?")
	asks, before, _ := strings.Cut(consent.Body, "You have allowed it before to:")
	if !strings.Contains(asks, "<code>profile</code>") || !strings.Contains(before, "<code>openid</code>") {
		t.Errorf("want the new scope, then the old one:\n%s", consent)
	}
	p.begins("web", "Allow access?", url.Values{"prompt": {"consent"}})
}

// A consent page says who asks, and who says so.
func TestConsentShowsTheClient(t *testing.T) {
	p := newProvider(t)
	for _, c := range []struct {
		name  string
		facts authorize.ClientFacts
		want  string // the text before the list
	}{
		{"registered here", authorize.ClientFacts{ClientName: "Wiki", LoopbackOnly: true}, "Allow “Wiki” access?"},
		{"registered here, with a URL", authorize.ClientFacts{ClientName: "Wiki", ClientHost: "wiki.example"},
			"Allow wiki.example access? This is Wiki."},
		{"describes itself", authorize.ClientFacts{ClientName: "Wiki", SelfDescribed: true},
			"Allow an unknown application access? It calls itself Wiki. Nobody has checked this."},
		{"describes itself, on loopback", authorize.ClientFacts{ClientName: "Wiki", SelfDescribed: true, LoopbackOnly: true},
			"Allow an unknown application access? It calls itself Wiki. Nobody has checked this. Any program on your device can say that it is this application."},
		{"describes itself, with a URL",
			authorize.ClientFacts{ClientName: "<Wiki>", ClientHost: "wiki.example", SelfDescribed: true},
			"Allow wiki.example access? It calls itself &lt;Wiki&gt;. Nobody has checked this."},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.facts.RedirectHost, c.facts.RedirectDiffers = "app.example", c.facts.ClientHost != ""
			page := p.consentPage(&authorize.Pending{ClientFacts: c.facts})
			if !strings.HasPrefix(page, c.want+" You are signed in as ") {
				t.Errorf("the page is\n%s\nwant\n%s", page, c.want)
			}
			differs := strings.Contains(page, "goes to app.example, which is not wiki.example.")
			if differs != c.facts.RedirectDiffers || !strings.Contains(page, "goes to app.example") {
				t.Errorf("where does the response go?\n%s", page)
			}
		})
	}
}

func TestConsentShowsTheResources(t *testing.T) {
	page := newProvider(t).consentPage(&authorize.Pending{Resources: []authorize.Resource{
		{ID: "https://api.example/notes", Name: "Notes"}, {ID: "https://api.example/wiki"},
	}})
	if !strings.Contains(page, "It will use this at Notes, https://api.example/wiki.") {
		t.Errorf("the page does not name the resources:\n%s", page)
	}
}

// consentPage is the text of the consent page.
func (p *provider) consentPage(pending *authorize.Pending) string {
	pending.Request = &authorize.Request{Client: &authorize.Client{}}
	rec := httptest.NewRecorder()
	p.show(rec, http.StatusOK, "consent", p.consentPageFor(pending))
	_, content, _ := strings.Cut(rec.Body.String(), "<main>")
	return strings.Join(strings.Fields(regexp.MustCompile("<[^>]*>").ReplaceAllString(content, "")), " ")
}

// The user is asked about a native app every time, on any port.
func TestNativeApp(t *testing.T) {
	p := newProvider(t)
	p.signInAs("alice")
	for _, port := range []string{"51004", "51005"} { // one after the other
		client := p.client("app")
		client.RedirectURI = "http://127.0.0.1:" + port + "/cb"
		flow := client.Start()
		consent := p.page(p.browser.Open(flow.URL))("Allow access?")
		if !strings.Contains(consent.Body, "127.0.0.1:"+port+"</strong>, a program on this device") {
			t.Errorf("the consent page does not say where the answer goes:\n%s", consent)
		}
		code := p.expect(flow, nil)(consent.Submit(nil, "allow"))
		form := grant(flow, code)
		form.Set("client_id", "app")
		if a := p.tokenRequest(form); a.status != http.StatusOK {
			t.Errorf("no tokens: %d %v", a.status, a.json)
		}
	}
}

func TestTheUserSaysNo(t *testing.T) {
	p := newProvider(t)
	flow, login := p.begins("web", "Sign in")
	p.expect(flow, oautherr.AccessDenied)(login.Submit(nil, "Cancel"))

	p.signInAs("alice")
	flow, consent := p.begins("web", "Allow access?")
	p.expect(flow, oautherr.AccessDenied)(consent.Submit(nil, "deny"))
}

func TestConsentWithoutADecision(t *testing.T) {
	p := newProvider(t)
	p.signInAs("alice")
	_, consent := p.begins("web", "Allow access?")
	consent.Forms[0].Buttons[0].Value = "perhaps"
	again := p.page(consent.Submit(nil))("Allow access?")
	if again.Status != http.StatusBadRequest {
		t.Errorf("status %d, want 400", again.Status)
	}
}

// Bob cannot agree on Alice's consent page, because he has not read it.
func TestConsentIsOfTheUserWhoWasAsked(t *testing.T) {
	p := newProvider(t)
	p.signInAs("alice")
	flow, consent := p.begins("web", "Allow access?")
	choice := p.page(consent.Click("Not you?"))("Choose an account")
	login := p.page(choice.Click("Use another account"))("Sign in")
	ofBob := p.page(login.Submit(as("bob")))("Allow access?")
	again := p.page(consent.Submit(nil, "allow"))("Allow access?")
	if !strings.Contains(again.Body, "<strong>bob</strong>") {
		t.Errorf("Bob agreed on Alice's page:\n%s", again)
	}
	p.isFor(flow, "bob")(ofBob.Submit(nil, "allow"))
}

func TestSignedOutBeforeConsent(t *testing.T) {
	p := newProvider(t)
	p.signInAs("alice")
	_, consent := p.begins("web", "Allow access?")
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
			flow, login := p.begins("own", "Sign in")
			again := p.page(login.Submit(form))("Sign in")
			if again.Status != http.StatusForbidden || !strings.Contains(again.Body, "User name or password is wrong") {
				t.Errorf("status %d, want 403 and a message:\n%s", again.Status, again)
			}
			if strings.Contains(again.Body, "<script>") {
				t.Errorf("the user name is not escaped:\n%s", again)
			}
			p.expect(flow, nil)(again.Submit(as("alice")))
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
			_, login := p.in(t).begins("own", "Sign in", url.Values{test.parameter: {test.value}})
			if got := login.Forms[0].Fields.Get("username"); got != test.want {
				t.Errorf("the user name is %q, want %q", got, test.want)
			}
		})
	}
}

// An existing sign-in is not enough for prompt=login, and an old one is not enough for
// max_age: the login page is shown, says why, and a sign-in there has a later auth_time.
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
			p.signInAs("alice")
			flow, code := p.authorizeOwn()
			before := p.claims(flow, code)["auth_time"].(float64)
			p.clock = p.clock.Add(time.Minute)
			flow, login := p.begins("own", "Sign in", test.changes)
			if !strings.Contains(login.Body, test.why) {
				t.Errorf("the page does not say why:\n%s", login)
			}
			code = p.expect(flow, nil)(login.Submit(as("alice")))
			after := p.claims(flow, code)["auth_time"].(float64)
			if after-before != 60 {
				t.Errorf("auth_time moved by %v s, want 60", after-before)
			}
		})
	}
}

func TestIDTokenHint(t *testing.T) {
	p := newProvider(t)
	p.signInAs("alice")
	flow, code := p.authorizeOwn()
	hint := p.redeem(flow, code).json["id_token"].(string)
	p.clock = p.clock.Add(2 * time.Hour) // the hint and the session expire
	p.signInAs("alice")
	p.authorizeOwn(url.Values{"prompt": {"none"}, "id_token_hint": {hint}})

	p.browser = p.newBrowser()
	p.signInAs("bob")
	again, login := p.begins("own", "Sign in", url.Values{"id_token_hint": {hint}})
	if !strings.Contains(login.Body, "a different account") || login.Forms[0].Fields.Get("username") != "alice" {
		t.Errorf("the page does not ask for Alice:\n%s", login)
	}
	p.expect(again, nil)(login.Submit(as("alice")))
}

// Some libraries for browsers use this response mode by default.
func TestFragment(t *testing.T) {
	p := newProvider(t)
	p.signInAs("alice")
	fragment := url.Values{"response_mode": {"fragment"}}
	flow := p.client("own").Start(fragment)
	p.redeem(flow, p.expect(flow, nil)(p.browser.Open(flow.URL)))
	flow = p.client("named").Start(fragment) // not registered for it
	p.expect(flow, oautherr.InvalidRequest)(p.browser.Open(flow.URL))
}

// Signing in and out without any client.
func TestSignInAndOut(t *testing.T) {
	p := newProvider(t)
	p.page(p.browser.Open(testIssuer + "/"))("You are not signed in")
	p.page(p.browser.Open(testIssuer + "/logout"))("You are not signed in")
	p.signInAs("alice")
	p.page(p.browser.Open(testIssuer + "/login"))("You are signed in")
	status := p.page(p.browser.Open(testIssuer + "/"))("You are signed in")
	logout := p.page(status.Click("Sign out"))("Sign out")
	p.page(p.browser.Open(testIssuer + "/login"))("You are signed in") // a GET does not sign out
	p.page(logout.Submit(nil))("You are not signed in")
	p.page(p.browser.Open(testIssuer + "/login"))("Sign in")
	p.begins("own", "Sign in")
}

func TestPagesWithoutAGoodRequest(t *testing.T) {
	p := newProvider(t)
	p.signInAs("alice")
	_, login := p.begins("own", "Sign in", url.Values{"prompt": {"login"}})
	login.Forms[0].Fields.Set("req", login.Forms[0].Fields.Get("req")+"x")
	p.page(login.Submit(as("alice")))("Sign-in cannot continue")
	for _, path := range []string{"/consent", "/consent?req=x", "/login?req=x", "/login?req="} {
		t.Run(path, func(t *testing.T) {
			p := p.in(t)
			page := p.page(p.browser.Open(testIssuer + path))("Sign-in cannot continue")
			if page.Status != http.StatusBadRequest {
				t.Errorf("status %d, want 400", page.Status)
			}
		})
	}
}

func TestIssuerWithAPath(t *testing.T) {
	p := newProviderOf(t, []byte(testConfig), "https://as.example/one/two", false)
	flow, login := p.begins("web", "Sign in")
	if login.URL.Path != "/one/two/login" {
		t.Errorf("the login page is at %s", login.URL.Path)
	}
	consent := p.page(login.Submit(as("alice")))("Allow access?")
	p.redeem(flow, p.expect(flow, nil)(consent.Submit(nil, "allow")))
	status := p.page(p.browser.Open("https://as.example/one/two/login"))("You are signed in")
	logout := p.page(status.Click("Sign out"))("Sign out")
	p.page(logout.Submit(nil))("You are not signed in")
	for _, path := range []string{
		"/one/two/.well-known/openid-configuration",
		"/one/two/.well-known/oauth-authorization-server",
		"/.well-known/openid-configuration/one/two",
		"/.well-known/oauth-authorization-server/one/two",
	} {
		t.Run(path, func(t *testing.T) {
			metadata := p.get(path)
			if metadata.json["issuer"] != p.issuer || metadata.json["token_endpoint"] != "https://as.example/one/two/token" {
				t.Errorf("%d %v", metadata.status, metadata.json)
			}
		})
	}
	if outside := p.get("/login"); outside.status != http.StatusNotFound {
		t.Errorf("/login outside of the path: status %d", outside.status)
	}
}

func TestClaimsOfAUser(t *testing.T) {
	p := newProvider(t)
	// A number keeps all its digits.
	if got := string(p.users["alice"].released([]string{"profile"}, nil)["updated_at"]); got != "9007199254740993" {
		t.Errorf("updated_at is %s", got)
	}
	if got := p.users["bob"].released([]string{"profile"}, nil); len(got) != 0 {
		t.Errorf("a user without claims has %v", got)
	}
}

// Each row is a request, with the user's claims that the client gets. Claims that the parameter
// claims asks for are on the consent page. The user agrees to them for the place, ID token or
// userinfo, for which they were asked.
func TestWhichClaimsAClientGets(t *testing.T) {
	const everything = "openid profile email"
	const both = `{"id_token":{"name":null,"email":null}}`
	for _, c := range []struct {
		rule     string
		client   string
		scope    string // empty: none is sent
		claims   string
		lines    string // of the consent page, without those of scopes
		idToken  string // names of the user's claims in it
		userInfo string
	}{
		{"in the ID token", "web", "openid", `{"id_token":{"name":null}}`, "name", "name", ""},
		{"from userinfo", "web", "openid", `{"userinfo":{"email":{"essential":true},"name":null}}`, "email name", "", "email name"},
		{"each at its place", "web", "openid", `{"id_token":{"email":null},"userinfo":{"name":null}}`, "email name", "email", "name"},
		{"at both places, on one line", "web", "openid", `{"id_token":{"name":null},"userinfo":{"name":null,"name#de":null}}`, "name", "name", "name"},
		{"what nobody has", "web", "openid", `{"userinfo":{"<b>shoe":null,"gender":null}}`, "&lt;b&gt;shoe gender", "", ""},
		{"a place in the other case", "web", "openid", `{"UserInfo":{"name":null}}`, "", "", ""},
		{"all in the ID token", "named", "openid", `{"userinfo":{"name":null}}`, "", "name", "name"},
		{"of the provider's own client", "own", "openid", `{"userinfo":{"name":null}}`, "", "", "name"},

		{"scopes put none into the ID token", "web", everything, "", "", "", "email email_verified name updated_at"},
		{"but where that is set, all that they release", "named", everything, "", "", "email email_verified name updated_at", "email email_verified name updated_at"},
		{"and no more", "named", "openid profile", "", "", "name updated_at", "name updated_at"},
		{"and nothing where they release none", "named", "openid", "", "", "", ""},
		{"the default scopes release theirs", "named", "", "", "", "email email_verified", "email email_verified"},
		{"claims asks for what a scope releases, or does not", "web", "openid email", both, "name", "email name", "email email_verified"},
		{"where all is set, claims takes nothing away", "named", "openid email", both, "", "email email_verified name", "email email_verified"},
		{"and adds what it asks for", "named", "openid", both, "", "email name", ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			p := newProvider(t)
			p.signInAs("alice")
			changes := url.Values{"scope": nil, "claims": nil}
			for name, value := range map[string]string{"scope": c.scope, "claims": c.claims} {
				if value != "" {
					changes.Set(name, value)
				}
			}
			flow := p.client(c.client).Start(changes)
			page, err := p.browser.Open(flow.URL)
			if c.client == "web" {
				consent := p.page(page, err)("Allow access?")
				if got := claimLines(t, consent, len(strings.Fields(c.scope))); got != c.lines {
					t.Errorf("the page has the lines %q", got)
				}
				page, err = consent.Submit(nil, "allow")
			}
			a := p.redeem(flow, p.expect(flow, nil)(page, err))
			if got := namesOf(p.idTokenOf(a)); got != c.idToken {
				t.Errorf("the ID token has %q", got)
			}
			if got := namesOf(p.userinfoWith("Bearer " + a.json["access_token"].(string)).json); got != c.userInfo {
				t.Errorf("userinfo has %q", got)
			}
		})
	}
}

// claimLines are the claims on a consent page, below the scopes, each with its meaning.
func claimLines(t *testing.T, consent *authorizetest.Page, scopes int) string {
	t.Helper()
	var lines []string
	for _, found := range regexp.MustCompile(`<li>(.+) <code>(.*)</code>`).FindAllStringSubmatch(consent.Body, -1)[scopes:] {
		if want := cmp.Or(claimMeanings[found[2]], "See something else about you"); found[1] != want {
			t.Errorf("%s means %q", found[2], found[1])
		}
		lines = append(lines, found[2])
	}
	return strings.Join(lines, " ")
}

// namesOf returns the names of the claims about a user.
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

// The standard cases of a sign-in, for a client that asks for consent.
func TestHost(t *testing.T) {
	p := newProvider(t)
	web, own := p.client("web"), p.client("own")
	web.Secret, web.TokenEndpoint = "web s3cret:%+é", p.origin+"/token"
	own.Secret, own.TokenEndpoint = "own-secret", web.TokenEndpoint
	authorizetest.TestHost(t, authorizetest.Host{
		Client: *web,
		Other:  *own,
		Open:   func(_ *testing.T, browser *authorizetest.Browser) { browser.Handle(p.origin, p.handler) },
		SignIn: func(page *authorizetest.Page) (*authorizetest.Page, error) {
			p.clock = p.clock.Add(time.Second)
			return page.Submit(url.Values{"username": {"alice"}, "password": {"alice-password"}}, "Sign in")
		},
		Agree:  func(page *authorizetest.Page) (*authorizetest.Page, error) { return page.Submit(nil, "Allow") },
		Cancel: func(page *authorizetest.Page) (*authorizetest.Page, error) { return page.Submit(nil, "Cancel") },
		Deny:   func(page *authorizetest.Page) (*authorizetest.Page, error) { return page.Submit(nil, "Deny") },
		WrongPassword: func(page *authorizetest.Page) (*authorizetest.Page, error) {
			return page.Submit(url.Values{"username": {"alice"}, "password": {"bob-password"}}, "Sign in")
		},
		Claims: map[string]string{"phone_number": claimMeanings["phone_number"], "shoe_size": "shoe_size"},
	})
}
