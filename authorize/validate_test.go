package authorize

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// That each refuses something is a test of the corpus.
func TestEveryRuleHasANameAndASection(t *testing.T) {
	names := map[string]bool{}
	asking := false
	for _, r := range rules {
		if r.name == "" || names[r.name] || !strings.Contains(r.section, "§") {
			t.Errorf("the rule %q (%q) needs a name of its own and a section", r.name, r.section)
		}
		names[r.name] = true
		if asking && !r.asks {
			t.Errorf("the rule %q stands behind one that asks the host", r.name)
		}
		asking = r.asks
	}
}

// A rule looks and changes nothing, whatever the value of a parameter.
func TestRulesChangeNothing(t *testing.T) {
	s := newSite(t)
	for _, name := range append(slices.Clone(knownParameters), "x_tenant") {
		for _, value := range []string{"", "x", "openid", "none", "profile+openid", "2+1", "60", "%FF", "%7B%22a%22%3A1%7D", strings.Repeat("a", 9000)} {
			t.Run(name+"="+value[:min(len(value), 20)], func(t *testing.T) {
				p, err := s.handler.parse(ask(name+"="+value), errBodyTooLarge)
				before, _ := s.handler.parse(ask(name+"="+value), errBodyTooLarge)
				if err != nil {
					return // no rule looks at it
				}
				client := testClients()[0]
				request := newRequest(p)
				for _, r := range rules {
					if !r.asks {
						r.kept(&checked{handler: s.handler, config: &s.handler.config, client: &client, request: request, params: p})
					}
				}
				if diff := cmp.Diff(newRequest(before), request, cmp.AllowUnexported(Request{}, params{}, param{})); diff != "" {
					t.Errorf("(-before +after)\n%s", diff)
				}
				if diff := cmp.Diff(testClients()[0], client); diff != "" {
					t.Errorf("the client (-before +after)\n%s", diff)
				}
			})
		}
	}
}

func TestScopesOfTheRequest(t *testing.T) {
	for _, c := range []struct{ rule, client, scope, prompt, want string }{
		{"as asked, in that order", "web", "profile openid", "", "profile openid"},
		{"each once", "web", "openid profile openid", "", "openid profile"},
		{"the client's default", "only", "", "", "api:read"},
		{"the default stands in for none, not for some", "only", "api:write", "", "api:write"},
		{"offline_access is kept, so that host and page see it", "web", "openid offline_access", "", "openid offline_access"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			clients := testClients()
			i := slices.IndexFunc(clients, func(x Client) bool { return x.ID == c.client })
			r := newRequest(params{list: []param{{"scope", c.scope}, {"prompt", c.prompt}}})
			r.fillIn(&Config{}, &clients[i], "https://a.example/cb")
			if got := strings.Join(r.Scopes, " "); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			if clients[i].DefaultScopes != nil && clients[i].DefaultScopes[0] != "api:read" {
				t.Error("the client's own list was changed")
			}
		})
	}
}

// What is passed through to the host's pages, each parameter in its own field.
func TestWhatPagesRead(t *testing.T) {
	r := newRequest(params{list: []param{
		{"ui_locales", " de  fr de "}, {"claims_locales", "it"}, {"acr_values", "gold silver"}, {"login_hint", " a b "},
		{"state", " s "}, {"nonce", "n"}, {"response_mode", "fragment"},
	}})
	want := &Request{State: " s ", Nonce: "n", ResponseMode: "fragment", UILocales: []string{"de", "fr"}, ClaimsLocales: []string{"it"}, ACRValues: []string{"gold", "silver"}, LoginHint: " a b "}
	if diff := cmp.Diff(want, r, cmp.AllowUnexported(Request{}), cmpopts.IgnoreFields(Request{}, "params")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for display, want := range map[string]string{"page": "page", "popup": "popup", "touch": "touch", "wap": "wap", "Page": "", "x": "", " page": ""} {
		t.Run("display "+display, func(t *testing.T) {
			if got := newRequest(params{list: []param{{"display", display}}}).Display; got != want {
				t.Errorf("display %q is %q, want %q", display, got, want)
			}
		})
	}
}

func TestFeaturesThatAreOff(t *testing.T) {
	for _, c := range []struct{ rule, change, want string }{
		{"a hint that nobody can verify is refused, not ignored", "id_token_hint=hint-of-alice", "client invalid_request"},
		{"resource is ignored", "resource=anything", "code"},
		{"response_type none", "response_type=none", "client unsupported_response_type"},
		{"a scope that only the client knows", "scope=api:read", "code"},
		{"a scope that not even the client knows", "scope=admin", "client invalid_scope"},
		{"prompt=consent, and no page asks for it", "prompt=consent", "client consent_required"},
		{"a further parameter is unknown, so it may repeat", "x_tenant=a&x_tenant=b", "code"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, func(s *site) {
				s.config.IDTokenHint, s.config.Resources, s.config.ResponseTypes, s.config.Scopes, s.config.Parameters = nil, nil, nil, nil, nil
			})
			s.visitor(alice()).get(ask(c.change)).want(c.want)
		})
	}
}

