package authorizetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usher-auth/usher/session"
)

// TestSessionStore tests that a store keeps the contract of [session.Store], in one subtest
// for each rule. open returns the store for one subtest. It may return the same store every
// time, and the store may have records, because every subtest makes its own keys and users.
// Sessions are dated by the real clock, so a store's own clock must not be far off. A store
// that limits the sessions of one subject must allow 25 of each kind. The suite tests limits
// of up to 1,000.
func TestSessionStore(t *testing.T, open func(t *testing.T) session.Store) {
	t.Helper()
	testRules(t, sessionRules, open)
}

var sessionRules = []rule[session.Store]{
	{"a saved record is found with every field", sessionRoundTrip},
	{"a minimal record is found unchanged", sessionRoundTripOfLittle},
	{"64 KiB of data are kept", sessionRoundTripOfMuch},
	{"an unknown key is nil without an error", sessionUnknown},
	{"keys are compared as bytes", sessionSimilarKeys},
	{"hostile keys and subjects are unknown", sessionHostile},
	{"a key in use is refused and the record kept", sessionDuplicate},
	{"only one of concurrent calls saves under a key", sessionDuplicateRace},
	{"touching changes only the last use and the expiry", sessionTouch},
	{"touching moves each of the two times by itself and never back", sessionTouchBack},
	{"the latest times of concurrent touches count", sessionTouchRace},
	{"a touched record outlives its first expiry", sessionTouchOutlives},
	{"touching does not bring back a deleted record", sessionTouchDeleted},
	{"deleting removes one record and its key can be used again", sessionDelete},
	{"deleting a subject's sessions removes all of them and no other", sessionDeleteOf},
	{"sign-ins end only sessions of the same subject and kind", sessionShares},
	{"subjects may be any bytes and are compared as bytes", sessionSubjects},
	{"a subject may be 64 KiB of any bytes", sessionLongSubjects},
	{"what was saved is not shared with the caller", sessionSavedCopy},
	{"what was returned is not shared with the store", sessionReturnedCopy},
	{"a context that has ended is an error and changes nothing", sessionContext},
}

func sessionRoundTrip(ctx context.Context, s session.Store) error {
	one, two, three := sampleSession(), sampleSession(), sampleSession()
	two.SecondFactorPending = false
	three.Persistent = false
	return first(saveSessions(ctx, s, one, two, three), wantSessions(ctx, s, one, two, three, one))
}

func sessionRoundTripOfLittle(ctx context.Context, s session.Store) error {
	sample := sampleSession()
	none := copySession(sample)
	none.Session = session.Session{ID: sample.ID, Subject: sample.Subject}
	empty := copySession(none)
	empty.ID, empty.AMR, empty.Data = newKey(), []string{}, []byte{}
	return first(saveSessions(ctx, s, none, empty), wantSessions(ctx, s, none, empty))
}

func sessionRoundTripOfMuch(ctx context.Context, s session.Store) error {
	rec := sampleSession()
	rec.Data = manyBytes(64 << 10)
	return first(saveSessions(ctx, s, rec), wantSessions(ctx, s, rec))
}

func sessionUnknown(ctx context.Context, s session.Store) error {
	rec := sampleSession()
	return first(
		wantNoSession(ctx, s, rec.ID),
		named("TouchSession", touchSession(ctx, s, rec, 0, 0)),
		named("DeleteSession", s.DeleteSession(ctx, rec.ID)),
		named("DeleteSessionsOf", s.DeleteSessionsOf(ctx, rec.Subject)),
		wantNoSession(ctx, s, rec.ID),
		saveSessions(ctx, s, rec),
	)
}

func sessionSimilarKeys(ctx context.Context, s session.Store) error {
	rec, other := sampleSession(), sampleSession()
	other.ID = similarKeys(rec.ID)[0]
	if err := saveSessions(ctx, s, rec); err != nil {
		return err
	}
	for _, key := range similarKeys(rec.ID) {
		err := first(
			wantNoSession(ctx, s, key),
			named("TouchSession", s.TouchSession(ctx, key, rec.LastSeenAt.Add(time.Minute),
				rec.ExpiresAt.Add(time.Minute))),
			named("DeleteSession", s.DeleteSession(ctx, key)),
			wantSessions(ctx, s, rec),
		)
		if err != nil {
			return fmt.Errorf("with %q for %q: %w", key, rec.ID, err)
		}
	}
	return first(saveSessions(ctx, s, other), wantSessions(ctx, s, rec, other))
}

