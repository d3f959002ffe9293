package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// browser is one that keeps our cookie. After each call it holds the request against the
// cookie: r has to carry what the browser would send next.
type browser struct {
	t      *testing.T
	c      *Cookies
	cookie string // "name=value"; empty for none
	maxAge int    // of the cookie; 0 for none
	sets   int    // how often a response had a cookie
}

// visit makes a request with the browser's cookie and takes the cookie of the response.
func (b *browser) visit(call func(w http.ResponseWriter, r *http.Request)) {
	b.t.Helper()
	w, r := httptest.NewRecorder(), get()
	if b.cookie != "" {
		r.Header.Set("Cookie", b.cookie)
	}
	call(w, r)
	for _, cookie := range w.Result().Cookies() {
		b.sets++
		b.cookie, b.maxAge = cookie.Name+"="+cookie.Value, cookie.MaxAge
		if cookie.Value == "" {
			b.cookie, b.maxAge = "", 0
		}
	}
	if got := r.Header.Get("Cookie"); got != b.cookie {
		b.t.Errorf("the request carries %q, the browser %q", got, b.cookie)
	}
}

func (b *browser) signIn(s Session) (got *Session) {
	b.t.Helper()
	b.visit(func(w http.ResponseWriter, r *http.Request) {
		var err error
		if got, err = b.c.SignIn(w, r, s); err != nil {
			b.t.Fatalf("SignIn: %v", err)
		}
	})
	return got
}

func (b *browser) choose(subject string) (got *Session) {
	b.t.Helper()
	b.visit(func(w http.ResponseWriter, r *http.Request) {
		var err error
		if got, err = b.c.Choose(w, r, subject); err != nil {
			b.t.Fatalf("Choose: %v", err)
		}
	})
	return got
}

// do takes a step of a table: a subject who signs in, or a verb with one.
func (b *browser) do(step string) {
	b.t.Helper()
	verb, subject, _ := strings.Cut(step, ":")
	switch verb {
	case "half":
		b.signIn(Session{Subject: subject, SecondFactorPending: true})
	case "keep":
		b.signIn(Session{Subject: subject, Persistent: true})
	case "keep-half":
		b.signIn(Session{Subject: subject, Persistent: true, SecondFactorPending: true})
	case "choose":
		b.choose(subject)
	case "out":
		b.visit(func(w http.ResponseWriter, r *http.Request) {
			out := b.c.SignOut
			if subject != "" {
				out = func(w http.ResponseWriter, r *http.Request) error { return b.c.SignOutAccount(w, r, subject) }
			}
			if err := out(w, r); err != nil {
				b.t.Fatalf("%s: %v", step, err)
			}
		})
	default:
		b.signIn(Session{Subject: step})
	}
}

// names returns who is signed in, the active one apart; "?" stands for a second factor
// that is pending.
func (b *browser) names() (active, accounts string) {
	b.t.Helper()
	b.visit(func(_ http.ResponseWriter, r *http.Request) {
		s, err := b.c.Session(r)
		list, err2 := b.c.Accounts(r)
		if err = errors.Join(err, err2); err != nil {
			b.t.Fatal(err)
		}
		if s != nil {
			active = s.Subject
		}
		if s != nil && s.SecondFactorPending {
			active += "?"
		}
		accounts = subjects(list)
	})
	return active, accounts
}

func subjects(list []*Session) string {
	var names []string
	for _, s := range list {
		names = append(names, s.Subject)
	}
	return strings.Join(names, " ")
}

