package main

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/pkce"
)

// The tests of this file follow the description of the endpoint from top to bottom, with one
// subtest for each statement about the endpoint. A repeated statement has only one.

func TestReferenceSummary(t *testing.T) {
	t.Run("it starts the way to a JWT", func(t *testing.T) {
		s := newSite(t)
		token, profile := s.token(s.code(params()))
		c, err := s.server.tokens.verify(token)
		if err != nil || c.Subject != profile || strings.Count(token, ".") != 2 {
			t.Errorf("%q is no JWT for %s: %v", token, profile, err)
		}
	})
	t.Run("it is at GET /oauth/authorize", func(t *testing.T) {
		s := newSite(t)
		s.code(params())
		if a := s.send(http.MethodGet, "/authorize?"+params().Encode(), ""); a.status != http.StatusNotFound {
			t.Errorf("elsewhere: status %d", a.status)
		}
	})
	t.Run("it is compliant with OAuth 2", testCompliance)
	t.Run("the code flow is the only one", func(t *testing.T) {
		others := byThemselves("token", "id_token", "code token", "code id_token", "none")
		inSites(t, others, func(s *site, other string) {
			s.refused(s.get(params("response_type="+other)), 400, "unsupported_response_type")
		})
	})
	t.Run("PKCE is mandatory", func(t *testing.T) {
		s := newSite(t)
		s.refused(s.get(params("-code_challenge", "-code_challenge_method")), 400, "invalid_request")
		code := s.code(params())
		if a := s.redeem(code, "code_verifier="); a.object["error"] != "invalid_grant" {
			t.Errorf("without a verifier: %s", a.body)
		}
		if a := s.redeem(code, "code_verifier="+pkce.NewVerifier()); a.object["error"] != "invalid_grant" {
			t.Errorf("with another verifier: %s", a.body)
		}
		s.token(code)
	})
	t.Run("S256 is the only method", func(t *testing.T) {
		others := map[string]string{"plain": "plain", "in small letters": "s256", "unknown": "S512", "empty": ""}
		inSites(t, others, func(s *site, other string) {
			s.refused(s.get(params("code_challenge_method="+other)), 400, "invalid_request")
		})
	})
	t.Run("the redirect URI is the name for out of band", func(t *testing.T) {
		inSites(t, map[string]string{
			"a shorter name": "urn:ietf:wg:oauth:2.0:oob", "a longer name": oob + ":", "in capitals": strings.ToUpper(oob),
			"a space behind it": oob + " ", "loopback": "http://127.0.0.1/", "another client's address": callback, "none": "",
		}, func(s *site, other string) {
			s.refused(s.get(params("redirect_uri="+other)), 400, "invalid_request")
			s.code(params())
		})
	})
	t.Run("the code can be exchanged for a JWT", func(t *testing.T) {
		s := newSite(t)
		code := s.code(params())
		s.token(code)
		if a := s.redeem(code); a.status != 400 || a.object["error"] != "invalid_grant" {
			t.Errorf("once more: status %d, %s", a.status, a.body)
		}
	})
	t.Run("it creates a new profile", func(t *testing.T) {
		s := newSite(t)
		_, first := s.token(s.code(params("state=1")))
		_, second := s.token(s.code(params("state=2")))
		if first == second {
			t.Errorf("two requests have the profile %s", first)
		}
		s.profiles(2)
	})
	t.Run("a request with a token creates none", func(t *testing.T) {
		s := newSite(t)
		token, profile := s.token(s.code(params("state=1")))
		_, again := s.token(s.code(params("state=2"), "x-profile-jwt: "+token))
		if again != profile {
			t.Errorf("%s became %s", profile, again)
		}
		s.profiles(1)
	})
	t.Run("the challenge is the hash of the verifier in base64url", func(t *testing.T) {
		// The pair of RFC 7636, appendix B.
		s := newSite(t)
		code := s.code(params("code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"))
		if a := s.redeem(code, "code_verifier=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"); a.status != http.StatusOK {
			t.Errorf("status %d, %s", a.status, a.body)
		}
	})
	t.Run("base64url is as in RFC 7636, appendix A", func(t *testing.T) {
		challenge := pkce.Challenge(verifier)
		inSites(t, map[string]string{
			"with padding":           challenge + "=",
			"with the other letters": "+/" + challenge[2:],
			"one letter less":        challenge[1:],
			"in base 16":             strings.Repeat("0123456789abcdef", 4),
		}, func(s *site, other string) {
			s.refused(s.get(params("code_challenge="+other)), 400, "invalid_request")
		})
	})
}

