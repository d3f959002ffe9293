package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"

	oautherr "github.com/usher-auth/usher/errors"
)

// authenticate returns the client that calls the token endpoint, by client_secret_basic,
// client_secret_post or, for a public client, only its client_id (RFC 6749 §2.3, OpenID
// Connect Core 1.0 §9).
func (s *server) authenticate(r *http.Request, form url.Values) (client, error) {
	id, secret, err := credentials(r, form)
	if err != nil {
		return client{}, err
	}
	// A public client has an empty secret; some send it with Basic. For an unknown client
	// the stored hash is all zeros, so the check takes as long as for a wrong secret.
	c, known := s.clients[id]
	sum := sha256.Sum256([]byte(secret))
	right := subtle.ConstantTimeCompare(sum[:], c.secretHash[:]) == 1
	if !known || c.disabled || !right {
		return client{}, oautherr.InvalidClient.Because(errors.New("unknown client, or wrong secret"))
	}
	return c, nil
}

// credentials returns the client_id and secret from the header or the body. A request
// with both is an error.
func credentials(r *http.Request, form url.Values) (id, secret string, err error) {
	if len(r.Header.Values("Authorization")) == 0 {
		return form.Get("client_id"), form.Get("client_secret"), nil
	}
	if form.Get("client_secret") != "" {
		return "", "", oautherr.InvalidRequest.With("The client authenticates in more than one way.")
	}
	id, secret, ok := r.BasicAuth()
	if !ok || len(r.Header.Values("Authorization")) > 1 {
		return "", "", oautherr.InvalidClient.Because(errors.New("the Authorization header is not Basic"))
	}
	// Both are form-encoded before they go into the header (RFC 6749 §2.3.1).
	id, idErr := url.QueryUnescape(id)
	secret, secretErr := url.QueryUnescape(secret)
	if err := errors.Join(idErr, secretErr); err != nil {
		// This leaves err out, because it quotes a part of the secret.
		return "", "", oautherr.InvalidClient.Because(errors.New("the Authorization header is not form-encoded"))
	}
	if named := form.Get("client_id"); named != "" && named != id {
		return "", "", oautherr.InvalidClient.Because(errors.New("header and body name different clients"))
	}
	return id, secret, nil
}
