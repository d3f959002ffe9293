package authorize

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/session"
)

// Random sequences against the ground truth. Two browsers, three users and five clients
// do what people, tabs and hosts do, in any order. The test keeps its own account of who
// gave a password where and when, and of who agreed to what, and holds every answer
// against the rules in truths. It calls nothing of this package but what a host calls.
//
//	go test ./authorize -run TestSequences -sequences 2m     for two minutes
//	go test ./authorize -run TestSequences -seed 4711        that one again, and what follows

var (
	sequencesFor  = flag.Duration("sequences", 0, "how long TestSequences runs; 0: a fixed number of sequences")
	sequencesSeed = flag.Uint64("seed", 0, "the first seed of TestSequences; 0: 1, or with -sequences any")
)

func TestSequences(t *testing.T) {
	seed, until := *sequencesSeed, time.Now().Add(*sequencesFor)
	if seed == 0 && *sequencesFor > 0 {
		seed = uint64(until.Unix()) << 20
	}
	seed = max(seed, 1)
	played := 0
	for ; played < 500 || time.Now().Before(until); played++ {
		random := rand.New(rand.NewPCG(seed, 0))
		input := make([]byte, worldBytes+stepBytes*(10+random.IntN(40)))
		for i := range input {
			input[i] = byte(random.Uint32())
		}
		if w := play(input); w.fault != "" {
			w = shrink(input, w)
			t.Fatalf("sequence %d, seed %d: %s\n\t%s", played+1, seed, w.fault, strings.Join(w.words, "\n\t"))
		}
		seed++
	}
	t.Logf("%d sequences", played)
}

func FuzzSequences(f *testing.F) {
	f.Add(make([]byte, worldBytes+20*stepBytes))
	f.Fuzz(func(t *testing.T, input []byte) {
		input = input[:min(len(input), worldBytes+80*stepBytes)]
		if w := play(input); w.fault != "" {
			w = shrink(input, w)
			t.Fatalf("%s\n\t%s", w.fault, strings.Join(w.words, "\n\t"))
		}
	})
}

// shrink leaves out steps as long as the same fault is found without them.
func shrink(input []byte, found *world) *world {
	for before := 0; before != len(input); {
		before = len(input)
		for at := worldBytes; at+stepBytes <= len(input); {
			shorter := slices.Concat(input[:at], input[at+stepBytes:])
			if w := play(shorter); w.fault == found.fault {
				input, found = shorter, w
			} else {
				at += stepBytes
			}
		}
	}
	return found
}

const (
	worldBytes = 4 // say what the host is like
	stepBytes  = 8 // the action, the browser, the request, and five more
)

type dice [stepBytes]byte

func (s dice) of(i, n int) int { return int(s[3+i]) % n }

// What clients ask for: one of each list.
var (
	askedScopes  = []string{"openid", "openid profile email", "openid offline_access", "api:read offline_access", "openid email api:read offline_access"}
	askedPrompts = []string{"", "", "", "login", "login", "none", "none", "consent", "select_account", "create", "login consent", "select_account consent", "select_account login"}
	askedUsers   = []asked{
		{maxAge: -1}, {maxAge: -1}, {maxAge: -1},
		{query: "max_age=0", maxAge: 0},
		{query: "max_age=60", maxAge: 60},
		{query: "id_token_hint=hint-of-alice", maxAge: -1, subject: "alice"},
		{query: "id_token_hint=hint-of-bob", maxAge: -1, subject: "bob"},
		{query: "id_token_hint=unverifiable", maxAge: -1, unverified: true},
		{query: "id_token_hint=unverifiable&max_age=60", maxAge: 60, unverified: true},
	}
	askedClaims = []asked{
		{}, {}, {}, {},
		{query: `{"id_token":{"sub":{"value":"alice"}}}`, subject: "alice"},
		{query: `{"id_token":{"acr":{"essential":true,"values":["2"]},"auth_time":null}}`, acr: true},
		{query: `{"userinfo":{"email":null}}`, claims: []string{"userinfo email"}},
		{query: `{"id_token":{"email":null,"website":null},"userinfo":{"address":{"essential":true},"name#de":null}}`,
			claims: []string{"id_token email", "id_token website", "userinfo address", "userinfo name"}},
	}
	released   = map[string]string{"email": "email", "website": "profile", "name": "profile", "address": "address"}
	clientIDs  = []string{"web", "web", "own", "new", "native", "spa"}
	people     = []string{"alice", "bob", "carol"}
	someTime   = []time.Duration{1, 400, 1000, 4000, 30_000, 61_000, 600_000, 1_790_000, 3 * 3600_000, 25 * 3600_000}
	storeNames = []string{"sessions", "codes", "consents"}
)

