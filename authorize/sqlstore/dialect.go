package sqlstore

import "strings"

// Dialect is the SQL dialect of a database.
type Dialect string

const (
	// SQLite 3.24 or later.
	SQLite Dialect = "sqlite"
	// PostgreSQL 10 or later, and databases that are compatible with it.
	PostgreSQL Dialect = "postgresql"
	// MySQL is MySQL 5.7 or later and MariaDB 10.3 or later, with InnoDB.
	MySQL Dialect = "mysql"
)

func (d Dialect) known() bool { return d == SQLite || d == PostgreSQL || d == MySQL }

// orReplace returns the end of an INSERT: if the key exists, these columns get the new values.
func (d Dialect) orReplace(key string, columns ...string) string {
	var sets []string
	for _, column := range columns {
		if d == MySQL {
			sets = append(sets, column+" = VALUES("+column+")")
		} else {
			sets = append(sets, column+" = excluded."+column)
		}
	}
	if d == MySQL {
		return " ON DUPLICATE KEY UPDATE " + strings.Join(sets, ", ")
	}
	return " ON CONFLICT (" + key + ") DO UPDATE SET " + strings.Join(sets, ", ")
}
