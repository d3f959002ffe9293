package pkce_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/usher-auth/usher/pkce"
)

// The pair of RFC 7636 appendix B, which the tables below vary.
const (
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

func TestVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct{ Name, Verifier, Challenge string }
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 2 {
		t.Fatalf("%d vectors, want at least 2", len(vectors))
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			if got := pkce.Challenge(v.Verifier); got != v.Challenge {
				t.Errorf("Challenge(%q) = %q, want %q", v.Verifier, got, v.Challenge)
			}
			if !pkce.Verify(v.Verifier, v.Challenge) {
				t.Errorf("Verify(%q, %q) = false", v.Verifier, v.Challenge)
			}
		})
	}
}

func TestVerify(t *testing.T) {
	short, long := verifier[:42], strings.Repeat("a", 129)
	odd := func(s string) string { return verifier[len(s):] + s } // of 43 bytes, s at the end
	tests := []struct {
		rule                string
		verifier, challenge string
		want                bool
	}{
		{"the pair matches", verifier, challenge, true},
		{"a verifier of 128 characters matches its challenge", long[:128], pkce.Challenge(long[:128]), true},
		{"another verifier does not match", "e" + verifier[1:], challenge, false},
		{"another challenge does not match", verifier, "F" + challenge[1:], false},
		{"the last character counts", verifier, challenge[:42] + "A", false},
		{"the unused bits of the last character count", verifier, challenge[:42] + "N", false},
		{"letter case counts in the verifier", strings.ToUpper(verifier), challenge, false},
		{"letter case counts in the challenge", verifier, strings.ToLower(challenge), false},
		{"plain is not accepted", verifier, verifier, false},
		{"two empty values do not match", "", "", false},
		{"an empty verifier does not match its own sum", "", pkce.Challenge(""), false},
		{"an empty challenge does not match", verifier, "", false},
		{"a short verifier does not match its own sum", short, pkce.Challenge(short), false},
		{"a long verifier does not match its own sum", long, pkce.Challenge(long), false},
		{"a verifier of base64 with padding matches its own sum", odd("=+/"), pkce.Challenge(odd("=+/")), true},
		{"the lowest and the highest printable character match", odd("!~"), pkce.Challenge(odd("!~")), true},
		{"a quote and a backslash match", odd(`"\`), pkce.Challenge(odd(`"\`)), true},
		{"a verifier with padding does not match another sum", odd("="), challenge, false},
		{"a space does not match its own sum", odd(" "), pkce.Challenge(odd(" ")), false},
		{"a tab does not match its own sum", odd("\t"), pkce.Challenge(odd("\t")), false},
		{"DEL does not match its own sum", odd("\x7f"), pkce.Challenge(odd("\x7f")), false},
		{"a letter beyond ASCII does not match its own sum", odd("é"), pkce.Challenge(odd("é")), false},
		{"42 printable characters do not match their own sum", odd("=")[1:], pkce.Challenge(odd("=")[1:]), false},
		{"129 printable characters do not match their own sum", odd("=") + long[:86], pkce.Challenge(odd("=") + long[:86]), false},
		{"a padded challenge does not match", verifier, challenge + "=", false},
		{"a challenge cut short does not match", verifier, challenge[:42], false},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			if got := pkce.Verify(tt.verifier, tt.challenge); got != tt.want {
				t.Errorf("Verify(%q, %q) = %t, want %t", tt.verifier, tt.challenge, got, tt.want)
			}
		})
	}
}

func TestValidVerifier(t *testing.T) {
	fill := func(s string) string { return s + strings.Repeat("a", 43-len(s)) }
	tests := []struct {
		rule, in string
		want     bool
	}{
		{"empty", "", false},
		{"42 characters are too few", strings.Repeat("a", 42), false},
		{"43 characters are enough", strings.Repeat("a", 43), true},
		{"128 characters are allowed", strings.Repeat("a", 128), true},
		{"129 characters are too many", strings.Repeat("a", 129), false},
		{"every unreserved character is allowed", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~", true},
		{"plus is not unreserved", fill("+"), false},
		{"slash is not unreserved", fill("/"), false},
		{"padding is not unreserved", fill("="), false},
		{"percent is not unreserved", fill("%41"), false},
		{"space is not unreserved", fill(" "), false},
		{"a newline is not unreserved", fill("\n"), false},
		{"NUL is not unreserved", fill("\x00"), false},
		{"DEL is not unreserved", fill("\x7f"), false},
		{"letters beyond ASCII are not unreserved", fill("é"), false},
		{"bytes that are not UTF-8 are not unreserved", fill("\xff"), false},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			if got := pkce.ValidVerifier(tt.in); got != tt.want {
				t.Errorf("ValidVerifier(%q) = %t, want %t", tt.in, got, tt.want)
			}
		})
	}
}

