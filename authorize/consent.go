package authorize

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/authorize/internal/uri"
	oautherr "github.com/usher-auth/usher/errors"
)

// ConsentInteraction is the name of the consent page. Only login and the choice of an
// account come before it.
const ConsentInteraction = "consent"

// Consent asks the user to agree to the client's request (OpenID Connect Core 1.0
// §3.1.2.4). FirstParty clients are exempt.
type Consent struct {
	// Page is the URL of the consent page, absolute or a path on the endpoint's own origin.
	// It must show the client's name, where the response goes, each scope, and each claim
	// of [Request.ClaimsBeyondScopes]. It ends with [Handler.Grant] or [Handler.Deny].
	Page string

	// Store remembers what the user agreed to. Nil: the user is asked every time. A user who
	// granted fewer scopes than the client asked for is not asked again for the same ones:
	// the refusal is remembered too. The user is asked again if the request says
	// prompt=consent, asks for a scope that is new, or would be left without any scope.
	// For a client on loopback or with a private-use scheme the user is asked every time
	// even with a store, whether the client has a secret or not, because any program on the
	// user's machine can pretend to be it (RFC 8252 §8.6). FirstParty clients are exempt.
	Store ConsentStore

	// Covers reports whether remembered consent with Data counts for this request: one
	// client_id may stand for all devices of a user, and each for another workspace. It is
	// not asked where the record has no Data. An error is one of a store. Nil: such a user
	// is asked every time.
	Covers func(ctx context.Context, c *ConsentRecord, r *Request) (bool, error)
}

// ConsentRecord is what one user has granted one client.
type ConsentRecord struct {
	Subject  string
	ClientID string
	// Scopes were granted for Resources, which are empty unless [Config].Resources is set.
	// For other resources the user is asked again.
	Scopes    []string
	Resources []string
	// IDTokenClaims and UserInfoClaims are the names of the claims that the user agreed to
	// for each place. They are those of the claims parameter (OpenID Connect Core 1.0 §5.5)
	// that Scopes do not release.
	IDTokenClaims  []string
	UserInfoClaims []string
	// RefusedScopes were asked for and not granted.
	RefusedScopes []string
	// Data is the host's own, from [Granted].Data.
	Data []byte
	// Revision is the [Client].Revision that was agreed to.
	Revision string
	// GrantedAt is when the user last agreed, UTC in milliseconds.
	GrantedAt time.Time
}

// Clone returns a copy that shares no memory with c. The clone of nil is nil.
func (c *ConsentRecord) Clone() *ConsentRecord {
	if c == nil {
		return nil
	}
	clone := *c
	clone.Data = slices.Clone(c.Data)
	clone.eachText(strings.Clone)
	return &clone
}

func (c *ConsentRecord) eachText(f func(string) string) {
	c.Subject, c.ClientID, c.Revision = f(c.Subject), f(c.ClientID), f(c.Revision)
	eachOf(f, &c.Scopes, &c.Resources, &c.IDTokenClaims, &c.UserInfoClaims, &c.RefusedScopes)
}

// isFor reports whether the record is the one that was asked for. It is false for nil.
func (c *ConsentRecord) isFor(subject string, client *Client, resources []string) bool {
	return c != nil && c.Subject == subject && c.ClientID == client.ID && c.Revision == client.Revision &&
		containsAll(c.Resources, resources) && containsAll(resources, c.Resources)
}

func containsAll(all, some []string) bool {
	if len(some) == 0 {
		return true
	}
	set := make(map[string]bool, len(all))
	for _, one := range all {
		set[one] = true
	}
	for _, one := range some {
		if !set[one] {
			return false
		}
	}
	return true
}

// ConsentStore remembers consent. It follows the rules for all stores in the package
// documentation: nothing found is nil and a nil error, and after an error nothing is
// approved. Subjects and client ids are compared byte for byte.
type ConsentStore interface {
	// SaveConsent stores the record. It replaces the record of the same subject and client,
	// if there is one.
	SaveConsent(ctx context.Context, c *ConsentRecord) error

	// FindConsent returns the record, or nil.
	FindConsent(ctx context.Context, subject, clientID string) (*ConsentRecord, error)

	// ListConsents returns all records of a user, ordered by client id, for a page on which
	// the user sees and revokes them. If there are none, the list is empty.
	ListConsents(ctx context.Context, subject string) ([]*ConsentRecord, error)

	// DeleteConsent deletes the record. It is no error if there is none. The host must
	// revoke codes and tokens that were issued because of it. A grant that is being
	// processed at the same time may store the record again.
	DeleteConsent(ctx context.Context, subject, clientID string) error
}

