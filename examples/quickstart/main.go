// Command quickstart is a whole sign-in in one process, to try in a browser. It is a host
// with a login page and the endpoint; client.go is a client, to which its users sign in.

// region helpers
package main

import (
	"embed"
	"flag"
	"fmt"
	"html/template"
	"log"
	"log/slog"
	"net"
	"net/http"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/session"
)

//go:embed pages
var files embed.FS

var pages = template.Must(template.ParseFS(files, "pages/*"))

func show(w http.ResponseWriter, status int, page string, data any) {
	// In place of the endpoint's own policy, which allows no style of ours.
	w.Header().Set("Content-Security-Policy", "frame-ancestors 'none'")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "same-origin") // with no-referrer, forms send "Origin: null"
	w.WriteHeader(status)
	if err := pages.ExecuteTemplate(w, page, data); err != nil {
		log.Print(err)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// endregion

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on; port 0 takes a free one")
	flag.Parse()
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err, " (another address: -addr 127.0.0.1:0)")
	}
	base := "http://" + listener.Addr().String()
	// region host
	memory := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{
		{ID: "demo", Name: "Demo", Public: true, RedirectURIs: []string{base + "/"}, Scopes: []string{"openid"}},
	}})
	sessions := must(session.NewCookies(session.Config{Insecure: true})) // for plain http on this machine
	endpoint := must(authorize.New(authorize.Config{
		Issuer:   base,
		Clients:  memory,
		Codes:    memory,
		Sessions: sessions,
		Login:    authorize.LoginURL("/login"),
		Logger:   slog.Default(),
		ErrorPage: func(w http.ResponseWriter, _ *http.Request, p authorize.PageError) {
			show(w, p.Status, "error.html", p)
		},
	}))
	http.Handle("/authorize", endpoint)
	login := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		right := r.PostFormValue("username") == "alice" && r.PostFormValue("password") == "alice-password"
		if r.PostFormValue("decision") == "deny" {
			endpoint.Deny(w, r)
		} else if !right {
			page := map[string]bool{"Wrong": r.Method == "POST", "Asked": r.FormValue("req") != ""}
			show(w, http.StatusOK, "login.html", page)
		} else if _, err := sessions.SignIn(w, r, session.Session{Subject: "alice"}); err != nil {
			endpoint.ShowError(w, r, err)
		} else if !endpoint.Resume(w, r) {
			http.Redirect(w, r, "/", http.StatusSeeOther) // an ordinary sign-in, without a client
		}
	})
	http.Handle("/login", http.NewCrossOriginProtection().Handler(login))
	// endregion
	client := &client{issuer: base, redeem: endpoint.Redeem}
	http.HandleFunc("GET /{$}", client.page)
	signOut := func(w http.ResponseWriter, r *http.Request) {
		if err := sessions.SignOut(w, r); err != nil {
			endpoint.ShowError(w, r, err)
			return
		}
		client.forget(w, r)
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
	http.Handle("POST /logout", http.NewCrossOriginProtection().Handler(http.HandlerFunc(signOut)))
	fmt.Printf("listening on %s\nopen that address in a browser and sign in as alice with alice-password\n", base)
	refuse := func(w http.ResponseWriter, status int, page refusal) { show(w, status, "refused.html", page) }
	log.Fatal(http.Serve(listener, inPages(http.DefaultServeMux, refuse)))
}
