package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/usher-auth/usher/authorize"
)

// maxClientID is the longest client id that the endpoint looks up.
const maxClientID = 2048

// Client implements [authorize.ClientStore].
func (s *Store) Client(ctx context.Context, id string) (*authorize.Client, error) {
	if len(id) > maxClientID {
		return nil, ctx.Err()
	}
	var record []byte
	found, err := s.one(ctx, []any{&record}, "SELECT record FROM usher_clients WHERE id = ?", []byte(id))
	if err != nil || !found {
		return nil, failed("find a client", err)
	}
	c := &authorize.Client{}
	if err := c.UnmarshalBinary(record); err != nil {
		return nil, failed("find a client", err)
	}
	return c, nil
}

// PutClient stores a client in place of the one with the same ID. A client that the
// endpoint would refuse is an error: see [authorize.CheckClient].
func (s *Store) PutClient(ctx context.Context, c authorize.Client) error {
	if c.ID == "" || len(c.ID) > maxClientID || !utf8.ValidString(c.ID) {
		return fmt.Errorf("sqlstore: store a client: the ID %.80q is not 1 to %d bytes of UTF-8", c.ID, maxClientID)
	}
	if err := authorize.CheckClient(c); err != nil {
		return fmt.Errorf("sqlstore: store the client %.80q: %w", c.ID, err)
	}
	record, err := sized(c.MarshalBinary())
	if err != nil {
		return failed("store a client", err)
	}
	_, err = s.exec(ctx, "INSERT INTO usher_clients (id, record) VALUES (?, ?)"+s.dialect.orReplace("id", "record"),
		[]byte(c.ID), record)
	return failed("store a client", err)
}

// DeleteClient removes a client. An unknown ID is no error. Codes and consents of the
// client stay, but cannot be used without it.
func (s *Store) DeleteClient(ctx context.Context, id string) error {
	_, err := s.exec(ctx, "DELETE FROM usher_clients WHERE id = ?", []byte(id))
	return failed("delete a client", err)
}

// ListClients returns clients whose IDs come after the given one, at most limit of them. They
// are ordered by the bytes of their IDs. Begin with an empty ID. limit must be positive.
func (s *Store) ListClients(ctx context.Context, after string, limit int) ([]*authorize.Client, error) {
	if limit <= 0 {
		return nil, errors.New("sqlstore: list clients: limit is not positive")
	}
	var list []*authorize.Client
	err := s.each(ctx, func(rows *sql.Rows) error {
		var record []byte
		if err := rows.Scan(&record); err != nil {
			return err
		}
		c := &authorize.Client{}
		list = append(list, c)
		return c.UnmarshalBinary(record)
	}, "SELECT record FROM usher_clients WHERE id > ? ORDER BY id LIMIT ?", []byte(after), limit)
	if err != nil {
		return nil, failed("list clients", err)
	}
	return list, nil
}
