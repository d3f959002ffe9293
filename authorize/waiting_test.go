package authorize

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	mathrand "math/rand/v2"
	"net/url"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/usher-auth/usher/authorize/internal/destination"
	"github.com/usher-auth/usher/authorize/internal/jose"
	"github.com/usher-auth/usher/session"
)

// claims reads a waiting request without any key.
func (got *reply) claims() (claims map[string]any) {
	got.t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(got.req, ".")[1])
	if err == nil {
		err = json.Unmarshal(raw, &claims)
	}
	if err != nil {
		got.t.Fatal(err)
	}
	return claims
}

func TestWhatIsSealed(t *testing.T) {
	s := newSite(t)
	old := alice()
	v := s.visitor(old)
	at := v.get(ask("prompt=login", "id_token_hint=hint-of-alice", "x_tenant=7", "+unknown=x", "+resource=https://api.example/a", "+resource=https://api.example/b")).want("login")
	claims := at.claims()
	for _, random := range []string{"jti", "browser"} {
		if text, _ := claims[random].(string); len(text) < 26 {
			t.Errorf("%s is %q", random, text)
		}
		delete(claims, random)
	}
	want := map[string]any{
		"iss": testIssuer, "aud": testEndpoint, "page": "login", "reason": "prompt_login", "hint_sub": base64.StdEncoding.EncodeToString([]byte("alice")),
		"iat": float64(testStart.Unix()), "exp": float64(testStart.Add(30 * time.Minute).Unix()),
		"found": []any{map[string]any{"k": signInKey(old), "t": float64(old.AuthTime.UnixMilli())}},
		"params": map[string]any{
			"response_type": []any{"code"}, "client_id": []any{"web"}, "redirect_uri": []any{"https://app.example/cb"},
			"scope": []any{"openid"}, "state": []any{"st-1"}, "nonce": []any{"n-1"}, "prompt": []any{"login"},
			"code_challenge": []any{testChallenge}, "code_challenge_method": []any{"S256"}, "x_tenant": []any{"7"},
			"resource": []any{"https://api.example/a", "https://api.example/b"},
		},
	}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if strings.Contains(at.location, "hint-of") {
		t.Error("the id_token_hint is carried across the login")
	}
}

// What another endpoint, another issuer or other keys have signed is not ours.
func TestRequestsSealedElsewhere(t *testing.T) {
	for _, c := range []struct {
		rule   string
		change func(*site)
		want   string
	}{
		{"another replica with the same configuration", func(*site) {}, "code"},
		{"another endpoint", func(s *site) { s.config.Endpoint = testIssuer + "/other" }, "page Bad Request invalid_request"},
		{"another issuer with the same endpoint", func(s *site) { s.config.Issuer, s.config.Endpoint = "https://other.example", testEndpoint }, "page Bad Request invalid_request"},
		{"another key", func(s *site) { s.config.Keys = []Key{{ID: "two", Secret: []byte("another 32 bytes, known to nobody")}} }, "page Bad Request invalid_request"},
		{"another key of the same ID", func(s *site) { s.config.Keys = []Key{{ID: "one", Secret: []byte("another 32 bytes, known to nobody")}} }, "page Bad Request invalid_request"},
		{"no keys: each process has its own", func(s *site) { s.config.Keys = nil }, "page Bad Request invalid_request"},
		{"a new key in front of the old", func(s *site) {
			s.config.Keys = append([]Key{{ID: "two", Secret: []byte("another 32 bytes, known to nobody")}}, s.config.Keys...)
		}, "code"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t)
			v := s.visitor(nil)
			at := v.get(ask())
			c.change(s)
			s.restart()
			v.signIn(at, "alice").want(c.want)
		})
	}
}

func TestWithoutKeysOneProcessIsEnough(t *testing.T) {
	s := newSite(t, func(s *site) { s.config.Keys = nil })
	v := s.visitor(nil)
	at := v.get(ask())
	v.signIn(at, "alice").want("code", "the same process")
	if !strings.Contains(s.log.String(), "Config.Keys is empty") {
		t.Error("the log does not say that a random key is in use")
	}
}

func TestTheHintsSubjectIsCarriedAcrossTheLogin(t *testing.T) {
	for _, c := range []struct{ rule, subject, want string }{
		{"the user that was asked for", "alice", "code"},
		{"another user has signed in", "bob", "client login_required"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t)
			v := s.visitor(nil)
			at := v.get(ask("id_token_hint=hint-of-alice"))
			s.config.IDTokenHint = func(context.Context, string) (string, error) { t.Error("a hint was verified twice"); return "", nil }
			s.restart()
			v.signIn(at, c.subject).want(c.want)
		})
	}
}

// jsonLen is how the limit is measured.
func TestJSONLen(t *testing.T) {
	texts := []string{"", "a", "é", "\u2028", "\u2029", "\u2027", "\ufffd", "\xff", "a\xffb\xfe", "😀", "<&>", "\x7f"}
	for c := range byte(0x80) {
		texts = append(texts, string(rune(c)), "x"+string(rune(c))+"y")
	}
	for _, text := range texts {
		t.Run(fmt.Sprintf("%q", text), func(t *testing.T) {
			var out bytes.Buffer
			encoder := json.NewEncoder(&out)
			encoder.SetEscapeHTML(false)
			if err := encoder.Encode(text); err != nil {
				t.Fatal(err)
			}
			if got, want := jsonLen(text), out.Len()-len("\"\"\n"); got != want {
				t.Errorf("%d, want %d", got, want)
			}
		})
	}
}

