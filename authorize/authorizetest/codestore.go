package authorizetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize"
)

// TestCodeStore tests that a store keeps the contract of [authorize.CodeStore], in one
// subtest for each rule. open returns the store for one subtest. It may return the same
// store every time, and the store may have records, because every subtest makes its own
// keys. Codes are dated by the real clock, so a store's own clock must not be far off.
//
// It starts 50 goroutines that race for one code, several times. It cannot test a store
// whose process or network fails.
func TestCodeStore(t *testing.T, open func(t *testing.T) authorize.CodeStore) {
	t.Helper()
	testRules(t, codeRules, open)
}

var codeRules = []rule[authorize.CodeStore]{
	{"a saved code is found with every field", codeRoundTrip},
	{"a minimal code is found unchanged", codeRoundTripOfLittle},
	{"64 KiB of data and of claims are kept", codeRoundTripOfMuch},
	{"subjects and ids may be 64 KiB of any bytes", codeRoundTripOfBytes},
	{"an unknown hash is nil without an error", codeUnknown},
	{"hashes are compared as bytes", codeSimilarHashes},
	{"hostile hashes are unknown", codeHostileHashes},
	{"a hash in use is refused and the code kept", codeDuplicate},
	{"a used hash is refused too", codeDuplicateOfUsed},
	{"only one of concurrent calls saves a hash", codeDuplicateRace},
	{"the first call takes a code and marks it as used", codeTake},
	{"a code is taken once and later calls return the time of use", codeTakeTwice},
	{"only one of concurrent calls takes a code and the others get the record", codeTakeRace},
	{"taking one code leaves the others alone", codeTakeOne},
	{"the times are those of the handler's clock", codeForeignClock},
	{"what was saved is not shared with the caller", codeSavedCopy},
	{"what was returned is not shared with the store", codeReturnedCopy},
	{"a context that has ended is an error and changes nothing", codeContext},
}

func roundTrip(ctx context.Context, s authorize.CodeStore, code *authorize.Code) error {
	hash, at := newKey(), code.IssuedAt.Add(time.Second)
	return first(
		saveCode(ctx, s, hash, code),
		wantCode(ctx, s, hash, code),
		wantTake(ctx, s, hash, at, used(code, at), true),
		wantCode(ctx, s, hash, used(code, at)),
	)
}

func codeRoundTrip(ctx context.Context, s authorize.CodeStore) error {
	return roundTrip(ctx, s, sampleCode())
}

func codeRoundTripOfLittle(ctx context.Context, s authorize.CodeStore) error {
	sample := sampleCode()
	none := &authorize.Code{IssuedAt: sample.IssuedAt, ExpiresAt: sample.ExpiresAt}
	empty := copyCode(none)
	empty.Scopes, empty.Resources, empty.AMR, empty.SessionData = []string{}, []string{}, []string{}, []byte{}
	empty.Parameters = map[string]string{}
	return first(roundTrip(ctx, s, none), roundTrip(ctx, s, empty))
}

func codeRoundTripOfMuch(ctx context.Context, s authorize.CodeStore) error {
	code := sampleCode()
	code.SessionData = manyBytes(64 << 10)
	code.Claims = json.RawMessage(`{"a":"` + strings.Repeat("x", 64<<10-8) + `"}`)
	return roundTrip(ctx, s, code)
}

// codeRoundTripOfBytes fills the fields that a host or a client may choose freely.
func codeRoundTripOfBytes(ctx context.Context, s authorize.CodeStore) error {
	code, much := sampleCode(), string(manyBytes(64<<10))
	code.Subject, code.ClientID, code.SessionID = "s"+much, "c"+much, "i"+much
	code.ACR, code.AMR, code.Nonce = "\x00\xff", []string{"\xff", "\x00", ""}, "\xed\xa0\x80\x00"
	code.Parameters = map[string]string{"a": much, "\xff": "\x00", "\xfe": "\xff", "\x00": "\xed\xa0\x80"}
	return roundTrip(ctx, s, code)
}

func codeUnknown(ctx context.Context, s authorize.CodeStore) error {
	hash, at := newKey(), time.Now().UTC().Truncate(time.Millisecond)
	return first(
		wantCode(ctx, s, hash, nil),
		wantTake(ctx, s, hash, at, nil, false),
		wantCode(ctx, s, hash, nil),
		saveCode(ctx, s, hash, sampleCode()),
	)
}