// What a client's developer asks the host about is in the log, with what to do.
func TestTheLogSaysWhatToDo(t *testing.T) {
	noPKCE := []string{"-code_challenge", "-code_challenge_method"}
	for _, c := range []struct {
		rule string
		ask  []string
		want string // the whole error in the log
	}{
		{"a confidential client leaves PKCE out", noPKCE, "invalid_request: code_challenge is missing.: the client leaves PKCE out: switch PKCE on in the client, or set Client.PKCEOptional"},
		{"a public client leaves PKCE out", append([]string{"client_id=spa"}, noPKCE...), "invalid_request: code_challenge is missing.: the client leaves PKCE out: switch PKCE on in the client"},
		{"a public client for which it is optional", append([]string{"client_id=lax"}, noPKCE...), "invalid_request: code_challenge is missing.: the client leaves PKCE out: switch PKCE on in the client"},
		{"half of PKCE", []string{"-code_challenge"}, "invalid_request: code_challenge is missing."},
		{"half of PKCE where it is optional", []string{"client_id=legacy", "-code_challenge"}, "invalid_request: code_challenge is missing."},
		{"a response type that is not supported", []string{"response_type=id_token+code"}, `unsupported_response_type: The server does not support this response type.: the response_type "code id_token" is not among Config.ResponseTypes`},
		{"a long response type", []string{"response_type=" + strings.Repeat("x", 5000)}, `unsupported_response_type: The server does not support this response type.: the response_type "` + strings.Repeat("x", 40) + `" is not among Config.ResponseTypes`},
		{"a response type of 4096 bytes, whose values are sorted", []string{"response_type=zz" + strings.Repeat("+a", 2047)}, `unsupported_response_type: The server does not support this response type.: the response_type "` + strings.Repeat("a ", 20) + `" is not among Config.ResponseTypes`},
		{"a response type of 4097 bytes, whose values stay as they are", []string{"response_type=zzz" + strings.Repeat("+a", 2047)}, `unsupported_response_type: The server does not support this response type.: the response_type "zzz ` + strings.Repeat("a ", 18) + `" is not among Config.ResponseTypes`},
		{"a response type that is not the client's", []string{"client_id=spa", "response_type=none"}, `unauthorized_client: The client is not registered for this response_type.: the response_type "none" is not among the client's ResponseTypes`},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t)
			got := s.visitor(alice()).get(ask(c.ask...))
			if got.kind != "client" || got.params["error"] == "" || s.lastEvent().Err.Error() != c.want {
				t.Errorf("%s, the log says %q, want %q", got, s.lastEvent().Err, c.want)
			}
		})
	}
}

// A client may be registered for scopes that no token can carry.
func TestAScopeThatIsRegisteredAndMalformed(t *testing.T) {
	for _, scope := range []string{`a"b`, `a\b`, "é", "a\tb"} {
		t.Run(scope, func(t *testing.T) {
			s := newSite(t, func(s *site) { s.config.Scopes = nil })
			client := testClients()[0]
			client.Scopes = []string{scope}
			s.memory.PutClient(client)
			s.visitor(alice()).get(ask("scope=" + url.QueryEscape(scope))).want("client invalid_scope")
		})
	}
}

