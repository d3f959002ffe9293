package authorize

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/usher-auth/usher/authorize/internal/destination"
	oautherr "github.com/usher-auth/usher/errors"
)

// Resource is a protected resource: an API or an MCP server that takes the host's access
// tokens (RFC 8707, RFC 9728).
type Resource struct {
	// ID is the resource identifier (RFC 9728 §1.2): an https URL without fragment, such as
	// "https://api.example/mcp"; http is possible, and so is any other absolute URI, which
	// then has no metadata. In a [ResourceMap] it is the key, and may be empty here.
	ID string

	// Name is shown to the user on a consent page. Empty: the ID is.
	Name string

	// Scopes are those that mean something at the resource, for its metadata and for a
	// page. They limit nothing. Nil: not said.
	Scopes []string

	// Documentation is the URL of a page for developers. Empty: there is none.
	Documentation string
}

// Resources knows the protected resources for [Config].Resources.
type Resources interface {
	// Resource returns the resource that the client means by the identifier. The
	// identifier comes from the request: an absolute URI of at most 2,048 bytes without
	// fragment, as it was sent. Nil means that there is none, or that this client may not
	// ask for it: invalid_target. What is returned is the one asked for, in the sense of
	// [SameResource]; anything else is a failure. [Code].Resources has its ID.
	//
	// It is asked for each resource of each request, and by [Handler.Pending].
	Resource(ctx context.Context, c *Client, id string) (*Resource, error)
}

// ResourceMap has the resources by their identifier. Every client may ask for each; put
// a [ResourceFunc] around it where that is not so.
type ResourceMap map[string]Resource

// Resource finds the resource with the identifier, or one that is the same in the sense of
// [SameResource].
func (m ResourceMap) Resource(_ context.Context, _ *Client, id string) (*Resource, error) {
	if found, ok := m[id]; ok {
		found.ID = id
		return &found, nil
	}
	for key, found := range m {
		if SameResource(key, id) {
			found.ID = key
			return &found, nil
		}
	}
	return nil, nil
}

// check says what makes the map unusable.
func (m ResourceMap) check() error {
	seen := map[string]bool{}
	for _, id := range slices.Sorted(maps.Keys(m)) {
		if why := wrongResourceID(id); why != "" {
			return wrong("Resources", "has %q, which is %s", id, why)
		}
		if given := m[id].ID; given != "" && given != id {
			return wrong("Resources", "has the ID %q under the key %q: leave the ID empty", given, id)
		}
		if seen[CanonicalResource(id)] {
			return wrong("Resources", "has %q twice, in two spellings: leave one", id)
		}
		seen[CanonicalResource(id)] = true
	}
	return nil
}

// wrongResourceID says what an identifier is that cannot be one (RFC 8707 §2).
func wrongResourceID(id string) string {
	u, err := url.Parse(id)
	switch {
	case err != nil || !u.IsAbs() || !destination.ValidText(id, maxResourceID):
		return fmt.Sprintf("not an absolute URI of at most %d bytes", maxResourceID)
	case strings.Contains(id, "#"):
		return "a URI with a fragment"
	case strings.Trim(id, scopeCharacters) != "":
		return "not printable ASCII"
	}
	return ""
}

// ResourceFunc makes a function [Resources], for hosts whose resources are data.
// [CanonicalResource] gives the key to look up.
type ResourceFunc func(ctx context.Context, c *Client, id string) (*Resource, error)

// Resource calls f.
func (f ResourceFunc) Resource(ctx context.Context, c *Client, id string) (*Resource, error) {
	return f(ctx, c, id)
}

// SameResource reports whether two identifiers mean one resource: scheme and host are
// compared without case, a slash at the root may be missing, and everything else is
// compared as bytes (RFC 3986 §6.2.3).
func SameResource(a, b string) bool { return CanonicalResource(a) == CanonicalResource(b) }

// CanonicalResource returns the one spelling that all identifiers have in common that are
// the same in the sense of [SameResource]: scheme and host in lower case, and no slash at
// the root. What is not an absolute URI with a host is returned as it is.
func CanonicalResource(id string) string {
	scheme, rest, found := strings.Cut(id, "://")
	if !found {
		return id
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority, path := rest[:end], rest[end:]
	if path == "/" {
		path = ""
	} else if strings.HasPrefix(path, "/?") {
		path = path[1:]
	}
	// User information has case. It is in no identifier that anybody should use.
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		user, host := authority[:i], authority[i+1:]
		authority = user + "@" + lower(host)
	} else {
		authority = lower(authority)
	}
	return lower(scheme) + "://" + authority + path
}

// lower changes ASCII alone: other letters have no one lower case.
func lower(text string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'A' && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return c
	}, text)
}

