package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/usher-auth/usher/authorize"
)

// maxAccounts is how many users can be signed in at once in one browser.
const maxAccounts = 4

// choosing is the name of the interaction.
const choosing = "accounts"

// accountChoice is the page for prompt=select_account (OpenID Connect Core 1.0
// §3.1.2.1). Who does not ask for it gets the active account.
func (s *server) accountChoice() authorize.Interaction {
	return authorize.Interaction{Name: choosing, Prompt: "select_account", Page: s.path + "/accounts"}
}

// accountsPage is what accounts.html shows.
type accountsPage struct {
	Client   string // empty: nobody asked
	Gone     bool   // the account that was chosen is signed in no more
	Accounts []accountLine
	Another  string // the login page
	Req      string
}

type accountLine struct {
	Subject string
	Name    string // empty: none is known
	Since   string
	Active  bool
}

// showAccounts lists the accounts that are signed in, for a request or without one.
func (s *server) showAccounts(w http.ResponseWriter, r *http.Request) {
	if pending, ok := s.asked(w, r); ok {
		s.listAccounts(w, r, pending, http.StatusOK)
	}
}

// decideAccounts takes the form: go on as one of them, or sign one out.
func (s *server) decideAccounts(w http.ResponseWriter, r *http.Request) {
	pending, ok := s.asked(w, r)
	if !ok {
		return
	}
	switch {
	case r.PostForm.Has("account"):
		chosen, err := s.sessions.Choose(w, r, r.PostForm.Get("account"))
		switch {
		case err != nil:
			s.endpoint.ShowError(w, r, err)
		case chosen == nil: // it has expired, or was signed out in another tab
			s.listAccounts(w, r, pending, http.StatusConflict)
		default:
			s.goOn(w, r, pending)
		}
	case r.PostForm.Has("signout"):
		if err := s.sessions.SignOutAccount(w, r, r.PostForm.Get("signout")); err != nil {
			s.endpoint.ShowError(w, r, err)
			return
		}
		s.redirect(w, r, pageFor("/accounts", pending))
	case r.PostForm.Get("decision") == "deny" && pending != nil:
		s.endpoint.Deny(w, r)
	default:
		s.listAccounts(w, r, pending, http.StatusBadRequest)
	}
}

// goOn ends the pages on which somebody became the active account: it is the one that
// the request is answered for.
func (s *server) goOn(w http.ResponseWriter, r *http.Request, pending *authorize.Pending) {
	switch {
	case pending == nil:
		s.redirect(w, r, "/")
	case pending.Interaction == choosing: // there or, for another account, on the login page
		s.endpoint.Complete(w, r, choosing)
	default:
		s.endpoint.Resume(w, r)
	}
}

func (s *server) listAccounts(w http.ResponseWriter, r *http.Request, pending *authorize.Pending, status int) {
	accounts, err := s.accountsFor(r, pending)
	if err != nil {
		s.endpoint.ShowError(w, r, err)
		return
	}
	if len(accounts) == 0 {
		s.redirect(w, r, pageFor("/login", pending))
		return
	}
	page := accountsPage{
		Gone:     status == http.StatusConflict,
		Accounts: accounts,
		Another:  s.path + pageFor("/login", pending),
	}
	if pending != nil {
		page.Client, page.Req = pending.Request.Client.DisplayName(), pending.JWT
	}
	s.show(w, status, "accounts", page)
}

// accountsFor returns the accounts that the request can be answered for: if it names a
// user, no other. Nobody's request can be answered for all.
func (s *server) accountsFor(r *http.Request, pending *authorize.Pending) ([]accountLine, error) {
	accounts, err := s.sessions.Accounts(r)
	if err != nil {
		return nil, err
	}
	active, err := s.sessions.Session(r)
	if err != nil {
		return nil, err
	}
	var lines []accountLine
	for _, a := range accounts {
		if pending != nil && pending.Request.Subject != "" && pending.Request.Subject != a.Subject {
			continue
		}
		lines = append(lines, accountLine{
			Subject: a.Subject,
			Name:    s.users[a.Subject].name(),
			Since:   ago(s.now().Sub(a.AuthTime)),
			Active:  active.SignedIn() && active.ID == a.ID,
		})
	}
	return lines, nil
}

// canChoose reports whether an account that is signed in may do in place of a sign-in.
// Where the endpoint wants a new sign-in, none does.
func (s *server) canChoose(r *http.Request, pending *authorize.Pending) (bool, error) {
	inPlace := []authorize.Reason{authorize.ReasonNotSignedIn, authorize.ReasonOtherUser, authorize.ReasonInteraction}
	if pending != nil && !slices.Contains(inPlace, pending.Reason) {
		return false, nil
	}
	accounts, err := s.accountsFor(r, pending)
	return len(accounts) > 0, err
}

// asked returns the request that a page is shown for, nil where nobody asked. If ok is
// false, it has answered.
func (s *server) asked(w http.ResponseWriter, r *http.Request) (pending *authorize.Pending, ok bool) {
	err := readPageForm(w, r)
	if err == nil && carriesRequest(r) {
		pending, err = s.endpoint.Pending(r)
	}
	if err != nil {
		s.endpoint.ShowError(w, r, err)
	}
	return pending, err == nil
}

// pageFor is a page of the provider, for the request if there is one.
func pageFor(page string, pending *authorize.Pending) string {
	switch {
	case pending != nil:
		return page + "?req=" + url.QueryEscape(pending.JWT)
	case page == "/login":
		return page + "?another" // also for those who are signed in
	}
	return page
}

// name is what the user is called, empty if that is not known.
func (u user) name() string {
	var name string
	if json.Unmarshal(u.claims["name"], &name) != nil {
		return ""
	}
	return name
}

// ago says how long ago a sign-in was.
func ago(d time.Duration) string {
	count := func(n int, unit string) string {
		if n == 1 {
			return "1 " + unit + " ago"
		}
		return fmt.Sprintf("%d %ss ago", n, unit)
	}
	switch {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return count(int(d/time.Minute), "minute")
	}
	return count(int(d/time.Hour), "hour")
}
