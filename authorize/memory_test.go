package authorize_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
)

var (
	_ authorize.ClientStore  = (*authorize.Memory)(nil)
	_ authorize.CodeStore    = (*authorize.Memory)(nil)
	_ authorize.ConsentStore = (*authorize.Memory)(nil)
)

func TestMemoryIsACodeStore(t *testing.T) {
	authorizetest.TestCodeStore(t, func(*testing.T) authorize.CodeStore {
		return authorize.NewMemory(authorize.MemoryConfig{})
	})
}

func TestMemoryIsAConsentStore(t *testing.T) {
	authorizetest.TestConsentStore(t, func(*testing.T) authorize.ConsentStore {
		return authorize.NewMemory(authorize.MemoryConfig{})
	})
}

// memoryTest is a Memory with a clock that stands still until it is moved.
type memoryTest struct {
	*testing.T
	*authorize.Memory
	now time.Time
}

func newMemoryTest(t *testing.T, config authorize.MemoryConfig) *memoryTest {
	m := &memoryTest{T: t, now: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
	config.Now = func() time.Time { return m.now }
	m.Memory = authorize.NewMemory(config)
	return m
}

// save stores a code that lives for so long from now on.
func (m *memoryTest) save(hash string, life time.Duration) error {
	return m.SaveCode(m.Context(), hash, &authorize.Code{Subject: hash, IssuedAt: m.now, ExpiresAt: m.now.Add(life)})
}

func (m *memoryTest) mustSave(hash string, life time.Duration) {
	m.Helper()
	if err := m.save(hash, life); err != nil {
		m.Fatalf("saving %s: %v", hash, err)
	}
}

func (m *memoryTest) take(hash string) {
	m.Helper()
	if _, taken, err := m.TakeCode(m.Context(), hash, m.now); !taken || err != nil {
		m.Fatalf("taking %s: %t, %v", hash, taken, err)
	}
}

// wantStored checks which of the codes a, b, c and so on are there.
func (m *memoryTest) wantStored(want string) {
	m.Helper()
	got := ""
	for hash := 'a'; hash <= 'f'; hash++ {
		code, err := m.FindCode(m.Context(), string(hash))
		if err != nil {
			m.Fatal(err)
		}
		if code != nil {
			got += string(hash)
		}
	}
	if got != want {
		m.Errorf("the store has the codes %q, want %q", got, want)
	}
}

func (m *memoryTest) wantFull(hash string) {
	m.Helper()
	if err := m.save(hash, time.Minute); !errors.Is(err, authorize.ErrFull) {
		m.Errorf("saving %s in a full store: %v, want ErrFull", hash, err)
	}
}

func TestMemoryRefusesNewCodesWhenItIsFull(t *testing.T) {
	m := newMemoryTest(t, authorize.MemoryConfig{MaxCodes: 3})
	m.mustSave("a", time.Minute)
	m.mustSave("b", time.Minute)
	m.mustSave("c", time.Hour)
	m.wantFull("d")
	m.wantStored("abc")

	m.take("b")
	m.now = m.now.Add(time.Minute - 1)
	m.wantFull("d")
	m.wantStored("abc") // a used code is remembered until its expiry at least

	m.now = m.now.Add(1)
	m.mustSave("d", time.Minute)
	m.mustSave("e", time.Minute)
	m.wantFull("f")
	m.wantStored("cde")
}

func TestMemoryRemembersExpiredCodesForATime(t *testing.T) {
	m := newMemoryTest(t, authorize.MemoryConfig{KeepExpired: time.Hour})
	m.mustSave("a", time.Minute)
	m.mustSave("b", 2*time.Minute)
	m.take("a")

	m.now = m.now.Add(time.Minute + time.Hour)
	m.mustSave("c", time.Minute)
	m.wantStored("abc")

	m.now = m.now.Add(1)
	m.mustSave("d", time.Minute)
	m.wantStored("bcd")
}

func TestMemoryReclaimsByExpiryAndNotByArrival(t *testing.T) {
	m := newMemoryTest(t, authorize.MemoryConfig{MaxCodes: 5})
	for i, life := range []time.Duration{5, 1, 4, 2, 3} {
		m.mustSave(string(rune('a'+i)), life*time.Minute)
	}
	for i, want := range []string{"acdef", "acef", "acf", "af", "f"} {
		m.now = m.now.Add(time.Minute)
		if i == 0 {
			m.mustSave("f", time.Hour)
		} else {
			// One more pushes out the one that has expired, and one to keep it full.
			m.mustSave(fmt.Sprint("more", i), time.Hour)
		}
		m.wantStored(want)
	}
}

func TestMemoryReclaimsInSteps(t *testing.T) {
	m := newMemoryTest(t, authorize.MemoryConfig{MaxCodes: 1000})
	const n = 500
	for i := range n {
		m.mustSave(fmt.Sprint("old", i), time.Minute)
	}
	left := func() int {
		count := 0
		for i := range n {
			if code, _ := m.FindCode(t.Context(), fmt.Sprint("old", i)); code != nil {
				count++
			}
		}
		return count
	}
	m.now = m.now.Add(time.Hour)
	m.mustSave("a", time.Minute)
	if got := left(); got == 0 || got == n {
		t.Errorf("%d of %d codes are left after one call, want a part of them", got, n)
	}
	for i := range n / 10 {
		m.mustSave(fmt.Sprint("new", i), time.Minute)
	}
	if got := left(); got != 0 {
		t.Errorf("%d of %d codes are left", got, n)
	}
}

func TestMemoryIsNotFilledByWhatCannotBeSaved(t *testing.T) {
	m := newMemoryTest(t, authorize.MemoryConfig{MaxCodes: 2})
	m.mustSave("a", time.Minute)
	for range 5 {
		if err := m.save("a", time.Hour); err == nil || errors.Is(err, authorize.ErrFull) {
			t.Fatalf("saving a hash twice: %v, want an error of its own", err)
		}
	}
	m.mustSave("b", time.Minute)
	m.now = m.now.Add(time.Minute)
	m.mustSave("c", time.Minute)
	m.mustSave("d", time.Minute)
	m.wantStored("cd")
}

func TestMemoryTakesDefaultsForZeroAndLess(t *testing.T) {
	for _, less := range []int{0, -1} {
		m := newMemoryTest(t, authorize.MemoryConfig{MaxCodes: less, MaxConsents: less, KeepExpired: time.Duration(less) * time.Hour})
		m.mustSave("a", time.Minute)
		m.now = m.now.Add(time.Minute + 10*time.Minute)
		m.mustSave("b", time.Minute)
		m.wantStored("ab")
		m.now = m.now.Add(1)
		m.mustSave("c", time.Minute)
		m.wantStored("bc")
		if err := m.SaveConsent(t.Context(), &authorize.ConsentRecord{Subject: "alice"}); err != nil {
			t.Error(err)
		}
	}
}

func TestMemoryRefusesNewConsentsWhenItIsFull(t *testing.T) {
	ctx := t.Context()
	m := authorize.NewMemory(authorize.MemoryConfig{MaxConsents: 2})
	record := func(client string) *authorize.ConsentRecord {
		return &authorize.ConsentRecord{Subject: "alice", ClientID: client}
	}
	for _, step := range []struct {
		rule string
		err  error
		want error
	}{
		{"the first", m.SaveConsent(ctx, record("a")), nil},
		{"the last", m.SaveConsent(ctx, record("b")), nil},
		{"one too many", m.SaveConsent(ctx, record("c")), authorize.ErrFull},
		{"in place of another", m.SaveConsent(ctx, record("a")), nil},
		{"a deletion", m.DeleteConsent(ctx, "alice", "a"), nil},
		{"in the place that is free", m.SaveConsent(ctx, record("c")), nil},
	} {
		if !errors.Is(step.err, step.want) {
			t.Errorf("%s: %v, want %v", step.rule, step.err, step.want)
		}
	}
}

func TestMemoryKeepsCopiesOfClients(t *testing.T) {
	full := func() authorize.Client {
		return authorize.Client{
			ID: "wiki", Name: "The wiki", RedirectURIs: []string{"https://wiki.example/cb"}, PrivateUseSchemes: []string{"wiki"},
			Scopes: []string{"openid"}, DefaultScopes: []string{"openid"}, ResponseTypes: []string{"code"},
		}
	}
	spoil := func(c *authorize.Client) {
		c.Name = "x"
		for _, list := range [][]string{c.RedirectURIs, c.PrivateUseSchemes, c.Scopes, c.DefaultScopes, c.ResponseTypes} {
			list[0] = "x"
		}
	}
	check := func(rule string, m *authorize.Memory) {
		t.Helper()
		c, err := m.Client(t.Context(), "wiki")
		if err != nil || c == nil || !reflect.DeepEqual(*c, full()) {
			t.Fatalf("%s: %+v, %v; want the client as it was", rule, c, err)
		}
		spoil(c)
	}
	configured, put := full(), full()
	m := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{configured}})
	spoil(&configured)
	check("after a change to the configuration", m)
	check("after a change to what was returned", m)
	m.PutClient(authorize.Client{ID: "wiki"})
	m.PutClient(put)
	spoil(&put)
	check("after a change to what was put", m)
	check("after a change to what was returned then", m)
}

