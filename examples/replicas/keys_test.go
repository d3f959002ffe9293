package main

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize/authorizetest"
)

func ids(keys []key) (list []string) {
	for _, k := range keys {
		list = append(list, k.ID)
	}
	return list
}

func TestRotation(t *testing.T) {
	now := time.Now()
	keys := []key{newKey(), newKey()}
	for range 100 {
		before := keys
		now = now.Add(10 * time.Minute)
		keys = rotated(keys, now)
		if keys[0].ID != before[1].ID {
			t.Fatal("a key signs that was not known before")
		}
		if slices.Contains(ids(before), keys[1].ID) {
			t.Fatal("the next key is no new one")
		}
		for _, k := range before {
			late := !k.Retired.IsZero() && now.Sub(k.Retired) > waiting
			if slices.Contains(ids(keys), k.ID) == late {
				t.Errorf("a key retired %v ago: kept is %v", now.Sub(k.Retired), late)
			}
		}
	}
	if len(keys) != 6 { // two, and those retired now and 10, 20 and 30 minutes ago
		t.Errorf("there are %d keys", len(keys))
	}
}

func TestKeyFile(t *testing.T) {
	file := keyFile(filepath.Join(t.TempDir(), "keys.json"))
	if err := file.rotate(time.Now()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	if err := file.create(); err != nil {
		t.Fatal(err)
	}
	first, err := file.read()
	if err != nil {
		t.Fatal(err)
	}
	if err := file.create(); err != nil {
		t.Fatal(err)
	}
	if again, err := file.read(); err != nil || !slices.Equal(ids(first), ids(again)) {
		t.Errorf("a file that is there was made anew: %v", err)
	}
	info, err := os.Stat(string(file))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file can be read by others: %v %v", info.Mode(), err)
	}
	for rule, text := range map[string]string{"empty": "", "no key": "[]", "half of a file": "{", "one key": `[{"ID":"one"}]`} {
		t.Run(rule, func(t *testing.T) {
			if err := os.WriteFile(string(file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := file.create(); err == nil {
				t.Error("it is taken for keys")
			}
		})
	}
}

// inProcess is a replica in this process.
func inProcess(t *testing.T, keys keyFile, p places) *replica {
	t.Helper()
	r, err := newReplica(t.Context(), task{Number: 1, Issuer: "http://127.0.0.1:8080", Keys: keys, places: p})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newKeyFile(t *testing.T) keyFile {
	t.Helper()
	keys := keyFile(filepath.Join(t.TempDir(), "keys.json"))
	if err := keys.create(); err != nil {
		t.Fatal(err)
	}
	return keys
}

// Some machines get a new file later than others, and it may be damaged for a while.
func TestKeysThatComeLate(t *testing.T) {
	early, late := newKeyFile(t), keyFile(filepath.Join(t.TempDir(), "keys.json"))
	copyKeys(t, early, late)
	signs, reads := inProcess(t, early, places{}), inProcess(t, late, places{})
	arrives := func() bool {
		browser := authorizetest.NewBrowser()
		browser.Handle("http://127.0.0.1:8080", signs.handler())
		client := authorizetest.Client{Issuer: signs.Issuer, ID: "demo", RedirectURI: signs.client().RedirectURIs[0], Scopes: []string{"openid"}}
		page, err := browser.Open(client.Start().URL)
		if err != nil {
			t.Fatal(err)
		}
		r := page.Request.Clone(t.Context())
		_, err = reads.current().Pending(r)
		return err == nil
	}
	if !arrives() {
		t.Error("replicas with the same keys do not know each other's requests")
	}
	if err := early.rotate(time.Now()); err != nil {
		t.Fatal(err)
	}
	if !arrives() {
		t.Error("a request of a replica that is a rotation ahead is not known")
	}
	if err := early.rotate(time.Now()); err != nil {
		t.Fatal(err)
	}
	if arrives() {
		t.Error("a replica knows a key that it did not get")
	}
	copyKeys(t, early, late)
	if !arrives() {
		t.Error("new keys do not arrive")
	}
	if err := os.WriteFile(string(late), []byte("half a f"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !arrives() {
		t.Error("a damaged file takes the keys away that were there")
	}
	if err := os.Remove(string(late)); err != nil {
		t.Fatal(err)
	}
	if !arrives() {
		t.Error("a missing file takes the keys away that were there")
	}
}

func copyKeys(t *testing.T, from, to keyFile) {
	t.Helper()
	keys, err := from.read()
	if err == nil {
		err = to.write(keys)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The rest of the program is the same for every kind of storage.
func TestEachStorageIsOneLine(t *testing.T) {
	all := append(slices.Clone(storages), storage{name: "memory", start: func(*testing.T) places { return places{} }})
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			p := s.start(t)
			if p.kinds() != s.name {
				t.Errorf("it is called %s", p.kinds())
			}
			// Consent for a client on loopback is not remembered (RFC 8252 §8.6), so this client
			// is elsewhere.
			r, err := newReplica(t.Context(), task{Number: 1, Issuer: "https://as.example", Keys: newKeyFile(t), places: p})
			if err != nil {
				t.Fatal(err)
			}
			browser := authorizetest.NewBrowser()
			browser.Handle(r.Issuer, r.handler())
			client := authorizetest.Client{Issuer: r.Issuer, ID: "demo", RedirectURI: r.client().RedirectURIs[0], Scopes: []string{"profile"}}
			flow := client.Start()
			page, err := browser.Open(flow.URL)
			for _, fill := range []url.Values{{"username": {"alice"}, "password": {"wrong"}}, alice, nil} {
				if err == nil {
					page, err = page.Submit(fill)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			code := flow.Expect(t, page, nil)
			record, err := r.current().Redeem(t.Context(), flow.Redemption(code))
			if err != nil || record.Subject != "alice" {
				t.Errorf("got %v, %v", record, err)
			}
			consents, err := r.consents.ListConsents(t.Context(), "alice")
			if err != nil || len(consents) != 1 || consents[0].ClientID != "demo" {
				t.Errorf("alice has agreed to %v, %v", consents, err)
			}
		})
	}
	if _, err := (places{SQLite: "a.db", Redis: "redis://127.0.0.1"}).open(t.Context()); err == nil {
		t.Error("an SQLite file and Redis are taken together")
	}
	for name, p := range map[string]places{
		"a directory that is not there": {SQLite: filepath.Join(t.TempDir(), "none", "a.db")},
		"no PostgreSQL":                 {PostgreSQL: "postgres://127.0.0.1:1/x?connect_timeout=1"},
		"no Redis":                      {Redis: "redis://127.0.0.1:1"},
		"no URL of Redis":               {Redis: "127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := p.open(t.Context()); err == nil {
				t.Error("there is no error")
			}
		})
	}
}
