package authorize

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// One row for every kind of answer that there is. The headers are all of them.
func TestTheHeadersOfEveryAnswer(t *testing.T) {
	always := map[string]string{"Cache-Control": "no-store", "Pragma": "no-cache", "Referrer-Policy": "no-referrer"}
	page := map[string]string{
		"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
		"Content-Security-Policy": "default-src 'none'; style-src 'STYLE'; frame-ancestors 'none'; base-uri 'none'",
	}
	form := map[string]string{
		"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
		"Content-Security-Policy": "default-src 'none'; script-src 'SCRIPT'; style-src 'STYLE'; frame-ancestors 'none'; base-uri 'none'",
		"Referrer-Policy":         "strict-origin",
	}
	silent := map[string]string{
		"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "strict-origin",
		"Content-Security-Policy": "default-src 'none'; script-src 'SCRIPT'; style-src 'STYLE'; base-uri 'none'",
	}
	withForm := maps.Clone(page)
	withForm["Referrer-Policy"] = "strict-origin"
	redirected := map[string]string{"Location": "*"}
	s := newSite(t, withConsent)
	s.remember("web", "openid")
	s.remember("browser", "openid")
	as := func(who *session.Session) *visitor { return s.visitor(who) }
	for _, c := range []struct {
		rule   string
		got    *reply
		status int
		more   map[string]string
	}{
		{"a code, by GET", as(alice()).get(ask()), 302, redirected},
		{"a code, by POST", as(alice()).post(ask()), 303, redirected},
		{"a code, by form_post", as(alice()).get(ask("response_mode=form_post")), 200, form},
		{"a code, by form_post for a POST", as(alice()).post(ask("response_mode=form_post")), 200, form},
		{"nothing", as(alice()).get(ask("response_type=none")), 302, redirected},
		{"an error, by GET", as(alice()).get(ask("scope=unknown")), 302, redirected},
		{"an error, by POST", as(alice()).post(ask("scope=unknown")), 303, redirected},
		{"an error, by form_post", as(alice()).get(ask("scope=unknown", "response_mode=form_post")), 200, form},
		{"a code for prompt=none, by form_post", as(alice()).get(ask("response_mode=form_post", "prompt=none")), 200, silent},
		{"a code for prompt=none, by form_post for a POST", as(alice()).post(ask("response_mode=form_post", "prompt=+none+")), 200, silent},
		{"nothing for prompt=none, by form_post", as(alice()).get(ask("response_type=none", "response_mode=form_post", "prompt=none")), 200, silent},
		{"an error for prompt=none, by form_post", as(nil).get(ask("response_mode=form_post", "prompt=none")), 200, silent},
		{"a wrong request with prompt=none, by form_post", as(alice()).get(ask("scope=unknown", "response_mode=form_post", "prompt=none")), 200, silent},
		{"an error for prompt=none, by redirect", as(nil).get(ask("prompt=none")), 302, redirected},
		{"an error for prompt=none, by fragment", as(nil).get(ask("client_id=browser", "response_mode=fragment", "prompt=none")), 302, redirected},
		{"a code, by fragment", as(alice()).get(ask("client_id=browser", "response_mode=fragment")), 302, redirected},
		{"a code, by fragment for a POST", as(alice()).post(ask("client_id=browser", "response_mode=fragment")), 303, redirected},
		{"none and another value of prompt, by form_post", as(alice()).get(ask("response_mode=form_post", "prompt=none+login")), 200, form},
		{"prompt=none twice, by form_post", as(alice()).get(ask("response_mode=form_post", "prompt=none", "+prompt=none")), 200, form},
		{"an error page for prompt=none", as(nil).get(ask("client_id=unknown", "response_mode=form_post", "prompt=none")), 400, page},
		{"an unvetted client's error for prompt=none, by form_post", as(nil).get(ask("client_id=new", "response_mode=form_post", "prompt=none")), 400, withForm},
		{"an unvetted client's error, by form_post", as(nil).get(ask("client_id=new", "scope=unknown", "response_mode=form_post")), 400, withForm},
		{"the login page", as(nil).get(ask()), 302, map[string]string{"Location": "*", "Set-Cookie": "*"}},
		{"the consent page", as(alice()).get(ask("prompt=consent")), 302, map[string]string{"Location": "*", "Set-Cookie": "*"}},
		{"the consent page, by POST", as(alice()).post(ask("prompt=consent")), 303, map[string]string{"Location": "*", "Set-Cookie": "*"}},
		{"our own GET", as(nil).post(ask()), 303, redirected},
		{"an error page", as(nil).get(""), 400, page},
		{"an error page, by POST", as(nil).post(""), 400, page},
		{"another method", as(nil).send(s.handler, httptest.NewRequest("PUT", "/authorize", nil)), 405, map[string]string{
			"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Allow": "GET, POST", "Content-Security-Policy": page["Content-Security-Policy"]}},
		{"an unvetted client's error", as(nil).get(ask("client_id=new", "scope=unknown")), 400, page},
		{"Resume", as(nil).page(s.resumeOf, formPost("/login?req=x", "")), 303, redirected},
		{"Deny", as(nil).page(s.handler.Deny, httptest.NewRequest("GET", "/login?req=x", nil)), 302, redirected},
		{"Complete in another browser", as(alice()).complete(&reply{req: "x"}, "consent"), 400, page},
		{"ShowError", as(nil).page(func(w http.ResponseWriter, r *http.Request) { s.handler.ShowError(w, r, io.EOF) }, httptest.NewRequest("GET", "/login", nil)), 503, page},
		{"ShowError without an error", as(nil).page(func(w http.ResponseWriter, r *http.Request) { s.handler.ShowError(w, r, nil) }, httptest.NewRequest("GET", "/login", nil)), 503, page},
	} {
		want := map[string]string{}
		for _, some := range []map[string]string{always, c.more} {
			for name, value := range some {
				value = strings.ReplaceAll(value, "STYLE", sourceOf(t, c.got.body, "style"))
				want[name] = strings.ReplaceAll(value, "SCRIPT", sourceOf(t, c.got.body, "script"))
			}
		}
		got := map[string]string{}
		for name := range c.got.header {
			got[name] = c.got.header.Get(name)
			if want[name] == "*" {
				got[name] = "*"
			}
		}
		if diff := cmp.Diff(want, got); diff != "" || c.got.status != c.status {
			t.Errorf("%s: status %d, want %d; headers (-want +got)\n%s", c.rule, c.got.status, c.status, diff)
		}
	}
}

// sourceOf is the hash by which a browser knows the page's one style or script.
func sourceOf(t *testing.T, body, element string) string {
	t.Helper()
	found := regexp.MustCompile(`(?s)<`+element+`>(.*?)</`+element+`>`).FindAllStringSubmatch(body, -1)
	if len(found) == 0 {
		return ""
	}
	if len(found) > 1 {
		t.Errorf("%d elements %s on one page", len(found), element)
	}
	sum := sha256.Sum256([]byte(found[0][1]))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// A page must hold nothing that its own policy forbids, nor anything from elsewhere.
func TestPagesKeepTheirOwnPolicy(t *testing.T) {
	s := newSite(t)
	for rule, got := range map[string]*reply{
		"error page": s.visitor(nil).get(""),
		"form_post":  s.visitor(alice()).get(ask("response_mode=form_post")),
		"unvetted":   s.visitor(nil).get(ask("client_id=new", "scope=unknown")),
	} {
		for _, forbidden := range []string{" style=", " onload=", " onclick=", "<img", "<link", "<iframe", "javascript:", " src="} {
			if strings.Contains(got.body, forbidden) {
				t.Errorf("%s: there is %q on it", rule, forbidden)
			}
		}
		if !strings.HasPrefix(got.body, "<!DOCTYPE html>\n<html lang=\"en\">") || !strings.Contains(got.body, `name="viewport"`) || !strings.Contains(got.body, "<title>") {
			t.Errorf("%s: %s", rule, got.body)
		}
	}
}

func TestAnAnswerByRedirect(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		rule   string
		change []string
		want   string // CODE stands for 43 characters
	}{
		{"a code", nil, "https://app.example/cb?code=CODE&state=st-1&iss=https%3A%2F%2Fas.example"},
		{"a code without state", []string{"-state"}, "https://app.example/cb?code=CODE&iss=https%3A%2F%2Fas.example"},
		{"a query stays in front", []string{"client_id=query"}, "https://q.example/cb?tenant=1&x=a+b&code=CODE&state=st-1&iss=https%3A%2F%2Fas.example"},
		{"a private-use scheme", []string{"client_id=native", "redirect_uri=com.example.app%3A%2Fcb"}, "com.example.app:/cb?code=CODE&state=st-1&iss=https%3A%2F%2Fas.example"},
		{"a code by fragment", []string{"client_id=browser", "response_mode=fragment"}, "https://browser.example/cb#code=CODE&state=st-1&iss=https%3A%2F%2Fas.example"},
		{"a private-use scheme, by fragment", []string{"client_id=browser", "response_mode=fragment", "redirect_uri=com.example.browser%3A%2Fcb", "state=%26code%3Dx%23+%2B%25"}, "com.example.browser:/cb#code=CODE&state=%26code%3Dx%23%20%2B%25&iss=https%3A%2F%2Fas.example"},
		{"an error by fragment", []string{"client_id=browser", "response_mode=fragment", "scope=openid+scope", "prompt=foo"}, "https://browser.example/cb#error=invalid_scope&error_description=A%20requested%20scope%20is%20missing%2C%20unknown%20or%20not%20open%20to%20this%20client.&state=st-1&iss=https%3A%2F%2Fas.example"},
		{"an error", []string{"scope=unknown"}, "https://app.example/cb?error=invalid_scope&error_description=A%20requested%20scope%20is%20missing%2C%20unknown%20or%20not%20open%20to%20this%20client.&state=st-1&iss=https%3A%2F%2Fas.example"},
		{"a state that needs escaping", []string{"response_type=none", "state=%26code%3Dx%23+%2B%25"}, "https://app.example/cb?state=%26code%3Dx%23%20%2B%25&iss=https%3A%2F%2Fas.example"},
	} {
		got := s.visitor(alice()).get(ask(c.change...))
		location := regexp.MustCompile(`code=[A-Za-z0-9_-]{43}&`).ReplaceAllString(got.location, "code=CODE&")
		if location != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.rule, location, c.want)
		}
	}
}

