package authorize

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	oautherr "github.com/usher-auth/usher/errors"
)

func TestChecks(t *testing.T) {
	s := newSite(t)
	for _, v := range vectors(t, "checks.jsonl") {
		v.check(t, v.run(t, s))
	}
}

// Each row of the table names its RFC, and a vector shows it refusing something.
func TestEveryCheckHasItsRFCAndAVector(t *testing.T) {
	refused := map[string]bool{}
	for _, v := range vectors(t, "checks.jsonl") {
		if strings.HasPrefix(v.Want, "client ") {
			refused[v.RFC] = true
		}
	}
	names := map[string]bool{}
	for _, c := range checks {
		if c.rule == "" || names[c.rule] || !strings.Contains(c.rfc, "§") {
			t.Errorf("the check %q (%q) needs a name of its own and a section", c.rule, c.rfc)
		}
		names[c.rule] = true
		if !refused[c.rfc] {
			t.Errorf("no vector shows the check %q (%s) refusing a request", c.rule, c.rfc)
		}
	}
}

// A check looks and changes nothing.
func TestChecksChangeNothing(t *testing.T) {
	s := newSite(t)
	for _, v := range vectors(t, "checks.jsonl") {
		p, err := s.handler.parse(ask(v.Change...), errTooLarge)
		if err != nil {
			t.Fatalf("%s: %v", v.Rule, err)
		}
		client := testClients()[0]
		request := newRequest(p)
		before := *request
		before.Scopes = slices.Clone(request.Scopes)
		for _, c := range checks {
			c.run(&inspected{config: &s.handler.config, prompts: s.handler.prompts, client: &client, request: request, params: p})
		}
		if diff := cmp.Diff(before, *request, cmp.AllowUnexported(Request{}, params{}, param{})); diff != "" {
			t.Errorf("%s: (-before +after)\n%s", v.Rule, diff)
		}
		if diff := cmp.Diff(testClients()[0], client); diff != "" {
			t.Errorf("%s: the client (-before +after)\n%s", v.Rule, diff)
		}
	}
}

func TestScopesOfTheRequest(t *testing.T) {
	for _, c := range []struct {
		rule   string
		client string
		scope  string
		prompt string
		want   string
	}{
		{"as asked, in that order", "web", "profile openid", "", "profile openid"},
		{"each once", "web", "openid profile openid", "", "openid profile"},
		{"the client's default", "only", "", "", "api:read"},
		{"the default stands in for none, not for some", "only", "api:write", "", "api:write"},
		{"offline_access is kept, so that host and page see it", "web", "openid offline_access", "", "openid offline_access"},
	} {
		clients := testClients()
		i := slices.IndexFunc(clients, func(x Client) bool { return x.ID == c.client })
		r := newRequest(params{list: []param{{"scope", c.scope}, {"prompt", c.prompt}}})
		r.fillIn(&Config{}, &clients[i], "https://a.example/cb")
		if got := strings.Join(r.Scopes, " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.rule, got, c.want)
		}
		if clients[i].DefaultScopes != nil && clients[i].DefaultScopes[0] != "api:read" {
			t.Errorf("%s: the client's own list was changed", c.rule)
		}
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
		if got := newRequest(params{list: []param{{"display", display}}}).Display; got != want {
			t.Errorf("display %q is %q, want %q", display, got, want)
		}
	}
}

