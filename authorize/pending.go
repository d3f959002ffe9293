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
	"strconv"
	"strings"
	"time"

	"github.com/usher-auth/usher/authorize/internal/destination"
	"github.com/usher-auth/usher/authorize/internal/jose"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// A request that needs the user waits outside this process: it is sealed into a
// signed JWT that travels through the host's pages as the parameter req, and is
// opened and judged anew when the browser brings it back. Nothing is stored. A
// cookie ties it to the browser that started it.

// sealedType keeps these JWTs apart from all others that the same keys may sign.
const sealedType = "usher-request+jwt"

// sealed are the claims of req.
type sealed struct {
	Issuer    string `json:"iss"`
	Audience  string `json:"aud"`
	ID        string `json:"jti"`
	IssuedAt  int64  `json:"iat"`
	ExpiresAt int64  `json:"exp"`

	// Params are the known parameters of the request, without id_token_hint, of
	// which only the subject that it proved goes along.
	Params      map[string][]string `json:"params"`
	HintSubject string              `json:"hint_sub,omitempty"`

	// Page and Reason say which interaction the browser was sent to, and why.
	Page   string `json:"page"`
	Reason Reason `json:"reason"`

	// For is the sign-in that was sent to the page; nil for the login.
	For *signIn `json:"for,omitempty"`

	// Browser is the hash of the secret in the cookie.
	Browser string `json:"browser"`

	// AuthTime is that of the session found first, in milliseconds, and FoundSubject
	// whose it was; 0: nobody.
	AuthTime     int64  `json:"auth_time,omitempty"`
	FoundSubject string `json:"found_sub,omitempty"`

	// Done are the interactions completed so far.
	Done []completed `json:"done,omitempty"`
}

// signIn stands for one sign-in of one user.
type signIn struct {
	Subject  string `json:"sub"`
	Session  string `json:"session"`  // hash, see sessionHash
	Standing string `json:"standing"` // hash of what a renewed sign-in must have kept
}

func signInOf(s *session.Session) *signIn {
	return &signIn{s.Subject, sessionHash(s), hash(fmt.Sprintf("standing %q %q %q", s.ACR, s.AMR, s.Data))}
}

// renewedBy reports whether s is the same sign-in or a renewed one of the same user, who
// stands as before: with the same roles, as far as the host keeps them in Data, and at
// the same level.
func (i *signIn) renewedBy(s *session.Session) bool {
	now := signInOf(s)
	return i != nil && i.Subject == now.Subject && (i.Session == now.Session || i.Standing == now.Standing)
}

// completed counts for one sign-in of one user only. The choice of an account counts for
// that user however often they sign in: its Session is empty.
type completed struct {
	Name    string   `json:"name"`
	Subject string   `json:"sub"`
	Session string   `json:"session,omitempty"` // hash, see sessionHash
	Scopes  []string `json:"scopes,omitempty"`
}

// Pending is a request that waits for the user, as the host's pages see it.
type Pending struct {
	// Request is what the client asked for. For [PendingReader] its Client is nil, and
	// what the client's registration would fill in is missing: default scopes and a
	// default redirect URI.
	// It was valid when it was sealed and is checked again before anything is
	// approved. Escape every value on a page.
	Request *Request

	// Interaction is the name of the page that the user was sent to,
	// [LoginInteraction] or one of the host's; Reason is why.
	Interaction string
	Reason      Reason

	// Subject is the user who was sent to the page; empty for the login. A page that
	// shows who is signed in compares it first and calls [Handler.Resume] if it is
	// another user by now, so that what is agreed to is agreed to by who is shown.
	Subject string

	// IssuedAt is when the request first arrived, ExpiresAt when it is too late
	// to bring it back.
	IssuedAt  time.Time
	ExpiresAt time.Time

	// Sealed is the request as a signed JWT. A page keeps it in the parameter req
	// of its own form or URL.
	Sealed string

	// ResumeURL is where to send the browser, with a 303, when the user is done,
	// DenyURL when the user said no. [Handler.Resume] and [Handler.Deny] do it.
	ResumeURL string
	DenyURL   string
}

// LogValue keeps the sealed request out of logs.
func (p Pending) LogValue() slog.Value {
	return slog.GroupValue(slog.String("interaction", p.Interaction), slog.Any("request", p.Request))
}

// String keeps the sealed request out of logs.
func (p Pending) String() string { return p.LogValue().String() }

