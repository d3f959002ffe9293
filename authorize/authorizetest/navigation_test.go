package authorizetest

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestReferer(t *testing.T) {
	const page, as, app, plain = "https://as.example/page?q=1", "https://as.example/to", "https://app.example/to", "http://as.example/to"
	const origin = "https://as.example/"
	for _, tt := range []struct{ policy, same, cross, down string }{
		{"", page, origin, ""},
		{"no-referrer", "", "", ""},
		{"no-referrer-when-downgrade", page, page, ""},
		{"origin", origin, origin, origin},
		{"origin-when-cross-origin", page, origin, origin},
		{"same-origin", page, "", ""},
		{"strict-origin", origin, origin, ""},
		{"strict-origin-when-cross-origin", page, origin, ""},
		{"unsafe-url", page, page, page},
		{"no-referrer, unsafe-url", page, page, page},
		{"Same-Origin, unknown", page, "", ""},
	} {
		for _, to := range []struct{ where, address, want string }{
			{"the same origin", as, tt.same}, {"another site", app, tt.cross}, {"http", plain, tt.down},
		} {
			t.Run(fmt.Sprintf("%q to %s", tt.policy, to.where), func(t *testing.T) {
				s := newSite(t)
				s.shows("/page", `<a href="`+to.address+`">Go</a>`, "Referrer-Policy", tt.policy)
				s.shows("/to", "")
				if _, err := s.open(page + "#fragment").Click("Go"); err != nil {
					t.Fatal(err)
				}
				if got := s.last().header.Get("Referer"); got != to.want {
					t.Errorf("%q, want %q", got, to.want)
				}
			})
		}
	}
}

func TestRefererOfOtherWays(t *testing.T) {
	for _, tt := range []struct {
		rule string
		do   func(s *site) (*Page, error)
		want string
	}{
		{"a typed address", func(s *site) (*Page, error) { return s.Open("https://as.example/to") }, ""},
		{"rel=noreferrer", func(s *site) (*Page, error) { return s.open("https://as.example/page").Click("Go") }, ""},
		{"from another site", func(s *site) (*Page, error) {
			return s.OpenFrom("https://u:p@app.example/a?b", "https://as.example/to")
		}, "https://app.example/"},
		{"a redirect that hides it", func(s *site) (*Page, error) { return s.OpenFrom("https://app.example/a?b", "https://as.example/hide") }, ""},
		{"from an app", func(s *site) (*Page, error) { return s.OpenFrom("com.example.app://x/", "https://as.example/to") }, ""},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			s := newSite(t)
			s.shows("/page", `<a href="/to" rel="nofollow NoReferrer">Go</a>`)
			s.shows("/to", "")
			s.mux.HandleFunc("/hide", func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Referrer-Policy", "no-referrer")
				http.Redirect(w, r, "/to", http.StatusFound)
			})
			if _, err := tt.do(s); err != nil {
				t.Fatal(err)
			}
			if got := s.last().header.Get("Referer"); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestOriginOfForms(t *testing.T) {
	const as, app, plain = "https://as.example/to", "https://app.example/to", "http://as.example/to"
	for _, tt := range []struct{ rule, policy, address, want string }{
		{"the same origin", "", as, "https://as.example"},
		{"another", "", app, "https://as.example"},
		{"no-referrer", "no-referrer", as, "null"},
		{"same-origin, to the same", "same-origin", as, "https://as.example"},
		{"same-origin, to another", "same-origin", app, "null"},
		{"a downgrade", "", plain, "null"},
		{"a downgrade with origin", "origin", plain, "https://as.example"},
		{"sent on within the site", "", "https://as.example/307", "https://as.example"},
		{"sent on by another site", "", "https://app.example/307", "null"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			s := newSite(t)
			s.shows("/page", `<form method=post action="`+tt.address+`"></form>`, "Referrer-Policy", tt.policy)
			s.shows("/to", "")
			s.redirects("/307", 307, as)
			page, err := s.open("https://as.example/page").Submit(nil)
			if err != nil {
				t.Fatal(err)
			}
			last := s.last()
			if got := last.header.Get("Origin"); got != tt.want || last.method != http.MethodPost {
				t.Errorf("%s with the origin %q, want %q", page.Request.Method, got, tt.want)
			}
		})
	}
	s := newSite(t)
	s.shows("/", "")
	if _, err := s.OpenFrom("https://app.example/", "https://as.example/"); err != nil {
		t.Fatal(err)
	}
	if got := s.last().header.Values("Origin"); got != nil {
		t.Errorf("a link has the origin %q", got)
	}
}

