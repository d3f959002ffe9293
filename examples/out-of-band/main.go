// Command out-of-band is an authorization endpoint for programs without a browser. They
// read the code from the body of the response, as JSON, and exchange it for a JWT that
// names a profile. A request without such a JWT gets a new profile.
//
// The files, in the order in which a request passes through them:
//
//	client.go    the command-line client, -client
//	apikey.go    the API keys of clients
//	main.go      the endpoint
//	rules.go     additional rules for requests, and errors as JSON
//	profiles.go  the user: the profile of the JWT, or a new one
//	token.go     the token endpoint
//	refresh.go   refresh tokens, so that a client need not use the endpoint again
//	jwt.go       how JWTs are made and checked
//	shell.go     the commands that are printed at the start, and a page that shows them
package main

import (
	"context"
	"crypto/ed25519"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/usher-auth/usher/authorize"
)

// clients are two applications. Requests have no scope, so each client has a default one.
var clients = []authorize.Client{
	{
		ID: "cli", Name: "Command-line client", Public: true,
		OutOfBand: authorize.OutOfBandAuto,
		Scopes:    []string{"profile"}, DefaultScopes: []string{"profile"},
	},
	{
		ID: "website", Name: "A website's server",
		RedirectURIs: []string{"https://website.example/callback"}, // gets redirects as usual
		Scopes:       []string{"profile"}, DefaultScopes: []string{"profile"},
	},
}

// keys are for this demonstration. Real keys are random, and only their hashes are stored.
var keys = apiKeys{"cli": hash("demo-key-of-cli"), "website": hash("demo-key-of-website")}

// required are the parameters of every request. In any case, the method has to be S256 and
// the response type code.
var required = []string{
	"redirect_uri", "response_type", "client_id", "state", "code_challenge", "code_challenge_method",
}

type server struct {
	base     string
	log      *slog.Logger
	profiles *profiles
	tokens   *tokens
	endpoint *authorize.Handler

	refreshTokens *refreshTokens
}

func newServer(base string, logger *slog.Logger, now func() time.Time) (*server, error) {
	_, signer, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	s := &server{
		base: base, log: logger, profiles: newProfiles(now),
		tokens: newTokens(base, now, signer), refreshTokens: newRefreshTokens(now),
	}
	s.endpoint, err = authorize.New(s.config())
	return s, err
}

func (s *server) config() authorize.Config {
	memory := authorize.NewMemory(authorize.MemoryConfig{Clients: clients, Now: s.profiles.now})
	// region configuration
	return authorize.Config{
		Issuer:       s.base,
		Endpoint:     s.base + "/oauth/authorize",
		Clients:      memory,
		Codes:        memory,
		Sessions:     authorize.SessionFunc(s.whoAsks),
		Login:        authorize.LoginURL("/"), // for clients that are redirected; out of band it is login_required
		Require:      required,
		CheckRequest: ownRules,
		ErrorPage:    refuse,
		CodeLifetime: codeLifetime,
		Logger:       s.log,
		Now:          s.profiles.now,
	}
	// endregion
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/oauth/authorize", keys.required(s.endpoint))
	mux.Handle("POST /oauth/token", keys.required(http.HandlerFunc(s.token)))
	mux.HandleFunc("GET /{$}", s.howTo)
	return inPages(mux, refusePage)
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on; port 0 takes a free one")
	issuer := flag.String("client", "",
		"run as the client of the server at this URL, with API_KEY and PROFILE_JWT, and print the JWT")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(flag.CommandLine.Output(), "out-of-band: %q is not expected\n", flag.Arg(0))
		flag.Usage()
		os.Exit(2)
	}
	if *issuer != "" {
		c := client{issuer: strings.TrimSuffix(*issuer, "/"), key: os.Getenv("API_KEY"),
			token: os.Getenv("PROFILE_JWT")}
		fmt.Println(must(c.run(context.Background(), os.Stderr)))
		return
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err, " (another address: -addr 127.0.0.1:0)")
	}
	if !listener.Addr().(*net.TCPAddr).IP.IsLoopback() {
		log.Fatal("this listens on 127.0.0.1 only: there is no https")
	}
	s := must(newServer("http://"+listener.Addr().String(), slog.Default(), time.Now))
	fmt.Println("listening on", s.base)
	fmt.Print(s.commands())
	log.Fatal(http.Serve(listener, s.routes()))
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
