package authorize

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Memory keeps clients, codes and consents in the memory of this process. It is a
// [ClientStore], [CodeStore] and [ConsentStore], limited in size and safe for concurrent
// use. Codes expire; consents stay until they are deleted. Everything is lost when the
// process ends.
type Memory struct {
	maxCodes, maxConsents                     int
	maxCodesPerSubject, maxConsentsPerSubject int
	keepExpired                               time.Duration
	now                                       func() time.Time

	mu           sync.Mutex
	clients      map[string]*Client
	codes        map[string]*keptCode
	expiry       expiryHeap                           // all codes
	codesOf      map[string]*expiryHeap               // by subject; no heap is empty
	consents     map[string]map[string]*ConsentRecord // by subject and client; no map is empty
	consentCount int                                  // of all subjects
}

// MemoryConfig configures a [Memory]. The zero value can be used.
type MemoryConfig struct {
	// Clients are the first clients. [Memory.PutClient] adds more.
	Clients []Client

	// MaxCodes and MaxConsents limit how many are kept. Zero or less: 100,000 of each. A
	// code with little SessionData takes about a kilobyte.
	MaxCodes    int
	MaxConsents int

	// MaxCodesPerSubject and MaxConsentsPerSubject limit how many are kept for one user, so
	// that no user can fill the store. Zero or less: 1,000 of each. A user at the limit
	// gets no more; other users are not affected. Expired codes do not count; used codes
	// count until they expire.
	MaxCodesPerSubject    int
	MaxConsentsPerSubject int

	// KeepExpired is how long a code is kept after its expiry, so that a replay can be told
	// from an unknown code. If the store or the user's share is full, expired codes are
	// dropped earlier. Zero or less: 10 minutes.
	KeepExpired time.Duration

	// Now is the clock by which expired codes are dropped. It must be the clock of
	// [Config].Now, or codes may be dropped too early. It must not call the store. Nil:
	// time.Now.
	Now func() time.Time
}

// ErrFull says that a [Memory] has reached a limit: its own or that of one subject. Codes
// that can still be redeemed are never dropped to make room. Test for it with [errors.Is].
var ErrFull = errors.New("the in-memory store is full")

// NewMemory returns a store with the given clients. It panics if two of them have the same
// ID or if [CheckClient] refuses one, because that is a mistake in the program. The text
// names the client, the field and what to do. For clients from a file or a form use
// [Memory.PutClient], which returns the error.
func NewMemory(config MemoryConfig) *Memory {
	m := &Memory{
		maxCodes:    cmp.Or(max(config.MaxCodes, 0), 100_000),
		maxConsents: cmp.Or(max(config.MaxConsents, 0), 100_000),
		keepExpired: cmp.Or(max(config.KeepExpired, 0), 10*time.Minute),
		now:         config.Now,
		clients:     map[string]*Client{},
		codes:       map[string]*keptCode{},
		expiry:      expiryHeap{which: ofAll},
		codesOf:     map[string]*expiryHeap{},
		consents:    map[string]map[string]*ConsentRecord{},

		maxCodesPerSubject:    cmp.Or(max(config.MaxCodesPerSubject, 0), 1000),
		maxConsentsPerSubject: cmp.Or(max(config.MaxConsentsPerSubject, 0), 1000),
	}
	if m.now == nil {
		m.now = time.Now
	}
	for _, c := range config.Clients {
		if m.clients[c.ID] != nil {
			panic(fmt.Sprintf("authorize: two clients have the ID %.80q", c.ID))
		}
		if err := m.PutClient(c); err != nil {
			panic(err.Error())
		}
	}
	return m
}

