package tokenendpoint_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/tokenendpoint"
	oautherr "github.com/usher-auth/usher/errors"
)

// clientFunc is a ClientStore.
type clientFunc func(id string) (*authorize.Client, error)

func (f clientFunc) Client(_ context.Context, id string) (*authorize.Client, error) { return f(id) }

const (
	webSecret = "the secret+of the 100% web"
	metadata  = "https://app.example/client.json" // a client_id
	verifier  = "1tBnEmtSImyCykPHxHYBdzpSFhKEj0Q1LuiHd4fdDlY"
)

// site is a host: clients web with a secret, spa and metadata without, off that is disabled.
// It knows the code "good".
type site struct {
	config   tokenendpoint.Config
	log      bytes.Buffer
	asked    []string // of which clients Secret was asked
	redeemed []authorize.Redemption
	replayed []string
}

var goodCode = authorize.Code{
	ClientID: "web", Subject: "alice", Scopes: []string{"openid", "notes"},
	Resources: []string{"https://a.example/", "https://b.example/"}, GrantID: "grant-1",
}

func newSite() *site {
	s := &site{}
	clients := map[string]*authorize.Client{
		"web": {ID: "web"}, "a b:c": {ID: "a b:c"}, "spa": {ID: "spa", Public: true}, metadata: {ID: metadata, Public: true},
		"off": {ID: "off", Disabled: true}, "off-spa": {ID: "off-spa", Public: true, Disabled: true},
	}
	hash := tokenendpoint.SecretHash(webSecret)
	s.config = tokenendpoint.Config{
		Clients: clientFunc(func(id string) (*authorize.Client, error) { return clients[id], nil }),
		Secret: func(_ context.Context, c *authorize.Client, secret string) (bool, error) {
			s.asked = append(s.asked, c.ID)
			return tokenendpoint.SecretMatches(secret, hash), nil
		},
		Redeem: func(_ context.Context, r authorize.Redemption) (*authorize.Code, error) {
			s.redeemed = append(s.redeemed, r)
			code := goodCode
			switch r.Code {
			case "good":
				return &code, nil
			case "replayed":
				return nil, &authorize.ReplayError{Code: &code}
			}
			return nil, oautherr.InvalidGrant
		},
		Issue: func(_ context.Context, r *tokenendpoint.Request, code *authorize.Code) (*tokenendpoint.Response, error) {
			return &tokenendpoint.Response{
				AccessToken: "at-secret", Members: map[string]any{"client": r.Client.ID, "aud": code.Resources},
			}, nil
		},
		Replayed: func(ctx context.Context, r *tokenendpoint.Request, code *authorize.Code) error {
			s.replayed = append(s.replayed, code.Subject+" "+code.GrantID)
			return ctx.Err()
		},
		Logger: slog.New(slog.NewJSONHandler(&s.log, nil)),
	}
	return s
}

func (s *site) handler(t testing.TB) *tokenendpoint.Handler {
	t.Helper()
	h, err := tokenendpoint.New(s.config)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// post is a request of the client spa for the good code, with changes to its form.
func post(changes ...string) *http.Request {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {"good"}, "client_id": {"spa"}}
	for i := 0; i < len(changes); i += 2 {
		form[changes[i]] = nil
		if changes[i+1] != "" {
			form.Set(changes[i], changes[i+1])
		}
	}
	return raw(form.Encode())
}

