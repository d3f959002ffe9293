package authorize

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// One row for every kind of answer that there is. The headers are all of them.
func TestTheHeadersOfEveryAnswer(t *testing.T) {
	always := map[string]string{"Cache-Control": "no-store", "Pragma": "no-cache", "Referrer-Policy": "no-referrer"}
	page := map[string]string{
		"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
		"Content-Security-Policy": "default-src 'none'; style-src 'STYLE'; frame-ancestors 'none'; base-uri 'none'",
	}
	form := map[string]string{
		"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
		"Content-Security-Policy": "default-src 'none'; script-src 'SCRIPT'; style-src 'STYLE'; frame-ancestors 'none'; base-uri 'none'",
		"Referrer-Policy":         "strict-origin",
	}
	silent := map[string]string{
		"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "strict-origin",
		"Content-Security-Policy": "default-src 'none'; script-src 'SCRIPT'; style-src 'STYLE'; base-uri 'none'",
	}
	withForm := maps.Clone(page)
	withForm["Referrer-Policy"] = "strict-origin"
	redirected := map[string]string{"Location": "*"}
	get := func(who *session.Session, changes ...string) func(*site) *reply {
		return func(s *site) *reply { return s.visitor(who).get(ask(changes...)) }
	}
	post := func(who *session.Session, changes ...string) func(*site) *reply {
		return func(s *site) *reply { return s.visitor(who).post(ask(changes...)) }
	}
	via := func(do func(*Handler, http.ResponseWriter, *http.Request), r *http.Request) func(*site) *reply {
		return func(s *site) *reply {
			return s.visitor(nil).page(func(w http.ResponseWriter, r *http.Request) { do(s.handler, w, r) }, r)
		}
	}
	for _, c := range []struct {
		rule   string
		do     func(*site) *reply
		status int
		more   map[string]string
	}{
		{"a code, by GET", get(alice()), 302, redirected},
		{"a code, by POST", post(alice()), 303, redirected},
		{"a code, by form_post", get(alice(), "response_mode=form_post"), 200, form},
		{"a code, by form_post for a POST", post(alice(), "response_mode=form_post"), 200, form},
		{"nothing", get(alice(), "response_type=none"), 302, redirected},
		{"an error, by GET", get(alice(), "scope=unknown"), 302, redirected},
		{"an error, by POST", post(alice(), "scope=unknown"), 303, redirected},
		{"an error, by form_post", get(alice(), "scope=unknown", "response_mode=form_post"), 200, form},
		{"a code for prompt=none, by form_post", get(alice(), "response_mode=form_post", "prompt=none"), 200, silent},
		{"a code for prompt=none, by form_post for a POST", post(alice(), "response_mode=form_post", "prompt=+none+"), 200, silent},
		{"nothing for prompt=none, by form_post", get(alice(), "response_type=none", "response_mode=form_post", "prompt=none"), 200, silent},
		{"an error for prompt=none, by form_post", get(nil, "response_mode=form_post", "prompt=none"), 200, silent},
		{"a wrong request with prompt=none, by form_post", get(alice(), "scope=unknown", "response_mode=form_post", "prompt=none"), 200, silent},
		{"an error for prompt=none, by redirect", get(nil, "prompt=none"), 302, redirected},
		{"an error for prompt=none, by fragment", get(nil, "client_id=browser", "response_mode=fragment", "prompt=none"), 302, redirected},
		{"a code, by fragment", get(alice(), "client_id=browser", "response_mode=fragment"), 302, redirected},
		{"a code, by fragment for a POST", post(alice(), "client_id=browser", "response_mode=fragment"), 303, redirected},
		{"none and another value of prompt, by form_post", get(alice(), "response_mode=form_post", "prompt=none+login"), 200, form},
		{"prompt=none twice, by form_post", get(alice(), "response_mode=form_post", "prompt=none", "+prompt=none"), 200, form},
		{"an error page for prompt=none", get(nil, "client_id=unknown", "response_mode=form_post", "prompt=none"), 400, page},
		{"an unvetted client's error for prompt=none, by form_post", get(nil, "client_id=new", "response_mode=form_post", "prompt=none"), 400, withForm},
		{"an unvetted client's error, by form_post", get(nil, "client_id=new", "scope=unknown", "response_mode=form_post"), 400, withForm},
		{"the login page", get(nil), 302, map[string]string{"Location": "*", "Set-Cookie": "*"}},
		{"the consent page", get(alice(), "prompt=consent"), 302, map[string]string{"Location": "*", "Set-Cookie": "*"}},
		{"the consent page, by POST", post(alice(), "prompt=consent"), 303, map[string]string{"Location": "*", "Set-Cookie": "*"}},
		{"our own GET", post(nil), 303, redirected},
		{"an error page", func(s *site) *reply { return s.visitor(nil).get("") }, 400, page},
		{"an error page, by POST", func(s *site) *reply { return s.visitor(nil).post("") }, 400, page},
		{"another method", via((*Handler).ServeHTTP, httptest.NewRequest("PUT", "/authorize", nil)), 405, map[string]string{
			"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Allow": "GET, POST", "Content-Security-Policy": page["Content-Security-Policy"]}},
		{"an unvetted client's error", get(nil, "client_id=new", "scope=unknown"), 400, page},
		{"Resume", via(func(h *Handler, w http.ResponseWriter, r *http.Request) { h.Resume(w, r) }, formPost("/login?req=x", "")), 303, redirected},
		{"Deny", via((*Handler).Deny, httptest.NewRequest("GET", "/login?req=x", nil)), 302, redirected},
		{"Complete in another browser", func(s *site) *reply { return s.visitor(alice()).complete(&reply{req: "x"}, "consent") }, 400, page},
		{"ShowError", func(s *site) *reply { return s.visitor(nil).showError(io.EOF) }, 503, page},
		{"ShowError without an error", func(s *site) *reply { return s.visitor(nil).showError(nil) }, 503, page},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withConsent)
			s.remember("web", "openid")
			s.remember("browser", "openid")
			answer, want := c.do(s), map[string]string{}
			for _, some := range []map[string]string{always, c.more} {
				for name, value := range some {
					value = strings.ReplaceAll(value, "STYLE", sourceOf(t, answer.body, "style"))
					want[name] = strings.ReplaceAll(value, "SCRIPT", sourceOf(t, answer.body, "script"))
				}
			}
			got := map[string]string{}
			for name := range answer.header {
				got[name] = answer.header.Get(name)
				if want[name] == "*" {
					got[name] = "*"
				}
			}
			if diff := cmp.Diff(want, got); diff != "" || answer.status != c.status {
				t.Errorf("status %d, want %d; headers (-want +got)\n%s", answer.status, c.status, diff)
			}
		})
	}
}

