package authorize

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/session"
)

// The ground truth of sequences_test.go: what has really happened, and what holds then.

// world is a host, its users and its clients.
type world struct {
	*site
	host                int              // one of hosts
	cookies             *session.Cookies // of the first host
	consents, store     bool             // there is a consent page, and a store for it
	accountsPage, terms bool
	forbidden           bool   // what Config.Allow says is no
	failing             string // the store that fails during this step
	failed              bool
	saved               []*Code
	clients             map[string]*Client
	browsers            []*testBrowser
	tickets             []*ticket
	visits              int
	codes               []*issuedCode
	remembered          map[string]map[string]bool // scopes and claims, by subject and client
	signIns             int
	words               []string
	fault               string
}

// testBrowser is what a browser keeps, and who is signed in in it.
type testBrowser struct {
	name     string
	jar      []*http.Cookie
	accounts []*realSignIn // the one that was active last comes first
	active   *realSignIn   // nil: nobody, whoever waits
	last     *ticket
}

// realSignIn is one that happened: at is when this browser passed the login page, proved
// when the user gave the password.
type realSignIn struct {
	session.Session
	at, proved time.Time
}

func (s *realSignIn) complete() bool { return s != nil && !s.SecondFactorPending }

// same reports whether two are one sign-in, as Session.ID has it.
func (s *realSignIn) same(as *realSignIn) bool {
	return s == as || s != nil && as != nil && s.ID != "" && s.ID == as.ID && s.Subject == as.Subject
}

// realVisit is a request as it arrived in one browser.
type realVisit struct {
	number   int
	ask      *asked
	browser  *testBrowser // nil between a POST and its GET
	arrived  time.Time
	found    []*realSignIn // who was signed in then, and who was sent to the login page
	signIns  int           // how many there had been
	anew     bool
	cookie   *http.Cookie
	answered bool
}

// ticket is a req that somebody has seen.
type ticket struct {
	req     string
	visit   *realVisit
	page    string
	shownTo *realSignIn
	anew    int // in a row
	done    []doneStep
	expires time.Time
}

type doneStep struct {
	page   string
	by     *realSignIn
	scopes []string
}

type issuedCode struct {
	code, nonce, client, redirect string
	at                            time.Time
	used                          bool
}

// asked is what a client asks for.
type asked struct {
	words, query, client, redirect, nonce string // nonce is state too
	scopes, prompt, claims                []string
	maxAge                                int // -1: none
	subject                               string
	unverified, conflict, acr             bool
}

func (a *asked) prompts(value string) bool { return slices.Contains(a.prompt, value) }
func (a *asked) has(scope string) bool     { return slices.Contains(a.scopes, scope) }

// has reports whether what was decided for the visit counts in this browser.
func (b *testBrowser) has(v *realVisit) bool {
	if v.browser != b || v.answered {
		return false
	}
	n, right := 0, false
	for _, c := range b.jar {
		if c.Name == v.cookie.Name {
			n, right = n+1, c.Value == v.cookie.Value
		}
	}
	return n == 1 && right
}

// stored reports whether consent means anything the next time.
func (w *world) stored(a *asked, c *Client) bool {
	return w.store && (a.client != "native" || c.FirstParty && !c.Unvetted)
}

// remember keeps what a user grants: scopes, and claims as "place name".
func (w *world) remember(subject string, a *asked, scopes []string) {
	r := w.remembered[subject+" "+a.client]
	if r == nil {
		r = map[string]bool{}
		w.remembered[subject+" "+a.client] = r
	}
	for _, claim := range a.claims {
		if !slices.Contains(scopes, releasedBy(claim)) {
			r[claim] = true
		}
	}
	for _, scope := range a.scopes {
		r[scope] = slices.Contains(scopes, scope)
		for what := range r {
			if releasedBy(what) == scope && !r[scope] {
				delete(r, what) // what a refused scope releases is refused with it
			}
		}
	}
}

func releasedBy(claim string) string {
	_, name, _ := strings.Cut(claim, " ")
	return released[name]
}

