package sqlstore

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"slices"

	"github.com/usher-auth/usher/authorize"
)

// hashed returns the SHA-256 of a subject or an id, which fits a column of 32 bytes.
func hashed(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

// SaveConsent implements [authorize.ConsentStore].
func (s *Store) SaveConsent(ctx context.Context, c *authorize.ConsentRecord) error {
	const what = "save a consent"
	if !storable(c.GrantedAt) {
		return failed(what, errTime)
	}
	kept, err := sized(c.MarshalBinary())
	if err != nil {
		return failed(what, err)
	}
	_, err = s.exec(ctx, "INSERT INTO usher_consents (subject_hash, client_hash, record, granted_ms)"+
		" VALUES (?, ?, ?, ?)"+s.dialect.orReplace("subject_hash, client_hash", "record", "granted_ms"),
		hashed(c.Subject), hashed(c.ClientID), kept, c.GrantedAt.UnixMilli())
	return failed(what, err)
}

// FindConsent implements [authorize.ConsentStore].
func (s *Store) FindConsent(ctx context.Context, subject, clientID string) (*authorize.ConsentRecord, error) {
	const what = "find a consent"
	var kept []byte
	found, err := s.one(ctx, []any{&kept},
		"SELECT record FROM usher_consents WHERE subject_hash = ? AND client_hash = ?",
		hashed(subject), hashed(clientID))
	if err != nil || !found {
		return nil, failed(what, err)
	}
	c := &authorize.ConsentRecord{}
	if err := c.UnmarshalBinary(kept); err != nil {
		return nil, failed(what, err)
	}
	return c, nil
}

// ListConsents implements [authorize.ConsentStore].
func (s *Store) ListConsents(ctx context.Context, subject string) ([]*authorize.ConsentRecord, error) {
	list := []*authorize.ConsentRecord{}
	err := s.each(ctx, func(rows *sql.Rows) error {
		var kept []byte
		if err := rows.Scan(&kept); err != nil {
			return err
		}
		c := &authorize.ConsentRecord{}
		list = append(list, c)
		return c.UnmarshalBinary(kept)
	}, "SELECT record FROM usher_consents WHERE subject_hash = ?", hashed(subject))
	if err != nil {
		return nil, failed("list consents", err)
	}
	slices.SortFunc(list, func(a, b *authorize.ConsentRecord) int { return cmp.Compare(a.ClientID, b.ClientID) })
	return list, nil
}

// DeleteConsent implements [authorize.ConsentStore].
func (s *Store) DeleteConsent(ctx context.Context, subject, clientID string) error {
	_, err := s.exec(ctx, "DELETE FROM usher_consents WHERE subject_hash = ? AND client_hash = ?",
		hashed(subject), hashed(clientID))
	return failed("delete a consent", err)
}
