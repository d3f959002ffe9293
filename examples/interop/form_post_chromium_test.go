package interop

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/session"
)

// formPosts is an endpoint where alice is signed in, and a client on another site that accepts
// only forms of its issuer.
type formPosts struct {
	*site
	issuer string
	origin string // of the last form
	policy string // that a proxy adds, empty for none
}

// adding is a ResponseWriter that adds the policy of a proxy.
type adding struct {
	http.ResponseWriter
	policy string
}

func (a adding) WriteHeader(status int) {
	if a.policy != "" {
		a.Header().Add("Content-Security-Policy", a.policy)
	}
	a.ResponseWriter.WriteHeader(status)
}

func newFormPosts(t *testing.T, unvetted bool) *formPosts {
	t.Helper()
	f := &formPosts{}
	protection := http.NewCrossOriginProtection()
	f.site = &site{answers: make(chan answer, 10)}
	client := http.NewServeMux()
	client.Handle("POST /callback", protection.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		f.origin = r.Header.Get("Origin")
		f.answers <- answer{r.Method, r.PostForm}
		page(w, `<h1 id="back">Back at the client</h1>`)
	})))
	client.HandleFunc("GET /frame", func(w http.ResponseWriter, r *http.Request) {
		page(w, `<h1>The client</h1><iframe src="`+html.EscapeString(r.FormValue("of"))+`"></iframe>`)
	})
	server := httptest.NewServer(client)
	t.Cleanup(server.Close)
	f.url = strings.Replace(server.URL, "127.0.0.1", "client.localhost", 1)
	f.ID, f.RedirectURIs = "site", []string{f.url + "/callback"}

	var endpoint *authorize.Handler
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		endpoint.ServeHTTP(adding{w, f.policy}, r)
	}))
	t.Cleanup(host.Close)
	f.issuer = host.URL
	memory := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{
		{ID: "site", Unvetted: unvetted, RedirectURIs: f.RedirectURIs, Scopes: []string{"openid", "profile"}},
	}})
	var err error
	endpoint, err = authorize.New(authorize.Config{
		Issuer: f.issuer, Clients: memory, Codes: memory, Login: authorize.LoginURL("/login"),
		Sessions: authorize.SessionFunc(func(*http.Request) (*session.Session, error) {
			return &session.Session{ID: "1", Subject: "alice", AuthTime: time.Now()}, nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := protection.AddTrustedOrigin(f.issuer); err != nil {
		t.Fatal(err)
	}
	return f
}

// asks returns an authorization URL for form_post.
func (f *formPosts) asks(more url.Values) string {
	query := url.Values{"response_mode": {"form_post"}}
	for name, values := range more {
		query[name] = values
	}
	return f.ask(f.issuer, query)
}

// posted waits for the response, which has the origin of the issuer.
func (f *formPosts) posted(b tab, member string) {
	b.t.Helper()
	select {
	case got := <-f.answers:
		if got.values.Get(member) == "" || got.values.Get("state") != "s1" || f.origin != f.issuer {
			b.t.Errorf("%v from the origin %q, want %s from %s", got.values, f.origin, member, f.issuer)
		}
	case <-b.ctx.Done():
		b.t.Fatalf("no answer came; the page is %s", b.page())
	}
}

func TestFormPostInChromium(t *testing.T) {
	t.Run("a client that refuses forged requests", func(t *testing.T) {
		b, f := newTab(t), newFormPosts(t, false)
		b.open(f.asks(nil))
		f.posted(b, "code")
		b.do(chromedp.WaitVisible(chromedp.CSS("#back")))
	})
	for member, more := range map[string]url.Values{"code": {"prompt": {"none"}}, "error": {"prompt": {"none"}, "scope": {"unknown"}}} {
		t.Run("a silent check in a frame: "+member, func(t *testing.T) {
			b, f := newTab(t), newFormPosts(t, false)
			b.open(f.url + "/frame?of=" + url.QueryEscape(f.asks(more)))
			f.posted(b, member)
		})
	}
	t.Run("an unvetted client that refuses forged requests", func(t *testing.T) {
		b, f := newTab(t), newFormPosts(t, true)
		b.open(f.asks(url.Values{"scope": {"unknown"}}))
		b.click("button")
		f.posted(b, "error")
	})
	t.Run("a proxy's policy stops the script", func(t *testing.T) {
		f := newFormPosts(t, false)
		f.policy = "script-src 'self'"
		b := newTab(t)
		ctx, closeTab := chromedp.NewContext(b.ctx) // without a check of its log
		defer closeTab()
		stopped := tab{t, ctx}
		stopped.open(f.asks(nil))
		if text := stopped.text("form button"); !strings.Contains(text, "going on to "+strings.TrimPrefix(f.url, "http://")) {
			t.Errorf("the page says:\n%s", text)
		}
		stopped.click("form button")
		f.posted(stopped, "code")
	})
}
