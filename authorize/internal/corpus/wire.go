package corpus

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/session"
)

// rawRequest is a request as its case has it: query and body are raw.
type rawRequest struct {
	Method  string
	Path    string
	Query   *string
	Body    *string
	Headers map[string]string
}

// runner serves one endpoint after another at one address.
type runner struct {
	address string
	// rogue, if set, wraps the endpoint and spoils its answers.
	rogue func(http.Handler) http.Handler

	mu      sync.Mutex
	handler http.Handler
	visit   *arrival
}

// arrival is what the server sees of one request.
type arrival struct {
	reached   bool // net/http let it through
	panicked  any
	allocated uint64
	done      chan struct{} // closed when the endpoint has returned
}

// startRunner starts a server that accepts much larger heads than usual: the
// endpoint itself has to cope with them.
func startRunner(t *testing.T) *runner {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	run := &runner{address: listener.Addr().String()}
	server := &http.Server{Handler: run, MaxHeaderBytes: 4 << 20, ErrorLog: log.New(io.Discard, "", 0)}
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-stopped; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return run
}

func (run *runner) serve(h http.Handler) {
	if run.rogue != nil {
		h = run.rogue(h)
	}
	run.mu.Lock()
	defer run.mu.Unlock()
	run.handler = h
}

// ServeHTTP calls the endpoint and measures it. It does not use a ServeMux, which would answer
// some paths itself.
func (run *runner) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/authorize" {
		http.NotFound(rw, r)
		return
	}
	run.mu.Lock()
	h, visit := run.handler, run.visit
	visit.reached = true
	run.mu.Unlock()
	defer close(visit.done)
	before := allocatedSoFar()
	defer func() {
		visit.allocated = allocatedSoFar() - before
		if visit.panicked = recover(); visit.panicked != nil {
			panic(http.ErrAbortHandler)
		}
	}()
	h.ServeHTTP(rw, r)
}

// allocatedSoFar returns how much memory was ever allocated. The difference over a
// request is at least the growth of the heap, even if the garbage collector ran. It is
// measured around the endpoint alone, without net/http, which reads the huge heads, and
// without the runner, which writes them.
func allocatedSoFar() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// send sends a client's request from the browser with the session, follows a 303 to
// the endpoint's own GET as a browser would, and checks the invariants of every
// answer.
func (w *world) send(r rawRequest, client, sessionName string) (*answer, error) {
	if err := w.beSignedIn(sessionName); err != nil {
		return nil, err
	}
	r, err := r.expand(w)
	if err != nil {
		return nil, err
	}
	a, err := w.exchange(r, client)
	if err != nil || a.kind != askedAgain {
		return a, err
	}
	_, query, _ := strings.Cut(a.target, "?")
	again := rawRequest{Method: "GET", Path: "/authorize", Query: &query, Headers: maps.Clone(r.Headers)}
	delete(again.Headers, "Content-Type")
	first := a
	if a, err = w.exchange(again, client); err == nil {
		a.asked.values = append(a.asked.values, first.asked.values...)
	}
	return a, err
}

func (r rawRequest) expand(w *world) (rawRequest, error) {
	var errs []error
	expand := func(text string) string {
		text, err := w.expand(text)
		errs = append(errs, err)
		return text
	}
	if r.Query != nil {
		query := expand(*r.Query)
		r.Query = &query
	}
	if r.Body != nil {
		body := expand(*r.Body)
		r.Body = &body
	}
	headers := map[string]string{}
	for name, value := range r.Headers {
		headers[expand(name)] = expand(value)
	}
	r.Path, r.Headers = expand(r.Path), headers
	return r, errors.Join(errs...)
}

