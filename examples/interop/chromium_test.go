package interop

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"
)

const installChromium = "apt-get update && apt-get install -y --no-install-recommends chromium"

// findChromium returns the path of a Chromium, or nothing.
func findChromium() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// chromium starts one browser for all tests; TestMain ends it.
var chromium = sync.OnceValues(func() (context.Context, error) {
	// As root, as in most containers, Chromium cannot use its sandbox.
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(findChromium()), chromedp.NoSandbox)
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	browser, stopBrowser := chromedp.NewContext(allocator)
	stopChromium = func() {
		stopBrowser()
		stopAllocator()
	}
	return browser, chromedp.Do(browser)
})

var stopChromium = func() {}

// tab is a tab of alice's browser.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// newTab opens a tab in a new profile, without any cookie.
func newTab(t *testing.T) tab {
	t.Helper()
	if findChromium() == "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("there is no Chromium: %s", installChromium)
		}
		t.Skipf("there is no Chromium: %s", installChromium)
	}
	browser, err := chromium()
	if err != nil {
		t.Fatal(err)
	}
	return openTab(t, browser, chromedp.WithNewBrowserContext())
}

// in is the same tab for a subtest.
func (b tab) in(t *testing.T) tab { return tab{t, b.ctx} }

// another opens a second tab in the same profile.
func (b tab) another() tab {
	b.t.Helper()
	browser, err := chromium()
	if err != nil {
		b.t.Fatal(err)
	}
	return openTab(b.t, browser, chromedp.WithExistingBrowserContext(chromedp.FromContext(b.ctx).BrowserContextID))
}

func openTab(t *testing.T, browser context.Context, option chromedp.ContextOption) tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(browser, option)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	// Only the log tells that a policy has blocked a script or a style.
	err := chromedp.Listen(ctx, func(event any) {
		if e, ok := event.(*log.EventEntryAdded); ok && strings.Contains(e.Entry.Text, "Content Security Policy") {
			t.Error(e.Entry.Text)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	t.Cleanup(func() {
		cancel()
		closeTab()
	})
	return tab{t, ctx}
}

// do runs the steps. If one fails, the test ends with the text of the page.
func (b tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatalf("%v; the page is %s", err, b.page())
	}
}

// page describes the page for a message.
func (b tab) page() string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), 5*time.Second)
	defer cancel()
	page, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.origin + location.pathname + "\n" + document.body.innerText`))
	if err != nil {
		return err.Error()
	}
	return page
}

// text returns the visible text of the page, after the selector has become visible.
func (b tab) text(selector chromedp.CSS) string {
	b.t.Helper()
	b.do(chromedp.WaitVisible(selector))
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.body.innerText`))
	if err != nil {
		b.t.Fatal(err)
	}
	return text
}

func (b tab) open(url string) {
	b.t.Helper()
	b.do(chromedp.Navigate(url))
}

// click clicks and waits for the next page.
func (b tab) click(selector string) {
	b.t.Helper()
	if _, err := chromedp.RunResponse(b.ctx, chromedp.Click(chromedp.CSS(selector))); err != nil {
		b.t.Fatalf("click on %s: %v; the page is %s", selector, err, b.page())
	}
}

// logIn fills in the login page and submits it as a user does.
func (b tab) logIn(password string) {
	b.t.Helper()
	b.do(
		chromedp.SetValue(chromedp.CSS("input[name=username]"), alice.Username),
		chromedp.SendKeys(chromedp.CSS("input[name=password]"), password),
	)
	b.click("form button")
}

func (b tab) decide(decision string) {
	b.t.Helper()
	b.click("button[name=decision][value=" + decision + "]")
}

// site is a client on its own site: for Chromium, *.localhost is another site than 127.0.0.1,
// where the provider is.
type site struct {
	client
	url     string
	answers chan answer
	mux     *http.ServeMux

	// before gets a response before the client does, and reports whether the client gets it.
	before func(r *http.Request) bool
}

type answer struct {
	method string
	values url.Values
}

func newSite(t *testing.T) *site { return newSiteAt(t, "client.localhost") }

