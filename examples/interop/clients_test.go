package interop

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cli/oauth/webapp"
	"github.com/coreos/go-oidc/v3/oidc"
	capoidc "github.com/hashicorp/cap/oidc"
	"golang.org/x/oauth2"
)

const callback = "https://client.example/callback"

var (
	scopes = []string{"openid", "profile", "email"}

	webClient    = client{ID: "web", Secret: "web-secret", Name: "Web Client", RedirectURIs: []string{callback}, Scopes: scopes}
	publicClient = client{ID: "app", Public: true, Name: "Public Client", RedirectURIs: []string{callback}, Scopes: scopes}
)

// signIn is one sign-in by golang.org/x/oauth2 with PKCE and go-oidc.
type signIn struct {
	t        *testing.T
	provider *oidc.Provider
	config   oauth2.Config
	issuer   string
	state    string
	nonce    string
	verifier string
}

func newSignIn(t *testing.T, issuer string, c client, style oauth2.AuthStyle) *signIn {
	t.Helper()
	provider, err := oidc.NewProvider(t.Context(), issuer)
	if err != nil {
		t.Fatal(err)
	}
	endpoint := provider.Endpoint()
	endpoint.AuthStyle = style
	return &signIn{
		t: t, provider: provider, issuer: issuer,
		config: oauth2.Config{ClientID: c.ID, ClientSecret: c.Secret, Endpoint: endpoint, RedirectURL: callback, Scopes: scopes},
		state:  "state of this sign-in", nonce: "nonce of this sign-in", verifier: oauth2.GenerateVerifier(),
	}
}

// url is the authorization URL. The values of more override the others.
func (s *signIn) url(more ...oauth2.AuthCodeOption) string {
	options := append([]oauth2.AuthCodeOption{oidc.Nonce(s.nonce), oauth2.S256ChallengeOption(s.verifier)}, more...)
	return s.config.AuthCodeURL(s.state, options...)
}

// answer checks the common parameters of a response and returns all parameters.
func (s *signIn) answer(location *url.URL) url.Values {
	s.t.Helper()
	if !strings.HasPrefix(location.String(), callback+"?") {
		s.t.Fatalf("the answer went to %s", location)
	}
	values := location.Query()
	for name, want := range map[string]string{"state": s.state, "iss": s.issuer} {
		if got := values[name]; len(got) != 1 || got[0] != want {
			s.t.Errorf("%s is %q, want %q once", name, got, want)
		}
	}
	return values
}

func (s *signIn) code(location *url.URL) string {
	s.t.Helper()
	values := s.answer(location)
	if len(values["code"]) != 1 || values.Has("error") {
		s.t.Fatalf("want exactly one code and no error: %v", values)
	}
	return values.Get("code")
}

func (s *signIn) wantError(location *url.URL, want string) {
	s.t.Helper()
	values := s.answer(location)
	if values.Get("error") != want || values.Has("code") {
		s.t.Errorf("want the error %s and no code: %v", want, values)
	}
}

// redeem exchanges the code and verifies the ID token as a relying party does.
func (s *signIn) redeem(code string) (*oauth2.Token, *oidc.IDToken) {
	s.t.Helper()
	token, err := s.config.Exchange(s.t.Context(), code, oauth2.VerifierOption(s.verifier))
	if err != nil {
		s.t.Fatal(err)
	}
	raw, _ := token.Extra("id_token").(string)
	idToken, err := s.provider.VerifierContext(s.t.Context(), &oidc.Config{ClientID: s.config.ClientID}).Verify(s.t.Context(), raw)
	if err != nil {
		s.t.Fatal(err)
	}
	return token, idToken
}

func (s *signIn) wantInvalidGrant(code, verifier string) {
	s.t.Helper()
	_, err := s.config.Exchange(s.t.Context(), code, oauth2.VerifierOption(verifier))
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) || refused.ErrorCode != "invalid_grant" {
		s.t.Errorf("got %v, want invalid_grant", err)
	}
}

