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
// authorize.go lists the stages, and visit.go has the value that they pass on.
//
//	params.go     read the query or the body, strictly and once; open a request that
//	              comes back from a page; settle where the parameters come from
//	client.go     find the client, and prove where the answer may go
//	validate.go   one table of rules, each with its section
//	host.go       ask the host who is signed in, and what else is needed
//	decide.go     decide: pure, the sign-in first and then the rest
//	issue.go      issue a code; redeem it
//	respond.go    the one writer of all answers
//
// Around them: authorize.go has [Config], config.go what [New] checks, store.go the
// interfaces that a host implements, request.go and code.go the values that pass through,
// claims.go the claims parameter and consentclaims.go what of it needs consent. waiting.go
// is the request while it waits for the user, browser.go the cookie that ties it to its
// browser, pending.go what a host's pages call, interaction.go what such pages are for,
// reader.go and pendinghandler.go how login pages in other processes read one. explain.go goes
// the same way without side effects. reason.go has every [Reason] and the texts of error
// pages, errorpage.go, metadata.go and cors.go what their names say, event.go what is
// logged and reported, memory.go stores for a start, binary.go how records are written.
// consent.go is optional, as its nil field in [Config] says, and so is outofband.go, by an
// empty field in [Client]: answers to programs without a browser.
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
// parameter req. Nothing is stored for visitors who are not signed in. On its return it
// is checked again from the beginning, and the session as it is then decides. What was
// decided and completed for it counts only where a cookie says that this browser began
// it; without the cookie it begins anew, as by the client's own URL.
package authorize
