package authorize

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/pkce"
	"github.com/usher-auth/usher/session"
)

func TestWhatACodeStandsFor(t *testing.T) {
	s := newSite(t)
	s.now = testStart.Add(1234567 * time.Nanosecond) // finer than a record holds
	who := &session.Session{ID: "sid", Subject: "alice", AuthTime: testStart.Add(-time.Minute + 999), ACR: "2", AMR: []string{"pwd", "otp"}, Data: []byte("host")}
	got := s.visitor(who).get(ask("scope=openid+profile", "+resource=https://api.example/a", `claims=%7B%22id_token%22:%7B%22a%22:null%7D%7D`)).want("code")
	code, err := s.redeem(got.params["code"], nil)
	if err != nil {
		t.Fatal(err)
	}
	at := testStart.Add(time.Millisecond)
	want := &Code{
		ClientID: "web", RedirectURI: "https://app.example/cb", RedirectURISent: true, Challenge: testChallenge,
		Scopes: []string{"openid", "profile"}, Resources: []string{"https://api.example/a"},
		GrantedResources: []string{"https://api.example/a"}, GrantID: s.events[0].GrantID,
		Subject: "alice", AuthTime: testStart.Add(-time.Minute), ACR: "2", AMR: []string{"pwd", "otp"}, Nonce: "n-1",
		Claims: json.RawMessage(`{"id_token":{"a":null}}`), SessionID: "sid", SessionData: []byte("host"),
		IssuedAt: at, ExpiresAt: at.Add(time.Minute), UsedAt: at,
	}
	if diff := cmp.Diff(want, code); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, when := range []time.Time{code.AuthTime, code.IssuedAt, code.ExpiresAt} {
		if when.Location() != time.UTC || when.Nanosecond()%1e6 != 0 {
			t.Errorf("%s is not UTC in milliseconds", when)
		}
	}
}

// What a host does with its session afterwards is no longer our code's business.
func TestACodeSharesNoMemoryWithTheSession(t *testing.T) {
	kept := &codeStub{}
	s := newSite(t, func(s *site) { s.config.Codes = kept })
	who := alice()
	who.Data = []byte("host")
	s.visitor(who).get(ask()).want("code")
	who.Data[0], who.AMR[0] = 'X', "X"
	if string(kept.saved.SessionData) != "host" || kept.saved.AMR[0] != "pwd" {
		t.Errorf("%s, %v", kept.saved.SessionData, kept.saved.AMR)
	}
}

func TestCodesCannotBeGuessed(t *testing.T) {
	s := newSite(t)
	seen := map[string]bool{}
	var all []byte
	for range 2000 {
		code := s.visitor(alice()).get(ask()).params["code"]
		raw, err := base64.RawURLEncoding.DecodeString(code)
		if err != nil || len(raw) != 32 || seen[code] {
			t.Fatalf("%q: %d bytes, %v, seen: %v", code, len(raw), err, seen[code])
		}
		seen[code] = true
		all = append(all, raw...)
	}
	if bits := entropy(all); bits < 7.99 {
		t.Errorf("a byte of the codes has %.3f bits", bits)
	}
	// The check that conformance suites make: a single code by itself.
	for code := range seen {
		if bits := entropy([]byte(code)) * float64(len(code)); bits < 128 {
			t.Errorf("%s has %.0f bits by its own letters", code, bits)
		}
		break
	}
}

func entropy(b []byte) (bits float64) {
	var count [256]float64
	for _, c := range b {
		count[c]++
	}
	for _, n := range count {
		if p := n / float64(len(b)); p > 0 {
			bits -= p * math.Log2(p)
		}
	}
	return bits
}

func TestACodeIsStoredHashed(t *testing.T) {
	kept := &codeStub{}
	code := newSite(t, func(s *site) { s.config.Codes = kept }).visitor(alice()).get(ask()).params["code"]
	sum := sha256.Sum256([]byte(testIssuer + " " + code))
	if want := base64.RawURLEncoding.EncodeToString(sum[:]); kept.hash != want {
		t.Errorf("stored under %q, want %q", kept.hash, want)
	}
	record, _ := json.Marshal(kept.saved)
	if bytes.Contains(record, []byte(code)) {
		t.Errorf("the code is in its own record: %s", record)
	}
}