// hosts differ in how they keep sessions. All but ofCookies keep their own.
var hosts = []string{"session.Cookies", "one account, with an ID", "one account, known by its AuthTime", "several accounts without SignedInAt"}

const (
	ofCookies = iota
	ofIDs
	ofTimes
	ofWaiting
	skew = 5 * time.Second
)

// play plays a sequence to its end or to the first fault.
func play(input []byte) *world {
	w := &world{clients: map[string]*Client{}, remembered: map[string]map[string]bool{}}
	input = slices.Concat(input, make([]byte, max(0, worldBytes-len(input))))
	defer func() {
		if r := recover(); r != nil && r != any(w) {
			panic(r)
		}
	}()
	w.build(input[:worldBytes])
	for rest := input[worldBytes:]; len(rest) >= stepBytes && w.fault == ""; rest = rest[stepBytes:] {
		s := dice(rest[:stepBytes])
		w.failing, w.failed = "", false
		if n := s.of(4, 64); n < len(storeNames) {
			w.failing = storeNames[n]
		}
		b := w.browsers[int(s[1])%len(w.browsers)]
		actions[int(s[0])%len(actions)](w, b, w.pick(b, int(s[2])), s)
	}
	return w
}

// actions are what can happen; what is there more often happens more often.
var actions = []func(*world, *testBrowser, *ticket, dice){
	(*world).ask, (*world).ask, (*world).ask, (*world).goOn, (*world).goOn, (*world).goOn, (*world).goOn,
	(*world).goOn, (*world).goOn, (*world).goOn, (*world).resume, (*world).resume, (*world).resume,
	(*world).signIn, (*world).signIn, (*world).signIn, (*world).choose, (*world).choose, (*world).signOut,
	(*world).pass, (*world).pass, (*world).deny, (*world).wait, (*world).wait, (*world).changeCookies,
	(*world).revoke, (*world).changeClient, (*world).redeem, (*world).look, (*world).forward,
	(*world).finish, (*world).manyTabs,
}

// referee hears the faults that the helpers of site_test.go find.
type referee struct {
	testing.TB
	w *world
}

func (r referee) Helper()                           {}
func (r referee) Errorf(format string, args ...any) { r.w.blame(format, args...) }
func (r referee) Fatal(args ...any)                 { r.Fatalf("%s", fmt.Sprint(args...)) }
func (r referee) Fatalf(format string, args ...any) {
	r.w.blame(format, args...)
	panic(r.w) // play recovers it
}

func (w *world) blame(format string, args ...any) {
	if w.fault == "" {
		w.fault = fmt.Sprintf(format, args...)
	}
}

func (w *world) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if w.failing != "" {
		line += " (a store fails: " + w.failing + ")"
	}
	w.words = append(w.words, w.now.Sub(testStart).String()+"  "+line)
}

