package authorizetest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// received is a request as the handler of a site saw it.
type received struct {
	at     string // scheme, host and target
	method string
	body   string
	header http.Header
}

// site is a browser with one handler for some origins, which notes every request.
type site struct {
	*testing.T
	*Browser
	mux  *http.ServeMux
	mu   sync.Mutex
	seen []received
}

// newSite makes a browser for as.example, its sibling login.as.example and
// app.example, all https, and http://as.example.
func newSite(t *testing.T) *site {
	s := &site{T: t, Browser: NewBrowser(), mux: http.NewServeMux()}
	for _, origin := range []string{"https://as.example", "https://login.as.example", "https://app.example", "http://as.example"} {
		s.Handle(origin, s)
	}
	return s
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.Errorf("reading the body: %v", err)
	}
	s.mu.Lock()
	s.seen = append(s.seen, received{scheme + "://" + r.Host + r.RequestURI, r.Method, string(body), r.Header})
	s.mu.Unlock()
	s.mux.ServeHTTP(w, r)
}

// trail is what was requested, in short.
func (s *site) trail() string {
	var trail []string
	for _, r := range s.seen {
		trail = append(trail, strings.TrimSpace(r.method+" "+r.at+" "+r.body))
	}
	s.seen = nil
	return strings.Join(trail, ", ")
}

func (s *site) last() received { return s.seen[len(s.seen)-1] }

// redirects makes a path redirect with a status.
func (s *site) redirects(path string, status int, location string) {
	s.mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(status)
	})
}

// shows makes a path a page of HTML, with further headers.
func (s *site) shows(path, html string, headers ...string) {
	s.mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		for i := 0; i < len(headers); i += 2 {
			w.Header().Add(headers[i], headers[i+1])
		}
		io.WriteString(w, html)
	})
}

func (s *site) open(address string) *Page {
	s.Helper()
	page, err := s.Open(address)
	if err != nil {
		s.Fatal(err)
	}
	return page
}

// wantError checks that there is no page and what the error says.
func wantError(t *testing.T, page *Page, err error, text string) {
	t.Helper()
	if page != nil || err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, %v; want an error with %q", page, err, text)
	}
}

func TestRedirects(t *testing.T) {
	const post = "POST https://as.example/from a=b"
	for _, tt := range []struct {
		status   int
		get, aft string // the request after a GET and after a POST, empty: none
	}{
		{301, "GET", "GET"}, {302, "GET", "GET"}, {303, "GET", "GET"}, {307, "GET", "POST"}, {308, "GET", "POST"},
		{300, "", ""}, {304, "", ""}, {201, "", ""},
	} {
		t.Run(http.StatusText(tt.status), func(t *testing.T) {
			s := newSite(t)
			s.redirects("/from", tt.status, "to?x=1%20+&y")
			s.shows("/to", "")
			page := s.open("https://as.example/from")
			want := "GET https://as.example/from"
			if tt.get != "" {
				want += ", GET https://as.example/to?x=1%20+&y"
			}
			if got := s.trail(); got != want {
				t.Errorf("after a GET: %s, want %s", got, want)
			}
			if tt.get == "" && page.Status != tt.status {
				t.Errorf("the page has the status %d", page.Status)
			}
			if _, err := s.PostFrom("https://as.example/", "https://as.example/from", url.Values{"a": {"b"}}); err != nil {
				t.Fatal(err)
			}
			want = post
			switch tt.aft {
			case "GET":
				want += ", GET https://as.example/to?x=1%20+&y"
			case "POST":
				want += ", POST https://as.example/to?x=1%20+&y a=b"
			}
			if got := s.trail(); got != want {
				t.Errorf("after a POST: %s, want %s", got, want)
			}
		})
	}
}

