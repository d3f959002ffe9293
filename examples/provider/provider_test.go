package main

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize/authorizetest"
)

const testIssuer = "https://as.example"

// testConfig has one client of each kind.
const testConfig = `{
	"code_lifetime_seconds": 30,
	"clients": [
		{"id": "web", "secret": "web s3cret:%+é", "name": "The <web> & more", "redirect_uris": ["https://web.example/cb"],
			"scopes": ["openid", "profile", "email", "api:read", "offline_access"]},
		{"id": "own", "secret": "own-secret", "redirect_uris": ["https://own.example/cb"], "scopes": ["openid", "email", "offline_access"],
			"response_types": ["code", "none"], "response_modes": ["query", "form_post", "fragment"], "trusted": true},
		{"id": "app", "public": true, "native": true, "redirect_uris": ["http://127.0.0.1/cb"],
			"scopes": ["openid", "profile", "offline_access"]},
		{"id": "named", "secret": "named-secret", "redirect_uris": ["https://named.example/cb"], "trusted": true,
			"scopes": ["openid", "profile", "email"], "default_scopes": ["openid", "email"], "claims_in_id_token": true},
		{"id": "off", "secret": "off-secret", "redirect_uris": ["https://off.example/cb"], "scopes": ["openid"], "disabled": true}
	],
	"users": [
		{"username": "alice", "password": "alice-password", "claims": {"name": "Alice", "email": "alice@example.com",
			"email_verified": true, "updated_at": 9007199254740993, "api:read": "all"}},
		{"username": "bob", "password": "bob-password"}
	]
}`

var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func testOptions(cfg *config, issuer string) options {
	return options{config: cfg, issuer: issuer, key: testKey(), log: slog.New(slog.DiscardHandler), now: time.Now}
}

// provider is a provider under test, with a browser in front of it.
type provider struct {
	*server
	t       *testing.T
	handler http.Handler
	browser *authorizetest.Browser
	clock   time.Time
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	return newProviderAt(t, testIssuer)
}

func newProviderAt(t *testing.T, issuer string) *provider {
	t.Helper()
	return newProviderOf(t, []byte(testConfig), issuer, false)
}

func newProviderOf(t *testing.T, text []byte, issuer string, demo bool) *provider {
	t.Helper()
	cfg, err := parseConfig(text)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{t: t, clock: time.Now()}
	o := testOptions(cfg, issuer)
	o.demo, o.now = demo, func() time.Time { return p.clock }
	if p.server, err = newServer(o); err != nil {
		t.Fatal(err)
	}
	p.handler = p.routes()
	p.browser = p.newBrowser()
	return p
}

// in is the same provider for a subtest.
func (p provider) in(t *testing.T) *provider {
	p.t = t
	return &p
}

// newBrowser returns a browser without cookies.
func (p *provider) newBrowser() *authorizetest.Browser {
	browser := authorizetest.NewBrowser()
	browser.Handle(p.origin, p.handler)
	return browser
}

func (p *provider) client(id string) *authorizetest.Client {
	redirect := map[string]string{"app": "http://127.0.0.1:51004/cb"}[id]
	if redirect == "" {
		redirect = "https://" + id + ".example/cb"
	}
	return &authorizetest.Client{Issuer: p.issuer, ID: id, RedirectURI: redirect, Scopes: []string{"openid"}}
}

// page fails the test unless the browser has come to the page with this title.
func (p *provider) page(page *authorizetest.Page, err error) func(title string) *authorizetest.Page {
	p.t.Helper()
	return func(title string) *authorizetest.Page {
		p.t.Helper()
		if err != nil {
			p.t.Fatal(err)
		}
		if !strings.Contains(page.Body, "<title>"+title) {
			p.t.Fatalf("this is not the page %q:\n%s", title, page)
		}
		return page
	}
}

// begins opens a request of a client, which leads to the page with this title.
func (p *provider) begins(client, title string, changes ...url.Values) (*authorizetest.Flow, *authorizetest.Page) {
	p.t.Helper()
	flow := p.client(client).Start(changes...)
	return flow, p.page(p.browser.Open(flow.URL))(title)
}

