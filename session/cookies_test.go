package session

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
)

// The authorization endpoint asks who is signed in through a method of this form.
var _ interface {
	Session(r *http.Request) (*Session, error)
} = (*Cookies)(nil)

const cookieName = "__Host-usher-session"

// testStore is a store that counts the calls of each method and can be told to fail.
type testStore struct {
	Store

	mu    sync.Mutex
	calls map[string]int
	fail  map[string]error
}

var errStore = errors.New("the disk is on fire")

// failing returns a store of which the named methods fail.
func failing(clock *testClock, methods ...string) *testStore {
	s := &testStore{
		Store: NewMemory(MemoryConfig{Now: clock.Now}),
		calls: make(map[string]int),
		fail:  make(map[string]error),
	}
	s.failFrom(methods...)
	return s
}

func (s *testStore) failFrom(methods ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range methods {
		s.fail[m] = errStore
	}
}

func (s *testStore) called(method string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[method]++
	return s.fail[method]
}

// count returns how often a method was called.
func (s *testStore) count(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

func (s *testStore) SaveSession(ctx context.Context, key string, rec *Record) error {
	if err := s.called("Save"); err != nil {
		return err
	}
	return s.Store.SaveSession(ctx, key, rec)
}

func (s *testStore) FindSession(ctx context.Context, key string) (*Record, error) {
	if err := s.called("Find"); err != nil {
		return nil, err
	}
	return s.Store.FindSession(ctx, key)
}

func (s *testStore) TouchSession(ctx context.Context, key string, seen, expires time.Time) error {
	if err := s.called("Touch"); err != nil {
		return err
	}
	return s.Store.TouchSession(ctx, key, seen, expires)
}

func (s *testStore) DeleteSession(ctx context.Context, key string) error {
	if err := s.called("Delete"); err != nil {
		return err
	}
	return s.Store.DeleteSession(ctx, key)
}

func (s *testStore) DeleteSessionsOf(ctx context.Context, subject string) error {
	if err := s.called("DeleteOf"); err != nil {
		return err
	}
	return s.Store.DeleteSessionsOf(ctx, subject)
}

func newCookies(t testing.TB, cfg Config) *Cookies {
	t.Helper()
	c, err := NewCookies(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// get returns a request with the lines as its Cookie headers.
func get(cookieLines ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "https://as.example/authorize", nil)
	for _, line := range cookieLines {
		r.Header.Add("Cookie", line)
	}
	return r
}

// signIn signs a user in and returns the session and the cookie's "name=value".
func signIn(t testing.TB, c *Cookies, r *http.Request, s Session) (*Session, string) {
	t.Helper()
	w := httptest.NewRecorder()
	got, err := c.SignIn(w, r, s)
	if err != nil {
		t.Fatalf("SignIn: %v", err)
	}
	lines := w.Result().Header["Set-Cookie"]
	if len(lines) != 1 {
		t.Fatalf("Set-Cookie %q, want one", lines)
	}
	pair, _, _ := strings.Cut(lines[0], ";")
	return got, pair
}

// subject returns who is signed in, "" for nobody, and fails the test on an error.
func subject(t testing.TB, c *Cookies, r *http.Request) string {
	t.Helper()
	s, err := c.Session(r)
	if err != nil {
		t.Fatalf("Session: %v", err)
	}
	if s == nil {
		return ""
	}
	return s.Subject
}

// value returns the value of a "name=value" pair.
func value(pair string) string {
	_, v, _ := strings.Cut(pair, "=")
	return v
}

func TestNewCookies(t *testing.T) {
	tests := []struct {
		rule string
		cfg  Config
		want string // in the error; empty for none
	}{
		{"the zero configuration is ready", Config{}, ""},
		{"a token is a name", Config{Name: "my-app.session_1"}, ""},
		{"a space is not in a token", Config{Name: "my session"}, "Config.Name"},
		{"a semicolon is not in a token", Config{Name: "a;b"}, "Config.Name"},
		{"an equals sign is not in a token", Config{Name: "a=b"}, "Config.Name"},
		{"a line end is not in a token", Config{Name: "a\r\nb"}, "Config.Name"},
		{"letters beyond ASCII are not in a token", Config{Name: "sé"}, "Config.Name"},
		{"the prefix is not given twice", Config{Name: "__Host-usher-session"}, "Config.Name"},
		{"the prefix is not given to an insecure cookie", Config{Name: "__secure-session", Insecure: true}, "Config.Name"},
		{"there may be 8 accounts", Config{Accounts: 8}, ""},
		{"there may not be 9", Config{Accounts: 9}, "Config.Accounts"},
		{"nor fewer than none", Config{Accounts: -1}, "Config.Accounts"},
		{"Idle may equal Absolute", Config{Idle: time.Hour, Absolute: time.Hour}, ""},
		{"Idle may not be negative", Config{Idle: -1}, "Config.Idle"},
		{"Absolute may not be negative", Config{Absolute: -1}, "Config.Absolute"},
		{"Idle may not be longer than Absolute", Config{Idle: time.Hour + 1, Absolute: time.Hour}, "Config.Idle"},
		{"Idle may not be longer than the default Absolute", Config{Idle: 13 * time.Hour}, "Config.Idle"},
		{"a short Absolute takes the default Idle with it", Config{Absolute: time.Minute}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			c, err := NewCookies(tt.cfg)
			if tt.want == "" && (err != nil || c == nil) {
				t.Errorf("NewCookies: %v", err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || c != nil) {
				t.Errorf("NewCookies: %v, %v; want an error that names %s", c, err, tt.want)
			}
		})
	}
}

func TestCookieAttributes(t *testing.T) {
	tests := []struct {
		rule    string
		cfg     Config
		in, out string // of SignIn, V for the value; of SignOut
	}{
		{
			"https", Config{},
			"__Host-usher-session=V; Path=/; HttpOnly; Secure; SameSite=Lax",
			"__Host-usher-session=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax",
		},
		{
			"https, a name of the host's", Config{Name: "id"},
			"__Host-id=V; Path=/; HttpOnly; Secure; SameSite=Lax",
			"__Host-id=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax",
		},
		{
			"insecure", Config{Insecure: true},
			"usher-session=V; Path=/; HttpOnly; SameSite=Lax",
			"usher-session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax",
		},
		{
			"insecure, a name of the host's", Config{Insecure: true, Name: "id"},
			"id=V; Path=/; HttpOnly; SameSite=Lax",
			"id=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax",
		},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			c := newCookies(t, tt.cfg)
			w := httptest.NewRecorder()
			w.Header().Set("Cache-Control", "public")
			if _, err := c.SignIn(w, get(), Session{Subject: "alice"}); err != nil {
				t.Fatal(err)
			}
			line := w.Header().Get("Set-Cookie")
			pair, _, _ := strings.Cut(line, ";")
			if got := strings.Replace(line, value(pair), "V", 1); got != tt.in {
				t.Errorf("signing in sets %q, want %q", got, tt.in)
			}
			if random, err := base64.RawURLEncoding.DecodeString(value(pair)); err != nil || len(random) != 32 {
				t.Errorf("the value is %d bytes, %v; want 32", len(random), err)
			}
			if got := w.Header().Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control is %q", got)
			}
			if subject(t, c, get(pair)) != "alice" {
				t.Error("the cookie signs nobody in")
			}

			w = httptest.NewRecorder()
			if err := c.SignOut(w, get(pair)); err != nil {
				t.Fatal(err)
			}
			if got := w.Header()["Set-Cookie"]; len(got) != 1 || got[0] != tt.out {
				t.Errorf("signing out sets %q, want %q", got, tt.out)
			}
			if got := w.Header().Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control is %q", got)
			}
		})
	}
}

