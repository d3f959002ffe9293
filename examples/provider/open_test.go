package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/usher-auth/usher/authorize/authorizetest"
)

// openTo is the file of a provider with an API, and open to clients that nobody registered, by
// the member that is given.
func openTo(member string) []byte {
	return []byte(`{
		"clients": [], "users": [{"username": "alice", "password": "alice-password"}],
		"resources": [{"id": "https://api.example/", "name": "The API", "scopes": ["api:read"]}],
		"` + member + `": {"scopes": ["openid", "api:read", "offline_access"], "default_scopes": ["api:read"], "app_schemes": ["editor"]}
	}`)
}

// signIn takes a client through login and consent to its tokens for the API.
func (p *provider) signIn(id, redirectURI string) answer {
	p.t.Helper()
	client := authorizetest.Client{Issuer: p.issuer, ID: id, RedirectURI: redirectURI, Scopes: []string{"api:read", "offline_access"}}
	flow := client.Start(url.Values{"resource": {"https://API.example"}})
	login := p.page(p.browser.Open(flow.URL))("Sign in")
	consent := p.page(login.Submit(as("alice")))("Allow")
	code := p.expect(flow, nil)(consent.Submit(nil, "Allow"))
	form := grant(flow, code)
	form.Set("client_id", id)
	form.Set("resource", "https://api.example/")
	return p.tokenRequest(form, func(*http.Request) {})
}

func (p *provider) wantTokens(a answer, id string) {
	p.t.Helper()
	access, _ := a.json["access_token"].(string)
	code, found := p.server.tokens.find(access)
	if code == nil || code.ClientID != id || strings.Join(found.resources, " ") != "https://api.example/" {
		p.t.Fatalf("got %d %v, for %v", a.status, a.json, code)
	}
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {id}, "refresh_token": {a.json["refresh_token"].(string)}}
	for resource, want := range map[string]int{"": 200, "https://API.example": 200, "https://other.example/": 400} {
		if form.Del("resource"); resource != "" {
			form.Set("resource", resource)
		}
		if next := p.tokenRequest(form, func(*http.Request) {}); next.status != want {
			p.t.Errorf("refreshed for %q: %d %v", resource, next.status, next.json)
		}
	}
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
