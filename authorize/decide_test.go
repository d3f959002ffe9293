package authorize

import (
	"cmp"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// situation is what a row of the decision table says; it becomes facts.
type situation struct {
	prompt  string
	maxAge  int64 // -1: not sent
	subject string

	who  string        // empty: nobody
	age  time.Duration // how long ago the sign-in was
	half bool          // the second factor is pending

	resumed  bool          // from the login page
	began    time.Duration // how long ago
	foundAge time.Duration // of the session found then; 0: nobody
	foundWho string        // whose that was; empty: who
	id       string        // of the session; empty: the one of the session found
	signedIn time.Duration // how long ago this browser signed in; 0: the host does not say
	stale    int           // returns before this one
	nobody   int
	other    bool // it comes back from another page than the login

	denied, forbidden bool
	steps             string // "name", "name!" needed, "name+" done; "terms/code" with another error
}

func (s situation) facts() *facts {
	now := testStart
	f := facts{
		request:   &Request{Prompt: strings.Fields(s.prompt), Subject: s.subject},
		now:       now,
		clockSkew: 5 * time.Second,
		denied:    s.denied,
		forbidden: s.forbidden,
	}
	if s.maxAge >= 0 {
		f.request.MaxAge = &s.maxAge
	}
	if s.who != "" {
		f.session = &session.Session{ID: cmp.Or(s.id, "1"), Subject: s.who, AuthTime: now.Add(-s.age), SecondFactorPending: s.half}
		if s.signedIn != 0 {
			f.session.SignedInAt = now.Add(-s.signedIn)
		}
	}
	if s.resumed {
		f.resumed = &resumed{since: now.Add(-s.began), fromLogin: !s.other, stale: s.stale, nobody: s.nobody}
		if s.foundAge != 0 {
			found := &session.Session{ID: "1", Subject: cmp.Or(s.foundWho, s.who)}
			f.resumed.found = []signInFound{{signInKey(found), now.Add(-s.foundAge)}}
		}
	}
	for _, text := range strings.Fields(s.steps) {
		name := strings.TrimRight(text, "!+")
		step := step{name: name, error: oautherr.InteractionRequired, needed: strings.Contains(text, "!"), done: strings.Contains(text, "+")}
		switch name {
		case "consent":
			step.prompt, step.error = "consent", oautherr.ConsentRequired
		case "accounts":
			step.prompt, step.error = "select_account", oautherr.AccountSelectionRequired
		}
		f.steps = append(f.steps, step)
		f.interactions = append(f.interactions, Interaction{Prompt: step.prompt})
	}
	return &f
}

func (d decision) word() string {
	switch d.Outcome {
	case approve:
		return "approve"
	case interact:
		return d.Interaction + ": " + string(d.Reason)
	}
	return string(d.Error) + ": " + string(d.Reason)
}

const minute = time.Minute

func TestDecide(t *testing.T) {
	for _, c := range []struct {
		rule string
		situation
		want string
	}{
		// Who is signed in.
		{"nobody is signed in", situation{maxAge: -1}, "login: not_signed_in"},
		{"nobody, prompt=none", situation{maxAge: -1, prompt: "none"}, "login_required: not_signed_in"},
		{"nobody, prompt=login", situation{maxAge: -1, prompt: "login"}, "login: not_signed_in"},
		{"nobody, prompt=consent", situation{maxAge: -1, prompt: "consent", steps: "consent"}, "login: not_signed_in"},
		{"somebody", situation{maxAge: -1, who: "alice", age: minute}, "approve"},
		{"somebody, prompt=none", situation{maxAge: -1, who: "alice", age: minute, prompt: "none"}, "approve"},
		{"the second factor is missing", situation{maxAge: -1, who: "alice", age: minute, half: true}, "login: second_factor_pending"},
		{"the second factor is missing, prompt=none", situation{maxAge: -1, who: "alice", age: minute, half: true, prompt: "none"}, "login_required: second_factor_pending"},
		{"the second factor is missing still, back from login", situation{maxAge: -1, who: "alice", age: 1, half: true, resumed: true, began: minute}, "login: second_factor_pending"},
		{"back from login without signing in", situation{maxAge: -1, resumed: true, began: minute}, "login: not_signed_in"},
		{"back from login", situation{maxAge: -1, who: "alice", age: 1, resumed: true, began: minute}, "approve"},
		{"back from login with an old session, which nothing forbids", situation{maxAge: -1, who: "alice", age: 2 * time.Hour, resumed: true, began: minute}, "approve"},

		// prompt=login.
		{"prompt=login", situation{maxAge: -1, prompt: "login", who: "alice", age: minute}, "login: prompt_login"},
		{"prompt=login, signed in this very moment", situation{maxAge: -1, prompt: "login", who: "alice"}, "login: prompt_login"},
		{"prompt=login, back without a new sign-in", situation{maxAge: -1, prompt: "login", who: "alice", age: 2 * minute, resumed: true, began: minute, foundAge: 2 * minute}, "login: prompt_login"},
		{"prompt=login, back with a new one", situation{maxAge: -1, prompt: "login", who: "alice", age: 1, resumed: true, began: minute, foundAge: 2 * minute}, "approve"},
		{"prompt=login, kept however long the other pages take", situation{maxAge: -1, prompt: "login", who: "alice", age: 25 * minute, resumed: true, began: 26 * minute, foundAge: 2 * time.Hour}, "approve"},
		{"prompt=login, nobody was signed in before", situation{maxAge: -1, prompt: "login", who: "alice", age: 1, resumed: true, began: minute}, "approve"},
		{"prompt=login, stamped at the moment the request began", situation{maxAge: -1, prompt: "login", who: "alice", age: minute, resumed: true, began: minute, foundAge: 2 * minute}, "approve"},
		{"prompt=login, stamped earlier, within the skew", situation{maxAge: -1, prompt: "login", who: "alice", age: minute + 5*time.Second, resumed: true, began: minute, foundAge: 2 * minute}, "approve"},
		{"prompt=login, stamped earlier than the skew", situation{maxAge: -1, prompt: "login", who: "alice", age: minute + 5*time.Second + 1, resumed: true, began: minute, foundAge: 2 * minute}, "login: prompt_login"},
		{"prompt=login, nobody before, stamped earlier than the skew", situation{maxAge: -1, prompt: "login", who: "alice", age: time.Hour, resumed: true, began: minute}, "login: prompt_login"},
		{"prompt=login, stamped in the second of the request", situation{maxAge: -1, prompt: "login", who: "alice", age: minute + 5*time.Second, resumed: true, began: minute - 999*time.Millisecond, foundAge: 2 * minute}, "approve"},
		{"prompt=login, another session with the same time", situation{maxAge: -1, prompt: "login", who: "alice", age: minute, id: "2", resumed: true, began: minute, foundAge: minute}, "approve"},
		{"prompt=login, another session from before the request", situation{maxAge: -1, prompt: "login", who: "alice", age: time.Hour, id: "2", resumed: true, began: minute, foundAge: time.Hour}, "login: prompt_login"},

		// What the host says of the sign-in itself.
		{"prompt=login, signed in at the millisecond of the request", situation{maxAge: -1, prompt: "login", who: "alice", age: minute, signedIn: minute, resumed: true, began: minute}, "approve"},
		{"prompt=login, signed in a millisecond before the request", situation{maxAge: -1, prompt: "login", who: "alice", age: minute, signedIn: minute + time.Millisecond, resumed: true, began: minute}, "login: prompt_login"},
		{"prompt=login, signed in now, with the time of another", situation{maxAge: -1, prompt: "login", who: "alice", age: time.Hour, signedIn: 1, resumed: true, began: minute}, "login: prompt_login"},
		{"a waiting account was chosen where nobody was active", situation{maxAge: -1, prompt: "login", who: "alice", age: minute + 4*time.Second, signedIn: minute + 4*time.Second, resumed: true, began: minute}, "login: prompt_login"},

		// Returns from the login page that are of no use.
		{"the second with a sign-in that does not count", situation{maxAge: -1, prompt: "login", who: "alice", age: time.Hour, resumed: true, began: minute, stale: 1}, "login_required: stale_sign_in"},
		{"the second, max_age", situation{maxAge: 60, who: "alice", age: time.Hour, resumed: true, began: minute, stale: 1}, "login_required: stale_sign_in"},
		{"the second, and it counts", situation{maxAge: -1, prompt: "login", who: "alice", age: 1, resumed: true, began: minute, stale: 1}, "approve"},
		{"the second, and it is young enough by now", situation{maxAge: 7200, who: "alice", age: time.Hour, resumed: true, began: minute, stale: 1}, "approve"},
		{"the second with another user than asked for", situation{maxAge: -1, subject: "alice", who: "bob", age: time.Hour, resumed: true, began: minute, stale: 1}, "login_required: other_user"},
		{"from another page it is no round", situation{maxAge: -1, prompt: "login", who: "alice", age: time.Hour, resumed: true, began: minute, stale: 1, other: true}, "login: prompt_login"},
		{"the second with nobody", situation{maxAge: -1, resumed: true, began: minute, nobody: 1}, "login: not_signed_in"},
		{"the third with nobody", situation{maxAge: -1, resumed: true, began: minute, nobody: 2}, "login_required: not_signed_in"},
		{"the third, half signed in", situation{maxAge: -1, who: "alice", half: true, resumed: true, began: minute, nobody: 2}, "login_required: second_factor_pending"},
		{"the third with nobody, from another page", situation{maxAge: -1, resumed: true, began: minute, nobody: 2, other: true}, "login: not_signed_in"},
		{"the third, and somebody", situation{maxAge: -1, who: "alice", age: time.Hour, resumed: true, began: minute, nobody: 2}, "approve"},
		{"prompt=login, within the skew but not new", situation{maxAge: -1, prompt: "login", who: "alice", age: minute + time.Second, resumed: true, began: minute, foundAge: minute + time.Second}, "login: prompt_login"},
		{"prompt=login, an older session than the one found", situation{maxAge: -1, prompt: "login", who: "bob", age: time.Hour, resumed: true, began: minute, foundAge: 2 * minute}, "login: prompt_login"},
		{"prompt=login, a sign-in stamped in the future", situation{maxAge: -1, prompt: "login", who: "alice", age: -minute, resumed: true, began: minute, foundAge: 2 * minute}, "approve"},
		{"prompt=login, a millisecond newer", situation{maxAge: -1, prompt: "login", who: "alice", age: minute - time.Millisecond, resumed: true, began: minute, foundAge: minute}, "approve"},
		{"prompt=login, less than a millisecond newer is the same", situation{maxAge: -1, prompt: "login", who: "alice", age: minute - time.Microsecond, resumed: true, began: minute, foundAge: minute - time.Microsecond/2}, "login: prompt_login"},

		// prompt=select_account.
		{"select_account without a page is a login", situation{maxAge: -1, prompt: "select_account", who: "alice", age: minute}, "login: prompt_select_account"},
		{"select_account without a page, back with a new sign-in", situation{maxAge: -1, prompt: "select_account", who: "bob", age: 1, resumed: true, began: minute, foundAge: 2 * minute}, "approve"},
		{"select_account with a page", situation{maxAge: -1, prompt: "select_account", who: "alice", age: minute, steps: "accounts"}, "accounts: interaction"},
		{"select_account with a page, done", situation{maxAge: -1, prompt: "select_account", who: "alice", age: minute, steps: "accounts+"}, "approve"},
		{"select_account and login", situation{maxAge: -1, prompt: "select_account login", who: "alice", age: minute, steps: "accounts"}, "login: prompt_login"},
		{"select_account and login, signed in anew", situation{maxAge: -1, prompt: "select_account login", who: "alice", age: 1, resumed: true, began: minute, foundAge: 2 * minute, steps: "accounts"}, "accounts: interaction"},

		// max_age.
		{"max_age not sent, an old sign-in", situation{maxAge: -1, who: "alice", age: 1000 * time.Hour}, "approve"},
		{"max_age kept", situation{maxAge: 60, who: "alice", age: minute}, "approve"},
		{"max_age exceeded by a part of a second", situation{maxAge: 60, who: "alice", age: minute + time.Millisecond}, "login: max_age"},
		{"max_age exceeded by a second", situation{maxAge: 59, who: "alice", age: minute}, "login: max_age"},
		{"max_age exceeded, prompt=none", situation{maxAge: 59, prompt: "none", who: "alice", age: minute}, "login_required: max_age"},
		{"max_age kept, prompt=none", situation{maxAge: 60, prompt: "none", who: "alice", age: minute}, "approve"},
		{"max_age=0 is prompt=login", situation{maxAge: 0, who: "alice"}, "login: max_age"},
		{"max_age=0, prompt=none", situation{maxAge: 0, prompt: "none", who: "alice"}, "login_required: max_age"},
		{"max_age=0, back with a new sign-in", situation{maxAge: 0, who: "alice", age: 1, resumed: true, began: minute, foundAge: 2 * minute}, "approve"},
		{"max_age=0, back without", situation{maxAge: 0, who: "alice", age: 2 * minute, resumed: true, began: minute, foundAge: 2 * minute}, "login: max_age"},
		{"max_age=1, consent took longer than that", situation{maxAge: 1, who: "alice", age: minute, resumed: true, began: 2 * minute, foundAge: time.Hour}, "approve"},
		{"max_age of the largest int64", situation{maxAge: math.MaxInt64, who: "alice", age: 1000 * time.Hour}, "approve"},
		{"max_age that would overflow a Duration", situation{maxAge: 9223372037, who: "alice", age: minute}, "approve"},
		{"max_age, signed in slightly in the future", situation{maxAge: 60, who: "alice", age: -5 * time.Second}, "approve"},
		{"max_age, signed in in the future beyond the skew", situation{maxAge: 60, who: "alice", age: -6 * time.Second}, "login: max_age"},
		{"max_age, newer but stale", situation{maxAge: 60, who: "alice", age: time.Hour, resumed: true, began: minute, foundAge: 2 * time.Hour}, "login: max_age"},
		{"max_age, newer but stale, still young enough", situation{maxAge: 7200, who: "alice", age: time.Hour, resumed: true, began: minute, foundAge: 2 * time.Hour}, "approve"},

		// Another user.
		{"the user that was asked for", situation{maxAge: -1, subject: "alice", who: "alice", age: minute}, "approve"},
		{"another user", situation{maxAge: -1, subject: "alice", who: "bob", age: minute}, "login: other_user"},
		{"another user, prompt=none", situation{maxAge: -1, subject: "alice", who: "bob", age: minute, prompt: "none"}, "login_required: other_user"},
		{"another user, in the other case", situation{maxAge: -1, subject: "alice", who: "Alice", age: minute}, "login: other_user"},
		{"another user, back without signing in", situation{maxAge: -1, subject: "alice", who: "bob", age: 2 * minute, resumed: true, began: minute, foundAge: 2 * minute}, "login: other_user"},
		{"another user has signed in", situation{maxAge: -1, subject: "alice", who: "bob", age: 1, resumed: true, began: minute, foundAge: 2 * minute}, "login_required: other_user"},
		{"another account was chosen, signed in before the request", situation{maxAge: -1, subject: "alice", who: "bob", age: 2 * minute, resumed: true, began: minute, foundAge: time.Hour, foundWho: "carol"}, "login: other_user"},
		{"another account was chosen, prompt=login", situation{maxAge: -1, prompt: "login", who: "bob", age: 2 * minute, resumed: true, began: minute, foundAge: time.Hour, foundWho: "alice"}, "login: prompt_login"},
		{"another account was chosen, signed in within the skew before the request", situation{maxAge: -1, prompt: "login", who: "bob", age: minute + time.Second, signedIn: minute + time.Second, resumed: true, began: minute, foundAge: time.Hour, foundWho: "alice"}, "login: prompt_login"},
		{"another account signed in anew, prompt=login", situation{maxAge: -1, prompt: "login", who: "bob", age: 1, resumed: true, began: minute, foundAge: 2 * time.Hour, foundWho: "alice"}, "approve"},
		{"another account was chosen, max_age", situation{maxAge: 60, who: "bob", age: 2 * minute, resumed: true, began: minute, foundAge: time.Hour, foundWho: "alice"}, "login: max_age"},
		{"another user has signed in where nobody was", situation{maxAge: -1, subject: "alice", who: "bob", age: 1, resumed: true, began: minute}, "login_required: other_user"},
		{"the right user has signed in", situation{maxAge: -1, subject: "alice", who: "alice", age: 1, resumed: true, began: minute, foundAge: 2 * minute}, "approve"},
		{"another user, half signed in", situation{maxAge: -1, subject: "alice", who: "bob", age: 1, half: true, resumed: true, began: minute}, "login: second_factor_pending"},
		{"another user, policy and steps do not matter", situation{maxAge: -1, subject: "alice", who: "bob", age: minute, forbidden: true, steps: "consent!"}, "login: other_user"},

		// The user's no.
		{"denied", situation{maxAge: -1, who: "alice", age: minute, denied: true, resumed: true}, "access_denied: denied"},
		{"denied by nobody", situation{maxAge: -1, denied: true, resumed: true}, "access_denied: denied"},
		{"denied, with everything else wrong too", situation{maxAge: 0, prompt: "login", subject: "x", who: "bob", half: true, denied: true, forbidden: true, steps: "consent!"}, "access_denied: denied"},

		// The host's policy.
		{"forbidden", situation{maxAge: -1, who: "alice", age: minute, forbidden: true}, "access_denied: forbidden"},
		{"forbidden, prompt=none", situation{maxAge: -1, who: "alice", age: minute, forbidden: true, prompt: "none"}, "access_denied: forbidden"},
		{"forbidden comes before the steps", situation{maxAge: -1, who: "alice", age: minute, forbidden: true, steps: "consent!"}, "access_denied: forbidden"},
		{"forbidden comes after the login", situation{maxAge: -1, who: "alice", age: minute, forbidden: true, prompt: "login"}, "login: prompt_login"},

		// The steps.
		{"a step that is not needed", situation{maxAge: -1, who: "alice", age: minute, steps: "terms"}, "approve"},
		{"a step", situation{maxAge: -1, who: "alice", age: minute, steps: "terms!"}, "terms: interaction"},
		{"a step that is done", situation{maxAge: -1, who: "alice", age: minute, steps: "terms!+"}, "approve"},
		{"the first of two", situation{maxAge: -1, who: "alice", age: minute, steps: "consent! terms!"}, "consent: interaction"},
		{"the second of two", situation{maxAge: -1, who: "alice", age: minute, steps: "consent!+ terms!"}, "terms: interaction"},
		{"the second, where the first is not needed", situation{maxAge: -1, who: "alice", age: minute, steps: "consent terms!"}, "terms: interaction"},
		{"both done", situation{maxAge: -1, who: "alice", age: minute, steps: "consent!+ terms!+"}, "approve"},
		{"a step under prompt=none", situation{maxAge: -1, prompt: "none", who: "alice", age: minute, steps: "terms!"}, "interaction_required: interaction"},
		{"consent under prompt=none", situation{maxAge: -1, prompt: "none", who: "alice", age: minute, steps: "consent!"}, "consent_required: interaction"},
		{"account choice under prompt=none", situation{maxAge: -1, prompt: "none", who: "alice", age: minute, steps: "accounts!"}, "account_selection_required: interaction"},
		{"the first of two under prompt=none", situation{maxAge: -1, prompt: "none", who: "alice", age: minute, steps: "terms! consent!"}, "interaction_required: interaction"},
		{"a step is not asked about before the login", situation{maxAge: -1, steps: "consent!"}, "login: not_signed_in"},

		// prompt=consent.
		{"prompt=consent, though it was given", situation{maxAge: -1, prompt: "consent", who: "alice", age: minute, steps: "consent"}, "consent: interaction"},
		{"prompt=consent, given now", situation{maxAge: -1, prompt: "consent", who: "alice", age: minute, steps: "consent+"}, "approve"},
		{"prompt=consent without a page", situation{maxAge: -1, prompt: "consent", who: "alice", age: minute}, "consent_required: interaction"},
		{"prompt=consent without a page, nobody signed in", situation{maxAge: -1, prompt: "consent"}, "login: not_signed_in"},
		{"prompt=login consent", situation{maxAge: -1, prompt: "login consent", who: "alice", age: minute, steps: "consent"}, "login: prompt_login"},
		{"prompt=login consent, signed in anew", situation{maxAge: -1, prompt: "login consent", who: "alice", age: 1, resumed: true, began: minute, foundAge: 2 * minute, steps: "consent"}, "consent: interaction"},
		{"prompt=login consent, both done", situation{maxAge: -1, prompt: "consent login", who: "alice", age: 1, resumed: true, began: minute, foundAge: 2 * minute, steps: "consent+"}, "approve"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if got := c.facts().decide().word(); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// A host without authentication times cannot prove a new sign-in, and must not get
// round the rules that ask for one, nor loop.
func TestASessionWithoutAnAuthTime(t *testing.T) {
	for _, c := range []struct {
		rule, prompt string
		maxAge       int64
		resumed      bool
		want         string
	}{
		{"nothing asks for it", "", -1, false, "approve"},
		{"prompt=login", "login", -1, false, "login: prompt_login"},
		{"max_age", "", 60, false, "login: max_age"},
		{"max_age longer than mankind can count", "", math.MaxInt64, false, "login: max_age"},
		{"prompt=login, back from it", "login", -1, true, "login: prompt_login"},
		{"max_age, back from it", "", math.MaxInt64, true, "login: max_age"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			f := situation{prompt: c.prompt, maxAge: c.maxAge, who: "alice", resumed: c.resumed}.facts()
			f.session.AuthTime = time.Time{}
			if got := f.decide().word(); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestASessionWithoutASubjectIsNobody(t *testing.T) {
	f := situation{maxAge: -1, who: "alice"}.facts()
	f.session.Subject = ""
	if got := f.decide().word(); got != "login: not_signed_in" {
		t.Error(got)
	}
}

// FuzzDecide states what must hold whatever the facts are.
func FuzzDecide(f *testing.F) {
	for seed := range uint64(500) {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, a, b uint64) {
		facts := randomFacts(rand.New(rand.NewPCG(a, b)))
		d := facts.decide()
		if again := facts.decide(); again != d {
			t.Fatalf("not pure: %+v, then %+v", d, again)
		}
		for _, broken := range brokenRules(facts, d) {
			t.Errorf("%s: %s for %+v, request %+v, session %+v, resumed %+v", broken, d.word(), facts, facts.request, facts.session, facts.resumed)
		}
	})
}

// brokenRules are written from the specification, each by itself, and not in the
// way of the code.
func brokenRules(f *facts, d decision) (broken []string) {
	rule := func(text string, holds bool) {
		if !holds {
			broken = append(broken, text)
		}
	}
	s, r := f.session, f.request
	approved, asked := d.Outcome == approve, func(p string) bool { return r.Prompts(p) }

	rule("approved for nobody", !approved || s.SignedIn())
	rule("approved against the user's no", !approved || !f.denied)
	rule("approved against the host's policy", !approved || !f.forbidden)
	rule("approved for another user", !approved || r.Subject == "" || s.Subject == r.Subject)
	rule("a page under prompt=none", d.Outcome != interact || !asked("none"))
	rule("a refusal without a code", d.Outcome != refuse || d.Error != "")
	rule("a code without a refusal", d.Outcome == refuse || d.Error == "")
	rule("a page without a name", (d.Outcome == interact) == (d.Interaction != ""))
	rule("no reason", d.Reason != "")
	rule("server_error", d.Error != oautherr.ServerError)
	rule("a stale sign-in that is no login_required", d.Reason != ReasonStaleSignIn || d.Error == oautherr.LoginRequired)
	for _, step := range f.steps {
		needed := (step.needed || step.prompt != "" && asked(step.prompt)) && !step.done
		rule("approved without the step "+step.name, !approved || !needed)
		rule("sent to "+step.name+", which is not needed", d.Interaction != step.name || needed)
	}
	rule("a step before the login", d.Reason != ReasonInteraction || s.SignedIn())

	fresh := f.resumed != nil && s.SignedIn() && !s.AuthTime.Before(f.resumed.since.Truncate(time.Second).Add(-f.clockSkew)) &&
		(s.SignedInAt.IsZero() || !s.SignedInAt.Before(f.resumed.since.Truncate(time.Millisecond)))
	if f.resumed != nil && s.SignedIn() {
		for _, found := range f.resumed.found {
			fresh = fresh && (found.key != signInKey(s) || s.AuthTime.UnixMilli() > found.authTime.UnixMilli())
		}
	}
	rule("prompt=login without a new sign-in", !approved || !asked("login") || fresh)
	rule("max_age=0 without a new sign-in", !approved || r.MaxAge == nil || *r.MaxAge != 0 || fresh)
	if approved && r.MaxAge != nil && !fresh {
		rule("a sign-in older than max_age", float64(f.now.Unix()-s.AuthTime.Unix()) <= float64(*r.MaxAge))
	}
	login := d.Interaction == LoginInteraction
	rule("sent to login again after a new sign-in: a loop", !login || !fresh || d.Reason == ReasonNotSignedIn)
	if r := f.resumed; r != nil && r.fromLogin {
		rule("sent to login the third time with a sign-in that does not count", !login || !s.SignedIn() || r.stale == 0)
		rule("sent to login the fourth time with nobody", !login || s.SignedIn() || r.nobody < 2)
	}
	return broken
}

func randomFacts(r *rand.Rand) *facts {
	chance := func() bool { return r.IntN(2) == 0 }
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	ages := []time.Duration{-time.Hour, -6 * time.Second, -5 * time.Second, -time.Millisecond, 0, time.Millisecond, time.Second, 5 * time.Second, minute, time.Hour, 1 << 55}
	s := situation{
		prompt:    pick("", "", "none", "login", "consent", "select_account", "login consent", "login select_account", "consent select_account"),
		maxAge:    []int64{-1, -1, 0, 1, 59, 60, 3600, math.MaxInt64}[r.IntN(8)],
		subject:   pick("", "", "alice", "bob"),
		who:       pick("", "alice", "alice", "bob"),
		age:       ages[r.IntN(len(ages))],
		half:      r.IntN(4) == 0,
		resumed:   chance(),
		began:     ages[4+r.IntN(6)],
		foundAge:  ages[r.IntN(len(ages))],
		foundWho:  pick("", "", "alice", "bob"),
		id:        pick("", "2"),
		signedIn:  ages[r.IntN(len(ages))],
		stale:     r.IntN(3),
		nobody:    r.IntN(4),
		other:     chance(),
		denied:    r.IntN(8) == 0,
		forbidden: r.IntN(6) == 0,
	}
	for _, name := range []string{"consent", "accounts", "terms"} {
		if chance() {
			s.steps += " " + name + pick("", "!", "+", "!+")
		}
	}
	return s.facts()
}

// Where claims makes a level of authentication essential, another is no sign-in (OpenID
// Connect Core 1.0 §5.5.1.1).
func TestAnEssentialLevel(t *testing.T) {
	login := decision{Outcome: interact, Reason: ReasonACR, Interaction: LoginInteraction}
	unmet := decision{Outcome: refuse, Reason: ReasonACR, Error: oautherr.UnmetAuthenticationRequirements}
	ok := decision{Outcome: approve, Reason: ReasonSatisfied}
	before, after := testStart.Add(-time.Hour), testStart.Add(-time.Second)
	back := &resumed{since: testStart.Add(-time.Minute), fromLogin: true, found: []signInFound{{
		key: signInKey(&session.Session{ID: "1", Subject: "alice"}), authTime: before,
	}}}
	for _, c := range []struct {
		rule, essential, acr string
		authTime             time.Time
		resumed              *resumed
		prompt               string
		want                 decision
	}{
		{"none is demanded", "", "1", before, nil, "", ok},
		{"reached", "1 2", "2", before, nil, "", ok},
		{"not reached", "2", "1", before, nil, "", login},
		{"not stated", "2", "", before, nil, "", login},
		{"not reached, and no page may be shown", "2", "1", before, nil, "none", decision{Outcome: refuse, Reason: ReasonACR, Error: oautherr.LoginRequired}},
		{"came back without signing in", "2", "1", before, back, "", login},
		{"reached by a new sign-in", "2", "2", after, back, "", ok},
		{"a new sign-in does not reach it either", "2", "1", after, back, "", unmet},
		{"reached, and prompt=login", "2", "2", before, nil, "login", decision{Outcome: interact, Reason: ReasonPromptLogin, Interaction: LoginInteraction}},
		{"reached by a new sign-in, and prompt=login", "2", "2", after, back, "login", ok},
	} {
		t.Run(c.rule, func(t *testing.T) {
			f := facts{
				request:   &Request{EssentialACR: strings.Fields(c.essential), Prompt: strings.Fields(c.prompt)},
				session:   &session.Session{ID: "1", Subject: "alice", AuthTime: c.authTime, ACR: c.acr},
				now:       testStart,
				clockSkew: 5 * time.Second,
				resumed:   c.resumed,
			}
			if got := f.decide(); got != c.want {
				t.Errorf("%+v, want %+v", f.decide(), c.want)
			}
		})
	}
}
