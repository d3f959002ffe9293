package authorize

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/usher-auth/usher/authorize/internal/destination"
	"github.com/usher-auth/usher/authorize/internal/jose"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// claimsOf reads a sealed request without any key.
func claimsOf(t testing.TB, req string) map[string]any {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(req, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(raw, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// signIn is alice's sign-in at this moment.
func (s *site) signIn(subject string) *session.Session {
	return &session.Session{ID: fmt.Sprintf("%s-%d", subject, s.now.Unix()), Subject: subject, AuthTime: s.now}
}

func TestWhatIsSealed(t *testing.T) {
	s := newSite(t)
	old := alice()
	v := s.visitor(old)
	at := v.get(ask("prompt=login", "id_token_hint=hint-of-alice", "x_tenant=7", "+unknown=x", "+resource=https://api.example/a", "+resource=https://api.example/b")).want(t, "asked", "login")
	claims := claimsOf(t, at.req)
	for _, random := range []string{"jti", "browser"} {
		if text, _ := claims[random].(string); len(text) < 26 {
			t.Errorf("%s is %q", random, text)
		}
		delete(claims, random)
	}
	want := map[string]any{
		"iss": testIssuer, "aud": testEndpoint, "page": "login", "reason": "prompt_login", "hint_sub": base64.StdEncoding.EncodeToString([]byte("alice")),
		"iat": float64(testStart.Unix()), "exp": float64(testStart.Add(30 * time.Minute).Unix()),
		"found": []any{map[string]any{"k": signInKey(old), "t": float64(old.AuthTime.UnixMilli())}},
		"params": map[string]any{
			"response_type": []any{"code"}, "client_id": []any{"web"}, "redirect_uri": []any{"https://app.example/cb"},
			"scope": []any{"openid"}, "state": []any{"st-1"}, "nonce": []any{"n-1"}, "prompt": []any{"login"},
			"code_challenge": []any{testChallenge}, "code_challenge_method": []any{"S256"}, "x_tenant": []any{"7"},
			"resource": []any{"https://api.example/a", "https://api.example/b"},
		},
	}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if strings.Contains(at.location, "hint-of") {
		t.Error("the id_token_hint is carried across the login")
	}
}

func TestTheCookie(t *testing.T) {
	for _, c := range []struct {
		rule   string
		change func(*site)
		prefix string
		attrs  string
	}{
		{"https", func(*site) {}, "__Host-usher-", "; Path=/; Max-Age=1800; HttpOnly; Secure; SameSite=Lax"},
		{"http on loopback", func(s *site) { s.config.Issuer = "http://127.0.0.1:8080" }, "usher-", "; Path=/; Max-Age=1800; HttpOnly; SameSite=Lax"},
		{"http on localhost", func(s *site) { s.config.Issuer = "http://localhost:8080" }, "usher-", "; Path=/; Max-Age=1800; HttpOnly; SameSite=Lax"},
		{"as long as the request may wait", func(s *site) { s.config.PendingLifetime = time.Hour }, "__Host-usher-", "; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax"},
	} {
		s := newSite(t, c.change)
		v := s.visitor(nil)
		at := v.get(ask()).want(t, c.rule, "login")
		if len(at.cookies) != 1 {
			t.Fatalf("%s: %d cookies", c.rule, len(at.cookies))
		}
		name, value := at.cookies[0].Name, at.cookies[0].Value
		if want := name + "=" + value + c.attrs; at.cookies[0].Raw != want {
			t.Errorf("%s: %q, want %q", c.rule, at.cookies[0].Raw, want)
		}
		if claims := claimsOf(t, at.req); name != c.prefix+claims["jti"].(string) {
			t.Errorf("%s: the name is %q", c.rule, name)
		}
		_, secret, _ := strings.Cut(value, ".")
		if len(secret) < 26 || strings.Contains(at.req+at.location, secret) || strings.Contains(fmt.Sprint(claimsOf(t, at.req)), secret) {
			t.Errorf("%s: the secret %q is short, or in the request", c.rule, secret)
		}
		for _, parameter := range []string{"app.example", "st-1", "n-1", testChallenge} {
			if strings.Contains(value, parameter) {
				t.Errorf("%s: the cookie has %q in it", c.rule, parameter)
			}
		}
		v.session = s.signIn("alice")
		done := v.resume(at).want(t, c.rule, "code")
		dropped := name + "=" + regexp.MustCompile(`Max-Age=\d+`).ReplaceAllString(c.attrs, "Max-Age=0")
		if len(done.cookies) != 1 || done.cookies[0].Raw != dropped {
			t.Errorf("%s: when it was answered, the cookie became %q", c.rule, done.cookies[0].Raw)
		}
	}
}

// Each row is a way to come back from the login page.
func TestComingBack(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		rule string
		back func(v *visitor, at *reply) *reply
		want string
	}{
		{"as it should be", func(v *visitor, at *reply) *reply { return v.resume(at) }, "code"},
		{"with the user's no", func(v *visitor, at *reply) *reply { return v.deny(at) }, "client access_denied"},
		{"deny=0 is no no", func(v *visitor, at *reply) *reply { return v.get("deny=0&req=" + at.req) }, "code"},
		{"deny=true is no no", func(v *visitor, at *reply) *reply { return v.get("deny=true&req=" + at.req) }, "code"},
		{"another browser", func(v *visitor, at *reply) *reply { return s.visitor(s.signIn("mallory")).resume(at) }, "code"},
		{"another browser's no", func(v *visitor, at *reply) *reply { return s.visitor(nil).deny(at) }, "page Bad Request access_denied"},
		{"the cookie's secret is another", func(v *visitor, at *reply) *reply {
			v.eachCookie(func(c string) string { return c[:len(c)-1] + "A" + "B" })
			return v.resume(at)
		}, "code"},
		{"the cookie is empty", func(v *visitor, at *reply) *reply {
			v.eachCookie(func(string) string { return "" })
			return v.resume(at)
		}, "code"},
		{"the cookie holds the hash", func(v *visitor, at *reply) *reply {
			v.eachCookie(func(string) string { return "1." + claimsOf(t, at.req)["browser"].(string) })
			return v.resume(at)
		}, "code"},
		{"the cookie is there twice", func(v *visitor, at *reply) *reply {
			r := httptest.NewRequest("GET", "/authorize?req="+at.req, nil)
			v.eachCookie(func(c string) string { r.AddCookie(&http.Cookie{Name: at.cookies[0].Name, Value: c}); return c })
			return v.send(s.handler, r)
		}, "code"},
		{"the cookie of another request", func(v *visitor, at *reply) *reply {
			who := v.session
			v.session = nil
			other := v.get(ask())
			v.session = who
			v.cookies[at.cookies[0].Name] = v.cookies[other.cookies[0].Name]
			return v.resume(at)
		}, "code"},
		{"a second before it expires", func(v *visitor, at *reply) *reply {
			s.now = s.now.Add(30*time.Minute - time.Second)
			return v.resume(at)
		}, "code"},
		{"at the moment it expires", func(v *visitor, at *reply) *reply { s.now = s.now.Add(30 * time.Minute); return v.resume(at) }, "page Bad Request invalid_request"},
		{"a no at the moment it expires", func(v *visitor, at *reply) *reply { s.now = s.now.Add(30 * time.Minute); return v.deny(at) }, "page Bad Request invalid_request"},
		{"empty", func(v *visitor, at *reply) *reply { return v.get("req=&deny=1") }, "page Bad Request invalid_request"},
		{"no JWT", func(v *visitor, at *reply) *reply { return v.get("req=x") }, "page Bad Request invalid_request"},
		{"cut off", func(v *visitor, at *reply) *reply { return v.get("req=" + at.req[:len(at.req)-5]) }, "page Bad Request invalid_request"},
		{"with one character changed", func(v *visitor, at *reply) *reply { return v.get("req=" + flip(at.req, len(at.req)/2)) }, "page Bad Request invalid_request"},
		{"unsigned", func(v *visitor, at *reply) *reply {
			return v.get("req=" + base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"usher-request+jwt","kid":"one"}`)) + "." + strings.Split(at.req, ".")[1] + ".")
		}, "page Bad Request invalid_request"},
		{"in upper case", func(v *visitor, at *reply) *reply { return v.get("req=" + strings.ToUpper(at.req)) }, "page Bad Request invalid_request"},
		{"twice", func(v *visitor, at *reply) *reply { return v.get("req=" + at.req + "&req=" + at.req) }, "page Bad Request invalid_request"},
		{"by POST", func(v *visitor, at *reply) *reply { return v.post("req=" + at.req) }, "page Bad Request invalid_request"},
		{"by POST with req in the query", func(v *visitor, at *reply) *reply { return v.send(s.handler, formPost("/authorize?req="+at.req, "")) }, "page Bad Request invalid_request"},
		{"by HEAD", func(v *visitor, at *reply) *reply {
			return v.send(s.handler, httptest.NewRequest("HEAD", "/authorize?req="+at.req, nil))
		}, "page Method Not Allowed invalid_request"},
		{"by a prefetch", func(v *visitor, at *reply) *reply {
			r := httptest.NewRequest("GET", "/authorize?req="+at.req, nil)
			r.Header.Set("Sec-Purpose", "prefetch")
			return v.send(s.handler, r)
		}, "page Bad Request invalid_request"},
		{"with other parameters beside it", func(v *visitor, at *reply) *reply {
			return v.get("req=" + at.req + "&redirect_uri=https%3A%2F%2Fevil.example%2F&client_id=evil&scope=openid+admin&response_type=token&state=evil&prompt=none&response_mode=form_post")
		}, "code"},
		{"with a parameter twice beside it", func(v *visitor, at *reply) *reply { return v.get("req=" + at.req + "&state=a&state=b") }, "code"},
		{"without signing in", func(v *visitor, at *reply) *reply { v.session = nil; return v.resume(at) }, "login"},
	} {
		s.now = testStart
		v := s.visitor(nil)
		at := v.get(ask()).want(t, c.rule, "login")
		v.session = s.signIn("alice")
		got := c.back(v, at).want(t, c.rule, c.want)
		if got.kind == "client" && (got.target != "https://app.example/cb" || got.params["state"] != "st-1" || got.status != 302) {
			t.Errorf("%s: status %d to %s with the state %q", c.rule, got.status, got.target, got.params["state"])
		}
	}
}

func (v *visitor) eachCookie(change func(string) string) {
	for name, value := range v.cookies {
		v.cookies[name] = change(value)
	}
}

func flip(text string, i int) string {
	c := byte('A')
	if text[i] == c {
		c = 'B'
	}
	return text[:i] + string(c) + text[i+1:]
}

func TestARequestIsAnsweredOnceInItsBrowser(t *testing.T) {
	for _, c := range []struct {
		rule  string
		first func(v *visitor, at *reply) *reply
		want  string
	}{
		{"by a code", (*visitor).resume, "code"},
		{"by the user's no", (*visitor).deny, "client access_denied"},
	} {
		s := newSite(t)
		v := s.visitor(nil)
		at := v.get(ask())
		v.session = s.signIn("alice")
		c.first(v, at).want(t, c.rule, c.want)
		v.resume(at).want(t, "again "+c.rule+": it begins anew", "code")
		v.deny(at).want(t, "no, after it was answered "+c.rule, "page Bad Request access_denied")
	}
}

// What another endpoint, another issuer or other keys have sealed is not ours.
func TestRequestsSealedElsewhere(t *testing.T) {
	for _, c := range []struct {
		rule   string
		change func(*site)
		want   string
	}{
		{"another replica with the same configuration", func(*site) {}, "code"},
		{"another endpoint", func(s *site) { s.config.Endpoint = testIssuer + "/other" }, "page Bad Request invalid_request"},
		{"another issuer with the same endpoint", func(s *site) { s.config.Issuer, s.config.Endpoint = "https://other.example", testEndpoint }, "page Bad Request invalid_request"},
		{"another key", func(s *site) { s.config.Keys = []Key{{ID: "two", Secret: []byte("another 32 bytes, known to nobody")}} }, "page Bad Request invalid_request"},
		{"another key of the same ID", func(s *site) { s.config.Keys = []Key{{ID: "one", Secret: []byte("another 32 bytes, known to nobody")}} }, "page Bad Request invalid_request"},
		{"no keys: each process has its own", func(s *site) { s.config.Keys = nil }, "page Bad Request invalid_request"},
		{"a new key in front of the old", func(s *site) {
			s.config.Keys = append([]Key{{ID: "two", Secret: []byte("another 32 bytes, known to nobody")}}, s.config.Keys...)
		}, "code"},
	} {
		s := newSite(t)
		v := s.visitor(nil)
		at := v.get(ask())
		c.change(s)
		s.restart()
		v.session = s.signIn("alice")
		v.resume(at).want(t, c.rule, c.want)
	}
}

func TestWithoutKeysOneProcessIsEnough(t *testing.T) {
	s := newSite(t, func(s *site) { s.config.Keys = nil })
	v := s.visitor(nil)
	at := v.get(ask())
	v.session = s.signIn("alice")
	v.resume(at).want(t, "the same process", "code")
	if !strings.Contains(s.log.String(), "Config.Keys is empty") {
		t.Error("the log does not say that a random key is in use")
	}
}

// On its return the request is checked against the client as it is now.
func TestWhatChangedMeanwhileCounts(t *testing.T) {
	for _, c := range []struct {
		rule   string
		change func(s *site, web *Client)
		want   string
	}{
		{"nothing", func(*site, *Client) {}, "code"},
		{"the client is gone", func(s *site, _ *Client) { s.memory.DeleteClient("web") }, "page Bad Request invalid_client"},
		{"the client is disabled", func(_ *site, web *Client) { web.Disabled = true }, "page Bad Request invalid_client"},
		{"the redirect URI is gone", func(_ *site, web *Client) { web.RedirectURIs = []string{"https://app.example/new"} }, "page Bad Request redirect_uri_mismatch"},
		{"the scope is gone", func(_ *site, web *Client) { web.Scopes = []string{"profile"} }, "client invalid_scope"},
		{"the response type is gone", func(_ *site, web *Client) { web.ResponseTypes = []string{"none"} }, "client unauthorized_client"},
		{"the response mode is another's now", func(_ *site, web *Client) { web.ResponseModes = []string{"query"} }, "client invalid_request"},
		{"it has to push now", func(_ *site, web *Client) { web.RequirePushed = true }, "client invalid_request"},
		{"the policy says no", func(s *site, _ *Client) {
			s.config.Allow = func(context.Context, *session.Session, *Request) (bool, error) { return false, nil }
			s.restart()
		}, "client access_denied"},
	} {
		s := newSite(t)
		v := s.visitor(nil)
		at := v.get(ask("response_mode=form_post"))
		web, err := s.memory.Client(context.Background(), "web")
		if err != nil {
			t.Fatal(err)
		}
		c.change(s, web)
		if stored, _ := s.memory.Client(context.Background(), "web"); stored != nil {
			s.memory.PutClient(*web)
		}
		v.session = s.signIn("alice")
		v.resume(at).want(t, c.rule, c.want)
	}
}

func TestTheHintsSubjectIsCarriedAcrossTheLogin(t *testing.T) {
	for _, c := range []struct {
		rule, subject, want string
	}{
		{"the user that was asked for", "alice", "code"},
		{"another user has signed in", "bob", "client login_required"},
	} {
		s := newSite(t)
		v := s.visitor(nil)
		at := v.get(ask("id_token_hint=hint-of-alice"))
		s.config.IDTokenHint = func(context.Context, string) (string, error) { t.Error("a hint was verified twice"); return "", nil }
		s.restart()
		v.session = s.signIn(c.subject)
		v.resume(at).want(t, c.rule, c.want)
	}
}

// A browser that sends thousands of such cookies is not answered with as many removals.
func TestForgedCookiesAreRemovedAFewAtATime(t *testing.T) {
	s := newSite(t)
	v := s.visitor(nil)
	name := ""
	v.get(ask())
	for name = range v.cookies {
	}
	for i := range 1000 {
		v.cookies[name[:len(name)-4]+fmt.Sprintf("%04d", i)] = fmt.Sprintf("%d.x", i)
	}
	if got := v.get(ask()).want(t, "one more", "login"); len(got.cookies) > 10 {
		t.Errorf("%d cookies are set", len(got.cookies))
	}
}

// OpenID Connect demands a redirect_uri, whether openid was asked for or is what the
// client gets without asking.
func TestOpenIDByDefaultNeedsARedirectURI(t *testing.T) {
	for _, c := range []struct {
		rule     string
		defaults []string
		scope    string
		want     string
	}{
		{"not OpenID Connect", []string{"api:read"}, "-scope", "code"},
		{"openid by default", []string{"openid"}, "-scope", "page Bad Request invalid_request"},
		{"openid by default, a scope of blanks, which is none", []string{"openid"}, "scope=++", "page Bad Request invalid_request"},
		{"openid by default, another scope asked for", []string{"openid"}, "scope=api:read", "code"},
		{"openid asked for", []string{"api:read"}, "scope=openid", "page Bad Request invalid_request"},
	} {
		s := newSite(t)
		s.memory.PutClient(Client{
			ID: "only", DefaultRedirectURI: true, RedirectURIs: []string{"https://only.example/cb"},
			Scopes: []string{"openid", "api:read"}, DefaultScopes: c.defaults, PKCEOptional: true,
		})
		s.visitor(alice()).get(ask("client_id=only", "-redirect_uri", c.scope)).want(t, c.rule, c.want)
	}
}

func TestEightRequestsCanWaitInABrowser(t *testing.T) {
	s := newSite(t)
	v := s.visitor(nil)
	var tabs []*reply
	for range 9 {
		tabs = append(tabs, v.get(ask()).want(t, "opened", "login"))
		s.now = s.now.Add(time.Millisecond)
	}
	if len(v.cookies) != 8 {
		t.Errorf("%d cookies", len(v.cookies))
	}
	v.session = s.signIn("alice")
	v.resume(tabs[0]).want(t, "the oldest gave way, and begins anew", "code")
	for i, tab := range tabs[1:] {
		v.resume(tab).want(t, fmt.Sprintf("tab %d", i+1), "code")
	}
	if len(v.cookies) != 0 {
		t.Errorf("after all were answered, the browser has %v", v.cookies)
	}
}

// A page can send what was given to another.
func TestTheLoginsRequestAtAnotherPage(t *testing.T) {
	s := newSite(t, withConsent, withStep(Interaction{Name: "terms", Page: "/terms", Needed: always}))
	v := s.visitor(nil)
	at := v.get(ask()).want(t, "nobody", "login")
	v.session = s.signIn("alice")
	v.grant(at, "openid").want(t, "Grant with the login page's request", "consent")
	v.complete(at, "terms").want(t, "Complete with the login page's request", "consent")
}

// jsonLen is how the limit is measured.
func TestJSONLen(t *testing.T) {
	texts := []string{"", "a", "é", "\u2028", "\u2029", "\u2027", "\ufffd", "\xff", "a\xffb\xfe", "😀", "<&>", "\x7f"}
	for c := range byte(0x80) {
		texts = append(texts, string(rune(c)), "x"+string(rune(c))+"y")
	}
	for _, text := range texts {
		var out bytes.Buffer
		encoder := json.NewEncoder(&out)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(text); err != nil {
			t.Fatal(err)
		}
		if got, want := jsonLen(text), out.Len()-len("\"\"\n"); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

// A session cookie of another length, or of another program, is not ours to push out.
func TestCookiesOfAnotherName(t *testing.T) {
	s := newSite(t)
	v := s.visitor(nil)
	for i := range 9 {
		v.cookies[fmt.Sprintf("__Most-usher-%026d", i)] = "1.x"
	}
	if at := v.get(ask()); len(at.cookies) != 1 {
		t.Errorf("%d cookies were set", len(at.cookies))
	}
}

func TestCookiesThatOnlyLookLikeOursAreLeftAlone(t *testing.T) {
	s := newSite(t)
	v := s.visitor(nil)
	for i := range 20 {
		v.cookies[fmt.Sprintf("__Host-usher-%d", i)] = "x"
		v.cookies[fmt.Sprintf("other-%d", i)] = "1.x"
	}
	if at := v.get(ask()); len(at.cookies) != 1 {
		t.Errorf("%d cookies were set", len(at.cookies))
	}
	// Whatever their values are: numbers too large, none at all.
	for i := range 12 {
		v.cookies[fmt.Sprintf("__Host-usher-%026d", i)] = []string{"99999999999999999999999.x", "-9223372036854775808.x", "", "..", "9223372036854775807"}[i%5]
	}
	if at := v.get(ask()); len(at.cookies) != 1+13-7 {
		t.Errorf("%d cookies were set", len(at.cookies))
	}
}

// Two tabs, two users, one after the other: each request ends for whoever is signed
// in when it comes back, with its own state.
func TestTabsDoNotMix(t *testing.T) {
	s := newSite(t)
	v := s.visitor(nil)
	first, second := v.get(ask("state=one")), v.get(ask("state=two", "client_id=spa"))
	v.session = s.signIn("alice")
	a := v.resume(second).want(t, "the second tab", "code")
	v.session = s.signIn("bob")
	b := v.resume(first).want(t, "the first tab", "code")
	if a.params["state"] != "two" || b.params["state"] != "one" || a.target != "https://spa.example/cb" || b.target != "https://app.example/cb" {
		t.Errorf("%v to %s, %v to %s", a.params, a.target, b.params, b.target)
	}
	code, err := s.redeem(b.params["code"], nil)
	if err != nil || code.Subject != "bob" {
		t.Errorf("%+v, %v", code, err)
	}
}

func TestPromptLoginNeedsANewSignIn(t *testing.T) {
	for _, c := range []struct{ rule, ask string }{{"prompt=login", "prompt=login"}, {"max_age=0", "max_age=0"}, {"max_age", "max_age=10"}, {"select_account", "prompt=select_account"}} {
		s := newSite(t)
		v := s.visitor(alice())
		at := v.get(ask(c.ask)).want(t, c.rule, "login")
		s.now = s.now.Add(time.Minute)
		next := v.resume(at).want(t, c.rule+": came back without signing in", "login")
		before, after := claimsOf(t, at.req), claimsOf(t, next.req)
		before["stale"] = 1.0
		if diff := cmp.Diff(before, after); diff != "" || len(next.cookies) != 0 {
			t.Errorf("%s: the login page shown again has another request: %s %v", c.rule, diff, next.cookies)
		}
		told := v.resume(next).want(t, c.rule+": and again", "client login_required")
		if told.params["error_description"] != "The user did not sign in as the request demands." {
			t.Errorf("%s: the client reads %q", c.rule, told.params["error_description"])
		}
		at = v.get(ask(c.ask)).want(t, c.rule, "login")
		v.session = s.signIn("alice")
		v.resume(at).want(t, c.rule+": signed in", "code")
	}
}

func TestPromptLoginStaysKeptWhileThePagesAfterItTakeTheirTime(t *testing.T) {
	s := newSite(t, withConsent)
	v := s.visitor(alice())
	at := v.get(ask("max_age=10")).want(t, "asked", "login")
	v.session = s.signIn("alice")
	at = v.resume(at).want(t, "signed in", "consent")
	s.now = s.now.Add(20 * time.Minute)
	v.grant(at, "openid").want(t, "agreed after 20 minutes", "code")
}

func TestAClockThatLagsIsNoLoop(t *testing.T) {
	for _, c := range []struct {
		rule   string
		change func(*session.Session)
		log    string
	}{
		{"the host's clock lags a minute", func(s *session.Session) { s.AuthTime = testStart.Add(-time.Minute) }, "AuthTime is before the request. AuthTime is 2026-03-01T11:59:00.000Z"},
		{"an account that waited", func(s *session.Session) { s.SignedInAt = testStart.Add(-time.Second) }, "SignedInAt is before the request. AuthTime is 2026-03-01T12:00:00.000Z, SignedInAt 2026-03-01T11:59:59.000Z"},
		{"no time at all", func(s *session.Session) { s.AuthTime = time.Time{} }, "AuthTime is zero. AuthTime is not set"},
	} {
		s := newSite(t)
		v := s.visitor(nil)
		at := v.get(ask("prompt=login"))
		v.session = s.signIn("alice")
		c.change(v.session)
		at = v.resume(at).want(t, c.rule, "login")
		v.resume(at).want(t, c.rule+", again", "client login_required")
		if text := s.lastEvent().Err.Error(); !strings.Contains(text, "clock skew of 5s") || !strings.Contains(text, c.log) {
			t.Errorf("%s: the log says %q", c.rule, text)
		}
	}
	s := newSite(t)
	s.config.ClockSkew = time.Minute
	s.restart()
	v := s.visitor(nil)
	at := v.get(ask("prompt=login"))
	v.session = s.signIn("alice")
	v.session.AuthTime = s.now.Add(-time.Minute)
	v.resume(at).want(t, "with as much skew allowed", "code")
}

func TestSealingAgainKeepsWhatBindsTheRequest(t *testing.T) {
	s := newSite(t, withConsent, withStep(Interaction{Name: "terms", Page: "/terms", Needed: always}))
	v := s.visitor(nil)
	login := v.get(ask()).want(t, "first", "login")
	s.now = s.now.Add(time.Minute)
	v.session = s.signIn("alice")
	consent := v.resume(login).want(t, "signed in", "consent")
	s.now = s.now.Add(time.Minute)
	terms := v.grant(consent, "openid").want(t, "agreed", "terms")
	s.now = s.now.Add(time.Minute)
	first := claimsOf(t, login.req)
	for name, at := range map[string]*reply{"consent": consent, "terms": terms} {
		claims := claimsOf(t, at.req)
		for _, kept := range []string{"iss", "aud", "jti", "iat", "exp", "browser", "params"} {
			if diff := cmp.Diff(first[kept], claims[kept]); diff != "" {
				t.Errorf("%s: %s is another: %s", name, kept, diff)
			}
		}
		if claims["page"] != name || len(at.cookies) != 0 {
			t.Errorf("%s: the page is %v, cookies %v", name, claims["page"], at.cookies)
		}
	}
	v.complete(terms, "terms").want(t, "accepted", "code")
}

func TestACompletedInteractionCountsForThisSignInOnly(t *testing.T) {
	for _, c := range []struct {
		rule   string
		before session.Session
		after  session.Session
		want   string
	}{
		{"the same session", session.Session{ID: "1", Subject: "alice"}, session.Session{ID: "1", Subject: "alice"}, "code"},
		{"the same user, another session", session.Session{ID: "1", Subject: "alice"}, session.Session{ID: "2", Subject: "alice"}, "terms"},
		{"another user", session.Session{ID: "1", Subject: "alice"}, session.Session{ID: "2", Subject: "bob"}, "terms"},
		{"another user with the same session id", session.Session{ID: "1", Subject: "alice"}, session.Session{ID: "1", Subject: "bob"}, "terms"},
		{"an id and a subject that read alike", session.Session{ID: "1 x", Subject: "alice"}, session.Session{ID: "1", Subject: "x alice"}, "terms"},
		{"no id, the same time", session.Session{Subject: "alice", AuthTime: testStart}, session.Session{Subject: "alice", AuthTime: testStart}, "code"},
		{"no id, another time", session.Session{Subject: "alice", AuthTime: testStart}, session.Session{Subject: "alice", AuthTime: testStart.Add(time.Second)}, "terms"},
		{"an id that reads like a time", session.Session{Subject: "alice", AuthTime: testStart}, session.Session{ID: fmt.Sprint(testStart.UnixMilli()), Subject: "alice", AuthTime: testStart}, "terms"},
		{"nobody", session.Session{ID: "1", Subject: "alice"}, session.Session{}, "login"},
		{"half signed in", session.Session{ID: "1", Subject: "alice"}, session.Session{ID: "1", Subject: "alice", SecondFactorPending: true}, "login"},
	} {
		s := newSite(t, withStep(Interaction{Name: "terms", Page: "/terms", Needed: always}))
		v := s.visitor(&c.before)
		at := v.get(ask()).want(t, c.rule, "terms")
		back := v.page(func(w http.ResponseWriter, r *http.Request) { s.handler.Complete(w, r, "terms") }, formPost("/terms?req="+at.req, ""))
		v.session = &c.after
		v.follow(back).want(t, c.rule, c.want)
	}
}

// A page may sign its user in anew, in the same response: what was done before stays done.
func TestAPageMayRenewTheSignIn(t *testing.T) {
	first := session.Session{ID: "1", Subject: "alice", AuthTime: testStart, ACR: "2", AMR: []string{"pwd", "otp"}, Data: []byte("org-1")}
	with := func(change func(*session.Session)) session.Session {
		s := first
		s.ID, s.AuthTime = "2", testStart.Add(time.Second)
		change(&s)
		return s
	}
	for _, c := range []struct {
		rule  string
		after session.Session
		want  string
	}{
		{"not at all", first, "code"},
		{"the same user", with(func(*session.Session) {}), "code"},
		{"the same user, without an id", with(func(s *session.Session) { s.ID = "" }), "code"},
		{"the same user in another role", with(func(s *session.Session) { s.Data = []byte("org-2") }), "consent"},
		{"the same user at another level", with(func(s *session.Session) { s.ACR = "1" }), "consent"},
		{"the same user by other methods", with(func(s *session.Session) { s.AMR = []string{"pwd otp"} }), "consent"},
		{"another user", with(func(s *session.Session) { s.Subject = "bob" }), "consent"},
		{"another user under the same id", with(func(s *session.Session) { s.ID, s.Subject = "1", "bob" }), "consent"},
		{"nobody", session.Session{}, "login"},
		{"the same sign-in in another role", session.Session{ID: "1", Subject: "alice", AuthTime: testStart, ACR: "2", AMR: []string{"pwd", "otp"}, Data: []byte("org-2")}, "code"},
	} {
		s := newSite(t, withConsent, withStep(Interaction{Name: "terms", Page: "/terms", Needed: always}),
			withStep(Interaction{Name: "password", Page: "/password", Needed: always}))
		v := s.visitor(&first)
		// Consent of a native client is asked for every time, so only this request has it.
		at := v.get(ask("client_id=native")).want(t, c.rule, "consent")
		at = v.complete(v.grant(at, "openid"), "terms").want(t, c.rule, "password")
		v.session = &c.after
		v.complete(at, "password").want(t, c.rule, c.want)
	}
}

// Consent is given by the very sign-in that was asked.
func TestConsentIsOfTheSignInThatWasAsked(t *testing.T) {
	for _, c := range []struct {
		rule  string
		after session.Session
		want  string
	}{
		{"that one", session.Session{ID: "1", Subject: "alice"}, "code"},
		{"a newer one of the same user", session.Session{ID: "2", Subject: "alice"}, "consent"},
		{"another user", session.Session{ID: "2", Subject: "bob"}, "consent"},
	} {
		s := newSite(t, withConsent)
		v := s.visitor(&session.Session{ID: "1", Subject: "alice"})
		at := v.get(ask()).want(t, c.rule, "consent")
		v.session = &c.after
		v.grant(at, "openid").want(t, c.rule, c.want)
	}
}

// pending is what a page of the host reads, to which the browser was sent.
func (v *visitor) pending(at *reply) (*Pending, error) {
	r := httptest.NewRequest("GET", "/page?req="+at.req, nil)
	for name, value := range v.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	return v.site.handler.Pending(r)
}

// A host's page is told whom the endpoint has sent to it.
func TestAPageIsToldWhoWasSentToIt(t *testing.T) {
	s := newSite(t, withConsent)
	v := s.visitor(alice())
	for page, want := range map[string]string{ask(): "alice", ask("prompt=login"): ""} {
		at := v.get(page)
		p, err := v.pending(at)
		if err != nil || p.Subject != want || p.Anew {
			t.Errorf("%s: %v, %v, want %q", at.kind, p, err, want)
		}
		p, err = s.visitor(alice()).pending(at)
		if err != nil || p.Subject != "" || !p.Anew {
			t.Errorf("%s, in another browser: %v, %v", at.kind, p, err)
		}
	}
}

// The new sign-in takes over what this user did, and nothing of others.
func TestARenewedSignInTakesOverItsOwn(t *testing.T) {
	alice1, alice2, bob := session.Session{ID: "1", Subject: "alice"}, session.Session{ID: "2", Subject: "alice"}, session.Session{ID: "3", Subject: "bob"}
	of := func(name string, by session.Session) completed {
		return completed{Name: name, By: signInKey(&by)}
	}
	earlier := of("survey", session.Session{ID: "0", Subject: "alice"})
	s := waiting{For: signInOf(&alice1), Done: []completed{of("terms", alice1), of("consent", bob), of("password", bob), earlier}}
	before := slices.Clone(s.Done)
	done := s.Done
	s.complete(of("password", alice2), &alice2)
	want := []completed{of("password", alice2), of("terms", alice2), of("consent", bob), earlier}
	if diff := cmp.Diff(want, s.Done); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(before, done); diff != "" {
		t.Errorf("the list before was changed (-before +after)\n%s", diff)
	}
	s = waiting{For: signInOf(&alice1), Done: []completed{of("terms", alice1)}}
	s.complete(of("accounts", bob), &bob)
	if want := []completed{of("accounts", bob), of("terms", alice1)}; cmp.Diff(want, s.Done) != "" {
		t.Errorf("bob, who was chosen, has done %v, want %v", s.Done, want)
	}
}

// The page of an interaction is left by its own way only: coming back is not enough.
func TestAnInteractionIsNotPassedByComingBack(t *testing.T) {
	s := newSite(t, withConsent, withStep(Interaction{Name: "terms", Page: "/terms?v=2#top", Needed: always}))
	v := s.visitor(alice())
	at := v.get(ask()).want(t, "asked", "consent")
	v.resume(at).want(t, "came back", "consent")
	early := v.complete(at, "terms").want(t, "another one was completed", "consent")
	v.grant(early, "openid").want(t, "which does not count", "terms")
	terms := v.grant(at, "openid").want(t, "agreed", "terms")
	if !strings.HasPrefix(terms.location, testIssuer+"/terms?v=2&req=ey") || !strings.HasSuffix(terms.location, "#top") {
		t.Errorf("the page's own query and fragment: %s", terms.location)
	}
}

func TestEndingAnInteractionTheWrongWay(t *testing.T) {
	for _, c := range []struct {
		rule string
		do   func(v *visitor, at *reply) *reply
		want string
	}{
		{"in another browser", func(v *visitor, at *reply) *reply { v.cookies = map[string]string{}; return v.complete(at, "terms") }, "terms"},
		{"after it expired", func(v *visitor, at *reply) *reply {
			v.site.now = v.site.now.Add(time.Hour)
			return v.complete(at, "terms")
		}, "page Bad Request invalid_request"},
		{"by nobody", func(v *visitor, at *reply) *reply { v.session = nil; return v.complete(at, "terms") }, "login"},
		{"by someone half signed in", func(v *visitor, at *reply) *reply {
			v.session.SecondFactorPending = true
			return v.complete(at, "terms")
		}, "login"},
		{"under another name", func(v *visitor, at *reply) *reply { return v.complete(at, "other") }, "page Service Unavailable server_error"},
		{"as a login", func(v *visitor, at *reply) *reply { return v.complete(at, "login") }, "page Service Unavailable server_error"},
		{"as consent where there is none", func(v *visitor, at *reply) *reply { return v.grant(at, "openid") }, "page Service Unavailable server_error"},
		{"without a request", func(v *visitor, at *reply) *reply { return v.complete(&reply{}, "terms") }, "page Bad Request invalid_request"},
		{"with a damaged request", func(v *visitor, at *reply) *reply { at.req = flip(at.req, 100); return v.complete(at, "terms") }, "page Bad Request invalid_request"},
	} {
		s := newSite(t, withStep(Interaction{Name: "terms", Page: "/terms", Needed: always}))
		v := s.visitor(alice())
		c.do(v, v.get(ask()).want(t, c.rule, "terms")).want(t, c.rule, c.want)
	}
}

func TestTheSessionStoreFailsAtTheEndOfAnInteraction(t *testing.T) {
	s := newSite(t, withStep(Interaction{Name: "terms", Page: "/terms", Needed: always}))
	v := s.visitor(alice())
	at := v.get(ask()).want(t, "asked", "terms")
	s.config.Sessions = SessionFunc(func(*http.Request) (*session.Session, error) { return alice(), errors.New("down") })
	s.restart()
	v.complete(at, "terms").want(t, "down", "page Service Unavailable server_error")
	s.config.Timeout = impatient
	s.config.Sessions = SessionFunc(func(r *http.Request) (*session.Session, error) { <-r.Context().Done(); return alice(), nil })
	s.restart()
	v.complete(at, "terms").want(t, "too late", "page Service Unavailable temporarily_unavailable")
}

// A request that cannot be carried is refused while it still can be.
func TestARequestThatIsTooLongToBeCarried(t *testing.T) {
	s := newSite(t)
	v := s.visitor(nil)
	long := strings.Repeat("s", 6000)
	got := v.get(ask("state="+long)).want(t, "6,000 bytes of state", "client invalid_request")
	if got.params["state"] != long || len(got.cookies) != 0 || len(v.cookies) != 0 {
		t.Errorf("the state is gone, or cookies were set: %v", got.cookies)
	}
	if e := s.lastEvent(); !strings.Contains(e.Err.Error(), fmt.Sprintf("and %d are left for them", s.handler.room)) {
		t.Errorf("the log does not say how long it may be: %v", e.Err)
	}
}

// waitingSites are endpoints whose requests have different room while they wait.
func waitingSites(t testing.TB) map[string]*site {
	long := func(name string) func(*site) {
		return withStep(Interaction{Name: name + strings.Repeat("_", 32-len(name)), Page: "/terms", Needed: always})
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer := func(key crypto.Signer) func(*site) {
		return func(s *site) { s.config.Keys = []Key{{Signer: key}} }
	}
	named := func(s *site) { s.config.Keys[0].ID = strings.Repeat(`<"é&`, 20) }
	consent := func(s *site) { s.config.Consent = &Consent{Page: "/consent"} }
	return map[string]*site{
		"HMAC, no pages":            newSite(t),
		"HMAC, a name in the key":   newSite(t, consent, named),
		"ECDSA, three long pages":   newSite(t, consent, signer(ecKey(t)), long("a"), long("b"), long("c")),
		"Ed25519, one long page":    newSite(t, consent, signer(edKey), long("a")),
		"RSA, consent":              newSite(t, consent, signer(rsaKey)),
		"an issuer that is escaped": newSite(t, consent, func(s *site) { s.config.Issuer = testIssuer + "/a&b" }),
	}
}

// letters are those that a client may use and that take different room in JSON.
var letters = []string{"a", "&", "<", ">", `"`, `\`, "é", "€", "\U0001f600", "\u2028", "\ufffd"}

// One limit, whether somebody is signed in or not: a client that works for one user works
// for all.
func TestOneLimitForWhoIsSignedInAndWhoIsNot(t *testing.T) {
	changes := []string{"-nonce", "id_token_hint=hint-of-alice", "id_token_hint=x", "claims=%7B%22userinfo%22:%7B%22" + strings.Repeat("c", 500) + "%22:null%7D%7D",
		"+resource=https://api.example/a&resource=https://api.example/b", "scope=" + strings.Join(allScopes, "+"), "response_type=none", "response_mode=form_post"}
	for name, s := range waitingSites(t) {
		if strings.HasPrefix(name, "HMAC, no") {
			for _, letter := range letters {
				t.Run(name+", "+letter, func(t *testing.T) { oneLimit(t, s, "-nonce", "state", letter) })
			}
			for _, change := range changes {
				t.Run(name+", "+change[:min(9, len(change))], func(t *testing.T) { oneLimit(t, s, change, "state", "é") })
			}
			t.Run("letters of six bytes", func(t *testing.T) { oneLimit(t, s, "id_token_hint=x", "authorization_details", "\x01") })
			continue
		}
		t.Run(name, func(t *testing.T) { oneLimit(t, s, changes[0], "state", `"`) })
	}
}

// oneLimit finds the longest parameter of these letters that passes for nobody, and wants it
// to be the longest for all.
func oneLimit(t *testing.T, s *site, change, name, letter string) {
	passes := func(v *visitor, post bool, n int) bool {
		request, send := ask(change, name+"="+url.QueryEscape(strings.Repeat(letter, n))), v.get
		if post {
			send = v.post
		}
		return send(request).params["error"] != "invalid_request"
	}
	most := destination.MaxState / len(letter)
	limit := sort.Search(most, func(n int) bool { return !passes(s.visitor(nil), false, n+1) })
	if limit == 0 || limit == most {
		t.Fatalf("there is no limit below %d", most)
	}
	for n := limit - 1; n <= limit+1; n++ {
		for who, v := range map[string]*visitor{
			"nobody": s.visitor(nil), "alice": s.visitor(alice()),
			"half signed in": s.visitor(&session.Session{SecondFactorPending: true, Subject: "alice"}),
		} {
			for _, post := range []bool{false, true} {
				if got := passes(v, post, n); got != (n <= limit) {
					t.Errorf("%d of them where %d pass, %s, by POST %v: passes %v", n, limit, who, post, got)
				}
			}
		}
	}
}

// subjects are the longest that there can be.
var subjects = map[string]string{
	"letters": strings.Repeat("s", 255), "quotes": strings.Repeat(`"`, 255), "backslashes": strings.Repeat(`\`, 255),
	"control characters": strings.Repeat("\x00", 255), "é": strings.Repeat("é", 127) + "s", "line separators": strings.Repeat("\u2028", 85), "markup": strings.Repeat("<", 255),
}

// What passes the limit never fails later, whoever signs in and whatever is granted.
func TestNothingThatPassesTheLimitFailsAfterwards(t *testing.T) {
	for name, s := range waitingSites(t) {
		state := func(n int) string { return "state=" + strings.Repeat("%22", n) }
		asked := []string{"scope=" + strings.Join(allScopes, "+"), "prompt=login", "client_id=native", "redirect_uri=http%3A%2F%2F127.0.0.1%3A65535%2Fcb"}
		n := sort.Search(destination.MaxState, func(n int) bool {
			return s.visitor(nil).get(ask(append(asked, state(n+1))...)).kind == "client"
		})
		for what, subject := range subjects {
			for _, found := range []*session.Session{nil, {ID: "\xff\x00", Subject: subject, AuthTime: testStart}} {
				t.Run(fmt.Sprintf("%s, a subject of %s, found %v", name, what, found != nil), func(t *testing.T) {
					v := s.visitor(found)
					at := v.get(ask(append(asked, state(n))...)).want(t, "asked", "login")
					s.now = s.now.Add(time.Second)
					v.session = &session.Session{ID: strings.Repeat("\xff", 5000), Subject: subject, AuthTime: s.now, Data: []byte{0xff, 0}}
					at = v.resume(at)
					if at.kind == "consent" {
						at = v.grant(at, allScopes...)
					}
					for at.kind == "terms" {
						at = v.complete(at, claimsOf(t, at.req)["page"].(string))
					}
					at.want(t, "at the end", "code")
				})
			}
		}
	}
}

// The same by numbers: for any request that the row lets pass, the longest that the form
// can become is signed, and the row does not refuse much that could be.
func TestTheLimitIsThatOfTheLongestForm(t *testing.T) {
	random := mathrand.New(mathrand.NewPCG(1, 2))
	for name, s := range waitingSites(t) {
		t.Run(name, func(t *testing.T) {
			for range 60 {
				p := params{hinted: random.IntN(2) == 0, hintUnverified: random.IntN(2) == 0}
				if p.hinted && !p.hintUnverified {
					p.hintSubject = subjects["control characters"]
				}
				for _, name := range []string{"client_id", "nonce", "claims", "resource", "resource", "display", "id_token_hint", "x_tenant"}[:random.IntN(9)] {
					value := ""
					for range random.IntN(60) {
						value += append(letters, "\xff", "\x00", "\n", "\x7f")[random.IntN(len(letters)+4)]
					}
					p.list = append(p.list, param{name, value})
				}
				scopes := allScopes[:random.IntN(len(allScopes)+1)]
				room := s.handler.room - jsonLength(p, scopes) - len(`"state":[""],`)
				p.list = append(p.list, param{"state", strings.Repeat("a", room)})
				if n := jsonLength(p, scopes); n != s.handler.room {
					t.Fatalf("%d bytes are predicted, want %d", n, s.handler.room)
				}
				longest := s.longestWaiting(p, scopes)
				text, err := s.handler.sign(longest)
				if err != nil {
					t.Fatalf("%v of %v", err, p)
				}
				if len(text) < jose.MaxSize-250 && !(p.hinted && p.hintUnverified) { // which leaves the room of its subject
					t.Errorf("it takes only %d bytes of %v", len(text), p)
				}
			}
		})
	}
}

// longestWaiting is the longest that a request can become: with all that it meets on its
// way noted as the endpoint notes it.
func (s *site) longestWaiting(p params, scopes []string) *waiting {
	h := s.handler
	who := func(i int) *session.Session {
		return &session.Session{ID: fmt.Sprint(i), Subject: subjects["control characters"], AuthTime: time.UnixMilli(math.MinInt64 + int64(i))}
	}
	r := &Request{params: p, hintSubject: p.hintSubject, hintUnverified: p.hintUnverified}
	w := h.newWaiting(&visit{request: r, session: who(0), started: time.Date(9999, 12, 31, 23, 0, 0, 999e6, time.UTC), anew: 2}, hash(""))
	for i := 1; i < maxFound; i++ {
		w.sentTo(decision{Interaction: LoginInteraction, Reason: ReasonPromptSelectAccount}, who(i))
	}
	w.Nobody = 2
	for _, x := range h.interactions {
		w.sentTo(decision{Interaction: x.Name, Reason: ReasonPromptSelectAccount}, who(0))
		done := completed{Name: x.Name, By: signInKey(who(0))}
		if x.Name == ConsentInteraction {
			done.Scopes = scopes
		}
		w.complete(done, who(0))
	}
	return &w
}

// brokenSigner is a key in hardware that does not answer.
type brokenSigner struct{ crypto.Signer }

func (brokenSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the hardware does not answer")
}

func TestASignerThatFails(t *testing.T) {
	s := newSite(t, func(s *site) { s.config.Keys = []Key{{Signer: brokenSigner{ecKey(t)}}} })
	v := s.visitor(nil)
	v.get(ask()).want(t, "the login page", "client server_error")
	if len(v.cookies) != 0 {
		t.Errorf("cookies were left behind: %v", v.cookies)
	}
	s.visitor(alice()).get(ask()).want(t, "who is signed in needs no signature", "code")
}

func TestNothingIsStoredForVisitorsWhoAreNotSignedIn(t *testing.T) {
	s := newSite(t, withConsent)
	s.config.Codes = failingCodes{t}
	s.restart()
	for range 1000 {
		s.visitor(nil).get(ask())
	}
	v := s.visitor(nil)
	v.resume(v.get(ask())).want(t, "and back again", "login")
}

// failingCodes is a CodeStore that must not be used.
type failingCodes struct{ t testing.TB }

func (f failingCodes) SaveCode(context.Context, string, *Code) error {
	f.t.Error("SaveCode")
	return nil
}
func (f failingCodes) FindCode(context.Context, string) (*Code, error) {
	f.t.Error("FindCode")
	return nil, nil
}
func (f failingCodes) TakeCode(context.Context, string, time.Time) (*Code, bool, error) {
	f.t.Error("TakeCode")
	return nil, false, nil
}

func TestResumeAndDenySendTheBrowserBack(t *testing.T) {
	s := newSite(t)
	v := s.visitor(nil)
	at := v.get(ask())
	v.session = s.signIn("alice")
	for _, c := range []struct {
		rule string
		do   func(http.ResponseWriter, *http.Request)
		r    *http.Request
		want string
	}{
		{"Resume, req in the query of a POST", s.resumeOf, formPost("/login?req="+at.req, "username=alice"), "?req=" + at.req},
		{"Resume, req in the query of a GET", s.resumeOf, httptest.NewRequest("GET", "/login?req="+at.req, nil), "?req=" + at.req},
		{"Resume, req in the form", s.resumeOf, parsed(formPost("/login", "username=alice&req="+at.req)), "?req=" + at.req},
		{"Resume, the form was not parsed", s.resumeOf, formPost("/login", "req="+at.req), "?req=" + at.req},
		{"Resume, something hostile", s.resumeOf, formPost("/login?req=x%26deny%3D1%0d%0a", ""), "?req=x%26deny%3D1%0D%0A"},
		{"Deny", s.handler.Deny, formPost("/login?req="+at.req, ""), "?req=" + at.req + "&deny=1"},
		{"Deny without req", s.handler.Deny, formPost("/login", ""), ""},
	} {
		got := v.page(c.do, c.r)
		if c.want == "" {
			got.want(t, c.rule, "page Bad Request invalid_request")
		} else if got.location != testEndpoint+c.want {
			t.Errorf("%s: sent to %q", c.rule, got.location)
		}
	}
}

// resumeOf is a login page that does nothing but call Resume.
func (s *site) resumeOf(w http.ResponseWriter, r *http.Request) { s.handler.Resume(w, r) }

// Somebody may sign in whom no application has sent.
func TestResumeWithoutARequest(t *testing.T) {
	s := newSite(t)
	at := s.visitor(nil).get(ask())
	for _, c := range []struct {
		rule string
		r    *http.Request
		want bool
	}{
		{"req in the query", formPost("/login?req="+at.req, ""), true},
		{"no req", formPost("/login", ""), false},
		{"an empty req", formPost("/login?req=", ""), false},
		{"a form that cannot be read", formPost("/login", "req=%zz"), false},
		{"the form was not parsed", formPost("/login", "req="+at.req), true},
	} {
		w := httptest.NewRecorder()
		if got := s.handler.Resume(w, c.r); got != c.want || got != (w.Header().Get("Location") != "") || !got && (len(w.Header()) != 0 || w.Body.Len() != 0) {
			t.Errorf("%s: %v, headers %v", c.rule, got, w.Header())
		}
	}
}

func parsed(r *http.Request) *http.Request {
	if err := r.ParseForm(); err != nil {
		panic(err)
	}
	return r
}

func TestPendingIsWhatTheLoginPageReads(t *testing.T) {
	s := newSite(t)
	v := s.visitor(nil)
	at := v.get(ask("scope=openid+profile+offline_access", "login_hint=al", "ui_locales=de+fr", "acr_values=2+1", "display=touch", "max_age=60", `claims=%7B%22id_token%22%3A%7B%22sub%22%3A%7B%22value%22%3A%22alice%22%7D%7D%7D`))
	p, err := s.handler.Pending(httptest.NewRequest("GET", "/login?req="+at.req, nil))
	if err != nil {
		t.Fatal(err)
	}
	r := p.Request
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"the interaction", p.Interaction, "login"},
		{"the reason", p.Reason, ReasonNotSignedIn},
		{"when it began", p.IssuedAt, testStart},
		{"when it ends", p.ExpiresAt, testStart.Add(30 * time.Minute)},
		{"the sealed request", p.JWT, at.req},
		{"the way back", p.ResumeURL, testEndpoint + "?req=" + at.req},
		{"the way to say no", p.DenyURL, testEndpoint + "?req=" + at.req + "&deny=1"},
		{"the client", r.Client.DisplayName(), "The Web App"},
		{"its id", r.ClientID, "web"},
		{"the redirect URI", r.RedirectURI, "https://app.example/cb"},
		{"its host", r.RedirectHost(), "app.example"},
		{"the scopes that can be granted", r.Scopes, []string{"openid", "profile", "offline_access"}},
		{"the login hint", r.LoginHint, "al"},
		{"the languages", r.UILocales, []string{"de", "fr"}},
		{"the levels wanted", r.ACRValues, []string{"2", "1"}},
		{"the display", r.Display, "touch"},
		{"the age", *r.MaxAge, int64(60)},
		{"the user asked for", r.Subject, "alice"},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.what, diff)
		}
	}
}

// A consent page has to show where the answer goes, also where the request left
// that to the registration.
func TestPendingKnowsTheDefaultRedirectURI(t *testing.T) {
	s := newSite(t)
	v := s.visitor(nil)
	at := v.get(ask("client_id=only", "scope=api:read", "-redirect_uri")).want(t, "asked", "login")
	p, err := s.handler.Pending(httptest.NewRequest("GET", "/login?req="+at.req, nil))
	if err != nil || p.Request.RedirectURI != "https://only.example/cb" || p.Request.RedirectHost() != "only.example" {
		t.Errorf("%+v, %v", p, err)
	}
	v.session = s.signIn("alice")
	if got := v.resume(at).want(t, "back", "code"); got.target != "https://only.example/cb" {
		t.Errorf("to %s", got.target)
	}
}

func TestPendingFails(t *testing.T) {
	for _, c := range []struct {
		rule string
		do   func(s *site, req string) *http.Request
		want oautherr.Code
	}{
		{"no req", func(*site, string) *http.Request { return httptest.NewRequest("GET", "/login", nil) }, oautherr.InvalidRequest},
		{"damaged", func(_ *site, req string) *http.Request {
			return httptest.NewRequest("GET", "/login?req="+flip(req, 50), nil)
		}, oautherr.InvalidRequest},
		{"expired", func(s *site, req string) *http.Request {
			s.now = s.now.Add(time.Hour)
			return httptest.NewRequest("GET", "/login?req="+req, nil)
		}, oautherr.InvalidRequest},
		{"the client is gone", func(s *site, req string) *http.Request {
			s.memory.DeleteClient("web")
			return httptest.NewRequest("GET", "/login?req="+req, nil)
		}, oautherr.InvalidClient},
		{"the client is disabled", func(s *site, req string) *http.Request {
			s.memory.PutClient(Client{ID: "web", Disabled: true})
			return httptest.NewRequest("GET", "/login?req="+req, nil)
		}, oautherr.InvalidClient},
		{"the redirect URI is gone", func(s *site, req string) *http.Request {
			s.memory.PutClient(Client{ID: "web"})
			return httptest.NewRequest("GET", "/login?req="+req, nil)
		}, oautherr.RedirectURIMismatch},
		{"the ClientStore fails", func(s *site, req string) *http.Request {
			s.config.Clients = clientFunc(func(context.Context, string) (*Client, error) { return nil, errors.New("down") })
			s.restart()
			return httptest.NewRequest("GET", "/login?req="+req, nil)
		}, oautherr.ServerError},
		{"the ClientStore gives another client", func(s *site, req string) *http.Request {
			s.config.Clients = clientFunc(func(context.Context, string) (*Client, error) { return &Client{ID: "other"}, nil })
			s.restart()
			return httptest.NewRequest("GET", "/login?req="+req, nil)
		}, oautherr.ServerError},
		{"the ClientStore hangs", func(s *site, req string) *http.Request {
			s.config.Clients = clientFunc(func(ctx context.Context, _ string) (*Client, error) { <-ctx.Done(); return nil, ctx.Err() })
			s.config.Timeout = impatient
			s.restart()
			return httptest.NewRequest("GET", "/login?req="+req, nil)
		}, oautherr.TemporarilyUnavailable},
	} {
		s := newSite(t)
		at := s.visitor(nil).get(ask())
		r := c.do(s, at.req)
		p, err := s.handler.Pending(r)
		if p != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v, want %s", c.rule, p, err, c.want)
		}
		// And what the host shows for it.
		s.visitor(nil).page(func(w http.ResponseWriter, r *http.Request) { s.handler.ShowError(w, r, err) }, r)
		if e := s.lastEvent(); e.Kind != EventErrorPage || e.Code != c.want {
			t.Errorf("%s: reported as %s %s", c.rule, e.Kind, e.Code)
		}
	}
}

type clientFunc func(ctx context.Context, id string) (*Client, error)

func (f clientFunc) Client(ctx context.Context, id string) (*Client, error) { return f(ctx, id) }

type loginFunc func(ctx context.Context, p *Pending) (string, error)

func (f loginFunc) LoginPage(ctx context.Context, p *Pending) (string, error) { return f(ctx, p) }

func TestTheLoginPage(t *testing.T) {
	page := func(text string) loginFunc {
		return func(_ context.Context, p *Pending) (string, error) { return text + "?req=" + p.JWT, nil }
	}
	for _, c := range []struct {
		rule  string
		login LoginRedirector
		to    string // what Location begins with; empty: an error goes to the client
	}{
		{"a path", LoginURL("/login"), testIssuer + "/login?req=ey"},
		{"a path with a query", LoginURL("/login?theme=dark"), testIssuer + "/login?theme=dark&req=ey"},
		{"a path with a fragment", LoginURL("/login#top"), testIssuer + "/login?req=ey"},
		{"another domain", LoginURL("https://login.example/in"), "https://login.example/in?req=ey"},
		{"a host's own redirector", page("/sign-in"), testIssuer + "/sign-in?req=ey"},
		{"http on loopback", page("http://127.0.0.1:3000/login"), "http://127.0.0.1:3000/login?req=ey"},
		{"a path that is another host", page("//evil.example/login"), ""},
		{"a path that browsers take for another host", page(`/\evil.example/login`), ""},
		{"with a tab, which browsers drop", page("/\t/evil.example/login"), ""},
		{"with a line break", page("/login\r\nSet-Cookie: a=b"), ""},
		{"with a NUL", page("/login\x00"), ""},
		{"a script", page("javascript:alert(1)"), ""},
		{"plain http", page("http://login.example/"), ""},
		{"user information", page("https://as.example@evil.example/"), ""},
		{"a relative path", page("login"), ""},
		{"no URL", page("https://[::1"), ""},
		{"nothing", loginFunc(func(context.Context, *Pending) (string, error) { return "", nil }), ""},
		{"an error", loginFunc(func(context.Context, *Pending) (string, error) { return "/login", errors.New("down") }), ""},
	} {
		s := newSite(t, func(s *site) { s.config.Login = c.login })
		v := s.visitor(nil)
		r := httptest.NewRequest("GET", "/authorize?"+ask(), nil)
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		location := w.Header().Get("Location")
		if c.to != "" && !strings.HasPrefix(location, c.to) {
			t.Errorf("%s: to %s", c.rule, location)
		}
		if c.to == "" {
			v.get(ask()).want(t, c.rule, "client server_error")
			if len(v.cookies) != 0 {
				t.Errorf("%s: cookies were left behind", c.rule)
			}
			if strings.Contains(s.log.String(), "eyJ") {
				t.Errorf("%s: the sealed request is in the log: %s", c.rule, s.log.String())
			}
		}
	}
}

func TestTheLoginRedirectorHangs(t *testing.T) {
	for _, late := range []error{nil, context.DeadlineExceeded} {
		s := newSite(t, func(s *site) {
			s.config.Timeout = impatient
			s.config.Login = loginFunc(func(ctx context.Context, _ *Pending) (string, error) { <-ctx.Done(); return "/login", late })
		})
		s.visitor(nil).get(ask()).want(t, fmt.Sprint("late: ", late), "client temporarily_unavailable")
	}
}

func TestWhatHoldsAPendingRequestRedactsItself(t *testing.T) {
	s := newSite(t)
	at := s.visitor(nil).get(ask("login_hint=carol"))
	p, err := s.handler.Pending(httptest.NewRequest("GET", "/login?req="+at.req, nil))
	if err != nil {
		t.Fatal(err)
	}
	s.log.Reset()
	s.config.Logger.Info("x", "pending", p, "pending value", *p, "request", p.Request, "request value", *p.Request)
	for _, text := range []string{s.log.String(), fmt.Sprint(p), fmt.Sprint(p.Request), fmt.Sprintf("%v %+v %s", p, p, p), fmt.Sprintf("%v %+v %v", *p, *p, *p.Request)} {
		for _, secret := range []string{"eyJ", "st-1", "n-1", testChallenge, "carol"} {
			if strings.Contains(text, secret) {
				t.Errorf("%q is in %q", secret, text)
			}
		}
		if !strings.Contains(text, "web") {
			t.Errorf("nothing of use in %q", text)
		}
	}
	// None at all is no reason to panic.
	s.config.Logger.Info(fmt.Sprint((*Pending)(nil), (*Request)(nil)), "pending", (*Pending)(nil), "request", (*Request)(nil))
}

// For any bytes in req: a page, and nothing else.
func FuzzReq(f *testing.F) {
	s := newSite(f)
	at := s.visitor(nil).get(ask())
	f.Add(at.req)
	f.Add("..")
	f.Add(strings.Repeat("eyJ", 4000))
	f.Fuzz(func(t *testing.T, req string) {
		s.t = t
		got := s.visitor(alice()).get("req=" + url.QueryEscape(req) + "&deny=1")
		if got.kind != "page" {
			t.Errorf("req=%q leads to %s", req, got)
		}
	})
}

// prompt=create leads to the page for new users (Initiating User Registration via
// OpenID Connect 1.0).
func TestPromptCreate(t *testing.T) {
	s := newSite(t, func(s *site) { s.config.Register = LoginURL("/register") })
	register := func(rule string, got *reply) *reply {
		t.Helper()
		if !strings.HasPrefix(got.location, "https://as.example/register?req=") {
			t.Fatalf("%s: sent to %q", rule, got.location)
		}
		return got
	}
	v := s.visitor(nil)
	at := register("nobody is signed in", v.get(ask("prompt=create")))
	register("came back as nobody", v.resume(at))
	v.session = s.signIn("carol")
	v.resume(at).want(t, "carol has signed up", "code")

	v = s.visitor(alice())
	at = register("alice is signed in", v.get(ask("prompt=create")))
	if e := s.lastEvent(); e.Reason != ReasonPromptCreate || e.Interaction != LoginInteraction {
		t.Errorf("reported as %s for %s", e.Interaction, e.Reason)
	}
	register("alice came back", v.resume(at))
	v.get(ask("prompt=create+none")).want(t, "with none", "client invalid_request")
	v.get(ask()).want(t, "not asked for", "code")
	if prompts := s.handler.Metadata()["prompt_values_supported"]; !slices.Contains(prompts.([]string), "create") {
		t.Errorf("the metadata has the prompts %v", prompts)
	}
	newSite(t).visitor(nil).get(ask("prompt=create")).want(t, "without such a page", "client invalid_request")
}

// lose makes the browser forget the cookies of waiting requests.
func (v *visitor) lose() { clear(v.cookies) }

// A whole request without its cookie is worth what the client's own URL is worth: what it
// asked for stays, with whom the hint proved, and what was decided for it goes.
func TestARequestWithoutItsCookieBeginsAnew(t *testing.T) {
	for _, c := range []struct {
		rule string
		back func(v *visitor, at *reply) *reply
		anew bool
	}{
		{"the control: with its cookie", (*visitor).resume, false},
		{"missing", func(v *visitor, at *reply) *reply { v.lose(); return v.resume(at) }, true},
		{"wrong", func(v *visitor, at *reply) *reply {
			v.eachCookie(func(c string) string { return c + "x" })
			return v.resume(at)
		}, true},
		{"empty", func(v *visitor, at *reply) *reply {
			v.eachCookie(func(string) string { return "" })
			return v.resume(at)
		}, true},
		{"the hash of the secret", func(v *visitor, at *reply) *reply {
			v.eachCookie(func(string) string { return "1." + claimsOf(t, at.req)["browser"].(string) })
			return v.resume(at)
		}, true},
		{"twice", func(v *visitor, at *reply) *reply {
			r := httptest.NewRequest("GET", "/authorize?req="+at.req, nil)
			for name, value := range v.cookies {
				r.AddCookie(&http.Cookie{Name: name, Value: value})
			}
			return v.send(v.site.handler, r)
		}, true},
		{"of another request", func(v *visitor, at *reply) *reply {
			other := v.site.visitor(nil)
			name := v.site.handler.cookieName(claimsOf(t, at.req)["jti"].(string))
			for _, value := range other.get(ask("id_token_hint=hint-of-alice")).cookies {
				v.cookies[name] = value.Value
			}
			return v.resume(at)
		}, true},
		{"under the name of another request", func(v *visitor, at *reply) *reply {
			other := v.site.visitor(nil)
			for _, cookie := range other.get(ask("id_token_hint=hint-of-alice")).cookies {
				for name := range v.cookies {
					v.cookies[cookie.Name] = v.cookies[name]
					delete(v.cookies, name)
				}
			}
			return v.resume(at)
		}, true},
		{"of another browser", func(v *visitor, at *reply) *reply {
			other := v.site.visitor(v.session)
			other.get(ask("id_token_hint=hint-of-alice"))
			return other.resume(at)
		}, true},
		{"gone since it was answered", func(v *visitor, at *reply) *reply {
			v.deny(at)
			return v.resume(at)
		}, true},
		{"missing, at Complete", func(v *visitor, at *reply) *reply { v.lose(); return v.complete(at, "terms") }, true},
		{"missing, at Grant", func(v *visitor, at *reply) *reply { v.lose(); return v.grant(at, "openid") }, true},
		{"missing, at Resume", func(v *visitor, at *reply) *reply {
			v.lose()
			return v.follow(v.page(v.site.resumeOf, formPost("/page?req="+at.req, "")))
		}, true},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, func(s *site) {
				s.config.Consent = &Consent{Page: "/consent"}
				s.config.Require = []string{"id_token_hint"} // which counts as sent
			}, withStep(Interaction{Name: "terms", Page: "/terms", Needed: always}))
			v := s.visitor(alice())
			login := v.get(ask("prompt=login", "id_token_hint=hint-of-alice", "x_tenant=7", "+resource=https://api.example/b", "+resource=https://api.example/a")).want(t, "asked", "login")
			s.now = s.now.Add(time.Minute)
			v.session = s.signIn("alice")
			terms := v.grant(v.resume(login).want(t, "signed in", "consent"), "openid").want(t, "agreed", "terms")
			s.now = s.now.Add(time.Minute + 7*time.Millisecond)
			got := c.back(v, terms)
			if !c.anew {
				got.want(t, c.rule, "terms")
				return
			}
			// prompt=login wants a sign-in that is newer than the request now is.
			got.want(t, c.rule, "login")
			before, after := claimsOf(t, terms.req), claimsOf(t, got.req)
			if before["jti"] == after["jti"] || before["browser"] == after["browser"] || len(got.cookies) != 1 || !strings.HasSuffix(got.cookies[0].Name, after["jti"].(string)) {
				t.Errorf("it has the id or the secret that it had: %v", got.cookies)
			}
			now := float64(s.now.UnixMilli()) / 1000
			want := map[string]any{
				"iss": before["iss"], "aud": before["aud"], "params": before["params"], "hint_sub": before["hint_sub"],
				"iat": now, "exp": now + 1800, "jti": after["jti"], "browser": after["browser"],
				"page": "login", "reason": "prompt_login", "anew": 1.0, "registered": true,
				"found": []any{map[string]any{"k": signInKey(v.session), "t": float64(v.session.AuthTime.UnixMilli())}},
			}
			if diff := cmp.Diff(want, after); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			// And so on to the end, as from the client's own URL.
			for _, cookie := range got.cookies {
				v.cookies[cookie.Name] = cookie.Value
			}
			v.resume(got).want(t, "that sign-in is no new one", "login")
			s.now = s.now.Add(time.Minute)
			v.session = s.signIn("alice")
			consent := v.resume(got).want(t, "signed in anew", "consent")
			v.complete(v.grant(consent, "openid").want(t, "agreed anew", "terms"), "terms").want(t, "accepted anew", "code")
		})
	}
}

// Byte for byte, and through as many beginnings as there may be.
func TestWhatWasAskedForStaysThroughBeginningAnew(t *testing.T) {
	for _, c := range []struct {
		rule, name, value string
	}{
		{"nothing unusual", "state", "st-1"},
		{"what JSON and HTML escape", "state", `<&>"'\/{}` + "\u2028\u2029\ufffd\U0001F600"},
		{"blanks at the ends", "state", "  a  b  "},
		{"what looks like an escape", "state", `%41+\u0041\n`},
		{"as long as a request may be", "state", strings.Repeat("s", 3500)},
		{"a parameter of the host's own", "x_tenant", `a&b="c" é`},
		{"what only the host reads", "authorization_details", "[{\"type\":\"é\",\r\n\t\"a\":\"<\\u0000>\"}]"},
		{"a nonce", "nonce", `<n> "1"`},
		{"claims, with their own blanks", "claims", ` { "userinfo" : { "email" : null , "given_name":null } } `},
	} {
		t.Run(c.rule, func(t *testing.T) {
			var checked []*Request
			s := newSite(t, func(s *site) {
				s.config.Consent = &Consent{Page: "/consent"}
				s.config.CheckRequest = func(_ context.Context, r *Request) error { checked = append(checked, r); return nil }
			})
			v := s.visitor(nil)
			at := v.get(ask(c.name+"="+url.QueryEscape(c.value), "+resource=https://api.example/b", "+resource=https://api.example/a", "response_mode=form_post")).want(t, "asked", "login")
			v.session = s.signIn("alice")
			for range 2 {
				v.lose()
				at = v.resume(at).want(t, "anew", "consent")
			}
			got := v.grant(at, "openid").want(t, "agreed", "code")
			for i, r := range checked {
				if r.Parameter(c.name) != c.value || !slices.Equal(r.Resources, []string{"https://api.example/b", "https://api.example/a"}) || r.ResponseMode != "form_post" {
					t.Errorf("on visit %d it is %q, with %v and %v", i, r.Parameter(c.name), r.Resources, r.ResponseMode)
				}
			}
			code, err := s.redeem(got.params["code"], nil)
			if err != nil || len(checked) < 4 {
				t.Fatal(err, len(checked))
			}
			after := map[string]string{"state": got.params["state"], "nonce": code.Nonce, "x_tenant": code.Parameters["x_tenant"], "claims": string(checked[0].Claims)}
			if after[c.name] != "" && after[c.name] != c.value || len(code.Resources) != 2 {
				t.Errorf("it became %q, with %v", after[c.name], code.Resources)
			}
		})
	}
}

// A browser that keeps no cookies is told so, and is not sent round and round.
func TestARequestBeginsAnewOnceInARow(t *testing.T) {
	half := func(s *site) *session.Session {
		who := s.signIn("alice")
		who.SecondFactorPending = true
		return who
	}
	nobody := func(*site) *session.Session { return nil }
	somebody := func(s *site) *session.Session { return s.signIn("alice") }
	const page, elsewhere = "page Bad Request invalid_request", "error"
	for _, c := range []struct {
		rule string
		who  func(*site) *session.Session
		// keep says for each return whether the cookie is there, want where it leads, and
		// anew which mark the form has then.
		keep   []bool
		want   []string
		anew   []float64
		change func(*site)
	}{
		{"with its cookie it has no mark", nobody, []bool{true}, []string{"login"}, []float64{0}, nil},
		{"the first time", nobody, []bool{false}, []string{"login"}, []float64{1}, nil},
		{"twice, by nobody", nobody, []bool{false, false}, []string{"login", page}, []float64{1}, nil},
		{"twice, by somebody half signed in", half, []bool{false, false}, []string{"login", page}, []float64{1}, nil},
		{"twice, by somebody", somebody, []bool{false, false}, []string{"consent", "consent"}, []float64{1, 2}, nil},
		{"three times, by somebody", somebody, []bool{false, false, false}, []string{"consent", "consent", page}, []float64{1, 2}, nil},
		{"the mark goes with the cookie", nobody, []bool{false, true, false, false}, []string{"login", "login", "login", page}, []float64{1, 0, 1}, nil},
		{"the second mark goes with the cookie", somebody, []bool{false, false, true, false, false, false}, []string{"consent", "consent", "consent", "consent", "consent", page}, []float64{1, 2, 0, 1, 2}, nil},
		{"twice, by nobody, with another page for errors", nobody, []bool{false, false}, []string{"login", elsewhere}, []float64{1}, withErrorURL("/error")},
		{"three times, with another page for errors", somebody, []bool{false, false, false}, []string{"consent", "consent", elsewhere}, []float64{1, 2}, withErrorURL("/error")},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withConsent, func(s *site) {
				if c.change != nil {
					c.change(s)
				}
			})
			v := s.visitor(nil)
			at := v.get(ask("ui_locales=de")).want(t, "asked", "login")
			v.session = c.who(s)
			for i, keep := range c.keep {
				if !keep {
					v.lose()
				}
				at = v.resume(at).want(t, fmt.Sprint("return ", i+1), c.want[i])
				if at.kind == "page" || at.kind == elsewhere {
					if e := s.lastEvent(); e.Reason != ReasonNoCookies || e.ClientID != "web" || e.Kind != EventErrorPage || len(at.cookies) != 0 {
						t.Errorf("reported as %+v, with the cookies %v", e, at.cookies)
					}
					if at.kind == elsewhere && (!strings.Contains(at.location, "reason=no_cookies") || !strings.Contains(at.location, "ui_locales=de")) {
						t.Errorf("sent to %s", at.location)
					}
					return
				}
				if mark, _ := claimsOf(t, at.req)["anew"].(float64); mark != c.anew[i] {
					t.Errorf("return %d: the mark is %v, want %v", i+1, mark, c.anew[i])
				}
			}
		})
	}
}

// The third time it is the page even if nothing would be left to ask.
func TestTheThirdTimeIsThePageInAnyCase(t *testing.T) {
	for _, c := range []struct {
		rule   string
		losses int
		want   string
	}{
		{"once", 1, "code"},
		{"twice", 2, "code"},
		{"three times", 3, "page Bad Request invalid_request"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withConsent)
			v := s.visitor(alice())
			at := v.get(ask()).want(t, "asked", "consent")
			for range c.losses - 1 {
				v.lose()
				at = v.resume(at).want(t, "anew", "consent")
			}
			s.remember("web", "openid")
			v.lose()
			v.resume(at).want(t, c.rule, c.want)
		})
	}
}

