package main

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// ownRules come after those of the protocol and before any page.
//
// A request is for one entry point: of two nobody could say which one the flow is for.
// An x_method that does not exist is refused, because a client that is sent back without
// an error believes that the user has seen the page. A request without x_method is fine:
// it asks for the sign-in and consent alone.
func (s *server) ownRules(_ context.Context, r *authorize.Request) error {
	if len(r.Scopes) != 1 {
		return oautherr.InvalidScope.With("The scope has to be the id of one entry point.")
	}
	if r.Parameter(userTicket) != "" {
		// takeTickets would have taken one that came as it should.
		return oautherr.InvalidRequest.With("A user_ticket is for a browser that is sent here by GET.")
	}
	asked := r.Parameter("x_method")
	if asked != "" && !slices.ContainsFunc(s.methods, func(m method) bool { return m.name == asked }) {
		return oautherr.InvalidRequest.With("There is no such x_method.")
	}
	return nil
}

// visit is a signed-in user on one of the pages.
type visit struct {
	pending *authorize.Pending // nil: the user came without a request
	session *session.Session
	account account
	asked   asked
}

// visitor finds out who is here and why. If ok is false, it has answered: whoever is
// not signed in is sent to the login, by the endpoint if there is a request. So is
// another user than the one the page is for.
func (s *server) visitor(w http.ResponseWriter, r *http.Request) (v visit, ok bool) {
	if v.pending, v.asked, ok = s.requestOf(w, r); !ok {
		return visit{}, false
	}
	var err error
	if v.session, err = s.whoIsSignedIn(r); err != nil {
		s.endpoint.ShowError(w, r, err)
		return visit{}, false
	}
	if v.session.SignedIn() && (v.pending == nil || v.pending.Subject == v.session.Subject) {
		v.account, ok = s.accounts.find(v.session.Subject)
		if ok {
			return v, true
		}
	}
	if !s.endpoint.Resume(w, r) {
		http.Redirect(w, r, "/login", http.StatusSeeOther)
	}
	return visit{}, false
}

// done ends the page of a method: back to the client, or home.
func (s *server) done(w http.ResponseWriter, r *http.Request, v visit, method string) {
	if v.pending == nil {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	s.endpoint.Complete(w, r, method)
}

// accountPage is what the pages of the account show.
type accountPage struct {
	asked
	Account account
	Wrong   string
	Token   string  // home.html
	Shared  []share // consent.html
	Choice  []box   // newsletters.html
}

type (
	share struct{ EntryPoint, What string }
	box   struct {
		Name string
		On   bool
	}
)

// consent asks whether the client may have what its entry point shares. It comes
// before the page of any method.
func (s *server) consent(w http.ResponseWriter, r *http.Request) {
	if _, _, ok := s.requestOf(w, r); !ok || r.Method == http.MethodPost && s.cancelled(w, r) {
		return // a no is a no, whoever is signed in by now
	}
	v, ok := s.visitor(w, r)
	if !ok {
		return
	}
	if v.pending == nil {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	if r.Method == http.MethodPost && r.PostForm.Get("decision") == "allow" {
		s.endpoint.Grant(w, r, authorize.Granted{Scopes: v.pending.Request.Scopes})
		return
	}
	page := accountPage{asked: v.asked, Account: v.account}
	for _, id := range v.pending.Request.Scopes {
		page.Shared = append(page.Shared, share{id, entryPoints[id]})
	}
	s.show(w, http.StatusOK, "consent", page)
}

// editAccount is the page of x_method=edit-account.
func (s *server) editAccount(w http.ResponseWriter, r *http.Request) {
	v, ok := s.visitor(w, r)
	if !ok {
		return
	}
	page := accountPage{asked: v.asked, Account: v.account}
	switch {
	case r.Method == http.MethodGet:
		s.show(w, http.StatusOK, "edit-account", page)
		return
	case r.PostForm.Get("decision") != "leave":
		name := strings.TrimSpace(r.PostForm.Get("name"))
		if !goodName(name) {
			page.Wrong = badName
			s.show(w, http.StatusBadRequest, "edit-account", page)
			return
		}
		s.accounts.change(v.session.Subject, func(a *account) { a.Name = name })
	}
	s.done(w, r, v, "edit-account")
}

var newsletters = []string{"News", "Offers"}

// chooseNewsletters is the page of x_method=newsletters.
func (s *server) chooseNewsletters(w http.ResponseWriter, r *http.Request) {
	v, ok := s.visitor(w, r)
	if !ok {
		return
	}
	if r.Method == http.MethodPost {
		var chosen []string
		for _, name := range newsletters {
			if slices.Contains(r.PostForm["newsletter"], name) {
				chosen = append(chosen, name)
			}
		}
		if r.PostForm.Get("decision") != "leave" {
			s.accounts.change(v.session.Subject, func(a *account) { a.Newsletters = chosen })
		}
		s.done(w, r, v, "newsletters")
		return
	}
	page := accountPage{asked: v.asked, Account: v.account}
	for _, name := range newsletters {
		page.Choice = append(page.Choice, box{name, slices.Contains(v.account.Newsletters, name)})
	}
	s.show(w, http.StatusOK, "newsletters", page)
}

// home is the account without a request. Its form makes an access token, to try
// with the Authorization header.
func (s *server) home(w http.ResponseWriter, r *http.Request) {
	v, ok := s.visitor(w, r)
	if !ok {
		return
	}
	page := accountPage{Account: v.account}
	if r.Method == http.MethodPost {
		// By the cookie alone: a token that makes another would never end.
		current, err := s.cookies.Session(r)
		if err == nil && !current.SignedIn() {
			http.Redirect(w, r, "/login", http.StatusSeeOther)
			return
		}
		if err == nil {
			page.Token, err = s.tokens.issue(*current)
		}
		if err != nil {
			s.endpoint.ShowError(w, r, oautherr.TemporarilyUnavailable.Because(err))
			return
		}
	}
	s.show(w, http.StatusOK, "home", page)
}
