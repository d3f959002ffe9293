package main

import (
	"crypto/rand"
	"fmt"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/dcr"
)

// withRegistration lets clients register themselves at /register, if the file says so. The
// key is new at each start, and then clients register again.
func (s *server) withRegistration(o options, clients authorize.ClientStore) (authorize.ClientStore, error) {
	c := o.config.Registration
	if c == nil {
		return clients, nil
	}
	secret := make([]byte, 32)
	rand.Read(secret)
	store, err := dcr.New(dcr.Config{
		Clients:       clients,
		Issuer:        o.issuer,
		Keys:          []authorize.Key{{Secret: secret}},
		Scopes:        c.Scopes,
		DefaultScopes: c.DefaultScopes,
		AppSchemes:    c.AppSchemes,
		GrantTypes:    []string{"refresh_token"},
		Endpoint:      s.origin + s.path + "/register",
		Logger:        o.log,
		Now:           o.now,
	})
	if err != nil {
		return nil, fmt.Errorf("registration: %w", err)
	}
	s.registration = store
	s.discovered = append(s.discovered, store.Metadata())
	return store, nil
}
