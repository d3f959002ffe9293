package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// The tests of this file follow the description of an endpoint of many tenants from top to
// bottom, with one subtest for each statement about the endpoint.

func TestReferenceEndpoint(t *testing.T) {
	t.Run("applications redirect to it and make no direct call", func(t *testing.T) {
		atEachTenant(t, byThemselves("GET", "OPTIONS"), func(w *world, on *tenant, method string) {
			script := http.Header{"Accept": {"application/json"}, "Origin": {"http://app.localhost:8080"}}
			response := w.call(method, ask(on).URL, "", script)
			if want := map[string]int{"GET": http.StatusFound, "OPTIONS": http.StatusMethodNotAllowed}[method]; response.StatusCode != want {
				w.t.Errorf("status %d, want %d", response.StatusCode, want)
			}
			for name := range response.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					w.t.Errorf("a script may read the answer: %s", name)
				}
			}
		})
	})
	holds(t, "the redirect uses the vanity domain of the user's tenant", func(w *world, on *tenant) {
		page := w.open(ask(on))
		w.atLogin(on, page)
		if page.URL.Hostname() != on.Name+".localhost" || !strings.Contains(page.Body, on.Title) {
			w.t.Errorf("the page is not one of %s:\n%s", on.Title, page)
		}
	})
	holds(t, "it is called as part of the authorization code grant", func(w *world, on *tenant) {
		flow := ask(on)
		record := w.redeem(on, flow, w.signIn(on, w.open(flow)))
		if strings.Join(record.Scopes, " ") != "openid" || record.Nonce != flow.Nonce {
			w.t.Errorf("the code stands for %v and %q", record.Scopes, record.Nonce)
		}
	})
}