func TestAccountsOfOneBrowser(t *testing.T) {
	tests := []struct {
		rule             string
		limit            int
		steps            string
		active, accounts string
		stored           int
	}{
		{"nobody", 3, "", "", "", 0},
		{"one user", 3, "alice", "alice", "alice", 1},
		{"a sign-in joins those before", 3, "alice bob carol", "carol", "carol bob alice", 3},
		{"beyond the limit the last account is removed", 3, "alice bob carol dave", "dave", "dave carol bob", 3},
		{"the limit may be 8", 8, "a b c d e f g h i", "i", "i h g f e d c b", 8},
		{"with room for one account a sign-in replaces the previous one", 1, "alice bob", "bob", "bob", 1},
		{"no limit is room for one", 0, "alice bob", "bob", "bob", 1},
		{"with room for one, one can be chosen", 1, "alice bob choose:alice choose:bob", "bob", "bob", 1},
		{"with room for one, one can be ended", 1, "alice out:alice", "", "", 0},
		{"a subject is there once", 3, "alice bob alice", "alice", "alice bob", 2},
		{"and takes no other's place", 2, "alice bob alice", "alice", "alice bob", 2},
		{"who is chosen is active", 3, "alice bob choose:alice", "alice", "alice bob", 2},
		{"the order is that of being active", 3, "alice bob carol choose:alice choose:bob", "bob", "bob alice carol", 3},
		{"and so the account that was active longest ago is removed", 3, "alice bob carol choose:alice dave", "dave", "dave alice carol", 3},
		{"the active one can be chosen", 3, "alice bob choose:bob", "bob", "bob alice", 2},
		{"a stranger cannot be chosen", 3, "alice bob choose:carol", "bob", "bob alice", 2},
		{"nor can nobody", 3, "alice choose:", "alice", "alice", 1},
		{"a pending second factor is active but no account", 3, "alice half:bob", "bob?", "alice", 2},
		{"and cannot be chosen", 3, "alice half:bob choose:bob", "bob?", "alice", 2},
		{"the second factor takes its place", 3, "alice half:bob bob", "bob", "bob alice", 2},
		{"so does another sign-in", 3, "alice half:bob carol", "carol", "carol alice", 2},
		{"and another half of one", 3, "alice half:bob half:carol", "carol?", "alice", 2},
		{"and a choice", 3, "alice half:bob choose:alice", "alice", "alice", 1},
		{"signing in again by half ends the sign-in that was", 3, "bob alice half:alice", "alice?", "bob", 2},
		{"a waiting account ends", 3, "alice bob out:alice", "bob", "bob", 1},
		{"the active account ends, and nobody takes its place", 3, "alice bob out:bob", "", "alice", 1},
		{"until one is chosen", 3, "alice bob carol out:carol choose:alice", "alice", "alice bob", 2},
		{"or signs in", 2, "alice bob out:bob carol", "carol", "carol alice", 2},
		{"one account after the other ends", 3, "alice bob carol out:carol out:alice", "", "bob", 1},
		{"all end one by one", 3, "alice bob out:bob out:alice", "", "", 0},
		{"a stranger's end changes nothing", 3, "alice bob out:carol", "bob", "bob alice", 2},
		{"a pending second factor ends", 3, "alice half:bob out:bob", "", "alice", 1},
		{"all end at once", 3, "alice bob half:carol out", "", "", 0},
		{"and may begin again", 3, "alice bob out carol", "carol", "carol", 1},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			m := NewMemory(MemoryConfig{})
			b := &browser{t: t, c: newCookies(t, Config{Store: m, Accounts: tt.limit})}
			for _, step := range strings.Fields(tt.steps) {
				b.do(step)
			}
			active, accounts := b.names()
			if active != tt.active || accounts != tt.accounts {
				t.Errorf("active is %q of %q, want %q of %q", active, accounts, tt.active, tt.accounts)
			}
			if len(m.entries) != tt.stored {
				t.Errorf("%d sessions are stored, want %d", len(m.entries), tt.stored)
			}
			for key := range m.entries {
				if !slices.ContainsFunc(strings.Split(value(b.cookie), "."), func(v string) bool { return storeKey(v) == key }) {
					t.Error("a session is stored that the browser has lost")
				}
			}
		})
	}
}

func TestTheCookieIsDroppedWithTheLastAccount(t *testing.T) {
	for rule, steps := range map[string]string{
		"one who signs out":                  "alice out:alice",
		"all at once":                        "alice bob out",
		"one whose second factor is pending": "half:alice out:alice",
		"one after the other":                "alice bob out:bob out:alice",
	} {
		t.Run(rule, func(t *testing.T) {
			b := &browser{t: t, c: newCookies(t, Config{Accounts: 3})}
			for _, step := range strings.Fields(steps) {
				b.do(step)
			}
			if b.cookie != "" {
				t.Errorf("the cookie is %q", b.cookie)
			}
		})
	}
}

