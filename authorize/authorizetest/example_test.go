package authorizetest_test

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

var loginPage = template.Must(template.New("login").Parse(`<!DOCTYPE html>
<title>Sign in</title>
<form method="post">
<input type="hidden" name="req" value="{{.}}">
<label>Name <input name="username"></label>
<label>Password <input name="password" type="password"></label>
<button>Sign in</button>
<button name="cancel" value="1">Cancel</button>
</form>
`))

// newProgram is the program under test: a login page and the endpoint.
func newProgram() (*http.ServeMux, *authorize.Handler) {
	memory := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{{
		ID:           "wiki",
		RedirectURIs: []string{"https://wiki.example/callback"},
		Scopes:       []string{"openid", "profile"},
	}}})
	cookies, err := session.NewCookies(session.Config{})
	if err != nil {
		log.Fatal(err)
	}
	endpoint, err := authorize.New(authorize.Config{
		Issuer:   "https://accounts.example",
		Clients:  memory,
		Codes:    memory,
		Sessions: cookies,
		Login:    authorize.LoginURL("/login"),
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/authorize", endpoint)
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		loginPage.Execute(w, r.URL.Query().Get("req"))
	})
	login := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		if r.PostForm.Has("cancel") {
			endpoint.Deny(w, r)
			return
		}
		if r.PostForm.Get("password") != "correct horse" {
			http.Error(w, "wrong name or password", http.StatusForbidden)
			return
		}
		s := session.Session{Subject: r.PostForm.Get("username"), AuthTime: time.Now()}
		if _, err := cookies.SignIn(w, r, s); err != nil {
			http.Error(w, "try again later", http.StatusServiceUnavailable)
			return
		}
		endpoint.Resume(w, r)
	})
	mux.Handle("POST /login", http.NewCrossOriginProtection().Handler(login))
	return mux, endpoint
}

var wiki = authorizetest.Client{
	Issuer:      "https://accounts.example",
	ID:          "wiki",
	RedirectURI: "https://wiki.example/callback",
	Scopes:      []string{"openid"},
}

// A whole sign-in, from the request of a client to the redemption of its code.
func Example() {
	mux, endpoint := newProgram()
	browser := authorizetest.NewBrowser()
	browser.Handle("https://accounts.example", mux) // your program

	flow := wiki.Start()
	login, err := browser.OpenFrom("https://wiki.example/", flow.URL)
	if err != nil {
		log.Fatal(err) // t.Fatal(err) in a test
	}
	back, err := login.Submit(url.Values{"username": {"alice"}, "password": {"correct horse"}}, "Sign in")
	if err != nil {
		log.Fatal(err)
	}
	code, err := flow.Check(back.Request) // state, iss and exactly one code
	if err != nil {
		log.Fatal(err)
	}
	record, err := endpoint.Redeem(context.Background(), flow.Redemption(code))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the browser was at", login.URL.Path)
	fmt.Println("the browser leaves for", back.URL.Host, back.Left)
	fmt.Println(record.Subject, record.Scopes, record.Nonce == flow.Nonce)

	_, err = endpoint.Redeem(context.Background(), flow.Redemption(code))
	fmt.Println("a second time:", errors.Is(err, oautherr.InvalidGrant))
	// Output:
	// the browser was at /login
	// the browser leaves for wiki.example true
	// alice [openid] true
	// a second time: true
}

// Errors that the endpoint sends to the client.
func ExampleFlow_Check() {
	mux, _ := newProgram()
	browser := authorizetest.NewBrowser()
	browser.Handle("https://accounts.example", mux)

	flow := wiki.Start(url.Values{"prompt": {"none"}})
	page, err := browser.Open(flow.URL)
	if err != nil {
		log.Fatal(err)
	}
	_, err = flow.Check(page.Request)
	fmt.Println(errors.Is(err, oautherr.LoginRequired))

	flow = wiki.Start()
	if page, err = browser.Open(flow.URL); err != nil {
		log.Fatal(err)
	}
	if page, err = page.Submit(nil, "Cancel"); err != nil {
		log.Fatal(err)
	}
	_, err = flow.Check(page.Request)
	fmt.Println(errors.Is(err, oautherr.AccessDenied))
	// Output:
	// true
	// true
}

