package servers

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// kind is a server that keeps its data, with a setting.
type kind struct {
	name  string
	start func(*testing.T) *Server
	write func(*testing.T, Endpoint)
	read  func(*testing.T, Endpoint) string // what was written
	// setting reads the one that was given to start, and has this value.
	setting func(*testing.T, Endpoint) string
	want    string
}

var kinds = []kind{
	redisKind("Redis", false),
	redisKind("Redis on TCP", true),
	{
		"PostgreSQL",
		func(t *testing.T) *Server {
			return For(t, PostgreSQL{Settings: map[string]string{"work_mem": "1234kB"}})
		},
		insert, read,
		func(t *testing.T, e Endpoint) string {
			return query(t, e, "show work_mem")
		},
		"1234kB",
	},
	{
		"MariaDB on TCP",
		func(t *testing.T) *Server {
			return For(t, MariaDB{TCP: true, Settings: map[string]string{"max-connections": "17"}})
		},
		insert, read,
		func(t *testing.T, e Endpoint) string { return query(t, e, "select @@max_connections") },
		"17",
	},
}

func redisKind(name string, tcp bool) kind {
	return kind{
		name,
		func(t *testing.T) *Server {
			return For(t, Redis{TCP: tcp, Settings: map[string]string{"appendonly": "yes", "appendfsync": "always", "maxmemory": "5mb"}})
		},
		func(t *testing.T, e Endpoint) { redis(t, e, "SET", "k", "kept") },
		func(t *testing.T, e Endpoint) string { return redis(t, e, "GET", "k") },
		func(t *testing.T, e Endpoint) string {
			_, value, _ := strings.Cut(redis(t, e, "INFO", "memory"), "\nmaxmemory:")
			value, _, _ = strings.Cut(value, "\r")
			return value
		},
		"5242880",
	}
}

func insert(t *testing.T, e Endpoint) {
	t.Helper()
	query(t, e, "create table t (v text)")
	query(t, e, "insert into t values ('kept')")
}

func read(t *testing.T, e Endpoint) string {
	t.Helper()
	return query(t, e, "select v from t")
}

// all returns the processes of a server that runs.
func (s *Server) all() []int {
	pid := s.process.command.Process.Pid
	return append(descendants(pid), pid)
}

func ended(t *testing.T, pids []int) {
	t.Helper()
	if err := wait(pids, func(state byte) bool { return state == 0 || state == 'Z' }); err != nil {
		t.Error(err)
	}
}

// forgotten fails the test if the system still has the shared memory.
func forgotten(t *testing.T, number string) {
	t.Helper()
	table, err := os.ReadFile("/proc/sysvipc/shm")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(table), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == number {
			t.Errorf("its shared memory is still there: %s", line)
		}
	}
}

func answers(e Endpoint, within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return e.ping(ctx)
}

// The first test, because it waits for most of its time and others can run.
func TestARedisClusterIsComplete(t *testing.T) {
	t.Parallel()
	c := For(t, RedisCluster{Settings: map[string]string{"appendonly": "yes"}})
	if len(c.Nodes) != 3 || len(c.Addrs()) != 3 || c.Addrs()[2] != c.Nodes[2].Address {
		t.Fatal(c.Addrs())
	}
	// "foo" has slot 12182, which is the last node's.
	redis(t, c.Nodes[2].Endpoint, "SET", "foo", "bar")
	_, err := c.Nodes[0].redis(t.Context(), "GET", "foo")
	if err == nil || err.Error() != "-MOVED 12182 "+c.Nodes[2].Address {
		t.Errorf("the first node says %v", err)
	}
	if err := errors.Join(c.Nodes[2].Kill(), c.Nodes[2].Start(), c.Await()); err != nil {
		t.Fatal(err)
	}
	if got := redis(t, c.Nodes[2].Endpoint, "GET", "foo"); got != "bar" {
		t.Errorf("after Kill, Start and Await: %q", got)
	}
}

// One instance lives through everything, because making one is what takes long.
func TestTheLifeOfAServer(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			s := kind.start(t)
			if got := kind.setting(t, s.Endpoint); got != kind.want {
				t.Errorf("the settings are %q, want %q", got, kind.want)
			}
			kind.write(t, s.Endpoint)
			pid := s.process.command.Process.Pid
			if session, err := syscall.Getpgid(pid); session != pid {
				t.Errorf("Ctrl-C reaches it: process %d is in group %d, %v", pid, session, err)
			}
			isSilentWhilePaused(t, s)
			address := s.Endpoint
			for _, end := range []struct {
				name string
				end  func() error
			}{
				{"Kill", s.Kill},
				{"Stop", s.Stop},
				{"Kill of a paused one", func() error { return errors.Join(s.Pause(), s.Kill()) }},
				{"Stop of a paused one", func() error { return errors.Join(s.Pause(), s.Stop()) }},
			} {
				pids := s.all()
				if err := end.end(); err != nil {
					t.Fatal(end.name, err)
				}
				ended(t, pids)
				if answers(address, patience) == nil {
					t.Errorf("answers after %s", end.name)
				}
				if err := s.Start(); err != nil {
					t.Fatal(err)
				}
				if got := kind.read(t, address); got != "kept" || s.Endpoint != address {
					t.Errorf("after %s and Start: %q at %v, was at %v", end.name, got, s.Endpoint, address)
				}
			}
			leavesNothing(t, s)
		})
	}
}

