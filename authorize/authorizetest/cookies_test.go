package authorizetest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// TestWhichCookiesAreTaken sets one cookie and looks whether it comes back.
func TestWhichCookiesAreTaken(t *testing.T) {
	const as, plain = "https://as.example/", "http://as.example/"
	for _, tt := range []struct {
		rule, setBy, line, sentTo string
		want                      bool
	}{
		{"a plain cookie", as, "c=1", as, true},
		{"over http", plain, "c=1", plain, true},
		{"from https to http", as, "c=1", plain, true},
		{"a secure cookie", as, "c=1; Secure", as, true},
		{"a secure cookie goes over https alone", as, "c=1; Secure", plain, false},
		{"a secure cookie is not taken over http", plain, "c=1; Secure", as, false},
		{"__Host-", as, "__Host-c=1; Secure; Path=/", as, true},
		{"__Host- without Secure", as, "__Host-c=1; Path=/", as, false},
		{"__Host- without Path", as, "__Host-c=1; Secure", as, false},
		{"__Host- with another Path", as, "__Host-c=1; Secure; Path=/a", as + "a", false},
		{"__Host- with Domain", as, "__Host-c=1; Secure; Path=/; Domain=as.example", as, false},
		{"__Host- over http", plain, "__Host-c=1; Secure; Path=/", as, false},
		{"__host- in lower case", as, "__host-c=1; Path=/", as, false},
		{"__Secure-", as, "__Secure-c=1; Secure; Domain=as.example", as, true},
		{"__Secure- without Secure", as, "__Secure-c=1", as, false},
		{"SameSite=None", as, "c=1; SameSite=None; Secure", as, true},
		{"SameSite=None without Secure", as, "c=1; SameSite=None", as, false},
		{"a host's cookie stays there", as, "c=1", "https://login.as.example/", false},
		{"a domain's cookie goes further", as, "c=1; Domain=as.example", "https://login.as.example/", true},
		{"a foreign domain's is not taken", as, "c=1; Domain=app.example", "https://app.example/", false},
		{"a path", as, "c=1; Path=/a", as + "a/b", true},
		{"outside the path", as, "c=1; Path=/a", as + "b", false},
		{"expired", as, "c=1; Max-Age=0", as, false},
		{"with time left", as, "c=1; Max-Age=60", as, true},
		{"of another host", as, "c=1", "https://app.example/", false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			s := newSite(t)
			s.mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
				if len(s.seen) == 1 {
					w.Header().Set("Set-Cookie", tt.line)
				}
			})
			s.open(tt.setBy)
			page := s.open(tt.sentTo)
			got := s.last().header.Get("Cookie")
			if (got != "") != tt.want || page.Left {
				t.Errorf("the cookies are %q", got)
			}
			if kept := s.Cookies(tt.sentTo); (len(kept) > 0) != tt.want {
				t.Errorf("Cookies returns %v", kept)
			}
		})
	}
}

// TestWhichCookiesGoAlong has one cookie of each kind. The wanted ones are in the
// order strict, lax, unset, none.
func TestWhichCookiesGoAlong(t *testing.T) {
	const as = "https://as.example/"
	for _, tt := range []struct {
		rule string
		do   func(s *site) (*Page, error)
		want string
	}{
		{"a typed address", func(s *site) (*Page, error) { return s.Open(as) }, "slun"},
		{"a link on the same origin", func(s *site) (*Page, error) { return s.OpenFrom(as+"x", as) }, "slun"},
		{"a link on the same site", func(s *site) (*Page, error) { return s.OpenFrom("https://login.as.example/", as) }, "slun"},
		{"a link on another site", func(s *site) (*Page, error) { return s.OpenFrom("https://app.example/", as) }, "lun"},
		{"a link on the same host over http", func(s *site) (*Page, error) { return s.OpenFrom("http://as.example/", as) }, "lun"},
		{"a form of the same site", func(s *site) (*Page, error) { return s.PostFrom("https://login.as.example/", as, nil) }, "slun"},
		{"a form of another site", func(s *site) (*Page, error) { return s.PostFrom("https://app.example/", as, nil) }, "n"},
		{"a typed address that another site redirects", func(s *site) (*Page, error) { return s.Open("https://app.example/302") }, "slun"},
		{"a link on another site that this one redirects", func(s *site) (*Page, error) { return s.OpenFrom("https://app.example/", as+"302") }, "lun"},
		{"a form of another site that this one sends on by 303", func(s *site) (*Page, error) { return s.PostFrom("https://app.example/", as+"303", nil) }, "lun"},
		{"a form of another site that this one sends on by 307", func(s *site) (*Page, error) { return s.PostFrom("https://app.example/", as+"307", nil) }, "n"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			s := newSite(t)
			s.redirects("/302", 302, as)
			s.redirects("/303", 303, as)
			s.redirects("/307", 307, as)
			s.shows("/{$}", "")
			err := s.SetCookies(as,
				&http.Cookie{Name: "s", Value: "1", Path: "/", SameSite: http.SameSiteStrictMode},
				&http.Cookie{Name: "l", Value: "1", Path: "/", SameSite: http.SameSiteLaxMode, Secure: true},
				&http.Cookie{Name: "u", Value: "1", Path: "/"},
				&http.Cookie{Name: "n", Value: "1", Path: "/", SameSite: http.SameSiteNoneMode, Secure: true},
			)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tt.do(s); err != nil {
				t.Fatal(err)
			}
			last := s.last()
			sent, err := http.ParseCookie(last.header.Get("Cookie"))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, name := range "slun" {
				if slices.ContainsFunc(sent, func(c *http.Cookie) bool { return c.Name == string(name) }) {
					got += string(name)
				}
			}
			if got != tt.want || last.at != as || len(sent) != len(got) {
				t.Errorf("%s gets the cookies %q, want %q", last.at, got, tt.want)
			}
		})
	}
}