// sourceOf is the hash by which a browser knows the page's one style or script.
func sourceOf(t *testing.T, body, element string) string {
	t.Helper()
	found := regexp.MustCompile(`(?s)<`+element+`>(.*?)</`+element+`>`).FindAllStringSubmatch(body, -1)
	if len(found) == 0 {
		return ""
	}
	if len(found) > 1 {
		t.Errorf("%d elements %s on one page", len(found), element)
	}
	sum := sha256.Sum256([]byte(found[0][1]))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

func TestAnAnswerByRedirect(t *testing.T) {
	for _, c := range []struct {
		rule   string
		change []string
		want   string // CODE stands for 43 characters
	}{
		{"a code", nil, "https://app.example/cb?code=CODE&state=st-1&iss=https%3A%2F%2Fas.example"},
		{"a code without state", []string{"-state"}, "https://app.example/cb?code=CODE&iss=https%3A%2F%2Fas.example"},
		{"a query stays in front", []string{"client_id=query"}, "https://q.example/cb?tenant=1&x=a+b&code=CODE&state=st-1&iss=https%3A%2F%2Fas.example"},
		{"a private-use scheme", []string{"client_id=native", "redirect_uri=com.example.app%3A%2Fcb"}, "com.example.app:/cb?code=CODE&state=st-1&iss=https%3A%2F%2Fas.example"},
		{"a code by fragment", []string{"client_id=browser", "response_mode=fragment"}, "https://browser.example/cb#code=CODE&state=st-1&iss=https%3A%2F%2Fas.example"},
		{"a private-use scheme, by fragment", []string{"client_id=browser", "response_mode=fragment", "redirect_uri=com.example.browser%3A%2Fcb", "state=%26code%3Dx%23+%2B%25"}, "com.example.browser:/cb#code=CODE&state=%26code%3Dx%23%20%2B%25&iss=https%3A%2F%2Fas.example"},
		{"an error by fragment", []string{"client_id=browser", "response_mode=fragment", "scope=openid+scope", "prompt=foo"}, "https://browser.example/cb#error=invalid_scope&error_description=A%20requested%20scope%20is%20missing%2C%20unknown%20or%20not%20open%20to%20this%20client.&state=st-1&iss=https%3A%2F%2Fas.example"},
		{"an error", []string{"scope=unknown"}, "https://app.example/cb?error=invalid_scope&error_description=A%20requested%20scope%20is%20missing%2C%20unknown%20or%20not%20open%20to%20this%20client.&state=st-1&iss=https%3A%2F%2Fas.example"},
		{"a state that needs escaping", []string{"response_type=none", "state=%26code%3Dx%23+%2B%25"}, "https://app.example/cb?state=%26code%3Dx%23%20%2B%25&iss=https%3A%2F%2Fas.example"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			got := newSite(t).visitor(alice()).get(ask(c.change...))
			location := regexp.MustCompile(`code=[A-Za-z0-9_-]{43}&`).ReplaceAllString(got.location, "code=CODE&")
			if location != c.want {
				t.Errorf(" got %s\nwant %s", location, c.want)
			}
		})
	}
}

