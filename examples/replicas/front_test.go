package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// These stand for replicas: one refuses the connection, one dies with the request, and the
// third one answers.
func refuses(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	return listener.Addr().String()
}

func dies(t *testing.T, with string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(conn, with)
		conn.Close()
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func answers(t *testing.T, asked *atomic.Int64) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("X-Asked", r.Method+" "+r.Host+r.URL.RequestURI()+" ["+string(body)+"]")
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func unseen(*http.Request, string, string) {}

func frontTo(addresses ...string) *fleet {
	f := &fleet{changed: make(chan struct{})}
	for i, address := range addresses {
		f.replicas = append(f.replicas, &child{task: task{Number: i + 1}, address: address, process: &os.Process{}})
	}
	f.turn = len(addresses) - 1 // the first is next
	return f
}

func TestWhatIsRepeated(t *testing.T) {
	const half = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
	for _, c := range []struct {
		rule, method, path string
		first              func(t *testing.T) string
		status             int
		says               string
		asked              int64
	}{
		{"a refused connection: the next replica gets the request", "GET", "/login", refuses, 200, "", 1},
		{"a refused connection of GET /authorize: the next one", "GET", "/authorize", refuses, 200, "", 1},
		{"a lost response to GET: the next one", "GET", "/authorize", func(t *testing.T) string { return dies(t, "") }, 200, "", 1},
		{"half a response to GET: the next one", "GET", "/authorize", func(t *testing.T) string { return dies(t, half) }, 200, "", 1},
		{"a refused connection of a form: the next one", "POST", "/login", refuses, 200, "", 1},
		{"a lost response to a form: an error", "POST", "/login", func(t *testing.T) string { return dies(t, "") }, 503, "press the button once more", 0},
		{"half a response to a form: an error", "POST", "/login", func(t *testing.T) string { return dies(t, half) }, 503, "press the button once more", 0},
		{"a lost response to a GET with a body: an error", "GET", "/login", func(t *testing.T) string { return dies(t, "") }, 503, "press the button once more", 0},
		{"a lost response to a client: an error in JSON", "POST", "/token", func(t *testing.T) string { return dies(t, "") }, 503, `"error":"temporarily_unavailable"`, 0},
	} {
		t.Run(c.rule, func(t *testing.T) {
			var asked atomic.Int64
			f := frontTo(c.first(t), answers(t, &asked))
			body := "the=body"
			if c.path == "/authorize" {
				body = ""
			}
			w := httptest.NewRecorder()
			r := httptest.NewRequest(c.method, c.path+"?a=1;b=%zz", strings.NewReader(body))
			r.Host = "accounts.example"
			f.proxy(unseen).ServeHTTP(w, r)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) || asked.Load() != c.asked {
				t.Errorf("status %d after %d requests:\n%s", w.Code, asked.Load(), w.Body)
			}
			// The host, the query and the body stay the same.
			if want := c.method + " accounts.example" + c.path + "?a=1;b=%zz [" + body + "]"; c.status == 200 && w.Header().Get("X-Asked") != want {
				t.Errorf("the replica was asked %q, want %q", w.Header().Get("X-Asked"), want)
			}
		})
	}
}

func TestReplicasTakeTurns(t *testing.T) {
	var asked [3]atomic.Int64
	f := frontTo(answers(t, &asked[0]), answers(t, &asked[1]), answers(t, &asked[2]))
	for range 30 {
		f.proxy(unseen).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/login", nil))
	}
	for i := range asked {
		if got := asked[i].Load(); got != 10 {
			t.Errorf("replica %d has had %d requests of 30", i+1, got)
		}
	}
}

// If a kept connection fails, it is unknown whether the replica has read the request.
func TestFormsHaveConnectionsOfTheirOwn(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Method == "POST" && seen[r.RemoteAddr] {
			t.Error("a form came by a connection that was there already")
		}
		seen[r.RemoteAddr] = true
	}))
	defer server.Close()
	f := frontTo(server.Listener.Addr().String())
	for _, method := range []string{"GET", "GET", "POST", "GET", "POST", "POST", "GET"} {
		f.proxy(unseen).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, "/login", nil))
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 4 {
		t.Errorf("7 requests with 3 forms came by %d connections, want 4", len(seen))
	}
}

// If no replica runs, a request waits for one.
func TestRequestsWaitForAReplica(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		t.Run(method, func(t *testing.T) {
			var asked atomic.Int64
			f := frontTo(refuses(t), refuses(t))
			alive := answers(t, &asked)
			done := make(chan int, 1)
			go func() {
				w := httptest.NewRecorder()
				f.proxy(unseen).ServeHTTP(w, httptest.NewRequest(method, "/login", nil))
				done <- w.Code
			}()
			for tried := false; !tried; runtime.Gosched() {
				select {
				case status := <-done:
					t.Fatalf("status %d before a replica came", status)
				default:
				}
				f.mu.Lock()
				tried = f.replicas[0].address == "" && f.replicas[1].address == ""
				f.mu.Unlock()
			}
			f.set(f.replicas[1], &os.Process{}, alive)
			if status := <-done; status != 200 || asked.Load() != 1 {
				t.Errorf("status %d after %d requests", status, asked.Load())
			}
		})
	}
}

func TestNobodyWaitsForOneWhoLeft(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	leave()
	f := frontTo("")
	if _, err := f.RoundTrip(httptest.NewRequestWithContext(ctx, "GET", "/", nil)); err == nil {
		t.Error("there is a response without a replica")
	}
}
