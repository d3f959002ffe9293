package interop

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// person is alice with a browser without scripts: she keeps cookies, follows
// redirects within the site that she started on, and fills in the forms she meets.
type person struct {
	t       *testing.T
	browser *http.Client
	logins  int  // how often she was asked for her password
	asked   int  // how often she was asked for consent
	denies  bool // what she answers then
}

func newPerson(t *testing.T) *person {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	stayOnSite := func(next *http.Request, via []*http.Request) error {
		if next.URL.Host != via[0].URL.Host || len(via) > 10 {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return &person{t: t, browser: &http.Client{Jar: jar, CheckRedirect: stayOnSite}}
}

// answer opens an authorization URL and does what the pages ask for until the
// provider sends the browser off its site. It returns where to.
func (p *person) answer(authorizeURL string) *url.URL {
	p.t.Helper()
	response, body := p.get(authorizeURL)
	for range 5 {
		if response.StatusCode == http.StatusFound || response.StatusCode == http.StatusSeeOther {
			return p.location(response)
		}
		form := parseForm(p.t, body)
		switch {
		case form.has("username"):
			p.logins++
			form.fields.Set("username", alice.Username)
			form.fields.Set("password", alice.Password)
		case form.has("decision"):
			p.asked++
			form.fields.Set("decision", "allow")
			if p.denies {
				form.fields.Set("decision", "deny")
			}
		default:
			p.t.Fatalf("%s: %s, neither an answer nor a form that a person knows:\n%s", response.Request.URL, response.Status, body)
		}
		response, body = p.submit(response.Request.URL, form)
	}
	p.t.Fatalf("still no answer after five forms; the last page is %s:\n%s", response.Request.URL, body)
	return nil
}

func (p *person) get(target string) (*http.Response, string) {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, target, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.do(request)
}

func (p *person) submit(page *url.URL, f form) (*http.Response, string) {
	p.t.Helper()
	action, err := page.Parse(f.action)
	if err != nil {
		p.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, action.String(), strings.NewReader(f.fields.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Origin", page.Scheme+"://"+page.Host)
	return p.do(request)
}

func (p *person) do(request *http.Request) (*http.Response, string) {
	p.t.Helper()
	response, err := p.browser.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return response, string(body)
}

func (p *person) location(response *http.Response) *url.URL {
	p.t.Helper()
	location, err := response.Location()
	if err != nil {
		p.t.Fatal(err)
	}
	return location
}

// form is the one form of a page.
type form struct {
	action string
	fields url.Values
}

func (f form) has(name string) bool { _, ok := f.fields[name]; return ok }

// parseForm reads the page's form: its inputs, and the names of its buttons with an
// empty value, because a person has to choose one.
func parseForm(t *testing.T, page string) form {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	f := form{fields: url.Values{}}
	for node := range root.Descendants() {
		switch attr := attributes(node); node.Data {
		case "form":
			f.action = attr["action"]
		case "input":
			if name := attr["name"]; name != "" && (attr["type"] != "checkbox" || hasAttribute(node, "checked")) {
				f.fields.Add(name, attr["value"])
			}
		case "button":
			if name := attr["name"]; name != "" {
				f.fields.Set(name, "")
			}
		}
	}
	return f
}

func attributes(node *html.Node) map[string]string {
	attr := map[string]string{}
	for _, a := range node.Attr {
		attr[a.Key] = a.Val
	}
	return attr
}

func hasAttribute(node *html.Node, name string) bool {
	_, ok := attributes(node)[name]
	return ok
}
