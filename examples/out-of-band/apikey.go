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

// call is what is known of one request beside the request itself.
type call struct {
	client  string             // whose API key came with it
	request *authorize.Request // nil until it has proven valid
}

type callKey struct{}

// callOf panics outside of required: nothing may be answered there.
func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// required answers 401 to whoever has no API key. What the key's client may ask for is
// for next to say.
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

// client returns whose key it is, or nothing. Every key is compared, and by its hash, so
// that the time it takes says nothing about any of them.
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
