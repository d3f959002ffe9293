package authorize

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
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
		t.Run(c.rule, func(t *testing.T) {
			config := minimal()
			c.change(&config)
			h, err := New(config)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]any{
				"issuer": testIssuer, "authorization_endpoint": testEndpoint, "response_types_supported": []string{"code"},
				"response_modes_supported": []string{"query", "form_post", "fragment"}, "code_challenge_methods_supported": []string{"S256"},
				"authorization_response_iss_parameter_supported": true, "claims_parameter_supported": true,
				"request_parameter_supported": false, "request_uri_parameter_supported": false,
				"prompt_values_supported": []string{"none", "login", "select_account"},
			}
			for name, value := range c.want {
				want[name] = value
			}
			if diff := cmp.Diff(want, h.Metadata()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// What is advertised is what is done, and what is not is refused.
func TestTheMetadataIsTrue(t *testing.T) {
	for rule, change := range map[string]func(*site){
		"no page but the login":      func(*site) {},
		"consent":                    withConsent,
		"codes only":                 func(s *site) { s.config.ResponseTypes = nil },
		"a page to choose accounts":  withStep(Interaction{Name: "accounts", Prompt: "select_account", Page: "/accounts"}),
		"consent on the host's page": withStep(Interaction{Name: "agree", Prompt: "consent", Page: "/agree"}),
	} {
		t.Run(rule, func(t *testing.T) {
			s := newSite(t, change, withStep(Interaction{Name: "new", Prompt: "terms", Page: "/new"}))
			m := s.handler.Metadata()
			web := testClients()[0]
			web.ResponseModes = []string{"query", "form_post", "fragment"}
			s.memory.PutClient(web)
			for _, dimension := range []struct {
				member, parameter string
				candidates        []string
			}{
				{"response_types_supported", "response_type", []string{"code", "none", "token", "id_token", "code+id_token"}},
				{"response_modes_supported", "response_mode", []string{"query", "form_post", "fragment", "jwt", "web_message"}},
				{"code_challenge_methods_supported", "code_challenge_method", []string{"S256", "plain", "S512"}},
				{"prompt_values_supported", "prompt", []string{"none", "login", "consent", "select_account", "terms", "foo"}},
				{"scopes_supported", "scope", []string{"openid", "profile", "email", "api:read", "api:write", "offline_access", "unknown"}},
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
		})
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

func TestMetadataPaths(t *testing.T) {
	const oauth, oidc = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
	for _, c := range []struct {
		issuer string
		want   []string
	}{
		{"https://as.example", []string{oauth, oidc}},
		{"https://as.example/", []string{oauth, oidc}},
		{"https://as.example/t/a", []string{oauth + "/t/a", oidc + "/t/a", "/t/a" + oauth, "/t/a" + oidc}},
	} {
		t.Run(c.issuer, func(t *testing.T) {
			s := newSite(t, func(s *site) { s.config.Issuer, s.config.Endpoint = c.issuer, testEndpoint })
			if diff := cmp.Diff(c.want, s.handler.MetadataPaths()); diff != "" {
				t.Error(diff)
			}
		})
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
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "*", "Content-Type": "application/json", "X-Content-Type-Options": "nosniff",
		"Cache-Control": "public, max-age=300", "Content-Length": strconv.Itoa(w.Body.Len()),
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
}

// One row for every kind of request. The headers are all of them that are about CORS,
// methods and caching.
func TestCORS(t *testing.T) {
	s := newSite(t, func(s *site) { s.config.Keys = []Key{{Signer: ecKey(t)}} })
	called := 0
	own := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		called++
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
	})
	userinfo := CORS(own, "GET", "POST")
	methods := []string{"POST"}
	token := CORS(own, methods...)
	methods[0] = "DELETE"
	read := map[string]string{"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "WWW-Authenticate, Retry-After"}
	options := func(allow, methods, headers string) map[string]string {
		want := map[string]string{
			"Access-Control-Allow-Origin": "*", "Allow": allow, "Access-Control-Allow-Methods": methods,
			"Access-Control-Max-Age": "7200", "Vary": "Access-Control-Request-Headers",
		}
		if headers != "" {
			want["Access-Control-Allow-Headers"] = headers
		}
		return want
	}
	refused := func(allow string) map[string]string {
		return map[string]string{"Access-Control-Allow-Origin": "*", "Allow": allow}
	}
	asks := func(headers ...string) http.Header {
		h := http.Header{"Origin": {"https://spa.example"}, "Access-Control-Request-Method": {"GET"}}
		if headers != nil {
			h["Access-Control-Request-Headers"] = headers
		}
		return h
	}
	const getOnly, both = "GET, HEAD, OPTIONS", "GET, HEAD, POST, OPTIONS"
	long := strings.Repeat("x", maxRequestHeaders)
	documents := map[string]http.Handler{"metadata": s.handler.MetadataHandler(), "keys": s.handler.PendingKeysHandler()}
	for name, h := range maps.Clone(documents) {
		documents[name+" by CORS without methods"] = CORS(h)
	}
	type row struct {
		rule   string
		h      http.Handler
		method string
		header http.Header
		status int
		want   map[string]string
		called bool
	}
	rows := []row{
		{"userinfo, GET", userinfo, "GET", nil, 401, read, true},
		{"userinfo, HEAD", userinfo, "HEAD", nil, 401, read, true},
		{"userinfo, POST", userinfo, "POST", nil, 401, read, true},
		{"userinfo, PUT", userinfo, "PUT", nil, 405, refused(both), false},
		{"userinfo, a method in lower case", userinfo, "post", nil, 405, refused(both), false},
		{"userinfo, a preflight", userinfo, "OPTIONS", asks("authorization"), 204, options(both, "GET, HEAD, POST", "authorization"), false},
		{"userinfo, OPTIONS that is no preflight", userinfo, "OPTIONS", nil, 204, options(both, "GET, HEAD, POST", ""), false},
		{"token, POST", token, "POST", nil, 401, read, true},
		{"token, DELETE, which the caller's list has since", token, "DELETE", nil, 405, refused("POST, OPTIONS"), false},
		{"token, GET", token, "GET", nil, 405, refused("POST, OPTIONS"), false},
		{"token, HEAD", token, "HEAD", nil, 405, refused("POST, OPTIONS"), false},
		{"token, a preflight", token, "OPTIONS", asks("content-type"), 204, options("POST, OPTIONS", "POST", "content-type"), false},
		{"HEAD named", CORS(own, "HEAD", "GET"), "OPTIONS", nil, 204, options("HEAD, GET, OPTIONS", "HEAD, GET", ""), false},
	}
	for name, h := range documents {
		rows = append(rows,
			row{name + ", GET", h, "GET", nil, 200, read, false},
			row{name + ", HEAD", h, "HEAD", nil, 200, read, false},
			row{name + ", POST", h, "POST", nil, 405, refused(getOnly), false},
			row{name + ", DELETE", h, "DELETE", nil, 405, refused(getOnly), false},
			row{name + ", TRACE", h, "TRACE", nil, 405, refused(getOnly), false},
			row{name + ", a preflight", h, "OPTIONS", asks("mcp-protocol-version"), 204, options(getOnly, "GET, HEAD", "mcp-protocol-version"), false},
		)
	}
	for _, c := range []struct {
		rule  string
		lines []string
		want  string
	}{
		{"several", []string{"authorization,x-okta-user-agent-extended"}, "authorization, x-okta-user-agent-extended"},
		{"blanks and empty ones", []string{" a ,\tb ,, c,"}, "a, b, c"},
		{"in two lines", []string{"a", "B"}, "a, B"},
		{"every character of a name", []string{tokenCharacters}, tokenCharacters},
		{"as long as may be", []string{long}, long},
		{"too long", []string{long + "x"}, ""},
		{"too long in two lines", []string{long, "x"}, ""},
		{"a line break", []string{"a\r\nSet-Cookie"}, ""},
		{"a space inside", []string{"a b"}, ""},
		{"a colon", []string{"a, b: c"}, ""},
		{"a letter beyond ASCII", []string{"ä"}, ""},
		{"markup", []string{"<b>"}, ""},
		{"empty", []string{""}, ""},
	} {
		rows = append(rows, row{"headers asked for: " + c.rule, documents["metadata"], "OPTIONS", asks(c.lines...), 204, options(getOnly, "GET, HEAD", c.want), false})
	}
	for _, c := range rows {
		t.Run(c.rule, func(t *testing.T) {
			called = 0
			r := httptest.NewRequest(c.method, "/x", nil)
			for name, values := range c.header {
				r.Header[name] = values
			}
			w := httptest.NewRecorder()
			c.h.ServeHTTP(w, r)
			got := map[string]string{}
			for name, values := range w.Header() {
				if name == "Allow" || name == "Vary" || strings.HasPrefix(name, "Access-Control-") {
					got[name] = strings.Join(values, " | ")
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" || w.Code != c.status || called == 1 != c.called {
				t.Errorf("status %d, called %d times, (-want +got)\n%s", w.Code, called, diff)
			}
			if body := w.Body.Len() > 0; body != (c.status == 200 && c.method != "HEAD" || c.status == 405) {
				t.Errorf("the body is %q", w.Body)
			}
		})
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
