package redisstore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/usher-auth/usher/authorize/authorizetest/servers"
)

// quickly makes a client try again without long pauses.
func quickly(o *redis.Options) {
	o.MinRetryBackoff, o.MaxRetryBackoff, o.DialerRetries = time.Millisecond, 8*time.Millisecond, 1
}

// never makes a client try once.
func never(o *redis.Options) { o.MaxRetries = -1 }

func holds(sha string) func([]byte) bool {
	return func(request []byte) bool { return bytes.Contains(request, []byte(sha)) }
}

// scripts are the ones that the methods run.
var scripts = map[string][]script{
	"SaveCode": {saveCode}, "FindCode": {findCode}, "TakeCode": {takeCode},
	"SaveConsent": {saveConsent}, "FindConsent": {findConsent}, "ListConsents": {listConsents}, "DeleteConsent": {deleteConsent},
	"SaveSession": {addEntry, saveSession}, "FindSession": {findSession}, "TouchSession": {touchSession},
	"DeleteSession": {deleteSession}, "DeleteSessionsOf": {listEntries, deleteSession, removeEntries},
}

// The server has done what was asked, and the connection is lost before it can say so.
func TestAnswersThatAreLost(t *testing.T) {
	t.Parallel()
	server := servers.For(t, servers.Redis{})
	proxy := servers.For(t, servers.ProxyTo{Endpoint: server.Endpoint})
	direct := open(t, connect(t, server.Endpoint))
	repeats := open(t, connect(t, proxy.Endpoint, quickly))
	once := open(t, connect(t, proxy.Endpoint, never))
	for name := range scripts { // so that the server knows them
		if err := prepared(t, direct)[name](t.Context(), direct); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for name, steps := range scripts {
		for _, step := range steps {
			call := prepared(t, direct)[name]
			lost := proxy.LoseAnswer(holds(step.sha))
			err := call(t.Context(), repeats)
			<-lost
			// Only a record of a session must not be written twice.
			if want := step == saveSession; (err != nil) != want {
				t.Errorf("%s, where the client repeats: %v, want an error: %t", name, err, want)
			}
			call = prepared(t, direct)[name]
			lost = proxy.LoseAnswer(holds(step.sha))
			err = call(t.Context(), once)
			<-lost
			if err == nil || errors.Is(err, errUnwanted) {
				t.Errorf("%s, where it does not: %v, want an error", name, err)
			}
		}
	}
}

// A take that is repeated is no replay, and one that is not is lost to everybody.
func TestATakeWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	server := servers.For(t, servers.Redis{})
	proxy := servers.For(t, servers.ProxyTo{Endpoint: server.Endpoint})
	direct := open(t, connect(t, server.Endpoint))
	hashes := saveCodes(t, direct, 3)
	wantTake(t, direct, hashes[0], true)

	lost := proxy.LoseAnswer(holds(takeCode.sha))
	wantTake(t, open(t, connect(t, proxy.Endpoint, quickly)), hashes[1], true)
	<-lost
	wantTake(t, direct, hashes[1], false)

	lost = proxy.LoseAnswer(holds(takeCode.sha))
	at := time.Now().UTC().Truncate(time.Millisecond)
	code, taken, err := open(t, connect(t, proxy.Endpoint, never)).TakeCode(t.Context(), hashes[2], at)
	if err == nil || taken || code != nil {
		t.Fatalf("no answer: %v, %t, %v", code, taken, err)
	}
	<-lost
	code, taken, err = direct.TakeCode(t.Context(), hashes[2], at.Add(time.Second))
	if err != nil || taken || !code.UsedAt.Equal(at) {
		t.Errorf("afterwards: %v, %t, %v", code, taken, err)
	}
}

