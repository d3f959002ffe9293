package main

import (
	"net/http"
	"slices"
)

// desk is the operator's page. It needs no sign-in, so the program listens only on this
// machine.
type desk struct {
	tenants []*tenant
	app     string
}

// deskRow is one tenant on the page.
type deskRow struct {
	Name, Title, Issuer, Key string
	Maintenance, Outage      bool
}

func (d *desk) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", d.show)
	mux.Handle("POST /{action}", form(d.act))
	return inPages(mux, d.frame().refuse)
}

func (d *desk) show(w http.ResponseWriter, _ *http.Request) {
	page := struct{ Rows []deskRow }{}
	for _, t := range d.tenants {
		page.Rows = append(page.Rows, deskRow{
			t.Name, t.Title, t.issuer, t.signingKey(), t.maintenance.Load(), t.outage.Load(),
		})
	}
	d.frame().show(w, http.StatusOK, "desk", page)
}

func (d *desk) frame() frame { return frame{Host: "127.0.0.1", Look: "wide", App: d.app} }

func (d *desk) act(w http.ResponseWriter, r *http.Request) {
	i := slices.IndexFunc(d.tenants, func(t *tenant) bool { return t.Name == r.PostForm.Get("tenant") })
	if i < 0 {
		http.NotFound(w, r)
		return
	}
	t, on := d.tenants[i], r.PostForm.Get("on") == "true"
	switch r.PathValue("action") {
	case "maintenance":
		t.maintenance.Store(on)
	case "outage":
		t.outage.Store(on)
	case "new-key":
		if err := t.rotate(); err != nil {
			t.log.Error("the keys were not changed", "error", err)
			http.Error(w, "The keys were not changed: see the log.", http.StatusInternalServerError)
			return
		}
	default:
		http.NotFound(w, r)
		return
	}
	http.Redirect(w, r, "/#"+t.Name, http.StatusSeeOther)
}
