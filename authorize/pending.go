package authorize

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/authorize/internal/uri"
	oautherr "github.com/usher-auth/usher/errors"
)

// Pending is a request that waits for the user, as the host's pages see it.
type Pending struct {
	// Request is what the client asked for. For [PendingReader] its Client is nil, and
	// what the client's registration would fill in is missing: default scopes and a
	// default redirect URI, and LeftOut, so that Scopes have what will be left out.
	// It was valid when it was signed and is checked again before anything is
	// approved. Escape every value on a page.
	Request *Request

	// Interaction is the name of the page that the user was sent to,
	// [LoginInteraction] or one of the host's; Reason is why.
	Interaction string
	Reason      Reason

	// Anew is true if this browser has no cookie for the request: it was answered
	// already, was pushed out by others, or began in another browser. That is no
	// error. Who comes back from the page begins anew, as by the client's own URL:
	// whatever was decided for the request before is left out. A [PendingReader] sees
	// no cookies and leaves it false.
	Anew bool

	// Subject is the account: the user who was sent to the page, and whose sign-in the
	// page's own request carries. It is empty for the login, where Anew is true, and where
	// another sign-in came or the user signed out meanwhile. A page takes the user's no
	// first, with [Handler.Deny]: it counts whoever is signed in. Then any page but the
	// login page calls [Handler.Resume] if Subject is empty, so that the user who agrees is
	// the one who is shown. A [PendingReader] sees no sign-in: it has the user who was sent.
	Subject string

	// ClientFacts, Resources and scopes are for a consent page; a [PendingReader] leaves them
	// empty. Resources are those of the request, with the names to show. GrantedScopes
	// are those of Request.Scopes that this user has granted the client before, and
	// NewScopes all others. Where Subject is empty nothing was granted before.
	ClientFacts
	Resources     []Resource
	NewScopes     []string
	GrantedScopes []string

	// IssuedAt is when the request first arrived, ExpiresAt when it is too late
	// to bring it back.
	IssuedAt  time.Time
	ExpiresAt time.Time

	// JWT is the request as a signed JWT. A page keeps it in the parameter req
	// of its own form or URL.
	JWT string

	// ResumeURL is where to send the browser, with a 303, when the user is done,
	// DenyURL when the user said no. [Handler.Resume] and [Handler.Deny] do it.
	ResumeURL string
	DenyURL   string
}

// LogValue keeps the JWT out of logs.
func (p Pending) LogValue() slog.Value {
	return slog.GroupValue(slog.String("interaction", p.Interaction), slog.Any("request", p.Request))
}

// String keeps the JWT out of logs.
func (p Pending) String() string { return p.LogValue().String() }

// Pending returns the request in the req parameter of r: of its query, or of its form,
// which is parsed if the host has not. It is for the host's pages in this process. It
// records nothing; whether this browser began the request is in [Pending].Anew. An error
// means that req is missing, expired or not of this endpoint's making, that the client or
// its redirect URI is gone since, that a store failed, or that the client cannot be
// reached ([ErrClientUnreachable]): [Handler.ShowError] tells the user what to do. For any
// page but the login page the SessionStore is asked about r, and the ConsentStore.
func (h *Handler) Pending(r *http.Request) (*Pending, error) {
	req := reqOf(r)
	w, err := h.pending.open(req)
	if err != nil {
		return nil, err
	}
	p := pendingOf(w, req, h.config.Endpoint)
	ctx, cancel := context.WithTimeout(r.Context(), h.config.Timeout)
	defer cancel()
	client, to, err := h.identify(ctx, p.Request.params)
	if err != nil {
		return nil, err
	}
	p.Request.fillIn(&h.config, client, to.URI())
	p.Anew = !h.hasCookieOf(r, w)
	if err := h.addFacts(r.WithContext(ctx), p, w); err != nil {
		return nil, err
	}
	return p, nil
}

// Resume sends the browser back to the endpoint, where the request goes on with
// whoever is signed in by then. Call it when the user has signed in. r carries req
// as for [Handler.Pending]. If it carries none, nobody had asked: Resume reports false
// and writes nothing, and the host goes on as after any sign-in of its own.
func (h *Handler) Resume(w http.ResponseWriter, r *http.Request) bool {
	req := reqOf(r)
	if req == "" {
		return false
	}
	h.backToEndpoint(w, r, req, "")
	return true
}

// Deny sends the browser back with the user's no: the client gets access_denied.
// Without req the user sees the error page.
func (h *Handler) Deny(w http.ResponseWriter, r *http.Request) {
	h.backToEndpoint(w, r, reqOf(r), "&deny=1")
}