func isSilentWhilePaused(t *testing.T, s *Server) {
	t.Helper()
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	conn, err := s.dial(context.Background())
	if err != nil {
		t.Fatal("no connection is made: ", err)
	}
	_ = conn.Close()
	for _, pid := range s.all() {
		if state, _ := status(pid); state != 'T' {
			t.Errorf("paused, process %d is in state %c", pid, state)
		}
	}
	var timeout net.Error
	if err := answers(s.Endpoint, 50*time.Millisecond); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("paused, it is not silent: %v", err)
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := answers(s.Endpoint, patience); err != nil {
		t.Errorf("resumed, it does not answer: %v", err)
	}
}

func leavesNothing(t *testing.T, s *Server) {
	t.Helper()
	pids, memory := s.all(), sharedMemory(s.Dir)
	if err := errors.Join(s.Pause(), s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	ended(t, pids)
	forgotten(t, memory)
	if _, err := os.Stat(s.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its directory: %v", err)
	}
	if conn, err := net.Dial(s.Network, s.Address); err == nil {
		_ = conn.Close()
		t.Error("its address takes connections")
	}
	if err := s.Start(); err == nil {
		t.Error("it can be started again")
	}
}

func TestStoppedServersAreLeftAlone(t *testing.T) {
	s := For(t, Redis{})
	if err := s.Start(); err == nil {
		t.Error("a server that runs was started")
	}
	for range 2 {
		if err := errors.Join(s.Stop(), s.Kill(), s.Pause(), s.Resume()); err != nil {
			t.Error(err)
		}
	}
}

// A server that ends by itself can be started again.
func TestAServerThatHasEndedStarts(t *testing.T) {
	s := For(t, Redis{})
	_, _ = s.redis(t.Context(), "SHUTDOWN", "NOSAVE") // ends without an answer
	if !s.process.ended(patience) {
		t.Fatal("it did not end")
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	redis(t, s.Endpoint, "PING")
}

func TestAStartThatFailsShowsTheLog(t *testing.T) {
	For(t, Redis{}) // skips where there is none
	started := time.Now()
	_, err := Redis{Settings: map[string]string{"maxmemory": "lots"}}.Start()
	if err == nil || !strings.Contains(err.Error(), "maxmemory") || time.Since(started) > patience/2 {
		t.Errorf("after %v: %v", time.Since(started), err)
	}
}

func TestPgBouncerSharesAConnectionBetweenTransactions(t *testing.T) {
	t.Parallel()
	postgres := For(t, PostgreSQL{TCP: true})
	proxy := For(t, ProxyTo{Endpoint: postgres.Endpoint})
	for _, c := range []struct {
		name string
		PgBouncer
	}{
		{"on TCP, PostgreSQL on TCP", PgBouncer{Endpoint: postgres.Endpoint, TCP: true}},
		{"on a Unix socket, a proxy behind it too", PgBouncer{Endpoint: proxy.Endpoint}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.Settings = map[string]string{"default_pool_size": "1"}
			bouncer := For(t, c.PgBouncer)
			one, other := dial(t, bouncer.Endpoint), dial(t, bouncer.Endpoint)
			first, err := queryOn(one, ProtocolPostgreSQL, "select pg_backend_pid()")
			if err != nil {
				t.Fatal(err)
			}
			second, err := queryOn(other, ProtocolPostgreSQL, "select pg_backend_pid()")
			if err != nil || first == "" || first != second {
				t.Errorf("two clients have the connections %q and %q, %v", first, second, err)
			}
			if err := errors.Join(bouncer.Stop(), bouncer.Start()); err != nil {
				t.Error(err)
			}
			leavesNothing(t, bouncer)
		})
	}
	if _, err := (PgBouncer{Endpoint: Endpoint{Protocol: ProtocolRedis}}).Start(); err == nil {
		t.Error("PgBouncer was started in front of Redis")
	}
	killEndsABusyChild(t, postgres)
}

// PostgreSQL's processes open sessions of their own, and one that is busy does not
// notice that its parent is gone.
func killEndsABusyChild(t *testing.T, postgres *Server) {
	t.Helper()
	conn := dial(t, postgres.Endpoint)
	statement := "select count(*) from generate_series(1, 1000000000000)"
	if _, err := conn.Write(append([]byte{'Q', 0, 0, 0, byte(5 + len(statement))}, statement+"\x00"...)); err != nil {
		t.Fatal(err)
	}
	pids := postgres.all()
	if len(pids) < 3 {
		t.Fatalf("PostgreSQL has %d processes only", len(pids))
	}
	if err := postgres.Kill(); err != nil {
		t.Fatal(err)
	}
	ended(t, pids)
	if err := postgres.Start(); err != nil {
		t.Error(err)
	}
}
