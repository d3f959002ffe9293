package authorizetest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// navigation is one request of a chain of redirects, with the state that a browser keeps
// along the chain.
type navigation struct {
	method string
	url    *url.URL
	body   string // of a POST: an encoded form

	// from is the page that the chain began on; nil if the user typed the address.
	from   *url.URL
	policy string // the referrer policy in force

	site       relation // the most distant so far
	tainted    bool     // a redirect made the origin meaningless
	formAction []sources
	trail      []string // requests so far, for the message about a loop
}

// relation is the relation of two addresses, the closest first.
type relation int

const (
	sameOrigin relation = iota
	sameSite
	crossSite
)

func (r relation) String() string { return [...]string{"same-origin", "same-site", "cross-site"}[r] }

// relate compares origins and sites. A site is the scheme and the last two labels
// of the host name; an address or a single label is a site of its own.
func relate(a, b *url.URL) relation {
	switch {
	case originOf(a) == originOf(b):
		return sameOrigin
	case a.Scheme == b.Scheme && siteOf(a.Hostname()) == siteOf(b.Hostname()):
		return sameSite
	}
	return crossSite
}

func siteOf(host string) string {
	host = strings.ToLower(host)
	labels := strings.Split(host, ".")
	if net.ParseIP(host) != nil || len(labels) <= 2 {
		return host
	}
	return strings.Join(labels[len(labels)-2:], ".")
}

// originOf returns scheme, host and port, without the port that the scheme implies.
func originOf(u *url.URL) string {
	host := strings.ToLower(u.Hostname())
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	port := u.Port()
	if port != "" && !(u.Scheme == "https" && port == "443") && !(u.Scheme == "http" && port == "80") {
		host += ":" + port
	}
	return u.Scheme + "://" + host
}

// request makes the HTTP request, without its cookies.
func (n *navigation) request(ctx context.Context) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, n.method, n.url.String(), strings.NewReader(n.body))
	if err != nil {
		return nil, err
	}
	h := r.Header
	h.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	h.Set("User-Agent", "authorizetest")
	if n.method == http.MethodPost {
		h.Set("Content-Type", "application/x-www-form-urlencoded")
		h.Set("Origin", n.origin())
	} else {
		r.Body, r.GetBody, r.ContentLength = http.NoBody, nil, 0
	}
	if referer := n.referer(); referer != "" {
		h.Set("Referer", referer)
	}
	if trustworthy(n.url) {
		h.Set("Sec-Fetch-Site", n.fetchSite())
		h.Set("Sec-Fetch-Mode", "navigate")
		h.Set("Sec-Fetch-Dest", "document")
	}
	return r, nil
}

// trustworthy reports whether browsers send Sec-Fetch headers to u.
func trustworthy(u *url.URL) bool {
	host := u.Hostname()
	ip := net.ParseIP(host)
	return u.Scheme == "https" || host == "localhost" || strings.HasSuffix(host, ".localhost") ||
		ip != nil && ip.IsLoopback()
}

func (n *navigation) fetchSite() string {
	if n.from == nil {
		return "none"
	}
	return n.site.String()
}

// crossSite reports whether the request is cross-site for cookies. Only the page where the
// chain of redirects began counts, not the redirects.
func (n *navigation) crossSite() bool {
	return n.from != nil && relate(n.from, n.url) == crossSite
}

// referer returns the Referer header. It follows the referrer policy of the page or, after
// redirects, of the last one that set a policy.
func (n *navigation) referer() string {
	if n.from == nil || n.from.Scheme != "https" && n.from.Scheme != "http" {
		return ""
	}
	page := *n.from
	page.User, page.Fragment, page.RawFragment = nil, "", ""
	whole, origin := page.String(), originOf(&page)+"/"
	same, downgrade := relate(n.from, n.url) == sameOrigin, n.downgrade()
	switch n.policy {
	case "no-referrer":
		return ""
	case "unsafe-url":
		return whole
	case "origin":
		return origin
	case "same-origin":
		origin = ""
	case "no-referrer-when-downgrade":
		origin = whole
	case "strict-origin":
		whole = origin
	case "origin-when-cross-origin":
		downgrade = false
	}
	switch {
	case same:
		return whole
	case downgrade:
		return ""
	}
	return origin
}

func (n *navigation) downgrade() bool { return n.from.Scheme == "https" && n.url.Scheme != "https" }

// origin returns the Origin header of a POST (Fetch Standard, "append a request Origin
// header").
func (n *navigation) origin() string {
	switch {
	case n.tainted || n.policy == "no-referrer" ||
		n.policy == "same-origin" && relate(n.from, n.url) != sameOrigin:
		return "null"
	case n.policy != "origin" && n.policy != "unsafe-url" && n.policy != "origin-when-cross-origin" && n.downgrade():
		return "null"
	}
	return originOf(n.from)
}

