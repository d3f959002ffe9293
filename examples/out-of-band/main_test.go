package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/pkce"
)

// serve starts a server for the client.
func serve(t *testing.T, answer http.Handler) (address string) {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return server.URL
}

func writeObject(w http.ResponseWriter, status int, object map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(object)
}

// A client that has an address is redirected to it, and nothing is JSON.
func TestAClientWithAnAddressIsRedirected(t *testing.T) {
	for _, c := range []struct {
		rule    string
		method  string
		params  url.Values
		headers []string
		status  int
		want    string
	}{
		{"a code", "GET", byWebsite(), nil, 302, callback + "?code="},
		{"a code by POST", "POST", byWebsite(), nil, 303, callback + "?code="},
		{"a code for a program", "GET", byWebsite(), []string{"Accept: application/json"}, 302, callback + "?code="},
		{"a wrong scope", "GET", byWebsite("scope=admin"), nil, 302, callback + "?error=invalid_scope&"},
		{"a parameter that does not exist", "GET", byWebsite("prompt=none"), nil, 302, callback + "?error=invalid_request&"},
		{"a response mode", "GET", byWebsite("response_mode=query"), nil, 302, callback + "?error=invalid_request&"},
		{"the key of another client", "GET", byWebsite(), []string{cliKey}, 302, callback + "?error=unauthorized_client&"},
		{"no state", "GET", byWebsite("-state"), nil, 302, callback + "?error=invalid_request&"},
		{"a token that is not good", "GET", byWebsite(), []string{"x-profile-jwt: x"}, 302, base + "/?req="},
	} {
		s := newSite(t)
		headers := append(c.headers, siteKey)
		if len(c.headers) > 0 && c.headers[0] == cliKey {
			headers = c.headers
		}
		target, body := path+"?"+c.params.Encode(), ""
		if c.method == http.MethodPost {
			target, body = path, c.params.Encode()
		}
		a := s.send(c.method, target, body, headers...)
		if location := a.header.Get("Location"); a.status != c.status || !strings.HasPrefix(location, c.want) {
			t.Errorf("%s: status %d to %s, want %d to %s", c.rule, a.status, location, c.status, c.want)
		}
		if a.body != "" || a.header.Get("Content-Type") != "" {
			t.Errorf("%s: there is a body: %s", c.rule, a.body)
		}
	}
}

// It cannot have the other's answer, nor the other its address.
func TestClientsCannotChangePlaces(t *testing.T) {
	s := newSite(t)
	s.refused("the website out of band", s.get(params("client_id=website"), siteKey), 400, "invalid_request")
	s.refused("the command-line client at the website", s.get(params("redirect_uri="+callback)), 400, "invalid_request")
	s.refused("an address with the name in it", s.get(byWebsite("redirect_uri="+callback+"?x="+oob), siteKey), 400, "invalid_request")
}

func TestToken(t *testing.T) {
	s := newSite(t)
	code := s.code(params())
	for _, c := range []struct {
		rule    string
		changes []string
		status  int
		want    string
	}{
		{"no API key", []string{noKey}, 401, "invalid_client"},
		{"a wrong API key", []string{"x-api-key: x"}, 401, "invalid_client"},
		{"another client's API key", []string{siteKey}, 400, "unauthorized_client"},
		{"another client", []string{siteKey, "client_id=website"}, 400, "invalid_grant"},
		{"no client", []string{"client_id="}, 400, "unauthorized_client"},
		{"another grant type", []string{"grant_type=password"}, 400, "unsupported_grant_type"},
		{"no grant type", []string{"grant_type="}, 400, "unsupported_grant_type"},
		{"another redirect URI", []string{"redirect_uri=" + callback}, 400, "invalid_grant"},
		{"another verifier", []string{"code_verifier=" + pkce.NewVerifier()}, 400, "invalid_grant"},
		{"another code", []string{"code=x"}, 400, "invalid_grant"},
		{"a form that is too long", []string{"x=" + strings.Repeat("x", maxForm)}, 400, "invalid_request"},
		{"all of it right, and none of the above used the code up", nil, 200, ""},
		{"the same once more", nil, 400, "invalid_grant"},
	} {
		a := s.redeem(code, c.changes...)
		if got, _ := a.object["error"].(string); a.status != c.status || got != c.want {
			t.Errorf("%s: status %d and %s, want %d and %s", c.rule, a.status, a.body, c.status, c.want)
		}
		for name, want := range map[string]string{
			"Content-Type": "application/json", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
			"X-Content-Type-Options": "nosniff", "Access-Control-Allow-Origin": "", "Location": "",
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", c.rule, name, got, want)
			}
		}
	}
	if a := s.send("GET", "/oauth/token", ""); a.status != http.StatusMethodNotAllowed {
		t.Errorf("by GET: status %d", a.status)
	}
}

