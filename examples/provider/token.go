package main

import (
	"context"
	"slices"
	"strings"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/tokenendpoint"
	oautherr "github.com/usher-auth/usher/errors"
)

// newTokenEndpoint is the token endpoint (RFC 6749 §3.2).
func (s *server) newTokenEndpoint(clients authorize.ClientStore) (*tokenendpoint.Handler, error) {
	return tokenendpoint.New(tokenendpoint.Config{
		Clients: clients,
		Redeem:  s.endpoint.Redeem,
		Secret: func(_ context.Context, c *authorize.Client, secret string) (bool, error) {
			return tokenendpoint.SecretMatches(secret, s.clients[c.ID].secretHash), nil
		},
		Issue: s.issue,
		Replayed: func(_ context.Context, _ *tokenendpoint.Request, code *authorize.Code) error {
			s.log.Warn("a code was redeemed twice: its tokens are revoked",
				"client", code.ClientID, "subject", code.Subject)
			s.tokens.revoke(code.GrantID)
			return nil
		},
		Grants: map[string]tokenendpoint.Grant{"refresh_token": s.refresh},
		Logger: s.log,
	})
}

// issue returns tokens for a code, and an ID token for an OpenID request.
func (s *server) issue(
	ctx context.Context, _ *tokenendpoint.Request, code *authorize.Code,
) (*tokenendpoint.Response, error) {
	remembered, err := s.remembers(ctx, code)
	if err != nil {
		return nil, err
	}
	response, err := s.tokens.issue(code, remembered)
	if err == nil && slices.Contains(code.Scopes, "openid") {
		response.IDToken, err = s.idToken(code, response.AccessToken)
	}
	return response, err
}

// refresh returns new tokens for a refresh token (RFC 6749 §6). There is no ID token among
// them, which OpenID Connect Core 1.0 §12.2 leaves open. If the request is refused for its
// scope or resource, the refresh token is not used up.
func (s *server) refresh(ctx context.Context, r *tokenendpoint.Request) (*tokenendpoint.Response, error) {
	sent := r.Get("refresh_token")
	if sent == "" {
		return nil, oautherr.InvalidRequest.With("refresh_token is missing.")
	}
	code, wasRemembered, err := s.tokens.refreshable(sent, r.Client.ID)
	if err != nil {
		return nil, err
	}
	remembered, err := s.remembers(ctx, code)
	if err != nil {
		return nil, err
	}
	_, exists := s.users[code.Subject]
	left := code.GrantData != nil && !s.isIn(code.Subject, code.GrantData)
	if !exists || left || wasRemembered && !remembered {
		s.tokens.revoke(code.GrantID)
		return nil, notGood("the user is gone, has left the workspace, or has revoked the consent")
	}
	scopes, resources, err := narrowed(code, r)
	if err != nil {
		return nil, err
	}
	return s.tokens.rotate(sent, r.Client.ID, scopes, resources)
}

// remembers reports whether the user's consent to all scopes is in the store. It never is for
// a client that needs none, or that the user is asked about each time.
func (s *server) remembers(ctx context.Context, code *authorize.Code) (bool, error) {
	consent, err := s.store.FindConsent(ctx, code.Subject, code.ClientID)
	if err != nil || consent == nil {
		return false, err
	}
	return containsAll(consent.Scopes, code.Scopes), nil
}

// narrowed returns the scopes that the client names, which were all granted (RFC 6749 §6), or
// those that were. The resources that it names were granted too (RFC 8707 §2.2). If the
// endpoint knows no resources, the parameter is ignored, as it is with a code.
func narrowed(code *authorize.Code, r *tokenendpoint.Request) (scopes, resources []string, err error) {
	resources = code.GrantedResources
	if resources != nil && r.Resources != nil {
		resources = nil
		for _, wanted := range r.Resources {
			i := slices.IndexFunc(code.GrantedResources, func(id string) bool {
				return authorize.SameResource(id, wanted)
			})
			if i < 0 {
				return nil, nil, oautherr.InvalidTarget
			}
			resources = append(resources, code.GrantedResources[i])
		}
	}
	scopes = strings.Fields(r.Get("scope"))
	switch {
	case len(scopes) == 0:
		return code.Scopes, resources, nil
	case !containsAll(code.Scopes, scopes):
		return nil, nil, oautherr.InvalidScope.With("The scope has more than was granted.")
	}
	return slices.DeleteFunc(slices.Clone(code.Scopes), func(granted string) bool {
		return !slices.Contains(scopes, granted)
	}), resources, nil
}

func containsAll(all, some []string) bool {
	return !slices.ContainsFunc(some, func(one string) bool { return !slices.Contains(all, one) })
}
