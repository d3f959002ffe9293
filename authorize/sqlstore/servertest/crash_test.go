package servertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest/servers"
	"github.com/usher-auth/usher/authorize/sqlstore"
)

// calls are all that a store does, each on something that was saved before.
func calls(ctx context.Context, s *sqlstore.Store, hash, key string) map[string]func() error {
	return map[string]func() error{
		"Client":       func() error { _, err := s.Client(ctx, "wiki"); return err },
		"PutClient":    func() error { return s.PutClient(ctx, authorize.Client{ID: "wiki"}) },
		"DeleteClient": func() error { return s.DeleteClient(ctx, "nobody") },
		"ListClients":  func() error { _, err := s.ListClients(ctx, "", 10); return err },
		"SaveCode":     func() error { return s.SaveCode(ctx, newKey(), newCode()) },
		"FindCode":     func() error { _, err := s.FindCode(ctx, hash); return err },
		"TakeCode": func() error {
			code, taken, err := s.TakeCode(ctx, hash, now())
			if err != nil && (taken || code != nil) {
				return fmt.Errorf("with the error came taken %t and %v", taken, code)
			}
			return err
		},
		"SaveConsent": func() error {
			return s.SaveConsent(ctx, &authorize.ConsentRecord{Subject: "alice", ClientID: "wiki", GrantedAt: now()})
		},
		"FindConsent":      func() error { _, err := s.FindConsent(ctx, "alice", "wiki"); return err },
		"ListConsents":     func() error { _, err := s.ListConsents(ctx, "alice"); return err },
		"DeleteConsent":    func() error { return s.DeleteConsent(ctx, "nobody", "wiki") },
		"SaveSession":      func() error { rec := newSession("alice"); return s.SaveSession(ctx, rec.ID, rec) },
		"FindSession":      func() error { _, err := s.FindSession(ctx, key); return err },
		"TouchSession":     func() error { return s.TouchSession(ctx, key, now(), now().Add(time.Hour)) },
		"DeleteSession":    func() error { return s.DeleteSession(ctx, newKey()) },
		"DeleteSessionsOf": func() error { return s.DeleteSessionsOf(ctx, "nobody") },
		"Purge":            func() error { _, err := s.Purge(ctx); return err },
		"Migrate": func() error {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			return s.Migrate(ctx)
		},
	}
}

// limit is the time limit of the stores that wait for it, and late when a call has not
// kept to it.
const (
	limit = 300 * time.Millisecond
	late  = 3 * time.Second
)