// DisplayName returns the name to show to the user: Name, or the ID without one.
func (r Resource) DisplayName() string {
	if r.Name != "" {
		return r.Name
	}
	return r.ID
}

// MetadataPaths are the paths at which clients look for the metadata of the resource, on
// its own origin: /.well-known/oauth-protected-resource with the path of the identifier
// behind it (RFC 9728 §3.1), and without it, where some clients look too. Of several
// resources on one origin one alone can have the second. Nil: the ID is not an http or
// https URL.
func (r Resource) MetadataPaths() []string {
	u, ok := r.url()
	if !ok {
		return nil
	}
	root := "/.well-known/oauth-protected-resource"
	if path := strings.TrimSuffix(u.EscapedPath(), "/"); path != "" {
		return []string{root + path, root}
	}
	return []string{root}
}

// metadataURL is the first of them, absolute. A query of the ID stays behind the path.
func (r Resource) metadataURL() string {
	u, ok := r.url()
	if !ok {
		return ""
	}
	text := u.Scheme + "://" + u.Host + r.MetadataPaths()[0]
	if u.RawQuery != "" {
		text += "?" + u.RawQuery
	}
	return text
}

func (r Resource) url() (*url.URL, bool) {
	u, err := url.Parse(r.ID)
	return u, err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}

// ResourceMetadataHandler serves the metadata of the resource as JSON (RFC 9728 §2), with
// this issuer as its authorization server. Mount it at each of r.MetadataPaths on the
// resource's own origin. The members of more are added or, where both have one, put in
// its place. Methods and scripts are as for [Handler.MetadataHandler].
func (h *Handler) ResourceMetadataHandler(r Resource, more ...map[string]any) http.Handler {
	m := map[string]any{
		"resource":                 r.ID,
		"authorization_servers":    []string{h.config.Issuer},
		"bearer_methods_supported": []string{"header"},
	}
	if r.Name != "" {
		m["resource_name"] = r.Name
	}
	if r.Scopes != nil {
		m["scopes_supported"] = slices.Clone(r.Scopes)
	}
	if r.Documentation != "" {
		m["resource_documentation"] = r.Documentation
	}
	return metadataHandler(m, more)
}

// Challenge returns the header WWW-Authenticate with which the resource refuses a request
// (RFC 6750 §3, RFC 9728 §5.1). It names the metadata, from which the client learns where
// to get a token. code is empty where the request has no token, with status 401, or
// oautherr.InvalidToken with 401, or oautherr.InsufficientScope with 403. scopes are what
// the request needs. A client that adds them to those it has can ask for them in a new
// authorization request.
func (r Resource) Challenge(code oautherr.Code, scopes ...string) string {
	var parts []string
	add := func(name, value string) {
		// Nothing else is in a URL, a code or a scope.
		if value != "" && strings.Trim(value, oautherr.NQSCHAR) == "" {
			parts = append(parts, name+`="`+value+`"`)
		}
	}
	add("error", string(code))
	add("scope", strings.Join(scopes, " "))
	add("resource_metadata", r.metadataURL())
	return strings.TrimSpace("Bearer " + strings.Join(parts, ", "))
}

const (
	maxResources  = 20 // bounds how often the host is asked in one request
	maxResourceID = 2048
)

// findResource asks the host for one resource; nil and no error: there is none.
func (h *Handler) findResource(ctx context.Context, c *Client, id string) (*Resource, error) {
	const call = "Config.Resources"
	found, err := h.config.Resources.Resource(ctx, c, id)
	if err = hostError(ctx, call, err); err != nil || found == nil {
		return nil, err
	}
	if !SameResource(found.ID, id) {
		return nil, hostFailed(call, fmt.Errorf("it returned the resource %.80q when asked for %.80q", found.ID, id))
	}
	return found, nil
}

// checkResources asks the host about each resource, and puts the configured spelling into
// the request. Without [Config].Resources the parameter is not known, and there is none.
func checkResources(c *checked) error {
	r := c.request
	if len(r.Resources) > maxResources {
		return oautherr.InvalidTarget.With(fmt.Sprintf("There are more than %d resources.", maxResources))
	}
	known := make([]string, 0, len(r.Resources))
	for _, id := range r.Resources {
		if wrongResourceID(id) != "" {
			return oautherr.InvalidTarget.With("A resource is not an absolute URI without a fragment.")
		}
		found, err := c.handler.findResource(c.ctx, c.client, id)
		if err != nil {
			return err
		}
		if found == nil {
			return oautherr.InvalidTarget.Because(
				fmt.Errorf("Config.Resources has no %.200q for this client", id))
		}
		known = appendOnce(known, found.ID)
	}
	r.Resources = known
	return nil
}
