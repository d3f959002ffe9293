package authorizetest

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// readHTML reads a page at https://as.example/dir/page?q.
func readHTML(t *testing.T, html string) *Page {
	t.Helper()
	u, err := url.Parse("https://as.example/dir/page?q")
	if err != nil {
		t.Fatal(err)
	}
	page := &Page{Request: &http.Request{Method: http.MethodGet}, URL: u, Header: http.Header{"Content-Type": {"text/html"}}, Body: html, browser: NewBrowser(), from: u}
	page.read()
	return page
}

// TestWhatAFormSends has forms and the query that they make if nothing is changed.
func TestWhatAFormSends(t *testing.T) {
	for _, tt := range []struct{ rule, html, want string }{
		{"text", `<input name=a value=1><input name=b type=text value="2 &amp; 3"><input name=c>`, "a=1&b=2+%26+3&c="},
		{"hidden", `<input type=hidden name=a value="x&quot;&lt;&#39;">`, "a=x%22%3C%27"},
		{"any unknown type is text", `<input type=email name=a value=1><input type=what name=b value=2>`, "a=1&b=2"},
		{"without a name", `<input value=1><input name="" value=2>`, ""},
		{"the same name twice", `<input name=a value=1><input name=a value=2>`, "a=1&a=2"},
		{"disabled", `<input name=a value=1 disabled><input name=b value=2>`, "b=2"},
		{"in a disabled fieldset", `<fieldset disabled><fieldset><input name=a></fieldset><input name=b></fieldset><input name=c><fieldset><input name=d></fieldset>`, "c=&d="},
		{"checkboxes", `<input type=checkbox name=a value=1 checked><input type=checkbox name=a value=2><input type=checkbox name=b checked>`, "a=1&b=on"},
		{"radio buttons", `<input type=radio name=a value=1><input type=RADIO name=a value=2 checked>`, "a=2"},
		{"files and plain buttons", `<input type=file name=a value=1><input type=reset name=b value=1><input type=button name=c value=1>`, ""},
		{"textarea", "<textarea name=a>\n x <b> &amp;\ny</textarea>", "a=+x+%3Cb%3E+%26%0D%0Ay"},
		{"an empty textarea", "<textarea name=a></textarea>", "a="},
		{"a select has its first option", `<select name=a><option>One <b>and</b>  all</option><option value=2>Two</select>`, "a=One+and+all"},
		{"a select has the one selected", `<select name=a><option value=1><option value=2 selected>Two<option value=3 selected>Three</select>`, "a=3"},
		{"a select of several has none", `<select name=a multiple><option>1<option>2</select>`, ""},
		{"a select of several has all selected", `<select name=a multiple><option selected>1<option>2<option selected>3</select>`, "a=1&a=3"},
		{"a disabled option is not the first", `<select name=a><option disabled value="">Choose<optgroup><option value=1></optgroup></select>`, "a=1"},
		{"an empty select", `<select name=a></select>`, ""},
		{"the first button", `<button name=do value=allow>Allow</button><button name=do value=deny>Deny</button>`, "do=allow"},
		{"a button without a name", `<input name=a value=1><button value=x>Go</button><button name=do value=deny>`, "a=1"},
		{"a button that is disabled is not the first", `<button disabled name=do value=1></button><input type=submit name=do value=2>`, "do=2"},
		{"a button of another type is none", `<button type=button name=a value=1></button><button type=reset name=a value=2></button>`, ""},
		{"an image sends no name", `<input type=image name=a value=1 alt=Go>`, ""},
		{"in a comment", `<!-- <input name=a> --><input name=b><!--x-->`, "b="},
		{"in a script", `<script>"<input name=a>"</script><style><input name=a></style><input name=b>`, "b="},
		{"in noscript", `<noscript><input name=a></noscript>`, "a="},
		{"in a template", `<template><input name=a><template></template><input name=b></template><input name=c>`, "c="},
		{"outside by its form attribute", `</form><input name=a form=f><input name=b form=other><input name=c>`, "a="},
		{"after the form", `<input name=a></form><input name=b>`, "a="},
		{"a form in a form is none", `<form><input name=a></form>`, "a="},
		{"line ends", "<input name=a value='1\n2\r\n3'>", "a=1%0D%0A2%0D%0A3"},
		{"letter case", `<INPUT NAME=a VALUE=1><TextArea Name=b></TEXTAREA>`, "a=1&b="},
		{"attributes in all ways", "<input\tname = 'a'\nvalue=x/><input name=b value/><input name=c value=''name=d / value=2>", "a=x%2F&b=&c="},
		{"an attribute twice", `<input name=a name=b value=1 value=2>`, "a=1"},
		{"what is no tag", `1 < 2 <3 <> </> </ <input name=a value=1>`, "a=1"},
		{"what never ends", `<input name=a><textarea name=b>x<input name=c>`, "a=&b=x%3Cinput+name%3Dc%3E"},
		{"what ends in a tag", `<input name=a><input name=b value="x>`, "a=&b=x%3E"},
		{"a raw element with letters that are longer in lower case", "<textarea name=a>\u0130\u212a</textarea><input name=b>", "a=%C4%B0%E2%84%AA&b="},
		{"a raw element ends with its own name only", `<textarea name=a></textareas></TEXTAREA ><input name=b>`, "a=%3C%2Ftextareas%3E&b="},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			page := readHTML(t, `<!DOCTYPE html><title><form></title><form id=f action=/to>`+tt.html)
			if len(page.Forms) != 1 {
				t.Fatalf("%d forms, want 1", len(page.Forms))
			}
			left, err := page.Submit(nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := left.URL.RawQuery; got != tt.want || !left.Left {
				t.Errorf("it sends %s, want %s", got, tt.want)
			}
		})
	}
}