func TestSignInStoresWhatItWasGiven(t *testing.T) {
	clock := newTestClock()
	clock.Advance(123 * time.Nanosecond)
	c := newCookies(t, Config{Now: clock.Now})
	authTime := start.Add(-time.Hour).In(time.FixedZone("", 3600))
	given := Session{
		ID: "ignored", Subject: "alice", AuthTime: authTime, SignedInAt: start.Add(time.Hour), // which is ignored too
		Persistent: true, ACR: "2", AMR: []string{"pwd"}, Data: []byte("data"),
	}
	got, pair := signIn(t, c, get(), given)

	want := given
	want.ID, want.AuthTime, want.SignedInAt = storeKey(value(pair)), start.Add(-time.Hour), start
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("SignIn returned %+v, want %+v", *got, want)
	}
	read, err := c.Session(get(pair))
	if err != nil || !reflect.DeepEqual(*read, want) {
		t.Errorf("Session returned %+v, %v; want %+v", read, err, want)
	}
	if list, err := c.Accounts(get(pair)); err != nil || len(list) != 1 || !reflect.DeepEqual(*list[0], want) {
		t.Errorf("Accounts returned %+v, %v; want %+v", list, err, want)
	}
	rec := find(t, c.store, want.ID)
	if !rec.CreatedAt.Equal(rec.SignedInAt) || !rec.LastSeenAt.Equal(start) ||
		!rec.ExpiresAt.Equal(start.Add(12*time.Hour)) || !rec.EndsAt.Equal(start.Add(12*time.Hour)) {
		t.Errorf("the times are %v, %v, %v and %v", rec.CreatedAt, rec.LastSeenAt, rec.ExpiresAt, rec.EndsAt)
	}
	if read.ID == value(pair) {
		t.Error("the session's id is the cookie's value")
	}
}

// TestTimesOfASignIn has somebody sign in again with the session of an hour ago.
func TestTimesOfASignIn(t *testing.T) {
	clock := newTestClock()
	c := newCookies(t, Config{Now: clock.Now})
	first, pair := signIn(t, c, get(), Session{Subject: "alice"})
	if !first.AuthTime.Equal(start) || !first.SignedInAt.Equal(start) {
		t.Errorf("AuthTime is %v and SignedInAt %v, want %v", first.AuthTime, first.SignedInAt, start)
	}
	clock.Advance(time.Hour)
	again, _ := signIn(t, c, get(pair), *first)
	if !again.AuthTime.Equal(start) || !again.SignedInAt.Equal(start.Add(time.Hour)) {
		t.Errorf("AuthTime is %v and SignedInAt %v, want %v and an hour later", again.AuthTime, again.SignedInAt, start)
	}
}

// sharing is a store that keeps and returns the very records that it is given.
type sharing struct {
	*Memory
	records map[string]*Record
}

func (s sharing) SaveSession(_ context.Context, key string, rec *Record) error {
	s.records[key] = rec
	return nil
}

func (s sharing) FindSession(_ context.Context, key string) (*Record, error) {
	return s.records[key], nil
}

func TestNothingIsShared(t *testing.T) {
	for rule, store := range map[string]Store{
		"with a store that copies":          NewMemory(MemoryConfig{}),
		"with one that breaks its contract": sharing{NewMemory(MemoryConfig{}), make(map[string]*Record)},
	} {
		t.Run(rule, func(t *testing.T) {
			c := newCookies(t, Config{Store: store})
			given := Session{Subject: "alice", AMR: []string{"pwd"}, Data: []byte("data")}
			returned, pair := signIn(t, c, get(), given)
			given.AMR[0], given.Data[0] = "x", 'x'
			if returned.AMR[0] != "pwd" || returned.Data[0] != 'd' {
				t.Error("what SignIn returned shares memory with what it was given")
			}
			returned.AMR[0], returned.Data[0] = "x", 'x'
			for range 2 {
				s, err := c.Session(get(pair))
				list, err2 := c.Accounts(get(pair))
				chosen, err3 := c.Choose(httptest.NewRecorder(), get(pair), "alice")
				if err = errors.Join(err, err2, err3); err != nil {
					t.Fatal(err)
				}
				for _, s := range append(list, s, chosen) {
					if s.AMR[0] != "pwd" || string(s.Data) != "data" {
						t.Fatalf("there is %+v", s)
					}
					s.AMR[0], s.Data[0], s.Subject = "x", 'x', "mallory"
				}
			}
		})
	}
}

func TestSignInRefusesAnEmptySubject(t *testing.T) {
	store := failing(newTestClock())
	c := newCookies(t, Config{Store: store})
	w := httptest.NewRecorder()
	if s, err := c.SignIn(w, get(), Session{AuthTime: start}); err == nil || s != nil {
		t.Errorf("SignIn: %v, %v; want an error", s, err)
	}
	if len(w.Header()) != 0 || len(store.calls) != 0 {
		t.Errorf("headers %v and calls %v, want neither", w.Header(), store.calls)
	}
}

