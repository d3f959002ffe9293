package authorize

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestLimitsOfWhatIsRead(t *testing.T) {
	s := newSite(t)
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
		r := httptest.NewRequest(http.MethodGet, "/authorize", nil)
		if c.body != "" {
			r = formPost("/authorize", c.body)
		}
		r.URL.RawQuery = c.query
		s.visitor(alice()).send(s.handler, r).want(t, c.rule, c.want)
	}
}

func TestNoMoreIsReadThanTheLimit(t *testing.T) {
	s := newSite(t)
	body := &counted{}
	r := formPost("/authorize", "")
	r.Body = body
	s.visitor(nil).send(s.handler, r).want(t, "an endless body", "page Request Entity Too Large invalid_request")
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
	s.visitor(alice()).send(s.handler, r).want(t, "what arrived was a whole request", "page Bad Request invalid_request")
}

// A body that takes longer than the request may take is not answered any more.
func TestABodyThatComesTooLate(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := formPost("/authorize", ask()).WithContext(ctx)
	s.visitor(alice()).send(s.handler, r).want(t, "the browser has gone away", "page Bad Request invalid_request")
	if e := s.lastEvent(); e.Reason != ReasonUnreadable || e.level() != slog.LevelInfo {
		t.Errorf("reported as %s at %s", e.Reason, e.level())
	}
}

func TestOtherMethodsAreToldWhatIsAllowed(t *testing.T) {
	for _, change := range []func(*site){
		func(*site) {},
		func(s *site) {
			s.config.ErrorPage = func(w http.ResponseWriter, _ *http.Request, p PageError) {
				w.WriteHeader(p.Status)
				io.WriteString(w, "x")
			}
		},
	} {
		s := newSite(t, change)
		for _, method := range []string{"HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "PROPFIND"} {
			r := httptest.NewRequest(method, "https://as.example/authorize", nil)
			r.URL.RawQuery = ask()
			got := s.visitor(alice()).send(s.handler, r)
			if got.status != 405 || got.header.Get("Allow") != "GET, POST" {
				t.Errorf("%s: status %d, Allow %q", method, got.status, got.header.Get("Allow"))
			}
		}
	}
}

func TestOnlyWhatIsConfiguredSurvives(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct{ rule, parameter, want string }{
		{"a parameter of the protocol", "login_hint", "x"},
		{"a parameter of the configuration", "x_tenant", "x"},
		{"an unknown one", "x_other", ""},
	} {
		v := s.visitor(nil)
		at := v.get(ask(c.parameter + "=x"))
		p, err := s.handler.Pending(httptest.NewRequest("GET", "/login?req="+url.QueryEscape(at.req), nil))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Request.Parameter(c.parameter); got != c.want {
			t.Errorf("%s: %q on the login page, want %q", c.rule, got, c.want)
		}
	}
}

// For any bytes: what is read is what they say, and nothing is dropped in silence.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{ask(), "a=1;b=2", "state=%zz", "state=a+b&state=%2B", "resource=a&resource=b", "&=&&%73tate=x", "deny=1&req=x"} {
		f.Add(seed)
	}
	s := newSite(f)
	f.Fuzz(func(t *testing.T, raw string) {
		p, err := s.handler.parse(raw, errTooLarge)
		values, malformed := url.ParseQuery(raw)
		if err != nil {
			if len(p.list) != 0 {
				t.Fatalf("refused and yet read: %v", p.list)
			}
			return
		}
		if malformed != nil {
			t.Fatalf("accepted, though %v", malformed)
		}
		for name := range s.handler.known {
			want := slices.DeleteFunc(slices.Clone(values[name]), func(v string) bool { return v == "" })
			switch got := p.all(name); {
			case name == "resource":
				if !slices.Equal(got, want) {
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
