package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"
)

// touchInterval is the most that a session's last use may be out of date in the
// store; see [Config.Idle].
const touchInterval = time.Minute

// maxDeleted is how many sessions one request can end. A browser sends one cookie of
// our name, or a few where the name has no __Host- prefix and other programs on the host
// set it for other paths. More are an attempt to make each cost a store call.
const maxDeleted = 16

// Cookies keeps the sessions of a host that has none of its own: each sign-in is a
// record in a [Store], and the browser holds a cookie whose random value leads to it.
// It is made by [NewCookies], and its methods may be called by any number of
// goroutines at once.
//
// Its Session method is what the authorization endpoint asks; the host calls the
// others from its login and logout pages.
//
// Those that take w and r change who is signed in. They set the new cookie among the
// headers of w, and put it into the Cookie header of r in place of the old one: from
// then on r is a request of the new state, and so are copies that are made of it
// afterwards. So the page that signs a user in can go on with r at once. The other
// cookies of r stay as they are. r gets a header map of its own: copies made before, such
// as those of middleware around the page, keep the old one.
type Cookies struct {
	store    Store
	name     string
	secure   bool
	accounts int
	idle     time.Duration
	absolute time.Duration
	clock    func() time.Time
	log      *slog.Logger
}

// Session returns the session that the request's cookie leads to, and nil with a nil
// error where there is none: the cookie is absent, malformed or there more than once
// (nobody can say which is meant), or its session is unknown, signed out or expired.
// Idle and absolute expiry are checked here, whatever the store still holds. The
// value is looked for in the Cookie header and nowhere else.
//
// Of several accounts it is the active one. Where that one has expired, nobody is
// signed in: no other takes its place until the user chooses.
//
// A session whose second factor is pending is returned too, so that the page for the
// second factor knows whose it is. Ask [Session.SignedIn] before trusting one.
//
// An error means that the store failed, or returned another record than the one it was
// asked for; the session is then nil, and nobody may be taken to be signed in.
//
// A session that is found is thereby used, which puts off its idle expiry. Should the
// store fail to record that, the session is returned all the same and the failure
// logged: the worst it can do is to end the session early, and the next use tries
// again.
//
// The ID of the session is the key that the store keeps it under, a hash of the
// cookie's value and never that value. The caller may keep and change what it gets.
func (c *Cookies) Session(r *http.Request) (*Session, error) {
	values := c.held(r)
	if len(values) == 0 {
		return nil, nil
	}
	rec, err := c.find(r.Context(), values[0])
	if err != nil {
		return nil, err
	}
	if rec == nil || !c.live(rec, c.now()) {
		return nil, nil
	}
	c.use(r.Context(), rec)
	s := rec.Session.clone()
	return &s, nil
}

// SignIn makes s the session of the browser that sent r. Call it when the user has
// proved who they are, before anything is written to w; it sets the cookie among the
// headers of w, and Cache-Control to no-store, as a cached copy would hand the cookie
// to others.
//
// The session's cookie value is 256 new random bits every time, whatever cookie the
// request came with, and the session that it came with is deleted. So a value that
// somebody planted in the browser, or saw before the sign-in, is never one that leads to
// the user. Call SignIn again whenever what the session allows changes: when the second
// factor is there too, or another role is taken. Requests that are under way in the
// same browser at that moment find nobody signed in.
//
// With [Config.Accounts] above 1, s becomes the active account and those of other
// subjects stay, each with the value that it had. Deleted are the session that the same
// subject had, one whose second factor is pending, and where there are too many
// accounts the one that was active longest ago.
//
// Of s, Subject must not be empty. ID and SignedInAt are ignored and replaced: the one is
// new, and the other is now. AuthTime is set to now if it is zero; give the old session's
// where the user proved nothing new. The session that was stored is returned, with all
// three, and r carries its cookie from then on, as [Cookies] says.
//
// With Persistent the session outlives the browser ("keep me signed in"), until
// [Config.Absolute] ends it. The cookie outlives the browser only while every account in
// it is persistent: one cookie cannot do both, and who did not ask to be kept signed in
// must not be. If that one signs out, it does so again.
//
// The new session is stored first and the old ones deleted then. If either fails, no
// cookie is set and the error returned: nobody new is signed in, and the user who was
// may or may not still be. A full [Memory] gives an error that is [ErrFull]. It is an
// error too if the request has more of our cookies than [Cookies.SignOut] ends.
//
// Of two sign-ins on the same w and r the second counts, and the first is then one like
// any that r came with. With another r, the session of the first is deleted.
func (c *Cookies) SignIn(w http.ResponseWriter, r *http.Request, s Session) (*Session, error) {
	if s.Subject == "" {
		return nil, errors.New("session: sign in: Subject is empty")
	}
	others, err := c.others(r, s.Subject)
	if err != nil {
		return nil, fmt.Errorf("session: sign in: %w", err)
	}
	ctx, value, now := r.Context(), newValue(), c.now()
	s = s.clone()
	s.ID = storeKey(value)
	if s.AuthTime.IsZero() {
		s.AuthTime = now
	}
	s.AuthTime, s.SignedInAt = storable(s.AuthTime), now
	rec := &Record{
		Session:    s.clone(),
		CreatedAt:  now,
		LastSeenAt: now,
		EndsAt:     now.Add(c.absolute),
	}
	rec.ExpiresAt = c.expires(rec, now)
	if err := c.store.SaveSession(ctx, s.ID, rec); err != nil {
		return nil, fmt.Errorf("session: sign in: %w", err)
	}
	if err := c.deleteAllBut(w, r, valuesOf(others)); err != nil {
		// The new session goes again if it can. If it cannot, it waits for its
		// expiry, and nobody has the value that leads to it.
		return nil, fmt.Errorf("session: sign in: the old session: %w",
			errors.Join(err, c.store.DeleteSession(ctx, s.ID)))
	}
	c.setCookie(w, r, append([]account{{value, rec}}, others...))
	return &s, nil
}