// Complete records that the user has passed the interaction with this name and
// sends the browser back. It counts for this request and for the sign-in that r
// carries, no other; if the page was not shown to that user, nothing is recorded and
// it is shown. If nobody is signed in any more, or the browser has no cookie for the
// request, nothing is recorded either, and the endpoint goes on from there.
// Call it in answer to a POST.
//
// The page may sign the same user in anew, as one for changing the password does that
// ends all other sign-ins: what the user has done for the request so far then counts
// for the new one, if it has the same ACR, AMR and Data. The SessionStore has to see it
// on r already.
//
// For consent call [Handler.Grant] instead.
func (h *Handler) Complete(w http.ResponseWriter, r *http.Request, name string) {
	h.complete(w, r, name, Granted{})
}

func (h *Handler) complete(w http.ResponseWriter, r *http.Request, name string, granted Granted) {
	ctx, cancel := context.WithTimeout(r.Context(), h.config.Timeout)
	defer cancel()
	v := &visit{http: r.WithContext(ctx), started: h.config.Now()}
	req, err := h.record(v, name, granted)
	if err != nil {
		h.recognize(v, reqOf(r))
		v.refuse(err)
		h.respond(w, v)
		return
	}
	h.backToEndpoint(w, r, req, "")
}

// record signs the request anew, with what the user has done. Where that cannot count
// it returns the request as it is: the endpoint knows what is to be done then.
func (h *Handler) record(v *visit, name string, granted Granted) (req string, err error) {
	i := slices.IndexFunc(h.interactions, func(i Interaction) bool { return i.Name == name })
	if i < 0 {
		return "", oautherr.ServerError.Because(
			fmt.Errorf("Complete was called for %q: no interaction has that name", name))
	}
	req = reqOf(v.http)
	w, err := h.pending.open(req)
	if err != nil {
		return "", err
	}
	if !h.hasCookieOf(v.http, w) {
		return req, nil
	}
	v.resumed = w
	if v.session, err = h.signedIn(v.http); err != nil {
		return "", err
	}
	s := v.session
	if !s.SignedIn() {
		return req, nil
	}
	// On a page for choosing an account, the user is what changes. Consent is given by the
	// very sign-in that was asked.
	choosing := h.interactions[i].Prompt == "select_account"
	shown := w.Page == name && (choosing || w.For.renewedBy(s))
	if name == ConsentInteraction {
		shown = shown && w.For.Key == signInKey(s)
	}
	if !shown {
		// The endpoint will see to it that this sign-in sees the page.
		h.log.Warn("authorize: an interaction was completed that is not the one shown, or by another sign-in than "+
			"it was shown to, so it is shown again. If that happens each time: Session.ID has to stay the same "+
			"until the next sign-in", "interaction", name, "client_id", w.params().get("client_id"))
		return req, nil
	}
	if name == ConsentInteraction {
		if err := h.remember(v, granted); err != nil {
			return "", err
		}
	}
	next := *w
	done := completed{Name: name, By: signInKey(s), Scopes: granted.Scopes, Data: granted.Data}
	if choosing {
		done.By = subjectKey(s) // however often that user signs in
	}
	next.complete(done, s)
	if req, err = h.sign(&next); err == nil {
		h.report(context.WithoutCancel(v.http.Context()), Event{
			Kind: EventCompleted, Time: v.started.UTC(), ClientID: next.params().get("client_id"),
			Subject: s.Subject, SessionID: s.ID, Scopes: granted.Scopes, Interaction: name,
		})
	}
	return req, err
}

func (h *Handler) backToEndpoint(w http.ResponseWriter, r *http.Request, req, suffix string) {
	if req == "" {
		h.ShowError(w, r, errReqMissing)
		return
	}
	setHeaders(w.Header())
	redirect(w, r, h.config.Endpoint+"?req="+url.QueryEscape(req)+suffix)
}

// reqOf finds req where a host's page has it: in its own URL or in its form.
func reqOf(r *http.Request) string {
	if r.URL != nil { // there is none without a server in front
		if req := r.URL.Query().Get("req"); req != "" {
			return req
		}
	}
	if err := r.ParseForm(); err != nil {
		return ""
	}
	return r.PostForm.Get("req")
}

