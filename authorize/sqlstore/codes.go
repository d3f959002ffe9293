package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/internal/record"
)

// maxKey is the longest hash or session key that is stored. Those of the endpoint have
// 43 characters.
const maxKey = 255

var errKey = errors.New("the key is empty or longer than 255 bytes")

// SaveCode implements [authorize.CodeStore].
func (s *Store) SaveCode(ctx context.Context, hash string, code *authorize.Code) error {
	const what = "save a code"
	if hash == "" || len(hash) > maxKey {
		return failed(what, errKey)
	}
	kept, err := sized(record.EncodeCode(code))
	if err != nil {
		return failed(what, err)
	}
	_, err = s.exec(ctx, "INSERT INTO usher_codes (hash, record, client_id, subject, issued_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?)",
		[]byte(hash), kept, []byte(code.ClientID), []byte(code.Subject), code.IssuedAt.UnixMilli(), code.ExpiresAt.UnixMilli())
	s.purgeSoon()
	return failed(what, err)
}

// FindCode implements [authorize.CodeStore].
func (s *Store) FindCode(ctx context.Context, hash string) (*authorize.Code, error) {
	code, err := s.findCode(ctx, hash)
	return code, failed("find a code", err)
}

// TakeCode implements [authorize.CodeStore]. Of concurrent calls the database lets one
// change the row.
func (s *Store) TakeCode(ctx context.Context, hash string, at time.Time) (code *authorize.Code, taken bool, err error) {
	const what = "take a code"
	if len(hash) > maxKey {
		return nil, false, failed(what, ctx.Err())
	}
	changed, err := s.exec(ctx, "UPDATE usher_codes SET used_ms = ? WHERE hash = ? AND used_ms IS NULL", at.UnixMilli(), []byte(hash))
	if err != nil {
		return nil, false, failed(what, err)
	}
	if code, err = s.findCode(ctx, hash); err != nil {
		// If this call has used the code up, nobody will get it. That is the safe side.
		return nil, false, failed(what, err)
	}
	return code, changed == 1 && code != nil, nil
}

func (s *Store) findCode(ctx context.Context, hash string) (*authorize.Code, error) {
	if len(hash) > maxKey {
		return nil, ctx.Err()
	}
	var kept []byte
	var used sql.NullInt64
	found, err := s.one(ctx, []any{&kept, &used}, "SELECT record, used_ms FROM usher_codes WHERE hash = ?", []byte(hash))
	if err != nil || !found {
		return nil, err
	}
	code, err := record.DecodeCode(kept)
	if err == nil && used.Valid {
		code.UsedAt = time.UnixMilli(used.Int64).UTC()
	}
	return code, err
}
