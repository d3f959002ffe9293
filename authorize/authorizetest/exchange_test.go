package authorizetest

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	oautherr "github.com/usher-auth/usher/errors"
)

// answersTokens is a token endpoint that answers the same each time. headers are added to
// those of a good response, and an empty value takes one away.
func answersTokens(status int, body string, headers ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
}

func TestWhatExchangeSends(t *testing.T) {
	public := wiki
	public.TokenEndpoint = "https://as.example/token"
	confidential := public
	confidential.ID, confidential.Secret = "a wiki", "s/e:c"
	unproven := url.Values{"redirect_uri": nil, "code_challenge": nil, "code_challenge_method": nil}
	for _, tt := range []struct {
		rule   string
		client Client
		start  url.Values
		change url.Values
		basic  string
		want   url.Values // without redirect_uri and code_verifier, which are checked below
	}{
		{"a public client names itself", public, nil, nil, "", url.Values{"client_id": {"wiki"}}},
		{"a confidential client proves itself", confidential, nil, nil, "a+wiki:s%2Fe%3Ac", url.Values{}},
		{"what the request had none of", public, unproven, nil, "", url.Values{"client_id": {"wiki"}, "redirect_uri": nil, "code_verifier": nil}},
		{"changes replace and leave out", public, nil, url.Values{"code_verifier": {"x"}, "client_id": nil}, "", url.Values{"code_verifier": {"x"}}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			flow := tt.client.Start(tt.start)
			want := url.Values{
				"grant_type": {"authorization_code"}, "code": {"the code"},
				"redirect_uri": {"https://wiki.example/cb"}, "code_verifier": {flow.Verifier},
			}
			change(want, []url.Values{tt.want})
			var got *http.Request
			tokens, err := flow.Exchange(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got = r
				if err := r.ParseForm(); err != nil {
					t.Error(err)
				}
				answersTokens(200, `{"access_token":"a","token_type":"Bearer"}`).ServeHTTP(w, r)
			}), "the code", tt.change)
			if err != nil || tokens["access_token"] != "a" {
				t.Fatalf("got %v, %v", tokens, err)
			}
			if diff := cmp.Diff(want, got.PostForm); diff != "" {
				t.Errorf("the form (-want +got):\n%s", diff)
			}
			id, secret, basic := got.BasicAuth()
			if basic != (tt.basic != "") || basic && id+":"+secret != tt.basic {
				t.Errorf("HTTP Basic has %s:%s, want %s", id, secret, tt.basic)
			}
			if got.Method != http.MethodPost || got.Host != "as.example" || got.URL.String() != "/token" || got.Header.Get("Cookie") != "" {
				t.Errorf("it was sent as %s %s%s with the header %v", got.Method, got.Host, got.URL, got.Header)
			}
		})
	}
}

