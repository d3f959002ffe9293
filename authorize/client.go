package authorize

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/usher-auth/usher/authorize/internal/destination"
	"github.com/usher-auth/usher/authorize/internal/uri"
	oautherr "github.com/usher-auth/usher/errors"
)

// maxClientID is the longest client_id that is looked up: long enough for one
// that is a URL.
const maxClientID = 2048

// findClient finds out who asks (RFC 6749 §2.2).
func (h *Handler) findClient(v *visit) error {
	ctx, id := v.http.Context(), v.params.get("client_id")
	if id == "" {
		return errClientIDMissing
	}
	if !destination.ValidText(id, maxClientID) {
		return errClientIDUnknown.because("client_id is longer than %d bytes or has control characters", maxClientID)
	}
	client, err := h.config.Clients.Client(ctx, id)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return clientFailed("ClientStore.Client", err)
	}
	switch {
	case client == nil:
		return errClientIDUnknown.because("the ClientStore has no client %.80q", id)
	case client.ID != id:
		return hostFailed("ClientStore.Client", fmt.Errorf("it returned the client %q when asked for %q", client.ID, id))
	case client.Disabled:
		v.client = client // for the page that says so
		return errClientDisabled
	}
	v.client = client
	return nil
}

// clientFailed is the error for a ClientStore that returned one: see its contract. That the
// client cannot be reached comes first, because an unknown client is the worse news.
func clientFailed(call string, err error) error {
	known, refused := (*reasoned)(nil), oautherr.Of(err)
	switch {
	case errors.Is(err, ErrClientUnreachable):
		known = errClientUnreachable.because("%s: %w", call, err)
	case refused.Code == oautherr.InvalidClient:
		known = errClientIDUnknown.because("%s: %w", call, err)
	default:
		return hostFailed(call, err)
	}
	if refused.Code == known.err.Code {
		known.err.Description = cmp.Or(refused.Description, known.err.Description)
		known.err.RetryAfter = cmp.Or(refused.RetryAfter, known.err.RetryAfter)
	}
	return known
}

// prove proves where the answer may go (RFC 6749 §3.1.2.4). Without a destination every
// error is a page; from here on it goes to the client.
func (h *Handler) prove(v *visit) error {
	if slices.Contains(v.params.repeated, "redirect_uri") {
		return errRedirectURIRepeated
	}
	c, p := v.client, v.params
	registration := destination.Registration{
		URIs:              c.RedirectURIs,
		PrivateUseSchemes: c.PrivateUseSchemes,
		OutOfBand:         c.OutOfBand,
		DefaultSingle:     c.DefaultRedirectURI && !asksForOpenID(p, &h.config, c),
		AnyLoopbackPort:   c.AnyLoopbackPort,
		Modes:             c.ResponseModes,
	}
	to, err := destination.Match(p.get("redirect_uri"), registration, p.get("response_mode"), p.get("state"))
	switch {
	case errors.Is(err, destination.ErrMissing):
		return errRedirectURIMissing
	case err != nil:
		return errRedirectURI.because("%w", err)
	}
	if v.destination = to; v.denied && v.resumed == nil {
		return v.withWayBack(errUserRefused)
	}
	return nil
}

// asksForOpenID reports whether the request is one of OpenID Connect, which has to
// have a redirect_uri (OpenID Connect Core 1.0 §3.1.2.1). A scope that came twice
// may be.
func asksForOpenID(p params, config *Config, c *Client) bool {
	scopes := list(p.get("scope"))
	if len(scopes) == 0 {
		scopes = config.defaultScopes(c)
	}
	return slices.Contains(scopes, "openid") || slices.Contains(p.repeated, "scope")
}

// identify is both stages, for what only reads a request.
func (h *Handler) identify(ctx context.Context, p params) (*Client, destination.Destination, error) {
	v := &visit{http: (&http.Request{}).WithContext(ctx), params: p}
	err := h.findClient(v)
	if err == nil {
		err = h.prove(v)
	}
	return v.client, v.destination, err
}

// CheckRedirectURI says why a redirect URI cannot be registered; nil means that it
// can. The endpoint applies the same rules again at every use: the URI must be
// absolute, without fragment, user information or wildcard, use https, http on
// loopback or a private-use scheme, and have no parameter of an answer in its query.
// A private-use scheme has a dot in it, or is one of privateUseSchemes, which are the
// client's PrivateUseSchemes; without them only those with a dot can be registered.
func CheckRedirectURI(redirectURI string, privateUseSchemes ...string) error {
	if err := uri.Check(redirectURI, privateUseSchemes...); err != nil {
		return fmt.Errorf("redirect URI %q %w", redirectURI, err)
	}
	return nil
}

// A ClientError is one thing that [CheckClient] found wrong.
type ClientError struct {
	// Field is that of [Client] which has to change. One value of a list has its
	// index: "RedirectURIs[1]".
	Field string

	// Err says what is wrong, without the name of the field.
	Err error
}

// Error names the field and says what is wrong with it.
func (e *ClientError) Error() string { return "Client." + e.Field + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e *ClientError) Unwrap() error { return e.Err }

// CheckClient says what makes a client unusable or contradicts itself, for whoever
// registers or stores one; nil means nothing. The error joins all that is wrong, each a
// [ClientError]: its method Unwrap() []error returns them.
//
// [Memory] and package sqlstore refuse what it refuses. The endpoint does not call it: at
// use it checks each value of the client that a request relies on, whatever the store.
func CheckClient(c Client) error {
	var wrong []error
	add := func(field string, err error) { wrong = append(wrong, &ClientError{field, err}) }
	switch {
	case c.ID == "":
		add("ID", errors.New("is missing"))
	case !destination.ValidText(c.ID, maxClientID):
		add("ID", fmt.Errorf("is longer than %d bytes, or is not UTF-8 without control characters", maxClientID))
	}
	for i, redirectURI := range c.RedirectURIs {
		if err := CheckRedirectURI(redirectURI, c.PrivateUseSchemes...); err != nil {
			add(fmt.Sprintf("RedirectURIs[%d]", i), err)
		}
	}
	for i, scheme := range c.PrivateUseSchemes {
		if err := uri.CheckPrivateUse(scheme); err != nil {
			add(fmt.Sprintf("PrivateUseSchemes[%d]", i), fmt.Errorf("%.80q %w", scheme, err))
		}
	}
	if c.OutOfBand != "" {
		if err := uri.CheckName(c.OutOfBand); err != nil {
			add("OutOfBand", fmt.Errorf("%.80q %w: set a name such as %s", c.OutOfBand, err, OutOfBandAuto))
		}
	}
	for i, scope := range c.DefaultScopes {
		if !slices.Contains(c.Scopes, scope) {
			add(fmt.Sprintf("DefaultScopes[%d]", i), fmt.Errorf("%.80q is not one of Scopes", scope))
		}
	}
	for i, responseType := range c.ResponseTypes {
		if responseType != "code" && responseType != "none" {
			err := fmt.Errorf(`%.80q is neither "code" nor "none"`, responseType)
			add(fmt.Sprintf("ResponseTypes[%d]", i), err)
		}
	}
	for i, mode := range c.ResponseModes {
		if known := destination.Modes(); !slices.Contains(known, mode) {
			err := fmt.Errorf("%.80q is none of %s", mode, strings.Join(known, ", "))
			add(fmt.Sprintf("ResponseModes[%d]", i), err)
		}
	}
	if c.FirstParty && c.Unvetted {
		add("FirstParty", errors.New("contradicts Unvetted: the host's own application is vetted"))
	}
	return errors.Join(wrong...)
}
