// Command tenants is one process that serves many tenants. Each has its own domain,
// endpoint, users, clients and keys. All tenants use one application. Some tenants have
// their own login page, which runs in another process.
//
// The files, in the order in which a request passes through them:
//
//	app.go      the application, a client of every tenant
//	main.go     the registry: which host belongs to which tenant
//	tenants.go  the tenants, as configuration
//	tenant.go   one tenant: its endpoint and its routes
//	keys.go     its keys, and how they change while the program runs
//	signin.go   the login page that tenants share
//	own.go      the tenants' own login pages, in the login process
//	reader.go   how these pages read the waiting request
//	ticket.go   how these pages tell the endpoint who has signed in
//	process.go  how the login process is started
//	desk.go     the operator's page: maintenance, an outage, new keys
//	pages.go    writes the pages
//	refused.go  pages in place of errors in plain text
package main

import (
	"crypto/rand"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// sites is the registry of hosts. The Host header is used only to look up the site: every
// URL that the program writes comes from the configuration.
type sites map[string]http.Handler

// anyOther is the entry for unknown hosts.
const anyOther = ""

func (s sites) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := r.Host
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	site, known := s[strings.ToLower(name)]
	if !known {
		site = s[anyOther]
	}
	site.ServeHTTP(w, r)
}

// surroundings are the values that a server gets from outside.
type surroundings struct {
	port  string // of the URLs of all tenants
	own   ready  // the login process
	token string // authenticates the login process
	log   *slog.Logger
	now   func() time.Time
}

func (s surroundings) app() string { return urlOf("app.localhost", s.port) }

type server struct {
	tenants []*tenant
	sites   sites
}

func newServer(around surroundings) (*server, error) {
	s := &server{sites: sites{anyOther: unknown(around.app())}}
	for _, settings := range registry {
		t, err := newTenant(settings, around)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", settings.Name, err)
		}
		s.tenants = append(s.tenants, t)
		s.sites[settings.host()] = t.handler()
	}
	app := &app{url: around.app(), desk: urlOf("127.0.0.1", around.port), tenants: s.tenants}
	s.sites["app.localhost"] = app.handler()
	s.sites["127.0.0.1"] = (&desk{tenants: s.tenants, app: app.url}).handler()
	return s, nil
}

func urlOf(host, port string) string { return "http://" + net.JoinHostPort(host, port) }

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address on 127.0.0.1 to listen on; port 0 takes a free one")
	login := flag.Bool("login-process", false, "run as the login process; the program uses this to start itself")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(flag.CommandLine.Output(), "tenants: %q is not expected\n", flag.Arg(0))
		flag.Usage()
		os.Exit(2)
	}
	if *login {
		log.Fatal(serveLogin(os.Stdin, os.Stdout))
	}

	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err, " (another address: -addr 127.0.0.1:0)")
	}
	host, port, _ := net.SplitHostPort(listener.Addr().String())
	if host != "127.0.0.1" {
		// The operator's page needs no sign-in, and there is no https.
		log.Fatalf("this listens on 127.0.0.1 only, not on %s", host)
	}
	token := rand.Text()
	own := must(startLogin(task{Server: listener.Addr().String(), Token: token}))
	s := must(newServer(surroundings{port, own, token, slog.Default(), time.Now}))

	fmt.Println("listening on", urlOf(host, port))
	fmt.Println("open", urlOf("app.localhost", port),
		"in a browser and sign in as alice with alice-password, at any tenant")
	fmt.Println("open", urlOf(host, port), "in a browser to put a tenant under maintenance or to change its keys")
	log.Fatal(serve(listener, s.sites))
}

// serve handles requests until the listener fails.
func serve(listener net.Listener, handler http.Handler) error {
	return (&http.Server{Handler: handler, ReadTimeout: 10 * time.Second}).Serve(listener)
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
