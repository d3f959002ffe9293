package corpus

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/usher-auth/usher/authorize"
)

// Invariants of logs, events and explanations.

// checkReported does not count the advice that the host gets if the login changed nothing.
func checkReported(a *answer) string {
	log := a.log.String()
	lines := strings.Count(log, "\n") - strings.Count(log, "authorize: a user came back from the login page")
	if a.reached && (len(a.events) != 1 || lines != 1) {
		return fmt.Sprintf("%d events, log %s", len(a.events), log)
	}
	return ""
}

// checkLog checks the endpoint's log, and the events, which a host may log itself. It ignores
// short values, which may be there for another reason.
func checkLog(a *answer) string {
	secrets := append([]string{a.param("code"), a.header.Get("Location")}, a.asked.secrets...)
	if a.kind == loginRedirect {
		secrets = append(append(secrets, a.param("req")), strings.Split(a.param("req"), ".")...)
	}
	for _, line := range a.header["Set-Cookie"] {
		if c, err := http.ParseSetCookie(line); err == nil {
			secrets = append(secrets, strings.Split(c.Value, ".")...)
		}
	}
	text := a.log.String() + fmt.Sprintf("%v %+v", a.events, a.events)
	for _, secret := range secrets {
		if len(secret) >= 6 && strings.Contains(text, secret) {
			return fmt.Sprintf("%.300q is in the log: %s", secret, text)
		}
	}
	return ""
}

// checkAsked: a host may create a user in its SessionStore, and its own rules may rely on
// those of the protocol. So the endpoint calls both only for valid requests, and the store once.
func checkAsked(a *answer) string {
	sound := a.reached && a.kind != errorPage
	switch a.param("error") {
	case "", "login_required", "consent_required", "access_denied":
	default:
		sound = false
	}
	if sessions := len(a.sessions); sound && sessions != 1 || !sound && sessions+a.checks > 0 {
		return fmt.Sprintf("SessionStore was called %d times, CheckRequest %d times", sessions, a.checks)
	}
	return ""
}

// checkExplained compares the explanation with the answer and the reason in the event.
func checkExplained(a *answer) string {
	if a.leftovers {
		return "Explain stored or reported something"
	}
	e := a.explained
	if e == nil || len(a.events) != 1 {
		return ""
	}
	kind, code := kindOf[e.Action], ""
	if kind == codeRedirect && a.kind == emptyRedirect {
		kind = emptyRedirect
	}
	if e.Error != nil {
		code = string(e.Error.Code)
	}
	said := fmt.Sprint(kind, " ", code, " ", e.Interaction, " ", e.Reason)
	did := fmt.Sprint(a.kind, " ", a.errorCode(), " ", a.events[0].Interaction, " ", a.events[0].Reason)
	if did != said {
		return fmt.Sprintf("Explain says %q, but the endpoint did %q: %s", said, did, e)
	}
	return ""
}

// kindOf has the kind of answer for what Explain says.
var kindOf = map[authorize.Action]string{
	authorize.ActionPage:        errorPage,
	authorize.ActionError:       errorRedirect,
	authorize.ActionLogin:       loginRedirect,
	authorize.ActionInteraction: loginRedirect,
	authorize.ActionApproval:    codeRedirect,
}