// Whatever the client's settings are, calls end when they should.
func TestAServerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	server := servers.For(t, servers.Redis{})
	proxy := servers.For(t, servers.ProxyTo{Endpoint: server.Endpoint})
	patient := func(o *redis.Options) { o.ReadTimeout, o.WriteTimeout = time.Minute, time.Minute }
	hasty := func(o *redis.Options) { o.ReadTimeout, o.MaxRetries = 50*time.Millisecond, -1 }
	brief := func(c *Config) { c.Timeout = 100 * time.Millisecond }
	for _, c := range []struct {
		rule   string
		client func(*redis.Options)
		store  func(*Config)
		cancel bool
		want   error
	}{
		{"the store's time is over", patient, brief, false, context.DeadlineExceeded},
		{"the client's time is over", hasty, func(*Config) {}, false, context.DeadlineExceeded},
		{"the caller has gone", patient, func(*Config) {}, true, context.Canceled},
	} {
		s := open(t, connect(t, proxy.Endpoint, c.client), c.store)
		all := prepared(t, open(t, connect(t, server.Endpoint)))
		proxy.Hold()
		var wait sync.WaitGroup
		for name, call := range all {
			wait.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.cancel {
					go cancel()
				}
				if err := call(ctx, s); !errors.Is(err, c.want) {
					t.Errorf("%s: %s: %v", c.rule, name, err)
				}
			})
		}
		wait.Wait() // while nothing is answered
		proxy.Release()
	}
}

func TestALackOfTimeIsKnownByItsError(t *testing.T) {
	t.Parallel()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	cancel()
	for _, c := range []struct {
		ctx       context.Context
		err, want error
	}{
		{late, io.EOF, context.DeadlineExceeded},
		{cancelled, io.EOF, context.Canceled},
		{t.Context(), &net.OpError{Err: os.ErrDeadlineExceeded}, context.DeadlineExceeded},
		{t.Context(), redis.ErrPoolTimeout, context.DeadlineExceeded},
		{t.Context(), io.EOF, nil},
	} {
		err := failed(c.ctx, "x", c.err)
		if !errors.Is(err, c.err) || (c.want != nil && !errors.Is(err, c.want)) || (c.want == nil && errors.Is(err, context.DeadlineExceeded)) {
			t.Errorf("%v in the context %v: %v, want %v", c.err, c.ctx.Err(), err, c.want)
		}
	}
}

// told is a connection that says what has been written to it.
type told struct {
	net.Conn
	wrote func([]byte)
}

func (c told) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.wrote(b)
	return n, err
}

