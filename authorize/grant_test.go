package authorize

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	oautherr "github.com/usher-auth/usher/errors"
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

// Who has left the workspace can choose another one.
func TestAskedForConsentTheUserChoosesAnew(t *testing.T) {
	s := newSite(t, withConsent, allowIn("other"), func(s *site) {
		s.config.Consent.Covers = func(context.Context, *ConsentRecord, *Request) (bool, error) { return true, nil }
	})
	err := s.memory.SaveConsent(t.Context(), &ConsentRecord{Subject: "alice", ClientID: "web", Scopes: []string{"openid"}, Data: []byte("acme")})
	if err != nil {
		t.Fatal(err)
	}
	v := s.visitor(alice())
	v.get(ask()).want("client access_denied", "what is remembered is not allowed any more")
	v.follow(v.allow(v.get(ask("prompt=consent")).want("consent"), inWorkspace("other", "openid"))).want("code")
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

// offline_access alone is nothing: who refused the rest is asked.
func TestOfflineAccessIsNotLeftAlone(t *testing.T) {
	for _, c := range []struct {
		name    string
		offline bool // Client.OfflineAccess
		prompt  string
		want    string
	}{
		{"granted by the host", true, "", "consent"},
		{"granted by the host, and no page may be shown", true, "prompt=none", "client consent_required"},
		{"granted by the user, and no page may be shown", false, "prompt=none", "client consent_required"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, withConsent)
			client := *s.memory.clients["web"]
			client.OfflineAccess = c.offline
			s.memory.PutClient(client)
			v := s.visitor(alice())
			v.grant(v.get(ask("scope=openid+profile")).want("consent"), "profile").want("code")
			v.get(ask("scope=openid+offline_access", c.prompt)).want(c.want)
		})
	}
}

// Consent is to what the page has shown, and to what is still so.
func TestConsentIsToTheRevisionThatWasShown(t *testing.T) {
	change := func(s *site, revision string) {
		client := *s.memory.clients["web"]
		client.Revision = revision
		s.memory.PutClient(client)
	}
	for name, store := range map[string]ConsentStore{"remembered": NewMemory(MemoryConfig{}), "not remembered": nil} {
		t.Run(name+", changed on the page", func(t *testing.T) {
			s := newSite(t, consentIn(store))
			v := s.visitor(alice())
			change(s, "one")
			at := v.get(ask()).want("consent")
			change(s, "two")
			again := v.grant(at, "openid").want("consent", "the click was for revision one")
			v.grant(again, "openid").want("code")
		})
		t.Run(name+", changed on a later page", func(t *testing.T) {
			s := newSite(t, consentIn(store), withTerms)
			v := s.visitor(bob())
			change(s, "one")
			at := v.grant(v.get(ask()).want("consent"), "openid").want("terms")
			change(s, "two")
			v.complete(at, "terms").want("consent")
		})
	}
}

func TestAWorkspaceThatWasRevokedMeanwhileIsInNoCode(t *testing.T) {
	s := newSite(t, withConsent, withTerms)
	v := s.visitor(alice())
	first := v.follow(v.allow(v.get(ask()).want("consent"), inWorkspace("acme", "openid"))).want("terms")
	s.memory.DeleteConsent(t.Context(), "alice", "web")
	v.follow(v.allow(v.get(ask()).want("consent"), inWorkspace("other", "openid"))).want("terms")
	v.complete(first, "terms").want("consent")
}

func TestARefusalStaysThroughOtherRequests(t *testing.T) {
	v := newSite(t, withConsent).visitor(alice())
	v.grant(v.get(ask("scope=openid+profile")).want("consent"), "openid").want("code")
	v.grant(v.get(ask("scope=openid+email")).want("consent"), "openid", "email").want("code")
	v.get(ask("scope=openid+profile")).want("code", "profile was refused before the second request")
}

