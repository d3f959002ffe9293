package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/usher-auth/usher/authorize"
)

var (
	// saveCode takes the record, the mark of the call, the time to live, and the time of use
	// if the code was used in another store. A repeated call finds its own mark.
	saveCode = newScript(`
local saved = redis.call('HGET', KEYS[1], 'saved')
if saved and saved ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'record', ARGV[1], 'saved', ARGV[2])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'used', ARGV[4], 'taker', ARGV[2]) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`)

	findCode = newScript(primary + `
return redis.call('HMGET', KEYS[1], 'record', 'used')`)

	// takeCode takes the time and the mark of the call. When the winning call is repeated, it
	// writes the same again, because WAIT counts only writes of its own connection.
	takeCode = newScript(primary + `
local is = redis.call('HMGET', KEYS[1], 'record', 'used', 'taker')
if not is[1] or (is[3] and is[3] ~= ARGV[2]) then return {is[1], is[2], 0} end
redis.call('HSET', KEYS[1], 'used', ARGV[1], 'taker', ARGV[2])
return {is[1], ARGV[1], 1}`)
)

func (s *Store) codeKey(hash string) string { return s.prefix + "code:" + name(hash) }

// SaveCode implements [authorize.CodeStore].
func (s *Store) SaveCode(ctx context.Context, hash string, code *authorize.Code) error {
	kept, err := code.MarshalBinary()
	if err != nil {
		return failed(ctx, "save a code", err)
	}
	used := ""
	if !code.UsedAt.IsZero() {
		used = strconv.FormatInt(code.UsedAt.UnixMilli(), 10)
	}
	life := lifetime(code.IssuedAt, code.ExpiresAt, s.keepExpired)
	_, err = within(ctx, s, "save a code", func(ctx context.Context) (any, error) {
		saved, err := s.run(ctx, repeatedly, saveCode, s.codeKey(hash), kept, rand.Text(), life, used)
		if err == nil && saved != int64(1) {
			err = errors.New("the hash is in use")
		}
		return nil, err
	})
	return err
}

// FindCode implements [authorize.CodeStore].
func (s *Store) FindCode(ctx context.Context, hash string) (*authorize.Code, error) {
	return within(ctx, s, "find a code", func(ctx context.Context) (*authorize.Code, error) {
		answer, err := s.run(ctx, repeatedly, findCode, s.codeKey(hash))
		if err != nil {
			return nil, err
		}
		return decodeCode(answer)
	})
}

// TakeCode implements [authorize.CodeStore]. With [Config].Replicas it waits for them.
func (s *Store) TakeCode(ctx context.Context, hash string, at time.Time) (code *authorize.Code, taken bool, err error) {
	type take struct {
		code  *authorize.Code
		taken bool
	}
	t, err := within(ctx, s, "take a code", func(ctx context.Context) (t take, err error) {
		answer, err := s.run(ctx, durably, takeCode, s.codeKey(hash), at.UnixMilli(), rand.Text())
		if err != nil {
			return t, err
		}
		if t.code, err = decodeCode(answer); t.code != nil {
			t.taken = answer.([]any)[2] == int64(1)
		}
		return t, err
	})
	return t.code, t.taken, err
}

// decodeCode reads a record and the time of its use.
func decodeCode(answer any) (*authorize.Code, error) {
	fields, err := textsOf(answer)
	if err != nil || fields[0] == "" {
		return nil, err
	}
	code := &authorize.Code{}
	if err := code.UnmarshalBinary([]byte(fields[0])); err != nil {
		return nil, err
	}
	if fields[1] == "" {
		return code, nil
	}
	used, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("the time of use cannot be read: %w", err)
	}
	code.UsedAt = time.UnixMilli(used).UTC()
	return code, nil
}

// textsOf returns the texts of a reply. A missing element or a number gives an empty text.
func textsOf(answer any) ([]string, error) {
	list, ok := answer.([]any)
	if !ok {
		return nil, fmt.Errorf("the server replied with a %T, want a list", answer)
	}
	out := make([]string, len(list))
	for i, field := range list {
		out[i], _ = field.(string)
	}
	return out, nil
}
