package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/usher-auth/usher/authorize"
)

// minimal is a valid config, which a test can make invalid.
func minimal() map[string]any {
	return map[string]any{
		"clients": []any{map[string]any{
			"id":            "web",
			"secret":        "s3cret",
			"redirect_uris": []any{"https://app.example/cb"},
			"scopes":        []any{"openid"},
		}},
		"users": []any{map[string]any{"username": "alice", "password": "pw"}},
	}
}

// spoiler makes a config invalid.
type spoiler func(c map[string]any)

func first(list string, c map[string]any) map[string]any { return c[list].([]any)[0].(map[string]any) }

func top(name string, value any) spoiler { return func(c map[string]any) { c[name] = value } }

func client1(name string, value any) spoiler {
	return func(c map[string]any) { first("clients", c)[name] = value }
}

func user1(name string, value any) spoiler {
	return func(c map[string]any) { first("users", c)[name] = value }
}

func again(list string) spoiler {
	return func(c map[string]any) { c[list] = append(c[list].([]any), first(list, c)) }
}

func without(list, name string) spoiler {
	return func(c map[string]any) { delete(first(list, c), name) }
}

func all(spoilers ...spoiler) spoiler {
	return func(c map[string]any) {
		for _, spoil := range spoilers {
			spoil(c)
		}
	}
}

func TestConfigIsRefusedWithTheFieldNamed(t *testing.T) {
	for name, test := range map[string]struct {
		spoil spoiler
		want  string // part of the error
	}{
		"unknown field":                 {top("colour", "red"), `"colour"`},
		"unknown client field":          {client1("colour", "red"), `"colour"`},
		"unknown user field":            {user1("colour", "red"), `"colour"`},
		"wrong type":                    {client1("redirect_uris", "https://app.example/cb"), "clients.redirect_uris: "},
		"wrong type of a flag":          {client1("public", "yes"), "clients.public: "},
		"no clients":                    {top("clients", nil), "clients: "},
		"no users":                      {top("users", nil), "users: "},
		"empty issuer":                  {top("issuer", ""), "issuer: "},
		"issuer of another scheme":      {top("issuer", "ftp://as.example"), "issuer: "},
		"issuer with a query":           {top("issuer", "https://as.example?a=b"), "issuer: "},
		"issuer with a fragment":        {top("issuer", "https://as.example#a"), "issuer: "},
		"issuer with an escape":         {top("issuer", "https://as.example/%61"), "issuer: "},
		"issuer with a dot segment":     {top("issuer", "https://as.example/a/../b"), "issuer: "},
		"issuer path with slash at end": {top("issuer", "https://as.example/a/"), "issuer: "},
		"code lifetime zero":            {top("code_lifetime_seconds", 0), "code_lifetime_seconds: "},
		"code lifetime too long":        {top("code_lifetime_seconds", 601), "code_lifetime_seconds: "},
		"client twice":                  {again("clients"), "clients[1].id: "},
		"client without id":             {without("clients", "id"), "clients[0].id: "},
		"id with a control character":   {client1("id", "a\x00"), "clients[0].id: "},
		"id outside ASCII":              {client1("id", "é"), "clients[0].id: "},
		"confidential without secret":   {without("clients", "secret"), "clients[0].secret: "},
		"public with secret":            {client1("public", true), "clients[0].secret: "},
		"no redirect_uris":              {without("clients", "redirect_uris"), "clients[0].redirect_uris: "},
		"redirect URI with a fragment":  {client1("redirect_uris", []any{"https://a.example/", "https://a.example/#f"}), "clients[0].redirect_uris[1]: "},
		"scheme that nobody named":      {client1("redirect_uris", []any{"cursor://cb"}), "clients[0].redirect_uris[0]: redirect URI \"cursor://cb\" has the scheme \"cursor\""},
		"scheme, where to name it":      {client1("redirect_uris", []any{"cursor://cb"}), " put it into private_use_schemes, "},
		"scheme that nobody can have":   {client1("private_use_schemes", []any{"cursor", "file"}), "clients[0].private_use_schemes[1]: \"file\" "},
		"redirect URI with plain http":  {client1("redirect_uris", []any{"http://app.example/cb"}), "clients[0].redirect_uris[0]: "},
		"no scopes":                     {without("clients", "scopes"), "clients[0].scopes: "},
		"scope with a space":            {client1("scopes", []any{"openid", "a b"}), "clients[0].scopes[1]: "},
		"default scope of others":       {client1("default_scopes", []any{"openid", "email"}), "clients[0].default_scopes[1]: "},
		"default scope in capitals":     {client1("default_scopes", []any{"OpenID"}), "clients[0].default_scopes[0]: "},
		"empty default scope":           {client1("default_scopes", []any{""}), "clients[0].default_scopes[0]: "},
		"default scope twice":           {client1("default_scopes", []any{"openid", "openid"}), "clients[0].default_scopes[1]: "},
		"unknown response type":         {client1("response_types", []any{"token"}), "clients[0].response_types[0]: "},
		"unknown response mode":         {client1("response_modes", []any{"fragment", "web_message"}), "clients[0].response_modes[1]: \"web_message\" is none of query, form_post, fragment"},
		"unknown pkce":                  {client1("pkce", "maybe"), "clients[0].pkce: "},
		"empty pkce":                    {client1("pkce", ""), "clients[0].pkce: "},
		"public without pkce":           {all(client1("public", true), without("clients", "secret"), client1("pkce", "optional")), "clients[0].pkce: "},
		"registration without scopes":   {top("registration", map[string]any{}), "registration.scopes: "},             // feature dcr
		"documents without scopes":      {top("metadata_documents", map[string]any{}), "metadata_documents.scopes: "}, // feature cimd
		"user twice":                    {again("users"), "users[1].username: "},
		"user without name":             {without("users", "username"), "users[0].username: "},
		"user without password":         {user1("password", ""), "users[0].password: "},
		"workspace without a name":      {user1("workspaces", []any{"acme", ""}), "users[0].workspaces[1]: "},
		"user with a protocol claim":    {user1("claims", map[string]any{"sub": "x"}), "users[0].claims.sub: "},
	} {
		t.Run(name, func(t *testing.T) {
			c := minimal()
			test.spoil(c)
			text, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parseConfig(text); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %s", err, test.want)
			}
		})
	}
}

