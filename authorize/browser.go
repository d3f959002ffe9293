package authorize

import (
	"cmp"
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A waiting request is bound to the browser that started it: a cookie holds a secret, and
// the signed request holds the hash of the secret. Each request has a cookie of its own, so
// that many tabs can wait at once.

// hasCookieOf reports whether this browser started the request, has not finished it yet,
// and still has its cookie. If not, earlier decisions for the request do not count:
// otherwise an attacker could start a request, let another person finish it and use the
// response.
func (h *Handler) hasCookieOf(r *http.Request, w *waiting) bool {
	cookies := r.CookiesNamed(h.cookieName(w.ID))
	if len(cookies) != 1 {
		return false
	}
	_, secret, _ := strings.Cut(cookies[0].Value, ".")
	return subtle.ConstantTimeCompare([]byte(hash(secret)), []byte(w.Browser)) == 1
}

// maxPendingCookies is how many requests can wait in one browser. A further request removes
// the cookie of the oldest, which starts anew when its tab comes back.
const maxPendingCookies = 8

func (h *Handler) cookiePrefix() string {
	if h.secure {
		return "__Host-usher-"
	}
	return "usher-"
}

// newID names a waiting request and its cookie.
func newID() string { return rand.Text() }

func (h *Handler) cookieName(id string) string { return h.cookiePrefix() + id }

// pendingCookies returns the cookie for a new request and, if the browser has too many,
// cookies that remove the oldest ones. The value starts with the time, so that the oldest
// can be found.
func (h *Handler) pendingCookies(r *http.Request, id, secret string, now time.Time) []*http.Cookie {
	value := strconv.FormatInt(now.UnixMilli(), 10) + "." + secret
	cookies := []*http.Cookie{h.pendingCookie(id, value, int(h.config.PendingLifetime/time.Second))}
	type old struct {
		name string
		at   int64
	}
	var waiting []old
	for _, c := range r.Cookies() {
		if strings.HasPrefix(c.Name, h.cookiePrefix()) && len(c.Name) == len(h.cookieName(id)) {
			at, _, _ := strings.Cut(c.Value, ".")
			since, _ := strconv.ParseInt(at, 10, 64)
			waiting = append(waiting, old{c.Name, since})
		}
	}
	slices.SortFunc(waiting, func(a, b old) int { return cmp.Compare(a.at, b.at) })
	for len(waiting) >= maxPendingCookies && len(cookies) <= maxPendingCookies {
		cookies = append(cookies, h.pendingCookie(strings.TrimPrefix(waiting[0].name, h.cookiePrefix()), "", -1))
		waiting = waiting[1:]
	}
	return cookies
}

func (h *Handler) pendingCookie(id, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name:     h.cookieName(id),
		Value:    value,
		Path:     "/",
		MaxAge:   maxAge,
		Secure:   h.secure,
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode,
	}
}
