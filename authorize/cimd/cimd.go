package cimd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/internal/clientmeta"
	"github.com/usher-auth/usher/authorize/internal/uri"
	oautherr "github.com/usher-auth/usher/errors"
)

// Config says what a [Store] needs. Clients, Issuer and Scopes are required. [New] copies it.
type Config struct {
	// Clients is the host's own store, which is asked first.
	Clients authorize.ClientStore

	// Issuer is that of the endpoint. It is told to the servers that documents are
	// fetched from, in User-Agent. If it is on loopback, documents may be on loopback too.
	Issuer string

	// Scopes are those that every client with a document may ask for, whatever it says.
	Scopes []string

	// DefaultScopes stand in when a request has no scope. They must be among Scopes.
	// Empty: such a request is refused.
	DefaultScopes []string

	// AppSchemes are the private-use schemes that redirect URIs of documents may have, such
	// as "cursor" or "com.example.app", byte for byte. They are open to every document, and
	// any program on the user's machine can take one (RFC 8252 §8.6). Empty: none.
	AppSchemes []string

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
	// and for tests. What the package documentation says of addresses, TLS, the size of the
	// header and connections is left to it then: it has to refuse private addresses. Nil: ours.
	Transport http.RoundTripper

	// Logger gets one line per [Event]. Nil: nothing is logged.
	Logger *slog.Logger

	// OnEvent is called for every event, for metrics and audit, from several goroutines at
	// once. It must return quickly. Nil: not called.
	OnEvent func(ctx context.Context, e Event)

	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Store is an [authorize.ClientStore] for clients that have a metadata document, in front of
// that of the host. It is safe for concurrent use. Make one with [New].
type Store struct {
	config    Config
	plain     bool // http on loopback is taken, because the issuer is there
	transport http.RoundTripper
	mayFetch  func(context.Context) bool

	mu        sync.Mutex
	documents *lru[*cached]
	troubles  *lru[*trouble]     // by URL
	hosts     *lru[*host]        // by host and port
	flights   map[string]*flight // by URL
	fetching  map[string]int     // by host and port
}

// New returns a Store. The error names each field of config that is wrong.
func New(config Config) (*Store, error) {
	s := &Store{
		config:   config,
		mayFetch: authorize.MayFetch,
		flights:  map[string]*flight{},
		fetching: map[string]int{},
	}
	if err := s.setUp(); err != nil {
		return nil, err
	}
	return s, nil
}

// Client returns the host's own client with this id, or one as its document describes it.
// The errors are those that [authorize.ClientStore] describes, and [authorize.ErrClientNotFetched].
func (s *Store) Client(ctx context.Context, id string) (*authorize.Client, error) {
	client, err := s.config.Clients.Client(ctx, id)
	if client != nil || err != nil {
		return client, err
	}
	u, err := s.address(id)
	if err != nil {
		return nil, invalidClient("The client_id is not the address of a client metadata document.",
			fmt.Errorf("the client_id %w", err))
	}
	if u == nil {
		return nil, nil
	}
	if err := s.allowed(ctx, u); err != nil {
		return nil, err
	}
	d, err := s.find(ctx, u)
	if err != nil {
		return nil, err
	}
	return s.client(id, d), nil
}

// client returns what is the caller's own.
func (s *Store) client(id string, d *document) *authorize.Client {
	return &authorize.Client{
		ID:                id,
		Name:              d.name,
		Public:            true,
		RedirectURIs:      slices.Clone(d.redirectURIs),
		PrivateUseSchemes: slices.Clone(d.schemes),
		AnyLoopbackPort:   true, // OAuth 2.1 §2.3.1, and such a client cannot know its port
		Scopes:            slices.Clone(s.config.Scopes),
		DefaultScopes:     slices.Clone(s.config.DefaultScopes),
		Unvetted:          true,
		Revision:          d.revision,
	}
}

// allowed asks the host. Whatever goes wrong, it is not a yes.
func (s *Store) allowed(ctx context.Context, u *url.URL) error {
	if s.config.Allow == nil {
		return nil
	}
	call, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	passes, err := s.callAllow(call, u)
	if err == nil {
		err = call.Err()
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		err = fmt.Errorf("Config.Allow: %v", err) // nothing in it may be taken for an answer of ours
	case !passes:
		err = invalidClient("This server does not take applications of this domain.",
			fmt.Errorf("Config.Allow does not let %s pass", u.Host))
	default:
		return nil
	}
	s.report(ctx, u, Event{Kind: EventRefused, Err: err})
	return err
}

func (s *Store) callAllow(ctx context.Context, u *url.URL) (passes bool, err error) {
	defer recovered(&err)
	own := *u
	return s.config.Allow(ctx, &own)
}

// recovered makes a panic the error.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("panic: %v", r)
	}
}

func invalidClient(text string, cause error) error {
	return &oautherr.Error{Code: oautherr.InvalidClient, Description: text, Cause: cause}
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
	refuse := func(field, text string) { wrong = append(wrong, errors.New("Config."+field+" "+text)) }
	if c.Clients == nil {
		refuse("Clients", "is nil: set the host's own store")
	}
	issuer, err := url.Parse(c.Issuer)
	if err != nil || !uri.TakesForms(c.Issuer) || uri.Check(c.Issuer) != nil {
		refuse("Issuer", "is neither an https URL nor one with http on loopback: set that of the endpoint")
		issuer = &url.URL{}
	}
	loopback := uri.IsLoopback(strings.TrimSuffix(issuer.Host, ":"+issuer.Port()))
	s.plain = issuer.Scheme == "http"
	c.Scopes, c.DefaultScopes = slices.Clone(c.Scopes), slices.Clone(c.DefaultScopes)
	c.AppSchemes = slices.Clone(c.AppSchemes)
	if len(c.Scopes) == 0 {
		refuse("Scopes", "is empty, so that no request could succeed: set what such clients may ask for")
	}
	for _, scheme := range c.AppSchemes {
		if err := clientmeta.CheckAppScheme(scheme); err != nil {
			refuse("AppSchemes", fmt.Sprintf("has %.80q, which %v", scheme, err))
		}
	}
	for _, scope := range c.DefaultScopes {
		if !slices.Contains(c.Scopes, scope) {
			refuse("DefaultScopes", fmt.Sprintf("has %.80q, which is not one of Scopes", scope))
		}
	}
	c.MaxAge = cmp.Or(c.MaxAge, day)
	c.MinAge = cmp.Or(c.MinAge, min(time.Minute, c.MaxAge))
	if c.MinAge < 0 || c.MaxAge < c.MinAge {
		refuse("MinAge", "is negative or more than MaxAge")
	}
	if c.StaleFor = cmp.Or(c.StaleFor, time.Hour); c.StaleFor > maxStale {
		refuse("StaleFor", "is more than 24 hours")
	}
	c.Timeout = cmp.Or(c.Timeout, 5*time.Second)
	c.MaxFetches, c.MaxDocuments = cmp.Or(c.MaxFetches, 16), cmp.Or(c.MaxDocuments, 1000)
	if c.Timeout < 0 || c.MaxFetches < 0 || c.MaxDocuments < 0 {
		refuse("Timeout", "is negative, or MaxFetches or MaxDocuments is")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if s.transport = c.Transport; c.Transport == nil {
		s.transport = newTransport(newDialer(loopback, c.Timeout))
	}
	s.documents, s.troubles, s.hosts =
		newLRU[*cached](c.MaxDocuments), newLRU[*trouble](c.MaxDocuments), newLRU[*host](c.MaxDocuments)
	return errors.Join(wrong...)
}
