package authorize

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/usher-auth/usher/authorize/internal/destination"
	"github.com/usher-auth/usher/authorize/internal/uri"
)

// CheckRedirectURI returns why a redirect URI cannot be registered, and nil if it can. The
// endpoint applies the same rules again at every use. The URI must be absolute, without
// fragment, user information or wildcard. It must use https, http on loopback, or a
// private-use scheme. Its query must not have a response parameter. A private-use scheme
// must have a dot in it, or be one of privateUseSchemes, which are the client's
// PrivateUseSchemes. Without them, only schemes with a dot can be registered.
func CheckRedirectURI(redirectURI string, privateUseSchemes ...string) error {
	if err := uri.Check(redirectURI, privateUseSchemes...); err != nil {
		return fmt.Errorf("redirect URI %q %w", redirectURI, err)
	}
	return nil
}

// A ClientError is one fault that [CheckClient] found.
type ClientError struct {
	// Field is the field of [Client] that must change. A value of a list is named by its
	// index: "RedirectURIs[1]".
	Field string

	// Err says what is wrong, without the name of the field.
	Err error
}

// Error names the field and says what is wrong with it.
func (e *ClientError) Error() string { return "Client." + e.Field + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e *ClientError) Unwrap() error { return e.Err }

// CheckClient returns what makes a client unusable or contradictory, and nil if nothing
// does. Call it when you register or store a client. The error joins one [ClientError] for
// each fault; its method Unwrap() []error returns them.
//
// [Memory] and package sqlstore refuse a client that it refuses. The endpoint does not call
// it. With every store, the endpoint checks each value of the client that a request relies
// on, at the time of use.
func CheckClient(c Client) error {
	var wrong []error
	add := func(field string, err error) { wrong = append(wrong, &ClientError{field, err}) }
	switch {
	case c.ID == "":
		add("ID", errors.New("is missing"))
	case !destination.ValidText(c.ID, maxClientID):
		add("ID", fmt.Errorf("is longer than %d bytes, or is not UTF-8 without control characters", maxClientID))
	}
	for i, redirectURI := range c.RedirectURIs {
		if err := CheckRedirectURI(redirectURI, c.PrivateUseSchemes...); err != nil {
			add(fmt.Sprintf("RedirectURIs[%d]", i), err)
		}
	}
	for i, scheme := range c.PrivateUseSchemes {
		if err := uri.CheckPrivateUse(scheme); err != nil {
			add(fmt.Sprintf("PrivateUseSchemes[%d]", i), fmt.Errorf("%.80q %w", scheme, err))
		}
	}
	if c.OutOfBand != "" {
		if err := uri.CheckName(c.OutOfBand); err != nil {
			add("OutOfBand", fmt.Errorf("%.80q %w: set a name such as %s", c.OutOfBand, err, OutOfBandAuto))
		}
	}
	for i, scope := range c.DefaultScopes {
		if !slices.Contains(c.Scopes, scope) {
			add(fmt.Sprintf("DefaultScopes[%d]", i), fmt.Errorf("%.80q is not one of Scopes", scope))
		}
	}
	for i, responseType := range c.ResponseTypes {
		if responseType != "code" && responseType != "none" {
			err := fmt.Errorf(`%.80q is neither "code" nor "none"`, responseType)
			add(fmt.Sprintf("ResponseTypes[%d]", i), err)
		}
	}
	for i, mode := range c.ResponseModes {
		if known := destination.Modes(); !slices.Contains(known, mode) {
			err := fmt.Errorf("%.80q is none of %s", mode, strings.Join(known, ", "))
			add(fmt.Sprintf("ResponseModes[%d]", i), err)
		}
	}
	if c.FirstParty && c.Unvetted {
		add("FirstParty", errors.New("contradicts Unvetted: the host's own application is vetted"))
	}
	return errors.Join(wrong...)
}