// TestReferenceResponses tests the list of the endpoint's responses.
func TestReferenceResponses(t *testing.T) {
	holds(t, "invalid client: the default error page or a custom one", func(w *world, on *tenant) {
		w.withAndWithout(on, func() {
			w.onErrorPage(on, w.open(ask(on, url.Values{"client_id": {"nobody"}})), oautherr.InvalidClient)
			w.onErrorPage(on, w.open(ask(on, url.Values{"client_id": nil})), oautherr.InvalidRequest)
			w.onErrorPage(on, w.open(ask(on, url.Values{"client_id": {"notes-" + on.Name, "notes-" + on.Name}})), oautherr.InvalidRequest)
		})
		w.putClient(on, authorize.Client{ID: "notes-" + on.Name, RedirectURIs: []string{callback}, Disabled: true})
		w.onErrorPage(on, w.open(ask(on)), oautherr.InvalidClient)
	})
	t.Run("no redirect URI can be determined: the default error page or a custom one", func(t *testing.T) {
		atEachTenant(t, map[string]string{
			"a slash more": callback + "/", "an attacker's": "https://attacker.example/", "the tenant's": "http://TENANT.localhost:8080/", "a script": "javascript:alert(1)",
		}, func(w *world, on *tenant, uri string) {
			uri = strings.Replace(uri, "TENANT", on.Name, 1)
			w.onErrorPage(on, w.open(ask(on, url.Values{"redirect_uri": {uri}})), oautherr.RedirectURIMismatch)
		})
		forEachTenant(t, func(w *world, on *tenant) {
			w.onErrorPage(on, w.open(ask(on, url.Values{"redirect_uri": {""}})), oautherr.InvalidRequest)
			w.onErrorPage(on, w.open(ask(on, url.Values{"redirect_uri": {callback, callback}})), oautherr.InvalidRequest)
			// Another error or prompt=none changes nothing.
			both := ask(on, url.Values{"redirect_uri": nil, "scope": nil, "prompt": {"none"}})
			w.onErrorPage(on, w.open(both), oautherr.InvalidRequest)
		})
	})
	holds(t, "a failing request with a redirect URI: 302 there with the error code", func(w *world, on *tenant) {
		flow := ask(on, url.Values{"scope": {"everything"}})
		response := w.call("GET", flow.URL, "", nil)
		if response.StatusCode != http.StatusFound || !strings.HasPrefix(response.Header.Get("Location"), callback+"?error=invalid_scope&") {
			w.t.Errorf("status %d to %s", response.StatusCode, response.Header.Get("Location"))
		}
		flow.Expect(w.t, w.open(flow), oautherr.InvalidScope)
	})
	t.Run("not authenticated, prompt login or not set: the login page", func(t *testing.T) {
		prompts := map[string][]string{"none is sent": nil, "an empty one": {""}, "login": {"login"}}
		atEachTenant(t, prompts, func(w *world, on *tenant, prompt []string) {
			w.atLogin(on, w.open(ask(on, url.Values{"prompt": prompt})))
		})
	})
	t.Run("a user without a valid session cookie is not authenticated", func(t *testing.T) {
		atEachTenant(t, map[string]func(value string) string{
			"a damaged one": func(value string) string { return value[:len(value)-2] + "xx" },
			"an empty one":  func(string) string { return "" },
			"a good one":    func(value string) string { return value },
		}, func(w *world, on *tenant, change func(value string) string) {
			w.signedIn(on)
			cookie := w.sessionCookie(on)
			good := cookie.Value
			cookie.Value = change(good)
			w.newBrowser()
			w.atLogin(on, w.open(ask(on)))
			if err := w.browser.SetCookies(on.issuer, cookie); err != nil {
				w.t.Fatal(err)
			}
			if cookie.Value == good {
				w.silently(on)
				w.clock = w.clock.Add(13 * time.Hour)
			}
			w.atLogin(on, w.open(ask(on)))
		})
	})
	holds(t, "prompt none and not authenticated: an error redirect", func(w *world, on *tenant) {
		w.refused(ask(on, url.Values{"prompt": {"none"}}), oautherr.LoginRequired)
	})
	holds(t, "authenticated and prompt login: the login page", func(w *world, on *tenant) {
		w.signedIn(on)
		flow := ask(on, url.Values{"prompt": {"login"}})
		login := w.open(flow)
		req := w.atLogin(on, login)
		// A user who comes back without a sign-in sees it again.
		w.atLogin(on, w.page(w.browser.Open(on.issuer+"/authorize?req="+req)))
		w.redeem(on, flow, w.signIn(on, login))
	})
	t.Run("authenticated and prompt none or not set: a code", func(t *testing.T) {
		prompts := map[string][]string{"none is sent": nil, "an empty one": {""}, "none": {"none"}}
		atEachTenant(t, prompts, func(w *world, on *tenant, prompt []string) {
			w.signedIn(on)
			flow := ask(on, url.Values{"prompt": prompt})
			response := w.call("GET", flow.URL, "", http.Header{"Cookie": {w.sessionCookie(on).String()}})
			if _, err := flow.CheckURL(response.Header.Get("Location")); err != nil || response.StatusCode != http.StatusFound {
				w.t.Errorf("status %d, %v", response.StatusCode, err)
			}
			w.redeem(on, flow, w.open(flow))
		})
	})
	t.Run("no other prompt leads anywhere", func(t *testing.T) {
		others := byThemselves("consent", "select_account", "create", "login consent", "none login", "LOGIN")
		atEachTenant(t, others, func(w *world, on *tenant, prompt string) {
			w.withAndWithout(on, func() { w.refused(ask(on, url.Values{"prompt": {prompt}}), oautherr.InvalidRequest) })
		})
	})
}

