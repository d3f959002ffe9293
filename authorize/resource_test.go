package authorize

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	oautherr "github.com/usher-auth/usher/errors"
)

var testResources = ResourceMap{
	"https://API.example/":     {Name: "The API", Scopes: []string{"api:read"}, Documentation: "https://docs.example/"},
	"https://mcp.example/v1/a": {},
	"urn:api":                  {Name: "An older one"},
}

func withResources(r Resources) func(*site) { return func(s *site) { s.config.Resources = r } }

func TestAResourceIsTheOneThatIsConfigured(t *testing.T) {
	for _, c := range []struct{ name, asked, want string }{
		{"as configured", "https://API.example/", "https://API.example/"},
		{"the host in another case", "https://api.EXAMPLE/", "https://API.example/"},
		{"the scheme in another case", "HTTPS://api.example/", "https://API.example/"},
		{"without the slash at the root", "https://api.example", "https://API.example/"},
		{"without authority", "urn:api", "urn:api"},
		{"with a path", "https://mcp.example/v1/a", "https://mcp.example/v1/a"},
		{"a slash behind a path", "https://mcp.example/v1/a/", ""},
		{"a path in another case", "https://mcp.example/V1/a", ""},
		{"an escape in the path", "https://mcp.example/v1/%61", ""},
		{"a default port", "https://api.example:443/", ""},
		{"a query", "https://api.example/?a", ""},
		{"user information", "https://a@api.example/", ""},
		{"a fragment", "https://api.example/#a", ""},
		{"no URI", "api", ""},
		{"a path above it", "https://mcp.example/v1", ""},
		{"a path below it", "https://mcp.example/v1/a/b", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, withResources(testResources))
			got := s.visitor(alice()).get(ask("resource=" + url.QueryEscape(c.asked)))
			if c.want == "" {
				got.want("client invalid_target")
				return
			}
			code, err := s.redeem(got.want("code").params["code"], nil)
			if err != nil || !slices.Equal(code.Resources, []string{c.want}) {
				t.Errorf("the code is for %q, %v, want %q", code.Resources, err, c.want)
			}
		})
	}
	t.Run("two spellings are one", func(t *testing.T) {
		s := newSite(t, withResources(testResources), withConsent)
		v := s.visitor(alice())
		v.grant(v.get(ask("resource=https://api.example")).want("consent"), "openid").want("code")
		v.get(ask("resource=https://API.example/", "+resource=HTTPS://API.EXAMPLE")).want("code", "remembered")
	})
}

func TestAResourceThatTheHostMixesUpIsAFailure(t *testing.T) {
	for name, found := range map[string]*Resource{"another one": {ID: "https://other.example/"}, "one without an ID": {}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, withResources(ResourceFunc(func(context.Context, *Client, string) (*Resource, error) { return found, nil })))
			s.visitor(alice()).get(ask("resource=https://api.example/")).want("client server_error")
		})
	}
}

func TestResourcesThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		name      string
		resources Resources
		want      string
	}{
		{"no URI", ResourceMap{"api": {}}, "absolute"},
		{"a fragment", ResourceMap{"https://api.example/#a": {}}, "fragment"},
		{"a letter that is not ASCII", ResourceMap{"https://\u212Aapi.example/": {}}, "ASCII"},
		{"two spellings", ResourceMap{"https://api.example/": {}, "https://API.example": {}}, "two spellings"},
		{"an ID that is not the key", ResourceMap{"urn:a": {ID: "urn:b"}}, "leave the ID empty"},
		{"a nil function", ResourceFunc(nil), "leave it nil"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := newSite(t).config
			config.Resources = c.resources
			_, err := New(config)
			if err == nil || !strings.Contains(err.Error(), "Config.Resources") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("New says %v", err)
			}
		})
	}
}

func TestTheEndpointKeepsItsOwnMapOfResources(t *testing.T) {
	given := ResourceMap{"urn:a": {}}
	s := newSite(t, withResources(given))
	given["urn:b"] = Resource{}
	s.visitor(alice()).get(ask("resource=urn:b")).want("client invalid_target")
}

func TestSameResource(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"https://a.example", "https://a.example/", true},
		{"https://a.example?x", "https://a.example/?x", true},
		{"https://a.example/?x", "https://a.example/?X", false},
		{"https://U@A.example/", "https://U@a.example/", true},
		{"https://U@a.example/", "https://u@a.example/", false},
		{"https://a.example//", "https://a.example/", false},
		{"https://a@B@x.example", "https://a@b@x.example", false},
		{"https://\u212Aapi.example", "https://kapi.example", false},
		{"urn:A", "urn:a", false},
		{"", "", true},
	} {
		t.Run(c.a+" and "+c.b, func(t *testing.T) {
			if got := SameResource(c.a, c.b); got != c.same {
				t.Errorf("the same: %t, want %t", got, c.same)
			}
		})
	}
}

