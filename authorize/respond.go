package authorize

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/usher-auth/usher/authorize/internal/destination"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// answer is what is known of a request so far and what is to be said. It is a
// value that grows on the way through the spine; respond alone writes it.
type answer struct {
	started time.Time
	params  params
	resumed *waiting // nil on a first visit, and where a request begins anew
	anew    int      // how often in a row it has come back without its cookie
	denied  bool     // it comes back with the user's no

	client      *Client
	destination destination.Destination // zero: nothing is proven, so only a page
	request     *Request
	session     *session.Session // never nil once the host was asked
	remembered  *ConsentRecord   // at these resources; nil: nothing
	familiar    bool             // the user has dealt with the client
	decision    Decision

	err      *oautherr.Error         // a refusal
	status   int                     // of the error page, 0: by the error's code
	here     bool                    // the error is a page wherever the destination is
	back     destination.Destination // where a link on the page takes access_denied
	shown    bool                    // the error was a page
	errorID  string
	approved bool
	granted  []string            // scopes of the code
	leftOut  []string            // scopes that were asked for and are not in it
	response []destination.Param // to the client: a code or an error
	page     string              // a URL of the configuration to go on to
	cookies  []*http.Cookie
}

// refuse ends the way with an error. Where it goes depends on how far it got: to
// the client if there is a destination, to the error page if not.
func (a answer) refuse(err error) answer {
	a.err = oautherr.Of(err)
	a.approved, a.page, a.cookies = false, "", nil
	a.response = []destination.Param{
		{Name: "error", Value: string(a.err.Code)},
		{Name: "error_description", Value: a.err.Text()},
	}
	var known *reasoned
	if errors.As(err, &known) {
		a.status, a.decision.Reason = known.status, known.reason
	}
	return a
}

// offerWayBack refuses on a page, from which a link takes the user's no to the client.
func (a answer) offerWayBack(err error) answer {
	a.here, a.back = true, a.destination
	return a.refuse(err)
}

// theNo is what the link takes along.
func theNo() []destination.Param {
	return []destination.Param{
		{Name: "error", Value: string(oautherr.AccessDenied)},
		{Name: "error_description", Value: errDenied.err.Text()},
	}
}

// refusal adds to a decision's error what only the log should say.
func (h *Handler) refusal(f Facts, d Decision) error {
	s, code := f.Session, d.Error
	switch d.Reason {
	case ReasonDenied:
		return errDenied.err
	case ReasonForbidden:
		return errForbidden
	}
	if f.Request.hintErr != nil {
		return code.Because(f.Request.hintErr)
	}
	if f.Resumed == nil {
		return code
	}
	refused := &oautherr.Error{Code: code}
	if code == oautherr.LoginRequired && mayShowPages(f.Request) {
		refused.Description = "The user did not sign in as the request demands."
	}
	if !s.SignedIn() {
		refused.Cause = errors.New("the SessionStore found nobody each time that the user came back from the login page")
	} else if old := f.notNew(); old != "" {
		refused.Cause = fmt.Errorf(
			"no new sign-in: %s. AuthTime is %s, SignedInAt %s, and the request is of %s, with a clock skew of %s",
			old, timeOrZero(s.AuthTime), timeOrZero(s.SignedInAt), f.Resumed.Since.Format(rfc3339Millis), h.config.ClockSkew)
	}
	return refused
}

// rfc3339Millis is a time as the log has it.
const rfc3339Millis = "2006-01-02T15:04:05.000Z07:00"

func timeOrZero(t time.Time) string {
	if t.IsZero() {
		return "not set"
	}
	return t.UTC().Format(rfc3339Millis)
}

// shownHere reports whether the error is answered here and not at the client's address:
// there is none, or it is of a client that nobody has vetted and that this user has
// never dealt with (RFC 9700 §4.11.2).
func (a answer) shownHere() bool {
	return a.here || a.destination.URI() == "" || a.destination.OutOfBand() || a.client.Unvetted && !a.familiar
}

// respond writes every answer there is.
func (h *Handler) respond(w http.ResponseWriter, r *http.Request, a answer) {
	setHeaders(w.Header())
	for _, cookie := range a.cookies {
		http.SetCookie(w, cookie)
	}
	switch {
	case a.page != "":
		redirect(w, r, a.page)
	case a.err != nil && a.shownHere():
		a.shown, a.errorID = true, newErrorID()
		h.writeErrorPage(w, r, a)
	default:
		if a.resumed != nil {
			// Answered: what was decided for the request counts no more.
			http.SetCookie(w, h.pendingCookie(a.resumed.ID, "", -1))
		}
		switch to := h.deliver(a.destination, a.response); {
		case to.Form != nil:
			writeFormPost(w, to, slices.Equal(list(a.params.get("prompt")), []string{"none"}))
		case to.Body != nil:
			writeJSON(w, http.StatusOK, to.Body)
		default:
			redirect(w, r, to.URL)
		}
	}
	if h.observed {
		h.report(context.WithoutCancel(r.Context()), a.event(h.config.Now()))
	}
}

// deliver is the one way of parameters to a client, be it by respond or by a step of the
// user's on an error page. First it is settled what the response says, then how it travels.
func (h *Handler) deliver(to destination.Destination, params []destination.Param) destination.Delivery {
	return to.Deliver(to.Response(h.config.Issuer, params...))
}

// setHeaders sets what holds for everything that is written: nothing is cached and
// no address with a code or a request in it leaks as a referrer.
func setHeaders(header http.Header) {
	header.Set("Cache-Control", "no-store")
	header.Set("Pragma", "no-cache")
	header.Set("Referrer-Policy", "no-referrer")
}

// redirect is the one place that writes Location. 302 answers a GET and 303 a
// POST, so that a browser never posts the user's form on to the client, as it
// would with 307 (RFC 9700 §4.12).
func redirect(w http.ResponseWriter, r *http.Request, location string) {
	w.Header().Set("Location", location)
	status := http.StatusFound
	if r.Method == http.MethodPost {
		status = http.StatusSeeOther
	}
	w.WriteHeader(status)
}

// storeFailed is the error for a store or a function of the host that could not
// say: the client reads that something failed, the log what and why.
func storeFailed(operation string, err error) error {
	code, network := oautherr.ServerError, net.Error(nil)
	if errors.As(err, &network) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, oautherr.TemporarilyUnavailable) {
		code = oautherr.TemporarilyUnavailable
	}
	return &reasoned{ReasonStoreFailed, 0, code.Because(fmt.Errorf("%s: %w", operation, err))}
}
