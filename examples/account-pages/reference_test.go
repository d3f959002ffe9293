package main

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	oautherr "github.com/usher-auth/usher/errors"
)

// The tests of this file follow the description of an account endpoint from top to bottom,
// with one subtest for each statement about the endpoint.

func TestDescription(t *testing.T) {
	t.Run("a redirect of the browser starts it, with all of the page", func(t *testing.T) {
		w := newWorld(t)
		page := w.at(w.open(request("client-a")), "/login")
		if page.Header.Get("X-Frame-Options") != "DENY" || !strings.Contains(page.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
			t.Errorf("the page can be put into a frame: %v", page.Header)
		}
	})
	t.Run("the server takes care of authentication", func(t *testing.T) {
		w := newWorld(t)
		page := w.at(w.open(request("client-a")), "/login")
		wrong := w.submit(page, url.Values{"username": {"alice"}, "password": {"wrong"}})
		if w.at(wrong, "/login").Status != http.StatusForbidden {
			t.Errorf("status %d for a wrong password", wrong.Status)
		}
		w.at(w.submit(wrong, alice), "/consent")
	})
	t.Run("one session for clients on all domains", func(t *testing.T) {
		w := newWorld(t)
		first := request("client-a")
		page := w.submit(w.at(w.open(first), "/login"), alice)
		page = w.submit(w.at(page, "/consent"), nil, "Allow")
		w.answered(first, w.submit(w.at(page, "/edit-account"), nil, "Save"))

		second := request("client-b")
		page = w.submit(w.at(w.open(second), "/consent"), nil, "Allow")
		w.answered(second, w.submit(w.at(page, "/edit-account"), nil, "Save"))
		w.answered(second, w.open(request("client-b", url.Values{"x_method": nil, "state": {second.State}})))
		if slices.Contains(w.visited, "/login") {
			t.Errorf("the second client's user came through %v", w.visited)
		}
	})
	t.Run("consent to the data comes before the page", func(t *testing.T) {
		w := newWorld(t)
		f := request("client-a")
		page := w.at(w.submit(w.open(f), alice), "/consent")
		for _, want := range []string{"The Club", "club.test", "club-profile", entryPoints["club-profile"]} {
			if !strings.Contains(page.Body, want) {
				t.Errorf("the consent page does not say %q:\n%s", want, page)
			}
		}
		f.Expect(w.t, w.submit(page, nil, "Deny"), oautherr.AccessDenied)
		if slices.Contains(w.visited, "/edit-account") {
			t.Errorf("a user who has not agreed came through %v", w.visited)
		}
	})
	t.Run("the user is authenticated on the server", func(t *testing.T) {
		w := newWorld(t)
		w.signIn()
		w.at(w.open(request("client-a")), "/consent")
	})
	t.Run("or a signed-in user's access token is provided", testAccessToken)
	t.Run("the endpoint is GET /oauth2/authorize", func(t *testing.T) {
		w := newWorld(t)
		w.agree("client-a")
		f := request("client-a", url.Values{"x_method": nil})
		w.answered(f, w.open(f))
		elsewhere := w.visit(strings.Replace(f.URL, "/oauth2/authorize", "/authorize", 1))
		if elsewhere.Status != http.StatusNotFound {
			t.Errorf("another path:\n%s", elsewhere)
		}
	})
}

func testAccessToken(t *testing.T) {
	// tokenOf makes a token as alice, and then uses another browser.
	tokenOf := func(w *world) string {
		w.agree("client-a")
		token, _ := w.makeToken()
		w.newBrowser()
		return token
	}
	t.Run("it works in place of the cookie", func(t *testing.T) {
		w := newWorld(t)
		w.token = tokenOf(w)
		f := request("client-a", url.Values{"x_method": nil})
		w.answered(f, w.open(f))
	})
	t.Run("it leads to the page and through it", func(t *testing.T) {
		w := newWorld(t)
		w.token = tokenOf(w)
		f := request("client-a")
		page := w.at(w.open(f), "/edit-account")
		w.answered(f, w.submit(page, url.Values{"name": {"By token"}}, "Save"))
		if x, _ := w.server.accounts.find("alice"); x.Name != "By token" {
			t.Errorf("the name is %q", x.Name)
		}
	})
	t.Run("without it, nobody is signed in in this browser", func(t *testing.T) {
		w := newWorld(t)
		tokenOf(w)
		w.at(w.open(request("client-a")), "/login")
	})
	t.Run("with an invalid one nobody is signed in, even with a valid cookie", func(t *testing.T) {
		w := newWorld(t)
		w.agree("client-a")
		w.token = "made-up"
		w.at(w.open(request("client-a")), "/login")
	})
	t.Run("it cannot make another one", func(t *testing.T) {
		w := newWorld(t)
		w.token = tokenOf(w)
		w.at(w.submit(w.at(w.visit(issuer+"/"), "/"), nil, "Make an access token"), "/login")
	})
	t.Run("it ends with the sign-in that made it", func(t *testing.T) {
		w := newWorld(t)
		w.agree("client-a")
		token, page := w.makeToken()
		if w.server.tokens.find(token) == nil {
			t.Fatalf("%q is nobody's", token)
		}
		w.at(w.submit(page, nil, "Sign out"), "/login")
		if w.server.tokens.find(token) != nil {
			t.Error("the token outlives the sign-in")
		}
	})
}

