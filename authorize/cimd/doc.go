// Package cimd lets clients introduce themselves: a client_id is the https URL of a JSON
// document that says what would otherwise be registered
// (draft-ietf-oauth-client-id-metadata-document). A [Store] stands in front of the host's own
// [authorize.ClientStore]:
//
//	clients, err := cimd.New(cimd.Config{
//		Issuer:        "https://accounts.example",
//		Clients:       hostStore,
//		Scopes:        []string{"notes:read", "notes:write"},
//		DefaultScopes: []string{"notes:read"},
//	})
//	...
//	endpoint, err := authorize.New(authorize.Config{
//		Clients: clients,
//		Consent: &authorize.Consent{Page: "/consent", Store: consents},
//		...
//	})
//	mux.Handle("/.well-known/oauth-authorization-server", endpoint.MetadataHandler(clients.Metadata()))
//
// Nobody of the host has looked at such clients, so they are Unvetted: the user is always
// asked, and Consent has to be configured. Show the host of the client_id first on the page;
// Client.Name is only what the client calls itself. It has no control characters, and none
// that are invisible or change the direction of text. Consent is remembered while redirect
// URIs and keys of the document stay as they are (Client.Revision).
//
// # Who is asked
//
// The host's own store comes first. A URL that is registered there is never fetched: so a
// document can be pinned, or a client be given more than others. An error there is an error.
//
// Then the client_id has to be an https URL with a path and without fragment, user
// information and dot segments, encoded ones too. Its host is in lower case and has no dot
// at its end. What no redirect URI may have in it, it may not have either. Any other id is
// unknown. Where the issuer is http on loopback, for development, http on loopback may be
// fetched as well.
//
// [Config].Allow is asked at every use, also where nothing is fetched, so a domain that is
// blocked is blocked at once.
//
// # When a document is fetched
//
// Only where [authorize.MayFetch] says so, which is while the endpoint answers a navigation
// or a request that it has signed. Everywhere else, such as on the pages of the host and in
// Handler.Explain, the document counts that is at hand.
//
// A token endpoint that asks the store never waits for another server. It sees one of four
// things: a client, which is Public; [authorize.ErrClientNotFetched] where no document is at
// hand, and takes the client_id for a public client then, which the code or the refresh token
// has to name; an error with the code invalid_client, if the rules for URLs or Allow refuse
// it; or another error, if the host's own store or Allow fails. Its metadata must have "none" among
// token_endpoint_auth_methods_supported, because some clients look for it.
//
// # How it is fetched
//
// By one GET with HTTP/1.1 and TLS 1.2 or later, without cookies, redirects, compression,
// a proxy of the environment and connections that are kept. The name is resolved first, and
// what was checked is what is connected to. Special-use and private addresses are refused,
// also as IPv4 inside of IPv6, and so is a name that has one of them. Loopback is for an issuer
// on loopback alone. The limits that [Config] does not have: 5,120 bytes of document, 16 KB of
// header, 4 addresses of a name, 2 fetches at the same time from one host and port. All who
// ask for a document at the same time share one fetch.
//
// # What is in it
//
// The response is 200 and application/json, or another type of application that ends in
// +json. client_id is the URL, byte for byte. Of redirect_uris, at least one can be used: see
// [authorize.CheckRedirectURI], with the schemes of [Config].AppSchemes. Those that cannot are
// left out, and are in the event; so are the hosts of those on other hosts than the document.
// http on loopback may have any port in a request.
//
// Only clients without a secret are supported so far. "none" is in
// token_endpoint_auth_methods_supported, of which the server may choose (OpenID Connect
// Relying Party Metadata Choices 1.0), or is the token_endpoint_auth_method, or neither is
// there. A document is invalid if it has client_secret, client_secret_expires_at, a method that
// needs a secret, or private_key_jwt alone. If there are grant_types and response_types,
// authorization_code and code are among them. What is unknown is ignored. The scopes of all
// such clients are those of [Config]; logos and other addresses are never used.
//
// # How long it counts
//
// As its HTTP headers say, within MinAge and MaxAge of [Config], and one hour if they say
// nothing. With no-store it is MinAge, since a sign-in takes more than one request. Where
// nothing may be fetched it stays at hand for 24 hours more, with no-store for one hour.
//
// If its host cannot be reached or answers 429, 5xx or 403 with a challenge for robots (a page,
// or a header that says so), the last document serves for [Config].StaleFor longer, and never
// if it had no-store. Each such use is an event. Every other response ends it.
//
// A fetch that failed is repeated after 10 seconds at the earliest, and of a host that
// stays away after up to 5 minutes. Of one host and port, 30 addresses without a document are
// tried a minute. Until then the last error is the answer, with Retry-After. How often one
// visitor may ask is for the host's own rate limits, in front of the endpoint. They matter:
// somebody with many domains can use up MaxFetches by servers that do not answer, and push
// documents of others out by documents of their own.
//
// All of this is in memory and bounded by [Config].MaxDocuments. Each process has its own: a
// page of the host that asks about a request (Handler.Pending) needs the process that fetched
// the document, and is 503 in one that has none. So with several processes let each visitor
// stay with one of them.
package cimd
