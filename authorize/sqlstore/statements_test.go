package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding"
	"errors"
	"io"
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

// recorder is a database that notes its statements, with their deadlines, and finds
// nothing. It knows contexts, as the drivers of real ones do.
type recorder struct {
	mu        sync.Mutex
	texts     []string
	deadlines []time.Time
	values    []driver.Value // of statements that are no queries
	answer    []driver.Value // of queries for a record; nil: there is none
	fail      error          // of every transaction; nil: none fails
	// hang keeps queries of this text waiting until their context ends; empty: none.
	hang    string
	hanging chan struct{}
}

func (r *recorder) Connect(context.Context) (driver.Conn, error) { return recording{r}, nil }
func (r *recorder) Driver() driver.Driver                        { return nil }

type recording struct{ *recorder }

func (recording) Prepare(string) (driver.Stmt, error) { return nil, driver.ErrSkip }
func (recording) Close() error                        { return nil }
func (recording) Begin() (driver.Tx, error)           { return recording{}, nil }
func (r recording) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) {
	return recording{}, r.fail
}
func (recording) Commit() error   { return nil }
func (recording) Rollback() error { return nil }

func (r recording) note(ctx context.Context, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	deadline, _ := ctx.Deadline()
	r.texts, r.deadlines = append(r.texts, text), append(r.deadlines, deadline)
}

func (r recording) ExecContext(ctx context.Context, text string, values []driver.NamedValue) (driver.Result, error) {
	r.note(ctx, text)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range values {
		r.values = append(r.values, v.Value)
	}
	return driver.RowsAffected(0), nil
}

