package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	oautherr "github.com/usher-auth/usher/errors"
)

func mustJSON(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return text
}

func (p *provider) get(path string) answer {
	p.t.Helper()
	return p.call(httptest.NewRequest(http.MethodGet, p.origin+path, nil))
}

func TestTokenErrors(t *testing.T) {
	set := func(values ...string) func(url.Values) {
		return func(form url.Values) {
			for i := 0; i < len(values); i += 2 {
				form.Set(values[i], values[i+1])
			}
		}
	}
	same := func(url.Values) {}
	anyone := func(*http.Request) {}
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	twice := func(form url.Values) { form.Add("code", "another") }
	for name, test := range map[string]struct {
		form   func(url.Values)
		auth   func(*http.Request)
		status int
		code   string
	}{
		"no client":                      {same, anyone, 401, "invalid_client"},
		"unknown client":                 {same, basic("who", "own-secret"), 401, "invalid_client"},
		"wrong secret":                   {same, basic("own", "wrong"), 401, "invalid_client"},
		"empty secret":                   {same, basic("own", ""), 401, "invalid_client"},
		"no secret":                      {set("client_id", "own"), anyone, 401, "invalid_client"},
		"wrong secret in the body":       {set("client_id", "own", "client_secret", "wrong"), anyone, 401, "invalid_client"},
		"public client with a secret":    {set("client_id", "app", "client_secret", "x"), anyone, 401, "invalid_client"},
		"public client, secret in Basic": {same, basic("app", "x"), 401, "invalid_client"},
		"client switched off":            {same, basic("off", "off-secret"), 401, "invalid_client"},
		"another scheme":                 {same, header("Authorization", "Bearer abc"), 401, "invalid_client"},
		"Basic twice":                    {same, func(r *http.Request) { own(r); r.Header.Add("Authorization", r.Header.Get("Authorization")) }, 400, "invalid_request"},
		"Basic that is no base64":        {same, header("Authorization", "Basic ???"), 401, "invalid_client"},
		"Basic with a broken escape":     {same, func(r *http.Request) { r.SetBasicAuth("own", "%zz") }, 401, "invalid_client"},
		"two clients":                    {set("client_id", "web"), own, 400, "invalid_request"},
		"two ways":                       {set("client_secret", "own-secret"), own, 400, "invalid_request"},
		"no grant_type":                  {set("grant_type", ""), own, 400, "invalid_request"},
		"another grant_type":             {set("grant_type", "password"), own, 400, "unsupported_grant_type"},
		"no code":                        {set("code", ""), own, 400, "invalid_request"},
		"a parameter twice":              {twice, own, 400, "invalid_request"},
		"another media type":             {same, both(own, header("Content-Type", "application/json")), 400, "invalid_request"},
		"no media type":                  {same, both(own, header("Content-Type", "")), 400, "invalid_request"},
		"code of another client":         {set("client_id", "app"), anyone, 400, "invalid_grant"},
		"another redirect_uri":           {set("redirect_uri", "https://own.example/cb2"), own, 400, "invalid_grant"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			p.signInAs("alice")
			flow, code := p.authorizeOwn()
			form := codeGrant(flow, code)
			test.form(form)
			a := p.tokenRequest(form, test.auth)
			if a.status != test.status || a.json["error"] != test.code || a.json["error_description"] == "" {
				t.Errorf("got %d %v, want %d %s", a.status, a.json, test.status, test.code)
			}
			if text, _ := a.json["error_description"].(string); test.code != "invalid_client" && strings.Contains(text, "wrong secret") {
				t.Errorf("the client reads %q", text)
			}
			if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("headers are %v", a.header)
			}
			if challenged := strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Basic "); challenged != (a.status == 401) {
				t.Errorf("WWW-Authenticate is %q", a.header.Get("WWW-Authenticate"))
			}
			p.redeem(flow, code) // a refused request does not use up the code
		})
	}
}

func both(a, b func(*http.Request)) func(*http.Request) {
	return func(r *http.Request) { a(r); b(r) }
}

