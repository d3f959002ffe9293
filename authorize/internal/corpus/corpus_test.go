package corpus

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// A runner that says "met" whatever happens is worth nothing, so these tests spoil
// expectations, answers and cases one by one and want each to be noticed.

// caseFinder returns a function that finds a case of this package, for the caller to
// spoil.
func caseFinder(t *testing.T) func(id string) *testCase {
	t.Helper()
	cases := allCases()
	return func(id string) *testCase {
		i := slices.IndexFunc(cases, func(c *testCase) bool { return c.ID == id })
		if i < 0 {
			t.Fatalf("no case %q", id)
		}
		found := *cases[i]
		return &found
	}
}

func noticed(t *testing.T, verdict judgement, want string) {
	t.Helper()
	if all := strings.Join(verdict.problems, "\n"); !strings.Contains(all, want) {
		t.Errorf("want a problem with %q, got:\n%s", want, all)
	}
}

// Each rule of the endpoint is the one that refuses some case, and each case has a name of
// its own. The model has no rule of a host's, and no session that cannot be used.
func TestEveryRuleRefusesACase(t *testing.T) {
	run := startRunner(t)
	ids := map[string]bool{}
	refuses := map[string]bool{"the host's own rules": true, "the session is one that can be used": true}
	for _, c := range allCases() {
		if ids[c.ID] {
			t.Errorf("two cases are called %q", c.ID)
		}
		ids[c.ID] = true
		if c.Setup != nil || c.Request.Method != "GET" {
			continue
		}
		w, err := run.newWorld(c)
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.Request.expand(w)
		if err != nil {
			t.Fatal(err)
		}
		w.close()
		first := true
		for _, check := range w.handler.Explain(context.Background(), *r.Query, nil).Checks {
			refuses[check.Name] = refuses[check.Name] || first && !check.Passed
			first = first && check.Passed
		}
	}
	for name, refused := range refuses {
		if !refused {
			t.Errorf("no case shows the rule %q refusing a request", name)
		}
	}
}

