package authorize

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// Each row is a way to come back from the login page.
func TestComingBack(t *testing.T) {
	for _, c := range []struct {
		rule string
		back func(v *visitor, at *reply) *reply
		want string
	}{
		{"as it should be", (*visitor).resume, "code"},
		{"with the user's no", (*visitor).deny, "client access_denied"},
		{"deny=0 is no no", func(v *visitor, at *reply) *reply { return v.get("deny=0&req=" + at.req) }, "code"},
		{"deny=true is no no", func(v *visitor, at *reply) *reply { return v.get("deny=true&req=" + at.req) }, "code"},
		{"a second before it expires", func(v *visitor, at *reply) *reply {
			v.site.now = v.site.now.Add(30*time.Minute - time.Second)
			return v.resume(at)
		}, "code"},
		{"at the moment it expires", func(v *visitor, at *reply) *reply {
			v.site.now = v.site.now.Add(30 * time.Minute)
			return v.resume(at)
		}, "page Bad Request invalid_request"},
		{"a no at the moment it expires", func(v *visitor, at *reply) *reply {
			v.site.now = v.site.now.Add(30 * time.Minute)
			return v.deny(at)
		}, "page Bad Request invalid_request"},
		{"empty", func(v *visitor, at *reply) *reply { return v.get("req=&deny=1") }, "page Bad Request invalid_request"},
		{"no JWT", func(v *visitor, at *reply) *reply { return v.get("req=x") }, "page Bad Request invalid_request"},
		{"cut off", func(v *visitor, at *reply) *reply { return v.get("req=" + at.req[:len(at.req)-5]) }, "page Bad Request invalid_request"},
		{"with one character changed", func(v *visitor, at *reply) *reply { return v.get("req=" + flip(at.req, len(at.req)/2)) }, "page Bad Request invalid_request"},
		{"unsigned", func(v *visitor, at *reply) *reply {
			return v.get("req=" + base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"usher-request+jwt","kid":"one"}`)) + "." + strings.Split(at.req, ".")[1] + ".")
		}, "page Bad Request invalid_request"},
		{"in upper case", func(v *visitor, at *reply) *reply { return v.get("req=" + strings.ToUpper(at.req)) }, "page Bad Request invalid_request"},
		{"twice", func(v *visitor, at *reply) *reply { return v.get("req=" + at.req + "&req=" + at.req) }, "page Bad Request invalid_request"},
		{"by POST, where its cookie is not sent", func(v *visitor, at *reply) *reply { return v.post("req=" + at.req) }, "page Bad Request invalid_request"},
		{"by POST with req in the query", func(v *visitor, at *reply) *reply {
			return v.send(v.site.handler, formPost("/authorize?req="+at.req, ""))
		}, "page Bad Request invalid_request"},
		{"by HEAD", func(v *visitor, at *reply) *reply {
			return v.send(v.site.handler, httptest.NewRequest("HEAD", "/authorize?req="+at.req, nil))
		}, "page Method Not Allowed invalid_request"},
		{"with other parameters beside it", func(v *visitor, at *reply) *reply {
			return v.get("req=" + at.req + "&redirect_uri=https%3A%2F%2Fevil.example%2F&client_id=evil&scope=openid+admin&response_type=token&state=evil&prompt=none&response_mode=form_post")
		}, "code"},
		{"with a parameter twice beside it", func(v *visitor, at *reply) *reply { return v.get("req=" + at.req + "&state=a&state=b") }, "code"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t)
			v := s.visitor(nil)
			at := v.get(ask()).want("login")
			v.session = s.signIn("alice")
			got := c.back(v, at).want(c.want)
			if got.kind == "client" && (got.target != "https://app.example/cb" || got.params["state"] != "st-1" || got.status != 302) {
				t.Errorf("status %d to %s with the state %q", got.status, got.target, got.params["state"])
			}
		})
	}
}

func flip(text string, i int) string {
	c := byte('A')
	if text[i] == c {
		c = 'B'
	}
	return text[:i] + string(c) + text[i+1:]
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
		{"the policy says no", func(s *site, _ *Client) { s.forbid() }, "client access_denied"},
	} {
		t.Run(c.rule, func(t *testing.T) {
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
			v.signIn(at, "alice").want(c.want)
		})
	}
}

// A page can send what was given to another.
func TestTheLoginsRequestAtAnotherPage(t *testing.T) {
	s := newSite(t, withConsent, withTerms)
	v := s.visitor(nil)
	at := v.get(ask()).want("login", "nobody")
	v.session = s.signIn("alice")
	v.grant(at, "openid").want("consent", "Grant with the login page's request")
	v.complete(at, "terms").want("consent", "Complete with the login page's request")
}

// pending is what a page of the host reads, to which the browser was sent.
func (v *visitor) pending(at *reply) (*Pending, error) {
	r := httptest.NewRequest("GET", "/page?req="+at.req, nil)
	for name, value := range v.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	return v.site.handler.Pending(r.WithContext(context.WithValue(r.Context(), signedIn{}, v.session)))
}

// A host's page is told whom the endpoint has sent to it.
func TestAPageIsToldWhoWasSentToIt(t *testing.T) {
	for _, c := range []struct{ page, ask, subject string }{{"consent", ask(), "alice"}, {"login", ask("prompt=login"), ""}} {
		t.Run(c.page, func(t *testing.T) {
			s := newSite(t, withConsent)
			v := s.visitor(alice())
			at := v.get(c.ask).want(c.page)
			p, err := v.pending(at)
			if err != nil || p.Subject != c.subject || p.Anew {
				t.Errorf("%v, %v, want %q", p, err, c.subject)
			}
			p, err = s.visitor(alice()).pending(at)
			if err != nil || p.Subject != "" || !p.Anew {
				t.Errorf("in another browser: %v, %v", p, err)
			}
		})
	}
}

// The page of an interaction is left by its own way only: coming back is not enough.
func TestAnInteractionIsNotPassedByComingBack(t *testing.T) {
	v := newSite(t, withConsent, withStep(Interaction{Name: "terms", Page: "/terms?v=2#top", Needed: always})).visitor(alice())
	at := v.get(ask()).want("consent")
	v.resume(at).want("consent", "came back")
	early := v.complete(at, "terms").want("consent", "another one was completed")
	v.grant(early, "openid").want("terms", "which does not count")
	terms := v.grant(at, "openid").want("terms")
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
		t.Run(c.rule, func(t *testing.T) {
			v := newSite(t, withTerms).visitor(alice())
			c.do(v, v.get(ask()).want("terms")).want(c.want)
		})
	}
}

func TestTheSessionStoreFailsAtTheEndOfAnInteraction(t *testing.T) {
	s := newSite(t, withTerms)
	v := s.visitor(alice())
	at := v.get(ask()).want("terms")
	s.config.Sessions = SessionFunc(func(*http.Request) (*session.Session, error) { return alice(), errors.New("down") })
	s.restart()
	v.complete(at, "terms").want("page Service Unavailable server_error", "down")
	s.config.Timeout = impatient
	s.config.Sessions = SessionFunc(func(r *http.Request) (*session.Session, error) { <-r.Context().Done(); return alice(), nil })
	s.restart()
	v.complete(at, "terms").want("page Service Unavailable temporarily_unavailable", "too late")
}

func TestResumeAndDenySendTheBrowserBack(t *testing.T) {
	resume := func(h *Handler, w http.ResponseWriter, r *http.Request) { h.Resume(w, r) }
	for _, c := range []struct {
		rule string
		do   func(*Handler, http.ResponseWriter, *http.Request)
		r    *http.Request
		want string
	}{
		{"Resume, req in the query of a POST", resume, formPost("/login?req=e.y.J", "username=alice"), "?req=e.y.J"},
		{"Resume, req in the query of a GET", resume, httptest.NewRequest("GET", "/login?req=e.y.J", nil), "?req=e.y.J"},
		{"Resume, req in the form", resume, parsed(formPost("/login", "username=alice&req=e.y.J")), "?req=e.y.J"},
		{"Resume, the form was not parsed", resume, formPost("/login", "req=e.y.J"), "?req=e.y.J"},
		{"Resume, something hostile", resume, formPost("/login?req=x%26deny%3D1%0d%0a", ""), "?req=x%26deny%3D1%0D%0A"},
		{"Deny", (*Handler).Deny, formPost("/login?req=e.y.J", ""), "?req=e.y.J&deny=1"},
		{"Deny without req", (*Handler).Deny, formPost("/login", ""), ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t)
			got := s.visitor(s.signIn("alice")).page(func(w http.ResponseWriter, r *http.Request) { c.do(s.handler, w, r) }, c.r)
			if c.want == "" {
				got.want("page Bad Request invalid_request")
			} else if got.location != testEndpoint+c.want {
				t.Errorf("sent to %q", got.location)
			}
		})
	}
}

// resumeOf is a login page that does nothing but call Resume.
func (s *site) resumeOf(w http.ResponseWriter, r *http.Request) { s.handler.Resume(w, r) }

// Somebody may sign in whom no application has sent.
func TestResumeWithoutARequest(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		rule string
		r    *http.Request
		want bool
	}{
		{"req in the query", formPost("/login?req=e.y.J", ""), true},
		{"no req", formPost("/login", ""), false},
		{"an empty req", formPost("/login?req=", ""), false},
		{"a form that cannot be read", formPost("/login", "req=%zz"), false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			w := httptest.NewRecorder()
			if got := s.handler.Resume(w, c.r); got != c.want || got != (w.Header().Get("Location") != "") || !got && (len(w.Header()) != 0 || w.Body.Len() != 0) {
				t.Errorf("%v, headers %v", got, w.Header())
			}
		})
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
		t.Run(c.what, func(t *testing.T) {
			if diff := cmp.Diff(c.want, c.got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// A consent page has to show where the answer goes, also where the request left
// that to the registration.
func TestPendingKnowsTheDefaultRedirectURI(t *testing.T) {
	s := newSite(t)
	v := s.visitor(nil)
	at := v.get(ask("client_id=only", "scope=api:read", "-redirect_uri")).want("login")
	p, err := s.handler.Pending(httptest.NewRequest("GET", "/login?req="+at.req, nil))
	if err != nil || p.Request.RedirectURI != "https://only.example/cb" || p.Request.RedirectHost() != "only.example" {
		t.Errorf("%+v, %v", p, err)
	}
	if got := v.signIn(at, "alice").want("code"); got.target != "https://only.example/cb" {
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
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t)
			at := s.visitor(nil).get(ask())
			r := c.do(s, at.req)
			p, err := s.handler.Pending(r)
			if p != nil || !errors.Is(err, c.want) {
				t.Errorf("%v, %v, want %s", p, err, c.want)
			}
			// And what the host shows for it.
			s.visitor(nil).page(func(w http.ResponseWriter, r *http.Request) { s.handler.ShowError(w, r, err) }, r)
			if e := s.lastEvent(); e.Kind != EventErrorPage || e.Code != c.want {
				t.Errorf("reported as %s %s", e.Kind, e.Code)
			}
		})
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
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, func(s *site) { s.config.Login = c.login })
			v := s.visitor(nil)
			r := httptest.NewRequest("GET", "/authorize?"+ask(), nil)
			w := httptest.NewRecorder()
			s.handler.ServeHTTP(w, r)
			location := w.Header().Get("Location")
			if c.to != "" && !strings.HasPrefix(location, c.to) {
				t.Errorf("to %s", location)
			}
			if c.to == "" {
				v.get(ask()).want("client server_error")
				if len(v.cookies) != 0 {
					t.Error("cookies were left behind")
				}
				if strings.Contains(s.log.String(), "eyJ") {
					t.Errorf("the sealed request is in the log: %s", s.log.String())
				}
			}
		})
	}
}

func TestTheLoginRedirectorHangs(t *testing.T) {
	for _, late := range []error{nil, context.DeadlineExceeded} {
		t.Run(fmt.Sprint("late: ", late), func(t *testing.T) {
			s := newSite(t, func(s *site) {
				s.config.Timeout = impatient
				s.config.Login = loginFunc(func(ctx context.Context, _ *Pending) (string, error) { <-ctx.Done(); return "/login", late })
			})
			s.visitor(nil).get(ask()).want("client temporarily_unavailable")
		})
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
	v.signIn(at, "carol").want("code", "carol has signed up")

	v = s.visitor(alice())
	at = register("alice is signed in", v.get(ask("prompt=create")))
	if e := s.lastEvent(); e.Reason != ReasonPromptCreate || e.Interaction != LoginInteraction {
		t.Errorf("reported as %s for %s", e.Interaction, e.Reason)
	}
	register("alice came back", v.resume(at))
	v.get(ask("prompt=create+none")).want("client invalid_request")
	v.get(ask()).want("code", "not asked for")
	if prompts := s.handler.Metadata()["prompt_values_supported"]; !slices.Contains(prompts.([]string), "create") {
		t.Errorf("the metadata has the prompts %v", prompts)
	}
	newSite(t).visitor(nil).get(ask("prompt=create")).want("client invalid_request", "without such a page")
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
			at = v.resume(at).want("terms")
			v.session = nil
			return v.resume(at)
		}, false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withTerms)
			v := s.visitor(nil)
			at := v.get(c.ask).want("login")
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
				s := newSite(t, withConsent, withTerms)
				v := s.visitor(alice())
				consent := v.get(ask("client_id=native")).want("consent")
				terms := v.grant(consent, "openid").want("terms")
				s.events, v.session = nil, who
				at := c.do(v, consent, terms).want("login", "the session ended")
				if len(s.events) != 1 || s.events[0].Kind != EventInteraction {
					t.Errorf("reported: %+v", s.events)
				}
				v.signIn(at, "alice").want("consent", "and is a new one")
			})
		}
	}
}

// What users do twice, because they see no answer yet or go back.
func TestWhatUsersDoTwice(t *testing.T) {
	for _, c := range []struct {
		rule, ask string
		do        func(v *visitor, login, consent *reply) *reply
		want      string
	}{
		{"Allow, one click after the other", ask(), func(v *visitor, _, consent *reply) *reply {
			v.grant(consent, "openid").want("code")
			return v.grant(consent, "openid")
		}, "code"},
		{"Allow, both clicks before an answer", ask(), func(v *visitor, _, consent *reply) *reply {
			first, second := v.allow(consent, Granted{Scopes: []string{"openid"}}), v.allow(consent, Granted{Scopes: []string{"openid"}})
			v.follow(first).want("code")
			return v.follow(second)
		}, "code"},
		{"Allow, for a client whose consent is not remembered", ask("client_id=native"), func(v *visitor, _, consent *reply) *reply {
			first, second := v.allow(consent, Granted{Scopes: []string{"openid"}}), v.allow(consent, Granted{Scopes: []string{"openid"}})
			v.follow(first).want("code")
			return v.follow(second)
		}, "consent"},
		{"back to the login page, and the password once more", ask(), func(v *visitor, login, consent *reply) *reply {
			v.grant(consent, "openid").want("code")
			v.site.now = v.site.now.Add(time.Minute)
			return v.signIn(login, "alice")
		}, "code"},
		{"back to the login page, and another user", ask(), func(v *visitor, login, consent *reply) *reply {
			v.grant(consent, "openid").want("code")
			return v.signIn(login, "bob")
		}, "consent"},
		{"the login form", ask(), func(v *visitor, login, _ *reply) *reply {
			v.resume(login)
			return v.resume(login)
		}, "consent"},
		{"Allow, and then No", ask(), func(v *visitor, _, consent *reply) *reply {
			v.grant(consent, "openid").want("code")
			return v.deny(consent)
		}, "page Bad Request access_denied"},
		{"No, and then Allow", ask(), func(v *visitor, _, consent *reply) *reply {
			v.deny(consent).want("client access_denied")
			return v.grant(consent, "openid")
		}, "consent"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			v := newSite(t, withConsent).visitor(nil)
			login := v.get(c.ask).want("login")
			consent := v.signIn(login, "alice").want("consent")
			c.do(v, login, consent).want(c.want)
		})
	}
}

// Browsers leave a Lax cookie off a POST from another site, so nobody seems to be
// signed in; the same question by GET brings it.
func TestAPOSTWithoutASessionIsAskedAgainByGET(t *testing.T) {
	s := newSite(t)
	v := s.visitor(nil)
	sent := v.post(ask("state=a%26b%3D+%2B%C3%A9", "+unknown=x", "+resource=https://api.example/a", "+resource=https://api.example/b", "x_tenant=7")).want("endpoint")
	if sent.status != 303 || len(sent.cookies) != 0 || strings.Contains(sent.location, "unknown") {
		t.Errorf("%d %s %v", sent.status, sent.location, sent.cookies)
	}
	if claims := sent.claims(); claims["page"] != nil || claims["browser"] != nil {
		t.Errorf("between POST and GET there is a page or a browser: %v", claims)
	}
	if e := s.lastEvent(); e.Kind != EventAskedAgain || e.ClientID != "web" {
		t.Errorf("reported as %+v", e)
	}
	v.session = alice()
	v.follow(sent).want("code", "and now with the session")
	if got := v.follow(sent); got.params["state"] != "a&b= +é" {
		t.Errorf("the state became %q", got.params["state"])
	}
	v.session = nil
	v.follow(sent).want("login", "and now really without")
	for _, c := range []struct {
		rule      string
		who       *session.Session
		ask, want string
	}{
		{"someone is signed in", alice(), ask(), "code"},
		{"someone is half signed in", &session.Session{Subject: "alice", SecondFactorPending: true}, ask(), "endpoint"},
		{"the request is wrong", nil, ask("scope=unknown"), "client invalid_scope"},
		{"prompt=none", nil, ask("prompt=none"), "endpoint"},
		{"form_post", nil, ask("response_mode=form_post"), "endpoint"},
		{"someone without a subject", &session.Session{ID: "1", AuthTime: testStart}, ask(), "endpoint"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			newSite(t).visitor(c.who).post(c.ask).want(c.want)
		})
	}
}

// Between POST and GET nothing has begun: the GET is the first visit.
func TestTheGETOfAPOSTIsTheFirstVisit(t *testing.T) {
	for _, c := range []struct {
		rule string
		ask  []string
		who  *session.Session // who is there at the GET
		open func(v *visitor, sent *reply) *reply
		want string
	}{
		{"somebody", nil, alice(), (*visitor).follow, "code"},
		{"nobody", nil, nil, (*visitor).follow, "login"},
		{"prompt=none and nobody", []string{"prompt=none"}, nil, (*visitor).follow, "client login_required"},
		{"opened again and again, it is no browser without cookies", nil, nil, func(v *visitor, sent *reply) *reply {
			for range 5 {
				v.lose()
				v.follow(sent).want("login")
			}
			return v.follow(sent)
		}, "login"},
		{"and what it leads to is, after the second time", nil, nil, func(v *visitor, sent *reply) *reply {
			at := v.follow(sent)
			v.lose()
			at = v.resume(at).want("login")
			v.lose()
			return v.resume(at)
		}, "page Bad Request invalid_request"},
		{"who is found is found: the same sign-in is no new one", []string{"prompt=login"}, alice(), func(v *visitor, sent *reply) *reply {
			at := v.follow(sent).want("login")
			v.site.now = v.site.now.Add(time.Minute)
			return v.resume(v.resume(at).want("login", "without signing in"))
		}, "client login_required"},
		{"who signs in between POST and GET is found", []string{"prompt=login"}, &session.Session{ID: "2", Subject: "alice", AuthTime: testStart}, func(v *visitor, sent *reply) *reply {
			return v.resume(v.follow(sent).want("login"))
		}, "login"},
		{"prompt=create was not answered", []string{"prompt=create"}, alice(), (*visitor).follow, "register"},
		{"the no of nobody", nil, alice(), (*visitor).deny, "page Bad Request access_denied"},
		{"what is completed on it counts nothing", []string{"client_id=new"}, alice(), func(v *visitor, sent *reply) *reply {
			return v.grant(sent, "openid")
		}, "consent"},
		{"too late", nil, alice(), func(v *visitor, sent *reply) *reply {
			v.site.now = v.site.now.Add(30 * time.Minute)
			return v.follow(sent)
		}, "page Bad Request invalid_request"},
		{"by POST once more", nil, alice(), func(v *visitor, sent *reply) *reply { return v.post("req=" + sent.req) }, "page Bad Request invalid_request"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withConsent, func(s *site) { s.config.Register = LoginURL("/register") })
			s.remember("web", "openid")
			v := s.visitor(nil)
			sent := v.post(ask(c.ask...)).want("endpoint")
			claims := sent.claims()
			for _, none := range []string{"page", "reason", "browser", "for", "found", "done", "anew"} {
				if claims[none] != nil {
					t.Errorf("%s is %v", none, claims[none])
				}
			}
			if len(sent.cookies) != 0 {
				t.Errorf("cookies: %v", sent.cookies)
			}
			v.session = c.who
			c.open(v, sent).want(c.want)
		})
	}
}

// The hint is personal and long, which is what POST was chosen for: it is verified once
// and only what it has proven travels.
func TestTheHintOfAPOSTDoesNotGoIntoTheAddress(t *testing.T) {
	for _, c := range []struct {
		rule, hint string
		ask        []string
		who, want  string
	}{
		{"the user that it names", "hint-of-alice", nil, "alice", "code"},
		{"another user", "hint-of-alice", nil, "bob", "login"},
		{"another user, prompt=none", "hint-of-alice", []string{"prompt=none"}, "bob", "client login_required"},
		{"the user that it names, prompt=none", "hint-of-alice", []string{"prompt=none"}, "alice", "code"},
		{"a subject that needs escaping", `hint-of-"a\&<é>`, nil, `"a\&<é>`, "code"},
		{"it proves nobody", "forged", nil, "alice", "login"},
		{"it proves nobody, prompt=none", "forged", []string{"prompt=none"}, "alice", "client login_required"},
		{"as long as a body may be", "hint-of-alice" + strings.Repeat(" ", 50_000), nil, "alice", "code"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			verified := 0
			s := newSite(t, func(s *site) {
				verify := s.config.IDTokenHint
				s.config.IDTokenHint = func(ctx context.Context, token string) (string, error) {
					verified++
					return verify(ctx, strings.TrimRight(token, " "))
				}
				s.config.Require = []string{"id_token_hint"}
				s.config.CheckRequest = func(_ context.Context, r *Request) error {
					if !r.Sent("id_token_hint") {
						t.Error("the hint is no longer sent")
					}
					return nil
				}
			})
			v := s.visitor(nil)
			sent := v.post(ask(append(c.ask, "id_token_hint="+url.QueryEscape(c.hint))...)).want("endpoint")
			if verified != 1 {
				t.Errorf("by POST it was verified %d times", verified)
			}
			params := sent.claims()["params"].(map[string]any)
			if params["id_token_hint"] != nil || strings.Contains(fmt.Sprint(params), strings.TrimSpace(c.hint)) || strings.Contains(sent.location, "hint-of") {
				t.Errorf("it is in the address: %v", params)
			}
			v.session = s.signIn(c.who)
			v.follow(sent).want(c.want)
			if v.follow(sent); verified != 1 {
				t.Errorf("in the end it was verified %d times", verified)
			}
		})
	}
}