// Each row is a redemption of a code of the good request, as its client would make
// it but for one thing. What fails does not use the code up.
func TestRedeem(t *testing.T) {
	for _, c := range []struct {
		rule   string
		ask    []string // changes of the request
		change func(*Redemption)
		after  time.Duration
		err    oautherr.Code // empty: it is redeemed
	}{
		{"as it should be", nil, nil, 0, ""},
		{"a millisecond before it expires", nil, nil, time.Minute - time.Millisecond, ""},
		{"at the moment it expires", nil, nil, time.Minute, oautherr.InvalidGrant},
		{"an hour later", nil, nil, time.Hour, oautherr.InvalidGrant},
		{"another client", nil, func(r *Redemption) { r.ClientID = "spa" }, 0, oautherr.InvalidGrant},
		{"another client, expired", nil, func(r *Redemption) { r.ClientID = "spa" }, time.Minute, oautherr.InvalidGrant},
		{"the client in the other case", nil, func(r *Redemption) { r.ClientID = "WEB" }, 0, oautherr.InvalidGrant},
		{"no client", nil, func(r *Redemption) { r.ClientID = "" }, 0, oautherr.InvalidGrant},
		{"another code", nil, func(r *Redemption) { r.Code = flip(r.Code, 5) }, 0, oautherr.InvalidGrant},
		{"no code", nil, func(r *Redemption) { r.Code = "" }, 0, oautherr.InvalidGrant},
		{"the hash of the code", nil, func(r *Redemption) { r.Code = hash(testIssuer + " " + r.Code) }, 0, oautherr.InvalidGrant},
		{"a code with something behind it", nil, func(r *Redemption) { r.Code += " " }, 0, oautherr.InvalidGrant},
		{"another redirect URI", nil, func(r *Redemption) { r.RedirectURI = "https://app.example/" }, 0, oautherr.InvalidGrant},
		{"another redirect URI of the client", []string{"client_id=spa"}, func(r *Redemption) { r.ClientID, r.RedirectURI = "spa", "https://spa.example/cb2" }, 0, oautherr.InvalidGrant},
		{"no redirect URI, with PKCE", nil, func(r *Redemption) { r.RedirectURI = "" }, 0, ""},
		{"another loopback port", []string{"client_id=native", "redirect_uri=http%3A%2F%2F127.0.0.1%3A5000%2Fcb"}, func(r *Redemption) { r.ClientID, r.RedirectURI = "native", "http://127.0.0.1:5001/cb" }, 0, oautherr.InvalidGrant},
		{"the same loopback port", []string{"client_id=native", "redirect_uri=http%3A%2F%2F127.0.0.1%3A5000%2Fcb"}, func(r *Redemption) { r.ClientID, r.RedirectURI = "native", "http://127.0.0.1:5000/cb" }, 0, ""},
		{"the registered URI for another port", []string{"client_id=native", "redirect_uri=http%3A%2F%2F127.0.0.1%3A5000%2Fcb"}, func(r *Redemption) { r.ClientID, r.RedirectURI = "native", "http://127.0.0.1/cb" }, 0, oautherr.InvalidGrant},
		{"no verifier", nil, func(r *Redemption) { r.Verifier = "" }, 0, oautherr.InvalidGrant},
		{"another verifier", nil, func(r *Redemption) { r.Verifier = flip(testVerifier, 0) }, 0, oautherr.InvalidGrant},
		{"the challenge for the verifier", nil, func(r *Redemption) { r.Verifier = testChallenge }, 0, oautherr.InvalidGrant},
		{"a verifier that is too short", nil, func(r *Redemption) { r.Verifier = testVerifier[:42] }, 0, oautherr.InvalidGrant},

		{"no PKCE, no verifier", []string{"client_id=legacy", "-code_challenge", "-code_challenge_method"}, legacy(nil), 0, ""},
		{"no PKCE and a verifier", []string{"client_id=legacy", "-code_challenge", "-code_challenge_method"}, legacy(func(r *Redemption) { r.Verifier = testVerifier }), 0, oautherr.InvalidGrant},
		{"no PKCE, no redirect URI though it was sent", []string{"client_id=legacy", "-code_challenge", "-code_challenge_method"}, legacy(func(r *Redemption) { r.RedirectURI = "" }), 0, oautherr.InvalidGrant},
		{"neither PKCE nor redirect URI ever", []string{"client_id=only", "scope=api%3Aread", "-redirect_uri", "-code_challenge", "-code_challenge_method"}, func(r *Redemption) { *r = Redemption{Code: r.Code, ClientID: "only"} }, 0, ""},
		{"the default redirect URI, named at redemption", []string{"client_id=only", "scope=api%3Aread", "-redirect_uri", "-code_challenge", "-code_challenge_method"}, func(r *Redemption) {
			*r = Redemption{Code: r.Code, ClientID: "only", RedirectURI: "https://only.example/cb"}
		}, 0, ""},
		{"another than the default redirect URI", []string{"client_id=only", "scope=api%3Aread", "-redirect_uri", "-code_challenge", "-code_challenge_method"}, func(r *Redemption) {
			*r = Redemption{Code: r.Code, ClientID: "only", RedirectURI: "https://evil.example/"}
		}, 0, oautherr.InvalidGrant},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t)
			code := s.visitor(alice()).get(ask(c.ask...)).want("code").params["code"]
			s.now = s.now.Add(c.after)
			got, err := s.redeem(code, c.change)
			var replay *ReplayError
			if c.err == "" {
				if err != nil || got == nil || got.Subject != "alice" {
					t.Errorf("%+v, %v", got, err)
				}
				return
			}
			if got != nil || !errors.Is(err, c.err) || errors.As(err, &replay) {
				t.Errorf("%+v, %v, want %s", got, err, c.err)
			}
			if record, _ := s.memory.FindCode(context.Background(), hash(testIssuer+" "+code)); record == nil || !record.UsedAt.IsZero() {
				t.Errorf("the code is used up: %+v", record)
			}
		})
	}
}

