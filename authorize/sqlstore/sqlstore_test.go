package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/session"
)

// What the store does over real databases is in the module servertest. Here a driver
// stands in that notes what it is asked and answers nothing.

type quiet struct {
	mu       sync.Mutex
	prepared []string
	closed   int
	fail     error
	failOn   string        // only statements with it fail; empty: all
	hold     chan struct{} // closed: answer at once
	asked    chan struct{} // told of queries; nil: not
}

func (q *quiet) Connect(context.Context) (driver.Conn, error) { return conn{q}, nil }
func (q *quiet) Driver() driver.Driver                        { return nil }

type conn struct{ q *quiet }

func (c conn) Prepare(text string) (driver.Stmt, error) {
	c.q.mu.Lock()
	defer c.q.mu.Unlock()
	if c.q.fail != nil && strings.Contains(text, c.q.failOn) {
		return nil, c.q.fail
	}
	c.q.prepared = append(c.q.prepared, text)
	return stmt(c), nil
}
func (c conn) Close() error              { return nil }
func (c conn) Begin() (driver.Tx, error) { return nil, errors.New("no transactions") }

type stmt struct{ q *quiet }

func (s stmt) Close() error {
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	s.q.closed++
	return nil
}
func (s stmt) NumInput() int                              { return -1 }
func (s stmt) Exec([]driver.Value) (driver.Result, error) { return driver.RowsAffected(1), nil }
func (s stmt) Query([]driver.Value) (driver.Rows, error) {
	if s.q.asked != nil {
		s.q.asked <- struct{}{}
	}
	<-s.q.hold
	return none{}, nil
}

type none struct{}

func (none) Columns() []string         { return []string{"a"} }
func (none) Close() error              { return nil }
func (none) Next([]driver.Value) error { return io.EOF }

func newQuiet(t *testing.T, config Config) (*quiet, *Store) {
	t.Helper()
	q := &quiet{hold: make(chan struct{})}
	close(q.hold)
	db := sql.OpenDB(q)
	t.Cleanup(func() { db.Close() })
	config.DB = db
	if config.Dialect == "" {
		config.Dialect = SQLite
	}
	s, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return q, s
}