// recovered waits for a store whose pool still has connections to a server that died. It
// may fail once for each of them.
func recovered(t *testing.T, s *sqlstore.Store) {
	t.Helper()
	var err error
	for range 20 {
		if _, err = s.FindCode(t.Context(), newKey()); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// Many calls take the same codes when the server dies. What was approved is used for
// ever, and nothing is approved a second time.
func TestServerKilledDuringTake(t *testing.T) {
	eachServer(t, func(t *testing.T, e *engine) {
		server := e.start(t, nil)
		serverKilled(t, server.Kill, server.Start, e.on(server.Endpoint, ""))
	})
	t.Run("postgresql behind pgbouncer", func(t *testing.T) {
		t.Parallel()
		server := startPostgres(t, nil)
		bouncer := servers.For(t, servers.PgBouncer{Endpoint: server.Endpoint})
		d := onPostgreSQL(bouncer.Endpoint, "default_query_exec_mode=exec")
		d.unprepared = true
		start := func() error {
			if err := server.Start(); err != nil {
				return err
			}
			// For a second the pooler refuses everybody, and has not tried again.
			var err error
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for range 100 {
				<-tick.C
				if err = d.pool(t, 1).Ping(); err == nil {
					return nil
				}
			}
			return err
		}
		serverKilled(t, server.Kill, start, d)
	})
}

func serverKilled(t *testing.T, kill, start func() error, d database) {
	config := d.config(t, 8)
	config.Timeout = 5 * time.Second
	store := migrated(t, config)
	for range 3 {
		hashes := saveCodes(t, store, 400)
		took := killDuringTake(t, store, kill, hashes, 50+rand.IntN(100))
		must(t, start())
		recovered(t, store)
		config.DB = d.pool(t, 8)
		fresh := opened(t, config)
		for _, hash := range hashes {
			a := takeAtOnce(t, 2, hash, store, fresh)
			if a.errs != nil || len(a.seen) != 1 {
				t.Fatalf("after the restart: %d times of use, %v", len(a.seen), a.errs)
			}
			at, approved := took[hash]
			if n := a.winners; approved && (n != 0 || a.seen[at] != 2) || n > 1 {
				t.Fatalf("approved before: %t, approved after: %d, with the time of use of before: %d of 2", approved, n, a.seen[at])
			}
		}
	}
}

// killDuringTake has goroutines take codes, each in an order of its own, and kills the
// server when some were approved. It returns those, with their times.
func killDuringTake(t *testing.T, store *sqlstore.Store, killServer func() error, hashes []string, after int) map[string]time.Time {
	t.Helper()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		took = map[string]time.Time{}
		kill = make(chan struct{})
	)
	for i := range 8 {
		wg.Go(func() {
			order := rand.Perm(len(hashes))
			for n := 0; ; n++ { // until the server is gone
				j := order[n%len(order)]
				code, taken, err := store.TakeCode(t.Context(), hashes[j], now().Add(time.Duration(i*1000+n)*time.Millisecond))
				if err != nil {
					return
				}
				if !taken {
					continue
				}
				mu.Lock()
				if _, ok := took[hashes[j]]; ok {
					t.Error("two calls took one code")
				}
				took[hashes[j]] = code.UsedAt
				if len(took) == after {
					close(kill)
				}
				mu.Unlock()
			}
		})
	}
	<-kill
	must(t, killServer())
	wg.Wait()
	return took
}

// The server does what it is asked to, and its answer is lost on the way back.
func TestAnswerLost(t *testing.T) {
	eachServer(t, func(t *testing.T, e *engine) {
		ctx := t.Context()
		server := e.start(t, nil)
		proxy := servers.For(t, servers.ProxyTo{Endpoint: server.Endpoint})
		direct := e.on(server.Endpoint, "").config(t, 2)
		sees := migrated(t, direct)
		config := direct
		config.DB = e.on(proxy.Endpoint, "").pool(t, 2)
		store := opened(t, config)
		has := func(hash string) func([]byte) bool {
			return func(request []byte) bool { return bytes.Contains(request, []byte(hash)) }
		}
		for range 5 {
			// Once before, so that the statements are prepared on the connection.
			hashes := saveCodes(t, store, 2)
			if _, _, err := store.TakeCode(ctx, hashes[1], now()); err != nil {
				t.Fatal(err)
			}

			lost, at := proxy.LoseAnswer(has(hashes[0])), now()
			if code, taken, err := store.TakeCode(ctx, hashes[0], at); err == nil || taken || code != nil {
				t.Fatalf("TakeCode without its answer: %v, taken %t, %v", code, taken, err)
			}
			<-lost
			if code, err := sees.FindCode(ctx, hashes[0]); err != nil || !code.UsedAt.Equal(at) {
				t.Fatalf("the code is %v, %v, want it used", code, err)
			}
			recovered(t, store)
			if code, taken, err := store.TakeCode(ctx, hashes[0], at.Add(time.Second)); err != nil || taken || !code.UsedAt.Equal(at) {
				t.Fatalf("the second time: %v, taken %t, %v", code, taken, err)
			}

			// A code that may be saved is none that may be sent.
			hash := newKey()
			lost = proxy.LoseAnswer(has(hash))
			if err := store.SaveCode(ctx, hash, newCode()); err == nil {
				t.Fatal("SaveCode without its answer is no error")
			}
			<-lost
			recovered(t, store)
		}
	})
}

// No server is reached: nothing is found, approved or said to be saved.
func TestConnectionsLost(t *testing.T) {
	eachServer(t, func(t *testing.T, e *engine) {
		proxy := servers.For(t, servers.ProxyTo{Endpoint: e.start(t, nil).Endpoint})
		store := e.on(proxy.Endpoint, "").store(t)
		rec, hash := newSession("alice"), saveCodes(t, store, 1)[0]
		must(t, store.SaveSession(t.Context(), rec.ID, rec))
		for range 2 {
			proxy.Cut()
			for name, call := range calls(t.Context(), store, hash, rec.ID) {
				if err := call(); err == nil {
					t.Errorf("%s without a server is no error", name)
				}
			}
			must(t, proxy.Restore())
			recovered(t, store)
		}
		if _, taken, err := store.TakeCode(t.Context(), hash, now()); err != nil || !taken {
			t.Errorf("the code afterwards: taken %t, %v", taken, err)
		}
	})
}

// wantLimit makes all calls at once and checks that each ends in time, with the error
// that the endpoint knows.
func wantLimit(t *testing.T, calls map[string]func() error) {
	t.Helper()
	var wg sync.WaitGroup
	for name, call := range calls {
		wg.Go(func() {
			began := time.Now()
			err := call()
			if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > late {
				t.Errorf("%s, with %v to do it, took %v: %v", name, limit, took, err)
			}
		})
	}
	wg.Wait()
}

// A server that does not answer is waited for as long as the store is configured to, or
// the request allows.
func TestTimeLimit(t *testing.T) {
	eachServer(t, func(t *testing.T, e *engine) {
		proxy := servers.For(t, servers.ProxyTo{Endpoint: e.start(t, nil).Endpoint})
		config := e.on(proxy.Endpoint, "").config(t, 8)
		patient := migrated(t, config)
		config.Timeout = limit
		hasty := opened(t, config)
		rec, hash := newSession("alice"), saveCodes(t, hasty, 1)[0]
		must(t, hasty.SaveSession(t.Context(), rec.ID, rec))

		proxy.Hold()
		wantLimit(t, calls(t.Context(), hasty, hash, rec.ID))
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		wantLimit(t, calls(ctx, patient, hash, rec.ID))
		proxy.Release()

		recovered(t, hasty)
		// The calls that were given up may have come through.
		a, b := takeAtOnce(t, 8, hash, patient), takeAtOnce(t, 8, hash, hasty)
		if a.winners+b.winners > 1 || a.errs != nil || b.errs != nil {
			t.Errorf("%d and %d winners, %v, %v", a.winners, b.winners, a.errs, b.errs)
		}
	})
}

// Somebody else holds a lock on what is to be written.
func TestTimeLimitWithLocks(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *engine) {
		d := e.open(t)
		config := d.config(t, 8)
		config.Timeout = limit
		store := migrated(t, config)
		rec, hashes := newSession("alice"), saveCodes(t, store, 2)
		must(t, store.SaveSession(t.Context(), rec.ID, rec))

		tx, err := config.DB.Begin() // with SQLite this is a lock on everything
		must(t, err)
		_, err = tx.Exec("DELETE FROM " + config.Prefix + "codes WHERE 0 = 0")
		must(t, err)
		_, err = tx.Exec("DELETE FROM " + config.Prefix + "sessions WHERE 0 = 0")
		must(t, err)
		all := calls(t.Context(), store, hashes[0], rec.ID)
		wantLimit(t, map[string]func() error{"TakeCode": all["TakeCode"], "TouchSession": all["TouchSession"]})
		must(t, all["FindCode"](), all["FindSession"]())
		must(t, tx.Rollback())

		a, b := takeAtOnce(t, 8, hashes[0], store), takeAtOnce(t, 8, hashes[1], store)
		if a.winners > 1 || b.winners != 1 || a.errs != nil || b.errs != nil {
			t.Errorf("%d and %d winners, %v, %v", a.winners, b.winners, a.errs, b.errs)
		}
	})
}

