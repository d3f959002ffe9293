package cimd

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/usher-auth/usher/authorize"
)

// Documents of the shape that five well-known products publish.
func TestDocumentsAsTheyAreInTheWild(t *testing.T) {
	type facts struct {
		Name                      string
		Schemes, LeftOut, OfOther []string
		RedirectURIs              int
	}
	for name, want := range map[string]facts{
		"client-a": {Name: "Client A", RedirectURIs: 2, OfOther: []string{"client-a.example.org"}},
		"client-b": {Name: "Client B", RedirectURIs: 2},
		"client-c": {Name: "Client C", RedirectURIs: 1},
		"client-d": {Name: "client-d", RedirectURIs: 2},
		"client-e": {Name: "Client E", RedirectURIs: 6, Schemes: []string{"client-e"}, LeftOut: []string{"client-e-insiders://vendor.editor/did-authenticate"}},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata", name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			var said struct {
				ClientID string `json:"client_id"`
			}
			if err := json.Unmarshal(text, &said); err != nil {
				t.Fatal(err)
			}
			w := newWorld(t, func(c *Config) { c.AppSchemes = []string{"client-e"} })
			w.answers(sends(string(text)))
			client, err := w.get(said.ClientID)
			if err != nil {
				t.Fatal(err)
			}
			if err := authorize.CheckClient(*client); err != nil {
				t.Error(err)
			}
			e := w.events[0]
			got := facts{client.Name, client.PrivateUseSchemes, e.LeftOut, e.RedirectHosts, len(client.RedirectURIs)}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhichDocumentsAreInvalid(t *testing.T) {
	const uris, grants, responses = "redirect_uris", "grant_types", "response_types"
	const method, methods = "token_endpoint_auth_method", "token_endpoint_auth_methods_supported"
	for _, c := range []struct {
		rule   string
		change members
		wrong  string // the member; empty: the document is valid
	}{
		{"no client_id", members{"client_id": nil}, "client_id"},
		{"another client_id", members{"client_id": testID + "/"}, "client_id"},
		{"a client_id in other letters", members{"client_id": strings.Replace(testID, "client.", "Client.", 1)}, "client_id"},

		{"no client_name", members{"client_name": nil}, ""},
		{"an empty client_name", members{"client_name": ""}, ""},

		{"no redirect_uris", members{uris: nil}, uris},
		{"an empty list", members{uris: []string{}}, uris},
		{"only unusable ones", members{uris: []string{"http://a.example.com/", "javascript:alert(1)", "notes://cb", "com.example.notes:/cb", "https://a.example.com/#x", ""}}, uris},
		{"a usable one among them", members{uris: []string{"javascript:alert(1)", "https://a.example.com/", ""}}, ""},
		{"a redirect URI of another host", members{uris: []string{"https://a.example.org/"}}, ""},

		{"none", members{method: "none"}, ""},
		{"private_key_jwt alone", members{method: "private_key_jwt"}, method},
		{"private_key_jwt before none", members{method: "private_key_jwt", methods: []string{"private_key_jwt", "none"}}, ""},
		{"a list with none alone", members{methods: []string{"none"}}, ""},
		{"a list without none", members{methods: []string{"private_key_jwt"}}, methods},
		{"client_secret_basic", members{method: "client_secret_basic"}, method},
		{"client_secret_post beside none", members{method: "client_secret_post", methods: []string{"none"}}, method},
		{"client_secret_jwt", members{method: "client_secret_jwt"}, method},
		{"an unknown method", members{method: "self_signed_tls_client_auth"}, method},
		{"client_secret", members{"client_secret": "x"}, "client_secret"},
		{"client_secret_expires_at", members{"client_secret_expires_at": 0}, "client_secret_expires_at"},

		{"the grant among others", members{grants: []string{"urn:x", "authorization_code"}}, ""},
		{"without the grant", members{grants: []string{"implicit"}}, grants},
		{"the response type among others", members{responses: []string{"id_token", "code", "x y"}}, ""},
		{"without the response type", members{responses: []string{"token"}}, responses},

		{"unknown members of any type", members{"x": map[string]any{"y": []any{1, nil}}, "client_name#ja": 7}, ""},
		{"keys", members{"jwks": map[string]any{"keys": []any{map[string]any{"kty": "EC"}}}}, ""},
		{"keys that are no set", members{"jwks": map[string]any{"kty": "EC"}}, "jwks"},
		{"keys that are no list", members{"jwks": map[string]any{"keys": "x"}}, "jwks"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			w := newWorld(t)
			w.answers(sends(documentOf(testID, c.change).text()))
			if c.wrong == "" {
				w.want("client")
				return
			}
			err := w.want("invalid")
			if got := w.events[0].Member; got != c.wrong {
				t.Errorf("the event names %q, want %q: %v", got, c.wrong, err)
			}
			if text := err.Error(); !strings.Contains(text, c.wrong) {
				t.Errorf("the error does not name it: %s", text)
			}
		})
	}
}

