package authorize

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	oautherr "github.com/usher-auth/usher/errors"
)

func TestLimitsOfWhatIsRead(t *testing.T) {
	padded := func(length int) string {
		query := ask() + "&x="
		return query + strings.Repeat("a", length-len(query))
	}
	for _, c := range []struct {
		rule  string
		query string // of a GET
		body  string // of a POST
		want  string
	}{
		{"a query of 64 KiB", padded(maxInput), "", "code"},
		{"a query of one byte more", padded(maxInput + 1), "", "page Request URI Too Long invalid_request"},
		{"a body of 64 KiB", "", padded(maxInput), "code"},
		{"a body of one byte more", "", padded(maxInput + 1), "page Request Entity Too Large invalid_request"},
		{"a body of 12 MiB", "", padded(12 << 20), "page Request Entity Too Large invalid_request"},
		{"the query of a POST", strings.Repeat("a", maxInput+1), ask(), "page Request URI Too Long invalid_request"},
		{"64 KiB of separators", strings.Repeat("&", maxInput), "", "page Bad Request invalid_request"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/authorize", nil)
			if c.body != "" {
				r = formPost("/authorize", c.body)
			}
			r.URL.RawQuery = c.query
			s := newSite(t)
			s.visitor(alice()).send(s.handler, r).want(c.want)
		})
	}
}

func TestNoMoreIsReadThanTheLimit(t *testing.T) {
	s := newSite(t)
	body := &counted{}
	r := formPost("/authorize", "")
	r.Body = body
	s.visitor(nil).send(s.handler, r).want("page Request Entity Too Large invalid_request", "an endless body")
	if body.read > maxInput+4096 {
		t.Errorf("read %d bytes of a body that may have %d", body.read, maxInput)
	}
}

// counted is a body that never ends.
type counted struct{ read int }

func (c *counted) Read(p []byte) (int, error) { c.read += len(p); return len(p), nil }
func (c *counted) Close() error               { return nil }

func TestABodyThatBreaksOff(t *testing.T) {
	s := newSite(t)
	r := formPost("/authorize", "")
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader(ask()), iotest.ErrReader(errors.New("connection reset"))))
	s.visitor(alice()).send(s.handler, r).want("page Bad Request invalid_request", "what arrived was a whole request")
}

// A body that takes longer than the request may take is not answered any more.
func TestABodyThatComesTooLate(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := formPost("/authorize", ask()).WithContext(ctx)
	s.visitor(alice()).send(s.handler, r).want("page Bad Request invalid_request", "the browser has gone away")
	if e := s.lastEvent(); e.Reason != ReasonUnreadable || e.level() != slog.LevelInfo {
		t.Errorf("reported as %s at %s", e.Reason, e.level())
	}
}

func TestOtherMethodsAreToldWhatIsAllowed(t *testing.T) {
	for page, change := range map[string]func(*site){
		"the page of this package": func(*site) {},
		"the host's own":           keeping(&PageError{}),
		"elsewhere":                withErrorURL("/error"), // where other methods are not sent
	} {
		for _, method := range []string{"HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "PROPFIND"} {
			t.Run(page+", "+method, func(t *testing.T) {
				s := newSite(t, change)
				r := httptest.NewRequest(method, "https://as.example/authorize", nil)
				r.URL.RawQuery = ask()
				got := s.visitor(alice()).send(s.handler, r)
				if got.status != 405 || got.header.Get("Allow") != "GET, POST" {
					t.Errorf("status %d, Allow %q", got.status, got.header.Get("Allow"))
				}
			})
		}
	}
}

