package servertest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/sqlstore"
)

// answers are those of many calls that took one code at once.
type answers struct {
	winners int
	usedAt  time.Time // of the last winner
	seen    map[time.Time]int
	errs    error
}

// takeAtOnce has n goroutines take a code, each at a time of its own.
func takeAtOnce(t *testing.T, n int, hash string, stores ...*sqlstore.Store) answers {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		a     = answers{seen: map[time.Time]int{}}
		start = make(chan struct{})
		base  = now()
	)
	for i := range n {
		wg.Go(func() {
			<-start
			code, taken, err := stores[i%len(stores)].TakeCode(t.Context(), hash, base.Add(time.Duration(i)*time.Millisecond))
			mu.Lock()
			defer mu.Unlock()
			a.errs = errors.Join(a.errs, err)
			if code != nil {
				a.seen[code.UsedAt]++
			}
			if taken {
				a.winners++
				a.usedAt = code.UsedAt
			}
		})
	}
	close(start)
	wg.Wait()
	return a
}

// Two replicas with four connections each.
func TestTwoHundredTakersAndOneWinner(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *engine) {
		d := e.open(t)
		config := d.config(t, 4)
		one := migrated(t, config)
		config.DB = d.pool(t, 4)
		two := opened(t, config)
		for _, hash := range saveCodes(t, one, 5) {
			a := takeAtOnce(t, 200, hash, one, two)
			if a.winners != 1 || a.errs != nil || a.seen[a.usedAt] != 200 {
				t.Fatalf("%d winners; of 200 calls %d saw the winner's time; %v", a.winners, a.seen[a.usedAt], a.errs)
			}
		}
	})
}

// Other levels of isolation than the default may make calls fail, and nothing else.
func TestOtherIsolation(t *testing.T) {
	for _, c := range []struct {
		engine  int
		options string
		errors  bool // are expected
	}{
		{1, "default_transaction_isolation=serializable", true},
		{1, "default_transaction_isolation='repeatable read'", true},
		{2, "tx_isolation='SERIALIZABLE'", false},
		{2, "tx_isolation='READ-COMMITTED'", false},
		{2, "tx_isolation='READ-UNCOMMITTED'", false},
	} {
		e := engines[c.engine]
		t.Run(e.name+" "+c.options, func(t *testing.T) {
			t.Parallel()
			d := e.open(t)
			if e.name == "postgresql" {
				d = onPostgreSQL(postgres.get(t), c.options)
			} else {
				d.dsn += c.options
			}
			config := d.config(t, 8)
			config.Timeout = 10 * time.Second
			store := opened(t, config)
			// Migrate has to work in every isolation.
			errs := make(chan error, 4)
			for range cap(errs) {
				go func() { errs <- store.Migrate(t.Context()) }()
			}
			for range cap(errs) {
				must(t, <-errs)
			}
			for _, hash := range saveCodes(t, store, 5) {
				a := takeAtOnce(t, 50, hash, store)
				if a.winners > 1 || len(a.seen) > 1 || !c.errors && (a.winners != 1 || a.errs != nil) {
					t.Errorf("%d winners, %d times of use, %v", a.winners, len(a.seen), a.errs)
				}
				if code, err := store.FindCode(t.Context(), hash); err != nil || code.UsedAt.IsZero() {
					t.Errorf("after all of them the code is %v, %v", code, err)
				}
			}
		})
	}
}

// What one replica did is there for the other, at once.
func TestReplicas(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *engine) {
		ctx, d := t.Context(), e.open(t)
		config := d.config(t, 2)
		one := migrated(t, config)
		config.DB = d.pool(t, 2)
		two := opened(t, config)
		for i := range 20 {
			rec := newSession(fmt.Sprint("user", i))
			must(t, one.SaveSession(ctx, rec.ID, rec))
			found, err := two.FindSession(ctx, rec.ID)
			if err != nil || found == nil {
				t.Fatalf("a session that was saved: %v, %v", found, err)
			}
			if i%2 == 0 {
				must(t, two.DeleteSession(ctx, rec.ID))
			} else {
				must(t, two.DeleteSessionsOf(ctx, rec.Subject))
			}
			if found, err = one.FindSession(ctx, rec.ID); err != nil || found != nil {
				t.Fatalf("a session that was deleted: %v, %v", found, err)
			}
			c := &authorize.ConsentRecord{Subject: rec.Subject, ClientID: "wiki", Scopes: []string{"openid"}, GrantedAt: now()}
			must(t, one.SaveConsent(ctx, c), two.DeleteConsent(ctx, c.Subject, c.ClientID))
			if found, err := one.FindConsent(ctx, c.Subject, c.ClientID); err != nil || found != nil {
				t.Fatalf("a consent that was revoked: %v, %v", found, err)
			}
		}
	})
}

