package authorize

import (
	"context"
	"net/http"
	"time"

	"github.com/usher-auth/usher/session"
)

// The four interfaces that a host implements. What holds for all of them stands in the
// package documentation, under Stores.

// ClientStore knows the applications that may ask (RFC 6749 §2).
type ClientStore interface {
	// Client returns the client with this id, byte for byte. The endpoint asks once in each
	// request, and so does each call of [Handler.Pending], Complete and Grant. The id is hostile
	// input: up to 2,048 bytes of UTF-8 without control characters. Nil means that there
	// is no such client.
	// What is returned is not trusted: every value in it is checked again.
	//
	// Without the client there is nowhere to send an error, so the user sees a page. It
	// says one of three things, and the rest of the error is for the log:
	//
	//   - An error whose code is oautherr.InvalidClient (see oautherr.Of) says that the
	//     id cannot be that of a client, such as the address of a document that is none.
	//     It is what nil is, status 400 and [ReasonUnknownClient], with the text of
	//     oautherr.InvalidClient.With where it has one.
	//   - One that wraps [ErrClientUnreachable] says that the client could not be asked
	//     about itself: status 503 and [ReasonClientUnreachable].
	//   - Any other says that the store failed: status 503 and [ReasonStoreFailed].
	//
	// The same errors come back from [Handler.Pending], and [Handler.Complete] and
	// [Handler.Grant] show the same pages. For [Handler.PendingHandler] an unknown client
	// is {"active":false}, and both others are status 503.
	//
	// A host that asks its ClientStore at the token endpoint too answers invalid_client
	// for nil and for the first kind only. Both others are status 503 with Retry-After
	// there: a client that reads invalid_client may throw its registration away.
	Client(ctx context.Context, id string) (*Client, error)
}

// ErrClientUnreachable says that what a client publishes about itself could not be fetched,
// because its server does not answer or answers with an error of its own: the host is
// well, and so may the client be in a moment. It is for a [ClientStore] that fetches.
// Wrap it, with the cause: fmt.Errorf("%w: %w", authorize.ErrClientUnreachable, err).
//
// It is an *oautherr.Error of the code temporarily_unavailable with a RetryAfter of one
// minute. A store that knows better puts it into an oautherr.Error as the Cause, whose
// Description and RetryAfter count then. Test for it with [errors.Is].
var ErrClientUnreachable error = errClientUnreachable.err

// SessionStore knows who is signed in.
type SessionStore interface {
	// Session returns the session of the browser that sent r. Nil means that
	// nobody is signed in; a bad, unknown or expired cookie is nobody too, not an
	// error. It is called at most once per request, and only after the request
	// was found valid, so a host may create a user in it. It must not read the
	// request's body.
	Session(r *http.Request) (*session.Session, error)
}

// SessionFunc makes a function a [SessionStore], for hosts that have sessions.
type SessionFunc func(r *http.Request) (*session.Session, error)

// Session calls f.
func (f SessionFunc) Session(r *http.Request) (*session.Session, error) { return f(r) }

// CodeStore keeps authorization codes. It never sees one: it is given the hash,
// which is a SHA-256 of the code and the issuer in 43 characters of base64url.
// Endpoints of several issuers may therefore share a store, and a code of one is
// unknown to all others.
//
// Which clock decides: the handler's. Every time that a store compares comes to
// it as an argument or in a record. A store's own clock may only reclaim space, and
// should leave some time after ExpiresAt before it does: if it runs ahead of the
// handler's by more than that, codes are gone before they can be redeemed.
type CodeStore interface {
	// SaveCode stores a new code. It fails if the hash is there already, and it
	// fails rather than drop a code that is still redeemable.
	SaveCode(ctx context.Context, hash string, code *Code) error

	// FindCode returns the code as stored, used or not, and changes nothing. Nil
	// means that the hash was never stored or was reclaimed. A code is kept until
	// its ExpiresAt at least, a used one preferably for some time longer, so that
	// a replay can be told from an unknown code.
	FindCode(ctx context.Context, hash string) (*Code, error)

	// TakeCode marks the code as used at the time at and reports whether this
	// call did it. Of any number of concurrent calls, on any number of replicas,
	// exactly one gets taken == true. All of them get the record with the UsedAt of
	// the one that won, which is its at. An unknown hash is nil and false.
	// An error means that it is not known whether the code was taken; the caller
	// then refuses, and a store must make sure that the code cannot be taken a
	// second time.
	TakeCode(ctx context.Context, hash string, at time.Time) (code *Code, taken bool, err error)
}

// LoginRedirector knows the page where the user signs in.
type LoginRedirector interface {
	// LoginPage returns the URL to send the browser to: absolute, or a path on
	// the endpoint's own origin. It must hand the page p.JWT, which is the
	// request as a signed JWT, by convention in the query parameter req.
	// [LoginURL] does all of this. The URL must not be made from the request's
	// Host header or from what the client sent.
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
