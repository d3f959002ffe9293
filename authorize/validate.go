package authorize

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/usher-auth/usher/authorize/internal/destination"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/pkce"
)

// A check looks at one rule and changes nothing. It returns nil if the request
// keeps the rule.
type check struct {
	name string
	rfc  string
	run  func(s *subject) error
}

// subject is what the checks look at.
type subject struct {
	config  *Config
	prompts []string // values of prompt beyond none and login
	client  *Client
	request *Request
	params  params
}

// checks run in this order, and the first error is the answer.
var checks = []check{
	{"once", "RFC 6749 §3.1", checkOnce},
	{"request objects", "OpenID Connect Core 1.0 §6", checkRequestObjects},
	{"pushed", "RFC 9126 §6", checkPushed},
	{"response_type", "RFC 6749 §3.1.1", checkResponseType},
	{"response_mode", "OAuth 2.0 Multiple Response Types §2.1", checkResponseMode},
	{"state", "RFC 6749 §4.1.1", checkState},
	{"scope", "RFC 6749 §3.3", checkScope},
	{"pkce", "RFC 7636 §4.4.1", checkPKCE},
	{"nonce", "OpenID Connect Core 1.0 §3.1.2.1", checkNonce},
	{"prompt", "OpenID Connect Core 1.0 §3.1.2.1", checkPrompt},
	{"max_age", "OpenID Connect Core 1.0 §3.1.2.1", checkMaxAge},
	{"claims", "OpenID Connect Core 1.0 §5.5", checkClaims},
	{"hints", "OpenID Connect Core 1.0 §3.1.2.1", checkHints},
}

// validate reads the request and checks it. A request that comes back from the
// login page goes through all of it again, against the client as it is now.
func (h *Handler) validate(ctx context.Context, c *Client, to destination.Destination, resumed *sealed, p params) (*Request, error) {
	r := newRequest(p)
	r.Client = c
	r.RedirectURI = to.URI()
	r.Scopes = effectiveScopes(r)
	s := &subject{config: &h.config, prompts: h.prompts, client: c, request: r, params: p}
	for _, check := range checks {
		if err := check.run(s); err != nil {
			return nil, err
		}
	}
	if err := h.checkResources(ctx, r); err != nil {
		return nil, err
	}
	return r, h.requiredSubject(ctx, r, resumed)
}

// effectiveScopes puts the client's defaults in place of none, and drops
// offline_access unless the user will be asked for it or the client is trusted
// (OpenID Connect Core 1.0 §11).
func effectiveScopes(r *Request) []string {
	scopes := r.Scopes
	if len(scopes) == 0 {
		scopes = slices.Clone(r.Client.DefaultScopes)
	}
	if r.Client.Trusted || r.Prompts("consent") {
		return scopes
	}
	return slices.DeleteFunc(scopes, func(scope string) bool { return scope == "offline_access" })
}

func checkOnce(s *subject) error {
	if len(s.params.repeated) > 0 {
		return oautherr.InvalidRequest.With("The parameter " + s.params.repeated[0] + " came more than once or in the query of a POST.")
	}
	return nil
}

func checkRequestObjects(s *subject) error {
	request, uri := s.params.get("request"), s.params.get("request_uri")
	switch {
	case request != "" && uri != "":
		return oautherr.InvalidRequest.With("request and request_uri exclude each other.")
	case request != "":
		return oautherr.RequestNotSupported
	case uri != "":
		return oautherr.RequestURINotSupported
	case s.params.get("registration") != "":
		return oautherr.RegistrationNotSupported
	}
	return nil
}

func checkPushed(s *subject) error {
	if s.client.RequirePushed {
		return oautherr.InvalidRequest.With("This client has to push its requests.")
	}
	return nil
}

func checkResponseType(s *subject) error {
	switch want := s.request.ResponseType; {
	case want == "":
		return oautherr.InvalidRequest.With("response_type is missing.")
	case !slices.Contains(s.config.ResponseTypes, want):
		return oautherr.UnsupportedResponseType
	case !s.client.mayUse(want):
		return oautherr.UnauthorizedClient.With("The client is not registered for this response_type.")
	}
	return nil
}

func checkResponseMode(s *subject) error {
	switch destination.Mode(s.request.ResponseMode) {
	case "", destination.Query:
		return nil
	case destination.FormPost:
		if destination.TakesForms(s.request.RedirectURI) {
			return nil
		}
		return oautherr.InvalidRequest.With("form_post needs a redirect_uri with http or https.")
	}
	return oautherr.InvalidRequest.With("The response_mode is not supported.")
}

func checkState(s *subject) error {
	switch {
	case !destination.ValidState(s.request.State):
		return oautherr.InvalidRequest.With("state is longer than 8192 bytes or has control characters.")
	case s.request.State == "" && s.client.RequireState:
		return oautherr.InvalidRequest.With("state is missing, and this client has to send it.")
	}
	return nil
}

