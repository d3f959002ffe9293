package authorize_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
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
	authorizetest.TestCodeStore(t, func(t *testing.T) authorize.CodeStore {
		return authorize.NewMemory(authorize.MemoryConfig{})
	})
}

func TestMemoryIsAConsentStore(t *testing.T) {
	authorizetest.TestConsentStore(t, func(t *testing.T) authorize.ConsentStore {
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

// saveOf is save for a code of the subject.
func (m *memoryTest) saveOf(subject, hash string, life time.Duration) error {
	return m.SaveCode(m.Context(), hash, &authorize.Code{Subject: subject, IssuedAt: m.now, ExpiresAt: m.now.Add(life)})
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

// TestMemoryRefusesWhatIsOverAShare has a store with room for six codes, three of each user.
// A step saves a code: small letters are alice's, capital ones bob's, which live for an hour
// instead of a minute, and digits carol's.
func TestMemoryRefusesWhatIsOverAShare(t *testing.T) {
	for _, tt := range []struct {
		rule  string
		steps string // "!" before a code that is refused, "-" takes one, "@" waits for so long
		want  string // what is stored then
	}{
		{"a user with room", "a b c", "abc"},
		{"one too many", "a b c !d", "abc"},
		{"others go on", "a b c !d A 1", "1Aabc"},
		{"and have a share too", "A B C !D a", "ABCa"},
		{"a used code counts until it expires", "a b c -a !d", "abc"},
		{"right before the expiry too", "a b c @59999ms !d", "abc"},
		{"one that has expired does not", "a b c @1m d", "bcd"},
		{"nor a used one", "a b c -b @1m d e f !g", "def"},
		{"the one that expires first goes", "a @1s b @1s c @58s d", "bcd"},
		{"and none that has not expired", "a @1s b @1s c @57s !d", "abc"},
		{"what is refused ends nothing", "A a b c !d !e !f -a -b -c", "Aabc"},
		{"a hash that is there is no code more", "a b !a c !d", "abc"},
		{"others' expired codes stay", "1 a b c @1m d", "1bcd"},
		{"who has gone leaves nothing", "a b c @11m1s A a b c !d", "Aabc"},
		{"the store's own bound holds", "a b c A B C !1", "ABCabc"},
		{"and expired sessions of any subject make room", "a b c A B C @1m 1 2 3 !4", "123ABC"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			m := newMemoryTest(t, authorize.MemoryConfig{MaxCodes: 6, MaxCodesPerSubject: 3})
			for _, step := range strings.Fields(tt.steps) {
				hash := strings.Trim(step, "!-")
				subject, life := "alice", time.Minute
				switch {
				case hash < "A":
					subject = "carol"
				case hash < "a":
					subject, life = "bob", time.Hour
				}
				switch step[0] {
				case '@':
					d, err := time.ParseDuration(step[1:])
					if err != nil {
						t.Fatal(err)
					}
					m.now = m.now.Add(d)
				case '-':
					m.take(hash)
				case '!':
					if err := m.saveOf(subject, hash, life); err == nil || !errors.Is(err, authorize.ErrFull) && hash != "a" {
						t.Errorf("saving %s: %v, want ErrFull", hash, err)
					}
				default:
					if err := m.saveOf(subject, hash, life); err != nil {
						t.Errorf("saving %s: %v", hash, err)
					}
				}
			}
			got := ""
			for _, hash := range "1234ABCDabcdefg" {
				if code, _ := m.FindCode(t.Context(), string(hash)); code != nil {
					got += string(hash)
				}
			}
			if got != tt.want {
				t.Errorf("the store has the codes %q, want %q", got, tt.want)
			}
		})
	}
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
		t.Run(fmt.Sprint(less), func(t *testing.T) {
			m := newMemoryTest(t, authorize.MemoryConfig{
				MaxCodes: less, MaxConsents: less, MaxCodesPerSubject: less, MaxConsentsPerSubject: less,
				KeepExpired: time.Duration(less) * time.Hour,
			})
			m.mustSave("a", time.Minute)
			m.now = m.now.Add(time.Minute + 10*time.Minute)
			m.mustSave("b", time.Minute)
			m.wantStored("ab")
			m.now = m.now.Add(1)
			m.mustSave("c", time.Minute)
			m.wantStored("bc")
			consent := func(i int) error {
				return m.SaveConsent(t.Context(), &authorize.ConsentRecord{Subject: "alice", ClientID: fmt.Sprint(i)})
			}
			for i := range 1000 {
				if err := errors.Join(m.saveOf("alice", fmt.Sprint("alice", i), time.Minute), consent(i)); err != nil {
					t.Fatalf("%d: %v", i, err)
				}
			}
			if err := m.saveOf("alice", "one more", time.Minute); !errors.Is(err, authorize.ErrFull) {
				t.Errorf("1,001 codes of one user: %v", err)
			}
			if err := consent(1000); !errors.Is(err, authorize.ErrFull) {
				t.Errorf("1,001 consents of one user: %v", err)
			}
		})
	}
}

// TestMemoryRefusesNewConsentsWhenItIsFull has a store with room for four records, two of
// each user.
func TestMemoryRefusesNewConsentsWhenItIsFull(t *testing.T) {
	ctx := t.Context()
	m := authorize.NewMemory(authorize.MemoryConfig{MaxConsents: 4, MaxConsentsPerSubject: 2})
	save := func(subject, client string) error {
		return m.SaveConsent(ctx, &authorize.ConsentRecord{Subject: subject, ClientID: client})
	}
	for _, step := range []struct {
		rule string
		err  error
		want error
	}{
		{"the first", save("alice", "a"), nil},
		{"the last of the user's", save("alice", "b"), nil},
		{"one too many", save("alice", "c"), authorize.ErrFull},
		{"in place of another", save("alice", "a"), nil},
		{"another user's", save("bob", "c"), nil},
		{"a deletion of nothing", m.DeleteConsent(ctx, "alice", "c"), nil},
		{"which makes no room", save("alice", "c"), authorize.ErrFull},
		{"a deletion", m.DeleteConsent(ctx, "alice", "a"), nil},
		{"in the place that is free", save("alice", "c"), nil},
		{"a third user's", save("carol", "c"), nil},
		{"one too many of all", save("carol", "d"), authorize.ErrFull},
		{"of a fourth user", save("dave", "c"), authorize.ErrFull},
		{"in place of another when the store is full", save("bob", "c"), nil},
		{"a deletion of all of a user's", errors.Join(m.DeleteConsent(ctx, "alice", "b"), m.DeleteConsent(ctx, "alice", "c")), nil},
		{"in one of both places", save("dave", "c"), nil},
		{"and in the other", save("dave", "d"), nil},
		{"and no more", save("erin", "d"), authorize.ErrFull},
	} {
		t.Run(step.rule, func(t *testing.T) {
			if !errors.Is(step.err, step.want) {
				t.Errorf("%v, want %v", step.err, step.want)
			}
		})
	}
	for subject, want := range map[string]int{"alice": 0, "bob": 1, "carol": 1, "dave": 2, "erin": 0} {
		if list, err := m.ListConsents(ctx, subject); err != nil || len(list) != want {
			t.Errorf("%s has %d records, %v, want %d", subject, len(list), err, want)
		}
	}
}

func TestMemoryKeepsCopiesOfClients(t *testing.T) {
	// Every list of a client is one that could be shared.
	full := func() authorize.Client {
		c := authorize.Client{ID: "wiki", Name: "The wiki"}
		for i, v := 0, reflect.ValueOf(&c).Elem(); i < v.NumField(); i++ {
			if list, ok := v.Field(i).Addr().Interface().(*[]string); ok {
				*list = []string{"one", "two"}
			}
		}
		c.RedirectURIs = []string{"https://one.example/cb", "https://two.example/cb"}
		c.ResponseTypes = []string{"code", "none"}
		c.ResponseModes = []string{"query", "fragment"}
		return c
	}
	spoil := func(c *authorize.Client) {
		c.Name = "x"
		for i, v := 0, reflect.ValueOf(c).Elem(); i < v.NumField(); i++ {
			if list, ok := v.Field(i).Interface().([]string); ok {
				list[0] = "x"
			}
		}
	}
	check := func(rule string, m *authorize.Memory) {
		t.Helper()
		c, err := m.Client(t.Context(), "wiki")
		if err != nil || c == nil || !reflect.DeepEqual(*c, full()) {
			t.Errorf("%s: %+v, %v; want the client as it was", rule, c, err)
			return
		}
		spoil(c)
	}
	configured, put := full(), full()
	if len(configured.Require) != 2 || len(configured.RedirectURIs) != 2 {
		t.Fatal("the test does not fill the lists")
	}
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
		t.Run(fmt.Sprintf("%q", id), func(t *testing.T) {
			c, err := m.Client(t.Context(), id)
			if err != nil || (c != nil) != want {
				t.Errorf("%v, %v; want one: %t", c, err, want)
			}
		})
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if c, err := m.Client(ended, "b"); c != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("Client with a context that is over: %v, %v", c, err)
	}
}

func TestMemoryKeepsNilApartFromEmpty(t *testing.T) {
	m := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{
		{ID: "nil"}, {ID: "empty", ResponseTypes: []string{}, ResponseModes: []string{}},
	}})
	for id, want := range map[string]bool{"nil": true, "empty": false} {
		t.Run(id, func(t *testing.T) {
			// Nil means the default, an empty list nothing at all.
			c, err := m.Client(t.Context(), id)
			if err != nil || (c.ResponseTypes == nil) != want || (c.ResponseModes == nil) != want {
				t.Errorf("%#v, %#v, %v", c.ResponseTypes, c.ResponseModes, err)
			}
		})
	}
}

