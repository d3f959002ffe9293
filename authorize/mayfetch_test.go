package authorize

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	oautherr "github.com/usher-auth/usher/errors"
)

// asksMayFetch is a ClientStore that notes what MayFetch said each time.
type asksMayFetch struct {
	ClientStore
	said []bool
	last context.Context
}

func (a *asksMayFetch) Client(ctx context.Context, id string) (*Client, error) {
	a.said, a.last = append(a.said, MayFetch(ctx)), ctx
	return a.ClientStore.Client(ctx, id)
}

func newFetchingSite(t *testing.T, changes ...func(*site)) (*site, *asksMayFetch) {
	t.Helper()
	asks := &asksMayFetch{}
	s := newSite(t, append(changes, func(s *site) {
		asks.ClientStore = s.config.Clients
		s.config.Clients = asks
	})...)
	return s, asks
}

func TestMayFetchIsTrueOnlyForANavigationOrASignedRequest(t *testing.T) {
	const navigate, fetch = "navigate", "cors"
	for _, c := range []struct {
		name, query, mode string
		want              bool
	}{
		{"a navigation", ask(), navigate, true},
		{"a browser that does not say", ask(), "", true},
		{"a navigation without redirect_uri", ask("-redirect_uri"), navigate, false},
		{"a navigation with two redirect_uri", ask("+redirect_uri=https%3A%2F%2Fapp.example%2Fcb"), navigate, false},
		{"a fetch by a page", ask(), fetch, false},
		{"an image", ask(), "no-cors", false},
		{"a frame", ask(), "navigate iframe", false},
		{"a whole tab", ask(), "navigate document", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, asks := newFetchingSite(t)
			r := httptest.NewRequest("GET", testEndpoint+"?"+c.query, nil)
			mode, dest, _ := strings.Cut(c.mode, " ")
			r.Header.Set("Sec-Fetch-Mode", mode)
			r.Header.Set("Sec-Fetch-Dest", dest)
			s.visitor(alice()).send(s.handler, r)
			if len(asks.said) == 0 || asks.said[0] != c.want {
				t.Errorf("MayFetch said %v, want %t first", asks.said, c.want)
			}
		})
	}
	for _, c := range []struct {
		name string
		want bool
		do   func(*site, *visitor, *reply)
	}{
		{"a request that we signed, brought back by a fetch", true, func(s *site, v *visitor, waiting *reply) {
			r := httptest.NewRequest("GET", testEndpoint+"?req="+waiting.req, nil)
			r.Header.Set("Sec-Fetch-Mode", fetch)
			v.send(s.handler, r)
		}},
		{"Pending", false, func(s *site, v *visitor, waiting *reply) {
			s.handler.Pending(httptest.NewRequest("GET", "/login?req="+waiting.req, nil))
		}},
		{"Grant", false, func(_ *site, v *visitor, waiting *reply) { v.allow(waiting, Granted{Scopes: []string{"openid"}}) }},
		{"Explain", false, func(s *site, _ *visitor, _ *reply) { s.handler.Explain(t.Context(), ask(), nil) }},
		{"an error page of the host's", false, func(s *site, v *visitor, waiting *reply) {
			show := func(w http.ResponseWriter, r *http.Request) { s.handler.ShowError(w, r, errReqMissing) }
			v.page(show, httptest.NewRequest("GET", "/x?req="+waiting.req, nil))
		}},
		{"the error page of a request that is too late", false, func(s *site, v *visitor, waiting *reply) {
			s.now = s.now.Add(s.handler.config.PendingLifetime)
			v.resume(waiting)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, asks := newFetchingSite(t, withConsent)
			v := s.visitor(alice())
			waiting := v.get(ask("prompt=consent")).want("consent")
			asks.said = nil
			c.do(s, v, waiting)
			if len(asks.said) == 0 {
				t.Fatal("the ClientStore was not asked")
			}
			for _, said := range asks.said {
				if said != c.want {
					t.Errorf("MayFetch said %v, want %t", asks.said, c.want)
				}
			}
		})
	}
	t.Run("once the ClientStore has returned", func(t *testing.T) {
		s, asks := newFetchingSite(t)
		s.visitor(alice()).get(ask()).want("code")
		if MayFetch(asks.last) {
			t.Error("MayFetch is still true")
		}
	})
	t.Run("another context", func(t *testing.T) {
		if MayFetch(t.Context()) {
			t.Error("MayFetch is true")
		}
	})
}

func TestAClientThatWasNotFetchedIsOneThatCannotBeReached(t *testing.T) {
	if !errors.Is(ErrClientNotFetched, ErrClientUnreachable) {
		t.Error("ErrClientNotFetched does not wrap ErrClientUnreachable")
	}
	known, want := oautherr.Of(ErrClientNotFetched), oautherr.Of(ErrClientUnreachable)
	if known.Code != want.Code || known.RetryAfter != want.RetryAfter || known.Description != want.Description {
		t.Errorf("it is %#v, and ErrClientUnreachable is %#v", known, want)
	}
}
