package clientmeta

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

const most = 20 << 10

// reads returns the text of the error, or what was read.
func reads(t *testing.T, text string) (*Metadata, string) {
	t.Helper()
	m, err := Read([]byte(text), most)
	if err == nil {
		return m, ""
	}
	if known := (*Error)(nil); !errors.As(err, &known) {
		t.Fatalf("an error of type %T: %v", err, err)
	}
	return nil, err.(*Error).Text()
}

func TestReadsEachMember(t *testing.T) {
	got, refused := reads(t, ` {
		"client_id": "https://app.example/client", "client_name": "App", "client_uri": "https://app.example",
		"redirect_uris": ["https://app.example/cb", "http://127.0.0.1/cb"],
		"grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
		"token_endpoint_auth_method": "none", "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
		"scope": "read write", "application_type": "native",
		"jwks": {"keys": []}, "jwks_uri": "https://app.example/keys",
		"software_id": "app", "software_version": "1.2", "software_statement": "a.b.c",
		"contacts": ["a@app.example"], "logo_uri": "https://app.example/logo",
		"tos_uri": "https://app.example/tos", "policy_uri": "https://app.example/policy",
		"client_secret": "s", "client_secret_expires_at": 0
	} `)
	want := &Metadata{
		ClientID: "https://app.example/client", ClientName: "App", ClientURI: "https://app.example",
		RedirectURIs: []string{"https://app.example/cb", "http://127.0.0.1/cb"},
		GrantTypes:   []string{"authorization_code", "refresh_token"}, ResponseTypes: []string{"code"},
		TokenEndpointAuthMethod:           "none",
		TokenEndpointAuthMethodsSupported: []string{"none", "private_key_jwt"},
		Scope:                             "read write", ApplicationType: "native",
		JWKS: json.RawMessage(`{"keys": []}`), JWKSURI: "https://app.example/keys",
		SoftwareID: "app", SoftwareVersion: "1.2", SoftwareStatement: true, Secret: "client_secret",
	}
	if diff := cmp.Diff(want, got); refused != "" || diff != "" {
		t.Errorf("%s (-want +got)\n%s", refused, diff)
	}
}

