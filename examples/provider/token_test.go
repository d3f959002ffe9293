package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
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

// The rules of the endpoint are tested in its package; these need the provider's file and store.
func TestTokenErrors(t *testing.T) {
	for rule, test := range map[string]struct {
		client func(*http.Request)
		form   url.Values
		status int
		code   string
	}{
		"wrong secret":          {basic("own", "wrong"), nil, 401, "invalid_client"},
		"no secret":             {basic("own", ""), nil, 401, "invalid_client"},
		"secret of another":     {basic("own", "off-secret"), nil, 401, "invalid_client"},
		"public, with a secret": {basic("app", "x"), nil, 401, "invalid_client"},
		"unknown client":        {basic("who", "own-secret"), nil, 401, "invalid_client"},
		"disabled client":       {basic("off", "off-secret"), nil, 401, "invalid_client"},
		"another client":        {basic("app", ""), nil, 400, "invalid_grant"},
		"another redirect_uri":  {own, url.Values{"redirect_uri": {"https://own.example/cb2"}}, 400, "invalid_grant"},
		"another grant_type":    {own, url.Values{"grant_type": {"password"}}, 400, "unsupported_grant_type"},
	} {
		t.Run(rule, func(t *testing.T) {
			p := newProvider(t)
			p.signInAs("alice")
			flow, code := p.authorizeOwn()
			form := grant(flow, code)
			maps.Copy(form, test.form)
			a := p.tokenRequest(form, test.client)
			if a.status != test.status || a.json["error"] != test.code {
				t.Errorf("got %d %v, want %d %s", a.status, a.json, test.status, test.code)
			}
			p.redeem(flow, code) // a refused request does not use up the code
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
	form := grant(flow, code)
	form.Set("code_verifier", strings.Repeat("x", 43))
	if a := p.tokenRequest(form, own); a.json["error"] != "invalid_grant" {
		t.Fatalf("got %d %v, want invalid_grant", a.status, a.json)
	}
	if a := p.userinfoWith(token); a.status != 200 {
		t.Fatalf("a code without its verifier ended the token: %d", a.status)
	}

	if a := p.tokenRequest(grant(flow, code), own); a.status != 400 || a.json["error"] != "invalid_grant" {
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
	if a := p.tokenRequest(grant(flow, code), own); a.json["error"] != "invalid_grant" {
		t.Errorf("got %d %v, want invalid_grant", a.status, a.json)
	}
}

// offline signs alice in and returns the tokens of a code with offline access.
func (p *provider) offline(scope string) (flow *authorizetest.Flow, code string, first answer) {
	p.t.Helper()
	p.signInAs("alice")
	flow, code = p.authorizeOwn(url.Values{"scope": {scope}})
	return flow, code, p.redeem(flow, code)
}

// refresh sends the refresh token of a response, with changes to the form.
func (p *provider) refresh(from answer, changes ...url.Values) answer {
	p.t.Helper()
	token, _ := from.json["refresh_token"].(string)
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	for _, change := range changes {
		maps.Copy(form, change)
	}
	return p.tokenRequest(form, own)
}

// refreshed fails the test unless there are new tokens, both other than before.
func (p *provider) refreshed(from answer, changes ...url.Values) answer {
	p.t.Helper()
	a := p.refresh(from, changes...)
	p.good(a, true)
	for _, name := range []string{"access_token", "refresh_token"} {
		if a.json[name] == nil || a.json[name] == from.json[name] {
			p.t.Fatalf("%s is %v: %v", name, a.json[name], a.json)
		}
	}
	return a
}

// refused fails the test unless the token endpoint answers with the error.
func (p *provider) refused(a answer, code string) {
	p.t.Helper()
	if a.json["error"] != code || a.json["access_token"] != nil {
		p.t.Errorf("got %d %v, want %s", a.status, a.json, code)
	}
}

// good fails the test unless the access token of a response is good, or is not.
func (p *provider) good(a answer, want bool) {
	p.t.Helper()
	token, _ := a.json["access_token"].(string)
	if got := p.userinfoWith("Bearer "+token).status == http.StatusOK; got != want {
		p.t.Errorf("the access token of %v is good: %v", a.json, got)
	}
}

func TestWhoGetsARefreshToken(t *testing.T) {
	for _, c := range []struct {
		rule, client, scope string
		want                bool
	}{
		{"offline_access, with consent", "web", "openid offline_access", true},
		{"without it", "web", "openid email", false},
		{"offline_access without openid", "web", "email offline_access", true},
		{"a public client, about which the user is asked each time", "app", "openid offline_access", true},
		{"a client that needs no consent", "own", "openid offline_access", true},
	} {
		t.Run(c.rule, func(t *testing.T) {
			p := newProvider(t)
			p.signInAs("alice")
			flow := p.client(c.client).Start(url.Values{"scope": {c.scope}})
			page, err := p.browser.Open(flow.URL)
			if err == nil && !page.Left {
				page, err = page.Submit(nil, "allow")
			}
			a := p.redeem(flow, p.expect(flow, nil)(page, err))
			token, got := a.json["refresh_token"].(string)
			if got != c.want || a.json["scope"] != c.scope {
				t.Fatalf("the tokens are %v", a.json)
			}
			next := p.tokenRequest(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}, auth[c.client])
			if (next.status == http.StatusOK) != c.want {
				t.Errorf("refreshed: %d %v", next.status, next.json)
			}
		})
	}
}

func TestRefreshTokensRotate(t *testing.T) {
	p := newProvider(t)
	_, _, first := p.offline("openid email offline_access")
	last := first
	for range 3 {
		p.clock = p.clock.Add(refreshTokenLifetime - time.Second)
		last = p.refreshed(last)
		p.good(first, false)
		if last.json["expires_in"] != 3600.0 || last.json["scope"] != "openid email offline_access" || last.json["id_token"] != nil {
			t.Errorf("the tokens are %v", last.json)
		}
	}
	p.clock = p.clock.Add(refreshTokenLifetime)
	p.refused(p.refresh(last), "invalid_grant") // at its end
}

// Several processes share a token, and each can go on with its own next one.
func TestAUsedRefreshTokenHasAGrace(t *testing.T) {
	p := newProvider(t)
	_, _, other := p.offline("openid offline_access")
	_, _, first := p.offline("openid offline_access")
	one := p.refreshed(first)
	p.clock = p.clock.Add(refreshGrace - time.Millisecond)
	two := p.refreshed(first)
	p.refreshed(one)
	p.refreshed(two)
	p.good(first, true)

	p.clock = p.clock.Add(time.Millisecond) // a second use does not make it longer
	p.refused(p.refresh(first, url.Values{"scope": {"more"}}), "invalid_grant")
	for _, a := range []answer{first, one, two} {
		p.good(a, false)
		p.refused(p.refresh(a), "invalid_grant")
	}
	p.refreshed(other)
}

// A refusal for any of these reasons leaves the token as it is.
func TestRefreshTokensThatAreRefused(t *testing.T) {
	p := newProvider(t)
	_, _, first := p.offline("openid offline_access")
	token := first.json["refresh_token"].(string)
	grantID, _, _ := strings.Cut(token, separator)
	for _, c := range []struct {
		rule   string
		change url.Values
		want   string
	}{
		{"none", url.Values{"refresh_token": {""}}, "invalid_request"},
		{"made up", url.Values{"refresh_token": {"token"}}, "invalid_grant"},
		{"made up for a GrantID from the log", url.Values{"refresh_token": {grantID + separator + "x" + separator + "y"}}, "invalid_grant"},
		{"its beginning", url.Values{"refresh_token": {prefixOf(token)}}, "invalid_grant"},
		{"an access token", url.Values{"refresh_token": {first.json["access_token"].(string)}}, "invalid_grant"},
		{"a scope that was not granted", url.Values{"scope": {"openid email"}}, "invalid_scope"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			p := p.in(t)
			p.refused(p.refresh(first, c.change), c.want)
			p.good(first, true)
		})
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	t.Run("another client", func(t *testing.T) { p.in(t).refused(p.tokenRequest(form, auth["web"]), "invalid_grant") })
	t.Run("as an access token", func(t *testing.T) {
		if a := p.in(t).userinfoWith("Bearer " + token); a.status != http.StatusUnauthorized {
			t.Errorf("status %d", a.status)
		}
	})
	p.clock = p.clock.Add(2 * refreshGrace)
	p.refreshed(first)
}

// A client may ask for less, and the next time for all again (RFC 6749 §6).
func TestRefreshForFewerScopes(t *testing.T) {
	p := newProvider(t)
	_, _, first := p.offline("openid email offline_access")
	less := p.refreshed(first, url.Values{"scope": {"openid openid"}})
	if user := p.userinfoWith("Bearer " + less.json["access_token"].(string)); less.json["scope"] != "openid" || user.json["email"] != nil {
		t.Errorf("the scope is %v, userinfo %v", less.json["scope"], user.json)
	}
	if all := p.refreshed(less); all.json["scope"] != first.json["scope"] {
		t.Errorf("the scope stays %v", all.json["scope"])
	}
}

func TestRefreshForFewerResources(t *testing.T) {
	const files, notes = "https://files.example", "https://notes.example"
	for _, c := range []struct {
		rule           string
		granted, named []string
		want           any
	}{
		{"one of two", []string{files, notes}, []string{notes + "/"}, nil},
		{"one that was not granted", []string{files}, []string{files, notes}, "invalid_target"},
		{"any, at an endpoint that knows none", nil, []string{notes}, nil},
	} {
		t.Run(c.rule, func(t *testing.T) {
			p := newProvider(t)
			first, err := p.tokens.issue(&authorize.Code{
				GrantID: "1", ClientID: "own", Subject: "alice", Scopes: []string{"offline_access"}, GrantedResources: c.granted,
			}, false)
			if err != nil {
				t.Fatal(err)
			}
			form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first.RefreshToken}, "resource": c.named}
			if a := p.tokenRequest(form, own); a.json["error"] != c.want {
				t.Errorf("got %d %v, want %v", a.status, a.json, c.want)
			}
		})
	}
}

func TestWhatEndsRefreshTokens(t *testing.T) {
	for _, c := range []struct {
		rule   string
		change func(p *provider, flow *authorizetest.Flow, code string)
		want   string // empty: nothing ends
	}{
		{"the user signs out", func(p *provider, _ *authorizetest.Flow, _ string) {
			page := p.page(p.browser.Open(p.origin + "/logout"))("Sign out")
			p.page(page.Submit(nil))("You are not signed in")
		}, ""},
		{"the user revokes the consent", func(p *provider, _ *authorizetest.Flow, _ string) {
			p.store.DeleteConsent(p.t.Context(), "alice", "web")
		}, "invalid_grant"},
		{"the user agrees to less", func(p *provider, _ *authorizetest.Flow, _ string) {
			p.store.SaveConsent(p.t.Context(), &authorize.ConsentRecord{Subject: "alice", ClientID: "web", Scopes: []string{"openid"}})
		}, "invalid_grant"},
		{"the user is gone", func(p *provider, _ *authorizetest.Flow, _ string) { delete(p.users, "alice") }, "invalid_grant"},
		{"the client is gone", func(p *provider, _ *authorizetest.Flow, _ string) { p.store.DeleteClient("web") }, "invalid_client"},
		{"the code comes again", func(p *provider, flow *authorizetest.Flow, code string) {
			p.refused(p.tokenRequest(grant(flow, code), auth["web"]), "invalid_grant")
		}, "invalid_grant"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			p := newProvider(t)
			p.signInAs("alice")
			flow, consent := p.begins("web", "Allow access?", url.Values{"scope": {"openid offline_access"}})
			code := p.expect(flow, nil)(consent.Submit(nil, "allow"))
			first := p.redeem(flow, code)
			c.change(p, flow, code)
			form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first.json["refresh_token"].(string)}}
			a := p.tokenRequest(form, auth["web"])
			if got, _ := a.json["error"].(string); got != c.want {
				t.Errorf("got %d %v, want %q", a.status, a.json, c.want)
			}
			p.good(first, c.want != "invalid_grant") // all that came of the code ends
		})
	}
}

