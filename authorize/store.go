package authorize

import (
	"context"
	"net/http"
	"time"

	"github.com/usher-auth/usher/session"
)

// The four interfaces that a host implements. The package documentation has the rules for
// all of them, under Stores.

// ClientStore finds the registered clients (RFC 6749 §2).
type ClientStore interface {
	// Client returns the client with this id, byte for byte. The endpoint calls it once in
	// each request, and so does each call of [Handler.Pending], Complete and Grant. The id
	// is untrusted input: up to 2,048 bytes of UTF-8 without control characters. Nil means
	// that there is no such client. The endpoint checks every value of the client again.
	//
	// Without the client an error cannot be sent anywhere, so the user sees a page. The
	// page says one of three things; the rest of the error is for the log:
	//
	//   - An error whose code is oautherr.InvalidClient (see oautherr.Of) says that the id
	//     cannot be that of a client, such as the address of a document that does not
	//     describe a client. The page is that for nil: status 400 and
	//     [ReasonUnknownClient]. If the error has a Description, the page shows it.
	//   - An error that wraps [ErrClientUnreachable] says that the client's own data could
	//     not be fetched: status 503 and [ReasonClientUnreachable].
	//   - Any other error says that the store failed: status 503 and [ReasonStoreFailed].
	//
	// [Handler.Pending] returns the same errors, and [Handler.Complete] and [Handler.Grant]
	// show the same pages. [Handler.PendingHandler] writes {"active":false} for an unknown
	// client, and status 503 for the other two.
	//
	// A token endpoint that uses the same ClientStore should return invalid_client only for
	// nil and for the first kind of error. For the other two it should return status 503
	// with Retry-After: a client that reads invalid_client may delete its registration.
	Client(ctx context.Context, id string) (*Client, error)
}

// ErrClientUnreachable says that the data that a client publishes about itself could not be
// fetched, because the client's server does not respond or responds with an error. The host
// has no fault, and the client may work again soon. It is for a [ClientStore] that fetches
// such data. Wrap it, with the cause: fmt.Errorf("%w: %w", authorize.ErrClientUnreachable,
// err).
//
// It is an *oautherr.Error of the code temporarily_unavailable with a RetryAfter of one
// minute. A store with a better Description or RetryAfter makes an oautherr.Error of the
// same code with them, and ErrClientUnreachable as its Cause. Test for it with [errors.Is].
var ErrClientUnreachable error = errClientUnreachable.err

// SessionStore tells who is signed in.
type SessionStore interface {
	// Session returns the session of the browser that sent r. Nil means that nobody is
	// signed in. A bad, unknown or expired cookie is nil too, and not an error. The
	// endpoint calls it at most once per request, and only for a valid request, so a host
	// may create a user in it. It must not read the request's body.
	Session(r *http.Request) (*session.Session, error)
}

// SessionFunc is a function as a [SessionStore], for hosts that have sessions.
type SessionFunc func(r *http.Request) (*session.Session, error)

// Session calls f.
func (f SessionFunc) Session(r *http.Request) (*session.Session, error) { return f(r) }

// CodeStore keeps the records of authorization codes. It never sees a code, only its hash:
// the SHA-256 of the code and the issuer in 43 characters of base64url. Endpoints of
// several issuers may therefore share a store, and a code of one issuer is unknown to all
// others.
//
// The handler's clock decides. A store gets every time that it needs as an argument or in a
// record. It may use its own clock only to delete old codes, some time after ExpiresAt. If
// its clock is ahead of the handler's by more than that time, codes are deleted before they
// can be redeemed.
type CodeStore interface {
	// SaveCode stores a new code. It fails if the hash is already stored. A full store must
	// fail; it must not drop a code that can still be redeemed.
	SaveCode(ctx context.Context, hash string, code *Code) error

	// FindCode returns the stored code, used or not, and changes nothing. Nil means that
	// the hash was never stored or was deleted. A code must be kept until its ExpiresAt.
	// Keep a used code for some time longer, so that a replay can be told from an unknown
	// code.
	FindCode(ctx context.Context, hash string) (*Code, error)

	// TakeCode sets UsedAt to at if the code is unused, and reports whether this call did
	// so. Of any number of concurrent calls, on any number of replicas, exactly one returns
	// taken == true. All of them return the record with the UsedAt of that call. For an
	// unknown hash it returns nil and false. After an error it is not known whether the
	// code was taken. The caller then refuses, and the store must make sure that the code
	// cannot be taken a second time.
	TakeCode(ctx context.Context, hash string, at time.Time) (code *Code, taken bool, err error)
}

// LoginRedirector finds the page where the user signs in.
type LoginRedirector interface {
	// LoginPage returns the URL to send the browser to: absolute, or a path on the
	// endpoint's own origin. It must pass p.JWT, the request as a signed JWT, to the page,
	// by convention in the query parameter req. [LoginURL] does all of this. The URL must
	// not be made from the request's Host header or from values that the client sent.
	LoginPage(ctx context.Context, p *Pending) (string, error)
}

// LoginURL is the ready-made [LoginRedirector]: the URL of a login page, absolute
// or a path such as "/login" on the endpoint's own origin. The waiting request is
// appended to it as req.
type LoginURL string

// LoginPage returns the URL with req=<JWT> appended.
func (u LoginURL) LoginPage(_ context.Context, p *Pending) (string, error) {
	return appendQuery(string(u), "req", p.JWT), nil
}
