package authorize

import (
	"slices"
	"strconv"
	"time"

	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// facts are all inputs of a decision.
type facts struct {
	request      *Request
	session      *session.Session // never nil; if it is not SignedIn, nobody is signed in
	interactions []Interaction    // of the configuration; they say which prompts have a page

	// now is the time of the decision. clockSkew is how far the clock that sets AuthTime
	// may be behind.
	now       time.Time
	clockSkew time.Duration

	// resumed says what was known when the request was last sent to a page; nil on the
	// first visit. registered is true if prompt=create counts as done: somebody was signed
	// in when this request started anew.
	resumed    *resumed
	registered bool

	// denied is true if the user refused on one of the host's pages. forbidden and steps
	// are set only if the sign-in is one that the request accepts: forbidden is true if
	// Config.Allow returned false, steps are the interactions after the login, in order.
	denied    bool
	forbidden bool
	steps     []step
}

// resumed has the facts of the waiting request when it comes back.
type resumed struct {
	// since is when the request arrived, in milliseconds.
	since time.Time

	// found are the sign-ins that cannot count as new: that of the first visit, and those
	// with which the browser was sent to the login page. There are at most 8.
	found []signInFound

	// fromLogin is true if the browser comes back from the login page. stale is how often
	// it came back from there before with a sign-in that did not count as new. nobody is
	// how often it came back with nobody signed in. Both start again at zero when the
	// browser was sent to another page.
	fromLogin bool
	stale     int
	nobody    int
}

// signInFound is a sign-in of a user at the time when it was found: its signInKey, and its
// AuthTime in milliseconds.
type signInFound struct {
	key      string
	authTime time.Time
}

// step is the state of one [Interaction] for this request and session: needed is what the
// interaction itself says; done is true if this session completed it for this request.
type step struct {
	name, prompt string
	error        oautherr.Code
	needed, done bool
}

// outcome is what to do.
type outcome int

const (
	refuse   outcome = iota // send decision.Error to the client. It is the zero value.
	interact                // send the user to the page of decision.Interaction
	approve                 // issue a code, or nothing for response_type=none
)

// decision is what to do, and why.
type decision struct {
	Outcome     outcome
	Reason      Reason
	Interaction string        // for interact: LoginInteraction or the name of a step
	Error       oautherr.Code // for refuse
}

// LoginInteraction is the name of the login, the first interaction of all.
const LoginInteraction = "login"

// decide decides about a valid request. It is pure: the decision depends on the facts and
// on nothing else.
//
// The order is: the user's refusal, then who is signed in and how recently (signIn), then
// the host's policy, then its further interactions (rest). If a page is needed, the result
// is an error under prompt=none (OpenID Connect Core 1.0 §3.1.2.6) and for a request out of
// band, whose program cannot show a page.
func (f *facts) decide() decision {
	if d := f.signIn(); d.Outcome != approve {
		return d
	}
	return f.rest()
}

// signIn decides the first half. Its approve means that the second half comes next.
func (f *facts) signIn() decision {
	if f.denied {
		return decision{Outcome: refuse, Reason: ReasonDenied, Error: oautherr.AccessDenied}
	}
	if d, ok := f.login(); !ok {
		return f.orErrorWithoutPages(d, oautherr.LoginRequired)
	}
	return decision{Outcome: approve, Reason: ReasonSatisfied}
}

// rest decides the second half.
func (f *facts) rest() decision {
	if f.forbidden {
		return decision{Outcome: refuse, Reason: ReasonForbidden, Error: oautherr.AccessDenied}
	}
	if slices.Contains(f.request.Prompt, "consent") && !f.hasPageFor("consent") {
		// The host has no page on which the user could agree.
		return decision{Outcome: refuse, Reason: ReasonInteraction, Error: oautherr.ConsentRequired}
	}
	for _, step := range f.steps {
		asked := step.prompt != "" && slices.Contains(f.request.Prompt, step.prompt)
		if (step.needed || asked) && !step.done {
			d := decision{Outcome: interact, Reason: ReasonInteraction, Interaction: step.name}
			return f.orErrorWithoutPages(d, step.error)
		}
	}
	return decision{Outcome: approve, Reason: ReasonSatisfied}
}

// decide combines both halves. An unvetted client is never approved without the user's
// consent, and that needs a consent page.
func (h *Handler) decide(v *visit) {
	if v.decision.Outcome == approve {
		v.decision = v.facts.rest()
	}
	if v.client.Unvetted && h.config.Consent == nil && v.decision.Outcome != refuse {
		v.decision = decision{Outcome: refuse, Reason: ReasonNoConsentPage, Error: oautherr.ServerError}
	}
}

// orErrorWithoutPages turns a decision for a page into an error if no page may be shown.
func (f *facts) orErrorWithoutPages(d decision, code oautherr.Code) decision {
	if d.Outcome == interact && !mayShowPages(f.request) {
		return decision{Outcome: refuse, Reason: d.Reason, Error: code}
	}
	return d
}

// mayShowPages reports whether the user can be asked anything.
func mayShowPages(r *Request) bool { return !slices.Contains(r.Prompt, "none") && !r.OutOfBand }

// login reports whether the request accepts the sign-in, and if not what to do.
//
// A rule that asks for a new sign-in is satisfied by a sign-in that counts as new, and
// stays satisfied however long the later pages take. A user who comes back from the login
// page with a sign-in that does not count sees the page once more. After that the client
// gets an error, so that there is no endless loop. A new sign-in as another user, or below
// the required level, is an error for the client at once.
func (f *facts) login() (d decision, ok bool) {
	if !f.session.SignedIn() {
		if halfSignedIn(f.session) {
			return f.loginPage(ReasonSecondFactorPending), false
		}
		return f.loginPage(ReasonNotSignedIn), false
	}
	reason := f.newSignInWanted()
	isNew := f.resumed != nil && f.newSignIn()
	switch {
	case f.request.Subject != "" && f.session.Subject != f.request.Subject:
		if isNew {
			return decision{Outcome: refuse, Reason: ReasonOtherUser, Error: oautherr.LoginRequired}, false
		}
		return f.loginPage(ReasonOtherUser), false
	case reason == "":
		return decision{}, true
	case reason == ReasonACR && isNew:
		return decision{Outcome: refuse, Reason: reason, Error: oautherr.UnmetAuthenticationRequirements}, false
	case isNew:
		return decision{}, true
	}
	return f.loginPage(reason), false
}

// maxFound is how many sign-ins a request remembers that cannot count as new.
const maxFound = 8

// loginPage shows the login page, or refuses if showing it again is useless: when the user
// came back twice in a row with a sign-in that does not count, or three times with nobody
// signed in, or when there is no room to remember one more sign-in.
func (f *facts) loginPage(reason Reason) decision {
	enough := false
	switch r := f.resumed; {
	case r == nil:
	case !f.session.SignedIn():
		enough = r.fromLogin && r.nobody >= 2
	default:
		enough = r.fromLogin && r.stale >= 1 || r.foundAs(f.session) == nil && len(r.found) >= maxFound
	}
	if !enough {
		return decision{Outcome: interact, Reason: reason, Interaction: LoginInteraction}
	}
	d := decision{Outcome: refuse, Reason: reason, Error: oautherr.LoginRequired}
	switch {
	case reason == ReasonACR:
		d.Error = oautherr.UnmetAuthenticationRequirements
	case f.session.SignedIn() && reason != ReasonOtherUser:
		d.Reason = ReasonStaleSignIn
	}
	return d
}

// newSignInWanted returns why the request asks for a new sign-in. Empty: it does not.
func (f *facts) newSignInWanted() Reason {
	prompt := f.request.Prompt
	switch {
	case len(f.request.EssentialACR) > 0 && !slices.Contains(f.request.EssentialACR, f.session.ACR):
		return ReasonACR
	case slices.Contains(prompt, "login"):
		return ReasonPromptLogin
	case slices.Contains(prompt, "create") && !f.registered:
		return ReasonPromptCreate
	case slices.Contains(prompt, "select_account") && !f.hasPageFor("select_account"):
		return ReasonPromptSelectAccount
	case f.request.MaxAge != nil && f.tooOld(*f.request.MaxAge):
		return ReasonMaxAge
	case f.request.hintUnverified:
		return ReasonHint
	}
	return ""
}

func (f *facts) hasPageFor(prompt string) bool {
	for _, x := range f.interactions {
		if x.Prompt == prompt {
			return true
		}
	}
	return false
}

// tooOld reports whether the sign-in is older than max_age. It compares whole seconds,
// which cannot overflow as a time.Duration could. With max_age=0 every sign-in is too old,
// as with prompt=login. So is a sign-in that is in the future by more than the clock skew,
// or one without a time.
func (f *facts) tooOld(maxAge int64) bool {
	age := f.now.Unix() - f.session.AuthTime.Unix()
	return maxAge == 0 || f.session.AuthTime.IsZero() || age > maxAge || age < -int64(f.clockSkew/time.Second)
}

// newSignIn reports whether the user has signed in since the request arrived.
func (f *facts) newSignIn() bool { return f.notNew() == "" }

// The reasons why a sign-in does not count as new, for the log.
const (
	foundBefore      = "Session.AuthTime is not later than when this sign-in was found"
	authTimeZero     = "Session.AuthTime is zero"
	authTimeBefore   = "Session.AuthTime is before the request"
	signedInAtBefore = "Session.SignedInAt is before the request"
)

// notNew returns why the sign-in does not count as new, or "" if it does. A new sign-in is
// none of those found, or has a later AuthTime than when it was found. Its AuthTime may be
// before the request by a fraction of a second, because many hosts keep whole seconds, and
// by the clock skew. If the host sets SignedInAt, that must be after the request: an
// account that is only chosen is never new.
func (f *facts) notNew() string {
	s, since := f.session, f.resumed.since
	found := f.resumed.foundAs(s)
	switch {
	case s.AuthTime.IsZero():
		return authTimeZero
	case s.AuthTime.Before(since.Truncate(time.Second).Add(-f.clockSkew)):
		return authTimeBefore
	case !s.SignedInAt.IsZero() && s.SignedInAt.UnixMilli() < since.UnixMilli():
		return signedInAtBefore
	case found != nil && s.AuthTime.UnixMilli() <= found.authTime.UnixMilli():
		return foundBefore
	}
	return ""
}

// foundAs returns the entry of the sign-in among those found, or nil.
func (r *resumed) foundAs(s *session.Session) *signInFound {
	key := signInKey(s)
	for i := range r.found {
		if r.found[i].key == key {
			return &r.found[i]
		}
	}
	return nil
}

// signInKey identifies one sign-in of one user. It is a hash of the session's id or, if the
// host sets none, of its AuthTime.
func signInKey(s *session.Session) string {
	if s.ID != "" {
		return shortHash("id " + strconv.Itoa(len(s.ID)) + " " + s.ID + " " + s.Subject)
	}
	return shortHash("auth_time " + strconv.FormatInt(s.AuthTime.UnixMilli(), 10) + " " + s.Subject)
}