// A replay can come before the redemption of its code is complete.
func TestAReplayCanOvertake(t *testing.T) {
	tokens := newTokens(time.Now)
	tokens.revoke("overtaken")
	if _, err := tokens.issue(&authorize.Code{GrantID: "overtaken"}, false); !errors.Is(err, oautherr.InvalidGrant) {
		t.Errorf("got %v, want invalid_grant", err)
	}
}

func TestTokensAreBounded(t *testing.T) {
	now := time.Now()
	tokens := newTokens(func() time.Time { return now })
	tokens.max = 1
	code := &authorize.Code{GrantID: "one", ClientID: "own", Scopes: []string{"offline_access"}}
	first, err := tokens.issue(code, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.issue(&authorize.Code{GrantID: "two"}, false); !errors.Is(err, oautherr.TemporarilyUnavailable) {
		t.Errorf("full: got %v, want temporarily_unavailable", err)
	}
	tokens.revoke("three") // there is no room, and it must not make more

	// In one family, the oldest tokens give way.
	last := first
	for range maxInFamily {
		if last, err = tokens.rotate(last.RefreshToken, "own", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	one := tokens.families["one"]
	if len(tokens.families) != 1 || len(one.access) != maxInFamily || len(one.refresh) != maxInFamily {
		t.Errorf("%d families, %d and %d tokens are kept", len(tokens.families), len(one.access), len(one.refresh))
	}
	if found, _ := tokens.find(first.AccessToken); found != nil {
		t.Error("the oldest access token is found")
	}
	if found, _ := tokens.find(last.AccessToken); found != code {
		t.Error("the last access token is not found")
	}

	now = now.Add(refreshTokenLifetime)
	if _, err := tokens.issue(&authorize.Code{GrantID: "two"}, false); err != nil {
		t.Errorf("what has expired makes no room: %v", err)
	}
	if len(tokens.families) != 1 {
		t.Errorf("%d families are kept, want 1", len(tokens.families))
	}
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
	modulus, err := base64.RawURLEncoding.DecodeString(rfc7638Modulus)
	if err != nil {
		t.Fatal(err)
	}
	known := newSigningKey(&rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: 65537}})
	if known.id != "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" {
		t.Errorf("the thumbprint is %s", known.id)
	}
}

const rfc7638Modulus = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
