package authorize

import (
	"errors"
	"slices"

	"github.com/usher-auth/usher/authorize/internal/destination"
)

// prove proves where the answer may go (RFC 6749 §3.1.2.4). Without a destination every
// error is a page; from here on it goes to the client.
func (h *Handler) prove(v *visit) (err error) {
	if v.destination, err = h.destinationOf(v.client, v.params); err != nil {
		return err
	}
	if v.denied && v.resumed == nil {
		return v.withWayBack(errDenied)
	}
	return nil
}

// destinationOf returns the destination that the parameters name, if the client has
// registered it.
func (h *Handler) destinationOf(c *Client, p params) (destination.Destination, error) {
	if slices.Contains(p.repeated, "redirect_uri") {
		return destination.Destination{}, errTwoAddresses
	}
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
		return to, errNoAddress
	case err != nil:
		return to, errRedirectURI.because("%w", err)
	}
	return to, nil
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
