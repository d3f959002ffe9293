package authorize

import (
	"context"
	"crypto"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/usher-auth/usher/authorize/internal/jose"
	"github.com/usher-auth/usher/session"
)

// Config says how an authorization endpoint behaves. Issuer, Clients, Sessions, Codes and
// Login are required. Every other field may stay zero: its comment says what that means.
// New copies the Config.
type Config struct {
	// Issuer is the issuer identifier (RFC 8414 §2): an https URL without query
	// and fragment; http is allowed on loopback only, for development. It is sent
	// as iss with every response (RFC 9207), exactly as written here. With an http
	// issuer, cookies lose the Secure flag and the __Host- prefix.
	Issuer string

	// Endpoint is the absolute URL under which browsers reach this handler, with any prefix
	// and as seen from outside a proxy. Empty: Issuer + "/authorize". It is never derived
	// from the request.
	Endpoint string

	// The four interfaces that the host implements; see each.
	Clients  ClientStore
	Sessions SessionStore
	Codes    CodeStore
	Login    LoginRedirector

	// Register sends the browser to the host's registration page, for requests with
	// prompt=create (Initiating User Registration via OpenID Connect 1.0). The page signs
	// the new user in and ends like a login page. Nil: prompt=create is refused.
	Register LoginRedirector

	// CheckRequest holds the host's own rules. It is called for requests that keep the
	// rules of the protocol, and can refuse an unknown value of a parameter of the host, a
	// response mode that the host does not want, or everything during maintenance. It is
	// called before the SessionStore is asked, and again when the user comes back from a
	// page. An error with an oautherr.Code, such as oautherr.InvalidRequest.With(text) or
	// oautherr.TemporarilyUnavailable, goes to the client as it is. Any other error goes
	// there as server_error. Nil: there are no further rules.
	CheckRequest func(ctx context.Context, r *Request) error

	// Consent asks the user to agree. Nil: nobody is asked, and prompt=consent is refused
	// with consent_required.
	Consent *Consent

	// Interactions are further pages that a user may have to pass after login and consent,
	// in this order. An interaction for select_account comes before consent. Nil: none.
	Interactions []Interaction

	// Allow is the host's access policy: may this user use this client with these scopes?
	// It is called whenever a code could be issued, on every path. False is access_denied.
	// An error is server_error or, as for a store, temporarily_unavailable. Nil: everyone
	// may.
	Allow func(ctx context.Context, s *session.Session, r *Request) (bool, error)

	// IDTokenHint verifies an id_token_hint that this issuer signed, expired or not, and
	// returns its subject (OpenID Connect Core 1.0 §3.1.2.1), of at most 255 bytes of
	// UTF-8. An error means that the hint cannot be verified, for example because its key
	// is gone. Then the client gets a code only after a new sign-in, and prompt=none is
	// login_required. An error that wraps oautherr.ServerError or
	// oautherr.TemporarilyUnavailable means that the verifier failed. Nil: a request with a
	// hint is refused, because without the hint the response could be for another user.
	IDTokenHint func(ctx context.Context, token string) (subject string, err error)

	// Resources are the protected resources that clients may ask for (RFC 8707): a
	// [ResourceMap], or a [ResourceFunc] where they are data. New copies the map. Nil:
	// the parameter resource is ignored.
	Resources Resources

	// ResponseTypes are those that the endpoint supports, out of "code" and "none". Nil:
	// code.
	ResponseTypes []string

	// Require are the names of parameters that every request has to have, such as "state"
	// or "scope". A request without one of them is refused with invalid_request. Without
	// client_id or redirect_uri it is refused on an error page. Nil: only the parameters
	// that the protocol and the client require.
	Require []string

	// Scopes are all scopes that exist. A client can use those that are here and among its
	// own. Nil: every scope that a client is registered for exists, and the metadata list
	// no scopes.
	Scopes []string

	// DefaultScopes are used where a client has no Client.DefaultScopes. Scopes that the
	// client may not have are left out. Nil: there are none.
	DefaultScopes []string

	// IgnoreUnknownScopes leaves out scopes that do not exist or are not this client's
	// (OpenID Connect Core 1.0 §3.1.2.1), instead of refusing the request with
	// invalid_scope (RFC 6749 §3.3). The scopes that were left out are in Request.LeftOut
	// and Event.LeftOut. If no scope remains, the request is refused all the same.
	IgnoreUnknownScopes bool

	// Parameters are the names of further request parameters, such as "x_method": 1 to 32
	// lower-case letters, digits, '-' and '_'. They are kept during the login,
	// Request.Parameter returns them, and Code.Parameters has them at redemption. If their
	// values together have more than 2,048 bytes, the request is invalid_request. Nil:
	// none.
	Parameters []string

	// Keys sign the request while it waits for the user. The first key signs; all keys
	// verify. To change keys in one process, put the new key first and keep the old key for
	// PendingLifetime. With replicas, first put the new key second on all of them. Nil: a
	// random key of this process. That is enough for a single process, which then loses the
	// waiting requests when it restarts.
	Keys []Key

	// CodeLifetime is how long a code can be redeemed. Zero: 60 s. At most 10
	// minutes (RFC 6749 §4.1.2).
	CodeLifetime time.Duration

	// PendingLifetime is how long the user has for login and all other pages
	// together. Zero: 30 minutes. At most 24 hours.
	PendingLifetime time.Duration

	// ClockSkew is how far the clock that sets Session.AuthTime may be behind this one.
	// Zero: 5 s. At most 5 minutes.
	ClockSkew time.Duration

	// Timeout limits all store calls of one request together. Zero: 10 s. At most 5
	// minutes.
	Timeout time.Duration

	// ErrorPage writes the page for an error that must not be sent to the client. Headers
	// are set before the call. The function may replace headers to use its own style, but
	// must keep frame-ancestors 'none' and, if p.Return has a form, Referrer-Policy
	// strict-origin. It must write the status p.Status. Nil: a plain page in English. See
	// [PageError].
	ErrorPage func(w http.ResponseWriter, r *http.Request, p PageError)

	// ErrorURL sends the browser to a page of the host instead, with the query parameters
	// error, error_description, reason (a [Reason]), ui_locales, if there are any, and
	// error_id. Anybody can link to the page, so it must show its own text for the reason
	// or the error, not the description. Some errors are shown in place all the same: those
	// with another status than 400; those on a page with a link to the client, as for an
	// Unvetted client or a refusal in a browser without the request's cookie; and those of
	// a prefetch or of a fetch that needs a page. The page for an expired request then has
	// no such link. Empty: every page is shown in place. At most one of ErrorPage and
	// ErrorURL may be set.
	ErrorURL string

	// Logger gets one line per [Event], and warnings about what the host should fix. Nil:
	// nothing is logged.
	Logger *slog.Logger

	// OnEvent is called once for each [Event], for metrics, audit and traces. It must
	// return quickly. Nil: not called.
	OnEvent func(ctx context.Context, e Event)

	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Key signs and verifies waiting requests. Set either Secret or Signer.
type Key struct {
	// ID is the key's "kid". Empty: one is derived from the key.
	ID string

	// Secret is for HMAC with SHA-256 (HS256): at least 32 random bytes, known to
	// every replica and to nobody else.
	Secret []byte

	// Signer is an ECDSA P-256 key (ES256), an Ed25519 key (EdDSA) or an RSA key of at
	// least 2,048 bits (RS256). Its public key lets a login page in another process read
	// the request; see [Handler.PendingKeysHandler].
	Signer crypto.Signer
}

// LogValue keeps the secret out of logs.
func (k Key) LogValue() slog.Value { return slog.StringValue("key " + k.ID) }

// String keeps the secret out of logs.
func (k Key) String() string { return "key " + k.ID }

// Handler is the authorization endpoint. It is safe for concurrent use and starts
// no goroutines. Mount it at one exact path: a subtree pattern such as
// "/authorize/" makes net/http redirect with status 307.
type Handler struct {
	config       Config
	origin       string // of Endpoint: scheme and authority
	secure       bool   // the issuer is https
	known        map[string]bool
	room         int           // bytes of JSON for the parameters of a waiting request
	interactions []Interaction // consent first, then the configuration's
	prompts      []string      // values of prompt that are supported
	keys         *jose.Ring
	pending      *PendingReader
	log          *slog.Logger
	observed     bool // somebody reads logs or events
}

// New checks the configuration and returns the endpoint. The error names the field that is
// wrong and says how to fix it.
func New(config Config) (*Handler, error) {
	h := &Handler{config: config}
	if err := h.setUp(); err != nil {
		return nil, fmt.Errorf("authorize: %w", err)
	}
	return h, nil
}

// ServeHTTP answers one authorization request (RFC 6749 §3.1).
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := &visit{started: h.config.Now()}
	ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), visitKey{}, v), h.config.Timeout)
	defer cancel()
	v.http = r.WithContext(ctx)
	if err := h.answer(v); err != nil {
		v.refuse(err)
	}
	h.respond(w, v)
}

// answer takes a request through all stages, one after the other. Until prove has created a
// destination, an error can only lead to the error page.
func (h *Handler) answer(v *visit) error {
	if err := h.read(v); err != nil {
		return err
	}
	if err := h.findClient(v); err != nil {
		return err
	}
	if err := settleSource(v); err != nil {
		return err
	}
	if err := h.prove(v); err != nil {
		return err
	}
	if err := h.validate(v); err != nil {
		return err
	}
	if err := h.whoIsSignedIn(v); err != nil {
		return err
	}
	if v.http.Method == http.MethodPost && !v.session.SignedIn() && !v.request.OutOfBand {
		return h.askAgainByGET(v)
	}
	if err := h.whatElseIsNeeded(v); err != nil {
		return err
	}
	switch h.decide(v); v.decision.Outcome {
	case approve:
		return h.approve(v)
	case interact:
		return h.interact(v)
	}
	return h.refusal(v)
}
