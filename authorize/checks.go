package authorize

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/usher-auth/usher/authorize/internal/destination"
	oautherr "github.com/usher-auth/usher/errors"
)

// adviceOnPKCE says in the log what to do about a client that leaves PKCE out. It says
// nothing if the client sends only half of PKCE: then only a change in the client helps.
func (c *checked) adviceOnPKCE() error {
	switch {
	case c.request.CodeChallengeMethod != "":
		return nil
	case c.client.Public: // PKCEOptional would change nothing
		return errors.New("the client leaves PKCE out: switch PKCE on in the client")
	}
	return errors.New("the client leaves PKCE out: " +
		"switch PKCE on in the client, or set Client.PKCEOptional")
}

// maxNonce is the longest nonce in bytes. It is stored with every code.
const maxNonce = 2048

func checkPrompt(c *checked) error {
	for _, value := range c.request.Prompt {
		switch {
		case value == "none" && strings.Trim(c.params.get("prompt"), " ") != "none":
			return oautherr.InvalidRequest.With("prompt=none excludes every other value.")
		case !slices.Contains(c.handler.prompts, value):
			return oautherr.InvalidRequest.With("A value of prompt is not supported.")
		}
	}
	return nil
}

func checkClaims(c *checked) error {
	if c.request.Claims == nil {
		return nil
	}
	if _, err := readClaims(c.request.Claims); err != nil {
		return oautherr.InvalidRequest.With(fmt.Sprintf(
			"claims is not a valid JSON object of at most %d bytes and %d claims for each place.",
			maxClaims, maxValues))
	}
	return nil
}

// shownOnPages are the parameters that the host's pages show or act on.
var shownOnPages = []string{"login_hint", "ui_locales", "claims_locales", "acr_values"}

func checkShown(c *checked) error {
	for _, name := range shownOnPages {
		if !destination.ValidText(c.params.get(name), maxList) {
			return textError(name, maxList)
		}
		if name != "login_hint" && tooManyValues(c.params.get(name)) {
			return oautherr.InvalidRequest.With(fmt.Sprintf("%s has more than %d values.", name, maxValues))
		}
	}
	return nil
}

// readByHosts are the parameters that no other rule looks at.
var readByHosts = []string{"display", "authorization_details", "dpop_jkt"}

// checkText refuses bytes that are not UTF-8. A waiting request would change them, so the
// value after the login would differ from the value that the host has checked before it.
func checkText(c *checked) error {
	for _, name := range readByHosts {
		if !utf8.ValidString(c.params.get(name)) {
			return oautherr.InvalidRequest.With(name + " is not UTF-8.")
		}
	}
	return nil
}

// maxParameters is how many bytes the values of Config.Parameters may have together.
const maxParameters = 2048

// validCode accepts what RFC 6749 §4.1.2.1 allows, without spaces.
func validCode(code oautherr.Code) bool { return validScope(string(code)) }

// readHint asks the host which user the id_token_hint proves, unless that is known from an
// earlier visit. A hint that cannot be verified may mean another user than the one who is
// signed in, so a code is issued only after a new sign-in.
func readHint(c *checked) error {
	r := c.request
	r.hintSubject, r.hintUnverified = c.params.hintSubject, c.params.hintUnverified
	token := c.params.get("id_token_hint")
	if token == "" {
		return nil
	}
	if c.config.IDTokenHint == nil {
		return oautherr.InvalidRequest.With("id_token_hint is not supported.")
	}
	subject, err := c.config.IDTokenHint(c.ctx, token)
	switch {
	case c.ctx.Err() != nil || errors.Is(err, oautherr.TemporarilyUnavailable) || errors.Is(err, oautherr.ServerError):
		return hostError(c.ctx, "Config.IDTokenHint", err)
	case err == nil && !validSubject(subject):
		return hostFailed("Config.IDTokenHint",
			fmt.Errorf("the subject that it returned has more than %d bytes or is not UTF-8", maxSubject))
	case err == nil && subject == "":
		err = errors.New("it proves nobody")
	}
	if err != nil {
		r.hintUnverified = true
		r.hintErr = fmt.Errorf("the id_token_hint cannot be verified, so a new sign-in is needed: %w", err)
		return nil
	}
	r.hintSubject = subject
	return nil
}

// textError is for a parameter that cannot be returned or stored byte for byte.
func textError(name string, most int) error {
	return oautherr.InvalidRequest.With(fmt.Sprintf("%s is longer than %d bytes or has control characters.",
		name, most))
}
