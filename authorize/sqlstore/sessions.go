package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"github.com/usher-auth/usher/session"
)

// SaveSession implements [session.Store]. After it has stored the session, it deletes sessions
// of the same subject and kind that are over the limit, beginning with those that expire first.
// If that fails, it logs a warning and the next sign-in tries again; the session is stored.
func (s *Store) SaveSession(ctx context.Context, key string, rec *session.Record) error {
	const what = "save a session"
	if key == "" || len(key) > maxKey {
		return failed(what, errKey)
	}
	if !storable(rec.AuthTime, rec.CreatedAt, rec.LastSeenAt, rec.ExpiresAt, rec.EndsAt) {
		return failed(what, errTime)
	}
	kept, err := sized(rec.MarshalBinary())
	if err != nil {
		return failed(what, err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout) // one limit for all statements
	defer cancel()
	pending := 0
	if rec.SecondFactorPending {
		pending = 1
	}
	_, err = s.exec(ctx, "INSERT INTO usher_sessions"+
		" (id, record, subject_hash, pending, last_seen_us, expires_us) VALUES (?, ?, ?, ?, ?, ?)",
		[]byte(key), kept, hashed(rec.Subject), pending, rec.LastSeenAt.UnixMicro(), rec.ExpiresAt.UnixMicro())
	if err == nil {
		if err := s.makeRoom(ctx, key, rec.Subject, pending); err != nil {
			s.log.WarnContext(ctx,
				"sqlstore: a subject may have more sessions than MaxSessionsPerSubject", "error", err)
		}
	}
	s.purgeSoon()
	return failed(what, err)
}

// roomStep is how many sessions one call deletes at most. Each call adds only one, so this is
// enough for concurrent calls and for a limit that was lowered.
const roomStep = 16

// makeRoom deletes sessions of the subject and kind that are over the limit, but not the new
// one. A session that was used after makeRoom has read it stays.
func (s *Store) makeRoom(ctx context.Context, key, subject string, pending int) error {
	type over struct {
		key     []byte
		expires int64
	}
	var list []over
	err := s.each(ctx, func(rows *sql.Rows) error {
		var one over
		err := rows.Scan(&one.key, &one.expires)
		list = append(list, one)
		return err
	}, "SELECT id, expires_us FROM usher_sessions WHERE subject_hash = ? AND pending = ? AND id <> ?"+
		" ORDER BY expires_us DESC LIMIT ? OFFSET ?", hashed(subject), pending, []byte(key), roomStep, s.maxSessions-1)
	for _, one := range list {
		if err == nil {
			_, err = s.exec(ctx, "DELETE FROM usher_sessions WHERE id = ? AND expires_us <= ?",
				one.key, one.expires)
		}
	}
	return err
}

// FindSession implements [session.Store].
func (s *Store) FindSession(ctx context.Context, key string) (*session.Record, error) {
	const what = "find a session"
	if len(key) > maxKey {
		return nil, failed(what, ctx.Err())
	}
	var kept []byte
	var seen, expires int64
	found, err := s.one(ctx, []any{&kept, &seen, &expires},
		"SELECT record, last_seen_us, expires_us FROM usher_sessions WHERE id = ?", []byte(key))
	if err != nil || !found {
		return nil, failed(what, err)
	}
	rec := &session.Record{}
	if err := rec.UnmarshalBinary(kept); err != nil {
		return nil, failed(what, err)
	}
	// TouchSession changes only these columns.
	rec.LastSeenAt, rec.ExpiresAt = time.UnixMicro(seen).UTC(), time.UnixMicro(expires).UTC()
	return rec, nil
}

// TouchSession implements [session.Store].
func (s *Store) TouchSession(ctx context.Context, key string, seen, expires time.Time) error {
	if len(key) > maxKey {
		return failed("touch a session", ctx.Err())
	}
	if !storable(seen, expires) {
		return failed("touch a session", errTime)
	}
	_, err := s.exec(ctx, "UPDATE usher_sessions SET"+
		" last_seen_us = CASE WHEN last_seen_us < ? THEN ? ELSE last_seen_us END,"+
		" expires_us = CASE WHEN expires_us < ? THEN ? ELSE expires_us END"+
		" WHERE id = ?",
		seen.UnixMicro(), seen.UnixMicro(), expires.UnixMicro(), expires.UnixMicro(), []byte(key))
	return failed("touch a session", err)
}

// DeleteSession implements [session.Store].
func (s *Store) DeleteSession(ctx context.Context, key string) error {
	_, err := s.exec(ctx, "DELETE FROM usher_sessions WHERE id = ?", []byte(key))
	return failed("delete a session", err)
}

// DeleteSessionsOf implements [session.Store]. It deletes one session at a time, because
// statements that lock many rows can deadlock with those of other calls.
func (s *Store) DeleteSessionsOf(ctx context.Context, subject string) error {
	for {
		var keys [][]byte
		err := s.each(ctx, func(rows *sql.Rows) error {
			var key []byte
			err := rows.Scan(&key)
			keys = append(keys, key)
			return err
		}, "SELECT id FROM usher_sessions WHERE subject_hash = ?", hashed(subject))
		for _, key := range keys {
			if err == nil {
				_, err = s.exec(ctx, "DELETE FROM usher_sessions WHERE id = ?", key)
			}
		}
		// Repeat until none is found: a setting of the connection may limit the rows of a SELECT.
		if err != nil || len(keys) == 0 {
			return failed("delete the sessions of a subject", err)
		}
	}
}
