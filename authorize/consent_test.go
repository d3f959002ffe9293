package authorize

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/usher-auth/usher/session"
)

// remember puts a consent into the store, as from earlier.
func (s *site) remember(client string, scopes ...string) {
	s.t.Helper()
	err := s.memory.SaveConsent(context.Background(), &ConsentRecord{Subject: "alice", ClientID: client, Scopes: scopes, GrantedAt: s.now.Add(-time.Hour)})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) remembered(client string) *ConsentRecord {
	s.t.Helper()
	c, err := s.memory.FindConsent(context.Background(), "alice", client)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func TestWhenConsentIsNeeded(t *testing.T) {
	for _, c := range []struct {
		rule       string
		remembered string // scopes granted to the client before
		ask        string // changes, separated by spaces
		want       string
	}{
		{"never asked before", "", "client_id=web", "consent"},
		{"never asked before, prompt=none", "", "client_id=web prompt=none", "client consent_required"},
		{"granted before", "openid", "client_id=web", "code"},
		{"granted before, prompt=none", "openid", "client_id=web prompt=none", "code"},
		{"more was granted before", "openid profile email", "client_id=web scope=email+openid", "code"},
		{"less was granted before", "openid", "client_id=web scope=openid+profile", "consent"},
		{"less was granted before, prompt=none", "openid", "client_id=web scope=openid+profile prompt=none", "client consent_required"},
		{"granted before, prompt=consent", "openid", "client_id=web prompt=consent", "consent"},
		{"response_type=none as well", "", "client_id=web response_type=none", "consent"},
		{"response_type=none, granted before", "openid", "client_id=web response_type=none", "nothing"},
		{"a trusted client", "", "client_id=own", "code"},
		{"a trusted client, prompt=none", "", "client_id=own prompt=none", "code"},
		{"a trusted client, prompt=consent", "", "client_id=own prompt=consent", "consent"},
		{"a public client on the web", "openid", "client_id=spa", "code"},
		{"an unvetted client", "openid", "client_id=new", "code"},
		{"an unvetted client, not granted", "", "client_id=new", "consent"},

		// RFC 8252 §8.6: any program on the machine can pretend to be these, and a
		// secret is not asked for here.
		{"with a secret, on loopback", "openid", "client_id=desktop redirect_uri=http%3A%2F%2F127.0.0.1%3A5000%2Fcb", "consent"},
		{"with a secret, on loopback, without a port", "openid", "client_id=desktop redirect_uri=http%3A%2F%2F127.0.0.1%2Fcb", "consent"},
		{"with a secret, on localhost with its port", "openid", "client_id=desktop redirect_uri=http%3A%2F%2Flocalhost%3A8080%2Fcb", "consent"},
		{"with a secret, on loopback, prompt=none", "openid", "client_id=desktop redirect_uri=http%3A%2F%2F127.0.0.1%3A5000%2Fcb prompt=none", "client consent_required"},
		{"with a secret, with a private-use scheme", "openid", "client_id=desktop redirect_uri=cursor%3A%2F%2Fcb", "consent"},
		{"with a secret, with a private-use scheme, prompt=none", "openid", "client_id=desktop redirect_uri=cursor%3A%2F%2Fcb prompt=none", "client consent_required"},
		{"a public client on loopback is asked about again", "openid", "client_id=native redirect_uri=http%3A%2F%2F127.0.0.1%3A5000%2Fcb", "consent"},
		{"on loopback, prompt=none", "openid", "client_id=native redirect_uri=http%3A%2F%2F127.0.0.1%3A5000%2Fcb prompt=none", "client consent_required"},
		{"on IPv6 loopback", "openid", "client_id=native redirect_uri=http%3A%2F%2F%5B%3A%3A1%5D%3A5000%2Fcb", "consent"},
		{"with a private-use scheme", "openid", "client_id=native redirect_uri=com.example.app%3A%2Fcb", "consent"},
		{"with a private-use scheme, prompt=none", "openid", "client_id=native redirect_uri=com.example.app%3A%2Fcb prompt=none", "client consent_required"},
		{"a trusted one on loopback", "", "client_id=ownnative redirect_uri=http%3A%2F%2F127.0.0.1%3A5000%2Fcb", "code"},

		// OpenID Connect Core 1.0 §11.
		{"offline_access alone is not covered", "openid", "client_id=web scope=openid+offline_access", "consent"},
		{"offline_access with prompt=consent", "openid offline_access", "client_id=web scope=openid+offline_access prompt=consent", "consent"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withConsent)
			changes := strings.Fields(c.ask)
			if c.remembered != "" {
				s.remember(strings.TrimPrefix(changes[0], "client_id="), strings.Fields(c.remembered)...)
			}
			s.visitor(alice()).get(ask(changes...)).want(c.want)
		})
	}
}

func TestConsentOfSomeoneOrSomethingElseDoesNotCount(t *testing.T) {
	for _, c := range []struct {
		rule  string
		found *ConsentRecord
		want  string
	}{
		{"the right record", &ConsentRecord{Subject: "alice", ClientID: "web", Scopes: []string{"openid"}}, "code"},
		{"of another user", &ConsentRecord{Subject: "bob", ClientID: "web", Scopes: []string{"openid"}}, "consent"},
		{"for another client", &ConsentRecord{Subject: "alice", ClientID: "spa", Scopes: []string{"openid"}}, "consent"},
		{"of another revision of the client", &ConsentRecord{Subject: "alice", ClientID: "web", Scopes: []string{"openid"}, Revision: "2"}, "consent"},
		{"empty", &ConsentRecord{}, "consent"},
		{"none", nil, "consent"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			newSite(t, consentIn(&consentStub{found: c.found})).visitor(alice()).get(ask()).want(c.want)
		})
	}
}

// What a client says of itself may change: consent is to what was said.
func TestConsentIsAskedForAgainWhenTheRevisionChanges(t *testing.T) {
	s := newSite(t, withConsent)
	v := s.visitor(alice())
	setRevision := func(revision string) {
		client := *s.memory.clients["web"]
		client.Revision = revision
		s.memory.PutClient(client)
	}
	setRevision("one")
	v.grant(v.get(ask()).want("consent"), "openid").want("code")
	v.get(ask()).want("code", "the same revision")
	setRevision("two")
	again := v.get(ask("scope=openid+profile")).want("consent", "another revision")
	v.grant(again, "profile").want("code")
	if kept, _ := s.memory.FindConsent(t.Context(), "alice", "web"); !slices.Equal(kept.Scopes, []string{"profile"}) || kept.Revision != "two" {
		t.Errorf("the record is %+v, want nothing of the first revision in it", kept)
	}
}

// What was granted at one resource means nothing at another.
func TestConsentsAtDifferentResourcesDoNotAddUp(t *testing.T) {
	v := newSite(t, withConsent).visitor(alice())
	a, b := "+resource=https://api.example/a", "+resource=https://api.example/b"
	v.grant(v.get(ask("scope=openid", a)).want("consent", "openid at a"), "openid").want("code")
	v.grant(v.get(ask("scope=profile", b)).want("consent", "profile at b"), "profile").want("code")
	v.get(ask("scope=profile", b)).want("code", "profile at b again")
	for _, request := range [][]string{{"scope=profile", a}, {"scope=profile"}, {"scope=openid", b}, {"scope=openid+profile", a, b}} {
		v.get(ask(request...)).want("consent", strings.Join(request, " "))
	}
}

