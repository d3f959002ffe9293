package authorize

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
		"found": []any{map[string]any{"k": SignInKey(old), "t": float64(old.AuthTime.UnixMilli())}},
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
		v.resume(next).want(t, c.rule+": and again", "client login_required")
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
		return completed{Name: name, By: SignInKey(&by)}
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
}

// The page of an interaction is left by its own way only: coming back is not enough.
func TestAnInteractionIsNotPassedByComingBack(t *testing.T) {
	s := newSite(t, withConsent, withStep(Interaction{Name: "terms", Page: "/terms?v=2#top", Needed: always}))
	v := s.visitor(alice())
	at := v.get(ask()).want(t, "asked", "consent")
	v.resume(at).want(t, "came back", "consent")
	v.complete(at, "terms").want(t, "another one was completed", "consent")
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
	v.session = alice()
	v.get(ask("state="+long)).want(t, "the same for someone signed in", "client invalid_request")
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
		{"the sealed request", p.Sealed, at.req},
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
		return func(_ context.Context, p *Pending) (string, error) { return text + "?req=" + p.Sealed, nil }
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
