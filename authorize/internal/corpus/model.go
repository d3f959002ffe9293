package corpus

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	"github.com/usher-auth/usher/session"
)

// The model for which the cases are written. The consent page is below the login page,
// because the corpus counts every interaction as a login.
const (
	issuer      = "https://as.example"
	endpointURL = issuer + "/authorize"
	loginPage   = issuer + "/login"
)

var modelStart = time.Date(2026, time.March, 4, 5, 6, 7, 0, time.UTC)

// modelScopes are known and allowed to all clients. admin is known but allowed to none.
var modelScopes = []string{"openid", "profile", "email", "offline_access", "api:read", "api:write"}

// modelClients are the clients of the model. A client that is not here is confidential
// and has the redirect URIs of its case.
//
// native, nativelh and browser are FirstParty, because the corpus expects no consent page.
// Consent is not remembered for loopback or a private-use scheme (RFC 8252 §8.6), so the
// users of other clients would be asked every time.
var modelClients = []authorize.Client{
	{ID: "web", ResponseTypes: []string{"code", "none"}, RedirectURIs: []string{"https://app.example/cb"}},
	{ID: "spa", Public: true, RedirectURIs: []string{"https://spa.example/cb", "https://spa.example/cb2"}},
	{ID: "native", Public: true, FirstParty: true, RedirectURIs: []string{
		"http://127.0.0.1/cb", "http://[::1]/cb", "com.example.app:/oauth2redirect",
	}},
	{ID: "nativelh", Public: true, FirstParty: true, RedirectURIs: []string{"http://localhost/cb"}},
	{ID: "q", RedirectURIs: []string{"https://q.example/cb?tenant=1&x=a+b", "https://q.example/odd?d=%2e%2e&s=1;2"}},
	{ID: "legacy", PKCEOptional: true, RedirectURIs: []string{"https://legacy.example/cb"}},
	{ID: "tp", RedirectURIs: []string{"https://tp.example/cb"}},
	{ID: "noredir", Public: true},
	{ID: "evil", Public: true, RedirectURIs: []string{"https://evil.example/cb"}},
	{ID: "disabled", Disabled: true},
	{ID: "nocode", ResponseTypes: []string{}},
	{ID: "par", RequirePushed: true, RedirectURIs: []string{"https://par.example/cb"}},
	{ID: "lax", Public: true, PKCEOptional: true},
	{ID: "only", DefaultRedirectURI: true, DefaultScopes: []string{"api:read"}},
	{ID: "strict", Require: []string{"state"}},
	{ID: "browser", Public: true, FirstParty: true, ResponseModes: []string{"query", "fragment"}},
}

// modelSessions are the values of "session" and of {COOKIE_VALUE:…}.
var modelSessions = map[string]struct {
	subject string
	age     time.Duration // since the user signed in
	half    bool          // the second factor is missing
	expired bool
	revoked bool
}{
	"alice":           {subject: "alice", age: time.Minute},
	"alice_old":       {subject: "alice", age: 2 * time.Hour},
	"alice_noconsent": {subject: "alice_noconsent", age: time.Minute},
	"bob":             {subject: "bob", age: time.Minute},
	"expired":         {subject: "alice", age: 13 * time.Hour, expired: true},
	"revoked":         {subject: "alice", age: time.Minute, revoked: true},
	"mfa_pending":     {subject: "alice", age: time.Minute, half: true},
}

// world is an endpoint with its host and a user's browser, made anew for
// every case.
type world struct {
	run     *runner
	client  string // those of the case, for steps that name none
	session string

	clock   *clock
	clients *clientStore
	memory  *authorize.Memory // codes and consents
	handler *authorize.Handler
	cookies *session.Cookies
	canary  *canary

	browser  *authorizetest.Browser
	signedIn string // the name of the session that its cookie leads to, or ""

	saved       map[string]string               // what setup steps saved: RESUME, CODE, …
	origins     map[string]question             // the requests behind saved RESUMEs
	redemptions map[string]authorize.Redemption // how saved codes are redeemed
	problems    []string                        // broken invariants of all answers so far

	mu     sync.Mutex
	codes  []savedCode             // all that were stored
	agreed authorize.ConsentRecord // resources and claims that were asked for
	noted                          // since the last request began
}

// noted is what the host notices while its endpoint answers.
type noted struct {
	events   []authorize.Event
	sessions []*session.Session // that the SessionStore found; nil if nobody is signed in
	checks   int                // calls of Config.CheckRequest
	log      bytes.Buffer
}

type savedCode struct {
	hash string
	code *authorize.Code
}

