package main

import (
	"context"
	"net/http"
	"net/url"
	"sync"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/pkce"
)

// client is other software that signs in with the users of the host. It stands in the same
// process to be tried at once, so it redeems its code by a call; other clients ask a token
// endpoint.
type client struct {
	issuer  string
	redeem  func(context.Context, authorize.Redemption) (*authorize.Code, error)
	results sync.Map // what the client got, by the value of its cookie
}

// resultCookie names what the client got in this browser.
const resultCookie = "demo-result"

// page takes a response to a request of this browser, and else shows what it got before.
func (c *client) page(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	cookie, err := r.Cookie("demo-" + query.Get("state")) // only the browser that asked has it
	if err == nil && query.Get("iss") == c.issuer {
		setCookie(w, cookie.Name, "", -1)
		c.take(w, r, query, cookie.Value)
		return
	}
	var code any
	if cookie, err := r.Cookie(resultCookie); err == nil {
		code, _ = c.results.Load(cookie.Value)
	}
	show(w, http.StatusOK, "client.html", map[string]any{"SignIn": c.start(w), "Code": code})
}

// start makes a request: state and verifier are 256 random bits each, and stay in this
// browser.
func (c *client) start(w http.ResponseWriter) string {
	state, verifier := pkce.NewVerifier(), pkce.NewVerifier()
	setCookie(w, "demo-"+state, verifier, 600)
	return "/authorize?" + url.Values{
		"response_type":         {"code"},
		"client_id":             {"demo"},
		"redirect_uri":          {c.issuer + "/"},
		"scope":                 {"openid"},
		"state":                 {state},
		"code_challenge":        {pkce.Challenge(verifier)},
		"code_challenge_method": {pkce.MethodS256},
	}.Encode()
}

// take redeems the code and goes on to the page without it, so that loading that page again
// is no second redemption.
func (c *client) take(w http.ResponseWriter, r *http.Request, query url.Values, verifier string) {
	failed := query.Get("error")
	if failed == "" {
		redemption := authorize.Redemption{ClientID: "demo", Code: query.Get("code"), Verifier: verifier}
		code, err := c.redeem(r.Context(), redemption)
		if err == nil {
			result := pkce.NewVerifier()
			c.results.Store(result, code)
			setCookie(w, resultCookie, result, 0)
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return
		}
		failed = err.Error()
	}
	show(w, http.StatusOK, "client.html", map[string]any{
		"SignIn": c.start(w), "Failed": failed, "Text": query.Get("error_description"),
	})
}

// forget drops what the client got in this browser.
func (c *client) forget(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(resultCookie); err == nil {
		c.results.Delete(cookie.Value)
		setCookie(w, resultCookie, "", -1)
	}
}

func setCookie(w http.ResponseWriter, name, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, MaxAge: maxAge, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}
