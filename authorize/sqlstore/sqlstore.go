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
// endpoint's configuration, and into Store of session.Config. Call [Store.Migrate] at every
// start, from any number of replicas: it creates missing tables and drops nothing.
// [Store.PutClient] adds clients.
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
// Migrate logs which of these settings is missing. An SQLite file serves any number of
// processes on one machine. The store deletes expired rows in small batches in the
// background. A host that issues more than 500 codes a minute should also call
// [Store.Purge] every minute.
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
// share them. Values that statements change or search for are in columns of their own. Three
// of these replace the value in the record: used_ms of a code, and last_seen_us and expires_us
// of a session. Codes, sessions and ids are compared as bytes, whatever the database's
// collation. Times are whole numbers since 1970 in UTC: codes and consents in milliseconds,
// sessions in microseconds. No statement uses the clock of the database. The endpoint's
// clock decides whether a code or a session is valid; [Config].Now only decides when expired
// rows are deleted. The database has the hash of a code and the record of what it grants, but
// never the code itself or the value of a cookie.
//
// An auditor reads PostgreSQL with
//
//	SELECT convert_from(client_id, 'UTF8'), convert_from(subject, 'UTF8'), to_timestamp(issued_ms / 1000.0),
//	       to_timestamp(used_ms / 1000.0), convert_from(record, 'UTF8')::json->>'redirect_uri' FROM usher_codes;
//
// and the others without the conversion. A subject_hash is the SHA-256 of a
// subject. Codes are deleted after a while, so write a permanent audit log from
// [authorize.Config].OnEvent. All users of the machine can read an SQLite file, unless the
// process has a umask of 077.
//
// # Atomicity and durability
//
// Every method is one statement, or one and a SELECT of its result, so each takes effect as a
// whole in the database's default isolation level. SaveSession is the exception: after the
// INSERT it deletes the user's sessions that are over the limit. In a stricter isolation level
// some concurrent calls fail with an error, which approves nothing. One UPDATE marks a code as
// used. If the response to it is lost, the call is an error and the code may be used, but it
// was not approved twice. Durability depends on the database: with SQLite set
// synchronous(FULL), with PostgreSQL leave synchronous_commit on, with MariaDB and MySQL leave
// innodb_flush_log_at_trx_commit at 1, and read from the primary only. Otherwise a crash can
// bring a used code back.
//
// # Failover
//
// After a failover a connection may still lead to the former primary, and read sessions
// there that have ended. With MariaDB and MySQL set rejectReadOnly=true in the data source,
// with PostgreSQL and pgx target_session_attrs=read-write, and with all of them
// [sql.DB.SetConnMaxLifetime] to a few minutes.
//
// # Poolers
//
// Statements are prepared once. Behind PgBouncer in transaction mode this needs version
// 1.21 with max_prepared_statements. Otherwise set [Config].Unprepared and use a driver that
// prepares nothing by itself: with pgx, default_query_exec_mode=exec in the DSN. Nothing else
// lasts longer than a transaction: Migrate takes its lock inside of one. A store has about
// twenty statements. A server that limits their number, as MySQL's max_prepared_stmt_count
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
	// DB is the database. The host closes it, after the store. Limit its pool with
	// SetMaxOpenConns and SetMaxIdleConns, to 10 for a start. Without a limit it opens a
	// connection for every call that finds none free, and keeps two. For an SQLite database
	// in memory (":memory:") call SetMaxOpenConns(1): each connection has its own database.
	DB *sql.DB

	// Dialect is the SQL dialect of the database.
	Dialect Dialect

	// Prefix begins the name of every table and index: up to 30 lower-case letters,
	// digits and '_', a letter first. Stores with different prefixes share nothing. Use
	// one prefix for each issuer of a host with tenants. Empty: "usher_".
	Prefix string

	// KeepExpired is how long a code is kept after its expiry. Until then a replay can be
	// told from an unknown code, and a used code can be found. Zero: 24 hours. Less than
	// 5 minutes counts as 5 minutes, because clocks of replicas may be behind. It must not
	// be negative.
	KeepExpired time.Duration

	// MaxSessionsPerSubject limits the finished sessions of one subject, and separately its
	// sign-ins whose second factor is pending. One more sign-in ends the session of the same
	// subject and kind that expires first. Concurrent sign-ins may exceed the limit until
	// the next sign-in. Zero: 1,000. It must not be negative.
	MaxSessionsPerSubject int

	// Timeout limits every call whose context has no earlier deadline. Zero: 5 s. It must
	// not be negative.
	Timeout time.Duration

	// Unprepared sends the text of a statement with every call instead of preparing it once.
	// Set it for poolers that may run each transaction on another connection.
	Unprepared bool

	// Now is the clock by which expired records are purged. It decides nothing else.
	// Nil: time.Now.
	Now func() time.Time

	// Logger gets the warnings of Migrate about settings. It also gets a warning when a purge
	// that the store started fails, or when it cannot delete sessions over the limit. Nil: no log.
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

	checked    atomic.Bool // checkConnection has accepted the connections
	mu         sync.Mutex
	statements map[string]*sql.Stmt // by their text in this package; nil: the store is closed
	outdates   int                  // how many of them had to be prepared again
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
// call [Store.Migrate] once, or create the tables in another way. The error names the
// field that is wrong.
func New(config Config) (*Store, error) {
	prefix := cmp.Or(config.Prefix, "usher_")
	switch {
	case config.DB == nil:
		return nil, errors.New("sqlstore: Config.DB is nil: open one with sql.Open and a driver")
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

// Close stops a purge that the store started, and closes the store's statements. The
// store cannot be used afterwards, but the database can.
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
