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

	// ClientID is the client that the host has authenticated or, for a public client, the
	// parameter client_id. Never take it from the code.
	ClientID string

	// RedirectURI is the parameter redirect_uri; empty if it was not sent. It may be
	// missing only if PKCE was used (OAuth 2.1 §4.1.3) or if the authorization request had
	// no redirect_uri either.
	RedirectURI string

	// Verifier is the parameter code_verifier; empty if it was not sent.
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

// ReplayError is the error of [Handler.Redeem] for a code that was redeemed before by the
// same client with the same redirect URI and verifier. It means that the code leaked:
// revoke the tokens that were issued for it (RFC 6749 §4.1.2), which are those with this
// Code.GrantID. errors.Is finds oautherr.InvalidGrant in it; that is the error for the client.
type ReplayError struct {
	// Code is the record, with UsedAt set.
	Code *Code
}

// Error says when the code was first used.
func (r *ReplayError) Error() string {
	return fmt.Sprintf("%s: the code was used before, at %s", oautherr.InvalidGrant, r.Code.UsedAt.Format(time.RFC3339))
}

// Unwrap returns oautherr.InvalidGrant.
func (r *ReplayError) Unwrap() error { return oautherr.InvalidGrant }

// Redeem exchanges a code, once, for its record. A token endpoint calls it after it has
// authenticated the client and before it issues anything.
//
// Redeem first checks client, redirect URI, expiry and PKCE (RFC 7636 §4.6: a verifier is
// needed if, and only if, a challenge was sent), and then resources. A failed check does not
// use the code up; its error is oautherr.InvalidGrant, or oautherr.InvalidTarget for a
// resource that was not granted. The error for a code that was redeemed before is a
// *[ReplayError]. If the store failed it is oautherr.ServerError or
// oautherr.TemporarilyUnavailable; issue nothing then. The store calls end with ctx, and
// after [Config].Timeout at the latest.
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

// matches returns what is wrong with a redemption, except expiry and earlier use. A nil
// code matches no redemption.
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

// wrongVerifier says for the log why a verifier was refused. It distinguishes a verifier
// with characters that RFC 7636 §4.1 does not allow from a wrong verifier: the former is a
// fault of the client.
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
