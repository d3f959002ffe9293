package main

import (
	"net/http"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/session"
)

// asked is the part of a request that a login page shows. It is empty without a request.
type asked struct {
	Client string
	Host   string // where the response goes
	Scopes []scopeLine
	Hint   string // the user's name, according to the client

	resumeURL, denyURL string
}

func askedOf(p *authorize.Pending) asked {
	client := p.Request.ClientID
	if p.Request.Client != nil {
		client = p.Request.Client.DisplayName()
	}
	return asked{
		client, p.Request.RedirectHost(), scopeLines(p.Request.Scopes), p.Request.LoginHint,
		p.ResumeURL, p.DenyURL,
	}
}

type scopeLine struct{ Name, Meaning string }

// meanings describe the scopes to users. The login pages show them, because there is no
// consent page: all applications belong to the companies.
var meanings = map[string]string{
	"openid":  "Know which account is yours here",
	"profile": "See your name and profile",
}

func scopeLines(scopes []string) (lines []scopeLine) {
	for _, scope := range scopes {
		lines = append(lines, scopeLine{scope, meanings[scope]})
	}
	return lines
}

// loginPage is what login.html and own-login.html show.
type loginPage struct {
	asked
	Title     string
	Suspended []string
	Username  string
	Wrong     bool
	ReadWith  reading // own-login.html
}

// login is the page for tenants that have no login page of their own. It runs in the same
// process as the endpoint and calls its methods.
func (t *tenant) login(w http.ResponseWriter, r *http.Request) {
	endpoint := t.endpoint.Load()
	page := loginPage{Title: t.Title, Suspended: t.Suspended}
	if r.URL.Query().Has("req") {
		pending, err := endpoint.Pending(r)
		if err != nil {
			endpoint.ShowError(w, r, err)
			return
		}
		page.asked = askedOf(pending)
	}
	page.Username = page.Hint
	if r.Method != http.MethodPost {
		t.frame().show(w, http.StatusOK, "login", page)
		return
	}
	if r.PostForm.Get("decision") == "deny" {
		endpoint.Deny(w, r)
		return
	}
	page.Username = r.PostForm.Get("username")
	if !t.knows(page.Username, r.PostForm.Get("password")) {
		page.Wrong = true
		t.frame().show(w, http.StatusForbidden, "login", page)
		return
	}
	cookies, _ := t.sessions.(*session.Cookies)
	if _, err := cookies.SignIn(w, r, session.Session{Subject: page.Username}); err != nil {
		endpoint.ShowError(w, r, err)
	} else if !endpoint.Resume(w, r) {
		http.Redirect(w, r, "/", http.StatusSeeOther) // an ordinary sign-in, without a client
	}
}
