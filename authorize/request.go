package authorize

import (
	"encoding/json"
	"log/slog"
	"slices"
	"strings"

	"github.com/usher-auth/usher/authorize/internal/uri"
)

// Client is an application that may ask for authorization (RFC 6749 §2). Every
// field is checked when it is used, not only when the client is registered.
type Client struct {
	// ID is the client_id (RFC 6749 §2.2).
	ID string

	// Name is shown to the user on consent and error pages. Empty: the ID is.
	Name string

	// Public marks a client that cannot keep a secret (RFC 6749 §2.1). PKCE is
	// then always required.
	Public bool

	// RedirectURIs are compared with the request byte for byte. Each is an https
	// URL, an http URL on loopback, or a private-use scheme with a dot in it or one of
	// PrivateUseSchemes (RFC 8252 §7); [CheckRedirectURI] says what is wrong with one.
	// Of one with http at 127.0.0.1, [::1] or localhost that is registered without a
	// port, a request may have any port (OAuth 2.1 §2.3.1); the three are told apart,
	// so register each that is used. Empty: the client can never be answered.
	RedirectURIs []string

	// PrivateUseSchemes are the schemes without a dot that RedirectURIs may have, such
	// as "cursor" or "vscode": those of the client's own apps, byte for byte, without
	// a colon. Schemes that mean something to browsers or to the system, such as
	// javascript and file, are refused all the same. Any program on the user's machine
	// can take such a scheme (RFC 8252 §8.6): consent is never remembered for it.
	// Empty: only schemes with a dot, such as com.example.app.
	PrivateUseSchemes []string

	// OutOfBand is the redirect_uri by which a program that runs in no browser asks for
	// its answer in the body of the response, as JSON: a name beginning with "urn:",
	// such as [OutOfBandAuto]. It is compared byte for byte, is no address and is
	// never redirected to. An approval is then a JSON object of code, state and iss;
	// an error, with status 400 as a rule, what [Config].ErrorPage makes of it, or
	// [ErrorJSON] without one. A page that is needed is an error, as under prompt=none,
	// and a request that a browser sends for another site's page is refused. The
	// SessionStore knows the user by what the program sends itself, such as a header.
	// Empty: there is none, and every response is a redirect.
	OutOfBand string

	// DefaultRedirectURI lets a request leave redirect_uri out when exactly one
	// is registered and openid is not asked for (RFC 6749 §3.1.2.3).
	DefaultRedirectURI bool

	// AnyLoopbackPort lets a request have any port, or none, also where http at
	// 127.0.0.1, [::1] or localhost is registered with a port (RFC 8252 §7.3).
	AnyLoopbackPort bool

	// Scopes are those that the client may ask for (RFC 6749 §3.3). Empty: none. They do
	// not limit what the client asks for by the claims parameter: that needs the user's
	// consent claim by claim, but for a FirstParty client.
	Scopes []string

	// DefaultScopes stand in when a request has no scope. Empty: such a request
	// is refused with invalid_scope. They must be among Scopes.
	DefaultScopes []string

	// ResponseTypes are those that the client may ask for, of "code" and "none".
	// Nil: code only. An empty, non-nil list: none at all.
	ResponseTypes []string

	// ResponseModes are those that a request of the client may name, of "query",
	// "form_post" and "fragment" (OAuth 2.0 Multiple Response Type Encoding Practices
	// §2.1). Nil: query and form_post. An empty, non-nil list: none. Another one is
	// refused with invalid_request.
	//
	// Whatever is listed, a request that names none is answered in the query, and so is
	// the error of one that names a mode that it may not. List fragment only for a
	// client that reads its responses there, such as a script: anybody can make a link
	// that names the mode, and a client that looks into its query alone would leave the
	// code in its address. For a client that reads no query add "response_mode" to Require.
	ResponseModes []string

	// PKCEOptional lets a confidential client leave PKCE out (RFC 9700 §2.1.1
	// allows it where a nonce does the work). Half or malformed PKCE is refused
	// all the same.
	PKCEOptional bool

	// Require are the names of parameters that every request of this client has to
	// have, beside those that [Config].Require names. Nil: no more than the protocol
	// demands.
	Require []string

	// RequirePushed refuses every request that was not pushed (RFC 9126 §6). A
	// configuration that accepts no pushed requests refuses all of them.
	RequirePushed bool

	// OfflineAccess grants offline_access to an OpenID request of this client without
	// the user's consent to it (OpenID Connect Core 1.0 §11 allows other conditions).
	// Without it such a request gets offline_access if the user has agreed to it, or
	// the client is FirstParty; otherwise it is left out. A request without openid gets it
	// as any other scope.
	OfflineAccess bool

	// FirstParty marks an application of the host's own: consent is asked for only
	// when the request says prompt=consent, and offline_access is granted without
	// it. It counts nothing where Unvetted is true.
	FirstParty bool

	// Unvetted marks a client that nobody of the host has looked at, such as one
	// registered dynamically. An error is shown to the user on a page with a link
	// instead of being sent to its redirect URI at once, so that the endpoint is
	// no open redirector (RFC 9700 §4.11.2), unless the user completed a page for
	// this request or stored consent covers it. It never gets a code without a question
	// to the user: without [Config].Consent it is refused on a page.
	Unvetted bool

	// Revision names the state of what the client says of itself, such as a hash of its
	// redirect URIs and keys. It is opaque. Consent given to one revision does not count for
	// another: the user is asked again. Empty: what the host has registered may change,
	// and consent stays.
	Revision string

	// Disabled refuses everything, as if the client were unknown.
	Disabled bool
}