func TestFetchSite(t *testing.T) {
	const as = "https://as.example/"
	for _, tt := range []struct {
		rule, from, address, want string
	}{
		{"typed", "", as, "none"},
		{"typed and redirected by another site", "", "https://app.example/302", "none"},
		{"the same origin", as, as, "same-origin"},
		{"the same site", "https://login.as.example/", as, "same-site"},
		{"another site", "https://app.example/", as, "cross-site"},
		{"another site on the way", as, "https://app.example/302", "cross-site"},
		{"a sibling on the way", as, "https://login.as.example/302", "same-site"},
		{"over http", "https://app.example/", "http://as.example/", ""},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			s := newSite(t)
			s.redirects("/302", 302, as)
			s.shows("/{$}", "")
			if _, err := s.OpenFrom(tt.from, tt.address); err != nil {
				t.Fatal(err)
			}
			h := s.last().header
			if got := h.Get("Sec-Fetch-Site"); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
			if got := h.Get("Sec-Fetch-Mode") == "navigate" && h.Get("Sec-Fetch-Dest") == "document"; got != (tt.want != "") {
				t.Errorf("the headers are %v", h)
			}
		})
	}
	for _, tt := range []struct {
		rule, address string
		want          bool
	}{
		{"https is trustworthy", "https://as.example", true},
		{"localhost is trustworthy", "http://localhost:8080", true},
		{"a name below localhost is trustworthy", "http://as.localhost", true},
		{"loopback is trustworthy", "http://127.0.0.1", true},
		{"IPv6 loopback is trustworthy", "http://[::1]", true},
		{"another address is not", "http://10.0.0.1", false},
		{"a name that ends like localhost is not", "http://notlocalhost", false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			u, err := url.Parse(tt.address)
			if err != nil || trustworthy(u) != tt.want {
				t.Errorf("%s is trustworthy: %t, want %t (%v)", tt.address, !tt.want, tt.want, err)
			}
		})
	}
}

// The protection of net/http against forms of other sites takes this browser for
// one.
func TestCrossOriginProtection(t *testing.T) {
	b := NewBrowser()
	protected := http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {}))
	b.Handle("https://as.example", protected)
	b.Handle("http://as.example", protected)
	for _, tt := range []struct {
		rule, from string
		want       int
	}{
		{"the same origin", "https://as.example/x", 200},
		{"the same site", "https://login.as.example/", 403},
		{"another site", "https://app.example/", 403},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			page, err := b.PostFrom(tt.from, "https://as.example/", nil)
			if err != nil || page.Status != tt.want {
				t.Errorf("%v, %v; want %d", page, err, tt.want)
			}
			// Over http there is the Origin header alone.
			page, err = b.PostFrom(strings.Replace(tt.from, "https:", "http:", 1), "http://as.example/", nil)
			if err != nil || page.Status != tt.want {
				t.Errorf("over http: %v, %v; want %d", page, err, tt.want)
			}
		})
	}
}

func TestFormAction(t *testing.T) {
	const client = "https://wiki.example/cb?code=a"
	for _, tt := range []struct {
		rule, csp, to string
		blocked       bool
	}{
		{"none is set", "default-src 'none'; frame-ancestors 'none'", client, false},
		{"'self' within the site", "form-action 'self'", "https://as.example/to", false},
		{"'self' and then to the client", "form-action 'self'", client, true},
		{"'none'", "form-action 'none'", "https://as.example/to", true},
		{"an empty list", "form-action", "https://as.example/to", true},
		{"any", "form-action *", client, false},
		{"any is no scheme of an app's own", "form-action 'self' *", "com.example.app:/cb", true},
		{"a scheme", "form-action https:", client, false},
		{"the scheme of an app", "form-action 'self' com.example.app:", "com.example.app:/cb", false},
		{"another scheme", "form-action 'self' http:", client, true},
		{"a host", "form-action 'self' wiki.example", client, false},
		{"a host with a scheme and path", "form-action 'self' https://wiki.example/cb", client, false},
		{"a host with http takes https", "form-action 'self' http://wiki.example", client, false},
		{"another host", "form-action 'self' xwiki.example", client, true},
		{"subdomains are not the host", "form-action 'self' *.wiki.example", client, true},
		{"subdomains", "form-action 'self' *.example", client, false},
		{"a port", "form-action 'self' wiki.example:8443", "https://wiki.example:8443/cb", false},
		{"another port", "form-action 'self' wiki.example:8443", "https://wiki.example:8444/cb", true},
		{"any port", "form-action 'self' wiki.example:*", "https://wiki.example:8443/cb", false},
		{"no port is the scheme's", "form-action 'self' wiki.example", "https://wiki.example:8443/cb", true},
		{"the first of two directives counts", "form-action 'self'; form-action *", client, true},
		{"every policy counts", "form-action *, form-action 'self'", client, true},
		{"letter case", "Form-Action 'SELF' WIKI.example", client, false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			s := newSite(t)
			s.shows("/page", `<form method=post action=/from></form><a href=/from>Go</a>`, "Content-Security-Policy", tt.csp)
			s.redirects("/from", 303, tt.to)
			s.shows("/to", "")
			page, err := s.open("https://as.example/page").Submit(nil)
			if !tt.blocked && err != nil {
				t.Error(err)
			}
			if tt.blocked && (page != nil || err == nil || !strings.Contains(err.Error(), "form-action")) {
				t.Errorf("got %v, %v; want it blocked", page, err)
			}
			if _, err := s.open("https://as.example/page").Click("Go"); err != nil {
				t.Errorf("a link is blocked: %v", err)
			}
		})
	}
}
