package authorize

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/usher-auth/usher/authorize/internal/jose"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// A request that needs the user waits outside this process. It is a signed JWT that passes
// through the host's pages in the parameter req. When the browser brings it back, it is
// verified and checked again. Nothing is stored. A cookie binds the decisions for the
// request to the browser that started it. A valid request without its cookie is treated
// like the client's own URL: it starts anew.

// waitingType distinguishes these JWTs from all others that the same keys may sign.
const waitingType = "usher-request+jwt"

// waiting are the claims of req.
type waiting struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	ID       string `json:"jti"`

	// IssuedAt is when the request arrived. If it started anew, it is when it did so in
	// this browser.
	IssuedAt  instant `json:"iat"`
	ExpiresAt instant `json:"exp"`

	// Params are the known parameters of the request, without id_token_hint. HintSubject is
	// the subject that the hint proved; HintUnverified is true if it proved none.
	Params         map[string][]string `json:"params"`
	HintSubject    []byte              `json:"hint_sub,omitempty"`
	HintUnverified bool                `json:"hint_unverified,omitempty"`

	// Page and Reason say which interaction the browser was sent to, and why. They are
	// empty between a POST and its GET (see askAgainByGET).
	Page   string `json:"page,omitempty"`
	Reason Reason `json:"reason,omitempty"`

	// Revision is the revisionKey of the client that the page shows.
	Revision string `json:"revision,omitempty"`

	// For is the sign-in that was sent to the page; nil for the login.
	For *signIn `json:"for,omitempty"`

	// Browser is the hash of the secret in the cookie. It is empty between a POST and its
	// GET, when there is no cookie yet.
	Browser string `json:"browser,omitempty"`

	// Found are the sign-ins that cannot count as new. Stale and Nobody count how often in
	// a row the browser came back from the login page without a usable sign-in; see
	// resumed.
	Found  []found `json:"found,omitempty"`
	Stale  int     `json:"stale,omitempty"`
	Nobody int     `json:"nobody,omitempty"`

	// Anew is how often in a row the request has come back without its cookie. Registered
	// is true if somebody was signed in when it last started anew: then prompt=create
	// counts as done.
	Anew       int  `json:"anew,omitempty"`
	Registered bool `json:"registered,omitempty"`

	// Done are the interactions completed so far.
	Done []completed `json:"done,omitempty"`
}

// instant is a time in milliseconds since 1970. In JSON it is a NumericDate (RFC 7519 §2).
type instant int64

func instantOf(t time.Time) instant { return instant(t.UnixMilli()) }

func (i instant) time() time.Time { return time.UnixMilli(int64(i)).UTC() }

// MarshalJSON writes seconds, with a fraction if needed.
func (i instant) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(i)/1000, 'f', -1, 64), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (i *instant) UnmarshalJSON(text []byte) error {
	seconds, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.Abs(seconds) > 1<<40 {
		return errors.New("not a NumericDate")
	}
	*i = instant(math.Round(seconds * 1000))
	return nil
}

// found is a sign-in with its AuthTime when it was found.
type found struct {
	Key      string `json:"k"`
	AuthTime int64  `json:"t"` // milliseconds
}

// signIn identifies the sign-in that a page is shown to. The subject is bytes, so that it
// takes at most its base64 length in the JWT.
type signIn struct {
	Subject  []byte `json:"sub"`
	Key      string `json:"key"`
	Standing string `json:"standing"` // hash of the ACR, AMR and Data that a renewed sign-in must keep
}

func signInOf(s *session.Session) *signIn {
	standing := shortHash(fmt.Sprintf("standing %q %q %q", s.ACR, s.AMR, s.Data))
	return &signIn{[]byte(s.Subject), signInKey(s), standing}
}

// renewedBy reports whether s is the same sign-in, or a new one of the same user with the
// same ACR, AMR and Data. The host may keep roles in Data, so these must be the same too.
func (i *signIn) renewedBy(s *session.Session) bool {
	now := signInOf(s)
	return i != nil && string(i.Subject) == s.Subject && (i.Key == now.Key || i.Standing == now.Standing)
}

