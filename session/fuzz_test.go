package session

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
)

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
