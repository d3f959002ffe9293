package authorize

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/authorize/internal/jose"
	"github.com/usher-auth/usher/authorize/internal/uri"
	oautherr "github.com/usher-auth/usher/errors"
)

// setUp checks the configuration, fills in the defaults and copies the values that it
// keeps.
func (h *Handler) setUp() error {
	c := &h.config
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	h.log = c.Logger
	h.observed = c.OnEvent != nil || c.Logger.Handler() != slog.DiscardHandler
	return errors.Join(
		h.setUpURLs(),
		h.setUpStores(),
		h.setUpInteractions(),
		h.setUpParameters(),
		h.setUpLimits(),
		h.setUpKeys(),
		h.setUpWaiting(),
	)
}

// wrong returns an error that names the wrong field of Config.
func wrong(field, format string, args ...any) error {
	return fmt.Errorf("%s %s", "Config."+field, fmt.Sprintf(format, args...))
}

func (h *Handler) setUpURLs() error {
	c := &h.config
	issuer, err := checkURL("Issuer", c.Issuer)
	if err != nil {
		return err
	}
	if strings.Contains(c.Issuer, "?") {
		return wrong("Issuer", "has a query: remove it (RFC 8414 §2)")
	}
	if c.Endpoint == "" {
		c.Endpoint = defaultEndpoint(c.Issuer)
	}
	endpoint, err := checkURL("Endpoint", c.Endpoint)
	if err != nil {
		return err
	}
	if strings.Contains(c.Endpoint, "?") {
		return wrong("Endpoint", "has a query: remove it, because the request's parameters go there")
	}
	if endpoint.Scheme != issuer.Scheme {
		return wrong("Endpoint", "has another scheme than Issuer: use https for both")
	}
	h.origin = endpoint.Scheme + "://" + endpoint.Host
	h.secure = endpoint.Scheme == "https"
	if c.ErrorURL != "" && c.ErrorPage != nil {
		return wrong("ErrorURL", "is set, and so is ErrorPage: leave one of them empty")
	}
	if c.ErrorURL != "" {
		if c.ErrorURL, err = h.absolute(c.ErrorURL); err != nil {
			return wrong("ErrorURL", "cannot be used: %v", err)
		}
	}
	return nil
}

func defaultEndpoint(issuer string) string { return strings.TrimSuffix(issuer, "/") + "/authorize" }

// checkURL accepts https, and http on loopback, where nobody can eavesdrop.
func checkURL(field, text string) (*url.URL, error) {
	if text == "" {
		return nil, wrong(field, "is empty: set an https URL")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, wrong(field, "is not a URL: %v", err)
	case u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, wrong(field, "is %q: set an https URL", text)
	case strings.ContainsAny(text, "#@\\ ") || u.Opaque != "":
		return nil, wrong(field, "is %q: remove fragment, user and anything unusual", text)
	case u.Scheme == "http" && !uri.IsLoopback(hostOf(u)):
		return nil, wrong(field, "is %q: http is allowed on loopback only, use https", text)
	}
	return u, nil
}

// hostOf returns the host without its port. An IPv6 literal keeps its brackets.
func hostOf(u *url.URL) string {
	if port := u.Port(); port != "" {
		return strings.TrimSuffix(u.Host, ":"+port)
	}
	return u.Host
}

// absolute makes a path absolute on the endpoint's origin, and checks a URL. It refuses
// paths that browsers read as the URL of another host.
func (h *Handler) absolute(page string) (string, error) {
	if strings.HasPrefix(page, "/") && !strings.HasPrefix(page, "//") && !strings.ContainsFunc(page, unsafeInPath) {
		return h.origin + page, nil
	}
	u, err := url.Parse(page)
	if err != nil {
		return "", err
	}
	secure := u.Scheme == "https" || u.Scheme == "http" && uri.IsLoopback(hostOf(u))
	if u.Hostname() == "" || u.User != nil || !secure {
		return "", fmt.Errorf("%.80q is neither a path nor an https URL", page)
	}
	return page, nil
}

// checkPage checks the URL of a page that users are sent to with a waiting request.
func (h *Handler) checkPage(page string) error {
	target, err := h.absolute(page)
	if err != nil {
		return err
	}
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return err
	case strings.TrimSuffix(target, "?"+u.RawQuery) == h.config.Endpoint:
		return errors.New("it is the endpoint itself, which would send the browser in circles")
	case u.Query().Has("req"):
		return errors.New("it has the parameter req, which is for the request")
	}
	return nil
}

// unsafeInPath reports whether browsers drop the character or read it as a slash.
func unsafeInPath(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }

