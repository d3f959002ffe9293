package authorize

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	oautherr "github.com/usher-auth/usher/errors"
)

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// publicKeys fetches the JWK Set as a login page elsewhere would.
func (s *site) publicKeys() []byte {
	s.t.Helper()
	w := httptest.NewRecorder()
	s.handler.PendingKeysHandler().ServeHTTP(w, httptest.NewRequest("GET", "/keys", nil))
	return []byte(readAll(s.t, w.Body))
}

// A login page in another process reads the request with the public keys alone, and
// the browser goes on where the request began.
func TestALoginPageInAnotherProcess(t *testing.T) {
	s := newSite(t, func(s *site) { s.config.Keys = []Key{{Signer: ecKey(t)}} })
	v := s.visitor(nil)
	at := v.get(ask("login_hint=al", "id_token_hint=hint-of-alice", "claims="+url.QueryEscape(`{"id_token":{"acr":{"essential":true,"values":["1","2"]}}}`)))
	reader, err := NewPendingReader(testIssuer, "", s.publicKeys(), func() time.Time { return s.now })
	if err != nil {
		t.Fatal(err)
	}
	p, err := reader.Read(at.req)
	if err != nil {
		t.Fatal(err)
	}
	if p.Request.ClientID != "web" || p.Request.LoginHint != "al" || p.Request.Subject != "alice" || p.Request.Client != nil || p.Interaction != LoginInteraction {
		t.Errorf("read %+v, %+v", p, p.Request)
	}
	if !slices.Equal(p.Request.EssentialACR, []string{"1", "2"}) {
		t.Errorf("the levels demanded are %q", p.Request.EssentialACR)
	}
	if p.Request.RedirectHost() != "app.example" {
		t.Errorf("the answer goes to %q", p.Request.RedirectHost())
	}
	v.session = s.signIn("alice")
	v.session.ACR = "2"
	v.get(strings.TrimPrefix(p.ResumeURL, testEndpoint+"?")).want("code", "back by the page's ResumeURL")
}

func TestReadersRefuse(t *testing.T) {
	s := newSite(t, func(s *site) { s.config.Keys = []Key{{ID: "a", Signer: ecKey(t)}} })
	at := s.visitor(nil).get(ask())
	clock := func() time.Time { return s.now }
	keys := s.publicKeys()
	other := newSite(t, func(s *site) { s.config.Keys = []Key{{ID: "a", Signer: ecKey(t)}} })
	for _, c := range []struct {
		rule, issuer, endpoint string
		keys                   []byte
		req                    string
		later                  time.Duration
		ok                     bool
	}{
		{"the control", testIssuer, testEndpoint, keys, at.req, 0, true},
		{"an empty endpoint is the issuer's", testIssuer, "", keys, at.req, 0, true},
		{"another issuer", "https://other.example", testEndpoint, keys, at.req, 0, false},
		{"another endpoint", testIssuer, testIssuer + "/other", keys, at.req, 0, false},
		{"other keys", testIssuer, "", other.publicKeys(), at.req, 0, false},
		{"empty", testIssuer, "", keys, "", 0, false},
		{"damaged", testIssuer, "", keys, flip(at.req, 200), 0, false},
		{"a second before it expires", testIssuer, "", keys, at.req, 30*time.Minute - time.Second, true},
		{"expired", testIssuer, "", keys, at.req, 30 * time.Minute, false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s.now = testStart.Add(c.later)
			reader, err := NewPendingReader(c.issuer, c.endpoint, c.keys, clock)
			if err != nil {
				t.Fatal(err)
			}
			p, err := reader.Read(c.req)
			if c.ok != (err == nil) || c.ok != (p != nil) || !c.ok && !errors.Is(err, oautherr.InvalidRequest) {
				t.Errorf("%v, %v", p, err)
			}
		})
	}
	elsewhere := newSite(t, func(s *site) { s.config.Keys = []Key{{ID: "b", Signer: ecKey(t)}} })
	for _, c := range []struct {
		rule    string
		keys    []byte
		unknown bool
	}{
		{"a key that is not in the set", elsewhere.publicKeys(), true},
		{"a signature that is wrong", other.publicKeys(), false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			reader, err := NewPendingReader(testIssuer, "", c.keys, clock)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := reader.Read(at.req); errors.Is(err, ErrUnknownKey) != c.unknown {
				t.Error(err)
			}
		})
	}
	if _, err := NewPendingReader(testIssuer, "", []byte(`{"keys":[]}`), nil); err == nil {
		t.Error("a reader without keys")
	}
	if reader, err := NewPendingReader(testIssuer, "", keys, nil); err != nil {
		t.Error(err)
	} else if _, err := reader.Read(at.req); err == nil {
		t.Error("without a clock of its own a reader takes the real one, to which the request has expired")
	}
}