// A fragment stays in the browser: no site sees it, and redirects pass it on.
func TestFragments(t *testing.T) {
	for _, tt := range []struct{ rule, location, want string }{
		{"a redirect without a fragment", "/to?x=1", "https://as.example/to?x=1#a=b%26c"},
		{"a redirect to another site", "https://app.example/to", "https://app.example/to#a=b%26c"},
		{"a redirect with a fragment", "/to#d=%26", "https://as.example/to#d=%26"},
		{"a redirect with an empty fragment", "/to#", "https://as.example/to"},
		{"a redirect that leaves", "https://wiki.example/cb?x=1", "https://wiki.example/cb?x=1#a=b%26c"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			s := newSite(t)
			s.redirects("/from", 302, tt.location)
			s.shows("/to", "")
			if got := s.open("https://as.example/from#a=b%26c").Request.URL.String(); got != tt.want {
				t.Errorf("at %s, want %s", got, tt.want)
			}
			if trail := s.trail(); strings.Contains(trail, "#") || strings.Contains(trail, "%23") {
				t.Errorf("a site was sent the fragment: %s", trail)
			}
		})
	}
	s := newSite(t)
	s.redirects("/loop", 302, "/loop")
	if _, err := s.Open("https://as.example/loop#code=SECRET"); err == nil || strings.Contains(err.Error(), "SECRET") {
		t.Errorf("the error tells a code: %v", err)
	}
	// A page of the client's own that is a site of the browser.
	s = newSite(t)
	flow := (&Client{Issuer: "https://as.example", ID: "app", RedirectURI: "https://app.example/cb"}).Start(url.Values{"response_mode": {"fragment"}})
	s.redirects("/authorize", 302, "https://app.example/cb#code=abc&iss=https%3A%2F%2Fas.example&state="+flow.State)
	s.shows("/cb", "")
	page := s.open(flow.URL)
	if code, err := flow.Check(page.Request); code != "abc" || err != nil || page.Left {
		t.Errorf("%q, %v at %s", code, err, page)
	}
}

func TestARedirectWithoutLocationIsAPage(t *testing.T) {
	s := newSite(t)
	s.redirects("/", 302, "")
	if page := s.open("https://as.example/"); page.Status != 302 || page.Left {
		t.Errorf("got %v", page)
	}
}

func TestRedirectsThatNoBrowserFollows(t *testing.T) {
	for location, text := range map[string]string{
		"javascript:alert(1)": "javascript:", "data:text/html,x": "data:", "file:///etc/passwd": "file:",
		"https://as.example/%zz": "malformed",
	} {
		t.Run(text, func(t *testing.T) {
			s := newSite(t)
			s.redirects("/", 302, location)
			page, err := s.Open("https://as.example/")
			wantError(t, page, err, text)
		})
	}
}

func TestLoops(t *testing.T) {
	s := newSite(t)
	s.redirects("/authorize", 302, "/login?req=secret")
	s.redirects("/login", 302, "/authorize?req=secret")
	page, err := s.Open("https://as.example/authorize")
	wantError(t, page, err, "more than 20 redirects, the last of them GET https://as.example/login?req=…, GET https://as.example/authorize?req=…, GET")
	if len(s.seen) != maxRedirects || strings.Contains(err.Error(), "secret") {
		t.Errorf("%d requests; the error is %v", len(s.seen), err)
	}
}

func TestTheBrowserStopsWhereItWouldLeave(t *testing.T) {
	for _, tt := range []struct{ rule, location string }{
		{"another host", "https://wiki.example/cb?a=a%20+b&b=%7E"},
		{"another port", "https://as.example:8443/cb?a=b"},
		{"another scheme", "http://app.example/cb?a=b"},
		{"a subdomain", "https://x.as.example/cb"},
		{"a scheme of its own", "com.example.app:/cb?a=b"},
		{"a fragment is kept", "https://wiki.example/cb#a=b"},
		{"a port of loopback", "http://127.0.0.1:49152/cb?a=b"},
		{"loopback with version 6", "http://[::1]:49152/cb?a=b"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			s := newSite(t)
			s.redirects("/", 302, tt.location)
			page := s.open("https://as.example/")
			if !page.Left || page.URL.String() != tt.location || page.Request.URL != page.URL || page.Status != 0 || page.Body != "" || len(s.seen) != 1 {
				t.Errorf("got %v after %s", page, s.trail())
			}
			if err := page.Request.Context().Err(); err != nil {
				t.Errorf("the request cannot be used: %v", err)
			}
			if got := page.Request.Header.Get("Cookie"); got != "" {
				t.Errorf("the request has cookies: %s", got)
			}
			if got, want := page.String(), "leaving for GET "+tt.location; got != want {
				t.Errorf("the page reads %q, want %q", got, want)
			}
		})
	}
}

func TestTheSamePlaceByAnotherNameIsNotLeft(t *testing.T) {
	for rule, location := range map[string]string{
		"capitals in the host": "https://AS.example/to", "the default port": "https://as.example:443/to",
		"the default port of http": "http://as.example:80/to", "no scheme": "//as.example/to", "a path": "/to", "a relative path": "to",
	} {
		t.Run(rule, func(t *testing.T) {
			s := newSite(t)
			s.redirects("/from", 302, location)
			s.shows("/to", "there")
			if page := s.open("https://as.example/from"); page.Left || page.Body != "there" {
				t.Errorf("got %v", page)
			}
		})
	}
}

