package authorize_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

type tokenEndpoint struct {
	endpoint *authorize.Handler
	secrets  map[string][32]byte // the SHA-256 of each client's secret; a public client's secret is ""
	mu       sync.Mutex
	tokens   map[[32]byte]string // by the SHA-256 of the code for which they were issued
}

func (t *tokenEndpoint) exchange(r *http.Request) (map[string]any, error) {
	client, secret := r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	if id, password, ok := r.BasicAuth(); ok { // both are form-encoded (RFC 6749 §2.3.1)
		client, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(password)
	}
	if known, found := t.secrets[client]; !found || known != sha256.Sum256([]byte(secret)) {
		return nil, oautherr.InvalidClient
	}
	switch r.PostFormValue("grant_type") {
	case "authorization_code":
	case "":
		return nil, oautherr.InvalidRequest
	default:
		return nil, oautherr.Code("unsupported_grant_type")
	}
	hash := sha256.Sum256([]byte(r.PostFormValue("code")))
	t.mu.Lock() // so that no replay comes between a code and its token
	defer t.mu.Unlock()
	code, err := t.endpoint.Redeem(r.Context(), authorize.Redemption{
		Code:        r.PostFormValue("code"),
		ClientID:    client,
		RedirectURI: r.PostFormValue("redirect_uri"),
		Verifier:    r.PostFormValue("code_verifier"),
	})
	var replay *authorize.ReplayError
	if errors.As(err, &replay) {
		delete(t.tokens, hash) // the code has leaked: revoke what was issued for it
	}
	if err != nil {
		return nil, err // oautherr.InvalidGrant, or the store failed
	}
	t.tokens[hash] = rand.Text()
	return map[string]any{
		"access_token": t.tokens[hash], "token_type": "Bearer", "expires_in": 600, "scope": strings.Join(code.Scopes, " "),
	}, nil
}

func (t *tokenEndpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := t.exchange(r)
	if err != nil {
		e := oautherr.Of(err)            // its cause is for the log
		status := map[oautherr.Code]int{ // 400 for all others (RFC 6749 §5.2)
			oautherr.InvalidClient: 401, oautherr.ServerError: 503, oautherr.TemporarilyUnavailable: 503,
		}[e.Code]
		w.Header().Set("WWW-Authenticate", `Basic realm="token"`)
		authorize.ErrorJSON(w, r, authorize.PageError{Status: status, Code: e.Code, Description: e.Text()})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(answer)
}

// A complete token endpoint, for clients with a secret and for public clients.
func Example_tokenEndpoint() {
	const issuer, callback = "https://accounts.example", "https://wiki.example/callback"
	memory := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{
		{ID: "wiki", RedirectURIs: []string{callback}, Scopes: []string{"openid"}},
		{ID: "app", RedirectURIs: []string{callback}, Scopes: []string{"openid"}, Public: true},
	}})
	alice := authorize.SessionFunc(func(*http.Request) (*session.Session, error) {
		return &session.Session{Subject: "alice", AuthTime: time.Now()}, nil
	})
	endpoint, err := authorize.New(authorize.Config{
		Issuer: issuer, Clients: memory, Codes: memory, Sessions: alice, Login: authorize.LoginURL("/login"),
	})
	if err != nil {
		log.Fatal(err)
	}
	token := &tokenEndpoint{endpoint: endpoint, tokens: map[[32]byte]string{}}
	token.secrets = map[string][32]byte{"wiki": sha256.Sum256([]byte("s3cr3t")), "app": sha256.Sum256(nil)}
	mux := http.NewServeMux()
	mux.Handle("/authorize", endpoint)
	mux.Handle("/token", authorize.CORS(token, http.MethodPost))
	browser := authorizetest.NewBrowser()
	browser.Handle(issuer, mux)
	present := func(id string, secrets ...string) {
		client := authorizetest.Client{Issuer: issuer, ID: id, RedirectURI: callback, Scopes: []string{"openid"}}
		flow := client.Start()
		page, err := browser.Open(flow.URL)
		if err != nil {
			log.Fatal(err)
		}
		form := url.Values{"grant_type": {"authorization_code"}, "client_id": {id}, "code": page.URL.Query()["code"]}
		form["redirect_uri"], form["code_verifier"] = []string{callback}, []string{flow.Verifier}
		for _, secret := range secrets {
			form.Set("client_secret", secret)
			page, err := browser.PostFrom(callback, issuer+"/token", form)
			var answer struct{ Scope, Error string }
			json.Unmarshal([]byte(page.Body), &answer)
			fmt.Println(id, page.Status, answer, page.Header.Get("Cache-Control"), len(token.tokens), err)
		}
	}
	present("wiki", "guess", "s3cr3t", "s3cr3t") // the third is a replay, which revokes the token
	present("app", "")
	// Output:
	// wiki 401 { invalid_client} no-store 0 <nil>
	// wiki 200 {openid } no-store 1 <nil>
	// wiki 400 { invalid_grant} no-store 0 <nil>
	// app 200 {openid } no-store 1 <nil>
}