// testCompliance tests the rules of RFC 6749 for all endpoints that no other test has.
func testCompliance(t *testing.T) {
	s := newSite(t)
	s.refused(s.send("GET", path+"?"+params().Encode()+"&state=b", ""), 400, "invalid_request") // a parameter comes twice
	s.refused(s.get(params("scope=admin")), 400, "invalid_scope")
	inSites(t, byThemselves("HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get"), func(s *site, method string) {
		a := s.send(method, path+"?"+params().Encode(), "")
		s.refused(a, http.StatusMethodNotAllowed, "invalid_request")
		if got := a.header.Get("Allow"); got != "GET, POST" {
			s.t.Errorf("Allow is %q", got)
		}
	})
	if a := s.get(params("x=unknown", "utm_source=here")); a.status != http.StatusOK {
		t.Errorf("with parameters that nobody knows: status %d, %s", a.status, a.body)
	}
	a := s.send(http.MethodPost, path, params("state=posted").Encode())
	if a.status != http.StatusOK || a.object["state"] != "posted" {
		t.Errorf("by POST: status %d, %s", a.status, a.body)
	}
	s.unreadable(a)
}

func TestReferenceSecurity(t *testing.T) {
	t.Run("an API key in x-api-key", func(t *testing.T) {
		inSites(t, map[string][]string{
			"none":                   {noKey},
			"an empty one":           {"x-api-key: "},
			"another one":            {"x-api-key: demo-key-of-nobody"},
			"the beginning of one":   {"x-api-key: demo-key-of-cl"},
			"one and more":           {cliKey + "2"},
			"one in the other case":  {"x-api-key: DEMO-KEY-OF-CLI"},
			"the name of its client": {"x-api-key: cli"},
			"two":                    {cliKey, siteKey},
			"the same twice":         {cliKey, cliKey},
			"as a bearer token":      {noKey, "Authorization: Bearer demo-key-of-cli"},
			"none, and Sec-Fetch of a page that is opened": {noKey, "Sec-Fetch-Mode: navigate"},
		}, func(s *site, headers []string) {
			a := s.get(params(), headers...)
			s.refused(a, http.StatusUnauthorized, "invalid_client")
			if got := a.header.Get("WWW-Authenticate"); got != `APIKey header="x-api-key"` {
				s.t.Errorf("WWW-Authenticate is %q", got)
			}
			// Without a key, the response does not tell what else is wrong.
			s.refused(s.get(params("client_id=nobody"), headers...), http.StatusUnauthorized, "invalid_client")
			s.refused(s.send("OPTIONS", path, "", headers...), http.StatusUnauthorized, "invalid_client")
		})
		s := newSite(t)
		s.refused(s.get(params("x-api-key=demo-key-of-cli"), noKey), http.StatusUnauthorized, "invalid_client")
		s.refused(s.get(params(), siteKey), 400, "unauthorized_client")
		s.code(params(), "X-API-KEY: demo-key-of-cli", noKey)
	})
	t.Run("the JWT for the user in its header", func(t *testing.T) {
		s := newSite(t)
		token, profile := s.token(s.code(params("state=1")))
		for _, sent := range []int{2, 3} {
			var again string
			if token, again = s.token(s.code(params(), "x-profile-jwt: "+token)); again != profile {
				t.Errorf("visit %d: %s became %s", sent, profile, again)
			}
		}
		s.profiles(1)
	})
	t.Run("an invalid one is an error and makes no new profile", testBadTokens)
}

func TestReferenceParameters(t *testing.T) {
	for _, name := range []string{
		"redirect_uri", "response_type", "client_id", "state", "code_challenge", "code_challenge_method",
	} {
		t.Run(name+" is required", func(t *testing.T) {
			s := newSite(t)
			s.refused(s.get(params("-"+name)), 400, "invalid_request")
			s.refused(s.get(params(name+"=")), 400, "invalid_request")
			s.refused(s.send("POST", path+"?"+name+"="+params().Get(name), params("-"+name).Encode()), 400, "invalid_request")
		})
	}
	t.Run("no other parameter is required", func(t *testing.T) {
		if len(params()) != 6 {
			t.Fatalf("the request has %v", params())
		}
		s := newSite(t)
		code := s.code(params())
		token, _ := s.token(code)
		if c, err := s.server.tokens.verify(token); err != nil || c.Scope != "profile" {
			t.Errorf("the scope is %q, %v", c.Scope, err)
		}
	})
	t.Run("other parameters that would change the response are refused", func(t *testing.T) {
		inSites(t, byThemselves(
			"response_mode=query", "response_mode=form_post", "response_mode=fragment", "prompt=login", "prompt=none", "prompt=consent",
			"prompt=select_account", "prompt=create", "max_age=0", "max_age=3600", `claims={"id_token":{"sub":{"value":"x"}}}`,
			"acr_values=high", "id_token_hint=x", "login_hint=alice", "nonce=n", "request=x", "request_uri=https://a.example/r",
			"registration={}",
		), func(s *site, other string) {
			a := s.get(params(other))
			if a.status != 400 || a.object["error"] == nil {
				s.t.Errorf("status %d, %s", a.status, a.body)
			}
			s.unreadable(a)
			s.profiles(0)
		})
	})
	t.Run("client_id has to be known", func(t *testing.T) {
		inSites(t, map[string]string{
			"unknown": "nobody", "in capitals": "CLI", "a space behind it": "cli ", "NUL behind it": "cli\x00", "long": strings.Repeat("c", 3000),
		}, func(s *site, id string) {
			s.refused(s.get(params("client_id="+id)), 400, "invalid_client")
		})
	})
	t.Run("state is any random value", func(t *testing.T) {
		inSites(t, map[string]string{
			"random": pkce.NewVerifier(), "short": "1", "JSON": `{"a":"<b>&'"}`, "beyond ASCII": "ü 状态", "long": strings.Repeat("s", 8000),
		}, func(s *site, state string) {
			if a := s.get(params("state=" + state)); a.status != http.StatusOK || a.object["state"] != state {
				s.t.Errorf("%.20q came back as %.20q, status %d", state, a.object["state"], a.status)
			}
		})
	})
}

