package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/usher-auth/usher/authorize"
)

// maxKey is the length of the longest hash or session key that is stored. The endpoint's
// own have 43 characters.
const maxKey = 255

var errKey = fmt.Errorf("the key is empty or longer than %d bytes", maxKey)

// SaveCode implements [authorize.CodeStore].
func (s *Store) SaveCode(ctx context.Context, hash string, code *authorize.Code) error {
	const what = "save a code"
	if hash == "" || len(hash) > maxKey {
		return failed(what, errKey)
	}
	if !storable(code.AuthTime, code.IssuedAt, code.ExpiresAt, code.UsedAt) {
		return failed(what, errTime)
	}
	kept, err := sized(code.MarshalBinary())
	if err != nil {
		return failed(what, err)
	}
	// A code that was moved here from another store may have been used there.
	used := sql.NullInt64{Int64: code.UsedAt.UnixMilli(), Valid: !code.UsedAt.IsZero()}
	_, err = s.exec(ctx, "INSERT INTO usher_codes"+
		" (hash, record, client_id, subject, issued_ms, expires_ms, used_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
		[]byte(hash), kept, []byte(code.ClientID), []byte(code.Subject),
		code.IssuedAt.UnixMilli(), code.ExpiresAt.UnixMilli(), used)
	s.purgeSoon()
	return failed(what, err)
}

// FindCode implements [authorize.CodeStore].
func (s *Store) FindCode(ctx context.Context, hash string) (*authorize.Code, error) {
	code, err := s.findCode(ctx, hash)
	return code, failed("find a code", err)
}

// TakeCode implements [authorize.CodeStore]. The database lets only one of several
// concurrent calls change the row.
func (s *Store) TakeCode(ctx context.Context, hash string, at time.Time) (code *authorize.Code, taken bool, err error) {
	const what = "take a code"
	if len(hash) > maxKey {
		return nil, false, failed(what, ctx.Err())
	}
	if at.IsZero() || !storable(at) {
		return nil, false, failed(what, errTime)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout) // one limit for both statements
	defer cancel()
	changed, err := s.exec(ctx, "UPDATE usher_codes SET used_ms = ? WHERE hash = ? AND used_ms IS NULL",
		at.UnixMilli(), []byte(hash))
	if err != nil {
		return nil, false, failed(what, err)
	}
	if code, err = s.findCode(ctx, hash); err != nil {
		// If this call has marked the code as used, no call will return it. That is safe.
		return nil, false, failed(what, err)
	}
	if code == nil && changed == 1 {
		return nil, false, failed(what,
			errors.New("the code was marked as used but cannot be found: read from the server that is written to"))
	}
	return code, changed == 1, nil
}

// maxYear is the last year that is stored. It leaves room to add to a time.
const maxYear = 9999

var errTime = fmt.Errorf("a time is zero or after the year %d", maxYear)

// storable reports whether the times fit their columns.
func storable(times ...time.Time) bool {
	return !slices.ContainsFunc(times, func(t time.Time) bool { return t.UTC().Year() > maxYear })
}

func (s *Store) findCode(ctx context.Context, hash string) (*authorize.Code, error) {
	if len(hash) > maxKey {
		return nil, ctx.Err()
	}
	var kept []byte
	var used sql.NullInt64
	found, err := s.one(ctx, []any{&kept, &used}, "SELECT record, used_ms FROM usher_codes WHERE hash = ?",
		[]byte(hash))
	if err != nil || !found {
		return nil, err
	}
	code := &authorize.Code{}
	if err := code.UnmarshalBinary(kept); err != nil {
		return nil, err
	}
	if used.Valid {
		code.UsedAt = time.UnixMilli(used.Int64).UTC()
	}
	return code, nil
}