func TestNoticesFlippedExpectations(t *testing.T) {
	run, caseOf := startRunner(t), caseFinder(t)
	mustNot := func(form string) func(e *expectation) {
		return func(e *expectation) { e.MustNot = []string{form} }
	}
	for _, test := range []struct {
		name, id string
		flip     func(e *expectation)
		want     string
	}{
		{"kind, a code", "control-ok-get", func(e *expectation) { e.Kind = errorRedirect }, "kind: got code_redirect"},
		{"kind, a page", "redirect_uri-userinfo", func(e *expectation) { e.Kind = loginRedirect }, "kind: got error_page"},
		{"kind, a page by POST", "redirect_uri-userinfo", func(e *expectation) { e.Kind = loginRedirect }, "by POST: kind: got error_page"},
		{"kind, the login", "control-ok-login", func(e *expectation) { e.Kind = errorPage }, "kind: got login_redirect"},
		{"kind, an error", "pkce-S512", func(e *expectation) { e.Kind = codeRedirect }, "kind: got error_redirect"},
		{"kind, after a resume", "resume-unauthenticated", func(e *expectation) { e.Kind, e.AlsoOK = codeRedirect, nil }, "kind: got login_redirect"},
		{"kind, nothing", "response_type none", func(e *expectation) { e.Kind = codeRedirect }, "kind: got empty_redirect"},
		{"error of a page", "client_id unknown", func(e *expectation) { e.Error = "invalid_request" }, "error: got invalid_client, want invalid_request"},
		{"error", "pkce-S512", func(e *expectation) { e.Error = "invalid_scope" }, `error: got invalid_request, want invalid_scope`},
		{"location_prefix", "control-ok-get", func(e *expectation) { e.LocationPrefix = "https://app.example/cd" }, "location_prefix: got https://app.example/cb"},
		{"location_prefix of a form", "control-ok-form-post", func(e *expectation) { e.LocationPrefix = "https://app.example/cd" }, "location_prefix: got https://app.example/cb"},
		{"location_prefix of the login", "control-ok-login", func(e *expectation) { e.LocationPrefix = "{ISS}/logout" }, "location_prefix: got https://as.example/login"},
		{"params", "control-ok-get", func(e *expectation) { e.Params = map[string]string{"state": "XYZabc123"} }, `params state: got "xyzABC123"`},
		{"params, absent", "control-ok-no-state", func(e *expectation) { e.Params = map[string]string{"state": "x"} }, `params state: got ""`},
		{"params of a form", "control-ok-form-post", func(e *expectation) { e.Params = map[string]string{"iss": "https://evil.example"} }, "params iss"},
		{"delivery, a form wanted", "control-ok-get", func(e *expectation) { e.Delivery = "form_post" }, "delivery: got query, want form_post"},
		{"delivery, a fragment that nobody wanted", "response_mode fragment where the client lists it", func(e *expectation) { e.Delivery = "" }, "delivery: got fragment, want query"},
		{"delivery, a fragment wanted", "control-ok-get", func(e *expectation) { e.Delivery = "fragment" }, "delivery: got query, want fragment"},
		{"delivery, one not known", "control-ok-get", func(e *expectation) { e.Delivery = "pigeon" }, "delivery: the runner does not know pigeon"},
		{"status", "method-PUT", func(e *expectation) { e.Status = statuses{404} }, "status: got 405"},
		{"status, 5xx not expected", "client_id-store-error", func(e *expectation) { e.Status = nil }, "status: got 503"},
		{"also_ok, none fits", "pkce-len44", func(e *expectation) { e.Kind = errorPage }, "kind: got error_redirect"},
		{"must_not param", "control-ok-get", mustNot("param:code"), "must_not param:code"},
		{"must_not param, of a form", "control-ok-form-post", mustNot("param:code"), "must_not param:code"},
		{"must_not location", "control-ok-get", mustNot("location:app.EXAMPLE"), "must_not location:"},
		{"must_not header", "control-ok-get", mustNot("header:location"), "must_not header:"},
		{"must_not header-missing", "control-ok-get", mustNot("header-missing:X-Other"), "must_not header-missing:"},
		{"must_not header-missing, a part", "control-ok-get", mustNot("header-missing:Cache-Control:private"), "must_not header-missing:"},
		{"must_not body", "redirect_uri-userinfo", mustNot("body:<TITLE>"), "must_not body:"},
		{"must_not status", "redirect_uri-userinfo", mustNot("status:400"), "must_not status:400"},
		{"must_not status of a class", "client_id-store-error", mustNot("status:5xx"), "must_not status:5xx"},
		{"must_not, incomplete", "control-ok-get", mustNot("param"), "the form is incomplete"},
		{"must_not, not known", "control-ok-get", mustNot("smell:bad"), "does not know this form"},
		{"a placeholder not known", "control-ok-get", mustNot("location:{NOBODY}"), "placeholder {NOBODY}"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := caseOf(test.id)
			test.flip(&c.Expect)
			noticed(t, run.run(c), test.want)
		})
	}
}

func TestNoticesWhatOnlyAlsoOKAllows(t *testing.T) {
	run := startRunner(t)
	c := caseFinder(t)("control-ok-get")
	c.Expect.AlsoOK = []ending{{Kind: errorPage}, {Kind: codeRedirect}}
	if verdict := run.run(c); len(verdict.problems) > 0 || verdict.only != "" {
		t.Errorf("the expected outcome: %+v", verdict)
	}
	c.Expect.Kind = errorPage
	if verdict := run.run(c); len(verdict.problems) > 0 || verdict.only != codeRedirect {
		t.Errorf("only also_ok fits: %+v", verdict)
	}
	c.Expect.MustNot = []string{"param:code"}
	noticed(t, run.run(c), "must_not param:code")
}

// spoiler changes an answer.
type spoiler func(rec *httptest.ResponseRecorder, r *http.Request)

// between stands between the server and the endpoint.
func (spoil spoiler) between(endpoint http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		endpoint.ServeHTTP(rec, r)
		spoil(rec, r)
		for name, values := range rec.Header() {
			rw.Header()[name] = values
		}
		rw.WriteHeader(rec.Code)
		rw.Write(rec.Body.Bytes())
	})
}