// raw is a request with this body.
func raw(body string) *http.Request {
	r := httptest.NewRequest("POST", "https://as.example/token", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// basic is a request with the two parts of Basic as they stand, and without client_id.
func basic(id, secret string, changes ...string) *http.Request {
	r := post(append([]string{"client_id", ""}, changes...)...)
	r.SetBasicAuth(id, secret)
	return r
}

func with(r *http.Request, name string, values ...string) *http.Request {
	r.Header[name] = values
	return r
}

// answer sends r and returns the status, the challenge and what of the body matters in a line.
func (s *site) answer(t testing.TB, r *http.Request) string {
	t.Helper()
	w := httptest.NewRecorder()
	s.handler(t).ServeHTTP(w, r)
	return summary(t, w)
}

func summary(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("%q: %v", w.Body, err)
	}
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "Content-Type": "application/json", "X-Content-Type-Options": "nosniff",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if text, _ := body["error_description"].(string); strings.Trim(text, oautherr.NQSCHAR) != "" {
		t.Errorf("the description is %q", text)
	}
	line := fmt.Sprint(w.Code)
	for _, name := range []string{"Allow", "Retry-After", "WWW-Authenticate"} {
		if value := w.Header().Get(name); value != "" {
			line += " " + name + " " + value
		}
	}
	if w.Code == http.StatusOK {
		return fmt.Sprint(line, " ", body["client"])
	}
	return fmt.Sprint(line, " ", body["error"])
}

func TestTheRequestIsReadStrictly(t *testing.T) {
	const ok, invalid = "200 spa", "400 invalid_request"
	good := "grant_type=authorization_code&code=good&client_id=spa"
	query := func(q string) *http.Request { r := raw(good); r.URL.RawQuery = q; return r }
	method := func(m string) *http.Request { r := raw(good); r.Method = m; return r }
	noServer := func() *http.Request { r := raw(good); r.URL = nil; return r }
	noBody := func() *http.Request { r := raw(""); r.Body = nil; return r }
	read := func() *http.Request { r := raw(good); r.ParseForm(); return r }
	padded := func(size int) *http.Request { return raw(good + "&x=" + strings.Repeat("a", size-len(good)-3)) }
	for _, c := range []struct {
		rule string
		r    *http.Request
		want string
	}{
		{"a good request", raw(good), ok},
		{"no URL, as without a server", noServer(), ok},
		{"GET", method("GET"), "405 Allow POST invalid_request"},
		{"HEAD", method("HEAD"), "405 Allow POST invalid_request"},
		{"OPTIONS without CORS around", method("OPTIONS"), "405 Allow POST invalid_request"},
		{"a query", query("client_id=spa"), invalid},
		{"a query of a parameter that nobody knows", query("x"), invalid},
		{"no Content-Type", with(raw(good), "Content-Type"), invalid},
		{"a JSON body", with(raw(`{"grant_type":"authorization_code"}`), "Content-Type", "application/json"), invalid},
		{"a charset that keeps ASCII", with(raw(good), "Content-Type", "application/x-www-form-urlencoded; charset=UTF-8"), ok},
		{"a charset that does not", with(raw(good), "Content-Type", "application/x-www-form-urlencoded; charset=utf-16"), invalid},
		{"a compressed body", with(raw(good), "Content-Encoding", "gzip"), invalid},
		{"an empty body", raw(""), `401 WWW-Authenticate Basic realm="clients" invalid_client`},
		{"no body", noBody(), `401 WWW-Authenticate Basic realm="clients" invalid_client`},
		{"a body of 64 KiB", padded(64 << 10), ok},
		{"a body of one byte more", padded(64<<10 + 1), invalid},
		{"a body that was read before", read(), "503 Retry-After 5 server_error"},
		{"a malformed escape in a value", raw(good + "&x=%zz"), invalid},
		{"a malformed escape in a name", raw(good + "&%=1"), invalid},
		{"a semicolon", raw(good + "&x=a;b"), invalid},
		{"a byte that has to be escaped", raw(good + "&x=ä"), invalid},
		{"an escaped line break", raw(good + "&x=%0a"), invalid},
		{"an escape that is no UTF-8", raw(good + "&x=%ff"), invalid},
		{"code twice", raw(good + "&code=good"), invalid},
		{"client_id twice", raw(good + "&client_id=spa"), invalid},
		{"a parameter twice that nobody knows", raw(good + "&x=1&x=2"), invalid},
		{"a parameter once with a value and once without", raw(good + "&code="), ok},
		{"a parameter that nobody knows", raw(good + "&x=1"), ok},
		{"resource twice", raw(good + "&resource=https://a.example/&resource=https://b.example/"), ok},
		{"no grant_type", post("grant_type", ""), invalid},
		{"no code", post("code", ""), invalid},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if got := newSite().answer(t, c.r); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	t.Run("a body that breaks off", func(t *testing.T) {
		r := raw("")
		r.Body = io.NopCloser(io.MultiReader(strings.NewReader(good), brokenReader{}))
		if got := newSite().answer(t, r); got != invalid {
			t.Errorf("got %s, want %s", got, invalid)
		}
	})
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestClientAuthentication(t *testing.T) {
	const (
		refused  = `401 WWW-Authenticate Basic realm="clients" invalid_client`
		twofold  = "400 invalid_request"
		asserted = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	)
	secret, escaped := webSecret, url.QueryEscape(webSecret)
	noSecrets := func(s *site) { s.config.Secret = nil }
	for _, c := range []struct {
		rule string
		r    *http.Request
		want string
		log  string // what it says beside
		site func(*site)
	}{
		{rule: "basic", r: basic("web", escaped), want: "200 web"},
		{rule: "basic with a scheme in other letters", r: with(basic("web", escaped), "Authorization",
			strings.Replace(basic("web", escaped).Header.Get("Authorization"), "Basic", "bASIC", 1)), want: "200 web"},
		{rule: "basic with an id that has to be encoded", r: basic("a+b%3Ac", escaped), want: "200 a b:c"},
		{rule: "basic with a wrong secret", r: basic("web", "guess"), want: refused, log: "wrong secret"},
		{rule: "basic with a secret that is not encoded", r: basic("web", secret), want: refused, log: "not form-encoded"},
		{rule: "basic with a plus that is not encoded", r: basic("web", "a+b"), want: refused, log: "without form-encoding"},
		{rule: "basic with a control character", r: basic("web", "%00"), want: refused, log: "not form-encoded"},
		{rule: "basic with an id that is no text", r: basic("%ff", escaped), want: refused, log: "not text"},
		{rule: "basic without an id", r: basic("", escaped), want: refused, log: "is empty"},
		{rule: "basic without Base64", r: with(basic("", ""), "Authorization", "Basic §"), want: refused, log: "Base64"},
		{rule: "basic without anything", r: with(basic("", ""), "Authorization", "Basic"), want: refused, log: "Base64"},
		{rule: "basic of an unknown client", r: basic("nobody", escaped), want: refused, log: "has no client"},
		{rule: "basic of a disabled client", r: basic("off", escaped), want: refused, log: "is disabled"},
		{rule: "basic and the same client_id", r: basic("web", escaped, "client_id", "web"), want: "200 web"},
		{rule: "basic and another client_id", r: basic("web", escaped, "client_id", "spa"), want: twofold},
		{rule: "basic and client_secret", r: basic("web", escaped, "client_secret", secret), want: twofold},
		{rule: "basic and an empty client_secret", r: raw("grant_type=authorization_code&code=good&client_id=spa&client_secret="), want: "200 spa"},
		{rule: "two headers", r: with(basic("", ""), "Authorization", "Basic d2ViOg==", "Basic d2ViOg=="), want: twofold},
		{rule: "basic and an assertion", r: basic("web", escaped, "client_assertion", "eyJ"), want: twofold},
		{rule: "an empty secret in basic is the method none", r: basic("spa", ""), want: "200 spa"},
		{rule: "an empty secret in basic, of a client with one", r: basic("web", ""), want: refused, log: "sent no secret"},
		{rule: "an empty secret in basic, of an unknown client", r: basic("nobody", ""), want: refused, log: "has no client"},
		{rule: "a secret of a public client in basic", r: basic("spa", escaped), want: refused, log: "sent a secret"},
		{rule: "post", r: post("client_id", "web", "client_secret", secret), want: "200 web"},
		{rule: "post with a wrong secret", r: post("client_id", "web", "client_secret", "guess"), want: refused, log: "wrong secret"},
		{rule: "post of an unknown client", r: post("client_id", "nobody", "client_secret", secret), want: refused, log: "has no client"},
		{rule: "post of a public client", r: post("client_secret", secret), want: refused, log: "sent a secret"},
		{rule: "post without client_id", r: post("client_id", "", "client_secret", secret), want: refused},
		{rule: "none", r: post(), want: "200 spa"},
		{rule: "none, by an https URL", r: post("client_id", metadata), want: "200 " + metadata},
		{rule: "none of a client with a secret", r: post("client_id", "web"), want: refused, log: "sent no secret"},
		{rule: "none of an unknown client", r: post("client_id", "nobody"), want: refused, log: "has no client"},
		{rule: "none of a disabled client", r: post("client_id", "off-spa"), want: refused, log: "is disabled"},
		{rule: "none of nobody", r: post("client_id", ""), want: refused},
		{rule: "a client_id of 2,049 bytes", r: post("client_id", strings.Repeat("a", 2049)), want: refused, log: "longer than 2048"},
		{rule: "an assertion (RFC 7523)", r: post("client_assertion", "eyJ", "client_assertion_type", asserted), want: refused, log: "not supported"},
		{rule: "an assertion and client_secret", r: post("client_assertion", "eyJ", "client_secret", secret), want: twofold},
		{rule: "a bearer token", r: with(post(), "Authorization", "Bearer x"), want: refused, log: "not supported"},
		{rule: "without Config.Secret, none", r: post(), want: "200 spa", site: noSecrets},
		{rule: "without Config.Secret, a secret", r: basic("web", escaped), want: refused, log: "Config.Secret is nil", site: noSecrets},
		{rule: "without Config.Secret, a secret of a public client", r: basic("spa", escaped), want: refused, log: "sent a secret", site: noSecrets},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite()
			if c.site != nil {
				c.site(s)
			}
			if got := s.answer(t, c.r); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if text := s.log.String(); !strings.Contains(text, c.log) || strings.Contains(text, secret) || strings.Contains(text, escaped) {
				t.Errorf("the log is %s, want %q in it and no secret", text, c.log)
			}
			if refused := !strings.HasPrefix(c.want, "200"); refused && s.redeemed != nil {
				t.Errorf("%d codes were redeemed", len(s.redeemed))
			}
		})
	}
}

// Neither the answer nor what is done for it tells an unknown client from a wrong secret.
func TestAnUnknownClientIsLikeAWrongSecret(t *testing.T) {
	bodies := map[string]string{}
	for _, id := range []string{"web", "nobody", "off", "spa"} {
		s := newSite()
		w := httptest.NewRecorder()
		s.handler(t).ServeHTTP(w, basic(id, "guess"))
		bodies[w.Body.String()] = id
		if len(s.asked) != 1 || s.asked[0] != id {
			t.Errorf("Config.Secret was asked of %q, want of %s once", s.asked, id)
		}
	}
	if len(bodies) != 1 {
		t.Errorf("there are %d different answers: %q", len(bodies), bodies)
	}
}

func TestTheClientStoreFails(t *testing.T) {
	broken := errors.New("broken: web")
	unreachable := &oautherr.Error{
		Code: oautherr.TemporarilyUnavailable, Cause: authorize.ErrClientUnreachable, RetryAfter: 90 * time.Second,
	}
	for _, c := range []struct {
		rule   string
		client *authorize.Client
		err    error
		want   string
	}{
		{"no client", nil, nil, `401 WWW-Authenticate Basic realm="clients" invalid_client`},
		{"the id cannot be that of a client", nil, fmt.Errorf("x: %w", oautherr.InvalidClient.With("no document")), `401 WWW-Authenticate Basic realm="clients" invalid_client`},
		{"the client is unreachable", nil, fmt.Errorf("%w: %w", authorize.ErrClientUnreachable, broken), "503 Retry-After 60 temporarily_unavailable"},
		{"the client is unreachable for longer", nil, unreachable, "503 Retry-After 90 temporarily_unavailable"},
		{"the client describes itself and was not fetched: the code has to name it", nil, fmt.Errorf("%w: %w", authorize.ErrClientNotFetched, broken), "200 spa"},
		{"the client is unreachable and invalid", nil, errors.Join(oautherr.InvalidClient, authorize.ErrClientUnreachable), "503 Retry-After 60 temporarily_unavailable"},
		{"the store fails", nil, broken, "503 Retry-After 5 server_error"},
		{"the store cannot be reached", nil, &net.OpError{Op: "dial", Err: broken}, "503 Retry-After 5 temporarily_unavailable"},
		{"the store takes too long", nil, context.DeadlineExceeded, "503 Retry-After 5 temporarily_unavailable"},
		{"the store returns another client", &authorize.Client{ID: "other", Public: true}, nil, "503 Retry-After 5 server_error"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite()
			s.config.Clients = clientFunc(func(string) (*authorize.Client, error) { return c.client, c.err })
			if got := s.answer(t, post()); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if (s.redeemed != nil) != strings.HasPrefix(c.want, "200") {
				t.Errorf("redeemed: %v", s.redeemed)
			}
		})
	}
}

