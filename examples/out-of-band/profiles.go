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
	maxProfiles = 10_000 // of one client, whose key is in every copy of it

	// retryWindow is how long a request that comes again gets the profile that it got.
	retryWindow = 10 * time.Minute

	// profileLifetime reaches to the end of the last refresh token that a code for the
	// profile can lead to.
	profileLifetime = codeLifetime + refreshLifetime
)

// profiles are in memory here, and forgotten when no token can lead to them any more. A
// database keeps them for good, with a unique index on the request for what made is.
type profiles struct {
	now func() time.Time
	max int

	mu     sync.Mutex
	forgot time.Time                  // when that was last done
	all    map[string]profile         // by id
	count  map[string]int             // by client
	made   map[[sha256.Size]byte]made // by request
}

type profile struct {
	client string
	until  time.Time
}

type made struct {
	id    string
	until time.Time
}

func newProfiles(now func() time.Time) *profiles {
	return &profiles{
		now:   now,
		max:   maxProfiles,
		all:   map[string]profile{},
		count: map[string]int{},
		made:  map[[sha256.Size]byte]made{},
	}
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
		p.put(m.id, r.ClientID)
		return m.id, nil
	}
	p.forget(now)
	if n := p.count[r.ClientID]; n >= p.max {
		return "", oautherr.TemporarilyUnavailable.Because(fmt.Errorf("the client has %d profiles", n))
	}
	id = rand.Text()
	p.put(id, r.ClientID)
	p.made[request] = made{id, now.Add(retryWindow)}
	return id, nil
}

// put keeps a profile for as long as a token can lead to it that is asked for now.
func (p *profiles) put(id, client string) {
	if _, there := p.all[id]; !there {
		p.count[client]++
	}
	p.all[id] = profile{client, p.now().Add(profileLifetime)}
}

// forget drops what is over, and looks for it once a second at most.
func (p *profiles) forget(now time.Time) {
	if now.Sub(p.forgot).Abs() < time.Second {
		return
	}
	p.forgot = now
	maps.DeleteFunc(p.made, func(_ [sha256.Size]byte, m made) bool { return !now.Before(m.until) })
	for id, x := range p.all {
		if !now.Before(x.until) {
			delete(p.all, id)
			p.count[x.client]--
		}
	}
}

// keep reports whether there is such a profile, and keeps it for the next token.
func (p *profiles) keep(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	x, there := p.all[id]
	if !there || !p.now().Before(x.until) {
		return false
	}
	p.put(id, x.client)
	return true
}

func (p *profiles) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.all)
}
