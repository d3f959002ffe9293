package authorizetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	oautherr "github.com/usher-auth/usher/errors"
)

// Exchange takes the code to the client's TokenEndpoint, which h serves, as a careful client
// does (RFC 6749 §4.1.3): with the redirect URI of the request and the verifier, with HTTP
// Basic if the client has a Secret and with client_id if it has none. The changes are made to
// the form in turn, as in [Client.Start]. For a running server h is an
// [net/http/httputil.ReverseProxy] to it.
//
//	tokens, err := flow.Exchange(mux, code)
//	_, err = flow.Exchange(mux, code, url.Values{"code_verifier": {pkce.NewVerifier()}})
//	errors.Is(err, oautherr.InvalidGrant)
//
// It returns the JSON object of the response, such as tokens["access_token"].
// A refusal (RFC 6749 §5.2) comes back as an *oautherr.Error. An error that is none says what
// in the response breaks the RFC, such as a missing token_type or Cache-Control: no-store.
// No error has the code, the verifier or a token in its text.
func (f *Flow) Exchange(h http.Handler, code string, changes ...url.Values) (map[string]any, error) {
	return f.exchange(inProcess{h}, code, changes...)
}

func (f *Flow) exchange(t http.RoundTripper, code string, changes ...url.Values) (map[string]any, error) {
	tokens, err := f.askForTokens(t, code, changes)
	if refused := (*oautherr.Error)(nil); err != nil && !errors.As(err, &refused) {
		err = failed(fmt.Errorf("the token endpoint %s: %w", f.tokenEndpoint, err))
	}
	return tokens, err
}

func (f *Flow) askForTokens(t http.RoundTripper, code string, changes []url.Values) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := f.tokenRequest(ctx, code, changes)
	if err != nil {
		return nil, err
	}
	res, err := t.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return nil, fmt.Errorf("reading the response: %w", err)
	}
	return readTokens(res, body, f.secret != "")
}

// tokenRequest is what a client sends (RFC 6749 §4.1.3, RFC 7636 §4.5).
func (f *Flow) tokenRequest(ctx context.Context, code string, changes []url.Values) (*http.Request, error) {
	if f.tokenEndpoint == "" {
		return nil, errors.New("Client.TokenEndpoint is not set")
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}}
	for name, value := range map[string]string{"redirect_uri": f.sentURI, "code_verifier": f.Verifier} {
		if value != "" {
			form.Set(name, value)
		}
	}
	if f.secret == "" {
		form.Set("client_id", f.clientID)
	}
	change(form, changes)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, f.tokenEndpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	if r.URL.Host == "" {
		return nil, errors.New("Client.TokenEndpoint is not an absolute URL")
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "authorizetest")
	if f.secret != "" { // both are form-encoded first (RFC 6749 §2.3.1)
		r.SetBasicAuth(url.QueryEscape(f.clientID), url.QueryEscape(f.secret))
	}
	return r, nil
}

// readTokens returns the object of a good response (RFC 6749 §5.1) and the error of a refusal.
// The header Pragma, which RFC 6749 wants too, is of no use and OAuth 2.1 has dropped it.
func readTokens(res *http.Response, body []byte, basic bool) (map[string]any, error) {
	contentType := res.Header.Get("Content-Type")
	if mediaType, _, _ := mime.ParseMediaType(contentType); mediaType != "application/json" {
		return nil, wrongResponse(res, "has the Content-Type %q, and RFC 6749 §5 wants application/json", contentType)
	}
	var response map[string]any
	if err := json.Unmarshal(body, &response); err != nil || response == nil {
		return nil, wrongResponse(res, "is no JSON object, which RFC 6749 §5 wants")
	}
	if res.StatusCode != http.StatusOK {
		return nil, refusedTokens(res, response, basic)
	}
	switch {
	case response["error"] != nil:
		return nil, wrongResponse(res, "has an error, and RFC 6749 §5.2 wants the status 400 for that")
	case !noStore(res.Header):
		return nil, wrongResponse(res, "may be stored, and RFC 6749 §5.1 wants Cache-Control: no-store")
	}
	for _, name := range []string{"access_token", "token_type"} {
		if response[name] == nil || response[name] == "" {
			return nil, wrongResponse(res, "has no %s, which RFC 6749 §5.1 wants", name)
		}
	}
	for _, name := range []string{"access_token", "token_type", "refresh_token", "scope", "id_token"} {
		if _, ok := response[name].(string); response[name] != nil && !ok {
			return nil, wrongResponse(res, "has a member %s that is no string", name)
		}
	}
	if _, ok := response["expires_in"].(float64); response["expires_in"] != nil && !ok {
		return nil, wrongResponse(res, "has an expires_in that is no number, which RFC 6749 §5.1 wants")
	}
	return response, nil
}

// wrongResponse is the error for a response that a client cannot use.
func wrongResponse(res *http.Response, format string, args ...any) error {
	return fmt.Errorf("the response, with status %d, "+format, append([]any{res.StatusCode}, args...)...)
}

func noStore(h http.Header) bool {
	directives := strings.Split(strings.ToLower(strings.Join(h.Values("Cache-Control"), ",")), ",")
	return slices.ContainsFunc(directives, func(d string) bool { return strings.TrimSpace(d) == "no-store" })
}

// refusedTokens returns the error that a response is about (RFC 6749 §5.2). A
// server may also have failed or be busy, with a status of its own.
func refusedTokens(res *http.Response, response map[string]any, basic bool) error {
	code, _ := response["error"].(string)
	text, isText := response["error_description"].(string)
	status := res.StatusCode
	switch {
	case code == "" || !printable(code):
		return wrongResponse(res, "has no error code, which RFC 6749 §5.2 wants")
	case response["error_description"] != nil && !isText || !printable(text):
		return wrongResponse(res, "has an error_description with characters that RFC 6749 §5.2 does not allow")
	case status == http.StatusUnauthorized && code == string(oautherr.InvalidClient):
		if basic && res.Header.Get("WWW-Authenticate") == "" {
			return wrongResponse(res,
				"has no WWW-Authenticate, which RFC 6749 §5.2 wants where the client has used HTTP Basic")
		}
	case status != http.StatusBadRequest && status != http.StatusTooManyRequests && status < 500:
		return wrongResponse(res, "has the error %s, and RFC 6749 §5.2 wants the status 400 for that", code)
	}
	refused := &oautherr.Error{Code: oautherr.Code(code), Description: text}
	if seconds, err := strconv.ParseUint(res.Header.Get("Retry-After"), 10, 31); err == nil {
		refused.RetryAfter = time.Duration(seconds) * time.Second
	}
	return refused
}
