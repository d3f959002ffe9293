package uri

import (
	"fmt"
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	const app = "https://app.example/cb"
	for _, c := range []struct {
		rule, requested, registered string
		want                        string // what differs
		nearest                     string // empty: the only one
	}{
		{"another scheme", "http://app.example/cb", app, `its scheme is "http"`, ""},
		{"the scheme in other letters", "HTTPS://app.example/cb", app, `its scheme is "HTTPS", and upper and lower case differ here`, ""},
		{"one slash", "https:/app.example/cb", app, `":/" follows its scheme`, ""},
		{"three slashes", "https:///app.example/cb", app, `":///" follows its scheme`, ""},
		{"another host", "https://evil.example/cb", app, `its host is "evil.example"`, ""},
		{"the host in other letters", "https://APP.example/cb", app, `its host is "APP.example", and upper and lower case differ here`, ""},
		{"with www.", "https://www.app.example/cb", app, `its host is "www.app.example", with or without www.`, ""},
		{"without www.", app, "https://www.app.example/cb", `its host is "app.example", with or without www.`, ""},
		{"a dot at the end of the host", "https://app.example./cb", app, `its host is "app.example.", with or without a dot at its end`, ""},
		{"no dot at the end of the host", app, "https://app.example./cb", `its host is "app.example", with or without a dot at its end`, ""},
		{"a port", "https://app.example:8443/cb", app, "its port is 8443", ""},
		{"no port", app, "https://app.example:8443/cb", "it has no port", ""},
		{"a port that is none", "https://app.example:0/cb", app, `its port is "0", which is not a valid port`, ""},
		{"an empty port", "https://app.example:/cb", app, `its port is "", which is not a valid port`, ""},
		{"another path", "https://app.example/other", app, `its path is "/other"`, ""},
		{"no path", "https://app.example", app, `its path is ""`, ""},
		{"the path in other letters", "https://app.example/CB", app, "its path differs in upper and lower case", ""},
		{"a slash at the end", "https://app.example/cb/", app, `it has a "/" at the end of its path`, ""},
		{"no slash at the end", app, "https://app.example/cb/", `it has no "/" at the end of its path`, ""},
		{"only a slash", "https://app.example/", "https://app.example", `it has a "/" at the end of its path`, ""},
		{"a query", "https://app.example/cb?x=SECRET", app, "it has a query", ""},
		{"an empty query", "https://app.example/cb?", app, "it has a query", ""},
		{"no query", app, "https://app.example/cb?x=1", "it has no query", ""},
		{"another query", "https://app.example/cb?x=SECRET", "https://app.example/cb?x=1", "its query is another one", ""},
		{"a fragment", "https://app.example/cb#SECRET", app, "it has a fragment", ""},
		{"an empty fragment", "https://app.example/cb#", app, "it has a fragment", ""},
		{"user information", "https://SECRET:SECRET@app.example/cb", app, "it has user information", ""},
		{"several at once", "http://www.app.example:80/cb/?x=SECRET#SECRET", app,
			`its scheme is "http", its host is "www.app.example", with or without www., its port is 80, it has a "/" at the end of its path, it has a query, it has a fragment`, ""},

		{"a port on loopback", "http://127.0.0.1:5000/cb", "http://127.0.0.1:8080/cb", "its port is 5000: register the redirect URI without a port, or set Client.AnyLoopbackPort", ""},
		{"a port on IPv6 loopback", "http://[::1]:5000/cb", "http://[::1]:8080/cb", "its port is 5000: register the redirect URI without a port, or set Client.AnyLoopbackPort", ""},
		{"a port on localhost", "http://localhost:5000/cb", "http://localhost:8080/cb", "its port is 5000: register the redirect URI without a port, or set Client.AnyLoopbackPort", ""},
		{"no port on loopback", "http://127.0.0.1/cb", "http://127.0.0.1:8080/cb", "it has no port: register the redirect URI without a port, or set Client.AnyLoopbackPort", ""},
		{"a port that is none, on loopback", "http://127.0.0.1:99999/cb", "http://127.0.0.1/cb", `its port is "99999", which is not a valid port`, ""},
		{"a port elsewhere on loopback, where it may not vary", "http://127.0.0.2:5000/cb", "http://127.0.0.2:8080/cb", "its port is 5000", ""},
		{"a port on loopback by https", "https://127.0.0.1:5000/cb", "https://127.0.0.1:8080/cb", "its port is 5000", ""},
		{"localhost for 127.0.0.1", "http://localhost/cb", "http://127.0.0.1/cb", `its host is "localhost": 127.0.0.1, [::1] and localhost are told apart, register each that is used`, ""},
		{"a site for loopback", "http://a.example/cb", "http://127.0.0.1/cb", `its host is "a.example"`, ""},
		{"loopback for a site", "http://127.0.0.1/cb", "http://a.example/cb", `its host is "127.0.0.1"`, ""},
		{"a port of another host", "http://127.0.0.1:5000/cb", "http://[::1]:8080/cb", `its host is "127.0.0.1": 127.0.0.1, [::1] and localhost are told apart, register each that is used, its port is 5000`, ""},

		{"a private-use scheme, another path", "cursor://a.b/other", "cursor://a.b/cb", `its path is "/other"`, ""},
		{"a private-use scheme, another host", "cursor://a.c/cb", "cursor://a.b/cb", `its host is "a.c"`, ""},
		{"a private-use scheme in other letters", "Cursor://a.b/cb", "cursor://a.b/cb", `its scheme is "Cursor", and upper and lower case differ here`, ""},
		{"a private-use scheme without a host", "com.example.app:/other", "com.example.app:/cb", `its path is "/other"`, ""},
		{"a private-use scheme, slashes", "com.example.app://cb", "com.example.app:/cb", `"://" follows its scheme, its host is "cb", its path is ""`, ""},
		{"a private-use scheme, three slashes", "com.example.app:///cb", "com.example.app:/cb", `"://" follows its scheme`, ""},
		{"a private-use scheme, no slash", "com.example.app:cb", "com.example.app:/cb", `its path is "cb"`, ""},
		{"a private-use scheme, an at sign in the path", "com.example.app:/@me", "com.example.app:/@you", `its path is "/@me"`, ""},
		{"a script", "javascript:alert", app, `its scheme is "javascript", ":" follows its scheme, its host is "", its path is "alert"`, ""},

		{"a path alone", "/cb", app, "it does not begin with a scheme", ""},
		{"no scheme", "app.example/cb", app, "it does not begin with a scheme", ""},
		{"a scheme that is none", "1https://app.example/cb", app, "it does not begin with a scheme", ""},
		{"encoded twice", "https%3A%2F%2Fapp.example%2Fcb%3Fx%3DSECRET", app, "it does not begin with a scheme, and seems to be percent-encoded twice", ""},
		{"another name out of band", "urn:ietf:wg:oauth:2.0:oob", app, "it is a name and no address, and not the one that Client.OutOfBand has", ""},
		{"a space behind", "https://app.example/cb ", app, `it has the character " ", which no redirect URI may have`, ""},
		{"a line break", "https://app.example/cb\r\nforged", app, `it has the character "\r", which no redirect URI may have`, ""},
		{"a backslash", `https://app.example\SECRET@evil.example/`, app, `it has the character "\\", which no redirect URI may have`, ""},
		{"not UTF-8", "https://app.example/\xff", app, `it has the character "\xff", which no redirect URI may have`, ""},
		{"a parameter that a query may not have either is not named", "https://app.example/cb?\"\n", app, "it has a query", ""},
		{"a fragment that is registered", app, app + "#x", "it lacks the user information or the fragment of a registered one, which is unusable", ""},

		{"only a fragment", "#SECRET", app, "it does not begin with a scheme", ""},
		{"only a query", "?SECRET", app, "it does not begin with a scheme", ""},
		{"only a query that is encoded", "?x=%41SECRET", app, "it does not begin with a scheme", ""},
		{"only a word", "appexample", app, "it does not begin with a scheme", ""},
		{"a delete character", "https://app.example/\x7f", app, `it has the character "\x7f", which no redirect URI may have`, ""},
		{"a quotation mark", `https://app.example/"`, app, `it has the character "\"", which no redirect URI may have`, ""},
		{"a percent in the host", "https://app%2eexample/cb", app, `its host begins with "app"`, ""},
		{"a host that begins with an x", "https://x.example/cb", app, `its host is "x.example"`, ""},

		// What is not told.
		{"empty user information", "https://@app.example/cb", app, "it has user information", ""},
		{"user information behind one slash, by http", "http:/SECRET@127.0.0.1/cb", "http://127.0.0.1/cb", `":/" follows its scheme, it has user information`, ""},
		{"a parameter and no path", "cursor:;SECRET", "cursor:cb", `its path begins with ""`, ""},
		{"a query in disguise", "https://app.example/other%3Fx=SECRET", app, `its path begins with "/other"`, ""},
		{"a parameter of the path", "https://app.example/other;id=SECRET", app, `its path begins with "/other"`, ""},
		{"user information behind three slashes", "https:///SECRET:SECRET@app.example/cb", app, `":///" follows its scheme, it has user information`, ""},
		{"user information behind one slash", "https:/SECRET:SECRET@app.example/cb", app, `":/" follows its scheme, it has user information`, ""},
		{"user information behind none", "https:SECRET:SECRET@app.example/cb", app, `":" follows its scheme, it has user information`, ""},
		{"user information with an at sign", "https://SECRET@SECRET@app.example/cb", app, "it has user information", ""},
		{"user information of a scheme without a host", "mailto:SECRET@app.example", "mailto:app.example", "it has user information", ""},
		{"a query before an at sign", "https://app.example?SECRET@evil.example/", app, `its path is "", it has a query`, ""},

		{"the nearest, though another begins more alike", "https://a.example/cb", "https://a.example/CB https://b.example/cb", "its path differs in upper and lower case", "https://a.example/CB"},
		{"the nearest by one thing that is small", "https://a.example/cb/", "https://a.example/cb?x=1 https://a.example/cb", `it has a "/" at the end of its path`, "https://a.example/cb"},
		{"the nearest in its path", "https://app.example/cb2/", app + " https://app.example/cb2", `it has a "/" at the end of its path`, "https://app.example/cb2"},
		{"the nearest in its scheme", "http://app.example/cb2", app + " https://app.example/cb2", `its scheme is "http"`, "https://app.example/cb2"},
		{"the nearest in its host", "https://b.example/cb2", "https://a.example/cb2 https://b.example/cb", `its path is "/cb2"`, "https://b.example/cb"},
		{"the path that begins most alike", "https://a.example/auth/x", "https://a.example/cb https://a.example/auth/cb https://a.example/auth", `its path is "/auth/x"`, "https://a.example/auth/cb"},
		{"another host counts more than all the rest", "http://APP.example:81/other?x=1", "https://evil.example/other?x=1 " + app,
			`its scheme is "http", its host is "APP.example", and upper and lower case differ here, its port is 81, its path is "/other", it has a query`, app},
		{"another path counts more than all that is small", "http://www.app.example:81/cb/?x=1", "http://www.app.example:81/other?x=1 " + app,
			`its scheme is "http", its host is "www.app.example", with or without www., its port is 81, it has a "/" at the end of its path, it has a query`, app},
		{"another scheme counts more than its letters", "HTTPS://app.example/cb", "http://app.example/cb " + app, `its scheme is "HTTPS", and upper and lower case differ here`, app},
		{"the first of two that are as near", "https://a.example/cb?x=3", "https://a.example/cb?x=1 https://a.example/cb?x=2", "its query is another one", "https://a.example/cb?x=1"},
		{"localhost rather than a site", "http://localhost/cb", "https://a.example/cb http://127.0.0.1/cb", `its host is "localhost": 127.0.0.1, [::1] and localhost are told apart, register each that is used`, "http://127.0.0.1/cb"},
		{"the port of the host that was asked for", "http://localhost:5000/cb", "http://127.0.0.1:5000/cb http://localhost:8080/cb", "its port is 5000: register the redirect URI without a port, or set Client.AnyLoopbackPort", "http://localhost:8080/cb"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			registered := strings.Fields(c.registered)
			nearest := c.nearest
			if nearest == "" {
				nearest = c.registered
			}
			got := Explain(c.requested, registered)
			if want := fmt.Sprintf("%s; the nearest registered one is %q", c.want, nearest); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if strings.Contains(got, "SECRET") {
				t.Error("it tells what is not for logs")
			}
		})
	}
	if got := Explain("https://a.example/", nil); got != "the client has none in RedirectURIs" {
		t.Error(got)
	}
}

func TestAnExplanationIsShort(t *testing.T) {
	long := strings.Repeat("a", 100_000)
	registered := []string{"https://app.example/" + long, "https://" + long + ".example/cb", "com." + long + ":/cb"}
	for rule, requested := range map[string]string{
		"a word": long, "a scheme": long + ":" + long, "a host": "https://" + long,
		"a path": "https://app.example/" + long + "/" + long, "a path beyond ASCII": "https://app.example/\u00e9" + long,
		"a port": "https://app.example:" + long, "user information": "https://" + long + "@app.example",
		"a query": "https://app.example?" + long, "a fragment": "https://a#" + long,
	} {
		t.Run(rule, func(t *testing.T) {
			if got := Explain(requested, registered); len(got) > 1000 {
				t.Errorf("it is explained in %d bytes", len(got))
			}
		})
	}
}
