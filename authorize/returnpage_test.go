package authorize

import (
	"html"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func withReturnPage(id string) func(*site) {
	return func(s *site) {
		client := *s.memory.clients[id]
		client.ReturnPage, client.Name = true, "The <App>"
		s.memory.PutClient(client)
	}
}

// An app with a scheme gets its response by a link, whatever it is; all others are redirected to.
func TestAPageLeadsBackToTheApp(t *testing.T) {
	link := regexp.MustCompile(`<a href="([^"]*)"`)
	for _, c := range []struct {
		name, client, redirect, more string
		want                         string // begins the link, or the Location
		page                         bool
	}{
		{"a code", "native", "com.example.app:/cb", "", "com.example.app:/cb?code=", true},
		{"an error", "native", "com.example.app:/cb", "scope=unknown", "com.example.app:/cb?error=invalid_scope&", true},
		{"a scheme without a dot", "desktop", "cursor://cb", "", "cursor://cb?code=", true},
		{"in the fragment", "browser", "com.example.browser:/cb", "response_mode=fragment", "com.example.browser:/cb#code=", true},
		{"on loopback", "native", "http://127.0.0.1/cb", "", "http://127.0.0.1/cb?code=", false},
		{"at a website", "browser", "https://browser.example/cb", "", "https://browser.example/cb?code=", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, withReturnPage(c.client))
			r := httptest.NewRequest("GET", testEndpoint, nil)
			r.URL.RawQuery = ask("client_id="+c.client, "redirect_uri="+strings.ReplaceAll(c.redirect, ":", "%3A"), c.more)
			got := s.visitor(alice()).send(s.handler, r)
			at := got.location
			if c.page {
				found := link.FindStringSubmatch(got.body)
				if found == nil || got.status != 200 || at != "" {
					t.Fatalf("status %d, Location %q, and the page\n%s", got.status, at, got.body)
				}
				at = html.UnescapeString(found[1])
				if csp := got.header.Get("Content-Security-Policy"); !strings.Contains(csp, "script-src '"+sourceHash(openScript)+"';") || !strings.Contains(got.body, "<script>"+openScript+"</script>") {
					t.Errorf("the policy is %q of\n%s", csp, got.body)
				}
				if !strings.Contains(got.body, "The &lt;App&gt;") {
					t.Errorf("the page does not name the app:\n%s", got.body)
				}
			}
			if !strings.HasPrefix(at, c.want) || !strings.Contains(at, "iss=") || !strings.Contains(at, "state=st-1") {
				t.Errorf("to %s, want %s…", at, c.want)
			}
		})
	}
	t.Run("only for a client that has it", func(t *testing.T) {
		s := newSite(t)
		s.visitor(alice()).get(ask("client_id=native", "redirect_uri=com.example.app%3A/cb")).want("code")
	})
	t.Run("the error page of an unvetted client has the link too", func(t *testing.T) {
		s := newSite(t, withReturnPage("native"), withConsent, func(s *site) {
			client := *s.memory.clients["native"]
			client.Unvetted = true
			s.memory.PutClient(client)
		})
		got := s.visitor(nil).get(ask("client_id=native", "redirect_uri=com.example.app%3A/cb", "scope=unknown"))
		if found := link.FindStringSubmatch(got.want("page Bad Request invalid_scope").body); found == nil || !strings.HasPrefix(found[1], "com.example.app:/cb?error=invalid_scope") {
			t.Errorf("%s", got.body)
		}
	})
}
