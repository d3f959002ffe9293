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

	// Scopes and Resources are what was granted. [Handler.Redeem] leaves those of Resources
	// that [Redemption].Resources names: the access token is for them.
	Scopes    []string
	Resources []string

	// GrantedResources are all that were granted, for a refresh token (RFC 8707 §2.2).
	// Redeem sets it. Nil in the record that a [CodeStore] keeps.
	GrantedResources []string

	// GrantID is the same for everything that comes of this code, and of no other: keep it
	// with each token, so that one statement revokes them. It tells nothing of the code.
	GrantID string

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

	// GrantData is the host's own: what the user has decided on the consent page beside
	// the scopes, see [Granted].Data.
	GrantData []byte

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
	clone.Claims, clone.SessionData = slices.Clone(c.Claims), slices.Clone(c.SessionData)
	clone.GrantData = slices.Clone(c.GrantData)
	// A string may be a part of the whole request, which must not stay with it.
	clone.eachText(strings.Clone)
	return &clone
}

// eachText puts f of each text in its place, in lists and maps that are new.
func (c *Code) eachText(f func(string) string) {
	for _, text := range []*string{
		&c.ClientID, &c.RedirectURI, &c.Challenge, &c.Subject, &c.ACR, &c.Nonce, &c.SessionID, &c.GrantID,
	} {
		*text = f(*text)
	}
	eachOf(f, &c.Scopes, &c.Resources, &c.GrantedResources, &c.AMR)
	if c.Parameters != nil {
		parameters := make(map[string]string, len(c.Parameters))
		for name, value := range c.Parameters {
			parameters[f(name)] = f(value)
		}
		c.Parameters = parameters
	}
}

// eachOf does it for lists.
func eachOf(f func(string) string, lists ...*[]string) {
	for _, list := range lists {
		*list = slices.Clone(*list)
		for i, text := range *list {
			(*list)[i] = f(text)
		}
	}
}
