package authorizetest

import (
	"regexp"
	"strings"
)

// secret are the names of what no message shows. Whoever reads one of these values can go
// on with the sign-in, or speak for the client.
const secret = `(?:req|code|state|code_verifier|client_secret|id_token_hint|access_token|refresh_token|id_token)`

var (
	// secretParameter finds one in an address or in an encoded form, also where the address
	// is itself the value of a parameter. A comma or colon before a space is the message's.
	secretParameter = regexp.MustCompile(
		`(?i)((?:^|[^a-z0-9_-]|%3f|%26|%23)` + secret + `(?:=|%3d))(?:[^&\s"'<>#,:;]|[,:;][^&\s"'<>#])+`)

	password = regexp.MustCompile(`(://[^/?#\s:@]*:)[^/?#\s@]+@`)

	secretMember = regexp.MustCompile(`(?i)("` + secret + `"\s*:\s*)"(?:[^"\\]|\\.)*"`)

	// secretInput finds fields of any name, secretName those that count among them.
	secretInput = regexp.MustCompile(`(?i)<input\b(?:[^>"']|"[^"]*"|'[^']*')*>`)
	secretName  = regexp.MustCompile(`^` + secret + `$`)
	inputValue  = regexp.MustCompile(`(?i)(\bvalue\s*=\s*)(?:"[^"]*"|'[^']*'|[^\s"'>]+)`)

	// aJWT is the form of a waiting request, wherever a page has it.
	aJWT = regexp.MustCompile(`\beyJ[\w-]+\.[\w-]+\.[\w-]*`)
)

// redact puts … in the place of each waiting request, code, state, verifier and token in an
// address, a form, a page or a message.
func redact(text string) string {
	text = secretParameter.ReplaceAllString(text, "${1}…")
	text = password.ReplaceAllString(text, "${1}…@")
	text = secretMember.ReplaceAllString(text, `${1}"…"`)
	text = secretInput.ReplaceAllStringFunc(text, func(input string) string {
		if field, _ := readTag(input); secretName.MatchString(strings.ToLower(field.attrs["name"])) {
			return inputValue.ReplaceAllString(input, `${1}"…"`)
		}
		return input
	})
	return aJWT.ReplaceAllString(text, "…")
}

// redacted is an error with a text that is redacted. What it wraps is found as before.
type redacted struct{ error }

func (e redacted) Error() string { return redact(e.error.Error()) }

func (e redacted) Unwrap() error { return e.error }