// Whatever a browser keeps, and whatever its pages do, there is an end.
func TestABrowserWithoutCookiesIsNoLoop(t *testing.T) {
	for _, c := range []struct {
		rule  string
		keeps bool   // the cookies of waiting requests
		signs bool   // in, at each login page; the session is kept in another way
		ask   string // the client's own request
		want  string
		hops  int
	}{
		{"cookies are kept", true, true, ask("client_id=native"), "code", 3},
		{"no cookies at all", false, false, ask(), "page Bad Request invalid_request", 3},
		{"no cookies at all, by POST", false, false, "POST", "page Bad Request invalid_request", 4},
		{"no cookies, and nobody signs in", true, false, ask(), "client login_required", 4},
		{"the session only, and nothing to agree to", false, true, ask("client_id=own"), "code", 2},
		{"the session only", false, true, ask(), "page Bad Request invalid_request", 4},
		{"the session only, and consent is asked each time", false, true, ask("client_id=native"), "page Bad Request invalid_request", 4},
		{"the session only, prompt=login", false, true, ask("prompt=login"), "page Bad Request invalid_request", 4},
		{"the session only, max_age=0", false, true, ask("max_age=0"), "page Bad Request invalid_request", 4},
		{"the session only, prompt=consent", false, true, ask("prompt=consent"), "page Bad Request invalid_request", 4},
		{"the session only, prompt=create", false, true, ask("client_id=own", "prompt=create"), "code", 2},
		{"the session only, another user", false, true, ask("id_token_hint=hint-of-bob"), "page Bad Request invalid_request", 4},
		{"the session only, a hint that proves nobody", false, true, ask("id_token_hint=x"), "page Bad Request invalid_request", 4},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withConsent, func(s *site) { s.config.Register = LoginURL("/login") })
			v := s.visitor(nil)
			at, hops := (*reply)(nil), 1
			if c.ask == "POST" {
				at = v.post(ask())
			} else {
				at = v.get(c.ask)
			}
			for ; hops < 20 && at.kind != "client" && at.kind != "page"; hops++ {
				s.now = s.now.Add(time.Second)
				if !c.keeps {
					v.lose()
				}
				switch at.kind {
				case "login":
					if c.signs {
						v.session = s.signIn("alice")
					}
					at = v.resume(at)
				case "consent":
					at = v.grant(at, "openid")
				case "endpoint":
					at = v.follow(at)
				}
			}
			at.want(t, c.rule, c.want)
			if hops != c.hops {
				t.Errorf("it took %d answers, want %d", hops, c.hops)
			}
		})
	}
}

