package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
)

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
	p := newProviderOf(t, openTo("metadata_documents"), "http://localhost:9999", false) // documents on loopback are for an issuer there
	if got := p.get("/.well-known/oauth-authorization-server").json["client_id_metadata_document_supported"]; got != true {
		t.Fatalf("client_id_metadata_document_supported is %v", got)
	}
	p.wantTokens(p.signIn(id, "http://127.0.0.1:4711/cb"), id)
}
