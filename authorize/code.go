package authorize

import (
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// Code is the record of an authorization code (RFC 6749 §4.1.2). A [CodeStore] keeps it
// under the code's hash, and [Handler.Redeem] returns it.
type Code struct {
	// ClientID, RedirectURI and Challenge bind the code to the client and its request.
	// Challenge is empty if the request had none. RedirectURISent is true if redirect_uri
	// was in the request, and false if it is the client's only registered one.
	ClientID        string
	RedirectURI     string
	RedirectURISent bool
	Challenge       string

	// Scopes and Resources are those that were granted. After [Handler.Redeem], Resources are
	// only those that [Redemption].Resources names: the access token is for them.
	Scopes    []string
	Resources []string

	// GrantedResources are all resources that were granted, for a refresh token (RFC 8707
	// §2.2). Redeem sets it. It is nil in the record that a [CodeStore] keeps.
	GrantedResources []string

	// GrantID names this grant. Keep it with each token that is issued for the code, so
	// that one statement revokes them all. It does not reveal the code.
	GrantID string

	// Subject, AuthTime, ACR, AMR and Nonce belong in the ID token.
	Subject  string
	AuthTime time.Time
	ACR      string
	AMR      []string
	Nonce    string

	// Claims is the claims parameter, without the claims that the user has not agreed to.
	// Nil if no claims are left.
	Claims json.RawMessage

	// Parameters has the value of each parameter of [Config].Parameters that the request
	// had, by name. Nil if it had none.
	Parameters map[string]string

	// SessionID and SessionData are Session.ID and Session.Data: the id by which the host
	// can revoke, and the host's own data about the sign-in.
	SessionID   string
	SessionData []byte

	// GrantData is the host's own: what the user decided on the consent page beside the
	// scopes, see [Granted].Data.
	GrantData []byte

	// The code is valid from IssuedAt until ExpiresAt. UsedAt is zero until the code is
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
	// A string may share the memory of the whole request. Copy it, so that the request can
	// be freed.
	clone.eachText(strings.Clone)
	return &clone
}

// eachText replaces each text by f(text). Lists and maps are replaced by new ones.
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

// eachOf does the same for lists.
func eachOf(f func(string) string, lists ...*[]string) {
	for _, list := range lists {
		*list = slices.Clone(*list)
		for i, text := range *list {
			(*list)[i] = f(text)
		}
	}
}
