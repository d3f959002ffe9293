package redisstore

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/usher-auth/usher/authorize/authorizetest/servers"
)

// startSentinel starts a sentinel that watches the server, by the name "usher", and
// returns its address.
func startSentinel(t *testing.T, primary servers.Endpoint) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		path, err = exec.LookPath("valkey-server")
	}
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(address)
	host, primaryPort, _ := net.SplitHostPort(primary.Address)
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("port %s\nbind 127.0.0.1\ndir %s\nsentinel monitor usher %s %s 1\n", port, filepath.Dir(file), host, primaryPort)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	sentinel := exec.CommandContext(ctx, path, file, "--sentinel")
	if err := sentinel.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = sentinel.Wait()
	})
	return address
}

// A primary that Sentinel watches gives way to its replica. What is done afterwards is done
// there, and nothing is seen any more on the old one.
func TestSentinel(t *testing.T) {
	t.Parallel()
	primary := servers.For(t, servers.Redis{TCP: true, Settings: map[string]string{"repl-diskless-sync-delay": "0"}})
	host, port, err := net.SplitHostPort(primary.Address)
	if err != nil {
		t.Fatal(err)
	}
	replica := servers.For(t, servers.Redis{TCP: true, Settings: map[string]string{"replicaof": host + " " + port}})
	ctx, address := t.Context(), startSentinel(t, primary.Endpoint)
	admin := redis.NewSentinelClient(&redis.Options{Addr: address})
	t.Cleanup(func() { admin.Close() })
	for { // until the sentinel runs and knows the replica
		if replicas, err := admin.Replicas(ctx, "usher").Result(); err == nil && len(replicas) == 1 && replicas[0]["flags"] == "slave" && replicas[0]["master-link-status"] == "ok" {
			break
		}
		if err := ctx.Err(); err != nil {
			t.Fatal(err)
		}
	}
	stores := map[string]*Store{}
	for name, options := range map[string]*redis.UniversalOptions{
		"a client":                             {},
		"a client that reads from the nearest": {RouteByLatency: true},
	} {
		options.MasterName, options.Addrs = "usher", []string{address}
		client := redis.NewUniversalClient(options)
		t.Cleanup(func() { client.Close() })
		stores[name] = open(t, client, func(c *Config) { c.Replicas = 1 })
		conform(t, stores[name])
	}
	hashes, keys := map[string][]string{}, map[string]string{}
	for name, s := range stores {
		hashes[name], keys[name] = saveCodes(t, s, 2), saveSessions(t, s, name, 1)[0]
		wantTake(t, s, hashes[name][0], true) // the replica has all of it
	}
	if err := admin.Failover(ctx, "usher").Err(); err != nil {
		t.Fatal(err)
	}
	for { // until the replica is the primary
		if at, err := admin.GetMasterAddrByName(ctx, "usher").Result(); err == nil && net.JoinHostPort(at[0], at[1]) == replica.Address {
			break
		}
		if err := ctx.Err(); err != nil {
			t.Fatal(err)
		}
	}
	for name, s := range stores {
		s.replicas = 0
		// Calls may fail while clients learn of it, and then nothing is approved.
		for {
			code, taken, err := s.TakeCode(ctx, hashes[name][0], time.Now())
			if err == nil {
				if code == nil || taken {
					t.Errorf("%s: the code that was used before: %v, %t", name, code, taken)
				}
				break
			}
		}
		wantTake(t, s, hashes[name][1], true)
		if err := s.DeleteSessionsOf(ctx, name); err != nil {
			t.Error(err)
		}
		wantSession(t, s, keys[name], false)
	}
}
