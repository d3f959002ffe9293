package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	defaultName     = "usher-session"
	defaultIdle     = 30 * time.Minute
	defaultAbsolute = 12 * time.Hour
)

// touchInterval is the most that a session's last use may be out of date in the
// store; see [Config.Idle].
const touchInterval = time.Minute

// valueBytes is how many random bytes a cookie's value is made of.
const valueBytes = 32

// maxAccounts is the most that [Config.Accounts] can be, and so the most values that
// one cookie can have.
const maxAccounts = 8

// maxDeleted is how many sessions one request can end. A browser sends one cookie of
// our name, or a few where the name has no __Host- prefix and other programs on the host
// set it for other paths. More are an attempt to make each cost a store call.
const maxDeleted = 16

// Config configures [NewCookies]. The zero value is ready for use on https.
type Config struct {
	// Store keeps the sessions. Nil means a [Memory] of the default size: sessions
	// then end with the process, and no other process knows them.
	Store Store

	// Insecure is for development over plain http on a loopback address, and for
	// nothing else: the cookie then has neither the Secure attribute nor the __Host-
	// prefix, because not every browser takes such a cookie over http. What is lost
	// is that the cookie travels encrypted only, and that no other host name or
	// path of the site can set it.
	Insecure bool

	// Name names the cookie. Empty means "usher-session". "__Host-" is put before it,
	// which makes browsers refuse the cookie unless this very host set it over https
	// for all its paths (RFC 6265bis §4.1.3.2); with Insecure it stands alone. It
	// must be a token (RFC 6265 §4.1.1), and must not begin with two underscores:
	// names of that form mean something to browsers. No other program on the host may
	// use the same name: each would end the other's sessions. "session" is what many
	// frameworks call theirs.
	Name string

	// Accounts is how many users can be signed in at once in one browser. One of them
	// is the active one, who [Cookies.Session] returns; the others wait for
	// [Cookies.Choose]. Zero means 1: a sign-in takes the place of the one before. At
	// most 8; more, or a negative number, is an error. A value made smaller holds at
	// once: of a browser that has more accounts, the first ones count.
	//
	// Which accounts a browser has is in its cookie and nowhere else. Of two answers
	// that change them at the same time the browser keeps the cookie of the later one,
	// and a session that is missing there waits for its expiry.
	Accounts int

	// Idle is how long a session lasts without being used. Zero means 30 minutes, or
	// Absolute where that is shorter. It is an error if it is negative or longer
	// than Absolute. It does not end a sign-in that is [Session].Persistent, unless its
	// second factor is pending.
	//
	// The store is told of a use only if the last one it knows of is a minute or a
	// tenth of Idle ago, whichever is shorter, which makes about one write per
	// minute for a session in constant use. (Requests that arrive together may each
	// write once.) A session can therefore end that much earlier than Idle after its
	// last use, and never later. What is written of a persistent session is when it was
	// last used.
	Idle time.Duration

	// Absolute is how long a session lasts at most, however much it is used, a
	// persistent one too: a host that keeps its users signed in for a month says so
	// here. Zero means 12 hours; a negative value is an error. A value made shorter
	// holds at once for the sessions that are already there; one made longer does not
	// lengthen them.
	Absolute time.Duration

	// Now tells the time. Nil means [time.Now].
	Now func() time.Time

	// Logger is told of the one failure that no method returns: that the use of a
	// session could not be recorded. Nil discards it. No cookie value and no key is
	// logged.
	Logger *slog.Logger
}

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

