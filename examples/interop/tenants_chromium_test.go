package interop

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// tenants is the program with both of its processes.
type tenants struct{ desk, app, port string }

func startTenants(t *testing.T) tenants {
	t.Helper()
	desk := start(t, "tenants")
	u, err := url.Parse(desk)
	if err != nil {
		t.Fatal(err)
	}
	return tenants{desk, "http://app.localhost:" + u.Port(), u.Port()}
}

func link(tenant, name string) string { return "/go?tenant=" + tenant + "&try=" + name + "#" + tenant }

// try follows the application's link for a request to the tenant.
func (b tab) try(on tenants, tenant, name string) {
	b.t.Helper()
	b.open(on.app)
	b.evaluate(`document.querySelectorAll("details").forEach(d => d.open = true), ""`)
	b.click(`a[href="` + link(tenant, name) + `"]`)
}

// atTenantsLogin checks the tenant and the process of the login page.
func (b tab) atTenantsLogin(on tenants, tenant, says string) {
	b.t.Helper()
	if text := b.text("input[name=password]"); !strings.Contains(text, says) {
		b.t.Errorf("the login page does not say %q:\n%s", says, text)
	}
	if host := b.evaluate("location.hostname"); host != tenant+".localhost" {
		b.t.Errorf("the login page is on %s", host)
	}
	if own := b.evaluate("location.port") != on.port; own != (tenant != "acme") {
		b.t.Errorf("the login page is on %s", b.evaluate("location.host"))
	}
}

func (b tab) answered(on tenants, want string) {
	b.t.Helper()
	if text := b.text("#answer"); !strings.Contains(text, want) {
		b.t.Errorf("the application does not say %q:\n%s", want, text)
	}
	if origin := b.evaluate("location.origin"); origin != on.app {
		b.t.Errorf("the answer came to %s", origin)
	}
}

var theTenants = []struct{ name, title, login string }{
	{"acme", "Acme Corporation", "Sign in to Acme Corporation"},
	{"globex", "Globex", "with the public keys of the endpoint"},
	{"initech", "Initech", "with the introspection handler of the endpoint"},
}

// TestTenantsInChromium signs in at each tenant in one browser. No tenant knows the sign-ins at
// the others.
func TestTenantsInChromium(t *testing.T) {
	b := newTab(t)
	on := startTenants(t)
	for _, tenant := range theTenants {
		b.try(on, tenant.name, "silent")
		b.answered(on, "login_required from "+tenant.title)

		b.try(on, tenant.name, "sign-in")
		b.atTenantsLogin(on, tenant.name, tenant.login)
		b.logIn("wrong")
		b.atTenantsLogin(on, tenant.name, "is wrong")
		b.logIn(alice.Password)
		b.answered(on, "You are alice of "+tenant.title)

		b.try(on, tenant.name, "silent")
		b.answered(on, "You are alice of "+tenant.title)
	}
	for _, tenant := range theTenants {
		b.try(on, tenant.name, "again")
		b.atTenantsLogin(on, tenant.name, tenant.login)
		b.decide("deny")
		b.answered(on, "access_denied from "+tenant.title)
	}
	// The browser sends the cookies of a tenant only to this tenant.
	for _, tenant := range theTenants {
		home := "http://" + tenant.name + ".localhost:" + on.port + "/"
		b.open(home)
		if text := b.text("h1"); !strings.Contains(text, "signed in as alice") {
			t.Errorf("the page of %s says:\n%s", tenant.name, text)
		}
		sent, err := chromedp.Call(b.ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{home}})
		if err != nil || len(sent.Cookies) != 1 {
			t.Fatalf("%s gets the cookies %v, want one: %v", tenant.name, sent.Cookies, err)
		}
		for _, cookie := range sent.Cookies {
			if cookie.Domain != tenant.name+".localhost" || !cookie.HTTPOnly {
				t.Errorf("%s gets the cookie %s of %s", tenant.name, cookie.Name, cookie.Domain)
			}
		}
	}
	b.open("http://globex.localhost:" + on.port + "/")
	b.click("form button")
	b.try(on, "globex", "silent")
	b.answered(on, "login_required from Globex")
	b.try(on, "initech", "silent")
	b.answered(on, "You are alice of Initech")
}

