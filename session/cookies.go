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

// touchInterval is the longest time by which the stored last use of a session may be out of
// date; see [Config.Idle].
const touchInterval = time.Minute

// maxDeleted is how many sessions one request can end. A browser sends one cookie of our
// name, or a few if the name has no __Host- prefix and other programs on the host set it
// for other paths. A request with more is an attack: each would cost a store call.
const maxDeleted = 16

// Cookies keeps the sessions of a host that has none of its own. Each sign-in is a record
// in a [Store], and the browser holds a cookie whose random value leads to it. [NewCookies]
// returns one. Its methods may be called by any number of goroutines at once.
//
// The authorization endpoint calls its method Session. The host calls the others from its
// login and logout pages.
//
// The methods that take w and r change who is signed in. They set the new cookie in the
// headers of w, and also put it into the Cookie header of r, in place of the old one. From
// then on r, and every copy made of it later, has the new state, so the page that signs a
// user in can continue with r at once. The other cookies of r stay as they are. r gets a
// new header map: earlier copies of r, such as those of middleware around the page, keep
// the old one.
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

// Session returns the session that the request's cookie leads to. It returns nil and a nil
// error if there is none: the cookie is absent, malformed or sent more than once (it is not
// clear which is meant), or its session is unknown, signed out or expired. Idle and
// absolute expiry are checked here, even if the store still has the session. The cookie is
// read only from the Cookie header.
//
// With several accounts it is the session of the active one. If that one has expired,
// nobody is signed in until the user chooses another or signs in.
//
// A session whose second factor is pending is returned too, so that the page for the second
// factor knows the user. Check [Session.SignedIn] before you trust a session.
//
// An error means that the store failed or returned the wrong record. The session is then
// nil: treat the user as not signed in.
//
// Finding a session counts as a use, which delays its idle expiry. If the store fails to
// record the use, the session is returned all the same and the failure is logged. At worst
// the session ends too early, and the next use tries again.
//
// The ID of the session is its key in the store, a hash of the cookie's value and never
// that value. The caller may keep and change the session.
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

// SignIn makes s the session of the browser that sent r. Call it when the user has proved
// who they are, before anything is written to w. It sets the cookie in the headers of w,
// and Cache-Control to no-store, because a cached copy would give the cookie to others.
//
// The cookie value is always 256 new random bits, and the session that the request came
// with is deleted. So a value that somebody planted in the browser, or saw before the
// sign-in, never leads to the user. Call SignIn again whenever the rights of the session
// change: after the second factor, or when the user takes another role. Requests of the
// same browser that are being processed at that moment find nobody signed in.
//
// With [Config.Accounts] above 1, s becomes the active account. The accounts of other
// subjects stay, each with its old value. SignIn deletes the old session of the same
// subject, a session whose second factor is pending and, if there are too many accounts,
// the one that was active longest ago.
//
// s.Subject must not be empty. s.ID and s.SignedInAt are ignored: ID is new, and SignedInAt
// is now. AuthTime is set to now if it is zero; pass that of the old session if the user
// gave no new proof. SignIn returns the stored session, with all three. r carries its
// cookie from then on, as [Cookies] says.
//
// With Persistent the session outlives the browser ("keep me signed in"), until
// [Config.Absolute] ends it. The cookie outlives the browser only while every account in it
// is persistent: one cookie cannot do both, and a user who did not ask to stay signed in
// must not stay signed in. When the last such user signs out, the cookie outlives the
// browser again.
//
// SignIn first stores the new session and then deletes the old ones. If either fails, it
// sets no cookie and returns the error: the new user is not signed in, and the old user may
// or may not still be. The error of a full [Memory] wraps [ErrFull]. It is also an error if
// the request has more of our cookies than [Cookies.SignOut] ends.
//
// If SignIn is called twice with the same w and r, the second call counts, and the first
// session is treated like one that r came with. With another r, the first session is
// deleted.
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
		// The new session is deleted again. If that fails, it stays until it expires, and
		// nobody has the value that leads to it.
		return nil, fmt.Errorf("session: sign in: the old session: %w",
			errors.Join(err, c.store.DeleteSession(ctx, s.ID)))
	}
	c.setCookie(w, r, append([]account{{value, rec}}, others...))
	return &s, nil
}

// SignOut ends the sessions of all accounts of the browser that sent r. It deletes them
// from the store, and the headers of w tell the browser to drop the cookie. Call it before
// anything is written to w. It is not an error if nobody is signed in.
//
// If the request has several cookies of our name, the sessions of all of them end: with
// Config.Insecure a browser may send several, in an order that others can choose. At most
// 16 sessions are ended. If there are more, it is an error, because the user's own session
// may be among the rest.
//
// The cookie is dropped even after an error. The session may then still be stored, and
// anybody else who has the cookie's value can still use it.
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

// SignOutEverywhere ends every session of the subject, in all browsers. Call it after the
// account was disabled or deleted, or after its password was changed. If it is called
// before the change, a sign-in in progress can survive it. To keep the user signed in in
// the browser in which the password was changed, read the session before, and afterwards
// call [Cookies.SignIn] with its values that are still true, such as ACR, AMR, Persistent
// and Data.
//
// After an error some of the sessions may still exist; call it again. An empty subject is
// an error, because it would end nothing.
func (c *Cookies) SignOutEverywhere(ctx context.Context, subject string) error {
	if subject == "" {
		return errors.New("session: sign out everywhere: the subject is empty")
	}
	if err := c.store.DeleteSessionsOf(ctx, subject); err != nil {
		return fmt.Errorf("session: sign out everywhere: %w", err)
	}
	return nil
}

// live reports whether a stored record is still valid. A record without its subject or one
// of its times is not.
func (c *Cookies) live(rec *Record, now time.Time) bool {
	return rec.Subject != "" &&
		now.Before(rec.ExpiresAt) &&
		now.Before(c.ends(rec)) &&
		(lasting(rec) || now.Before(rec.LastSeenAt.Add(c.idle)))
}

// lasting reports whether a sign-in lasts without being used. A sign-in whose second factor
// is pending does not: it has proved too little to be kept for long.
func lasting(rec *Record) bool { return rec.Persistent && !rec.SecondFactorPending }

// ends returns when a record expires however much it is used.
func (c *Cookies) ends(rec *Record) time.Time {
	return earliest(rec.EndsAt, rec.CreatedAt.Add(c.absolute))
}

// expires returns when a record that is used now expires unless it is used again.
func (c *Cookies) expires(rec *Record, now time.Time) time.Time {
	if lasting(rec) {
		return c.ends(rec)
	}
	return earliest(now.Add(c.idle), c.ends(rec))
}

// find returns the record that a value leads to, live or not, and nil if there is none.
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

// use records the use of a live session in the store, if the last recorded use is old
// enough.
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
// call has put into this response, except those in keep, and at most maxDeleted. It tries
// all of them, even if one fails.
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

// now returns the time in the precision of the store.
func (c *Cookies) now() time.Time { return storable(c.clock()) }

// storable rounds a time down to a precision that every store can return unchanged.
func storable(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// earliest returns the earliest of the times.
func earliest(times ...time.Time) time.Time { return slices.MinFunc(times, time.Time.Compare) }
