package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"strings"
	"time"
)

//go:embed schema
var schemas embed.FS

// Migrate makes the tables that are missing. It is safe to call at every start and from
// any number of replicas at once: one does the work, the others wait as long as ctx
// allows; [Config].Timeout does not count here. It never drops or empties anything, and
// leaves a schema alone that is newer than this package. The files are in the schema
// folder, for those who migrate with a tool of their own: they say themselves that they
// were run. With another prefix than "usher_", put it in.
//
// It also looks at the settings of the connection, and tells the Logger of those that
// could bring a used code back after a crash or make calls fail. An SQLite database in
// memory is an error unless the pool has one connection at most.
//
// Where nothing is missing, it only reads. Otherwise the database user needs the right to
// create tables, which PostgreSQL from 15 on gives only to the owner of the schema.
func (s *Store) Migrate(ctx context.Context) error {
	for {
		err := s.migrateOnce(ctx)
		if err == nil || s.dialect != SQLite || !strings.Contains(err.Error(), "database is locked") {
			return failed("migrate as "+string(s.dialect), withCause(ctx, err))
		}
		// To make a new file a WAL, SQLite needs it alone and does not wait for that.
		select {
		case <-ctx.Done():
			return failed("migrate as "+string(s.dialect), withCause(ctx, err))
		case <-time.After(lockedPause):
		}
	}
}

// lockedPause is how long Migrate waits until it tries again to get at an SQLite file.
const lockedPause = 10 * time.Millisecond

func (s *Store) migrateOnce(ctx context.Context) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := errors.Join(s.checkConnection(ctx, conn), s.checkFile(ctx, conn)); err != nil {
		return err
	}
	if !s.current(ctx, conn) {
		if err := s.makeTables(ctx, conn); err != nil {
			return err
		}
	}
	s.checkSettings(ctx, conn)
	return nil
}

func (s *Store) makeTables(ctx context.Context, conn *sql.Conn) error {
	err := s.locked(ctx, conn, func(run execer) error { return s.migrate(ctx, run) })
	if err != nil {
		// With the connection go its lock and its transaction. Back in the pool with one
		// of them it would keep others out.
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	}
	return err
}

// current reports whether nothing is missing. That can be seen without the right to
// change anything.
func (s *Store) current(ctx context.Context, conn *sql.Conn) bool {
	version, err := s.version(ctx, conn)
	_, missing := schemas.ReadFile(fmt.Sprintf("schema/%s/%d.sql", s.dialect, version+1))
	return err == nil && missing != nil
}

func (s *Store) version(ctx context.Context, run execer) (version int, err error) {
	err = run.QueryRowContext(ctx, s.text("SELECT COALESCE(MAX(version), 0) FROM usher_schema")).Scan(&version)
	return version, err
}

// execer is a connection or a transaction.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// locked calls work while no other process does the same. Where the database can take
// back changes of its schema, all of it happens or nothing. After an error the connection
// must be closed.
func (s *Store) locked(ctx context.Context, conn *sql.Conn, work func(execer) error) error {
	switch s.dialect {
	case PostgreSQL:
		// In a stricter isolation it would not see what was done while it waited.
		tx, err := conn.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", s.lockNumber()); err != nil {
			return err
		}
		if err := work(tx); err != nil {
			return err
		}
		return tx.Commit()
	case SQLite:
		if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
			return err
		}
		if err := work(conn); err != nil {
			return err
		}
		_, err := conn.ExecContext(ctx, "COMMIT")
		return err
	default:
		var got sql.NullInt64
		const anHour = 3600 // unless ctx ends before
		locked := conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, ?)", s.prefix+"migrate", anHour)
		if err := locked.Scan(&got); err != nil {
			return err
		}
		if got.Int64 != 1 {
			return errors.New("another process holds the lock")
		}
		if err := work(conn); err != nil {
			return err
		}
		_, err := conn.ExecContext(ctx, "DO RELEASE_LOCK(?)", s.prefix+"migrate")
		return err
	}
}

// lockNumber stands for the prefix among the advisory locks of the database.
func (s *Store) lockNumber() int64 {
	sum := fnv.New64a()
	sum.Write([]byte("usher sqlstore " + s.prefix))
	return int64(sum.Sum64())
}

// migrate runs the files that have not been run. Each ends with its own version.
func (s *Store) migrate(ctx context.Context, run execer) error {
	create := s.text("CREATE TABLE IF NOT EXISTS usher_schema (version INTEGER NOT NULL PRIMARY KEY)")
	if _, err := run.ExecContext(ctx, create); err != nil {
		return err
	}
	version, err := s.version(ctx, run)
	if err != nil {
		return err
	}
	for {
		version++
		file, err := schemas.ReadFile(fmt.Sprintf("schema/%s/%d.sql", s.dialect, version))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		for statement := range strings.SplitSeq(s.text(string(file)), ";\n") {
			if strings.TrimSpace(statement) == "" {
				continue
			}
			if _, err := run.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("version %d: %w", version, err)
			}
		}
	}
}
