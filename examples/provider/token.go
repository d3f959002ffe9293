package main

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/tokenendpoint"
	oautherr "github.com/usher-auth/usher/errors"
)

// newTokenEndpoint is the token endpoint (RFC 6749 §3.2): what comes in and how it is answered
// is the library's, the tokens are ours.
func (s *server) newTokenEndpoint(clients authorize.ClientStore) (*tokenendpoint.Handler, error) {
	return tokenendpoint.New(tokenendpoint.Config{
		Clients: clients,
		Redeem:  s.endpoint.Redeem,
		Secret: func(_ context.Context, c *authorize.Client, secret string) (bool, error) {
			return tokenendpoint.SecretMatches(secret, s.clients[c.ID].secretHash), nil
		},
		Issue:    s.issue,
		Replayed: s.replayed,
		Grants:   map[string]tokenendpoint.Grant{"refresh_token": s.refresh},
		Logger:   s.log,
	})
}

// issue makes the tokens for a code. A refresh token comes only with offline_access.
func (s *server) issue(
	_ context.Context, _ *tokenendpoint.Request, code *authorize.Code,
) (*tokenendpoint.Response, error) {
	access, refresh, err := s.tokens.issue(grant{
		id: code.GrantID, clientID: code.ClientID, subject: code.Subject, scopes: code.Scopes,
		claims: agreedClaims(code, "userinfo"), resources: code.GrantedResources,
	}, code.Resources, slices.Contains(code.Scopes, "offline_access"))
	if err != nil {
		return nil, err
	}
	response := &tokenendpoint.Response{
		AccessToken: access, RefreshToken: refresh, ExpiresIn: accessTokenLifetime, Scopes: code.Scopes,
	}
	if slices.Contains(code.Scopes, "openid") {
		response.IDToken, err = s.idToken(code, access)
	}
	return response, err
}

// replayed ends what came of a code that was redeemed twice.
func (s *server) replayed(_ context.Context, r *tokenendpoint.Request, code *authorize.Code) error {
	s.tokens.end(code.GrantID)
	s.log.Warn("a code was redeemed twice: its tokens are revoked", "client", r.Client.ID, "subject", code.Subject)
	return nil
}

// refresh makes the next tokens of a refresh token (RFC 6749 §6): for the same scopes and
// resources or for fewer. There is no ID token with them (OpenID Connect Core 1.0 §12.2).
func (s *server) refresh(_ context.Context, r *tokenendpoint.Request) (*tokenendpoint.Response, error) {
	scopes := strings.Fields(r.Get("scope"))
	used, err := s.tokens.take(r.Get("refresh_token"), r.Client.ID, func(g *grant) error {
		if _, known := s.users[g.subject]; !known {
			return errRefreshToken
		}
		for _, scope := range scopes {
			if !slices.Contains(g.scopes, scope) {
				return oautherr.InvalidScope.With("A scope was not granted.")
			}
		}
		for _, resource := range r.Resources {
			if !slices.ContainsFunc(g.resources, func(id string) bool { return authorize.SameResource(id, resource) }) {
				return oautherr.InvalidTarget.With("A resource was not granted.")
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	resources := r.Resources
	if len(scopes) == 0 {
		scopes = used.grant.scopes
	}
	if len(resources) == 0 {
		resources = used.grant.resources
	}
	access, refresh := s.tokens.renew(used, scopes, resources)
	return &tokenendpoint.Response{
		AccessToken: access, RefreshToken: refresh, ExpiresIn: accessTokenLifetime, Scopes: scopes,
	}, nil
}

// writeJSON writes a response that must not be cached.
func writeJSON(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(body)
}
