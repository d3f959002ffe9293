package main

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// An app that holds a user's access token can send it in a header. A browser that the app
// redirects cannot send this header. So the app hands its user over, in three steps:
//
//  1. It redirects the browser to GET /handover. The browser gets a secret in a cookie,
//     and goes back to the app with the hash of the secret, in the parameter browser.
//  2. The app itself sends the hash to POST /handover, with the access token in the
//     Authorization header, and gets a ticket. The ticket works once, for one minute, for
//     this client and this browser.
//  3. The app redirects the browser to the endpoint, with the ticket in user_ticket. This
//     signs the user in and redirects to the same URL without the ticket.
//
// The ticket is bound to the browser because of this attack: Mallory sends a link with a
// ticket of her own to a victim, and later reads what the victim typed into her account.
// But the victim's browser does not have the secret of the ticket, and Mallory cannot give
// it a secret whose hash she knows. The hash goes only to registered redirect URIs, and an
// app continues only if it sent the browser itself.
//
// An invalid ticket, or one of another user than the one signed in, signs nobody in: the
// user is asked to sign in, and prompt=none is login_required. Otherwise the app could get
// a response for the wrong user. A browser changes its user only if its user agrees.

const (
	ticketLifetime  = time.Minute
	browserLifetime = 5 * time.Minute
	maxTickets      = 10_000
)

// userTicket is the name of the parameter.
const userTicket = "user_ticket"

// tickets keeps tickets, each for one use.
type tickets struct {
	mu     sync.Mutex
	byHash map[[sha256.Size]byte]ticket
	now    func() time.Time
}

type ticket struct {
	client  string
	browser string            // the hash of its secret
	token   [sha256.Size]byte // has to be valid when the ticket is used
	expires time.Time
}

func newTickets(now func() time.Time) *tickets {
	return &tickets{byHash: map[[sha256.Size]byte]ticket{}, now: now}
}

func (t *tickets) issue(x ticket) (text string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if len(t.byHash) >= maxTickets {
		maps.DeleteFunc(t.byHash, func(_ [sha256.Size]byte, x ticket) bool {
			return !now.Before(x.expires)
		})
	}
	if len(t.byHash) >= maxTickets {
		return "", errors.New("there are too many tickets")
	}
	text, x.expires = rand.Text(), now.Add(ticketLifetime)
	t.byHash[sha256.Sum256([]byte(text))] = x
	return text, nil
}

// take deletes the ticket, even if it turns out to be for somebody else.
func (t *tickets) take(text string) (x ticket, good bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	hash := sha256.Sum256([]byte(text))
	x, found := t.byHash[hash]
	delete(t.byHash, hash)
	return x, found && t.now().Before(x.expires)
}

// browserHash is the hash of a browser's secret.
func browserHash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

