package authorize_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

var notes = authorize.Resource{ID: "https://api.example/notes", Name: "Notes", Scopes: []string{"read", "write"}}

// notesAPI is the protected resource. tokens has what each access token was issued for.
func notesAPI(w http.ResponseWriter, r *http.Request, tokens map[string]*authorize.Code) {
	value, sent := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	token, needs := tokens[value], map[string]string{"GET": "read", "POST": "write"}[r.Method]
	status, code := http.StatusUnauthorized, oautherr.Code("")
	switch {
	case !sent:
	case token == nil || !slices.Contains(token.Resources, notes.ID): // it may be for another API
		code = oautherr.InvalidToken
	case !slices.Contains(token.Scopes, needs):
		status, code = http.StatusForbidden, oautherr.InsufficientScope
	default:
		fmt.Fprint(w, "Hello, ", token.Subject)
		return
	}
	w.Header().Set("WWW-Authenticate", notes.Challenge(code, needs))
	w.WriteHeader(status)
}

// notesConsent asks only for what is new. Example (ConsentPage) is a whole page.
func notesConsent(w http.ResponseWriter, r *http.Request, endpoint *authorize.Handler) {
	switch pending, err := endpoint.Pending(r); {
	case err != nil:
		endpoint.ShowError(w, r, err)
	case pending.Subject == "":
		endpoint.Resume(w, r) // the signed-in user has changed
	case r.Method == http.MethodPost:
		endpoint.Grant(w, r, authorize.Granted{Scopes: append(pending.GrantedScopes, pending.NewScopes...)})
	default:
		fmt.Print("The page asks for ", pending.NewScopes, " at ", pending.Resources[0].DisplayName(), ". Then ")
		fmt.Fprint(w, `<!DOCTYPE html><form method="post"><button>Yes</button></form>`)
	}
}

func orPanic[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// A client learns at the API where to sign in, and later that it needs another scope. It then
// asks for all scopes, old and new, in a new request, and the user sees only what is new.
func ExampleResource_Challenge() {
	client := authorizetest.Client{Issuer: "https://accounts.example", ID: "app", RedirectURI: "https://app.example/callback"}
	memory := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{
		{ID: "app", Public: true, RedirectURIs: []string{client.RedirectURI}, Scopes: notes.Scopes}}})
	endpoint := orPanic(authorize.New(authorize.Config{
		Issuer: client.Issuer, Clients: memory, Codes: memory, Login: authorize.LoginURL("/login"),
		Sessions: authorize.SessionFunc(func(*http.Request) (*session.Session, error) {
			return &session.Session{ID: "1", Subject: "alice", AuthTime: time.Now()}, nil
		}),
		Consent: &authorize.Consent{Page: "/consent", Store: memory}, Resources: authorize.ResourceMap{notes.ID: notes},
	}))
	access, scopes, tokens := "", []string{}, map[string]*authorize.Code{} // a host keeps hashes
	mux, browser := http.NewServeMux(), authorizetest.NewBrowser()
	mux.Handle("/authorize", endpoint)
	mux.HandleFunc("/consent", func(w http.ResponseWriter, r *http.Request) { notesConsent(w, r, endpoint) })
	mux.HandleFunc("api.example/notes", func(w http.ResponseWriter, r *http.Request) { notesAPI(w, r, tokens) })
	browser.Handle(client.Issuer, mux)
	browser.Handle("https://api.example", mux)
	for _, path := range notes.MetadataPaths() {
		mux.Handle("api.example"+path, endpoint.ResourceMetadataHandler(notes))
		fmt.Println(path, orPanic(browser.Open("https://api.example"+path)).Body)
	}
	for _, method := range []string{"GET", "GET", "POST", "POST"} {
		r, w := httptest.NewRequest(method, notes.ID, nil), httptest.NewRecorder()
		r.Header.Set("Authorization", access)
		mux.ServeHTTP(w, r)
		challenge := w.Header().Get("WWW-Authenticate")
		fmt.Printf("%s %d %s%s\n", method, w.Code, w.Body, challenge)
		if needs := regexp.MustCompile(` scope="([^"]*)"`).FindStringSubmatch(challenge); needs != nil {
			scopes = append(scopes, strings.Fields(needs[1])...)
			flow := client.Start(url.Values{"scope": {strings.Join(scopes, " ")}, "resource": {notes.ID}})
			page := orPanic(orPanic(browser.Open(flow.URL)).Submit(nil))
			value, code := rand.Text(), orPanic(flow.Check(page.Request))
			tokens[value] = orPanic(endpoint.Redeem(context.Background(), flow.Redemption(code)))
			access = "Bearer " + value
		}
	}
	// Output:
	// /.well-known/oauth-protected-resource/notes {"authorization_servers":["https://accounts.example"],"bearer_methods_supported":["header"],"resource":"https://api.example/notes","resource_name":"Notes","scopes_supported":["read","write"]}
	// /.well-known/oauth-protected-resource {"authorization_servers":["https://accounts.example"],"bearer_methods_supported":["header"],"resource":"https://api.example/notes","resource_name":"Notes","scopes_supported":["read","write"]}
	// GET 401 Bearer scope="read", resource_metadata="https://api.example/.well-known/oauth-protected-resource/notes"
	// The page asks for [read] at Notes. Then GET 200 Hello, alice
	// POST 403 Bearer error="insufficient_scope", scope="write", resource_metadata="https://api.example/.well-known/oauth-protected-resource/notes"
	// The page asks for [write] at Notes. Then POST 200 Hello, alice
}