func TestAnAnswerByForm(t *testing.T) {
	s := newSite(t)
	client := testClients()[0]
	client.RedirectURIs = []string{"https://app.example/cb?a=1&b='%22%3Cx%3E+%2e"}
	s.memory.PutClient(client)
	got := s.visitor(alice()).get(ask("response_mode=form_post", "redirect_uri="+url.QueryEscape(client.RedirectURIs[0]), "state="+url.QueryEscape(`"><script>alert(1)</script>'&amp;é`)))
	got.want(t, "form_post", "code")
	if got.target != client.RedirectURIs[0] {
		t.Errorf("the action is %q", got.target)
	}
	if got.params["state"] != `"><script>alert(1)</script>'&amp;é` {
		t.Errorf("the state is %q", got.params["state"])
	}
	if strings.Contains(got.body, "alert(1)</script>") || strings.Contains(got.body, `b='`) {
		t.Errorf("unescaped:\n%s", got.body)
	}
	if strings.Contains(got.body, "<noscript>") || !strings.Contains(got.body, "<button>Continue</button>") || strings.Contains(got.location, "code") {
		t.Errorf("where the script is blocked nobody could go on:\n%s", got.body)
	}
	if hides, submits := strings.Index(got.body, "hidden=true"), strings.Index(got.body, ".submit()"); !strings.Contains(got.body, `<div id="manual">`) || hides < 0 || hides > submits {
		t.Errorf("the script does not hide the button:\n%s", got.body)
	}
	got = s.visitor(alice()).get(ask("response_mode=form_post", "prompt=none", "redirect_uri="+url.QueryEscape(client.RedirectURIs[0]))).want(t, "silent", "code")
	if strings.Contains(got.body, "<button") || strings.Contains(got.body, "going on") {
		t.Errorf("there is something to click in a frame:\n%s", got.body)
	}
}

// A page of the host's own has the headers before it is called, and says no when.
func TestRetryAfter(t *testing.T) {
	busy := &oautherr.Error{Code: oautherr.TemporarilyUnavailable, RetryAfter: 89*time.Second + 1}
	for _, c := range []struct {
		rule   string
		change func(*site)
		ask    string
		want   string
		after  string
	}{
		{"a store that says when", func(*site) {}, ask(), "page Service Unavailable temporarily_unavailable", "90"},
		{"a page of the host's own", func(s *site) {
			s.config.ErrorPage = func(w http.ResponseWriter, _ *http.Request, p PageError) {
				w.WriteHeader(p.Status)
				fmt.Fprintf(w, "<small>%s &middot; %s</small>", p.Code, p.ErrorID)
			}
		}, ask(), "page Service Unavailable temporarily_unavailable", "90"},
		{"another address for errors, which 503 is not sent to", withErrorURL("/error"), ask(), "page Service Unavailable temporarily_unavailable", "90"},
		{"the client is told by a redirect", func(s *site) {
			s.config.Clients = s.memory
			s.config.CheckRequest = func(context.Context, *Request) error { return fmt.Errorf("busy: %w", busy) }
		}, ask(), "client temporarily_unavailable", ""},
		{"the client is told by a form", func(s *site) {
			s.config.Clients = s.memory
			s.config.CheckRequest = func(context.Context, *Request) error { return busy }
		}, ask("response_mode=form_post"), "client temporarily_unavailable", ""},
		{"an unvetted client's page", func(s *site) {
			s.config.Clients = s.memory
			s.config.CheckRequest = func(context.Context, *Request) error { return busy }
		}, ask("client_id=new"), "page Service Unavailable temporarily_unavailable", "90"},
		{"nobody knows when", func(s *site) {
			s.config.Clients = clientsFunc(func(context.Context, string) (*Client, error) { return nil, oautherr.TemporarilyUnavailable })
		}, ask(), "page Service Unavailable temporarily_unavailable", ""},
		{"the request is wrong", func(*site) {}, ask("client_id="), "page Bad Request invalid_request", ""},
	} {
		s := newSite(t, func(s *site) {
			s.config.Clients = clientsFunc(func(context.Context, string) (*Client, error) { return nil, fmt.Errorf("busy: %w", busy) })
			c.change(s)
		})
		got := s.visitor(alice()).get(c.ask).want(t, c.rule, c.want)
		if after := got.header.Get("Retry-After"); after != c.after {
			t.Errorf("%s: Retry-After is %q, want %q", c.rule, after, c.after)
		}
	}
	s := newSite(t, withDevices, func(s *site) { s.config.CheckRequest = func(context.Context, *Request) error { return busy } })
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, deviceGET(deviceAsks()))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "90" {
		t.Errorf("to a program: status %d, %v", w.Code, w.Header())
	}
	w = httptest.NewRecorder()
	s.handler.ShowError(w, deviceGET(""), fmt.Errorf("a page: %w", busy))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "90" {
		t.Errorf("ShowError: status %d, %v", w.Code, w.Header())
	}
}

// Whoever is refused reads whose no it is.
func TestAccessDeniedSaysWhoRefused(t *testing.T) {
	s := newSite(t)
	v := s.visitor(nil)
	got := v.deny(v.get(ask())).want(t, "the user", "client access_denied")
	if text := got.params["error_description"]; text != "The user refused the request." {
		t.Errorf("the user: %q", text)
	}
	s.forbid()
	got = s.visitor(alice()).get(ask()).want(t, "the host", "client access_denied")
	if text := got.params["error_description"]; text != "The server's rules refused the request." {
		t.Errorf("the host: %q", text)
	}
	s = newSite(t, withStep(Interaction{Name: "terms", Prompt: "terms", Page: "/terms", Error: oautherr.AccessDenied, Needed: always}))
	got = s.visitor(alice()).get(ask("prompt=none")).want(t, "a step that needs a page", "client access_denied")
	if text := got.params["error_description"]; text != oautherr.AccessDenied.Description() {
		t.Errorf("a step that needs a page: %q", text)
	}
}

// A mistake of the host's own is told in the log as what it is.
func TestShowErrorWithoutAnError(t *testing.T) {
	s := newSite(t)
	s.visitor(nil).page(func(w http.ResponseWriter, r *http.Request) { s.handler.ShowError(w, r, nil) }, httptest.NewRequest("GET", "/x", nil))
	if got := s.lastEvent().Err.Error(); !strings.Contains(got, "without an error") {
		t.Errorf("the log says %q", got)
	}
}

// A user is no client: the page has no secrets to talk about.
func TestInvalidClientForUsers(t *testing.T) {
	s := newSite(t)
	for name, c := range map[string]struct {
		err  error
		text string
	}{
		"the code":                      {oautherr.InvalidClient, "The application is not known here."},
		"with a cause":                  {oautherr.InvalidClient.Because(io.EOF), "The application is not known here."},
		"with a text of the host's own": {oautherr.InvalidClient.With("Closed on Sundays."), "Closed on Sundays."},
	} {
		got := s.visitor(nil).page(func(w http.ResponseWriter, r *http.Request) { s.handler.ShowError(w, r, c.err) }, httptest.NewRequest("GET", "/x", nil))
		if !strings.Contains(got.body, c.text) || got.status != http.StatusBadRequest || strings.Contains(got.body, "secret") {
			t.Errorf("%s: status %d\n%s", name, got.status, got.body)
		}
	}
}

// An attacker must find nothing of the request on a page.
func TestErrorPagesRepeatNothing(t *testing.T) {
	s := newSite(t)
	const marker = "zqx9"
	hostile := url.QueryEscape(`"><script>` + marker + `</script>`)
	for _, change := range []string{
		"client_id=" + hostile, "redirect_uri=" + hostile, "redirect_uri=https%3A%2F%2F" + marker + ".example%2F",
		"redirect_uri=javascript%3A" + marker, "+" + marker + "=%zz", "+" + marker + ";=1",
	} {
		got := s.visitor(nil).get(ask(change, "state="+marker, "nonce="+marker, "login_hint="+marker))
		if got.kind != "page" || strings.Contains(got.body, marker) {
			t.Errorf("%s: %s\n%s", change, got, got.body)
		}
		for name, values := range got.header {
			if strings.Contains(strings.Join(values, " "), marker) {
				t.Errorf("%s: it is in %s: %s", change, name, values)
			}
		}
	}
}

func TestTheErrorPage(t *testing.T) {
	s := newSite(t)
	client := testClients()[0]
	client.Name = `<script>alert("name")</script>`
	s.memory.PutClient(client)
	got := s.visitor(nil).get(ask("redirect_uri=https://evil.example/"))
	for _, text := range []string{"The address to return to is not one that the application has registered.", "&lt;script&gt;alert(&#34;name&#34;)&lt;/script&gt;", "redirect_uri_mismatch"} {
		if !strings.Contains(got.body, text) {
			t.Errorf("%q is not on the page:\n%s", text, got.body)
		}
	}
	if strings.Contains(got.body, "evil.example") || strings.Contains(got.body, "<script>alert") {
		t.Errorf("on the page:\n%s", got.body)
	}
}

// The number that the user reads out is in the log and in the event.
func TestTheErrorIDIsInTheLogToo(t *testing.T) {
	for _, c := range []struct {
		rule   string
		change func(*site)
		id     func(got *reply) string
	}{
		{"on the page", func(*site) {}, func(got *reply) string { return pageErrorCode.FindStringSubmatch(got.body)[2] }},
		{"in the URL", withErrorURL("/error"), func(got *reply) string {
			u, err := url.Parse(got.location)
			if err != nil {
				t.Fatal(err)
			}
			return u.Query().Get("error_id")
		}},
	} {
		s := newSite(t, c.change)
		seen := map[string]bool{}
		for range 3 {
			id := c.id(s.visitor(nil).get(""))
			if len(id) != 12 || seen[id] || !strings.Contains(s.log.String(), `"error_id":"`+id+`"`) || s.lastEvent().ErrorID != id {
				t.Errorf("%s: %q, log %s", c.rule, id, s.log.String())
			}
			seen[id] = true
		}
	}
}