// Pending returns the request in the req parameter of r: of its query, or of its form,
// which is parsed if the host has not. It is for the host's pages in this
// process. It does not look at the browser; [Handler.Resume] leads to that check.
// An error means that req is missing, expired or not of this endpoint's making, that
// the client or its redirect URI is gone since, or that the ClientStore failed:
// [Handler.ShowError] tells the user what to do.
func (h *Handler) Pending(r *http.Request) (*Pending, error) {
	req := reqOf(r)
	s, err := h.reader().open(req)
	if err != nil {
		return nil, err
	}
	p := pendingOf(s, req, h.config.Endpoint)
	ctx, cancel := context.WithTimeout(r.Context(), h.config.Timeout)
	defer cancel()
	client, to, err := h.identify(ctx, p.Request.params)
	if err != nil {
		return nil, err
	}
	p.Request.fillIn(client, to.URI())
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
// it is shown. A browser that did not start the request gets the error page.
// Call it in answer to a POST.
//
// The page may sign the same user in anew, as one for changing the password does that
// ends all other sign-ins: what the user has done for the request so far then counts
// for the new one, if it has the same ACR, AMR and Data. The SessionStore has to see it
// on r already.
//
// For consent call [Handler.Grant] instead.
func (h *Handler) Complete(w http.ResponseWriter, r *http.Request, name string) {
	h.complete(w, r, name, nil)
}

func (h *Handler) complete(w http.ResponseWriter, r *http.Request, name string, scopes []string) {
	ctx, cancel := context.WithTimeout(r.Context(), h.config.Timeout)
	defer cancel()
	r = r.WithContext(ctx)
	a := answer{started: h.config.Now()}
	req, err := h.resealCompleted(r, &a, name, scopes)
	if err != nil {
		h.respond(w, r, a.refuse(err))
		return
	}
	h.backToEndpoint(w, r, req, "")
}

func (h *Handler) resealCompleted(r *http.Request, a *answer, name string, scopes []string) (req string, err error) {
	i := slices.IndexFunc(h.interactions, func(i Interaction) bool { return i.Name == name })
	if i < 0 {
		return "", oautherr.ServerError.Because(fmt.Errorf("Complete was called for %q: no interaction has that name", name))
	}
	if a.resumed, err = h.openInBrowser(r, reqOf(r)); err != nil {
		return "", err
	}
	s, err := h.config.Sessions.Session(r)
	if err = inTime(r.Context(), err); err != nil {
		return "", storeFailed("SessionStore.Session", err)
	}
	if !s.SignedIn() {
		return "", errNotSignedIn
	}
	a.session = s
	// On a page for choosing an account, the user is what changes. Consent is given by the
	// very sign-in that was asked.
	choosing := h.interactions[i].Prompt == "select_account"
	shown := a.resumed.Page == name && (choosing || a.resumed.For.renewedBy(s))
	if name == ConsentInteraction {
		shown = shown && a.resumed.For.Session == sessionHash(s)
	}
	if !shown {
		// The endpoint will see to it that this sign-in sees the page.
		h.log.Warn("authorize: an interaction was completed that is not the one shown, or by another sign-in than it was shown to: Session.ID has to stay the same until the next one", "interaction", name)
		return reqOf(r), nil
	}
	if name == ConsentInteraction {
		if err := h.remember(r, a, scopes); err != nil {
			return "", err
		}
	}
	next := *a.resumed
	done := completed{Name: name, Subject: s.Subject, Session: sessionHash(s), Scopes: scopes}
	if choosing {
		done.Session = ""
	}
	next.complete(done, s)
	if req, err = h.seal(&next); err == nil {
		h.report(context.WithoutCancel(r.Context()), Event{
			Kind: EventCompleted, Time: a.started.UTC(), ClientID: next.params().get("client_id"),
			Subject: s.Subject, SessionID: s.ID, Scopes: scopes, Interaction: name,
		})
	}
	return req, err
}

func (h *Handler) backToEndpoint(w http.ResponseWriter, r *http.Request, req, suffix string) {
	if req == "" {
		h.ShowError(w, r, errNoRequest)
		return
	}
	setHeaders(w.Header())
	redirect(w, r, h.config.Endpoint+"?req="+url.QueryEscape(req)+suffix)
}

// reqOf finds req where a host's page has it: in its own URL or in its form.
func reqOf(r *http.Request) string {
	if req := r.URL.Query().Get("req"); req != "" {
		return req
	}
	if err := r.ParseForm(); err != nil {
		return ""
	}
	return r.PostForm.Get("req")
}

// unseal replaces the parameters of a request that comes back from a page by those
// that were sealed. Beside req only deny counts.
func (h *Handler) unseal(r *http.Request, p params) (*sealed, params, error) {
	if r.Method != http.MethodGet {
		return nil, params{}, errNoRequest
	}
	s, err := h.openInBrowser(r, p.get("req"))
	if err != nil {
		return nil, params{}, err
	}
	original := s.params()
	original.denied = p.denied
	return s, original, nil
}

// interact seals the request and sends the browser to the page.
func (h *Handler) interact(r *http.Request, a answer) answer {
	next := sealed{}
	if a.resumed != nil {
		next = *a.resumed
	} else {
		secret := rand.Text()
		next = h.newSealed(a.request, a.session, hash(secret))
		a.cookies = h.pendingCookies(r, next.ID, secret, a.started)
	}
	next.Page, next.Reason = a.decision.Interaction, a.decision.Reason
	next.For = nil
	switch {
	case next.Page != LoginInteraction:
		next.For = signInOf(a.session)
	case a.session.SignedIn() && a.session.Subject != next.FoundSubject && next.AuthTime != 0:
		// Another account was chosen, and is to sign in anew: from now on that one counts.
		next.found(a.session)
	}
	req, err := h.seal(&next)
	if err != nil {
		return a.refuse(err)
	}
	page, err := h.pageURL(r.Context(), pendingOf(&next, req, h.config.Endpoint))
	if err != nil {
		return a.refuse(err)
	}
	a.page = page
	return a
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
		page = appendQuery(h.interactions[i].Page, "req", p.Sealed)
	}
	if err = inTime(ctx, err); err != nil {
		return "", storeFailed("LoginRedirector.LoginPage", err)
	}
	if page, err = h.absolute(page); err != nil {
		// The error has the URL in it, and that has the request in it.
		return "", oautherr.ServerError.Because(fmt.Errorf("the page of %q is neither a path nor an https URL", p.Interaction))
	}
	return page, nil
}

