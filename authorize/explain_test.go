package authorize

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/usher-auth/usher/session"
)

// Each row is a request, and what is said of it in the end. That it is what the endpoint does
// is an invariant of the corpus.
func TestExplain(t *testing.T) {
	refusing := func(s *site) {
		s.config.Allow = func(context.Context, *session.Session, *Request) (bool, error) { return false, nil }
	}
	failing := func(s *site) {
		s.config.Allow = func(context.Context, *session.Session, *Request) (bool, error) { return false, errors.New("down") }
	}
	half := alice()
	half.SecondFactorPending = true
	long := alice()
	long.Subject = strings.Repeat("a", 256)
	for _, c := range []struct {
		rule   string
		change func(*site)
		query  string
		who    *session.Session
		want   string // the last line
		failed []string
	}{
		{"approved", nil, ask("scope=openid+email"), alice(), "-> approval satisfied https://app.example/cb", nil},
		{"nobody", nil, ask(), nil, "-> login login not_signed_in", []string{"the sign-in is what the request asks for: the page of login is needed: not_signed_in"}},
		{"half signed in", nil, ask(), half, "-> login login second_factor_pending", []string{"the sign-in is what the request asks for: the page of login is needed: second_factor_pending"}},
		{"a subject that cannot be", nil, ask(), long, "-> error server_error store_failed https://app.example/cb", []string{"the session is one that can be used: server_error"}},
		{"consent", withConsent, ask(), alice(), "-> interaction consent interaction", []string{"the policy of the host allows it, and no page is needed: the page of consent is needed: interaction"}},
		{"another page", withStep(Interaction{Name: "accounts", Prompt: "select_account", Page: "/accounts"}), ask("prompt=select_account"), alice(), "-> interaction accounts interaction", []string{"the policy of the host allows it, and no page is needed: the page of accounts is needed: interaction"}},
		{"the policy says no", refusing, ask(), alice(), "-> error access_denied forbidden https://app.example/cb", []string{"the policy of the host allows it, and no page is needed: forbidden"}},
		{"the policy fails", failing, ask(), alice(), "-> error server_error store_failed https://app.example/cb", []string{"the functions of the host work: server_error"}},
		{"an unknown client", nil, ask("client_id=gone"), alice(), "-> page invalid_client unknown_client", []string{"the client is known: invalid_client"}},
		{"another redirect URI", nil, ask("redirect_uri=https://app.example/"), alice(), "-> page redirect_uri_mismatch redirect_uri", []string{"the redirect URI is one that the client has registered: redirect_uri_mismatch"}},
		{"two rules are broken", nil, ask("scope=admin", "code_challenge_method=plain"), alice(), "-> error invalid_scope https://app.example/cb", []string{
			"every scope is known and open to the client: invalid_scope", "PKCE is present if required, complete and with S256: invalid_request",
		}},
		{"the host is not asked about what breaks a rule", nil, ask("scope=admin", "+resource=https://other.example/"), alice(), "-> error invalid_scope https://app.example/cb", []string{
			"every scope is known and open to the client: invalid_scope",
		}},
		{"the host is asked about what keeps them", nil, ask("+resource=https://other.example/"), alice(), "-> error invalid_target https://app.example/cb", []string{
			"every resource is allowed for the client: invalid_target",
		}},
		{"an unvetted client", withConsent, ask("client_id=new", "prompt=none"), nil, "-> page login_required not_signed_in", []string{"the sign-in is what the request asks for: not_signed_in"}},
		{"an unvetted client that has to ask", withConsent, ask("client_id=new"), alice(), "-> interaction consent interaction", []string{"the policy of the host allows it, and no page is needed: the page of consent is needed: interaction"}},
		{"the whole URL", nil, testEndpoint + "?" + ask(), alice(), "-> approval satisfied https://app.example/cb", nil},
		{"a question mark in front", nil, "?" + ask(), alice(), "-> approval satisfied https://app.example/cb", nil},
		{"a question mark in a value", nil, ask("state=a?b"), alice(), "-> approval satisfied https://app.example/cb", nil},
		{"a name that cannot be read", nil, "x%zz", alice(), "-> page invalid_request unreadable", []string{"the request can be read: invalid_request"}},
		{"a waiting request", nil, "req=eyJ0eXAiOiJ1c2hlci1yZXF1ZXN0K2p3dCJ9.e30.x", alice(), "-> page invalid_request no_request", []string{"the request can be read: invalid_request"}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t)
			if c.change != nil {
				c.change(s)
				s.restart()
			}
			e := s.handler.Explain(context.Background(), c.query, c.who)
			lines := strings.Split(e.String(), "\n")
			if last := lines[len(lines)-1]; last != c.want {
				t.Errorf("%q, want %q", last, c.want)
			}
			var failed []Check
			for _, check := range e.Checks {
				if !check.Passed {
					failed = append(failed, check)
				}
			}
			if len(failed) != len(c.failed) {
				t.Fatalf("%d checks failed:\n%s", len(failed), e)
			}
			for i, want := range c.failed {
				if got := failed[i].Name + ": " + failed[i].Detail; !strings.HasPrefix(got, want) {
					t.Errorf("%q, want %q", got, want)
				}
			}
			if e.Passed() != (c.failed == nil) || (e.Error != nil) != (e.Action == ActionPage || e.Action == ActionError) {
				t.Errorf("%+v", e)
			}
		})
	}
}

// What a code would be good for, and what not.
func TestExplainNamesTheScopes(t *testing.T) {
	s := newSite(t, func(s *site) { s.config.IgnoreUnknownScopes = true })
	e := s.handler.Explain(context.Background(), ask("scope=openid+groups+offline_access"), alice())
	if got := strings.Join(e.Scopes, " ") + " without " + strings.Join(e.LeftOut, " "); got != "openid without groups offline_access" {
		t.Errorf("%s", got)
	}
}

func TestAnExplanationToRead(t *testing.T) {
	e := newSite(t).handler.Explain(context.Background(), ask("client_id=gone"), nil)
	if want := "ok the request can be read (RFC 6749 §3.1)\n" +
		"no the client is known (RFC 6749 §2.2): invalid_client: The application is not known here.: " +
		"the ClientStore has no client \"gone\"\n-> page invalid_client unknown_client"; e.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", e, want)
	}
}
