package main

import (
	"net/http"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/session"
)

// asked is the part of the request that the pages show. It is empty without a request. Req is
// sent back with the form.
type asked struct{ Client, Host, Req string }

// requestOf returns the request of a page, nil if the user came without one. If ok is false,
// it has written the response.
func (s *server) requestOf(w http.ResponseWriter, r *http.Request) (p *authorize.Pending, a asked, ok bool) {
	if r.FormValue("req") == "" {
		return nil, asked{}, true
	}
	p, err := s.endpoint.Pending(r)
	if err != nil {
		s.endpoint.ShowError(w, r, err)
		return nil, asked{}, false
	}
	return p, asked{p.Request.Client.DisplayName(), p.Request.RedirectHost(), p.JWT}, true
}

// loginPage is what login.html and register.html show.
type loginPage struct {
	asked
	Username string
	Name     string
	Wrong    string
}

func (s *server) login(w http.ResponseWriter, r *http.Request) {
	_, from, ok := s.requestOf(w, r)
	if !ok {
		return
	}
	page := loginPage{asked: from}
	if r.Method == http.MethodGet {
		s.show(w, http.StatusOK, "login", page)
		return
	}
	if s.cancelled(w, r) {
		return
	}
	page.Username = r.PostForm.Get("username")
	if !s.accounts.check(page.Username, r.PostForm.Get("password")) {
		page.Wrong = "User name or password is wrong."
		s.show(w, http.StatusForbidden, "login", page)
		return
	}
	s.signIn(w, r, page.Username)
}

// register makes an account and signs its user in, as login does.
func (s *server) register(w http.ResponseWriter, r *http.Request) {
	_, from, ok := s.requestOf(w, r)
	if !ok {
		return
	}
	page := loginPage{asked: from}
	if r.Method == http.MethodGet {
		s.show(w, http.StatusOK, "register", page)
		return
	}
	if s.cancelled(w, r) {
		return
	}
	page.Username, page.Name = r.PostForm.Get("username"), r.PostForm.Get("name")
	if page.Wrong = s.accounts.create(page.Username, page.Name, r.PostForm.Get("password")); page.Wrong != "" {
		s.show(w, http.StatusBadRequest, "register", page)
		return
	}
	s.signIn(w, r, page.Username)
}

// cancelled sends access_denied to the client if the user refused.
func (s *server) cancelled(w http.ResponseWriter, r *http.Request) bool {
	if r.PostForm.Get("decision") != "deny" {
		return false
	}
	s.endpoint.Deny(w, r)
	return true
}

// signIn signs the user in and continues the request, if there is one.
func (s *server) signIn(w http.ResponseWriter, r *http.Request, username string) {
	if _, err := s.cookies.SignIn(w, r, session.Session{Subject: username}); err != nil {
		s.endpoint.ShowError(w, r, err)
	} else if !s.endpoint.Resume(w, r) {
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
}

func (s *server) logout(w http.ResponseWriter, r *http.Request) {
	current, err := s.cookies.Session(r)
	if err == nil && current != nil {
		s.tokens.revoke(current.ID)
	}
	if err = s.cookies.SignOut(w, r); err != nil {
		s.endpoint.ShowError(w, r, err)
		return
	}
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}
