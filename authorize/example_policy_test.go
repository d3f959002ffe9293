package authorize_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// staffOnly is a Config.Allow: only the staff may use the payroll.
func staffOnly(_ context.Context, s *session.Session, r *authorize.Request) (bool, error) {
	return r.ClientID != "payroll" || slices.Contains([]string{"alice", "carol"}, s.Subject), nil
}

// noFormPost is a Config.CheckRequest: this host sends responses only by redirect.
func noFormPost(_ context.Context, r *authorize.Request) error {
	if r.ResponseMode == "form_post" {
		return oautherr.InvalidRequest.With("response_mode form_post is not supported here.")
	}
	return nil
}

// A host tests its policy in a table, without a browser: the user, the request, and the
// action of the endpoint. If a row fails, the text of the Explanation shows all rules.
func ExampleHandler_Explain() {
	client := authorizetest.Client{
		Issuer: "https://accounts.example", ID: "payroll", RedirectURI: "https://payroll.example/callback",
		Scopes: []string{"salary"},
	}
	memory := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{
		{ID: client.ID, RedirectURIs: []string{client.RedirectURI}, Scopes: client.Scopes},
	}})
	endpoint, err := authorize.New(authorize.Config{
		Issuer: client.Issuer, Clients: memory, Codes: memory, Login: authorize.LoginURL("/login"),
		Sessions: authorize.SessionFunc(func(*http.Request) (*session.Session, error) { return nil, nil }),
		Allow:    staffOnly, CheckRequest: noFormPost,
	})
	if err != nil {
		log.Fatal(err)
	}
	staff := &session.Session{Subject: "alice", AuthTime: time.Now().Add(-time.Hour)}
	guest := &session.Session{Subject: "mallory", AuthTime: time.Now()}
	for _, test := range []struct {
		rule   string
		user   *session.Session
		change url.Values // to the usual request
		want   authorize.Action
	}{
		{"the staff may", staff, nil, authorize.ActionApproval},
		{"guests may not", guest, nil, authorize.ActionError},
		{"login without a session", nil, nil, authorize.ActionLogin},
		{"login if the session is too old", staff, url.Values{"max_age": {"60"}}, authorize.ActionLogin},
		{"no form_post", staff, url.Values{"response_mode": {"form_post"}}, authorize.ActionError},
		{"no other scope", staff, url.Values{"scope": {"salary admin"}}, authorize.ActionError},
		{"no other redirect URI", staff, url.Values{"redirect_uri": {"https://evil.example/"}}, authorize.ActionPage},
	} {
		e := endpoint.Explain(context.Background(), client.Start(test.change).URL, test.user)
		if e.Action != test.want {
			log.Fatal(test.rule, "\n", e) // in a test: t.Errorf("%s", e)
		}
		line := test.rule + ": " + string(e.Action)
		for _, check := range e.Checks {
			if !check.Passed {
				line += ", because this fails: " + check.Name + " (" + check.Section + ")"
			}
		}
		fmt.Println(line)
	}
	// Output:
	// the staff may: approval
	// guests may not: error, because this fails: the policy of the host allows it, and no page is needed (OpenID Connect Core 1.0 §3.1.2.4)
	// login without a session: login, because this fails: the sign-in is what the request asks for (OpenID Connect Core 1.0 §3.1.2.3)
	// login if the session is too old: login, because this fails: the sign-in is what the request asks for (OpenID Connect Core 1.0 §3.1.2.3)
	// no form_post: error, because this fails: the host's own rules (RFC 6749 §4.1.2.1)
	// no other scope: error, because this fails: every scope is known and open to the client (RFC 6749 §3.3)
	// no other redirect URI: page, because this fails: the redirect URI is one that the client has registered (RFC 6749 §3.1.2.4)
}