// NewCookies returns a keeper for the configuration, which it copies. The error names
// the field of [Config] that is wrong.
func NewCookies(cfg Config) (*Cookies, error) {
	c := &Cookies{
		store:    cfg.Store,
		name:     cfg.Name,
		secure:   !cfg.Insecure,
		accounts: cfg.Accounts,
		idle:     cfg.Idle,
		absolute: cfg.Absolute,
		clock:    cfg.Now,
		log:      cfg.Logger,
	}
	if c.name == "" {
		c.name = defaultName
	}
	if err := (&http.Cookie{Name: c.name}).Valid(); err != nil {
		return nil, fmt.Errorf("session: Config.Name: %q is not a token", c.name)
	}
	if strings.HasPrefix(c.name, "__") {
		return nil, fmt.Errorf("session: Config.Name: %q begins with two underscores", c.name)
	}
	if c.secure {
		c.name = "__Host-" + c.name
	}
	if c.accounts == 0 {
		c.accounts = 1
	}
	if c.accounts < 0 || c.accounts > maxAccounts {
		return nil, fmt.Errorf("session: Config.Accounts: %d is not between 0 and %d", c.accounts, maxAccounts)
	}
	if c.absolute == 0 {
		c.absolute = defaultAbsolute
	}
	if c.absolute < 0 {
		return nil, fmt.Errorf("session: Config.Absolute: %v is negative", c.absolute)
	}
	if c.idle == 0 {
		c.idle = min(defaultIdle, c.absolute)
	}
	if c.idle < 0 {
		return nil, fmt.Errorf("session: Config.Idle: %v is negative", c.idle)
	}
	if c.idle > c.absolute {
		return nil, fmt.Errorf("session: Config.Idle: %v is longer than Absolute, %v", c.idle, c.absolute)
	}
	if c.clock == nil {
		c.clock = time.Now
	}
	if c.store == nil {
		c.store = NewMemory(MemoryConfig{Now: c.clock})
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	return c, nil
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
		return nil, fmt.Errorf("session: sign in: the old session: %w", errors.Join(err, c.store.DeleteSession(ctx, s.ID)))
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
		return fmt.Errorf("session: sign out: the browser drops its cookie, but the session may be stored still: %w", err)
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

// old goes through the values in all cookies of our name, those that an earlier call has
// put into the response first.
func (c *Cookies) old(w http.ResponseWriter, r *http.Request) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range w.Header()["Set-Cookie"] {
			cookie, ours := c.valueIn(line)
			if ours && !yieldAll(split(cookie), yield) {
				return
			}
		}
		for cookie := range c.carried(r) {
			if !yieldAll(split(cookie), yield) {
				return
			}
		}
	}
}

// yieldAll hands over the values until one is enough.
func yieldAll(values []string, yield func(string) bool) bool {
	return !slices.ContainsFunc(values, func(v string) bool { return !yield(v) })
}

// held returns the values in the cookie that the request came with, the active
// account's first. There are none where it has no cookie of our name, a malformed one or
// more than one.
func (c *Cookies) held(r *http.Request) []string {
	cookie, found := "", false
	for v := range c.carried(r) {
		if found {
			return nil
		}
		cookie, found = v, true
	}
	return split(cookie)
}

// carried goes through the values of the cookies of our name that the request came
// with, well formed or not.
//
// It reads the header itself because net/http leaves out cookies with a malformed
// value and strips quotes, so that it can show one cookie where there were two. Of
// white space it knows only what RFC 6265 §4.2.1 allows: taking off more, such as a
// no-break space, would turn a name that browsers do not protect into one with the
// __Host- prefix.
func (c *Cookies) carried(r *http.Request) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range r.Header["Cookie"] {
			for pair := range strings.SplitSeq(line, ";") {
				if value, ok := c.valueIn(pair); ok && !yield(value) {
					return
				}
			}
		}
	}
}

// valueIn returns the value of a cookie of our name, out of one pair of a Cookie
// header or one Set-Cookie header. ok is false for other cookies.
func (c *Cookies) valueIn(s string) (value string, ok bool) {
	pair, _, _ := strings.Cut(s, ";")
	name, value, ok := strings.Cut(strings.Trim(pair, " \t"), "=")
	return value, ok && name == c.name
}

