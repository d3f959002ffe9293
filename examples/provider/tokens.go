package main

import (
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/tokenendpoint"
	oautherr "github.com/usher-auth/usher/errors"
)

const (
	accessTokenLifetime  = time.Hour
	refreshTokenLifetime = 30 * 24 * time.Hour

	// refreshGrace is how long a refresh token is good after its first use. Several processes
	// of a client share one, and a response can get lost.
	refreshGrace = 10 * time.Second

	maxFamilies = 100_000
	maxInFamily = 50 // of each kind; the oldest one gives way
)

// tokens keeps the tokens of each code together, so that they can end together. It stores only
// hashes of them.
type tokens struct {
	now func() time.Time
	max int

	mu       sync.Mutex
	families map[string]*family // by Code.GrantID
}

// family is what was issued for one code. One that has ended is empty, and stays so.
type family struct {
	code       *authorize.Code
	remembered bool // the consent was in the store, and has to stay there

	access, refresh []*token
	prefix          string // the hash of what all its refresh tokens begin with

	expires time.Time // the last of its tokens
}

type token struct {
	hash    string
	expires time.Time

	scopes, resources []string // of an access token
}

func newTokens(now func() time.Time) *tokens {
	return &tokens{now: now, max: maxFamilies, families: map[string]*family{}}
}

// issue returns the first tokens for a code. If a replay of the code came first, it returns an
// error.
func (t *tokens) issue(code *authorize.Code, remembered bool) (*tokenendpoint.Response, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.families[code.GrantID] != nil {
		return nil, oautherr.InvalidGrant.Because(errors.New("the code was revoked while it was redeemed"))
	}
	if !t.room() {
		return nil, oautherr.TemporarilyUnavailable.Because(errors.New("the store of tokens is full"))
	}
	prefix := code.GrantID + separator + rand.Text()
	f := &family{code: code, remembered: remembered, prefix: tokenendpoint.SecretHash(prefix)}
	t.families[code.GrantID] = f
	return t.add(f, prefix, code.Scopes, code.Resources), nil
}

// refreshable returns the code that a refresh token of the client came of, and whether the
// consent to it was remembered.
func (t *tokens) refreshable(sent, clientID string) (code *authorize.Code, remembered bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f, _, err := t.findRefresh(sent, clientID)
	if err != nil {
		return nil, false, err
	}
	return f.code, f.remembered, nil
}

// rotate returns the next tokens after a refresh token. The access token is for the scopes and
// resources.
func (t *tokens) rotate(sent, clientID string, scopes, resources []string) (*tokenendpoint.Response, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f, used, err := t.findRefresh(sent, clientID)
	if err != nil {
		return nil, err
	}
	if end := t.now().Add(refreshGrace); end.Before(used.expires) {
		used.expires = end
	}
	return t.add(f, prefixOf(sent), scopes, resources), nil
}

// findRefresh looks a refresh token up. Whoever knows the prefix of a family has had one of its
// tokens. If this one is not there, it was used some time ago and comes again: the client or a
// thief has an old copy, so the family ends (RFC 9700 §4.14.2).
func (t *tokens) findRefresh(sent, clientID string) (*family, *token, error) {
	f := t.family(sent)
	switch {
	case f == nil || !tokenendpoint.SecretMatches(prefixOf(sent), f.prefix):
		return nil, nil, notGood("unknown, expired or revoked")
	case f.code.ClientID != clientID:
		return nil, nil, notGood("issued to another client")
	}
	found := t.good(f.refresh, sent)
	if found == nil {
		t.end(f)
		return nil, nil, notGood("used before or expired: all tokens of its family are revoked")
	}
	return f, found, nil
}

// find returns the code that an access token came of, and the token. Both are nil if the token
// is unknown, revoked or expired.
func (t *tokens) find(sent string) (*authorize.Code, *token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := t.family(sent); f != nil {
		if found := t.good(f.access, sent); found != nil {
			return f.code, found
		}
	}
	return nil, nil
}

// revoke ends all tokens of a code. If there are none yet, none will be issued.
func (t *tokens) revoke(grantID string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.families[grantID]
	if f == nil {
		if !t.room() {
			return // no token is issued without room
		}
		f = &family{}
		t.families[grantID] = f
	}
	t.end(f)
}

// end keeps the empty family for longer than any code is good.
func (t *tokens) end(f *family) { *f = family{expires: t.now().Add(accessTokenLifetime)} }

// separator is in no GrantID and in no rand.Text.
const separator = "~"

// family returns the family of a token, or nil.
func (t *tokens) family(sent string) *family {
	grantID, _, _ := strings.Cut(sent, separator)
	return t.families[grantID]
}

// prefixOf is all of a refresh token but its last part, which changes with each use.
func prefixOf(refresh string) string {
	prefix, _, _ := cutLast(refresh, separator)
	return prefix
}

// good finds a token in the list that has not expired, or nil.
func (t *tokens) good(list []*token, sent string) *token {
	now := t.now()
	for _, one := range list {
		if tokenendpoint.SecretMatches(sent, one.hash) && now.Before(one.expires) {
			return one
		}
	}
	return nil
}

// add puts new tokens into a family. There is a refresh token only for offline access.
func (t *tokens) add(f *family, prefix string, scopes, resources []string) *tokenendpoint.Response {
	now := t.now()
	keep := func(list *[]*token, text string, lifetime time.Duration) {
		*list = slices.DeleteFunc(*list, func(one *token) bool { return !now.Before(one.expires) })
		if len(*list) == maxInFamily {
			*list = slices.Delete(*list, 0, 1)
		}
		*list = append(*list, &token{tokenendpoint.SecretHash(text), now.Add(lifetime), scopes, resources})
		f.expires = now.Add(lifetime)
	}
	next := &tokenendpoint.Response{
		AccessToken: f.code.GrantID + separator + rand.Text(), ExpiresIn: accessTokenLifetime, Scopes: scopes,
	}
	if f.code.GrantData != nil {
		next.Members = map[string]any{"workspace": string(f.code.GrantData)}
	}
	keep(&f.access, next.AccessToken, accessTokenLifetime)
	if slices.Contains(f.code.Scopes, "offline_access") {
		next.RefreshToken = prefix + separator + rand.Text()
		keep(&f.refresh, next.RefreshToken, refreshTokenLifetime)
	}
	return next
}

// room reports whether the store has room, after it dropped what has expired.
func (t *tokens) room() bool {
	if len(t.families) < t.max {
		return true
	}
	now := t.now()
	for id, f := range t.families {
		if !now.Before(f.expires) {
			delete(t.families, id)
		}
	}
	return len(t.families) < t.max
}

// notGood is the same error for the client in all cases, with the reason for the log.
func notGood(why string) error {
	return &oautherr.Error{
		Code:        oautherr.InvalidGrant,
		Description: "The refresh token is unknown, expired, used, revoked or was issued to someone else.",
		Cause:       errors.New(why),
	}
}