func TestPromptLoginNeedsANewSignIn(t *testing.T) {
	for _, c := range []struct{ rule, ask string }{{"prompt=login", "prompt=login"}, {"max_age=0", "max_age=0"}, {"max_age", "max_age=10"}, {"select_account", "prompt=select_account"}} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t)
			v := s.visitor(alice())
			at := v.get(ask(c.ask)).want("login")
			s.now = s.now.Add(time.Minute)
			next := v.resume(at).want("login", "came back without signing in")
			before, after := at.claims(), next.claims()
			before["stale"] = 1.0
			if diff := cmp.Diff(before, after); diff != "" || len(next.cookies) != 0 {
				t.Errorf("the login page shown again has another request: %s %v", diff, next.cookies)
			}
			told := v.resume(next).want("client login_required", "and again")
			if told.params["error_description"] != "The user did not sign in as the request demands." {
				t.Errorf("the client reads %q", told.params["error_description"])
			}
			at = v.get(ask(c.ask)).want("login")
			v.signIn(at, "alice").want("code")
		})
	}
}

func TestPromptLoginStaysKeptWhileThePagesAfterItTakeTheirTime(t *testing.T) {
	s := newSite(t, withConsent)
	v := s.visitor(alice())
	at := v.get(ask("max_age=10")).want("login")
	at = v.signIn(at, "alice").want("consent")
	s.now = s.now.Add(20 * time.Minute)
	v.grant(at, "openid").want("code", "agreed after 20 minutes")
}

func TestAClockThatLagsIsNoLoop(t *testing.T) {
	for _, c := range []struct {
		rule   string
		change func(*session.Session)
		log    string
	}{
		{"the host's clock lags a minute", func(s *session.Session) { s.AuthTime = testStart.Add(-time.Minute) }, "AuthTime is before the request. AuthTime is 2026-03-01T11:59:00.000Z"},
		{"an account that waited", func(s *session.Session) { s.SignedInAt = testStart.Add(-time.Second) }, "SignedInAt is before the request. AuthTime is 2026-03-01T12:00:00.000Z, SignedInAt is 2026-03-01T11:59:59.000Z"},
		{"no time at all", func(s *session.Session) { s.AuthTime = time.Time{} }, "AuthTime is zero. AuthTime is not set"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t)
			v := s.visitor(nil)
			at := v.get(ask("prompt=login"))
			v.session = s.signIn("alice")
			c.change(v.session)
			at = v.resume(at).want("login")
			v.resume(at).want("client login_required")
			if text := s.lastEvent().Err.Error(); !strings.Contains(text, "ClockSkew is 5s") || !strings.Contains(text, c.log) {
				t.Errorf("the log says %q", text)
			}
		})
	}
	s := newSite(t)
	s.config.ClockSkew = time.Minute
	s.restart()
	v := s.visitor(nil)
	at := v.get(ask("prompt=login"))
	v.session = s.signIn("alice")
	v.session.AuthTime = s.now.Add(-time.Minute)
	v.resume(at).want("code", "with as much skew allowed")
}

func TestSealingAgainKeepsWhatBindsTheRequest(t *testing.T) {
	s := newSite(t, withConsent, withTerms)
	v := s.visitor(nil)
	login := v.get(ask()).want("login")
	s.now = s.now.Add(time.Minute)
	consent := v.signIn(login, "alice").want("consent")
	s.now = s.now.Add(time.Minute)
	terms := v.grant(consent, "openid").want("terms")
	s.now = s.now.Add(time.Minute)
	first := login.claims()
	for name, at := range map[string]*reply{"consent": consent, "terms": terms} {
		claims := at.claims()
		for _, kept := range []string{"iss", "aud", "jti", "iat", "exp", "browser", "params"} {
			if diff := cmp.Diff(first[kept], claims[kept]); diff != "" {
				t.Errorf("%s: %s is another: %s", name, kept, diff)
			}
		}
		if claims["page"] != name || len(at.cookies) != 0 {
			t.Errorf("%s: the page is %v, cookies %v", name, claims["page"], at.cookies)
		}
	}
	v.complete(terms, "terms").want("code")
}

