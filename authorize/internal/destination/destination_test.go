package destination

import (
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/usher-auth/usher/authorize/internal/uri"
	oautherr "github.com/usher-auth/usher/errors"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		rule       string
		requested  string
		registered string
		flags      string // a: any port on loopback, s: two schemes are named, d: default to the single one
		ok         bool
	}{
		{"the same bytes", "https://app.example/cb", "https://app.example/cb", "", true},
		{"the same bytes, with a query", "https://app.example/cb?a=1&b=%2e", "https://app.example/cb?a=1&b=%2e", "", true},
		{"private-use scheme", "com.example.app:/cb", "com.example.app:/cb", "", true},
		{"http on loopback", "http://127.0.0.1:8080/cb", "http://127.0.0.1:8080/cb", "", true},

		{"another host", "https://evil.example/cb", "https://app.example/cb", "", false},
		{"a host that begins alike", "https://app.example.evil.example/cb", "https://app.example/cb", "", false},
		{"a host that ends alike", "https://evilapp.example/cb", "https://app.example/cb", "", false},
		{"the registered one as user information", "https://app.example@evil.example/cb", "https://app.example/cb", "", false},
		{"several at signs", "https://app.example@@evil.example/cb", "https://app.example/cb", "", false},
		{"a backslash for a slash", `https://app.example\@evil.example/cb`, "https://app.example/cb", "", false},
		{"a path below", "https://app.example/cb/more", "https://app.example/cb", "", false},
		{"a path above", "https://app.example/", "https://app.example/cb", "", false},
		{"a trailing slash more", "https://app.example/cb/", "https://app.example/cb", "", false},
		{"a trailing slash less", "https://app.example", "https://app.example/", "", false},
		{"dot segments", "https://app.example/x/../cb", "https://app.example/cb", "", false},
		{"dot segments, encoded", "https://app.example/cb/%2e%2e/cb", "https://app.example/cb", "", false},
		{"dot segments, encoded twice", "https://app.example/cb/%252e%252e/x", "https://app.example/cb", "", false},
		{"a path parameter", "https://app.example/cb;x", "https://app.example/cb", "", false},
		{"an encoded letter", "https://app.example/%63b", "https://app.example/cb", "", false},
		{"hex digits in the other case", "https://app.example/%2F", "https://app.example/%2f", "", false},
		{"path in the other case", "https://app.example/CB", "https://app.example/cb", "", false},
		{"host in the other case", "https://APP.example/cb", "https://app.example/cb", "", false},
		{"scheme in the other case", "HTTPS://app.example/cb", "https://app.example/cb", "", false},
		{"another scheme", "http://app.example/cb", "https://app.example/cb", "", false},
		{"the default port written out", "https://app.example:443/cb", "https://app.example/cb", "", false},
		{"an empty port", "https://app.example:/cb", "https://app.example/cb", "", false},
		{"a trailing dot", "https://app.example./cb", "https://app.example/cb", "", false},
		{"a query more", "https://app.example/cb?a=1", "https://app.example/cb", "", false},
		{"an empty query more", "https://app.example/cb?", "https://app.example/cb", "", false},
		{"a query less", "https://app.example/cb", "https://app.example/cb?a=1", "", false},
		{"the query in another order", "https://app.example/cb?b=2&a=1", "https://app.example/cb?a=1&b=2", "", false},
		{"a fragment", "https://app.example/cb#f", "https://app.example/cb", "", false},
		{"an empty fragment", "https://app.example/cb#", "https://app.example/cb", "", false},
		{"a space before", " https://app.example/cb", "https://app.example/cb", "", false},
		{"a space behind", "https://app.example/cb ", "https://app.example/cb", "", false},
		{"a line break behind", "https://app.example/cb\r\n", "https://app.example/cb", "", false},
		{"a NUL behind", "https://app.example/cb\x00", "https://app.example/cb", "", false},
		{"a registered pattern is no pattern", "https://appXexample/cb", "https://app.example/cb", "", false},
		{"a registered wildcard is none", "https://a.app.example/cb", "https://*.app.example/cb", "", false},
		{"a registered wildcard, asked for as it is", "https://*.app.example/cb", "https://*.app.example/cb", "", false},
		{"a registered script", "javascript:alert(1)", "javascript:alert(1)", "", false},
		{"a registered fragment", "https://app.example/cb#f", "https://app.example/cb#f", "", false},
		{"a registered http URI that is not loopback", "http://app.example/cb", "http://app.example/cb", "", false},
		{"nothing registered", "https://app.example/cb", "", "", false},
		{"one of several", "https://app.example/cb2", "https://app.example/cb https://app.example/cb2", "", true},
		{"joined by the separator of this table", "https://app.example/cb https://app.example/cb2", "https://app.example/cb https://app.example/cb2", "", false},

		{"absent", "", "https://app.example/cb", "", false},
		{"absent, with a default", "", "https://app.example/cb", "d", true},
		{"absent, with two registered", "", "https://app.example/cb https://app.example/cb2", "d", false},
		{"absent, with none registered", "", "", "d", false},
		{"absent, with an unusable default", "", "javascript:alert(1)", "d", false},

		{"a port where none is registered", "http://127.0.0.1:49152/cb", "http://127.0.0.1/cb", "", true},
		{"a port where none is registered, with the flag", "http://127.0.0.1:49152/cb", "http://127.0.0.1/cb", "a", true},
		{"no port where none is registered", "http://127.0.0.1/cb", "http://127.0.0.1/cb", "", true},
		{"another port than the registered", "http://127.0.0.1:49152/cb", "http://127.0.0.1:8080/cb", "", false},
		{"another port than the registered, with the flag", "http://127.0.0.1:49152/cb", "http://127.0.0.1:8080/cb", "a", true},
		{"no port where one is registered", "http://127.0.0.1/cb", "http://127.0.0.1:8080/cb", "", false},
		{"no port where one is registered, with the flag", "http://127.0.0.1/cb", "http://127.0.0.1:8080/cb", "a", true},
		{"IPv6, another port than the registered", "http://[::1]:49152/cb", "http://[::1]:8080/cb", "", false},
		{"IPv6, another port than the registered, with the flag", "http://[::1]:49152/cb", "http://[::1]:8080/cb", "a", true},
		{"localhost, another port than the registered", "http://localhost:49152/cb", "http://localhost:8080/cb", "", false},
		{"localhost, another port than the registered, with the flag", "http://localhost:49152/cb", "http://localhost:8080/cb", "a", true},
		{"port 1", "http://127.0.0.1:1/cb", "http://127.0.0.1/cb", "", true},
		{"port 65535", "http://127.0.0.1:65535/cb", "http://127.0.0.1/cb", "", true},
		{"port 65536", "http://127.0.0.1:65536/cb", "http://127.0.0.1/cb", "", false},
		{"port 99999", "http://127.0.0.1:99999/cb", "http://127.0.0.1/cb", "", false},
		{"port of six digits", "http://127.0.0.1:100000/cb", "http://127.0.0.1/cb", "", false},
		{"port that overflows", "http://127.0.0.1:18446744073709551617/cb", "http://127.0.0.1/cb", "", false},
		{"port 0", "http://127.0.0.1:0/cb", "http://127.0.0.1/cb", "", false},
		{"port with a leading zero", "http://127.0.0.1:080/cb", "http://127.0.0.1/cb", "", false},
		{"empty port", "http://127.0.0.1:/cb", "http://127.0.0.1/cb", "", false},
		{"port with a sign", "http://127.0.0.1:+80/cb", "http://127.0.0.1/cb", "", false},
		{"port that is a word", "http://127.0.0.1:http/cb", "http://127.0.0.1/cb", "", false},
		{"port in other digits", "http://127.0.0.1:٨٠/cb", "http://127.0.0.1/cb", "", false},
		{"port and a letter", "http://127.0.0.1:80a/cb", "http://127.0.0.1/cb", "", false},
		{"two ports", "http://127.0.0.1:80:80/cb", "http://127.0.0.1/cb", "", false},
		{"user information before the port", "http://127.0.0.1:80@evil.example/cb", "http://127.0.0.1/cb", "", false},
		{"user information", "http://user@127.0.0.1:80/cb", "http://127.0.0.1/cb", "", false},
		{"another path", "http://127.0.0.1:80/other", "http://127.0.0.1/cb", "", false},
		{"an encoded path", "http://127.0.0.1:80/%63b", "http://127.0.0.1/cb", "", false},
		{"loopback: path in the other case", "http://127.0.0.1:80/CB", "http://127.0.0.1/cb", "", false},
		{"loopback: a query more", "http://127.0.0.1:80/cb?a=1", "http://127.0.0.1/cb", "", false},
		{"loopback: an empty query more", "http://127.0.0.1:80/cb?", "http://127.0.0.1/cb", "", false},
		{"loopback: a fragment", "http://127.0.0.1:80/cb#", "http://127.0.0.1/cb", "", false},
		{"the query as registered", "http://127.0.0.1:80/cb?a=1", "http://127.0.0.1/cb?a=1", "", true},
		{"no path, as registered", "http://127.0.0.1:80", "http://127.0.0.1", "", true},
		{"a query without a path, as registered", "http://127.0.0.1:80?a=1", "http://127.0.0.1?a=1", "", true},
		{"a host that begins like loopback", "http://127.0.0.1.evil.example/cb", "http://127.0.0.1/cb", "", false},
		{"a host that begins like loopback, with a port", "http://127.0.0.1.evil.example:80/cb", "http://127.0.0.1/cb", "", false},
		{"another loopback address", "http://127.0.0.2:80/cb", "http://127.0.0.1/cb", "", false},
		{"127.0.0.2 is registered: exact only", "http://127.0.0.2:80/cb", "http://127.0.0.2/cb", "", false},
		{"a shorter spelling", "http://127.1:80/cb", "http://127.0.0.1/cb", "", false},
		{"a decimal spelling", "http://2130706433:80/cb", "http://127.0.0.1/cb", "", false},
		{"loopback: a trailing dot", "http://127.0.0.1.:80/cb", "http://127.0.0.1/cb", "", false},
		{"https", "https://127.0.0.1:80/cb", "http://127.0.0.1/cb", "", false},
		{"https is registered: exact only", "https://127.0.0.1:80/cb", "https://127.0.0.1/cb", "", false},
		{"loopback: scheme in the other case", "HTTP://127.0.0.1:80/cb", "http://127.0.0.1/cb", "", false},
		{"IPv6, another port", "http://[::1]:80/cb", "http://[::1]/cb", "", true},
		{"IPv6 in full", "http://[0:0:0:0:0:0:0:1]:80/cb", "http://[::1]/cb", "", false},
		{"IPv6 without brackets", "http://::1:80/cb", "http://[::1]/cb", "", false},
		{"IPv6 with a zone", "http://[::1%25lo]:80/cb", "http://[::1]/cb", "", false},
		{"IPv4 mapped", "http://[::ffff:127.0.0.1]:80/cb", "http://127.0.0.1/cb", "", false},
		{"IPv6 for IPv4", "http://[::1]:80/cb", "http://127.0.0.1/cb", "a", false},
		{"IPv4 for IPv6", "http://127.0.0.1:80/cb", "http://[::1]/cb", "a", false},
		{"localhost for IPv4", "http://localhost:80/cb", "http://127.0.0.1/cb", "a", false},
		{"IPv4 for localhost", "http://127.0.0.1:80/cb", "http://localhost/cb", "a", false},
		{"localhost, any port", "http://localhost:80/cb", "http://localhost/cb", "", true},
		{"localhost in the other case", "http://LOCALHOST:80/cb", "http://localhost/cb", "a", false},
		{"localhost with a trailing dot", "http://localhost.:80/cb", "http://localhost/cb", "a", false},
		{"a host that begins like localhost", "http://localhost.evil.example:80/cb", "http://localhost/cb", "a", false},
		{"a host that ends like localhost", "http://evil.localhost:80/cb", "http://localhost/cb", "a", false},
		{"localhost as user information", "http://localhost:80@evil.example/cb", "http://localhost/cb", "a", false},
		{"a private-use scheme has no port", "com.example.app://host:80/cb", "com.example.app://host/cb", "a", false},
		{"a registered response parameter, another port", "http://127.0.0.1:80/cb?code=x", "http://127.0.0.1/cb?code=x", "", false},
		{"IPv4 for IPv6, each registered for itself", "http://127.0.0.1:80/b", "http://127.0.0.1/a http://[::1]/b", "a", false},
		{"a registered port that is none", "http://127.0.0.1:80/cb", "http://127.0.0.1:99999/cb", "a", false},
		{"127.0.0.2 is registered with a port: exact only", "http://127.0.0.2:80/cb", "http://127.0.0.2:81/cb", "a", false},
		{"a name below localhost is registered: exact only", "http://app.localhost:80/cb", "http://app.localhost/cb", "a", false},
		{"https on loopback with a port: exact only", "https://127.0.0.1:80/cb", "https://127.0.0.1:81/cb", "a", false},
		{"a host of the web has its port", "https://app.example:8443/cb", "https://app.example/cb", "a", false},

		// Where nothing is registered behind the host, nothing is left to compare.
		{"no path: another site", "https://evil.example/", "http://127.0.0.1", "", false},
		{"no path: another site, with the flag", "https://evil.example/", "http://127.0.0.1:80", "a", false},
		{"no path: another site without a path", "https://evil.example", "http://127.0.0.1", "a", false},
		{"no path: a host that begins like loopback", "http://127.0.0.1.evil.example", "http://127.0.0.1", "a", false},
		{"no path: user information", "http://127.0.0.1@evil.example", "http://127.0.0.1", "a", false},
		{"no path: user information behind a port", "http://127.0.0.1:80@evil.example", "http://127.0.0.1", "a", false},
		{"no path: port 99999", "http://127.0.0.1:99999", "http://127.0.0.1", "a", false},
		{"no path: port 0", "http://127.0.0.1:0", "http://127.0.0.1", "a", false},
		{"no path: an empty port", "http://127.0.0.1:", "http://127.0.0.1", "a", false},
		{"no path: a word for a port", "http://127.0.0.1:x", "http://127.0.0.1", "a", false},
		{"no path: IPv6", "http://[::1]:80", "http://127.0.0.1", "a", false},
		{"no path: localhost", "http://localhost:80", "http://127.0.0.1", "a", false},
		{"no path: a path more", "http://127.0.0.1:80/", "http://127.0.0.1", "a", false},
		{"no path: a query more", "http://127.0.0.1:80?", "http://127.0.0.1", "a", false},
		{"no path: no port", "http://127.0.0.1", "http://127.0.0.1:80", "a", true},
		{"no scheme and no host", "/cb", "http://127.0.0.1/cb", "a", false},
		{"no scheme and no host, only a port", ":80/cb", "http://127.0.0.1/cb", "a", false},
		{"no scheme and no host, only a query", "?x", "http://127.0.0.1?x", "a", false},
		{"digits behind the host are no port", "http://127.0.0.180/cb", "http://127.0.0.1/cb", "a", false},
		{"digits behind localhost are no port", "http://localhost80/cb", "http://localhost/cb", "a", false},
		{"digits behind brackets are no port", "http://[::1]80/cb", "http://[::1]/cb", "a", false},
		{"nothing that is registered as such", "http://127.0.0.1:80", "", "a", false},
		{"a site is registered, and loopback is not", "http://127.0.0.1:80", "https://app.example", "a", false},

		{"a scheme that is named", "cursor://a.b/cb", "cursor://a.b/cb", "s", true},
		{"a scheme that is not named", "vscode://a.b/cb", "vscode://a.b/cb", "s", false},
		{"a scheme when none is named", "cursor://a.b/cb", "cursor://a.b/cb", "", false},
		{"a named scheme, another path", "cursor://a.b/evil", "cursor://a.b/cb", "s", false},
		{"a named scheme in the other case", "CURSOR://a.b/cb", "cursor://a.b/cb", "s", false},
		{"a named scheme, registered in the other case", "CURSOR://a.b/cb", "CURSOR://a.b/cb", "s", false},
		{"a named scheme has no port", "cursor://localhost:80/cb", "cursor://localhost/cb", "sa", false},
		{"a named scheme that nobody can have", "javascript:alert(1)", "javascript:alert(1)", "s", false},
		{"a name is no permission to ask for more", "cursor://a.b/cb", "https://app.example/cb", "s", false},
		{"the second of several", "http://[::1]:80/cb", "http://127.0.0.1/cb http://[::1]/cb", "", true},
		{"the path of one and the host of another", "http://[::1]:80/a", "http://127.0.0.1/a http://[::1]/b", "", false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			reg := Registration{
				URIs:            strings.Fields(c.registered),
				AnyLoopbackPort: strings.Contains(c.flags, "a"),
				DefaultSingle:   strings.Contains(c.flags, "d"),
			}
			if strings.Contains(c.flags, "s") {
				reg.PrivateUseSchemes = []string{"cursor", "javascript"}
			}
			to, err := Match(c.requested, reg, "query", "s")
			if (err == nil) != c.ok {
				t.Fatalf("Match(%q) with %q: %v, want ok=%v", c.requested, c.registered, err, c.ok)
			}
			want := c.requested
			if want == "" {
				want = c.registered
			}
			if c.ok && to.URI() != want || !c.ok && to != (Destination{}) {
				t.Errorf("the destination is %q, want %q", to.URI(), want)
			}
		})
	}
}

