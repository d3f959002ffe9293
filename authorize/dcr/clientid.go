package dcr

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/internal/clientmeta"
	"github.com/usher-auth/usher/authorize/internal/jose"
	"github.com/usher-auth/usher/authorize/internal/uri"
	oautherr "github.com/usher-auth/usher/errors"
)

const (
	// prefix tells our client_ids from those of the host's, which have any form.
	prefix = "dcr."

	// clientType keeps client_ids apart from all other JWTs that the same keys may sign.
	clientType = "usher-client+jwt"

	// maxID is how long a client_id can be, in bytes. Databases have an end to what can be in
	// an index, and so have browsers to an address, which may have it twice.
	maxID = 1500
)

// sealed is what a client_id says. Its JSON is canonical: one order of members, sorted
// lists, and nothing in it that a client can write in two ways.
type sealed struct {
	Issuer       string   `json:"iss"`
	ExpiresAt    int64    `json:"exp,omitempty"`
	ClientName   string   `json:"client_name,omitempty"`
	RedirectURIs []string `json:"redirect_uris"`
}

// seal makes the registration of metadata that are checked.
func (s *Store) seal(m *clientmeta.Metadata, issued time.Time) (Registration, error) {
	content := sealed{Issuer: s.config.Issuer, ClientName: clientmeta.CleanName(m.ClientName)}
	if s.config.Lifetime != 0 {
		content.ExpiresAt = issued.Add(2 * s.config.Lifetime).Unix()
	}
	for _, redirectURI := range m.RedirectURIs {
		if l, ok := uri.CutLoopbackPort(redirectURI); ok {
			redirectURI = "http://" + l.Host + l.Rest
		}
		content.RedirectURIs = append(content.RedirectURIs, redirectURI)
	}
	slices.Sort(content.RedirectURIs)
	content.RedirectURIs = slices.Compact(content.RedirectURIs)
	signed, err := s.keys.Sign(clientType, content)
	switch {
	case errors.Is(err, jose.ErrTooLarge), err == nil && len(prefix+signed) > maxID:
		return Registration{}, &clientmeta.Error{Reason: fmt.Sprintf("makes a client_id of more than %d bytes: "+
			"use fewer or shorter redirect_uris, or a shorter client_name", maxID)}
	case err != nil:
		return Registration{}, fmt.Errorf("signing: %w", err)
	}
	return content.registration(prefix + signed), nil
}

func (c sealed) registration(id string) Registration {
	r := Registration{ClientID: id, ClientName: c.ClientName, RedirectURIs: c.RedirectURIs}
	if c.ExpiresAt != 0 {
		r.ExpiresAt = time.Unix(c.ExpiresAt, 0).UTC()
	}
	return r
}

// period returns when the registrations that are made now count as made: at the beginning
// of one Lifetime, so that they are the same until its end.
func (s *Store) period() time.Time {
	now := s.config.Now()
	seconds := int64(s.config.Lifetime / time.Second)
	if seconds == 0 {
		return now
	}
	return time.Unix(now.Unix()/seconds*seconds, 0)
}

// Client returns the client that Config.Clients knows under this id or, if it knows none, the
// one that has registered. A client_id of ours that does not count, or no longer, is an
// error of the code oautherr.InvalidClient.
//
// The host's own store comes first, as in package cimd, so that the host can pin or disable
// one client by a row. An id that is not ours costs no more than that question.
func (s *Store) Client(ctx context.Context, id string) (*authorize.Client, error) {
	client, err := s.config.Clients.Client(ctx, id)
	if client != nil || err != nil || !strings.HasPrefix(id, prefix) {
		return client, err
	}
	r, err := s.open(id)
	if err == nil {
		err = s.ask(ctx, r)
	}
	if err != nil {
		s.report(ctx, Event{Kind: EventNotUsed, Registration: r, Err: err})
		return nil, err
	}
	return &authorize.Client{
		ID:                id,
		Name:              name(r),
		Public:            true,
		RedirectURIs:      r.RedirectURIs, // without ports, so that requests may have any
		PrivateUseSchemes: clientmeta.PrivateUseSchemes(r.RedirectURIs),
		Scopes:            slices.Clone(s.config.Scopes),
		DefaultScopes:     slices.Clone(s.config.DefaultScopes),
		Unvetted:          true,
	}, nil
}

// name is what a page shows: a client_id is too long for that.
func name(r Registration) string {
	if r.ClientName != "" {
		return r.ClientName
	}
	return uri.Host(r.RedirectURIs[0])
}

// ended is what the user reads of a client that has to register again.
const ended = "The registration of the application has ended. Remove the connection there, and connect it again."

// open returns what a client_id of ours says. Beside an error it is empty, or signed and no
// longer good.
func (s *Store) open(id string) (Registration, error) {
	if len(id) > maxID {
		return Registration{}, oautherr.InvalidClient.Because(fmt.Errorf("longer than %d bytes", maxID))
	}
	var content sealed
	err := s.keys.Verify(clientType, strings.TrimPrefix(id, prefix), &content)
	switch {
	case errors.Is(err, jose.ErrUnknownKey):
		return Registration{}, &oautherr.Error{Code: oautherr.InvalidClient, Description: ended, Cause: err}
	case err != nil:
		return Registration{}, oautherr.InvalidClient.Because(err)
	case content.Issuer != s.config.Issuer:
		return Registration{}, oautherr.InvalidClient.Because(errors.New("registered at another issuer"))
	}
	r := content.registration(id)
	if content.ExpiresAt != 0 && s.config.Now().Unix() >= content.ExpiresAt {
		err := fmt.Errorf("expired at %s", r.ExpiresAt.Format(time.RFC3339))
		return r, &oautherr.Error{Code: oautherr.InvalidClient, Description: ended, Cause: err}
	}
	// The rules, or the configuration, may have changed since it was signed.
	m := &clientmeta.Metadata{RedirectURIs: r.RedirectURIs}
	if err := m.CheckRedirectURIs(s.config.AppSchemes); err != nil {
		return r, oautherr.InvalidClient.Because(err)
	}
	return r, nil
}

// errNotAllowed is what Allow has refused.
var errNotAllowed = errors.New("Config.Allow refused the client")

// ask asks the host. Of its own errors each is a failure: only false refuses.
func (s *Store) ask(ctx context.Context, r Registration) (err error) {
	if s.config.Allow == nil {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = failed(fmt.Errorf("it panicked: %v\n%s", p, debug.Stack()))
		}
	}()
	given := r
	given.RedirectURIs = slices.Clone(r.RedirectURIs)
	allowed, err := s.config.Allow(ctx, given)
	if err == nil {
		err = ctx.Err() // what comes after the deadline does not count
	}
	switch {
	case err != nil:
		return failed(err)
	case !allowed:
		return oautherr.InvalidClient.Because(errNotAllowed)
	}
	return nil
}

// failed is the error for an Allow that could not say. A code in it must not make it a
// refusal, so the chain of errors ends here, but for a browser that went away.
func failed(err error) error {
	cause := fmt.Errorf("Config.Allow: %v", err)
	if errors.Is(err, context.Canceled) {
		cause = fmt.Errorf("Config.Allow: %w", context.Canceled)
	}
	return &oautherr.Error{
		Code: oautherr.TemporarilyUnavailable, Cause: cause, RetryAfter: oautherr.ServerError.Because(err).RetryAfter,
	}
}