func TestEachMemberWithEachWrongType(t *testing.T) {
	values := map[string]string{
		"string": `"x"`, "list": `["x"]`, "object": `{"x":"y"}`, "number": `1`, "true": `true`, "false": `false`,
		"list of numbers": `[1]`, "list of lists": `[["x"]]`, "list of objects": `[{"x":"y"}]`,
		"list with null": `["x",null]`, "list with true": `["x",true]`,
	}
	for _, member := range (&Metadata{}).members() {
		right, reason := "", ""
		switch member.into.(type) {
		case *string:
			right, reason = "string", member.name+" is not a string"
		case *[]string:
			right, reason = "list", member.name+" is not a list"
		case *json.RawMessage:
			right, reason = "object", member.name+" is not an object"
		default:
			continue // of these only the presence counts
		}
		for kind, value := range values {
			t.Run(member.name+" as a "+kind, func(t *testing.T) {
				want := reason
				if right == "list" && strings.HasPrefix(kind, "list ") {
					want = fmt.Sprintf("%s[%d] is not a string", member.name, strings.Count(value, ","))
				}
				if kind == right {
					want = ""
				}
				if _, got := reads(t, fmt.Sprintf(`{%q:%s}`, member.name, value)); got != want {
					t.Errorf("%q, want %q", got, want)
				}
			})
		}
		t.Run(member.name+" as null is absent", func(t *testing.T) {
			got, refused := reads(t, fmt.Sprintf(`{%q:null}`, member.name))
			if diff := cmp.Diff(&Metadata{}, got); refused != "" || diff != "" {
				t.Errorf("%s (-want +got)\n%s", refused, diff)
			}
		})
		t.Run(member.name+" twice", func(t *testing.T) {
			_, got := reads(t, fmt.Sprintf(`{%q:null,"x":[{}],%q:null}`, member.name, member.name))
			if want := member.name + " comes twice"; got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

func TestSecretsAreSeen(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                                  "",
		`{"client_secret":null}`:              "",
		`{"client_secret":""}`:                "client_secret",
		`{"client_secret":{}}`:                "client_secret",
		`{"client_secret_expires_at":0}`:      "client_secret_expires_at",
		`{"client_secret_expires_at":"soon"}`: "client_secret_expires_at",
	} {
		t.Run(text, func(t *testing.T) {
			if m, refused := reads(t, text); refused != "" || m.Secret != want {
				t.Errorf("%+v, %q, want %q", m, refused, want)
			}
		})
	}
}

// nested is a value that is so deep, by lists or by objects.
func nested(depth int, list bool) string {
	if list {
		return strings.Repeat("[", depth) + strings.Repeat("]", depth)
	}
	return strings.Repeat(`{"a":`, depth-1) + `{}` + strings.Repeat("}", depth-1)
}

func TestJSON(t *testing.T) {
	long := strings.Repeat("x", MaxText)
	list := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat(`"x",`, n), ",") + "]" }
	padded := func(size int) string { return `{"a":"` + strings.Repeat("x", size-len(`{"a":""}`)) + `"}` }
	for _, c := range []struct{ rule, text, want string }{
		{"an empty object", `{}`, ""},
		{"spaces around", " \t\r\n{} \t\r\n", ""},
		{"an unknown member of any kind", `{"a":[{"b":[1,"c",true,null]}],"d":1e999,"e":{}}`, ""},
		{"a known name in other letters is unknown", `{"Client_Name":1,"CLIENT_ID":2}`, ""},
		{"a known name inside an unknown member", `{"a":{"client_name":1}}`, ""},
		{"the same name in two objects", `{"a":{"b":1},"c":{"b":1},"b":[{"b":1},{"b":1}]}`, ""},
		{"nothing", ``, "the JSON is malformed"},
		{"spaces", `  `, "the JSON is malformed"},
		{"a list", `[{}]`, "the JSON is not an object"},
		{"a string", `"{}"`, "the JSON is not an object"},
		{"null", `null`, "the JSON is not an object"},
		{"half an object", `{"a":1`, "the JSON is malformed"},
		{"something behind", `{}{}`, "the JSON is malformed"},
		{"a comma too many", `{"a":1,}`, "the JSON is malformed"},
		{"a comment", `{/**/}`, "the JSON is malformed"},
		{"single quotes", `{'a':1}`, "the JSON is malformed"},
		{"a control character", "{\"a\":\"\n\"}", "the JSON is malformed"},
		{"a byte order mark", "\ufeff{}", "the JSON is malformed"},
		{"not UTF-8", "{\"a\":\"\xff\"}", "the JSON is not UTF-8"},
		{"UTF-16", "{\x00}\x00", "the JSON is malformed"},
		{"an unknown member twice", `{"a":1,"a":1}`, "the JSON has a member twice"},
		{"a member twice, once escaped", `{"client_name":"a","client\u005fname":"b"}`, "client_name comes twice"},
		{"a member of a member twice", `{"jwks":{"keys":[{"kty":"EC","kty":"RSA"}]}}`, "jwks has a member twice"},
		{"a member of an unknown member twice", `{"a":{"b":1,"b":1}}`, "the JSON has a member twice"},
		{"lists just deep enough", `{"a":` + nested(MaxDepth-1, true) + `}`, ""},
		{"lists just too deep", `{"a":` + nested(MaxDepth, true) + `}`, "the JSON is nested deeper than 8 levels"},
		{"objects just deep enough", nested(MaxDepth, false), ""},
		{"objects just too deep", nested(MaxDepth+1, false), "the JSON is nested deeper than 8 levels"},
		{"a known member that is too deep", `{"jwks":` + nested(MaxDepth, false) + `}`, "jwks is nested deeper than 8 levels"},
		{"much too deep", `{"a":` + nested(9000, true) + `}`, "the JSON is nested deeper than 8 levels"},
		{"just short enough", padded(most), ""},
		{"just too long", padded(most + 1), "the JSON is larger than 20480 bytes"},
		{"a text just short enough", `{"client_name":"` + long + `"}`, ""},
		{"a text just too long", `{"client_name":"` + long + `x"}`, "client_name is longer than 2048 bytes"},
		{"an element just short enough", `{"redirect_uris":["` + long + `"]}`, ""},
		{"an element just too long", `{"redirect_uris":["a","` + long + `x"]}`, "redirect_uris[1] is longer than 2048 bytes"},
		{"a list just short enough", `{"redirect_uris":` + list(MaxList) + `}`, ""},
		{"a list just too long", `{"redirect_uris":` + list(MaxList+1) + `}`, "redirect_uris has more than 32 elements"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if _, got := reads(t, c.text); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestCheckCode(t *testing.T) {
	for _, c := range []struct{ rule, text, want string }{
		{"both absent", `{}`, ""},
		{"both empty", `{"grant_types":[],"response_types":[]}`, ""},
		{"both there", `{"grant_types":["authorization_code"],"response_types":["code"]}`, ""},
		{"others beside them", `{"grant_types":["urn:x","authorization_code"],"response_types":["id_token","code"]}`, ""},
		{"another grant type", `{"grant_types":["refresh_token"]}`, "grant_types does not have authorization_code"},
		{"another response type", `{"response_types":["code id_token"]}`, "response_types does not have code"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			m, _ := reads(t, c.text)
			if got := textOf(m.CheckCode()); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.(*Error).Text()
}

func TestOffers(t *testing.T) {
	for _, c := range []struct {
		rule, text string
		want       bool
	}{
		{"nothing said", `{}`, false},
		{"asked for", `{"token_endpoint_auth_method":"none"}`, true},
		{"another one", `{"token_endpoint_auth_method":"private_key_jwt"}`, false},
		{"left to the server", `{"token_endpoint_auth_method":"private_key_jwt","token_endpoint_auth_methods_supported":["none"]}`, true},
		{"not in the list", `{"token_endpoint_auth_methods_supported":["private_key_jwt"]}`, false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if m, _ := reads(t, c.text); m.Offers("none") != c.want {
				t.Errorf("%t, want %t", !c.want, c.want)
			}
		})
	}
}

func TestCheckRedirectURIs(t *testing.T) {
	const unknown = " has neither https, nor http on loopback, nor the scheme of an app that is known here"
	schemes := []string{"cursor", "com.example.app", "javascript", "Upper"}
	for _, c := range []struct {
		rule, want string
		uris       []string
	}{
		{"none", "redirect_uris is missing", nil},
		{"https", "", []string{"https://app.example/cb?a=b"}},
		{"http on loopback", "", []string{"http://127.0.0.1:80/cb", "http://[::1]/cb", "http://localhost/cb"}},
		{"http elsewhere", "redirect_uris[0] uses http on a host that is not loopback", []string{"http://app.example/cb"}},
		{"a fragment", "redirect_uris[1] has a character that a redirect URI may not have: '#'", []string{"https://a.example", "https://a.example#"}},
		{"user information", "redirect_uris[0] has user information", []string{"https://a@a.example"}},
		{"a response parameter", `redirect_uris[0] has the response parameter "code" in its query`, []string{"https://a.example?code=1"}},
		{"empty", "redirect_uris[0]" + unknown, []string{""}},
		{"relative", "redirect_uris[0]" + unknown, []string{"/cb"}},
		{"an app that is known", "", []string{"cursor://a/b", "com.example.app:/cb", "Upper:/cb"}},
		{"an app that is unknown", "redirect_uris[1]" + unknown, []string{"cursor://a/b", "vscode://a/b"}},
		{"an app with a dot that is unknown", "redirect_uris[0]" + unknown, []string{"com.example.other:/cb"}},
		{"an app in other letters", "redirect_uris[0]" + unknown, []string{"Cursor://a/b"}},
		{"a scheme that nobody may have, though it is listed", "redirect_uris[0]" + unknown, []string{"javascript:alert(1)"}},
		{"a name", "redirect_uris[0]" + unknown, []string{"urn:ietf:wg:oauth:2.0:oob"}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			err := (&Metadata{RedirectURIs: c.uris}).CheckRedirectURIs(schemes)
			if got := textOf(err); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			if err != nil && !err.(*Error).OfRedirectURIs() {
				t.Error("it is not known to be about redirect URIs")
			}
		})
	}
	err := (&Metadata{RedirectURIs: []string{"vscode://a/b"}}).CheckRedirectURIs(nil)
	if !strings.Contains(err.Error(), `has the scheme "vscode"`) {
		t.Errorf("the log does not read the scheme: %v", err)
	}
}

func TestAppSchemes(t *testing.T) {
	for scheme, ok := range map[string]bool{
		"cursor": true, "com.example.app": true, "x-app+1": true,
		"": false, "cursor:": false, "https": false, "javascript": false, "ms-settings": false, "1.a": false, ".a": false,
	} {
		t.Run(scheme, func(t *testing.T) {
			if err := CheckAppScheme(scheme); ok != (err == nil) {
				t.Error(err)
			}
		})
	}
	got := PrivateUseSchemes([]string{"cursor://a", "https://a.example", "http://127.0.0.1", "com.example.app:/cb", "cursor:/b", "vscode:/b"})
	if diff := cmp.Diff([]string{"cursor", "vscode"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestCleanName(t *testing.T) {
	for _, c := range []struct{ rule, name, want string }{
		{"plain", "Claude Code", "Claude Code"},
		{"beyond ASCII", "Ünï 工具 أداة 🦊", "Ünï 工具 أداة 🦊"},
		{"empty", "", ""},
		{"spaces", " \t a \u00a0\u2003\u3000 b\r\n", "a b"},
		{"control characters", "a\x00b\x1bc\x7fd\u0085e", "abcd e"},
		{"bidirectional", "\u202egpj\u202c\u2066a\u2069\u200e\u200f\u061c", "gpja"},
		{"zero-width", "a\u200bb\u200cc\u200dd\u2060e\ufefff\u00adg", "abcdefg"},
		{"line separators", "a\u2028b\u2029c", "a b c"},
		{"tags and variation selectors", "a\U000e0041\U000e007f\ufe0fb\U000e0100", "ab"},
		{"fillers", "a\u3164\u115f\u1160\uffa0\u2800\u034fb", "ab"},
		{"nothing that is visible", "\u200b \u3164 \u202e", ""},
		{"private ones", "a\ue000\U0010fffdb", "ab"},
		{"not UTF-8", "a\xffb", "ab"},
		{"just short enough", strings.Repeat("é", MaxName), strings.Repeat("é", MaxName)},
		{"just too long", strings.Repeat("é", MaxName+1), strings.Repeat("é", MaxName-1) + "…"},
		{"too long with a space at the cut", strings.Repeat("é", MaxName-2) + " ab", strings.Repeat("é", MaxName-2) + "…"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if got := CleanName(c.name); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// Whatever is read, an error names a member that is known or none and tells nothing of what
// was sent but one character, and what is read is within the limits.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"redirect_uris":["https://a.example/cb","cursor://a"],"client_name":"a\u202e","jwks":{"keys":[]}}`))
	f.Add([]byte(`{"client_id":1,"client_id":[[[[[[[[[]]]]]]]]]}`))
	f.Add([]byte(`{"a":{"a":1,"a":2}}`))
	f.Add([]byte("\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Read(data, most)
		if err == nil {
			err = errors.Join(m.CheckCode(), m.CheckRedirectURIs([]string{"cursor"}))
		}
		for known := (*Error)(nil); errors.As(err, &known); err = known.Cause {
			name, _, _ := strings.Cut(known.Member, "[")
			if name != "" && !names[name] || len(known.Text()) > 160 {
				t.Errorf("%q: %q", known.Member, known.Text())
			}
		}
		if m == nil {
			return
		}
		for _, text := range slices.Concat([]string{m.ClientID, m.ClientName}, m.RedirectURIs, m.GrantTypes) {
			if len(text) > MaxText || !utf8.ValidString(text) {
				t.Errorf("%q was read", text)
			}
		}
		name := CleanName(m.ClientName)
		if utf8.RuneCountInString(name) > MaxName || strings.ContainsFunc(name, unicode.IsControl) || CleanName(name) != name {
			t.Errorf("the name %q", name)
		}
	})
}
