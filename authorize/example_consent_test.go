package authorize_test

import (
	"context"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	"github.com/usher-auth/usher/session"
)

// The form has no action, so the browser sends it to the page's URL, which has req in it.
var consentHTML = template.Must(template.New("consent").Parse(`<!DOCTYPE html>
<h1>{{.ClientHost}} {{if .SelfDescribed}}calls itself{{end}} {{.ClientName}} asks {{.Subject}} for</h1> <form method="post">
{{range .NewScopes}}<label><input type="checkbox" name="scope" value="{{.}}" checked> {{.}}</label> {{end}}
{{range .GrantedScopes}}<label><input type="checkbox" name="scope" value="{{.}}" checked> {{.}}, as before</label> {{end}}
{{range .ClaimsBeyondScopes}}<p>and your {{.}}</p> {{end}}{{range .Resources}}<p>at {{.DisplayName}}</p> {{end}}
<p>The response goes to {{.RedirectHost}}.</p>
<button name="decision" value="allow">Yes</button> <button name="decision" value="deny">No</button></form>`))

func consentPage(endpoint *authorize.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.PostFormValue("decision") == "deny" {
			endpoint.Deny(w, r) // a refusal counts, whoever is signed in
			return
		}
		pending, err := endpoint.Pending(r)
		switch {
		case err != nil:
			endpoint.ShowError(w, r, err)
		case pending.Subject == "":
			endpoint.Resume(w, r) // the signed-in user has changed: ask the new one
		case r.PostFormValue("decision") == "allow":
			endpoint.Grant(w, r, authorize.Granted{Scopes: r.PostForm["scope"]})
		default:
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("Referrer-Policy", "same-origin")
			w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'") // no form-action
			consentHTML.Execute(w, pending)
		}
	}
}

// A complete consent page. It shows the client, what it asks for, what it got before, and
// where the response goes. The user may grant less. A real page explains each scope in its
// own words.
func Example_consentPage() {
	const issuer, callback = "https://accounts.example", "https://wiki.example/callback"
	memory := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{
		{ID: "wiki", Name: "The wiki", RedirectURIs: []string{callback}, Scopes: []string{"openid", "email"}},
	}})
	user, signedIn := "alice", time.Now()
	sessions := authorize.SessionFunc(func(*http.Request) (*session.Session, error) {
		return &session.Session{Subject: user, AuthTime: signedIn}, nil
	})
	endpoint, err := authorize.New(authorize.Config{
		Issuer: issuer, Clients: memory, Codes: memory, Sessions: sessions, Login: authorize.LoginURL("/login"),
		Consent:   &authorize.Consent{Page: "/consent", Store: memory},
		Resources: authorize.ResourceMap{"https://wiki.example/api": {Name: "Wiki API"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/authorize", endpoint)
	mux.Handle("/consent", http.NewCrossOriginProtection().Handler(consentPage(endpoint)))

	browser := authorizetest.NewBrowser()
	browser.Handle(issuer, mux)
	wiki := authorizetest.Client{Issuer: issuer, ID: "wiki", RedirectURI: callback, Scopes: []string{"openid", "email"}}
	see := func(page *authorizetest.Page, err error) *authorizetest.Page {
		if err != nil {
			log.Fatal(err)
		}
		text := regexp.MustCompile("<[^>]*>").ReplaceAllString(page.Body, " ")
		fmt.Println(page.URL.Host+page.URL.Path, append(strings.Fields(text), page.URL.Query()["error"]...))
		return page
	}
	more := url.Values{"claims": {`{"userinfo":{"phone_number":null}}`}, "resource": {"https://wiki.example/api"}}
	page := see(browser.Open(wiki.Start(more).URL))
	user = "bob" // signs in in another tab
	page = see(page.Submit(nil, "Yes"))
	see(page.Submit(url.Values{"scope": {"openid"}}, "Yes"))
	granted, err := memory.ListConsents(context.Background(), "bob") // revoke with DeleteConsent
	fmt.Println(len(granted), granted[0].ClientID, granted[0].Scopes, granted[0].UserInfoClaims, err)
	// email was refused, and is not asked for again before the client says so.
	see(see(browser.Open(wiki.Start(more, url.Values{"prompt": {"consent"}}).URL)).Submit(nil, "No"))
	// Output:
	// accounts.example/consent [The wiki asks alice for openid email and your phone_number at Wiki API The response goes to wiki.example. Yes No]
	// accounts.example/consent [The wiki asks bob for openid email and your phone_number at Wiki API The response goes to wiki.example. Yes No]
	// wiki.example/callback []
	// 1 wiki [openid] [phone_number] <nil>
	// accounts.example/consent [The wiki asks bob for email openid, as before and your phone_number at Wiki API The response goes to wiki.example. Yes No]
	// wiki.example/callback [access_denied]
}