func TestAnAnswerByForm(t *testing.T) {
	s := newSite(t)
	client := testClients()[0]
	client.RedirectURIs = []string{"https://app.example/cb?a=1&b='%22%3Cx%3E+%2e"}
	s.memory.PutClient(client)
	got := s.visitor(alice()).get(ask("response_mode=form_post", "redirect_uri="+url.QueryEscape(client.RedirectURIs[0]), "state="+url.QueryEscape(`"><script>alert(1)</script>'&amp;é`)))
	got.want("code")
	if got.target != client.RedirectURIs[0] {
		t.Errorf("the action is %q", got.target)
	}
	if got.params["state"] != `"><script>alert(1)</script>'&amp;é` {
		t.Errorf("the state is %q", got.params["state"])
	}
	if strings.Contains(got.body, "alert(1)</script>") || strings.Contains(got.body, `b='`) {
		t.Errorf("unescaped:\n%s", got.body)
	}
	if strings.Contains(got.body, "<noscript>") || !strings.Contains(got.body, "<button>Continue</button>") || strings.Contains(got.location, "code") {
		t.Errorf("where the script is blocked nobody could go on:\n%s", got.body)
	}
	if hides, submits := strings.Index(got.body, "hidden=true"), strings.Index(got.body, ".submit()"); !strings.Contains(got.body, `<div id="manual">`) || hides < 0 || hides > submits {
		t.Errorf("the script does not hide the button:\n%s", got.body)
	}
	got = s.visitor(alice()).get(ask("response_mode=form_post", "prompt=none", "redirect_uri="+url.QueryEscape(client.RedirectURIs[0]))).want("code", "silent")
	if strings.Contains(got.body, "<button") || strings.Contains(got.body, "going on") {
		t.Errorf("there is something to click in a frame:\n%s", got.body)
	}
}

// Whoever is refused reads whose no it is.
func TestAccessDeniedSaysWhoRefused(t *testing.T) {
	s := newSite(t)
	v := s.visitor(nil)
	got := v.deny(v.get(ask())).want("client access_denied", "the user")
	if text := got.params["error_description"]; text != "The user refused the request." {
		t.Errorf("the user: %q", text)
	}
	s.forbid()
	got = s.visitor(alice()).get(ask()).want("client access_denied", "the host")
	if text := got.params["error_description"]; text != "The server's rules refused the request." {
		t.Errorf("the host: %q", text)
	}
	s = newSite(t, withStep(Interaction{Name: "terms", Prompt: "terms", Page: "/terms", Error: oautherr.AccessDenied, Needed: always}))
	got = s.visitor(alice()).get(ask("prompt=none")).want("client access_denied", "a step that needs a page")
	if text := got.params["error_description"]; text != oautherr.AccessDenied.Description() {
		t.Errorf("a step that needs a page: %q", text)
	}
}