func TestConfigNamesAllThatIsWrong(t *testing.T) {
	_, err := parseConfig([]byte(`{"clients":[{"id":"a"}],"users":[{}]}`))
	if err == nil {
		t.Fatal("the config was taken")
	}
	for _, field := range []string{"clients[0].secret", "clients[0].redirect_uris", "clients[0].scopes", "users[0].username", "users[0].password"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not named in:\n%v", field, err)
		}
	}
}

func TestConfigThatIsNoObject(t *testing.T) {
	for name, text := range map[string]string{
		"empty":     "",
		"list":      "[]",
		"damaged":   `{"clients":[`,
		"two":       `{"clients":[],"users":[]} {}`,
		"remainder": `{"clients":[],"users":[]} x`,
		"null":      "null",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parseConfig([]byte(text)); err == nil {
				t.Error("the config was taken")
			}
		})
	}
}

// The library checks the scheme of the issuer.
func TestIssuerHasToBeSafe(t *testing.T) {
	text := []byte(`{"issuer":"http://as.example","clients":[],"users":[]}`)
	cfg, err := parseConfig(text)
	if err != nil {
		t.Fatal(err)
	}
	o := testOptions(cfg, cfg.issuerOr(""))
	if _, err := newServer(o); err == nil || !strings.HasPrefix(err.Error(), "issuer: ") {
		t.Errorf("got %v, want an error about the issuer", err)
	}
}

