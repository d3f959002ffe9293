package authorize

import (
	"context"
	"fmt"

	oautherr "github.com/usher-auth/usher/errors"
)

// MayFetch reports whether a [ClientStore] may fetch what a client publishes about itself.
// It is for stores such as that of package cimd, which ask it with the context of
// ClientStore.Client, before the call returns.
//
// It is true only while the endpoint answers a navigation of a whole tab that has exactly one
// client_id and one redirect_uri, or a request that it has signed itself. So no page makes the
// host fetch by a request that the user does not see; a program that is no browser can. It is
// false in [Handler.Explain] and in [Handler.Pending], [Handler.Complete] and [Handler.Grant],
// at a token endpoint, and with any other context. A store that needs to fetch then returns
// [ErrClientNotFetched].
func MayFetch(ctx context.Context) bool {
	v, _ := ctx.Value(visitKey{}).(*visit)
	if v == nil || !v.finding.Load() {
		return false
	}
	// A parameter that came twice has no value.
	once := v.params.get("client_id") != "" && v.params.get("redirect_uri") != ""
	dest := v.http.Header.Get("Sec-Fetch-Dest")
	inFrame := dest != "" && dest != "document"
	return v.signed || once && !fetched(v.http) && !inFrame
}

// visitKey is for the one value that we put into a context: the *visit.
type visitKey struct{}

// ErrClientNotFetched says that a client describes itself, that its document is not at
// hand, and that [MayFetch] is false. It wraps [ErrClientUnreachable] and is answered like
// it, with one exception: a token endpoint takes such a client for a public one with this
// id, which the code or the refresh token has to name. A [ClientStore] therefore returns it
// only for clients that can have no secret, and only if it would not refuse the client.
var ErrClientNotFetched error = &oautherr.Error{
	Code:        errClientUnreachable.err.Code,
	Description: errClientUnreachable.err.Description,
	RetryAfter:  errClientUnreachable.err.RetryAfter,
	Cause:       fmt.Errorf("its document is not at hand, and may not be fetched now: %w", ErrClientUnreachable),
}