// reopen replaces the parameters of a request that comes back from a page by those that
// it carries. Beside req only deny counts. What was decided for it is in v.resumed if
// this browser has its cookie. Otherwise it begins anew, which does not go on for ever
// in a browser that keeps no cookies.
func (h *Handler) reopen(v *visit) error {
	denied, req := v.params.denied, v.params.get("req")
	w, err := h.pending.open(req)
	if v.http.Method != http.MethodGet {
		err = errReqMissing
	}
	if err != nil {
		h.recognize(v, req)
		return err
	}
	v.params, v.denied, v.signed = w.params(), denied, true
	switch {
	case h.hasCookieOf(v.http, w):
		v.resumed = w
	case w.Browser != "":
		v.anew = w.Anew + 1
	}
	if v.anew > maxAnew && !denied {
		h.recognize(v, req)
		return errCookiesMissing
	}
	return nil
}

// maxAnew is how often in a row a request may begin anew for a user who is signed in,
// maxAnewOfNobody where nobody is: that browser keeps no session either.
const (
	maxAnew         = 2
	maxAnewOfNobody = 1
)

// recognize finds out for an error page whose request this is: it speaks the user's
// language then, names the client and, where the request has waited too long, offers a
// way back. req is a request of ours; empty: there is only what could be read.
func (h *Handler) recognize(v *visit, req string) {
	late := false
	if req != "" {
		w, err := h.pending.openLate(req)
		if err != nil {
			return
		}
		v.params, late = w.params(), !v.started.Before(w.ExpiresAt.time())
	}
	client, to, err := h.identify(v.http.Context(), v.params)
	v.client = client
	if err == nil && late {
		v.back = to
	}
}

// interact signs the request and sends the browser to the page.
func (h *Handler) interact(v *visit) error {
	if fetched(v.http) {
		return v.onPage(errFetched)
	}
	next := waiting{}
	if v.resumed != nil {
		next = *v.resumed
		next.Anew = 0
	} else {
		secret := rand.Text()
		next = h.newWaiting(v, hash(secret))
		v.cookies = h.pendingCookies(v.http, next.ID, secret, v.started)
	}
	next.sentTo(v.decision, v.session)
	req, err := h.sign(&next)
	if err != nil {
		return err
	}
	page, err := h.pageURL(v.http.Context(), pendingOf(&next, req, h.config.Endpoint))
	if err != nil {
		return err
	}
	v.page = page
	return nil
}

// askAgainByGET sends a POST for which nobody is signed in to our own GET, signed like
// a request that waits: browsers leave the session cookie off a POST that comes from
// another site. The GET is the first visit.
func (h *Handler) askAgainByGET(v *visit) error {
	next := h.newWaiting(v, "")
	req, err := h.sign(&next)
	if err != nil {
		return err
	}
	v.page = h.config.Endpoint + "?req=" + url.QueryEscape(req)
	return nil
}

// fetched reports whether a program of a page has sent r, which could show no page of
// ours: whatever is no navigation (Fetch Metadata Request Headers §2.3).
func fetched(r *http.Request) bool {
	mode := r.Header.Get("Sec-Fetch-Mode")
	return mode != "" && mode != "navigate"
}

// pageURL asks the login redirector or the interaction for its page and makes a
// path absolute, so that the browser cannot be led to another host by it.
func (h *Handler) pageURL(ctx context.Context, p *Pending) (string, error) {
	page, err := "", error(nil)
	switch {
	case p.Interaction == LoginInteraction && p.Request.Prompts("create"):
		page, err = h.config.Register.LoginPage(ctx, p)
	case p.Interaction == LoginInteraction:
		page, err = h.config.Login.LoginPage(ctx, p)
	default:
		i := slices.IndexFunc(h.interactions, func(i Interaction) bool { return i.Name == p.Interaction })
		page = appendQuery(h.interactions[i].Page, "req", p.JWT)
	}
	if err = hostError(ctx, "LoginRedirector.LoginPage", err); err != nil {
		return "", err
	}
	if page, err = h.absolute(page); err != nil {
		// The error has the URL in it, and that has the request in it.
		return "", oautherr.ServerError.Because(
			fmt.Errorf("the page of %q is neither a path nor an https URL", p.Interaction))
	}
	return page, nil
}

// appendQuery adds a parameter to a URL of the configuration.
func appendQuery(target, name, value string) string {
	target, fragment, found := strings.Cut(target, "#")
	separator := "?"
	if strings.Contains(target, "?") {
		separator = "&"
	}
	target += separator + uri.Encode([]uri.Param{{Name: name, Value: value}})
	if found {
		target += "#" + fragment
	}
	return target
}
