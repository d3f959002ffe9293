package session

import (
	"container/heap"
	"context"
	"errors"
	"strings"
	"sync"
	"time"
)

// ErrFull is what saving a session fails with when a [Memory] has no room left.
// [Cookies.SignIn] wraps it, so test for it with [errors.Is].
var ErrFull = errors.New("session: the store is full of sessions that are still good")

// How many sessions a Memory keeps, in all and of one subject, if it is not told
// otherwise.
const (
	defaultMax           = 100_000
	defaultMaxPerSubject = 100
)

// purgeStep is the most expired records that one call removes, which keeps every
// call short. Each call adds one record at most, so the purge always catches up.
const purgeStep = 16

// MemoryConfig configures a [Memory]. The zero value is ready for use.
type MemoryConfig struct {
	// Max is the most sessions that are kept at once. Zero or less means 100,000.
	// What a session takes depends on its Data; one with short fields and little of
	// it takes about 550 bytes.
	Max int

	// MaxPerSubject is the most finished sessions of one subject that are kept at once,
	// and the most of its sign-ins whose second factor is pending: each kind has a share
	// of this size. Zero or less means 100. One more sign-in ends that session of the
	// same subject and kind that expires first, which is mostly the one that was out of
	// use longest. A sign-in that replaces a session counts as one more too, as the old
	// one goes only when the new one is stored.
	//
	// So no account can take the room of all others, and who has only a password ends
	// no finished session. A program that signs in again for every call it makes loses
	// its own sessions only.
	MaxPerSubject int

	// Now tells the time by which records expire. Nil means [time.Now]. It should
	// be the clock of the [Cookies] that uses the store, and is called with the
	// store's lock held, so it must not call the store.
	Now func() time.Time
}

// Memory is a [Store] in the memory of one process. When the process ends, everyone
// is signed out; a second process knows nobody who signed in at the first.
//
// It is bounded: when it holds its maximum and none of that has expired, saving
// fails with [ErrFull], which refuses the newcomer rather than sign out somebody
// else. A subject that has its own maximum makes room itself, as
// [MemoryConfig.MaxPerSubject] says; no other subject's session that is still good
// is ever dropped, and no finished one for one that is not. Expired records are removed a
// few at a time by the calls that come in; there is no goroutine, and nothing to close.
type Memory struct {
	max           int
	maxPerSubject int
	now           func() time.Time

	mu      sync.Mutex
	entries map[string]*entry
	expiry  expiryHeap            // all entries
	shares  map[share]*expiryHeap // each subject's own; never an empty one
}

var _ Store = (*Memory)(nil)

// share is what the sessions of one subject and one kind are bounded by together.
type share struct {
	subject string
	pending bool
}

func shareOf(rec *Record) share { return share{rec.Subject, rec.SecondFactorPending} }

// entry is a stored record, its key and its places in the heap of all entries and in
// that of its share.
type entry struct {
	key   string
	rec   *Record
	place [2]int
}

// The heaps that an entry is in, as indexes of its places.
const (
	ofAll = iota
	ofShare
)

// NewMemory returns an empty store. It cannot fail: see [MemoryConfig] for what the
// zero and negative values mean.
func NewMemory(cfg MemoryConfig) *Memory {
	m := &Memory{
		max:           cfg.Max,
		maxPerSubject: cfg.MaxPerSubject,
		now:           cfg.Now,
		entries:       make(map[string]*entry),
		expiry:        expiryHeap{which: ofAll},
		shares:        make(map[share]*expiryHeap),
	}
	if m.max <= 0 {
		m.max = defaultMax
	}
	if m.maxPerSubject <= 0 {
		m.maxPerSubject = defaultMaxPerSubject
	}
	if m.now == nil {
		m.now = time.Now
	}
	return m
}

// SaveSession implements [Store]. It fails with [ErrFull] when there is no room, and
// with another error when the key is in use. A subject that has its maximum loses the
// session of the same kind that expires first.
func (m *Memory) SaveSession(ctx context.Context, key string, rec *Record) error {
	return m.locked(ctx, func(time.Time) error {
		if m.entries[key] != nil {
			return errors.New("session: the key is in use")
		}
		if own := m.shares[shareOf(rec)]; own != nil && own.Len() >= m.maxPerSubject {
			m.remove(own.entries[0])
		} else if len(m.entries) >= m.max {
			return ErrFull
		}
		m.add(&entry{key: strings.Clone(key), rec: rec.kept()})
		return nil
	})
}

