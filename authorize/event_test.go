package authorize

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// One row for every kind of event; there are no others.
func TestWhatIsReported(t *testing.T) {
	web := Event{ClientID: "web", RedirectHost: "app.example", Scopes: []string{"openid"}, ResponseType: "code"}
	with := func(e Event, change func(*Event)) Event { change(&e); return e }
	signedIn := with(web, func(e *Event) { e.Subject, e.SessionID = "alice", "alice-1" })
	for _, c := range []struct {
		rule string
		do   func(s *site)
		want Event
	}{
		{"approved", func(s *site) { s.visitor(alice()).get(ask()) }, with(signedIn, func(e *Event) { e.Kind, e.Reason = EventApproved, ReasonSatisfied })},
		{"approved, without a scope that nobody agreed to", func(s *site) { s.visitor(alice()).get(ask("scope=openid+offline_access")) }, with(signedIn, func(e *Event) {
			e.Kind, e.Reason, e.LeftOut = EventApproved, ReasonSatisfied, []string{"offline_access"}
		})},
		{"refused, without a scope that does not exist", func(s *site) {
			s.config.IgnoreUnknownScopes = true
			s.restart()
			s.visitor(nil).get(ask("scope=openid+groups", "prompt=none"))
		}, with(web, func(e *Event) {
			e.Kind, e.Reason, e.Code, e.LeftOut = EventRefused, ReasonNotSignedIn, oautherr.LoginRequired, []string{"groups"}
		})},
		{"approved by form_post", func(s *site) { s.visitor(alice()).get(ask("response_mode=form_post")) }, with(signedIn, func(e *Event) { e.Kind, e.Reason, e.ResponseMode = EventApproved, ReasonSatisfied, "form_post" })},
		{"nothing", func(s *site) { s.visitor(alice()).get(ask("response_type=none")) }, with(signedIn, func(e *Event) { e.Kind, e.Reason, e.ResponseType = EventApproved, ReasonSatisfied, "none" })},
		{"refused by the decision", func(s *site) { s.visitor(nil).get(ask("prompt=none")) }, with(web, func(e *Event) { e.Kind, e.Reason, e.Code = EventRefused, ReasonNotSignedIn, oautherr.LoginRequired })},
		{"refused by a rule of the host's", func(s *site) {
			s.config.CheckRequest = func(context.Context, *Request) error { return oautherr.InvalidRequest.With("No.") }
			s.restart()
			s.visitor(nil).get(ask())
		}, with(web, func(e *Event) { e.Kind, e.Code = EventRefused, oautherr.InvalidRequest })},
		{"refused by a check", func(s *site) { s.visitor(alice()).get(ask("scope=unknown")) }, Event{Kind: EventRefused, Code: oautherr.InvalidScope, ClientID: "web"}},
		{"refused by the user", func(s *site) { v := s.visitor(nil); v.deny(v.get(ask())) }, with(web, func(e *Event) { e.Kind, e.Reason, e.Code = EventRefused, ReasonDenied, oautherr.AccessDenied })},
		{"an error page, nobody is known", func(s *site) { s.visitor(nil).get(ask("client_id=unknown")) }, Event{Kind: EventErrorPage, Reason: ReasonUnknownClient, Code: oautherr.InvalidClient}},
		{"an error page, the client is known", func(s *site) { s.visitor(nil).get(ask("redirect_uri=https://evil.example/")) }, Event{Kind: EventErrorPage, Reason: ReasonRedirectURI, Code: oautherr.RedirectURIMismatch, ClientID: "web"}},
		{"an unvetted client", func(s *site) { s.visitor(nil).get(ask("client_id=new", "scope=unknown")) }, Event{Kind: EventErrorPage, Code: oautherr.InvalidScope, ClientID: "new"}},
		{"the login page", func(s *site) { s.visitor(nil).get(ask()) }, with(web, func(e *Event) { e.Kind, e.Reason, e.Interaction = EventInteraction, ReasonNotSignedIn, "login" })},
		{"another page", func(s *site) { s.visitor(alice()).get(ask("prompt=select_account")) }, with(signedIn, func(e *Event) { e.Kind, e.Reason, e.Interaction = EventInteraction, ReasonInteraction, "accounts" })},
		{"consent", func(s *site) {
			withConsent(s)
			s.restart()
			v := s.visitor(alice())
			v.allow(v.get(ask("scope=openid+profile")), Granted{Scopes: []string{"openid"}})
		}, Event{Kind: EventCompleted, ClientID: "web", Subject: "alice", SessionID: "alice-1", Scopes: []string{"openid"}, Interaction: "consent"}},
		{"asked again by GET", func(s *site) { s.visitor(nil).post(ask()) }, with(web, func(e *Event) { e.Kind = EventAskedAgain })},
		{"redeemed", func(s *site) { s.redeem(s.visitor(alice()).get(ask()).params["code"], nil) }, Event{Kind: EventRedeemed, ClientID: "web", Subject: "alice", SessionID: "alice-1", Scopes: []string{"openid"}}},
		{"not redeemed", func(s *site) { s.redeem("unknown", nil) }, Event{Kind: EventNotRedeemed, Code: oautherr.InvalidGrant}},
		{"not redeemed by another client", func(s *site) {
			s.redeem(s.visitor(alice()).get(ask()).params["code"], func(r *Redemption) { r.ClientID = "spa" })
		}, Event{Kind: EventNotRedeemed, Code: oautherr.InvalidGrant, ClientID: "web", Subject: "alice", SessionID: "alice-1", Scopes: []string{"openid"}}},
		{"replayed", func(s *site) {
			code := s.visitor(alice()).get(ask()).params["code"]
			s.redeem(code, nil)
			s.redeem(code, nil)
		}, Event{Kind: EventReplayed, Code: oautherr.InvalidGrant, ClientID: "web", Subject: "alice", SessionID: "alice-1", Scopes: []string{"openid"}}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withStep(Interaction{Name: "accounts", Prompt: "select_account", Page: "/accounts"}))
			c.do(s)
			got := s.lastEvent()
			if (got.Err != nil) != (got.Code != "") || got.Err != nil && oautherr.Of(got.Err).Code != got.Code {
				t.Errorf("the error is %v, its code %q", got.Err, got.Code)
			}
			if (got.ErrorID != "") != (got.Kind == EventErrorPage) || !got.Time.Equal(s.now) || got.Time.Location() != time.UTC {
				t.Errorf("%+v", got)
			}
			if diff := cmp.Diff(c.want, got, cmpopts.IgnoreFields(Event{}, "Err", "ErrorID", "Time", "GrantID")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestLevels(t *testing.T) {
	for _, c := range []struct {
		rule string
		e    Event
		want slog.Level
	}{
		{"approved", Event{Kind: EventApproved}, slog.LevelInfo},
		{"a page", Event{Kind: EventInteraction}, slog.LevelInfo},
		{"refused", Event{Kind: EventRefused, Code: oautherr.AccessDenied}, slog.LevelInfo},
		{"an error page", Event{Kind: EventErrorPage, Reason: ReasonUnknownClient, Code: oautherr.InvalidClient}, slog.LevelWarn},
		{"an error page without a cause", Event{Kind: EventErrorPage, Code: oautherr.InvalidRequest, Err: oautherr.InvalidRequest.With("x")}, slog.LevelWarn},
		{"a wrong redemption", Event{Kind: EventNotRedeemed, Code: oautherr.InvalidGrant}, slog.LevelWarn},
		{"a replay", Event{Kind: EventReplayed, Code: oautherr.InvalidGrant}, slog.LevelWarn},
		{"a failure that the client was told", Event{Kind: EventRefused, Code: oautherr.ServerError}, slog.LevelError},
		{"the browser went away", Event{Kind: EventErrorPage, Code: oautherr.ServerError, Err: oautherr.ServerError.Because(context.Canceled)}, slog.LevelInfo},
		{"maintenance", Event{Kind: EventRefused, Code: oautherr.TemporarilyUnavailable, Err: oautherr.TemporarilyUnavailable.With("Back at noon.")}, slog.LevelInfo},
		{"too slow", Event{Kind: EventRefused, Code: oautherr.TemporarilyUnavailable, Err: oautherr.TemporarilyUnavailable.Because(context.DeadlineExceeded)}, slog.LevelError},
		{"a failure on a page", Event{Kind: EventErrorPage, Code: oautherr.TemporarilyUnavailable}, slog.LevelError},
		{"a client whose server is down", Event{Kind: EventErrorPage, Reason: ReasonClientUnreachable, Code: oautherr.TemporarilyUnavailable, Err: oautherr.TemporarilyUnavailable.Because(context.DeadlineExceeded)}, slog.LevelWarn},
		{"a failure at redemption", Event{Kind: EventNotRedeemed, Code: oautherr.ServerError}, slog.LevelError},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if got := c.e.level(); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestHowLongItTookIsReported(t *testing.T) {
	s := newSite(t, func(s *site) {
		s.config.Now = func() time.Time { s.now = s.now.Add(time.Millisecond); return s.now }
	})
	s.visitor(nil).get("")
	if e := s.lastEvent(); e.Duration != time.Millisecond || !strings.Contains(s.log.String(), `"duration":1000000`) {
		t.Errorf("%s, log %s", e.Duration, s.log.String())
	}
}

func TestALoggerThatWantsLessIsGivenLess(t *testing.T) {
	s := newSite(t, func(s *site) {
		s.config.Logger = slog.New(slog.NewJSONHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelError}))
	})
	s.visitor(nil).get(ask())
	s.visitor(nil).get("")
	if s.log.Len() != 0 || len(s.events) != 2 {
		t.Errorf("%d events, log %s", len(s.events), s.log.String())
	}
}

func TestTheLogSaysWhyAndTheClientDoesNot(t *testing.T) {
	s := newSite(t, func(s *site) {
		s.config.Sessions = SessionFunc(func(*http.Request) (*session.Session, error) { return nil, errors.New("dial tcp 10.0.0.7") })
	})
	got := s.visitor(nil).get(ask()).want("client server_error", "down")
	if strings.Contains(got.location, "10.0.0.7") || strings.Contains(got.location, "SessionStore") {
		t.Errorf("the client reads %s", got.location)
	}
	var line map[string]any
	if err := json.Unmarshal(s.log.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	failure, _ := line["error"].(map[string]any)
	want := map[string]any{"code": "server_error", "description": "The server met an unexpected condition.", "cause": "SessionStore.Session: dial tcp 10.0.0.7"}
	if diff := cmp.Diff(want, failure); diff != "" || line["level"] != "ERROR" || line["msg"] != "authorization refused" {
		t.Errorf("(-want +got)\n%s in %s", diff, s.log.String())
	}
}

// diary collects everything that must never be logged, from all flows.
type diary struct {
	*site
	secrets map[string]string
}

func (d *diary) note(what, secret string) {
	if len(secret) >= 6 {
		d.secrets[secret] = what
	}
}

func (d *diary) reply(got *reply) *reply {
	d.note("a code", got.params["code"])
	d.note("a sealed request", got.req)
	for _, part := range strings.Split(got.req, ".") {
		d.note("part of a sealed request", part)
	}
	d.note("a Location", got.location)
	for _, c := range got.cookies {
		d.note("a cookie", c.Value)
		_, secret, _ := strings.Cut(c.Value, ".")
		d.note("a cookie's secret", secret)
	}
	return got
}

const (
	secretState = "state-7f3a9c"
	secretNonce = "nonce-5b1d8e"
	secretHint  = "hint-of-alice"
	secretLogin = "carol.hint@example.com"
)

// runMany runs every kind of flow, each with values that can be told in a log. The corpus
// looks at the log of every single answer.
func (d *diary) runMany(t *testing.T) {
	for value, what := range map[string]string{secretState: "a state", secretNonce: "a nonce", secretHint: "a hint", secretLogin: "a login hint", testVerifier: "a verifier", testChallenge: "a challenge", "client=secret": "a claim"} {
		d.note(what, value)
	}
	secret := []string{"state=" + secretState, "nonce=" + secretNonce, "login_hint=" + secretLogin, "id_token_hint=" + secretHint, "claims=%7B%22a%22:%22client=secret%22%7D"}
	ask := func(more ...string) string { return ask(slices.Concat(secret, more)...) }
	for _, more := range []string{"x_tenant=1", "prompt=login", "client_id=new", "client_id=native", "response_mode=form_post", "scope=openid+offline_access"} {
		v := d.visitor(nil)
		d.reply(v.post(ask(more)))
		at := d.reply(v.get(ask(more)))
		d.reply(v.get("req=" + flip(at.req, len(at.req)-3)))
		d.reply(d.visitor(nil).resume(at))
		if _, err := d.handler.Pending(httptest.NewRequest("GET", "/login?req="+at.req, nil)); err != nil {
			t.Fatal(err)
		}
		v.session = d.signIn("alice")
		consent := d.reply(v.resume(at))
		d.reply(v.grant(consent, "nothing"))
		d.reply(d.visitor(alice()).grant(consent, "openid"))
		done := d.reply(v.grant(consent, "openid"))
		r := Redemption{Code: done.params["code"], ClientID: "web", RedirectURI: done.target, Verifier: testVerifier}
		for _, change := range []func(*Redemption){func(r *Redemption) { r.Verifier = flip(testVerifier, 1) }, nil, nil} {
			d.redeem(r.Code, change)
		}
		other := d.visitor(nil)
		d.reply(other.deny(d.reply(other.get(ask(more)))))
		d.reply(d.visitor(bob()).get(ask(more, "prompt=none")))
	}
}

func TestNothingSecretIsEverLogged(t *testing.T) {
	for rule, broken := range map[string]bool{"every flow": false, "a login page that cannot be sent to": true} {
		t.Run(rule, func(t *testing.T) {
			d := &diary{newSite(t, withConsent), map[string]string{}}
			d.config.Logger.Info("a line that is there") // the control
			if broken {
				d.config.Login = loginFunc(func(_ context.Context, p *Pending) (string, error) {
					d.note("a sealed request", p.JWT)
					return "https://[::1?req=" + p.JWT, nil
				})
				d.restart()
				d.note("a state", secretState)
				d.reply(d.visitor(nil).get(ask("state=" + secretState)))
			} else {
				d.runMany(t)
			}
			kinds := map[EventKind]int{}
			for _, e := range d.events {
				kinds[e.Kind]++
				// However a host writes an event down.
				d.config.Logger.Info("event", "event", e, "error", e.Err)
				fmt.Fprintf(&d.log, "%v %+v\n", e, e)
			}
			if !broken {
				for _, kind := range []EventKind{EventApproved, EventRefused, EventErrorPage, EventInteraction, EventCompleted, EventAskedAgain, EventRedeemed, EventNotRedeemed, EventReplayed} {
					if kinds[kind] == 0 {
						t.Errorf("no flow led to the event %s", kind)
					}
					delete(kinds, kind)
				}
				if len(kinds) != 0 {
					t.Errorf("the set of kinds is not closed: %v", kinds)
				}
			}
			text := d.log.String()
			if !strings.Contains(text, "a line that is there") || len(d.secrets) < 3 {
				t.Fatalf("%d secrets, log %.200s", len(d.secrets), text)
			}
			for secret, what := range d.secrets {
				if i := strings.Index(text, secret); i >= 0 {
					t.Errorf("%s is in the log: %q in …%s…", what, secret, text[max(0, i-200):min(len(text), i+len(secret)+50)])
				}
			}
		})
	}
}

func TestAKeyKeepsItsSecret(t *testing.T) {
	var log strings.Builder
	key := Key{ID: "one", Secret: []byte("0123456789abcdef0123456789abcdef")}
	slog.New(slog.NewTextHandler(&log, nil)).Info("configured", "key", key)
	fmt.Fprintf(&log, "%v %+v", key, &key)
	if got := log.String(); strings.Contains(got, "0123") || strings.Contains(got, "48 49") || strings.Count(got, "key one") != 3 {
		t.Error(got)
	}
}

// Either of the two is enough.
func TestEventsReachTheLoggerOrTheObserver(t *testing.T) {
	s := newSite(t, func(s *site) { s.config.OnEvent = nil })
	s.visitor(alice()).get(ask())
	if !strings.Contains(s.log.String(), "authorization approved") {
		t.Errorf("without OnEvent nothing is logged: %q", s.log.String())
	}
	s = newSite(t, func(s *site) { s.config.Logger = nil })
	s.visitor(alice()).get(ask())
	if len(s.events) != 1 {
		t.Errorf("without a Logger %d events", len(s.events))
	}
}