// TestTenantsStaysInChromium follows several links of the last tenant on the page, also through
// a login page in another process. The tenant's list stays open and visible.
func TestTenantsStaysInChromium(t *testing.T) {
	b := newTab(t)
	on := startTenants(t)
	b.do(chromedp.EmulateViewport(900, 400))
	stays := func(want string) {
		t.Helper()
		b.answered(on, want)
		if open := b.evaluate(`[...document.querySelectorAll("details[open]")].map(d => d.parentElement.id).join()`); open != "initech" {
			t.Errorf("%s: the open lists are those of %q", want, open)
		}
		if top := b.evaluate(`Promise.resolve(String(scrollY > 0 && document.querySelector("#answer").getBoundingClientRect().top < 200))`); top != "true" {
			t.Errorf("%s: the answer is not in sight", want)
		}
	}
	b.try(on, "initech", "silent")
	stays("login_required")
	b.click(`a[href="` + link("initech", "invalid_scope") + `"]`)
	stays("invalid_scope")
	b.click(`a[href="` + link("initech", "sign-in") + `"]`)
	b.logIn("wrong")
	b.logIn(alice.Password)
	stays("You are alice")
	b.click(`a[href="` + link("initech", "again") + `"]`)
	b.decide("deny")
	stays("access_denied")
}

// TestTenantsErrorsInChromium follows the links that lead to errors.
func TestTenantsErrorsInChromium(t *testing.T) {
	b := newTab(t)
	on := startTenants(t)
	for _, tenant := range theTenants {
		for _, code := range []string{
			"invalid_request", "unauthorized_client", "unsupported_response_type", "invalid_scope",
			"request_not_supported", "request_uri_not_supported", "registration_not_supported",
		} {
			t.Run(code+" at "+tenant.name, func(t *testing.T) {
				b := b.in(t)
				b.try(on, tenant.name, code)
				b.answered(on, code+" from "+tenant.title)
			})
		}
	}
	for tenant, want := range map[string][2]string{
		"acme":    {"Sign-in cannot continue", "/error"},
		"globex":  {"Oops", "/oops"},
		"initech": {"Sign-in cannot continue", "/error"},
	} {
		t.Run("the error page of "+tenant, func(t *testing.T) {
			b := b.in(t)
			b.try(on, tenant, "unknown")
			text := b.text("h1")
			if !strings.Contains(text, want[0]) || !strings.Contains(text, "invalid_client") || b.evaluate("location.pathname") != want[1] {
				t.Errorf("it says:\n%s", b.page())
			}
		})
	}
	b.open("http://hooli.localhost:" + on.port + "/authorize?client_id=notes-acme")
	if text := b.text("h1"); !strings.Contains(text, "no tenant with this address") {
		t.Errorf("the page of an unknown tenant says:\n%s", text)
	}
}

// TestTenantsOperatorInChromium uses the operator's page, and the application shows the effect.
func TestTenantsOperatorInChromium(t *testing.T) {
	b := newTab(t)
	on := startTenants(t)
	at := func(tenant, action string) {
		t.Helper()
		b.open(on.desk)
		b.click("#" + tenant + ` form[action="/` + action + `"] button`)
	}
	b.try(on, "globex", "sign-in")
	at("globex", "maintenance")
	b.try(on, "globex", "sign-in")
	b.answered(on, "temporarily_unavailable from Globex: Globex is under maintenance")
	at("globex", "maintenance")
	at("globex", "outage")
	b.try(on, "globex", "sign-in")
	b.logIn(alice.Password)
	b.answered(on, "server_error from Globex")
	at("globex", "outage")
	b.try(on, "globex", "sign-in")
	b.answered(on, "You are alice of Globex")

	// The keys change while two logins wait, one in each process.
	for _, tenant := range theTenants {
		b.try(on, tenant.name, "again")
		b.text("input[name=password]")
		other := b.another()
		for range 2 {
			other.open(on.desk)
			other.click("#" + tenant.name + ` form[action="/new-key"] button`)
		}
		if text := other.text(chromedp.CSS("#" + tenant.name)); !strings.Contains(text, "key-3") {
			t.Errorf("the operator's page says:\n%s", text)
		}
		b.logIn(alice.Password)
		b.answered(on, "You are alice of "+tenant.title)
	}
}

// TestTenantsLoginProcessIsForItsTenants asks the other process directly.
func TestTenantsLoginProcessIsForItsTenants(t *testing.T) {
	b := newTab(t)
	on := startTenants(t)
	b.try(on, "globex", "sign-in")
	process := b.evaluate("location.port")
	for host, status := range map[string]int{
		"globex.localhost": http.StatusBadRequest, "initech.localhost": http.StatusBadRequest,
		"acme.localhost": http.StatusNotFound, "127.0.0.1": http.StatusNotFound, "attacker.example": http.StatusNotFound,
	} {
		t.Run(host, func(t *testing.T) {
			r, err := http.NewRequest("GET", "http://127.0.0.1:"+process+"/login", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = host + ":" + process
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != status {
				t.Errorf("status %d, want %d", response.StatusCode, status)
			}
		})
	}
}