func TestErrorURL(t *testing.T) {
	for _, c := range []struct{ rule, url, prefix string }{
		{"a path", "/error", "https://as.example/error?error=redirect_uri_mismatch&error_description=The%20address"},
		{"a path with a query", "/error?theme=dark", "https://as.example/error?theme=dark&error=redirect_uri_mismatch&"},
		{"a path with a fragment", "/error#top", "https://as.example/error?error=redirect_uri_mismatch&"},
		{"another host", "https://pages.example/error", "https://pages.example/error?error=redirect_uri_mismatch&"},
	} {
		s := newSite(t, withErrorURL(c.url))
		got := s.visitor(nil).get(ask("redirect_uri=https://evil.example/"))
		if !strings.HasPrefix(got.location, c.prefix) || !strings.Contains(got.location, "&reason=redirect_uri&error_id=") || strings.Contains(got.location, "evil") || strings.Contains(c.url, "#") != strings.HasSuffix(got.location, "#top") {
			t.Errorf("%s: %s", c.rule, got.location)
		}
		if got := s.visitor(nil).post(""); got.status != 303 {
			t.Errorf("%s: a POST is answered %d", c.rule, got.status)
		}
	}
}

// Every page goes there, that of an unvetted client included, unless it has a way
// back to the client on it.
func TestErrorURLForUnvettedClients(t *testing.T) {
	s := newSite(t, withErrorURL("/error"))
	s.visitor(nil).get(ask("client_id=new", "redirect_uri=https://evil.example/")).want(t, "no destination", "error")
	s.visitor(nil).get(ask("client_id=new", "scope=unknown")).want(t, "a way back", "page Bad Request invalid_scope")
}

func TestOtherMethodsAreNotRedirectedToErrorURL(t *testing.T) {
	s := newSite(t, withErrorURL("/error"))
	r := httptest.NewRequest("PUT", "https://as.example/authorize", nil)
	got := s.visitor(nil).send(s.handler, r)
	if got.status != 405 || got.header.Get("Allow") != "GET, POST" {
		t.Errorf("%d, Allow %q, %s", got.status, got.header.Get("Allow"), got.location)
	}
}

func TestErrorPageHook(t *testing.T) {
	var page PageError
	s := newSite(t, keeping(&page), func(s *site) {
		unvetted, err := s.memory.Client(context.Background(), "new")
		if err != nil {
			t.Fatal(err)
		}
		unvetted.ResponseModes = []string{"query", "form_post", "fragment"}
		s.memory.PutClient(*unvetted)
	})
	for _, c := range []struct {
		rule string
		ask  []string
		want PageError
	}{
		{"nothing is known", []string{"-client_id"}, PageError{Status: 400, Reason: ReasonUnknownClient, Code: oautherr.InvalidRequest, Description: "The application did not say who it is."}},
		{"the client is known", []string{"redirect_uri=https://evil.example/"}, PageError{Status: 400, Reason: ReasonRedirectURI, Code: oautherr.RedirectURIMismatch, Description: "The address to return to is not one that the application has registered.", ClientID: "web", ClientName: "The Web App"}},
		{"the client has no name", []string{"client_id=off"}, PageError{Status: 400, Reason: ReasonClientOff, Code: oautherr.InvalidClient, Description: "The application is switched off here.", ClientID: "off", ClientName: "off"}},
		{"an unvetted client", []string{"client_id=new", "prompt=none", "ui_locales=de+fr"}, PageError{
			Status: 400, Reason: ReasonNotSignedIn, Code: oautherr.LoginRequired, Description: "The user has to sign in, and no page can be shown for that.", ClientID: "new", ClientName: "Totally <b>Real</b>",
			UILocales: []string{"de", "fr"},
			Return:    &Return{Host: "new.example", URL: "https://new.example/cb?error=login_required&error_description=The%20user%20has%20to%20sign%20in%2C%20and%20no%20page%20can%20be%20shown%20for%20that.&state=st-1&iss=https%3A%2F%2Fas.example"},
		}},
		{"an unvetted client with form_post", []string{"client_id=new", "prompt=none", "response_mode=form_post"}, PageError{
			Status: 400, Reason: ReasonNotSignedIn, Code: oautherr.LoginRequired, Description: "The user has to sign in, and no page can be shown for that.", ClientID: "new", ClientName: "Totally <b>Real</b>",
			Return: &Return{Host: "new.example", URL: "https://new.example/cb", Form: true, Fields: []Field{
				{"error", "login_required"}, {"error_description", "The user has to sign in, and no page can be shown for that."}, {"state", "st-1"}, {"iss", testIssuer}}},
		}},
		{"an unvetted client with fragment", []string{"client_id=new", "prompt=none", "response_mode=fragment"}, PageError{
			Status: 400, Reason: ReasonNotSignedIn, Code: oautherr.LoginRequired, Description: "The user has to sign in, and no page can be shown for that.", ClientID: "new", ClientName: "Totally <b>Real</b>",
			Return: &Return{Host: "new.example", URL: "https://new.example/cb#error=login_required&error_description=The%20user%20has%20to%20sign%20in%2C%20and%20no%20page%20can%20be%20shown%20for%20that.&state=st-1&iss=https%3A%2F%2Fas.example"},
		}},
		{"an unvetted client with a mode that nobody knows", []string{"client_id=new", "response_mode=jwt"}, PageError{
			Status: 400, Code: oautherr.InvalidRequest, Description: "The response_mode is not supported.", ClientID: "new", ClientName: "Totally <b>Real</b>",
			Return: &Return{Host: "new.example", URL: "https://new.example/cb?error=invalid_request&error_description=The%20response_mode%20is%20not%20supported.&state=st-1&iss=https%3A%2F%2Fas.example"},
		}},
	} {
		got := s.visitor(nil).get(ask(c.ask...))
		if strings.TrimSuffix(got.body, "<form >") != "<p>own page</p>" || got.status != c.want.Status {
			t.Errorf("%s: status %d, %s", c.rule, got.status, got.body)
		}
		if page.ErrorID != s.lastEvent().ErrorID || page.ErrorID == "" {
			t.Errorf("%s: the error id is %q", c.rule, page.ErrorID)
		}
		page.ErrorID = ""
		if diff := cmp.Diff(c.want, page); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.rule, diff)
		}
	}
}

// RFC 9700 §4.11.2: whoever registers a client must not get an open redirector.
func TestUnvettedClients(t *testing.T) {
	for _, c := range []struct {
		rule string
		do   func(s *site) *reply
		want string
	}{
		{"a wrong request", func(s *site) *reply { return s.visitor(nil).get(ask("client_id=new", "scope=unknown")) }, "page Bad Request invalid_scope"},
		{"a wrong request of someone signed in", func(s *site) *reply { return s.visitor(alice()).get(ask("client_id=new", "scope=unknown")) }, "page Bad Request invalid_scope"},
		{"prompt=none", func(s *site) *reply { return s.visitor(nil).get(ask("client_id=new", "prompt=none")) }, "page Bad Request login_required"},
		{"prompt=none, signed in, no consent", func(s *site) *reply { return s.visitor(alice()).get(ask("client_id=new", "prompt=none")) }, "page Bad Request consent_required"},
		{"prompt=none, consent covers it", func(s *site) *reply {
			s.remember("new", "openid")
			return s.visitor(alice()).get(ask("client_id=new", "prompt=none"))
		}, "code"},
		{"prompt=none, consent covers it, the sign-in is too old", func(s *site) *reply {
			s.remember("new", "openid")
			return s.visitor(alice()).get(ask("client_id=new", "prompt=none", "max_age=1"))
		}, "client login_required"},
		{"prompt=none, another user's consent", func(s *site) *reply {
			s.remember("new", "openid")
			return s.visitor(bob()).get(ask("client_id=new", "prompt=none"))
		}, "page Bad Request consent_required"},
		{"forbidden, no consent", func(s *site) *reply { s.forbid(); return s.visitor(alice()).get(ask("client_id=new")) }, "page Bad Request access_denied"},
		{"forbidden, consent covers it", func(s *site) *reply {
			s.forbid()
			s.remember("new", "openid")
			return s.visitor(alice()).get(ask("client_id=new"))
		}, "client access_denied"},
		{"forbidden after a sign-in for it", func(s *site) *reply {
			s.forbid()
			v := s.visitor(nil)
			at := v.get(ask("client_id=new"))
			v.session = s.signIn("alice")
			return v.resume(at)
		}, "client access_denied"},
		{"forbidden after a sign-in for it, in a browser without the cookie", func(s *site) *reply {
			s.forbid()
			v := s.visitor(nil)
			at := v.get(ask("client_id=new"))
			v.lose()
			v.session = s.signIn("alice")
			return v.resume(at)
		}, "page Bad Request access_denied"},
		{"forbidden after the terms were accepted, in a browser without the cookie", func(s *site) *reply {
			v := s.visitor(alice())
			at := v.get(ask("client_id=new"))
			s.config.Consent.Store = nil
			s.restart()
			done := v.page(func(w http.ResponseWriter, r *http.Request) {
				s.handler.Grant(w, r, Granted{Scopes: []string{"openid"}})
			}, formPost("/consent?req="+at.req, ""))
			s.forbid()
			v.lose()
			return v.follow(done)
		}, "page Bad Request access_denied"},
		{"forbidden after the consent was given", func(s *site) *reply {
			v := s.visitor(alice())
			s.config.Consent.Store = nil
			s.restart()
			at := v.get(ask("client_id=new"))
			done := v.page(func(w http.ResponseWriter, r *http.Request) {
				s.handler.Grant(w, r, Granted{Scopes: []string{"openid"}})
			}, formPost("/consent?req="+at.req, ""))
			s.forbid()
			return v.follow(done)
		}, "client access_denied"},
		{"forbidden for who was signed in all the time", func(s *site) *reply {
			v := s.visitor(alice())
			at := v.get(ask("client_id=new"))
			s.forbid()
			return v.resume(at)
		}, "page Bad Request access_denied"},
		{"forbidden for an account that was merely chosen", func(s *site) *reply {
			v := s.visitor(nil)
			at := v.get(ask("client_id=new"))
			v.session = alice()
			s.forbid()
			return v.resume(at)
		}, "page Bad Request access_denied"},
		{"forbidden after coming back without signing in", func(s *site) *reply {
			s.forbid()
			v := s.visitor(alice())
			at := v.get(ask("client_id=new", "prompt=login"))
			v.session = alice()
			v.site.config.Allow = nil
			return v.resume(at)
		}, "login"},
		{"the user says no on the login page", func(s *site) *reply { v := s.visitor(nil); return v.deny(v.get(ask("client_id=new"))) }, "client access_denied"},
		{"the user says no on the consent page", func(s *site) *reply { v := s.visitor(alice()); return v.deny(v.get(ask("client_id=new"))) }, "client access_denied"},
		{"the user agrees", func(s *site) *reply { v := s.visitor(alice()); return v.grant(v.get(ask("client_id=new")), "openid") }, "code"},
		{"a registered client is answered at once", func(s *site) *reply { return s.visitor(nil).get(ask("scope=unknown")) }, "client invalid_scope"},
	} {
		s := newSite(t, withConsent)
		got := c.do(s).want(t, c.rule, c.want)
		if got.kind == "page" && (!strings.Contains(got.body, `href="https://new.example/cb?error=`) || !strings.Contains(got.body, "nobody has verified")) {
			t.Errorf("%s: no way back on the page:\n%s", c.rule, got.body)
		}
		if kind := s.lastEvent().Kind; (kind == EventErrorPage) != (got.kind == "page") {
			t.Errorf("%s: reported as %s", c.rule, kind)
		}
	}
}

