package authorize

import (
	"context"

	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// Interaction is something that a signed-in user may have to do before the client
// gets its answer: agree, choose an account, accept new terms, edit a profile.
// They come after the login, in the order of the configuration, but for a choice of
// account, which comes first because who is chosen has to agree. They work like it:
// the browser is sent to the page with the sealed request, and the page ends with
// [Handler.Complete], [Handler.Deny] or, where its outcome is recorded elsewhere,
// [Handler.Resume].
type Interaction struct {
	// Name is the interaction's own: 1 to 32 lower-case letters, digits, '-' and '_'.
	// "login" and "consent" are taken.
	Name string

	// Needed reports whether this user has to do it for this request. It is asked
	// on every visit that finds the user signed in, so it must be quick and must
	// change nothing. An error refuses the request with server_error. Nil: needed
	// only where Prompt asks for it.
	Needed func(ctx context.Context, s *session.Session, r *Request) (bool, error)

	// Prompt is the value of the prompt parameter that makes it needed, such as
	// "select_account". The value is then supported and named in the metadata. On a
	// page for select_account the user may change: [Handler.Complete] counts for
	// whoever is signed in by then, also if that user has to sign in anew. If it leads
	// to the login page, for another account, that page ends with Complete too, or the
	// user would be asked to choose once more. Empty: none.
	Prompt string

	// Error is the answer where it is needed and the request says prompt=none
	// (OpenID Connect Core 1.0 §3.1.2.6). Empty: account_selection_required or
	// consent_required if that is what Prompt is about, else interaction_required.
	Error oautherr.Code

	// Page is the URL of the page, absolute or a path on the endpoint's own origin.
	Page string
}

// consultFurther asks the access policy and the interactions about a user who is
// signed in as the request wants it. Otherwise another user may come back from the
// login, and what the host thinks of this one does not matter.
func (h *Handler) consultFurther(ctx context.Context, resumed *sealed, f Facts) (Facts, error) {
	f.Steps = make([]Step, len(h.interactions))
	for i, x := range h.interactions {
		f.Steps[i] = Step{Name: x.Name, Prompt: x.Prompt, Error: x.Error, Done: resumed.completion(x.Name, f.Session) != nil}
	}
	if _, ok := f.login(); f.Denied || !ok {
		return f, nil
	}
	if h.config.Allow != nil {
		allowed, err := h.config.Allow(ctx, f.Session, f.Request)
		if err = inTime(ctx, err); err != nil {
			return Facts{}, storeFailed("Config.Allow", err)
		}
		f.Forbidden = !allowed
	}
	for i, x := range h.interactions {
		if f.Forbidden || f.Steps[i].Done || x.Needed == nil {
			continue
		}
		needed, err := x.Needed(ctx, f.Session, f.Request)
		if err = inTime(ctx, err); err != nil {
			return Facts{}, storeFailed("the interaction "+x.Name, err)
		}
		f.Steps[i].Needed = needed
	}
	return f, nil
}

// familiar reports whether the user has dealt with a client that nobody has vetted:
// for this request or, as stored consent proves, before.
func (h *Handler) familiar(ctx context.Context, a *answer, f Facts) (bool, error) {
	if f.Resumed != nil {
		signedIn := f.Session.SignedIn() && f.newSignIn() && f.sinceRequest()
		if f.Denied || signedIn || a.resumed.completedBy(f.Session) {
			return true, nil
		}
	}
	covered, err := h.config.Consent.covered(ctx, f.Session, a.request)
	if err = inTime(ctx, err); err != nil {
		return false, storeFailed("ConsentStore.FindConsent", err)
	}
	return covered, nil
}