func (w *world) build(input []byte) {
	w.host = max(0, int(input[0])%6-2) // half of them ofCookies
	w.consents, w.store = input[1]%8 > 0, input[1]%8 > 2
	w.accountsPage, w.terms = input[2]%2 > 0, input[2]%6 > 3
	w.browsers = []*testBrowser{{name: "Firefox"}, {name: "Chrome"}}
	w.site = newSite(referee{w: w}, func(s *site) {
		kept := stores{s.memory, w}
		s.config.Logger, s.config.Codes, s.config.Sessions = nil, kept, SessionFunc(w.who)
		s.config.Register = LoginURL("/register")
		s.config.Allow = func(context.Context, *session.Session, *Request) (bool, error) { return !w.forbidden, nil }
		if w.consents {
			s.config.Consent = &Consent{Page: "/consent"}
		}
		if w.store {
			s.config.Consent.Store = kept
		}
		if w.accountsPage {
			withStep(Interaction{Name: "accounts", Prompt: "select_account", Page: "/accounts"})(s)
		}
		if w.terms {
			withTerms(s)
		}
		w.site = s
	})
	for _, id := range clientIDs {
		w.clients[id], _ = w.memory.Client(context.Background(), id)
	}
	w.clients["spa"].OfflineAccess = true
	w.memory.PutClient(*w.clients["spa"])
	long := 9999 * time.Hour
	w.cookies, _ = session.NewCookies(session.Config{Accounts: 3, Idle: long, Absolute: long, Now: w.config.Now})
	w.say("a host with %s; consent page %t, with a store %t; page for accounts %t, for terms %t",
		hosts[w.host], w.consents, w.store, w.accountsPage, w.terms)
}

// stores note what is saved, and fail where the step says so.
type stores struct {
	*uncheckedMemory
	w *world
}

func (w *world) fails(store string) error {
	if w.failing == store {
		w.failed = true
		return errors.New("it fails")
	}
	return nil
}

func (s stores) SaveCode(ctx context.Context, hash string, c *Code) error {
	s.w.saved = append(s.w.saved, c)
	return errors.Join(s.w.fails("codes"), s.Memory.SaveCode(ctx, hash, c))
}

func (s stores) FindConsent(ctx context.Context, subject, client string) (*ConsentRecord, error) {
	if err := s.w.fails("consents"); err != nil {
		return nil, err
	}
	return s.Memory.FindConsent(ctx, subject, client)
}

func (w *world) who(r *http.Request) (*session.Session, error) {
	if err := w.fails("sessions"); err != nil {
		return nil, err
	}
	if w.host == ofCookies {
		return w.cookies.Session(r)
	}
	return w.whoIs(r)
}

// The browsers.

func (b *testBrowser) somebody() *realSignIn {
	if b.active.complete() {
		return b.active
	}
	return nil
}

func (b *testBrowser) dress(r *http.Request) *http.Request {
	for _, c := range b.jar {
		r.AddCookie(c)
	}
	if b.active == nil {
		return r
	}
	return r.WithContext(context.WithValue(r.Context(), signedIn{}, &b.active.Session))
}

func (b *testBrowser) keep(cookies []*http.Cookie) {
	for _, c := range cookies {
		b.jar = slices.DeleteFunc(b.jar, func(old *http.Cookie) bool { return old.Name == c.Name })
		if c.MaxAge >= 0 {
			b.jar = append(b.jar, &http.Cookie{Name: c.Name, Value: c.Value})
		}
	}
}

func (b *testBrowser) send(w *world, h http.Handler, r *http.Request) *reply {
	answer := httptest.NewRecorder()
	r = b.dress(r)
	h.ServeHTTP(answer, r)
	got := w.read(r, answer)
	b.keep(got.cookies)
	return got
}

func (w *world) pick(b *testBrowser, n int) *ticket {
	if n < 190 || len(w.tickets) == 0 {
		return b.last
	}
	return w.tickets[n%len(w.tickets)]
}

func (w *world) issue(t *ticket) *ticket {
	w.tickets = append(w.tickets, t)
	return t
}

// back is the request by which a browser comes back from a page.
func (t *ticket) back(deny string) *http.Request {
	return httptest.NewRequest(http.MethodGet, "/authorize?req="+url.QueryEscape(t.req)+deny, nil)
}

// atLogin reports whether the user is to sign in.
func (t *ticket) atLogin() bool { return t.page == "login" || t.page == "register" }

func (t *ticket) String() string {
	return fmt.Sprintf("the %s page of visit %d", t.page, t.visit.number)
}

// What happens.

