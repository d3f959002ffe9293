package session

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
)

// Several accounts in one browser. The cookie holds a value for each: first that of the
// active account, then those of the others, the most recently active first; see doc.go.

// Accounts returns the sessions of all users who are signed in in the browser that sent r,
// for a page on which the user chooses one. The active one comes first, then the others,
// the most recently active first. There is at most one for each subject, and at most
// [Config.Accounts] in total. An empty list means that nobody is signed in, for the same
// reasons as in [Cookies.Session].
//
// All of them are [Session.SignedIn]: a sign-in whose second factor is pending is not an
// account yet. So if the active one is pending or has expired, the first in the list is
// another; [Cookies.Session] says who is active.
//
// Listing a session does not count as use: an account that is not chosen expires after
// [Config.Idle].
//
// The errors are those of [Cookies.Session]; the list is then empty. The caller may keep
// and change the sessions.
func (c *Cookies) Accounts(r *http.Request) ([]*Session, error) {
	found, err := c.signedIn(r)
	if err != nil {
		return nil, err
	}
	var sessions []*Session
	for _, a := range found {
		s := a.rec.Session.clone()
		sessions = append(sessions, &s)
	}
	return sessions, nil
}

// Choose makes the account of the subject the active one, and returns its session. Call it
// from the page on which the user chooses, before anything is written to w. It is not a
// sign-in: the session keeps its ID, AuthTime and SignedInAt. It counts as a use of the
// session. The account that was active before comes second from then on.
//
// A nil session with a nil error means that the subject is no longer among
// [Cookies.Accounts]. Nothing has changed then: show the page again.
//
// A sign-in whose second factor is pending ends when another account is chosen. An error
// means that the store failed; the cookie is then unchanged.
func (c *Cookies) Choose(w http.ResponseWriter, r *http.Request, subject string) (*Session, error) {
	found, err := c.signedIn(r)
	if err != nil {
		return nil, fmt.Errorf("session: choose: %w", err)
	}
	i := slices.IndexFunc(found, func(a account) bool { return a.rec.Subject == subject })
	if i < 0 {
		return nil, nil
	}
	chosen := found[i]
	accounts := append([]account{chosen}, slices.Delete(found, i, i+1)...)
	if err := c.deleteAllBut(w, r, valuesOf(accounts)); err != nil {
		return nil, fmt.Errorf("session: choose: %w", err)
	}
	c.use(r.Context(), chosen.rec)
	c.setCookie(w, r, accounts)
	s := chosen.rec.Session.clone()
	return &s, nil
}

// SignOutAccount ends the session of one subject in the browser that sent r, and keeps the
// other accounts. Call it before anything is written to w. If the account was the active
// one, nobody is signed in until the user chooses another or signs in, so that nobody acts
// as another user by surprise. With the last account the cookie is removed too.
//
// It is not an error if the subject is not signed in there. If nobody is signed in because
// the cookie is absent, malformed or sent more than once, SignOutAccount does the same as
// [Cookies.SignOut].
//
// If the store cannot find the sessions, SignOutAccount returns its error and changes
// nothing. If the store then fails to delete a session, the browser drops it all the same,
// as with [Cookies.SignOut].
func (c *Cookies) SignOutAccount(w http.ResponseWriter, r *http.Request, subject string) error {
	values := c.held(r)
	if len(values) == 0 {
		return c.SignOut(w, r)
	}
	var ended, left []account
	somebody := false // whether a remaining value leads to a session
	for _, value := range values {
		rec, err := c.find(r.Context(), value)
		switch {
		case err != nil:
			return fmt.Errorf("session: sign out: nobody is signed out: %w", err)
		case rec != nil && rec.Subject == subject:
			ended = append(ended, account{value, rec})
		default:
			left = append(left, account{value, rec})
			somebody = somebody || rec != nil
		}
	}
	switch {
	case len(ended) == 0:
		return nil
	case !somebody:
		left = nil
	case left[0].value != values[0]:
		// A first value without a session prevents that the next account becomes active.
		left = append([]account{{value: newValue()}}, left...)
	}
	var errs []error
	for _, a := range ended {
		errs = append(errs, c.store.DeleteSession(r.Context(), storeKey(a.value)))
	}
	c.setCookie(w, r, left)
	return signOutError(errors.Join(errs...))
}

// account is a value of the cookie and its record; nil if it has none.
type account struct {
	value string
	rec   *Record
}

// valuesOf returns the cookie values of the accounts.
func valuesOf(accounts []account) []string {
	var values []string
	for _, a := range accounts {
		values = append(values, a.value)
	}
	return values
}

// signedIn returns the accounts of the browser, as [Cookies.Accounts] describes them.
func (c *Cookies) signedIn(r *http.Request) ([]account, error) {
	values := c.held(r)
	values = values[:min(len(values), c.accounts)]
	var found []account
	for _, value := range values {
		rec, err := c.find(r.Context(), value)
		if err != nil {
			return nil, err
		}
		if rec == nil || !c.live(rec, c.now()) || !rec.SignedIn() {
			continue
		}
		// SignIn keeps only one session of a subject in a browser. This is for a cookie
		// that somebody has combined from several.
		if !slices.ContainsFunc(found, func(a account) bool { return a.rec.Subject == rec.Subject }) {
			found = append(found, account{value, rec})
		}
	}
	return found, nil
}

// others returns the accounts that stay when the subject signs in. With room for only one
// account there are none, and the store is not asked.
func (c *Cookies) others(r *http.Request, subject string) ([]account, error) {
	if c.accounts == 1 {
		return nil, nil
	}
	found, err := c.signedIn(r)
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(a account) bool { return a.rec.Subject == subject })
	return found[:min(len(found), c.accounts-1)], nil
}