// Of each member that is read, every other type of JSON is refused by its name.
func TestEachMemberHasItsType(t *testing.T) {
	values := map[string]any{
		"a string": "https://client.example.com/", "a number": 7, "true": true, "a list": []string{"none", "code", "authorization_code", "https://a.example.com/"},
		"a list of numbers": []int{7}, "a list of lists": [][]string{{"x"}}, "an object": map[string]any{"keys": []any{}}, "a list with null": []any{nil},
	}
	text, list, object := []string{"a string"}, []string{"a list"}, []string{"an object"}
	for name, right := range map[string][]string{
		"client_id":   nil, // of which one value is right
		"client_name": text, "client_uri": text, "logo_uri": text, "tos_uri": text, "policy_uri": text, "scope": text,
		"application_type": text, "jwks_uri": text, "software_id": text, "software_version": text,
		"redirect_uris": list, "grant_types": list, "response_types": list, "contacts": list,
		"token_endpoint_auth_methods_supported": list, "jwks": object, "token_endpoint_auth_method": nil,
	} {
		for kind, value := range values {
			t.Run(name+", "+kind, func(t *testing.T) {
				w := newWorld(t)
				w.answers(sends(documentOf(testID, members{name: value}).text()))
				if slices.Contains(right, kind) {
					w.want("client")
					return
				}
				w.want("invalid")
				if got, _, _ := strings.Cut(w.events[0].Member, "["); got != name {
					t.Errorf("the event names %q", got)
				}
			})
		}
	}
}

func TestMalformedDocuments(t *testing.T) {
	document := documentOf(testID).text()
	for rule, body := range map[string]string{
		"nothing":                             "",
		"no JSON":                             "<html>",
		"null":                                "null",
		"a list":                              "[" + document + "]",
		"half of it":                          document[:len(document)-5],
		"something behind":                    document + "{}",
		"a member twice":                      strings.Replace(document, "{", `{"client_name":"Bank",`, 1),
		"a member twice, one of them escaped": strings.Replace(document, "{", `{"client\u005fname":"Bank",`, 1),
		"nested too deep":                     strings.Replace(document, "{", `{"x":`+strings.Repeat("[", 2000)+strings.Repeat("]", 2000)+",", 1),
		"bytes that are no UTF-8":             strings.Replace(document, "Notes", "\xff\xfe", 1),
		"UTF-16":                              "\xff\xfe{\x00}\x00",
		"a byte order mark":                   "\ufeff" + document,
	} {
		t.Run(rule, func(t *testing.T) {
			w := newWorld(t)
			w.answers(sends(body))
			w.want("invalid")
		})
	}
}

func TestTheNameIsCleaned(t *testing.T) {
	w := newWorld(t)
	w.answers(sends(documentOf(testID, members{"client_name": " Bank\u202e\u200b\n<b>\x00 " + strings.Repeat("x", 500)}).text()))
	client, err := w.get(testID)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(client.Name, "Bank <b> xx") || strings.ContainsAny(client.Name, "\u202e\u200b\n\x00") || len(client.Name) > 100 {
		t.Errorf("%q", client.Name)
	}
}

