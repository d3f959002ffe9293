package session_test

import (
	"testing"

	"github.com/usher-auth/usher/authorize/authorizetest"
	"github.com/usher-auth/usher/session"
)

func TestMemoryIsAStore(t *testing.T) {
	authorizetest.TestSessionStore(t, func(*testing.T) session.Store {
		return session.NewMemory(session.MemoryConfig{})
	})
}
