package authorize

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	oautherr "github.com/usher-auth/usher/errors"
)

// A page must hold nothing that its own policy forbids, nor anything from elsewhere.
func TestPagesKeepTheirOwnPolicy(t *testing.T) {
	for rule, query := range map[string]string{
		"error page": "", "form_post": ask("response_mode=form_post"), "unvetted": ask("client_id=new", "scope=unknown"),
	} {
		t.Run(rule, func(t *testing.T) {
			got := newSite(t).visitor(alice()).get(query)
			for _, forbidden := range []string{" style=", " onload=", " onclick=", "<img", "<link", "<iframe", "javascript:", " src="} {
				if strings.Contains(got.body, forbidden) {
					t.Errorf("there is %q on it", forbidden)
				}
			}
			if !strings.HasPrefix(got.body, "<!DOCTYPE html>\n<html lang=\"en\">") || !strings.Contains(got.body, `name="viewport"`) || !strings.Contains(got.body, "<title>") {
				t.Error(got.body)
			}
		})
	}
}

// A page of the host's own has the headers before it is called, and says no when.
func TestRetryAfter(t *testing.T) {
	busy := &oautherr.Error{Code: oautherr.TemporarilyUnavailable, RetryAfter: 89*time.Second + 1}
	for _, c := range []struct {
		rule             string
		change           func(*site)
		ask, want, after string
	}{
		{"a store that says when", func(*site) {}, ask(), "page Service Unavailable temporarily_unavailable", "90"},
		{"a page of the host's own", func(s *site) {
			s.config.ErrorPage = func(w http.ResponseWriter, _ *http.Request, p PageError) {
				w.WriteHeader(p.Status)
				fmt.Fprintf(w, "<small>%s &middot; %s</small>", p.Code, p.ErrorID)
			}
		}, ask(), "page Service Unavailable temporarily_unavailable", "90"},
		{"another address for errors, which 503 is not sent to", withErrorURL("/error"), ask(), "page Service Unavailable temporarily_unavailable", "90"},
		{"the client is told by a redirect", func(s *site) {
			s.config.Clients = s.memory
			s.config.CheckRequest = func(context.Context, *Request) error { return fmt.Errorf("busy: %w", busy) }
		}, ask(), "client temporarily_unavailable", ""},
		{"the client is told by a form", func(s *site) {
			s.config.Clients = s.memory
			s.config.CheckRequest = func(context.Context, *Request) error { return busy }
		}, ask("response_mode=form_post"), "client temporarily_unavailable", ""},
		{"an unvetted client's page", func(s *site) {
			s.config.Clients = s.memory
			s.config.CheckRequest = func(context.Context, *Request) error { return busy }
		}, ask("client_id=new"), "page Service Unavailable temporarily_unavailable", "90"},
		{"nobody knows when", func(s *site) {
			s.config.Clients = clientsFunc(func(context.Context, string) (*Client, error) { return nil, oautherr.TemporarilyUnavailable })
		}, ask(), "page Service Unavailable temporarily_unavailable", ""},
		{"the request is wrong", func(*site) {}, ask("client_id="), "page Bad Request invalid_request", ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, func(s *site) {
				s.config.Clients = clientsFunc(func(context.Context, string) (*Client, error) { return nil, fmt.Errorf("busy: %w", busy) })
				c.change(s)
			})
			got := s.visitor(alice()).get(c.ask).want(c.want)
			if after := got.header.Get("Retry-After"); after != c.after {
				t.Errorf("Retry-After is %q, want %q", after, c.after)
			}
		})
	}
	s := newSite(t, withDevices, func(s *site) { s.config.CheckRequest = func(context.Context, *Request) error { return busy } })
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, deviceGET(deviceAsks()))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "90" {
		t.Errorf("to a program: status %d, %v", w.Code, w.Header())
	}
	w = httptest.NewRecorder()
	s.handler.ShowError(w, deviceGET(""), fmt.Errorf("a page: %w", busy))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "90" {
		t.Errorf("ShowError: status %d, %v", w.Code, w.Header())
	}
}

// A mistake of the host's own is told in the log as what it is.
func TestShowErrorWithoutAnError(t *testing.T) {
	s := newSite(t)
	s.visitor(nil).showError(nil)
	if got := s.lastEvent().Err.Error(); !strings.Contains(got, "without an error") {
		t.Errorf("the log says %q", got)
	}
}

