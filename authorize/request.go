package authorize

import (
	"encoding/json"
	"log/slog"
	"slices"
	"strings"

	"github.com/usher-auth/usher/authorize/internal/uri"
)

// Client is an application that may ask for authorization (RFC 6749 §2). The endpoint
// checks every field when it uses it, not only when the client is registered.
type Client struct {
	// ID is the client_id (RFC 6749 §2.2).
	ID string

	// Name is shown to the user on consent and error pages. Empty: the ID is shown.
	Name string

	// Public marks a client that cannot keep a secret (RFC 6749 §2.1). PKCE is
	// then always required.
	Public bool

	// RedirectURIs are compared with the request byte for byte. Each is an https URL, an
	// http URL on loopback, or a URI whose private-use scheme has a dot or is one of
	// PrivateUseSchemes (RFC 8252 §7). [CheckRedirectURI] says what is wrong with one. If a
	// URI with http at 127.0.0.1, [::1] or localhost is registered without a port, a
	// request may use any port (OAuth 2.1 §2.3.1). These three hosts are different, so
	// register each that is used. Empty: the client never gets a response, unless OutOfBand
	// is set.
	RedirectURIs []string

	// PrivateUseSchemes are the schemes without a dot that RedirectURIs may use, such as
	// "cursor" or "vscode". Name the schemes of the client's own apps, without a colon;
	// they are compared byte for byte. Schemes with a meaning for browsers or the system,
	// such as javascript and file, are always refused. Any program on the user's machine
	// can take such a scheme (RFC 8252 §8.6): consent is never remembered for it. Empty:
	// only schemes with a dot, such as com.example.app.
	PrivateUseSchemes []string

	// OutOfBand is the redirect_uri by which a program without a browser asks for a JSON
	// response in the body. It is a name that begins with "urn:", such as [OutOfBandAuto].
	// It is compared byte for byte, and nothing is ever redirected to it. An approval is
	// then a JSON object of code, state and iss. An error usually has status 400, and
	// [Config].ErrorPage or, without one, [ErrorJSON] writes it. If a page is needed, that
	// is an error, as under prompt=none. A request that a browser sends for another site's
	// page is refused. The SessionStore must recognize the user by a value that the program
	// sends itself, such as a header. Empty: no response is out of band.
	OutOfBand string

	// DefaultRedirectURI lets a request leave redirect_uri out if exactly one is registered
	// and the request does not ask for openid (RFC 6749 §3.1.2.3).
	DefaultRedirectURI bool

	// AnyLoopbackPort lets a request use any port, or none, even if http at 127.0.0.1,
	// [::1] or localhost is registered with a port (RFC 8252 §7.3).
	AnyLoopbackPort bool

	// Scopes are those that the client may ask for (RFC 6749 §3.3). Empty: none. They do
	// not limit the claims that the client asks for by the claims parameter. Except for a
	// FirstParty client, each such claim needs the user's consent.
	Scopes []string

	// DefaultScopes are used if a request has no scope. Empty: those of
	// [Config].DefaultScopes are used; without them, the request is refused with
	// invalid_scope. They must be among Scopes.
	DefaultScopes []string

	// ResponseTypes are those that the client may ask for, out of "code" and "none". Nil:
	// code only. An empty, non-nil list: none at all.
	ResponseTypes []string

	// ResponseModes are those that a request of the client may name, out of "query",
	// "form_post" and "fragment" (OAuth 2.0 Multiple Response Type Encoding Practices
	// §2.1). Nil: query and form_post. An empty, non-nil list: none. Any other mode is
	// refused with invalid_request.
	//
	// With every list, the response is in the query if the request names no mode, or if it
	// names a mode that it may not use. List fragment only for a client that reads its
	// responses there, such as a script. Anybody can make a link that names the mode, and a
	// client that reads only its query would leave the code in its address. For a client
	// that does not read its query, add "response_mode" to Require.
	ResponseModes []string

	// ReturnPage is for a client with a private-use scheme: its responses are a page with a
	// link to the app, which a script follows at once. After a bare redirect the browser
	// shows nothing new, or wants a click first, and users press the last button again.
	// Redirect URIs with http and https are redirected to all the same.
	ReturnPage bool

	// PKCEOptional lets a confidential client leave PKCE out (RFC 9700 §2.1.1 allows that
	// if the client uses a nonce instead). Incomplete or malformed PKCE is always refused.
	PKCEOptional bool

	// Require are the names of parameters that every request of this client must have, in
	// addition to those of [Config].Require. Nil: no further parameters are required.
	Require []string

	// RequirePushed refuses every request that was not pushed (RFC 9126 §6). This endpoint
	// does not support pushed requests yet, so it refuses every request of the client.
	RequirePushed bool

	// OfflineAccess grants offline_access to an OpenID request of this client without the
	// user's consent to it (OpenID Connect Core 1.0 §11 allows other conditions). Without
	// it, such a request gets offline_access if the user has agreed to it or the client is
	// FirstParty; otherwise the scope is left out. For a request without openid,
	// offline_access is a scope like any other.
	OfflineAccess bool

	// FirstParty marks the host's own application: the user is asked for consent only if
	// the request says prompt=consent, and offline_access is granted without consent. It
	// has no effect if Unvetted is true.
	FirstParty bool

	// Unvetted marks a client that the host has not checked, such as one registered
	// dynamically. An error is shown to the user on a page with a link, and is not sent to
	// the redirect URI at once, so that the endpoint is not an open redirector (RFC 9700
	// §4.11.2). It is sent there if the user completed a page for this request or if stored
	// consent covers it. The client never gets a code without the user's consent: without
	// [Config].Consent it is refused on a page.
	Unvetted bool

	// Revision names the state of what the client says of itself, such as a hash of its
	// redirect URIs and keys. It is opaque. If it changes, the user is asked for consent
	// again. Empty: the host has registered the client, and consent stays when it changes.
	Revision string

	// Disabled refuses every request, as if the client were unknown.
	Disabled bool
}

