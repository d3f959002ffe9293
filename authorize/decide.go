package authorize

import (
	"slices"
	"strconv"
	"time"

	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// facts are all that a decision depends on.
type facts struct {
	request      *Request
	session      *session.Session // one that is not SignedIn is nobody
	interactions []Interaction    // of the configuration: which prompts have a page

	// now is the time of the decision, clockSkew by how much the clock that stamps
	// sign-ins may lag behind.
	now       time.Time
	clockSkew time.Duration

	// resumed says what was known when the request was last sent to a page; nil on the
	// first visit. registered is true if prompt=create was answered already: this request
	// began anew when somebody was signed in.
	resumed    *resumed
	registered bool

	// denied is true if the user said no on one of the host's pages. The rest is asked
	// only where the sign-in is what the request wants: forbidden is true if Config.Allow
	// said no, steps are the interactions after the login, in order.
	denied    bool
	forbidden bool
	steps     []step
}

// resumed is what the waiting request says when it comes back.
type resumed struct {
	// since is when the request arrived, in milliseconds.
	since time.Time

	// found are the sign-ins that cannot be new: the one of the first visit and those
	// with which the browser was sent to the login page. There are 8 at most.
	found []signInFound

	// fromLogin is true if the page was the login page. stale is how often the browser
	// has come back from there before with a sign-in that did not count as new, nobody
	// how often with nobody. Both begin again when it was sent to another page.
	fromLogin bool
	stale     int
	nobody    int
}

// signInFound stands for one sign-in of one user as it was found: its signInKey, and its
// AuthTime in milliseconds.
type signInFound struct {
	key      string
	authTime time.Time
}

// step is the state of one [Interaction] for this request and session: needed is what the
// interaction itself says, done is true if this session completed it for this request.
type step struct {
	name, prompt string
	error        oautherr.Code
	needed, done bool
}

// outcome is what to do.
type outcome int

const (
	refuse   outcome = iota // with decision.Error, sent to the client. It is the zero value.
	interact                // on the page of decision.Interaction
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

// decide decides about a valid request. It is pure: the same facts give the same decision,
// and nothing else is looked at.
//
// The order is that of the decision tree: the user's no, then who is signed in and how
// recently (signIn), then the host's policy, then its further interactions (rest).
// Whatever would need a page is an error under prompt=none (OpenID Connect Core 1.0
// §3.1.2.6) and for a request out of band, whose program can show none.
func (f *facts) decide() decision {
	if d := f.signIn(); d.Outcome != approve {
		return d
	}
	return f.rest()
}

// signIn decides the first half. To approve means that the second may be asked for.
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
		// There is no page on which the user could agree.
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

// decide takes both halves. An unvetted client is not answered without a question, which
// takes a page on which to ask it.
func (h *Handler) decide(v *visit) {
	if v.decision.Outcome == approve {
		v.decision = v.facts.rest()
	}
	if v.client.Unvetted && h.config.Consent == nil && v.decision.Outcome != refuse {
		v.decision = decision{Outcome: refuse, Reason: ReasonNoConsentPage, Error: oautherr.ServerError}
	}
}

// orErrorWithoutPages turns a page into its error where no page may be shown.
func (f *facts) orErrorWithoutPages(d decision, code oautherr.Code) decision {
	if d.Outcome == interact && !mayShowPages(f.request) {
		return decision{Outcome: refuse, Reason: d.Reason, Error: code}
	}
	return d
}

// mayShowPages reports whether the user can be asked anything.
func mayShowPages(r *Request) bool { return !slices.Contains(r.Prompt, "none") && !r.OutOfBand }

// login reports whether the sign-in is what the request asks for, and if not what
// to do.
//
// A rule that asks for a new sign-in is kept by one that counts as new, and stays
// kept however long the pages after it take. Who comes back from the login page with
// a sign-in that does not count sees it once more, and then the client is told: an
// endless loop would help nobody. So does who signs in anew as another user, or
// below the level that is demanded.
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

// maxFound is how many sign-ins are remembered that cannot be new.
const maxFound = 8

// loginPage shows the login page, or refuses where it has been of no use: the second
// time in a row with a sign-in that does not count, the third with nobody, and where
// there is no room to remember one more sign-in.
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

// newSignInWanted returns why the request asks for a new sign-in, or nothing.
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

// tooOld compares whole seconds, which cannot overflow as a time.Duration would.
// max_age=0 means prompt=login, and so does a sign-in that lies in the future. A
// sign-in without a time is older than anything.
func (f *facts) tooOld(maxAge int64) bool {
	age := f.now.Unix() - f.session.AuthTime.Unix()
	return maxAge == 0 || f.session.AuthTime.IsZero() || age > maxAge || age < -int64(f.clockSkew/time.Second)
}

// newSignIn reports whether the user has signed in since the request arrived, on which
// it comes back now.
func (f *facts) newSignIn() bool { return f.notNew() == "" }

// What keeps a sign-in from counting as new: the time that did not move.
const (
	foundBefore      = "Session.AuthTime is not later than when this sign-in was found"
	authTimeZero     = "Session.AuthTime is zero"
	authTimeBefore   = "Session.AuthTime is before the request"
	signedInAtBefore = "Session.SignedInAt is before the request"
)

// notNew returns what keeps the sign-in from counting as new, or nothing. It has to be
// none of those found, or later than when it was found. Its AuthTime may lie before
// the request by the rest of a second, because many hosts keep seconds, and by the
// clock skew. Where the host says when this browser signed in, that has to be after
// the request: an account that is merely chosen is never new.
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

// foundAs returns the sign-in if it is one of those that were found.
func (r *resumed) foundAs(s *session.Session) *signInFound {
	key := signInKey(s)
	for i := range r.found {
		if r.found[i].key == key {
			return &r.found[i]
		}
	}
	return nil
}

// signInKey stands for one sign-in of one user: its id, or its time where the host
// has none. It is a hash.
func signInKey(s *session.Session) string {
	if s.ID != "" {
		return shortHash("id " + strconv.Itoa(len(s.ID)) + " " + s.ID + " " + s.Subject)
	}
	return shortHash("auth_time " + strconv.FormatInt(s.AuthTime.UnixMilli(), 10) + " " + s.Subject)
}
