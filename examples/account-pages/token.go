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

// whoIsSignedIn is the endpoint's SessionStore. It reads the access token in the
// Authorization header, or else the cookie.
//
// If there is a bearer token, the cookie does not count: with an invalid token nobody is
// signed in, because the app must not get a response for the wrong user. The same holds if
// token and cookie are of two users: the user has to sign in. Other schemes, such as those
// of a proxy, are ignored.
//
// Another site cannot make a browser send this header: its script would need permission by
// CORS, and nothing here gives it. So the token needs no other protection against forged
// requests than the cookie. All responses that depend on either have Cache-Control:
// no-store, so that no cache uses the response for one token for another.
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

// tokens are access tokens for a demonstration. A token has the session of the sign-in that
// made it, with the same ID, so that pages completed with one count with the other.
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
