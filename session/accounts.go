package session

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
)

// Several accounts in one browser. The cookie holds a value for each, the active one's
// first and the others in the order in which they were active; see doc.go.

// Accounts returns the sessions of all users who are signed in in the browser that sent
// r, for a page on which one of them is chosen: the active one first, then the others,
// the one that was active last before all. There is one at most for each subject, and
// no more than [Config.Accounts] in all. An empty list means that there is nobody, for
// the same reasons as in [Cookies.Session].
//
// All of them are [Session.SignedIn]: a sign-in whose second factor is pending is not an
// account yet. The first is therefore not the active one if that one is pending or has
// expired; [Cookies.Session] says who is active.
//
// To be listed is not to be used: an account that is not chosen expires after
// [Config.Idle].
//
// An error is one of [Cookies.Session]; the list is then empty. The caller may keep and
// change what it gets.
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

// Choose makes the account of the subject the active one, and returns its session. Call
// it from the page on which the user chooses, before anything is written to w. It is no
// sign-in: the session is the one that was there, with its ID, AuthTime and SignedInAt,
// and is thereby used. The account that was active before is the next one from then on.
//
// Nil with a nil error means that the subject is not among [Cookies.Accounts] any more,
// and that nothing has changed: show the page again.
//
// A sign-in whose second factor is pending ends when another account is chosen. An error
// means that the store failed; the cookie is then as it was.
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

// SignOutAccount ends the session of one subject in the browser that sent r, and leaves
// the other accounts there. Call it before anything is written to w. If the account was
// the active one, nobody is signed in until the user chooses another or signs in:
// whoever signs out as one user does not find themselves acting as the next. The last one
// takes the cookie along.
//
// A subject who is not signed in there is not an error. Where the cookie is malformed or
// there more than once, and so nobody is signed in, SignOutAccount does what
// [Cookies.SignOut] does.
//
// If the store cannot say whose the sessions are, that is the error and nothing has
// changed. If it then fails to delete one, the browser forgets it all the same, as with
// [Cookies.SignOut].
func (c *Cookies) SignOutAccount(w http.ResponseWriter, r *http.Request, subject string) error {
	values := c.held(r)
	if len(values) == 0 {
		return c.SignOut(w, r)
	}
	var ended, left []account
	somebody := false // whether a value that is left leads anywhere
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
		// A value that leads nowhere keeps the next account from becoming active.
		left = append([]account{{value: newValue()}}, left...)
	}
	var errs []error
	for _, a := range ended {
		errs = append(errs, c.store.DeleteSession(r.Context(), storeKey(a.value)))
	}
	c.setCookie(w, r, left)
	return signOutError(errors.Join(errs...))
}

// account is a value of the cookie and the record that it leads to, nil for none.
type account struct {
	value string
	rec   *Record
}

// valuesOf returns what the cookie has of the accounts.
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
		// SignIn leaves one session of a subject in a browser; this is for cookies
		// that were put together from those of several.
		if !slices.ContainsFunc(found, func(a account) bool { return a.rec.Subject == rec.Subject }) {
			found = append(found, account{value, rec})
		}
	}
	return found, nil
}

// others returns the accounts that stay when the subject signs in. With room for one it
// is none, and the store is not asked.
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
