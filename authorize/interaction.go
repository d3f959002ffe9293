package authorize

import (
	"context"

	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// Interaction is something that a signed-in user may have to do before the client gets its
// response: choose an account, accept new terms, edit a profile. Interactions come after
// the login and consent, in the order of the configuration. The choice of an account comes
// before consent, because the chosen user has to agree. As for the login, the browser is
// sent to the page with the waiting request. The page ends with [Handler.Complete],
// [Handler.Deny] or, if the host records the result itself, [Handler.Resume].
type Interaction struct {
	// Name is unique: 1 to 32 lower-case letters, digits, '-' and '_'. "login" and
	// "consent" are reserved.
	Name string

	// Needed reports whether this user has to do it for this request. It is called on every
	// visit that finds the user signed in, so it must be quick and must change nothing.
	// After an error the request is refused, as after an error of a store. Nil: needed only
	// if the request asks for Prompt.
	Needed func(ctx context.Context, s *session.Session, r *Request) (bool, error)

	// Prompt is the value of the prompt parameter that makes it needed, such as
	// "select_account". The value is then supported and listed in the metadata. On a page
	// for select_account the user may change: [Handler.Complete] counts for the user who is
	// signed in at that time, even if that user has to sign in again. If the page leads to
	// the login page, for another account, the login page must end with Complete too.
	// Otherwise the user would have to choose once more. Empty: none.
	Prompt string

	// Error is the error if it is needed and the request says prompt=none (OpenID Connect
	// Core 1.0 §3.1.2.6). Empty: account_selection_required if Prompt is "select_account",
	// consent_required if it is "consent", otherwise interaction_required.
	Error oautherr.Code

	// Page is the URL of the page, absolute or a path on the endpoint's own origin.
	Page string
}
