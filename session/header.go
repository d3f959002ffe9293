package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"iter"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
)

// held returns the values in the request's cookie, that of the active account first. There
// are none if the request has no cookie of our name, a malformed one or more than one.
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

// old yields the values in all cookies of our name: first those that an earlier call has
// put into the response, then those of the request.
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

// yieldAll yields the values until yield returns false, and reports whether it yielded all.
func yieldAll(values []string, yield func(string) bool) bool {
	return !slices.ContainsFunc(values, func(v string) bool { return !yield(v) })
}

// carried yields the values of the request's cookies of our name, well formed or not.
//
// It reads the header itself, because net/http leaves out cookies with a malformed value
// and strips quotes, so that two cookies can look like one. It trims only the white space
// that RFC 6265 §4.2.1 allows. If it trimmed more, such as a no-break space, a name that
// browsers do not protect would become one with the __Host- prefix.
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

// valueIn returns the value of a cookie of our name in one pair of a Cookie header or in
// one Set-Cookie header. ok is false for other cookies.
func (c *Cookies) valueIn(s string) (value string, ok bool) {
	pair, _, _ := strings.Cut(s, ";")
	name, value, ok := strings.Cut(strings.Trim(pair, " \t"), "=")
	return value, ok && name == c.name
}

// setCookie sets the cookie in the headers of w and r, in place of one that is already
// there. It has the values of the accounts, even those without a session. Without accounts
// the browser drops the cookie.
func (c *Cookies) setCookie(w http.ResponseWriter, r *http.Request, accounts []account) {
	cookie := http.Cookie{
		Name:     c.name,
		Value:    strings.Join(valuesOf(accounts), "."),
		Path:     "/",
		MaxAge:   c.maxAge(accounts),
		Secure:   c.secure,
		HttpOnly: true,
		// With Strict, the browser would not send the cookie with the authorization
		// request, which comes from the client's site.
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

// maxAge returns how many seconds the cookie lasts: as long as the account that ends last,
// or up to a second less. It is 0 if the cookie ends with the browser: because an account
// does, or because there is none. A value without a session, or with an expired one, does
// not count.
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
	// At least one second: net/http does not write 0.
	return int(min(max(last.Sub(now)/time.Second, 1), math.MaxInt32))
}

// carry puts the cookie into the Cookie header of r, in place of all cookies of our name.
// With an empty value it only removes those.
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
	// A new map: code that does not wait for this handler, such as http.TimeoutHandler at
	// its limit, may be reading the old map at the same time.
	r.Header = r.Header.Clone()
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	if len(lines) == 0 {
		delete(r.Header, "Cookie")
		return
	}
	// One line, as browsers send it: some programs read only the first line.
	r.Header["Cookie"] = []string{strings.Join(lines, "; ")}
}

// valueBytes is how many random bytes a cookie's value is made of.
const valueBytes = 32

// newValue returns a new random value for a cookie.
func newValue() string {
	var random [valueBytes]byte
	rand.Read(random[:])
	return base64.RawURLEncoding.EncodeToString(random[:])
}

// split returns the values in a cookie. There are none if setCookie cannot have made the
// cookie: a value is malformed or repeated, or there are too many.
func split(cookie string) []string {
	values := strings.SplitN(cookie, ".", maxAccounts+1)
	for i, value := range values {
		if i == maxAccounts || !wellFormed(value) || slices.Contains(values[:i], value) {
			return nil
		}
	}
	return values
}

// wellFormed reports whether newValue can have made the value. Only for such a value is the
// store called.
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