// compareStore sees to it that the store has what the users have agreed to.
func (w *world) compareStore(client string) {
	for _, subject := range people {
		got, want := []string{}, []string{}
		if record, _ := w.memory.FindConsent(context.Background(), subject, client); record != nil {
			got = slices.Clone(record.Scopes)
			for _, name := range record.IDTokenClaims {
				got = append(got, "id_token "+name)
			}
			for _, name := range record.UserInfoClaims {
				got = append(got, "userinfo "+name)
			}
		}
		for what, agreed := range w.remembered[subject+" "+client] {
			if agreed {
				want = append(want, what)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			w.blame("what %s agreed to is stored as %q, want %q", subject, got, want)
		}
	}
}

// wellFormed reports whether the client may ask so, as it is stored now.
func (w *world) wellFormed(a *asked) bool {
	c := w.clients[a.client]
	missing := func(scope string) bool { return !slices.Contains(c.Scopes, scope) }
	return !c.Disabled && !a.conflict && !slices.ContainsFunc(a.scopes, missing)
}

// evidence is an answer of the endpoint, with all that is true at this moment.
type evidence struct {
	*world
	b       *testBrowser
	t       *ticket
	r       *http.Request
	visit   *realVisit
	back    bool // the visit goes on; otherwise it began now
	done    []doneStep
	ask     *asked
	client  *Client
	s       *realSignIn     // nil: nobody
	agreed  map[string]bool // and remembered
	denied  bool
	page    bool // of the host
	got     *reply
	code    *Code
	granted *doneStep // by this sign-in for this visit; nil: not
}

// judge holds an answer against the truths.
func (o *evidence) judge() {
	for i := range o.done {
		if o.done[i].page == "consent" && o.done[i].by.same(o.s) {
			o.granted = &o.done[i]
		}
	}
	code := o.got.params["code"]
	if len(o.saved) == 1 && code != "" {
		o.code = o.saved[0]
		o.codes = append(o.codes, &issuedCode{code, o.ask.nonce, o.client.ID, o.ask.redirect, o.now, false})
	} else if code != "" || len(o.saved) > 0 && !o.failed {
		o.blame("a code is stored once, and given to the client that asks")
	}
	for _, truth := range truths {
		if (!truth.ofCodes || o.code != nil) && truth.broken(o) {
			o.blame("%s", truth.rule)
			return // the later ones take the first for granted
		}
	}
}

// truths are what holds for every answer, and for every code.
var truths = []struct {
	rule    string
	ofCodes bool
	broken  func(o *evidence) bool
}{
	{"a code is for the user who is fully signed in to the browser that gets it", true, func(o *evidence) bool {
		c, s := o.code, o.s
		return s == nil || c.Subject != s.Subject || c.SessionID != s.ID || !c.AuthTime.Equal(s.AuthTime) ||
			c.ACR != s.ACR || string(c.SessionData) != string(s.Data)
	}},
	{"a code belongs to the request that it answers", true, func(o *evidence) bool {
		c := o.code
		return c.Nonce != o.ask.nonce || c.ClientID != o.ask.client || c.RedirectURI != o.ask.redirect || c.Challenge != testChallenge
	}},
	{"a code is for the user that the client names", true, func(o *evidence) bool {
		return o.ask.subject != "" && o.s.Subject != o.ask.subject
	}},
	{"an essential acr is reached", true, func(o *evidence) bool { return o.ask.acr && o.s.ACR != "2" }},
	{"a user who must sign in again gives a password after the request", true, func(o *evidence) bool {
		return o.signInWanted() && !o.signedInAnew()
	}},
	{"max_age: the sign-in is young, or after the request", true, func(o *evidence) bool {
		age := o.now.Unix() - o.s.AuthTime.Unix()
		return o.ask.maxAge >= 0 && age > int64(o.ask.maxAge) && !o.signedInAnew()
	}},
	{"a user who must choose an account has chosen this one", true, func(o *evidence) bool {
		return o.accountsPage && o.ask.prompts("select_account") && !o.passed("accounts")
	}},
	{"this sign-in has passed the terms", true, func(o *evidence) bool { return o.terms && !o.passed("terms") }},
	{"every scope is requested, allowed to the client now and agreed to by the user", true, func(o *evidence) bool {
		return len(o.code.Scopes) == 0 || slices.ContainsFunc(o.code.Scopes, func(scope string) bool {
			return !o.ask.has(scope) || !slices.Contains(o.client.Scopes, scope) || !o.scopeAgreed(scope)
		})
	}},
	{"the user agreed to every claim", true, func(o *evidence) bool {
		return slices.ContainsFunc(claimsInCode(o.code), func(claim string) bool { return !o.claimAgreed(claim) })
	}},
	{"the user is asked, unless remembered consent covers everything", true, func(o *evidence) bool {
		return o.consents && !o.firstParty() && !o.grantCounts() && !o.covered()
	}},
	{"prompt=consent is asked for this very request", true, func(o *evidence) bool {
		return o.ask.prompts("consent") && !o.grantCounts()
	}},
	{"an unvetted client gets no code without a question", true, func(o *evidence) bool {
		return o.client.Unvetted && !o.grantCounts() && !o.covered()
	}},
	{"a denied request never gets a code", true, func(o *evidence) bool { return o.denied }},
	{"a host's rule, a failed store or the time limit prevents a code", true, func(o *evidence) bool {
		return o.forbidden || o.failed || !o.now.Before(o.t.expires)
	}},
	{"a disabled client and an invalid request get no code", true, func(o *evidence) bool {
		return !o.wellFormed(o.ask)
	}},

	{"a response goes to a registered redirect URI, with its state", false, func(o *evidence) bool {
		right := o.got.target == o.ask.redirect && o.got.params["state"] == o.ask.nonce && !o.client.Disabled
		return o.got.kind == "client" && !right
	}},
	{"an error reaches an unvetted client only after the user has acted", false, func(o *evidence) bool {
		familiar := o.covered() || o.back && (o.denied || o.signedInAnew() || o.passed("accounts", "consent", "terms"))
		return o.got.kind == "client" && o.code == nil && o.client.Unvetted && !familiar
	}},
	{"nothing fails but a store", false, func(o *evidence) bool {
		failed := o.got.status >= 500 || o.got.params["error"] == "server_error"
		return failed && !o.failed && (o.consents || !o.client.Unvetted)
	}},
	{"prompt=none shows no page of the host", false, func(o *evidence) bool { return o.ask.prompts("none") && o.page }},
	{"a fetch gets no cookie and no page", false, func(o *evidence) bool {
		sets := slices.ContainsFunc(o.got.cookies, func(c *http.Cookie) bool { return c.MaxAge >= 0 })
		return o.r.Header.Get("Sec-Fetch-Mode") == "cors" && (sets || o.page)
	}},
	{"a browser without the cookie gets a page twice, and once where nobody is signed in", false, func(o *evidence) bool {
		return o.page && !o.back && (o.t.anew > 1 || o.t.anew > 0 && o.s == nil)
	}},
	{"at most eight requests wait in a browser", false, func(o *evidence) bool {
		names := map[string]bool{}
		for _, c := range o.b.jar {
			names[c.Name] = true
		}
		delete(names, "__Host-usher-session")
		begins := slices.ContainsFunc(o.got.cookies, func(c *http.Cookie) bool { return c.MaxAge > 0 })
		return begins && len(names) > 8
	}},
	{"a finished request has no cookie", false, func(o *evidence) bool {
		its := func(c *http.Cookie) bool { return c.Name == o.visit.cookie.Name }
		return o.visit.answered && o.back && slices.ContainsFunc(o.b.jar, its)
	}},
}

// signInWanted reports whether nothing but a sign-in after the request will do.
func (o *evidence) signInWanted() bool {
	a := o.ask
	return a.prompts("login") || a.maxAge == 0 || a.unverified || a.prompts("select_account") && !o.accountsPage ||
		a.prompts("create") && !(o.visit.anew && o.visit.found[0] != nil)
}

// signedInAnew reports whether it was: in this browser, when the request had arrived there.
// A host that does not know when may be mistaken by the skew, but not about who was found.
func (o *evidence) signedInAnew() bool {
	s, since := o.s, o.visit.arrived
	return s != nil && !slices.Contains(o.visit.found, s) && (!s.at.Before(since) || o.host == ofWaiting) &&
		!s.proved.Before(since.Truncate(time.Second).Add(-skew))
}

// passed reports whether one of the pages was passed for this visit: by this sign-in, and
// where an account is chosen by this user.
func (o *evidence) passed(pages ...string) bool {
	return slices.ContainsFunc(o.done, func(d doneStep) bool {
		by := d.by.same(o.s) || d.page == "accounts" && d.by.Subject == who(o.s)
		return by && slices.Contains(pages, d.page)
	})
}

func (o *evidence) firstParty() bool { return o.client.FirstParty && !o.client.Unvetted }

// remembers reports whether the user has agreed to a scope or a claim before.
func (o *evidence) remembers(what string) bool {
	return o.stored(o.ask, o.client) && (o.agreed[what] || o.agreed[releasedBy(what)])
}

func (o *evidence) scopeAgreed(scope string) bool {
	offline := scope == "offline_access" && o.ask.has("openid")
	switch {
	case o.granted != nil && !slices.Contains(o.granted.scopes, scope):
		return false
	case o.firstParty(), !o.consents && !offline, offline && o.client.OfflineAccess:
		return true
	case o.granted != nil && !o.stored(o.ask, o.client):
		return true
	}
	return o.remembers(scope)
}

// grantCounts reports whether what was granted for this visit does: where it was stored, it
// has to be there still.
func (o *evidence) grantCounts() bool {
	if o.granted == nil {
		return false
	}
	return !o.stored(o.ask, o.client) ||
		!slices.ContainsFunc(o.granted.scopes, func(scope string) bool { return !o.remembers(scope) }) &&
			!slices.ContainsFunc(o.ask.claims, func(claim string) bool {
				return !o.ask.has(releasedBy(claim)) && !o.remembers(claim)
			})
}

// refused reports whether the user has said no to a scope before.
func (o *evidence) refused(scope string) bool {
	agreed, asked := o.agreed[scope]
	return o.stored(o.ask, o.client) && asked && !agreed
}

// covered reports whether what is remembered covers the whole request, but for what was
// refused, as long as something is left, and for an offline_access that nobody can be or
// need be asked about.
func (o *evidence) covered() bool {
	all := !slices.ContainsFunc(o.ask.scopes, func(scope string) bool { return !o.refused(scope) })
	return !all && !slices.ContainsFunc(o.ask.scopes, func(scope string) bool {
		left := scope == "offline_access" && o.ask.has("openid") && (o.client.OfflineAccess || o.ask.prompts("none"))
		return !left && !o.remembers(scope) && !o.refused(scope)
	}) && !slices.ContainsFunc(o.ask.claims, func(claim string) bool {
		return !o.ask.has(releasedBy(claim)) && !o.remembers(claim)
	})
}

func (o *evidence) claimAgreed(claim string) bool {
	scope := releasedBy(claim)
	switch {
	case slices.Contains([]string{"id_token sub", "id_token acr", "id_token auth_time"}, claim):
		return true
	case o.granted != nil && o.ask.has(scope) && !slices.Contains(o.granted.scopes, scope):
		return false
	case !slices.Contains(o.ask.claims, claim):
		return false
	}
	return o.firstParty() || !o.consents || slices.Contains(o.code.Scopes, scope) || o.remembers(claim) ||
		o.granted != nil && !o.stored(o.ask, o.client)
}

// claimsInCode are those of a code, as "place name".
func claimsInCode(c *Code) (claims []string) {
	places := map[string]map[string]any{}
	if c.Claims != nil && json.Unmarshal(c.Claims, &places) != nil {
		return []string{"what cannot be read"}
	}
	for place, members := range places {
		for member := range members {
			name, _, _ := strings.Cut(member, "#")
			claims = append(claims, place+" "+name)
		}
	}
	return claims
}