func TestValidChallenge(t *testing.T) {
	tests := []struct {
		rule, in string
		want     bool
	}{
		{"a challenge", challenge, true},
		{"set unused bits are a matter of Verify", challenge[:42] + "N", true},
		{"every base64url character is allowed", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq", true},
		{"digits, hyphen and underscore are allowed", "rstuvwxyz0123456789-_rstuvwxyz0123456789-_r", true},
		{"empty", "", false},
		{"42 characters are too few", challenge[:42], false},
		{"44 characters are too many", challenge + "A", false},
		{"128 characters are for plain only", strings.Repeat("a", 128), false},
		{"padding is not base64url", challenge[:42] + "=", false},
		{"plus belongs to the other alphabet", "+" + challenge[1:], false},
		{"slash belongs to the other alphabet", "/" + challenge[1:], false},
		{"dot is for verifiers only", "." + challenge[1:], false},
		{"tilde is for verifiers only", "~" + challenge[1:], false},
		{"a newline, which decoders skip", challenge[:42] + "\n", false},
		{"43 letters beyond ASCII", strings.Repeat("é", 43), false},
		{"43 bytes with letters beyond ASCII", "é" + challenge[2:], false},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			if got := pkce.ValidChallenge(tt.in); got != tt.want {
				t.Errorf("ValidChallenge(%q) = %t, want %t", tt.in, got, tt.want)
			}
		})
	}
}

func TestNewVerifier(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		v := pkce.NewVerifier()
		if random, err := base64.RawURLEncoding.DecodeString(v); err != nil || len(random) != 32 {
			t.Fatalf("NewVerifier() = %q: %d bytes, %v; want 32 bytes of base64url", v, len(random), err)
		}
		if !pkce.Verify(v, pkce.Challenge(v)) {
			t.Fatalf("NewVerifier() = %q does not match its own challenge", v)
		}
		if seen[v] {
			t.Fatalf("NewVerifier() gave %q twice", v)
		}
		seen[v] = true
	}
}

// FuzzVerify holds two properties for any two strings: nothing panics, and Verify
// is true if and only if the verifier is 43 to 128 characters of printable ASCII, as
// every well-formed one is, and the challenge is the one made from it, which then is
// well formed too.
func FuzzVerify(f *testing.F) {
	f.Add(verifier, challenge)
	f.Add(verifier, challenge[:42]+"N")
	f.Add(verifier, challenge+"=")
	f.Add(verifier, verifier)
	f.Add(verifier[:42], pkce.Challenge(verifier[:42]))
	f.Add(strings.Repeat("~", 128), pkce.Challenge(strings.Repeat("~", 128)))
	f.Add("", "")
	f.Add("\xff\x00", "é")
	f.Add(strings.Repeat("=", 43), pkce.Challenge(strings.Repeat("=", 43)))
	printable := regexp.MustCompile(`^[!-~]{43,128}$`)
	f.Fuzz(func(t *testing.T, v, c string) {
		made := pkce.Challenge(v)
		if pkce.ValidVerifier(v) && !printable.MatchString(v) {
			t.Errorf("%q is a valid verifier, and none that can prove", v)
		}
		if !pkce.ValidChallenge(made) {
			t.Errorf("Challenge(%q) = %q, which is malformed", v, made)
		}
		if got, want := pkce.Verify(v, c), printable.MatchString(v) && c == made; got != want {
			t.Errorf("Verify(%q, %q) = %t, want %t", v, c, got, want)
		}
		if got, want := pkce.Verify(v, made), printable.MatchString(v); got != want {
			t.Errorf("Verify(%q, its own challenge) = %t, want %t", v, got, want)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if !pkce.Verify(verifier, challenge) {
			b.Fatal("the pair does not match")
		}
	}
}