// A user is no client: the page has no secrets to talk about.
func TestInvalidClientForUsers(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		text string
	}{
		"the code":                      {oautherr.InvalidClient, "The application is not known here."},
		"with a cause":                  {oautherr.InvalidClient.Because(io.EOF), "The application is not known here."},
		"with a text of the host's own": {oautherr.InvalidClient.With("Closed on Sundays."), "Closed on Sundays."},
	} {
		t.Run(name, func(t *testing.T) {
			got := newSite(t).visitor(nil).showError(c.err)
			if !strings.Contains(got.body, c.text) || got.status != http.StatusBadRequest || strings.Contains(got.body, "secret") {
				t.Errorf("status %d\n%s", got.status, got.body)
			}
		})
	}
}

// An attacker must find nothing of the request on a page.
func TestErrorPagesRepeatNothing(t *testing.T) {
	const marker = "zqx9"
	hostile := url.QueryEscape(`"><script>` + marker + `</script>`)
	for _, change := range []string{
		"client_id=" + hostile, "redirect_uri=" + hostile, "redirect_uri=https%3A%2F%2F" + marker + ".example%2F",
		"redirect_uri=javascript%3A" + marker, "+" + marker + "=%zz", "+" + marker + ";=1",
	} {
		t.Run(change, func(t *testing.T) {
			got := newSite(t).visitor(nil).get(ask(change, "state="+marker, "nonce="+marker, "login_hint="+marker))
			if got.kind != "page" || strings.Contains(got.body, marker) {
				t.Errorf("%s\n%s", got, got.body)
			}
			for name, values := range got.header {
				if strings.Contains(strings.Join(values, " "), marker) {
					t.Errorf("it is in %s: %s", name, values)
				}
			}
		})
	}
}

func TestTheErrorPage(t *testing.T) {
	s := newSite(t)
	client := testClients()[0]
	client.Name = `<script>alert("name")</script>`
	s.memory.PutClient(client)
	got := s.visitor(nil).get(ask("redirect_uri=https://evil.example/"))
	for _, text := range []string{"The address to return to is not one that the application has registered.", "&lt;script&gt;alert(&#34;name&#34;)&lt;/script&gt;", "redirect_uri_mismatch"} {
		if !strings.Contains(got.body, text) {
			t.Errorf("%q is not on the page:\n%s", text, got.body)
		}
	}
	if strings.Contains(got.body, "evil.example") || strings.Contains(got.body, "<script>alert") {
		t.Errorf("on the page:\n%s", got.body)
	}
}

// The number that the user reads out is in the log and in the event.
func TestTheErrorIDIsInTheLogToo(t *testing.T) {
	for _, c := range []struct {
		rule   string
		change func(*site)
		id     func(got *reply) string
	}{
		{"on the page", func(*site) {}, func(got *reply) string { return pageErrorCode.FindStringSubmatch(got.body)[2] }},
		{"in the URL", withErrorURL("/error"), func(got *reply) string {
			u, _ := url.Parse(got.location)
			return u.Query().Get("error_id")
		}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, c.change)
			seen := map[string]bool{}
			for range 3 {
				id := c.id(s.visitor(nil).get(""))
				if len(id) != 12 || seen[id] || !strings.Contains(s.log.String(), `"error_id":"`+id+`"`) || s.lastEvent().ErrorID != id {
					t.Errorf("%q, log %s", id, s.log.String())
				}
				seen[id] = true
			}
		})
	}
}

func TestErrorURL(t *testing.T) {
	for _, c := range []struct{ rule, url, prefix string }{
		{"a path", "/error", "https://as.example/error?error=redirect_uri_mismatch&error_description=The%20address"},
		{"a path with a query", "/error?theme=dark", "https://as.example/error?theme=dark&error=redirect_uri_mismatch&"},
		{"a path with a fragment", "/error#top", "https://as.example/error?error=redirect_uri_mismatch&"},
		{"another host", "https://pages.example/error", "https://pages.example/error?error=redirect_uri_mismatch&"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withErrorURL(c.url))
			got := s.visitor(nil).get(ask("redirect_uri=https://evil.example/"))
			if !strings.HasPrefix(got.location, c.prefix) || !strings.Contains(got.location, "&reason=redirect_uri&error_id=") || strings.Contains(got.location, "evil") || strings.Contains(c.url, "#") != strings.HasSuffix(got.location, "#top") {
				t.Error(got.location)
			}
			if got := s.visitor(nil).post(""); got.status != 303 {
				t.Errorf("a POST is answered %d", got.status)
			}
		})
	}
}

// Every page goes there, that of an unvetted client included, unless it has a way
// back to the client on it.
func TestErrorURLForUnvettedClients(t *testing.T) {
	s := newSite(t, withErrorURL("/error"))
	s.visitor(nil).get(ask("client_id=new", "redirect_uri=https://evil.example/")).want("error", "no destination")
	s.visitor(nil).get(ask("client_id=new", "scope=unknown")).want("page Bad Request invalid_scope", "a way back")
}

