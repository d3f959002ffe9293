package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMetadata(t *testing.T) {
	p := newProvider(t)
	for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		t.Run(path, func(t *testing.T) {
			a := p.get(path)
			for name, want := range map[string]string{
				"issuer":                                         `"https://as.example"`,
				"authorization_endpoint":                         `"https://as.example/authorize"`,
				"token_endpoint":                                 `"https://as.example/token"`,
				"userinfo_endpoint":                              `"https://as.example/userinfo"`,
				"jwks_uri":                                       `"https://as.example/jwks"`,
				"response_types_supported":                       `["code","none"]`,
				"response_modes_supported":                       `["query","form_post","fragment"]`,
				"grant_types_supported":                          `["authorization_code","refresh_token"]`,
				"subject_types_supported":                        `["public"]`,
				"id_token_signing_alg_values_supported":          `["RS256"]`,
				"token_endpoint_auth_methods_supported":          `["client_secret_basic","client_secret_post","none"]`,
				"code_challenge_methods_supported":               `["S256"]`,
				"scopes_supported":                               `["api:read","email","offline_access","openid","profile"]`,
				"acr_values_supported":                           `["1"]`,
				"authorization_response_iss_parameter_supported": "true",
			} {
				if got := string(mustJSON(a.json[name])); got != want {
					t.Errorf("%s is %s, want %s", name, got, want)
				}
			}
			if _, there := a.json["end_session_endpoint"]; there {
				t.Error("there is an end_session_endpoint, which /logout is not")
			}
		})
	}
}

// CORS is on only where scripts need it.
func TestCORS(t *testing.T) {
	p := newProvider(t)
	for _, test := range []struct {
		path, methods string // empty: none
	}{
		{"/.well-known/openid-configuration", "GET, HEAD"},
		{"/.well-known/oauth-authorization-server", "GET, HEAD"},
		{"/jwks", "GET, HEAD"},
		{"/token", "POST"},
		{"/userinfo", "GET, HEAD, POST"},
		{"/authorize", ""},
		{"/login", ""},
		{"/accounts", ""},
		{"/consent", ""},
		{"/logout", ""},
		{"/", ""},
	} {
		t.Run(test.path, func(t *testing.T) {
			preflight := httptest.NewRequest(http.MethodOptions, testIssuer+test.path, nil)
			preflight.Header.Set("Origin", "https://spa.example")
			preflight.Header.Set("Access-Control-Request-Method", "POST")
			preflight.Header.Set("Access-Control-Request-Headers", "authorization,mcp-protocol-version")
			a := p.call(preflight)
			if got := a.header.Get("Access-Control-Allow-Methods"); got != test.methods {
				t.Errorf("preflight allows %q, want %q", got, test.methods)
			}
			allowed := a.header.Get("Access-Control-Allow-Headers") == "authorization, mcp-protocol-version" && a.status == http.StatusNoContent
			if allowed != (test.methods != "") {
				t.Errorf("preflight: %d %v", a.status, a.header)
			}
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				r := httptest.NewRequest(method, testIssuer+test.path, nil)
				r.Header.Set("Origin", "https://spa.example")
				a := p.call(r)
				if got, open := a.header.Get("Access-Control-Allow-Origin"), test.methods != ""; (got == "*") != open || got != "" && got != "*" {
					t.Errorf("%s: Access-Control-Allow-Origin is %q", method, got)
				}
				if closed := !strings.Contains(test.methods, method); test.methods != "" && closed != (a.status == http.StatusMethodNotAllowed) {
					t.Errorf("%s: status %d", method, a.status)
				}
				if a.header.Get("Access-Control-Allow-Credentials") != "" {
					t.Errorf("%s: credentials are allowed", method)
				}
			}
		})
	}
}

func TestOtherSitesCannotPostForms(t *testing.T) {
	p := newProvider(t)
	for _, path := range []string{"/login", "/accounts", "/consent", "/logout"} {
		t.Run(path, func(t *testing.T) {
			page, err := p.browser.PostFrom("https://own.example/", testIssuer+path, as("alice"))
			if err != nil || page.Status != http.StatusForbidden || page.Header.Get("Set-Cookie") != "" {
				t.Fatalf("%v, want status 403 and no cookie:\n%s", err, page)
			}
			checkPageHeaders(t, page.Header)
		})
	}
	// A client may send the browser to the endpoint by POST.
	page, err := p.browser.PostFrom("https://own.example/", testIssuer+"/authorize", p.client("own").Start().Params)
	p.page(page, err)("Sign in")
}

