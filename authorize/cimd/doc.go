// Package cimd lets clients introduce themselves by the address of a document: a client_id
// is an https URL, and what is registered stands there as JSON
// (draft-ietf-oauth-client-id-metadata-document). A [Store] is put in front of the host's own
// [authorize.ClientStore], which stays as it is:
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
// Consent has to be configured, because such clients are Unvetted: nobody of the host has
// looked at them, and the user is asked.
//
// # Who is asked
//
// The host's own store first. If it has a client under the URL, that client counts and
// nothing is fetched; so a document can be pinned, and a client can be given more than the
// others. An error of the host's store is an error. An id that is no https URL is never
// fetched. A URL needs a path, and may have neither a fragment, user information nor dot
// segments (also written as %2e). Its host is in lower case without a dot at the end.
// A port may be there; a query too, though the draft advises against it. Where the issuer
// is http on loopback, for development, http on loopback is taken as well.
//
// [Config].Allow is then asked at every use, also where nothing is fetched. So a domain that
// the host blocks is refused at once, at the token endpoint as well.
//
// # What is fetched, and when
//
// A document is fetched only where [authorize.MayFetch] says so: while the endpoint answers
// a navigation or a request that it has signed. Everywhere else the document counts that is
// at hand, if there is one. That is so for the pages of the host, in
// Handler.Explain and at a token endpoint. Otherwise [authorize.ErrClientNotFetched] says
// that there is none.
//
// A token endpoint that asks this store sees one of these: the client, which is Public;
// ErrClientNotFetched, where it takes the client_id for a public client, which the code or
// the refresh token has to name; an error with the code invalid_client for one that is not
// allowed; or an error of the host's own store or hook. It never waits for another server.
//
// # How it is fetched
//
// With one GET, without cookies, proxy of the environment, compression or connections that
// are kept. Redirects are not followed. The connection is made to an address that was
// checked: special-use and private addresses are refused after the name was resolved, IPv4
// inside of IPv6 too, and so is a name that has one of them beside others. Loopback is
// allowed for an issuer on loopback only. TLS is 1.2 or later, certificates are verified.
// These limits are fixed: 5,120 bytes of document, 16 KB of header, 2 fetches at a time from
// one host, 4 addresses of a name. [Config] has those that can be changed. Requests for the
// same document share one fetch, which goes on if the first one leaves.
//
// # What is in a document
//
// The status is 200, the content type application/json or one that ends in +json. client_id
// is the URL, byte for byte. redirect_uris are under the rules of
// [authorize.CheckRedirectURI]; one that cannot be used is left out and told in the event,
// and one at least has to be left. A redirect URI of another host is allowed, and told in
// the event. http on loopback may have any port in a request. Schemes of apps are
// those of [Config].AppSchemes.
//
// Only clients without a secret are supported so far: "none" has to be in
// token_endpoint_auth_methods_supported, from which the server chooses (OpenID Connect
// Relying Party Metadata Choices 1.0), or, without that list, token_endpoint_auth_method is
// "none" or absent. A document with client_secret or client_secret_expires_at, or with a
// method that needs a secret, is invalid. So is one that allows private_key_jwt only.
// grant_types and response_types need authorization_code and code among them, if they are
// there. What is unknown is ignored; scope, logo_uri and other addresses are never used.
//
// # How long it counts
//
// As long as the headers of HTTP say, within [Config].MinAge and MaxAge; a document that says
// nothing, one hour. Of one with no-store, MinAge. A document that has been at hand stays so
// for the pages of requests in progress, for at most 24 hours, with no-store one hour.
//
// If its host cannot be reached, answers 429 or 5xx, or 403 with a page or a header that
// challenges robots, the last document serves for [Config].StaleFor more, except one with
// no-store. Every such use is an event. Any other response ends it: the document has gone, or
// has become one that cannot be used.
//
// What failed is not tried again at once: 10 seconds later, and if a host stays away, up to
// 5 minutes later. Of one host, 10 addresses that have no usable document are tried a
// minute. Until then the last error is the answer. Who may send how many requests is still a
// matter of the host's own rate limits, in front of the endpoint.
//
// Everything is in memory and bounded by [Config].MaxDocuments; each process has its own.
//
// # What the host sees
//
// The client is Public, Unvetted, and its name has no control characters nor those that
// change the direction of text. Show the host of the URL first: the name is what the client
// calls itself. Revision changes with redirect URIs and keys, so that remembered consent
// counts only while they stay as they are.
package cimd
