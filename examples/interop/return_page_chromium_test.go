package interop

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	cdp "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/session"
)

// TestReturnPageInChromium signs in to an app with a scheme (Client.ReturnPage). The script of
// the page opens the app, and its link does the same by keyboard. That the page's policy
// allows the script is checked in every tab.
func TestReturnPageInChromium(t *testing.T) {
	b := newTab(t)
	var endpoint *authorize.Handler
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { endpoint.ServeHTTP(w, r) }))
	t.Cleanup(host.Close)
	s := &site{client: client{ID: "desktop", RedirectURIs: []string{"notes://callback"}}}
	memory := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{{
		ID: s.ID, Name: "Notes", Public: true, RedirectURIs: s.RedirectURIs, PrivateUseSchemes: []string{"notes"},
		Scopes: []string{"openid", "profile"}, ReturnPage: true,
	}}})
	var err error
	endpoint, err = authorize.New(authorize.Config{
		Issuer: host.URL, Clients: memory, Codes: memory, Login: authorize.LoginURL("/login"),
		Sessions: authorize.SessionFunc(func(*http.Request) (*session.Session, error) {
			return &session.Session{ID: "1", Subject: "alice", AuthTime: time.Now()}, nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan *cdp.EventFrameRequestedNavigation, 10)
	err = chromedp.Listen(b.ctx, func(event any) {
		if e, ok := event.(*cdp.EventFrameRequestedNavigation); ok {
			asked <- e
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	opened := func(by cdp.ClientNavigationReason) {
		t.Helper()
		select {
		case e := <-asked:
			if !strings.HasPrefix(e.URL, "notes://callback?code=") || !strings.Contains(e.URL, "state=s1") || e.Reason != by {
				t.Errorf("the browser goes to %s by %s, want the app with the code by %s", e.URL, e.Reason, by)
			}
		case <-b.ctx.Done():
			t.Fatalf("the browser does not go to the app by %s; the page is %s", by, b.page())
		}
	}
	b.open(s.ask(host.URL, nil))
	opened(cdp.ClientNavigationReasonScriptInitiated)
	if text := b.text("a"); !strings.Contains(text, "Open Notes") || !strings.Contains(text, "notes:") {
		t.Errorf("the page says:\n%s", text)
	}
	b.do(chromedp.KeyEvent("\t"), chromedp.KeyEvent("\r"))
	opened(cdp.ClientNavigationReasonAnchorClick)
	if _, err := axe(); err == nil {
		gallery{tab: b}.isAccessible()
	}
}
