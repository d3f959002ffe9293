package corpus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// setupStep is one thing that happens before the request of a stateful case. Which
// members count depends on Do.
type setupStep struct {
	Do      string
	Client  string
	Session string
	Save    string
	Expect  string

	QueryAdd string `json:"query_add"` // authorize, code: appended as it is
	NoPKCE   bool   `json:"no_pkce"`   // authorize, code

	As         string // login
	NewBrowser bool   `json:"new_browser"`
	WithCookie string `json:"with_cookie"`

	Seconds float64  // advance
	URIs    []string // client_set_redirects

	Resume string // resume: what was saved, RESUME by default

	Code        string          // redeem: what was saved, CODE by default
	Verifier    json.RawMessage // absent: the right one; null: none
	RedirectURI json.RawMessage `json:"redirect_uri"` // the same
	Parallel    int
	ExpectOK    *int `json:"expect_ok"`

	MustNotContain string `json:"must_not_contain"` // store_dump
}

// The verifier and challenge of RFC 7636 appendix B, which the corpus uses.
const (
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

// do runs a step. An unknown verb is an error, and so is a step without the result that the
// case needs.
func (w *world) do(step setupStep) error {
	switch step.Do {
	case "authorize":
		return w.doAuthorize(step)
	case "login":
		return w.doLogin(step)
	case "logout":
		rec := httptest.NewRecorder()
		if err := w.cookies.SignOut(rec, visit(w.browser)); err != nil {
			return err
		}
		w.signedIn = ""
		return keep(w.browser, rec.Header())
	case "resume":
		return w.doResume(step)
	case "advance":
		w.clock.advance(time.Duration(step.Seconds * float64(time.Second)))
		return nil
	case "client_delete":
		w.clients.remove(step.client(w))
		return nil
	case "client_set_redirects":
		return w.doSetRedirects(step)
	case "code":
		return w.doCode(step)
	case "redeem":
		return w.doRedeem(step)
	case "store_dump":
		return w.doStoreDump(step)
	}
	return errors.New("unknown verb")
}

// client returns the client of the step, or else that of the case.
func (step setupStep) client(w *world) string {
	if step.Client != "" {
		return step.Client
	}
	return w.client
}

// request returns a valid request of the step's client.
func (step setupStep) request(w *world) (rawRequest, error) {
	client := step.client(w)
	uris := w.redirectURIs(client)
	if len(uris) == 0 {
		return rawRequest{}, fmt.Errorf("the client %q has no redirect URI", client)
	}
	query := "response_type=code&client_id=" + url.QueryEscape(client) + "&redirect_uri=" + url.QueryEscape(uris[0]) +
		"&scope=openid&state=xyzABC123&nonce=n-0S6_WzA2Mj"
	if !step.NoPKCE {
		query += "&code_challenge=" + challenge + "&code_challenge_method=S256"
	}
	query += step.QueryAdd
	return rawRequest{Method: "GET", Path: "/authorize", Query: &query}, nil
}

// doAuthorize starts a request that has to wait for the user, and saves the query that
// resumes it.
func (w *world) doAuthorize(step setupStep) error {
	r, err := step.request(w)
	if err != nil {
		return err
	}
	if step.Session == "" {
		step.Session = w.signedIn
	}
	a, err := w.send(r, step.client(w), step.Session)
	if err != nil {
		return err
	}
	if a.kind != loginRedirect {
		return fmt.Errorf("got %s, which leaves nothing to resume", a)
	}
	for _, p := range a.params {
		if p.name == "req" {
			resume := "req=" + url.QueryEscape(p.value)
			w.saved[step.Save] = resume
			w.origins[resume] = a.asked
			return nil
		}
	}
	return errors.New("the login page gets no req")
}

// doLogin signs the user in on the host's login page, which takes one second of the clock.
func (w *world) doLogin(step setupStep) error {
	if step.NewBrowser {
		w.browser = authorizetest.NewBrowser()
	}
	model, ok := modelSessions[step.As]
	if !ok {
		return fmt.Errorf("the model has no user %q", step.As)
	}
	if step.WithCookie != "" {
		cookie, err := w.expand(step.WithCookie)
		if err != nil {
			return err
		}
		name, value, _ := strings.Cut(cookie, "=")
		if err := setCookie(w.browser, &http.Cookie{Name: name, Value: value}); err != nil {
			return err
		}
	}
	w.clock.advance(time.Second)
	w.signedIn = step.As
	return w.signIn(w.browser, session.Session{
		Subject:             model.subject,
		SecondFactorPending: model.half,
		AMR:                 []string{"pwd"},
	})
}

func (w *world) doResume(step setupStep) error {
	name := step.Resume
	if name == "" {
		name = "RESUME"
	}
	query, ok := w.saved[name]
	if !ok {
		return fmt.Errorf("no step saved %s", name)
	}
	query += step.QueryAdd
	a, err := w.send(rawRequest{Method: "GET", Path: "/authorize", Query: &query}, step.client(w), w.signedIn)
	if err != nil {
		return err
	}
	if step.Expect != "" && step.Expect != a.kind && step.Expect != a.param("error") {
		return fmt.Errorf("got %s, want %s", a, step.Expect)
	}
	return nil
}

func (w *world) doSetRedirects(step setupStep) error {
	c, ok := w.clients.find(step.client(w))
	if !ok {
		return fmt.Errorf("no client %q", step.client(w))
	}
	c.RedirectURIs = step.URIs
	w.clients.put(c)
	return nil
}

// doCode gets a code and remembers how it has to be redeemed.
func (w *world) doCode(step setupStep) error {
	r, err := step.request(w)
	if err != nil {
		return err
	}
	if step.Session == "" {
		step.Session = w.session
	}
	if step.Session == "none" {
		step.Session = "alice"
	}
	a, err := w.send(r, step.client(w), step.Session)
	if err != nil {
		return err
	}
	if a.kind != codeRedirect {
		return fmt.Errorf("got %s, want a code", a)
	}
	right := authorize.Redemption{
		Code:        a.param("code"),
		ClientID:    step.client(w),
		RedirectURI: w.redirectURIs(step.client(w))[0],
		Verifier:    verifier,
	}
	if step.NoPKCE {
		right.Verifier = ""
	}
	w.saved[step.Save] = right.Code
	w.redemptions[step.Save] = right
	return nil
}

// doRedeem presents a code, one time or many times at once.
func (w *world) doRedeem(step setupStep) error {
	r, err := step.redemption(w)
	if err != nil {
		return err
	}
	if step.Parallel > 1 {
		return w.redeemAtOnce(step, r)
	}
	outcome := w.redeem(r)
	if want := step.Expect; outcome != want && (want != "" || outcome != "ok") {
		return fmt.Errorf("got %s, want %s", outcome, want)
	}
	return nil
}

func (step setupStep) redemption(w *world) (r authorize.Redemption, err error) {
	name := step.Code
	if name == "" {
		name = "CODE"
	}
	r, ok := w.redemptions[name]
	if !ok {
		return r, fmt.Errorf("no step saved %s", name)
	}
	if step.Client != "" {
		r.ClientID = step.Client
	}
	if r.Verifier, err = w.argument(step.Verifier, r.Verifier); err != nil {
		return r, err
	}
	r.RedirectURI, err = w.argument(step.RedirectURI, r.RedirectURI)
	return r, err
}

// argument returns the text of a step, "" for null, or the standard if it is absent.
func (w *world) argument(raw json.RawMessage, standard string) (string, error) {
	if raw == nil {
		return standard, nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return "", err
	}
	return w.expand(text)
}

// redeem is the token endpoint. It returns "ok" or the error code.
func (w *world) redeem(r authorize.Redemption) string {
	if _, err := w.handler.Redeem(context.Background(), r); err != nil {
		return string(oautherr.Of(err).Code)
	}
	return "ok"
}

func (w *world) redeemAtOnce(step setupStep, r authorize.Redemption) error {
	outcomes := make(chan string, step.Parallel)
	begin := make(chan struct{})
	for range step.Parallel {
		go func() {
			<-begin
			outcomes <- w.redeem(r)
		}()
	}
	close(begin)
	count := map[string]int{}
	for range step.Parallel {
		count[<-outcomes]++
	}
	want := 1
	if step.ExpectOK != nil {
		want = *step.ExpectOK
	}
	if count["ok"] != want || count["invalid_grant"] != step.Parallel-want {
		return fmt.Errorf("%d at once ended with %v, want %d ok and the others invalid_grant", step.Parallel,
			count, want)
	}
	return nil
}

// doStoreDump looks for a saved value, or a text, in all that the store was given.
func (w *world) doStoreDump(step setupStep) error {
	text, ok := w.saved[step.MustNotContain]
	if !ok {
		text = step.MustNotContain
	}
	dump, err := w.dump()
	if err != nil {
		return err
	}
	if text == "" || dump == "" {
		return errors.New("there is no text to look for, or nothing was stored")
	}
	if strings.Contains(dump, text) {
		return fmt.Errorf("the store was given %s", step.MustNotContain)
	}
	return nil
}
