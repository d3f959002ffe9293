package session

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
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

// TestMemoryContract holds what the contract of Store says of its methods.
func TestMemoryContract(t *testing.T) {
	ctx := context.Background()
	key, other := testKey(1), testKey(2)
	tests := []struct {
		rule string
		run  func(t *testing.T, s Store)
	}{
		{"a saved record is found as it was", func(t *testing.T, s Store) {
			save(t, s, testRecord(key, "alice"))
			if got, want := find(t, s, key), testRecord(key, "alice"); !reflect.DeepEqual(got, want) {
				t.Errorf("found %+v, want %+v", got, want)
			}
		}},
		{"an unknown key finds nothing", func(t *testing.T, s Store) {
			save(t, s, testRecord(key, "alice"))
			if got := find(t, s, other); got != nil {
				t.Errorf("found %+v", got)
			}
		}},
		{"keys are compared as bytes", func(t *testing.T, s Store) {
			save(t, s, testRecord(key, "alice"))
			for _, k := range []string{strings.ToUpper(key), strings.ToLower(key), key + " ", key[:42], ""} {
				if got := find(t, s, k); got != nil {
					t.Errorf("%q found the record under %q", k, key)
				}
			}
		}},
		{"a key in use is refused and its record kept", func(t *testing.T, s Store) {
			save(t, s, testRecord(key, "alice"))
			if err := s.SaveSession(ctx, key, testRecord(key, "mallory")); err == nil {
				t.Error("SaveSession took the key a second time")
			}
			if got := find(t, s, key); got == nil || got.Subject != "alice" {
				t.Errorf("found %+v, want alice's", got)
			}
		}},
		{"what was given is not shared", func(t *testing.T, s Store) {
			rec := testRecord(key, "alice")
			save(t, s, rec)
			rec.Subject, rec.AMR[0], rec.Data[0] = "mallory", "x", 'x'
			if got, want := find(t, s, key), testRecord(key, "alice"); !reflect.DeepEqual(got, want) {
				t.Errorf("found %+v, want %+v", got, want)
			}
		}},
		{"what was returned is not shared", func(t *testing.T, s Store) {
			save(t, s, testRecord(key, "alice"))
			rec := find(t, s, key)
			rec.Subject, rec.AMR[0], rec.Data[0] = "mallory", "x", 'x'
			if got, want := find(t, s, key), testRecord(key, "alice"); !reflect.DeepEqual(got, want) {
				t.Errorf("found %+v, want %+v", got, want)
			}
		}},
		{"touching moves the last use and nothing else", func(t *testing.T, s Store) {
			save(t, s, testRecord(key, "alice"))
			if err := s.TouchSession(ctx, key, start.Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			want := testRecord(key, "alice")
			want.LastSeenAt = start.Add(time.Minute)
			if got := find(t, s, key); !reflect.DeepEqual(got, want) {
				t.Errorf("found %+v, want %+v", got, want)
			}
		}},
		{"touching never moves the last use back", func(t *testing.T, s Store) {
			save(t, s, testRecord(key, "alice"))
			for _, d := range []time.Duration{-time.Minute, time.Minute, time.Second} {
				if err := s.TouchSession(ctx, key, start.Add(d)); err != nil {
					t.Fatal(err)
				}
			}
			if got := find(t, s, key).LastSeenAt; !got.Equal(start.Add(time.Minute)) {
				t.Errorf("last seen %v, want %v", got, start.Add(time.Minute))
			}
		}},
		{"touching brings nothing back", func(t *testing.T, s Store) {
			save(t, s, testRecord(key, "alice"))
			if err := s.DeleteSession(ctx, key); err != nil {
				t.Fatal(err)
			}
			if err := s.TouchSession(ctx, key, start.Add(time.Minute)); err != nil {
				t.Errorf("TouchSession of an unknown key: %v", err)
			}
			if got := find(t, s, key); got != nil {
				t.Errorf("found %+v", got)
			}
		}},
		{"deleting removes one record", func(t *testing.T, s Store) {
			save(t, s, testRecord(key, "alice"))
			save(t, s, testRecord(other, "alice"))
			if err := s.DeleteSession(ctx, key); err != nil {
				t.Fatal(err)
			}
			if find(t, s, key) != nil || find(t, s, other) == nil {
				t.Error("the record is still there, or the other is not")
			}
			if err := s.DeleteSession(ctx, key); err != nil {
				t.Errorf("DeleteSession of an unknown key: %v", err)
			}
		}},
		{"a deleted key may be used again", func(t *testing.T, s Store) {
			save(t, s, testRecord(key, "alice"))
			if err := s.DeleteSession(ctx, key); err != nil {
				t.Fatal(err)
			}
			save(t, s, testRecord(key, "bob"))
			if got := find(t, s, key); got == nil || got.Subject != "bob" {
				t.Errorf("found %+v, want bob's", got)
			}
		}},
		{"deleting a subject's removes all of them and no other", func(t *testing.T, s Store) {
			for i, subject := range []string{"alice", "bob", "alice", "Alice", "alice ", "alice"} {
				save(t, s, testRecord(testKey(i), subject))
			}
			if err := s.DeleteSessionsOf(ctx, "alice"); err != nil {
				t.Fatal(err)
			}
			for i, want := range []bool{false, true, false, true, true, false} {
				if got := find(t, s, testKey(i)) != nil; got != want {
					t.Errorf("record %d is there: %t, want %t", i, got, want)
				}
			}
			if err := s.DeleteSessionsOf(ctx, "alice"); err != nil {
				t.Errorf("DeleteSessionsOf of an unknown subject: %v", err)
			}
		}},
		{"a context that is done is an error and changes nothing", func(t *testing.T, s Store) {
			save(t, s, testRecord(key, "alice"))
			done, cancel := context.WithCancel(ctx)
			cancel()
			rec, findErr := s.FindSession(done, key)
			if rec != nil {
				t.Errorf("FindSession returned %+v", rec)
			}
			for method, err := range map[string]error{
				"SaveSession":      s.SaveSession(done, other, testRecord(other, "bob")),
				"FindSession":      findErr,
				"TouchSession":     s.TouchSession(done, key, start.Add(time.Minute)),
				"DeleteSession":    s.DeleteSession(done, key),
				"DeleteSessionsOf": s.DeleteSessionsOf(done, "alice"),
			} {
				if !errors.Is(err, context.Canceled) {
					t.Errorf("%s: error %v, want one that is %v", method, err, context.Canceled)
				}
			}
			if got, want := find(t, s, key), testRecord(key, "alice"); !reflect.DeepEqual(got, want) {
				t.Errorf("found %+v, want %+v", got, want)
			}
			if got := find(t, s, other); got != nil {
				t.Errorf("found %+v", got)
			}
		}},
		{"one of many that save under a key wins", func(t *testing.T, s Store) {
			var wg sync.WaitGroup
			won := make(chan string, 16)
			for i := range cap(won) {
				wg.Go(func() {
					subject := fmt.Sprint("user", i)
					if s.SaveSession(ctx, key, testRecord(key, subject)) == nil {
						won <- subject
					}
				})
			}
			wg.Wait()
			if len(won) != 1 {
				t.Fatalf("%d calls won, want 1", len(won))
			}
			if got, want := find(t, s, key).Subject, <-won; got != want {
				t.Errorf("found the record of %s, but %s was told that it won", got, want)
			}
		}},
		{"every method at once", func(t *testing.T, s Store) {
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					for j := range 50 {
						k, subject := testKey(i*1000+j), fmt.Sprint("user", j%3)
						err := errors.Join(
							s.SaveSession(ctx, k, testRecord(k, subject)),
							s.TouchSession(ctx, k, start.Add(time.Second)),
						)
						rec, findErr := s.FindSession(ctx, k)
						if rec != nil {
							rec.Data[0]++
						}
						err = errors.Join(err, findErr, s.DeleteSessionsOf(ctx, "user1"), s.DeleteSession(ctx, k))
						if err != nil {
							t.Error(err)
						}
						if rec, _ := s.FindSession(ctx, k); rec != nil {
							t.Error("found after deletion")
						}
					}
				})
			}
			wg.Wait()
		}},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			tt.run(t, NewMemory(MemoryConfig{Now: newTestClock().Now}))
		})
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
		if want := max(0, left-purgeStep); len(m.entries) != want || len(m.expiry) != want {
			t.Fatalf("%d records and %d expiries are left, want %d", len(m.entries), len(m.expiry), want)
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
			if m.expiry[e.index] != e {
				t.Fatalf("%s does not know its place in the heap", key)
			}
		}
	}
	if len(m.entries) != 0 {
		t.Errorf("%d records are left", len(m.entries))
	}
}

func TestMemoryDefaults(t *testing.T) {
	for _, n := range []int{0, -1} {
		m := NewMemory(MemoryConfig{Max: n})
		if m.max != 100_000 {
			t.Errorf("Max %d: room for %d, want 100,000", n, m.max)
		}
		if d := time.Since(m.now()); d < 0 || d > time.Minute {
			t.Errorf("the default clock is off by %v", d)
		}
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
		if err := m.SaveSession(b.Context(), testKey(i), testRecord(testKey(i), "alice")); err != nil {
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