func TestTokenRequestIsReadStrictly(t *testing.T) {
	for name, body := range map[string]string{
		"broken escape": "grant_type=authorization_code&code=%zz",
		"semicolon":     "grant_type=authorization_code;code=x",
		"too long":      "code=" + strings.Repeat("x", maxForm),
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			r := httptest.NewRequest(http.MethodPost, testIssuer+"/token", strings.NewReader(body))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			own(r)
			if a := p.call(r); a.status != 400 || a.json["error"] != "invalid_request" {
				t.Errorf("got %d %v, want 400 invalid_request", a.status, a.json)
			}
		})
	}
}

// Adapters of function platforms call handlers without an http.Server. Then the body may be
// nil.
func TestFormsWithoutABody(t *testing.T) {
	for path, status := range map[string]int{"/token": 401, "/login": 400, "/consent": 400} {
		t.Run(path, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, testIssuer+path, nil)
			r.Body = nil
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if a := newProvider(t).call(r); a.status != status {
				t.Errorf("status %d, want %d", a.status, status)
			}
		})
	}
}

// All ways in which a client may authenticate, and what it may send with each.
func TestClientAuthentication(t *testing.T) {
	for name, test := range map[string]struct {
		client, redirect string
		form             url.Values
		auth             func(*http.Request)
	}{
		"client_secret_basic":           {client: "own", auth: own},
		"client_secret_basic, named":    {client: "own", auth: own, form: url.Values{"client_id": {"own"}}},
		"client_secret_post":            {client: "own", form: url.Values{"client_id": {"own"}, "client_secret": {"own-secret"}}},
		"none":                          {client: "app", form: url.Values{"client_id": {"app"}}},
		"none with an empty secret":     {client: "app", form: url.Values{"client_id": {"app"}, "client_secret": {""}}},
		"Basic with an empty secret":    {client: "app", auth: basic("app", "")},
		"resource more than once":       {client: "own", auth: own, form: url.Values{"resource": {"https://a", "https://b"}}},
		"a parameter that is not known": {client: "own", auth: own, form: url.Values{"x": {"y"}}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			p.signInAs("alice")
			flow := p.client(test.client).Start()
			page, err := p.browser.Open(flow.URL)
			if err == nil && !page.Left {
				page, err = page.Submit(nil, "allow")
			}
			form := codeGrant(flow, p.expect(flow, nil)(page, err))
			for parameter, values := range test.form {
				form[parameter] = values
			}
			auth := test.auth
			if auth == nil {
				auth = func(*http.Request) {}
			}
			if a := p.tokenRequest(form, auth); a.status != 200 {
				t.Errorf("got %d %v, want tokens", a.status, a.json)
			}
		})
	}
}

func TestTokenWithoutOpenID(t *testing.T) {
	p := newProvider(t)
	p.signInAs("alice")
	flow, code := p.authorizeOwn(url.Values{"scope": {"email"}})
	a := p.redeem(flow, code)
	if _, there := a.json["id_token"]; there || a.json["scope"] != "email" {
		t.Errorf("the answer is %v, want no ID token", a.json)
	}
	user := p.userinfoWith("Bearer " + a.json["access_token"].(string))
	if user.status != 403 || !strings.Contains(user.header.Get("WWW-Authenticate"), "insufficient_scope") {
		t.Errorf("userinfo: %d %v", user.status, user.header)
	}
}

func TestReplayRevokesTheTokens(t *testing.T) {
	p := newProvider(t)
	p.signInAs("alice")
	flow, code := p.authorizeOwn()
	token := "Bearer " + p.redeem(flow, code).json["access_token"].(string)
	otherFlow, otherCode := p.authorizeOwn()
	other := "Bearer " + p.redeem(otherFlow, otherCode).json["access_token"].(string)

	// Without the verifier it is no replay. Otherwise anybody who saw the code could revoke the token.
	form := codeGrant(flow, code)
	form.Set("code_verifier", strings.Repeat("x", 43))
	if a := p.tokenRequest(form, own); a.json["error"] != "invalid_grant" {
		t.Fatalf("got %d %v, want invalid_grant", a.status, a.json)
	}
	if a := p.userinfoWith(token); a.status != 200 {
		t.Fatalf("a code without its verifier ended the token: %d", a.status)
	}

	if a := p.tokenRequest(codeGrant(flow, code), own); a.status != 400 || a.json["error"] != "invalid_grant" {
		t.Fatalf("replay: got %d %v, want invalid_grant", a.status, a.json)
	}
	if a := p.userinfoWith(token); a.status != 401 {
		t.Errorf("the token still works after the replay: %d", a.status)
	}
	if a := p.userinfoWith(other); a.status != 200 {
		t.Errorf("the token of another code was revoked too: %d", a.status)
	}
}

