package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"github.com/usher-auth/usher/authorize/internal/record"
	"github.com/usher-auth/usher/session"
)

// SaveSession implements [session.Store].
func (s *Store) SaveSession(ctx context.Context, key string, rec *session.Record) error {
	const what = "save a session"
	if key == "" || len(key) > maxKey {
		return failed(what, errKey)
	}
	if !storable(rec.AuthTime, rec.CreatedAt, rec.LastSeenAt, rec.ExpiresAt, rec.EndsAt) {
		return failed(what, errTime)
	}
	kept, err := sized(record.EncodeSession(rec))
	if err != nil {
		return failed(what, err)
	}
	_, err = s.exec(ctx, "INSERT INTO usher_sessions (id, record, subject_hash, last_seen_us, expires_us) VALUES (?, ?, ?, ?, ?)",
		[]byte(key), kept, hashed(rec.Subject), rec.LastSeenAt.UnixMicro(), rec.ExpiresAt.UnixMicro())
	s.purgeSoon()
	return failed(what, err)
}

// FindSession implements [session.Store].
func (s *Store) FindSession(ctx context.Context, key string) (*session.Record, error) {
	const what = "find a session"
	if len(key) > maxKey {
		return nil, failed(what, ctx.Err())
	}
	var kept []byte
	var seen, expires int64
	found, err := s.one(ctx, []any{&kept, &seen, &expires}, "SELECT record, last_seen_us, expires_us FROM usher_sessions WHERE id = ?", []byte(key))
	if err != nil || !found {
		return nil, failed(what, err)
	}
	rec, err := record.DecodeSession(kept)
	if err != nil {
		return nil, failed(what, err)
	}
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

// DeleteSessionsOf implements [session.Store]. It deletes one session after the other:
// a statement that locks many rows can end in a deadlock with those of other calls.
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
		// Not before a look finds none: a setting of the connection may limit a look.
		if err != nil || len(keys) == 0 {
			return failed("delete the sessions of a subject", err)
		}
	}
}