// Everything is there after the server has ended and come back, in order or not, for
// stores that were open and for new ones.
func TestRestart(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *engine) {
		ctx := t.Context()
		d, ends := e.open(t), []func() error{func() error { return nil }}
		if e.start != nil {
			server := e.start(t, nil)
			d = e.on(server.Endpoint, "")
			ends = []func() error{
				func() error { return errors.Join(server.Stop(), server.Start()) },
				func() error { return errors.Join(server.Kill(), server.Start()) },
			}
		}
		config := d.config(t, 4)
		old := migrated(t, config)
		hashes, at, rec := saveCodes(t, old, 2+len(ends)), now(), newSession("alice")
		_, _, err := old.TakeCode(ctx, hashes[0], at)
		must(t, err,
			old.PutClient(ctx, authorize.Client{ID: "wiki", Name: "Wiki"}),
			old.SaveSession(ctx, rec.ID, rec),
			old.SaveConsent(ctx, &authorize.ConsentRecord{Subject: "alice", ClientID: "wiki", GrantedAt: at}),
		)
		for i, end := range ends {
			must(t, end())
			recovered(t, old)
			config.DB = d.pool(t, 4)
			fresh := migrated(t, config)
			for _, s := range []*sqlstore.Store{old, fresh} {
				client, err1 := s.Client(ctx, "wiki")
				used, err2 := s.FindCode(ctx, hashes[0])
				consent, err3 := s.FindConsent(ctx, "alice", "wiki")
				found, err4 := s.FindSession(ctx, rec.ID)
				must(t, err1, err2, err3, err4)
				if client == nil || used == nil || !used.UsedAt.Equal(at) || consent == nil || found == nil {
					t.Fatalf("found %v, %v, %v, %v", client, used, consent, found)
				}
			}
			if a := takeAtOnce(t, 8, hashes[1+i], old, fresh); a.winners != 1 || a.errs != nil {
				t.Fatalf("%d winners of a code that was not used, %v", a.winners, a.errs)
			}
		}
	})
}