var browserHashes = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// browserCookie holds the secret. With the prefix __Host-, no other host can set it.
func (s *server) browserCookie(secret string, maxAge int) *http.Cookie {
	cookie := &http.Cookie{
		Name: "account-pages-browser", Value: secret, Path: "/", MaxAge: maxAge,
		HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	if strings.HasPrefix(s.issuer, "https:") {
		cookie.Name, cookie.Secure = "__Host-"+cookie.Name, true
	}
	return cookie
}

// opened reports whether the browser opens a page for the user, and not for a script or in
// advance.
func opened(r *http.Request) bool {
	mode := r.Header.Get("Sec-Fetch-Mode")
	return (mode == "" || mode == "navigate") && r.Header.Get("Sec-Purpose") == ""
}

// nameBrowser is step 1.
func (s *server) nameBrowser(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	back, err := url.Parse(query.Get("redirect_uri"))
	if err != nil || !opened(r) || !s.isRegistered(query.Get("client_id"), query.Get("redirect_uri")) {
		s.endpoint.ShowError(w, r, oautherr.InvalidRequest.With("No registered application made this request."))
		return
	}
	secret := rand.Text()
	http.SetCookie(w, s.browserCookie(secret, int(browserLifetime.Seconds())))
	back.RawQuery = url.Values{
		"browser": {browserHash(secret)}, "state": {query.Get("state")}, "iss": {s.issuer},
	}.Encode()
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	http.Redirect(w, r, back.String(), http.StatusSeeOther)
}

func (s *server) isRegistered(clientID, redirectURI string) bool {
	return slices.ContainsFunc(s.registered(), func(c authorize.Client) bool {
		return c.ID == clientID && len(c.ResponseTypes) > 0 &&
			slices.Contains(c.RedirectURIs, redirectURI)
	})
}

// makeTicket is step 2. The access token authorizes it; a browser of another user cannot
// send the token.
func (s *server) makeTicket(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	x := ticket{
		client: r.PostForm.Get("client_id"), browser: r.PostForm.Get("browser"),
		token: sha256.Sum256([]byte(token)),
	}
	switch {
	case !strings.EqualFold(scheme, "Bearer") || s.tokens.find(token) == nil:
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
		json.NewEncoder(w).Encode(map[string]string{"error": "invalid_token"})
		return
	case !browserHashes.MatchString(x.browser) || x.client == "":
		w.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(w).Encode(map[string]string{"error": "invalid_request"})
		return
	}
	text, err := s.tickets.issue(x)
	if err != nil {
		s.log.Warn("no ticket can be issued", "error", err)
		w.WriteHeader(http.StatusServiceUnavailable)
		json.NewEncoder(w).Encode(map[string]string{"error": "temporarily_unavailable"})
		return
	}
	json.NewEncoder(w).Encode(map[string]any{
		"ticket": text, "expires_in": int(ticketLifetime.Seconds()),
	})
}

// takeTickets is step 3, before the endpoint. It leaves some tickets in the request, such as
// two at once or one that was posted; ownRules refuses those.
func (s *server) takeTickets(endpoint http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, err := url.ParseQuery(r.URL.RawQuery)
		sent := query[userTicket]
		if err != nil || len(sent) != 1 || sent[0] == "" || r.Method != http.MethodGet || !opened(r) {
			endpoint.ServeHTTP(w, r)
			return
		}
		query.Del(userTicket)
		welcome, err := s.handOver(w, r, sent[0], query.Get("client_id"))
		if err != nil {
			s.endpoint.ShowError(w, r, oautherr.TemporarilyUnavailable.Because(err))
			return
		}
		if !welcome {
			query.Set("max_age", "0") // requires a new sign-in
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Referrer-Policy", "no-referrer")
		http.Redirect(w, r, s.issuer+"/oauth2/authorize?"+query.Encode(), http.StatusSeeOther)
	})
}

// handOver signs the ticket's user in, and reports whether this user is now signed in.
func (s *server) handOver(
	w http.ResponseWriter, r *http.Request, text, client string,
) (welcome bool, err error) {
	x, good := s.tickets.take(text)
	cookies := r.CookiesNamed(s.browserCookie("", 0).Name)
	if !good || x.client != client || len(cookies) != 1 ||
		subtle.ConstantTimeCompare([]byte(browserHash(cookies[0].Value)), []byte(x.browser)) != 1 {
		return false, nil
	}
	user := s.tokens.get(x.token)
	if user == nil {
		return false, nil
	}
	current, err := s.cookies.Session(r)
	if err != nil {
		return false, err
	}
	http.SetCookie(w, s.browserCookie("", -1))
	if current.SignedIn() {
		return current.Subject == user.Subject, nil
	}
	// A ticket is no new authentication, so the time of the sign-in stays the same.
	_, err = s.cookies.SignIn(w, r, session.Session{
		Subject: user.Subject, AuthTime: user.AuthTime, ACR: user.ACR, AMR: user.AMR,
	})
	return err == nil, err
}
