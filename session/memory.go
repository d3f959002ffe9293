package session

import (
	"container/heap"
	"context"
	"errors"
	"sync"
	"time"
)

// ErrFull is what saving a session fails with when a [Memory] has no room left.
// [Cookies.SignIn] wraps it, so test for it with [errors.Is].
var ErrFull = errors.New("session: the store is full of sessions that are still good")

// defaultMax is how many sessions a Memory keeps if it is not told otherwise.
const defaultMax = 100_000

// purgeStep is the most expired records that one call removes, which keeps every
// call short. Each call adds one record at most, so the purge always catches up.
const purgeStep = 16

// MemoryConfig configures a [Memory]. The zero value is ready for use.
type MemoryConfig struct {
	// Max is the most sessions that are kept at once. Zero or less means 100,000.
	// What a session takes depends on its Data; one with short fields and little of
	// it takes about 400 bytes.
	Max int

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
// else. A record takes its place until ExpiresAt, even if nobody uses it any more,
// because how long a session may idle is for [Cookies] to know. Expired records are
// removed a few at a time by the calls that come in; there is no goroutine, and
// nothing to close.
type Memory struct {
	max int
	now func() time.Time

	mu      sync.Mutex
	entries map[string]*entry
	expiry  expiryHeap
}

var _ Store = (*Memory)(nil)

// entry is a stored record, its key and its place in the expiry heap.
type entry struct {
	key   string
	rec   *Record
	index int
}

// NewMemory returns an empty store. It cannot fail: see [MemoryConfig] for what the
// zero and negative values mean.
func NewMemory(cfg MemoryConfig) *Memory {
	m := &Memory{max: cfg.Max, now: cfg.Now, entries: make(map[string]*entry)}
	if m.max <= 0 {
		m.max = defaultMax
	}
	if m.now == nil {
		m.now = time.Now
	}
	return m
}

// SaveSession implements [Store]. It fails with [ErrFull] when there is no room, and
// with another error when the key is in use.
func (m *Memory) SaveSession(ctx context.Context, key string, rec *Record) error {
	return m.locked(ctx, func(time.Time) error {
		if m.entries[key] != nil {
			return errors.New("session: the key is in use")
		}
		if len(m.entries) >= m.max {
			return ErrFull
		}
		e := &entry{key: key, rec: rec.clone()}
		m.entries[key] = e
		heap.Push(&m.expiry, e)
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

// TouchSession implements [Store].
func (m *Memory) TouchSession(ctx context.Context, key string, seen time.Time) error {
	return m.locked(ctx, func(time.Time) error {
		if e := m.entries[key]; e != nil && seen.After(e.rec.LastSeenAt) {
			e.rec.LastSeenAt = seen
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

// DeleteSessionsOf implements [Store]. It looks at every record, for a subject
// rarely loses all sessions and an index would cost every sign-in.
func (m *Memory) DeleteSessionsOf(ctx context.Context, subject string) error {
	return m.locked(ctx, func(time.Time) error {
		for _, e := range m.entries {
			if e.rec.Subject == subject {
				m.remove(e)
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
		if len(m.expiry) == 0 || now.Before(m.expiry[0].rec.ExpiresAt) {
			break
		}
		m.remove(m.expiry[0])
	}
	return op(now)
}

// remove drops an entry that is stored. The lock is held.
func (m *Memory) remove(e *entry) {
	heap.Remove(&m.expiry, e.index)
	delete(m.entries, e.key)
}

// expiryHeap orders entries by the time they expire, the first to go on top.
type expiryHeap []*entry

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].rec.ExpiresAt.Before(h[j].rec.ExpiresAt) }

func (h expiryHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *expiryHeap) Push(x any) {
	e := x.(*entry)
	e.index = len(*h)
	*h = append(*h, e)
}

func (h *expiryHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}
