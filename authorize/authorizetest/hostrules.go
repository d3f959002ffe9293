package authorizetest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"

	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/pkce"
)

// hostRules are the rules for what the host has. leftOut names the others after the fields that
// they need.
func hostRules(h *Host) (rules []rule[*visitor], leftOut string) {
	add := func(fields string, set bool, more ...rule[*visitor]) {
		if set {
			rules = append(rules, more...)
			return
		}
		names := make([]string, len(more))
		for i, r := range more {
			names[i] = r.name
		}
		leftOut += "\n\tHost." + fields + " for: " + strings.Join(names, "; ")
	}
	add("", true,
		hostRule("a user signs in and the client gets a code", hostSignsIn),
		hostRule("the endpoint answers GET and POST at its very address", hostMount),
		hostRule("an unknown client is an error page", hostUnknownClient),
		hostRule("a redirect URI that is not registered is an error page", hostRedirectURI),
		hostRule("prompt=none without a session is login_required", hostSilentStranger),
		hostRule("prompt=none with a session needs no page", hostSilentUser),
		hostRule("the session is found when the user comes from another site", hostArrival),
		hostRule("prompt=login asks a user who is signed in", hostPromptLogin),
		hostRule("max_age=0 asks a user who is signed in", hostMaxAge),
		hostRule("a request in another browser needs a sign-in there", hostOtherBrowser),
		hostRule("two tabs end each with its own response", hostTabs),
		hostRule("a double click on the login form ends with a code", hostDoubleClick),
		hostRule("the login form can be sent again after the response", hostBack),
		hostRule("the login form of another site signs nobody in", hostForgedLogin),
	)
	redeems := h.Client.TokenEndpoint != ""
	add("Client.TokenEndpoint", redeems,
		hostRule("a code is redeemed once", hostRedeem),
		hostRule("a wrong verifier is invalid_grant and does not use the code up", hostVerifier),
		hostRule("another redirect_uri is invalid_grant and does not use the code up", hostOtherURI),
	)
	add("Client.TokenEndpoint and Host.Other", redeems && h.Other.ID != "",
		hostRule("the code of another client is invalid_grant and not used up", hostOtherClient))
	add("WrongPassword", h.WrongPassword != nil,
		hostRule("a wrong password signs nobody in and then the right one ends with a code", hostWrongPassword))
	add("Cancel", h.Cancel != nil, hostRule("a no on the login page is access_denied", hostCancel))
	add("Agree", h.Agree != nil, hostRule("prompt=consent asks the user to agree", hostConsent))
	add("Deny", h.Deny != nil, hostRule("a no on the consent page is access_denied", hostDeny))
	add("Claims", len(h.Claims) > 0,
		hostRule("the consent page shows what the parameter claims asks for", hostClaims))
	return rules, leftOut
}

func hostSignsIn(v *visitor) error {
	_, _, err := v.signedIn()
	return err
}

func hostMount(v *visitor) error {
	flow := v.host.Client.Start()
	at, err := url.Parse(flow.URL)
	if err != nil {
		return redacted{err}
	}
	r, err := (&navigation{method: http.MethodGet, url: at}).request(context.Background())
	if err != nil {
		return redacted{err}
	}
	site := v.browser.sites[originOf(at)]
	if site == nil {
		return fmt.Errorf("no site has the origin of the endpoint, %s: name it in Host.Open", originOf(at))
	}
	res, err := site.RoundTrip(r)
	if err != nil {
		return redacted{err}
	}
	res.Body.Close()
	switch res.StatusCode {
	case http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		to, _, _ := strings.Cut(res.Header.Get("Location"), "?")
		return fmt.Errorf("a request to %s is redirected with status %d to %s: mount the endpoint at its exact path",
			flow.Endpoint, res.StatusCode, to)
	}
	login, err := v.browser.PostFrom(elsewhere, flow.Endpoint, flow.Params)
	if err := first(err, wantPage(login,
		"a request that comes as a POST does not lead to the login page")); err != nil {
		return err
	}
	_, err = v.signIn(flow, login)
	return err
}

func hostUnknownClient(v *visitor) error {
	return v.errorPage(url.Values{"client_id": {"a client that nobody knows"}})
}

