// Package clientmeta reads what a client says about itself in JSON (RFC 7591 §2): in a
// registration or in a document that it publishes. All of it is hostile input.
//
// Members that are not known here are ignored, and so are grant types and response types,
// as long as the needed one is among them. A member that is null or empty counts as absent,
// because serializers write such for what is not set.
package clientmeta

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/usher-auth/usher/authorize/internal/uri"
)

// Metadata is what a client says about itself. Nothing in it is true because it is said.
type Metadata struct {
	ClientID      string
	ClientName    string // as it was sent: see CleanName
	ClientURI     string
	RedirectURIs  []string
	GrantTypes    []string
	ResponseTypes []string
	Scope         string

	ApplicationType string
	SoftwareID      string
	SoftwareVersion string

	// TokenEndpointAuthMethod is the one that the client asks for, and the list those of
	// which the server may choose (OpenID Connect RP Metadata Choices 1.0): see Offers.
	TokenEndpointAuthMethod           string
	TokenEndpointAuthMethodsSupported []string

	JWKS    json.RawMessage // a JSON object; nothing in it is checked
	JWKSURI string

	// Secret is the name of a member that belongs to a shared secret, SoftwareStatement
	// whether there is one. Of both only the presence is known.
	Secret            string
	SoftwareStatement bool
}

// Limits on what is read beside the size of the whole.
const (
	MaxDepth = 8    // of nesting; the object itself is the first
	MaxText  = 2048 // bytes of a text
	MaxList  = 32   // elements of a list
)

// Error says which member is wrong, and why. It may be shown to whoever sent the JSON, by
// Text, and has nothing in it that was sent but at most one character.
type Error struct {
	// Member is the name of one that is known here. One of a list has its index:
	// "redirect_uris[1]". It is empty where the JSON is wrong as a whole.
	Member string

	// Reason follows the name of the member, and has no full stop.
	Reason string

	// Cause says more for the log, where there is more to say.
	Cause error
}

// Error is for the log.
func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Text()
	}
	return e.Text() + ": " + e.Cause.Error()
}