func TestCodesExpire(t *testing.T) {
	s := newSite(t)
	code := s.code(params())
	s.now = s.now.Add(codeLifetime)
	if a := s.redeem(code); a.status != 400 || a.object["error"] != "invalid_grant" {
		t.Errorf("status %d, %s", a.status, a.body)
	}
}

// Pages of other sites, and browsers that are sent here, get nothing.
func TestBrowsersAreGivenNothing(t *testing.T) {
	for _, c := range []struct {
		rule    string
		headers []string
	}{
		{"a link on another site", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}},
		{"a link on this site", []string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}},
		{"an address typed in", []string{"Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-User: ?1"}},
		{"a frame", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"}},
		{"a script element", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: script"}},
		{"an image", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"}},
		{"a style", []string{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: style"}},
		{"a script that calls", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors", "Origin: https://attacker.example"}},
		{"a script of a sibling host", []string{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors", "Origin: https://www.api.example"}},
	} {
		s := newSite(t)
		// As browsers send it, without the key; and as if one could be made to add it.
		s.refused(c.rule, s.get(params(), append(c.headers, noKey)...), http.StatusUnauthorized, "invalid_client")
		s.refused(c.rule+", with the key", s.get(params(), c.headers...), 400, "invalid_request")
		posted := s.send("POST", path, params().Encode(), c.headers...)
		s.refused(c.rule+", with the key by POST", posted, 400, "invalid_request")
	}
}

// A browser asks first whether it may send the key, and is not told that it may.
func TestAPreflightIsRefused(t *testing.T) {
	s := newSite(t)
	preflight := []string{
		"Origin: https://attacker.example", "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: x-api-key,x-profile-jwt",
	}
	s.refused("without the key", s.send("OPTIONS", path+"?"+params().Encode(), "", append(preflight, noKey)...), 401, "invalid_client")
	s.refused("with the key", s.send("OPTIONS", path+"?"+params().Encode(), "", preflight...), 405, "invalid_request")
}

// A cookie of a user is nothing that counts.
func TestCookiesAreNobody(t *testing.T) {
	s := newSite(t)
	token, profile := s.token(s.code(params("state=1")))
	_, other := s.token(s.code(params("state=2"), "Cookie: x-profile-jwt="+token+"; x-api-key=demo-key-of-cli"))
	if other == profile {
		t.Errorf("a cookie leads to %s", profile)
	}
	if a := s.get(params("state=3"), noKey, "Cookie: x-api-key=demo-key-of-cli"); a.status != http.StatusUnauthorized {
		t.Errorf("the key in a cookie: status %d", a.status)
	}
}

func TestClient(t *testing.T) {
	now := time.Now
	var handler http.Handler
	address := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	server, err := newServer(address, slog.New(slog.DiscardHandler), now)
	if err != nil {
		t.Fatal(err)
	}
	handler = server.routes()

	var notes strings.Builder
	c := client{issuer: address, key: "demo-key-of-cli"}
	if c.token, err = c.run(context.Background(), &notes); err != nil {
		t.Fatal(err)
	}
	first, err := server.tokens.verify(c.token)
	if err != nil || notes.String() != "a new profile: \""+first.Subject+"\"\n" {
		t.Errorf("%v, the client says %q", err, &notes)
	}
	notes.Reset()
	renewed, err := c.run(context.Background(), &notes)
	if err != nil {
		t.Fatal(err)
	}
	second, err := server.tokens.verify(renewed)
	if err != nil || second.Subject != first.Subject || notes.String() != "the profile of the token: \""+first.Subject+"\"\n" {
		t.Errorf("%v, %s became %s, the client says %q", err, first.Subject, second.Subject, &notes)
	}
	for rule, c := range map[string]struct {
		client client
		want   string
	}{
		"no key":            {client{issuer: address}, "API_KEY is not set"},
		"a wrong key":       {client{issuer: address, key: "x"}, `401 Unauthorized: "invalid_client"`},
		"no URL":            {client{issuer: "127.0.0.1:8080", key: "x"}, "is not the URL of a server"},
		"a token long gone": {client{address, "demo-key-of-cli", "gone"}, `400 Bad Request: "login_required"`},
		"no server":         {client{issuer: "http://127.0.0.1:1", key: "x"}, "refused"},
	} {
		if token, err := c.client.run(context.Background(), io.Discard); token != "" || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q, %v", rule, token, err)
		}
	}
	if got := server.profiles.size(); got != 1 {
		t.Errorf("there are %d profiles, want 1", got)
	}
}

// What is not the answer to its own request, the client does not use.
func TestTheClientDoubtsAnswers(t *testing.T) {
	good := func(r *http.Request) map[string]any {
		return map[string]any{"code": "c", "state": r.FormValue("state"), "iss": "http://" + r.Host}
	}
	for _, c := range []struct {
		rule   string
		answer func(w http.ResponseWriter, r *http.Request)
	}{
		{"another state", func(w http.ResponseWriter, r *http.Request) {
			a := good(r)
			a["state"] = "x"
			writeObject(w, 200, a)
		}},
		{"no state", func(w http.ResponseWriter, r *http.Request) {
			a := good(r)
			delete(a, "state")
			writeObject(w, 200, a)
		}},
		{"another issuer", func(w http.ResponseWriter, r *http.Request) {
			a := good(r)
			a["iss"] = "https://attacker.example"
			writeObject(w, 200, a)
		}},
		{"no issuer", func(w http.ResponseWriter, r *http.Request) {
			a := good(r)
			delete(a, "iss")
			writeObject(w, 200, a)
		}},
		{"no code", func(w http.ResponseWriter, r *http.Request) {
			a := good(r)
			delete(a, "code")
			writeObject(w, 200, a)
		}},
		{"an error with a code", func(w http.ResponseWriter, r *http.Request) { writeObject(w, 400, good(r)) }},
		{"a page", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<!DOCTYPE html>") }},
		{"another type", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			json.NewEncoder(w).Encode(good(r))
		}},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere?"+r.URL.RawQuery, http.StatusFound)
		}},
		{"no end", func(w http.ResponseWriter, r *http.Request) {
			a := good(r)
			a["more"] = strings.Repeat("x", maxAnswer)
			writeObject(w, 200, a)
		}},
	} {
		redeemed := false
		_, err := ask(t, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case path:
				c.answer(w, r)
			default:
				redeemed = true
			}
		})
		if err == nil || redeemed {
			t.Errorf("%s: %v, went on: %t", c.rule, err, redeemed)
		}
	}
	_, err := ask(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == path {
			writeObject(w, 200, good(r))
			return
		}
		writeObject(w, 200, map[string]any{})
	})
	if err == nil || !strings.Contains(err.Error(), "no token") {
		t.Errorf("an answer without a token: %v", err)
	}
}

// What is printed is what opens at the address, with a request of its own each time.
func TestHowTo(t *testing.T) {
	s := newSite(t)
	first, second := s.send("GET", "/", "", noKey), s.send("GET", "/", "", noKey)
	if first.status != http.StatusOK || first.body == second.body || first.header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("status %d, %v", first.status, first.header)
	}
	for _, want := range []string{base + path + "?", base + "/oauth/token", "-client " + base, "demonstration"} {
		if !strings.Contains(first.body, want) {
			t.Errorf("there is no %s in\n%s", want, first.body)
		}
	}
	for _, name := range []string{"ASK_BY", "URN", "VERIFIER", "BASE"} {
		if strings.Contains(first.body, name) {
			t.Errorf("%s is not filled in:\n%s", name, first.body)
		}
	}
	if a := s.send("GET", "/other", ""); a.status != http.StatusNotFound {
		t.Errorf("elsewhere: status %d", a.status)
	}
}

func TestMainIsShort(t *testing.T) {
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(source), "\n"); lines >= 150 {
		t.Errorf("main.go has %d lines, want less than 150", lines)
	}
}
