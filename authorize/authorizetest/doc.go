// Package authorizetest is the kit for the tests of programs that mount the
// authorization endpoint, and of stores that they write for it. It has three
// parts.
//
// [Client] sends authorization requests as a careful client does and checks the
// answers as one must. [Browser] keeps cookies, follows redirects and fills in
// forms; it drives an [http.Handler] under any host name without a socket, or a
// real server. Together they are a whole sign-in:
//
//	browser := authorizetest.NewBrowser()
//	browser.Handle("https://accounts.example", mux) // the program under test
//
//	client := authorizetest.Client{
//		Issuer:      "https://accounts.example",
//		ID:          "wiki",
//		RedirectURI: "https://wiki.example/callback",
//		Scopes:      []string{"openid"},
//	}
//	flow := client.Start()
//	page, err := browser.Open(flow.URL) // the login page
//	...
//	page, err = page.Submit(url.Values{"username": {"alice"}, "password": {"secret"}})
//	...
//	code, err := flow.Check(page.Request) // what the browser takes to wiki.example
//	...
//	record, err := endpoint.Redeem(ctx, flow.Redemption(code))
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
// The third part is for authors of stores: [TestClientStore], [TestCodeStore],
// [TestConsentStore] and [TestSessionStore] hold a store to its contract.
//
//	func TestCodes(t *testing.T) {
//		authorizetest.TestCodeStore(t, func(t *testing.T) authorize.CodeStore {
//			return openStore(t)
//		})
//	}
//
// The package is for tests only: it trusts what it is pointed at.
package authorizetest