func checkScope(s *subject) error {
	if len(s.request.Scopes) == 0 {
		return oautherr.InvalidScope.With("scope is missing.")
	}
	for _, scope := range s.request.Scopes {
		if !slices.Contains(s.client.Scopes, scope) || s.config.Scopes != nil && !slices.Contains(s.config.Scopes, scope) || !validScope(scope) {
			return oautherr.InvalidScope
		}
	}
	return nil
}

// validScope accepts the characters of RFC 6749 §3.3, so that a registered value
// that has others cannot reach a token.
func validScope(scope string) bool {
	for i := range len(scope) {
		if c := scope[i]; c <= 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return scope != ""
}

func checkPKCE(s *subject) error {
	challenge, method := s.request.CodeChallenge, s.request.CodeChallengeMethod
	required := s.request.ResponseType == "code" && (s.client.Public || !s.client.PKCEOptional)
	switch {
	case challenge == "" && method == "" && !required:
		return nil
	case challenge == "":
		return oautherr.InvalidRequest.With("code_challenge is missing.")
	case method == "":
		return oautherr.InvalidRequest.With("code_challenge_method is missing: send S256.")
	case method != pkce.MethodS256:
		return oautherr.InvalidRequest.With("The code_challenge_method is not supported: send S256.")
	case !pkce.ValidChallenge(challenge):
		return oautherr.InvalidRequest.With("code_challenge is not 43 characters of base64url.")
	}
	return nil
}

func checkNonce(s *subject) error {
	if nonce := s.request.Nonce; len(nonce) > maxNonce || !destination.ValidText(nonce) {
		return oautherr.InvalidRequest.With("nonce is longer than 2048 bytes or has control characters.")
	}
	return nil
}

// maxNonce bounds what is stored with every code.
const maxNonce = 2048

func checkPrompt(s *subject) error {
	for _, value := range s.request.Prompt {
		switch {
		case value == "none" && s.params.get("prompt") != "none":
			return oautherr.InvalidRequest.With("prompt=none excludes every other value.")
		case !slices.Contains(s.prompts, value):
			return oautherr.InvalidRequest.With("A value of prompt is not supported.")
		}
	}
	return nil
}

func checkMaxAge(s *subject) error {
	if _, err := maxAge(s.params.get("max_age")); err != nil {
		return oautherr.InvalidRequest.With("max_age is not a number of seconds.")
	}
	return nil
}

func checkClaims(s *subject) error {
	if s.request.Claims == nil {
		return nil
	}
	if _, err := claimedSubject(s.request.Claims); err != nil {
		return oautherr.InvalidRequest.With("claims is not a valid JSON object.")
	}
	return nil
}

// checkHints bounds what host pages are given to show.
func checkHints(s *subject) error {
	for _, name := range []string{"login_hint", "ui_locales", "claims_locales", "acr_values"} {
		if value := s.params.get(name); len(value) > maxList || !destination.ValidText(value) {
			return oautherr.InvalidRequest.With(name + " is longer than 4096 bytes or has control characters.")
		}
	}
	return nil
}

// maxResources bounds how often the host is asked in one request.
const maxResources = 20

// checkResources asks the host about each resource (RFC 8707 §2).
func (h *Handler) checkResources(ctx context.Context, r *Request) error {
	if h.config.Resource == nil {
		r.Resources = nil
		return nil
	}
	if len(r.Resources) > maxResources {
		return oautherr.InvalidTarget.With("There are more than 20 resources.")
	}
	for _, resource := range r.Resources {
		u, err := url.Parse(resource)
		if err != nil || !u.IsAbs() || len(resource) > 2048 || strings.Contains(resource, "#") {
			return oautherr.InvalidTarget.With("A resource is not an absolute URI without a fragment.")
		}
		ok, err := h.config.Resource(ctx, r.Client, resource)
		if err = inTime(ctx, err); err != nil {
			return storeFailed("Config.Resource", err)
		}
		if !ok {
			return oautherr.InvalidTarget
		}
	}
	return nil
}

// requiredSubject finds out which user the client wants an answer for: the one of
// its id_token_hint, which is verified once and never carried across the login,
// or the one that claims names.
func (h *Handler) requiredSubject(ctx context.Context, r *Request, resumed *sealed) error {
	claimed, err := claimedSubject(r.Claims)
	if err != nil {
		return err
	}
	hinted := ""
	if resumed != nil {
		hinted = resumed.HintSubject
	} else if token := r.params.get("id_token_hint"); token != "" {
		if h.config.IDTokenHint == nil {
			return oautherr.InvalidRequest.With("id_token_hint is not supported.")
		}
		hinted, err = h.config.IDTokenHint(ctx, token)
		if ctx.Err() != nil {
			return storeFailed("Config.IDTokenHint", ctx.Err())
		}
		if err != nil || hinted == "" {
			return &oautherr.Error{Code: oautherr.InvalidRequest, Description: "The id_token_hint is not an ID token of this issuer.", Cause: err}
		}
	}
	if hinted != "" && claimed != "" && hinted != claimed {
		return oautherr.InvalidRequest.With("id_token_hint and claims name different users.")
	}
	r.hintSubject = hinted
	r.Subject = claimed
	if hinted != "" {
		r.Subject = hinted
	}
	return nil
}
