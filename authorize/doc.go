// Package authorize is the authorization endpoint of OAuth 2.0, OAuth 2.1 and OpenID
// Connect as one [http.Handler]. The program that mounts it is called the host. The host
// has users, sessions and a login page of its own. Other applications, the clients, sign
// users in through this endpoint.
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
// The login page signs the user in as before and then calls [Handler.Resume]. The host's
// token endpoint calls [Handler.Redeem]. Only these five fields are required. [Config] says
// what each other field means when it is zero.
//
// # Sessions
//
// The endpoint asks [SessionStore] who is signed in. Most hosts need only [SessionFunc]: a
// short function around the sessions that they already have. Middleware that loads a
// session into the request, such as LoadAndSave of alexedwards/scs, must wrap the endpoint
// too. A host without sessions uses session.NewCookies of the package session beside this
// one. The Example of [SessionFunc] shows three kinds of sessions.
//
// Set Session.AuthTime to the time at which the user last proved who they are: prompt=login
// and max_age are decided by it. Set Session.ID to a hash of your session's id, never to
// the cookie itself. It must stay the same until the next sign-in. You can revoke codes and
// tokens by it. Give your session cookie SameSite=Lax. With Strict, a browser does not send
// the cookie when the user comes from the client's site, and users have to enter their
// password every time.
//
// # Login page
//
// A request that needs the user waits in the browser: it is a signed JWT in the parameter
// req. The endpoint opens the login page with req in the query. The page keeps req there; a
// form without an action does that. When the user has signed in, the page calls
// [Handler.Resume]. Its button "Cancel" calls [Handler.Deny]. [Handler.Pending] tells the
// page which client asks and why the user is there. The Example (LoginPage) is a complete
// login page.
//
// Most hosts need only this. A login page in another process, under the same host name,
// reads req with [PendingReader] and the public keys that [Handler.PendingKeysHandler]
// serves. A page that cannot verify signatures posts req to [Handler.PendingHandler] and
// reads JSON. Both pages send the browser to Pending.ResumeURL or Pending.DenyURL, and
// share the session store with the endpoint's process. A page on another domain cannot set
// a cookie for the endpoint's host name. It passes the sign-in on by its own means, such as
// a one-time ticket, to a page under the endpoint's host name, which sets the cookie and
// calls Resume. Bind the ticket to the browser that asked for it. Otherwise an attacker can
// sign a victim in to the attacker's account.
//
// A user who comes back without a sign-in sees the login page again, twice at most. A user
// who comes back without the new sign-in that the client asked for sees it once more. After
// that the client gets login_required. A new sign-in as another user than the client asked
// for is login_required at once.
//
// Wrap the page in [http.CrossOriginProtection], so that another site cannot sign a visitor
// in as somebody else. Send the page with Referrer-Policy same-origin. Leave form-action
// out of its Content-Security-Policy: with it, Chromium silently blocks the redirect to the
// client.
//
// # Consent and other pages
//
// [Consent] asks the user to agree. Its page shows the client's name, the scopes and where
// the response goes, and ends with [Handler.Grant] or [Handler.Deny]. A [ConsentStore]
// remembers what the user agreed to, and lets the user see and revoke it. When a request
// asks for more, the user is asked again. The Example (ConsentPage) is a complete consent
// page.
//
// Every other page that a user has to pass is an [Interaction]. It has a name, a function
// that says whether it is needed, and the URL of its page. The page ends with
// [Handler.Complete]. An interaction with the Prompt "select_account" lets the user choose
// an account, and comes before consent. All others come after consent. A consent page or
// another such page handles the user's refusal first, with Deny. Then it compares the
// signed-in user with Pending.Subject and calls Resume if they differ, because another
// account may be active by now. The Example (AccountChoice) has several accounts in one
// browser.
//
// [Config].Allow is the host's access policy, and [Config].CheckRequest holds its own rules
// for requests. In a test, [Handler.Explain] shows how these and all other rules judge a
// request. Its Example is such a test.
//
// # What the user decides beside scopes
//
// A consent page can ask for more than scopes, such as the workspace that the client may
// read. It passes the choice to [Handler.Grant] as [Granted].Data. [Config].Allow finds it
// in Request.GrantData each time and says whether the user may still choose it, and
// Code.GrantData has it at redemption. Consent.Covers says whether remembered consent with
// that data counts for a new request. The Example (Workspace) shows all of it.
//
// # Native apps
//
// An app on the user's machine is Public and has a redirect URI on loopback, with a scheme
// of its own, or an https URL that it claims. Any other program there can take the first
// two. For these the user is asked each time, even with a ConsentStore (RFC 8252 §8.6).
// Client.ReturnPage leads back to an app with a scheme by a page with a link. The Example
// (NativeApps) has four registrations.
//
// # Clients that nobody registered
//
// Two packages put such clients in front of the host's own ClientStore. In package cimd the
// client_id is the URL of a document, and in package dcr a client registers by itself. Both
// are off until the host wires them, in this order:
//
//	registered, err := dcr.New(dcr.Config{Clients: own, Issuer: issuer, Keys: keys, Scopes: open})
//	clients, err := cimd.New(cimd.Config{Clients: registered, Issuer: issuer, Scopes: open})
//	metadata := endpoint.MetadataHandler(registered.Metadata(), clients.Metadata())
//
// [Config].Clients is then clients, and registered is mounted at /register. Such clients are
// Unvetted: [Config].Consent has to be set. Each package has an Example.
//
// # Errors
//
// Until the client is known and its redirect URI is proven, an error is shown to the user
// on a page, because there is no safe place to send it. After that, an error goes to the
// client. No flag decides this: only the proof creates the value that a response is sent
// with. A client that is Unvetted gets an error only after the user has dealt with it.
// Before that, the error is a page with a link.
//
// Most hosts need only the built-in page. [Config].ErrorPage writes a page in the host's
// style. [Config].ErrorURL sends the browser to a page of the host. [ErrorJSON] is for
// endpoints that only programs use. Each of them gets a [Reason] from a closed set. When a
// call to this package fails, a page of the host shows the error with [Handler.ShowError].
// The Example (ErrorPage) is a complete error page.
//
// Mistakes of the developer are reported by [New] or [CheckClient], which name the field,
// or in the log, with the field and how to fix it.
//
// # Token endpoint
//
// The token endpoint belongs to the host, because the tokens do. It authenticates the
// client, calls [Handler.Redeem] and issues tokens of its choice for the [Code] that it
// gets. Redeem checks client, redirect URI, expiry and PKCE before it takes the code, so a
// failed redemption does not use the code up. The second redemption of a code is a
// [ReplayError]: revoke what was issued for the code. The package tokenendpoint does all of
// this except for the tokens.
//
// # Resources
//
// [Config].Resources are the APIs and MCP servers that take the host's tokens. A client
// names some by the parameter resource, Code.Resources has them, and the access token is for
// them alone. The API itself serves [Handler.ResourceMetadataHandler] and refuses requests
// with [Resource.Challenge]: so a client finds this endpoint, and learns which scopes to ask
// for. The Example of Challenge does so, with a step-up to another scope.
//
// # Metadata
//
// [Handler.MetadataHandler] serves the documents of RFC 8414 and OpenID Connect Discovery
// from the running configuration, so that they always match the behaviour. Mount it at each
// of [Handler.MetadataPaths]. The host adds what only it knows, such as token_endpoint and
// jwks_uri. [CORS] is for documents and endpoints that scripts of other origins read, never
// for the authorization endpoint. The Example of MetadataHandler shows both.
//
// # Mounting and proxies
//
// Mount the handler at its exact path and for all methods: "/authorize". A subtree pattern
// ("/authorize/") makes net/http redirect with status 307. The pattern "GET /authorize"
// blocks POST, which OpenID Connect requires. [Config].Endpoint is the URL that browsers
// see, with every prefix. The endpoint builds nothing from the Host header or X-Forwarded
// headers, so a proxy needs no other setting. A proxy that is written with
// [net/http/httputil.ReverseProxy] and Rewrite must set p.Out.URL.RawQuery =
// p.In.URL.RawQuery. Otherwise it changes a malformed query on its way.
//
// Do not wrap the endpoint in CrossOriginProtection: its purpose is to receive requests
// from other sites. Set the timeouts of the http.Server: [Config].Timeout limits the calls
// to the host's stores, but not a browser that sends slowly. This package has no rate
// limit: put one on the login page and on the token endpoint. A request from a browser in
// which nobody is signed in stores nothing; it costs one client lookup and one signature.
//
// # Stores
//
// These rules hold for every interface of the host: [ClientStore], [SessionStore],
// [CodeStore], [ConsentStore] and [LoginRedirector]:
//
//   - Nothing found is nil and a nil error. An error means that the store could not answer;
//     then nothing is approved.
//   - An error reaches the client as server_error. An error that wraps
//     [context.DeadlineExceeded], a [net.Error] or oautherr.TemporarilyUnavailable reaches
//     it as temporarily_unavailable. The text of the error goes to the log only.
//   - The context carries the request's deadline. When the context is done, a store stops
//     and returns the context's error.
//   - Methods are called from many goroutines at once. Neither side changes a value after
//     it has passed it on, so a store keeps copies and returns copies.
//   - A store of bytes keeps the output of MarshalBinary: see [Code.MarshalBinary]. The
//     format is the same in every release. The Example (Store) is such a store.
//   - The endpoint checks again everything that a store returns. It looks a client up once
//     in each request, and so does each call of Pending, Complete and Grant. A ClientStore
//     that asks another server should have a cache.
//
// Most hosts need only [Memory], or the packages sqlstore and redisstore beside this one.
// The package authorizetest tests a store of your own against its contract.
//
// # Replicas
//
// A waiting request is in the browser, so any replica can continue it. Replicas share
// [Config].Issuer, [Config].Endpoint, [Config].Keys and all stores, including the session
// store. To change keys, first add the new key in second place on every replica. Then move
// it to first place on every replica, and keep the old key for PendingLifetime. The Example
// (Replicas) does so.
//
// # Logs
//
// [Config].Logger gets a line for each response, and warnings about what the host should
// fix. [Config].OnEvent gets the same as an [Event], for metrics, audit and traces; its
// kinds and reasons are closed sets. Neither ever contains a code, state, verifier, hint,
// cookie or full URL. A host that traces HTTP must drop the query from its spans: it
// contains codes and waiting requests.
//
// # Testing
//
// The package authorizetest has the standard cases of a sign-in, which run over a host's
// own pages. It also has a client and a browser for all other cases, and the tests for
// stores. [Handler.Explain] says rule by rule what the endpoint would do with a request,
// without a browser and without side effects.
//
// # When it does not work
//
// Begin with [Handler.Explain]. Give it the query of the client's authorization URL, and a
// session, or nil for nobody. It says rule by rule what holds, and what the endpoint would
// do. The program examples/provider shows it as a page if it is started with the flag
// -explain. Then read the line in the log. A client that gets invalid_request left out a
// parameter or sent it twice, sent no PKCE or only half of it, or named a response mode
// that it may not use. The most frequent texts in the log:
//
//   - `redirect_uri is not registered: it has a "/" at the end of its path` and similar
//     texts name the difference from the nearest registered URI. Register exactly what the
//     client sends, byte for byte. For any port on loopback, register the URI without a
//     port.
//   - "a user came back from the login page, and the SessionStore finds nobody": the
//     session was not saved before [Handler.Resume], its cookie is SameSite=Strict, or the
//     cookie was set for another host or path.
//   - "the client leaves PKCE out: switch PKCE on in the client, or set
//     Client.PKCEOptional": many libraries support PKCE but need a setting for it. A public
//     client must use PKCE.
//   - "no new sign-in": the request asks for a new sign-in, and the time that the line
//     names did not change. Set Session.AuthTime at every sign-in.
//   - "is not among Config.Scopes", "is not among the client's Scopes": register the scope, or
//     set [Config].IgnoreUnknownScopes.
//
// # How a request is processed
//
// A request goes through these files from top to bottom. The method answer in authorize.go
// lists the stages. The value that they pass on is in visit.go.
//
//	params.go     read the query or the body (body.go), strictly and only once; open a request
//	              that comes back from a page; find out where the parameters come from
//	client.go     find the client, and prove where the response may go
//	validate.go   one table of rules, each with its section; checks.go has the longer ones
//	host.go       ask the host who is signed in, and what else is needed; turn its errors
//	              into errors of the response
//	decide.go     decide, without side effects: the sign-in first, then the rest
//	issue.go      issue a code
//	respond.go    write the response: all responses are written here
//
// The host's token endpoint enters through redeem.go.
//
// A request that comes back from a page is checked again from the beginning, with the
// session as it is then. Earlier decisions and completed pages count only if a cookie shows
// that this browser started the request. Without the cookie the request starts anew, as if
// the browser had followed the client's own URL.
//
// # Compatibility
//
// Versions follow Semantic Versioning. Until 1.0 a minor version may change names and
// behaviour; the changelog says for each change what to do. A patch version does not change
// them. From 1.0 on, a minor version may add fields, methods of structs, error texts, log
// lines, values of [Reason] and [EventKind], and rules that refuse what is unsafe. It does
// not remove or rename an exported name, change the meaning of a zero value, add a method
// to an interface of the host, or refuse to read a record or a waiting request that the
// previous version wrote.
package authorize
