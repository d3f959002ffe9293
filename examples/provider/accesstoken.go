package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"sync"
	"time"

	oautherr "github.com/usher-auth/usher/errors"
)

const (
	accessTokenLifetime = time.Hour
	maxAccessTokens     = 100_000
)

// accessToken is the content of a token.
type accessToken struct {
	clientID string
	subject  string
	scopes   []string
	claims   []string // for userinfo, beyond those of the scopes

	token   string // the hash of the token
	revoked bool
	expires time.Time
}

// accessTokens keeps one token for each code, so that a second redemption of the code can
// revoke the token. It stores only hashes of codes and tokens.
type accessTokens struct {
	now func() time.Time
	max int

	mu      sync.Mutex
	byGrant map[string]*accessToken // by the hash of the code
	byToken map[string]*accessToken // by the hash of the token
}

func newAccessTokens(now func() time.Time) *accessTokens {
	return &accessTokens{
		now:     now,
		max:     maxAccessTokens,
		byGrant: map[string]*accessToken{},
		byToken: map[string]*accessToken{},
	}
}

// issue returns a new token. If a replay of the code came first, it returns an error.
func (a *accessTokens) issue(grant string, t accessToken) (string, error) {
	token := randomToken()
	t.token, t.expires = hash(token), a.now().Add(accessTokenLifetime)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byGrant[grant] != nil {
		return "", oautherr.InvalidGrant.Because(errors.New("the code was revoked while it was redeemed"))
	}
	if !a.room() {
		return "", oautherr.TemporarilyUnavailable.Because(errors.New("the store of access tokens is full"))
	}
	a.byGrant[grant], a.byToken[t.token] = &t, &t
	return token, nil
}

// find returns the content of the token, and false if it is unknown, revoked or expired.
func (a *accessTokens) find(token string) (accessToken, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.byToken[hash(token)]
	if t == nil || t.revoked || !a.now().Before(t.expires) {
		return accessToken{}, false
	}
	return *t, true
}

// revoke revokes the token of the code. If there is none yet, none will be issued.
func (a *accessTokens) revoke(grant string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t := a.byGrant[grant]; t != nil {
		t.revoked = true
		return
	}
	if a.room() {
		a.byGrant[grant] = &accessToken{revoked: true, expires: a.now().Add(accessTokenLifetime)}
	}
}

// room reports whether the store has room, after it dropped what has expired. Without
// room no token is issued, so a revocation that finds no room has nothing to revoke.
func (a *accessTokens) room() bool {
	if len(a.byGrant) < a.max {
		return true
	}
	now := a.now()
	for grant, t := range a.byGrant {
		if !now.Before(t.expires) {
			delete(a.byGrant, grant)
			delete(a.byToken, t.token)
		}
	}
	return len(a.byGrant) < a.max
}

// randomToken returns 256 random bits.
func randomToken() string {
	random := make([]byte, 32)
	rand.Read(random)
	return base64.RawURLEncoding.EncodeToString(random)
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
