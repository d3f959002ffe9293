package authorize

import (
	"context"
	"crypto/rand"
	"errors"
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

// Pending is a waiting request, as the host's pages see it.
type Pending struct {
	// Request is what the client asked for. A [PendingReader] does not know the client's
	// registration: Client is nil, default scopes and a default redirect URI are missing,
	// LeftOut is nil, and Scopes still has the scopes that will be left out. The request
	// was valid when it was signed, and is checked again before it is approved. Escape
	// every value on a page.
	Request *Request

	// Interaction is the name of the page that the user was sent to: [LoginInteraction] or
	// the name of an [Interaction]. Reason is why.
	Interaction string
	Reason      Reason

	// Anew is true if this browser has no cookie for the request: the request is finished,
	// its cookie was removed in favour of newer requests, or it began in another browser.
	// That is not an error. When the user comes back from the page, the request starts
	// anew, as if the browser had followed the client's own URL: earlier decisions do not
	// count. A [PendingReader] sees no cookies and leaves it false.
	Anew bool

	// Subject is the account: the user who was sent to the page, if the page's own request
	// carries the same sign-in. It is empty for the login, if Anew is true, and if the user
	// has signed out or anew meanwhile. A page handles the user's refusal first, with
	// [Handler.Deny]: a refusal counts, whoever is signed in. After that, every page but the
	// login page and a page for choosing an account calls [Handler.Resume] if Subject is
	// empty, so that only the user who is shown can agree. A [PendingReader] sees no sign-in:
	// it has the user who was sent.
	Subject string

	// ClientFacts, Resources and scopes are for a consent page; a [PendingReader] leaves them
	// empty. Resources are those of the request, with the names to show. GrantedScopes are
	// the scopes of the request that this user has granted the client before, and NewScopes
	// are the others. If Subject is empty nothing was granted before.
	ClientFacts
	Resources     []Resource
	NewScopes     []string
	GrantedScopes []string

	// ClaimsBeyondScopes are the names of the claims that the request asks for beyond its
	// scopes, for both places together, each once and sorted: see
	// [Request.ClaimsBeyondScopes]. A user who agrees to the scopes agrees to these too.
	ClaimsBeyondScopes []string

	// IssuedAt is when the request first arrived. From ExpiresAt on, it is refused when it
	// comes back.
	IssuedAt  time.Time
	ExpiresAt time.Time

	// JWT is the request as a signed JWT. A page keeps it in the parameter req
	// of its own form or URL.
	JWT string

	// Send the browser to ResumeURL, with status 303, when the user is done, and to DenyURL
	// when the user refused. [Handler.Resume] and [Handler.Deny] do this.
	ResumeURL string
	DenyURL   string
}

// LogValue keeps the JWT out of logs.
func (p Pending) LogValue() slog.Value {
	return slog.GroupValue(slog.String("interaction", p.Interaction), slog.Any("request", p.Request))
}

// String keeps the JWT out of logs.
func (p Pending) String() string { return p.LogValue().String() }

// Pending returns the waiting request in the parameter req of r. It reads req from the
// query or else from the form, and parses the form if the host has not. It is for the
// host's pages in this process. It records nothing. [Pending].Anew says whether this
// browser has no cookie for the request. For every page but the login page it asks the
// SessionStore about r, and the ConsentStore. An error means that req is missing, expired or
// not made by this endpoint, that the client or its redirect URI no longer exists, that a
// store failed, or that the client cannot be reached ([ErrClientUnreachable]).
// [Handler.ShowError] tells the user what to do.
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

// Resume sends the browser back to the endpoint, where the request continues with the user
// who is then signed in. Call it when the user has signed in. r carries req as for
// [Handler.Pending]. If r carries no req, no client has asked: Resume returns false and
// writes nothing, and the host continues as after an ordinary sign-in.
func (h *Handler) Resume(w http.ResponseWriter, r *http.Request) bool {
	req := reqOf(r)
	if req == "" {
		return false
	}
	h.backToEndpoint(w, r, req, "")
	return true
}

// Deny sends the browser back with the user's refusal: the client gets access_denied.
// Without req the user sees the error page.
func (h *Handler) Deny(w http.ResponseWriter, r *http.Request) {
	h.backToEndpoint(w, r, reqOf(r), "&deny=1")
}

// Complete records that the user has passed the interaction with this name, and sends the
// browser back. It counts only for this request and for the sign-in of r. If the page was
// not shown to that user, nothing is recorded and the page is shown. If nobody is signed in
// any more, or the browser has no cookie for the request, nothing is recorded either; the
// endpoint then decides how to continue. Call Complete only in response to a POST.
//
// The page may sign the same user in again, for example when it changes the password and
// ends all other sign-ins. The interactions that are completed so far then count for the
// new sign-in, if it has the same ACR, AMR and Data. The SessionStore must find the new
// sign-in in r already.
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

// record signs the request again, with the completed interaction. If the interaction does
// not count, it returns the request unchanged, and the endpoint decides how to continue.
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
	// On a page for choosing an account the user may change. Consent counts only from the
	// same sign-in that was asked.
	choosing := h.interactions[i].Prompt == "select_account"
	shown := w.Page == name && (choosing || w.For.renewedBy(s))
	if name == ConsentInteraction {
		shown = shown && w.For.Key == signInKey(s)
	}
	if !shown {
		// The endpoint will show the page to this sign-in.
		h.log.Warn("authorize: Complete or Grant was called for another page or sign-in than the one "+
			"that was shown, so the page is shown again. If this happens every time: Session.ID must stay the same "+
			"until the next sign-in", "interaction", name, "client_id", w.params().get("client_id"))
		return req, nil
	}
	if name == ConsentInteraction {
		if err := h.remember(v, granted); errors.Is(err, errNotShown) {
			return req, nil
		} else if err != nil {
			return "", err
		}
	}
	next := *w
	done := completed{Name: name, By: signInKey(s), Scopes: granted.Scopes, Data: granted.Data, Revision: w.Revision}
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

// reqOf returns the req of a request to one of the host's pages: from its query or from its
// form.
func reqOf(r *http.Request) string {
	if r.URL != nil { // it can be nil without an HTTP server in front
		if req := r.URL.Query().Get("req"); req != "" {
			return req
		}
	}
	if err := r.ParseForm(); err != nil {
		return ""
	}
	return r.PostForm.Get("req")
}

// reopen replaces v.params by the parameters in the waiting request. Besides req, only deny
// counts. If this browser has the cookie of the request, v.resumed has the earlier
// decisions. Otherwise the request starts anew, but only a few times in a row: a browser
// that keeps no cookies must not loop.
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

// maxAnew is how often in a row a request may start anew if a user is signed in.
// maxAnewOfNobody is for a browser in which nobody is signed in: it probably keeps no
// session cookie either.
const (
	maxAnew         = 2
	maxAnewOfNobody = 1
)

// recognize finds the client and the languages of the request for the error page. If the
// waiting request has expired, it also sets the way back to the client. req is the waiting
// request; if it is empty, v.params is used.
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
	next.Revision = revisionKey(v.client)
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

// askAgainByGET handles a POST in which nobody is signed in. It signs the request like a
// waiting one and redirects the browser to the endpoint with GET, because browsers do not
// send the session cookie with a POST from another site. The GET is the first visit.
func (h *Handler) askAgainByGET(v *visit) error {
	next := h.newWaiting(v, "")
	req, err := h.sign(&next)
	if err != nil {
		return err
	}
	v.page = h.config.Endpoint + "?req=" + url.QueryEscape(req)
	return nil
}

// fetched reports whether r is not a navigation (Fetch Metadata Request Headers §2.3). Then
// another page has sent it, for example by a script, and could not show a page of ours.
func fetched(r *http.Request) bool {
	mode := r.Header.Get("Sec-Fetch-Mode")
	return mode != "" && mode != "navigate"
}

// pageURL returns the page of the login redirector or of the interaction. It makes a path
// absolute, so that it cannot lead the browser to another host.
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
		// The error is left out, because it contains the URL with the request.
		return "", oautherr.ServerError.Because(
			fmt.Errorf("the page of %q is neither a path nor an https URL", p.Interaction))
	}
	return page, nil
}

// appendQuery adds a query parameter to a URL of the configuration, before its fragment.
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