// completed is a completed interaction. By is signInKey if it counts for one sign-in of a
// user, and subjectKey if it counts for the user, however often they sign in.
type completed struct {
	Name   string   `json:"name"`
	By     string   `json:"by"`
	Scopes []string `json:"scopes,omitempty"`
	Data   []byte   `json:"data,omitempty"`

	Revision string `json:"revision,omitempty"` // as in waiting
}

func subjectKey(s *session.Session) string { return shortHash("subject " + s.Subject) }

// shortHash identifies a text that is not secret, by about 128 bits in 22 characters.
func shortHash(text string) string { return hash(text)[:22] }

// newWaiting returns the waiting request of a first visit.
func (h *Handler) newWaiting(v *visit, browser string) waiting {
	r := v.request
	w := waiting{
		Issuer:         h.config.Issuer,
		Audience:       h.config.Endpoint,
		ID:             newID(),
		IssuedAt:       instantOf(v.started),
		ExpiresAt:      instantOf(v.started.Add(h.config.PendingLifetime)),
		Params:         r.params.carried(),
		HintSubject:    []byte(r.hintSubject),
		HintUnverified: r.hintUnverified,
		Browser:        browser,
		Anew:           v.anew,
		Registered:     v.anew > 0 && v.session.SignedIn(),
	}
	w.find(v.session)
	return w
}

// find records a sign-in: from now on it cannot count as new.
func (w *waiting) find(s *session.Session) {
	if !s.SignedIn() {
		return
	}
	now := found{signInKey(s), s.AuthTime.UnixMilli()}
	w.Found = slices.Clone(w.Found)
	for i := range w.Found {
		if w.Found[i].Key == now.Key {
			w.Found[i].AuthTime = max(w.Found[i].AuthTime, now.AuthTime)
			return
		}
	}
	w.Found = append(w.Found, now)
}

// sentTo records the page that the browser is sent to, and the sign-in. It counts how often
// the browser comes back from the login page without a usable sign-in. Stale and Nobody are
// counted independently: neither resets the other, because alternating returns would then
// be an endless loop.
func (w *waiting) sentTo(d decision, s *session.Session) {
	again := d.Interaction == LoginInteraction && w.Page == LoginInteraction
	switch {
	case again && s.SignedIn():
		w.Stale++
	case again:
		w.Nobody++
	default:
		w.Stale, w.Nobody = 0, 0
	}
	w.Page, w.Reason, w.For = d.Interaction, d.Reason, nil
	if d.Interaction == LoginInteraction {
		w.find(s)
	} else {
		w.For = signInOf(s)
	}
}

// sign returns the request as a JWT.
func (h *Handler) sign(w *waiting) (string, error) {
	req, err := h.keys.Sign(waitingType, w)
	if errors.Is(err, jose.ErrTooLarge) {
		return "", errReqTooLong
	}
	if err != nil {
		return "", oautherr.ServerError.Because(fmt.Errorf("signing the request: %w", err))
	}
	return req, nil
}

// params returns the parameters in a fixed order, with the subject that the hint proved.
func (w *waiting) params() params {
	p := params{hintSubject: string(w.HintSubject), hintUnverified: w.HintUnverified}
	p.hinted = p.hintSubject != "" || p.hintUnverified
	names := make([]string, 0, len(w.Params))
	for name := range w.Params {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range w.Params[name] {
			p.list = append(p.list, param{name, value})
		}
	}
	return p
}

// carried returns the parameters that are kept in a waiting request.
func (p params) carried() map[string][]string {
	m := make(map[string][]string, len(p.list))
	for _, x := range p.list {
		if x.name != "id_token_hint" {
			m[x.name] = append(m[x.name], x.value)
		}
	}
	return m
}

// facts returns the facts of the waiting request that a decision needs.
func (w *waiting) facts() *resumed {
	r := &resumed{
		since:     w.IssuedAt.time(),
		fromLogin: w.Page == LoginInteraction,
		stale:     w.Stale,
		nobody:    w.Nobody,
	}
	for _, f := range w.Found {
		r.found = append(r.found, signInFound{f.Key, time.UnixMilli(f.AuthTime)})
	}
	return r
}

