package authorize

import (
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/usher-auth/usher/authorize/internal/destination"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// visit is one request on its way through the spine: a pointer that every stage is given
// and adds to. respond alone writes what comes of it.
type visit struct {
	// What came: the request, with the deadline in its context, and its parameters or,
	// if it comes back from a page, those of the waiting request.
	http    *http.Request
	started time.Time
	params  params
	resumed *waiting    // nil on a first visit, and where a request begins anew
	anew    int         // how often in a row it has come back without its cookie
	denied  bool        // it comes back with the user's no
	signed  bool        // the parameters are those of a request that we signed
	finding atomic.Bool // the ClientStore is being asked: see MayFetch

	// What the stages have found, each from the one before.
	client      *Client
	source      error                   // why it may not come from where it comes
	destination destination.Destination // zero: nothing is proven, so only a page
	request     *Request
	session     *session.Session // never nil once the host was asked
	remembered  *ConsentRecord   // at these resources; nil: nothing

	rememberedCounts bool // for this request, as far as its Data goes

	familiar bool // the user has dealt with the client
	facts    facts

	// The verdict.
	decision decision
	err      *oautherr.Error         // a refusal
	status   int                     // of the error page, 0: by the error's code
	here     bool                    // the error is a page wherever the destination is
	back     destination.Destination // where a link on the page takes access_denied

	// What is said.
	approved bool
	granted  []string            // scopes of the code
	grantID  string              // of the code
	leftOut  []string            // scopes that were asked for and are not in it
	response []destination.Param // to the client: a code or an error
	page     string              // a URL of the configuration to go on to
	cookies  []*http.Cookie
	shown    bool // the error was a page
	errorID  string
}

// refuse ends the way with an error. Where it goes depends on how far it got: to
// the client if there is a destination, to the error page if not.
func (v *visit) refuse(err error) {
	v.err = oautherr.Of(err)
	v.approved, v.page, v.cookies = false, "", nil
	v.response = []destination.Param{
		{Name: "error", Value: string(v.err.Code)},
		{Name: "error_description", Value: v.err.Text()},
	}
	var known *reasoned
	if errors.As(err, &known) {
		v.status, v.decision.Reason = known.status, known.reason
	}
}

// onPage makes the error one that is shown here, whether the client could be told or not.
func (v *visit) onPage(err error) error {
	v.here = true
	return err
}

// withWayBack makes it a page from which a link takes the user's no to the client.
func (v *visit) withWayBack(err error) error {
	v.back = v.destination
	return v.onPage(err)
}

// theNo is what the link takes along.
func theNo() []destination.Param {
	return []destination.Param{
		{Name: "error", Value: string(oautherr.AccessDenied)},
		{Name: "error_description", Value: errUserRefused.err.Text()},
	}
}

// shownHere reports whether the error is answered here and not at the client's address:
// there is none, or it is of a client that nobody has vetted and that this user has
// never dealt with (RFC 9700 §4.11.2).
func (v *visit) shownHere() bool {
	return v.here || v.destination.URI() == "" || v.destination.OutOfBand() || v.client.Unvetted && !v.familiar
}
