package uri

import (
	"fmt"
	"slices"
	"strings"
)

// Explain says for the log how the requested redirect URI differs from the nearest
// registered one. It never contains the query, fragment or user information of the
// requested URI, and at most 80 characters of each other part, quoted. Its time is linear
// in the total number of bytes.
func Explain(requested string, registered []string) string {
	got := cutURI(requested)
	if len(registered) == 0 {
		return "the client has none in RedirectURIs"
	}
	var nearest string
	var want uriParts
	var least, longest int
	for i, uri := range registered {
		parts := cutURI(uri)
		distance, common := got.differences(parts).distance(), commonPrefix(got.path, parts.path)
		if i == 0 || distance < least || distance == least && common > longest {
			nearest, want, least, longest = uri, parts, distance, common
		}
	}
	return fmt.Sprintf("%s; the nearest registered one is %.200q", got.tell(want), nearest)
}

// uriParts is a redirect URI, cut into parts to compare byte for byte. Nothing is decoded.
type uriParts struct {
	scheme   string // empty if there is no valid one
	slashes  string // before the host
	host     string
	port     string // with its colon
	path     string
	query    string // with its question mark
	userinfo bool   // it has user information
	fragment bool   // it has a fragment
	loopback bool   // the host is this machine
	bad      string // the first byte before the query that no redirect URI may have
}

func cutURI(uri string) (p uriParts) {
	rest := uri
	if i := strings.IndexByte(rest, '#'); i >= 0 {
		rest, p.fragment = rest[:i], true
	}
	if i := strings.IndexByte(rest, '?'); i >= 0 {
		rest, p.query = rest[:i], rest[i:]
	}
	for i := range len(rest) {
		if c := rest[i]; c <= 0x20 || c >= 0x7f || strings.IndexByte(refusedCharacters, c) >= 0 {
			p.bad = rest[i : i+1]
			break
		}
	}
	if scheme, after, found := strings.Cut(rest, ":"); found && validScheme(scheme) {
		p.scheme, rest = scheme, after
	}
	p.path = strings.TrimLeft(rest, "/")
	p.slashes = rest[:len(rest)-len(p.path)]
	// For http and https, browsers ignore how many slashes are before the host.
	scheme := strings.ToLower(p.scheme)
	web := scheme == "" || scheme == "https" || scheme == "http"
	if !web && p.slashes != "" && p.slashes != "//" {
		keep := map[bool]string{true: "//"}[len(p.slashes) > 2]
		p.slashes, p.path = keep, rest[len(keep):]
		return p
	}
	authority, _, _ := strings.Cut(p.path, "/")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		p.userinfo, p.path, authority = true, p.path[i+1:], authority[i+1:]
	}
	if !web && p.slashes == "" {
		return p
	}
	p.host, p.path = authority, p.path[len(authority):]
	if i := strings.LastIndexByte(p.host, ':'); i > strings.LastIndexByte(p.host, ']') {
		p.host, p.port = p.host[:i], p.host[i:]
	}
	p.loopback = IsLoopback(p.host)
	return p
}

// A difference is a set of these bits. The message names them in this order.
type difference int

const (
	ofScheme difference = 1 << iota
	ofSchemeCase
	ofSlashes
	ofHost
	ofHostCase
	ofWWW
	ofDot
	ofLoopback
	ofPort
	ofPath
	ofPathCase
	ofSlashAtEnd
	ofQuery
)

// distance is higher the less likely it is that the request means the registered URI. Each
// small difference adds 1.
func (d difference) distance() (sum int) {
	for one := ofScheme; one <= ofQuery; one <<= 1 {
		switch {
		case d&one == 0:
		case one == ofHost:
			sum += 40
		case one == ofPath:
			sum += 12
		case one == ofScheme, one == ofLoopback:
			sum += 2
		default:
			sum++
		}
	}
	return sum
}

// differences compares all parts except user information and fragment, which no registered
// redirect URI may have.
func (p uriParts) differences(from uriParts) (d difference) {
	host, path := ofHost, ofPath
	switch {
	case strings.TrimPrefix(p.host, "www.") == strings.TrimPrefix(from.host, "www."):
		host = ofWWW
	case strings.TrimSuffix(p.host, ".") == strings.TrimSuffix(from.host, "."):
		host = ofDot
	case p.loopback && from.loopback:
		host = ofLoopback
	}
	if strings.TrimSuffix(p.path, "/") == strings.TrimSuffix(from.path, "/") {
		path = ofSlashAtEnd
	}
	d = compare(p.scheme, from.scheme, ofSchemeCase, ofScheme) |
		compare(p.host, from.host, ofHostCase, host) |
		compare(p.path, from.path, ofPathCase, path)
	if p.slashes != from.slashes {
		d |= ofSlashes
	}
	if p.port != from.port {
		d |= ofPort
	}
	if p.query != from.query {
		d |= ofQuery
	}
	return d
}