func TestErrorPageHook(t *testing.T) {
	for _, c := range []struct {
		rule string
		ask  []string
		want PageError
	}{
		{"nothing is known", []string{"-client_id"}, PageError{Status: 400, Reason: ReasonUnknownClient, Code: oautherr.InvalidRequest, Description: "The application did not say who it is."}},
		{"the client is known", []string{"redirect_uri=https://evil.example/"}, PageError{Status: 400, Reason: ReasonRedirectURI, Code: oautherr.RedirectURIMismatch, Description: "The address to return to is not one that the application has registered.", ClientID: "web", ClientName: "The Web App"}},
		{"the client has no name", []string{"client_id=off"}, PageError{Status: 400, Reason: ReasonClientOff, Code: oautherr.InvalidClient, Description: "The application is switched off here.", ClientID: "off", ClientName: "off"}},
		{"an unvetted client", []string{"client_id=new", "prompt=none", "ui_locales=de+fr"}, PageError{
			Status: 400, Reason: ReasonNotSignedIn, Code: oautherr.LoginRequired, Description: "The user has to sign in, and no page can be shown for that.", ClientID: "new", ClientName: "Totally <b>Real</b>",
			UILocales: []string{"de", "fr"},
			Return:    &Return{Host: "new.example", URL: "https://new.example/cb?error=login_required&error_description=The%20user%20has%20to%20sign%20in%2C%20and%20no%20page%20can%20be%20shown%20for%20that.&state=st-1&iss=https%3A%2F%2Fas.example"},
		}},
		{"an unvetted client with form_post", []string{"client_id=new", "prompt=none", "response_mode=form_post"}, PageError{
			Status: 400, Reason: ReasonNotSignedIn, Code: oautherr.LoginRequired, Description: "The user has to sign in, and no page can be shown for that.", ClientID: "new", ClientName: "Totally <b>Real</b>",
			Return: &Return{Host: "new.example", URL: "https://new.example/cb", Form: true, Fields: []Field{
				{"error", "login_required"}, {"error_description", "The user has to sign in, and no page can be shown for that."}, {"state", "st-1"}, {"iss", testIssuer}}},
		}},
		{"an unvetted client with fragment", []string{"client_id=new", "prompt=none", "response_mode=fragment"}, PageError{
			Status: 400, Reason: ReasonNotSignedIn, Code: oautherr.LoginRequired, Description: "The user has to sign in, and no page can be shown for that.", ClientID: "new", ClientName: "Totally <b>Real</b>",
			Return: &Return{Host: "new.example", URL: "https://new.example/cb#error=login_required&error_description=The%20user%20has%20to%20sign%20in%2C%20and%20no%20page%20can%20be%20shown%20for%20that.&state=st-1&iss=https%3A%2F%2Fas.example"},
		}},
		{"an unvetted client with a mode that nobody knows", []string{"client_id=new", "response_mode=jwt"}, PageError{
			Status: 400, Code: oautherr.InvalidRequest, Description: "The response_mode is not supported.", ClientID: "new", ClientName: "Totally <b>Real</b>",
			Return: &Return{Host: "new.example", URL: "https://new.example/cb?error=invalid_request&error_description=The%20response_mode%20is%20not%20supported.&state=st-1&iss=https%3A%2F%2Fas.example"},
		}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			var page PageError
			s := newSite(t, keeping(&page))
			s.memory.clients["new"].ResponseModes = []string{"query", "form_post", "fragment"}
			got := s.visitor(nil).get(ask(c.ask...))
			if strings.TrimSuffix(got.body, "<form >") != "<p>own page</p>" || got.status != c.want.Status {
				t.Errorf("status %d, %s", got.status, got.body)
			}
			if page.ErrorID != s.lastEvent().ErrorID || page.ErrorID == "" {
				t.Errorf("the error id is %q", page.ErrorID)
			}
			page.ErrorID = ""
			if diff := cmp.Diff(c.want, page); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestTheWayBackOfAnUnvettedClient(t *testing.T) {
	s := newSite(t)
	got := s.visitor(nil).get(ask("client_id=new", "scope=unknown", "response_mode=form_post", "state=%22%3E%3Cscript%3E"))
	action, fields := s.readForm(got.body)
	if action != "https://new.example/cb" || fields["error"] != "invalid_scope" || fields["state"] != `"><script>` || strings.Contains(got.body, "<script") {
		t.Errorf("%s %v\n%s", action, fields, got.body)
	}
	got = s.visitor(nil).get(ask("client_id=new", "redirect_uri=https://evil.example/"))
	if strings.Contains(got.body, "href") || strings.Contains(got.body, "evil") {
		t.Errorf("a way to nowhere:\n%s", got.body)
	}
}

// The way back from a page is the way that the answer would have taken.
func TestTheWayBackIsInTheModeThatWasAskedFor(t *testing.T) {
	for _, mode := range []string{"", "query", "form_post", "fragment"} {
		for rule, do := range map[string]func(s *site, at *reply) *reply{
			"another browser's no": func(s *site, at *reply) *reply { return s.visitor(nil).deny(at) },
			"too late": func(s *site, at *reply) *reply {
				s.now = s.now.Add(time.Hour)
				return s.visitor(nil).resume(at)
			},
			"a script, which is led nowhere": func(s *site, at *reply) *reply {
				r := httptest.NewRequest("GET", "/authorize?req="+at.req, nil)
				r.Header.Set("Sec-Fetch-Mode", "cors")
				return s.visitor(nil).send(s.handler, r)
			},
		} {
			t.Run(rule+", response_mode="+mode, func(t *testing.T) {
				s := newSite(t)
				web := testClients()[0]
				web.ResponseModes = []string{"query", "form_post", "fragment"}
				s.memory.PutClient(web)
				var back *Return
				s.config.ErrorPage = func(w http.ResponseWriter, r *http.Request, p PageError) {
					back = p.Return
					writePage(w, p.Status, errorTemplate, p)
				}
				s.restart()
				do(s, s.visitor(nil).get(ask("response_mode="+mode)))
				const no = "error=access_denied&error_description=The%20user%20refused%20the%20request.&state=st-1&iss=https%3A%2F%2Fas.example"
				want := &Return{Host: "app.example", Vetted: true, URL: "https://app.example/cb?" + no}
				switch mode {
				case "fragment":
					want.URL = "https://app.example/cb#" + no
				case "form_post":
					want.URL, want.Form = "https://app.example/cb", true
					want.Fields = []Field{{"error", "access_denied"}, {"error_description", "The user refused the request."}, {"state", "st-1"}, {"iss", testIssuer}}
				}
				if strings.HasPrefix(rule, "a script") {
					want = nil
				}
				if diff := cmp.Diff(want, back); diff != "" {
					t.Errorf("%s, response_mode=%s: (-want +got)\n%s", rule, mode, diff)
				}
			})
		}
	}
}

// RFC 6749 §4.1.2.1: a 5xx cannot travel by redirect.
func TestStatusOfPages(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
	}{
		{oautherr.InvalidRequest, 400}, {oautherr.InvalidClient, 400}, {oautherr.RedirectURIMismatch, 400}, {oautherr.LoginRequired, 400},
		{oautherr.ServerError, 503}, {oautherr.TemporarilyUnavailable, 503}, {io.EOF, 503}, {context.DeadlineExceeded, 503},
		{errMethod, 405}, {errBodyTooLarge, 413}, {errURITooLong, 414}, {errContentType, 415},
	} {
		t.Run(fmt.Sprint(c.err), func(t *testing.T) {
			got := newSite(t).visitor(nil).showError(c.err)
			if got.status != c.status {
				t.Errorf("%v: status %d, want %d", c.err, got.status, c.status)
			}
		})
	}
}

// What a page of the host met is told like what the endpoint meets.
func TestAPageThatMetAFailingStore(t *testing.T) {
	for _, c := range []struct {
		rule string
		err  error
		want string
	}{
		{"the network", fmt.Errorf("sign in: %w", &net.OpError{Op: "dial", Err: io.EOF}), "temporarily_unavailable: store_failed"},
		{"too slow", context.DeadlineExceeded, "temporarily_unavailable: store_failed"},
		{"something else", io.EOF, "server_error: store_failed"},
		{"an error with a code", oautherr.LoginRequired.With("Who are you?"), "login_required: "},
		{"a client that cannot be reached", fmt.Errorf("list: %w", ErrClientUnreachable), "temporarily_unavailable: client_unreachable"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t)
			s.visitor(nil).showError(c.err)
			e := s.lastEvent()
			if got := string(e.Code) + ": " + string(e.Reason); got != c.want || !errors.Is(e.Err, c.err) && e.Code != oautherr.LoginRequired {
				t.Errorf("%s, %v", got, e.Err)
			}
		})
	}
}

