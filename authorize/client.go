package authorize

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/usher-auth/usher/authorize/internal/destination"
	oautherr "github.com/usher-auth/usher/errors"
)

// maxClientID is the longest client_id that is looked up: long enough for one
// that is a URL.
const maxClientID = 2048

// findClient finds the client of the request (RFC 6749 §2.2).
func (h *Handler) findClient(v *visit) error {
	ctx, id := v.http.Context(), v.params.get("client_id")
	if id == "" {
		return errClientIDMissing
	}
	if !destination.ValidText(id, maxClientID) {
		return errClientIDUnknown.because("client_id is longer than %d bytes or has control characters", maxClientID)
	}
	v.finding.Store(true)
	client, err := h.config.Clients.Client(ctx, id)
	v.finding.Store(false)
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
		return hostFailed("ClientStore.Client",
			fmt.Errorf("it returned the client %q when asked for %q", client.ID, id))
	case client.Disabled:
		v.client = client // for the error page
		return errClientDisabled
	}
	v.client = client
	return nil
}

// clientFailed turns an error of the ClientStore into the error of the response: see the
// contract of ClientStore. ErrClientUnreachable is tested first: if both are in the error,
// the client must not be reported as unknown.
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

// prove proves where the response may go (RFC 6749 §3.1.2.4). Before it, every error is a
// page; after it, errors go to the client.
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
		ReturnPage:        c.ReturnPage,
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

// asksForOpenID reports whether the request is an OpenID Connect request, which must have a
// redirect_uri (OpenID Connect Core 1.0 §3.1.2.1). A request with two scope parameters
// counts as one.
func asksForOpenID(p params, config *Config, c *Client) bool {
	scopes := list(p.get("scope"))
	if len(scopes) == 0 {
		scopes = config.defaultScopes(c)
	}
	return slices.Contains(scopes, "openid") || slices.Contains(p.repeated, "scope")
}

// identify runs findClient and prove, for callers that only read a request.
func (h *Handler) identify(ctx context.Context, p params) (*Client, destination.Destination, error) {
	v := &visit{http: (&http.Request{}).WithContext(ctx), params: p}
	err := h.findClient(v)
	if err == nil {
		err = h.prove(v)
	}
	return v.client, v.destination, err
}