var bob = url.Values{"username": {"bob"}, "name": {"Bob"}, "password": {"bob-password"}}

func TestRequestParameters(t *testing.T) {
	t.Run("a user who is not signed in goes through login", func(t *testing.T) {
		w := newWorld(t)
		w.at(w.submit(w.at(w.open(request("client-a")), "/login"), alice), "/consent")
	})
	t.Run("or through registration", func(t *testing.T) {
		w := newWorld(t)
		f := request("client-a")
		page := w.click(w.open(f), "Create account")
		page = w.submit(w.at(page, "/register"), bob, "Create account")
		page = w.submit(w.at(page, "/consent"), nil, "Allow")
		if !strings.Contains(w.at(page, "/edit-account").Body, `value="Bob"`) {
			t.Errorf("the account is not Bob's:\n%s", page)
		}
		w.answered(f, w.submit(page, nil, "Skip"))
	})
	t.Run("or at once through registration, if the client asks for it", func(t *testing.T) {
		w := newWorld(t)
		f := request("client-a", url.Values{"prompt": {"create"}})
		page := w.submit(w.at(w.open(f), "/register"), bob, "Create account")
		page = w.submit(w.at(page, "/consent"), nil, "Allow")
		w.answered(f, w.submit(w.at(page, "/edit-account"), nil, "Save"))
	})
	t.Run("registration leads back to login", func(t *testing.T) {
		w := newWorld(t)
		page := w.click(w.click(w.open(request("client-a")), "Create account"), "Sign in")
		w.at(w.submit(w.at(page, "/login"), alice), "/consent")
	})
	t.Run("registration refuses a name that is taken", func(t *testing.T) {
		w := newWorld(t)
		page := w.click(w.open(request("client-a")), "Create account")
		page = w.submit(page, url.Values{"username": {"alice"}, "name": {"Eve"}, "password": {"eve-password"}}, "Create account")
		if w.at(page, "/register").Status != http.StatusBadRequest || !strings.Contains(page.Body, "taken") {
			t.Errorf("the page is\n%s", page)
		}
	})
	t.Run("values are UTF-8 and URL-encoded", func(t *testing.T) {
		for rule, bad := range map[string]string{
			"an escape is broken":      "&x_method=%zz",
			"a value is not UTF-8":     "&x_method=%ff",
			"a value is not escaped":   "&x_method=a;b",
			"a value has a NUL":        "&x_method=a%00b",
			"a parameter is not UTF-8": "&client_id=%ff",
		} {
			t.Run(rule, func(t *testing.T) {
				page := newWorld(t).visit(request("client-a", url.Values{"x_method": nil}).URL + bad)
				if page.Left || page.Status != http.StatusBadRequest {
					t.Errorf("the page is\n%s", page)
				}
			})
		}
	})
	t.Run("a user who is not signed in sees the login page", func(t *testing.T) {
		w := newWorld(t)
		page := w.at(w.open(request("client-a")), "/login")
		if !strings.Contains(page.Body, "The Club") || page.Status != http.StatusOK {
			t.Errorf("the page is\n%s", page)
		}
	})
	t.Run("a user who is signed in and has agreed goes to the next step at once", func(t *testing.T) {
		for _, method := range []string{"edit-account", "newsletters"} {
			t.Run(method, func(t *testing.T) {
				w := newWorld(t)
				w.agree("client-a")
				w.at(w.open(request("client-a", url.Values{"x_method": {method}})), "/"+method)
				if want := []string{"/oauth2/authorize", "/" + method}; !slices.Equal(w.visited, want) {
					t.Errorf("it leads through %v, want %v", w.visited, want)
				}
			})
		}
	})
	t.Run("client_id names the app", func(t *testing.T) {
		for id, name := range map[string]string{"client-a": "The Club", "client-b": "The Shop"} {
			t.Run(id, func(t *testing.T) {
				w := newWorld(t)
				w.signIn()
				if page := w.at(w.open(request(id)), "/consent"); !strings.Contains(page.Body, name) {
					t.Errorf("the page does not name %s:\n%s", name, page)
				}
			})
		}
	})
	t.Run("the browser returns to redirect_uri", func(t *testing.T) {
		w := newWorld(t)
		w.agree("client-b")
		f := request("client-b", url.Values{"x_method": nil})
		page := w.open(f)
		w.answered(f, page)
		if got := page.URL.Scheme + "://" + page.URL.Host + page.URL.Path; got != urlB+"/callback" {
			t.Errorf("the browser went to %s", got)
		}
	})
	t.Run("redirect_uri has to be registered", func(t *testing.T) {
		for rule, uri := range map[string]string{
			"another client's": urlB + "/callback", "a slash more": urlA + "/callback/", "a query": urlA + "/callback?x=1", "a capital": urlA + "/Callback",
		} {
			t.Run(rule, func(t *testing.T) {
				w := newWorld(t)
				w.signIn()
				w.shown(w.open(request("client-a", url.Values{"redirect_uri": {uri}})), oautherr.RedirectURIMismatch)
			})
		}
	})
	t.Run("response_type is none", func(t *testing.T) {
		for _, other := range []string{"code", "token", "id_token", "code none"} {
			t.Run(other, func(t *testing.T) {
				newWorld(t).refused(request("client-a", url.Values{"response_type": {other}}), oautherr.UnsupportedResponseType)
			})
		}
	})
	t.Run("x_method selects the page", testMethod)
	t.Run("state", testState)
	t.Run("scope", testScope)
}

