package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	oautherr "github.com/usher-auth/usher/errors"
)

// The tests of this file follow the description of the endpoint from top to bottom, with one
// subtest for each statement about the endpoint.

func TestReferenceFlow(t *testing.T) {
	t.Run("GET at the path, by a browser that is redirected, begins the code flow", func(t *testing.T) {
		if path != "/api/id/v1/auth/authorize" {
			t.Errorf("the endpoint is at %s", path)
		}
		s := newSite(t)
		page := s.open(appClient.Start())
		s.wantAt(page, "/login")
		if page.Request.Method != http.MethodGet {
			t.Errorf("the browser came by %s", page.Request.Method)
		}
	})
	t.Run("the listed parameters in the query are all that a client sends", func(t *testing.T) {
		flow := appClient.Start()
		if len(flow.Params) != len(required) {
			t.Errorf("the request has %v, want %v", flow.Params, required)
		}
		for _, name := range required {
			if flow.Params.Get(name) == "" {
				t.Errorf("the request has no %s", name)
			}
		}
		s := newSite(t)
		s.redeem(flow, s.authorize(flow))
	})
	t.Run("the user signs in and agrees on pages of the server", func(t *testing.T) {
		s := newSite(t)
		consent := s.signIn(s.open(appClient.Start()))
		s.wantAt(consent, "/consent")
		for _, want := range []string{"Single-page client", "client.localhost", "<code>profile</code>"} {
			if !strings.Contains(consent.Body, want) {
				t.Errorf("the consent page does not say %q:\n%s", want, consent)
			}
		}
		if answer := s.allow(consent); !answer.Left {
			t.Errorf("want the answer:\n%s", answer)
		}
	})
	t.Run("the code comes back in the query of the redirect URI", func(t *testing.T) {
		s := newSite(t)
		answer := s.authorize(appClient.Start())
		at := *answer.URL
		at.RawQuery = ""
		if at.String() != app+"/" || answer.Request.Method != http.MethodGet || len(answer.URL.Query()["code"]) != 1 {
			t.Errorf("want a code in the query of %s/:\n%s", app, answer)
		}
	})
	t.Run("nothing is issued without the user", func(t *testing.T) {
		s := newSite(t)
		flow := appClient.Start()
		consent := s.signIn(s.open(flow))
		flow.Expect(s.t, s.page(consent.Submit(nil, "Deny")), oautherr.AccessDenied)

		silent := appClient.Start(url.Values{"prompt": {"none"}})
		s.refused(silent, oautherr.ConsentRequired)
		newSite(t).refused(silent, oautherr.LoginRequired)
	})
	t.Run("programs get no more than a browser", testProgrammaticCalls)
}

// testProgrammaticCalls sends requests as scripts and programs do.
func testProgrammaticCalls(t *testing.T) {
	s := newSite(t)
	good, bad := appClient.Start().URL, appClient.Start(url.Values{"client_id": {"nobody"}}).URL
	script := http.Header{"Accept": {"application/json"}, "Origin": {app}, "X-Requested-With": {"XMLHttpRequest"}}
	preflight := http.Header{"Origin": {app}, "Access-Control-Request-Method": {"GET"}}
	for _, c := range []struct {
		name, method, url string
		header            http.Header
		status            int
	}{
		{"a request that is fine", "GET", good, script, http.StatusFound},
		{"a request that is not", "GET", bad, script, http.StatusBadRequest},
		{"a preflight", "OPTIONS", good, preflight, http.StatusMethodNotAllowed},
	} {
		t.Run(c.name, func(t *testing.T) {
			response := s.call(c.method, c.url, "", c.header)
			if response.StatusCode != c.status {
				t.Errorf("status %d, want %d", response.StatusCode, c.status)
			}
			if got := response.Header.Get("Content-Type"); got != "" && got != "text/html; charset=utf-8" {
				t.Errorf("it is answered as %s", got)
			}
			for name := range response.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("the answer has %s", name)
				}
			}
		})
	}
}

