package authorize

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"

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
	return m
}

// promptsOnOffer are the values of prompt, without consent if there is no page for it.
func (h *Handler) promptsOnOffer() []string {
	asks := func(i Interaction) bool { return i.Prompt == "consent" }
	return slices.DeleteFunc(slices.Clone(h.prompts), func(prompt string) bool {
		return prompt == "consent" && !slices.ContainsFunc(h.interactions, asks)
	})
}

// MetadataHandler serves Metadata as JSON, with the members of more added. A member of more
// replaces one of Metadata with the same name. Mount it at
// /.well-known/openid-configuration and /.well-known/oauth-authorization-server (RFC 8414
// §3: for an issuer with a path, the latter goes between host and path), for all methods.
// It serves GET, HEAD and OPTIONS; other methods get status 405. Scripts of any origin may
// read it, see [CORS].
func (h *Handler) MetadataHandler(more map[string]any) http.Handler {
	m := h.Metadata()
	maps.Copy(m, more)
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
