package main

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/usher-auth/usher/authorize/authorizetest"
)

// program is the whole program, started as a user would do it.
type program struct {
	t       *testing.T
	base    string
	cmd     *exec.Cmd
	written *strings.Builder // complete when out is closed
	out     chan struct{}
	browser *authorizetest.Browser
}

func startProgram(t *testing.T, args ...string) *program {
	t.Helper()
	p := &program{
		t: t, written: &strings.Builder{}, out: make(chan struct{}), browser: authorizetest.NewBrowser(),
		cmd: exec.Command(os.Args[0], append([]string{"-addr", "127.0.0.1:0", "-pause", "20ms"}, args...)...),
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	p.cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir()) // a killed program leaves its keys there
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	w.Close()
	base := make(chan string, 1)
	go func() {
		defer close(p.out)
		defer close(base)
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			p.written.WriteString(lines.Text() + "\n")
			if _, address, found := strings.Cut(lines.Text(), "listening on "); found {
				base <- address
			}
		}
	}()
	p.base = <-base
	if p.base != "" {
		p.browser.Connect(p.base, nil)
	}
	return p
}

// page expects a page with this text.
func (p *program) page(says string) func(*authorizetest.Page, error) *authorizetest.Page {
	return func(page *authorizetest.Page, err error) *authorizetest.Page {
		p.t.Helper()
		if err != nil {
			p.t.Fatal(err)
		}
		if !strings.Contains(page.Body, says) {
			p.t.Fatalf("want %q:\n%s", says, page)
		}
		return page
	}
}

// ends waits for the program and all of its processes to end: each of them holds the output
// open.
func (p *program) ends() (string, error) {
	err := p.cmd.Wait()
	<-p.out
	return p.written.String(), err
}

func TestProgram(t *testing.T) {
	for _, s := range storages {
		t.Run(s.name, func(t *testing.T) {
			places := s.start(t)
			p := startProgram(t, "-postgres", places.PostgreSQL, "-redis", places.Redis, "-sqlite", places.SQLite)
			home := p.page("<strong>" + s.name + "</strong>")
			page := home(p.browser.Open(p.base))
			page = p.page("wrote this page")(page.Click("Sign in"))
			page = p.page("is wrong")(page.Submit(url.Values{"username": {"alice"}, "password": {"bob-password"}}))
			page = p.page("The demo application")(page.Submit(alice))
			page = home(page.Submit(nil, "Allow"))
			for _, want := range []string{"signed in as alice", `"replica">1</td>`, `"replica">2</td>`, `"replica">3</td>`} {
				if !strings.Contains(page.Body, want) {
					t.Errorf("want %q:\n%s", want, page)
				}
			}
			page = p.page(usedBefore)(page.Submit(nil, "Redeem the code again"))
			page = home(page.Submit(url.Values{}, "Use the next key"))
			page = home(page.Forms[len(page.Forms)-2].Submit(nil)) // kill the third
			page = p.page("wrote this page")(page.Click("Sign in again"))
			page = p.page("The demo application")(page.Submit(alice))
			p.page("access_denied")(page.Submit(nil, "Deny"))
			page = p.page("The demo application")(p.browser.Open(p.base + "/sign-in")) // without a second sign-in
			page = home(page.Submit(nil, "Allow"))
			p.page("signed in as alice")(page, nil)
			page = p.page("redirect to /")(page.Submit(nil, "Sign out at the provider"))
			p.page("wrote this page")(page.Click("Sign in"))

			p.cmd.Process.Signal(syscall.SIGTERM)
			written, err := p.ends()
			if err != nil || !strings.Contains(written, "replica 3 has ended: signal: killed") {
				t.Errorf("the end: %v\n%s", err, written)
			}
		})
	}
}

func TestProgramInMemory(t *testing.T) {
	p := startProgram(t, "-memory")
	page := p.page("memory")(p.browser.Open(p.base))
	page, err := page.Click("Sign in")
	if err == nil {
		page, err = page.Submit(alice)
	}
	if err == nil {
		page, err = page.Submit(nil, "Allow")
	}
	p.page("signed in as alice")(page, err)
	p.cmd.Process.Kill() // without a clean end
	if written, err := p.ends(); err == nil {
		t.Errorf("it has ended in order:\n%s", written)
	}
}