// firstParty reports whether the client is the host's own. An unvetted client is not, even
// if FirstParty is set.
func (c *Client) firstParty() bool { return c.FirstParty && !c.Unvetted }

// DisplayName returns the name to show to the user: Name, or the ID if Name is empty.
func (c *Client) DisplayName() string {
	if c.Name != "" {
		return c.Name
	}
	return c.ID
}

// Request is a valid authorization request (RFC 6749 §4.1.1, OpenID Connect Core
// 1.0 §3.1.2.1). It is read-only. The values in it come from the client: escape
// them on every page.
type Request struct {
	// ClientID is the client_id. Client is the stored client; nil if a request is read
	// without a store, as by [PendingReader].
	ClientID string
	Client   *Client

	// RedirectURI is where the response will go. OutOfBand is true if it is
	// [Client].OutOfBand: then the response is in the body, as JSON.
	RedirectURI string
	OutOfBand   bool

	// ResponseType is "code" or "none"; ResponseMode is "query", "form_post" or "fragment",
	// or empty if the request names none, which means query.
	ResponseType string
	ResponseMode string

	// Scopes are the requested scopes, each once, in the order of the request.
	Scopes []string

	// State is returned to the client unchanged. Nonce belongs in the ID token. Both are
	// empty if they were not sent.
	State string
	Nonce string

	// CodeChallenge is an S256 challenge (RFC 7636 §4.3), or empty.
	CodeChallenge       string
	CodeChallengeMethod string

	// Prompt has the values of prompt: none, login, consent, select_account or
	// one that an [Interaction] of the host names.
	Prompt []string

	// MaxAge is how old a sign-in may be, in seconds. Nil: any age.
	MaxAge *int64

	// Subject is the user that the client asks for, proven by its id_token_hint or named in
	// claims. Empty: any user.
	Subject string

	// EssentialACR are levels of authentication: claims requires one of them (OpenID
	// Connect Core 1.0 §5.5.1.1). Empty: no level is required.
	EssentialACR []string

	// These fields are for the host's pages: a hint for the user's name, the languages of
	// the page and of the claims, the preferred levels of authentication (best first), the
	// kind of display, and the requested claims as JSON (OpenID Connect Core 1.0 §5.5), nil
	// if absent.
	LoginHint     string
	UILocales     []string
	ClaimsLocales []string
	ACRValues     []string
	Display       string
	Claims        json.RawMessage

	// Resources are the resource indicators (RFC 8707 §2). They are used only if
	// [Config].Resources is set, and have its spelling.
	Resources []string

	// LeftOut are the requested scopes that are not in Scopes, because
	// [Config].IgnoreUnknownScopes is set and they do not exist or are not the client's.
	// Nil: none.
	LeftOut []string

	// GrantData is what the user has decided on the consent page beside the scopes, for
	// this request or, where that is remembered and [Consent].Covers it, before. It is the
	// host's own, see [Granted].Data. Nil: nothing, or not yet.
	GrantData []byte

	redirectURISent bool
	hintSubject     string // proven by id_token_hint
	hintUnverified  bool   // there was an id_token_hint, and it proved nobody
	hintErr         error  // why, if it was verified on this visit
	params          params
}

// Has reports whether Scopes has the scope.
func (r *Request) Has(scope string) bool { return slices.Contains(r.Scopes, scope) }

// Prompts reports whether prompt has the value.
func (r *Request) Prompts(value string) bool { return slices.Contains(r.Prompt, value) }

// RedirectHost returns the host of the redirect URI for a person to read, or its scheme if
// it has no host. Consent pages must show it (RFC 8252 §8.6).
func (r *Request) RedirectHost() string { return uri.Host(r.RedirectURI) }

// Parameter returns the value of a parameter that [Config].Parameters names, or of any
// parameter of the protocol; empty if it was not sent.
func (r *Request) Parameter(name string) string { return r.params.get(name) }

// Sent reports whether the client sent one of these parameters with a value. It is also
// true for an id_token_hint that was verified before the user went to a page, although
// [Request.Parameter] no longer returns its value.
func (r *Request) Sent(name string) bool { return r.params.sent(name) }

// String and LogValue keep state, nonce and hints out of logs.
func (r Request) String() string { return r.LogValue().String() }

// LogValue logs the client and its main parameters, without state, nonce and hints.
func (r Request) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("client_id", r.ClientID),
		slog.String("redirect_host", r.RedirectHost()),
		slog.String("response_type", r.ResponseType),
		slog.String("scope", strings.Join(r.Scopes, " ")),
		slog.String("prompt", strings.Join(r.Prompt, " ")),
	)
}