func newSiteAt(t *testing.T, host string) *site {
	t.Helper()
	mux := http.NewServeMux()
	s := &site{
		answers: make(chan answer, 10), mux: mux,
		before: func(*http.Request) bool { return true },
	}
	mux.HandleFunc("/callback", func(w http.ResponseWriter, r *http.Request) {
		if !s.before(r) {
			http.Error(w, "This answer is not taken.", http.StatusForbidden)
			return
		}
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		s.answers <- answer{r.Method, r.Form}
		page(w, `<h1 id="back">Back at the client</h1>`)
	})
	// /post?to=URL is a page that sends the parameters of the URL by POST.
	mux.HandleFunc("/post", func(w http.ResponseWriter, r *http.Request) {
		target, err := url.Parse(r.FormValue("to"))
		if err != nil {
			t.Error(err)
			return
		}
		var fields strings.Builder
		for name, values := range target.Query() {
			fmt.Fprintf(&fields, `<input type="hidden" name="%s" value="%s">`, html.EscapeString(name), html.EscapeString(values[0]))
		}
		target.RawQuery = ""
		page(w, fmt.Sprintf(`<form method="post" action="%s">%s<button>Sign in</button></form>`, html.EscapeString(target.String()), &fields))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s.url = strings.Replace(server.URL, "127.0.0.1", host, 1)
	s.client = client{ID: "site", Secret: "site-secret", Name: "Photo Site", RedirectURIs: []string{s.url + "/callback"}, Scopes: scopes}
	return s
}

func page(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!DOCTYPE html><title>Client</title>%s", body)
}

// ask returns an authorization URL of the client; more overrides its parameters.
func (s *site) ask(issuer string, more url.Values) string {
	query := url.Values{
		"response_type": {"code"}, "client_id": {s.ID}, "redirect_uri": s.RedirectURIs, "scope": {"openid profile"}, "state": {"s1"}, "nonce": {"n1"},
		"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"},
	}
	for name, values := range more {
		query[name] = values
	}
	return issuer + "/authorize?" + query.Encode()
}

// answer returns the response, after the browser shows the client's page.
func (s *site) answer(b tab, method string, want url.Values) {
	b.t.Helper()
	b.do(chromedp.WaitVisible(chromedp.CSS("#back")))
	got := <-s.answers
	if got.method != method {
		b.t.Errorf("the answer came by %s, want %s", got.method, method)
	}
	if !want.Has("error") && got.values.Get("code") == "" {
		b.t.Errorf("there is no code in %v", got.values)
	}
	for name := range want {
		if got.values.Get(name) != want.Get(name) {
			b.t.Errorf("%s is %q, want %q", name, got.values.Get(name), want.Get(name))
		}
	}
}

func TestQuickstartInChromium(t *testing.T) {
	b := newTab(t)
	b.open(start(t, "quickstart"))
	b.click("a, button")
	b.logIn(alice.Password)
	if text := b.text("body"); !strings.Contains(text, "alice") {
		t.Errorf("the last page says:\n%s", text)
	}
}

func TestProviderInChromium(t *testing.T) {
	for _, c := range []struct {
		name     string
		ask      url.Values
		decision string
		method   string
		want     url.Values
	}{
		{"allow", nil, "allow", "GET", url.Values{"state": {"s1"}}},
		{"deny", nil, "deny", "GET", url.Values{"error": {"access_denied"}, "state": {"s1"}}},
		{"form_post, allow", url.Values{"response_mode": {"form_post"}}, "allow", "POST", url.Values{"state": {"s1"}}},
		{"form_post, deny", url.Values{"response_mode": {"form_post"}}, "deny", "POST", url.Values{"error": {"access_denied"}, "state": {"s1"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, s := newTab(t), newSite(t)
			issuer := startProvider(t, s.client)
			c.want.Set("iss", issuer)
			b.open(s.ask(issuer, c.ask))
			b.logIn(alice.Password)
			consent := b.text("button[name=decision]")
			for _, want := range []string{s.Name, strings.TrimPrefix(s.url, "http://"), "profile"} {
				if !strings.Contains(consent, want) {
					t.Errorf("the consent page does not say %q:\n%s", want, consent)
				}
			}
			b.decide(c.decision)
			s.answer(b, c.method, c.want)
		})
	}
}

func TestWrongPasswordInChromium(t *testing.T) {
	b, s := newTab(t), newSite(t)
	b.open(s.ask(startProvider(t, s.client), nil))
	b.logIn("wrong")
	if text := b.text("input[name=username]"); !strings.Contains(strings.ToLower(text), "password") {
		t.Errorf("the page says:\n%s", text)
	}
	b.logIn(alice.Password)
	b.decide("allow")
	s.answer(b, "GET", url.Values{"state": {"s1"}})
}

func TestErrorPageInChromium(t *testing.T) {
	b, s := newTab(t), newSite(t)
	b.open(s.ask(startProvider(t, s.client), url.Values{"redirect_uri": {"https://attacker.example/"}}))
	text := b.text("h1")
	if !strings.Contains(text, "invalid_request") && !strings.Contains(text, "redirect_uri_mismatch") {
		t.Errorf("the page says:\n%s", text)
	}
	if strings.Contains(text, "attacker.example") {
		t.Errorf("the page shows an unchecked address:\n%s", text)
	}
}

// TestCrossSitePostInChromium posts the request from the client's site. The browser
// sends no session cookie with it, and alice still need not sign in again.
func TestCrossSitePostInChromium(t *testing.T) {
	b, s := newTab(t), newSite(t)
	s.FirstParty = true
	issuer := startProvider(t, s.client)
	b.open(s.ask(issuer, nil))
	b.logIn(alice.Password)
	s.answer(b, "GET", url.Values{"state": {"s1"}})

	b.open(s.url + "/post?to=" + url.QueryEscape(s.ask(issuer, url.Values{"state": {"s2"}})))
	b.click("button")
	s.answer(b, "GET", url.Values{"state": {"s2"}, "iss": {issuer}})
}

// TestTwoTabsInChromium has two requests that wait for a sign-in at the same time.
func TestTwoTabsInChromium(t *testing.T) {
	first, s := newTab(t), newSite(t)
	s.FirstParty = true
	issuer := startProvider(t, s.client)
	first.open(s.ask(issuer, nil))
	first.text("input[name=username]")
	second := first.another()
	second.open(s.ask(issuer, url.Values{"state": {"s2"}}))
	second.text("input[name=username]")

	first.logIn(alice.Password)
	s.answer(first, "GET", url.Values{"state": {"s1"}})
	second.logIn(alice.Password)
	s.answer(second, "GET", url.Values{"state": {"s2"}})
}

// TestBackButtonInChromium goes back after the response, and submits the consent page again.
// This starts the request again and is not an error.
func TestBackButtonInChromium(t *testing.T) {
	b, s := newTab(t), newSite(t)
	issuer := startProvider(t, s.client)
	b.open(s.ask(issuer, nil))
	b.logIn(alice.Password)
	b.decide("allow")
	s.answer(b, "GET", url.Values{"state": {"s1"}})

	b.do(chromedp.NavigateBack())
	b.decide("allow")
	if passwords := b.finish(); passwords != 0 {
		t.Errorf("alice was asked for her password %d times", passwords)
	}
	s.answer(b, "GET", url.Values{"state": {"s1"}, "iss": {issuer}})
}