func codeSimilarHashes(ctx context.Context, s authorize.CodeStore) error {
	hash, code := newKey(), sampleCode()
	if err := saveCode(ctx, s, hash, code); err != nil {
		return err
	}
	for _, similar := range similarKeys(hash) {
		err := first(
			wantCode(ctx, s, similar, nil),
			wantTake(ctx, s, similar, code.IssuedAt, nil, false),
		)
		if err != nil {
			return fmt.Errorf("with %q for %q: %w", similar, hash, err)
		}
	}
	return first(saveCode(ctx, s, similarKeys(hash)[0], code), wantCode(ctx, s, hash, code))
}

func codeHostileHashes(ctx context.Context, s authorize.CodeStore) error {
	hash, code := newKey(), sampleCode()
	if err := saveCode(ctx, s, hash, code); err != nil {
		return err
	}
	for _, hostile := range hostileKeys(hash) {
		err := first(
			wantCode(ctx, s, hostile, nil),
			wantTake(ctx, s, hostile, code.IssuedAt, nil, false),
		)
		if err != nil {
			return fmt.Errorf("with %.80q of %d bytes for %q: %w", hostile, len(hostile), hash, err)
		}
	}
	return wantCode(ctx, s, hash, code)
}

func codeDuplicate(ctx context.Context, s authorize.CodeStore) error {
	hash, code, other := newKey(), sampleCode(), sampleCode()
	other.Subject = "mallory"
	if err := saveCode(ctx, s, hash, code); err != nil {
		return err
	}
	if s.SaveCode(ctx, hash, other) == nil {
		return errors.New("SaveCode accepted a hash that is in use")
	}
	return wantCode(ctx, s, hash, code)
}

func codeDuplicateOfUsed(ctx context.Context, s authorize.CodeStore) error {
	hash, code := newKey(), sampleCode()
	at := code.IssuedAt.Add(time.Second)
	if err := first(saveCode(ctx, s, hash, code), wantTake(ctx, s, hash, at, used(code, at), true)); err != nil {
		return err
	}
	if s.SaveCode(ctx, hash, code) == nil {
		return errors.New("SaveCode accepted the hash of a used code, which can now be used again")
	}
	return wantCode(ctx, s, hash, used(code, at))
}

func codeDuplicateRace(ctx context.Context, s authorize.CodeStore) error {
	for range rounds {
		hash, code := newKey(), sampleCode()
		var won atomic.Int64
		var winner atomic.Value
		err := race(func(i int) error {
			mine := copyCode(code)
			mine.Nonce = fmt.Sprint("saver ", i)
			if s.SaveCode(ctx, hash, mine) == nil {
				won.Add(1)
				winner.Store(mine.Nonce)
			}
			return nil
		})
		if n := won.Load(); n != 1 {
			return fmt.Errorf("%d of %d calls saved a code under one hash, want 1", n, takers)
		}
		code.Nonce = winner.Load().(string)
		if err := first(err, wantCode(ctx, s, hash, code)); err != nil {
			return err
		}
	}
	return nil
}

func codeTake(ctx context.Context, s authorize.CodeStore) error {
	hash, code := newKey(), sampleCode()
	at := code.IssuedAt.Add(time.Second + time.Millisecond)
	return first(
		saveCode(ctx, s, hash, code),
		wantTake(ctx, s, hash, at, used(code, at), true),
		wantCode(ctx, s, hash, used(code, at)),
	)
}

func codeTakeTwice(ctx context.Context, s authorize.CodeStore) error {
	hash, code := newKey(), sampleCode()
	at := code.IssuedAt.Add(time.Second)
	if err := first(saveCode(ctx, s, hash, code), wantTake(ctx, s, hash, at, used(code, at), true)); err != nil {
		return err
	}
	// At a later time, at the same time, and at an earlier one from a replica whose clock is behind.
	for _, again := range []time.Duration{time.Minute, 0, -time.Second} {
		if err := wantTake(ctx, s, hash, at.Add(again), used(code, at), false); err != nil {
			return fmt.Errorf("taken again after %v: %w", again, err)
		}
	}
	return wantCode(ctx, s, hash, used(code, at))
}

