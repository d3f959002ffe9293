package main

import (
	"net/url"
	"testing"

	"github.com/usher-auth/usher/authorize/authorizetest"
)

func TestHost(t *testing.T) {
	authorizetest.TestHost(t, authorizetest.Host{
		Client: authorizetest.Client{Issuer: start(), ID: "demo", RedirectURI: start() + "/", Scopes: []string{"openid"}},
		Open: func(_ *testing.T, browser *authorizetest.Browser) {
			browser.Connect(start(), nil)
		},
		SignIn: func(page *authorizetest.Page) (*authorizetest.Page, error) {
			return page.Submit(alice)
		},
		WrongPassword: func(page *authorizetest.Page) (*authorizetest.Page, error) {
			return page.Submit(url.Values{"username": {"alice"}, "password": {"wrong"}})
		},
		Cancel: func(page *authorizetest.Page) (*authorizetest.Page, error) {
			return page.Submit(url.Values{}, "Cancel")
		},
	})
}
