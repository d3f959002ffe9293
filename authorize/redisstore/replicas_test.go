package redisstore

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/usher-auth/usher/authorize/authorizetest/servers"
)

// pair is a primary and its replica. Nothing gets through to the replica while the link is
// held, and nothing more once it is cut.
type pair struct {
	primary, replica *servers.Server
	link             *servers.Proxy
}

func startPair(t testing.TB) pair {
	t.Helper()
	// Without the setting the primary waits five seconds for other replicas.
	primary := servers.For(t, servers.Redis{Settings: map[string]string{"repl-diskless-sync-delay": "0"}})
	link := servers.For(t, servers.ProxyTo{Endpoint: primary.Endpoint, TCP: true})
	host, port, err := net.SplitHostPort(link.Address)
	if err != nil {
		t.Fatal(err)
	}
	replica := servers.For(t, servers.Redis{Settings: map[string]string{"replicaof": host + " " + port}})
	conn := connect(t, primary.Endpoint).Conn()
	defer conn.Close()
	if err := conn.Set(t.Context(), "x", "", time.Second).Err(); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Wait(t.Context(), 1, 30*time.Second).Result(); n != 1 {
		t.Fatalf("%d replicas, %v", n, err)
	}
	return pair{primary, replica, link}
}

// failOver ends the primary and promotes the replica, which has got what it had got.
func (p pair) failOver(t *testing.T) *Store {
	t.Helper()
	p.link.Cut()
	if err := p.primary.Kill(); err != nil {
		t.Fatal(err)
	}
	client := connect(t, p.replica.Endpoint)
	do(t, client, "REPLICAOF NO ONE")
	return open(t, client)
}

// waiting makes calls wait for one replica.
func waiting(c *Config) { c.Replicas, c.WaitTimeout = 1, 50*time.Millisecond }

// durable are the methods whose loss would bring something back.
var durable = map[string]bool{
	"TakeCode": true, "SaveConsent": true, "DeleteConsent": true, "SaveSession": true, "DeleteSession": true, "DeleteSessionsOf": true,
}

func TestCallsWaitForReplicas(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	relaxed := open(t, connect(t, p.primary.Endpoint))
	s := open(t, connect(t, p.primary.Endpoint), func(c *Config) { c.Replicas, c.WaitTimeout = 1, 4*time.Second })
	for name := range scripts {
		if err := prepared(t, relaxed)[name](t.Context(), s); err != nil {
			t.Errorf("with a replica: %s: %v", name, err)
		}
	}
	for _, c := range []struct {
		rule  string
		stall func() error
		goOn  func() error
	}{
		{"the replica hangs", p.replica.Pause, p.replica.Resume},
		{"the replica has no connection", func() error { p.link.Cut(); return nil }, p.link.Restore},
	} {
		if err := c.stall(); err != nil {
			t.Fatal(err)
		}
		for name := range scripts {
			call := prepared(t, relaxed)[name]
			// From connections that have never written, as the second call of a user who
			// got an error may come: what was deleted by the first is not safe yet.
			for _, time := range []string{"first", "second"} {
				s := open(t, connect(t, p.primary.Endpoint), waiting)
				err := call(t.Context(), s)
				if time == "second" && (name == "TakeCode" || !durable[name]) {
					continue
				}
				if (err != nil) != durable[name] || (err != nil && !strings.Contains(err.Error(), "0 of 1 replicas have confirmed")) {
					t.Errorf("%s: the %s %s: %v, want an error: %t", c.rule, time, name, err, durable[name])
				}
			}
		}
		if err := c.goOn(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestATakeThatIsNotConfirmedIsNobodys(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	// This client takes another connection for each command.
	client := connect(t, p.primary.Endpoint, func(o *redis.Options) { o.PoolFIFO = true })
	one, two := client.Conn(), client.Conn()
	if err := errors.Join(one.Ping(t.Context()).Err(), two.Ping(t.Context()).Err(), one.Close(), two.Close()); err != nil {
		t.Fatal(err)
	}
	s := open(t, client, waiting)
	hashes := saveCodes(t, s, 2)
	hash := hashes[0]
	s.waitTimeout = 4 * time.Second
	wantTake(t, s, hashes[1], true) // so that the replica has confirmed all that was written
	s.waitTimeout = 50 * time.Millisecond
	if err := p.replica.Pause(); err != nil {
		t.Fatal(err)
	}
	if code, taken, err := s.TakeCode(t.Context(), hash, time.Now()); code != nil || taken || err == nil {
		t.Errorf("while the replica hangs: %v, %t, %v", code, taken, err)
	}
	if err := p.replica.Resume(); err != nil {
		t.Fatal(err)
	}
	s.waitTimeout = 4 * time.Second
	wantTake(t, s, hash, false)
}

// The answer of the script is lost, not that of WAIT. What comes next waits for the write
// all the same, which was on another connection.
func TestARepeatedTakeWaitsToo(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	proxy := servers.For(t, servers.ProxyTo{Endpoint: p.primary.Endpoint})
	s := open(t, connect(t, proxy.Endpoint, quickly), func(c *Config) { c.Replicas, c.WaitTimeout = 1, 4*time.Second })
	hashes := saveCodes(t, s, 3)
	wantTake(t, s, hashes[0], true)
	lost := proxy.LoseAnswer(holds(takeCode.sha))
	wantTake(t, s, hashes[1], true)
	<-lost
	p.link.Hold()
	s.waitTimeout = 100 * time.Millisecond
	lost = proxy.LoseAnswer(holds(takeCode.sha))
	if code, taken, err := s.TakeCode(t.Context(), hashes[2], time.Now()); code != nil || taken || err == nil {
		t.Errorf("nothing has reached the replica: %v, %t, %v", code, taken, err)
	}
	<-lost
	p.link.Release()
}

// What the package's comment says: without Replicas a failover can bring a used code back,
// and a session that was ended. With them the calls that this would happen to fail.
func TestWhatAFailoverLoses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rule   string
		config func(*Config)
		waits  bool
	}{
		{"calls do not wait", func(*Config) {}, false},
		{"calls wait", waiting, true},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			p := startPair(t)
			s := open(t, connect(t, p.primary.Endpoint), c.config)
			before := open(t, connect(t, p.primary.Endpoint), func(c *Config) { c.Replicas, c.WaitTimeout = 1, 4*time.Second })
			hash, key := saveCodes(t, before, 1)[0], saveSessions(t, before, "alice", 1)[0]
			wantTake(t, before, saveCodes(t, before, 1)[0], true) // the replica has all of it now
			p.link.Hold()
			_, taken, err := s.TakeCode(t.Context(), hash, time.Now())
			if taken == c.waits || (err != nil) != c.waits {
				t.Errorf("the first take: %t, %v", taken, err)
			}
			if err := s.DeleteSession(t.Context(), key); (err != nil) != c.waits {
				t.Errorf("the deletion: %v", err)
			}
			after := p.failOver(t)
			// Nobody has this code yet if calls wait, and somebody has if they do not.
			wantTake(t, after, hash, true)
			wantTake(t, after, hash, false)
			wantSession(t, after, key, true)
		})
	}
}

