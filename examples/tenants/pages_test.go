package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
)

const (
	appURL  = "http://app.localhost:8080"
	deskURL = "http://127.0.0.1:8080"
)

// withApp uses a browser that can reach the application and the operator's page too.
func (w *world) withApp() {
	w.newBrowser()
	w.browser.Handle(appURL, w.server.sites)
	w.browser.Handle(deskURL, w.server.sites)
}

// try follows the application's link for a request to the tenant.
func (w *world) try(on *tenant, name string) *authorizetest.Page {
	w.t.Helper()
	page := w.page(w.browser.Open(appURL))
	for _, link := range page.Links {
		if link.URL.RequestURI() == "/go?tenant="+on.Name+"&try="+name {
			return w.page(w.browser.OpenFrom(appURL, link.URL.String()))
		}
	}
	w.t.Fatalf("there is no link %s of %s", name, on.Name)
	return nil
}

func (w *world) says(page *authorizetest.Page, want string) {
	w.t.Helper()
	if !strings.Contains(page.Body, want) {
		w.t.Errorf("the page does not say %q:\n%s", want, page)
	}
}

// The standard cases of a sign-in, with the login page in each of the two processes.
func TestHost(t *testing.T) {
	forEachTenant(t, func(w *world, on *tenant) {
		submit := func(values url.Values, button ...string) func(*authorizetest.Page) (*authorizetest.Page, error) {
			return func(page *authorizetest.Page) (*authorizetest.Page, error) {
				w.clock = w.clock.Add(time.Second)
				return page.Submit(values, button...)
			}
		}
		authorizetest.TestHost(w.t, authorizetest.Host{
			Client:        *clientOf(on),
			Open:          func(_ *testing.T, browser *authorizetest.Browser) { w.connect(browser) },
			SignIn:        submit(alice),
			WrongPassword: submit(url.Values{"username": {"alice"}, "password": {"wrong"}}),
			Cancel:        submit(nil, "deny"),
		})
	})
}

func TestApplication(t *testing.T) {
	forEachTenant(t, func(w *world, on *tenant) {
		w.withApp()
		w.says(w.try(on, "silent"), "<strong>login_required</strong> from "+on.Title)
		w.says(w.signIn(on, w.try(on, "sign-in")), "You are <strong>alice</strong> of <strong>"+on.Title)
		w.says(w.try(on, "silent"), "You are <strong>alice</strong>")
		w.clock = w.clock.Add(time.Second)
		w.says(w.signIn(on, w.try(on, "again")), "You are <strong>alice</strong>")
		for _, try := range tries[3:] {
			page := w.try(on, try.Name)
			if try.Name == "unknown" {
				w.onErrorPage(on, page, "invalid_client")
			} else {
				w.says(page, "<strong>"+try.Name+"</strong> from "+on.Title)
			}
		}
	})
}

// After each link, the page shows the same tenant with its list open.
func TestApplicationStaysAtTheTenant(t *testing.T) {
	forEachTenant(t, func(w *world, on *tenant) {
		w.withApp()
		if first := w.page(w.browser.Open(appURL)); strings.Contains(first.Body, "<details open") {
			w.t.Errorf("a list is open:\n%s", first)
		}
		for _, try := range []string{"silent", "invalid_scope"} {
			page := w.try(on, try)
			_, section, _ := strings.Cut(page.Body, `<section id="`+on.Name+`">`)
			section, _, _ = strings.Cut(section, "</section>")
			if strings.Count(page.Body, "<details open") != 1 || !strings.Contains(section, "<details open") || !strings.Contains(section, `id="answer"`) {
				w.t.Errorf("after %s the list of %s is not the one that is open, with the answer:\n%s", try, on.Title, page)
			}
			for _, link := range page.Links {
				if query := link.URL.Query(); query.Has("tenant") && link.URL.Fragment != query.Get("tenant") {
					w.t.Errorf("%s leads back to %q", link.URL, link.URL.Fragment)
				}
			}
		}
	})
}