// Granted is what the user agrees to on a consent page.
type Granted struct {
	// Scopes are those of [Request].Scopes that the user grants: all of them or fewer.
	// Duplicates count once. An empty list, or a scope that was not asked for, is an error
	// page with status 400: for a user who grants nothing call [Handler.Deny].
	Scopes []string

	// Data is the host's own, at most 512 bytes: what else the user has decided, such as the
	// workspace chosen. It is in Code.GrantData at redemption, and in Request.GrantData
	// when [Config].Allow is asked, which checks on every path to a code that the user
	// may still choose it. It travels in the address of the waiting request, signed and not
	// encrypted: whoever has the address can read it. Nil: nothing.
	Data []byte
}

// maxGrantData is how many bytes Granted.Data may have.
const maxGrantData = 512

// Grant records what the user agrees to, and sends the browser back, like
// [Handler.Complete]. With the scopes the user agrees to all requested claims, except those
// that a refused scope would have released. If there was a new sign-in since the page was
// shown, even of the same user, nothing is recorded and the page is shown once more.
func (h *Handler) Grant(w http.ResponseWriter, r *http.Request, granted Granted) {
	granted.Scopes = eachOnce(granted.Scopes)
	h.complete(w, r, ConsentInteraction, granted)
}

// eachOnce drops duplicates: a browser can send the same form field a thousand times.
func eachOnce(list []string) []string {
	seen := make(map[string]bool, len(list))
	return slices.DeleteFunc(slices.Clone(list), func(one string) bool {
		twice := seen[one]
		seen[one] = true
		return twice
	})
}

// interaction returns consent as an Interaction. It has no Needed: host.go decides that,
// because it has the stored consent.
func (c *Consent) interaction() Interaction {
	return Interaction{
		Name:   ConsentInteraction,
		Prompt: "consent",
		Error:  oautherr.ConsentRequired,
		Page:   c.Page,
	}
}

// needed reports whether the user has to be asked.
func (c *Consent) needed(v *visit) bool { return !v.client.firstParty() && !c.covered(v) }

// covered reports whether the stored consent covers the request. It need not cover
// offline_access where that scope can be left out. It covers scopes that were refused, as
// long as another scope is left.
func (c *Consent) covered(v *visit) bool {
	if v.remembered == nil || !v.dataCovered {
		return false
	}
	r, granted, refused := v.request, v.remembered.Scopes, v.refusedBefore()
	wanted := without(r.Scopes, refused...)
	if r.Has("openid") && (v.client.OfflineAccess || !mayShowPages(r)) {
		wanted = without(wanted, "offline_access")
	}
	if len(wanted) == 0 { // offline_access alone is nothing
		return false
	}
	return containsAll(granted, wanted) && v.remembered.hasClaims(claimsBeyond(r, granted).drop(refused))
}

// grantData is what the user has decided beside the scopes, for this request or before.
func (c *Consent) grantData(v *visit) []byte {
	if consent := v.resumed.completion(ConsentInteraction, v.session); consent != nil {
		return consent.Data
	}
	if c.covered(v) && !v.request.Prompts("consent") { // which asks for the data again
		return v.remembered.Data
	}
	return nil
}

// grantCounts reports whether the consent given for this request still counts. Where
// consent is remembered, it counts as long as it is in the store, so that the user is asked
// again after a revocation in the meantime. Otherwise the waiting request itself is the
// proof.
//
// It never counts for another revision of the client, or if the store has other data by now.
func (c *Consent) grantCounts(v *visit) bool {
	consent := v.resumed.completion(ConsentInteraction, v.session)
	if consent != nil && consent.Revision != revisionKey(v.client) {
		return false
	}
	if consent != nil && v.remembered != nil && !bytes.Equal(consent.Data, v.remembered.Data) {
		return false
	}
	if c.Store == nil || !rememberable(v.request) {
		return true
	}
	granted, _ := grantedScopes(v)
	return v.remembered != nil && containsAll(v.remembered.Scopes, granted) &&
		v.remembered.hasClaims(claimsGranted(v.request, granted))
}

// grantedScopes returns the scopes of the code: those that were asked for, or fewer if the
// user has refused some, for this request or before. offline_access of an OpenID request is
// left out unless the user has agreed to it by name (OpenID Connect Core 1.0 §11).
func grantedScopes(v *visit) (granted, leftOut []string) {
	r := v.request
	if consent := v.resumed.completion(ConsentInteraction, v.session); consent != nil {
		return slices.DeleteFunc(slices.Clone(r.Scopes), func(scope string) bool {
			return !slices.Contains(consent.Scopes, scope)
		}), nil
	}
	if v.client.firstParty() {
		return r.Scopes, nil
	}
	leftOut = v.refusedBefore()
	if r.Has("offline_access") && r.Has("openid") && !v.client.OfflineAccess &&
		(v.remembered == nil || !slices.Contains(v.remembered.Scopes, "offline_access")) {
		leftOut = appendOnce(leftOut, "offline_access")
	}
	return without(r.Scopes, leftOut...), leftOut
}

