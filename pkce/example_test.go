package pkce_test

import (
	"fmt"

	"github.com/usher-auth/usher/pkce"
)

// A client keeps the verifier and sends the challenge. The server keeps the challenge with
// the code, and gets the verifier when the code is redeemed.
func Example() {
	// The client, before it sends the browser away.
	verifier := pkce.NewVerifier()
	challenge := pkce.Challenge(verifier)

	// The server, when the authorization request arrives.
	fmt.Println("well formed:", pkce.ValidChallenge(challenge))

	// The server, when the code is redeemed.
	fmt.Println("by the one who asked:", pkce.Verify(verifier, challenge))
	fmt.Println("by someone else:", pkce.Verify(pkce.NewVerifier(), challenge))
	// Output:
	// well formed: true
	// by the one who asked: true
	// by someone else: false
}

// The values are those of RFC 7636 appendix B.
func ExampleChallenge() {
	fmt.Println(pkce.Challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"))
	// Output: E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM
}

func ExampleVerify() {
	const challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	fmt.Println(pkce.Verify("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", challenge))
	fmt.Println(pkce.Verify("", ""))
	// Output:
	// true
	// false
}
