// Package sqlstore keeps clients, codes, consents and sessions in an SQL database:
// SQLite, PostgreSQL, MariaDB or MySQL, through database/sql and a driver that the host
// imports.
//
//	db, err := sql.Open("sqlite", "file:usher.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)"+
//		"&_pragma=synchronous(FULL)&_txlock=immediate")
//	...
//	store, err := sqlstore.New(sqlstore.Config{DB: db, Dialect: sqlstore.SQLite})
//	...
//	err = store.Migrate(ctx)
//
// The [Store] goes where a Memory would: into Clients, Codes and Consent.Store of the
// endpoint's configuration, and into Store of session.Config. [Store.Migrate] makes what is
// missing at every start, from any number of replicas, and drops nothing; [Store.PutClient]
// adds clients.
//
// # Which database
//
//	database        sql.Open                                       Dialect     settings for its promises
//	SQLite          "sqlite" (modernc.org/sqlite), as above        SQLite      synchronous(FULL)
//	PostgreSQL      "pgx" (jackc/pgx/v5/stdlib), a URL with        PostgreSQL  synchronous_commit and fsync on
//	                target_session_attrs=read-write
//	MariaDB, MySQL  "mysql" (go-sql-driver/mysql), a DSN with      MySQL       innodb_flush_log_at_trx_commit 1
//	                charset=utf8mb4&rejectReadOnly=true
//
// Migrate says in the log which of these settings is missing. An SQLite file serves any
// number of processes on one machine. What has expired is deleted in small batches beside
// the work, and by [Store.Purge], to be called every minute by a host that issues more than
// 500 codes a minute.
//
// # What it costs
//
// Microseconds to save, find and take one code, with one caller and with 32 at once, and how
// many times that of memory:
//
//	memory                                                   5.2            7.8
//	SQLite, synchronous(FULL)                                740 (140 ×)    680 (87 ×)
//	PostgreSQL 15, fsync and synchronous_commit on           930 (180 ×)    460 (59 ×)
//	MariaDB 10.11, innodb_flush_log_at_trx_commit 1        1,170 (225 ×)    360 (46 ×)
//	Redis 7.0, no persistence                                200 (38 ×)     130 (17 ×)
//	Redis 7.0, appendfsync always                            990 (190 ×)    140 (18 ×)
//	Redis 7.0, Replicas: 1, on one machine                   530 (100 ×)    180 (23 ×)
//	Redis Cluster, 3 nodes on one machine                    370 (72 ×)     180 (23 ×)
//
// Orders of magnitude: medians of three runs on a virtual machine with 2 cores of an AMD EPYC
// that had other work too, server and client on the same machine over Unix sockets, the
// cluster over loopback. The command, in the folders servertest and ../redisstore:
//
//	go test -run '^$' -bench SaveFindTake -benchtime 2s -count 3 .
//
// # What is kept, and how
//
// The tables are in the schema folder. A record is what MarshalBinary writes, which is
// JSON: see [authorize.Code.MarshalBinary], which also says how replicas of two releases
// share them. What statements change or look for is in columns beside it: the used_ms of a
// code, and the last_seen_us and expires_us of a session, count in the place of what the
// record says. Codes, sessions and ids are compared as bytes, whatever the database's
// collation. Times are whole numbers since 1970 in UTC: codes and consents in milliseconds,
// sessions in microseconds. No statement asks the database for its time: the endpoint's
// clock decides whether a code or a session is good, and [Config].Now only when space is
// reclaimed. A code is stored under its hash with what it stands for; neither the code nor
// a cookie's value is ever in the database.
//
// An auditor reads PostgreSQL with
//
//	SELECT convert_from(client_id, 'UTF8'), convert_from(subject, 'UTF8'), to_timestamp(issued_ms / 1000.0),
//	       to_timestamp(used_ms / 1000.0), convert_from(record, 'UTF8')::json->>'redirect_uri' FROM usher_codes;
//
// and the others without the conversion. A subject_hash is the SHA-256 of a
// subject. Codes go with time, so what has to last is [authorize.Config].OnEvent's to
// write down. An SQLite file is readable by all users of the machine unless the process
// has a umask of 077.
//
// # When it is taken to be written
//
// Every method is one statement, or one and a look at its result, so each takes effect as a
// whole in the database's default isolation. Only SaveSession cleans up after itself: it
// deletes what is too many of a user's sessions when the new one is stored. With stricter
// isolation some concurrent calls fail with an error, which approves nothing. A code is
// used up by one UPDATE: if its answer is lost, the call is an error and the code may be
// used, but it was not approved twice. How durable that is, is up to the database: with
// SQLite set synchronous(FULL), with PostgreSQL leave synchronous_commit on, with MariaDB
// and MySQL leave innodb_flush_log_at_trx_commit at 1, and read from the primary only.
// Otherwise a crash can bring a used code back.
//
// # When the database moves
//
// After a failover a connection may still lead to what was the primary, and read there
// what has ended. With MariaDB and MySQL set rejectReadOnly=true in the data source, with
// PostgreSQL and pgx target_session_attrs=read-write, and everywhere
// [sql.DB.SetConnMaxLifetime] to a few minutes.
//
// # Poolers
//
// Statements are prepared once. Behind PgBouncer in transaction mode that needs version
// 1.21 with max_prepared_statements, or [Config].Unprepared and a driver that prepares
// nothing by itself: with pgx, default_query_exec_mode=exec in the DSN. Nothing else
// outlives a transaction: Migrate takes its lock inside of one. A store has about twenty
// statements, and a server that bounds their number, as MySQL's max_prepared_stmt_count
// does, counts them for each connection.
package sqlstore

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/session"
)