// Text is for whoever sent the JSON.
func (e *Error) Text() string {
	if e.Member == "" {
		return "the JSON " + e.Reason
	}
	return e.Member + " " + e.Reason
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// OfRedirectURIs reports whether it is about redirect URIs: RFC 7591 §3.2.2 has the code
// invalid_redirect_uri for that and invalid_client_metadata for the rest.
func (e *Error) OfRedirectURIs() bool { return strings.HasPrefix(e.Member, "redirect_uris") }

// Read reads a JSON object of at most so many bytes. The error is an *Error.
func Read(data []byte, most int) (*Metadata, error) {
	if len(data) > most {
		return nil, &Error{Reason: fmt.Sprintf("is larger than %d bytes", most)}
	}
	if err := checkJSON(data); err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, &Error{Reason: "is malformed", Cause: err}
	}
	m := &Metadata{}
	for _, known := range m.members() {
		raw, sent := members[known.name]
		if !sent || string(raw) == "null" {
			continue
		}
		if err := read(known.name, raw, known.into); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// member is one that is known, and what it is read into.
type member struct {
	name string
	into any // *string, *[]string, *json.RawMessage for an object, or func() for its presence
}

// members are in the order in which they are looked at. names must stay equal to theirs.
func (m *Metadata) members() []member {
	var text string
	var list []string // of these only the type is checked
	secret := func(name string) func() { return func() { m.Secret = name } }
	return []member{
		{"client_id", &m.ClientID},
		{"redirect_uris", &m.RedirectURIs},
		{"client_name", &m.ClientName},
		{"client_uri", &m.ClientURI},
		{"grant_types", &m.GrantTypes},
		{"response_types", &m.ResponseTypes},
		{"token_endpoint_auth_method", &m.TokenEndpointAuthMethod},
		{"token_endpoint_auth_methods_supported", &m.TokenEndpointAuthMethodsSupported},
		{"scope", &m.Scope},
		{"application_type", &m.ApplicationType},
		{"jwks", &m.JWKS},
		{"jwks_uri", &m.JWKSURI},
		{"software_id", &m.SoftwareID},
		{"software_version", &m.SoftwareVersion},
		{"contacts", &list},
		{"logo_uri", &text},
		{"tos_uri", &text},
		{"policy_uri", &text},
		{"software_statement", func() { m.SoftwareStatement = true }},
		{"client_secret_expires_at", secret("client_secret_expires_at")},
		{"client_secret", secret("client_secret")},
	}
}

// names are those of the members that are known.
var names = func() map[string]bool {
	known := map[string]bool{}
	for _, m := range (&Metadata{}).members() {
		known[m.name] = true
	}
	return known
}()

// read reads one value, which is no null.
func read(name string, raw json.RawMessage, into any) error {
	switch into := into.(type) {
	case func():
		into()
	case *json.RawMessage:
		if raw[0] != '{' {
			return &Error{Member: name, Reason: "is not an object"}
		}
		*into = raw
	case *string:
		return readText(name, raw, into)
	case *[]string:
		return readList(name, raw, into)
	}
	return nil
}

func readText(name string, raw json.RawMessage, into *string) error {
	if err := json.Unmarshal(raw, into); err != nil || raw[0] != '"' {
		return &Error{Member: name, Reason: "is not a string"}
	}
	if len(*into) > MaxText {
		return &Error{Member: name, Reason: fmt.Sprintf("is longer than %d bytes", MaxText)}
	}
	return nil
}

func readList(name string, raw json.RawMessage, into *[]string) error {
	var elements []json.RawMessage
	if err := json.Unmarshal(raw, &elements); err != nil {
		return &Error{Member: name, Reason: "is not a list"}
	}
	if len(elements) > MaxList {
		return &Error{Member: name, Reason: fmt.Sprintf("has more than %d elements", MaxList)}
	}
	list := make([]string, len(elements))
	for i, element := range elements {
		if err := readText(fmt.Sprintf("%s[%d]", name, i), element, &list[i]); err != nil {
			return err
		}
	}
	*into = list
	return nil
}

// CheckCode checks that the client uses what it needs here: the authorization code grant
// and the response type code, which are also the defaults (RFC 7591 §2). Others beside them
// are ignored.
func (m *Metadata) CheckCode() error {
	for _, needed := range []struct {
		name, value string
		list        []string
	}{
		{"grant_types", "authorization_code", m.GrantTypes},
		{"response_types", "code", m.ResponseTypes},
	} {
		if len(needed.list) != 0 && !slices.Contains(needed.list, needed.value) {
			return &Error{Member: needed.name, Reason: "does not have " + needed.value}
		}
	}
	return nil
}

// Offers reports whether the client can authenticate by the method: it asks for it, or has
// it among those of which the server may choose. A client that names no method offers none
// of them; what that means is for the caller to say.
func (m *Metadata) Offers(method string) bool {
	return m.TokenEndpointAuthMethod == method || slices.Contains(m.TokenEndpointAuthMethodsSupported, method)
}

// CheckRedirectURIs checks that there are redirect URIs, each of which could be registered
// (authorize.CheckRedirectURI). The scheme of an app has to be one of appSchemes, byte for
// byte, with a dot in it or without: nobody knows the client, and any program on a
// user's machine can take such a scheme.
func (m *Metadata) CheckRedirectURIs(appSchemes []string) error {
	if len(m.RedirectURIs) == 0 {
		return &Error{Member: "redirect_uris", Reason: "is missing"}
	}
	for i, redirectURI := range m.RedirectURIs {
		if err := checkRedirectURI(redirectURI, appSchemes); err != nil {
			err.Member = fmt.Sprintf("redirect_uris[%d]", i)
			return err
		}
	}
	return nil
}

// checkRedirectURI keeps what uri.Check says of a scheme for the log: it repeats the scheme,
// and names a field that only the host has.
func checkRedirectURI(redirectURI string, appSchemes []string) *Error {
	scheme, _, _ := strings.Cut(redirectURI, ":")
	app := scheme != "https" && scheme != "http"
	err := uri.Check(redirectURI, appSchemes...)
	if err == nil && app && !slices.Contains(appSchemes, scheme) {
		err = fmt.Errorf("has the scheme %.80q, which is not one of those that such clients may have", scheme)
	}
	switch {
	case err == nil:
		return nil
	case app:
		return &Error{Cause: err,
			Reason: "has neither https, nor http on loopback, nor the scheme of an app that is known here"}
	}
	return &Error{Reason: err.Error()}
}

// CheckAppScheme says why a scheme cannot be one of those that CheckRedirectURIs lets apps
// have.
func CheckAppScheme(scheme string) error {
	if strings.Contains(scheme, ".") {
		return uri.Check(scheme + ":/callback")
	}
	return uri.CheckPrivateUse(scheme)
}

// PrivateUseSchemes returns the schemes without a dot that the redirect URIs have, for
// authorize.Client.PrivateUseSchemes. All of them have to be checked.
func PrivateUseSchemes(redirectURIs []string) (schemes []string) {
	for _, redirectURI := range redirectURIs {
		scheme, _, _ := strings.Cut(redirectURI, ":")
		if !uri.TakesForms(redirectURI) && !strings.Contains(scheme, ".") && !slices.Contains(schemes, scheme) {
			schemes = append(schemes, scheme)
		}
	}
	return schemes
}