func TestGrants(t *testing.T) {
	s := newSite()
	var asked *tokenendpoint.Request
	grant := func(_ context.Context, r *tokenendpoint.Request) (*tokenendpoint.Response, error) {
		asked = r
		return &tokenendpoint.Response{AccessToken: "at", Members: map[string]any{"client": "by " + r.GrantType}}, nil
	}
	s.config.Grants = map[string]tokenendpoint.Grant{"refresh_token": grant, "client_credentials": grant}
	for _, c := range []struct {
		rule string
		r    *http.Request
		want string
	}{
		{"one of the host's", post("grant_type", "refresh_token", "refresh_token", "rt", "resource", "https://c.example/"), "200 by refresh_token"},
		{"one that there is not", post("grant_type", "password"), "400 unsupported_grant_type"},
		{"one in other letters", post("grant_type", "REFRESH_TOKEN"), "400 unsupported_grant_type"},
		{"client_credentials of a public client", post("grant_type", "client_credentials"), "400 unauthorized_client"},
		{"client_credentials", basic("web", url.QueryEscape(webSecret), "grant_type", "client_credentials"), "200 by client_credentials"},
		{"one that there is not, of an unknown client", post("grant_type", "password", "client_id", "nobody"), `401 WWW-Authenticate Basic realm="clients" invalid_client`},
	} {
		t.Run(c.rule, func(t *testing.T) {
			asked = nil
			if got := s.answer(t, c.r); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if (asked != nil) != strings.HasPrefix(c.want, "200") {
				t.Errorf("the host was asked: %v", asked)
			}
			if c.rule != "one of the host's" {
				return
			}
			got := []any{asked.Client.ID, asked.Resources, asked.Get("refresh_token"), asked.Get("x"), asked.HTTP.Method}
			if diff := cmp.Diff([]any{"spa", []string{"https://c.example/"}, "rt", "", "POST"}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheCodeIsRedeemedForTheClientThatAuthenticated(t *testing.T) {
	s := newSite()
	s.answer(t, basic("web", url.QueryEscape(webSecret), "redirect_uri", "https://app.example/cb", "code_verifier", verifier))
	want := []authorize.Redemption{{Code: "good", ClientID: "web", RedirectURI: "https://app.example/cb", Verifier: verifier}}
	if diff := cmp.Diff(want, s.redeemed); diff != "" {
		t.Error(diff)
	}
}

func TestRedeemFails(t *testing.T) {
	for _, c := range []struct {
		rule string
		err  error
		want string
	}{
		{"the code is not good", oautherr.InvalidGrant.Because(errors.New("wrong verifier")), "400 invalid_grant"},
		{"the store is slow", oautherr.TemporarilyUnavailable, "503 Retry-After 5 temporarily_unavailable"},
		{"there is no code and no error", nil, "503 Retry-After 5 server_error"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite()
			s.config.Redeem = func(context.Context, authorize.Redemption) (*authorize.Code, error) { return nil, c.err }
			s.config.Issue = func(context.Context, *tokenendpoint.Request, *authorize.Code) (*tokenendpoint.Response, error) {
				t.Error("tokens were issued")
				return nil, nil
			}
			if got := s.answer(t, post()); got != c.want || s.replayed != nil {
				t.Errorf("got %s, want %s; replayed: %q", got, c.want, s.replayed)
			}
		})
	}
}

func TestAReplayIsPassedToTheHost(t *testing.T) {
	s, issued := newSite(), ""
	s.config.Issue = func(_ context.Context, _ *tokenendpoint.Request, code *authorize.Code) (*tokenendpoint.Response, error) {
		issued = code.GrantID
		return &tokenendpoint.Response{AccessToken: "at"}, nil
	}
	redeem := s.config.Redeem
	s.config.Redeem = func(ctx context.Context, r authorize.Redemption) (*authorize.Code, error) {
		if issued != "" {
			r.Code = "replayed"
		}
		return redeem(ctx, r)
	}
	s.answer(t, post())
	t.Run("with the GrantID of the first time", func(t *testing.T) {
		if got := s.answer(t, post()); got != "400 invalid_grant" {
			t.Errorf("got %s", got)
		}
		if diff := cmp.Diff([]string{"alice " + issued}, s.replayed); diff != "" || issued == "" {
			t.Error(issued, diff)
		}
	})
	t.Run("even if the client goes away", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		s.config.Redeem = func(context.Context, authorize.Redemption) (*authorize.Code, error) {
			cancel()
			return nil, &authorize.ReplayError{Code: &goodCode}
		}
		s.answer(t, post().WithContext(ctx))
		if len(s.replayed) != 2 || strings.Contains(s.log.String(), "could not be revoked") {
			t.Errorf("%q, %s", s.replayed, s.log.String())
		}
	})
	t.Run("whose failure is in the log", func(t *testing.T) {
		s.config.Replayed = func(context.Context, *tokenendpoint.Request, *authorize.Code) error { return errors.New("is full") }
		if got := s.answer(t, post()); got != "400 invalid_grant" || !strings.Contains(s.log.String(), "is full") {
			t.Errorf("got %s, and in the log %s", got, s.log.String())
		}
	})
	t.Run("without Config.Replayed to nobody", func(t *testing.T) {
		s.config.Replayed = nil
		if got := s.answer(t, post()); got != "400 invalid_grant" {
			t.Errorf("got %s", got)
		}
	})
}

// Which resources a code may be narrowed to is tested where it is redeemed.
func TestResourcesArePassedOn(t *testing.T) {
	s := newSite()
	if got := s.answer(t, post("resource", "https://b.example/")); got != "200 spa" {
		t.Errorf("got %s", got)
	}
	if diff := cmp.Diff([]string{"https://b.example/"}, s.redeemed[0].Resources); diff != "" {
		t.Error(diff)
	}
}

func TestTheResponse(t *testing.T) {
	const failed = `{"error":"server_error","error_description":"The server met an unexpected condition."}`
	for _, c := range []struct {
		rule     string
		response *tokenendpoint.Response
		want     string
	}{
		{"the least", &tokenendpoint.Response{AccessToken: "at"}, `{"access_token":"at","scope":"openid notes","token_type":"Bearer"}`},
		{"the most", &tokenendpoint.Response{AccessToken: "at", TokenType: "DPoP", ExpiresIn: time.Hour, RefreshToken: "rt", Scopes: []string{"notes"},
			IDToken: "it", Members: map[string]any{"team": 7}},
			`{"access_token":"at","expires_in":3600,"id_token":"it","refresh_token":"rt","scope":"notes","team":7,"token_type":"DPoP"}`},
		{"no scopes", &tokenendpoint.Response{AccessToken: "at", Scopes: []string{}}, `{"access_token":"at","token_type":"Bearer"}`},
		{"nothing", nil, failed},
		{"no access token", &tokenendpoint.Response{RefreshToken: "rt"}, failed},
		{"a time before now", &tokenendpoint.Response{AccessToken: "at", ExpiresIn: -1}, failed},
		{"a member that is a field", &tokenendpoint.Response{AccessToken: "at", Members: map[string]any{"expires_in": 1}}, failed},
		{"a member that makes it an error", &tokenendpoint.Response{AccessToken: "at", Members: map[string]any{"error": ""}}, failed},
		{"a member that is no JSON", &tokenendpoint.Response{AccessToken: "at", Members: map[string]any{"f": func() {}}}, failed},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite()
			s.config.Issue = func(context.Context, *tokenendpoint.Request, *authorize.Code) (*tokenendpoint.Response, error) {
				return c.response, nil
			}
			w := httptest.NewRecorder()
			s.handler(t).ServeHTTP(w, post())
			if got := w.Body.String(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if logged := strings.Contains(s.log.String(), `"level":"ERROR"`); logged != (c.want == failed) {
				t.Errorf("the log is %s", s.log.String())
			}
		})
	}
}

func TestAnErrorOfTheHost(t *testing.T) {
	for _, c := range []struct {
		rule, want string
		err        error
		level      string
	}{
		{"with a code", "400 invalid_scope", fmt.Errorf("x: %w", oautherr.InvalidScope), "INFO"},
		{"with a code of its own", "400 quota_exceeded", oautherr.Code("quota_exceeded"), "INFO"},
		{"that the client is wrong", `401 WWW-Authenticate Basic realm="clients" invalid_client`, oautherr.InvalidClient, "WARN"},
		{"with a code that cannot be sent", "503 Retry-After 5 server_error", oautherr.Code("a\"b"), "ERROR"},
		{"with an empty code", "503 Retry-After 5 server_error", &oautherr.Error{}, "ERROR"},
		{"without a code", "503 Retry-After 5 server_error", errors.New("broken"), "ERROR"},
		{"that something took too long", "503 Retry-After 5 temporarily_unavailable", context.DeadlineExceeded, "ERROR"},
		{"that the client went away", "503 Retry-After 5 server_error", context.Canceled, "INFO"},
		{"that it is under maintenance", "503 Retry-After 600 temporarily_unavailable",
			&oautherr.Error{Code: oautherr.TemporarilyUnavailable, RetryAfter: 10 * time.Minute}, "INFO"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			for _, call := range []string{"Issue", "Grants", "Secret"} {
				s, r := newSite(), post()
				switch call {
				case "Issue":
					s.config.Issue = func(context.Context, *tokenendpoint.Request, *authorize.Code) (*tokenendpoint.Response, error) {
						return nil, c.err
					}
				case "Grants":
					r = post("grant_type", "x")
					s.config.Grants = map[string]tokenendpoint.Grant{"x": func(context.Context, *tokenendpoint.Request) (*tokenendpoint.Response, error) {
						return nil, c.err
					}}
				case "Secret":
					r = post("client_id", "web", "client_secret", "x")
					s.config.Secret = func(context.Context, *authorize.Client, string) (bool, error) { return true, c.err }
				}
				if got := s.answer(t, r); got != c.want {
					t.Errorf("%s: got %s, want %s", call, got, c.want)
				}
				if !strings.Contains(s.log.String(), `"level":"`+c.level) {
					t.Errorf("%s: want level %s: %s", call, c.level, s.log.String())
				}
			}
		})
	}
	for rule, err := range map[string]error{"that is none": nil, "at another endpoint": errors.New("broken")} {
		t.Run(rule, func(t *testing.T) {
			w := httptest.NewRecorder()
			newSite().handler(t).WriteError(w, post(), err)
			if got := summary(t, w); got != "503 Retry-After 5 server_error" {
				t.Errorf("got %s", got)
			}
		})
	}
}

// A host that does not look at its context has approved nothing by the time that it returns.
func TestTheDeadline(t *testing.T) {
	late := func(ctx context.Context) { <-ctx.Done() }
	for call, change := range map[string]func(*site){
		"Clients": func(s *site) {
			s.config.Clients = slowClients(late)
		},
		"Secret": func(s *site) {
			s.config.Secret = func(ctx context.Context, _ *authorize.Client, _ string) (bool, error) { late(ctx); return true, nil }
		},
		"Redeem": func(s *site) {
			s.config.Redeem = func(ctx context.Context, _ authorize.Redemption) (*authorize.Code, error) {
				late(ctx)
				return nil, ctx.Err()
			}
		},
	} {
		t.Run(call, func(t *testing.T) {
			s := newSite()
			s.config.Timeout = time.Millisecond
			change(s)
			if got := s.answer(t, basic("web", url.QueryEscape(webSecret))); got != "503 Retry-After 5 temporarily_unavailable" {
				t.Errorf("got %s", got)
			}
		})
	}
}

type slowClients func(context.Context)

func (f slowClients) Client(ctx context.Context, id string) (*authorize.Client, error) {
	f(ctx)
	return &authorize.Client{ID: id}, nil
}

func TestAPanicOfTheHostIsForItsOwnMiddleware(t *testing.T) {
	s, w := newSite(), httptest.NewRecorder()
	s.config.Issue = func(context.Context, *tokenendpoint.Request, *authorize.Code) (*tokenendpoint.Response, error) {
		panic("x")
	}
	defer func() {
		if recover() != "x" || w.Body.Len() > 0 || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s, %v", w.Body, w.Header())
		}
	}()
	s.handler(t).ServeHTTP(w, post())
}