// Adapters of function platforms and hosts' own tests call handlers without a server in
// front, which would see to it that there is a body and that headers are joined.
func TestWithoutAServerInFront(t *testing.T) {
	s := newSite(t, withConsent, withStep(Interaction{Name: "terms", Prompt: "terms", Page: "/terms"}))
	s.remember("web", "openid")
	post := func(path string) *http.Request {
		r, err := http.NewRequest(http.MethodPost, testIssuer+path, nil)
		if err != nil || r.Body != nil {
			t.Fatalf("there is a body: %v", err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return r
	}
	twice := func(first, second string) *http.Request {
		r := formPost("/authorize", ask())
		r.Header["Content-Encoding"] = []string{first, second}
		return r
	}
	s.visitor(nil).send(s.handler, post("/authorize")).want("page Bad Request invalid_request", "no body")
	s.visitor(nil).send(s.handler, post("/authorize?"+ask())).want("page Bad Request invalid_request", "no body, and a query")
	get := post("/authorize?" + ask())
	get.Method = http.MethodGet
	s.visitor(alice()).send(s.handler, get).want("code", "a GET without a body")
	s.visitor(alice()).send(s.handler, twice("identity", "gzip")).want("page Unsupported Media Type invalid_request", "gzip in a second line")
	s.visitor(alice()).send(s.handler, twice("", "identity")).want("code", "identity in a second line")

	w := httptest.NewRecorder()
	s.handler.PendingHandler().ServeHTTP(w, post("/pending"))
	if got := strings.TrimSpace(w.Body.String()); w.Code != http.StatusOK || got != `{"active":false}` {
		t.Errorf("PendingHandler without a body: status %d, %s", w.Code, got)
	}
	if _, err := s.handler.Pending(post("/login")); !errors.Is(err, oautherr.InvalidRequest) {
		t.Errorf("a page without a body: %v", err)
	}
	w = httptest.NewRecorder()
	if s.handler.Resume(w, post("/login")) {
		t.Error("resumed without a request")
	}
	for name, page := range map[string]func(http.ResponseWriter, *http.Request){
		"Deny":     s.handler.Deny,
		"Complete": func(w http.ResponseWriter, r *http.Request) { s.handler.Complete(w, r, "terms") },
		"Grant": func(w http.ResponseWriter, r *http.Request) {
			s.handler.Grant(w, r, Granted{Scopes: []string{"openid"}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			if got := s.visitor(alice()).page(page, post("/page")); got.status >= 500 {
				t.Errorf("status %d", got.status)
			}
		})
	}
}

// Before anybody is known, twice the bytes are no more than twice the work: who needs no
// account must not be able to keep the server busy.
func TestWorkIsLinear(t *testing.T) {
	distinct := func(bytes int) string {
		var b strings.Builder
		for i := 0; b.Len() < bytes; i++ {
			fmt.Fprintf(&b, "%c%c+", 'A'+i/26%52, 'a'+i%26)
		}
		return b.String()
	}
	fill := func(piece string) func(int) string {
		return func(bytes int) string { return strings.Repeat(piece, bytes/len(piece)) }
	}
	members := func(bytes int) string {
		var b strings.Builder
		b.WriteString("%7B%22a0%22:1")
		for i := 1; b.Len() < bytes-3; i++ {
			fmt.Fprintf(&b, ",%%22a%d%%22:1", i)
		}
		return b.String() + "%7D"
	}
	shapes := []struct {
		name  string
		bytes int // the larger of the two sizes
		query func(bytes int) string
	}{
		{"lists of many values", 20000, func(n int) string {
			list := distinct(n / 5)
			return ask("scope="+list, "prompt="+list, "ui_locales="+list, "claims_locales="+list, "acr_values="+list)
		}},
		{"resources and a repeated name", 60000, func(n int) string {
			return ask() + fill("&resource=a")(n/2) + fill("&req=1")(n/2)
		}},
		{"resources", 60000, func(n int) string { return ask() + fill("&resource=https://api.example/a")(n) }},
		{"a repeated name", 60000, func(n int) string { return ask() + fill("&state=1")(n) }},
		{"many repeated names", 60000, func(n int) string {
			return ask() + fill("&nonce=1&display=1&claims=1&request=1&prompt=1&dpop_jkt=1")(n)
		}},
		{"unknown names", 60000, func(n int) string { return ask() + fill("&a=b")(n) }},
		{"separators", 60000, fill("&")},
		{"escapes", 60000, func(n int) string { return ask("state=" + fill("%41")(n)) }},
		{"a response_type of many values", 60000, func(n int) string { return ask("response_type=" + distinct(n)) }},
		{"blanks", 60000, func(n int) string { return ask("scope=openid" + fill("+")(n)) }},
		{"claims with many members", 8000, func(n int) string { return ask("claims=" + members(n)) }},
		{"a long redirect_uri", 60000, func(n int) string {
			return ask("client_id=native", "redirect_uri=http://127.0.0.1:80/"+fill("%61/")(n))
		}},
		{"a long req", 60000, func(n int) string { return "req=" + fill("e30.")(n) }},
	}
	s := newSite(t, func(s *site) { s.config.Logger, s.config.OnEvent = nil, nil })
	form := func(path, body string) *http.Request { return formPost(path, body) }
	endpoints := []struct {
		name string
		send func(query string) (http.Handler, *http.Request)
	}{
		{"GET", func(query string) (http.Handler, *http.Request) {
			r := httptest.NewRequest(http.MethodGet, "/authorize", nil)
			r.URL.RawQuery = query
			return s.handler, r
		}},
		{"POST", func(query string) (http.Handler, *http.Request) { return s.handler, form("/authorize", query) }},
		{"the query of a POST", func(query string) (http.Handler, *http.Request) {
			r := form("/authorize", ask())
			r.URL.RawQuery = query
			return s.handler, r
		}},
		{"PendingHandler", func(query string) (http.Handler, *http.Request) {
			return s.handler.PendingHandler(), form("/pending", query)
		}},
		{"a page of the host", func(query string) (http.Handler, *http.Request) {
			r := form("/login", query)
			return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { s.handler.Pending(r) }), r
		}},
	}
	for _, e := range endpoints {
		for _, shape := range shapes {
			t.Run(e.name+"/"+shape.name, func(t *testing.T) {
				linear(t, func(part int) func() {
					h, r := e.send(shape.query(shape.bytes / part))
					body := readAll(t, r.Body)
					return func() {
						r.Body = io.NopCloser(strings.NewReader(body))
						r.Form, r.PostForm = nil, nil
						h.ServeHTTP(httptest.NewRecorder(), r)
					}
				})
			})
		}
	}
	headers := []struct {
		name, header string
		bytes        int
		value        func(bytes int) string
		h            http.Handler
		method       string
	}{
		{"a content type", "Content-Type", 900_000, func(n int) string {
			return "application/x-www-form-urlencoded" + fill("; a=b")(n)
		}, s.handler, "POST"},
		{"encodings", "Content-Encoding", 900_000, fill("identity,"), s.handler, "POST"},
		{"cookies", "Cookie", 100_000, fill("__Host-usher-ABCDEFGHIJKLMNOPQRSTUVWXYZ=1.a; "), s.handler, "GET"},
		{"headers that a preflight asks for", "Access-Control-Request-Headers", 900_000, fill("x-a,"), s.handler.MetadataHandler(), "OPTIONS"},
	}
	for _, c := range headers {
		t.Run("a header/"+c.name, func(t *testing.T) {
			linear(t, func(part int) func() {
				r := httptest.NewRequest(c.method, "/authorize?"+ask(), nil)
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				r.Header.Set(c.header, c.value(c.bytes/part))
				return func() { c.h.ServeHTTP(httptest.NewRecorder(), r) }
			})
		})
	}
}

// linear fails unless the work for the whole input takes less than three times as long as
// that for half of it: where it grows with the square, that is four times. Another process
// can slow down a run, so the best of many counts, and what seems too slow is measured
// again, with more runs.
func linear(t *testing.T, work func(part int) func()) {
	t.Helper()
	whole, half := work(1), work(2)
	const most, rounds = 3.0, 5
	ratio := 0.0
	for round := range rounds {
		least := [2]time.Duration{time.Hour, time.Hour}
		for range 10 << round {
			for i, run := range []func(){whole, half} {
				started := time.Now()
				run()
				least[i] = min(least[i], time.Since(started))
			}
		}
		if least[0] < 200*time.Microsecond {
			return // nothing that could keep a server busy
		}
		if ratio = float64(least[0]) / float64(least[1]); ratio < most {
			return
		}
	}
	t.Errorf("twice the bytes take %.1f times as long", ratio)
}

// For any bytes: what is read is what they say, and nothing is dropped in silence.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{ask(), "a=1;b=2", "state=%zz", "state=a+b&state=%2B", "resource=a&resource=b", "&=&&%73tate=x", "deny=1&req=x", strings.Repeat("resource=a&", 30)} {
		f.Add(seed)
	}
	s := newSite(f)
	f.Fuzz(func(t *testing.T, raw string) {
		p, err := s.handler.parse(raw, errBodyTooLarge)
		values, malformed := url.ParseQuery(raw)
		if err != nil {
			if slices.ContainsFunc(p.list, func(x param) bool { return x.name != "ui_locales" && x.name != "client_id" && x.name != "req" }) || p.resumes || p.denied {
				t.Fatalf("refused and yet read: %v", p)
			}
			return
		}
		if malformed != nil {
			t.Fatalf("accepted, though %v", malformed)
		}
		for name := range s.handler.known {
			if name == "req" {
				continue // the corpus has its rows
			}
			want := slices.DeleteFunc(slices.Clone(values[name]), func(v string) bool { return v == "" })
			switch got := p.all(name); {
			case name == "resource":
				if want = want[:min(len(want), maxResources+1)]; !slices.Equal(got, want) {
					t.Fatalf("%s is %q, want %q", name, got, want)
				}
			case len(want) > 1 != slices.Contains(p.repeated, name):
				t.Fatalf("%s is %q; repeated: %v", name, want, slices.Contains(p.repeated, name))
			case len(want) > 1 && p.get(name) != "":
				t.Fatalf("of %q one was chosen: %q", want, p.get(name))
			case len(want) == 1 && p.get(name) != want[0], len(want) == 0 && len(got) != 0:
				t.Fatalf("%s is %q, want %q", name, got, want)
			}
		}
		for _, x := range p.list {
			if !s.handler.known[x.name] {
				t.Fatalf("%q is kept", x.name)
			}
		}
	})
}

