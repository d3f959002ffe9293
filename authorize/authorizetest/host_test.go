package authorizetest

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/session"
)

func TestASoundHost(t *testing.T) { TestHost(t, hostOf()) }

// The desk is a client and a part of the host: what its page does with the code is not the
// browser's to see.
func TestAHostThatIsItsOwnClient(t *testing.T) {
	host := hostOf()
	host.Client.ID, host.Client.Secret, host.Client.RedirectURI = "desk", "", "https://as.example/desk"
	host.Agree, host.Deny, host.Claims = nil, nil, nil
	TestHost(t, host)
}

// What a host does not have is no subtest, and the log says which field would add it.
func TestRulesForALittleHost(t *testing.T) {
	whole := hostOf()
	all, leftOut := hostRules(&whole)
	if leftOut != "" {
		t.Errorf("for a whole host these rules are left out:%s", leftOut)
	}
	little := Host{Client: wiki}
	_, least := hostRules(&little)
	if diff := cmp.Diff(`
	Host.Client.TokenEndpoint for: a code is redeemed once; a wrong verifier is invalid_grant and does not use the code up; another redirect_uri is invalid_grant and does not use the code up
	Host.Client.TokenEndpoint and Host.Other for: the code of another client is invalid_grant and not used up
	Host.WrongPassword for: a wrong password signs nobody in and then the right one ends with a code
	Host.Cancel for: a no on the login page is access_denied
	Host.Agree for: prompt=consent asks the user to agree
	Host.Deny for: a no on the consent page is access_denied
	Host.Claims for: the consent page shows what the parameter claims asks for`, least); diff != "" {
		t.Errorf("the log of the least host (-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		rule  string
		give  func(h *Host)
		rules int    // more than those for the least
		named string // fields that the log names no more
	}{
		{"the least", func(*Host) {}, 0, ""},
		{"a token endpoint", func(h *Host) { h.Client.TokenEndpoint = "x" }, 3, "Client.TokenEndpoint"},
		{"two clients and a token endpoint", func(h *Host) { h.Client.TokenEndpoint, h.Other.ID = "x", "y" }, 4, "Client.TokenEndpoint and Host.Other"},
		{"two clients", func(h *Host) { h.Other.ID = "y" }, 0, ""},
		{"a wrong password", func(h *Host) { h.WrongPassword = whole.WrongPassword }, 1, "WrongPassword"},
		{"a consent page", func(h *Host) { h.Agree = whole.Agree }, 1, "Agree"},
		{"a button on the consent page", func(h *Host) { h.Deny = whole.Deny }, 1, "Deny"},
		{"a button on the login page", func(h *Host) { h.Cancel = whole.Cancel }, 1, "Cancel"},
		{"claims", func(h *Host) { h.Claims = whole.Claims }, 1, "Claims"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			h := little
			tt.give(&h)
			rules, leftOut := hostRules(&h)
			if want := len(all) - 9 + tt.rules; len(rules) != want {
				t.Errorf("%d rules, want %d", len(rules), want)
			}
			if tt.named != "" && strings.Contains(leftOut, "Host."+tt.named+" for") {
				t.Errorf("the log still wants %s:%s", tt.named, leftOut)
			}
		})
	}
}

func TestWhatAHostHasToHave(t *testing.T) {
	for want, take := range map[string]func(h *Host){
		"":                   func(*Host) {},
		"Client.Issuer":      func(h *Host) { h.Client.Issuer = "" },
		"Client.ID":          func(h *Host) { h.Client.ID = "" },
		"Client.RedirectURI": func(h *Host) { h.Client.RedirectURI = "" },
		"Open":               func(h *Host) { h.Open = nil },
		"SignIn":             func(h *Host) { h.SignIn = nil },
	} {
		h := hostOf()
		if take(&h); h.missing() != want {
			t.Errorf("%q is missing, want %q", h.missing(), want)
		}
	}
}

