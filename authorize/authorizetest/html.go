package authorizetest

import (
	"cmp"
	"html"
	"iter"
	"net/url"
	"slices"
	"strings"
)

// token is a tag or the text between two tags.
type token struct {
	text  string // if name is empty
	name  string // of a tag, in lower case
	end   bool
	attrs map[string]string
}

func (t token) has(attr string) bool { _, ok := t.attrs[attr]; return ok }

// rawElements are elements whose content has no tags. The value says whether it has character
// references.
var rawElements = map[string]bool{
	"script": false, "style": false, "xmp": false, "iframe": false, "noembed": false, "noframes": false,
	"textarea": true, "title": true,
}

// tokens reads HTML as leniently as browsers do, as far as forms and links need
// it. Comments and the doctype are left out.
func tokens(src string) iter.Seq[token] {
	return func(yield func(token) bool) {
		for src != "" {
			i := strings.IndexByte(src, '<')
			if i < 0 {
				i = len(src)
			}
			if i > 0 && !yield(token{text: html.UnescapeString(src[:i])}) {
				return
			}
			src = src[i:]
			if src == "" {
				return
			}
			t, rest := readTag(src)
			src = rest
			if !yield(t) {
				return
			}
			references, raw := rawElements[t.name]
			if !raw || t.end {
				continue
			}
			text := src[:rawEnd(src, t.name)]
			src = src[len(text):]
			if references {
				text = html.UnescapeString(text)
			}
			if !yield(token{text: text}) {
				return
			}
		}
	}
}

// rawEnd returns where the end tag of a raw element begins.
func rawEnd(src, name string) int {
	for i := 0; ; i++ {
		next := strings.Index(src[i:], "</")
		if next < 0 {
			return len(src)
		}
		i += next
		rest := src[i+2:]
		if len(rest) < len(name) || !strings.EqualFold(rest[:len(name)], name) {
			continue
		}
		if rest = rest[len(name):]; rest == "" || strings.IndexByte(" \t\r\n\f/>", rest[0]) >= 0 {
			return i
		}
	}
}