func (h *Handler) setUpStores() error {
	c := &h.config
	var missing []error
	for _, field := range []struct {
		name  string
		value any
		hint  string
	}{
		{"Clients", c.Clients, "NewMemory gives one that is enough to begin with"},
		{"Sessions", c.Sessions, "use SessionFunc for the sessions that you have, or session.NewCookies"},
		{"Codes", c.Codes, "NewMemory gives one that is enough for one process"},
		{"Login", c.Login, `use LoginURL("/login")`},
	} {
		if isNil(field.value) {
			missing = append(missing, wrong(field.name, "is nil: %s", field.hint))
		}
	}
	if c.Resources != nil && isNil(c.Resources) {
		missing = append(missing, wrong("Resources", "is a nil pointer or function: leave it nil for no resources"))
	}
	if list, ok := c.Resources.(ResourceMap); ok {
		c.Resources = maps.Clone(list)
		missing = append(missing, list.check())
	}
	if c.Register != nil && isNil(c.Register) {
		missing = append(missing, wrong("Register", "is a nil pointer: leave it nil if there is no such page"))
	}
	for _, field := range []struct {
		name  string
		value LoginRedirector
	}{{"Login", c.Login}, {"Register", c.Register}} {
		if page, ok := field.value.(LoginURL); ok && h.origin != "" {
			if err := h.checkPage(string(page)); err != nil {
				missing = append(missing, wrong(field.name, "cannot be used: %v", err))
			}
		}
	}
	return errors.Join(missing...)
}

// isNil reports whether the value is nil, or an interface with a nil pointer or function in
// it.
func isNil(value any) bool {
	if value == nil {
		return true
	}
	v := reflect.ValueOf(value)
	return (v.Kind() == reflect.Pointer || v.Kind() == reflect.Func) && v.IsNil()
}

// setUpInteractions puts the interactions into their order and collects the values of
// prompt. The choice of an account comes first, because the chosen user has to agree. Then
// comes consent, then the others in the order of the configuration.
func (h *Handler) setUpInteractions() error {
	choosing := func(i Interaction) bool { return i.Prompt == "select_account" }
	notChoosing := func(i Interaction) bool { return !choosing(i) }
	h.interactions = slices.DeleteFunc(slices.Clone(h.config.Interactions), notChoosing)
	consentAt := len(h.interactions)
	if h.config.Consent != nil {
		consent := *h.config.Consent
		h.config.Consent = &consent
		h.interactions = append(h.interactions, consent.interaction())
	}
	h.interactions = append(h.interactions, slices.DeleteFunc(slices.Clone(h.config.Interactions), choosing)...)
	h.prompts = []string{"none", "login", "consent", "select_account"}
	if h.config.Register != nil {
		h.prompts = append(h.prompts, "create")
	}
	names := map[string]bool{LoginInteraction: true}
	for i := range h.interactions {
		step := &h.interactions[i]
		where := fmt.Sprintf("Interactions %q", step.Name)
		if i == consentAt && h.config.Consent != nil {
			where = "Consent"
		}
		switch {
		case !validName(step.Name):
			return wrong(where, "has a name that is not %s", formOfNames)
		case names[step.Name] || step.Name == ConsentInteraction && (i != consentAt || h.config.Consent == nil):
			return wrong(where, "has a name that is taken")
		case step.Needed == nil && step.Prompt == "":
			return wrong(where, "has neither Needed nor Prompt, so nobody would ever see it")
		case step.Prompt == "none" || step.Prompt == "login" || step.Prompt == "create":
			return wrong(where, "has the prompt %q, which has a meaning of its own", step.Prompt)
		case step.Prompt != "" && !validName(step.Prompt):
			return wrong(where, "has the prompt %q, which is not %s", step.Prompt, formOfNames)
		}
		if err := h.checkPage(step.Page); h.origin != "" && err != nil {
			return wrong(where, "has a Page that cannot be used: %v", err)
		}
		names[step.Name] = true
		if step.Error == "" {
			step.Error = defaultErrorWithoutPage(step.Prompt)
		}
		if step.Prompt != "" {
			h.prompts = appendOnce(h.prompts, step.Prompt)
		}
	}
	return nil
}

// defaultErrorWithoutPage is the error for prompt=none where Interaction.Error is empty.
func defaultErrorWithoutPage(prompt string) oautherr.Code {
	switch prompt {
	case "select_account":
		return oautherr.AccountSelectionRequired
	case "consent":
		return oautherr.ConsentRequired
	}
	return oautherr.InteractionRequired
}

// maxName is the longest name of an interaction, prompt or parameter, in bytes.
const maxName = 32

var formOfNames = fmt.Sprintf("1 to %d lower-case letters, digits, '-' and '_'", maxName)

func validName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return len(name) >= 1 && len(name) <= maxName
}