// A no without its cookie is never a code. Nobody can tell whose no it is, so the user is
// asked to take it to the client.
func TestANoWithoutItsCookie(t *testing.T) {
	query := `<a href="https://app.example/cb?error=access_denied&amp;error_description=The%20user%20refused%20the%20request.&amp;state=st-1&amp;iss=https%3A%2F%2Fas.example" rel="noreferrer">`
	twice := func(v *visitor, at *reply) *reply {
		for range 2 {
			v.lose()
			at = v.resume(at)
		}
		return at
	}
	for _, c := range []struct {
		rule   string
		change func(*site)
		ask    []string
		before func(v *visitor, at *reply) *reply // the cookie is lost afterwards
		link   string
	}{
		{"by a link", nil, nil, nil, query},
		{"the request was answered", nil, nil, func(v *visitor, at *reply) *reply { v.deny(at); return at }, query},
		{"by a form", nil, []string{"response_mode=form_post"}, nil, `<form method="post" action="https://app.example/cb">`},
		{"with another page for errors", withErrorURL("/error"), nil, nil, query},
		{"by a form, with another page for errors", withErrorURL("/error"), []string{"response_mode=form_post"}, nil, `<form method="post" action="https://app.example/cb">`},
		{"where it would be the page for no cookies", nil, nil, twice, query},
		{"of an unvetted client", nil, []string{"client_id=new"}, nil, `<a href="https://new.example/cb?error=access_denied&amp;`},
		{"of a request that is refused by now", func(s *site) {
			s.config.CheckRequest = func(context.Context, *Request) error {
				if len(s.events) > 0 {
					return oautherr.InvalidRequest
				}
				return nil
			}
		}, nil, nil, query},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, func(s *site) {
				withConsent(s)
				if c.change != nil {
					c.change(s)
				}
			})
			v := s.visitor(alice())
			at := v.get(ask(c.ask...)).want(t, "asked", "consent")
			if c.before != nil {
				at = c.before(v, at)
			}
			s.remember("web", "openid") // so that a yes would be a code
			v.lose()
			got := v.deny(at).want(t, c.rule, "page Bad Request access_denied")
			if !strings.Contains(got.body, c.link) || len(got.cookies) != 0 {
				t.Errorf("cookies %v, and no %s on\n%s", got.cookies, c.link, got.body)
			}
			if strings.HasPrefix(c.link, "<form") {
				_, fields := s.readForm(got.body)
				want := map[string]string{"error": "access_denied", "error_description": "The user refused the request.", "state": "st-1", "iss": testIssuer}
				if diff := cmp.Diff(want, fields); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			}
			if e := s.lastEvent(); e.Kind != EventErrorPage || e.Reason != ReasonDenied || e.ClientID == "" {
				t.Errorf("reported as %+v", e)
			}
		})
	}
}