func TestACompletedInteractionCountsForThisSignInOnly(t *testing.T) {
	for _, c := range []struct {
		rule   string
		before session.Session
		after  session.Session
		want   string
	}{
		{"the same session", session.Session{ID: "1", Subject: "alice"}, session.Session{ID: "1", Subject: "alice"}, "code"},
		{"the same user, another session", session.Session{ID: "1", Subject: "alice"}, session.Session{ID: "2", Subject: "alice"}, "terms"},
		{"another user", session.Session{ID: "1", Subject: "alice"}, session.Session{ID: "2", Subject: "bob"}, "terms"},
		{"another user with the same session id", session.Session{ID: "1", Subject: "alice"}, session.Session{ID: "1", Subject: "bob"}, "terms"},
		{"an id and a subject that read alike", session.Session{ID: "1 x", Subject: "alice"}, session.Session{ID: "1", Subject: "x alice"}, "terms"},
		{"no id, the same time", session.Session{Subject: "alice", AuthTime: testStart}, session.Session{Subject: "alice", AuthTime: testStart}, "code"},
		{"no id, another time", session.Session{Subject: "alice", AuthTime: testStart}, session.Session{Subject: "alice", AuthTime: testStart.Add(time.Second)}, "terms"},
		{"an id that reads like a time", session.Session{Subject: "alice", AuthTime: testStart}, session.Session{ID: fmt.Sprint(testStart.UnixMilli()), Subject: "alice", AuthTime: testStart}, "terms"},
		{"nobody", session.Session{ID: "1", Subject: "alice"}, session.Session{}, "login"},
		{"half signed in", session.Session{ID: "1", Subject: "alice"}, session.Session{ID: "1", Subject: "alice", SecondFactorPending: true}, "login"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			v := newSite(t, withTerms).visitor(&c.before)
			at := v.get(ask()).want("terms")
			back := v.accept(at, "terms")
			v.session = &c.after
			v.follow(back).want(c.want)
		})
	}
}

// A page may sign its user in anew, in the same response: what was done before stays done.
func TestAPageMayRenewTheSignIn(t *testing.T) {
	first := session.Session{ID: "1", Subject: "alice", AuthTime: testStart, ACR: "2", AMR: []string{"pwd", "otp"}, Data: []byte("org-1")}
	with := func(change func(*session.Session)) session.Session {
		s := first
		s.ID, s.AuthTime = "2", testStart.Add(time.Second)
		change(&s)
		return s
	}
	for _, c := range []struct {
		rule  string
		after session.Session
		want  string
	}{
		{"not at all", first, "code"},
		{"the same user", with(func(*session.Session) {}), "code"},
		{"the same user, without an id", with(func(s *session.Session) { s.ID = "" }), "code"},
		{"the same user in another role", with(func(s *session.Session) { s.Data = []byte("org-2") }), "consent"},
		{"the same user at another level", with(func(s *session.Session) { s.ACR = "1" }), "consent"},
		{"the same user by other methods", with(func(s *session.Session) { s.AMR = []string{"pwd otp"} }), "consent"},
		{"another user", with(func(s *session.Session) { s.Subject = "bob" }), "consent"},
		{"another user under the same id", with(func(s *session.Session) { s.ID, s.Subject = "1", "bob" }), "consent"},
		{"nobody", session.Session{}, "login"},
		{"the same sign-in in another role", session.Session{ID: "1", Subject: "alice", AuthTime: testStart, ACR: "2", AMR: []string{"pwd", "otp"}, Data: []byte("org-2")}, "code"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withConsent, withTerms,
				withStep(Interaction{Name: "password", Page: "/password", Needed: always}))
			v := s.visitor(&first)
			// Consent of a native client is asked for every time, so only this request has it.
			at := v.get(ask("client_id=native")).want("consent")
			at = v.complete(v.grant(at, "openid"), "terms").want("password")
			v.session = &c.after
			v.complete(at, "password").want(c.want)
		})
	}
}

// Consent is given by the very sign-in that was asked.
func TestConsentIsOfTheSignInThatWasAsked(t *testing.T) {
	for _, c := range []struct {
		rule  string
		after session.Session
		want  string
	}{
		{"that one", session.Session{ID: "1", Subject: "alice"}, "code"},
		{"a newer one of the same user", session.Session{ID: "2", Subject: "alice"}, "consent"},
		{"another user", session.Session{ID: "2", Subject: "bob"}, "consent"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withConsent)
			v := s.visitor(&session.Session{ID: "1", Subject: "alice"})
			at := v.get(ask()).want("consent")
			v.session = &c.after
			v.grant(at, "openid").want(c.want)
			if warned := strings.Contains(s.log.String(), "Session.ID must stay the same"); warned != (c.want == "consent") {
				t.Errorf("the log says %s", s.log.String())
			}
		})
	}
}

// The new sign-in takes over what this user did, and nothing of others.
func TestARenewedSignInTakesOverItsOwn(t *testing.T) {
	alice1, alice2, bob := session.Session{ID: "1", Subject: "alice"}, session.Session{ID: "2", Subject: "alice"}, session.Session{ID: "3", Subject: "bob"}
	of := func(name string, by session.Session) completed {
		return completed{Name: name, By: signInKey(&by)}
	}
	earlier := of("survey", session.Session{ID: "0", Subject: "alice"})
	s := waiting{For: signInOf(&alice1), Done: []completed{of("terms", alice1), of("consent", bob), of("password", bob), earlier}}
	before := slices.Clone(s.Done)
	done := s.Done
	s.complete(of("password", alice2), &alice2)
	want := []completed{of("password", alice2), of("terms", alice2), of("consent", bob), earlier}
	if diff := cmp.Diff(want, s.Done); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(before, done); diff != "" {
		t.Errorf("the list before was changed (-before +after)\n%s", diff)
	}
	s = waiting{For: signInOf(&alice1), Done: []completed{of("terms", alice1)}}
	s.complete(of("accounts", bob), &bob)
	if want := []completed{of("accounts", bob), of("terms", alice1)}; cmp.Diff(want, s.Done) != "" {
		t.Errorf("bob, who was chosen, has done %v, want %v", s.Done, want)
	}
}

