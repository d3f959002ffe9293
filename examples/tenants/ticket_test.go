package main

import (
	"crypto/ed25519"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestTickets(t *testing.T) {
	w := newWorld(t)
	good, err := newTicket("globex", "alice", w.key, w.clock)
	if err != nil {
		t.Fatal(err)
	}
	text, signature, _ := strings.Cut(good.Value, ".")
	_, otherKey, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	of := func(tenant string, key ed25519.PrivateKey) string {
		cookie, err := newTicket(tenant, "alice", key, w.clock)
		if err != nil {
			t.Fatal(err)
		}
		return cookie.Value
	}
	for _, c := range []struct {
		rule   string
		values []string
		after  time.Duration
		want   bool
	}{
		{"a good one", []string{good.Value}, 0, true},
		{"a good one to its end", []string{good.Value}, ticketLifetime - time.Second, true},
		{"none", nil, 0, false},
		{"one that has ended", []string{good.Value}, ticketLifetime, false},
		{"one of another tenant", []string{of("initech", w.key)}, 0, false},
		{"one of nobody", []string{of("", w.key)}, 0, false},
		{"one with another key", []string{of("globex", otherKey)}, 0, false},
		{"one without a signature", []string{text}, 0, false},
		{"one with an empty signature", []string{text + "."}, 0, false},
		{"one with half a signature", []string{text + "." + signature[:40]}, 0, false},
		{"a changed one", []string{"A" + text + "." + signature}, 0, false},
		{"two good ones", []string{good.Value, of("globex", w.key)}, 0, false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			r := httptest.NewRequest("GET", "http://globex.localhost:8080/", nil)
			for _, value := range c.values {
				r.AddCookie(&http.Cookie{Name: ticketCookie, Value: value})
			}
			k := tickets{"globex", w.key.Public().(ed25519.PublicKey), func() time.Time { return w.clock.Add(c.after) }}
			s, err := k.Session(r)
			if err != nil || s.SignedIn() != c.want {
				t.Errorf("%v, %v", s, err)
			}
			if c.want && (s.Subject != "alice" || s.ID == "" || !s.AuthTime.Equal(w.clock.Truncate(time.Millisecond))) {
				t.Errorf("the session is of %s, %q at %s", s.Subject, s.ID, s.AuthTime)
			}
		})
	}
	if !good.HttpOnly || good.SameSite != http.SameSiteLaxMode || good.Domain != "" || good.Path != "/" {
		t.Errorf("the cookie is %s", good)
	}
}