// What is done on a page in a browser that has no cookie for the request is done for
// nobody.
func TestWithoutTheCookieNothingIsRecorded(t *testing.T) {
	for _, c := range []struct {
		rule string
		do   func(v *visitor, consent, terms *reply) *reply
		want string
	}{
		{"Grant", func(v *visitor, consent, _ *reply) *reply { return v.grant(consent, "openid") }, "consent"},
		{"Grant of nothing", func(v *visitor, consent, _ *reply) *reply { return v.grant(consent) }, "consent"},
		{"Complete", func(v *visitor, _, terms *reply) *reply { return v.complete(terms, "terms") }, "consent"},
		{"Grant by nobody", func(v *visitor, consent, _ *reply) *reply { v.session = nil; return v.grant(consent, "openid") }, "login"},
		{"Complete, of a form that no browser has opened", func(v *visitor, _, _ *reply) *reply {
			who := v.session
			v.session = nil
			sent := v.post(ask()).want(t, "by POST", "endpoint")
			v.session = who
			return v.complete(sent, "terms")
		}, "consent"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withConsent, withStep(Interaction{Name: "terms", Page: "/terms", Needed: always}))
			v := s.visitor(alice())
			consent := v.get(ask()).want(t, "asked", "consent")
			terms := v.grant(consent, "openid").want(t, "agreed", "terms")
			if err := s.memory.DeleteConsent(context.Background(), "alice", "web"); err != nil {
				t.Fatal(err)
			}
			s.events = nil
			v.lose()
			c.do(v, consent, terms).want(t, c.rule, c.want)
			if stored, err := s.memory.FindConsent(context.Background(), "alice", "web"); stored != nil || err != nil {
				t.Errorf("the store has %+v, %v", stored, err)
			}
			if i := slices.IndexFunc(s.events, func(e Event) bool { return e.Kind == EventCompleted }); i >= 0 {
				t.Errorf("reported: %+v", s.events[i])
			}
		})
	}
}