// Config configures [New]. DB and Dialect are required.
type Config struct {
	// DB is the database. It stays the host's, which closes it after the store. Bound its
	// pool with SetMaxOpenConns and SetMaxIdleConns, to 10 for a start: without, it opens
	// a connection for every call that finds none free, and keeps two. For an SQLite database
	// in memory (":memory:") SetMaxOpenConns(1): each connection has another one.
	DB *sql.DB

	// Dialect is what the database speaks.
	Dialect Dialect

	// Prefix begins the name of every table and index: up to 30 lower-case letters,
	// digits and '_', a letter first. Stores with different prefixes know nothing of
	// each other, as the issuers of a host with tenants should. Empty: "usher_".
	Prefix string

	// KeepExpired is how long past its expiry a code is remembered, so that a replay
	// can be told from an unknown code and a used one be looked up. Zero: 24 hours. Less
	// than 5 minutes is 5 minutes, for the clocks of replicas that are behind. It must not
	// be negative.
	KeepExpired time.Duration

	// MaxSessionsPerSubject is the most finished sessions of one subject that are kept, and
	// the most of its sign-ins whose second factor is pending: each kind has a share of
	// this size. One more sign-in ends that session of the same subject and kind that
	// expires first; sign-ins at the same moment may be kept beyond it until the next one.
	// Zero: 1,000. It must not be negative.
	MaxSessionsPerSubject int

	// Timeout bounds every call that comes without a nearer deadline. Zero: 5 s. It
	// must not be negative.
	Timeout time.Duration

	// Unprepared sends every statement as it is instead of preparing it once, for
	// poolers that hand each transaction to another connection.
	Unprepared bool

	// Now is the clock by which expired records are purged. It decides nothing else.
	// Nil: time.Now.
	Now func() time.Time

	// Logger is told when a purge that the store began on its own fails, and when the
	// sessions that are too many could not be deleted. Nil: nobody.
	Logger *slog.Logger
}

// Store is an [authorize.ClientStore], [authorize.CodeStore], [authorize.ConsentStore]
// and [session.Store]. It is safe for concurrent use, by any number of processes.
type Store struct {
	db          *sql.DB
	dialect     Dialect
	prefix      string
	keepExpired time.Duration
	maxSessions int // of one subject and kind
	timeout     time.Duration
	unprepared  bool
	now         func() time.Time
	log         *slog.Logger

	checked    atomic.Bool // the connections are as they have to be
	mu         sync.Mutex
	statements map[string]*sql.Stmt // by their text in this package; nil: the store is closed
	outdates   int                  // how many of them had to be made anew
	purge      background
}

var (
	_ authorize.ClientStore  = (*Store)(nil)
	_ authorize.CodeStore    = (*Store)(nil)
	_ authorize.ConsentStore = (*Store)(nil)
	_ session.Store          = (*Store)(nil)
)

var validPrefix = regexp.MustCompile(`^[a-z][a-z0-9_]{0,29}$`)

// New checks the configuration and returns the store. It does not talk to the database:
// call [Store.Migrate] once, or see to the tables in another way. The error names the
// field that is wrong.
func New(config Config) (*Store, error) {
	prefix := cmp.Or(config.Prefix, "usher_")
	switch {
	case config.DB == nil:
		return nil, errors.New("sqlstore: Config.DB is nil: open one with sql.Open and a driver of yours")
	case !config.Dialect.known():
		return nil, fmt.Errorf("sqlstore: Config.Dialect is %q: set SQLite, PostgreSQL or MySQL",
			string(config.Dialect))
	case !validPrefix.MatchString(prefix):
		return nil, fmt.Errorf("sqlstore: Config.Prefix is %q: "+
			"use up to 30 lower-case letters, digits and '_', a letter first", prefix)
	case config.KeepExpired < 0:
		return nil, fmt.Errorf("sqlstore: Config.KeepExpired is %v: use 0 for 24 hours, or more", config.KeepExpired)
	case config.MaxSessionsPerSubject < 0:
		return nil, fmt.Errorf("sqlstore: Config.MaxSessionsPerSubject is %d: use 0 for 1,000, or more",
			config.MaxSessionsPerSubject)
	case config.Timeout < 0:
		return nil, fmt.Errorf("sqlstore: Config.Timeout is %v: use 0 for 5 seconds, or more", config.Timeout)
	}
	s := &Store{
		db:          config.DB,
		dialect:     config.Dialect,
		prefix:      prefix,
		keepExpired: cmp.Or(config.KeepExpired, 24*time.Hour),
		maxSessions: cmp.Or(config.MaxSessionsPerSubject, 1000),
		timeout:     cmp.Or(config.Timeout, 5*time.Second),
		unprepared:  config.Unprepared,
		now:         config.Now,
		log:         config.Logger,
		statements:  map[string]*sql.Stmt{},
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s, nil
}

// Close ends a purge that the store began on its own and closes its statements. The
// store cannot be used afterwards; the database can.
func (s *Store) Close() error {
	s.purge.end()
	s.mu.Lock()
	statements := s.statements
	s.statements = nil
	s.mu.Unlock()
	var errs []error
	for _, statement := range statements {
		errs = append(errs, statement.Close()) // which waits for calls that use it
	}
	return errors.Join(errs...)
}