func testMethod(t *testing.T) {
	t.Run("edit-account edits the account", func(t *testing.T) {
		w := newWorld(t)
		w.agree("client-a")
		f := request("client-a")
		page := w.submit(w.at(w.open(f), "/edit-account"), url.Values{"name": {" "}}, "Save")
		if w.at(page, "/edit-account").Status != http.StatusBadRequest {
			t.Errorf("status %d for a name of blanks", page.Status)
		}
		w.answered(f, w.submit(page, url.Values{"name": {`<i>Al & "Ice"</i>`}}, "Save"))
		if x, _ := w.server.accounts.find("alice"); x.Name != `<i>Al & "Ice"</i>` {
			t.Errorf("the name is %q", x.Name)
		}
		if page := w.open(request("client-a")); strings.Contains(page.Body, "<i>") {
			t.Errorf("the name is markup:\n%s", page)
		}
	})
	t.Run("the user may leave the page without a change", func(t *testing.T) {
		w := newWorld(t)
		w.agree("client-a")
		f := request("client-a")
		w.answered(f, w.submit(w.open(f), url.Values{"name": {"Other"}}, "Skip"))
		if x, _ := w.server.accounts.find("alice"); x.Name != "Alice" {
			t.Errorf("the name is %q", x.Name)
		}
	})
	t.Run("another value is another page", func(t *testing.T) {
		w := newWorld(t)
		w.agree("client-a")
		f := request("client-a", url.Values{"x_method": {"newsletters"}})
		w.answered(f, w.submit(w.at(w.open(f), "/newsletters"), url.Values{"newsletter": {"Offers"}}))
		if x, _ := w.server.accounts.find("alice"); !slices.Equal(x.Newsletters, []string{"Offers"}) {
			t.Errorf("the newsletters are %v", x.Newsletters)
		}
	})
	t.Run("a new value needs a name and a page", func(t *testing.T) {
		w := newWorld(t, func(s *server) {
			s.methods = append(s.methods, method{"show-orders", "Show your orders", func(w http.ResponseWriter, r *http.Request) {
				if v, ok := s.visitor(w, r); ok && r.Method == http.MethodPost {
					s.done(w, r, v, "show-orders")
				} else if ok {
					s.show(w, http.StatusOK, "newsletters", accountPage{asked: v.asked, Account: v.account})
				}
			}})
		})
		f := request("client-a", url.Values{"x_method": {"show-orders"}})
		page := w.submit(w.submit(w.open(f), alice), nil, "Allow")
		page.Forms[0].Action.Path = "/show-orders"
		w.answered(f, w.submit(w.at(page, "/show-orders"), nil))
	})
	t.Run("it survives login and consent", func(t *testing.T) {
		w := newWorld(t)
		f := request("client-a", url.Values{"x_method": {"newsletters"}})
		w.at(w.submit(w.submit(w.open(f), alice), nil, "Allow"), "/newsletters")
	})
	t.Run("an unknown value is invalid_request, before the login", func(t *testing.T) {
		for _, unknown := range []string{"delete-everything", "Edit-Account", "edit-account newsletters", "login", "consent"} {
			t.Run(unknown, func(t *testing.T) {
				newWorld(t).refused(request("client-a", url.Values{"x_method": {unknown}}), oautherr.InvalidRequest)
			})
		}
	})
	t.Run("a repeated one is invalid_request", func(t *testing.T) {
		newWorld(t).refused(request("client-a", url.Values{"x_method": {"edit-account", "newsletters"}}), oautherr.InvalidRequest)
	})
	t.Run("without it the client learns that the user is back", func(t *testing.T) {
		for rule, none := range map[string]url.Values{"left out": {"x_method": nil}, "empty": {"x_method": {""}}} {
			t.Run(rule, func(t *testing.T) {
				w := newWorld(t)
				w.agree("client-a")
				f := request("client-a", none)
				w.answered(f, w.open(f))
			})
		}
	})
	t.Run("the page is done once for each request", func(t *testing.T) {
		w := newWorld(t)
		w.agree("client-a")
		f := request("client-a")
		w.answered(f, w.submit(w.open(f), nil, "Save"))
		w.at(w.open(request("client-a")), "/edit-account")
	})
}

