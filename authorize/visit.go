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

// visit is the state of one request on its way through the stages. Every stage gets a
// pointer to it and adds its results. Only respond writes the response.
type visit struct {
	// The input: the request, with the deadline in its context, and its parameters. If it
	// comes back from a page, the parameters are those of the waiting request.
	http    *http.Request
	started time.Time
	params  params
	resumed *waiting    // nil on a first visit, and if a request starts anew
	anew    int         // how often in a row the request has come back without its cookie
	denied  bool        // the request comes back with the user's refusal
	signed  bool        // the parameters are those of a request that we signed
	finding atomic.Bool // the ClientStore is being asked: see MayFetch

	// The results of the stages. Each stage uses those of the earlier ones.
	client      *Client
	source      error                   // why the source of its parameters is refused
	destination destination.Destination // zero: nothing is proven, so an error is a page
	request     *Request
	session     *session.Session // never nil once the host was asked
	remembered  *ConsentRecord   // for these resources; nil: none
	dataCovered bool             // remembered has no Data, or Consent.Covers it
	familiar    bool             // the user has dealt with the client
	facts       facts

	// The decision.
	decision decision
	err      *oautherr.Error         // a refusal
	status   int                     // of the error page, 0: by the error's code
	here     bool                    // the error is a page, even if there is a destination
	back     destination.Destination // the link on the error page takes access_denied there

	// The response.
	approved bool
	granted  []string            // scopes of the code
	grantID  string              // of the code
	leftOut  []string            // scopes that were asked for and are not in it
	response []destination.Param // to the client: a code or an error
	page     string              // the URL of a page to redirect to
	cookies  []*http.Cookie
	shown    bool // the error was shown on a page
	errorID  string
}

// refuse sets the error of the request. It goes to the client if there is a destination,
// otherwise to the error page.
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

// onPage shows the error on a page, even if it could be sent to the client.
func (v *visit) onPage(err error) error {
	v.here = true
	return err
}

// withWayBack shows the error on a page with a link that takes access_denied to the client.
func (v *visit) withWayBack(err error) error {
	v.back = v.destination
	return v.onPage(err)
}

// theNo has the parameters of that link.
func theNo() []destination.Param {
	return []destination.Param{
		{Name: "error", Value: string(oautherr.AccessDenied)},
		{Name: "error_description", Value: errUserRefused.err.Text()},
	}
}

// shownHere reports whether the error is shown here and not sent to the redirect URI: it
// has to be a page, there is no redirect URI, or the client is unvetted and the user has
// not dealt with it (RFC 9700 §4.11.2).
func (v *visit) shownHere() bool {
	return v.here || v.destination.URI() == "" || v.destination.OutOfBand() || v.client.Unvetted && !v.familiar
}
