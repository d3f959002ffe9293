package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAClientThatRegistersItself(t *testing.T) {
	p := newProviderOf(t, openTo("registration"), testIssuer, false)
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