func TestConsentToResources(t *testing.T) {
	s := newSite(t, withConsent)
	v := s.visitor(alice())
	a, b := "+resource=https://api.example/a", "+resource=https://api.example/b"
	v.grant(v.get(ask(a)).want("consent", "the first time"), "openid").want("code")
	v.get(ask(a)).want("code", "the same resource")
	v.get(ask()).want("consent", "no resource")
	at := v.get(ask(a, b)).want("consent", "one more")
	v.grant(at, "openid").want("code")
	if diff := cmp.Diff([]string{"https://api.example/a", "https://api.example/b"}, s.remembered("web").Resources); diff != "" {
		t.Error(diff)
	}
	v.get(ask(a)).want("consent", "one fewer")
}

// RFC 8252 §8.6, whatever the client is, unless it is the host's own.
func TestWhereConsentMeansAnythingTheNextTime(t *testing.T) {
	public, trusted, unvetted := Client{Public: true}, Client{FirstParty: true, Public: true}, Client{FirstParty: true, Unvetted: true}
	for _, c := range []struct {
		rule   string
		client Client
		uri    string
		want   bool
	}{
		{"the web", Client{}, "https://app.example/cb", true},
		{"the web, public", public, "https://app.example/cb", true},
		{"the web, trusted and unvetted", unvetted, "https://app.example/cb", true},
		{"IPv4", Client{}, "http://127.0.0.1:5000/cb", false},
		{"IPv4, public", public, "http://127.0.0.1:5000/cb", false},
		{"IPv4, trusted", trusted, "http://127.0.0.1:5000/cb", true},
		{"IPv4, trusted and unvetted", unvetted, "http://127.0.0.1:5000/cb", false},
		{"elsewhere in 127.0.0.0/8", Client{}, "http://127.9.9.9/cb", false},
		{"IPv6", Client{}, "http://[::1]/cb", false},
		{"localhost", Client{}, "http://localhost/cb", false},
		{"below localhost", Client{}, "http://app.localhost/cb", false},
		{"https on localhost", Client{}, "https://localhost/cb", false},
		{"a scheme with a dot", Client{}, "com.example.app:/cb", false},
		{"a scheme with a dot, trusted", trusted, "com.example.app:/cb", true},
		{"a scheme that is named", Client{PrivateUseSchemes: []string{"cursor"}}, "cursor://app.example/cb", false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if got := rememberable(&Request{Client: &c.client, RedirectURI: c.uri}); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

func TestWhatIsRemembered(t *testing.T) {
	for _, c := range []struct{ rule, before, client, asked, granted, want string }{
		{"what was granted", "", "web", "openid profile", "openid profile", "openid profile"},
		{"not what was refused", "", "web", "openid profile", "openid", "openid"},
		{"what was granted before for other requests too", "email", "web", "openid profile", "openid profile", "openid profile email"},
		{"not what was granted before and is refused now", "openid profile email", "web", "openid profile", "openid", "openid email"},
		{"each once", "openid", "web", "openid", "openid", "openid"},
		{"nothing for a public client on loopback", "", "native", "openid", "openid", ""},
		{"nothing for a client with a secret on loopback", "", "desktop", "openid", "openid", ""},
		{"for a trusted client, if it asks", "", "own", "openid", "openid", "openid"},
		{"for a trusted client on loopback, if it asks", "", "ownnative", "openid", "openid", "openid"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withConsent)
			if c.before != "" {
				s.remember(c.client, strings.Fields(c.before)...)
			}
			v := s.visitor(alice())
			at := v.get(ask("client_id="+c.client, "scope="+strings.ReplaceAll(c.asked, " ", "+"), "prompt=consent")).want("consent")
			got := v.grant(at, strings.Fields(c.granted)...).want("code")
			var scopes string
			if record := s.remembered(c.client); record != nil {
				scopes = strings.Join(record.Scopes, " ")
				if record.Subject != "alice" || record.ClientID != c.client || !record.GrantedAt.Equal(s.now) || record.GrantedAt.Location() != time.UTC {
					t.Errorf("%+v", record)
				}
			}
			if scopes != c.want {
				t.Errorf("%q is remembered, want %q", scopes, c.want)
			}
			code, err := s.memory.FindCode(context.Background(), hash(testIssuer+" "+got.params["code"]))
			if err != nil || strings.Join(code.Scopes, " ") != c.granted {
				t.Errorf("the code is for %q, %v", code.Scopes, err)
			}
		})
	}
}

// OpenID Connect Core 1.0 §11: an OpenID request gets offline_access if the user has agreed
// to it by name, the client is the host's own, or the client's registration says so.
func TestOfflineAccess(t *testing.T) {
	const page = "consent"
	stored := withConsent
	storeless := consentIn(nil)
	nowhere := func(*site) {}
	for _, c := range []struct {
		rule       string
		consent    func(*site)
		change     func(*Client)
		remembered string
		ask        string // changes, separated by spaces
		asked      bool   // the page is shown
		want       string // the code's scopes, those granted on the page, or an error
		leftOut    bool
	}{
		{"asked for beside what is remembered", stored, nil, "openid", "scope=openid+offline_access", true, "openid offline_access", false},
		{"and not agreed to", stored, nil, "openid", "scope=openid+offline_access", true, "openid", false},
		{"never asked before", stored, nil, "", "scope=openid+offline_access", true, "openid offline_access", false},
		{"remembered", stored, nil, "openid offline_access", "scope=openid+offline_access", false, "openid offline_access", false},
		{"remembered, prompt=none", stored, nil, "openid offline_access", "scope=openid+offline_access prompt=none", false, "openid offline_access", false},
		{"remembered, prompt=consent", stored, nil, "openid offline_access", "scope=openid+offline_access prompt=consent", true, "openid offline_access", false},
		{"remembered, and not agreed to any more", stored, nil, "openid offline_access", "scope=openid+offline_access prompt=consent", true, "openid", false},
		{"alone not remembered, prompt=none", stored, nil, "openid", "scope=openid+offline_access prompt=none", false, "openid", true},
		{"it and another not remembered, prompt=none", stored, nil, "openid", "scope=openid+email+offline_access prompt=none", false, "client consent_required", false},
		{"nothing remembered, prompt=none", stored, nil, "", "scope=openid+offline_access prompt=none", false, "client consent_required", false},
		{"not asked for", stored, nil, "openid offline_access", "scope=openid", false, "openid", false},

		{"no store", storeless, nil, "", "scope=openid+offline_access", true, "openid offline_access", false},
		{"no store, and not agreed to", storeless, nil, "", "scope=openid+offline_access", true, "openid", false},
		{"no store, prompt=none", storeless, nil, "", "scope=openid+offline_access prompt=none", false, "client consent_required", false},
		{"nobody is asked", nowhere, nil, "", "scope=openid+offline_access", false, "openid", true},
		{"nobody is asked, prompt=none", nowhere, nil, "", "scope=openid+offline_access prompt=none", false, "openid", true},

		{"without openid, like any scope", stored, nil, "api:read", "scope=api:read+offline_access", true, "api:read offline_access", false},
		{"without openid, and not agreed to", stored, nil, "api:read", "scope=api:read+offline_access", true, "api:read", false},
		{"without openid, alone", stored, nil, "", "scope=offline_access", true, "offline_access", false},
		{"without openid, remembered", stored, nil, "api:read offline_access", "scope=api:read+offline_access prompt=none", false, "api:read offline_access", false},
		{"without openid, not remembered, prompt=none", stored, nil, "api:read", "scope=api:read+offline_access prompt=none", false, "client consent_required", false},
		{"without openid, nobody is asked", nowhere, nil, "", "scope=api:read+offline_access", false, "api:read offline_access", false},
		{"without openid, nobody is asked, alone", nowhere, nil, "", "scope=offline_access", false, "offline_access", false},

		{"the host's own client", stored, trusted, "", "scope=openid+offline_access", false, "openid offline_access", false},
		{"the host's own client, prompt=none", stored, trusted, "", "scope=openid+offline_access prompt=none", false, "openid offline_access", false},
		{"the host's own client, nobody is asked", nowhere, trusted, "", "scope=openid+offline_access", false, "openid offline_access", false},
		{"the host's own client, prompt=consent, not agreed to", stored, trusted, "", "scope=openid+offline_access prompt=consent", true, "openid", false},
		{"trusted and unvetted is not the host's own", stored, both, "openid", "scope=openid+offline_access prompt=none", false, "openid", true},

		{"the client's registration", stored, offline, "openid", "scope=openid+offline_access", false, "openid offline_access", false},
		{"the client's registration, prompt=none", stored, offline, "openid", "scope=openid+offline_access prompt=none", false, "openid offline_access", false},
		{"the client's registration, nothing remembered", stored, offline, "", "scope=openid+offline_access", true, "openid offline_access", false},
		{"the client's registration, and not agreed to", stored, offline, "", "scope=openid+offline_access", true, "openid", false},
		{"the client's registration, nobody is asked", nowhere, offline, "", "scope=openid+offline_access", false, "openid offline_access", false},
		{"the client's registration, without openid", stored, offline, "api:read", "scope=api:read+offline_access", true, "api:read offline_access", false},

		{"remembered means nothing on loopback", stored, loopback, "openid offline_access", "scope=openid+offline_access prompt=none redirect_uri=http%3A%2F%2F127.0.0.1%2Fcb", false, "client consent_required", false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, c.consent)
			client := testClients()[0]
			if c.change != nil {
				c.change(&client)
			}
			s.memory.PutClient(client)
			if c.remembered != "" {
				s.remember("web", strings.Fields(c.remembered)...)
			}
			v := s.visitor(alice())
			got := v.get(ask(strings.Fields(c.ask)...))
			if (got.kind == page) != c.asked {
				t.Fatalf("the answer is %s", got)
			}
			if c.asked {
				if p, err := v.pending(got); err != nil || !p.Request.Has("offline_access") {
					t.Errorf("the page does not see it: %v, %v", p, err)
				}
				got = v.grant(got, strings.Fields(c.want)...)
			}
			if strings.HasPrefix(c.want, "client ") {
				got.want(c.want)
				return
			}
			code, err := s.memory.FindCode(context.Background(), hash(testIssuer+" "+got.params["code"]))
			if err != nil || code == nil || strings.Join(code.Scopes, " ") != c.want {
				t.Fatalf("%s, and the code is %+v, %v", got, code, err)
			}
			e := s.lastEvent()
			if strings.Join(e.Scopes, " ") != c.want || slices.Contains(e.LeftOut, "offline_access") != c.leftOut {
				t.Errorf("the event has %q, and left out are %q", e.Scopes, e.LeftOut)
			}
			if line := strings.Contains(s.log.String(), `"left_out":"offline_access"`); line != c.leftOut {
				t.Errorf("the log has a line of what was left out: %v", line)
			}
		})
	}
}