func (s *site) forbid() {
	s.config.Allow = func(context.Context, *session.Session, *Request) (bool, error) { return false, nil }
	s.restart()
}

func TestTheWayBackOfAnUnvettedClient(t *testing.T) {
	s := newSite(t)
	got := s.visitor(nil).get(ask("client_id=new", "scope=unknown", "response_mode=form_post", "state=%22%3E%3Cscript%3E"))
	action, fields := s.readForm(got.body)
	if action != "https://new.example/cb" || fields["error"] != "invalid_scope" || fields["state"] != `"><script>` || strings.Contains(got.body, "<script") {
		t.Errorf("%s %v\n%s", action, fields, got.body)
	}
	got = s.visitor(nil).get(ask("client_id=new", "redirect_uri=https://evil.example/"))
	if strings.Contains(got.body, "href") || strings.Contains(got.body, "evil") {
		t.Errorf("a way to nowhere:\n%s", got.body)
	}
}

// Without the client there is nowhere to send an error.
func TestTheClientStoreFails(t *testing.T) {
	web := testClients()[0]
	for _, c := range []struct {
		rule   string
		client clientFunc
		want   string
	}{
		{"an error", func(context.Context, string) (*Client, error) { return nil, errors.New("down") }, "page Service Unavailable server_error"},
		{"an error and a client", func(context.Context, string) (*Client, error) { return &web, errors.New("down") }, "page Service Unavailable server_error"},
		{"a timeout", func(ctx context.Context, _ string) (*Client, error) { <-ctx.Done(); return nil, ctx.Err() }, "page Service Unavailable temporarily_unavailable"},
		{"too late", func(ctx context.Context, _ string) (*Client, error) { <-ctx.Done(); return &web, nil }, "page Service Unavailable temporarily_unavailable"},
		{"overloaded", func(context.Context, string) (*Client, error) { return nil, oautherr.TemporarilyUnavailable }, "page Service Unavailable temporarily_unavailable"},
		{"another client", func(context.Context, string) (*Client, error) { c := web; c.ID = "WEB"; return &c, nil }, "page Service Unavailable server_error"},
		{"a client without an id", func(context.Context, string) (*Client, error) { return &Client{}, nil }, "page Service Unavailable server_error"},
		{"nothing", func(context.Context, string) (*Client, error) { return nil, nil }, "page Bad Request invalid_client"},
	} {
		s := newSite(t, func(s *site) {
			s.config.Clients = c.client
			if c.rule == "a timeout" || c.rule == "too late" {
				s.config.Timeout = impatient
			}
		})
		for _, query := range []string{ask(), ask("prompt=none")} {
			got := s.visitor(alice()).get(query).want(t, c.rule, c.want)
			if strings.Contains(got.body, "down") || got.location != "" {
				t.Errorf("%s: %s %s", c.rule, got.location, got.body)
			}
		}
	}
}

// An error of the ClientStore is one of three things, wherever a user comes upon it.
func TestWhatTheClientStoreSays(t *testing.T) {
	const unknown = "The application is not known here."
	const unreachable = "The details of the application cannot be fetched at the moment. Try again later."
	const failed, unavailable = "The server met an unexpected condition.", "The server cannot answer at the moment. Try again later."
	down := &net.OpError{Op: "dial", Err: errors.New("SECRET")}
	for _, c := range []struct {
		rule   string
		err    error
		status int
		code   oautherr.Code
		reason Reason
		text   string
		after  string
	}{
		{"no client", oautherr.InvalidClient, 400, oautherr.InvalidClient, ReasonUnknownClient, unknown, ""},
		{"no client, wrapped", fmt.Errorf("SECRET: %w", oautherr.InvalidClient), 400, oautherr.InvalidClient, ReasonUnknownClient, unknown, ""},
		{"no client, with a cause", oautherr.InvalidClient.Because(down), 400, oautherr.InvalidClient, ReasonUnknownClient, unknown, ""},
		{"no client, joined with a cause", errors.Join(down, oautherr.InvalidClient), 400, oautherr.InvalidClient, ReasonUnknownClient, unknown, ""},
		{"no client, with a text", fmt.Errorf("SECRET: %w", oautherr.InvalidClient.With("This is no document of an application.")),
			400, oautherr.InvalidClient, ReasonUnknownClient, "This is no document of an application.", ""},
		{"unreachable", ErrClientUnreachable, 503, oautherr.TemporarilyUnavailable, ReasonClientUnreachable, unreachable, "60"},
		{"unreachable, wrapped with its cause", fmt.Errorf("%w: %w", ErrClientUnreachable, down), 503, oautherr.TemporarilyUnavailable, ReasonClientUnreachable, unreachable, "60"},
		{"unreachable, behind its cause", fmt.Errorf("%w: %w", down, ErrClientUnreachable), 503, oautherr.TemporarilyUnavailable, ReasonClientUnreachable, unreachable, "60"},
		{"unreachable, and when to come back", &oautherr.Error{Code: oautherr.TemporarilyUnavailable, Cause: ErrClientUnreachable, RetryAfter: 5 * time.Second},
			503, oautherr.TemporarilyUnavailable, ReasonClientUnreachable, unreachable, "5"},
		{"unreachable, with a text", &oautherr.Error{Code: oautherr.TemporarilyUnavailable, Description: "wiki.example does not answer.", Cause: ErrClientUnreachable},
			503, oautherr.TemporarilyUnavailable, ReasonClientUnreachable, "wiki.example does not answer.", "60"},
		{"unreachable, called unknown", oautherr.InvalidClient.Because(ErrClientUnreachable), 503, oautherr.TemporarilyUnavailable, ReasonClientUnreachable, unreachable, "60"},
		{"unreachable, joined with unknown", errors.Join(oautherr.InvalidClient, ErrClientUnreachable), 503, oautherr.TemporarilyUnavailable, ReasonClientUnreachable, unreachable, "60"},
		{"unreachable, called a fault of the server", oautherr.ServerError.Because(ErrClientUnreachable), 503, oautherr.TemporarilyUnavailable, ReasonClientUnreachable, unreachable, "60"},
		{"anything else", errors.New("SECRET"), 503, oautherr.ServerError, ReasonStoreFailed, failed, ""},
		{"the network", down, 503, oautherr.TemporarilyUnavailable, ReasonStoreFailed, unavailable, ""},
		{"another code", oautherr.AccessDenied.With("SECRET"), 503, oautherr.ServerError, ReasonStoreFailed, failed, ""},
		{"a store that is down because of an unknown client", oautherr.TemporarilyUnavailable.Because(oautherr.InvalidClient), 503, oautherr.TemporarilyUnavailable, ReasonStoreFailed, unavailable, ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			for place, do := range map[string]func(v *visitor, at *reply) *reply{
				"a first visit":     func(v *visitor, _ *reply) *reply { return v.get(ask("prompt=none", "response_mode=form_post")) },
				"a return":          func(v *visitor, at *reply) *reply { return v.resume(at) },
				"the user's no":     func(v *visitor, at *reply) *reply { return v.deny(at) },
				"Grant":             func(v *visitor, at *reply) *reply { return v.grant(at, "openid") },
				"Pending":           func(v *visitor, at *reply) *reply { return v.showPending(at, "") },
				"Pending, and more": func(v *visitor, at *reply) *reply { return v.showPending(at, "my page: ") },
			} {
				s := newSite(t, withConsent)
				v := s.visitor(alice())
				at := v.get(ask()).want(t, "asked", "consent")
				s.config.Clients = clientFunc(func(context.Context, string) (*Client, error) { return nil, c.err })
				s.restart()
				var page PageError
				s.handler.config.ErrorPage = func(w http.ResponseWriter, r *http.Request, p PageError) {
					page = p
					writePage(w, p.Status, errorTemplate, p)
				}
				got := do(v, at).want(t, place, "page "+http.StatusText(c.status)+" "+string(c.code))
				if after := got.header.Get("Retry-After"); page.Reason != c.reason || page.Description != c.text || page.Return != nil || after != c.after {
					t.Errorf("%s: %+v, Retry-After %q", place, page, after)
				}
				if e := s.lastEvent(); e.Reason != c.reason || !errors.Is(e.Err, c.err) || strings.Contains(got.body, "SECRET") {
					t.Errorf("%s: reported as %s: %v\n%s", place, e.Reason, e.Err, got.body)
				}
				w := httptest.NewRecorder()
				s.handler.PendingHandler().ServeHTTP(w, formPost("/pending", "req="+at.req))
				want := map[int]int{400: 200, 503: 503}[c.status]
				if w.Code != want || w.Body.String() != "{\"active\":false}\n" || w.Header().Get("Retry-After") != c.after {
					t.Errorf("Introspection: %d %s %v", w.Code, w.Body, w.Header())
				}
			}
		})
	}
}

// showPending is a page of the host that cannot read its request, and shows why.
func (v *visitor) showPending(at *reply, text string) *reply {
	v.site.t.Helper()
	return v.page(func(w http.ResponseWriter, r *http.Request) {
		_, err := v.site.handler.Pending(r)
		if err == nil {
			v.site.t.Error("Pending succeeds")
		}
		if text != "" {
			err = fmt.Errorf("%s%w", text, err)
		}
		v.site.handler.ShowError(w, r, err)
	}, httptest.NewRequest("GET", "/login?req="+at.req, nil))
}

