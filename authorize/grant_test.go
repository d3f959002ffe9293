package authorize

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/session"
)

// What the user decides on the consent page beside the scopes, and what is remembered of it.

func allowIn(workspaces ...string) func(*site) {
	return func(s *site) {
		s.config.Allow = func(_ context.Context, _ *session.Session, r *Request) (bool, error) {
			return r.GrantData == nil || slices.Contains(workspaces, string(r.GrantData)), nil
		}
	}
}

func inWorkspace(name string, scopes ...string) Granted {
	return Granted{Scopes: scopes, Data: []byte(name)}
}

func TestWhatTheUserDecidesBesideTheScopesIsInTheCode(t *testing.T) {
	s := newSite(t, withConsent, allowIn("acme"))
	v := s.visitor(alice())
	got := v.follow(v.allow(v.get(ask()).want("consent"), inWorkspace("acme", "openid"))).want("code")
	code, err := s.redeem(got.params["code"], nil)
	if err != nil || string(code.GrantData) != "acme" {
		t.Errorf("the data of the code is %q, %v", code.GrantData, err)
	}
	v.follow(v.allow(v.get(ask()).want("consent"), inWorkspace("other", "openid"))).
		want("client access_denied", "a workspace that Allow does not know")
}

func TestTheDataOfAGrantHasALimit(t *testing.T) {
	for _, c := range []struct {
		name   string
		length int
		want   string
	}{{"just in", 512, "code"}, {"just out", 513, "page Service Unavailable server_error"}} {
		t.Run(c.name, func(t *testing.T) {
			v := newSite(t, withConsent).visitor(alice())
			at := v.get(ask()).want("consent")
			v.follow(v.allow(at, Granted{Scopes: []string{"openid"}, Data: bytes.Repeat([]byte{0xff}, c.length)})).want(c.want)
		})
	}
}

func TestConsentWithDataCountsWhereCoversSaysSo(t *testing.T) {
	covers := func(ok bool, err error) func(*site) {
		return func(s *site) {
			s.config.Consent.Covers = func(_ context.Context, c *ConsentRecord, r *Request) (bool, error) {
				if string(c.Data) != "acme" || r.ClientID != "web" || r.GrantData != nil {
					return false, errors.New("not what was stored")
				}
				c.Data[0] = 'x' // a copy
				return ok, err
			}
		}
	}
	late := func(s *site) {
		s.config.Timeout = impatient
		s.config.Consent.Covers = func(ctx context.Context, _ *ConsentRecord, _ *Request) (bool, error) {
			<-ctx.Done()
			return true, nil
		}
	}
	for _, c := range []struct {
		name   string
		change func(*site)
		want   string
	}{
		{"nil: the user is asked", func(*site) {}, "consent"},
		{"it does not", covers(false, nil), "consent"},
		{"it does", covers(true, nil), "code"},
		{"it fails", covers(true, errors.New("down")), "client server_error"},
		{"it is late", late, "client temporarily_unavailable"},
		{"it does, and the user has left the workspace", func(s *site) { covers(true, nil)(s); allowIn()(s) }, "client access_denied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, withConsent, c.change)
			err := s.memory.SaveConsent(t.Context(), &ConsentRecord{Subject: "alice", ClientID: "web", Scopes: []string{"openid"}, Data: []byte("acme")})
			if err != nil {
				t.Fatal(err)
			}
			got := s.visitor(alice()).get(ask()).want(c.want)
			if c.want != "code" {
				return
			}
			code, err := s.redeem(got.params["code"], nil)
			if err != nil || string(code.GrantData) != "acme" {
				t.Errorf("the data of the code is %q, %v", code.GrantData, err)
			}
		})
	}
}

func TestScopesOfOneWorkspaceAreNotThoseOfAnother(t *testing.T) {
	s := newSite(t, withConsent)
	v := s.visitor(alice())
	v.follow(v.allow(v.get(ask("scope=openid+api:write")).want("consent"), inWorkspace("acme", "openid", "api:write"))).want("code")
	v.follow(v.allow(v.get(ask()).want("consent"), inWorkspace("other", "openid"))).want("code")
	kept, _ := s.memory.FindConsent(t.Context(), "alice", "web")
	if !slices.Equal(kept.Scopes, []string{"openid"}) || string(kept.Data) != "other" {
		t.Errorf("the record is %+v, want nothing of the first workspace in it", kept)
	}
}

