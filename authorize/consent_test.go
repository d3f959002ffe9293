package authorize

import (
	"context"
	"errors"
	"net/http"
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
		s := newSite(t, withConsent)
		changes := strings.Fields(c.ask)
		if c.remembered != "" {
			s.remember(strings.TrimPrefix(changes[0], "client_id="), strings.Fields(c.remembered)...)
		}
		s.visitor(alice()).get(ask(changes...)).want(t, c.rule, c.want)
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
		{"empty", &ConsentRecord{}, "consent"},
		{"none", nil, "consent"},
	} {
		s := newSite(t, func(s *site) {
			s.config.Consent = &Consent{Page: "/consent", Store: &consentStub{found: c.found}}
		})
		s.visitor(alice()).get(ask()).want(t, c.rule, c.want)
	}
}

// What was granted at one resource means nothing at another.
func TestConsentsAtDifferentResourcesDoNotAddUp(t *testing.T) {
	s := newSite(t, withConsent)
	v := s.visitor(alice())
	a, b := "+resource=https://api.example/a", "+resource=https://api.example/b"
	v.grant(v.get(ask("scope=openid", a)).want(t, "openid at a", "consent"), "openid").want(t, "agreed", "code")
	v.grant(v.get(ask("scope=profile", b)).want(t, "profile at b", "consent"), "profile").want(t, "agreed", "code")
	v.get(ask("scope=profile", b)).want(t, "profile at b again", "code")
	for _, request := range [][]string{{"scope=profile", a}, {"scope=profile"}, {"scope=openid", b}, {"scope=openid+profile", a, b}} {
		v.get(ask(request...)).want(t, strings.Join(request, " "), "consent")
	}
}

func TestConsentToResources(t *testing.T) {
	s := newSite(t, withConsent)
	v := s.visitor(alice())
	a, b := "+resource=https://api.example/a", "+resource=https://api.example/b"
	v.grant(v.get(ask(a)).want(t, "the first time", "consent"), "openid").want(t, "agreed", "code")
	v.get(ask(a)).want(t, "the same resource", "code")
	v.get(ask()).want(t, "no resource", "consent")
	at := v.get(ask(a, b)).want(t, "one more", "consent")
	v.grant(at, "openid").want(t, "agreed", "code")
	if diff := cmp.Diff([]string{"https://api.example/a", "https://api.example/b"}, s.remembered("web").Resources); diff != "" {
		t.Error(diff)
	}
	v.get(ask(a)).want(t, "one fewer", "consent")
}

// RFC 8252 §8.6, whatever the client is, unless it is the host's own.
func TestWhereConsentMeansAnythingTheNextTime(t *testing.T) {
	public, trusted, unvetted := Client{Public: true}, Client{Trusted: true, Public: true}, Client{Trusted: true, Unvetted: true}
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
		if got := rememberable(&Request{Client: &c.client, RedirectURI: c.uri}); got != c.want {
			t.Errorf("%s: %v, want %v", c.rule, got, c.want)
		}
	}
}

func TestWhatIsRemembered(t *testing.T) {
	for _, c := range []struct {
		rule    string
		before  string
		client  string
		asked   string
		granted string
		want    string
	}{
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
		s := newSite(t, withConsent)
		if c.before != "" {
			s.remember(c.client, strings.Fields(c.before)...)
		}
		v := s.visitor(alice())
		at := v.get(ask("client_id="+c.client, "scope="+strings.ReplaceAll(c.asked, " ", "+"), "prompt=consent")).want(t, c.rule, "consent")
		got := v.grant(at, strings.Fields(c.granted)...).want(t, c.rule, "code")
		var scopes string
		if record := s.remembered(c.client); record != nil {
			scopes = strings.Join(record.Scopes, " ")
			if record.Subject != "alice" || record.ClientID != c.client || !record.GrantedAt.Equal(s.now) || record.GrantedAt.Location() != time.UTC {
				t.Errorf("%s: %+v", c.rule, record)
			}
		}
		if scopes != c.want {
			t.Errorf("%s: %q is remembered, want %q", c.rule, scopes, c.want)
		}
		code, err := s.memory.FindCode(context.Background(), hash(testIssuer+" "+got.params["code"]))
		if err != nil || strings.Join(code.Scopes, " ") != c.granted {
			t.Errorf("%s: the code is for %q, %v", c.rule, code.Scopes, err)
		}
	}
}

func TestOfflineAccessCanBeRefused(t *testing.T) {
	s := newSite(t, withConsent)
	v := s.visitor(alice())
	at := v.get(ask("scope=openid+offline_access", "prompt=consent")).want(t, "asked", "consent")
	got := v.grant(at, "openid").want(t, "agreed to the rest", "code")
	if code, err := s.redeem(got.params["code"], nil); err != nil || slices.Contains(code.Scopes, "offline_access") {
		t.Errorf("%+v, %v", code, err)
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
		s := newSite(t, withConsent)
		v := s.visitor(alice())
		at := v.get(ask()).want(t, c.rule, "consent")
		v.grant(at, c.scopes...).want(t, c.rule, "page Bad Request invalid_request")
		if s.remembered("web") != nil {
			t.Errorf("%s: it is remembered", c.rule)
		}
		v.resume(at).want(t, c.rule+": and back", "consent")
	}
}