// TestHowLongTheCookieLasts has steps that begin at 0 and take what is said before the "@"
// or nothing. A session lasts for an hour, or ten minutes without being used.
func TestHowLongTheCookieLasts(t *testing.T) {
	const s, m, h = time.Second, time.Minute, time.Hour
	tests := []struct {
		rule     string
		steps    string
		absolute time.Duration // from the step "shorter" on
		want     time.Duration // Max-Age of the last cookie; 0 for one that ends with the browser
		accounts string        // when the browser comes back after an end
	}{
		{"a sign-in ends with the browser", "alice", 0, 0, ""},
		{"a persistent one does not", "keep:alice", 0, h, "alice"},
		{"its place is taken", "keep:alice alice", 0, 0, ""},
		{"and back", "alice keep:alice", 0, h, "alice"},
		{"two persistent ones do not", "keep:alice keep:bob", 0, h, "bob alice"},
		{"the one that ends last counts, first", "keep:alice 20m@keep:bob", 0, h, "bob alice"},
		{"the one that ends last counts, later", "keep:alice 20m@keep:bob 10m@choose:alice", 0, 50 * m, "alice bob"},
		{"one that is not takes the other along", "keep:alice bob", 0, 0, ""},
		{"whichever comes first", "alice keep:bob", 0, 0, ""},
		{"and is chosen", "keep:alice bob choose:alice", 0, 0, ""},
		{"until it signs out", "keep:alice bob out:bob", 0, h, "alice"},
		{"also if it waits", "bob keep:alice out:bob", 0, h, "alice"},
		{"until it has expired, and somebody chooses", "keep:alice bob 11m@choose:alice", 0, 49 * m, "alice"},
		{"or signs in", "keep:alice bob 11m@keep:carol", 0, h, "carol alice"},
		{"or out", "keep:alice bob keep:carol 11m@out:carol", 0, 49 * m, "alice"},
		{"what has expired is no account", "alice keep:bob 11m@out:bob", 0, 0, ""},
		{"until it gives way", "bob keep:alice keep:carol keep:dave", 0, h, "dave carol alice"},
		{"signing out leaves the end of those who stay", "keep:alice 20m@keep:bob out:bob", 0, 40 * m, "alice"},
		{"with the last one goes the cookie", "keep:alice keep:bob out:bob out:alice", 0, 0, ""},
		{"all at once too", "keep:alice keep:bob out", 0, 0, ""},
		{"a value that leads nowhere is no account", "keep:alice keep:bob out:bob keep:carol out:alice", 0, h, "carol"},
		{"a second factor that is pending is as the user wants it", "keep-half:alice", 0, h, ""},
		{"and takes others along", "keep:alice half:bob", 0, 0, ""},
		{"or not", "keep:alice keep-half:bob", 0, h, "alice"},
		{"the second factor sets it again", "keep-half:alice keep:alice", 0, h, "alice"},
		{"also that it does not", "keep-half:alice alice", 0, 0, ""},
		{"seconds are whole and none too many", "keep:alice 1500ms@choose:alice", 0, h - 2*s, "alice"},
		{"the last second is one", "keep:alice 3599500ms@choose:alice", 0, s, ""},
		{"an absolute limit made shorter counts at once", "keep:alice 10m@shorter choose:alice", 30 * m, 20 * m, "alice"},
		{"and ends who is over it", "keep:alice 10m@keep:bob 25m@shorter choose:bob", 30 * m, 5 * m, "bob"},
		{"one made longer lengthens nothing", "keep:alice 10m@shorter choose:alice", 24 * h, 50 * m, "alice"},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			clock := newTestClock()
			cfg := Config{
				// The store's own clock stands still, so that it purges nothing.
				Store: NewMemory(MemoryConfig{Now: newTestClock().Now}),
				Now:   clock.Now, Accounts: 3, Idle: 10 * m, Absolute: h,
			}
			b := &browser{t: t, c: newCookies(t, cfg)}
			for _, step := range strings.Fields(tt.steps) {
				if after, rest, ok := strings.Cut(step, "@"); ok {
					d, err := time.ParseDuration(after)
					if err != nil {
						t.Fatal(err)
					}
					clock.Advance(d)
					step = rest
				}
				if step == "shorter" {
					cfg.Absolute = tt.absolute
					b.c = newCookies(t, cfg)
					continue
				}
				b.do(step)
			}
			if got := time.Duration(b.maxAge) * s; got != tt.want {
				t.Errorf("the cookie lasts for %v, want %v", got, tt.want)
			}
			// The browser is closed, and opened again when only what lasts is left.
			if b.maxAge == 0 {
				b.cookie = ""
			}
			clock.Advance(min(11*m, tt.want-1))
			if _, accounts := b.names(); accounts != tt.accounts {
				t.Errorf("then %q are signed in, want %q", accounts, tt.accounts)
			}
		})
	}
}

// TestChoosingIsNoSignIn holds what the endpoint goes by: a choice proves nothing.
func TestChoosingIsNoSignIn(t *testing.T) {
	clock := newTestClock()
	b := &browser{t: t, c: newCookies(t, Config{Now: clock.Now, Accounts: 2})}
	given := Session{Subject: "alice", ACR: "2", AMR: []string{"pwd"}, Data: []byte("data")}
	before := b.signIn(given)
	alices := value(b.cookie)
	clock.Advance(time.Minute)
	b.signIn(Session{Subject: "bob"})
	bobs, rest, _ := strings.Cut(value(b.cookie), ".")
	if rest != alices || bobs == alices {
		t.Errorf("the cookie went from %q to %q", alices, value(b.cookie))
	}

	clock.Advance(time.Minute)
	after := b.choose("alice")
	if after.ID != before.ID || !after.AuthTime.Equal(start) || !after.SignedInAt.Equal(start) || after.ACR != "2" || string(after.Data) != "data" {
		t.Errorf("Choose returned %+v, want %+v", after, before)
	}
	if got := value(b.cookie); got != alices+"."+bobs {
		t.Errorf("the cookie is %q", got)
	}
	after.Data[0] = 'x'
	if again := b.choose("alice"); string(again.Data) != "data" {
		t.Error("Choose returns what the store keeps")
	}

	b.signIn(Session{Subject: "alice"})
	if fresh, _, _ := strings.Cut(value(b.cookie), "."); fresh == alices || fresh == bobs {
		t.Error("a sign-in took a value over")
	}
	if got := subject(t, b.c, get(cookieName+"="+alices)); got != "" {
		t.Errorf("the value from before the sign-in is %q", got)
	}
}

