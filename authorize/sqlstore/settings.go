package sqlstore

import (
	"context"
	"database/sql"
	"slices"
)

// setting is one that the store's promises rest on.
type setting struct {
	query string
	good  []string
	why   string
}

var settings = map[Dialect][]setting{
	SQLite: {
		{"PRAGMA synchronous", []string{"2", "3"}, "with less than synchronous=FULL a power loss can bring a used code back: add _pragma=synchronous(FULL) to the data source"},
		{"PRAGMA journal_mode", []string{"wal"}, "readers and writers wait for each other: add _pragma=journal_mode(WAL) to the data source"},
	},
	PostgreSQL: {
		{"SHOW synchronous_commit", []string{"on", "remote_apply", "remote_write", "local"}, "without synchronous_commit a crash can bring a used code back: set it to on"},
		{"SHOW fsync", []string{"on"}, "without fsync a crash can bring a used code back: set it to on"},
		{"SHOW default_transaction_isolation", []string{"read committed"}, "concurrent calls fail in this isolation: set default_transaction_isolation to read committed for this user"},
	},
	MySQL: {
		{"SELECT @@innodb_flush_log_at_trx_commit", []string{"1"}, "with another innodb_flush_log_at_trx_commit than 1 a crash can bring a used code back: set it to 1"},
	},
}

// checkSettings warns of settings that weaken what the store promises. They are the
// host's to choose.
func (s *Store) checkSettings(ctx context.Context, conn *sql.Conn) error {
	for _, x := range settings[s.dialect] {
		var value string
		if err := conn.QueryRowContext(ctx, x.query).Scan(&value); err != nil {
			return err
		}
		if !slices.Contains(x.good, value) {
			s.log.Warn("sqlstore: "+x.why, "setting", x.query, "value", value)
		}
	}
	if s.dialect != SQLite {
		return nil
	}
	var wait int
	if err := conn.QueryRowContext(ctx, "PRAGMA busy_timeout").Scan(&wait); err != nil {
		return err
	}
	if wait == 0 {
		s.log.Warn("sqlstore: without a busy_timeout concurrent calls fail at once: add _pragma=busy_timeout(5000) to the data source")
	}
	return nil
}