func (w *world) ask(b *testBrowser, _ *ticket, s dice) {
	user, claims := askedUsers[s.of(0, len(askedUsers))], askedClaims[s.of(1, len(askedClaims))]
	scope, prompt := askedScopes[s.of(2, len(askedScopes))], askedPrompts[s.of(3, len(askedPrompts))]
	a := &asked{
		client: clientIDs[int(s[2])%len(clientIDs)], scopes: strings.Fields(scope), prompt: strings.Fields(prompt),
		claims: claims.claims, subject: user.subject + claims.subject, acr: claims.acr,
		maxAge: user.maxAge, unverified: user.unverified,
	}
	a.nonce = fmt.Sprint("n-", len(w.words))
	if user.subject != "" && claims.subject != "" {
		a.subject, a.conflict = user.subject, user.subject != claims.subject
	}
	changes := []string{"client_id=" + a.client, "scope=" + url.QueryEscape(scope), "nonce=" + a.nonce, "state=" + a.nonce}
	if prompt != "" {
		changes = append(changes, "prompt="+url.QueryEscape(prompt))
	}
	if claims.query != "" {
		changes = append(changes, "claims="+url.QueryEscape(claims.query))
	}
	if s[1]&0x1c == 0x10 {
		changes = append(changes, "response_mode=form_post")
	}
	changes = append(changes, strings.FieldsFunc(user.query, func(c rune) bool { return c == '&' })...)
	a.query, a.redirect = ask(changes...), w.clients[a.client].RedirectURIs[0]
	a.words = strings.Join(slices.Concat(changes[:2], changes[4:]), " ")
	r := httptest.NewRequest(http.MethodGet, "/authorize?"+a.query, nil)
	if s[1]&0x0c == 0x0c {
		r = formPost("/authorize", a.query)
	}
	if s[1]&0xe0 == 0xe0 {
		r.Header.Set("Sec-Fetch-Mode", "cors")
	}
	w.send(b, r, &ticket{visit: &realVisit{ask: a}, page: "client's own", expires: w.now.Add(time.Hour)}, "")
}

// manyTabs asks so often that what waits is pushed out.
func (w *world) manyTabs(b *testBrowser, t *ticket, s dice) {
	for i := range 8 {
		s[4], s[6] = s[4]+byte(i), s[6]+byte(i)
		w.ask(b, t, s)
	}
	b.last = t
}

func (w *world) resume(b *testBrowser, t *ticket, s dice) {
	if t != nil {
		r := t.back("")
		if s[3]&7 == 7 {
			r.Header.Set("Sec-Fetch-Mode", "cors")
		}
		w.send(b, r, t, "")
	}
}

func (w *world) deny(b *testBrowser, t *ticket, _ dice) {
	if t != nil {
		w.send(b, t.back("&deny=1"), t, "deny")
	}
}

// send brings a request to the endpoint and holds the answer against the truths.
func (w *world) send(b *testBrowser, r *http.Request, t *ticket, deny string) *reply {
	o := &evidence{world: w, b: b, t: t, r: r, visit: t.visit, s: b.somebody(), denied: deny != ""}
	if o.back = b.has(t.visit); !o.back {
		w.visits++
		o.visit = &realVisit{
			number: w.visits, ask: t.visit.ask, browser: b, arrived: w.now,
			found: []*realSignIn{o.s}, signIns: w.signIns, anew: t.visit.browser != nil,
		}
	} else {
		o.done = t.done
	}
	o.ask, o.client = o.visit.ask, w.clients[o.visit.ask.client]
	o.agreed = w.remembered[who(o.s)+" "+o.client.ID]
	w.saved, w.failed = nil, false
	o.got = b.send(w, w.handler, r)
	o.page = slices.Contains([]string{"login", "register", "consent", "accounts", "terms"}, o.got.kind)
	how := r.Method + " " + deny + r.Header.Get("Sec-Fetch-Mode")
	if t.req == "" {
		how += " " + o.ask.words
	}
	w.say("%s, where %s is signed in: %s, from %s, as visit %d -> %s", b.name, who(o.s), how, t, o.visit.number, o.got)
	for _, c := range o.got.cookies {
		if !o.back && c.MaxAge > 0 {
			o.visit.cookie = c
		}
	}
	next := &ticket{req: o.got.req, visit: o.visit, page: o.got.kind, expires: t.expires}
	switch {
	case o.page && o.back:
		next.done = t.done
	case o.page && o.visit.anew:
		next.anew = t.anew + 1
	case o.got.kind == "endpoint":
		next.visit = &realVisit{number: o.visit.number, ask: o.ask, signIns: w.signIns}
	}
	if o.page || o.got.kind == "endpoint" {
		if !o.back {
			next.expires = w.now.Add(30 * time.Minute)
		}
		if next.atLogin() {
			o.visit.found = append(o.visit.found, o.s)
		} else if o.page {
			next.shownTo = o.s
		}
		b.last = w.issue(next)
	}
	if o.got.kind == "client" {
		o.visit.answered = true
	}
	o.judge()
	if o.page && o.visit.cookie == nil {
		w.blame("a visit that goes to a page begins with a cookie")
	}
	return o.got
}