// A request that must not show a page, before and after alice has signed in.
func ExampleFlow_Expect() {
	var t *testing.T // of the test
	mux, _ := newProgram()
	browser := authorizetest.NewBrowser()
	browser.Handle("https://accounts.example", mux)
	open := func(flow *authorizetest.Flow) *authorizetest.Page {
		page, err := browser.Open(flow.URL)
		if err != nil {
			t.Fatal(err)
		}
		return page
	}

	silent := wiki.Start(url.Values{"prompt": {"none"}})
	silent.Expect(t, open(silent), oautherr.LoginRequired)

	page, err := open(wiki.Start()).Submit(url.Values{"username": {"alice"}, "password": {"correct horse"}})
	if err != nil {
		t.Fatalf("signing in: %v\n%s", err, page)
	}
	silent = wiki.Start(url.Values{"prompt": {"none"}})
	code := silent.Expect(t, open(silent), nil)
	fmt.Println(silent.Redemption(code))
}

// A response that comes as a form, which a browser with scripts would submit by
// itself.
func ExamplePage_Submit() {
	mux, _ := newProgram()
	browser := authorizetest.NewBrowser()
	browser.Handle("https://accounts.example", mux)

	flow := wiki.Start(url.Values{"response_mode": {"form_post"}})
	page, err := browser.Open(flow.URL)
	if err != nil {
		log.Fatal(err)
	}
	if page, err = page.Submit(url.Values{"username": {"alice"}, "password": {"correct horse"}}); err != nil {
		log.Fatal(err)
	}
	fmt.Println("a page of", page.URL.Host, "with a form for", page.Forms[0].Action)
	if page, err = page.Submit(nil); err != nil {
		log.Fatal(err)
	}
	code, err := flow.Check(page.Request)
	fmt.Println(page.Request.Method, page.URL, len(code), err)
	// Output:
	// a page of accounts.example with a form for https://wiki.example/callback
	// POST https://wiki.example/callback 43 <nil>
}

// A request that arrives as a POST from the client's site: the browser leaves the
// session cookie off, and the endpoint still finds who is signed in.
func ExampleBrowser_PostFrom() {
	mux, _ := newProgram()
	browser := authorizetest.NewBrowser()
	browser.Handle("https://accounts.example", mux)
	page, err := browser.Open(wiki.Start().URL)
	if err != nil {
		log.Fatal(err)
	}
	if _, err = page.Submit(url.Values{"username": {"alice"}, "password": {"correct horse"}}); err != nil {
		log.Fatal(err)
	}

	flow := wiki.Start()
	page, err = browser.PostFrom("https://wiki.example/", flow.Endpoint, flow.Params)
	if err != nil {
		log.Fatal(err)
	}
	code, err := flow.Check(page.Request)
	fmt.Println(len(code), err)
	// Output:
	// 43 <nil>
}

// A host with all fields, so that no rule is left out. The log of the test says which are.
func ExampleTestHost() {
	var t *testing.T         // of the test
	var program http.Handler // under test
	client := authorizetest.Client{
		Issuer:        "https://accounts.example",
		ID:            "forum",
		RedirectURI:   "https://forum.example/callback",
		Scopes:        []string{"openid", "profile"},
		TokenEndpoint: "https://accounts.example/token",
		Secret:        "the secret of the forum",
	}
	submit := func(values url.Values, button string) func(*authorizetest.Page) (*authorizetest.Page, error) {
		return func(page *authorizetest.Page) (*authorizetest.Page, error) { return page.Submit(values, button) }
	}
	authorizetest.TestHost(t, authorizetest.Host{
		Client: client,
		Other:  wiki,
		Open: func(t *testing.T, browser *authorizetest.Browser) {
			browser.Handle("https://accounts.example", program)
		},
		SignIn:        submit(url.Values{"username": {"alice"}, "password": {"correct horse"}}, "Sign in"),
		WrongPassword: submit(url.Values{"username": {"alice"}, "password": {"wrong horse"}}, "Sign in"),
		Cancel:        submit(nil, "Cancel"),
		Agree:         submit(nil, "Allow"),
		Deny:          submit(nil, "Deny"),
		Claims:        map[string]string{"phone_number": "See your phone number"},
	})
}
