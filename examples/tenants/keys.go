package main

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"time"

	"github.com/usher-auth/usher/authorize"
)

// waiting is how long a request waits for its user, and so how long a key that has
// signed one has to be kept.
const waiting = 30 * time.Minute

// key signs waiting requests.
type key struct {
	authorize.Key
	number  int
	retired time.Time // when it signed last; zero: it signs now or will sign next
}

func newKey(number int) key {
	_, private, err := ed25519.GenerateKey(nil) // fails only where the machine has no randomness
	if err != nil {
		panic(err)
	}
	return key{Key: authorize.Key{ID: fmt.Sprint("key-", number), Signer: private}, number: number}
}

// rotate lets the next key sign. The one that signed is kept for the requests that
// wait, and a new one is published before its turn, so that whoever reads requests
// with the public keys knows it by then.
func (t *tenant) rotate() error {
	t.changing.Lock()
	defer t.changing.Unlock()
	now := t.now()
	signed, next := t.keys[0], t.keys[1]
	signed.retired = now
	keys := append([]key{next, newKey(next.number + 1), signed}, t.keys[2:]...)
	return t.renew(slices.DeleteFunc(keys, func(k key) bool {
		return !k.retired.IsZero() && now.Sub(k.retired) > waiting
	}))
}

// renew puts an endpoint with these keys in the place of the one that runs. They
// share the stores; requests under way end at the endpoint where they began.
func (t *tenant) renew(keys []key) error {
	var config []authorize.Key
	for _, k := range keys {
		config = append(config, k.Key)
	}
	endpoint, err := authorize.New(t.config(config))
	if err != nil {
		return err
	}
	t.keys = keys
	t.endpoint.Store(endpoint)
	return nil
}

// signingKey is the name of the key that signs.
func (t *tenant) signingKey() string {
	t.changing.Lock()
	defer t.changing.Unlock()
	return t.keys[0].ID
}
