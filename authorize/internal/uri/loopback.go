package uri

import (
	"net/netip"
	"net/url"
	"strings"
)

// IsLoopback reports whether the host is this machine: 127.0.0.0/8, [::1], localhost or a
// name below it. It takes the host as it is in a URL, without the port.
func IsLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.IsLoopback() && !addr.Is4In6() && addr.Zone() == "" &&
		(addr.Is6() == strings.HasPrefix(host, "["))
}

// Loopback is a redirect URI on this machine, cut at its port. Compare it byte for byte:
// parsed URLs would make too many spellings equal.
type Loopback struct {
	Host string
	Port string // empty if there is none
	Rest string
}

// anyPortHosts are two loopback addresses in their only accepted spelling, and localhost.
var anyPortHosts = []string{"127.0.0.1", "[::1]", "localhost"}

// CutLoopbackPort cuts a URI whose port may vary (OAuth 2.1 §2.3.1, RFC 8252 §7.3): http at
// one of anyPortHosts. ok is false for other URIs, and for an invalid port.
func CutLoopbackPort(uri string) (l Loopback, ok bool) {
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
			return Loopback{host, port, rest[len(authority):]}, true
		}
	}
	return Loopback{}, false
}

// Impersonable reports whether any program on the user's machine could receive a response
// that is sent to the URI. That is so on loopback and for private-use schemes (RFC 8252
// §8.6). It is true for a URI that cannot be parsed.
func Impersonable(uri string) bool {
	if !TakesForms(uri) {
		return true
	}
	u, err := url.Parse(uri)
	if err != nil {
		return true
	}
	// Browsers ignore upper and lower case, and a trailing dot.
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		// Browsers accept more forms of an IP address than ParseAddr, such as 127.1 and
		// 0x7f000001.
		last := host[strings.LastIndexByte(host, '.')+1:]
		return last == "" || last[0] >= '0' && last[0] <= '9'
	}
	return addr.IsLoopback() || addr.IsUnspecified()
}
