package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize/authorizetest"
	"github.com/usher-auth/usher/authorize/authorizetest/servers"
	oautherr "github.com/usher-auth/usher/errors"
)

// TestMain runs the program if a test has started this binary for that, and a replica if the
// program has started it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "-replica" || os.Args[1] == "-addr") {
		main()
		return
	}
	written := &journal{}
	log.SetOutput(written)
	code := m.Run()
	if code != 0 {
		os.Stderr.Write(written.text.Bytes())
	}
	os.Exit(code)
}

// journal has the output of the front and the replicas during the tests.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

// storage is one kind of storage that replicas can share.
type storage struct {
	name  string
	flows int // number of flows of the long test
	start func(t *testing.T) places
}

var storages = []storage{
	{"PostgreSQL and Redis", 1000, func(t *testing.T) places {
		return places{PostgreSQL: startPostgreSQL(t), Redis: startRedis(t)}
	}},
	{"PostgreSQL", 1000, func(t *testing.T) places { return places{PostgreSQL: startPostgreSQL(t)} }},
	{"Redis", 1000, func(t *testing.T) places { return places{Redis: startRedis(t)} }},
	{"SQLite", 200, func(t *testing.T) places { return places{SQLite: filepath.Join(t.TempDir(), "a file?.db")} }},
}

func startPostgreSQL(t *testing.T) string { return servers.For(t, servers.PostgreSQL{}).DSN() }
func startRedis(t *testing.T) string      { return servers.For(t, servers.Redis{}).DSN() }

func eachStorage(t *testing.T, test func(t *testing.T, s storage)) {
	for _, s := range storages {
		t.Run(s.name, func(t *testing.T) { test(t, s) })
	}
}

// never is a pause that no test reaches, so no replica is started again.
const never = time.Hour

// world is the front, in this process, and its replicas, which are processes.
type world struct {
	t      *testing.T
	base   string
	keys   keyFile
	fleet  *fleet
	client authorizetest.Client
	// connects browsers to the front
	transport *http.Transport
}

func newWorld(t *testing.T, shared places, pause time.Duration) *world {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	w := &world{
		t:         t,
		base:      "http://" + server.Listener.Addr().String(),
		keys:      keyFile(filepath.Join(t.TempDir(), "keys.json")),
		transport: &http.Transport{MaxIdleConnsPerHost: 64},
	}
	if err := w.keys.create(); err != nil {
		t.Fatal(err)
	}
	var err error
	w.fleet, err = startFleet(context.Background(), 3, pause, task{Issuer: w.base, Keys: w.keys, places: shared})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.fleet.stop)
	d := newDesk(w.base, w.fleet, w.keys)
	w.client = authorizetest.Client{
		Issuer: w.base, ID: d.client.ID, RedirectURI: d.client.RedirectURIs[0], Scopes: d.client.Scopes,
	}
	server.Config.Handler = d.handler()
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(w.transport.CloseIdleConnections)
	return w
}

// await waits until the replica runs, or until it does not run.
func (w *world) await(number int, runs bool) {
	w.t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		w.fleet.mu.Lock()
		address, changed := w.fleet.replicas[number-1].address, w.fleet.changed
		w.fleet.mu.Unlock()
		if (address != "") == runs {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			w.t.Fatalf("replica %d does not come or go", number)
		}
	}
}

// kill kills the replica and waits for its end.
func (w *world) kill(number int) {
	w.t.Helper()
	if err := w.fleet.kill(number); err != nil {
		w.t.Fatal(err)
	}
	w.await(number, false)
}

func (w *world) rotate() {
	w.t.Helper()
	if err := w.keys.rotate(time.Now()); err != nil {
		w.t.Error(err)
	}
}

// at connects to one replica, without the front.
type at struct {
	fleet  *fleet
	number int
}

