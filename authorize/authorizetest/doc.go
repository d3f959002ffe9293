// Package authorizetest is the kit for the tests of programs that mount the
// authorization endpoint, which are called hosts, and of stores that they write for it.
//
// # Hosts
//
// [TestHost] runs the standard cases of a sign-in over a host's own handlers, as users and
// clients see them: its login page, its consent page, its token endpoint. Where the host does
// something wrong, the subtest with the name of the rule says what. The host says where it is
// and how its pages are filled in:
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
//			Cancel: func(page *authorizetest.Page) (*authorizetest.Page, error) {
//				return page.Submit(nil, "Cancel")
//			},
//		})
//	}
//
// Everything else about a host is tested with the parts that follow.
//
// # Client and browser
//
// [Client] sends authorization requests as a careful client does and checks the
// answers as one must. [Browser] keeps cookies, follows redirects and fills in
// forms; it drives an [http.Handler] under any host name without a socket, or a
// real server. Together they are a whole sign-in:
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
//	code, err := flow.Check(page.Request) // what the browser takes to wiki.example
//	...
//	tokens, err := flow.Exchange(mux, code)
//
// wiki.example needs no handler: the browser stops where it would leave the sites
// that it knows, and Page.Left says so. An answer that is an error is found with
// errors.Is(err, oautherr.LoginRequired). [Flow.Expect] wants one answer or the other, and
// ends the test where it is not there. To say no, to tick fewer scopes or to
// tamper with a form:
//
//	page, err = page.Submit(nil, "Deny")
//	page, err = page.Submit(url.Values{"scope": {"openid"}}, "Allow")
//	page.Forms[0].Fields.Set("csrf", "forged")
//
// To arrive as most users do, from a page of the client's own site, where browsers
// leave out some cookies:
//
//	page, err := browser.OpenFrom("https://wiki.example/", flow.URL)
//	page, err := browser.PostFrom("https://wiki.example/", flow.Endpoint, flow.Params)
//
// # Token endpoint
//
// [Flow.Exchange] takes the code to the host's token endpoint and holds the answer to RFC 6749
// §5. Its changes make the redemptions that must fail. A host without a token endpoint calls
// Redeem with [Flow.Redemption].
//
//	_, err = flow.Exchange(mux, code, url.Values{"code_verifier": {pkce.NewVerifier()}})
//	errors.Is(err, oautherr.InvalidGrant)
//	record, err := endpoint.Redeem(ctx, flow.Redemption(code))
//
// # Messages and logs
//
// Errors of this package, [Page] and [Flow] can be printed: they say req=… for a waiting
// request, and … too for a code, state, verifier or token in an address or a form. [Logger]
// brings the log of the endpoint into the output of the test:
//
//	config.Logger = authorizetest.Logger(t)
//
// # Stores
//
// [TestClientStore], [TestCodeStore], [TestConsentStore] and [TestSessionStore] hold a store to
// its contract.
//
//	func TestCodes(t *testing.T) {
//		authorizetest.TestCodeStore(t, func(t *testing.T) authorize.CodeStore {
//			return openStore(t)
//		})
//	}
//
// The package is for tests only: it trusts what it is pointed at.
package authorizetest
