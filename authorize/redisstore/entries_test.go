package redisstore

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/usher-auth/usher/authorize/authorizetest/servers"
	"github.com/usher-auth/usher/session"
)

// entriesKey is the list of a subject's finished sessions.
func (s *Store) entriesKey(subject string) string { return s.entriesOf(share(subject, false)) }

// leave puts entries on a subject's list that are as old as said and have no record, as
// calls leave them that are given up half way. They are as those of newSession.
func leave(t *testing.T, s *Store, subject string, n int, age time.Duration) {
	t.Helper()
	const life = 12*time.Hour + entryMargin
	score := float64(time.Now().Add(life - age).UnixMilli())
	var entries []redis.Z
	for range n {
		entries = append(entries, redis.Z{Score: score, Member: newMark(life.Milliseconds()) + newKey()})
	}
	if err := s.client.ZAdd(t.Context(), s.entriesKey(subject), entries...).Err(); err != nil {
		t.Fatal(err)
	}
}

func wantEntries(t *testing.T, rule string, s *Store, subject string, want int) {
	t.Helper()
	n, err := s.client.ZCard(t.Context(), s.entriesKey(subject)).Result()
	if err != nil || n != int64(want) {
		t.Errorf("%s: the list has %d entries, %v, want %d", rule, n, err, want)
	}
}

func TestEntriesGoWithTheirSessions(t *testing.T) {
	t.Parallel()
	s, _ := openOne(t, nil)
	ctx := t.Context()
	for _, id := range append([]string{newKey()}, hostile...) {
		rec := newSession("alice")
		rec.ID = id
		if err := s.SaveSession(ctx, id, rec); err != nil {
			t.Fatal(err)
		}
		wantEntries(t, "a session was saved", s, "alice", 1)
		if err := s.DeleteSession(ctx, id); err != nil {
			t.Fatal(err)
		}
		wantEntries(t, "it was deleted", s, "alice", 0)
	}
	saveSessions(t, s, "alice", 3)
	if err := s.DeleteSessionsOf(ctx, "alice"); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, "all were deleted", s, "alice", 0)
}

// Those whose second factor is pending are on a list of their own.
func TestPendingSessionsHaveAListOfTheirOwn(t *testing.T) {
	t.Parallel()
	s, _ := openOne(t, nil)
	ctx := t.Context()
	want := func(rule string, finished, pending int64) {
		t.Helper()
		f, err := s.client.ZCard(ctx, s.entriesKey("alice")).Result()
		p, err2 := s.client.ZCard(ctx, s.entriesOf(share("alice", true))).Result()
		if err := errors.Join(err, err2); err != nil || f != finished || p != pending {
			t.Errorf("%s: the lists have %d and %d entries, %v, want %d and %d", rule, f, p, err, finished, pending)
		}
	}
	save := func(pending bool) *session.Record {
		t.Helper()
		rec := newSession("alice")
		rec.SecondFactorPending = pending
		if err := s.SaveSession(ctx, rec.ID, rec); err != nil {
			t.Fatal(err)
		}
		return rec
	}
	save(false)
	half := save(true)
	save(true)
	want("one is finished and two are pending", 1, 2)
	// As Cookies finishes a sign-in.
	save(false)
	if err := s.DeleteSession(ctx, half.ID); err != nil {
		t.Fatal(err)
	}
	want("one of them was finished", 2, 1)
	if err := s.DeleteSessionsOf(ctx, "alice"); err != nil {
		t.Fatal(err)
	}
	want("all were deleted", 0, 0)
}

// Calls that were given up half way fill the list of their own kind only.
func TestAFullListOfPendingSessionsIsInNoFinishedOnesWay(t *testing.T) {
	t.Parallel()
	s, _ := openOne(t, nil)
	const life = 12*time.Hour + entryMargin
	var entries []redis.Z
	for range mostEntries {
		entries = append(entries, redis.Z{Score: float64(time.Now().Add(life).UnixMilli()), Member: newMark(life.Milliseconds()) + newKey()})
	}
	if err := s.client.ZAdd(t.Context(), s.entriesOf(share("alice", true)), entries...).Err(); err != nil {
		t.Fatal(err)
	}
	finished, half := newSession("alice"), newSession("alice")
	half.SecondFactorPending = true
	if err := s.SaveSession(t.Context(), half.ID, half); err == nil {
		t.Error("a pending one more was saved")
	}
	if err := s.SaveSession(t.Context(), finished.ID, finished); err != nil {
		t.Errorf("a finished one: %v", err)
	}
}