// What one browser was asked and has answered counts in no other, whoever is signed in there.
func TestNothingOfAnotherBrowserCounts(t *testing.T) {
	for _, c := range []struct {
		rule string
		who  func(*site) *session.Session // in the other browser
		ask  string
		want string
	}{
		{"consent and terms of the same sign-in", nil, ask("client_id=native"), "consent"},
		{"consent and terms of another sign-in of the same user", func(s *site) *session.Session { s.now = s.now.Add(time.Second); return s.signIn("alice") }, ask("client_id=native"), "consent"},
		{"consent and terms of another user", func(s *site) *session.Session { return s.signIn("bob") }, ask("client_id=native"), "consent"},
		{"a new sign-in", nil, ask("client_id=native", "prompt=login"), "login"},
		{"nobody is there", func(*site) *session.Session { return nil }, ask("client_id=native"), "login"},
		{"the user that was proven, and another is there", func(s *site) *session.Session { return s.signIn("bob") }, ask("client_id=native", "id_token_hint=hint-of-alice"), "login"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withConsent, withStep(Interaction{Name: "terms", Page: "/terms", Needed: always}))
			first := s.visitor(nil)
			at := first.get(c.ask).want(t, "asked", "login")
			first.session = s.signIn("alice")
			at = first.grant(first.resume(at).want(t, "signed in", "consent"), "openid").want(t, "agreed", "terms")
			// The last step before the code, as an address that is handed on.
			done := first.page(func(w http.ResponseWriter, r *http.Request) { s.handler.Complete(w, r, "terms") }, formPost("/terms?req="+at.req, ""))
			other := s.visitor(first.session)
			if c.who != nil {
				other.session = c.who(s)
			}
			other.follow(done).want(t, c.rule, c.want)
			first.follow(done).want(t, "in the first browser", "code")
		})
	}
}

