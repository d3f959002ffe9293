package main

import (
	"encoding/json"
	"net/http"

	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
)

// token returns the user of a code. A program with an API would return a token instead.
// All clients here are public, so only the verifier proves which client calls.
func (s *server) token(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", s.app) // only scripts of this origin may read the response
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	var code *authorize.Code
	err := error(oautherr.Code("unsupported_grant_type"))
	if r.PostFormValue("grant_type") == "authorization_code" {
		code, err = s.endpoint.Redeem(r.Context(), authorize.Redemption{
			Code:        r.PostFormValue("code"),
			ClientID:    r.PostFormValue("client_id"),
			RedirectURI: r.PostFormValue("redirect_uri"),
			Verifier:    r.PostFormValue("code_verifier"),
		})
	}
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(w).Encode(map[string]any{"error": oautherr.Of(err).Code})
		return
	}
	json.NewEncoder(w).Encode(map[string]any{"sub": code.Subject, "scopes": code.Scopes})
}
