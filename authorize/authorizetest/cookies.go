package authorizetest

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// cookieKind has the attributes of a cookie that a cookie jar does not return.
type cookieKind struct {
	sameSite http.SameSite
	secure   bool
}

var cookieKinds = []cookieKind{
	{http.SameSiteStrictMode, true}, {http.SameSiteStrictMode, false},
	{http.SameSiteLaxMode, true}, {http.SameSiteLaxMode, false},
	{http.SameSiteNoneMode, true},
}

// cookies keeps one jar per kind, because a jar knows nothing of SameSite and of
// the name prefixes.
type cookies struct {
	mu   sync.Mutex
	jars map[cookieKind]*cookiejar.Jar
}

func newCookies() *cookies {
	c := &cookies{jars: map[cookieKind]*cookiejar.Jar{}}
	for _, kind := range cookieKinds {
		// Without options New cannot fail.
		c.jars[kind], _ = cookiejar.New(nil)
	}
	return c
}

// kindOf returns the kind of a cookie. Without SameSite it is Lax, as in Chromium. But
// Chromium also sends such a cookie with a POST for two minutes.
func kindOf(cookie *http.Cookie) cookieKind {
	kind := cookieKind{cookie.SameSite, cookie.Secure}
	if kind.sameSite != http.SameSiteStrictMode && kind.sameSite != http.SameSiteNoneMode {
		kind.sameSite = http.SameSiteLaxMode
	}
	return kind
}

// acceptable reports whether browsers accept the cookie from u (RFC 6265bis §5.7).
// Secure cookies need https, even on loopback: only some browsers make an exception
// for it.
func acceptable(u *url.URL, cookie *http.Cookie) bool {
	name := strings.ToLower(cookie.Name)
	switch {
	case cookie.Secure && u.Scheme != "https":
		return false
	case cookie.SameSite == http.SameSiteNoneMode && !cookie.Secure:
		return false
	case strings.HasPrefix(name, "__secure-"):
		return cookie.Secure
	case strings.HasPrefix(name, "__host-"):
		return cookie.Secure && cookie.Domain == "" && cookie.Path == "/"
	}
	return true
}

// set stores the cookies that a response from u sets.
func (c *cookies) set(u *url.URL, set []*http.Cookie) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cookie := range set {
		if !acceptable(u, cookie) || u.Scheme != "https" && c.hasSecure(u, cookie.Name) {
			continue
		}
		for kind, jar := range c.jars {
			kept := *cookie
			if kind != kindOf(cookie) {
				kept.MaxAge = -1
			}
			jar.SetCookies(u, []*http.Cookie{&kept})
		}
	}
}

// hasSecure reports whether there is a Secure cookie of the name, which a page that
// came over http must not replace.
func (c *cookies) hasSecure(u *url.URL, name string) bool {
	over := *u
	over.Scheme = "https"
	for kind, jar := range c.jars {
		named := func(cookie *http.Cookie) bool { return cookie.Name == name }
		if kind.secure && slices.ContainsFunc(jar.Cookies(&over), named) {
			return true
		}
	}
	return false
}

// get returns the cookies that a request to u carries.
func (c *cookies) get(u *url.URL, crossSite bool, method string) []*http.Cookie {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []*http.Cookie
	for _, kind := range cookieKinds {
		switch {
		case kind.secure && u.Scheme != "https":
		case crossSite && kind.sameSite == http.SameSiteStrictMode:
		case crossSite && kind.sameSite == http.SameSiteLaxMode && method != http.MethodGet:
		default:
			found = append(found, c.jars[kind].Cookies(u)...)
		}
	}
	return found
}
