package authorize

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/usher-auth/usher/authorize/internal/destination"
	"github.com/usher-auth/usher/authorize/internal/uri"
)

// CheckRedirectURI says why a redirect URI cannot be registered; nil means that it
// can. The endpoint applies the same rules again at every use: the URI must be
// absolute, without fragment, user information or wildcard, use https, http on
// loopback or a private-use scheme, and have no response parameter in its query.
// A private-use scheme has a dot in it, or is one of privateUseSchemes, which are the
// client's PrivateUseSchemes; without them only those with a dot can be registered.
func CheckRedirectURI(redirectURI string, privateUseSchemes ...string) error {
	if err := uri.Check(redirectURI, privateUseSchemes...); err != nil {
		return fmt.Errorf("redirect URI %q %w", redirectURI, err)
	}
	return nil
}

// A ClientError is one thing that [CheckClient] found wrong.
type ClientError struct {
	// Field is that of [Client] which has to change. One value of a list has its
	// index: "RedirectURIs[1]".
	Field string

	// Err says what is wrong, without the name of the field.
	Err error
}

// Error names the field and says what is wrong with it.
func (e *ClientError) Error() string { return "Client." + e.Field + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e *ClientError) Unwrap() error { return e.Err }

// CheckClient says what makes a client unusable or contradicts itself, for whoever
// registers or stores one; nil means nothing. The error joins all that is wrong, each a
// [ClientError]: its method Unwrap() []error returns them.
//
// [Memory] and package sqlstore refuse what it refuses. The endpoint does not call it: at
// use it checks each value of the client that a request relies on, whatever the store.
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
