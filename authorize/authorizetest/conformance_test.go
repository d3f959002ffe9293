package authorizetest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/session"
)

// broken is a store that breaks its contract, and a rule that must notice.
type broken[S any] struct {
	fault string
	open  func() S
	rule  string
}

// testBroken checks that the rule fails for the broken store, that a sound store
// passes all rules, and that there is a broken store for every rule: a rule that
// cannot fail checks nothing.
func testBroken[S any](t *testing.T, rules []rule[S], sound func() S, stores []broken[S]) {
	t.Helper()
	byName := map[string]rule[S]{}
	for _, r := range rules {
		if _, ok := byName[r.name]; ok {
			t.Errorf("two rules are named %q", r.name)
		}
		byName[r.name] = r
		if err := r.check(t.Context(), sound()); err != nil {
			t.Errorf("%s: a sound store fails: %v", r.name, err)
		}
	}
	untested := maps.Clone(byName)
	for _, b := range stores {
		t.Run(b.rule+": "+b.fault, func(t *testing.T) {
			r, ok := byName[b.rule]
			if !ok {
				t.Fatalf("there is no rule %q", b.rule)
			}
			delete(untested, b.rule)
			err := r.check(t.Context(), b.open())
			if err == nil {
				t.Fatal("it passes")
			}
			if message := err.Error(); len(message) < 15 || len(message) > 20_000 || aJWT.MatchString(message) {
				t.Errorf("the message is of little use, or tells too much: %s", message)
			}
		})
	}
	if len(untested) > 0 {
		t.Errorf("no broken store for %q", slices.Sorted(maps.Keys(untested)))
	}
}

// codes is a code store of which single methods can be replaced.
type codes struct {
	authorize.CodeStore
	save func(ctx context.Context, hash string, code *authorize.Code) error
	find func(ctx context.Context, hash string) (*authorize.Code, error)
	take func(ctx context.Context, hash string, at time.Time) (*authorize.Code, bool, error)
}

func (c *codes) SaveCode(ctx context.Context, hash string, code *authorize.Code) error {
	if c.save != nil {
		return c.save(ctx, hash, code)
	}
	return c.CodeStore.SaveCode(ctx, hash, code)
}

func (c *codes) FindCode(ctx context.Context, hash string) (*authorize.Code, error) {
	if c.find != nil {
		return c.find(ctx, hash)
	}
	return c.CodeStore.FindCode(ctx, hash)
}

func (c *codes) TakeCode(ctx context.Context, hash string, at time.Time) (*authorize.Code, bool, error) {
	if c.take != nil {
		return c.take(ctx, hash, at)
	}
	return c.CodeStore.TakeCode(ctx, hash, at)
}

func soundCodes() authorize.CodeStore { return authorize.NewMemory(authorize.MemoryConfig{}) }

// codesWith returns a function that opens a store with one fault.
func codesWith(fault func(c *codes, sound authorize.CodeStore)) func() authorize.CodeStore {
	return func() authorize.CodeStore {
		sound := soundCodes()
		c := &codes{CodeStore: sound}
		fault(c, sound)
		return c
	}
}

// savingChanged opens a store that changes what it is given to save.
func savingChanged(change func(code *authorize.Code)) func() authorize.CodeStore {
	return codesWith(func(c *codes, sound authorize.CodeStore) {
		c.save = func(ctx context.Context, hash string, code *authorize.Code) error {
			code = code.Clone()
			change(code)
			return sound.SaveCode(ctx, hash, code)
		}
	})
}

// otherHash opens a store that keeps everything under another hash.
func otherHash(change func(hash string) string) func() authorize.CodeStore {
	return codesWith(func(c *codes, sound authorize.CodeStore) {
		c.save = func(ctx context.Context, hash string, code *authorize.Code) error {
			return sound.SaveCode(ctx, change(hash), code)
		}
		c.find = func(ctx context.Context, hash string) (*authorize.Code, error) {
			return sound.FindCode(ctx, change(hash))
		}
		c.take = func(ctx context.Context, hash string, at time.Time) (*authorize.Code, bool, error) {
			return sound.TakeCode(ctx, change(hash), at)
		}
	})
}

// sharedCodes keeps and returns the very records that it is given.
type sharedCodes struct {
	mu    sync.Mutex
	codes map[string]*authorize.Code
	// copySaved and copyFound make it share on one side only.
	copySaved, copyFound bool
	// overwrite lets a hash be saved again, onlyUsed only that of a used code.
	overwrite, onlyUsed bool
}

func (s *sharedCodes) SaveCode(ctx context.Context, hash string, code *authorize.Code) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.codes[hash]
	if old != nil && (!s.overwrite || s.onlyUsed && old.UsedAt.IsZero()) {
		return errors.New("duplicate")
	}
	if s.copySaved {
		code = code.Clone()
	}
	s.codes[hash] = code
	return ctx.Err()
}

func (s *sharedCodes) FindCode(ctx context.Context, hash string) (*authorize.Code, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	code := s.codes[hash]
	if s.copyFound {
		code = code.Clone()
	}
	return code, ctx.Err()
}

func (s *sharedCodes) TakeCode(ctx context.Context, hash string, at time.Time) (*authorize.Code, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	code := s.codes[hash]
	if code == nil {
		return nil, false, ctx.Err()
	}
	taken := code.UsedAt.IsZero()
	if taken {
		code.UsedAt = at
	}
	return code, taken, ctx.Err()
}

