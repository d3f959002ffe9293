package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/usher-auth/usher/authorize"
)

// waiting is how long a request waits for its user, and so how long a key that has
// signed one has to be kept.
const waiting = 30 * time.Minute

// key signs waiting requests. The first of a list signs now. The second will sign next: every
// replica knows it before any of them uses it, also one that has read the list a rotation
// ago. The others have signed before.
type key struct {
	ID      string
	Secret  []byte
	Retired time.Time // when it signed last; zero: it signs now or will sign next
}

func newKey() key {
	secret := make([]byte, 32)
	rand.Read(secret) // never fails
	return key{ID: rand.Text()[:8], Secret: secret}
}

// rotated is the list after the next key has begun to sign.
func rotated(keys []key, now time.Time) []key {
	signed := keys[0]
	signed.Retired = now
	keys = append([]key{keys[1], newKey(), signed}, keys[2:]...)
	return slices.DeleteFunc(keys, func(k key) bool {
		return !k.Retired.IsZero() && now.Sub(k.Retired) > waiting
	})
}

func forConfig(keys []key) []authorize.Key {
	var list []authorize.Key
	for _, k := range keys {
		list = append(list, authorize.Key{ID: k.ID, Secret: k.Secret})
	}
	return list
}

// keyFile is the path of the file that all replicas read the keys from. The front alone
// writes it. Replicas on several machines have it from a secret store or a table.
type keyFile string

// writing keeps rotations apart.
var writing sync.Mutex

// create makes the file if it is not there.
func (f keyFile) create() error {
	writing.Lock()
	defer writing.Unlock()
	if _, err := f.read(); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return f.write([]key{newKey(), newKey()})
}

func (f keyFile) rotate(now time.Time) error {
	writing.Lock()
	defer writing.Unlock()
	keys, err := f.read()
	if err != nil {
		return err
	}
	return f.write(rotated(keys, now))
}

func (f keyFile) rotateEvery(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if err := f.rotate(now); err != nil {
				log.Print("the keys stay as they are: ", err)
			}
		}
	}
}

func (f keyFile) read() ([]key, error) {
	text, err := os.ReadFile(string(f))
	if err != nil {
		return nil, err
	}
	var keys []key
	if err := json.Unmarshal(text, &keys); err != nil {
		return nil, err
	}
	if len(keys) < 2 {
		return nil, errors.New(string(f) + " has no two keys in it")
	}
	return keys, nil
}

// write puts a new file in the place of the old one, so that nobody reads half of it.
func (f keyFile) write(keys []key) error {
	text, err := json.MarshalIndent(keys, "", "\t")
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(string(f)), "keys") // for this user's eyes only
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), string(f))
	}
	if err != nil {
		os.Remove(file.Name())
	}
	return err
}
