package redisstore

import (
	"runtime"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize/authorizetest/servers"
)

// BenchmarkSaveFindTake is the life of a code: issued, looked at and redeemed, by one
// caller after the other and by 32 at once. One turn is one code.
func BenchmarkSaveFindTake(b *testing.B) {
	primary := servers.For(b, servers.Redis{})
	benchmark(b, open(b, connect(b, primary.Endpoint)))
}

// BenchmarkSaveFindTakeOnDisk is the same on a server that answers when it is on disk.
func BenchmarkSaveFindTakeOnDisk(b *testing.B) {
	primary := servers.For(b, servers.Redis{Settings: onDisk})
	benchmark(b, open(b, connect(b, primary.Endpoint)))
}

// BenchmarkSaveFindTakeReplica is the same where redeeming waits for a replica, which is on
// the same machine.
func BenchmarkSaveFindTakeReplica(b *testing.B) {
	p := startPair(b)
	benchmark(b, open(b, connect(b, p.primary.Endpoint), func(c *Config) { c.Replicas = 1 }))
}

// BenchmarkSaveFindTakeCluster is the same on three servers.
func BenchmarkSaveFindTakeCluster(b *testing.B) {
	cluster := servers.For(b, servers.RedisCluster{})
	benchmark(b, open(b, connectTo(b, cluster.Addrs())))
}

func benchmark(b *testing.B, s *Store) {
	turn := func(b *testing.B) {
		hash, code := newKey(), newCode()
		if err := s.SaveCode(b.Context(), hash, code); err != nil {
			b.Error(err)
		}
		if found, err := s.FindCode(b.Context(), hash); found == nil || err != nil {
			b.Error(found, err)
		}
		if _, taken, err := s.TakeCode(b.Context(), hash, time.Now()); !taken || err != nil {
			b.Error(taken, err)
		}
	}
	b.Run("serial", func(b *testing.B) {
		for b.Loop() {
			turn(b)
		}
	})
	b.Run("32", func(b *testing.B) {
		b.SetParallelism(max(1, 32/runtime.GOMAXPROCS(0)))
		b.RunParallel(func(next *testing.PB) {
			for next.Next() {
				turn(b)
			}
		})
	})
}
