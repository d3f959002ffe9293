// Package authorize is the authorization endpoint of OAuth 2.0, OAuth 2.1 and
// OpenID Connect as one [http.Handler] for programs that have users, sessions and a
// login page of their own.
//
//	memory := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{{
//		ID:           "wiki",
//		Name:         "The wiki",
//		RedirectURIs: []string{"https://wiki.example/callback"},
//		Scopes:       []string{"openid", "profile"},
//	}}})
//	endpoint, err := authorize.New(authorize.Config{
//		Issuer:   "https://accounts.example",
//		Clients:  memory,
//		Codes:    memory,
//		Sessions: authorize.SessionFunc(whoIsSignedIn),
//		Login:    authorize.LoginURL("/login"),
//	})
//	...
//	mux.Handle("/authorize", endpoint)
//
// The login page signs the user in as it always did and then calls
// [Handler.Resume]. The token endpoint calls [Handler.Redeem].
//
// # The request's way
//
// A request goes through these files from top to bottom; the method answer in
// authorize.go lists the steps.
//
//	params.go     1  read the query or the body, strictly and once, into a Request
//	pending.go       if it comes back from a page: open what was sealed
//	client.go     2  identify the client and prove where the answer may go
//	validate.go   3  a table of checks, each with its RFC
//	interaction.go   ask the host who is signed in and what else is to be done
//	decide.go     4  decide: a pure function, exported for the tests of hosts
//	issue.go      5  issue a code; redeem it
//	respond.go    6  the one writer of all answers
//
// Around them: authorize.go has [Config], config.go what [New] checks, store.go the
// interfaces that a host implements, request.go the values that pass through, claims.go
// the claims parameter, browser.go the cookie that ties a waiting request to its
// browser, reader.go and introspect.go how login pages in other processes read one,
// reason.go every [Reason] and the texts of error pages, errorpage.go and metadata.go
// what their names say, event.go what is logged and reported, memory.go stores for a
// start. consent.go is optional, as its nil field in [Config] says, and so is json.go,
// by an empty field in [Client]: answers to programs without a browser.
//
// # Where errors go
//
// Until a client is known and its redirect URI is proven, an error is a page for
// the user. From then on it goes to the client. Whichever it is follows from a
// value that only the proof can make, not from a flag.
//
// # Across the login
//
// A request that needs the user waits in the browser: as a signed JWT in the
// parameter req, tied to the browser by a cookie. Nothing is stored for visitors
// who are not signed in. On its return it is checked again from the beginning, and
// the session as it is then decides.
package authorize
