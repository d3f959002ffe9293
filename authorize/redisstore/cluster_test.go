package redisstore

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/usher-auth/usher/authorize/authorizetest/servers"
)

// connectTo returns a client of a cluster.
func connectTo(t testing.TB, addrs []string, change ...func(*redis.ClusterOptions)) *redis.ClusterClient {
	t.Helper()
	options := &redis.ClusterOptions{Addrs: addrs}
	for _, f := range change {
		f(options)
	}
	client := redis.NewClusterClient(options)
	t.Cleanup(func() { client.Close() })
	return client
}

func TestCluster(t *testing.T) {
	t.Parallel()
	cluster := servers.For(t, servers.RedisCluster{Settings: map[string]string{"repl-diskless-sync-delay": "0"}})
	client := connectTo(t, cluster.Addrs())
	s := open(t, client)
	conform(t, s)
	t.Run("codes and sessions are spread over the servers", func(t *testing.T) {
		saveCodes(t, s, 50)
		saveSessions(t, s, "alice", 50)
		err := client.ForEachMaster(t.Context(), func(ctx context.Context, node *redis.Client) error {
			if n, err := node.DBSize(ctx).Result(); err != nil || n < 10 {
				return fmt.Errorf("%s has %d keys, %v", node.Options().Addr, n, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Run("all sessions of a user go, wherever they are", func(t *testing.T) {
		if err := client.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		keys := saveSessions(t, s, "bob", 30)
		if err := s.DeleteSessionsOf(t.Context(), "bob"); err != nil {
			t.Error(err)
		}
		for _, key := range keys {
			wantSession(t, s, key, false)
		}
		if n := client.Exists(t.Context(), s.entriesKey("bob")).Val(); n != 0 {
			t.Error("their list is left")
		}
	})
	t.Run("hostile ids", func(t *testing.T) {
		slots := map[int64]bool{}
		for _, id := range hostile {
			if err := s.SaveCode(t.Context(), id, newCode()); err != nil {
				t.Errorf("%.40q: %v", id, err)
			}
			slots[client.ClusterKeySlot(t.Context(), s.codeKey(id)).Val()] = true
		}
		if len(slots) < len(hostile)-1 {
			t.Errorf("%d ids are in %d slots", len(hostile), len(slots))
		}
	})
	t.Run("scripts are sent again", func(t *testing.T) {
		for name := range scripts {
			call := prepared(t, s)[name]
			if err := client.ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			if err := call(t.Context(), s); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	t.Run("one server of them would drop keys", func(t *testing.T) {
		last := connect(t, cluster.Nodes[2].Endpoint)
		do(t, last, "CONFIG SET maxmemory-policy volatile-ttl", "CONFIG SET maxmemory 100mb")
		if _, err := New(t.Context(), Config{Client: client}); err == nil || !strings.Contains(err.Error(), cluster.Nodes[2].Address+" has the maxmemory-policy volatile-ttl") {
			t.Errorf("New: %v", err)
		}
		do(t, last, "CONFIG SET maxmemory 0")
	})
	t.Run("a slot has moved", func(t *testing.T) { testMovedSlot(t, cluster, s) })
	t.Run("calls wait for replicas", func(t *testing.T) { testClusterReplica(t, cluster) })
}

// testMovedSlot moves a slot that the client believes to be elsewhere.
func testMovedSlot(t *testing.T, cluster *servers.Cluster, s *Store) {
	ctx, waits := t.Context(), open(t, s.client, waiting)
	stale := open(t, connectTo(t, cluster.Addrs()))
	var hash string
	var slot int64
	from, to := connect(t, cluster.Nodes[0].Endpoint), connect(t, cluster.Nodes[1].Endpoint)
	for hash == "" || slot > 5000 || from.ClusterCountKeysInSlot(ctx, int(slot)).Val() > 0 {
		hash = newKey()
		slot = from.ClusterKeySlot(ctx, s.codeKey(hash)).Val()
	}
	id, err := to.Do(ctx, "CLUSTER", "MYID").Text()
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range []*redis.Client{to, from} {
		do(t, node, fmt.Sprintf("CLUSTER SETSLOT %d NODE %s", slot, id))
	}
	var keys []string
	for rec := newSession("carol"); len(keys) < 3; rec.ID = newKey() {
		if n := from.ClusterKeySlot(ctx, s.sessionKey(rec.ID)).Val(); (n == slot) == (len(keys) == 1) {
			fresh := open(t, connectTo(t, cluster.Addrs()))
			if err := fresh.SaveSession(ctx, rec.ID, rec); err != nil {
				t.Fatal(err)
			}
			keys = append(keys, rec.ID)
		}
	}
	if err := stale.DeleteSessionsOf(ctx, "carol"); err != nil {
		t.Error(err)
	}
	for _, key := range keys {
		wantSession(t, stale, key, false)
	}
	if _, _, err := waits.TakeCode(ctx, hash, time.Now()); err == nil || !strings.Contains(err.Error(), "0 of 1 replicas") {
		t.Errorf("a take that waits: %v", err)
	}
	if err := s.SaveCode(ctx, hash, newCode()); err != nil {
		t.Fatal(err)
	}
	wantTake(t, s, hash, true)
	wantTake(t, s, hash, false)
}

// testClusterReplica gives one of the servers a replica.
func testClusterReplica(t *testing.T, cluster *servers.Cluster) {
	ctx, primary := t.Context(), connect(t, cluster.Nodes[0].Endpoint)
	replica := servers.For(t, servers.Redis{TCP: true, Settings: map[string]string{"cluster-enabled": "yes"}})
	host, port, err := net.SplitHostPort(cluster.Nodes[0].Address)
	if err != nil {
		t.Fatal(err)
	}
	id, err := primary.Do(ctx, "CLUSTER", "MYID").Text()
	if err != nil {
		t.Fatal(err)
	}
	client := connect(t, replica.Endpoint)
	do(t, client, "CLUSTER MEET "+host+" "+port)
	for { // until it has met all of them: clients ask it too where the slots are
		info := client.ClusterInfo(ctx).Val()
		if strings.Contains(info, "cluster_slots_ok:16384") && client.Do(ctx, "CLUSTER", "REPLICATE", id).Err() == nil {
			break
		}
		if err := ctx.Err(); err != nil {
			t.Fatal(err)
		}
	}
	c := connectTo(t, cluster.Addrs(), func(o *redis.ClusterOptions) { o.RouteRandomly = true })
	s := open(t, c, func(c *Config) { c.Replicas, c.WaitTimeout = 1, 4*time.Second })
	ours, others := "", ""
	for ours == "" || others == "" {
		hash := newKey()
		switch slot := c.ClusterKeySlot(ctx, s.codeKey(hash)).Val(); {
		case slot < 5000:
			ours = hash
		case slot > 6000:
			others = hash
		}
	}
	for _, hash := range []string{ours, others} {
		if err := s.SaveCode(ctx, hash, newCode()); err != nil {
			t.Fatal(err)
		}
	}
	wantTake(t, s, ours, true)
	wantTake(t, s, ours, false)
	s.waitTimeout = 50 * time.Millisecond
	if code, taken, err := s.TakeCode(ctx, others, time.Now()); err == nil || taken || code != nil {
		t.Errorf("a server without a replica: %v, %t, %v", code, taken, err)
	}
	// This client sends reads to replicas, except ours.
	var replicas atomic.Int64
	for replicas.Load() == 0 {
		c.ReloadState(ctx)
		err := c.ForEachSlave(ctx, func(context.Context, *redis.Client) error { replicas.Add(1); return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	relaxed := open(t, c)
	if err := replica.Pause(); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		key := saveSessions(t, relaxed, "alice", 1)[0]
		wantSession(t, relaxed, key, true)
		if err := relaxed.DeleteSession(ctx, key); err != nil {
			t.Fatal(err)
		}
		wantSession(t, relaxed, key, false)
	}
}
