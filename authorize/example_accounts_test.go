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
		if r.PostFormValue("decision") == "deny" {
			endpoint.Deny(w, r)
			return
		}
		if r.PostFormValue("account") != "" {
			chosen, err := sessions.Choose(w, r, r.PostFormValue("account"))
			switch {
			case err != nil:
				endpoint.ShowError(w, r, err)
				return
			case chosen != nil: // nil: it has expired, and the page is shown again
				endpoint.Complete(w, r, "accounts")
				return
			}
		}
		pending, err := endpoint.Pending(r)
		if subject := r.PostFormValue("signout"); err == nil && subject != "" {
			err = sessions.SignOutAccount(w, r, subject)
		}
		accounts, listErr := sessions.Accounts(r) // the active one first
		if err := errors.Join(err, listErr); err != nil {
			endpoint.ShowError(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Referrer-Policy", "same-origin")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'") // no form-action
		accountsHTML.Execute(w, map[string]any{"Accounts": accounts, "JWT": pending.JWT})
	}
}

// accountsLogin is the login page. It ends with Complete or Resume. Example (LoginPage) is
// a complete login page.
func accountsLogin(endpoint *authorize.Handler, sessions *session.Cookies) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		pending, err := endpoint.Pending(r)
		if err == nil && r.Method == http.MethodPost {
			_, err = sessions.SignIn(w, r, session.Session{Subject: r.PostFormValue("username")})
		}
		switch {
		case err != nil:
			endpoint.ShowError(w, r, err)
		case r.Method != http.MethodPost:
			fmt.Fprint(w, `<!DOCTYPE html><form method="post">Name <input name="username"></form>`)
		case pending.Interaction == "accounts":
			endpoint.Complete(w, r, "accounts") // came by "Another": the sign-in is the choice
		default:
			endpoint.Resume(w, r)
		}
	}
}

// Several accounts in one browser. On the page for prompt=select_account the user chooses
// an account, signs one out, or goes to the login page to add another.
func Example_accountChoice() {
	const issuer, callback = "https://accounts.example", "https://wiki.example/callback"
	memory := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{
		{ID: "wiki", RedirectURIs: []string{callback}, Scopes: []string{"openid"}},
	}})
	sessions, err := session.NewCookies(session.Config{Accounts: 4})
	if err != nil {
		log.Fatal(err)
	}
	endpoint, err := authorize.New(authorize.Config{
		Issuer: issuer, Clients: memory, Codes: memory, Sessions: sessions, Login: authorize.LoginURL("/login"),
		Interactions: []authorize.Interaction{{Name: "accounts", Prompt: "select_account", Page: "/accounts"}},
		OnEvent:      func(_ context.Context, e authorize.Event) { fmt.Printf("%s %q %q\n", e.Kind, e.Interaction, e.Subject) },
	})
	if err != nil {
		log.Fatal(err)
	}
	protected := http.NewCrossOriginProtection().Handler
	mux := http.NewServeMux()
	mux.Handle("/authorize", endpoint)
	mux.Handle("/login", protected(accountsLogin(endpoint, sessions)))
	mux.Handle("/accounts", protected(accountsPage(endpoint, sessions)))

	browser := authorizetest.NewBrowser()
	browser.Handle(issuer, mux)
	must := func(page *authorizetest.Page, err error) *authorizetest.Page {
		if err != nil {
			log.Fatal(err)
		}
		return page
	}
	wiki := authorizetest.Client{Issuer: issuer, ID: "wiki", RedirectURI: callback, Scopes: []string{"openid"}}
	choose := url.Values{"prompt": {"select_account"}}
	page := must(browser.Open(wiki.Start(choose).URL))
	page = must(must(page.Submit(url.Values{"username": {"alice"}})).Click("Another"))
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