// What the host is asked in the course of validation can fail or take too long.
func TestFunctionsOfTheHostThatFail(t *testing.T) {
	for _, c := range []struct {
		rule      string
		change    func(*Config)
		ask, want string
	}{
		{"Resource fails", func(c *Config) {
			c.Resources = ResourceFunc(func(context.Context, *Client, string) (*Resource, error) { return nil, errors.New("down") })
		}, "resource=https://api.example/", "client server_error"},
		{"Resource says that it is overloaded", func(c *Config) {
			c.Resources = ResourceFunc(func(context.Context, *Client, string) (*Resource, error) { return nil, oautherr.TemporarilyUnavailable })
		}, "resource=https://api.example/", "client temporarily_unavailable"},
		{"Resource hangs", func(c *Config) {
			c.Timeout = impatient
			c.Resources = ResourceFunc(func(ctx context.Context, _ *Client, _ string) (*Resource, error) { <-ctx.Done(); return nil, ctx.Err() })
		}, "resource=https://api.example/", "client temporarily_unavailable"},
		{"Resource answers too late", func(c *Config) {
			c.Timeout = impatient
			c.Resources = ResourceFunc(func(ctx context.Context, _ *Client, id string) (*Resource, error) {
				<-ctx.Done()
				return &Resource{ID: id}, nil
			})
		}, "resource=https://api.example/", "client temporarily_unavailable"},
		{"IDTokenHint hangs", func(c *Config) {
			c.Timeout = impatient
			c.IDTokenHint = func(ctx context.Context, _ string) (string, error) { <-ctx.Done(); return "", ctx.Err() }
		}, "id_token_hint=x", "client temporarily_unavailable"},
		{"IDTokenHint answers too late", func(c *Config) {
			c.Timeout = impatient
			c.IDTokenHint = func(ctx context.Context, _ string) (string, error) { <-ctx.Done(); return "alice", nil }
		}, "id_token_hint=x", "client temporarily_unavailable"},
		{"IDTokenHint gives a subject and an error", func(c *Config) {
			c.IDTokenHint = func(context.Context, string) (string, error) { return "alice", errors.New("expired") }
		}, "id_token_hint=x", "login"},
		{"IDTokenHint gives an error and a subject that is too long", func(c *Config) {
			c.IDTokenHint = func(context.Context, string) (string, error) { return strings.Repeat("a", 256), errors.New("expired") }
		}, "id_token_hint=x", "login"},
		{"IDTokenHint gives a subject that is too long", func(c *Config) {
			c.IDTokenHint = func(context.Context, string) (string, error) { return strings.Repeat("é", 128), nil }
		}, "id_token_hint=x", "client server_error"},
		{"IDTokenHint gives raw bytes", func(c *Config) {
			c.IDTokenHint = func(context.Context, string) (string, error) { return "\xff", nil }
		}, "id_token_hint=x", "client server_error"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			newSite(t, func(s *site) { c.change(&s.config) }).visitor(alice()).get(ask(c.ask)).want(c.want)
		})
	}
}

// A host can demand more than the protocol, of all clients or of one.
func TestRequiredParameters(t *testing.T) {
	for _, c := range []struct {
		rule         string
		all, client  []string
		change, want string
	}{
		{"nothing more", nil, nil, "-state", "code"},
		{"of all, and it is there", []string{"state"}, nil, "", "code"},
		{"of all, and it is not", []string{"state"}, nil, "-state", "client invalid_request"},
		{"of all, and it is empty", []string{"nonce"}, nil, "nonce=", "client invalid_request"},
		{"of this client, and it is not there", nil, []string{"nonce"}, "-nonce", "client invalid_request"},
		{"of this client beside the others", []string{"state"}, []string{"nonce"}, "-state", "client invalid_request"},
		{"a parameter of the host's own", []string{"x_tenant"}, nil, "", "client invalid_request"},
		{"a scope, though the client has a default", []string{"scope"}, nil, "-scope", "client invalid_request"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, func(s *site) { s.config.Require = c.all })
			client := testClients()[0]
			client.Require, client.DefaultScopes = c.client, []string{"openid"}
			s.memory.PutClient(client)
			request := ask()
			if c.change != "" {
				request = ask(c.change)
			}
			s.visitor(alice()).get(request).want(c.want)
		})
	}
}