func TestMemoryClients(t *testing.T) {
	m := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{{ID: "a"}, {ID: "A"}}})
	m.PutClient(authorize.Client{ID: "b"})
	m.DeleteClient("a")
	m.DeleteClient("nobody")
	for id, want := range map[string]bool{"a": false, "A": true, "b": true, "B": false, "": false, "b ": false} {
		c, err := m.Client(t.Context(), id)
		if err != nil || (c != nil) != want {
			t.Errorf("Client(%q) is %v, %v; want one: %t", id, c, err, want)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if c, err := m.Client(ended, "b"); c != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("Client with a context that is over: %v, %v", c, err)
	}
}

func TestMemoryKeepsNilApartFromEmpty(t *testing.T) {
	m := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{
		{ID: "nil"}, {ID: "empty", ResponseTypes: []string{}},
	}})
	for id, want := range map[string]bool{"nil": true, "empty": false} {
		// Nil means code only, an empty list nothing at all.
		if c, err := m.Client(t.Context(), id); err != nil || (c.ResponseTypes == nil) != want {
			t.Errorf("%s: ResponseTypes is %#v, %v", id, c.ResponseTypes, err)
		}
	}
}

func TestNewMemoryPanicsForTwoClientsWithOneID(t *testing.T) {
	defer func() {
		if text := fmt.Sprint(recover()); !strings.Contains(text, "wiki") {
			t.Errorf("the panic says %q, want the id", text)
		}
	}()
	authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{{ID: "wiki"}, {ID: "wiki"}}})
}

