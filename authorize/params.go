package authorize

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/usher-auth/usher/authorize/internal/destination"
	"github.com/usher-auth/usher/authorize/internal/jose"
	oautherr "github.com/usher-auth/usher/errors"
)

// maxInput is how many bytes of a query or a body are read.
const maxInput = 64 << 10

// knownParameters are the parameters of the protocol. Each may be sent only once (RFC 6749
// §3.1), except resource (RFC 8707 §2). "req" is this package's own. Other parameters are
// ignored, unless [Config].Parameters names them.
var knownParameters = []string{
	"response_type", "client_id", "redirect_uri", "scope", "state", "response_mode",
	"code_challenge", "code_challenge_method", "nonce", "prompt", "max_age", "display",
	"ui_locales", "claims_locales", "id_token_hint", "login_hint", "acr_values", "claims",
	"request", "request_uri", "registration", "resource", "authorization_details",
	"dpop_jkt", "req",
}

type param struct{ name, value string }

// params are the known parameters of one request.
type params struct {
	list     []param  // decoded, in the order of the request, without empty or repeated ones
	repeated []string // sent twice or in the wrong place: their values are not used
	resumes  bool     // it has a req of our type: the request comes back from a page
	otherReq string   // a req that is not of our type
	denied   bool     // deny=1; it counts only together with req

	// hinted is true if there was an id_token_hint. If it was verified on an earlier visit,
	// hintSubject is the user that it proved; empty: it proved nobody.
	hinted         bool
	hintSubject    string
	hintUnverified bool
}

// sent reports whether the client's request had the parameter. A waiting request does not
// carry id_token_hint, but it counts as sent.
func (p params) sent(name string) bool {
	return p.get(name) != "" || name == "id_token_hint" && p.hinted
}

// get returns the value of the parameter; empty if it is absent or repeated.
func (p params) get(name string) string {
	for _, x := range p.list {
		if x.name == name {
			return x.value
		}
	}
	return ""
}

func (p params) all(name string) []string {
	var values []string
	for _, x := range p.list {
		if x.name == name {
			values = append(values, x.value)
		}
	}
	return values
}

// read reads the parameters and, if the request comes back from a page, opens the waiting
// request. After an error, v.params has what could be read, for the error page.
func (h *Handler) read(v *visit) (err error) {
	if v.params, err = h.readParams(v.http); err != nil {
		h.recognize(v, v.params.get("req"))
		return err
	}
	if v.params.resumes {
		return h.reopen(v)
	}
	return nil
}

// settleSource finds out where the parameters come from. Today that is always the request
// itself. A pushed request (RFC 9126) and a signed request (RFC 9101) would be two more
// cases, which would replace the parameters before the redirect URI is proven. An error
// found here is put into v.source; a rule returns it later, when the redirect URI is known.
func settleSource(v *visit) error {
	request, uri := v.params.get("request"), v.params.get("request_uri")
	switch {
	case request != "" && uri != "":
		v.source = oautherr.InvalidRequest.With("request and request_uri exclude each other.")
	case request != "":
		v.source = oautherr.RequestNotSupported
	case uri != "":
		v.source = oautherr.RequestURINotSupported
	case v.params.get("registration") != "":
		v.source = oautherr.RegistrationNotSupported
	case v.client.RequirePushed:
		v.source = oautherr.InvalidRequest.With("This client has to push its requests.")
	}
	return nil
}

// readParams returns the parameters of the query of a GET or of the body of a POST. An
// ambiguous or malformed part is refused, never dropped: without it, the request could mean
// something else.
func (h *Handler) readParams(r *http.Request) (p params, err error) {
	switch r.Method {
	case http.MethodPost:
		p, err = h.readBody(r)
	case http.MethodGet:
		p, err = h.parse(queryOf(r), errURITooLong)
	default:
		p, _ = h.parse(queryOf(r), errURITooLong)
		return p, errMethod
	}
	for _, name := range prefetchHeaders {
		if values := r.Header[name]; values != nil && isPrefetch(values) {
			return p, errPrefetch
		}
	}
	if p.otherReq != "" {
		p = p.settleReq()
	}
	return p, err
}

