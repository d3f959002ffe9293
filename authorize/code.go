package authorize

import (
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// Code is what an authorization code stands for (RFC 6749 §4.1.2): the record
// that a [CodeStore] keeps under the code's hash and that [Handler.Redeem]
// returns.
type Code struct {
	// ClientID, RedirectURI and Challenge bind the code to who asked. Challenge
	// is empty if the request had none. RedirectURISent says whether redirect_uri
	// was in the request or was the client's only one.
	ClientID        string
	RedirectURI     string
	RedirectURISent bool
	Challenge       string

	// Scopes and Resources are what was granted.
	Scopes    []string
	Resources []string

	// Subject, AuthTime, ACR, AMR and Nonce belong into the ID token.
	Subject  string
	AuthTime time.Time
	ACR      string
	AMR      []string
	Nonce    string

	// Claims is what the claims parameter asked for and the user has agreed to, nil
	// where that is nothing.
	Claims json.RawMessage

	// Parameters are the values of those of [Config].Parameters that the request
	// carried, by name; nil without any.
	Parameters map[string]string

	// SessionID and SessionData are Session.ID and Session.Data: what the host needs to
	// revoke, and what it knows of the sign-in.
	SessionID   string
	SessionData []byte

	// IssuedAt and ExpiresAt bound the code's life. UsedAt is zero until it is
	// redeemed. All are UTC with a precision of milliseconds.
	IssuedAt  time.Time
	ExpiresAt time.Time
	UsedAt    time.Time
}

// String keeps nonce, challenge, session and the host's data out of logs.
func (c Code) String() string { return c.LogValue().String() }

// LogValue keeps nonce, challenge, session and the host's data out of logs.
func (c Code) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("client_id", c.ClientID),
		slog.String("subject", c.Subject),
		slog.String("scope", strings.Join(c.Scopes, " ")),
		slog.Time("expires_at", c.ExpiresAt),
		slog.Time("used_at", c.UsedAt),
	)
}

// Clone returns a copy that shares no memory with c, for stores to keep. The
// clone of nil is nil.
func (c *Code) Clone() *Code {
	if c == nil {
		return nil
	}
	clone := *c
	// A string may be a part of the whole request, which must not stay with it.
	for _, text := range []*string{
		&clone.ClientID, &clone.RedirectURI, &clone.Challenge, &clone.Subject, &clone.ACR, &clone.Nonce, &clone.SessionID,
	} {
		*text = strings.Clone(*text)
	}
	clone.Scopes = cloneStrings(c.Scopes)
	clone.Resources = cloneStrings(c.Resources)
	clone.AMR = cloneStrings(c.AMR)
	clone.Claims = slices.Clone(c.Claims)
	clone.Parameters = cloneMap(c.Parameters)
	clone.SessionData = slices.Clone(c.SessionData)
	return &clone
}

func cloneStrings(list []string) []string {
	clone := slices.Clone(list)
	for i := range clone {
		clone[i] = strings.Clone(clone[i])
	}
	return clone
}

func cloneMap(m map[string]string) map[string]string {
	if m == nil {
		return nil
	}
	clone := make(map[string]string, len(m))
	for name, value := range m {
		clone[strings.Clone(name)] = strings.Clone(value)
	}
	return clone
}
