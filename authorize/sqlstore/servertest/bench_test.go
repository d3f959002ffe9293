package servertest

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/usher-auth/usher/authorize"
)

// BenchmarkSaveFindTake is what a store does for one code: save, find, take.
func BenchmarkSaveFindTake(b *testing.B) {
	b.Run("memory", func(b *testing.B) {
		benchmark(b, authorize.NewMemory(authorize.MemoryConfig{MaxCodes: 10_000_000, MaxCodesPerSubject: 10_000_000}))
	})
	for _, e := range engines {
		b.Run(e.name, func(b *testing.B) {
			d := e.open(b)
			if e.start != nil {
				d = e.on(e.start(b, durable[e.name]).Endpoint, "")
			}
			benchmark(b, d.store(b))
		})
	}
}

// durable are the settings with which a write is on the disk before it is acknowledged.
// The other tests do without.
var durable = map[string]map[string]string{
	"postgresql": {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"},
	"mariadb":    {"innodb-flush-log-at-trx-commit": "1"},
}

func benchmark(b *testing.B, store authorize.CodeStore) {
	code := newCode()
	one := func(ctx context.Context) error {
		hash := newKey()
		if err := store.SaveCode(ctx, hash, code); err != nil {
			return err
		}
		if _, err := store.FindCode(ctx, hash); err != nil {
			return err
		}
		_, _, err := store.TakeCode(ctx, hash, now())
		return err
	}
	b.Run("serial", func(b *testing.B) {
		for b.Loop() {
			if err := one(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("32", func(b *testing.B) {
		b.SetParallelism(max(1, 32/runtime.GOMAXPROCS(0))) // for each processor
		var failed atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if one(b.Context()) != nil {
					failed.Add(1)
				}
			}
		})
		if n := failed.Load(); n > 0 {
			b.Errorf("%d failed", n)
		}
	})
}
