package authorizetest

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln-_"
	for _, tt := range []struct{ rule, text, want string }{
		{"a waiting request in an address", "https://as.example/login?req=" + jwt, "https://as.example/login?req=…"},
		{"what stands after it", "/login?a=1&req=x.y.z&b=2#c", "/login?a=1&req=…&b=2#c"},
		{"all parameters of an answer", "https://w.example/cb?code=a%2Bb&state=c,d;e:f&iss=https://as.example", "https://w.example/cb?code=…&state=…&iss=https://as.example"},
		{"a fragment", "https://w.example/cb#code=a&state=b", "https://w.example/cb#code=…&state=…"},
		{"an encoded form", "code=a&code_verifier=b&client_secret=c&grant_type=d", "code=…&code_verifier=…&client_secret=…&grant_type=d"},
		{"an address in an address", "/go?to=%2Fauthorize%3freq%3Da.b.c%26deny%3D1&x=1", "/go?to=%2Fauthorize%3freq%3D…&x=1"},
		{"an address that is quoted", `parse "https://w.example/cb?state=a": bad`, `parse "https://w.example/cb?state=…": bad`},
		{"addresses in a sentence", "at /a?req=b, /c?req=d: 200", "at /a?req=…, /c?req=…: 200"},
		{"a link", `<a href="/cb?x=1&amp;code=a">state</a>`, `<a href="/cb?x=1&amp;code=…">state</a>`},
		{"a hidden field", `<input type="hidden" name="state" value="a&quot; > b">`, `<input type="hidden" name="state" value="…">`},
		{"a hidden field without quotes", `<INPUT value=a name=CODE>`, `<INPUT value="…" name=CODE>`},
		{"a hidden field in single quotes", `<input value = 'a>b' name='req'>`, `<input value = "…" name='req'>`},
		{"a field of another name", `<input name="promo_code" value="a">`, `<input name="promo_code" value="a">`},
		{"JSON", `{"code": "a\"b", "state":"c", "error":"d"}`, `{"code": "…", "state":"…", "error":"d"}`},
		{"a JWT anywhere", "var r = '" + jwt + "';", "var r = '…';"},
		{"names that only end alike", "error_code=1&xstate=2&status-code=3", "error_code=1&xstate=2&status-code=3"},
		{"an empty value", "/cb?code=&state=", "/cb?code=&state="},
		{"a password", "https://u:p@as.example/a@b:c", "https://u:…@as.example/a@b:c"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			if got := redact(tt.text); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if once := redact(tt.want); once != tt.want {
				t.Errorf("redacted once more it is %s", once)
			}
		})
	}
}

// awkwardPages are pages that no browser can make anything of.
func awkwardPages(p *program) {
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", to+"?"+r.URL.RawQuery)
			w.WriteHeader(http.StatusFound)
		}
	}
	p.pages["GET /loop"] = redirect("/loop")
	p.pages["GET /malformed"] = redirect("/%zz")
	p.pages["GET /script"] = redirect("javascript:alert")
	p.pages["GET /strict"] = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", "form-action 'none'")
		fmt.Fprint(w, "<!DOCTYPE html><form></form>")
	}
}

// A whole sign-in with all that can go wrong: whatever is said, no value in it lets anybody go
// on with the sign-in.
func TestNoMessageTellsASecret(t *testing.T) {
	host := hostOf(awkwardPages)
	v := host.visit(t)
	v.browser.Connect("https://down.example", broke{})
	var messages []string
	say := func(what ...any) { messages = append(messages, strings.TrimPrefix(fmt.Sprintln(what...), "<nil> ")) }
	must := func(page *Page, err error) *Page {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		say(page)
		return page
	}
	open := func(address string) (*Page, error) { return v.browser.Open(address) }

	flow, other, posted := host.Client.Start(), host.Client.Start(), host.Client.Start(url.Values{"response_mode": {"form_post"}})
	login := must(v.browser.OpenFrom(elsewhere, flow.URL))
	consent := must(host.SignIn(login))
	answer := must(host.Agree(consent))
	form := must(open(posted.URL))
	code, formCode := answer.URL.Query().Get("code"), form.Forms[0].Fields.Get("code")
	secrets := []string{
		flow.State, flow.Verifier, posted.State, code, formCode,
		login.URL.Query().Get("req"), login.Forms[0].Fields.Get("req"), consent.URL.Query().Get("req"),
	}
	for i, s := range secrets {
		if len(s) < 20 {
			t.Fatalf("secret %d is %q", i, s)
		}
	}

	say(flow)
	say(login.Click("nothing"))
	say(login.Submit(nil, "nothing"))
	say(login.Submit(url.Values{"req": {secrets[5], secrets[6]}}))
	say((&Page{Request: login.Request, URL: login.URL, Body: login.Body}).Submit(nil))
	say(flow.Check(login.Request))
	say(other.Check(answer.Request))
	say(flow.CheckURL(answer.URL.String() + "#" + code))
	say(flow.CheckURL(answer.URL.String() + "&x=%zz"))
	say(flow.CheckURL("https://wiki.example/%zz?" + answer.URL.RawQuery))
	say(posted.CheckURL(answer.URL.String()))
	stray, err := http.NewRequest(http.MethodPost, answer.URL.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	say(posted.Check(stray))
	f := &failure{TB: t}
	f.of(func() string { return other.Expect(f, answer, nil) })
	say(f.text)
	query := login.URL.RawQuery + "&" + answer.URL.RawQuery
	for _, address := range []string{
		"https://as.example/loop?", "https://as.example/malformed?", "https://as.example/script?", "https://as.example/%zz?",
		"https://down.example/?", "https://user:" + code + "@down.example/?",
	} {
		say(open(address + query))
	}
	say(must(open("https://as.example/strict?" + query)).Submit(nil))
	say(v.browser.OpenFrom("/page?"+query, "https://as.example/"))
	say(v.browser.OpenFrom("https://%zz/page?"+query, "https://as.example/"))
	say(v.browser.SetCookies("https://%zz/page?" + query))
	func() {
		defer func() { say(recover()) }()
		v.browser.Handle("https://wiki.example/cb?"+query, nil)
	}()
	token := newProgram()
	say(flow.Exchange(token, code, url.Values{"code_verifier": {posted.Verifier}}))
	say(other.Exchange(http.NotFoundHandler(), code))
	other.tokenEndpoint = "https://as.example/%zz?" + query
	say(other.Exchange(token, code))
	_, err = other.exchange(broke{}, code)
	say(err)
	say(v.redeem(other, code, ""))

	for _, message := range messages {
		if len(message) < 15 {
			t.Errorf("there is no message: %q", message)
		}
		for i, s := range secrets {
			if strings.Contains(message, s) {
				t.Errorf("secret %d is in the message\n%s", i, message)
			}
		}
	}
	if !strings.Contains(messages[0], "login?req=…: 200") || !strings.Contains(messages[0], `name="req" value="…"`) {
		t.Errorf("the login page reads\n%s", messages[0])
	}
	if _, err := open("https://down.example/?" + query); !errors.Is(err, errBroke) {
		t.Errorf("what is redacted is not found: %v", err)
	}
}
