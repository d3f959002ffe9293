package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/usher-auth/usher/authorize/internal/record"
	"github.com/usher-auth/usher/session"
)

// How DeleteSessionsOf finds what it deletes.
//
// The sessions of a subject are listed under a key of its own, which in a cluster is in
// another slot, so that listing and saving are two steps. An entry stands for one call of
// SaveSession, whose mark is also in the record. There is no session without an entry:
//
//   - SaveSession makes the entry first and the record then.
//   - DeleteSessionsOf deletes each record whose mark is that of the entry, and then the
//     entry, but only if it was there to be deleted. An entry whose record is missing
//     stays: the record may be on its way.
//   - The record of one entry is written once at most, so it cannot come after its entry
//     has gone. The client must not repeat that command.
//
// What is left of sessions that ended in another way goes an hour after the longest that
// they could have lasted.

const (
	// sessionMargin is how long the record of a session outlives it, for processes
	// whose clocks are behind.
	sessionMargin = 10 * time.Minute

	// entryMargin is how long an entry outlives the session.
	entryMargin = sessionMargin + time.Hour

	// atOnce is how many sessions DeleteSessionsOf deletes at a time, each on a connection
	// of its own.
	atOnce = 8

	// markLength is that of the random texts that rand.Text returns.
	markLength = 26
)

var (
	// addEntry: entry, last use of it, before when others are of no use, time to live.
	// It always writes, as WAIT counts only what this connection has written.
	addEntry = newScript(`
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[3])
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
local life = math.max(tonumber(ARGV[4]), redis.call('PTTL', KEYS[1]))
redis.call('PEXPIRE', KEYS[1], string.format('%d', life))
return 1`)

	// saveSession: record, mark of the call, times, time to live.
	saveSession = newScript(`
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'record', ARGV[1], 'saved', ARGV[2], 'seen', ARGV[3], 'expires', ARGV[4], 'ends', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return 1`)

	findSession = newScript(primary + `
return redis.call('HMGET', KEYS[1], 'record', 'seen', 'expires')`)

	// touchSession: times, margin. Times are texts of one length, because numbers in
	// scripts have 53 bits. The key never goes earlier than it would have.
	touchSession = newScript(primary + `
local is = redis.call('HMGET', KEYS[1], 'seen', 'expires', 'ends')
if not is[1] then return 0 end
local seen, expires, last = is[1], is[2], is[3]
if ARGV[1] > seen then seen = ARGV[1] end
if ARGV[2] > expires then expires = ARGV[2] end
if expires < last then last = expires end
redis.call('HSET', KEYS[1], 'seen', seen, 'expires', expires)
local life = math.ceil((tonumber(last) - tonumber(seen)) / 1000) + tonumber(ARGV[3])
if life > redis.call('PTTL', KEYS[1]) then redis.call('PEXPIRE', KEYS[1], string.format('%d', life)) end
return 1`)

	// deleteSession: mark of the call that saved it, or nothing for any, "1" to write
	// where there is nothing to delete.
	deleteSession = newScript(`
if ARGV[1] ~= '' and (redis.call('HGET', KEYS[1], 'saved') or ARGV[1]) ~= ARGV[1] then return 0 end
local deleted = redis.call('DEL', KEYS[1])
if deleted == 0 and ARGV[2] == '1' then
  redis.call('SET', KEYS[1], '', 'PX', 1000)
  redis.call('DEL', KEYS[1])
end
return deleted`)

	listEntries = newScript(`
redis.call('ZREM', KEYS[1], '')
return redis.call('ZRANGE', KEYS[1], 0, -1)`)

	removeEntries = newScript(`
return redis.call('ZREM', KEYS[1], unpack(ARGV))`)
)

func (s *Store) sessionKey(key string) string { return s.prefix + "session:" + name(key) }

func (s *Store) entriesKey(subject string) string { return s.prefix + "sessions-of:" + hashed(subject) }

// always tells a script to write even where there is nothing to delete, for WAIT.
func (s *Store) always() string {
	if s.replicas > 0 {
		return "1"
	}
	return "0"
}

// micros is a time in microseconds since 1970, in 19 digits so that scripts can compare
// it as text. Times before are kept as 0, which is read as the zero time.
func micros(t time.Time) string { return fmt.Sprintf("%019d", max(t.UnixMicro(), 0)) }

func fromMicros(text string) (time.Time, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n == 0 {
		return time.Time{}, err
	}
	return time.UnixMicro(n).UTC(), nil
}

