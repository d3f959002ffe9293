package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// setting is a setting of the database that the store's guarantees depend on.
type setting struct {
	query string
	good  []string
	why   string
}

var settings = map[Dialect][]setting{
	SQLite: {
		{"PRAGMA synchronous", []string{"2", "3"},
			"with less than synchronous=FULL a power loss can bring a used code back: " +
				"add _pragma=synchronous(FULL) to the data source"},
		{"PRAGMA journal_mode", []string{"wal"},
			"readers and writers wait for each other: add _pragma=journal_mode(WAL) to the data source"},
	},
	PostgreSQL: {
		{"SHOW synchronous_commit", []string{"on", "remote_apply", "remote_write", "local"},
			"without synchronous_commit a crash can bring a used code back: set it to on"},
		{"SHOW transaction_read_only", []string{"off"},
			"nothing can be saved: the connection is read-only. Is this a standby?"},
		{"SHOW fsync", []string{"on"},
			"without fsync a crash can bring a used code back: set it to on"},
		{"SHOW default_transaction_isolation", []string{"read committed"},
			"concurrent calls fail in this isolation level: " +
				"set default_transaction_isolation to read committed for this user"},
	},
	MySQL: {
		{"SELECT @@innodb_flush_log_at_trx_commit", []string{"1"},
			"unless innodb_flush_log_at_trx_commit is 1, a crash can bring a used code back: set it to 1"},
		{"SELECT @@read_only", []string{"0"},
			"nothing can be saved: the server is read-only. Is this a replica?"},
		{"SELECT IF(@@log_bin, @@sync_binlog, 1)", []string{"1"},
			"with a binary log, unless sync_binlog is 1, a power loss can bring a used code back: set it to 1"},
	},
}

// checkConnection refuses connections on which the store cannot keep its guarantees. The
// connections of a pool are alike, so it checks one of them, once.
func (s *Store) checkConnection(ctx context.Context, conn querier) error {
	if s.dialect != MySQL || s.checked.Load() {
		return nil
	}
	var autocommit int
	var characters string
	err := conn.QueryRowContext(ctx, "SELECT @@autocommit, @@character_set_client").Scan(&autocommit, &characters)
	switch {
	case err != nil:
		return err
	case autocommit != 1:
		return errors.New("with autocommit off a used code comes back when the connection ends: " +
			"remove it from the data source or the server")
	case !slices.Contains(safeCharacters, characters):
		// Drivers that put values into statements escape single bytes. In GBK and similar
		// encodings such a byte can be a part of another character.
		return fmt.Errorf("with character_set_client %q values cannot be quoted safely: "+
			"set charset=utf8mb4 in the data source", characters)
	}
	s.checked.Store(true)
	return nil
}

// checkFile refuses a database in memory for more than one connection. Each connection would
// have its own database, or all would lock each other out of a shared one.
func (s *Store) checkFile(ctx context.Context, conn querier) error {
	if s.dialect != SQLite || s.db.Stats().MaxOpenConnections == 1 {
		return nil
	}
	var file string
	err := conn.QueryRowContext(ctx, "SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&file)
	if err == nil && file == "" {
		return errors.New("the database is in memory, as with :memory: in the data source, and may have " +
			"more than one connection: call SetMaxOpenConns(1) on it, or name a file")
	}
	return nil
}

// querier is a database or one of its connections.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

var safeCharacters = []string{"utf8mb4", "utf8mb3", "utf8", "latin1", "ascii", "binary"}

// checkSettings warns of settings that weaken the store's guarantees. These are no errors: the
// host may choose them, and not every database of the dialect has them.
func (s *Store) checkSettings(ctx context.Context, conn *sql.Conn) {
	read := func(query string) (value string, ok bool) {
		err := conn.QueryRowContext(ctx, query).Scan(&value)
		if err != nil {
			s.log.Warn("sqlstore: a setting cannot be read", "setting", query, "error", err)
		}
		return value, err == nil
	}
	for _, x := range settings[s.dialect] {
		if value, ok := read(x.query); ok && !slices.Contains(x.good, value) {
			s.log.Warn("sqlstore: "+x.why, "setting", x.query, "value", value)
		}
	}
	if s.dialect != SQLite {
		return
	}
	// No setting says whether the file is writable, so try an UPDATE that changes no row.
	_, err := conn.ExecContext(ctx, s.text("UPDATE usher_schema SET version = version WHERE version < 0"))
	if err != nil && strings.Contains(err.Error(), "readonly") {
		s.log.Warn("sqlstore: nothing can be saved: the file is read-only", "error", err)
	}
	if wait, ok := read("PRAGMA busy_timeout"); ok && wait == "0" {
		s.log.Warn("sqlstore: without a busy_timeout concurrent calls fail at once: " +
			"add _pragma=busy_timeout(5000) to the data source")
	}
}