// TestWhoIsSignedIn holds the one way to be somebody: the cookie by its exact name,
// once, with a value that SignIn gave out.
func TestWhoIsSignedIn(t *testing.T) {
	store := failing(newTestClock())
	c := newCookies(t, Config{Store: store})
	_, alice := signIn(t, c, get(), Session{Subject: "alice"})
	_, bob := signIn(t, c, get(), Session{Subject: "bob"})
	v := value(alice)
	// All but the last character, of which some cannot end a value in the other case.
	flipped := strings.Map(func(r rune) rune {
		if unicode.IsUpper(r) {
			return unicode.ToLower(r)
		}
		return unicode.ToUpper(r)
	}, v[:42]) + v[42:]

	tests := []struct {
		rule string
		r    *http.Request
		want string
		find int // calls of FindSession
	}{
		{"the cookie is somebody", get(alice), "alice", 1},
		{"other cookies do not matter", get("a=b; " + alice + "; usher-session=" + value(bob)), "alice", 1},
		{"other cookies may be malformed", get(`junk; ="; a="b; ` + alice + ";;"), "alice", 1},
		{"the header may come in several lines", get("a=b", alice), "alice", 1},
		{"spaces and tabs around a cookie do not count", get(" \ta=b;\t" + alice + " \t"), "alice", 1},
		{"no cookie", get(), "", 0},
		{"no cookie of the name", get("a=b"), "", 0},
		{"a name without a value", get(cookieName), "", 0},
		{"a name without an equals sign is none", get(cookieName + "; " + alice), "alice", 1},
		{"the name that many programs use", get("session=" + v), "", 0},
		{"empty value", get(cookieName + "="), "", 0},
		{"garbage", get(cookieName + "=garbage"), "", 0},
		{"a value chosen by somebody else", get(cookieName + "=" + newValue()), "", 1},
		{"the store's key is not the value", get(cookieName + "=" + storeKey(v)), "", 1},
		{"the subject is not the value", get(cookieName + "=alice"), "", 0},
		{"SQL", get(cookieName + "=' OR '1'='1"), "", 0},
		{"SQL after the value", get(alice + "' OR '1'='1"), "", 0},
		{"a wildcard", get(cookieName + "=" + strings.Repeat("%", 43)), "", 0},
		{"43 characters of a wildcard that is base64url", get(cookieName + "=" + strings.Repeat("_", 43)), "", 0},
		{"a path", get(cookieName + "=../../../etc/passwd"), "", 0},
		{"NUL after the value", get(alice + "\x00"), "", 0},
		{"a line end in the value", get(alice + "\n"), "", 0},
		{"a no-break space after the value", get(alice + "\u00a0"), "", 0},
		{"64 kilobytes", get(cookieName + "=" + strings.Repeat("a", 64_000)), "", 0},
		{"a line end in place of the last character", get(cookieName + "=" + strings.Repeat("A", 42) + "\n"), "", 0},
		{"the value cut short", get(alice[:len(alice)-1]), "", 0},
		{"the value and one more", get(alice + "A"), "", 0},
		{"the value with padding", get(alice + "="), "", 0},
		{"the value in other letter case", get(cookieName + "=" + flipped), "", 1},
		{"a last character that 32 bytes cannot end in", get(alice[:len(alice)-1] + "B"), "", 0},
		{"the value quoted", get(cookieName + `="` + v + `"`), "", 0},
		{"the value percent-encoded", get(cookieName + "=%" + fmt.Sprintf("%02x", v[0]) + v[1:]), "", 0},
		{"a space before the value", get(cookieName + "= " + v), "", 0},
		{"the name in upper case", get(strings.ToUpper(cookieName) + "=" + v), "", 0},
		{"the name in lower case", get(strings.ToLower(cookieName) + "=" + v), "", 0},
		{"the name without its prefix", get("usher-session=" + v), "", 0},
		{"the name with another prefix", get("__Secure-usher-session=" + v), "", 0},
		{"the name with something before it", get("x" + alice), "", 0},
		{"the name with something after it", get(cookieName + "x=" + v), "", 0},
		{"the name percent-encoded", get("%5f_Host-usher-session=" + v), "", 0},
		{"the name after a no-break space", get("\u00a0" + alice), "", 0},
		{"the name after a byte that some take for white space", get("\xa0" + alice), "", 0},
		{"the name after a line end", get("\n" + alice), "", 0},
		{"the name with a space before the equals sign", get(cookieName + " =" + v), "", 0},
		{"the cookie inside another's value", get("a=" + alice), "", 0},
		{"the cookie inside another's quoted value", get(`a="x, ` + alice + `"`), "", 0},
		{"the cookie after a comma", get("a=b, " + alice), "", 0},
		{"the cookie twice", get(alice + "; " + alice), "", 0},
		{"the cookie twice in two lines", get(alice, alice), "", 0},
		{"two people's cookies", get(alice + "; " + bob), "", 0},
		{"the cookie and a malformed one", get(alice + "; " + cookieName + "=garbage"), "", 0},
		{"the cookie and one that net/http leaves out", get(alice + "; " + cookieName + `="`), "", 0},
		{"the cookie and an empty one", get(cookieName + "=; " + alice), "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			before := store.count("Find")
			if got := subject(t, c, tt.r); got != tt.want {
				t.Errorf("%q is signed in, want %q", got, tt.want)
			}
			if got := store.count("Find") - before; got != tt.find {
				t.Errorf("the store was asked %d times, want %d", got, tt.find)
			}
		})
	}
}

func TestTheCookieIsReadFromTheCookieHeaderOnly(t *testing.T) {
	c := newCookies(t, Config{})
	_, pair := signIn(t, c, get(), Session{Subject: "alice"})
	query := httptest.NewRequest(http.MethodGet, "https://as.example/authorize?"+pair, nil)
	body := httptest.NewRequest(http.MethodPost, "https://as.example/authorize", strings.NewReader(pair))
	body.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	bearer, other, basic := get(), get(), get()
	bearer.Header.Set("Authorization", "Bearer "+value(pair))
	other.Header.Set("Set-Cookie", pair)
	other.Header.Set("X-Session", value(pair))
	basic.SetBasicAuth(cookieName, value(pair))
	for rule, r := range map[string]*http.Request{
		"query": query, "body": body, "bearer token": bearer, "other headers": other, "basic": basic,
	} {
		if got := subject(t, c, r); got != "" {
			t.Errorf("%s: %q is signed in", rule, got)
		}
	}
}

func TestTheTwoKindsOfCookieAreNotMixed(t *testing.T) {
	store := NewMemory(MemoryConfig{})
	secure := newCookies(t, Config{Store: store})
	insecure := newCookies(t, Config{Store: store, Insecure: true})
	_, host := signIn(t, secure, get(), Session{Subject: "alice"})
	_, plain := signIn(t, insecure, get(), Session{Subject: "bob"})
	if got := subject(t, secure, get(plain)); got != "" {
		t.Errorf("a plain cookie signs %q in on https", got)
	}
	if got := subject(t, insecure, get(host)); got != "" {
		t.Errorf("a __Host- cookie signs %q in on http", got)
	}
}

