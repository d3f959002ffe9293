package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Statements are written with "?" for a value and with tables named "usher_…". What the
// database gets has the host's prefix and its own way to write values.

// exec runs a statement and returns how many rows it changed.
func (s *Store) exec(ctx context.Context, query string, values ...any) (changed int64, err error) {
	err = s.within(ctx, func(ctx context.Context) error {
		var result sql.Result
		if s.unprepared {
			result, err = s.db.ExecContext(ctx, s.text(query), values...)
		} else if statement, failed := s.prepared(ctx, query); failed != nil {
			return failed
		} else {
			result, err = statement.ExecContext(ctx, values...)
		}
		if err == nil {
			changed, err = result.RowsAffected()
		}
		return err
	})
	return changed, err
}

// each runs a query and calls scan for every row.
func (s *Store) each(ctx context.Context, scan func(*sql.Rows) error, query string, values ...any) error {
	return s.within(ctx, func(ctx context.Context) (err error) {
		var rows *sql.Rows
		if s.unprepared {
			rows, err = s.db.QueryContext(ctx, s.text(query), values...)
		} else if statement, failed := s.prepared(ctx, query); failed != nil {
			return failed
		} else {
			rows, err = statement.QueryContext(ctx, values...)
		}
		if err != nil {
			return err
		}
		for err == nil && rows.Next() {
			err = scan(rows)
		}
		return errors.Join(err, rows.Close(), rows.Err())
	})
}

// one reads the columns of the only row there can be. found is false if there is none.
func (s *Store) one(ctx context.Context, columns []any, query string, values ...any) (found bool, err error) {
	err = s.each(ctx, func(rows *sql.Rows) error {
		found = true
		return rows.Scan(columns...)
	}, query, values...)
	return found && err == nil, err
}

// within bounds a call. Drivers report a deadline in words of their own: what they say
// is joined with the context's error, by which the endpoint knows it.
func (s *Store) within(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := call(ctx)
	if err != nil && ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		err = errors.Join(ctx.Err(), err)
	}
	return err
}

// prepared returns the statement, prepared once for all connections.
func (s *Store) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	s.mu.Lock()
	statement, open := s.statements[query], s.statements != nil
	s.mu.Unlock()
	if statement != nil || !open {
		return statement, s.errUnless(open)
	}
	statement, err := s.db.PrepareContext(ctx, s.text(query))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	earlier, open := s.statements[query], s.statements != nil
	if earlier != nil || !open {
		return earlier, errors.Join(statement.Close(), s.errUnless(open))
	}
	s.statements[query] = statement
	return statement, nil
}

func (s *Store) errUnless(open bool) error {
	if open {
		return nil
	}
	return errors.New("the store is closed")
}

func (s *Store) text(query string) string {
	query = strings.ReplaceAll(query, "usher_", s.prefix)
	if s.dialect != PostgreSQL {
		return query
	}
	parts := strings.Split(query, "?")
	numbered := parts[0]
	for i, part := range parts[1:] {
		numbered += "$" + strconv.Itoa(i+1) + part
	}
	return numbered
}

// failed says what could not be done.
func failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("sqlstore: %s: %w", what, err)
}
