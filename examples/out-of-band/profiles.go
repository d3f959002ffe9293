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

// whoAsks is the SessionStore. The endpoint calls it only for valid requests, so that others
// make no profile. An invalid token signs nobody in and never makes a new profile: the user
// would lose the old one.
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
		// A token works only for its own client.
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
	maxProfiles = 10_000 // for each client: its key is in every copy of the program

	// retryWindow is how long a repeated request gets the same profile.
	retryWindow = 10 * time.Minute

	// profileLifetime is the time until the refresh token of a new code has expired.
	profileLifetime = codeLifetime + refreshLifetime
)

// profiles are in memory here, and are deleted when no token can refer to them any more. A
// database would keep them, with a unique index on the request in place of made.
type profiles struct {
	now func() time.Time
	max int

	mu     sync.Mutex
	forgot time.Time                  // the last time forget ran
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

// create makes the profile of a request, once. A client that got no response sends the same
// request again, perhaps before the first one is complete. Each request gets its own code,
// because a code works once, and all codes are for the same profile. This is safe because of
// the challenge: only the client that made the request can redeem them.
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

// put keeps a profile until the tokens of a request made now have expired.
func (p *profiles) put(id, client string) {
	if _, there := p.all[id]; !there {
		p.count[client]++
	}
	p.all[id] = profile{client, p.now().Add(profileLifetime)}
}

// forget deletes what has expired, at most once a second.
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

// keep reports whether the profile exists, and keeps it for the next token.
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
