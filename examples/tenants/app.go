package main

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"

	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/pkce"
)

// app is an application that all tenants use, on its own domain. It sends the browser to the
// domain of the tenant whose user signs in.
type app struct {
	url     string
	desk    string // the operator's page
	tenants []*tenant
}

// try is a request that a user can send with a link. It says how the request differs from a
// valid one.
type try struct {
	Name   string
	What   string
	change url.Values
}

// tries lead to all kinds of responses of the endpoint.
var tries = []try{
	{"sign-in", "Sign in", nil},
	{"again", "Sign in again, with prompt=login",
		url.Values{"prompt": {"login"}}},
	{"silent", "Sign in without a page, with prompt=none: a code or login_required",
		url.Values{"prompt": {"none"}}},
	{"invalid_request", "Repeat a parameter: invalid_request",
		url.Values{"scope": {"openid", "openid"}}},
	{"unauthorized_client", "A client that may not request codes: unauthorized_client",
		url.Values{"client_id": {"backup-"}}},
	{"unsupported_response_type", "Request a token instead of a code: unsupported_response_type",
		url.Values{"response_type": {"token"}}},
	{"invalid_scope", "A scope that does not exist: invalid_scope",
		url.Values{"scope": {"openid everything"}}},
	{"request_not_supported", "The parameter request: request_not_supported",
		url.Values{"request": {"e30.e30."}}},
	{"request_uri_not_supported", "The parameter request_uri: request_uri_not_supported",
		url.Values{"request_uri": {"https://app.example/request"}}},
	{"registration_not_supported", "The parameter registration: registration_not_supported",
		url.Values{"registration": {"{}"}}},
	{"unknown", "An unknown application: the error page",
		url.Values{"client_id": {"nobody-"}}},
}

// apply changes the query of a request. The ids of clients end with the name of the tenant.
func (t try) apply(query url.Values, tenant string) {
	for name, values := range t.change {
		if name == "client_id" {
			values = []string{values[0] + tenant}
		}
		query[name] = values
	}
}

func (a *app) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { a.show(w, http.StatusOK, appPage{}) })
	mux.HandleFunc("GET /go", a.ask)
	mux.HandleFunc("GET /callback", a.takeAnswer)
	return inPages(mux, a.frame().refuse)
}

// appPage is what app.html shows.
type appPage struct {
	Tenants []*tenant
	Tries   []try
	Desk    string
	At      string // name of the tenant that sent the response
	From    string // its title
	User    string
	Error   string
	Text    string
}

func (a *app) show(w http.ResponseWriter, status int, page appPage) {
	page.Tenants, page.Tries, page.Desk = a.tenants, tries, a.desk
	a.frame().show(w, status, "app", page)
}

func (a *app) frame() frame { return frame{Host: strings.TrimPrefix(a.url, "http://"), App: a.url} }

func (a *app) find(name string) *tenant {
	for _, t := range a.tenants {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// ask sends the browser to the tenant. A cookie keeps the values to check the response with.
func (a *app) ask(w http.ResponseWriter, r *http.Request) {
	t := a.find(r.FormValue("tenant"))
	if t == nil {
		a.show(w, http.StatusNotFound, appPage{Error: "There is no such tenant."})
		return
	}
	state, verifier := rand.Text(), pkce.NewVerifier()
	http.SetCookie(w, &http.Cookie{
		Name:     "asked-" + state,
		Value:    t.Name + "." + verifier,
		Path:     "/callback",
		MaxAge:   1800,
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode,
	})
	query := url.Values{
		"client_id":             {"notes-" + t.Name},
		"redirect_uri":          {a.url + "/callback"},
		"response_type":         {"code"},
		"scope":                 {"openid profile"},
		"state":                 {state},
		"code_challenge":        {pkce.Challenge(verifier)},
		"code_challenge_method": {"S256"},
	}
	for _, try := range tries {
		if try.Name == r.FormValue("try") {
			try.apply(query, t.Name)
		}
	}
	http.Redirect(w, r, t.issuer+"/authorize?"+query.Encode(), http.StatusSeeOther)
}

// takeAnswer accepts a response only from the tenant that this browser was sent to, and
// redeems its code there.
func (a *app) takeAnswer(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	cookie, err := r.Cookie("asked-" + query.Get("state"))
	if err != nil {
		a.show(w, http.StatusBadRequest, appPage{Error: "This browser did not ask for this response."})
		return
	}
	name, verifier, _ := strings.Cut(cookie.Value, ".")
	t := a.find(name)
	if t == nil || query.Get("iss") != t.issuer {
		a.show(w, http.StatusBadRequest,
			appPage{Error: "This response is from a different tenant than the request was sent to."})
		return
	}
	http.SetCookie(w, &http.Cookie{Name: cookie.Name, Path: "/callback", MaxAge: -1})
	page := appPage{At: t.Name, From: t.Title, Error: query.Get("error"), Text: query.Get("error_description")}
	if page.Error == "" {
		code, err := t.endpoint.Load().Redeem(r.Context(), authorize.Redemption{
			ClientID: "notes-" + t.Name, Code: query.Get("code"), RedirectURI: a.url + "/callback", Verifier: verifier,
		})
		if err != nil {
			refused := oautherr.Of(err)
			page.Error, page.Text = string(refused.Code), refused.Text()
		} else {
			page.User = code.Subject
		}
	}
	a.show(w, http.StatusOK, page)
}
