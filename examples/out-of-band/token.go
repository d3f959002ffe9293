package main

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
)

const (
	codeLifetime  = time.Minute
	tokenLifetime = time.Hour
	maxForm       = 64 << 10
)

// token exchanges a code for a JWT (RFC 6749 §4.1.3). The API key has named the client.
func (s *server) token(w http.ResponseWriter, r *http.Request) {
	noStore(w)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.Body != nil { // there is none without a server in front
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
	switch {
	case r.PostForm.Get("grant_type") != "authorization_code":
		return nil, oautherr.Code("unsupported_grant_type").With("The grant_type has to be authorization_code.")
	case r.PostForm.Get("client_id") != client:
		return nil, oautherr.UnauthorizedClient.With("The API key belongs to another client.")
	}
	code, err := s.endpoint.Redeem(r.Context(), authorize.Redemption{
		Code:        r.PostForm.Get("code"),
		ClientID:    client,
		RedirectURI: r.PostForm.Get("redirect_uri"),
		Verifier:    r.PostForm.Get("code_verifier"),
	})
	if err != nil {
		return nil, err
	}
	token, err := s.tokens.issue(code)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"access_token": token, "token_type": "Bearer", "expires_in": int(tokenLifetime.Seconds()), "profile": code.Subject,
	}, nil
}

// noStore sets what the endpoint sets by itself.
func noStore(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
}
