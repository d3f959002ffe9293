package servertest

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	"github.com/usher-auth/usher/authorize/authorizetest/servers"
	"github.com/usher-auth/usher/session"
)

// The contracts of the four interfaces, with every driver and mode that is documented,
// and with settings of a database that might change what a text is.
func TestContracts(t *testing.T) {
	exec := func(d database) database {
		d.unprepared = true
		return d
	}
	for _, c := range []struct {
		name string
		open func(t *testing.T) database
	}{
		{"sqlite", func(t *testing.T) database { return engines[0].open(t) }},
		{"sqlite without WAL", func(t *testing.T) database {
			// synchronous OFF is for the time that this takes.
			d := onSQLite(filepath.Join(t.TempDir(), "usher.db"), "")
			d.dsn = strings.NewReplacer("(WAL)", "(DELETE)", "(FULL)", "(OFF)").Replace(d.dsn)
			return d
		}},
		{"postgresql", func(t *testing.T) database { return onPostgreSQL(postgres.get(t), "") }},
		{"postgresql, unprepared", func(t *testing.T) database {
			return exec(onPostgreSQL(postgres.get(t), "default_query_exec_mode=exec"))
		}},
		{"postgresql, simple protocol", func(t *testing.T) database {
			return exec(onPostgreSQL(postgres.get(t), "default_query_exec_mode=simple_protocol"))
		}},
		{"pgbouncer", func(t *testing.T) database {
			bouncer := servers.For(t, servers.PgBouncer{Endpoint: postgres.get(t)})
			return exec(onPostgreSQL(bouncer.Endpoint, "default_query_exec_mode=exec"))
		}},
		{"mariadb", func(t *testing.T) database { return onMariaDB(mariadb.get(t), "") }},
		{"mariadb, unprepared", func(t *testing.T) database { return exec(onMariaDB(mariadb.get(t), "interpolateParams=true")) }},
		{"mariadb, rows found", func(t *testing.T) database { return onMariaDB(mariadb.get(t), "clientFoundRows=true&parseTime=true") }},
		{"mariadb, no SQL mode", func(t *testing.T) database { return onMariaDB(mariadb.get(t), "sql_mode=''") }},
		{"mariadb, latin1", func(t *testing.T) database {
			return onMariaDB(mariadb.get(t), "charset=latin1&collation=latin1_german2_ci&collation_database=latin1_german2_ci&sql_mode='PAD_CHAR_TO_FULL_LENGTH,NO_BACKSLASH_ESCAPES'")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			config := c.open(t).config(t, 8)
			config.MaxSessionsPerSubject = 25 // so that the suite reaches it soon
			store := migrated(t, config)
			authorizetest.TestClientStore(t, func(t *testing.T, clients ...authorize.Client) authorize.ClientStore {
				for _, client := range clients {
					must(t, store.PutClient(t.Context(), client))
				}
				return store
			})
			authorizetest.TestCodeStore(t, func(*testing.T) authorize.CodeStore { return store })
			authorizetest.TestConsentStore(t, func(*testing.T) authorize.ConsentStore { return store })
			authorizetest.TestSessionStore(t, func(*testing.T) session.Store { return store })
		})
	}
}
