package servertest

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	"github.com/usher-auth/usher/authorize/sqlstore"
	"github.com/usher-auth/usher/session"
	_ "modernc.org/sqlite"
)

const sqliteOptions = "?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_pragma=synchronous(FULL)&_txlock=immediate"

func openSQLite(t *testing.T) *sqlstore.Store {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "usher.db")+sqliteOptions)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	store, err := sqlstore.New(sqlstore.Config{DB: db, Dialect: sqlstore.SQLite})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return store
}

func TestSQLite(t *testing.T) {
	store := openSQLite(t)
	t.Run("codes", func(t *testing.T) {
		authorizetest.TestCodeStore(t, func(*testing.T) authorize.CodeStore { return store })
	})
	t.Run("consents", func(t *testing.T) {
		authorizetest.TestConsentStore(t, func(*testing.T) authorize.ConsentStore { return store })
	})
	t.Run("sessions", func(t *testing.T) {
		authorizetest.TestSessionStore(t, func(*testing.T) session.Store { return store })
	})
}