func TestReferenceRequestJWT(t *testing.T) {
	full := url.Values{
		"prompt": {"login"}, "max_age": {"600"}, "login_hint": {"alice"}, "ui_locales": {"de en"},
		"state": {`{"a":"ü&=+%"}`}, "scope": {"openid profile"}, "acr_values": {"1 2"},
	}
	holds(t, "a redirect to a login page has a JWT in the query parameter req", func(w *world, on *tenant) {
		w.withAndWithout(on, func() {
			header, _ := decodeJWT(w.t, w.atLogin(on, w.open(ask(on, url.Values{"prompt": {"login"}}))))
			if header["alg"] != "EdDSA" || header["kid"] != "key-1" {
				w.t.Errorf("the header is %v", header)
			}
		})
	})
	holds(t, "it is composed of the original parameters", func(w *world, on *tenant) {
		flow := ask(on, full)
		_, claims := decodeJWT(w.t, w.atLogin(on, w.open(flow)))
		params, _ := claims["params"].(map[string]any)
		for name := range flow.Params {
			if got, _ := params[name].([]any); len(got) != 1 || got[0] != flow.Params.Get(name) {
				w.t.Errorf("%s is %v, want %q", name, got, flow.Params.Get(name))
			}
		}
		if len(params) != len(flow.Params) || claims["iss"] != on.issuer {
			w.t.Errorf("the request of %v has %v", claims["iss"], params)
		}
	})
	holds(t, "the login page infers the request from it", func(w *world, on *tenant) {
		page := w.open(ask(on, full))
		w.atLogin(on, page)
		client := map[string]string{"acme": "Notes", "globex": "notes-globex", "initech": "Notes"}[on.Name]
		for _, want := range []string{"<strong>" + client + "</strong>", "app.localhost:8080", "See your name and profile <code>profile</code>"} {
			w.says(page, want)
		}
		if got := page.Forms[0].Fields.Get("username"); got != "alice" {
			w.t.Errorf("the user name is %q", got)
		}
	})
	t.Run("so it does for a request that leaves the scopes to the client's registration", func(t *testing.T) {
		for _, name := range []string{"acme", "initech"} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t)
				on := w.tenant(name)
				w.putClient(on, authorize.Client{
					ID: "notes-" + name, Name: "Notes", Public: true, RedirectURIs: []string{callback},
					Scopes: []string{"openid", "profile"}, DefaultScopes: []string{"openid", "profile"},
				})
				page := w.open(ask(on, url.Values{"scope": nil}))
				w.atLogin(on, page)
				w.says(page, "See your name and profile <code>profile</code>")
			})
		}
	})
	t.Run("a page in the same process introspects it by itself", func(t *testing.T) {
		w := newWorld(t)
		w.atLogin(w.tenant("acme"), w.open(ask(w.tenant("acme"))))
		if len(w.calls) != 0 {
			t.Errorf("%v was called", w.calls)
		}
	})
	t.Run("a page in another process introspects it with the public keys", func(t *testing.T) {
		w := newWorld(t)
		on := w.tenant("globex")
		w.open(ask(on))
		if len(w.calls) != 1 || w.calls[0] != "/keys" {
			t.Errorf("%v was called", w.calls)
		}
		w.offline = true // the keys are there now
		w.atLogin(on, w.open(ask(on)))
		keys, err := io.ReadAll(w.call("GET", on.issuer+"/keys", "", nil).Body)
		if err != nil || !strings.Contains(string(keys), `"key-1"`) || strings.Contains(string(keys), `"d"`) {
			t.Errorf("what is published is %s, %v", keys, err)
		}
	})
	t.Run("a page in another process introspects it at the endpoint", func(t *testing.T) {
		w := newWorld(t)
		on := w.tenant("initech")
		flow := ask(on)
		answer := w.signIn(on, w.open(flow))
		if len(w.calls) != 2 || w.calls[0] != "/introspect" {
			t.Errorf("%v was called", w.calls)
		}
		w.redeem(on, flow, answer)
	})
}