// SignOut ends the sessions of the browser that sent r, those of all its accounts: they
// are deleted from the store, and the headers of w tell the browser to drop the cookie.
// Call it before anything is written to w. Nobody being signed in is not an error.
//
// Where the request has several cookies of our name, the sessions of all of them end: a
// browser may send them with Config.Insecure, in an order that others can choose. 16
// sessions that could be ours are the limit; if there are more it is an error, as the
// one that matters may be among the others.
//
// The cookie is dropped even after an error. The session may then still be stored:
// whoever else has the cookie's value can go on using it.
func (c *Cookies) SignOut(w http.ResponseWriter, r *http.Request) error {
	err := c.deleteAllBut(w, r, nil)
	c.setCookie(w, r, nil)
	return signOutError(err)
}

// signOutError says what a failed deletion means.
func signOutError(err error) error {
	if err != nil {
		return fmt.Errorf(
			"session: sign out: the browser drops its cookie, but the session may be stored still: %w", err)
	}
	return nil
}

// SignOutEverywhere ends every session of the subject, in all browsers. Call it when
// the account is disabled or deleted and when its password changes, after the change
// itself: a sign-in that was already under way would otherwise survive it. To keep the
// browser in which the password was changed, read its session before, and afterwards give
// [Cookies.SignIn] what of it still holds, such as ACR, AMR, Persistent and Data.
//
// After an error some of the sessions may still be there; call it again. An empty
// subject is an error, as it would end nothing.
func (c *Cookies) SignOutEverywhere(ctx context.Context, subject string) error {
	if subject == "" {
		return errors.New("session: sign out everywhere: the subject is empty")
	}
	if err := c.store.DeleteSessionsOf(ctx, subject); err != nil {
		return fmt.Errorf("session: sign out everywhere: %w", err)
	}
	return nil
}

// live reports whether a stored record still stands for somebody. A record that lacks
// its subject or one of its times does not.
func (c *Cookies) live(rec *Record, now time.Time) bool {
	return rec.Subject != "" &&
		now.Before(rec.ExpiresAt) &&
		now.Before(c.ends(rec)) &&
		(lasting(rec) || now.Before(rec.LastSeenAt.Add(c.idle)))
}

// lasting reports whether a sign-in lasts without being used. One whose second factor is
// pending does not: half of a sign-in has proved too little to be kept for long.
func lasting(rec *Record) bool { return rec.Persistent && !rec.SecondFactorPending }

// ends is when a record is over however much it is used.
func (c *Cookies) ends(rec *Record) time.Time {
	return earliest(rec.EndsAt, rec.CreatedAt.Add(c.absolute))
}

// expires is when a record that is used now is over unless it is used again.
func (c *Cookies) expires(rec *Record, now time.Time) time.Time {
	if lasting(rec) {
		return c.ends(rec)
	}
	return earliest(now.Add(c.idle), c.ends(rec))
}

// find returns the record that a value leads to, live or not, and nil where there is
// none.
func (c *Cookies) find(ctx context.Context, value string) (*Record, error) {
	key := storeKey(value)
	rec, err := c.store.FindSession(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("session: find: %w", err)
	}
	if rec != nil && rec.ID != key {
		return nil, errors.New("session: find: the store returned another session than the one asked for")
	}
	return rec, nil
}

// use tells the store that a live session is used, if it does not know yet.
func (c *Cookies) use(ctx context.Context, rec *Record) {
	now := c.now()
	if now.Sub(rec.LastSeenAt) < min(touchInterval, c.idle/10) {
		return
	}
	if err := c.store.TouchSession(ctx, rec.ID, now, c.expires(rec, now)); err != nil {
		c.log.WarnContext(ctx, "session: the use of a session was not recorded", "error", err)
	}
}

// deleteAllBut deletes the sessions that the request came with and those that an earlier
// call has put into this response, maxDeleted at most, but for those with the values to
// keep. All are tried, even if one fails.
func (c *Cookies) deleteAllBut(w http.ResponseWriter, r *http.Request, keep []string) error {
	var errs []error
	done := slices.Clone(keep)
	for value := range c.old(w, r) {
		if slices.Contains(done, value) {
			continue
		}
		if len(done) == len(keep)+maxDeleted {
			errs = append(errs, fmt.Errorf("the request has more than %d sessions in cookies of the name", maxDeleted))
			break
		}
		done = append(done, value)
		errs = append(errs, c.store.DeleteSession(r.Context(), storeKey(value)))
	}
	return errors.Join(errs...)
}

// now returns the time as it is stored.
func (c *Cookies) now() time.Time { return storable(c.clock()) }

// storable rounds a time down to what every store can give back unchanged.
func storable(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// earliest returns the first of some times.
func earliest(times ...time.Time) time.Time { return slices.MinFunc(times, time.Time.Compare) }