// It is the hash that proves; what is wrong with a verifier stands in the log.
func TestVerifiersAtRedemption(t *testing.T) {
	with := func(end string) string { return testVerifier[len(end):] + end }
	for _, c := range []struct{ rule, made, sent, want string }{
		{"well formed", testVerifier, testVerifier, ""},
		{"base64 with padding", with("a+/="), with("a+/="), ""},
		{"128 printable characters", strings.Repeat("~", 128), strings.Repeat("~", 128), ""},
		{"none", testVerifier, "", "code_verifier is missing"},
		{"another one", testVerifier, with("x"), "code_verifier is wrong"},
		{"42 characters", testVerifier, testVerifier[:42], "code_verifier has 42 characters, and RFC 7636 wants 43 to 128"},
		{"128 characters, and another one", testVerifier, strings.Repeat("~", 128), "code_verifier is wrong"},
		{"129 characters that would prove", strings.Repeat("~", 129), strings.Repeat("~", 129), "code_verifier has 129 characters, and RFC 7636 wants 43 to 128"},
		{"padding, and another one", testVerifier, with("="), "code_verifier has characters that RFC 7636 does not allow, and its hash is wrong"},
		{"a space that would prove", with(" "), with(" "), "code_verifier has characters that RFC 7636 does not allow and that are not printable ASCII"},
		{"a space, and another one", testVerifier, with(" "), "code_verifier has characters that RFC 7636 does not allow, and its hash is wrong"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t)
			code := s.visitor(alice()).get(ask("code_challenge=" + pkce.Challenge(c.made))).want("code").params["code"]
			got, err := s.redeem(code, func(r *Redemption) { r.Verifier = c.sent })
			if c.want == "" {
				if err != nil || got == nil {
					t.Errorf("not redeemed: %v", err)
				}
				return
			}
			if want := "invalid_grant: " + oautherr.InvalidGrant.Description() + ": " + c.want; got != nil || !errors.Is(err, oautherr.InvalidGrant) || s.lastEvent().Err.Error() != want {
				t.Errorf("%v, the log says %q, want %q", err, s.lastEvent().Err, want)
			}
		})
	}
}

// A store keeps what it is given, whatever becomes of the original.
func TestACloneSharesNoMemory(t *testing.T) {
	code := func() *Code {
		return &Code{
			ClientID: "web", Scopes: []string{"openid"}, Resources: []string{"r"}, AMR: []string{"pwd"},
			Claims: json.RawMessage(`{}`), SessionData: []byte("host"), Parameters: map[string]string{"x": "y"},
		}
	}
	original := code()
	clone := original.Clone()
	if diff := cmp.Diff(original, clone); diff != "" {
		t.Errorf("another record: (-want +got)\n%s", diff)
	}
	original.Scopes[0], original.Resources[0], original.AMR[0] = "!", "!", "!"
	original.Claims[0], original.SessionData[0], original.Parameters["x"] = '!', '!', "!"
	if diff := cmp.Diff(code(), clone); diff != "" {
		t.Errorf("it changed with the original: (-want +got)\n%s", diff)
	}
	if clone = (&Code{}).Clone(); clone.Parameters != nil || (*Code)(nil).Clone() != nil {
		t.Errorf("of nothing something became: %+v", clone)
	}
}

// A record without a client, which no store of ours keeps, is nobody's.
func TestARecordWithoutAClientMatchesNothing(t *testing.T) {
	if err := (&Code{}).matches(Redemption{}); err == nil {
		t.Error("it is redeemed by a client without a name")
	}
}

func legacy(change func(*Redemption)) func(*Redemption) {
	return func(r *Redemption) {
		r.ClientID, r.RedirectURI, r.Verifier = "legacy", "https://legacy.example/cb", ""
		if change != nil {
			change(r)
		}
	}
}