func TestWhatExchangeTakes(t *testing.T) {
	const good = `{"access_token":"secret","token_type":"Bearer","expires_in":3600,"scope":"openid","x":[1]}`
	const denied = `{"error":"invalid_grant","error_description":"Too late."}`
	for _, tt := range []struct {
		rule  string
		h     http.Handler
		wrong string // in the error, empty for none
	}{
		{"a good response", answersTokens(200, good), ""},
		{"a type with a charset", answersTokens(200, good, "Content-Type", "application/json; charset=UTF-8"), ""},
		{"more than no-store", answersTokens(200, good, "Cache-Control", "private, No-Store"), ""},
		{"another type", answersTokens(200, good, "Content-Type", "text/json"), `the Content-Type "text/json"`},
		{"no page", http.NotFoundHandler(), "https://as.example/token: the response, with status 404, has the Content-Type"},
		{"a redirect", http.RedirectHandler("/login", http.StatusFound), "status 302"},
		{"no JSON", answersTokens(200, "secret"), "no JSON object"},
		{"an object and more", answersTokens(200, good+"{}"), "no JSON object"},
		{"a list", answersTokens(200, "[]"), "no JSON object"},
		{"null", answersTokens(200, "null"), "no JSON object"},
		{"what may be stored", answersTokens(200, good, "Cache-Control", ""), "no-store"},
		{"what may be stored after a check", answersTokens(200, good, "Cache-Control", "no-cache"), "no-store"},
		{"another good status", answersTokens(201, good), "status 201"},
		{"an error with a good status", answersTokens(200, denied), "wants the status 400"},
		{"no access_token", answersTokens(200, `{"token_type":"Bearer"}`), "no access_token"},
		{"an empty access_token", answersTokens(200, `{"token_type":"Bearer","access_token":""}`), "no access_token"},
		{"no token_type", answersTokens(200, `{"access_token":"secret"}`), "no token_type"},
		{"an access_token that is no string", answersTokens(200, `{"access_token":7,"token_type":"Bearer"}`), "a member access_token that is no string"},
		{"a scope that is a list", answersTokens(200, strings.Replace(good, `"openid"`, `["openid"]`, 1)), "a member scope that is no string"},
		{"an expires_in that is a string", answersTokens(200, strings.Replace(good, "3600", `"3600"`, 1)), "expires_in that is no number"},
		{"an error without a code", answersTokens(400, `{"error_description":"secret"}`), "no error code"},
		{"an error code that is none", answersTokens(400, `{"error":"\""}`), "no error code"},
		{"a description beyond ASCII", answersTokens(400, `{"error":"invalid_grant","error_description":"é"}`), "an error_description"},
		{"a description that is no string", answersTokens(400, `{"error":"invalid_grant","error_description":1}`), "an error_description"},
		{"a refusal with another status", answersTokens(403, denied), "wants the status 400"},
		{"401 for another error", answersTokens(401, denied), "wants the status 400"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			client := wiki
			client.TokenEndpoint = "https://as.example/token"
			tokens, err := client.Start().Exchange(tt.h, "secret")
			if tt.wrong == "" && (err != nil || tokens["access_token"] != "secret" || tokens["expires_in"] != 3600.0) {
				t.Errorf("got %v, %v", tokens, err)
			}
			if tt.wrong != "" && (tokens != nil || err == nil || !strings.Contains(err.Error(), tt.wrong)) {
				t.Errorf("got %v, %v; want an error with %q", tokens, err, tt.wrong)
			}
			if _, refused := asAnswer(err); refused || err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error is for the client, or tells a secret: %v", err)
			}
		})
	}
}

func TestARefusalOfTheTokenEndpoint(t *testing.T) {
	client := wiki
	client.TokenEndpoint = "https://as.example/token"
	confidential := client
	confidential.Secret = "s"
	for _, tt := range []struct {
		rule   string
		client Client
		h      http.Handler
		want   *oautherr.Error // nil: it breaks the RFC
	}{
		{"a code and a description", client, answersTokens(400, `{"error":"invalid_grant","error_description":"Too late."}`),
			oautherr.InvalidGrant.With("Too late.")},
		{"a code alone", client, answersTokens(400, `{"error":"invalid_grant"}`, "Cache-Control", ""), oautherr.InvalidGrant.With("")},
		{"an unknown client", client, answersTokens(401, `{"error":"invalid_client"}`), oautherr.InvalidClient.With("")},
		{"a wrong secret", confidential, answersTokens(401, `{"error":"invalid_client"}`, "WWW-Authenticate", "Basic"), oautherr.InvalidClient.With("")},
		{"a wrong secret without a challenge", confidential, answersTokens(401, `{"error":"invalid_client"}`), nil},
		{"a server that is busy", client, answersTokens(503, `{"error":"temporarily_unavailable"}`, "Retry-After", "7"),
			&oautherr.Error{Code: oautherr.TemporarilyUnavailable, RetryAfter: 7 * time.Second}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			tokens, err := tt.client.Start().Exchange(tt.h, "c")
			got, _ := asAnswer(err)
			if diff := cmp.Diff(tt.want, got); diff != "" || tokens != nil || err == nil {
				t.Errorf("got %v, %v (-want +got):\n%s", tokens, err, diff)
			}
			if tt.want != nil && !errors.Is(err, tt.want.Code) {
				t.Errorf("errors.Is does not find %s in %v", tt.want.Code, err)
			}
		})
	}
}

func TestExchangeWithoutATokenEndpoint(t *testing.T) {
	client := wiki
	for address, want := range map[string]string{"": "TokenEndpoint is not set", "/token": "not an absolute URL", "https://as.example/%zz": "invalid URL escape"} {
		client.TokenEndpoint = address
		if tokens, err := client.Start().Exchange(http.NotFoundHandler(), "c"); tokens != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v", address, tokens, err)
		}
	}
}

func TestExchangeWithAServer(t *testing.T) {
	server := httptest.NewServer(answersTokens(200, `{"access_token":"a","token_type":"Bearer"}`))
	defer server.Close()
	to, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := wiki
	client.TokenEndpoint = server.URL + "/token"
	if tokens, err := client.Start().Exchange(httputil.NewSingleHostReverseProxy(to), "c"); err != nil || tokens["access_token"] != "a" {
		t.Errorf("got %v, %v", tokens, err)
	}
}
