package interop

import (
	"net/url"
	"testing"

	"github.com/usher-auth/usher/authorize/authorizetest"
)

// person is alice with a browser without scripts. The browser can reach only the provider, so
// it stops at a redirect to a client.
type person struct {
	t       *testing.T
	browser *authorizetest.Browser
	logins  int  // how often she was asked for her password
	asked   int  // how often she was asked for consent
	denies  bool // her answer on the consent page
}

func newPerson(t *testing.T, issuer string) *person {
	browser := authorizetest.NewBrowser()
	browser.Connect(issuer, nil)
	return &person{t: t, browser: browser}
}

func (p *person) open(target string) *authorizetest.Page {
	p.t.Helper()
	page, err := p.browser.Open(target)
	if err != nil {
		p.t.Fatal(err)
	}
	return page
}

// answer opens an authorization URL and completes the pages, until the provider redirects the
// browser to a client. It returns the URL of the redirect.
func (p *person) answer(target string) *url.URL {
	p.t.Helper()
	page := p.open(target)
	for range 5 {
		if page.Left {
			return page.URL
		}
		if len(page.Forms) != 1 {
			break
		}
		var err error
		switch form := page.Forms[0]; {
		case form.Fields.Has("username"):
			p.logins++
			page, err = form.Submit(url.Values{"username": {alice.Username}, "password": {alice.Password}})
		case p.denies:
			p.asked++
			page, err = form.Submit(nil, "deny")
		default:
			p.asked++
			page, err = form.Submit(nil, "allow")
		}
		if err != nil {
			p.t.Fatal(err)
		}
	}
	p.t.Fatalf("neither an answer nor a page that a person could do something with:\n%s", page)
	return nil
}