func TestCodeExpires(t *testing.T) {
	p := newProvider(t)
	p.signInAs("alice")
	flow, code := p.authorizeOwn()
	p.clock = p.clock.Add(29 * time.Second)
	p.redeem(flow, code)
	flow, code = p.authorizeOwn()
	p.clock = p.clock.Add(30 * time.Second)
	if a := p.tokenRequest(codeGrant(flow, code), own); a.json["error"] != "invalid_grant" {
		t.Errorf("got %d %v, want invalid_grant", a.status, a.json)
	}
}

func TestTokensAreBounded(t *testing.T) {
	now := time.Now()
	tokens := newTokenStore(func() time.Time { return now })
	tokens.max = 4

	// A replay can come before the redemption of its code is complete.
	tokens.end("overtaken")
	if _, _, err := tokens.issue(grant{id: "overtaken"}, nil, false); !errors.Is(err, oautherr.InvalidGrant) {
		t.Errorf("overtaken: got %v, want invalid_grant", err)
	}

	access, _, err := tokens.issue(grant{id: "one", subject: "alice"}, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := tokens.find(access); !ok || got.subject != "alice" {
		t.Errorf("found %v, %v", got, ok)
	}
	if _, ok := tokens.find(access + "x"); ok {
		t.Error("another token is found")
	}
	if _, _, err := tokens.issue(grant{id: "two"}, nil, false); !errors.Is(err, oautherr.TemporarilyUnavailable) {
		t.Errorf("full: got %v, want temporarily_unavailable", err)
	}
	tokens.end("three")
	tokens.end("four") // there is no room, and it must not make more
	if len(tokens.grants) != 3 {
		t.Errorf("%d are kept, want 3", len(tokens.grants))
	}

	now = now.Add(accessTokenLifetime)
	if _, ok := tokens.find(access); ok {
		t.Error("the token is found after its time")
	}
	if _, _, err := tokens.issue(grant{id: "two"}, nil, false); err != nil {
		t.Errorf("what has expired makes no room: %v", err)
	}
	if len(tokens.grants) != 1 || len(tokens.tokens) != 1 {
		t.Errorf("%d and %d are kept, want 1 and 1", len(tokens.grants), len(tokens.tokens))
	}
}

// offline signs alice in for the client own and returns her refresh token.
func (p *provider) offline(scope string) string {
	p.t.Helper()
	p.signInAs("alice")
	flow, code := p.authorizeOwn(url.Values{"scope": {scope}})
	a := p.redeem(flow, code)
	refresh, _ := a.json["refresh_token"].(string)
	if refresh == "" {
		p.t.Fatalf("no refresh token: %v", a.json)
	}
	return refresh
}

func (p *provider) refresh(token string, auth func(*http.Request), more ...string) answer {
	p.t.Helper()
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return p.tokenRequest(form, auth)
}

func TestRefreshTokens(t *testing.T) {
	const scope = "openid email offline_access"
	for _, c := range []struct {
		rule string
		do   func(p *provider, first string) answer
		want string // error, or the scope of the new tokens
	}{
		{"gives new tokens for the same scopes", func(p *provider, first string) answer { return p.refresh(first, own) }, scope},
		{"for fewer scopes", func(p *provider, first string) answer { return p.refresh(first, own, "scope", "email") }, "email"},
		{"for more scopes", func(p *provider, first string) answer { return p.refresh(first, own, "scope", "email profile") }, "invalid_scope"},
		{"for a resource that was not granted", func(p *provider, first string) answer {
			return p.refresh(first, own, "resource", "https://api.example/")
		}, "invalid_target"},
		{"a refusal does not use it up", func(p *provider, first string) answer {
			p.refresh(first, own, "scope", "profile")
			p.clock = p.clock.Add(time.Hour)
			return p.refresh(first, own)
		}, scope},
		{"of another client", func(p *provider, first string) answer { return p.refresh(first, auth["web"]) }, "invalid_grant"},
		{"an access token", func(p *provider, _ string) answer {
			flow, code := p.authorizeOwn(url.Values{"scope": {"openid"}})
			return p.refresh(p.redeem(flow, code).json["access_token"].(string), own)
		}, "invalid_grant"},
		{"that nobody knows", func(p *provider, _ string) answer { return p.refresh("x", own) }, "invalid_grant"},
		{"that is missing", func(p *provider, _ string) answer { return p.refresh("", own) }, "invalid_grant"},
		{"after its time", func(p *provider, first string) answer {
			p.clock = p.clock.Add(refreshTokenLifetime)
			return p.refresh(first, own)
		}, "invalid_grant"},
		{"used again by another process of the client", func(p *provider, first string) answer {
			p.refresh(first, own)
			p.clock = p.clock.Add(refreshGrace)
			return p.refresh(first, own)
		}, scope},
		{"used again later", func(p *provider, first string) answer {
			p.refresh(first, own)
			p.clock = p.clock.Add(refreshGrace + time.Millisecond)
			return p.refresh(first, own)
		}, "invalid_grant"},
		{"the next one, once the first has come back late", func(p *provider, first string) answer {
			next := p.refresh(first, own).json["refresh_token"].(string)
			p.clock = p.clock.Add(refreshGrace + time.Millisecond)
			p.refresh(first, own)
			return p.refresh(next, own)
		}, "invalid_grant"},
		{"the next one", func(p *provider, first string) answer {
			return p.refresh(p.refresh(first, own).json["refresh_token"].(string), own)
		}, scope},
		{"of a user who is gone", func(p *provider, first string) answer {
			delete(p.server.users, "alice")
			return p.refresh(first, own)
		}, "invalid_grant"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			p := newProvider(t)
			a := c.do(p, p.offline(scope))
			got, _ := a.json["error"].(string)
			if a.status == 200 {
				got, _ = a.json["scope"].(string)
			}
			if got != c.want {
				t.Errorf("got %q, want %q: %v", got, c.want, a.json)
			}
			access, _ := a.json["access_token"].(string)
			if _, ok := p.server.tokens.find(access); ok != (a.status == 200) {
				t.Errorf("the access token is known: %t", ok)
			}
		})
	}
	t.Run("a code that comes twice ends them", func(t *testing.T) {
		p := newProvider(t)
		p.signInAs("alice")
		flow, code := p.authorizeOwn(url.Values{"scope": {scope}})
		first := p.redeem(flow, code).json["refresh_token"].(string)
		p.tokenRequest(codeGrant(flow, code), own)
		if a := p.refresh(first, own); a.json["error"] != "invalid_grant" {
			t.Errorf("got %v", a.json)
		}
	})
	t.Run("without offline_access there is none", func(t *testing.T) {
		p := newProvider(t)
		p.signInAs("alice")
		flow, code := p.authorizeOwn(url.Values{"scope": {"openid"}})
		if a := p.redeem(flow, code); a.json["refresh_token"] != nil {
			t.Errorf("got %v", a.json)
		}
	})
}

