package main

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// profileHeader is where a client sends the JWT of its user.
const profileHeader = "x-profile-jwt"

// whoAsks is the SessionStore. The endpoint asks it once a request has proven valid, so
// that nothing else makes a profile. A token that is not good is nobody's, and never a
// reason to make one: the user would lose the profile that there is.
func (s *server) whoAsks(r *http.Request) (*session.Session, error) {
	asked := callOf(r.Context()).request
	id, sent := "", r.Header.Values(profileHeader)
	switch len(sent) {
	case 0:
		var err error
		if id, err = s.profiles.create(asked); err != nil {
			return nil, err
		}
	case 1:
		// A token that one client has is worth nothing to the others.
		c, err := s.tokens.verify(sent[0])
		if err != nil || c.ClientID != asked.ClientID || !s.profiles.keep(c.Subject) {
			return nil, nil
		}
		id = c.Subject
	default:
		return nil, nil
	}
	return &session.Session{Subject: id, AuthTime: s.profiles.now()}, nil
}

const (
	maxProfiles = 10_000

	// retryWindow is how long a request that comes again gets the profile that it got.
	retryWindow = 10 * time.Minute
)

// profiles are in memory here, and forgotten when no token can lead to them any more. A
// database keeps them for good, with a unique index on the request for what made is.
type profiles struct {
	now func() time.Time
	max int

	mu    sync.Mutex
	until map[string]time.Time       // by id
	made  map[[sha256.Size]byte]made // by request
}

type made struct {
	id    string
	until time.Time
}

func newProfiles(now func() time.Time) *profiles {
	return &profiles{now: now, max: maxProfiles, until: map[string]time.Time{}, made: map[[sha256.Size]byte]made{}}
}

// create makes the profile of a request, once: a client that has not got its answer
// sends the same request again, maybe before the first one is through. Each gets a code
// of its own, because a code works once, and all codes are of the same profile. What
// makes that safe is the challenge: who has not made the request cannot redeem them.
func (p *profiles) create(r *authorize.Request) (id string, err error) {
	request := hash(fmt.Sprintf("%q %q %q", r.ClientID, r.State, r.CodeChallenge))
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if m, found := p.made[request]; found && now.Before(m.until) {
		p.until[m.id] = now.Add(codeLifetime + tokenLifetime)
		return m.id, nil
	}
	if len(p.until) >= p.max {
		maps.DeleteFunc(p.until, func(_ string, until time.Time) bool { return !now.Before(until) })
		maps.DeleteFunc(p.made, func(_ [sha256.Size]byte, m made) bool { return !now.Before(m.until) })
	}
	if len(p.until) >= p.max {
		return "", oautherr.TemporarilyUnavailable.Because(fmt.Errorf("there are %d profiles", len(p.until)))
	}
	id = rand.Text()
	p.until[id] = now.Add(codeLifetime + tokenLifetime)
	p.made[request] = made{id, now.Add(retryWindow)}
	return id, nil
}

// keep reports whether there is such a profile, and keeps it for the next token.
func (p *profiles) keep(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if !now.Before(p.until[id]) {
		return false
	}
	p.until[id] = now.Add(codeLifetime + tokenLifetime)
	return true
}

func (p *profiles) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.until)
}
