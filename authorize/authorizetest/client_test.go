package authorizetest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/pkce"
)

var wiki = Client{
	Issuer:      "https://as.example",
	ID:          "wiki",
	RedirectURI: "https://wiki.example/cb",
	Scopes:      []string{"openid", "profile"},
}

func TestStart(t *testing.T) {
	f := wiki.Start()
	endpoint, query, _ := strings.Cut(f.URL, "?")
	sent, err := url.ParseQuery(query)
	if err != nil || endpoint != "https://as.example/authorize" || f.Endpoint != endpoint {
		t.Fatalf("the URL is %s, %v", f.URL, err)
	}
	want := map[string]string{
		"response_type": "code", "client_id": "wiki", "redirect_uri": "https://wiki.example/cb",
		"scope": "openid profile", "state": f.State, "nonce": f.Nonce,
		"code_challenge": pkce.Challenge(f.Verifier), "code_challenge_method": "S256",
	}
	if len(sent) != len(want) {
		t.Errorf("sent %v, want %v", sent, want)
	}
	for name, value := range want {
		if got := sent[name]; len(got) != 1 || got[0] != value || value == "" || f.Params.Get(name) != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
	other := wiki.Start()
	if other.State == f.State || other.Nonce == f.Nonce || other.Verifier == f.Verifier {
		t.Error("two flows have a value in common")
	}
}

func TestStartWithChanges(t *testing.T) {
	bare := wiki
	bare.Scopes, bare.Endpoint = nil, "https://as.example/t/1/authorize?x=1"
	plain := wiki
	plain.Scopes = []string{"profile"}
	changes := url.Values{"resource": {"a", "b"}}
	for _, tt := range []struct {
		rule string
		f    *Flow
		name string
		want []string
	}{
		{"without scopes there is no scope", bare.Start(), "scope", nil},
		{"without openid there is no nonce", plain.Start(), "nonce", nil},
		{"a name without values leaves the parameter out", wiki.Start(url.Values{"state": nil}), "state", nil},
		{"values replace", wiki.Start(url.Values{"scope": {"x"}}), "scope", []string{"x"}},
		{"values are added", wiki.Start(url.Values{"prompt": {"none"}}), "prompt", []string{"none"}},
		{"several values may be sent", wiki.Start(changes), "resource", []string{"a", "b"}},
		{"later changes count", wiki.Start(url.Values{"x": {"1"}}, url.Values{"x": {"2"}}), "x", []string{"2"}},
		{"an endpoint may have a query", bare.Start(), "x", []string{"1"}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			u, err := url.Parse(tt.f.URL)
			if err != nil {
				t.Fatal(err)
			}
			if got := u.Query()[tt.name]; strings.Join(got, "|") != strings.Join(tt.want, "|") || len(got) != len(tt.want) {
				t.Errorf("%s is %q, want %q", tt.name, got, tt.want)
			}
		})
	}
	if wiki.Start(changes).Params["resource"][0] = "x"; changes["resource"][0] != "a" {
		t.Error("a flow shares memory with the changes it was made with")
	}
	for rule, change := range map[string]url.Values{
		"no challenge": {"code_challenge": nil}, "another challenge": {"code_challenge": {pkce.Challenge("x")}},
	} {
		t.Run(rule+" leaves no verifier", func(t *testing.T) {
			if f := wiki.Start(change); f.Verifier != "" {
				t.Error("the verifier is not this flow's")
			}
		})
	}
	if f := wiki.Start(url.Values{"state": {"mine"}, "nonce": {"too"}}); f.State != "mine" || f.Nonce != "too" {
		t.Errorf("state and nonce are %q and %q", f.State, f.Nonce)
	}
}

func TestRedemption(t *testing.T) {
	f := wiki.Start()
	want := authorize.Redemption{Code: "c", ClientID: "wiki", RedirectURI: "https://wiki.example/cb", Verifier: f.Verifier}
	if diff := cmp.Diff(want, f.Redemption("c")); diff != "" {
		t.Error(diff)
	}
	if got := wiki.Start(url.Values{"redirect_uri": nil}).Redemption("c"); got.RedirectURI != "" {
		t.Errorf("a redirect URI that was not sent is presented: %q", got.RedirectURI)
	}
}

// sound is a correct answer; S stands for the state.
const sound = "https://wiki.example/cb?code=abc&state=S&iss=https%3A%2F%2Fas.example"

