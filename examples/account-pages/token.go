package main

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/usher-auth/usher/session"
)

// whoIsSignedIn is the endpoint's SessionStore: the access token in the Authorization
// header or else the cookie.
//
// A bearer token decides alone: with a bad one nobody is signed in, even if there is
// a cookie, because an app must not be answered for another user than it thinks. So is
// one of another user than the cookie's: who of the two is there has to be asked.
// Other schemes are a proxy's business and leave the cookie in force.
//
// No other site can make a browser send this header: that takes a script and leave by
// CORS, which nothing here gives. So a token needs no protection against forged
// requests beyond that of the cookie. All that depends on either is sent with
// Cache-Control: no-store: no cache may hand the answer for one token to another.
func (s *server) whoIsSignedIn(r *http.Request) (*session.Session, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	current, err := s.cookies.Session(r)
	if err != nil || !strings.EqualFold(scheme, "Bearer") {
		return current, err
	}
	byToken := s.tokens.find(strings.TrimSpace(token))
	if byToken.SignedIn() && current.SignedIn() && byToken.Subject != current.Subject {
		return nil, nil
	}
	return byToken, nil
}

const (
	tokenLifetime = 10 * time.Minute
	maxTokens     = 10_000
)

var errTooManyTokens = errors.New("there are too many access tokens")

// tokens are access tokens for a demonstration. Each stands for the sign-in that made
// it: the session's ID is the same, so that what the user has done with the one counts
// with the other.
type tokens struct {
	mu     sync.Mutex
	byHash map[[sha256.Size]byte]grant
	now    func() time.Time
}

type grant struct {
	session session.Session
	expires time.Time
}

func newTokens(now func() time.Time) *tokens {
	return &tokens{byHash: map[[sha256.Size]byte]grant{}, now: now}
}

func (t *tokens) issue(s session.Session) (token string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if len(t.byHash) >= maxTokens {
		maps.DeleteFunc(t.byHash, func(_ [sha256.Size]byte, g grant) bool { return !now.Before(g.expires) })
	}
	if len(t.byHash) >= maxTokens {
		return "", errTooManyTokens
	}
	token = rand.Text()
	t.byHash[sha256.Sum256([]byte(token))] = grant{s, now.Add(tokenLifetime)}
	return token, nil
}

// find returns the session of the token, or nil.
func (t *tokens) find(token string) *session.Session { return t.get(sha256.Sum256([]byte(token))) }

// get is find for the hash of a token.
func (t *tokens) get(hash [sha256.Size]byte) *session.Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	g, found := t.byHash[hash]
	if !found || !t.now().Before(g.expires) {
		return nil
	}
	return &g.session
}

// revoke ends all tokens of a sign-in.
func (t *tokens) revoke(sessionID string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.byHash, func(_ [sha256.Size]byte, g grant) bool { return g.session.ID == sessionID })
}
