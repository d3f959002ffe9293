package authorizetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/usher-auth/usher/session"
)

// sampleSession returns the record of a new user under a new key, with something in
// every field.
func sampleSession() *session.Record {
	now := time.Now().UTC().Truncate(time.Microsecond)
	return &session.Record{
		Session: session.Session{
			ID:                  newKey(),
			Subject:             newKey() + awkward,
			AuthTime:            now.Add(-time.Minute - time.Microsecond),
			SignedInAt:          now.Add(-time.Second - time.Microsecond),
			Persistent:          true,
			ACR:                 "urn:acr " + awkward,
			AMR:                 []string{"pwd", "otp", "a,b", "{c}", "'"},
			SecondFactorPending: true,
			Data:                manyBytes(512),
		},
		CreatedAt:  now.Add(-time.Second),
		LastSeenAt: now,
		ExpiresAt:  now.Add(time.Hour + time.Microsecond),
		EndsAt:     now.Add(12*time.Hour - time.Microsecond),
	}
}

// copySession returns a copy that shares no memory with the record.
func copySession(rec *session.Record) *session.Record {
	c := *rec
	c.AMR = append([]string(nil), rec.AMR...)
	c.Data = append([]byte(nil), rec.Data...)
	return &c
}

func compareSessions(got, want *session.Record) error {
	if got == nil {
		return errors.New("the record is not there")
	}
	var d difference
	d.text("ID", got.ID, want.ID)
	d.text("Subject", got.Subject, want.Subject)
	d.time("AuthTime", got.AuthTime, want.AuthTime)
	d.time("SignedInAt", got.SignedInAt, want.SignedInAt)
	d.flag("Persistent", got.Persistent, want.Persistent)
	d.text("ACR", got.ACR, want.ACR)
	d.list("AMR", got.AMR, want.AMR)
	d.flag("SecondFactorPending", got.SecondFactorPending, want.SecondFactorPending)
	d.text("Data", string(got.Data), string(want.Data))
	d.time("CreatedAt", got.CreatedAt, want.CreatedAt)
	d.time("LastSeenAt", got.LastSeenAt, want.LastSeenAt)
	d.time("ExpiresAt", got.ExpiresAt, want.ExpiresAt)
	d.time("EndsAt", got.EndsAt, want.EndsAt)
	return d.error()
}

func saveSessions(ctx context.Context, s session.Store, records ...*session.Record) error {
	for _, rec := range records {
		if err := s.SaveSession(ctx, rec.ID, copySession(rec)); err != nil {
			return fmt.Errorf("SaveSession: %w", err)
		}
	}
	return nil
}

// wantSessions checks that the store returns exactly these records.
func wantSessions(ctx context.Context, s session.Store, want ...*session.Record) error {
	for _, rec := range want {
		got, err := s.FindSession(ctx, rec.ID)
		if err := first(err, compareSessions(got, rec)); err != nil {
			return fmt.Errorf("FindSession: %w", err)
		}
	}
	return nil
}

func wantNoSession(ctx context.Context, s session.Store, key string) error {
	got, err := s.FindSession(ctx, key)
	if err != nil {
		return fmt.Errorf("FindSession: %w", err)
	}
	if got != nil {
		return fmt.Errorf("FindSession found the session of %.80q under %q, want none", got.Subject, key)
	}
	return nil
}

// spoilSession changes everything that a record would share with a shallow copy.
func spoilSession(rec *session.Record) {
	rec.LastSeenAt, rec.SecondFactorPending = rec.LastSeenAt.Add(time.Hour), false
	rec.AMR[0], rec.Data[0] = "x", rec.Data[0]+1
}
