package servertest

import (
	"encoding/hex"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	"github.com/usher-auth/usher/authorize/sqlstore"
	"github.com/usher-auth/usher/session"
)

// program is that of the Example of package sqlstore, which has no driver to run it with,
// and its pages.
func program(t *testing.T, file string, client authorize.Client) (*authorize.Handler, http.Handler) {
	db := onSQLite(file, "").pool(t, 10)
	store := migrated(t, sqlstore.Config{DB: db, Dialect: sqlstore.SQLite})
	sessions, err := session.NewCookies(session.Config{Store: store})
	must(t, err)
	secret, err := hex.DecodeString(strings.Repeat("0123456789abcdef", 4))
	must(t, err)
	endpoint, err := authorize.New(authorize.Config{
		Issuer:   "https://accounts.example",
		Clients:  store,
		Codes:    store,
		Sessions: sessions,
		Login:    authorize.LoginURL("/login"),
		Consent:  &authorize.Consent{Page: "/consent", Store: store},
		Keys:     []authorize.Key{{Secret: secret}},
	})
	must(t, err, store.PutClient(t.Context(), client))
	mux := http.NewServeMux()
	mux.Handle("GET /authorize", endpoint)
	mux.HandleFunc("GET /{page}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte(`<form method="post"><button>OK</button></form>`))
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		_, err := sessions.SignIn(w, r, session.Session{Subject: "alice"})
		must(t, err)
		endpoint.Resume(w, r)
	})
	mux.HandleFunc("POST /consent", func(w http.ResponseWriter, r *http.Request) {
		endpoint.Grant(w, r, authorize.Granted{Scopes: client.Scopes})
	})
	return endpoint, mux
}

// A sign-in goes on after each page although the program has started again.
func TestExample(t *testing.T) {
	const issuer, callback = "https://accounts.example", "https://wiki.example/callback"
	client := authorize.Client{ID: "wiki", RedirectURIs: []string{callback}, Scopes: []string{"openid"}}
	wiki := authorizetest.Client{Issuer: issuer, ID: client.ID, RedirectURI: callback, Scopes: client.Scopes}
	file, browser := filepath.Join(t.TempDir(), "usher.db"), authorizetest.NewBrowser()
	endpoint, pages := program(t, file, client)
	restart := func() { endpoint, pages = program(t, file, client) }
	browser.Handle(issuer, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { pages.ServeHTTP(w, r) }))
	flow := wiki.Start()
	page, err := browser.Open(flow.URL)
	must(t, err)
	for _, path := range []string{"/login", "/consent"} {
		if page.URL.Path != path {
			t.Fatalf("the browser is on %s, want %s", page, path)
		}
		restart()
		page, err = page.Submit(nil, "OK")
		must(t, err)
	}
	restart()
	code, err := endpoint.Redeem(t.Context(), flow.Redemption(flow.Expect(t, page, nil)))
	if err != nil || code.Subject != "alice" {
		t.Fatalf("%v, %v", code, err)
	}
	flow = wiki.Start()
	page, err = browser.Open(flow.URL) // the session and the consent are in the file
	must(t, err)
	flow.Expect(t, page, nil)
}