func TestFixation(t *testing.T) {
	clock := newTestClock()
	for _, planted := range []string{
		cookieName + "=attackerchosen",
		cookieName + "=" + newValue(),
	} {
		c := newCookies(t, Config{Now: clock.Now})
		_, pair := signIn(t, c, get(planted), Session{Subject: "alice"})
		if pair == planted {
			t.Error("SignIn took the planted value over")
		}
		if got := subject(t, c, get(planted)); got != "" {
			t.Errorf("the planted value signs %q in", got)
		}
		if got := subject(t, c, get(pair)); got != "alice" {
			t.Errorf("the new value signs %q in, want alice", got)
		}
	}

	// A value that is good, because the attacker has an account too.
	c := newCookies(t, Config{Now: clock.Now})
	mallorys, planted := signIn(t, c, get(), Session{Subject: "mallory"})
	alices, pair := signIn(t, c, get(planted), Session{Subject: "alice"})
	if pair == planted || alices.ID == mallorys.ID {
		t.Error("SignIn kept the id")
	}
	if got := subject(t, c, get(planted)); got != "" {
		t.Errorf("the planted value signs %q in", got)
	}
	if find(t, c.store, mallorys.ID) != nil {
		t.Error("the session that the request came with is still stored")
	}
}

func TestSecondFactor(t *testing.T) {
	clock := newTestClock()
	c := newCookies(t, Config{Now: clock.Now})
	half, first := signIn(t, c, get(), Session{Subject: "alice", SecondFactorPending: true})
	s, err := c.Session(get(first))
	if err != nil || s == nil || !s.SecondFactorPending || s.SignedIn() {
		t.Fatalf("after the password: %+v, %v; want alice's, pending", s, err)
	}

	clock.Advance(time.Minute)
	s.SecondFactorPending = false
	s.AuthTime = time.Time{}
	full, second := signIn(t, c, get(first), *s)
	if full.ID == half.ID || second == first {
		t.Error("the id did not change with the privilege")
	}
	if s, err := c.Session(get(second)); err != nil || !s.SignedIn() || !s.AuthTime.Equal(start.Add(time.Minute)) {
		t.Errorf("after the second factor: %+v, %v; want alice, signed in now", s, err)
	}
	if got := subject(t, c, get(first)); got != "" {
		t.Errorf("the value from before the second factor signs %q in", got)
	}
}

