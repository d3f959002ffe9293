// Command quickstart is a whole sign-in in one process, to try in a browser.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/pkce"
	"github.com/usher-auth/usher/session"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	flag.Parse()
	listener := must(net.Listen("tcp", *addr))
	base := "http://" + listener.Addr().String()
	// README begin
	demo := authorize.Client{ID: "demo", Public: true, RedirectURIs: []string{base + "/"}, Scopes: []string{"openid"}}
	memory := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{demo}})
	sessions := must(session.NewCookies(session.Config{Insecure: true})) // for plain http on this machine
	endpoint := must(authorize.New(authorize.Config{
		Issuer:   base,
		Clients:  memory,
		Codes:    memory,
		Sessions: sessions,
		Login:    authorize.LoginURL("/login"),
	}))
	http.Handle("/authorize", endpoint)
	login := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.PostFormValue("username") != "alice" || r.PostFormValue("password") != "alice-password" {
			fmt.Fprint(w, `<!DOCTYPE html><title>Sign in</title><p>Sign in as alice with alice-password.</p><form method="post">
				User name <input name="username"> Password <input name="password" type="password"> <button>Sign in</button></form>`)
		} else if _, err := sessions.SignIn(w, r, session.Session{Subject: "alice"}); err != nil {
			endpoint.ShowError(w, r, err)
		} else if !endpoint.Resume(w, r) {
			http.Redirect(w, r, "/", http.StatusSeeOther) // no client had asked: an ordinary sign-in
		}
	})
	http.Handle("/login", http.NewCrossOriginProtection().Handler(login))
	// README end
	http.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie("demo-" + r.FormValue("state")) // only the browser that asked has it
		if err != nil || r.FormValue("iss") != base {
			state, verifier := pkce.NewVerifier(), pkce.NewVerifier() // 256 random bits each
			http.SetCookie(w, &http.Cookie{Name: "demo-" + state, Value: verifier, MaxAge: 600, HttpOnly: true})
			query := "client_id=demo&amp;response_type=code&amp;scope=openid&amp;redirect_uri=" + base + "/&amp;state=" + state
			query += "&amp;code_challenge_method=S256&amp;code_challenge=" + pkce.Challenge(verifier)
			fmt.Fprintf(w, `<!DOCTYPE html><title>Demo</title><a href="/authorize?%s">Sign in</a>`, query)
		} else if code, err := endpoint.Redeem(r.Context(), authorize.Redemption{
			ClientID: "demo", Code: r.FormValue("code"), Verifier: cookie.Value,
		}); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
		} else {
			fmt.Fprintf(w, "Signed in as %s", code.Subject)
		}
	})
	fmt.Println("listening on", base)
	log.Fatal(http.Serve(listener, nil))
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