// validScope reports whether the text is a scope-token (RFC 6749 §3.3).
func validScope(scope string) bool {
	return scope != "" && strings.Trim(scope, scopeCharacters) == ""
}

// scopeCharacters is NQCHAR of RFC 6749 App. A. strings.Trim leaves nothing of a text that
// has only these characters.
var scopeCharacters = strings.TrimPrefix(oautherr.NQSCHAR, " ")

func (h *Handler) setUpParameters() error {
	c := &h.config
	h.known = map[string]bool{}
	for _, name := range knownParameters {
		h.known[name] = true
	}
	h.known["resource"] = c.Resources != nil
	c.Parameters = slices.Clone(c.Parameters)
	for _, name := range c.Parameters {
		if !validName(name) || h.known[name] || name == "deny" || name == "resource" {
			return wrong("Parameters", "has %q, which is taken or is not %s", name, formOfNames)
		}
		h.known[name] = true
	}
	c.Require = slices.Clone(c.Require)
	for _, name := range c.Require {
		if !h.known[name] {
			return wrong("Require", "has %q, which is not a known parameter", name)
		}
	}
	if c.ResponseTypes == nil {
		c.ResponseTypes = []string{"code"}
	}
	c.ResponseTypes = slices.Clone(c.ResponseTypes)
	for _, responseType := range c.ResponseTypes {
		if responseType != "code" && responseType != "none" {
			return wrong("ResponseTypes", `has %q, and only "code" and "none" are supported`, responseType)
		}
	}
	if len(c.ResponseTypes) == 0 {
		return wrong("ResponseTypes", "is empty: leave it nil for code")
	}
	c.Scopes, c.DefaultScopes = slices.Clone(c.Scopes), slices.Clone(c.DefaultScopes)
	for _, scope := range c.Scopes {
		if !validScope(scope) {
			return wrong("Scopes", "has %q, which is empty "+
				"or has a character that a scope may not have (RFC 6749 §3.3)", scope)
		}
	}
	for _, scope := range c.DefaultScopes {
		if !validScope(scope) || c.Scopes != nil && !slices.Contains(c.Scopes, scope) {
			return wrong("DefaultScopes", "has %q, which is not among Scopes "+
				"or has a character that a scope may not have (RFC 6749 §3.3)", scope)
		}
	}
	return nil
}

// setUpWaiting computes how much room a waiting request has for its parameters.
func (h *Handler) setUpWaiting() error {
	if h.keys == nil {
		return nil // setUpKeys has reported it
	}
	empty, err := h.lenOfEmptyWaiting()
	if err != nil {
		return err
	}
	h.room = h.keys.Room(waitingType) - empty
	if h.room < leastRoom {
		return wrong("Interactions", "leave %d bytes for the parameters of a waiting request, and %d are needed: "+
			"use fewer of them, or a shorter Issuer, Endpoint or key", h.room, leastRoom)
	}
	return nil
}

// leastRoom is the room in bytes that the requests of usual clients need.
const leastRoom = 2000

func (h *Handler) setUpLimits() error {
	c := &h.config
	for _, limit := range []struct {
		name                  string
		value                 *time.Duration
		standard, least, most time.Duration
	}{
		{"CodeLifetime", &c.CodeLifetime, time.Minute, time.Second, 10 * time.Minute},
		{"PendingLifetime", &c.PendingLifetime, 30 * time.Minute, time.Second, 24 * time.Hour},
		{"ClockSkew", &c.ClockSkew, 5 * time.Second, time.Millisecond, 5 * time.Minute},
		{"Timeout", &c.Timeout, 10 * time.Second, time.Millisecond, 5 * time.Minute},
	} {
		if *limit.value == 0 {
			*limit.value = limit.standard
		}
		if *limit.value < limit.least || *limit.value > limit.most {
			return wrong(limit.name, "is %s: use 0 for %s, or from %s to %s",
				*limit.value, limit.standard, limit.least, limit.most)
		}
	}
	return nil
}

func (h *Handler) setUpKeys() error {
	keys := make([]jose.Key, 0, len(h.config.Keys))
	for _, k := range h.config.Keys {
		keys = append(keys, jose.Key(k))
	}
	if len(keys) == 0 {
		secret := make([]byte, 32)
		rand.Read(secret)
		keys = append(keys, jose.Key{Secret: secret})
		h.log.Warn("authorize: Config.Keys is empty: requests that wait for the user are signed " +
			"with a random key of this process, so they are lost when it restarts and unknown to other replicas")
	}
	ring, err := jose.NewRing(keys)
	if err != nil {
		return wrong("Keys", "cannot be used: %v", err)
	}
	h.keys, h.pending = ring, &PendingReader{h.config.Issuer, h.config.Endpoint, ring, h.config.Now}
	return nil
}
