package servertest

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/sqlstore"
)

// Settings of a connection under which nothing holds are refused, with and without
// Migrate: a take that is rolled back when the connection ends, and characters of which
// a part can be a quote.
func TestConnectionsThatAreRefused(t *testing.T) {
	for _, c := range []struct{ options, want string }{
		{"", ""},
		{"charset=utf8mb4&interpolateParams=true", ""},
		{"autocommit=0", "autocommit"},
		{"charset=gbk&interpolateParams=true", "character_set_client"},
		{"charset=big5&interpolateParams=true", "character_set_client"},
		{"character_set_client=gbk&interpolateParams=true", "character_set_client"},
	} {
		t.Run(c.options, func(t *testing.T) {
			good := onMariaDB(mariadb.get(t), "").config(t, 2)
			hash := saveCodes(t, migrated(t, good), 1)[0]
			config := good
			config.DB, config.Unprepared = onMariaDB(mariadb.get(t), c.options).pool(t, 2), true
			store := opened(t, config)
			quoting := "\u20ac' UNION SELECT 0x7b7d -- "
			client, err := store.Client(t.Context(), quoting)
			if c.want == "" {
				must(t, err, store.Migrate(t.Context()))
				if client != nil {
					t.Errorf("the id %q finds %v", quoting, client)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || client != nil {
				t.Errorf("Client: %v, %v", client, err)
			}
			if _, taken, err := store.TakeCode(t.Context(), hash, now()); taken || err == nil {
				t.Errorf("TakeCode: %t, %v", taken, err)
			}
			if err := store.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Migrate: %v", err)
			}
		})
	}
}

// Where nothing is missing, Migrate needs no right to change anything.
func TestMigrateWithoutRights(t *testing.T) {
	server := startPostgres(t, nil)
	config := onPostgreSQL(server.Endpoint, "").config(t, 2)
	migrated(t, config)
	for _, query := range []string{"CREATE USER app", "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app"} {
		_, err := config.DB.Exec(query)
		must(t, err)
	}
	for _, options := range []string{"user=app", "default_transaction_read_only=on"} {
		limited := config
		limited.DB = onPostgreSQL(server.Endpoint, options).pool(t, 2)
		if err := opened(t, limited).Migrate(t.Context()); err != nil {
			t.Errorf("%s: %v", options, err)
		}
		limited.Prefix = "other_"
		if err := opened(t, limited).Migrate(t.Context()); err == nil {
			t.Errorf("%s: tables were made", options)
		}
	}
}

// Statements that the server has forgotten, or that have other columns by now, are made
// anew.
func TestStatementsThatWentBad(t *testing.T) {
	config := onPostgreSQL(postgres.get(t), "").config(t, 1)
	store := migrated(t, config)
	rec := newSession("alice")
	must(t, store.SaveSession(t.Context(), rec.ID, rec))
	for _, query := range []string{
		"ALTER TABLE " + config.Prefix + "sessions ADD COLUMN x int",
		"ALTER TABLE " + config.Prefix + "sessions ALTER COLUMN last_seen_us TYPE numeric",
		"ALTER TABLE " + config.Prefix + "sessions ALTER COLUMN last_seen_us TYPE bigint",
		"DISCARD ALL",
	} {
		must(t, store.TouchSession(t.Context(), rec.ID, now(), now()))
		found, err := store.FindSession(t.Context(), rec.ID)
		must(t, err)
		_, err = config.DB.Exec(query)
		must(t, err)
		again, err := store.FindSession(t.Context(), rec.ID)
		if err != nil || again == nil || again.ID != found.ID {
			t.Errorf("after %s: %v, %v", query, again, err)
		}
		if err := store.TouchSession(t.Context(), rec.ID, now(), now()); err != nil {
			t.Errorf("after %s: %v", query, err)
		}
	}
}

// The same when eight connections find it out at once.
func TestStatementsThatGoBadUnderLoad(t *testing.T) {
	config := onPostgreSQL(postgres.get(t), "").config(t, 8)
	store := migrated(t, config)
	rec := newSession("alice")
	must(t, store.SaveSession(t.Context(), rec.ID, rec))
	for i := range 10 {
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for ctx.Err() == nil {
					if found, err := store.FindSession(t.Context(), rec.ID); err != nil || found == nil {
						t.Errorf("%v, %v", found, err)
						return
					}
				}
			})
		}
		_, err := config.DB.Exec("ALTER TABLE " + config.Prefix + "sessions ALTER COLUMN last_seen_us TYPE " + []string{"numeric", "bigint"}[i%2])
		stop()
		wg.Wait()
		must(t, err)
	}
}