func TestNothingSecretIsPrinted(t *testing.T) {
	const secrets = "good at-secret rt-secret it-secret " + verifier + " " + webSecret
	s := newSite()
	logger, out := s.config.Logger, &strings.Builder{}
	show := func(values ...any) {
		for _, value := range values {
			logger.Info("x", "value", value)
			fmt.Fprintf(out, "%v %+v %#v %s\n", value, value, value, value)
		}
	}
	s.config.Issue = func(_ context.Context, r *tokenendpoint.Request, _ *authorize.Code) (*tokenendpoint.Response, error) {
		response := &tokenendpoint.Response{AccessToken: "at-secret", RefreshToken: "rt-secret", IDToken: "it-secret"}
		show(r, *r, response, *response, &tokenendpoint.Request{})
		if r.Get("client_secret") != "" {
			t.Error("client_secret is handed on")
		}
		return response, nil
	}
	s.answer(t, post("client_id", "web", "client_secret", webSecret, "code_verifier", verifier))
	s.answer(t, basic("web", url.QueryEscape(webSecret)))
	for _, secret := range append(strings.Fields(secrets)[:5], webSecret) {
		if text := s.log.String() + out.String(); strings.Contains(text, secret) {
			t.Errorf("%s is in %s", secret, text)
		}
	}
	if !strings.Contains(s.log.String(), `"client_id":"web","grant_type":"authorization_code"`) {
		t.Errorf("the log does not say who got tokens: %s", s.log.String())
	}
}

