package authorizetest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	oautherr "github.com/usher-auth/usher/errors"
)

// Host is a program that mounts the authorization endpoint, as far as [TestHost] has to know
// it. Client, Open and SignIn have to be set. What else is zero leaves out the rules that
// need it.
type Host struct {
	// Client is one of the host's clients. Without its TokenEndpoint the rules about
	// redeeming a code are left out.
	Client Client

	// Other is another one, for the rule that a client cannot redeem the code of another.
	Other Client

	// Open names the sites of the host to the browser, with [Browser.Handle] or
	// [Browser.Connect]. It is called for each subtest. It may start the host for that, or
	// name the same one every time.
	Open func(t *testing.T, b *Browser)

	// SignIn fills in the login page, and a second factor if there is one, as a user who may
	// use the client: the same one every time. It returns where that leads. The consent page is
	// for Agree. A page may be left out where the user is signed in already.
	SignIn func(page *Page) (*Page, error)

	// WrongPassword fills in the login page with a password, or a second factor, that is wrong. It
	// returns the page where the user tries again, which is for SignIn.
	WrongPassword func(page *Page) (*Page, error)

	// Agree passes the consent page, and all other pages after the sign-in. It is called
	// where there is one: a host may remember what was agreed to. Nil: no such page is shown
	// for the client.
	Agree func(page *Page) (*Page, error)

	// Cancel says no on the login page, and Deny on the consent page.
	Cancel func(page *Page) (*Page, error)
	Deny   func(page *Page) (*Page, error)

	// Claims are what the consent page says of claims that no scope of the client releases, such
	// as "phone_number": "See your phone number". An empty text is the name itself. The client asks
	// for them by the parameter claims.
	Claims map[string]string
}

// TestHost holds a host to what its users and clients rely on in a sign-in, in one subtest for
// each rule: who asks twice, says no, comes back, clicks twice or works in two tabs, and what
// other sites, other browsers and other clients must not get. It is no test of the endpoint
// but of what the host has built around it. The log of t says which rules are left out.
//
// The user signs in about 30 times, which a rate limit has to let through, and each sign-in
// has to be told from the one before, by Session.ID or by an AuthTime with milliseconds.
func TestHost(t *testing.T, host Host) {
	t.Helper()
	if missing := host.missing(); missing != "" {
		t.Fatalf("authorizetest: Host.%s is not set", missing)
	}
	rules, leftOut := hostRules(&host)
	if leftOut != "" {
		t.Log("authorizetest: some rules are left out. To have them, set" + leftOut)
	}
	testRules(t, rules, host.visit)
}

// missing names a field that has to be set and is not.
func (h *Host) missing() string {
	switch {
	case h.Client.Issuer == "":
		return "Client.Issuer"
	case h.Client.ID == "":
		return "Client.ID"
	case h.Client.RedirectURI == "":
		return "Client.RedirectURI"
	case h.Open == nil:
		return "Open"
	case h.SignIn == nil:
		return "SignIn"
	}
	return ""
}

// visit opens the host for one rule.
func (h *Host) visit(t *testing.T) *visitor {
	b := NewBrowser()
	h.Open(t, b)
	b.leaves = h.isResponse
	return &visitor{h, b}
}

// isResponse reports whether an address is that of a response to the client. The host may have
// the client's pages too, and they would use the code up.
func (h *Host) isResponse(u *url.URL) bool {
	for _, c := range []Client{h.Client, h.Other} {
		to, err := url.Parse(c.RedirectURI)
		if err == nil && samePlace(u, to) && u.Query().Has("iss") {
			return true
		}
	}
	return false
}

// samePlace compares all but query and fragment.
func samePlace(a, b *url.URL) bool { return originOf(a) == originOf(b) && a.Path == b.Path }

// visitor is a user of a host in one browser.
type visitor struct {
	host    *Host
	browser *Browser
}

// elsewhere is a page of a site that is not the host's.
const elsewhere = "https://another-site.example/"

// begin brings the user from the client's site to the login page, with a new request.
func (v *visitor) begin(changes ...url.Values) (*Flow, *Page, error) {
	flow := v.host.Client.Start(changes...)
	page, err := v.browser.OpenFrom(elsewhere, flow.URL)
	return flow, page, first(err, wantPage(page, "the login page is not shown"))
}

// wantPage wants a page of the host that is no error.
func wantPage(page *Page, otherwise string) error {
	if page != nil && (page.Left || page.Status >= http.StatusBadRequest) {
		return fmt.Errorf("%s:\n%s", otherwise, page)
	}
	return nil
}

// act calls a function of the host's test.
func act(name string, do func(*Page) (*Page, error), on *Page) (*Page, error) {
	page, err := do(on)
	if err == nil && page == nil {
		err = errors.New("it returned no page")
	}
	switch {
	case err == nil:
		return page, nil
	case strings.Contains(err.Error(), on.String()):
		return nil, fmt.Errorf("the function %s of the Host: %w", name, err)
	}
	return nil, fmt.Errorf("the function %s of the Host: %w, on:\n%s", name, err, on)
}

// signIn takes the user from the login page to the client with a code.
func (v *visitor) signIn(flow *Flow, login *Page) (code string, err error) {
	page, err := act("SignIn", v.host.SignIn, login)
	if err != nil {
		return "", err
	}
	if v.host.Agree != nil && !page.Left && page.Status < http.StatusBadRequest {
		if page, err = act("Agree", v.host.Agree, page); err != nil {
			return "", err
		}
	}
	return v.code(flow, page)
}