// follow returns the next request if the response is a redirect, and nil if not.
func (n *navigation) follow(res *http.Response) (*navigation, error) {
	location := res.Header.Get("Location")
	next := *n
	switch res.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther:
		next.method, next.body = http.MethodGet, ""
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	if location == "" {
		return nil, nil
	}
	to, err := n.url.Parse(location)
	if err != nil {
		return nil, fmt.Errorf("%s redirects to a malformed address: %w", n.url, err)
	}
	if noBrowserFollows[to.Scheme] {
		return nil, fmt.Errorf("%s redirects to a %s: URL, which no browser follows", n.url, to.Scheme)
	}
	if !strings.Contains(location, "#") {
		// The redirect inherits the fragment (RFC 9110 §10.2.2).
		to.Fragment, to.RawFragment = n.url.Fragment, n.url.RawFragment
	}
	next.url = to
	next.policy = policyOf(res.Header, n.policy)
	if n.from != nil && originOf(n.url) != originOf(to) && originOf(n.url) != originOf(n.from) {
		next.tainted = true
	}
	return &next, nil
}

// noBrowserFollows has the schemes to which browsers follow no redirect.
var noBrowserFollows = map[string]bool{"javascript": true, "data": true, "blob": true, "about": true, "file": true}

// policyOf returns the referrer policy that a response sets, or else the previous one.
func policyOf(h http.Header, before string) string {
	for _, header := range h.Values("Referrer-Policy") {
		for policy := range strings.SplitSeq(header, ",") {
			policy = strings.ToLower(strings.TrimSpace(policy))
			if referrerPolicies[policy] {
				before = policy
			}
		}
	}
	return before
}

var referrerPolicies = map[string]bool{
	"no-referrer": true, "no-referrer-when-downgrade": true, "origin": true, "origin-when-cross-origin": true,
	"same-origin": true, "strict-origin": true, "strict-origin-when-cross-origin": true, "unsafe-url": true,
}

// sources is one form-action directive of a Content-Security-Policy, of the page at
// self.
type sources struct {
	self *url.URL
	list []string
}

// formActions returns the form-action directives that a page sets. Chromium applies
// them to a form's action and to every redirect after it. So the policy of a login page
// can stop the redirect to the client.
func formActions(page *url.URL, h http.Header) []sources {
	var all []sources
	for _, header := range h.Values("Content-Security-Policy") {
		for policy := range strings.SplitSeq(header, ",") {
			for directive := range strings.SplitSeq(policy, ";") {
				words := strings.Fields(strings.ToLower(directive))
				if len(words) > 0 && words[0] == "form-action" {
					all = append(all, sources{page, words[1:]})
					break
				}
			}
		}
	}
	return all
}

// blocked returns an error if a form-action directive does not allow the address.
func (n *navigation) blocked() error {
	for _, s := range n.formAction {
		if !s.allow(n.url) {
			return fmt.Errorf(
				"the Content-Security-Policy of %s, form-action %s, makes Chromium stop the form on its way to %s",
				s.self, strings.Join(s.list, " "), originOf(n.url))
		}
	}
	return nil
}

func (s sources) allow(u *url.URL) bool {
	for _, source := range s.list {
		scheme, host, found := strings.Cut(source, "://")
		if !found {
			scheme, host = s.self.Scheme, source
		}
		host, _, _ = strings.Cut(host, "/")
		switch {
		case source == "'self'" && originOf(u) == originOf(s.self):
			return true
		case source == "*" && (u.Scheme == "https" || u.Scheme == "http"):
			return true
		case strings.HasSuffix(source, ":") && source == u.Scheme+":":
			return true
		case (scheme == u.Scheme || scheme == "http" && u.Scheme == "https") && matchHost(host, u):
			return true
		}
	}
	return false
}

// matchHost compares the host of u with a pattern: a host with an optional port. The first
// label or the port may be *.
func matchHost(pattern string, u *url.URL) bool {
	name, port, found := strings.Cut(pattern, ":")
	plain := originOf(u) == u.Scheme+"://"+strings.ToLower(u.Hostname())
	if found && port != "*" && port != u.Port() || !found && !plain {
		return false
	}
	if suffix, any := strings.CutPrefix(name, "*"); any {
		return strings.HasPrefix(suffix, ".") && strings.HasSuffix(strings.ToLower(u.Hostname()), suffix)
	}
	return name != "" && name == strings.ToLower(u.Hostname())
}