func sessionHostile(ctx context.Context, s session.Store) error {
	rec := sampleSession()
	rec.Subject = newKey()
	if err := saveSessions(ctx, s, rec); err != nil {
		return err
	}
	for _, key := range hostileKeys(rec.ID) {
		err := first(
			wantNoSession(ctx, s, key),
			named("TouchSession", s.TouchSession(ctx, key, rec.LastSeenAt.Add(time.Minute),
				rec.ExpiresAt.Add(time.Minute))),
			named("DeleteSession", s.DeleteSession(ctx, key)),
			wantNoSession(ctx, s, key),
		)
		if err != nil {
			return fmt.Errorf("with %.80q of %d bytes for %q: %w", key, len(key), rec.ID, err)
		}
	}
	for _, subject := range hostileKeys(rec.Subject) {
		if err := s.DeleteSessionsOf(ctx, subject); err != nil {
			return fmt.Errorf("DeleteSessionsOf(%.80q, of %d bytes): %w", subject, len(subject), err)
		}
	}
	return wantSessions(ctx, s, rec)
}

func sessionDuplicate(ctx context.Context, s session.Store) error {
	rec, other := sampleSession(), sampleSession()
	other.ID = rec.ID
	if err := saveSessions(ctx, s, rec); err != nil {
		return err
	}
	if s.SaveSession(ctx, rec.ID, copySession(other)) == nil {
		return errors.New("SaveSession accepted a key that is in use")
	}
	return wantSessions(ctx, s, rec)
}

func sessionDuplicateRace(ctx context.Context, s session.Store) error {
	for range rounds {
		rec := sampleSession()
		subject := rec.Subject
		var won, winner atomic.Int64
		err := race(func(i int) error {
			mine := copySession(rec)
			mine.Subject = fmt.Sprint(subject, i)
			if s.SaveSession(ctx, mine.ID, mine) == nil {
				won.Add(1)
				winner.Store(int64(i))
			}
			return nil
		})
		if n := won.Load(); n != 1 {
			return fmt.Errorf("%d of %d calls saved a session under one key, want 1", n, takers)
		}
		rec.Subject = fmt.Sprint(subject, winner.Load())
		if err := first(err, wantSessions(ctx, s, rec)); err != nil {
			return err
		}
	}
	return nil
}

func sessionDelete(ctx context.Context, s session.Store) error {
	rec, other := sampleSession(), sampleSession()
	other.Subject = rec.Subject
	return first(
		saveSessions(ctx, s, rec, other),
		named("DeleteSession", s.DeleteSession(ctx, rec.ID)),
		wantNoSession(ctx, s, rec.ID),
		wantSessions(ctx, s, other),
		named("DeleteSession", s.DeleteSession(ctx, rec.ID)),
		saveSessions(ctx, s, rec),
		wantSessions(ctx, s, rec, other),
	)
}

func sessionDeleteOf(ctx context.Context, s session.Store) error {
	other, deleted := sampleSession(), sampleSession()
	var all []*session.Record
	for range 25 {
		rec := sampleSession()
		rec.Subject = deleted.Subject
		rec.SecondFactorPending = len(all)%2 == 0
		all = append(all, rec)
	}
	err := first(
		saveSessions(ctx, s, all...),
		saveSessions(ctx, s, other),
		named("DeleteSession", s.DeleteSession(ctx, all[3].ID)),
		named("DeleteSessionsOf", s.DeleteSessionsOf(ctx, deleted.Subject)),
		wantSessions(ctx, s, other),
	)
	for _, rec := range all {
		err = first(err, wantNoSession(ctx, s, rec.ID))
	}
	// A session that is saved afterwards stays, also under an old key.
	return first(err,
		saveSessions(ctx, s, deleted, all[0]),
		wantSessions(ctx, s, deleted, all[0]),
		named("DeleteSessionsOf", s.DeleteSessionsOf(ctx, deleted.Subject)),
		wantNoSession(ctx, s, all[0].ID),
	)
}