// TestFixationWithAccounts has a cookie of the attacker's in the browser, who knows its
// values.
func TestFixationWithAccounts(t *testing.T) {
	c := newCookies(t, Config{Accounts: 3})
	for rule, planted := range map[string]func() string{
		"nobody's value": func() string { return cookieName + "=" + newValue() },
		"two of nobody":  func() string { return cookieName + "=" + newValue() + "." + newValue() },
		"an account":     func() string { _, pair := signIn(t, c, get(), Session{Subject: "mallory"}); return pair },
		"half an account": func() string {
			_, pair := signIn(t, c, get(), Session{Subject: "alice", SecondFactorPending: true})
			return pair
		},
		"an account of hers": func() string { _, pair := signIn(t, c, get(), Session{Subject: "alice"}); return pair },
	} {
		t.Run(rule, func(t *testing.T) {
			known := planted()
			_, pair := signIn(t, c, get(known), Session{Subject: "alice"})
			if got := subject(t, c, get(pair)); got != "alice" {
				t.Errorf("%q is signed in, want alice", got)
			}
			for v := range strings.SplitSeq(value(known), ".") {
				if got := subject(t, c, get(cookieName+"="+v)); got == "alice" {
					t.Error("a planted value leads to alice")
				}
			}
		})
	}
}

func TestAccountsExpireEachByItself(t *testing.T) {
	const m = time.Minute
	clock := newTestClock()
	b := &browser{t: t, c: newCookies(t, Config{
		// The store's own clock stands still, so that it purges nothing.
		Store: NewMemory(MemoryConfig{Now: newTestClock().Now}),
		Now:   clock.Now, Accounts: 3, Idle: 30 * m, Absolute: 60 * m,
	})}
	check := func(at time.Duration, active, accounts string) {
		t.Helper()
		clock.Advance(at - clock.Now().Sub(start))
		if a, l := b.names(); a != active || l != accounts {
			t.Errorf("at %v: active is %q of %q, want %q of %q", at, a, l, active, accounts)
		}
	}
	b.signIn(Session{Subject: "alice"})
	b.signIn(Session{Subject: "bob"})
	check(20*m, "bob", "bob alice") // alice is seen, not used
	clock.Advance(5 * m)
	b.choose("alice") // that is a use
	check(40*m, "alice", "alice bob")
	check(50*m, "alice", "alice") // bob was used at 20 minutes
	b.signIn(Session{Subject: "carol"})
	b.choose("alice")
	check(60*m, "", "carol") // the absolute limit of alice
	b.visit(func(w http.ResponseWriter, r *http.Request) {
		if s, err := b.c.Choose(w, r, "alice"); s != nil || err != nil || len(w.Header()) != 0 {
			t.Errorf("Choose: %v, %v, headers %v; want nothing", s, err, w.Header())
		}
	})
	b.choose("carol")
	check(61*m, "carol", "carol")
}