func TestReplay(t *testing.T) {
	for _, c := range []struct {
		rule   string
		change func(*Redemption)
		after  time.Duration
		replay bool
	}{
		{"at once", nil, 0, true},
		{"after it expired", nil, 5 * time.Minute, true},
		{"without the redirect URI, which PKCE makes up for", func(r *Redemption) { r.RedirectURI = "" }, 0, true},
		{"by another client", func(r *Redemption) { r.ClientID = "spa" }, 0, false},
		{"with another verifier", func(r *Redemption) { r.Verifier = flip(testVerifier, 1) }, 0, false},
		{"without a verifier", func(r *Redemption) { r.Verifier = "" }, 0, false},
		{"with another redirect URI", func(r *Redemption) { r.RedirectURI = "https://evil.example/" }, 0, false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t)
			code := s.visitor(alice()).get(ask()).params["code"]
			first, err := s.redeem(code, nil)
			if err != nil {
				t.Fatal(err)
			}
			used := s.now
			s.now = s.now.Add(c.after)
			got, err := s.redeem(code, c.change)
			if got != nil || !errors.Is(err, oautherr.InvalidGrant) {
				t.Errorf("%+v, %v", got, err)
			}
			var replay *ReplayError
			if errors.As(err, &replay) != c.replay {
				t.Errorf("%v, reported as a replay: %v", err, !c.replay)
				return
			}
			kind := s.lastEvent().Kind
			if !c.replay {
				if kind != EventNotRedeemed {
					t.Errorf("reported as %s", kind)
				}
				return
			}
			if !replay.Code.UsedAt.Equal(used) || replay.Code.SessionID != first.SessionID || kind != EventReplayed {
				t.Errorf("%+v reported as %s", replay.Code, kind)
			}
			if oautherr.Of(err).Code != oautherr.InvalidGrant || !strings.Contains(err.Error(), "2026-03-01T12:00:00Z") || strings.Contains(err.Error(), code) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func TestOfFiftyRedemptionsOneWins(t *testing.T) {
	s := newSite(t, func(s *site) { s.config.OnEvent = nil })
	code := s.visitor(alice()).get(ask()).params["code"]
	results := make(chan error, 50)
	var start, done sync.WaitGroup
	start.Add(1)
	for range 50 {
		done.Go(func() {
			start.Wait()
			_, err := s.redeem(code, nil)
			results <- err
		})
	}
	start.Done()
	done.Wait()
	close(results)
	won, replayed := 0, 0
	for err := range results {
		var replay *ReplayError
		switch {
		case err == nil:
			won++
		case errors.As(err, &replay):
			replayed++
		default:
			t.Error(err)
		}
	}
	if won != 1 || replayed != 49 {
		t.Errorf("%d won, %d were told that the code was used", won, replayed)
	}
}

// codeStub answers as it is told.
type codeStub struct {
	hash  string
	saved *Code

	saveErr, findErr, takeErr error
	found, given              *Code
	taken                     bool
	late                      string // the operation that answers after the deadline, as if nothing were wrong
	took                      int
}

func (c *codeStub) SaveCode(ctx context.Context, hash string, code *Code) error {
	c.wait(ctx, "save")
	c.hash, c.saved = hash, code
	return c.saveErr
}

func (c *codeStub) FindCode(ctx context.Context, _ string) (*Code, error) {
	c.wait(ctx, "find")
	return c.found, c.findErr
}

func (c *codeStub) TakeCode(ctx context.Context, _ string, _ time.Time) (*Code, bool, error) {
	c.took++
	c.wait(ctx, "take")
	return c.given, c.taken, c.takeErr
}

func (c *codeStub) wait(ctx context.Context, operation string) {
	if c.late == operation {
		<-ctx.Done()
	}
}

func TestTheCodeStoreFailsWhenACodeIsIssued(t *testing.T) {
	for _, c := range []struct {
		rule  string
		store *codeStub
		want  string
	}{
		{"an error", &codeStub{saveErr: errors.New("disk full")}, "client server_error"},
		{"full", &codeStub{saveErr: ErrFull}, "client server_error"},
		{"a timeout", &codeStub{saveErr: fmt.Errorf("sql: %w", context.DeadlineExceeded)}, "client temporarily_unavailable"},
		{"overloaded", &codeStub{saveErr: oautherr.TemporarilyUnavailable}, "client temporarily_unavailable"},
		{"not reached", &codeStub{saveErr: fmt.Errorf("dialling: %w", &net.OpError{Op: "dial", Err: io.EOF})}, "client temporarily_unavailable"},
		{"it is not there", &codeStub{saveErr: oautherr.AccessDenied}, "client server_error"},
		{"success, too late", &codeStub{late: "save"}, "client temporarily_unavailable"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, func(s *site) { s.config.Codes = c.store }, impatientIf(c.store.late != ""))
			got := s.visitor(alice()).get(ask()).want(c.want)
			if got.params["code"] != "" || got.params["state"] != "st-1" {
				t.Error(got.params)
			}
			if e := s.lastEvent(); e.Kind != EventRefused || !strings.Contains(e.Err.Error(), "CodeStore.SaveCode") {
				t.Errorf("reported as %s %v", e.Kind, e.Err)
			}
			if strings.Contains(got.location, "disk") {
				t.Errorf("the client reads the cause: %s", got.location)
			}
		})
	}
}

