package authorize

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

func TestCheckClient(t *testing.T) {
	for _, c := range []struct {
		rule   string
		change func(*Client)
		want   string // the fields that are named
	}{
		{"nothing but an ID", func(c *Client) { *c = Client{ID: "a"} }, ""},
		{"all that a client can have", func(*Client) {}, ""},
		{"an ID of 2,048 bytes", func(c *Client) { c.ID = strings.Repeat("a", 2048) }, ""},
		{"no response type at all", func(c *Client) { c.ResponseTypes = []string{} }, ""},
		{"no response mode at all", func(c *Client) { c.ResponseModes = []string{} }, ""},
		{"fragment alone", func(c *Client) { c.ResponseModes = []string{"fragment"} }, ""},
		{"trusted", func(c *Client) { c.FirstParty, c.Unvetted = true, false }, ""},

		{"no ID", func(c *Client) { c.ID = "" }, "ID"},
		{"an ID of 2,049 bytes", func(c *Client) { c.ID = strings.Repeat("a", 2049) }, "ID"},
		{"an ID with a control character", func(c *Client) { c.ID = "a\n" }, "ID"},
		{"an ID that is not UTF-8", func(c *Client) { c.ID = "\xff" }, "ID"},
		{"a redirect URI with a fragment", func(c *Client) { c.RedirectURIs[1] += "#f" }, "RedirectURIs[1]"},
		{"two redirect URIs", func(c *Client) { c.RedirectURIs = []string{"", "https://app.example/", "javascript:x"} }, "RedirectURIs[0] RedirectURIs[2]"},
		{"a scheme that is not named", func(c *Client) { c.PrivateUseSchemes = nil }, "RedirectURIs[1]"},
		{"a scheme that is named in other letters", func(c *Client) { c.PrivateUseSchemes[0] = "Cursor" }, "RedirectURIs[1]"},
		{"a scheme that nobody can have", func(c *Client) { c.PrivateUseSchemes = []string{"cursor", "JavaScript"} }, "PrivateUseSchemes[1]"},
		{"a scheme of the web", func(c *Client) { c.PrivateUseSchemes = []string{"cursor", "https"} }, "PrivateUseSchemes[1]"},
		{"a scheme with a dot", func(c *Client) { c.PrivateUseSchemes = []string{"cursor", "com.example.app"} }, "PrivateUseSchemes[1]"},
		{"a scheme with its colon", func(c *Client) { c.PrivateUseSchemes = []string{"cursor", "vscode:"} }, "PrivateUseSchemes[1]"},
		{"an empty scheme", func(c *Client) { c.PrivateUseSchemes = []string{"", "cursor"} }, "PrivateUseSchemes[0]"},
		{"an address for a name", func(c *Client) { c.OutOfBand = "https://app.example/cb" }, "OutOfBand"},
		{"a default scope that it may not ask for", func(c *Client) { c.DefaultScopes = []string{"openid", "email"} }, "DefaultScopes[1]"},
		{"a default scope without scopes", func(c *Client) { c.Scopes = nil }, "DefaultScopes[0]"},
		{"an unknown response type", func(c *Client) { c.ResponseTypes = []string{"code", "token"} }, "ResponseTypes[1]"},
		{"a response type in the other case", func(c *Client) { c.ResponseTypes = []string{"Code"} }, "ResponseTypes[0]"},
		{"an unknown response mode", func(c *Client) { c.ResponseModes = []string{"query", "web_message"} }, "ResponseModes[1]"},
		{"a response mode in the other case", func(c *Client) { c.ResponseModes = []string{"Fragment", "query"} }, "ResponseModes[0]"},
		{"an empty response mode", func(c *Client) { c.ResponseModes = []string{""} }, "ResponseModes[0]"},
		{"how answers out of band travel", func(c *Client) { c.ResponseModes = []string{"body"} }, "ResponseModes[0]"},
		{"trusted and unvetted", func(c *Client) { c.FirstParty = true }, "FirstParty"},
		{"all at once", func(c *Client) {
			*c = Client{
				RedirectURIs: []string{"x"}, PrivateUseSchemes: []string{"file"}, OutOfBand: "urn:", DefaultScopes: []string{"openid"},
				ResponseTypes: []string{"token"}, ResponseModes: []string{"jwt"}, FirstParty: true, Unvetted: true,
			}
		}, "ID RedirectURIs[0] PrivateUseSchemes[0] OutOfBand DefaultScopes[0] ResponseTypes[0] ResponseModes[0] FirstParty"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			client := Client{
				ID: "a", RedirectURIs: []string{"http://127.0.0.1/cb", "cursor://cb"}, PrivateUseSchemes: []string{"cursor"},
				OutOfBand: OutOfBandAuto, AnyLoopbackPort: true, Scopes: []string{"openid", "profile"}, DefaultScopes: []string{"openid"},
				ResponseTypes: []string{"none", "code"}, ResponseModes: []string{"fragment", "form_post", "query"}, Unvetted: true,
			}
			c.change(&client)
			err := CheckClient(client)
			var fields []string
			if joined, ok := err.(interface{ Unwrap() []error }); ok {
				for _, one := range joined.Unwrap() {
					var wrong *ClientError
					if !errors.As(one, &wrong) || !strings.HasPrefix(one.Error(), "Client."+wrong.Field+": ") || !errors.Is(one, wrong.Err) {
						t.Fatalf("%v is no ClientError that names its field", one)
					}
					fields = append(fields, wrong.Field)
				}
			}
			if diff := cmp.Diff(c.want, strings.Join(fields, " ")); diff != "" || (err == nil) != (c.want == "") {
				t.Errorf("%v (-want +got)\n%s", err, diff)
			}
		})
	}
}

