package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type claims struct {
	Issuer string              `json:"iss"`
	Params map[string][]string `json:"params,omitempty"`
}

const typ = "usher-test+jwt"

// The keys are made once: RSA takes its time.
var (
	secret   = []byte("0123456789abcdef0123456789abcdef")
	rsaKey   = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	ecKey    = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	edKey    = sync.OnceValue(func() ed25519.PrivateKey { _, key, err := ed25519.GenerateKey(rand.Reader); return must(key, err) })
	otherKey = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func ring(t *testing.T, keys ...Key) *Ring {
	t.Helper()
	r, err := NewRing(keys)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func sign(t *testing.T, r *Ring, c claims) string {
	t.Helper()
	token, err := r.Sign(typ, c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// behindHardware is a signer of which only the interface can be seen.
type behindHardware struct{ key crypto.Signer }

func (s behindHardware) Public() crypto.PublicKey { return s.key.Public() }
func (s behindHardware) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.key.Sign(random, digest, opts)
}

func TestWhatIsSignedIsVerified(t *testing.T) {
	for _, c := range []struct {
		rule, alg string
		key       Key
	}{
		{"a secret", "HS256", Key{Secret: secret}},
		{"a curve", "ES256", Key{Signer: ecKey()}},
		{"an Edwards curve", "EdDSA", Key{Signer: edKey()}},
		{"RSA", "RS256", Key{Signer: rsaKey()}},
		{"a curve behind hardware", "ES256", Key{Signer: behindHardware{ecKey()}}},
		{"an Edwards curve behind hardware", "EdDSA", Key{Signer: behindHardware{edKey()}}},
		{"RSA behind hardware", "RS256", Key{Signer: behindHardware{rsaKey()}}},
		{"a key with an ID", "ES256", Key{ID: "named", Signer: ecKey()}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			r := ring(t, c.key)
			token := sign(t, r, claims{Issuer: "https://as.example", Params: map[string][]string{"scope": {"openid"}}})
			var got claims
			if err := r.Verify(typ, token, &got); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(claims{"https://as.example", map[string][]string{"scope": {"openid"}}}, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			var h map[string]string
			if err := json.Unmarshal(part(t, token, 0), &h); err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"alg": c.alg, "typ": typ, "kid": r.keys[0].id}
			if diff := cmp.Diff(want, h); diff != "" {
				t.Errorf("header (-want +got)\n%s", diff)
			}
		})
	}
}

func part(t *testing.T, token string, i int) []byte {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[i])
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestNewRing(t *testing.T) {
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	weak := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Rsh(rsaKey().N, 1024), E: 65537}}
	for _, c := range []struct {
		rule string
		keys []Key
		err  string // part of it; empty: none
	}{
		{"no key", nil, "no key"},
		{"an empty key", []Key{{}}, "key 0: has neither a Secret nor a Signer"},
		{"31 bytes", []Key{{Secret: secret[:31]}}, "key 0: has a Secret of 31 bytes"},
		{"32 bytes", []Key{{Secret: secret}}, ""},
		{"32 zero bytes", []Key{{Secret: make([]byte, 32)}}, "key 0: has a Secret of zeros"},
		{"both", []Key{{Secret: secret, Signer: ecKey()}}, "key 0: has both"},
		{"another curve", []Key{{Signer: p384}}, "key 0: is an ECDSA key on P-384"},
		{"RSA with 1,024 bits", []Key{{Signer: weak}}, "key 0: is an RSA key of 1024 bits"},
		{"a key of another kind", []Key{{Signer: oddSigner{}}}, "key 0: is of type string"},
		{"the second is named", []Key{{Secret: secret}, {}}, "key 1: "},
		{"the same ID twice", []Key{{ID: "a", Secret: secret}, {ID: "a", Signer: ecKey()}}, `key 1: two keys have the ID "a"`},
		{"the same key twice", []Key{{Signer: ecKey()}, {Signer: ecKey()}}, "key 1: two keys have the ID"},
		{"the same key twice under two IDs", []Key{{ID: "a", Signer: ecKey()}, {ID: "b", Signer: ecKey()}}, ""},
		{"one of each kind", []Key{{Secret: secret}, {Signer: ecKey()}, {Signer: edKey()}, {Signer: rsaKey()}}, ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			_, err := NewRing(c.keys)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.HasPrefix(err.Error(), c.err)) {
				t.Errorf("%v, want %q", err, c.err)
			}
		})
	}
}

type oddSigner struct{}