func TestEntriesWithoutARecord(t *testing.T) {
	t.Parallel()
	s, _ := openOne(t, nil)
	for _, c := range []struct {
		rule string
		age  time.Duration
		want int
	}{
		{"one whose record may be on its way stays", 0, 1},
		{"and so does one that servers with other clocks may think is young", deadAfter - time.Minute, 1},
		{"one whose record cannot come any more goes", deadAfter + time.Second, 0},
	} {
		subject := newKey()
		leave(t, s, subject, 1, c.age)
		if err := s.DeleteSessionsOf(t.Context(), subject); err != nil {
			t.Errorf("%s: %v", c.rule, err)
		}
		wantEntries(t, c.rule, s, subject, c.want)
	}
}

// earlier makes entries older than they are for the calls that add them.
type earlier struct {
	after
	by time.Duration
}

func (e earlier) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if args := cmd.Args(); err == nil && len(args) > 1 && (args[1] == addEntry.sha || args[1] == addEntry.text) {
			answer := cmd.(*redis.Cmd).Val().([]any)
			answer[1] = micros(time.UnixMicro(time.Now().Add(-e.by).UnixMilli()))
		}
		return err
	}
}

// The server does not write a record whose entry others may have removed.
func TestARecordThatComesTooLate(t *testing.T) {
	t.Parallel()
	server := servers.For(t, servers.Redis{})
	for _, c := range []struct {
		rule string
		by   time.Duration
		want string
	}{
		{"soon after its entry", saveWithin - 10*time.Second, ""},
		{"too late", saveWithin + time.Second, "longer than"},
		{"when the entry may have gone", deadAfter, "longer than"},
	} {
		client := connect(t, server.Endpoint)
		client.AddHook(earlier{by: c.by})
		s, rec := open(t, client), newSession("alice")
		err := s.SaveSession(t.Context(), rec.ID, rec)
		if (err != nil) != (c.want != "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.rule, err, c.want)
		}
		wantSession(t, s, rec.ID, c.want == "")
	}
}

// ways counts how often a client goes to the server and back.
type ways struct{ n *atomic.Int64 }

func (w ways) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (w ways) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		w.n.Add(1)
		return next(ctx, cmd)
	}
}

func (w ways) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		w.n.Add(1)
		return next(ctx, cmds)
	}
}

// Who can sign in can fill the list, and so keep a session from being found on it for the
// time that a call has.
func TestAListThatSomebodyFills(t *testing.T) {
	t.Parallel()
	server := servers.For(t, servers.Redis{})
	for _, c := range []struct {
		rule   string
		n      int
		age    time.Duration
		stay   int
		saving bool // whether there is room for more
	}{
		{"as many entries as there can be, in a minute", mostEntries - 1, 0, mostEntries - 1, false},
		{"as many over some time", mostEntries - 1, deadAfter + time.Second, 0, true},
		{"more than there can be", 6 * mostEntries, deadAfter + time.Second, 0, true},
	} {
		var n atomic.Int64
		client, subject := connect(t, server.Endpoint), newKey()
		s := open(t, client)
		key := saveSessions(t, s, subject, 1)[0]
		for left := c.n; left > 0; left -= min(left, mostEntries) {
			leave(t, s, subject, min(left, mostEntries), c.age)
		}
		rec := newSession(subject)
		if err := s.SaveSession(t.Context(), rec.ID, rec); c.n < mostEntries && c.age == 0 && err == nil {
			t.Errorf("%s: one more is saved", c.rule)
		}
		client.AddHook(ways{&n})
		if err := s.DeleteSessionsOf(t.Context(), subject); err != nil {
			t.Errorf("%s: %v", c.rule, err)
		}
		wantSession(t, s, key, false)
		wantEntries(t, c.rule, s, subject, c.stay)
		if most := int64(c.n/100 + 10); n.Load() > most {
			t.Errorf("%s: to the server and back %d times, want at most %d", c.rule, n.Load(), most)
		}
		if err := s.SaveSession(t.Context(), newKey(), newSession(subject)); c.saving && err != nil {
			t.Errorf("%s: afterwards nobody can sign in: %v", c.rule, err)
		}
	}
}