func TestARedemptionForFewerResources(t *testing.T) {
	const api, mcp = "https://API.example/", "https://mcp.example/v1/a"
	for _, c := range []struct {
		name   string
		wanted []string
		want   []string
		err    error
	}{
		{"none named: all", nil, []string{api, mcp}, nil},
		{"all", []string{mcp, api}, []string{mcp, api}, nil},
		{"one", []string{mcp}, []string{mcp}, nil},
		{"one in another spelling, twice", []string{"https://api.example", "https://API.EXAMPLE/"}, []string{api}, nil},
		{"one that was not granted", []string{mcp, "urn:api"}, nil, oautherr.InvalidTarget},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, withResources(testResources))
			got := s.visitor(alice()).get(ask("resource="+api, "+resource="+mcp)).want("code")
			narrowed := func(r *Redemption) { r.Resources = c.wanted }
			code, err := s.redeem(got.params["code"], narrowed)
			if !errors.Is(err, c.err) || (err != nil) != (c.err != nil) {
				t.Fatalf("redeemed: %v, want %v", err, c.err)
			}
			if c.err != nil {
				if code, err = s.redeem(got.params["code"], nil); err != nil {
					t.Fatalf("the wrong one has used the code up: %v", err)
				}
				c.want = []string{api, mcp}
			}
			if diff := cmp.Diff(c.want, code.Resources); diff != "" {
				t.Errorf("the token is to be for: (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff([]string{api, mcp}, code.GrantedResources); diff != "" {
				t.Errorf("a refresh token is to be for: (-want +got)\n%s", diff)
			}
		})
	}
}

func TestAnEndpointWithoutResourcesIgnoresThem(t *testing.T) {
	s := newSite(t, withResources(nil))
	got := s.visitor(alice()).get(ask("resource=https://api.example/")).want("code")
	code, err := s.redeem(got.params["code"], func(r *Redemption) { r.Resources = []string{"https://api.example/"} })
	if err != nil || len(code.Resources)+len(code.GrantedResources) != 0 {
		t.Errorf("the code is for %q, %v", code.Resources, err)
	}
}

func TestMetadataOfAResource(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		name      string
		resource  Resource
		paths     []string
		document  map[string]any
		challenge string
	}{
		{"at the root", Resource{ID: "https://api.example/", Name: "API", Scopes: []string{"a", "b"}, Documentation: "https://docs.example/"},
			[]string{"/.well-known/oauth-protected-resource"},
			map[string]any{"resource": "https://api.example/", "resource_name": "API", "scopes_supported": []any{"a", "b"}, "resource_documentation": "https://docs.example/"},
			`resource_metadata="https://api.example/.well-known/oauth-protected-resource"`},
		{"with a path and a port", Resource{ID: "http://127.0.0.1:8080/v1/mcp"},
			[]string{"/.well-known/oauth-protected-resource/v1/mcp", "/.well-known/oauth-protected-resource"},
			map[string]any{"resource": "http://127.0.0.1:8080/v1/mcp"},
			`resource_metadata="http://127.0.0.1:8080/.well-known/oauth-protected-resource/v1/mcp"`},
		{"with a query", Resource{ID: "https://api.example/a?t=1"},
			[]string{"/.well-known/oauth-protected-resource/a", "/.well-known/oauth-protected-resource"},
			map[string]any{"resource": "https://api.example/a?t=1"},
			`resource_metadata="https://api.example/.well-known/oauth-protected-resource/a?t=1"`},
		{"of another scheme", Resource{ID: "ftp://api.example/a"}, nil, map[string]any{"resource": "ftp://api.example/a"}, ""},
		{"without a host", Resource{ID: "https:api"}, nil, map[string]any{"resource": "https:api"}, ""},
		{"no URL", Resource{ID: "urn:api"}, nil, map[string]any{"resource": "urn:api"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.paths, c.resource.MetadataPaths()); diff != "" {
				t.Errorf("the paths are (-want +got)\n%s", diff)
			}
			w := httptest.NewRecorder()
			s.handler.ResourceMetadataHandler(c.resource, map[string]any{"x": "y"}).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			got := map[string]any{}
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			c.document["authorization_servers"], c.document["bearer_methods_supported"] = []any{testIssuer}, []any{"header"}
			c.document["x"] = "y"
			if diff := cmp.Diff(c.document, got); diff != "" {
				t.Errorf("the document is (-want +got)\n%s", diff)
			}
			want := strings.TrimSpace("Bearer " + c.challenge)
			if got := c.resource.Challenge(""); got != want {
				t.Errorf("the challenge is %s, want %s", got, want)
			}
		})
	}
	for _, c := range []struct {
		name   string
		code   oautherr.Code
		scopes []string
		want   string
	}{
		{"a token that is none", oautherr.InvalidToken, nil, `Bearer error="invalid_token"`},
		{"more scopes are needed", oautherr.InsufficientScope, []string{"a", "b"}, `Bearer error="insufficient_scope", scope="a b"`},
		{"a character that cannot be in a header", oautherr.InsufficientScope, []string{"a", "b\x7f"}, `Bearer error="insufficient_scope"`},
		{"a scope that cannot be one", oautherr.InsufficientScope, []string{"a\"b\r\n"}, `Bearer error="insufficient_scope"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := (Resource{ID: "urn:api"}).Challenge(c.code, c.scopes...); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// A client that was refused for a scope asks again for all that it has and what it needs.
func ExampleResource_Challenge() {
	api := Resource{ID: "https://api.example/mcp", Scopes: []string{"notes.read", "notes.write"}}
	fmt.Println(api.Challenge(oautherr.InsufficientScope, "notes.write"))
	// Output:
	// Bearer error="insufficient_scope", scope="notes.write", resource_metadata="https://api.example/.well-known/oauth-protected-resource/mcp"
}
