package authorize

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"unicode/utf8"

	"github.com/usher-auth/usher/authorize/internal/destination"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// hostError is what becomes of the host's error after each call to it: it names the call,
// for the log, and turns a failure into the error that stops everything. What comes after
// the request's deadline, from a store that did not notice, is a failure too and not used.
func hostError(ctx context.Context, call string, err error) error {
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		return nil
	}
	return hostFailed(call, err)
}

// hostFailed is the error for a store or a function of the host that could not say: the
// client reads that something failed, the log what and why.
func hostFailed(call string, err error) error {
	code, network := oautherr.ServerError, net.Error(nil)
	if errors.As(err, &network) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, oautherr.TemporarilyUnavailable) {
		code = oautherr.TemporarilyUnavailable
	}
	return &reasoned{ReasonStoreFailed, 0, code.Because(fmt.Errorf("%s: %w", call, err))}
}

// nobody is a session in which nobody is signed in.
var nobody = &session.Session{}

// maxSubject is how long a subject may be, in bytes (OpenID Connect Core 1.0 §2).
const maxSubject = 255

var errSubject = fmt.Errorf("the field Session.Subject has more than %d bytes or is not UTF-8", maxSubject)

// whoIsSignedIn asks the SessionStore, once the request has proven valid.
func (h *Handler) whoIsSignedIn(v *visit) (err error) {
	if v.request.OutOfBand && h.fromBrowser(v.http) {
		return errRedirectURINotForBrowsers
	}
	if v.session, err = h.signedIn(v.http); err != nil {
		return err
	}
	if v.anew > maxAnewOfNobody && !v.session.SignedIn() {
		v.destination = destination.Destination{} // it is the user who can mend it
		return errCookiesMissing
	}
	v.facts = facts{
		request:      v.request,
		session:      v.session,
		interactions: h.interactions,
		now:          v.started,
		clockSkew:    h.config.ClockSkew,
		registered:   v.anew > 0,
	}
	if v.resumed != nil {
		v.facts.denied, v.facts.resumed = v.denied, v.resumed.facts()
		v.facts.registered = v.resumed.Registered
		h.warnOfNobody(v)
	}
	return nil
}

// signedIn asks the SessionStore. What it returns is never nil: nobody is one thing,
// whether the host says nil, leaves Subject empty or waits for a second factor.
func (h *Handler) signedIn(r *http.Request) (*session.Session, error) {
	s, err := h.config.Sessions.Session(r)
	if err = hostError(r.Context(), "SessionStore.Session", err); err != nil {
		return nobody, err
	}
	switch {
	case s.SignedIn() && validSubject(s.Subject):
		return s, nil
	case s.SignedIn():
		return nobody, hostFailed("SessionStore.Session", errSubject)
	case halfSignedIn(s):
		return &session.Session{SecondFactorPending: true}, nil
	}
	return nobody, nil
}

// halfSignedIn reports whether the second factor is all that is missing.
func halfSignedIn(s *session.Session) bool { return s != nil && s.SecondFactorPending }

func validSubject(subject string) bool {
	return len(subject) <= maxSubject && utf8.ValidString(subject)
}

// warnOfNobody tells the host of a user who comes back from its login page and whom it
// does not know then, which is mostly a mistake of the host's.
func (h *Handler) warnOfNobody(v *visit) {
	if v.resumed.Page != LoginInteraction || v.denied || v.session.SignedIn() || halfSignedIn(v.session) {
		return
	}
	h.log.WarnContext(v.http.Context(), "authorize: a user came back from the login page, and the SessionStore "+
		"finds nobody. Either the user did not sign in, or the session was not saved before Resume, "+
		"its cookie is SameSite=Strict, or it was set for another host or path", "client_id", v.client.ID)
}

// whatElseIsNeeded asks the stored consent, the access policy and the interactions about a
// user who is signed in as the request wants it. Otherwise another user may come back
// from the login, and what the host thinks of this one does not matter.
func (h *Handler) whatElseIsNeeded(v *visit) (err error) {
	v.decision = v.facts.signIn()
	asked := v.decision.Outcome == approve
	if asked || v.client.Unvetted {
		if err = h.findConsent(v); err != nil {
			return err
		}
		v.familiar = h.familiar(v)
	}
	if !asked {
		return nil
	}
	return h.askFurther(v)
}

// askFurther asks the access policy and, if the user may, each interaction that was not
// completed for this request.
func (h *Handler) askFurther(v *visit) (err error) {
	ctx, allowed := v.http.Context(), true
	if h.config.Allow != nil {
		allowed, err = h.config.Allow(ctx, v.session, v.request)
		if err = hostError(ctx, "Config.Allow", err); err != nil {
			return err
		}
	}
	v.facts.forbidden = !allowed
	v.facts.steps = make([]step, len(h.interactions))
	for i, x := range h.interactions {
		step := &v.facts.steps[i]
		step.name, step.prompt, step.error = x.Name, x.Prompt, x.Error
		step.done = v.resumed.completion(x.Name, v.session) != nil
		if x.Name == ConsentInteraction {
			step.done = step.done && h.config.Consent.grantCounts(v)
			step.needed = h.config.Consent.needed(v)
		}
		if !allowed || step.done || x.Needed == nil {
			continue
		}
		step.needed, err = x.Needed(ctx, v.session, v.request)
		if err = hostError(ctx, "the interaction "+x.Name, err); err != nil {
			return err
		}
	}
	return nil
}

// familiar reports whether the user has dealt with the client: for this request or, as
// stored consent proves, before. It matters where nobody has vetted the client.
func (h *Handler) familiar(v *visit) bool {
	if v.resumed != nil {
		signedIn := v.session.SignedIn() && v.facts.newSignIn()
		if v.denied || signedIn || v.resumed.completedBy(v.session) {
			return true
		}
	}
	return h.config.Consent.covered(v)
}

// findConsent finds what the user has decided about the client before at the same
// resources, unless that is nothing or means nothing, and whether it counts now.
func (h *Handler) findConsent(v *visit) error {
	ctx, c, s, r := v.http.Context(), h.config.Consent, v.session, v.request
	if c == nil {
		return nil
	}
	if c.Store != nil && s.SignedIn() && rememberable(r) {
		stored, err := c.Store.FindConsent(ctx, s.Subject, r.ClientID)
		if err = hostError(ctx, "ConsentStore.FindConsent", err); err != nil {
			return err
		}
		if stored.isFor(s.Subject, r.Client, r.Resources) {
			v.remembered, v.rememberedCounts = stored, len(stored.Data) == 0
		}
	}
	if v.remembered != nil && !v.rememberedCounts && c.Covers != nil {
		covers, err := c.Covers(ctx, v.remembered.Clone(), r)
		if err = hostError(ctx, "Consent.Covers", err); err != nil {
			return err
		}
		v.rememberedCounts = covers
	}
	r.GrantData = c.grantData(v)
	return nil
}
