package cimd

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
)

const (
	testIssuer = "https://accounts.example.com"
	testID     = "https://client.example.com/oauth/client.json"
)

// world is a store, and all servers that it can reach: TLS servers of *.example.com, which
// share one handler.
type world struct {
	t     *testing.T
	store *Store

	mu        sync.Mutex
	now       time.Time
	mayFetch  bool
	answer    http.HandlerFunc
	addresses func(host string) ([]netip.Addr, error)
	requests  []*http.Request
	dialed    []string
	open      int // connections
	events    []Event
	log       bytes.Buffer
}

var publicAddress = netip.MustParseAddr("8.8.8.8")

// newWorld starts the servers. They need no socket, so that a test may run in a bubble of
// synctest.
func newWorld(t *testing.T, changes ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), mayFetch: true}
	w.addresses = func(string) ([]netip.Addr, error) { return []netip.Addr{publicAddress}, nil }
	w.answer = func(rw http.ResponseWriter, r *http.Request) { sendDocument(rw, documentAt(r)) }
	conns := newPipes()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.requests = append(w.requests, r)
		answer := w.answer
		w.mu.Unlock()
		answer(rw, r)
	}))
	server.Listener.Close()
	server.Listener = conns
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	server.StartTLS()
	t.Cleanup(server.Close)

	config := Config{
		Issuer:        testIssuer,
		Clients:       authorize.NewMemory(authorize.MemoryConfig{}),
		Scopes:        []string{"notes:read", "notes:write"},
		DefaultScopes: []string{"notes:read"},
		Logger:        slog.New(slog.NewTextHandler(locked{w}, nil)),
		OnEvent:       w.happened,
		Now:           w.clock,
	}
	for _, change := range changes {
		change(&config)
	}
	store, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	store.mayFetch = func(context.Context) bool { w.mu.Lock(); defer w.mu.Unlock(); return w.mayFetch }
	if config.Transport == nil {
		d := newDialer(false, 5*time.Second)
		d.lookup = func(_ context.Context, _, host string) ([]netip.Addr, error) { return w.lookup(host) }
		d.dial = func(ctx context.Context, _, address string) (net.Conn, error) {
			w.mu.Lock()
			w.dialed = append(w.dialed, address)
			w.mu.Unlock()
			return w.opened(conns.dial(ctx))
		}
		transport := newTransport(d)
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		transport.TLSClientConfig.RootCAs.AddCert(server.Certificate())
		store.transport = transport
	}
	w.store = store
	return w
}

// pipes is a listener whose connections stay in this process.
type pipes struct {
	conns chan net.Conn
	ended chan struct{}
	end   func()
}

func newPipes() *pipes {
	p := &pipes{conns: make(chan net.Conn), ended: make(chan struct{})}
	p.end = sync.OnceFunc(func() { close(p.ended) })
	return p
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.ended:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.end(); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: publicAddress.AsSlice(), Port: 443} }

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return newPumped(client), nil
	case <-p.ended:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pumped reads ahead, as a socket does: with nothing between them both sides would wait for
// the other to read that it closes.
type pumped struct {
	net.Conn
	mu    sync.Mutex
	more  *sync.Cond
	ahead bytes.Buffer
	err   error
}

func newPumped(conn net.Conn) *pumped {
	p := &pumped{Conn: conn}
	p.more = sync.NewCond(&p.mu)
	go func() {
		for chunk := make([]byte, 4096); p.err == nil; {
			n, err := conn.Read(chunk)
			p.mu.Lock()
			p.ahead.Write(chunk[:n])
			p.err = err
			p.more.Broadcast()
			p.mu.Unlock()
		}
	}()
	return p
}

func (p *pumped) Read(into []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.ahead.Len() == 0 && p.err == nil {
		p.more.Wait()
	}
	if p.ahead.Len() == 0 {
		return 0, p.err
	}
	return p.ahead.Read(into)
}

// opened counts a connection until it is closed.
func (w *world) opened(conn net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open++
	return counted{conn, sync.OnceFunc(func() { w.mu.Lock(); defer w.mu.Unlock(); w.open-- })}, nil
}

type counted struct {
	net.Conn
	closed func()
}

func (c counted) Close() error { c.closed(); return c.Conn.Close() }

type locked struct{ w *world }

func (l locked) Write(p []byte) (int, error) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.w.log.Write(p)
}

func (w *world) happened(_ context.Context, e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) lookup(host string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.addresses(host)
}

func (w *world) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) answers(answer http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = answer
}

// fetches says how many requests have come in all.
func (w *world) fetches() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.requests)
}

// kinds are those of the events since the last call.
func (w *world) kinds() (kinds []EventKind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		kinds = append(kinds, e.Kind)
	}
	w.events = nil
	return kinds
}

