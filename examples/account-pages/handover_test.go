package main

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize/authorizetest"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// tokenFor is an access token of a user who signed in earlier in another browser.
func (w *world) tokenFor(user string, ago time.Duration) string {
	w.t.Helper()
	w.server.accounts.create("bob", "Bob", "bob-password") // or the account exists already
	token, err := w.server.tokens.issue(session.Session{ID: "of " + user, Subject: user, AuthTime: time.Now().Add(-ago)})
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// name is step 1: the browser returns to the client with its hash.
func (w *world) name() (browser string) {
	w.t.Helper()
	page := w.visit(issuer + "/handover?" + url.Values{
		"client_id": {"client-a"}, "redirect_uri": {urlA + "/handover"}, "state": {"s"},
	}.Encode())
	query := page.URL.Query()
	if !page.Left || !strings.HasPrefix(page.URL.String(), urlA+"/handover?") || query.Get("state") != "s" || query.Get("iss") != issuer {
		w.t.Fatalf("the browser is at %s", page.URL)
	}
	return query.Get("browser")
}

// exchange is step 2.
func (w *world) exchange(form url.Values, header ...string) (status int, ticket string) {
	w.t.Helper()
	rec := w.call("POST", issuer+"/handover", form, header...)
	var answer struct{ Ticket string }
	json.Unmarshal(rec.Body.Bytes(), &answer)
	if cookies := rec.Header().Values("Set-Cookie"); len(cookies) > 0 {
		w.t.Errorf("the app is given the cookies %q", cookies)
	}
	return rec.Code, answer.Ticket
}

// secret is the cookie that the browser got in step 1.
func (w *world) secret() *http.Cookie {
	w.t.Helper()
	cookie := w.server.browserCookie("", 60)
	for _, sent := range w.browser.Cookies(issuer) {
		if sent.Name == cookie.Name {
			cookie.Value = sent.Value
		}
	}
	if cookie.Value == "" {
		w.t.Fatal("the browser has no secret")
	}
	return cookie
}

// ticket gets a ticket for a user in the current browser.
func (w *world) ticket(token string) string {
	w.t.Helper()
	form := url.Values{"client_id": {"client-a"}, "browser": {w.name()}}
	status, ticket := w.exchange(form, "Authorization", "Bearer "+token)
	if status != http.StatusOK || ticket == "" {
		w.t.Fatalf("status %d and no ticket", status)
	}
	return ticket
}

// with is a request with a ticket.
func with(ticket string, changes ...url.Values) *authorizetest.Flow {
	return request("client-a", append([]url.Values{{userTicket: {ticket}}}, changes...)...)
}

// nobody checks that the ticket signs nobody in: the user has to sign in, and prompt=none is
// login_required.
func (w *world) nobody(ticket func() string) {
	w.t.Helper()
	w.at(w.open(with(ticket())), "/login")
	w.refused(with(ticket(), url.Values{"prompt": {"none"}}), oautherr.LoginRequired)
}

// is checks that the user is signed in in this browser, or nobody if user is empty.
func (w *world) is(user string) {
	w.t.Helper()
	page := w.open(request("client-a"))
	if user == "" {
		w.at(page, "/login")
	} else if !strings.Contains(w.at(page, "/consent").Body, "<strong>"+user+"</strong>") {
		w.t.Errorf("%s is not signed in:\n%s", user, page)
	}
}

func TestHandOver(t *testing.T) {
	t.Run("it signs the user in, in this browser", func(t *testing.T) {
		w := newWorld(t)
		page := w.open(with(w.ticket(w.tokenFor("alice", 0))))
		if !strings.Contains(w.at(page, "/consent").Body, "<strong>alice</strong>") {
			t.Errorf("the page is not alice's:\n%s", page)
		}
		page = w.submit(w.submit(page, nil, "Allow"), nil, "Save")
		if !page.Left || page.URL.Query().Get("error") != "" || page.URL.Query().Has(userTicket) {
			t.Errorf("the browser is at %s", page.URL)
		}
		w.at(w.open(request("client-a")), "/edit-account")
	})
	t.Run("the time of the sign-in stays the same", func(t *testing.T) {
		w := newWorld(t)
		w.at(w.open(with(w.ticket(w.tokenFor("alice", time.Hour)), url.Values{"max_age": {"60"}})), "/login")
		w = newWorld(t)
		w.at(w.open(with(w.ticket(w.tokenFor("alice", 0)), url.Values{"max_age": {"60"}})), "/consent")
		w = newWorld(t)
		w.at(w.open(with(w.ticket(w.tokenFor("alice", 0)), url.Values{"prompt": {"login"}})), "/login")
	})
	t.Run("a user who is signed in already stays signed in", func(t *testing.T) {
		w := newWorld(t)
		w.signIn()
		before := w.browser.Cookies(issuer)[0].Value
		w.at(w.open(with(w.ticket(w.tokenFor("alice", 0)))), "/consent")
		if !slices.ContainsFunc(w.browser.Cookies(issuer), func(c *http.Cookie) bool { return c.Value == before }) {
			t.Error("the session is another one")
		}
	})
	t.Run("it leaves the parameters as they are", func(t *testing.T) {
		w := newWorld(t)
		state := "a+b c%20d&e=f;g#h" + jsonOfA
		w.agree("client-a")
		f := with(w.ticket(w.tokenFor("alice", 0)), url.Values{"state": {state}, "x_method": nil})
		page := w.open(f)
		w.answered(f, page)
		if got := page.URL.Query().Get("state"); got != state {
			t.Errorf("state is %q", got)
		}
	})
}

// An invalid ticket signs nobody in. The client gets no response for the user of the cookie
// either, because the app means the user of the token.
func TestHandOverThatIsRefused(t *testing.T) {
	for name, spoil := range map[string]func(w *world, ticket string) string{
		"used twice": func(w *world, ticket string) string {
			w.open(with(ticket))
			w.signOut()
			return ticket
		},
		"used twice, where the secret was kept": func(w *world, ticket string) string {
			secret := w.secret()
			w.open(with(ticket))
			w.signOut()
			if err := w.browser.SetCookies(issuer, secret); err != nil {
				w.t.Fatal(err)
			}
			return ticket
		},
		"in a browser that was never named": func(w *world, ticket string) string {
			w.newBrowser()
			return ticket
		},
		"in another browser, with a name of its own": func(w *world, ticket string) string {
			w.newBrowser()
			w.name()
			return ticket
		},
		"when the browser has a new name": func(w *world, ticket string) string {
			w.name()
			return ticket
		},
		"expired": func(w *world, ticket string) string {
			late := w.server.tickets.now().Add(ticketLifetime)
			w.server.tickets.now = func() time.Time { return late }
			return ticket
		},
		"with a letter more":      func(_ *world, ticket string) string { return ticket + "A" },
		"with a letter less":      func(_ *world, ticket string) string { return ticket[1:] },
		"in small letters":        func(_ *world, ticket string) string { return strings.ToLower(ticket) },
		"made up":                 func(*world, string) string { return "ticket" },
		"the access token itself": func(w *world, _ string) string { return w.tokenFor("alice", 0) },
		"for another client": func(w *world, _ string) string {
			form := url.Values{"client_id": {"client-b"}, "browser": {w.name()}}
			_, ticket := w.exchange(form, "Authorization", "Bearer "+w.tokenFor("alice", 0))
			return ticket
		},
		"whose token has ended": func(w *world, ticket string) string {
			w.server.tokens.revoke("of alice")
			return ticket
		},
		"of a stranger, who made it in a browser of theirs": func(w *world, _ string) string {
			ticket := w.ticket(w.tokenFor("bob", 0))
			w.newBrowser()
			return ticket
		},
	} {
		for state, user := range map[string]string{"nobody is signed in": "", "somebody is signed in": "alice"} {
			t.Run(name+", "+state, func(t *testing.T) {
				w := newWorld(t)
				w.nobody(func() string {
					w.newBrowser()
					ticket := w.ticket(w.tokenFor("alice", 0))
					ticket = spoil(w, ticket)
					if user != "" {
						w.signIn()
					}
					return ticket
				})
				w.is(user)
			})
		}
	}
}

// Alice is signed in in the browser, and the token is bob's. There is no response for either of
// them before somebody signs in.
func TestTokenOfAnotherUserThanTheCookies(t *testing.T) {
	t.Run("by ticket", func(t *testing.T) {
		w := newWorld(t)
		w.signIn()
		token := w.tokenFor("bob", 0)
		w.nobody(func() string { return w.ticket(token) })
		w.is("alice")
		page := w.at(w.open(with(w.ticket(token))), "/login")
		page = w.submit(page, url.Values{"username": {"bob"}, "password": {"bob-password"}})
		if !strings.Contains(w.at(page, "/consent").Body, "<strong>bob</strong>") {
			t.Errorf("the page is not bob's:\n%s", page)
		}
	})
	t.Run("by header", func(t *testing.T) {
		w := newWorld(t)
		w.agree("client-a")
		w.token = w.tokenFor("bob", 0)
		w.at(w.open(request("client-a")), "/login")
		f := request("client-a", url.Values{"prompt": {"none"}, "x_method": nil})
		w.refused(f, oautherr.LoginRequired)
		w.token = w.tokenFor("alice", 0)
		w.answered(f, w.open(f))
	})
}

// A ticket that is sent in another way is refused, not ignored.
func TestTicketsComeByGET(t *testing.T) {
	w := newWorld(t)
	w.agree("client-a")
	w.refused(with(w.ticket(w.tokenFor("alice", 0)), url.Values{userTicket: {"a", "b"}}), oautherr.InvalidRequest)

	f := with(w.ticket(w.tokenFor("alice", 0)))
	inQuery := "?" + url.Values{userTicket: f.Params[userTicket]}.Encode()
	f.Expect(t, w.page(w.browser.PostFrom(urlA+"/", f.Endpoint, f.Params)), oautherr.InvalidRequest)
	f.Params.Del(userTicket)
	f.Expect(t, w.page(w.browser.PostFrom(urlA+"/", f.Endpoint+inQuery, f.Params)), oautherr.InvalidRequest)
}

// A fetch by a script or a prefetch does not use up the ticket.
func TestTicketsAreForPagesThatOpen(t *testing.T) {
	for header, value := range map[string]string{"Sec-Fetch-Mode": "cors", "Sec-Purpose": "prefetch"} {
		t.Run(value, func(t *testing.T) {
			w := newWorld(t)
			f := with(w.ticket(w.tokenFor("alice", 0)))
			secret := w.secret()
			rec := w.call("GET", f.URL, nil, header, value, "Cookie", secret.Name+"="+secret.Value)
			if strings.Contains(rec.Header().Get("Set-Cookie"), "account-pages=") {
				t.Error("somebody is signed in")
			}
			w.at(w.open(f), "/consent")
		})
	}
}

func TestBrowsersAreNamedForRegisteredClients(t *testing.T) {
	good := url.Values{"client_id": {"client-a"}, "redirect_uri": {urlA + "/handover"}}
	for name, c := range map[string]struct {
		change url.Values
		header []string
	}{
		"no client":                  {url.Values{"client_id": nil}, nil},
		"an unknown client":          {url.Values{"client_id": {"nobody"}}, nil},
		"another client":             {url.Values{"client_id": {"client-b"}}, nil},
		"a client of former days":    {url.Values{"client_id": {"former-partner"}, "redirect_uri": {urlA + "/former-partner"}}, nil},
		"no address":                 {url.Values{"redirect_uri": nil}, nil},
		"an address with more":       {url.Values{"redirect_uri": {urlA + "/handover?x=1"}}, nil},
		"an address of somebody":     {url.Values{"redirect_uri": {"https://attacker.example/"}}, nil},
		"a script that fetches":      {nil, []string{"Sec-Fetch-Mode", "cors"}},
		"a browser that looks ahead": {nil, []string{"Sec-Purpose", "prefetch;prerender"}},
	} {
		t.Run(name, func(t *testing.T) {
			query := maps.Clone(good)
			maps.Copy(query, c.change)
			rec := newWorld(t).call("GET", issuer+"/handover?"+query.Encode(), nil, c.header...)
			if rec.Code != http.StatusBadRequest || len(rec.Header().Values("Set-Cookie")) > 0 || rec.Header().Get("Location") != "" {
				t.Errorf("status %d, %v", rec.Code, rec.Header())
			}
		})
	}
}

func TestTicketsAreMadeForTokens(t *testing.T) {
	w := newWorld(t)
	good := "Bearer " + w.tokenFor("alice", 0)
	form := url.Values{"client_id": {"client-a"}, "browser": {w.name()}}
	for name, c := range map[string]struct {
		form   url.Values
		header []string
		status int
	}{
		"as it should be":          {form, []string{"Authorization", good}, 200},
		"no token":                 {form, nil, 401},
		"another token":            {form, []string{"Authorization", good + "x"}, 401},
		"another scheme":           {form, []string{"Authorization", strings.Replace(good, "Bearer", "Basic", 1)}, 401},
		"no browser":               {url.Values{"client_id": {"client-a"}}, []string{"Authorization", good}, 400},
		"the secret of a browser":  {url.Values{"client_id": {"client-a"}, "browser": {"ABC"}}, []string{"Authorization", good}, 400},
		"no client":                {url.Values{"browser": form["browser"]}, []string{"Authorization", good}, 400},
		"a script on another site": {form, []string{"Authorization", good, "Sec-Fetch-Site", "cross-site"}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			status, ticket := w.in(t).exchange(c.form, c.header...)
			if status != c.status || (ticket != "") != (status == 200) {
				t.Errorf("status %d and ticket %q, want %d", status, ticket, c.status)
			}
		})
	}
}