func TestSignInWithGoOIDC(t *testing.T) {
	for _, c := range []struct {
		name   string
		client client
		style  oauth2.AuthStyle
	}{
		{"public client", publicClient, oauth2.AuthStyleInParams},
		{"client_secret_basic", webClient, oauth2.AuthStyleInHeader},
		{"client_secret_post", webClient, oauth2.AuthStyleInParams},
	} {
		t.Run(c.name, func(t *testing.T) {
			issuer := startProvider(t, c.client)
			s, someone := newSignIn(t, issuer, c.client, c.style), newPerson(t, issuer)
			began := time.Now().Truncate(time.Second)
			token, idToken := s.redeem(s.code(someone.answer(s.url())))

			if someone.logins != 1 || someone.asked != 1 {
				t.Errorf("asked %d times for a password and %d times for consent, want once each", someone.logins, someone.asked)
			}
			if idToken.Nonce != s.nonce {
				t.Errorf("nonce is %q, want %q", idToken.Nonce, s.nonce)
			}
			var claims struct {
				AuthTime int64    `json:"auth_time"`
				AMR      []string `json:"amr"`
			}
			if err := idToken.Claims(&claims); err != nil {
				t.Fatal(err)
			}
			if signedIn := time.Unix(claims.AuthTime, 0); signedIn.Before(began) || signedIn.After(time.Now()) {
				t.Errorf("auth_time is %s, want a time since %s", signedIn, began)
			}
			info, err := s.provider.UserInfo(t.Context(), oauth2.StaticTokenSource(token))
			if err != nil {
				t.Fatal(err)
			}
			if idToken.Subject == "" || info.Subject != idToken.Subject {
				t.Errorf("sub is %q in the ID token and %q at userinfo", idToken.Subject, info.Subject)
			}
			if want := alice.Claims["email"]; info.Email != want {
				t.Errorf("email is %q, want %q", info.Email, want)
			}
		})
	}
}

func TestCodeCountsOnceAndOnlyWithItsVerifier(t *testing.T) {
	issuer := startProvider(t, webClient)
	s := newSignIn(t, issuer, webClient, oauth2.AuthStyleInHeader)
	code := s.code(newPerson(t, issuer).answer(s.url()))
	s.wantInvalidGrant(code, oauth2.GenerateVerifier())
	s.redeem(code) // the wrong verifier did not use it up
	s.wantInvalidGrant(code, s.verifier)
}

// A client that may keep its access renews its token without the user.
func TestRefreshWithOAuth2(t *testing.T) {
	offline := webClient
	offline.Scopes = append([]string{"offline_access"}, scopes...)
	issuer := startProvider(t, offline)
	s := newSignIn(t, issuer, offline, oauth2.AuthStyleInHeader)
	s.config.Scopes = offline.Scopes
	first, _ := s.redeem(s.code(newPerson(t, issuer).answer(s.url())))
	expired := *first
	expired.Expiry = time.Now().Add(-time.Minute)
	next, err := s.config.TokenSource(t.Context(), &expired).Token()
	if err != nil {
		t.Fatal(err)
	}
	if next.AccessToken == first.AccessToken || next.RefreshToken == first.RefreshToken || next.RefreshToken == "" {
		t.Errorf("%v became %v", first, next)
	}
	if _, err := s.provider.UserInfo(t.Context(), oauth2.StaticTokenSource(next)); err != nil {
		t.Error(err)
	}
}

func TestSecondSignInAsksForNothing(t *testing.T) {
	issuer := startProvider(t, webClient)
	someone := newPerson(t, issuer)
	first := newSignIn(t, issuer, webClient, oauth2.AuthStyleInHeader)
	_, before := first.redeem(first.code(someone.answer(first.url())))
	someone.logins, someone.asked = 0, 0
	second := newSignIn(t, issuer, webClient, oauth2.AuthStyleInHeader)
	_, after := second.redeem(second.code(someone.answer(second.url(oauth2.SetAuthURLParam("prompt", "none")))))
	if before.Subject != after.Subject || someone.logins+someone.asked != 0 {
		t.Errorf("sub %q, then %q; %d logins, %d consents", before.Subject, after.Subject, someone.logins, someone.asked)
	}
}

