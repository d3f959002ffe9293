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

// refreshTokens give a client a new JWT without the authorization endpoint. Each token works
// once and only for its client; the response has the next one. All tokens that follow from
// one code are a family. If a token or a code is sent a second time, the whole family is
// revoked, because one of the two senders is a thief (RFC 9700 §4.14.2).
//
// So a client that got no response must not send the same token again. It sends its old JWT
// to the authorization endpoint.
type refreshTokens struct {
	now func() time.Time
	max int
	key []byte // proves that a token is genuine; new in each process

	mu       sync.Mutex
	families map[string]*family // by the hash of the code
}

// family is kept until its last token expires. In a database, one transaction has to read
// and to change the number.
type family struct {
	client, subject string
	scopes          []string

	number  int // of the only valid token
	revoked bool
	until   time.Time
}

// refreshLifetime is the lifetime of each token.
const (
	refreshLifetime = 24 * time.Hour
	maxFamilies     = 100_000
)

// notGood is the same error for the client in all cases, with the reason for the log.
func notGood(why string) error { return oautherr.InvalidGrant.Because(errors.New(why)) }

func newRefreshTokens(now func() time.Time) *refreshTokens {
	key := make([]byte, sha256.Size)
	rand.Read(key)
	return &refreshTokens{now: now, max: maxFamilies, key: key, families: map[string]*family{}}
}

// familyOf returns the id of the family of a code.
func familyOf(code string) string {
	sum := hash(code)
	return encode(sum[:])
}

// issue returns the first token of a family. It returns none if there is no room: then the
// client uses the authorization endpoint again when its JWT expires. If the code was
// redeemed twice meanwhile, the family is revoked.
func (r *refreshTokens) issue(id string, f family) (token string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.families[id] != nil {
		return "", notGood("the code was redeemed twice")
	}
	if !r.room() {
		return "", nil
	}
	f.until = r.now().Add(refreshLifetime)
	r.families[id] = &f
	return r.write(id, f.number), nil
}

// use takes a token of the client, and returns the next one and the content of the new JWT.
// If the scope is refused, the token stays valid.
func (r *refreshTokens) use(token, client, scope string) (next string, f family, err error) {
	id, number, genuine := r.read(token)
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.families[id]
	switch {
	case !genuine:
		return "", family{}, notGood("not issued by this server")
	case found == nil || found.revoked || !r.now().Before(found.until):
		return "", family{}, notGood("expired or revoked")
	case found.client != client:
		return "", family{}, notGood("issued to another client")
	case found.number != number:
		found.revoked = true
		return "", family{}, notGood("used twice: its family is revoked")
	}
	f = *found
	if f.scopes, err = found.narrowed(scope); err != nil {
		return "", family{}, err
	}
	found.number++
	found.until = r.now().Add(refreshLifetime)
	return r.write(id, found.number), f, nil
}

// revoke revokes the family of a code, even before it exists.
func (r *refreshTokens) revoke(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.families[id]; f != nil {
		f.revoked = true
	} else if r.room() {
		r.families[id] = &family{revoked: true, until: r.now().Add(codeLifetime)}
	}
}

// room reports whether there is room for a family. If there is none, it first deletes what
// has expired.
func (r *refreshTokens) room() bool {
	if len(r.families) >= r.max {
		now := r.now()
		maps.DeleteFunc(r.families, func(_ string, f *family) bool { return !now.Before(f.until) })
	}
	return len(r.families) < r.max
}

// write makes a token. Only its number has to be stored.
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

// narrowed returns the requested scopes, which may be fewer than those of the family (RFC
// 6749 §6).
func (f family) narrowed(asked string) ([]string, error) {
	scopes := strings.Fields(asked)
	if len(scopes) == 0 {
		return f.scopes, nil
	}
	for _, scope := range scopes {
		if !slices.Contains(f.scopes, scope) {
			return nil, oautherr.InvalidScope.With("The scope exceeds the scope that was granted.")
		}
	}
	return scopes, nil
}
