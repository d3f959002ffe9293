package authorize

import (
	"slices"
	"time"

	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// Facts are all that a decision depends on. Hosts fill them in only in tests of
// their own.
type Facts struct {
	// Request is a valid request. It must not be nil.
	Request *Request

	// Session is who is signed in; nil is nobody.
	Session *session.Session

	// Now is the time of the decision, ClockSkew by how much the clock that stamps
	// sign-ins may lag behind.
	Now       time.Time
	ClockSkew time.Duration

	// Resumed says what was known when the request was first sent to a page; nil
	// on the first visit.
	Resumed *Resumed

	// Denied is true if the user said no on one of the host's pages, Forbidden if
	// [Config].Allow did.
	Denied    bool
	Forbidden bool

	// Steps are the host's interactions after the login, in order.
	Steps []Step
}

// Resumed is what was sealed when the request was first sent to a page.
type Resumed struct {
	// Since is when that was.
	Since time.Time

	// Subject and AuthTime are those of the session found then, or of the one of another
	// user that was sent to the login later; zero if nobody was signed in.
	Subject  string
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
	if f.Request.Prompts("consent") && !f.hasStepFor("consent") {
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
	if d.Outcome == Interact && (f.Request.Prompts("none") || f.Request.OutOfBand) {
		return Decision{Outcome: Refuse, Reason: d.Reason, Error: code}
	}
	return d
}

// login reports whether the sign-in is what the request asks for, and if not what
// to do.
//
// A rule that asks for a new sign-in is kept by one that is later than the session
// found at first and not before the request began. It stays kept however long the
// pages after it take. A sign-in that is newer but stamped too old can never keep
// it: sending the user to log in once more would be a loop, so it is an error. So is a
// new sign-in that does not reach the level that is demanded.
func (f Facts) login() (d Decision, ok bool) {
	again := func(reason Reason) (Decision, bool) {
		return Decision{Outcome: Interact, Reason: reason, Interaction: LoginInteraction}, false
	}
	switch {
	case f.Session == nil || f.Session.Subject == "":
		return again(ReasonNotSignedIn)
	case f.Session.SecondFactorPending:
		return again(ReasonSecondFactorPending)
	case f.Request.Subject != "" && f.Session.Subject != f.Request.Subject && f.newSignIn():
		return Decision{Outcome: Refuse, Reason: ReasonOtherUser, Error: oautherr.LoginRequired}, false
	case f.Request.Subject != "" && f.Session.Subject != f.Request.Subject:
		return again(ReasonOtherUser)
	}
	reason := f.newSignInWanted()
	switch {
	case reason == "":
		return Decision{}, true
	case reason == ReasonACR && f.newSignIn():
		return Decision{Outcome: Refuse, Reason: reason, Error: oautherr.UnmetAuthenticationRequirements}, false
	case reason != ReasonACR && f.newSignIn() && f.sinceRequest():
		return Decision{}, true
	case f.newSignIn():
		return Decision{Outcome: Refuse, Reason: ReasonStaleSignIn, Error: oautherr.ServerError}, false
	}
	return again(reason)
}

// newSignInWanted returns why the request asks for a new sign-in, or nothing.
func (f Facts) newSignInWanted() Reason {
	switch {
	case len(f.Request.EssentialACR) > 0 && !slices.Contains(f.Request.EssentialACR, f.Session.ACR):
		return ReasonACR
	case f.Request.Prompts("login"):
		return ReasonPromptLogin
	case f.Request.Prompts("create"):
		return ReasonPromptCreate
	case f.Request.Prompts("select_account") && !f.hasStepFor("select_account"):
		return ReasonPromptSelectAccount
	case f.Request.MaxAge != nil && f.tooOld(*f.Request.MaxAge):
		return ReasonMaxAge
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

// newSignIn reports whether the user has signed in since the request was first
// sent to a page. The sign-in of another user may be one that the browser had all along,
// and was merely chosen: it has to be later than the request, whatever the skew.
func (f Facts) newSignIn() bool {
	switch {
	case f.Resumed == nil:
		return false
	case f.Resumed.AuthTime.IsZero():
		return true
	}
	later := f.Session.AuthTime.UnixMilli() > f.Resumed.AuthTime.UnixMilli()
	return later && (f.Resumed.Subject == f.Session.Subject || !f.Session.AuthTime.Before(f.Resumed.Since))
}

// sinceRequest reports whether the sign-in is not older than the request.
func (f Facts) sinceRequest() bool {
	return !f.Session.AuthTime.Before(f.Resumed.Since.Add(-f.ClockSkew))
}
