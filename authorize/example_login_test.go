package authorize_test

import (
	"fmt"
	"html/template"
	"log"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	"github.com/usher-auth/usher/session"
)

// The form has no action, so the browser sends it to the page's URL, which has req in it.
var loginHTML = template.Must(template.New("login").Parse(`<!DOCTYPE html>
<h1>{{if .French}}Connexion{{else}}Sign in{{end}}</h1> {{with .Client}}<p>{{.}}</p>{{end}}
{{if .Wrong}}<p role="alert">Wrong name or password.</p>{{end}} <form method="post">
<input name="username" value="{{or .Username .Hint}}"> <input name="password" type="password"> <button>OK</button>
{{if .Client}}<button name="decision" value="deny">Cancel</button>{{end}}</form>`))

func loginPage(endpoint *authorize.Handler, sessions *session.Cookies) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		page := map[string]any{"Username": r.PostFormValue("username"), "Wrong": r.Method == http.MethodPost}
		if r.FormValue("req") != "" { // a client asks
			pending, err := endpoint.Pending(r)
			if err != nil {
				endpoint.ShowError(w, r, err)
				return
			}
			current, err := sessions.Session(r)
			if err == nil && current.SignedIn() && pending.Reason == authorize.ReasonNotSignedIn {
				endpoint.Resume(w, r) // signed in in another tab; other reasons need a new sign-in
				return
			}
			page["Client"], page["Hint"] = pending.ClientName, pending.Request.LoginHint
			page["French"] = slices.Contains(pending.Request.UILocales, "fr")
		}
		switch {
		case r.PostFormValue("decision") == "deny":
			endpoint.Deny(w, r)
		case r.PostFormValue("username") != "alice" || r.PostFormValue("password") != "correct horse":
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("Referrer-Policy", "same-origin")
			w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'") // no form-action
			loginHTML.Execute(w, page)
		default:
			if _, err := sessions.SignIn(w, r, session.Session{Subject: "alice"}); err != nil {
				endpoint.ShowError(w, r, err)
			} else if !endpoint.Resume(w, r) {
				http.Redirect(w, r, "/", http.StatusSeeOther) // no client has asked: an ordinary sign-in
			}
		}
	}
}

// A complete login page. It shows the client, and handles "Cancel", a wrong password, a
// sign-in, and users who come without a client. A real page also limits how often a
// password can be tried.
func Example_loginPage() {
	const issuer, callback = "https://accounts.example", "https://wiki.example/callback"
	memory := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{
		{ID: "wiki", Name: "The wiki", RedirectURIs: []string{callback}, Scopes: []string{"openid"}},
	}})
	sessions, err := session.NewCookies(session.Config{})
	if err != nil {
		log.Fatal(err)
	}
	endpoint, err := authorize.New(authorize.Config{
		Issuer: issuer, Clients: memory, Codes: memory, Sessions: sessions, Login: authorize.LoginURL("/login"),
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/authorize", endpoint)
	mux.Handle("/login", http.NewCrossOriginProtection().Handler(loginPage(endpoint, sessions)))
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "home") })
	browser := authorizetest.NewBrowser()
	browser.Handle(issuer, mux)
	wiki := authorizetest.Client{Issuer: issuer, ID: "wiki", RedirectURI: callback, Scopes: []string{"openid"}}
	see := func(page *authorizetest.Page, err error) *authorizetest.Page {
		if err != nil {
			log.Fatal(err)
		}
		text := regexp.MustCompile("<[^>]*>").ReplaceAllString(page.Body, " ")
		fmt.Println(page.URL.Host+page.URL.Path, append(strings.Fields(text), page.URL.Query()["error"]...))
		return page
	}
	page := see(browser.Open(wiki.Start(url.Values{"ui_locales": {"fr en"}, "login_hint": {"alice"}}).URL))
	see(see(page.Submit(url.Values{"password": {"guess"}})).Submit(url.Values{"password": {"correct horse"}}))
	see(see(browser.Open(wiki.Start(url.Values{"prompt": {"login"}}).URL)).Submit(nil, "Cancel"))
	alice := url.Values{"username": {"alice"}, "password": {"correct horse"}}
	see(see(browser.Open(issuer + "/login")).Submit(alice))
	forged, err := browser.PostFrom("https://evil.example/", issuer+"/login", alice)
	fmt.Println("from another site:", forged.Status, err)
	// Output:
	// accounts.example/login [Connexion The wiki OK Cancel]
	// accounts.example/login [Connexion The wiki Wrong name or password. OK Cancel]
	// wiki.example/callback []
	// accounts.example/login [Sign in The wiki OK Cancel]
	// wiki.example/callback [access_denied]
	// accounts.example/login [Sign in OK]
	// accounts.example/ [home]
	// from another site: 403 <nil>
}