func setStatus(status int) spoiler {
	return func(rec *httptest.ResponseRecorder, _ *http.Request) { rec.Code = status }
}

func setHeader(name, value string) spoiler {
	return func(rec *httptest.ResponseRecorder, _ *http.Request) { rec.Header().Set(name, value) }
}

func inLocation(old, new string) spoiler {
	return func(rec *httptest.ResponseRecorder, _ *http.Request) {
		rec.Header().Set("Location", strings.Replace(rec.Header().Get("Location"), old, new, 1))
	}
}

func inPage(old, new string) spoiler {
	return func(rec *httptest.ResponseRecorder, _ *http.Request) {
		rec.Body = bytes.NewBufferString(strings.Replace(rec.Body.String(), old, new, 1))
	}
}

func asPage(rec *httptest.ResponseRecorder, _ *http.Request) {
	rec.Header().Del("Location")
	rec.Code = http.StatusBadRequest
}

var spoiled = []struct {
	name, id string
	spoil    spoiler
	want     string
}{
	{"1 panic", "control-ok-get", func(*httptest.ResponseRecorder, *http.Request) { panic("by a bug") }, "invariant 1 (no panic): by a bug"},
	{"1 status 500", "redirect_uri-userinfo", setStatus(500), "invariant 1"},
	{"1 status 307", "control-ok-get", setStatus(307), "invariant 1"},
	{"1 status 308", "control-ok-login", setStatus(308), "invariant 1"},
	{"1 status 302 to a POST", "control-ok-post", setStatus(302), "invariant 1"},
	{"1 CORS", "control-ok-get", setHeader("Access-Control-Allow-Origin", "*"), "invariant 1"},
	{"2 code and error", "control-ok-get", inLocation("?", "?error=x&"), "invariant 2 (parameters): both"},
	{"2 a parameter twice", "control-ok-get", inLocation("&iss=", "&iss=a&iss="), "invariant 2 (parameters): iss"},
	{"2 a parameter in the fragment too", "control-ok-get", inLocation("iss=", "iss=https%3A%2F%2Fas.example#iss="), "invariant 2 (parameters): iss"},
	{"2 no state", "control-ok-get", inLocation("&state=xyzABC123", ""), "invariant 2 (parameters): state"},
	{"2 another state", "pkce-S512", inLocation("xyzABC123", "xyzABC124"), "invariant 2 (parameters): state"},
	{"2 a state that nobody sent", "control-ok-no-state", inLocation("?", "?state=x&"), "invariant 2 (parameters): state"},
	{"2 an empty state", "empty-state", inLocation("?", "?state=&"), "invariant 2 (parameters): state"},
	{"2 a state from where it does not count", "POST: the state in the query is not returned", inLocation("?", "?state=evil&"), "invariant 2 (parameters): state"},
	{"2 one of two states", "duplicates-state-same", inLocation("?", "?state=one&"), "invariant 2 (parameters): state"},
	{"2 no iss", "control-ok-get", inLocation("&iss=", "&is="), "invariant 2 (parameters): iss"},
	{"2 another iss", "pkce-S512", inLocation("as.example", "evil.example"), "invariant 2 (parameters): iss"},
	{"3 another host", "control-ok-get", inLocation("app.example", "evil.example"), "invariant 3"},
	{"3 another path", "control-ok-get", inLocation("/cb", "/cb2"), "invariant 3"},
	{"3 another client's", "pkce-S512", inLocation("https://app.example/cb", "https://spa.example/cb"), "invariant 3"},
	{"3 another loopback host", "loopback-noport", inLocation("127.0.0.1", "127.0.0.2"), "invariant 3"},
	{"3 a port that is not on loopback", "control-ok-get", inLocation("app.example", "app.example:8443"), "invariant 3"},
	{"3 a form elsewhere", "control-ok-form-post", inPage("https://app.example/cb", "https://evil.example/cb"), "invariant 3"},
	{"3 Location on a page", "redirect_uri-userinfo", setHeader("Location", "https://app.example/cb"), "invariant 3"},
	{"4 a quote", "pkce-S512", inLocation("error_description=", "error_description=%22"), "invariant 4 (error_description): the byte"},
	{"4 a line break", "pkce-S512", inLocation("error_description=", "error_description=%0A"), "invariant 4 (error_description): the byte"},
	{"4 UTF-8", "pkce-S512", inLocation("error_description=", "error_description=%C3%A9"), "invariant 4 (error_description): the byte"},
	{"4 what was sent", "pkce-S512", inLocation("error_description=", "error_description=S512+"), `invariant 4 (error_description): "S512"`},
	{"5 Cache-Control", "control-ok-get", setHeader("Cache-Control", "private"), "invariant 5"},
	{"5 Referrer-Policy", "redirect_uri-userinfo", setHeader("Referrer-Policy", "origin"), "invariant 5"},
	{"5 frame-ancestors", "redirect_uri-userinfo", setHeader("Content-Security-Policy", "default-src 'none'"), "invariant 5"},
	{"5 Referrer-Policy of a form", "control-ok-form-post", setHeader("Referrer-Policy", "no-referrer"), "invariant 5"},
	{"5 frame-ancestors of a form", "control-ok-form-post", setHeader("Content-Security-Policy", "default-src 'none'"), "invariant 5"},
	{"5 frame-ancestors of a silent form", "response_mode-form_post-prompt-none", setHeader("Content-Security-Policy", "frame-ancestors 'none'"), "invariant 5"},
	{"5 X-Frame-Options of a form", "control-ok-form-post", setHeader("X-Frame-Options", ""), "invariant 5"},
	{"5 X-Frame-Options of a silent form", "response_mode-form_post-prompt-none", setHeader("X-Frame-Options", "DENY"), "invariant 5"},
	{"5 form-action", "control-ok-form-post", setHeader("Content-Security-Policy", "frame-ancestors 'none'; form-action 'self'"), "invariant 5"},
	{"5 nosniff", "redirect_uri-userinfo", setHeader("X-Content-Type-Options", ""), "invariant 5"},
	{"6 what was sent, in a page", "redirect_uri-html", inPage("</main>", `<p>"><script>alert(1)</script></p></main>`), "invariant 6 (HTML)"},
	{"6 what was sent, in an attribute", "redirect_uri-html", inPage("</main>", `<p title=""&gt;&lt;script&gt;alert(1)&lt;/script&gt;">x</p></main>`), "invariant 6 (HTML)"},
	{"6 code that the policy does not name", "control-ok-form-post", inPage("</main>", `<script>alert(1)</script></main>`), "invariant 6 (HTML): a <script>"},
	{"6 code in an attribute", "redirect_uri-userinfo", inPage("</main>", `<p onclick="alert(1)">x</p></main>`), "invariant 6 (HTML): <p>"},
	{"6 a body that is read whole", "size-body-12m", func(_ *httptest.ResponseRecorder, r *http.Request) { io.ReadAll(r.Body) }, "invariant 6 (time and memory)"},
	{"7 not Secure", "control-ok-login", setHeader("Set-Cookie", "a=b; HttpOnly; SameSite=Lax"), "invariant 7"},
	{"7 not HttpOnly", "control-ok-login", setHeader("Set-Cookie", "a=b; Secure; SameSite=Lax"), "invariant 7"},
	{"7 not SameSite", "control-ok-login", setHeader("Set-Cookie", "a=b; Secure; HttpOnly"), "invariant 7"},
	{"7 a prefix that does not hold", "control-ok-login", setHeader("Set-Cookie", "__Host-a=b; Secure; HttpOnly; SameSite=Lax"), "does not accept the cookie"},
	{"8 a code under a page", "control-ok-get", asPage, "invariant 8 (nothing stays behind): 1 codes"},
	{"8 another code", "control-ok-get", inLocation("code=", "code=x"), "invariant 8 (nothing stays behind): the stored hash"},
	{"8 a cookie with a page", "redirect_uri-userinfo", setHeader("Set-Cookie", "a=b; Secure; HttpOnly; SameSite=Lax"), "invariant 8 (nothing stays behind): a cookie"},
	{"8 a cookie with an error", "pkce-S512", setHeader("Set-Cookie", "a=b; Secure; HttpOnly; SameSite=Lax"), "invariant 8 (nothing stays behind): a cookie"},
	{"must_not set-cookie", "state-short", setHeader("Set-Cookie", "x=b"), "must_not set-cookie:x"},
	{"a page that means nothing", "control-ok-login", func(rec *httptest.ResponseRecorder, _ *http.Request) { rec.Header().Del("Location") }, "kind: got a response with status 302"},
}

