package main

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"time"

	"github.com/usher-auth/usher/authorize"
)

// waiting is how long a request waits for its user. A key is kept for this time after it
// has last signed.
const waiting = 30 * time.Minute

// key signs waiting requests.
type key struct {
	authorize.Key
	number  int
	retired time.Time // when it last signed; zero for the current and the next key
}

func newKey(number int) key {
	_, private, err := ed25519.GenerateKey(nil) // fails only where the machine has no randomness
	if err != nil {
		panic(err)
	}
	return key{Key: authorize.Key{ID: fmt.Sprint("key-", number), Signer: private}, number: number}
}

// rotate lets the next key sign. It keeps the old key for requests that wait. It also
// publishes a new key, which will sign after the next rotation. By then, readers of requests
// know its public key.
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

// renew replaces the endpoint by one with these keys. Both use the same stores. HTTP requests
// that have begun end at the old endpoint.
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

// signingKey is the id of the key that signs.
func (t *tenant) signingKey() string {
	t.changing.Lock()
	defer t.changing.Unlock()
	return t.keys[0].ID
}
