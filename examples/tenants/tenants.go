package main

import (
	"crypto/sha256"
	"crypto/subtle"
)

// settings are the configuration of a tenant.
type settings struct {
	// Name is the name of the tenant. Its domain is the name with ".localhost".
	Name  string
	Title string

	// Users have a user name and a password. Suspended users may sign in but may not use an
	// application.
	Users     map[string]string
	Suspended []string

	// OwnLogin says how the tenant's own login page reads the request. Empty: the tenant uses
	// the shared page.
	OwnLogin reading

	// OwnErrors says that the tenant has its own error page. False: it uses the shared page.
	OwnErrors bool
}

// reading is how a page in another process reads the waiting request.
type reading string

const (
	withPublicKeys    reading = "with the public keys of the endpoint"
	withIntrospection reading = "with the introspection handler of the endpoint"
)

// registry has all tenants. With a database instead, a site would be made when its tenant is
// added.
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

// knows takes the same time for an unknown user as for a wrong password. A real program uses
// a slow hash, such as Argon2, and limits the number of attempts.
func (s settings) knows(username, password string) bool {
	want, exists := s.Users[username]
	a, b := sha256.Sum256([]byte(want)), sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && exists
}