// prompt=create was answered if somebody is signed in by the time the request begins anew.
func TestPromptCreateThatBeginsAnew(t *testing.T) {
	for _, c := range []struct {
		rule string
		who  func(*site) *session.Session
		ask  string
		back func(v *visitor, at *reply) *reply
		want string
	}{
		{"somebody, and consent follows", func(s *site) *session.Session { return s.signIn("carol") }, ask("prompt=create"), func(v *visitor, at *reply) *reply {
			return v.grant(v.resume(at).want(t, "anew", "consent"), "openid")
		}, "code"},
		{"somebody, and the cookie is lost on the consent page again", func(s *site) *session.Session { return s.signIn("carol") }, ask("prompt=create"), func(v *visitor, at *reply) *reply {
			at = v.resume(at).want(t, "anew", "consent")
			v.lose()
			return v.grant(v.resume(at).want(t, "anew again", "consent"), "openid")
		}, "code"},
		{"somebody who was there before", func(*site) *session.Session { return alice() }, ask("prompt=create"), (*visitor).resume, "consent"},
		{"nobody", func(*site) *session.Session { return nil }, ask("prompt=create"), (*visitor).resume, "register"},
		{"nobody at first, and then an old account", func(*site) *session.Session { return nil }, ask("prompt=create"), func(v *visitor, at *reply) *reply {
			at = v.resume(at)
			v.session = alice()
			return v.resume(at)
		}, "register"},
		{"half signed in", func(s *site) *session.Session {
			who := s.signIn("carol")
			who.SecondFactorPending = true
			return who
		}, ask("prompt=create"), (*visitor).resume, "register"},
		{"somebody, and prompt=login too", func(s *site) *session.Session { return s.signIn("carol") }, ask("prompt=create+login"), (*visitor).resume, "register"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withConsent, func(s *site) { s.config.Register = LoginURL("/register") })
			v := s.visitor(nil)
			at := v.get(c.ask).want(t, "asked", "register")
			v.session = c.who(s)
			v.lose()
			c.back(v, at).want(t, c.rule, c.want)
		})
	}
}