func TestUserinfo(t *testing.T) {
	p := newProvider(t)
	p.signInAs("alice")
	flow, code := p.authorizeOwn()
	token := p.redeem(flow, code).json["access_token"].(string)
	for name, test := range map[string]struct {
		authorization string
		status        int
		challenge     string
	}{
		"the token":        {"Bearer " + token, 200, ""},
		"in lower case":    {"bearer " + token, 200, ""},
		"nothing":          {"", 401, `Bearer realm="userinfo"`},
		"another scheme":   {"Basic " + token, 401, `Bearer realm="userinfo"`},
		"an empty token":   {"Bearer ", 401, `Bearer realm="userinfo"`},
		"an unknown token": {"Bearer x" + token, 401, `Bearer realm="userinfo", error="invalid_token"`},
	} {
		t.Run(name, func(t *testing.T) {
			a := p.userinfoWith(test.authorization)
			if a.status != test.status || a.header.Get("WWW-Authenticate") != test.challenge {
				t.Errorf("got %d %q, want %d %q", a.status, a.header.Get("WWW-Authenticate"), test.status, test.challenge)
			}
			if (a.status == 200) != (a.json["sub"] == "alice") || a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("got %v %v", a.json, a.header)
			}
		})
	}
	r := httptest.NewRequest(http.MethodPost, testIssuer+"/userinfo", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	if a := p.call(r); a.status != 200 || a.json["sub"] != "alice" {
		t.Errorf("POST: got %d %v", a.status, a.json)
	}
	r.Header.Add("Authorization", "Bearer "+token)
	if a := p.call(r); a.status != 401 {
		t.Errorf("two headers: got %d, want 401", a.status)
	}
	p.clock = p.clock.Add(accessTokenLifetime)
	if a := p.userinfoWith("Bearer " + token); a.status != 401 {
		t.Errorf("after its time: got %d", a.status)
	}
}

