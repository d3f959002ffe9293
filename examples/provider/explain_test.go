package main

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/usher-auth/usher/authorize/authorizetest"
)

const explainIssuer = "http://127.0.0.1:8080"

func newExplainer(t *testing.T) *provider {
	t.Helper()
	p := newProviderAt(t, explainIssuer)
	p.explain = true
	p.handler = p.routes()
	p.browser = p.newBrowser()
	return p
}

// explained fills in the form and returns the page.
func (p *provider) explained(pasted, user string) *authorizetest.Page {
	p.t.Helper()
	form := p.page(p.browser.Open(p.origin + p.path + "/explain"))("Explain a request")
	return p.page(form.Submit(url.Values{"url": {pasted}, "user": {user}}))("Explain a request")
}

// Each row is a request, the user who is signed in, and texts of the page.
func TestExplain(t *testing.T) {
	p := newExplainer(t)
	start := func(id string, changes ...url.Values) string { return p.client(id).Start(changes...).URL }
	for _, c := range []struct {
		rule, pasted, user string
		want               []string
	}{
		{"nobody is signed in", start("web"), "", []string{
			"would show the login page, because nobody is signed in.",
			"the sign-in is what the request asks for <small>not passed", "consent and other pages <small>not checked",
		}},
		{"the sign-in was a minute ago", start("own", url.Values{"max_age": {"59"}}), "alice", []string{
			"would show the login page, because the sign-in is older than max_age allows.",
		}},
		{"consent is missing", start("web"), "alice", []string{"would show the consent page, because the user has to agree."}},
		{"an account has to be chosen", start("own", url.Values{"prompt": {"select_account"}}), "alice", []string{
			"would show the page on which the user chooses an account.",
		}},
		{"a code", start("own", url.Values{"scope": {"openid email"}}), "alice", []string{
			"would send a code to https://own.example/cb, for openid, email.",
			`the client is known <small>passed, <a href="https://www.rfc-editor.org/rfc/rfc6749#section-2.2">RFC 6749 §2.2</a>`,
		}},
		{"no code", start("own", url.Values{"response_type": {"none"}}), "alice", []string{
			"would send a response without a code to https://own.example/cb.",
		}},
		{"an unknown client", start("gone"), "alice", []string{
			"would refuse with error=invalid_client on an error page, and the client gets no response.",
			"The application is not known here.", `has no client "gone"`, "the redirect URI <small>not checked",
		}},
		{"a wrong redirect URI", start("web", url.Values{"redirect_uri": {"https://web.example/"}}), "", []string{
			"would refuse with error=redirect_uri_mismatch on an error page", "the other parameters <small>not checked",
		}},
		{"PKCE is missing", start("app", url.Values{"code_challenge": nil, "code_challenge_method": nil}), "alice", []string{
			"would refuse with error=invalid_request, which goes to the client at http://127.0.0.1:51004/cb.",
			"code_challenge is missing.", `not passed, <a href="https://www.rfc-editor.org/rfc/rfc7636#section-4.4.1">`,
		}},
		{"only the query", "client_id=gone&state=a?b", "", []string{"error=invalid_client"}},
		{"only the query, with its question mark", "?client_id=gone", "", []string{"error=invalid_client"}},
		{"only the path", "/authorize?client_id=gone", "", []string{"error=invalid_client"}},
		{"a line of a log", `127.0.0.1 - - "GET /authorize?client_id=gone HTTP/1.1" 400 7`, "", []string{`has no client "gone"`}},
		{"lines that a terminal has broken", explainIssuer + "/authorize?client_id=\r\n  gone\r\n", "", []string{`has no client "gone"`}},
		{"no URL", "gone", "", []string{"This is not a URL."}},
		{"nothing", " ", "", []string{"This is not a URL."}},
		{"a port that is none", "http://127.0.0.1:x/authorize?client_id=gone", "", []string{"This is not a URL: "}},
		{"another endpoint", "https://as.example/authorize?client_id=gone", "", []string{
			"This URL is for https://as.example/authorize.", "of this provider is " + explainIssuer + "/authorize.",
		}},
		{"another page", explainIssuer + "/token?client_id=gone", "", []string{"This URL is for " + explainIssuer + "/token."}},
		{"no query", explainIssuer + "/authorize#client_id=gone", "", []string{"This URL has no query."}},
		{"a request that waits", explainIssuer + "/authorize?req=eyJ0eXAiOiJ1c2hlci1yZXF1ZXN0K2p3dCJ9.e30.x", "", []string{
			"This URL is of a waiting request",
		}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			page := p.explained(c.pasted, c.user)
			for _, want := range c.want {
				if !strings.Contains(html.UnescapeString(page.Body), want) {
					t.Errorf("the page does not say %q:\n%s", want, page)
				}
			}
			problem := strings.HasPrefix(c.want[0], "This ")
			if (page.Status == http.StatusBadRequest) != problem || strings.Contains(page.Body, "<ol>") == problem {
				t.Errorf("status %d:\n%s", page.Status, page)
			}
			checkPageHeaders(t, page.Header)
			if cookies := page.Header.Values("Set-Cookie"); cookies != nil {
				t.Errorf("it sets %q", cookies)
			}
		})
	}
	t.Run("all is looked at", func(t *testing.T) {
		if page := p.explained(start("own"), "alice"); strings.Contains(page.Body, "not checked") {
			t.Errorf("a name in explainParts is not that of a check:\n%s", page)
		}
	})
}

