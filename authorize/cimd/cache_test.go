package cimd

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"

	oautherr "github.com/usher-auth/usher/errors"
)

func TestADocumentCountsWithinTheBoundsOfTheHost(t *testing.T) {
	for _, c := range []struct {
		rule, cacheControl string
		change             func(*Config)
		want               time.Duration
	}{
		{"as its header says", "max-age=600", nil, 10 * time.Minute},
		{"an hour without a header", "", nil, time.Hour},
		{"a minute at least", "max-age=0", nil, time.Minute},
		{"a day at most", "max-age=999999", nil, day},
		{"no-store, a minute", "no-store", nil, time.Minute},
		{"no less than MinAge", "max-age=5", func(c *Config) { c.MinAge = 10 * time.Second }, 10 * time.Second},
		{"no more than MaxAge", "max-age=600", func(c *Config) { c.MaxAge = 5 * time.Minute }, 5 * time.Minute},
		{"a MaxAge of a second", "", func(c *Config) { c.MaxAge = time.Second }, time.Second},
	} {
		t.Run(c.rule, func(t *testing.T) {
			w := newWorld(t, func(config *Config) {
				if c.change != nil {
					c.change(config)
				}
			})
			w.answers(sends(documentOf(testID).text(), "Cache-Control", c.cacheControl))
			w.want("client")
			w.later(c.want - 1)
			w.want("client")
			if w.fetches() != 1 {
				t.Errorf("%d fetches just before its time is over", w.fetches())
			}
			w.later(1)
			w.want("client")
			if w.fetches() != 2 {
				t.Errorf("%d fetches when its time is over", w.fetches())
			}
		})
	}
}

func TestWithoutLeaveToFetchWhatIsAtHandCounts(t *testing.T) {
	for _, c := range []struct {
		rule, cacheControl string
		want               time.Duration
	}{
		{"for a day more", "max-age=600", day + 10*time.Minute},
		{"with no-store for an hour", "no-store", time.Hour},
		{"with no-store and a longer age", "no-store, max-age=7200", 2 * time.Hour},
	} {
		t.Run(c.rule, func(t *testing.T) {
			w := newWorld(t)
			w.mayFetch = false
			w.want("not fetched")
			w.mayFetch = true
			w.answers(sends(documentOf(testID).text(), "Cache-Control", c.cacheControl))
			w.want("client")
			w.mayFetch = false
			w.later(c.want - 1)
			w.want("client")
			w.later(1)
			w.want("not fetched")
			if kinds := w.kinds(); w.fetches() != 1 || !slices.Equal(kinds, []EventKind{EventFetched}) {
				t.Errorf("%d fetches, and the events %q", w.fetches(), kinds)
			}
		})
	}
	t.Run("but not after the host has ended it", func(t *testing.T) {
		w := newWorld(t)
		w.want("client")
		w.later(time.Hour)
		w.answers(status(404))
		w.want("invalid")
		w.mayFetch = false
		w.want("not fetched")
	})
}

var lost = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func TestTheLastDocumentServesWhenItCannotBeFetched(t *testing.T) {
	challenge := status(403, "Content-Type", "text/html")
	for _, c := range []struct {
		rule, cacheControl string
		answer             http.HandlerFunc
		change             func(*Config)
		want               time.Duration // after its time was over
	}{
		{"no response", "", lost, nil, time.Hour},
		{"a challenge by a page", "", challenge, nil, time.Hour},
		{"a challenge by a header", "", status(403, "Cf-Mitigated", "challenge"), nil, time.Hour},
		{"429", "", status(429), nil, time.Hour},
		{"500", "", status(500), nil, time.Hour},
		{"503", "", status(503), nil, time.Hour},
		{"although it is to be revalidated", "max-age=0, must-revalidate", status(500), nil, time.Hour},
		{"for a day, if the host likes", "", challenge, func(c *Config) { c.StaleFor = 24 * time.Hour }, day},
		{"not at all, if the host likes", "", challenge, func(c *Config) { c.StaleFor = -1 }, 0},
		{"never with no-store", "no-store", challenge, nil, 0},
	} {
		t.Run(c.rule, func(t *testing.T) {
			w := newWorld(t, func(config *Config) {
				if c.change != nil {
					c.change(config)
				}
			})
			w.answers(sends(documentOf(testID).text(), "Cache-Control", c.cacheControl))
			w.want("client")
			over := time.Hour
			if c.cacheControl != "" {
				over = time.Minute
			}
			w.answers(c.answer)
			w.kinds()
			w.later(over)
			if c.want > 0 {
				w.want("client") // after a fetch
				w.want("client") // which is not tried again at once
				if kinds := w.kinds(); w.fetches() != 2 || !slices.Equal(kinds, []EventKind{EventFailed, EventStale, EventStale}) {
					t.Errorf("%d fetches, and the events %q", w.fetches(), kinds)
				}
				w.later(c.want - 1)
				w.want("client")
				w.later(1)
			}
			w.want("unreachable")
			w.answers(sends(documentOf(testID).text()))
			w.later(lastRetry)
			w.want("client")
		})
	}
}

