package tokenendpoint

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
)

// Response is what the client gets (RFC 6749 §5.1). It prints without its tokens.
type Response struct {
	// AccessToken is the access token. It has to be set.
	AccessToken string

	// TokenType is the type of the access token. Empty: Bearer.
	TokenType string

	// ExpiresIn is how long the access token is valid, in whole seconds. Zero: not said.
	ExpiresIn time.Duration

	// RefreshToken is the refresh token. Empty: there is none.
	RefreshToken string

	// Scopes are what the access token is good for. Nil: those of the code, and nothing is
	// said for other grants, which means that all is granted that was asked for.
	Scopes []string

	// IDToken is the ID token of OpenID Connect. Empty: there is none.
	IDToken string

	// Members are further members of the JSON object. They have other names than those above.
	Members map[string]any
}

// LogValue keeps the tokens out of logs.
func (p Response) LogValue() slog.Value {
	return slog.StringValue("response with " + cmp.Or(p.TokenType, "Bearer") + " token")
}

// String keeps the tokens out of logs.
func (p Response) String() string { return p.LogValue().String() }

// GoString keeps the tokens out of logs.
func (p Response) GoString() string { return p.String() }

// ownMembers are those that have a field, and the one that makes a response an error.
var ownMembers = []string{
	"access_token", "token_type", "expires_in", "refresh_token", "scope", "id_token", "error",
}

// body writes the response that call returned as JSON. scopes stand in where it has none.
func (p *Response) body(call string, scopes []string) ([]byte, error) {
	switch {
	case p == nil || p.AccessToken == "":
		return nil, hostFailed(call, errors.New("it returned no access token and no error"))
	case p.ExpiresIn < 0:
		return nil, hostFailed(call, fmt.Errorf("its ExpiresIn is %s", p.ExpiresIn))
	}
	object := map[string]any{"access_token": p.AccessToken, "token_type": cmp.Or(p.TokenType, "Bearer")}
	if p.ExpiresIn > 0 {
		object["expires_in"] = int64(p.ExpiresIn / time.Second)
	}
	if p.Scopes != nil {
		scopes = p.Scopes
	}
	for name, value := range map[string]string{
		"refresh_token": p.RefreshToken, "scope": strings.Join(scopes, " "), "id_token": p.IDToken,
	} {
		if value != "" {
			object[name] = value
		}
	}
	for name, value := range p.Members {
		if slices.Contains(ownMembers, name) {
			return nil, hostFailed(call, fmt.Errorf("its Members have %q: remove it", name))
		}
		object[name] = value
	}
	body, err := json.Marshal(object)
	if err != nil {
		return nil, hostFailed(call, err)
	}
	return body, nil
}

// WriteError answers with an error (RFC 6749 §5.2) and logs it. r is the request that is
// answered. It is for the errors of [Handler.Authenticate] and for the host's own; see the
// section Errors of the package documentation.
func (h *Handler) WriteError(w http.ResponseWriter, r *http.Request, err error) {
	h.refuse(w, r, nil, err)
}

// refuse is WriteError for a client that is known, or nil.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, client *authorize.Client, err error) {
	refused := refusal(err)
	h.logRefusal(r.Context(), client, err, refused)
	header, status := w.Header(), http.StatusBadRequest
	switch {
	case errors.Is(err, errMethod):
		header.Set("Allow", http.MethodPost)
		status = http.StatusMethodNotAllowed
	case refused.Code == oautherr.InvalidClient:
		// A 401 needs a challenge (RFC 9110 §15.5.2), whatever the client has sent.
		header.Set("WWW-Authenticate", `Basic realm="clients"`)
		status = http.StatusUnauthorized
	case refused.Code == oautherr.ServerError || refused.Code == oautherr.TemporarilyUnavailable:
		header.Set("Retry-After", cmp.Or(refused.RetryAfterHeader(), "5"))
		status = http.StatusServiceUnavailable
	}
	body, _ := json.Marshal(map[string]string{ // texts are always JSON
		"error": string(refused.Code), "error_description": refused.Text(),
	})
	setHeaders(header)
	write(w, status, body)
}

// refusal is the error that the client reads. What is no error that it could read, such as a
// code with a line break, is a mistake of the host's.
func refusal(err error) *oautherr.Error {
	var code oautherr.Code
	switch {
	case err == nil:
		err = errors.New("there was no error to write")
	case !errors.As(err, &code):
		err = hostFailed("the host", err)
	}
	refused := oautherr.Of(err)
	if refused.Code == "" || strings.Trim(string(refused.Code), oautherr.NQSCHAR) != "" {
		return oautherr.ServerError.Because(errors.New("the error has no code that could be sent"))
	}
	return refused
}

// logRefusal says more loudly what the host has to look at.
func (h *Handler) logRefusal(ctx context.Context, client *authorize.Client, err error, refused *oautherr.Error) {
	level := slog.LevelInfo
	switch {
	case errors.Is(err, context.Canceled): // the client went away
	case errors.Is(err, authorize.ErrClientUnreachable), refused.Code == oautherr.InvalidClient:
		level = slog.LevelWarn
	case refused.Code == oautherr.TemporarilyUnavailable && refused.Cause == nil: // the host says so
	case refused.Code == oautherr.ServerError, refused.Code == oautherr.TemporarilyUnavailable:
		level = slog.LevelError
	}
	attrs := []slog.Attr{slog.Any("error", refused)}
	if client != nil {
		attrs = append(attrs, slog.String("client_id", client.ID))
	}
	h.config.Logger.LogAttrs(ctx, level, "token endpoint: refused", attrs...)
}

// setHeaders sets what holds for everything that is written.
func setHeaders(header http.Header) {
	header.Set("Cache-Control", "no-store")
	header.Set("Pragma", "no-cache")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
}

func write(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(body)
}