// sessionShares saves sessions of one kind until the store ends the first of them, and then
// some more. The session of the other kind and that of another subject expire before all of
// these, but must stay.
func sessionShares(ctx context.Context, s session.Store) error {
	for _, pending := range []bool{true, false} {
		sample := sampleSession()
		of := func(subject string, pending bool, ends time.Duration) *session.Record {
			rec := sampleSession()
			rec.Subject, rec.SecondFactorPending = subject, pending
			rec.ExpiresAt, rec.EndsAt = sample.ExpiresAt.Add(ends), sample.ExpiresAt.Add(ends)
			return rec
		}
		kept, others := of(sample.Subject, !pending, 0), of(newKey(), pending, 0)
		oldest := of(sample.Subject, pending, time.Second)
		if err := saveSessions(ctx, s, kept, others, oldest); err != nil {
			return err
		}
		more := 1 // rounds after the store has ended the first
		for n := 1; n <= maxShare/takers+1 && more >= 0; n++ {
			err := race(func(i int) error {
				later := time.Minute + time.Duration(n*takers+i)*time.Millisecond
				return saveSessions(ctx, s, of(sample.Subject, pending, later))
			})
			if err != nil {
				return err
			}
			found, err := s.FindSession(ctx, oldest.ID)
			if err != nil {
				return fmt.Errorf("FindSession: %w", err)
			}
			if found == nil {
				more--
			}
		}
		newest := of(sample.Subject, pending, time.Hour)
		if err := first(saveSessions(ctx, s, newest), wantSessions(ctx, s, newest)); err != nil {
			return fmt.Errorf("the newest of many sign-ins of one subject: %w", err)
		}
		if err := wantSessions(ctx, s, kept); err != nil {
			return fmt.Errorf("after many sign-ins with SecondFactorPending %t, one of the other kind: %w",
				pending, err)
		}
		if err := wantSessions(ctx, s, others); err != nil {
			return fmt.Errorf("after many sign-ins of one subject, that of another: %w", err)
		}
	}
	return nil
}

// maxShare is the largest limit that sessionShares tests.
const maxShare = 1000

func sessionSubjects(ctx context.Context, s session.Store) error {
	user := newKey()
	var all []*session.Record
	for _, name := range []string{
		"alice", "Alice", "alice ", "alic_", "%", "\u00e9", "e\u0301", "e", "ss", "ß", "",
		"a:b", "a\x00b", "a\xffb", strings.Repeat("x", 200),
	} {
		rec := sampleSession()
		rec.Subject = user + name
		all = append(all, rec)
	}
	if err := first(saveSessions(ctx, s, all...), wantSessions(ctx, s, all...)); err != nil {
		return err
	}
	for i, rec := range all {
		err := first(
			named("DeleteSessionsOf", s.DeleteSessionsOf(ctx, rec.Subject)),
			wantNoSession(ctx, s, rec.ID),
			wantSessions(ctx, s, all[i+1:]...),
		)
		if err != nil {
			return fmt.Errorf("deleting the sessions of %q: %w", rec.Subject, err)
		}
	}
	return nil
}

// sessionLongSubjects tests subjects that only differ in their last byte.
func sessionLongSubjects(ctx context.Context, s session.Store) error {
	one, two, three := sampleSession(), sampleSession(), sampleSession()
	one.Subject = newKey() + string(manyBytes(64<<10))
	two.Subject, three.Subject = one.Subject+"\x00", one.Subject+"\xff"
	return first(
		saveSessions(ctx, s, one, two, three),
		wantSessions(ctx, s, one, two, three),
		named("DeleteSessionsOf", s.DeleteSessionsOf(ctx, two.Subject)),
		wantNoSession(ctx, s, two.ID),
		wantSessions(ctx, s, one, three),
	)
}

func sessionSavedCopy(ctx context.Context, s session.Store) error {
	rec := sampleSession()
	given := copySession(rec)
	if err := s.SaveSession(ctx, rec.ID, given); err != nil {
		return fmt.Errorf("SaveSession: %w", err)
	}
	if err := compareSessions(given, rec); err != nil {
		return fmt.Errorf("SaveSession changed what it was given: %w", err)
	}
	spoilSession(given)
	return wantSessions(ctx, s, rec)
}

func sessionReturnedCopy(ctx context.Context, s session.Store) error {
	rec := sampleSession()
	if err := saveSessions(ctx, s, rec); err != nil {
		return err
	}
	found, err := s.FindSession(ctx, rec.ID)
	if err := first(err, compareSessions(found, rec)); err != nil {
		return fmt.Errorf("FindSession: %w", err)
	}
	spoilSession(found)
	return wantSessions(ctx, s, rec)
}

func sessionContext(ctx context.Context, s session.Store) error {
	rec := sampleSession()
	if err := saveSessions(ctx, s, rec); err != nil {
		return err
	}
	for want, ended := range endedContexts(ctx) {
		fresh := sampleSession()
		_, findErr := s.FindSession(ended, rec.ID)
		err := first(
			wantErrors(want, map[string]error{
				"SaveSession":      s.SaveSession(ended, fresh.ID, copySession(fresh)),
				"FindSession":      findErr,
				"TouchSession":     touchSession(ended, s, rec, time.Minute, time.Minute),
				"DeleteSession":    s.DeleteSession(ended, rec.ID),
				"DeleteSessionsOf": s.DeleteSessionsOf(ended, rec.Subject),
			}),
			wantNoSession(ctx, s, fresh.ID),
			wantSessions(ctx, s, rec),
		)
		if err != nil {
			return err
		}
	}
	return nil
}