func TestSignInTwiceOnOneResponse(t *testing.T) {
	store := NewMemory(MemoryConfig{})
	c := newCookies(t, Config{Store: store})
	w := httptest.NewRecorder()
	w.Header().Add("Set-Cookie", "theme=dark; Path=/")
	first, err := c.SignIn(w, get(), Session{Subject: "alice", SecondFactorPending: true})
	if err != nil {
		t.Fatal(err)
	}
	w.Header().Add("Set-Cookie", "x__Host-usher-session=1")
	second, err := c.SignIn(w, get(), Session{Subject: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	lines := w.Header()["Set-Cookie"]
	if len(lines) != 3 || lines[0] != "theme=dark; Path=/" || lines[1] != "x__Host-usher-session=1" {
		t.Fatalf("Set-Cookie %q, want the other two and one of ours", lines)
	}
	pair, _, _ := strings.Cut(lines[2], ";")
	if storeKey(value(pair)) != second.ID {
		t.Error("the cookie is not that of the second sign-in")
	}
	if find(t, store, first.ID) != nil {
		t.Error("the first session is still stored")
	}

	if err := c.SignOut(w, get()); err != nil {
		t.Fatal(err)
	}
	if lines := w.Header()["Set-Cookie"]; len(lines) != 3 || !strings.HasPrefix(lines[2], cookieName+"=;") {
		t.Errorf("Set-Cookie %q after signing out", lines)
	}
	if find(t, store, second.ID) != nil {
		t.Error("the session that the response was to start is still stored")
	}
}

// A session that the request came with ends too where the response has a cookie already.
func TestSignInTwiceOnOneResponseWithAnotherRequest(t *testing.T) {
	store := NewMemory(MemoryConfig{})
	c := newCookies(t, Config{Store: store})
	old, pair := signIn(t, c, get(), Session{Subject: "alice"})
	elsewhere, others := signIn(t, c, get(), Session{Subject: "alice"})
	w := httptest.NewRecorder()
	w.Header().Add("Set-Cookie", "other="+value(others)) // which is no cookie of ours
	first, err := c.SignIn(w, get(), Session{Subject: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.SignIn(w, get(pair), Session{Subject: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	if find(t, store, old.ID) != nil || find(t, store, first.ID) != nil || find(t, store, second.ID) == nil {
		t.Error("of three sessions another than the last is stored")
	}
	if find(t, store, elsewhere.ID) == nil {
		t.Error("a session has ended whose value is in a cookie of another name")
	}
}

func TestSignOut(t *testing.T) {
	c := newCookies(t, Config{})
	_, pair := signIn(t, c, get(), Session{Subject: "alice"})
	_, elsewhere := signIn(t, c, get(), Session{Subject: "alice"})
	if err := c.SignOut(httptest.NewRecorder(), get(pair)); err != nil {
		t.Fatal(err)
	}
	if got := subject(t, c, get(pair)); got != "" {
		t.Errorf("%q is still signed in", got)
	}
	if got := subject(t, c, get(elsewhere)); got != "alice" {
		t.Errorf("%q is signed in in the other browser, want alice", got)
	}
	for _, line := range []string{"", pair, cookieName + "=garbage"} {
		w := httptest.NewRecorder()
		if err := c.SignOut(w, get(line)); err != nil {
			t.Errorf("signing out nobody: %v", err)
		}
		if len(w.Header()["Set-Cookie"]) != 1 {
			t.Error("the cookie is not dropped")
		}
	}
}

func TestSignOutEndsEverySessionThatTheRequestCarries(t *testing.T) {
	store := failing(newTestClock())
	c := newCookies(t, Config{Store: store, Insecure: true})
	var pairs []string
	for range 16 {
		_, pair := signIn(t, c, get(), Session{Subject: "alice"})
		pairs = append(pairs, pair)
	}
	if err := c.SignOut(httptest.NewRecorder(), get(strings.Join(pairs, "; "))); err != nil {
		t.Fatal(err)
	}
	for i, pair := range pairs {
		if got := subject(t, c, get(pair)); got != "" {
			t.Errorf("%q is still signed in by cookie %d", got, i)
		}
	}
}

// TestJunkCookies holds that a sign-out among cookies that somebody else has set either
// ends the session or says that it may not have.
func TestJunkCookies(t *testing.T) {
	junk := func(n int) (pairs string) {
		for range n {
			pairs += "usher-session=" + newValue() + "; "
		}
		return pairs
	}
	tests := []struct {
		rule    string
		before  string // in the Cookie header
		deletes int
		ended   bool
	}{
		{"four that could be ours", junk(4), 5, true},
		{"as many as are looked at, with the real one", junk(15), 16, true},
		{"one more", junk(16), 16, false},
		{"a thousand", junk(1000), 16, false},
		{"a thousand malformed ones cost nothing", strings.Repeat("usher-session=; usher-session=junk; ", 500), 1, true},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			store := failing(newTestClock())
			c := newCookies(t, Config{Store: store, Insecure: true})
			_, real := signIn(t, c, get(), Session{Subject: "alice"})
			w := httptest.NewRecorder()
			err := c.SignOut(w, get(tt.before+real))
			if got := store.count("Delete"); got != tt.deletes {
				t.Errorf("%d deletions, want %d", got, tt.deletes)
			}
			if ended := subject(t, c, get(real)) == ""; ended != tt.ended || (err == nil) != tt.ended {
				t.Errorf("the session has ended: %t, SignOut: %v; want it ended: %t", ended, err, tt.ended)
			}
			if got := w.Header()["Set-Cookie"]; len(got) != 1 || !strings.HasPrefix(got[0], "usher-session=; ") {
				t.Errorf("Set-Cookie %q, want the cookie dropped", got)
			}

			m := NewMemory(MemoryConfig{})
			c = newCookies(t, Config{Store: m, Insecure: true})
			_, real = signIn(t, c, get(), Session{Subject: "alice"})
			w = httptest.NewRecorder()
			s, err := c.SignIn(w, get(tt.before+real), Session{Subject: "bob"})
			if (err == nil) != tt.ended || (s != nil) != tt.ended || (len(w.Header()) > 0) != tt.ended {
				t.Errorf("SignIn: %v, %v, headers %v; want success: %t", s, err, w.Header(), tt.ended)
			}
			if len(m.entries) != 1 {
				t.Errorf("%d sessions are stored, want the old one or the new one", len(m.entries))
			}
		})
	}
}

func TestSignOutEverywhere(t *testing.T) {
	ctx := context.Background()
	store := failing(newTestClock())
	c := newCookies(t, Config{Store: store})
	_, one := signIn(t, c, get(), Session{Subject: "alice"})
	_, two := signIn(t, c, get(), Session{Subject: "alice", SecondFactorPending: true})
	_, bob := signIn(t, c, get(), Session{Subject: "bob"})
	if err := c.SignOutEverywhere(ctx, "alice"); err != nil {
		t.Fatal(err)
	}
	if a, b := subject(t, c, get(one)), subject(t, c, get(two)); a != "" || b != "" {
		t.Errorf("%q and %q are still signed in", a, b)
	}
	if got := subject(t, c, get(bob)); got != "bob" {
		t.Errorf("%q is signed in, want bob", got)
	}
	if err := c.SignOutEverywhere(ctx, ""); err == nil {
		t.Error("an empty subject is no error")
	}
	store.failFrom("DeleteOf")
	if err := c.SignOutEverywhere(ctx, "bob"); !errors.Is(err, errStore) {
		t.Errorf("SignOutEverywhere: %v, want the store's error", err)
	}
}

func TestTimeouts(t *testing.T) {
	const m = time.Minute
	const keep, keepHalf = -1, -2 // in place of an idle limit of 30 minutes
	tests := []struct {
		rule           string
		idle, absolute time.Duration
		uses           []time.Duration // since the sign-in
		at             time.Duration
		want           string
	}{
		{"a persistent one is good at the idle limit", keep, 0, nil, 30 * m, "alice"},
		{"a persistent one is good right before the absolute limit", keep, 0, nil, 12*time.Hour - time.Microsecond, "alice"},
		{"a persistent one is over at the absolute limit", keep, 0, []time.Duration{m, 12*time.Hour - 1}, 12 * time.Hour, ""},
		{"a persistent one is over at another absolute limit", keep, m, nil, m, ""},
		{"a persistent one whose second factor is pending is over at the idle limit", keepHalf, 0, nil, 30 * m, ""},
		{"but not before", keepHalf, 0, []time.Duration{20 * m}, 50*m - time.Microsecond, "alice"},
		{"good right before the idle limit", 0, 0, nil, 30*m - time.Microsecond, "alice"},
		{"over at the idle limit", 0, 0, nil, 30 * m, ""},
		{"a use puts the idle limit off", 0, 0, []time.Duration{20 * m}, 50*m - time.Microsecond, "alice"},
		{"and no further", 0, 0, []time.Duration{20 * m}, 50 * m, ""},
		{"many uses put it off again and again", 0, 0, []time.Duration{20 * m, 40 * m, 60 * m, 80 * m}, 100 * m, "alice"},
		{"a use after the end does not bring it back", 0, 0, []time.Duration{30 * m}, 31 * m, ""},
		{"over at the absolute limit however much it is used", 10 * m, 20 * m, []time.Duration{5 * m, 10 * m, 15 * m}, 20 * m, ""},
		{"good right before the absolute limit", 10 * m, 20 * m, []time.Duration{5 * m, 10 * m, 15 * m}, 20*m - time.Microsecond, "alice"},
		{"a short idle limit is kept by uses that are a tenth of it apart", 10 * time.Second, 0, []time.Duration{time.Second, 10 * time.Second}, 19 * time.Second, "alice"},
		{"the default idle limit is no longer than the absolute one", 0, m, nil, m, ""},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			clock := newTestClock()
			c := newCookies(t, Config{
				// The store's own clock stands still, so that it purges nothing.
				Store: NewMemory(MemoryConfig{Now: newTestClock().Now}),
				Now:   clock.Now, Idle: max(tt.idle, 0), Absolute: tt.absolute,
			})
			_, pair := signIn(t, c, get(), Session{Subject: "alice", Persistent: tt.idle < 0, SecondFactorPending: tt.idle == keepHalf})
			for _, use := range append(tt.uses, tt.at) {
				clock.Advance(use - clock.Now().Sub(start))
				if use != tt.at {
					subject(t, c, get(pair))
				}
			}
			if got := subject(t, c, get(pair)); got != tt.want {
				t.Errorf("%q is signed in, want %q", got, tt.want)
			}
		})
	}
}

// TestLimitsThatChange has one session and a keeper before and after the change of its
// configuration. The store's own clock stands still, so that it is Cookies that holds
// the limits.
func TestLimitsThatChange(t *testing.T) {
	const m, h, us = time.Minute, time.Hour, time.Microsecond
	raised := Config{Idle: 13 * h, Absolute: 24 * h}
	tests := []struct {
		rule  string
		after Config
		uses  []time.Duration // since the sign-in, after the change
		at    time.Duration
		want  string
	}{
		{"a lowered absolute limit is not passed yet", Config{Absolute: 10 * m}, nil, 10*m - us, "alice"},
		{"a lowered absolute limit holds at once", Config{Absolute: 10 * m}, nil, 10 * m, ""},
		{"a lowered absolute limit holds for one in use", Config{Absolute: 10 * m}, []time.Duration{5 * m}, 10 * m, ""},
		{"a lowered idle limit is not passed yet", Config{Idle: m}, nil, m - us, "alice"},
		{"a lowered idle limit holds at once", Config{Idle: m}, nil, m, ""},
		{"a lowered idle limit holds for one in use", Config{Idle: m}, []time.Duration{m / 2}, m/2 + m, ""},
		{"a raised idle limit brings nothing back", raised, nil, 30 * m, ""},
		{"a raised idle limit holds from the next use on", raised, []time.Duration{m}, 12*h - us, "alice"},
		{"a raised absolute limit lengthens nothing", raised, []time.Duration{m}, 12 * h, ""},
		{"a raised absolute limit lengthens none in use", raised, []time.Duration{m, 6 * h, 12*h - us}, 12 * h, ""},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			clock := newTestClock()
			tt.after.Store, tt.after.Now = NewMemory(MemoryConfig{Now: newTestClock().Now}), clock.Now
			before := newCookies(t, Config{Store: tt.after.Store, Now: clock.Now})
			after := newCookies(t, tt.after)
			_, pair := signIn(t, before, get(), Session{Subject: "alice"})
			for _, use := range tt.uses {
				clock.Advance(use - clock.Now().Sub(start))
				if got := subject(t, after, get(pair)); got != "alice" {
					t.Fatalf("%q is signed in after %v, want alice", got, use)
				}
			}
			clock.Advance(tt.at - clock.Now().Sub(start))
			if got := subject(t, after, get(pair)); got != tt.want {
				t.Errorf("%q is signed in, want %q", got, tt.want)
			}
		})
	}
}