// The caller goes when the request is on its way, and the server does what it was asked.
func TestATakeThatCameTooLateIsNobodys(t *testing.T) {
	t.Parallel()
	server := servers.For(t, servers.Redis{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var armed atomic.Bool
	s := open(t, connect(t, server.Endpoint, func(o *redis.Options) {
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := net.Dial(network, addr)
			return told{conn, func(b []byte) {
				if armed.Load() && holds(takeCode.sha)(b) {
					cancel()
				}
			}}, err
		}
	}))
	hashes := saveCodes(t, s, 2)
	wantTake(t, s, hashes[0], true) // so that the server knows the script
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	armed.Store(true)
	code, taken, err := s.TakeCode(ctx, hashes[1], time.Now())
	if code != nil || taken || !errors.Is(err, context.Canceled) {
		t.Errorf("while the server hangs: %v, %t, %v", code, taken, err)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	// What the server had been sent it has done by the time it takes new connections.
	wantTake(t, open(t, connect(t, server.Endpoint)), hashes[1], false)
}

// What is there can still be used when there is no room for more.
func TestMemoryIsFull(t *testing.T) {
	t.Parallel()
	s, _ := openOne(t, nil)
	client := s.client.(*redis.Client)
	for name := range scripts {
		call := prepared(t, s)[name]
		do(t, client, "CONFIG SET maxmemory 1")
		err := call(t.Context(), s)
		fails := strings.HasPrefix(name, "Save")
		if (err != nil) != fails || (fails && !strings.Contains(err.Error(), "OOM")) {
			t.Errorf("%s: %v, want an error: %t", name, err, fails)
		}
		do(t, client, "CONFIG SET maxmemory 0")
	}
}

// A server that was told not to write without replicas, and one that is a replica now.
func TestServersThatRefuse(t *testing.T) {
	t.Parallel()
	server := servers.For(t, servers.Redis{})
	s := open(t, connect(t, server.Endpoint, quickly))
	client := s.client.(*redis.Client)
	for _, c := range []struct{ refuse, allow string }{
		{"CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"},
		{"REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"},
	} {
		all := prepared(t, s)
		do(t, client, c.refuse)
		for name, call := range all {
			if err := call(t.Context(), s); err == nil || errors.Is(err, errUnwanted) {
				t.Errorf("%s: %s: %v, want an error", c.refuse, name, err)
			}
		}
		// What is not there may be elsewhere.
		_, _, err := s.TakeCode(t.Context(), newKey(), time.Now())
		if err == nil || s.DeleteSessionsOf(t.Context(), newKey()) == nil {
			t.Errorf("%s: what is not there is no error: %v", c.refuse, err)
		}
		do(t, client, c.allow)
		for name := range all {
			if err := prepared(t, s)[name](t.Context(), s); err != nil {
				t.Errorf("%s: %s: %v", c.allow, name, err)
			}
		}
	}
}

var onDisk = map[string]string{"appendonly": "yes", "appendfsync": "always"}

func TestRestart(t *testing.T) {
	t.Parallel()
	s, server := openOne(t, onDisk)
	hashes, key := saveCodes(t, s, 2), saveSessions(t, s, "alice", 1)[0]
	wantTake(t, s, hashes[0], true)
	for _, end := range []func() error{server.Stop, server.Kill} {
		if err := errors.Join(end(), server.Start()); err != nil {
			t.Fatal(err)
		}
		wantTake(t, s, hashes[0], false)
		wantSession(t, s, key, true)
	}
	wantTake(t, s, hashes[1], true)
	if err := s.DeleteSessionsOf(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	wantSession(t, s, key, false)
}

// The server dies while codes are taken, and comes back with what was on disk. Nobody
// gets a code that somebody else has got.
func TestCrashes(t *testing.T) {
	t.Parallel()
	server := servers.For(t, servers.Redis{Settings: onDisk})
	const rounds, codes, takers, workers = 20, 20, 3, 6
	won, unanswered := 0, 0
	for range rounds {
		s := open(t, connect(t, server.Endpoint, quickly))
		hashes := saveCodes(t, s, codes)
		wins, winner := make([]atomic.Int64, codes), make([]atomic.Int64, codes)
		base := time.Now().UTC().Truncate(time.Millisecond)
		var next, answered, failures atomic.Int64
		var all sync.WaitGroup
		last, die := rand.Int64N(codes*takers-workers)+1, make(chan struct{})
		for range workers {
			all.Go(func() {
				for n := next.Add(1) - 1; n < codes*takers; n = next.Add(1) - 1 {
					i := n / takers
					_, taken, err := s.TakeCode(t.Context(), hashes[i], base.Add(time.Duration(n)*time.Millisecond))
					if err != nil {
						failures.Add(1)
					} else if answered.Add(1) == last {
						close(die)
					}
					if taken {
						wins[i].Add(1)
						winner[i].Store(n)
					}
				}
			})
		}
		<-die
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		all.Wait()
		unanswered += int(failures.Load())
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		s = open(t, connect(t, server.Endpoint))
		for i, hash := range hashes {
			code, taken, err := s.TakeCode(t.Context(), hash, base.Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			before := wins[i].Load()
			won += int(before)
			if before > 1 || before == 1 && taken {
				t.Errorf("%d calls got a code before the crash, and one after it: %t", before, taken)
			}
			if at := base.Add(time.Duration(winner[i].Load()) * time.Millisecond); before == 1 && !code.UsedAt.Equal(at) {
				t.Errorf("used at %v after the crash, and %v before", code.UsedAt, at)
			}
		}
	}
	if unanswered == 0 || won == 0 {
		t.Errorf("%d calls were in the middle of a crash and %d before one, so this test shows little", unanswered, won)
	}
	t.Logf("of %d calls %d won before a crash and %d got no answer", rounds*codes*takers, won, unanswered)
}
