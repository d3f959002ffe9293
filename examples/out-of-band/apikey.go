package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"

	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
)

// apiKeys are the hashes of the API keys, by client.
type apiKeys map[string][sha256.Size]byte

func hash(secret string) [sha256.Size]byte { return sha256.Sum256([]byte(secret)) }

// call is the state of one HTTP request.
type call struct {
	client  string             // the client of its API key
	request *authorize.Request // nil until it was found valid
}

type callKey struct{}

// callOf panics if required did not run: no request may be handled then.
func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// required responds with 401 if there is no valid API key. It does not check what the
// client may request; next does.
func (k apiKeys) required(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client := k.client(r.Header.Values("x-api-key"))
		if client != "" {
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callKey{}, &call{client: client})))
			return
		}
		w.Header().Set("WWW-Authenticate", `APIKey header="x-api-key"`)
		authorize.ErrorJSON(w, r, authorize.PageError{
			Status:      http.StatusUnauthorized,
			Code:        oautherr.InvalidClient,
			Description: "The header x-api-key has to be the API key of a client.",
		})
	})
}

// client returns the client of the key, or an empty string. It compares the hashes of all
// keys, so that the time does not depend on the keys.
func (k apiKeys) client(values []string) (found string) {
	if len(values) != 1 {
		return ""
	}
	given := hash(values[0])
	for client, key := range k {
		if subtle.ConstantTimeCompare(given[:], key[:]) == 1 {
			found = client
		}
	}
	return found
}