// with makes a fault that puts another handler in the place of one.
func with(pattern string, replace func(p *program, sound http.HandlerFunc) http.HandlerFunc) func(p *program) {
	return func(p *program) { p.pages[pattern] = replace(p, p.pages[pattern]) }
}

// mounted makes a fault that mounts the endpoint at another pattern.
func mounted(pattern string) func(p *program) {
	return func(p *program) {
		p.pages[pattern] = p.pages["/authorize"]
		delete(p.pages, "/authorize")
	}
}

// changed makes a fault that changes what a handler answers.
func changed(pattern string, change func(r *http.Request, w *httptest.ResponseRecorder)) func(p *program) {
	return with(pattern, func(_ *program, sound http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			sound(rec, r)
			change(r, rec)
			copyTo(w, rec)
		}
	})
}

// unless makes a fault that answers 403 unless the request is fine.
func unless(pattern string, fine func(p *program, r *http.Request) bool) func(p *program) {
	return with(pattern, func(p *program, sound http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if !fine(p, r) {
				http.Error(w, "not like this", http.StatusForbidden)
				return
			}
			sound(w, r)
		}
	})
}

// home goes where a sign-in leads that no client has asked for.
func home(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusSeeOther) }

// who makes a fault of the SessionStore.
func who(change func(r *http.Request, s *session.Session) *session.Session) func(p *program) {
	return func(p *program) {
		p.config.Sessions = authorize.SessionFunc(func(r *http.Request) (*session.Session, error) {
			s, err := p.sessions.Session(r)
			return change(r, s), err
		})
	}
}

// clientsBy makes a fault of the ClientStore, for a client that nobody knows.
func clientsBy(unknown func(id string) (*authorize.Client, error)) func(p *program) {
	return func(p *program) {
		sound := p.config.Clients
		p.config.Clients = clientFunc(func(ctx context.Context, id string) (*authorize.Client, error) {
			if c, err := sound.Client(ctx, id); c != nil || err != nil {
				return c, err
			}
			return unknown(id)
		})
	}
}

type clientFunc func(ctx context.Context, id string) (*authorize.Client, error)

func (f clientFunc) Client(ctx context.Context, id string) (*authorize.Client, error) {
	return f(ctx, id)
}

// redeeming makes a fault of the token endpoint, in what it presents.
func redeeming(change func(r *authorize.Redemption)) func(p *program) {
	return with("POST /token", func(p *program, _ http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			redemption, err := p.redemption(r)
			change(&redemption)
			p.redeem(w, r, redemption, err)
		}
	})
}

// answersAsBefore is a token endpoint that answers each code as it did the first time.
func answersAsBefore(p *program) {
	answers := map[string]*httptest.ResponseRecorder{}
	with("POST /token", func(_ *program, sound http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			code := r.PostFormValue("code")
			if answers[code] == nil {
				answers[code] = httptest.NewRecorder()
				sound(answers[code], r)
			}
			copyTo(w, answers[code])
		}
	})(p)
}

func copyTo(w http.ResponseWriter, rec *httptest.ResponseRecorder) {
	for name, values := range rec.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(rec.Code)
	w.Write(rec.Body.Bytes())
}

// noConsent asks nobody to agree.
func noConsent(p *program) { p.config.Consent = nil }

// signsInTheRequest keeps who has signed in with the waiting request and not with the browser.
func signsInTheRequest(p *program) {
	noConsent(p)
	sessions := map[string]*session.Session{}
	p.config.Sessions = authorize.SessionFunc(func(r *http.Request) (*session.Session, error) {
		return sessions[r.URL.Query().Get("req")], nil
	})
	p.pages["POST /login"] = func(w http.ResponseWriter, r *http.Request) {
		sessions[r.PostFormValue("req")] = &session.Session{ID: rand.Text(), Subject: "alice", AuthTime: time.Now()}
		p.Resume(w, r)
	}
}

