package authorize

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/session"
)

// A site is an endpoint with all that a host gives it; a visitor is a browser that
// comes to it. Every answer that a visitor gets is held against the rules that hold
// for all answers, see checkAlways.

const (
	testIssuer    = "https://as.example"
	testEndpoint  = "https://as.example/authorize"
	testVerifier  = "1tBnEmtSImyCykPHxHYBdzpSFhKEj0Q1LuiHd4fdDlY"
	testChallenge = "p7CN1Zi4o5ARn1mYNvNFvj2r5cKkr2k6y7a573eHJXQ"
)

var testStart = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var allScopes = []string{"openid", "profile", "email", "offline_access", "api:read", "api:write"}

func testClients() []Client {
	clients := []Client{
		{ID: "web", Name: "The Web App", RedirectURIs: []string{"https://app.example/cb"}, ResponseTypes: []string{"code", "none"}},
		{ID: "spa", Public: true, RedirectURIs: []string{"https://spa.example/cb", "https://spa.example/cb2"}},
		{ID: "native", Public: true, RedirectURIs: []string{"http://127.0.0.1/cb", "http://[::1]/cb", "com.example.app:/cb"}},
		{ID: "legacy", PKCEOptional: true, RedirectURIs: []string{"https://legacy.example/cb"}},
		{ID: "lax", Public: true, PKCEOptional: true, RedirectURIs: []string{"https://lax.example/cb"}},
		{ID: "only", DefaultRedirectURI: true, RedirectURIs: []string{"https://only.example/cb"}, DefaultScopes: []string{"api:read"}, PKCEOptional: true},
		{ID: "own", FirstParty: true, RedirectURIs: []string{"https://own.example/cb"}},
		{ID: "ownnative", FirstParty: true, Public: true, RedirectURIs: []string{"http://127.0.0.1/cb"}},
		{ID: "desktop", RedirectURIs: []string{"http://127.0.0.1/cb", "http://localhost:8080/cb", "cursor://cb"}, PrivateUseSchemes: []string{"cursor"}},
		{ID: "new", Unvetted: true, Name: "Totally <b>Real</b>", Public: true, RedirectURIs: []string{"https://new.example/cb"}},
		{ID: "query", RedirectURIs: []string{"https://q.example/cb?tenant=1&x=a+b"}},
		{ID: "browser", Public: true, RedirectURIs: []string{"https://browser.example/cb", "com.example.browser:/cb"}, ResponseModes: []string{"query", "fragment"}},
		{ID: "off", Disabled: true, RedirectURIs: []string{"https://off.example/cb"}},
		{ID: "nowhere", Public: true},
		{ID: "unsafe", RedirectURIs: []string{"javascript:alert(1)"}},
	}
	for i := range clients {
		clients[i].Scopes = slices.Clone(allScopes)
	}
	return clients
}

type site struct {
	t        testing.TB
	config   Config
	handler  *Handler
	memory   *uncheckedMemory
	now      time.Time
	sessions int // how often the SessionStore was asked
	events   []Event
	log      bytes.Buffer
}

// uncheckedMemory takes clients as they are, as a store of the host's own may: the endpoint
// checks at use what is registered.
type uncheckedMemory struct {
	*Memory
	clients map[string]*Client
}

func newUncheckedMemory(clients []Client, config MemoryConfig) *uncheckedMemory {
	m := &uncheckedMemory{NewMemory(config), map[string]*Client{}}
	for _, c := range clients {
		m.PutClient(c)
	}
	return m
}

func (m *uncheckedMemory) PutClient(c Client)     { m.clients[c.ID] = c.clone() }
func (m *uncheckedMemory) DeleteClient(id string) { delete(m.clients, id) }

func (m *uncheckedMemory) Client(ctx context.Context, id string) (*Client, error) {
	c := m.clients[id]
	if c == nil || ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return c.clone(), nil
}

type signedIn struct{}

