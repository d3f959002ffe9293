package main

import (
	"crypto/sha256"
	"crypto/subtle"
)

// settings are what a tenant has ordered.
type settings struct {
	// Name is the tenant's, and with ".localhost" its vanity domain.
	Name  string
	Title string

	// Users are its own, with their passwords; Suspended are those who may sign in
	// and use no application.
	Users     map[string]string
	Suspended []string

	// OwnLogin is set for a login page of the tenant's own and says how that page
	// reads the request. Empty: the page that the tenants share.
	OwnLogin reading

	// OwnErrors is set for an error page of the tenant's own. False: the page that
	// the tenants share.
	OwnErrors bool
}

// reading is how a page in another process reads the request that waits.
type reading string

const (
	withPublicKeys    reading = "with the public keys of the endpoint"
	withIntrospection reading = "with the introspection handler of the endpoint"
)

// registry has all tenants. With a database in its place, the sites would be made
// when a tenant is added.
var registry = []settings{
	{
		Name:      "acme",
		Title:     "Acme Corporation",
		Users:     map[string]string{"alice": "alice-password", "eve": "eve-password"},
		Suspended: []string{"eve"},
	},
	{
		Name:      "globex",
		Title:     "Globex",
		Users:     map[string]string{"alice": "alice-password", "hank": "hank-password"},
		Suspended: []string{"hank"},
		OwnLogin:  withPublicKeys,
		OwnErrors: true,
	},
	{
		Name:      "initech",
		Title:     "Initech",
		Users:     map[string]string{"alice": "alice-password", "milton": "milton-password"},
		Suspended: []string{"milton"},
		OwnLogin:  withIntrospection,
	},
}

func (s settings) host() string { return s.Name + ".localhost" }

// knows takes as long for a user who does not exist as for a wrong password. A real
// program keeps a slow hash, such as Argon2, and slows down who guesses.
func (s settings) knows(username, password string) bool {
	want, exists := s.Users[username]
	a, b := sha256.Sum256([]byte(want)), sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && exists
}
