package authorize

import (
	"context"
	"errors"
	"fmt"

	"github.com/usher-auth/usher/authorize/internal/destination"
	oautherr "github.com/usher-auth/usher/errors"
)

// maxClientID is the longest client_id that is looked up: long enough for one
// that is a URL.
const maxClientID = 2048

// identify finds the client and proves where the answer may go (RFC 6749
// §3.1.2.4). Without both there is no destination, and every error is a page.
func (h *Handler) identify(ctx context.Context, p params) (*Client, destination.Destination, error) {
	nowhere := destination.Destination{}
	id := p.get("client_id")
	if id == "" || p.twice("redirect_uri") {
		return nil, nowhere, oautherr.InvalidRequest.With("The application did not say who it is or where to return to.")
	}
	if !validClientID(id) {
		return nil, nowhere, oautherr.InvalidClient.Because(errors.New("client_id is malformed"))
	}
	client, err := h.config.Clients.Client(ctx, id)
	if err = inTime(ctx, err); err != nil {
		return nil, nowhere, storeFailed("ClientStore.Client", err)
	}
	switch {
	case client == nil:
		return nil, nowhere, oautherr.InvalidClient.Because(errors.New("no such client"))
	case client.ID != id:
		err := fmt.Errorf("ClientStore.Client returned the client %q when asked for %q", client.ID, id)
		return nil, nowhere, storeFailed("ClientStore.Client", err)
	case client.Disabled:
		return client, nowhere, oautherr.InvalidClient.With("The application is switched off here.")
	}
	to, err := destination.Match(p.get("redirect_uri"), client.registration(p), destination.Mode(p.get("response_mode")), p.get("state"))
	if err != nil {
		return client, nowhere, oautherr.RedirectURIMismatch.Because(err)
	}
	return client, to, nil
}

func (c *Client) registration(p params) destination.Registration {
	return destination.Registration{
		URIs:             c.RedirectURIs,
		DefaultSingle:    c.DefaultRedirectURI && !asksForOpenID(p),
		Native:           c.Native,
		LocalhostAnyPort: c.LocalhostAnyPort,
	}
}

// asksForOpenID looks at every scope that was sent, a repeated one included:
// with openid a redirect_uri is required (OpenID Connect Core 1.0 §3.1.2.1).
func asksForOpenID(p params) bool {
	for _, value := range p.all("scope") {
		for _, scope := range list(value) {
			if scope == "openid" {
				return true
			}
		}
	}
	return p.twice("scope")
}

// validClientID accepts the characters of RFC 6749 appendix A.1.
func validClientID(id string) bool {
	for i := range len(id) {
		if id[i] < 0x20 || id[i] > 0x7e {
			return false
		}
	}
	return len(id) <= maxClientID
}

// CheckRedirectURI says why a redirect URI cannot be registered; nil means that it
// can. The endpoint applies the same rules again at every use: the URI must be
// absolute, without fragment, user information or wildcard, use https, http on
// loopback or a private-use scheme with a dot in it, and have no parameter of an
// answer in its query.
func CheckRedirectURI(uri string) error {
	if err := destination.Check(uri); err != nil {
		return fmt.Errorf("redirect URI %q %w", uri, err)
	}
	return nil
}

// inTime returns err, or the context's error where a store took longer than the
// request's deadline and did not notice. What comes too late is not used.
func inTime(ctx context.Context, err error) error {
	if err != nil {
		return err
	}
	return ctx.Err()
}