func TestConsentDenied(t *testing.T) {
	s := newSite(t, withConsent)
	v := s.visitor(alice())
	v.deny(v.get(ask()).want(t, "asked", "consent")).want(t, "no", "client access_denied")
	if s.remembered("web") != nil {
		t.Error("a no is remembered as a yes")
	}
	v.get(ask()).want(t, "asked anew", "consent")
}

// A grant is of one user: the one to whom the page was shown, in the browser in
// which it was.
func TestAGrantIsOfTheUserWhoSawThePage(t *testing.T) {
	s := newSite(t, withConsent)
	v := s.visitor(alice())
	at := v.get(ask()).want(t, "asked", "consent")
	s.visitor(alice()).grant(at, "openid").want(t, "in another browser", "consent")
	v.session = s.signIn("bob")
	v.grant(at, "openid").want(t, "bob has signed in meanwhile", "consent")
	for _, subject := range []string{"alice", "bob"} {
		if c, err := s.memory.FindConsent(context.Background(), subject, "web"); c != nil || err != nil {
			t.Errorf("remembered for %s: %+v, %v", subject, c, err)
		}
	}
	v.session = nil
	v.grant(at, "openid").want(t, "nobody is signed in any more", "login")
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
		s := newSite(t, withConsent)
		v := s.visitor(alice())
		at := v.get(ask()).want(t, c.rule, "consent")
		c.change(s.memory)
		v.grant(at, "openid").want(t, c.rule, c.want)
		if s.remembered("web") != nil {
			t.Errorf("%s: it is remembered", c.rule)
		}
	}
}

// What was granted may be no longer on offer when the code is made.
func TestAGrantOfNothingThatIsAskedForAnyMore(t *testing.T) {
	s := newSite(t, withConsent)
	client := testClients()[0]
	client.DefaultScopes = []string{"openid", "profile"}
	s.memory.PutClient(client)
	v := s.visitor(alice())
	at := v.get(ask("-scope")).want(t, "asked", "consent")
	sent := v.page(func(w http.ResponseWriter, r *http.Request) { s.handler.Grant(w, r, []string{"profile"}) }, formPost("/consent?req="+at.req, ""))
	client.DefaultScopes = []string{"openid"}
	s.memory.PutClient(client)
	v.follow(sent).want(t, "the default has changed", "client invalid_scope")
}

// Every page is of the user to whom it was shown, and of the request's own way.
func TestAnInteractionIsOfTheUserWhoSawItsPage(t *testing.T) {
	s := newSite(t, withStep(Interaction{Name: "terms", Page: "/terms", Needed: func(context.Context, *session.Session, *Request) (bool, error) { return true, nil }}))
	v := s.visitor(nil)
	login := v.get(ask()).want(t, "nobody is signed in", "login")
	v.session = s.signIn("alice")
	v.complete(login, "terms").want(t, "with the req of the login page", "terms")
	at := v.resume(login).want(t, "alice has to accept", "terms")
	v.session = s.signIn("bob")
	at = v.complete(at, "terms").want(t, "bob has signed in meanwhile", "terms")
	v.complete(at, "terms").want(t, "bob has seen them too", "code")
}

func TestConsentWithoutAStoreIsAskedForEveryTime(t *testing.T) {
	s := newSite(t, func(s *site) { s.config.Consent = &Consent{Page: "/consent"} })
	v := s.visitor(alice())
	for _, visit := range []string{"first", "second"} {
		v.grant(v.get(ask()).want(t, visit, "consent"), "openid").want(t, visit, "code")
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
		s := newSite(t, func(s *site) {
			s.config.Consent = &Consent{Page: "/consent", Store: c.store}
			if c.store.late {
				s.config.Timeout = impatient
			}
		})
		s.visitor(alice()).get(ask()).want(t, c.rule, c.want)
		if e := s.lastEvent(); e.Err == nil || !strings.Contains(e.Err.Error(), "ConsentStore.FindConsent") {
			t.Errorf("%s: the log does not say where it failed: %v", c.rule, e.Err)
		}
	}
}

// Of a client that nobody has vetted, the user sees the failure too.
func TestTheConsentStoreFailsForAnUnvettedClient(t *testing.T) {
	for _, query := range []string{ask("client_id=new"), ask("client_id=new", "prompt=none")} {
		s := newSite(t, func(s *site) {
			s.config.Consent = &Consent{Page: "/consent", Store: &consentStub{findErr: errors.New("down")}}
		})
		s.visitor(alice()).get(query).want(t, "down", "page Service Unavailable server_error")
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
		store := &consentStub{}
		s := newSite(t, func(s *site) { s.config.Consent = &Consent{Page: "/consent", Store: store} })
		v := s.visitor(alice())
		at := v.get(ask()).want(t, c.rule, "consent")
		c.fail(store)
		if store.late {
			s.config.Timeout = impatient
			s.restart()
		}
		v.grant(at, "openid").want(t, c.rule, c.want)
		*store = consentStub{keeps: true}
		s.config.Timeout = 0
		s.restart()
		v.grant(at, "openid").want(t, c.rule+": tried again", "code")
	}
}