// RFC 9700 §4.11.2: whoever registers a client must not get an open redirector.
func TestUnvettedClients(t *testing.T) {
	for _, c := range []struct {
		rule string
		do   func(s *site) *reply
		want string
	}{
		{"a wrong request", func(s *site) *reply { return s.visitor(nil).get(ask("client_id=new", "scope=unknown")) }, "page Bad Request invalid_scope"},
		{"a wrong request of someone signed in", func(s *site) *reply { return s.visitor(alice()).get(ask("client_id=new", "scope=unknown")) }, "page Bad Request invalid_scope"},
		{"prompt=none", func(s *site) *reply { return s.visitor(nil).get(ask("client_id=new", "prompt=none")) }, "page Bad Request login_required"},
		{"prompt=none, signed in, no consent", func(s *site) *reply { return s.visitor(alice()).get(ask("client_id=new", "prompt=none")) }, "page Bad Request consent_required"},
		{"prompt=none, consent covers it", func(s *site) *reply {
			s.remember("new", "openid")
			return s.visitor(alice()).get(ask("client_id=new", "prompt=none"))
		}, "code"},
		{"prompt=none, consent covers it, the sign-in is too old", func(s *site) *reply {
			s.remember("new", "openid")
			return s.visitor(alice()).get(ask("client_id=new", "prompt=none", "max_age=1"))
		}, "client login_required"},
		{"prompt=none, another user's consent", func(s *site) *reply {
			s.remember("new", "openid")
			return s.visitor(bob()).get(ask("client_id=new", "prompt=none"))
		}, "page Bad Request consent_required"},
		{"forbidden, no consent", func(s *site) *reply { s.forbid(); return s.visitor(alice()).get(ask("client_id=new")) }, "page Bad Request access_denied"},
		{"forbidden, consent covers it", func(s *site) *reply {
			s.forbid()
			s.remember("new", "openid")
			return s.visitor(alice()).get(ask("client_id=new"))
		}, "client access_denied"},
		{"forbidden after a sign-in for it", func(s *site) *reply {
			s.forbid()
			v := s.visitor(nil)
			return v.signIn(v.get(ask("client_id=new")), "alice")
		}, "client access_denied"},
		{"forbidden after a sign-in for it, in a browser without the cookie", func(s *site) *reply {
			s.forbid()
			v := s.visitor(nil)
			at := v.get(ask("client_id=new"))
			v.lose()
			return v.signIn(at, "alice")
		}, "page Bad Request access_denied"},
		{"forbidden after the terms were accepted, in a browser without the cookie", func(s *site) *reply {
			v := s.visitor(alice())
			at := v.get(ask("client_id=new"))
			s.config.Consent.Store = nil
			s.restart()
			done := v.allow(at, Granted{Scopes: []string{"openid"}})
			s.forbid()
			v.lose()
			return v.follow(done)
		}, "page Bad Request access_denied"},
		{"forbidden after the consent was given", func(s *site) *reply {
			v := s.visitor(alice())
			s.config.Consent.Store = nil
			s.restart()
			at := v.get(ask("client_id=new"))
			done := v.allow(at, Granted{Scopes: []string{"openid"}})
			s.forbid()
			return v.follow(done)
		}, "client access_denied"},
		{"forbidden for who was signed in all the time", func(s *site) *reply {
			v := s.visitor(alice())
			at := v.get(ask("client_id=new"))
			s.forbid()
			return v.resume(at)
		}, "page Bad Request access_denied"},
		{"forbidden for an account that was merely chosen", func(s *site) *reply {
			v := s.visitor(nil)
			at := v.get(ask("client_id=new"))
			v.session = alice()
			s.forbid()
			return v.resume(at)
		}, "page Bad Request access_denied"},
		{"forbidden after coming back without signing in", func(s *site) *reply {
			s.forbid()
			v := s.visitor(alice())
			at := v.get(ask("client_id=new", "prompt=login"))
			v.session = alice()
			v.site.config.Allow = nil
			return v.resume(at)
		}, "login"},
		{"the user says no on the login page", func(s *site) *reply { v := s.visitor(nil); return v.deny(v.get(ask("client_id=new"))) }, "client access_denied"},
		{"the user says no on the consent page", func(s *site) *reply { v := s.visitor(alice()); return v.deny(v.get(ask("client_id=new"))) }, "client access_denied"},
		{"the user agrees", func(s *site) *reply { v := s.visitor(alice()); return v.grant(v.get(ask("client_id=new")), "openid") }, "code"},
		{"a registered client is answered at once", func(s *site) *reply { return s.visitor(nil).get(ask("scope=unknown")) }, "client invalid_scope"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withConsent)
			got := c.do(s).want(c.want)
			if got.kind == "page" && (!strings.Contains(got.body, `href="https://new.example/cb?error=`) || !strings.Contains(got.body, "nobody has verified")) {
				t.Errorf("no way back on the page:\n%s", got.body)
			}
			if kind := s.lastEvent().Kind; (kind == EventErrorPage) != (got.kind == "page") {
				t.Errorf("reported as %s", kind)
			}
		})
	}
}

func (s *site) forbid() {
	s.config.Allow = func(context.Context, *session.Session, *Request) (bool, error) { return false, nil }
	s.restart()
}

