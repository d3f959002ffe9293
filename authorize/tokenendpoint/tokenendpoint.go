// Package tokenendpoint is the token endpoint of OAuth 2.0 and 2.1 (RFC 6749 §3.2) as one
// [http.Handler], without the tokens: it reads the request, authenticates the client, redeems
// the code and writes the response. The host makes the tokens, in a format and a store of its
// own.
//
//	token, err := tokenendpoint.New(tokenendpoint.Config{
//		Clients: clients,         // as in authorize.Config
//		Redeem:  endpoint.Redeem, // of the authorize.Handler
//		Secret: func(_ context.Context, c *authorize.Client, secret string) (bool, error) {
//			return tokenendpoint.SecretMatches(secret, hashes[c.ID]), nil
//		},
//		Issue:    tokens.issue,
//		Replayed: tokens.revoke,
//		Grants:   map[string]tokenendpoint.Grant{"refresh_token": tokens.refresh},
//	})
//	...
//	mux.Handle("/token", authorize.CORS(token, http.MethodPost))
//
// The Example (Package) is a whole program with tokens that rotate; the Example of
// [Handler.Authenticate] has endpoints for revocation and introspection.
//
// # Requests
//
// Only a POST of a form is read, once and strictly: a malformed escape, a semicolon, a control
// character, a parameter that came twice (resource alone may) or one in the query is
// invalid_request. An empty value counts as absent. Nothing in front of the handler may read
// the body.
//
// # Client authentication
//
// A request uses one method. client_secret_basic is form-encoded inside of Base64 (RFC 6749
// §2.3.1); client_id may stand in the body too, if it is the same. client_secret_post is
// client_id and client_secret in the body. None is client_id alone, or Basic with an empty
// secret: it is for public clients only ([authorize.Client].Public). A public client has no
// secret, so one that sends a secret is refused; any other client has to send one.
//
// An unknown client, one that is disabled and a wrong secret are invalid_client with the same
// text; the log tells them apart. invalid_client has status 401 and a challenge for Basic.
//
// # Errors
//
// An error of the host's functions that has a code of the package errors goes to the client
// with its Description. Any other is server_error or temporarily_unavailable with status 503
// and Retry-After; its text goes to the log only. The same is true of the ClientStore: only
// what it says of the client itself is invalid_client, because a client that reads that may
// throw its registration away. A panic of the host's is left to whatever recovers it around
// the handler; nothing is written by then but headers against caching.
//
// # Replays and refresh tokens
//
// A code that comes twice has leaked, and what was issued for it has to end (RFC 6749 §4.1.2).
// Code.GrantID is the same in Issue and in Replayed: keep it with all that comes of the code,
// refresh tokens and their successors too. Replayed may be called before Issue has stored
// anything, on another replica: keep the GrantID as ended, and let Issue refuse it.
//
// Refresh tokens belong to one client, and those of public clients rotate: each use gives a new
// one, and a used one that comes back ends the whole family (RFC 9700 §4.14.2). Leave a used one
// valid for some seconds. Several processes of one client share a token, and an answer may get
// lost; without such a grace, users are signed out for it. Give each use in that time a
// successor of its own, so that all processes can go on.
//
// # Recipes
//
// Scripts of other origins, such as single-page clients, need [authorize.CORS] around the
// handler. Nothing in an answer depends on cookies, so it may be for any origin.
//
// There is no rate limit in here, because only the host knows whom it may slow down. Put one
// around the handler, by address, before anything is read:
//
//	token.WriteError(w, r, &oautherr.Error{Code: oautherr.TemporarilyUnavailable, RetryAfter: time.Minute})
//
// Config.Secret may count what is wrong and return such an error too. A limit by client alone
// lets anybody shut a client out.
//
// What clients discover comes from the running configuration here too:
//
//	members := token.Metadata()
//	members["token_endpoint"] = "https://accounts.example/token"
//	metadata := endpoint.MetadataHandler(members)
package tokenendpoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
)