// keeping is a change for newSite: page is what the last error page was given.
func keeping(page *PageError) func(*site) {
	return func(s *site) {
		s.config.ErrorPage = func(w http.ResponseWriter, _ *http.Request, p PageError) {
			*page = p
			w.WriteHeader(p.Status)
			io.WriteString(w, "<p>own page</p>")
			if p.Return != nil && p.Return.Form {
				io.WriteString(w, "<form >")
			}
		}
	}
}

// An error page knows the request as far as it can be read: it names the client as it is
// stored, and speaks the languages that were asked for.
func TestErrorPagesKnowTheRequest(t *testing.T) {
	later := func(v *visitor, at *reply) string { v.site.now = v.site.now.Add(30 * time.Minute); return at.req }
	get := func(query string) func(*visitor, *reply) *reply {
		return func(v *visitor, _ *reply) *reply { return v.get(query) }
	}
	get2 := func(query func(*visitor, *reply) string) func(*visitor, *reply) *reply {
		return func(v *visitor, at *reply) *reply { return v.get(query(v, at)) }
	}
	with := func(method, target, body, header, value string) func(*visitor, *reply) *reply {
		return func(v *visitor, _ *reply) *reply {
			r := httptest.NewRequest(method, target, strings.NewReader(body))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set(header, value)
			return v.send(v.site.handler, r)
		}
	}
	good := ask("ui_locales=sv+de")
	const web, name, locales = "web", "The Web App", "sv de"
	for _, c := range []struct {
		rule              string
		do                func(v *visitor, at *reply) *reply // at waits for the login in a browser of its own
		reason            Reason
		id, name, locales string
	}{
		{"no client", get(ask("ui_locales=sv+de", "-client_id")), ReasonUnknownClient, "", "", locales},
		{"an unknown client", get(ask("ui_locales=sv+de", "client_id=gone")), ReasonUnknownClient, "", "", locales},
		{"a client that is switched off", get(ask("ui_locales=sv+de", "client_id=off")), ReasonClientOff, "off", "off", locales},
		{"another redirect_uri", get(ask("ui_locales=sv+de", "redirect_uri=https://evil.example/")), ReasonRedirectURI, web, name, locales},
		{"no redirect_uri", get(ask("ui_locales=sv+de", "-redirect_uri")), ReasonRedirectURI, web, name, locales},
		{"two redirect_uri", get(good + "&redirect_uri=https%3A%2F%2Fapp.example%2Fcb"), ReasonRedirectURI, web, name, locales},
		{"a client that nobody has vetted", get(ask("ui_locales=sv+de", "client_id=new", "scope=unknown")), "", "new", "Totally <b>Real</b>", locales},
		{"a malformed escape", get(good + "&x=%zz"), ReasonUnreadable, web, name, locales},
		{"a malformed escape in front", get("x=%zz&" + good), ReasonUnreadable, web, name, locales},
		{"a malformed escape in the languages", get(ask("ui_locales=sv+%zz")), ReasonUnreadable, web, name, ""},
		{"a malformed escape in the client", get(ask("ui_locales=sv+de", "client_id=%zz")), ReasonUnreadable, "", "", locales},
		{"a character that is not escaped", get(ask("ui_locales=sv+de", "state=a b")), ReasonUnreadable, web, name, locales},
		{"a semicolon", get(ask("state=a;b") + "&ui_locales=sv+de"), ReasonUnreadable, web, name, locales},
		{"a value of the host's own that is no text", get("x_tenant=%ff&" + good), ReasonUnreadable, web, name, locales},
		{"unreadable, with two clients", get(good + "&x=%zz&client_id=spa"), ReasonUnreadable, "", "", locales},
		{"unreadable, with the languages twice", get(good + "&x=%zz&ui_locales=fr"), ReasonUnreadable, web, name, ""},
		{"unreadable, with an unknown client", get(ask("client_id=gone", "ui_locales=sv+de") + "&x=%zz"), ReasonUnreadable, "", "", locales},
		{"unreadable, with a req of the client's own", get(good + "&x=%zz&req=7"), ReasonUnreadable, web, name, locales},
		{"unreadable, with empty values in front", get("ui_locales=&client_id=&x=%zz&" + good), ReasonUnreadable, web, name, locales},
		{"unreadable, by POST", func(v *visitor, _ *reply) *reply { return v.post(good + "&x=%zz") }, ReasonUnreadable, web, name, locales},
		{"unreadable, in the query of a POST", with("POST", "/authorize?x=%zz&"+good, "", "X", ""), ReasonUnreadable, web, name, locales},
		{"the languages twice", get(ask("client_id=gone", "ui_locales=sv") + "&ui_locales=de"), ReasonUnknownClient, "", "", ""},
		{"no languages but control characters", get(ask("client_id=gone", "ui_locales=sv%0d")), ReasonUnknownClient, "", "", ""},
		{"more languages than anybody speaks", get(ask("client_id=gone", "ui_locales="+strings.Repeat("sv+", 101)+"de")), ReasonUnknownClient, "", "", ""},
		{"another method", with("PUT", "/authorize?"+good, "", "X", ""), ReasonUnreadable, web, name, locales},
		{"HEAD", with("HEAD", "/authorize?"+good, "", "X", ""), ReasonUnreadable, web, name, locales},
		{"a prefetch", with("GET", "/authorize?"+good, "", "Sec-Purpose", "prefetch"), ReasonPrefetch, web, name, locales},
		{"a prefetch by POST", with("POST", "/authorize", good, "Sec-Purpose", "prefetch"), ReasonPrefetch, web, name, locales},
		{"a fetch", with("GET", "/authorize?"+good, "", "Sec-Fetch-Mode", "cors"), ReasonFetched, web, name, locales},
		{"a prefetch of a request that waits", func(v *visitor, at *reply) *reply {
			return with("GET", "/authorize?req="+at.req, "", "Sec-Purpose", "prefetch")(v, at)
		}, ReasonPrefetch, web, name, locales},
		{"another method for a request that waits", func(v *visitor, at *reply) *reply {
			return with("HEAD", "/authorize?req="+at.req, "", "X", "")(v, at)
		}, ReasonUnreadable, web, name, locales},
		{"a request that waits, by POST", func(v *visitor, at *reply) *reply { return v.post("req=" + at.req) }, ReasonNoRequest, web, name, locales},
		{"a request that waits, and something malformed", get2(func(_ *visitor, at *reply) string { return "req=" + at.req + "&x=%zz" }), ReasonUnreadable, web, name, locales},
		{"expired", get2(func(v *visitor, at *reply) string { return "req=" + later(v, at) }), ReasonExpired, web, name, locales},
		{"expired, with other parameters beside it", get2(func(v *visitor, at *reply) string {
			return "req=" + later(v, at) + "&client_id=spa&ui_locales=fr"
		}), ReasonExpired, web, name, locales},
		{"expired, and a no", get2(func(v *visitor, at *reply) string { return "deny=1&req=" + later(v, at) }), ReasonExpired, web, name, locales},
		{"expired, and the client is gone", get2(func(v *visitor, at *reply) string {
			v.site.memory.DeleteClient("web")
			return "req=" + later(v, at)
		}), ReasonExpired, "", "", locales},
		{"expired, and the client is switched off", get2(func(v *visitor, at *reply) string {
			v.site.memory.PutClient(Client{ID: "web", Name: "Web, as it is now", Disabled: true})
			return "req=" + later(v, at)
		}), ReasonExpired, web, "Web, as it is now", locales},
		{"damaged", get2(func(_ *visitor, at *reply) string { return "req=" + flip(at.req, len(at.req)/2) }), ReasonExpired, "", "", ""},
		{"damaged, with languages beside it", get2(func(_ *visitor, at *reply) string {
			return "ui_locales=sv+de&req=" + flip(at.req, len(at.req)/2)
		}), ReasonExpired, "", "", locales},
		{"a req that is not ours, alone", get("req=7&ui_locales=sv+de"), ReasonExpired, "", "", locales},
		{"a req that is not ours, with two clients", get("req=7&ui_locales=sv+de&client_id=web&client_id=spa"), ReasonUnknownClient, "", "", locales},
		{"a req that is not ours, beside one of ours", get2(func(_ *visitor, at *reply) string {
			return "ui_locales=sv+de&req=7&req=" + at.req
		}), ReasonNoRequest, "", "", locales},
		{"the client is gone", func(v *visitor, at *reply) *reply { v.site.memory.DeleteClient("web"); return v.resume(at) }, ReasonUnknownClient, "", "", locales},
		{"a no without its cookie", (*visitor).deny, ReasonDenied, web, name, locales},
		{"a browser without cookies", func(v *visitor, at *reply) *reply {
			v.session = nil
			at = v.resume(at)
			v.lose()
			return v.resume(at)
		}, ReasonNoCookies, web, name, locales},
		{"Pending and ShowError", func(v *visitor, at *reply) *reply { later(v, at); return v.showPending(at, "") }, ReasonExpired, web, name, locales},
		{"ShowError of the host's own, for a request in time", func(v *visitor, at *reply) *reply {
			return v.page(func(w http.ResponseWriter, r *http.Request) {
				v.site.handler.ShowError(w, r, io.EOF)
			}, formPost("/login", "req="+at.req))
		}, ReasonStoreFailed, web, name, locales},
		{"Complete", func(v *visitor, at *reply) *reply { later(v, at); return v.complete(at, "terms") }, ReasonExpired, web, name, locales},
		{"Grant", func(v *visitor, at *reply) *reply { later(v, at); return v.grant(at, "openid") }, ReasonExpired, web, name, locales},
		{"Deny", func(v *visitor, at *reply) *reply {
			later(v, at)
			return v.follow(v.page(v.site.handler.Deny, formPost("/login?req="+at.req, "")))
		}, ReasonExpired, web, name, locales},
		{"Deny without a request", func(v *visitor, _ *reply) *reply { return v.page(v.site.handler.Deny, formPost("/login", "")) }, ReasonNoRequest, "", "", ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			var page PageError
			s := newSite(t, withConsent, withTerms, keeping(&page))
			at := s.visitor(nil).get(good).want("login")
			c.do(s.visitor(alice()), at)
			if page.Reason != c.reason || page.ClientID != c.id || page.ClientName != c.name || strings.Join(page.UILocales, " ") != c.locales {
				t.Errorf("the page has %+v", page)
			}
			if e := s.lastEvent(); e.ClientID != c.id {
				t.Errorf("reported for the client %q", e.ClientID)
			}
		})
	}
}