func TestARefusedScopeIsNotAskedForAgain(t *testing.T) {
	for _, c := range []struct {
		name, ask, want string
		scopes          string // of the code
	}{
		{"the same request", "scope=openid+profile+email", "code", "openid email"},
		{"a part of it", "scope=openid+profile", "code", "openid"},
		{"prompt=none", "scope=openid+profile&prompt=none", "code", "openid"},
		{"prompt=consent", "scope=openid+profile&prompt=consent", "consent", ""},
		{"something new beside it", "scope=openid+profile+api:read", "consent", ""},
		{"nothing would be left", "scope=profile", "consent", ""},
		{"nothing would be left, and no page may be shown", "scope=profile&prompt=none", "client consent_required", ""},
		{"a claim that it would have released", "scope=openid+profile&claims=%7B%22userinfo%22:%7B%22nickname%22:null%7D%7D", "code", "openid"},
		{"a claim that it would have released, without it", "scope=openid&claims=%7B%22userinfo%22:%7B%22nickname%22:null%7D%7D", "consent", ""},
		{"another claim", "scope=openid+profile&claims=%7B%22userinfo%22:%7B%22phone_number%22:null%7D%7D", "consent", ""},
		{"an explicit yes forgets it", "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, withConsent)
			v := s.visitor(alice())
			first := v.get(ask("scope=openid+profile+email")).want("consent")
			v.grant(first, "openid", "email").want("code", "the first")
			if c.ask == "" {
				v.grant(v.get(ask("scope=openid+profile", "prompt=consent")).want("consent"), "openid", "profile").want("code")
				v.get(ask("scope=openid+profile+email")).want("code")
				if got := s.lastEvent().Scopes; len(got) != 3 {
					t.Errorf("the code is for %v, want all three", got)
				}
				return
			}
			got := v.get(ask(strings.Split(c.ask, "&")...)).want(c.want)
			if c.want != "code" {
				return
			}
			code, err := s.redeem(got.params["code"], nil)
			if err != nil || strings.Join(code.Scopes, " ") != c.scopes || code.Claims != nil {
				t.Errorf("the code is for %v and %s, %v, want %q", code.Scopes, code.Claims, err, c.scopes)
			}
		})
	}
	t.Run("what was left out is reported", func(t *testing.T) {
		s := newSite(t, withConsent)
		v := s.visitor(alice())
		v.grant(v.get(ask("scope=openid+profile")).want("consent"), "openid").want("code")
		v.get(ask("scope=openid+profile")).want("code")
		if e := s.lastEvent(); !slices.Equal(e.LeftOut, []string{"profile"}) || !slices.Equal(e.Scopes, []string{"openid"}) {
			t.Errorf("left out is %v of a code for %v", e.LeftOut, e.Scopes)
		}
	})
	t.Run("a first-party client gets what it asks for", func(t *testing.T) {
		s := newSite(t, withConsent)
		v := s.visitor(alice())
		v.grant(v.get(ask("client_id=own", "scope=openid+profile", "prompt=consent")).want("consent"), "openid").want("code")
		v.get(ask("client_id=own", "scope=openid+profile")).want("code")
		if got := s.lastEvent().Scopes; len(got) != 2 {
			t.Errorf("the code is for %v", got)
		}
	})
}

func TestAGrantHasOneIDFromTheCodeToTheReplay(t *testing.T) {
	s := newSite(t)
	got := s.visitor(alice()).get(ask()).want("code")
	id := s.lastEvent().GrantID
	if len(id) != 22 || strings.Contains(got.location, id) {
		t.Fatalf("the GrantID is %q", id)
	}
	code, err := s.redeem(got.params["code"], nil)
	if err != nil || code.GrantID != id || s.lastEvent().GrantID != id {
		t.Errorf("redeemed as %q, reported as %q, want %q, %v", code.GrantID, s.lastEvent().GrantID, id, err)
	}
	_, err = s.redeem(got.params["code"], nil)
	replay := (*ReplayError)(nil)
	if !errors.As(err, &replay) || replay.Code.GrantID != id || s.lastEvent().GrantID != id {
		t.Errorf("a replay is %v, reported as %q, want %q", err, s.lastEvent().GrantID, id)
	}
	s.visitor(alice()).get(ask()).want("code")
	if s.lastEvent().GrantID == id {
		t.Error("another code has the same GrantID")
	}
}