// Of too many sessions those that end first give way, and they do not live on unlisted.
func TestSessionsGiveWay(t *testing.T) {
	t.Parallel()
	s, _ := openOne(t, nil)
	long := newSession("alice")
	long.EndsAt = long.EndsAt.Add(time.Hour)
	if err := s.SaveSession(t.Context(), long.ID, long); err != nil {
		t.Fatal(err)
	}
	keys, others := saveSessions(t, s, "alice", mostSessions-1), saveSessions(t, s, "bob", 1)
	for _, key := range append(keys, long.ID) {
		wantSession(t, s, key, true)
	}
	brief := newSession("alice")
	brief.EndsAt = brief.ExpiresAt
	if err := s.SaveSession(t.Context(), brief.ID, brief); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, "one session too many", s, "alice", mostSessions)
	wantSession(t, s, brief.ID, true) // it ends first, but is the one that was asked for
	keys = append(keys, saveSessions(t, s, "alice", 3)...)
	wantEntries(t, "too many sessions", s, "alice", mostSessions)
	there := 0
	for _, key := range keys {
		if rec, err := s.FindSession(t.Context(), key); err != nil {
			t.Fatal(err)
		} else if rec != nil {
			there++
		}
	}
	if there != mostSessions-1 {
		t.Errorf("%d sessions are there and the longest one, of %d on the list", there, mostSessions)
	}
	wantSession(t, s, brief.ID, false)
	wantSession(t, s, long.ID, true)
	wantSession(t, s, keys[len(keys)-1], true)
	wantSession(t, s, others[0], true)
}

// A process whose clock is wrong makes no session miss from the list, nor outlive it.
func TestListsGoByTheServersClock(t *testing.T) {
	t.Parallel()
	s, _ := openOne(t, nil)
	ctx, client := t.Context(), s.client.(*redis.Client)
	for _, wrong := range []time.Duration{time.Hour, 13*time.Hour + 15*time.Minute, 24 * 365 * time.Hour, -24 * time.Hour} {
		key, rec := saveSessions(t, s, "alice", 1)[0], newSession("alice")
		for _, at := range []*time.Time{&rec.CreatedAt, &rec.LastSeenAt, &rec.ExpiresAt, &rec.EndsAt} {
			*at = at.Add(wrong)
		}
		if err := s.SaveSession(ctx, rec.ID, rec); err != nil {
			t.Fatal(err)
		}
		saveSessions(t, s, "alice", 1)
		if err := s.DeleteSessionsOf(ctx, "alice"); err != nil {
			t.Fatal(err)
		}
		wantSession(t, s, key, false)
		wantSession(t, s, rec.ID, false)
	}
	if err := client.ZAdd(ctx, s.entriesKey("alice"), redis.Z{Score: float64(time.Now().Add(-time.Second).UnixMilli()), Member: newMark(1) + newKey()}).Err(); err != nil {
		t.Fatal(err)
	}
	saveSessions(t, s, "alice", 1)
	wantEntries(t, "what is of no more use goes", s, "alice", 1)

	// As if it had been saved ten hours ago.
	key := saveSessions(t, s, "alice", 1)[0]
	if err := client.HSet(ctx, s.sessionKey(key), "gone", time.Now().Add(2*time.Hour).UnixMilli()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.TouchSession(ctx, key, time.Now(), time.Now().Add(9*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if life := client.PTTL(ctx, s.sessionKey(key)).Val(); life > 2*time.Hour || life < 2*time.Hour-time.Minute {
		t.Errorf("a session that is touched by a clock that is behind lives for %v, want two hours", life)
	}
}

func TestEntriesThatNobodyMade(t *testing.T) {
	t.Parallel()
	s, _ := openOne(t, nil)
	key := saveSessions(t, s, "alice", 1)[0]
	mark := newMark(1)
	for _, text := range []string{"x", "short", mark, mark + "x", mark + strings.Repeat("*", 43), strings.ToLower(mark) + newKey(), mark + newKey() + "\n", strings.Repeat("x", 1000)} {
		if err := s.client.ZAdd(t.Context(), s.entriesKey("alice"), redis.Z{Score: 1e13, Member: text}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.DeleteSessionsOf(t.Context(), "alice"); err != nil {
		t.Error(err)
	}
	wantSession(t, s, key, false)
	wantEntries(t, "entries that nobody made", s, "alice", 0)
}
