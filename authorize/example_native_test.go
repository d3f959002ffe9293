package authorize_test

import (
	"fmt"
	"log"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	"github.com/usher-auth/usher/session"
)

// The registrations of apps on the user's own machine. None of them can keep a secret.
var nativeApps = []authorize.Client{
	// A command-line tool listens on a port that is free. A library that says localhost needs
	// both lines, because no host stands for another.
	{ID: "cli", Name: "notes(1)", Public: true, Scopes: []string{"notes"},
		RedirectURIs: []string{"http://127.0.0.1/callback", "http://localhost/callback"}},
	// A phone app. Its https URL is one that the system opens only in this app. The scheme,
	// its domain in reverse, is for systems without that.
	{ID: "phone", Name: "Notes", Public: true, Scopes: []string{"notes"},
		RedirectURIs: []string{"https://notes.example/app", "com.example.notes:/callback"}},
	// A desktop app with a scheme without a dot. The browser stays open behind the app, so it
	// shows a page that leads there.
	{ID: "desktop", Name: "Notes", Public: true, Scopes: []string{"notes"}, ReturnPage: true,
		RedirectURIs: []string{"notes://callback"}, PrivateUseSchemes: []string{"notes"}},
	// An extension has the scheme of its editor, and its own name as the host.
	{ID: "extension", Name: "Notes for the editor", Public: true, Scopes: []string{"notes"}, ReturnPage: true,
		RedirectURIs: []string{"vscode://example.notes/callback"}, PrivateUseSchemes: []string{"vscode"}},
}

// Apps on a phone or a desktop, each signed in twice. Any other program on the machine can
// listen on loopback or take a scheme, and use the app's client_id (RFC 8252 §8.6). So the
// user is asked each time, and remembered consent counts only for the https URL.
func Example_nativeApps() {
	const issuer = "https://accounts.example"
	memory := authorize.NewMemory(authorize.MemoryConfig{Clients: nativeApps})
	signedIn, asked := time.Now(), 0
	endpoint, err := authorize.New(authorize.Config{
		Issuer: issuer, Clients: memory, Codes: memory, Login: authorize.LoginURL("/login"),
		Sessions: authorize.SessionFunc(func(*http.Request) (*session.Session, error) {
			return &session.Session{Subject: "alice", AuthTime: signedIn}, nil
		}),
		Consent: &authorize.Consent{Page: "/consent", Store: memory},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/authorize", endpoint)
	mux.HandleFunc("GET /consent", func(w http.ResponseWriter, _ *http.Request) { // Example (ConsentPage) is a whole one
		asked++
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!DOCTYPE html><form method="post"><button>Yes</button></form>`)
	})
	mux.HandleFunc("POST /consent", func(w http.ResponseWriter, r *http.Request) {
		endpoint.Grant(w, r, authorize.Granted{Scopes: []string{"notes"}})
	})
	browser := authorizetest.NewBrowser()
	browser.Handle(issuer, mux)

	signIn := func(id, redirectURI string) {
		client := authorizetest.Client{Issuer: issuer, ID: id, RedirectURI: redirectURI, Scopes: []string{"notes"}}
		flow := client.Start()
		page, err := browser.Open(flow.URL)
		if err == nil && len(page.Forms) > 0 {
			page, err = page.Submit(nil, "Yes")
		}
		if err == nil && !page.Left { // the page of Client.ReturnPage
			text := regexp.MustCompile("(?s)<(head|script).*?</(head|script)>|<[^>]*>").ReplaceAllString(page.Body, " ")
			if asked == 1 {
				fmt.Println("the browser shows:", strings.Join(strings.Fields(text), " "))
			}
			page, err = page.Click(page.Links[0].Text) // a script does the same at once
		}
		if err != nil {
			log.Fatal(err)
		}
		_, err = flow.Check(page.Request) // the app has the code
		to, _, _ := strings.Cut(page.URL.String(), "?")
		fmt.Println("asked", asked, "times, the code is at", to, err)
	}
	for _, to := range []struct{ id, first, second string }{
		{"cli", "http://127.0.0.1:49152/callback", "http://localhost:50001/callback"},
		{"phone", "https://notes.example/app", "https://notes.example/app"},
		{"phone", "com.example.notes:/callback", "com.example.notes:/callback"},
		{"desktop", "notes://callback", "notes://callback"},
		{"extension", "vscode://example.notes/callback", "vscode://example.notes/callback"},
	} {
		asked = 0
		signIn(to.id, to.first)
		signIn(to.id, to.second)
	}
	// Output:
	// asked 1 times, the code is at http://127.0.0.1:49152/callback <nil>
	// asked 2 times, the code is at http://localhost:50001/callback <nil>
	// asked 1 times, the code is at https://notes.example/app <nil>
	// asked 1 times, the code is at https://notes.example/app <nil>
	// asked 1 times, the code is at com.example.notes:/callback <nil>
	// asked 2 times, the code is at com.example.notes:/callback <nil>
	// the browser shows: Back to Notes The app should open now. You can close this page then. Open Notes notes:
	// asked 1 times, the code is at notes://callback <nil>
	// asked 2 times, the code is at notes://callback <nil>
	// the browser shows: Back to Notes for the editor The app should open now. You can close this page then. Open Notes for the editor vscode:
	// asked 1 times, the code is at vscode://example.notes/callback <nil>
	// asked 2 times, the code is at vscode://example.notes/callback <nil>
}
