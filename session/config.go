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

// maxAccounts is the largest [Config.Accounts], and so the most values that one cookie can
// have.
const maxAccounts = 8

// Config configures [NewCookies]. The zero value is ready for use on https.
type Config struct {
	// Store keeps the sessions. Nil means a [Memory] of the default size: sessions then end
	// with the process, and other processes do not know them.
	Store Store

	// Insecure is only for development over plain http on a loopback address. The cookie
	// then has neither the Secure attribute nor the __Host- prefix, because not every
	// browser accepts such a cookie over http. So the cookie can be sent unencrypted, and
	// another host name or path of the site can set it.
	Insecure bool

	// Name names the cookie. Empty means "usher-session". The prefix "__Host-" is added,
	// except with Insecure. With it, browsers refuse the cookie unless this exact host set
	// it over https for all its paths (RFC 6265bis §4.1.3.2). The name must be a token (RFC
	// 6265 §4.1.1), and must not begin with two underscores: such names have a special
	// meaning for browsers. No other program on the host may use the same name: each would
	// end the other's sessions. Many frameworks use the name "session".
	Name string

	// Accounts is how many users can be signed in at once in one browser. One of them is
	// the active one, which [Cookies.Session] returns; the others wait for
	// [Cookies.Choose]. Zero means 1: a sign-in replaces the one before. At most 8; more,
	// or a negative number, is an error. A smaller value takes effect at once: in a browser
	// that has more accounts, only the first ones count.
	//
	// Only the cookie knows which accounts a browser has. If two responses change them at
	// the same time, the browser keeps the cookie of the later one. A session that is
	// missing there stays in the store until it expires.
	Accounts int

	// Idle is how long a session lasts without being used. Zero means 30 minutes, or
	// Absolute if that is shorter. A negative value, or one longer than Absolute, is an
	// error. Idle does not end a sign-in that is [Session].Persistent, unless its second
	// factor is pending.
	//
	// A use is written to the store only if the last stored use is at least a minute or a
	// tenth of Idle ago, whichever is shorter. That is about one write per minute for a
	// session in constant use. (Requests that arrive together may each write once.) A
	// session can therefore end earlier than Idle after its last use, by up to that time,
	// but never later. For a persistent session too, the time of its last use is written.
	Idle time.Duration

	// Absolute is how long a session lasts at most, however much it is used. It also ends
	// persistent sessions: to keep users signed in for a month, set a month here. Zero
	// means 12 hours; a negative value is an error. A shorter value takes effect at once
	// for existing sessions; a longer one does not extend them.
	Absolute time.Duration

	// Now is the clock. Nil means [time.Now].
	Now func() time.Time

	// Logger gets the only failure that no method returns: the use of a session could not
	// be recorded. Nil: it is not logged. Cookie values and keys are never logged.
	Logger *slog.Logger
}

// NewCookies returns [Cookies] with the configuration, which it copies. The error names the
// wrong field of [Config].
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