func TestApplicationTakesOnlyAnswersToItsRequests(t *testing.T) {
	w := newWorld(t)
	w.withApp()
	w.try(w.tenant("acme"), "sign-in")
	var state string
	for _, cookie := range w.browser.Cookies(appURL + "/callback") {
		state = strings.TrimPrefix(cookie.Name, "asked-")
	}
	for name, query := range map[string]url.Values{
		"another state":  {"code": {"x"}, "state": {"made-up"}, "iss": {w.tenant("acme").issuer}},
		"no state":       {"code": {"x"}, "iss": {w.tenant("acme").issuer}},
		"another tenant": {"code": {"x"}, "state": {state}, "iss": {w.tenant("globex").issuer}},
		"no tenant":      {"code": {"x"}, "state": {state}},
	} {
		t.Run(name, func(t *testing.T) {
			page := w.page(w.browser.Open(callback + "?" + query.Encode()))
			if page.Status != http.StatusBadRequest || strings.Contains(page.Body, "You are") {
				t.Errorf("the page is\n%s", page)
			}
		})
	}
	page := w.page(w.browser.Open(callback + "?" + url.Values{"code": {"made-up"}, "state": {state}, "iss": {w.tenant("acme").issuer}}.Encode()))
	w.says(page, "<strong>invalid_grant</strong>")
	if page := w.page(w.browser.Open(appURL + "/go?tenant=hooli")); page.Status != http.StatusNotFound {
		t.Errorf("want a page with status 404:\n%s", page)
	}
}

func TestOperator(t *testing.T) {
	forEachTenant(t, func(w *world, on *tenant) {
		w.withApp()
		press := func(action string) *authorizetest.Page {
			w.t.Helper()
			page := w.page(w.browser.Open(deskURL))
			for _, form := range page.Forms {
				if form.Action.Path == "/"+action && form.Fields.Get("tenant") == on.Name {
					return w.page(form.Submit(nil))
				}
			}
			w.t.Fatalf("there is no form for %s", action)
			return nil
		}
		w.signIn(on, w.try(on, "sign-in"))
		for action, code := range map[string]string{"maintenance": "temporarily_unavailable", "outage": "server_error"} {
			w.says(press(action), code)
			w.says(w.try(on, "sign-in"), "<strong>"+code+"</strong> from "+on.Title)
			press(action)
			w.says(w.try(on, "sign-in"), "You are <strong>alice</strong>")
		}
		w.says(press("new-key"), "key-2")
		for _, other := range w.server.tenants {
			if other != on && (other.signingKey() != "key-1" || other.maintenance.Load() || other.outage.Load()) {
				w.t.Errorf("it changed %s", other.Name)
			}
		}
	})
}

func TestOperatorRefuses(t *testing.T) {
	for _, c := range []struct {
		rule, path, body, site string
		status                 int
	}{
		{"another site's form", "/maintenance", "tenant=acme&on=true", "cross-site", http.StatusForbidden},
		{"a tenant's form", "/new-key", "tenant=acme", "same-site", http.StatusForbidden},
		{"a tenant that does not exist", "/maintenance", "tenant=hooli&on=true", "same-origin", http.StatusNotFound},
		{"a switch that does not exist", "/explode", "tenant=acme", "same-origin", http.StatusNotFound},
	} {
		t.Run(c.rule, func(t *testing.T) {
			w := newWorld(t)
			if response := w.call("POST", deskURL+c.path, c.body, formOf(c.site)); response.StatusCode != c.status {
				t.Errorf("status %d, want %d", response.StatusCode, c.status)
			}
			if on := w.tenant("acme"); on.maintenance.Load() || on.signingKey() != "key-1" {
				t.Error("it changed something")
			}
		})
	}
}

