package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
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

// A client with a redirect URI gets a redirect and no JSON.
func TestAClientWithAnAddressIsRedirected(t *testing.T) {
	type request struct {
		params  url.Values
		headers []string
		want    string
	}
	inSites(t, map[string]request{
		"a code":                          {byWebsite(), []string{siteKey}, callback + "?code="},
		"a parameter that does not exist": {byWebsite("prompt=none"), []string{siteKey}, callback + "?error=invalid_request&"},
		"the key of another client":       {byWebsite(), []string{cliKey}, callback + "?error=unauthorized_client&"},
		"a token that is not good":        {byWebsite(), []string{siteKey, "x-profile-jwt: x"}, base + "/?req="},
	}, func(s *site, c request) {
		a := s.get(c.params, c.headers...)
		if location := a.header.Get("Location"); a.status != http.StatusFound || !strings.HasPrefix(location, c.want) {
			s.t.Errorf("status %d to %s, want %s", a.status, location, c.want)
		}
		if a.body != "" || a.header.Get("Content-Type") != "" {
			s.t.Errorf("there is a body: %s", a.body)
		}
	})
}

func TestToken(t *testing.T) {
	type refused struct {
		changes []string
		status  int
		want    string
	}
	inSites(t, map[string]refused{
		"no API key":               {[]string{noKey}, 401, "invalid_client"},
		"a wrong API key":          {[]string{"x-api-key: x"}, 401, "invalid_client"},
		"another client's API key": {[]string{siteKey}, 400, "unauthorized_client"},
		"another client":           {[]string{siteKey, "client_id=website"}, 400, "invalid_grant"},
		"no client":                {[]string{"client_id="}, 400, "unauthorized_client"},
		"another grant type":       {[]string{"grant_type=password"}, 400, "unsupported_grant_type"},
		"no grant type":            {[]string{"grant_type="}, 400, "unsupported_grant_type"},
		"another redirect URI":     {[]string{"redirect_uri=" + callback}, 400, "invalid_grant"},
		"a form that is too long":  {[]string{"x=" + strings.Repeat("x", maxForm)}, 400, "invalid_request"},
	}, func(s *site, c refused) {
		code := s.code(params())
		a := s.redeem(code, c.changes...)
		if got, _ := a.object["error"].(string); a.status != c.status || got != c.want {
			s.t.Errorf("status %d and %s, want %d and %s", a.status, a.body, c.status, c.want)
		}
		good := s.redeem(code)
		if good.status != http.StatusOK {
			s.t.Errorf("it has used the code up: status %d, %s", good.status, good.body)
		}
		for name, want := range map[string]string{
			"Content-Type": "application/json", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
			"X-Content-Type-Options": "nosniff", "Access-Control-Allow-Origin": "", "Location": "",
		} {
			if a.header.Get(name) != want || good.header.Get(name) != want {
				s.t.Errorf("%s is %q and %q, want %q", name, a.header.Get(name), good.header.Get(name), want)
			}
		}
	})
	s := newSite(t)
	if a := s.send("GET", "/oauth/token", ""); a.status != http.StatusMethodNotAllowed {
		t.Errorf("by GET: status %d", a.status)
	}
}

// Pages of other sites, and browsers that open the endpoint, get no code.
func TestBrowsersAreGivenNothing(t *testing.T) {
	inSites(t, map[string][]string{
		"a link on another site": {"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"},
		"a script that calls":    {"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors", "Origin: https://attacker.example"},
	}, func(s *site, headers []string) {
		// Browsers send no key. The other request has one, as if a browser could send it.
		s.refused(s.get(params(), append(headers, noKey)...), http.StatusUnauthorized, "invalid_client")
		s.refused(s.get(params(), headers...), 400, "invalid_request")
		s.refused(s.send("POST", path, params().Encode(), headers...), 400, "invalid_request")
	})
}

// A browser asks by CORS whether it may send the key. It may not.
func TestAPreflightIsRefused(t *testing.T) {
	s := newSite(t)
	preflight := []string{
		"Origin: https://attacker.example", "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: x-api-key,x-profile-jwt",
	}
	s.refused(s.send("OPTIONS", path+"?"+params().Encode(), "", append(preflight, noKey)...), 401, "invalid_client")
	s.refused(s.send("OPTIONS", path+"?"+params().Encode(), "", preflight...), 405, "invalid_request")
}

// Cookies have no effect.
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
	var handler http.Handler
	address := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	server, err := newServer(address, slog.New(slog.DiscardHandler), time.Now)
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
		t.Run(rule, func(t *testing.T) {
			if token, err := c.client.run(context.Background(), io.Discard); token != "" || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q, %v", token, err)
			}
		})
	}
	if got := server.profiles.size(); got != 1 {
		t.Errorf("there are %d profiles, want 1", got)
	}
}

// The client does not use a response that is not for its request.
func TestTheClientDoubtsAnswers(t *testing.T) {
	good := func(r *http.Request) map[string]any {
		return map[string]any{"code": "c", "state": r.FormValue("state"), "iss": "http://" + r.Host}
	}
	but := func(name string, value any) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			a := good(r)
			if a[name] = value; value == nil {
				delete(a, name)
			}
			writeObject(w, 200, a)
		}
	}
	for rule, answer := range map[string]http.HandlerFunc{
		"no state":             but("state", nil),
		"another issuer":       but("iss", "https://attacker.example"),
		"no issuer":            but("iss", nil),
		"no code":              but("code", nil),
		"no end":               but("more", strings.Repeat("x", maxAnswer)),
		"an error with a code": func(w http.ResponseWriter, r *http.Request) { writeObject(w, 400, good(r)) },
		"a page":               func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<!DOCTYPE html>") },
		"another type": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			json.NewEncoder(w).Encode(good(r))
		},
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere?"+r.URL.RawQuery, http.StatusFound)
		},
	} {
		t.Run(rule, func(t *testing.T) {
			redeemed := false
			_, err := ask(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == path {
					answer(w, r)
				} else {
					redeemed = true
				}
			})
			if err == nil || redeemed {
				t.Errorf("%v, went on: %t", err, redeemed)
			}
		})
	}
	t.Run("an answer without a token", func(t *testing.T) {
		_, err := ask(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == path {
				writeObject(w, 200, good(r))
			} else {
				writeObject(w, 200, map[string]any{})
			}
		})
		if err == nil || !strings.Contains(err.Error(), "no token") {
			t.Error(err)
		}
	})
}

// The server's address shows the printed commands, with a new request each time.
func TestHowTo(t *testing.T) {
	s := newSite(t)
	first, second := s.send("GET", "/", "", noKey), s.send("GET", "/", "", noKey)
	if first.status != http.StatusOK || first.body == second.body || !strings.Contains(first.body, `<pre class="note"><code>  export API_KEY=demo-key-of-cli`) {
		t.Errorf("status %d, %s", first.status, first.body)
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
	if a := s.send("GET", "/other", ""); a.status != http.StatusNotFound || !strings.Contains(a.body, "There is no such page") {
		t.Errorf("elsewhere: status %d, %s", a.status, a.body)
	}
}
