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

// ownRules apply after the rules of the protocol and before any page.
//
// A request is for one entry point, because a flow is for one. An unknown x_method is
// refused: otherwise the client would get no error and believe that the user has seen the
// page. A request without x_method is valid: it asks only for sign-in and consent.
func (s *server) ownRules(_ context.Context, r *authorize.Request) error {
	if len(r.Scopes) != 1 {
		return oautherr.InvalidScope.With("The scope has to be the name of one entry point.")
	}
	if r.Parameter(userTicket) != "" {
		// takeTickets has removed each ticket that was sent correctly.
		return oautherr.InvalidRequest.With("A user_ticket has to come once, by GET, when a browser opens a page.")
	}
	asked := r.Parameter("x_method")
	if asked != "" && !slices.ContainsFunc(s.methods, func(m method) bool { return m.name == asked }) {
		return oautherr.InvalidRequest.With("This x_method does not exist.")
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

// visitor returns the user and the request. If ok is false, it has written the response: if
// nobody is signed in, or another user than the page is for, it sends the browser to the
// login, through the endpoint if there is a request.
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

// accountPage is the content of the account pages.
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

// consent asks whether the client may have the data of its entry point. It comes before the
// page of a method.
func (s *server) consent(w http.ResponseWriter, r *http.Request) {
	if _, _, ok := s.requestOf(w, r); !ok || r.Method == http.MethodPost && s.cancelled(w, r) {
		return // the refusal counts even if another user is signed in by now
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

// home is the account page without a request. Its form makes an access token, to try the
// Authorization header.
func (s *server) home(w http.ResponseWriter, r *http.Request) {
	v, ok := s.visitor(w, r)
	if !ok {
		return
	}
	page := accountPage{Account: v.account}
	if r.Method == http.MethodPost {
		// Only the cookie counts: if tokens could make tokens, access would never end.
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