// sharing opens one that copies on one side or neither.
func sharing(copySaved, copyFound bool) func() authorize.CodeStore {
	return func() authorize.CodeStore {
		return &sharedCodes{codes: map[string]*authorize.Code{}, copySaved: copySaved, copyFound: copyFound}
	}
}

// overwriting opens one that copies and lets a hash be saved again.
func overwriting(replaceUsed bool) func() authorize.CodeStore {
	return func() authorize.CodeStore {
		return &sharedCodes{
			codes: map[string]*authorize.Code{}, copySaved: true, copyFound: true, overwrite: true, onlyUsed: replaceUsed,
		}
	}
}

// yieldOften makes it all but certain that other goroutines run in between.
func yieldOften() {
	for range 200 {
		runtime.Gosched()
	}
}

func TestTheCodeRulesFindEveryFault(t *testing.T) {
	const (
		everyField = "a saved code is found with every field"
		takeOnce   = "a code is taken once and later calls return the time of use"
		takeRace   = "only one of concurrent calls takes a code and the others get the record"
		ended      = "a context that has ended is an error and changes nothing"
		anyBytes   = "subjects and ids may be 64 KiB of any bytes"
		hostile    = "hostile hashes are unknown"
	)
	lower, upper := strings.ToLower, strings.ToUpper
	testBroken(t, codeRules, soundCodes, []broken[authorize.CodeStore]{
		{"loses the nonce", savingChanged(func(c *authorize.Code) { c.Nonce = "" }), everyField},
		{"trims", savingChanged(func(c *authorize.Code) { c.ACR = strings.TrimSpace(c.ACR) }), everyField},
		{"joins the scopes with commas", savingChanged(func(c *authorize.Code) { c.Scopes = strings.Split(strings.Join(c.Scopes, ","), ",") }), everyField},
		{"sorts", savingChanged(func(c *authorize.Code) { slices.Sort(c.AMR) }), everyField},
		{"loses the resources", savingChanged(func(c *authorize.Code) { c.Resources = nil }), everyField},
		{"loses a flag", savingChanged(func(c *authorize.Code) { c.RedirectURISent = false }), everyField},
		{"writes the claims anew", savingChanged(func(c *authorize.Code) {
			var claims any
			json.Unmarshal(c.Claims, &claims)
			c.Claims, _ = json.Marshal(claims)
		}), everyField},
		{"loses the parameters", savingChanged(func(c *authorize.Code) { c.Parameters = nil }), everyField},
		{"loses empty parameters", savingChanged(func(c *authorize.Code) {
			maps.DeleteFunc(c.Parameters, func(_, value string) bool { return value == "" })
		}), everyField},
		{"takes parameters for text", savingChanged(func(c *authorize.Code) {
			for name, value := range c.Parameters {
				c.Parameters[name] = strings.ToValidUTF8(value, "?")
			}
		}), anyBytes},
		{"takes names of parameters for text", savingChanged(func(c *authorize.Code) {
			texts := map[string]string{}
			for name, value := range c.Parameters {
				texts[strings.ToValidUTF8(name, "?")] = value
			}
			c.Parameters = texts
		}), anyBytes},
		{"takes data for text", savingChanged(func(c *authorize.Code) { c.SessionData = []byte(strings.ToValidUTF8(string(c.SessionData), "?")) }), everyField},
		{"rounds to seconds", savingChanged(func(c *authorize.Code) { c.ExpiresAt = c.ExpiresAt.Truncate(time.Second) }), everyField},
		{"has local time", savingChanged(func(c *authorize.Code) { c.AuthTime = c.AuthTime.In(time.FixedZone("CET", 3600)) }), everyField},
		{"knows no zero time", savingChanged(func(c *authorize.Code) {
			c.AuthTime = time.Unix(max(c.AuthTime.Unix(), 0), int64(c.AuthTime.Nanosecond())).UTC()
		}), "a minimal code is found unchanged"},
		{"cuts off what is long", savingChanged(func(c *authorize.Code) { c.SessionData = c.SessionData[:min(len(c.SessionData), 65535)] }), "64 KiB of data and of claims are kept"},
		{"cuts off long claims", savingChanged(func(c *authorize.Code) { c.Claims = c.Claims[:min(len(c.Claims), 65535)] }), "64 KiB of data and of claims are kept"},
		{"cuts off long subjects", savingChanged(func(c *authorize.Code) { c.Subject = c.Subject[:min(len(c.Subject), 65535)] }), anyBytes},
		{"takes subjects for text", savingChanged(func(c *authorize.Code) { c.Subject = strings.ToValidUTF8(c.Subject, "?") }), anyBytes},
		{"takes levels for text", savingChanged(func(c *authorize.Code) { c.ACR = strings.ToValidUTF8(c.ACR, "?") }), anyBytes},
		{"finds something for everything", codesWith(func(c *codes, _ authorize.CodeStore) {
			c.find = func(context.Context, string) (*authorize.Code, error) { return &authorize.Code{}, nil }
		}), "an unknown hash is nil without an error"},
		{"has an error for nothing", codesWith(func(c *codes, sound authorize.CodeStore) {
			c.find = func(ctx context.Context, hash string) (*authorize.Code, error) {
				code, err := sound.FindCode(ctx, hash)
				if code == nil {
					err = cmp.Or(err, errors.New("no rows"))
				}
				return code, err
			}
		}), "an unknown hash is nil without an error"},
		{"has an error for taking nothing", codesWith(func(c *codes, sound authorize.CodeStore) {
			c.take = func(ctx context.Context, hash string, at time.Time) (*authorize.Code, bool, error) {
				code, taken, err := sound.TakeCode(ctx, hash, at)
				if code == nil {
					err = cmp.Or(err, errors.New("no rows"))
				}
				return code, taken, err
			}
		}), "an unknown hash is nil without an error"},
		{"remembers what was not there", codesWith(func(c *codes, sound authorize.CodeStore) {
			c.take = func(ctx context.Context, hash string, at time.Time) (*authorize.Code, bool, error) {
				code, taken, err := sound.TakeCode(ctx, hash, at)
				if code == nil {
					sound.SaveCode(ctx, hash, &authorize.Code{UsedAt: at, ExpiresAt: at.Add(time.Hour)})
				}
				return code, taken, err
			}
		}), "an unknown hash is nil without an error"},
		{"ignores upper case", otherHash(lower), "hashes are compared as bytes"},
		{"ignores lower case", otherHash(upper), "hashes are compared as bytes"},
		{"cuts hashes off", otherHash(func(hash string) string { return hash[len(hash)-1:] }), "hashes are compared as bytes"},
		{"ends hashes at NUL", otherHash(func(hash string) string { before, _, _ := strings.Cut(hash, "\x00"); return before }), hostile},
		{"skips what is no UTF-8", otherHash(func(hash string) string { return strings.ToValidUTF8(hash, "") }), hostile},
		{"trims hashes", otherHash(strings.TrimSpace), hostile},
		{"cuts off long hashes", otherHash(func(hash string) string { return hash[:min(len(hash), 43)] }), hostile},
		{"puts hashes into its statements", otherHash(func(hash string) string { before, _, _ := strings.Cut(hash, "'"); return before }), hostile},
		{"has an error for what is no UTF-8", codesWith(func(c *codes, sound authorize.CodeStore) {
			c.find = func(ctx context.Context, hash string) (*authorize.Code, error) {
				if !utf8.ValidString(hash) {
					return nil, errors.New("invalid byte sequence for encoding")
				}
				return sound.FindCode(ctx, hash)
			}
		}), hostile},
		{"has an error for taking under a long hash", codesWith(func(c *codes, sound authorize.CodeStore) {
			c.take = func(ctx context.Context, hash string, at time.Time) (*authorize.Code, bool, error) {
				if len(hash) > 60_000 {
					return nil, false, errors.New("data too long")
				}
				return sound.TakeCode(ctx, hash, at)
			}
		}), hostile},
		{"overwrites", overwriting(false), "a hash in use is refused and the code kept"},
		{"drops duplicates silently", codesWith(func(c *codes, sound authorize.CodeStore) {
			c.save = func(ctx context.Context, hash string, code *authorize.Code) error {
				if old, _ := sound.FindCode(ctx, hash); old != nil {
					return nil
				}
				return sound.SaveCode(ctx, hash, code)
			}
		}), "a hash in use is refused and the code kept"},
		{"makes used codes new", overwriting(true), "a used hash is refused too"},
		{"looks before it saves", func() authorize.CodeStore {
			s := overwriting(false)()
			return &codes{CodeStore: s, save: func(ctx context.Context, hash string, code *authorize.Code) error {
				if old, _ := s.FindCode(ctx, hash); old != nil {
					return errors.New("duplicate")
				}
				yieldOften()
				return s.SaveCode(ctx, hash, code)
			}}
		}, "only one of concurrent calls saves a hash"},
		{"deletes what is taken", codesWith(func(c *codes, sound authorize.CodeStore) {
			var gone sync.Map
			c.find = func(ctx context.Context, hash string) (*authorize.Code, error) {
				if _, ok := gone.Load(hash); ok {
					return nil, nil
				}
				return sound.FindCode(ctx, hash)
			}
			c.take = func(ctx context.Context, hash string, at time.Time) (*authorize.Code, bool, error) {
				gone.Store(hash, true)
				return sound.TakeCode(ctx, hash, at)
			}
		}), "the first call takes a code and marks it as used"},
		{"returns the record as it was before", codesWith(func(c *codes, sound authorize.CodeStore) {
			c.take = func(ctx context.Context, hash string, at time.Time) (*authorize.Code, bool, error) {
				before, _ := sound.FindCode(ctx, hash)
				_, taken, err := sound.TakeCode(ctx, hash, at)
				return before, taken, err
			}
		}), "the first call takes a code and marks it as used"},
		{"lets everyone win", codesWith(func(c *codes, sound authorize.CodeStore) {
			c.take = func(ctx context.Context, hash string, at time.Time) (*authorize.Code, bool, error) {
				code, _, err := sound.TakeCode(ctx, hash, at)
				return code, code != nil, err
			}
		}), takeOnce},
		{"forgets used codes", codesWith(func(c *codes, sound authorize.CodeStore) {
			c.take = func(ctx context.Context, hash string, at time.Time) (*authorize.Code, bool, error) {
				code, taken, err := sound.TakeCode(ctx, hash, at)
				if !taken {
					code = nil
				}
				return code, taken, err
			}
		}), takeOnce},
		{"has an error for a used code", codesWith(func(c *codes, sound authorize.CodeStore) {
			c.take = func(ctx context.Context, hash string, at time.Time) (*authorize.Code, bool, error) {
				code, taken, err := sound.TakeCode(ctx, hash, at)
				if code != nil && !taken {
					err = errors.New("used")
				}
				return code, taken, err
			}
		}), takeOnce},
		{"gives the last use and not the first", codesWith(func(c *codes, sound authorize.CodeStore) {
			c.take = func(ctx context.Context, hash string, at time.Time) (*authorize.Code, bool, error) {
				code, taken, err := sound.TakeCode(ctx, hash, at)
				if code != nil {
					code.UsedAt = at
				}
				return code, taken, err
			}
		}), takeOnce},
		{"looks before it takes", codesWith(func(c *codes, sound authorize.CodeStore) {
			c.take = func(ctx context.Context, hash string, at time.Time) (*authorize.Code, bool, error) {
				before, _ := sound.FindCode(ctx, hash)
				yieldOften()
				code, _, err := sound.TakeCode(ctx, hash, at)
				return code, before != nil && before.UsedAt.IsZero(), err
			}
		}), takeRace},
		{"gives up under contention", codesWith(func(c *codes, sound authorize.CodeStore) {
			var mu sync.Mutex
			c.take = func(ctx context.Context, hash string, at time.Time) (*authorize.Code, bool, error) {
				if !mu.TryLock() {
					return nil, false, errors.New("serialization failure")
				}
				defer mu.Unlock()
				yieldOften()
				return sound.TakeCode(ctx, hash, at)
			}
		}), takeRace},
		{"has one mark for all codes", codesWith(func(c *codes, sound authorize.CodeStore) {
			var once sync.Once
			c.take = func(ctx context.Context, hash string, at time.Time) (*authorize.Code, bool, error) {
				mine := false
				once.Do(func() { mine = true })
				if !mine {
					code, err := sound.FindCode(ctx, hash)
					return code, false, err
				}
				return sound.TakeCode(ctx, hash, at)
			}
		}), "taking one code leaves the others alone"},
		{"marks with its own clock", codesWith(func(c *codes, sound authorize.CodeStore) {
			c.take = func(ctx context.Context, hash string, _ time.Time) (*authorize.Code, bool, error) {
				return sound.TakeCode(ctx, hash, time.Now().UTC().Truncate(time.Millisecond))
			}
		}), "the times are those of the handler's clock"},
		{"changes what it was given", codesWith(func(c *codes, sound authorize.CodeStore) {
			c.save = func(ctx context.Context, hash string, code *authorize.Code) error {
				err := sound.SaveCode(ctx, hash, code)
				code.AuthTime = code.AuthTime.Truncate(time.Second)
				return err
			}
		}), "what was saved is not shared with the caller"},
		{"tells another one that it saved", codesWith(func(c *codes, sound authorize.CodeStore) {
			c.save = func(ctx context.Context, hash string, code *authorize.Code) error {
				mine := code.Clone()
				mine.Nonce += " and somebody else's"
				return sound.SaveCode(ctx, hash, mine)
			}
		}), "only one of concurrent calls saves a hash"},
		{"keeps what it was given", sharing(false, true), "what was saved is not shared with the caller"},
		{"returns what it keeps", sharing(true, false), "what was returned is not shared with the store"},
		{"returns from TakeCode what it keeps", sharing(true, true), "what was returned is not shared with the store"},
		{"saves although its context is over", codesWith(func(c *codes, sound authorize.CodeStore) {
			c.save = func(ctx context.Context, hash string, code *authorize.Code) error {
				return cmp.Or(sound.SaveCode(context.WithoutCancel(ctx), hash, code), ctx.Err())
			}
		}), ended},
		{"finds although its context is over", codesWith(func(c *codes, sound authorize.CodeStore) {
			c.find = func(ctx context.Context, hash string) (*authorize.Code, error) {
				return sound.FindCode(context.WithoutCancel(ctx), hash)
			}
		}), ended},
		{"takes although its context is over", codesWith(func(c *codes, sound authorize.CodeStore) {
			c.take = func(ctx context.Context, hash string, at time.Time) (*authorize.Code, bool, error) {
				return sound.TakeCode(context.WithoutCancel(ctx), hash, at)
			}
		}), ended},
		{"takes and then says that its context is over", codesWith(func(c *codes, sound authorize.CodeStore) {
			c.take = func(ctx context.Context, hash string, at time.Time) (*authorize.Code, bool, error) {
				code, taken, _ := sound.TakeCode(context.WithoutCancel(ctx), hash, at)
				if ctx.Err() != nil {
					return nil, false, ctx.Err()
				}
				return code, taken, nil
			}
		}), ended},
		{"has an error of its own for a context that has ended", codesWith(func(c *codes, sound authorize.CodeStore) {
			c.find = func(ctx context.Context, hash string) (*authorize.Code, error) {
				code, err := sound.FindCode(ctx, hash)
				if err != nil {
					err = errors.New("timeout")
				}
				return code, err
			}
		}), ended},
	})
}