// A login page learns beforehand that what it does is the beginning of another request.
func TestPendingAnew(t *testing.T) {
	for _, c := range []struct {
		rule string
		do   func(v *visitor, at *reply)
		anew bool
	}{
		{"the cookie is there", func(*visitor, *reply) {}, false},
		{"missing", func(v *visitor, _ *reply) { v.lose() }, true},
		{"wrong", func(v *visitor, _ *reply) { v.eachCookie(func(c string) string { return c + "x" }) }, true},
		{"the request was answered", func(v *visitor, at *reply) { v.deny(at) }, true},
		{"it was pushed out", func(v *visitor, _ *reply) {
			for range maxPendingCookies {
				v.site.now = v.site.now.Add(time.Millisecond)
				v.get(ask())
			}
		}, true},
		{"seven more wait", func(v *visitor, _ *reply) {
			for range maxPendingCookies - 1 {
				v.site.now = v.site.now.Add(time.Millisecond)
				v.get(ask())
			}
		}, false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withConsent)
			v := s.visitor(alice())
			at := v.get(ask("login_hint=al")).want(t, "asked", "consent")
			c.do(v, at)
			p, err := v.pending(at)
			if err != nil {
				t.Fatal(err)
			}
			subject := "alice"
			if c.anew {
				subject = ""
			}
			if p.Anew != c.anew || p.Subject != subject || p.Request.LoginHint != "al" || p.Request.Client == nil || p.Interaction != "consent" {
				t.Errorf("%+v for %q", p, p.Subject)
			}
		})
	}
}

// Each row is a way through the login page: who is there at the first visit and at each
// return, and where each leads. A sign-in is named, and the number is its age when the
// request arrived.
func TestReturnsFromTheLoginPage(t *testing.T) {
	const login, refused = "login", "client login_required"
	old := func(name string) func(*site) *session.Session {
		return func(*site) *session.Session {
			return &session.Session{ID: name, Subject: "alice", AuthTime: testStart.Add(-time.Hour)}
		}
	}
	nobody := func(*site) *session.Session { return nil }
	half := func(s *site) *session.Session {
		return &session.Session{ID: "h", Subject: "alice", AuthTime: s.now, SecondFactorPending: true}
	}
	anew := func(s *site) *session.Session { return s.signIn("alice") }
	of := func(who ...func(*site) *session.Session) []func(*site) *session.Session { return who }
	for _, c := range []struct {
		rule string
		ask  string
		who  []func(*site) *session.Session
		want []string
		log  string // of the last answer
	}{
		{"a new sign-in", "prompt=login", of(old("1"), anew), []string{login, "code"}, ""},
		{"a new sign-in at the second return", "prompt=login", of(old("1"), old("1"), anew), []string{login, login, "code"}, ""},
		{"the same sign-in twice", "prompt=login", of(old("1"), old("1"), old("1")), []string{login, login, refused}, "Session.AuthTime is before the request"},
		{"another old one each time", "prompt=login", of(old("1"), old("2"), old("3")), []string{login, login, refused}, "Session.AuthTime is before the request"},
		{"an old one where nobody was", "prompt=login", of(nobody, old("1"), old("1")), []string{login, login, refused}, "Session.AuthTime is before the request"},
		{"an old one, then an older request's is chosen again", "max_age=60", of(old("1"), old("2"), old("1")), []string{login, login, refused}, "Session.AuthTime is before the request"},
		{"nobody three times", "prompt=login", of(old("1"), nobody, nobody, nobody), []string{login, login, login, refused}, "found nobody each time"},
		{"half signed in three times", "scope=openid", of(half, half, half, half), []string{login, login, login, refused}, "found nobody each time"},
		{"nobody and half signed in are one", "scope=openid", of(nobody, half, nobody, half), []string{login, login, login, refused}, "found nobody each time"},
		{"nobody twice, and then an old one, which is its first return", "prompt=login", of(nobody, nobody, nobody, old("1"), anew), []string{login, login, login, login, "code"}, ""},
		{"nobody twice, and then somebody", "scope=openid", of(nobody, nobody, nobody, old("1")), []string{login, login, login, "code"}, ""},
		{"an old one and nobody take turns", "prompt=login", of(nobody, old("1"), nobody, old("1")), []string{login, login, login, refused}, "Session.AuthTime is before the request"},
		{"an essential level that is missed twice", "claims=" + url.QueryEscape(`{"id_token":{"acr":{"essential":true,"value":"2"}}}`), of(old("1"), old("1"), old("2")), []string{login, login, "client unmet_authentication_requirements"}, "Session.AuthTime is before the request"},
		{"an essential level, and nobody three times", "claims=" + url.QueryEscape(`{"id_token":{"acr":{"essential":true,"value":"2"}}}`), of(nobody, nobody, nobody, nobody), []string{login, login, login, refused}, "found nobody each time"},
		{"another user twice", "id_token_hint=hint-of-bob", of(old("1"), old("1"), old("1")), []string{login, login, refused}, "Session.AuthTime is before the request"},
		{"a hint that proves nobody, and an old sign-in twice", "id_token_hint=x", of(old("1"), old("1"), old("1")), []string{login, login, refused}, "Session.AuthTime is before the request"},
		{"a hint that proves nobody, and a new sign-in", "id_token_hint=x", of(old("1"), anew), []string{login, "code"}, ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t)
			v := s.visitor(c.who[0](s))
			at := v.get(ask(c.ask)).want(t, "first", c.want[0])
			for i, who := range c.who[1:] {
				s.now = s.now.Add(time.Minute)
				v.session = who(s)
				at = v.resume(at).want(t, fmt.Sprint("return ", i+1), c.want[i+1])
			}
			if c.log != "" && !strings.Contains(fmt.Sprint(s.lastEvent().Err), c.log) {
				t.Errorf("the log says %v", s.lastEvent().Err)
			}
			if strings.Contains(s.log.String(), "server_error") {
				t.Errorf("there is a server_error in the log:\n%s", s.log.String())
			}
		})
	}
}

// Returns from other pages are no rounds, but only eight sign-ins are remembered.
func TestTheNinthSignInThatIsFound(t *testing.T) {
	s := newSite(t, withStep(Interaction{Name: "terms", Page: "/terms", Needed: always}))
	v := s.visitor(&session.Session{ID: "1", Subject: "alice", AuthTime: testStart.Add(-time.Hour)})
	at := v.get(ask("prompt=login")).want(t, "the first is found", "login")
	s.now = s.now.Add(time.Minute)
	counts := s.signIn("alice")
	v.session = counts
	at = v.resume(at).want(t, "a new one", "terms")
	for i := range maxFound - 1 {
		s.now = s.now.Add(time.Minute)
		// Twice the same is one that was found.
		for range 2 {
			v.session = &session.Session{ID: fmt.Sprint(i + 2), Subject: "alice", AuthTime: testStart.Add(-time.Hour)}
			at = v.resume(at).want(t, fmt.Sprint("found: ", i+2), "login")
			if n := len(claimsOf(t, at.req)["found"].([]any)); n != i+2 {
				t.Errorf("%d are found, want %d", n, i+2)
			}
			v.session = counts
			at = v.resume(at).want(t, "the one that counted counts still", "terms")
		}
	}
	ninth := *v
	ninth.session = &session.Session{ID: "9", Subject: "alice", AuthTime: testStart.Add(-time.Hour)}
	ninth.resume(at).want(t, "the ninth", "client login_required")
	if e := s.lastEvent(); e.Reason != ReasonStaleSignIn || !strings.Contains(e.Err.Error(), "AuthTime is before the request") {
		t.Errorf("reported as %s: %v", e.Reason, e.Err)
	}
}