// expect fails the test unless the browser takes a code to the client, or the expected error.
// It returns the code.
func (p *provider) expect(flow *authorizetest.Flow, want error) func(*authorizetest.Page, error) (code string) {
	return func(page *authorizetest.Page, err error) string {
		p.t.Helper()
		if err != nil {
			p.t.Fatal(err)
		}
		return flow.Expect(p.t, page, want)
	}
}

// isFor fails the test unless the browser takes a code for the user to a client.
func (p *provider) isFor(flow *authorizetest.Flow, user string) func(*authorizetest.Page, error) {
	return func(page *authorizetest.Page, err error) {
		p.t.Helper()
		if sub := p.claims(flow, p.expect(flow, nil)(page, err))["sub"]; sub != user {
			p.t.Errorf("the code is for %v, want %s", sub, user)
		}
	}
}

func as(name string) url.Values {
	return url.Values{"username": {name}, "password": {name + "-password"}}
}

// signInAs signs the user in without a request, in addition to users who are signed in already.
func (p *provider) signInAs(name string) {
	p.t.Helper()
	login := p.page(p.browser.Open(p.origin + p.path + "/login?another"))("Sign in")
	p.page(login.Submit(as(name)))("You are signed in")
}

// authorizeOwn gets a code for the trusted client, which needs only a sign-in.
func (p *provider) authorizeOwn(changes ...url.Values) (*authorizetest.Flow, string) {
	p.t.Helper()
	flow := p.client("own").Start(changes...)
	return flow, p.expect(flow, nil)(p.browser.Open(flow.URL))
}

// answer is the response of an endpoint without pages.
type answer struct {
	status int
	header http.Header
	json   map[string]any
}

func (p *provider) call(r *http.Request) answer {
	p.t.Helper()
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, r)
	a := answer{status: w.Code, header: w.Header()}
	body, err := io.ReadAll(w.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(body, &a.json); err != nil {
			p.t.Fatalf("%v in %s", err, body)
		}
	}
	return a
}

// tokenRequest posts to the token endpoint.
func (p *provider) tokenRequest(form url.Values, change ...func(*http.Request)) answer {
	p.t.Helper()
	r := httptest.NewRequest(http.MethodPost, p.origin+p.path+"/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, c := range change {
		c(r)
	}
	return p.call(r)
}

// basic authenticates with the encoding of RFC 6749 §2.3.1.
func basic(id, secret string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret)) }
}

// own authenticates the trusted client, auth any client.
var (
	own  = basic("own", "own-secret")
	auth = map[string]func(*http.Request){
		"own": own, "web": basic("web", "web s3cret:%+é"), "named": basic("named", "named-secret"), "app": basic("app", ""),
	}
)

func grant(flow *authorizetest.Flow, code string) url.Values {
	redemption := flow.Redemption(code)
	return url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {redemption.Code},
		"redirect_uri":  {redemption.RedirectURI},
		"code_verifier": {redemption.Verifier},
	}
}

// tokens redeems a code and fails the test if that does not work.
func (p *provider) redeem(flow *authorizetest.Flow, code string) answer {
	p.t.Helper()
	a := p.tokenRequest(grant(flow, code), auth[flow.Params.Get("client_id")])
	if a.status != http.StatusOK {
		p.t.Fatalf("no tokens: %d %v", a.status, a.json)
	}
	return a
}

// claims redeems a code and returns the claims of its ID token.
func (p *provider) claims(flow *authorizetest.Flow, code string) map[string]any {
	p.t.Helper()
	return p.idTokenOf(p.redeem(flow, code))
}

// idTokenOf verifies the ID token of a response and returns its claims.
func (p *provider) idTokenOf(a answer) map[string]any {
	p.t.Helper()
	token, _ := a.json["id_token"].(string)
	claims := map[string]any{}
	if err := p.key.verify(token, &claims); err != nil {
		p.t.Fatalf("ID token %q: %v", token, err)
	}
	return claims
}

func (p *provider) userinfoWith(authorization string) answer {
	p.t.Helper()
	r := httptest.NewRequest(http.MethodGet, p.origin+p.path+"/userinfo", nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return p.call(r)
}
