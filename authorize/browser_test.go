package authorize

import (
	"context"
	"fmt"
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

func TestTheCookie(t *testing.T) {
	for _, c := range []struct {
		rule          string
		change        func(*site)
		prefix, attrs string
	}{
		{"https", func(*site) {}, "__Host-usher-", "; Path=/; Max-Age=1800; HttpOnly; Secure; SameSite=Lax"},
		{"http on loopback", func(s *site) { s.config.Issuer = "http://127.0.0.1:8080" }, "usher-", "; Path=/; Max-Age=1800; HttpOnly; SameSite=Lax"},
		{"http on localhost", func(s *site) { s.config.Issuer = "http://localhost:8080" }, "usher-", "; Path=/; Max-Age=1800; HttpOnly; SameSite=Lax"},
		{"as long as the request may wait", func(s *site) { s.config.PendingLifetime = time.Hour }, "__Host-usher-", "; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			v := newSite(t, c.change).visitor(nil)
			at := v.get(ask()).want("login")
			if len(at.cookies) != 1 {
				t.Fatalf("%d cookies", len(at.cookies))
			}
			name, value := at.cookies[0].Name, at.cookies[0].Value
			if want := name + "=" + value + c.attrs; at.cookies[0].Raw != want {
				t.Errorf("%q, want %q", at.cookies[0].Raw, want)
			}
			if claims := at.claims(); name != c.prefix+claims["jti"].(string) {
				t.Errorf("the name is %q", name)
			}
			_, secret, _ := strings.Cut(value, ".")
			if len(secret) < 26 || strings.Contains(at.req+at.location, secret) || strings.Contains(fmt.Sprint(at.claims()), secret) {
				t.Errorf("the secret %q is short, or in the request", secret)
			}
			for _, parameter := range []string{"app.example", "st-1", "n-1", testChallenge} {
				if strings.Contains(value, parameter) {
					t.Errorf("the cookie has %q in it", parameter)
				}
			}
			done := v.signIn(at, "alice").want("code")
			dropped := name + "=" + regexp.MustCompile(`Max-Age=\d+`).ReplaceAllString(c.attrs, "Max-Age=0")
			if len(done.cookies) != 1 || done.cookies[0].Raw != dropped {
				t.Errorf("when it was answered, the cookie became %q", done.cookies[0].Raw)
			}
		})
	}
}

func (v *visitor) eachCookie(change func(string) string) {
	for name, value := range v.cookies {
		v.cookies[name] = change(value)
	}
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
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t)
			v := s.visitor(nil)
			at := v.get(ask())
			v.session = s.signIn("alice")
			c.first(v, at).want(c.want)
			v.resume(at).want("code", "again: it begins anew")
			v.deny(at).want("page Bad Request access_denied", "no, after it was answered")
		})
	}
}

// A browser that sends thousands of such cookies is not answered with as many removals.
func TestForgedCookiesAreRemovedAFewAtATime(t *testing.T) {
	v := newSite(t).visitor(nil)
	name := ""
	v.get(ask())
	for name = range v.cookies {
	}
	for i := range 1000 {
		v.cookies[name[:len(name)-4]+fmt.Sprintf("%04d", i)] = fmt.Sprintf("%d.x", i)
	}
	if got := v.get(ask()).want("login", "one more"); len(got.cookies) > 10 {
		t.Errorf("%d cookies are set", len(got.cookies))
	}
}

func TestEightRequestsCanWaitInABrowser(t *testing.T) {
	s := newSite(t)
	v := s.visitor(nil)
	var tabs []*reply
	for range 9 {
		tabs = append(tabs, v.get(ask()).want("login"))
		s.now = s.now.Add(time.Millisecond)
	}
	if len(v.cookies) != 8 {
		t.Errorf("%d cookies", len(v.cookies))
	}
	v.signIn(tabs[0], "alice").want("code", "the oldest gave way, and begins anew")
	for i, tab := range tabs[1:] {
		v.resume(tab).want("code", fmt.Sprintf("tab %d", i+1))
	}
	if len(v.cookies) != 0 {
		t.Errorf("after all were answered, the browser has %v", v.cookies)
	}
}