func TestNoticesBrokenInvariants(t *testing.T) {
	run, caseOf := startRunner(t), caseFinder(t)
	for _, test := range spoiled {
		t.Run(test.name, func(t *testing.T) {
			run.rogue = test.spoil.between
			noticed(t, run.once(caseOf(test.id)), test.want)
		})
	}
}

// What no answer of this endpoint can be made to show is shown of made-up ones.
func TestNoticesMadeUpAnswers(t *testing.T) {
	code := savedCode{hashOf("c"), &authorize.Code{Subject: "alice"}}
	answered := answer{kind: codeRedirect, codes: []savedCode{code}, params: []param{{"code", "c"}}, subject: "alice"}
	if broken := checkNothingLeft(&answered); broken != "" {
		t.Error("a right answer:", broken)
	}
	answered.subject = "bob"
	if checkNothingLeft(&answered) == "" {
		t.Error("a code for another user was not noticed")
	}
	if checkCost(&answer{elapsed: 1100 * time.Millisecond}) == "" {
		t.Error("a slow answer was not noticed")
	}
	two, line := []authorize.Event{{}, {}}, *bytes.NewBufferString("a line with some-secret in it\n")
	for what, broken := range map[string]string{
		"a second event":         checkReported(&answer{reached: true, noted: noted{events: two, log: line}}),
		"no line":                checkReported(&answer{reached: true, noted: noted{events: two[:1]}}),
		"a code in the log":      checkLog(&answer{params: []param{{"code", "some-secret"}}, noted: noted{log: line}}),
		"a state in the log":     checkLog(&answer{asked: question{secrets: []string{"some-secret"}}, noted: noted{log: line}}),
		"a state in an event":    checkLog(&answer{asked: question{secrets: []string{"some-secret"}}, noted: noted{events: []authorize.Event{{Subject: "some-secret"}}}}),
		"a part of a req":        checkLog(&answer{kind: loginRedirect, params: []param{{"req", "a.some-secret.b"}}, noted: noted{log: line}}),
		"a Location in the log":  checkLog(&answer{header: http.Header{"Location": {"some-secret"}}, noted: noted{log: line}}),
		"a cookie in the log":    checkLog(&answer{header: http.Header{"Set-Cookie": {"a=b.some-secret"}}, noted: noted{log: line}}),
		"a session for a page":   checkAsked(&answer{reached: true, kind: errorPage, noted: noted{sessions: make([]*session.Session, 1)}}),
		"a check for an error":   checkAsked(&answer{reached: true, kind: errorRedirect, params: []param{{"error", "invalid_scope"}}, noted: noted{checks: 1}}),
		"no session for a code":  checkAsked(&answer{reached: true, kind: codeRedirect}),
		"two sessions":           checkAsked(&answer{reached: true, kind: loginRedirect, noted: noted{sessions: make([]*session.Session, 2)}}),
		"what Explain left":      checkExplained(&answer{leftovers: true}),
		"another action":         checkExplained(&answer{kind: codeRedirect, noted: noted{events: two[:1]}, explained: &authorize.Explanation{Action: authorize.ActionLogin}}),
		"another error":          checkExplained(&answer{kind: errorRedirect, params: []param{{"error", "invalid_scope"}}, noted: noted{events: two[:1]}, explained: &authorize.Explanation{Action: authorize.ActionError, Error: oautherr.InvalidRequest.With("x")}}),
		"another reason":         checkExplained(&answer{kind: codeRedirect, noted: noted{events: two[:1]}, explained: &authorize.Explanation{Action: authorize.ActionApproval, Reason: authorize.ReasonSatisfied}}),
		"another page of a host": checkExplained(&answer{kind: loginRedirect, noted: noted{events: two[:1]}, explained: &authorize.Explanation{Action: authorize.ActionInteraction, Interaction: "consent"}}),
	} {
		if broken == "" {
			t.Errorf("%s was not noticed", what)
		}
	}
	if checkDestination(&answer{kind: codeRedirect, target: "http://127.0.0.1:80/cb?code=c", registered: []string{"http://127.0.0.1:8080/cb"}}) != "" {
		t.Error("a loopback port may vary")
	}
}

