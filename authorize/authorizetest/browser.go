package authorizetest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"
)

const (
	// maxRedirects is the limit of Chromium too.
	maxRedirects = 20
	// maxBody is how much of a page is read.
	maxBody = 16 << 20
	// patience is how long one request may take.
	patience = 30 * time.Second
)

// Browser is a web browser without scripts and without pictures. It keeps cookies
// as browsers do, with Secure, SameSite, Path, Domain, expiry and the prefixes
// __Host- and __Secure-. It follows redirects. It sends Referer, Origin and
// Sec-Fetch-Site. It stops a form if Chromium would, because of the page's
// form-action.
//
// Its limits: the site of a host name is its last two labels, <meta
// http-equiv="refresh"> is ignored, and required fields are not checked. Use
// [Page.Submit] for a page that submits itself by a script.
//
// Name the sites first with Handle and Connect. After that, several goroutines may call
// the methods at once. They are then the tabs of one browser.
type Browser struct {
	sites   map[string]http.RoundTripper
	cookies *cookies

	// leaves reports whether the browser stops at an address although it has its site.
	leaves func(*url.URL) bool
}

// NewBrowser returns a browser without cookies and without sites.
func NewBrowser() *Browser {
	return &Browser{
		sites:   map[string]http.RoundTripper{},
		cookies: newCookies(),
		leaves:  func(*url.URL) bool { return false },
	}
}

// another returns another user's browser with the same sites.
func (b *Browser) another() *Browser { return &Browser{b.sites, newCookies(), b.leaves} }

// Handle makes h the site of the origin, such as "https://accounts.example" or
// "http://localhost:8080". Nothing is sent over a network. With https, r.TLS is
// set. A response without a Content-Type gets the one that a server would send. A
// panic of h reaches the test. Handle panics if the origin is not a scheme, a host and
// an optional port, or if it already has a site.
func (b *Browser) Handle(origin string, h http.Handler) { b.Connect(origin, inProcess{h}) }

// Connect makes the origin a site that is reached through t, such as the transport of an
// httptest.Server. A nil t is [http.DefaultTransport]. It panics as Handle does.
func (b *Browser) Connect(origin string, t http.RoundTripper) {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || *u != (url.URL{Scheme: u.Scheme, Host: u.Host}) ||
		u.Scheme != "https" && u.Scheme != "http" {
		panic(fmt.Sprintf("authorizetest: %q is not an origin such as https://accounts.example", redact(origin)))
	}
	if b.sites[originOf(u)] != nil {
		panic(fmt.Sprintf("authorizetest: the origin %s has a site already", origin))
	}
	if t == nil {
		t = http.DefaultTransport
	}
	b.sites[originOf(u)] = t
}

// Open goes to an address that the user has typed, or has as a bookmark. It sends all
// cookies, also those with SameSite=Strict. It returns the page where the redirects
// end, whatever its status. An error means that there is no page: the browser has no
// site for the address, there were more than 20 redirects or one that no browser
// follows, or a connection failed.
func (b *Browser) Open(address string) (*Page, error) {
	return b.start("", address, navigation{method: http.MethodGet})
}

// OpenFrom follows a link to the address on the page from, which needs no handler.
// If from is on another site, it leaves out cookies with SameSite=Strict. It returns
// the errors of Open.
func (b *Browser) OpenFrom(from, address string) (*Page, error) {
	return b.start(from, address, navigation{method: http.MethodGet})
}

// PostFrom submits a form on the page from, which needs no handler. If from is on another
// site, it sends only cookies with SameSite=None. It returns the errors of Open.
func (b *Browser) PostFrom(from, address string, form url.Values) (*Page, error) {
	return b.start(from, address, navigation{method: http.MethodPost, body: encode(form)})
}

func (b *Browser) start(from, address string, n navigation) (*Page, error) {
	var err error
	if n.url, err = url.Parse(address); err != nil {
		return nil, failed(err)
	}
	if from != "" || n.method == http.MethodPost {
		if n.from, err = url.Parse(from); err != nil {
			return nil, failed(fmt.Errorf("the page before: %w", err))
		}
		if n.from.Host == "" {
			return nil, failed(fmt.Errorf("the page before, %q, is not an absolute URL", from))
		}
	}
	if b.sites[originOf(n.url)] == nil {
		return nil, fmt.Errorf("authorizetest: no site has the origin %s: name it with Handle or Connect",
			originOf(n.url))
	}
	return b.navigate(&n)
}

// Cookies returns the names and values of the cookies that a same-site request to the
// address would carry. A malformed address has none.
func (b *Browser) Cookies(address string) []*http.Cookie {
	u, err := url.Parse(address)
	if err != nil {
		return nil
	}
	return b.cookies.get(u, false, http.MethodGet)
}

