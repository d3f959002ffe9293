// Command replicas runs one provider as three processes on one machine, behind a small proxy,
// the front. They share their data in PostgreSQL and Redis, in one of the two or in an SQLite
// file. Any replica may answer the next request of a sign-in. Kill one to try this.
//
// The files:
//
//	storage.go  the stores: one function for each kind of storage
//	replica.go  a replica: the endpoint's configuration, its pages and token endpoint
//	keys.go     the keys that all replicas share, and how they change
//	process.go  how replicas are started, and started again
//	front.go    the front: which replica answers, and which request may be repeated
//	desk.go     the start page: a client, and buttons to kill replicas and to change keys
//	private.go  database servers for one run
//	pages.go    writes the pages
//	refused.go  pages in place of errors in plain text
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// settings are the values of the flags.
type settings struct {
	places
	addr, keys, private string
	memory              bool
	rotate, pause       time.Duration
}

func flags() (s settings, replica bool) {
	flag.StringVar(&s.addr, "addr", "127.0.0.1:8080", "address on 127.0.0.1 to listen on; port 0 takes a free one")
	flag.StringVar(&s.private, "private", "", "servers to start only for this run: "+
		"postgres, redis or postgres,redis, which is the default without a storage")
	flag.StringVar(&s.PostgreSQL, "postgres", "", "URL of a PostgreSQL database")
	flag.StringVar(&s.Redis, "redis", "", "URL of a Redis")
	flag.StringVar(&s.SQLite, "sqlite", "", "SQLite file, which is made if it does not exist")
	flag.BoolVar(&s.memory, "memory", false, "keep everything in memory, with only one replica")
	flag.StringVar(&s.keys, "keys", "",
		"file with the shared keys, which is made if it does not exist; empty: a new file for this run")
	flag.DurationVar(&s.rotate, "rotate", 10*time.Minute, "how often the keys change")
	flag.DurationVar(&s.pause, "pause", 3*time.Second, "how long to wait before a replica is started again")
	flag.BoolVar(&replica, "replica", false, "run as a replica; the program uses this to start itself")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("%q is not expected: use only flags, which begin with a dash", flag.Arg(0))
	}
	return s, replica
}

func main() {
	s, replica := flags()
	var err error
	if replica {
		err = serveReplica(os.Stdin, os.Stdout)
	} else {
		// When ctx ends, all processes end, and the files of this run are deleted.
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = run(ctx, s)
		stop()
	}
	if err != nil {
		log.Fatal(err)
	}
}

// run runs the replicas and the front until ctx is done.
func run(ctx context.Context, s settings) error {
	dir, err := os.MkdirTemp("", "usher-replicas")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if s.rotate <= 0 {
		return errors.New("-rotate has to be positive")
	}
	stop, err := s.startServers()
	if err != nil {
		return err
	}
	defer stop()
	listener, err := net.Listen("tcp", s.addr)
	if err != nil {
		return fmt.Errorf("%w (another address: -addr 127.0.0.1:0)", err)
	}
	if !listener.Addr().(*net.TCPAddr).IP.IsLoopback() {
		// The page with the buttons needs no sign-in, and there is no https.
		return fmt.Errorf("this listens on 127.0.0.1 only, not on %s", listener.Addr())
	}
	keys := keyFile(cmp.Or(s.keys, filepath.Join(dir, "keys.json")))
	if err := keys.create(); err != nil {
		return err
	}
	base, count := "http://"+listener.Addr().String(), 3
	if s.memory {
		count = 1
	}
	replicas, err := startFleet(ctx, count, s.pause, task{Issuer: base, Keys: keys, places: s.places})
	if err != nil {
		return err
	}
	defer replicas.stop()
	go keys.rotateEvery(ctx, s.rotate)
	fmt.Println("listening on", base)
	fmt.Println("open it in a browser and sign in as alice with alice-password, or as bob with bob-password")
	server := &http.Server{Handler: newDesk(base, replicas, keys).handler(), ReadTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