func hostRedirectURI(v *visitor) error {
	return v.errorPage(url.Values{"redirect_uri": {elsewhere + "callback"}})
}

// errorPage wants a request with the changes to end on a page that is not the login page. Its
// status is the host's: it may have an address of its own.
func (v *visitor) errorPage(changes url.Values) error {
	_, login, err := v.begin()
	if err != nil {
		return err
	}
	page, err := v.browser.OpenFrom(elsewhere, v.host.Client.Start(changes).URL)
	switch {
	case err != nil:
		return err
	case page.Left:
		return fmt.Errorf("the browser is sent on, want a page: %s", page)
	case samePlace(page.URL, login.URL):
		return fmt.Errorf("the login page is shown, want an error page:\n%s", page)
	case page.Status >= http.StatusInternalServerError:
		return fmt.Errorf("the host fails, want a page that says what is wrong with the request:\n%s", page)
	}
	return nil
}

func hostSilentStranger(v *visitor) error { return v.silently("", oautherr.LoginRequired) }

func hostSilentUser(v *visitor) error {
	_, _, err := v.signedIn()
	return first(err, v.silently("", ""))
}

func hostArrival(v *visitor) error {
	_, _, err := v.signedIn()
	if err != nil {
		return err
	}
	if err := v.silently(elsewhere, ""); err != nil {
		return fmt.Errorf("%w\n(with SameSite=Strict a browser leaves out the cookie of the session)", err)
	}
	return nil
}

func hostPromptLogin(v *visitor) error { return v.signsInAnew(url.Values{"prompt": {"login"}}) }

func hostMaxAge(v *visitor) error { return v.signsInAnew(url.Values{"max_age": {"0"}}) }

func hostOtherBrowser(v *visitor) error {
	flow, login, err := v.begin()
	if err != nil {
		return err
	}
	code, err := v.signIn(flow, login)
	if err != nil {
		return err
	}
	stranger := &visitor{v.host, v.browser.another()}
	page, err := stranger.browser.Open(login.URL.String())
	if err == nil && page.Left {
		err = fmt.Errorf("the address of the login page leads another browser to the client:\n%s", page)
	}
	req := waitingRequest(login)
	if err != nil || req == "" {
		return err
	}
	resume := *flow
	resume.Params = url.Values{"req": {req}}
	page, err = stranger.browser.Open(resume.address())
	err = first(err, wantPage(page, "the waiting request does not lead another browser to the login page"))
	if err != nil {
		return err
	}
	again, err := stranger.signIn(flow, page)
	if err == nil && again == code {
		err = errors.New("two browsers get the same code")
	}
	return err
}

func hostTabs(v *visitor) error {
	one, loginOne, err := v.begin()
	if err != nil {
		return err
	}
	two, loginTwo, err := v.begin()
	if err != nil {
		return err
	}
	if _, err = v.signIn(two, loginTwo); err != nil {
		return fmt.Errorf("in the second tab: %w", err)
	}
	if _, err = v.signIn(one, loginOne); err != nil {
		return fmt.Errorf("in the first tab, after the second: %w", err)
	}
	return nil
}

func hostDoubleClick(v *visitor) error {
	flow, login, err := v.begin()
	if err != nil {
		return err
	}
	clicked := false
	for origin, site := range v.browser.sites {
		v.browser.sites[origin] = doubleClick{site, &clicked}
	}
	_, err = v.signIn(flow, login)
	return err
}

// hostBack is the Back key of a user whose client shows something else by then.
func hostBack(v *visitor) error {
	flow, login, err := v.begin()
	if err != nil {
		return err
	}
	if _, err = v.signIn(flow, login); err != nil {
		return err
	}
	page, err := act("SignIn", v.host.SignIn, login)
	switch {
	case err != nil:
		return err
	case page.Left:
		_, err = v.code(flow, page)
		return err
	}
	return wantPage(page, "the login form, sent once more, ends on an error page")
}