// A cookie of another length, or of another program, is not ours to push out.
func TestCookiesThatOnlyLookLikeOursAreLeftAlone(t *testing.T) {
	v := newSite(t).visitor(nil)
	for i := range 20 {
		v.cookies[fmt.Sprintf("__Host-usher-%d", i)] = "x"
		v.cookies[fmt.Sprintf("__Most-usher-%026d", i)] = "1.x"
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
	a := v.signIn(second, "alice").want("code", "the second tab")
	b := v.signIn(first, "bob").want("code", "the first tab")
	if a.params["state"] != "two" || b.params["state"] != "one" || a.target != "https://spa.example/cb" || b.target != "https://app.example/cb" {
		t.Errorf("%v to %s, %v to %s", a.params, a.target, b.params, b.target)
	}
	code, err := s.redeem(b.params["code"], nil)
	if err != nil || code.Subject != "bob" {
		t.Errorf("%+v, %v", code, err)
	}
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
			v.eachCookie(func(string) string { return "1." + at.claims()["browser"].(string) })
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
			name := v.site.handler.cookieName(at.claims()["jti"].(string))
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
			}, withTerms)
			v := s.visitor(alice())
			login := v.get(ask("prompt=login", "id_token_hint=hint-of-alice", "x_tenant=7", "+resource=https://api.example/b", "+resource=https://api.example/a")).want("login")
			s.now = s.now.Add(time.Minute)
			terms := v.grant(v.signIn(login, "alice").want("consent"), "openid").want("terms")
			s.now = s.now.Add(time.Minute + 7*time.Millisecond)
			got := c.back(v, terms)
			if !c.anew {
				got.want("terms")
				return
			}
			// prompt=login wants a sign-in that is newer than the request now is.
			got.want("login")
			before, after := terms.claims(), got.claims()
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
			v.resume(got).want("login", "that sign-in is no new one")
			s.now = s.now.Add(time.Minute)
			consent := v.signIn(got, "alice").want("consent", "signed in anew")
			v.complete(v.grant(consent, "openid").want("terms"), "terms").want("code")
		})
	}
}