func TestACookieReplacesTheOneOfItsName(t *testing.T) {
	const as = "https://as.example/"
	lines := []string{
		"c=1; Path=/; SameSite=Strict", "c=2; Path=/; SameSite=Lax; Secure", "c=3; Path=/", "c=4; Path=/; SameSite=None; Secure", "c=5; Path=/; Secure",
	}
	s := newSite(t)
	line := ""
	s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Set-Cookie", line) })
	for _, line = range lines {
		s.open(as)
		value, _, _ := strings.Cut(line, ";")
		if got := s.Cookies(as); len(got) != 1 || got[0].String() != value {
			t.Errorf("after %s there are %v", line, got)
		}
	}
	for _, line = range []string{"c=6; Path=/", "c=; Path=/; Max-Age=0"} {
		s.open("http://as.example/")
		if got := s.Cookies(as); len(got) != 1 || got[0].Value != "5" {
			t.Errorf("a page over http made %v of a secure cookie", got)
		}
	}
	line = "c=; Path=/; Max-Age=0"
	s.open(as)
	if got := s.Cookies(as); len(got) != 0 {
		t.Errorf("after its removal there are %v", got)
	}
}

func TestCookiesOfRedirectsAreKept(t *testing.T) {
	s := newSite(t)
	s.mux.HandleFunc("/from", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "c", Value: "1", SameSite: http.SameSiteStrictMode})
		http.Redirect(w, r, "/to", http.StatusFound)
	})
	s.shows("/to", "")
	if _, err := s.PostFrom("https://app.example/", "https://as.example/from", nil); err != nil {
		t.Fatal(err)
	}
	if got := s.last(); got.header.Get("Cookie") != "" {
		t.Errorf("a strict cookie goes along on the way from another site: %v", got.header)
	}
	s.open("https://as.example/to")
	if got := s.last(); got.header.Get("Cookie") != "c=1" {
		t.Errorf("the cookie is lost: %v", got.header)
	}
}

func TestTwoBrowsersShareNothing(t *testing.T) {
	one, two := newSite(t), newSite(t)
	if err := one.SetCookies("https://as.example/", &http.Cookie{Name: "c", Value: "1"}); err != nil {
		t.Fatal(err)
	}
	if got := two.Cookies("https://as.example/"); len(got) != 0 {
		t.Errorf("another browser has %v", got)
	}
}

func TestCookiesOfNoURL(t *testing.T) {
	b := NewBrowser()
	if err := b.SetCookies("https://%zz", &http.Cookie{Name: "c", Value: "1"}); err == nil {
		t.Error("SetCookies accepts a malformed address")
	}
	if got := b.Cookies("https://%zz"); len(got) != 0 {
		t.Errorf("a malformed address has cookies: %v", got)
	}
}

func TestSites(t *testing.T) {
	for _, tt := range []struct {
		rule, a, b string
		want       relation
	}{
		{"a path does not count", "https://as.example", "https://as.example/x", sameOrigin},
		{"nor letter case, nor the default port", "https://as.example", "https://AS.example:443", sameOrigin},
		{"an address of IPv6", "http://[::1]:8080", "http://[::1]:8080", sameOrigin},
		{"another port", "https://as.example", "https://as.example:8443", sameSite},
		{"a subdomain", "https://as.example", "https://login.as.example", sameSite},
		{"two subdomains", "https://a.as.example", "https://b.as.example", sameSite},
		{"ports of localhost", "http://localhost:1", "http://localhost:2", sameSite},
		{"another scheme", "https://as.example", "http://as.example", crossSite},
		{"another host", "https://as.example", "https://app.example", crossSite},
		{"a host that ends alike", "https://as.example", "https://xas.example", crossSite},
		{"hosts below localhost", "http://as.localhost", "http://app.localhost", crossSite},
		{"addresses that end alike", "http://127.0.0.1", "http://10.0.0.1", crossSite},
		{"addresses that differ in their first part", "http://1.127.0.1", "http://2.127.0.1", crossSite},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			a, errA := url.Parse(tt.a)
			b, errB := url.Parse(tt.b)
			if got := relate(a, b); got != tt.want || relate(b, a) != got || errA != nil || errB != nil {
				t.Errorf("%s and %s are %s, want %s", tt.a, tt.b, got, tt.want)
			}
		})
	}
}
