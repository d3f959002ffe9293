package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"regexp"
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
	fail      error // of every transaction; nil: none fails
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

func (r recording) ExecContext(ctx context.Context, text string, _ []driver.NamedValue) (driver.Result, error) {
	r.note(ctx, text)
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
		r, s := newRecorder(t, Config{Dialect: dialect, Prefix: "x_"})
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatalf("%s: %v", dialect, err)
		}
		if len(r.texts) < 10 {
			t.Errorf("%s: Migrate has only %d statements", dialect, len(r.texts))
		}
		for _, text := range r.texts {
			if taking.MatchString(text) {
				t.Errorf("%s: Migrate takes something away: %s", dialect, text)
			}
		}
		migrated := len(r.texts)
		everything(t, s)
		for _, text := range r.texts {
			if found := clock.FindString(text); found != "" {
				t.Errorf("%s: the database is asked for its time by %s: %s", dialect, found, text)
			}
			if strings.Contains(text, "usher_") {
				t.Errorf("%s: a table without the prefix: %s", dialect, text)
			}
		}
		for _, text := range r.texts[migrated:] {
			if value.MatchString(text) {
				t.Errorf("%s: a value in the text: %s", dialect, text)
			}
		}
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
		t.Errorf("%v", err)
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

// What is in databases stays readable when a field of the structure gets another name.
func TestTheRecordOfAClient(t *testing.T) {
	const kept = `{"ID":"wiki","Name":"Wiki","Public":true,"RedirectURIs":["https://wiki.example/cb"],"PrivateUseSchemes":["wiki"],"OutOfBand":"urn:x","DefaultRedirectURI":true,` +
		`"AnyLoopbackPort":true,"Scopes":["openid","profile"],"DefaultScopes":["openid"],"ResponseTypes":[],"ResponseModes":["fragment"],"PKCEOptional":true,` +
		`"Require":["state"],"RequirePushed":true,"Trusted":true,"Unvetted":true,"Disabled":true,"OfALaterVersion":1}`
	want := &authorize.Client{
		ID: "wiki", Name: "Wiki", Public: true, RedirectURIs: []string{"https://wiki.example/cb"}, OutOfBand: "urn:x", DefaultRedirectURI: true,
		PrivateUseSchemes: []string{"wiki"}, AnyLoopbackPort: true, Scopes: []string{"openid", "profile"}, DefaultScopes: []string{"openid"}, ResponseTypes: []string{},
		ResponseModes: []string{"fragment"}, PKCEOptional: true, Require: []string{"state"}, RequirePushed: true, Trusted: true, Unvetted: true, Disabled: true,
	}
	got, err := decodeClient([]byte(kept))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
