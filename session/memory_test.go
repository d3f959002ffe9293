package session

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"
	"unsafe"
)

// start is when every test begins.
var start = time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)

// testClock is a clock that stands still until it is moved.
type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func newTestClock() *testClock { return &testClock{now: start} }

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// testKey returns a key in the form that stores are given.
func testKey(n int) string {
	sum := sha256.Sum256([]byte(fmt.Sprint(n)))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// testRecord returns a record with every field set, good for an hour.
func testRecord(key, subject string) *Record {
	return &Record{
		Session: Session{
			ID:                  key,
			Subject:             subject,
			AuthTime:            start.Add(-time.Minute),
			ACR:                 "2",
			AMR:                 []string{"pwd", "otp"},
			SecondFactorPending: true,
			Data:                []byte("data"),
		},
		CreatedAt:  start,
		LastSeenAt: start,
		ExpiresAt:  start.Add(time.Hour),
		EndsAt:     start.Add(12 * time.Hour),
	}
}

// find returns what a store holds under a key and fails the test on an error.
func find(t *testing.T, s Store, key string) *Record {
	t.Helper()
	rec, err := s.FindSession(context.Background(), key)
	if err != nil {
		t.Fatalf("FindSession: %v", err)
	}
	return rec
}

// save stores a record under its ID and fails the test on an error.
func save(t *testing.T, s Store, rec *Record) {
	t.Helper()
	if err := s.SaveSession(context.Background(), rec.ID, rec); err != nil {
		t.Fatalf("SaveSession: %v", err)
	}
}

// The contract of Store is held by the conformance suite; what follows is what it does
// not see.

func TestMemoryEveryMethodAtOnce(t *testing.T) {
	ctx := context.Background()
	m := NewMemory(MemoryConfig{MaxPerSubject: 10, Now: newTestClock().Now})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				k, subject := testKey(i*1000+j), fmt.Sprint("user", j%3)
				err := errors.Join(
					m.SaveSession(ctx, k, testRecord(k, subject)),
					m.TouchSession(ctx, k, start.Add(time.Second), start.Add(time.Hour+time.Duration(i*j))),
				)
				rec, findErr := m.FindSession(ctx, k)
				if rec != nil {
					rec.Data[0]++
				}
				err = errors.Join(err, findErr, m.DeleteSessionsOf(ctx, "user1"))
				if j%2 == 0 {
					err = errors.Join(err, m.DeleteSession(ctx, k))
					if rec, _ := m.FindSession(ctx, k); rec != nil {
						t.Error("found after deletion")
					}
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	checkIndexes(t, m)
}

// checkIndexes checks that the heaps of a store hold its entries and nothing else, each
// in its place and none before one that expires earlier.
func checkIndexes(t *testing.T, m *Memory) {
	t.Helper()
	check := func(h *expiryHeap, which int) {
		if i := h.Len(); i < cap(h.entries) && h.entries[:i+1][i] != nil {
			t.Fatal("a session that is gone is kept alive")
		}
		for i, e := range h.entries {
			if e.place[which] != i || m.entries[e.key] != e {
				t.Fatalf("entry %d of a heap is not in its place, or not stored", i)
			}
			if parent := h.entries[(i-min(i, 1))/2]; e.rec.ExpiresAt.Before(parent.rec.ExpiresAt) {
				t.Fatalf("entry %d of a heap expires before the one above it", i)
			}
		}
	}
	check(&m.expiry, ofAll)
	own := 0
	for of, h := range m.shares {
		check(h, ofShare)
		own += h.Len()
		for _, e := range h.entries {
			if shareOf(e.rec) != of {
				t.Fatalf("a session of %v is among those of %v", shareOf(e.rec), of)
			}
		}
		if h.Len() == 0 {
			t.Fatalf("%v has no sessions and is remembered", of)
		}
	}
	if m.expiry.Len() != len(m.entries) || own != len(m.entries) {
		t.Fatalf("%d entries, %d in their heap, %d in those of subjects", len(m.entries), m.expiry.Len(), own)
	}
}

func TestMemoryExpiry(t *testing.T) {
	clock := newTestClock()
	m := NewMemory(MemoryConfig{Now: clock.Now})
	save(t, m, testRecord(testKey(1), "alice"))
	clock.Advance(time.Hour - 1)
	if find(t, m, testKey(1)) == nil {
		t.Error("gone before ExpiresAt")
	}
	clock.Advance(1)
	if find(t, m, testKey(1)) != nil {
		t.Error("found at ExpiresAt")
	}
}

func TestMemoryExpiryMovesWithTouches(t *testing.T) {
	ctx := context.Background()
	clock := newTestClock()
	m := NewMemory(MemoryConfig{Max: 3, Now: clock.Now})
	for i := range 3 {
		rec := testRecord(testKey(i), "alice")
		rec.SecondFactorPending = i > 0
		save(t, m, rec)
	}
	// The first to go becomes the last to go, and the second stays.
	for i, d := range []time.Duration{3 * time.Hour, time.Minute, 2 * time.Hour} {
		if err := m.TouchSession(ctx, testKey(i), start.Add(time.Minute), start.Add(d)); err != nil {
			t.Fatal(err)
		}
		checkIndexes(t, m)
	}
	for _, tt := range []struct {
		at   time.Duration
		want [3]bool
	}{
		{time.Hour - 1, [3]bool{true, true, true}},
		{time.Hour, [3]bool{true, false, true}},
		{2*time.Hour - 1, [3]bool{true, false, true}},
		{2 * time.Hour, [3]bool{true, false, false}},
		{3 * time.Hour, [3]bool{}},
	} {
		clock.Advance(tt.at - clock.Now().Sub(start))
		want := 0
		for i := range 3 {
			if got := find(t, m, testKey(i)) != nil; got != tt.want[i] {
				t.Errorf("after %v, session %d is there: %t, want %t", tt.at, i, got, tt.want[i])
			}
			if tt.want[i] {
				want++
			}
		}
		if len(m.entries) != want {
			t.Errorf("after %v, %d records take room, want %d", tt.at, len(m.entries), want)
		}
	}
}

func TestMemoryLeavesExpiredRecordsToGo(t *testing.T) {
	clock := newTestClock()
	m := NewMemory(MemoryConfig{Now: clock.Now})
	last := testKey(2 * purgeStep)
	for i := range 2*purgeStep + 1 {
		rec := testRecord(testKey(i), "alice")
		rec.ExpiresAt = start.Add(time.Duration(i+1) * time.Second)
		save(t, m, rec)
	}
	clock.Advance(time.Hour)
	if err := m.TouchSession(context.Background(), last, clock.Now(), clock.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if m.entries[last] == nil {
		t.Fatal("the record was purged before it was touched")
	}
	if find(t, m, last) != nil {
		t.Error("a touch brought an expired session back")
	}
	checkIndexes(t, m)
}

func TestMemoryFindsNoExpiredRecordThatIsNotPurgedYet(t *testing.T) {
	clock := newTestClock()
	m := NewMemory(MemoryConfig{Now: clock.Now})
	for i := range purgeStep + 1 {
		rec := testRecord(testKey(i), "alice")
		rec.ExpiresAt = start.Add(time.Duration(i+1) * time.Second)
		save(t, m, rec)
	}
	clock.Advance(time.Hour)
	if find(t, m, testKey(purgeStep)) != nil {
		t.Error("found an expired record")
	}
	if len(m.entries) != 1 {
		t.Errorf("%d records are stored, want the one that the purge did not get to", len(m.entries))
	}
}

func TestMemoryRefusesWhenFull(t *testing.T) {
	ctx := context.Background()
	clock := newTestClock()
	m := NewMemory(MemoryConfig{Max: 2, Now: clock.Now})
	save(t, m, testRecord(testKey(1), "alice"))
	late := testRecord(testKey(2), "bob")
	late.ExpiresAt = start.Add(2 * time.Hour)
	save(t, m, late)

	if err := m.SaveSession(ctx, testKey(3), testRecord(testKey(3), "carol")); !errors.Is(err, ErrFull) {
		t.Errorf("SaveSession in a full store: %v, want ErrFull", err)
	}
	if find(t, m, testKey(1)) == nil || find(t, m, testKey(2)) == nil || find(t, m, testKey(3)) != nil {
		t.Error("a full store gave up a live record or took a new one")
	}

	clock.Advance(time.Hour)
	next := testRecord(testKey(3), "carol")
	next.ExpiresAt = clock.Now().Add(time.Hour)
	save(t, m, next)
	if find(t, m, testKey(1)) != nil || find(t, m, testKey(2)) == nil || find(t, m, testKey(3)) == nil {
		t.Error("the expired record and no other should have made room")
	}
	if err := m.DeleteSession(ctx, testKey(2)); err != nil {
		t.Fatal(err)
	}
	save(t, m, testRecord(testKey(4), "dave"))
}

// TestMemoryShares has a store in which alice may have three finished sessions and three
// that wait for a second factor. Who has only the password must not be able to end sessions
// that are complete, and who is signed in not to keep others from the second step.
func TestMemoryShares(t *testing.T) {
	tests := []struct {
		rule  string
		saved string // F for a finished session, P for a pending one, in the order of expiry
		next  string // what comes then
		gone  string // the places of what has given way
	}{
		{"pending ones push out pending ones", "FFPPP", "P", "2"},
		{"and the first to expire first", "FPPFP", "PP", "12"},
		{"at the bound of finished ones they push out nothing", "FFF", "PPP", ""},
		{"however many come", "FFFPPP", "PPPPPPPP", "345"},
		{"finished ones push out finished ones", "PFPFF", "F", "1"},
		{"and the first to expire first, then the next", "PPFFF", "FF", "23"},
		{"at the bound of pending ones they push out nothing", "PPP", "FFF", ""},
		{"both at their bounds", "FPFPFP", "FP", "01"},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			m := NewMemory(MemoryConfig{MaxPerSubject: 3, Now: newTestClock().Now})
			save(t, m, testRecord(testKey(100), "bob"))
			for i, kind := range tt.saved + tt.next {
				rec := testRecord(testKey(i), "alice")
				rec.SecondFactorPending = kind == 'P'
				rec.ExpiresAt = start.Add(time.Duration(i + 1))
				save(t, m, rec)
				checkIndexes(t, m)
			}
			gone := ""
			for i := range tt.saved {
				if find(t, m, testKey(i)) == nil {
					gone += fmt.Sprint(i)
				}
			}
			if gone != tt.gone {
				t.Errorf("%q have given way, want %q", gone, tt.gone)
			}
			if find(t, m, testKey(100)) == nil || find(t, m, testKey(len(tt.saved+tt.next)-1)) == nil {
				t.Error("the session of another, or the newest one, is gone")
			}
		})
	}
}

// TestMemoryMaxPerSubject has two people who have all that they may have, in a store
// with room for one more than that.
func TestMemoryMaxPerSubject(t *testing.T) {
	const free = -1 // nothing gives way
	tests := []struct {
		rule     string
		expires  []time.Duration // alice's sessions
		touch    time.Duration   // moves the expiry of the first of them; 0 for none
		gone     int             // of alice's sessions
		wantFull bool            // for one session of a newcomer before alice's next one
	}{
		{"a subject with room loses nothing", []time.Duration{30, 10}, 0, free, false},
		{"the one that expires first is removed", []time.Duration{30, 10, 20}, 0, 1, false},
		{"wherever it is", []time.Duration{10, 20, 30}, 0, 0, false},
		{"after a use another one is removed", []time.Duration{10, 20, 30}, 25, 1, false},
		{"in a full store too", []time.Duration{20, 30, 10}, 0, 2, true},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			ctx := context.Background()
			m := NewMemory(MemoryConfig{Max: 7, MaxPerSubject: 3, Now: newTestClock().Now})
			for i := range 3 {
				rec := testRecord(testKey(10+i), "bob")
				rec.ExpiresAt = start.Add(1) // sooner than any of alice's
				save(t, m, rec)
			}
			for i, d := range tt.expires {
				rec := testRecord(testKey(i), "alice")
				rec.ExpiresAt = start.Add(d)
				save(t, m, rec)
			}
			if tt.touch != 0 {
				if err := m.TouchSession(ctx, testKey(0), start, start.Add(tt.touch)); err != nil {
					t.Fatal(err)
				}
			}
			if tt.wantFull {
				save(t, m, testRecord(testKey(20), "carol"))
				if err := m.SaveSession(ctx, testKey(21), testRecord(testKey(21), "carol")); !errors.Is(err, ErrFull) {
					t.Fatalf("SaveSession: %v, want ErrFull", err)
				}
			}
			save(t, m, testRecord(testKey(9), "alice"))
			for i := range tt.expires {
				if got := find(t, m, testKey(i)) != nil; got != (i != tt.gone) {
					t.Errorf("alice's session %d is there: %t", i, got)
				}
			}
			for i := range 3 {
				if find(t, m, testKey(10+i)) == nil {
					t.Errorf("bob's session %d is gone", i)
				}
			}
			if find(t, m, testKey(9)) == nil {
				t.Error("alice's new session is not there")
			}
			checkIndexes(t, m)
		})
	}
}