func TestTicketsAreBounded(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	tickets := newTickets(func() time.Time { return now })
	for range maxTickets {
		if _, err := tickets.issue(ticket{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tickets.issue(ticket{}); err == nil {
		t.Error("there is no bound")
	}
	now = now.Add(ticketLifetime)
	if _, err := tickets.issue(ticket{}); err != nil || len(tickets.byHash) != 1 {
		t.Errorf("expired tickets take the room: %v", err)
	}
}

// inProcess connects the clients to the server.
type inProcess struct{ handler http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	in := r.Clone(r.Context())
	in.Host = r.URL.Host
	p.handler.ServeHTTP(rec, in)
	return rec.Result(), nil
}

// All steps begin on the client's page.
func TestClientHandsOver(t *testing.T) {
	w := withClients(t)
	w.server.backChannel = &http.Client{Transport: inProcess{w.handler}}
	home := w.visit(urlA + "/")
	page := w.submit(home, url.Values{"token": {w.tokenFor("alice", 0)}})
	page = w.submit(w.at(page, "/consent"), nil, "Allow")
	page = w.submit(w.at(page, "/edit-account"), nil, "Save")
	if page.URL.Host != "club.test" || !strings.Contains(page.Body, "You are back") {
		t.Errorf("the page is\n%s", page)
	}
	if page = w.submit(home, url.Values{"token": {"made-up"}}); page.Status != http.StatusBadGateway || !strings.Contains(page.Body, "invalid_token") {
		t.Errorf("with another token the page is\n%s", page)
	}

	// Another site can send neither the token nor the browser's return.
	forged := w.page(w.browser.PostFrom("https://attacker.example/", urlA+"/handover", url.Values{"token": {w.tokenFor("bob", 0)}}))
	if forged.Status != http.StatusForbidden {
		t.Errorf("a form of another site:\n%s", forged)
	}
	back := w.visit(urlA + "/handover?" + url.Values{"browser": {browserHash("x")}, "state": {"x"}, "iss": {issuer}}.Encode())
	if back.Status != http.StatusBadRequest {
		t.Errorf("a way back that nobody asked for:\n%s", back)
	}
}
