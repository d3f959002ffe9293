package redisstore

import (
	"cmp"
	"context"
	"slices"

	"github.com/usher-auth/usher/authorize"
)

var (
	// saveConsent takes the client, the record, and the time to live of all the user's consents.
	saveConsent = newScript(`
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`)

	findConsent = newScript(primary + `
return redis.call('HMGET', KEYS[1], ARGV[1])`)

	listConsents = newScript(primary + `
return redis.call('HVALS', KEYS[1])`)

	// deleteConsent takes the client, and "1" to write even if there is nothing to delete:
	// the consent may be gone already, and WAIT counts only writes of its own connection.
	deleteConsent = newScript(`
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 and ARGV[2] == '1' then
  redis.call('HSET', KEYS[1], ARGV[1], '')
  redis.call('HDEL', KEYS[1], ARGV[1])
end
return 1`)
)

func (s *Store) consentsKey(subject string) string {
	return s.prefix + "consents-of:" + hashed(subject)
}

// SaveConsent implements [authorize.ConsentStore]. With [Config].Replicas it waits for
// them, because the record may replace one that allowed more.
func (s *Store) SaveConsent(ctx context.Context, c *authorize.ConsentRecord) error {
	kept, err := c.MarshalBinary()
	if err != nil {
		return failed(ctx, "save a consent", err)
	}
	_, err = within(ctx, s, "save a consent", func(ctx context.Context) (any, error) {
		return s.run(ctx, durably, saveConsent, s.consentsKey(c.Subject),
			hashed(c.ClientID), kept, s.consentLifetime.Milliseconds())
	})
	return err
}

// FindConsent implements [authorize.ConsentStore].
func (s *Store) FindConsent(ctx context.Context, subject, clientID string) (*authorize.ConsentRecord, error) {
	return within(ctx, s, "find a consent", func(ctx context.Context) (*authorize.ConsentRecord, error) {
		list, err := s.consents(ctx, findConsent, subject, hashed(clientID))
		if err != nil || len(list) == 0 {
			return nil, err
		}
		return list[0], nil
	})
}

// ListConsents implements [authorize.ConsentStore].
func (s *Store) ListConsents(ctx context.Context, subject string) ([]*authorize.ConsentRecord, error) {
	return within(ctx, s, "list consents", func(ctx context.Context) ([]*authorize.ConsentRecord, error) {
		list, err := s.consents(ctx, listConsents, subject)
		slices.SortFunc(list, func(a, b *authorize.ConsentRecord) int { return cmp.Compare(a.ClientID, b.ClientID) })
		return list, err
	})
}

// consents runs a script and returns the records in its reply.
func (s *Store) consents(
	ctx context.Context, x script, subject string, args ...any,
) ([]*authorize.ConsentRecord, error) {
	answer, err := s.run(ctx, repeatedly, x, s.consentsKey(subject), args...)
	if err != nil {
		return nil, err
	}
	texts, err := textsOf(answer)
	if err != nil {
		return nil, err
	}
	list := []*authorize.ConsentRecord{}
	for _, kept := range texts {
		if kept == "" {
			continue
		}
		c := &authorize.ConsentRecord{}
		if err := c.UnmarshalBinary([]byte(kept)); err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// DeleteConsent implements [authorize.ConsentStore]. With [Config].Replicas it waits for
// them.
func (s *Store) DeleteConsent(ctx context.Context, subject, clientID string) error {
	_, err := within(ctx, s, "delete a consent", func(ctx context.Context) (any, error) {
		return s.run(ctx, durably, deleteConsent, s.consentsKey(subject), hashed(clientID), s.always())
	})
	return err
}
