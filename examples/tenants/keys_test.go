package main

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	oautherr "github.com/usher-auth/usher/errors"
)

func (w *world) rotate(on *tenant) {
	w.t.Helper()
	if err := on.rotate(); err != nil {
		w.t.Fatal(err)
	}
}

// wantKey checks which key has signed the request that waits on a login page.
func (w *world) wantKey(req, want string) {
	w.t.Helper()
	if header, _ := decodeJWT(w.t, req); header["kid"] != want {
		w.t.Errorf("the request is signed with %v, want %s", header["kid"], want)
	}
}

func TestKeysChangeWhileALoginIsPending(t *testing.T) {
	forEachTenant(t, func(w *world, on *tenant) {
		before := ask(on)
		login := w.open(before)
		w.wantKey(w.atLogin(on, login), "key-1")
		w.rotate(on)
		w.rotate(on)
		w.redeem(on, before, w.signIn(on, login))

		w.newBrowser()
		w.clock = w.clock.Add(fetchAgain)
		after := ask(on)
		login = w.open(after)
		w.wantKey(w.atLogin(on, login), "key-3")
		w.redeem(on, after, w.signIn(on, login))
	})
}

func TestCodesSurviveAChangeOfKeys(t *testing.T) {
	forEachTenant(t, func(w *world, on *tenant) {
		flow := ask(on)
		answer := w.signIn(on, w.open(flow))
		w.rotate(on)
		w.redeem(on, flow, answer)
		w.silently(on) // and so does the session
	})
}

func TestOldKeysEndWithTheLastRequestThatTheySigned(t *testing.T) {
	forEachTenant(t, func(w *world, on *tenant) {
		flow := ask(on)
		login := w.open(flow)
		w.rotate(on)
		w.clock = w.clock.Add(waiting - time.Second)
		w.rotate(on)
		if len(on.keys) != 4 {
			w.t.Errorf("%d keys, want two old ones", len(on.keys))
		}
		w.redeem(on, flow, w.signIn(on, login))

		w.clock = w.clock.Add(2 * time.Second)
		w.rotate(on)
		if len(on.keys) != 4 || on.keys[3].ID != "key-2" {
			w.t.Errorf("%d keys down to %s, want key-2 for the requests that it signed", len(on.keys), on.keys[len(on.keys)-1].ID)
		}
		w.newBrowser()
		flow = ask(on)
		w.redeem(on, flow, w.signIn(on, w.open(flow)))
	})
}

// The login process fetches the keys when it finds an unknown one. It knows the next key
// before it signs.
func TestLoginProcessLearnsNewKeys(t *testing.T) {
	w := newWorld(t)
	on := w.tenant("globex")
	fetches := func(want int) {
		t.Helper()
		if len(w.calls) != want {
			t.Errorf("%d calls to the main process, want %d: %v", len(w.calls), want, w.calls)
		}
	}
	w.atLogin(on, w.open(ask(on)))
	fetches(1)
	w.rotate(on)
	w.wantKey(w.atLogin(on, w.open(ask(on))), "key-2")
	fetches(1)

	// Made-up requests do not make it fetch more often.
	w.rotate(on)
	for range 10 {
		page := w.page(w.browser.Open(on.loginPage() + "?req=made.up.request"))
		if page.Status != http.StatusBadRequest || !strings.Contains(page.Body, "took too long, or the link is incomplete") {
			t.Errorf("want the error page:\n%s", page)
		}
	}
	fetches(1)
	w.clock = w.clock.Add(fetchAgain)
	flow := ask(on)
	login := w.open(flow)
	w.wantKey(w.atLogin(on, login), "key-3")
	fetches(2)
	w.redeem(on, flow, w.signIn(on, login))
	fetches(2)
}

func TestLoginProcessWithoutTheMainProcess(t *testing.T) {
	for _, name := range []string{"globex", "initech"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			on := w.tenant(name)
			flow := ask(on)
			w.offline = true
			if page := w.open(flow); page.Status != http.StatusBadRequest || !strings.Contains(page.Body, "Oops") {
				t.Errorf("want the error page:\n%s", page)
			}
			w.offline = false
			w.clock = w.clock.Add(fetchAgain)
			w.redeem(on, flow, w.signIn(on, w.open(flow)))
		})
	}
}

func TestRequestsThatWaitTooLong(t *testing.T) {
	forEachTenant(t, func(w *world, on *tenant) {
		login := w.open(ask(on))
		req := w.atLogin(on, login)
		w.clock = w.clock.Add(waiting + time.Second)
		late := w.page(login.Submit(alice))
		if late.Left || late.Status != http.StatusBadRequest {
			w.t.Errorf("want an error page:\n%s", late)
		}
		w.newBrowser()
		w.onErrorPage(on, w.page(w.browser.Open(on.issuer+"/authorize?req="+req)), oautherr.InvalidRequest)
	})
}

func TestKeysChangeUnderLoad(t *testing.T) {
	forEachTenant(t, func(w *world, on *tenant) {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 10 {
					if response := w.call("GET", ask(on).URL, "", nil); response.StatusCode != http.StatusFound {
						w.t.Errorf("status %d", response.StatusCode)
					}
				}
			})
			all.Go(func() {
				for range 3 {
					if err := on.rotate(); err != nil {
						w.t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if on.signingKey() != "key-13" {
			w.t.Errorf("%s signs, want key-13", on.signingKey())
		}
	})
}
