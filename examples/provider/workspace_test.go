package main

import (
	"net/url"
	"strings"
	"testing"

	oautherr "github.com/usher-auth/usher/errors"
)

const withWorkspaces = `{
	"clients": [{"id": "web", "secret": "web s3cret:%+é", "redirect_uris": ["https://web.example/cb"],
		"scopes": ["openid", "offline_access"]}],
	"users": [{"username": "alice", "password": "alice-password", "workspaces": ["acme", "<other>"]}]
}`

func TestTheUserChoosesAWorkspace(t *testing.T) {
	p := newProviderOf(t, []byte(withWorkspaces), testIssuer, false)
	p.signInAs("alice")
	change := func(to ...string) {
		u := p.server.users["alice"]
		u.workspaces = to
		p.server.users["alice"] = u
	}
	offline := url.Values{"scope": {"openid offline_access"}}

	flow, page := p.begins("web", "Allow access?", offline)
	if strings.Contains(page.Body, "<other>") {
		t.Error("the name of a workspace is not escaped")
	}
	code := p.expect(flow, nil)(page.Submit(url.Values{"workspace": {"<other>"}}, "Allow"))
	first := p.redeem(flow, code)
	if first.json["workspace"] != "<other>" {
		t.Errorf("the response is %v", first.json)
	}

	t.Run("the choice is remembered", func(t *testing.T) {
		p := p.in(t)
		flow := p.client("web").Start(offline)
		code := p.expect(flow, nil)(p.browser.Open(flow.URL))
		if a := p.redeem(flow, code); a.json["workspace"] != "<other>" {
			t.Errorf("the response is %v", a.json)
		}
	})
	refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first.json["refresh_token"].(string)}}
	t.Run("a refresh stays in it", func(t *testing.T) {
		p := p.in(t)
		if a := p.tokenRequest(refresh, auth["web"]); a.json["workspace"] != "<other>" {
			t.Errorf("the response is %v", a.json)
		}
	})
	t.Run("another one needs a choice", func(t *testing.T) {
		p := p.in(t)
		_, page := p.begins("web", "Allow access?", url.Values{"prompt": {"consent"}})
		page.Forms[0].Fields.Set("workspace", "a workspace of others")
		p.page(page.Forms[0].Submit(nil, "Allow"))("Allow access?")
		flow, page := p.begins("web", "Allow access?", url.Values{"prompt": {"consent"}})
		code := p.expect(flow, nil)(page.Submit(url.Values{"workspace": {"acme"}}, "Allow"))
		if a := p.redeem(flow, code); a.json["workspace"] != "acme" {
			t.Errorf("the response is %v", a.json)
		}
	})
	t.Run("who has left it is asked again, and gets no more tokens", func(t *testing.T) {
		p := p.in(t)
		change("<other>")
		p.begins("web", "Allow access?")
		change("acme")
		if a := p.tokenRequest(refresh, auth["web"]); a.json["error"] != string(oautherr.InvalidGrant) {
			t.Errorf("refreshed: %v", a.json)
		}
	})
}