func TestReferenceResponses(t *testing.T) {
	t.Run("200 is an object with code and state", func(t *testing.T) {
		s := newSite(t)
		a := s.get(params())
		want := map[string]any{"code": a.object["code"], "state": "a-state", "iss": base}
		if a.status != http.StatusOK || len(a.object) != len(want) {
			t.Fatalf("status %d, %s", a.status, a.body)
		}
		for name, value := range want {
			if a.object[name] != value {
				t.Errorf("%s is %v, want %v", name, a.object[name], value)
			}
		}
		s.unreadable(a)
	})
	t.Run("the code is generated", func(t *testing.T) {
		s := newSite(t)
		var codes []string
		for range 100 {
			code := s.code(params())
			if len(code) < 43 || slices.Contains(codes, code) {
				t.Errorf("the code %q is short or not new", code)
			}
			codes = append(codes, code)
		}
	})
	t.Run("the client verifies that state is its own", func(t *testing.T) {
		_, err := ask(t, func(w http.ResponseWriter, r *http.Request) {
			writeObject(w, 200, map[string]any{"code": "c", "state": "another", "iss": "http://" + r.Host})
		})
		if err == nil || !strings.Contains(err.Error(), "not for this request") {
			t.Errorf("the client says %v", err)
		}
	})
	t.Run("400 is an object with an error", func(t *testing.T) {
		s := newSite(t)
		s.refused(s.get(params("-state")), 400, "invalid_request")
		s.refused(s.get(params("client_id=nobody")), 400, "invalid_client")
		s.refused(s.send("POST", path, params("-state").Encode()), 400, "invalid_request")
	})
	t.Run("the code of the error is one of RFC 6749 §4.1", func(t *testing.T) {
		// These are the codes of §4.1.2.1, and invalid_client of §5.2. An invalid token of a
		// user is login_required, for which RFC 6749 has no code.
		known := []string{
			"invalid_request", "unauthorized_client", "access_denied", "unsupported_response_type",
			"invalid_scope", "server_error", "temporarily_unavailable", "invalid_client",
		}
		inSites(t, byThemselves(
			"client_id=nobody", "client_id=website", "redirect_uri="+callback, "-redirect_uri", "response_type=token",
			"scope=x", "-state", "state=\x01", "prompt=login", "code_challenge=x",
		), func(s *site, change string) {
			a := s.get(params(change))
			if code, _ := a.object["error"].(string); !slices.Contains(known, code) {
				s.t.Errorf("the answer is %s", a.body)
			}
		})
	})
	t.Run("its description is for people", func(t *testing.T) {
		for change, want := range map[string]string{
			"-state":            "The parameter state is missing, and it is required here.",
			"prompt=login":      "The parameter prompt is not supported.",
			"scope=<script>":    "",
			"client_id=website": "The address to return to is not one that the application has registered.",
		} {
			t.Run(change, func(t *testing.T) {
				a := newSite(t).get(params(change))
				text, _ := a.object["error_description"].(string)
				if want != "" && text != want || strings.ContainsAny(text, "<>\"\\") {
					t.Errorf("the text is %q", text)
				}
			})
		}
	})
}

// ask runs the command-line client with a test server.
func ask(t *testing.T, answer http.HandlerFunc) (token string, err error) {
	t.Helper()
	c := client{issuer: serve(t, answer), key: "demo-key-of-cli"}
	return c.run(context.Background(), io.Discard)
}
