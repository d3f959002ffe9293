package redisstore

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/usher-auth/usher/authorize/authorizetest/servers"
)

// after calls something each time a script has run, before its caller goes on.
type after struct {
	script script
	then   func()
}

func (a after) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (a after) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		a.ran(cmd)
		return err
	}
}

func (a after) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			a.ran(cmd)
		}
		return err
	}
}

func (a after) ran(cmd redis.Cmder) {
	if args := cmd.Args(); cmd.Err() == nil && len(args) > 1 && (args[1] == a.script.sha || args[1] == a.script.text) {
		a.then()
	}
}

// Another process does something between two steps of a call.
func TestBetweenTheStepsOfACall(t *testing.T) {
	t.Parallel()
	server := servers.For(t, servers.Redis{})
	other := open(t, connect(t, server.Endpoint))
	ctx := t.Context()
	save := func(s *Store, key, subject string) error {
		rec := newSession(subject)
		rec.ID = key
		return s.SaveSession(ctx, key, rec)
	}
	saved := func(s *Store, key, subject string) error { return save(s, key, subject) }
	deleteAll := func(s *Store, _, subject string) error { return s.DeleteSessionsOf(ctx, subject) }
	for _, c := range []struct {
		rule   string
		before func(s *Store, key, subject string) error
		call   func(s *Store, key, subject string) error
		after  script
		then   func(s *Store, key, subject string) error
		stays  bool
		of     string // whose it is then; empty: the same
	}{
		{"a session that is saved while the subject's are deleted", nil, saved, addEntry, deleteAll, true, ""},
		{"a session that is saved before the list is read", nil, saved, saveSession, deleteAll, false, ""},
		{"a key that is used again after the list was read", saved, deleteAll, listEntries, func(s *Store, key, subject string) error {
			return errors.Join(s.DeleteSession(ctx, key), save(s, key, subject))
		}, true, ""},
		{"a key that another user gets after the list was read", saved, deleteAll, listEntries, func(s *Store, key, _ string) error {
			return errors.Join(s.DeleteSession(ctx, key), save(s, key, "bob"))
		}, true, "bob"},
		{"a key that is used again after the session was deleted", saved, deleteAll, deleteSession, saved, true, ""},
		{"a session that is saved after the entries have gone", saved, deleteAll, removeEntries, saved, true, ""},
	} {
		key, subject := newKey(), newKey()
		if c.before != nil {
			if err := c.before(other, key, subject); err != nil {
				t.Fatal(err)
			}
		}
		client, ran := connect(t, server.Endpoint), 0
		s := open(t, client)
		client.AddHook(after{c.after, func() {
			if ran++; ran == 1 {
				if err := c.then(other, key, subject); err != nil {
					t.Errorf("%s: %v", c.rule, err)
				}
			}
		}})
		if err := c.call(s, key, subject); err != nil {
			t.Errorf("%s: %v", c.rule, err)
		}
		if ran == 0 {
			t.Errorf("%s: nothing happened between the steps", c.rule)
		}
		wantSession(t, other, key, c.stays)
		if c.of != "" {
			if err := other.DeleteSessionsOf(ctx, subject); err != nil {
				t.Error(err)
			}
			wantSession(t, other, key, true)
			subject = c.of
		}
		// However it came: whoever deletes all of a subject's sessions now deletes it.
		if err := other.DeleteSessionsOf(ctx, subject); err != nil {
			t.Error(err)
		}
		wantSession(t, other, key, false)
	}
}

func TestAKeyInUseIsNotOnTheListOfAnother(t *testing.T) {
	t.Parallel()
	s, _ := openOne(t, nil)
	key := saveSessions(t, s, "alice", 1)[0]
	rec := newSession("bob")
	if err := s.SaveSession(t.Context(), key, rec); err == nil {
		t.Fatal("the key is in use")
	}
	if err := s.DeleteSessionsOf(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	wantSession(t, s, key, true)
}

// The record of a session was written, its answer lost, and the session deleted before the
// client can try again. A second try would write it without an entry on the list.
func TestARecordIsNotWrittenTwice(t *testing.T) {
	t.Parallel()
	server := servers.For(t, servers.Redis{})
	proxy := servers.For(t, servers.ProxyTo{Endpoint: server.Endpoint})
	direct := open(t, connect(t, server.Endpoint))
	saveSessions(t, direct, "alice", 1) // so that the server knows the script
	slow := open(t, connect(t, proxy.Endpoint, func(o *redis.Options) { o.MinRetryBackoff, o.MaxRetryBackoff = 200*time.Millisecond, time.Second }))
	rec, done := newSession("alice"), make(chan error)
	lost := proxy.LoseAnswer(holds(saveSession.sha))
	go func() { done <- slow.SaveSession(t.Context(), rec.ID, rec) }()
	<-lost
	wantSession(t, direct, rec.ID, true)
	if err := direct.DeleteSessionsOf(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("nobody knows that the session was saved, and SaveSession says so")
	}
	if err := direct.DeleteSessionsOf(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	wantSession(t, direct, rec.ID, false)
}

// The answer to a deletion is lost. Calling again finishes the work.
func TestDeletingAgainFinishes(t *testing.T) {
	t.Parallel()
	server := servers.For(t, servers.Redis{})
	proxy := servers.For(t, servers.ProxyTo{Endpoint: server.Endpoint})
	s := open(t, connect(t, proxy.Endpoint, never))
	for _, step := range scripts["DeleteSessionsOf"] {
		keys := saveSessions(t, s, "alice", atOnce+3)
		if err := s.DeleteSessionsOf(t.Context(), "nobody"); err != nil {
			t.Fatal(err)
		}
		lost := proxy.LoseAnswer(holds(step.sha))
		if err := s.DeleteSessionsOf(t.Context(), "alice"); err == nil {
			t.Error("no error")
		}
		<-lost
		if err := s.DeleteSessionsOf(t.Context(), "alice"); err != nil {
			t.Error(err)
		}
		for _, key := range keys {
			wantSession(t, s, key, false)
		}
	}
}

// Whatever calls come together: when all have returned, every session that is there is on
// its subject's list.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s, _ := openOne(t, nil)
	ctx := t.Context()
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			for range 100 {
				rec := newSession("alice")
				if err := s.SaveSession(ctx, rec.ID, rec); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 3 {
		all.Go(func() {
			for range 30 {
				if err := s.DeleteSessionsOf(ctx, "alice"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	saveSessions(t, s, "alice", 1)
	if err := s.DeleteSessionsOf(ctx, "alice"); err != nil {
		t.Error(err)
	}
	for _, key := range keys(t, s.client.(*redis.Client)) {
		if strings.HasPrefix(key, "usher:session:") {
			t.Errorf("%s is left", key)
		}
	}
}