func TestTheHostsOwnRules(t *testing.T) {
	for _, c := range []struct {
		rule string
		err  error
		want string
	}{
		{"kept", nil, "code"},
		{"a code", oautherr.TemporarilyUnavailable, "client temporarily_unavailable"},
		{"a code with a text", oautherr.InvalidRequest.With("There is no such page."), "client invalid_request"},
		{"a code inside another error", fmt.Errorf("our rule: %w", oautherr.AccessDenied), "client access_denied"},
		{"a code of the host's own", oautherr.Code("account_frozen"), "client account_frozen"},
		{"a code that cannot be sent", oautherr.Code("our \"code\""), "client server_error"},
		{"any other error", errors.New("the database is down"), "client server_error"},
		{"too slow", fmt.Errorf("asking: %w", context.DeadlineExceeded), "client temporarily_unavailable"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, func(s *site) {
				s.config.CheckRequest = func(_ context.Context, r *Request) error {
					if r.Client == nil || r.Parameter("x_tenant") != "acme" || r.Subject != "alice" {
						t.Errorf("asked about %v", r)
					}
					return c.err
				}
			})
			got := s.visitor(alice()).get(ask("x_tenant=acme", "id_token_hint=hint-of-alice")).want(c.want)
			if text := got.params["error_description"]; strings.Contains(text, "database") {
				t.Errorf("the client reads %q", text)
			}
			if refused := c.err != nil; refused == (s.sessions == 1) {
				t.Errorf("the sessions were asked %d times", s.sessions)
			}
		})
	}
}

// A rule that changes while the user signs in holds when the user is back.
func TestTheHostsOwnRulesAreAskedAgain(t *testing.T) {
	closed := false
	s := newSite(t, func(s *site) {
		s.config.CheckRequest = func(context.Context, *Request) error {
			if closed {
				return oautherr.TemporarilyUnavailable
			}
			return nil
		}
	})
	v := s.visitor(nil)
	at := v.get(ask()).want("login")
	v.session, closed = alice(), true
	v.resume(at).want("client temporarily_unavailable", "closed")
}

// ways are the ways in which a request gets to its code: each ends with alice signed in,
// who was not at first, or was by POST.
var ways = []struct {
	name   string
	take   func(s *site, request string) *reply
	visits int // how often the endpoint looks at the request
}{
	{"signed in", func(s *site, request string) *reply { return s.visitor(alice()).get(request) }, 1},
	{"signed in, by POST", func(s *site, request string) *reply { return s.visitor(alice()).post(request) }, 1},
	{"back from the login", func(s *site, request string) *reply { v := s.visitor(nil); return v.signIn(v.get(request), "alice") }, 2},
	{"back from the login twice", func(s *site, request string) *reply {
		v := s.visitor(nil)
		return v.signIn(v.resume(v.get(request)), "alice")
	}, 3},
	{"by POST, repeated by GET", func(s *site, request string) *reply {
		v := s.visitor(nil)
		at := v.post(request)
		v.session = alice()
		return v.follow(at)
	}, 2},
	{"by POST, and back from the login", func(s *site, request string) *reply {
		v := s.visitor(nil)
		return v.signIn(v.follow(v.post(request)), "alice")
	}, 3},
	{"begun anew in another browser", func(s *site, request string) *reply {
		return s.visitor(alice()).resume(s.visitor(nil).get(request))
	}, 2},
	{"begun anew, and back from the login", func(s *site, request string) *reply {
		v := s.visitor(nil)
		return v.signIn(v.resume(s.visitor(nil).get(request)), "alice")
	}, 3},
}

// What is checked after the login is what was checked before it: a hint counts as sent
// though it is not carried.
func TestWhatWasSentCountsAsSentOnEveryWay(t *testing.T) {
	for _, required := range []struct {
		name        string
		all, client []string
	}{
		{"required of all", []string{"id_token_hint", "state"}, nil},
		{"required of the client", nil, []string{"id_token_hint", "state"}},
	} {
		for _, way := range ways {
			t.Run(required.name+", "+way.name, func(t *testing.T) {
				asked := 0
				s := newSite(t, func(s *site) {
					s.config.Require = required.all
					s.config.CheckRequest = func(_ context.Context, r *Request) error {
						asked++
						if !r.Sent("id_token_hint") || !r.Sent("state") || r.Sent("claims") || r.Sent("x_tenant") || r.Sent("req") || r.Subject != "alice" {
							t.Errorf("asked about %v of %q", r, r.Subject)
						}
						return nil
					}
				})
				client := testClients()[0]
				client.Require = required.client
				s.memory.PutClient(client)
				way.take(s, ask("id_token_hint=hint-of-alice", "x_tenant=")).want("code", "the hint was sent")
				if asked != way.visits {
					t.Errorf("asked %d times, want %d", asked, way.visits)
				}
				s.visitor(nil).get(ask()).want("client invalid_request", "no hint was sent")
			})
		}
	}
}