// PutClient stores a client and replaces the one with the same ID. If [CheckClient] returns
// an error, PutClient returns it and stores nothing.
func (m *Memory) PutClient(c Client) error {
	if err := CheckClient(c); err != nil {
		return fmt.Errorf("authorize: the client %.80q: %w", c.ID, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clients[c.ID] = c.clone()
	return nil
}

// DeleteClient removes a client. It is no error if there is none.
func (m *Memory) DeleteClient(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.clients, id)
}

func (c *Client) clone() *Client {
	clone := *c
	clone.eachText(func(text string) string { return text })
	return &clone
}

func (c *Client) eachText(f func(string) string) {
	c.ID, c.Name, c.OutOfBand, c.Revision = f(c.ID), f(c.Name), f(c.OutOfBand), f(c.Revision)
	eachOf(f, &c.RedirectURIs, &c.PrivateUseSchemes, &c.Scopes, &c.DefaultScopes,
		&c.ResponseTypes, &c.ResponseModes, &c.Require)
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

// SaveCode implements [CodeStore]. It fails with [ErrFull] if the store or the subject has
// reached its limit.
func (m *Memory) SaveCode(ctx context.Context, hash string, code *Code) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	m.reclaim(now)
	if m.codes[hash] != nil {
		return errors.New("the code is already stored")
	}
	if own := m.codesOf[code.Subject]; own != nil && own.Len() >= m.maxCodesPerSubject {
		// One expired code is dropped for each new one, so the subject never exceeds its
		// limit.
		if now.Before(own.codes[0].ExpiresAt) {
			return fmt.Errorf("%w: the subject has %d codes that have not expired", ErrFull, own.Len())
		}
		m.drop(own.codes[0])
	}
	if len(m.codes) >= m.maxCodes {
		return ErrFull
	}
	m.add(&keptCode{Code: code.Clone(), hash: hash})
	return nil
}

// reclaimStep is how many codes one call drops at most, so that every call is short. A call
// adds only one code, so that dropping keeps up.
const reclaimStep = 16

// reclaim drops codes that expired more than keepExpired ago, the earliest expiry first. If
// the store is full, it also drops codes that expired more recently. A code that has not
// expired stays, used or not. The lock is held.
func (m *Memory) reclaim(now time.Time) {
	for range reclaimStep {
		if m.expiry.Len() == 0 {
			return
		}
		next := m.expiry.codes[0]
		over := now.After(next.ExpiresAt.Add(m.keepExpired))
		if !over && (len(m.codes) < m.maxCodes || now.Before(next.ExpiresAt)) {
			return
		}
		m.drop(next)
	}
}

// add stores a code whose hash is free. The lock is held.
func (m *Memory) add(c *keptCode) {
	own := m.codesOf[c.Subject]
	if own == nil {
		own = &expiryHeap{which: ofSubject}
		m.codesOf[c.Subject] = own
	}
	m.codes[c.hash] = c
	heap.Push(&m.expiry, c)
	heap.Push(own, c)
}

// drop removes a code that is stored. The lock is held.
func (m *Memory) drop(c *keptCode) {
	delete(m.codes, c.hash)
	heap.Remove(&m.expiry, c.place[ofAll])
	own := m.codesOf[c.Subject]
	heap.Remove(own, c.place[ofSubject])
	if own.Len() == 0 {
		delete(m.codesOf, c.Subject)
	}
}

// keptCode is a stored code and its places in the heaps of all codes and of its subject's.
type keptCode struct {
	*Code
	hash  string
	place [2]int
}

// The heaps that a code is in, as indexes of its places.
const (
	ofAll = iota
	ofSubject
)

// expiryHeap has the code that expires first on top, and keeps the place of each code up to
// date. Codes may arrive in any order: endpoints with different lifetimes may share a
// store.
type expiryHeap struct {
	which int // of a code's places
	codes []*keptCode
}

func (h *expiryHeap) Len() int { return len(h.codes) }

func (h *expiryHeap) Less(i, j int) bool {
	return h.codes[i].ExpiresAt.Before(h.codes[j].ExpiresAt)
}

func (h *expiryHeap) Swap(i, j int) {
	h.codes[i], h.codes[j] = h.codes[j], h.codes[i]
	h.codes[i].place[h.which], h.codes[j].place[h.which] = i, j
}

func (h *expiryHeap) Push(x any) {
	c := x.(*keptCode)
	c.place[h.which] = len(h.codes)
	h.codes = append(h.codes, c)
}

// Pop clears the place that it frees, so that the code is not kept alive.
func (h *expiryHeap) Pop() any {
	last := len(h.codes) - 1
	c := h.codes[last]
	h.codes[last] = nil
	h.codes = h.codes[:last]
	return c
}

// FindCode implements [CodeStore].
func (m *Memory) FindCode(ctx context.Context, hash string) (*Code, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.codes[hash]
	if c == nil {
		return nil, nil
	}
	return c.Clone(), nil
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

// SaveConsent implements [ConsentStore]. It fails with [ErrFull] if the store or the
// subject has reached its limit. A record that replaces another is always stored.
func (m *Memory) SaveConsent(ctx context.Context, c *ConsentRecord) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	own := m.consents[c.Subject]
	if own[c.ClientID] == nil {
		if len(own) >= m.maxConsentsPerSubject {
			return fmt.Errorf("%w: the subject has %d consents", ErrFull, len(own))
		}
		if m.consentCount >= m.maxConsents {
			return ErrFull
		}
		m.consentCount++
	}
	c = c.Clone() // its texts are the keys of the maps
	if own == nil {
		own = map[string]*ConsentRecord{}
		m.consents[c.Subject] = own
	}
	own[c.ClientID] = c
	return nil
}

// FindConsent implements [ConsentStore].
func (m *Memory) FindConsent(ctx context.Context, subject, clientID string) (*ConsentRecord, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.consents[subject][clientID].Clone(), nil
}

// ListConsents implements [ConsentStore].
func (m *Memory) ListConsents(ctx context.Context, subject string) ([]*ConsentRecord, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	found := []*ConsentRecord{}
	for _, c := range m.consents[subject] {
		found = append(found, c.Clone())
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
	own := m.consents[subject]
	if own[clientID] == nil {
		return nil
	}
	m.consentCount--
	if delete(own, clientID); len(own) == 0 {
		delete(m.consents, subject)
	}
	return nil
}
