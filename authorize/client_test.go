package authorize

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCheckClient(t *testing.T) {
	for _, c := range []struct {
		rule   string
		change func(*Client)
		want   string // the fields that are named
	}{
		{"nothing but an ID", func(c *Client) { *c = Client{ID: "a"} }, ""},
		{"all that a client can have", func(*Client) {}, ""},
		{"an ID of 2,048 bytes", func(c *Client) { c.ID = strings.Repeat("a", 2048) }, ""},
		{"no response type at all", func(c *Client) { c.ResponseTypes = []string{} }, ""},
		{"no response mode at all", func(c *Client) { c.ResponseModes = []string{} }, ""},
		{"fragment alone", func(c *Client) { c.ResponseModes = []string{"fragment"} }, ""},
		{"trusted", func(c *Client) { c.FirstParty, c.Unvetted = true, false }, ""},

		{"no ID", func(c *Client) { c.ID = "" }, "ID"},
		{"an ID of 2,049 bytes", func(c *Client) { c.ID = strings.Repeat("a", 2049) }, "ID"},
		{"an ID with a control character", func(c *Client) { c.ID = "a\n" }, "ID"},
		{"an ID that is not UTF-8", func(c *Client) { c.ID = "\xff" }, "ID"},
		{"a redirect URI with a fragment", func(c *Client) { c.RedirectURIs[1] += "#f" }, "RedirectURIs[1]"},
		{"two redirect URIs", func(c *Client) { c.RedirectURIs = []string{"", "https://app.example/", "javascript:x"} }, "RedirectURIs[0] RedirectURIs[2]"},
		{"a scheme that is not named", func(c *Client) { c.PrivateUseSchemes = nil }, "RedirectURIs[1]"},
		{"a scheme that is named in other letters", func(c *Client) { c.PrivateUseSchemes[0] = "Cursor" }, "RedirectURIs[1]"},
		{"a scheme that nobody can have", func(c *Client) { c.PrivateUseSchemes = []string{"cursor", "JavaScript"} }, "PrivateUseSchemes[1]"},
		{"a scheme of the web", func(c *Client) { c.PrivateUseSchemes = []string{"cursor", "https"} }, "PrivateUseSchemes[1]"},
		{"a scheme with a dot", func(c *Client) { c.PrivateUseSchemes = []string{"cursor", "com.example.app"} }, "PrivateUseSchemes[1]"},
		{"a scheme with its colon", func(c *Client) { c.PrivateUseSchemes = []string{"cursor", "vscode:"} }, "PrivateUseSchemes[1]"},
		{"an empty scheme", func(c *Client) { c.PrivateUseSchemes = []string{"", "cursor"} }, "PrivateUseSchemes[0]"},
		{"an address for a name", func(c *Client) { c.OutOfBand = "https://app.example/cb" }, "OutOfBand"},
		{"a default scope that it may not ask for", func(c *Client) { c.DefaultScopes = []string{"openid", "email"} }, "DefaultScopes[1]"},
		{"a default scope without scopes", func(c *Client) { c.Scopes = nil }, "DefaultScopes[0]"},
		{"an unknown response type", func(c *Client) { c.ResponseTypes = []string{"code", "token"} }, "ResponseTypes[1]"},
		{"a response type in the other case", func(c *Client) { c.ResponseTypes = []string{"Code"} }, "ResponseTypes[0]"},
		{"an unknown response mode", func(c *Client) { c.ResponseModes = []string{"query", "web_message"} }, "ResponseModes[1]"},
		{"a response mode in the other case", func(c *Client) { c.ResponseModes = []string{"Fragment", "query"} }, "ResponseModes[0]"},
		{"an empty response mode", func(c *Client) { c.ResponseModes = []string{""} }, "ResponseModes[0]"},
		{"how answers out of band travel", func(c *Client) { c.ResponseModes = []string{"body"} }, "ResponseModes[0]"},
		{"trusted and unvetted", func(c *Client) { c.FirstParty = true }, "FirstParty"},
		{"all at once", func(c *Client) {
			*c = Client{
				RedirectURIs: []string{"x"}, PrivateUseSchemes: []string{"file"}, OutOfBand: "urn:", DefaultScopes: []string{"openid"},
				ResponseTypes: []string{"token"}, ResponseModes: []string{"jwt"}, FirstParty: true, Unvetted: true,
			}
		}, "ID RedirectURIs[0] PrivateUseSchemes[0] OutOfBand DefaultScopes[0] ResponseTypes[0] ResponseModes[0] FirstParty"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			client := Client{
				ID: "a", RedirectURIs: []string{"http://127.0.0.1/cb", "cursor://cb"}, PrivateUseSchemes: []string{"cursor"},
				OutOfBand: OutOfBandAuto, AnyLoopbackPort: true, Scopes: []string{"openid", "profile"}, DefaultScopes: []string{"openid"},
				ResponseTypes: []string{"none", "code"}, ResponseModes: []string{"fragment", "form_post", "query"}, Unvetted: true,
			}
			c.change(&client)
			err := CheckClient(client)
			var fields []string
			if joined, ok := err.(interface{ Unwrap() []error }); ok {
				for _, one := range joined.Unwrap() {
					var wrong *ClientError
					if !errors.As(one, &wrong) || !strings.HasPrefix(one.Error(), "Client."+wrong.Field+": ") || !errors.Is(one, wrong.Err) {
						t.Fatalf("%v is no ClientError that names its field", one)
					}
					fields = append(fields, wrong.Field)
				}
			}
			if diff := cmp.Diff(c.want, strings.Join(fields, " ")); diff != "" || (err == nil) != (c.want == "") {
				t.Errorf("%v (-want +got)\n%s", err, diff)
			}
		})
	}
}

