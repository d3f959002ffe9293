package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"

	oautherr "github.com/usher-auth/usher/errors"
)

// authenticate finds out which client calls the token endpoint, by
// client_secret_basic, client_secret_post or, for a public client, its mere name
// (RFC 6749 §2.3, OpenID Connect Core 1.0 §9).
func (s *server) authenticate(r *http.Request, form url.Values) (client, error) {
	id, secret, err := credentials(r, form)
	if err != nil {
		return client{}, err
	}
	// The secret of a public client is empty, wherever it stands: some use Basic with
	// an empty one. An unknown client takes as long as a wrong secret: its hash is
	// all zeros.
	c, known := s.clients[id]
	sum := sha256.Sum256([]byte(secret))
	right := subtle.ConstantTimeCompare(sum[:], c.secretHash[:]) == 1
	if !known || c.disabled || !right {
		return client{}, oautherr.InvalidClient.Because(errors.New("unknown client, or wrong secret"))
	}
	return c, nil
}

// credentials are where the client put them; more than one place is an error.
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
		// Not with err in it, which quotes some of the secret.
		return "", "", oautherr.InvalidClient.Because(errors.New("the Authorization header is not form-encoded"))
	}
	if named := form.Get("client_id"); named != "" && named != id {
		return "", "", oautherr.InvalidClient.Because(errors.New("header and body name different clients"))
	}
	return id, secret, nil
}
