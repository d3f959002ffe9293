package authorize

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/pkce"
)

// Redemption is what a client presents at the token endpoint (RFC 6749 §4.1.3).
type Redemption struct {
	// Code is the authorization code.
	Code string

	// ClientID is the client that the host has authenticated, or that a public
	// client claims to be. Never take it from the code.
	ClientID string

	// RedirectURI is the parameter redirect_uri; empty when it was not sent. It
	// may be missing only where PKCE was used (OAuth 2.1 §4.1.3) or where the
	// authorization request had none either.
	RedirectURI string

	// Verifier is the parameter code_verifier; empty when it was not sent.
	Verifier string

	// Resources are the parameters resource (RFC 8707 §2.2): the access token is to be for
	// these alone. Each has to be one that was granted, in the sense of [SameResource].
	// Nil: all that were granted. Ignored where [Config].Resources is nil.
	Resources []string
}

// LogValue keeps code and verifier out of logs.
func (r Redemption) LogValue() slog.Value { return slog.StringValue("redemption by " + r.ClientID) }

// String keeps code and verifier out of logs.
func (r Redemption) String() string { return r.LogValue().String() }

// ReplayError is the error of [Handler.Redeem] for a code that was redeemed before by
// the same client with the same redirect URI and verifier. It means that the code
// leaked: revoke what was issued for it (RFC 6749 §4.1.2), which is all with this
// Code.GrantID. errors.Is finds
// oautherr.InvalidGrant in it, which is what the client is told.
type ReplayError struct {
	// Code is the record, with UsedAt set.
	Code *Code
}

// Error says when the code was used first.
func (r *ReplayError) Error() string {
	return fmt.Sprintf("%s: the code was used before, at %s", oautherr.InvalidGrant, r.Code.UsedAt.Format(time.RFC3339))
}

// Unwrap returns oautherr.InvalidGrant.
func (r *ReplayError) Unwrap() error { return oautherr.InvalidGrant }

// Redeem exchanges a code for what it stands for, once. It is what a token endpoint
// calls after it has authenticated the client and before it issues anything.
//
// Client, redirect URI, expiry and PKCE (RFC 7636 §4.6: a verifier is needed if,
// and only if, a challenge was sent) are checked first, and what fails there does
// not use the code up. The errors are oautherr.InvalidGrant for all of these,
// oautherr.InvalidTarget for a resource that was not granted,
// *[ReplayError] for a code that was redeemed before, and oautherr.ServerError or
// oautherr.TemporarilyUnavailable if the store failed: the client gets nothing
// then. ctx bounds the store calls, together with [Config].Timeout.
func (h *Handler) Redeem(ctx context.Context, r Redemption) (*Code, error) {
	ctx, cancel := context.WithTimeout(ctx, h.config.Timeout)
	defer cancel()
	code, err := h.redeem(ctx, r)
	h.reportRedemption(context.WithoutCancel(ctx), r, code, err)
	if err != nil {
		return nil, err
	}
	return code, nil
}

func (h *Handler) redeem(ctx context.Context, r Redemption) (*Code, error) {
	key, now := hash(h.config.Issuer+" "+r.Code), millis(h.config.Now())
	found, err := h.config.Codes.FindCode(ctx, key)
	if err = hostError(ctx, "CodeStore.FindCode", err); err != nil {
		return nil, err
	}
	if err := found.matches(r); err != nil {
		return found, oautherr.InvalidGrant.Because(err)
	}
	if !found.UsedAt.IsZero() {
		return found, &ReplayError{Code: found}
	}
	if !now.Before(found.ExpiresAt) {
		return found, oautherr.InvalidGrant.Because(errors.New("the code has expired"))
	}
	if h.config.Resources == nil {
		r.Resources = nil
	}
	if _, err := found.narrowed(r.Resources); err != nil {
		return found, err
	}
	code, taken, err := h.config.Codes.TakeCode(ctx, key, now)
	if err = hostError(ctx, "CodeStore.TakeCode", err); err != nil {
		return found, err
	}
	if err := code.matches(r); err != nil {
		return found, hostFailed("CodeStore.TakeCode", fmt.Errorf("not the record that FindCode returned: %w", err))
	}
	if !taken {
		return code, &ReplayError{Code: code}
	}
	narrowed, err := code.narrowed(r.Resources)
	if err != nil {
		return found, hostFailed("CodeStore.TakeCode", fmt.Errorf("not the record that FindCode returned: %w", err))
	}
	code.GrantedResources, code.Resources = code.Resources, narrowed
	return code, nil
}

// narrowed returns those of the granted resources that are wanted, or all.
func (c *Code) narrowed(wanted []string) (resources []string, err error) {
	if len(wanted) == 0 {
		return slices.Clone(c.Resources), nil
	}
	for _, id := range wanted {
		i := slices.IndexFunc(c.Resources, func(granted string) bool { return SameResource(granted, id) })
		if i < 0 {
			return nil, oautherr.InvalidTarget.Because(fmt.Errorf("the resource %.200q was not granted", id))
		}
		resources = appendOnce(resources, c.Resources[i])
	}
	return resources, nil
}

// matches reports what is wrong with a redemption, apart from the time and from
// earlier use. A nil code matches nothing.
func (c *Code) matches(r Redemption) error {
	switch {
	case c == nil:
		return errors.New("no such code")
	case c.ClientID != r.ClientID || r.ClientID == "":
		return errors.New("the code belongs to another client")
	case r.RedirectURI != "" && r.RedirectURI != c.RedirectURI:
		return errors.New("redirect_uri is not the one of the authorization request")
	case r.RedirectURI == "" && c.RedirectURISent && c.Challenge == "":
		return errors.New("redirect_uri is missing")
	case c.Challenge == "" && r.Verifier != "":
		return errors.New("a code_verifier without a code_challenge")
	case c.Challenge != "" && !pkce.Verify(r.Verifier, c.Challenge):
		return wrongVerifier(r.Verifier, c.Challenge)
	}
	return nil
}

// wrongVerifier says for the log why a verifier does not prove. Clients that choose
// other characters than RFC 7636 §4.1 allows are told apart from those that send
// another verifier: the former have a fault of their own.
func wrongVerifier(verifier, challenge string) error {
	const least, most = 43, 128 // RFC 7636 §4.1
	switch length := len(verifier); {
	case length == 0:
		return errors.New("code_verifier is missing")
	case length < least || length > most:
		return fmt.Errorf("code_verifier has %d characters, and RFC 7636 wants %d to %d", length, least, most)
	case pkce.ValidVerifier(verifier):
		return errors.New("code_verifier is wrong")
	case pkce.Challenge(verifier) == challenge:
		return errors.New("code_verifier has characters that RFC 7636 does not allow " +
			"and that are not printable ASCII")
	}
	return errors.New("code_verifier has characters that RFC 7636 does not allow, " +
		"and its hash is wrong")
}
