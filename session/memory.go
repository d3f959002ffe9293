package session

import (
	"container/heap"
	"context"
	"errors"
	"strings"
	"sync"
	"time"
)

// ErrFull is the error of saving a session if a [Memory] has no room left. [Cookies.SignIn]
// wraps it, so test for it with [errors.Is].
var ErrFull = errors.New("session: the store is full of sessions that are still good")

// The default limits of a Memory: in total and for one subject.
const (
	defaultMax           = 100_000
	defaultMaxPerSubject = 100
)

// purgeStep is how many expired records one call removes at most, so that every call is
// short. A call adds at most one record, so that purging keeps up.
const purgeStep = 16

// MemoryConfig configures a [Memory]. The zero value is ready for use.
type MemoryConfig struct {
	// Max is the most sessions that are kept at once. Zero or less means 100,000. The size
	// of a session depends on its Data. One with short fields and little Data takes about
	// 550 bytes.
	Max int

	// MaxPerSubject is how many finished sessions of one subject are kept at once. Its
	// sign-ins whose second factor is pending have a limit of the same size of their own.
	// Zero or less means 100. At the limit, one more sign-in ends the session of the same
	// subject and kind that expires first; that is usually the one that was unused longest.
	// A sign-in that replaces a session counts as one more too, because the old session is
	// deleted only after the new one is stored.
	//
	// So no account can fill the store, and an attacker who has only a password cannot end
	// finished sessions. A program that signs in again for every call loses only its own
	// sessions.
	MaxPerSubject int

	// Now is the clock by which records expire. Nil means [time.Now]. It should be the
	// clock of the [Cookies] that uses the store. It is called with the store's lock held,
	// so it must not call the store.
	Now func() time.Time
}

// Memory is a [Store] in the memory of one process. When the process ends, everyone is
// signed out. Other processes do not know its sessions.
//
// Its size is limited. If it is full and no session has expired, saving fails with
// [ErrFull]: the new sign-in is refused, and nobody else is signed out. A subject at its
// own limit loses one of its own sessions, as [MemoryConfig.MaxPerSubject] says. A valid
// session of another subject is never dropped, nor a finished session for a pending one.
// Each call removes a few expired records; there is no goroutine, and nothing to close.
type Memory struct {
	max           int
	maxPerSubject int
	now           func() time.Time

	mu      sync.Mutex
	entries map[string]*entry
	expiry  expiryHeap            // all entries
	shares  map[share]*expiryHeap // by subject and kind; no heap is empty
}

var _ Store = (*Memory)(nil)

// share identifies the sessions of one subject and one kind, which have a common limit.
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

// NewMemory returns an empty store. It cannot fail: [MemoryConfig] says what zero and
// negative values mean.
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

// SaveSession implements [Store]. It fails with [ErrFull] when there is no room, and with
// another error when the key is in use. A subject at its limit loses the session of the
// same kind that expires first.
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

// TouchSession implements [Store]. It does not change a record that has expired.
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
				m.remove(own.entries[own.Len()-1]) // the last, because removing it moves nothing
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

// expiryHeap has the entry that expires first on top, and keeps the place of each entry up
// to date.
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
