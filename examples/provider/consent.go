package main

import (
	"cmp"
	"net/http"
	"strings"

	"github.com/usher-auth/usher/authorize"
)

// consentPage is what consent.html shows: the facts of the request, and what it asks for.
type consentPage struct {
	*authorize.Pending
	Local  bool // the response goes to a program on the user's own device
	Asks   []askLine
	Before []askLine // allowed before

	Workspaces []string // of the user, to choose one
}

// askLine is a scope or a claim.
type askLine struct{ Name, Meaning string }

// meanings describe the scopes to users. All other scopes are for APIs that this provider
// does not know.
var meanings = map[string]string{
	"openid":         "Know which account is yours here",
	"profile":        "See your name and profile",
	"email":          "See your email address",
	"address":        "See your postal address",
	"phone":          "See your phone number",
	"offline_access": "Keep its access while you are away",
}

// claimMeanings describe claims that the parameter claims asks for (OpenID Connect Core
// 1.0 §5.1).
var claimMeanings = map[string]string{
	"name":                  "See your name",
	"given_name":            "See your given name",
	"family_name":           "See your family name",
	"middle_name":           "See your middle name",
	"nickname":              "See your nickname",
	"preferred_username":    "See the name by which you like to be called",
	"profile":               "See the address of your profile page",
	"picture":               "See your picture",
	"website":               "See the address of your website",
	"gender":                "See your gender",
	"birthdate":             "See your date of birth",
	"zoneinfo":              "See your time zone",
	"locale":                "See your language",
	"updated_at":            "See when your profile was last changed",
	"email":                 "See your email address",
	"email_verified":        "See whether your email address is verified",
	"address":               "See your postal address",
	"phone_number":          "See your phone number",
	"phone_number_verified": "See whether your phone number is verified",
}

// showConsent asks the user to allow the client's request.
func (s *server) showConsent(w http.ResponseWriter, r *http.Request) {
	if pending, ok := s.consentFor(w, r); ok {
		s.show(w, http.StatusOK, "consent", s.consentPageFor(pending))
	}
}

// decideConsent handles the form.
func (s *server) decideConsent(w http.ResponseWriter, r *http.Request) {
	if err := readPageForm(w, r); err != nil {
		s.endpoint.ShowError(w, r, err)
		return
	}
	if r.PostForm.Get("decision") == "deny" {
		s.endpoint.Deny(w, r) // counts even if another user is signed in by now
		return
	}
	pending, ok := s.consentFor(w, r)
	if !ok {
		return
	}
	granted := authorize.Granted{Scopes: pending.Request.Scopes}
	chosen := true
	if len(s.users[pending.Subject].workspaces) > 0 {
		granted.Data = []byte(r.PostForm.Get("workspace"))
		chosen = s.isIn(pending.Subject, granted.Data)
	}
	if r.PostForm.Get("decision") != "allow" || !chosen {
		s.show(w, http.StatusBadRequest, "consent", s.consentPageFor(pending))
		return
	}
	s.endpoint.Grant(w, r, granted)
}

// consentFor returns the request. If ok is false, it has written the response: if nobody is
// signed in, or another user than the page is for, it returns to the endpoint.
func (s *server) consentFor(w http.ResponseWriter, r *http.Request) (pending *authorize.Pending, ok bool) {
	pending, err := s.endpoint.Pending(r)
	switch {
	case err != nil:
		s.endpoint.ShowError(w, r, err)
	case pending.Subject == "":
		s.endpoint.Resume(w, r) // the page must ask the user who is signed in now
	default:
		return pending, true
	}
	return nil, false
}

func (s *server) consentPageFor(pending *authorize.Pending) consentPage {
	request := pending.Request
	page := consentPage{
		Pending: pending,
		// http is allowed only for loopback, and schemes other than https only for apps.
		Local:  request.Client.Public && !strings.HasPrefix(request.RedirectURI, "https:"),
		Asks:   askLines(pending.NewScopes, meanings, "Use another service on your behalf"),
		Before: askLines(pending.GrantedScopes, meanings, "Use another service on your behalf"),

		Workspaces: s.users[pending.Subject].workspaces,
	}
	claims := askLines(pending.ClaimsBeyondScopes, claimMeanings, "See something else about you")
	page.Asks = append(page.Asks, claims...)
	return page
}

// askLines gives names without a meaning of their own the other one.
func askLines(names []string, meanings map[string]string, other string) (lines []askLine) {
	for _, name := range names {
		lines = append(lines, askLine{Name: name, Meaning: cmp.Or(meanings[name], other)})
	}
	return lines
}