// The way back from a page is the way that the answer would have taken.
func TestTheWayBackIsInTheModeThatWasAskedFor(t *testing.T) {
	for _, mode := range []string{"", "query", "form_post", "fragment"} {
		for rule, do := range map[string]func(s *site, at *reply) *reply{
			"another browser's no": func(s *site, at *reply) *reply { return s.visitor(nil).deny(at) },
			"too late": func(s *site, at *reply) *reply {
				s.now = s.now.Add(time.Hour)
				return s.visitor(nil).resume(at)
			},
			"a script, which is led nowhere": func(s *site, at *reply) *reply {
				r := httptest.NewRequest("GET", "/authorize?req="+at.req, nil)
				r.Header.Set("Sec-Fetch-Mode", "cors")
				return s.visitor(nil).send(s.handler, r)
			},
		} {
			s := newSite(t)
			web := testClients()[0]
			web.ResponseModes = []string{"query", "form_post", "fragment"}
			s.memory.PutClient(web)
			var back *Return
			s.config.ErrorPage = func(w http.ResponseWriter, r *http.Request, p PageError) {
				back = p.Return
				writePage(w, p.Status, errorTemplate, p)
			}
			s.restart()
			do(s, s.visitor(nil).get(ask("response_mode="+mode)))
			const no = "error=access_denied&error_description=The%20user%20refused%20the%20request.&state=st-1&iss=https%3A%2F%2Fas.example"
			want := &Return{Host: "app.example", Vetted: true, URL: "https://app.example/cb?" + no}
			switch mode {
			case "fragment":
				want.URL = "https://app.example/cb#" + no
			case "form_post":
				want.URL, want.Form = "https://app.example/cb", true
				want.Fields = []Field{{"error", "access_denied"}, {"error_description", "The user refused the request."}, {"state", "st-1"}, {"iss", testIssuer}}
			}
			if strings.HasPrefix(rule, "a script") {
				want = nil
			}
			if diff := cmp.Diff(want, back); diff != "" {
				t.Errorf("%s, response_mode=%s: (-want +got)\n%s", rule, mode, diff)
			}
		}
	}
}

// RFC 6749 §4.1.2.1: a 5xx cannot travel by redirect.
func TestStatusOfPages(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
	}{
		{oautherr.InvalidRequest, 400}, {oautherr.InvalidClient, 400}, {oautherr.RedirectURIMismatch, 400}, {oautherr.LoginRequired, 400},
		{oautherr.ServerError, 503}, {oautherr.TemporarilyUnavailable, 503}, {io.EOF, 503}, {context.DeadlineExceeded, 503},
		{errMethod, 405}, {errBodyTooLarge, 413}, {errURITooLong, 414}, {errContentType, 415},
	} {
		s := newSite(t)
		got := s.visitor(nil).page(func(w http.ResponseWriter, r *http.Request) { s.handler.ShowError(w, r, c.err) }, httptest.NewRequest("GET", "/x", nil))
		if got.status != c.status {
			t.Errorf("%v: status %d, want %d", c.err, got.status, c.status)
		}
	}
}

// What a page of the host met is told like what the endpoint meets.
func TestAPageThatMetAFailingStore(t *testing.T) {
	for _, c := range []struct {
		rule string
		err  error
		want string
	}{
		{"the network", fmt.Errorf("sign in: %w", &net.OpError{Op: "dial", Err: io.EOF}), "temporarily_unavailable: store_failed"},
		{"too slow", context.DeadlineExceeded, "temporarily_unavailable: store_failed"},
		{"something else", io.EOF, "server_error: store_failed"},
		{"an error with a code", oautherr.LoginRequired.With("Who are you?"), "login_required: "},
		{"a client that cannot be reached", fmt.Errorf("list: %w", ErrClientUnreachable), "temporarily_unavailable: client_unreachable"},
	} {
		s := newSite(t)
		s.visitor(nil).page(func(w http.ResponseWriter, r *http.Request) { s.handler.ShowError(w, r, c.err) }, httptest.NewRequest("GET", "/x", nil))
		e := s.lastEvent()
		if got := string(e.Code) + ": " + string(e.Reason); got != c.want || !errors.Is(e.Err, c.err) && e.Code != oautherr.LoginRequired {
			t.Errorf("%s: %s, %v", c.rule, got, e.Err)
		}
	}
}

// Browsers leave a Lax cookie off a POST from another site, so nobody seems to be
// signed in; the same question by GET brings it.
func TestAPOSTWithoutASessionIsAskedAgainByGET(t *testing.T) {
	s := newSite(t)
	v := s.visitor(nil)
	sent := v.post(ask("state=a%26b%3D+%2B%C3%A9", "+unknown=x", "+resource=https://api.example/a", "+resource=https://api.example/b", "x_tenant=7")).want(t, "by POST", "endpoint")
	if sent.status != 303 || len(sent.cookies) != 0 || strings.Contains(sent.location, "unknown") {
		t.Errorf("%d %s %v", sent.status, sent.location, sent.cookies)
	}
	if claims := claimsOf(t, sent.req); claims["page"] != nil || claims["browser"] != nil {
		t.Errorf("between POST and GET there is a page or a browser: %v", claims)
	}
	if e := s.lastEvent(); e.Kind != EventAskedAgain || e.ClientID != "web" {
		t.Errorf("reported as %+v", e)
	}
	v.session = alice()
	v.follow(sent).want(t, "and now with the session", "code")
	if got := v.follow(sent); got.params["state"] != "a&b= +é" {
		t.Errorf("the state became %q", got.params["state"])
	}
	v.session = nil
	v.follow(sent).want(t, "and now really without", "login")
	for _, c := range []struct {
		rule string
		who  *session.Session
		ask  string
		want string
	}{
		{"someone is signed in", alice(), ask(), "code"},
		{"someone is half signed in", &session.Session{Subject: "alice", SecondFactorPending: true}, ask(), "endpoint"},
		{"the request is wrong", nil, ask("scope=unknown"), "client invalid_scope"},
		{"prompt=none", nil, ask("prompt=none"), "endpoint"},
		{"form_post", nil, ask("response_mode=form_post"), "endpoint"},
		{"someone without a subject", &session.Session{ID: "1", AuthTime: testStart}, ask(), "endpoint"},
	} {
		s.visitor(c.who).post(c.ask).want(t, c.rule, c.want)
	}
}

// Between POST and GET nothing has begun: the GET is the first visit.
func TestTheGETOfAPOSTIsTheFirstVisit(t *testing.T) {
	for _, c := range []struct {
		rule string
		ask  []string
		who  *session.Session // who is there at the GET
		open func(v *visitor, sent *reply) *reply
		want string
	}{
		{"somebody", nil, alice(), (*visitor).follow, "code"},
		{"nobody", nil, nil, (*visitor).follow, "login"},
		{"prompt=none and nobody", []string{"prompt=none"}, nil, (*visitor).follow, "client login_required"},
		{"opened again and again, it is no browser without cookies", nil, nil, func(v *visitor, sent *reply) *reply {
			for range 5 {
				v.lose()
				v.follow(sent).want(t, "again", "login")
			}
			return v.follow(sent)
		}, "login"},
		{"and what it leads to is, after the second time", nil, nil, func(v *visitor, sent *reply) *reply {
			at := v.follow(sent)
			v.lose()
			at = v.resume(at).want(t, "anew", "login")
			v.lose()
			return v.resume(at)
		}, "page Bad Request invalid_request"},
		{"who is found is found: the same sign-in is no new one", []string{"prompt=login"}, alice(), func(v *visitor, sent *reply) *reply {
			at := v.follow(sent).want(t, "found", "login")
			v.site.now = v.site.now.Add(time.Minute)
			return v.resume(v.resume(at).want(t, "without signing in", "login"))
		}, "client login_required"},
		{"who signs in between POST and GET is found", []string{"prompt=login"}, &session.Session{ID: "2", Subject: "alice", AuthTime: testStart}, func(v *visitor, sent *reply) *reply {
			return v.resume(v.follow(sent).want(t, "found", "login"))
		}, "login"},
		{"prompt=create was not answered", []string{"prompt=create"}, alice(), (*visitor).follow, "register"},
		{"the no of nobody", nil, alice(), (*visitor).deny, "page Bad Request access_denied"},
		{"what is completed on it counts nothing", []string{"client_id=new"}, alice(), func(v *visitor, sent *reply) *reply {
			return v.grant(sent, "openid")
		}, "consent"},
		{"too late", nil, alice(), func(v *visitor, sent *reply) *reply {
			v.site.now = v.site.now.Add(30 * time.Minute)
			return v.follow(sent)
		}, "page Bad Request invalid_request"},
		{"by POST once more", nil, alice(), func(v *visitor, sent *reply) *reply { return v.post("req=" + sent.req) }, "page Bad Request invalid_request"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withConsent, func(s *site) { s.config.Register = LoginURL("/register") })
			s.remember("web", "openid")
			v := s.visitor(nil)
			sent := v.post(ask(c.ask...)).want(t, "by POST", "endpoint")
			claims := claimsOf(t, sent.req)
			for _, none := range []string{"page", "reason", "browser", "for", "found", "done", "anew"} {
				if claims[none] != nil {
					t.Errorf("%s is %v", none, claims[none])
				}
			}
			if len(sent.cookies) != 0 {
				t.Errorf("cookies: %v", sent.cookies)
			}
			v.session = c.who
			c.open(v, sent).want(t, c.rule, c.want)
		})
	}
}