func (w *world) get(id string) (*authorize.Client, error) {
	w.t.Helper()
	c, err := w.store.Client(w.t.Context(), id)
	if c != nil && err != nil {
		w.t.Errorf("both a client and an error: %v", err)
	}
	return c, err
}

// want gets the client of testID, and checks what comes of it: "client", "invalid",
// "unreachable", "not fetched" or "failed".
func (w *world) want(want string) error {
	w.t.Helper()
	c, err := w.get(testID)
	if got := outcome(c, err); got != want {
		w.t.Fatalf("%s, want %s: %v", got, want, err)
	}
	return err
}

func outcome(c *authorize.Client, err error) string {
	switch {
	case c != nil:
		return "client"
	case err == nil:
		return "unknown"
	case errors.Is(err, authorize.ErrClientNotFetched):
		return "not fetched"
	case errors.Is(err, authorize.ErrClientUnreachable):
		return "unreachable"
	case oautherr.Of(err).Code == oautherr.InvalidClient:
		return "invalid"
	}
	return "failed"
}

// members of a document. A nil value removes one.
type members map[string]any

func documentAt(r *http.Request) members { return documentOf("https://" + r.Host + r.URL.RequestURI()) }

func documentOf(id string, changes ...members) members {
	m := members{
		"client_id":     id,
		"client_name":   "Notes",
		"redirect_uris": []string{"https://client.example.com/callback"},
	}
	for _, change := range changes {
		maps.Copy(m, change)
	}
	maps.DeleteFunc(m, func(_ string, value any) bool { return value == nil })
	return m
}

func (m members) text() string {
	text, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func sendDocument(w http.ResponseWriter, m members) { sendText(w, m.text()) }

func sendText(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.Write([]byte(body))
}

func sends(body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		sendText(w, body)
	}
}

// status answers with one, after the header.
func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

func TestNewNamesEachFieldThatIsWrong(t *testing.T) {
	for _, c := range []struct {
		rule   string
		change func(*Config)
		want   string // of the error
	}{
		{"no store", func(c *Config) { c.Clients = nil }, "Config.Clients"},
		{"no issuer", func(c *Config) { c.Issuer = "" }, "Config.Issuer"},
		{"an issuer that is no URL of the web", func(c *Config) { c.Issuer = "com.example:/x" }, "Config.Issuer"},
		{"http elsewhere than on loopback", func(c *Config) { c.Issuer = "http://a.example.com" }, "Config.Issuer"},
		{"no scopes", func(c *Config) { c.Scopes = nil }, "Config.Scopes"},
		{"a default scope that is none", func(c *Config) { c.DefaultScopes = []string{"x"} }, "Config.DefaultScopes"},
		{"a scheme of browsers", func(c *Config) { c.AppSchemes = []string{"javascript"} }, "Config.AppSchemes"},
		{"a MinAge below zero", func(c *Config) { c.MinAge = -1 }, "Config.MinAge"},
		{"a MinAge above MaxAge", func(c *Config) { c.MinAge, c.MaxAge = 2, 1 }, "Config.MinAge"},
		{"stale for too long", func(c *Config) { c.StaleFor = 24*time.Hour + 1 }, "Config.StaleFor"},
		{"a Timeout below zero", func(c *Config) { c.Timeout = -1 }, "Config.Timeout"},
		{"fewer fetches than none", func(c *Config) { c.MaxFetches = -1 }, "Config.Timeout"},
		{"fewer documents than none", func(c *Config) { c.MaxDocuments = -1 }, "Config.Timeout"},
		{"as long as may be", func(c *Config) { c.StaleFor = 24 * time.Hour }, ""},
		{"a MaxAge below the MinAge that is not set", func(c *Config) { c.MaxAge = time.Second }, ""},
		{"an issuer on loopback", func(c *Config) { c.Issuer = "http://127.0.0.1:8080" }, ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			config := Config{Issuer: testIssuer, Clients: authorize.NewMemory(authorize.MemoryConfig{}), Scopes: []string{"a"}}
			c.change(&config)
			store, err := New(config)
			if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) || (store == nil) != (err != nil) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestNewCopiesTheConfig(t *testing.T) {
	scopes, defaults, schemes := []string{"a"}, []string{"a"}, []string{"notes"}
	w := newWorld(t, func(c *Config) { c.Scopes, c.DefaultScopes, c.AppSchemes = scopes, defaults, schemes })
	scopes[0], defaults[0], schemes[0] = "x", "x", "x"
	w.answers(sends(documentOf(testID, members{"redirect_uris": []string{"notes://cb"}}).text()))
	c, err := w.get(testID)
	if err != nil || c.Scopes[0] != "a" || c.DefaultScopes[0] != "a" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestTheClientIsWhatTheDocumentSays(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.AppSchemes = []string{"notes", "com.example.notes"} })
	uris := []string{"https://client.example.com/callback", "http://127.0.0.1/cb", "notes://cb", "com.example.notes:/cb"}
	w.answers(sends(documentOf(testID, members{"redirect_uris": append(uris, uris[0]), "scope": "admin", "logo_uri": "https://x.example/"}).text()))
	want := &authorize.Client{
		ID: testID, Name: "Notes", Public: true, Unvetted: true, AnyLoopbackPort: true,
		RedirectURIs: uris, PrivateUseSchemes: []string{"notes"},
		Scopes: []string{"notes:read", "notes:write"}, DefaultScopes: []string{"notes:read"},
	}
	for range 2 {
		got, err := w.get(testID)
		if err != nil {
			t.Fatal(err)
		}
		if err := authorize.CheckClient(*got); err != nil {
			t.Error(err)
		}
		if len(got.Revision) != 43 {
			t.Errorf("the revision is %q", got.Revision)
		}
		want.Revision = got.Revision
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		// What the caller does to it is the caller's own.
		got.RedirectURIs[0], got.Scopes[0], got.DefaultScopes[0], got.PrivateUseSchemes[0] = "x", "x", "x", "x"
	}
	if w.fetches() != 1 {
		t.Errorf("%d fetches, want 1", w.fetches())
	}
}

// storeFunc is a ClientStore of the host's own.
type storeFunc func(ctx context.Context, id string) (*authorize.Client, error)

func (f storeFunc) Client(ctx context.Context, id string) (*authorize.Client, error) {
	return f(ctx, id)
}

func TestTheHostsOwnStoreComesFirst(t *testing.T) {
	for _, c := range []struct {
		rule  string
		store storeFunc
		want  string
	}{
		{"a registered URL wins", func(_ context.Context, id string) (*authorize.Client, error) { return &authorize.Client{ID: id}, nil }, "client"},
		{"an error is an error", func(context.Context, string) (*authorize.Client, error) { return nil, errors.New("down") }, "failed"},
		{"nil is for the document", func(context.Context, string) (*authorize.Client, error) { return nil, nil }, "client"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			allowed := 0
			w := newWorld(t, func(config *Config) {
				config.Clients = c.store
				config.Allow = func(context.Context, *url.URL) (bool, error) { allowed++; return true, nil }
			})
			w.want(c.want)
			if own := c.rule[:3] != "nil"; own && (allowed > 0 || w.fetches() > 0) {
				t.Error("it was fetched, or Allow was asked")
			}
		})
	}
}

