package session

import (
	"testing"
	"time"
)

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