// firstParty reports whether the client is the host's own. One that nobody has looked
// at is not, whatever else is stored.
func (c *Client) firstParty() bool { return c.FirstParty && !c.Unvetted }

// DisplayName returns the name to show to the user: Name, or the ID without one.
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
	// ClientID names who asks. Client is that client as it is stored now; nil
	// where a request is read without a store, as by [PendingReader].
	ClientID string
	Client   *Client

	// RedirectURI is where the response will go. OutOfBand says that it is
	// [Client].OutOfBand: the response is in the body, as JSON.
	RedirectURI string
	OutOfBand   bool

	// ResponseType is "code" or "none"; ResponseMode is "query", "form_post" or
	// "fragment", or empty where the request leaves it to the server, which means query.
	ResponseType string
	ResponseMode string

	// Scopes are those asked for, each once, in the order asked.
	Scopes []string

	// State is returned to the client as it is. Nonce belongs into the ID token.
	// Both are empty when they were not sent.
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

	// Subject is the user that the client wants an answer for, proven by its
	// id_token_hint or named in claims. Empty: any user.
	Subject string

	// EssentialACR are the levels of authentication of which claims demands one
	// (OpenID Connect Core 1.0 §5.5.1.1). Empty: none is demanded.
	EssentialACR []string

	// The rest is for the host's pages and passed through: what to fill in as the
	// user's name, the languages of the page and of the claims, the levels of
	// authentication wanted (in order of preference), the kind of display, and the
	// claims asked for as JSON (OpenID Connect Core 1.0 §5.5), nil when absent.
	LoginHint     string
	UILocales     []string
	ClaimsLocales []string
	ACRValues     []string
	Display       string
	Claims        json.RawMessage

	// Resources are the resource indicators (RFC 8707 §2), which count only where
	// [Config].Resources is set.
	Resources []string

	// LeftOut are the scopes that were asked for and are not among Scopes, where
	// [Config].IgnoreUnknownScopes leaves out what does not exist or is not the
	// client's. Nil: none.
	LeftOut []string

	// GrantData is what the user has decided on the consent page beside the scopes, for
	// this request or, where that is remembered and [Consent].Covers it, before. It is the
	// host's own, see [Granted].Data. Nil: nothing, or not yet.
	GrantData []byte

	redirectURISent bool
	hintSubject     string // proven by id_token_hint
	hintUnverified  bool   // there was one, and it proved nobody
	hintErr         error  // why, where it was looked at on this visit
	params          params
}

// Has reports whether the scope was asked for.
func (r *Request) Has(scope string) bool { return slices.Contains(r.Scopes, scope) }

// Prompts reports whether prompt has the value.
func (r *Request) Prompts(value string) bool { return slices.Contains(r.Prompt, value) }

// RedirectHost returns the host of the redirect URI for a person to read, or its
// scheme where it has none. Consent pages must show it (RFC 8252 §8.6).
func (r *Request) RedirectHost() string { return uri.Host(r.RedirectURI) }

// Parameter returns the value of one of the parameters that [Config].Parameters
// names, or of any parameter of the protocol; empty when it was not sent.
func (r *Request) Parameter(name string) string { return r.params.get(name) }

// Sent reports whether the request has one of these parameters with a value. It also
// knows of an id_token_hint that was verified before the user went to a page, and whose
// value [Request.Parameter] has no more.
func (r *Request) Sent(name string) bool { return r.params.sent(name) }

// String and LogValue keep state, nonce and hints out of logs.
func (r Request) String() string { return r.LogValue().String() }

// LogValue logs who asks for what, and no secrets.
func (r Request) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("client_id", r.ClientID),
		slog.String("redirect_host", r.RedirectHost()),
		slog.String("response_type", r.ResponseType),
		slog.String("scope", strings.Join(r.Scopes, " ")),
		slog.String("prompt", strings.Join(r.Prompt, " ")),
	)
}
