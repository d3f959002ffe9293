package main

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// forger makes tokens with one error each.
type forger struct {
	site    *site
	key     signingKey
	good    string
	profile string
}

func newForger(t *testing.T) *forger {
	t.Helper()
	f := &forger{site: newSite(t)}
	f.key = f.site.server.tokens.keys[0]
	f.good, f.profile = f.site.token(f.site.code(params()))
	return f
}

// with changes the text of the claims and signs them with the server's key.
func (f *forger) with(old, new string) string {
	f.site.t.Helper()
	body := f.claims()
	if !strings.Contains(body, old) {
		f.site.t.Fatalf("%s has no %s", body, old)
	}
	return f.key.sign([]byte(strings.Replace(body, old, new, 1)))
}

func (f *forger) claims() string {
	return f.text(strings.Split(f.good, ".")[1])
}

func (f *forger) header() string { return f.text(f.key.header) }

func (f *forger) text(part string) string {
	text, err := decode(part)
	if err != nil {
		f.site.t.Fatal(err)
	}
	return string(text)
}

// headed gives the token another header, and signs it with the server's key.
func (f *forger) headed(change func(header map[string]any)) string {
	header := map[string]any{}
	if err := json.Unmarshal([]byte(f.header()), &header); err != nil {
		f.site.t.Fatal(err)
	}
	change(header)
	text, err := json.Marshal(header)
	if err != nil {
		f.site.t.Fatal(err)
	}
	return f.key.under(string(text), f.claims())
}

func (k signingKey) under(header, body string) string {
	return signingKey{encode([]byte(header)), k.private}.sign([]byte(body))
}

// bySecret signs with HS256 and the public key as its secret.
func (f *forger) bySecret() string {
	header := strings.Replace(f.header(), "EdDSA", "HS256", 1)
	signed := encode([]byte(header)) + "." + encode([]byte(f.claims()))
	mac := hmac.New(sha256.New, f.key.private.Public().(ed25519.PublicKey))
	mac.Write([]byte(signed))
	return signed + "." + encode(mac.Sum(nil))
}

// bad are invalid tokens, each by its error.
func (f *forger) bad() map[string]string {
	_, stranger, err := ed25519.GenerateKey(nil)
	if err != nil {
		f.site.t.Fatal(err)
	}
	head, body, signature := f.key.header, strings.Split(f.good, ".")[1], strings.Split(f.good, ".")[2]
	none := encode([]byte(strings.Replace(f.header(), "EdDSA", "none", 1)))
	bad := map[string]string{
		"empty":                          "",
		"no JWT":                         "token",
		"two parts":                      head + "." + body,
		"two parts and a point":          head + "." + body + ".",
		"four parts":                     f.good + "." + signature,
		"five parts":                     f.good + "..",
		"a point before it":              "." + f.good,
		"with a scheme":                  "Bearer " + f.good,
		"an empty signature":             head + "." + body + ".AA",
		"the signature of another token": head + "." + body + "." + strings.Split(f.with("iat", "tai"), ".")[2],
		"a signature of zeros":           head + "." + body + "." + encode(make([]byte, ed25519.SignatureSize)),
		"a signature with padding":       f.good + "==",
		"loose bits in the signature":    f.good[:len(f.good)-1] + string(f.good[len(f.good)-1]+1),
		"claims changed after signing":   head + "." + encode([]byte(strings.Replace(f.claims(), f.profile, "victim", 1))) + "." + signature,
		"another key, the same header":   signingKey{head, stranger}.sign([]byte(f.claims())),
		"another key with its own name":  newTokens(base, f.site.server.profiles.now, stranger).keys[0].sign([]byte(f.claims())),
		"alg none":                       none + "." + body + ".",
		"alg none with a signature":      none + "." + body + "." + signature,
		"HS256 with the public key":      f.bySecret(),
		"another alg":                    f.headed(func(h map[string]any) { h["alg"] = "ES256" }),
		"alg in another case":            f.headed(func(h map[string]any) { h["alg"] = "eddsa" }),
		"no alg":                         f.headed(func(h map[string]any) { delete(h, "alg") }),
		"another kid":                    f.headed(func(h map[string]any) { h["kid"] = "other" }),
		"no kid":                         f.headed(func(h map[string]any) { delete(h, "kid") }),
		"another typ":                    f.headed(func(h map[string]any) { h["typ"] = "JWT" }),
		"crit":                           f.headed(func(h map[string]any) { h["crit"] = []string{"x"}; h["x"] = 1 }),
		"a key of its own":               f.headed(func(h map[string]any) { h["jwk"] = map[string]any{"kty": "OKP"} }),
		"the address of a key":           f.headed(func(h map[string]any) { h["jku"] = "https://attacker.example/keys" }),
		"alg twice in the header":        f.key.under(strings.Replace(f.header(), "{", `{"alg":"none",`, 1), f.claims()),
		"the header in other words":      f.key.under(" "+f.header(), f.claims()),
		"too long":                       f.with(`"jti":"`, `"jti":"`+strings.Repeat("x", maxToken)),
	}
	maps.Copy(bad, f.badClaims())
	return bad
}

