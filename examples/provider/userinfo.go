package main

import (
	"crypto/sha256"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/usher-auth/usher/authorize"
)

// user is an account.
type user struct {
	passwordHash [sha256.Size]byte
	claims       map[string]json.RawMessage
}

// scopeClaims are the claims that a scope stands for (OpenID Connect Core 1.0 §5.4).
// A claim that is not here belongs to the scope with its own name.
var scopeClaims = map[string][]string{
	"profile": {
		"name", "family_name", "given_name", "middle_name", "nickname", "preferred_username", "profile",
		"picture", "website", "gender", "birthdate", "zoneinfo", "locale", "updated_at",
	},
	"email":   {"email", "email_verified"},
	"address": {"address"},
	"phone":   {"phone_number", "phone_number_verified"},
}

// scopeOf is the scope that a claim needs.
func scopeOf(claim string) string {
	for scope, claims := range scopeClaims {
		if slices.Contains(claims, claim) {
			return scope
		}
	}
	return claim
}

// released are the claims of a user that the scopes cover.
func (u user) released(scopes []string) map[string]json.RawMessage {
	released := maps.Clone(u.claims)
	maps.DeleteFunc(released, func(claim string, _ json.RawMessage) bool {
		return !slices.Contains(scopes, scopeOf(claim))
	})
	return released
}

// claimsInIDToken are those that the parameter claims wants in the ID token (OpenID
// Connect Core 1.0 §5.5), and for some clients all that userinfo tells. Neither is more
// than the user agreed to: the scopes release them. It is read into maps because names
// compare by case: a struct would take "ID_Token" for id_token.
func (s *server) claimsInIDToken(code *authorize.Code) map[string]json.RawMessage {
	released := s.users[code.Subject].released(code.Scopes)
	if s.clients[code.ClientID].claimsInIDToken {
		return released
	}
	var places, wanted map[string]json.RawMessage
	if code.Claims == nil || json.Unmarshal(code.Claims, &places) != nil || places["id_token"] == nil {
		return nil
	}
	if json.Unmarshal(places["id_token"], &wanted) != nil {
		return nil
	}
	maps.DeleteFunc(released, func(claim string, _ json.RawMessage) bool {
		_, asked := wanted[claim]
		return !asked
	})
	return released
}

// userinfo tells a client about the user (OpenID Connect Core 1.0 §5.3).
func (s *server) userinfo(w http.ResponseWriter, r *http.Request) {
	token, ok := bearer(r)
	if !ok {
		w.Header().Set("WWW-Authenticate", `Bearer realm="userinfo"`)
		writeJSON(w, http.StatusUnauthorized, struct{}{})
		return
	}
	access, ok := s.tokens.find(token)
	if !ok {
		refuseBearer(w, http.StatusUnauthorized, "invalid_token")
		return
	}
	if !slices.Contains(access.scopes, "openid") {
		refuseBearer(w, http.StatusForbidden, "insufficient_scope")
		return
	}
	answer := map[string]any{"sub": access.subject}
	for claim, value := range s.users[access.subject].released(access.scopes) {
		answer[claim] = value
	}
	writeJSON(w, http.StatusOK, answer)
}

// bearer is the token in the Authorization header (RFC 6750 §2.1).
func bearer(r *http.Request) (token string, ok bool) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}

// refuseBearer writes an error (RFC 6750 §3).
func refuseBearer(w http.ResponseWriter, status int, code string) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="userinfo", error="`+code+`"`)
	writeJSON(w, status, map[string]string{"error": code})
}

// claimsSupported are the protocol's and those that some user has.
func (s *server) claimsSupported() []string {
	claims := []string{"iss", "sub", "aud", "exp", "iat", "nonce", "auth_time", "acr", "amr", "at_hash"}
	for _, u := range s.users {
		claims = slices.AppendSeq(claims, maps.Keys(u.claims))
	}
	slices.Sort(claims)
	return slices.Compact(claims)
}
