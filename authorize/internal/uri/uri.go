// Package uri holds the rules about redirect URIs and other URLs: which can be registered,
// which are on this machine, which schemes are refused, which part is shown to a person,
// and how a URI differs from the registered ones. It compares bytes: nothing is decoded or
// normalized.
package uri

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// refusedCharacters are the printable characters that no redirect URI may have.
const refusedCharacters = "\"<>\\^`{|}*#"

// Check returns what makes a registered redirect URI unusable, or nil. The URI must be
// absolute, without fragment, user information or wildcard, with a safe scheme, and without
// the parameters that a response adds. A private-use scheme without a dot is safe only if
// privateUseSchemes has it.
func Check(uri string, privateUseSchemes ...string) error {
	for i := range len(uri) {
		if c := uri[i]; c <= 0x20 || c >= 0x7f || strings.IndexByte(refusedCharacters, c) >= 0 {
			return fmt.Errorf("has a character that a redirect URI may not have: %q", c)
		}
	}
	scheme, rest, found := strings.Cut(uri, ":")
	if !found {
		return errors.New("is not an absolute URI")
	}
	authority, slashes := strings.CutPrefix(rest, "//")
	if i := strings.IndexAny(authority, "/?"); i >= 0 {
		authority = authority[:i]
	}
	if slashes && strings.Contains(authority, "@") {
		return errors.New("has user information")
	}
	if strings.ContainsAny(rest, "%?") {
		if err := checkEncoding(rest); err != nil {
			return err
		}
	}
	if scheme != "https" && scheme != "http" {
		return checkPrivateUse(scheme, rest, privateUseSchemes)
	}
	if !slashes {
		return errors.New("has no host")
	}
	return checkHost(scheme, authority)
}

// checkHost accepts a domain name in ASCII, an IPv4 address or an IPv6 literal
// without a zone, and http on loopback only.
func checkHost(scheme, authority string) error {
	host := authority
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		if !validPort(authority[i+1:]) {
			return errors.New("has an invalid port")
		}
		host = authority[:i]
	}
	valid := host != "" && len(host) <= 253 && host[0] != '.' && host[0] != '-' &&
		!strings.Contains(host, "..")
	for i := range len(host) {
		c := host[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') &&
			strings.IndexByte("-._", c) < 0 {
			valid = false
		}
	}
	if literal, ok := strings.CutPrefix(host, "["); ok {
		literal, ok = strings.CutSuffix(literal, "]")
		addr, err := netip.ParseAddr(literal)
		valid = ok && err == nil && addr.Is6() && addr.Zone() == ""
	}
	switch {
	case !valid:
		return errors.New("has no valid host")
	case scheme == "http" && !IsLoopback(host):
		return errors.New("uses http on a host that is not loopback")
	}
	return nil
}

func validPort(digits string) bool {
	if len(digits) == 0 || len(digits) > 5 || digits[0] == '0' {
		return false
	}
	port := 0
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return false
		}
		port = port*10 + int(digits[i]-'0')
	}
	return port <= 65535
}

// checkEncoding refuses malformed percent-encoding, and a query that already has a response
// parameter: the client would get it twice.
func checkEncoding(rest string) error {
	if _, err := url.PathUnescape(rest); err != nil {
		return errors.New("has a malformed percent-encoding")
	}
	_, query, _ := strings.Cut(rest, "?")
	pairs := strings.FieldsFunc(query, func(r rune) bool { return r == '&' || r == ';' })
	for _, pair := range pairs {
		name, _, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil || slices.Contains(responseParameters, name) {
			return fmt.Errorf("has the response parameter %q in its query", name)
		}
	}
	return nil
}

var responseParameters = []string{
	"code", "state", "iss", "error", "error_description", "error_uri", "response",
	"access_token", "id_token", "token_type", "expires_in", "scope", "session_state",
}

// TakesForms reports whether a browser can post a form to the URI.
func TakesForms(uri string) bool {
	return strings.HasPrefix(uri, "https://") || strings.HasPrefix(uri, "http://")
}

// Host returns the host of the URI for a person to read. For a URI that is not http or
// https it returns the scheme with its colon: its host has no meaning, and the scheme does
// not look like a website.
func Host(uri string) string {
	if TakesForms(uri) {
		if u, err := url.Parse(uri); err == nil {
			return u.Host
		}
		return ""
	}
	scheme, _, found := strings.Cut(uri, ":")
	if !found {
		return ""
	}
	return scheme + ":"
}

// Param is a parameter. Its name must not need encoding.
type Param struct{ Name, Value string }

// Encode writes parameters for a query or a fragment. A space becomes %20, because form
// decoders and plain percent decoders both read it as a space. Only form decoders read a
// plus so.
func Encode(params []Param) string {
	var text strings.Builder
	for i, p := range params {
		if i > 0 {
			text.WriteByte('&')
		}
		text.WriteString(p.Name)
		text.WriteByte('=')
		text.WriteString(strings.ReplaceAll(url.QueryEscape(p.Value), "+", "%20"))
	}
	return text.String()
}