func TestAllowIsAskedAtEveryUse(t *testing.T) {
	var say func(context.Context, *url.URL) (bool, error)
	for _, c := range []struct {
		rule string
		say  func(context.Context, *url.URL) (bool, error)
		want string
	}{
		{"yes", func(context.Context, *url.URL) (bool, error) { return true, nil }, "client"},
		{"no", func(context.Context, *url.URL) (bool, error) { return false, nil }, "invalid"},
		{"an error beside a yes", func(context.Context, *url.URL) (bool, error) { return true, errors.New("down") }, "failed"},
		{"an error that looks like one of ours", func(context.Context, *url.URL) (bool, error) { return true, authorize.ErrClientNotFetched }, "failed"},
		{"a panic", func(context.Context, *url.URL) (bool, error) { panic("oh") }, "failed"},
		{"a yes that is too late", func(ctx context.Context, _ *url.URL) (bool, error) { <-ctx.Done(); return true, nil }, "failed"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				say = func(context.Context, *url.URL) (bool, error) { return true, nil }
				w := newWorld(t, func(config *Config) {
					config.Allow = func(ctx context.Context, u *url.URL) (bool, error) {
						if u.Hostname() != "client.example.com" {
							t.Errorf("it is asked about %s", u)
						}
						u.Host = "other.example.com" // which is its own
						return say(ctx, u)
					}
				})
				fetchedFirst := c.want
				say = c.say
				w.want(fetchedFirst)
				if c.want != "client" && w.fetches() != 0 {
					t.Error("it was fetched all the same")
				}
				say = func(context.Context, *url.URL) (bool, error) { return true, nil }
				w.want("client")
				w.kinds()
				say = c.say
				w.want(c.want) // at hand
				w.mayFetch = false
				w.want(c.want)
				w.later(10 * 24 * time.Hour)
				if c.want == "client" {
					c.want = "not fetched"
				}
				w.want(c.want) // as at a token endpoint
				if kinds := w.kinds(); c.want != "not fetched" && !slices.Equal(kinds, []EventKind{EventRefused, EventRefused, EventRefused}) {
					t.Errorf("the events are %q", kinds)
				}
			})
		})
	}
}