// queryOf returns the raw query. Without an HTTP server in front there may be no URL.
var queryOf = func(r *http.Request) string {
	if r.URL == nil {
		return ""
	}
	return r.URL.RawQuery
}

// prefetchHeaders are the headers by which old and new browsers say that they prefetch:
// nobody has clicked the link yet.
var prefetchHeaders = []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"}

func isPrefetch(values []string) bool {
	purpose := strings.ToLower(strings.Join(values, ","))
	return strings.Contains(purpose, "prefetch") ||
		strings.Contains(purpose, "preview") ||
		strings.Contains(purpose, "prerender")
}

// settleReq decides what a req that is not of our type means. Together with client_id it is
// an unknown parameter of the client, and is ignored. Without client_id it is a damaged
// waiting request.
func (p params) settleReq() params {
	switch {
	case p.resumes: // there is also a req of our type: it is not clear which is meant
		p.repeated = appendOnce(p.repeated, "req")
		return p.withoutRepeated()
	case p.get("client_id") == "" && !slices.Contains(p.repeated, "client_id"):
		p.resumes = true
		p.list = append(p.list, param{"req", p.otherReq})
	}
	return p
}

// parse splits a query or form body. Unlike net/url it drops nothing: a semicolon, a
// malformed escape or a byte that must be escaped is an error. Its time is linear in the
// number of bytes for every input, because the sender is not known yet.
func (h *Handler) parse(raw string, tooLong error) (params, error) {
	if len(raw) > maxInput {
		return params{}, tooLong
	}
	for i := range len(raw) {
		if c := raw[i]; c <= 0x20 || c >= 0x7f || c == ';' {
			return unreadable(raw), errCharacterUnescaped
		}
	}
	p, times := params{list: make([]param, 0, 12)}, make(map[string]int, 12)
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			return unreadable(raw), errPercentEncoding
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return unreadable(raw), errPercentEncoding
		}
		if name == "deny" {
			p.denied = value == "1"
		}
		if value == "" || !h.known[name] {
			continue
		}
		if name == "req" {
			if jose.Type(value) != waitingType {
				p.otherReq = value
				continue
			}
			p.resumes = true
		}
		if slices.Contains(h.config.Parameters, name) && !destination.ValidText(value, maxInput) {
			return unreadable(raw), errParameterNotText
		}
		switch times[name]++; {
		case times[name] == 1, name == "resource" && times[name] <= maxResources+1:
			p.hinted = p.hinted || name == "id_token_hint"
			// One resource above the limit is kept, so that checkResources refuses the
			// request.
			p.list = append(p.list, param{name, value})
		case times[name] == 2:
			p.repeated = append(p.repeated, name)
		}
	}
	if p.repeated != nil {
		p = p.withoutRepeated()
	}
	return p, nil
}

// unreadable returns the parameters that the error page needs of a malformed request: its
// languages, its client and its waiting request.
func unreadable(raw string) (p params) {
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if name != "ui_locales" && name != "client_id" && name != "req" {
			continue
		}
		value, err := url.QueryUnescape(value)
		switch {
		case err != nil || value == "" || name == "req" && jose.Type(value) != waitingType:
		case p.get(name) == "":
			p.list = append(p.list, param{name, value})
		default:
			p.repeated = appendOnce(p.repeated, name)
		}
	}
	return p.withoutRepeated()
}

// withoutRepeated drops the values of repeated parameters: it is not clear which value is
// meant.
func (p params) withoutRepeated() params {
	p.list = slices.DeleteFunc(p.list, func(x param) bool { return slices.Contains(p.repeated, x.name) })
	return p
}

func appendOnce(list []string, name string) []string {
	if slices.Contains(list, name) {
		return list
	}
	return append(list, name)
}

