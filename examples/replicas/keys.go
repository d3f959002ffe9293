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

// waiting is how long a request waits for its user. A key is kept for this time after it has
// last signed.
const waiting = 30 * time.Minute

// key signs waiting requests. The first of a list signs now. The second will sign next. Every
// replica knows it before any replica uses it, even one whose list is a rotation older. The
// other keys have signed before.
type key struct {
	ID      string
	Secret  []byte
	Retired time.Time // when it last signed; zero for the current and the next key
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

// keyFile is the path of the file from which all replicas read the keys. Only the front
// writes it. Replicas on several machines would use a secret store or a database table.
type keyFile string

// writing lets only one rotation run at a time.
var writing sync.Mutex

// create makes the file if it does not exist.
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
				log.Print("the keys were not changed: ", err)
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
		return nil, errors.New(string(f) + " has fewer than two keys")
	}
	return keys, nil
}

// write replaces the file by a new one, so that nobody reads half a file.
func (f keyFile) write(keys []key) error {
	text, err := json.MarshalIndent(keys, "", "\t")
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(string(f)), "keys") // only this user can read it
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