// Whoever reads the log is told what to do about a mismatch.
func TestAMismatchIsExplained(t *testing.T) {
	registered := []string{"https://app.example/cb", "http://localhost:80/cb"}
	for rule, requested := range map[string]string{
		"a slash more": "https://app.example/cb/", "another port": "http://localhost:81/cb", "no URL": "/",
	} {
		t.Run(rule, func(t *testing.T) {
			_, err := Match(requested, Registration{URIs: registered}, "query", "")
			want := "redirect_uri is not registered: " + uri.Explain(requested, registered)
			if err == nil || err.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
		})
	}
}

// deliver is what the endpoint does with a response.
func (d Destination) deliver(issuer string, given ...Param) Delivery {
	return d.Deliver(d.WithStateAndIssuer(issuer, given...))
}

// params is a list of names, each before its value.
func params(pairs ...string) (list []Param) {
	for pair := range slices.Chunk(pairs, 2) {
		list = append(list, Param{Name: pair[0], Value: pair[1]})
	}
	return list
}

// named is a mode of the table.
func named(t testing.TB, name string) *mode {
	t.Helper()
	i := slices.IndexFunc(modes, func(m mode) bool { return m.name == name })
	if i < 0 {
		t.Fatalf("there is no mode %s", name)
	}
	return &modes[i]
}