// TestWhichAccountsACookieHas reads cookies with values that lead to alice, bob and carol
// (A, B, C), to nobody (X), and a pending second factor (P).
func TestWhichAccountsACookieHas(t *testing.T) {
	store := failing(newTestClock())
	all := newCookies(t, Config{Store: store})
	values := map[string]string{"X": newValue()}
	for letter, s := range map[string]Session{
		"A": {Subject: "alice"}, "B": {Subject: "bob"}, "C": {Subject: "carol"},
		"P": {Subject: "pia", SecondFactorPending: true}, "2": {Subject: "alice"},
	} {
		_, pair := signIn(t, all, get(), s)
		values[letter] = value(pair)
	}
	many := func(n int) string { return strings.TrimSuffix(strings.Repeat("N.", n), ".") }
	tests := []struct {
		rule             string
		cookie           string
		limit            int
		active, accounts string
		finds            int // calls of FindSession by Accounts
	}{
		{"one", "A", 3, "alice", "alice", 1},
		{"three", "A.B.C", 3, "alice", "alice bob carol", 3},
		{"with a lower limit the first ones count", "A.B.C", 2, "alice", "alice bob", 2},
		{"with room for one the first counts", "A.B.C", 1, "alice", "alice", 1},
		{"an unknown one is left out", "A.X.C", 3, "alice", "alice carol", 3},
		{"nobody follows an unknown one", "X.A", 3, "", "alice", 2},
		{"a pending one is no account", "P.A", 3, "pia", "alice", 2},
		{"a subject counts once", "A.2.B", 3, "alice", "alice bob", 3},
		{"eight values are looked at", "A." + many(7), 8, "alice", "alice", 8},
		{"nine cannot be", "A." + many(8), 8, "", "", 0},
		{"nor a thousand", "A." + many(1000), 8, "", "", 0},
		{"a value twice", "A.A", 3, "", "", 0},
		{"a value twice, later", "A.B.C.B", 8, "", "", 0},
		{"a value twice beyond the limit", "A.B.B", 2, "", "", 0},
		{"a malformed value", "A.junk", 3, "", "", 0},
		{"a malformed value first", "junk.A", 3, "", "", 0},
		{"a malformed value beyond the limit", "A.B.junk", 2, "", "", 0},
		{"nothing between the dots", "A..B", 3, "", "", 0},
		{"nothing before the dot", ".A", 3, "", "", 0},
		{"nothing after the dot", "A.", 3, "", "", 0},
		{"only a dot", ".", 3, "", "", 0},
		{"a comma", "A,B", 3, "", "", 0},
		{"a space after the dot", "A. B", 3, "", "", 0},
		{"an encoded dot", "A%2EB", 3, "", "", 0},
		{"nothing between", "AB", 3, "", "", 0},
		{"quoted", `"A.B"`, 3, "", "", 0},
		{"two cookies", "A; __Host-usher-session=B", 3, "", "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			c := newCookies(t, Config{Store: store, Accounts: tt.limit})
			var line strings.Builder
			for _, letter := range strings.Split(tt.cookie, "") {
				v, known := values[letter]
				if letter == "N" {
					v, known = newValue(), true
				}
				if !known {
					v = letter
				}
				line.WriteString(v)
			}
			r := get(cookieName + "=" + line.String())
			if got := subject(t, c, r); got != tt.active {
				t.Errorf("active is %q, want %q", got, tt.active)
			}
			before := store.count("Find")
			list, err := c.Accounts(r)
			if got := subjects(list); err != nil || got != tt.accounts {
				t.Errorf("the accounts are %q, %v; want %q", got, err, tt.accounts)
			}
			if got := store.count("Find") - before; got != tt.finds {
				t.Errorf("the store was asked %d times, want %d", got, tt.finds)
			}
		})
	}
}

func TestALoweredLimitEndsTheOthersWithTheNextSignIn(t *testing.T) {
	m := NewMemory(MemoryConfig{})
	b := &browser{t: t, c: newCookies(t, Config{Store: m, Accounts: 4})}
	for _, step := range []string{"alice", "bob", "carol", "dave"} {
		b.do(step)
	}
	b.c = newCookies(t, Config{Store: m, Accounts: 2})
	if active, accounts := b.names(); active != "dave" || accounts != "dave carol" {
		t.Errorf("active is %q of %q", active, accounts)
	}
	b.do("choose:alice") // too late
	b.do("erin")
	if active, accounts := b.names(); active != "erin" || accounts != "erin dave" || len(m.entries) != 2 {
		t.Errorf("active is %q of %q, %d are stored", active, accounts, len(m.entries))
	}
}

// TestSigningOutOfAnExpiredAccount ends what a change of the limits could bring back.
func TestSigningOutOfAnExpiredAccount(t *testing.T) {
	clock := newTestClock()
	m := NewMemory(MemoryConfig{Now: clock.Now})
	b := &browser{t: t, c: newCookies(t, Config{Store: m, Now: clock.Now, Accounts: 2})}
	b.do("alice")
	b.do("bob")
	clock.Advance(time.Minute)
	b.c = newCookies(t, Config{Store: m, Now: clock.Now, Accounts: 2, Absolute: time.Minute})
	b.do("out:alice")
	if len(m.entries) != 1 {
		t.Errorf("%d sessions are stored, want that of bob", len(m.entries))
	}
}

