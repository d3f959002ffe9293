package interop

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/gorilla/sessions"
	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	"github.com/usher-auth/usher/session"
)

// Adapters for third-party session libraries, each with a typical login page.
func TestSessionsOfOthers(t *testing.T) {
	manager := scs.New()
	fromSCS := authorize.SessionFunc(func(r *http.Request) (*session.Session, error) {
		user := manager.GetString(r.Context(), "user_id")
		if user == "" {
			return nil, nil
		}
		signedInAt := time.UnixMilli(manager.GetInt64(r.Context(), "auth_time"))
		return &session.Session{ID: manager.GetString(r.Context(), "sign_in"), Subject: user, AuthTime: signedInAt}, nil
	})
	store := sessions.NewCookieStore([]byte("0123456789abcdef0123456789abcdef"))
	fromGorilla := authorize.SessionFunc(func(r *http.Request) (*session.Session, error) {
		s, err := store.Get(r, "app")
		if err != nil {
			return nil, nil // a cookie that cannot be read is nobody
		}
		user, _ := s.Values["user_id"].(string)
		signedInAt, _ := s.Values["auth_time"].(int64)
		signIn, _ := s.Values["sign_in"].(string)
		return &session.Session{ID: signIn, Subject: user, AuthTime: time.UnixMilli(signedInAt)}, nil
	})
	for name, host := range map[string]struct {
		sessions authorize.SessionStore
		signIn   func(w http.ResponseWriter, r *http.Request, user string) error
		wrap     func(http.Handler) http.Handler
	}{
		"scs": {
			sessions: fromSCS,
			signIn: func(_ http.ResponseWriter, r *http.Request, user string) error {
				manager.Put(r.Context(), "user_id", user)
				manager.Put(r.Context(), "sign_in", rand.Text()) // Session.ID: another one for each sign-in
				manager.Put(r.Context(), "auth_time", time.Now().UnixMilli())
				return manager.RenewToken(r.Context())
			},
			wrap: manager.LoadAndSave, // around the endpoint too
		},
		"gorilla": {
			sessions: fromGorilla,
			signIn: func(w http.ResponseWriter, r *http.Request, user string) error {
				s, _ := store.Get(r, "app")
				s.Values["user_id"], s.Values["sign_in"], s.Values["auth_time"] = user, rand.Text(), time.Now().UnixMilli()
				return s.Save(r, w)
			},
			wrap: func(h http.Handler) http.Handler { return h },
		},
	} {
		t.Run(name, func(t *testing.T) { signInWith(t, host.sessions, host.signIn, host.wrap) })
	}
}

func signInWith(t *testing.T, store authorize.SessionStore, signIn func(http.ResponseWriter, *http.Request, string) error, wrap func(http.Handler) http.Handler) {
	const issuer = "https://accounts.example"
	memory := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{{
		ID: "wiki", RedirectURIs: []string{"https://wiki.example/callback"}, Scopes: []string{"openid"},
	}}})
	endpoint, err := authorize.New(authorize.Config{
		Issuer: issuer, Clients: memory, Codes: memory, Sessions: store, Login: authorize.LoginURL("/login"),
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/authorize", endpoint)
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write([]byte(`<form method="post"><input name="username"><button>Sign in</button></form>`))
	})
	login := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := signIn(w, r, r.PostFormValue("username")); err != nil {
			t.Error(err)
		}
		endpoint.Resume(w, r)
	})
	mux.Handle("POST /login", http.NewCrossOriginProtection().Handler(login)) // not around the endpoint
	authorizetest.TestHost(t, authorizetest.Host{
		Client: authorizetest.Client{Issuer: issuer, ID: "wiki", RedirectURI: "https://wiki.example/callback", Scopes: []string{"openid"}},
		Open:   func(_ *testing.T, b *authorizetest.Browser) { b.Handle(issuer, wrap(mux)) },
		SignIn: func(page *authorizetest.Page) (*authorizetest.Page, error) {
			return page.Submit(url.Values{"username": {"alice"}})
		},
	})
}