// compare returns 0 for equal texts, ofCase if they differ only in upper and lower case,
// and otherwise other.
func compare(a, b string, ofCase, other difference) difference {
	switch {
	case a == b:
		return 0
	case strings.EqualFold(a, b):
		return ofCase
	}
	return other
}

// tell says how p, the requested URI, differs from a registered one.
func (p uriParts) tell(registered uriParts) string {
	switch {
	case p.bad != "":
		return fmt.Sprintf("it has the character %q, which no redirect URI may have", p.bad)
	case p.scheme == "" && strings.Contains(p.host, "%"):
		return "it does not begin with a scheme, and seems to be percent-encoded twice"
	case p.scheme == "":
		return "it does not begin with a scheme"
	case p.scheme == "urn":
		return "it is a name and no address, and not the one that Client.OutOfBand has"
	}
	var texts []string
	d := p.differences(registered)
	for one := ofScheme; one <= ofQuery; one <<= 1 {
		if d&one != 0 {
			texts = append(texts, p.tellOne(one, registered))
		}
	}
	if p.userinfo {
		texts = append(texts, "it has user information")
	}
	if p.fragment {
		texts = append(texts, "it has a fragment")
	}
	if texts == nil {
		return "it lacks the user information or the fragment of a registered one, which is unusable"
	}
	return strings.Join(texts, ", ")
}

func (p uriParts) tellOne(one difference, registered uriParts) string {
	switch one {
	case ofScheme:
		return fmt.Sprintf("its scheme is %.80q", p.scheme)
	case ofSchemeCase:
		return fmt.Sprintf("its scheme is %.80q, and upper and lower case differ here", p.scheme)
	case ofSlashes:
		return fmt.Sprintf("%.10q follows its scheme", ":"+p.slashes)
	case ofHost:
		if begins := told(p.host); begins != p.host {
			return fmt.Sprintf("its host begins with %.80q", begins)
		}
		return fmt.Sprintf("its host is %.80q", p.host)
	case ofHostCase:
		return fmt.Sprintf("its host is %.80q, and upper and lower case differ here", told(p.host))
	case ofWWW:
		return fmt.Sprintf("its host is %.80q, with or without www.", told(p.host))
	case ofDot:
		return fmt.Sprintf("its host is %.80q, with or without a dot at its end", told(p.host))
	case ofLoopback:
		return fmt.Sprintf("its host is %.80q: 127.0.0.1, [::1] and localhost are told apart, "+
			"register each that is used", told(p.host))
	case ofPort:
		return p.tellPort(registered)
	case ofPath:
		if begins := told(p.path); begins != p.path {
			return fmt.Sprintf("its path begins with %.80q", begins)
		}
		return fmt.Sprintf("its path is %.80q", p.path)
	case ofPathCase:
		return "its path differs in upper and lower case"
	case ofSlashAtEnd:
		if strings.HasSuffix(p.path, "/") {
			return `it has a "/" at the end of its path`
		}
		return `it has no "/" at the end of its path`
	}
	switch {
	case p.query == "":
		return "it has no query"
	case registered.query == "":
		return "it has a query"
	}
	return "its query is another one"
}

// told returns the part of a requested text that may be logged. Text after a semicolon can
// be secret, and a query may have been percent-encoded or have lost its question mark.
func told(text string) string {
	if i := strings.IndexAny(text, ";%&="); i >= 0 {
		return text[:i]
	}
	return text
}

func (p uriParts) tellPort(registered uriParts) string {
	port, found := strings.CutPrefix(p.port, ":")
	var text string
	switch {
	case !found:
		text = "it has no port"
	case !validPort(port):
		if strings.Trim(port, "0123456789") != "" { // not logged: it could be a password
			return "its port is not a number"
		}
		return fmt.Sprintf("its port is %.10q, which is not a valid port", port)
	default:
		text = fmt.Sprintf("its port is %s", port)
	}
	// The advice helps only if the rest matches.
	if p.scheme == "http" && p.host == registered.host && slices.Contains(anyPortHosts, p.host) {
		text += ": register the redirect URI without a port, or set Client.AnyLoopbackPort"
	}
	return text
}

func commonPrefix(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