// newWorld builds the model on the public API of the packages, as a host would.
func (run *runner) newWorld(c *testCase) (*world, error) {
	w := &world{
		run:         run,
		client:      c.Client,
		session:     c.Session,
		clock:       &clock{now: modelStart},
		browser:     authorizetest.NewBrowser(),
		saved:       map[string]string{},
		origins:     map[string]question{},
		redemptions: map[string]authorize.Redemption{},
	}
	w.clients = &clientStore{clients: map[string]authorize.Client{}}
	w.memory = authorize.NewMemory(authorize.MemoryConfig{Now: w.clock.Now})
	known := false
	for _, client := range modelClients {
		known = known || client.ID == c.Client
		w.putClient(client, c)
	}
	if !known {
		w.putClient(authorize.Client{ID: c.Client}, c)
	}
	var err error
	if w.cookies, err = session.NewCookies(session.Config{Now: w.clock.Now}); err != nil {
		return nil, err
	}
	w.handler, err = authorize.New(authorize.Config{
		Issuer:        issuer,
		Endpoint:      endpointURL,
		Clients:       w.clients,
		Codes:         codeStore{w.memory, w},
		Sessions:      authorize.SessionFunc(w.whoIsSignedIn),
		Login:         authorize.LoginURL("/login"),
		Consent:       &authorize.Consent{Page: "/login/consent", Store: consents{w.memory, w}},
		IDTokenHint:   hintSubject,
		Resources:     authorize.ResourceFunc(w.findResource),
		CheckRequest:  w.allowRequest,
		ResponseTypes: []string{"code", "none"},
		Scopes:        append([]string{"admin"}, modelScopes...),
		Parameters:    []string{"x_tenant"},
		Keys:          []authorize.Key{{Secret: []byte("a secret of the test, 32 bytes or more")}},
		Logger:        slog.New(slog.NewJSONHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		OnEvent:       w.onEvent,
		Now:           w.clock.Now,
	})
	if err != nil {
		return nil, err
	}
	w.run.serve(w.handler)
	return w, nil
}

// putClient stores a client. The redirect URIs of the case hold for its client.
func (w *world) putClient(client authorize.Client, c *testCase) {
	client.Name = "The application " + client.ID
	client.Scopes = modelScopes
	if client.ID == c.Client {
		client.RedirectURIs = c.RedirectURIs
	}
	w.clients.put(client)
}

// redirectURIs returns what is registered now.
func (w *world) redirectURIs(client string) []string {
	c, _ := w.clients.find(client)
	return c.RedirectURIs
}

func (w *world) close() {
	if w.canary != nil {
		w.canary.close()
	}
}

// clock stands still unless a step moves it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// clientStore has the clients as the cases register them. Some are unsafe, and
// [authorize.Memory] would refuse them. It returns an error for the client storeerr; only the
// log may show the text of this error.
type clientStore struct {
	mu      sync.Mutex
	clients map[string]authorize.Client
}

func (s *clientStore) Client(_ context.Context, id string) (*authorize.Client, error) {
	if id == "storeerr" {
		return nil, errors.New("sql: connection refused by 10.0.0.7; panic: goroutine 1 [running]")
	}
	c, ok := s.find(id)
	if !ok {
		return nil, nil
	}
	return &c, nil
}

func (s *clientStore) find(id string) (authorize.Client, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.clients[id]
	return c, ok
}

func (s *clientStore) put(c authorize.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c.ID] = c
}

func (s *clientStore) remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, id)
}

// codeStore records every code that it saves.
type codeStore struct {
	*authorize.Memory
	w *world
}

func (s codeStore) SaveCode(ctx context.Context, hash string, code *authorize.Code) error {
	s.w.mu.Lock()
	s.w.codes = append(s.w.codes, savedCode{hash, code.Clone()})
	s.w.mu.Unlock()
	return s.Memory.SaveCode(ctx, hash, code)
}

// dump returns everything that the code store has saved.
func (w *world) dump() (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	for _, c := range w.codes {
		text, err := json.Marshal(c.code)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(&b, c.hash, string(text), string(c.code.SessionData))
	}
	return b.String(), nil
}

// consents says that everybody has agreed to everything, except for the
// client tp and the user alice_noconsent.
type consents struct {
	*authorize.Memory
	w *world
}

func (s consents) FindConsent(_ context.Context, subject, clientID string) (*authorize.ConsentRecord, error) {
	if clientID == "tp" || subject == "alice_noconsent" {
		return nil, nil
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	agreed := s.w.agreed
	agreed.Subject, agreed.ClientID, agreed.Scopes = subject, clientID, modelScopes
	return &agreed, nil
}

// findResource allows https://api.example and what is below it. It records requested
// resources as agreed to.
func (w *world) findResource(_ context.Context, _ *authorize.Client, id string) (*authorize.Resource, error) {
	if !strings.HasPrefix(id, "https://api.example/") && id != "https://api.example" {
		return nil, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.agreed.Resources = append(w.agreed.Resources, id)
	return &authorize.Resource{ID: id}, nil
}

// allowRequest allows every request. It records requested claims as agreed to.
func (w *world) allowRequest(_ context.Context, r *authorize.Request) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.checks++
	w.agreed.IDTokenClaims, w.agreed.UserInfoClaims = r.ClaimsBeyondScopes()
	return nil
}

func (w *world) whoIsSignedIn(r *http.Request) (*session.Session, error) {
	s, err := w.cookies.Session(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sessions = append(w.sessions, s)
	return s, err
}

func (w *world) onEvent(_ context.Context, e authorize.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

var hintKey = []byte("signs the ID tokens of the model")

// hintSubject accepts only ID tokens that the model signed (HS256).
func hintSubject(_ context.Context, token string) (string, error) {
	signed, signature, ok := cutLast(token, ".")
	if !ok || signature != signatureOf(signed) {
		return "", errors.New("not a token of this issuer")
	}
	_, payload, _ := strings.Cut(signed, ".")
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return "", err
	}
	var claims struct{ Iss, Sub string }
	if err := json.Unmarshal(text, &claims); err != nil || claims.Iss != issuer {
		return "", errors.New("not an ID token of this issuer")
	}
	return claims.Sub, nil
}

func hintFor(subject string) string {
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"HS256"}`)) + "." + encode(fmt.Appendf(nil, `{"iss":%q,"sub":%q}`, issuer, subject))
	return signed + "." + signatureOf(signed)
}

func signatureOf(signed string) string {
	mac := hmac.New(sha256.New, hintKey)
	mac.Write([]byte(signed))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func cutLast(text, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(text, sep)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(sep):], true
}
