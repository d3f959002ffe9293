package main

import (
	"bufio"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
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

func newBrowser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar}
}

// read returns the status, the text and the last URL of a response.
func read(t *testing.T, response *http.Response, err error) (status int, body string, at *url.URL) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text), response.Request.URL
}

var href = regexp.MustCompile(`href="([^"]*)"`)

// open loads the client's page, follows its link and returns where that leads.
func open(t *testing.T, browser *http.Client, base string) *url.URL {
	t.Helper()
	response, err := browser.Get(base)
	_, page, _ := read(t, response, err)
	link := href.FindStringSubmatch(page)
	if link == nil {
		t.Fatalf("no link on the client's page: %s", page)
	}
	response, err = browser.Get(base + html.UnescapeString(link[1]))
	_, _, at := read(t, response, err)
	return at
}

func TestSignIn(t *testing.T) {
	base := start()
	browser := newBrowser(t)
	login := open(t, browser, base)
	if login.Path != "/login" {
		t.Fatalf("the link led to %s, want /login", login)
	}

	response, err := browser.PostForm(login.String(), url.Values{"username": {"alice"}, "password": {"wrong"}})
	status, page, at := read(t, response, err)
	if status != http.StatusOK || at.Path != "/login" || !strings.Contains(page, `name="password"`) {
		t.Fatalf("wrong password: status %d at %s, want the form again:\n%s", status, at, page)
	}

	response, err = browser.PostForm(login.String(), url.Values{"username": {"alice"}, "password": {"alice-password"}})
	status, page, at = read(t, response, err)
	if status != http.StatusOK || at.Path != "/" || page != "Signed in as alice" {
		t.Fatalf("status %d at %s, want the subject on the client's page:\n%s", status, at, page)
	}

	// Loaded again, the same address is a replay.
	response, err = browser.Get(at.String())
	status, page, _ = read(t, response, err)
	if status != http.StatusForbidden || !strings.Contains(page, "invalid_grant") {
		t.Fatalf("replay: status %d, want 403 invalid_grant:\n%s", status, page)
	}
}

// The client takes an answer from the right issuer in the browser that asked, and
// shows its first page for any other.
func TestClientChecksItsAnswer(t *testing.T) {
	base := start()
	answer := func(t *testing.T, browser *http.Client) *url.URL {
		t.Helper()
		var answer *url.URL
		browser.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
			if !r.URL.Query().Has("code") {
				return nil
			}
			answer = r.URL
			return http.ErrUseLastResponse
		}
		login := open(t, browser, base)
		form := url.Values{"username": {"alice"}, "password": {"alice-password"}}
		response, err := browser.PostForm(login.String(), form)
		read(t, response, err)
		browser.CheckRedirect = nil
		return answer
	}
	for name, change := range map[string]func(query url.Values){
		"state of another request": func(query url.Values) { query.Set("state", "other") },
		"no state":                 func(query url.Values) { query.Del("state") },
		"iss of another server":    func(query url.Values) { query.Set("iss", "https://other.example") },
		"no iss":                   func(query url.Values) { query.Del("iss") },
	} {
		t.Run(name, func(t *testing.T) {
			browser := newBrowser(t)
			at := answer(t, browser)
			query := at.Query()
			change(query)
			at.RawQuery = query.Encode()
			response, err := browser.Get(at.String())
			_, page, _ := read(t, response, err)
			if !href.MatchString(page) || strings.Contains(page, "alice") {
				t.Errorf("the answer was taken:\n%s", page)
			}
		})
	}
	t.Run("another browser", func(t *testing.T) {
		at := answer(t, newBrowser(t))
		response, err := newBrowser(t).Get(at.String())
		_, page, _ := read(t, response, err)
		if !href.MatchString(page) || strings.Contains(page, "alice") {
			t.Errorf("the answer was taken:\n%s", page)
		}
	})
}

func TestOtherSitesCannotSignIn(t *testing.T) {
	body := strings.NewReader("username=alice&password=alice-password")
	request, err := http.NewRequest(http.MethodPost, start()+"/login", body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Sec-Fetch-Site", "cross-site")
	response, err := http.DefaultTransport.RoundTrip(request)
	status, _, _ := read(t, response, err)
	if status != http.StatusForbidden || response.Header.Get("Set-Cookie") != "" {
		t.Errorf("status %d with cookie %q, want 403 and none", status, response.Header.Get("Set-Cookie"))
	}
}