// complete adds the interaction that the user has now completed. If the page has renewed
// the sign-in, earlier completed interactions are moved to the new sign-in.
func (w *waiting) complete(now completed, by *session.Session) {
	done := []completed{now}
	for _, before := range w.Done {
		if w.For.renewedBy(by) && before.By == w.For.Key {
			before.By = signInKey(by)
		}
		if before.Name != now.Name {
			done = append(done, before)
		}
	}
	w.Done = done
}

// completion returns the record of an interaction if it counts for the session.
func (w *waiting) completion(name string, by *session.Session) *completed {
	if w == nil || len(w.Done) == 0 || !by.SignedIn() {
		return nil
	}
	signIn, subject := signInKey(by), subjectKey(by)
	for i, c := range w.Done {
		if c.Name == name && (c.By == signIn || c.By == subject) {
			return &w.Done[i]
		}
	}
	return nil
}

// completedBy reports whether the session has completed any interaction.
func (w *waiting) completedBy(by *session.Session) bool {
	return slices.ContainsFunc(w.Done, func(c completed) bool { return w.completion(c.Name, by) != nil })
}

// jsonLength returns how many bytes the parameters and granted scopes can take in a waiting
// request.
func jsonLength(p params, scopes []string) int {
	n := len(`"scopes":[],`)
	if p.hinted {
		n += len(`"hint_sub":"",`) + base64.StdEncoding.EncodedLen(maxSubject)
	}
	for _, x := range p.list {
		if x.name == "id_token_hint" {
			continue
		}
		// Each value counts as a list of its own. If resource repeats, that is slightly too
		// much.
		n += len(`"":[""],`) + len(x.name) + jsonLen(x.value)
	}
	for _, scope := range scopes {
		n += len(`"",`) + jsonLen(scope)
	}
	return n
}

// lenOfEmptyWaiting returns how many bytes the claims of a request without parameters can
// take: with the most sign-ins in Found and every interaction completed.
func (h *Handler) lenOfEmptyWaiting() (int, error) {
	key := shortHash("")
	w := waiting{
		Issuer:         h.config.Issuer,
		Audience:       h.config.Endpoint,
		ID:             newID(),
		IssuedAt:       maxInstant,
		ExpiresAt:      maxInstant,
		Params:         map[string][]string{},
		HintUnverified: true,
		Page:           LoginInteraction,
		Revision:       key,
		Reason:         ReasonPromptSelectAccount,
		Browser:        hash(""),
		Stale:          9,
		Nobody:         9,
		Anew:           9,
		Registered:     true,
	}
	for range maxFound {
		w.Found = append(w.Found, found{key, math.MinInt64})
	}
	for _, x := range h.interactions {
		w.For = &signIn{make([]byte, maxSubject), key, key}
		done := completed{Name: x.Name, By: key}
		if x.Name == ConsentInteraction {
			done.Data, done.Revision = make([]byte, maxGrantData), key
		}
		w.Done = append(w.Done, done)
		if len(x.Name) > len(w.Page) {
			w.Page = x.Name
		}
	}
	text, err := json.Marshal(w)
	return len(text), err
}

// maxInstant is the end of the year 9999. No instant before it is longer in JSON.
const maxInstant = instant(253402300799999)

// jsonLen returns how many bytes the text has in JSON, as jose writes it.
func jsonLen(text string) int {
	n := len(text)
	for i, c := range text {
		switch {
		case c == '"' || c == '\\' || c == '\n' || c == '\r' || c == '\t' || c == '\b' || c == '\f':
			n++
		case c < 0x20:
			n += len(`\u0000`) - 1
		case c == '\u2028' || c == '\u2029':
			n += len(`\u2028`) - len("\u2028")
		case c == utf8.RuneError && !strings.HasPrefix(text[i:], "\ufffd"):
			n += len(`\ufffd`) - 1
		}
	}
	return n
}
