package authorizetest

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// Page is the page where a [Browser] has arrived.
type Page struct {
	// Request is the request that returned this page or, if Left is true, the one that
	// the browser would send next. [Flow.Check] reads it.
	Request *http.Request

	// URL is the address of the page, Request.URL.
	URL *url.URL

	// Left is true if the browser would go on to an origin that is none of its sites,
	// such as a client's redirect URI. The fields below are empty then.
	Left bool

	// Status, Header and Body are the response.
	Status int
	Header http.Header
	Body   string

	// Forms and Links are those of a page with the Content-Type text/html or
	// application/xhtml+xml, in order.
	Forms []*Form
	Links []Link

	browser *Browser
	from    *url.URL // the page that sends the forms and links: URL, unless the page is copied
	policy  string
}

// copied returns a copy of the page that the site of from shows to the user of the browser b.
func (p *Page) copied(from *url.URL, b *Browser) *Page {
	c := *p
	c.browser, c.from, c.policy, c.Header, c.Forms = b, from, "", p.Header.Clone(), nil
	c.Header.Del("Content-Security-Policy")
	for _, f := range p.Forms {
		form := *f
		form.page = &c
		c.Forms = append(c.Forms, &form)
	}
	return &c
}

// Link is a link on a page.
type Link struct {
	Text string
	URL  *url.URL

	noReferrer bool
}

// Form is a form on a page, with the fields that it sends if the user changes nothing.
type Form struct {
	// Method is GET or POST. Action is the address that the form is sent to.
	Method string
	Action *url.URL

	// Fields are the names and values that are sent, including hidden ones, but not those
	// of buttons. A test may change them in ways that no user could.
	Fields url.Values

	// Buttons are those that submit the form. Submit uses the first unless told
	// otherwise, as the Enter key does.
	Buttons []Button

	page     *Page
	enctype  string
	controls []control
}

// Button submits a form.
type Button struct {
	// Label is what the user reads. Name and Value are sent, unless Name is empty.
	Label string
	Name  string
	Value string

	method, enctype string   // instead of the form's, if set
	action          *url.URL // instead of the form's, if not nil
}

// control is a field of a form, or one of several of the same name.
type control struct {
	name, value string
	choice      bool // a checkbox, radio button or option: the value is fixed
}

// String returns the whole page, for messages of tests. It has … in place of every pending
// request, code, state, verifier and token in its address, its forms and its links.
func (p *Page) String() string {
	if p.Left {
		return redact(fmt.Sprintf("leaving for %s %s", p.Request.Method, p.URL))
	}
	return redact(fmt.Sprintf("%s %s: %d\n%s", p.Request.Method, p.URL, p.Status, p.Body))
}

// Submit fills in the form of the page and sends it. If there are several forms, it uses
// the only one that has all the fields and the button. It is an error if none has them, or
// more than one.
//
// The values replace those of the fields with the same name. Give one value for a text
// field, all ticked values for checkboxes, and an empty list for a field that must not be
// sent. Other fields are sent as they are. At most one button can be named, by its label
// or else its value; without one, Submit uses the form's first. It is an error if there is
// no such field, choice or button. To send wrong fields on purpose, see [Form].Fields. The
// other errors are those of [Browser.Open].
func (p *Page) Submit(values url.Values, button ...string) (*Page, error) {
	var fitting []*Form
	var misfit error
	for _, f := range p.Forms {
		if _, err := f.fill(values, button); err != nil {
			misfit = err
		} else {
			fitting = append(fitting, f)
		}
	}
	switch {
	case len(p.Forms) == 0:
		return nil, fmt.Errorf("authorizetest: no form on the page of type %q: %s", p.Header.Get("Content-Type"), p)
	case len(fitting) == 0 && len(p.Forms) == 1:
		return nil, misfit
	case len(fitting) != 1:
		return nil, fmt.Errorf("authorizetest: %d of %d forms have the fields and the button: use one of Page.Forms",
			len(fitting), len(p.Forms))
	}
	return fitting[0].Submit(values, button...)
}

// Click follows the link with the text. It is an error if there is none, or if several
// links with that text lead to different addresses. The other errors are those of
// [Browser.Open].
func (p *Page) Click(text string) (*Page, error) {
	var found *Link
	for i, link := range p.Links {
		if link.Text != text {
			continue
		}
		if found != nil && found.URL.String() != link.URL.String() {
			return nil, fmt.Errorf("authorizetest: several links say %q", text)
		}
		found = &p.Links[i]
	}
	if found == nil {
		return nil, fmt.Errorf("authorizetest: no link says %q on %s", text, p)
	}
	n := &navigation{method: http.MethodGet, url: found.URL, from: p.from, policy: p.policy}
	if found.noReferrer {
		n.policy = "no-referrer"
	}
	return p.browser.navigate(n)
}