func TestReferenceRedirectURI(t *testing.T) {
	t.Run("redirect_uri is required", func(t *testing.T) { wantRequired(t, "redirect_uri") })
	t.Run("redirect_uri is where the code goes", func(t *testing.T) {
		s := newSite(t)
		other := partnerClient
		other.RedirectURI = "https://partner.example/other"
		flow := other.Start(anHour)
		s.redeem(flow, s.authorize(flow))
	})
	t.Run("redirect_uri has to match a registered one", func(t *testing.T) {
		for rule, uri := range map[string]string{
			"no path": app, "a query": app + "/?a=b", "a slash more": app + "//", "another path": app + "/callback",
			"capitals in the host": "http://CLIENT.localhost:8080/", "https": "https" + strings.TrimPrefix(app, "http") + "/",
			"another port": "http://client.localhost:8081/", "an address for the host": "http://127.0.0.1:8080/", "no host": "/",
			"another client's": "https://partner.example/callback", "an attacker's": "https://attacker.example/",
		} {
			t.Run(rule, func(t *testing.T) {
				s := newSite(t)
				s.wantErrorPage(s.open(appClient.Start(url.Values{"redirect_uri": {uri}})), oautherr.RedirectURIMismatch)
			})
		}
	})
}

func TestReferenceResponseType(t *testing.T) {
	t.Run("response_type is required", func(t *testing.T) { wantRequired(t, "response_type") })
	t.Run("response_type has one possible value", func(t *testing.T) {
		for _, value := range []string{"token", "none", "id_token", "code token", "code id_token", "CODE"} {
			t.Run(value, func(t *testing.T) {
				newSite(t).refused(appClient.Start(url.Values{"response_type": {value}}), oautherr.UnsupportedResponseType)
			})
		}
	})
	t.Run("response_type=code gives only a code", func(t *testing.T) {
		s := newSite(t)
		answer := s.authorize(appClient.Start(url.Values{"response_type": {"code"}}))
		query := answer.URL.Query()
		if len(query) != 3 || query.Get("code") == "" || !query.Has("state") || !query.Has("iss") || answer.URL.Fragment != "" {
			t.Errorf("want code, state and iss:\n%s", answer)
		}
	})
}

func TestReferenceClientID(t *testing.T) {
	t.Run("client_id is required", func(t *testing.T) { wantRequired(t, "client_id") })
	t.Run("client_id is one that was issued", func(t *testing.T) {
		for rule, id := range map[string]string{"unknown": "nobody", "in capitals": "APP", "a space behind it": "app "} {
			t.Run(rule, func(t *testing.T) {
				s := newSite(t)
				s.wantErrorPage(s.open(appClient.Start(url.Values{"client_id": {id}})), oautherr.InvalidClient)
			})
		}
		s, flow := newSite(t), appClient.Start()
		if record := s.redeem(flow, s.authorize(flow)); record.ClientID != "app" {
			t.Errorf("the code is for %q", record.ClientID)
		}
	})
}

func TestReferenceScope(t *testing.T) {
	t.Run("scope is required", func(t *testing.T) { wantRequired(t, "scope") })
	t.Run("scope has the permissions asked for, with spaces between", func(t *testing.T) {
		s := newSite(t)
		flow := appClient.Start(url.Values{"scope": {"email profile"}})
		record := s.redeem(flow, s.authorize(flow))
		if got := strings.Join(record.Scopes, " "); got != "email profile" {
			t.Errorf("granted is %q", got)
		}
		for rule, scope := range map[string]string{
			"a comma": "email,profile", "a tab": "email\tprofile", "a plus sign": "email+profile", "unknown": "admin", "one of two unknown": "profile admin",
		} {
			t.Run(rule, func(t *testing.T) {
				newSite(t).refused(appClient.Start(url.Values{"scope": {scope}}), oautherr.InvalidScope)
			})
		}
	})
}

