package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/pkce"
)

// maxAnswer is the most bytes that are read of a response.
const maxAnswer = 64 << 10

// client is the program that wants a token.
type client struct {
	issuer string
	key    string // the API key
	token  string // the JWT of the user, empty if there is none yet
}

// run gets a code and exchanges it for a JWT. It writes the profile of the JWT to notes.
func (c client) run(ctx context.Context, notes io.Writer) (token string, err error) {
	switch {
	case c.key == "":
		return "", errors.New("API_KEY is not set: export API_KEY=demo-key-of-cli")
	case !strings.HasPrefix(c.issuer, "http://") && !strings.HasPrefix(c.issuer, "https://"):
		return "", fmt.Errorf("%q is not the URL of a server, such as http://127.0.0.1:8080", c.issuer)
	}
	verifier, state := pkce.NewVerifier(), pkce.NewVerifier() // 256 random bits each
	query := url.Values{
		"response_type":         {"code"},
		"client_id":             {"cli"},
		"redirect_uri":          {authorize.OutOfBandAuto},
		"state":                 {state},
		"code_challenge":        {pkce.Challenge(verifier)},
		"code_challenge_method": {pkce.MethodS256},
	}
	var granted struct{ Code, State, Iss string }
	if err := c.call(ctx, http.MethodGet, "/oauth/authorize?"+query.Encode(), "", &granted); err != nil {
		return "", err
	}
	// The client must not use a response to another request or from another server.
	if granted.State != state || granted.Iss != c.issuer || granted.Code == "" {
		return "", errors.New("the response is not for this request")
	}
	form := url.Values{
		"grant_type":    {"authorization_code"},
		"client_id":     {"cli"},
		"redirect_uri":  {authorize.OutOfBandAuto},
		"code":          {granted.Code},
		"code_verifier": {verifier},
	}
	var exchanged struct {
		Token   string `json:"access_token"`
		Profile string `json:"profile"`
	}
	if err := c.call(ctx, http.MethodPost, "/oauth/token", form.Encode(), &exchanged); err != nil {
		return "", err
	}
	if exchanged.Token == "" {
		return "", errors.New("the response has no token")
	}
	which := "a new profile"
	if c.token != "" {
		which = "the profile of the token"
	}
	fmt.Fprintf(notes, "%s: %q\n", which, exchanged.Profile)
	return exchanged.Token, nil
}

// oneHop follows no redirects, because the keys are only for this server.
var oneHop = &http.Client{
	Timeout:       10 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// call sends one request and reads the JSON of the response.
func (c client) call(ctx context.Context, method, path, form string, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, c.issuer+path, strings.NewReader(form))
	if err != nil {
		return err
	}
	request.Header.Set("x-api-key", c.key)
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	} else if c.token != "" {
		request.Header.Set(profileHeader, c.token)
	}
	response, err := oneHop.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return err
	}
	if kind, _, err := mime.ParseMediaType(response.Header.Get("Content-Type")); err != nil ||
		kind != "application/json" {
		return fmt.Errorf("%s: the response is not JSON", response.Status)
	}
	if response.StatusCode != http.StatusOK {
		var refused struct {
			Error       string `json:"error"`
			Description string `json:"error_description"`
		}
		err := json.Unmarshal(body, &refused)
		return cmp.Or(err, fmt.Errorf("%s: %q: %q", response.Status, refused.Error, refused.Description))
	}
	return json.Unmarshal(body, into)
}
