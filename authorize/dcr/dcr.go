// Package dcr is dynamic client registration (RFC 7591) without a table: the client_id is the
// registration. A client posts what it is called and where its answers go, and is given that
// back as its client_id, signed. Nothing is stored, so there is nothing to fill up or to clean
// up, and every replica that has the keys knows every client.
//
//	registrations, err := dcr.New(dcr.Config{
//		Clients: clients, // the host's own store
//		Issuer:  "https://accounts.example",
//		Keys:    []authorize.Key{{Secret: secret}}, // of long life
//		Scopes:  []string{"openid", "read"},
//	})
//	endpoint, err := authorize.New(authorize.Config{Clients: registrations, ...})
//	mux.Handle("/register", registrations)
//	metadata := endpoint.MetadataHandler(registrations.Metadata())
//
// # What such a client is
//
// Everybody can register, under any name. So such a client is public and Unvetted: it has no
// secret, needs PKCE, gets no code without the user's consent, and its errors are shown on
// a page. Its scopes are those of [Config], whatever it asks for. Its redirect URIs follow
// the rules of authorize.CheckRedirectURI, when it registers and again at every use, and
// the scheme of an app has to be one of Config.AppSchemes. An https redirect URI says who gets
// the answer; the name is only what the client says.
//
// A client that asks for client_secret_basic (the default of the RFC) or client_secret_post
// is registered with the method none, as RFC 7591 §3.2.1 allows: many libraries ask for these
// without need, and all read what they were given. One that asks for another method
// has keys to prove who it is, and is refused rather than registered as less than it asked
// for, unless it leaves the choice to the server (OpenID Connect RP Metadata Choices 1.0).
//
// A software statement is ignored (RFC 7591 §3.1.1), and so is an Authorization header: there
// is no initial access token. A host that wants one checks it in front of the endpoint.
// The registration cannot be read, changed or deleted (RFC 7592): what has another name or
// other redirect URIs is another client.
//
// # The client_id
//
// It is "dcr." and a JWS of at most 1,500 bytes, so that databases can have it in an index.
// In it are the issuer, the name and the redirect URIs: sorted, and those on loopback without
// their port, because a request may have any. So a client that registers at every start, on
// another port each time, gets the same client_id, as long as it keeps its name and
// redirect URIs, the first key stays the same and Config.Lifetime has not passed. Whoever
// has a client_id can read it; it is not a secret.
//
// Consent is kept for the client_id, and what stands in it never changes, so
// authorize.Client.Revision is empty.
//
// # To end registrations
//
// Config.Allow refuses single ones, Config.Lifetime ends each after some time, and taking a
// key out of Config.Keys ends all that it signed. The host's own store comes first: a client
// that is Disabled there, under its client_id, is disabled.
//
// # Limits on the rate
//
// They belong in front of the endpoint, by address, as for every page that anybody can post
// to. A flood costs the time for one signature each and what Config.Allow costs, but no
// storage.
package dcr

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/internal/clientmeta"
	"github.com/usher-auth/usher/authorize/internal/jose"
	"github.com/usher-auth/usher/authorize/internal/uri"
	oautherr "github.com/usher-auth/usher/errors"
)