func TestWhereAFormGoes(t *testing.T) {
	for _, tt := range []struct{ rule, html, button, want string }{
		{"no action is the page", `<form method=post>`, "", "POST https://as.example/dir/page?q"},
		{"an empty action too", `<form method=post action=" ">`, "", "POST https://as.example/dir/page?q"},
		{"the query is replaced by GET", `<form>`, "", "GET https://as.example/dir/page"},
		{"no query is kept in the action by GET", `<form action="/to?x=1">`, "", "GET https://as.example/to"},
		{"the query is kept by POST", `<form action="/to?x=1" method=POST>`, "", "POST https://as.example/to?x=1"},
		{"relative", `<form method=post action=to>`, "", "POST https://as.example/dir/to"},
		{"another host", `<form method=post action="https://wiki.example/cb?a=1">`, "", "POST https://wiki.example/cb?a=1"},
		{"an unknown method is GET", `<form method=put action=to>`, "", "GET https://as.example/dir/to"},
		{"base", `<base href="/b/"><form method=post action=to>`, "", "POST https://as.example/b/to"},
		{"the first base counts", `<base target=x><base href="https://x.example/b/"><base href="/c/"><form method=post action=to>`, "", "POST https://x.example/b/to"},
		{"no action ignores base", `<base href="/b/"><form method=post>`, "", "POST https://as.example/dir/page?q"},
		{"a malformed action is the page", `<form method=post action="https://%zz">`, "", "POST https://as.example/dir/page?q"},
		{"a button's own", `<form action=a><button formaction=b formmethod=post>B</button>`, "", "POST https://as.example/dir/b"},
		{"a button's own by label", `<form method=post action=a><button>A</button><button formaction=b>B  or <i>so</i></button>`, "B or so", "POST https://as.example/dir/b"},
		{"a button by value", `<form method=post action=a><button>A</button><button formaction=b value=deny>No</button>`, "deny", "POST https://as.example/dir/b"},
		{"a label before a value", `<form method=post action=a><button formaction=b value=A>x</button><button formaction=c>A</button>`, "A", "POST https://as.example/dir/c"},
		{"a submit input by its label", `<form method=post action=a><input type=submit formaction=b value="Sign in">`, "Sign in", "POST https://as.example/dir/b"},
		{"a submit input without a label", `<form method=post action=a><input type=submit formaction=b>`, "Submit", "POST https://as.example/dir/b"},
		{"an image by its text", `<form method=post action=a><button>x</button><input type=image alt=Go formaction=b>`, "Go", "POST https://as.example/dir/b"},
		{"a button with its enctype", `<form method=post action=a enctype=text/plain><button formenctype="application/x-www-form-urlencoded">x</button>`, "", "POST https://as.example/dir/a"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			page := readHTML(t, tt.html)
			var named []string
			if tt.button != "" {
				named = []string{tt.button}
			}
			left, err := page.Submit(nil, named...)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.TrimSuffix(left.Request.Method+" "+left.URL.String(), "?"); got != tt.want {
				t.Errorf("it goes to %s, want %s", got, tt.want)
			}
		})
	}
}