// A migration that fails half-way leaves no lock behind, and the connection as it was.
func TestAFailedMigrationHoldsNothing(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *engine) {
		d := e.open(t)
		config := d.config(t, 1)
		_, err := config.DB.Exec("CREATE TABLE " + config.Prefix + "schema (x INTEGER)") // no column version
		must(t, err)
		for range 2 {
			if err := opened(t, config).Migrate(t.Context()); err == nil {
				t.Fatal("the tables were made")
			}
		}
		other := d.pool(t, 1)
		if e.name == "mariadb" {
			var got int
			must(t, other.QueryRow("SELECT GET_LOCK(?, 5)", config.Prefix+"migrate").Scan(&got))
			if got != 1 {
				t.Error("the lock is held")
			}
		}
		for _, db := range []*sql.DB{other, config.DB} {
			_, err = db.Exec("INSERT INTO " + config.Prefix + "schema (x) VALUES (1)")
			must(t, err)
		}
		if n := count(t, config, "schema"); n != 2 {
			t.Errorf("%d rows, want 2", n)
		}
	})
}

// What the purge deletes it deletes by key: what is alive is not locked meanwhile.
func TestThePurgeLocksNothingAlive(t *testing.T) {
	e := engines[2]
	config := e.open(t).config(t, 8)
	early := config
	early.Now = func() time.Time { return time.Unix(0, 0) } // purges nothing by itself
	store := migrated(t, early)
	var dead, live []string
	for _, part := range []struct {
		keys    *[]string
		expires time.Time
	}{{&dead, now().Add(-time.Hour)}, {&live, now().Add(time.Hour)}} {
		for i := range 200 {
			rec := newSession(fmt.Sprint("user", i))
			rec.ExpiresAt = part.expires
			must(t, store.SaveSession(t.Context(), rec.ID, rec))
			*part.keys = append(*part.keys, rec.ID)
		}
	}
	_, err := config.DB.Exec("ANALYZE TABLE " + config.Prefix + "sessions")
	must(t, err)
	// The last session that the purge gets at is locked, so it waits with all others in hand.
	tx, err := config.DB.Begin()
	must(t, err)
	_, err = tx.Exec("SELECT id FROM " + config.Prefix + "sessions WHERE id = (SELECT m FROM (SELECT MAX(id) AS m FROM " + config.Prefix + "sessions WHERE expires_us < " + fmt.Sprint(now().UnixMicro()) + ") x) FOR UPDATE")
	must(t, err)
	purged := make(chan error, 1)
	store = opened(t, config)
	go func() {
		_, err := store.Purge(t.Context())
		purged <- err
	}()
	waitForLock(t, e, config)
	quick := early
	quick.Timeout = 2 * time.Second
	other := opened(t, quick)
	for i := 0; i < len(live); i += 40 {
		if err := other.TouchSession(t.Context(), live[i], now(), now().Add(2*time.Hour)); err != nil {
			t.Errorf("a session that is alive: %v", err)
		}
	}
	// Where a page of the table ends InnoDB locks the gap to the next record too, so a new
	// session may have to wait, though hardly three of five.
	saved := 0
	for range 5 {
		rec := newSession("alice")
		if err := other.SaveSession(t.Context(), rec.ID, rec); err == nil {
			saved++
		}
	}
	if saved < 3 {
		t.Errorf("only %d of 5 new sessions could be saved", saved)
	}
	must(t, tx.Commit(), <-purged)
	// What was given up may have been saved all the same.
	if n := count(t, config, "sessions"); n < len(live)+saved || n > len(live)+5 {
		t.Errorf("%d sessions are left, want %d", n, len(live)+saved)
	}
}

// Close waits for the calls under way, and lets no other wait.
func TestCloseKeepsNobodyWaiting(t *testing.T) {
	config := engines[1].open(t).config(t, 8)
	store, err := sqlstore.New(config)
	must(t, err, store.Migrate(t.Context()))
	hash := saveCodes(t, store, 1)[0]
	tx, err := config.DB.Begin()
	must(t, err)
	_, err = tx.Exec("DELETE FROM " + config.Prefix + "codes")
	must(t, err)
	took := make(chan error, 1)
	go func() {
		_, _, err := store.TakeCode(t.Context(), hash, now())
		took <- err
	}()
	waitForUpdate(t, config)
	closed := make(chan error, 1)
	go func() { closed <- store.Close() }()
	for {
		// Until Close has begun this is answered, and from then on refused at once.
		if _, err := store.FindSession(t.Context(), "k"); err != nil {
			break
		}
	}
	must(t, tx.Rollback())
	<-took
	must(t, <-closed)
}