// A store can fail, lie and be late. Nothing of it is a redemption.
func TestTheCodeStoreFailsAtRedemption(t *testing.T) {
	good := func(change func(*Code)) *Code {
		code := &Code{ClientID: "web", RedirectURI: "https://app.example/cb", RedirectURISent: true, Challenge: testChallenge, Subject: "alice", IssuedAt: testStart, ExpiresAt: testStart.Add(time.Minute)}
		if change != nil {
			change(code)
		}
		return code
	}
	for _, c := range []struct {
		rule  string
		store *codeStub
		err   oautherr.Code // empty: it is redeemed
		took  int
	}{
		{"as it should be", &codeStub{found: good(nil), given: good(nil), taken: true}, "", 1},
		{"cannot find", &codeStub{findErr: errors.New("down"), found: good(nil), given: good(nil), taken: true}, oautherr.ServerError, 0},
		{"cannot find in time", &codeStub{findErr: context.DeadlineExceeded}, oautherr.TemporarilyUnavailable, 0},
		{"finds too late", &codeStub{found: good(nil), given: good(nil), taken: true, late: "find"}, oautherr.TemporarilyUnavailable, 0},
		{"finds nothing", &codeStub{given: good(nil), taken: true}, oautherr.InvalidGrant, 0},
		{"cannot take", &codeStub{found: good(nil), takeErr: errors.New("down"), given: good(nil), taken: true}, oautherr.ServerError, 1},
		{"cannot take in time", &codeStub{found: good(nil), takeErr: context.DeadlineExceeded}, oautherr.TemporarilyUnavailable, 1},
		{"takes too late", &codeStub{found: good(nil), given: good(nil), taken: true, late: "take"}, oautherr.TemporarilyUnavailable, 1},
		{"takes nothing", &codeStub{found: good(nil)}, oautherr.ServerError, 1},
		{"takes nothing and says that it did", &codeStub{found: good(nil), taken: true}, oautherr.ServerError, 1},
		{"somebody else was faster", &codeStub{found: good(nil), given: good(func(c *Code) { c.UsedAt = testStart })}, oautherr.InvalidGrant, 1},
		{"takes another client's", &codeStub{found: good(nil), given: good(func(c *Code) { c.ClientID = "spa" }), taken: true}, oautherr.ServerError, 1},
		{"takes one with another challenge", &codeStub{found: good(nil), given: good(func(c *Code) { c.Challenge = "" }), taken: true}, oautherr.ServerError, 1},
		{"finds one without an expiry", &codeStub{found: good(func(c *Code) { c.ExpiresAt = time.Time{} }), given: good(nil), taken: true}, oautherr.InvalidGrant, 0},
		{"finds one that was used", &codeStub{found: good(func(c *Code) { c.UsedAt = testStart }), given: good(nil), taken: true}, oautherr.InvalidGrant, 0},
		{"finds one that is empty", &codeStub{found: &Code{}, given: &Code{}, taken: true}, oautherr.InvalidGrant, 0},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, func(s *site) { s.config.Codes = c.store }, impatientIf(c.store.late != ""))
			code, err := s.redeem("the-code", nil)
			if c.err == "" && (err != nil || code == nil) || c.err != "" && (code != nil || oautherr.Of(err) == nil || oautherr.Of(err).Code != c.err) {
				t.Errorf("%+v, %v, want %q", code, err, c.err)
			}
			if c.store.took != c.took {
				t.Errorf("TakeCode was called %d times", c.store.took)
			}
		})
	}
}

func TestTheCallersContextBoundsARedemption(t *testing.T) {
	s := newSite(t)
	code := s.visitor(alice()).get(ask()).params["code"]
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if got, err := s.handler.Redeem(ctx, Redemption{Code: code, ClientID: "web", Verifier: testVerifier}); got != nil || !errors.Is(err, oautherr.ServerError) || !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := s.redeem(code, nil); err != nil {
		t.Errorf("and then: %v", err)
	}
}

// What is told to the log and to OnEvent has to arrive though the request's time is
// over.
func TestEventsOfARedemptionAreReportedWithALiveContext(t *testing.T) {
	var ended error
	s := newSite(t, func(s *site) {
		s.config.Timeout = impatient
		s.config.Codes = &codeStub{late: "find"}
		s.config.OnEvent = func(ctx context.Context, _ Event) { ended = ctx.Err() }
	})
	s.redeem("x", nil)
	if ended != nil {
		t.Errorf("OnEvent got a context that is over: %v", ended)
	}
	s.visitor(nil).get(ask())
	if ended != nil {
		t.Errorf("OnEvent got a context that is over: %v", ended)
	}
}