func trusted(c *Client)  { c.FirstParty = true }
func both(c *Client)     { c.FirstParty, c.Unvetted = true, true }
func offline(c *Client)  { c.OfflineAccess = true }
func loopback(c *Client) { c.RedirectURIs = []string{"http://127.0.0.1/cb"} }

// A program can show no page: it is left out there as under prompt=none.
func TestOfflineAccessOutOfBand(t *testing.T) {
	for _, c := range []struct{ remembered, want string }{{"openid", "openid"}, {"openid offline_access", "openid offline_access"}} {
		t.Run(c.remembered, func(t *testing.T) {
			s := newSite(t, withConsent, withDevices)
			s.config.Consent.Store = s.memory
			s.memory.PutClient(Client{ID: "device", OutOfBand: OutOfBandAuto, Scopes: allScopes})
			s.restart()
			s.remember("device", strings.Fields(c.remembered)...)
			_, got := s.program(t, deviceGET(deviceAsks("scope=openid+offline_access")), alice())
			code, err := s.memory.FindCode(context.Background(), hash(testIssuer+" "+got["code"]))
			if err != nil || code == nil || strings.Join(code.Scopes, " ") != c.want {
				t.Errorf("%v, %+v, %v", got, code, err)
			}
		})
	}
}

func TestGrantsThatAreNone(t *testing.T) {
	for _, c := range []struct {
		rule   string
		scopes []string
	}{
		{"no scopes", nil},
		{"a scope that was not asked for", []string{"openid", "email"}},
		{"a scope that the client may not have", []string{"admin"}},
		{"an empty scope", []string{""}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withConsent)
			v := s.visitor(alice())
			at := v.get(ask()).want("consent")
			v.grant(at, c.scopes...).want("page Bad Request invalid_request")
			if s.remembered("web") != nil {
				t.Error("it is remembered")
			}
			v.resume(at).want("consent", "and back")
		})
	}
}

// A browser can send a box of the form as often as it likes.
func TestAGrantHasEachScopeOnce(t *testing.T) {
	s := newSite(t, withConsent)
	v := s.visitor(alice())
	at := v.get(ask("scope=openid+email")).want("consent")
	at = v.grant(at, slices.Repeat([]string{"email", "openid"}, 10_000)...).want("code")
	if diff := cmp.Diff([]string{"email", "openid"}, s.remembered("web").Scopes); diff != "" {
		t.Errorf("remembered (-want +got)\n%s", diff)
	}
	if code, err := s.redeem(at.params["code"], nil); err != nil || len(code.Scopes) != 2 {
		t.Errorf("%+v, %v", code, err)
	}
	for _, e := range s.events {
		if e.Kind == EventCompleted && len(e.Scopes) != 2 {
			t.Errorf("the event has %d scopes", len(e.Scopes))
		}
	}
}

func TestConsentDenied(t *testing.T) {
	s := newSite(t, withConsent)
	v := s.visitor(alice())
	v.deny(v.get(ask()).want("consent")).want("client access_denied")
	if s.remembered("web") != nil {
		t.Error("a no is remembered as a yes")
	}
	v.get(ask()).want("consent", "asked anew")
}