func who(s *realSignIn) string {
	if s == nil {
		return "nobody"
	}
	return s.Subject
}

func (w *world) signIn(b *testBrowser, t *ticket, s dice) {
	how := []string{
		"password", "password", "password", "password", "half", "asked elsewhere", "lagging clock", "the same ID",
	}[s.of(2, 8)]
	subject := people[s.of(0, len(people))]
	switch {
	case t != nil && t.visit.ask.subject != "" && s.of(3, 4) > 0:
		subject = t.visit.ask.subject
	case b.active != nil && s.of(3, 2) == 0:
		subject = b.active.Subject
	}
	w.signInAs(b, subject, fmt.Sprint(1+s.of(1, 2)), how, s.of(3, 8) == 0)
}

func (w *world) signInAs(b *testBrowser, subject, acr, how string, admin bool) {
	w.now = w.now.Add(time.Millisecond) // no two at the same time
	w.signIns++
	s := &realSignIn{at: w.now, proved: w.now}
	s.Session = session.Session{
		ID: fmt.Sprint("id-", w.signIns), Subject: subject, AuthTime: w.now, ACR: acr, SecondFactorPending: how == "half",
	}
	if admin {
		s.Data = []byte("admin")
	}
	switch {
	case how == "asked elsewhere":
		s.proved = w.now.Add(-61_007 * time.Millisecond)
		s.AuthTime = s.proved
	case how == "lagging clock":
		s.AuthTime = w.now.Add(-2003 * time.Millisecond)
	case how == "the same ID" && w.host == ofIDs && b.active != nil && b.active.Subject == subject:
		s.ID = b.active.ID
	}
	if w.host == ofTimes {
		s.ID = ""
	}
	w.say("%s: %s signs in by %s, acr %s, admin %t", b.name, subject, how, acr, admin)
	w.atHost(b, func(rw http.ResponseWriter, r *http.Request) error {
		made, err := w.cookies.SignIn(rw, r, s.Session)
		s.Session = *made
		return err
	})
	others := slices.DeleteFunc(b.accounts, func(a *realSignIn) bool { return a.Subject == subject || !a.complete() })
	if w.host == ofIDs || w.host == ofTimes {
		others = nil
	}
	b.accounts, b.active = append([]*realSignIn{s}, others[:min(len(others), 2)]...), s
}

func (w *world) atHost(b *testBrowser, do func(http.ResponseWriter, *http.Request) error) {
	if w.host != ofCookies {
		return
	}
	answer := httptest.NewRecorder()
	if err := do(answer, b.dress(httptest.NewRequest(http.MethodPost, "/accounts", nil))); err != nil {
		w.blame("session: %v", err)
	}
	b.keep(answer.Result().Cookies())
}

func (w *world) choose(b *testBrowser, t *ticket, s dice) {
	there := slices.DeleteFunc(slices.Clone(b.accounts), func(a *realSignIn) bool { return !a.complete() })
	waiting := slices.DeleteFunc(slices.Clone(there), func(a *realSignIn) bool { return a == b.active })
	if len(waiting) == 0 {
		w.signIn(b, t, s)
		return
	}
	chosen := waiting[s.of(0, len(waiting))]
	w.say("%s: %s is chosen", b.name, chosen.Subject)
	w.atHost(b, func(rw http.ResponseWriter, r *http.Request) error {
		_, err := w.cookies.Choose(rw, r, chosen.Subject)
		return err
	})
	there = slices.DeleteFunc(there, func(a *realSignIn) bool { return a == chosen })
	b.accounts, b.active = append([]*realSignIn{chosen}, there...), chosen
}