func TestAnyOtherResponseEndsIt(t *testing.T) {
	for _, c := range []struct {
		rule   string
		answer http.HandlerFunc
	}{
		{"404", status(404)},
		{"410", status(410)},
		{"403 without a challenge", status(403, "Content-Type", "application/json")},
		{"401", status(401)},
		{"a redirect", status(302, "Location", testID)},
		{"200 with a page", sends2("text/html", "<p>")},
		{"a document of another client", sends(documentOf(testID + "x").text())},
		{"a document that is invalid", sends(documentOf(testID, members{"redirect_uris": 7}).text())},
	} {
		t.Run(c.rule, func(t *testing.T) {
			w := newWorld(t)
			w.want("client")
			w.later(time.Hour)
			w.answers(c.answer)
			w.want("invalid")
			w.later(firstRetry)
			w.answers(status(503))
			w.want("unreachable") // what was there is gone
		})
	}
}

func TestWhatFailedIsNotTriedAgainAtOnce(t *testing.T) {
	for _, c := range []struct {
		rule   string
		answer http.HandlerFunc
		waits  []time.Duration
	}{
		{"an invalid document", sends("{}"), []time.Duration{10 * time.Second, 10 * time.Second, 10 * time.Second}},
		{"a host that stays away", lost, []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 160 * time.Second, 5 * time.Minute, 5 * time.Minute}},
		{"a host that says when", status(503, "Retry-After", "120"), []time.Duration{2 * time.Minute, 2 * time.Minute}},
		{"a date", status(429, "Retry-After", "Sun, 01 Mar 2026 12:02:00 GMT"), []time.Duration{2 * time.Minute, 20 * time.Second}},
		{"a host that asks for too much", status(429, "Retry-After", "86400"), []time.Duration{5 * time.Minute}},
		{"a host that asks for too little", status(429, "Retry-After", "0"), []time.Duration{10 * time.Second, 20 * time.Second}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			w := newWorld(t)
			w.answers(c.answer)
			for i, wait := range c.waits {
				_, first := w.get(testID)
				if oautherr.Of(first).Code == oautherr.TemporarilyUnavailable && oautherr.Of(first).RetryAfter != wait {
					t.Errorf("after failure %d: Retry-After is %v, want %v", i+1, oautherr.Of(first).RetryAfter, wait)
				}
				w.later(wait - 1)
				_, again := w.get(testID)
				if oautherr.Of(again).Code == oautherr.TemporarilyUnavailable && oautherr.Of(again).RetryAfter != 1 {
					t.Errorf("just before the next try Retry-After is %v", oautherr.Of(again).RetryAfter)
				}
				if w.fetches() != i+1 {
					t.Fatalf("%d fetches %v after failure %d", w.fetches(), wait-1, i+1)
				}
				if oautherr.Of(again).Code != oautherr.Of(first).Code || oautherr.Of(again).Text() != oautherr.Of(first).Text() {
					t.Errorf("first %v, then %v", first, again)
				}
				w.later(1)
			}
		})
	}
	t.Run("a document that is there resets it", func(t *testing.T) {
		w := newWorld(t)
		for range 3 {
			w.answers(lost)
			w.want("unreachable")
			w.later(firstRetry)
			w.answers(sends(documentOf(testID).text(), "Cache-Control", "no-store"))
			w.want("client")
			w.later(time.Minute)
		}
	})
	t.Run("and so does time", func(t *testing.T) {
		w := newWorld(t)
		w.answers(lost)
		for range 3 {
			if after := oautherr.Of(w.want("unreachable")).RetryAfter; after != firstRetry {
				t.Errorf("Retry-After is %v", after)
			}
			w.later(firstRetry + lastRetry + 1)
		}
	})
}

