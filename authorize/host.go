package authorize

import (
	"context"
	"errors"
	"net/http"
	"unicode/utf8"

	"github.com/usher-auth/usher/authorize/internal/destination"
	"github.com/usher-auth/usher/session"
)

// consult asks the host for what only it knows and a decision needs: who is signed
// in, what its policy says and which interactions it wants. It comes after the
// request has proven valid.
func (h *Handler) consult(r *http.Request, a *answer) (f Facts, err error) {
	if a.request.OutOfBand && h.fromBrowser(r) {
		return f, errNotForBrowsers
	}
	if a.session, err = h.whoIsSignedIn(r); err != nil {
		return f, err
	}
	if a.anew > maxAnewOfNobody && !a.session.SignedIn() {
		a.destination = destination.Destination{} // it is the user who can mend it
		return f, errNoCookies
	}
	f = Facts{
		Request:    a.request,
		Session:    a.session,
		Now:        a.started,
		ClockSkew:  h.config.ClockSkew,
		Registered: a.anew > 0,
	}
	if a.resumed != nil {
		f.Denied, f.Resumed = a.denied, a.resumed.facts()
		f.Registered = a.resumed.Registered
		h.warnOfNobody(r.Context(), a, f)
	}
	if h.config.Allow != nil || len(h.interactions) > 0 || a.client.Unvetted {
		err = h.consultFurther(r.Context(), a, &f)
	}
	return f, err
}

// nobody is a session in which nobody is signed in.
var nobody = &session.Session{}

// maxSubject is how long a subject may be, in bytes (OpenID Connect Core 1.0 §2).
const maxSubject = 255

var errSubject = errors.New("Subject has more than 255 bytes or is not UTF-8")

// whoIsSignedIn asks the SessionStore. What it returns is never nil: nobody is one thing,
// whether the host says nil, leaves Subject empty or waits for a second factor.
func (h *Handler) whoIsSignedIn(r *http.Request) (*session.Session, error) {
	s, err := h.config.Sessions.Session(r)
	if err = inTime(r.Context(), err); err != nil {
		return nobody, storeFailed("SessionStore.Session", err)
	}
	switch {
	case s.SignedIn() && validSubject(s.Subject):
		return s, nil
	case s.SignedIn():
		return nobody, storeFailed("SessionStore.Session", errSubject)
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
func (h *Handler) warnOfNobody(ctx context.Context, a *answer, f Facts) {
	if !f.Resumed.FromLogin || f.Denied || f.Session.SignedIn() || halfSignedIn(f.Session) {
		return
	}
	h.log.WarnContext(ctx, "authorize: a user came back from the login page, and the SessionStore finds nobody. "+
		"Either the user did not sign in, or the session was not saved before Resume, "+
		"its cookie is SameSite=Strict, or it was set for another host or path", "client_id", a.client.ID)
}

// consultFurther asks the stored consent, the access policy and the interactions about a
// user who is signed in as the request wants it. Otherwise another user may come back
// from the login, and what the host thinks of this one does not matter.
func (h *Handler) consultFurther(ctx context.Context, a *answer, f *Facts) (err error) {
	f.Steps = make([]Step, len(h.interactions))
	for i, x := range h.interactions {
		f.Steps[i] = Step{Name: x.Name, Prompt: x.Prompt, Error: x.Error, Done: a.resumed.completion(x.Name, f.Session) != nil}
	}
	_, signedIn := f.login()
	signedIn = signedIn && !f.Denied
	if signedIn || a.client.Unvetted {
		if a.remembered, err = h.rememberedConsent(ctx, a.session, a.request); err != nil {
			return err
		}
		a.familiar = h.familiar(a, *f)
	}
	if !signedIn {
		return nil
	}
	if h.config.Allow != nil {
		allowed, err := h.config.Allow(ctx, f.Session, f.Request)
		if err = inTime(ctx, err); err != nil {
			return storeFailed("Config.Allow", err)
		}
		f.Forbidden = !allowed
	}
	for i, x := range h.interactions {
		step := &f.Steps[i]
		if x.Name == ConsentInteraction {
			step.Done = step.Done && h.config.Consent.stillGiven(a)
			step.Needed = h.config.Consent.needed(a)
		}
		if f.Forbidden || step.Done || x.Needed == nil {
			continue
		}
		step.Needed, err = x.Needed(ctx, f.Session, f.Request)
		if err = inTime(ctx, err); err != nil {
			return storeFailed("the interaction "+x.Name, err)
		}
	}
	return nil
}

// familiar reports whether the user has dealt with the client: for this request or, as
// stored consent proves, before. It matters where nobody has vetted the client.
func (h *Handler) familiar(a *answer, f Facts) bool {
	if f.Resumed != nil {
		signedIn := f.Session.SignedIn() && f.newSignIn()
		if f.Denied || signedIn || a.resumed.completedBy(f.Session) {
			return true
		}
	}
	return h.config.Consent.covered(a)
}

// rememberedConsent returns what the user has granted the client before at the same
// resources; nil where that is nothing, or means nothing.
func (h *Handler) rememberedConsent(ctx context.Context, s *session.Session, r *Request) (*ConsentRecord, error) {
	c := h.config.Consent
	if c == nil || c.Store == nil || !s.SignedIn() || !rememberable(r) {
		return nil, nil
	}
	stored, err := c.Store.FindConsent(ctx, s.Subject, r.ClientID)
	if err = inTime(ctx, err); err != nil {
		return nil, storeFailed("ConsentStore.FindConsent", err)
	}
	if !stored.isFor(s.Subject, r.ClientID, r.Resources) {
		return nil, nil
	}
	return stored, nil
}