func (oddSigner) Public() crypto.PublicKey                                  { return "odd" }
func (oddSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, nil }

// An ID that is derived is the same in every process, or replicas could not read
// each other's requests, and it gives nothing of a secret away.
func TestDerivedIDs(t *testing.T) {
	for alg, key := range map[string]Key{
		"HS256": {Secret: secret}, "ES256": {Signer: ecKey()}, "EdDSA": {Signer: edKey()}, "RS256": {Signer: rsaKey()},
	} {
		t.Run(alg, func(t *testing.T) {
			a, b := ring(t, key), ring(t, key)
			if a.keys[0].id == "" || a.keys[0].id != b.keys[0].id {
				t.Errorf("the IDs are %q and %q", a.keys[0].id, b.keys[0].id)
			}
		})
	}
	// Processes of two versions have to find each other's keys.
	if got := ring(t, Key{Secret: secret}).keys[0].id; got != "s3XdGnu4I_v44YYI" {
		t.Errorf("the ID of a known secret is %q", got)
	}
	sum := sha256.Sum256(secret)
	for _, revealing := range []string{base64.RawURLEncoding.EncodeToString(secret), base64.RawURLEncoding.EncodeToString(sum[:])} {
		if strings.HasPrefix(revealing, ring(t, Key{Secret: secret}).keys[0].id) {
			t.Error("the ID of a secret is made of the secret")
		}
	}
}

// A caller may wipe a secret as soon as the ring has it.
func TestARingKeepsItsSecrets(t *testing.T) {
	mine := slices.Clone(secret)
	r := ring(t, Key{ID: "a", Secret: mine})
	clear(mine)
	if err := ring(t, Key{ID: "a", Secret: secret}).Verify(typ, sign(t, r, claims{}), &claims{}); err != nil {
		t.Errorf("after the caller has wiped its copy: %v", err)
	}
}

func TestRotation(t *testing.T) {
	before, after := Key{ID: "before", Secret: secret}, Key{ID: "after", Signer: ecKey()}
	token := sign(t, ring(t, before), claims{Issuer: "i"})
	if err := ring(t, after, before).Verify(typ, token, &claims{}); err != nil {
		t.Errorf("while the old key is still there: %v", err)
	}
	if err := ring(t, after).Verify(typ, token, &claims{}); err == nil {
		t.Error("accepted after the old key has gone")
	}
	if next := sign(t, ring(t, after, before), claims{}); ring(t, after).Verify(typ, next, &claims{}) != nil {
		t.Error("the first key does not sign")
	}
}

