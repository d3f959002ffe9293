package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/usher-auth/usher/session"
)

// A ticket is the sign-in that the login process hands to the endpoint: a cookie
// that one signs and the other verifies. Ports of a host share cookies, so it
// reaches both. Nobody can take one back before it ends: two processes that share a
// store would use session.Cookies instead.
type ticket struct {
	Tenant  string `json:"tenant"` // it counts nowhere else
	Subject string `json:"sub"`
	ID      string `json:"id"`
	At      int64  `json:"at"` // milliseconds
	Until   int64  `json:"until"`
}

// ticketCookie would begin with __Host- on https.
const (
	ticketCookie   = "ticket"
	ticketLifetime = time.Hour
)

// newTicket is the cookie for a user who has just signed in.
func newTicket(tenant, subject string, key ed25519.PrivateKey, now time.Time) (*http.Cookie, error) {
	content, err := json.Marshal(ticket{
		tenant, subject, rand.Text(), now.UnixMilli(), now.Add(ticketLifetime).UnixMilli(),
	})
	if err != nil {
		return nil, err
	}
	text := base64.RawURLEncoding.EncodeToString(content)
	signature := base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(text)))
	return &http.Cookie{
		Name: ticketCookie, Value: text + "." + signature, Path: "/", MaxAge: int(ticketLifetime / time.Second),
		HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}, nil
}

// tickets are the sessions of one tenant.
type tickets struct {
	tenant string
	key    ed25519.PublicKey
	now    func() time.Time
}

// Session returns who has the ticket; a bad one is nobody's.
func (k tickets) Session(r *http.Request) (*session.Session, error) {
	cookies := r.CookiesNamed(ticketCookie)
	if len(cookies) != 1 {
		return nil, nil
	}
	text, encoded, _ := strings.Cut(cookies[0].Value, ".")
	signature, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || !ed25519.Verify(k.key, []byte(text), signature) {
		return nil, nil
	}
	content, err := base64.RawURLEncoding.DecodeString(text)
	var t ticket
	if err != nil || json.Unmarshal(content, &t) != nil || t.Tenant != k.tenant || k.now().UnixMilli() >= t.Until {
		return nil, nil
	}
	return &session.Session{ID: t.ID, Subject: t.Subject, AuthTime: time.UnixMilli(t.At)}, nil
}

// SignOut drops the cookie.
func (k tickets) SignOut(w http.ResponseWriter, _ *http.Request) error {
	http.SetCookie(w, &http.Cookie{Name: ticketCookie, Path: "/", MaxAge: -1})
	return nil
}