func TestWrongPasswords(t *testing.T) {
	atEachTenant(t, map[string]url.Values{
		"a wrong password":             {"username": {"alice"}, "password": {"wrong"}},
		"a user name in capitals":      {"username": {"ALICE"}, "password": {"alice-password"}},
		"another user's password":      {"username": {"mallory"}, "password": {"alice-password"}},
		"an unknown user, no password": {"username": {"nobody"}, "password": {""}},
		"nothing":                      {"username": {""}, "password": {""}},
	}, func(w *world, on *tenant, wrong url.Values) {
		page := w.page(w.open(ask(on)).Submit(wrong))
		if page.Left || page.Status != http.StatusForbidden {
			w.t.Fatalf("the page is\n%s", page)
		}
		w.says(page, "User name or password is wrong.")
	})
}

func TestOrdinarySignIn(t *testing.T) {
	w := newWorld(t)
	on := w.tenant("acme")
	w.says(w.page(w.browser.Open(on.issuer)), "Nobody is signed in here.")
	home := w.page(w.page(w.browser.Open(on.issuer + "/login")).Submit(alice))
	w.says(home, "signed in as <strong>alice</strong>")
	w.silently(on)
}

func TestSignOut(t *testing.T) {
	forEachTenant(t, func(w *world, on *tenant) {
		w.signedIn(on)
		home := w.page(w.browser.Open(on.issuer))
		w.says(home, "signed in as <strong>alice</strong>")
		w.says(w.page(home.Submit(nil, "Sign out")), "Nobody is signed in here.")
		w.atLogin(on, w.open(ask(on)))
	})
}

// Pages of one process or tenant are not available at another.
func TestWhatIsMountedWhere(t *testing.T) {
	w := newWorld(t)
	for address, status := range map[string]int{
		"http://acme.localhost:8080/login":         http.StatusOK,
		"http://acme.localhost:8080/keys":          http.StatusNotFound,
		"http://acme.localhost:8080/introspect":    http.StatusNotFound,
		"http://globex.localhost:8080/login":       http.StatusNotFound,
		"http://globex.localhost:8080/keys":        http.StatusOK,
		"http://globex.localhost:8080/introspect":  http.StatusNotFound,
		"http://initech.localhost:8080/login":      http.StatusNotFound,
		"http://initech.localhost:8080/keys":       http.StatusNotFound,
		"http://initech.localhost:8080/introspect": http.StatusUnauthorized,
		"http://acme.localhost:8080/go":            http.StatusNotFound,
		"http://app.localhost:8080/authorize":      http.StatusNotFound,
		"http://127.0.0.1:8080/authorize":          http.StatusMethodNotAllowed, // no such action
		"http://acme.localhost:8080/authorize/":    http.StatusNotFound,
	} {
		t.Run(address, func(t *testing.T) {
			if response := w.call("GET", address, "", nil); response.StatusCode != status {
				t.Errorf("status %d, want %d", response.StatusCode, status)
			}
		})
	}
	for address, status := range map[string]int{
		"http://acme.localhost:9090/login":       http.StatusNotFound,
		"http://globex.localhost:9090/login":     http.StatusBadRequest,
		"http://globex.localhost:9090/oops":      http.StatusBadRequest,
		"http://globex.localhost:9090/authorize": http.StatusNotFound,
		"http://initech.localhost:9090/login":    http.StatusBadRequest,
	} {
		t.Run(address, func(t *testing.T) {
			if response := callHandler(w.own, "GET", address, "", nil); response.StatusCode != status {
				t.Errorf("status %d, want %d", response.StatusCode, status)
			}
		})
	}
}

func TestIntrospectionIsForTheLoginProcess(t *testing.T) {
	w := newWorld(t)
	on := w.tenant("initech")
	req := w.atLogin(on, w.open(ask(on)))
	for authorization, status := range map[string]int{
		"": http.StatusUnauthorized, "Bearer ": http.StatusUnauthorized, "Bearer wrong": http.StatusUnauthorized,
		"login-process": http.StatusUnauthorized, "Bearer login-process": http.StatusOK,
	} {
		t.Run(fmt.Sprintf("%q", authorization), func(t *testing.T) {
			header := formOf("")
			header.Set("Authorization", authorization)
			response := w.call("POST", on.issuer+"/introspect", "req="+req, header)
			body, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != status || strings.Contains(string(body), "notes-initech") != (status == http.StatusOK) {
				t.Errorf("status %d, want %d: %s", response.StatusCode, status, body)
			}
		})
	}
}

