package authorize

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	oautherr "github.com/usher-auth/usher/errors"
)

// refusal returns the decision's error, with a cause that only the log has.
func (h *Handler) refusal(v *visit) error {
	d, f := v.decision, &v.facts
	switch {
	case d.Reason == ReasonNoConsentPage:
		return v.withWayBack(errConsentNil)
	case d.Reason == ReasonDenied:
		return errUserRefused.err
	case d.Reason == ReasonForbidden:
		return errPolicyRefused
	case f.request.hintErr != nil:
		return d.Error.Because(f.request.hintErr)
	case f.resumed == nil:
		return d.Error
	}
	refused := &oautherr.Error{Code: d.Error}
	if d.Error == oautherr.LoginRequired { // a waiting request may show pages
		refused.Description = "The user did not sign in as the request demands."
	}
	s := f.session
	if !s.SignedIn() {
		refused.Cause = errors.New(
			"the SessionStore found nobody each time that the user came back from the login page")
	} else if old := f.notNew(); old != "" {
		refused.Cause = fmt.Errorf(
			"no new sign-in: %s. AuthTime is %s, SignedInAt is %s, the request arrived at %s, ClockSkew is %s",
			old, timeOrZero(s.AuthTime), timeOrZero(s.SignedInAt),
			f.resumed.since.Format(rfc3339Millis), h.config.ClockSkew)
	}
	return refused
}

// rfc3339Millis is the layout of times in the log.
const rfc3339Millis = "2006-01-02T15:04:05.000Z07:00"

func timeOrZero(t time.Time) string {
	if t.IsZero() {
		return "not set"
	}
	return t.UTC().Format(rfc3339Millis)
}

// respond writes all responses of the endpoint.
func (h *Handler) respond(w http.ResponseWriter, v *visit) {
	setHeaders(w.Header())
	for _, cookie := range v.cookies {
		http.SetCookie(w, cookie)
	}
	switch {
	case v.page != "":
		redirect(w, v.http, v.page)
	case v.err != nil && v.shownHere():
		v.shown, v.errorID = true, newErrorID()
		h.writeErrorPage(w, v)
	default:
		if v.resumed != nil {
			// The request is finished: earlier decisions for it no longer count.
			http.SetCookie(w, h.pendingCookie(v.resumed.ID, "", -1))
		}
		switch to := v.destination.Deliver(v.destination.WithStateAndIssuer(h.config.Issuer, v.response...)); {
		case to.Form != nil:
			writeFormPost(w, to, slices.Equal(list(v.params.get("prompt")), []string{"none"}))
		case to.Link != "":
			writeReturnPage(w, to, v.client)
		case to.Body != nil:
			writeJSON(w, http.StatusOK, to.Body)
		default:
			redirect(w, v.http, to.URL)
		}
	}
	if h.observed {
		h.report(context.WithoutCancel(v.http.Context()), v.event(h.config.Now()))
	}
}

// setHeaders sets the headers of every response: nothing is cached, and no address with a
// code or a request in it leaks as a referrer.
func setHeaders(header http.Header) {
	header.Set("Cache-Control", "no-store")
	header.Set("Pragma", "no-cache")
	header.Set("Referrer-Policy", "no-referrer")
}

// redirect is the only place that writes Location. The status is 302 for a GET and 303 for
// a POST, so that a browser never posts the user's form to the client, as it would with 307
// (RFC 9700 §4.12).
func redirect(w http.ResponseWriter, r *http.Request, location string) {
	w.Header().Set("Location", location)
	status := http.StatusFound
	if r.Method == http.MethodPost {
		status = http.StatusSeeOther
	}
	w.WriteHeader(status)
}