// A request that cannot be carried is refused while it still can be.
func TestARequestThatIsTooLongToBeCarried(t *testing.T) {
	s := newSite(t)
	v := s.visitor(nil)
	long := strings.Repeat("s", 6000)
	got := v.get(ask("state="+long)).want("client invalid_request", "6,000 bytes of state")
	if got.params["state"] != long || len(got.cookies) != 0 || len(v.cookies) != 0 {
		t.Errorf("the state is gone, or cookies were set: %v", got.cookies)
	}
	if e := s.lastEvent(); !strings.Contains(e.Err.Error(), fmt.Sprintf("and %d are left for them", s.handler.room)) {
		t.Errorf("the log does not say how long it may be: %v", e.Err)
	}
}

// waitingSites are endpoints whose requests have different room while they wait.
func waitingSites(t testing.TB) map[string]*site {
	long := func(name string) func(*site) {
		return withStep(Interaction{Name: name + strings.Repeat("_", 32-len(name)), Page: "/terms", Needed: always})
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer := func(key crypto.Signer) func(*site) {
		return func(s *site) { s.config.Keys = []Key{{Signer: key}} }
	}
	named := func(s *site) { s.config.Keys[0].ID = strings.Repeat(`<"é&`, 20) }
	consent := consentIn(nil)
	return map[string]*site{
		"HMAC, no pages":            newSite(t),
		"HMAC, a name in the key":   newSite(t, consent, named),
		"ECDSA, three long pages":   newSite(t, consent, signer(ecKey(t)), long("a"), long("b"), long("c")),
		"Ed25519, one long page":    newSite(t, consent, signer(edKey), long("a")),
		"RSA, consent":              newSite(t, consent, signer(rsaKey)),
		"an issuer that is escaped": newSite(t, consent, func(s *site) { s.config.Issuer = testIssuer + "/a&b" }),
	}
}

// letters are those that a client may use and that take different room in JSON.
var letters = []string{"a", "&", "<", ">", `"`, `\`, "é", "€", "\U0001f600", "\u2028", "\ufffd"}

// One limit, whether somebody is signed in or not: a client that works for one user works
// for all.
func TestOneLimitForWhoIsSignedInAndWhoIsNot(t *testing.T) {
	changes := []string{"-nonce", "id_token_hint=hint-of-alice", "id_token_hint=x", "claims=%7B%22userinfo%22:%7B%22" + strings.Repeat("c", 500) + "%22:null%7D%7D",
		"+resource=https://api.example/a&resource=https://api.example/b", "scope=" + strings.Join(allScopes, "+"), "response_type=none", "response_mode=form_post"}
	for name, s := range waitingSites(t) {
		if strings.HasPrefix(name, "HMAC, no") {
			for _, letter := range letters {
				t.Run(name+", "+letter, func(t *testing.T) { oneLimit(t, s, "-nonce", "state", letter) })
			}
			for _, change := range changes {
				t.Run(name+", "+change[:min(9, len(change))], func(t *testing.T) { oneLimit(t, s, change, "state", "é") })
			}
			t.Run("letters of six bytes", func(t *testing.T) { oneLimit(t, s, "id_token_hint=x", "authorization_details", "\x01") })
			continue
		}
		t.Run(name, func(t *testing.T) { oneLimit(t, s, changes[0], "state", `"`) })
	}
}

// oneLimit finds the longest parameter of these letters that passes for nobody, and wants it
// to be the longest for all.
func oneLimit(t *testing.T, s *site, change, name, letter string) {
	s.t = t
	passes := func(v *visitor, post bool, n int) bool {
		request, send := ask(change, name+"="+url.QueryEscape(strings.Repeat(letter, n))), v.get
		if post {
			send = v.post
		}
		return send(request).params["error"] != "invalid_request"
	}
	most := destination.MaxState / len(letter)
	limit := sort.Search(most, func(n int) bool { return !passes(s.visitor(nil), false, n+1) })
	if limit == 0 || limit == most {
		t.Fatalf("there is no limit below %d", most)
	}
	for n := limit - 1; n <= limit+1; n++ {
		for who, v := range map[string]*visitor{
			"nobody": s.visitor(nil), "alice": s.visitor(alice()),
			"half signed in": s.visitor(&session.Session{SecondFactorPending: true, Subject: "alice"}),
		} {
			for _, post := range []bool{false, true} {
				if got := passes(v, post, n); got != (n <= limit) {
					t.Errorf("%d of them where %d pass, %s, by POST %v: passes %v", n, limit, who, post, got)
				}
			}
		}
	}
}