// refusedBefore are those scopes of the request that the user has refused before.
func (v *visit) refusedBefore() (refused []string) {
	if v.remembered != nil {
		for _, scope := range v.remembered.RefusedScopes {
			if v.request.Has(scope) {
				refused = append(refused, scope)
			}
		}
	}
	return refused
}

// without returns the list without these values.
func without(list []string, values ...string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(one string) bool { return slices.Contains(values, one) })
}

// rememberable reports whether consent for the client may be remembered. On loopback and
// for a private-use scheme it may not, because any program on the user's machine could ask
// in the client's name (RFC 8252 §8.6). A client with a secret is no exception, because the
// authorization endpoint does not ask for the secret. A response out of band goes only to
// the program that asked, and is of use only to a client that has the secret.
func rememberable(r *Request) bool {
	switch {
	case r.Client.firstParty():
		return true
	case r.OutOfBand:
		return !r.Client.Public
	}
	return !uri.Impersonable(r.RedirectURI)
}

// remember stores what the user grants. Scopes that were asked for and are not granted now
// are removed from the record, with the claims that they release. Scopes and claims that
// were granted for other requests for the same resources are kept.
func (h *Handler) remember(v *visit, given Granted) error {
	// No destination is kept: an error here is shown on a page, where the user can try
	// again, and is not sent to the client.
	ctx, p := v.http.Context(), v.resumed.params()
	client, to, err := h.identify(ctx, p)
	if err != nil {
		return err
	}
	again := &visit{http: v.http, client: client, destination: to, params: p}
	if err = errors.Join(settleSource(again), h.validate(again)); err != nil {
		return err
	}
	v.request = again.request
	if revisionKey(client) != v.resumed.Revision {
		return errNotShown
	}
	granted := given.Scopes
	if len(given.Data) > maxGrantData {
		return oautherr.ServerError.Because(
			fmt.Errorf("Grant was called with %d bytes of Data, at most %d", len(given.Data), maxGrantData))
	}
	if len(granted) == 0 || !containsAll(v.request.Scopes, granted) {
		return errScopesMissing.because("Grant was called with %d scopes, and those asked for are %d",
			len(granted), len(v.request.Scopes))
	}
	consent := h.config.Consent
	if consent.Store == nil || !rememberable(v.request) {
		return nil
	}
	claims := claimsGranted(v.request, granted)
	record := &ConsentRecord{
		Subject:   v.session.Subject,
		ClientID:  client.ID,
		Scopes:    slices.Clone(granted),
		Resources: slices.Clone(v.request.Resources),
		Revision:  client.Revision,
		Data:      slices.Clone(given.Data),

		RefusedScopes: without(v.request.Scopes, granted...),
		GrantedAt:     millis(h.config.Now()),
	}
	before, err := consent.Store.FindConsent(ctx, record.Subject, record.ClientID)
	if err = hostError(ctx, "ConsentStore.FindConsent", err); err != nil {
		return err
	}
	if before.isFor(record.Subject, client, record.Resources) && bytes.Equal(before.Data, record.Data) {
		for _, scope := range without(before.Scopes, v.request.Scopes...) {
			record.Scopes = appendOnce(record.Scopes, scope)
		}
		for _, scope := range without(before.RefusedScopes, v.request.Scopes...) {
			record.RefusedScopes = appendOnce(record.RefusedScopes, scope)
		}
		kept := claimNames{before.IDTokenClaims, before.UserInfoClaims}.drop(refusedScopes(v.request, granted))
		claims.idToken = withKept(claims.idToken, kept.idToken)
		claims.userInfo = withKept(claims.userInfo, kept.userInfo)
	}
	record.IDTokenClaims, record.UserInfoClaims = claims.idToken, claims.userInfo
	return hostError(ctx, "ConsentStore.SaveConsent", consent.Store.SaveConsent(ctx, record))
}

// errNotShown says that the user has seen another revision of the client on the page than the
// one that asks now.
var errNotShown = errors.New("the client has changed since the page was shown")

// revisionKey stands for the revision of the client; empty if it has none.
func revisionKey(c *Client) string {
	if c.Revision == "" {
		return ""
	}
	return shortHash("revision " + c.Revision)
}

// maxKept is how many names of claims a record remembers for each place. It is limited
// because a client can ask for any names.
const maxKept = 200

// withKept returns the new and the old names, each once. If they are too many, the old ones
// are dropped, and the user is asked for them again.
func withKept(now, before []string) []string {
	all := slices.Compact(slices.Sorted(slices.Values(slices.Concat(now, before))))
	if len(all) > maxKept {
		return now
	}
	return all
}
