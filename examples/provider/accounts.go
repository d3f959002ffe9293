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
// §3.1.2.1). A request without it gets the active account.
func (s *server) accountChoice() authorize.Interaction {
	return authorize.Interaction{Name: choosing, Prompt: "select_account", Page: s.path + "/accounts"}
}

// accountsPage is what accounts.html shows.
type accountsPage struct {
	Client   string // empty without a request
	Gone     bool   // the chosen account is no longer signed in
	Accounts []accountLine
	Another  string // the login page
	Req      string
}

type accountLine struct {
	Subject string
	Name    string // empty if unknown
	Since   string
	Active  bool
}

// showAccounts lists the accounts that are signed in, for a request or without one.
func (s *server) showAccounts(w http.ResponseWriter, r *http.Request) {
	if pending, ok := s.asked(w, r); ok {
		s.listAccounts(w, r, pending, http.StatusOK)
	}
}

// decideAccounts handles the form: it continues with one account, or signs one out.
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

// goOn ends a page that has made an account the active one. The request continues with
// this account.
func (s *server) goOn(w http.ResponseWriter, r *http.Request, pending *authorize.Pending) {
	switch {
	case pending == nil:
		s.redirect(w, r, "/")
	case pending.Interaction == choosing: // chosen there, or on the login page as another account
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

// accountsFor returns the accounts that the request may use. If the request names a user,
// it is only this one; without a request, it is all of them.
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

// canChoose reports whether the user may choose a signed-in account instead of signing in.
// If the endpoint requires a new sign-in, this is not enough.
func (s *server) canChoose(r *http.Request, pending *authorize.Pending) (bool, error) {
	inPlace := []authorize.Reason{authorize.ReasonNotSignedIn, authorize.ReasonOtherUser, authorize.ReasonInteraction}
	if pending != nil && !slices.Contains(inPlace, pending.Reason) {
		return false, nil
	}
	accounts, err := s.accountsFor(r, pending)
	return len(accounts) > 0, err
}

// asked returns the request for which a page is shown, nil if there is none. If ok is
// false, it has written the response.
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

// pageFor is the URL of a page of the provider, with the request if there is one.
func pageFor(page string, pending *authorize.Pending) string {
	switch {
	case pending != nil:
		return page + "?req=" + url.QueryEscape(pending.JWT)
	case page == "/login":
		return page + "?another" // a login page even if somebody is signed in
	}
	return page
}

// name is the user's name, empty if it is unknown.
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