func TestCoversIsAskedOnlyAboutData(t *testing.T) {
	s := newSite(t, withConsent, func(s *site) {
		s.config.Consent.Covers = func(_ context.Context, c *ConsentRecord, _ *Request) (bool, error) {
			t.Errorf("asked about %+v", c)
			return false, nil
		}
	})
	v := s.visitor(alice())
	v.grant(v.get(ask()).want("consent", "nothing is stored"), "openid").want("code")
	v.get(ask()).want("code", "what is stored has no data")
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

// What a consent page shows of the client. The client_id is the key, because it is a fact too.
func TestFactsOfTheClient(t *testing.T) {
	for _, c := range []struct {
		name     string
		client   Client
		redirect string
		want     ClientFacts
	}{
		{"registered", Client{ID: "a", Name: "A", RedirectURIs: []string{"https://a.example/cb"}}, "https://a.example/cb",
			ClientFacts{ClientName: "A", RedirectHost: "a.example"}},
		{"without a name", Client{ID: "a", RedirectURIs: []string{"https://a.example/cb"}}, "https://a.example/cb",
			ClientFacts{ClientName: "a", RedirectHost: "a.example"}},
		{"of the host's own", Client{ID: "a", FirstParty: true, RedirectURIs: []string{"https://a.example/cb"}}, "https://a.example/cb",
			ClientFacts{ClientName: "a", FirstParty: true, RedirectHost: "a.example"}},
		{"self-described", Client{ID: "https://a.example/client", Name: "A", Unvetted: true, FirstParty: true, RedirectURIs: []string{"https://a.example/cb"}}, "https://a.example/cb",
			ClientFacts{ClientName: "A", ClientHost: "a.example", SelfDescribed: true, RedirectHost: "a.example"}},
		{"with a redirect URI of another host", Client{ID: "https://a.example/client", Name: "A", Unvetted: true, RedirectURIs: []string{"https://a.example/cb", "https://b.example/cb"}}, "https://b.example/cb",
			ClientFacts{ClientName: "A", ClientHost: "a.example", SelfDescribed: true, RedirectHost: "b.example", RedirectDiffers: true}},
		{"on another port of its host", Client{ID: "https://a.example/client", Name: "A", Unvetted: true, RedirectURIs: []string{"https://A.example:8443/cb"}}, "https://A.example:8443/cb",
			ClientFacts{ClientName: "A", ClientHost: "a.example", SelfDescribed: true, RedirectHost: "A.example:8443"}},
		{"on loopback only", Client{ID: "https://a.example/client", Name: "A", Public: true, RedirectURIs: []string{"http://127.0.0.1/cb", "http://localhost/cb"}}, "http://127.0.0.1:8080/cb",
			ClientFacts{ClientName: "A", ClientHost: "a.example", LoopbackOnly: true, RedirectHost: "127.0.0.1:8080", RedirectDiffers: true}},
		{"with a scheme that has localhost behind it", Client{ID: "a", Public: true, PrivateUseSchemes: []string{"cursor"}, RedirectURIs: []string{"cursor://localhost/cb"}}, "cursor://localhost/cb",
			ClientFacts{ClientName: "a", RedirectHost: "cursor:"}},
		{"on loopback and elsewhere", Client{ID: "a", Public: true, RedirectURIs: []string{"http://127.0.0.1/cb", "https://a.example/cb"}}, "http://127.0.0.1/cb",
			ClientFacts{ClientName: "a", RedirectHost: "127.0.0.1"}},
		{"with an app scheme", Client{ID: "a", Public: true, RedirectURIs: []string{"com.example.app:/cb"}}, "com.example.app:/cb",
			ClientFacts{ClientName: "a", RedirectHost: "com.example.app:"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, withConsent)
			c.client.Scopes = allScopes
			s.memory.PutClient(c.client)
			v := s.visitor(alice())
			at := v.get(ask("client_id="+url.QueryEscape(c.client.ID), "redirect_uri="+url.QueryEscape(c.redirect), "prompt=consent")).want("consent")
			p, err := v.pending(at)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, p.ClientFacts); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestFactsOfWhatWasGrantedBefore(t *testing.T) {
	for _, c := range []struct {
		name             string
		do               func(s *site, v *visitor)
		subject          string
		granted, renewed []string
	}{
		{"the sign-in that was sent", func(*site, *visitor) {}, "alice", []string{"openid"}, []string{"profile"}},
		{"another user", func(_ *site, v *visitor) { v.session = bob() }, "", nil, []string{"openid", "profile"}},
		{"another sign-in of the same user", func(s *site, v *visitor) { v.session = s.signIn("alice") }, "", nil, []string{"openid", "profile"}},
		{"nobody any more", func(_ *site, v *visitor) { v.session = nil }, "", nil, []string{"openid", "profile"}},
		{"another browser of the same session", func(_ *site, v *visitor) { clear(v.cookies) }, "", nil, []string{"openid", "profile"}},
		{"revoked meanwhile", func(s *site, _ *visitor) { s.memory.DeleteConsent(context.Background(), "alice", "web") }, "alice", nil, []string{"openid", "profile"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, withConsent, withResources(testResources))
			v := s.visitor(alice())
			v.grant(v.get(ask("resource=https://api.example")).want("consent"), "openid").want("code")
			at := v.get(ask("scope=openid+profile", "resource=https://API.EXAMPLE/")).want("consent")
			c.do(s, v)
			p, err := v.pending(at)
			if err != nil {
				t.Fatal(err)
			}
			if p.Subject != c.subject {
				t.Errorf("the account is %q, want %q", p.Subject, c.subject)
			}
			if diff := cmp.Diff([][]string{c.granted, c.renewed}, [][]string{p.GrantedScopes, p.NewScopes}, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("granted before, and new: (-want +got)\n%s", diff)
			}
			want := []Resource{testResources["https://API.example/"]}
			want[0].ID = "https://API.example/"
			if diff := cmp.Diff(want, p.Resources); diff != "" {
				t.Errorf("the resources are (-want +got)\n%s", diff)
			}
		})
	}
	t.Run("claims beyond the scopes, once each", func(t *testing.T) {
		v := newSite(t, withConsent).visitor(alice())
		at := v.get(ask("claims=" + url.QueryEscape(`{"id_token":{"nickname":null,"email":null},"userinfo":{"email":null}}`))).want("consent")
		p, err := v.pending(at)
		if err != nil || !slices.Equal(p.ClaimsBeyondScopes, []string{"email", "nickname"}) {
			t.Errorf("the claims are %q, %v", p.ClaimsBeyondScopes, err)
		}
	})
	t.Run("a store that fails", func(t *testing.T) {
		store := &consentStub{}
		s := newSite(t, consentIn(store))
		v := s.visitor(alice())
		at := v.get(ask()).want("consent")
		store.findErr = errors.New("down")
		if _, err := v.pending(at); !errors.Is(err, oautherr.ServerError) {
			t.Errorf("Pending says %v", err)
		}
	})
	t.Run("a resource that is gone, and two spellings of one", func(t *testing.T) {
		gone := false
		s := newSite(t, withConsent, withResources(ResourceFunc(func(ctx context.Context, c *Client, id string) (*Resource, error) {
			if gone && id == "urn:api" {
				return nil, nil
			}
			return testResources.Resource(ctx, c, id)
		})))
		v := s.visitor(alice())
		at := v.get(ask("resource=https://api.example", "+resource=urn:api", "+resource=HTTPS://api.example/")).want("consent")
		gone = true
		p, err := v.pending(at)
		if err != nil || len(p.Resources) != 1 || !slices.Equal(p.Request.Resources, []string{"https://API.example/"}) {
			t.Errorf("the resources are %v, %v", p.Resources, err)
		}
	})
	t.Run("a page in another process learns nothing of the user", func(t *testing.T) {
		s := newSite(t, withConsent, withResources(testResources))
		v := s.visitor(alice())
		v.grant(v.get(ask()).want("consent"), "openid").want("code")
		at := v.get(ask("scope=openid+profile", "resource=https://api.example")).want("consent")
		w := httptest.NewRecorder()
		s.handler.PendingHandler().ServeHTTP(w, formPost("/", "req="+url.QueryEscape(at.req)))
		var got map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		want := []any{map[string]any{"resource": "https://API.example/", "resource_name": "The API"}}
		if diff := cmp.Diff(want, got["resources"]); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if got["redirect_host"] != "app.example" || strings.Contains(w.Body.String(), "alice") {
			t.Errorf("%s", w.Body)
		}
	})
}