func TestAuthenticateReadsAsTheTokenEndpointDoes(t *testing.T) {
	h := newSite().handler(t)
	request, err := h.Authenticate(raw("token=t&token_type_hint=access_token&client_id=spa"))
	if err != nil || request.Client.ID != "spa" || request.Get("token") != "t" || request.GrantType != "" {
		t.Errorf("%v, %v", request, err)
	}
	for rule, r := range map[string]*http.Request{
		"a repeated parameter": raw("token=t&token=u&client_id=spa"), "a wrong secret": basic("web", "x"), "an unknown client": post("client_id", "y"),
	} {
		t.Run(rule, func(t *testing.T) {
			if request, err := h.Authenticate(r); request != nil || err == nil {
				t.Errorf("%v, %v", request, err)
			}
		})
	}
}

// What hosts copy ends a family whose refresh token comes back after the grace.
func TestTheExampleEndsAStolenFamily(t *testing.T) {
	store, s := &tokens{issued: map[string]*token{}, ended: map[string]bool{}}, newSite()
	s.config.Grants = map[string]tokenendpoint.Grant{"refresh_token": store.refresh}
	const hash = "of the code"
	first, err := store.another(token{family: hash, client: "spa"})
	if err != nil {
		t.Fatal(err)
	}
	refresh := func(client string) string {
		return s.answer(t, post("grant_type", "refresh_token", "refresh_token", first.RefreshToken, "client_id", client))
	}
	if got := refresh(metadata); got != "400 invalid_grant" || store.ended[hash] {
		t.Errorf("another client: got %s, and the family has ended: %v", got, store.ended[hash])
	}
	if got := refresh("spa"); !strings.HasPrefix(got, "200") {
		t.Errorf("got %s", got)
	}
	used := store.issued[tokenendpoint.SecretHash(first.RefreshToken)]
	used.used = used.used.Add(-time.Minute)
	if got := refresh("spa"); got != "400 invalid_grant" || !store.ended[hash] {
		t.Errorf("later: got %s, and the family has ended: %v", got, store.ended[hash])
	}
}

