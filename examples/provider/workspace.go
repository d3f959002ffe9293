package main

import (
	"context"
	"slices"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/session"
)

// A user of the file may have workspaces, and chooses one at consent. The name travels as
// authorize.Granted.Data and is in the token response.

// mayUse is authorize.Config.Allow: it is asked for each code, so who has left a workspace gets
// no code for it.
func (s *server) mayUse(_ context.Context, current *session.Session, r *authorize.Request) (bool, error) {
	return r.GrantData == nil || s.isIn(current.Subject, r.GrantData), nil
}

// stillIn is authorize.Consent.Covers: a choice is remembered while the user is in the workspace.
func (s *server) stillIn(_ context.Context, c *authorize.ConsentRecord, _ *authorize.Request) (bool, error) {
	return s.isIn(c.Subject, c.Data), nil
}

func (s *server) isIn(subject string, workspace []byte) bool {
	return slices.Contains(s.users[subject].workspaces, string(workspace))
}