// A grant is of one user: the one to whom the page was shown, in the browser in
// which it was.
func TestAGrantIsOfTheUserWhoSawThePage(t *testing.T) {
	s := newSite(t, withConsent)
	v := s.visitor(alice())
	at := v.get(ask()).want("consent")
	s.visitor(alice()).grant(at, "openid").want("consent", "in another browser")
	v.session = s.signIn("bob")
	v.grant(at, "openid").want("consent", "bob has signed in meanwhile")
	for _, subject := range []string{"alice", "bob"} {
		if c, err := s.memory.FindConsent(context.Background(), subject, "web"); c != nil || err != nil {
			t.Errorf("remembered for %s: %+v, %v", subject, c, err)
		}
	}
	v.session = nil
	v.grant(at, "openid").want("login", "nobody is signed in any more")
}

// Between the page and the grant the client may have changed.
func TestAGrantIsCheckedAgainstTheClientAsItIs(t *testing.T) {
	for _, c := range []struct {
		rule   string
		change func(*uncheckedMemory)
		want   string
	}{
		{"gone", func(m *uncheckedMemory) { m.DeleteClient("web") }, "page Bad Request invalid_client"},
		{"without the scope", func(m *uncheckedMemory) {
			m.PutClient(Client{ID: "web", RedirectURIs: []string{"https://app.example/cb"}, Scopes: []string{"profile"}})
		}, "page Bad Request invalid_scope"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withConsent)
			v := s.visitor(alice())
			at := v.get(ask()).want("consent")
			c.change(s.memory)
			v.grant(at, "openid").want(c.want)
			if s.remembered("web") != nil {
				t.Error("it is remembered")
			}
		})
	}
}

// What was granted may be no longer on offer when the code is made.
func TestAGrantOfNothingThatIsAskedForAnyMore(t *testing.T) {
	s := newSite(t, withConsent)
	client := testClients()[0]
	client.DefaultScopes = []string{"openid", "profile"}
	s.memory.PutClient(client)
	v := s.visitor(alice())
	at := v.get(ask("-scope")).want("consent")
	sent := v.allow(at, Granted{Scopes: []string{"profile"}})
	client.DefaultScopes = []string{"openid"}
	s.memory.PutClient(client)
	v.follow(sent).want("client invalid_scope", "the default has changed")
}

// asClaims is the parameter with this value.
func asClaims(value string) string { return "claims=" + url.QueryEscape(value) }

// Consent covers claims: names, each for its place, beyond what the protocol itself needs
// and what a granted scope releases (OpenID Connect Core 1.0 §5.4, §5.5).
func TestWhenConsentToClaimsIsNeeded(t *testing.T) {
	agreed := &ConsentRecord{
		Subject: "alice", ClientID: "web", Scopes: []string{"openid", "profile"},
		IDTokenClaims: []string{"email", "groups"}, UserInfoClaims: []string{"address"},
	}
	for _, c := range []struct {
		rule, claims, scope string
		covers              bool
	}{
		{"no claims", `{}`, "openid", true},
		{"one that was agreed to", `{"id_token":{"email":null}}`, "openid", true},
		{"all that were agreed to", `{"id_token":{"email":null,"groups":{"essential":true}},"userinfo":{"address":null}}`, "openid", true},
		{"one more", `{"id_token":{"email":null,"phone_number":null}}`, "openid", false},
		{"one more, whether it is essential or not", `{"id_token":{"phone_number":{"essential":false}}}`, "openid", false},
		{"one more, with a value", `{"id_token":{"phone_number":{"value":"1"}}}`, "openid", false},
		{"one more that nobody knows", `{"userinfo":{"https://claims.example/shoe":null}}`, "openid", false},
		{"an empty name", `{"userinfo":{"":null}}`, "openid", false},
		{"agreed to for the ID token, wanted from userinfo", `{"userinfo":{"email":null}}`, "openid", false},
		{"agreed to for userinfo, wanted in the ID token", `{"id_token":{"address":null}}`, "openid", false},
		{"in another language", `{"id_token":{"email#de":null,"groups#fr-CH":null}}`, "openid", true},
		{"one more in another language", `{"id_token":{"phone_number#de":null}}`, "openid", false},
		{"what the protocol needs", `{"id_token":{"sub":null,"acr":{"values":["1"]},"auth_time":{"essential":true}},"userinfo":{"sub":null,"acr":null,"auth_time":null}}`, "openid", true},
		{"other names like those", `{"id_token":{"Sub":null}}`, "openid", false},
		{"other names like those", `{"id_token":{"amr":null}}`, "openid", false},
		{"what a scope of the request releases", `{"id_token":{"name":null},"userinfo":{"name#ja-Kana-JP":null,"updated_at":null,"picture":null}}`, "openid+profile", true},
		{"what a scope that was granted before releases", `{"userinfo":{"name":null},"id_token":{"birthdate":null}}`, "openid", true},
		{"what another scope would release", `{"userinfo":{"email_verified":null}}`, "openid+profile", false},
		{"a name in the other case is another one", `{"id_token":{"Name":null}}`, "openid+profile", false},
		{"a place in the other case is none", `{"ID_TOKEN":{"phone_number":null},"UserInfo":{"phone_number":null}}`, "openid", true},
		{"other members", `{"access_token":{"phone_number":null},"phone_number":null}`, "openid", true},
		{"places that are null", `{"id_token":null,"userinfo":null}`, "openid", true},
	} {
		t.Run(c.rule, func(t *testing.T) {
			for prompt, want := range map[string]string{"-prompt": "consent", "prompt=none": "client consent_required", "prompt=consent": "consent"} {
				if c.covers && prompt != "prompt=consent" {
					want = "code"
				}
				s := newSite(t, consentIn(&consentStub{found: agreed}))
				s.visitor(alice()).get(ask("scope="+c.scope, prompt, asClaims(c.claims))).want(want, prompt)
			}
			newSite(t, consentIn(nil)).visitor(alice()).get(ask("scope="+c.scope, asClaims(c.claims))).want("consent", "no store")
			newSite(t, withConsent).visitor(alice()).get(ask("client_id=own", "scope="+c.scope, asClaims(c.claims))).want("code", "the host's own client")
		})
	}
}