func TestNewNamesTheFieldThatIsWrong(t *testing.T) {
	grant := func(context.Context, *tokenendpoint.Request) (*tokenendpoint.Response, error) { return nil, nil }
	for want, change := range map[string]func(*tokenendpoint.Config){
		"Config.Clients":         func(c *tokenendpoint.Config) { c.Clients = nil },
		"Config.Redeem":          func(c *tokenendpoint.Config) { c.Redeem = nil },
		"Config.Issue":           func(c *tokenendpoint.Config) { c.Issue = nil },
		"Config.Timeout is -1ns": func(c *tokenendpoint.Config) { c.Timeout = -1 },
		"Config.Timeout is 1h":   func(c *tokenendpoint.Config) { c.Timeout = time.Hour },
		`Config.Grants["x"]`:     func(c *tokenendpoint.Config) { c.Grants = map[string]tokenendpoint.Grant{"x": nil} },
		`Config.Grants[""]`:      func(c *tokenendpoint.Config) { c.Grants = map[string]tokenendpoint.Grant{"": grant} },
		"Config.Grants has authorization_code": func(c *tokenendpoint.Config) {
			c.Grants = map[string]tokenendpoint.Grant{"authorization_code": grant}
		},
	} {
		t.Run(want, func(t *testing.T) {
			s := newSite()
			change(&s.config)
			if h, err := tokenendpoint.New(s.config); h != nil || err == nil || !strings.HasPrefix(err.Error(), "tokenendpoint: "+want) {
				t.Errorf("%v, %v", h, err)
			}
		})
	}
}

