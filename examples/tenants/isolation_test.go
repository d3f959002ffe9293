package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	oautherr "github.com/usher-auth/usher/errors"
)

// betweenTenants runs the test for each pair of different tenants.
func betweenTenants(t *testing.T, test func(w *world, on, other *tenant)) {
	t.Helper()
	for _, a := range registry {
		for _, b := range registry {
			if a.Name == b.Name {
				continue
			}
			t.Run(a.Name+" at "+b.Name, func(t *testing.T) {
				w := newWorld(t)
				test(w, w.tenant(a.Name), w.tenant(b.Name))
			})
		}
	}
}

// registerAt registers the client of a tenant at another one too.
func (w *world) registerAt(on, other *tenant) {
	w.putClient(other, authorize.Client{ID: "notes-" + on.Name, RedirectURIs: []string{callback}, Scopes: []string{"openid"}})
}

func TestClientsAreUnknownElsewhere(t *testing.T) {
	betweenTenants(t, func(w *world, on, other *tenant) {
		w.signedIn(other)
		for _, id := range []string{"notes-" + on.Name, "backup-" + on.Name} {
			w.onErrorPage(other, w.open(ask(other, url.Values{"client_id": {id}})), oautherr.InvalidClient)
		}
	})
}

func TestSessionsAreUnknownElsewhere(t *testing.T) {
	betweenTenants(t, func(w *world, on, other *tenant) {
		w.signedIn(on)
		w.atLogin(other, w.open(ask(other))) // the browser sends no cookie there
		cookie := w.sessionCookie(on)
		for _, name := range []string{sessionCookie, ticketCookie} {
			cookie.Name = name // a copied cookie signs nobody in either
			if err := w.browser.SetCookies(other.issuer, cookie); err != nil {
				w.t.Fatal(err)
			}
		}
		w.atLogin(other, w.open(ask(other)))
		w.refused(ask(other, url.Values{"prompt": {"none"}}), oautherr.LoginRequired)
	})
}

func TestCodesAreUnknownElsewhere(t *testing.T) {
	betweenTenants(t, func(w *world, on, other *tenant) {
		w.registerAt(on, other)
		flow := ask(on)
		answer := w.signIn(on, w.open(flow))
		code := flow.Expect(w.t, answer, nil)
		if _, err := other.endpoint.Load().Redeem(context.Background(), flow.Redemption(code)); !errors.Is(err, oautherr.InvalidGrant) {
			w.t.Errorf("got %v, want invalid_grant", err)
		}
		w.redeem(on, flow, answer)
	})
}

func TestAnswersNameTheirTenant(t *testing.T) {
	betweenTenants(t, func(w *world, on, other *tenant) {
		w.registerAt(on, other)
		w.signedIn(other)
		flow := ask(on)
		answer := w.page(w.browser.Open(strings.Replace(flow.URL, on.host(), other.host(), 1)))
		if _, err := flow.Check(answer.Request); err == nil || !strings.Contains(err.Error(), "iss") {
			w.t.Errorf("the client takes the answer of %s for one of %s: %v", other.Name, on.Name, err)
		}
	})
}

func TestWaitingRequestsAreRefusedElsewhere(t *testing.T) {
	for name, same := range map[string]bool{"keys of their own": false, "the same keys": true} {
		t.Run(name, func(t *testing.T) {
			betweenTenants(t, func(w *world, on, other *tenant) {
				w.registerAt(on, other) // client and cookie are valid there, in one case the keys too
				if same {
					other.keys = on.keys
					w.restart(other)
				}
				w.signedIn(other)
				req := w.atLogin(on, w.open(ask(on)))
				if err := w.browser.SetCookies(other.issuer, w.browser.Cookies(on.issuer)...); err != nil {
					w.t.Fatal(err)
				}
				for _, more := range []string{"", "&deny=1"} {
					w.onErrorPage(other, w.page(w.browser.Open(other.issuer+"/authorize?req="+req+more)), oautherr.InvalidRequest)
				}
				login := w.page(w.browser.Open(other.loginPage() + "?req=" + req))
				if login.Status != http.StatusBadRequest || len(login.Forms) != 0 {
					w.t.Errorf("the login page of %s takes it:\n%s", other.Name, login)
				}
			})
		})
	}
}

// loginPage is the address of the login page.
func (t *tenant) loginPage() string {
	if strings.HasPrefix(t.loginURL, "/") {
		return t.issuer + t.loginURL
	}
	return t.loginURL
}

func TestHostsAreLookedUpAndNothingElse(t *testing.T) {
	w := newWorld(t)
	for host, status := range map[string]int{
		"acme.localhost:8080":                http.StatusFound,
		"acme.localhost":                     http.StatusFound,
		"ACME.localhost:8080":                http.StatusFound,
		"acme.localhost:9999":                http.StatusFound,
		"unknown.localhost:8080":             http.StatusNotFound,
		"localhost:8080":                     http.StatusNotFound,
		"attacker.example":                   http.StatusNotFound,
		"acme.localhost.attacker.example":    http.StatusNotFound,
		"acme.localhost:8080.attacker":       http.StatusFound,
		"x.acme.localhost":                   http.StatusNotFound,
		"acme.localhost.":                    http.StatusNotFound,
		"acme.localhost:80@attacker.example": http.StatusFound,
		"acme":                               http.StatusNotFound,
		"[::1]:8080":                         http.StatusNotFound,
		"":                                   http.StatusNotFound,
	} {
		t.Run(fmt.Sprintf("%q", host), func(t *testing.T) {
			handler := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				r.Host = host
				w.server.sites.ServeHTTP(rw, r)
			})
			for _, request := range []*authorizetest.Flow{ask(w.tenant("acme")), ask(w.tenant("acme"), url.Values{"client_id": {"nobody"}})} {
				response := callHandler(handler, "GET", request.URL, "", http.Header{"X-Forwarded-Host": {"attacker.example"}})
				if response.StatusCode != status {
					t.Errorf("status %d, want %d", response.StatusCode, status)
				}
				location := response.Header.Get("Location")
				if status == http.StatusFound && !strings.HasPrefix(location, "http://acme.localhost:8080/") {
					t.Errorf("the browser is sent to %s", location)
				}
				if status == http.StatusNotFound && (location != "" || len(response.Cookies()) != 0) {
					t.Errorf("the page comes with %v", response.Header)
				}
			}
		})
	}
}
