package interop

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// The tests of this file do what users and browsers do during a sign-in: they restore tabs,
// click twice, go back, prefetch, poll and block cookies.

// where says which page the tab shows.
func (b tab) where() string {
	b.t.Helper()
	b.do(chromedp.WaitVisible(chromedp.CSS("h1")))
	return b.evaluate(`Promise.resolve(
		document.querySelector("#back") ? "answer" :
		document.querySelector("input[name=password]") ? "login" :
		document.querySelector("button[name=decision][value=allow]") ? "consent" : "other")`)
}

// finish completes the pages until the client's page is there, and counts the requests for the
// password.
func (b tab) finish() (passwords int) {
	b.t.Helper()
	for range 5 {
		switch b.where() {
		case "answer":
			return passwords
		case "login":
			b.logInAs(alice)
			passwords++
		case "consent":
			b.decide("allow")
		default:
			b.t.Fatalf("there is no way on: the page is %s", b.page())
		}
	}
	b.t.Fatalf("there is no end: the page is %s", b.page())
	return 0
}

// comes waits for the next response, in any frame.
func (s *site) comes(b tab) answer {
	b.t.Helper()
	select {
	case got := <-s.answers:
		return got
	case <-b.ctx.Done():
		b.t.Fatalf("there is no answer: the page is %s", b.page())
		return answer{}
	}
}

// serves adds a page to the site.
func (s *site) serves(path, body string) {
	s.mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { page(w, body) })
}

// TestRestoredTabsInChromium restores more tabs of an application than a browser keeps
// requests for. The oldest, whose request it has forgotten, are the first to go on.
func TestRestoredTabsInChromium(t *testing.T) {
	const tabs = 12
	for _, c := range []struct {
		name      string
		more      url.Values
		passwords int // the most that one tab may ask for
	}{
		{"any sign-in", nil, 1},
		{"prompt=login", url.Values{"prompt": {"login"}}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			first, s := newTab(t), newSite(t)
			s.FirstParty = true
			issuer := startProvider(t, s.client)
			all := []tab{first}
			for len(all) < tabs {
				all = append(all, first.another())
			}
			state := func(i int) url.Values { return url.Values{"state": {"tab" + strconv.Itoa(i)}} }
			for i, b := range all {
				b.open(s.ask(issuer, merged(state(i), c.more)))
			}
			for i, b := range all {
				if passwords := b.finish(); passwords > c.passwords {
					t.Errorf("tab %d asks for the password %d times", i, passwords)
				}
				s.answer(b, "GET", merged(state(i), url.Values{"iss": {issuer}}))
			}
		})
	}
}

func merged(all ...url.Values) url.Values {
	sum := url.Values{}
	for _, values := range all {
		for name, list := range values {
			sum[name] = list
		}
	}
	return sum
}

// cookies are those that the browser sends to the address.
func (b tab) cookies(address string) (list []string) {
	b.t.Helper()
	sent, err := chromedp.Call(b.ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{address}})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, cookie := range sent.Cookies {
		list = append(list, cookie.Name+"="+cookie.Value)
	}
	slices.Sort(list)
	return list
}

// TestDashboardInChromium has a page poll its API while the user types a password in
// another tab. The session of the page is over, and its API sends every call on to the
// provider, with cookies: it is on another port of the same host.
func TestDashboardInChromium(t *testing.T) {
	b, s := newTab(t), newSiteAt(t, "127.0.0.1")
	s.FirstParty = true
	issuer := startProvider(t, s.client)
	s.mux.HandleFunc("/api", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, s.ask(issuer, url.Values{"state": {"poll"}}), http.StatusFound)
	})
	s.serves("/dashboard", `<h1>Dashboard</h1><script>(async () => {
		for (const mode of Array(6).fill(["cors", "no-cors"]).flat()) {
			try { await fetch("/api", {mode: mode, credentials: "include"}) } catch (refused) {}
		}
		document.querySelector("h1").id = "polled"
	})()</script>`)

	b.open(s.ask(issuer, nil))
	b.do(
		chromedp.SetValue(chromedp.CSS("input[name=username]"), alice.Username),
		chromedp.SendKeys(chromedp.CSS("input[name=password]"), alice.Password),
	)
	before := b.cookies(issuer + "/authorize")
	dashboard := b.another()
	dashboard.open(s.url + "/dashboard")
	dashboard.do(chromedp.WaitVisible(chromedp.CSS("#polled")))
	if after := b.cookies(issuer + "/authorize"); !slices.Equal(after, before) || len(before) == 0 {
		t.Errorf("the polls made of the cookies %q these: %q", before, after)
	}
	b.click("form button.main")
	s.answer(b, "GET", url.Values{"state": {"s1"}, "iss": {issuer}})
}