func TestErrorsGoToTheClient(t *testing.T) {
	issuer := startProvider(t, webClient)
	param := oauth2.SetAuthURLParam
	for _, c := range []struct {
		name   string
		denies bool
		option oauth2.AuthCodeOption
		want   string
	}{
		{"alice says no", true, param("display", "page"), "access_denied"},
		{"prompt=none, signed out", false, param("prompt", "none"), "login_required"},
		{"scope of another client", false, param("scope", "openid payroll"), "invalid_scope"},
		{"half of PKCE", false, param("code_challenge", ""), "invalid_request"},
		{"implicit flow", false, param("response_type", "id_token"), "unsupported_response_type"},
		{"request object", false, param("request", "e30.e30."), "request_not_supported"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, someone := newSignIn(t, issuer, webClient, oauth2.AuthStyleInHeader), newPerson(t, issuer)
			someone.denies = c.denies
			s.wantError(someone.answer(s.url(c.option)), c.want)
		})
	}
}

func TestUnprovenRequestsAreAnsweredByAPage(t *testing.T) {
	issuer := startProvider(t, webClient)
	for _, c := range []struct{ name, id, redirect string }{
		{"unknown client", "nobody", callback},
		{"redirect URI of somebody else", webClient.ID, "https://attacker.example/callback"},
		{"redirect URI with more behind it", webClient.ID, callback + "/more"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSignIn(t, issuer, webClient, oauth2.AuthStyleInHeader)
			s.config.ClientID, s.config.RedirectURL = c.id, c.redirect
			page := newPerson(t, issuer).open(s.url())
			if page.Left || page.Status != http.StatusBadRequest || !strings.Contains(page.Body, "<h1>") {
				t.Errorf("the browser came to\n%s", page)
			}
		})
	}
}

// TestMaxAgeWithCap signs in with a client that checks auth_time against max_age.
func TestMaxAgeWithCap(t *testing.T) {
	issuer := startProvider(t, webClient)
	someone := newPerson(t, issuer)
	settings, err := capoidc.NewConfig(issuer, webClient.ID, capoidc.ClientSecret(webClient.Secret), []capoidc.Alg{capoidc.RS256}, []string{callback})
	if err != nil {
		t.Fatal(err)
	}
	provider, err := capoidc.NewProvider(settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(provider.Done)

	for _, c := range []struct {
		name   string
		option capoidc.Option
		logins int
	}{
		{"first visit", capoidc.WithMaxAge(3600), 1},
		{"a sign-in that is new enough", capoidc.WithMaxAge(3600), 0},
		{"max_age=0", capoidc.WithMaxAge(0), 1},
		{"prompt=login", capoidc.WithPrompts(capoidc.Login), 1},
		{"display=page", capoidc.WithDisplay(capoidc.Page), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			verifier, err := capoidc.NewCodeVerifier()
			if err != nil {
				t.Fatal(err)
			}
			request, err := capoidc.NewRequest(time.Minute, callback, c.option, capoidc.WithPKCE(verifier), capoidc.WithScopes("profile"))
			if err != nil {
				t.Fatal(err)
			}
			target, err := provider.AuthURL(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			someone.t, someone.logins = t, 0
			values := someone.answer(target).Query()
			if _, err := provider.Exchange(t.Context(), request, values.Get("state"), values.Get("code")); err != nil {
				t.Errorf("%v, answer %v", err, values)
			}
			if someone.logins != c.logins {
				t.Errorf("asked %d times for a password, want %d", someone.logins, c.logins)
			}
		})
	}
}

// TestRequestWithoutResponseType is a command-line client without response_type that listens on
// any free port. It has to get the error.
func TestRequestWithoutResponseType(t *testing.T) {
	issuer := startProvider(t, client{
		ID: "cli", Public: true, Native: true, Name: "Command Line",
		RedirectURIs: []string{"http://127.0.0.1/callback"}, Scopes: []string{"profile"},
	})
	flow, err := webapp.InitFlow()
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- flow.StartServer(nil) }()
	target, err := flow.BrowserURL(issuer+"/authorize", webapp.BrowserParams{
		ClientID: "cli", RedirectURI: "http://127.0.0.1/callback", Scopes: []string{"profile"},
	})
	if err != nil {
		t.Fatal(err)
	}
	sent, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}

	location := newPerson(t, issuer).answer(target)
	if want := sent.Query().Get("redirect_uri"); !strings.HasPrefix(location.String(), want+"?") {
		t.Errorf("the answer went to %s, want %s", location, want)
	}
	for name, want := range map[string]string{"error": "invalid_request", "state": sent.Query().Get("state"), "iss": issuer} {
		if got := location.Query().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	// The listener closes after one request.
	response, err := http.Get(location.String())
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	<-served
}
