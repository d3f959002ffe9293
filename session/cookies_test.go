package session

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
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
		t.Run(rule, func(t *testing.T) {
			if got := subject(t, c, r); got != "" {
				t.Errorf("%q is signed in", got)
			}
		})
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
	for rule, planted := range map[string]string{
		"a value of no form": cookieName + "=attackerchosen",
		"a value of nobody":  cookieName + "=" + newValue(),
	} {
		t.Run(rule, func(t *testing.T) {
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
		})
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
	for rule, line := range map[string]string{
		"no cookie": "", "a cookie that is signed out already": pair, "garbage": cookieName + "=garbage",
	} {
		t.Run(rule, func(t *testing.T) {
			w := httptest.NewRecorder()
			if err := c.SignOut(w, get(line)); err != nil {
				t.Errorf("signing out nobody: %v", err)
			}
			if len(w.Header()["Set-Cookie"]) != 1 {
				t.Error("the cookie is not dropped")
			}
		})
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