// subjects are the longest that there can be.
var subjects = map[string]string{
	"letters": strings.Repeat("s", 255), "quotes": strings.Repeat(`"`, 255), "backslashes": strings.Repeat(`\`, 255),
	"control characters": strings.Repeat("\x00", 255), "é": strings.Repeat("é", 127) + "s", "line separators": strings.Repeat("\u2028", 85), "markup": strings.Repeat("<", 255),
}

// What passes the limit never fails later, whoever signs in and whatever is granted.
func TestNothingThatPassesTheLimitFailsAfterwards(t *testing.T) {
	for name, s := range waitingSites(t) {
		state := func(n int) string { return "state=" + strings.Repeat("%22", n) }
		asked := []string{"scope=" + strings.Join(allScopes, "+"), "prompt=login", "client_id=native", "redirect_uri=http%3A%2F%2F127.0.0.1%3A65535%2Fcb"}
		n := sort.Search(destination.MaxState, func(n int) bool {
			return s.visitor(nil).get(ask(append(asked, state(n+1))...)).kind == "client"
		})
		for what, subject := range subjects {
			for _, found := range []*session.Session{nil, {ID: "\xff\x00", Subject: subject, AuthTime: testStart}} {
				t.Run(fmt.Sprintf("%s, a subject of %s, found %v", name, what, found != nil), func(t *testing.T) {
					s.t = t
					v := s.visitor(found)
					at := v.get(ask(append(asked, state(n))...)).want("login")
					s.now = s.now.Add(time.Second)
					v.session = &session.Session{ID: strings.Repeat("\xff", 5000), Subject: subject, AuthTime: s.now, Data: []byte{0xff, 0}}
					at = v.resume(at)
					if at.kind == "consent" {
						at = v.follow(v.allow(at, Granted{Scopes: allScopes, Data: make([]byte, maxGrantData)}))
					}
					for at.kind == "terms" {
						at = v.complete(at, at.claims()["page"].(string))
					}
					at.want("code")
				})
			}
		}
	}
}

// The same by numbers: for any request that the row lets pass, the longest that the form
// can become is signed, and the row does not refuse much that could be.
func TestTheLimitIsThatOfTheLongestForm(t *testing.T) {
	random := mathrand.New(mathrand.NewPCG(1, 2))
	for name, s := range waitingSites(t) {
		t.Run(name, func(t *testing.T) {
			for range 60 {
				p := params{hinted: random.IntN(2) == 0, hintUnverified: random.IntN(2) == 0}
				if p.hinted && !p.hintUnverified {
					p.hintSubject = subjects["control characters"]
				}
				for _, name := range []string{"client_id", "nonce", "claims", "resource", "resource", "display", "id_token_hint", "x_tenant"}[:random.IntN(9)] {
					value := ""
					for range random.IntN(60) {
						value += append(letters, "\xff", "\x00", "\n", "\x7f")[random.IntN(len(letters)+4)]
					}
					p.list = append(p.list, param{name, value})
				}
				scopes := allScopes[:random.IntN(len(allScopes)+1)]
				room := s.handler.room - jsonLength(p, scopes) - len(`"state":[""],`)
				p.list = append(p.list, param{"state", strings.Repeat("a", room)})
				if n := jsonLength(p, scopes); n != s.handler.room {
					t.Fatalf("%d bytes are predicted, want %d", n, s.handler.room)
				}
				longest := s.longestWaiting(p, scopes)
				text, err := s.handler.sign(longest)
				if err != nil {
					t.Fatalf("%v of %v", err, p)
				}
				if len(text) < jose.MaxSize-250 && !(p.hinted && p.hintUnverified) { // which leaves the room of its subject
					t.Errorf("it takes only %d bytes of %v", len(text), p)
				}
			}
		})
	}
}

// longestWaiting is the longest that a request can become: with all that it meets on its
// way noted as the endpoint notes it.
// Sign-ins under one ID are told apart by their time: what was found counts up to the latest.
func TestTheLatestSignInFoundCounts(t *testing.T) {
	s := newSite(t)
	at := func(minutes int) *session.Session {
		who := alice()
		who.AuthTime = s.now.Add(time.Duration(minutes) * time.Minute)
		return who
	}
	w := waiting{}
	for _, minutes := range []int{1, 3, 2} {
		w.find(at(minutes))
	}
	if len(w.Found) != 1 || w.Found[0].AuthTime != at(3).AuthTime.UnixMilli() {
		t.Errorf("found are %v, want the one of minute 3", w.Found)
	}
}

// A request that comes back is read in one order, whatever order a map has.
func TestTheParametersOfAWaitingRequestHaveAnOrder(t *testing.T) {
	w := waiting{Params: map[string][]string{}}
	for _, name := range knownParameters {
		w.Params[name] = []string{"b", "a"}
	}
	got := w.params().list
	if !slices.IsSortedFunc(got, func(a, b param) int { return strings.Compare(a.name, b.name) }) || got[0].value != "b" {
		t.Errorf("the order is %v", got)
	}
}

func (s *site) longestWaiting(p params, scopes []string) *waiting {
	h := s.handler
	who := func(i int) *session.Session {
		return &session.Session{ID: fmt.Sprint(i), Subject: subjects["control characters"], AuthTime: time.UnixMilli(math.MinInt64 + int64(i))}
	}
	r := &Request{params: p, hintSubject: p.hintSubject, hintUnverified: p.hintUnverified}
	w := h.newWaiting(&visit{request: r, session: who(0), started: time.Date(9999, 12, 31, 23, 0, 0, 999e6, time.UTC), anew: 2}, hash(""))
	for i := 1; i < maxFound; i++ {
		w.sentTo(decision{Interaction: LoginInteraction, Reason: ReasonPromptSelectAccount}, who(i))
	}
	w.Nobody, w.Revision = 2, shortHash("")
	for _, x := range h.interactions {
		w.sentTo(decision{Interaction: x.Name, Reason: ReasonPromptSelectAccount}, who(0))
		done := completed{Name: x.Name, By: signInKey(who(0))}
		if x.Name == ConsentInteraction {
			done.Scopes, done.Data, done.Revision = scopes, make([]byte, maxGrantData), shortHash("")
		}
		w.complete(done, who(0))
	}
	return &w
}

// brokenSigner is a key in hardware that does not answer.
type brokenSigner struct{ crypto.Signer }

func (brokenSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the hardware does not answer")
}

func TestASignerThatFails(t *testing.T) {
	s := newSite(t, func(s *site) { s.config.Keys = []Key{{Signer: brokenSigner{ecKey(t)}}} })
	v := s.visitor(nil)
	v.get(ask()).want("client server_error", "the login page")
	if len(v.cookies) != 0 {
		t.Errorf("cookies were left behind: %v", v.cookies)
	}
	s.visitor(alice()).get(ask()).want("code", "who is signed in needs no signature")
}

func TestNothingIsStoredForVisitorsWhoAreNotSignedIn(t *testing.T) {
	s := newSite(t, withConsent)
	s.config.Codes = failingCodes{t}
	s.restart()
	for range 1000 {
		s.visitor(nil).get(ask())
	}
	v := s.visitor(nil)
	v.resume(v.get(ask())).want("login", "and back again")
}

// failingCodes is a CodeStore that must not be used.
type failingCodes struct{ t testing.TB }

func (f failingCodes) SaveCode(context.Context, string, *Code) error {
	f.t.Error("SaveCode")
	return nil
}

func (f failingCodes) FindCode(context.Context, string) (*Code, error) {
	f.t.Error("FindCode")
	return nil, nil
}

func (f failingCodes) TakeCode(context.Context, string, time.Time) (*Code, bool, error) {
	f.t.Error("TakeCode")
	return nil, false, nil
}

// Each row is a way through the login page: who is there at the first visit and at each
// return, and where each leads. A sign-in is named, and the number is its age when the
// request arrived.
func TestReturnsFromTheLoginPage(t *testing.T) {
	const login, refused = "login", "client login_required"
	old := func(name string) func(*site) *session.Session {
		return func(*site) *session.Session {
			return &session.Session{ID: name, Subject: "alice", AuthTime: testStart.Add(-time.Hour)}
		}
	}
	// at has an AuthTime within the clock skew, so that what was found decides.
	at := func(seconds int, signedInAt time.Time) func(*site) *session.Session {
		return func(*site) *session.Session {
			return &session.Session{ID: "1", Subject: "alice", AuthTime: testStart.Add(time.Duration(seconds) * time.Second), SignedInAt: signedInAt}
		}
	}
	nobody := func(*site) *session.Session { return nil }
	half := func(s *site) *session.Session {
		return &session.Session{ID: "h", Subject: "alice", AuthTime: s.now, SecondFactorPending: true}
	}
	anew := func(s *site) *session.Session { return s.signIn("alice") }
	of := func(who ...func(*site) *session.Session) []func(*site) *session.Session { return who }
	for _, c := range []struct {
		rule, ask string
		who       []func(*site) *session.Session
		want      []string
		log       string // of the last answer
	}{
		{"a new sign-in", "prompt=login", of(old("1"), anew), []string{login, "code"}, ""},
		{"a new sign-in at the second return", "prompt=login", of(old("1"), old("1"), anew), []string{login, login, "code"}, ""},
		{"the same sign-in twice", "prompt=login", of(old("1"), old("1"), old("1")), []string{login, login, refused}, "Session.AuthTime is before the request"},
		{"another old one each time", "prompt=login", of(old("1"), old("2"), old("3")), []string{login, login, refused}, "Session.AuthTime is before the request"},
		{"an old one where nobody was", "prompt=login", of(nobody, old("1"), old("1")), []string{login, login, refused}, "Session.AuthTime is before the request"},
		{"an old one, then an older request's is chosen again", "max_age=60", of(old("1"), old("2"), old("1")), []string{login, login, refused}, "Session.AuthTime is before the request"},
		{"found again with a later time, which counts from then on", "prompt=login", of(at(-4, time.Time{}), at(-2, testStart.Add(-time.Hour)), at(-3, time.Time{})), []string{login, login, refused}, "not later than when this sign-in was found"},
		{"found again with an earlier time, which does not count", "prompt=login", of(at(-2, time.Time{}), at(-4, time.Time{}), at(-3, time.Time{})), []string{login, login, refused}, "not later than when this sign-in was found"},
		{"nobody three times", "prompt=login", of(old("1"), nobody, nobody, nobody), []string{login, login, login, refused}, "found nobody each time"},
		{"half signed in three times", "scope=openid", of(half, half, half, half), []string{login, login, login, refused}, "found nobody each time"},
		{"nobody and half signed in are one", "scope=openid", of(nobody, half, nobody, half), []string{login, login, login, refused}, "found nobody each time"},
		{"nobody twice, and then an old one, which is its first return", "prompt=login", of(nobody, nobody, nobody, old("1"), anew), []string{login, login, login, login, "code"}, ""},
		{"nobody twice, and then somebody", "scope=openid", of(nobody, nobody, nobody, old("1")), []string{login, login, login, "code"}, ""},
		{"an old one and nobody take turns", "prompt=login", of(nobody, old("1"), nobody, old("1")), []string{login, login, login, refused}, "Session.AuthTime is before the request"},
		{"an essential level that is missed twice", "claims=" + url.QueryEscape(`{"id_token":{"acr":{"essential":true,"value":"2"}}}`), of(old("1"), old("1"), old("2")), []string{login, login, "client unmet_authentication_requirements"}, "Session.AuthTime is before the request"},
		{"an essential level, and nobody three times", "claims=" + url.QueryEscape(`{"id_token":{"acr":{"essential":true,"value":"2"}}}`), of(nobody, nobody, nobody, nobody), []string{login, login, login, refused}, "found nobody each time"},
		{"another user twice", "id_token_hint=hint-of-bob", of(old("1"), old("1"), old("1")), []string{login, login, refused}, "Session.AuthTime is before the request"},
		{"a hint that proves nobody, and an old sign-in twice", "id_token_hint=x", of(old("1"), old("1"), old("1")), []string{login, login, refused}, "Session.AuthTime is before the request"},
		{"a hint that proves nobody, and a new sign-in", "id_token_hint=x", of(old("1"), anew), []string{login, "code"}, ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t)
			v := s.visitor(c.who[0](s))
			at := v.get(ask(c.ask)).want(c.want[0])
			for i, who := range c.who[1:] {
				s.now = s.now.Add(time.Minute)
				v.session = who(s)
				at = v.resume(at).want(c.want[i+1], fmt.Sprint("return ", i+1))
			}
			if c.log != "" && !strings.Contains(fmt.Sprint(s.lastEvent().Err), c.log) {
				t.Errorf("the log says %v", s.lastEvent().Err)
			}
			if strings.Contains(s.log.String(), "server_error") {
				t.Errorf("there is a server_error in the log:\n%s", s.log.String())
			}
		})
	}
}

// Returns from other pages are no rounds, but only eight sign-ins are remembered.
func TestTheNinthSignInThatIsFound(t *testing.T) {
	s := newSite(t, withTerms)
	v := s.visitor(&session.Session{ID: "1", Subject: "alice", AuthTime: testStart.Add(-time.Hour)})
	at := v.get(ask("prompt=login")).want("login")
	s.now = s.now.Add(time.Minute)
	counts := s.signIn("alice")
	v.session = counts
	at = v.resume(at).want("terms")
	for i := range maxFound - 1 {
		s.now = s.now.Add(time.Minute)
		// Twice the same is one that was found.
		for range 2 {
			v.session = &session.Session{ID: fmt.Sprint(i + 2), Subject: "alice", AuthTime: testStart.Add(-time.Hour)}
			at = v.resume(at).want("login", fmt.Sprint("found: ", i+2))
			if n := len(at.claims()["found"].([]any)); n != i+2 {
				t.Errorf("%d are found, want %d", n, i+2)
			}
			v.session = counts
			at = v.resume(at).want("terms", "the one that counted counts still")
		}
	}
	ninth := *v
	ninth.session = &session.Session{ID: "9", Subject: "alice", AuthTime: testStart.Add(-time.Hour)}
	ninth.resume(at).want("client login_required", "the ninth")
	if e := s.lastEvent(); e.Reason != ReasonStaleSignIn || !strings.Contains(e.Err.Error(), "AuthTime is before the request") {
		t.Errorf("reported as %s: %v", e.Reason, e.Err)
	}
}

// A return from another page is no round, and the rounds begin again after it.
func TestReturnsFromOtherPagesAreNoRounds(t *testing.T) {
	old := &session.Session{ID: "1", Subject: "alice", AuthTime: testStart.Add(-time.Hour)}
	for _, c := range []struct {
		rule   string
		who    *session.Session
		before int // returns from the login page of no use, as many as there may be
	}{
		{"an old sign-in", old, 1},
		{"nobody", nil, 2},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withTerms)
			v := s.visitor(c.who)
			at := v.get(ask("prompt=login")).want("login")
			rounds := func(when string) {
				for i := range c.before {
					at = v.resume(at).want("login", fmt.Sprint(when, ", return ", i+1))
				}
			}
			rounds("at first")
			s.now = s.now.Add(time.Minute)
			at = v.signIn(at, "alice").want("terms")
			if claims := at.claims(); claims["stale"] != nil || claims["nobody"] != nil {
				t.Errorf("rounds are counted beyond the login page: %v, %v", claims["stale"], claims["nobody"])
			}
			v.session = c.who
			at = v.resume(at).want("login", "from the page after it")
			rounds("after that")
			v.resume(at).want("client login_required", "one too many")
		})
	}
}

// Who is found at the first visit is found, wherever that leads: no time that passes on
// other pages makes it a new sign-in.
func TestWhoIsFoundOnTheWayToAnotherPage(t *testing.T) {
	s := newSite(t, withConsent)
	v := s.visitor(&session.Session{ID: "1", Subject: "alice", AuthTime: testStart.Add(-2 * time.Second)})
	at := v.get(ask("max_age=10")).want("consent", "young enough, and within the skew of the request")
	s.now = s.now.Add(time.Minute)
	v.grant(at, "openid").want("login", "too old by now")
}

// A sign-in that is found again is noted in the next form of the request only.
func TestFindingASignInLeavesTheListBefore(t *testing.T) {
	w := waiting{}
	w.find(alice())
	next, again := w, alice()
	again.AuthTime = again.AuthTime.Add(time.Second)
	next.find(again)
	if diff := cmp.Diff([]found{{signInKey(alice()), alice().AuthTime.UnixMilli()}}, w.Found); diff != "" {
		t.Errorf("the list before was changed (-want +got)\n%s", diff)
	}
}

// An instant is a number of seconds that fits, as MarshalJSON writes it.
func TestInstantsThatCanBeRead(t *testing.T) {
	for _, c := range []struct {
		text string
		want instant
		ok   bool
	}{
		{"1.5", 1500, true},
		{"-1.5", -1500, true},
		{"1099511627776", 1 << 40 * 1000, true},
		{"-1099511627776", -1 << 40 * 1000, true},
		{"1099511627776.5", 0, false},
		{"-1099511627776.5", 0, false},
		{"1e999", 0, false},
		{`"1"`, 0, false},
		{"true", 0, false},
		{"null", 0, false},
	} {
		t.Run(c.text, func(t *testing.T) {
			var got instant
			err := json.Unmarshal([]byte(c.text), &got)
			if (err == nil) != c.ok || got != c.want {
				t.Errorf("%d, %v", got, err)
			}
		})
	}
}

// A request arrives in a millisecond, and what happened before is told from what follows.
func TestTimesAreSealedInMilliseconds(t *testing.T) {
	at := func(ms int) time.Time { return testStart.Add(time.Duration(ms) * time.Millisecond) }
	for _, c := range []struct {
		rule     string
		arrived  time.Time
		found    session.Session
		returned session.Session
		want     string
	}{
		{"signed in in the millisecond of the request", at(900).Add(999 * time.Microsecond), session.Session{}, session.Session{ID: "1", AuthTime: at(0), SignedInAt: at(900)}, "code"},
		{"signed in in the millisecond before", at(900), session.Session{}, session.Session{ID: "1", AuthTime: at(0), SignedInAt: at(899).Add(999 * time.Microsecond)}, "login"},
		{"no skew for SignedInAt", at(0), session.Session{}, session.Session{ID: "1", AuthTime: at(0), SignedInAt: at(-1)}, "login"},
		{"the skew of AuthTime is from the second on", at(999), session.Session{}, session.Session{ID: "1", AuthTime: at(-5000)}, "code"},
		{"and no further", at(999), session.Session{}, session.Session{ID: "1", AuthTime: at(-5001)}, "login"},
		{"a millisecond later than when it was found", at(900), session.Session{ID: "1", Subject: "alice", AuthTime: at(100)}, session.Session{ID: "1", AuthTime: at(101)}, "code"},
		{"less than a millisecond later", at(900), session.Session{ID: "1", Subject: "alice", AuthTime: at(100)}, session.Session{ID: "1", AuthTime: at(100).Add(999 * time.Microsecond)}, "login"},
		{"another id at the same time", at(900), session.Session{ID: "1", Subject: "alice", AuthTime: at(100)}, session.Session{ID: "2", AuthTime: at(100)}, "code"},
		{"without an id, the same time", at(900), session.Session{Subject: "alice", AuthTime: at(100)}, session.Session{AuthTime: at(100)}, "login"},
		{"without an id, a millisecond earlier is another sign-in", at(900), session.Session{Subject: "alice", AuthTime: at(100)}, session.Session{AuthTime: at(99)}, "code"},
		{"without a Subject nobody was found", at(900), session.Session{ID: "1", AuthTime: at(100)}, session.Session{ID: "1", AuthTime: at(100)}, "code"},
		{"half signed in nobody was found", at(900), session.Session{ID: "1", Subject: "alice", AuthTime: at(100), SecondFactorPending: true}, session.Session{ID: "1", AuthTime: at(100)}, "code"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t)
			s.now = c.arrived
			c.returned.Subject = "alice"
			v := s.visitor(&c.found)
			got := v.get(ask("prompt=login")).want("login")
			if iat := got.claims()["iat"]; iat != float64(c.arrived.UnixMilli())/1000 {
				t.Errorf("iat is %v", iat)
			}
			s.now = s.now.Add(time.Minute)
			v.session = &c.returned
			v.resume(got).want(c.want)
		})
	}
}
