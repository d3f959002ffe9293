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

// A ticket is a cookie that tells the endpoint who has signed in. The login process signs it
// and the endpoint verifies it. All ports of a host share cookies, so both processes get it.
// A ticket cannot be revoked before it expires: two processes that share a store would use
// session.Cookies instead.
type ticket struct {
	Tenant  string `json:"tenant"` // the only one where it is valid
	Subject string `json:"sub"`
	ID      string `json:"id"`
	At      int64  `json:"at"` // milliseconds
	Until   int64  `json:"until"`
}

// ticketCookie would have the prefix __Host- with https.
const (
	ticketCookie   = "ticket"
	ticketLifetime = time.Hour
)

// newTicket returns the cookie for a user who has just signed in.
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

// Session returns the sign-in of the ticket, nil if it is missing or invalid.
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

// SignOut removes the cookie.
func (k tickets) SignOut(w http.ResponseWriter, _ *http.Request) error {
	http.SetCookie(w, &http.Cookie{Name: ticketCookie, Path: "/", MaxAge: -1})
	return nil
}