// knowsOneRequest is a login page that keeps the request in a cookie.
func knowsOneRequest(p *program) {
	changed("GET /login", func(r *http.Request, w *httptest.ResponseRecorder) {
		http.SetCookie(w, &http.Cookie{Name: "req", Value: r.FormValue("req")})
	})(p)
	with("POST /login", func(_ *program, sound http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			cookie, err := r.Cookie("req")
			if err != nil {
				http.Error(w, "no request", http.StatusBadRequest)
				return
			}
			r.URL.RawQuery = url.Values{"req": {cookie.Value}}.Encode()
			sound(w, r)
		}
	})(p)
}

// takesAFormOnce is a login page whose form is good for one click.
func takesAFormOnce(p *program) {
	good := map[string]bool{}
	changed("GET /login", func(_ *http.Request, w *httptest.ResponseRecorder) {
		once := rand.Text()
		good[once] = true
		page := strings.Replace(w.Body.String(), "<button>", `<input type="hidden" name="once" value="`+once+`"><button>`, 1)
		w.Body.Reset()
		w.Body.WriteString(page)
	})(p)
	unless("POST /login", func(_ *program, r *http.Request) bool {
		once := r.PostFormValue("once")
		defer delete(good, once)
		return good[once]
	})(p)
}

// afterWrongPassword makes a fault of the login page.
func afterWrongPassword(answer func(p *program, w http.ResponseWriter, r *http.Request)) func(p *program) {
	return with("POST /login", func(p *program, sound http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.PostFormValue("password") == "guessed" {
				answer(p, w, r)
				return
			}
			sound(w, r)
		}
	})
}

// sendsErrorsOn tells the address of the request what the endpoint would show to the user.
func sendsErrorsOn(p *program) {
	changed("/authorize", func(r *http.Request, w *httptest.ResponseRecorder) {
		if to := r.FormValue("redirect_uri"); w.Code >= 400 && to != "" {
			w.Code = http.StatusFound
			w.Header().Set("Location", to+"?error=invalid_request")
		}
	})(p)
}

// asksStrangersFirst keeps the endpoint behind a login page of its own.
func asksStrangersFirst(p *program) {
	with("/authorize", func(p *program, sound http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if s, _ := p.sessions.Session(r); !s.SignedIn() && !r.URL.Query().Has("req") {
				http.Redirect(w, r, "/login", http.StatusSeeOther)
				return
			}
			sound(w, r)
		}
	})(p)
}

// provesNothing takes a code without what its request has proven.
func provesNothing(p *program) {
	sound := p.config.Codes
	p.config.Codes = &codes{CodeStore: sound, save: func(ctx context.Context, hash string, code *authorize.Code) error {
		code = code.Clone()
		code.Challenge = ""
		return sound.SaveCode(ctx, hash, code)
	}}
	redeeming(func(r *authorize.Redemption) { r.Verifier = "" })(p)
}

