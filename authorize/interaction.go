package authorize

import (
	"context"

	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// Interaction is something that a signed-in user may have to do before the client
// gets its response: agree, choose an account, accept new terms, edit a profile.
// They come after the login, in the order of the configuration, but for a choice of
// account, which comes first because who is chosen has to agree. They work like it:
// the browser is sent to the page with the waiting request, and the page ends with
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