// Whatever the host answers: it may be in trouble, or behind something that challenges robots.
func TestAddressesThatHadNoDocumentCountHoweverTheyFailed(t *testing.T) {
	for name, answer := range map[string]func(w *world){
		"404":        func(w *world) { w.answers(status(404)) },
		"500":        func(w *world) { w.answers(status(500)) },
		"429":        func(w *world) { w.answers(status(429)) },
		"403 page":   func(w *world) { w.answers(status(403, "Content-Type", "text/html")) },
		"an address": func(w *world) { w.addresses = func(string) ([]netip.Addr, error) { return addrs("10.0.0.1"), nil } },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			answer(w)
			for i := range 3 * maxFailed {
				w.get(fmt.Sprintf("https://client.example.com/missing/%d", i))
			}
			if w.fetches() > maxFailed {
				t.Errorf("%d addresses were tried within a minute", w.fetches())
			}
		})
	}
}

// Nobody makes us ask a host for ever new addresses, and nobody hinders its clients so.
func TestAHostIsAskedForFewAddressesThatHaveNoDocument(t *testing.T) {
	w := newWorld(t)
	w.want("client")
	w.later(time.Hour)
	w.answers(status(404))
	missing := func(i int) string { return fmt.Sprintf("https://client.example.com/missing/%d", i) }
	for i := range maxFailed {
		if c, err := w.get(missing(i)); outcome(c, err) != "invalid" {
			t.Fatal(err)
		}
	}
	c, err := w.get(missing(maxFailed))
	if outcome(c, err) != "unreachable" || w.fetches() != 1+maxFailed {
		t.Errorf("one more is fetched: %d fetches, %v", w.fetches(), err)
	}
	if after := oautherr.Of(err).RetryAfter; after != failedWindow {
		t.Errorf("Retry-After is %v", after)
	}
	if c, err := w.get("https://other.example.com/missing"); outcome(c, err) != "invalid" {
		t.Errorf("another host: %v", err)
	}
	w.answers(sends(documentOf(testID).text()))
	before := w.fetches()
	if w.want("client"); w.fetches() != before+1 {
		t.Error("a document that is known is not fetched again")
	}
	w.answers(status(404))
	w.later(failedWindow)
	if c, err := w.get(missing(maxFailed)); outcome(c, err) != "invalid" {
		t.Errorf("a minute later: %v", err)
	}
}

func TestAHostThatIsDownIsLeftAlone(t *testing.T) {
	nowhere := func(w *world) {
		w.addresses = func(string) ([]netip.Addr, error) { return nil, errors.New("no such host") }
	}
	for _, c := range []struct {
		rule string
		down func(*world)
		want string // for another document of it
	}{
		{"it has no address", nowhere, "unreachable"},
		{"it does not respond", func(w *world) { w.answers(lost) }, "unreachable"},
		{"it wants fewer requests", func(w *world) { w.answers(status(429)) }, "unreachable"},
		{"one of its documents has an error", func(w *world) { w.answers(status(500)) }, "client"},
		{"one of its documents is invalid", func(w *world) { w.answers(sends("{}")) }, "client"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			w := newWorld(t)
			up, there := w.answer, w.addresses
			c.down(w)
			if client, _ := w.get(testID); client != nil {
				t.Fatal("there is a client")
			}
			w.answers(up)
			w.addresses = there
			for id, want := range map[string]string{"https://client.example.com/other.json": c.want, "https://client.example.com:8443/client.json": "client"} {
				if client, err := w.get(id); outcome(client, err) != want {
					t.Errorf("%s: %v", id, err)
				}
			}
			w.later(firstRetry)
			if client, err := w.get("https://client.example.com/other.json"); outcome(client, err) != "client" {
				t.Errorf("later: %v", err)
			}
		})
	}
}

func TestMemoryIsBounded(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxDocuments = 3 })
	id := func(i int) string { return fmt.Sprintf("https://h%d.example.com/client.json", i) }
	for i := range 3 {
		w.get(id(i))
	}
	w.get(id(0)) // used last
	w.get(id(3)) // one more
	w.answers(status(404))
	for i := 10; i < 20; i++ {
		w.get(id(i)) // failures push no document out
	}
	w.mayFetch = false
	for i, want := range []string{"client", "not fetched", "client", "client"} {
		if c, err := w.get(id(i)); outcome(c, err) != want {
			t.Errorf("document %d: %v, want %s", i, err, want)
		}
	}
	for name, size := range map[string]int{"documents": w.store.documents.order.Len(), "troubles": w.store.troubles.order.Len(),
		"hosts": w.store.hosts.order.Len(), "documents by key": len(w.store.documents.byKey)} {
		if size != 3 {
			t.Errorf("%d %s are kept, want 3", size, name)
		}
	}
	if len(w.store.flights)+len(w.store.fetching) != 0 {
		t.Error("a fetch has left something behind")
	}
}