// What is refused for its length costs no more than that length.
// A client may have a parameter req of its own, which is not a request that waits.
func TestAReqThatIsNotOurs(t *testing.T) {
	for _, c := range []struct {
		name   string
		query  func(ours string) string
		want   string
		reason Reason
	}{
		{"alone: one of ours that is damaged", func(string) string { return "req=x" }, "page Bad Request invalid_request", ReasonExpired},
		{"beside a client_id: ignored", func(string) string { return ask("req=x") }, "code", ReasonSatisfied},
		{"beside a client_id that came twice", func(string) string { return ask("req=x", "+client_id=web") }, "page Bad Request invalid_request", ReasonUnknownClient},
		{"two of them beside a client_id", func(string) string { return ask("req=x", "+req=y") }, "code", ReasonSatisfied},
		{"beside one of ours: nobody can say which is meant", func(ours string) string { return "req=" + ours + "&req=x" }, "page Bad Request invalid_request", ReasonNoRequest},
		{"in front of one of ours", func(ours string) string { return "req=x&req=" + ours }, "page Bad Request invalid_request", ReasonNoRequest},
		{"the no of a request that is damaged", func(string) string { return "req=x&deny=1" }, "page Bad Request invalid_request", ReasonExpired},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			v := s.visitor(alice())
			waiting := v.get(ask("prompt=login")).want("login")
			v.get(c.query(waiting.req)).want(c.want)
			if got := s.lastEvent().Reason; got != c.reason {
				t.Errorf("the reason is %s, want %s", got, c.reason)
			}
		})
	}
}