// A scheme that was named when the client was stored is checked again at each use.
func TestSchemesAreCheckedAtUse(t *testing.T) {
	for _, c := range []struct {
		rule, uri string
		named     []string
		want      string
	}{
		{"named", "cursor://cb", []string{"cursor"}, "code"},
		{"not named", "cursor://cb", nil, "page Bad Request redirect_uri_mismatch"},
		{"named in other letters", "cursor://cb", []string{"Cursor"}, "page Bad Request redirect_uri_mismatch"},
		{"named and refused all the same", "file://cb", []string{"file"}, "page Bad Request redirect_uri_mismatch"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t)
			s.memory.PutClient(Client{ID: "desktop", Scopes: allScopes, RedirectURIs: []string{c.uri}, PrivateUseSchemes: c.named})
			s.visitor(alice()).get(ask("client_id=desktop", "redirect_uri="+url.QueryEscape(c.uri))).want(c.want)
		})
	}
}

// The log says what is wrong with a redirect URI, and the page does not: it is for users.
func TestTheLogExplainsARedirectURI(t *testing.T) {
	for _, c := range []struct{ rule, client, uri, want string }{
		{"a slash at the end", "web", "https://app.example/cb/?code=SECRET#SECRET",
			`redirect_uri is not registered: it has a "/" at the end of its path, it has a query, it has a fragment; the nearest registered one is "https://app.example/cb"`},
		{"a port on loopback", "desktop", "http://localhost:5000/cb",
			`redirect_uri is not registered: its port is 5000: register the redirect URI without a port, or set Client.AnyLoopbackPort; the nearest registered one is "http://localhost:8080/cb"`},
		{"none registered", "nowhere", "https://app.example/cb", "redirect_uri is not registered: the client has none in RedirectURIs"},
		{"a registered one that is unsafe", "unsafe", "javascript:alert(1)",
			`the registered redirect URI "javascript:alert(1)" has the scheme "javascript", which belongs to browsers or to the system and is always refused, also in Client.PrivateUseSchemes`},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t)
			got := s.visitor(alice()).get(ask("client_id="+c.client, "redirect_uri="+url.QueryEscape(c.uri)))
			got.want("page Bad Request redirect_uri_mismatch")
			var line struct{ Error struct{ Cause string } }
			if err := json.Unmarshal(s.log.Bytes(), &line); err != nil || line.Error.Cause != c.want {
				t.Errorf("%v, the log has %s, want %s", err, s.log.String(), c.want)
			}
			if strings.Contains(s.log.String(), "SECRET") || strings.Contains(got.body, "nearest") {
				t.Errorf("the log says %s, the page %s", s.log.String(), got.body)
			}
		})
	}
}

// OpenID Connect demands a redirect_uri, whether openid was asked for or is what the
// client gets without asking.
func TestOpenIDByDefaultNeedsARedirectURI(t *testing.T) {
	for _, c := range []struct {
		rule        string
		defaults    []string
		scope, want string
	}{
		{"not OpenID Connect", []string{"api:read"}, "-scope", "code"},
		{"openid by default", []string{"openid"}, "-scope", "page Bad Request invalid_request"},
		{"openid by default, a scope of blanks, which is none", []string{"openid"}, "scope=++", "page Bad Request invalid_request"},
		{"openid by default, another scope asked for", []string{"openid"}, "scope=api:read", "code"},
		{"openid asked for", []string{"api:read"}, "scope=openid", "page Bad Request invalid_request"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t)
			s.memory.PutClient(Client{
				ID: "only", DefaultRedirectURI: true, RedirectURIs: []string{"https://only.example/cb"},
				Scopes: []string{"openid", "api:read"}, DefaultScopes: c.defaults, PKCEOptional: true,
			})
			s.visitor(alice()).get(ask("client_id=only", "-redirect_uri", c.scope)).want(c.want)
		})
	}
}