// Nor is any value another one after the login, whatever bytes a client sends.
func TestTheHostsOwnRuleSeesTheSameOnEveryWay(t *testing.T) {
	for _, name := range append(slices.Clone(knownParameters), "x_tenant") {
		if name == "client_id" || name == "redirect_uri" || name == "id_token_hint" || name == "req" {
			continue // those that are compared, and those that are not carried
		}
		for what, value := range map[string]string{
			"as it is": "%22%5C%26%3C%3E%C3%A9%E2%80%A8", "not UTF-8": "a%FF", "half a letter": "%C3", "a surrogate": "%ED%A0%80",
			"control characters": "%01%0A", "a space behind": "openid+", "U+FFFD": "%EF%BF%BD", "delete": "%7F",
		} {
			for _, way := range ways[2:] {
				t.Run(name+" "+what+", "+way.name, func(t *testing.T) {
					seen := map[string]bool{}
					s := newSite(t, func(s *site) {
						s.config.Logger = nil
						s.config.CheckRequest = func(_ context.Context, r *Request) error {
							seen[strings.Join(r.params.all(name), "\x00")] = true
							return nil
						}
					})
					way.take(s, ask(name+"="+value))
					if len(seen) > 1 {
						t.Errorf("the host is asked about %v", seen)
					}
				})
			}
		}
	}
}

// A hint that cannot be verified is no proof that nobody else was meant: only who signs in
// anew is answered.
func TestAHintThatCannotBeVerified(t *testing.T) {
	const hint = "id_token_hint=of-a-key-that-is-gone"
	claimsFor := func(subject string) string {
		return `claims=%7B%22id_token%22:%7B%22sub%22:%7B%22value%22:%22` + subject + `%22%7D%7D%7D`
	}
	signInAnew := func(s *site, v *visitor, at *reply) *reply {
		s.now = s.now.Add(time.Second)
		return v.signIn(at, "alice")
	}
	for _, c := range []struct {
		rule string
		do   func(s *site) *reply
		want string
	}{
		{"prompt=none", func(s *site) *reply { return s.visitor(alice()).get(ask(hint, "prompt=none")) }, "client login_required"},
		{"prompt=none, by POST", func(s *site) *reply { return s.visitor(alice()).post(ask(hint, "prompt=none")) }, "client login_required"},
		{"prompt=none, nobody", func(s *site) *reply { return s.visitor(nil).get(ask(hint, "prompt=none")) }, "client login_required"},
		{"prompt=none, by POST, nobody", func(s *site) *reply {
			v := s.visitor(nil)
			at := v.post(ask(hint, "prompt=none"))
			v.session = alice()
			return v.follow(at)
		}, "client login_required"},
		{"signed in before", func(s *site) *reply { return s.visitor(alice()).get(ask(hint)) }, "login"},
		{"signed in before, and back", func(s *site) *reply { v := s.visitor(alice()); return v.resume(v.get(ask(hint))) }, "login"},
		{"signed in before, and back twice", func(s *site) *reply {
			v := s.visitor(alice())
			return v.resume(v.resume(v.get(ask(hint))))
		}, "client login_required"},
		{"an older sign-in of somebody else", func(s *site) *reply {
			v := s.visitor(alice())
			at := v.get(ask(hint))
			v.session = bob()
			return v.resume(at)
		}, "login"},
		{"signed in anew", func(s *site) *reply { v := s.visitor(alice()); return signInAnew(s, v, v.get(ask(hint))) }, "code"},
		{"nobody before, signed in", func(s *site) *reply { v := s.visitor(nil); return signInAnew(s, v, v.get(ask(hint))) }, "code"},
		{"signed in before, by POST", func(s *site) *reply { return s.visitor(alice()).post(ask(hint)) }, "login"},
		{"by POST, without a session at first, then signed in", func(s *site) *reply {
			v := s.visitor(nil)
			at := v.post(ask(hint))
			v.session = alice()
			return v.follow(at)
		}, "login"},
		{"by POST, nobody, signed in anew", func(s *site) *reply {
			v := s.visitor(nil)
			return signInAnew(s, v, v.follow(v.post(ask(hint))))
		}, "code"},
		{"begun again by the signed-in user", func(s *site) *reply { return s.visitor(alice()).resume(s.visitor(nil).get(ask(hint))) }, "login"},
		{"begun again by the user who has just signed in", func(s *site) *reply {
			at := s.visitor(nil).get(ask(hint))
			s.now = s.now.Add(time.Second)
			return s.visitor(s.signIn("alice")).resume(at)
		}, "login"},
		{"begun anew, signed in anew", func(s *site) *reply {
			v := s.visitor(alice())
			return signInAnew(s, v, v.resume(s.visitor(nil).get(ask(hint))))
		}, "code"},
		{"the user that claims names", func(s *site) *reply { return s.visitor(alice()).get(ask(hint, claimsFor("alice"))) }, "login"},
		{"the user that claims names, anew", func(s *site) *reply {
			v := s.visitor(alice())
			return signInAnew(s, v, v.get(ask(hint, claimsFor("alice"))))
		}, "code"},
		{"another user than claims names, anew", func(s *site) *reply {
			v := s.visitor(alice())
			return signInAnew(s, v, v.get(ask(hint, claimsFor("bob"))))
		}, "client login_required"},
		{"response_type=none", func(s *site) *reply { return s.visitor(alice()).get(ask(hint, "response_type=none")) }, "login"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t)
			got := c.do(s).want(c.want)
			if text := s.log.String(); !strings.Contains(text, "the id_token_hint cannot be verified") || !strings.Contains(text, "not signed by this issuer") {
				t.Errorf("the log does not say why: %s", text)
			}
			if got.kind == "login" && got.claims()["hint_unverified"] != true {
				t.Error("that it could not be verified is not sealed")
			}
			if strings.Contains(got.location, "of-a-key") || strings.Contains(s.log.String(), "of-a-key") {
				t.Error("the hint is in the address or in the log")
			}
		})
	}
}