func TestCheckURL(t *testing.T) {
	const denied = "https://wiki.example/cb?error=access_denied&state=S&iss=https%3A%2F%2Fas.example"
	for _, tt := range []struct {
		rule, answer string
		wrong        string // in the error, empty for none
	}{
		{"a code, the state and the issuer", sound, ""},
		{"unknown parameters are ignored", sound + "&session_state=x&new=y", ""},
		{"the order does not matter", "https://wiki.example/cb?iss=https://as.example&state=S&code=abc", ""},
		{"a code twice", sound + "&code=abc", "code 2 times"},
		{"a state twice", sound + "&state=S", "state 2 times"},
		{"an issuer twice", sound + "&iss=https://as.example", "iss 2 times"},
		{"an unknown parameter twice", sound + "&x=1&x=1", "x 2 times"},
		{"no code", strings.Replace(sound, "code=abc&", "", 1), "neither"},
		{"an empty code", strings.Replace(sound, "code=abc&", "code=&", 1), "neither"},
		{"no state", strings.Replace(sound, "&state=S", "", 1), "the state"},
		{"another state", strings.Replace(sound, "=S", "=T", 1), "the state"},
		{"the state and more", strings.Replace(sound, "=S", "=S%20", 1), "the state"},
		{"no issuer", strings.TrimSuffix(sound, "&iss=https%3A%2F%2Fas.example"), "the iss"},
		{"another issuer", sound + ".evil", "the iss"},
		{"the issuer with a slash", sound + "/", "the iss"},
		{"a code and an error", sound + "&error=access_denied", "both"},
		{"an error without a code", denied, "access_denied"},
		{"an error with another state", strings.Replace(denied, "=S", "=T", 1), "the state"},
		{"an error from another issuer", denied + ".evil", "the iss"},
		{"an empty error", strings.Replace(denied, "access_denied", "", 1), "no error code"},
		{"an error that is none", strings.Replace(denied, "access_denied", "%22", 1), "no error code"},
		{"a description with a quote", denied + "&error_description=%22", "not allowed"},
		{"a description beyond ASCII", denied + "&error_description=%C3%A9", "not allowed"},
		{"a fragment", sound + "#x", "fragment"},
		{"an empty fragment", sound + "#", "fragment"},
		{"a malformed escape", sound + "&x=%zz", "malformed"},
		{"a semicolon", sound + ";x=1", "malformed"},
		{"another host", strings.Replace(sound, "wiki.example", "wiki.example.evil", 1), "not the redirect URI"},
		{"another port", strings.Replace(sound, "wiki.example", "wiki.example:8443", 1), "not the redirect URI"},
		{"another scheme", strings.Replace(sound, "https:", "http:", 1), "not the redirect URI"},
		{"another path", strings.Replace(sound, "/cb", "/cb2", 1), "not the redirect URI"},
		{"a longer path", strings.Replace(sound, "/cb", "/cb/x", 1), "not the redirect URI"},
		{"no answer at all", "https://wiki.example/cb", "the iss"},
		{"the login page", "https://as.example/login?req=x", "not the redirect URI https://wiki.example/cb but https://as.example/login"},
		{"no URL", "https://wiki.example/%zz", "address of the response"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			f := wiki.Start(url.Values{"state": {"S"}})
			code, err := f.CheckURL(tt.answer)
			if tt.wrong == "" && (err != nil || code != "abc") {
				t.Errorf("%q, %v", code, err)
			}
			if tt.wrong != "" && (err == nil || code != "" || !strings.Contains(err.Error(), tt.wrong)) {
				t.Errorf("%q, %v; want an error with %q", code, err, tt.wrong)
			}
			_, answered := asAnswer(err)
			if want := tt.wrong == "access_denied"; answered != want {
				t.Errorf("the error is the client's to act on: %t, want %t", answered, want)
			}
		})
	}
}

func TestCheckURLOfOtherRedirectURIs(t *testing.T) {
	for _, tt := range []struct{ rule, uri, answer, wrong string }{
		{"a query of its own stays in front", "https://w.example/cb?a=1", "https://w.example/cb?a=1&A", ""},
		{"a query of its own may not go", "https://w.example/cb?a=1", "https://w.example/cb?A", "not the redirect URI"},
		{"a query of its own may not change", "https://w.example/cb?a=1", "https://w.example/cb?a=12&A", "not the redirect URI"},
		{"a query may end open", "https://w.example/cb?", "https://w.example/cb?A", ""},
		{"a path may be empty", "https://w.example", "https://w.example?A", ""},
		{"a browser adds the slash", "https://w.example", "https://w.example/?A", ""},
		{"a scheme of its own", "com.example.app:/cb", "com.example.app:/cb?A", ""},
		{"another scheme of its own", "com.example.app:/cb", "com.example.apq:/cb?A", "not the redirect URI"},
		{"no URL", "https://w.example/%zz", "https://w.example/?A", "the redirect URI"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			f := wiki.Start(url.Values{"redirect_uri": {tt.uri}, "state": {"S"}})
			_, err := f.CheckURL(strings.Replace(tt.answer, "A", "code=abc&state=S&iss=https://as.example", 1))
			if (err == nil) != (tt.wrong == "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("%v, want %q", err, tt.wrong)
			}
		})
	}
}

