package session_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize/authorizetest"
	"github.com/usher-auth/usher/session"
)

func TestMemoryIsAStore(t *testing.T) {
	authorizetest.TestSessionStore(t, func(*testing.T) session.Store {
		return session.NewMemory(session.MemoryConfig{})
	})
}

// keyValueStore keeps sessions in a map of bytes, as a stranger's store may that has nothing
// but what the records write of themselves.
type keyValueStore struct {
	mu     sync.Mutex
	values map[string][]byte
}

func (s *keyValueStore) locked(ctx context.Context, call func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return call()
}

func (s *keyValueStore) put(key string, rec *session.Record) error {
	value, err := rec.MarshalBinary()
	if err == nil {
		s.values[key] = value
	}
	return err
}

func (s *keyValueStore) get(key string) (*session.Record, error) {
	rec := &session.Record{}
	if s.values[key] == nil {
		return nil, nil
	}
	return rec, rec.UnmarshalBinary(s.values[key])
}

func (s *keyValueStore) SaveSession(ctx context.Context, key string, rec *session.Record) error {
	return s.locked(ctx, func() error {
		if s.values[key] != nil {
			return errors.New("the key is in use")
		}
		return s.put(key, rec)
	})
}

func (s *keyValueStore) FindSession(ctx context.Context, key string) (rec *session.Record, err error) {
	err = s.locked(ctx, func() (err error) { rec, err = s.get(key); return err })
	return rec, err
}

// TouchSession writes the record anew, without what only a later release knows. A store that
// replicas of two releases share keeps both times beside it, and FindSession sets them.
func (s *keyValueStore) TouchSession(ctx context.Context, key string, seen, expires time.Time) error {
	return s.locked(ctx, func() error {
		rec, err := s.get(key)
		if rec == nil || err != nil {
			return err
		}
		if seen.After(rec.LastSeenAt) {
			rec.LastSeenAt = seen
		}
		if expires.After(rec.ExpiresAt) {
			rec.ExpiresAt = expires
		}
		return s.put(key, rec)
	})
}

func (s *keyValueStore) DeleteSession(ctx context.Context, key string) error {
	return s.locked(ctx, func() error { delete(s.values, key); return nil })
}

func (s *keyValueStore) DeleteSessionsOf(ctx context.Context, subject string) error {
	return s.locked(ctx, func() error {
		for key := range s.values {
			rec, err := s.get(key)
			if err != nil {
				return err
			}
			if rec.Subject == subject {
				delete(s.values, key)
			}
		}
		return nil
	})
}

func TestBytesUnderKeysAreAStore(t *testing.T) {
	authorizetest.TestSessionStore(t, func(*testing.T) session.Store {
		return &keyValueStore{values: map[string][]byte{}}
	})
}