func (w *world) signOut(b *testBrowser, _ *ticket, s dice) {
	if b.active == nil || s.of(0, 3) == 0 {
		w.say("%s: all sign out", b.name)
		w.atHost(b, w.cookies.SignOut)
		b.accounts, b.active = nil, nil
		return
	}
	subject := b.active.Subject
	w.say("%s: %s signs out, the others wait", b.name, subject)
	w.atHost(b, func(rw http.ResponseWriter, r *http.Request) error { return w.cookies.SignOutAccount(rw, r, subject) })
	b.accounts = slices.DeleteFunc(b.accounts, func(a *realSignIn) bool { return a.Subject == subject })
	b.active = nil
}

func (w *world) wait(_ *testBrowser, _ *ticket, s dice) {
	w.now = w.now.Add(someTime[s.of(0, len(someTime))] * time.Millisecond)
	w.say("time goes by")
}

func (w *world) changeCookies(b *testBrowser, t *ticket, s dice) {
	ours := func(c *http.Cookie) bool { return !strings.HasSuffix(c.Name, "-session") }
	i := slices.IndexFunc(b.jar, ours)
	switch n := s.of(0, 3); {
	case n == 0 && t != nil && t.visit.cookie != nil && !b.has(t.visit):
		w.say("%s is given a cookie with the right name and a wrong value", b.name)
		b.keep([]*http.Cookie{{Name: t.visit.cookie.Name, Value: "1.of-somebody-else"}})
	case n == 1 && i >= 0:
		w.say("%s sends a cookie twice", b.name)
		b.jar = append(b.jar, &http.Cookie{Name: b.jar[i].Name, Value: b.jar[i].Value})
	default:
		w.say("%s loses the cookies of what waits", b.name)
		b.jar = slices.DeleteFunc(b.jar, ours)
	}
}

func (w *world) revoke(b *testBrowser, t *ticket, s dice) {
	subject, client := people[s.of(0, len(people))], clientIDs[s.of(1, len(clientIDs))]
	if t != nil && s.of(2, 4) > 0 {
		client = t.visit.ask.client
	}
	if now := b.somebody(); now != nil && s.of(3, 4) > 0 {
		subject = now.Subject
	}
	w.say("%s revokes what %s has", subject, client)
	delete(w.remembered, subject+" "+client)
	_ = w.memory.DeleteConsent(context.Background(), subject, client)
}

func (w *world) changeClient(b *testBrowser, t *ticket, s dice) {
	c := w.clients[clientIDs[s.of(0, len(clientIDs))]]
	if t != nil && s.of(1, 2) == 0 {
		c = w.clients[t.visit.ask.client]
	}
	switch n := s.of(2, 16); {
	case w.forbidden || c.Disabled:
		w.forbidden, c.Disabled = false, false
	case n == 0:
		w.forbidden = true
	case n == 1:
		c.Disabled = true
	case n < 6:
		c.OfflineAccess = !c.OfflineAccess
	case n < 12:
		c.FirstParty = !c.FirstParty
	case len(c.Scopes) == len(allScopes):
		c.Scopes = []string{"openid", "profile", "api:read"}
	default:
		c.Scopes = allScopes
	}
	w.memory.PutClient(*c)
	w.say("%s: FirstParty %t, Disabled %t, OfflineAccess %t, Scopes %v; Allow says no: %t",
		c.ID, c.FirstParty, c.Disabled, c.OfflineAccess, c.Scopes, w.forbidden)
}