// hostForgedLogin has an attacker who copies the login page, to sign a victim in as themselves.
func hostForgedLogin(v *visitor) error {
	attacker := &visitor{v.host, v.browser.another()}
	_, login, err := attacker.begin()
	if err != nil {
		return err
	}
	if _, _, err = v.begin(); err != nil {
		return err
	}
	from, err := url.Parse(elsewhere)
	if err != nil {
		return err
	}
	// What comes of it is the host's. It may well end in an error.
	v.host.SignIn(login.copied(from, v.browser))
	if err := v.silently("", oautherr.LoginRequired); err != nil {
		return fmt.Errorf("a form of another site has signed the browser in: "+
			"wrap the login page in http.CrossOriginProtection: %w", err)
	}
	return nil
}

func hostRedeem(v *visitor) error {
	flow, code, err := v.signedIn()
	if err != nil {
		return err
	}
	if err := v.redeem(flow, code, ""); err != nil {
		return err
	}
	if err := v.redeem(flow, code, oautherr.InvalidGrant); err != nil {
		return fmt.Errorf("a second time: %w", err)
	}
	return nil
}

func hostVerifier(v *visitor) error {
	return v.redeemsAfter(url.Values{"code_verifier": {pkce.NewVerifier()}})
}

func hostOtherURI(v *visitor) error {
	return v.redeemsAfter(url.Values{"redirect_uri": {elsewhere + "callback"}})
}

func hostOtherClient(v *visitor) error {
	flow, code, err := v.signedIn()
	if err != nil {
		return err
	}
	thief := *flow
	thief.clientID, thief.secret = v.host.Other.ID, v.host.Other.Secret
	if err := v.redeem(&thief, code, oautherr.InvalidGrant); err != nil {
		return fmt.Errorf("as another client: %w", err)
	}
	if err := v.redeem(flow, code, ""); err != nil {
		return fmt.Errorf("after another client: %w", err)
	}
	return nil
}

func hostConsent(v *visitor) error {
	flow, page, err := v.consentPage()
	if err != nil {
		return err
	}
	if page, err = act("Agree", v.host.Agree, page); err != nil {
		return err
	}
	_, err = v.code(flow, page)
	return err
}

func hostCancel(v *visitor) error {
	flow, login, err := v.begin()
	if err != nil {
		return err
	}
	page, err := act("Cancel", v.host.Cancel, login)
	if err != nil {
		return err
	}
	return v.refused(flow, page, oautherr.AccessDenied)
}

func hostWrongPassword(v *visitor) error {
	flow, login, err := v.begin()
	if err != nil {
		return err
	}
	page, err := act("WrongPassword", v.host.WrongPassword, login)
	switch {
	case err != nil:
		return err
	case page.Left:
		return fmt.Errorf("a wrong password leads the browser on:\n%s", page)
	}
	if err := v.silently("", oautherr.LoginRequired); err != nil {
		return fmt.Errorf("a wrong password has signed the browser in: %w", err)
	}
	if _, err := v.signIn(flow, page); err != nil {
		return fmt.Errorf("%w\n(the page after a wrong password has to keep req, the waiting request)", err)
	}
	return nil
}

func hostDeny(v *visitor) error {
	flow, page, err := v.consentPage()
	if err != nil {
		return err
	}
	if page, err = act("Deny", v.host.Deny, page); err != nil {
		return err
	}
	return v.refused(flow, page, oautherr.AccessDenied)
}

// hostClaims compares consent pages: what such a page always says tells nothing of a claim.
func hostClaims(v *visitor) error {
	_, page, err := v.consentPage()
	if err != nil {
		return err
	}
	usual, asked := html.UnescapeString(page.Body), map[string]any{}
	for name := range v.host.Claims {
		asked[name] = nil
	}
	for _, place := range []string{"id_token", "userinfo"} {
		claims, err := json.Marshal(map[string]any{place: asked})
		if err != nil {
			return err
		}
		again := &visitor{v.host, v.browser.another()}
		if _, page, err = again.consentPage(url.Values{"claims": {string(claims)}}); err != nil {
			return err
		}
		for name, text := range v.host.Claims {
			text = cmp.Or(text, name)
			if strings.Count(html.UnescapeString(page.Body), text) <= strings.Count(usual, text) {
				return fmt.Errorf("claims asks for %s in %s, and the consent page does not say %q "+
					"(see Request.ClaimsBeyondScopes):\n%s", name, place, text, page)
			}
		}
	}
	return nil
}
