// Command tenants is one process that serves many tenants, each on a domain of its
// own with its own endpoint, users, clients and keys, and an application that all of
// them use. Some tenants bring their own login page, which runs in another process.
//
// The files, in the order in which a request passes through them:
//
//	app.go      the application, a client of every tenant
//	main.go     the registry: which host belongs to whom
//	tenants.go  the tenants, as configuration
//	tenant.go   what one of them consists of: its endpoint and what is mounted where
//	keys.go     its keys, and how they change while the program runs
//	signin.go   its login page, if it has none of its own
//	own.go      login pages of tenants' own, in the login process
//	reader.go   how these read the request that waits, without the endpoint's memory
//	ticket.go   how these tell the endpoint who has signed in
//	process.go  how the login process is started
//	desk.go     the operator's page: maintenance, an outage, new keys
//	pages.go    how pages are written
//	refused.go  pages in place of bare text
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

// sites is the registry. The Host header is looked up in it and used for nothing
// else: every URL that the program writes comes from the configuration.
type sites map[string]http.Handler

// anyOther is the host in the registry for those that are not in it.
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

// surroundings are what a server has to know of the world around it.
type surroundings struct {
	port  string // of the URLs of all tenants
	own   ready  // the login process
	token string // by which the login process is known
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
	login := flag.Bool("login-process", false, "be the login process, as which the program starts itself")
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
		// The operator's page asks nobody who they are, and there is no https.
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

// serve answers until the listener fails.
func serve(listener net.Listener, handler http.Handler) error {
	return (&http.Server{Handler: handler, ReadTimeout: 10 * time.Second}).Serve(listener)
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
