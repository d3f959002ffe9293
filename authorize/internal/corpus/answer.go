package corpus

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/usher-auth/usher/authorize"
)

// The kinds of answers that a case may expect, and askedAgain, which the runner follows.
const (
	errorPage     = "error_page"
	errorRedirect = "error_redirect"
	codeRedirect  = "code_redirect"
	emptyRedirect = "empty_redirect" // of response_type=none: neither a code nor an error
	loginRedirect = "login_redirect"
	askedAgain    = "asked_again"
)

// answer has everything that is known about one answer. The checks are functions of it.
type answer struct {
	method string
	asked  question

	status int
	header http.Header
	body   string

	reached    bool     // the endpoint answered, not net/http in front of it
	registered []string // redirect URIs of the client that asked
	subject    string   // who was signed in, "" for nobody
	elapsed    time.Duration
	allocated  uint64      // bytes, by the endpoint
	codes      []savedCode // stored meanwhile
	fetched    int         // calls of the canary
	noted
	explained *authorize.Explanation // nil if Explain has nothing to say of the request
	leftovers bool                   // Explain stored or reported something

	// Set by read.
	kind   string
	target string  // Location, or the action of a form that posts itself
	params []param // of the target's query and fragment, and of the form
	form   bool
}

type param struct{ name, value string }

// String names the outcome as exceptions.json does.
func (a *answer) String() string {
	if code := a.param("error"); a.kind == errorRedirect {
		return a.kind + " " + code
	}
	return a.kind
}

// param returns the value of a parameter of the answer, "" if there is none.
func (a *answer) param(name string) string {
	for _, p := range a.params {
		if p.name == name {
			return p.value
		}
	}
	return ""
}

func (a *answer) has(name string) bool { return a.count(name) > 0 }

func (a *answer) count(name string) int {
	n := 0
	for _, p := range a.params {
		if p.name == name {
			n++
		}
	}
	return n
}

// errorCode returns the code of the error that the client gets, or that the page shows.
func (a *answer) errorCode() string {
	if a.kind != errorPage {
		return a.param("error")
	}
	for _, tag := range startTags(a.body) {
		if code, _, ok := strings.Cut(tag.text, " · "); ok && tag.name == "small" {
			return code
		}
	}
	return ""
}

// delivery says how the client gets its answer.
func (a *answer) delivery() string {
	switch {
	case a.form:
		return "form_post"
	case strings.Contains(a.target, "#"):
		return "fragment"
	}
	return "query"
}

// html reports whether a browser would show the body as a page.
func (a *answer) html() bool {
	return strings.HasPrefix(strings.ToLower(a.header.Get("Content-Type")), "text/html")
}

// read finds out what the response means.
func (a *answer) read() {
	switch location := a.header.Get("Location"); {
	case a.status >= 300 && a.status < 400 && location != "":
		a.target, a.params = location, paramsOf(location)
	case a.status == http.StatusOK && a.html():
		if action, fields, ok := findForm(a.body); ok {
			a.form, a.target, a.params = true, action, append(paramsOf(action), fields...)
		}
	}
	base, _, _ := strings.Cut(a.target, "?")
	switch {
	case a.status >= 400:
		a.kind = errorPage
	case !a.form && (base == loginPage || strings.HasPrefix(base, loginPage+"/")):
		a.kind = loginRedirect
	case !a.form && base == endpointURL && a.status == http.StatusSeeOther:
		a.kind = askedAgain
	case a.has("error"):
		a.kind = errorRedirect
	case a.has("code"):
		a.kind = codeRedirect
	case a.has("iss"):
		a.kind = emptyRedirect
	default:
		a.kind = fmt.Sprintf("a response with status %d, Location %.200q and no known meaning", a.status, a.target)
	}
}

// paramsOf returns the parameters of a URL's query and fragment.
func paramsOf(target string) []param {
	target, fragment, _ := strings.Cut(target, "#")
	_, query, _ := strings.Cut(target, "?")
	return append(pairsOf(query), pairsOf(fragment)...)
}