func (r recording) QueryContext(ctx context.Context, text string, _ []driver.NamedValue) (driver.Rows, error) {
	r.note(ctx, text)
	if r.hang != "" && strings.HasPrefix(text, r.hang) {
		close(r.hanging)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	switch {
	case strings.Contains(text, "MAX(version)"):
		return &row{values: []driver.Value{int64(0)}}, nil
	case strings.Contains(text, "@@autocommit"):
		return &row{values: []driver.Value{int64(1), "utf8mb4"}}, nil
	case strings.Contains(text, "GET_LOCK"):
		return &row{values: []driver.Value{int64(1)}}, nil
	case r.answer != nil && strings.HasPrefix(text, "SELECT record"):
		return &row{values: slices.Clone(r.answer)}, nil
	}
	return none{}, nil
}

type row struct{ values []driver.Value }

func (r *row) Columns() []string { return make([]string, len(r.values)) }
func (r *row) Close() error      { return nil }
func (r *row) Next(to []driver.Value) error {
	if len(to) == 0 || r.values == nil {
		return io.EOF
	}
	copy(to, r.values)
	r.values = nil
	return nil
}

func newRecorder(t *testing.T, config Config) (*recorder, *Store) {
	t.Helper()
	r := &recorder{hanging: make(chan struct{})}
	db := sql.OpenDB(r)
	t.Cleanup(func() { db.Close() })
	config.DB, config.Unprepared = db, true
	s, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return r, s
}

// everything calls all methods.
func everything(t *testing.T, s *Store) {
	t.Helper()
	ctx, at := t.Context(), time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	_, clientErr := s.Client(ctx, "wiki")
	_, listErr := s.ListClients(ctx, "", 1)
	_, codeErr := s.FindCode(ctx, "hash")
	_, _, takeErr := s.TakeCode(ctx, "hash", at)
	_, consentErr := s.FindConsent(ctx, "alice", "wiki")
	_, consentsErr := s.ListConsents(ctx, "alice")
	_, sessionErr := s.FindSession(ctx, "key")
	_, purgeErr := s.Purge(ctx)
	for i, err := range []error{
		clientErr, listErr, codeErr, takeErr, consentErr, consentsErr, sessionErr, purgeErr,
		s.PutClient(ctx, authorize.Client{ID: "wiki"}), s.DeleteClient(ctx, "wiki"),
		s.SaveCode(ctx, "hash", &authorize.Code{}),
		s.SaveConsent(ctx, &authorize.ConsentRecord{}), s.DeleteConsent(ctx, "alice", "wiki"),
		s.SaveSession(ctx, "key", &session.Record{}), s.TouchSession(ctx, "key", at, at),
		s.DeleteSession(ctx, "key"), s.DeleteSessionsOf(ctx, "alice"),
	} {
		if err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
	s.purge.done.Wait()
}

// No clock but the endpoint's decides anything, no value is a part of a statement, and
// Migrate takes nothing away.
func TestStatementsOfEveryMethod(t *testing.T) {
	clock := regexp.MustCompile(`(?i)\b(now|current_\w+|clock_timestamp|statement_timestamp|localtime\w*|sysdate|unix_timestamp|utc_\w+|curtime|curdate|getdate|datetime|date|julianday|strftime|unixepoch|extract|interval)\b`)
	value := regexp.MustCompile(`'|"`)
	taking := regexp.MustCompile(`(?i)\b(drop|delete|truncate|rename|alter)\b`)
	for _, dialect := range []Dialect{SQLite, PostgreSQL, MySQL} {
		t.Run(string(dialect), func(t *testing.T) {
			r, s := newRecorder(t, Config{Dialect: dialect, Prefix: "x_"})
			if err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			if len(r.texts) < 10 {
				t.Errorf("Migrate has only %d statements", len(r.texts))
			}
			for _, text := range r.texts {
				if taking.MatchString(text) {
					t.Errorf("Migrate takes something away: %s", text)
				}
			}
			migrated := len(r.texts)
			everything(t, s)
			for _, text := range r.texts {
				if found := clock.FindString(text); found != "" {
					t.Errorf("the database is asked for its time by %s: %s", found, text)
				}
				if strings.Contains(text, "usher_") {
					t.Errorf("a table without the prefix: %s", text)
				}
			}
			for _, text := range r.texts[migrated:] {
				if value.MatchString(text) {
					t.Errorf("a value in the text: %s", text)
				}
			}
		})
	}
}

// A take has one time limit and not one for each of its statements.
func TestATakeHasOneLimit(t *testing.T) {
	r, s := newRecorder(t, Config{Dialect: SQLite, Timeout: time.Hour})
	if _, _, err := s.TakeCode(t.Context(), "hash", time.Now()); err != nil {
		t.Fatal(err)
	}
	if len(r.deadlines) != 2 || r.deadlines[0].IsZero() || !r.deadlines[0].Equal(r.deadlines[1]) {
		t.Errorf("the deadlines are %v", r.deadlines)
	}
}

// A driver may say no more than that its connection is gone.
func TestMigrateSaysThatItsTimeIsUp(t *testing.T) {
	r, s := newRecorder(t, Config{Dialect: PostgreSQL})
	r.hang, r.fail = "SELECT COALESCE", io.ErrUnexpectedEOF
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := s.Migrate(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// A database that does not answer the purge of the store's own keeps Close from nothing.
func TestCloseEndsAPurge(t *testing.T) {
	r, s := newRecorder(t, Config{Dialect: SQLite, Timeout: time.Hour})
	r.hang = "SELECT hash"
	if err := s.SaveCode(t.Context(), "hash", &authorize.Code{}); err != nil {
		t.Fatal(err)
	}
	<-r.hanging
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if s.purge.cancel != nil {
		t.Error("the purge goes on")
	}
}

// What is in the database is what MarshalBinary writes: no name of a field in Go, and
// nothing that a text loses. What is beside it is read in its place.
func TestRecordsAreBinary(t *testing.T) {
	at := time.UnixMicro(1_770_000_000_000_000).UTC()
	client := authorize.Client{ID: "wiki", Name: "\xff", RedirectURIs: []string{"https://wiki.example/cb"}, ResponseTypes: []string{}}
	code := &authorize.Code{ClientID: "wiki", Subject: "\xff", Scopes: []string{}, IssuedAt: at, ExpiresAt: at, UsedAt: at}
	usedLater := code.Clone()
	usedLater.UsedAt = at.Add(time.Second)
	consent := &authorize.ConsentRecord{Subject: "\xff", ClientID: "wiki", GrantedAt: at}
	rec := &session.Record{Session: session.Session{ID: "k", Subject: "\xff", Data: []byte{}}, LastSeenAt: at, ExpiresAt: at}
	r, s := newRecorder(t, Config{Dialect: SQLite})
	for _, row := range []struct {
		kind   string
		save   func() error
		record encoding.BinaryMarshaler
		find   func() (any, error)
		beside []driver.Value // what the columns after the record have by now
		want   any
	}{
		{"client", func() error { return s.PutClient(t.Context(), client) }, client,
			func() (any, error) { return s.Client(t.Context(), "wiki") }, nil, &client},
		{"code", func() error { return s.SaveCode(t.Context(), "hash", code) }, code,
			func() (any, error) { return s.FindCode(t.Context(), "hash") }, []driver.Value{usedLater.UsedAt.UnixMilli()}, usedLater},
		{"consent", func() error { return s.SaveConsent(t.Context(), consent) }, consent,
			func() (any, error) { return s.FindConsent(t.Context(), "\xff", "wiki") }, nil, consent},
		{"session", func() error { return s.SaveSession(t.Context(), "k", rec) }, rec,
			func() (any, error) { return s.FindSession(t.Context(), "k") },
			[]driver.Value{at.Add(time.Second).UnixMicro(), at.Add(time.Minute).UnixMicro()},
			&session.Record{Session: rec.Session, LastSeenAt: at.Add(time.Second), ExpiresAt: at.Add(time.Minute)}},
	} {
		t.Run(row.kind, func(t *testing.T) {
			r.values, r.answer = nil, nil
			if err := row.save(); err != nil {
				t.Fatal(err)
			}
			s.purge.done.Wait()
			record, err := row.record.MarshalBinary()
			if err != nil || !slices.ContainsFunc(r.values, func(v driver.Value) bool {
				b, _ := v.([]byte)
				return bytes.Equal(b, record)
			}) {
				t.Errorf("%s is not among the values %q, %v", record, r.values, err)
			}
			r.answer = append([]driver.Value{record}, row.beside...)
			got, err := row.find()
			if diff := cmp.Diff(row.want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got)\n%s", err, diff)
			}
			r.answer[0] = bytes.Replace(record, []byte(`"version":1`), []byte(`"version":2`), 1)
			if got, err := row.find(); err == nil || !strings.HasPrefix(err.Error(), "sqlstore: find a "+row.kind+": ") {
				t.Errorf("a record of a later version was read as %v, %v", got, err)
			}
		})
	}
	// A code that was used in another store stays used here.
	r.values = nil
	err := s.SaveCode(t.Context(), "hash", code)
	s.purge.done.Wait()
	if err != nil || len(r.values) < 7 || r.values[6] != driver.Value(at.UnixMilli()) {
		t.Errorf("saved with the values %v, %v", r.values, err)
	}
}
