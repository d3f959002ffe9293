package dcr_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	"github.com/usher-auth/usher/authorize/dcr"
	"github.com/usher-auth/usher/session"
)

// consentPage says the least that a page has to say. Package authorize has an example of a whole one.
func consentPage(endpoint *authorize.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		pending, err := endpoint.Pending(r)
		switch {
		case err != nil:
			endpoint.ShowError(w, r, err)
		case r.Method == http.MethodPost:
			endpoint.Grant(w, r, authorize.Granted{Scopes: pending.Request.Scopes})
		default:
			fmt.Printf("%q asks for %q and wants the answer at %s\n",
				pending.Request.Client.Name, pending.Request.Scopes, pending.Request.RedirectHost())
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, `<form method="post"><button>Yes</button></form>`)
		}
	}
}

// An editor that nobody knows registers, and its user signs in and agrees. The secret of a real
// host comes from where its other secrets are, and lives as long as the clients.
func Example() {
	const issuer = "https://accounts.example"
	memory := authorize.NewMemory(authorize.MemoryConfig{}) // of the host's own clients: none
	// region dcr
	registrations, err := dcr.New(dcr.Config{
		Clients: memory, // asked first
		Issuer:  issuer,
		Keys:    []authorize.Key{{Secret: []byte("at least 32 bytes that are random")}},
		Scopes:  []string{"read", "write"}, // open to every application
		Allow: func(_ context.Context, r dcr.Registration) (bool, error) {
			return !strings.Contains(strings.ToLower(r.ClientName), "accounts"), nil
		},
	})
	// endregion
	if err != nil {
		log.Fatal(err)
	}
	sessions := authorize.SessionFunc(func(*http.Request) (*session.Session, error) {
		return &session.Session{ID: "1", Subject: "alice", AuthTime: time.Unix(1_800_000_000, 0)}, nil
	})
	endpoint, err := authorize.New(authorize.Config{
		Issuer: issuer, Clients: registrations, Codes: memory, Sessions: sessions, Login: authorize.LoginURL("/login"),
		Consent: &authorize.Consent{Page: "/consent", Store: memory}, // they get nothing without it
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/authorize", endpoint)
	mux.Handle("/register", registrations) // behind a limit on the rate
	mux.Handle("/.well-known/oauth-authorization-server", endpoint.MetadataHandler(registrations.Metadata()))
	mux.HandleFunc("/consent", consentPage(endpoint))

	post := func(metadata string) (answer map[string]any) {
		r := httptest.NewRequest(http.MethodPost, issuer+"/register", strings.NewReader(metadata))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		json.Unmarshal(w.Body.Bytes(), &answer) // an empty answer shows in the output
		fmt.Println(w.Code, answer["token_endpoint_auth_method"], answer["scope"], answer["error_description"])
		return answer
	}
	post(`{"client_name":"Accounts","redirect_uris":["https://evil.example/cb"]}`)
	post(`{"client_name":"Editor","redirect_uris":["http://editor.example/cb"]}`)
	first := post(`{"client_name":"Editor","redirect_uris":["http://127.0.0.1:4711/callback"]}`)
	second := post(`{"redirect_uris":["http://127.0.0.1:9021/callback"],"client_name":"Editor"}`)
	fmt.Println("the same client:", first["client_id"] == second["client_id"])

	id, redirectURI := first["client_id"].(string), "http://127.0.0.1:33418/callback"
	editor := authorizetest.Client{Issuer: issuer, ID: id, RedirectURI: redirectURI, Scopes: []string{"read"}}
	browser := authorizetest.NewBrowser()
	browser.Handle(issuer, mux)
	flow := editor.Start()
	page, err := browser.Open(flow.URL)
	if err != nil {
		log.Fatal(err)
	}
	page, err = page.Submit(nil, "Yes")
	if err != nil {
		log.Fatal(err)
	}
	_, err = flow.Check(page.Request) // the code is there, and state and iss are right
	fmt.Println(page.URL.Host, err)
	// Output:
	// 400 <nil> <nil> The server does not take this client.
	// 400 <nil> <nil> redirect_uris[0] uses http on a host that is not loopback.
	// 201 none read write <nil>
	// 201 none read write <nil>
	// the same client: true
	// "Editor" asks for ["read"] and wants the answer at 127.0.0.1:33418
	// 127.0.0.1:33418 <nil>
}