// Grant makes the response to a request of one grant type, for the client that has
// authenticated. ctx carries the request's deadline. What is good is issued and stored before
// it returns.
type Grant func(ctx context.Context, r *Request) (*Response, error)

// Config is what the token endpoint needs. Clients, Redeem and Issue have to be set.
type Config struct {
	// Clients knows the clients: the same as in [authorize.Config].
	Clients authorize.ClientStore

	// Redeem is [authorize.Handler.Redeem].
	Redeem func(ctx context.Context, r authorize.Redemption) (*authorize.Code, error)

	// Secret reports whether the secret, which is not empty, is that of the client. It compares
	// in constant time, as [SecretMatches] does. It is also called for a client that does not
	// exist, of which only ID is set then, so that a guess costs the same: a client without a
	// secret is false and a nil error. Nil: there are public clients only.
	Secret func(ctx context.Context, c *authorize.Client, secret string) (bool, error)

	// Issue makes the tokens for a code that was just redeemed. If it fails, the code is used
	// up all the same. Code.Resources are those that the tokens are for: the granted ones, or
	// those among them that the client names now (RFC 8707 §2.2).
	Issue func(ctx context.Context, r *Request, code *authorize.Code) (*Response, error)

	// Replayed ends what was issued for a code that came a second time; code is its record. The
	// client reads invalid_grant in any case, and an error goes to the log. It is finished even
	// if the client goes away. Nil: nothing can be revoked.
	Replayed func(ctx context.Context, r *Request, code *authorize.Code) error

	// Grants are the further grant types, by the value of grant_type, such as "refresh_token".
	// A grant that a client may not use is oautherr.UnauthorizedClient; "client_credentials"
	// is for clients with a secret only, and refused to others without a call. Nil: codes only.
	Grants map[string]Grant

	// Timeout is the deadline of one request, for all calls to the host together. It starts
	// when the body was read. What Issue or a Grant returns later is sent all the same, because
	// it is issued by then. Zero: 10 seconds.
	Timeout time.Duration

	// Logger gets one line for each response. It never has a secret, code, verifier or token
	// in it. Nil: nothing is logged.
	Logger *slog.Logger
}

// Handler is the token endpoint. It is safe for concurrent use and starts no goroutines. Mount
// it for all methods.
type Handler struct{ config Config }

const authorizationCode = "authorization_code"

