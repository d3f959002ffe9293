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

// Migrate creates the tables that are missing. It is safe to call at every start and from
// any number of replicas at once. One of them does the work, and the others wait as long as
// ctx allows; [Config].Timeout does not apply. It never drops or empties anything, and it
// leaves a schema alone that is newer than this package. You may run the files of the schema
// folder with another tool: each of them records its own version. Replace "usher_" in them if
// your prefix is another one.
//
// Migrate also checks the settings of the connection. It logs those that could bring a used
// code back after a crash or make calls fail. An SQLite database in memory is an error unless
// the pool has one connection at most.
//
// If no table is missing, Migrate only reads. Otherwise the database user needs the right to
// create tables. Since PostgreSQL 15 only the owner of the schema has it by default.
func (s *Store) Migrate(ctx context.Context) error {
	for {
		err := s.migrateOnce(ctx)
		if err == nil || s.dialect != SQLite || !strings.Contains(err.Error(), "database is locked") {
			return failed("migrate as "+string(s.dialect), withCause(ctx, err))
		}
		// SQLite needs exclusive access to switch a new file to WAL, and does not wait for it.
		select {
		case <-ctx.Done():
			return failed("migrate as "+string(s.dialect), withCause(ctx, err))
		case <-time.After(lockedPause):
		}
	}
}

// lockedPause is how long Migrate waits before it tries a locked SQLite file again.
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
		// Close the connection, to end its lock and its transaction. With these, it would
		// block others from the pool.
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	}
	return err
}

// current reports whether the schema is up to date. It needs only the right to read.
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

// locked calls work while it holds a lock against other processes. All of the work happens or
// none, if the database can roll back changes of its schema. After an error the connection must
// be closed.
func (s *Store) locked(ctx context.Context, conn *sql.Conn, work func(execer) error) error {
	switch s.dialect {
	case PostgreSQL:
		// In a stricter isolation level it would not see what another process did meanwhile.
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
		const anHour = 3600 // ctx may end earlier
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

// lockNumber returns the number of the advisory lock for this prefix.
func (s *Store) lockNumber() int64 {
	sum := fnv.New64a()
	sum.Write([]byte("usher sqlstore " + s.prefix))
	return int64(sum.Sum64())
}

// migrate runs the files that have not been run. Each file ends by storing its version.
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