// readTag reads a tag from a text that begins with '<'. It returns a '<' that begins no tag as
// text, and a comment as empty text.
func readTag(src string) (token, string) {
	if strings.HasPrefix(src, "<!--") {
		_, rest, _ := strings.Cut(src[len("<!--"):], "-->")
		return token{}, rest
	}
	t := token{attrs: map[string]string{}}
	s := src[1:]
	if s != "" && (s[0] == '!' || s[0] == '?') {
		_, rest, _ := strings.Cut(s, ">")
		return token{}, rest
	}
	if strings.HasPrefix(s, "/") {
		t.end, s = true, s[1:]
	}
	n := strings.IndexAny(s, " \t\r\n\f/>")
	if n < 0 {
		n = len(s)
	}
	if n == 0 || !isLetter(s[0]) {
		return token{text: "<"}, src[1:]
	}
	t.name = strings.ToLower(s[:n])
	return t, readAttributes(s[n:], t.attrs)
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// readAttributes reads up to and with the '>' of a tag. Of two attributes of the
// same name the first counts.
func readAttributes(s string, attrs map[string]string) (rest string) {
	for {
		s = strings.TrimLeft(s, " \t\r\n\f/")
		if s == "" || s[0] == '>' {
			return strings.TrimPrefix(s, ">")
		}
		n := strings.IndexAny(s[1:], " \t\r\n\f/>=") + 1
		if n == 0 {
			n = len(s)
		}
		name, value := strings.ToLower(s[:n]), ""
		s = s[n:]
		if after := strings.TrimLeft(s, " \t\r\n\f"); strings.HasPrefix(after, "=") {
			value, s = readValue(strings.TrimLeft(after[1:], " \t\r\n\f"))
		}
		if _, ok := attrs[name]; !ok {
			attrs[name] = html.UnescapeString(value)
		}
	}
}

func readValue(s string) (value, rest string) {
	if s != "" && (s[0] == '"' || s[0] == '\'') {
		value, rest, _ = strings.Cut(s[1:], s[:1])
		return value, rest
	}
	n := strings.IndexAny(s, " \t\r\n\f>")
	if n < 0 {
		n = len(s)
	}
	return s[:n], s[n:]
}

// pageReader finds forms and links in the tokens of a page.
type pageReader struct {
	page   *Page
	tokens []token
	base   *url.URL
	at     map[int]*Form // by the place of their tag
	byID   map[string]*Form
}

// readPage fills in the forms and links of a page.
func readPage(p *Page) {
	r := pageReader{page: p, base: p.URL, at: map[int]*Form{}, byID: map[string]*Form{}}
	templates := 0
	for t := range tokens(p.Body) {
		if t.name == "template" && !t.end {
			templates++
		}
		if templates == 0 {
			r.tokens = append(r.tokens, t)
		}
		if t.name == "template" && t.end && templates > 0 {
			templates--
		}
	}
	if i := slices.IndexFunc(r.tokens, func(t token) bool { return t.name == "base" && t.has("href") }); i >= 0 {
		r.base = r.resolve(r.tokens[i].attrs["href"], p.URL)
	}
	r.forms()
	r.contents()
}

// resolve returns an address of the page as an absolute URL, or otherwise if it cannot be
// parsed.
func (r *pageReader) resolve(address string, otherwise *url.URL) *url.URL {
	if u, err := r.base.Parse(strings.TrimSpace(address)); err == nil {
		return u
	}
	return otherwise
}

// forms is called first, because a control may name a form that comes later in the page.
func (r *pageReader) forms() {
	open := false
	for i, t := range r.tokens {
		if t.name != "form" || !t.end && open {
			continue // browsers ignore a form in a form
		}
		open = !t.end
		if t.end {
			continue
		}
		f := &Form{
			Method:  formMethod(t.attrs["method"]),
			Action:  r.page.URL,
			Fields:  url.Values{},
			page:    r.page,
			enctype: t.attrs["enctype"],
		}
		if strings.TrimSpace(t.attrs["action"]) != "" {
			f.Action = r.resolve(t.attrs["action"], r.page.URL)
		}
		r.page.Forms = append(r.page.Forms, f)
		r.at[i] = f
		if id := t.attrs["id"]; id != "" && r.byID[id] == nil {
			r.byID[id] = f
		}
	}
}

func (r *pageReader) contents() {
	var form *Form
	disabled := 0 // open fieldsets that are disabled, and those inside them
	for i, t := range r.tokens {
		switch {
		case t.name == "form" && t.end:
			form = nil
		case t.name == "form" && r.at[i] != nil:
			form = r.at[i]
		case t.name == "fieldset" && t.end:
			disabled = max(0, disabled-1)
		case t.name == "fieldset" && (disabled > 0 || t.has("disabled")):
			disabled++
		case t.name == "a" && !t.end && t.has("href"):
			r.link(i)
		case t.end || t.has("disabled") || disabled > 0:
		default:
			owner := form
			if t.has("form") {
				owner = r.byID[t.attrs["form"]]
			}
			if owner != nil {
				r.control(owner, i)
			}
		}
	}
}

func (r *pageReader) link(i int) {
	t := r.tokens[i]
	r.page.Links = append(r.page.Links, Link{
		Text:       words(r.text(i, "a")),
		URL:        r.resolve(t.attrs["href"], r.page.URL),
		noReferrer: slices.Contains(strings.Fields(strings.ToLower(t.attrs["rel"])), "noreferrer"),
	})
}

// text returns the text from a tag to the next one, opening or closing, with one of
// the names.
func (r *pageReader) text(i int, until ...string) string {
	var b strings.Builder
	for _, t := range r.tokens[i+1:] {
		if slices.Contains(until, t.name) {
			break
		}
		b.WriteString(t.text)
	}
	return b.String()
}

// words returns a text with its white space collapsed, as a page shows it.
func words(text string) string { return strings.Join(strings.Fields(text), " ") }

// control adds a tag to the form if it is a field or a button.
func (r *pageReader) control(f *Form, i int) {
	switch t := r.tokens[i]; t.name {
	case "input":
		r.input(f, t)
	case "button":
		if kind := strings.ToLower(t.attrs["type"]); kind != "reset" && kind != "button" {
			r.button(f, t, words(r.text(i, "button")))
		}
	case "textarea":
		text := strings.TrimPrefix(strings.TrimPrefix(r.text(i, "textarea"), "\r"), "\n")
		f.add(control{name: t.attrs["name"], value: text}, true)
	case "select":
		r.options(f, i)
	}
}

func (r *pageReader) button(f *Form, t token, label string) {
	b := Button{
		Label:   label,
		Name:    t.attrs["name"],
		Value:   t.attrs["value"],
		method:  t.attrs["formmethod"],
		enctype: t.attrs["formenctype"],
	}
	if action := t.attrs["formaction"]; action != "" {
		b.action = r.resolve(action, f.Action)
	}
	f.Buttons = append(f.Buttons, b)
}

// add adds a control. A field without a name is never sent.
func (f *Form) add(c control, sent bool) {
	if c.name == "" {
		return
	}
	f.controls = append(f.controls, c)
	if sent {
		f.Fields.Add(c.name, c.value)
	}
}

func (r *pageReader) input(f *Form, t token) {
	c := control{name: t.attrs["name"], value: t.attrs["value"]}
	switch kind := strings.ToLower(t.attrs["type"]); kind {
	case "submit", "image":
		label := cmp.Or(c.value, "Submit")
		if kind == "image" {
			// An image button sends the position of the click, and not its own name.
			label, t.attrs["name"] = t.attrs["alt"], ""
		}
		r.button(f, t, label)
	case "button", "reset", "file":
	case "checkbox", "radio":
		c.choice = true
		if !t.has("value") {
			c.value = "on"
		}
		f.add(c, t.has("checked"))
	default:
		f.add(c, true)
	}
}

// options adds the options of a select. If only one can be selected and none is, it selects
// the first.
func (r *pageReader) options(f *Form, i int) {
	name, multiple := r.tokens[i].attrs["name"], r.tokens[i].has("multiple")
	var options []control
	var selected []bool
	for j := i + 1; j < len(r.tokens) && r.tokens[j].name != "select"; j++ {
		t := r.tokens[j]
		if t.name != "option" || t.end || t.has("disabled") {
			continue
		}
		value := words(r.text(j, "option", "optgroup", "select"))
		if t.has("value") {
			value = t.attrs["value"]
		}
		if t.has("selected") && !multiple {
			clear(selected) // the last one counts
		}
		options = append(options, control{name: name, value: value, choice: true})
		selected = append(selected, t.has("selected"))
	}
	if !multiple && len(options) > 0 && !slices.Contains(selected, true) {
		selected[0] = true
	}
	for j, option := range options {
		f.add(option, selected[j])
	}
}
