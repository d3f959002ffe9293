package corpus

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/usher-auth/usher/authorize"
)

// Invariants of what is logged, reported and explained.

// checkReported counts no advice to the host, which it gets if the login was of no use.
func checkReported(a *answer) string {
	log := a.log.String()
	lines := strings.Count(log, "\n") - strings.Count(log, "authorize: a user came back from the login page")
	if a.reached && (len(a.events) != 1 || lines != 1) {
		return fmt.Sprintf("%d events, log %s", len(a.events), log)
	}
	return ""
}

// checkLog looks at what the endpoint logs, and at what a host would that logs the events
// itself. A value that is short may stand there for another reason.
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

// checkAsked: a host may create a user in its SessionStore, and its rules may rely on those
// of the protocol. So both are asked about requests that are sound, and the store once.
func checkAsked(a *answer) string {
	sound := a.reached && a.kind != errorPage
	switch a.param("error") {
	case "", "login_required", "consent_required", "access_denied":
	default:
		sound = false
	}
	if sessions := len(a.sessions); sound && sessions != 1 || !sound && sessions+a.checks > 0 {
		return fmt.Sprintf("%d times for a session, %d times about the request", sessions, a.checks)
	}
	return ""
}

// checkExplained compares what the user and the client got, and the reason for it.
func checkExplained(a *answer) string {
	if a.leftovers {
		return "it left something behind"
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
		return fmt.Sprintf("it says %q, and the endpoint %q: %s", said, did, e)
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
