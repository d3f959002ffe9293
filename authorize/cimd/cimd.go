package cimd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/usher-auth/usher/authorize"
)

// Config says what a [Store] needs. Clients and Issuer are required.
type Config struct {
	// Clients is the host's own store, which is asked first.
	Clients authorize.ClientStore

	// Issuer is that of the endpoint. It is told to the servers that documents are
	// fetched from, in User-Agent. If it is on loopback, documents may be on loopback too.
	Issuer string

	// Scopes are those that clients with a document may ask for. Empty: none, so that
	// every request that names a scope is refused.
	Scopes []string

	// DefaultScopes stand in when a request has no scope. They must be among Scopes.
	// Empty: such a request is refused.
	DefaultScopes []string

	// PrivateUseSchemes are the schemes without a dot that redirect URIs of documents may
	// have, such as "cursor": see [authorize.Client].PrivateUseSchemes. They are open to
	// every document. Empty: none.
	PrivateUseSchemes []string

	// Allow says whether the client whose document is at u may be used. u.Hostname() is the
	// domain: in lower case, without port and without a dot at the end. It is called at
	// every use, so it has to be fast, and has [Config].Timeout. Whatever it says too late
	// is a no. An error or a panic refuses as a store does that fails. Nil: all may.
	Allow func(ctx context.Context, u *url.URL) (bool, error)

	// MinAge and MaxAge are the bounds of how long a document counts, whatever its
	// headers say. Zero: one minute and 24 hours.
	MinAge, MaxAge time.Duration

	// StaleFor is how long a document serves after that if its host cannot be reached,
	// at most 24 hours. Zero: one hour. Negative: not at all.
	StaleFor time.Duration

	// Timeout is the deadline of one fetch, and of one call of Allow. Zero: 5 seconds.
	Timeout time.Duration

	// MaxFetches is how many documents are fetched at the same time. Zero: 16.
	MaxFetches int

	// MaxDocuments is how many documents are kept, those used last. Each takes up to about
	// 10 KB. As many failures are kept, and as many hosts. Zero: 1,000.
	MaxDocuments int

	// Transport sends the requests, for a host that goes out through a proxy of its own,
	// and for tests. It has to refuse private addresses itself. Of the limits above, those
	// on addresses, header and TLS are its own; all others hold. Nil: ours.
	Transport http.RoundTripper

	// Logger gets a line for every event. Nil discards them.
	Logger *slog.Logger

	// OnEvent is called for every event, from several goroutines at once. Nil is fine.
	OnEvent func(ctx context.Context, e Event)

	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Store is a [authorize.ClientStore] for clients that have a metadata document, in front of
// that of the host. Make one with [New].
type Store struct {
	config Config
}

// New returns a Store. The error names each field of config that is wrong.
func New(config Config) (*Store, error) {
	s := &Store{config: config}
	return s, s.setUp()
}

// Client returns the host's own client with this id, or one as its document describes it.
// The errors are those that [authorize.ClientStore] describes.
func (s *Store) Client(ctx context.Context, id string) (*authorize.Client, error) {
	client, err := s.config.Clients.Client(ctx, id)
	if client != nil || err != nil {
		return client, err
	}
	return nil, nil
}

// Metadata returns what such a server has in its metadata (RFC 8414), for
// [authorize.Handler.MetadataHandler]. The map is the caller's to add to.
func (s *Store) Metadata() map[string]any {
	return map[string]any{"client_id_metadata_document_supported": true}
}

const day = 24 * time.Hour

// setUp checks the configuration, fills in the defaults and copies what it keeps.
func (s *Store) setUp() error {
	c := &s.config
	var wrong []error
	refuse := func(field, format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("Config.%s %w", field, fmt.Errorf(format, args...)))
	}
	if c.Clients == nil {
		refuse("Clients", "is nil: set the host's own store")
	}
	c.Scopes, c.DefaultScopes = slices.Clone(c.Scopes), slices.Clone(c.DefaultScopes)
	c.PrivateUseSchemes = slices.Clone(c.PrivateUseSchemes)
	return errors.Join(wrong...)
}
