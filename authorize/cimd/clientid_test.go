package cimd

import (
	"strings"
	"testing"
)

func TestWhichClientIDsAreFetched(t *testing.T) {
	const base = "https://client.example.com"
	for _, c := range []struct{ rule, id, want string }{
		{"a path", base + "/client.json", "client"},
		{"a path that is a slash", base + "/", "client"},
		{"a port", base + ":8443/client.json", "client"},
		{"a query", base + "/client?id=1", "client"},
		{"dots that are no dot segment", base + "/.well-known/a..b/...", "client"},
		{"an encoded character", base + "/a%20b/%C3%A4", "client"},
		{"characters that some would encode", base + "/a!$&'()+,;=:@~b", "client"},
		{"2,048 bytes", base + "/" + strings.Repeat("a", 2048-len(base)-1), "client"},

		{"a name", "web", "unknown"},
		{"nothing", "", "unknown"},
		{"http", "http://client.example.com/client.json", "unknown"},
		{"the scheme in other letters", "HTTPS://client.example.com/client.json", "unknown"},
		{"another scheme", "ftp://client.example.com/client.json", "unknown"},

		{"2,049 bytes", base + "/" + strings.Repeat("a", 2048-len(base)), "invalid"},
		{"no path", base, "invalid"},
		{"a query in place of a path", base + "?/a", "invalid"},
		{"no host", "https:///client.json", "invalid"},
		{"no slashes", "https:client.example.com/client.json", "unknown"},
		{"a fragment", base + "/client.json#x", "invalid"},
		{"an empty fragment", base + "/client.json#", "invalid"},
		{"user information", "https://user:pass@client.example.com/client.json", "invalid"},
		{"an empty user", "https://@client.example.com/client.json", "invalid"},
		{"a dot segment", base + "/./client.json", "invalid"},
		{"two dots", base + "/a/../client.json", "invalid"},
		{"dots at the end", base + "/a/..", "invalid"},
		{"an encoded dot segment", base + "/%2e/client.json", "invalid"},
		{"an encoded dot segment in capitals", base + "/a/%2E%2E/client.json", "invalid"},
		{"a half-encoded dot segment", base + "/a/.%2e/client.json", "invalid"},
		{"a dot segment between encoded slashes", base + "/a%2f..%2fclient.json", "invalid"},
		{"a dot segment between backslashes", base + "/a%5c..%5cclient.json", "invalid"},
		{"a backslash", base + `/a\client.json`, "invalid"},
		{"a space", base + "/a b", "invalid"},
		{"a control character", base + "/a\x00", "invalid"},
		{"another letter than of ASCII", base + "/ä", "invalid"},
		{"a malformed encoding", base + "/%zz", "invalid"},
		{"a host in capitals", "https://Client.example.com/client.json", "invalid"},
		{"a host with a dot at the end", "https://client.example.com./client.json", "invalid"},
		{"an encoded host", "https://client%2eexample.com/client.json", "invalid"},
		{"a port that is none", base + ":99999/client.json", "invalid"},
		{"an empty port", base + ":/client.json", "invalid"},
		{"the port that https has anyway", base + ":443/client.json", "invalid"},
		{"an IPv4 address inside of IPv6", "https://[::ffff:8.8.8.8]/client.json", "invalid"},
		{"an IPv6 address with zeros", "https://[2001:4860:4860:0::8888]/client.json", "invalid"},
		{"an IPv4 address as one number", "https://134744072/client.json", "invalid"},
		{"an IPv4 address in hexadecimal", "https://0x08080808/client.json", "invalid"},
		{"an IPv4 address with octal numbers", "https://010.8.8.8/client.json", "invalid"},
		{"an address with a zone", "https://[fe80::1%25eth0]/client.json", "invalid"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			w := newWorld(t)
			client, err := w.get(c.id)
			if got := outcome(client, err); got != c.want {
				t.Fatalf("%s, want %s: %v", got, c.want, err)
			}
			if fetched := w.fetches() > 0; fetched != (c.want == "client") {
				t.Errorf("fetched: %t", fetched)
			}
			for _, r := range w.requests {
				if got := "https://" + r.Host + r.RequestURI; got != c.id {
					t.Errorf("%q was fetched", got)
				}
			}
		})
	}
}

func TestHTTPIsForAnIssuerWithHTTPOnLoopback(t *testing.T) {
	for _, c := range []struct{ rule, issuer, id, want string }{
		{"http on loopback", "http://localhost:8080", "http://127.0.0.1:9000/client.json", "unreachable"},
		{"http on loopback by name", "http://127.0.0.1", "http://localhost/client.json", "unreachable"},
		{"a name", "http://127.0.0.1", "web", "unknown"},
		{"http elsewhere", "http://127.0.0.1", "http://client.example.com/client.json", "invalid"},
		{"https on loopback with http on loopback", "https://localhost:8080", "http://127.0.0.1:9000/client.json", "unknown"},
		{"https elsewhere with http on loopback", testIssuer, "http://127.0.0.1:9000/client.json", "unknown"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			// Nothing is dialed: there is no such server, and the world has no more.
			w := newWorld(t, func(config *Config) { config.Issuer, config.Transport = c.issuer, nobody{} })
			client, err := w.get(c.id)
			if got := outcome(client, err); got != c.want {
				t.Errorf("%s, want %s: %v", got, c.want, err)
			}
		})
	}
}
