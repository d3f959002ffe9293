package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/usher-auth/usher/authorize/authorizetest"
)

// openTo is the file of a provider that is open to clients nobody registered, and to an API.
const openTo = `{
	"clients": [], "users": [{"username": "alice", "password": "alice-password"}],
	"resources": [{"id": "https://api.example/", "name": "The API", "scopes": ["api:read"]}],
	"registration": {"scopes": ["openid", "api:read", "offline_access"], "default_scopes": ["api:read"], "app_schemes": ["editor"]},
	"metadata_documents": {"scopes": ["openid", "api:read", "offline_access"], "default_scopes": ["api:read"]}
}`

// signIn takes a client through login and consent to its tokens for the API.
func (p *provider) signIn(id, redirectURI string) answer {
	p.t.Helper()
	client := authorizetest.Client{Issuer: p.issuer, ID: id, RedirectURI: redirectURI, Scopes: []string{"api:read", "offline_access"}}
	flow := client.Start(url.Values{"resource": {"https://API.example"}})
	login := p.page(p.browser.Open(flow.URL))("Sign in")
	consent := p.page(login.Submit(as("alice")))("Allow")
	code := p.expect(flow, nil)(consent.Submit(nil, "Allow"))
	form := codeGrant(flow, code)
	form.Set("client_id", id)
	form.Set("resource", "https://api.example/")
	return p.tokenRequest(form, func(*http.Request) {})
}

func (p *provider) wantTokens(a answer, id string) {
	p.t.Helper()
	access, _ := a.json["access_token"].(string)
	found, ok := p.server.tokens.find(access)
	if !ok || found.clientID != id || strings.Join(found.resources, " ") != "https://api.example/" {
		p.t.Fatalf("got %d %v, for %q at %q", a.status, a.json, found.clientID, found.resources)
	}
	next := p.refresh(a.json["refresh_token"].(string), func(*http.Request) {}, "client_id", id)
	if next.status != http.StatusOK {
		p.t.Errorf("refreshed: %d %v", next.status, next.json)
	}
}

func TestAClientThatRegistersItself(t *testing.T) {
	p := newProviderOf(t, []byte(openTo), testIssuer, false)
	if got := p.get("/.well-known/oauth-authorization-server").json["registration_endpoint"]; got != testIssuer+"/register" {
		t.Fatalf("the registration_endpoint is %v", got)
	}
	register := func(redirectURI string) answer {
		r := httptest.NewRequest(http.MethodPost, testIssuer+"/register", strings.NewReader(
			fmt.Sprintf(`{"client_name":"An agent","redirect_uris":[%q],"grant_types":["authorization_code","refresh_token"]}`, redirectURI)))
		r.Header.Set("Content-Type", "application/json")
		return p.call(r)
	}
	registered := register("http://127.0.0.1:4711/cb")
	id, _ := registered.json["client_id"].(string)
	if registered.status != http.StatusCreated || id == "" {
		t.Fatalf("registered: %d %v", registered.status, registered.json)
	}
	p.wantTokens(p.signIn(id, "http://127.0.0.1:4712/cb"), id)
	if a := register("editor://cb"); a.status != http.StatusCreated {
		t.Errorf("a scheme of the file: %d %v", a.status, a.json)
	}
	if a := register("another://cb"); a.json["error"] != "invalid_redirect_uri" {
		t.Errorf("another scheme: %d %v", a.status, a.json)
	}
}

func TestAClientWithAMetadataDocument(t *testing.T) {
	var served map[string]any
	documents := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(served)
	}))
	defer documents.Close()
	id := documents.URL + "/client.json"
	served = map[string]any{
		"client_id": id, "client_name": "An agent", "redirect_uris": []string{"http://127.0.0.1/cb"},
		"grant_types": []string{"authorization_code", "refresh_token"}, "token_endpoint_auth_method": "none",
	}
	p := newProviderOf(t, []byte(openTo), "http://localhost:9999", false) // documents on loopback are for an issuer there
	if got := p.get("/.well-known/oauth-authorization-server").json["client_id_metadata_document_supported"]; got != true {
		t.Fatalf("client_id_metadata_document_supported is %v", got)
	}
	p.wantTokens(p.signIn(id, "http://127.0.0.1:4711/cb"), id)
}

func TestWhatIsOffIsRefused(t *testing.T) {
	p := newProvider(t)
	metadata := p.get("/.well-known/oauth-authorization-server").json
	for _, name := range []string{"registration_endpoint", "client_id_metadata_document_supported", "protected_resources"} {
		if metadata[name] != nil {
			t.Errorf("%s is %v", name, metadata[name])
		}
	}
	if a := p.call(httptest.NewRequest(http.MethodPost, testIssuer+"/register", strings.NewReader("{}"))); a.status != http.StatusNotFound {
		t.Errorf("/register: %d", a.status)
	}
	page, err := p.browser.Open(testIssuer + "/authorize?client_id=https%3A%2F%2Fagent.example%2Fclient.json&redirect_uri=http%3A%2F%2F127.0.0.1%2Fcb")
	if err != nil || page.Status != http.StatusBadRequest || !strings.Contains(page.Body, "invalid_client") {
		t.Errorf("%v, %v", page, err)
	}
}