const consentPage = `<form method=post action=/consent>
<input type=hidden name=req value=r>
<input type=checkbox name=scope value=openid checked><input type=checkbox name=scope value=email checked><input type=checkbox name=scope value=phone>
<input type=radio name=for value=day checked><input type=radio name=for value=ever>
<select name=lang><option>de<option>en</select><textarea name=note></textarea>
<input type=checkbox name=mixed value=1><input type=text name=mixed value=2>
<button name=do value=allow>Allow</button><button name=do value=deny>Deny</button>
</form>`

func TestFillingIn(t *testing.T) {
	const rest = "&for=day&lang=de&mixed=2&note=&req=r"
	for _, tt := range []struct {
		rule   string
		values url.Values
		button []string
		want   string // what is sent, or else a part of the error
	}{
		{"nothing", nil, nil, "do=allow" + rest + "&scope=openid&scope=email"},
		{"a button", nil, []string{"Deny"}, "do=deny" + rest + "&scope=openid&scope=email"},
		{"fewer boxes", url.Values{"scope": {"openid"}}, nil, "do=allow" + rest + "&scope=openid"},
		{"more boxes", url.Values{"scope": {"phone", "openid", "email"}}, nil, "do=allow" + rest + "&scope=phone&scope=openid&scope=email"},
		{"no box", url.Values{"scope": nil}, nil, "do=allow" + rest},
		{"a hidden field", url.Values{"req": {"x"}, "scope": {}}, nil, "do=allow" + strings.Replace(rest, "req=r", "req=x", 1)},
		{"a choice", url.Values{"for": {"ever"}, "lang": {"en"}, "note": {"a b"}, "scope": nil}, nil, "do=allow&for=ever&lang=en&mixed=2&note=a+b&req=r"},
		{"a box and a text of one name", url.Values{"mixed": {"1", "x"}, "scope": nil}, nil, "do=allow&for=day&lang=de&mixed=1&mixed=x&note=&req=r"},
		{"a box that is not there", url.Values{"scope": {"admin"}}, nil, `the field "scope" cannot be ["admin"]`},
		{"a box twice", url.Values{"scope": {"openid", "openid"}}, nil, `the field "scope" cannot be`},
		{"an option that is not there", url.Values{"lang": {"fr"}}, nil, `it can be ["de" "en"]`},
		{"two texts in one field", url.Values{"note": {"a", "b"}}, nil, `the field "note" cannot be`},
		{"a field that is not there", url.Values{"scopes": {"openid"}}, nil, `the form has no field "scopes", it has ["req" "scope"`},
		{"a button that is not there", nil, []string{"Accept"}, `the form has no button "Accept", it has ["Allow" "Deny"]`},
		{"two buttons", nil, []string{"Allow", "Deny"}, "one button"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			page := readHTML(t, consentPage)
			left, err := page.Submit(tt.values, tt.button...)
			got := ""
			if err != nil {
				got = err.Error()
			} else {
				body, readErr := io.ReadAll(left.Request.Body)
				if got = string(body); readErr != nil {
					t.Fatal(readErr)
				}
			}
			if sent := strings.Contains(tt.want, "req="); sent && got != tt.want || !sent && !strings.Contains(got, tt.want) {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if got := page.Forms[0].Fields.Encode(); got != rest[1:]+"&scope=openid&scope=email" {
				t.Errorf("the form has changed to %s", got)
			}
		})
	}
}

func TestTampering(t *testing.T) {
	page := readHTML(t, consentPage)
	page.Forms[0].Fields["scope"] = []string{"admin"}
	page.Forms[0].Fields.Set("csrf", "forged")
	left, err := page.Forms[0].Submit(url.Values{"note": {"x"}}, "Deny")
	if err != nil {
		t.Fatal(err)
	}
	if err := left.Request.ParseForm(); err != nil || left.Request.PostForm.Encode() != "csrf=forged&do=deny&for=day&lang=de&mixed=2&note=x&req=r&scope=admin" {
		t.Errorf("it sends %v, %v", left.Request.PostForm, err)
	}
}

