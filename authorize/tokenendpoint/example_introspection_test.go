package tokenendpoint_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/tokenendpoint"
	oautherr "github.com/usher-auth/usher/errors"
)

type issued struct{ Client, Subject, Scope string }

type server struct {
	endpoint *tokenendpoint.Handler
	tokens   map[string]issued // by SecretHash
}

// revoke ends a token of the client's own (RFC 7009). To the client, one that is not there is
// as good as revoked.
func (s *server) revoke(w http.ResponseWriter, r *http.Request) {
	request, err := s.endpoint.Authenticate(r)
	if err == nil && request.Get("token") == "" {
		err = oautherr.InvalidRequest.With("token is missing.")
	}
	if err != nil {
		s.endpoint.WriteError(w, r, err)
		return
	}
	hash := tokenendpoint.SecretHash(request.Get("token"))
	if s.tokens[hash].Client == request.Client.ID {
		delete(s.tokens, hash) // and whatever else came of the same code
	}
	w.Header().Set("Cache-Control", "no-store")
}

// introspect tells an API what a token is good for (RFC 7662). Who asks has a secret, and is not
// just anybody who has found a token.
func (s *server) introspect(w http.ResponseWriter, r *http.Request) {
	request, err := s.endpoint.Authenticate(r)
	if err == nil && request.Client.ID != "api" {
		err = oautherr.UnauthorizedClient.With("This is for APIs only.")
	}
	if err != nil {
		s.endpoint.WriteError(w, r, err)
		return
	}
	answer := map[string]any{"active": false}
	if token, found := s.tokens[tokenendpoint.SecretHash(request.Get("token"))]; found {
		answer = map[string]any{
			"active": true, "client_id": token.Client, "sub": token.Subject, "scope": token.Scope,
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(answer)
}

// Endpoints for revocation and introspection, beside the token endpoint.
func ExampleHandler_Authenticate() {
	const secret = "ONQXI43FEBWXK43UEBRGKIDMN5XGO"
	hashes := map[string]string{"api": tokenendpoint.SecretHash(secret)}
	endpoint, err := tokenendpoint.New(tokenendpoint.Config{
		Clients: authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{
			{ID: "app", Public: true, RedirectURIs: []string{"https://app.example/callback"}},
			{ID: "api"}, // without a redirect URI it gets no codes
		}}),
		Secret: func(_ context.Context, c *authorize.Client, secret string) (bool, error) {
			return tokenendpoint.SecretMatches(secret, hashes[c.ID]), nil
		},
		Redeem: new(authorize.Handler).Redeem, // no code is redeemed here
		Issue: func(context.Context, *tokenendpoint.Request, *authorize.Code) (*tokenendpoint.Response, error) {
			return nil, oautherr.ServerError
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	s := &server{endpoint, map[string]issued{tokenendpoint.SecretHash("t1"): {"app", "alice", "notes"}}}
	mux := http.NewServeMux()
	mux.HandleFunc("/introspect", s.introspect)
	mux.Handle("/revoke", authorize.CORS(http.HandlerFunc(s.revoke), http.MethodPost)) // for clients in browsers

	post := func(path string, form url.Values) {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(strings.TrimSpace(fmt.Sprint(w.Code, " ", w.Body)))
	}
	asks := url.Values{"token": {"t1"}, "client_id": {"api"}, "client_secret": {secret}}
	post("/introspect", asks)
	post("/introspect", url.Values{"token": {"t1"}, "client_id": {"app"}})
	post("/revoke", url.Values{"token": {"t1"}, "client_id": {"app"}})
	post("/introspect", asks)
	// Output:
	// 200 {"active":true,"client_id":"app","scope":"notes","sub":"alice"}
	// 400 {"error":"unauthorized_client","error_description":"This is for APIs only."}
	// 200
	// 200 {"active":false}
}
