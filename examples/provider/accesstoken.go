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

// accessToken is what a token stands for.
type accessToken struct {
	clientID string
	subject  string
	scopes   []string
	claims   []string // that userinfo tells beyond those of the scopes

	token   string // its hash
	revoked bool
	expires time.Time
}

// accessTokens keeps one token for each code, so that a code that comes twice can
// take the token back. Nothing is kept in clear.
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

// issue returns a new token. A replay may have come before its code's own redemption
// got this far; then there is none.
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

// find returns what the token stands for, and false if that is nothing any more.
func (a *accessTokens) find(token string) (accessToken, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.byToken[hash(token)]
	if t == nil || t.revoked || !a.now().Before(t.expires) {
		return accessToken{}, false
	}
	return *t, true
}

// revoke ends what was issued for the code or still would be.
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

// room makes room by dropping what has expired. Where there is none no token is
// issued either, so a revocation that finds no place has nothing to revoke.
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
