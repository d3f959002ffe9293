// Command account-pages lets applications send their users to the pages of their account,
// with response_type=none. The parameter x_method names the page. The user signs in or
// registers, agrees to share the data of the entry point in scope, and uses the page. Then
// the user is sent back, without a code or a token.
//
// The files, in the order in which a user passes through them:
//
//	clients.go   two applications, each on its own domain
//	config.go    the endpoint
//	handover.go  how an app hands its user over to a browser; clienthandover.go is the app
//	token.go     who is signed in, by cookie or by access token
//	signin.go    login, registration and logout
//	account.go   the pages of the account: consent and those of x_method
//	accounts.go  the users
//	pages.go     the routes, and how pages are written
//	refused.go   pages in place of errors in plain text
package main

import (
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
	"github.com/usher-auth/usher/session"
)

// entryPoints are the scopes, with the data that each shares with the client.
var entryPoints = map[string]string{
	"club-profile":    "Your name",
	"club-newsletter": "Which newsletters you have chosen",
	"shop-checkout":   "Your name",
}

// method is a value of x_method with its page, at "/" + name. For one more method, add a
// line in newServer and a page.
type method struct {
	name  string
	label string           // for users
	page  http.HandlerFunc // shows the page and handles its form
}

type server struct {
	issuer   string
	clients  []*client
	methods  []method
	accounts *accounts
	cookies  *session.Cookies
	tokens   *tokens
	tickets  *tickets
	endpoint *authorize.Handler
	log      *slog.Logger

	backChannel *http.Client // of the clients, to this server
}

func newServer(issuer, urlA, urlB string) (*server, error) {
	// All ports of a host share cookies, so the name must be unlike those of other programs.
	cookies, err := session.NewCookies(session.Config{
		Name: "account-pages", Insecure: strings.HasPrefix(issuer, "http://"),
	})
	if err != nil {
		return nil, err
	}
	s := &server{
		issuer: issuer, accounts: newAccounts(), cookies: cookies, log: slog.New(slog.DiscardHandler),
		tokens: newTokens(time.Now), tickets: newTickets(time.Now),
		backChannel: &http.Client{Timeout: 5 * time.Second},
	}
	s.methods = []method{
		{"edit-account", "Edit your account", s.editAccount},
		{"newsletters", "Choose your newsletters", s.chooseNewsletters},
	}
	s.clients = []*client{
		{id: "client-a", name: "The Club", url: urlA, entryPoints: []string{"club-profile", "club-newsletter"},
			server: s},
		{id: "client-b", name: "The Shop", url: urlB, entryPoints: []string{"shop-checkout"}, server: s},
	}
	return s, nil
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on; port 0 takes a free one")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(flag.CommandLine.Output(), "account-pages: %q is not expected\n", flag.Arg(0))
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
	port := fmt.Sprint(":", listener.Addr().(*net.TCPAddr).Port)
	s, err := newServer("http://"+listener.Addr().String(),
		"http://client-a.localhost"+port, "http://client-b.localhost"+port)
	if err != nil {
		log.Fatal(err)
	}
	s.log = slog.Default()
	handler, err := s.handler()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", s.issuer)
	fmt.Println("open", s.clients[0].url, "in a browser and sign in as alice with alice-password")
	fmt.Println("open", s.clients[1].url, "in the same browser, where you are signed in already")
	log.Fatal((&http.Server{Handler: handler, ReadTimeout: 10 * time.Second}).Serve(listener))
}
