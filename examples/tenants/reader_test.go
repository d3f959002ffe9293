package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// answers is an endpoint that always sends the same response.
type answers string

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(string(a)))}, nil
}

// A login page in another process reads these values from the introspection.
func TestIntrospectionIsRead(t *testing.T) {
	const params = `"params":{"client_id":["notes"],"redirect_uri":["https://app.example/cb"],"scope":["openid"]}`
	for name, c := range map[string]struct{ answer, client, scopes string }{
		"the client's name and default scopes": {`{"active":true,"client_name":"Notes","scope":"openid profile",` + params + `}`, "Notes", "openid profile"},
		"neither":                              {`{"active":true,` + params + `}`, "notes", "openid"},
		"not active":                           {`{"active":false,"client_name":"Notes"}`, "", ""},
		"no answer":                            {``, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := &introspectionReader{issuer: "https://as.example", client: &http.Client{Transport: answers(c.answer)}}
			got, err := r.read(t.Context(), "req")
			var scopes []string
			for _, line := range got.Scopes {
				scopes = append(scopes, line.Name)
			}
			if (err == nil) != (c.client != "") || got.Client != c.client || strings.Join(scopes, " ") != c.scopes {
				t.Errorf("got %+v, %v, want %s and %s", got, err, c.client, c.scopes)
			}
		})
	}
}