func TestConfigThatIsRight(t *testing.T) {
	cfg, err := parseConfig(defaultConfig)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(cfg.scopes(), " "); got != "address email offline_access openid phone profile" {
		t.Errorf("scopes are %s", got)
	}
	if got := strings.Join(cfg.responseTypes(), " "); got != "code none" {
		t.Errorf("response types are %s", got)
	}
	for _, c := range cfg.Clients {
		t.Run(c.ID, func(t *testing.T) {
			if !c.ClaimsInIDToken {
				t.Error("claims_in_id_token is off, so that a user has no name in many clients")
			}
		})
	}
	if got := cfg.issuerOr("http://127.0.0.1:1"); got != "http://127.0.0.1:1" {
		t.Errorf("the default issuer is %s", got)
	}
	for name, text := range map[string]string{
		"nothing in it":              `{"clients":[],"users":[]}`,
		"a client without addresses": `{"clients":[{"id":"a","public":true,"redirect_uris":[],"scopes":[],"response_types":[]}],"users":[]}`,
		"issuer with a slash":        `{"issuer":"https://as.example/","clients":[],"users":[]}`,
		"issuer with a path":         `{"issuer":"https://as.example/one/two","clients":[],"users":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := parseConfig([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := newServer(testOptions(cfg, cfg.issuerOr("http://127.0.0.1:1"))); err != nil {
				t.Error(err)
			}
		})
	}
}

// Every field of a client reaches the endpoint.
func TestRegistration(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want authorize.Client
	}{
		"all that a public client can have": {
			`{"id":"a","name":"A","public":true,"native":true,"localhost_any_port":true,"pkce":"required","require_state":true,
				"trusted":true,"disabled":true,"redirect_uris":["http://localhost/","cursor://cb"],"private_use_schemes":["cursor"],
				"scopes":["openid"],"default_scopes":["openid"],"claims_in_id_token":true,"response_types":["none"],
				"response_modes":["fragment","query"]}`,
			authorize.Client{
				ID: "a", Name: "A", Public: true, AnyLoopbackPort: true, Require: []string{"state"}, FirstParty: true, Disabled: true,
				RedirectURIs: []string{"http://localhost/", "cursor://cb"}, PrivateUseSchemes: []string{"cursor"},
				Scopes: []string{"openid"}, DefaultScopes: []string{"openid"}, ResponseTypes: []string{"none"},
				ResponseModes: []string{"fragment", "query"},
			},
		},
		"the least that a confidential client can have": {
			`{"id":"a","secret":"s","redirect_uris":[],"scopes":[]}`,
			authorize.Client{ID: "a", RedirectURIs: []string{}, Scopes: []string{}, ResponseTypes: []string{"code"}},
		},
		"no response mode": {
			`{"id":"a","secret":"s","redirect_uris":[],"scopes":[],"response_modes":[]}`,
			authorize.Client{ID: "a", RedirectURIs: []string{}, Scopes: []string{}, ResponseTypes: []string{"code"}, ResponseModes: []string{}},
		},
		"native": {
			`{"id":"a","public":true,"native":true,"redirect_uris":[],"scopes":[]}`,
			authorize.Client{ID: "a", Public: true, AnyLoopbackPort: true, RedirectURIs: []string{}, Scopes: []string{}, ResponseTypes: []string{"code"}},
		},
		"localhost_any_port means the same": {
			`{"id":"a","secret":"s","localhost_any_port":true,"redirect_uris":[],"scopes":[]}`,
			authorize.Client{ID: "a", AnyLoopbackPort: true, RedirectURIs: []string{}, Scopes: []string{}, ResponseTypes: []string{"code"}},
		},
		"pkce optional": {
			`{"id":"a","secret":"s","redirect_uris":[],"scopes":[],"pkce":"optional"}`,
			authorize.Client{ID: "a", RedirectURIs: []string{}, Scopes: []string{}, ResponseTypes: []string{"code"}, PKCEOptional: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := parseConfig([]byte(`{"users":[],"clients":[` + test.text + `]}`))
			if err != nil {
				t.Fatal(err)
			}
			if got := cfg.Clients[0].registration(); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// What the parts of the library say of the file is said with the name of its member.
func TestPartsNameTheirMember(t *testing.T) {
	for member, text := range map[string]string{
		"resources":          `"resources": [{"id": "api"}]`,
		"registration":       `"registration": {"scopes": ["a"], "default_scopes": ["b"]}`,       // feature dcr
		"metadata_documents": `"metadata_documents": {"scopes": ["a"], "default_scopes": ["b"]}`, // feature cimd
	} {
		t.Run(member, func(t *testing.T) {
			cfg, err := parseConfig([]byte(`{"clients": [], "users": [], ` + text + `}`))
			if err != nil {
				t.Fatal(err)
			}
			if _, err = newServer(testOptions(cfg, testIssuer)); err == nil || !strings.HasPrefix(err.Error(), member+": ") {
				t.Errorf("got %v, want an error about %s", err, member)
			}
		})
	}
}