// The host's own page for errors gets the languages too.
func TestErrorURLGetsTheLanguages(t *testing.T) {
	for _, c := range []struct {
		rule string
		do   func(v *visitor, at *reply) *reply
		want string
	}{
		{"an unknown client", func(v *visitor, _ *reply) *reply { return v.get(ask("client_id=gone", "ui_locales=sv+de")) }, "sv de"},
		{"no languages", func(v *visitor, _ *reply) *reply { return v.get(ask("client_id=gone")) }, ""},
		{"what has to be escaped", func(v *visitor, _ *reply) *reply {
			return v.get(ask("client_id=gone", "ui_locales=%26error%3Dx%23%3F"))
		}, "&error=x#?"},
		{"unreadable", func(v *visitor, _ *reply) *reply { return v.get("x=%zz&ui_locales=sv+de") }, "sv de"},
		{"expired", func(v *visitor, at *reply) *reply {
			v.site.now = v.site.now.Add(time.Hour)
			return v.resume(at)
		}, "sv de"},
		{"a page of the host, with a request that expired", func(v *visitor, at *reply) *reply {
			v.site.now = v.site.now.Add(time.Hour)
			return v.complete(at, "terms")
		}, "sv de"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, withErrorURL("/error?a=b#top"), withTerms)
			at := s.visitor(nil).get(ask("ui_locales=sv+de")).want("login")
			got := c.do(s.visitor(nil), at).want("error")
			u, err := url.Parse(got.location)
			if err != nil {
				t.Fatal(err)
			}
			if values := u.Query()["ui_locales"]; strings.Join(values, "|") != c.want || len(u.Query()["error"]) != 1 || u.Fragment != "top" {
				t.Errorf("sent to %s", got.location)
			}
		})
	}
}

