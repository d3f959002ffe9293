package authorizetest

import (
	"regexp"
	"strings"
)

// secret has the names of values that no message shows. With such a value, a reader of the
// message could continue the sign-in or act as the client.
const secret = `(?:req|code|state|code_verifier|client_secret|id_token_hint|access_token|refresh_token|id_token)`

var (
	// secretParameter finds such a value in an address or in an encoded form, also if the address
	// is the value of a parameter. A comma or colon before a space belongs to the message.
	secretParameter = regexp.MustCompile(
		`(?i)((?:^|[^a-z0-9_-]|%3f|%26|%23)` + secret + `(?:=|%3d))(?:[^&\s"'<>#,:;]|[,:;][^&\s"'<>#])+`)

	password = regexp.MustCompile(`(://[^/?#\s:@]*:)[^/?#\s@]+@`)

	secretMember = regexp.MustCompile(`(?i)("` + secret + `"\s*:\s*)"(?:[^"\\]|\\.)*"`)

	// secretInput finds fields of any name, and secretName matches the names that are secret.
	secretInput = regexp.MustCompile(`(?i)<input\b(?:[^>"']|"[^"]*"|'[^']*')*>`)
	secretName  = regexp.MustCompile(`^` + secret + `$`)
	inputValue  = regexp.MustCompile(`(?i)(\bvalue\s*=\s*)(?:"[^"]*"|'[^']*'|[^\s"'>]+)`)

	// aJWT finds JWTs. A pending request has this form.
	aJWT = regexp.MustCompile(`\beyJ[\w-]+\.[\w-]+\.[\w-]*`)
)

// redact replaces each pending request, code, state, verifier and token in an address, a form,
// a page or a message with ….
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

// redacted is an error whose text is redacted. errors.Is and errors.As find what it wraps.
type redacted struct{ error }

func (e redacted) Error() string { return redact(e.error.Error()) }

func (e redacted) Unwrap() error { return e.error }