func (h *Handler) newSealed(r *Request, s *session.Session, browser string) sealed {
	now := h.config.Now()
	next := sealed{
		Issuer:      h.config.Issuer,
		Audience:    h.config.Endpoint,
		ID:          rand.Text(),
		IssuedAt:    now.Unix(),
		ExpiresAt:   now.Add(h.config.PendingLifetime).Unix(),
		Params:      map[string][]string{},
		HintSubject: r.hintSubject,
		Browser:     browser,
	}
	for _, x := range r.params.list {
		if x.name != "id_token_hint" {
			next.Params[x.name] = append(next.Params[x.name], x.value)
		}
	}
	next.found(s)
	return next
}

func (s *sealed) found(by *session.Session) {
	if by != nil && !by.AuthTime.IsZero() {
		s.AuthTime, s.FoundSubject = by.AuthTime.UnixMilli(), by.Subject
	}
}

func (h *Handler) seal(s *sealed) (string, error) {
	req, err := h.keys.Sign(sealedType, s)
	if errors.Is(err, jose.ErrTooLarge) {
		return "", oautherr.InvalidRequest.With("The request is too long to be kept while the user signs in.")
	}
	if err != nil {
		return "", oautherr.ServerError.Because(fmt.Errorf("signing the request: %w", err))
	}
	return req, nil
}

// params gives the sealed parameters back in a fixed order.
func (s *sealed) params() params {
	p := params{}
	names := make([]string, 0, len(s.Params))
	for name := range s.Params {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range s.Params[name] {
			p.list = append(p.list, param{name, value})
		}
	}
	return p
}

// facts is what a decision needs of it.
func (s *sealed) facts() *Resumed {
	resumed := &Resumed{Since: time.Unix(s.IssuedAt, 0)}
	if s.AuthTime != 0 {
		resumed.AuthTime, resumed.Subject = time.UnixMilli(s.AuthTime), s.FoundSubject
	}
	return resumed
}

// complete adds what the user has done now. If the page has renewed the sign-in, what was
// done before goes over to the new one.
func (s *sealed) complete(now completed, by *session.Session) {
	done := []completed{now}
	for _, before := range s.Done {
		if s.For.renewedBy(by) && before.Subject == s.For.Subject && before.Session == s.For.Session {
			before.Session = sessionHash(by)
		}
		if before.Name != now.Name {
			done = append(done, before)
		}
	}
	s.Done = done
}

// completion returns the record of an interaction if it counts for the session.
func (s *sealed) completion(name string, by *session.Session) *completed {
	if s == nil || by == nil {
		return nil
	}
	for i, c := range s.Done {
		if c.Name == name && c.Subject == by.Subject && (c.Session == "" || c.Session == sessionHash(by)) {
			return &s.Done[i]
		}
	}
	return nil
}

// granted returns the scopes asked for, or fewer if the user has ticked fewer.
func (s *sealed) granted(asked []string, by *session.Session) []string {
	consent := s.completion(ConsentInteraction, by)
	if consent == nil {
		return asked
	}
	return slices.DeleteFunc(slices.Clone(asked), func(scope string) bool { return !slices.Contains(consent.Scopes, scope) })
}

// completedBy reports whether the session has completed any interaction.
func (s *sealed) completedBy(by *session.Session) bool {
	return slices.ContainsFunc(s.Done, func(c completed) bool { return s.completion(c.Name, by) != nil })
}

// sessionHash stands for one sign-in of one user: its id, or its time where the host
// has none.
func sessionHash(s *session.Session) string {
	if s.ID != "" {
		return hash("id " + s.ID + " " + s.Subject)
	}
	return hash("auth_time " + strconv.FormatInt(s.AuthTime.UnixMilli(), 10) + " " + s.Subject)
}

// appendQuery adds a parameter to a URL of the configuration.
func appendQuery(target, name, value string) string {
	target, fragment, found := strings.Cut(target, "#")
	separator := "?"
	if strings.Contains(target, "?") {
		separator = "&"
	}
	target += separator + name + "=" + destination.Escape(value)
	if found {
		target += "#" + fragment
	}
	return target
}