func TestReferenceState(t *testing.T) {
	t.Run("state is required", func(t *testing.T) { wantRequired(t, "state") })
	t.Run("state is opaque and comes back as it was", func(t *testing.T) {
		for rule, state := range map[string]string{
			"JSON": `{"page":"/a?b=c&d","n":"ü"}`, "base64": "a+b/c==", "escapes": "%41 %2B", "long": strings.Repeat("s", 2000),
		} {
			t.Run(rule, func(t *testing.T) {
				if answer := newSite(t).authorize(appClient.Start(url.Values{"state": {state}})); answer.URL.Query().Get("state") != state {
					t.Errorf("sent %q:\n%s", state, answer)
				}
			})
		}
	})
	t.Run("state ties each answer to its request, errors too", func(t *testing.T) {
		s := newSite(t)
		first, second, wrong := appClient.Start(), appClient.Start(), appClient.Start(url.Values{"scope": {"admin"}})
		firstLogin, secondLogin := s.open(first), s.open(second)
		s.refused(wrong, oautherr.InvalidScope)
		secondAnswer := s.allow(s.signIn(secondLogin))
		firstAnswer := s.allow(s.signIn(firstLogin))
		s.redeem(first, firstAnswer)
		s.redeem(second, secondAnswer)
		if _, err := first.Check(secondAnswer.Request); err == nil {
			t.Error("the answer to one request passes for that to another")
		}
	})
}

func TestReferencePKCE(t *testing.T) {
	t.Run("code_challenge is required", func(t *testing.T) { wantRequired(t, "code_challenge") })
	t.Run("code_challenge is the client's, and only its verifier redeems the code", func(t *testing.T) {
		s := newSite(t)
		flow := appClient.Start()
		code := flow.Expect(t, s.authorize(flow), nil)
		for rule, verifier := range map[string]string{
			"another": appClient.Start().Verifier, "none": "", "the challenge": flow.Params.Get("code_challenge"),
		} {
			t.Run(rule, func(t *testing.T) {
				redemption := flow.Redemption(code)
				redemption.Verifier = verifier
				if _, err := s.server.endpoint.Redeem(context.Background(), redemption); !errors.Is(err, oautherr.InvalidGrant) {
					t.Errorf("%v, want invalid_grant", err)
				}
			})
		}
		if _, err := s.server.endpoint.Redeem(context.Background(), flow.Redemption(code)); err != nil {
			t.Error(err)
		}
	})
	t.Run("code_challenge is required of public clients, policy or not", func(t *testing.T) {
		public := func(_ *authorize.Config, lax *authorize.Client) { lax.Public = true }
		without := laxClient.Start(url.Values{"code_challenge": nil, "code_challenge_method": nil})
		newSite(t, noPolicy, public).refused(without, oautherr.InvalidRequest)
		s := newSite(t, noPolicy)
		s.wantAt(s.open(without), "/login")
		newSite(t, serverPolicy).refused(without, oautherr.InvalidRequest)
		newSite(t, clientPolicy).refused(without, oautherr.InvalidRequest)
	})
	t.Run("code_challenge_method is required", func(t *testing.T) { wantRequired(t, "code_challenge_method") })
	t.Run("code_challenge_method is S256", func(t *testing.T) {
		for rule, method := range map[string]string{"plain": "plain", "in small letters": "s256", "unknown": "S512", "a space behind it": "S256 "} {
			t.Run(rule, func(t *testing.T) {
				newSite(t).refused(appClient.Start(url.Values{"code_challenge_method": {method}}), oautherr.InvalidRequest)
			})
		}
		s := newSite(t)
		s.wantAt(s.open(appClient.Start(url.Values{"code_challenge_method": {"S256"}})), "/login")
	})
}

func TestReferenceCookie(t *testing.T) {
	t.Run("without the session cookie the user signs in, and then goes on", func(t *testing.T) {
		s := newSite(t)
		if err := s.browser.SetCookies(base, &http.Cookie{Name: cookieName, Value: "forged", Path: "/"}); err != nil {
			t.Fatal(err)
		}
		flow := appClient.Start()
		login := s.open(flow)
		for username, password := range map[string]string{"alice": "wrong", "mallory": "alice-password"} {
			again := s.page(login.Submit(url.Values{"username": {username}, "password": {password}}))
			if !strings.Contains(again.Body, "is wrong") {
				t.Errorf("%s: want the form again, with the reason:\n%s", username, again)
			}
		}
		if record := s.redeem(flow, s.allow(s.signIn(login))); record.Subject != "alice" {
			t.Errorf("the code is for %q", record.Subject)
		}
	})
	t.Run("the session cookie authenticates the user and authorizes the client", func(t *testing.T) {
		s := newSite(t)
		s.authorize(partnerClient.Start(anHour)) // signs in, and agrees to what the client asks for
		cookie := sessionCookie(s)
		s.browser = authorizetest.NewBrowser() // with only the session cookie
		s.browser.Handle(base, s.handler)
		if err := s.browser.SetCookies(base, cookie); err != nil {
			t.Fatal(err)
		}
		flow := partnerClient.Start(anHour)
		if record := s.redeem(flow, s.open(flow)); record.Subject != "alice" {
			t.Errorf("the code is for %q", record.Subject)
		}
		// It does not authorize another client.
		s.wantAt(s.open(appClient.Start()), "/consent")
	})
}

