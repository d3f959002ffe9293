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

// Config says how an authorization endpoint behaves. Issuer, Clients, Sessions,
// Codes and Login are required; everything else may stay zero, which means the
// default or that the feature is off. New copies it.
type Config struct {
	// Issuer is the issuer identifier (RFC 8414 §2): an https URL without query
	// and fragment; http is allowed on loopback only, for development. It is sent
	// as iss with every response (RFC 9207), exactly as written here. With an http
	// issuer, cookies lose the Secure flag and the __Host- prefix.
	Issuer string

	// Endpoint is the absolute URL under which browsers reach this handler, with
	// any prefix and as seen from outside a proxy. Empty: Issuer + "/authorize".
	// It is never made from the request.
	Endpoint string

	// The four interfaces of the host; see each.
	Clients  ClientStore
	Sessions SessionStore
	Codes    CodeStore
	Login    LoginRedirector

	// Register sends the browser to the page where a new user signs up, for requests
	// with prompt=create (Initiating User Registration via OpenID Connect 1.0). The
	// page signs the new user in and ends like a login page. Nil: prompt=create is
	// refused.
	Register LoginRedirector

	// CheckRequest is the host's own rule for requests that keep those of the protocol: a
	// parameter of its own with a value that does not exist, a response mode that it
	// does not want, a server under maintenance. It is asked before anybody looks who
	// is signed in, and again when the user comes back from a page. An error with an
	// oautherr.Code, such as oautherr.InvalidRequest.With(text) or
	// oautherr.TemporarilyUnavailable, goes to the client as it is, any other as
	// server_error. Nil: there are no further rules.
	CheckRequest func(ctx context.Context, r *Request) error

	// Consent asks the user to agree. Nil: nobody is asked, and prompt=consent is
	// answered consent_required.
	Consent *Consent

	// Interactions are further pages that a user may have to pass after login and
	// consent, in this order; one for select_account comes before consent. Nil: none.
	Interactions []Interaction

	// Allow is the host's access policy: may this user use this client with these
	// scopes? It is asked whenever a code could be issued, on every path. False is
	// access_denied, an error server_error or, as for a store,
	// temporarily_unavailable. Nil: everyone may.
	Allow func(ctx context.Context, s *session.Session, r *Request) (bool, error)

	// IDTokenHint verifies an id_token_hint that this issuer signed, expired or
	// not, and returns its subject (OpenID Connect Core 1.0 §3.1.2.1), of at most 255
	// bytes of UTF-8. An error means that the hint cannot be verified, such as one
	// signed with a key that is gone: only a new sign-in is answered then, and
	// prompt=none is login_required. An error that wraps oautherr.ServerError or
	// oautherr.TemporarilyUnavailable means that the verifier failed. Nil: a request
	// with a hint is refused, because ignoring it could answer for another user.
	IDTokenHint func(ctx context.Context, token string) (subject string, err error)

	// Resources are the protected resources that clients may ask for (RFC 8707): a
	// [ResourceMap], or a [ResourceFunc] where they are data. New copies the map. Nil:
	// the parameter resource is ignored.
	Resources Resources

	// ResponseTypes that the endpoint supports, of "code" and "none". Nil: code.
	ResponseTypes []string

	// Require are the names of parameters that every request has to have, such as
	// "state" or "scope": one without is refused with invalid_request, or with an
	// error page if it is client_id or redirect_uri. Nil: no more than the protocol
	// and each client demand.
	Require []string

	// Scopes that exist. A client can use those that are here and among its own.
	// Nil: those that clients are registered for, and the metadata name none.
	Scopes []string

	// DefaultScopes stand in for Client.DefaultScopes where a client has none, as far
	// as the client may have them. Nil: there are none.
	DefaultScopes []string

	// IgnoreUnknownScopes leaves out scopes that do not exist or are not this client's
	// (OpenID Connect Core 1.0 §3.1.2.1), instead of refusing the request with
	// invalid_scope (RFC 6749 §3.3). What was left out is in Request.LeftOut and
	// Event.LeftOut. Where none is left the request is refused all the same.
	IgnoreUnknownScopes bool

	// Parameters are the names of further request parameters that survive the
	// login, that Request.Parameter returns and that are in the code at redemption,
	// such as "x_method": 1 to 32 lower-case letters, digits, '-' and '_'. A request in
	// which their values have more than 2,048 bytes together is invalid_request. Nil:
	// none.
	Parameters []string

	// Keys sign the request while it waits for the user. The first signs, all
	// verify. To change keys with one process, put the new one first and keep the old one
	// for PendingLifetime; with replicas, put it second on all of them before that. Nil: a
	// random key of this process, which is enough for one process that may lose
	// waiting requests when it restarts.
	Keys []Key

	// CodeLifetime is how long a code can be redeemed. Zero: 60 s. At most 10
	// minutes (RFC 6749 §4.1.2).
	CodeLifetime time.Duration

	// PendingLifetime is how long the user has for login and all other pages
	// together. Zero: 30 minutes. At most 24 hours.
	PendingLifetime time.Duration

	// ClockSkew is by how much the clock that stamps a sign-in may lag behind
	// this one. Zero: 5 s. At most 5 minutes.
	ClockSkew time.Duration

	// Timeout is the deadline of one request, for all store calls together. Zero:
	// 10 s. At most 5 minutes.
	Timeout time.Duration

	// ErrorPage writes the page for an error that must not be sent to the client.
	// Headers are set before the call. The function may replace those that stand
	// in the way of its own style, but keeps frame-ancestors 'none' and, where there
	// is a form in p.Return, Referrer-Policy strict-origin; the status to write is
	// p.Status. Nil: a plain page in English. See [PageError].
	ErrorPage func(w http.ResponseWriter, r *http.Request, p PageError)

	// ErrorURL sends the browser to a page of the host instead, with the query
	// parameters error, error_description, reason (a [Reason]) and ui_locales, where
	// there are any, and error_id. Anybody can link to the page, so it shows a text of
	// its own for the reason or the error, and not the description. Answered in place
	// all the same are errors with another status than 400, those from which a link
	// leads to the client, as of an Unvetted one or a no in a browser without the
	// request's cookie, and what nobody would see elsewhere: a prefetch, or a fetch
	// that needs a page. For a request that has expired there is no such link then.
	// Empty: the page is shown in place. At most one of ErrorPage and ErrorURL may be set.
	ErrorURL string

	// Logger gets one line per [Event], and warnings about what the host should mend.
	// Nil: nothing is logged.
	Logger *slog.Logger

	// OnEvent is called once for everything that happened, for metrics, audit and
	// traces. It must return quickly. Nil: not called.
	OnEvent func(ctx context.Context, e Event)

	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Key signs and verifies. Set either Secret or Signer.
type Key struct {
	// ID is the key's "kid". Empty: one is derived from the key.
	ID string

	// Secret is for HMAC with SHA-256 (HS256): at least 32 random bytes, known to
	// every replica and to nobody else.
	Secret []byte

	// Signer is an ECDSA P-256 key (ES256), an Ed25519 key (EdDSA) or an RSA key
	// of at least 2,048 bits (RS256). Its public half lets a login page in
	// another process read the request; see [Handler.PendingKeysHandler].
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

// New checks the configuration and returns the endpoint. The error names the
// field that is wrong and how to mend it.
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

// answer takes a request the whole way, one stage after the other. Until prove has made a
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
