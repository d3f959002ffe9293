package main

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/pkce"
)

const (
	base     = "http://127.0.0.1:8080"
	path     = "/oauth/authorize"
	oob      = "urn:ietf:wg:oauth:2.0:oob:auto"
	callback = "https://website.example/callback"
	cliKey   = "x-api-key: demo-key-of-cli"
	siteKey  = "x-api-key: demo-key-of-website"
	noKey    = "-x-api-key"
	verifier = "a-verifier-of-43-characters-and-not-random-"
)

// site is the program, with a clock that can be set.
type site struct {
	t       *testing.T
	server  *server
	handler http.Handler
	now     time.Time
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, now: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)}
	var err error
	if s.server, err = newServer(base, slog.New(slog.DiscardHandler), func() time.Time { return s.now }); err != nil {
		t.Fatal(err)
	}
	s.handler = s.server.routes()
	return s
}

// inSites runs each case as a subtest with its own site.
func inSites[C any](t *testing.T, cases map[string]C, test func(s *site, c C)) {
	t.Helper()
	for rule, c := range cases {
		t.Run(rule, func(t *testing.T) { test(newSite(t), c) })
	}
}

// byThemselves are cases whose value is the name.
func byThemselves(values ...string) map[string]string {
	cases := map[string]string{}
	for _, value := range values {
		cases[value] = value
	}
	return cases
}

// params are the parameters of the command-line client, with changes such as "state=other" or
// "-state".
func params(changes ...string) url.Values {
	p := url.Values{
		"response_type": {"code"}, "client_id": {"cli"}, "redirect_uri": {oob}, "state": {"a-state"},
		"code_challenge": {pkce.Challenge(verifier)}, "code_challenge_method": {"S256"},
	}
	for _, change := range changes {
		name, value, _ := strings.Cut(change, "=")
		if without, ok := strings.CutPrefix(name, "-"); ok {
			p.Del(without)
		} else {
			p.Set(name, value)
		}
	}
	return p
}

// byWebsite are the parameters of the client with a redirect URI.
func byWebsite(changes ...string) url.Values {
	return params(append([]string{"client_id=website", "redirect_uri=" + callback}, changes...)...)
}

type answer struct {
	status int
	header http.Header
	body   string
	object map[string]any // nil if the body is no JSON object
}

// send sends a request with the key of the command-line client. Headers such as "name: value"
// or "-name" change that.
func (s *site) send(method, target, body string, headers ...string) answer {
	s.t.Helper()
	r := httptest.NewRequest(method, base+target, strings.NewReader(body))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	own := false
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		own = own || strings.TrimPrefix(name, "-") == "x-api-key"
		if !strings.HasPrefix(name, "-") {
			r.Header.Add(name, value)
		}
	}
	if !own {
		r.Header.Set("x-api-key", "demo-key-of-cli")
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	a := answer{status: w.Code, header: w.Header(), body: w.Body.String()}
	json.Unmarshal(w.Body.Bytes(), &a.object)
	return a
}

func (s *site) get(p url.Values, headers ...string) answer {
	s.t.Helper()
	return s.send(http.MethodGet, path+"?"+p.Encode(), "", headers...)
}

// code expects a code.
func (s *site) code(p url.Values, headers ...string) string {
	s.t.Helper()
	a := s.get(p, headers...)
	code, _ := a.object["code"].(string)
	if a.status != http.StatusOK || code == "" {
		s.t.Fatalf("status %d, want a code: %s", a.status, a.body)
	}
	return code
}

// redeem sends a code to the token endpoint, with changes such as "name=value" and
// headers.
func (s *site) redeem(code string, changes ...string) answer {
	s.t.Helper()
	return s.exchange(url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"cli"}, "redirect_uri": {oob},
		"code": {code}, "code_verifier": {verifier},
	}, changes)
}

func (s *site) exchange(form url.Values, changes []string) answer {
	s.t.Helper()
	var headers []string
	for _, change := range changes {
		if name, value, ok := strings.Cut(change, "="); ok {
			form.Set(name, value)
		} else {
			headers = append(headers, change)
		}
	}
	return s.send(http.MethodPost, "/oauth/token", form.Encode(), headers...)
}

// token exchanges a code for a token and returns its profile too.
func (s *site) token(code string) (token, profile string) {
	s.t.Helper()
	a := s.redeem(code)
	token, _ = a.object["access_token"].(string)
	profile, _ = a.object["profile"].(string)
	if a.status != http.StatusOK || token == "" || profile == "" {
		s.t.Fatalf("status %d, want a token: %s", a.status, a.body)
	}
	return token, profile
}

// refused expects an error in JSON and no new profile.
func (s *site) refused(a answer, status int, code string) {
	s.t.Helper()
	text, _ := a.object["error_description"].(string)
	if a.status != status || a.object["error"] != code || text == "" || len(a.object) != 2 {
		s.t.Errorf("status %d and %s, want %d and %s", a.status, a.body, status, code)
	}
	s.unreadable(a)
	s.profiles(0)
}

// profiles checks the number of profiles.
func (s *site) profiles(want int) {
	s.t.Helper()
	if got := s.server.profiles.size(); got != want {
		s.t.Errorf("there are %d profiles, want %d", got, want)
	}
}

// unreadable checks that no page in a browser can read the response, run it or show it in a
// frame, and that it is not cached and does not redirect.
func (s *site) unreadable(a answer) {
	s.t.Helper()
	for name, want := range map[string]string{
		"Content-Type":                     "application/json",
		"X-Content-Type-Options":           "nosniff",
		"Cross-Origin-Resource-Policy":     "same-origin",
		"Content-Security-Policy":          "default-src 'none'; frame-ancestors 'none'",
		"Cache-Control":                    "no-store",
		"Referrer-Policy":                  "no-referrer",
		"Access-Control-Allow-Origin":      "",
		"Access-Control-Allow-Headers":     "",
		"Access-Control-Allow-Credentials": "",
		"Location":                         "",
		"Refresh":                          "",
		"Set-Cookie":                       "",
	} {
		if got := a.header.Get(name); got != want {
			s.t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