// The hint is personal and long, which is what POST was chosen for: it is verified once
// and only what it has proven travels.
func TestTheHintOfAPOSTDoesNotGoIntoTheAddress(t *testing.T) {
	for _, c := range []struct {
		rule string
		hint string
		ask  []string
		who  string
		want string
	}{
		{"the user that it names", "hint-of-alice", nil, "alice", "code"},
		{"another user", "hint-of-alice", nil, "bob", "login"},
		{"another user, prompt=none", "hint-of-alice", []string{"prompt=none"}, "bob", "client login_required"},
		{"the user that it names, prompt=none", "hint-of-alice", []string{"prompt=none"}, "alice", "code"},
		{"a subject that needs escaping", `hint-of-"a\&<é>`, nil, `"a\&<é>`, "code"},
		{"it proves nobody", "forged", nil, "alice", "login"},
		{"it proves nobody, prompt=none", "forged", []string{"prompt=none"}, "alice", "client login_required"},
		{"as long as a body may be", "hint-of-alice" + strings.Repeat(" ", 50_000), nil, "alice", "code"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			verified := 0
			s := newSite(t, func(s *site) {
				verify := s.config.IDTokenHint
				s.config.IDTokenHint = func(ctx context.Context, token string) (string, error) {
					verified++
					return verify(ctx, strings.TrimRight(token, " "))
				}
				s.config.Require = []string{"id_token_hint"}
				s.config.CheckRequest = func(_ context.Context, r *Request) error {
					if !r.Sent("id_token_hint") {
						t.Error("the hint is no longer sent")
					}
					return nil
				}
			})
			v := s.visitor(nil)
			sent := v.post(ask(append(c.ask, "id_token_hint="+url.QueryEscape(c.hint))...)).want(t, "by POST", "endpoint")
			if verified != 1 {
				t.Errorf("by POST it was verified %d times", verified)
			}
			params := claimsOf(t, sent.req)["params"].(map[string]any)
			if params["id_token_hint"] != nil || strings.Contains(fmt.Sprint(params), strings.TrimSpace(c.hint)) || strings.Contains(sent.location, "hint-of") {
				t.Errorf("it is in the address: %v", params)
			}
			v.session = s.signIn(c.who)
			v.follow(sent).want(t, c.rule, c.want)
			if v.follow(sent); verified != 1 {
				t.Errorf("in the end it was verified %d times", verified)
			}
		})
	}
}

// State is made only for what can show a page: a program of a page that asks meanwhile
// leaves the user's sign-in alone.
func TestWhatIsFetchedGetsNoState(t *testing.T) {
	const page = "page Bad Request invalid_request"
	modes := []string{"cors", "no-cors", "same-origin", "websocket"}
	for _, c := range []struct {
		rule  string
		modes []string
		who   *session.Session
		ask   string
		want  string
	}{
		{"nobody", modes, nil, ask(), page},
		{"a sign-in that is too old", modes, alice(), ask("max_age=1"), page},
		{"consent is needed", modes, alice(), ask("client_id=spa"), page},
		{"a code", modes, alice(), ask(), "code"},
		{"nothing", modes, alice(), ask("response_type=none"), "nothing"},
		{"an error", modes, nil, ask("scope=unknown"), "client invalid_scope"},
		{"prompt=none", modes, nil, ask("prompt=none"), "client login_required"},
		{"a navigation", []string{"navigate", ""}, nil, ask(), "login"},
		{"a navigation, and consent is needed", []string{"navigate", ""}, alice(), ask("client_id=spa"), "consent"},
	} {
		for _, change := range []func(*site){func(*site) {}, withErrorURL("/error")} {
			for _, mode := range c.modes {
				t.Run(c.rule+", "+mode, func(t *testing.T) {
					s := newSite(t, withConsent, change)
					s.remember("web", "openid")
					v := s.visitor(nil)
					var waiting []*reply
					for range maxPendingCookies {
						waiting = append(waiting, v.get(ask()))
						s.now = s.now.Add(time.Millisecond)
					}
					v.session = c.who
					r := httptest.NewRequest("GET", "/authorize?"+c.ask, nil)
					if mode != "" {
						r.Header.Set("Sec-Fetch-Mode", mode)
						r.Header.Set("Sec-Fetch-Dest", map[string]string{"navigate": "iframe"}[mode])
					}
					got := v.send(s.handler, r).want(t, c.rule, c.want)
					if c.want == "login" || c.want == "consent" {
						if len(got.cookies) != 2 {
							t.Errorf("cookies: %v", got.cookies)
						}
						return
					}
					if len(got.cookies) != 0 {
						t.Errorf("cookies: %v", got.cookies)
					}
					if e := s.lastEvent(); got.kind == "page" && (e.Reason != ReasonFetched || e.Kind != EventErrorPage || !strings.Contains(got.body, "Navigate to this address, do not fetch it.")) {
						t.Errorf("reported as %+v, and on the page\n%s", e, got.body)
					}
					for i, at := range waiting {
						if p, err := v.pending(at); err != nil || p.Anew {
							t.Errorf("tab %d is lost: %v, %v", i, p, err)
						}
					}
				})
			}
		}
	}
}

// A request that waits may come back by a fetch: it keeps its cookie until it is answered.
func TestAWaitingRequestThatIsFetched(t *testing.T) {
	s := newSite(t)
	v := s.visitor(nil)
	at := v.get(ask("prompt=login")).want(t, "asked", "login")
	fetch := func(method, target, body string) *reply {
		r := formPost(target, body)
		r.Method = method
		r.Header.Set("Sec-Fetch-Mode", "cors")
		return v.send(s.handler, r)
	}
	if got := fetch("GET", "/authorize?req="+at.req, "").want(t, "still nobody", "page Bad Request invalid_request"); len(got.cookies) != 0 {
		t.Errorf("cookies: %v", got.cookies)
	}
	v.session = s.signIn("alice")
	v.resume(at).want(t, "signed in", "code")
	if got := fetch("GET", "/authorize?req="+at.req, "").want(t, "answered, and it begins anew", "page Bad Request invalid_request"); len(got.cookies) != 0 {
		t.Errorf("cookies: %v", got.cookies)
	}
	fetch("POST", "/authorize", ask()).want(t, "a code by POST", "code")
	v.session = nil
	sent := fetch("POST", "/authorize", ask()).want(t, "by POST, and nobody is there", "endpoint")
	got := fetch("GET", "/authorize?req="+sent.req, "").want(t, "and the GET after it", "page Bad Request invalid_request")
	if len(sent.cookies)+len(got.cookies) != 0 {
		t.Errorf("cookies: %v, %v", sent.cookies, got.cookies)
	}
}

// Nobody has clicked yet, and nobody sees what a redirect leads to.
func TestAPrefetchIsNeverRedirected(t *testing.T) {
	for _, change := range []func(*site){func(*site) {}, withErrorURL("/error")} {
		for name, values := range map[string][]string{
			"Sec-Purpose": {"prefetch", "prefetch;prerender", "prefetch;anonymous-client-ip", "Prefetch"},
			"Purpose":     {"prefetch", "preview"}, "X-Purpose": {"preview", "instant, preview"}, "X-Moz": {"prefetch"},
		} {
			for _, value := range values {
				s := newSite(t, change)
				v := s.visitor(nil)
				at := v.get(ask("state=waits"))
				for rule, do := range map[string]func() *http.Request{
					"a good request":          func() *http.Request { return httptest.NewRequest("GET", "/authorize?"+ask(), nil) },
					"by POST":                 func() *http.Request { return formPost("/authorize", ask()) },
					"an unknown client":       func() *http.Request { return httptest.NewRequest("GET", "/authorize?"+ask("client_id=unknown"), nil) },
					"a malformed request":     func() *http.Request { return httptest.NewRequest("GET", "/authorize?x=%zz&"+ask(), nil) },
					"a request that waits":    func() *http.Request { return httptest.NewRequest("GET", "/authorize?req="+at.req, nil) },
					"a request that is wrong": func() *http.Request { return httptest.NewRequest("GET", "/authorize?"+ask("scope=unknown"), nil) },
				} {
					for _, who := range []*session.Session{nil, alice()} {
						v.session = who
						r := do()
						r.Header.Set(name, value)
						got := v.send(s.handler, r)
						if got.kind != "page" || got.status != 400 || len(got.cookies) != 0 || s.lastEvent().Reason != ReasonPrefetch {
							t.Errorf("%s: %s, %s: %s (%d), cookies %v", name, value, rule, got, got.status, got.cookies)
						}
					}
				}
			}
		}
	}
}

// Where the endpoint is, the configuration says: nothing of the request does.
func TestMounting(t *testing.T) {
	for _, c := range []struct {
		rule     string
		issuer   string
		endpoint string
		path     string
		login    string
	}{
		{"at the root", "https://as.example", "", "/authorize", "https://as.example/login?req="},
		{"an issuer with a path", "https://as.example/tenant", "", "/authorize", "https://as.example/login?req="},
		{"an issuer with a slash", "https://as.example/", "", "/authorize", "https://as.example/login?req="},
		{"under a prefix that a proxy strips", "https://as.example", "https://as.example/auth/oauth2/authorize", "/oauth2/authorize", "https://as.example/login?req="},
		{"on another port", "https://as.example:8443", "", "/authorize", "https://as.example:8443/login?req="},
		{"on another host than the issuer", "https://as.example", "https://login.as.example/authorize", "/authorize", "https://login.as.example/login?req="},
	} {
		s := newSite(t, func(s *site) { s.config.Issuer, s.config.Endpoint = c.issuer, c.endpoint })
		endpoint := c.endpoint
		if endpoint == "" {
			endpoint = strings.TrimSuffix(c.issuer, "/") + "/authorize"
		}
		mux := http.NewServeMux()
		mux.Handle(c.path, s.handler)
		v := s.visitor(nil)
		for _, host := range []string{"as.example", "evil.example", "evil.example:1\r\nx", ""} {
			r := httptest.NewRequest("GET", "http://x"+c.path+"?"+ask(), nil)
			r.Host = host
			for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix", "X-Original-Url", "Forwarded", "X-Rewrite-Url"} {
				r.Header.Set(name, "evil.example")
			}
			at := v.send(mux, r)
			if !strings.HasPrefix(at.location, c.login) {
				t.Errorf("%s, Host %q: to %s", c.rule, host, at.location)
			}
			post := formPost("http://x"+c.path, ask())
			post.Host = host
			if again := v.send(mux, post); !strings.HasPrefix(again.location, endpoint+"?req=") {
				t.Errorf("%s, Host %q: a POST is sent to %s", c.rule, host, again.location)
			}
		}
	}
}

// What is refused for its length costs no more than that length.
func TestALongPostIsRefusedCheaply(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct{ rule, repeat string }{
		{"resources", "&resource=https%3A%2F%2Fapi.example%2Fa"},
		{"unknown parameters", "&a=b"},
		{"a long hint", "&claims_locales=" + strings.Repeat("x", 4000) + "&ui_locales=" + strings.Repeat("%C3%A9", 1000)},
	} {
		body := ask()
		for len(body)+len(c.repeat) < maxInput {
			body += c.repeat
			if c.rule == "a long hint" {
				break
			}
		}
		v := s.visitor(nil)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		v.post(body)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
			t.Errorf("%s: %d bytes of body took %d bytes of memory", c.rule, len(body), used)
		}
	}
}