func TestMemoryRefusesAKeyInUseBeforeAnyoneGivesWay(t *testing.T) {
	m := NewMemory(MemoryConfig{MaxPerSubject: 1, Now: newTestClock().Now})
	save(t, m, testRecord(testKey(1), "alice"))
	save(t, m, testRecord(testKey(2), "bob"))
	if err := m.SaveSession(context.Background(), testKey(2), testRecord(testKey(2), "alice")); err == nil {
		t.Error("SaveSession took a key in use")
	}
	if find(t, m, testKey(1)) == nil {
		t.Error("a sign-in that failed ended a session")
	}
}

// TestMemoryKeepsNoRequestBody holds that the texts that are kept are copies: a text cut
// out of a request's body keeps all of the body in memory.
func TestMemoryKeepsNoRequestBody(t *testing.T) {
	key, body := testKey(1), "alice 2 pwd otp "+testKey(1)
	rec := testRecord(body[16:], body[:5])
	rec.ACR, rec.AMR = body[6:7], []string{body[8:11], body[12:15]}
	m := NewMemory(MemoryConfig{Now: newTestClock().Now})
	save(t, m, rec)
	if got := find(t, m, key); !reflect.DeepEqual(got, rec) {
		t.Fatalf("found %+v, want %+v", got, rec)
	}
	texts := map[string]string{}
	for k, e := range m.entries {
		texts["the key"], texts["the entry's key"] = k, e.key
		texts["ID"], texts["Subject"], texts["ACR"] = e.rec.ID, e.rec.Subject, e.rec.ACR
		texts["AMR 0"], texts["AMR 1"] = e.rec.AMR[0], e.rec.AMR[1]
	}
	for of := range m.shares {
		texts["the subject"] = of.subject
	}
	start, end := textAt(body), textAt(body)+uintptr(len(body))
	if at := textAt(rec.Subject); at != start || len(texts) != 8 {
		t.Fatal("the test does not see what it should")
	}
	for name, text := range texts {
		if at := textAt(text); start <= at && at < end {
			t.Errorf("%s is a part of the request's body", name)
		}
	}
}