func TestWhatCannotBeOpened(t *testing.T) {
	for _, tt := range []struct{ rule, from, address, text string }{
		{"no site", "", "https://nobody.example/", "no site has the origin https://nobody.example"},
		{"no absolute URL", "", "/authorize", "no site has the origin"},
		{"no URL", "", "https://as.example/%zz", "invalid URL escape"},
		{"no page before", "wiki", "https://as.example/", "not an absolute URL"},
		{"no URL before", "https://%zz/", "https://as.example/", "the page before"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			s := newSite(t)
			page, err := s.OpenFrom(tt.from, tt.address)
			wantError(t, page, err, tt.text)
			if tt.from != "" {
				page, err = s.PostFrom(tt.from, tt.address, nil)
				wantError(t, page, err, tt.text)
			}
			if len(s.seen) != 0 {
				t.Errorf("requests were made: %s", s.trail())
			}
		})
	}
	page, err := newSite(t).PostFrom("", "https://as.example/", nil)
	wantError(t, page, err, "not an absolute URL")
}

func TestOrigins(t *testing.T) {
	for rule, origin := range map[string]string{
		"empty": "", "a host": "as.example", "a scheme": "https://", "with a slash": "https://as.example/", "with a path": "https://as.example/x",
		"with a user": "https://u@as.example", "another scheme": "ftp://as.example", "with a query": "https://as.example?x", "malformed": "https://%zz",
	} {
		t.Run(rule, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Errorf("%q is taken for an origin", origin)
				}
			}()
			NewBrowser().Handle(origin, http.NotFoundHandler())
		})
	}
	b := NewBrowser()
	b.Handle("https://as.example", http.NotFoundHandler())
	defer func() {
		if text := fmt.Sprint(recover()); !strings.Contains(text, "has a site already") {
			t.Errorf("the panic says %s", text)
		}
	}()
	b.Handle("https://AS.example:443", http.NotFoundHandler())
}

func TestARealServer(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "__Host-a", Value: "1", Path: "/", Secure: true})
		http.Redirect(w, r, "/form", http.StatusFound)
	})
	mux.HandleFunc("/form", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "<!doctype html><form method=post><input name=n></form>%s %s %s", r.Method, r.FormValue("n"), r.Header.Get("Cookie"))
	})
	server := httptest.NewTLSServer(mux)
	defer server.Close()
	b := NewBrowser()
	b.Connect(server.URL, server.Client().Transport)
	page, err := b.Open(server.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	if page, err = page.Submit(url.Values{"n": {"x"}}); err != nil || !strings.HasSuffix(page.Body, "POST x __Host-a=1") {
		t.Errorf("got %v, %v", page, err)
	}
	server.Close()
	page, err = b.Open(server.URL + "/?req=secret")
	wantError(t, page, err, server.URL+"/?req=…: ")

	plain := httptest.NewServer(mux)
	defer plain.Close()
	b.Connect(plain.URL, nil)
	if page, err = b.Open(plain.URL + "/form"); err != nil || !strings.HasSuffix(page.Body, "GET  ") {
		t.Errorf("with the default transport: %v, %v", page, err)
	}
}

// answers is a transport that answers everything with one body.
type answers struct{ body io.Reader }

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(a.body)}, nil
}

func TestPagesThatCannotBeRead(t *testing.T) {
	for text, body := range map[string]io.Reader{
		"too large": io.LimitReader(endless{}, maxBody+1),
		"reset":     failing{},
	} {
		b := NewBrowser()
		b.Connect("https://as.example", answers{body})
		page, err := b.Open("https://as.example/")
		wantError(t, page, err, text)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestAPanicOfTheHandlerReachesTheTest(t *testing.T) {
	b := NewBrowser()
	b.Handle("https://as.example", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("here") }))
	defer func() {
		if recover() != "here" {
			t.Error("the panic is lost")
		}
	}()
	b.Open("https://as.example/")
}

