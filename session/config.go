package session

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

const (
	defaultName     = "usher-session"
	defaultIdle     = 30 * time.Minute
	defaultAbsolute = 12 * time.Hour
)

// maxAccounts is the most that [Config.Accounts] can be, and so the most values that
// one cookie can have.
const maxAccounts = 8

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
