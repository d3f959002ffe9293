package authorize

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/usher-auth/usher/authorize/internal/destination"
)

// maxInput is how many bytes of a query or a body are read.
const maxInput = 64 << 10

// knownParameters are those of the protocol: they may come once (RFC 6749 §3.1),
// resource alone may repeat (RFC 8707 §2). "req" is this package's own. Others,
// unless [Config].Parameters names them, are ignored.
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
	list     []param  // decoded, in order of arrival, without empty or repeated ones
	repeated []string // those that came twice or in the wrong place: no value can be trusted
	resumes  bool     // there is a req: the request comes back from a page
	denied   bool     // deny=1, which only counts beside req

	// hinted says that there was an id_token_hint. If it was looked at on an earlier visit,
	// it has proven hintSubject, or nobody.
	hinted         bool
	hintSubject    string
	hintUnverified bool
}

// sent reports whether the request had the parameter, carried or not.
func (p params) sent(name string) bool {
	return p.get(name) != "" || name == "id_token_hint" && p.hinted
}

// get returns the value of the parameter, or nothing if it is absent or repeated.
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

// read returns the parameters of the query of a GET or of the body of a POST.
// What cannot be read without doubt is refused, never dropped: the rest of the
// request would mean something else.
func (h *Handler) read(r *http.Request) (params, error) {
	if strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch") {
		return params{}, errPrefetch
	}
	switch r.Method {
	case http.MethodGet:
		return h.parse(r.URL.RawQuery, errURITooLong)
	case http.MethodPost:
		return h.readBody(r)
	}
	return params{}, errMethodNotAllowed
}

func (h *Handler) readBody(r *http.Request) (params, error) {
	mediaType, options, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset := options["charset"]
	if err != nil || mediaType != "application/x-www-form-urlencoded" ||
		charset != "" && !strings.EqualFold(charset, "utf-8") || r.Header.Get("Content-Encoding") != "" {
		return params{}, errUnsupportedMediaType
	}
	query, err := h.parse(r.URL.RawQuery, errURITooLong)
	if err != nil {
		return params{}, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxInput))
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return params{}, errTooLarge
	} else if err != nil {
		return params{}, errBody.because("%w", err)
	}
	p, err := h.parse(string(body), errTooLarge)
	if err != nil {
		return params{}, err
	}
	if err := r.Context().Err(); err != nil {
		return params{}, errBody.because("%w", err)
	}
	// A parameter in the query of a POST is one too many, wherever else it is.
	for _, x := range query.list {
		p.repeated = appendOnce(p.repeated, x.name)
	}
	for _, name := range query.repeated {
		p.repeated = appendOnce(p.repeated, name)
	}
	p.resumes = p.resumes || query.resumes
	return p.withoutRepeated(), nil
}

// parse splits a query or form body. Unlike net/url it drops nothing: a semicolon,
// a malformed escape or a byte that has to be escaped is an error.
func (h *Handler) parse(raw string, tooLong error) (params, error) {
	if len(raw) > maxInput {
		return params{}, tooLong
	}
	for i := range len(raw) {
		if c := raw[i]; c <= 0x20 || c >= 0x7f || c == ';' {
			return params{}, errUnescaped
		}
	}
	p := params{list: make([]param, 0, 12)}
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			return params{}, errEscape
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return params{}, errEscape
		}
		p.resumes = p.resumes || name == "req" && value != ""
		switch {
		case name == "deny":
			p.denied = value == "1"
		case value == "" || !h.known[name]:
		case slices.Contains(h.config.Parameters, name) && !destination.ValidText(value, maxInput):
			return params{}, errNotText
		case name != "resource" && slices.ContainsFunc(p.list, func(x param) bool { return x.name == name }):
			p.repeated = appendOnce(p.repeated, name)
		default:
			p.hinted = p.hinted || name == "id_token_hint"
			p.list = append(p.list, param{name, value})
		}
	}
	if p.repeated != nil {
		p = p.withoutRepeated()
	}
	return p, nil
}

// withoutRepeated drops the values of parameters that came twice: of two values
// neither can be trusted.
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