// newSite returns an endpoint on which every optional feature that needs no page is
// on. The changes are made to its configuration.
func newSite(t testing.TB, changes ...func(*site)) *site {
	t.Helper()
	s := &site{t: t, now: testStart}
	clock := func() time.Time { return s.now }
	// A test asks for more codes than a user does in the time that the clock stands still.
	s.memory = newUncheckedMemory(testClients(), MemoryConfig{MaxCodesPerSubject: 100_000, Now: clock})
	s.config = Config{
		Issuer:   testIssuer,
		Clients:  s.memory,
		Codes:    s.memory,
		Sessions: SessionFunc(s.whoIs),
		Login:    LoginURL("/login"),
		IDTokenHint: func(_ context.Context, token string) (string, error) {
			subject, ok := strings.CutPrefix(token, "hint-of-")
			if !ok {
				return "", errors.New("not signed by this issuer")
			}
			return subject, nil
		},
		Resources: ResourceFunc(func(_ context.Context, _ *Client, id string) (*Resource, error) {
			if !strings.HasPrefix(id, "https://api.example/") {
				return nil, nil
			}
			return &Resource{ID: id}, nil
		}),
		ResponseTypes: []string{"code", "none"},
		Scopes:        append(slices.Clone(allScopes), "admin"),
		Parameters:    []string{"x_tenant"},
		Keys:          []Key{{ID: "one", Secret: []byte("0123456789abcdef0123456789abcdef")}},
		Logger:        slog.New(slog.NewJSONHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		OnEvent:       func(_ context.Context, e Event) { s.events = append(s.events, e) },
		Now:           clock,
	}
	for _, change := range changes {
		change(s)
	}
	s.restart()
	return s
}

// restart makes the handler anew, as another replica would have it.
func (s *site) restart() {
	s.t.Helper()
	handler, err := New(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.handler = handler
}

func (s *site) whoIs(r *http.Request) (*session.Session, error) {
	s.sessions++
	who, _ := r.Context().Value(signedIn{}).(*session.Session)
	return who, nil
}

// lastEvent returns what was reported last.
func (s *site) lastEvent() Event {
	s.t.Helper()
	if len(s.events) == 0 {
		s.t.Fatal("nothing was reported")
	}
	return s.events[len(s.events)-1]
}

// withConsent and its like are changes for newSite.
func withConsent(s *site) { consentIn(s.memory)(s) }

func consentIn(store ConsentStore) func(*site) {
	return func(s *site) { s.config.Consent = &Consent{Page: "/consent", Store: store} }
}

func withStep(step Interaction) func(*site) {
	return func(s *site) { s.config.Interactions = append(s.config.Interactions, step) }
}

var withTerms = withStep(Interaction{Name: "terms", Page: "/terms", Needed: always})

func withErrorURL(url string) func(*site) { return func(s *site) { s.config.ErrorURL = url } }

func always(context.Context, *session.Session, *Request) (bool, error) { return true, nil }

// alice is signed in since a minute before the start.
func alice() *session.Session {
	return &session.Session{ID: "alice-1", Subject: "alice", AuthTime: testStart.Add(-time.Minute), ACR: "1", AMR: []string{"pwd"}}
}

func bob() *session.Session {
	return &session.Session{ID: "bob-1", Subject: "bob", AuthTime: testStart.Add(-time.Minute)}
}

// signIn is a sign-in at this moment.
func (s *site) signIn(subject string) *session.Session {
	return &session.Session{ID: fmt.Sprintf("%s-%d", subject, s.now.Unix()), Subject: subject, AuthTime: s.now}
}

var goodRequest = []string{
	"response_type=code", "client_id=web", "redirect_uri=https%3A%2F%2Fapp.example%2Fcb", "scope=openid",
	"state=st-1", "nonce=n-1", "code_challenge=" + testChallenge, "code_challenge_method=S256",
}

// ask returns the raw query of the good request with changes: "name=value" replaces
// or adds, "-name" removes, "+name=value" adds one more. With another client_id the
// first of that client's redirect URIs is asked for, unless the changes name one.
func ask(changes ...string) string {
	pairs := slices.Clone(goodRequest)
	set := func(change string) {
		name, _, _ := strings.Cut(change, "=")
		for i, pair := range pairs {
			if strings.HasPrefix(pair, name+"=") {
				pairs[i] = change
				return
			}
		}
		pairs = append(pairs, change)
	}
	for _, change := range changes {
		if id, ok := strings.CutPrefix(change, "client_id="); ok {
			for _, c := range testClients() {
				if c.ID == id && len(c.RedirectURIs) > 0 {
					set("redirect_uri=" + url.QueryEscape(c.RedirectURIs[0]))
				}
			}
		}
	}
	for _, change := range changes {
		if more, ok := strings.CutPrefix(change, "+"); ok {
			pairs = append(pairs, more)
		} else if name, ok := strings.CutPrefix(change, "-"); ok {
			pairs = slices.DeleteFunc(pairs, func(pair string) bool { return strings.HasPrefix(pair, name+"=") })
		} else {
			set(change)
		}
	}
	return strings.Join(pairs, "&")
}

type visitor struct {
	site    *site
	session *session.Session
	cookies map[string]string
}

func (s *site) visitor(who *session.Session) *visitor {
	return &visitor{site: s, session: who, cookies: map[string]string{}}
}

// get sends a GET of the endpoint with the raw query.
func (v *visitor) get(rawQuery string) *reply {
	v.site.t.Helper()
	r := httptest.NewRequest(http.MethodGet, "https://attacker.example/authorize", nil)
	r.URL.RawQuery = rawQuery
	return v.send(v.site.handler, r)
}

// post sends a form to the endpoint.
func (v *visitor) post(body string) *reply {
	v.site.t.Helper()
	return v.send(v.site.handler, formPost("/authorize", body))
}

// follow goes where an answer leads, as long as that is the endpoint itself.
func (v *visitor) follow(to *reply) *reply {
	v.site.t.Helper()
	if to.kind != "endpoint" {
		return to
	}
	_, query, _ := strings.Cut(to.location, "?")
	return v.get(query)
}

func formPost(path, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// send adds cookies and session to the request, and keeps what is set.
func (v *visitor) send(h http.Handler, r *http.Request) *reply {
	v.site.t.Helper()
	for name, value := range v.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	r = r.WithContext(context.WithValue(r.Context(), signedIn{}, v.session))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	got := v.site.read(r, w)
	for _, c := range got.cookies {
		if c.MaxAge < 0 {
			delete(v.cookies, c.Name)
		} else {
			v.cookies[c.Name] = c.Value
		}
	}
	return got
}

// page sends a request to one of the host's pages: do is what the page does with it.
func (v *visitor) page(do func(http.ResponseWriter, *http.Request), r *http.Request) *reply {
	v.site.t.Helper()
	return v.send(http.HandlerFunc(do), r)
}

// showError is a page of the host that has met an error.
func (v *visitor) showError(err error) *reply {
	v.site.t.Helper()
	show := func(w http.ResponseWriter, r *http.Request) { v.site.handler.ShowError(w, r, err) }
	return v.page(show, httptest.NewRequest("GET", "/x", nil))
}

// resume comes back from a page by its ResumeURL, deny by its DenyURL.
func (v *visitor) resume(from *reply) *reply {
	v.site.t.Helper()
	return v.get("req=" + url.QueryEscape(from.req))
}

func (v *visitor) deny(from *reply) *reply {
	v.site.t.Helper()
	return v.get("req=" + url.QueryEscape(from.req) + "&deny=1")
}

// signIn signs somebody in on the login page, and comes back from it.
func (v *visitor) signIn(from *reply, subject string) *reply {
	v.site.t.Helper()
	v.session = v.site.signIn(subject)
	return v.resume(from)
}

// accept ends an interaction as the host's page would, and complete goes on.
func (v *visitor) accept(from *reply, name string) *reply {
	v.site.t.Helper()
	return v.page(func(w http.ResponseWriter, r *http.Request) {
		v.site.handler.Complete(w, r, name)
	}, formPost("/page?req="+url.QueryEscape(from.req), ""))
}

func (v *visitor) complete(from *reply, name string) *reply {
	v.site.t.Helper()
	return v.follow(v.accept(from, name))
}

// allow agrees to the scopes as the host's page would, and grant goes on.
func (v *visitor) allow(from *reply, granted Granted) *reply {
	v.site.t.Helper()
	return v.page(func(w http.ResponseWriter, r *http.Request) {
		v.site.handler.Grant(w, r, granted)
	}, formPost("/consent?req="+url.QueryEscape(from.req), ""))
}

func (v *visitor) grant(from *reply, scopes ...string) *reply {
	v.site.t.Helper()
	return v.follow(v.allow(from, Granted{Scopes: scopes}))
}

// reply is an answer, taken apart.
type reply struct {
	t        testing.TB // of the site
	status   int
	header   http.Header
	body     string
	location string
	cookies  []*http.Cookie

	// kind is where it leads: "client", "login", the path of another page of the
	// host, "endpoint", or "page" for an error page in place.
	kind string
	// target is the redirect URI that a client's answer went to; params is the answer.
	target string
	params map[string]string
	req    string // what a page was given
}

// read takes an answer apart and checks what holds for every one.
func (s *site) read(r *http.Request, w *httptest.ResponseRecorder) *reply {
	s.t.Helper()
	got := &reply{t: s.t, status: w.Code, header: w.Result().Header, body: w.Body.String(), location: w.Header().Get("Location"), cookies: w.Result().Cookies()}
	switch page, onHost := s.cutHost(got.location); {
	case strings.HasPrefix(got.location, s.handler.config.Endpoint+"?"):
		got.kind = "endpoint"
		_, query, _ := strings.Cut(got.location, "?")
		values, _ := url.ParseQuery(query)
		got.req = values.Get("req")
	case onHost:
		path, query, _ := strings.Cut(page, "?")
		values, err := url.ParseQuery(query)
		if err != nil {
			s.t.Fatalf("the page's query is malformed: %v", err)
		}
		got.kind, got.req = path, values.Get("req")
	case got.location != "":
		got.kind = "client"
		uri, query := s.splitClient(got.location)
		got.target, got.params = uri, s.once(query)
	case strings.Contains(got.body, "submit()"):
		got.kind = "client"
		got.target, got.params = s.readForm(got.body)
	default:
		got.kind = "page"
	}
	s.checkAlways(r, got)
	return got
}

// cutHost returns the path and query of a page of the host: on the endpoint's own
// origin, or on one that stands for another process of the host.
func (s *site) cutHost(location string) (page string, ok bool) {
	if page, ok = strings.CutPrefix(location, s.handler.origin+"/"); ok {
		return page, true
	}
	return strings.CutPrefix(location, "https://pages.example/")
}

// splitClient cuts the answer off the registered redirect URI, whose own query must
// still be there in front of it.
func (s *site) splitClient(location string) (uri, query string) {
	s.t.Helper()
	for _, c := range testClients() {
		for _, registered := range c.RedirectURIs {
			if rest, ok := strings.CutPrefix(location, registered); ok && rest != "" {
				return registered, rest[1:]
			}
		}
	}
	// A loopback redirect URI with a port of its own.
	uri, query, _ = strings.Cut(location, "?")
	if !regexp.MustCompile(`^http://(127\.0\.0\.1|\[::1\]):[1-9][0-9]{0,4}/cb$`).MatchString(uri) {
		s.t.Fatalf("Location is no registered redirect URI: %s", location)
	}
	return uri, query
}

// once reads a query in which nothing may come twice.
func (s *site) once(query string) map[string]string {
	s.t.Helper()
	values, err := url.ParseQuery(query)
	if err != nil {
		s.t.Fatalf("the answer %q is malformed: %v", query, err)
	}
	params := map[string]string{}
	for name, all := range values {
		if len(all) != 1 {
			s.t.Fatalf("%s is %d times in the answer %q", name, len(all), query)
		}
		params[name] = all[0]
	}
	return params
}

var (
	formAction = regexp.MustCompile(`<form method="post" action="([^"]*)">`)
	formField  = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
)

func (s *site) readForm(body string) (action string, params map[string]string) {
	s.t.Helper()
	found := formAction.FindStringSubmatch(body)
	if found == nil {
		s.t.Fatalf("a form without an action:\n%s", body)
	}
	params = map[string]string{}
	for _, field := range formField.FindAllStringSubmatch(body, -1) {
		if _, twice := params[field[1]]; twice {
			s.t.Fatalf("%s is twice in the form", field[1])
		}
		params[field[1]] = html.UnescapeString(field[2])
	}
	return html.UnescapeString(found[1]), params
}

var descriptionCharset = regexp.MustCompile(`^[\x20-\x21\x23-\x5B\x5D-\x7E]*$`)

// checkAlways checks what holds for every answer there is.
func (s *site) checkAlways(r *http.Request, got *reply) {
	s.t.Helper()
	referrer := "no-referrer"
	if strings.Contains(got.body, "<form ") {
		referrer = "strict-origin" // or the client would see Origin: null
	}
	for name, want := range map[string]string{
		"Cache-Control":                "no-store",
		"Referrer-Policy":              referrer,
		"Access-Control-Allow-Origin":  "",
		"Access-Control-Allow-Methods": "",
		"Cross-Origin-Opener-Policy":   "",
	} {
		if value := got.header.Get(name); value != want {
			s.t.Errorf("%s is %q, want %q", name, value, want)
		}
	}
	switch redirected := got.location != ""; {
	case redirected && r.Method == http.MethodPost && got.status != http.StatusSeeOther,
		redirected && r.Method != http.MethodPost && got.status != http.StatusFound,
		!redirected && got.status >= 300 && got.status < 400:
		s.t.Errorf("status %d for a %s, Location %q", got.status, r.Method, got.location)
	case redirected && got.body != "":
		s.t.Errorf("a redirect with a body, which repeats its parameters: %q", got.body)
	case !redirected && got.body == "":
		s.t.Errorf("status %d with neither a Location nor a page", got.status)
	}
	if got.body != "" {
		s.checkPage(got)
	}
	if got.kind == "client" {
		s.checkClientAnswer(got)
	}
	for _, c := range got.cookies {
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.Secure != strings.HasPrefix(c.Name, "__Host-") {
			s.t.Errorf("the cookie %s", c.Raw)
		}
	}
}

func (s *site) checkPage(got *reply) {
	s.t.Helper()
	csp := got.header.Get("Content-Security-Policy")
	// Only what has nothing to click may stand in a frame.
	framed := got.kind == "client" && !strings.Contains(got.body, "<button")
	if strings.Contains(csp, "frame-ancestors 'none'") == framed || strings.Contains(csp, "form-action") || !strings.Contains(csp, "default-src 'none'") {
		s.t.Errorf("Content-Security-Policy is %q", csp)
	}
	frames := "DENY"
	if framed {
		frames = ""
	}
	for name, want := range map[string]string{
		"Content-Type":           "text/html; charset=utf-8",
		"X-Content-Type-Options": "nosniff",
		"X-Frame-Options":        frames,
	} {
		if value := got.header.Get(name); value != want {
			s.t.Errorf("%s is %q, want %q", name, value, want)
		}
	}
}

func (s *site) checkClientAnswer(got *reply) {
	s.t.Helper()
	if iss := got.params["iss"]; iss != s.config.Issuer {
		s.t.Errorf("iss is %q", iss)
	}
	if got.params["code"] != "" && got.params["error"] != "" {
		s.t.Errorf("a code and an error: %v", got.params)
	}
	if d := got.params["error_description"]; !descriptionCharset.MatchString(d) {
		s.t.Errorf("error_description %q", d)
	}
	for name := range got.params {
		if !slices.Contains([]string{"code", "error", "error_description", "state", "iss"}, name) {
			s.t.Errorf("the answer has a parameter %q", name)
		}
	}
}

// String says in a few words what an answer is: "code", "nothing" (for
// response_type=none), "client <error>", "page <status> <error>", "login",
// "endpoint", or the path of another page.
func (got *reply) String() string {
	switch {
	case got.kind == "client" && got.params["error"] != "":
		return "client " + got.params["error"]
	case got.kind == "client" && got.params["code"] != "":
		return "code"
	case got.kind == "client":
		return "nothing"
	case got.kind == "page":
		return "page " + http.StatusText(got.status) + " " + got.pageCode()
	}
	return got.kind
}

var pageErrorCode = regexp.MustCompile(`<small>([a-z_]+) &middot; ([A-Z2-7]{12})</small>`)

func (got *reply) pageCode() string {
	if found := pageErrorCode.FindStringSubmatch(got.body); found != nil {
		return found[1]
	}
	return "without a code"
}

// want checks an answer against such words. step says which it is, in a test with several.
func (got *reply) want(want string, step ...string) *reply {
	got.t.Helper()
	if got.String() != want {
		what := strings.Join(append(step, "the answer"), ": ")
		got.t.Errorf("%s is %q, want %q (status %d, %s)", what, got, want, got.status, got.params["error_description"])
	}
	return got
}

func readAll(t testing.TB, r io.Reader) string {
	t.Helper()
	all, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

// redeem presents a code as the good request's client would.
func (s *site) redeem(code string, change func(*Redemption)) (*Code, error) {
	r := Redemption{Code: code, ClientID: "web", RedirectURI: "https://app.example/cb", Verifier: testVerifier}
	if change != nil {
		change(&r)
	}
	return s.handler.Redeem(context.Background(), r)
}

// impatient is a Config.Timeout for tests in which a store waits for its end.
const impatient = 50 * time.Millisecond

func impatientIf(waits bool) func(*site) {
	return func(s *site) {
		if waits {
			s.config.Timeout = impatient
		}
	}
}