// Without the client there is nowhere to send an error.
func TestTheClientStoreFails(t *testing.T) {
	web := testClients()[0]
	for _, c := range []struct {
		rule   string
		client clientFunc
		want   string
	}{
		{"an error", func(context.Context, string) (*Client, error) { return nil, errors.New("down") }, "page Service Unavailable server_error"},
		{"an error and a client", func(context.Context, string) (*Client, error) { return &web, errors.New("down") }, "page Service Unavailable server_error"},
		{"a timeout", func(ctx context.Context, _ string) (*Client, error) { <-ctx.Done(); return nil, ctx.Err() }, "page Service Unavailable temporarily_unavailable"},
		{"too late", func(ctx context.Context, _ string) (*Client, error) { <-ctx.Done(); return &web, nil }, "page Service Unavailable temporarily_unavailable"},
		{"overloaded", func(context.Context, string) (*Client, error) { return nil, oautherr.TemporarilyUnavailable }, "page Service Unavailable temporarily_unavailable"},
		{"another client", func(context.Context, string) (*Client, error) { c := web; c.ID = "WEB"; return &c, nil }, "page Service Unavailable server_error"},
		{"a client without an id", func(context.Context, string) (*Client, error) { return &Client{}, nil }, "page Service Unavailable server_error"},
		{"nothing", func(context.Context, string) (*Client, error) { return nil, nil }, "page Bad Request invalid_client"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, func(s *site) { s.config.Clients = c.client }, impatientIf(c.rule == "a timeout" || c.rule == "too late"))
			for _, query := range []string{ask(), ask("prompt=none")} {
				got := s.visitor(alice()).get(query).want(c.want)
				if strings.Contains(got.body, "down") || got.location != "" {
					t.Errorf("%s %s", got.location, got.body)
				}
			}
		})
	}
}