func TestTheRevisionIsThatOfRedirectURIsAndKeys(t *testing.T) {
	key := func(kid string) map[string]any { return map[string]any{"kty": "EC", "kid": kid} }
	base := members{"redirect_uris": []string{"https://a.example.com/", "https://b.example.com/"}, "jwks_uri": "https://a.example.com/jwks",
		"jwks": map[string]any{"keys": []any{key("1"), key("2")}}}
	s := newWorld(t).store
	u := &url.URL{Scheme: "https", Host: "client.example.com", Path: "/oauth/client.json"}
	of := func(change members) string {
		d, fail := s.read([]byte(documentOf(testID, base, change).text()), u)
		if fail != nil {
			t.Fatal(fail)
		}
		return d.revision
	}
	for _, c := range []struct {
		rule   string
		change members
		same   bool
	}{
		{"the same", nil, true},
		{"another name", members{"client_name": "x", "logo_uri": "https://x.example/"}, true},
		{"redirect URIs in another order, one of them twice", members{"redirect_uris": []string{"https://b.example.com/", "https://a.example.com/", "https://b.example.com/"}}, true},
		{"keys in another order", members{"jwks": map[string]any{"keys": []any{key("2"), key("1")}}}, true},
		{"one redirect URI more", members{"redirect_uris": []string{"https://a.example.com/", "https://b.example.com/", "https://c.example.com/"}}, false},
		{"one redirect URI less", members{"redirect_uris": []string{"https://a.example.com/"}}, false},
		{"another key", members{"jwks": map[string]any{"keys": []any{key("1"), key("3")}}}, false},
		{"no keys", members{"jwks": nil}, false},
		{"an empty set of keys", members{"jwks": map[string]any{"keys": []any{}}}, false},
		{"keys at another address", members{"jwks_uri": "https://b.example.com/jwks"}, false},
		{"keys at no address", members{"jwks_uri": nil}, false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if same := of(c.change) == of(nil); same != c.same {
				t.Errorf("the same: %t, want %t", same, c.same)
			}
		})
	}
}

func TestKeysDifferByWhatIsWritten(t *testing.T) {
	one, err := canonicalKeys([]byte(`{"keys": [{"x": 9007199254740992}]}`))
	if err != nil {
		t.Fatal(err)
	}
	other, err := canonicalKeys([]byte(`{"keys": [{"x": 9007199254740993}]}`)) // equal as a float
	if err != nil || slices.Equal(one, other) {
		t.Errorf("%q, %q, %v", one, other, err)
	}
}

func TestTheLogSaysWhyNoRedirectURICanBeUsed(t *testing.T) {
	w := newWorld(t)
	w.answers(sends(documentOf(testID, members{"redirect_uris": []string{"https://user@a.example.com/"}}).text()))
	if w.want("invalid"); !strings.Contains(w.log.String(), "has user information") {
		t.Errorf("the log is\n%s", &w.log)
	}
}

// For any bytes as a document there is no client, or one that can be registered.
func FuzzDocument(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) != 5 {
		f.Fatalf("%q, %v", files, err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		m := members{}
		if err := json.Unmarshal(text, &m); err != nil {
			f.Fatal(err)
		}
		m["client_id"] = testID
		f.Add([]byte(m.text()))
	}
	f.Add([]byte(documentOf(testID, members{"redirect_uris": []string{"notes://cb", "com.example.notes:/cb", "javascript:alert(1)"}}).text()))
	f.Add([]byte(documentOf(testID, members{"client_name": "\u202e", "jwks": map[string]any{"keys": []any{7}}}).text()))
	store, err := New(Config{
		Issuer: testIssuer, Clients: authorize.NewMemory(authorize.MemoryConfig{}),
		Scopes: []string{"a"}, AppSchemes: []string{"notes", "com.example.notes"},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		u := &url.URL{Scheme: "https", Host: "client.example.com", Path: "/oauth/client.json"}
		d, fail := store.read(body, u)
		if (d == nil) != (fail != nil) {
			t.Fatalf("%v, %v", d, fail)
		}
		if d == nil {
			return
		}
		client := store.client(testID, d)
		if err := authorize.CheckClient(*client); err != nil || len(client.RedirectURIs) == 0 || !client.Public || !client.Unvetted || len(body) > maxBody {
			t.Errorf("%#v: %v", client, err)
		}
	})
}
