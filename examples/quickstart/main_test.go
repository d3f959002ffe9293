package main

import (
	"bufio"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/usher-auth/usher/authorize/authorizetest"
)

// start runs main once for all tests and returns the address that it prints.
var start = sync.OnceValue(func() string {
	out, in, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	defer func(stdout *os.File) { os.Stdout = stdout }(os.Stdout)
	os.Stdout = in
	os.Args = []string{"quickstart", "-addr", "127.0.0.1:0"}
	go main()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		panic(err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(line, "listening on "), "\n")
})

// newBrowser returns a browser that reaches the program through t.
func newBrowser(t http.RoundTripper) *authorizetest.Browser {
	browser := authorizetest.NewBrowser()
	browser.Connect(start(), t)
	return browser
}

// page fails the test unless the page has this status.
func page(t *testing.T, status int) func(*authorizetest.Page, error) *authorizetest.Page {
	t.Helper()
	return func(page *authorizetest.Page, err error) *authorizetest.Page {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if page.Status != status {
			t.Fatalf("want status %d:\n%s", status, page)
		}
		return page
	}
}

// login opens the client's page and follows its link, to the login page.
func login(t *testing.T, browser *authorizetest.Browser) *authorizetest.Page {
	t.Helper()
	at := page(t, http.StatusOK)(page(t, http.StatusOK)(browser.Open(start())).Click("Sign in"))
	if at.URL.Path != "/login" {
		t.Fatalf("the link led to %s, want /login", at)
	}
	return at
}

var alice = url.Values{"username": {"alice"}, "password": {"alice-password"}}

func TestSignIn(t *testing.T) {
	browser := newBrowser(nil)
	form := login(t, browser)
	again := page(t, http.StatusOK)(form.Submit(url.Values{"username": {"alice"}, "password": {"wrong"}}))
	if again.URL.Path != "/login" || !strings.Contains(again.Body, `role="alert"`) {
		t.Fatalf("wrong password: want the form again, with an error:\n%s", again)
	}
	done := page(t, http.StatusOK)(again.Submit(alice))
	reloaded := page(t, http.StatusOK)(browser.Open(done.URL.String()))
	for _, at := range []*authorizetest.Page{done, reloaded} {
		if at.URL.Path != "/" || at.URL.RawQuery != "" || !strings.Contains(at.Body, "<h1>Signed in as alice</h1>") {
			t.Fatalf("want what the client got, at an address that can be loaded again:\n%s", at)
		}
	}
	once := page(t, http.StatusOK)(reloaded.Click("Try again"))
	if !strings.Contains(once.Body, "<h1>Signed in as alice</h1>") {
		t.Errorf("again, with a session: want no login page:\n%s", once)
	}
	out := page(t, http.StatusOK)(once.Submit(nil))
	if strings.Contains(out.Body, "alice") {
		t.Errorf("after signing out:\n%s", out)
	}
	login(t, browser)
}

func TestCancel(t *testing.T) {
	denied := page(t, http.StatusOK)(login(t, newBrowser(nil)).Submit(nil, "Cancel"))
	if denied.URL.Path != "/" || !strings.Contains(denied.Body, "access_denied") || len(denied.Links) != 1 {
		t.Errorf("want the client's page, with a way on:\n%s", denied)
	}
}

// beforeTheAnswer stops responses before the client, so that they are unused.
type beforeTheAnswer struct{}

func (beforeTheAnswer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Query().Has("code") {
		return &http.Response{StatusCode: http.StatusNoContent, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	}
	return http.DefaultTransport.RoundTrip(r)
}

// The client accepts a response only from the right issuer and in the browser that made the
// request. Otherwise it shows its start page.
func TestClientChecksItsAnswer(t *testing.T) {
	for _, c := range []struct {
		name    string
		another bool // browser
		change  func(query url.Values)
		taken   bool
	}{
		{"as it is", false, func(url.Values) {}, true},
		{"state of another request", false, func(query url.Values) { query.Set("state", "other") }, false},
		{"no state", false, func(query url.Values) { query.Del("state") }, false},
		{"iss of another server", false, func(query url.Values) { query.Set("iss", "https://other.example") }, false},
		{"no iss", false, func(query url.Values) { query.Del("iss") }, false},
		{"another browser", true, func(url.Values) {}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := newBrowser(beforeTheAnswer{})
			at := page(t, http.StatusNoContent)(login(t, asked).Submit(alice)).URL
			query := at.Query()
			c.change(query)
			at.RawQuery = query.Encode()
			browser := newBrowser(nil)
			if !c.another {
				if err := browser.SetCookies(start(), asked.Cookies(start())...); err != nil {
					t.Fatal(err)
				}
			}
			got := page(t, http.StatusOK)(browser.Open(at.String()))
			if taken := strings.Contains(got.Body, "Signed in as alice"); taken != c.taken {
				t.Errorf("the answer was taken: %v, want %v:\n%s", taken, c.taken, got)
			}
		})
	}
}

// The endpoint's errors are in the frame of all pages, and its policy does not block their style.
func TestErrorPage(t *testing.T) {
	wrong := page(t, http.StatusBadRequest)(newBrowser(nil).Open(start() + "/authorize?client_id=nobody"))
	if !strings.Contains(wrong.Body, "invalid_client") || len(wrong.Links) != 1 {
		t.Errorf("want the error and a way on:\n%s", wrong)
	}
	if got := wrong.Header.Get("Content-Security-Policy"); got != "frame-ancestors 'none'" {
		t.Errorf("the policy is %q", got)
	}
}

func TestOtherSitesCannotSignIn(t *testing.T) {
	refused := page(t, http.StatusForbidden)(newBrowser(nil).PostFrom("https://attacker.example/", start()+"/login", alice))
	if refused.Header.Get("Set-Cookie") != "" {
		t.Errorf("there is a cookie: %v", refused.Header)
	}
}