// An error of the ClientStore is one of three things, wherever a user comes upon it.
func TestWhatTheClientStoreSays(t *testing.T) {
	const unknown = "The application is not known here."
	const unreachable = "The details of the application cannot be fetched at the moment. Try again later."
	const failed, unavailable = "The server met an unexpected condition.", "The server cannot answer at the moment. Try again later."
	down := &net.OpError{Op: "dial", Err: errors.New("SECRET")}
	for _, c := range []struct {
		rule        string
		err         error
		status      int
		code        oautherr.Code
		reason      Reason
		text, after string
	}{
		{"no client", oautherr.InvalidClient, 400, oautherr.InvalidClient, ReasonUnknownClient, unknown, ""},
		{"no client, wrapped", fmt.Errorf("SECRET: %w", oautherr.InvalidClient), 400, oautherr.InvalidClient, ReasonUnknownClient, unknown, ""},
		{"no client, with a cause", oautherr.InvalidClient.Because(down), 400, oautherr.InvalidClient, ReasonUnknownClient, unknown, ""},
		{"no client, joined with a cause", errors.Join(down, oautherr.InvalidClient), 400, oautherr.InvalidClient, ReasonUnknownClient, unknown, ""},
		{"no client, with a text", fmt.Errorf("SECRET: %w", oautherr.InvalidClient.With("This is no document of an application.")),
			400, oautherr.InvalidClient, ReasonUnknownClient, "This is no document of an application.", ""},
		{"unreachable", ErrClientUnreachable, 503, oautherr.TemporarilyUnavailable, ReasonClientUnreachable, unreachable, "60"},
		{"unreachable, wrapped with its cause", fmt.Errorf("%w: %w", ErrClientUnreachable, down), 503, oautherr.TemporarilyUnavailable, ReasonClientUnreachable, unreachable, "60"},
		{"unreachable, behind its cause", fmt.Errorf("%w: %w", down, ErrClientUnreachable), 503, oautherr.TemporarilyUnavailable, ReasonClientUnreachable, unreachable, "60"},
		{"unreachable, and when to come back", &oautherr.Error{Code: oautherr.TemporarilyUnavailable, Cause: ErrClientUnreachable, RetryAfter: 5 * time.Second},
			503, oautherr.TemporarilyUnavailable, ReasonClientUnreachable, unreachable, "5"},
		{"unreachable, with a text", &oautherr.Error{Code: oautherr.TemporarilyUnavailable, Description: "wiki.example does not answer.", Cause: ErrClientUnreachable},
			503, oautherr.TemporarilyUnavailable, ReasonClientUnreachable, "wiki.example does not answer.", "60"},
		{"unreachable, called unknown", oautherr.InvalidClient.Because(ErrClientUnreachable), 503, oautherr.TemporarilyUnavailable, ReasonClientUnreachable, unreachable, "60"},
		{"unreachable, joined with unknown", errors.Join(oautherr.InvalidClient, ErrClientUnreachable), 503, oautherr.TemporarilyUnavailable, ReasonClientUnreachable, unreachable, "60"},
		{"unreachable, called a fault of the server", oautherr.ServerError.Because(ErrClientUnreachable), 503, oautherr.TemporarilyUnavailable, ReasonClientUnreachable, unreachable, "60"},
		{"anything else", errors.New("SECRET"), 503, oautherr.ServerError, ReasonStoreFailed, failed, ""},
		{"the network", down, 503, oautherr.TemporarilyUnavailable, ReasonStoreFailed, unavailable, ""},
		{"another code", oautherr.AccessDenied.With("SECRET"), 503, oautherr.ServerError, ReasonStoreFailed, failed, ""},
		{"a store that is down because of an unknown client", oautherr.TemporarilyUnavailable.Because(oautherr.InvalidClient), 503, oautherr.TemporarilyUnavailable, ReasonStoreFailed, unavailable, ""},
	} {
		for place, do := range map[string]func(v *visitor, at *reply) *reply{
			"a first visit":     func(v *visitor, _ *reply) *reply { return v.get(ask("prompt=none", "response_mode=form_post")) },
			"a return":          (*visitor).resume,
			"the user's no":     (*visitor).deny,
			"Grant":             func(v *visitor, at *reply) *reply { return v.grant(at, "openid") },
			"Pending":           func(v *visitor, at *reply) *reply { return v.showPending(at, "") },
			"Pending, and more": func(v *visitor, at *reply) *reply { return v.showPending(at, "my page: ") },
		} {
			t.Run(c.rule+", "+place, func(t *testing.T) {
				s := newSite(t, withConsent)
				v := s.visitor(alice())
				at := v.get(ask()).want("consent")
				s.config.Clients = clientFunc(func(context.Context, string) (*Client, error) { return nil, c.err })
				s.restart()
				var page PageError
				s.handler.config.ErrorPage = func(w http.ResponseWriter, r *http.Request, p PageError) {
					page = p
					writePage(w, p.Status, errorTemplate, p)
				}
				got := do(v, at).want("page " + http.StatusText(c.status) + " " + string(c.code))
				if after := got.header.Get("Retry-After"); page.Reason != c.reason || page.Description != c.text || page.Return != nil || after != c.after {
					t.Errorf("%+v, Retry-After %q", page, after)
				}
				if e := s.lastEvent(); e.Reason != c.reason || !errors.Is(e.Err, c.err) || strings.Contains(got.body, "SECRET") {
					t.Errorf("reported as %s: %v\n%s", e.Reason, e.Err, got.body)
				}
				w := httptest.NewRecorder()
				s.handler.PendingHandler().ServeHTTP(w, formPost("/pending", "req="+at.req))
				want := map[int]int{400: 200, 503: 503}[c.status]
				if w.Code != want || w.Body.String() != "{\"active\":false}\n" || w.Header().Get("Retry-After") != c.after {
					t.Errorf("Introspection: %d %s %v", w.Code, w.Body, w.Header())
				}
				if logged := strings.Contains(s.log.String(), "authorize: PendingHandler"); logged != (want == 503) {
					t.Errorf("Introspection: it is in the log: %t", logged)
				}
			})
		}
	}
}

// showPending is a page of the host that cannot read its request, and shows why.
func (v *visitor) showPending(at *reply, text string) *reply {
	v.site.t.Helper()
	return v.page(func(w http.ResponseWriter, r *http.Request) {
		_, err := v.site.handler.Pending(r)
		if err == nil {
			v.site.t.Error("Pending succeeds")
		}
		if text != "" {
			err = fmt.Errorf("%s%w", text, err)
		}
		v.site.handler.ShowError(w, r, err)
	}, httptest.NewRequest("GET", "/login?req="+at.req, nil))
}

// What may be a secret is not in the log, even where a client has lost a question mark.
func TestALostQuestionMark(t *testing.T) {
	for _, uri := range []string{
		"https://app.example/cb&code=SECRET", "https://app.example&code=SECRET", "https://app.example/cb%26code=SECRET",
		"https://user:SECRET/x@app.example/cb", "cursor:code=SECRET", "https://app.example/cb;SECRET",
	} {
		t.Run(uri, func(t *testing.T) {
			s := newSite(t)
			s.visitor(nil).get(ask("redirect_uri=" + url.QueryEscape(uri))).want("page Bad Request redirect_uri_mismatch")
			if strings.Contains(s.log.String(), "SECRET") {
				t.Errorf("the log has it: %s", s.log.String())
			}
		})
	}
}