func TestOtherSitesCannotPostForms(t *testing.T) {
	atEachTenant(t, byThemselves("cross-site", "same-site"), func(w *world, on *tenant, site string) {
		page := w.open(ask(on))
		w.atLogin(on, page)
		handler := http.Handler(w.server.sites)
		if on.OwnLogin != "" {
			handler = w.own
		}
		response := callHandler(handler, "POST", page.URL.String(), alice.Encode(), formOf(site))
		if response.StatusCode != http.StatusForbidden || len(response.Cookies()) != 0 {
			w.t.Errorf("status %d with %v, want 403", response.StatusCode, response.Header)
		}
	})
}

func TestPagesHaveTheHeadersThatTheyNeed(t *testing.T) {
	w := newWorld(t)
	w.withApp()
	all := map[string]http.Header{
		"app":     w.page(w.browser.Open(appURL)).Header,
		"desk":    w.page(w.browser.Open(deskURL)).Header,
		"home":    w.page(w.browser.Open(w.tenant("acme").issuer)).Header,
		"unknown": w.call("GET", "http://hooli.localhost/", "", nil).Header,
	}
	for _, on := range w.server.tenants {
		all["login of "+on.Name] = w.open(ask(on)).Header
		all["error of "+on.Name] = w.open(ask(on, url.Values{"client_id": {"nobody"}})).Header
	}
	for name, header := range all {
		t.Run(name, func(t *testing.T) {
			for field, want := range map[string]string{
				"Content-Type":            "text/html; charset=utf-8",
				"Content-Security-Policy": policy,
				"X-Content-Type-Options":  "nosniff",
				"X-Frame-Options":         "DENY",
				"Referrer-Policy":         "same-origin",
				"Cache-Control":           "no-store",
			} {
				if got := header.Get(field); got != want {
					t.Errorf("%s is %q, want %q", field, got, want)
				}
			}
		})
	}
	if strings.Contains(policy, "form-action") || !strings.Contains(policy, "frame-ancestors 'none'") {
		t.Errorf("the policy is %s", policy)
	}
}

// Anybody can make a link to an error page.
func TestErrorPagesSayNothingThatOnlyTheLinkSays(t *testing.T) {
	query := "?error=call+0800&error_description=Call+0800+now&error_id=call-0800-now&reason=call+0800"
	for whose, address := range map[string]string{"shared": "http://acme.localhost:8080/error", "of its own": "http://globex.localhost:9090/oops"} {
		t.Run(whose, func(t *testing.T) {
			w := newWorld(t)
			page := w.page(w.browser.Open(address + query))
			if page.Status != http.StatusBadRequest || strings.Contains(page.Body, "0800") {
				t.Errorf("the page is\n%s", page)
			}
			w.says(page, "Something went wrong.")
		})
	}
}

func TestErrorPagesKnowTheReason(t *testing.T) {
	w := newWorld(t)
	page := w.open(ask(w.tenant("acme"), url.Values{"client_id": {"nobody"}}))
	w.says(page, reasons[authorize.ReasonUnknownClient])
}

func TestPagesEscapeWhatTheClientSent(t *testing.T) {
	forEachTenant(t, func(w *world, on *tenant) {
		page := w.open(ask(on, url.Values{"login_hint": {`"><script>alert(1)</script>`}}))
		w.atLogin(on, page)
		if strings.Contains(page.Body, "<script") || page.Forms[0].Fields.Get("username") != `"><script>alert(1)</script>` {
			w.t.Errorf("the page is\n%s", page)
		}
	})
}
