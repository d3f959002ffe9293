package main

import (
	"crypto/ed25519"
	"log/slog"
	"net/http"
	"time"

	"github.com/usher-auth/usher/authorize"
)

// ownSite has the own pages of one tenant. It runs in the login process, which knows the
// users but shares no store with the endpoint.
type ownSite struct {
	settings
	reader reader
	frame  frame
	key    ed25519.PrivateKey // signs tickets
	log    *slog.Logger
	now    func() time.Time
}

// newOwnSites makes the sites of all tenants with their own pages. client reaches the main
// process.
func newOwnSites(t task, key ed25519.PrivateKey, client *http.Client, log *slog.Logger, now func() time.Time) sites {
	app := urlOf("app.localhost", t.port())
	all := sites{anyOther: unknown(app)}
	for _, settings := range registry {
		issuer := urlOf(settings.host(), t.port())
		own := &ownSite{
			settings: settings,
			frame:    frame{Host: settings.host(), Look: settings.Name, App: app},
			key:      key, log: log.With("tenant", settings.Name), now: now,
		}
		switch settings.OwnLogin {
		case withPublicKeys:
			own.reader = &keyReader{issuer: issuer, client: client, now: now}
		case withIntrospection:
			own.reader = &introspectionReader{issuer: issuer, token: t.Token, client: client}
		default:
			continue
		}
		mux := http.NewServeMux()
		mux.Handle("/login", form(own.login))
		mux.HandleFunc("GET /oops", own.oops)
		all[settings.host()] = inPages(mux, own.frame.refuse)
	}
	return all
}

// login signs the user in and sends the browser back to the endpoint of the request.
func (o *ownSite) login(w http.ResponseWriter, r *http.Request) {
	asked, err := o.reader.read(r.Context(), r.URL.Query().Get("req"))
	if err != nil {
		o.log.Warn("a login page was opened without a request", "error", err)
		o.frame.show(w, http.StatusBadRequest, "own-error", errorPage{Text: reasons[authorize.ReasonExpired]})
		return
	}
	page := loginPage{asked: asked, Title: o.Title, Suspended: o.Suspended, Username: asked.Hint, ReadWith: o.OwnLogin}
	if r.Method != http.MethodPost {
		o.frame.show(w, http.StatusOK, "own-login", page)
		return
	}
	if r.PostForm.Get("decision") == "deny" {
		http.Redirect(w, r, asked.denyURL, http.StatusSeeOther)
		return
	}
	page.Username = r.PostForm.Get("username")
	if !o.knows(page.Username, r.PostForm.Get("password")) {
		page.Wrong = true
		o.frame.show(w, http.StatusForbidden, "own-login", page)
		return
	}
	cookie, err := newTicket(o.Name, page.Username, o.key, o.now())
	if err != nil {
		o.log.Error("no ticket can be made", "error", err)
		o.frame.show(w, http.StatusServiceUnavailable, "own-error",
			errorPage{Text: "You cannot be signed in at the moment."})
		return
	}
	http.SetCookie(w, cookie)
	http.Redirect(w, r, asked.resumeURL, http.StatusSeeOther)
}

// oops is the tenant's own page for errors that cannot go to a client.
func (o *ownSite) oops(w http.ResponseWriter, r *http.Request) {
	o.frame.show(w, http.StatusBadRequest, "own-error", readError(r))
}
