package tokenendpoint_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	"github.com/usher-auth/usher/authorize/tokenendpoint"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

type token struct {
	family          string // the GrantID of the code that it all came of
	client, subject string
	scopes          []string
	refreshes       bool
	expires, used   time.Time
}

type tokens struct {
	sync.Mutex
	issued map[string]*token // by SecretHash
	ended  map[string]bool   // families
}

func (t *tokens) issue(_ context.Context, _ *tokenendpoint.Request, c *authorize.Code) (*tokenendpoint.Response, error) {
	t.Lock()
	defer t.Unlock()
	return t.another(token{family: c.GrantID, client: c.ClientID, subject: c.Subject, scopes: c.Scopes})
}

func (t *tokens) replayed(_ context.Context, _ *tokenendpoint.Request, c *authorize.Code) error {
	t.Lock()
	defer t.Unlock()
	t.ended[c.GrantID] = true // for issue too, should it come later
	return nil
}

func (t *tokens) refresh(_ context.Context, r *tokenendpoint.Request) (*tokenendpoint.Response, error) {
	t.Lock()
	defer t.Unlock()
	old := t.find(r.Get("refresh_token"), true)
	if old == nil || old.client != r.Client.ID {
		return nil, oautherr.InvalidGrant.With("The refresh token is unknown, expired or revoked.")
	}
	if old.used.IsZero() {
		old.used = time.Now()
	}
	// Processes share a token and answers get lost, so a used one is good for some seconds more.
	t.ended[old.family] = time.Since(old.used) > 10*time.Second
	return t.another(*old)
}

func (t *tokens) another(grant token) (*tokenendpoint.Response, error) {
	if t.ended[grant.family] {
		return nil, oautherr.InvalidGrant.With("The code or refresh token was used before.")
	}
	access, refresh, a, r := rand.Text(), rand.Text(), grant, grant
	a.refreshes, a.expires = false, time.Now().Add(time.Hour)
	r.refreshes, r.expires, r.used = true, time.Now().AddDate(0, 1, 0), time.Time{}
	t.issued[tokenendpoint.SecretHash(access)], t.issued[tokenendpoint.SecretHash(refresh)] = &a, &r
	return &tokenendpoint.Response{AccessToken: access, RefreshToken: refresh, ExpiresIn: time.Hour, Scopes: grant.scopes}, nil
}

// find is nil for a token that is not good. The host's API, too, locks t and calls it.
func (t *tokens) find(value string, refreshes bool) *token {
	found := t.issued[tokenendpoint.SecretHash(value)]
	if found == nil || found.refreshes != refreshes || t.ended[found.family] || time.Now().After(found.expires) {
		return nil
	}
	return found
}

// A token endpoint with opaque access tokens, and refresh tokens that rotate.
func Example() {
	client := authorizetest.Client{Issuer: "https://as.example", ID: "app", RedirectURI: "https://app.example/callback"}
	client.Scopes, client.TokenEndpoint = []string{"notes"}, "https://as.example/token"
	memory := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{
		{ID: "app", Public: true, RedirectURIs: []string{client.RedirectURI}, Scopes: client.Scopes},
	}})
	endpoint, err := authorize.New(authorize.Config{
		Issuer: client.Issuer, Clients: memory, Codes: memory, Login: authorize.LoginURL("/login"),
		Sessions: authorize.SessionFunc(func(*http.Request) (*session.Session, error) {
			return &session.Session{Subject: "alice"}, nil
		}),
	})
	if err != nil {
		log.Fatal(err)
	}
	store := &tokens{issued: map[string]*token{}, ended: map[string]bool{}}
	handler, err := tokenendpoint.New(tokenendpoint.Config{
		Clients: memory, Redeem: endpoint.Redeem, Issue: store.issue, Replayed: store.replayed,
		Grants: map[string]tokenendpoint.Grant{"refresh_token": store.refresh},
	})
	if err != nil {
		log.Fatal(err)
	}
	flow, browser := client.Start(), authorizetest.NewBrowser()
	browser.Handle(client.Issuer, endpoint)
	page, _ := browser.Open(flow.URL)
	refresh := url.Values{"grant_type": {"refresh_token"}}
	for _, change := range []url.Values{nil, refresh, refresh, nil, refresh} {
		answer, err := flow.Exchange(handler, page.URL.Query().Get("code"), change)
		fmt.Println(answer["expires_in"], err)
		if first, ok := answer["refresh_token"].(string); ok && change == nil {
			refresh.Set("refresh_token", first)
		}
	}
	// Output:
	// 3600 <nil>
	// 3600 <nil>
	// 3600 <nil>
	// <nil> invalid_grant: The code is unknown, expired, used or was issued to someone else.
	// <nil> invalid_grant: The refresh token is unknown, expired or revoked.
}