func TestWhichFormIsMeant(t *testing.T) {
	const forms = `<form action=/search><input name=q></form><form action=/login><input name=user><button>Sign in</button></form><form action=/sso><input name=user><button>Company</button></form>`
	for _, tt := range []struct {
		rule, field, button, want string
	}{
		{"by the field", "q", "", "/search"},
		{"by field and button", "user", "Company", "/sso"},
		{"by the button", "", "Sign in", "/login"},
		{"two fit", "user", "", "2 of 3 forms"},
		{"all fit", "", "", "3 of 3 forms"},
		{"none fits", "name", "", "0 of 3 forms"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			values, button := url.Values{}, []string{}
			if tt.field != "" {
				values.Set(tt.field, "x")
			}
			if tt.button != "" {
				button = append(button, tt.button)
			}
			page, err := readHTML(t, forms).Submit(values, button...)
			if err != nil && (page != nil || !strings.Contains(err.Error(), tt.want)) || err == nil && page.URL.Path != tt.want {
				t.Errorf("%v, %v; want %s", page, err, tt.want)
			}
		})
	}
}

func TestFormsThatCannotBeSubmitted(t *testing.T) {
	page := readHTML(t, `<p>no form`)
	got, err := page.Submit(nil)
	wantError(t, got, err, `no form on the page of type "text/html"`)
	wantError(t, got, err, "<p>no form") // the page itself says why
	page = readHTML(t, `<form method=post enctype=multipart/form-data>`)
	got, err = page.Submit(nil)
	wantError(t, got, err, "multipart/form-data")
}

// Without a Content-Type, net/http takes a page that begins with a form for text.
func TestOnlyHTMLHasForms(t *testing.T) {
	for _, tt := range []struct {
		rule, contentType string
		want              int
	}{
		{"HTML", "text/html", 1},
		{"HTML with a charset", "Text/HTML; charset=utf-8", 1},
		{"XHTML", "application/xhtml+xml", 1},
		{"text", "text/plain", 0},
		{"no type", "", 0},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			s := newSite(t)
			s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
				if tt.contentType != "" {
					w.Header().Set("Content-Type", tt.contentType)
				}
				io.WriteString(w, "<form><input name=a></form><a href=/x>x</a>")
			})
			page := s.open("https://as.example/")
			if len(page.Forms) != tt.want || len(page.Links) != tt.want {
				t.Errorf("%d forms and %d links, want %d", len(page.Forms), len(page.Links), tt.want)
			}
		})
	}
}

func TestClick(t *testing.T) {
	const links = `<base href=/b/><a href=one>One</a> <a href=" two ">The
	<b>second</b></a><a>not a link</a><a name=x href=/3>Three<a href=/4>Four</a><a href=/3>Twice</a><a href=/4>Twice</a><a href=/5>Same</a><a href=/5>Same</a>`
	for _, tt := range []struct{ text, want string }{
		{"One", "https://as.example/b/one"},
		{"The second", "https://as.example/b/two"},
		{"Three", "https://as.example/3"},
		{"Four", "https://as.example/4"},
		{"Same", "https://as.example/5"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			page, err := readHTML(t, links).Click(tt.text)
			if err != nil || page.URL.String() != tt.want || page.Request.Method != http.MethodGet {
				t.Errorf("%v, %v; want %s", page, err, tt.want)
			}
		})
	}
	for text, want := range map[string]string{"not a link": "no link says", "one": "no link says", "Twice": "several links"} {
		t.Run(text, func(t *testing.T) {
			page, err := readHTML(t, links).Click(text)
			wantError(t, page, err, want)
		})
	}
}

// FuzzReadPage: whatever a page holds, reading it ends, and what its forms send can
// be filled in.
func FuzzReadPage(f *testing.F) {
	for _, seed := range []string{consentPage, "<", "</", "<!", "<!--", "<a", "<a href", "<a href=", `<a href="`, "<textarea><", "<form><select><option", "<template>", "\xff<\x00>"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, html string) {
		for _, form := range readHTML(t, html).Forms {
			fields, err := form.fill(form.Fields, nil)
			if err != nil {
				t.Fatalf("the form does not accept its own fields %q: %v", form.Fields, err)
			}
			for name := range form.Fields {
				if len(fields[name]) < len(form.Fields[name]) {
					t.Fatalf("%q is sent as %q, want %q", name, fields[name], form.Fields[name])
				}
			}
		}
	})
}
