package authorize_test

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// The kinds of answers that the corpus knows, and one more that it follows.
const (
	corpusErrorPage     = "error_page"
	corpusErrorRedirect = "error_redirect"
	corpusCodeRedirect  = "code_redirect"
	corpusLoginRedirect = "login_redirect"
	corpusAskedAgain    = "asked_again"
)

// corpusAnswer is all that is known of one answer. The checks are functions of it.
type corpusAnswer struct {
	method string
	asked  corpusAsked

	status int
	header http.Header
	body   string

	reached    bool     // the endpoint answered, not net/http in front of it
	registered []string // redirect URIs of the client that asked
	subject    string   // who was signed in, "" for nobody
	elapsed    time.Duration
	allocated  uint64            // bytes, by the endpoint
	codes      []corpusSavedCode // stored meanwhile
	errorIDs   []string
	fetched    int // calls of the canary

	// What read makes of it.
	kind   string
	target string        // Location, or the action of a form that posts itself
	params []corpusParam // of the target's query and fragment, and of the form
	form   bool
}

type corpusParam struct{ name, value string }

// String names the outcome as exceptions.json does.
func (a *corpusAnswer) String() string {
	if code := a.param("error"); a.kind == corpusErrorRedirect {
		return a.kind + " " + code
	}
	return a.kind
}

// param returns the value of a parameter of the answer, "" if there is none.
func (a *corpusAnswer) param(name string) string {
	for _, p := range a.params {
		if p.name == name {
			return p.value
		}
	}
	return ""
}

func (a *corpusAnswer) has(name string) bool { return a.count(name) > 0 }

func (a *corpusAnswer) count(name string) int {
	n := 0
	for _, p := range a.params {
		if p.name == name {
			n++
		}
	}
	return n
}

// html reports whether a browser would show the body as a page.
func (a *corpusAnswer) html() bool {
	return strings.HasPrefix(strings.ToLower(a.header.Get("Content-Type")), "text/html")
}

// read finds out what the response means.
func (a *corpusAnswer) read() {
	switch location := a.header.Get("Location"); {
	case a.status >= 300 && a.status < 400 && location != "":
		a.target, a.params = location, corpusParamsOf(location)
	case a.status == http.StatusOK && a.html():
		if action, fields, ok := corpusForm(a.body); ok {
			a.form, a.target, a.params = true, action, append(corpusParamsOf(action), fields...)
		}
	}
	base, _, _ := strings.Cut(a.target, "?")
	switch {
	case a.status >= 400:
		a.kind = corpusErrorPage
	case !a.form && (base == corpusLogin || strings.HasPrefix(base, corpusLogin+"/")):
		a.kind = corpusLoginRedirect
	case !a.form && base == corpusEndpoint && a.status == http.StatusSeeOther:
		a.kind = corpusAskedAgain
	case a.has("error"):
		a.kind = corpusErrorRedirect
	case a.has("code"):
		a.kind = corpusCodeRedirect
	default:
		a.kind = fmt.Sprintf("a response with status %d, Location %.200q and no known meaning", a.status, a.target)
	}
}

// corpusParamsOf returns the parameters of a URL's query and fragment.
func corpusParamsOf(target string) []corpusParam {
	target, fragment, _ := strings.Cut(target, "#")
	_, query, _ := strings.Cut(target, "?")
	return append(corpusPairs(query), corpusPairs(fragment)...)
}

// corpusPairs decodes what can be decoded. net/url would drop the rest.
func corpusPairs(raw string) []corpusParam {
	var params []corpusParam
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		params = append(params, corpusParam{corpusUnescape(name), corpusUnescape(value)})
	}
	return params
}

func corpusUnescape(text string) string {
	if decoded, err := url.QueryUnescape(text); err == nil {
		return decoded
	}
	return text
}

// corpusForm finds a form that posts itself: the first one with method post, and its
// hidden fields.
func corpusForm(body string) (action string, fields []corpusParam, found bool) {
	for _, tag := range corpusTags(body) {
		switch {
		case tag.name == "form" && !found && strings.EqualFold(tag.attr["method"], "post"):
			action, found = tag.attr["action"], true
		case tag.name == "input" && found && tag.attr["name"] != "":
			fields = append(fields, corpusParam{tag.attr["name"], tag.attr["value"]})
		}
	}
	return action, fields, found && len(fields) > 0
}

// corpusTag is a start tag with the text up to the next tag of any kind.
type corpusTag struct {
	name string
	attr map[string]string
	text string
}

// corpusTags reads HTML as far as it is well formed enough for a page of ours.
func corpusTags(body string) []corpusTag {
	decoder := xml.NewDecoder(strings.NewReader(body))
	decoder.Strict, decoder.AutoClose, decoder.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	var tags []corpusTag
	inside := false
	for {
		token, err := decoder.Token()
		if err != nil {
			return tags
		}
		switch token := token.(type) {
		case xml.StartElement:
			tag := corpusTag{name: strings.ToLower(token.Name.Local), attr: map[string]string{}}
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

// corpusAsked is what a request said, as far as the invariants depend on it.
type corpusAsked struct {
	client   string
	state    string   // "" if absent or unusable
	formPost bool     // asked for in some place
	prompt   string   // the last one, in whatever place
	values   []string // all that came from outside, decoded
}

// asked reads a request that the client made. One that comes back from the login
// says what the original one did.
func (w *corpusWorld) asked(r corpusRequest, client string) corpusAsked {
	query, body := "", ""
	if r.Query != nil {
		query = *r.Query
	}
	if r.Body != nil {
		body = *r.Body
	}
	counts, elsewhere := corpusPairs(query), []corpusParam(nil)
	if r.Method == "POST" {
		counts, elsewhere = corpusPairs(body), counts
	}
	q := corpusAsked{client: client, state: corpusUsableState(counts, elsewhere)}
	for _, p := range append(append(counts, elsewhere...), corpusPairs(body)...) {
		q.values = append(q.values, p.name, p.value)
		if p.name == "response_mode" && p.value == "form_post" {
			q.formPost = true
		}
		if p.name == "prompt" {
			q.prompt = p.value
		}
	}
	for name, value := range r.Headers {
		q.values = append(q.values, name, value)
	}
	for resume, origin := range w.origins {
		if strings.Contains(query, resume) {
			origin.values = append(origin.values, q.values...)
			return origin
		}
	}
	return q
}

// corpusUsableState returns the state that has to come back: it is there exactly
// once, in the place that counts, and is text of at most 8 KiB that survives every
// way of delivery. An empty value counts as absent.
func corpusUsableState(counts, elsewhere []corpusParam) string {
	state, n := "", 0
	for _, p := range append(counts[:len(counts):len(counts)], elsewhere...) {
		if p.name == "state" && p.value != "" {
			state = p.value
			n++
		}
	}
	control := func(r rune) bool { return r < 0x20 || r == 0x7f }
	if n != 1 || len(state) > 8<<10 || !utf8.ValidString(state) || strings.ContainsFunc(state, control) {
		return ""
	}
	return state
}