// pairsOf decodes the pairs of a query. It keeps malformed ones as they are; net/url would drop
// them.
func pairsOf(raw string) []param {
	var params []param
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		params = append(params, param{unescape(name), unescape(value)})
	}
	return params
}

func unescape(text string) string {
	if decoded, err := url.QueryUnescape(text); err == nil {
		return decoded
	}
	return text
}

// findForm finds a form that posts itself: the first one with method post, and its
// hidden fields.
func findForm(body string) (action string, fields []param, found bool) {
	for _, tag := range startTags(body) {
		switch {
		case tag.name == "form" && !found && strings.EqualFold(tag.attr["method"], "post"):
			action, found = tag.attr["action"], true
		case tag.name == "input" && found && tag.attr["name"] != "":
			fields = append(fields, param{tag.attr["name"], tag.attr["value"]})
		}
	}
	return action, fields, found && len(fields) > 0
}

// startTag is a start tag with the text up to the next tag of any kind.
type startTag struct {
	name string
	attr map[string]string
	text string
}

// startTags reads the start tags of HTML. It is good enough for the endpoint's own pages.
func startTags(body string) []startTag {
	decoder := xml.NewDecoder(strings.NewReader(body))
	decoder.Strict, decoder.AutoClose, decoder.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	var tags []startTag
	inside := false
	for {
		token, err := decoder.Token()
		if err != nil {
			return tags
		}
		switch token := token.(type) {
		case xml.StartElement:
			tag := startTag{name: strings.ToLower(token.Name.Local), attr: map[string]string{}}
			for _, attr := range token.Attr {
				tag.attr[strings.ToLower(attr.Name.Local)] = attr.Value
			}
			tags, inside = append(tags, tag), true
		case xml.EndElement:
			inside = false
		case xml.CharData:
			if inside {
				tags[len(tags)-1].text += string(token)
			}
		}
	}
}

// question has the values of a request that the invariants need.
type question struct {
	client   string
	state    string   // "" if absent or unusable
	formPost bool     // requested in the query or in the body
	prompt   string   // the last one, in whatever place
	values   []string // all that came from outside, decoded
	secrets  []string // values that must not be logged
}

// asked reads a client's request. For a return from the login page, it returns the values of
// the original request.
func (w *world) asked(r rawRequest, client string) question {
	query, body := "", ""
	if r.Query != nil {
		query = *r.Query
	}
	if r.Body != nil {
		body = *r.Body
	}
	counts, elsewhere := pairsOf(query), []param(nil)
	if r.Method == "POST" {
		counts, elsewhere = pairsOf(body), counts
	}
	q := question{client: client, state: usableState(counts, elsewhere)}
	for _, p := range append(append(counts, elsewhere...), pairsOf(body)...) {
		q.values = append(q.values, p.name, p.value)
		if p.name == "response_mode" && p.value == "form_post" {
			q.formPost = true
		}
		if p.name == "prompt" {
			q.prompt = p.value
		}
		if slices.Contains(secretParameters, p.name) {
			q.secrets = append(q.secrets, p.value)
		}
	}
	for name, value := range r.Headers {
		q.values = append(q.values, name, value)
	}
	for resume, origin := range w.origins {
		if strings.Contains(query, resume) {
			origin.values = append(origin.values, q.values...)
			origin.secrets = append(origin.secrets, q.secrets...)
			return origin
		}
	}
	return q
}

// secretParameters have values that must not be in the log.
var secretParameters = []string{"state", "nonce", "code_challenge", "login_hint", "id_token_hint", "claims"}

// usableState returns the state that the response must have. The request has it exactly
// once, in the query of a GET or the body of a POST. It has at most 8 KiB of UTF-8 without
// control characters. An empty value counts as absent.
func usableState(counts, elsewhere []param) string {
	state, n := "", 0
	for i, p := range append(counts[:len(counts):len(counts)], elsewhere...) {
		if p.name == "state" && p.value != "" {
			n++
			if i < len(counts) {
				state = p.value
			}
		}
	}
	control := func(r rune) bool { return r < 0x20 || r == 0x7f }
	if n != 1 || len(state) > 8<<10 || !utf8.ValidString(state) || strings.ContainsFunc(state, control) {
		return ""
	}
	return state
}