// A return from another page is no round, and the rounds begin again after it.
func TestReturnsFromOtherPagesAreNoRounds(t *testing.T) {
	old := &session.Session{ID: "1", Subject: "alice", AuthTime: testStart.Add(-time.Hour)}
	for _, c := range []struct {
		rule   string
		who    *session.Session
		before int // returns from the login page of no use, as many as there may be
	}{
		{"an old sign-in", old, 1},
		{"nobody", nil, 2},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withStep(Interaction{Name: "terms", Page: "/terms", Needed: always}))
			v := s.visitor(c.who)
			at := v.get(ask("prompt=login")).want(t, "asked", "login")
			rounds := func(when string) {
				for i := range c.before {
					at = v.resume(at).want(t, fmt.Sprint(when, ", return ", i+1), "login")
				}
			}
			rounds("at first")
			s.now = s.now.Add(time.Minute)
			v.session = s.signIn("alice")
			at = v.resume(at).want(t, "signed in", "terms")
			v.session = c.who
			at = v.resume(at).want(t, "from the page after it", "login")
			rounds("after that")
			v.resume(at).want(t, "one too many", "client login_required")
		})
	}
}

// Who is found at the first visit is found, wherever that leads: no time that passes on
// other pages makes it a new sign-in.
func TestWhoIsFoundOnTheWayToAnotherPage(t *testing.T) {
	s := newSite(t, withConsent)
	v := s.visitor(&session.Session{ID: "1", Subject: "alice", AuthTime: testStart.Add(-2 * time.Second)})
	at := v.get(ask("max_age=10")).want(t, "young enough, and within the skew of the request", "consent")
	s.now = s.now.Add(time.Minute)
	v.grant(at, "openid").want(t, "too old by now", "login")
}

// A request arrives in a millisecond, and what happened before is told from what follows.
func TestTimesAreSealedInMilliseconds(t *testing.T) {
	at := func(ms int) time.Time { return testStart.Add(time.Duration(ms) * time.Millisecond) }
	for _, c := range []struct {
		rule     string
		arrived  time.Time
		found    session.Session
		returned session.Session
		want     string
	}{
		{"signed in in the millisecond of the request", at(900).Add(999 * time.Microsecond), session.Session{}, session.Session{ID: "1", AuthTime: at(0), SignedInAt: at(900)}, "code"},
		{"signed in in the millisecond before", at(900), session.Session{}, session.Session{ID: "1", AuthTime: at(0), SignedInAt: at(899).Add(999 * time.Microsecond)}, "login"},
		{"no skew for SignedInAt", at(0), session.Session{}, session.Session{ID: "1", AuthTime: at(0), SignedInAt: at(-1)}, "login"},
		{"the skew of AuthTime is from the second on", at(999), session.Session{}, session.Session{ID: "1", AuthTime: at(-5000)}, "code"},
		{"and no further", at(999), session.Session{}, session.Session{ID: "1", AuthTime: at(-5001)}, "login"},
		{"a millisecond later than when it was found", at(900), session.Session{ID: "1", Subject: "alice", AuthTime: at(100)}, session.Session{ID: "1", AuthTime: at(101)}, "code"},
		{"less than a millisecond later", at(900), session.Session{ID: "1", Subject: "alice", AuthTime: at(100)}, session.Session{ID: "1", AuthTime: at(100).Add(999 * time.Microsecond)}, "login"},
		{"another id at the same time", at(900), session.Session{ID: "1", Subject: "alice", AuthTime: at(100)}, session.Session{ID: "2", AuthTime: at(100)}, "code"},
		{"without an id, the same time", at(900), session.Session{Subject: "alice", AuthTime: at(100)}, session.Session{AuthTime: at(100)}, "login"},
		{"without an id, a millisecond earlier is another sign-in", at(900), session.Session{Subject: "alice", AuthTime: at(100)}, session.Session{AuthTime: at(99)}, "code"},
		{"without a Subject nobody was found", at(900), session.Session{ID: "1", AuthTime: at(100)}, session.Session{ID: "1", AuthTime: at(100)}, "code"},
		{"half signed in nobody was found", at(900), session.Session{ID: "1", Subject: "alice", AuthTime: at(100), SecondFactorPending: true}, session.Session{ID: "1", AuthTime: at(100)}, "code"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t)
			s.now = c.arrived
			c.returned.Subject = "alice"
			v := s.visitor(&c.found)
			got := v.get(ask("prompt=login")).want(t, "first", "login")
			if sealed := claimsOf(t, got.req)["iat"]; sealed != float64(c.arrived.UnixMilli())/1000 {
				t.Errorf("iat is %v", sealed)
			}
			s.now = s.now.Add(time.Minute)
			v.session = &c.returned
			v.resume(got).want(t, c.rule, c.want)
		})
	}
}

// A user who comes back from the login page as nobody is mostly a mistake of the host's,
// and the log says which.
func TestAReturnAsNobodyIsAWarning(t *testing.T) {
	for _, c := range []struct {
		rule string
		who  *session.Session
		ask  string
		back func(v *visitor, at *reply) *reply
		warn bool
	}{
		{"nobody", nil, ask(), (*visitor).resume, true},
		{"without a Subject", &session.Session{ID: "1", AuthTime: testStart}, ask(), (*visitor).resume, true},
		{"somebody", alice(), ask(), (*visitor).resume, false},
		{"the second factor is missing, which the host knows", &session.Session{Subject: "alice", SecondFactorPending: true}, ask(), (*visitor).resume, false},
		{"the user said no", nil, ask(), (*visitor).deny, false},
		{"a browser that had no cookie for the request", nil, ask(), func(v *visitor, at *reply) *reply { v.lose(); return v.resume(at) }, false},
		{"a first visit", nil, ask(), func(v *visitor, _ *reply) *reply { return v.get(ask()) }, false},
		{"the GET of a POST", nil, ask(), func(v *visitor, _ *reply) *reply { return v.follow(v.post(ask())) }, false},
		{"from another page, where the session ended", nil, ask(), func(v *visitor, at *reply) *reply {
			v.session = alice()
			at = v.resume(at).want(t, "signed in", "terms")
			v.session = nil
			return v.resume(at)
		}, false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withStep(Interaction{Name: "terms", Page: "/terms", Needed: always}))
			v := s.visitor(nil)
			at := v.get(c.ask).want(t, "asked", "login")
			v.session = c.who
			s.log.Reset()
			c.back(v, at)
			text := s.log.String()
			warned := strings.Contains(text, `"level":"WARN"`) && strings.Contains(text, "the SessionStore finds nobody")
			if warned != c.warn {
				t.Errorf("the log says %s", text)
			}
			for _, cause := range []string{"not saved before Resume", "SameSite=Strict", "another host or path", `"client_id":"web"`} {
				if warned && !strings.Contains(text, cause) {
					t.Errorf("%q is not in %s", cause, text)
				}
			}
		})
	}
}

// On a page after the login the session may have ended: the user signs in again, and what
// is recorded by then stays for that sign-in.
func TestGrantAndCompleteAfterTheSessionEnded(t *testing.T) {
	for _, c := range []struct {
		rule string
		do   func(v *visitor, consent, terms *reply) *reply
	}{
		{"Grant", func(v *visitor, consent, _ *reply) *reply { return v.grant(consent, "openid") }},
		{"Grant of nothing", func(v *visitor, consent, _ *reply) *reply { return v.grant(consent) }},
		{"Complete", func(v *visitor, _, terms *reply) *reply { return v.complete(terms, "terms") }},
	} {
		for rule, who := range map[string]*session.Session{
			"nobody": nil, "without a Subject": {ID: "1"}, "half signed in": {ID: "1", Subject: "alice", SecondFactorPending: true},
		} {
			t.Run(c.rule+", "+rule, func(t *testing.T) {
				s := newSite(t, withConsent, withStep(Interaction{Name: "terms", Page: "/terms", Needed: always}))
				v := s.visitor(alice())
				consent := v.get(ask("client_id=native")).want(t, "asked", "consent")
				terms := v.grant(consent, "openid").want(t, "agreed", "terms")
				s.events, v.session = nil, who
				at := c.do(v, consent, terms).want(t, "the session ended", "login")
				if len(s.events) != 1 || s.events[0].Kind != EventInteraction {
					t.Errorf("reported: %+v", s.events)
				}
				v.session = s.signIn("alice")
				v.resume(at).want(t, "and is a new one", "consent")
			})
		}
	}
}

// A browser restores a dozen tabs, and the user goes through them one after the other.
func TestTwelveTabs(t *testing.T) {
	for _, c := range []struct {
		rule    string
		ask     string
		reverse bool
		signs   bool // in at each login page that is shown
		extra   int  // login pages beyond one for each tab
	}{
		{"one sign-in is enough for all", ask(), false, false, 0},
		{"the last tab first", ask(), true, false, 0},
		{"each asks for the password", ask("prompt=login"), false, true, 5},
		{"each asks for the password, the last tab first", ask("prompt=login"), true, true, 4},
		{"each asks for an account", ask("prompt=select_account"), false, true, 5},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t)
			v := s.visitor(nil)
			var tabs []*reply
			for range 12 {
				s.now = s.now.Add(50 * time.Millisecond)
				tabs = append(tabs, v.get(c.ask).want(t, "opened", "login"))
			}
			if c.reverse {
				slices.Reverse(tabs)
			}
			s.now = s.now.Add(time.Minute)
			v.session = s.signIn("alice")
			extra := 0
			for i, at := range tabs {
				for got := v.resume(at); ; got = v.resume(at) {
					if got.kind != "login" {
						got.want(t, fmt.Sprint("tab ", i), "code")
						break
					}
					if extra++; extra > 12 {
						t.Fatal("a loop")
					}
					at = got
					s.now = s.now.Add(time.Minute)
					if c.signs {
						v.session = s.signIn("alice")
					}
				}
				if c.signs { // for the next tab
					s.now = s.now.Add(time.Minute)
					v.session = s.signIn("alice")
				}
			}
			if extra != c.extra || len(v.cookies) != 0 {
				t.Errorf("%d more login pages, want %d; cookies left: %v", extra, c.extra, v.cookies)
			}
		})
	}
}

// What users do twice, because they see no answer yet or go back.
func TestWhatUsersDoTwice(t *testing.T) {
	allow := func(v *visitor, at *reply) *reply {
		return v.page(func(w http.ResponseWriter, r *http.Request) {
			v.site.handler.Grant(w, r, Granted{Scopes: []string{"openid"}})
		}, formPost("/consent?req="+at.req, ""))
	}
	for _, c := range []struct {
		rule string
		ask  string
		do   func(v *visitor, login, consent *reply) *reply
		want string
	}{
		{"Allow, one click after the other", ask(), func(v *visitor, _, consent *reply) *reply {
			v.follow(allow(v, consent)).want(t, "the first", "code")
			return v.follow(allow(v, consent))
		}, "code"},
		{"Allow, both clicks before an answer", ask(), func(v *visitor, _, consent *reply) *reply {
			first, second := allow(v, consent), allow(v, consent)
			v.follow(first).want(t, "the first", "code")
			return v.follow(second)
		}, "code"},
		{"Allow, for a client whose consent is not remembered", ask("client_id=native"), func(v *visitor, _, consent *reply) *reply {
			first, second := allow(v, consent), allow(v, consent)
			v.follow(first).want(t, "the first", "code")
			return v.follow(second)
		}, "consent"},
		{"back to the login page, and the password once more", ask(), func(v *visitor, login, consent *reply) *reply {
			v.grant(consent, "openid").want(t, "the first", "code")
			v.site.now = v.site.now.Add(time.Minute)
			v.session = v.site.signIn("alice")
			return v.resume(login)
		}, "code"},
		{"back to the login page, and another user", ask(), func(v *visitor, login, consent *reply) *reply {
			v.grant(consent, "openid").want(t, "the first", "code")
			v.session = v.site.signIn("bob")
			return v.resume(login)
		}, "consent"},
		{"the login form", ask(), func(v *visitor, login, _ *reply) *reply {
			v.resume(login)
			return v.resume(login)
		}, "consent"},
		{"Allow, and then No", ask(), func(v *visitor, _, consent *reply) *reply {
			v.grant(consent, "openid").want(t, "the first", "code")
			return v.deny(consent)
		}, "page Bad Request access_denied"},
		{"No, and then Allow", ask(), func(v *visitor, _, consent *reply) *reply {
			v.deny(consent).want(t, "the first", "client access_denied")
			return v.grant(consent, "openid")
		}, "consent"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withConsent)
			v := s.visitor(nil)
			login := v.get(c.ask).want(t, "asked", "login")
			v.session = s.signIn("alice")
			consent := v.resume(login).want(t, "signed in", "consent")
			c.do(v, login, consent).want(t, c.rule, c.want)
		})
	}
}