// SaveSession implements [session.Store]. With [Config].Replicas it waits for them to have
// the entry in the list of the user's sessions.
func (s *Store) SaveSession(ctx context.Context, key string, rec *session.Record) error {
	const what = "save a session"
	kept, err := record.EncodeSession(rec)
	if err != nil {
		return failed(ctx, what, err)
	}
	// A session may be said to expire after its end. It then counts as ending there.
	ends := rec.EndsAt
	if rec.ExpiresAt.After(ends) {
		ends = rec.ExpiresAt
	}
	subject, seen, expires, mark := rec.Subject, rec.LastSeenAt, rec.ExpiresAt, rand.Text()
	_, err = within(ctx, s, what, func(ctx context.Context) (any, error) {
		_, err := s.run(ctx, durably, addEntry, s.entriesKey(subject),
			mark+name(key), ends.Add(entryMargin).UnixMilli(), seen.UnixMilli(), lifetime(seen, ends, entryMargin))
		if err != nil {
			return nil, err
		}
		saved, err := s.run(ctx, onceOnly, saveSession, s.sessionKey(key),
			kept, mark, micros(seen), micros(expires), micros(ends), lifetime(seen, expires, sessionMargin))
		if err == nil && saved != int64(1) {
			err = errors.New("the key is in use")
		}
		return nil, err
	})
	return err
}

// FindSession implements [session.Store].
func (s *Store) FindSession(ctx context.Context, key string) (*session.Record, error) {
	return within(ctx, s, "find a session", func(ctx context.Context) (*session.Record, error) {
		answer, err := s.run(ctx, repeatedly, findSession, s.sessionKey(key))
		if err != nil {
			return nil, err
		}
		fields, err := textsOf(answer)
		if err != nil || fields[0] == "" {
			return nil, err
		}
		rec, err := record.DecodeSession([]byte(fields[0]))
		if err != nil {
			return nil, err
		}
		if rec.LastSeenAt, err = fromMicros(fields[1]); err != nil {
			return nil, err
		}
		rec.ExpiresAt, err = fromMicros(fields[2])
		return rec, err
	})
}

// TouchSession implements [session.Store].
func (s *Store) TouchSession(ctx context.Context, key string, seen, expires time.Time) error {
	_, err := within(ctx, s, "touch a session", func(ctx context.Context) (any, error) {
		return s.run(ctx, repeatedly, touchSession, s.sessionKey(key), micros(seen), micros(expires), sessionMargin.Milliseconds())
	})
	return err
}

// DeleteSession implements [session.Store]. With [Config].Replicas it waits for them.
func (s *Store) DeleteSession(ctx context.Context, key string) error {
	_, err := within(ctx, s, "delete a session", func(ctx context.Context) (any, error) {
		return s.run(ctx, durably, deleteSession, s.sessionKey(key), "", s.always())
	})
	return err
}

// DeleteSessionsOf implements [session.Store]. With [Config].Replicas it waits for them.
func (s *Store) DeleteSessionsOf(ctx context.Context, subject string) error {
	_, err := within(ctx, s, "delete the sessions of a subject", func(ctx context.Context) (any, error) {
		answer, err := s.run(ctx, repeatedly, listEntries, s.entriesKey(subject))
		if err != nil {
			return nil, err
		}
		entries, err := textsOf(answer)
		if err != nil {
			return nil, err
		}
		for some := range slices.Chunk(entries, atOnce) {
			if err := s.deleteEntries(ctx, s.entriesKey(subject), some); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	return err
}

// deleteEntries deletes the sessions of these entries, and the entries of those that were
// there.
func (s *Store) deleteEntries(ctx context.Context, list string, entries []string) error {
	var wait sync.WaitGroup
	deleted, errs := make([]bool, len(entries)), make([]error, len(entries))
	for i, entry := range entries {
		wait.Go(func() {
			mark, key := entry[:markLength], entry[markLength:]
			answer, err := s.run(ctx, durably, deleteSession, s.prefix+"session:"+key, mark, s.always())
			deleted[i], errs[i] = answer == int64(1), err
		})
	}
	wait.Wait()
	var gone []any
	for i, entry := range entries {
		if deleted[i] {
			gone = append(gone, entry)
		}
	}
	if len(gone) > 0 {
		_, err := s.run(ctx, repeatedly, removeEntries, list, gone...)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
