package authorizetest

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/pkce"
)

// Client is an application that asks for authorization, as the authorization endpoint and
// the token endpoint see it (RFC 6749 §4.1). Its methods do not change it.
type Client struct {
	// Issuer is the server's issuer identifier, which every response must have as
	// iss (RFC 9207 §2.4). It must be set.
	Issuer string

	// Endpoint is the authorization endpoint. Empty: Issuer + "/authorize".
	Endpoint string

	// ID is the client_id, RedirectURI the address for responses. Both must be set,
	// even for a flow that leaves redirect_uri out of its request.
	ID          string
	RedirectURI string

	// Scopes are the requested scopes. Empty: the request has no scope. If openid is
	// among them, the request also has a nonce.
	Scopes []string

	// TokenEndpoint is where [Flow.Exchange] sends the code. Empty: there is none.
	TokenEndpoint string

	// Secret authenticates the client at the token endpoint. Empty: it is a public client.
	Secret string
}

// Flow is one authorization request, with the values that are needed to check the response.
type Flow struct {
	// URL is the request as a link, for [Browser.Open].
	URL string

	// Endpoint and Params are the same request in two parts, for
	// [Browser.PostFrom] or a pushed request. Changing them changes neither URL
	// nor what Check expects.
	Endpoint string
	Params   url.Values

	// State, Nonce and Verifier belong to this flow. They are empty if the request has
	// none. The nonce must be in the ID token.
	State    string
	Nonce    string
	Verifier string

	issuer        string
	clientID      string
	sentURI       string // redirect_uri as sent, empty if it was not
	destination   string
	responseType  string
	responseMode  string // "query" where none was asked for
	tokenEndpoint string
	secret        string
}

// Start makes a new request for a code, with a state, S256 PKCE and the client's
// fields. Then it applies the changes to the parameters, one after the other. Values
// replace those of a parameter, and a name without values removes it.
//
//	client.Start(url.Values{"prompt": {"none"}, "response_mode": {"form_post"}})
//	client.Start(url.Values{"code_challenge": nil, "code_challenge_method": nil})
//
// Verifier is empty if the changes remove the challenge or set another.
func (c *Client) Start(changes ...url.Values) *Flow {
	verifier := pkce.NewVerifier()
	p := url.Values{
		"response_type":         {"code"},
		"client_id":             {c.ID},
		"redirect_uri":          {c.RedirectURI},
		"state":                 {rand.Text()},
		"code_challenge":        {pkce.Challenge(verifier)},
		"code_challenge_method": {pkce.MethodS256},
	}
	if len(c.Scopes) > 0 {
		p.Set("scope", strings.Join(c.Scopes, " "))
	}
	if slices.Contains(c.Scopes, "openid") {
		p.Set("nonce", rand.Text())
	}
	change(p, changes)
	if p.Get("code_challenge") != pkce.Challenge(verifier) {
		verifier = ""
	}
	f := &Flow{
		Endpoint:      cmp.Or(c.Endpoint, strings.TrimSuffix(c.Issuer, "/")+"/authorize"),
		Params:        p,
		State:         p.Get("state"),
		Nonce:         p.Get("nonce"),
		Verifier:      verifier,
		issuer:        c.Issuer,
		clientID:      p.Get("client_id"),
		sentURI:       p.Get("redirect_uri"),
		destination:   cmp.Or(p.Get("redirect_uri"), c.RedirectURI),
		responseType:  p.Get("response_type"),
		responseMode:  cmp.Or(p.Get("response_mode"), "query"),
		tokenEndpoint: c.TokenEndpoint,
		secret:        c.Secret,
	}
	f.URL = f.address()
	return f
}

// address is the request as a link.
func (f *Flow) address() string {
	separator := "?"
	if strings.Contains(f.Endpoint, "?") {
		separator = "&"
	}
	return f.Endpoint + separator + f.Params.Encode()
}

// change replaces parameters, and leaves out those without values.
func change(p url.Values, changes []url.Values) {
	for _, c := range changes {
		for name, values := range c {
			p[name] = slices.Clone(values)
			if len(values) == 0 {
				delete(p, name)
			}
		}
	}
}

// String is the address of the request without what is secret in it.
func (f *Flow) String() string { return redact(f.URL) }

// Redemption returns what the client sends to the token endpoint with the code.
func (f *Flow) Redemption(code string) authorize.Redemption {
	return authorize.Redemption{Code: code, ClientID: f.clientID, RedirectURI: f.sentURI, Verifier: f.Verifier}
}