// TestExpiresAt holds that a store may go by ExpiresAt alone: it is the earlier of the
// two limits from the sign-in on and after every use.
func TestExpiresAt(t *testing.T) {
	const m = time.Minute
	clock := newTestClock()
	store := NewMemory(MemoryConfig{Now: clock.Now})
	c := newCookies(t, Config{Store: store, Now: clock.Now, Idle: 30 * m, Absolute: 60 * m})
	s, pair := signIn(t, c, get(), Session{Subject: "alice"})
	for _, tt := range []struct{ use, seen, expires time.Duration }{
		{0, 0, 30 * m},
		{m / 2, 0, 30 * m}, // not written
		{20 * m, 20 * m, 50 * m},
		{40 * m, 40 * m, 60 * m},
		{59 * m, 59 * m, 60 * m},
	} {
		clock.Advance(tt.use - clock.Now().Sub(start))
		subject(t, c, get(pair))
		rec := find(t, store, s.ID)
		if seen, expires := rec.LastSeenAt.Sub(start), rec.ExpiresAt.Sub(start); seen != tt.seen || expires != tt.expires {
			t.Errorf("used at %v: last seen at %v, expires at %v; want %v and %v", tt.use, seen, expires, tt.seen, tt.expires)
		}
		if got := rec.EndsAt.Sub(start); got != 60*m {
			t.Errorf("used at %v: ends at %v, want %v", tt.use, got, 60*m)
		}
	}
}

// TestExpiresAtOfAPersistentSession holds the same for one that no idle limit ends, of
// which it is still written when it was used.
func TestExpiresAtOfAPersistentSession(t *testing.T) {
	const m = time.Minute
	for _, tt := range []struct {
		rule             string
		pending          bool
		absolute         time.Duration // after the sign-in
		expires, touched time.Duration // from the sign-in on; after a use at 20 minutes
	}{
		{"it expires at its end", false, 60 * m, 60 * m, 60 * m},
		{"an absolute limit made shorter moves nothing back", false, 40 * m, 60 * m, 60 * m},
		{"one made longer lengthens nothing", false, 120 * m, 60 * m, 60 * m},
		{"half of a sign-in expires without a use", true, 60 * m, 30 * m, 50 * m},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			clock := newTestClock()
			store := NewMemory(MemoryConfig{Now: clock.Now})
			before := newCookies(t, Config{Store: store, Now: clock.Now, Absolute: 60 * m})
			after := newCookies(t, Config{Store: store, Now: clock.Now, Absolute: tt.absolute})
			s, pair := signIn(t, before, get(), Session{Subject: "alice", Persistent: true, SecondFactorPending: tt.pending})
			if got := find(t, store, s.ID).ExpiresAt.Sub(start); got != tt.expires {
				t.Errorf("it expires after %v, want %v", got, tt.expires)
			}
			clock.Advance(20 * m)
			subject(t, after, get(pair))
			rec := find(t, store, s.ID)
			if got := rec.ExpiresAt.Sub(start); got != tt.touched {
				t.Errorf("after a use it expires after %v, want %v", got, tt.touched)
			}
			if !rec.LastSeenAt.Equal(clock.Now()) {
				t.Errorf("it was last seen at %v, want %v", rec.LastSeenAt, clock.Now())
			}
		})
	}
}

// TestExpiresAtWhenLimitsChange has a session that was stored with 30 minutes and an hour
// used for 20 minutes with other limits.
func TestExpiresAtWhenLimitsChange(t *testing.T) {
	const m = time.Minute
	tests := []struct {
		rule           string
		idle, absolute time.Duration
		want           time.Duration // since the sign-in
	}{
		{"a raised idle limit counts from the use on", 35 * m, 60 * m, 55 * m},
		{"a raised absolute limit does not count", 50 * m, 90 * m, 60 * m},
		{"a lowered absolute limit counts", 30 * m, 40 * m, 40 * m},
		{"nothing is moved back", 5 * m, 60 * m, 30 * m},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			clock := newTestClock()
			store := NewMemory(MemoryConfig{Now: clock.Now})
			before := newCookies(t, Config{Store: store, Now: clock.Now, Idle: 30 * m, Absolute: 60 * m})
			after := newCookies(t, Config{Store: store, Now: clock.Now, Idle: tt.idle, Absolute: tt.absolute})
			s, pair := signIn(t, before, get(), Session{Subject: "alice"})
			for clock.Now().Sub(start) < 20*m {
				clock.Advance(4 * m)
				subject(t, after, get(pair))
			}
			if got := find(t, store, s.ID).ExpiresAt.Sub(start); got != tt.want {
				t.Errorf("it expires after %v, want %v", got, tt.want)
			}
		})
	}
}

// TestOneAccountDoesNotLockOthersOut has an account sign in without end.
func TestOneAccountDoesNotLockOthersOut(t *testing.T) {
	clock := newTestClock()
	store := NewMemory(MemoryConfig{Max: 300, Now: clock.Now})
	c := newCookies(t, Config{Store: store, Now: clock.Now})
	_, alice := signIn(t, c, get(), Session{Subject: "alice"})
	for range 1000 {
		signIn(t, c, get(), Session{Subject: "mallory"})
	}
	_, bob := signIn(t, c, get(), Session{Subject: "bob"})
	if a, b := subject(t, c, get(alice)), subject(t, c, get(bob)); a != "alice" || b != "bob" {
		t.Errorf("%q and %q are signed in, want alice and bob", a, b)
	}
	if got := len(store.entries); got != 102 {
		t.Errorf("%d sessions are stored, want 102", got)
	}
}