func TestExplainEscapesWhatIsPasted(t *testing.T) {
	p := newExplainer(t)
	const hostile = `</textarea><script>alert("1")</script>`
	for _, pasted := range []string{
		hostile,
		"https://" + hostile + "?" + hostile,
		"https://as.example/" + hostile + "?" + hostile,
		explainIssuer + "/authorize?client_id=" + url.QueryEscape(hostile),
		p.client("web").Start(url.Values{"redirect_uri": {"https://web.example/" + hostile}, "scope": {hostile}}).URL,
		p.client("web").Start(url.Values{"scope": {hostile}, "state": {hostile}, "prompt": {hostile}}).URL,
	} {
		t.Run(pasted, func(t *testing.T) {
			page := p.explained(pasted, "")
			if strings.Contains(page.Body, "<script") || strings.Count(page.Body, "</textarea>") != 1 {
				t.Errorf("it is markup on the page:\n%s", page.Body)
			}
		})
	}
}

// Each row is a request for the page, with its host or body, and the status.
func TestExplainIsForThisMachineAlone(t *testing.T) {
	p := newExplainer(t)
	host := func(host string) *http.Request {
		r := httptest.NewRequest(http.MethodGet, explainIssuer+"/explain", nil)
		r.Host = host
		return r
	}
	post := func(body string) *http.Request {
		r := httptest.NewRequest(http.MethodPost, explainIssuer+"/explain", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return r
	}
	crossSite := post("url=client_id%3Dgone")
	crossSite.Header.Set("Sec-Fetch-Site", "cross-site")
	rebound := post("url=client_id%3Dgone")
	rebound.Host = "evil.example:8080"
	for _, c := range []struct {
		rule    string
		request *http.Request
		status  int
	}{
		{"127.0.0.1", host("127.0.0.1:8080"), http.StatusOK},
		{"another address of 127.0.0.0/8", host("127.1.2.3"), http.StatusOK},
		{"[::1]", host("[::1]"), http.StatusOK},
		{"[::1] with a port", host("[::1]:8080"), http.StatusOK},
		{"localhost", host("LOCALHOST:8080"), http.StatusOK},
		{"a name below localhost", host("as.localhost:8080"), http.StatusOK},
		{"another site", host("evil.example:8080"), http.StatusForbidden},
		{"a form at another site", rebound, http.StatusForbidden},
		{"a name that begins with the address", host("127.0.0.1.evil.example"), http.StatusForbidden},
		{"a name that ends as localhost does", host("evillocalhost"), http.StatusForbidden},
		{"another address", host("192.0.2.1:8080"), http.StatusForbidden},
		{"no host", host(""), http.StatusForbidden},
		{"a form from another site", crossSite, http.StatusForbidden},
		{"an unknown user", post("url=client_id%3Dgone&user=carol"), http.StatusBadRequest},
		{"too much", post("url=client_id%3D" + strings.Repeat("a", maxForm)), http.StatusBadRequest},
	} {
		t.Run(c.rule, func(t *testing.T) {
			w := httptest.NewRecorder()
			p.handler.ServeHTTP(w, c.request)
			if w.Code != c.status || strings.Contains(w.Body.String(), "would") {
				t.Errorf("status %d, want %d:\n%s", w.Code, c.status, w.Body)
			}
		})
	}
}

// Without the flag there is no page. With it, the issuer has to be for development.
func TestExplainNeedsTheFlag(t *testing.T) {
	if a := newProviderAt(t, explainIssuer).get("/explain"); a.status != http.StatusNotFound {
		t.Errorf("without the flag: status %d", a.status)
	}
	cfg, err := parseConfig([]byte(testConfig))
	if err != nil {
		t.Fatal(err)
	}
	for issuer, allowed := range map[string]bool{
		"http://127.0.0.1:8080": true, "http://[::1]:8080": true, "http://localhost/tenant": true,
		"https://as.example": false, "https://localhost": false, "http://as.example": false,
	} {
		t.Run(issuer, func(t *testing.T) {
			o := testOptions(cfg, issuer)
			o.explain = true
			s, err := newServer(o)
			if !allowed {
				if err == nil || !strings.Contains(err.Error(), "leave it out, or change the issuer") {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if text := s.welcome(issuer, cfg, ""); !strings.Contains(text, issuer+"/explain ") {
				t.Errorf("it prints\n%s", text)
			}
		})
	}
	p := newExplainer(t)
	p.page(p.page(p.browser.Open(explainIssuer + "/"))("You are not signed in").Click("Read why"))("Explain a request")
}

func TestSectionURL(t *testing.T) {
	for section, want := range map[string]string{
		"RFC 6749 §3.1.1":                        "https://www.rfc-editor.org/rfc/rfc6749#section-3.1.1",
		"RFC 6749 §B":                            "https://www.rfc-editor.org/rfc/rfc6749#appendix-B",
		"OpenID Connect Core 1.0 §3.1.2.1":       "https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest",
		"OpenID Connect Core 1.0 §16.1":          "https://openid.net/specs/openid-connect-core-1_0.html",
		"OAuth 2.0 Multiple Response Types §2.1": "https://openid.net/specs/oauth-v2-multiple-response-types-1_0.html",
		"RFC 6749":          "",
		"a rule of our own": "",
		"":                  "",
	} {
		t.Run(section, func(t *testing.T) {
			if got := sectionURL(section); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}