func TestCheckWithoutState(t *testing.T) {
	f := wiki.Start(url.Values{"state": nil})
	for _, tt := range []struct {
		rule, more string
		good       bool
	}{
		{"none comes back", "", true},
		{"one comes back", "&state=S", false},
		{"an empty one comes back", "&state=", false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			if _, err := f.CheckURL("https://wiki.example/cb?code=abc&iss=https://as.example" + tt.more); (err == nil) != tt.good {
				t.Error(err)
			}
		})
	}
}

func TestCheckOfNone(t *testing.T) {
	f := wiki.Start(url.Values{"response_type": {"none"}, "state": {"S"}})
	if code, err := f.CheckURL(strings.Replace(sound, "code=abc&", "", 1)); code != "" || err != nil {
		t.Errorf("%q, %v", code, err)
	}
	if _, err := f.CheckURL(sound); err == nil {
		t.Error("a code that was not asked for passes")
	}
}

func TestAnErrorCarriesItsCode(t *testing.T) {
	f := wiki.Start()
	_, err := f.CheckURL("https://wiki.example/cb?error=login_required&error_description=Sign%20in&state=" + f.State + "&iss=https://as.example")
	answered, ok := asAnswer(err)
	if !errors.Is(err, oautherr.LoginRequired) || errors.Is(err, oautherr.AccessDenied) || !ok || answered.Description != "Sign in" {
		t.Errorf("the error is %#v", err)
	}
}

func TestCheck(t *testing.T) {
	const answer = "code=abc&state=S&iss=https%3A%2F%2Fas.example"
	post := func(address, body string) *http.Request {
		r := httptest.NewRequest(http.MethodPost, address, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return r
	}
	get := func(address string) *http.Request { // as a browser has it
		r, err := http.NewRequest(http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	refused := strings.Replace(sound, "code=abc", "error=invalid_request", 1)
	server := httptest.NewRequest(http.MethodGet, "/cb?"+answer, nil)
	server.Host = "wiki.example"
	parsed := post("https://wiki.example/cb", answer)
	if err := parsed.ParseForm(); err != nil {
		t.Fatal(err)
	}
	broken := post("https://wiki.example/cb", "")
	broken.Body = io.NopCloser(io.MultiReader(strings.NewReader("code="), failing{}))
	empty := post("https://wiki.example/cb", "")
	empty.Body = nil
	for _, tt := range []struct {
		rule  string
		mode  string
		r     *http.Request
		wrong string
	}{
		{"a POST without a body", "form_post", empty, "has the iss"},
		{"a query to a query", "", httptest.NewRequest(http.MethodGet, sound, nil), ""},
		{"as a server sees it", "", server, ""},
		{"a body to form_post", "form_post", post("https://wiki.example/cb", answer), ""},
		{"a body that has been parsed", "form_post", parsed, ""},
		{"a query to form_post", "form_post", httptest.NewRequest(http.MethodGet, sound, nil), "but form_post was requested"},
		{"a body to a query", "", post("https://wiki.example/cb", answer), "which was not requested"},
		{"a fragment to fragment", "fragment", get("https://wiki.example/cb#" + answer), ""},
		{"a fragment with an encoded separator", "fragment", get("https://wiki.example/cb#" + answer + "&x=a%26b%3Dc%23"), ""},
		{"an error in a fragment", "fragment", get("https://wiki.example/cb#" + strings.Replace(answer, "code=abc", "error=access_denied", 1)), "access_denied"},
		{"a query to fragment", "fragment", get(sound), "but fragment was requested"},
		{"a query and a fragment to fragment", "fragment", get(sound + "#" + answer), "both a fragment and a query"},
		{"a handler, which sees no fragment", "fragment", httptest.NewRequest(http.MethodGet, "https://wiki.example/cb", nil), "but fragment was requested"},
		{"a fragment to a query", "", get("https://wiki.example/cb#" + answer), "has a fragment"},
		{"a fragment to query", "query", get(sound + "#x"), "has a fragment"},
		{"a fragment to form_post", "form_post", get("https://wiki.example/cb#" + answer), "has a fragment"},
		{"a body to fragment", "fragment", post("https://wiki.example/cb", answer), "which was not requested"},
		{"a fragment to another address", "fragment", get("https://wiki.example/cb2#" + answer), "not the redirect URI"},
		{"a parameter twice in a fragment", "fragment", get("https://wiki.example/cb#" + answer + "&code=abc"), "code 2 times"},
		{"a malformed fragment", "fragment", get("https://wiki.example/cb#" + answer + ";x=1"), "malformed"},
		{"fragment is refused in the query", "fragment", get(refused), "invalid_request"},
		{"form_post is refused in the query", "form_post", get(refused), "invalid_request"},
		{"what nobody knows is refused in the query", "web_message", get(refused), "invalid_request"},
		{"a code in the query for what nobody knows", "web_message", get(sound), "but web_message was requested"},
		{"fragment is refused in the query, with another state", "fragment", get(strings.Replace(refused, "=S", "=T", 1)), "but fragment was requested"},
		{"another error in the query", "fragment", get(strings.Replace(sound, "code=abc", "error=access_denied", 1)), "but fragment was requested"},
		{"a body to another address", "form_post", post("https://wiki.example/cb2", answer), "not the redirect URI"},
		{"a body and a query", "form_post", post("https://wiki.example/cb?x=1", answer), "more than the redirect URI"},
		{"a malformed body", "form_post", post("https://wiki.example/cb", answer+"&x=%zz"), "malformed"},
		{"a body that breaks off", "form_post", broken, "reading the response"},
		{"a parameter twice in a body", "form_post", post("https://wiki.example/cb", answer+"&code=abc"), "code 2 times"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			f := wiki.Start(url.Values{"response_mode": {tt.mode}, "state": {"S"}})
			for range 2 { // a check leaves the body for the next one
				code, err := f.Check(tt.r)
				if tt.wrong == "" && (err != nil || code != "abc") || tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)) {
					t.Errorf("%q, %v; want %q", code, err, tt.wrong)
				}
			}
		})
	}
}

