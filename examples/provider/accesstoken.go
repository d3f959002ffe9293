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
	accessTokenLifetime  = time.Hour
	refreshTokenLifetime = 30 * 24 * time.Hour // from its issue; each use gives a new one

	// refreshGrace is how long a refresh token still works after its first use. Several
	// processes of a client may share one, and a response may be lost.
	refreshGrace = 10 * time.Second

	maxTokens = 100_000
)

// grant is what one code stands for, and all tokens that come of it.
type grant struct {
	id        string // Code.GrantID
	clientID  string
	subject   string
	scopes    []string
	claims    []string // for userinfo, beyond those of the scopes
	resources []string

	ended   bool      // its tokens are revoked
	expires time.Time // when its last token does
}

// token is an access token or a refresh token.
type token struct {
	*grant
	scopes    []string // of this token: those of the grant, or fewer
	resources []string
	refreshes bool
	expires   time.Time
	used      time.Time // the first use of a refresh token; zero before
}

// tokenStore keeps tokens by their hashes. A replay of a code, and a refresh token that comes
// back late, end the whole grant.
type tokenStore struct {
	now func() time.Time
	max int

	mu     sync.Mutex
	tokens map[string]*token // by the hash of the token
	grants map[string]*grant // by their id
}

func newTokenStore(now func() time.Time) *tokenStore {
	return &tokenStore{now: now, max: maxTokens, tokens: map[string]*token{}, grants: map[string]*grant{}}
}

// issue returns the first tokens of a grant; without offline there is no refresh token. It is
// an error if a replay of the code came first.
func (s *tokenStore) issue(g grant, resources []string, offline bool) (access, refresh string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.grants[g.id] != nil {
		return "", "", oautherr.InvalidGrant.Because(errors.New("the code was revoked while it was redeemed"))
	}
	if !s.room(3) {
		return "", "", errTokensFull
	}
	s.grants[g.id] = &g
	access = s.add(token{grant: &g, scopes: g.scopes, resources: resources}, accessTokenLifetime)
	if offline {
		refresh = s.add(token{grant: &g, refreshes: true}, refreshTokenLifetime)
	}
	return access, refresh, nil
}

var errTokensFull = oautherr.TemporarilyUnavailable.Because(errors.New("the store of tokens is full"))

// add keeps a token. The caller holds the lock.
func (s *tokenStore) add(t token, lifetime time.Duration) string {
	random := randomToken()
	t.expires = s.now().Add(lifetime)
	if t.grant.expires.Before(t.expires) {
		t.grant.expires = t.expires
	}
	s.tokens[hash(random)] = &t
	return random
}

// find returns the content of an access token, and false if it is unknown, revoked or expired.
func (s *tokenStore) find(access string) (token, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokens[hash(access)]
	if t == nil || t.refreshes || t.ended || !s.now().Before(t.expires) {
		return token{}, false
	}
	return *t, true
}

// take takes a refresh token of the client and returns its grant. check says whether the
// request may have what it asks for; if not, the token is not used up.
func (s *tokenStore) take(refresh, clientID string, check func(*grant) error) (*token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, now := s.tokens[hash(refresh)], s.now()
	if t == nil || !t.refreshes || t.ended || t.clientID != clientID || !now.Before(t.expires) {
		return nil, errRefreshToken
	}
	if !t.used.IsZero() && now.Sub(t.used) > refreshGrace {
		t.ended = true // somebody else has used it: nobody can say who
		return nil, errRefreshToken
	}
	if err := check(t.grant); err != nil {
		return nil, err
	}
	if !s.room(2) {
		return nil, errTokensFull
	}
	if t.used.IsZero() {
		t.used = now
	}
	return t, nil
}

var errRefreshToken = oautherr.InvalidGrant.With("The refresh token is unknown, expired, used or revoked.")

// renew returns the next tokens of a refresh token that was taken.
func (s *tokenStore) renew(t *token, scopes, resources []string) (access, refresh string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	access = s.add(token{grant: t.grant, scopes: scopes, resources: resources}, accessTokenLifetime)
	return access, s.add(token{grant: t.grant, refreshes: true}, refreshTokenLifetime)
}

// end revokes all tokens of a grant. If there are none yet, none will be issued.
func (s *tokenStore) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.grants[id]
	if g == nil && s.room(1) {
		g = &grant{id: id, expires: s.now().Add(accessTokenLifetime)}
		s.grants[id] = g
	}
	if g != nil {
		g.ended = true
	}
}

// room reports whether the store has room for so many more, after it dropped what has expired.
// Without room no token is issued, so a revocation that finds no room has nothing to revoke.
func (s *tokenStore) room(more int) bool {
	if len(s.tokens)+len(s.grants)+more <= s.max {
		return true
	}
	now := s.now()
	for hash, t := range s.tokens {
		if !now.Before(t.expires) {
			delete(s.tokens, hash)
		}
	}
	for id, g := range s.grants {
		if !now.Before(g.expires) {
			delete(s.grants, id)
		}
	}
	return len(s.tokens)+len(s.grants)+more <= s.max
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
