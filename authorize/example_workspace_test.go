package authorize_test

import (
	"context"
	"fmt"
	"html/template"
	"log"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	"github.com/usher-auth/usher/session"
)

type workspaces map[string][]string // the members of each

// mayUse is the host's rule. A request that names a workspace is for that one alone.
func (ws workspaces) mayUse(workspace, user string, r *authorize.Request) bool {
	return slices.Contains(ws[workspace], user) && slices.Contains([]string{"", workspace}, r.Parameter("workspace"))
}

// Example (ConsentPage) has the other things that a consent page shows, and its headers.
var workspaceHTML = template.Must(template.New("workspace").Parse(`<!DOCTYPE html>
<h1>Which workspace may {{.ClientName}} read?</h1> <form method="post">
{{range .Workspaces}}<label><input type="radio" name="workspace" value="{{.}}" required> {{.}}</label>{{end}}
<button name="decision" value="allow">Yes</button> <button name="decision" value="deny">No</button></form>`))

func workspacePage(endpoint *authorize.Handler, ws workspaces) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		pending, err := endpoint.Pending(r)
		switch chosen := r.PostFormValue("workspace"); {
		case r.PostFormValue("decision") == "deny":
			endpoint.Deny(w, r)
		case err != nil:
			endpoint.ShowError(w, r, err)
		case pending.Subject == "":
			endpoint.Resume(w, r) // the signed-in user has changed
		case chosen != "": // Allow checks it
			endpoint.Grant(w, r, authorize.Granted{Scopes: pending.Request.Scopes, Data: []byte(chosen)})
		default:
			mine := slices.DeleteFunc(slices.Sorted(maps.Keys(ws)), func(workspace string) bool {
				return !ws.mayUse(workspace, pending.Subject, pending.Request)
			})
			fmt.Print("one of ", mine, ": ")
			workspaceHTML.Execute(w, map[string]any{"ClientName": pending.ClientName, "Workspaces": mine})
		}
	}
}

// The user chooses a workspace on the consent page. The choice comes back with the code.
func Example_workspace() {
	const issuer, callback = "https://accounts.example", "https://reader.example/callback"
	ws := workspaces{"acme": {"alice", "bob"}, "globex": {"alice"}}
	memory := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{
		{ID: "reader", Name: "Reader", RedirectURIs: []string{callback}, Scopes: []string{"read"}},
	}})
	endpoint, err := authorize.New(authorize.Config{
		Issuer: issuer, Clients: memory, Codes: memory, Login: authorize.LoginURL("/login"),
		Sessions: authorize.SessionFunc(func(*http.Request) (*session.Session, error) {
			return &session.Session{ID: "1", Subject: "alice", AuthTime: time.Now()}, nil
		}),
		Parameters: []string{"workspace"}, // for a device that belongs to one
		Allow: func(_ context.Context, s *session.Session, r *authorize.Request) (bool, error) {
			return r.GrantData == nil || ws.mayUse(string(r.GrantData), s.Subject, r), nil // nil: nothing is chosen yet
		},
		// Who has left the workspace is asked again. Without Covers, Allow would refuse them for ever.
		Consent: &authorize.Consent{Page: "/consent", Store: memory, Covers: func(
			_ context.Context, c *authorize.ConsentRecord, r *authorize.Request) (bool, error) {
			return ws.mayUse(string(c.Data), c.Subject, r), nil
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/authorize", endpoint)
	mux.Handle("/consent", http.NewCrossOriginProtection().Handler(workspacePage(endpoint, ws)))
	browser := authorizetest.NewBrowser()
	browser.Handle(issuer, mux)
	reader := authorizetest.Client{Issuer: issuer, ID: "reader", RedirectURI: callback, Scopes: []string{"read"}}
	ask := func(named, choice, left string) {
		flow := reader.Start(url.Values{"workspace": {named}})
		page, err := browser.Open(flow.URL)
		if err == nil && !page.Left {
			delete(ws, left) // alice leaves it while the page is open
			page, err = page.Submit(url.Values{"workspace": {choice}}, "Yes")
		}
		if err != nil {
			log.Fatal(err)
		}
		if code, err := flow.Check(page.Request); err != nil {
			fmt.Println(err)
		} else if record, err := endpoint.Redeem(context.Background(), flow.Redemption(code)); err == nil {
			fmt.Println("a code for", string(record.GrantData)) // keep it with the tokens
		}
	}
	ask("", "acme", "")
	ask("", "", "") // remembered
	ask("globex", "globex", "globex")
	ask("", "acme", "") // globex is what was chosen last, and counts no more
	// Output:
	// one of [acme globex]: a code for acme
	// a code for acme
	// one of [globex]: access_denied: The server's rules refused the request.
	// one of [acme]: a code for acme
}
