package authorize

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	oautherr "github.com/usher-auth/usher/errors"
)

// Reason says in a word why the endpoint decided as it did. The set is closed, so that it
// can label a metric.
type Reason string

// The reasons for a decision.
const (
	ReasonSatisfied           Reason = "satisfied"             // every condition is met
	ReasonNotSignedIn         Reason = "not_signed_in"         // nobody is signed in
	ReasonSecondFactorPending Reason = "second_factor_pending" // the sign-in is not complete
	ReasonPromptLogin         Reason = "prompt_login"          // prompt=login
	ReasonPromptCreate        Reason = "prompt_create"         // prompt=create
	ReasonPromptSelectAccount Reason = "prompt_select_account" // prompt=select_account
	ReasonACR                 Reason = "acr"                   // the sign-in does not reach the required level
	ReasonMaxAge              Reason = "max_age"               // the sign-in is too old
	ReasonOtherUser           Reason = "other_user"            // another user is signed in than the client asks for
	ReasonHint                Reason = "hint_unverified"       // the id_token_hint proves nobody
	ReasonStaleSignIn         Reason = "stale_sign_in"         // back from the login page without a new sign-in
	ReasonDenied              Reason = "denied"                // the user refused
	ReasonForbidden           Reason = "forbidden"             // the host's policy refused
	ReasonInteraction         Reason = "interaction"           // a further interaction is needed
	ReasonNoConsentPage       Reason = "no_consent_page"       // an unvetted client, and no consent page
)

// The reasons for an error page without a decision. A page can choose its text by them.
const (
	ReasonPrefetch      Reason = "prefetch"       // a browser prefetched the address
	ReasonUnreadable    Reason = "unreadable"     // malformed, too large, or neither GET nor POST
	ReasonUnknownClient Reason = "unknown_client" // client_id is missing or unknown
	ReasonClientOff     Reason = "client_off"     // the client is disabled
	ReasonRedirectURI   Reason = "redirect_uri"   // it is missing, not registered or unsafe
	ReasonNoRequest     Reason = "no_request"     // there is no waiting request to continue
	ReasonExpired       Reason = "expired"        // the waiting request has expired or is damaged
	ReasonNoCookies     Reason = "no_cookies"     // the browser keeps no cookies
	ReasonFetched       Reason = "fetched"        // a page is needed, and the request is no navigation
	ReasonNothingChosen Reason = "nothing_chosen" // consent to no scope, or to one that was not asked for
	ReasonStoreFailed   Reason = "store_failed"   // a store or function of the host failed
	ReasonBrowser       Reason = "browser"        // a browser sent a request for a response out of band

	// ReasonClientUnreachable: the data that the client publishes about itself cannot be
	// fetched.
	ReasonClientUnreachable Reason = "client_unreachable"
)

// reasoned is an error with its Reason.
type reasoned struct {
	reason Reason
	status int // of the error page; 0: the error's code decides
	err    *oautherr.Error
}

func (e *reasoned) Error() string { return e.err.Error() }
func (e *reasoned) Unwrap() error { return e.err }

// because returns a copy of the error with a cause, which only the log has.
func (e *reasoned) because(format string, args ...any) *reasoned {
	with := *e.err
	with.Cause = fmt.Errorf(format, args...)
	return &reasoned{e.reason, e.status, &with}
}

func problem(reason Reason, code oautherr.Code, text string) *reasoned {
	return &reasoned{reason, 0, code.With(text)}
}

var (
	errPrefetch = problem(ReasonPrefetch, oautherr.InvalidRequest,
		"This address cannot be fetched ahead of time.")
	errCharacterUnescaped = problem(ReasonUnreadable, oautherr.InvalidRequest,
		"The request has a character that must be percent-encoded.")
	errPercentEncoding = problem(ReasonUnreadable, oautherr.InvalidRequest,
		"The request has a malformed percent-encoding.")
	errParameterNotText = problem(ReasonUnreadable, oautherr.InvalidRequest,
		"The request has a value that is not text.")
	errBodyUnfinished = problem(ReasonUnreadable, oautherr.InvalidRequest,
		"The request could not be read to its end.")
	errMethod = &reasoned{ReasonUnreadable, http.StatusMethodNotAllowed,
		oautherr.InvalidRequest.With("This address answers GET and POST only.")}
	errBodyTooLarge = &reasoned{ReasonUnreadable, http.StatusRequestEntityTooLarge,
		oautherr.InvalidRequest.With("The request is too large.")}
	errURITooLong = &reasoned{ReasonUnreadable, http.StatusRequestURITooLong,
		oautherr.InvalidRequest.With("The address is too long.")}
	errContentType = &reasoned{ReasonUnreadable, http.StatusUnsupportedMediaType,
		oautherr.InvalidRequest.With("A POST has to be of type application/x-www-form-urlencoded.")}

	errClientIDMissing = problem(ReasonUnknownClient, oautherr.InvalidRequest,
		"The application did not say who it is.")
	errClientIDUnknown = problem(ReasonUnknownClient, oautherr.InvalidClient,
		"The application is not known here.")
	errClientDisabled = problem(ReasonClientOff, oautherr.InvalidClient,
		"The application is switched off here.")

	errRedirectURIMissing = problem(ReasonRedirectURI, oautherr.InvalidRequest,
		"The application did not say where to return to.")
	errRedirectURIRepeated = problem(ReasonRedirectURI, oautherr.InvalidRequest,
		"The application named more than one address to return to.")
	errRedirectURI = problem(ReasonRedirectURI, oautherr.RedirectURIMismatch,
		"The address to return to is not one that the application has registered.")
	errRedirectURINotForBrowsers = problem(ReasonBrowser, oautherr.InvalidRequest,
		"This redirect_uri is for programs that run in no browser.")

	errReqMissing = problem(ReasonNoRequest, oautherr.InvalidRequest,
		"There is no request to go on with.")
	errReqExpired = problem(ReasonExpired, oautherr.InvalidRequest,
		"This took too long, or the link is damaged.")
	errReqTooLong = oautherr.InvalidRequest.With(
		"The request is too long to be kept while the user signs in.")
	errCookiesMissing = problem(ReasonNoCookies, oautherr.InvalidRequest,
		"Your browser keeps no cookies for this site. Allow them, then start again.")
	errFetched = problem(ReasonFetched, oautherr.InvalidRequest,
		"A page is needed here. Navigate to this address, do not fetch it.")

	errUserRefused = problem(ReasonDenied, oautherr.AccessDenied,
		"The user refused the request.")
	errPolicyRefused = oautherr.AccessDenied.With(
		"The server's rules refused the request.")
	errScopesMissing = problem(ReasonNothingChosen, oautherr.InvalidRequest,
		"Nothing was chosen. Go back one page to choose, or to say no.")
)

// errClientUnreachable has a RetryAfter, which the error of the ClientStore can replace.
var errClientUnreachable = &reasoned{ReasonClientUnreachable, http.StatusServiceUnavailable, &oautherr.Error{
	Code:        oautherr.TemporarilyUnavailable,
	Description: "The details of the application cannot be fetched at the moment. Try again later.",
	RetryAfter:  time.Minute,
}}

// errConsentNil is a mistake of the host. The page says only that the server failed.
var errConsentNil = &reasoned{ReasonNoConsentPage, 0, oautherr.ServerError.Because(errors.New(
	"the client is Unvetted and Config.Consent is nil: set it, so that the user is asked"))}
