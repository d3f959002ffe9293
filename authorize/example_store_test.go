package authorize_test

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/usher-auth/usher/authorize"
)

// keyValueStore keeps codes in a map of bytes. The map stands for any key-value database
// that can store a value only if the key does not exist yet.
type keyValueStore struct {
	mu     sync.Mutex
	values map[string][]byte
}

var errThere = errors.New("the key is there already")

func (s *keyValueStore) put(ctx context.Context, key string, from encoding.BinaryMarshaler) error {
	value, err := from.MarshalBinary()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil || ctx.Err() != nil:
		return errors.Join(err, ctx.Err())
	case s.values[key] != nil:
		return errThere
	}
	s.values[key] = value
	return nil
}

func (s *keyValueStore) get(ctx context.Context, key string, to encoding.BinaryUnmarshaler) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value := s.values[key]
	if value == nil || ctx.Err() != nil {
		return false, ctx.Err()
	}
	return true, to.UnmarshalBinary(value)
}

func (s *keyValueStore) SaveCode(ctx context.Context, hash string, code *authorize.Code) error {
	return s.put(ctx, "code:"+hash, code)
}

// FindCode sets UsedAt from its own key. The record itself is written only once.
func (s *keyValueStore) FindCode(ctx context.Context, hash string) (*authorize.Code, error) {
	code := &authorize.Code{}
	if found, err := s.get(ctx, "code:"+hash, code); !found || err != nil {
		return nil, err
	}
	_, err := s.get(ctx, "used:"+hash, &code.UsedAt)
	return code, err
}

// TakeCode stores the time of use under a key of its own. Only one call succeeds in that.
func (s *keyValueStore) TakeCode(ctx context.Context, hash string, at time.Time) (*authorize.Code, bool, error) {
	if code, err := s.FindCode(ctx, hash); code == nil || err != nil {
		return nil, false, err
	}
	put := s.put(ctx, "used:"+hash, at.UTC())
	if put != nil && put != errThere {
		return nil, false, put
	}
	code, err := s.FindCode(ctx, hash)
	return code, put == nil && err == nil, err
}

// An [authorize.CodeStore] for any key-value database: MarshalBinary turns the records into
// bytes. [authorizetest.TestCodeStore] tests it against the contract.
func Example_store() {
	ctx, at := context.Background(), time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	store := &keyValueStore{values: map[string][]byte{}}
	code := &authorize.Code{ClientID: "wiki", Subject: "alice", ExpiresAt: at.Add(time.Minute)}
	if err := store.SaveCode(ctx, "hash", code); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", store.values["code:hash"])
	for range 2 {
		code, taken, err := store.TakeCode(ctx, "hash", at)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(code.Subject, taken, code.UsedAt)
	}
	// Output:
	// {"type":"code","version":1,"client_id":"wiki","sub":"alice","expires_at":"2026-03-01T12:01:00Z"}
	// alice true 2026-03-01 12:00:00 +0000 UTC
	// alice false 2026-03-01 12:00:00 +0000 UTC
}
