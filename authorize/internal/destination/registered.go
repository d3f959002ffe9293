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
	if got, ok := cutPort(requested); ok {
		for _, registered := range reg.URIs {
			want, ok := cutPort(registered)
			same := ok && got.host == want.host && got.rest == want.rest
			if same && (want.port == "" || reg.AnyLoopbackPort) {
				return registered, nil
			}
		}
	}
	return "", errors.New("redirect_uri is not registered: " + explain(requested, reg.URIs))
}

// loopback is a redirect URI on this machine, cut at its port. Only its bytes count:
// parsed URLs would treat too many spellings as equal.
type loopback struct {
	host string
	port string // empty without one
	rest string
}

// anyPortHosts are the two addresses that are written in one way only, and localhost.
var anyPortHosts = []string{"127.0.0.1", "[::1]", "localhost"}

// cutPort cuts the URIs of which the port may vary (OAuth 2.1 §2.3.1, RFC 8252 §7.3):
// http at one of anyPortHosts. One with a port that is none is not ok.
func cutPort(uri string) (l loopback, ok bool) {
	for _, host := range anyPortHosts {
		rest, found := strings.CutPrefix(uri, "http://"+host)
		if !found {
			continue
		}
		authority := rest
		if i := strings.IndexAny(rest, "/?"); i >= 0 {
			authority = rest[:i]
		}
		port, colon := strings.CutPrefix(authority, ":")
		if colon && validPort(port) || authority == "" {
			return loopback{host, port, rest[len(authority):]}, true
		}
	}
	return loopback{}, false
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
// which has a dot (RFC 8252 §7.1), or one that is named, byte for byte.
func checkPrivateUse(scheme, rest string, named []string) error {
	if err := checkScheme(scheme); err != nil {
		return err
	}
	if !strings.Contains(scheme, ".") && !slices.Contains(named, scheme) {
		return fmt.Errorf("has the scheme %.80q, which is neither https nor a private-use one "+
			"such as com.example.app: if it belongs to an app of this client, "+
			"put it into Client.PrivateUseSchemes, in the same letters", scheme)
	}
	if strings.Trim(rest, "/") == "" && len(rest) <= 2 {
		return errors.New("has nothing after its scheme")
	}
	return nil
}

// CheckPrivateUse reports what makes a name unusable as one of the schemes without a
// dot that a client may have.
func CheckPrivateUse(name string) error {
	switch {
	case !validScheme(name):
		return errors.New("is no scheme: write what stands before the colon, such as cursor")
	case strings.Contains(name, "."):
		return errors.New("has a dot: such schemes may be used without being named")
	case checkScheme(name) != nil:
		return errors.New("belongs to browsers or to the system: no client can have it")
	}
	return nil
}

// refusedSchemes mean something to browsers or to the system, so that an answer would
// be run, shown, sent on or lost. No client can have them, named or not, in whatever
// letters: browsers read them without regard to case.
var refusedSchemes = []string{
	"about", "android-app", "blob", "chrome", "data", "file", "filesystem", "ftp", "http", "https",
	"intent", "jar", "javascript", "ldap", "mailto", "res", "search-ms", "smb", "sms", "tel", "urn",
	"vbscript", "view-source", "ws", "wss",
}

// checkScheme accepts a scheme that an app may have for itself.
//
// All that begin with ms- belong to Windows. A reversed domain name does not begin so,
// because no top-level domain does. Those that end in -extension belong to browsers;
// they have no dot, and a reversed domain name may end so.
func checkScheme(scheme string) error {
	name := strings.ToLower(scheme)
	switch {
	case !validScheme(scheme):
		return errors.New("is not an absolute URI: it does not begin with a scheme")
	case name == "urn":
		return errors.New("is a name and no address: " +
			"for answers in the response's body set Client.OutOfBand")
	case name == "https" || name == "http":
		return fmt.Errorf("has the scheme %q, which has to be written in lower case", scheme)
	case slices.Contains(refusedSchemes, name), strings.HasPrefix(name, "ms-"),
		strings.HasSuffix(name, "-extension") && !strings.Contains(name, "."):
		return fmt.Errorf("has the scheme %.80q, which belongs to browsers or to the system "+
			"and is always refused, also in Client.PrivateUseSchemes", scheme)
	}
	return nil
}

// validScheme is the syntax of RFC 3986 §3.1.
func validScheme(scheme string) bool {
	for i := range len(scheme) {
		c := scheme[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return scheme != ""
}

// CheckName accepts a URN (RFC 8141 §2) in plain characters, which neither a browser nor
// a person takes for an address.
func CheckName(name string) error {
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
// what is sent to the URI: loopback and private-use schemes (RFC 8252 §8.6). What is
// not understood counts as such.
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
	if err != nil {
		// Browsers read more as an address than this does, such as 127.1 and 0x7f000001.
		last := host[strings.LastIndexByte(host, '.')+1:]
		return last == "" || last[0] >= '0' && last[0] <= '9'
	}
	return addr.IsLoopback() || addr.IsUnspecified()
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