// A verifier that fails is the host's failure: nobody is asked to sign in for it.
func TestTheHintVerifierFails(t *testing.T) {
	for _, failure := range []oautherr.Code{oautherr.ServerError, oautherr.TemporarilyUnavailable} {
		for _, c := range []struct {
			rule string
			do   func(s *site) *reply
		}{
			{"signed in", func(s *site) *reply { return s.visitor(alice()).get(ask("id_token_hint=x")) }},
			{"nobody", func(s *site) *reply { return s.visitor(nil).get(ask("id_token_hint=x")) }},
			{"prompt=none", func(s *site) *reply { return s.visitor(alice()).get(ask("id_token_hint=x", "prompt=none")) }},
			{"by POST", func(s *site) *reply { return s.visitor(alice()).post(ask("id_token_hint=x")) }},
			{"by POST, nobody", func(s *site) *reply { return s.visitor(nil).post(ask("id_token_hint=x")) }},
		} {
			t.Run(string(failure)+", "+c.rule, func(t *testing.T) {
				s := newSite(t, func(s *site) {
					s.config.IDTokenHint = func(context.Context, string) (string, error) {
						return "alice", fmt.Errorf("keys: %w", failure)
					}
				})
				c.do(s).want("client " + string(failure))
				if !strings.Contains(s.log.String(), "Config.IDTokenHint: keys") {
					t.Errorf("the log does not say what failed: %s", s.log.String())
				}
			})
		}
	}
}

