package authorize

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/usher-auth/usher/session"
)

// A program asks for its answer in the response's body.

// withDevices adds clients with a name for answers out of band.
func withDevices(s *site) {
	clients := append(testClients(),
		Client{ID: "device", Name: "A device", Public: true, OutOfBand: OutOfBandAuto, RedirectURIs: []string{"https://device.example/cb"}},
		Client{ID: "unvetted-device", Public: true, Unvetted: true, OutOfBand: "urn:example:here"},
		Client{ID: "misnamed", Public: true, OutOfBand: "https://device.example/cb", RedirectURIs: []string{"https://device.example/cb"}},
		Client{ID: "as-address", Public: true, RedirectURIs: []string{OutOfBandAuto}},
	)
	for i := range clients {
		clients[i].Scopes = slices.Clone(allScopes)
	}
	s.memory = newUncheckedMemory(clients, MemoryConfig{Now: s.config.Now})
	s.config.Clients, s.config.Codes = s.memory, s.memory
}

func deviceAsks(changes ...string) string {
	return ask(append([]string{"client_id=device", "redirect_uri=" + url.QueryEscape(OutOfBandAuto)}, changes...)...)
}

// program sends a request without a browser and reads the answer, which must be JSON.
func (s *site) program(t *testing.T, r *http.Request, who *session.Session) (status int, object map[string]string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), signedIn{}, who)))
	for name, want := range map[string]string{
		"Content-Type":                 "application/json",
		"Cache-Control":                "no-store",
		"X-Content-Type-Options":       "nosniff",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'",
		"Referrer-Policy":              "no-referrer",
		"Access-Control-Allow-Origin":  "",
		"Location":                     "",
		"Set-Cookie":                   "",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &object); err != nil {
		t.Fatalf("the answer is no JSON object of strings: %v\n%s", err, w.Body)
	}
	return w.Code, object
}

func deviceGET(rawQuery string) *http.Request {
	return httptest.NewRequest(http.MethodGet, "/authorize?"+rawQuery, nil)
}