func TestLocationAppendsToTheRegisteredBytes(t *testing.T) {
	for _, c := range []struct{ rule, mode, uri, want string }{
		{"no query", "query", "https://a.example/cb", "https://a.example/cb?code=c&state=s&iss=i"},
		{"no path", "query", "https://a.example", "https://a.example?code=c&state=s&iss=i"},
		{"a query stays", "query", "https://a.example/cb?x=a+b&y=%2e", "https://a.example/cb?x=a+b&y=%2e&code=c&state=s&iss=i"},
		{"a question mark at the end", "query", "https://a.example/cb?", "https://a.example/cb?code=c&state=s&iss=i"},
		{"an ampersand at the end", "query", "https://a.example/cb?x=1&", "https://a.example/cb?x=1&code=c&state=s&iss=i"},
		{"a value that ends in a question mark", "query", "https://a.example/cb?x=why?", "https://a.example/cb?x=why?&code=c&state=s&iss=i"},
		{"a query that is a question mark", "query", "https://a.example/cb??", "https://a.example/cb??&code=c&state=s&iss=i"},
		{"an ampersand at the end of the path", "query", "https://a.example/cb&", "https://a.example/cb&?code=c&state=s&iss=i"},
		{"an equals sign at the end", "query", "https://a.example/cb?x=", "https://a.example/cb?x=&code=c&state=s&iss=i"},
		{"a semicolon at the end", "query", "https://a.example/cb?x=1;", "https://a.example/cb?x=1;&code=c&state=s&iss=i"},
		{"private use", "query", "com.example.app:/cb", "com.example.app:/cb?code=c&state=s&iss=i"},
		{"a fragment", "fragment", "https://a.example/cb", "https://a.example/cb#code=c&state=s&iss=i"},
		{"a fragment without a path", "fragment", "https://a.example", "https://a.example#code=c&state=s&iss=i"},
		{"a fragment behind a query", "fragment", "https://a.example/cb?x=a+b&y=%2e", "https://a.example/cb?x=a+b&y=%2e#code=c&state=s&iss=i"},
		{"a fragment behind a question mark", "fragment", "https://a.example/cb?", "https://a.example/cb?#code=c&state=s&iss=i"},
		{"a fragment of a private-use scheme", "fragment", "com.example.app:/cb", "com.example.app:/cb#code=c&state=s&iss=i"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			to, err := Match(c.uri, Registration{URIs: []string{c.uri}, Modes: Modes()}, c.mode, "s")
			if err != nil {
				t.Fatal(err)
			}
			got := to.deliver("i", Param{Name: "code", Value: "c"}).URL
			if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestValuesSurviveTheLocation(t *testing.T) {
	reg := Registration{URIs: []string{"https://a.example/cb"}, Modes: Modes()}
	for rule, value := range map[string]string{
		"a space": "a b", "a plus sign": "a+b", "what separates": "a&b=c", "an escape": "a%20b", "a hash": "a#b",
		"a question mark": "a?b", "beyond ASCII": "é€𝄞", "markup": "<script>", "quotes": `'"`, "reserved": "a/b:c@d;e,f$g",
	} {
		for mode, separator := range map[string]string{"query": "?", "fragment": "#"} {
			t.Run(rule+" in the "+mode, func(t *testing.T) {
				to, err := Match("https://a.example/cb", reg, mode, value)
				if err != nil {
					t.Fatal(err)
				}
				sent, ok := strings.CutPrefix(to.deliver("https://as.example").URL, "https://a.example/cb"+separator)
				got, err := url.ParseQuery(sent)
				if !ok || err != nil || got.Get("state") != value || got.Get("iss") != "https://as.example" || len(got) != 2 {
					t.Errorf("the state %q arrives in %q, %v", value, sent, err)
				}
				if strings.ContainsAny(sent, "+ \"'<>#?") {
					t.Errorf("the state %q is sent as %q, which readers decode differently", value, sent)
				}
			})
		}
	}
}

func TestFormFields(t *testing.T) {
	for _, c := range []struct {
		rule  string
		state string
		given []Param
		want  []Param
	}{
		{"in the order given, then state, then iss", "s", params("error", "e", "error_description", "d"), params("error", "e", "error_description", "d", "state", "s", "iss", "i")},
		{"no state if there was none", "", params("code", "c"), params("code", "c", "iss", "i")},
		{"empty values are left out", "s", params("code", ""), params("state", "s", "iss", "i")},
		{"iss always", "", nil, params("iss", "i")},
	} {
		t.Run(c.rule, func(t *testing.T) {
			to := Destination{uri: "https://a.example/", mode: named(t, "form_post"), state: c.state}
			if diff := cmp.Diff(Delivery{URL: "https://a.example/", Form: c.want}, to.deliver("i", c.given...)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestResponseKeepsTheCallersSlice(t *testing.T) {
	given := make([]Param, 1, 4)
	given[0] = Param{Name: "code", Value: "c"}
	Destination{uri: "https://a.example/", state: "s"}.WithStateAndIssuer("i", given...)
	if got := given[:3][1]; got != (Param{}) {
		t.Errorf("Response wrote %v behind the slice that it was given", got)
	}
}

func TestStateIsReturnedOnlyIfItCanBeByteForByte(t *testing.T) {
	for _, c := range []struct {
		rule, state string
		ok          bool
	}{
		{"absent", "", true},
		{"one byte", "x", true},
		{"8192 bytes", strings.Repeat("x", 8192), true},
		{"8193 bytes", strings.Repeat("x", 8193), false},
		{"UTF-8", "é€𝄞", true},
		{"not UTF-8", "a\xff", false},
		{"half a rune", "a\xe2\x82", false},
		{"a surrogate", "\xed\xa0\x80", false},
		{"line feed", "a\nb", false},
		{"carriage return", "a\rb", false},
		{"tab", "a\tb", false},
		{"NUL", "a\x00b", false},
		{"DEL", "a\x7fb", false},
		{"space", "a b", true},
		{"markup", `"><script>`, true},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if got := ValidText(c.state, MaxState); got != c.ok {
				t.Errorf("ValidText is %v, want %v", got, c.ok)
			}
			to, err := Match("https://a.example/cb", Registration{URIs: []string{"https://a.example/cb"}}, "query", c.state)
			if err != nil {
				t.Errorf("the state made the redirect URI wrong: %v", err)
			}
			if want := map[bool]string{true: c.state}[c.ok]; to.state != want {
				t.Errorf("the state to return is %q, want %q", to.state, want)
			}
		})
	}
}

func TestMode(t *testing.T) {
	const web, app = "https://a.example/cb", "com.example.app:/cb"
	for _, c := range []struct {
		rule, uri string
		asked     string
		may       []string // that the client lists
		want      string
		wrong     string // what the client is told; empty: that mode it is
	}{
		{"none asked", web, "", nil, "query", ""},
		{"none asked, and query is not listed", web, "", []string{"form_post"}, "query", ""},
		{"none asked, and none is listed", web, "", []string{}, "query", ""},
		{"none asked, and only fragment is listed", web, "", []string{"fragment"}, "query", ""},
		{"query", web, "query", nil, "query", ""},
		{"query that is not listed", web, "query", []string{"fragment"}, "query", "The client is not registered for this response_mode."},
		{"query when none is listed", web, "query", []string{}, "query", "The client is not registered for this response_mode."},
		{"form_post", web, "form_post", nil, "form_post", ""},
		{"form_post that is listed", web, "form_post", []string{"query", "form_post"}, "form_post", ""},
		{"form_post that is not listed", web, "form_post", []string{"query", "fragment"}, "query", "The client is not registered for this response_mode."},
		{"form_post when none is listed", web, "form_post", []string{}, "query", "The client is not registered for this response_mode."},
		{"form_post on loopback", "http://127.0.0.1/cb", "form_post", nil, "form_post", ""},
		{"form_post to a private-use scheme", app, "form_post", nil, "query", "form_post needs a redirect_uri with http or https."},
		{"form_post to a private-use scheme, listed", app, "form_post", []string{"form_post"}, "query", "form_post needs a redirect_uri with http or https."},
		{"fragment", web, "fragment", nil, "query", "The client is not registered for this response_mode."},
		{"fragment that is not listed", web, "fragment", []string{"query", "form_post"}, "query", "The client is not registered for this response_mode."},
		{"fragment when none is listed", web, "fragment", []string{}, "query", "The client is not registered for this response_mode."},
		{"fragment that is listed", web, "fragment", []string{"fragment"}, "fragment", ""},
		{"fragment to a private-use scheme", app, "fragment", []string{"query", "fragment"}, "fragment", ""},
		{"fragment on loopback", "http://127.0.0.1/cb", "fragment", Modes(), "fragment", ""},
		{"in the other case", web, "FORM_POST", nil, "query", "The response_mode is not supported."},
		{"in the other case, listed", web, "Fragment", []string{"Fragment", "fragment"}, "query", "The response_mode is not supported."},
		{"an unknown one that is listed", web, "web_message", []string{"web_message"}, "query", "The response_mode is not supported."},
		{"what out-of-band names have", web, "body", []string{"body"}, "query", "The response_mode is not supported."},
		{"the name of none, listed", web, "", []string{""}, "query", ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			to, err := Match(c.uri, Registration{URIs: []string{c.uri}, Modes: c.may}, c.asked, "")
			if err != nil || to.mode != named(t, c.want) {
				t.Errorf("%v (%v), want %q", to.mode, err, c.want)
			}
			if c.asked == "" {
				return // there is nothing to check
			}
			err = CheckMode(c.asked, c.uri, c.may)
			refused := oautherr.Of(err)
			if (err == nil) != (c.wrong == "") || err != nil && (refused.Code != oautherr.InvalidRequest || refused.Text() != c.wrong) {
				t.Errorf("%v, want %q", err, c.wrong)
			}
		})
	}
	if diff := cmp.Diff([]string{"query", "form_post", "fragment"}, Modes()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestOutOfBand(t *testing.T) {
	const auto = "urn:ietf:wg:oauth:2.0:oob:auto"
	for _, c := range []struct {
		rule       string
		requested  string
		registered string
		ok         bool
	}{
		{"the registered name", auto, auto, true},
		{"a name of the host's own", "urn:example:in_body-1", "urn:example:in_body-1", true},
		{"a name that is not registered", auto, "", false},
		{"another name", "urn:example:b", "urn:example:a", false},
		{"no name", "", auto, false},
		{"the name in the other case", "URN:ietf:wg:oauth:2.0:oob:auto", auto, false},
		{"an address registered as a name", "https://app.example/cb", "https://app.example/cb", false},
		{"a script registered as a name", "javascript:alert(1)", "javascript:alert(1)", false},
		{"a registered name that is none", "urn:a?b", "urn:a?b", false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			to, err := Match(c.requested, Registration{OutOfBand: c.registered}, "form_post", "s")
			if (err == nil) != c.ok || to.OutOfBand() != c.ok {
				t.Errorf("%v, out of band: %v", err, to.OutOfBand())
			}
			if !c.ok {
				return
			}
			want := Delivery{Body: params("code", "c", "state", "s", "iss", "https://as.example")}
			if diff := cmp.Diff(want, to.deliver("https://as.example", Param{Name: "code", Value: "c"})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	if err := uri.Check(auto); err == nil || !strings.Contains(err.Error(), "Client.OutOfBand") {
		t.Errorf("registering it as an address: %v", err)
	}
}

// An empty text among the registered ones is no default.
func TestAnAbsentURIIsMissing(t *testing.T) {
	for rule, reg := range map[string]Registration{
		"nothing is registered":              {},
		"one is registered":                  {URIs: []string{"https://a.example/"}},
		"an empty one and another":           {URIs: []string{"", "https://a.example/"}},
		"an empty one and a default":         {URIs: []string{"", "https://a.example/"}, DefaultSingle: true},
		"two that could both be the default": {URIs: []string{"https://a.example/", "https://b.example/"}, DefaultSingle: true},
	} {
		t.Run(rule, func(t *testing.T) {
			if to, err := Match("", reg, "query", ""); !errors.Is(err, ErrMissing) || to != (Destination{}) {
				t.Errorf("%v, %v", to, err)
			}
		})
	}
}

func TestTheZeroValueHasNoAddress(t *testing.T) {
	if d := (Destination{}); d.URI() != "" || d.deliver("i", Param{Name: "code", Value: "c"}).URL != "" {
		t.Errorf("%+v", d)
	}
	if to, err := Match("https://a.example/", Registration{URIs: []string{"https://a.example/"}}, "", ""); err != nil || to.URI() == "" {
		t.Errorf("a proven destination is zero: %v", err)
	}
}

// The property that everything else stands on: whatever is asked for and whatever
// is registered, an answer goes to registered bytes, of which at most the digits of
// a port differ.
func FuzzMatch(f *testing.F) {
	for _, seed := range []struct {
		requested, registered, state string
		flags                        byte
	}{
		{"https://a.example/cb", "https://a.example/cb", "s", 0},
		{"http://127.0.0.1:5/cb", "http://127.0.0.1/cb", "s", 3},
		{"http://[::1]:5/cb?a=1", "http://[::1]:6/cb?a=1", "", 3},
		{"http://localhost:5", "http://localhost", "é", 7},
		{"", "https://a.example/cb?x=why?", "s", 8},
		{"http://127.0.0.1:80@evil.example/", "http://127.0.0.1/", "s", 7},
		{"https://evil.example/", "http://127.0.0.1", "s", 0},
		{"http://127.0.0.1:99999", "http://127.0.0.1", "s", 0},
		{"http://127.0.0.1:5/cb", "http://127.0.0.1:6/cb", "s", 1},
		{"cursor://a.b:x/cb", "cursor://a.b:x/cb", "s", 4},
		{"Cursor://a.b/cb?x=1", "Cursor://a.b/cb?x=1", "s", 4},
	} {
		f.Add(seed.requested, seed.registered, "https://b.example/", seed.state, seed.flags)
	}
	f.Fuzz(func(t *testing.T, requested, registered, other, state string, flags byte) {
		reg := Registration{
			URIs:            []string{other, registered},
			AnyLoopbackPort: flags&1 != 0,
			DefaultSingle:   flags&8 != 0,
			Modes:           Modes(),
		}
		if flags&4 != 0 {
			// Schemes that are named come from the file that names the client, so the worst
			// is that all are.
			scheme, _, _ := strings.Cut(registered, ":")
			reg.PrivateUseSchemes = []string{scheme, "Cursor", "javascript"}
		}
		if flags&16 != 0 {
			reg.URIs = reg.URIs[1:]
		}
		to, err := Match(requested, reg, []string{"", "query", "form_post", "fragment"}[flags%4], state)
		if err != nil {
			if to.URI() != "" {
				t.Fatalf("an error and the destination %q", to.URI())
			}
			return
		}
		at := to.URI()
		if requested != "" && at != requested {
			t.Fatalf("asked for %q, goes to %q", requested, at)
		}
		exact := slices.Contains(reg.URIs, at)
		if !exact && !slices.ContainsFunc(reg.URIs, func(r string) bool {
			return differsInPortAlone(at, r) && (reg.AnyLoopbackPort || withoutPort(r) == r)
		}) {
			t.Fatalf("%q is not one of %q", at, reg.URIs)
		}
		if err := uri.Check(at, reg.PrivateUseSchemes...); err != nil {
			t.Fatalf("goes to %q, which cannot be registered: %v", at, err)
		}
		byFragment, byQuery := to, to
		byFragment.mode, byQuery.mode = named(t, "fragment"), named(t, "query")
		if url := byFragment.deliver("i", Param{Name: "code", Value: "c"}).URL; !strings.HasPrefix(url, at+"#code=c&") {
			t.Fatalf("the fragment is not all that %q adds to %q", url, at)
		}
		location := byQuery.deliver("https://as.example", Param{Name: "code", Value: "c"}).URL
		rest, ok := strings.CutPrefix(location, at)
		if !ok || strings.ContainsAny(rest, "#/\r\n \\") {
			t.Fatalf("the location %q does not begin with %q and go on with a query", location, at)
		}
		// What follows a private-use scheme is the app's own affair.
		if _, err := url.Parse(location); err != nil && uri.TakesForms(at) {
			t.Fatalf("the location is no URL: %v", err)
		}
		_, query, _ := strings.Cut(location, "?")
		// A registered query may hold what net/url drops, so only what was added counts.
		values, _ := url.ParseQuery(query)
		for name, want := range map[string]string{"code": "c", "iss": "https://as.example", "state": to.state} {
			if want != "" && (len(values[name]) != 1 || values[name][0] != want) {
				t.Fatalf("%s is %q in %q, want %q once", name, values[name], location, want)
			}
		}
		if to.state != state && ValidText(state, MaxState) {
			t.Fatalf("the state %q became %q", state, to.state)
		}
	})
}

var loopbackPort = regexp.MustCompile(`^(http://(?:127\.0\.0\.1|\[::1\]|localhost)):[1-9][0-9]*`)

// differsInPortAlone is written another way than the code that it checks.
func differsInPortAlone(a, b string) bool { return withoutPort(a) == withoutPort(b) }

func withoutPort(uri string) string { return loopbackPort.ReplaceAllString(uri, "$1") }
