package destination

import (
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Field is one parameter of an answer.
type Field struct{ Name, Value string }

// Fields returns the parameters of an answer in the order in which they are sent:
// those given, then state if the request had one, then iss (RFC 9207 §2). Empty
// values are left out.
func (d Destination) Fields(issuer string, given ...Field) []Field {
	fields := make([]Field, 0, len(given)+2)
	for _, f := range slices.Concat(given, []Field{{"state", d.state}, {"iss", issuer}}) {
		if f.Value != "" {
			fields = append(fields, f)
		}
	}
	return fields
}

// Location appends the fields to the redirect URI, whose own bytes stay as they
// are.
func (d Destination) Location(fields []Field) string {
	var b strings.Builder
	b.WriteString(d.uri)
	separator := byte('?')
	if _, query, found := strings.Cut(d.uri, "?"); found {
		separator = '&'
		if query == "" || query[len(query)-1] == '&' {
			separator = 0
		}
	}
	for _, f := range fields {
		if separator != 0 {
			b.WriteByte(separator)
		}
		separator = '&'
		b.WriteString(f.Name)
		b.WriteByte('=')
		b.WriteString(Escape(f.Value))
	}
	return b.String()
}

// Escape encodes a value for a query. A space becomes %20, which form decoders
// and plain percent decoders read alike; a plus only the former.
func Escape(value string) string {
	return strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
}

// ValidText reports whether the text is UTF-8 without control characters.
func ValidText(text string) bool {
	for i := range len(text) {
		if text[i] < 0x20 || text[i] == 0x7f {
			return false
		}
	}
	return utf8.ValidString(text)
}