// What replicas have confirmed a failover does not lose.
func TestWhatAFailoverKeeps(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	s := open(t, connect(t, p.primary.Endpoint), func(c *Config) { c.Replicas, c.WaitTimeout = 1, 4*time.Second })
	hash, keys := saveCodes(t, s, 1)[0], saveSessions(t, s, "alice", 3)
	wantTake(t, s, hash, true)
	if err := s.DeleteSession(t.Context(), keys[0]); err != nil {
		t.Fatal(err)
	}
	after := p.failOver(t)
	wantTake(t, after, hash, false)
	wantSession(t, after, keys[0], false)
	if err := after.DeleteSessionsOf(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		wantSession(t, after, key, false)
	}
}

// A server of a later version counts for WAIT what a connection has written, and nothing
// if it has only looked. Calls that come again, because the first failed or its answer was
// lost, therefore always write.
func TestCallsThatWaitAlwaysWrite(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	client := connect(t, p.primary.Endpoint)
	relaxed, s := open(t, client), open(t, client, waiting)
	changes := func() string {
		fields, err := s.info(t.Context(), client, "persistence")
		if err != nil || fields["rdb_changes_since_last_save"] == "" {
			t.Fatalf("%v, %v", fields, err)
		}
		return fields["rdb_changes_since_last_save"]
	}
	p.link.Hold()
	for name := range durable {
		call := prepared(t, relaxed)[name]
		for _, time := range []string{"first", "second"} {
			before := changes()
			err := call(t.Context(), s)
			if err == nil {
				t.Errorf("the %s %s: no error while nothing reaches the replica", time, name)
			}
			if changes() == before && (time == "first" || name != "TakeCode") {
				t.Errorf("the %s %s has written nothing", time, name)
			}
		}
	}
	key := s.codeKey(saveCodes(t, relaxed, 1)[0])
	for _, time := range []string{"first", "second"} {
		before := changes()
		if _, err := s.run(t.Context(), durably, takeCode, key, 1, "the mark of one call"); err == nil || changes() == before {
			t.Errorf("the %s try of one take has written nothing, or was confirmed: %v", time, err)
		}
	}
	p.link.Release()
}