func TestTheHostRulesFindEveryFault(t *testing.T) {
	const (
		signsIn     = "a user signs in and the client gets a code"
		mount       = "the endpoint answers GET and POST at its very address"
		unknown     = "an unknown client is an error page"
		redirectURI = "a redirect URI that is not registered is an error page"
		stranger    = "prompt=none without a session is login_required"
		silent      = "prompt=none with a session needs no page"
		promptLogin = "prompt=login asks a user who is signed in"
		other       = "a request in another browser needs a sign-in there"
		verifier    = "a wrong verifier is invalid_grant and does not use the code up"
		otherURI    = "another redirect_uri is invalid_grant and does not use the code up"
		otherClient = "the code of another client is invalid_grant and not used up"
		once        = "a code is redeemed once"
		double      = "a double click on the login form ends with a code"
		back        = "the login form can be sent again after the response"
		forged      = "the login form of another site signs nobody in"
		consent     = "prompt=consent asks the user to agree"
		cancel      = "a no on the login page is access_denied"
		deny        = "a no on the consent page is access_denied"
		wrong       = "a wrong password signs nobody in and then the right one ends with a code"
		claims      = "the consent page shows what the parameter claims asks for"
	)
	began := time.Now()
	open := func(faults ...func(p *program)) func() *visitor {
		host := hostOf(faults...)
		return func() *visitor { return host.visit(nil) }
	}
	page := func(pattern string, h http.HandlerFunc) func() *visitor {
		return open(func(p *program) { p.pages[pattern] = h })
	}
	host := hostOf()
	rules, _ := hostRules(&host)
	testBroken(t, rules, open(), []broken[*visitor]{
		{"the login page forgets Resume", page("POST /login", home), signsIn},
		{"the login page drops req", open(changed("GET /login", func(_ *http.Request, w *httptest.ResponseRecorder) {
			page := strings.Replace(w.Body.String(), `method="post"`, `method="post" action="/login"`, 1)
			w.Body.Reset()
			w.Body.WriteString(strings.Replace(page, `name="req"`, "", 1))
		})), signsIn},
		{"a form-action keeps the form from the client", open(noConsent, changed("GET /login", func(_ *http.Request, w *httptest.ResponseRecorder) {
			w.Header().Set("Content-Security-Policy", "form-action 'self'")
		})), signsIn},
		{"the issuer is another", open(func(p *program) {
			p.config.Issuer, p.config.Endpoint = "https://as.example/x", "https://as.example/authorize"
		}), signsIn},
		{"the login page is text", open(changed("GET /login", func(_ *http.Request, w *httptest.ResponseRecorder) {
			w.Header().Set("Content-Type", "text/plain")
		})), signsIn},
		{"the login page takes no form", open(func(p *program) { delete(p.pages, "POST /login") }), signsIn},
		{"the endpoint has a prefix pattern", open(mounted("/authorize/")), mount},
		{"the endpoint takes no POST", open(mounted("GET /authorize")), mount},
		{"every client is known", open(clientsBy(func(id string) (*authorize.Client, error) {
			return &authorize.Client{ID: id, RedirectURIs: []string{wiki.RedirectURI}, Scopes: wiki.Scopes}, nil
		})), unknown},
		{"an unknown client is an error of the store", open(clientsBy(func(string) (*authorize.Client, error) {
			return nil, errors.New("no rows")
		})), unknown},
		{"errors are sent to the address of the request", open(sendsErrorsOn), unknown},
		{"errors are sent to any address", open(sendsErrorsOn), redirectURI},
		{"nobody is a guest", open(noConsent, who(func(_ *http.Request, s *session.Session) *session.Session {
			if s.SignedIn() {
				return s
			}
			return &session.Session{ID: "guest", Subject: "guest", AuthTime: began}
		})), stranger},
		{"the endpoint is behind a login page", open(asksStrangersFirst), stranger},
		{"the session is kept with the request", open(signsInTheRequest), silent},
		{"the user is asked each time", open(func(p *program) { p.config.Consent.Store = nil }, func(p *program) {
			p.config.Allow = func(_ context.Context, _ *session.Session, r *authorize.Request) (bool, error) {
				return !r.Prompts("none"), nil
			}
		}), silent},
		{"the cookie is SameSite=Strict", open(changed("POST /login", func(_ *http.Request, w *httptest.ResponseRecorder) {
			cookie := w.Header().Get("Set-Cookie")
			w.Header().Set("Set-Cookie", strings.Replace(cookie, "SameSite=Lax", "SameSite=Strict", 1))
		})), "the session is found when the user comes from another site"},
		{"the login page lets the signed in pass", open(with("GET /login", func(p *program, sound http.HandlerFunc) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				if s, _ := p.sessions.Session(r); !s.SignedIn() || !p.Resume(w, r) {
					sound(w, r)
				}
			}
		})), promptLogin},
		{"the time of the first sign-in stays", open(who(func(_ *http.Request, s *session.Session) *session.Session {
			if !s.SignedIn() {
				return s
			}
			return &session.Session{ID: "of alice", Subject: s.Subject, AuthTime: began}
		})), "max_age=0 asks a user who is signed in"},
		{"who signs in does so for every browser", open(signsInTheRequest), other},
		{"the login page knows one request", open(knowsOneRequest), "two tabs end each with its own response"},
		{"a form is good for one click", open(takesAFormOnce), double},
		{"who is signed in cannot sign in", open(unless("POST /login", func(p *program, r *http.Request) bool {
			s, _ := p.sessions.Session(r)
			return !s.SignedIn()
		})), back},
		{"the login page takes the forms of other sites", open(func(p *program) { p.pages["POST /login"] = p.login }), forged},
		{"a code is redeemed twice", open(answersAsBefore), once},
		{"what is redeemed may be stored", open(changed("POST /token", func(_ *http.Request, w *httptest.ResponseRecorder) {
			w.Header().Del("Cache-Control")
		})), once},
		{"the verifier is not compared", open(provesNothing), verifier},
		{"a wrong verifier uses the code up", open(answersAsBefore), verifier},
		{"the redirect URI is not compared", open(redeeming(func(r *authorize.Redemption) { r.RedirectURI = "" })), otherURI},
		{"a wrong redirect URI uses the code up", open(answersAsBefore), otherURI},
		{"the client is not the one that asks", open(redeeming(func(r *authorize.Redemption) { r.ClientID = "wiki" })), otherClient},
		{"another client uses the code up", open(answersAsBefore), otherClient},
		{"nobody is asked to agree", open(noConsent), consent},
		{"to agree is forgotten", page("POST /consent", home), consent},
		{"Cancel goes home", open(with("POST /login", func(_ *program, sound http.HandlerFunc) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				if r.PostFormValue("no") != "" {
					home(w, r)
					return
				}
				sound(w, r)
			}
		})), cancel},
		{"Deny is taken for Allow", open(with("POST /consent", func(_ *program, sound http.HandlerFunc) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				r.ParseForm()
				r.PostForm.Del("no")
				sound(w, r)
			}
		})), deny},
		{"a wrong password loses the request", open(afterWrongPassword(func(_ *program, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/login", http.StatusSeeOther)
		})), wrong},
		{"a wrong password leads to a page without a form", open(afterWrongPassword(func(_ *program, w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "wrong password", http.StatusForbidden)
		})), wrong},
		{"a wrong password is as good as no", open(afterWrongPassword(func(p *program, w http.ResponseWriter, r *http.Request) {
			p.Deny(w, r)
		})), wrong},
		{"a wrong password signs the user in", open(afterWrongPassword(func(p *program, w http.ResponseWriter, r *http.Request) {
			p.sessions.SignIn(w, r, session.Session{Subject: "alice"})
			p.showLogin(w, r)
		})), wrong},
		{"claims are not shown", open(changed("GET /consent", func(_ *http.Request, w *httptest.ResponseRecorder) {
			page := strings.ReplaceAll(w.Body.String(), "phone_number", "")
			w.Body.Reset()
			w.Body.WriteString(page)
		})), claims},
		{"a page always says the same", open(changed("GET /consent", func(_ *http.Request, w *httptest.ResponseRecorder) {
			page := strings.ReplaceAll(w.Body.String(), "phone_number", "")
			w.Body.Reset()
			w.Body.WriteString(page + "phone_number")
		})), claims},
		{"claims for the ID token are not shown", open(with("GET /consent", func(p *program, _ http.HandlerFunc) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				pending, err := p.Pending(r)
				if err != nil {
					p.ShowError(w, r, err)
					return
				}
				_, userInfo := pending.Request.ClaimsBeyondScopes()
				p.ask(w, pending, userInfo)
			}
		})), claims},
	})
}
