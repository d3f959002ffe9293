// Package authorize is the authorization endpoint of OAuth 2.0, OAuth 2.1 and OpenID
// Connect as one [http.Handler]. The program that mounts it is called the host: it has
// users, sessions and a login page of its own, and other software, the clients, signs in
// with its users through this endpoint.
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
// The login page signs the user in as it always did and then calls [Handler.Resume]. The
// host's token endpoint calls [Handler.Redeem]. These five fields are the ones that have
// to be set; [Config] says what the others mean when they are zero.
//
// # Sessions
//
// The endpoint asks who is signed in through [SessionStore]. Most hosts need only
// [SessionFunc] with a function of a few lines around the sessions that they have. Whatever
// loads a session into the request, such as LoadAndSave of alexedwards/scs, has to be around
// the endpoint too. A host
// without sessions uses session.NewCookies of the package session beside this one. The
// Example of [SessionFunc] has three kinds of sessions.
//
// Set Session.AuthTime to the time at which the user last proved who they are: prompt=login
// and max_age are decided by it. Set Session.ID to a hash of the id of your session, never
// to the cookie itself; it stays the same until the next sign-in. With it you can revoke by
// session. The cookie of your session needs SameSite=Lax: with Strict a browser leaves it
// out when the user comes from the client's site, and every user is asked for the password
// each time.
//
// # Login page
//
// A request that needs the user waits in the browser, as a signed JWT in the parameter req.
// The login page is opened with req in its query and keeps it there, as an empty form
// action does. When the user has signed in, it calls [Handler.Resume]; the button "Cancel"
// calls [Handler.Deny]. [Handler.Pending] tells the page who asks and why the user is there.
// The Example (LoginPage) is a whole login page.
//
// Most hosts need only this. A page in another process, on the same host, reads req with
// [PendingReader] and the public keys that [Handler.PendingKeysHandler] serves. One that
// cannot verify signatures posts req to [Handler.PendingHandler] and reads JSON. Both send
// the browser to Pending.ResumeURL or Pending.DenyURL, and share the session's store with
// the endpoint's process. A page on another domain cannot set a cookie for the endpoint's
// host: it hands the sign-in over in the host's own way, such as a ticket that counts once,
// and the endpoint's host sets the cookie and calls Resume. Bind the ticket to the browser
// that asked for it, or somebody can sign a victim in as themselves.
//
// A user who comes back without a sign-in sees the login page once or twice more. Who comes
// back as another user than the client asked for, or without the new sign-in that it asked
// for, is login_required for the client.
//
// Wrap the page in [http.CrossOriginProtection], so that no other site can sign a visitor
// in as somebody else. Send it with Referrer-Policy same-origin, and without form-action in
// its Content-Security-Policy: Chromium would stop the redirect to the client and say
// nothing.
//
// # Consent and other pages
//
// [Consent] asks the user to agree. Its page shows the client's name, where the response
// goes and the scopes, and ends with [Handler.Grant] or [Handler.Deny]. What was agreed to
// is remembered in a [ConsentStore], where the user can see and revoke it. A request for
// more asks again. The Example (ConsentPage) is a whole consent page.
//
// Every other page that a user has to pass is an [Interaction]: a name, whether it is
// needed, and where its page is. It ends with [Handler.Complete]. One with the Prompt
// "select_account" is for choosing among several accounts, and comes before consent; the
// others come after it. Such a page takes the user's no first, with Deny. Then it compares
// who is signed in with Pending.Subject and calls Resume if they differ: another account
// may be active by now. The Example (AccountChoice) has several accounts in one browser.
//
// [Config].Allow is the host's access policy, and [Config].CheckRequest the host's own rules
// for requests. [Handler.Explain] tells in a test what they and all other rules do with a
// request; its Example is such a test.
//
// # Errors
//
// Until a client is known and its redirect URI is proven, an error is a page for the user,
// because there is nowhere else to send it. From then on it goes to the client. Which of
// the two it is follows from a value that only the proof can make, not from a flag. A
// client that is Unvetted gets an error only once the user has dealt with it; until then it
// is a page with a link.
//
// Most hosts need only the page that is built in. [Config].ErrorPage writes one in the
// host's style; [Config].ErrorURL sends the browser to a page of the host; [ErrorJSON] is for
// endpoints that only programs use. Each gets a [Reason] out of a closed set. Pages of the
// host show a failed call of this package with [Handler.ShowError]. The Example (ErrorPage)
// is a whole error page.
//
// What a developer does wrong is found by [New] or [CheckClient], which name the field, or
// is in the log with the field and the way to mend it.
//
// # Token endpoint
//
// It is the host's, because tokens are. It authenticates the client, calls [Handler.Redeem]
// and issues what it likes for the [Code] that it gets. Redeem checks client, redirect URI,
// expiry and PKCE before it takes the code, so a wrong redemption does not use it up. The
// second redemption of a code is a [ReplayError]: revoke what was issued for it. The package
// tokenendpoint beside this one is all of that but the tokens.
//
// # Metadata
//
// [Handler.MetadataHandler] serves the documents of RFC 8414 and OpenID Connect Discovery
// from the running configuration, so that what they say is what is done. What only the host
// knows, such as token_endpoint and jwks_uri, it adds. [CORS] is for the documents and
// endpoints that scripts of other origins read, never for the authorization endpoint. The
// Example of MetadataHandler has both, and the addresses.
//
// # Mounting and proxies
//
// Mount the handler at its exact path and for all methods: "/authorize". A subtree pattern
// ("/authorize/") makes net/http redirect with status 307, and the pattern "GET /authorize"
// hides POST, which OpenID Connect demands. [Config].Endpoint is the URL that browsers see,
// with every prefix. Nothing is made from the Host header or from X-Forwarded headers, so a
// proxy needs nothing else. One that is written with [net/http/httputil.ReverseProxy] and
// Rewrite sets p.Out.URL.RawQuery = p.In.URL.RawQuery, or a malformed query is changed on
// its way.
//
// Wrap the endpoint in no CrossOriginProtection: requests of other sites are what it is for.
// Set the timeouts of the http.Server: [Config].Timeout bounds the calls to the host's
// stores, not a browser that sends slowly. There is no rate limit in this package: put one
// on the login page and on the token endpoint. A request of somebody who is not signed in
// stores nothing; it costs one client lookup and one signature.
//
// # Stores
//
// What holds for every interface of the host, [ClientStore], [SessionStore], [CodeStore],
// [ConsentStore] and [LoginRedirector]:
//
//   - Nothing found is nil and a nil error. An error means that the store could not say,
//     and then nothing is approved.
//   - An error reaches the client as server_error. One that wraps
//     [context.DeadlineExceeded], a [net.Error] or oautherr.TemporarilyUnavailable reaches
//     it as temporarily_unavailable. The text of the error goes to the log only.
//   - The context carries the request's deadline. A store stops when it is done and returns
//     its error.
//   - Methods are called from many goroutines at once. Values are handed over: neither side
//     changes one afterwards, so a store that keeps one keeps a copy.
//   - A store that keeps bytes keeps what MarshalBinary gives: see [Code.MarshalBinary]. The
//     form is the same in every release, and the Example (Store) is such a store.
//   - What a store returns is checked again. The endpoint looks a client up once in
//     each request, and so does each call of Pending, Complete and Grant: a ClientStore that
//     asks another server should have a cache.
//
// Most hosts need only [Memory], or the packages sqlstore and redisstore beside this one. A
// store of one's own is held to its contract by the package authorizetest.
//
// # Replicas
//
// A request that waits is in the browser, so any replica can go on with it. Replicas share
// [Config].Issuer, [Config].Endpoint, [Config].Keys and all stores, that of the sessions too.
// To change keys, put the new one second on every replica, then first, and keep the old one
// for PendingLifetime. The Example (Replicas) does so.
//
// # Logs
//
// [Config].Logger gets a line for each response, and warnings about what the host should
// mend. [Config].OnEvent gets the same as an [Event], whose kinds and reasons are closed
// sets, for metrics, audit and traces. Neither ever holds a code, state, verifier, hint,
// cookie or full URL. A host that traces HTTP drops the query from its spans: codes and
// waiting requests are there.
//
// # Testing
//
// The package authorizetest has the standard cases of a sign-in, to run over a host's own
// pages, a client and a browser for all other cases, and the tests for stores.
// [Handler.Explain] says rule by rule what the endpoint would do with a request, without a
// browser and without side effects.
//
// # When it does not work
//
// Begin with [Handler.Explain]: give it the query of the client's authorization URL, and nil
// for nobody or a session. It says rule by rule what holds, and what the endpoint would do.
// The program examples/provider has it as a page: start it with the flag -explain. Then read
// the line of the log. A client that gets invalid_request has left out a parameter or sent
// one twice, has no PKCE or half of it, or asks for a response mode that is not open to it.
// What the log says most often:
//
//   - `redirect_uri is not registered: it has a "/" at the end of its path` and its like
//     name the difference to the registered URI that comes nearest. Register what the client
//     sends, byte for byte. For a port on loopback register the URI without one.
//   - "a user came back from the login page, and the SessionStore finds nobody": the session
//     was not saved before [Handler.Resume], its cookie is SameSite=Strict, or it was set for
//     another host or path.
//   - "the client leaves PKCE out: switch PKCE on in the client, or set Client.PKCEOptional":
//     a library that can do PKCE often needs one setting for it. A public client has to.
//   - "no new sign-in": the request asks for a new one, and the time that the line names did
//     not move. Set Session.AuthTime at every sign-in.
//   - "is not among Config.Scopes", "is not among the client's Scopes": register the scope, or
//     set [Config].IgnoreUnknownScopes.
//
// # The request's way
//
// A request goes through these files from top to bottom; the method answer in authorize.go
// lists the stages, and visit.go has the value that they pass on.
//
//	params.go     read the query or the body (body.go), strictly and once; open a request
//	              that comes back from a page; settle where the parameters come from
//	client.go     find the client, and prove where the response may go
//	validate.go   one table of rules, each with its section; checks.go has the longer ones
//	host.go       ask the host who is signed in, and what else is needed; what becomes of
//	              its errors
//	decide.go     decide: pure, the sign-in first and then the rest
//	issue.go      issue a code
//	respond.go    the one writer of all responses
//
// The token endpoint comes in by redeem.go.
//
// A request that comes back from a page is checked again from the beginning, and the session
// as it is then decides. What was decided and completed for it counts only where a cookie
// says that this browser began it; without the cookie it begins anew, as by the client's own
// URL.
//
// # Compatibility
//
// Versions follow Semantic Versioning. Until 1.0 a minor version may change names and
// behaviour, and the changelog says for each change what to do; a patch does not. From 1.0
// on, a minor version may add fields, methods of structs, error texts, log lines, values of
// [Reason] and [EventKind], and rules that refuse what is unsafe. It does not remove or rename
// what is exported, change what a zero value means, add a method to an interface of the
// host, or refuse to read a record or a waiting request that the version before it has
// written.
package authorize