// A scheme that was named when the client was stored is checked again at each use.
func TestSchemesAreCheckedAtUse(t *testing.T) {
	for _, c := range []struct {
		rule, uri string
		named     []string
		want      string
	}{
		{"named", "cursor://cb", []string{"cursor"}, "code"},
		{"not named", "cursor://cb", nil, "page Bad Request redirect_uri_mismatch"},
		{"named in other letters", "cursor://cb", []string{"Cursor"}, "page Bad Request redirect_uri_mismatch"},
		{"named and refused all the same", "file://cb", []string{"file"}, "page Bad Request redirect_uri_mismatch"},
	} {
		s := newSite(t)
		s.memory.PutClient(Client{ID: "desktop", Scopes: allScopes, RedirectURIs: []string{c.uri}, PrivateUseSchemes: c.named})
		s.visitor(alice()).get(ask("client_id=desktop", "redirect_uri="+url.QueryEscape(c.uri))).want(t, c.rule, c.want)
	}
}

// The log says what is wrong with a redirect URI, and the page does not: it is for users.
func TestTheLogExplainsARedirectURI(t *testing.T) {
	for _, c := range []struct{ rule, client, uri, want string }{
		{"a slash at the end", "web", "https://app.example/cb/?code=SECRET#SECRET",
			`redirect_uri is not registered: it has a "/" at the end of its path, it has a query, it has a fragment; the nearest registered one is "https://app.example/cb"`},
		{"a port on loopback", "desktop", "http://localhost:5000/cb",
			`redirect_uri is not registered: its port is 5000: register the redirect URI without a port, or set Client.AnyLoopbackPort; the nearest registered one is "http://localhost:8080/cb"`},
		{"none registered", "nowhere", "https://app.example/cb", "redirect_uri is not registered: the client has none in RedirectURIs"},
		{"a registered one that is unsafe", "unsafe", "javascript:alert(1)",
			`the registered redirect URI "javascript:alert(1)" has the scheme "javascript", which belongs to browsers or to the system and is always refused, also in Client.PrivateUseSchemes`},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t)
			got := s.visitor(alice()).get(ask("client_id="+c.client, "redirect_uri="+url.QueryEscape(c.uri)))
			got.want(t, c.rule, "page Bad Request redirect_uri_mismatch")
			var line struct{ Error struct{ Cause string } }
			if err := json.Unmarshal(s.log.Bytes(), &line); err != nil || line.Error.Cause != c.want {
				t.Errorf("%v, the log has %s, want %s", err, s.log.String(), c.want)
			}
			if strings.Contains(s.log.String(), "SECRET") || strings.Contains(got.body, "nearest") {
				t.Errorf("the log says %s, the page %s", s.log.String(), got.body)
			}
		})
	}
}
