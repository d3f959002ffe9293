package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	oautherr "github.com/usher-auth/usher/errors"
)

// refreshTokens are what a client gets a new JWT with, so that it need not go to the
// authorization endpoint again. Each works once and for its client alone; with the JWT
// comes the next one. All that came one after the other from one code are a family: who
// sends one a second time, or a code a second time, ends it, because one of the two who
// sent it is a thief (RFC 9700 §4.14.2).
//
// A client that has not got the answer therefore sends the JWT that it has to the
// authorization endpoint, and not the same token again.
type refreshTokens struct {
	now func() time.Time
	max int
	key []byte // proves that a token is one of these; new with each process

	mu       sync.Mutex
	families map[string]*family // by the hash of the code
}

// family is kept until its last token expires. A database keeps it there, and changes
// the number in the same transaction in which it looks at it.
type family struct {
	client, subject string
	scopes          []string

	number  int // of the one token that is good
	revoked bool
	until   time.Time
}

// refreshLifetime is how long one token lasts; the next one lasts as long again.
const (
	refreshLifetime = 24 * time.Hour
	maxFamilies     = 100_000
)

// notGood is one error for the client, with the reason for the log.
func notGood(why string) error { return oautherr.InvalidGrant.Because(errors.New(why)) }

func newRefreshTokens(now func() time.Time) *refreshTokens {
	key := make([]byte, sha256.Size)
	rand.Read(key)
	return &refreshTokens{now: now, max: maxFamilies, key: key, families: map[string]*family{}}
}

// familyOf names the family of a code.
func familyOf(code string) string {
	sum := hash(code)
	return encode(sum[:])
}

// issue returns the first token of a family; none where there is no room: then the client
// goes to the authorization endpoint once more when its JWT ends. A code that came twice
// meanwhile has ended the family.
func (r *refreshTokens) issue(id string, f family) (token string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.families[id] != nil {
		return "", notGood("the code came twice")
	}
	if !r.room() {
		return "", nil
	}
	f.until = r.now().Add(refreshLifetime)
	r.families[id] = &f
	return r.write(id, f.number), nil
}

// use takes a token of the client and returns the next one, and what the JWT beside it
// is for. A scope that is refused uses nothing up.
func (r *refreshTokens) use(token, client, scope string) (next string, f family, err error) {
	id, number, genuine := r.read(token)
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.families[id]
	switch {
	case !genuine:
		return "", family{}, notGood("not one that was issued here")
	case found == nil || found.revoked || !r.now().Before(found.until):
		return "", family{}, notGood("expired or revoked")
	case found.client != client:
		return "", family{}, notGood("it is another client's")
	case found.number != number:
		found.revoked = true
		return "", family{}, notGood("it came twice: its family is revoked")
	}
	f = *found
	if f.scopes, err = found.narrowed(scope); err != nil {
		return "", family{}, err
	}
	found.number++
	found.until = r.now().Add(refreshLifetime)
	return r.write(id, found.number), f, nil
}

// revoke ends the family of a code, or keeps it from beginning.
func (r *refreshTokens) revoke(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.families[id]; f != nil {
		f.revoked = true
	} else if r.room() {
		r.families[id] = &family{revoked: true, until: r.now().Add(codeLifetime)}
	}
}

// room drops what has expired where there is no room otherwise.
func (r *refreshTokens) room() bool {
	if len(r.families) >= r.max {
		now := r.now()
		maps.DeleteFunc(r.families, func(_ string, f *family) bool { return !now.Before(f.until) })
	}
	return len(r.families) < r.max
}

// write makes a token: nothing of it has to be kept but its number.
func (r *refreshTokens) write(id string, number int) string {
	content := id + "." + strconv.Itoa(number)
	return content + "." + encode(r.proof(content))
}

func (r *refreshTokens) read(token string) (id string, number int, genuine bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > maxToken {
		return "", 0, false
	}
	id = parts[0]
	number, err := strconv.Atoi(parts[1])
	given, damaged := decode(parts[2])
	genuine = err == nil && damaged == nil && hmac.Equal(given, r.proof(id+"."+parts[1]))
	return id, number, genuine
}

func (r *refreshTokens) proof(content string) []byte {
	mac := hmac.New(sha256.New, r.key)
	mac.Write([]byte(content))
	return mac.Sum(nil)
}

// narrowed are the scopes that a refresh asks for, which may be fewer than those of the
// family (RFC 6749 §6).
func (f family) narrowed(asked string) ([]string, error) {
	scopes := strings.Fields(asked)
	if len(scopes) == 0 {
		return f.scopes, nil
	}
	for _, scope := range scopes {
		if !slices.Contains(f.scopes, scope) {
			return nil, oautherr.InvalidScope.With("The scope is more than what was granted.")
		}
	}
	return scopes, nil
}