func testState(t *testing.T) {
	states := map[string]string{
		"JSON":                 jsonOfA,
		"JSON in base64":       base64.StdEncoding.EncodeToString([]byte(jsonOfA + "?>~")),
		"JSON in base64url":    base64.RawURLEncoding.EncodeToString([]byte(jsonOfA)),
		"a session identifier": "session-0123456789",
		"reserved characters":  "a+b c%20d&e=f;g#h?i/j\\k\"l'<m>",
	}
	for name, state := range states {
		t.Run(name+" comes back byte for byte", func(t *testing.T) {
			w := newWorld(t)
			f := request("client-a", url.Values{"state": {state}})
			page := w.submit(w.submit(w.open(f), alice), nil, "Allow")
			page = w.submit(w.at(page, "/edit-account"), nil, "Save")
			w.answered(f, page)
			if got := page.URL.Query()["state"]; !slices.Equal(got, []string{state}) {
				t.Errorf("state is %q, want %q", got, state)
			}
		})
	}
	t.Run("it comes back with an error too", func(t *testing.T) {
		w := newWorld(t)
		f := request("client-a", url.Values{"state": {jsonOfA}, "scope": {"unknown"}})
		page := w.open(f)
		f.Expect(w.t, page, oautherr.InvalidScope)
		if got := page.URL.Query().Get("state"); got != jsonOfA {
			t.Errorf("state is %q", got)
		}
	})
	t.Run("a request without state gets none back", func(t *testing.T) {
		w := newWorld(t)
		w.agree("client-a")
		f := request("client-a", url.Values{"state": nil, "x_method": nil})
		page := w.open(f)
		w.answered(f, page)
		if page.URL.Query().Has("state") {
			t.Errorf("the answer is %s", page.URL)
		}
	})
}

func testScope(t *testing.T) {
	t.Run("it limits what the client sees", func(t *testing.T) {
		w := newWorld(t)
		w.agree("client-a")
		f := request("client-a", url.Values{"scope": {"club-newsletter"}})
		page := w.at(w.open(f), "/consent")
		if !strings.Contains(page.Body, "club-newsletter") || strings.Contains(page.Body, "club-profile") {
			t.Errorf("the user is asked for something else:\n%s", page)
		}
	})
	t.Run("it names an entry point of the client", func(t *testing.T) {
		for entry, refused := range map[string]bool{
			"club-profile": false, "club-newsletter": false,
			"club-profile club-newsletter": true, "club-newsletter  club-profile": true, // one, not two
			"shop-checkout": true, "unknown": true, "club-profile unknown": true, "CLUB-PROFILE": true, "": true,
		} {
			t.Run(fmt.Sprintf("%q", entry), func(t *testing.T) {
				w := newWorld(t)
				f := request("client-a", url.Values{"scope": {entry}})
				if page := w.open(f); refused {
					f.Expect(t, page, oautherr.InvalidScope)
				} else {
					w.at(page, "/login")
				}
			})
		}
	})
}