// The error page speaks the user's language and names the client also where the rest cannot
// be read.
func TestWhatCanBeReadOfAMalformedRequest(t *testing.T) {
	for _, c := range []struct{ name, query, client, locales string }{
		{"both", "a;b&ui_locales=sv&client_id=web", "web", "sv"},
		{"empty first", "a;b&ui_locales=&ui_locales=sv&client_id=&client_id=web", "web", "sv"},
		{"malformed first", "ui_locales=%zz&ui_locales=sv&client_id=%zz&client_id=web", "web", "sv"},
		{"twice", "a;b&ui_locales=sv&ui_locales=de&client_id=web&client_id=spa", "", ""},
		{"neither", "a;b&state=x", "", ""},
		{"a req that is not ours", "a;b&req=x&client_id=web", "web", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			shown := PageError{}
			s := newSite(t, func(s *site) {
				s.config.ErrorPage = func(w http.ResponseWriter, r *http.Request, p PageError) {
					shown = p
					writePage(w, p.Status, errorTemplate, p)
				}
			})
			s.visitor(alice()).get(c.query).want("page Bad Request invalid_request")
			if got := strings.Join(shown.UILocales, " "); shown.Reason != ReasonUnreadable || shown.ClientID != c.client || got != c.locales {
				t.Errorf("%s of %q in %q, want %q in %q", shown.Reason, shown.ClientID, got, c.client, c.locales)
			}
		})
	}
}

func TestHeadersOfAPrefetch(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"Sec-Purpose", "prefetch", "page Bad Request invalid_request"},
		{"Sec-Purpose", "prefetch;prerender", "page Bad Request invalid_request"},
		{"Sec-Purpose", "prerender", "page Bad Request invalid_request"},
		{"Sec-Purpose", "", "code"},
		{"Purpose", "Prefetch", "page Bad Request invalid_request"},
		{"X-Purpose", "preview", "page Bad Request invalid_request"},
		{"X-Moz", "prefetch", "page Bad Request invalid_request"},
		{"X-Moz", "livebookmarks", "code"},
	} {
		t.Run(c.name+": "+c.value, func(t *testing.T) {
			s := newSite(t)
			r := httptest.NewRequest("GET", "/authorize?"+ask(), nil)
			r.Header.Set(c.name, c.value)
			s.visitor(alice()).send(s.handler, r).want(c.want)
		})
	}
}

func TestALongPostIsRefusedCheaply(t *testing.T) {
	for _, c := range []struct{ rule, repeat string }{
		{"resources", "&resource=https%3A%2F%2Fapi.example%2Fa"},
		{"unknown parameters", "&a=b"},
		{"a long hint", "&claims_locales=" + strings.Repeat("x", 4000) + "&ui_locales=" + strings.Repeat("%C3%A9", 1000)},
	} {
		t.Run(c.rule, func(t *testing.T) {
			body := ask()
			for len(body)+len(c.repeat) < maxInput {
				body += c.repeat
				if c.rule == "a long hint" {
					break
				}
			}
			v := newSite(t).visitor(nil)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			v.post(body)
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
				t.Errorf("%d bytes of body took %d bytes of memory", len(body), used)
			}
		})
	}
}