func codeTakeRace(ctx context.Context, s authorize.CodeStore) error {
	for range rounds {
		hash, code := newKey(), sampleCode()
		if err := saveCode(ctx, s, hash, code); err != nil {
			return err
		}
		records := make([]*authorize.Code, takers)
		var won, winner atomic.Int64
		err := race(func(i int) error {
			record, taken, err := s.TakeCode(ctx, hash, code.IssuedAt.Add(time.Duration(i+1)*time.Millisecond))
			if taken {
				won.Add(1)
				winner.Store(int64(i))
			}
			records[i] = record
			return err
		})
		if err != nil {
			return fmt.Errorf("TakeCode: %w", err)
		}
		if n := won.Load(); n != 1 {
			return fmt.Errorf("%d of %d concurrent calls took the code, want 1", n, takers)
		}
		want := used(code, code.IssuedAt.Add(time.Duration(winner.Load()+1)*time.Millisecond))
		for i, record := range records {
			if err := compareCodes(record, want); err != nil {
				return fmt.Errorf("concurrent call %d, when %d took the code: %w", i, winner.Load(), err)
			}
		}
		if err := wantCode(ctx, s, hash, want); err != nil {
			return err
		}
	}
	return nil
}

func codeTakeOne(ctx context.Context, s authorize.CodeStore) error {
	one, other, code := newKey(), newKey(), sampleCode()
	at := code.IssuedAt.Add(time.Second)
	return first(
		saveCode(ctx, s, one, code),
		saveCode(ctx, s, other, code),
		wantTake(ctx, s, one, at, used(code, at), true),
		wantCode(ctx, s, other, code),
		wantTake(ctx, s, other, at, used(code, at), true),
	)
}

// codeForeignClock tests a handler whose clock is an hour ahead.
func codeForeignClock(ctx context.Context, s authorize.CodeStore) error {
	code := sampleCode()
	code.IssuedAt, code.ExpiresAt = code.IssuedAt.Add(time.Hour), code.ExpiresAt.Add(time.Hour)
	return roundTrip(ctx, s, code)
}

func codeSavedCopy(ctx context.Context, s authorize.CodeStore) error {
	hash, code := newKey(), sampleCode()
	given := copyCode(code)
	if err := s.SaveCode(ctx, hash, given); err != nil {
		return fmt.Errorf("SaveCode: %w", err)
	}
	if err := compareCodes(given, code); err != nil {
		return fmt.Errorf("SaveCode changed what it was given: %w", err)
	}
	spoil(given)
	return wantCode(ctx, s, hash, code)
}

func codeReturnedCopy(ctx context.Context, s authorize.CodeStore) error {
	hash, code := newKey(), sampleCode()
	at := code.IssuedAt.Add(time.Second)
	if err := saveCode(ctx, s, hash, code); err != nil {
		return err
	}
	found, err := s.FindCode(ctx, hash)
	if err := first(err, compareCodes(found, code)); err != nil {
		return fmt.Errorf("FindCode: %w", err)
	}
	spoil(found)
	if err := wantCode(ctx, s, hash, code); err != nil {
		return fmt.Errorf("after a change to what FindCode returned: %w", err)
	}
	for range 2 { // as the one that takes it and as a later one
		taken, _, err := s.TakeCode(ctx, hash, at)
		if err := first(err, compareCodes(taken, used(code, at))); err != nil {
			return fmt.Errorf("TakeCode: %w", err)
		}
		spoil(taken)
		if err := wantCode(ctx, s, hash, used(code, at)); err != nil {
			return fmt.Errorf("after a change to what TakeCode returned: %w", err)
		}
	}
	return nil
}

func codeContext(ctx context.Context, s authorize.CodeStore) error {
	hash, code := newKey(), sampleCode()
	at := code.IssuedAt.Add(time.Second)
	if err := saveCode(ctx, s, hash, code); err != nil {
		return err
	}
	for want, ended := range endedContexts(ctx) {
		unsaved := newKey()
		_, findErr := s.FindCode(ended, hash)
		_, taken, takeErr := s.TakeCode(ended, hash, at)
		if taken {
			return errors.New("TakeCode with a context that has ended took the code")
		}
		err := first(
			wantErrors(want, map[string]error{
				"SaveCode": s.SaveCode(ended, unsaved, copyCode(code)),
				"FindCode": findErr,
				"TakeCode": takeErr,
			}),
			wantCode(ctx, s, unsaved, nil),
			wantCode(ctx, s, hash, code),
		)
		if err != nil {
			return err
		}
	}
	return wantTake(ctx, s, hash, at, used(code, at), true)
}