// failing is a reader that fails.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("reset") }

func asAnswer(err error) (answer *oautherr.Error, ok bool) {
	ok = errors.As(err, &answer)
	return answer, ok
}

func TestExpect(t *testing.T) {
	answer := func(query string) *Page {
		r := httptest.NewRequest(http.MethodGet, "https://wiki.example/cb?state=S&iss=https%3A%2F%2Fas.example&"+query, nil)
		return &Page{Request: r, URL: r.URL, Left: true}
	}
	const refused = "error=login_required&error_description=Sign+in"
	arrived, stays := answer("code=abc"), answer("code=abc")
	arrived.Left, stays.Left = false, false
	stays.Request = httptest.NewRequest(http.MethodGet, "https://as.example/login?code=abc", nil)
	none := url.Values{"response_type": {"none"}}
	for _, tt := range []struct {
		rule   string
		page   *Page
		want   error
		change url.Values

		returns, fails string
	}{
		{"a code", answer("code=abc"), nil, nil, "abc", ""},
		{"no code for none", answer(""), nil, none, "", ""},
		{"the error", answer(refused), oautherr.LoginRequired, nil, "Sign in", ""},
		{"another error", answer(refused), oautherr.AccessDenied, nil, "", "got login_required"},
		{"an error for a code", answer(refused), nil, nil, "", "want a response without an error"},
		{"a code for an error", answer("code=abc"), oautherr.LoginRequired, nil, "", "got a response without an error"},
		{"an answer that is wrong", answer("iss=x&code=abc"), oautherr.LoginRequired, nil, "", "iss 2 times"},
		{"a page of the client itself", arrived, nil, nil, "abc", ""},
		{"another page", stays, nil, nil, "", "got this is not the redirect URI"},
		{"another page, for an error", stays, oautherr.LoginRequired, nil, "", "got this is not the redirect URI"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			flow := wiki.Start(url.Values{"state": {"S"}}, tt.change)
			ended := &failure{TB: t}
			got := ended.of(func() string { return flow.Expect(ended, tt.page, tt.want) })
			if got != tt.returns || !strings.Contains(ended.text, tt.fails) || (ended.text == "") != (tt.fails == "") {
				t.Errorf("returned %q and failed with %q, want %q and %q", got, ended.text, tt.returns, tt.fails)
			}
		})
	}
}

// failure is a test that ends with a text instead of failing.
type failure struct {
	testing.TB
	text string
}

func (f *failure) Fatalf(format string, args ...any) {
	f.text = fmt.Sprintf(format, args...)
	panic(f)
}

func (f *failure) of(do func() string) (returned string) {
	defer func() {
		if r := recover(); r != nil && r != f {
			panic(r)
		}
	}()
	return do()
}
