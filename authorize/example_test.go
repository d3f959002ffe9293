package authorize_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"

	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/pkce"
	"github.com/usher-auth/usher/session"
)

const verifier = "1tBnEmtSImyCykPHxHYBdzpSFhKEj0Q1LuiHd4fdDlY"

// requestURL is the URL that a client sends the browser to.
func requestURL(extra ...string) string {
	query := url.Values{
		"response_type":         {"code"},
		"client_id":             {"wiki"},
		"redirect_uri":          {"https://wiki.example/callback"},
		"scope":                 {"openid"},
		"code_challenge":        {pkce.Challenge(verifier)},
		"code_challenge_method": {pkce.MethodS256},
	}
	for i := 0; i < len(extra); i += 2 {
		query.Set(extra[i], extra[i+1])
	}
	return "https://accounts.example/authorize?" + query.Encode()
}

// exampleConfig configures an endpoint at which alice is signed in.
func exampleConfig() authorize.Config {
	memory := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{{
		ID:           "wiki",
		Name:         "The wiki",
		RedirectURIs: []string{"https://wiki.example/callback"},
		Scopes:       []string{"openid", "profile"},
	}}})
	alice := func(*http.Request) (*session.Session, error) {
		return &session.Session{Subject: "alice", AuthTime: time.Now().Add(-time.Hour)}, nil
	}
	return authorize.Config{
		Issuer:   "https://accounts.example",
		Clients:  memory,
		Codes:    memory,
		Sessions: authorize.SessionFunc(alice),
		Login:    authorize.LoginURL("/login"),
	}
}

// visit returns where the endpoint sends a browser.
func visit(h http.Handler, target string) *url.URL {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
	location, err := w.Result().Location()
	if err != nil {
		return &url.URL{}
	}
	return location
}

func ExampleNew() {
	endpoint, err := authorize.New(exampleConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	answer := visit(endpoint, requestURL("state", "af0ifjsldkj"))
	fmt.Println(answer.Host, answer.Query().Get("state"), answer.Query().Get("iss"), len(answer.Query().Get("code")))
	// Output: wiki.example af0ifjsldkj https://accounts.example 43
}

// New says which field is wrong and what to do.
func ExampleNew_misconfigured() {
	config := exampleConfig()
	config.Issuer = "http://accounts.example"
	_, err := authorize.New(config)
	fmt.Println(err)
	// Output: authorize: Config.Issuer is "http://accounts.example": http is allowed on loopback only, use https
}

// Users have to accept new terms before any client gets a response.
func ExampleInteraction() {
	accepted := map[string]bool{}
	config := exampleConfig()
	config.Interactions = []authorize.Interaction{{
		Name: "terms",
		Needed: func(_ context.Context, s *session.Session, _ *authorize.Request) (bool, error) {
			return !accepted[s.Subject], nil
		},
		Page: "/terms",
	}}
	endpoint, err := authorize.New(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(visit(endpoint, requestURL()).Path)
	fmt.Println(visit(endpoint, requestURL("prompt", "none")).Query().Get("error"))
	accepted["alice"] = true
	fmt.Println(visit(endpoint, requestURL()).Host)
	// Output:
	// /terms
	// interaction_required
	// wiki.example
}

// A token endpoint that a host writes itself redeems the code once the client has authenticated.
// The package tokenendpoint does this, and the rest of it.
func ExampleHandler_Redeem() {
	endpoint, err := authorize.New(exampleConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	tokens := map[[32]byte]string{} // by the hash of the code that they were issued for
	redeem := func(presented, verifier string) error {
		hash := sha256.Sum256([]byte(presented))
		code, err := endpoint.Redeem(context.Background(), authorize.Redemption{
			Code:        presented,
			ClientID:    "wiki", // the one that has authenticated
			RedirectURI: "https://wiki.example/callback",
			Verifier:    verifier,
		})
		var replay *authorize.ReplayError
		if errors.As(err, &replay) {
			delete(tokens, hash) // the code has leaked: what was issued for it ends
		}
		if err != nil {
			return err // oautherr.InvalidGrant, or the store failed
		}
		tokens[hash] = "a token for " + code.Subject
		return nil
	}
	code := visit(endpoint, requestURL()).Query().Get("code")
	for _, verifier := range []string{pkce.NewVerifier(), verifier, verifier} {
		err := redeem(code, verifier)
		fmt.Println(len(tokens), errors.Is(err, oautherr.InvalidGrant))
	}
	// Output:
	// 0 true
	// 1 false
	// 0 true
}

// A login page in another process needs only the public keys to read the request. At the
// end it sends the browser to ResumeURL or DenyURL.
func ExamplePendingReader() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	config := exampleConfig()
	config.Keys = []authorize.Key{{Signer: key}}
	endpoint, err := authorize.New(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	keys := httptest.NewRecorder()
	endpoint.PendingKeysHandler().ServeHTTP(keys, httptest.NewRequest("GET", "/keys", nil))
	loginPage := visit(endpoint, requestURL("prompt", "login", "login_hint", "alice@example.com"))

	reader, err := authorize.NewPendingReader("https://accounts.example", "", keys.Body.Bytes(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	pending, err := reader.Read(loginPage.Query().Get("req"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(pending.Request.ClientID, pending.Request.LoginHint, pending.Reason)
	fmt.Println(pending.ResumeURL == "https://accounts.example/authorize?req="+pending.JWT)
	// Output:
	// wiki alice@example.com prompt_login
	// true
}

// The usual kinds of clients, and how to register them. The last one is wrong:
// PrivateUseSchemes is missing.
func ExampleCheckClient() {
	for _, client := range []authorize.Client{
		{ID: "website", RedirectURIs: []string{"https://app.example/callback"}}, // with a secret at the token endpoint
		{ID: "single page", Public: true, RedirectURIs: []string{"https://app.example/callback"}},
		{ID: "command line", Public: true, RedirectURIs: []string{"http://127.0.0.1/", "http://localhost/"}}, // any port
		{ID: "phone", Public: true, RedirectURIs: []string{"com.example.app:/callback"}},
		{ID: "editor", Public: true, RedirectURIs: []string{"cursor://callback"}, PrivateUseSchemes: []string{"cursor"}},
		{ID: "no PKCE", RedirectURIs: []string{"https://app.example/callback"}, PKCEOptional: true},
		{ID: "fragment", RedirectURIs: []string{"https://app.example/"}, ResponseModes: []string{"query", "fragment"}},
		{ID: "no browser", OutOfBand: authorize.OutOfBandAuto},
		{ID: "own", FirstParty: true, RedirectURIs: []string{"https://app.example/callback"}}, // nobody is asked for consent
		{ID: "registered itself", Unvetted: true, RedirectURIs: []string{"https://app.example/callback"}},
		{ID: "wrong", Public: true, RedirectURIs: []string{"cursor://callback"}},
	} {
		if err := authorize.CheckClient(client); err != nil {
			fmt.Println(client.ID+":", err)
		}
	}
	// Output:
	// wrong: Client.RedirectURIs[0]: redirect URI "cursor://callback" has the scheme "cursor", which is neither https nor a private-use one such as com.example.app: if it belongs to an app of this client, put it into Client.PrivateUseSchemes, in the same letters
}

func ExampleCheckRedirectURI() {
	fmt.Println(authorize.CheckRedirectURI("https://app.example/callback"))
	fmt.Println(authorize.CheckRedirectURI("http://app.example/callback"))
	// Output:
	// <nil>
	// redirect URI "http://app.example/callback" uses http on a host that is not loopback
}