func (a *at) RoundTrip(r *http.Request) (*http.Response, error) {
	a.fleet.mu.Lock()
	address := a.fleet.replicas[a.number-1].address
	a.fleet.mu.Unlock()
	if address == "" {
		return nil, errNotRunning
	}
	return own.RoundTrip(to(address, r))
}

var errNotRunning = errors.New("the replica does not run")

// visitor is a browser that the test sends from one replica to another.
type visitor struct {
	*world
	*authorizetest.Browser
	at at
}

func (w *world) visitor() *visitor {
	v := &visitor{world: w, Browser: authorizetest.NewBrowser(), at: at{w.fleet, 1}}
	v.Connect(w.base, &v.at)
	return v
}

// on continues at the replica.
func (v *visitor) on(number int) *visitor {
	v.at.number = number
	return v
}

// page expects a page of the current replica.
func (v *visitor) page(page *authorizetest.Page, err error) *authorizetest.Page {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
	if got := page.Header.Get("X-Replica"); got != fmt.Sprint(v.at.number) {
		v.t.Fatalf("replica %s has answered, want %d:\n%s", got, v.at.number, page)
	}
	return page
}

func (v *visitor) wantAt(page *authorizetest.Page, path string) {
	v.t.Helper()
	if page.URL.Path != path {
		v.t.Fatalf("want the page %s:\n%s", path, page)
	}
}

var alice = url.Values{"username": {"alice"}, "password": {"alice-password"}}

// silent sends a request with prompt=none and expects the error. If alice is signed in, it is
// consent_required: consent for a client on loopback is not remembered (RFC 8252 §8.6).
func (v *visitor) silent(want error) {
	v.t.Helper()
	flow := v.client.Start(url.Values{"prompt": {"none"}})
	flow.Expect(v.t, v.page(v.Open(flow.URL)), want)
}

// redeem redeems the code at the replica.
func (v *visitor) redeem(flow *authorizetest.Flow, code string) redeemed {
	v.t.Helper()
	answer, err := postCode(v.t.Context(), &v.at, v.base, flow.Redemption(code))
	if err != nil {
		v.t.Fatal(err)
	}
	return answer
}

// A sign-in continues at any replica, even if the previous one has died.
func TestOneSignInAtThreeReplicas(t *testing.T) {
	eachStorage(t, func(t *testing.T, s storage) {
		v := newWorld(t, s.start(t), never).visitor()
		flow := v.client.Start()
		login := v.on(1).page(v.Open(flow.URL))
		v.wantAt(login, "/login")
		v.kill(1)  // the replica that made the request is gone
		v.rotate() // and the key that signed it does not sign any more
		consent := v.on(2).page(login.Submit(alice))
		v.wantAt(consent, "/consent")
		v.rotate()
		answer := v.on(3).page(consent.Submit(nil, "Allow"))
		code := flow.Expect(t, answer, nil)
		if got := v.on(2).redeem(flow, code); got.Subject != "alice" || got.replica != "2" {
			t.Fatalf("got %+v", got)
		}
		v.kill(2)
		if got := v.on(3).redeem(flow, code); got.Error != oautherr.InvalidGrant || got.Description != usedBefore {
			t.Errorf("a code used at replica 2 gives at replica 3 %+v", got)
		}
		v.silent(oautherr.ConsentRequired) // her sign-in at replica 2 counts
	})
}

func TestSignOutIsSeenByAllReplicas(t *testing.T) {
	eachStorage(t, func(t *testing.T, s storage) {
		v := newWorld(t, s.start(t), never).visitor()
		login := v.on(1).page(v.Open(v.client.Start().URL))
		v.page(v.page(login.Submit(alice)).Submit(nil, "Allow"))
		for number := 1; number <= 3; number++ {
			v.on(number).silent(oautherr.ConsentRequired)
		}
		v.on(2).page(v.PostFrom(v.base, v.base+"/sign-out", nil))
		for number := 1; number <= 3; number++ {
			v.on(number).silent(oautherr.LoginRequired) // after the sign-out at replica 2
		}
	})
}
