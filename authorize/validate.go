package authorize

import (
	"context"
	"errors"
	"fmt"
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
	rule string
	rfc  string
	// of are the parameters that the rule is about. A request without any of them
	// keeps it, and run is not called. Nil: it is a rule for every request.
	of  []string
	run func(s *inspected) error
}

// inspected is what the checks look at.
type inspected struct {
	config  *Config
	room    int      // bytes of JSON for the parameters of a waiting request
	prompts []string // values of prompt that are supported
	client  *Client
	request *Request
	params  params
}

// checks run in this order, and the first error is the answer.
var checks = []check{
	{"a request object is not supported", "OpenID Connect Core 1.0 §6", []string{"request", "request_uri", "registration"}, checkRequestObjects},
	{"the response type is known and open to the client", "RFC 6749 §3.1.1", nil, checkResponseType},
	{"the response mode is known, open to the client and fits the redirect URI", "OAuth 2.0 Multiple Response Types §2.1", []string{"response_mode"}, checkResponseMode},
	{"state can be returned", "RFC 6749 §4.1.1", []string{"state"}, isText("state", destination.MaxState)},
	{"every scope is known and open to the client", "RFC 6749 §3.3", nil, checkScope},
	{"PKCE is there if it must be, whole and with S256", "RFC 7636 §4.4.1", nil, checkPKCE},
	{"nonce can be stored", "OpenID Connect Core 1.0 §3.1.2.1", []string{"nonce"}, isText("nonce", maxNonce)},
	{"every value of prompt is known, and none stands alone", "OpenID Connect Core 1.0 §3.1.2.1", []string{"prompt"}, checkPrompt},
	{"max_age is a number", "OpenID Connect Core 1.0 §3.1.2.1", []string{"max_age"}, checkMaxAge},
	{"claims is an object that is read in one way", "OpenID Connect Core 1.0 §5.5", []string{"claims"}, checkClaims},
	{"what host pages show is text", "OpenID Connect Core 1.0 §3.1.2.1", shownOnPages, checkShown},
	{"the host's own parameters are short", "RFC 6749 §8.2", nil, checkParameters},
	{"the request is short enough to wait for the user", "RFC 7519 §8", nil, checkLength},
}

// validate reads the request and checks it. A request that comes back from the
// login page goes through all of it again, against the client as it is now.
func (h *Handler) validate(ctx context.Context, c *Client, to destination.Destination, p params) (*Request, error) {
	if len(p.repeated) > 0 {
		return nil, oautherr.InvalidRequest.With("The parameter " + p.repeated[0] + " came more than once or in the query of a POST.")
	}
	if c.RequirePushed {
		return nil, oautherr.InvalidRequest.With("This client has to push its requests.")
	}
	for _, required := range [][]string{h.config.Require, c.Require} {
		for _, name := range required {
			if !p.sent(name) {
				return nil, oautherr.InvalidRequest.With("The parameter " + name + " is missing, and it is required here.")
			}
		}
	}
	r := newRequest(p)
	r.fillIn(&h.config, c, to.URI())
	s := &inspected{config: &h.config, room: h.room, prompts: h.prompts, client: c, request: r, params: p}
	for _, check := range checks {
		concerned := check.of == nil
		for _, name := range check.of {
			concerned = concerned || p.get(name) != ""
		}
		if !concerned {
			continue
		}
		if err := check.run(s); err != nil {
			return nil, err
		}
	}
	if r.Resources != nil {
		if err := h.checkResources(ctx, r); err != nil {
			return nil, err
		}
	}
	if r.Claims != nil || p.hinted {
		if err := h.requireSubject(ctx, r); err != nil {
			return r, err
		}
	}
	if h.config.Check == nil {
		return r, nil
	}
	return r, h.checkOwnRules(ctx, r)
}