func TestMetadataSaysWhatIsDone(t *testing.T) {
	grant := func(context.Context, *tokenendpoint.Request) (*tokenendpoint.Response, error) { return nil, nil }
	s := newSite()
	s.config.Grants = map[string]tokenendpoint.Grant{"refresh_token": grant, "client_credentials": grant}
	want := map[string]any{
		"grant_types_supported":                 []string{"authorization_code", "client_credentials", "refresh_token"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post", "none"},
	}
	if diff := cmp.Diff(want, s.handler(t).Metadata()); diff != "" {
		t.Error(diff)
	}
	s.config.Grants, s.config.Secret = nil, nil
	want = map[string]any{"grant_types_supported": []string{"authorization_code"}, "token_endpoint_auth_methods_supported": []string{"none"}}
	if diff := cmp.Diff(want, s.handler(t).Metadata()); diff != "" {
		t.Error(diff)
	}
}

func TestSecretMatches(t *testing.T) {
	old, current := tokenendpoint.SecretHash("old"), tokenendpoint.SecretHash("current")
	for _, c := range []struct {
		rule, secret string
		hashes       []string
		want         bool
	}{
		{"the only one", "current", []string{current}, true},
		{"the first of two", "old", []string{old, current}, true},
		{"the last of two", "current", []string{old, current}, true},
		{"the same one twice", "old", []string{old, old}, true},
		{"another", "guess", []string{old, current}, false},
		{"no hash", "guess", nil, false},
		{"an empty hash", "guess", []string{""}, false},
		{"the hash itself", current, []string{current}, false},
		{"an empty secret", "", []string{tokenendpoint.SecretHash("")}, false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if got := tokenendpoint.SecretMatches(c.secret, c.hashes...); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// FuzzHandler: whatever is sent, the answer is an error of RFC 6749 §5.2 or RFC 8707, or what
// Issue has made for a request that is good.
func FuzzHandler(f *testing.F) {
	s := newSite()
	s.config.Logger = nil // the fuzzer takes what a log does with its buffers for something new
	s.config.Grants = map[string]tokenendpoint.Grant{
		"refresh_token": func(_ context.Context, r *tokenendpoint.Request) (*tokenendpoint.Response, error) {
			return nil, oautherr.InvalidGrant
		},
	}
	h := s.handler(f)
	form, good := "application/x-www-form-urlencoded", "grant_type=authorization_code&code=good&client_id=spa"
	web := basic("web", url.QueryEscape(webSecret)).Header.Get("Authorization")
	for _, body := range []string{
		good, good + "&resource=https://a.example/", good + "&resource=x", "grant_type=authorization_code&code=replayed&client_id=spa",
		"grant_type=authorization_code&code=good", "grant_type=refresh_token&client_id=spa", "client_id=web&client_secret=x", good + "&code=1", good + "&x=%",
	} {
		f.Add("POST", form, "", "", body)
		f.Add("POST", form, web, "", body)
	}
	f.Add("GET", form, "", good, "")
	f.Add("POST", "application/json", "Bearer x", "a", "{}")
	f.Fuzz(func(t *testing.T, method, contentType, authorization, query, body string) {
		r := raw(body)
		r.Method, r.URL.RawQuery = method, query
		r.Header = http.Header{"Content-Type": {contentType}}
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		s.asked, s.redeemed, s.replayed = nil, nil, nil
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		line := summary(t, w)
		words := strings.Fields(line)
		switch last := words[len(words)-1]; last {
		case "invalid_request", "invalid_client", "invalid_grant", "invalid_target", "unsupported_grant_type":
			if w.Code < 400 || w.Code > 405 {
				t.Errorf("%s with status %d", last, w.Code)
			}
		default:
			if w.Code != http.StatusOK || method != "POST" || query != "" || len(s.redeemed) != 1 ||
				s.redeemed[0].Code != "good" || s.redeemed[0].ClientID != strings.TrimPrefix(line, "200 ") {
				t.Errorf("%s for %q", line, body)
			}
		}
	})
}