func TestReferenceResponse(t *testing.T) {
	s := newSite(t)
	s.authorize(partnerClient.Start(anHour))
	cookie := http.Header{"Cookie": {sessionCookie(s).String()}}
	t.Run("it redirects to the redirect URI of the request", func(t *testing.T) {
		for _, path := range []string{"other", "callback"} {
			t.Run(path, func(t *testing.T) {
				uri := "https://partner.example/" + path
				response := s.call("GET", partnerClient.Start(anHour, url.Values{"redirect_uri": {uri}}).URL, "", cookie)
				if got := response.Header.Get("Location"); response.StatusCode != http.StatusFound || !strings.HasPrefix(got, uri+"?") {
					t.Errorf("status %d to %s, want 302 to %s", response.StatusCode, got, uri)
				}
			})
		}
	})
	t.Run("the Location header has the whole answer", func(t *testing.T) {
		flow := partnerClient.Start(anHour)
		response := s.call("GET", flow.URL, "", cookie)
		if locations := response.Header["Location"]; len(locations) != 1 || response.ContentLength > 0 {
			t.Fatalf("want one Location and no body: %v", response)
		}
		if _, err := flow.CheckURL(response.Header.Get("Location")); err != nil {
			t.Error(err)
		}
	})
	t.Run("there is no other way to get the response", func(t *testing.T) {
		response := s.call("GET", partnerClient.Start(anHour, url.Values{"response_mode": {"form_post"}}).URL, "", cookie)
		body, err := io.ReadAll(response.Body)
		if err != nil || !strings.Contains(string(body), `value="invalid_request"`) || strings.Contains(string(body), `name="code"`) {
			t.Errorf("want invalid_request and no code: %v\n%s", err, body)
		}
	})
}

// sessionCookie returns the cookie with which the browser is signed in.
func sessionCookie(s *site) *http.Cookie {
	s.t.Helper()
	for _, cookie := range s.browser.Cookies(base) {
		if cookie.Name == cookieName {
			cookie.Path = "/"
			return cookie
		}
	}
	s.t.Fatal("the browser has no session cookie")
	return nil
}

// wantRequired sends requests without the parameter: to the program as it is, and with a client
// for which only the policy of the server, or only its own policy, requires the parameter.
func wantRequired(t *testing.T, name string) {
	t.Helper()
	for rule, values := range map[string][]string{"left out": nil, "empty": {""}} {
		t.Run(rule, func(t *testing.T) {
			without := url.Values{name: values}
			s := newSite(t)
			switch flow := appClient.Start(without); name {
			case "client_id":
				s.wantErrorPage(s.open(flow), oautherr.InvalidRequest)
				return // without client_id there is no policy of a client
			case "redirect_uri":
				s.wantErrorPage(s.open(flow), oautherr.InvalidRequest)
			default:
				s.refused(flow, oautherr.InvalidRequest)
			}
			want := "The parameter " + name + " is missing, and it is required here."
			for where, policy := range map[string]policy{"the server's": serverPolicy, "the client's": clientPolicy} {
				if got := newSite(t, policy).refused(laxClient.Start(without), oautherr.InvalidRequest); got != want {
					t.Errorf("by %s policy the client reads %q, want %q", where, got, want)
				}
			}
			// Without a policy it is optional, unless the protocol requires it.
			page := newSite(t, noPolicy).open(laxClient.Start(without))
			if free := name == "scope" || name == "state" || name == "redirect_uri"; free != (page.URL.Path == "/login") {
				t.Errorf("without a policy:\n%s", page)
			}
		})
	}
}
