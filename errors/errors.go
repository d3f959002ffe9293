// Package errors has the error codes of OAuth 2.0 and OpenID Connect, and the type [Error]:
// a code with a description for the client and a cause for the log.
//
// Import it as oautherr, because the standard library has a package errors too:
//
//	import oautherr "github.com/usher-auth/usher/errors"
//
// A [Code] is itself an error, so errors.Is of the standard library finds it anywhere in a
// chain: errors.Is(err, oautherr.InvalidScope).
//
// An error does not say whether it may be sent to the client's redirect URI. That depends
// on whether the redirect URI was proven, and only the endpoint knows that.
package errors

import (
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// A Code is an error code, such as those below. It is an error and a comparable value.
type Code string

// The error codes of the authorization endpoint (RFC 6749 §4.1.2.1).
const (
	// InvalidRequest: a parameter is missing, repeated or malformed; PKCE is missing or is
	// not S256. On the error page also: client_id or redirect_uri is missing, a waiting
	// request is expired or damaged, the browser keeps no cookies, or a page is needed and
	// the request is no navigation.
	InvalidRequest Code = "invalid_request"
	// UnauthorizedClient: the client is not registered for this response_type.
	UnauthorizedClient Code = "unauthorized_client"
	// AccessDenied: the user or the host's policy refused the request.
	AccessDenied Code = "access_denied"
	// UnsupportedResponseType: the endpoint does not support this response_type.
	UnsupportedResponseType Code = "unsupported_response_type"
	// InvalidScope: scope is missing, or a scope is unknown or not allowed for the client.
	InvalidScope Code = "invalid_scope"
	// ServerError: a store or function of the host failed; the log says which.
	ServerError Code = "server_error"
	// TemporarilyUnavailable: a store took longer than the request's deadline or could not
	// be reached, or the host itself returned this code, as during maintenance.
	TemporarilyUnavailable Code = "temporarily_unavailable"
)

// The error codes that OpenID Connect Core 1.0 §3.1.2.6 adds, and one of OpenID
// Connect Core Error Code unmet_authentication_requirements 1.0.
const (
	// InteractionRequired: a page of the host is needed, and the request says prompt=none.
	InteractionRequired Code = "interaction_required"
	// LoginRequired: nobody is signed in as the request requires, and it says prompt=none.
	// Also: another user signed in than the client asked for, or the user came back from
	// the login page twice without a new sign-in; the log names the time that did not
	// change.
	LoginRequired Code = "login_required"
	// AccountSelectionRequired: the user has to choose an account, and the request says
	// prompt=none.
	AccountSelectionRequired Code = "account_selection_required"
	// ConsentRequired: the user has not agreed, and the request says prompt=none. Also: the
	// request says prompt=consent, and the host has no consent page.
	ConsentRequired      Code = "consent_required"
	InvalidRequestURI    Code = "invalid_request_uri"
	InvalidRequestObject Code = "invalid_request_object"
	// RequestNotSupported, RequestURINotSupported and RegistrationNotSupported: the parameter
	// request, request_uri or registration was sent.
	RequestNotSupported      Code = "request_not_supported"
	RequestURINotSupported   Code = "request_uri_not_supported"
	RegistrationNotSupported Code = "registration_not_supported"
	// UnmetAuthenticationRequirements: the user did not sign in at the level that claims
	// requires.
	UnmetAuthenticationRequirements Code = "unmet_authentication_requirements"
)

// The error codes of further specifications.
const (
	InvalidTarget               Code = "invalid_target"                // RFC 8707 §2
	InvalidAuthorizationDetails Code = "invalid_authorization_details" // RFC 9396 §5
	InvalidGrant                Code = "invalid_grant"                 // RFC 6749 §5.2, at redemption
	UnsupportedGrantType        Code = "unsupported_grant_type"        // RFC 6749 §5.2, at the token endpoint
)

// Codes that are shown on the error page and never sent to a redirect URI, because there is
// no known client or no proven redirect URI. InvalidClient is an error of the token
// endpoint too (RFC 6749 §5.2), and its default description is for that endpoint.
const (
	// InvalidClient: the client is unknown or disabled.
	InvalidClient Code = "invalid_client"
	// RedirectURIMismatch: the redirect URI is not registered, or is registered but unsafe.
	RedirectURIMismatch Code = "redirect_uri_mismatch"
)

// The error codes of a protected resource (RFC 6750 §3.1), for the header WWW-Authenticate.
const (
	// InvalidToken: the access token is unknown, expired, revoked or for another resource.
	InvalidToken Code = "invalid_token"
	// InsufficientScope: the request needs scopes that the access token does not have.
	InsufficientScope Code = "insufficient_scope"
)

// The error codes of dynamic client registration (RFC 7591 §3.2.2).
const (
	// InvalidRedirectURI: a redirect URI is missing, or none that can be registered.
	InvalidRedirectURI Code = "invalid_redirect_uri"
	// InvalidClientMetadata: another member is malformed, or the server does not take it.
	InvalidClientMetadata Code = "invalid_client_metadata"
	// InvalidSoftwareStatement: the software statement is malformed or its signature is wrong.
	InvalidSoftwareStatement Code = "invalid_software_statement"
	// UnapprovedSoftwareStatement: the software statement is not approved for this server.
	UnapprovedSoftwareStatement Code = "unapproved_software_statement"
)

// Error returns the code as it is sent in the parameter error.
func (c Code) Error() string { return string(c) }

// Description says in one sentence what the code means. The client gets it if the error has
// no description of its own. It is empty for a code that is not in this package.
func (c Code) Description() string { return descriptions[c] }

// With returns an error of this code whose Description is text.
func (c Code) With(text string) *Error { return &Error{Code: c, Description: text} }

// Because returns an error of this code whose Cause is err. The cause is for the log; the
// client gets only the code's own description. The RetryAfter of an *Error in err is kept.
func (c Code) Because(err error) *Error {
	e := &Error{Code: c, Cause: err}
	var cause *Error
	if errors.As(err, &cause) && cause != nil {
		e.RetryAfter = cause.RetryAfter
	}
	return e
}

// Error is an error with a text for the client and a cause for the log.
type Error struct {
	// Code goes to the client as the error parameter.
	Code Code

	// Description goes to the client as error_description. It may have only characters that
	// RFC 6749 §4.1.2.1 allows, so never put a value of the request into it. Empty means
	// the code's own description.
	Description string

	// Cause goes only to the log. Nil means that there is no cause.
	Cause error

	// RetryAfter is how long a client should wait before it tries again, if the server
	// knows that. The response of an error that is not sent to a redirect URI has it in the
	// header Retry-After (RFC 9110 §10.2.3), in whole seconds and rounded up. Zero or less:
	// no header.
	RetryAfter time.Duration
}

// RetryAfterHeader returns the value of the header Retry-After: whole seconds, rounded up.
// It is empty if RetryAfter is not positive.
func (e *Error) RetryAfterHeader() string {
	if e.RetryAfter <= 0 {
		return ""
	}
	return strconv.FormatInt(int64((e.RetryAfter-1)/time.Second)+1, 10)
}

// Error returns code, description and cause in one line, for logs.
func (e *Error) Error() string {
	text := string(e.Code)
	if d := e.Text(); d != "" {
		text += ": " + d
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Text returns the text for the client: Description or, if that is empty, the code's own.
// Characters that RFC 6749 §4.1.2.1 forbids are replaced by a question mark.
func (e *Error) Text() string {
	text := e.Description
	if text == "" {
		text = e.Code.Description()
	}
	if strings.Trim(text, NQSCHAR) == "" {
		return text
	}
	return replaceForbidden(text)
}

// Unwrap makes errors.Is and errors.As find both the code and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Code}
	}
	return []error{e.Code, e.Cause}
}

// LogValue returns the code, the description, the cause and RetryAfter as separate
// attributes.
func (e *Error) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("code", string(e.Code)), slog.String("description", e.Text())}
	if e.Cause != nil {
		attrs = append(attrs, slog.String("cause", e.Cause.Error()))
	}
	if e.RetryAfter > 0 {
		attrs = append(attrs, slog.Duration("retry_after", e.RetryAfter))
	}
	return slog.GroupValue(attrs...)
}