func TestIDTokenHintHasToBeOurs(t *testing.T) {
	p := newProvider(t)
	sign := func(key *signingKey, claims map[string]any) string {
		token, err := key.sign(claims)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	good := sign(p.key, map[string]any{"iss": testIssuer, "sub": "alice", "exp": 1})
	if subject, err := p.verifyHint(context.Background(), good); err != nil || subject != "alice" {
		t.Fatalf("an expired ID token of ours: got %q, %v", subject, err)
	}
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	otherKey := newSigningKey(stranger)
	otherKey.id = p.key.id
	parts := strings.Split(good, ".")
	// signed returns a JWT with a valid signature and any header.
	signed := func(header string) string {
		text := encode([]byte(header)) + "." + parts[1]
		sum := sha256.Sum256([]byte(text))
		signature, err := rsa.SignPKCS1v15(rand.Reader, testKey(), crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return text + "." + encode(signature)
	}
	none := encode([]byte(`{"alg":"none","kid":"` + p.key.id + `"}`))
	hmac := encode([]byte(`{"alg":"HS256","kid":"` + p.key.id + `"}`))
	for name, token := range map[string]string{
		"empty":             "",
		"not a JWT":         "abc",
		"two parts":         parts[0] + "." + parts[1],
		"no signature":      parts[0] + "." + parts[1] + ".",
		"alg none":          none + "." + parts[1] + ".",
		"alg HS256":         hmac + "." + parts[1] + "." + parts[2],
		"another alg":       signed(`{"alg":"RS512","kid":"` + p.key.id + `"}`),
		"another kid":       signed(`{"alg":"RS256","kid":"x"}`),
		"other claims":      parts[0] + "." + encode([]byte(`{"iss":"`+testIssuer+`","sub":"bob"}`)) + "." + parts[2],
		"other key":         sign(otherKey, map[string]any{"iss": testIssuer, "sub": "alice"}),
		"other issuer":      sign(p.key, map[string]any{"iss": "https://other.example", "sub": "alice"}),
		"damaged header":    "e30x." + parts[1] + "." + parts[2],
		"damaged signature": good + "=",
	} {
		t.Run(name, func(t *testing.T) {
			if subject, err := p.verifyHint(context.Background(), token); err == nil {
				t.Errorf("taken as one for %q", subject)
			}
		})
	}
}

// The published key is the signing key: a client makes it from the two numbers.
func TestJWKS(t *testing.T) {
	p := newProvider(t)
	a := p.get("/jwks")
	keys, _ := a.json["keys"].([]any)
	if len(keys) != 1 {
		t.Fatalf("there are %d keys: %v", len(keys), a.json)
	}
	key := keys[0].(map[string]any)
	want := map[string]any{"alg": "RS256", "e": "AQAB", "kid": p.key.id, "kty": "RSA", "n": encode(p.key.private.N.Bytes()), "use": "sig"}
	if !bytes.Equal(mustJSON(key), mustJSON(want)) {
		t.Errorf("the key is %v, want %v", key, want)
	}
	// RFC 7638 §3.1 has the thumbprint of a known key.
	thumbprint := mustJSON(jwk{Type: "RSA", Exponent: "AQAB", Modulus: rfc7638Modulus})
	if got := hash(string(thumbprint)); got != "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" {
		t.Errorf("the thumbprint is %s", got)
	}
}

const rfc7638Modulus = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