func TestStoreCallsWithAccounts(t *testing.T) {
	tests := []struct {
		limit                     int
		step                      string
		find, save, touch, delete int
		sets                      bool // a cookie
	}{
		{4, "active", 1, 0, 1, 0, false},
		{4, "list", 4, 0, 0, 0, false},
		{4, "erin", 4, 1, 0, 1, true},
		{4, "alice", 4, 1, 0, 1, true},
		{4, "choose:alice", 4, 0, 1, 0, true},
		{4, "choose:nobody", 4, 0, 0, 0, false},
		{4, "out:alice", 4, 0, 0, 1, true},
		{4, "out:nobody", 4, 0, 0, 0, false},
		{4, "out", 0, 0, 0, 4, true},
		{1, "active", 1, 0, 1, 0, false},
		{1, "erin", 0, 1, 0, 1, true},
		{1, "dave", 0, 1, 0, 1, true},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.step, " of ", tt.limit), func(t *testing.T) {
			clock := newTestClock()
			store := failing(clock)
			b := &browser{t: t, c: newCookies(t, Config{Store: store, Now: clock.Now, Accounts: tt.limit})}
			for _, step := range []string{"alice", "bob", "carol", "dave"} {
				b.do(step)
			}
			clock.Advance(time.Minute)
			clear(store.calls)
			b.sets = 0
			switch tt.step {
			case "active":
				b.visit(func(_ http.ResponseWriter, r *http.Request) { b.c.Session(r) })
			case "list":
				b.visit(func(_ http.ResponseWriter, r *http.Request) { b.c.Accounts(r) })
			default:
				b.do(tt.step)
			}
			for method, want := range map[string]int{"Find": tt.find, "Save": tt.save, "Touch": tt.touch, "Delete": tt.delete} {
				if got := store.count(method); got != want {
					t.Errorf("%s was called %d times, want %d", method, got, want)
				}
			}
			if (b.sets == 1) != tt.sets || b.sets > 1 {
				t.Errorf("%d cookies are set, want one: %t", b.sets, tt.sets)
			}
		})
	}
}

func TestStoreFailsWithAccounts(t *testing.T) {
	tests := []struct {
		rule     string
		fails    string
		call     func(c *Cookies, w http.ResponseWriter, r *http.Request) error
		failed   bool
		accounts string // afterwards, with a store that is well again
	}{
		{"listing fails: an error and no session", "Find", func(c *Cookies, _ http.ResponseWriter, r *http.Request) error {
			list, err := c.Accounts(r)
			return orError(err, list == nil)
		}, true, "bob alice"},
		{"choosing, finding: an error and nothing changed", "Find", chooseAlice, true, "bob alice"},
		{"choosing, deleting what is left out: an error and nothing changed", "Delete", chooseAlice, true, "bob alice"},
		{"choosing, touching: that is logged only", "Touch", chooseAlice, false, "alice bob"},
		{"signing in, finding: an error and nothing changed", "Find", signInCarol, true, "bob alice"},
		{"signing in, saving: an error and nothing changed", "Save", signInCarol, true, "bob alice"},
		{"signing in, deleting: an error and nothing changed", "Delete", signInCarol, true, "bob alice"},
		{"signing out of one, finding: an error and nothing changed", "Find", signOutBob, true, "bob alice"},
		{"signing out of one, deleting: an error, and the browser forgets", "Delete", signOutBob, true, "alice"},
		{"signing out, deleting: an error, and the browser forgets", "Delete", (*Cookies).SignOut, true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			clock := newTestClock()
			store := failing(clock)
			b := &browser{t: t, c: newCookies(t, Config{Store: store, Now: clock.Now, Accounts: 3})}
			b.do("alice")
			b.do("bob")
			if tt.fails == "Delete" {
				b.cookie += "." + newValue() // something to delete
			}
			clock.Advance(time.Minute)
			store.failFrom(tt.fails)
			b.visit(func(w http.ResponseWriter, r *http.Request) {
				err := tt.call(b.c, w, r)
				if failed := errors.Is(err, errStore); failed != tt.failed || err != nil != tt.failed {
					t.Errorf("the error is %v, want the store's: %t", err, tt.failed)
				}
			})
			clear(store.fail)
			if _, accounts := b.names(); accounts != tt.accounts {
				t.Errorf("the accounts are %q, want %q", accounts, tt.accounts)
			}
		})
	}
}

func orError(err error, ok bool) error {
	if !ok {
		return errors.New("there is a result beside the error")
	}
	return err
}

func chooseAlice(c *Cookies, w http.ResponseWriter, r *http.Request) error {
	s, err := c.Choose(w, r, "alice")
	return orError(err, (s == nil) == (err != nil))
}

func signInCarol(c *Cookies, w http.ResponseWriter, r *http.Request) error {
	s, err := c.SignIn(w, r, Session{Subject: "carol"})
	return orError(err, (s == nil) == (err != nil))
}

func signOutBob(c *Cookies, w http.ResponseWriter, r *http.Request) error {
	return c.SignOutAccount(w, r, "bob")
}