// The canary is called, which no endpoint of this package does.
func TestNoticesACallOfTheCanary(t *testing.T) {
	run := startRunner(t)
	run.rogue = spoiler(func(_ *httptest.ResponseRecorder, r *http.Request) {
		if response, err := http.Get(r.URL.Query().Get("request_uri")); err == nil {
			response.Body.Close()
		}
	}).between
	c := caseFinder(t)("request_object-request_uri-ssrf-meta")
	query := *c.Request.Query + "&request_uri=http%3A%2F%2F127.0.0.1:{PORT}%2Fro"
	query = strings.Replace(query, "&request_uri=http%3A%2F%2F169.254.169.254%2Flatest%2Fmeta-data%2F", "", 1)
	c.Request.Query = &query
	noticed(t, run.once(c), "must_not canary")
}

const goodQuery = `response_type=code&client_id=web&redirect_uri=https%3A%2F%2Fapp.example%2Fcb&scope=openid&state=s&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256`

// newCase makes a case of a query, what it expects and its setup.
func newCase(t *testing.T, session, query, expect, setup string) *testCase {
	t.Helper()
	quoted, err := json.Marshal(query)
	if err != nil {
		t.Fatal(err)
	}
	c := &testCase{}
	line := `{"id":"x","category":"new","client":"web","registered_redirect_uris":["https://app.example/cb"],"session":"` + session +
		`","request":{"method":"GET","path":"/authorize","query":` + string(quoted) + `,"headers":{}},"expect":` + expect + `,"setup":[` + setup + `],"why":"","requires":["unheard-of"]}`
	if err := json.Unmarshal([]byte(line), c); err != nil {
		t.Fatal(err)
	}
	return c
}

