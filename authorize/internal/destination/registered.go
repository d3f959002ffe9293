package destination

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// exception returns the registered URI that a request means without naming it byte
// for byte: the only one, or one on loopback with another port.
func (reg Registration) exception(requested string) (registered string, err error) {
	if requested == "" {
		if !reg.DefaultSingle || len(reg.URIs) != 1 {
			return "", ErrMissing
		}
		return reg.URIs[0], nil
	}
	if reg.Native {
		for _, registered := range reg.URIs {
			if samePortAside(requested, registered, reg.LocalhostAnyPort) {
				return registered, nil
			}
		}
	}
	for _, registered := range reg.URIs {
		if samePortAside(requested, registered, true) {
			return "", errors.New("redirect_uri differs from a registered one in its port: for a native client set Native, for localhost LocalhostAnyPort too")
		}
	}
	return "", fmt.Errorf("redirect_uri is not registered: it is at %.80q", Host(requested))
}

// samePortAside compares the bytes before and after the port (RFC 8252 §7.3).
// Parsed URLs would treat too many spellings as equal.
func samePortAside(requested, registered string, localhost bool) bool {
	hosts := []string{"http://127.0.0.1", "http://[::1]"}
	if localhost {
		hosts = append(hosts, "http://localhost")
	}
	for _, host := range hosts {
		want, ok := cutPort(registered, host)
		if !ok {
			continue
		}
		got, ok := cutPort(requested, host)
		return ok && got == want
	}
	return false
}

// cutPort returns what follows the host and its port, if there is one.
func cutPort(uri, host string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(uri, host)
	if !ok {
		return "", false
	}
	if !strings.HasPrefix(rest, ":") {
		return rest, rest == "" || rest[0] == '/' || rest[0] == '?'
	}
	rest = rest[1:]
	digits := 0
	for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
		digits++
	}
	if !validPort(rest[:digits]) {
		return "", false
	}
	rest = rest[digits:]
	return rest, rest == "" || rest[0] == '/' || rest[0] == '?'
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

// checkPrivateUse accepts the scheme of an app: a reversed domain name of its maker,
// which has a dot and no capitals (RFC 8252 §7.1). It keeps out javascript, data and
// all others that mean something to browsers.
func checkPrivateUse(scheme, rest string) error {
	for i := range len(scheme) {
		c := scheme[i]
		if (c < 'a' || c > 'z') && (i == 0 || (c < '0' || c > '9') && c != '+' && c != '-' && c != '.') {
			return errors.New("is not an absolute URI with a scheme in lower case")
		}
	}
	if scheme == "urn" {
		return errors.New("is a name and no address: for answers in the response's body set Client.OutOfBand")
	}
	if !strings.Contains(scheme, ".") {
		return errors.New("has a scheme that is neither https nor a private-use one such as com.example.app")
	}
	if strings.Trim(rest, "/") == "" && len(rest) <= 2 {
		return errors.New("has nothing after its scheme")
	}
	return nil
}

// checkName accepts a URN (RFC 8141 §2) in plain characters, which neither a browser nor
// a person takes for an address.
func checkName(name string) error {
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte(":-._", c) < 0 {
			return fmt.Errorf("has a character that is neither a letter, a digit nor one of \":-._\": %q", c)
		}
	}
	if !strings.HasPrefix(name, "urn:") || len(name) == len("urn:") {
		return errors.New(`is no name after "urn:"`)
	}
	return nil
}

// checkEncoding refuses malformed percent-encoding, and a query that already has a
// parameter of an answer: the client would find two of them.
func checkEncoding(rest string) error {
	if _, err := url.PathUnescape(rest); err != nil {
		return errors.New("has a malformed percent-encoding")
	}
	_, query, _ := strings.Cut(rest, "?")
	pairs := strings.FieldsFunc(query, func(r rune) bool { return r == '&' || r == ';' })
	for _, pair := range pairs {
		name, _, _ := strings.Cut(pair, "=")
		if name, err := url.QueryUnescape(name); err != nil || slices.Contains(responseParameters, name) {
			return fmt.Errorf("has the response parameter %q in its query", name)
		}
	}
	return nil
}

var responseParameters = []string{
	"code", "state", "iss", "error", "error_description", "error_uri", "response",
	"access_token", "id_token", "token_type", "expires_in", "scope", "session_state",
}

// IsLoopback reports whether the host, as it stands in a URL and without a port,
// is this machine: 127.0.0.0/8, [::1], localhost or a name below it.
func IsLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.IsLoopback() && !addr.Is4In6() && addr.Zone() == "" &&
		(addr.Is6() == strings.HasPrefix(host, "["))
}

// TakesForms reports whether a browser can post a form to the URI.
func TakesForms(uri string) bool {
	return strings.HasPrefix(uri, "https://") || strings.HasPrefix(uri, "http://")
}

// Impersonable reports whether any program on the user's machine could receive
// what is sent to the URI: loopback and private-use schemes (RFC 8252 §8.6).
func Impersonable(uri string) bool {
	if !TakesForms(uri) {
		return true
	}
	u, err := url.Parse(uri)
	if err != nil {
		return true
	}
	// Browsers ignore the case and a trailing dot.
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// Host returns the host of the URI for a person to read. A URI that is not of http or
// https has none that means anything: then it is the scheme with its colon, which
// nobody takes for a website.
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
