package authorize_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"net/http"
	"net/url"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	"github.com/usher-auth/usher/session"
)

// shared are the stores. A real program uses a database or Redis in place of memory.
type shared struct {
	store    *authorize.Memory
	sessions session.Store
}

type replica struct {
	endpoint *authorize.Handler
	sessions *session.Cookies
}

func newReplica(of shared, keys ...authorize.Key) *replica {
	sessions, err := session.NewCookies(session.Config{Store: of.sessions})
	if err != nil {
		log.Fatal(err)
	}
	endpoint, err := authorize.New(authorize.Config{
		Issuer: "https://accounts.example", Clients: of.store, Codes: of.store,
		Sessions: sessions, Login: authorize.LoginURL("/login"), Keys: keys,
	})
	if err != nil {
		log.Fatal(err)
	}
	return &replica{endpoint, sessions}
}

// ServeHTTP stands for the routes of the program. Example (LoginPage) is a complete login
// page.
func (p *replica) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/authorize":
		p.endpoint.ServeHTTP(w, r)
	case r.Method == http.MethodGet:
		fmt.Fprint(w, `<!DOCTYPE html><form method="post"><input name="username"></form>`)
	default:
		if _, err := p.sessions.SignIn(w, r, session.Session{Subject: r.PostFormValue("username")}); err != nil {
			p.endpoint.ShowError(w, r, err)
			return
		}
		p.endpoint.Resume(w, r)
	}
}

// A sign-in begins at one replica, continues at another and ends at the first, while the
// keys change. The replicas share the issuer, the keys and all stores.
func Example_replicas() {
	wiki := authorizetest.Client{
		Issuer: "https://accounts.example", ID: "wiki", RedirectURI: "https://wiki.example/callback",
		Scopes: []string{"openid"},
	}
	all := shared{sessions: session.NewMemory(session.MemoryConfig{}), store: authorize.NewMemory(authorize.MemoryConfig{
		Clients: []authorize.Client{{ID: wiki.ID, RedirectURIs: []string{wiki.RedirectURI}, Scopes: wiki.Scopes}},
	})}
	before, after := authorize.Key{ID: "old", Secret: make([]byte, 32)}, authorize.Key{ID: "new", Secret: make([]byte, 32)}
	rand.Read(before.Secret)
	rand.Read(after.Secret)

	signIn := func(one, other *replica) error {
		var answers http.Handler = one
		browser := authorizetest.NewBrowser()
		browser.Handle(wiki.Issuer, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answers.ServeHTTP(w, r)
		}))
		flow := wiki.Start()
		page, err := browser.Open(flow.URL)
		if err != nil {
			return err
		}
		answers = other // signs the user in, opens the request that the first replica signed, issues the code
		if page, err = page.Submit(url.Values{"username": {"alice"}}); err != nil {
			return err
		}
		code, err := flow.Check(page.Request)
		if err != nil {
			return err
		}
		_, err = one.endpoint.Redeem(context.Background(), flow.Redemption(code))
		return err
	}
	for _, keys := range [][2][]authorize.Key{
		{{before}, {before}},
		{{before, after}, {before}},        // first, every replica gets the new key
		{{after, before}, {before, after}}, // then the new key signs
		{{after}, {after, before}},         // the old key is removed after PendingLifetime
		{{after, before}, {before}},        // wrong: the new key signs, but one replica does not have it
	} {
		fmt.Println(keys[0], keys[1], signIn(newReplica(all, keys[0]...), newReplica(all, keys[1]...)))
	}
	// Output:
	// [key old] [key old] <nil>
	// [key old key new] [key old] <nil>
	// [key new key old] [key old key new] <nil>
	// [key new] [key new key old] <nil>
	// [key new key old] [key old] this is not the redirect URI https://wiki.example/callback but https://accounts.example/authorize?req=…
}
