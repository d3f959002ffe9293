package authorize

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Memory keeps clients, codes and consents in this process: the embedded default.
// It is a [ClientStore], [CodeStore] and [ConsentStore], bounded and safe for
// concurrent use. Codes expire; consents stay until they are deleted. Everything in it is gone when the process ends.
type Memory struct {
	maxCodes, maxConsents int
	keepExpired           time.Duration
	now                   func() time.Time

	mu       sync.Mutex
	clients  map[string]*Client
	codes    map[string]*Code
	expiry   expiryHeap // one entry for each code
	consents map[consentKey]*ConsentRecord
}

type consentKey struct{ subject, clientID string }

// MemoryConfig sizes a [Memory]. The zero value is fine.
type MemoryConfig struct {
	// Clients are there from the beginning. [Memory.PutClient] adds more.
	Clients []Client

	// MaxCodes and MaxConsents bound what is kept. Zero or less: 100,000 of each.
	// A code with little in Data takes about a kilobyte.
	MaxCodes    int
	MaxConsents int

	// KeepExpired is how long past its expiry a code is remembered, so that a replay
	// can be told from an unknown code, unless the store is full before. Zero or
	// less: 10 minutes.
	KeepExpired time.Duration

	// Now is the clock by which space is reclaimed. It has to be that of
	// [Config].Now, or codes may go before their time. It must not call the store.
	// Nil: time.Now.
	Now func() time.Time
}

// ErrFull says that a [Memory] has reached its bound. Codes that can still be
// redeemed are never dropped to make room.
var ErrFull = errors.New("the in-memory store is full")

// NewMemory returns a store with the given clients. It panics if two of them have
// the same ID, which is a mistake in the program.
func NewMemory(config MemoryConfig) *Memory {
	m := &Memory{
		maxCodes:    cmp.Or(max(config.MaxCodes, 0), 100_000),
		maxConsents: cmp.Or(max(config.MaxConsents, 0), 100_000),
		keepExpired: cmp.Or(max(config.KeepExpired, 0), 10*time.Minute),
		now:         config.Now,
		clients:     map[string]*Client{},
		codes:       map[string]*Code{},
		consents:    map[consentKey]*ConsentRecord{},
	}
	if m.now == nil {
		m.now = time.Now
	}
	for _, c := range config.Clients {
		if m.clients[c.ID] != nil {
			panic("authorize: two clients have the ID " + c.ID)
		}
		m.PutClient(c)
	}
	return m
}

// PutClient stores a client in place of the one with the same ID.
func (m *Memory) PutClient(c Client) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clients[c.ID] = c.clone()
}

// DeleteClient removes a client. It is no error if there is none.
func (m *Memory) DeleteClient(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.clients, id)
}

func (c *Client) clone() *Client {
	clone := *c
	clone.RedirectURIs = slices.Clone(c.RedirectURIs)
	clone.PrivateUseSchemes = slices.Clone(c.PrivateUseSchemes)
	clone.Scopes = slices.Clone(c.Scopes)
	clone.DefaultScopes = slices.Clone(c.DefaultScopes)
	clone.ResponseTypes = slices.Clone(c.ResponseTypes)
	clone.Require = slices.Clone(c.Require)
	return &clone
}

// Client implements [ClientStore].
func (m *Memory) Client(ctx context.Context, id string) (*Client, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.clients[id]
	if c == nil {
		return nil, nil
	}
	return c.clone(), nil
}

// SaveCode implements [CodeStore]. It fails with [ErrFull] at the bound.
func (m *Memory) SaveCode(ctx context.Context, hash string, code *Code) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reclaim()
	if m.codes[hash] != nil {
		return errors.New("the code is there already")
	}
	if len(m.codes) >= m.maxCodes {
		return ErrFull
	}
	m.codes[hash] = code.Clone()
	heap.Push(&m.expiry, expiring{hash, code.ExpiresAt})
	return nil
}

// reclaimStep is how many codes one call reclaims at most, which keeps every call
// short. Each call adds one, so that reclaiming keeps up.
const reclaimStep = 16

// reclaim forgets codes whose time is over, those that expire first first. When the
// store is full, a code that is expired and merely remembered goes before its time;
// one that is not expired stays, used or not.
func (m *Memory) reclaim() {
	now := m.now()
	for range reclaimStep {
		if len(m.expiry) == 0 {
			return
		}
		next := m.expiry[0]
		over := now.After(next.at.Add(m.keepExpired))
		if !over && (len(m.codes) < m.maxCodes || now.Before(next.at)) {
			return
		}
		heap.Pop(&m.expiry)
		delete(m.codes, next.hash)
	}
}

// expiring says when a stored code expires.
type expiring struct {
	hash string
	at   time.Time
}

// expiryHeap has the code that expires first on top. Codes need not arrive in that
// order: endpoints with different lifetimes may share a store.
type expiryHeap []expiring

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h expiryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *expiryHeap) Push(x any)        { *h = append(*h, x.(expiring)) }

// Pop clears the place that it frees, so that the hash is not kept alive.
func (h *expiryHeap) Pop() any {
	last := len(*h) - 1
	popped := (*h)[last]
	(*h)[last] = expiring{}
	*h = (*h)[:last]
	return popped
}

// FindCode implements [CodeStore].
func (m *Memory) FindCode(ctx context.Context, hash string) (*Code, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.codes[hash].Clone(), nil
}

// TakeCode implements [CodeStore].
func (m *Memory) TakeCode(ctx context.Context, hash string, at time.Time) (*Code, bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	code := m.codes[hash]
	if code == nil {
		return nil, false, nil
	}
	taken := code.UsedAt.IsZero()
	if taken {
		code.UsedAt = at
	}
	return code.Clone(), taken, nil
}

// SaveConsent implements [ConsentStore]. It fails with [ErrFull] at the bound.
func (m *Memory) SaveConsent(ctx context.Context, c *ConsentRecord) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key := consentKey{c.Subject, c.ClientID}
	if m.consents[key] == nil && len(m.consents) >= m.maxConsents {
		return ErrFull
	}
	m.consents[key] = c.Clone()
	return nil
}

// FindConsent implements [ConsentStore].
func (m *Memory) FindConsent(ctx context.Context, subject, clientID string) (*ConsentRecord, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.consents[consentKey{subject, clientID}].Clone(), nil
}

// ListConsents implements [ConsentStore]. It looks at every record there is, because
// users rarely ask.
func (m *Memory) ListConsents(ctx context.Context, subject string) ([]*ConsentRecord, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	found := []*ConsentRecord{}
	for key, c := range m.consents {
		if key.subject == subject {
			found = append(found, c.Clone())
		}
	}
	slices.SortFunc(found, func(a, b *ConsentRecord) int { return cmp.Compare(a.ClientID, b.ClientID) })
	return found, nil
}

// DeleteConsent implements [ConsentStore].
func (m *Memory) DeleteConsent(ctx context.Context, subject, clientID string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.consents, consentKey{subject, clientID})
	return nil
}
