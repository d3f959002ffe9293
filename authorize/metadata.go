package authorize

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/usher-auth/usher/authorize/internal/destination"
)

// Metadata returns the members of the server metadata (RFC 8414 §2, OpenID Connect
// Discovery 1.0 §3) that belong to this endpoint, from its configuration. The caller may
// add to the map: token_endpoint, jwks_uri and others.
func (h *Handler) Metadata() map[string]any {
	m := map[string]any{
		"issuer":                                         h.config.Issuer,
		"authorization_endpoint":                         h.config.Endpoint,
		"response_types_supported":                       slices.Clone(h.config.ResponseTypes),
		"response_modes_supported":                       destination.Modes(),
		"code_challenge_methods_supported":               []string{"S256"},
		"authorization_response_iss_parameter_supported": true,
		"claims_parameter_supported":                     true,
		"request_parameter_supported":                    false,
		"request_uri_parameter_supported":                false, // if it is absent it means true
		"prompt_values_supported":                        h.promptsOnOffer(),
	}
	if h.config.Scopes != nil {
		m["scopes_supported"] = slices.Clone(h.config.Scopes)
	}
	if list, ok := h.config.Resources.(ResourceMap); ok {
		m["protected_resources"] = slices.Sorted(maps.Keys(list)) // RFC 9728 §4
	}
	return m
}

// MetadataPaths are the paths on the issuer's origin at which clients look for its metadata:
// /.well-known/oauth-authorization-server and /.well-known/openid-configuration. For an
// issuer with a path, that path follows them (RFC 8414 §3), and they are also behind the
// path (OpenID Connect Discovery 1.0 §4). Mount [Handler.MetadataHandler] at each.
func (h *Handler) MetadataPaths() []string {
	const oauth, oidc = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
	u, err := url.Parse(h.config.Issuer)
	if err != nil || strings.Trim(u.EscapedPath(), "/") == "" { // New has parsed it before
		return []string{oauth, oidc}
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	return []string{oauth + path, oidc + path, path + oauth, path + oidc}
}

// promptsOnOffer are the values of prompt, without consent if there is no page for it.
func (h *Handler) promptsOnOffer() []string {
	asks := func(i Interaction) bool { return i.Prompt == "consent" }
	return slices.DeleteFunc(slices.Clone(h.prompts), func(prompt string) bool {
		return prompt == "consent" && !slices.ContainsFunc(h.interactions, asks)
	})
}

// MetadataHandler serves Metadata as JSON, with the members of more added. A member of more
// replaces one of the same name that came before. Mount it at each of
// [Handler.MetadataPaths], for all methods. It serves GET, HEAD and OPTIONS; other methods
// get status 405. Scripts of any origin may read it, see [CORS].
func (h *Handler) MetadataHandler(more ...map[string]any) http.Handler {
	return metadataHandler(h.Metadata(), more)
}

func metadataHandler(m map[string]any, more []map[string]any) http.Handler {
	for _, members := range more {
		maps.Copy(m, members)
	}
	body, err := json.Marshal(m)
	return jsonHandler(body, err)
}

// PendingKeysHandler serves the public keys of [Config].Keys as a JWK Set (RFC 7517), for
// [PendingReader] in another process. HMAC secrets are not in it. These keys are not those
// of the host's ID tokens. Methods and CORS are as for [Handler.MetadataHandler].
func (h *Handler) PendingKeysHandler() http.Handler {
	body, err := h.keys.Public()
	return jsonHandler(body, err)
}

// jsonHandler serves a public document that does not change while the process runs.
func jsonHandler(body []byte, err error) http.Handler {
	return CORS(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err != nil {
			http.Error(w, "the document cannot be written: "+err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Cache-Control", "public, max-age=300")
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if r.Method != http.MethodHead {
			w.Write(body)
		}
	}), http.MethodGet)
}