// A store that mixes users up must not make one user's consent another's.
func TestARecordOfAnotherUserIsNotMerged(t *testing.T) {
	for _, before := range []*ConsentRecord{
		{Subject: "bob", ClientID: "web", Scopes: []string{"api:write"}},
		{Subject: "alice", ClientID: "spa", Scopes: []string{"api:write"}},
	} {
		store := &consentStub{found: before}
		s := newSite(t, func(s *site) { s.config.Consent = &Consent{Page: "/consent", Store: store} })
		v := s.visitor(alice())
		v.grant(v.get(ask()).want(t, "asked", "consent"), "openid")
		if store.saved != nil && slices.Contains(store.saved.Scopes, "api:write") {
			t.Errorf("%+v was merged into %+v", before, store.saved)
		}
	}
}

// The page of the host may be in another process and record its outcome itself.
func TestAnInteractionThatRecordsItsOutcomeItself(t *testing.T) {
	accepted := false
	s := newSite(t, withStep(Interaction{Name: "terms", Page: "https://pages.example/terms", Needed: func(context.Context, *session.Session, *Request) (bool, error) { return !accepted, nil }}))
	v := s.visitor(alice())
	at := v.get(ask()).want(t, "asked", "terms")
	if !strings.HasPrefix(at.location, "https://pages.example/terms?req=") {
		t.Errorf("to %s", at.location)
	}
	v.resume(at).want(t, "not accepted", "terms")
	accepted = true
	v.resume(at).want(t, "accepted", "code")
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
		s := newSite(t, withStep(Interaction{Name: "terms", Page: "/terms", Needed: c.needed}), func(s *site) {
			if c.rule == "too late" {
				s.config.Timeout = impatient
			}
		})
		s.visitor(alice()).get(ask()).want(t, c.rule, c.want)
	}
}

func TestAnInteractionThatAPromptAsksFor(t *testing.T) {
	s := newSite(t, withStep(Interaction{Name: "accounts", Prompt: "select_account", Page: "/accounts"}))
	v := s.visitor(alice())
	v.get(ask()).want(t, "not asked for", "code")
	at := v.get(ask("prompt=select_account")).want(t, "asked for", "accounts")
	v.resume(at).want(t, "came back", "accounts")
	v.session = s.signIn("bob")
	v.complete(at, "accounts").want(t, "chosen", "code")
	s.visitor(alice()).get(ask("prompt=select_account+none")).want(t, "with none", "client invalid_request")
}

// Who agrees is who was chosen, wherever the host names the page.
func TestAnAccountIsChosenBeforeConsent(t *testing.T) {
	s := newSite(t, withConsent, withStep(Interaction{Name: "terms", Page: "/terms", Needed: always}),
		withStep(Interaction{Name: "accounts", Prompt: "select_account", Page: "/accounts"}))
	v := s.visitor(alice())
	at := v.get(ask("prompt=select_account")).want(t, "asked", "accounts")
	v.session = bob()
	at = v.complete(at, "accounts").want(t, "chosen", "consent")
	at = v.grant(at, "openid").want(t, "agreed", "terms")
	v.complete(at, "terms").want(t, "accepted", "code")
}

// A choice is kept while the one who was chosen signs in anew, and is no sign-in itself.
func TestAChosenAccountThatHasToSignIn(t *testing.T) {
	for _, c := range []struct{ rule, ask string }{
		{"prompt=login", "prompt=login+select_account"},
		{"max_age", "max_age=60"},
	} {
		s := newSite(t, withStep(Interaction{Name: "accounts", Prompt: "select_account", Page: "/accounts", Needed: always}))
		v := s.visitor(&session.Session{ID: "alice-1", Subject: "alice", AuthTime: testStart.Add(-time.Hour)})
		at := v.get(ask(c.ask)).want(t, c.rule, "login")
		s.now = s.now.Add(10 * time.Second)
		v.session = s.signIn("alice")
		at = v.resume(at).want(t, c.rule, "accounts")
		v.session = &session.Session{ID: "bob-1", Subject: "bob", AuthTime: testStart.Add(-2 * time.Minute)}
		at = v.complete(at, "accounts").want(t, c.rule+", an older account was chosen", "login")
		at = v.resume(at).want(t, c.rule+", back without signing in", "login")
		s.now = s.now.Add(10 * time.Second)
		v.session = s.signIn("bob")
		v.resume(at).want(t, c.rule+", signed in", "code")
	}
}