// TestReferenceErrors tests the list of the error codes.
func TestReferenceErrors(t *testing.T) {
	type fault struct {
		rule   string
		change url.Values
	}
	for _, c := range []struct {
		code   oautherr.Code
		faults []fault
	}{
		{oautherr.InvalidRequest, []fault{
			{"a required parameter is missing", url.Values{"response_type": nil}},
			{"a required parameter is empty", url.Values{"response_type": {""}}},
			{"PKCE is missing", url.Values{"code_challenge": nil, "code_challenge_method": nil}},
			{"half of PKCE is missing", url.Values{"code_challenge_method": nil}},
			{"a method of PKCE is invalid", url.Values{"code_challenge_method": {"plain"}}},
			{"a challenge is malformed", url.Values{"code_challenge": {"short"}}},
			{"a prompt is invalid", url.Values{"prompt": {"perhaps"}}},
			{"a max_age is invalid", url.Values{"max_age": {"soon"}}},
			{"a response_mode is invalid", url.Values{"response_mode": {"fragment"}}},
			{"an id_token_hint is not supported", url.Values{"id_token_hint": {"e30.e30."}}},
			{"the request is otherwise malformed", url.Values{"claims": {"{"}}},
		}},
		{oautherr.UnauthorizedClient, []fault{
			{"the client does not do the code grant", url.Values{"client_id": {"backup-"}, "code_challenge": nil, "code_challenge_method": nil}},
		}},
		{oautherr.UnsupportedResponseType, []fault{
			{"token", url.Values{"response_type": {"token"}}},
			{"id_token", url.Values{"response_type": {"id_token"}}},
			{"code and more", url.Values{"response_type": {"code id_token"}}},
			{"none", url.Values{"response_type": {"none"}}},
		}},
		{oautherr.InvalidScope, []fault{
			{"invalid: there is none", url.Values{"scope": nil}},
			{"unknown", url.Values{"scope": {"openid everything"}}},
			{"malformed", url.Values{"scope": {"openid,profile"}}},
		}},
		{oautherr.LoginRequired, []fault{
			{"there is no session, and none may be started", url.Values{"prompt": {"none"}}},
		}},
		{oautherr.RequestNotSupported, []fault{
			{"request is there", url.Values{"request": {"e30.e30."}}},
		}},
		{oautherr.RequestURINotSupported, []fault{
			{"request_uri is there", url.Values{"request_uri": {"https://app.example/request"}}},
		}},
		{oautherr.RegistrationNotSupported, []fault{
			{"registration is there", url.Values{"registration": {"{}"}}},
		}},
	} {
		for _, fault := range c.faults {
			holds(t, string(c.code)+": "+fault.rule, func(w *world, on *tenant) {
				change := maps.Clone(fault.change)
				if change.Has("client_id") {
					change.Set("client_id", "backup-"+on.Name)
				}
				w.refused(ask(on, change), c.code)
			})
		}
	}
	t.Run("invalid_request: a parameter more than once", testParametersTwice)
	holds(t, "access_denied: the user said no", func(w *world, on *tenant) {
		flow := ask(on)
		login := w.open(flow)
		flow.Expect(w.t, w.page(login.Submit(nil, "deny")), oautherr.AccessDenied)
		w.atLogin(on, w.open(ask(on))) // nobody was signed in by it
	})
	holds(t, "access_denied: the server said no", func(w *world, on *tenant) {
		suspended := on.Suspended[0]
		flow := ask(on)
		login := w.open(flow)
		who := url.Values{"username": {suspended}, "password": {suspended + "-password"}}
		flow.Expect(w.t, w.page(login.Submit(who)), oautherr.AccessDenied)
		w.refused(ask(on, url.Values{"prompt": {"none"}}), oautherr.AccessDenied)
	})
	t.Run("server_error: an unexpected condition", testServerError)
	t.Run("temporarily_unavailable: overload", testOverload)
	t.Run("temporarily_unavailable: maintenance", testMaintenance)
}

func testParametersTwice(t *testing.T) {
	atEachTenant(t, byThemselves(
		"response_type", "scope", "state", "nonce", "code_challenge", "code_challenge_method", "prompt", "max_age",
		"response_mode", "login_hint", "ui_locales", "claims", "acr_values", "display", "id_token_hint", "request", "request_uri", "registration",
	), func(w *world, on *tenant, name string) {
		value := cmp.Or(ask(on).Params.Get(name), "1")
		flow := ask(on, url.Values{name: {value, value}})
		if name == "state" {
			// It is unknown which state is the client's, so none is returned.
			flow = ask(on, url.Values{"state": nil})
			flow.URL += "&state=1&state=1"
		}
		if text := w.refused(flow, oautherr.InvalidRequest); !strings.Contains(text, name) {
			w.t.Errorf("the client reads %q", text)
		}
	})
}

// failing fails in every way that a store can.
type failing struct {
	authorize.CodeStore
	err error
}

func (f failing) SaveCode(context.Context, string, *authorize.Code) error { return f.err }

// failingSessions cannot say who is signed in.
type failingSessions struct {
	signIns
	err error
}

