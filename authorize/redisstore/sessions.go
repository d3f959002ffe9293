package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/usher-auth/usher/session"
)

const (
	// sessionMargin is how long a record stays after the end of its session, for processes
	// whose clocks are behind.
	sessionMargin = 10 * time.Minute

	// saveWithin is how long after its entry a record may be written.
	saveWithin = time.Minute
)

var (
	// saveSession takes the record, the mark of the call, the share, three times, the time to
	// live, the latest time to write the record, and the longest time to live. "gone" is when
	// the last one ends: no touch, by any clock, lets the record stay longer than its entry.
	saveSession = newScript(now + `
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if now > tonumber(ARGV[8]) then return -1 end
local gone = string.format('%d', now + tonumber(ARGV[9]))
redis.call('HSET', KEYS[1], 'record', ARGV[1], 'saved', ARGV[2], 'of', ARGV[3],
  'seen', ARGV[4], 'expires', ARGV[5], 'ends', ARGV[6], 'gone', gone)
redis.call('PEXPIRE', KEYS[1], ARGV[7])
return 1`)

	findSession = newScript(primary + `
return redis.call('HMGET', KEYS[1], 'record', 'seen', 'expires')`)

	// touchSession takes two times and the margin. Times are texts of one length, because
	// numbers in scripts have 53 bits. A touch never shortens the time to live.
	touchSession = newScript(primary + now + `
local is = redis.call('HMGET', KEYS[1], 'seen', 'expires', 'ends', 'gone')
if not is[1] then return 0 end
local seen, expires, last = is[1], is[2], is[3]
if ARGV[1] > seen then seen = ARGV[1] end
if ARGV[2] > expires then expires = ARGV[2] end
if expires < last then last = expires end
redis.call('HSET', KEYS[1], 'seen', seen, 'expires', expires)
local life = math.ceil((tonumber(last) - tonumber(seen)) / 1000) + tonumber(ARGV[3])
life = math.min(life, tonumber(is[4]) - now)
if life > redis.call('PTTL', KEYS[1]) then redis.call('PEXPIRE', KEYS[1], string.format('%d', life)) end
return 1`)

	// deleteSession takes the mark of the call that saved the session, or "" for any, and "1"
	// to write even if there is nothing to delete. It returns the mark and the share of the
	// deleted session.
	deleteSession = newScript(`
local is = redis.call('HMGET', KEYS[1], 'saved', 'of')
if ARGV[1] ~= '' and is[1] and is[1] ~= ARGV[1] then return {} end
if redis.call('DEL', KEYS[1]) == 1 then return is end
if ARGV[2] == '1' then
  redis.call('SET', KEYS[1], '', 'PX', 1000)
  redis.call('DEL', KEYS[1])
end
return {}`)
)

func (s *Store) sessionKey(key string) string { return s.prefix + "session:" + name(key) }

// withSessions is within for calls about sessions. A server that evicts keys could drop the
// list of a user's sessions and keep the sessions, which DeleteSessionsOf would then miss.
func withSessions[T any](ctx context.Context, s *Store, what string, call func(context.Context) (T, error)) (T, error) {
	if s.allowEviction {
		var none T
		return none, failed(ctx, what,
			errors.New("the store keeps no sessions, because Config.AllowEviction is set"))
	}
	return within(ctx, s, what, call)
}

// always is the argument that tells a script to write even if there is nothing to delete. WAIT
// needs a write.
func (s *Store) always() string {
	if s.replicas > 0 {
		return "1"
	}
	return "0"
}

// micros is a time in microseconds since 1970, in 19 digits so that scripts can compare
// it as text. Earlier times are stored as 0, which is read as the zero time.
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
	kept, err := rec.MarshalBinary()
	if err != nil {
		return failed(ctx, what, err)
	}
	// If ExpiresAt is after EndsAt, it counts as the end.
	ends := rec.EndsAt
	if rec.ExpiresAt.After(ends) {
		ends = rec.ExpiresAt
	}
	of, seen, expires := share(rec.Subject, rec.SecondFactorPending), rec.LastSeenAt, rec.ExpiresAt
	mark := newMark(lifetime(seen, ends, entryMargin))
	_, err = withSessions(ctx, s, what, func(ctx context.Context) (any, error) {
		added, err := s.addEntry(ctx, s.entriesOf(of), mark+name(key))
		if err != nil {
			return nil, err
		}
		saved, err := s.run(ctx, onceOnly, saveSession, s.sessionKey(key), kept, mark, of,
			micros(seen), micros(expires), micros(ends), lifetime(seen, expires, sessionMargin),
			added+saveWithin.Milliseconds(), lifetime(seen, ends, sessionMargin))
		switch {
		case err != nil:
			return nil, err
		case saved == int64(-1):
			return nil, fmt.Errorf("it took longer than %v, or the clocks of two servers differ by more", saveWithin)
		case saved != int64(1):
			return nil, errors.New("the key is in use")
		}
		return nil, nil
	})
	return err
}

// FindSession implements [session.Store].
func (s *Store) FindSession(ctx context.Context, key string) (*session.Record, error) {
	return withSessions(ctx, s, "find a session", func(ctx context.Context) (*session.Record, error) {
		answer, err := s.run(ctx, repeatedly, findSession, s.sessionKey(key))
		if err != nil {
			return nil, err
		}
		fields, err := textsOf(answer)
		if err != nil || fields[0] == "" {
			return nil, err
		}
		rec := &session.Record{}
		if err := rec.UnmarshalBinary([]byte(fields[0])); err != nil {
			return nil, err
		}
		// TouchSession changes only these fields.
		if rec.LastSeenAt, err = fromMicros(fields[1]); err != nil {
			return nil, err
		}
		rec.ExpiresAt, err = fromMicros(fields[2])
		return rec, err
	})
}

// TouchSession implements [session.Store].
func (s *Store) TouchSession(ctx context.Context, key string, seen, expires time.Time) error {
	_, err := withSessions(ctx, s, "touch a session", func(ctx context.Context) (any, error) {
		return s.run(ctx, repeatedly, touchSession, s.sessionKey(key),
			micros(seen), micros(expires), sessionMargin.Milliseconds())
	})
	return err
}

// DeleteSession implements [session.Store]. With [Config].Replicas it waits for them.
func (s *Store) DeleteSession(ctx context.Context, key string) error {
	_, err := withSessions(ctx, s, "delete a session", func(ctx context.Context) (any, error) {
		answer, err := s.run(ctx, durably, deleteSession, s.sessionKey(key), "", s.always())
		if err != nil {
			return nil, err
		}
		is, err := textsOf(answer)
		if err == nil && len(is) == 2 {
			// The session is deleted, so an error about its entry is ignored: an entry
			// without a record is harmless.
			_, _ = s.run(ctx, repeatedly, removeEntries, s.entriesOf(is[1]), is[0]+name(key))
		}
		return nil, err
	})
	return err
}

// DeleteSessionsOf implements [session.Store]. With [Config].Replicas it waits for them.
func (s *Store) DeleteSessionsOf(ctx context.Context, subject string) error {
	_, err := withSessions(ctx, s, "delete the sessions of a subject", func(ctx context.Context) (any, error) {
		var errs []error
		for _, pending := range []bool{false, true} {
			list := s.entriesOf(share(subject, pending))
			answer, err := s.run(ctx, repeatedly, listEntries, list)
			if err == nil {
				err = s.deleteEntries(ctx, list, answer)
			}
			errs = append(errs, err)
		}
		return nil, errors.Join(errs...)
	})
	return err
}