func TestNewNamesTheFieldThatIsWrong(t *testing.T) {
	db := sql.OpenDB(&quiet{})
	defer db.Close()
	for _, c := range []struct {
		rule   string
		config Config
		want   string // empty: it is fine
	}{
		{"the least", Config{DB: db, Dialect: SQLite}, ""},
		{"everything", Config{DB: db, Dialect: MySQL, Prefix: "tenant7_", KeepExpired: time.Hour, Timeout: time.Minute, Unprepared: true}, ""},
		{"no database", Config{Dialect: SQLite}, "Config.DB"},
		{"no dialect", Config{DB: db}, "Config.Dialect"},
		{"an unknown dialect", Config{DB: db, Dialect: "oracle"}, "Config.Dialect"},
		{"a prefix with a capital", Config{DB: db, Dialect: SQLite, Prefix: "Usher_"}, "Config.Prefix"},
		{"a prefix with a statement", Config{DB: db, Dialect: SQLite, Prefix: "a; DROP TABLE x"}, "Config.Prefix"},
		{"a prefix that begins with a digit", Config{DB: db, Dialect: SQLite, Prefix: "7"}, "Config.Prefix"},
		{"a long prefix", Config{DB: db, Dialect: SQLite, Prefix: strings.Repeat("a", 31)}, "Config.Prefix"},
		{"a negative time to keep", Config{DB: db, Dialect: SQLite, KeepExpired: -1}, "Config.KeepExpired"},
		{"a negative number of sessions", Config{DB: db, Dialect: SQLite, MaxSessionsPerSubject: -1}, "Config.MaxSessionsPerSubject"},
		{"one session", Config{DB: db, Dialect: SQLite, MaxSessionsPerSubject: 1}, ""},
		{"a negative time limit", Config{DB: db, Dialect: SQLite, Timeout: -1}, "Config.Timeout"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s, err := New(c.config)
			if c.want == "" && (err != nil || s == nil) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestStatementsInEachDialect(t *testing.T) {
	const query = "UPDATE usher_codes SET a = ? WHERE b = ? AND c = ?"
	const dollars = "UPDATE x_codes SET a = $1 WHERE b = $2 AND c = $3"
	const questions = "UPDATE x_codes SET a = ? WHERE b = ? AND c = ?"
	const onConflict = " ON CONFLICT (k) DO UPDATE SET a = excluded.a, b = excluded.b"
	for _, c := range []struct {
		dialect         Dialect
		text, orReplace string
	}{
		{SQLite, questions, onConflict},
		{PostgreSQL, dollars, onConflict},
		{MySQL, questions, " ON DUPLICATE KEY UPDATE a = VALUES(a), b = VALUES(b)"},
	} {
		t.Run(string(c.dialect), func(t *testing.T) {
			_, s := newQuiet(t, Config{Dialect: c.dialect, Prefix: "x_"})
			if got := s.text(query); got != c.text {
				t.Errorf("%s, want %s", got, c.text)
			}
			if got := c.dialect.orReplace("k", "a", "b"); got != c.orReplace {
				t.Errorf("%s, want %s", got, c.orReplace)
			}
		})
	}
}

// The three schemas have the same tables, columns and indexes, and take nothing away.
func TestSchemas(t *testing.T) {
	table := regexp.MustCompile(`CREATE TABLE (?:IF NOT EXISTS )?(usher_\w+)`)
	column := regexp.MustCompile(`^\t([a-z_]+) +[A-Za-z]`)
	index := regexp.MustCompile(`INDEX (usher_\w+)`)
	parts := map[string][]string{}
	for _, dialect := range []Dialect{SQLite, PostgreSQL, MySQL} {
		files, err := fs.Glob(schemas, "schema/"+string(dialect)+"/*.sql")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s has the files %v, %v", dialect, files, err)
		}
		for _, file := range files {
			text, err := schemas.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if bad := regexp.MustCompile(`(?i)\b(DROP|DELETE|TRUNCATE|RENAME)\b`).FindString(string(text)); bad != "" {
				t.Errorf("%s has %s", file, bad)
			}
			for line := range strings.SplitSeq(string(text), "\n") {
				for _, pattern := range []*regexp.Regexp{table, column, index} {
					if found := pattern.FindStringSubmatch(line); found != nil {
						parts[string(dialect)] = append(parts[string(dialect)], found[1])
					}
				}
			}
		}
		slices.Sort(parts[string(dialect)])
	}
	if diff := cmp.Diff(parts["sqlite"], parts["postgresql"]); diff != "" || len(parts["sqlite"]) < 20 {
		t.Errorf("(-sqlite +postgresql)\n%s", diff)
	}
	if diff := cmp.Diff(parts["sqlite"], parts["mysql"]); diff != "" {
		t.Errorf("(-sqlite +mysql)\n%s", diff)
	}
}

func TestStatementsArePreparedOnce(t *testing.T) {
	q, s := newQuiet(t, Config{})
	for range 3 {
		if code, err := s.FindCode(t.Context(), "h"); code != nil || err != nil {
			t.Errorf("%v, %v", code, err)
		}
	}
	if len(q.prepared) != 1 {
		t.Errorf("prepared were %q", q.prepared)
	}
	if err := s.Close(); err != nil || q.closed != 1 {
		t.Errorf("closed: %d, %v", q.closed, err)
	}
	if _, err := s.FindCode(t.Context(), "h"); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close once more: %v", err)
	}
}

// What could not be prepared is tried again the next time.
func TestAFailureToPrepareDoesNotStay(t *testing.T) {
	q, s := newQuiet(t, Config{})
	q.fail = errors.New("no such table")
	if _, err := s.FindSession(t.Context(), "k"); !errors.Is(err, q.fail) || !strings.Contains(err.Error(), "find a session") {
		t.Error(err)
	}
	q.fail = nil
	if _, err := s.FindSession(t.Context(), "k"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// A session that is stored is stored, whatever becomes of those that are too many.
func TestAFailureToMakeRoomIsLogged(t *testing.T) {
	var log bytes.Buffer
	q, s := newQuiet(t, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	q.fail, q.failOn = errors.New("the disk is on fire"), "DESC"
	if err := s.SaveSession(t.Context(), "k", &session.Record{}); err != nil {
		t.Errorf("saving: %v", err)
	}
	s.purge.done.Wait()
	if !strings.Contains(log.String(), "MaxSessionsPerSubject") || !strings.Contains(log.String(), "on fire") {
		t.Errorf("the log has %q", log.String())
	}
	log.Reset()
	q.failOn = "INSERT"
	clear(s.statements)
	if err := s.SaveSession(t.Context(), "k", &session.Record{}); !errors.Is(err, q.fail) || log.Len() > 0 {
		t.Errorf("saving where that fails: %v, %q", err, log.String())
	}
}

func TestUnpreparedStatementsAreSentEachTime(t *testing.T) {
	q, s := newQuiet(t, Config{Unprepared: true})
	for range 3 {
		if _, err := s.FindCode(t.Context(), "h"); err != nil {
			t.Error(err)
		}
	}
	if len(q.prepared) != 3 || q.closed != 3 { // database/sql does it for a driver that can do no better
		t.Errorf("prepared were %d, closed %d", len(q.prepared), q.closed)
	}
}

func TestTheTimeLimitIsInTheError(t *testing.T) {
	q, s := newQuiet(t, Config{Timeout: time.Millisecond})
	q.hold, q.asked = make(chan struct{}), make(chan struct{})
	// The driver knows no context: only the wait for a connection ends.
	s.db.SetMaxOpenConns(1)
	first := make(chan error)
	go func() {
		_, err := s.FindCode(context.Background(), "h")
		first <- err
	}()
	<-q.asked
	if _, err := s.FindSession(t.Context(), "k"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	close(q.hold)
	<-first
}

func TestKeysThatNobodyStores(t *testing.T) {
	_, s := newQuiet(t, Config{})
	long := strings.Repeat("k", 256)
	for rule, key := range map[string]string{"an empty key": "", "a long key": long} {
		t.Run(rule, func(t *testing.T) {
			if err := s.SaveCode(t.Context(), key, &authorize.Code{}); !errors.Is(err, errKey) {
				t.Errorf("a code: %v", err)
			}
			if err := s.SaveSession(t.Context(), key, &session.Record{}); !errors.Is(err, errKey) {
				t.Errorf("a session: %v", err)
			}
		})
	}
	if code, taken, err := s.TakeCode(t.Context(), long, time.Now()); code != nil || taken || err != nil {
		t.Errorf("%v, %t, %v", code, taken, err)
	}
	named := authorize.Client{ID: "a", RedirectURIs: []string{"cursor://cb"}, PrivateUseSchemes: []string{"cursor"}}
	if err := s.PutClient(t.Context(), named); err != nil {
		t.Errorf("a scheme that is named: %v", err)
	}
	named.PrivateUseSchemes = nil
	for rule, c := range map[string]authorize.Client{
		"a client without an ID": {}, "a client with a long ID": {ID: strings.Repeat("c", 2049)}, "a client whose ID is not UTF-8": {ID: "\xff"},
		"a redirect URI by http": {ID: "a", RedirectURIs: []string{"http://evil.example/"}}, "a scheme that is not named": named,
	} {
		t.Run(rule, func(t *testing.T) {
			if err := s.PutClient(t.Context(), c); err == nil {
				t.Error("the client was stored")
			}
		})
	}
	if _, err := s.ListClients(t.Context(), "", 0); err == nil {
		t.Error("a list of no length")
	}
}

// The purge that a store begins on its own comes once a minute, keeps nobody waiting and
// ends with the store.
func TestThePurgeOfItsOwn(t *testing.T) {
	var mu sync.Mutex
	clock := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	q, s := newQuiet(t, Config{Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return clock }})
	q.hold = make(chan struct{})
	save := func() {
		t.Helper()
		if err := s.SaveCode(t.Context(), "h", &authorize.Code{}); err != nil {
			t.Fatal(err)
		}
	}
	purges := func() (n int) {
		q.mu.Lock()
		defer q.mu.Unlock()
		for _, text := range q.prepared {
			if strings.HasPrefix(text, "SELECT hash FROM usher_codes WHERE expires_ms") {
				n++
			}
		}
		return n
	}
	save() // begins a purge, which gets no answer
	save() // does not wait for it
	close(q.hold)
	s.purge.done.Wait()
	if n := purges(); n != 1 {
		t.Errorf("%d purges", n)
	}
	last := s.purge.last
	mu.Lock()
	clock = clock.Add(purgeInterval - time.Second)
	mu.Unlock()
	save()
	s.purge.done.Wait()
	if s.purge.last != last {
		t.Error("there was another within the minute")
	}
	mu.Lock()
	clock = clock.Add(time.Second)
	mu.Unlock()
	save()
	s.purge.done.Wait()
	if s.purge.last == last {
		t.Error("there was none after a minute")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	s.purgeSoon()
	if !s.purge.closed || s.purge.cancel != nil {
		t.Error("a purge began after Close")
	}
}
