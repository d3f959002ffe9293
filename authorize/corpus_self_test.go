package authorize_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize"
)

// A runner that says "met" whatever happens is worth nothing, so these tests spoil
// expectations, answers and cases one by one and want each to be noticed.

// corpusCases returns a function that finds a case of the default file, for the
// caller to spoil.
func corpusCases(t *testing.T) func(id string) *corpusCase {
	t.Helper()
	cases, err := readCorpus([]string{corpusDefault})
	if err != nil {
		t.Fatal(err)
	}
	return func(id string) *corpusCase {
		for _, c := range cases {
			if c.ID == id {
				found := *c
				return &found
			}
		}
		t.Fatalf("no case %q", id)
		return nil
	}
}

func corpusNoticed(t *testing.T, verdict corpusVerdict, want string) {
	t.Helper()
	if all := strings.Join(verdict.problems, "\n"); !strings.Contains(all, want) {
		t.Errorf("want a problem with %q, got:\n%s", want, all)
	}
}

func TestCorpusNoticesFlippedExpectations(t *testing.T) {
	run, caseOf := startCorpusRunner(t), corpusCases(t)
	mustNot := func(form string) func(e *corpusExpectation) {
		return func(e *corpusExpectation) { e.MustNot = []string{form} }
	}
	for _, test := range []struct {
		name, id string
		flip     func(e *corpusExpectation)
		want     string
	}{
		{"kind, a code", "control-ok-get", func(e *corpusExpectation) { e.Kind = corpusErrorRedirect }, "kind: got code_redirect"},
		{"kind, a page", "redirect_uri-userinfo", func(e *corpusExpectation) { e.Kind = corpusLoginRedirect }, "kind: got error_page"},
		{"kind, a page by POST", "redirect_uri-userinfo", func(e *corpusExpectation) { e.Kind = corpusLoginRedirect }, "by POST: kind: got error_page"},
		{"kind, the login", "control-ok-login", func(e *corpusExpectation) { e.Kind = corpusErrorPage }, "kind: got login_redirect"},
		{"kind, an error", "pkce-S512", func(e *corpusExpectation) { e.Kind = corpusCodeRedirect }, "kind: got error_redirect"},
		{"kind, after a resume", "resume-unauthenticated", func(e *corpusExpectation) { e.Kind, e.AlsoOK = corpusCodeRedirect, nil }, "kind: got login_redirect"},
		{"error", "pkce-S512", func(e *corpusExpectation) { e.Error = "invalid_scope" }, `error: got invalid_request, want invalid_scope`},
		{"location_prefix", "control-ok-get", func(e *corpusExpectation) { e.LocationPrefix = "https://app.example/cd" }, "location_prefix: got https://app.example/cb"},
		{"location_prefix of a form", "control-ok-form-post", func(e *corpusExpectation) { e.LocationPrefix = "https://app.example/cd" }, "location_prefix: got https://app.example/cb"},
		{"location_prefix of the login", "control-ok-login", func(e *corpusExpectation) { e.LocationPrefix = "{ISS}/logout" }, "location_prefix: got https://as.example/login"},
		{"params", "control-ok-get", func(e *corpusExpectation) { e.Params = map[string]string{"state": "XYZabc123"} }, `params state: got "xyzABC123"`},
		{"params, absent", "control-ok-no-state", func(e *corpusExpectation) { e.Params = map[string]string{"state": "x"} }, `params state: got ""`},
		{"params of a form", "control-ok-form-post", func(e *corpusExpectation) { e.Params = map[string]string{"iss": "https://evil.example"} }, "params iss"},
		{"delivery, a form wanted", "control-ok-get", func(e *corpusExpectation) { e.Delivery = "form_post" }, "delivery: got no form"},
		{"delivery, one not known", "control-ok-get", func(e *corpusExpectation) { e.Delivery = "pigeon" }, "delivery: the runner does not know pigeon"},
		{"status", "method-PUT", func(e *corpusExpectation) { e.Status = corpusStatuses{404} }, "status: got 405"},
		{"status, 5xx not expected", "client_id-store-error", func(e *corpusExpectation) { e.Status = nil }, "status: got 503"},
		{"also_ok, none fits", "pkce-len44", func(e *corpusExpectation) { e.Kind = corpusErrorPage }, "kind: got error_redirect"},
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
			corpusNoticed(t, run.run(c), test.want)
		})
	}
}