// SetCookies puts cookies into the browser as if a page at the address had set
// them, a session of the host for instance. Those that a browser would not take
// are dropped, such as a __Host- cookie without Secure and Path.
func (b *Browser) SetCookies(address string, set ...*http.Cookie) error {
	u, err := url.Parse(address)
	if err != nil {
		return failed(err)
	}
	b.cookies.set(u, set)
	return nil
}

// navigate follows the redirects to their end.
func (b *Browser) navigate(n *navigation) (*Page, error) {
	for {
		n.trail = append(n.trail, n.method+" "+n.url.String())
		if len(n.trail) > maxRedirects {
			last := n.trail[len(n.trail)-4:]
			return nil, failed(fmt.Errorf("more than %d redirects, the last of them %s",
				maxRedirects, strings.Join(last, ", ")))
		}
		if err := n.blocked(); err != nil {
			return nil, failed(err)
		}
		if n.from != nil {
			n.site = max(n.site, relate(n.from, n.url))
		}
		next, page, err := b.visit(n)
		if err != nil {
			return nil, failed(err)
		}
		if next == nil {
			return page, nil
		}
		n = next
	}
}

// failed adds the package's name to an error, and redacts its text.
func failed(err error) error { return redacted{fmt.Errorf("authorizetest: %w", err)} }

// visit makes one request. It returns the next request, or the page.
func (b *Browser) visit(n *navigation) (*navigation, *Page, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := n.request(ctx)
	if err != nil {
		return nil, nil, err
	}
	site := b.sites[originOf(n.url)]
	if site == nil || b.leaves(n.url) {
		page := b.newPage(r, n)
		page.Left = true
		return nil, page, nil
	}
	for _, cookie := range b.cookies.get(n.url, n.crossSite(), n.method) {
		r.AddCookie(cookie)
	}
	res, err := site.RoundTrip(r)
	if err != nil {
		return nil, nil, fmt.Errorf("%s %s: %w", n.method, n.url, err)
	}
	defer res.Body.Close()
	b.cookies.set(n.url, res.Cookies())
	next, err := n.follow(res)
	if next != nil || err != nil {
		return next, nil, err
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = errors.New("the page is too large")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", n.url, err)
	}
	page := b.newPage(r, n)
	page.Status, page.Header, page.Body = res.StatusCode, res.Header, string(body)
	page.policy = policyOf(res.Header, "")
	page.read()
	return nil, page, nil
}

func (b *Browser) newPage(r *http.Request, n *navigation) *Page {
	// Check can read this request, any number of times.
	r = r.WithContext(context.Background())
	r.Body = io.NopCloser(strings.NewReader(n.body))
	return &Page{Request: r, URL: r.URL, Header: http.Header{}, browser: b, from: r.URL}
}

// inProcess serves requests as a server would.
type inProcess struct{ handler http.Handler }

// RoundTrip gives the handler a request that looks as if it had been received.
func (p inProcess) RoundTrip(out *http.Request) (*http.Response, error) {
	in := out.Clone(out.Context())
	target, err := url.ParseRequestURI(out.URL.RequestURI())
	if err != nil {
		return nil, err
	}
	in.URL, in.RequestURI, in.Host = target, out.URL.RequestURI(), out.URL.Host
	in.GetBody = nil
	in.RemoteAddr = "192.0.2.1:1234"
	if out.URL.Scheme == "https" {
		in.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true,
			ServerName: out.URL.Hostname()}
	}
	w := &recorder{ResponseRecorder: httptest.NewRecorder()}
	p.handler.ServeHTTP(w, in)
	res := w.result()
	res.Request = out
	return res, nil
}

// recorder records a response as a server sends it. The recorder of httptest guesses a missing
// Content-Type from the first write, and not at all after a WriteHeader.
type recorder struct {
	*httptest.ResponseRecorder
	flushed int // bytes of the body that were sent first
}

func (w *recorder) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK) // counts if it is the first
	return w.ResponseRecorder.Write(p)
}

// WriteString is there because io.WriteString would go past Write.
func (w *recorder) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

func (w *recorder) Flush() {
	if !w.Flushed {
		w.flushed = w.Body.Len()
	}
	w.ResponseRecorder.Flush()
}

// result guesses the Content-Type as net/http does: from the first bytes that are sent.
func (w *recorder) result() *http.Response {
	body := w.Body.Bytes()
	res := w.Result()
	if res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified {
		res.Body = http.NoBody
		return res
	}
	if w.Flushed {
		body = body[:w.flushed]
	}
	_, typed := res.Header["Content-Type"]
	encoded := res.Header.Get("Content-Encoding") != "" || res.Header.Get("Transfer-Encoding") != ""
	if !typed && !encoded && len(body) > 0 {
		res.Header.Set("Content-Type", http.DetectContentType(body))
	}
	return res
}
