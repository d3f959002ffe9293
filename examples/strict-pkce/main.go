// Command strict-pkce is an authorization endpoint that requires every parameter of
// every request. To try it, there is a single-page client on its own origin.
//
// The configuration is here. signin.go has the pages for login and consent, token.go is
// the token endpoint, pages.go writes the pages, and refused.go writes pages in place of
// errors in plain text. The client is pages/client.js.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/tokenendpoint"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// path is where the endpoint is mounted.
const path = "/api/id/v1/auth/authorize"

// cookieName is the name of the session cookie. All ports of a host share cookies, so
// other programs must not have a cookie of this name.
const cookieName = "strict-pkce"

// required is the policy: a request without one of these parameters is refused. Even
// without a policy, the method has to be S256 and the response type code.
var required = []string{
	"client_id", "redirect_uri", "response_type", "scope", "state", "code_challenge", "code_challenge_method",
}

// configure returns the configuration for a server at the URL base. Its client is the
// single-page program at the origin app.
func configure(base, app string, sessions authorize.SessionStore) authorize.Config {
	memory := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{
		{
			ID: "app", Name: "Single-page client", Public: true,
			RedirectURIs: []string{app + "/"},
			Scopes:       []string{"profile", "email"},
		},
		{
			ID: "partner", Name: "Partner", Public: true,
			RedirectURIs: []string{"https://partner.example/callback", "https://partner.example/other"},
			Scopes:       []string{"profile"},
			Require:      []string{"max_age"}, // only of this client: the maximum age of the sign-in
		},
	}})
	// region configuration
	return authorize.Config{
		Issuer:       base,
		Endpoint:     base + path,
		Require:      required, // of all clients
		CheckRequest: answersByRedirect,
		Clients:      memory,
		Codes:        memory,
		Sessions:     sessions,
		Login:        authorize.LoginURL("/login"),
		Consent:      &authorize.Consent{Page: "/consent", Store: memory},
		ErrorPage: func(w http.ResponseWriter, _ *http.Request, p authorize.PageError) {
			show(w, base, p.Status, "error", p)
		},
	}
	// endregion
}

// answersByRedirect refuses form_post: here a response is always in the Location header.
func answersByRedirect(_ context.Context, r *authorize.Request) error {
	if r.ResponseMode == "form_post" {
		return oautherr.InvalidRequest.With("The response is always a redirect: leave out response_mode.")
	}
	return nil
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on; port 0 takes a free one")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(flag.CommandLine.Output(), "strict-pkce: %q is not expected\n", flag.Arg(0))
		flag.Usage()
		os.Exit(2)
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err, " (another address: -addr 127.0.0.1:0)")
	}
	if !listener.Addr().(*net.TCPAddr).IP.IsLoopback() {
		log.Fatal("this listens on 127.0.0.1 only: there is no https")
	}
	base := "http://" + listener.Addr().String()
	app := fmt.Sprintf("http://client.localhost:%d", listener.Addr().(*net.TCPAddr).Port)
	// Insecure is for plain http on this machine.
	sessions := must(session.NewCookies(session.Config{Insecure: true, Name: cookieName}))
	config := configure(base, app, sessions)
	config.Logger = slog.Default()
	endpoint := must(authorize.New(config))
	s := &server{endpoint, must(newTokens(config, endpoint)), sessions, base, app}
	fmt.Println("listening on", base)
	fmt.Println("open", app, "in a browser and sign in as alice with alice-password")
	log.Fatal(http.Serve(listener, s.routes()))
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// server is the host of the endpoint.
type server struct {
	endpoint  *authorize.Handler
	tokens    *tokenendpoint.Handler
	sessions  *session.Cookies
	base, app string
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(path, s.endpoint)
	forms := http.NewCrossOriginProtection() // other sites must not post these
	mux.Handle("/login", forms.Handler(http.HandlerFunc(s.login)))
	mux.Handle("/consent", forms.Handler(http.HandlerFunc(s.consent)))
	mux.Handle("/token", authorize.CORS(http.HandlerFunc(s.token), "POST")) // for one origin: see token
	mux.HandleFunc("GET /style.css", file("style.css"))
	mux.Handle("GET /{$}", http.RedirectHandler(s.app, http.StatusSeeOther))

	client := http.NewServeMux() // the client's origin has none of the above
	client.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { s.showClient(w) })
	client.HandleFunc("GET /client.js", file("client.js"))
	client.HandleFunc("GET /style.css", file("style.css"))

	sites := http.NewServeMux()
	sites.Handle("/", inPages(mux, s.refuse(s.base)))
	sites.Handle("client.localhost/", inPages(client, s.refuse(s.app)))
	return sites
}