// keeping is a change for newSite: page is what the last error page was given.
func keeping(page *PageError) func(*site) {
	return func(s *site) {
		s.config.ErrorPage = func(w http.ResponseWriter, _ *http.Request, p PageError) {
			*page = p
			w.WriteHeader(p.Status)
			io.WriteString(w, "<p>own page</p>")
			if p.Return != nil && p.Return.Form {
				io.WriteString(w, "<form >")
			}
		}
	}
}

// An error page knows the request as far as it can be read: it names the client as it is
// stored, and speaks the languages that were asked for.
func TestErrorPagesKnowTheRequest(t *testing.T) {
	later := func(v *visitor, at *reply) string { v.site.now = v.site.now.Add(30 * time.Minute); return at.req }
	get := func(query string) func(*visitor, *reply) *reply {
		return func(v *visitor, _ *reply) *reply { return v.get(query) }
	}
	get2 := func(query func(*visitor, *reply) string) func(*visitor, *reply) *reply {
		return func(v *visitor, at *reply) *reply { return v.get(query(v, at)) }
	}
	with := func(method, target, body, header, value string) func(*visitor, *reply) *reply {
		return func(v *visitor, _ *reply) *reply {
			r := httptest.NewRequest(method, target, strings.NewReader(body))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set(header, value)
			return v.send(v.site.handler, r)
		}
	}
	good := ask("ui_locales=sv+de")
	const web, name, locales = "web", "The Web App", "sv de"
	for _, c := range []struct {
		rule    string
		do      func(v *visitor, at *reply) *reply // at waits for the login in a browser of its own
		reason  Reason
		id      string
		name    string
		locales string
	}{
		{"no client", get(ask("ui_locales=sv+de", "-client_id")), ReasonUnknownClient, "", "", locales},
		{"an unknown client", get(ask("ui_locales=sv+de", "client_id=gone")), ReasonUnknownClient, "", "", locales},
		{"a client that is switched off", get(ask("ui_locales=sv+de", "client_id=off")), ReasonClientOff, "off", "off", locales},
		{"another redirect_uri", get(ask("ui_locales=sv+de", "redirect_uri=https://evil.example/")), ReasonRedirectURI, web, name, locales},
		{"no redirect_uri", get(ask("ui_locales=sv+de", "-redirect_uri")), ReasonRedirectURI, web, name, locales},
		{"two redirect_uri", get(good + "&redirect_uri=https%3A%2F%2Fapp.example%2Fcb"), ReasonRedirectURI, web, name, locales},
		{"a client that nobody has vetted", get(ask("ui_locales=sv+de", "client_id=new", "scope=unknown")), "", "new", "Totally <b>Real</b>", locales},
		{"a malformed escape", get(good + "&x=%zz"), ReasonUnreadable, web, name, locales},
		{"a malformed escape in front", get("x=%zz&" + good), ReasonUnreadable, web, name, locales},
		{"a malformed escape in the languages", get(ask("ui_locales=sv+%zz")), ReasonUnreadable, web, name, ""},
		{"a malformed escape in the client", get(ask("ui_locales=sv+de", "client_id=%zz")), ReasonUnreadable, "", "", locales},
		{"a character that is not escaped", get(ask("ui_locales=sv+de", "state=a b")), ReasonUnreadable, web, name, locales},
		{"a semicolon", get(ask("state=a;b") + "&ui_locales=sv+de"), ReasonUnreadable, web, name, locales},
		{"a value of the host's own that is no text", get("x_tenant=%ff&" + good), ReasonUnreadable, web, name, locales},
		{"unreadable, with two clients", get(good + "&x=%zz&client_id=spa"), ReasonUnreadable, "", "", locales},
		{"unreadable, with the languages twice", get(good + "&x=%zz&ui_locales=fr"), ReasonUnreadable, web, name, ""},
		{"unreadable, with an unknown client", get(ask("client_id=gone", "ui_locales=sv+de") + "&x=%zz"), ReasonUnreadable, "", "", locales},
		{"unreadable, with a req of the client's own", get(good + "&x=%zz&req=7"), ReasonUnreadable, web, name, locales},
		{"unreadable, by POST", func(v *visitor, _ *reply) *reply { return v.post(good + "&x=%zz") }, ReasonUnreadable, web, name, locales},
		{"unreadable, in the query of a POST", with("POST", "/authorize?x=%zz&"+good, "", "X", ""), ReasonUnreadable, web, name, locales},
		{"the languages twice", get(ask("client_id=gone", "ui_locales=sv") + "&ui_locales=de"), ReasonUnknownClient, "", "", ""},
		{"no languages but control characters", get(ask("client_id=gone", "ui_locales=sv%0d")), ReasonUnknownClient, "", "", ""},
		{"more languages than anybody speaks", get(ask("client_id=gone", "ui_locales="+strings.Repeat("sv+", 101)+"de")), ReasonUnknownClient, "", "", ""},
		{"another method", with("PUT", "/authorize?"+good, "", "X", ""), ReasonUnreadable, web, name, locales},
		{"HEAD", with("HEAD", "/authorize?"+good, "", "X", ""), ReasonUnreadable, web, name, locales},
		{"a prefetch", with("GET", "/authorize?"+good, "", "Sec-Purpose", "prefetch"), ReasonPrefetch, web, name, locales},
		{"a prefetch by POST", with("POST", "/authorize", good, "Sec-Purpose", "prefetch"), ReasonPrefetch, web, name, locales},
		{"a fetch", with("GET", "/authorize?"+good, "", "Sec-Fetch-Mode", "cors"), ReasonFetched, web, name, locales},
		{"a prefetch of a request that waits", func(v *visitor, at *reply) *reply {
			return with("GET", "/authorize?req="+at.req, "", "Sec-Purpose", "prefetch")(v, at)
		}, ReasonPrefetch, web, name, locales},
		{"another method for a request that waits", func(v *visitor, at *reply) *reply {
			return with("HEAD", "/authorize?req="+at.req, "", "X", "")(v, at)
		}, ReasonUnreadable, web, name, locales},
		{"a request that waits, by POST", func(v *visitor, at *reply) *reply { return v.post("req=" + at.req) }, ReasonNoRequest, web, name, locales},
		{"a request that waits, and something malformed", get2(func(_ *visitor, at *reply) string { return "req=" + at.req + "&x=%zz" }), ReasonUnreadable, web, name, locales},
		{"expired", get2(func(v *visitor, at *reply) string { return "req=" + later(v, at) }), ReasonExpired, web, name, locales},
		{"expired, with other parameters beside it", get2(func(v *visitor, at *reply) string {
			return "req=" + later(v, at) + "&client_id=spa&ui_locales=fr"
		}), ReasonExpired, web, name, locales},
		{"expired, and a no", get2(func(v *visitor, at *reply) string { return "deny=1&req=" + later(v, at) }), ReasonExpired, web, name, locales},
		{"expired, and the client is gone", get2(func(v *visitor, at *reply) string {
			v.site.memory.DeleteClient("web")
			return "req=" + later(v, at)
		}), ReasonExpired, "", "", locales},
		{"expired, and the client is switched off", get2(func(v *visitor, at *reply) string {
			v.site.memory.PutClient(Client{ID: "web", Name: "Web, as it is now", Disabled: true})
			return "req=" + later(v, at)
		}), ReasonExpired, web, "Web, as it is now", locales},
		{"damaged", get2(func(_ *visitor, at *reply) string { return "req=" + flip(at.req, len(at.req)/2) }), ReasonExpired, "", "", ""},
		{"damaged, with languages beside it", get2(func(_ *visitor, at *reply) string {
			return "ui_locales=sv+de&req=" + flip(at.req, len(at.req)/2)
		}), ReasonExpired, "", "", locales},
		{"the client is gone", func(v *visitor, at *reply) *reply { v.site.memory.DeleteClient("web"); return v.resume(at) }, ReasonUnknownClient, "", "", locales},
		{"a no without its cookie", (*visitor).deny, ReasonDenied, web, name, locales},
		{"a browser without cookies", func(v *visitor, at *reply) *reply {
			v.session = nil
			at = v.resume(at)
			v.lose()
			return v.resume(at)
		}, ReasonNoCookies, web, name, locales},
		{"Pending and ShowError", func(v *visitor, at *reply) *reply {
			return v.page(func(w http.ResponseWriter, r *http.Request) {
				_, err := v.site.handler.Pending(r)
				v.site.handler.ShowError(w, r, err)
			}, httptest.NewRequest("GET", "/login?req="+later(v, at), nil))
		}, ReasonExpired, web, name, locales},
		{"ShowError of the host's own, for a request in time", func(v *visitor, at *reply) *reply {
			return v.page(func(w http.ResponseWriter, r *http.Request) {
				v.site.handler.ShowError(w, r, io.EOF)
			}, formPost("/login", "req="+at.req))
		}, ReasonStoreFailed, web, name, locales},
		{"Complete", func(v *visitor, at *reply) *reply { later(v, at); return v.complete(at, "terms") }, ReasonExpired, web, name, locales},
		{"Grant", func(v *visitor, at *reply) *reply { later(v, at); return v.grant(at, "openid") }, ReasonExpired, web, name, locales},
		{"Deny", func(v *visitor, at *reply) *reply {
			later(v, at)
			return v.follow(v.page(v.site.handler.Deny, formPost("/login?req="+at.req, "")))
		}, ReasonExpired, web, name, locales},
		{"Deny without a request", func(v *visitor, _ *reply) *reply { return v.page(v.site.handler.Deny, formPost("/login", "")) }, ReasonNoRequest, "", "", ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			var page PageError
			s := newSite(t, withConsent, withStep(Interaction{Name: "terms", Page: "/terms", Needed: always}), keeping(&page))
			at := s.visitor(nil).get(good).want(t, "waits", "login")
			c.do(s.visitor(alice()), at)
			if page.Reason != c.reason || page.ClientID != c.id || page.ClientName != c.name || strings.Join(page.UILocales, " ") != c.locales {
				t.Errorf("the page has %+v", page)
			}
			if e := s.lastEvent(); e.ClientID != c.id {
				t.Errorf("reported for the client %q", e.ClientID)
			}
		})
	}
}

