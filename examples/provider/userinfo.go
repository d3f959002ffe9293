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
	workspaces   []string
}

// scopeClaims are the claims of each scope (OpenID Connect Core 1.0 §5.4). Any other claim
// belongs to the scope with the same name.
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

// released returns the claims of a user that the scopes cover, and those in agreed.
func (u user) released(scopes, agreed []string) map[string]json.RawMessage {
	released := maps.Clone(u.claims)
	maps.DeleteFunc(released, func(claim string, _ json.RawMessage) bool {
		return !slices.Contains(scopes, scopeOf(claim)) && !slices.Contains(agreed, claim)
	})
	return released
}

// agreedClaims returns the names of the claims that the parameter claims asks for at a place,
// "id_token" or "userinfo" (OpenID Connect Core 1.0 §5.5). The code has only those that the
// user agreed to. They are decoded into maps because the names are case-sensitive.
func agreedClaims(code *authorize.Code, place string) []string {
	var places map[string]map[string]json.RawMessage
	if code.Claims == nil || json.Unmarshal(code.Claims, &places) != nil {
		return nil
	}
	return slices.Collect(maps.Keys(places[place]))
}

// claimsInIDToken are those that the parameter claims asks for there, and for some clients
// those of userinfo too.
func (s *server) claimsInIDToken(code *authorize.Code) map[string]json.RawMessage {
	user, agreed := s.users[code.Subject], agreedClaims(code, "id_token")
	if s.clients[code.ClientID].claimsInIDToken {
		return user.released(code.Scopes, append(agreed, agreedClaims(code, "userinfo")...))
	}
	return user.released(nil, agreed)
}

// userinfo returns claims about the user (OpenID Connect Core 1.0 §5.3).
func (s *server) userinfo(w http.ResponseWriter, r *http.Request) {
	token, ok := bearer(r)
	if !ok {
		w.Header().Set("WWW-Authenticate", `Bearer realm="userinfo"`)
		writeJSON(w, http.StatusUnauthorized, struct{}{})
		return
	}
	code, access := s.tokens.find(token)
	if code == nil {
		refuseBearer(w, http.StatusUnauthorized, "invalid_token")
		return
	}
	if !slices.Contains(access.scopes, "openid") {
		refuseBearer(w, http.StatusForbidden, "insufficient_scope")
		return
	}
	answer := map[string]any{"sub": code.Subject}
	for claim, value := range s.users[code.Subject].released(access.scopes, agreedClaims(code, "userinfo")) {
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

// claimsSupported are the claims of the protocol and those of all users.
func (s *server) claimsSupported() []string {
	claims := []string{"iss", "sub", "aud", "exp", "iat", "nonce", "auth_time", "acr", "amr", "at_hash"}
	for _, u := range s.users {
		claims = slices.AppendSeq(claims, maps.Keys(u.claims))
	}
	slices.Sort(claims)
	return slices.Compact(claims)
}
