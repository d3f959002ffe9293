package authorize_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
)

// A consent may be stored anew, so each call writes the record as a whole.

func consentKey(subject, clientID string) string {
	return fmt.Sprintf("consent:%q:%q", subject, clientID)
}

func (s *keyValueStore) SaveConsent(ctx context.Context, c *authorize.ConsentRecord) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, err := c.MarshalBinary()
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		s.values[consentKey(c.Subject, c.ClientID)] = value
	}
	return err
}

func (s *keyValueStore) FindConsent(ctx context.Context, subject, clientID string) (*authorize.ConsentRecord, error) {
	c := &authorize.ConsentRecord{}
	if found, err := s.get(ctx, consentKey(subject, clientID), c); !found || err != nil {
		return nil, err
	}
	return c, nil
}

func (s *keyValueStore) ListConsents(ctx context.Context, subject string) ([]*authorize.ConsentRecord, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []*authorize.ConsentRecord{}
	for key, value := range s.values {
		if strings.HasPrefix(key, fmt.Sprintf("consent:%q:", subject)) {
			c := &authorize.ConsentRecord{}
			if err := c.UnmarshalBinary(value); err != nil {
				return nil, err
			}
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b *authorize.ConsentRecord) int { return strings.Compare(a.ClientID, b.ClientID) })
	return list, ctx.Err()
}

func (s *keyValueStore) DeleteConsent(ctx context.Context, subject, clientID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() == nil {
		delete(s.values, consentKey(subject, clientID))
	}
	return ctx.Err()
}

func (s *keyValueStore) Client(ctx context.Context, id string) (*authorize.Client, error) {
	c := &authorize.Client{}
	if found, err := s.get(ctx, "client:"+id, c); !found || err != nil {
		return nil, err
	}
	return c, nil
}

func TestBytesUnderKeysAreAStore(t *testing.T) {
	s := &keyValueStore{values: map[string][]byte{}}
	t.Run("codes", func(t *testing.T) {
		authorizetest.TestCodeStore(t, func(*testing.T) authorize.CodeStore { return s })
	})
	t.Run("consents", func(t *testing.T) {
		authorizetest.TestConsentStore(t, func(*testing.T) authorize.ConsentStore { return s })
	})
	t.Run("clients", func(t *testing.T) {
		authorizetest.TestClientStore(t, func(t *testing.T, clients ...authorize.Client) authorize.ClientStore {
			for _, c := range clients {
				if err := s.put(t.Context(), "client:"+c.ID, c); err != nil {
					t.Fatal(err)
				}
			}
			return s
		})
	})
}
