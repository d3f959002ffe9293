package cimd

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"

	"github.com/usher-auth/usher/authorize/internal/uri"
)

// maxURL is the longest client_id that is a URL.
const maxURL = 2048

// address returns the URL of the document that a client_id names. Nil without an error is
// for one that is no URL. The rules are those of the draft for Client Identifiers; beside
// them the host has to be normalized, so that no rule of the host's on domains misses it.
func (s *Store) address(id string) (*url.URL, error) {
	if !strings.HasPrefix(id, "https://") && !(s.plain && strings.HasPrefix(id, "http://")) {
		return nil, nil
	}
	if len(id) > maxURL {
		return nil, errors.New("is longer than 2,048 bytes")
	}
	if err := uri.Check(id); err != nil { // http is on loopback then
		return nil, err
	}
	u, err := url.Parse(id)
	switch {
	case err != nil || u.String() != id:
		return nil, errors.New("cannot be sent as it is written")
	case u.Path == "":
		return nil, errors.New("has no path")
	case hasDotSegment(u.Path):
		return nil, errors.New("has a dot segment in its path")
	case u.Port() == "443" && u.Scheme == "https" || u.Port() == "80" && u.Scheme == "http":
		return nil, errors.New("has the port that its scheme has anyway")
	case !canonicalHost(u.Hostname()):
		return nil, errors.New("has an address that is written in an unusual way")
	case u.Host != strings.ToLower(u.Host) || strings.HasSuffix(u.Hostname(), "."):
		return nil, errors.New("has a host that is not in lower case, or has a dot at its end")
	}
	return u, nil
}

// canonicalHost reports whether a host that is an address, or would be taken for one, is
// written as everybody writes it.
func canonicalHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().String() == host
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	return last == "" || last[0] < '0' || last[0] > '9'
}

// hasDotSegment reports whether a path means another one, to us or to a server that takes
// encoded slashes for slashes. The path is decoded.
func hasDotSegment(path string) bool {
	for _, segment := range strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '\\' }) {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// shownURL is the URL for logs: a query may hold what is meant for the server alone.
func shownURL(u *url.URL) string {
	text := u.Scheme + "://" + u.Host + u.EscapedPath()
	if u.RawQuery != "" {
		text += "?..."
	}
	return text
}
