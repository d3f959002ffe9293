package servertest

import (
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest/servers"
	"github.com/usher-auth/usher/authorize/sqlstore"
	"github.com/usher-auth/usher/session"
)

// database is one that stores are opened on, as often as a test likes.
type database struct {
	dialect    sqlstore.Dialect
	driver     string
	dsn        string
	unprepared bool
}

// The options that the documentation recommends for SQLite.
const sqliteOptions = "?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_pragma=synchronous(FULL)&_txlock=immediate"

func onSQLite(path, moreOptions string) database {
	return database{dialect: sqlstore.SQLite, driver: "sqlite", dsn: "file:" + path + sqliteOptions + moreOptions}
}

func onPostgreSQL(at servers.Endpoint, moreOptions string) database {
	return database{dialect: sqlstore.PostgreSQL, driver: "pgx", dsn: at.DSN() + " " + moreOptions}
}

func onMariaDB(at servers.Endpoint, moreOptions string) database {
	return database{dialect: sqlstore.MySQL, driver: "mysql", dsn: at.DSN() + "?" + moreOptions}
}

// engine is a kind of database, with one instance for all tests that do not harm it.
type engine struct {
	name string
	// open returns an empty part of the shared instance.
	open func(t testing.TB) database
	// start returns an instance of the test's own; nil where the engine is no server.
	start func(t testing.TB, settings map[string]string) *servers.Server
	// on returns the database at an address, which may be that of a proxy.
	on func(at servers.Endpoint, moreOptions string) database
}

var engines = []*engine{
	{
		name: "sqlite",
		open: func(t testing.TB) database { return onSQLite(filepath.Join(t.TempDir(), "usher.db"), "") },
	},
	{
		name:  "postgresql",
		open:  func(t testing.TB) database { return onPostgreSQL(postgres.get(t), "") },
		start: startPostgres,
		on:    onPostgreSQL,
	},
	{
		name:  "mariadb",
		open:  func(t testing.TB) database { return onMariaDB(mariadb.get(t), "") },
		start: startMaria,
		on:    onMariaDB,
	},
}

func startPostgres(t testing.TB, settings map[string]string) *servers.Server {
	return servers.For(t, servers.PostgreSQL{Settings: settings})
}

func startMaria(t testing.TB, settings map[string]string) *servers.Server {
	return servers.For(t, servers.MariaDB{Settings: settings})
}

// eachEngine runs the test on every engine, all of them at once.
func eachEngine(t *testing.T, test func(t *testing.T, e *engine)) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			test(t, e)
		})
	}
}

// eachServer leaves out SQLite, which is none.
func eachServer(t *testing.T, test func(t *testing.T, e *engine)) {
	for _, e := range engines {
		if e.start == nil {
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			test(t, e)
		})
	}
}

// shared is an instance that lives as long as the tests. It ends with the process.
type shared struct {
	start func() (*servers.Server, error)

	mu     sync.Mutex
	server *servers.Server
}

// Start makes it a configuration for servers.For, which knows when to skip.
func (s *shared) Start() (kept, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		server, err := s.start()
		if err != nil {
			return kept{}, err
		}
		s.server = server
	}
	return kept{s.server}, nil
}

func (s *shared) get(t testing.TB) servers.Endpoint {
	t.Helper()
	return servers.For(t, s).Endpoint
}

// kept is a server that does not end with the test.
type kept struct{ *servers.Server }

func (kept) Close() error { return nil }

var (
	// The isolation of a transaction is the database's default, as a host leaves it.
	postgres = &shared{start: servers.PostgreSQL{Settings: map[string]string{"max_connections": "300"}}.Start}
	mariadb  = &shared{start: servers.MariaDB{Settings: map[string]string{"max-connections": "300"}}.Start}
)

// pool opens a pool of connections. Nothing but its size is unusual.
func (d database) pool(t testing.TB, size int) *sql.DB {
	t.Helper()
	db, err := sql.Open(d.driver, d.dsn)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	t.Cleanup(func() { db.Close() })
	return db
}

// newPrefix makes every test a part of a shared database of its own.
func newPrefix() string { return "t" + strings.ToLower(rand.Text()[:12]) + "_" }

// config is that of a store under a new prefix.
func (d database) config(t testing.TB, size int) sqlstore.Config {
	t.Helper()
	return sqlstore.Config{DB: d.pool(t, size), Dialect: d.dialect, Prefix: newPrefix(), Unprepared: d.unprepared, Timeout: 30 * time.Second}
}

// store opens a store under a new prefix, with its tables.
func (d database) store(t testing.TB) *sqlstore.Store {
	t.Helper()
	return migrated(t, d.config(t, 8))
}

// opened opens a store.
func opened(t testing.TB, config sqlstore.Config) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !t.Failed() {
			t.Error(err)
		}
	})
	return s
}

func migrated(t testing.TB, config sqlstore.Config) *sqlstore.Store {
	t.Helper()
	s := opened(t, config)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func newKey() string {
	sum := sha256.Sum256([]byte(rand.Text()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// now is the time as stores keep it.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

func newCode() *authorize.Code {
	at := now()
	return &authorize.Code{
		ClientID: "wiki", RedirectURI: "https://wiki.example/cb", Challenge: newKey(), Scopes: []string{"openid", "profile"},
		Subject: "alice", AuthTime: at.Add(-time.Minute), SessionID: newKey(), IssuedAt: at, ExpiresAt: at.Add(time.Minute),
	}
}

func newSession(subject string) *session.Record {
	at := now()
	return &session.Record{
		Session:   session.Session{ID: newKey(), Subject: subject, AuthTime: at},
		CreatedAt: at, LastSeenAt: at, ExpiresAt: at.Add(time.Hour), EndsAt: at.Add(12 * time.Hour),
	}
}

// saveCodes saves new codes and returns their hashes.
func saveCodes(t testing.TB, s *sqlstore.Store, n int) []string {
	t.Helper()
	hashes := make([]string, n)
	for i := range hashes {
		hashes[i] = newKey()
		if err := s.SaveCode(t.Context(), hashes[i], newCode()); err != nil {
			t.Fatal(err)
		}
	}
	return hashes
}

// must fails the test for the first of the errors.
func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// The tests start themselves as other processes: see child.
func TestMain(m *testing.M) {
	if task := os.Getenv("USHER_TASK"); task != "" {
		if err := child(task); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// It writes a line for every connection that is lost, of which these tests have many.
	if err := mysql.SetLogger(log.New(io.Discard, "", 0)); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