// A value of a request is a part of the whole request. What is kept must not keep that.
func TestMemoryKeepsNoRequest(t *testing.T) {
	whole := "alice" + strings.Repeat("x", 60_000)
	part := whole[:5]
	store := authorize.NewMemory(authorize.MemoryConfig{})
	code := &authorize.Code{
		ClientID: part, RedirectURI: part, Challenge: part, Subject: part, ACR: part, Nonce: part, SessionID: part,
		Scopes: []string{part}, Resources: []string{part}, AMR: []string{part}, ExpiresAt: time.Now().Add(time.Minute),
	}
	if err := store.SaveCode(context.Background(), "hash", code); err != nil {
		t.Fatal(err)
	}
	found, err := store.FindCode(context.Background(), "hash")
	if err != nil {
		t.Fatal(err)
	}
	if err := store.SaveConsent(context.Background(), &authorize.ConsentRecord{Subject: part, ClientID: part, Scopes: []string{part}, Resources: []string{part}}); err != nil {
		t.Fatal(err)
	}
	consent, err := store.FindConsent(context.Background(), part, part)
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{
		found.ClientID, found.RedirectURI, found.Challenge, found.Subject, found.ACR, found.Nonce, found.SessionID,
		found.Scopes[0], found.Resources[0], found.AMR[0],
		consent.Subject, consent.ClientID, consent.Scopes[0], consent.Resources[0],
	} {
		if text != part || unsafe.StringData(text) == unsafe.StringData(part) {
			t.Errorf("string %d is %q and shares memory with the request", i, text)
		}
	}
}
