package sqlstore

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"time"
)

const (
	// purgeBatch is how many rows one statement deletes. It is small, so that no statement
	// holds its locks for long.
	purgeBatch = 500

	// purgeInterval is the shortest time between two purges that a store starts on its own.
	purgeInterval = time.Minute

	// purgeMargin is how long every row stays after its expiry, at least. Replicas may have
	// clocks that are behind this one.
	purgeMargin = 5 * time.Minute
)

// Purge deletes codes that expired longer than [Config].KeepExpired ago, and sessions that
// have expired. It returns the number of deleted rows; after an error it may be too low. It
// works in batches of 500 rows, each in a statement of its own, until nothing is left or ctx
// is done. Finished batches stay deleted. Several processes may purge at once.
//
// The store also deletes a batch of codes and one of sessions by itself, about once a minute,
// in the background of calls that save something. A host that issues more than 500 codes a
// minute should call Purge regularly. Consents and clients are never purged.
func (s *Store) Purge(ctx context.Context) (rows int64, err error) {
	for {
		n, more, err := s.purgeBatches(ctx)
		rows += n
		if err != nil || !more {
			return rows, failed("purge", err)
		}
	}
}

// purgeBatches deletes one batch of each kind. more is true if there may be another.
func (s *Store) purgeBatches(ctx context.Context) (rows int64, more bool, err error) {
	now := s.now()
	for _, expired := range []struct {
		table, key, column string
		before             int64
	}{
		{"usher_codes", "hash", "expires_ms", now.Add(-max(s.keepExpired, purgeMargin)).UnixMilli()},
		{"usher_sessions", "id", "expires_us", now.Add(-purgeMargin).UnixMicro()},
	} {
		// The keys are read first. A DELETE by a range of times would lock that range
		// against the INSERTs of other calls.
		var values []any
		expiredKeys := "SELECT " + expired.key + " FROM " + expired.table +
			" WHERE " + expired.column + " < ? ORDER BY " + expired.column + " LIMIT ?"
		err := s.each(ctx, func(found *sql.Rows) error {
			var key []byte
			err := found.Scan(&key)
			values = append(values, key)
			return err
		}, expiredKeys, expired.before, purgeBatch)
		if err != nil {
			return rows, false, err
		}
		if len(values) == 0 {
			continue
		}
		more = more || len(values) == purgeBatch
		// A session may have been touched since, so the DELETE checks the time again. A
		// shorter batch repeats its last key, so that one prepared statement is enough.
		for len(values) < purgeBatch {
			values = append(values, values[len(values)-1])
		}
		from := "DELETE FROM " + expired.table
		if s.dialect == MySQL {
			// With another index it would lock rows that have not expired.
			from = "DELETE x FROM " + expired.table + " AS x FORCE INDEX (PRIMARY)"
		}
		n, err := s.exec(ctx, from+" WHERE "+expired.column+" < ? AND "+expired.key+
			" IN (?"+strings.Repeat(", ?", purgeBatch-1)+")", append([]any{expired.before}, values...)...)
		rows += n
		if err != nil {
			return rows, false, err
		}
	}
	return rows, more, nil
}

// background is the purge that the store runs by itself, one at a time.
type background struct {
	mu     sync.Mutex
	last   time.Time
	closed bool
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// purgeSoon starts to purge a batch of each kind if the last purge was long enough ago. The
// caller does not wait for it.
func (s *Store) purgeSoon() {
	p := &s.purge
	p.mu.Lock()
	defer p.mu.Unlock()
	now := s.now()
	if p.closed || p.cancel != nil || now.Sub(p.last).Abs() < purgeInterval {
		return
	}
	p.last = now
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(context.Background())
	p.done.Go(func() {
		if _, _, err := s.purgeBatches(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("sqlstore: expired rows could not be purged", "error", err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cancel()
		p.cancel = nil
	})
}

// end stops a running purge and prevents further ones.
func (p *background) end() {
	p.mu.Lock()
	p.closed = true
	if p.cancel != nil {
		p.cancel()
	}
	p.mu.Unlock()
	p.done.Wait()
}