// New checks the configuration and returns the endpoint. The error names the field that is
// wrong.
func New(config Config) (*Handler, error) {
	config.Grants = maps.Clone(config.Grants)
	if config.Timeout == 0 {
		config.Timeout = 10 * time.Second
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	wrong := ""
	switch {
	case config.Clients == nil:
		wrong = "Clients is nil: set it to the store of the authorization endpoint"
	case config.Redeem == nil:
		wrong = "Redeem is nil: set it to the method Redeem of the authorization endpoint"
	case config.Issue == nil:
		wrong = "Issue is nil: set it to a function that makes tokens"
	case config.Timeout < time.Millisecond || config.Timeout > 5*time.Minute:
		wrong = fmt.Sprintf("Timeout is %s: it has to be between 1ms and 5m, or zero for 10s", config.Timeout)
	}
	for name, grant := range config.Grants {
		switch {
		case name == "" || grant == nil:
			wrong = fmt.Sprintf("Grants[%q] has no name or no function", name)
		case name == authorizationCode:
			wrong = "Grants has authorization_code: remove it, Issue is for that"
		}
	}
	if wrong != "" {
		return nil, errors.New("tokenendpoint: Config." + wrong)
	}
	return &Handler{config}, nil
}

// Metadata returns the members of the server metadata (RFC 8414 §2) that this endpoint answers
// for, grant_types_supported and token_endpoint_auth_methods_supported. The map is the caller's
// to add token_endpoint to, and the members of other endpoints.
func (h *Handler) Metadata() map[string]any {
	methods := []string{"none"}
	if h.config.Secret != nil {
		methods = []string{"client_secret_basic", "client_secret_post", "none"}
	}
	return map[string]any{
		"grant_types_supported": append([]string{authorizationCode},
			slices.Sorted(maps.Keys(h.config.Grants))...),
		"token_endpoint_auth_methods_supported": methods,
	}
}

// ServeHTTP answers one token request (RFC 6749 §5).
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setHeaders(w.Header())
	form, err := readForm(r)
	if err != nil {
		h.WriteError(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.config.Timeout)
	defer cancel()
	request, err := h.identify(ctx, r, form)
	if err != nil {
		h.WriteError(w, r, err)
		return
	}
	response, err := h.grant(ctx, request)
	if err != nil {
		h.refuse(w, r, request.Client, err)
		return
	}
	h.config.Logger.InfoContext(ctx, "token endpoint: issued",
		"client_id", request.Client.ID, "grant_type", request.GrantType)
	write(w, http.StatusOK, response)
}

// grant returns the body of the response.
func (h *Handler) grant(ctx context.Context, r *Request) ([]byte, error) {
	further, known := h.config.Grants[r.GrantType]
	switch {
	case r.GrantType == "":
		return nil, oautherr.InvalidRequest.With("grant_type is missing.")
	case r.GrantType == authorizationCode:
		return h.redeem(ctx, r)
	case !known:
		return nil, oautherr.UnsupportedGrantType
	case r.GrantType == "client_credentials" && r.Client.Public:
		return nil, oautherr.UnauthorizedClient.With("This grant type is for clients with a secret.")
	}
	response, err := further(ctx, r)
	if err = hostError("Config.Grants["+r.GrantType+"]", err); err != nil {
		return nil, err
	}
	return response.body("Config.Grants["+r.GrantType+"]", nil)
}

// redeem is the grant of a code (RFC 6749 §4.1.3).
func (h *Handler) redeem(ctx context.Context, r *Request) ([]byte, error) {
	presented := r.Get("code")
	if presented == "" {
		return nil, oautherr.InvalidRequest.With("code is missing.")
	}
	code, err := h.config.Redeem(ctx, authorize.Redemption{
		Code:        presented,
		ClientID:    r.Client.ID,
		RedirectURI: r.Get("redirect_uri"),
		Verifier:    r.Get("code_verifier"),
		Resources:   r.Resources,
	})
	var replay *authorize.ReplayError
	switch {
	case errors.As(err, &replay) && h.config.Replayed != nil:
		h.replayed(ctx, r, replay.Code)
	case err == nil && code == nil:
		err = errors.New("it returned no code and no error")
	}
	if err = hostError("Config.Redeem", err); err != nil {
		return nil, err
	}
	response, err := h.config.Issue(ctx, r, code)
	if err = hostError("Config.Issue", err); err != nil {
		return nil, err
	}
	return response.body("Config.Issue", code.Scopes)
}

// replayed tells the host. Whoever presents a code that leaked must not be able to stop that by
// going away.
func (h *Handler) replayed(ctx context.Context, r *Request, code *authorize.Code) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.config.Timeout)
	defer cancel()
	if err := h.config.Replayed(ctx, r, code); err != nil {
		h.config.Logger.ErrorContext(ctx, "token endpoint: a code came twice, and what was issued for it "+
			"could not be revoked", "client_id", r.Client.ID, "error", err)
	}
}

// hostError is what becomes of an error of the host's functions: one with a code is for the
// client, any other is a failure.
func hostError(call string, err error) error {
	var code oautherr.Code
	if err == nil || errors.As(err, &code) {
		return err
	}
	return hostFailed(call, err)
}

// hostFailed names the call that failed, for the log.
func hostFailed(call string, err error) *oautherr.Error {
	code, network := oautherr.ServerError, net.Error(nil)
	if errors.As(err, &network) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, oautherr.TemporarilyUnavailable) {
		code = oautherr.TemporarilyUnavailable
	}
	return code.Because(fmt.Errorf("%s: %w", call, err))
}