func (f failingSessions) Session(*http.Request) (*session.Session, error) { return nil, f.err }

func testServerError(t *testing.T) {
	broken := errors.New("the disk is full: /var/lib/secret")
	atEachTenant(t, map[string]func(*tenant){
		"the store of codes fails":       func(on *tenant) { on.codes = failing{on.codes, broken} },
		"the store of sessions fails":    func(on *tenant) { on.sessions = failingSessions{on.sessions, broken} },
		"the operator broke one of them": func(on *tenant) { on.outage.Store(true) },
	}, func(w *world, on *tenant, breakIt func(*tenant)) {
		w.signedIn(on)
		breakIt(on)
		w.restart(on)
		if text := w.refused(ask(on), oautherr.ServerError); strings.Contains(text, "disk") {
			w.t.Errorf("the client reads %q", text)
		}
	})
}

func testOverload(t *testing.T) {
	atEachTenant(t, map[string]error{
		"a store says so":         oautherr.TemporarilyUnavailable.With("too many connections"),
		"a store takes too long":  context.DeadlineExceeded,
		"a store wraps its error": oautherr.TemporarilyUnavailable.Because(errors.New("too many connections")),
	}, func(w *world, on *tenant, busy error) {
		w.signedIn(on)
		on.codes = failing{on.codes, busy}
		w.restart(on)
		if text := w.refused(ask(on), oautherr.TemporarilyUnavailable); strings.Contains(text, "connections") {
			w.t.Errorf("the client reads %q", text)
		}
	})
}

func testMaintenance(t *testing.T) {
	forEachTenant(t, func(w *world, on *tenant) {
		w.signedIn(on)
		waitingFlow := ask(on, url.Values{"prompt": {"login"}})
		login := w.open(waitingFlow)
		on.maintenance.Store(true)
		for _, prompt := range []string{"", "none", "login"} {
			text := w.refused(ask(on, url.Values{"prompt": {prompt}}), oautherr.TemporarilyUnavailable)
			if !strings.Contains(text, on.Title+" is under maintenance") {
				w.t.Errorf("the client reads %q", text)
			}
		}
		// An invalid request stays invalid, and an unknown client gets no response.
		w.refused(ask(on, url.Values{"scope": {"everything"}}), oautherr.InvalidScope)
		w.onErrorPage(on, w.open(ask(on, url.Values{"client_id": {"nobody"}})), oautherr.InvalidClient)
		// It also refuses a user who comes back from the login page. Other tenants still work.
		waitingFlow.Expect(w.t, w.signIn(on, login), oautherr.TemporarilyUnavailable)
		for _, other := range w.server.tenants {
			if other != on {
				w.signedIn(other)
			}
		}
		on.maintenance.Store(false)
		w.silently(on)
	})
}

// putClient changes a client of a tenant.
func (w *world) putClient(on *tenant, c authorize.Client) {
	w.t.Helper()
	memory, ok := on.clients.(*authorize.Memory)
	if !ok {
		w.t.Fatalf("the clients are in a %T", on.clients)
	}
	if err := memory.PutClient(c); err != nil {
		w.t.Fatal(err)
	}
}

// restart makes a new endpoint for the tenant, with the changes.
func (w *world) restart(on *tenant) {
	w.t.Helper()
	if err := on.renew(on.keys); err != nil {
		w.t.Fatal(err)
	}
}

// sessionCookie is the one with which the browser is signed in at the tenant.
func (w *world) sessionCookie(on *tenant) *http.Cookie {
	w.t.Helper()
	for _, cookie := range w.browser.Cookies(on.issuer) {
		if cookie.Name == sessionCookie || cookie.Name == ticketCookie {
			cookie.Path = "/"
			return cookie
		}
	}
	w.t.Fatal("the browser has no session cookie")
	return nil
}

// decodeJWT decodes a JWT without verifying it.
func decodeJWT(t *testing.T, text string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", text)
	}
	for i, into := range []*map[string]any{&header, &claims} {
		content, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err == nil {
			err = json.Unmarshal(content, into)
		}
		if err != nil {
			t.Fatalf("%q is no JWT: %v", text, err)
		}
	}
	return header, claims
}
