package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Statements in this package have "?" for a value and tables named "usher_…". [Store.text]
// puts in the host's prefix and the placeholders of the database.

// exec runs a statement and returns how many rows it changed.
func (s *Store) exec(ctx context.Context, query string, values ...any) (changed int64, err error) {
	err = s.run(ctx, query, func(ctx context.Context, statement statement) error {
		result, err := statement.ExecContext(ctx, values...)
		if err == nil {
			changed, err = result.RowsAffected()
		}
		return err
	})
	return changed, err
}

// each runs a query and calls scan for every row.
func (s *Store) each(ctx context.Context, scan func(*sql.Rows) error, query string, values ...any) error {
	return s.run(ctx, query, func(ctx context.Context, statement statement) error {
		rows, err := statement.QueryContext(ctx, values...)
		if err != nil {
			return err
		}
		for err == nil && rows.Next() {
			err = scan(rows)
		}
		return errors.Join(err, rows.Close(), rows.Err())
	})
}

// one reads the columns of a query that returns at most one row. found is false if there is none.
func (s *Store) one(ctx context.Context, columns []any, query string, values ...any) (found bool, err error) {
	err = s.each(ctx, func(rows *sql.Rows) error {
		found = true
		return rows.Scan(columns...)
	}, query, values...)
	return found && err == nil, err
}

// run limits the time of a call. Drivers report a deadline with errors of their own. These are
// joined with the context's error, which the endpoint recognizes.
func (s *Store) run(ctx context.Context, query string, call func(context.Context, statement) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	statement, err := s.statement(ctx, query)
	if err == nil {
		err = call(ctx, statement)
	}
	if err != nil && s.outdated(query, statement, err) {
		if statement, err = s.statement(ctx, query); err == nil {
			err = call(ctx, statement)
		}
	}
	return withCause(ctx, err)
}

// withCause adds the context's error to the error of the call, unless that contains it.
func withCause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		return errors.Join(ctx.Err(), err)
	}
	return err
}

// outdated reports whether a prepared statement failed before it was executed, and forgets
// such a statement. The server no longer knows it (SQLSTATE 26000), or its columns have
// changed (0A000), or another call has noticed this and closed it.
func (s *Store) outdated(query string, failed statement, err error) bool {
	prepared, ok := failed.(*sql.Stmt)
	if !ok {
		return false
	}
	var coded interface{ SQLState() string }
	gone := errors.As(err, &coded) && (coded.SQLState() == "26000" || coded.SQLState() == "0A000")
	if !gone && err.Error() != "sql: statement is closed" {
		return false
	}
	s.mu.Lock()
	if s.statements[query] == prepared {
		delete(s.statements, query)
		s.outdates++
	}
	s.mu.Unlock()
	return prepared.Close() == nil
}

// statement is a prepared statement or a [plain] one.
type statement interface {
	ExecContext(ctx context.Context, values ...any) (sql.Result, error)
	QueryContext(ctx context.Context, values ...any) (*sql.Rows, error)
}

// plain is a statement that is sent as it is.
type plain struct {
	db   *sql.DB
	text string
}

func (p plain) ExecContext(ctx context.Context, values ...any) (sql.Result, error) {
	return p.db.ExecContext(ctx, p.text, values...)
}

func (p plain) QueryContext(ctx context.Context, values ...any) (*sql.Rows, error) {
	return p.db.QueryContext(ctx, p.text, values...)
}

var errClosed = errors.New("the store is closed")

// statement returns a statement. It is prepared once for all connections.
func (s *Store) statement(ctx context.Context, query string) (statement, error) {
	s.mu.Lock()
	made, open, outdates := s.statements[query], s.statements != nil, s.outdates
	s.mu.Unlock()
	switch {
	case !open:
		return nil, errClosed
	case made != nil:
		return made, nil
	}
	if err := s.checkConnection(ctx, s.db); err != nil {
		return nil, err
	}
	if s.unprepared {
		return plain{s.db, s.text(query)}, nil
	}
	text := s.text(query)
	if outdates > 0 {
		// With the same text, a driver might reuse the outdated statement.
		text += fmt.Sprintf(" -- %d", outdates)
	}
	prepared, err := s.db.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch earlier := s.statements[query]; {
	case s.statements == nil:
		return nil, errors.Join(errClosed, prepared.Close())
	case earlier != nil: // another call was faster
		return earlier, prepared.Close()
	}
	s.statements[query] = prepared
	return prepared, nil
}

// text returns the statement in the dialect of the database, with the host's prefix.
func (s *Store) text(query string) string {
	query = strings.ReplaceAll(query, "usher_", s.prefix)
	if s.dialect != PostgreSQL {
		return query
	}
	parts := strings.Split(query, "?")
	var numbered strings.Builder
	numbered.WriteString(parts[0])
	for i, part := range parts[1:] {
		numbered.WriteString("$" + strconv.Itoa(i+1) + part)
	}
	return numbered.String()
}

// failed adds to an error what could not be done.
func failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("sqlstore: %s: %w", what, err)
}

// maxRecord is the size of the largest record that is stored, which is that of a MEDIUMBLOB.
// Without a strict mode, MySQL would cut off the rest without an error.
const maxRecord = 1<<24 - 1

// sized returns the results of an encoder, or an error if the record is too large.
func sized(record []byte, err error) ([]byte, error) {
	if err == nil && len(record) > maxRecord {
		return nil, fmt.Errorf("the record has %d bytes, which is more than %d", len(record), maxRecord)
	}
	return record, err
}