// code reads the response that the client gets.
func (v *visitor) code(flow *Flow, page *Page) (code string, err error) {
	if !page.Left {
		return "", fmt.Errorf("the browser does not go back to the client:\n%s", page)
	}
	if code, err = flow.Check(page.Request); err != nil {
		return "", fmt.Errorf("the client gets no code: %w:\n%s", err, page)
	}
	return code, nil
}

// consentPage brings the user to the consent page.
func (v *visitor) consentPage(changes ...url.Values) (*Flow, *Page, error) {
	flow, login, err := v.begin(append(changes, url.Values{"prompt": {"consent"}})...)
	if err != nil {
		return nil, nil, err
	}
	page, err := act("SignIn", v.host.SignIn, login)
	return flow, page, first(err, wantPage(page,
		"the user is not asked to agree, or Host.SignIn has done so, which is for Host.Agree"))
}

// signedIn signs the user in for a code.
func (v *visitor) signedIn() (flow *Flow, code string, err error) {
	flow, login, err := v.begin()
	if err != nil {
		return nil, "", err
	}
	code, err = v.signIn(flow, login)
	return flow, code, err
}

// signsInAnew wants a user who is signed in to sign in once more.
func (v *visitor) signsInAnew(changes url.Values) error {
	if _, _, err := v.signedIn(); err != nil {
		return err
	}
	flow, login, err := v.begin(changes)
	if err != nil {
		return err
	}
	if _, err := v.signIn(flow, login); err != nil {
		return fmt.Errorf("%w\n(Session.ID or Session.AuthTime has to tell this sign-in from the one before)", err)
	}
	return nil
}

// refused wants the client to get an error.
func (v *visitor) refused(flow *Flow, page *Page, want oautherr.Code) error {
	if !page.Left {
		return fmt.Errorf("the browser does not go back to the client:\n%s", page)
	}
	if _, err := flow.Check(page.Request); !errors.Is(err, want) {
		return fmt.Errorf("the client gets %s, want %s:\n%s", outcome(err), want, page)
	}
	return nil
}

// silently asks for a code without a page, and wants an error if want is not empty.
func (v *visitor) silently(from string, want oautherr.Code) error {
	flow := v.host.Client.Start(url.Values{"prompt": {"none"}})
	page, err := v.browser.OpenFrom(from, flow.URL)
	switch {
	case err != nil:
		return err
	case want != "":
		return v.refused(flow, page, want)
	}
	_, err = v.code(flow, page)
	asked := errors.Is(err, oautherr.ConsentRequired) || errors.Is(err, oautherr.InteractionRequired)
	if asked && v.host.Agree != nil { // a host may ask each time
		return nil
	}
	return err
}

// redeem takes the code to the token endpoint, and wants an error if want is not empty.
func (v *visitor) redeem(flow *Flow, code string, want oautherr.Code, changes ...url.Values) error {
	to, err := url.Parse(flow.tokenEndpoint)
	if err != nil {
		return redacted{err}
	}
	site := v.browser.sites[originOf(to)]
	if site == nil {
		return fmt.Errorf("no site has the origin of the token endpoint, %s: name it in Host.Open", originOf(to))
	}
	_, err = flow.exchange(site, code, changes...)
	switch {
	case want == "" && err != nil:
		return fmt.Errorf("redeeming the code: %w", err)
	case want != "" && err == nil:
		return fmt.Errorf("the token endpoint gives tokens, want %s", want)
	case want != "" && !errors.Is(err, want):
		return fmt.Errorf("want %s: %w", want, err)
	}
	return nil
}

// redeemsAfter wants a redemption with the changes to be refused and one without them to be
// good.
func (v *visitor) redeemsAfter(changes url.Values) error {
	flow, code, err := v.signedIn()
	if err != nil {
		return err
	}
	if err := v.redeem(flow, code, oautherr.InvalidGrant, changes); err != nil {
		return err
	}
	if err := v.redeem(flow, code, ""); err != nil {
		return fmt.Errorf("after one that was refused: %w", err)
	}
	return nil
}

// waitingRequest finds it on a login page; a host may have put something else in its place.
func waitingRequest(login *Page) string {
	if req := login.URL.Query().Get("req"); req != "" {
		return req
	}
	for _, form := range login.Forms {
		if req := form.Fields.Get("req"); req != "" {
			return req
		}
	}
	return ""
}

// doubleClick sends the first form twice and drops the first response, as a browser does.
type doubleClick struct {
	http.RoundTripper
	clicked *bool
}

func (d doubleClick) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPost || *d.clicked {
		return d.RoundTripper.RoundTrip(r)
	}
	*d.clicked = true
	body, err := r.GetBody()
	if err != nil {
		return nil, err
	}
	again := r.Clone(r.Context())
	again.Body = body
	dropped, err := d.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	dropped.Body.Close()
	return d.RoundTripper.RoundTrip(again)
}

// hostRule makes a rule of a check that needs no context.
func hostRule(name string, check func(v *visitor) error) rule[*visitor] {
	return rule[*visitor]{name, func(_ context.Context, v *visitor) error { return check(v) }}
}