// Of returns err as an *Error. It returns the first *Error in err unchanged. A bare Code
// becomes an *Error without a cause. An error that wraps a Code gets that code, and any
// other error becomes a [ServerError], both with err as the cause. Nil stays nil.
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	if c, ok := err.(Code); ok {
		return &Error{Code: c} // the code is the whole error
	}
	var c Code
	if errors.As(err, &c) {
		return &Error{Code: c, Cause: err}
	}
	return ServerError.Because(err)
}

// NQSCHAR has all characters that error and error_description may have: printable ASCII
// without the quotation mark and the backslash (RFC 6749 App. A). A scope may have the same
// characters without the space.
const NQSCHAR = " !#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~"

func replaceForbidden(text string) string {
	out := []byte(text)
	for i, b := range out {
		if strings.IndexByte(NQSCHAR, b) < 0 {
			out[i] = '?'
		}
	}
	return string(out)
}

var descriptions = map[Code]string{
	InvalidRequest:                  "The request is missing a parameter, repeats one or is malformed.",
	UnauthorizedClient:              "The client may not use this response type.",
	AccessDenied:                    "The user or the server refused the request.",
	UnsupportedResponseType:         "The server does not support this response type.",
	InvalidScope:                    "A requested scope is missing, unknown or not open to this client.",
	ServerError:                     "The server met an unexpected condition.",
	TemporarilyUnavailable:          "The server cannot answer at the moment. Try again later.",
	InteractionRequired:             "The user has to do something, and no page can be shown for that.",
	LoginRequired:                   "The user has to sign in, and no page can be shown for that.",
	AccountSelectionRequired:        "The user has to choose an account, and no page can be shown for that.",
	ConsentRequired:                 "The user has to agree, and no page can be shown for that.",
	InvalidRequestURI:               "The request_uri is unknown, used, expired or invalid.",
	InvalidRequestObject:            "The request object is invalid.",
	RequestNotSupported:             "The request parameter is not supported.",
	RequestURINotSupported:          "The request_uri parameter is not supported.",
	RegistrationNotSupported:        "The registration parameter is not supported.",
	UnmetAuthenticationRequirements: "The user could not sign in at the level that was asked for.",
	InvalidTarget:                   "The requested resource is invalid, unknown or not open to this client.",
	InvalidAuthorizationDetails:     "The authorization_details are invalid or of an unknown type.",
	InvalidGrant:                    "The code is unknown, expired, used or was issued to someone else.",
	UnsupportedGrantType:            "The server does not support this grant type.",
	InvalidClient:                   "The client failed to authenticate: unknown client or wrong secret.",
	InvalidToken:                    "The access token is unknown, expired, revoked or for another resource.",
	InsufficientScope:               "The access token does not have the scopes that this needs.",
	InvalidRedirectURI:              "A redirect URI is missing or cannot be registered.",
	InvalidClientMetadata:           "The metadata of the client are malformed or not open here.",
	InvalidSoftwareStatement:        "The software statement is malformed or not signed as it should be.",
	UnapprovedSoftwareStatement:     "The software statement is not approved here.",
	RedirectURIMismatch:             "The address to return to is not one that the application has registered.",
}
