package cimd

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/usher-auth/usher/authorize/internal/clientmeta"
	"github.com/usher-auth/usher/authorize/internal/uri"
)

// document is what of a metadata document is used.
type document struct {
	name          string
	redirectURIs  []string // those that can be used
	schemes       []string // of them, without a dot
	leftOut       []string // those that cannot, and why
	redirectHosts []string // on the web, other than the document's own
	revision      string
}

// read reads a document whose address is u.
func (s *Store) read(body []byte, u *url.URL) (*document, *failure) {
	m, err := clientmeta.Read(body, maxBody)
	if err == nil {
		err = checkDocument(m, u.String())
	}
	d := &document{}
	if err == nil {
		d.name = clientmeta.CleanName(m.ClientName)
		err = d.readRedirectURIs(m, u.Hostname(), s.config.AppSchemes)
	}
	if err == nil {
		d.revision, err = revision(d.redirectURIs, m)
	}
	if err != nil {
		fail := &failure{err: err}
		if wrong := (*clientmeta.Error)(nil); errors.As(err, &wrong) {
			fail.member = wrong.Member
		}
		return nil, fail
	}
	return d, nil
}

// checkDocument checks what the draft demands of a document, and that it is one of a client
// that needs no secret and uses codes.
func checkDocument(m *clientmeta.Metadata, id string) error {
	const method, methods = "token_endpoint_auth_method", "token_endpoint_auth_methods_supported"
	switch {
	case m.ClientID != id:
		return &clientmeta.Error{Member: "client_id", Reason: "is not the address of the document"}
	case m.Secret != "":
		return &clientmeta.Error{Member: m.Secret, Reason: "is there, and a document can have no secret"}
	case strings.HasPrefix(m.TokenEndpointAuthMethod, "client_secret_"):
		return &clientmeta.Error{Member: method, Reason: "needs a secret, and a document can have none"}
	case m.TokenEndpointAuthMethod == "" && len(m.TokenEndpointAuthMethodsSupported) == 0:
		// The default of registrations needs a secret, which nobody has here.
	case !m.Offers("none"):
		wrong := &clientmeta.Error{Member: method, Reason: "is not none, and no other is supported here"}
		if len(m.TokenEndpointAuthMethodsSupported) > 0 {
			wrong.Member, wrong.Reason = methods, "does not have none, and no other is supported here"
		}
		return wrong
	}
	return m.CheckCode()
}

// readRedirectURIs leaves out what cannot be used: a document is for all servers, and need
// not be for this one alone.
func (d *document) readRedirectURIs(m *clientmeta.Metadata, host string, schemes []string) error {
	var last error
	for _, redirectURI := range m.RedirectURIs {
		one := clientmeta.Metadata{RedirectURIs: []string{redirectURI}}
		if err := one.CheckRedirectURIs(schemes); err != nil {
			last = err
			d.leftOut = append(d.leftOut, redirectURI)
			continue
		}
		if slices.Contains(d.redirectURIs, redirectURI) {
			continue
		}
		d.redirectURIs = append(d.redirectURIs, redirectURI)
		if uri.Impersonable(redirectURI) {
			continue // which is a fact of its own
		}
		to, err := url.Parse(redirectURI)
		if err == nil && !strings.EqualFold(to.Hostname(), host) && !slices.Contains(d.redirectHosts, to.Host) {
			d.redirectHosts = append(d.redirectHosts, to.Host)
		}
	}
	d.schemes = clientmeta.PrivateUseSchemes(d.redirectURIs)
	switch {
	case len(m.RedirectURIs) == 0:
		return &clientmeta.Error{Member: "redirect_uris", Reason: "is missing"}
	case len(d.redirectURIs) == 0:
		return &clientmeta.Error{Member: "redirect_uris", Reason: "has none that can be used", Cause: last}
	}
	return nil
}

// revision is a hash of redirect URIs and keys. Their order does not count, nor how the
// keys are written.
func revision(redirectURIs []string, m *clientmeta.Metadata) (string, error) {
	parts := []string{"jwks_uri", m.JWKSURI, "redirect_uris"}
	parts = append(parts, slices.Sorted(slices.Values(redirectURIs))...)
	if m.JWKS != nil {
		keys, err := canonicalKeys(m.JWKS)
		if err != nil {
			return "", err
		}
		parts = append(append(parts, "jwks"), keys...)
	}
	hash := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(hash, "%d:%s", len(part), part)
	}
	return base64.RawURLEncoding.EncodeToString(hash.Sum(nil)), nil
}

func canonicalKeys(jwks json.RawMessage) ([]string, error) {
	decoder := json.NewDecoder(bytes.NewReader(jwks))
	decoder.UseNumber() // a number is what is written
	var set map[string]any
	err := decoder.Decode(&set)
	list, ok := set["keys"].([]any)
	if err != nil || !ok {
		return nil, &clientmeta.Error{Member: "jwks", Reason: "has no list of keys", Cause: err}
	}
	keys := make([]string, len(list))
	for i, key := range list {
		text, err := json.Marshal(key)
		if err != nil {
			return nil, &clientmeta.Error{Member: "jwks", Reason: "cannot be read", Cause: err}
		}
		keys[i] = string(text)
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
}