// FindSession implements [Store]. A record that has expired is not found.
func (m *Memory) FindSession(ctx context.Context, key string) (*Record, error) {
	var found *Record
	err := m.locked(ctx, func(now time.Time) error {
		if e := m.entries[key]; e != nil && now.Before(e.rec.ExpiresAt) {
			found = e.rec.clone()
		}
		return nil
	})
	return found, err
}

// TouchSession implements [Store]. A record that has expired is left to go.
func (m *Memory) TouchSession(ctx context.Context, key string, seen, expires time.Time) error {
	return m.locked(ctx, func(now time.Time) error {
		e := m.entries[key]
		if e == nil || !now.Before(e.rec.ExpiresAt) {
			return nil
		}
		if seen.After(e.rec.LastSeenAt) {
			e.rec.LastSeenAt = seen
		}
		if expires.After(e.rec.ExpiresAt) {
			e.rec.ExpiresAt = expires
			heap.Fix(&m.expiry, e.place[ofAll])
			heap.Fix(m.shares[shareOf(e.rec)], e.place[ofShare])
		}
		return nil
	})
}

// DeleteSession implements [Store].
func (m *Memory) DeleteSession(ctx context.Context, key string) error {
	return m.locked(ctx, func(time.Time) error {
		if e := m.entries[key]; e != nil {
			m.remove(e)
		}
		return nil
	})
}

// DeleteSessionsOf implements [Store].
func (m *Memory) DeleteSessionsOf(ctx context.Context, subject string) error {
	return m.locked(ctx, func(time.Time) error {
		for _, pending := range []bool{false, true} {
			for own := m.shares[share{subject, pending}]; own != nil && own.Len() > 0; {
				m.remove(own.entries[own.Len()-1]) // the last, as nothing has to move up for it
			}
		}
		return nil
	})
}

// locked runs op with the lock held, after a step of the purge, unless ctx is done.
func (m *Memory) locked(ctx context.Context, op func(now time.Time) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	for range purgeStep {
		if m.expiry.Len() == 0 || now.Before(m.expiry.entries[0].rec.ExpiresAt) {
			break
		}
		m.remove(m.expiry.entries[0])
	}
	return op(now)
}

// add stores an entry whose key is free. The lock is held.
func (m *Memory) add(e *entry) {
	own := m.shares[shareOf(e.rec)]
	if own == nil {
		own = &expiryHeap{which: ofShare}
		m.shares[shareOf(e.rec)] = own
	}
	m.entries[e.key] = e
	heap.Push(&m.expiry, e)
	heap.Push(own, e)
}

// remove drops an entry that is stored. The lock is held.
func (m *Memory) remove(e *entry) {
	delete(m.entries, e.key)
	heap.Remove(&m.expiry, e.place[ofAll])
	own := m.shares[shareOf(e.rec)]
	heap.Remove(own, e.place[ofShare])
	if own.Len() == 0 {
		delete(m.shares, shareOf(e.rec))
	}
}

// expiryHeap orders entries by the time they expire, the first to go on top, and tells
// each its place.
type expiryHeap struct {
	which   int // of an entry's places
	entries []*entry
}

func (h *expiryHeap) Len() int { return len(h.entries) }

func (h *expiryHeap) Less(i, j int) bool {
	return h.entries[i].rec.ExpiresAt.Before(h.entries[j].rec.ExpiresAt)
}

func (h *expiryHeap) Swap(i, j int) {
	h.entries[i], h.entries[j] = h.entries[j], h.entries[i]
	h.entries[i].place[h.which], h.entries[j].place[h.which] = i, j
}

func (h *expiryHeap) Push(x any) {
	e := x.(*entry)
	e.place[h.which] = len(h.entries)
	h.entries = append(h.entries, e)
}

func (h *expiryHeap) Pop() any {
	last := len(h.entries) - 1
	e := h.entries[last]
	h.entries[last] = nil
	h.entries = h.entries[:last]
	return e
}