// badClaims are tokens with wrong claims and a valid signature.
func (f *forger) badClaims() map[string]string {
	issued, expires := number(f.claims(), "iat"), number(f.claims(), "exp")
	return map[string]string{
		"another issuer":          f.with(`"iss":"`+base, `"iss":"https://attacker.example`),
		"no issuer":               f.with(`"iss":"`+base+`",`, ""),
		"another audience":        f.with(base+"/api", base+"/other"),
		"the issuer as audience":  f.with(base+"/api", base),
		"more than one audience":  f.with(`"`+base+`/api"`, `["`+base+`/api","https://b.example"]`),
		"no audience":             f.with(`"aud":"`+base+`/api",`, ""),
		"expired":                 f.with(`"exp":`+expires, `"exp":`+issued),
		"no expiry":               f.with(`,"exp":`+expires, ""),
		"an expiry that is text":  f.with(`"exp":`+expires, `"exp":"`+expires+`"`),
		"an expiry of null":       f.with(`"exp":`+expires, `"exp":null`),
		"a fraction":              f.with(`"exp":`+expires, `"exp":`+expires+".5"),
		"an exponent":             f.with(`"exp":`+expires, `"exp":1e300`),
		"not issued yet":          f.with(`"iat":`+issued, `"iat":`+expires),
		"another profile":         f.with(f.profile, "nobody"),
		"no profile":              f.with(`"sub":"`+f.profile+`",`, ""),
		"another client":          f.with(`"client_id":"cli"`, `"client_id":"website"`),
		"no client":               f.with(`"client_id":"cli",`, ""),
		"sub twice":               f.with(`"sub":`, `"sub":"victim","sub":`),
		"exp twice":               f.with(`"exp":`, `"exp":1,"exp":`),
		"sub in another spelling": f.with(`"jti":`, `"SUB":"`+f.profile+`","jti":`),
		"a claim more":            f.with(`"jti":`, `"admin":true,"jti":`),
		"something after the end": f.with("}", "}{}"),
		"no object":               f.key.sign([]byte(`[]`)),
		"null":                    f.key.sign([]byte(`null`)),
		"no claims":               f.key.sign([]byte(`{}`)),
		"nothing":                 f.key.sign(nil),
	}
}

// number returns the digits of a claim.
func number(claims, name string) string {
	_, rest, _ := strings.Cut(claims, `"`+name+`":`)
	return rest[:strings.IndexAny(rest, ",}")]
}

func testBadTokens(t *testing.T) {
	f := newForger(t)
	if again := f.with("{", "{"); again != f.good {
		t.Fatalf("the forger cannot write %s", f.good)
	}
	elsewhere := []string{"another profile", "another client"} // whoAsks refuses these
	for rule := range f.bad() {
		t.Run(rule, func(t *testing.T) {
			f := newForger(t)
			bad := f.bad()[rule]
			if c, err := f.site.server.tokens.verify(bad); err == nil && !slices.Contains(elsewhere, rule) {
				t.Errorf("it is good, and says %+v", c)
			}
			f.nobody("x-profile-jwt: " + bad)
		})
	}
	for rule, second := range map[string]string{"two headers": f.good, "two headers, an empty one": "", "two headers, a bad one": "x"} {
		t.Run(rule, func(t *testing.T) {
			f := newForger(t)
			f.nobody("x-profile-jwt: "+f.good, "x-profile-jwt: "+second)
		})
	}
	t.Run("a good one of another client", func(t *testing.T) {
		f := newForger(t)
		a := f.site.get(byWebsite(), siteKey, "x-profile-jwt: "+f.good)
		if a.object["code"] != nil || strings.Contains(a.header.Get("Location"), "code=") {
			t.Errorf("status %d, %s, %v", a.status, a.body, a.header)
		}
		f.site.profiles(1)
	})
}

// nobody checks that the headers sign nobody in, and that the valid token still works.
func (f *forger) nobody(headers ...string) {
	f.site.t.Helper()
	a := f.site.get(params("state=fresh"), headers...)
	text, _ := a.object["error_description"].(string)
	if a.status != 400 || a.object["error"] != "login_required" || !strings.Contains(text, "x-profile-jwt") {
		f.site.t.Errorf("status %d, %s", a.status, a.body)
	}
	f.site.unreadable(a)
	if _, profile := f.site.token(f.site.code(params("state=fresh"), "x-profile-jwt: "+f.good)); profile != f.profile {
		f.site.t.Errorf("%s became %s", f.profile, profile)
	}
	f.site.profiles(1)
}

func TestTokensExpire(t *testing.T) {
	f := newForger(t)
	f.site.now = f.site.now.Add(tokenLifetime - time.Second)
	if _, err := f.site.server.tokens.verify(f.good); err != nil {
		t.Errorf("a second before: %v", err)
	}
	f.site.now = f.site.now.Add(time.Second)
	if _, err := f.site.server.tokens.verify(f.good); err == nil {
		t.Error("it is good at its end")
	}
}

// The first key signs, and the ones after it still verify.
func TestKeysAreRotated(t *testing.T) {
	f := newForger(t)
	_, fresh, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	old := f.site.server.tokens
	f.site.server.tokens = newTokens(base, old.now, fresh, f.key.private)
	renewed, profile := f.site.token(f.site.code(params("state=2"), "x-profile-jwt: "+f.good))
	if profile != f.profile {
		t.Errorf("%s became %s", f.profile, profile)
	}
	if _, err := old.verify(renewed); err == nil {
		t.Error("the old key has signed the new token")
	}
	f.site.server.tokens = newTokens(base, old.now, fresh)
	if a := f.site.get(params("state=3"), "x-profile-jwt: "+f.good); a.object["error"] != "login_required" {
		t.Errorf("without its key: %s", a.body)
	}
}
