package authorize_test

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/session"
)

// signIns stands for a database table. Its keys are hashes of the random values that
// browsers and apps hold.
type signIns map[string]struct {
	user string
	at   time.Time
}

func (t signIns) ofCookie(r *http.Request) (*session.Session, error) {
	cookie, err := r.Cookie("__Host-app")
	if err != nil {
		return nil, nil // nobody is signed in: not an error
	}
	return t.find(r.Context(), cookie.Value)
}

func (t signIns) find(_ context.Context, value string) (*session.Session, error) {
	id := fmt.Sprintf("%x", sha256.Sum256([]byte(value)))
	row, found := t[id] // of a database: an error means that it could not say
	if !found {
		return nil, nil
	}
	return &session.Session{ID: id, Subject: row.user, AuthTime: row.at}, nil
}

func (t signIns) ofToken(r *http.Request) (*session.Session, error) {
	token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !found {
		return nil, nil
	}
	return t.find(r.Context(), token)
}

func ofSignedCookie(r *http.Request) (*session.Session, error) {
	cookie, err := r.Cookie("__Host-signed")
	if err != nil {
		return nil, nil
	}
	text, _, _ := strings.Cut(cookie.Value, ".")
	decoded, _ := hex.DecodeString(text)
	stamp, user, _ := strings.Cut(string(decoded), " ")
	at, _ := time.Parse(time.RFC3339, stamp)
	if !hmac.Equal([]byte(cookie.Value), []byte(signed(user, at))) || time.Since(at) > 12*time.Hour {
		return nil, nil // forged, or too old
	}
	return &session.Session{Subject: user, AuthTime: at}, nil
}

// signed is the value of the cookie: the time and the user, and a MAC of both.
func signed(user string, at time.Time) string {
	text := at.UTC().Format(time.RFC3339) + " " + user
	mac := hmac.New(sha256.New, cookieSecret)
	mac.Write([]byte(text))
	return fmt.Sprintf("%x.%x", text, mac.Sum(nil))
}

var cookieSecret = []byte("in a program: 32 random bytes")

// Three kinds of sessions: a cookie that leads to a row of a table, a token of an app that
// leads to one, and a cookie that the host has signed. Each function can be
// Config.Sessions.
func ExampleSessionFunc() {
	at := time.Now().Add(-time.Hour).Truncate(time.Second)
	ask := func(sessions authorize.SessionFunc, header, value string) {
		r := httptest.NewRequest(http.MethodGet, "/authorize", nil)
		r.Header.Set(header, value)
		s, err := sessions.Session(r)
		s = cmp.Or(s, &session.Session{Subject: "nobody"})
		fmt.Println(s.Subject, s.AuthTime.Equal(at), err)
	}
	table := signIns{fmt.Sprintf("%x", sha256.Sum256([]byte("r4nd0m"))): {"alice", at}}
	ask(table.ofCookie, "Cookie", "__Host-app=r4nd0m")
	ask(table.ofCookie, "Cookie", "__Host-app=guess")
	ask(table.ofToken, "Authorization", "Bearer r4nd0m")
	ask(ofSignedCookie, "Cookie", "__Host-signed="+signed("bob", at))
	ask(ofSignedCookie, "Cookie", "__Host-signed="+strings.Replace(signed("bob", at), "626f62", "657665", 1)) // eve
	ask(ofSignedCookie, "Cookie", "__Host-signed="+signed("bob", at.Add(-24*time.Hour)))
	// Output:
	// alice true <nil>
	// nobody false <nil>
	// alice true <nil>
	// bob true <nil>
	// nobody false <nil>
	// nobody false <nil>
}
