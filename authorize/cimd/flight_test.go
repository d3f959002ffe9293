package cimd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usher-auth/usher/authorize"
)

// held is a handler that answers when it is let go.
func held(answer http.HandlerFunc) (_ http.HandlerFunc, letGo func()) {
	gate := make(chan struct{})
	return func(w http.ResponseWriter, r *http.Request) {
		<-gate
		answer(w, r)
	}, func() { close(gate) }
}

type result struct {
	client *authorize.Client
	err    error
}

// asks asks in a goroutine.
func (w *world) asks(ctx context.Context, id string) <-chan result {
	results := make(chan result, 1)
	go func() {
		c, err := w.store.Client(ctx, id)
		results <- result{c, err}
	}()
	return results
}

func TestAllShareOneFetch(t *testing.T) {
	for _, c := range []struct {
		rule   string
		answer http.HandlerFunc
		want   string
	}{
		{"a document", sends(documentOf(testID).text()), "client"},
		{"an invalid document", sends("{}"), "invalid"},
		{"no response", lost, "unreachable"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				answer, letGo := held(c.answer)
				w.answers(answer)
				first, cancel := context.WithCancel(t.Context())
				left := w.asks(first, testID)
				synctest.Wait()
				var others []<-chan result
				for range 20 {
					others = append(others, w.asks(t.Context(), testID))
				}
				synctest.Wait()
				cancel() // who began it leaves
				if r := <-left; !errors.Is(r.err, context.Canceled) || outcome(r.client, r.err) != "unreachable" {
					t.Errorf("the first one gets %v", r.err)
				}
				letGo()
				for _, other := range others {
					if r := <-other; outcome(r.client, r.err) != c.want {
						t.Errorf("%v, want %s", r.err, c.want)
					}
				}
				if w.fetches() != 1 || len(w.kinds()) != 1 {
					t.Errorf("%d fetches", w.fetches())
				}
			})
		})
	}
}

func TestFewAreFetchedAtTheSameTime(t *testing.T) {
	for _, c := range []struct {
		rule  string
		limit int
		id    string // of each one
	}{
		{"in all", 3, "https://h%d.example.com/client.json"},
		{"of one host", maxPerHost, "https://client.example.com/%d.json"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(config *Config) { config.MaxFetches = 3 })
				w.want("client")
				w.later(time.Hour)
				answer, letGo := held(func(rw http.ResponseWriter, r *http.Request) { sendDocument(rw, documentAt(r)) })
				w.answers(answer)
				var all []<-chan result
				for i := range c.limit {
					all = append(all, w.asks(t.Context(), fmt.Sprintf(c.id, i)))
				}
				synctest.Wait()
				one := fmt.Sprintf(c.id, c.limit)
				if c, err := w.get(one); outcome(c, err) != "unreachable" {
					t.Errorf("one more: %v", err)
				}
				w.want("client") // the last document of another client serves
				letGo()
				for _, each := range all {
					if r := <-each; r.err != nil {
						t.Error(r.err)
					}
				}
				if c, err := w.get(one); outcome(c, err) != "client" {
					t.Errorf("afterwards: %v", err)
				}
			})
		})
	}
}

// panics is a Transport of the host's that does.
type panics struct{}

func (panics) RoundTrip(*http.Request) (*http.Response, error) { panic("oh") }

func TestAPanicWhileFetchingIsAFailure(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Transport = panics{} })
	w.want("unreachable")
	w.want("unreachable")
	if kinds := w.kinds(); len(kinds) != 1 || kinds[0] != EventFailed {
		t.Errorf("the events are %q", kinds)
	}
}