// What a code says of claims is what was agreed to, and the next time that is remembered.
func TestWhatIsAgreedToOfClaims(t *testing.T) {
	const all = `{"id_token":{"sub":{"value":"alice"},"acr":null,"auth_time":{"essential":true},"email":null,"email#de":{"essential":true},"groups":null},` +
		`"userinfo":{"email_verified":{"value":true},"name":null,"shoe":{"values":[1,"<&>"]}}}`
	for _, c := range []struct {
		rule, claims, scope, granted string
		code                         string // its claims as JSON; empty: none
		idToken                      string // remembered
		userInfo                     string
	}{
		{"all that is asked for", all, "openid", "openid", all, "email groups", "email_verified name shoe"},
		{"all, and a scope that releases some", all, "openid email", "openid email", all, "groups", "name shoe"},
		{"without what a refused scope would have released", all, "openid email", "openid",
			`{"id_token":{"sub":{"value":"alice"},"acr":null,"auth_time":{"essential":true},"groups":null},"userinfo":{"name":null,"shoe":{"values":[1,"<&>"]}}}`, "groups", "name shoe"},
		{"without what two refused scopes would have released", all, "openid email profile", "openid",
			`{"id_token":{"sub":{"value":"alice"},"acr":null,"auth_time":{"essential":true},"groups":null},"userinfo":{"shoe":{"values":[1,"<&>"]}}}`, "groups", "shoe"},
		{"without what a scope that is left out would have released", all, "openid address email unknown phone", "openid email", all, "groups", "name shoe"},
		{"a scope that is left out", `{"userinfo":{"phone_number":null,"phone_number_verified#x":null,"address":null,"shoe":null}}`, "openid phone", "openid",
			`{"userinfo":{"address":null,"shoe":null}}`, "", "address shoe"},
		{"nothing is left", `{"userinfo":{"email":null},"id_token":{}}`, "openid email", "openid", "", "", ""},
		{"no other members", `{"userinfo":{"shoe":null},"UserInfo":{"email":null},"ID_TOKEN":{"email":null},"access_token":{"email":null},"email":1}`, "openid email", "openid",
			`{"userinfo":{"shoe":null}}`, "", "shoe"},
		{"only other members", `{"UserInfo":{"email":null}}`, "openid", "openid", "", "", ""},
		{"one claim for both places", `{"id_token":{"shoe":null},"userinfo":{"shoe":null}}`, "openid", "openid", `{"id_token":{"shoe":null},"userinfo":{"shoe":null}}`, "shoe", "shoe"},
	} {
		for _, storeless := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, without a store %v", c.rule, storeless), func(t *testing.T) {
				s := newSite(t, withConsent, func(s *site) {
					s.config.IgnoreUnknownScopes = true
					if storeless {
						s.config.Consent.Store = nil
					}
				})
				request := ask("scope="+strings.ReplaceAll(c.scope, " ", "+"), asClaims(c.claims))
				v := s.visitor(alice())
				at := v.get(request).want("consent")
				at = v.grant(at, strings.Fields(c.granted)...).want("code")
				code, err := s.redeem(at.params["code"], nil)
				if err != nil {
					t.Fatal(err)
				}
				if diff := diffJSON(c.code, string(code.Claims)); diff != "" {
					t.Errorf("the code's claims are %s: (-want +got)\n%s", code.Claims, diff)
				}
				if storeless {
					return
				}
				record := s.remembered("web")
				if strings.Join(record.IDTokenClaims, " ") != c.idToken || strings.Join(record.UserInfoClaims, " ") != c.userInfo {
					t.Errorf("remembered are %q and %q", record.IDTokenClaims, record.UserInfoClaims)
				}
				// What is remembered is enough for as much, and gives as much.
				at = v.get(request + "&prompt=none").want("code")
				if code, err = s.redeem(at.params["code"], nil); err != nil || diffJSON(c.code, string(code.Claims)) != "" {
					t.Errorf("again the code's claims are %s, %v", code.Claims, err)
				}
			})
		}
	}
}

func diffJSON(want, got string) string {
	var values [2]any
	for i, text := range []string{want, got} {
		if text != "" {
			if err := json.Unmarshal([]byte(text), &values[i]); err != nil {
				return err.Error()
			}
		}
	}
	return cmp.Diff(values[0], values[1])
}

// Claims that were agreed to add up, and go with their scope when that is refused.
func TestWhatIsRememberedOfClaims(t *testing.T) {
	for _, c := range []struct {
		rule                                     string
		idToken, userInfo                        string // agreed to before, with the scopes openid and profile
		claims, scope, granted, wantID, wantInfo string
	}{
		{"more are added", "email", "shoe", `{"userinfo":{"hat":null},"id_token":{"shoe":null}}`, "openid", "openid", "email shoe", "hat shoe"},
		{"fewer take nothing away", "email", "shoe", `{}`, "openid", "openid", "email", "shoe"},
		{"the same are there once", "email", "shoe", `{"userinfo":{"shoe":null},"id_token":{"email":null}}`, "openid", "openid", "email", "shoe"},
		{"a refused scope takes its claims along", "email email_verified shoe", "email name phone_number", `{}`, "openid email", "openid", "shoe", "name phone_number"},
		{"a scope that is granted takes nothing away", "email", "shoe", `{}`, "openid email", "openid email", "email", "shoe"},
		{"a scope that is left out takes its claims along", "phone_number", "shoe phone_number_verified", `{}`, "openid phone", "openid", "", "shoe"},
		{"and again what the request asks for", "email", "", `{"id_token":{"email":null},"userinfo":{"email":null,"shoe":null}}`, "openid email", "openid", "", "shoe"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withConsent, func(s *site) { s.config.IgnoreUnknownScopes = true })
			err := s.memory.SaveConsent(context.Background(), &ConsentRecord{
				Subject: "alice", ClientID: "web", Scopes: []string{"openid", "profile"},
				IDTokenClaims: strings.Fields(c.idToken), UserInfoClaims: strings.Fields(c.userInfo),
			})
			if err != nil {
				t.Fatal(err)
			}
			v := s.visitor(alice())
			at := v.get(ask("prompt=consent", "scope="+strings.ReplaceAll(c.scope, " ", "+"), asClaims(c.claims))).want("consent")
			v.grant(at, strings.Fields(c.granted)...).want("code")
			record := s.remembered("web")
			if strings.Join(record.IDTokenClaims, " ") != c.wantID || strings.Join(record.UserInfoClaims, " ") != c.wantInfo {
				t.Errorf("remembered are %q and %q", record.IDTokenClaims, record.UserInfoClaims)
			}
			if !slices.Contains(record.Scopes, "profile") {
				t.Errorf("the scopes are %q", record.Scopes)
			}
		})
	}
}

// The consent page is told what is asked for beyond the scopes that it shows.
func TestClaimsBeyondScopes(t *testing.T) {
	for _, c := range []struct{ rule, claims, scope, idToken, userInfo string }{
		{"no claims", "", "openid", "", ""},
		{"none beyond", `{"id_token":{"email":null,"sub":null,"acr":null,"auth_time":null},"userinfo":{"sub":null,"email_verified":null}}`, "openid+email", "", ""},
		{"each for its place, sorted", `{"id_token":{"shoe":null,"name":null},"userinfo":{"hat":null,"email":null}}`, "openid", "name shoe", "email hat"},
		{"once, without languages", `{"userinfo":{"name#de":null,"name":null,"name#fr":null}}`, "openid", "", "name"},
		{"not what a scope of the request releases", `{"userinfo":{"name#de":null,"hat":null}}`, "openid+profile", "", "hat"},
		{"not what is left out with its scope", `{"id_token":{"address":null},"userinfo":{"address":null,"hat":null}}`, "openid+address", "", "hat"},
		{"not at places in the other case", `{"ID_TOKEN":{"hat":null},"Userinfo":{"hat":null}}`, "openid", "", ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			v := newSite(t, withConsent, func(s *site) { s.config.IgnoreUnknownScopes = true }).visitor(alice())
			p, err := v.pending(v.get(ask("scope="+c.scope, asClaims(c.claims))).want("consent"))
			if err != nil {
				t.Fatal(err)
			}
			idToken, userInfo := p.Request.ClaimsBeyondScopes()
			if strings.Join(idToken, " ") != c.idToken || strings.Join(userInfo, " ") != c.userInfo {
				t.Errorf("%q and %q", idToken, userInfo)
			}
		})
	}
}