// Cases that the default file does not have, for verbs and placeholders that it
// leaves out.
func TestRunsOtherCases(t *testing.T) {
	run := startRunner(t)
	const (
		aCode  = `{"kind":"code_redirect","location_prefix":"https://app.example/cb?","must_not":["location:evil"]}`
		aLogin = `{"kind":"login_redirect","location_prefix":"{LOGIN}","must_not":["param:code"]}`
		aPage  = `{"kind":"error_page","must_not":["header:Location"]}`
		begin  = `{"do":"authorize","session":"none","save":"RESUME"}`
		login  = `{"do":"login","as":"alice"}`
		code   = `{"do":"code","save":"CODE"}`
	)
	hint := hintFor("bob")
	for _, test := range []struct{ name, session, query, expect, setup string }{
		{"a resume that was tampered with", "alice", "{RESUME:flip-last}", aPage, begin + "," + login},
		{"a resume that is cut off", "alice", "{RESUME:truncate}", aPage, begin + "," + login},
		{"a resume with other parameters", "alice", "{RESUME}&redirect_uri=https%3A%2F%2Fevil.example%2Fcb&scope=api:write&state=other", aCode, begin + "," + login},
		{"two tabs", "alice", "{OTHER}", aCode, begin + `,{"do":"authorize","save":"OTHER"},` + login + `,{"do":"resume","expect":"code_redirect"}`},
		{"a resume that is too late", "alice", "{RESUME}", aPage, begin + "," + login + `,{"do":"advance","seconds":1801}`},
		{"deny", "alice", "{RESUME}&deny=1", `{"kind":"error_redirect","error":"access_denied","must_not":[]}`, begin + "," + login},
		{"fifty at once", "alice", goodQuery, aCode, code + `,{"do":"redeem","parallel":50,"expect_ok":1}`},
		{"a wrong verifier does not burn the code", "alice", goodQuery, aCode, code + `,{"do":"redeem","verifier":"{REPEAT:A:43}","expect":"invalid_grant"},{"do":"redeem","expect":"ok"}`},
		{"a code just in time", "alice", goodQuery, aCode, code + `,{"do":"advance","seconds":59},{"do":"redeem","code":"CODE","redirect_uri":null,"expect":"ok"}`},
		{"another client's code, expired", "alice", goodQuery, aCode, code + `,{"do":"advance","seconds":61},{"do":"redeem","client":"spa","expect":"invalid_grant"}`},
		{"signed out", "none", goodQuery, aLogin, login + `,{"do":"logout"}`},
		{"an expired session", "expired", goodQuery, aLogin, ``},
		{"a revoked session", "revoked", goodQuery, aLogin, ``},
		{"half a session", "mfa_pending", goodQuery, aLogin, ``},
		{"a user without consent", "alice_noconsent", goodQuery, aLogin, ``},
		{"a resource", "alice", goodQuery + "&resource=https%3A%2F%2Fapi.example%2Fv1", aCode, ``},
		{"another resource", "alice", goodQuery + "&resource=https%3A%2F%2Fother.example%2F", `{"kind":"error_redirect","error":"invalid_target","must_not":[]}`, ``},
		{"a scope for nobody", "alice", goodQuery + "&scope=admin", `{"kind":"error_redirect","error":"invalid_request","must_not":[]}`, ``},
		{"a hint for another user", "alice", goodQuery + "&id_token_hint=" + hint, aLogin, ``},
		{"a hint for this user", "bob", goodQuery + "&id_token_hint=" + hint, aCode, ``},
		{"a hint for this user, tampered with", "bob", goodQuery + "&id_token_hint=" + hint + "A", aLogin, ``},
	} {
		t.Run(test.name, func(t *testing.T) {
			if verdict := run.run(newCase(t, test.session, test.query, test.expect, test.setup)); len(verdict.problems) > 0 || verdict.only != "" {
				t.Errorf("%+v", verdict)
			}
		})
	}
}