func TestSessionsOutOfUseMakeRoom(t *testing.T) {
	clock := newTestClock()
	c := newCookies(t, Config{Store: NewMemory(MemoryConfig{Max: 2, Now: clock.Now}), Now: clock.Now})
	_, alice := signIn(t, c, get(), Session{Subject: "alice"})
	_, bob := signIn(t, c, get(), Session{Subject: "bob"})
	clock.Advance(20 * time.Minute)
	if got := subject(t, c, get(alice)); got != "alice" {
		t.Fatalf("%q is signed in, want alice", got)
	}
	clock.Advance(10 * time.Minute)
	_, carol := signIn(t, c, get(), Session{Subject: "carol"})
	if a, b, d := subject(t, c, get(alice)), subject(t, c, get(bob)), subject(t, c, get(carol)); a != "alice" || b != "" || d != "carol" {
		t.Errorf("%q, %q and %q are signed in, want alice, nobody and carol", a, b, d)
	}
}

func TestUsesAreWrittenOncePerInterval(t *testing.T) {
	tests := []struct {
		rule string
		idle time.Duration
		step time.Duration
		uses int
		want int
	}{
		{"a use right after the sign-in is not written", 0, 0, 1, 0},
		{"uses within a minute are not written", 0, 59 * time.Second, 1, 0},
		{"a use after a minute is written", 0, time.Minute, 1, 1},
		{"sixty uses in a minute are written once", 0, time.Second, 60, 1},
		{"uses over ten minutes are written ten times", 0, time.Second, 600, 10},
		{"a short idle limit is written at its tenths", 10 * time.Second, time.Second, 5, 5},
		{"a short idle limit is written at its tenths only", 10 * time.Second, time.Second / 2, 5, 2},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			clock := newTestClock()
			store := failing(clock)
			c := newCookies(t, Config{Store: store, Now: clock.Now, Idle: tt.idle})
			_, pair := signIn(t, c, get(), Session{Subject: "alice"})
			for range tt.uses {
				clock.Advance(tt.step)
				subject(t, c, get(pair))
			}
			if got := store.count("Touch"); got != tt.want {
				t.Errorf("%d writes, want %d", got, tt.want)
			}
		})
	}
}

func TestAnExpiredSessionIsNotTouched(t *testing.T) {
	clock := newTestClock()
	store := failing(clock)
	c := newCookies(t, Config{Store: store, Now: clock.Now})
	_, pair := signIn(t, c, get(), Session{Subject: "alice"})
	clock.Advance(30 * time.Minute)
	subject(t, c, get(pair))
	if got := store.count("Touch"); got != 0 {
		t.Errorf("%d writes, want none", got)
	}
}

