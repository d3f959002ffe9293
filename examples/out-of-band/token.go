package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
)

const (
	codeLifetime  = time.Minute
	tokenLifetime = time.Hour
	maxForm       = 64 << 10
)

// token exchanges a code or a refresh token for a JWT. The API key identifies the client.
func (s *server) token(w http.ResponseWriter, r *http.Request) {
	noStore(w)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.Body != nil { // nil if no http.Server called the handler
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	}
	body, err := s.exchange(r)
	if err != nil {
		refused := oautherr.Of(err)
		w.WriteHeader(http.StatusBadRequest)
		body = map[string]any{"error": refused.Code, "error_description": refused.Text()}
	}
	json.NewEncoder(w).Encode(body)
}

func (s *server) exchange(r *http.Request) (map[string]any, error) {
	client := callOf(r.Context()).client
	if err := r.ParseForm(); err != nil {
		return nil, oautherr.InvalidRequest.Because(err)
	}
	var grant func(*http.Request, string) (map[string]any, error)
	switch r.PostForm.Get("grant_type") {
	case "authorization_code":
		grant = s.byCode
	case "refresh_token":
		grant = s.byRefreshToken
	default:
		return nil, oautherr.Code("unsupported_grant_type").With(
			"The grant_type has to be authorization_code or refresh_token.")
	}
	if r.PostForm.Get("client_id") != client {
		return nil, oautherr.UnauthorizedClient.With("The API key belongs to another client.")
	}
	return grant(r, client)
}

// byCode redeems a code (RFC 6749 §4.1.3). A second redemption revokes the tokens of the
// first (§4.1.2).
func (s *server) byCode(r *http.Request, client string) (map[string]any, error) {
	code, err := s.endpoint.Redeem(r.Context(), authorize.Redemption{
		Code:        r.PostForm.Get("code"),
		ClientID:    client,
		RedirectURI: r.PostForm.Get("redirect_uri"),
		Verifier:    r.PostForm.Get("code_verifier"),
	})
	id := familyOf(r.PostForm.Get("code"))
	var replay *authorize.ReplayError
	if errors.As(err, &replay) {
		s.refreshTokens.revoke(id)
	}
	if err != nil {
		return nil, err
	}
	f := family{client: client, subject: code.Subject, scopes: code.Scopes}
	refresh, err := s.refreshTokens.issue(id, f)
	if err != nil {
		return nil, err
	}
	return s.answer(f, refresh)
}

// byRefreshToken returns a new JWT for the same profile (RFC 6749 §6).
func (s *server) byRefreshToken(r *http.Request, client string) (map[string]any, error) {
	sent := r.PostForm.Get("refresh_token")
	if sent == "" {
		return nil, oautherr.InvalidRequest.With("refresh_token is missing.")
	}
	next, f, err := s.refreshTokens.use(sent, client, r.PostForm.Get("scope"))
	if err != nil {
		return nil, err
	}
	if !s.profiles.keep(f.subject) {
		return nil, notGood("the profile does not exist any more")
	}
	return s.answer(f, next)
}

// answer is the response with a new JWT (RFC 6749 §5.1).
func (s *server) answer(f family, refresh string) (map[string]any, error) {
	token, err := s.tokens.issue(f.subject, f.client, f.scopes)
	if err != nil {
		return nil, err
	}
	body := map[string]any{
		"access_token": token, "token_type": "Bearer", "profile": f.subject,
		"expires_in": int(tokenLifetime.Seconds()), "scope": strings.Join(f.scopes, " "),
	}
	if refresh != "" {
		body["refresh_token"] = refresh
	}
	return body, nil
}

// noStore sets headers that the endpoint sets itself.
func noStore(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
}
