package main

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
)

// unsupportedGrantType is the only code of RFC 6749 §5.2 that an authorization endpoint
// does not use.
const unsupportedGrantType oautherr.Code = "unsupported_grant_type"

// tokenResponse is the successful response (RFC 6749 §5.1, OpenID Connect Core 1.0
// §3.1.3.3).
type tokenResponse struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
	Scope       string `json:"scope"`
	IDToken     string `json:"id_token,omitempty"`
}

// token is the token endpoint (RFC 6749 §3.2).
func (s *server) token(w http.ResponseWriter, r *http.Request) {
	response, err := s.exchange(w, r)
	if err != nil {
		s.refuseToken(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, response)
}

// exchange returns tokens for a code.
func (s *server) exchange(w http.ResponseWriter, r *http.Request) (*tokenResponse, error) {
	form, err := readTokenForm(w, r)
	if err != nil {
		return nil, err
	}
	c, err := s.authenticate(r, form)
	if err != nil {
		return nil, err
	}
	switch form.Get("grant_type") {
	case "authorization_code":
	case "":
		return nil, oautherr.InvalidRequest.With("grant_type is missing.")
	default:
		return nil, unsupportedGrantType.With("Only authorization_code is supported.")
	}
	if form.Get("code") == "" {
		return nil, oautherr.InvalidRequest.With("code is missing.")
	}
	grant := hash(form.Get("code"))
	code, err := s.endpoint.Redeem(r.Context(), authorize.Redemption{
		Code:        form.Get("code"),
		ClientID:    c.id,
		RedirectURI: form.Get("redirect_uri"),
		Verifier:    form.Get("code_verifier"),
	})
	var replay *authorize.ReplayError
	if errors.As(err, &replay) {
		s.tokens.revoke(grant)
		s.log.Warn("a code was redeemed twice: its token is revoked", "client", c.id, "subject",
			replay.Code.Subject)
	}
	if err != nil {
		return nil, err
	}
	return s.issue(grant, code)
}

func (s *server) issue(grant string, code *authorize.Code) (*tokenResponse, error) {
	access, err := s.tokens.issue(grant, accessToken{
		clientID: code.ClientID, subject: code.Subject, scopes: code.Scopes, claims: agreedClaims(code, "userinfo"),
	})
	if err != nil {
		return nil, err
	}
	response := &tokenResponse{
		AccessToken: access,
		TokenType:   "Bearer",
		ExpiresIn:   int64(accessTokenLifetime.Seconds()),
		Scope:       strings.Join(code.Scopes, " "),
	}
	if slices.Contains(code.Scopes, "openid") {
		response.IDToken, err = s.idToken(code, access)
	}
	return response, err
}

// readTokenForm reads the body strictly: it refuses malformed forms and repeated parameters
// (RFC 6749 §3.2). Only resource may be repeated (RFC 8707 §2).
func readTokenForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/x-www-form-urlencoded" {
		return nil, oautherr.InvalidRequest.With("The body has to be of type application/x-www-form-urlencoded.")
	}
	if r.Body == nil { // nil if no http.Server called the handler
		r.Body = http.NoBody
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err != nil {
		return nil, oautherr.InvalidRequest.Because(err)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, oautherr.InvalidRequest.Because(err)
	}
	for name, values := range form {
		if len(values) > 1 && name != "resource" {
			return nil, oautherr.InvalidRequest.With("A parameter is repeated.")
		}
	}
	return form, nil
}

// refuseToken writes an error (RFC 6749 §5.2).
func (s *server) refuseToken(w http.ResponseWriter, r *http.Request, err error) {
	refusal := oautherr.Of(err)
	s.log.Info("no token", "error", refusal)
	status := http.StatusBadRequest
	switch refusal.Code {
	case oautherr.InvalidClient:
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Basic realm="token"`)
	case oautherr.ServerError, oautherr.TemporarilyUnavailable:
		status = http.StatusServiceUnavailable
	}
	if after := refusal.RetryAfterHeader(); after != "" {
		w.Header().Set("Retry-After", after)
	}
	writeJSON(w, status, map[string]string{
		"error":             string(refusal.Code),
		"error_description": refusal.Text(),
	})
}

// writeJSON writes a response that must not be cached.
func writeJSON(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(body)
}