// TestDoubleClickInChromium presses Allow twice. The request may start again, so the user may
// be asked once more. In the end there is a code.
func TestDoubleClickInChromium(t *testing.T) {
	allow := chromedp.CSS("button[name=decision][value=allow]")
	for _, c := range []struct {
		name string
		slow bool // the client answers when the second click has come
		do   func(b tab, arrived <-chan bool)
	}{
		{"a double click", false, func(b tab, _ <-chan bool) { b.do(chromedp.DoubleClick(allow)) }},
		{"a click too many", true, func(b tab, arrived <-chan bool) {
			x, y := b.center(allow)
			b.do(chromedp.MouseClickXY(x, y))
			select {
			case <-arrived: // its response has removed the cookie
			case <-b.ctx.Done():
				b.t.Fatal("the first click leads nowhere")
			}
			b.do(chromedp.MouseClickXY(x, y))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, s := newTab(t), newSite(t)
			issuer := startProvider(t, s.client)
			arrived := make(chan bool)
			var once sync.Once
			s.before = func(r *http.Request) bool {
				first := false
				once.Do(func() { first = true })
				if !c.slow || !first {
					return true
				}
				close(arrived)
				select {
				case <-r.Context().Done():
				case <-t.Context().Done():
				}
				return false
			}
			b.open(s.ask(issuer, nil))
			b.logIn(alice.Password)
			if at := b.where(); at != "consent" {
				t.Fatalf("the page is %s", b.page())
			}
			b.evaluate(`Promise.resolve(document.body.dataset.clicked = "twice")`)
			c.do(b, arrived)
			b.do(chromedp.WaitVisible(chromedp.CSS("body:not([data-clicked]) h1")))
			if passwords := b.finish(); passwords != 0 {
				t.Errorf("alice was asked for her password %d times", passwords)
			}
			s.answer(b, "GET", url.Values{"state": {"s1"}, "iss": {issuer}})
		})
	}
}

// center is the middle of an element. Clicks there wait for no page that is loading.
func (b tab) center(selector chromedp.CSS) (x, y float64) {
	b.t.Helper()
	b.do(chromedp.ScrollIntoView(selector))
	box, err := chromedp.Run(b.ctx, chromedp.Dimensions(selector))
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i < len(box.Content); i += 2 {
		x, y = x+box.Content[i]/4, y+box.Content[i+1]/4
	}
	return x, y
}

// startWatched starts the provider behind a proxy, which reports the status of each response to
// a prefetch, before any click.
func startWatched(t *testing.T, clients ...client) (issuer string, ahead <-chan int) {
	t.Helper()
	seen := make(chan int, 100)
	proxy := httptest.NewUnstartedServer(nil)
	issuer = "http://" + proxy.Listener.Addr().String()
	provider, err := url.Parse(startConfigured(t, config{Issuer: issuer, Clients: clients, Users: []user{alice}}))
	if err != nil {
		t.Fatal(err)
	}
	proxy.Config.Handler = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(provider)
			r.Out.Host = r.In.Host
		},
		ModifyResponse: func(response *http.Response) error {
			if strings.HasPrefix(response.Request.Header.Get("Sec-Purpose"), "prefetch") {
				seen <- response.StatusCode
			}
			return nil
		},
	}
	proxy.Start()
	t.Cleanup(proxy.Close)
	return issuer, seen
}

// TestPrefetchInChromium opens a page of the client that prefetches the target of its link. The
// prefetch must not use up the request of the later click.
func TestPrefetchInChromium(t *testing.T) {
	link := `<link rel="prefetch" href="%[1]s"><h1>Home</h1><a href="%[1]s">Sign in</a>`
	rules := `<script type="speculationrules">` +
		`{"prefetch": [{"source": "document", "eagerness": "immediate"}]}</script>` +
		`<h1>Home</h1><a href="%[1]s">Sign in</a>`
	for _, c := range []struct {
		name, host, page string
		signedIn         bool
	}{
		{"a link, cross-site", "client.localhost", link, false},
		{"a link", "127.0.0.1", link, false},
		{"a link, signed in", "127.0.0.1", link, true},
		{"rules", "127.0.0.1", rules, false},
		{"rules, signed in", "127.0.0.1", rules, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, s := newTab(t), newSiteAt(t, c.host)
			s.FirstParty = true
			issuer, ahead := startWatched(t, s.client)
			if c.signedIn {
				b.open(issuer + "/login")
				b.logInAs(alice)
			}
			s.serves("/home", fmt.Sprintf(c.page, html.EscapeString(s.ask(issuer, nil))))
			b.open(s.url + "/home")
			select {
			case status := <-ahead:
				if status < 400 {
					t.Errorf("the prefetch got the status %d", status)
				}
			case <-b.ctx.Done():
				t.Fatal("there was no prefetch")
			}
			if len(s.answers) > 0 {
				t.Error("there is an answer before the click")
			}
			b.click("a")
			if passwords := b.finish(); (passwords == 0) != c.signedIn {
				t.Errorf("alice was asked for her password %d times", passwords)
			}
			s.answer(b, "GET", url.Values{"state": {"s1"}, "iss": {issuer}})
		})
	}
}

