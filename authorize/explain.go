package authorize

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// Action is what the endpoint does with a request.
type Action string

const (
	ActionPage        Action = "page"        // an error page for the user
	ActionError       Action = "error"       // an error for the client, at RedirectURI
	ActionLogin       Action = "login"       // the login page
	ActionInteraction Action = "interaction" // the page of Interaction
	ActionApproval    Action = "approval"    // a code for the client, at RedirectURI
)

// Explanation is the result of [Handler.Explain]: the checks of a request, and what the
// endpoint would do.
type Explanation struct {
	// Checks are in the order in which they were made. The first that did not pass is the
	// reason for Action. Later checks that need its result are missing.
	Checks []Check

	Action Action
	Reason Reason

	// Error is set for ActionPage and ActionError. It has the cause, which otherwise only
	// the log has.
	Error *oautherr.Error

	// Interaction is the page that the user is sent to, for ActionLogin and
	// ActionInteraction.
	Interaction string

	// RedirectURI is where the client gets its response; empty if it gets none, or none
	// yet.
	RedirectURI string

	// Scopes are the scopes that a code would have, for ActionApproval. LeftOut are the
	// requested scopes that it would not have.
	Scopes  []string
	LeftOut []string
}

// Check is one check of a request.
type Check struct {
	// Name says what must be true. Section is the specification that requires it; empty for
	// a check of the host's own configuration.
	Name    string
	Section string

	// Passed reports whether it is true. If not, Detail is the text that the log would
	// have.
	Passed bool
	Detail string
}

// Passed reports whether the request would be approved without a page.
func (e *Explanation) Passed() bool { return e.Action == ActionApproval }

// String returns a line for each check and one for the action, for a test or a person.
func (e *Explanation) String() string {
	var text strings.Builder
	for _, c := range e.Checks {
		mark := "ok"
		if !c.Passed {
			mark = "no"
		}
		text.WriteString(mark + " " + c.Name)
		if c.Section != "" {
			text.WriteString(" (" + c.Section + ")")
		}
		if c.Detail != "" {
			text.WriteString(": " + c.Detail)
		}
		text.WriteString("\n")
	}
	text.WriteString("-> " + string(e.Action))
	code := ""
	if e.Error != nil {
		code = string(e.Error.Code)
	}
	for _, more := range []string{e.Interaction, code, string(e.Reason), e.RedirectURI} {
		if more != "" {
			text.WriteString(" " + more)
		}
	}
	return text.String()
}

// Explain says what the endpoint would do with an authorization request, and why, rule by
// rule. A host can test its policy with it, without a browser, and a developer can see why
// a client is refused. query is the query of a GET request, or a URL with that query. s is
// the session of the user; nil is nobody.
//
// Nothing is stored, signed, sent or reported, and the SessionStore is not called. The
// host's other functions are called as for a real request: ClientStore, ConsentStore (to
// find consent), Resources, IDTokenHint, CheckRequest, Allow and Interaction.Needed. All
// rules that need only the request are checked. If all of them are kept, those that ask the
// host are checked too. A waiting request (req) is not explained.
func (h *Handler) Explain(ctx context.Context, query string, s *session.Session) *Explanation {
	ctx, cancel := context.WithTimeout(ctx, h.config.Timeout)
	defer cancel()
	if before, after, found := strings.Cut(query, "?"); found && !strings.Contains(before, "=") {
		query = after
	}
	r := (&http.Request{Method: http.MethodGet, URL: &url.URL{RawQuery: query}, Header: http.Header{}}).WithContext(ctx)
	v := &visit{http: r, started: h.config.Now()}
	e := &Explanation{}
	asked := *h // with s as the session, in place of the SessionStore
	asked.config.Sessions = SessionFunc(func(*http.Request) (*session.Session, error) { return s, nil })
	if err := asked.explain(v, e); err != nil {
		v.refuse(err)
	}
	e.conclude(v)
	return e
}

var errNotExplained = problem(ReasonNoRequest, oautherr.InvalidRequest,
	"A request that waits for the user is not explained.")

// explain takes the request through the same stages as answer, up to the decision.
func (h *Handler) explain(v *visit, e *Explanation) (err error) {
	if v.params, err = h.readParams(v.http); err == nil && v.params.resumes {
		err = errNotExplained
	}
	if err := e.check("the request can be read", "RFC 6749 §3.1", err); err != nil {
		return err
	}
	if err := e.check("the client is known", "RFC 6749 §2.2", h.findClient(v)); err != nil {
		return err
	}
	if err := settleSource(v); err != nil {
		return err
	}
	err = e.check("the redirect URI is one that the client has registered", "RFC 6749 §3.1.2.4", h.prove(v))
	if err != nil {
		return err
	}
	if err := h.explainRules(v, e); err != nil {
		return err
	}
	err = e.check("the session is one that can be used", "OpenID Connect Core 1.0 §2", h.whoIsSignedIn(v))
	if err != nil {
		return err
	}
	if err := h.whatElseIsNeeded(v); err != nil {
		return e.check("the functions of the host work", "", err)
	}
	signIn := v.facts.signIn()
	h.decide(v)
	e.decided("the sign-in is what the request asks for", "OpenID Connect Core 1.0 §3.1.2.3", signIn)
	if signIn.Outcome == approve {
		e.decided("the policy of the host allows it, and no page is needed", "OpenID Connect Core 1.0 §3.1.2.4",
			v.decision)
	}
	if v.decision.Outcome == refuse {
		return h.refusal(v)
	}
	if v.decision.Outcome == approve {
		v.granted, v.leftOut = grantedScopes(v)
	}
	return nil
}

// explainRules checks every rule that it can check, and returns the first error.
func (h *Handler) explainRules(v *visit, e *Explanation) (first error) {
	h.eachRule(v, func(r *rule, c *checked) error {
		if r.asks && first != nil {
			return first
		}
		if err := e.check(r.name, r.section, r.kept(c)); first == nil {
			first = err
		}
		return nil
	})
	return first
}

// check records a check and returns its error.
func (e *Explanation) check(name, section string, err error) error {
	c := Check{Name: name, Section: section, Passed: err == nil}
	if err != nil {
		c.Detail = oautherr.Of(err).Error()
	}
	e.Checks = append(e.Checks, c)
	return err
}

// decided records one half of the decision.
func (e *Explanation) decided(name, section string, d decision) {
	c := Check{Name: name, Section: section, Passed: d.Outcome == approve}
	if !c.Passed {
		c.Detail = string(d.Reason)
		if d.Interaction != "" {
			c.Detail = "the page of " + d.Interaction + " is needed: " + c.Detail
		}
	}
	e.Checks = append(e.Checks, c)
}

// conclude records what the endpoint would do.
func (e *Explanation) conclude(v *visit) {
	e.Reason = v.decision.Reason
	if v.request != nil {
		e.LeftOut = append(append([]string(nil), v.request.LeftOut...), v.leftOut...)
	}
	switch {
	case v.err != nil && v.shownHere():
		e.Action, e.Error = ActionPage, v.err
	case v.err != nil:
		e.Action, e.Error, e.RedirectURI = ActionError, v.err, v.destination.URI()
	case v.decision.Outcome == approve:
		e.Action, e.Scopes, e.RedirectURI = ActionApproval, v.granted, v.destination.URI()
	case v.decision.Interaction == LoginInteraction:
		e.Action, e.Interaction = ActionLogin, LoginInteraction
	default:
		e.Action, e.Interaction = ActionInteraction, v.decision.Interaction
	}
}