// fillIn adds what the client's registration and the configuration say. An absent
// scope means the default.
func (r *Request) fillIn(config *Config, c *Client, redirectURI string) {
	r.Client, r.RedirectURI = c, redirectURI
	r.OutOfBand = c.OutOfBand != "" && redirectURI == c.OutOfBand
	unknown := func(scope string) bool { return !config.knows(scope, c) }
	if len(r.Scopes) == 0 {
		r.Scopes = config.defaultScopes(c)
	}
	if config.IgnoreUnknownScopes && slices.ContainsFunc(r.Scopes, unknown) {
		for _, scope := range r.Scopes {
			if unknown(scope) {
				r.LeftOut = append(r.LeftOut, scope)
			}
		}
		r.Scopes = slices.DeleteFunc(slices.Clone(r.Scopes), unknown)
	}
}

// knows reports whether the scope exists and is open to the client.
func (config *Config) knows(scope string, c *Client) bool {
	return (config.Scopes == nil || slices.Contains(config.Scopes, scope)) && slices.Contains(c.Scopes, scope)
}

// defaultScopes are the scopes of a request that names none.
func (config *Config) defaultScopes(c *Client) []string {
	if len(c.DefaultScopes) > 0 {
		return slices.Clone(c.DefaultScopes)
	}
	return slices.DeleteFunc(slices.Clone(config.DefaultScopes), func(scope string) bool { return !config.knows(scope, c) })
}