// Stores with other prefixes in one database are other stores.
func TestTwoPrefixes(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *engine) {
		ctx, d := t.Context(), e.open(t)
		config := d.config(t, 4)
		one := migrated(t, config)
		config.Prefix += "codes_" // and one that begins like a table of the other
		two := migrated(t, config)

		hash, at, rec := newKey(), now(), newSession("alice")
		consent := &authorize.ConsentRecord{Subject: "alice", ClientID: "wiki", GrantedAt: at}
		must(t,
			one.PutClient(ctx, authorize.Client{ID: "wiki", Name: "Wiki"}),
			one.SaveCode(ctx, hash, newCode()),
			one.SaveConsent(ctx, consent),
			one.SaveSession(ctx, rec.ID, rec),
		)
		client, err1 := two.Client(ctx, "wiki")
		code, taken, err2 := two.TakeCode(ctx, hash, at)
		agreed, err3 := two.FindConsent(ctx, "alice", "wiki")
		found, err4 := two.FindSession(ctx, rec.ID)
		must(t, err1, err2, err3, err4)
		if client != nil || code != nil || taken || agreed != nil || found != nil {
			t.Errorf("the other store found %v, %v, %v, %v", client, code, agreed, found)
		}
		must(t, two.DeleteClient(ctx, "wiki"), two.DeleteConsent(ctx, "alice", "wiki"), two.DeleteSessionsOf(ctx, "alice"))
		_, err := two.Purge(ctx)
		must(t, err)

		client, err1 = one.Client(ctx, "wiki")
		_, taken, err2 = one.TakeCode(ctx, hash, at)
		agreed, err3 = one.FindConsent(ctx, "alice", "wiki")
		found, err4 = one.FindSession(ctx, rec.ID)
		must(t, err1, err2, err3, err4)
		if client == nil || !taken || agreed == nil || found == nil {
			t.Errorf("the store itself found %v, taken %t, %v, %v", client, taken, agreed, found)
		}
	})
}

// The times that are compared come from the endpoint: replicas whose clocks are hours off,
// each other's and the server's, keep codes as well as any.
func TestClocksThatAreHoursOff(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *engine) {
		ctx, d := t.Context(), e.open(t)
		if e.name == "mariadb" {
			d.dsn += "timestamp=1000000000&time_zone='%2B09:00'" // it is 2001 for the server
		}
		config := d.config(t, 2)
		migrated(t, config)
		var replicas []*sqlstore.Store
		for _, skew := range []time.Duration{-3 * time.Hour, 0, 3 * time.Hour} {
			config.Now = func() time.Time { return time.Now().Add(skew) }
			replicas = append(replicas, opened(t, config))
		}
		for i, saver := range replicas {
			for _, taker := range replicas {
				hash, code := newKey(), newCode()
				code.ExpiresAt = code.IssuedAt.Add(10 * time.Second)
				must(t, saver.SaveCode(ctx, hash, code))
				for _, purger := range replicas {
					_, err := purger.Purge(ctx)
					must(t, err)
				}
				at := code.IssuedAt.Add(time.Duration(i) * time.Second)
				got, taken, err := taker.TakeCode(ctx, hash, at)
				must(t, err)
				if !taken || !got.UsedAt.Equal(at) || !got.ExpiresAt.Equal(code.ExpiresAt) {
					t.Fatalf("taken: %t, %+v", taken, got)
				}
			}
		}
	})
}
