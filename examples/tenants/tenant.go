package main

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// tenant is a running tenant of the registry. It shares nothing with the others: it does not
// know their clients, users, codes and keys.
type tenant struct {
	settings
	issuer   string
	app      string // the application's address
	loginURL string
	errorURL string
	clients  authorize.ClientStore
	codes    authorize.CodeStore
	sessions signIns
	token    string // authenticates the login process
	log      *slog.Logger
	now      func() time.Time

	maintenance atomic.Bool // set by the operator, like outage
	outage      atomic.Bool

	changing sync.Mutex // protects keys
	keys     []key
	endpoint atomic.Pointer[authorize.Handler]
}

// sessionCookie must differ from the cookies of other programs: all ports of a host share
// cookies.
const sessionCookie = "tenants-session"

// signIns are session.Cookies, or tickets where the login is in another process.
type signIns interface {
	authorize.SessionStore
	SignOut(w http.ResponseWriter, r *http.Request) error
}

func newTenant(ordered settings, around surroundings) (*tenant, error) {
	t := &tenant{
		settings: ordered,
		issuer:   urlOf(ordered.host(), around.port),
		app:      around.app(),
		loginURL: "/login",
		errorURL: "/error",
		token:    around.token,
		log:      around.log.With("tenant", ordered.Name),
		now:      around.now,
	}
	callback := t.app + "/callback"
	memory := authorize.NewMemory(authorize.MemoryConfig{Now: t.now, Clients: []authorize.Client{
		{
			ID:           "notes-" + t.Name,
			Name:         "Notes",
			Public:       true,
			RedirectURIs: []string{callback},
			Scopes:       []string{"openid", "profile"},
		},
		// An application without users: nobody can sign in to it.
		{
			ID:            "backup-" + t.Name,
			Name:          "Backup",
			RedirectURIs:  []string{callback},
			Scopes:        []string{"openid"},
			ResponseTypes: []string{},
		},
	}})
	t.clients, t.codes = memory, memory

	own := urlOf(t.host(), around.own.Port)
	if t.OwnErrors {
		t.errorURL = own + "/oops"
	}
	if t.OwnLogin != "" {
		t.loginURL = own + "/login"
		t.sessions = tickets{t.Name, around.own.Key, t.now}
	} else {
		// Insecure is for plain http on this machine.
		cookies, err := session.NewCookies(session.Config{
			Insecure: true, Name: sessionCookie, Now: t.now, Logger: t.log,
		})
		if err != nil {
			return nil, err
		}
		t.sessions = cookies
	}
	return t, t.renew([]key{newKey(1), newKey(2)})
}

// config is the configuration of a tenant's endpoint.
func (t *tenant) config(keys []authorize.Key) authorize.Config {
	// region configuration
	return authorize.Config{
		Issuer:          t.issuer,
		Clients:         t.clients,
		Codes:           breakable{t.codes, &t.outage},
		Sessions:        t.sessions,
		Login:           authorize.LoginURL(t.loginURL),
		ErrorURL:        t.errorURL,
		CheckRequest:    t.check,
		Allow:           t.allow,
		Keys:            keys,
		PendingLifetime: waiting,
		Logger:          t.log,
		Now:             t.now,
	}
	// endregion
}

// check refuses valid requests during maintenance. It also refuses values of prompt that need
// a page which does not exist here: only login and none are supported.
func (t *tenant) check(_ context.Context, r *authorize.Request) error {
	if t.maintenance.Load() {
		return oautherr.TemporarilyUnavailable.With(t.Title + " is under maintenance. Try again later.")
	}
	for _, prompt := range r.Prompt {
		if prompt != "login" && prompt != "none" {
			return oautherr.InvalidRequest.With("prompt can be login or none.")
		}
	}
	return nil
}

// allow refuses users who are suspended.
func (t *tenant) allow(_ context.Context, s *session.Session, _ *authorize.Request) (bool, error) {
	return !slices.Contains(t.Suspended, s.Subject), nil
}

// breakable is a store that the operator can break, to see what happens.
type breakable struct {
	authorize.CodeStore
	broken *atomic.Bool
}

func (b breakable) SaveCode(ctx context.Context, hash string, code *authorize.Code) error {
	if b.broken.Load() {
		return errors.New("the operator broke the store of codes")
	}
	return b.CodeStore.SaveCode(ctx, hash, code)
}

// handler is the tenant's site. The endpoint is looked up for each request, because
// it is replaced when the keys change.
func (t *tenant) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/authorize", func(w http.ResponseWriter, r *http.Request) { t.endpoint.Load().ServeHTTP(w, r) })
	switch t.OwnLogin {
	case withPublicKeys:
		mux.HandleFunc("/keys", func(w http.ResponseWriter, r *http.Request) {
			t.endpoint.Load().PendingKeysHandler().ServeHTTP(w, r)
		})
	case withIntrospection:
		mux.HandleFunc("/introspect", t.introspect)
	default:
		mux.Handle("/login", form(t.login))
	}
	mux.HandleFunc("GET /error", t.sharedError)
	mux.HandleFunc("GET /{$}", t.home)
	mux.Handle("POST /sign-out", form(t.signOut))
	return inPages(mux, t.frame().refuse)
}

// introspect is only for the login process.
func (t *tenant) introspect(w http.ResponseWriter, r *http.Request) {
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+t.token)) != 1 {
		http.Error(w, "The token is missing or wrong.", http.StatusUnauthorized)
		return
	}
	t.endpoint.Load().PendingHandler().ServeHTTP(w, r)
}

// sharedError is the page for errors that cannot go to a client.
func (t *tenant) sharedError(w http.ResponseWriter, r *http.Request) {
	t.frame().show(w, http.StatusBadRequest, "error", readError(r))
}

// home shows who is signed in.
func (t *tenant) home(w http.ResponseWriter, r *http.Request) {
	current, err := t.sessions.Session(r)
	if err != nil {
		t.endpoint.Load().ShowError(w, r, oautherr.TemporarilyUnavailable.Because(err))
		return
	}
	page := struct{ Title, User string }{Title: t.Title}
	if current.SignedIn() {
		page.User = current.Subject
	}
	t.frame().show(w, http.StatusOK, "home", page)
}

func (t *tenant) signOut(w http.ResponseWriter, r *http.Request) {
	if err := t.sessions.SignOut(w, r); err != nil {
		t.endpoint.Load().ShowError(w, r, oautherr.TemporarilyUnavailable.Because(fmt.Errorf("sign-out: %w", err)))
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (t *tenant) frame() frame { return frame{Host: t.host(), Look: "shared", App: t.app} }
