package authorizetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/usher-auth/usher/session"
)

// touchSession touches a record with both of its times moved by these durations.
func touchSession(ctx context.Context, s session.Store, rec *session.Record, seen, expires time.Duration) error {
	return s.TouchSession(ctx, rec.ID, rec.LastSeenAt.Add(seen), rec.ExpiresAt.Add(expires))
}

// touchedSession returns a copy of a record with both times moved.
func touchedSession(rec *session.Record, seen, expires time.Duration) *session.Record {
	c := copySession(rec)
	c.LastSeenAt, c.ExpiresAt = rec.LastSeenAt.Add(seen), rec.ExpiresAt.Add(expires)
	return c
}

func sessionTouch(ctx context.Context, s session.Store) error {
	const us = time.Microsecond
	rec, other := sampleSession(), sampleSession()
	other.Subject = rec.Subject
	return first(
		saveSessions(ctx, s, rec, other),
		named("TouchSession", touchSession(ctx, s, rec, time.Minute+us, time.Hour+us)),
		wantSessions(ctx, s, touchedSession(rec, time.Minute+us, time.Hour+us), other),
	)
}

func sessionTouchBack(ctx context.Context, s session.Store) error {
	const us = time.Microsecond
	rec := sampleSession()
	if err := saveSessions(ctx, s, rec); err != nil {
		return err
	}
	// At least one time of every pair is not later than the stored one.
	for _, c := range []struct{ seen, expires, wantSeen, wantExpires time.Duration }{
		{-time.Minute, -time.Minute, 0, 0},
		{time.Minute, -time.Minute, time.Minute, 0},
		{-time.Minute, time.Minute, time.Minute, time.Minute},
		{time.Minute - us, time.Minute + us, time.Minute, time.Minute + us},
		{time.Minute + us, time.Minute, time.Minute + us, time.Minute + us},
		{time.Minute, 0, time.Minute + us, time.Minute + us},
	} {
		err := first(
			named("TouchSession", touchSession(ctx, s, rec, c.seen, c.expires)),
			wantSessions(ctx, s, touchedSession(rec, c.wantSeen, c.wantExpires)),
		)
		if err != nil {
			return err
		}
	}
	return nil
}

func sessionTouchRace(ctx context.Context, s session.Store) error {
	for range rounds {
		rec := sampleSession()
		if err := saveSessions(ctx, s, rec); err != nil {
			return err
		}
		// The latest of each of the two times are in different calls.
		us := func(i int) time.Duration { return time.Duration(i%takers+1) * time.Microsecond }
		if err := race(func(i int) error { return touchSession(ctx, s, rec, us(i*17), us(i*23+7)) }); err != nil {
			return fmt.Errorf("TouchSession: %w", err)
		}
		touched := touchedSession(rec, takers*time.Microsecond, takers*time.Microsecond)
		if err := wantSessions(ctx, s, touched); err != nil {
			return err
		}
	}
	return nil
}

// sessionTouchOutlives checks that a touched record can still be found after its first
// expiry. The first expiry is soon. A store that is too slow for that, or whose clock is
// ahead, gets more time.
func sessionTouchOutlives(ctx context.Context, s session.Store) error {
	var early error
	for life := 200 * time.Millisecond; life < 10*time.Second; life *= 2 {
		rec := sampleSession()
		rec.ExpiresAt = rec.LastSeenAt.Add(life)
		touched := touchedSession(rec, 0, time.Hour)
		err := first(
			saveSessions(ctx, s, rec),
			named("TouchSession", touchSession(ctx, s, rec, 0, time.Hour)),
		)
		if err != nil {
			return err
		}
		early = wantSessions(ctx, s, touched)
		if early != nil || !time.Now().Before(rec.ExpiresAt) {
			continue
		}
		for over := false; !over; {
			over = time.Now().After(rec.ExpiresAt.Add(life / 4))
			if err := wantSessions(ctx, s, touched); err != nil {
				return fmt.Errorf("saved to expire after %v, touched at once to expire after %v, and after %v: %w",
					life, life+time.Hour, time.Since(rec.LastSeenAt), err)
			}
		}
		return nil
	}
	return first(early, errors.New("the store is too slow to touch a record within seconds"))
}

func sessionTouchDeleted(ctx context.Context, s session.Store) error {
	rec := sampleSession()
	return first(
		saveSessions(ctx, s, rec),
		named("DeleteSession", s.DeleteSession(ctx, rec.ID)),
		named("TouchSession", touchSession(ctx, s, rec, time.Minute, time.Minute)),
		wantNoSession(ctx, s, rec.ID),
	)
}
