// Package form reads the body of a form as an endpoint of OAuth has to: what cannot be read
// without doubt is an error.
package form

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// ErrTooLarge says that a body is longer than allowed.
var ErrTooLarge = errors.New("the body is too large")

// Read reads a body of at most so many bytes. Without a server in front, as in an adapter
// for functions, there may be none: it is empty then.
func Read(body io.ReadCloser, most int64) (string, error) {
	if body == nil {
		return "", nil
	}
	text, err := io.ReadAll(http.MaxBytesReader(nil, body, most))
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return "", ErrTooLarge
	}
	return string(text), err
}

// maxMediaType bounds the header Content-Type, which is parsed before anything else.
const maxMediaType = 1024

// Is reports whether a body is a form as it stands: of the media type of forms, not
// compressed, and with a charset that changes nothing about ASCII, which is all that
// the endpoints take.
func Is(header http.Header) bool {
	contentType := header.Get("Content-Type")
	if len(contentType) > maxMediaType {
		return false
	}
	mediaType, options, err := mime.ParseMediaType(contentType)
	if err != nil || mediaType != "application/x-www-form-urlencoded" ||
		!keepsASCII(options["charset"]) {
		return false
	}
	for _, line := range header.Values("Content-Encoding") {
		for encoding := range strings.SplitSeq(line, ",") {
			encoding = strings.TrimSpace(encoding)
			if encoding != "" && !strings.EqualFold(encoding, "identity") {
				return false
			}
		}
	}
	return true
}

// keepsASCII reports whether the bytes of ASCII mean themselves in the charset. Empty: no
// charset is named.
func keepsASCII(charset string) bool {
	switch charset = strings.ToLower(charset); charset {
	case "", "utf-8", "us-ascii":
		return true
	}
	return isNumbered(charset, "iso-8859-") || isNumbered(charset, "windows-125")
}

// isNumbered reports whether a name is the prefix and one or two digits.
func isNumbered(name, prefix string) bool {
	number, ok := strings.CutPrefix(name, prefix)
	return ok && (len(number) == 1 || len(number) == 2) && strings.Trim(number, "0123456789") == ""
}

// ErrMalformed says that a form cannot be split without doubt.
var ErrMalformed = errors.New("the form is malformed")

// Parse splits a form. Unlike net/url it drops nothing but parameters without a value: a
// semicolon, a malformed escape or a byte that has to be escaped is an error. The authorization
// endpoint has a loop of its own for that, which bounds what it keeps.
func Parse(raw string) (url.Values, error) {
	for i := range len(raw) {
		if c := raw[i]; c <= 0x20 || c >= 0x7f || c == ';' {
			return nil, ErrMalformed
		}
	}
	values := url.Values{}
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, nameErr := url.QueryUnescape(name)
		value, valueErr := url.QueryUnescape(value)
		switch {
		case nameErr != nil || valueErr != nil:
			return nil, ErrMalformed
		case value != "":
			values.Add(name, value)
		}
	}
	return values, nil
}
