package servertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize/sqlstore"
)

// expired saves codes that expired two days ago and sessions that expired an hour ago.
func expired(t *testing.T, store *sqlstore.Store, codes, sessions int) (hashes, keys []string) {
	t.Helper()
	hashes, keys = make([]string, codes), make([]string, sessions)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := worker; i < codes; i += 8 {
				code := newCode()
				code.IssuedAt, code.ExpiresAt = now().Add(-48*time.Hour), now().Add(-48*time.Hour)
				hashes[i] = newKey()
				if err := store.SaveCode(t.Context(), hashes[i], code); err != nil {
					t.Error(err)
				}
			}
			for i := worker; i < sessions; i += 8 {
				rec := newSession(fmt.Sprint("user", i))
				rec.ExpiresAt = now().Add(-time.Hour)
				keys[i] = rec.ID
				if err := store.SaveSession(t.Context(), rec.ID, rec); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return hashes, keys
}

// seeded returns a store on a database that has much to purge, and the database's.
// SQLite does not wait for the disk meanwhile.
func seeded(t *testing.T, e *engine, codes, sessions int) (store *sqlstore.Store, config sqlstore.Config, hashes, keys []string) {
	t.Helper()
	d := e.open(t)
	config = d.config(t, 8)
	if e.name == "sqlite" {
		d.dsn += "&_pragma=synchronous(OFF)"
	}
	fast := config
	fast.DB = d.pool(t, 8)
	// A clock that stands still at the beginning of all time, so that it purges nothing.
	fast.Now = func() time.Time { return time.Unix(0, 0) }
	hashes, keys = expired(t, migrated(t, fast), codes, sessions)
	return opened(t, config), config, hashes, keys
}

func count(t *testing.T, config sqlstore.Config, table string) (n int) {
	t.Helper()
	must(t, config.DB.QueryRow("SELECT COUNT(*) FROM "+config.Prefix+table).Scan(&n))
	return n
}

// Several replicas purge much while others work, and nobody gets an error.
func TestPurgeUnderLoad(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *engine) {
		store, config, _, keys := seeded(t, e, 2300, 2300)
		ctx, stop := context.WithCancel(t.Context())
		var load, purgers sync.WaitGroup
		var purged, worked atomic.Int64
		var hashes, live sync.Map
		for worker := range 4 {
			load.Go(func() {
				for i := 0; ctx.Err() == nil && !t.Failed(); i++ {
					if err := work(t, store, fmt.Sprint("worker", worker), keys[(i*4+worker)%len(keys)], &hashes, &live); err != nil {
						t.Error(err)
					}
					worked.Add(1)
				}
			})
		}
		for range 3 {
			purgers.Go(func() {
				n, err := opened(t, config).Purge(ctx)
				if err != nil {
					t.Errorf("after %d rows: %v", n, err)
				}
				purged.Add(n)
			})
		}
		purgers.Wait()
		stop()
		load.Wait()
		t.Logf("%d rows were purged while %d rounds of work were done", purged.Load(), worked.Load())
		if n := purged.Load(); n < 2300 || n > 4600 {
			t.Errorf("%d rows were purged, want 2,300 codes and those of as many sessions that nobody used", n)
		}
		used, good := 0, 0
		hashes.Range(func(hash, _ any) bool {
			used++
			code, err := store.FindCode(t.Context(), hash.(string))
			if err != nil || code == nil {
				t.Errorf("a code that is good: %v, %v", code, err)
			}
			return true
		})
		live.Range(func(key, _ any) bool {
			good++
			rec, err := store.FindSession(t.Context(), key.(string))
			if err != nil || rec == nil {
				t.Errorf("a session that is good: %v, %v", rec, err)
			}
			return true
		})
		if c, s := count(t, config, "codes"), count(t, config, "sessions"); c != used || s < good {
			t.Errorf("%d codes and %d sessions are left, want %d and %d or more", c, s, used, good)
		}
	})
}

// work is one round of all that changes something.
func work(t *testing.T, store *sqlstore.Store, subject, old string, hashes, live *sync.Map) error {
	ctx, hash := t.Context(), newKey()
	if err := store.SaveCode(ctx, hash, newCode()); err != nil {
		return err
	}
	hashes.Store(hash, true)
	if _, taken, err := store.TakeCode(ctx, hash, now()); err != nil || !taken {
		return errors.Join(err, fmt.Errorf("taken: %t", taken))
	}
	stays, goes, goesToo := newSession(subject), newSession(subject), newSession(subject+"x")
	for _, err := range []error{
		store.SaveSession(ctx, stays.ID, stays), store.SaveSession(ctx, goes.ID, goes), store.SaveSession(ctx, goesToo.ID, goesToo),
		store.TouchSession(ctx, stays.ID, now(), stays.ExpiresAt.Add(time.Hour)),
		store.DeleteSession(ctx, goes.ID), store.DeleteSessionsOf(ctx, subject+"x"),
	} {
		if err != nil {
			return err
		}
	}
	live.Store(stays.ID, true)
	// One that has expired is used again, or is gone already.
	if err := store.TouchSession(ctx, old, now(), now().Add(time.Hour)); err != nil {
		return err
	}
	rec, err := store.FindSession(ctx, old)
	if rec != nil && rec.ExpiresAt.After(now()) {
		live.Store(old, true)
	}
	return err
}