func TestPageHeaders(t *testing.T) {
	p := newProvider(t)
	checkPageHeaders(t, p.get("/").header)
	checkPageHeaders(t, p.get("/login").header)
	p.signInAs("alice")
	checkPageHeaders(t, p.page(p.browser.Open(testIssuer+"/logout"))("Sign out").Header)
	checkPageHeaders(t, p.page(p.browser.Open(p.client("web").Start().URL))("Allow access?").Header)
}

// checkPageHeaders expects the headers of the library's own pages, except the referrer policy.
func checkPageHeaders(t *testing.T, header http.Header) {
	t.Helper()
	for field, want := range map[string]string{
		"Content-Type":            "text/html; charset=utf-8",
		"Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'sha256-",
		"X-Content-Type-Options":  "nosniff",
		"X-Frame-Options":         "DENY",
		"Cache-Control":           "no-store",
		"Referrer-Policy":         "same-origin",
	} {
		if got := header.Get(field); !strings.HasPrefix(got, want) {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
	policy := header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "; frame-ancestors 'none'; base-uri 'none'") || strings.Contains(policy, "form-action") {
		t.Errorf("the policy is %q", policy)
	}
}

// Pages load no resources and run no scripts.
func TestPagesStandAlone(t *testing.T) {
	p := newProvider(t)
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, testIssuer+"/login", nil))
	body := strings.Replace(w.Body.String(), "<link rel=icon href=data:,>", "", 1) // this prevents a request for an icon
	for _, part := range []string{"<script", "<link", "<img", "src=", "url(", "@import", "style="} {
		if strings.Contains(body, part) {
			t.Errorf("the page has %s", part)
		}
	}
	if !strings.Contains(w.Body.String(), "<style>"+style+"</style>") {
		t.Error("the style on the page is not the one that the policy allows")
	}
}

func TestMethods(t *testing.T) {
	p := newProvider(t)
	for path, method := range map[string]string{"/token": "GET", "/jwks": "POST", "/login": "PUT", "/logout": "DELETE", "/authorize": "PUT"} {
		t.Run(method+" "+path, func(t *testing.T) {
			a := p.call(httptest.NewRequest(method, testIssuer+path, nil))
			if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") == "" {
				t.Errorf("%d, Allow %q", a.status, a.header.Get("Allow"))
			}
		})
	}
}

// No address redirects with a status with which browsers send a POST again.
func TestUncleanPathsAreNotFound(t *testing.T) {
	p := newProvider(t)
	for _, path := range []string{"//", "//authorize", "/./authorize", "/x/../authorize", "//evil.example/authorize", "/authorize/"} {
		for _, method := range []string{"GET", "POST"} {
			t.Run(method+" "+path, func(t *testing.T) {
				r := httptest.NewRequest(method, "/", nil)
				r.URL.Path = path
				if a := p.call(r); a.status != http.StatusNotFound || a.header.Get("Location") != "" {
					t.Errorf("status %d, Location %q", a.status, a.header.Get("Location"))
				}
			})
		}
	}
}

func TestRunRefusesAWrongConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, []byte(`{"clients":[],"users":[{"username":"alice"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	err := run(context.Background(), "127.0.0.1:0", file, false)
	if err == nil || !strings.Contains(err.Error(), "users[0].password: ") || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v, want the file and the field", err)
	}
	if err := run(context.Background(), "127.0.0.1:0", file+".missing", false); err == nil {
		t.Error("a file that is not there was read")
	}
	if err := run(context.Background(), "256.0.0.1:0", "", false); err == nil {
		t.Error("an address that is none was listened on")
	}
}

// The program prints its address, which is the issuer, and stops on a signal.
func TestRun(t *testing.T) {
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = in
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx, "127.0.0.1:0", "", false) }()
	line, err := bufio.NewReader(out).ReadString('\n')
	os.Stdout = stdout
	if err != nil {
		t.Fatal(err)
	}
	var address string
	if _, err := fmt.Sscanf(line, "listening on %s\n", &address); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	response, err := http.Get(address + "/.well-known/openid-configuration")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := bufio.NewReader(response.Body).ReadString(0)
	if !strings.Contains(text, `"issuer":"`+address+`"`) {
		t.Errorf("the issuer is not %s: %s %v", address, text, err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