// textAt returns where a text is in memory.
func textAt(s string) uintptr { return uintptr(unsafe.Pointer(unsafe.StringData(s))) }

func TestMemoryPurgesInSteps(t *testing.T) {
	clock := newTestClock()
	m := NewMemory(MemoryConfig{Now: clock.Now})
	const n = 3*purgeStep + 5
	for i := range n {
		rec := testRecord(testKey(i), "alice")
		rec.ExpiresAt = start.Add(time.Duration((i*7)%n+1) * time.Second) // out of order
		save(t, m, rec)
	}
	clock.Advance(time.Hour)
	for left := n; left > 0; {
		find(t, m, "")
		if want := max(0, left-purgeStep); len(m.entries) != want || m.expiry.Len() != want {
			t.Fatalf("%d records and %d expiries are left, want %d", len(m.entries), m.expiry.Len(), want)
		}
		left = len(m.entries)
	}
}

func TestMemoryPurgesTheFirstToExpireFirst(t *testing.T) {
	clock := newTestClock()
	m := NewMemory(MemoryConfig{Now: clock.Now})
	const n = 40
	for i := range n {
		rec := testRecord(testKey(i), fmt.Sprint("user", i%4))
		rec.SecondFactorPending = i%3 == 0 // which does not matter
		rec.ExpiresAt = start.Add(time.Duration((i*7)%n+1) * time.Second)
		save(t, m, rec)
	}
	if err := m.DeleteSessionsOf(context.Background(), "user1"); err != nil {
		t.Fatal(err)
	}
	for range n {
		clock.Advance(time.Second)
		find(t, m, "")
		for key, e := range m.entries {
			if !clock.Now().Before(e.rec.ExpiresAt) {
				t.Fatalf("%s is still stored at its expiry", key)
			}
		}
		checkIndexes(t, m)
	}
	if len(m.entries) != 0 {
		t.Errorf("%d records are left", len(m.entries))
	}
}