func TestUnknownScopesAreLeftOut(t *testing.T) {
	for _, c := range []struct {
		rule        string
		ignore      bool
		exist       []string // Config.Scopes
		scope, want string
		scopes      string // of the code
		leftOut     string // of the event
	}{
		{"refused without the switch", false, nil, "openid+groups", "client invalid_scope", "", ""},
		{"one that the client has not", true, nil, "openid+groups", "code", "openid", "groups"},
		{"one that does not exist", true, []string{"openid"}, "openid+profile", "code", "openid", "profile"},
		{"one that exists and is not the client's", true, []string{"openid", "admin"}, "admin+openid", "code", "openid", "admin"},
		{"one that no scope can be", true, nil, "openid+%22x%22", "code", "openid", `"x"`},
		{"one in the other case", true, nil, "openid+OpenID", "code", "openid", "OpenID"},
		{"one that is twice", true, nil, "a+openid+a+openid", "code", "openid", "a"},
		{"all of them", true, nil, "groups+roles", "client invalid_scope", "", ""},
		{"a list that is too long", true, nil, "openid+" + strings.Repeat("openid+", 100), "client invalid_scope", "", ""},
		{"offline_access that does not exist", true, []string{"openid"}, "openid+offline_access", "code", "openid", "offline_access"},
		{"offline_access that is dropped, too", true, nil, "openid+groups+offline_access", "code", "openid", "groups offline_access"},
		{"none", true, nil, "openid+profile", "code", "openid profile", ""},
	} {
		for _, way := range ways {
			t.Run(c.rule+", "+way.name, func(t *testing.T) {
				s := newSite(t, func(s *site) { s.config.IgnoreUnknownScopes, s.config.Scopes = c.ignore, c.exist })
				got := way.take(s, ask("scope="+c.scope))
				if strings.HasPrefix(c.want, "client ") {
					got = s.visitor(alice()).get(ask("scope=" + c.scope))
				}
				got.want(c.want)
				e := s.lastEvent()
				if e.Kind != EventApproved {
					return
				}
				if strings.Join(e.Scopes, " ") != c.scopes || strings.Join(e.LeftOut, " ") != c.leftOut {
					t.Errorf("the event has %q, and left out are %q", e.Scopes, e.LeftOut)
				}
				if (c.leftOut != "") != strings.Contains(s.log.String(), `"left_out":`) {
					t.Errorf("the log is %s", s.log.String())
				}
				code, err := s.redeem(got.params["code"], nil)
				if err != nil || strings.Join(code.Scopes, " ") != c.scopes {
					t.Errorf("the code has %+v, %v", code, err)
				}
			})
		}
	}
}

// The host's pages see what was left out, and are asked for the rest.
func TestWhatWasLeftOutIsOnPending(t *testing.T) {
	s := newSite(t, withConsent, func(s *site) { s.config.IgnoreUnknownScopes = true })
	v := s.visitor(nil)
	at := v.get(ask("scope=groups+openid+roles+email")).want("login")
	for _, who := range []*session.Session{nil, alice()} {
		if v.session = who; who != nil {
			at = v.resume(at).want("consent")
		}
		p, err := v.pending(at)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"openid", "email"}, p.Request.Scopes); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", at.kind, diff)
		}
		if diff := cmp.Diff([]string{"groups", "roles"}, p.Request.LeftOut); diff != "" {
			t.Errorf("%s: left out (-want +got)\n%s", at.kind, diff)
		}
		if diff := cmp.Diff([]string{"groups", "roles"}, s.lastEvent().LeftOut); diff != "" {
			t.Errorf("%s: the event (-want +got)\n%s", at.kind, diff)
		}
	}
	v.grant(at, "openid", "groups").want("page Bad Request invalid_request", "one that is left out cannot be granted")
	v.grant(at, "openid", "email").want("code")
	v.get(ask("scope=groups+openid+email")).want("code")
}

func TestDefaultScopes(t *testing.T) {
	for _, c := range []struct {
		rule     string
		defaults []string // Config.DefaultScopes
		own      []string // Client.DefaultScopes
		exist    []string // Config.Scopes
		ignore   bool
		ask      string
		want     string // the code's scopes, or an error
	}{
		{"none anywhere", nil, nil, nil, false, "-scope", "client invalid_scope"},
		{"for clients that name none", []string{"openid"}, nil, nil, false, "-scope", "openid"},
		{"for an empty scope", []string{"openid"}, nil, nil, false, "scope=", "openid"},
		{"for a scope of blanks", []string{"openid"}, nil, nil, false, "scope=++", "openid"},
		{"the client's own go first", []string{"openid"}, []string{"email", "profile"}, nil, false, "-scope", "email profile"},
		{"a request that names some gets those", []string{"openid"}, nil, nil, false, "scope=email", "email"},
		{"as far as the client may", []string{"openid", "admin", "email"}, nil, nil, false, "-scope", "openid email"},
		{"nothing that the client may", []string{"admin"}, nil, nil, false, "-scope", "client invalid_scope"},
		{"the client's own do not exist", []string{"openid"}, []string{"email"}, []string{"openid"}, false, "-scope", "client invalid_scope"},
		{"the client's own do not exist, and are ignored", []string{"openid"}, []string{"email", "openid"}, []string{"openid"}, true, "-scope", "openid"},
		{"all unknown: they do not stand in", []string{"openid"}, nil, nil, true, "scope=groups", "client invalid_scope"},
	} {
		for _, way := range ways {
			t.Run(c.rule+", "+way.name, func(t *testing.T) {
				s := newSite(t, func(s *site) {
					s.config.DefaultScopes, s.config.Scopes, s.config.IgnoreUnknownScopes = c.defaults, c.exist, c.ignore
				})
				client := testClients()[0]
				client.DefaultScopes = c.own
				s.memory.PutClient(client)
				if strings.HasPrefix(c.want, "client ") {
					s.visitor(alice()).get(ask(c.ask)).want(c.want)
					return
				}
				code, err := s.redeem(way.take(s, ask(c.ask)).want("code").params["code"], nil)
				if err != nil || strings.Join(code.Scopes, " ") != c.want {
					t.Errorf("the code has %+v, %v, want %q", code, err, c.want)
				}
			})
		}
	}
}