func TestProgramThatCannotStart(t *testing.T) {
	damaged := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(damaged, []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		`-private starts postgres and redis, not "mysql"`: {"-private", "mysql"},
		"use no other storage":                            {"-sqlite", damaged + ".db", "-redis", "redis://127.0.0.1:1"},
		"this listens on 127.0.0.1 only":                  {"-addr", "0.0.0.0:0", "-memory"},
		"invalid character '?'":                           {"-memory", "-keys", damaged},
		"replica 1 does not start":                        {"-redis", "not a URL"},
		"-rotate":                                         {"-rotate", "0s", "-memory"},
	} {
		t.Run(want, func(t *testing.T) {
			p := startProgram(t, args...)
			written, err := p.ends()
			var failed *exec.ExitError
			if !errors.As(err, &failed) || !strings.Contains(written, want) {
				t.Errorf("%q: %v:\n%s", args, err, written)
			}
		})
	}
}

func TestReplicaWithoutATask(t *testing.T) {
	if err := serveReplica(strings.NewReader(""), io.Discard); err == nil || !strings.Contains(err.Error(), "the task cannot be read") {
		t.Errorf("got %v", err)
	}
}

// deskOf is the front's own pages, with a replica in this process.
func deskOf(t *testing.T) (*desk, http.Handler) {
	t.Helper()
	r := inProcess(t, newKeyFile(t), places{})
	server := httptest.NewServer(r.handler())
	t.Cleanup(server.Close)
	d := newDesk(r.Issuer, frontTo(server.Listener.Addr().String()), r.Keys)
	return d, d.handler()
}

func TestDeskIsForItsOwnPage(t *testing.T) {
	d, handler := deskOf(t)
	ask := func(method, address string, header http.Header) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, address, nil)
		for name, values := range header {
			r.Header[name] = values
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	for _, path := range []string{"/kill", "/new-key", "/again", "/login", "/consent", "/sign-out"} {
		t.Run("another site posts to "+path, func(t *testing.T) {
			w := ask("POST", d.base+path, http.Header{"Origin": {"https://attacker.example"}})
			if w.Code != http.StatusForbidden {
				t.Errorf("status %d", w.Code)
			}
		})
	}
	for _, host := range []string{"http://localhost:8080", "http://attacker.example:8080"} {
		t.Run("as "+host, func(t *testing.T) {
			w := ask("POST", host+"/kill", nil)
			if w.Code != http.StatusSeeOther || w.Header().Get("Location") != d.base {
				t.Errorf("status %d to %s", w.Code, w.Header().Get("Location"))
			}
		})
	}
	start := ask("GET", d.base+"/sign-in", nil)
	state := start.Result().Cookies()[0]
	own := http.Header{"Cookie": {"demo=" + state.Value}}
	for _, c := range []struct {
		rule, query string
		cookie      http.Header
	}{
		{"an answer in another browser", "?code=x&iss=" + d.base + "&state=" + state.Value, nil},
		{"an answer with another state", "?code=x&iss=" + d.base + "&state=y", own},
		{"an answer of another issuer", "?code=x&iss=https://attacker.example&state=" + state.Value, own},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if w := ask("GET", d.base+"/callback"+c.query, c.cookie); w.Code != http.StatusBadRequest {
				t.Errorf("status %d", w.Code)
			}
		})
	}
	for range maxVisits {
		ask("GET", d.base+"/sign-in", nil)
	}
	if len(d.visits) > maxVisits {
		t.Errorf("%d visits are kept", len(d.visits))
	}
}

func TestToken(t *testing.T) {
	_, handler := deskOf(t)
	const stranger = `{"error":"invalid_client","error_description":"The client failed to authenticate: unknown client or wrong secret."}`
	for _, c := range []struct {
		rule, id, secret, form, want string
		status                       int
	}{
		{"no client", "", "", "grant_type=authorization_code", stranger, 401},
		{"another client", "other", clientSecret, "grant_type=authorization_code", stranger, 401},
		{"another secret", "demo", "wrong", "grant_type=authorization_code", stranger, 401},
		{"another grant", "demo", clientSecret, "grant_type=password", `{"error":"unsupported_grant_type"}`, 400},
		{"another code", "demo", clientSecret, "grant_type=authorization_code&code=x", `{"error":"invalid_grant"}`, 400},
	} {
		t.Run(c.rule, func(t *testing.T) {
			r := httptest.NewRequest("POST", "http://127.0.0.1:8080/token", strings.NewReader(c.form))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if c.id != "" {
				r.SetBasicAuth(c.id, c.secret)
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != c.status || strings.TrimSpace(w.Body.String()) != c.want || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("status %d and %s", w.Code, w.Body)
			}
		})
	}
}
