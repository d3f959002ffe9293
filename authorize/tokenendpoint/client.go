package tokenendpoint

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/internal/destination"
	oautherr "github.com/usher-auth/usher/errors"
)

// SecretHash returns the hash of a secret, a code or a token, for a store to keep in its place:
// a SHA-256 in 43 characters of base64url. It is for values of at least 128 random bits, such
// as crypto/rand.Text makes. A secret that a person has chosen can be found from it by trying;
// it needs a slow hash, such as argon2id, and a Config.Secret of the host's that compares it.
func SecretHash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// SecretMatches reports whether one of the hashes is the [SecretHash] of the secret, in a time
// that does not depend on the secret. Several hashes let a client change its secret. An empty
// secret or hash matches nothing.
func SecretMatches(secret string, hashes ...string) bool {
	hash, matches := []byte(SecretHash(secret)), 0
	for _, h := range hashes {
		matches |= subtle.ConstantTimeCompare(hash, []byte(h))
	}
	return matches == 1 && secret != ""
}

// Authenticate reads a request as the token endpoint does and authenticates its client, for
// other endpoints of the host that get a form from clients, such as those for revocation
// (RFC 7009) and introspection (RFC 7662). Its errors are for [Handler.WriteError]. A public
// client has only named itself, and [authorize.Client].Public says so: what tells secrets is not
// for it.
func (h *Handler) Authenticate(r *http.Request) (*Request, error) {
	form, err := readForm(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.config.Timeout)
	defer cancel()
	return h.identify(ctx, r, form)
}

// identify authenticates the client of a request that was read.
func (h *Handler) identify(ctx context.Context, r *http.Request, form url.Values) (*Request, error) {
	c, err := credentialsOf(r, form)
	if err != nil {
		return nil, err
	}
	client, err := h.authenticate(ctx, c)
	if err != nil {
		return nil, err
	}
	form.Del("client_secret")
	return &Request{
		Client:    client,
		GrantType: form.Get("grant_type"),
		Resources: form["resource"],
		HTTP:      r,
		form:      form,
	}, nil
}

// credentials are what a client presents. Without a secret it only names itself. A signed
// assertion (RFC 7523) would be a third field.
type credentials struct{ id, secret string }

var (
	errTwoMethods = oautherr.InvalidRequest.With("The client authenticates in more than one way.")
	errTwoClients = oautherr.InvalidRequest.With("The Authorization header and client_id name different clients.")
	errNoClient   = oautherr.InvalidClient.With("The request does not say which client sends it.")
	errNoMethod   = oautherr.InvalidClient.With("This way to authenticate a client is not supported.")
)

// credentialsOf finds the one place where the client has put them (RFC 6749 §2.3).
func credentialsOf(r *http.Request, form url.Values) (c credentials, err error) {
	header := r.Header.Values("Authorization")
	c = credentials{form.Get("client_id"), form.Get("client_secret")}
	asserted := form.Has("client_assertion") || form.Has("client_assertion_type")
	switch {
	case len(header) > 1, len(header) == 1 && (c.secret != "" || asserted), c.secret != "" && asserted:
		return c, errTwoMethods
	case asserted, len(header) == 1 && !usesBasic(r):
		return c, errNoMethod
	case len(header) == 1:
		named := c.id
		if c, err = basic(r); err == nil && named != "" && named != c.id {
			err = errTwoClients
		}
		return c, err
	case c.id == "":
		return c, errNoClient
	}
	return c, nil
}

// usesBasic reports whether the client has chosen HTTP Basic, well or badly.
func usesBasic(r *http.Request) bool {
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Basic")
}

// basic reads the header Authorization, whose two parts are form-encoded (RFC 6749 §2.3.1).
func basic(r *http.Request) (c credentials, err error) {
	id, secret, ok := r.BasicAuth()
	if !ok {
		return c, wrongClient("the header Authorization is not the Base64 of id:secret")
	}
	c.id, err = url.QueryUnescape(id)
	if err == nil {
		c.secret, err = url.QueryUnescape(secret)
	}
	if err != nil || !destination.ValidText(c.secret, maxForm) { // err quotes some of the secret
		return c, wrongClient("id and secret in the header Authorization are not form-encoded")
	}
	return c, nil
}

// wrongClient is what the client reads for everything that is wrong with it, with the cause for
// the log.
func wrongClient(format string, args ...any) *oautherr.Error {
	return oautherr.InvalidClient.Because(fmt.Errorf(format, args...))
}

// maxClientID is the longest client_id that is looked up, as at the authorization endpoint.
const maxClientID = 2048

// authenticate asks for the secret of a client that is unknown too, so that one cannot be told
// from a wrong secret by the time it takes.
func (h *Handler) authenticate(ctx context.Context, c credentials) (*authorize.Client, error) {
	if c.id == "" || !destination.ValidText(c.id, maxClientID) {
		return nil, wrongClient("client_id is empty, longer than %d bytes or not text", maxClientID)
	}
	client, unknown := h.find(ctx, c.id)
	if unknown != nil && unknown.Code != oautherr.InvalidClient {
		return nil, unknown
	}
	right := false
	if c.secret != "" && h.config.Secret != nil {
		var err error
		if right, err = h.config.Secret(ctx, client, c.secret); err == nil {
			err = ctx.Err()
		}
		if err = hostError("Config.Secret", err); err != nil {
			return nil, err
		}
	}
	switch {
	case unknown != nil:
		return nil, unknown
	case client.Public && c.secret != "":
		return nil, wrongClient("the public client %q sent a secret", client.ID)
	case client.Public:
		return client, nil
	case c.secret == "":
		return nil, wrongClient("the client %q is not public and sent no secret", client.ID)
	case h.config.Secret == nil:
		return nil, wrongClient("the client %q is not public, and Config.Secret is nil", client.ID)
	case !right && strings.Contains(c.secret, " "):
		return nil, wrongClient("wrong secret for the client %q. It has a space, which is + in a form: if the "+
			"secret has a +, the client sent it without form-encoding (RFC 6749 §2.3.1)", client.ID)
	case !right:
		return nil, wrongClient("wrong secret for the client %q", client.ID)
	}
	return client, nil
}

// find looks the client up, by the contract of [authorize.ClientStore]. The client of an error
// has only its ID.
func (h *Handler) find(ctx context.Context, id string) (*authorize.Client, *oautherr.Error) {
	nobody := &authorize.Client{ID: id}
	client, err := h.config.Clients.Client(ctx, id)
	if err == nil {
		err = ctx.Err()
	}
	switch {
	case errors.Is(err, authorize.ErrClientNotFetched):
		// It describes itself and can have no secret: the code has to name it.
		return &authorize.Client{ID: id, Public: true, Unvetted: true}, nil
	case errors.Is(err, authorize.ErrClientUnreachable):
		unreachable := hostFailed("ClientStore.Client", err)
		if said := oautherr.Of(err); said.Code == oautherr.TemporarilyUnavailable {
			unreachable.Description = said.Description
		}
		return nobody, unreachable
	case err != nil && oautherr.Of(err).Code == oautherr.InvalidClient:
		return nobody, wrongClient("ClientStore.Client: %w", err)
	case err != nil:
		return nobody, hostFailed("ClientStore.Client", err)
	case client == nil:
		return nobody, wrongClient("the ClientStore has no client %.80q", id)
	case client.ID != id:
		return nobody, hostFailed("ClientStore.Client",
			fmt.Errorf("it returned the client %q when asked for %q", client.ID, id))
	case client.Disabled:
		return nobody, wrongClient("the client %q is disabled", id)
	}
	return client, nil
}