func TestStoreFails(t *testing.T) {
	clock := newTestClock()

	t.Run("finding: an error and nobody", func(t *testing.T) {
		c := newCookies(t, Config{Store: failing(clock, "Find"), Now: clock.Now})
		_, pair := signIn(t, c, get(), Session{Subject: "alice"})
		if s, err := c.Session(get(pair)); s != nil || !errors.Is(err, errStore) {
			t.Errorf("Session: %v, %v; want the store's error", s, err)
		}
		if s, err := c.Session(get()); s != nil || err != nil {
			t.Errorf("Session without a cookie: %v, %v; want nobody", s, err)
		}
	})

	t.Run("touching: somebody, and a line in the log", func(t *testing.T) {
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

	t.Run("saving: an error and no cookie", func(t *testing.T) {
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

func TestAVisitorCostsNothing(t *testing.T) {
	store := failing(newTestClock())
	c := newCookies(t, Config{Store: store})
	for range 100 {
		subject(t, c, get("a=b"))
	}
	if len(store.calls) != 0 {
		t.Errorf("the store was called: %v", store.calls)
	}
}

func TestEverythingAtOnce(t *testing.T) {
	clock := newTestClock()
	c := newCookies(t, Config{Now: clock.Now})
	_, shared := signIn(t, c, get(), Session{Subject: "shared", Data: []byte("0")})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			name := fmt.Sprint("user", i)
			for range 30 {
				_, pair := signIn(t, c, get(), Session{Subject: name})
				_, next := signIn(t, c, get(pair), Session{Subject: name})
				clock.Advance(time.Second)
				if got := subject(t, c, get(next)); got != name {
					t.Errorf("%q is signed in, want %q", got, name)
				}
				if got := subject(t, c, get(pair)); got != "" {
					t.Errorf("%q is signed in by the old cookie", got)
				}
				if s, err := c.Session(get(shared)); err != nil || s == nil || s.Subject != "shared" {
					t.Errorf("Session: %+v, %v", s, err)
				} else {
					s.Data[0]++
				}
				if err := c.SignOut(httptest.NewRecorder(), get(next)); err != nil {
					t.Error(err)
				}
				if got := subject(t, c, get(next)); got != "" {
					t.Errorf("%q is signed in after signing out", got)
				}
			}
			if err := c.SignOutEverywhere(context.Background(), name); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestAccountsAtOnce has one browser do everything in many tabs: whoever comes out of it
// signed in is somebody who signed in there.
func TestAccountsAtOnce(t *testing.T) {
	c := newCookies(t, Config{Accounts: 3})
	_, pair := signIn(t, c, get(), Session{Subject: "alice"})
	_, pair = signIn(t, c, get(pair), Session{Subject: "bob"})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 30 {
				w, r := httptest.NewRecorder(), get("a=b; "+pair)
				calls := []func() error{
					func() error { _, err := c.Choose(w, r, "alice"); return err },
					func() error { _, err := c.SignIn(w, r, Session{Subject: "carol"}); return err },
					func() error { _, err := c.Accounts(r); return err },
					func() error { return c.SignOutAccount(w, r, "carol") },
				}
				for j := range calls {
					if err := calls[(i+j)%len(calls)](); err != nil {
						t.Error(err)
					}
				}
				list, err := c.Accounts(r)
				if err != nil || slices.ContainsFunc(list, func(s *Session) bool { return s.Subject != "alice" && s.Subject != "bob" && s.Subject != "carol" }) {
					t.Errorf("the accounts are %v, %v", list, err)
				}
			}
		})
	}
	wg.Wait()
	if got := subject(t, c, get(pair)); got != "bob" {
		t.Errorf("%q is signed in by the first cookie, want bob", got)
	}
}

func TestRacingSignInsWithOneCookieLeaveItWorthless(t *testing.T) {
	m := NewMemory(MemoryConfig{})
	c := newCookies(t, Config{Store: m})
	_, old := signIn(t, c, get(), Session{Subject: "alice", SecondFactorPending: true})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { signIn(t, c, get(old), Session{Subject: "alice"}) })
	}
	wg.Wait()
	if got := subject(t, c, get(old)); got != "" {
		t.Errorf("%q is signed in by the old cookie", got)
	}
	if len(m.entries) != 8 {
		t.Errorf("%d sessions are stored, want 8", len(m.entries))
	}
}

// undying is a store that counts calls and deletes nothing, so that the same values can
// be tried over and over.
type undying struct {
	*Memory
	calls int
}

func (s *undying) FindSession(ctx context.Context, key string) (*Record, error) {
	s.calls++
	return s.Memory.FindSession(ctx, key)
}

func (s *undying) DeleteSession(context.Context, string) error {
	s.calls++
	return nil
}

// FuzzSession holds, for any bytes in a Cookie header: nothing panics or fails, and
// whoever is found signed in has a value that SignIn gave to that user, in a cookie of
// the exact name, of which there is no other. The store is called a few times at most.
// Signing in and out leaves one cookie of ours or none in the request, and the others as
// they were. In the input, ALICE and BOB stand for the values that SignIn gave out, so
// that the fuzzer can come close.
func FuzzSession(f *testing.F) {
	store := &undying{Memory: NewMemory(MemoryConfig{})}
	c := newCookies(f, Config{Store: store, Accounts: 3})
	values := make(map[string]string)
	for _, name := range []string{"alice", "bob"} {
		_, pair := signIn(f, c, get(), Session{Subject: name})
		values[name] = value(pair)
	}
	fill := strings.NewReplacer("ALICE", values["alice"], "BOB", values["bob"])

	for _, seed := range []string{
		"", "a=b", "__Host-usher-session=ALICE", "a=b; __Host-usher-session=BOB; c=d",
		"__Host-usher-session=ALICE; __Host-usher-session=BOB", "__Host-usher-session=ALICE; __Host-usher-session=\"",
		"__HOST-USHER-SESSION=ALICE", "usher-session=ALICE", "\u00a0__Host-usher-session=ALICE", "\xa0__Host-usher-session=ALICE",
		"__Host-usher-session=\"ALICE\"", "__Host-usher-session= ALICE", "__Host-usher-session=ALICE\x00", "__Host-usher-session=ALICE\n",
		"__Host-usher-session==ALICE", "a=\"; __Host-usher-session=ALICE; \"", "__Host-usher-session=ALICEALICE", "=__Host-usher-session=ALICE",
		"__Host-usher-session=' OR '1'='1", "$Version=1; __Host-usher-session=ALICE; $Path=/", "__Host-usher-session=ALICE,BOB",
		"__Host-usher-session=ALICE.BOB", "a=b; __Host-usher-session=BOB.ALICE", "__Host-usher-session=ALICE.ALICE", "__Host-usher-session=.ALICE",
		"__Host-usher-session=ALICE.", "__Host-usher-session=ALICE.BOB.junk", "__Host-usher-session=ALICE. BOB", "__Host-usher-session=ALICE%2EBOB",
	} {
		f.Add(seed, "")
	}
	f.Add("__Host-usher-session=ALICE", "__Host-usher-session=BOB")
	f.Add("a=b", "__Host-usher-session=BOB.ALICE")

	f.Fuzz(func(t *testing.T, first, second string) {
		lines := []string{fill.Replace(first), fill.Replace(second)}
		ours, others := cookiesIn(lines)
		// What a cookie has to be: values that are known or could be, each once.
		var held []string
		if wanted := regexp.MustCompile(`^[\w-]{43}(\.[\w-]{43}){0,7}$`); len(ours) == 1 && wanted.MatchString(ours[0]) {
			held = strings.Split(ours[0], ".")
		}
		store.calls = 0
		s, err := c.Session(get(lines...))
		list, err2 := c.Accounts(get(lines...))
		if err = errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		if s != nil && (len(held) == 0 || values[s.Subject] != held[0] || s.ID != storeKey(held[0])) {
			t.Errorf("%q is signed in by %q", s.Subject, lines)
		}
		for _, a := range list {
			if !slices.Contains(held, values[a.Subject]) || a.ID != storeKey(values[a.Subject]) {
				t.Errorf("%q is an account by %q", a.Subject, lines)
			}
		}
		if len(ours) == 1 && ours[0] == values["alice"]+"."+values["bob"] && subjects(list) != "alice bob" {
			t.Errorf("the accounts are %q by %q", subjects(list), lines)
		}
		if store.calls > 4 {
			t.Errorf("reading took %d calls of the store", store.calls)
		}
		fuzzChanges(t, c, store, lines, others)
	})
}

// fuzzChanges signs in and out with the request and looks at its header.
func fuzzChanges(t *testing.T, c *Cookies, store *undying, lines, others []string) {
	for name, call := range map[string]func(w http.ResponseWriter, r *http.Request) error{
		"SignIn":         func(w http.ResponseWriter, r *http.Request) error { return signInCarol(c, w, r) },
		"Choose":         func(w http.ResponseWriter, r *http.Request) error { return chooseAlice(c, w, r) },
		"SignOut":        c.SignOut,
		"SignOutAccount": func(w http.ResponseWriter, r *http.Request) error { return signOutBob(c, w, r) },
	} {
		w, r := httptest.NewRecorder(), get(lines...)
		store.calls = 0
		if err := call(w, r); err != nil {
			continue // too many of our cookies, or nobody to choose
		}
		if store.calls > 3+maxDeleted {
			t.Errorf("%s took %d calls of the store", name, store.calls)
		}
		if len(w.Header()) == 0 {
			continue
		}
		set := value(strings.Split(w.Header().Get("Set-Cookie"), ";")[0])
		left, rest := cookiesIn(r.Header["Cookie"])
		if strings.Join(left, " ") != set || !slices.Equal(rest, others) {
			t.Errorf("after %s %q became %q", name, lines, r.Header["Cookie"])
		}
		if held := c.held(r); strings.Join(held, ".") != set {
			t.Errorf("after %s %q is held, want %q", name, held, set)
		}
	}
}

// cookiesIn returns the values of the cookies of our name and the other cookies.
func cookiesIn(lines []string) (ours, others []string) {
	for pair := range strings.SplitSeq(strings.Join(lines, ";"), ";") {
		pair = strings.Trim(pair, " \t")
		if v, found := strings.CutPrefix(pair, cookieName+"="); found {
			ours = append(ours, v)
		} else if pair != "" {
			others = append(others, pair)
		}
	}
	return ours, others
}

func BenchmarkSession(b *testing.B) {
	c := newCookies(b, Config{})
	_, pair := signIn(b, c, get(), Session{Subject: "alice", AMR: []string{"pwd"}})
	r := get("theme=dark; " + pair)
	b.ReportAllocs()
	for b.Loop() {
		if s, err := c.Session(r); s == nil || err != nil {
			b.Fatal(s, err)
		}
	}
}
