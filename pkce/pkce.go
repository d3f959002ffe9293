// Package pkce makes and checks the two values of Proof Key for Code Exchange (RFC 7636):
// the verifier, which a client keeps secret, and the challenge, which it sends with the
// authorization request.
//
// The package has only the S256 transform. A "plain" challenge is the verifier itself, so
// anybody who reads the authorization request can redeem the code (RFC 9700 §2.1.1). RFC
// 7636 §4.2 allows "plain" only for clients that cannot hash.
//
// A client calls [NewVerifier] and [Challenge]. A server calls [ValidChallenge] when the
// authorization request arrives and [Verify] when the code is redeemed. The package imports
// only the standard library. Every function may be called by any number of goroutines at
// once.
package pkce

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"
)

// MethodS256 is the value of "code_challenge_method" for the challenges that this package
// makes and checks (RFC 7636 §4.3). It is case-sensitive: "s256" is another method. A
// request without the parameter means "plain" (RFC 7636 §4.3), so a server must not treat
// its absence as S256.
const MethodS256 = "S256"

// The lengths that RFC 7636 §4.1 sets for a verifier, and the one length that the
// base64url form of a SHA-256 sum can have.
const (
	minVerifier     = 43
	maxVerifier     = 128
	challengeLength = 43
)

// NewVerifier returns a new verifier: 32 random bytes as 43 characters of base64url without
// padding, which is what RFC 7636 §4.1 recommends. It cannot fail: if the system has no
// randomness, crypto/rand ends the program.
//
// A verifier is a secret of the client until the code is redeemed. Use a new one for every
// authorization request.
func NewVerifier() string {
	var random [32]byte
	rand.Read(random[:])
	return base64.RawURLEncoding.EncodeToString(random[:])
}

// Challenge returns the S256 challenge of a verifier: the base64url form, without padding,
// of its SHA-256 sum (RFC 7636 §4.2). The result has 43 characters. It accepts any string;
// see [ValidVerifier] for the form of a verifier.
func Challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Verify reports whether verifier is the one that challenge was made from (RFC 7636 §4.6).
// It is true if, and only if, the verifier has 43 to 128 characters of printable ASCII,
// 0x21 to 0x7E, and challenge equals Challenge(verifier) byte for byte. So it accepts more
// characters than [ValidVerifier]: some clients send a verifier with "=", "+" or "/", and
// the hash is proof enough. A space is refused, because it is a plus if the form is decoded
// in another way.
//
// It is false if either value is malformed or empty, so two absent values never match. A
// caller for whom PKCE is optional must check whether a challenge was sent before it calls
// Verify.
//
// The time that it takes does not depend on how many characters match.
func Verify(verifier, challenge string) bool {
	// A malformed challenge needs no check of its own: it cannot equal the result of
	// Challenge.
	return provable(verifier) &&
		subtle.ConstantTimeCompare([]byte(Challenge(verifier)), []byte(challenge)) == 1
}

// provable reports whether Verify compares the verifier at all.
func provable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return len(s) >= minVerifier && len(s) <= maxVerifier
}

// ValidVerifier reports whether s has the form of a verifier: 43 to 128
// characters, each a letter or digit of ASCII or one of "-", ".", "_" and "~"
// (RFC 7636 §4.1). It says nothing about how hard s is to guess. It is for clients:
// [Verify] accepts more.
func ValidVerifier(s string) bool {
	if len(s) < minVerifier || len(s) > maxVerifier {
		return false
	}
	return strings.Trim(s, base64URL+".~") == ""
}

// ValidChallenge reports whether s has the form of an S256 challenge: exactly 43 characters
// of base64url, without padding. RFC 7636 §4.2 allows up to 128 characters, but only for
// "plain": a SHA-256 sum always has 43.
//
// The last of the 43 characters carries four bits of the sum and two that are unused. A
// challenge with an unused bit set is accepted here, because it has the right form. No sum
// is written that way, so it never passes [Verify].
func ValidChallenge(s string) bool {
	if len(s) != challengeLength {
		return false
	}
	return strings.Trim(s, base64URL) == ""
}

// base64URL is the alphabet of RFC 4648 §5.
const base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