func (w *world) redeem(_ *testBrowser, _ *ticket, s dice) {
	if len(w.codes) == 0 {
		return
	}
	w.failing = ""
	c := w.codes[len(w.codes)-1-s.of(0, min(3, len(w.codes)))]
	by := []string{c.client, c.client, c.client, "web"}[s.of(1, 4)]
	r := Redemption{Code: c.code, ClientID: by, RedirectURI: c.redirect, Verifier: testVerifier}
	got, err := w.handler.Redeem(context.Background(), r)
	w.say("%s redeems a code of %s: %v", by, c.client, err)
	right, inTime := by == c.client, w.now.Sub(c.at) < time.Minute
	replay := (*ReplayError)(nil)
	switch {
	case (err == nil) != (right && inTime && !c.used), err == nil && got.Nonce != c.nonce:
		w.blame("a code is redeemed once, in time, by its client")
	case right && inTime && c.used && !errors.As(err, &replay):
		w.blame("the second redemption is a replay")
	}
	c.used = c.used || err == nil
}

func (w *world) look(b *testBrowser, t *ticket, _ dice) {
	if t == nil || t.visit.browser == nil {
		return
	}
	p, err := w.handler.Pending(b.dress(t.back("")))
	w.say("%s looks at %s: %v", b.name, t, err)
	subject := ""
	if t.shownTo != nil && b.has(t.visit) && b.active != nil && b.active.same(t.shownTo) {
		subject = t.shownTo.Subject
	}
	switch there := w.now.Before(t.expires) && !w.clients[t.visit.ask.client].Disabled; {
	case err != nil && w.failing != "":
	case (err == nil) != there:
		w.blame("Pending: %v", err)
	case err == nil && (p.Anew == b.has(t.visit) || p.Subject != subject || p.Request.Nonce != t.visit.ask.nonce):
		w.blame("Pending: Anew %t, Subject %q", p.Anew, p.Subject)
	}
}

// goOn does what the page is there for, in one way or another.
func (w *world) goOn(b *testBrowser, t *ticket, s dice) {
	switch {
	case t == nil:
		w.ask(b, t, s)
	case slices.ContainsFunc(t.done, func(d doneStep) bool { return d.page == t.page }):
		w.resume(b, t, dice{})
	case t.visit.browser == nil, t.atLogin():
		switch n := s.of(4, 8); {
		case t.visit.browser == nil || n == 0:
		case n < 4:
			w.choose(b, t, s)
		default:
			w.signIn(b, t, s)
		}
		w.resume(b, t, dice{})
	default:
		w.pass(b, t, s)
	}
}

// pass ends one of the host's pages, mostly the one that is shown.
func (w *world) pass(b *testBrowser, t *ticket, s dice) {
	pages := []string{}
	for name, there := range map[string]bool{"accounts": w.accountsPage, "consent": w.consents, "terms": w.terms} {
		if there {
			pages = append(pages, name)
		}
	}
	slices.Sort(pages)
	if t == nil || t.visit.browser == nil || len(pages) == 0 {
		w.ask(b, t, s)
		return
	}
	page, scopes := t.page, t.visit.ask.scopes
	if !slices.Contains(pages, page) || s.of(0, 8) == 0 {
		page = pages[s.of(1, len(pages))]
	}
	switch n := s.of(2, 8); {
	case n < 3:
		scopes = scopes[:n%(len(scopes)+1)]
	case n == 3:
		scopes = scopes[len(scopes)-1:]
	case n == 4 && s.of(3, 4) == 0:
		scopes = slices.Concat(scopes, []string{"api:write"})
	}
	next := w.complete(b, t, page, slices.Clone(scopes))
	if next != nil && s.of(4, 6) == 0 {
		w.revoke(b, t, dice{5: 1, 6: 1}) // what may just have been granted
	}
	if next != nil && s.of(1, 2) > 0 {
		w.resume(b, next, dice{})
	}
}