func TestMemoryRefusesClients(t *testing.T) {
	sound := authorize.Client{ID: "wiki", RedirectURIs: []string{"https://wiki.example/cb"}}
	for _, c := range []struct {
		rule    string
		clients []authorize.Client
		want    string // beginning of the panic; nothing: they are stored
	}{
		{"sound", []authorize.Client{sound, {ID: "a"}}, "<nil>"},
		{"two with one ID", []authorize.Client{sound, {ID: "a"}, sound}, `authorize: two clients have the ID "wiki"`},
		{"one that CheckClient refuses", []authorize.Client{{ID: "a", RedirectURIs: []string{"javascript:x"}}}, `authorize: the client "a": Client.RedirectURIs[0]: `},
	} {
		t.Run(c.rule, func(t *testing.T) {
			defer func() {
				if text := fmt.Sprint(recover()); !strings.HasPrefix(text, c.want) {
					t.Errorf("the panic says %q, want %q", text, c.want)
				}
			}()
			authorize.NewMemory(authorize.MemoryConfig{Clients: c.clients})
		})
	}
	m := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{sound}})
	unsafe := sound
	unsafe.RedirectURIs = []string{"http://wiki.example/cb"}
	if err := m.PutClient(unsafe); err == nil {
		t.Error("an unsafe client was put")
	}
	if c, err := m.Client(t.Context(), "wiki"); err != nil || !slices.Equal(c.RedirectURIs, sound.RedirectURIs) {
		t.Errorf("after a refusal the client is %v, %v", c, err)
	}
}