// Config says who may register, and what such a client may do. Clients, Issuer, Keys and
// Scopes are required. New copies it.
type Config struct {
	// Clients is the host's own store. It is asked first, for every client_id: what it knows
	// wins, and its error is the error.
	Clients authorize.ClientStore

	// Issuer is that of the authorization endpoint. A client_id of one issuer is unknown to
	// all others, whatever keys they have.
	Issuer string

	// Endpoint is the absolute URL of the registration endpoint, as seen from outside a
	// proxy. Empty: Issuer + "/register".
	Endpoint string

	// Keys sign the client_ids: the first signs, all verify. Each is a Secret or an Ed25519
	// key, because others sign the same thing differently each time. They may be those
	// of authorize.Config, but live as long as the clients: without its key a client_id is
	// unknown. With a new key in front, clients keep the client_ids that they have, and get
	// others where they register again.
	Keys []authorize.Key

	// Scopes are those that every such client may ask for, and DefaultScopes those of a
	// request without scope, if there are any. The scope that a client registers counts for
	// nothing.
	Scopes        []string
	DefaultScopes []string

	// GrantTypes are those that the token endpoint takes beside authorization_code, such as
	// "refresh_token": a client that asks for one reads in the answer that it has it. Nil:
	// none.
	GrantTypes []string

	// AppSchemes are the schemes of apps that redirect URIs may have, with a dot in them or
	// without, such as "cursor" and "com.example.app", byte for byte. A client with another
	// scheme cannot register, and one that has registered cannot be used while its scheme is
	// not here. Nil: only https, and http on loopback.
	AppSchemes []string

	// Allow is the host's own rule. It is asked when a client registers and again at every
	// use of its client_id, so it must be fast and say the same to both. False refuses the
	// client; an error, or a panic, means that it is not known, which is status 503. Nil:
	// everybody may.
	Allow func(ctx context.Context, r Registration) (bool, error)

	// Lifetime is how long a client_id counts at least, and twice that at most: within
	// one period the same metadata get the same client_id. It has to be a minute or more. It
	// changes nothing for client_ids that were given out before. Zero: they do not expire.
	Lifetime time.Duration

	// Timeout is the deadline of one registration. Zero: 10 s. At a use the deadline is
	// that of the request.
	Timeout time.Duration

	// Logger gets one line per [Event]. Nil: nothing is logged.
	Logger *slog.Logger

	// OnEvent is called once for everything that happened, for metrics and audit. It must
	// return quickly. Nil: not called.
	OnEvent func(ctx context.Context, e Event)

	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Registration is all that is known of a client. It says these things of itself.
type Registration struct {
	// ClientID has all that follows in it.
	ClientID string

	// ClientName is on one line, of at most 80 characters and without those that are
	// invisible. Empty: it gave none.
	ClientName string

	// RedirectURIs are sorted. Those with http at 127.0.0.1, [::1] or localhost have no port,
	// which stands for any.
	RedirectURIs []string

	// ExpiresAt is when the client_id ends. Zero: never.
	ExpiresAt time.Time
}

// Store knows the clients that have registered, and those of Config.Clients. It is the
// registration endpoint too: mount it at one exact path, for all methods. It is safe for
// concurrent use.
type Store struct {
	config   Config
	keys     *jose.Ring
	endpoint http.Handler
}

// New checks the configuration. The error names the field that is wrong.
func New(config Config) (*Store, error) {
	s := &Store{config: config}
	c := &s.config
	if c.Endpoint == "" {
		c.Endpoint = strings.TrimSuffix(c.Issuer, "/") + "/register"
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Scopes, c.DefaultScopes = slices.Clone(c.Scopes), slices.Clone(c.DefaultScopes)
	c.GrantTypes, c.AppSchemes = slices.Clone(c.GrantTypes), slices.Clone(c.AppSchemes)
	if err := errors.Join(c.checkPlaces(), c.checkClients(), s.setUpKeys()); err != nil {
		return nil, err
	}
	s.endpoint = authorize.CORS(http.HandlerFunc(s.register), http.MethodPost)
	return s, nil
}

// wrong names the field of Config that is wrong.
func wrong(field, format string, args ...any) error {
	return fmt.Errorf("%s %s", "Config."+field, fmt.Sprintf(format, args...))
}

func (c *Config) checkPlaces() error {
	for _, place := range []struct{ field, url string }{{"Issuer", c.Issuer}, {"Endpoint", c.Endpoint}} {
		if err := uri.Check(place.url); err != nil || !uri.TakesForms(place.url) {
			return wrong(place.field, "is %q: set an https URL, or an http one on loopback", place.url)
		}
	}
	switch {
	case strings.Contains(c.Issuer, "?"):
		return wrong("Issuer", "has a query: remove it (RFC 8414 §2)")
	case c.Clients == nil:
		return wrong("Clients", "is nil: set the host's own store, or authorize.NewMemory for none")
	case c.Timeout < 0:
		return wrong("Timeout", "is %s: use 0 for 10 s, or more", c.Timeout)
	case c.Lifetime != 0 && (c.Lifetime < time.Minute || c.Lifetime > mostLifetime):
		return wrong("Lifetime", "is %s: use 0 for no end, or from %s to %s", c.Lifetime, time.Minute, mostLifetime)
	}
	return nil
}

// mostLifetime is ten years.
const mostLifetime = 10 * 365 * 24 * time.Hour

// checkClients checks what all clients have in common.
func (c *Config) checkClients() error {
	if len(c.Scopes) == 0 {
		return wrong("Scopes", "is empty: set those that any application may ask for")
	}
	for _, scope := range c.Scopes {
		if scope == "" || strings.Contains(scope, " ") || strings.Trim(scope, oautherr.NQSCHAR) != "" {
			return wrong("Scopes", "has %q, which is empty or has a character that a scope may not have", scope)
		}
	}
	for _, scheme := range c.AppSchemes {
		if err := clientmeta.CheckAppScheme(scheme); err != nil {
			return wrong("AppSchemes", "has %q, which %v", scheme, err)
		}
	}
	client := authorize.Client{ID: prefix, Scopes: c.Scopes, DefaultScopes: c.DefaultScopes}
	if field := (*authorize.ClientError)(nil); errors.As(authorize.CheckClient(client), &field) {
		return wrong(field.Field, "%v", field.Err)
	}
	return nil
}

func (s *Store) setUpKeys() (err error) {
	keys := make([]jose.Key, 0, len(s.config.Keys))
	for i, k := range s.config.Keys {
		if k.Signer != nil {
			if _, ok := k.Signer.Public().(ed25519.PublicKey); !ok {
				return wrong(fmt.Sprintf("Keys[%d]", i), "is of type %T: use a Secret or an Ed25519 key, "+
					"because the same metadata have to give the same client_id", k.Signer.Public())
			}
		}
		keys = append(keys, jose.Key(k))
	}
	if s.keys, err = jose.NewRing(keys); err != nil {
		return wrong("Keys", "cannot be used: %v", err)
	}
	return nil
}

// Metadata is what the server metadata say of this endpoint (RFC 8414 §2), for
// authorize.Handler.MetadataHandler.
func (s *Store) Metadata() map[string]any {
	return map[string]any{"registration_endpoint": s.config.Endpoint}
}

// ServeHTTP is the registration endpoint (RFC 7591 §3). It answers POST with a JSON object,
// also from scripts of any origin, and nothing else.
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.endpoint.ServeHTTP(w, r) }
