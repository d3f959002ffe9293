package main

import (
	"net/http"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/session"
)

// loginPage is what login.html shows.
type loginPage struct {
	Client   string // empty without a request
	Username string
	Wrong    bool
}

func (s *server) login(w http.ResponseWriter, r *http.Request) {
	page := loginPage{}
	if r.FormValue("req") != "" {
		pending, err := s.endpoint.Pending(r)
		if err != nil {
			s.endpoint.ShowError(w, r, err)
			return
		}
		page = loginPage{Client: pending.Request.Client.DisplayName(), Username: pending.Request.LoginHint}
	}
	if r.Method != http.MethodPost {
		s.show(w, http.StatusOK, "login", page)
		return
	}
	if r.PostForm.Get("decision") == "deny" {
		s.endpoint.Deny(w, r)
		return
	}
	page.Username = r.PostForm.Get("username")
	if page.Username != "alice" || r.PostForm.Get("password") != "alice-password" {
		page.Wrong = true
		s.show(w, http.StatusForbidden, "login", page)
	} else if _, err := s.sessions.SignIn(w, r, session.Session{Subject: page.Username}); err != nil {
		s.endpoint.ShowError(w, r, err)
	} else if !s.endpoint.Resume(w, r) {
		http.Redirect(w, r, s.app, http.StatusSeeOther) // an ordinary sign-in, without a client
	}
}

// consentPage is what consent.html shows.
type consentPage struct {
	Client, Subject string
	Host            string      // where the response goes
	Scopes          []scopeLine // and claims
	Req             string
}

type scopeLine struct{ Name, Meaning string }

// meanings describe the scopes to users.
var meanings = map[string]string{
	"profile": "See your name and profile",
	"email":   "See your email address",
}

func (s *server) consent(w http.ResponseWriter, r *http.Request) {
	pending, err := s.endpoint.Pending(r)
	switch decision := r.PostFormValue("decision"); {
	case err != nil:
		s.endpoint.ShowError(w, r, err)
	case decision == "deny":
		s.endpoint.Deny(w, r) // counts even if another user is signed in by now
	case pending.Subject == "":
		s.endpoint.Resume(w, r) // another user is signed in: the endpoint asks that user
	case decision == "allow":
		s.endpoint.Grant(w, r, authorize.Granted{Scopes: pending.Request.Scopes})
	default:
		s.show(w, http.StatusOK, "consent", consentPageFor(pending))
	}
}

func consentPageFor(pending *authorize.Pending) consentPage {
	page := consentPage{
		Client:  pending.ClientName,
		Subject: pending.Subject,
		Host:    pending.RedirectHost,
		Req:     pending.JWT,
	}
	for _, scope := range pending.Request.Scopes {
		page.Scopes = append(page.Scopes, scopeLine{scope, meanings[scope]})
	}
	for _, claim := range pending.ClaimsBeyondScopes { // the user agrees to these with the scopes
		page.Scopes = append(page.Scopes, scopeLine{claim, "See something else about you"})
	}
	return page
}