// Check returns the code of the authorization response in r, a request to the redirect URI.
// The response is in the query of a GET. If form_post was requested, it is in the body of a
// POST, which can still be read afterwards. If fragment was requested, it is in the fragment
// of r.URL. r is the Request of a [Page], or the request that a client's handler gets. A
// handler never sees a fragment, because browsers do not send it.
//
// The response must be sent to the redirect URI, in the requested mode. It must have no other
// fragment, no parameter twice, and the state and the issuer of this flow (RFC 6749 §4.1.2,
// RFC 9207 §2.4). If it has exactly one code, Check returns the code. If it has an error, Check
// returns an *oautherr.Error, for errors.Is(err, oautherr.AccessDenied). An error that is not
// an *oautherr.Error says what is wrong with the response. For response_type=none the code
// is empty.
//
// The server refuses an unknown or forbidden response_mode in the default mode. So an
// invalid_request may come in the query, whatever mode was requested.
func (f *Flow) Check(r *http.Request) (code string, err error) {
	at := *r.URL
	if at.Scheme == "" { // as in a server
		at.Host = r.Host
		at.Scheme, _, _ = strings.Cut(f.destination, ":")
	}
	if r.Method != http.MethodPost {
		return f.CheckURL(at.String())
	}
	if f.responseMode != "form_post" {
		return "", errors.New("the response is a POST, which was not requested")
	}
	rest, err := f.after(at.String())
	if err != nil {
		return "", err
	}
	if rest != "" {
		return "", redacted{fmt.Errorf("the response was posted to %s, which is more than the redirect URI", &at)}
	}
	if r.PostForm != nil {
		return f.verify(r.PostForm)
	}
	if r.Body == nil { // no server is in front
		r.Body = http.NoBody
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return "", fmt.Errorf("reading the response: %w", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return f.parse(string(body))
}

// CheckURL is Check for a response in a URL, such as a Location header.
func (f *Flow) CheckURL(answer string) (code string, err error) {
	address, fragment, found := strings.Cut(answer, "#")
	if found && f.responseMode != "fragment" {
		return "", errors.New("the response has a fragment")
	}
	query, err := f.after(address)
	if err != nil {
		return "", err
	}
	if found {
		if query != "" {
			return "", errors.New("the response has both a fragment and a query")
		}
		return f.parse(fragment)
	}
	if f.responseMode == "query" {
		return f.parse(query)
	}
	_, err = f.parse(query)
	if refused := (*oautherr.Error)(nil); errors.As(err, &refused) && refused.Code == oautherr.InvalidRequest {
		return "", err
	}
	return "", fmt.Errorf("the response is in the query, but %s was requested", f.responseMode)
}

// parse reads the parameters of a response.
func (f *Flow) parse(answer string) (code string, err error) {
	values, err := url.ParseQuery(answer)
	if err != nil {
		return "", fmt.Errorf("the response is malformed: %w", err)
	}
	return f.verify(values)
}

// Expect calls [Flow.Check] with the request of the page, and ends the test unless the response
// is the expected one. If want is nil, it must be a success: Expect returns the code, which is
// empty for response_type=none. Otherwise it must be an error for which [errors.Is] finds want,
// such as oautherr.LoginRequired: Expect returns its description.
//
//	flow := client.Start(url.Values{"prompt": {"none"}})
//	page, err := browser.Open(flow.URL)
//	...
//	flow.Expect(t, page, oautherr.LoginRequired)
func (f *Flow) Expect(t testing.TB, page *Page, want error) (codeOrDescription string) {
	t.Helper()
	code, err := f.Check(page.Request)
	var refused *oautherr.Error
	switch {
	case want == nil && err == nil:
		return code
	case want != nil && errors.Is(err, want) && errors.As(err, &refused):
		return refused.Description
	}
	t.Fatalf("got %s, want %s:\n%s", outcome(err), outcome(want), page)
	return ""
}

// outcome describes a response without its code.
func outcome(err error) string {
	if err == nil {
		return "a response without an error"
	}
	return err.Error()
}

// after returns the query that follows the redirect URI in the address of the response. It
// is an error if the response was sent to another address.
func (f *Flow) after(answer string) (string, error) {
	expected, err := normalURL(f.destination)
	if err != nil {
		return "", fmt.Errorf("the redirect URI: %w", err)
	}
	address, err := normalURL(answer)
	if err != nil {
		return "", redacted{fmt.Errorf("the address of the response: %w", err)}
	}
	rest, found := strings.CutPrefix(address, expected)
	if found && rest == "" {
		return "", nil
	}
	if last := expected[len(expected)-1]; found && (last == '?' || last == '&') {
		return rest, nil
	}
	separator := "?"
	if strings.Contains(expected, "?") {
		separator = "&"
	}
	query, separated := strings.CutPrefix(rest, separator)
	if !found || !separated {
		return "", redacted{fmt.Errorf("this is not the redirect URI %s but %s", f.destination, answer)}
	}
	return query, nil
}

// normalURL writes a URL as it looks after a browser and a server have handled it.
func normalURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", err
	}
	if u.Host != "" && u.Path == "" {
		u.Path = "/"
	}
	return u.String(), nil
}

// verify first checks that the response belongs to this flow, and then reads it.
func (f *Flow) verify(answer url.Values) (code string, err error) {
	for name, values := range answer {
		if len(values) != 1 {
			return "", fmt.Errorf("the response has %s %d times", name, len(values))
		}
	}
	if iss := answer.Get("iss"); iss != f.issuer || iss == "" {
		return "", fmt.Errorf("the response has the iss %q, want %q", iss, f.issuer)
	}
	if state := answer.Get("state"); state != f.State || answer.Has("state") != (f.State != "") {
		if f.State == "" {
			return "", errors.New("the response has a state, but the request had none")
		}
		return "", errors.New("the response does not have the state of the request")
	}
	if answer.Has("error") {
		return "", f.refused(answer)
	}
	code = answer.Get("code")
	switch {
	case f.responseType == "none" && answer.Has("code"):
		return "", errors.New("the response has a code, which was not requested")
	case f.responseType != "none" && code == "":
		return "", errors.New("the response has neither a code nor an error")
	}
	return code, nil
}

// refused returns the error in a response (RFC 6749 §4.1.2.1).
func (f *Flow) refused(answer url.Values) error {
	code, text := answer.Get("error"), answer.Get("error_description")
	switch {
	case answer.Has("code"):
		return errors.New("the response has both a code and an error")
	case code == "" || !printable(code):
		return fmt.Errorf("the response has the error %q, which is no error code", code)
	case !printable(text):
		return fmt.Errorf("the response has an error_description with characters that are not allowed: %q", text)
	}
	return &oautherr.Error{Code: oautherr.Code(code), Description: text}
}

// printable reports whether text has only the characters that RFC 6749 §4.1.2.1
// allows in an error and its description.
func printable(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
