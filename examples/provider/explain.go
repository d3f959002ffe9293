package main

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/session"
)

// explainPage is what explain.html shows.
type explainPage struct {
	Pasted, User string // the fields of the form; User may be empty
	Users        []string
	Problem      string // why there is no explanation
	Explanation  *authorize.Explanation
	NoCode       bool   // response_type=none
	Why          string // the reason for the login page
	NotLookedAt  []string
}

// explainParts are checks that every request gets unless it is refused earlier. The second
// text is what the page shows for a check that was not made.
var explainParts = [][2]string{
	{"the client is known", "the client"},
	{"the redirect URI is one that the client has registered", "the redirect URI"},
	{"every scope is known and open to the client", "the other parameters"},
	{"id_token_hint and claims mean one user", "the user that the client asks for"},
	{"the sign-in is what the request asks for", "the sign-in"},
	{"the policy of the host allows it, and no page is needed", "consent and other pages"},
}

// showExplain shows the form and, after it was sent, the result of Explain. The page reveals
// much of the configuration, so it is only for a browser on this machine. Another host in
// the address means that another site reaches this server by DNS rebinding.
func (s *server) showExplain(w http.ResponseWriter, r *http.Request) {
	if !isLoopback(r.Host) {
		way := "Open this page at " + s.origin + s.path + "/explain."
		s.showRefusal(w, http.StatusForbidden, refusal{"This page has another address", way})
		return
	}
	page := explainPage{Users: slices.Sorted(maps.Keys(s.users))}
	if r.Method == http.MethodPost {
		s.explainForm(w, r, &page)
	}
	status := http.StatusOK
	if page.Problem != "" {
		status = http.StatusBadRequest
	}
	s.show(w, status, "explain", page)
}

func (s *server) explainForm(w http.ResponseWriter, r *http.Request, page *explainPage) {
	if err := readPageForm(w, r); err != nil {
		page.Problem = fmt.Sprintf("The form cannot be read, or has more than %d bytes.", maxForm)
		return
	}
	page.Pasted, page.User = r.PostForm.Get("url"), r.PostForm.Get("user")
	var who *session.Session
	if page.User != "" {
		if _, exists := s.users[page.User]; !exists {
			page.Problem = "There is no such user."
			return
		}
		signedIn := passwordSession(page.User)
		signedIn.AuthTime = s.now().Add(-time.Minute)
		signedIn.SignedInAt = signedIn.AuthTime
		who = &signedIn
	}
	var query string
	if query, page.Problem = s.queryIn(page.Pasted); page.Problem != "" {
		return
	}
	e := s.endpoint.Explain(r.Context(), "?"+query, who)
	if e.Reason == authorize.ReasonNoRequest {
		page.Problem = "This URL is of a waiting request, between two pages. Paste the URL that the client made."
		return
	}
	values, _ := url.ParseQuery(query) // Explain has read it more strictly
	page.Explanation, page.NoCode, page.NotLookedAt = e, values.Get("response_type") == "none", notLookedAt(e)
	page.Why = cmp.Or(loginReasons[e.Reason], string(e.Reason))
}

var (
	inLog     = regexp.MustCompile(`\bGET (\S+) HTTP/`)
	lineBreak = regexp.MustCompile(`\s*[\r\n]\s*`)
	isURL     = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*:)?/`)
)

// queryIn finds the query of a request in the pasted text: a URL, its query, or a line of a
// log. If there is none, problem says why.
func (s *server) queryIn(text string) (query, problem string) {
	if found := inLog.FindStringSubmatch(text); found != nil {
		text = found[1]
	}
	text = lineBreak.ReplaceAllString(strings.TrimSpace(text), "") // from a terminal
	text, _, _ = strings.Cut(text, "#")                            // a browser keeps the fragment
	address, query, found := strings.Cut(text, "?")
	switch {
	case isURL.MatchString(address):
		if strings.HasPrefix(address, "/") {
			address = s.origin + address
		}
		endpoint := s.origin + s.path + "/authorize"
		u, err := url.Parse(address)
		if err != nil {
			return "", "This is not a URL: " + err.Error()
		}
		if got := u.Scheme + "://" + strings.ToLower(u.Host) + u.Path; got != endpoint {
			return "", "This URL is for " + got + ". The authorization endpoint of this provider is " + endpoint + "."
		}
	case strings.Contains(address, "="):
		return text, ""
	case address != "" || !found:
		return "", "This is not a URL. Paste the whole URL, beginning with http, or its query."
	}
	if query == "" {
		return "", "This URL has no query. The parameters of a request come after a question mark."
	}
	return query, ""
}

// loginReasons are the reasons for the login page.
var loginReasons = map[authorize.Reason]string{
	authorize.ReasonNotSignedIn: "nobody is signed in",
	authorize.ReasonPromptLogin: "the request asks for a new sign-in",
	authorize.ReasonACR:         "the sign-in does not have the level (acr) that the request requires",
	authorize.ReasonMaxAge:      "the sign-in is older than max_age allows",
	authorize.ReasonOtherUser:   "the request is for another user",
	authorize.ReasonHint:        "the id_token_hint cannot be verified",
}

// notLookedAt returns the parts of the request that were not checked, because it was refused
// earlier.
func notLookedAt(e *authorize.Explanation) (parts []string) {
	for _, part := range explainParts {
		if !slices.ContainsFunc(e.Checks, func(c authorize.Check) bool { return c.Name == part[0] }) {
			parts = append(parts, part[1])
		}
	}
	return parts
}