// Nobody has looked at an unvetted client, so the user is asked or it gets nothing.
func TestAnUnvettedClientGetsNothingWithoutAQuestion(t *testing.T) {
	storeless := consentIn(nil)
	nowhere := func(*site) {}
	elsewhere := withStep(Interaction{Name: "agree", Prompt: "consent", Page: "/agree"})
	for _, c := range []struct {
		rule      string
		consent   func(*site)
		who       *session.Session
		ask, want string
	}{
		{"no page", nowhere, alice(), "-prompt", "page Service Unavailable server_error"},
		{"no page, nobody", nowhere, nil, "-prompt", "page Service Unavailable server_error"},
		{"no page, prompt=none", nowhere, alice(), "prompt=none", "page Service Unavailable server_error"},
		{"no page, prompt=none, nobody", nowhere, nil, "prompt=none", "page Bad Request login_required"},
		{"no page, prompt=consent", nowhere, alice(), "prompt=consent", "page Bad Request consent_required"},
		{"no page, prompt=login", nowhere, alice(), "prompt=login", "page Service Unavailable server_error"},
		{"no page, response_type=none", nowhere, alice(), "response_type=none", "page Service Unavailable server_error"},
		{"no page, form_post", nowhere, alice(), "response_mode=form_post", "page Service Unavailable server_error"},
		{"no page, another page of the host's own", elsewhere, alice(), "-prompt", "page Service Unavailable server_error"},
		{"a page", storeless, alice(), "-prompt", "consent"},
		{"a page, prompt=none", storeless, alice(), "prompt=none", "page Bad Request consent_required"},
		{"a page, response_type=none", storeless, alice(), "response_type=none", "consent"},
		{"a page that is remembered", withConsent, alice(), "-prompt", "consent"},
	} {
		for _, byPost := range []bool{false, true} {
			for name, change := range map[string]func(*Client){"": func(*Client) {}, ", and trusted": both, ", and without a question for offline access": offline} {
				t.Run(fmt.Sprintf("%s, by POST %v%s", c.rule, byPost, name), func(t *testing.T) {
					s := newSite(t, c.consent)
					s.config.Codes = failingCodes{t}
					s.restart()
					clients := testClients()
					client := clients[slices.IndexFunc(clients, func(c Client) bool { return c.ID == "new" })]
					client.ResponseTypes = []string{"code", "none"}
					change(&client)
					s.memory.PutClient(client)
					v, query := s.visitor(c.who), ask("client_id=new", c.ask)
					got := &reply{}
					if byPost {
						got = v.post(query)
					} else {
						got = v.get(query)
					}
					if got.kind == "endpoint" {
						got = v.follow(got)
					}
					got.want(c.want)
					if got.status == http.StatusServiceUnavailable {
						if e := s.lastEvent(); e.Kind != EventErrorPage || e.Reason != ReasonNoConsentPage || !strings.Contains(s.log.String(), "Config.Consent is nil") {
							t.Errorf("reported as %s %s, log %s", e.Kind, e.Reason, s.log.String())
						}
						if !strings.Contains(got.body, "error=access_denied") && !strings.Contains(got.body, `value="access_denied"`) {
							t.Errorf("no way back on the page:\n%s", got.body)
						}
					}
				})
			}
		}
	}
}

// What was revoked under way is asked again: where consent is remembered, the user's answer
// counts as long as the store still has what was granted.
func TestRevokedUnderWay(t *testing.T) {
	revoke := func(s *site) { s.memory.DeleteConsent(context.Background(), "alice", "web") }
	keep := func(change func(*ConsentRecord)) func(*site) {
		return func(s *site) {
			record := s.remembered("web")
			change(record)
			if err := s.memory.SaveConsent(context.Background(), record); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	claims := asClaims(`{"userinfo":{"shoe":null,"email":null},"id_token":{"hat":null}}`)
	for _, c := range []struct {
		rule    string
		ask     []string
		granted string
		change  func(*site)
		want    string // at the end
	}{
		{"nothing", nil, "openid profile", func(*site) {}, "code"},
		{"all of it", nil, "openid profile", revoke, "consent"},
		{"one scope", nil, "openid profile", keep(func(c *ConsentRecord) { c.Scopes = []string{"openid"} }), "consent"},
		{"another one is granted", nil, "openid profile", keep(func(c *ConsentRecord) { c.Scopes = append(c.Scopes, "email") }), "code"},
		{"nothing, and fewer than asked for were granted", nil, "openid", func(*site) {}, "code"},
		{"all of fewer than asked for", nil, "openid", revoke, "consent"},
		{"offline_access", []string{"scope=openid+offline_access"}, "openid offline_access", keep(func(c *ConsentRecord) { c.Scopes = []string{"openid"} }), "consent"},
		{"a claim", []string{claims}, "openid profile", keep(func(c *ConsentRecord) { c.UserInfoClaims = []string{"email"} }), "consent"},
		{"a claim in the other place", []string{claims}, "openid profile", keep(func(c *ConsentRecord) { c.IDTokenClaims = nil }), "consent"},
		{"no claim", []string{claims}, "openid profile", func(*site) {}, "code"},
		{"a claim that went with a refused scope", []string{claims, "scope=openid+email"}, "openid", func(*site) {}, "code"},
		{"it became one at another resource", nil, "openid profile", keep(func(c *ConsentRecord) { c.Resources = []string{"https://api.example/"} }), "consent"},
		{"it became one of bob's", nil, "openid profile", func(s *site) {
			s.config.Consent.Store = &consentStub{found: &ConsentRecord{Subject: "bob", ClientID: "web", Scopes: allScopes}}
			s.restart()
		}, "consent"},
		{"response_type=none", []string{"response_type=none"}, "openid profile", revoke, "consent"},
		{"prompt=consent", []string{"prompt=consent"}, "openid profile", revoke, "consent"},
		{"the store fails", nil, "openid profile", func(s *site) {
			s.config.Consent.Store = &consentStub{findErr: errors.New("down")}
			s.restart()
		}, "client server_error"},
		{"the store is late", nil, "openid profile", func(s *site) {
			s.config.Timeout = impatient
			s.config.Consent.Store = &consentStub{late: true}
			s.restart()
		}, "client temporarily_unavailable"},
	} {
		for _, steps := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, with a page after consent %v", c.rule, steps), func(t *testing.T) {
				s := newSite(t, withConsent, func(s *site) {
					if steps {
						s.config.Interactions = []Interaction{{Name: "terms", Page: "/terms", Needed: always}}
					}
				})
				v := s.visitor(alice())
				at := v.get(ask(append([]string{"scope=openid+profile"}, c.ask...)...)).want("consent")
				if steps {
					at = v.grant(at, strings.Fields(c.granted)...).want("terms")
					c.change(s)
					at = v.complete(at, "terms").want(c.want)
				} else {
					sent := v.allow(at, Granted{Scopes: strings.Fields(c.granted)})
					c.change(s)
					at = v.follow(sent).want(c.want)
				}
				switch {
				case c.want == "code":
					code, err := s.redeem(at.params["code"], nil)
					if err != nil || strings.Join(code.Scopes, " ") != c.granted {
						t.Errorf("the code has %+v, %v", code, err)
					}
				case at.kind == "consent" && s.config.Consent.Store == ConsentStore(s.memory):
					want := "code"
					if slices.Contains(c.ask, "response_type=none") {
						want = "nothing"
					}
					v.grant(at, strings.Fields(c.granted)...).want(want, "agreed once more")
				}
			})
		}
	}
}

