package authorize

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/usher-auth/usher/authorize/internal/destination"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/pkce"
)

// A rule is one requirement on a request, with the section that it comes from. Checking a
// rule changes nothing, except that a rule that asks the host stores the host's answer in
// the request.
type rule struct {
	name    string
	section string
	// of are the parameters that the rule is about. A request without any of them is not
	// checked. Nil: every request is checked.
	of []string
	// asks is true if the rule asks the host. Such a rule is checked only if the request
	// keeps all other rules, so it comes after them.
	asks bool
	// kept returns nil if the request keeps the rule, otherwise the error.
	kept func(c *checked) error
}

// checked is the input of the rules.
type checked struct {
	handler *Handler
	config  *Config
	ctx     context.Context
	client  *Client
	request *Request
	params  params
	source  error // see settleSource
}

// rules are checked in this order, and the first error goes to the client.
var rules = []rule{
	{
		name:    "no parameter is repeated or in the wrong place",
		section: "RFC 6749 §3.1",
		kept: func(c *checked) error {
			if len(c.params.repeated) == 0 {
				return nil
			}
			return oautherr.InvalidRequest.With(
				"The parameter " + c.params.repeated[0] + " came more than once or in the query of a POST.")
		},
	},
	{
		name:    "the parameters come from an allowed source",
		section: "OpenID Connect Core 1.0 §6",
		kept:    func(c *checked) error { return c.source },
	},
	{
		name:    "every required parameter is present",
		section: "RFC 6749 §4.1.1",
		kept: func(c *checked) error {
			for _, required := range [][]string{c.config.Require, c.client.Require} {
				for _, name := range required {
					if !c.params.sent(name) {
						return oautherr.InvalidRequest.With(
							"The parameter " + name + " is missing, and it is required here.")
					}
				}
			}
			return nil
		},
	},
	{
		name:    "the response type is known and open to the client",
		section: "RFC 6749 §3.1.1",
		kept: func(c *checked) error {
			switch want := c.request.ResponseType; {
			case want == "":
				return oautherr.InvalidRequest.With("response_type is missing.")
			case !slices.Contains(c.config.ResponseTypes, want):
				return oautherr.UnsupportedResponseType.Because(
					fmt.Errorf("the response_type %.40q is not among Config.ResponseTypes", want))
			case c.client.ResponseTypes == nil && want != "code",
				c.client.ResponseTypes != nil && !slices.Contains(c.client.ResponseTypes, want):
				return &oautherr.Error{
					Code:        oautherr.UnauthorizedClient,
					Description: "The client is not registered for this response_type.",
					Cause:       fmt.Errorf("the response_type %.40q is not among the client's ResponseTypes", want),
				}
			}
			return nil
		},
	},
	{
		name:    "the response mode is known, open to the client and fits the redirect URI",
		section: "OAuth 2.0 Multiple Response Types §2.1",
		of:      []string{"response_mode"},
		kept: func(c *checked) error {
			if c.request.OutOfBand {
				return oautherr.InvalidRequest.With("A response_mode cannot be chosen for this redirect_uri.")
			}
			return destination.CheckMode(c.request.ResponseMode, c.request.RedirectURI, c.client.ResponseModes)
		},
	},
	{
		name:    "state can be returned",
		section: "RFC 6749 §4.1.1",
		of:      []string{"state"},
		kept: func(c *checked) error {
			if !destination.ValidText(c.request.State, destination.MaxState) {
				return textError("state", destination.MaxState)
			}
			return nil
		},
	},
	{
		name:    "every scope is known and open to the client",
		section: "RFC 6749 §3.3",
		kept: func(c *checked) error {
			switch {
			case len(c.request.Scopes) == 0 && len(c.request.LeftOut) > 0:
				return oautherr.InvalidScope.Because(
					fmt.Errorf("%.80q and all other scopes are unknown or not the client's", c.request.LeftOut[0]))
			case len(c.request.Scopes) == 0:
				return &oautherr.Error{
					Code: oautherr.InvalidScope, Description: "scope is missing.",
					Cause: errors.New("for clients without scope, set Client.DefaultScopes or Config.DefaultScopes"),
				}
			}
			for _, scope := range c.request.Scopes {
				if c.config.Scopes != nil && !slices.Contains(c.config.Scopes, scope) {
					return oautherr.InvalidScope.Because(fmt.Errorf("%.80q is not among Config.Scopes", scope))
				}
				if !slices.Contains(c.client.Scopes, scope) {
					return oautherr.InvalidScope.Because(fmt.Errorf("%.80q is not among the client's Scopes", scope))
				}
				if strings.Trim(scope, scopeCharacters) != "" { // it must not reach a token
					return oautherr.InvalidScope.Because(
						fmt.Errorf("%.80q is registered but has a character that no scope may have", scope))
				}
			}
			return nil
		},
	},
	{
		name:    "PKCE is present if required, complete and with S256",
		section: "RFC 7636 §4.4.1",
		kept: func(c *checked) error {
			challenge, method := c.request.CodeChallenge, c.request.CodeChallengeMethod
			required := c.request.ResponseType == "code" && (c.client.Public || !c.client.PKCEOptional)
			switch {
			case challenge == "" && method == "" && !required:
				return nil
			case challenge == "":
				return &oautherr.Error{
					Code: oautherr.InvalidRequest, Description: "code_challenge is missing.", Cause: c.adviceOnPKCE(),
				}
			case method == "":
				return oautherr.InvalidRequest.With("code_challenge_method is missing: send S256.")
			case method != pkce.MethodS256:
				return oautherr.InvalidRequest.With("The code_challenge_method is not supported: send S256.")
			case !pkce.ValidChallenge(challenge):
				return oautherr.InvalidRequest.With("code_challenge is not 43 characters of base64url.")
			}
			return nil
		},
	},
	{
		name:    "nonce can be stored",
		section: "OpenID Connect Core 1.0 §3.1.2.1",
		of:      []string{"nonce"},
		kept: func(c *checked) error {
			if !destination.ValidText(c.request.Nonce, maxNonce) {
				return textError("nonce", maxNonce)
			}
			return nil
		},
	},
	{
		name:    "every value of prompt is known, and prompt=none has no other value",
		section: "OpenID Connect Core 1.0 §3.1.2.1",
		of:      []string{"prompt"},
		kept:    checkPrompt,
	},
	{
		name:    "max_age is a number",
		section: "OpenID Connect Core 1.0 §3.1.2.1",
		of:      []string{"max_age"},
		kept: func(c *checked) error {
			if _, err := maxAge(c.params.get("max_age")); err != nil {
				return oautherr.InvalidRequest.With("max_age is not a number of seconds.")
			}
			return nil
		},
	},
	{
		name:    "claims is one JSON object without repeated members",
		section: "OpenID Connect Core 1.0 §5.5",
		of:      []string{"claims"},
		kept:    checkClaims,
	},
	{
		name:    "the values that host pages show are text",
		section: "OpenID Connect Core 1.0 §3.1.2.1",
		of:      shownOnPages,
		kept:    checkShown,
	},
	{
		name:    "the values that only the host reads are UTF-8",
		section: "RFC 6749 §B",
		of:      readByHosts,
		kept:    checkText,
	},
	{
		name:    "the host's own parameters are short",
		section: "RFC 6749 §8.2",
		kept: func(c *checked) error {
			length := 0
			for _, name := range c.config.Parameters {
				length += len(c.params.get(name))
			}
			if length > maxParameters {
				return oautherr.InvalidRequest.With(fmt.Sprintf(
					"The additional parameters of this server have more than %d bytes in total.", maxParameters))
			}
			return nil
		},
	},
	{
		name:    "the request is short enough to wait for the user",
		section: "RFC 7519 §8",
		// It assumes the longest possible waiting request, with all scopes granted, so that
		// nothing fails after the user has agreed. The result does not depend on who is
		// signed in, so that a client that works for one user works for all.
		kept: func(c *checked) error {
			if c.request.OutOfBand {
				return nil // it never waits for a page
			}
			atMost := 0 // a byte takes at most six bytes in JSON
			for _, x := range c.params.list {
				atMost += len(x.name) + 6*len(x.value) + len(`"":[""],`)
			}
			for _, scope := range c.request.Scopes {
				atMost += 6*len(scope) + len(`"",`)
			}
			if atMost <= c.handler.room/2 {
				return nil
			}
			if n := jsonLength(c.params, c.request.Scopes); n > c.handler.room {
				return &oautherr.Error{
					Code: errReqTooLong.Code, Description: errReqTooLong.Description,
					Cause: fmt.Errorf("its parameters take %d bytes as JSON, and %d are left for them", n,
						c.handler.room),
				}
			}
			return nil
		},
	},
	{
		name:    "every resource is allowed for the client",
		section: "RFC 8707 §2",
		of:      []string{"resource"},
		asks:    true,
		kept:    checkResources,
	},
	{
		name:    "id_token_hint and claims mean one user",
		section: "OpenID Connect Core 1.0 §3.1.2.1",
		asks:    true,
		// It finds out which user the client asks for: the user of the id_token_hint, which
		// is verified once and never kept during the login, or the user that claims names.
		kept: func(c *checked) error {
			r := c.request
			if r.Claims == nil && !c.params.hinted {
				return nil
			}
			claimed, err := readClaims(r.Claims)
			if err != nil {
				return err
			}
			if err := readHint(c); err != nil {
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
		},
	},
	{
		name:    "the host's own rules",
		section: "RFC 6749 §4.1.2.1",
		asks:    true,
		// An error with a code is the host's refusal. Any other error means that the host
		// failed.
		kept: func(c *checked) error {
			if c.config.CheckRequest == nil {
				return nil
			}
			err := c.config.CheckRequest(c.ctx, c.request)
			if code := oautherr.Code(""); errors.As(err, &code) && validCode(code) {
				return err
			}
			return hostError(c.ctx, "Config.CheckRequest", err)
		},
	},
}

// validate reads the request and checks every rule. A request that comes back from a page
// is checked again in full, against the client as it is now.
func (h *Handler) validate(v *visit) error {
	return h.eachRule(v, func(r *rule, c *checked) error {
		err := r.kept(c)
		if err != nil && !r.asks {
			v.request = nil // an invalid request must not reach the log
		}
		return err
	})
}

// eachRule reads the request and calls look with each rule that concerns it, until look
// returns an error.
func (h *Handler) eachRule(v *visit, look func(*rule, *checked) error) error {
	v.request = newRequest(v.params)
	v.request.fillIn(&h.config, v.client, v.destination.URI())
	c := &checked{h, &h.config, v.http.Context(), v.client, v.request, v.params, v.source}
	for i := range rules {
		concerned := rules[i].of == nil
		for _, name := range rules[i].of {
			concerned = concerned || v.params.get(name) != ""
		}
		if !concerned {
			continue
		}
		if err := look(&rules[i], c); err != nil {
			return err
		}
	}
	return nil
}