// The host's own page for errors gets the languages too.
func TestErrorURLGetsTheLanguages(t *testing.T) {
	for _, c := range []struct {
		rule string
		do   func(v *visitor, at *reply) *reply
		want string
	}{
		{"an unknown client", func(v *visitor, _ *reply) *reply { return v.get(ask("client_id=gone", "ui_locales=sv+de")) }, "sv de"},
		{"no languages", func(v *visitor, _ *reply) *reply { return v.get(ask("client_id=gone")) }, ""},
		{"what has to be escaped", func(v *visitor, _ *reply) *reply {
			return v.get(ask("client_id=gone", "ui_locales=%26error%3Dx%23%3F"))
		}, "&error=x#?"},
		{"unreadable", func(v *visitor, _ *reply) *reply { return v.get("x=%zz&ui_locales=sv+de") }, "sv de"},
		{"expired", func(v *visitor, at *reply) *reply {
			v.site.now = v.site.now.Add(time.Hour)
			return v.resume(at)
		}, "sv de"},
		{"a page of the host, with a request that expired", func(v *visitor, at *reply) *reply {
			v.site.now = v.site.now.Add(time.Hour)
			return v.complete(at, "terms")
		}, "sv de"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withErrorURL("/error?a=b#top"), withStep(Interaction{Name: "terms", Page: "/terms", Needed: always}))
			at := s.visitor(nil).get(ask("ui_locales=sv+de")).want(t, "waits", "login")
			got := c.do(s.visitor(nil), at).want(t, c.rule, "error")
			u, err := url.Parse(got.location)
			if err != nil {
				t.Fatal(err)
			}
			if values := u.Query()["ui_locales"]; strings.Join(values, "|") != c.want || len(u.Query()["error"]) != 1 || u.Fragment != "top" {
				t.Errorf("sent to %s", got.location)
			}
		})
	}
}

// Who comes too late can take a no to the client, if that can be proven still.
func TestTheWayBackOfARequestThatExpired(t *testing.T) {
	no := "error=access_denied&error_description=The%20user%20refused%20the%20request.&state=" + "a%26b%3D%20%2B%C3%A9" + "&iss=https%3A%2F%2Fas.example"
	query := &Return{URL: "https://app.example/cb?" + no, Host: "app.example", Vetted: true}
	form := func(state string) *Return {
		r := &Return{URL: "https://app.example/cb", Host: "app.example", Form: true, Vetted: true, Fields: []Field{
			{"error", "access_denied"}, {"error_description", "The user refused the request."}, {"state", state}, {"iss", testIssuer}}}
		if state == "" {
			r.Fields = append(r.Fields[:2], r.Fields[3])
		}
		return r
	}
	pending := func(v *visitor, at *reply) *reply {
		return v.page(func(w http.ResponseWriter, r *http.Request) {
			_, err := v.site.handler.Pending(r)
			v.site.handler.ShowError(w, r, err)
		}, httptest.NewRequest("GET", "/login?req="+at.req, nil))
	}
	complete := func(v *visitor, at *reply) *reply { return v.complete(at, "terms") }
	change := func(do func(*Client)) func(*site) {
		return func(s *site) {
			client := testClients()[0]
			do(&client)
			s.memory.PutClient(client)
		}
	}
	for _, c := range []struct {
		rule  string
		ask   []string
		then  func(*site)
		late  time.Duration
		do    func(v *visitor, at *reply) *reply
		wants *Return
	}{
		{"at the endpoint", nil, nil, 30 * time.Minute, (*visitor).resume, query},
		{"a year later", nil, nil, 365 * 24 * time.Hour, (*visitor).resume, query},
		{"a no", nil, nil, 30 * time.Minute, (*visitor).deny, query},
		{"on a page of the host", nil, nil, 30 * time.Minute, pending, query},
		{"at Complete", nil, nil, 30 * time.Minute, complete, query},
		{"by form_post", []string{"response_mode=form_post"}, nil, 30 * time.Minute, (*visitor).resume, form("a&b= +é")},
		{"by form_post, on a page of the host", []string{"response_mode=form_post"}, nil, 30 * time.Minute, pending, form("a&b= +é")},
		{"by form_post, without state", []string{"response_mode=form_post", "-state"}, nil, 30 * time.Minute, (*visitor).resume, form("")},
		{"a redirect URI with a query", []string{"client_id=query"}, nil, 30 * time.Minute, (*visitor).resume, &Return{URL: "https://q.example/cb?tenant=1&x=a+b&" + no, Host: "q.example", Vetted: true}},
		{"an app", []string{"client_id=native", "redirect_uri=com.example.app%3A%2Fcb"}, nil, 30 * time.Minute, (*visitor).resume, &Return{URL: "com.example.app:/cb?" + no, Host: "com.example.app:", Vetted: true}},
		{"a client that nobody has vetted", []string{"client_id=new"}, nil, 30 * time.Minute, (*visitor).resume, &Return{URL: "https://new.example/cb?" + no, Host: "new.example"}},
		{"the client is gone", nil, func(s *site) { s.memory.DeleteClient("web") }, 30 * time.Minute, (*visitor).resume, nil},
		{"the client is switched off", nil, change(func(c *Client) { c.Disabled = true }), 30 * time.Minute, (*visitor).resume, nil},
		{"the redirect URI is gone", nil, change(func(c *Client) { c.RedirectURIs = []string{"https://app.example/new"} }), 30 * time.Minute, (*visitor).resume, nil},
		{"the redirect URI is gone, on a page of the host", nil, change(func(c *Client) { c.RedirectURIs = nil }), 30 * time.Minute, pending, nil},
		{"the keys are others", nil, func(s *site) {
			s.config.Keys = []Key{{ID: "two", Secret: []byte("another 32 bytes, known to nobody")}}
			s.restart()
		}, 30 * time.Minute, (*visitor).resume, nil},
		{"damaged", nil, nil, 30 * time.Minute, func(v *visitor, at *reply) *reply { return v.get("req=" + flip(at.req, len(at.req)/2)) }, nil},
		{"of another issuer", nil, func(s *site) {
			s.config.Issuer, s.config.Endpoint = "https://other.example", testEndpoint
			s.restart()
		}, 30 * time.Minute, (*visitor).resume, nil},
		{"in time, and the page failed", nil, nil, 0, func(v *visitor, at *reply) *reply {
			return v.page(func(w http.ResponseWriter, r *http.Request) { v.site.handler.ShowError(w, r, io.EOF) }, formPost("/login?req="+at.req, ""))
		}, nil},
		{"in time, and the third time without its cookie", nil, nil, 0, func(v *visitor, at *reply) *reply {
			for range 3 {
				v.lose()
				at = v.resume(at)
			}
			return at
		}, nil},
	} {
		t.Run(c.rule, func(t *testing.T) {
			var page PageError
			s := newSite(t, withConsent, withStep(Interaction{Name: "terms", Page: "/terms", Needed: always}), keeping(&page))
			v := s.visitor(alice())
			at := v.get(ask(append([]string{"prompt=login", "state=a%26b%3D+%2B%C3%A9"}, c.ask...)...)).want(t, "waits", "login")
			if c.then != nil {
				c.then(s)
			}
			s.now = s.now.Add(c.late)
			c.do(v, at)
			if diff := cmp.Diff(c.wants, page.Return); diff != "" || page.Status == 0 {
				t.Errorf("%s: the way back (-want +got)\n%s", page.Reason, diff)
			}
		})
	}
	// And the page in place has it.
	s := newSite(t)
	at := s.visitor(nil).get(ask())
	s.now = s.now.Add(time.Hour)
	got := s.visitor(nil).resume(at).want(t, "the page of this package", "page Bad Request invalid_request")
	if !strings.Contains(got.body, `<a href="https://app.example/cb?error=access_denied&amp;`) || strings.Contains(got.body, "nobody has verified") {
		t.Errorf("on the page:\n%s", got.body)
	}
}

// What may be a secret is not in the log, even where a client has lost a question mark.
func TestALostQuestionMark(t *testing.T) {
	for _, uri := range []string{
		"https://app.example/cb&code=SECRET", "https://app.example&code=SECRET", "https://app.example/cb%26code=SECRET",
		"https://user:SECRET/x@app.example/cb", "cursor:code=SECRET", "https://app.example/cb;SECRET",
	} {
		t.Run(uri, func(t *testing.T) {
			s := newSite(t)
			s.visitor(nil).get(ask("redirect_uri="+url.QueryEscape(uri))).want(t, uri, "page Bad Request redirect_uri_mismatch")
			if strings.Contains(s.log.String(), "SECRET") {
				t.Errorf("the log has it: %s", s.log.String())
			}
		})
	}
}

// An adapter may make a request by hand, without a URL or a body.
func TestARequestWithoutAURL(t *testing.T) {
	s := newSite(t, withConsent)
	for name, do := range map[string]func(http.ResponseWriter, *http.Request){
		"ServeHTTP": s.handler.ServeHTTP, "Deny": s.handler.Deny, "Introspection": s.handler.PendingHandler().ServeHTTP,
		"Resume":  func(w http.ResponseWriter, r *http.Request) { s.handler.Resume(w, r) },
		"Pending": func(_ http.ResponseWriter, r *http.Request) { s.handler.Pending(r) },
		"Grant": func(w http.ResponseWriter, r *http.Request) {
			s.handler.Grant(w, r, Granted{Scopes: []string{"openid"}})
		},
		"ShowError": func(w http.ResponseWriter, r *http.Request) { s.handler.ShowError(w, r, oautherr.InvalidRequest) },
	} {
		for _, method := range []string{"GET", "POST"} {
			t.Run(name+" "+method, func(t *testing.T) { do(httptest.NewRecorder(), &http.Request{Method: method}) })
		}
	}
}

// Only what has waited too long, or was refused without its cookie, has a way back.
func TestAPrefetchHasNoWayBack(t *testing.T) {
	var page PageError
	s := newSite(t, keeping(&page))
	r := httptest.NewRequest("GET", "/authorize?"+ask(), nil)
	r.Header.Set("Sec-Purpose", "prefetch")
	s.visitor(nil).send(s.handler, r)
	if page.Reason != ReasonPrefetch || page.ClientID != "web" || page.Return != nil {
		t.Errorf("%+v", page)
	}
}