// TestSeveralCookiesWithAccounts has other programs of the host set cookies of our name:
// nobody is signed in then, and whoever signs out has all of them ended.
func TestSeveralCookiesWithAccounts(t *testing.T) {
	eight := func() string {
		var values []string
		for range 8 {
			values = append(values, newValue())
		}
		return "; usher-session=" + strings.Join(values, ".")
	}
	tests := []struct {
		rule    string
		more    string
		deletes int
		failed  bool
	}{
		{"a second cookie", "; usher-session=" + newValue(), 3, false},
		{"a malformed one", "; usher-session=junk", 2, false},
		{"as many values as are looked at", eight() + "; usher-session=" + newValue() + "." + newValue(), 12, false},
		{"more", eight() + eight(), 16, true},
		{"the same ones over and over", strings.Repeat(eight(), 100), 10, false},
	}
	outs := map[string]func(*Cookies, http.ResponseWriter, *http.Request) error{
		"SignOut": (*Cookies).SignOut, "SignOutAccount": signOutBob,
	}
	for _, tt := range tests {
		for name, out := range outs {
			t.Run(tt.rule+", "+name, func(t *testing.T) {
				store := failing(newTestClock())
				c := newCookies(t, Config{Store: store, Insecure: true, Accounts: 3})
				_, pair := signIn(t, c, get(), Session{Subject: "alice"})
				_, pair = signIn(t, c, get(pair), Session{Subject: "bob"})
				w, r := httptest.NewRecorder(), get(pair+tt.more)
				if s, err := c.Choose(w, r, "alice"); s != nil || err != nil || len(w.Header()) != 0 {
					t.Errorf("Choose: %v, %v, headers %v; want nothing", s, err, w.Header())
				}
				if list, err := c.Accounts(r); len(list) != 0 || err != nil {
					t.Errorf("Accounts: %v, %v; want none", list, err)
				}
				if err := out(c, w, r); (err != nil) != tt.failed {
					t.Errorf("%s: %v, want an error: %t", name, err, tt.failed)
				}
				if got := store.count("Delete"); got != tt.deletes {
					t.Errorf("%d deletions, want %d", got, tt.deletes)
				}
				if r.Header.Get("Cookie") != "" || subject(t, c, get(pair)) != "" {
					t.Error("somebody is signed in still")
				}
			})
		}
	}
}

// TestTheRequestCarriesTheNewCookie holds what becomes of the Cookie header of r. In the
// tables NEW stands for the new value.
func TestTheRequestCarriesTheNewCookie(t *testing.T) {
	old := cookieName + "=" + newValue()
	tests := []struct {
		rule          string
		before        []string
		signIn, outOf string // the one line afterwards; empty for no header
	}{
		{"no cookie", nil, "NEW", ""},
		{"another cookie", []string{"a=b"}, "NEW; a=b", "a=b"},
		{"ours", []string{old}, "NEW", ""},
		{"ours first", []string{old + "; a=b; c=d"}, "NEW; a=b; c=d", "a=b; c=d"},
		{"ours in the middle", []string{"a=b; " + old + "; c=d"}, "NEW; a=b; c=d", "a=b; c=d"},
		{"ours last", []string{"a=b; c=d; " + old}, "NEW; a=b; c=d", "a=b; c=d"},
		{"ours twice", []string{old + "; a=b;" + old}, "NEW; a=b", "a=b"},
		{"ours malformed", []string{cookieName + "=; a=b; " + cookieName + `="`}, "NEW; a=b", "a=b"},
		{"others with spaces", []string{" a=b ;c=d\t"}, "NEW;  a=b ;c=d\t", "a=b ;c=d"},
		{"several lines", []string{"a=b", old, "c=d; " + old}, "NEW; a=b; c=d", "a=b; c=d"},
		{"others with strange bytes", []string{"junk; =\xff; a=\"b; " + old + ";;\tc = d "}, "NEW; junk; =\xff; a=\"b;;\tc = d", "junk; =\xff; a=\"b;;\tc = d"},
		{"others that look like ours", []string{"x" + old + "; usher-session=1"}, "NEW; x" + old + "; usher-session=1", "x" + old + "; usher-session=1"},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			c := newCookies(t, Config{})
			r := get(tt.before...)
			r.Header.Set("Accept", "*/*")
			earlier := r.WithContext(context.Background())
			s, err := c.SignIn(httptest.NewRecorder(), r, Session{Subject: "alice"})
			if err != nil {
				t.Fatal(err)
			}
			got := r.Header["Cookie"]
			if len(got) != 1 {
				t.Fatalf("the header has %d lines: %q", len(got), got)
			}
			first, _, _ := strings.Cut(got[0], ";")
			if want := strings.Replace(tt.signIn, "NEW", cookieName+"="+value(first), 1); got[0] != want {
				t.Errorf("the header is %q, want %q", got[0], want)
			}
			for name, same := range map[string]*http.Request{"the request": r, "a later copy": r.WithContext(context.Background())} {
				if now, err := c.Session(same); err != nil || now == nil || now.ID != s.ID {
					t.Errorf("%s has %v, %v; want the new session", name, now, err)
				}
			}
			if !slices.Equal(earlier.Header["Cookie"], tt.before) {
				t.Errorf("the header of an earlier copy became %q", earlier.Header["Cookie"])
			}

			if err := c.SignOut(httptest.NewRecorder(), r); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(r.Header["Cookie"], "\n"); got != tt.outOf {
				t.Errorf("after signing out the header is %q, want %q", got, tt.outOf)
			}
			if _, there := r.Header["Cookie"]; there && tt.outOf == "" {
				t.Error("the header is there and empty")
			}
			if r.Header.Get("Accept") != "*/*" {
				t.Error("another header is gone")
			}
		})
	}
}

