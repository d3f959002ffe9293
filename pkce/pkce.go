// Package pkce makes and checks the two values of Proof Key for Code Exchange
// (RFC 7636): the verifier that a client keeps to itself, and the challenge that
// it sends with the authorization request.
//
// Only the S256 transform is here. A "plain" challenge is the verifier itself, so
// whoever reads the authorization request can redeem the code (RFC 9700 §2.1.1);
// RFC 7636 §4.2 allows it only to clients that cannot hash.
//
// A client calls [NewVerifier] and [Challenge]. A server calls [ValidChallenge]
// when the authorization request arrives and [Verify] when the code is redeemed.
// The package imports nothing but the standard library, and every function in it
// may be called by any number of goroutines at once.
package pkce

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"
)

// MethodS256 is the value of "code_challenge_method" for the challenges that this
// package makes and checks (RFC 7636 §4.3). It is compared as bytes: "s256" is
// another method. A request without the parameter means "plain" (RFC 7636 §4.3),
// so a server must not read its absence as S256.
const MethodS256 = "S256"

// The lengths that RFC 7636 §4.1 sets for a verifier, and the one length that the
// base64url form of a SHA-256 sum can have.
const (
	minVerifier     = 43
	maxVerifier     = 128
	challengeLength = 43
)

// NewVerifier returns a new verifier: 32 random bytes as 43 characters of
// base64url without padding, which is what RFC 7636 §4.1 recommends. It cannot
// fail: where the system has no randomness to give, crypto/rand ends the program.
//
// A verifier is a secret of the client until the code is redeemed, and is made
// anew for every authorization request.
func NewVerifier() string {
	var random [32]byte
	rand.Read(random[:])
	return base64.RawURLEncoding.EncodeToString(random[:])
}

// Challenge returns the S256 challenge of a verifier: the base64url form, without
// padding, of its SHA-256 sum (RFC 7636 §4.2). The result has 43 characters. It
// hashes whatever it is given; see [ValidVerifier] for what may be a verifier.
func Challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Verify reports whether verifier is the one that challenge was made from
// (RFC 7636 §4.6). It is true if, and only if, the verifier has 43 to 128
// characters of printable ASCII, 0x21 to 0x7E, and challenge equals
// Challenge(verifier) byte for byte. So it takes more characters than
// [ValidVerifier]: some clients send a verifier with "=", "+" or "/", and it is the
// hash that proves. A space is refused, because a form that is read in another way
// would have a plus there.
//
// A malformed or empty value on either side is false, so two absent values never
// match: a caller for whom PKCE is optional has to ask whether a challenge was sent
// before it asks Verify.
//
// The time it takes says nothing about how much of the two values agrees.
func Verify(verifier, challenge string) bool {
	// A malformed challenge needs no check of its own: it equals no made one.
	return provable(verifier) &&
		subtle.ConstantTimeCompare([]byte(Challenge(verifier)), []byte(challenge)) == 1
}

// provable reports whether a verifier is one that Verify compares at all.
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

// ValidChallenge reports whether s has the form of an S256 challenge: exactly 43
// characters of base64url, without padding. RFC 7636 §4.2 allows up to 128
// characters, but for the sake of "plain": a SHA-256 sum has 43 and no other
// number.
//
// The last of the 43 characters carries four bits of the sum and two that are
// unused. A challenge with either of those set is accepted here, as it has the
// right form; no sum is ever written that way, so it never passes [Verify].
func ValidChallenge(s string) bool {
	if len(s) != challengeLength {
		return false
	}
	return strings.Trim(s, base64URL) == ""
}

// base64URL is the alphabet of RFC 4648 §5.
const base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