func TestIntrospection(t *testing.T) {
	s := newSite(t)
	v := s.visitor(nil)
	at := v.get(ask("scope=openid+email", "id_token_hint=hint-of-alice"))
	for _, c := range []struct {
		rule   string
		r      *http.Request
		status int
		active bool
	}{
		{"active", formPost("/pending", "req="+at.req), 200, true},
		{"damaged", formPost("/pending", "req="+flip(at.req, 99)), 200, false},
		{"empty", formPost("/pending", ""), 200, false},
		{"by GET", httptest.NewRequest("GET", "/pending?req="+at.req, nil), 400, false},
		{"in the query", formPost("/pending?req="+at.req, ""), 200, false},
		{"as JSON", httptest.NewRequest("POST", "/pending", strings.NewReader(`{"req":"`+at.req+`"}`)), 400, false},
		{"malformed", formPost("/pending", "req=%zz"), 400, false},
		{"by PUT", func() *http.Request { r := formPost("/pending", "req="+at.req); r.Method = "PUT"; return r }(), 400, false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			w := httptest.NewRecorder()
			s.handler.PendingHandler().ServeHTTP(w, c.r)
			var got pendingResponse
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Error(err)
			}
			if w.Code != c.status || got.Active != c.active {
				t.Errorf("status %d, %s", w.Code, w.Body)
			}
			for name, want := range map[string]string{"Cache-Control": "no-store", "Content-Type": "application/json", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Access-Control-Allow-Origin": ""} {
				if value := w.Header().Get(name); value != want {
					t.Errorf("%s is %q", name, value)
				}
			}
			if !c.active {
				if diff := cmp.Diff(pendingResponse{}, got); diff != "" {
					t.Errorf("an inactive request says %s", diff)
				}
				return
			}
			resume, _ := url.Parse(got.ResumeURL)
			deny, _ := url.Parse(got.DenyURL)
			if got.ClientID != "web" || got.ClientName != "The Web App" || got.Scope != "openid email" {
				t.Errorf("%+v", got)
			}
			if got.Subject != "alice" || got.Interaction != "login" || got.Reason != ReasonNotSignedIn || got.Params["scope"][0] != "openid email" ||
				got.IssuedAt != testStart.Unix() || got.ExpiresAt != testStart.Add(30*time.Minute).Unix() || resume.Query().Get("req") != at.req || deny.Query().Get("deny") != "1" {
				t.Errorf("%+v", got)
			}
		})
	}
	s.now = s.now.Add(time.Hour)
	w := httptest.NewRecorder()
	s.handler.PendingHandler().ServeHTTP(w, formPost("/pending", "req="+at.req))
	if got := strings.TrimSpace(w.Body.String()); got != `{"active":false}` {
		t.Errorf("expired: %s", got)
	}
}

// A page in another process learns what is asked for as the endpoint reads it.
func TestIntrospectionKnowsTheClient(t *testing.T) {
	for _, c := range []struct {
		rule, ask string
		change    func(*Client)
		after     func(*uncheckedMemory)
		ignore    bool
		name      string // empty: the request is not active
		scope     string
		defaults  []string
	}{
		{"its name and what it asks for", "scope=openid+email", nil, nil, false, "The Web App", "openid email", nil},
		{"without a name", "scope=openid", func(c *Client) { c.Name = "" }, nil, false, "web", "openid", nil},
		{"its default scopes", "-scope", func(c *Client) { c.DefaultScopes = []string{"email", "openid"} }, nil, false, "The Web App", "email openid", nil},
		{"everybody's default scopes", "-scope", nil, nil, false, "The Web App", "profile", []string{"profile", "admin"}},
		{"without what is left out", "scope=groups+openid", nil, nil, true, "The Web App", "openid", nil},
		{"the name as it is now", "scope=openid", nil, func(m *uncheckedMemory) {
			client := testClients()[0]
			client.Name = "Another"
			m.PutClient(client)
		}, false, "Another", "openid", nil},
		{"the client is gone", "scope=openid", nil, func(m *uncheckedMemory) { m.DeleteClient("web") }, false, "", "", nil},
		{"its redirect URI is gone", "scope=openid", nil, func(m *uncheckedMemory) { m.PutClient(Client{ID: "web"}) }, false, "", "", nil},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, func(s *site) { s.config.IgnoreUnknownScopes, s.config.DefaultScopes = c.ignore, c.defaults })
			client := testClients()[0]
			if c.change != nil {
				c.change(&client)
			}
			s.memory.PutClient(client)
			at := s.visitor(nil).get(ask(c.ask)).want("login")
			if c.after != nil {
				c.after(s.memory)
			}
			w := httptest.NewRecorder()
			s.handler.PendingHandler().ServeHTTP(w, formPost("/pending", "req="+at.req))
			var got pendingResponse
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if got.Active != (c.name != "") || got.ClientName != c.name || got.Scope != c.scope || w.Code != http.StatusOK {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
}
