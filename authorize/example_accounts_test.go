package authorize_test

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"net/url"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	"github.com/usher-auth/usher/session"
)

var accountsHTML = template.Must(template.New("accounts").Parse(`<!DOCTYPE html>
<form method="post">{{range .Accounts}}<button name="account" value="{{.Subject}}">{{.Subject}}</button>
<button name="signout" value="{{.Subject}}">Sign {{.Subject}} out</button> {{end}}
<button name="decision" value="deny">Cancel</button></form> <a href="/login?req={{.JWT}}">Another</a>`))

func accountsPage(endpoint *authorize.Handler, sessions *session.Cookies) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		pending, err := endpoint.Pending(r)
		var chosen *session.Session
		switch account, out := r.PostFormValue("account"), r.PostFormValue("signout"); {
		case err == nil && account != "":
			chosen, err = sessions.Choose(w, r, account) // nil: it has expired, and the page is shown again
		case err == nil && out != "":
			err = sessions.SignOutAccount(w, r, out)
		}
		accounts, listErr := sessions.Accounts(r) // the active one first
		switch err := errors.Join(err, listErr); {
		case r.PostFormValue("decision") == "deny":
			endpoint.Deny(w, r)
		case err != nil:
			endpoint.ShowError(w, r, err)
		case chosen != nil:
			endpoint.Complete(w, r, "accounts")
		default: // also if pending.Subject is empty: nobody is active after signing out the active account
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("Referrer-Policy", "same-origin")
			w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'") // no form-action
			accountsHTML.Execute(w, map[string]any{"Accounts": accounts, "JWT": pending.JWT})
		}
	}
}

// accountsLogin handles the form of the login page. Example (LoginPage) is a complete page.
func accountsLogin(endpoint *authorize.Handler, sessions *session.Cookies) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		pending, err := endpoint.Pending(r)
		_, signInErr := sessions.SignIn(w, r, session.Session{Subject: r.PostFormValue("username")})
		switch err := errors.Join(err, signInErr); {
		case err != nil:
			endpoint.ShowError(w, r, err)
		case pending.Interaction == "accounts":
			endpoint.Complete(w, r, "accounts") // came by "Another": the sign-in is the choice
		default:
			endpoint.Resume(w, r)
		}
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// Several accounts in one browser, and a page on which the user chooses, adds or removes one.
func Example_accountChoice() {
	const issuer, callback = "https://accounts.example", "https://wiki.example/callback"
	const nameForm = `<!DOCTYPE html><form method="post">Name <input name="username"></form>`
	memory := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{
		{ID: "wiki", RedirectURIs: []string{callback}, Scopes: []string{"openid"}},
	}})
	sessions := must(session.NewCookies(session.Config{Accounts: 4}))
	endpoint := must(authorize.New(authorize.Config{
		Issuer: issuer, Clients: memory, Codes: memory, Sessions: sessions, Login: authorize.LoginURL("/login"),
		Interactions: []authorize.Interaction{{Name: "accounts", Prompt: "select_account", Page: "/accounts"}},
		OnEvent:      func(_ context.Context, e authorize.Event) { fmt.Printf("%s %q %q\n", e.Kind, e.Interaction, e.Subject) },
	}))
	protected := http.NewCrossOriginProtection().Handler
	mux := http.NewServeMux()
	mux.Handle("/authorize", endpoint)
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, nameForm) })
	mux.Handle("POST /login", protected(accountsLogin(endpoint, sessions)))
	mux.Handle("/accounts", protected(accountsPage(endpoint, sessions)))
	browser := authorizetest.NewBrowser()
	browser.Handle(issuer, mux)
	wiki := authorizetest.Client{Issuer: issuer, ID: "wiki", RedirectURI: callback, Scopes: []string{"openid"}}
	choose := url.Values{"prompt": {"select_account"}}
	page := must(must(must(browser.Open(wiki.Start(choose).URL)).Submit(url.Values{"username": {"alice"}})).Click("Another"))
	must(page.Submit(url.Values{"username": {"bob"}}))
	page = must(must(browser.Open(wiki.Start(choose).URL)).Submit(nil, "Sign bob out"))
	fmt.Println(page.Forms[0].Buttons[0].Label, "of", len(page.Forms[0].Buttons))
	must(page.Submit(nil, "alice"))
	// Output:
	// interaction "login" ""
	// interaction "accounts" "alice"
	// completed "accounts" "bob"
	// approved "" "bob"
	// interaction "accounts" "bob"
	// alice of 3
	// completed "accounts" "alice"
	// approved "" "alice"
}