func TestCorpusNoticesWhatOnlyAlsoOKAllows(t *testing.T) {
	run := startCorpusRunner(t)
	c := corpusCases(t)("control-ok-get")
	c.Expect.AlsoOK = []corpusOutcome{{Kind: corpusErrorPage}, {Kind: corpusCodeRedirect}}
	if verdict := run.run(c); len(verdict.problems) > 0 || verdict.only != "" {
		t.Errorf("the expected outcome: %+v", verdict)
	}
	c.Expect.Kind = corpusErrorPage
	if verdict := run.run(c); len(verdict.problems) > 0 || verdict.only != corpusCodeRedirect {
		t.Errorf("only also_ok fits: %+v", verdict)
	}
	c.Expect.MustNot = []string{"param:code"}
	corpusNoticed(t, run.run(c), "must_not param:code")
}

// corpusSpoiler changes an answer.
type corpusSpoiler func(rec *httptest.ResponseRecorder, r *http.Request)

// between stands between the server and the endpoint.
func (spoil corpusSpoiler) between(endpoint http.Handler) http.Handler {
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

func corpusStatus(status int) corpusSpoiler {
	return func(rec *httptest.ResponseRecorder, _ *http.Request) { rec.Code = status }
}

func corpusSetHeader(name, value string) corpusSpoiler {
	return func(rec *httptest.ResponseRecorder, _ *http.Request) { rec.Header().Set(name, value) }
}

func corpusInLocation(old, new string) corpusSpoiler {
	return func(rec *httptest.ResponseRecorder, _ *http.Request) {
		rec.Header().Set("Location", strings.Replace(rec.Header().Get("Location"), old, new, 1))
	}
}

func corpusInPage(old, new string) corpusSpoiler {
	return func(rec *httptest.ResponseRecorder, _ *http.Request) {
		rec.Body = bytes.NewBufferString(strings.Replace(rec.Body.String(), old, new, 1))
	}
}

func corpusAsPage(rec *httptest.ResponseRecorder, _ *http.Request) {
	rec.Header().Del("Location")
	rec.Code = http.StatusBadRequest
}

var corpusSpoiled = []struct {
	name, id string
	spoil    corpusSpoiler
	want     string
}{
	{"1 panic", "control-ok-get", func(*httptest.ResponseRecorder, *http.Request) { panic("by a bug") }, "invariant 1 (no panic): by a bug"},
	{"1 status 500", "redirect_uri-userinfo", corpusStatus(500), "invariant 1"},
	{"1 status 307", "control-ok-get", corpusStatus(307), "invariant 1"},
	{"1 status 308", "control-ok-login", corpusStatus(308), "invariant 1"},
	{"1 status 302 to a POST", "control-ok-post", corpusStatus(302), "invariant 1"},
	{"1 CORS", "control-ok-get", corpusSetHeader("Access-Control-Allow-Origin", "*"), "invariant 1"},
	{"2 code and error", "control-ok-get", corpusInLocation("?", "?error=x&"), "invariant 2 (parameters): both"},
	{"2 a parameter twice", "control-ok-get", corpusInLocation("&iss=", "&iss=a&iss="), "invariant 2 (parameters): iss"},
	{"2 a parameter in the fragment too", "control-ok-get", corpusInLocation("iss=", "iss=https%3A%2F%2Fas.example#iss="), "invariant 2 (parameters): iss"},
	{"2 no state", "control-ok-get", corpusInLocation("&state=xyzABC123", ""), "invariant 2 (parameters): state"},
	{"2 another state", "pkce-S512", corpusInLocation("xyzABC123", "xyzABC124"), "invariant 2 (parameters): state"},
	{"2 a state that nobody sent", "control-ok-no-state", corpusInLocation("?", "?state=x&"), "invariant 2 (parameters): state"},
	{"2 an empty state", "empty-state", corpusInLocation("?", "?state=&"), "invariant 2 (parameters): state"},
	{"2 one of two states", "duplicates-state-same", corpusInLocation("?", "?state=one&"), "invariant 2 (parameters): state"},
	{"2 no iss", "control-ok-get", corpusInLocation("&iss=", "&is="), "invariant 2 (parameters): iss"},
	{"2 another iss", "pkce-S512", corpusInLocation("as.example", "evil.example"), "invariant 2 (parameters): iss"},
	{"3 another host", "control-ok-get", corpusInLocation("app.example", "evil.example"), "invariant 3"},
	{"3 another path", "control-ok-get", corpusInLocation("/cb", "/cb2"), "invariant 3"},
	{"3 another client's", "pkce-S512", corpusInLocation("https://app.example/cb", "https://spa.example/cb"), "invariant 3"},
	{"3 another loopback host", "loopback-noport", corpusInLocation("127.0.0.1", "127.0.0.2"), "invariant 3"},
	{"3 a port that is not on loopback", "control-ok-get", corpusInLocation("app.example", "app.example:8443"), "invariant 3"},
	{"3 a form elsewhere", "control-ok-form-post", corpusInPage("https://app.example/cb", "https://evil.example/cb"), "invariant 3"},
	{"3 Location on a page", "redirect_uri-userinfo", corpusSetHeader("Location", "https://app.example/cb"), "invariant 3"},
	{"4 a quote", "pkce-S512", corpusInLocation("error_description=", "error_description=%22"), "invariant 4 (error_description): the byte"},
	{"4 a line break", "pkce-S512", corpusInLocation("error_description=", "error_description=%0A"), "invariant 4 (error_description): the byte"},
	{"4 UTF-8", "pkce-S512", corpusInLocation("error_description=", "error_description=%C3%A9"), "invariant 4 (error_description): the byte"},
	{"4 what was sent", "pkce-S512", corpusInLocation("error_description=", "error_description=S512+"), `invariant 4 (error_description): "S512"`},
	{"5 Cache-Control", "control-ok-get", corpusSetHeader("Cache-Control", "private"), "invariant 5"},
	{"5 Referrer-Policy", "redirect_uri-userinfo", corpusSetHeader("Referrer-Policy", "origin"), "invariant 5"},
	{"5 frame-ancestors", "redirect_uri-userinfo", corpusSetHeader("Content-Security-Policy", "default-src 'none'"), "invariant 5"},
	{"5 Referrer-Policy of a form", "control-ok-form-post", corpusSetHeader("Referrer-Policy", "no-referrer"), "invariant 5"},
	{"5 frame-ancestors of a form", "control-ok-form-post", corpusSetHeader("Content-Security-Policy", "default-src 'none'"), "invariant 5"},
	{"5 frame-ancestors of a silent form", "response_mode-form_post-prompt-none", corpusSetHeader("Content-Security-Policy", "frame-ancestors 'none'"), "invariant 5"},
	{"5 X-Frame-Options of a form", "control-ok-form-post", corpusSetHeader("X-Frame-Options", ""), "invariant 5"},
	{"5 X-Frame-Options of a silent form", "response_mode-form_post-prompt-none", corpusSetHeader("X-Frame-Options", "DENY"), "invariant 5"},
	{"5 form-action", "control-ok-form-post", corpusSetHeader("Content-Security-Policy", "frame-ancestors 'none'; form-action 'self'"), "invariant 5"},
	{"5 nosniff", "redirect_uri-userinfo", corpusSetHeader("X-Content-Type-Options", ""), "invariant 5"},
	{"6 what was sent, in a page", "redirect_uri-html", corpusInPage("</main>", `<p>"><script>alert(1)</script></p></main>`), "invariant 6 (HTML)"},
	{"6 what was sent, in an attribute", "redirect_uri-html", corpusInPage("</main>", `<p title=""&gt;&lt;script&gt;alert(1)&lt;/script&gt;">x</p></main>`), "invariant 6 (HTML)"},
	{"6 code that the policy does not name", "control-ok-form-post", corpusInPage("</main>", `<script>alert(1)</script></main>`), "invariant 6 (HTML): a <script>"},
	{"6 code in an attribute", "redirect_uri-userinfo", corpusInPage("</main>", `<p onclick="alert(1)">x</p></main>`), "invariant 6 (HTML): <p>"},
	{"6 a body that is read whole", "size-body-12m", func(_ *httptest.ResponseRecorder, r *http.Request) { io.ReadAll(r.Body) }, "invariant 6 (time and memory)"},
	{"7 not Secure", "control-ok-login", corpusSetHeader("Set-Cookie", "a=b; HttpOnly; SameSite=Lax"), "invariant 7"},
	{"7 not HttpOnly", "control-ok-login", corpusSetHeader("Set-Cookie", "a=b; Secure; SameSite=Lax"), "invariant 7"},
	{"7 not SameSite", "control-ok-login", corpusSetHeader("Set-Cookie", "a=b; Secure; HttpOnly"), "invariant 7"},
	{"7 a prefix that does not hold", "control-ok-login", corpusSetHeader("Set-Cookie", "__Host-a=b; Secure; HttpOnly; SameSite=Lax"), "does not take the cookie"},
	{"8 a code under a page", "control-ok-get", corpusAsPage, "invariant 8 (nothing stays behind): 1 codes"},
	{"8 another code", "control-ok-get", corpusInLocation("code=", "code=x"), "invariant 8 (nothing stays behind): the stored hash"},
	{"8 a cookie with a page", "redirect_uri-userinfo", corpusSetHeader("Set-Cookie", "a=b; Secure; HttpOnly; SameSite=Lax"), "invariant 8 (nothing stays behind): a cookie"},
	{"8 a cookie with an error", "pkce-S512", corpusSetHeader("Set-Cookie", "a=b; Secure; HttpOnly; SameSite=Lax"), "invariant 8 (nothing stays behind): a cookie"},
	{"must_not set-cookie", "state-short", corpusSetHeader("Set-Cookie", "x=b"), "must_not set-cookie:x"},
	{"a page that means nothing", "control-ok-login", func(rec *httptest.ResponseRecorder, _ *http.Request) { rec.Header().Del("Location") }, "kind: got a response with status 302"},
}

func TestCorpusNoticesBrokenInvariants(t *testing.T) {
	run, caseOf := startCorpusRunner(t), corpusCases(t)
	for _, test := range corpusSpoiled {
		t.Run(test.name, func(t *testing.T) {
			run.rogue = test.spoil.between
			corpusNoticed(t, run.once(caseOf(test.id)), test.want)
		})
	}
}

// What no answer of this endpoint can be made to show is shown of made-up ones.
func TestCorpusNoticesMadeUpAnswers(t *testing.T) {
	code := corpusSavedCode{corpusHash("c"), &authorize.Code{Subject: "alice"}}
	answered := corpusAnswer{kind: corpusCodeRedirect, codes: []corpusSavedCode{code}, params: []corpusParam{{"code", "c"}}, subject: "alice"}
	if broken := corpusNothingLeft(&answered); broken != "" {
		t.Error("a right answer:", broken)
	}
	answered.subject = "bob"
	if corpusNothingLeft(&answered) == "" {
		t.Error("a code for another user was not noticed")
	}
	if corpusCost(&corpusAnswer{elapsed: 1100 * time.Millisecond}) == "" {
		t.Error("a slow answer was not noticed")
	}
	if corpusDestination(&corpusAnswer{kind: corpusCodeRedirect, target: "http://127.0.0.1:80/cb?code=c", registered: []string{"http://127.0.0.1:8080/cb"}}) != "" {
		t.Error("a loopback port may vary")
	}
}

// The canary is called, which no endpoint of this package does.
func TestCorpusNoticesACallOfTheCanary(t *testing.T) {
	run := startCorpusRunner(t)
	run.rogue = corpusSpoiler(func(_ *httptest.ResponseRecorder, r *http.Request) {
		if response, err := http.Get(r.URL.Query().Get("request_uri")); err == nil {
			response.Body.Close()
		}
	}).between
	c := corpusCases(t)("request_object-request_uri-ssrf-meta")
	query := *c.Request.Query + "&request_uri=http%3A%2F%2F127.0.0.1:{PORT}%2Fro"
	query = strings.Replace(query, "&request_uri=http%3A%2F%2F169.254.169.254%2Flatest%2Fmeta-data%2F", "", 1)
	c.Request.Query = &query
	corpusNoticed(t, run.once(c), "must_not canary")
}

const corpusGood = `response_type=code&client_id=web&redirect_uri=https%3A%2F%2Fapp.example%2Fcb&scope=openid&state=s&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256`

// corpusLine makes a case of a query, what it expects and its setup.
func corpusLine(t *testing.T, session, query, expect, setup string) *corpusCase {
	t.Helper()
	quoted, err := json.Marshal(query)
	if err != nil {
		t.Fatal(err)
	}
	c := &corpusCase{}
	line := `{"id":"x","category":"new","client":"web","registered_redirect_uris":["https://app.example/cb"],"session":"` + session +
		`","request":{"method":"GET","path":"/authorize","query":` + string(quoted) + `,"headers":{}},"expect":` + expect + `,"setup":[` + setup + `],"why":"","requires":["unheard-of"]}`
	if err := json.Unmarshal([]byte(line), c); err != nil {
		t.Fatal(err)
	}
	return c
}

// Cases that the default file does not have, for verbs and placeholders that it
// leaves out.
func TestCorpusRunsOtherCases(t *testing.T) {
	run := startCorpusRunner(t)
	const (
		aCode  = `{"kind":"code_redirect","location_prefix":"https://app.example/cb?","must_not":["location:evil"]}`
		aLogin = `{"kind":"login_redirect","location_prefix":"{LOGIN}","must_not":["param:code"]}`
		aPage  = `{"kind":"error_page","must_not":["header:Location"]}`
		begin  = `{"do":"authorize","session":"none","save":"RESUME"}`
		login  = `{"do":"login","as":"alice"}`
		code   = `{"do":"code","save":"CODE"}`
	)
	hint := corpusHint("bob")
	for _, test := range []struct{ name, session, query, expect, setup string }{
		{"a resume that was tampered with", "alice", "{RESUME:flip-last}", aPage, begin + "," + login},
		{"a resume that is cut off", "alice", "{RESUME:truncate}", aPage, begin + "," + login},
		{"a resume with other parameters", "alice", "{RESUME}&redirect_uri=https%3A%2F%2Fevil.example%2Fcb&scope=api:write&state=other", aCode, begin + "," + login},
		{"two tabs", "alice", "{OTHER}", aCode, begin + `,{"do":"authorize","save":"OTHER"},` + login + `,{"do":"resume","expect":"code_redirect"}`},
		{"a resume that is too late", "alice", "{RESUME}", aPage, begin + "," + login + `,{"do":"advance","seconds":1801}`},
		{"deny", "alice", "{RESUME}&deny=1", `{"kind":"error_redirect","error":"access_denied","must_not":[]}`, begin + "," + login},
		{"fifty at once", "alice", corpusGood, aCode, code + `,{"do":"redeem","parallel":50,"expect_ok":1}`},
		{"a wrong verifier does not burn the code", "alice", corpusGood, aCode, code + `,{"do":"redeem","verifier":"{REPEAT:A:43}","expect":"invalid_grant"},{"do":"redeem","expect":"ok"}`},
		{"a code just in time", "alice", corpusGood, aCode, code + `,{"do":"advance","seconds":59},{"do":"redeem","code":"CODE","redirect_uri":null,"expect":"ok"}`},
		{"another client's code, expired", "alice", corpusGood, aCode, code + `,{"do":"advance","seconds":61},{"do":"redeem","client":"spa","expect":"invalid_grant"}`},
		{"signed out", "none", corpusGood, aLogin, login + `,{"do":"logout"}`},
		{"an expired session", "expired", corpusGood, aLogin, ``},
		{"a revoked session", "revoked", corpusGood, aLogin, ``},
		{"half a session", "mfa_pending", corpusGood, aLogin, ``},
		{"a user without consent", "alice_noconsent", corpusGood, aLogin, ``},
		{"a resource", "alice", corpusGood + "&resource=https%3A%2F%2Fapi.example%2Fv1", aCode, ``},
		{"another resource", "alice", corpusGood + "&resource=https%3A%2F%2Fother.example%2F", `{"kind":"error_redirect","error":"invalid_target","must_not":[]}`, ``},
		{"a scope for nobody", "alice", corpusGood + "&scope=admin", `{"kind":"error_redirect","error":"invalid_request","must_not":[]}`, ``},
		{"a hint for another user", "alice", corpusGood + "&id_token_hint=" + hint, aLogin, ``},
		{"a hint for this user", "bob", corpusGood + "&id_token_hint=" + hint, aCode, ``},
		{"a hint for this user, tampered with", "bob", corpusGood + "&id_token_hint=" + hint + "A", aLogin, ``},
	} {
		t.Run(test.name, func(t *testing.T) {
			if verdict := run.run(corpusLine(t, test.session, test.query, test.expect, test.setup)); len(verdict.problems) > 0 || verdict.only != "" {
				t.Errorf("%+v", verdict)
			}
		})
	}
}

func TestCorpusReplacesPlaceholders(t *testing.T) {
	run := startCorpusRunner(t)
	w, err := run.newWorld(corpusCases(t)("control-ok-get"))
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
		w.browser.cookies[corpusSessionCookie] = value
		s, err := w.cookies.Session(w.browser.visit())
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
func TestCorpusRefusesWhatItDoesNotKnow(t *testing.T) {
	run := startCorpusRunner(t)
	const good = `{"kind":"code_redirect","must_not":[]}`
	for _, test := range []struct{ name, session, query, expect, setup, want string }{
		{"a verb", "alice", corpusGood, good, `{"do":"dance"}`, "setup 1 (dance): unknown verb"},
		{"a member of a step", "alice", corpusGood, good, `{"do":"login","as":"alice","how":"fast"}`, `unknown field "how"`},
		{"a member of the expectation", "alice", corpusGood, `{"kind":"code_redirect","smell":"good"}`, ``, `unknown field "smell"`},
		{"a placeholder", "alice", corpusGood + "&a={NOBODY}", good, ``, "placeholder {NOBODY}"},
		{"a session", "carol", corpusGood, good, ``, `no session "carol"`},
		{"a user", "alice", corpusGood, good, `{"do":"login","as":"carol"}`, `no user "carol"`},
		{"a code that nobody saved", "alice", corpusGood, good, `{"do":"redeem"}`, "no step saved CODE"},
		{"a code that was not issued", "alice", corpusGood, good, `{"do":"code","save":"CODE","query_add":"&max_age=0"}`, "want a code"},
		{"nothing to resume", "alice", corpusGood, good, `{"do":"authorize","session":"alice","save":"RESUME"}`, "nothing to resume"},
		{"a resume that ends otherwise", "alice", corpusGood, good, `{"do":"authorize","session":"none","save":"RESUME"},{"do":"resume","expect":"code_redirect"}`, "got login_redirect"},
		{"a redemption that ends otherwise", "alice", corpusGood, good, `{"do":"code","save":"CODE"},{"do":"redeem","expect":"invalid_grant"}`, "got ok, want invalid_grant"},
		{"a race that ends otherwise", "alice", corpusGood, good, `{"do":"code","save":"CODE"},{"do":"redeem","parallel":5,"expect_ok":2}`, "5 at once ended"},
		{"a text that the store has", "alice", corpusGood, good, `{"do":"code","save":"CODE"},{"do":"store_dump","must_not_contain":"alice"}`, "the store was given alice"},
	} {
		t.Run(test.name, func(t *testing.T) {
			corpusNoticed(t, run.run(corpusLine(t, test.session, test.query, test.expect, test.setup)), test.want)
		})
	}
}

// html/template re-encodes some characters of a URL, also of one that it trusts.
func TestCorpusFormKeepsTheBytesOfTheRedirectURI(t *testing.T) {
	run := startCorpusRunner(t)
	const odd = "https://app.example/cb'(a)!~?b=%2e&c=d+e"
	query := strings.Replace(corpusGood, "https%3A%2F%2Fapp.example%2Fcb", url.QueryEscape(odd), 1) + "&response_mode="
	for _, mode := range []string{"query", "form_post"} {
		c := corpusLine(t, "alice", query+mode, `{"kind":"code_redirect"}`, "")
		c.RedirectURIs, c.Expect.LocationPrefix = []string{odd}, odd
		if verdict := run.run(c); len(verdict.problems) > 0 {
			t.Errorf("%s: %q", mode, verdict.problems)
		}
	}
}

func TestCorpusHintIsVerified(t *testing.T) {
	if subject, err := corpusHintSubject(context.Background(), corpusHint("alice")); err != nil || subject != "alice" {
		t.Errorf("a right hint: %q, %v", subject, err)
	}
	for _, token := range []string{"", "garbage", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJib2IiLCJpc3MiOiJodHRwczovL2FzLmV4YW1wbGUifQ."} {
		if subject, err := corpusHintSubject(context.Background(), token); err == nil {
			t.Errorf("%q is a hint for %q", token, subject)
		}
	}
}