func TestARequestWithoutHeaders(t *testing.T) {
	c := newCookies(t, Config{})
	r := &http.Request{}
	if _, err := c.SignIn(httptest.NewRecorder(), r, Session{Subject: "alice"}); err != nil || subject(t, c, r) != "alice" {
		t.Errorf("SignIn: %v, and the headers are %v", err, r.Header)
	}
}

// TestHeadersThatOthersMayRead has the middleware around the handler give up, as
// http.TimeoutHandler does, and go on with its own request while the handler signs out.
func TestHeadersThatOthersMayRead(t *testing.T) {
	c := newCookies(t, Config{})
	_, pair := signIn(t, c, get(), Session{Subject: "alice"})
	outer := get(pair)
	inner := outer.WithContext(context.Background())
	var reading sync.WaitGroup
	reading.Go(func() {
		for range 1000 {
			outer.Header.Get("User-Agent") // a write to this map would be a race
		}
	})
	if err := c.SignOut(httptest.NewRecorder(), inner); err != nil {
		t.Error(err)
	}
	reading.Wait()
	if got := outer.Header.Get("Cookie"); got != pair {
		t.Errorf("the outer request has %q, want %q", got, pair)
	}
	if got := inner.Header.Get("Cookie"); got != "" {
		t.Errorf("the inner request has %q, want nothing", got)
	}
}

func TestAFailureLeavesTheRequestAsItWas(t *testing.T) {
	for _, method := range []string{"Save", "Delete"} {
		t.Run(method+" fails", func(t *testing.T) {
			store := failing(newTestClock())
			c := newCookies(t, Config{Store: store})
			_, pair := signIn(t, c, get(), Session{Subject: "alice"})
			store.failFrom(method)
			r := get("a=b; " + pair)
			if _, err := c.SignIn(httptest.NewRecorder(), r, Session{Subject: "bob"}); err == nil {
				t.Fatal("SignIn did not fail")
			}
			if got := r.Header.Get("Cookie"); got != "a=b; "+pair {
				t.Errorf("the request carries %q", got)
			}
		})
	}
}

// TestOneRequestAllTheWay makes every call on one request and one response, as a page may
// that does several things.
func TestOneRequestAllTheWay(t *testing.T) {
	m := NewMemory(MemoryConfig{})
	b := &browser{t: t, c: newCookies(t, Config{Store: m, Accounts: 3})}
	b.do("alice")
	b.visit(func(w http.ResponseWriter, r *http.Request) {
		step := func(call func() error, want string) {
			t.Helper()
			err := call()
			list, err2 := b.c.Accounts(r)
			if got := subjects(list); got != want || errors.Join(err, err2) != nil {
				t.Errorf("the accounts are %q, %v, %v; want %q", got, err, err2, want)
			}
		}
		half := func() error {
			_, err := b.c.SignIn(w, r, Session{Subject: "bob", SecondFactorPending: true})
			return err
		}
		full := func() error { _, err := b.c.SignIn(w, r, Session{Subject: "bob"}); return err }
		step(half, "alice")
		step(full, "bob alice")
		step(func() error { return chooseAlice(b.c, w, r) }, "alice bob")
		step(func() error { return signOutBob(b.c, w, r) }, "alice")
		step(func() error { return signInCarol(b.c, w, r) }, "carol alice")
		if got := len(w.Header()["Set-Cookie"]); got != 1 {
			t.Errorf("%d cookies are set", got)
		}
	})
	if active, accounts := b.names(); active != "carol" || accounts != "carol alice" || len(m.entries) != 2 {
		t.Errorf("active is %q of %q, %d are stored", active, accounts, len(m.entries))
	}
}