func TestFeaturesThatAreOff(t *testing.T) {
	s := newSite(t, func(s *site) {
		s.config.IDTokenHint, s.config.Resource, s.config.ResponseTypes, s.config.Scopes, s.config.Parameters = nil, nil, nil, nil, nil
	})
	for _, c := range []struct {
		rule   string
		change string
		want   string
	}{
		{"a hint that nobody can verify is refused, not ignored", "id_token_hint=hint-of-alice", "client invalid_request"},
		{"resource is ignored", "resource=anything", "code"},
		{"response_type none", "response_type=none", "client unsupported_response_type"},
		{"a scope that only the client knows", "scope=api:read", "code"},
		{"a scope that not even the client knows", "scope=admin", "client invalid_scope"},
		{"a further parameter is unknown, so it may repeat", "x_tenant=a&x_tenant=b", "code"},
	} {
		s.visitor(alice()).get(ask(c.change)).want(t, c.rule, c.want)
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
	s := newSite(t, func(s *site) { s.config.Scopes = nil })
	client := testClients()[0]
	client.Scopes = []string{`a"b`, `a\b`, "é", "a\tb"}
	s.memory.PutClient(client)
	for _, scope := range []string{"a%22b", "a%5Cb", "%C3%A9", "a%09b"} {
		s.visitor(alice()).get(ask("scope="+scope)).want(t, scope, "client invalid_scope")
	}
}

// What the host is asked in the course of validation can fail or take too long.
func TestFunctionsOfTheHostThatFail(t *testing.T) {
	for _, c := range []struct {
		rule   string
		change func(*Config)
		ask    string
		want   string
	}{
		{"Resource fails", func(c *Config) {
			c.Resource = func(context.Context, *Client, string) (bool, error) { return true, errors.New("down") }
		}, "resource=https://api.example/", "client server_error"},
		{"Resource says that it is overloaded", func(c *Config) {
			c.Resource = func(context.Context, *Client, string) (bool, error) { return true, oautherr.TemporarilyUnavailable }
		}, "resource=https://api.example/", "client temporarily_unavailable"},
		{"Resource hangs", func(c *Config) {
			c.Timeout = impatient
			c.Resource = func(ctx context.Context, _ *Client, _ string) (bool, error) { <-ctx.Done(); return false, ctx.Err() }
		}, "resource=https://api.example/", "client temporarily_unavailable"},
		{"Resource answers too late", func(c *Config) {
			c.Timeout = impatient
			c.Resource = func(ctx context.Context, _ *Client, _ string) (bool, error) { <-ctx.Done(); return true, nil }
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
		{"IDTokenHint gives a subject that is too long", func(c *Config) {
			c.IDTokenHint = func(context.Context, string) (string, error) { return strings.Repeat("é", 128), nil }
		}, "id_token_hint=x", "client server_error"},
		{"IDTokenHint gives raw bytes", func(c *Config) {
			c.IDTokenHint = func(context.Context, string) (string, error) { return "\xff", nil }
		}, "id_token_hint=x", "client server_error"},
	} {
		s := newSite(t, func(s *site) { c.change(&s.config) })
		s.visitor(alice()).get(ask(c.ask)).want(t, c.rule, c.want)
	}
}

// A host can demand more than the protocol, of all clients or of one.
func TestRequiredParameters(t *testing.T) {
	for _, c := range []struct {
		rule        string
		all, client []string
		change      string
		want        string
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
		s := newSite(t, func(s *site) { s.config.Require = c.all })
		client := testClients()[0]
		client.Require, client.DefaultScopes = c.client, []string{"openid"}
		s.memory.PutClient(client)
		request := ask()
		if c.change != "" {
			request = ask(c.change)
		}
		s.visitor(alice()).get(request).want(t, c.rule, c.want)
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
		s := newSite(t, func(s *site) {
			s.config.Check = func(_ context.Context, r *Request) error {
				if r.Client == nil || r.Parameter("x_tenant") != "acme" || r.Subject != "alice" {
					t.Errorf("%s: asked about %v", c.rule, r)
				}
				return c.err
			}
		})
		got := s.visitor(alice()).get(ask("x_tenant=acme", "id_token_hint=hint-of-alice")).want(t, c.rule, c.want)
		if text := got.params["error_description"]; strings.Contains(text, "database") {
			t.Errorf("%s: the client reads %q", c.rule, text)
		}
		if refused := c.err != nil; refused == (s.sessions == 1) {
			t.Errorf("%s: the sessions were asked %d times", c.rule, s.sessions)
		}
	}
}

// What breaks a rule of the protocol never reaches the host's.
func TestTheHostsOwnRulesComeLast(t *testing.T) {
	asked := 0
	s := newSite(t, func(s *site) {
		s.config.Check = func(context.Context, *Request) error { asked++; return nil }
	})
	for _, v := range vectors(t, "checks.jsonl") {
		before := asked
		v.run(t, s)
		if refused := strings.HasPrefix(v.Want, "client "); refused && !strings.Contains(v.Want, "_required") && asked != before {
			t.Errorf("%s: the host was asked", v.Rule)
		}
	}
	if asked == 0 {
		t.Error("the host was never asked")
	}
}

// A rule that changes while the user signs in holds when the user is back.
func TestTheHostsOwnRulesAreAskedAgain(t *testing.T) {
	closed := false
	s := newSite(t, func(s *site) {
		s.config.Check = func(context.Context, *Request) error {
			if closed {
				return oautherr.TemporarilyUnavailable
			}
			return nil
		}
	})
	v := s.visitor(nil)
	at := v.get(ask()).want(t, "open", "login")
	v.session, closed = alice(), true
	v.resume(at).want(t, "closed", "client temporarily_unavailable")
}