func TestMetadataSaysThatDocumentsAreRead(t *testing.T) {
	want := map[string]any{"client_id_metadata_document_supported": true}
	if diff := cmp.Diff(want, newWorld(t).store.Metadata()); diff != "" {
		t.Error(diff)
	}
}

func TestEventsAndLogSayWhatHappenedWithoutTheBody(t *testing.T) {
	w := newWorld(t)
	id := testID + "?key=SECRET"
	for _, c := range []struct {
		rule   string
		answer http.HandlerFunc
		want   Event
		log    []string
	}{
		{"malformed", func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			conn.Write([]byte(strings.Repeat("x", 300) + "SECRET\r\n\r\n"))
			conn.Close()
		}, Event{Kind: EventFailed}, []string{"level=WARN", "document failed", "malformed HTTP"}},
		{"fetched", sends(documentOf(id, members{"redirect_uris": []string{"https://other.example.com/cb", "https://other.example.com/cb2", "http://a.example.com/", "https://Client.example.com:8443/cb", "http://127.0.0.1/"}}).text()),
			Event{Kind: EventFetched, Status: 200, ContentType: "application/json", RedirectHosts: []string{"other.example.com"}, LeftOut: []string{"http://a.example.com/"}},
			[]string{"level=INFO", "document fetched", "redirect_hosts=other.example.com", "left_out=http://a.example.com/"}},
		{"refused", sends(documentOf(id, members{"client_name": 7, "client_uri": "SECRET"}).text()),
			Event{Kind: EventRefused, Status: 200, ContentType: "application/json", Member: "client_name"},
			[]string{"level=WARN", "document refused", "member=client_name", "is not a string"}},
		{"a page for robots", status(403, "Content-Type", "text/html"),
			Event{Kind: EventFailed, Status: 403, ContentType: "text/html", Challenge: "page"}, []string{"challenge=page"}},
		{"failed", status(403, "Cf-Mitigated", "challenge", "Content-Type", "text/plain"),
			Event{Kind: EventFailed, Status: 403, ContentType: "text/plain", Challenge: "cf-mitigated: challenge"},
			[]string{"level=WARN", "document failed", "status=403"}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			w.later(24 * time.Hour)
			w.kinds()
			w.log.Reset()
			w.answers(c.answer)
			w.get(id)
			if len(w.events) != 1 {
				t.Fatalf("%d events", len(w.events))
			}
			got := w.events[0]
			if (got.Err == nil) != (c.want.Kind == EventFetched) {
				t.Errorf("the error is %v", got.Err)
			}
			c.want.Host, c.want.URL, c.want.Time = "client.example.com", testID+"?...", w.now
			if got.Err != nil && len(got.Err.Error()) > 300 {
				t.Errorf("the error is long: %v", got.Err)
			}
			got.Err = nil
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			for _, want := range c.log {
				if !strings.Contains(w.log.String(), want) {
					t.Errorf("the log has no %s:\n%s", want, &w.log)
				}
			}
			if text := w.log.String() + fmt.Sprint(got.LogValue()); strings.Contains(text, "SECRET") {
				t.Errorf("the log says too much:\n%s", text)
			}
		})
	}
}

func TestTheEventOfAStaleDocumentSaysHowOldItIsAndWhy(t *testing.T) {
	w := newWorld(t)
	w.answers(func(rw http.ResponseWriter, r *http.Request) {
		w.later(time.Second) // which the fetch takes
		sendDocument(rw, documentAt(r))
	})
	w.want("client")
	if w.events[0].Duration != time.Second || !strings.Contains(w.log.String(), "duration=1s") {
		t.Errorf("the fetch took %v, and the log\n%s", w.events[0].Duration, &w.log)
	}
	w.later(time.Hour + time.Minute)
	w.answers(status(403, "Cf-Mitigated", "challenge", "Content-Type", "text/html"))
	w.want("client")
	got := w.events[len(w.events)-1]
	want := Event{Kind: EventStale, Time: w.now, URL: testID, Host: "client.example.com", Age: time.Hour + time.Minute,
		Status: 403, ContentType: "text/html", Challenge: "cf-mitigated: challenge"}
	if got.Err == nil || !strings.Contains(w.log.String(), "age=1h1m0s") {
		t.Errorf("the error is %v, and the log\n%s", got.Err, &w.log)
	}
	got.Err = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAPanicOfOnEventEndsNothing(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.OnEvent = func(context.Context, Event) { panic("oh") } })
	w.want("client")
	if !strings.Contains(w.log.String(), "OnEvent panics") {
		t.Errorf("the log does not say so:\n%s", &w.log)
	}
}
