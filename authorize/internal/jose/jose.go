// Package jose signs and verifies compact JWTs. Only this package imports jwx, and its
// exported names have no type of jwx, so that another library would change only this
// package.
//
// Claims are Go structs that encoding/json writes: struct tags fix the claim names, which
// never come from a request.
package jose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// MaxSize is the longest JWT that is signed or verified, in bytes.
const MaxSize = 8000

// ErrUnknownKey says that a JWT names a key that is not in the ring.
var ErrUnknownKey = errors.New("signed with a key that is not known")

// ErrTooLarge says that a JWT is longer than MaxSize.
var ErrTooLarge = fmt.Errorf("longer than %d bytes", MaxSize)

// Key is a secret for HS256 or a signer for ES256, EdDSA or RS256. An empty ID is
// derived from the key.
type Key struct {
	ID     string
	Secret []byte
	Signer crypto.Signer
}

// Ring holds keys: the first key signs, all keys verify.
type Ring struct {
	keys []key
}

type key struct {
	id     string
	alg    jwa.SignatureAlgorithm
	sign   any // nil: verifies only
	verify any
}

// NewRing checks the keys. There must be at least one.
func NewRing(keys []Key) (*Ring, error) {
	if len(keys) == 0 {
		return nil, errors.New("no key")
	}
	ring := &Ring{}
	for i, k := range keys {
		made, err := newKey(k)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i, err)
		}
		if _, err := ring.find(made.id); err == nil {
			return nil, fmt.Errorf("key %d: two keys have the ID %q", i, made.id)
		}
		ring.keys = append(ring.keys, made)
	}
	return ring, nil
}

// The smallest keys: bytes of a secret, and bits of an RSA key.
const (
	minSecret = 32
	minRSA    = 2048
)

func newKey(k Key) (key, error) {
	switch {
	case k.Signer != nil && k.Secret != nil:
		return key{}, errors.New("has both a Secret and a Signer: set one")
	case k.Signer != nil:
		made, err := publicKey(k.ID, k.Signer.Public())
		made.sign = k.Signer
		return made, err
	case k.Secret == nil:
		return key{}, errors.New("has neither a Secret nor a Signer: set one")
	case len(k.Secret) < minSecret:
		return key{}, fmt.Errorf("has a Secret of %d bytes: use at least %d random ones", len(k.Secret), minSecret)
	case bytes.Count(k.Secret, []byte{0}) == len(k.Secret):
		return key{}, fmt.Errorf("has a Secret of zeros: use at least %d random bytes", minSecret)
	}
	secret := bytes.Clone(k.Secret) // the caller may wipe its own
	made := key{id: k.ID, alg: jwa.HS256, sign: secret, verify: secret}
	if made.id == "" {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte("usher key id"))
		made.id = base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:12])
	}
	return made, nil
}

func publicKey(id string, public crypto.PublicKey) (key, error) {
	made := key{id: id, verify: public}
	switch public := public.(type) {
	case *ecdsa.PublicKey:
		if public.Curve != elliptic.P256() {
			return key{}, fmt.Errorf("is an ECDSA key on %s: use P-256", public.Curve.Params().Name)
		}
		made.alg = jwa.ES256
	case ed25519.PublicKey:
		made.alg = jwa.EdDSA
	case *rsa.PublicKey:
		if public.N.BitLen() < minRSA {
			return key{}, fmt.Errorf("is an RSA key of %d bits: use at least %d", public.N.BitLen(), minRSA)
		}
		made.alg = jwa.RS256
	default:
		return key{}, fmt.Errorf("is of type %T: use ECDSA P-256, Ed25519 or RSA", public)
	}
	if made.id != "" {
		return made, nil
	}
	imported, err := jwk.FromRaw(public)
	if err != nil {
		return key{}, err
	}
	thumbprint, err := imported.Thumbprint(crypto.SHA256)
	if err != nil {
		return key{}, err
	}
	made.id = base64.RawURLEncoding.EncodeToString(thumbprint)
	return made, nil
}

func (r *Ring) find(id string) (key, error) {
	for _, k := range r.keys {
		if k.id == id {
			return k, nil
		}
	}
	return key{}, ErrUnknownKey
}

// Sign returns the claims as a JWT of the given type. It fails with ErrTooLarge
// when that would be longer than MaxSize.
func (r *Ring) Sign(typ string, claims any) (string, error) {
	var payload bytes.Buffer
	encoder := json.NewEncoder(&payload)
	encoder.SetEscapeHTML(false) // base64 makes HTML escapes useless, and they are long
	if err := encoder.Encode(claims); err != nil {
		return "", err
	}
	k := r.keys[0]
	headers := jws.NewHeaders()
	if err := errors.Join(headers.Set(jws.TypeKey, typ), headers.Set(jws.KeyIDKey, k.id)); err != nil {
		return "", err
	}
	text := bytes.TrimSuffix(payload.Bytes(), []byte("\n"))
	signed, err := jws.Sign(text, jws.WithKey(k.alg, k.sign, jws.WithProtectedHeaders(headers)))
	if err != nil {
		return "", err
	}
	if len(signed) > MaxSize {
		return "", ErrTooLarge
	}
	return string(signed), nil
}

