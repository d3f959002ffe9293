package session_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"

	"github.com/usher-auth/usher/session"
)

// A host without sessions of its own. It has a login page, a page that shows who is signed
// in, and a logout. A browser that keeps cookies visits them.
func Example() {
	cookies, err := session.NewCookies(session.Config{})
	if err != nil {
		log.Fatal(err)
	}

	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if r.PostFormValue("password") != "correct horse" {
			http.Error(w, "wrong name or password", http.StatusForbidden)
			return
		}
		s := session.Session{Subject: r.PostFormValue("name"), AMR: []string{"pwd"}}
		if _, err := cookies.SignIn(w, r, s); err != nil {
			http.Error(w, "try again later", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "welcome")
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		s, err := cookies.Session(r)
		switch {
		case err != nil:
			http.Error(w, "try again later", http.StatusServiceUnavailable)
		case !s.SignedIn():
			fmt.Fprintln(w, "nobody")
		default:
			fmt.Fprintln(w, s.Subject, s.AMR)
		}
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		if err := cookies.SignOut(w, r); err != nil {
			http.Error(w, "try again later", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "goodbye")
	})

	// No other site may sign this browser in or out.
	handler := http.NewCrossOriginProtection().Handler(mux)

	server := httptest.NewTLSServer(handler)
	defer server.Close()
	browser := server.Client()
	browser.Jar, _ = cookiejar.New(nil)

	show(browser.Get(server.URL))
	show(browser.PostForm(server.URL+"/login", url.Values{"name": {"alice"}, "password": {"guess"}}))
	show(browser.Get(server.URL))
	show(browser.PostForm(server.URL+"/login", url.Values{"name": {"alice"}, "password": {"correct horse"}}))
	show(browser.Get(server.URL))
	show(browser.PostForm(server.URL+"/logout", nil))
	show(browser.Get(server.URL))
	// Output:
	// nobody
	// wrong name or password
	// nobody
	// welcome
	// alice [pwd]
	// goodbye
	// nobody
}

// show prints the body of a response.
func show(resp *http.Response, err error) {
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(string(body))
}

// With a second factor, signing in takes two steps. After the first step nobody is signed
// in yet. The second step gives the browser a new cookie.
func ExampleCookies_SignIn_secondFactor() {
	cookies, err := session.NewCookies(session.Config{})
	if err != nil {
		log.Fatal(err)
	}

	// The password was right.
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/login", nil)
	if _, err := cookies.SignIn(w, r, session.Session{Subject: "alice", SecondFactorPending: true}); err != nil {
		log.Fatal(err)
	}
	first := w.Result().Cookies()[0]

	// The next request knows whose second factor to ask for.
	w, r = httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/second-factor", nil)
	r.AddCookie(first)
	pending, err := cookies.Session(r)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(pending.Subject, "signed in:", pending.SignedIn())

	// The second factor was right too.
	s, err := cookies.SignIn(w, r, session.Session{Subject: pending.Subject, AMR: []string{"pwd", "otp"}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Subject, "signed in:", s.SignedIn())
	fmt.Println("new cookie:", w.Result().Cookies()[0].Value != first.Value)
	// Output:
	// alice signed in: false
	// alice signed in: true
	// new cookie: true
}

// Two users share a browser. One is active, and a click makes the other active.
func ExampleCookies_Choose() {
	cookies, err := session.NewCookies(session.Config{Accounts: 4})
	if err != nil {
		log.Fatal(err)
	}
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", nil)
	for _, subject := range []string{"alice", "bob"} {
		if _, err := cookies.SignIn(w, r, session.Session{Subject: subject}); err != nil {
			log.Fatal(err)
		}
	}

	// The page that lists the accounts shows the active one first.
	show := func() {
		accounts, err := cookies.Accounts(r)
		if err != nil {
			log.Fatal(err)
		}
		for _, s := range accounts {
			fmt.Print("[", s.Subject, "]")
		}
		fmt.Println()
	}
	show()

	// The user chooses an account. Nil would mean that it has expired.
	if s, err := cookies.Choose(w, r, "alice"); err != nil || s == nil {
		log.Fatal(err)
	}
	show()
	// Output:
	// [bob][alice]
	// [alice][bob]
}