// Where consent is not remembered, what the request carries stays the proof.
func TestNothingIsRevokedWhereNothingIsRemembered(t *testing.T) {
	for _, c := range []struct {
		rule, client string
		change       func(*site)
	}{
		{"no store", "web", func(s *site) { s.config.Consent.Store = nil }},
		{"on loopback", "native", func(*site) {}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withConsent, c.change, withTerms)
			v := s.visitor(alice())
			at := v.get(ask("client_id="+c.client, "scope=openid+profile")).want("consent")
			at = v.grant(at, "openid").want("terms")
			s.memory.DeleteConsent(context.Background(), "alice", c.client)
			v.complete(at, "terms").want("code")
			if e := s.lastEvent(); !slices.Equal(e.Scopes, []string{"openid"}) {
				t.Errorf("the code is for %q", e.Scopes)
			}
		})
	}
}

// Every page is of the user to whom it was shown, and of the request's own way.
func TestAnInteractionIsOfTheUserWhoSawItsPage(t *testing.T) {
	s := newSite(t, withStep(Interaction{Name: "terms", Page: "/terms", Needed: func(context.Context, *session.Session, *Request) (bool, error) { return true, nil }}))
	v := s.visitor(nil)
	login := v.get(ask()).want("login", "nobody is signed in")
	v.session = s.signIn("alice")
	v.complete(login, "terms").want("terms", "with the req of the login page")
	at := v.resume(login).want("terms", "alice has to accept")
	v.session = s.signIn("bob")
	at = v.complete(at, "terms").want("terms", "bob has signed in meanwhile")
	v.complete(at, "terms").want("code", "bob has seen them too")
}

func TestConsentWithoutAStoreIsAskedForEveryTime(t *testing.T) {
	v := newSite(t, consentIn(nil)).visitor(alice())
	for _, visit := range []string{"first", "second"} {
		v.grant(v.get(ask()).want("consent", visit), "openid").want("code", visit)
	}
}

// consentStub answers as it is told.
type consentStub struct {
	found     *ConsentRecord
	findErr   error
	saveErr   error
	keeps     bool // what is saved is found
	late      bool // answers when the deadline is over, as if nothing were wrong
	saved     *ConsentRecord
	findCalls int
}

func (c *consentStub) SaveConsent(ctx context.Context, record *ConsentRecord) error {
	c.wait(ctx)
	c.saved = record
	if c.saveErr == nil && c.keeps {
		c.found = record
	}
	return c.saveErr
}

func (c *consentStub) FindConsent(ctx context.Context, _, _ string) (*ConsentRecord, error) {
	c.findCalls++
	c.wait(ctx)
	return c.found, c.findErr
}

func (c *consentStub) ListConsents(context.Context, string) ([]*ConsentRecord, error) {
	return nil, nil
}
func (c *consentStub) DeleteConsent(context.Context, string, string) error { return nil }

func (c *consentStub) wait(ctx context.Context) {
	if c.late {
		<-ctx.Done()
	}
}

func TestTheConsentStoreFails(t *testing.T) {
	granted := &ConsentRecord{Subject: "alice", ClientID: "web", Scopes: []string{"openid"}}
	for _, c := range []struct {
		rule  string
		store *consentStub
		want  string
	}{
		{"an error", &consentStub{findErr: errors.New("down")}, "client server_error"},
		{"an error and a record", &consentStub{found: granted, findErr: errors.New("down")}, "client server_error"},
		{"a timeout", &consentStub{findErr: context.DeadlineExceeded}, "client temporarily_unavailable"},
		{"too late", &consentStub{found: granted, late: true}, "client temporarily_unavailable"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, consentIn(c.store), impatientIf(c.store.late))
			s.visitor(alice()).get(ask()).want(c.want)
			if e := s.lastEvent(); e.Err == nil || !strings.Contains(e.Err.Error(), "ConsentStore.FindConsent") {
				t.Errorf("the log does not say where it failed: %v", e.Err)
			}
		})
	}
}

// Of a client that nobody has vetted, the user sees the failure too.
func TestTheConsentStoreFailsForAnUnvettedClient(t *testing.T) {
	for _, prompt := range []string{"-prompt", "prompt=none"} {
		t.Run(prompt, func(t *testing.T) {
			s := newSite(t, consentIn(&consentStub{findErr: errors.New("down")}))
			s.visitor(alice()).get(ask("client_id=new", prompt)).want("page Service Unavailable server_error", "down")
		})
	}
}

func TestTheConsentStoreFailsAtTheGrant(t *testing.T) {
	for _, c := range []struct {
		rule string
		fail func(*consentStub)
		want string
	}{
		{"cannot find", func(c *consentStub) { c.findErr = errors.New("down") }, "page Service Unavailable server_error"},
		{"cannot save", func(c *consentStub) { c.saveErr = errors.New("down") }, "page Service Unavailable server_error"},
		{"full", func(c *consentStub) { c.saveErr = ErrFull }, "page Service Unavailable server_error"},
		{"too late", func(c *consentStub) { c.late = true }, "page Service Unavailable temporarily_unavailable"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			store := &consentStub{}
			s := newSite(t, consentIn(store))
			v := s.visitor(alice())
			at := v.get(ask()).want("consent")
			c.fail(store)
			if store.late {
				s.config.Timeout = impatient
				s.restart()
			}
			v.grant(at, "openid").want(c.want)
			*store = consentStub{keeps: true}
			s.config.Timeout = 0
			s.restart()
			v.grant(at, "openid").want("code", "tried again")
		})
	}
}

// OpenID Connect Core 1.0 §5.4 says which scope releases which claim. All others need
// consent of their own.
func TestWhichScopeReleasesAClaim(t *testing.T) {
	for scope, claims := range map[string]string{
		"profile": "name family_name given_name middle_name nickname preferred_username profile picture website " +
			"gender birthdate zoneinfo locale updated_at",
		"email":   "email email_verified",
		"address": "address",
		"phone":   "phone_number phone_number_verified",
		"":        "sub_jwk groups Name EMAIL",
	} {
		for claim := range strings.FieldsSeq(claims) {
			t.Run(scope+" "+claim, func(t *testing.T) {
				r := &Request{Scopes: strings.Fields(scope), Claims: json.RawMessage(`{"userinfo":{"` + claim + `":null}}`)}
				if _, beyond := r.ClaimsBeyondScopes(); (len(beyond) == 0) != (scope != "") {
					t.Errorf("%q is beyond it", beyond)
				}
			})
		}
	}
}