// Room returns how many bytes of JSON claims fit into a JWT of MaxSize.
func (r *Ring) Room(typ string) int {
	k := r.keys[0]
	protected, _ := json.Marshal(header{k.alg.String(), typ, k.id}) // strings cannot fail
	signature := sha256.Size                                        // HS256
	switch public := k.verify.(type) {
	case *rsa.PublicKey:
		signature = public.Size()
	case *ecdsa.PublicKey, ed25519.PublicKey:
		signature = 64
	}
	length := base64.RawURLEncoding.EncodedLen
	return base64.RawURLEncoding.DecodedLen(MaxSize - length(len(protected)) - length(signature) - len(".."))
}

// Type returns the typ in the header of a JWT. It verifies nothing. It is empty if the
// token does not have three parts and a readable header.
func Type(token string) string {
	parts := strings.SplitN(token, ".", 4)
	if len(parts) != 3 || len(parts[0]) > MaxSize {
		return ""
	}
	decoded, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		return ""
	}
	var h struct {
		Type string `json:"typ"`
	}
	if err := json.Unmarshal(decoded, &h); err != nil {
		return ""
	}
	return h.Type
}

// header has every member that the header of our JWTs has. A JWT with another member is
// refused.
type header struct {
	Algorithm string `json:"alg"`
	Type      string `json:"typ"`
	KeyID     string `json:"kid"`
}

// Verify checks the type and the signature of a JWT and reads its claims. It does not check
// the claims.
func (r *Ring) Verify(typ, token string, claims any) error {
	if len(token) > MaxSize {
		return ErrTooLarge
	}
	// The library would accept other serializations and header extensions too. Everything
	// that this package does not write itself is refused before the library sees the token.
	// Line breaks are refused because base64 decoders skip them.
	if strings.Count(token, ".") != 2 || strings.ContainsAny(token, "\r\n") {
		return errors.New("not a compact JWT")
	}
	// Each token has only one spelling: without padding, and without unused bits in the
	// last character.
	parts := [3][]byte{}
	for i, part := range strings.SplitN(token, ".", len(parts)) {
		decoded, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil {
			return errors.New("malformed base64url in a JWT")
		}
		parts[i] = decoded
	}
	var h header
	decoder := json.NewDecoder(bytes.NewReader(parts[0]))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&h); err != nil {
		return errors.New("malformed JWT header")
	}
	if h.Type != typ {
		return fmt.Errorf("a JWT of type %.40q, not %q", h.Type, typ)
	}
	k, err := r.find(h.KeyID)
	if err != nil {
		return err
	}
	if h.Algorithm != k.alg.String() {
		return errors.New("signed with another algorithm than the key's")
	}
	payload, err := jws.Verify([]byte(token), jws.WithKey(k.alg, k.verify))
	if err != nil {
		return errors.New("the signature is wrong")
	}
	return json.Unmarshal(payload, claims)
}

// Public returns the public keys of the asymmetric keys as a JWK Set (RFC 7517).
func (r *Ring) Public() ([]byte, error) {
	set := jwk.NewSet()
	for _, k := range r.keys {
		if k.alg == jwa.HS256 {
			continue
		}
		imported, err := jwk.FromRaw(k.verify)
		if err != nil {
			return nil, err
		}
		err = errors.Join(
			imported.Set(jwk.KeyIDKey, k.id),
			imported.Set(jwk.AlgorithmKey, k.alg),
			imported.Set(jwk.KeyUsageKey, jwk.ForSignature),
			set.AddKey(imported),
		)
		if err != nil {
			return nil, err
		}
	}
	return json.Marshal(set)
}

// maxSet is how many bytes of a JWK Set are read.
const maxSet = 64 << 10

// ParsePublic returns a ring that verifies with the public keys of a JWK Set of at most 64
// KiB. The ring cannot sign. Keys of unsupported types are left out.
func ParsePublic(set []byte) (*Ring, error) {
	if len(set) > maxSet {
		return nil, fmt.Errorf("the JWK Set is larger than %d KiB", maxSet>>10)
	}
	parsed, err := jwk.Parse(set)
	if err != nil {
		return nil, fmt.Errorf("the JWK Set is malformed: %w", err)
	}
	ring := &Ring{}
	for i := range parsed.Len() {
		entry, _ := parsed.Key(i)
		var raw any
		if err := entry.Raw(&raw); err != nil {
			continue
		}
		if k, err := publicKey(entry.KeyID(), raw); err == nil {
			ring.keys = append(ring.keys, k)
		}
	}
	if len(ring.keys) == 0 {
		return nil, errors.New("the JWK Set has no public key that can verify")
	}
	return ring, nil
}