func TestReplacesPlaceholders(t *testing.T) {
	run := startRunner(t)
	w, err := run.newWorld(caseFinder(t)("control-ok-get"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	w.saved["CODE"] = "abc"
	for text, want := range map[string]string{
		"{{7*7}} ${x} {a} {}":                     "{{7*7}} ${x} {a} {}",
		"a{REPEAT:%2e:3}b":                        "a%2e%2e%2eb",
		"{REPEAT:a:b:2}":                          "a:ba:b",
		"{ISS} {LOGIN}":                           "https://as.example https://as.example/login",
		"{COOKIE_NAME}={COOKIE_NAME:upper}":       "__Host-usher-session=__HOST-USHER-SESSION",
		"{CODE} {CODE:truncate} {CODE:flip-last}": "abc ab ab8",
		"{CODE:flip-first} {CODE:upper}":          "6bc ABC",
	} {
		if got, err := w.expand(text); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", text, got, err, want)
		}
	}
	for _, change := range []string{"", ":flip-first", ":flip-last", ":truncate", ":upper"} {
		value, err := w.expand("{COOKIE_VALUE:alice" + change + "}")
		if err != nil {
			t.Fatal(err)
		}
		if err := setCookie(w.browser, &http.Cookie{Name: sessionCookie, Value: value}); err != nil {
			t.Fatal(err)
		}
		s, err := w.cookies.Session(visit(w.browser))
		if err != nil || (s != nil) != (change == "") {
			t.Errorf("a cookie that was changed by %q leads to %v, %v", change, s, err)
		}
	}
	for _, text := range []string{"{NOBODY}", "{REPEAT:a}", "{REPEAT:a:-1}", "{COOKIE_VALUE:carol}", "{CODE:spin}"} {
		if got, err := w.expand(text); err == nil {
			t.Errorf("%s is %q, want an error", text, got)
		}
	}
}

// What the runner does not know is a failed case that says so.
func TestRefusesWhatItDoesNotKnow(t *testing.T) {
	run := startRunner(t)
	const good = `{"kind":"code_redirect","must_not":[]}`
	for _, test := range []struct{ name, session, query, expect, setup, want string }{
		{"a verb", "alice", goodQuery, good, `{"do":"dance"}`, "setup 1 (dance): unknown verb"},
		{"a member of a step", "alice", goodQuery, good, `{"do":"login","as":"alice","how":"fast"}`, `unknown field "how"`},
		{"a member of the expectation", "alice", goodQuery, `{"kind":"code_redirect","smell":"good"}`, ``, `unknown field "smell"`},
		{"a placeholder", "alice", goodQuery + "&a={NOBODY}", good, ``, "placeholder {NOBODY}"},
		{"a session", "carol", goodQuery, good, ``, `no session "carol"`},
		{"a user", "alice", goodQuery, good, `{"do":"login","as":"carol"}`, `no user "carol"`},
		{"a code that nobody saved", "alice", goodQuery, good, `{"do":"redeem"}`, "no step saved CODE"},
		{"a code that was not issued", "alice", goodQuery, good, `{"do":"code","save":"CODE","query_add":"&max_age=0"}`, "want a code"},
		{"nothing to resume", "alice", goodQuery, good, `{"do":"authorize","session":"alice","save":"RESUME"}`, "nothing to resume"},
		{"a resume that ends otherwise", "alice", goodQuery, good, `{"do":"authorize","session":"none","save":"RESUME"},{"do":"resume","expect":"code_redirect"}`, "got login_redirect"},
		{"a redemption that ends otherwise", "alice", goodQuery, good, `{"do":"code","save":"CODE"},{"do":"redeem","expect":"invalid_grant"}`, "got ok, want invalid_grant"},
		{"a race that ends otherwise", "alice", goodQuery, good, `{"do":"code","save":"CODE"},{"do":"redeem","parallel":5,"expect_ok":2}`, "5 at once ended"},
		{"a text that the store has", "alice", goodQuery, good, `{"do":"code","save":"CODE"},{"do":"store_dump","must_not_contain":"alice"}`, "the store was given alice"},
	} {
		t.Run(test.name, func(t *testing.T) {
			noticed(t, run.run(newCase(t, test.session, test.query, test.expect, test.setup)), test.want)
		})
	}
}

// html/template re-encodes some characters of a URL, also of one that it trusts.
func TestFormKeepsTheBytesOfTheRedirectURI(t *testing.T) {
	run := startRunner(t)
	const odd = "https://app.example/cb'(a)!~?b=%2e&c=d+e"
	query := strings.Replace(goodQuery, "https%3A%2F%2Fapp.example%2Fcb", url.QueryEscape(odd), 1) + "&response_mode="
	for _, mode := range []string{"query", "form_post"} {
		c := newCase(t, "alice", query+mode, `{"kind":"code_redirect"}`, "")
		c.RedirectURIs, c.Expect.LocationPrefix = []string{odd}, odd
		if verdict := run.run(c); len(verdict.problems) > 0 {
			t.Errorf("%s: %q", mode, verdict.problems)
		}
	}
}

func TestHintIsVerified(t *testing.T) {
	if subject, err := hintSubject(context.Background(), hintFor("alice")); err != nil || subject != "alice" {
		t.Errorf("a right hint: %q, %v", subject, err)
	}
	for _, token := range []string{"", "garbage", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJib2IiLCJpc3MiOiJodHRwczovL2FzLmV4YW1wbGUifQ."} {
		if subject, err := hintSubject(context.Background(), token); err == nil {
			t.Errorf("%q is a hint for %q", token, subject)
		}
	}
}
