package uri

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

// row is a text, and whether a check accepts it.
type row struct {
	rule, text string
	ok         bool
}

func checkRows(t *testing.T, check func(string) error, rows []row) {
	t.Helper()
	for _, c := range rows {
		t.Run(c.rule, func(t *testing.T) {
			if err := check(c.text); (err == nil) != c.ok {
				t.Errorf("%q: %v, want ok=%v", c.text, err, c.ok)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	checkRows(t, func(uri string) error { return Check(uri) }, []row{
		{"https", "https://app.example/cb", true},
		{"no path", "https://app.example", true},
		{"a port", "https://app.example:8443/cb", true},
		{"a query", "https://app.example/cb?tenant=1&x=a+b", true},
		{"an encoded query with a semicolon", "https://q.example/odd?d=%2e%2e&s=1;2", true},
		{"an address", "https://192.0.2.1/cb", true},
		{"an IPv6 address", "https://[2001:db8::1]:8443/cb", true},
		{"an underscore in the host", "https://my_app.example/cb", true},
		{"an IDN in ASCII", "https://xn--bcher-kva.example/cb", true},
		{"an apostrophe in the path", "https://app.example/it's", true},

		{"empty", "", false},
		{"relative path", "/cb", false},
		{"relative to the scheme", "//app.example/cb", false},
		{"no scheme", "app.example/cb", false},
		{"nothing before the colon", "://app.example/cb", false},
		{"a scheme that begins with a digit", "1a.example:/cb", false},
		{"a scheme with a space", "https ://app.example/cb", false},
		{"no host", "https:///cb", false},
		{"no authority", "https:/cb", false},
		{"opaque", "https:app.example", false},
		{"only the scheme", "https://", false},
		{"scheme in upper case", "HTTPS://app.example/cb", false},
		{"fragment", "https://app.example/cb#f", false},
		{"empty fragment", "https://app.example/cb#", false},
		{"user information", "https://user@app.example/cb", false},
		{"user and password", "https://user:pw@app.example/cb", false},
		{"empty user information", "https://@app.example/cb", false},
		{"several at signs", "https://a@b@app.example/cb", false},
		{"an at sign in the path is none", "https://app.example/@me", true},
		{"wildcard host", "https://*.app.example/cb", false},
		{"wildcard path", "https://app.example/*", false},
		{"wildcard query", "https://app.example/cb?x=*", false},
		{"wildcard scheme", "*://app.example/cb", false},
		{"only a wildcard", "*", false},
		{"http", "http://app.example/cb", false},
		{"http on an address of the private network", "http://192.168.0.1/cb", false},
		{"http on a host that begins like loopback", "http://127.0.0.1.evil.example/cb", false},
		{"http on a host that begins like localhost", "http://localhost.evil.example/cb", false},
		{"http on a host that ends like localhost", "http://evillocalhost/cb", false},
		{"http on 0.0.0.0", "http://0.0.0.0/cb", false},
		{"http on an unfinished address", "http://127.1/cb", false},
		{"http on localhost with a trailing dot", "http://localhost./cb", false},
		{"http on LOCALHOST", "http://LOCALHOST/cb", false},
		{"http on loopback", "http://127.0.0.1/cb", true},
		{"http on loopback, elsewhere in the network", "http://127.8.9.10:80/cb", true},
		{"http on loopback IPv6", "http://[::1]/cb", true},
		{"http on loopback IPv6 with a zone", "http://[::1%25lo]/cb", false},
		{"http on loopback IPv6, mapped", "http://[::ffff:127.0.0.1]/cb", false},
		{"http on loopback IPv6 without brackets", "http://::1/cb", false},
		{"http on IPv4 with brackets", "http://[127.0.0.1]/cb", false},
		{"http on localhost", "http://localhost:8080/cb", true},
		{"http below localhost", "http://app.localhost/cb", true},
		{"an open bracket", "https://[::1/cb", false},
		{"brackets of nothing", "https://[]/cb", false},
		{"a host of dots", "https://../cb", false},
		{"a host with two dots", "https://app..example/cb", false},
		{"a host that begins with a dot", "https://.app.example/cb", false},
		{"a host that begins with a hyphen", "https://-app.example/cb", false},
		{"a host with a percent", "https://app%2eexample/cb", false},
		{"capitals in the host, the first and the last", "https://AZ.example/cb", true},
		{"the last letters and digits in the host", "https://az09.example/cb", true},
		{"a semicolon in the host", "https://a;b/cb", false},
		{"an equals sign in the host", "https://a=b/cb", false},
		{"a colon in the host", "https://a:b:80/cb", false},
		{"a letter for a port", "https://app.example:x8/cb", false},
		{"a letter behind a port", "https://app.example:8x/cb", false},
		{"a bracket in the host", "https://a]b/cb", false},
		{"an open bracket in the host", "https://a[b/cb", false},
		{"a tilde in the host", "https://a~b/cb", false},
		{"an apostrophe in the host", "https://a'b/cb", false},
		{"an exclamation mark in the host", "https://a!b/cb", false},
		{"a comma in the host", "https://a,b/cb", false},
		{"brackets around an IPv4 address", "https://[127.0.0.1]/cb", false},
		{"an IPv6 address with a zone", "https://[fe80::1%25eth0]/cb", false},
		{"an IPv6 address without its last bracket", "https://[::1:80/cb", false},
		{"an IPv6 address with something behind it", "https://[::1]x/cb", false},
		{"no IPv6 address in brackets", "https://[::x]/cb", false},
		{"a host of 253 bytes", "https://" + strings.Repeat("a", 253) + "/cb", true},
		{"a host that is too long", "https://" + strings.Repeat("a", 254) + "/cb", false},
		{"port 0", "https://app.example:0/cb", false},
		{"port 1", "https://app.example:1/cb", true},
		{"port 65535", "https://app.example:65535/cb", true},
		{"port 65536", "https://app.example:65536/cb", false},
		{"port 99999", "https://app.example:99999/cb", false},
		{"port of six digits", "https://app.example:100000/cb", false},
		{"port that overflows", "https://app.example:18446744073709551617/cb", false},
		{"port with a leading zero", "https://app.example:080/cb", false},
		{"port with a sign", "https://app.example:+80/cb", false},
		{"port that ends in a sign", "https://app.example:80+/cb", false},
		{"an empty port", "https://app.example:/cb", false},
		{"a backslash", `https://app.example\cb`, false},
		{"a backslash for the authority", `https:\\app.example/cb`, false},
		{"a space", "https://app.example/c b", false},
		{"a tab", "https://app.example/c\tb", false},
		{"a line break", "https://app.example/c\r\nb", false},
		{"a NUL", "https://app.example/c\x00b", false},
		{"DEL", "https://app.example/c\x7fb", false},
		{"not ASCII", "https://bücher.example/cb", false},
		{"a quote", `https://app.example/c"b`, false},
		{"an angle bracket", "https://app.example/<b>", false},
		{"a template", "https://app.example/${x}", false},
		{"half an escape", "https://app.example/%2", false},
		{"an escape that is none", "https://app.example/%zz", false},
		{"a lone percent", "https://app.example/%", false},

		{"javascript", "javascript:alert(1)", false},
		{"javascript in mixed case", "JaVaScRiPt:alert(1)", false},
		{"javascript with an authority", "javascript://app.example/%0aalert(1)", false},
		{"data", "data:text/html,x", false},
		{"vbscript", "vbscript:x", false},
		{"file", "file:///etc/passwd", false},
		{"blob", "blob:https://app.example/x", false},
		{"about", "about:blank", false},
		{"view-source", "view-source:https://app.example", false},
		{"intent", "intent://x", false},
		{"mailto", "mailto:a@b.example", false},
		{"urn", "urn:ietf:wg:oauth:2.0:oob", false},
		{"ftp", "ftp://app.example/cb", false},
		{"ws", "wss://app.example/cb", false},
		{"a scheme without a dot", "myapp:/cb", false},
		{"any scheme, a name that has a dot", "cursor.app:/cb", true},
		{"private use", "com.example.app:/cb", true},
		{"private use with a host", "com.example.app://cb", true},
		{"private use with a path alone", "com.example.app:cb", true},
		{"private use with capitals", "com.someapp.App:/cb", true},
		{"private use that begins with a capital", "Com.example.app:/cb", true},
		{"private use with a digit", "com.example.app2:/cb", true},
		{"private use with a plus sign", "web+app.example:/cb", true},
		{"private use with a hyphen and a digit at its end", "com.my-app.z0:/cb", true},
		{"private use with the last and first letters", "az.AZ.09:/cb", true},
		{"private use with a tilde", "com.ex~mple:/cb", false},
		{"private use with an underscore", "com.ex_mple:/cb", false},
		{"private use with a slash", "com.ex/mple:/cb", false},
		{"private use that begins with a digit", "0com.example:/cb", false},
		{"private use that begins with a plus sign", "+com.example:/cb", false},
		{"private use that begins with a hyphen", "-com.example:/cb", false},
		{"private use that begins with a dot", ".example:/cb", false},
		{"private use that begins with ms-", "ms-foo.example:/cb", false},
		{"private use that ends in -extension", "com.example.my-extension:/cb", true},
		{"private use of a maker called ms", "com.ms-soft.app:/cb", true},
		{"private use with nothing behind it", "com.example.app:", false},
		{"private use with a slash behind it", "com.example.app:/", false},
		{"private use with two slashes behind it", "com.example.app://", false},
		{"private use with a slash for its path", "com.example.app:///", true},
		{"private use with one letter behind it", "com.example.app:x", true},
		{"private use, an at sign and no host", "com.example.app:me@home", true},
		{"private use, an at sign behind an empty host", "com.example.app:///me@home", true},
		{"private use with a fragment", "com.example.app:/cb#f", false},
		{"private use with user information", "com.example.app://user@host/cb", false},
		{"private use, an at sign in the path", "com.example.app:/@me", true},
		{"private use with code in the query", "com.example.app:/cb?code=x", false},

		{"code without a value", "https://app.example/cb?code", false},
		{"code with an empty value", "https://app.example/cb?a=1&code=", false},
		{"code, encoded", "https://app.example/cb?%63ode=x", false},
		{"code, encoded in full", "https://app.example/cb?%63%6F%64%65=x", false},
		{"code behind a semicolon", "https://app.example/cb?a=1;code=x", false},
		{"code behind an encoded separator is a value", "https://app.example/cb?a=1%26code=x", true},
		{"a name that begins like code", "https://app.example/cb?code2=x", true},
		{"code as a value", "https://app.example/cb?a=code", true},
		{"code behind a second question mark is a value", "https://app.example/cb?a=1?code=x", true},
		{"code as a path", "https://app.example/code=x", true},
	})
}

// Each scheme is written out here again, so that none can get lost.
func TestSchemesThatNobodyCanHave(t *testing.T) {
	for _, scheme := range strings.Fields(`http https urn javascript data vbscript file filesystem blob about
		view-source intent jar ws wss ftp mailto tel sms search-ms android-app chrome res smb ldap
		ms- ms-settings ms-word ms-a.b moz-extension chrome-extension -extension`) {
		t.Run(scheme, func(t *testing.T) {
			for _, written := range []string{scheme, strings.ToUpper(scheme), strings.ToUpper(scheme[:1]) + scheme[1:]} {
				for _, named := range [][]string{nil, {written}, {scheme, written, strings.ToLower(written)}} {
					uri := written + "://x.example/cb"
					if written == "https" || written == "http" {
						uri = written + ":x.example/cb"
					}
					if Check(uri, named...) == nil {
						t.Errorf("%s is accepted with the names %q", uri, named)
					}
				}
				if CheckPrivateUse(written) == nil {
					t.Errorf("%s can be named", written)
				}
			}
		})
	}
}

func TestTheErrorSaysWhatToDoAboutAScheme(t *testing.T) {
	for _, c := range []struct{ rule, uri, want string }{
		{"https in capitals", "HTTPS://app.example/cb", "lower case"},
		{"http with a capital", "Http://127.0.0.1/cb", "lower case"},
		{"a name out of band", "URN:ietf:wg:oauth:2.0:oob", "Client.OutOfBand"},
		{"one that is refused", "file://app.example/cb", "is always refused"},
		{"one that begins with ms-", "ms-word:x", "is always refused"},
		{"one that ends in -extension", "moz-extension://x", "is always refused"},
		{"one that nobody named", "cursor://cb", "Client.PrivateUseSchemes"},
		{"none", "://cb", "does not begin with a scheme"},
		{"one that is malformed", "app_1.example:x", "does not begin with a scheme"},
		{"nothing behind it", "com.example.app:", "nothing after its scheme"},
		{"a response parameter", "https://app.example/cb?iss=", `"iss"`},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if err := Check(c.uri); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

func TestSchemesThatAreNamed(t *testing.T) {
	for _, c := range []struct {
		rule, uri, named string
		ok               bool
	}{
		{"an editor", "cursor://anysphere.cursor-mcp/oauth/callback", "cursor", true},
		{"one of several", "vscode://vendor.extension/cb", "cursor vscode", true},
		{"a path alone", "claude:cb", "claude", true},
		{"one letter", "x:/cb", "x", true},
		{"capitals", "MyApp://cb", "MyApp", true},
		{"a digit, a plus sign and a hyphen", "a1+b-c:/cb", "a1+b-c", true},
		{"begins like one that is refused", "javascripts:/cb", "javascripts", true},
		{"ends like one that is refused", "xfile:/cb", "xfile", true},
		{"begins with ms", "msapp:/cb", "msapp", true},
		{"ends with extension", "extension:/cb", "extension", true},

		{"not named", "cursor://cb", "", false},
		{"another one is named", "cursor://cb", "vscode", false},
		{"named in other letters", "Cursor://cb", "cursor", false},
		{"registered in other letters", "cursor://cb", "Cursor", false},
		{"named with its colon", "cursor://cb", "cursor:", false},
		{"a name that it begins with", "cursor2://cb", "cursor", false},
		{"a name that begins with it", "cursor://cb", "cursor2", false},
		{"a wildcard for a name", "cursor://cb", "*", false},
		{"no scheme", "://cb", "://cb", false},
		{"no colon", "cursor", "cursor", false},
		{"nothing behind it", "cursor:", "cursor", false},
		{"two slashes behind it", "cursor://", "cursor", false},
		{"a fragment", "cursor://cb#x", "cursor", false},
		{"user information", "cursor://user@cb", "cursor", false},
		{"a response parameter", "cursor://cb?code=x", "cursor", false},
		{"begins with a digit", "1cursor://cb", "1cursor", false},
		{"a tilde", "cur~sor://cb", "cur~sor", false},
		{"not ASCII", "c\u00fcrsor://cb", "c\u00fcrsor", false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			named := strings.Fields(c.named)
			if err := Check(c.uri, named...); (err == nil) != c.ok {
				t.Errorf("Check(%q, %q): %v, want ok=%v", c.uri, named, err, c.ok)
			}
			if !Impersonable(c.uri) {
				t.Errorf("%q counts as an address of one program only", c.uri)
			}
		})
	}
	if Check("://cb", "") == nil {
		t.Error("the empty scheme can be named")
	}
	if err := Check("cursor://cb"); err == nil || !strings.Contains(err.Error(), `"cursor"`) || !strings.Contains(err.Error(), "Client.PrivateUseSchemes") {
		t.Errorf("the error does not say what to put where: %v", err)
	}
}

func TestNamesOfSchemes(t *testing.T) {
	checkRows(t, CheckPrivateUse, []row{
		{"letters", "cursor", true},
		{"capitals", "Cursor", true},
		{"digits, plus and hyphen", "a1+b-c", true},
		{"empty", "", false},
		{"a colon", "cursor:", false},
		{"a whole URI", "cursor://cb", false},
		{"a dot", "com.example.app", false},
		{"a space", "cursor ", false},
		{"a wildcard", "*", false},
		{"a digit first", "1a", false},
	})
}

func TestNoResponseParameterMayBeInARegisteredQuery(t *testing.T) {
	for _, name := range []string{
		"code", "state", "iss", "error", "error_description", "error_uri", "response",
		"access_token", "id_token", "token_type", "expires_in", "scope", "session_state",
	} {
		t.Run(name, func(t *testing.T) {
			if Check("https://app.example/cb?"+name+"=x") == nil {
				t.Error("it is accepted in a registered query")
			}
		})
	}
}

func TestCheckName(t *testing.T) {
	checkRows(t, CheckName, []row{
		{"a usual one", "urn:ietf:wg:oauth:2.0:oob:auto", true},
		{"one of the host's own", "urn:example:in_body-1", true},
		{"empty", "", false},
		{"an address", "https://app.example/cb", false},
		{"a script", "javascript:alert(1)", false},
		{"nothing after urn", "urn:", false},
		{"characters that mean something elsewhere", "urn:a?b", false},
		{"a line break", "urn:a\r\nb", false},
		{"the first and last of the letters and digits", "urn:azAZ09", true},
		{"a scheme of another kind", "com.example:here", false},
		{"a name that only ends so", "x-urn:here", false},
		{"a semicolon", "urn:a;b", false},
		{"an at sign", "urn:a@b", false},
		{"an open bracket", "urn:a[b", false},
		{"a backquote", "urn:a`b", false},
		{"a brace", "urn:a{b", false},
		{"a slash", "urn:a/b", false},
	})
}

func TestCutPort(t *testing.T) {
	for _, c := range []struct {
		rule, uri string
		want      Loopback
		ok        bool
	}{
		{"a port", "http://127.0.0.1:5000/cb?a=1", Loopback{"127.0.0.1", "5000", "/cb?a=1"}, true},
		{"no port", "http://[::1]/cb", Loopback{"[::1]", "", "/cb"}, true},
		{"no path", "http://localhost:1", Loopback{"localhost", "1", ""}, true},
		{"a query alone", "http://localhost?x", Loopback{"localhost", "", "?x"}, true},
		{"a colon without a port", "http://localhost:/cb", Loopback{}, false},
		{"digits behind the host are no port", "http://127.0.0.180/cb", Loopback{}, false},
		{"more behind the host", "http://127.0.0.1x:80/cb", Loopback{}, false},
		{"user information", "http://127.0.0.1:80@evil.example/", Loopback{}, false},
		{"another host", "http://a.example:80/cb", Loopback{}, false},
		{"another loopback address", "http://127.0.0.2:80/cb", Loopback{}, false},
		{"https", "https://127.0.0.1:80/cb", Loopback{}, false},
		{"only a path", "/cb", Loopback{}, false},
		{"only a query", "?x", Loopback{}, false},
		{"only a port", ":80/cb", Loopback{}, false},
		{"empty", "", Loopback{}, false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if got, ok := CutLoopbackPort(c.uri); got != c.want || ok != c.ok {
				t.Errorf("CutLoopbackPort(%q) is %v, %t, want %v, %t", c.uri, got, ok, c.want, c.ok)
			}
		})
	}
}

func TestEncode(t *testing.T) {
	for _, c := range []struct {
		rule, want string
		params     []Param
	}{
		{"nothing", "", nil},
		{"in their order", "b=1&a=2&b=3", []Param{{"b", "1"}, {"a", "2"}, {"b", "3"}}},
		{"an empty value", "a=&b=", []Param{{"a", ""}, {"b", ""}}},
		{"what separates", "a=x%26b%3D%23%3F%2B%25%20y", []Param{{"a", "x&b=#?+% y"}}},
		{"beyond ASCII", "a=%C3%A9", []Param{{"a", "é"}}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if got := Encode(c.params); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestIsLoopback(t *testing.T) {
	for _, c := range []struct {
		rule, host string
		want       bool
	}{
		{"the usual address", "127.0.0.1", true},
		{"the last address of the network", "127.255.255.254", true},
		{"IPv6", "[::1]", true},
		{"localhost", "localhost", true},
		{"below localhost", "app.localhost", true},
		{"IPv6 without brackets", "::1", false},
		{"IPv4 with brackets", "[127.0.0.1]", false},
		{"IPv6 with a zone", "[::1%25lo]", false},
		{"IPv6 with a zone, decoded", "[::1%lo]", false},
		{"IPv4 mapped", "[::ffff:127.0.0.1]", false},
		{"the address before the network", "126.255.255.255", false},
		{"the address after the network", "128.0.0.1", false},
		{"no particular address", "0.0.0.0", false},
		{"no particular IPv6 address", "[::]", false},
		{"the next IPv6 address", "[::2]", false},
		{"localhost with a trailing dot", "localhost.", false},
		{"localhost in capitals", "LOCALHOST", false},
		{"a host that ends like localhost", "notlocalhost", false},
		{"a host that begins like localhost", "localhost.example", false},
		{"a short spelling", "127.1", false},
		{"empty", "", false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if got := IsLoopback(c.host); got != c.want {
				t.Errorf("IsLoopback(%q) is %v, want %v", c.host, got, c.want)
			}
		})
	}
}

func TestImpersonable(t *testing.T) {
	for _, c := range []struct {
		rule, uri string
		want      bool
	}{
		{"https", "https://app.example/cb", false},
		{"a host that begins like localhost", "https://localhost.example/cb", false},
		{"a host that ends like localhost", "https://notlocalhost/cb", false},
		{"private use", "com.example.app:/cb", true},
		{"IPv4 loopback", "http://127.0.0.1:80/cb", true},
		{"IPv4 loopback, elsewhere in the network", "http://127.3.2.1/cb", true},
		{"IPv6 loopback", "http://[::1]:80/cb", true},
		{"localhost", "http://localhost/cb", true},
		{"below localhost", "http://app.localhost/cb", true},
		{"https on loopback", "https://127.0.0.1/cb", true},
		{"https on localhost", "https://localhost/cb", true},
		{"https on localhost in the other case", "https://LocalHost/cb", true},
		{"https on localhost with a trailing dot", "https://localhost./cb", true},
		{"https on loopback, mapped", "https://[::ffff:127.0.0.1]/cb", true},
		{"no URL at all", "https://[", true},
		{"another address", "https://192.0.2.1/cb", false},
		{"another IPv6 address", "https://[2001:db8::1]/cb", false},
		{"no particular address, which is this machine", "https://0.0.0.0/cb", true},
		{"no particular IPv6 address", "https://[::]/cb", true},
		{"a short spelling", "https://127.1/cb", true},
		{"a decimal spelling", "https://2130706433/cb", true},
		{"a hexadecimal spelling", "https://0x7f000001/cb", true},
		{"an octal spelling", "https://0177.0.0.1/cb", true},
		{"a last part that is a nine", "https://127.9/cb", true},
		{"a last part that is a zero", "https://127.0/cb", true},
		{"no host", "https:///cb", true},
		{"another host with a trailing dot", "https://app.example./cb", false},
		{"a last part that begins with a hyphen", "https://app.-x/cb", false},
		{"digits in a name", "https://9app0.example/cb", false},
		{"a scheme that is named", "cursor://app.example/cb", true},
		{"capitals", "HTTPS://app.example/cb", true},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if got := Impersonable(c.uri); got != c.want {
				t.Errorf("Impersonable(%q) is %v, want %v", c.uri, got, c.want)
			}
		})
	}
}

func TestHostIsForAPersonToRead(t *testing.T) {
	for _, c := range []struct{ rule, uri, want string }{
		{"https", "https://app.example/cb?a=1", "app.example"},
		{"a port belongs to it", "http://127.0.0.1:8080/cb", "127.0.0.1:8080"},
		{"private use: the scheme", "com.example.app:/cb", "com.example.app:"},
		{"private use with a host: the scheme all the same", "com.example.app://bank.example/cb", "com.example.app:"},
		{"private use that is no URL: the scheme all the same", "com.example.app://x:y/cb", "com.example.app:"},
		{"no URL", "https://[", ""},
		{"empty", "", ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if got := Host(c.uri); got != c.want {
				t.Errorf("Host(%q) is %q, want %q", c.uri, got, c.want)
			}
		})
	}
}

// FuzzCheck holds whatever is accepted to rules that are written another way here.
func FuzzCheck(f *testing.F) {
	for _, seed := range []struct{ uri, named string }{
		{"https://a.example/cb?x=1", ""},
		{"http://127.0.0.1:5/cb", ""},
		{"http://[::1]/", ""},
		{"com.example.app:/cb", ""},
		{"Cursor://a.b:x/cb?x=1", "Cursor"},
		{"JavaScript:alert(1)", "JavaScript"},
		{"ms-word:x", "ms-word"},
		{"https://user@a.example/", ""},
		{"https://a.example/?x=1&code=1", ""},
	} {
		f.Add(seed.uri, seed.named)
	}
	f.Fuzz(func(t *testing.T, uri, named string) {
		if Check(uri, named) != nil {
			return
		}
		u, err := url.Parse(uri)
		if err != nil && TakesForms(uri) {
			t.Fatalf("%q is accepted and is no URL: %v", uri, err)
		}
		if err != nil {
			return // what follows a private-use scheme is the app's own affair
		}
		if u.User != nil || strings.Contains(uri, "#") || u.Query().Has("code") {
			t.Fatalf("%q is accepted", uri)
		}
		if u.Scheme == "http" && !IsLoopback(strings.TrimSuffix(u.Host, ":"+u.Port())) {
			t.Fatalf("%q is accepted: http on another machine", uri)
		}
		scheme, _, _ := strings.Cut(uri, ":")
		switch lower := strings.ToLower(scheme); {
		case scheme == "https", scheme == "http":
		case slices.Contains(refusedSchemes, lower), strings.HasPrefix(lower, "ms-"):
			t.Fatalf("%q is accepted: nobody can have its scheme", uri)
		case !strings.Contains(scheme, ".") && scheme != named:
			t.Fatalf("%q is accepted: nobody named its scheme", uri)
		}
	})
}