func TestMemoryDefaults(t *testing.T) {
	for rule, n := range map[string]int{"zero": 0, "a negative number": -1} {
		t.Run(rule, func(t *testing.T) {
			m := NewMemory(MemoryConfig{Max: n, MaxPerSubject: n})
			if m.max != 100_000 || m.maxPerSubject != 100 {
				t.Errorf("room for %d and %d of a subject, want 100,000 and 100", m.max, m.maxPerSubject)
			}
			if m = NewMemory(MemoryConfig{Max: 1, MaxPerSubject: 1}); m.max != 1 || m.maxPerSubject != 1 {
				t.Errorf("room for %d and %d of a subject, want 1", m.max, m.maxPerSubject)
			}
			if d := time.Since(m.now()); d < 0 || d > time.Minute {
				t.Errorf("the default clock is off by %v", d)
			}
		})
	}
}

func TestCloneKeepsNil(t *testing.T) {
	rec := (&Record{Session: Session{Subject: "alice"}}).clone()
	if rec.AMR != nil || rec.Data != nil {
		t.Errorf("a copy of nil is %#v and %#v", rec.AMR, rec.Data)
	}
	if rec = testRecord("k", "alice").clone(); !bytes.Equal(rec.Data, []byte("data")) {
		t.Errorf("the copy holds %q", rec.Data)
	}
}

