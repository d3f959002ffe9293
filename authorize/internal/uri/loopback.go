package uri

import (
	"net/netip"
	"net/url"
	"strings"
)

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

// Loopback is a redirect URI on this machine, cut at its port. Only its bytes count:
// parsed URLs would treat too many spellings as equal.
type Loopback struct {
	Host string
	Port string // empty without one
	Rest string
}

// anyPortHosts are the two addresses that are written in one way only, and localhost.
var anyPortHosts = []string{"127.0.0.1", "[::1]", "localhost"}

// CutLoopbackPort cuts the URIs of which the port may vary (OAuth 2.1 §2.3.1, RFC 8252 §7.3):
// http at one of anyPortHosts. One with a port that is none is not ok.
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