func TestAHandlerSeesWhatAServerWouldReceive(t *testing.T) {
	b := NewBrowser()
	var got *http.Request
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r })
	b.Handle("https://as.example:8443", handler)
	b.Handle("http://as.example", handler)
	if _, err := b.Open("https://as.example:8443/a%2fb?q=%20#f"); err != nil {
		t.Fatal(err)
	}
	if got.URL.String() != "/a%2fb?q=%20" || got.RequestURI != "/a%2fb?q=%20" || got.Host != "as.example:8443" || got.TLS == nil || got.RemoteAddr == "" || got.Body == nil {
		t.Errorf("the request is %+v", got)
	}
	if _, err := b.Open("http://as.example"); err != nil {
		t.Fatal(err)
	}
	if got.TLS != nil || got.RequestURI != "/" || got.ContentLength != 0 {
		t.Errorf("the request is %+v", got)
	}
	if _, err := b.PostFrom("http://as.example", "http://as.example", url.Values{"a": {"x\ny\r\nz\r"}}); err != nil {
		t.Fatal(err)
	}
	if err := got.ParseForm(); err != nil || got.PostForm.Get("a") != "x\r\ny\r\nz\r\n" || got.ContentLength == 0 {
		t.Errorf("the form is %q, %v", got.PostForm, err)
	}
}

// What a handler writes has the type over a server that it has in process.
func TestTheContentTypeIsAsFromAServer(t *testing.T) {
	const page = "<!DOCTYPE html><title>x</title>"
	for _, tt := range []struct {
		rule  string
		write func(w http.ResponseWriter)
	}{
		{"a page", func(w http.ResponseWriter) { io.WriteString(w, page) }},
		{"a page in small pieces", func(w http.ResponseWriter) {
			io.WriteString(w, "<!")
			w.Write([]byte(page[2:]))
		}},
		{"a page after its status", func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, page)
		}},
		{"text", func(w http.ResponseWriter) { io.WriteString(w, "hello") }},
		{"nothing", func(http.ResponseWriter) {}},
		{"a status alone", func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) }},
		{"a status that has no body", func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusNoContent)
			io.WriteString(w, page)
		}},
		{"a type of its own", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/css")
			io.WriteString(w, page)
		}},
		{"a type that comes too late", func(w http.ResponseWriter) {
			io.WriteString(w, page)
			w.Header().Set("Content-Type", "text/css")
		}},
		{"no type on purpose", func(w http.ResponseWriter) {
			w.Header()["Content-Type"] = nil
			io.WriteString(w, page)
		}},
		{"what is compressed", func(w http.ResponseWriter) {
			w.Header().Set("Content-Encoding", "br")
			io.WriteString(w, page)
		}},
		{"a transfer coding", func(w http.ResponseWriter) {
			w.Header().Set("Transfer-Encoding", "chunked")
			io.WriteString(w, page)
		}},
		{"a page that is flushed early", func(w http.ResponseWriter) {
			io.WriteString(w, "<!")
			w.(http.Flusher).Flush()
			io.WriteString(w, page[2:])
		}},
		{"a page that is flushed before it begins", func(w http.ResponseWriter) {
			w.(http.Flusher).Flush()
			io.WriteString(w, page)
		}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { tt.write(w) })
			server := httptest.NewServer(handler)
			defer server.Close()
			var got [2]*Page
			for i, connect := range []func(b *Browser){
				func(b *Browser) { b.Handle(server.URL, handler) },
				func(b *Browser) { b.Connect(server.URL, nil) },
			} {
				b := NewBrowser()
				connect(b)
				var err error
				if got[i], err = b.Open(server.URL + "/"); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(got[1].Header.Values("Content-Type"), got[0].Header.Values("Content-Type")); diff != "" {
				t.Errorf("the Content-Type over a server (-) and in process (+):\n%s", diff)
			}
			if got[0].Status != got[1].Status || got[0].Body != got[1].Body {
				t.Errorf("over a server %v, in process %v", got[1], got[0])
			}
		})
	}
}

func TestTabs(t *testing.T) {
	s := newSite(t)
	s.mux.HandleFunc("/{n}", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "c" + r.PathValue("n"), Value: "1"})
	})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if _, err := s.Open(fmt.Sprint("https://as.example/", i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := len(s.Cookies("https://as.example/")); got != 20 {
		t.Errorf("%d cookies are kept, want 20", got)
	}
}

func TestPageShowsItself(t *testing.T) {
	s := newSite(t)
	s.shows("/", "hello")
	if got := s.open("https://as.example/?a").String(); got != "GET https://as.example/?a: 200\nhello" {
		t.Errorf("the page reads %q", got)
	}
}

func TestErrorsOfTransportsAreWrapped(t *testing.T) {
	b := NewBrowser()
	b.Connect("https://as.example", broke{})
	_, err := b.Open("https://as.example/")
	if !errors.Is(err, errBroke) {
		t.Errorf("the error is %v", err)
	}
}

var errBroke = errors.New("broke")

type broke struct{}

func (broke) RoundTrip(*http.Request) (*http.Response, error) { return nil, errBroke }