func checkRequestObjects(s *inspected) error {
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

func checkResponseType(s *inspected) error {
	switch want := s.request.ResponseType; {
	case want == "":
		return oautherr.InvalidRequest.With("response_type is missing.")
	case !slices.Contains(s.config.ResponseTypes, want):
		return oautherr.UnsupportedResponseType.Because(
			fmt.Errorf("the response_type %.40q is not among Config.ResponseTypes", want))
	case s.client.ResponseTypes == nil && want != "code",
		s.client.ResponseTypes != nil && !slices.Contains(s.client.ResponseTypes, want):
		return &oautherr.Error{
			Code:        oautherr.UnauthorizedClient,
			Description: "The client is not registered for this response_type.",
			Cause:       fmt.Errorf("the response_type %.40q is not among the client's ResponseTypes", want),
		}
	}
	return nil
}

func checkResponseMode(s *inspected) error {
	if s.request.OutOfBand {
		return oautherr.InvalidRequest.With("This redirect_uri leaves no choice of a response_mode.")
	}
	return destination.CheckMode(
		s.request.ResponseMode, s.request.RedirectURI, s.client.ResponseModes)
}

// isText is the rule for a parameter that is returned or stored byte for byte.
func isText(name string, most int) func(s *inspected) error {
	return func(s *inspected) error {
		if !destination.ValidText(s.params.get(name), most) {
			return oautherr.InvalidRequest.With(fmt.Sprintf(
				"%s is longer than %d bytes or has control characters.", name, most))
		}
		return nil
	}
}

func checkScope(s *inspected) error {
	switch {
	case len(s.request.Scopes) == 0 && len(s.request.LeftOut) > 0:
		return oautherr.InvalidScope.Because(fmt.Errorf("%.80q and all others asked for are unknown or not the client's", s.request.LeftOut[0]))
	case len(s.request.Scopes) == 0:
		return &oautherr.Error{
			Code: oautherr.InvalidScope, Description: "scope is missing.",
			Cause: errors.New("for clients that send none set Client.DefaultScopes or Config.DefaultScopes"),
		}
	}
	for _, scope := range s.request.Scopes {
		if s.config.Scopes != nil && !slices.Contains(s.config.Scopes, scope) {
			return oautherr.InvalidScope.Because(fmt.Errorf("%.80q is not among Config.Scopes", scope))
		}
		if !slices.Contains(s.client.Scopes, scope) {
			return oautherr.InvalidScope.Because(fmt.Errorf("%.80q is not among the client's Scopes", scope))
		}
		for i := range len(scope) {
			// A registered scope with such a character must not get into a token.
			if c := scope[i]; c <= 0x20 || c > 0x7e || c == '"' || c == '\\' {
				return oautherr.InvalidScope.Because(fmt.Errorf("%.80q is registered, and has a character that no scope may have", scope))
			}
		}
	}
	return nil
}

func checkPKCE(s *inspected) error {
	challenge, method := s.request.CodeChallenge, s.request.CodeChallengeMethod
	required := s.request.ResponseType == "code" && (s.client.Public || !s.client.PKCEOptional)
	switch {
	case challenge == "" && method == "" && !required:
		return nil
	case challenge == "":
		return &oautherr.Error{
			Code: oautherr.InvalidRequest, Description: "code_challenge is missing.", Cause: s.withoutPKCE(),
		}
	case method == "":
		return oautherr.InvalidRequest.With("code_challenge_method is missing: send S256.")
	case method != pkce.MethodS256:
		return oautherr.InvalidRequest.With("The code_challenge_method is not supported: send S256.")
	case !pkce.ValidChallenge(challenge):
		return oautherr.InvalidRequest.With("code_challenge is not 43 characters of base64url.")
	}
	return nil
}

// withoutPKCE says for the log what to do with a client that leaves PKCE out. Half of
// it is another fault: nothing but the client mends that.
func (s *inspected) withoutPKCE() error {
	switch {
	case s.request.CodeChallengeMethod != "":
		return nil
	case s.client.Public: // PKCEOptional would change nothing
		return errors.New("the client leaves PKCE out: switch PKCE on in the client")
	}
	return errors.New("the client leaves PKCE out: " +
		"switch PKCE on in the client, or set Client.PKCEOptional")
}

// maxNonce bounds what is stored with every code.
const maxNonce = 2048

func checkPrompt(s *inspected) error {
	for _, value := range s.request.Prompt {
		switch {
		case value == "none" && strings.Trim(s.params.get("prompt"), " ") != "none":
			return oautherr.InvalidRequest.With("prompt=none excludes every other value.")
		case !slices.Contains(s.prompts, value):
			return oautherr.InvalidRequest.With("A value of prompt is not supported.")
		}
	}
	return nil
}

func checkMaxAge(s *inspected) error {
	if _, err := maxAge(s.params.get("max_age")); err != nil {
		return oautherr.InvalidRequest.With("max_age is not a number of seconds.")
	}
	return nil
}

func checkClaims(s *inspected) error {
	if s.request.Claims == nil {
		return nil
	}
	if _, err := readClaims(s.request.Claims); err != nil {
		return oautherr.InvalidRequest.With("claims is not a valid JSON object of at most 8192 bytes.")
	}
	return nil
}

// shownOnPages are the parameters that the host's pages show or act on.
var shownOnPages = []string{"login_hint", "ui_locales", "claims_locales", "acr_values"}

func checkShown(s *inspected) error {
	for _, name := range shownOnPages {
		if !destination.ValidText(s.params.get(name), maxList) {
			return oautherr.InvalidRequest.With(name + " is longer than 4096 bytes or has control characters.")
		}
		if name != "login_hint" && tooManyValues(s.params.get(name)) {
			return oautherr.InvalidRequest.With(name + " has more than 100 values.")
		}
	}
	return nil
}

// maxParameters is how many bytes the values of Config.Parameters may have together.
const maxParameters = 2048

func checkParameters(s *inspected) error {
	length := 0
	for _, name := range s.config.Parameters {
		length += len(s.params.get(name))
	}
	if length > maxParameters {
		return oautherr.InvalidRequest.With("The parameters of this server's own have more than 2048 bytes together.")
	}
	return nil
}

// checkLength looks at the longest that a waiting request can become, with all scopes
// granted, so that nothing fails after the user has agreed. It is the same whether
// somebody is signed in or not, so that a client that works for one user works for all.
func checkLength(s *inspected) error {
	if s.request.OutOfBand {
		return nil // it never waits
	}
	atMost := 0 // no byte takes more than six in JSON
	for _, x := range s.params.list {
		atMost += len(x.name) + 6*len(x.value) + len(`"":[""],`)
	}
	for _, scope := range s.request.Scopes {
		atMost += 6*len(scope) + len(`"",`)
	}
	if atMost <= s.room/2 {
		return nil
	}
	if n := jsonLength(s.params, s.request.Scopes); n > s.room {
		return &oautherr.Error{
			Code: errTooLong.Code, Description: errTooLong.Description,
			Cause: fmt.Errorf("its parameters take %d bytes as JSON, and %d are left for them", n, s.room),
		}
	}
	return nil
}

// maxResources bounds how often the host is asked in one request.
const maxResources = 20

// checkResources asks the host about each resource (RFC 8707 §2). Without
// [Config].Resource the parameter is not known, and there is none.
func (h *Handler) checkResources(ctx context.Context, r *Request) error {
	if len(r.Resources) > maxResources {
		return oautherr.InvalidTarget.With("There are more than 20 resources.")
	}
	for _, resource := range r.Resources {
		u, err := url.Parse(resource)
		if err != nil || !u.IsAbs() || !destination.ValidText(resource, 2048) || strings.Contains(resource, "#") {
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

// checkOwnRules asks the host. Its refusal is a code; without one, it failed.
func (h *Handler) checkOwnRules(ctx context.Context, r *Request) error {
	err := h.config.Check(ctx, r)
	if code := oautherr.Code(""); errors.As(err, &code) && validCode(code) {
		return err
	}
	if err = inTime(ctx, err); err != nil {
		return storeFailed("Config.Check", err)
	}
	return nil
}

// validCode accepts what RFC 6749 §4.1.2.1 allows, without spaces.
func validCode(code oautherr.Code) bool {
	return code != "" && !strings.ContainsFunc(string(code), func(c rune) bool { return c <= 0x20 || c > 0x7e || c == '"' || c == '\\' })
}

// requireSubject finds out which user the client wants an answer for: the one of
// its id_token_hint, which is verified once and never carried across the login,
// or the one that claims names.
func (h *Handler) requireSubject(ctx context.Context, r *Request) error {
	claimed, err := readClaims(r.Claims)
	if err != nil {
		return err
	}
	if err := h.readHint(ctx, r); err != nil {
		return err
	}
	if r.hintSubject != "" && claimed.subject != "" && r.hintSubject != claimed.subject {
		return oautherr.InvalidRequest.With("id_token_hint and claims name different users.")
	}
	r.Subject, r.EssentialACR = claimed.subject, claimed.acr
	if r.hintSubject != "" {
		r.Subject = r.hintSubject
	}
	return nil
}

// readHint asks the host whom the id_token_hint proves, unless that is known from an
// earlier visit. One that cannot be verified is no proof that nobody else was meant,
// so that only a new sign-in is answered.
func (h *Handler) readHint(ctx context.Context, r *Request) error {
	r.hintSubject, r.hintUnverified = r.params.hintSubject, r.params.hintUnverified
	token := r.params.get("id_token_hint")
	if token == "" {
		return nil
	}
	if h.config.IDTokenHint == nil {
		return oautherr.InvalidRequest.With("id_token_hint is not supported.")
	}
	subject, err := h.config.IDTokenHint(ctx, token)
	if err = inTime(ctx, err); ctx.Err() != nil || errors.Is(err, oautherr.TemporarilyUnavailable) || errors.Is(err, oautherr.ServerError) {
		return storeFailed("Config.IDTokenHint", err)
	}
	if err == nil && !validSubject(subject) {
		return storeFailed("Config.IDTokenHint", errSubject)
	}
	if err == nil && subject == "" {
		err = errors.New("it proves nobody")
	}
	if err != nil {
		r.hintUnverified = true
		r.hintErr = fmt.Errorf("the id_token_hint cannot be verified, so only a new sign-in is answered: %w", err)
		return nil
	}
	r.hintSubject = subject
	return nil
}