// consents is a consent store with one fault.
type consents struct {
	mu      sync.Mutex
	records map[string]*authorize.ConsentRecord
	fault   string
}

func (s *consents) key(subject, clientID string) string {
	switch s.fault {
	case "one key of two":
		return subject + ":" + clientID
	case "ignores case":
		return strings.ToLower(subject) + "\n" + clientID
	case "trims":
		return subject + "\n" + strings.TrimSpace(clientID)
	case "one record of a user":
		return subject
	case "ends users at NUL":
		subject, _, _ = strings.Cut(subject, "\x00")
	case "ends clients at NUL":
		clientID, _, _ = strings.Cut(clientID, "\x00")
	case "cuts off long users":
		subject = subject[:min(len(subject), 65535)]
	case "cuts off long clients":
		clientID = clientID[:min(len(clientID), 65535)]
	}
	return fmt.Sprintf("%q %q", subject, clientID)
}

// over reports whether the method has to stop for its context.
func (s *consents) over(ctx context.Context, method string) error {
	if s.fault == method+" ignores the context" {
		return nil
	}
	return ctx.Err()
}

func (s *consents) SaveConsent(ctx context.Context, c *authorize.ConsentRecord) error {
	if err := s.over(ctx, "save"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key, kept := s.key(c.Subject, c.ClientID), c.Clone()
	old := s.records[key]
	switch {
	case s.fault == "keeps what it is given":
		kept = c
	case s.fault == "changes what it is given":
		c.GrantedAt = c.GrantedAt.Add(time.Hour)
	case s.fault == "loses resources":
		kept.Resources = nil
	case s.fault == "loses claims of the id token":
		kept.IDTokenClaims = nil
	case s.fault == "loses claims of userinfo":
		kept.UserInfoClaims = nil
	case s.fault == "has one list of claims":
		kept.IDTokenClaims = append(kept.IDTokenClaims, kept.UserInfoClaims...)
		kept.UserInfoClaims = kept.IDTokenClaims
	case s.fault == "keeps fifty claims":
		kept.UserInfoClaims = kept.UserInfoClaims[:min(len(kept.UserInfoClaims), 50)]
	case s.fault == "takes claims for text":
		kept.IDTokenClaims = strings.Split(strings.ToValidUTF8(strings.Join(kept.IDTokenClaims, "\n"), "?"), "\n")
	case s.fault == "takes users for text":
		kept.Subject = strings.ToValidUTF8(kept.Subject, "?")
	case s.fault == "makes nothing one":
		kept.Scopes = strings.Split(strings.Join(kept.Scopes, "\n"), "\n")
	case s.fault == "keeps fifty":
		kept.Scopes = kept.Scopes[:min(len(kept.Scopes), 50)]
	case old != nil && s.fault == "adds":
		kept.Scopes = append(old.Clone().Scopes, kept.Scopes...)
	case old != nil && s.fault == "keeps the latest" && kept.GrantedAt.Before(old.GrantedAt):
		return nil
	case old != nil && s.fault == "adds claims":
		kept.IDTokenClaims = append(old.Clone().IDTokenClaims, kept.IDTokenClaims...)
	case old != nil && s.fault == "mixes":
		kept.Resources = old.Clone().Resources
	}
	s.records[key] = kept
	return nil
}

func (s *consents) FindConsent(ctx context.Context, subject, clientID string) (*authorize.ConsentRecord, error) {
	if err := s.over(ctx, "find"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.records[s.key(subject, clientID)]
	switch {
	case found == nil && s.fault == "finds an error":
		return nil, errors.New("no rows")
	case s.fault == "finds an error for bytes" && !utf8.ValidString(subject+clientID):
		return nil, errors.New("invalid byte sequence")
	case found == nil && s.fault == "finds an empty record":
		return &authorize.ConsentRecord{}, nil
	case s.fault == "returns what it keeps":
		return found, nil
	}
	return found.Clone(), nil
}

func (s *consents) ListConsents(ctx context.Context, subject string) ([]*authorize.ConsentRecord, error) {
	if err := s.over(ctx, "list"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []*authorize.ConsentRecord{}
	for _, c := range s.records {
		if c.Subject == subject || s.fault == "lists everybody's" {
			found = append(found, c.Clone())
		}
	}
	if len(found) == 0 && s.fault == "lists an error" {
		return nil, errors.New("no rows")
	}
	slices.SortFunc(found, func(a, b *authorize.ConsentRecord) int {
		if s.fault == "sorts as people do" {
			return cmp.Compare(strings.ToLower(a.ClientID), strings.ToLower(b.ClientID))
		}
		return cmp.Compare(a.ClientID, b.ClientID)
	})
	if s.fault == "lists what it keeps" {
		for i, c := range found {
			found[i] = s.records[s.key(c.Subject, c.ClientID)]
		}
	}
	return found, nil
}

func (s *consents) DeleteConsent(ctx context.Context, subject, clientID string) error {
	if err := s.over(ctx, "delete"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.records[s.key(subject, clientID)] == nil && s.fault == "deletes an error" {
		return errors.New("no rows")
	}
	for key, c := range s.records {
		all := s.fault == "deletes the user's" && c.Subject == subject || s.fault == "deletes the client's" && c.ClientID == clientID
		if all || s.fault != "deletes nothing" && key == s.key(subject, clientID) {
			delete(s.records, key)
		}
	}
	return nil
}

func TestTheConsentRulesFindEveryFault(t *testing.T) {
	open := func(fault string) func() authorize.ConsentStore {
		return func() authorize.ConsentStore {
			return &consents{records: map[string]*authorize.ConsentRecord{}, fault: fault}
		}
	}
	var stores []broken[authorize.ConsentStore]
	for _, c := range []struct{ fault, rule string }{
		{"loses resources", "a saved record is found with every field"},
		{"loses claims of the id token", "a saved record is found with every field"},
		{"loses claims of userinfo", "a saved record is found with every field"},
		{"has one list of claims", "a saved record is found with every field"},
		{"keeps fifty claims", "a hundred scopes, resources and claims are kept in order"},
		{"takes claims for text", "users and clients may be 64 KiB of any bytes"},
		{"adds claims", "saving again replaces the record"},
		{"makes nothing one", "a minimal record is found unchanged"},
		{"keeps fifty", "a hundred scopes, resources and claims are kept in order"},
		{"finds an empty record", "an unknown record is nil, an empty list and no error to delete"},
		{"finds an error", "an unknown record is nil, an empty list and no error to delete"},
		{"lists an error", "an unknown record is nil, an empty list and no error to delete"},
		{"deletes an error", "an unknown record is nil, an empty list and no error to delete"},
		{"adds", "saving again replaces the record"},
		{"keeps the latest", "saving again replaces the record"},
		{"mixes", "concurrent calls never mix their records"},
		{"one key of two", "users and clients are compared as bytes"},
		{"ignores case", "users and clients are compared as bytes"},
		{"trims", "users and clients are compared as bytes"},
		{"one record of a user", "users and clients are compared as bytes"},
		{"ends users at NUL", "hostile users and clients are unknown"},
		{"ends clients at NUL", "hostile users and clients are unknown"},
		{"finds an error for bytes", "hostile users and clients are unknown"},
		{"cuts off long users", "users and clients may be 64 KiB of any bytes"},
		{"cuts off long clients", "users and clients may be 64 KiB of any bytes"},
		{"takes users for text", "users and clients may be 64 KiB of any bytes"},
		{"sorts as people do", "a list has all of the user's records, ordered by the bytes of the client id"},
		{"lists everybody's", "a list has all of the user's records, ordered by the bytes of the client id"},
		{"deletes nothing", "deleting a record leaves the others alone"},
		{"deletes the user's", "deleting a record leaves the others alone"},
		{"deletes the client's", "deleting a record leaves the others alone"},
		{"keeps what it is given", "what was saved is not shared with the caller"},
		{"changes what it is given", "what was saved is not shared with the caller"},
		{"returns what it keeps", "what was returned is not shared with the store"},
		{"lists what it keeps", "what was returned is not shared with the store"},
		{"save ignores the context", "a context that has ended is an error and changes nothing"},
		{"find ignores the context", "a context that has ended is an error and changes nothing"},
		{"list ignores the context", "a context that has ended is an error and changes nothing"},
		{"delete ignores the context", "a context that has ended is an error and changes nothing"},
	} {
		stores = append(stores, broken[authorize.ConsentStore]{c.fault, open(c.fault), c.rule})
	}
	testBroken(t, consentRules, open(""), stores)
}

// sessions is a session store with one fault.
type sessions struct {
	mu      sync.Mutex
	records map[string]*session.Record
	drop    map[string]time.Time // when the record was to expire as it was saved
	fault   string
}

func (s *sessions) key(key string) string {
	switch s.fault {
	case "ignores case":
		return strings.ToLower(key)
	case "ends keys at NUL":
		key, _, _ = strings.Cut(key, "\x00")
	case "cuts off long keys":
		return key[:min(len(key), 43)]
	}
	return key
}

func (s *sessions) over(ctx context.Context, method string) error {
	if s.fault == method+" ignores the context" {
		return nil
	}
	return ctx.Err()
}

func (s *sessions) SaveSession(ctx context.Context, key string, rec *session.Record) error {
	if err := s.over(ctx, "save"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.records[s.key(key)] != nil
	if s.fault == "looks before it saves" {
		s.mu.Unlock()
		yieldOften()
		s.mu.Lock()
	}
	if taken && s.fault != "overwrites" {
		return errors.New("duplicate")
	}
	kept := copySession(rec)
	switch s.fault {
	case "keeps what it is given":
		kept = rec
	case "changes what it is given":
		rec.ID = ""
	case "loses the second factor":
		kept.SecondFactorPending = false
	case "loses when this browser signed in":
		kept.SignedInAt = time.Time{}
	case "has one time of a sign-in":
		kept.SignedInAt = kept.AuthTime
	case "forgets that it outlives the browser":
		kept.Persistent = false
	case "lets all outlive the browser":
		kept.Persistent = true
	case "tells another one that it saved":
		kept.Subject += " and somebody else"
	case "loses the id":
		kept.ID = ""
	case "forgets the end":
		kept.EndsAt = kept.ExpiresAt
	case "rounds to milliseconds":
		kept.ExpiresAt = kept.ExpiresAt.Truncate(time.Millisecond)
	case "knows no zero time":
		kept.AuthTime = time.Unix(max(kept.AuthTime.Unix(), 0), int64(kept.AuthTime.Nanosecond()))
	case "cuts off what is long":
		kept.Data = kept.Data[:min(len(kept.Data), 65535)]
	case "takes subjects for text":
		kept.Subject = strings.ToValidUTF8(kept.Subject, "?")
	}
	s.records[s.key(key)] = kept
	s.drop[s.key(key)] = kept.ExpiresAt
	s.makeRoom(s.key(key), kept)
	return nil
}

// makeRoom deletes one session if there are more than 30 beside the newest. The lock is
// held.
func (s *sessions) makeRoom(newest string, rec *session.Record) {
	var beside []string
	for key, r := range s.records {
		same := r.Subject == rec.Subject
		switch s.fault {
		case "has one share for both kinds", "lets pending ones go first", "lets finished ones go first", "ends the newest":
		case "bounds all users together":
			same = r.SecondFactorPending == rec.SecondFactorPending
		default:
			return
		}
		if same && key != newest {
			beside = append(beside, key)
		}
	}
	if len(beside) <= 30 {
		return
	}
	slices.SortFunc(beside, func(a, b string) int {
		x, y := s.records[a], s.records[b]
		if x.SecondFactorPending != y.SecondFactorPending {
			switch s.fault {
			case "lets pending ones go first":
				return map[bool]int{true: -1, false: 1}[x.SecondFactorPending]
			case "lets finished ones go first":
				return map[bool]int{true: 1, false: -1}[x.SecondFactorPending]
			}
		}
		return x.ExpiresAt.Compare(y.ExpiresAt)
	})
	if s.fault == "ends the newest" {
		beside[0] = newest
	}
	delete(s.records, beside[0])
}

func (s *sessions) FindSession(ctx context.Context, key string) (*session.Record, error) {
	if err := s.over(ctx, "find"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.records[s.key(key)]
	if s.fault == "sets its timer once" && time.Now().After(s.drop[s.key(key)]) {
		found = nil
	}
	switch {
	case found == nil && s.fault == "finds an error":
		return nil, errors.New("no rows")
	case found == nil:
		return nil, nil
	case s.fault == "returns what it keeps":
		return found, nil
	}
	return copySession(found), nil
}

func (s *sessions) TouchSession(ctx context.Context, key string, seen, expires time.Time) error {
	if err := s.over(ctx, "touch"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rec := s.records[s.key(key)]
	switch {
	case rec == nil && s.fault == "touches an error":
		return errors.New("no rows")
	case rec == nil && s.fault == "brings back":
		s.records[s.key(key)] = &session.Record{LastSeenAt: seen, ExpiresAt: expires}
	case rec == nil || s.fault == "touches nothing":
	case s.fault == "touches too late":
		delete(s.records, s.key(key))
	default:
		s.move(rec, seen, expires)
	}
	return nil
}

// move moves the times of a record. The lock is held.
func (s *sessions) move(rec *session.Record, seen, expires time.Time) {
	used, longer := seen.After(rec.LastSeenAt), expires.After(rec.ExpiresAt)
	switch s.fault {
	case "looks before it touches":
		s.mu.Unlock()
		yieldOften()
		s.mu.Lock()
	case "moves the last use back":
		used = true
	case "moves the expiry back":
		longer = true
	case "moves both or none":
		used, longer = used && longer, used && longer
	case "moves both by the last use":
		longer = used
	case "moves both by the expiry":
		used = longer
	case "moves the last use alone":
		longer = false
	case "moves the expiry alone":
		used = false
	case "puts off the end":
		rec.EndsAt = rec.EndsAt.Add(expires.Sub(rec.ExpiresAt))
	}
	if used {
		rec.LastSeenAt = seen
	}
	if longer {
		rec.ExpiresAt = expires
	}
}

func (s *sessions) DeleteSession(ctx context.Context, key string) error {
	if err := s.over(ctx, "delete"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rec := s.records[s.key(key)]
	switch {
	case rec == nil && s.fault == "deletes an error":
		return errors.New("no rows")
	case rec == nil || s.fault == "deletes nothing":
	case s.fault == "deletes all of the user's":
		maps.DeleteFunc(s.records, func(_ string, r *session.Record) bool { return r.Subject == rec.Subject })
	default:
		delete(s.records, s.key(key))
	}
	return nil
}

func (s *sessions) DeleteSessionsOf(ctx context.Context, subject string) error {
	if err := s.over(ctx, "deleteOf"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault == "cuts off long subjects" {
		subject = subject[:min(len(subject), 65535)]
	}
	left := 20
	maps.DeleteFunc(s.records, func(_ string, r *session.Record) bool {
		switch {
		case s.fault == "ignores the case of subjects":
			return strings.EqualFold(r.Subject, subject)
		case s.fault == "cuts off long subjects":
			return strings.HasPrefix(r.Subject, subject)
		case s.fault == "ends subjects at NUL":
			subject, _, _ := strings.Cut(subject, "\x00")
			return r.Subject == subject
		case s.fault == "takes subjects for patterns":
			return strings.HasPrefix(r.Subject, strings.TrimSuffix(subject, "%"))
		case s.fault == "deletes the pending ones":
			return r.Subject == subject && r.SecondFactorPending
		case s.fault == "deletes twenty" && r.Subject == subject:
			left--
			return left >= 0
		}
		return r.Subject == subject
	})
	return nil
}

func TestTheSessionRulesFindEveryFault(t *testing.T) {
	open := func(fault string) func() session.Store {
		return func() session.Store {
			return &sessions{records: map[string]*session.Record{}, drop: map[string]time.Time{}, fault: fault}
		}
	}
	var stores []broken[session.Store]
	for _, c := range []struct{ fault, rule string }{
		{"loses the second factor", "a saved record is found with every field"},
		{"loses when this browser signed in", "a saved record is found with every field"},
		{"has one time of a sign-in", "a saved record is found with every field"},
		{"forgets that it outlives the browser", "a saved record is found with every field"},
		{"lets all outlive the browser", "a saved record is found with every field"},
		{"loses the id", "a saved record is found with every field"},
		{"forgets the end", "a saved record is found with every field"},
		{"rounds to milliseconds", "a saved record is found with every field"},
		{"knows no zero time", "a minimal record is found unchanged"},
		{"cuts off what is long", "64 KiB of data are kept"},
		{"finds an error", "an unknown key is nil without an error"},
		{"touches an error", "an unknown key is nil without an error"},
		{"deletes an error", "an unknown key is nil without an error"},
		{"ignores case", "keys are compared as bytes"},
		{"ends keys at NUL", "hostile keys and subjects are unknown"},
		{"cuts off long keys", "hostile keys and subjects are unknown"},
		{"ends subjects at NUL", "hostile keys and subjects are unknown"},
		{"cuts off long subjects", "a subject may be 64 KiB of any bytes"},
		{"overwrites", "a key in use is refused and the record kept"},
		{"tells another one that it saved", "only one of concurrent calls saves under a key"},
		{"looks before it saves", "only one of concurrent calls saves under a key"},
		{"touches nothing", "touching changes only the last use and the expiry"},
		{"moves the last use alone", "touching changes only the last use and the expiry"},
		{"moves the expiry alone", "touching changes only the last use and the expiry"},
		{"puts off the end", "touching changes only the last use and the expiry"},
		{"moves the last use back", "touching moves each of the two times by itself and never back"},
		{"moves the expiry back", "touching moves each of the two times by itself and never back"},
		{"moves both or none", "touching moves each of the two times by itself and never back"},
		{"moves both by the last use", "touching moves each of the two times by itself and never back"},
		{"moves both by the expiry", "touching moves each of the two times by itself and never back"},
		{"looks before it touches", "the latest times of concurrent touches count"},
		{"moves both by the last use", "the latest times of concurrent touches count"},
		{"sets its timer once", "a touched record outlives its first expiry"},
		{"touches too late", "a touched record outlives its first expiry"},
		{"brings back", "touching does not bring back a deleted record"},
		{"deletes nothing", "deleting removes one record and its key can be used again"},
		{"deletes all of the user's", "deleting removes one record and its key can be used again"},
		{"deletes twenty", "deleting a subject's sessions removes all of them and no other"},
		{"deletes the pending ones", "deleting a subject's sessions removes all of them and no other"},
		{"has one share for both kinds", "sign-ins end only sessions of the same subject and kind"},
		{"lets pending ones go first", "sign-ins end only sessions of the same subject and kind"},
		{"lets finished ones go first", "sign-ins end only sessions of the same subject and kind"},
		{"bounds all users together", "sign-ins end only sessions of the same subject and kind"},
		{"ends the newest", "sign-ins end only sessions of the same subject and kind"},
		{"takes subjects for text", "subjects may be any bytes and are compared as bytes"},
		{"ignores the case of subjects", "subjects may be any bytes and are compared as bytes"},
		{"takes subjects for patterns", "subjects may be any bytes and are compared as bytes"},
		{"keeps what it is given", "what was saved is not shared with the caller"},
		{"changes what it is given", "what was saved is not shared with the caller"},
		{"returns what it keeps", "what was returned is not shared with the store"},
		{"returns what it keeps", "what was returned is not shared with the store"},
		{"save ignores the context", "a context that has ended is an error and changes nothing"},
		{"find ignores the context", "a context that has ended is an error and changes nothing"},
		{"touch ignores the context", "a context that has ended is an error and changes nothing"},
		{"delete ignores the context", "a context that has ended is an error and changes nothing"},
		{"deleteOf ignores the context", "a context that has ended is an error and changes nothing"},
	} {
		stores = append(stores, broken[session.Store]{c.fault, open(c.fault), c.rule})
	}
	testBroken(t, sessionRules, open(""), stores)
}

// The exported functions, on stores that are sound. That each rule can fail is
// tested above.
func TestSoundStoresPass(t *testing.T) {
	memory := authorize.NewMemory(authorize.MemoryConfig{}) // one for all subtests
	sessions := session.NewMemory(session.MemoryConfig{MaxPerSubject: 25})
	opened := map[string]int{}
	TestCodeStore(t, func(*testing.T) authorize.CodeStore { opened["codes"]++; return memory })
	TestClientStore(t, func(t *testing.T, clients ...authorize.Client) authorize.ClientStore {
		opened["clients"]++
		for _, c := range clients {
			if err := memory.PutClient(c); err != nil {
				t.Fatal(err)
			}
		}
		return memory
	})
	TestConsentStore(t, func(*testing.T) authorize.ConsentStore { opened["consents"]++; return memory })
	TestSessionStore(t, func(*testing.T) session.Store { opened["sessions"]++; return sessions })
	for store, want := range map[string]int{
		"codes": len(codeRules), "consents": len(consentRules), "sessions": len(sessionRules),
	} {
		if opened[store] != want {
			t.Errorf("%d stores for %s were opened, want %d, one for each rule", opened[store], store, want)
		}
	}
	if opened["clients"] < len(clientRules) {
		t.Errorf("%d stores for clients were opened, want %d at least", opened["clients"], len(clientRules))
	}
}

// A field that is added to a record has to be compared and to be in the samples.
func TestEveryFieldIsCompared(t *testing.T) {
	sample := sampleCode()
	sample.UsedAt = sample.IssuedAt
	eachFieldLost(t, sample, func() *authorize.Code { return copyCode(sample) }, compareCodes)
	consent := sampleConsent()
	eachFieldLost(t, consent, func() *authorize.ConsentRecord { return copyConsent(consent) }, compareConsents)
	rec := sampleSession()
	client := sampleClient()
	eachFieldLost(t, client, func() *authorize.Client { return copyClient(client) }, compareClients)
	eachFieldLost(t, rec, func() *session.Record { return copySession(rec) }, compareSessions)
}

// eachFieldLost sets one field after the other to its zero value, and a flag to what it is
// not in the sample.
func eachFieldLost[R any](t *testing.T, sample *R, clone func() *R, compare func(got, want *R) error) {
	t.Helper()
	if err := compare(clone(), sample); err != nil {
		t.Errorf("a copy is not the same: %v", err)
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[R]()) {
		if field.Anonymous {
			continue
		}
		lossy := clone()
		lost := reflect.ValueOf(lossy).Elem().FieldByIndex(field.Index)
		switch {
		case lost.Kind() == reflect.Bool:
			lost.SetBool(!lost.Bool())
		case lost.IsZero():
			t.Errorf("%T: the sample has no %s", lossy, field.Name)
		default:
			lost.SetZero()
		}
		if err := compare(lossy, sample); err == nil || !strings.HasPrefix(err.Error(), field.Name+" is ") {
			t.Errorf("%T without %s: %v", lossy, field.Name, err)
		}
	}
}