// newRequest reads the parameters into a Request. It refuses nothing: a malformed value
// stays at its zero value, and a rule in validate.go refuses it.
func newRequest(p params) *Request {
	r := &Request{
		ClientID:            p.get("client_id"),
		RedirectURI:         p.get("redirect_uri"),
		ResponseType:        p.get("response_type"),
		ResponseMode:        p.get("response_mode"),
		Scopes:              list(p.get("scope")),
		State:               p.get("state"),
		Nonce:               p.get("nonce"),
		CodeChallenge:       p.get("code_challenge"),
		CodeChallengeMethod: p.get("code_challenge_method"),
		Prompt:              list(p.get("prompt")),
		LoginHint:           p.get("login_hint"),
		UILocales:           list(p.get("ui_locales")),
		ClaimsLocales:       list(p.get("claims_locales")),
		ACRValues:           list(p.get("acr_values")),
		redirectURISent:     p.get("redirect_uri") != "",
		params:              p,
	}
	if strings.Contains(r.ResponseType, " ") && len(r.ResponseType) <= maxList {
		// The order of the values does not matter (RFC 6749 §3.1.1).
		values := strings.FieldsFunc(r.ResponseType, func(c rune) bool { return c == ' ' })
		slices.Sort(values)
		r.ResponseType = strings.Join(values, " ")
	}
	if text := p.get("max_age"); text != "" {
		r.MaxAge, _ = maxAge(text)
	}
	switch display := p.get("display"); display {
	case "page", "popup", "touch", "wap":
		r.Display = display
	}
	if p.get("resource") != "" {
		r.Resources = p.all("resource")
	}
	if claims := p.get("claims"); claims != "" {
		r.Claims = json.RawMessage(claims)
	}
	return r
}

// fillIn adds the values of the client's registration and of the configuration. Without
// scope it sets the default scopes.
func (r *Request) fillIn(config *Config, c *Client, redirectURI string) {
	r.Client, r.RedirectURI = c, redirectURI
	r.OutOfBand = c.OutOfBand != "" && redirectURI == c.OutOfBand
	unknown := func(scope string) bool { return !config.knows(scope, c) }
	if len(r.Scopes) == 0 {
		r.Scopes = config.defaultScopes(c)
	}
	if config.IgnoreUnknownScopes {
		for _, scope := range r.Scopes {
			if unknown(scope) {
				r.LeftOut = append(r.LeftOut, scope)
			}
		}
		r.Scopes = slices.DeleteFunc(slices.Clone(r.Scopes), unknown)
	}
}

// knows reports whether the scope exists and is open to the client.
func (config *Config) knows(scope string, c *Client) bool {
	return (config.Scopes == nil || slices.Contains(config.Scopes, scope)) && slices.Contains(c.Scopes, scope)
}

// defaultScopes are the scopes of a request that names none.
func (config *Config) defaultScopes(c *Client) []string {
	if len(c.DefaultScopes) > 0 {
		return slices.Clone(c.DefaultScopes)
	}
	unknown := func(scope string) bool { return !config.knows(scope, c) }
	return slices.DeleteFunc(slices.Clone(config.DefaultScopes), unknown)
}

// maxList is the longest space-separated list in bytes, maxValues the most values that it
// may have. A longer list is not split, so that nobody can make the endpoint compare
// thousands of values. It stays one text, and the rule of its parameter refuses that.
const (
	maxList   = 4096
	maxValues = 100
)

// list splits a space-separated list and drops duplicates. Leading, trailing and double
// spaces add no values. Only the space separates: other white space stays in the value, and
// the rule of the parameter refuses it.
func list(text string) []string {
	if text == "" {
		return nil
	}
	if len(text) > maxList {
		return []string{text}
	}
	values, read := make([]string, 0, 4), 0
	for value := range strings.SplitSeq(text, " ") {
		if value == "" {
			continue
		}
		if read++; read > maxValues {
			return []string{text}
		}
		if !slices.Contains(values, value) {
			values = append(values, value)
		}
	}
	return values
}

// tooManyValues reports whether list did not split the text. It sees that by a space in the
// only value.
func tooManyValues(text string) bool {
	values := list(text)
	return len(values) == 1 && strings.Contains(values[0], " ")
}

// maxAge reads ASCII digits that fit an int64. Everything else is an error, and never means
// that there is no limit.
func maxAge(text string) (*int64, error) {
	number, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return nil, err
	}
	seconds := int64(number)
	return &seconds, nil
}
