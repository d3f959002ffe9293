// Command account-pages lets applications send their users to the pages of an
// account: they ask for response_type=none, and the parameter x_method names the
// page. The user signs in or registers, agrees to what the entry point in scope
// shares, does what the page is for and is sent back, without a code or a token.
//
// The files, in the order in which a user passes through them:
//
//	clients.go   two applications on domains of their own
//	config.go    the endpoint
//	handover.go  how an app hands its user over to a browser; clienthandover.go is the app
//	token.go     who is signed in, by cookie or by access token
//	signin.go    login, registration and logout
//	account.go   the pages of the account: consent and what x_method names
//	accounts.go  the users
//	pages.go     what is mounted where, and how pages are written
//	refused.go   pages in place of bare text
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

// entryPoints are what a scope can name, and what each shares with the client.
var entryPoints = map[string]string{
	"club-profile":    "Your name",
	"club-newsletter": "Which newsletters you have chosen",
	"shop-checkout":   "Your name",
}

// method is a value of x_method and the page that it leads to, at "/" + name. A
// method more is a line in newServer and a page: nothing else knows their names.
type method struct {
	name  string
	label string           // for people
	page  http.HandlerFunc // shows the page and takes its form
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
	// Ports of a host share cookies, hence the name.
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
