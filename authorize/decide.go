package authorize

import (
	"slices"
	"strconv"
	"time"

	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// Facts are all that a decision depends on. Hosts fill them in only in tests of
// their own.
type Facts struct {
	// Request is a valid request. It must not be nil.
	Request *Request

	// Session is who is signed in. One that is not SignedIn is nobody.
	Session *session.Session

	// Now is the time of the decision, ClockSkew by how much the clock that stamps
	// sign-ins may lag behind.
	Now       time.Time
	ClockSkew time.Duration

	// Resumed says what was known when the request was first sent to a page; nil
	// on the first visit.
	Resumed *Resumed

	// Registered is true if prompt=create was answered already: this request began
	// anew when somebody was signed in.
	Registered bool

	// Denied is true if the user said no on one of the host's pages, Forbidden if
	// [Config].Allow did.
	Denied    bool
	Forbidden bool

	// Steps are the host's interactions after the login, in order.
	Steps []Step
}

// Resumed is what was sealed when the request was last sent to a page.
type Resumed struct {
	// Since is when the request arrived, in milliseconds.
	Since time.Time

	// Found are the sign-ins that cannot be new: the one of the first visit and those
	// with which the browser was sent to the login page. There are 8 at most.
	Found []SignIn

	// FromLogin is true if the page was the login page. Stale is how often in a row
	// the browser has come back from there before with a sign-in that did not count
	// as new, Nobody how often with nobody.
	FromLogin bool
	Stale     int
	Nobody    int
}

// SignIn stands for one sign-in of one user as it was found.
type SignIn struct {
	// Key is [SignInKey] of the session, AuthTime the session's in milliseconds.
	Key      string
	AuthTime time.Time
}

// Step is the state of one [Interaction] for this request and session.
type Step struct {
	// Name, Prompt and Error are those of the interaction. Error must be set: the
	// defaults of [New] are not applied here.
	Name   string
	Prompt string
	Error  oautherr.Code

	// Needed is what the interaction itself says. Done is true if this session
	// completed it for this request.
	Needed bool
	Done   bool
}

// Outcome is what to do.
type Outcome int

const (
	// Refuse with Decision.Error, sent to the client. It is the zero value.
	Refuse Outcome = iota
	// Interact on the page of Decision.Interaction.
	Interact
	// Approve: issue a code, or nothing for response_type=none.
	Approve
)

// Decision is what to do, and why.
type Decision struct {
	Outcome     Outcome
	Reason      Reason
	Interaction string        // for Interact: LoginInteraction or the name of a step
	Error       oautherr.Code // for Refuse
}

// LoginInteraction is the name of the login, the first interaction of all.
const LoginInteraction = "login"

// Decide decides about a valid request. It is pure: the same facts give the same
// decision, and nothing else is looked at.
//
// The order is that of the decision tree: the user's no, then who is signed in and
// how recently, then the host's policy, then its further interactions. Whatever
// would need a page is an error under prompt=none (OpenID Connect Core 1.0
// §3.1.2.6) and for a request out of band, whose program can show none.
func Decide(f Facts) Decision {
	if f.Denied {
		return Decision{Outcome: Refuse, Reason: ReasonDenied, Error: oautherr.AccessDenied}
	}
	if d, ok := f.login(); !ok {
		return f.ifPagesMayBeShown(d, oautherr.LoginRequired)
	}
	if f.Forbidden {
		return Decision{Outcome: Refuse, Reason: ReasonForbidden, Error: oautherr.AccessDenied}
	}
	if slices.Contains(f.Request.Prompt, "consent") && !f.hasStepFor("consent") {
		// There is no page on which the user could agree.
		return Decision{Outcome: Refuse, Reason: ReasonStep, Error: oautherr.ConsentRequired}
	}
	for _, step := range f.Steps {
		asked := step.Prompt != "" && f.Request.Prompts(step.Prompt)
		if (step.Needed || asked) && !step.Done {
			d := Decision{Outcome: Interact, Reason: ReasonStep, Interaction: step.Name}
			return f.ifPagesMayBeShown(d, step.Error)
		}
	}
	return Decision{Outcome: Approve, Reason: ReasonSatisfied}
}

// ifPagesMayBeShown turns a page into its error where no page may be shown.
func (f Facts) ifPagesMayBeShown(d Decision, code oautherr.Code) Decision {
	if d.Outcome == Interact && !mayShowPages(f.Request) {
		return Decision{Outcome: Refuse, Reason: d.Reason, Error: code}
	}
	return d
}

// mayShowPages reports whether the user can be asked anything.
func mayShowPages(r *Request) bool { return !r.Prompts("none") && !r.OutOfBand }

// login reports whether the sign-in is what the request asks for, and if not what
// to do.
//
// A rule that asks for a new sign-in is kept by one that counts as new, and stays
// kept however long the pages after it take. Who comes back from the login page with
// a sign-in that does not count sees it once more, and then the client is told: an
// endless loop would help nobody. So does who signs in anew as another user, or
// below the level that is demanded.
func (f Facts) login() (d Decision, ok bool) {
	if !f.Session.SignedIn() {
		if halfSignedIn(f.Session) {
			return f.loginPage(ReasonSecondFactorPending), false
		}
		return f.loginPage(ReasonNotSignedIn), false
	}
	reason := f.newSignInWanted()
	isNew := f.Resumed != nil && f.newSignIn()
	switch {
	case f.Request.Subject != "" && f.Session.Subject != f.Request.Subject:
		if isNew {
			return Decision{Outcome: Refuse, Reason: ReasonOtherUser, Error: oautherr.LoginRequired}, false
		}
		return f.loginPage(ReasonOtherUser), false
	case reason == "":
		return Decision{}, true
	case reason == ReasonACR && isNew:
		return Decision{Outcome: Refuse, Reason: reason, Error: oautherr.UnmetAuthenticationRequirements}, false
	case isNew:
		return Decision{}, true
	}
	return f.loginPage(reason), false
}

// maxFound is how many sign-ins are remembered that cannot be new.
const maxFound = 8

// loginPage shows the login page, or refuses where it has been of no use: the second
// time in a row with a sign-in that does not count, the third with nobody, and where
// there is no room to remember one more sign-in.
func (f Facts) loginPage(reason Reason) Decision {
	enough := false
	switch r := f.Resumed; {
	case r == nil:
	case !f.Session.SignedIn():
		enough = r.FromLogin && r.Nobody >= 2
	default:
		enough = r.FromLogin && r.Stale >= 1 || r.found(f.Session) == nil && len(r.Found) >= maxFound
	}
	if !enough {
		return Decision{Outcome: Interact, Reason: reason, Interaction: LoginInteraction}
	}
	d := Decision{Outcome: Refuse, Reason: reason, Error: oautherr.LoginRequired}
	switch {
	case reason == ReasonACR:
		d.Error = oautherr.UnmetAuthenticationRequirements
	case f.Session.SignedIn() && reason != ReasonOtherUser:
		d.Reason = ReasonStaleSignIn
	}
	return d
}

// newSignInWanted returns why the request asks for a new sign-in, or nothing.
func (f Facts) newSignInWanted() Reason {
	prompt := f.Request.Prompt
	switch {
	case len(f.Request.EssentialACR) > 0 && !slices.Contains(f.Request.EssentialACR, f.Session.ACR):
		return ReasonACR
	case slices.Contains(prompt, "login"):
		return ReasonPromptLogin
	case slices.Contains(prompt, "create") && !f.Registered:
		return ReasonPromptCreate
	case slices.Contains(prompt, "select_account") && !f.hasStepFor("select_account"):
		return ReasonPromptSelectAccount
	case f.Request.MaxAge != nil && f.tooOld(*f.Request.MaxAge):
		return ReasonMaxAge
	case f.Request.hintUnverified:
		return ReasonHint
	}
	return ""
}

func (f Facts) hasStepFor(prompt string) bool {
	for _, step := range f.Steps {
		if step.Prompt == prompt {
			return true
		}
	}
	return false
}

// tooOld compares whole seconds, which cannot overflow as a time.Duration would.
// max_age=0 means prompt=login, and so does a sign-in that lies in the future. A
// sign-in without a time is older than anything.
func (f Facts) tooOld(maxAge int64) bool {
	age := f.Now.Unix() - f.Session.AuthTime.Unix()
	return maxAge == 0 || f.Session.AuthTime.IsZero() || age > maxAge || age < -int64(f.ClockSkew/time.Second)
}

// newSignIn reports whether the user has signed in since the request arrived, on which
// it comes back now.
func (f Facts) newSignIn() bool { return f.notNew() == "" }

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
func (f Facts) notNew() string {
	s, since := f.Session, f.Resumed.Since
	found := f.Resumed.found(s)
	switch {
	case s.AuthTime.IsZero():
		return authTimeZero
	case s.AuthTime.Before(since.Truncate(time.Second).Add(-f.ClockSkew)):
		return authTimeBefore
	case !s.SignedInAt.IsZero() && s.SignedInAt.UnixMilli() < since.UnixMilli():
		return signedInAtBefore
	case found != nil && s.AuthTime.UnixMilli() <= found.AuthTime.UnixMilli():
		return foundBefore
	}
	return ""
}

// found returns the sign-in if it is one of those that were found.
func (r *Resumed) found(s *session.Session) *SignIn {
	key := SignInKey(s)
	for i := range r.Found {
		if r.Found[i].Key == key {
			return &r.Found[i]
		}
	}
	return nil
}

// SignInKey stands for one sign-in of one user: its id, or its time where the host
// has none. It is a hash.
func SignInKey(s *session.Session) string {
	if s.ID != "" {
		return shortHash("id " + s.ID + " " + s.Subject)
	}
	return shortHash("auth_time " + strconv.FormatInt(s.AuthTime.UnixMilli(), 10) + " " + s.Subject)
}
