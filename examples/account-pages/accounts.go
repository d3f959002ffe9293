package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// account is a user.
type account struct {
	Username    string // never changes
	Name        string
	Newsletters []string
	password    [sha256.Size]byte
}

// accounts are the users, until the program ends.
type accounts struct {
	mu     sync.Mutex
	byName map[string]account
}

const maxAccounts = 10_000

func newAccounts() *accounts {
	a := &accounts{byName: map[string]account{}}
	a.create("alice", "Alice", "alice-password")
	return a
}

var usernames = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,31}$`)

// create returns what is wrong with the input, or an empty string.
func (a *accounts) create(username, name, password string) (wrong string) {
	name = strings.TrimSpace(name)
	switch {
	case !usernames.MatchString(username):
		return "A user name has 2 to 32 small letters, digits, dots and dashes."
	case !goodName(name):
		return badName
	case len(password) < 8 || len(password) > 1000:
		return "A password has at least 8 characters."
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, taken := a.byName[username]; taken {
		return "This user name is taken."
	}
	if len(a.byName) >= maxAccounts {
		return "There is no room for another account."
	}
	a.byName[username] = account{Username: username, Name: name, password: sha256.Sum256([]byte(password))}
	return ""
}

const badName = "A name has 1 to 100 characters."

func goodName(name string) bool { return name != "" && len(name) <= 100 }

// check takes the same time for an unknown user as for a wrong password. A real program
// uses a slow hash, such as Argon2, for both, and limits the number of attempts.
func (a *accounts) check(username, password string) bool {
	sum := sha256.Sum256([]byte(password))
	x, exists := a.find(username)
	return subtle.ConstantTimeCompare(sum[:], x.password[:]) == 1 && exists
}

func (a *accounts) find(username string) (x account, found bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	x, found = a.byName[username]
	x.Newsletters = slices.Clone(x.Newsletters)
	return x, found
}

func (a *accounts) change(username string, change func(*account)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if x, found := a.byName[username]; found {
		change(&x)
		a.byName[username] = x
	}
}