func TestResponse(t *testing.T) {
	t.Run("the parameters are checked before anything else", func(t *testing.T) {
		w := newWorld(t)
		w.refused(request("client-a", url.Values{"scope": {"unknown"}}), oautherr.InvalidScope)
		if want := []string{"/oauth2/authorize"}; !slices.Equal(w.visited, want) {
			t.Errorf("a wrong request leads through %v", w.visited)
		}
	})
	t.Run("a user who is signed in goes to the next step", func(t *testing.T) {
		w := newWorld(t)
		w.agree("client-a")
		w.at(w.open(request("client-a")), "/edit-account")
	})
	t.Run("a user who is not signed in goes to the login page", func(t *testing.T) {
		w := newWorld(t)
		w.agree("client-a")
		w.signOut()
		w.at(w.open(request("client-a")), "/login")
	})
	t.Run("when the user is done, the browser returns by GET to the redirect URI", func(t *testing.T) {
		w := newWorld(t)
		w.agree("client-a")
		f := request("client-a")
		page := w.submit(w.open(f), nil, "Save")
		w.answered(f, page)
		if page.Request.Method != http.MethodGet || !strings.HasPrefix(page.URL.String(), urlA+"/callback?") {
			t.Errorf("the answer is %s %s", page.Request.Method, page.URL)
		}
		if query := page.URL.Query(); query.Get("state") != f.State || query.Get("iss") != issuer {
			t.Errorf("the answer is %s", page.URL)
		}
	})
	t.Run("the browser does not return before that", func(t *testing.T) {
		w := newWorld(t)
		w.agree("client-a")
		page := w.open(request("client-a"))
		w.at(w.visit(issuer+"/oauth2/authorize?req="+page.URL.Query().Get("req")), "/edit-account")
	})
}

func TestErrorCodes(t *testing.T) {
	sent := []struct {
		code    oautherr.Code
		subject string
		client  string
		change  url.Values
	}{
		{oautherr.InvalidRequest, "a parameter is missing", "client-a", url.Values{"response_type": nil}},
		{oautherr.InvalidRequest, "a parameter came twice", "client-a", url.Values{"scope": {"club-profile", "club-newsletter"}}},
		{oautherr.UnauthorizedClient, "the client may not ask", "former-partner", nil},
		{oautherr.UnsupportedResponseType, "another response type", "client-a", url.Values{"response_type": {"code"}}},
		{oautherr.InvalidScope, "an unknown entry point", "client-a", url.Values{"scope": {"unknown"}}},
		{oautherr.InvalidScope, "another client's entry point", "client-a", url.Values{"scope": {"shop-checkout"}}},
		{oautherr.InvalidScope, "two entry points", "client-a", url.Values{"scope": {"club-profile club-newsletter"}}},
		{oautherr.InvalidScope, "no entry point", "client-a", url.Values{"scope": nil}},
	}
	for _, c := range sent {
		t.Run(string(c.code)+" "+c.subject, func(t *testing.T) {
			newWorld(t).refused(request(c.client, c.change), c.code)
			w := newWorld(t)
			w.signIn()
			w.refused(request(c.client, c.change), c.code)
		})
	}
	shown := []struct {
		code    oautherr.Code
		subject string
		change  url.Values
	}{
		{oautherr.InvalidClient, "the client is unknown", url.Values{"client_id": {"nobody"}}},
		{oautherr.RedirectURIMismatch, "the redirect URI is not registered", url.Values{"redirect_uri": {"https://attacker.example/"}}},
		{oautherr.InvalidRequest, "there is no redirect URI", url.Values{"redirect_uri": nil}},
		{oautherr.InvalidRequest, "no client can be told", url.Values{"client_id": nil}},
	}
	for _, c := range shown {
		t.Run(string(c.code)+" "+c.subject, func(t *testing.T) {
			w := newWorld(t)
			w.shown(w.open(request("client-a", c.change)), c.code)
			w.signIn()
			w.shown(w.open(request("client-a", c.change)), c.code)
		})
	}
}
