// Package destination holds the proof that an answer may be sent somewhere.
//
// A [Destination] with an address can only come from [Match]. Whoever sends an
// answer asks for one, so an address that was not proven has no value that could
// be passed. The zero value has no address: it can only lead to the error page.
package destination

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Mode is how an answer travels (OAuth 2.0 Multiple Response Type Encoding
// Practices §2.1, OAuth 2.0 Form Post Response Mode).
type Mode string

const (
	Query    Mode = "query"
	FormPost Mode = "form_post"
)

// Registration is what a client has registered.
type Registration struct {
	URIs             []string
	DefaultSingle    bool // an absent redirect_uri may mean the only registered one
	Native           bool // the port of a loopback URI may vary
	LocalhostAnyPort bool // that of localhost too
}

// Destination is a proven redirect URI with the mode and the state to answer in.
type Destination struct {
	uri   string
	mode  Mode
	state string
}

// Match proves that requested is one of the registered redirect URIs and that the
// registered value may be used at all. mode falls back to Query where the URI
// cannot take it, and state is returned to the client only if [ValidState].
func Match(requested string, reg Registration, mode Mode, state string) (Destination, error) {
	registered, err := find(requested, reg)
	if err != nil {
		return Destination{}, err
	}
	if err := Check(registered); err != nil {
		return Destination{}, fmt.Errorf("registered redirect URI: %w", err)
	}
	if requested == "" {
		requested = registered
	}
	if mode != FormPost || !TakesForms(requested) {
		mode = Query
	}
	if !ValidState(state) {
		state = ""
	}
	return Destination{uri: requested, mode: mode, state: state}, nil
}

func find(requested string, reg Registration) (registered string, err error) {
	if requested == "" {
		if !reg.DefaultSingle || len(reg.URIs) != 1 {
			return "", errors.New("redirect_uri is missing")
		}
		return reg.URIs[0], nil
	}
	if slices.Contains(reg.URIs, requested) {
		return requested, nil
	}
	if reg.Native {
		for _, registered := range reg.URIs {
			if samePortAside(requested, registered, reg.LocalhostAnyPort) {
				return registered, nil
			}
		}
	}
	return "", errors.New("redirect_uri is not registered")
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

// Check reports what makes a registered redirect URI unusable: it must be
// absolute, without fragment, user information or wildcard, of a safe scheme, and
// free of the parameters that an answer adds.
func Check(uri string) error {
	for i := range len(uri) {
		if c := uri[i]; c <= 0x20 || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}*#", c) >= 0 {
			return fmt.Errorf("has a character that a redirect URI may not have: %q", c)
		}
	}
	scheme, rest, ok := strings.Cut(uri, ":")
	if !ok || scheme == "" || !validScheme(scheme) {
		return errors.New("is not an absolute URI")
	}
	if !validEscapes(rest) {
		return errors.New("has a malformed percent-encoding")
	}
	switch {
	case scheme == "https" || scheme == "http":
		if err := checkAuthority(scheme, rest); err != nil {
			return err
		}
	case !strings.Contains(scheme, ".") || strings.ToLower(scheme) != scheme:
		return errors.New("has a scheme that is neither https nor a private-use one such as com.example.app")
	case rest == "" || rest == "/" || rest == "//":
		return errors.New("has nothing after its scheme")
	case strings.HasPrefix(rest, "//") && strings.Contains(authorityOf(rest[2:]), "@"):
		return errors.New("has user information")
	}
	return checkQuery(rest)
}

func checkAuthority(scheme, rest string) error {
	rest, ok := strings.CutPrefix(rest, "//")
	if !ok {
		return errors.New("has no host")
	}
	authority := authorityOf(rest)
	if strings.Contains(authority, "@") {
		return errors.New("has user information")
	}
	host, port := authority, ""
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		host, port = authority[:i], authority[i+1:]
		if !validPort(port) {
			return errors.New("has an invalid port")
		}
	}
	if !validHost(host) {
		return errors.New("has no valid host")
	}
	if scheme == "http" && !IsLoopback(host) {
		return errors.New("uses http on a host that is not loopback")
	}
	return nil
}

// authorityOf returns what stands before the path and the query.
func authorityOf(rest string) string {
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		return rest[:i]
	}
	return rest
}

// checkQuery refuses a query that already has a parameter of an answer: the
// client would find two of them.
func checkQuery(rest string) error {
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

func validScheme(scheme string) bool {
	for i := range len(scheme) {
		c := scheme[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return true
}

func validEscapes(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			continue
		}
		if i+2 >= len(text) || !isHex(text[i+1]) || !isHex(text[i+2]) {
			return false
		}
		i += 2
	}
	return true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// validHost accepts a domain name in ASCII, an IPv4 address, or an IPv6 literal
// without a zone.
func validHost(host string) bool {
	if literal, ok := strings.CutPrefix(host, "["); ok {
		literal, ok = strings.CutSuffix(literal, "]")
		addr, err := netip.ParseAddr(literal)
		return ok && err == nil && addr.Is6() && addr.Zone() == ""
	}
	if host == "" || len(host) > 253 || strings.Contains(host, "..") || host[0] == '.' || host[0] == '-' {
		return false
	}
	for i := range len(host) {
		c := host[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
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
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || isLoopbackAddr(host)
}

func isLoopbackAddr(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// Host returns the host of the URI for a person to read, or the scheme where
// there is none, or nothing where it is neither.
func Host(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	if u.Host != "" && TakesForms(uri) {
		return u.Host
	}
	return u.Scheme
}

// maxState is the longest state that is returned.
const maxState = 8192

// ValidState reports whether the state can be returned to the client byte for
// byte in every response mode: UTF-8 without control characters, at most 8 KiB.
func ValidState(state string) bool {
	return len(state) <= maxState && ValidText(state)
}

// IsZero reports whether there is no address.
func (d Destination) IsZero() bool { return d.uri == "" }

// URI returns the proven redirect URI, empty for the zero value.
func (d Destination) URI() string { return d.uri }

// Mode returns how the answer travels.
func (d Destination) Mode() Mode { return d.mode }

// State returns the state to send back, empty for none.
func (d Destination) State() string { return d.state }
