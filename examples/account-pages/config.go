package main

import (
	"context"
	"maps"
	"slices"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/session"
)

// config is the configuration of the endpoint.
func (s *server) config() authorize.Config {
	memory := authorize.NewMemory(authorize.MemoryConfig{Clients: s.registered()})
	// region configuration
	config := authorize.Config{
		Issuer:        s.issuer,
		Endpoint:      s.issuer + "/oauth2/authorize",
		Clients:       memory,
		Codes:         memory, // stays empty: response_type=none has no code
		Sessions:      authorize.SessionFunc(s.whoIsSignedIn),
		Login:         authorize.LoginURL("/login"),
		Register:      authorize.LoginURL("/register"),
		Consent:       &authorize.Consent{Page: "/consent", Store: memory},
		CheckRequest:  s.ownRules,
		ErrorPage:     s.showError,
		ResponseTypes: []string{"none"},
		Scopes:        slices.Sorted(maps.Keys(entryPoints)),
		Parameters:    []string{"x_method", userTicket},
		Logger:        s.log,
	}
	for _, m := range s.methods {
		config.Interactions = append(config.Interactions, authorize.Interaction{
			Name: m.name,
			Page: "/" + m.name,
			Needed: func(_ context.Context, _ *session.Session, r *authorize.Request) (bool, error) {
				return r.Parameter("x_method") == m.name, nil
			},
		})
	}
	// endregion
	return config
}
