package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/pkce"
)

// demoClient is the client of default.json. The provider itself acts as this client, so
// that there is something to try. With your own file there is no demo.
const demoClient = "demo-app"

// demoScopes are the scopes of the client, without offline_access: it shows claims, once.
var demoScopes = []string{"openid", "profile", "email"}

func (s *server) demoRedirectURI() string { return s.origin + s.path + "/callback" }

// tryURL is absolute: the cookie has to be for the host that gets the response. The address
// bar may show another host, localhost.
func (s *server) tryURL() string {
	if s.demo == nil {
		return ""
	}
	return s.origin + s.path + "/try"
}

// tryDemo redirects the browser to the endpoint as a client does. A cookie keeps the values
// to check the response with.
func (s *server) tryDemo(w http.ResponseWriter, r *http.Request) {
	state, verifier := pkce.NewVerifier(), pkce.NewVerifier() // 256 random bits each
	http.SetCookie(w, &http.Cookie{
		Name:     "demo-" + state,
		Value:    verifier,
		Path:     s.path + "/callback",
		MaxAge:   1800,
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode,
	})
	query := url.Values{
		"client_id":             {demoClient},
		"redirect_uri":          {s.demoRedirectURI()},
		"response_type":         {"code"},
		"scope":                 {strings.Join(demoScopes, " ")},
		"state":                 {state},
		"code_challenge":        {pkce.Challenge(verifier)},
		"code_challenge_method": {pkce.MethodS256},
	}
	s.redirect(w, r, "/authorize?"+query.Encode())
}

// demoPage is what demo.html shows.
type demoPage struct {
	Subject string
	Claims  []demoClaim
	Error   string
	Text    string
}

type demoClaim struct{ Name, Value string }

// takeDemoAnswer is the client's redirect URI. A client in another process would send the
// code to the token endpoint, and then the token to userinfo.
func (s *server) takeDemoAnswer(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	cookie, err := r.Cookie("demo-" + query.Get("state"))
	if err != nil || query.Get("iss") != s.issuer {
		s.show(w, http.StatusBadRequest, "demo", demoPage{Text: "This browser did not ask for this response."})
		return
	}
	http.SetCookie(w, &http.Cookie{Name: cookie.Name, Path: s.path + "/callback", MaxAge: -1})
	page := demoPage{Error: query.Get("error"), Text: query.Get("error_description")}
	if page.Error == "" {
		page = s.demoResult(r, query.Get("code"), cookie.Value)
	}
	s.show(w, http.StatusOK, "demo", page)
}

func (s *server) demoResult(r *http.Request, sent, verifier string) demoPage {
	code, err := s.endpoint.Redeem(r.Context(), authorize.Redemption{
		Code: sent, ClientID: demoClient, RedirectURI: s.demoRedirectURI(), Verifier: verifier,
	})
	if err != nil {
		refused := oautherr.Of(err)
		return demoPage{Error: string(refused.Code), Text: refused.Text()}
	}
	page := demoPage{Subject: code.Subject}
	claims := s.users[code.Subject].released(code.Scopes, nil)
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		var value any
		if err := json.Unmarshal(claims[name], &value); err == nil {
			page.Claims = append(page.Claims, demoClaim{name, fmt.Sprint(value)})
		}
	}
	return page
}