// A value of a request is a part of the whole request. What is kept must not keep that.
func TestMemoryKeepsNoRequest(t *testing.T) {
	whole := "alice" + strings.Repeat("x", 60_000)
	part := whole[:5]
	store := authorize.NewMemory(authorize.MemoryConfig{})
	code := &authorize.Code{Parameters: map[string]string{part: part}}
	consent := &authorize.ConsentRecord{}
	for _, record := range []any{code, consent} {
		for i, v := 0, reflect.ValueOf(record).Elem(); i < v.NumField(); i++ {
			switch field := v.Field(i).Addr().Interface().(type) {
			case *string:
				*field = part
			case *[]string:
				*field = []string{part}
			}
		}
	}
	code.ExpiresAt = time.Now().Add(time.Minute)
	if err := errors.Join(store.SaveCode(t.Context(), "hash", code), store.SaveConsent(t.Context(), consent)); err != nil {
		t.Fatal(err)
	}
	found, err := store.FindCode(t.Context(), "hash")
	agreed, consentErr := store.FindConsent(t.Context(), part, part)
	if err := errors.Join(err, consentErr); err != nil {
		t.Fatal(err)
	}
	texts := 0
	check := func(name, text string) {
		texts++
		if text != part || unsafe.StringData(text) == unsafe.StringData(part) {
			t.Errorf("%s is %q and shares memory with the request", name, text)
		}
	}
	for _, record := range []any{found, agreed} {
		for i, v := 0, reflect.ValueOf(record).Elem(); i < v.NumField(); i++ {
			name := fmt.Sprintf("%T.%s", record, v.Type().Field(i).Name)
			switch field := v.Field(i).Interface().(type) {
			case string:
				check(name, field)
			case []string:
				check(name, field[0])
			case map[string]string:
				for key, value := range field {
					check("a name of "+name, key)
					check(name, value)
				}
			}
		}
	}
	if texts < 18 {
		t.Errorf("the test has looked at %d texts only", texts)
	}
}