func BenchmarkMemoryFind(b *testing.B) {
	m := NewMemory(MemoryConfig{Now: newTestClock().Now})
	for i := range 10_000 {
		if err := m.SaveSession(b.Context(), testKey(i), testRecord(testKey(i), fmt.Sprint("user", i%500))); err != nil {
			b.Fatal(err)
		}
	}
	key := testKey(77)
	b.ReportAllocs()
	for b.Loop() {
		if rec, err := m.FindSession(b.Context(), key); rec == nil || err != nil {
			b.Fatal(rec, err)
		}
	}
}

// A subject with all the sessions that it may have signs in once more, in a store that is
// full of others.
func BenchmarkMemorySignInAtTheMaximum(b *testing.B) {
	m := fullMemory(b)
	keys := make([]string, 200)
	for i := range keys {
		keys[i] = testKey(1_000_000 + i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		rec := testRecord(keys[i%len(keys)], "mallory")
		rec.ExpiresAt = rec.ExpiresAt.Add(time.Duration(i))
		if err := m.SaveSession(b.Context(), rec.ID, rec); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMemoryDeleteSessionsOf(b *testing.B) {
	m := fullMemory(b)
	key := testKey(1_000_000)
	b.ReportAllocs()
	for b.Loop() {
		if err := m.SaveSession(b.Context(), key, testRecord(key, "mallory")); err != nil {
			b.Fatal(err)
		}
		if err := m.DeleteSessionsOf(b.Context(), "mallory"); err != nil {
			b.Fatal(err)
		}
	}
}

// fullMemory returns a store with room for 100 of 100,000 sessions.
func fullMemory(b *testing.B) *Memory {
	m := NewMemory(MemoryConfig{Now: newTestClock().Now})
	for i := range defaultMax - 100 {
		if err := m.SaveSession(b.Context(), testKey(i), testRecord(testKey(i), fmt.Sprint("user", i))); err != nil {
			b.Fatal(err)
		}
	}
	return m
}
