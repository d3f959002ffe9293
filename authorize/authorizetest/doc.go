// Package authorizetest helps to test programs that mount the authorization endpoint, which
// are called hosts, and the stores that they write for it.
//
// # Hosts
//
// [TestHost] runs the standard cases of a sign-in against a host's own handlers, as users and
// clients see them: its login page, its consent page, its token endpoint. Each rule is a
// subtest, which fails if the host breaks the rule. A [Host] says where the program is and how
// to fill in its pages:
//
//	func TestSignIn(t *testing.T) {
//		authorizetest.TestHost(t, authorizetest.Host{
//			Client: client, // see below
//			Open: func(t *testing.T, browser *authorizetest.Browser) {
//				browser.Handle("https://accounts.example", newMux(t)) // the program under test
//			},
//			SignIn: func(page *authorizetest.Page) (*authorizetest.Page, error) {
//				return page.Submit(url.Values{"username": {"alice"}, "password": {"secret"}})
//			},
//		})
//	}
//
// Each further field adds rules, such as Host.Agree for the consent page and Client.TokenEndpoint
// for codes. The log of the test names the rules that are left out and the fields that add them;
// the Example of [TestHost] sets all fields.
//
// Everything else about a host is tested with the parts that follow.
//
// # Client and browser
//
// [Client] makes authorization requests and checks the responses, as a careful client
// does. [Browser] keeps cookies, follows redirects and fills in forms. It uses an
// [http.Handler] under any host name without a socket, or a real server. Together they
// run a whole sign-in:
//
//	browser := authorizetest.NewBrowser()
//	browser.Handle("https://accounts.example", mux)
//
//	client := authorizetest.Client{
//		Issuer:        "https://accounts.example",
//		ID:            "wiki",
//		RedirectURI:   "https://wiki.example/callback",
//		Scopes:        []string{"openid"},
//		TokenEndpoint: "https://accounts.example/token",
//		Secret:        "the secret of the wiki",
//	}
//	flow := client.Start()
//	page, err := browser.Open(flow.URL) // the login page
//	...
//	page, err = page.Submit(url.Values{"username": {"alice"}, "password": {"secret"}})
//	...
//	code, err := flow.Check(page.Request) // the request to wiki.example
//	...
//	tokens, err := flow.Exchange(mux, code)
//
// wiki.example needs no handler: the browser stops before it leaves the sites that it
// knows, and sets Page.Left. Use errors.Is(err, oautherr.LoginRequired) to find an error
// response. [Flow.Expect] ends the test unless the response is the expected one. To deny
// consent, to tick fewer scopes or to tamper with a form:
//
//	page, err = page.Submit(nil, "Deny")
//	page, err = page.Submit(url.Values{"scope": {"openid"}}, "Allow")
//	page.Forms[0].Fields.Set("csrf", "forged")
//
// Most users come from a page of the client's site. Browsers then leave out some cookies.
// To test this:
//
//	page, err := browser.OpenFrom("https://wiki.example/", flow.URL)
//	page, err := browser.PostFrom("https://wiki.example/", flow.Endpoint, flow.Params)
//
// # Token endpoint
//
// [Flow.Exchange] sends the code to the host's token endpoint and checks the response (RFC 6749
// §5). Pass changes to make token requests that must fail. A host without a token endpoint
// calls Redeem with [Flow.Redemption].
//
//	_, err = flow.Exchange(mux, code, url.Values{"code_verifier": {pkce.NewVerifier()}})
//	errors.Is(err, oautherr.InvalidGrant)
//	record, err := endpoint.Redeem(ctx, flow.Redemption(code))
//
// # Messages and logs
//
// Errors of this package, [Page] and [Flow] are safe to print. They have … in place of a
// pending request (req), code, state, verifier or token in an address or a form. [Logger]
// writes the log of the endpoint to the output of the test:
//
//	config.Logger = authorizetest.Logger(t)
//
// # Stores
//
// [TestClientStore], [TestCodeStore], [TestConsentStore] and [TestSessionStore] test that a
// store keeps its contract.
//
//	func TestCodes(t *testing.T) {
//		authorizetest.TestCodeStore(t, func(t *testing.T) authorize.CodeStore {
//			return openStore(t)
//		})
//	}
//
// The package is for tests only: it trusts the programs that it tests.
package authorizetest
