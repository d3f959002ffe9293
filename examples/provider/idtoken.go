package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"time"

	"github.com/usher-auth/usher/authorize"
)

const idTokenLifetime = time.Hour

// protocolClaims are set by the provider. A user in the file cannot have them.
var protocolClaims = []string{
	"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "nonce", "auth_time", "acr", "amr", "azp",
	"at_hash", "c_hash", "s_hash", "sid",
}

// signingKey signs only ID tokens, so that every JWT with its signature is an ID token.
type signingKey struct {
	private *rsa.PrivateKey
	id      string
}

// jwk is the public key (RFC 7517, RFC 7518 §6.3.1).
type jwk struct {
	Algorithm string `json:"alg,omitempty"`
	Exponent  string `json:"e"`
	ID        string `json:"kid,omitempty"`
	Type      string `json:"kty"`
	Modulus   string `json:"n"`
	Use       string `json:"use,omitempty"`
}

func newSigningKey(private *rsa.PrivateKey) *signingKey {
	k := &signingKey{private: private}
	// The thumbprint of RFC 7638 is the hash of e, kty and n in this order.
	required, err := json.Marshal(k.jwk())
	if err != nil {
		panic(err) // strings always marshal
	}
	sum := sha256.Sum256(required)
	k.id = encode(sum[:])
	return k
}

// jwk returns only the members that RFC 7638 §3.2 requires.
func (k *signingKey) jwk() jwk {
	return jwk{
		Type:     "RSA",
		Modulus:  encode(k.private.N.Bytes()),
		Exponent: encode(big.NewInt(int64(k.private.E)).Bytes()),
	}
}

// header is the header of an ID token.
type header struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ,omitempty"`
}

// sign returns the claims as a JWT with RS256 (RFC 7515 §3.1, RFC 7518 §3.3).
func (k *signingKey) sign(claims any) (string, error) {
	head, err := json.Marshal(header{Algorithm: "RS256", KeyID: k.id, Type: "JWT"})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed := encode(head) + "." + encode(body)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, k.private, crypto.SHA256, sum[:])
	if err != nil {
		return "", err
	}
	return signed + "." + encode(signature), nil
}

// verify reads the claims of a JWT that this key has signed.
func (k *signingKey) verify(token string, claims any) error {
	signed, signature, ok := cutLast(token, ".")
	head, body, twoParts := strings.Cut(signed, ".")
	if !ok || !twoParts {
		return errors.New("not a JWT")
	}
	var h header
	if err := decode(head, &h); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	if h.Algorithm != "RS256" || h.KeyID != k.id {
		return errors.New("signed with another algorithm or key")
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(signature)
	if err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	sum := sha256.Sum256([]byte(signed))
	if err := rsa.VerifyPKCS1v15(&k.private.PublicKey, crypto.SHA256, sum[:], raw); err != nil {
		return err
	}
	return decode(body, claims)
}

// idToken is the ID token for a redeemed code (OpenID Connect Core 1.0 §2).
func (s *server) idToken(code *authorize.Code, accessToken string) (string, error) {
	now := s.now()
	claims := map[string]any{}
	for name, value := range s.claimsInIDToken(code) {
		claims[name] = value
	}
	claims["iss"] = s.issuer
	claims["sub"] = code.Subject
	claims["aud"] = code.ClientID
	claims["iat"] = now.Unix()
	claims["exp"] = now.Add(idTokenLifetime).Unix()
	claims["auth_time"] = code.AuthTime.Unix()
	claims["at_hash"] = halfHash(accessToken)
	if code.Nonce != "" {
		claims["nonce"] = code.Nonce
	}
	if code.ACR != "" {
		claims["acr"] = code.ACR
	}
	if len(code.AMR) > 0 {
		claims["amr"] = code.AMR
	}
	return s.key.sign(claims)
}

// verifyHint is authorize.Config.IDTokenHint. It accepts ID tokens of this provider, even
// expired ones.
func (s *server) verifyHint(_ context.Context, token string) (subject string, err error) {
	var claims struct {
		Issuer  string `json:"iss"`
		Subject string `json:"sub"`
	}
	if err := s.key.verify(token, &claims); err != nil {
		return "", err
	}
	if claims.Issuer != s.issuer {
		return "", errors.New("from another issuer")
	}
	return claims.Subject, nil
}

// jwks serves the public key (RFC 7517 §5).
func (s *server) jwks(w http.ResponseWriter, _ *http.Request) {
	key := s.key.jwk()
	key.ID, key.Algorithm, key.Use = s.key.id, "RS256", "sig"
	writeJSON(w, http.StatusOK, map[string][]jwk{"keys": {key}})
}

// halfHash is at_hash: the left half of the hash (OpenID Connect Core 1.0 §3.1.3.6).
func halfHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return encode(sum[:len(sum)/2])
}

func encode(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func decode(part string, into any) error {
	text, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

func cutLast(text, separator string) (before, after string, found bool) {
	i := strings.LastIndex(text, separator)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(separator):], true
}