// Nobody has clicked yet, and nobody sees what a redirect leads to.
func TestAPrefetchIsNeverRedirected(t *testing.T) {
	for _, change := range []func(*site){func(*site) {}, withErrorURL("/error")} {
		for name, values := range map[string][]string{
			"Sec-Purpose": {"prefetch", "prefetch;prerender", "prerender", "prefetch;anonymous-client-ip", "Prefetch"},
			"Purpose":     {"prefetch", "preview"}, "X-Purpose": {"preview", "instant, preview"}, "X-Moz": {"prefetch"},
		} {
			for _, value := range values {
				for rule, query := range map[string]string{
					"a good request": ask(), "by POST": "", "an unknown client": ask("client_id=unknown"), "a malformed request": "x=%zz&" + ask(),
					"a request that waits": "req=", "a request that is wrong": ask("scope=unknown"),
				} {
					t.Run(name+": "+value+", "+rule, func(t *testing.T) {
						s := newSite(t, change)
						v := s.visitor(nil)
						at := v.get(ask("state=waits"))
						for _, who := range []*session.Session{nil, alice()} {
							v.session = who
							r := formPost("/authorize", ask())
							if query != "" {
								r = httptest.NewRequest("GET", "/authorize?"+strings.Replace(query, "req=", "req="+at.req, 1), nil)
							}
							r.Header.Set(name, value)
							got := v.send(s.handler, r)
							if got.kind != "page" || got.status != 400 || len(got.cookies) != 0 || s.lastEvent().Reason != ReasonPrefetch {
								t.Errorf("%s (%d), cookies %v", got, got.status, got.cookies)
							}
						}
					})
				}
			}
		}
	}
}

// Where the endpoint is, the configuration says: nothing of the request does.
func TestMounting(t *testing.T) {
	for _, c := range []struct{ rule, issuer, endpoint, path, login string }{
		{"at the root", "https://as.example", "", "/authorize", "https://as.example/login?req="},
		{"an issuer with a path", "https://as.example/tenant", "", "/authorize", "https://as.example/login?req="},
		{"an issuer with a slash", "https://as.example/", "", "/authorize", "https://as.example/login?req="},
		{"under a prefix that a proxy strips", "https://as.example", "https://as.example/auth/oauth2/authorize", "/oauth2/authorize", "https://as.example/login?req="},
		{"on another port", "https://as.example:8443", "", "/authorize", "https://as.example:8443/login?req="},
		{"on another host than the issuer", "https://as.example", "https://login.as.example/authorize", "/authorize", "https://login.as.example/login?req="},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, func(s *site) { s.config.Issuer, s.config.Endpoint = c.issuer, c.endpoint })
			endpoint := c.endpoint
			if endpoint == "" {
				endpoint = strings.TrimSuffix(c.issuer, "/") + "/authorize"
			}
			mux := http.NewServeMux()
			mux.Handle(c.path, s.handler)
			v := s.visitor(nil)
			for _, host := range []string{"as.example", "evil.example", "evil.example:1\r\nx", ""} {
				r := httptest.NewRequest("GET", "http://x"+c.path+"?"+ask(), nil)
				r.Host = host
				for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix", "X-Original-Url", "Forwarded", "X-Rewrite-Url"} {
					r.Header.Set(name, "evil.example")
				}
				at := v.send(mux, r)
				if !strings.HasPrefix(at.location, c.login) {
					t.Errorf("Host %q: to %s", host, at.location)
				}
				post := formPost("http://x"+c.path, ask())
				post.Host = host
				if again := v.send(mux, post); !strings.HasPrefix(again.location, endpoint+"?req=") {
					t.Errorf("Host %q: a POST is sent to %s", host, again.location)
				}
			}
		})
	}
}

// An adapter may make a request by hand, without a URL or a body.
func TestARequestWithoutAURL(t *testing.T) {
	s := newSite(t, withConsent)
	for name, do := range map[string]func(http.ResponseWriter, *http.Request){
		"ServeHTTP": s.handler.ServeHTTP, "Deny": s.handler.Deny, "Introspection": s.handler.PendingHandler().ServeHTTP,
		"Resume":  func(w http.ResponseWriter, r *http.Request) { s.handler.Resume(w, r) },
		"Pending": func(_ http.ResponseWriter, r *http.Request) { s.handler.Pending(r) },
		"Grant": func(w http.ResponseWriter, r *http.Request) {
			s.handler.Grant(w, r, Granted{Scopes: []string{"openid"}})
		},
		"ShowError": func(w http.ResponseWriter, r *http.Request) { s.handler.ShowError(w, r, oautherr.InvalidRequest) },
	} {
		for _, method := range []string{"GET", "POST"} {
			t.Run(name+" "+method, func(t *testing.T) { do(httptest.NewRecorder(), &http.Request{Method: method}) })
		}
	}
}