// setCookie sets the cookie in the headers of w, in place of one that is already there,
// and in those of r. It has the values of the accounts, which may lead to nobody. Without
// any the browser drops the cookie.
func (c *Cookies) setCookie(w http.ResponseWriter, r *http.Request, accounts []account) {
	cookie := http.Cookie{
		Name:     c.name,
		Value:    strings.Join(valuesOf(accounts), "."),
		Path:     "/",
		MaxAge:   c.maxAge(accounts),
		Secure:   c.secure,
		HttpOnly: true,
		// Strict would hide the session from the very request that a client sends the
		// browser here with.
		SameSite: http.SameSiteLaxMode,
	}
	if len(accounts) == 0 {
		cookie.MaxAge = -1
	}
	var lines []string
	for _, line := range w.Header()["Set-Cookie"] {
		if _, ours := c.valueIn(line); !ours {
			lines = append(lines, line)
		}
	}
	w.Header()["Set-Cookie"] = append(lines, cookie.String())
	w.Header().Set("Cache-Control", "no-store")
	c.carry(r, cookie.Value)
}

// maxAge is how many seconds the cookie of the accounts lasts: as long as the one of them
// that ends last, or a second less. It is 0 if the cookie ends with the browser, because
// one of them does, or because there is nobody. A value that leads nowhere, or to what has
// expired, is no account and does not count.
func (c *Cookies) maxAge(accounts []account) int {
	now, last := c.now(), time.Time{}
	for _, a := range accounts {
		if a.rec == nil || !c.live(a.rec, now) {
			continue
		}
		if !a.rec.Persistent {
			return 0
		}
		if ends := c.ends(a.rec); ends.After(last) {
			last = ends
		}
	}
	if last.IsZero() {
		return 0
	}
	// Less than a second left is a second: 0 would not be written.
	return int(min(max(last.Sub(now)/time.Second, 1), math.MaxInt32))
}

// carry puts the cookie into the Cookie header of r, in place of all of our name that
// are there. An empty value only takes those away.
func (c *Cookies) carry(r *http.Request, value string) {
	var lines []string
	if value != "" {
		lines = append(lines, c.name+"="+value)
	}
	for _, line := range r.Header["Cookie"] {
		pairs := strings.Split(line, ";")
		others := slices.DeleteFunc(slices.Clone(pairs), func(pair string) bool {
			_, ours := c.valueIn(pair)
			return ours
		})
		if len(others) < len(pairs) {
			line = strings.Trim(strings.Join(others, ";"), " \t")
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	// A map of its own: whoever does not wait for this handler, as http.TimeoutHandler
	// at its limit, may be reading the one that it shares with r.
	r.Header = r.Header.Clone()
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	if len(lines) == 0 {
		delete(r.Header, "Cookie")
		return
	}
	// One line, as browsers send it: some programs read no more than the first.
	r.Header["Cookie"] = []string{strings.Join(lines, "; ")}
}

// now returns the time as it is stored.
func (c *Cookies) now() time.Time { return storable(c.clock()) }

// storable rounds a time down to what every store can give back unchanged.
func storable(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// earliest returns the first of some times.
func earliest(times ...time.Time) time.Time { return slices.MinFunc(times, time.Time.Compare) }

// newValue returns a value for a cookie that has not been before.
func newValue() string {
	var random [valueBytes]byte
	rand.Read(random[:])
	return base64.RawURLEncoding.EncodeToString(random[:])
}

// split returns the values that a cookie is made of, none if it cannot have come from
// setCookie: one is malformed, they are too many, or one is there twice.
func split(cookie string) []string {
	values := strings.SplitN(cookie, ".", maxAccounts+1)
	for i, value := range values {
		if i == maxAccounts || !wellFormed(value) || slices.Contains(values[:i], value) {
			return nil
		}
	}
	return values
}

// wellFormed reports whether value can have come from newValue, so that nothing else
// ever costs a call to the store.
func wellFormed(value string) bool {
	// The length is compared first because the decoder skips line ends.
	if len(value) != base64.RawURLEncoding.EncodedLen(valueBytes) {
		return false
	}
	random, err := base64.RawURLEncoding.Strict().DecodeString(value)
	return err == nil && len(random) == valueBytes
}

// storeKey returns the key that the session of a cookie value is stored under. A plain
// hash is enough, without salt or stretching, because the value is 256 random bits.
func storeKey(value string) string {
	sum := sha256.Sum256([]byte(value))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