func TestCodesAndRedemptionsRedactThemselves(t *testing.T) {
	s := newSite(t)
	who := alice()
	who.Data = []byte("hostdata")
	got := s.visitor(who).get(ask())
	r := Redemption{Code: got.params["code"], ClientID: "web", Verifier: testVerifier}
	code, err := s.handler.Redeem(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	s.log.Reset()
	s.config.Logger.Info("x", "redemption", r, "pointer", &r, "code", code, "value", *code, "replay", &ReplayError{Code: code})
	for _, text := range []string{s.log.String(), fmt.Sprintf("%v %+v %s", r, r, r), fmt.Sprintf("%v %+v", code, *code), fmt.Sprint(&ReplayError{Code: code})} {
		for _, secret := range []string{got.params["code"], testVerifier, testChallenge, "n-1", "alice-1", "hostdata"} {
			if strings.Contains(text, secret) {
				t.Errorf("%q is in %q", secret, text)
			}
		}
	}
}

func TestTheLifeOfACode(t *testing.T) {
	s := newSite(t, func(s *site) { s.config.CodeLifetime = 10 * time.Minute })
	code := s.visitor(alice()).get(ask()).params["code"]
	s.now = s.now.Add(10*time.Minute - time.Millisecond)
	if _, err := s.redeem(code, nil); err != nil {
		t.Error(err)
	}
}

func TestNothingIsIssuedForResponseTypeNone(t *testing.T) {
	s := newSite(t)
	s.config.Codes = failingCodes{t}
	s.restart()
	got := s.visitor(alice()).get(ask("response_type=none")).want("nothing")
	if len(got.params) != 2 || got.params["state"] != "st-1" {
		t.Errorf("%v", got.params)
	}
	if s.lastEvent().Kind != EventApproved {
		t.Errorf("reported as %s", s.lastEvent().Kind)
	}
}

func TestThePolicyIsAskedOnEveryPath(t *testing.T) {
	for _, c := range []struct {
		rule string
		path func(s *site) *reply
	}{
		{"GET", func(s *site) *reply { return s.visitor(alice()).get(ask()) }},
		{"POST", func(s *site) *reply { return s.visitor(alice()).post(ask()) }},
		{"prompt=none", func(s *site) *reply { return s.visitor(alice()).get(ask("prompt=none")) }},
		{"response_type=none", func(s *site) *reply { return s.visitor(alice()).get(ask("response_type=none")) }},
		{"form_post", func(s *site) *reply { return s.visitor(alice()).get(ask("response_mode=form_post")) }},
		{"a trusted client", func(s *site) *reply { return s.visitor(alice()).get(ask("client_id=own")) }},
		{"back from the login", func(s *site) *reply { v := s.visitor(nil); return v.signIn(v.get(ask()), "alice") }},
		{"a POST that was sent on to GET", func(s *site) *reply {
			v := s.visitor(nil)
			sent := v.post(ask())
			v.session = alice()
			return v.follow(sent)
		}},
		{"after consent", func(s *site) *reply {
			withConsent(s)
			allow := s.config.Allow
			s.config.Allow = nil
			s.restart()
			v := s.visitor(alice())
			at := v.get(ask()).want("consent")
			s.config.Allow = allow
			s.restart()
			return v.grant(at, "openid")
		}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			asked := 0
			s := newSite(t, func(s *site) {
				s.config.Codes = failingCodes{t}
				s.config.Allow = func(_ context.Context, who *session.Session, r *Request) (bool, error) {
					asked++
					if who.Subject != "alice" || r.Client == nil || len(r.Scopes) == 0 {
						t.Errorf("asked about %+v for %+v", who, r)
					}
					return false, nil
				}
			})
			got := c.path(s)
			if got.params["error"] != "access_denied" || asked == 0 {
				t.Errorf("%s; asked %d times", got, asked)
			}
		})
	}
}

func TestThePolicyFails(t *testing.T) {
	for _, c := range []struct {
		rule  string
		allow func(context.Context, *session.Session, *Request) (bool, error)
		want  string
	}{
		{"an error", func(context.Context, *session.Session, *Request) (bool, error) { return true, errors.New("down") }, "client server_error"},
		{"too late", func(ctx context.Context, _ *session.Session, _ *Request) (bool, error) {
			<-ctx.Done()
			return true, nil
		}, "client temporarily_unavailable"},
		{"a timeout", func(ctx context.Context, _ *session.Session, _ *Request) (bool, error) {
			<-ctx.Done()
			return true, ctx.Err()
		}, "client temporarily_unavailable"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, func(s *site) { s.config.Allow = c.allow }, impatientIf(c.rule != "an error"))
			s.visitor(alice()).get(ask()).want(c.want)
		})
	}
}

