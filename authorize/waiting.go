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

// A request that needs the user waits outside this process: as a signed JWT that
// travels through the host's pages as the parameter req, and is opened and judged
// anew when the browser brings it back. Nothing is stored. A cookie ties what was
// decided for it to the browser that started it. A whole request without its cookie is
// worth what the client's own URL is worth: it begins anew.

// waitingType keeps these JWTs apart from all others that the same keys may sign.
const waitingType = "usher-request+jwt"

// waiting are the claims of req.
type waiting struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	ID       string `json:"jti"`

	// IssuedAt is when the request arrived, in this browser where it began anew.
	IssuedAt  instant `json:"iat"`
	ExpiresAt instant `json:"exp"`

	// Params are the known parameters of the request, without id_token_hint, of
	// which only the subject that it proved goes along, or that it proved none.
	Params         map[string][]string `json:"params"`
	HintSubject    []byte              `json:"hint_sub,omitempty"`
	HintUnverified bool                `json:"hint_unverified,omitempty"`

	// Page and Reason say which interaction the browser was sent to, and why. They
	// are empty between a POST and the GET that repeats it.
	Page   string `json:"page,omitempty"`
	Reason Reason `json:"reason,omitempty"`

	// For is the sign-in that was sent to the page; nil for the login.
	For *signIn `json:"for,omitempty"`

	// Browser is the hash of the secret in the cookie. Empty between a POST and its
	// GET: then no browser has begun.
	Browser string `json:"browser,omitempty"`

	// Found are the sign-ins that cannot be new. Stale and Nobody count the returns
	// from the login page in a row that were of no use; see resumed.
	Found  []found `json:"found,omitempty"`
	Stale  int     `json:"stale,omitempty"`
	Nobody int     `json:"nobody,omitempty"`

	// Anew is how often in a row the request has come back without its cookie.
	// Registered says that somebody was signed in when it last began anew, which
	// answers prompt=create.
	Anew       int  `json:"anew,omitempty"`
	Registered bool `json:"registered,omitempty"`

	// Done are the interactions completed so far.
	Done []completed `json:"done,omitempty"`
}

// instant is a NumericDate (RFC 7519 §2) with milliseconds, which are what it counts.
type instant int64

func instantOf(t time.Time) instant { return instant(t.UnixMilli()) }

func (i instant) time() time.Time { return time.UnixMilli(int64(i)).UTC() }

// MarshalJSON writes seconds, with a fraction where there is one.
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

// found is a sign-in as it was when it was found.
type found struct {
	Key      string `json:"k"`
	AuthTime int64  `json:"t"` // milliseconds
}

// signIn stands for the sign-in that is shown a page. Subjects are bytes in the JWT, so
// that the longest is no longer than base64 makes it.
type signIn struct {
	Subject  []byte `json:"sub"`
	Key      string `json:"key"`
	Standing string `json:"standing"` // hash of what a renewed sign-in must have kept
}

func signInOf(s *session.Session) *signIn {
	standing := shortHash(fmt.Sprintf("standing %q %q %q", s.ACR, s.AMR, s.Data))
	return &signIn{[]byte(s.Subject), signInKey(s), standing}
}

// renewedBy reports whether s is the same sign-in or a renewed one of the same user, who
// stands as before: with the same roles, as far as the host keeps them in Data, and at
// the same level.
func (i *signIn) renewedBy(s *session.Session) bool {
	now := signInOf(s)
	return i != nil && string(i.Subject) == s.Subject && (i.Key == now.Key || i.Standing == now.Standing)
}

// completed counts for one sign-in of one user, or for one user however often they
// sign in: By is signInKey or subjectKey.
type completed struct {
	Name   string   `json:"name"`
	By     string   `json:"by"`
	Scopes []string `json:"scopes,omitempty"`
	Data   []byte   `json:"data,omitempty"`
}

func subjectKey(s *session.Session) string { return shortHash("subject " + s.Subject) }

// shortHash stands for something that is no secret, in 128 bits: 22 characters.
func shortHash(text string) string { return hash(text)[:22] }

// newWaiting is the request of a first visit.
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

// find notes a sign-in that cannot be new from now on.
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

// sentTo notes where the decision sends the browser, and with whom. Returns of no use are
// counted as long as they come from the login page. One with nobody does not end the row of
// those with a sign-in that does not count, nor the other way round: taking turns would
// be a loop.
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

// params gives the parameters back, with what the hint has proven.
func (w *waiting) params() params {
	p := params{hintSubject: string(w.HintSubject), hintUnverified: w.HintUnverified}
	p.hinted = p.hintSubject != "" || p.hintUnverified
	for name, values := range w.Params {
		for _, value := range values {
			p.list = append(p.list, param{name, value})
		}
	}
	return p
}

// carried are the parameters that a waiting request has in it.
func (p params) carried() map[string][]string {
	m := make(map[string][]string, len(p.list))
	for _, x := range p.list {
		if x.name != "id_token_hint" {
			m[x.name] = append(m[x.name], x.value)
		}
	}
	return m
}

// facts is what a decision needs of it.
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

// complete adds what the user has done now. If the page has renewed the sign-in, what was
// done before goes over to the new one.
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
	if w == nil || !by.SignedIn() {
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

// jsonLength is how long the parameters and granted scopes can become in a waiting request.
func jsonLength(p params, scopes []string) int {
	n := len(`"scopes":[],`)
	if p.hinted {
		n += len(`"hint_sub":"",`) + base64.StdEncoding.EncodedLen(maxSubject)
	}
	for _, x := range p.list {
		if x.name == "id_token_hint" {
			continue
		}
		// A list of one for each value: where resource repeats, that is a little more.
		n += len(`"":[""],`) + len(x.name) + jsonLen(x.value)
	}
	for _, scope := range scopes {
		n += len(`"",`) + jsonLen(scope)
	}
	return n
}

// lenOfEmptyWaiting is how long the claims of a request without parameters can become: with
// all sign-ins that can be found and every page passed.
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
			done.Data = make([]byte, maxGrantData)
		}
		w.Done = append(w.Done, done)
		if len(x.Name) > len(w.Page) {
			w.Page = x.Name
		}
	}
	text, err := json.Marshal(w)
	return len(text), err
}

// maxInstant is as long as the instants of the next ten thousand years.
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