func TestAnAnswerInTheBody(t *testing.T) {
	for _, c := range []struct{ rule, state string }{
		{"a word", "a1F5Kdf5Dhn123"},
		{"what HTML and scripts would mind", `</script><b>&'"\`},
		{"more than ASCII", "Zustand ü 状态 \u2028"},
		{"none", ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withDevices)
			status, got := s.program(t, deviceGET(deviceAsks("state="+url.QueryEscape(c.state))), alice())
			code, err := s.handler.Redeem(context.Background(), Redemption{
				Code: got["code"], ClientID: "device", RedirectURI: OutOfBandAuto, Verifier: testVerifier,
			})
			if status != http.StatusOK || err != nil || code.Subject != "alice" {
				t.Fatalf("status %d, %v, redeemed with %v", status, got, err)
			}
			want := map[string]string{"code": got["code"], "iss": testIssuer}
			if c.state != "" {
				want["state"] = c.state
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestAnAnswerInTheBodyWithoutACode(t *testing.T) {
	s := newSite(t, withDevices, func(s *site) { s.config.ResponseTypes = []string{"none"} })
	clients := s.memory
	s.config.Clients = clientsFunc(func(ctx context.Context, id string) (*Client, error) {
		c, err := clients.Client(ctx, id)
		if c != nil {
			c.ResponseTypes = []string{"none"}
		}
		return c, err
	})
	s.restart()
	status, got := s.program(t, deviceGET(deviceAsks("response_type=none")), alice())
	if diff := cmp.Diff(map[string]string{"state": "st-1", "iss": testIssuer}, got); diff != "" || status != http.StatusOK {
		t.Errorf("status %d (-want +got)\n%s", status, diff)
	}
}

type clientsFunc func(ctx context.Context, id string) (*Client, error)

func (f clientsFunc) Client(ctx context.Context, id string) (*Client, error) { return f(ctx, id) }

// Consent for a program that asks out of band is remembered if it has a secret: the
// answer goes to nobody but who asked.
func TestConsentInTheBody(t *testing.T) {
	for _, c := range []struct {
		rule                        string
		public, trusted, remembered bool
		want                        string
	}{
		{"with a secret, remembered", false, false, true, "code"},
		{"with a secret, not remembered", false, false, false, "consent_required"},
		{"without a secret", true, false, true, "consent_required"},
		{"trusted, without a secret", true, true, false, "code"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withDevices, withConsent)
			s.memory.PutClient(Client{ID: "device", OutOfBand: OutOfBandAuto, Scopes: allScopes, Public: c.public, FirstParty: c.trusted})
			if c.remembered {
				s.remember("device", "openid")
			}
			_, got := s.program(t, deviceGET(deviceAsks()), alice())
			if c.want == "code" && got["code"] == "" || c.want != "code" && got["error"] != c.want {
				t.Errorf("the answer is %v, want %s", got, c.want)
			}
		})
	}
}

func TestRefusalsInTheBody(t *testing.T) {
	aged := func(seconds string) string { return deviceAsks("max_age=" + seconds) }
	for _, c := range []struct {
		rule, query string
		who         *session.Session
		status      int
		want        string
	}{
		{"nobody is signed in", deviceAsks(), nil, 400, "login_required"},
		{"prompt=login", deviceAsks("prompt=login"), alice(), 400, "login_required"},
		{"the sign-in is too old", aged("1"), alice(), 400, "login_required"},
		{"a page is needed", deviceAsks("x_tenant=terms"), alice(), 400, "interaction_required"},
		{"consent is needed", deviceAsks("prompt=consent"), alice(), 400, "consent_required"},
		{"a wrong scope", deviceAsks("scope=admin"), alice(), 400, "invalid_scope"},
		{"no PKCE", deviceAsks("-code_challenge", "-code_challenge_method"), alice(), 400, "invalid_request"},
		{"a response_mode", deviceAsks("response_mode=query"), alice(), 400, "invalid_request"},
		{"another response_mode", deviceAsks("response_mode=form_post"), alice(), 400, "invalid_request"},
		{"of a client that nobody has vetted", ask("client_id=unvetted-device", "redirect_uri=urn%3Aexample%3Ahere", "scope=admin"), alice(), 400, "invalid_scope"},
		{"a session store that fails", deviceAsks(), &session.Session{Subject: "fail"}, 503, "server_error"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withDevices, withStep(Interaction{Name: "terms", Page: "/terms", Needed: func(_ context.Context, _ *session.Session, r *Request) (bool, error) {
				return r.Parameter("x_tenant") == "terms", nil
			}}), func(s *site) {
				s.config.Allow = func(_ context.Context, s *session.Session, _ *Request) (bool, error) {
					if s.Subject == "fail" {
						return false, errors.New("down")
					}
					return true, nil
				}
			})
			status, got := s.program(t, deviceGET(c.query), c.who)
			if status != c.status || got["error"] != c.want || got["error_description"] == "" || len(got) != 2 {
				t.Errorf("status %d, %v, want %d and %s", status, got, c.status, c.want)
			}
		})
	}
}

// A POST without a session is answered like any other request, not sent on by GET.
func TestAPostIsAnsweredInTheBody(t *testing.T) {
	s := newSite(t, withDevices)
	status, got := s.program(t, formPost("/authorize", deviceAsks()), nil)
	if status != http.StatusBadRequest || got["error"] != "login_required" {
		t.Errorf("nobody: status %d, %v", status, got)
	}
	if status, got = s.program(t, formPost("/authorize", deviceAsks()), alice()); status != http.StatusOK || got["code"] == "" {
		t.Errorf("somebody: status %d, %v", status, got)
	}
}

func TestTheHostWritesItsOwnRefusals(t *testing.T) {
	for _, c := range []struct {
		rule, query, want string
		outOfBand         bool
	}{
		{"a valid request that nobody is signed in for", deviceAsks(), "login_required", true},
		{"a client that is not known", deviceAsks("client_id=nobody"), "invalid_client", false},
		{"another client's name", deviceAsks("redirect_uri=urn%3Aexample%3Ahere"), "redirect_uri_mismatch", false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			var page PageError
			s := newSite(t, withDevices, func(s *site) {
				s.config.ErrorPage = func(w http.ResponseWriter, r *http.Request, p PageError) {
					page = p
					ErrorJSON(w, r, p)
				}
			})
			status, got := s.program(t, deviceGET(c.query), nil)
			if status != http.StatusBadRequest || got["error"] != c.want || page.OutOfBand != c.outOfBand || page.Return != nil {
				t.Errorf("status %d, %v, page %+v", status, got, page)
			}
		})
	}
}

// The name stands for a delivery only where it is registered as one, and as it is.
func TestTheNameIsNoAddress(t *testing.T) {
	for _, c := range []struct{ rule, query string }{
		{"a client without it", ask("redirect_uri=" + url.QueryEscape(OutOfBandAuto))},
		{"a client with it among its redirect URIs", ask("client_id=as-address", "redirect_uri="+url.QueryEscape(OutOfBandAuto))},
		{"a client that gives an address for its name", ask("client_id=misnamed", "redirect_uri=https%3A%2F%2Fdevice.example%2Fcb")},
		{"a name that begins alike", deviceAsks("redirect_uri=urn%3Aietf%3Awg%3Aoauth%3A2.0%3Aoob")},
		{"a name that goes on", deviceAsks("redirect_uri=" + url.QueryEscape(OutOfBandAuto+":x"))},
		{"a name in the other case", deviceAsks("redirect_uri=" + strings.ToUpper(url.QueryEscape(OutOfBandAuto)))},
		{"no redirect_uri", deviceAsks("-redirect_uri")},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withDevices)
			got := s.visitor(alice()).get(c.query)
			if got.kind != "page" || got.status != http.StatusBadRequest || s.sessions != 0 {
				t.Errorf("%s, status %d, the sessions were asked %d times", got.kind, got.status, s.sessions)
			}
		})
	}
}

// The same client is redirected where it names an address.
func TestAnAddressIsRedirectedToAsEver(t *testing.T) {
	s := newSite(t, withDevices)
	r := deviceGET(deviceAsks("redirect_uri=https%3A%2F%2Fdevice.example%2Fcb"))
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), signedIn{}, alice())))
	if location := w.Header().Get("Location"); w.Code != http.StatusFound || !strings.HasPrefix(location, "https://device.example/cb?code=") || w.Body.Len() != 0 {
		t.Errorf("status %d, Location %s, body %q", w.Code, location, w.Body)
	}
}

func TestBrowsersGetNoAnswerInTheBody(t *testing.T) {
	for _, c := range []struct {
		rule   string
		header map[string]string
		ok     bool
	}{
		{"a program", nil, true},
		{"a program with the fetch of Node.js", map[string]string{"Sec-Fetch-Mode": "cors"}, true},
		{"a script of the same origin", map[string]string{"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, true},
		{"a form on another site, by an old browser", map[string]string{"Origin": "https://evil.example"}, false},
		{"a form in a sandbox, by an old browser", map[string]string{"Origin": "null"}, false},
		{"a script of the same origin, by an old browser", map[string]string{"Origin": testIssuer}, true},
		{"a link on another site", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, false},
		{"a link on the same origin", map[string]string{"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}, false},
		{"an address typed in", map[string]string{"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, false},
		{"a script of another site", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}, false},
		{"a script element", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, false},
		{"a sibling of the host", map[string]string{"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withDevices)
			r := deviceGET(deviceAsks())
			for name, value := range maps.All(c.header) {
				r.Header.Set(name, value)
			}
			status, got := s.program(t, r, alice())
			if ok := status == http.StatusOK && got["code"] != ""; ok != c.ok {
				t.Errorf("status %d, %v", status, got)
			}
			if !c.ok && (got["error"] != "invalid_request" || s.sessions != 0 || s.lastEvent().Reason != ReasonBrowser) {
				t.Errorf("%v, the sessions were asked %d times, reason %s", got, s.sessions, s.lastEvent().Reason)
			}
		})
	}
}

// It is for the host's own handlers too, where nothing has set a header yet.
func TestErrorJSONByItself(t *testing.T) {
	w := httptest.NewRecorder()
	ErrorJSON(w, deviceGET(""), PageError{Code: "invalid_request", Description: "d"})
	for name, want := range map[string]string{"Cache-Control": "no-store", "Pragma": "no-cache", "Referrer-Policy": "no-referrer", "Content-Type": "application/json"} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if w.Code != http.StatusBadRequest || strings.TrimSpace(w.Body.String()) != `{"error":"invalid_request","error_description":"d"}` {
		t.Errorf("status %d, %s", w.Code, w.Body)
	}
}
