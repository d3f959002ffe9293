package authorize_test

import (
	"bufio"
	"bytes"
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
)

// corpusRequest is a request as its case has it: query and body are raw.
type corpusRequest struct {
	Method  string
	Path    string
	Query   *string
	Body    *string
	Headers map[string]string
}

// corpusRunner serves one endpoint after another at one address.
type corpusRunner struct {
	address string
	// rogue, if set, stands between the server and the endpoint and spoils something.
	rogue func(http.Handler) http.Handler

	mu      sync.Mutex
	handler http.Handler
	visit   *corpusVisit
}

// corpusVisit is what the server sees of one request.
type corpusVisit struct {
	reached   bool // net/http let it through
	panicked  any
	allocated uint64
	done      chan struct{} // closed when the endpoint has returned
}

// startCorpusRunner starts a server that accepts much larger heads than usual: the
// endpoint itself has to cope with them.
func startCorpusRunner(t *testing.T) *corpusRunner {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	run := &corpusRunner{address: listener.Addr().String()}
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

func (run *corpusRunner) serve(h http.Handler) {
	if run.rogue != nil {
		h = run.rogue(h)
	}
	run.mu.Lock()
	defer run.mu.Unlock()
	run.handler = h
}

// ServeHTTP leads to the endpoint and watches it. It is no ServeMux, which answers
// some paths itself.
func (run *corpusRunner) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/authorize" {
		http.NotFound(rw, r)
		return
	}
	run.mu.Lock()
	h, visit := run.handler, run.visit
	visit.reached = true
	run.mu.Unlock()
	defer close(visit.done)
	before := corpusAllocated()
	defer func() {
		visit.allocated = corpusAllocated() - before
		if visit.panicked = recover(); visit.panicked != nil {
			panic(http.ErrAbortHandler)
		}
	}()
	h.ServeHTTP(rw, r)
}

// corpusAllocated returns how much was ever allocated. The difference over a
// request is no less than the growth of the heap, whenever the garbage collector
// ran. It is taken around the endpoint alone: what net/http needs to read a huge
// head is not the endpoint's doing, nor what the runner needs to make one.
func corpusAllocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// send sends a client's request from the browser with the session, follows a 303 to
// the endpoint's own GET as a browser would, and checks the invariants of every
// answer.
func (w *corpusWorld) send(r corpusRequest, client, sessionName string) (*corpusAnswer, error) {
	if err := w.beSignedIn(sessionName); err != nil {
		return nil, err
	}
	r, err := r.expand(w)
	if err != nil {
		return nil, err
	}
	answer, err := w.exchange(r, client)
	if err != nil || answer.kind != corpusAskedAgain {
		return answer, err
	}
	_, query, _ := strings.Cut(answer.target, "?")
	again := corpusRequest{Method: "GET", Path: "/authorize", Query: &query, Headers: maps.Clone(r.Headers)}
	delete(again.Headers, "Content-Type")
	first := answer
	if answer, err = w.exchange(again, client); err == nil {
		answer.asked.values = append(answer.asked.values, first.asked.values...)
	}
	return answer, err
}

func (r corpusRequest) expand(w *corpusWorld) (corpusRequest, error) {
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

// bytes returns the request as it goes over the wire.
func (r corpusRequest) bytes(cookies string) []byte {
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
func (r corpusRequest) cookieHeader() string {
	for name, value := range r.Headers {
		if strings.EqualFold(name, "Cookie") {
			return value
		}
	}
	return ""
}

// exchange sends one request and reads its answer.
func (w *corpusWorld) exchange(r corpusRequest, client string) (*corpusAnswer, error) {
	asked := w.asked(r, client)
	codesBefore := len(w.codes)
	a, err := w.run.roundTrip(r.Method, r.bytes(w.browser.header(r.cookieHeader())))
	if err != nil {
		return nil, err
	}
	if err := w.browser.keep(a.header); err != nil {
		return nil, err
	}
	a.asked = asked
	a.registered = w.redirectURIs(asked.client)
	a.subject = corpusSessions[w.browser.session].subject
	w.mu.Lock()
	a.codes, a.errorIDs = w.codes[codesBefore:], slices.Clone(w.errorIDs)
	w.mu.Unlock()
	if w.canary != nil {
		if a.fetched, err = w.canary.visitors(); err != nil {
			return nil, err
		}
	}
	a.read()
	for _, invariant := range corpusInvariants {
		if broken := invariant.check(a); broken != "" {
			w.problems = append(w.problems, fmt.Sprintf("invariant %s: %s", invariant.name, broken))
		}
	}
	return a, nil
}

// corpusPatience bounds what should take a millisecond.
const corpusPatience = 20 * time.Second

// roundTrip reads while it writes: a body that is too large is refused before it
// was sent.
func (run *corpusRunner) roundTrip(method string, raw []byte) (*corpusAnswer, error) {
	visit := &corpusVisit{done: make(chan struct{})}
	run.mu.Lock()
	run.visit = visit
	run.mu.Unlock()
	started := time.Now()
	conn, err := net.Dial("tcp", run.address)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(started.Add(corpusPatience))
	written := make(chan struct{})
	go func() {
		conn.Write(raw) // an answer may come before all is written; what counts is read below
		close(written)
	}()
	a, err := corpusReadResponse(conn, method)
	elapsed := time.Since(started)
	conn.Close()
	<-written
	run.mu.Lock()
	reached := visit.reached
	run.mu.Unlock()
	if reached {
		select {
		case <-visit.done:
		case <-time.After(corpusPatience):
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

func corpusReadResponse(conn net.Conn, method string) (*corpusAnswer, error) {
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<20))
	if err != nil {
		return nil, err
	}
	return &corpusAnswer{method: method, status: response.StatusCode, header: response.Header, body: string(body)}, nil
}
