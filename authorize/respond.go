package authorize

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/usher-auth/usher/authorize/internal/destination"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// answer is what is known of a request so far and what is to be said. It is a
// value that grows on the way through the spine; respond alone writes it.
type answer struct {
	started time.Time
	resumed *sealed // nil on a first visit

	client      *Client
	destination destination.Destination // zero: nothing is proven, so only a page
	request     *Request
	silent      bool // prompt=none: a form_post answer may stand in a frame
	session     *session.Session
	familiar    bool // the user has dealt with the client
	decision    Decision

	err      *oautherr.Error // a refusal
	status   int             // of the error page, 0: by the error's code
	shown    bool            // the error was a page
	errorID  string
	approved bool
	granted  []string            // scopes of the code
	fields   []destination.Field // of the answer: a code or an error
	page     string              // a URL of the configuration to go on to
	cookies  []*http.Cookie
}

// refuse ends the way with an error. Where it goes depends on how far it got: to
// the client if there is a destination, to the error page if not.
func (a answer) refuse(err error) answer {
	a.err = oautherr.Of(err)
	a.approved, a.page, a.cookies = false, "", nil
	a.fields = []destination.Field{
		{Name: "error", Value: string(a.err.Code)},
		{Name: "error_description", Value: a.err.Text()},
	}
	var known *reasoned
	if errors.As(err, &known) {
		a.status, a.decision.Reason = known.status, known.reason
	}
	return a
}

// refusal adds to a decision's error what only the log should say.
func (h *Handler) refusal(f Facts, d Decision) error {
	if d.Error == oautherr.AccessDenied {
		return whoRefused(d)
	}
	if d.Reason != ReasonStaleSignIn {
		return d.Error
	}
	return d.Error.Because(fmt.Errorf(
		"a new sign-in is stamped %s, before the request of %s less the clock skew of %s: let the host's clock and AuthTime agree with this one, or raise Config.ClockSkew",
		rfc3339(f.Session.AuthTime), rfc3339(f.Resumed.Since), h.config.ClockSkew))
}

// whoRefused says in the description of access_denied whose no it is: people read it.
func whoRefused(d Decision) error {
	switch d.Reason {
	case ReasonDenied:
		return oautherr.AccessDenied.With("The user refused the request.")
	case ReasonForbidden:
		return oautherr.AccessDenied.With("The server's rules refused the request.")
	}
	return d.Error
}

// shownHere reports whether the error is answered here and not at the client's address:
// there is none, or it is of a client that nobody has vetted and that this user has
// never dealt with (RFC 9700 §4.11.2).
func (a answer) shownHere() bool {
	return a.destination.URI() == "" || a.destination.OutOfBand() || a.client.Unvetted && !a.familiar
}

// askAgainByGET sends a POST without a session to our own GET: browsers leave the
// session cookie off a POST that comes from another site.
func (h *Handler) askAgainByGET(a answer) answer {
	var target strings.Builder
	target.WriteString(h.config.Endpoint)
	separator := "?"
	for _, x := range a.request.params.list {
		target.WriteString(separator + x.name + "=" + destination.Escape(x.value))
		separator = "&"
		if target.Len() > maxURL {
			return a.refuse(oautherr.InvalidRequest.With("The request is too long to be sent on by GET."))
		}
	}
	a.page = target.String()
	return a
}

// maxURL is the longest URL that is made for a browser to follow.
const maxURL = 8000

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
			// Answered: the sealed request is of no more use to this browser.
			http.SetCookie(w, h.pendingCookie(a.resumed.ID, "", -1))
		}
		switch to := a.destination.Answer(h.config.Issuer, a.fields...); {
		case to.Form != nil:
			writeFormPost(w, to, a.silent)
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