// complete calls Complete or Grant and sees to it that it counts where it must, and
// nowhere else. The ticket is the one to come back with.
func (w *world) complete(b *testBrowser, t *ticket, page string, scopes []string) *ticket {
	s, a, events := b.somebody(), t.visit.ask, len(w.events)
	renewed := s != nil && t.shownTo != nil && s.Subject == t.shownTo.Subject &&
		(s.same(t.shownTo) || s.ACR == t.shownTo.ACR && string(s.Data) == string(t.shownTo.Data))
	may := b.has(t.visit) && s != nil && w.now.Before(t.expires) && t.page == page
	switch page {
	case "consent":
		may = may && s.same(t.shownTo) && w.wellFormed(a) && len(scopes) > 0 && !slices.Contains(scopes, "api:write")
	case "terms":
		may = may && renewed
	}
	w.failed = false
	got := b.send(w, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if page == "consent" {
			w.handler.Grant(rw, r, Granted{Scopes: scopes})
		} else {
			w.handler.Complete(rw, r, page)
		}
	}), formPost("/page?req="+url.QueryEscape(t.req), ""))
	w.say("%s: %s passes %s %v with %s -> %s", b.name, who(s), page, scopes, t, got)
	recorded := slices.ContainsFunc(w.events[events:], func(e Event) bool { return e.Kind == EventCompleted })
	switch {
	case recorded && !may:
		w.blame("a page is passed in the browser that began, by who was shown it")
	case may && !recorded && !w.failed:
		w.blame("who passes a page has passed it")
	case recorded && got.req == "" || !recorded && got.req != "" && got.req != t.req:
		w.blame("what is passed is in the request, and only that")
	}
	next := t
	if recorded {
		if page == "consent" && w.stored(a, w.clients[a.client]) {
			w.remember(s.Subject, a, scopes)
		}
		passed := *t
		passed.req, passed.done = got.req, nil
		for _, d := range t.done {
			if renewed && d.by.same(t.shownTo) {
				d.by = s
			}
			passed.done = append(passed.done, d)
		}
		passed.done = append(passed.done, doneStep{page, s, scopes})
		next = w.issue(&passed)
		b.last = next
	}
	w.compareStore(a.client)
	if got.kind != "endpoint" {
		return nil
	}
	return next
}

// forward is a login page that sends everybody back at once: no loop comes of it.
func (w *world) forward(b *testBrowser, t *ticket, s dice) {
	if t == nil || w.failing != "" {
		return
	}
	keepsNone := s.of(0, 3) == 0
	for hops := 0; ; hops++ {
		if keepsNone {
			w.changeCookies(b, nil, dice{})
		}
		got := w.send(b, t.back(""), t, "")
		if t = b.last; t == nil || got.kind != t.page || !t.atLogin() {
			return
		}
		if hops > 4 {
			w.blame("a login page that forwards comes to an end")
			return
		}
	}
}

// finish is a user who does what every page says. That leads to a code, if anything can.
func (w *world) finish(b *testBrowser, t *ticket, s dice) {
	w.failing = ""
	if t == nil || s.of(4, 2) == 0 {
		s[1] &= 0x1f // no fetch
		b.last = nil
		w.ask(b, t, s)
		if t = b.last; t == nil {
			return
		}
	}
	a, c := t.visit.ask, w.clients[t.visit.ask.client]
	possible := w.wellFormed(a) && !w.forbidden && !a.prompts("none") && t.anew == 0 && w.now.Before(t.expires) &&
		(w.consents || !c.Unvetted && !a.prompts("consent")) &&
		w.signIns-t.visit.signIns < 2 // of 8 that can be found
	for pages := 0; t != nil && w.fault == ""; pages++ {
		if pages > 8 {
			w.blame("a user who does what is asked comes to an end")
			return
		}
		now := b.somebody()
		wrong := now == nil || a.subject != "" && now.Subject != a.subject || a.acr && now.ACR != "2"
		if wrong || t.atLogin() {
			w.signInAs(b, cmp.Or(a.subject, people[s.of(0, len(people))]), "2", "password", false)
		}
		switch t.page {
		case "consent", "accounts", "terms":
			if t = w.complete(b, t, t.page, a.scopes); t == nil {
				if possible {
					w.blame("a user can pass a page")
				}
				return
			}
		}
		b.last = nil
		got := w.send(b, t.back(""), t, "")
		if t = b.last; t == nil && possible && got.params["code"] == "" {
			w.blame("a user who does what is asked gets a code")
		}
	}
}