// Scopes count for the limit, wherever they come from.
// Without a consent page there is room for the longest text while the request waits.
func TestTheLongestTexts(t *testing.T) {
	claims := func(idToken, userinfo int) string {
		return "claims=" + url.QueryEscape(fmt.Sprintf(`{"id_token":{%s},"userinfo":{%s}}`, manyClaims("c", idToken), manyClaims("c", userinfo)))
	}
	for _, c := range []struct{ name, parameter, want string }{
		{"claims just in", claims(100, 100), "code"},
		{"claims for the ID token just out", claims(101, 0), "client invalid_request"},
		{"claims for UserInfo just out", claims(0, 101), "client invalid_request"},
		{"a hint just in", "login_hint=" + strings.Repeat("a", 4096), "code"},
		{"a hint just out", "login_hint=" + strings.Repeat("a", 4097), "client invalid_request"},
		{"a list just in", "ui_locales=" + strings.Repeat(strings.Repeat("a", 63)+"+", maxList/64), "code"},
		{"a list just out", "ui_locales=" + strings.Repeat("a", maxList+1), "client invalid_request"},
	} {
		t.Run(c.name, func(t *testing.T) { newSite(t).visitor(alice()).get(ask(c.parameter)).want(c.want) })
	}
}

func TestDefaultScopesCountForTheLimit(t *testing.T) {
	s := newSite(t, func(s *site) { s.config.Scopes = nil })
	client := testClients()[0]
	for i := range 500 {
		client.DefaultScopes = append(client.DefaultScopes, fmt.Sprintf("scope-number-%d", i))
	}
	client.Scopes = client.DefaultScopes
	s.memory.PutClient(client)
	s.visitor(alice()).get(ask("-scope")).want("client invalid_request", "somebody")
	s.visitor(nil).get(ask("-scope")).want("client invalid_request", "nobody")
}

// The host may accept everything and return anything; what the RFCs say holds all the same.
func TestTheHostIsNotTheLastWord(t *testing.T) {
	for _, resource := range []string{"/relative", "api", "//api.example/"} {
		t.Run(resource, func(t *testing.T) {
			s := newSite(t, func(s *site) {
				s.config.Resources = ResourceFunc(func(_ context.Context, _ *Client, id string) (*Resource, error) { return &Resource{ID: id}, nil })
			})
			s.visitor(alice()).get(ask("resource=" + resource)).want("client invalid_target")
		})
	}
	for _, code := range []oautherr.Code{"two words", `quo"te`, `back\slash`, "é", "x\n"} {
		t.Run(string(code), func(t *testing.T) {
			s := newSite(t, func(s *site) {
				s.config.CheckRequest = func(context.Context, *Request) error { return code.With("No.") }
			})
			s.visitor(alice()).get(ask()).want("client server_error")
		})
	}
}

// A client may ask for its answer in both ways; each request says in which.
func TestAClientWithAnAddressAndAName(t *testing.T) {
	s := newSite(t)
	client := testClients()[0]
	client.OutOfBand = OutOfBandAuto
	s.memory.PutClient(client)
	s.visitor(nil).get(ask()).want("login")
	s.visitor(nil).post(ask()).want("endpoint", "by redirect, a POST")
}
