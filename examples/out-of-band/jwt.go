package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// maxToken is the longest token that is decoded, in bytes.
const maxToken = 4096

// claims are all claims of a token (RFC 9068 §2.2).
type claims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	ID       string `json:"jti"`
}

// tokens makes and checks the JWTs of users. Only this server makes them, so a valid one
// looks exactly like those made here: there is one header for each key, and one way to
// write the claims.
type tokens struct {
	issuer, audience string
	now              func() time.Time
	keys             []signingKey // the first signs, all verify
}

// signingKey is only for EdDSA. The header that says so belongs to the key.
type signingKey struct {
	header  string
	private ed25519.PrivateKey
}

func newTokens(base string, now func() time.Time, keys ...ed25519.PrivateKey) *tokens {
	t := &tokens{issuer: base, audience: base + "/api", now: now}
	for _, private := range keys {
		sum := sha256.Sum256(private.Public().(ed25519.PublicKey))
		header := `{"alg":"EdDSA","kid":"` + encode(sum[:]) + `","typ":"at+jwt"}`
		t.keys = append(t.keys, signingKey{encode([]byte(header)), private})
	}
	return t
}

// issue makes a token (RFC 7515 §3.1, RFC 8037 §3.1).
func (t *tokens) issue(subject, clientID string, scopes []string) (string, error) {
	now := t.now()
	body, err := json.Marshal(claims{
		Issuer: t.issuer, Subject: subject, Audience: t.audience, ClientID: clientID,
		Scope: strings.Join(scopes, " "), IssuedAt: now.Unix(), Expires: now.Add(tokenLifetime).Unix(), ID: rand.Text(),
	})
	if err != nil {
		return "", err
	}
	return t.keys[0].sign(body), nil
}

func (k signingKey) sign(body []byte) string {
	signed := k.header + "." + encode(body)
	return signed + "." + encode(ed25519.Sign(k.private, []byte(signed)))
}

// verify returns the claims of a token, if this server made it and it has not expired.
func (t *tokens) verify(token string) (claims, error) {
	header, rest, _ := strings.Cut(token, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	for _, key := range t.keys {
		// The whole header is equal, so it has no other alg, no crit and no duplicates.
		if len(token) <= maxToken && header == key.header {
			return t.read(key, payload, signature)
		}
	}
	return claims{}, errors.New("the header is not one of this server")
}

func (t *tokens) read(key signingKey, payload, signature string) (claims, error) {
	raw, err := decode(signature)
	if err != nil || !ed25519.Verify(key.private.Public().(ed25519.PublicKey), []byte(key.header+"."+payload), raw) {
		return claims{}, errors.New("the signature is wrong")
	}
	body, err := decode(payload)
	if err != nil {
		return claims{}, err
	}
	var c claims
	if err := json.Unmarshal(body, &c); err != nil {
		return claims{}, err
	}
	// So no claim is missing, repeated or written in another way.
	if again, err := json.Marshal(c); err != nil || !bytes.Equal(again, body) {
		return claims{}, errors.New("the claims are not written as this server writes them")
	}
	now := t.now().Unix()
	switch {
	case c.Issuer != t.issuer:
		return claims{}, errors.New("from another issuer")
	case c.Audience != t.audience:
		return claims{}, errors.New("for another audience")
	case c.Expires <= now:
		return claims{}, errors.New("expired")
	case c.IssuedAt > now:
		return claims{}, errors.New("not issued yet")
	}
	return c, nil
}

func encode(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func decode(part string) ([]byte, error) { return base64.RawURLEncoding.Strict().DecodeString(part) }