func TestTheSessionStore(t *testing.T) {
	for _, c := range []struct {
		rule     string
		sessions func(r *http.Request) (*session.Session, error)
		want     string
	}{
		{"an error", func(*http.Request) (*session.Session, error) { return nil, errors.New("down") }, "client server_error"},
		{"an error and a session", func(*http.Request) (*session.Session, error) { return alice(), errors.New("down") }, "client server_error"},
		{"too late", func(r *http.Request) (*session.Session, error) { <-r.Context().Done(); return alice(), nil }, "client temporarily_unavailable"},
		{"a timeout", func(r *http.Request) (*session.Session, error) { <-r.Context().Done(); return nil, r.Context().Err() }, "client temporarily_unavailable"},
		{"a session without a subject", func(*http.Request) (*session.Session, error) { return &session.Session{ID: "x"}, nil }, "login"},
		{"a session that is half done", func(*http.Request) (*session.Session, error) {
			return &session.Session{Subject: "alice", SecondFactorPending: true}, nil
		}, "login"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			waits := c.rule == "too late" || c.rule == "a timeout"
			s := newSite(t, func(s *site) { s.config.Sessions = SessionFunc(c.sessions) }, impatientIf(waits))
			s.visitor(nil).get(ask()).want(c.want)
		})
	}
}

// A subject is at most 255 bytes of UTF-8 (OpenID Connect Core 1.0 §2). Any other is the
// host's failure, wherever it is met: nobody is sent round in circles for it.
func TestASubjectThatCannotBe(t *testing.T) {
	bad := map[string]string{
		"256 bytes": strings.Repeat("s", 256), "256 bytes in 128 letters": strings.Repeat("é", 128), "a megabyte": strings.Repeat("s", 1<<20),
		"raw bytes": "alice\xff", "half a letter": "\xc3", "a surrogate": "\xed\xa0\x80",
	}
	as := func(subject string) *session.Session {
		return &session.Session{ID: "1", Subject: subject, AuthTime: testStart}
	}
	leave := func(page string) func(s *site, subject string) *reply {
		return func(s *site, subject string) *reply {
			v := s.visitor(as("alice"))
			at := v.get(ask("client_id=native"))
			if page == "terms" {
				at = v.grant(at, "openid")
			}
			at.want(page)
			v.session = as(subject)
			if page == "terms" {
				return v.complete(at, "terms")
			}
			return v.grant(at, "openid")
		}
	}
	for _, c := range []struct {
		where       string
		do          func(s *site, subject string) *reply
		good        string // for a subject that can be
		want, field string
	}{
		{"at once", func(s *site, subject string) *reply { return s.visitor(as(subject)).get(ask()) }, "consent", "client server_error", "SessionStore.Session: the field Session.Subject"},
		{"prompt=none", func(s *site, subject string) *reply { return s.visitor(as(subject)).get(ask("prompt=none")) }, "client consent_required", "client server_error", "SessionStore.Session: the field Session.Subject"},
		{"by POST", func(s *site, subject string) *reply { return s.visitor(as(subject)).post(ask()) }, "consent", "client server_error", "SessionStore.Session: the field Session.Subject"},
		{"an unvetted client's", func(s *site, subject string) *reply { return s.visitor(as(subject)).get(ask("client_id=new")) }, "consent", "page Service Unavailable server_error", "SessionStore.Session: the field Session.Subject"},
		{"back from the login", func(s *site, subject string) *reply {
			v := s.visitor(nil)
			at := v.get(ask("prompt=login"))
			v.session = as(subject)
			return v.resume(at)
		}, "consent", "client server_error", "SessionStore.Session: the field Session.Subject"},
		{"begun anew", func(s *site, subject string) *reply { return s.visitor(as(subject)).resume(s.visitor(nil).get(ask())) }, "consent", "client server_error", "SessionStore.Session: the field Session.Subject"},
		{"at Grant", leave("consent"), "consent", "page Service Unavailable server_error", "SessionStore.Session: the field Session.Subject"},
		{"at Complete", leave("terms"), "consent", "page Service Unavailable server_error", "SessionStore.Session: the field Session.Subject"},
		{"in a hint", func(s *site, subject string) *reply {
			return s.visitor(as(subject)).get(ask("id_token_hint=hint-of-" + url.QueryEscape(subject)))
		}, "consent", "client server_error", "Config.IDTokenHint: the subject"},
		{"in a hint, nobody", func(s *site, subject string) *reply {
			return s.visitor(nil).post(ask("id_token_hint=hint-of-" + url.QueryEscape(subject)))
		}, "endpoint", "client server_error", "Config.IDTokenHint: the subject"},
	} {
		here := func(t *testing.T) *site {
			return newSite(t, withConsent, withTerms)
		}
		for what, subject := range bad {
			if len(subject) > maxInput && strings.Contains(c.where, "hint") {
				continue // no request has so much
			}
			t.Run(c.where+", "+what, func(t *testing.T) {
				s := here(t)
				c.do(s, subject).want(c.want)
				if e := s.lastEvent(); e.Err == nil || !strings.Contains(e.Err.Error(), c.field) || e.level() != slog.LevelError || len(s.log.String()) > 5000 {
					t.Errorf("the log does not name the field %s: %v", c.field, e.Err)
				}
			})
		}
		for what, subject := range subjects {
			t.Run(c.where+", 255 bytes of "+what, func(t *testing.T) { c.do(here(t), subject).want(c.good) })
		}
	}
}

