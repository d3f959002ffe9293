package authorize

import (
	"context"
	"net/http"

	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// Interaction is something that a signed-in user may have to do before the client
// gets its answer: agree, choose an account, accept new terms, edit a profile.
// They come after the login, in the order of the configuration, and work like it:
// the browser is sent to the page with the sealed request, and the page ends with
// [Handler.Complete], [Handler.Deny] or, where its outcome is recorded elsewhere,
// [Handler.Resume].
type Interaction struct {
	// Name is the interaction's own, of lower-case letters, digits, '-' and '_'.
	// "login" and "consent" are taken.
	Name string

	// Needed reports whether this user has to do it for this request. It is asked
	// on every visit that finds the user signed in, so it must be quick and must
	// change nothing. An error refuses the request with server_error. Nil: needed
	// only where Prompt asks for it.
	Needed func(ctx context.Context, s *session.Session, r *Request) (bool, error)

	// Prompt is the value of the prompt parameter that makes it needed, such as
	// "select_account". The value is then supported and named in the metadata.
	// Empty: none.
	Prompt string

	// Error is the answer where it is needed and the request says prompt=none
	// (OpenID Connect Core 1.0 §3.1.2.6). Empty: interaction_required.
	Error oautherr.Code

	// Page is the URL of the page, absolute or a path on the endpoint's own origin.
	Page string
}

// consult gathers what a decision needs and what only the host knows: who is
// signed in, what its policy says and which interactions it wants. It is called
// once the request has proven valid.
func (h *Handler) consult(r *http.Request, a *answer) (Facts, error) {
	ctx := r.Context()
	s, err := h.config.Sessions.Session(r)
	if err = inTime(ctx, err); err != nil {
		return Facts{}, storeFailed("SessionStore.Session", err)
	}
	a.session = s
	facts := Facts{
		Request:   a.request,
		Session:   s,
		Now:       a.started,
		ClockSkew: h.config.ClockSkew,
		Resumed:   a.resumed.resumedFacts(),
		Denied:    a.request.params.denied,
		Steps:     make([]Step, len(h.interactions)),
	}
	for i, interaction := range h.interactions {
		facts.Steps[i] = Step{
			Name:   interaction.Name,
			Prompt: interaction.Prompt,
			Error:  interaction.Error,
			Done:   a.resumed.completion(interaction.Name, s) != nil,
		}
	}
	if a.familiar, err = h.familiar(ctx, a, facts); err != nil {
		return Facts{}, storeFailed("ConsentStore.FindConsent", err)
	}
	if _, ok := facts.login(); facts.Denied || !ok {
		// Another user may come back from the login: what the host thinks of this
		// one does not matter.
		return facts, nil
	}
	if h.config.Allow != nil {
		allowed, err := h.config.Allow(ctx, s, a.request)
		if err = inTime(ctx, err); err != nil {
			return Facts{}, storeFailed("Config.Allow", err)
		}
		facts.Forbidden = !allowed
	}
	for i, interaction := range h.interactions {
		if facts.Forbidden || facts.Steps[i].Done || interaction.Needed == nil {
			continue
		}
		needed, err := interaction.Needed(ctx, s, a.request)
		if err = inTime(ctx, err); err != nil {
			return Facts{}, storeFailed("the interaction "+interaction.Name, err)
		}
		facts.Steps[i].Needed = needed
	}
	return facts, nil
}

// familiar reports whether the user has dealt with the client, for this request or,
// as stored consent proves, before. It is asked for unvetted clients only.
func (h *Handler) familiar(ctx context.Context, a *answer, f Facts) (bool, error) {
	if !a.client.Unvetted || f.interacted() {
		return true, nil
	}
	covered, err := h.config.Consent.covered(ctx, f.Session, a.request)
	return covered, inTime(ctx, err)
}

// interacted reports whether the user has done something for this very request.
func (f Facts) interacted() bool {
	if f.Resumed == nil {
		return false
	}
	for _, step := range f.Steps {
		if step.Done {
			return true
		}
	}
	return f.Denied || f.Session.SignedIn() && f.newSignIn() && f.sinceRequest()
}