// Submit is [Page.Submit] for this form.
func (f *Form) Submit(values url.Values, button ...string) (*Page, error) {
	fields, err := f.fill(values, button)
	if err != nil {
		return nil, err
	}
	n := &navigation{method: f.Method, url: f.Action, from: f.page.from, policy: f.page.policy}
	n.formAction = formActions(f.page.URL, f.page.Header)
	enctype := f.enctype
	if b, _ := f.button(button); b != nil {
		if b.method != "" {
			n.method = formMethod(b.method)
		}
		if b.action != nil {
			n.url = b.action
		}
		if b.enctype != "" {
			enctype = b.enctype
		}
	}
	if n.method == http.MethodGet {
		to := *n.url
		to.RawQuery = encode(fields)
		n.url = &to
		return f.page.browser.navigate(n)
	}
	if enctype != "" && !strings.EqualFold(enctype, "application/x-www-form-urlencoded") {
		return nil, fmt.Errorf("authorizetest: forms of type %s cannot be sent", enctype)
	}
	n.body = encode(fields)
	return f.page.browser.navigate(n)
}

// fill returns what the form sends with the values and the button.
func (f *Form) fill(values url.Values, button []string) (url.Values, error) {
	fields := url.Values{}
	for name, list := range f.Fields {
		fields[name] = append([]string(nil), list...)
	}
	for name, list := range values {
		if err := f.accepts(name, list); err != nil {
			return nil, err
		}
		fields[name] = append([]string(nil), list...)
	}
	b, err := f.button(button)
	if err != nil {
		return nil, err
	}
	if b != nil && b.Name != "" {
		fields.Add(b.Name, b.Value)
	}
	return fields, nil
}

// accepts returns an error if a user could not make the field send these values.
func (f *Form) accepts(name string, values []string) error {
	var choices, names []string
	texts := 0
	for _, c := range f.controls {
		switch {
		case c.name != name:
			names = append(names, c.name)
		case c.choice:
			choices = append(choices, c.value)
		default:
			texts++
		}
	}
	if len(choices)+texts == 0 {
		return fmt.Errorf("authorizetest: the form has no field %q, it has %q", name, names)
	}
	for _, value := range values {
		i := 0
		for i < len(choices) && choices[i] != value {
			i++
		}
		switch {
		case i < len(choices):
			choices = append(choices[:i:i], choices[i+1:]...)
		case texts > 0:
			texts--
		default:
			return fmt.Errorf("authorizetest: the field %q cannot be %s, it can be %s",
				name, shown(name, values), shown(name, choices))
		}
	}
	return nil
}

// shown quotes the values of a field for a message.
func shown(name string, values []string) string {
	if len(values) > 0 && secretName.MatchString(strings.ToLower(name)) {
		return "…"
	}
	return fmt.Sprintf("%q", values)
}

// button returns the named button. Without a name it returns the first button, or nil if
// the form has no button.
func (f *Form) button(named []string) (*Button, error) {
	switch {
	case len(named) > 1:
		return nil, errors.New("authorizetest: a form is submitted with one button")
	case len(named) == 0 && len(f.Buttons) == 0:
		return nil, nil
	case len(named) == 0:
		return &f.Buttons[0], nil
	}
	var labels []string
	for i, b := range f.Buttons {
		if b.Label == named[0] {
			return &f.Buttons[i], nil
		}
		labels = append(labels, b.Label)
	}
	for i, b := range f.Buttons {
		if b.Value == named[0] {
			return &f.Buttons[i], nil
		}
	}
	return nil, fmt.Errorf("authorizetest: the form has no button %q, it has %q", named[0], labels)
}

// encode writes a form as browsers do, with every line end as CR LF.
func encode(form url.Values) string {
	sent := url.Values{}
	for name, values := range form {
		for _, value := range values {
			sent.Add(crlf.Replace(name), crlf.Replace(value))
		}
	}
	return sent.Encode()
}

var crlf = strings.NewReplacer("\r\n", "\r\n", "\r", "\r\n", "\n", "\r\n")

func formMethod(method string) string {
	if strings.EqualFold(method, http.MethodPost) {
		return http.MethodPost
	}
	return http.MethodGet
}

// read finds the forms and links if the page is HTML.
func (p *Page) read() {
	mediaType, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
	if mediaType != "text/html" && mediaType != "application/xhtml+xml" {
		return
	}
	readPage(p)
}
