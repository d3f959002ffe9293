package cimd_test

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	"github.com/usher-auth/usher/authorize/cimd"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

const issuer = "http://127.0.0.1:8080" // on loopback, so that documents may be there too

// The host of the document leads; the name is only what the client calls itself.
var consentHTML = template.Must(template.New("consent").Parse(`<!DOCTYPE html>
<h1>{{.Host}}</h1> <p>It calls itself {{.Request.Client.DisplayName}} and asks for {{range .Request.Scopes}}{{.}} {{end}}</p>
<form method="post"><button>Allow</button></form> <p>The answer goes to {{.Request.RedirectHost}}.</p>`))

func consentPage(w http.ResponseWriter, r *http.Request, endpoint *authorize.Handler) {
	pending, err := endpoint.Pending(r)
	switch {
	case err != nil:
		endpoint.ShowError(w, r, err)
	case r.Method == http.MethodPost:
		endpoint.Grant(w, r, authorize.Granted{Scopes: pending.Request.Scopes})
	default:
		u, _ := url.Parse(pending.Request.ClientID)
		consentHTML.Execute(w, map[string]any{"Request": pending.Request, "Host": u.Hostname()})
	}
}

// whatATokenEndpointSays to a client_id: it never fetches.
func whatATokenEndpointSays(clients authorize.ClientStore, id string) string {
	client, err := clients.Client(context.Background(), id)
	switch {
	case errors.Is(err, authorize.ErrClientNotFetched):
		return "a public client, if the code was issued to it"
	case client == nil && err == nil, errors.Is(err, oautherr.InvalidClient):
		return "401 invalid_client"
	case err != nil:
		return "503"
	}
	return fmt.Sprintf("a client, public: %t", client.Public)
}

func Example() {
	notes := authorizetest.Client{Issuer: issuer, RedirectURI: "https://notes.example/callback", Scopes: []string{"notes:read"}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // what it publishes
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"client_id": %q, "client_name": "Notes", "redirect_uris": [%q]}`, notes.ID, notes.RedirectURI)
	}))
	defer server.Close()
	notes.ID = server.URL + "/client.json"
	memory := authorize.NewMemory(authorize.MemoryConfig{}) // has the host's own clients
	blocked := ""
	clients, err := cimd.New(cimd.Config{
		Issuer: issuer, Clients: memory, Scopes: []string{"notes:read", "notes:write"},
		Allow:   func(_ context.Context, u *url.URL) (bool, error) { return u.Hostname() != blocked, nil },
		OnEvent: func(_ context.Context, e cimd.Event) { fmt.Println("event:", e.Kind, e.Status, e.RedirectHosts) },
	})
	if err != nil {
		log.Fatal(err)
	}
	signedIn := time.Now()
	endpoint, err := authorize.New(authorize.Config{
		Issuer: issuer, Clients: clients, Codes: memory, Login: authorize.LoginURL("/login"),
		Consent: &authorize.Consent{Page: "/consent", Store: memory}, // required: nobody has vetted such clients
		Sessions: authorize.SessionFunc(func(*http.Request) (*session.Session, error) {
			return &session.Session{Subject: "alice", AuthTime: signedIn}, nil
		}),
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/authorize", endpoint)
	mux.HandleFunc("/consent", func(w http.ResponseWriter, r *http.Request) { consentPage(w, r, endpoint) })
	mux.Handle("/.well-known/oauth-authorization-server", endpoint.MetadataHandler(clients.Metadata()))
	fmt.Println("before:", whatATokenEndpointSays(clients, notes.ID))
	browser := authorizetest.NewBrowser()
	browser.Handle(issuer, mux)
	flow := notes.Start()
	page, err := browser.Open(flow.URL)
	fmt.Println(page.Body, err)
	page, err = page.Submit(nil)
	code, wrong := flow.Check(page.Request)
	fmt.Println("a code at "+page.URL.Host+":", code != "", err, wrong)
	fmt.Println("after:", whatATokenEndpointSays(clients, notes.ID))
	blocked = "127.0.0.1"
	fmt.Println("blocked:", whatATokenEndpointSays(clients, notes.ID))
	// Output:
	// before: a public client, if the code was issued to it
	// event: fetched 200 [notes.example]
	// <!DOCTYPE html>
	// <h1>127.0.0.1</h1> <p>It calls itself Notes and asks for notes:read </p>
	// <form method="post"><button>Allow</button></form> <p>The answer goes to notes.example.</p> <nil>
	// a code at notes.example: true <nil> <nil>
	// after: a client, public: true
	// event: refused 0 []
	// blocked: 401 invalid_client
}