// A session's id and data are the host's own, of any bytes and length.
func TestASessionOfAnyBytes(t *testing.T) {
	for what, text := range map[string]string{"raw bytes": "\xff\x00\xfe", "quotes": `"\"`, "a megabyte": strings.Repeat("\xff", 1<<20)} {
		t.Run(what, func(t *testing.T) {
			s := newSite(t, withConsent)
			v := s.visitor(nil)
			at := v.get(ask()).want("login", "nobody")
			v.session = &session.Session{ID: text, Subject: "alice", AuthTime: s.now, ACR: text, AMR: []string{text}, Data: []byte(text)}
			at = v.grant(v.resume(at).want("consent"), "openid").want("code")
			code, err := s.redeem(at.params["code"], nil)
			if err != nil || code.SessionID != text || string(code.SessionData) != text {
				t.Errorf("the code has other bytes, %v", err)
			}
		})
	}
}

// What a sign-in is known by tells all of them apart, whatever is in an id or a subject.
func TestOneKeyForEachSignIn(t *testing.T) {
	seen := map[string]*session.Session{}
	for _, id := range []string{"", "a", "a b", "a b c", "1 a", " ", "\xff"} {
		for _, subject := range []string{"a", "b", "b c", "c", " ", "a b", "1 a b"} {
			for _, at := range []time.Time{testStart, testStart.Add(time.Millisecond)} {
				s := &session.Session{ID: id, Subject: subject, AuthTime: at}
				key := signInKey(s)
				if other := seen[key]; other != nil && (other.ID != id || other.Subject != subject || id == "") {
					t.Errorf("%+v and %+v have one key", s, other)
				}
				seen[key] = s
			}
		}
	}
}

// The host's own parameters are in the code, on every way to it.
func TestTheHostsOwnParametersAreInTheCode(t *testing.T) {
	for _, c := range []struct {
		rule string
		ask  []string
		want map[string]string
	}{
		{"none", nil, nil},
		{"an empty one", []string{"x_tenant="}, nil},
		{"one", []string{"x_tenant=acme"}, map[string]string{"x_tenant": "acme"}},
		{"two", []string{"x_tenant=a+b", "x_method=%22%C3%A9%26"}, map[string]string{"x_tenant": "a b", "x_method": `"é&`}},
		{"and no others", []string{"x_tenant=acme", "x_other=1", "acr_values=2", "X_METHOD=1"}, map[string]string{"x_tenant": "acme"}},
		{"2,048 bytes together", []string{"x_tenant=" + strings.Repeat("t", 2000), "x_method=" + strings.Repeat("m", 48)},
			map[string]string{"x_tenant": strings.Repeat("t", 2000), "x_method": strings.Repeat("m", 48)}},
	} {
		for _, way := range ways {
			t.Run(c.rule+", "+way.name, func(t *testing.T) {
				s := newSite(t, func(s *site) { s.config.Parameters = []string{"x_tenant", "x_method"} })
				code, err := s.redeem(way.take(s, ask(c.ask...)).want("code").params["code"], nil)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.want, code.Parameters); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			})
		}
	}
	for name, who := range map[string]*session.Session{"nobody": nil, "alice": alice()} {
		t.Run("too many, "+name, func(t *testing.T) {
			v := newSite(t, func(s *site) { s.config.Parameters = []string{"x_tenant", "x_method"} }).visitor(who)
			v.get(ask("x_tenant="+strings.Repeat("t", 2000), "x_method="+strings.Repeat("m", 49))).want("client invalid_request", "2,049 bytes together")
			v.get(ask("x_tenant="+strings.Repeat("%C3%A9", 1024), "x_method=m")).want("client invalid_request", "bytes, not letters")
		})
	}
}

// Two issuers may keep their codes in one store and have clients of one name.
func TestACodeIsOfItsIssuerOnly(t *testing.T) {
	acme := newSite(t)
	globex := newSite(t, func(s *site) { s.config.Issuer, s.config.Codes = "https://globex.example", acme.memory })
	code := acme.visitor(alice()).get(ask()).want("code").params["code"]
	var replay *ReplayError
	if got, err := globex.redeem(code, nil); got != nil || !errors.Is(err, oautherr.InvalidGrant) || errors.As(err, &replay) {
		t.Errorf("at globex: %v, %v", got, err)
	}
	if _, err := acme.redeem(code, nil); err != nil {
		t.Errorf("at acme afterwards: %v", err)
	}
	if got, err := globex.redeem(code, nil); got != nil || errors.As(err, &replay) {
		t.Errorf("at globex once it is used: %v, %v", got, err)
	}
}
