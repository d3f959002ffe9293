// Command provider is a small but complete OpenID provider for development and for
// tests of clients. Users, clients and passwords come from one JSON file. Everything
// else is in memory and is lost when the process ends.
//
// The files, in the order in which a sign-in passes through them:
//
//	config.go     the JSON file
//	server.go     the routes and the configuration of the endpoint
//	login.go      the pages for signing in and out
//	accounts.go   the page on which the user chooses among several accounts
//	consent.go    the page on which the user agrees
//	workspace.go  the workspace that the user chooses there
//	token.go      what the token endpoint issues
//	dcr.go        clients that register themselves
//	cimd.go       clients that introduce themselves by a document
//	idtoken.go    the key, ID tokens and the JWK Set
//	tokens.go     access and refresh tokens, until they expire or are revoked
//	userinfo.go   claims about the user of a token
//	explain.go    the page that says why a request is refused
//	demo.go       the demo client, if there is no file
//	pages.go      writes the pages
//	refused.go    pages in place of errors in plain text
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

//go:embed default.json
var defaultConfig []byte

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on; port 0 takes a free one")
	file := flag.String("config", "",
		"JSON file with clients and users; default: alice, bob and two demo clients")
	explain := flag.Bool("explain", false, "serve /explain, which tells why a request is refused; for development")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(flag.CommandLine.Output(), "provider: %q is not expected\n", flag.Arg(0))
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *file, *explain); err != nil {
		fmt.Fprintln(os.Stderr, "provider:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, addr, file string, explain bool) error {
	cfg, err := loadConfig(file)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("%w (another address: -addr 127.0.0.1:0)", err)
	}
	defer listener.Close()
	if cfg.Issuer == nil && !listener.Addr().(*net.TCPAddr).IP.IsLoopback() {
		return fmt.Errorf("this listens on 127.0.0.1 only, not on %q, unless a file (-config) has an issuer", addr)
	}
	address := "http://" + listener.Addr().String()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	provider, err := newServer(options{
		config: cfg, issuer: cfg.issuerOr(address), demo: file == "", explain: explain, log: log, now: time.Now,
	})
	if err != nil {
		return err
	}
	fmt.Print(provider.welcome(address, cfg, file))
	return serve(ctx, listener, provider.routes(), log)
}

// welcome tells how to try the provider.
func (s *server) welcome(address string, cfg *config, file string) string {
	var users []string
	for _, u := range cfg.Users {
		if s.demo != nil {
			u.Username += " with " + u.Password
		}
		users = append(users, u.Username)
	}
	text := fmt.Sprintf("listening on %s\nopen %s in a browser", address, s.issuer)
	if s.demo != nil {
		text += `, choose "Try it"`
	}
	if len(users) > 0 {
		text += " and sign in as " + strings.Join(users, " or ")
	}
	if file != "" {
		text += " (passwords are in " + file + ")"
	}
	if s.explain {
		text += "\nopen " + s.origin + s.path + "/explain in a browser to read why a request is refused"
	}
	return text + "\n"
}

func loadConfig(file string) (*config, error) {
	if file == "" {
		return parseConfig(defaultConfig)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	cfg, err := parseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return cfg, nil
}

// serve handles requests until ctx ends. Then it completes those that have begun.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      20 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		stopped <- server.Shutdown(grace)
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}