// Who comes too late can take a no to the client, if that can be proven still.
func TestTheWayBackOfARequestThatExpired(t *testing.T) {
	no := "error=access_denied&error_description=The%20user%20refused%20the%20request.&state=" + "a%26b%3D%20%2B%C3%A9" + "&iss=https%3A%2F%2Fas.example"
	query := &Return{URL: "https://app.example/cb?" + no, Host: "app.example", Vetted: true}
	form := func(state string) *Return {
		r := &Return{URL: "https://app.example/cb", Host: "app.example", Form: true, Vetted: true, Fields: []Field{
			{"error", "access_denied"}, {"error_description", "The user refused the request."}, {"state", state}, {"iss", testIssuer}}}
		if state == "" {
			r.Fields = append(r.Fields[:2], r.Fields[3])
		}
		return r
	}
	pending := func(v *visitor, at *reply) *reply { return v.showPending(at, "") }
	complete := func(v *visitor, at *reply) *reply { return v.complete(at, "terms") }
	change := func(do func(*Client)) func(*site) {
		return func(s *site) {
			client := testClients()[0]
			do(&client)
			s.memory.PutClient(client)
		}
	}
	for _, c := range []struct {
		rule  string
		ask   []string
		then  func(*site)
		late  time.Duration
		do    func(v *visitor, at *reply) *reply
		wants *Return
	}{
		{"at the endpoint", nil, nil, 30 * time.Minute, (*visitor).resume, query},
		{"a year later", nil, nil, 365 * 24 * time.Hour, (*visitor).resume, query},
		{"a no", nil, nil, 30 * time.Minute, (*visitor).deny, query},
		{"on a page of the host", nil, nil, 30 * time.Minute, pending, query},
		{"at Complete", nil, nil, 30 * time.Minute, complete, query},
		{"by form_post", []string{"response_mode=form_post"}, nil, 30 * time.Minute, (*visitor).resume, form("a&b= +é")},
		{"by form_post, on a page of the host", []string{"response_mode=form_post"}, nil, 30 * time.Minute, pending, form("a&b= +é")},
		{"by form_post, without state", []string{"response_mode=form_post", "-state"}, nil, 30 * time.Minute, (*visitor).resume, form("")},
		{"a redirect URI with a query", []string{"client_id=query"}, nil, 30 * time.Minute, (*visitor).resume, &Return{URL: "https://q.example/cb?tenant=1&x=a+b&" + no, Host: "q.example", Vetted: true}},
		{"an app", []string{"client_id=native", "redirect_uri=com.example.app%3A%2Fcb"}, nil, 30 * time.Minute, (*visitor).resume, &Return{URL: "com.example.app:/cb?" + no, Host: "com.example.app:", Vetted: true}},
		{"a client that nobody has vetted", []string{"client_id=new"}, nil, 30 * time.Minute, (*visitor).resume, &Return{URL: "https://new.example/cb?" + no, Host: "new.example"}},
		{"the client is gone", nil, func(s *site) { s.memory.DeleteClient("web") }, 30 * time.Minute, (*visitor).resume, nil},
		{"the client is switched off", nil, change(func(c *Client) { c.Disabled = true }), 30 * time.Minute, (*visitor).resume, nil},
		{"the redirect URI is gone", nil, change(func(c *Client) { c.RedirectURIs = []string{"https://app.example/new"} }), 30 * time.Minute, (*visitor).resume, nil},
		{"the redirect URI is gone, on a page of the host", nil, change(func(c *Client) { c.RedirectURIs = nil }), 30 * time.Minute, pending, nil},
		{"the keys are others", nil, func(s *site) {
			s.config.Keys = []Key{{ID: "two", Secret: []byte("another 32 bytes, known to nobody")}}
			s.restart()
		}, 30 * time.Minute, (*visitor).resume, nil},
		{"damaged", nil, nil, 30 * time.Minute, func(v *visitor, at *reply) *reply { return v.get("req=" + flip(at.req, len(at.req)/2)) }, nil},
		{"of another issuer", nil, func(s *site) {
			s.config.Issuer, s.config.Endpoint = "https://other.example", testEndpoint
			s.restart()
		}, 30 * time.Minute, (*visitor).resume, nil},
		{"in time, and a prefetch", nil, nil, 0, func(v *visitor, at *reply) *reply {
			r := httptest.NewRequest("GET", "/authorize?"+ask(), nil)
			r.Header.Set("Sec-Purpose", "prefetch")
			return v.send(v.site.handler, r)
		}, nil},
		{"in time, and the page failed", nil, nil, 0, func(v *visitor, at *reply) *reply {
			return v.page(func(w http.ResponseWriter, r *http.Request) { v.site.handler.ShowError(w, r, io.EOF) }, formPost("/login?req="+at.req, ""))
		}, nil},
		{"in time, and the third time without its cookie", nil, nil, 0, func(v *visitor, at *reply) *reply {
			for range 3 {
				v.lose()
				at = v.resume(at)
			}
			return at
		}, nil},
	} {
		t.Run(c.rule, func(t *testing.T) {
			var page PageError
			s := newSite(t, withConsent, withTerms, keeping(&page))
			v := s.visitor(alice())
			at := v.get(ask(append([]string{"prompt=login", "state=a%26b%3D+%2B%C3%A9"}, c.ask...)...)).want("login")
			if c.then != nil {
				c.then(s)
			}
			s.now = s.now.Add(c.late)
			c.do(v, at)
			if diff := cmp.Diff(c.wants, page.Return); diff != "" || page.Status == 0 {
				t.Errorf("%s: the way back (-want +got)\n%s", page.Reason, diff)
			}
		})
	}
	// And the page in place has it.
	s := newSite(t)
	at := s.visitor(nil).get(ask())
	s.now = s.now.Add(time.Hour)
	got := s.visitor(nil).resume(at).want("page Bad Request invalid_request", "the page of this package")
	if !strings.Contains(got.body, `<a href="https://app.example/cb?error=access_denied&amp;`) || strings.Contains(got.body, "nobody has verified") {
		t.Errorf("on the page:\n%s", got.body)
	}
}
