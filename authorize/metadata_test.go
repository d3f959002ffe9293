package authorize

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMetadata(t *testing.T) {
	for _, c := range []struct {
		rule   string
		change func(*Config)
		want   map[string]any // beside what is always there
	}{
		{"what is required", func(*Config) {}, map[string]any{}},
		{"everything", func(c *Config) {
			c.Endpoint = "https://login.as.example/go"
			c.ResponseTypes = []string{"none", "code"}
			c.Scopes = []string{"openid", "profile"}
			c.Consent = &Consent{Page: "/consent"}
			c.Interactions = []Interaction{{Name: "accounts", Prompt: "select_account", Page: "/accounts"}, {Name: "new", Prompt: "terms", Page: "/new"}}
		}, map[string]any{
			"authorization_endpoint":   "https://login.as.example/go",
			"response_types_supported": []string{"none", "code"},
			"scopes_supported":         []string{"openid", "profile"},
			"prompt_values_supported":  []string{"none", "login", "consent", "select_account", "terms"},
		}},
		{"no scopes at all", func(c *Config) { c.Scopes = []string{} }, map[string]any{"scopes_supported": []string{}}},
		{"consent on a page of the host's own", func(c *Config) {
			c.Interactions = []Interaction{{Name: "agree", Prompt: "consent", Page: "/agree"}}
		}, map[string]any{"prompt_values_supported": []string{"none", "login", "consent", "select_account"}}},
	} {
		config := minimal()
		c.change(&config)
		h, err := New(config)
		if err != nil {
			t.Fatalf("%s: %v", c.rule, err)
		}
		want := map[string]any{
			"issuer": testIssuer, "authorization_endpoint": testEndpoint, "response_types_supported": []string{"code"},
			"response_modes_supported": []string{"query", "form_post"}, "code_challenge_methods_supported": []string{"S256"},
			"authorization_response_iss_parameter_supported": true, "claims_parameter_supported": true,
			"request_parameter_supported": false, "request_uri_parameter_supported": false,
			"prompt_values_supported": []string{"none", "login", "select_account"},
		}
		for name, value := range c.want {
			want[name] = value
		}
		if diff := cmp.Diff(want, h.Metadata()); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.rule, diff)
		}
	}
}

// What is advertised is what is done, and what is not is refused.
func TestTheMetadataIsTrue(t *testing.T) {
	for _, change := range []func(*site){
		func(*site) {},
		withConsent,
		func(s *site) { s.config.ResponseTypes = nil },
		withStep(Interaction{Name: "accounts", Prompt: "select_account", Page: "/accounts"}),
		withStep(Interaction{Name: "agree", Prompt: "consent", Page: "/agree"}),
	} {
		s := newSite(t, change, withStep(Interaction{Name: "new", Prompt: "terms", Page: "/new"}))
		m := s.handler.Metadata()
		for _, dimension := range []struct {
			member, parameter string
			candidates        []string
		}{
			{"response_types_supported", "response_type", []string{"code", "none", "token", "id_token", "code+id_token"}},
			{"response_modes_supported", "response_mode", []string{"query", "form_post", "fragment", "jwt", "web_message"}},
			{"code_challenge_methods_supported", "code_challenge_method", []string{"S256", "plain", "S512"}},
			{"prompt_values_supported", "prompt", []string{"none", "login", "consent", "select_account", "terms", "foo"}},
			{"scopes_supported", "scope", []string{"openid", "profile", "email", "api:read", "api:write", "unknown"}},
		} {
			for _, candidate := range dimension.candidates {
				got := s.visitor(alice()).get(ask(dimension.parameter + "=" + candidate))
				refused := got.kind == "page" || slices.Contains([]string{"invalid_request", "invalid_scope", "unsupported_response_type"}, got.params["error"]) ||
					got.params["error"] == "consent_required" && candidate == "consent"
				if advertised := slices.Contains(m[dimension.member].([]string), candidate); advertised == refused {
					t.Errorf("%s=%s is advertised: %v, and answered %s", dimension.parameter, candidate, advertised, got)
				}
			}
		}
		if s.visitor(nil).get(ask("request=x")).params["error"] != "request_not_supported" || s.visitor(nil).get(ask("request_uri=x")).params["error"] != "request_uri_not_supported" {
			t.Error("request and request_uri are said to be unsupported")
		}
	}
}

func TestTheMetadataIsTheCallersToChange(t *testing.T) {
	config := minimal()
	config.Scopes = []string{"openid"}
	h, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	m := h.Metadata()
	for _, list := range m {
		if list, ok := list.([]string); ok {
			list[0] = "changed"
		}
	}
	m["issuer"] = "changed"
	if text, _ := json.Marshal(h.Metadata()); strings.Contains(string(text), "changed") {
		t.Errorf("%s", text)
	}
}

func TestMetadataHandler(t *testing.T) {
	s := newSite(t)
	more := map[string]any{"token_endpoint": "https://as.example/token", "claims_parameter_supported": false}
	served := s.handler.MetadataHandler(more)
	more["token_endpoint"] = "https://evil.example/"
	w := httptest.NewRecorder()
	served.ServeHTTP(w, httptest.NewRequest("GET", "/.well-known/openid-configuration", nil))
	var m map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
		t.Fatal(err)
	}
	if m["token_endpoint"] != "https://as.example/token" || m["claims_parameter_supported"] != false || m["issuer"] != testIssuer {
		t.Errorf("%v", m)
	}
	for name, want := range map[string]string{"Access-Control-Allow-Origin": "*", "Content-Type": "application/json", "X-Content-Type-Options": "nosniff", "Cache-Control": "public, max-age=300"} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
}

func TestMetadataThatIsNoJSON(t *testing.T) {
	s := newSite(t)
	w := httptest.NewRecorder()
	s.handler.MetadataHandler(map[string]any{"x": func() {}}).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != http.StatusInternalServerError {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

func TestPublicKeysHoldNoSecret(t *testing.T) {
	s := newSite(t, func(s *site) { s.config.Keys = append([]Key{{ID: "signs", Signer: ecKey(t)}}, s.config.Keys...) })
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(s.publicKeys(), &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 1 || set.Keys[0]["kid"] != "signs" {
		t.Errorf("%v", set.Keys)
	}
	for _, secret := range []string{"d", "k", "p", "q"} {
		if _, there := set.Keys[0][secret]; there {
			t.Errorf("the member %q is in a public key", secret)
		}
	}
}