func waitForUpdate(t *testing.T, config sqlstore.Config) {
	t.Helper()
	for late := time.Now().Add(20 * time.Second); time.Now().Before(late); {
		waiting := 0
		must(t, config.DB.QueryRow("SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE "+config.Prefix+"%'").Scan(&waiting))
		if waiting > 0 {
			return
		}
	}
	t.Fatal("nobody waits for the lock")
}

// A time that its column cannot hold is an error, and not another time.
func TestTimesThatCannotBeKept(t *testing.T) {
	store := engines[0].open(t).store(t)
	far := time.Date(300_000, 1, 1, 0, 0, 0, 0, time.UTC)
	rec, code := newSession("alice"), newCode()
	rec.EndsAt, code.ExpiresAt = far, far
	hash := saveCodes(t, store, 1)[0]
	_, taken, err := store.TakeCode(t.Context(), hash, time.Time{})
	for what, err := range map[string]error{
		"a session": store.SaveSession(t.Context(), rec.ID, rec), "a touch": store.TouchSession(t.Context(), "k", now(), far),
		"a code": store.SaveCode(t.Context(), newKey(), code), "a take at no time": err,
		"a consent": store.SaveConsent(t.Context(), &authorize.ConsentRecord{GrantedAt: far}),
	} {
		if err == nil {
			t.Errorf("%s was kept", what)
		}
	}
	if code, err := store.FindCode(t.Context(), hash); taken || err != nil || !code.UsedAt.IsZero() {
		t.Errorf("the code is used: %v, %v", code, err)
	}
}

// A host that runs the files by a tool of its own has all that Migrate would make.
func TestTheFilesAreEnough(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *engine) {
		config := e.open(t).config(t, 2)
		text, err := os.ReadFile("../schema/" + string(config.Dialect) + "/1.sql")
		must(t, err)
		for statement := range strings.SplitSeq(strings.ReplaceAll(string(text), "usher_", config.Prefix), ";\n") {
			if strings.TrimSpace(statement) != "" {
				_, err := config.DB.Exec(statement)
				must(t, err)
			}
		}
		store := migrated(t, config)
		saveCodes(t, store, 1)
		if n := count(t, config, "schema"); n != 1 {
			t.Errorf("%d versions are noted", n)
		}
	})
}

// What cannot be saved at all is said at the start.
func TestReadOnlyIsSaid(t *testing.T) {
	file := filepath.Join(t.TempDir(), "usher.db")
	config := onSQLite(file, "").config(t, 1)
	migrated(t, config)
	server := startPostgres(t, nil)
	onServer := onPostgreSQL(server.Endpoint, "").config(t, 1)
	migrated(t, onServer)
	config.DB = onSQLite(file, "&mode=ro").pool(t, 1)
	onServer.DB = onPostgreSQL(server.Endpoint, "default_transaction_read_only=on").pool(t, 1)
	for _, c := range []sqlstore.Config{config, onServer} {
		var said strings.Builder
		c.Logger = slog.New(slog.NewTextHandler(&said, nil))
		if err := opened(t, c).Migrate(t.Context()); err != nil || !strings.Contains(said.String(), "nothing can be saved") {
			t.Errorf("%s: %v, %s", c.Dialect, err, said.String())
		}
	}
}

// Each connection to a database in memory has another one, or locks the others out.
func TestDatabaseInMemory(t *testing.T) {
	for _, c := range []struct {
		source      string
		connections int
		refused     bool
	}{
		{":memory:", 0, true},
		{":memory:", 2, true},
		{"file::memory:?cache=shared", 2, true},
		{":memory:", 1, false},
		{filepath.Join(t.TempDir(), "usher.db"), 2, false},
	} {
		t.Run(fmt.Sprintf("%s with %d connections", filepath.Base(c.source), c.connections), func(t *testing.T) {
			db, err := sql.Open("sqlite", c.source)
			must(t, err)
			defer db.Close()
			db.SetMaxOpenConns(c.connections)
			store, err := sqlstore.New(sqlstore.Config{DB: db, Dialect: sqlstore.SQLite})
			must(t, err)
			err = store.Migrate(t.Context())
			if c.refused != (err != nil) || c.refused && !strings.Contains(err.Error(), "SetMaxOpenConns(1)") {
				t.Errorf("Migrate: %v", err)
			}
		})
	}
}
