package main

import (
	"context"
	"crypto/rand"
	"net/http"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/tokenendpoint"
)

// newTokens returns the token endpoint. All clients here are public, so only the verifier
// proves which client calls.
func newTokens(config authorize.Config, endpoint *authorize.Handler) (*tokenendpoint.Handler, error) {
	return tokenendpoint.New(tokenendpoint.Config{
		Clients: config.Clients,
		Redeem:  endpoint.Redeem,
		Issue:   issue,
		Logger:  config.Logger,
	})
}

// issue names the user to the client. No API here takes the token: a program with one would keep
// its hash, and end it in tokenendpoint.Config.Replayed.
func issue(_ context.Context, _ *tokenendpoint.Request, code *authorize.Code) (*tokenendpoint.Response, error) {
	return &tokenendpoint.Response{
		AccessToken: rand.Text(),
		ExpiresIn:   10 * time.Minute,
		Members:     map[string]any{"sub": code.Subject},
	}, nil
}

func (s *server) token(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", s.app) // only scripts of this origin may read the response
	s.tokens.ServeHTTP(w, r)
}