// Byte for byte, and through as many beginnings as there may be.
func TestWhatWasAskedForStaysThroughBeginningAnew(t *testing.T) {
	for _, c := range []struct{ rule, name, value string }{
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
			at := v.get(ask(c.name+"="+url.QueryEscape(c.value), "+resource=https://api.example/b", "+resource=https://api.example/a", "response_mode=form_post")).want("login")
			v.session = s.signIn("alice")
			for range 2 {
				v.lose()
				at = v.resume(at).want("consent")
			}
			got := v.grant(at, "openid").want("code")
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
			at := v.get(ask("ui_locales=de")).want("login")
			v.session = c.who(s)
			for i, keep := range c.keep {
				if !keep {
					v.lose()
				}
				at = v.resume(at).want(c.want[i], fmt.Sprint("return ", i+1))
				if at.kind == "page" || at.kind == elsewhere {
					if e := s.lastEvent(); e.Reason != ReasonNoCookies || e.ClientID != "web" || e.Kind != EventErrorPage || len(at.cookies) != 0 {
						t.Errorf("reported as %+v, with the cookies %v", e, at.cookies)
					}
					if at.kind == elsewhere && (!strings.Contains(at.location, "reason=no_cookies") || !strings.Contains(at.location, "ui_locales=de")) {
						t.Errorf("sent to %s", at.location)
					}
					return
				}
				if mark, _ := at.claims()["anew"].(float64); mark != c.anew[i] {
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
			at := v.get(ask()).want("consent")
			for range c.losses - 1 {
				v.lose()
				at = v.resume(at).want("consent")
			}
			s.remember("web", "openid")
			v.lose()
			v.resume(at).want(c.want)
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
			at.want(c.want)
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
			at := v.get(ask(c.ask...)).want("consent")
			if c.before != nil {
				at = c.before(v, at)
			}
			s.remember("web", "openid") // so that a yes would be a code
			v.lose()
			got := v.deny(at).want("page Bad Request access_denied")
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
			sent := v.post(ask()).want("endpoint")
			v.session = who
			return v.complete(sent, "terms")
		}, "consent"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withConsent, withTerms)
			v := s.visitor(alice())
			consent := v.get(ask()).want("consent")
			terms := v.grant(consent, "openid").want("terms")
			if err := s.memory.DeleteConsent(context.Background(), "alice", "web"); err != nil {
				t.Fatal(err)
			}
			s.events = nil
			v.lose()
			c.do(v, consent, terms).want(c.want)
			if stored := s.remembered("web"); stored != nil {
				t.Errorf("the store has %+v", stored)
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
		rule      string
		who       func(*site) *session.Session // in the other browser
		ask, want string
	}{
		{"consent and terms of the same sign-in", nil, ask("client_id=native"), "consent"},
		{"consent and terms of another sign-in of the same user", func(s *site) *session.Session { s.now = s.now.Add(time.Second); return s.signIn("alice") }, ask("client_id=native"), "consent"},
		{"consent and terms of another user", func(s *site) *session.Session { return s.signIn("bob") }, ask("client_id=native"), "consent"},
		{"a new sign-in", nil, ask("client_id=native", "prompt=login"), "login"},
		{"nobody is there", func(*site) *session.Session { return nil }, ask("client_id=native"), "login"},
		{"the user that was proven, and another is there", func(s *site) *session.Session { return s.signIn("bob") }, ask("client_id=native", "id_token_hint=hint-of-alice"), "login"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withConsent, withTerms)
			first := s.visitor(nil)
			at := first.get(c.ask).want("login")
			first.session = s.signIn("alice")
			at = first.grant(first.resume(at).want("consent"), "openid").want("terms")
			// The last step before the code, as an address that is handed on.
			done := first.accept(at, "terms")
			other := s.visitor(first.session)
			if c.who != nil {
				other.session = c.who(s)
			}
			other.follow(done).want(c.want)
			first.follow(done).want("code", "in the first browser")
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
			return v.grant(v.resume(at).want("consent"), "openid")
		}, "code"},
		{"somebody, and the cookie is lost on the consent page again", func(s *site) *session.Session { return s.signIn("carol") }, ask("prompt=create"), func(v *visitor, at *reply) *reply {
			at = v.resume(at).want("consent")
			v.lose()
			return v.grant(v.resume(at).want("consent", "anew again"), "openid")
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
			at := v.get(c.ask).want("register")
			v.session = c.who(s)
			v.lose()
			c.back(v, at).want(c.want)
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
			v := newSite(t, withConsent).visitor(alice())
			at := v.get(ask("login_hint=al")).want("consent")
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

// A browser restores a dozen tabs, and the user goes through them one after the other.
func TestTwelveTabs(t *testing.T) {
	for _, c := range []struct {
		rule, ask string
		reverse   bool
		signs     bool // in at each login page that is shown
		extra     int  // login pages beyond one for each tab
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
				tabs = append(tabs, v.get(c.ask).want("login"))
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
						got.want("code", fmt.Sprint("tab ", i))
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

// State is made only for what can show a page: a program of a page that asks meanwhile
// leaves the user's sign-in alone.
func TestWhatIsFetchedGetsNoState(t *testing.T) {
	const page = "page Bad Request invalid_request"
	modes := []string{"cors", "no-cors", "same-origin", "websocket"}
	for _, c := range []struct {
		rule      string
		modes     []string
		who       *session.Session
		ask, want string
	}{
		{"nobody", modes, nil, ask(), page},
		{"a sign-in that is too old", modes, alice(), ask("max_age=1"), page},
		{"consent is needed", modes, alice(), ask("client_id=spa"), page},
		{"a code", modes, alice(), ask(), "code"},
		{"nothing", modes, alice(), ask("response_type=none"), "nothing"},
		{"an error", modes, nil, ask("scope=unknown"), "client invalid_scope"},
		{"prompt=none", modes, nil, ask("prompt=none"), "client login_required"},
		{"a navigation", []string{"navigate", ""}, nil, ask(), "login"},
		{"a navigation, and consent is needed", []string{"navigate", ""}, alice(), ask("client_id=spa"), "consent"},
	} {
		for _, change := range []func(*site){func(*site) {}, withErrorURL("/error")} {
			for _, mode := range c.modes {
				t.Run(c.rule+", "+mode, func(t *testing.T) {
					s := newSite(t, withConsent, change)
					s.remember("web", "openid")
					v := s.visitor(nil)
					var waiting []*reply
					for range maxPendingCookies {
						waiting = append(waiting, v.get(ask()))
						s.now = s.now.Add(time.Millisecond)
					}
					v.session = c.who
					r := httptest.NewRequest("GET", "/authorize?"+c.ask, nil)
					if mode != "" {
						r.Header.Set("Sec-Fetch-Mode", mode)
						r.Header.Set("Sec-Fetch-Dest", map[string]string{"navigate": "iframe"}[mode])
					}
					got := v.send(s.handler, r).want(c.want)
					if c.want == "login" || c.want == "consent" {
						if len(got.cookies) != 2 {
							t.Errorf("cookies: %v", got.cookies)
						}
						return
					}
					if len(got.cookies) != 0 {
						t.Errorf("cookies: %v", got.cookies)
					}
					if e := s.lastEvent(); got.kind == "page" && (e.Reason != ReasonFetched || e.Kind != EventErrorPage || !strings.Contains(got.body, "Navigate to this address, do not fetch it.")) {
						t.Errorf("reported as %+v, and on the page\n%s", e, got.body)
					}
					for i, at := range waiting {
						if p, err := v.pending(at); err != nil || p.Anew {
							t.Errorf("tab %d is lost: %v, %v", i, p, err)
						}
					}
				})
			}
		}
	}
}

// A request that waits may come back by a fetch: it keeps its cookie until it is answered.
func TestAWaitingRequestThatIsFetched(t *testing.T) {
	s := newSite(t)
	v := s.visitor(nil)
	at := v.get(ask("prompt=login")).want("login")
	fetch := func(method, target, body string) *reply {
		r := formPost(target, body)
		r.Method = method
		r.Header.Set("Sec-Fetch-Mode", "cors")
		return v.send(s.handler, r)
	}
	if got := fetch("GET", "/authorize?req="+at.req, "").want("page Bad Request invalid_request", "still nobody"); len(got.cookies) != 0 {
		t.Errorf("cookies: %v", got.cookies)
	}
	v.signIn(at, "alice").want("code")
	if got := fetch("GET", "/authorize?req="+at.req, "").want("page Bad Request invalid_request", "answered, and it begins anew"); len(got.cookies) != 0 {
		t.Errorf("cookies: %v", got.cookies)
	}
	fetch("POST", "/authorize", ask()).want("code", "a code by POST")
	v.session = nil
	sent := fetch("POST", "/authorize", ask()).want("endpoint", "by POST, and nobody is there")
	got := fetch("GET", "/authorize?req="+sent.req, "").want("page Bad Request invalid_request", "and the GET after it")
	if len(sent.cookies)+len(got.cookies) != 0 {
		t.Errorf("cookies: %v, %v", sent.cookies, got.cookies)
	}
}
