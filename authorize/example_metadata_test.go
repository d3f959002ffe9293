package authorize_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/session"
)

// publicKeys serves the keys of the host's ID tokens as a JWK Set (RFC 7517), for RS256,
// which every client supports. They are not the keys of Config.Keys.
func publicKeys(key *rsa.PublicKey) http.HandlerFunc {
	encode := base64.RawURLEncoding.EncodeToString
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/jwk-set+json")
		w.Header().Set("Cache-Control", "public, max-age=300")
		json.NewEncoder(w).Encode(map[string]any{"keys": []map[string]string{{
			"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "2026-03",
			"n": encode(key.N.Bytes()), "e": encode(big.NewInt(int64(key.E)).Bytes()),
		}}})
	}
}

// The metadata of a host with a token endpoint and ID tokens, at the addresses where OpenID
// Connect and OAuth clients look for it.
func ExampleHandler_MetadataHandler() {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		log.Fatal(err)
	}
	memory := authorize.NewMemory(authorize.MemoryConfig{})
	nobody := func(*http.Request) (*session.Session, error) { return nil, nil }
	endpoint, err := authorize.New(authorize.Config{
		Issuer: "https://accounts.example", Clients: memory, Codes: memory,
		Sessions: authorize.SessionFunc(nobody), Login: authorize.LoginURL("/login"),
		Scopes: []string{"openid", "profile"},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/authorize", endpoint) // never in CORS
	metadata := endpoint.MetadataHandler(map[string]any{
		"token_endpoint":                        "https://accounts.example/token",
		"jwks_uri":                              "https://accounts.example/jwks",
		"grant_types_supported":                 []string{"authorization_code"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "none"},
		"subject_types_supported":               []string{"public"}, // this and the next for OpenID Connect
		"id_token_signing_alg_values_supported": []string{"RS256"},
	})
	for _, path := range endpoint.MetadataPaths() {
		mux.Handle(path, metadata)
	}
	mux.Handle("/jwks", authorize.CORS(publicKeys(&key.PublicKey), http.MethodGet))

	for _, path := range []string{
		"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/jwks", "/authorize",
	} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		var document struct {
			Authorize string `json:"authorization_endpoint"`
			Token     string `json:"token_endpoint"`
			Keys      []any
		}
		json.Unmarshal(w.Body.Bytes(), &document) // fails for the error page, which is HTML
		fmt.Printf("%s %d %q %q %q %d\n", path, w.Code, w.Header().Get("Access-Control-Allow-Origin"),
			document.Authorize, document.Token, len(document.Keys))
	}
	// Output:
	// /.well-known/openid-configuration 200 "*" "https://accounts.example/authorize" "https://accounts.example/token" 0
	// /.well-known/oauth-authorization-server 200 "*" "https://accounts.example/authorize" "https://accounts.example/token" 0
	// /jwks 200 "*" "" "" 1
	// /authorize 400 "" "" "" 0
}