// TestProtectedClientInChromium posts the response to a client that refuses forms of all other
// sites except the issuer.
func TestProtectedClientInChromium(t *testing.T) {
	for _, c := range []struct {
		decision string
		want     url.Values
	}{
		{"allow", nil},
		{"deny", url.Values{"error": {"access_denied"}}},
	} {
		t.Run(c.decision, func(t *testing.T) {
			b, s := newTab(t), newSite(t)
			issuer := startProvider(t, s.client)
			protection := http.NewCrossOriginProtection()
			if err := protection.AddTrustedOrigin(issuer); err != nil {
				t.Fatal(err)
			}
			s.before = func(r *http.Request) bool {
				err := protection.Check(r)
				if err != nil {
					t.Errorf("the answer from %q: %v", r.Header.Get("Origin"), err)
				}
				return err == nil
			}
			b.open(s.ask(issuer, url.Values{"response_mode": {"form_post"}}))
			b.logIn(alice.Password)
			b.decide(c.decision)
			b.do(chromedp.WaitVisible(chromedp.CSS("body")))
			if !t.Failed() {
				s.answer(b, "POST", merged(c.want, url.Values{"state": {"s1"}, "iss": {issuer}}))
			}
		})
	}
}

// TestSilentCheckInChromium sends prompt=none in a frame. In a frame of another site there is
// no cookie, and the client gets an error.
func TestSilentCheckInChromium(t *testing.T) {
	for _, c := range []struct{ host, mode, method, want string }{
		{"127.0.0.1", "query", "GET", ""},
		{"127.0.0.1", "form_post", "POST", ""},
		{"client.localhost", "query", "GET", "login_required"},
		{"client.localhost", "form_post", "POST", "login_required"},
	} {
		t.Run(c.host+" "+c.mode, func(t *testing.T) {
			b, s := newTab(t), newSiteAt(t, c.host)
			s.FirstParty = true
			issuer := startProvider(t, s.client)
			b.open(issuer + "/login")
			b.logInAs(alice)
			silent := s.ask(issuer, url.Values{"prompt": {"none"}, "response_mode": {c.mode}})
			s.serves("/silent", `<h1>Home</h1><iframe src="`+html.EscapeString(silent)+`"></iframe>`)
			b.open(s.url + "/silent")
			got := s.comes(b)
			if got.method != c.method || got.values.Get("error") != c.want ||
				got.values.Has("code") != (c.want == "") || got.values.Get("state") != "s1" ||
				got.values.Get("iss") != issuer {
				t.Errorf("the answer is %s %v, want %s and error %q", got.method, got.values, c.method, c.want)
			}
		})
	}
}

// newTabWithoutCookies opens a browser whose user has blocked all cookies.
func newTabWithoutCookies(t *testing.T) tab {
	t.Helper()
	newTab(t) // skips where there is no Chromium
	profile := t.TempDir()
	settings := `{"profile": {"default_content_setting_values": {"cookies": 2}}}`
	file := filepath.Join(profile, "Default", "Preferences")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(findChromium()),
		chromedp.NoSandbox, chromedp.UserDataDir(profile))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	browser, stopBrowser := chromedp.NewContext(allocator)
	ctx, cancel := context.WithTimeout(browser, 30*time.Second)
	t.Cleanup(func() {
		cancel()
		stopBrowser()
		stop()
	})
	if err := chromedp.Do(browser); err != nil {
		t.Fatal(err)
	}
	return tab{t, ctx}
}

// TestBlockedCookiesInChromium signs in again and again, until a page explains the error.
func TestBlockedCookiesInChromium(t *testing.T) {
	for _, c := range []struct {
		name string
		more url.Values
	}{
		{"any sign-in", nil},
		{"prompt=login", url.Values{"prompt": {"login"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, s := newTabWithoutCookies(t), newSite(t)
			issuer := startProvider(t, s.client)
			b.open(s.url + "/callback") // any page of the client's
			if b.evaluate(`Promise.resolve((document.cookie = "a=b", document.cookie))`) != "" {
				t.Fatal("the browser has cookies")
			}
			b.open(s.ask(issuer, c.more))
			passwords := 0
			for passwords < 3 && b.where() == "login" {
				b.logInAs(alice)
				passwords++
			}
			text := b.text("h1")
			if b.where() != "other" || !strings.Contains(strings.ToLower(text), "cookie") {
				t.Errorf("after %d passwords the page says:\n%s", passwords, text)
			}
		})
	}
}