// forge makes a JWT by hand, with a correct HMAC unless the key is nil.
func forge(header, payload string, key []byte) string {
	signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	if key == nil {
		return signed + "."
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func TestOnlyWhatWasMadeHereIsAccepted(t *testing.T) {
	r := ring(t, Key{ID: "k", Secret: secret}, Key{ID: "e", Signer: ecKey()}, Key{ID: "r", Signer: rsaKey()})
	good := forge(`{"alg":"HS256","kid":"k","typ":"usher-test+jwt"}`, `{"iss":"i"}`, secret)
	if err := r.Verify(typ, good, &claims{}); err != nil {
		t.Fatalf("the control: %v", err)
	}
	header := func(members string) string { return forge(members, `{"iss":"i"}`, secret) }
	publicRSA := must(json.Marshal(rsaKey().N))
	parts := strings.Split(good, ".")
	stranger := ring(t, Key{ID: "e", Signer: otherKey()})
	for _, c := range []struct{ rule, token string }{
		{"empty", ""},
		{"no dots", "abc"},
		{"one dot", "a.b"},
		{"three dots", good + "."},
		{"five parts, as of a JWE", "a.b.c.d.e"},
		{"a million dots", strings.Repeat(".", 1_000_000)},
		{"nothing but dots", ".."},
		{"alg none", forge(`{"alg":"none","kid":"k","typ":"usher-test+jwt"}`, `{"iss":"i"}`, nil)},
		{"alg none with a signature", header(`{"alg":"none","kid":"k","typ":"usher-test+jwt"}`)},
		{"alg in another case", header(`{"alg":"hs256","kid":"k","typ":"usher-test+jwt"}`)},
		{"alg of another strength", header(`{"alg":"HS512","kid":"k","typ":"usher-test+jwt"}`)},
		{"alg missing", header(`{"kid":"k","typ":"usher-test+jwt"}`)},
		{"the alg of another key", header(`{"alg":"ES256","kid":"k","typ":"usher-test+jwt"}`)},
		{"HMAC with a public key as its secret", forge(`{"alg":"HS256","kid":"r","typ":"usher-test+jwt"}`, `{"iss":"i"}`, publicRSA)},
		{"kid of another key", header(`{"alg":"HS256","kid":"e","typ":"usher-test+jwt"}`)},
		{"kid unknown", header(`{"alg":"HS256","kid":"x","typ":"usher-test+jwt"}`)},
		{"kid missing", header(`{"alg":"HS256","typ":"usher-test+jwt"}`)},
		{"kid empty", header(`{"alg":"HS256","kid":"","typ":"usher-test+jwt"}`)},
		{"kid of another kind", header(`{"alg":"HS256","kid":["k"],"typ":"usher-test+jwt"}`)},
		{"typ JWT", header(`{"alg":"HS256","kid":"k","typ":"JWT"}`)},
		{"typ missing", header(`{"alg":"HS256","kid":"k"}`)},
		{"typ in another case", header(`{"alg":"HS256","kid":"k","typ":"USHER-TEST+JWT"}`)},
		{"typ as a media type", header(`{"alg":"HS256","kid":"k","typ":"application/usher-test+jwt"}`)},
		{"crit", header(`{"alg":"HS256","kid":"k","typ":"usher-test+jwt","crit":["exp"]}`)},
		{"b64", header(`{"alg":"HS256","kid":"k","typ":"usher-test+jwt","b64":false,"crit":["b64"]}`)},
		{"jku", header(`{"alg":"HS256","kid":"k","typ":"usher-test+jwt","jku":"https://evil.example"}`)},
		{"jwk", header(`{"alg":"HS256","kid":"k","typ":"usher-test+jwt","jwk":{}}`)},
		{"x5u", header(`{"alg":"HS256","kid":"k","typ":"usher-test+jwt","x5u":"https://evil.example"}`)},
		{"cty", header(`{"alg":"HS256","kid":"k","typ":"usher-test+jwt","cty":"JWT"}`)},
		{"zip", header(`{"alg":"HS256","kid":"k","typ":"usher-test+jwt","zip":"DEF"}`)},
		{"a header that is no object", header(`["alg"]`)},
		{"a header of null", header(`null`)},
		{"a header that is no JSON", header(`{"alg":`)},
		{"something after the header", header(`{"alg":"HS256","kid":"k","typ":"usher-test+jwt"}{"crit":["x"]}`)},
		{"a header with padding", parts[0] + "=." + parts[1] + "." + parts[2]},
		{"a header in the other alphabet", "+/" + parts[0] + "." + parts[1] + "." + parts[2]},
		{"another payload", parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"j"}`)) + "." + parts[2]},
		{"no signature", parts[0] + "." + parts[1] + "."},
		{"half a signature", good[:len(good)-5]},
		{"another signature", parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 32))},
		{"signed with another secret", forge(`{"alg":"HS256","kid":"k","typ":"usher-test+jwt"}`, `{"iss":"i"}`, []byte("another"))},
		{"signed with another key of the same ID", sign(t, stranger, claims{Issuer: "i"})},
		{"a space before", " " + good},
		{"a line break behind", good + "\n"},
		{"a signature with padding", good + "="},
		{"a signature with a bit left over", good[:len(good)-1] + string(good[len(good)-1]+1)},
		{"JSON serialisation", fmt.Sprintf(`{"payload":%q,"protected":%q,"signature":%q}`, parts[1], parts[0], parts[2])},
		{"JSON serialisation with two dots", fmt.Sprintf(`{"payload":%q,"protected":%q,"signature":%q,"header":{"x":".."}}`, parts[1], parts[0], parts[2])},
		{"a payload that is no object", forge(`{"alg":"HS256","kid":"k","typ":"usher-test+jwt"}`, `[1]`, secret)},
		{"a payload that is no JSON", forge(`{"alg":"HS256","kid":"k","typ":"usher-test+jwt"}`, `x`, secret)},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if err := r.Verify(typ, c.token, &claims{}); err == nil {
				t.Errorf("it is accepted: %.200s", c.token)
			} else if len(err.Error()) > 200 {
				t.Errorf("the error repeats %d bytes of the token", len(err.Error()))
			}
		})
	}
}

// Whatever single character is changed, the token is no longer ours, or it still
// says the same.
func TestTampering(t *testing.T) {
	r := ring(t, Key{ID: "k", Secret: secret})
	token := sign(t, r, claims{Issuer: "i"})
	for i := range len(token) {
		for _, c := range "A_z" {
			changed := token[:i] + string(c) + token[i+1:]
			var got claims
			if err := r.Verify(typ, changed, &got); err == nil && changed != token && got.Issuer != "i" {
				t.Errorf("byte %d as %q is accepted and says %+v", i, c, got)
			}
		}
	}
	for i := range len(token) {
		if r.Verify(typ, token[:i], &claims{}) == nil {
			t.Errorf("accepted when cut after %d bytes", i)
		}
	}
}

func TestSize(t *testing.T) {
	r := ring(t, Key{ID: "k", Secret: secret})
	overhead := len(sign(t, r, claims{}))
	// Base64url turns three bytes into four.
	fits := (MaxSize - overhead) / 4 * 3
	for _, c := range []struct {
		rule string
		size int
		ok   bool
	}{
		{"just short enough", fits - 3, true},
		{"just too long", fits + 6, false},
		{"much too long", 1 << 20, false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			token, err := r.Sign(typ, claims{Issuer: strings.Repeat("x", c.size)})
			if c.ok != (err == nil) || !c.ok && !errors.Is(err, ErrTooLarge) {
				t.Errorf("%d bytes, %v", len(token), err)
			}
			if c.ok && r.Verify(typ, token, &claims{}) != nil {
				t.Error("signed and not verified")
			}
		})
	}
	exact := 0
	for _, id := range []string{"k", "kk", "kkk"} {
		r := ring(t, Key{ID: id, Secret: secret})
		for size := fits - 9; size < fits+9; size++ {
			token, err := r.Sign(typ, claims{Issuer: strings.Repeat("x", size)})
			if len(token) != MaxSize {
				continue
			}
			if exact++; err != nil || r.Verify(typ, token, &claims{}) != nil {
				t.Errorf("a token of just the size is not signed, or not verified: %v", err)
			}
		}
	}
	if exact == 0 {
		t.Error("no token has just the size")
	}
	big := forge(`{"alg":"HS256","kid":"k","typ":"usher-test+jwt"}`, `{"iss":"`+strings.Repeat("x", MaxSize)+`"}`, secret)
	if err := r.Verify(typ, big, &claims{}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a token of %d bytes: %v", len(big), err)
	}
}

// Names and values of parameters come from strangers: whatever they are, they stay
// inside params.
func TestHostileNamesAndValuesStayWhereTheyAre(t *testing.T) {
	r := ring(t, Key{Secret: secret})
	for rule, hostile := range map[string]string{
		"a member more":           `x":0,"admin`,
		"another iss":             `x":[]},"iss":"evil","y":{"z`,
		"another iss, escaped":    `\u0022,"iss":"evil`,
		"a quote":                 `"`,
		"a backslash":             `\`,
		"an escaped quote":        `\"`,
		"NUL":                     "\x00",
		"a line break":            "\n",
		"the end of a script":     "</script>",
		"beyond ASCII":            "é",
		"not UTF-8":               "\xff",
		"the name of a claim":     "iss",
		"the name of a prototype": "__proto__",
	} {
		t.Run(rule, func(t *testing.T) {
			token := sign(t, r, claims{Issuer: "i", Params: map[string][]string{hostile: {hostile}}})
			var top map[string]json.RawMessage
			if err := json.Unmarshal(part(t, token, 1), &top); err != nil {
				t.Fatalf("the payload is no JSON any more: %v", err)
			}
			var got claims
			if err := r.Verify(typ, token, &got); err != nil {
				t.Error(err)
			}
			// Bytes that are not UTF-8 cannot be in JSON; nothing that is not UTF-8 gets here.
			same := strings.ToValidUTF8(hostile, "\ufffd")
			if len(top) != 2 || got.Issuer != "i" || len(got.Params) != 1 || !slices.Equal(got.Params[same], []string{same}) {
				t.Errorf("the claims are %s", part(t, token, 1))
			}
		})
	}
}

func TestClaimsThatAreNoJSONAreNotSigned(t *testing.T) {
	if _, err := ring(t, Key{Secret: secret}).Sign(typ, func() {}); err == nil {
		t.Error("a function was signed")
	}
}

type brokenSigner struct{ crypto.Signer }

func (brokenSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the hardware does not answer")
}

func TestASignerThatFailsIsAnError(t *testing.T) {
	if token, err := ring(t, Key{Signer: brokenSigner{ecKey()}}).Sign(typ, claims{}); err == nil {
		t.Errorf("signed %q", token)
	}
}

func TestPublicKeys(t *testing.T) {
	r := ring(t, Key{ID: "h", Secret: secret}, Key{ID: "e", Signer: ecKey()}, Key{ID: "d", Signer: edKey()}, Key{ID: "r", Signer: rsaKey()})
	set, err := r.Public()
	if err != nil {
		t.Fatal(err)
	}
	var parsed struct{ Keys []map[string]string }
	if err := json.Unmarshal(set, &parsed); err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{ // the members of RFC 7518 §6 and RFC 8037 §2 for public keys
		"e": {"alg", "crv", "kid", "kty", "use", "x", "y"},
		"d": {"alg", "crv", "kid", "kty", "use", "x"},
		"r": {"alg", "e", "kid", "kty", "n", "use"},
	}
	for _, key := range parsed.Keys {
		var members []string
		for name := range key {
			members = append(members, name)
		}
		slices.Sort(members)
		if diff := cmp.Diff(want[key["kid"]], members); diff != "" {
			t.Errorf("key %s: (-want +got)\n%s", key["kid"], diff)
		}
		delete(want, key["kid"])
	}
	if len(want) != 0 {
		t.Errorf("missing: %v", want)
	}

	reader, err := ParsePublic(set)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []Key{{ID: "e", Signer: ecKey()}, {ID: "d", Signer: edKey()}, {ID: "r", Signer: rsaKey()}} {
		t.Run("key "+key.ID, func(t *testing.T) {
			if err := reader.Verify(typ, sign(t, ring(t, key), claims{}), &claims{}); err != nil {
				t.Error(err)
			}
		})
	}
	if reader.Verify(typ, sign(t, ring(t, Key{ID: "h", Secret: secret}), claims{}), &claims{}) == nil {
		t.Error("the public keys verify what a secret signed")
	}
	if token, err := reader.Sign(typ, claims{}); err == nil {
		t.Errorf("the public keys sign: %s", token)
	}
}

func TestTheSetOfSecretsAloneIsEmpty(t *testing.T) {
	set, err := ring(t, Key{Secret: secret}).Public()
	if err != nil || string(set) != `{"keys":[]}` {
		t.Errorf("%s, %v", set, err)
	}
}

func TestParsePublic(t *testing.T) {
	public := string(must(ring(t, Key{ID: "e", Signer: ecKey()}).Public()))
	private := fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":"p","x":%q,"d":%q}`,
		base64.RawURLEncoding.EncodeToString(edKey().Public().(ed25519.PublicKey)), base64.RawURLEncoding.EncodeToString(edKey().Seed()))
	symmetric := `{"kty":"oct","kid":"o","k":"` + base64.RawURLEncoding.EncodeToString(secret) + `"}`
	for _, c := range []struct {
		rule, set string
		ok        bool
	}{
		{"a set", public, true},
		{"empty", ``, false},
		{"no JSON", `x`, false},
		{"an empty set", `{"keys":[]}`, false},
		{"another document", `{"issuer":"https://as.example"}`, false},
		{"a secret only", `{"keys":[` + symmetric + `]}`, false},
		{"a private key only", `{"keys":[` + private + `]}`, false},
		{"larger than 64 KiB", `{"keys":[],"x":"` + strings.Repeat("x", 64<<10) + `"}`, false},
		{"just 64 KiB", public + strings.Repeat(" ", 64<<10-len(public)), true},
		{"a byte more", public + strings.Repeat(" ", 64<<10-len(public)+1), false},
		{"keys of other kinds are left out", strings.Replace(public, `[`, `[`+symmetric+`,`+private+`,`, 1), true},
	} {
		t.Run(c.rule, func(t *testing.T) {
			r, err := ParsePublic([]byte(c.set))
			if c.ok != (err == nil) {
				t.Error(err)
			}
			if c.ok && len(r.keys) != 1 {
				t.Errorf("%d keys", len(r.keys))
			}
		})
	}
}

// For any bytes: no panic, and nothing is accepted that was not signed here.
func FuzzVerify(f *testing.F) {
	r := must(NewRing([]Key{{ID: "k", Secret: secret}}))
	good := must(r.Sign(typ, claims{Issuer: "i"}))
	f.Add(good)
	f.Add(forge(`{"alg":"none","kid":"k","typ":"usher-test+jwt"}`, `{}`, nil))
	f.Add(`{"payload":"","signatures":[{"protected":"","signature":""}]}..`)
	f.Fuzz(func(t *testing.T, token string) {
		var got claims
		if err := r.Verify(typ, token, &got); err == nil && got.Issuer != "i" {
			t.Errorf("accepted %q", token)
		}
	})
}
