package session

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestStoreFails(t *testing.T) {
	clock := newTestClock()

	t.Run("finding fails: an error and no session", func(t *testing.T) {
		c := newCookies(t, Config{Store: failing(clock, "Find"), Now: clock.Now})
		_, pair := signIn(t, c, get(), Session{Subject: "alice"})
		if s, err := c.Session(get(pair)); s != nil || !errors.Is(err, errStore) {
			t.Errorf("Session: %v, %v; want the store's error", s, err)
		}
		if s, err := c.Session(get()); s != nil || err != nil {
			t.Errorf("Session without a cookie: %v, %v; want nobody", s, err)
		}
	})

	t.Run("touching fails: the session, and a line in the log", func(t *testing.T) {
		clock := newTestClock()
		var log bytes.Buffer
		c := newCookies(t, Config{
			Store: failing(clock, "Touch"), Now: clock.Now,
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		s, pair := signIn(t, c, get(), Session{Subject: "alice"})
		clock.Advance(29 * time.Minute)
		if got := subject(t, c, get(pair)); got != "alice" {
			t.Errorf("%q is signed in, want alice", got)
		}
		if got := log.String(); !strings.Contains(got, errStore.Error()) ||
			strings.Contains(got, value(pair)) || strings.Contains(got, s.ID) {
			t.Errorf("the log says %q", got)
		}
		clock.Advance(time.Minute)
		if got := subject(t, c, get(pair)); got != "" {
			t.Errorf("%q is signed in past the last use that was recorded", got)
		}
	})

	t.Run("saving fails: an error and no cookie", func(t *testing.T) {
		store := failing(clock)
		c := newCookies(t, Config{Store: store, Now: clock.Now})
		_, pair := signIn(t, c, get(), Session{Subject: "alice"})
		store.failFrom("Save")
		w := httptest.NewRecorder()
		if s, err := c.SignIn(w, get(pair), Session{Subject: "bob"}); s != nil || !errors.Is(err, errStore) {
			t.Errorf("SignIn: %v, %v; want the store's error", s, err)
		}
		if len(w.Header()) != 0 {
			t.Errorf("headers %v, want none", w.Header())
		}
		if got := subject(t, c, get(pair)); got != "alice" {
			t.Errorf("%q is signed in, want alice as before", got)
		}
	})

	t.Run("saving into a full store: ErrFull", func(t *testing.T) {
		c := newCookies(t, Config{Store: NewMemory(MemoryConfig{Max: 1, Now: clock.Now}), Now: clock.Now})
		signIn(t, c, get(), Session{Subject: "alice"})
		w := httptest.NewRecorder()
		if _, err := c.SignIn(w, get(), Session{Subject: "bob"}); !errors.Is(err, ErrFull) {
			t.Errorf("SignIn: %v, want ErrFull", err)
		}
		if len(w.Header()) != 0 {
			t.Errorf("headers %v, want none", w.Header())
		}
	})

	t.Run("deleting at sign-in: an error and no cookie", func(t *testing.T) {
		store := failing(clock)
		c := newCookies(t, Config{Store: store, Now: clock.Now})
		_, pair := signIn(t, c, get(), Session{Subject: "mallory"})
		store.failFrom("Delete")
		w := httptest.NewRecorder()
		if s, err := c.SignIn(w, get(pair), Session{Subject: "alice"}); s != nil || !errors.Is(err, errStore) {
			t.Errorf("SignIn: %v, %v; want the store's error", s, err)
		}
		if len(w.Header()) != 0 {
			t.Errorf("headers %v, want none", w.Header())
		}
		if got := subject(t, c, get(pair)); got == "alice" {
			t.Error("the old value signs alice in")
		}
	})

	t.Run("deleting at sign-out: an error that says so, and the cookie is dropped", func(t *testing.T) {
		store := failing(clock)
		c := newCookies(t, Config{Store: store, Now: clock.Now})
		_, pair := signIn(t, c, get(), Session{Subject: "alice"})
		store.failFrom("Delete")
		w := httptest.NewRecorder()
		err := c.SignOut(w, get(pair))
		if !errors.Is(err, errStore) || !strings.Contains(err.Error(), "may be stored still") {
			t.Errorf("SignOut: %v, want the store's error and what it means", err)
		}
		if got := w.Header().Get("Set-Cookie"); !strings.HasPrefix(got, cookieName+"=; Path=/; Max-Age=0;") {
			t.Errorf("Set-Cookie %q, want the cookie dropped", got)
		}
	})
}

// deleteOnce fails its first DeleteSession and hands the others on.
type deleteOnce struct {
	*Memory
	failed bool
}

func (s *deleteOnce) DeleteSession(ctx context.Context, key string) error {
	if !s.failed {
		s.failed = true
		return errStore
	}
	return s.Memory.DeleteSession(ctx, key)
}

func TestASignInThatFailsHalfwayLeavesNothingBehind(t *testing.T) {
	m := NewMemory(MemoryConfig{})
	c := newCookies(t, Config{Store: &deleteOnce{Memory: m}})
	_, pair := signIn(t, c, get(), Session{Subject: "alice"})
	if _, err := c.SignIn(httptest.NewRecorder(), get(pair), Session{Subject: "bob"}); err == nil {
		t.Fatal("SignIn did not fail")
	}
	if len(m.entries) != 1 || find(t, m, storeKey(value(pair))) == nil {
		t.Errorf("%d sessions are stored, want the old one", len(m.entries))
	}
}

// hanging is a store that answers when the context is done, and not before.
type hanging struct{}

func (hanging) SaveSession(ctx context.Context, _ string, _ *Record) error {
	<-ctx.Done()
	return ctx.Err()
}

func (hanging) FindSession(ctx context.Context, _ string) (*Record, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (hanging) TouchSession(ctx context.Context, _ string, _, _ time.Time) error {
	<-ctx.Done()
	return ctx.Err()
}

func (hanging) DeleteSession(ctx context.Context, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

func (hanging) DeleteSessionsOf(ctx context.Context, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestStoreHangs(t *testing.T) {
	c := newCookies(t, Config{Store: hanging{}})
	pair := cookieName + "=" + newValue()
	tests := []struct {
		rule string
		call func(r *http.Request) error
	}{
		{"Session", func(r *http.Request) error {
			s, err := c.Session(r)
			if s != nil {
				t.Errorf("Session returned %+v", s)
			}
			return err
		}},
		{"SignIn", func(r *http.Request) error {
			w := httptest.NewRecorder()
			_, err := c.SignIn(w, r, Session{Subject: "alice"})
			if len(w.Header()) != 0 {
				t.Errorf("headers %v, want none", w.Header())
			}
			return err
		}},
		{"SignOut", func(r *http.Request) error {
			w := httptest.NewRecorder()
			err := c.SignOut(w, r)
			if len(w.Header()["Set-Cookie"]) != 1 {
				t.Error("the cookie is not dropped")
			}
			return err
		}},
		{"Accounts", func(r *http.Request) error {
			_, err := c.Accounts(r)
			return err
		}},
		{"Choose", func(r *http.Request) error {
			_, err := c.Choose(httptest.NewRecorder(), r, "alice")
			return err
		}},
		{"SignOutAccount", func(r *http.Request) error { return c.SignOutAccount(httptest.NewRecorder(), r, "alice") }},
		{"SignOutEverywhere", func(r *http.Request) error { return c.SignOutEverywhere(r.Context(), "alice") }},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			result := make(chan error)
			go func() { result <- tt.call(get(pair).WithContext(ctx)) }()
			cancel()
			if err := <-result; !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want %v", err, context.Canceled)
			}
		})
	}
}

// lying is a store that finds the same record whatever it is asked for.
type lying struct {
	*Memory
	answer func(key string) *Record
}

func (s lying) FindSession(_ context.Context, key string) (*Record, error) { return s.answer(key), nil }

func TestStoreLies(t *testing.T) {
	good := func(key string) *Record { return testRecord(key, "alice") }
	with := func(change func(*Record)) func(string) *Record {
		return func(key string) *Record {
			rec := good(key)
			change(rec)
			return rec
		}
	}
	tests := []struct {
		rule          string
		answer        func(key string) *Record
		found, failed bool
	}{
		{"a sound record is somebody", good, true, false},
		{"no record", func(string) *Record { return nil }, false, false},
		{"an empty record", func(string) *Record { return &Record{} }, false, true},
		{"no subject", with(func(r *Record) { r.Subject = "" }), false, false},
		{"another session's record", with(func(r *Record) { r.ID = testKey(1) }), false, true},
		{"a record without its id", with(func(r *Record) { r.ID = "" }), false, true},
		{"expired", with(func(r *Record) { r.ExpiresAt = start }), false, false},
		{"ended", with(func(r *Record) { r.EndsAt = start }), false, false},
		{"no end", with(func(r *Record) { r.EndsAt = time.Time{} }), false, false},
		{"no expiry", with(func(r *Record) { r.ExpiresAt = time.Time{} }), false, false},
		{"no creation", with(func(r *Record) { r.CreatedAt = time.Time{} }), false, false},
		{"created too long ago", with(func(r *Record) { r.CreatedAt = start.Add(-12 * time.Hour) }), false, false},
		{"no last use", with(func(r *Record) { r.LastSeenAt = time.Time{} }), false, false},
		{"used too long ago", with(func(r *Record) { r.LastSeenAt = start.Add(-30 * time.Minute) }), false, false},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			clock := newTestClock()
			c := newCookies(t, Config{
				Store: lying{NewMemory(MemoryConfig{Now: clock.Now}), tt.answer},
				Now:   clock.Now,
			})
			s, err := c.Session(get(cookieName + "=" + newValue()))
			if (s != nil) != tt.found || (err != nil) != tt.failed {
				t.Errorf("Session: %+v, %v; want a session: %t, an error: %t", s, err, tt.found, tt.failed)
			}
		})
	}
}