// bytes returns the request as it is sent.
func (r rawRequest) bytes(cookies string) []byte {
	var b bytes.Buffer
	b.WriteString(r.Method + " " + r.Path)
	if r.Query != nil {
		b.WriteString("?" + *r.Query)
	}
	b.WriteString(" HTTP/1.1\r\n")
	given := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		if given[strings.ToLower(name)] = true; !strings.EqualFold(name, "Cookie") {
			b.WriteString(name + ": " + r.Headers[name] + "\r\n")
		}
	}
	if !given["host"] {
		b.WriteString("Host: as.example\r\n")
	}
	if cookies != "" {
		b.WriteString("Cookie: " + cookies + "\r\n")
	}
	body := ""
	if r.Body != nil {
		body = *r.Body
	}
	if (r.Body != nil || r.Method == "POST") && !given["content-length"] && !given["transfer-encoding"] {
		b.WriteString("Content-Length: " + strconv.Itoa(len(body)) + "\r\n")
	}
	b.WriteString("\r\n" + body)
	return b.Bytes()
}

// cookieHeader returns the Cookie header of the case itself.
func (r rawRequest) cookieHeader() string {
	for name, value := range r.Headers {
		if strings.EqualFold(name, "Cookie") {
			return value
		}
	}
	return ""
}

// exchange sends one request and reads its answer.
func (w *world) exchange(r rawRequest, client string) (*answer, error) {
	asked := w.asked(r, client)
	codesBefore := len(w.codes)
	w.noted = noted{}
	a, err := w.run.roundTrip(r.Method, r.bytes(w.cookieHeader(r.cookieHeader())))
	if err != nil {
		return nil, err
	}
	if err := keep(w.browser, a.header); err != nil {
		return nil, err
	}
	a.asked = asked
	a.registered = w.redirectURIs(asked.client)
	a.subject = modelSessions[w.signedIn].subject
	a.codes, a.noted = w.codes[codesBefore:], w.noted
	w.explain(r, a)
	if w.canary != nil {
		if a.fetched, err = w.canary.visitors(); err != nil {
			return nil, err
		}
	}
	a.read()
	for _, invariant := range invariants {
		if broken := invariant.check(a); broken != "" {
			w.problems = append(w.problems, fmt.Sprintf("invariant %s: %s", invariant.name, broken))
		}
	}
	return a, nil
}

// explain calls Explain for the request that the endpoint has just answered. It skips requests
// that are more than a query, and Explain has nothing to say of a resumed request.
func (w *world) explain(r rawRequest, a *answer) {
	if r.Method != "GET" || r.Query == nil || r.Body != nil || len(r.Headers) > 0 {
		return
	}
	var who *session.Session
	if len(a.sessions) > 0 {
		who = a.sessions[0]
	}
	codes := len(w.codes)
	w.noted = noted{}
	e := w.handler.Explain(context.Background(), *r.Query, who)
	a.leftovers = len(w.codes) > codes || len(w.events) > 0 || len(w.sessions) > 0 || w.log.Len() > 0
	if e.Reason != authorize.ReasonNoRequest || !strings.Contains(*r.Query, "req=") {
		a.explained = e
	}
}

// patience bounds what should take a millisecond.
const patience = 20 * time.Second

// roundTrip reads while it writes, because the endpoint refuses a body that is too large
// before all of it is sent.
func (run *runner) roundTrip(method string, raw []byte) (*answer, error) {
	visit := &arrival{done: make(chan struct{})}
	run.mu.Lock()
	run.visit = visit
	run.mu.Unlock()
	started := time.Now()
	conn, err := net.Dial("tcp", run.address)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(started.Add(patience))
	written := make(chan struct{})
	go func() {
		conn.Write(raw) // it may fail, because an answer may come before all is written
		close(written)
	}()
	a, err := readResponse(conn, method)
	elapsed := time.Since(started)
	conn.Close()
	<-written
	run.mu.Lock()
	reached := visit.reached
	run.mu.Unlock()
	if reached {
		select {
		case <-visit.done:
		case <-time.After(patience):
			return nil, errors.New("the endpoint does not return")
		}
	}
	if visit.panicked != nil {
		return nil, fmt.Errorf("invariant 1 (no panic): %v", visit.panicked)
	}
	if err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	a.reached, a.allocated, a.elapsed = reached, visit.allocated, elapsed
	return a, nil
}

func readResponse(conn net.Conn, method string) (*answer, error) {
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<20))
	if err != nil {
		return nil, err
	}
	return &answer{method: method, status: response.StatusCode, header: response.Header, body: string(body)}, nil
}