// The host is asked only about what is still open.
func TestAnInteractionIsAskedOnlyWhereItMatters(t *testing.T) {
	calls := 0
	count := func(context.Context, *session.Session, *Request) (bool, error) { calls++; return true, nil }
	s := newSite(t, withStep(Interaction{Name: "terms", Page: "/terms", Needed: count}))
	v := s.visitor(alice())
	at := v.get(ask()).want("terms")
	v.complete(at, "terms").want("code", "completed, and not asked again")
	s.forbid()
	v.get(ask()).want("client access_denied", "forbidden, so it does not matter")
	if calls != 1 {
		t.Errorf("asked %d times, want 1", calls)
	}
}

// A store that mixes users up must not make one user's consent another's.
func TestARecordOfAnotherUserIsNotMerged(t *testing.T) {
	for rule, before := range map[string]*ConsentRecord{
		"of another user":     {Subject: "bob", ClientID: "web", Scopes: []string{"api:write"}},
		"for another client":  {Subject: "alice", ClientID: "spa", Scopes: []string{"api:write"}},
		"of another revision": {Subject: "alice", ClientID: "web", Scopes: []string{"api:write"}, Revision: "2"},
	} {
		t.Run(rule, func(t *testing.T) {
			store := &consentStub{found: before}
			v := newSite(t, consentIn(store)).visitor(alice())
			v.grant(v.get(ask()).want("consent"), "openid")
			if store.saved != nil && slices.Contains(store.saved.Scopes, "api:write") {
				t.Errorf("%+v was merged into %+v", before, store.saved)
			}
		})
	}
}

// The page of the host may be in another process and record its outcome itself.
func TestAnInteractionThatRecordsItsOutcomeItself(t *testing.T) {
	accepted := false
	s := newSite(t, withStep(Interaction{Name: "terms", Page: "https://pages.example/terms", Needed: func(context.Context, *session.Session, *Request) (bool, error) { return !accepted, nil }}))
	v := s.visitor(alice())
	at := v.get(ask()).want("terms")
	if !strings.HasPrefix(at.location, "https://pages.example/terms?req=") {
		t.Errorf("to %s", at.location)
	}
	v.resume(at).want("terms", "not accepted")
	accepted = true
	v.resume(at).want("code")
}

func TestAnInteractionFails(t *testing.T) {
	for _, c := range []struct {
		rule   string
		needed func(context.Context, *session.Session, *Request) (bool, error)
		want   string
	}{
		{"an error", func(context.Context, *session.Session, *Request) (bool, error) { return false, errors.New("down") }, "client server_error"},
		{"too late", func(ctx context.Context, _ *session.Session, _ *Request) (bool, error) {
			<-ctx.Done()
			return false, nil
		}, "client temporarily_unavailable"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withStep(Interaction{Name: "terms", Page: "/terms", Needed: c.needed}), impatientIf(c.rule == "too late"))
			s.visitor(alice()).get(ask()).want(c.want)
		})
	}
}

func TestAnInteractionThatAPromptAsksFor(t *testing.T) {
	s := newSite(t, withStep(Interaction{Name: "accounts", Prompt: "select_account", Page: "/accounts"}))
	v := s.visitor(alice())
	v.get(ask()).want("code", "not asked for")
	at := v.get(ask("prompt=select_account")).want("accounts")
	v.resume(at).want("accounts", "came back")
	v.session = s.signIn("bob")
	v.complete(at, "accounts").want("code")
	s.visitor(alice()).get(ask("prompt=select_account+none")).want("client invalid_request")
}

// Who agrees is who was chosen, wherever the host names the page.
func TestAnAccountIsChosenBeforeConsent(t *testing.T) {
	s := newSite(t, withConsent, withTerms,
		withStep(Interaction{Name: "accounts", Prompt: "select_account", Page: "/accounts"}))
	v := s.visitor(alice())
	at := v.get(ask("prompt=select_account")).want("accounts")
	v.session = bob()
	at = v.complete(at, "accounts").want("consent")
	at = v.grant(at, "openid").want("terms")
	v.complete(at, "terms").want("code")
}

// A choice is kept while the one who was chosen signs in anew, and is no sign-in itself.
func TestAChosenAccountThatHasToSignIn(t *testing.T) {
	for _, c := range []struct{ rule, ask string }{
		{"prompt=login", "prompt=login+select_account"},
		{"max_age", "max_age=60"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withStep(Interaction{Name: "accounts", Prompt: "select_account", Page: "/accounts", Needed: always}))
			v := s.visitor(&session.Session{ID: "alice-1", Subject: "alice", AuthTime: testStart.Add(-time.Hour)})
			at := v.get(ask(c.ask)).want("login")
			s.now = s.now.Add(10 * time.Second)
			at = v.signIn(at, "alice").want("accounts")
			v.session = &session.Session{ID: "bob-1", Subject: "bob", AuthTime: testStart.Add(-2 * time.Minute)}
			at = v.complete(at, "accounts").want("login", "an older account was chosen")
			at = v.resume(at).want("login", "back without signing in")
			s.now = s.now.Add(10 * time.Second)
			v.signIn(at, "bob").want("code")
		})
	}
}

// A client makes up the names of claims. What a record remembers of them is bounded, and
// forgetting means that the user is asked again.
func TestAConsentRecordIsBounded(t *testing.T) {
	s := newSite(t, withConsent)
	v := s.visitor(alice())
	wants := func(round, n int) string {
		return ask("claims=" + url.QueryEscape(`{"userinfo":{`+manyClaims(fmt.Sprint("c", round, "_"), n)+`}}`))
	}
	for round := range 5 {
		v.grant(v.get(wants(round, 90)).want("consent"), "openid").want("code")
		c := s.remembered("web")
		if n := len(c.UserInfoClaims); n > maxKept || n < 90 {
			t.Errorf("%d names in one record after %d grants", n, round+1)
		}
	}
	v.get(wants(4, 90)).want("code", "the last ones are remembered")
	v.get(wants(0, 90)).want("consent", "the first ones are forgotten")
	v.grant(v.get(wants(5, 100)).want("consent"), "openid").want("code")
	v.grant(v.get(wants(6, maxKept-190)).want("consent"), "openid").want("code")
	v.get(wants(5, 100)).want("code", "as many as may be are remembered")
}

// manyClaims are n members of a claims parameter that ask for a claim.
func manyClaims(name string, n int) string {
	members := make([]string, n)
	for i := range members {
		members[i] = fmt.Sprintf(`"%s%d":null`, name, i)
	}
	return strings.Join(members, ",")
}

// Of nobody there is nothing to find, and after the login it may be another user.
func TestConsentThatDoesNotMatterIsNotLookedFor(t *testing.T) {
	for _, c := range []struct {
		rule string
		who  *session.Session
		ask  []string
		want string
	}{
		{"nobody", nil, []string{"client_id=new", "prompt=none"}, "page Bad Request login_required"},
		{"who has to sign in anew", alice(), []string{"prompt=login"}, "login"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			store := &consentStub{}
			newSite(t, consentIn(store)).visitor(c.who).get(ask(c.ask...)).want(c.want)
			if store.findCalls != 0 {
				t.Errorf("the store was asked %d times", store.findCalls)
			}
		})
	}
}