// Sign-ins, uses and sign-outs of a few users at once: nobody gets an error.
func TestSessionsUnderLoad(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *engine) {
		store := e.open(t).store(t)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for i := range 40 {
					rec := newSession(fmt.Sprint("user", i%3))
					ctx := t.Context()
					for what, err := range map[string]error{
						"save":   store.SaveSession(ctx, rec.ID, rec),
						"touch":  store.TouchSession(ctx, rec.ID, now(), now().Add(2*time.Hour)),
						"sweep":  store.DeleteSessionsOf(ctx, fmt.Sprint("user", (i+1)%3)),
						"again":  store.TouchSession(ctx, rec.ID, now(), now().Add(3*time.Hour)),
						"delete": store.DeleteSession(ctx, rec.ID),
					} {
						if err != nil {
							t.Errorf("%s: %v", what, err)
						}
					}
				}
			})
		}
		wg.Wait()
	})
}

// Until KeepExpired is over a replay is told from an unknown code; then the code is gone.
func TestKeepExpired(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *engine) {
		config := e.open(t).config(t, 4)
		config.KeepExpired = time.Hour
		var clock atomic.Int64
		config.Now = func() time.Time { return time.UnixMilli(clock.Load()) }
		ctx, store, at := t.Context(), migrated(t, config), now()
		used, unused, rec := newKey(), newKey(), newSession("alice")
		must(t, store.SaveCode(ctx, used, newCode()), store.SaveCode(ctx, unused, newCode()), store.SaveSession(ctx, rec.ID, rec))
		_, taken, err := store.TakeCode(ctx, used, at)
		must(t, err)
		for _, step := range []struct {
			at             time.Time
			codes, session bool
		}{
			{at, true, true},
			{rec.ExpiresAt.Add(-time.Minute), true, true},
			{rec.ExpiresAt, true, true},
			{at.Add(61*time.Minute - time.Second), true, true},
			{at.Add(62 * time.Minute), false, true},
			{rec.ExpiresAt.Add(6 * time.Minute), false, false},
		} {
			clock.Store(step.at.UnixMilli())
			_, err := store.Purge(ctx)
			must(t, err)
			replay, again, err1 := store.TakeCode(ctx, used, at.Add(time.Hour))
			late, err2 := store.FindCode(ctx, unused)
			found, err3 := store.FindSession(ctx, rec.ID)
			must(t, err1, err2, err3)
			if !taken || again || (replay != nil) != step.codes || (late != nil) != step.codes || (found != nil) != step.session {
				t.Errorf("%v later: %v, taken %t, %v, %v", step.at.Sub(at), replay, again, late, found)
			}
			if replay != nil && !replay.UsedAt.Equal(at) {
				t.Errorf("used at %v, want %v", replay.UsedAt, at)
			}
		}
	})
}

// The purge has found a session when it is used once more, and must look again.
func TestTouchedWhilePurged(t *testing.T) {
	eachServer(t, func(t *testing.T, e *engine) {
		store, config, _, keys := seeded(t, e, 0, 2)
		tx, err := config.DB.Begin()
		must(t, err)
		later := now().Add(time.Hour).UnixMicro()
		_, err = tx.Exec(fmt.Sprintf("UPDATE %ssessions SET expires_us = %d WHERE subject_hash = (SELECT h FROM (SELECT MIN(subject_hash) AS h FROM %ssessions) x)", config.Prefix, later, config.Prefix))
		if e.name == "postgresql" && err != nil { // has no MIN of bytes
			must(t, tx.Rollback())
			tx, err = config.DB.Begin()
			must(t, err)
			_, err = tx.Exec(fmt.Sprintf("UPDATE %ssessions SET expires_us = %d WHERE id = (SELECT id FROM %ssessions LIMIT 1)", config.Prefix, later, config.Prefix))
		}
		must(t, err)
		purged := make(chan error, 1)
		go func() {
			_, err := store.Purge(t.Context())
			purged <- err
		}()
		waitForLock(t, e, config)
		must(t, tx.Commit(), <-purged)
		left := 0
		for _, key := range keys {
			if rec, err := store.FindSession(t.Context(), key); err != nil {
				t.Error(err)
			} else if rec != nil {
				left++
			}
		}
		if left != 1 {
			t.Errorf("%d sessions are left, want the one that was used", left)
		}
	})
}

// waitForLock returns when a statement waits for the lock of another.
func waitForLock(t *testing.T, e *engine, config sqlstore.Config) {
	t.Helper()
	query := "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'DELETE FROM " + config.Prefix + "%'"
	if e.name == "mariadb" {
		query = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
	}
	// MariaDB looks anew only if it was not asked for a tenth of a second.
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for range 20 {
		<-tick.C
		waiting := 0
		must(t, config.DB.QueryRowContext(t.Context(), query).Scan(&waiting))
		if waiting > 0 {
			return
		}
	}
	t.Fatal("nobody waits for the lock")
}
