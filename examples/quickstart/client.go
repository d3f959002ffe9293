package main

import (
	"context"
	"net/http"
	"net/url"
	"sync"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/pkce"
)

// client is other software, to which the users of the host sign in. It is in the same
// process, so it redeems its code with a function call. Other clients use a token endpoint.
type client struct {
	issuer  string
	redeem  func(context.Context, authorize.Redemption) (*authorize.Code, error)
	results sync.Map // redeemed codes, by the value of resultCookie
}

// resultCookie is the cookie that finds the result of this browser.
const resultCookie = "demo-result"

// page handles a response to a request of this browser. Otherwise it shows the last result.
func (c *client) page(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	cookie, err := r.Cookie("demo-" + query.Get("state")) // only the browser that made the request has it
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

// start makes a request. State and verifier are 256 random bits each; a cookie keeps them
// in this browser.
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

// take redeems the code and redirects to a URL without it, so that a reload of the page
// does not redeem the code again.
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

// forget deletes the result of this browser.
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
