package dcr_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	"github.com/usher-auth/usher/authorize/dcr"
	oautherr "github.com/usher-auth/usher/errors"
)

const issuer = "https://accounts.example"

var (
	secret = []byte("0123456789abcdef0123456789abcdef")
	now    = time.Date(2026, 5, 20, 10, 0, 0, 0, time.UTC)
	keys   = []authorize.Key{{Secret: secret}}
)

func config() dcr.Config {
	return dcr.Config{
		Clients:    authorize.NewMemory(authorize.MemoryConfig{}),
		Issuer:     issuer,
		Keys:       keys,
		Scopes:     []string{"openid", "read", "write"},
		AppSchemes: []string{"cursor", "com.example.app"},
		Now:        func() time.Time { return now },
	}
}

// open returns a store of the configuration with these changes, and what happens in it.
func open(t testing.TB, changes ...func(*dcr.Config)) (*dcr.Store, *[]dcr.Event) {
	t.Helper()
	c, events := config(), &[]dcr.Event{}
	c.OnEvent = func(_ context.Context, e dcr.Event) { *events = append(*events, e) }
	for _, change := range changes {
		change(&c)
	}
	s, err := dcr.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s, events
}

// post registers a client, and returns the answer.
func post(s http.Handler, body string) (*httptest.ResponseRecorder, map[string]any) {
	r := httptest.NewRequest(http.MethodPost, "/register", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w, answer := httptest.NewRecorder(), map[string]any{}
	s.ServeHTTP(w, r)
	if json.Unmarshal(w.Body.Bytes(), &answer) != nil {
		answer = nil
	}
	return w, answer
}

// register returns the client_id of what can be registered.
func register(t testing.TB, s http.Handler, body string) string {
	t.Helper()
	w, answer := post(s, body)
	if w.Code != http.StatusCreated {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return answer["client_id"].(string)
}

func TestNew(t *testing.T) {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	rs, _ := rsa.GenerateKey(rand.Reader, 2048)
	signer := func(k crypto.Signer) authorize.Key { return authorize.Key{Signer: k} }
	for _, c := range []struct {
		rule, want string // the beginning of the error; empty: none
		change     func(*dcr.Config)
	}{
		{"the least", "", func(*dcr.Config) {}},
		{"an issuer on loopback", "", func(c *dcr.Config) { c.Issuer = "http://127.0.0.1:8080" }},
		{"an issuer with a path", "", func(c *dcr.Config) { c.Issuer = issuer + "/eu" }},
		{"no issuer", "Config.Issuer is", func(c *dcr.Config) { c.Issuer = "" }},
		{"http", "Config.Issuer is", func(c *dcr.Config) { c.Issuer = "http://accounts.example" }},
		{"an issuer with the scheme of an app", "Config.Issuer is", func(c *dcr.Config) { c.Issuer = "com.example.app:/a" }},
		{"an issuer with a query", "Config.Issuer has a query", func(c *dcr.Config) { c.Issuer, c.Endpoint = issuer+"?a=b", issuer }},
		{"a path for the endpoint", "Config.Endpoint is", func(c *dcr.Config) { c.Endpoint = "/register" }},
		{"no store", "Config.Clients is nil", func(c *dcr.Config) { c.Clients = nil }},
		{"no scope", "Config.Scopes is empty", func(c *dcr.Config) { c.Scopes = nil }},
		{"two scopes in one", "Config.Scopes has", func(c *dcr.Config) { c.Scopes = []string{"a b"} }},
		{"an empty scope", "Config.Scopes has", func(c *dcr.Config) { c.Scopes = []string{""} }},
		{"a default scope that is none", "Config.DefaultScopes[1]", func(c *dcr.Config) { c.DefaultScopes = []string{"read", "admin"} }},
		{"a scheme that nobody may have", `Config.AppSchemes has "javascript"`, func(c *dcr.Config) { c.AppSchemes = []string{"javascript"} }},
		{"a scheme with a colon", `Config.AppSchemes has "cursor:"`, func(c *dcr.Config) { c.AppSchemes = []string{"cursor:"} }},
		{"no key", "Config.Keys cannot be used: no key", func(c *dcr.Config) { c.Keys = nil }},
		{"a short secret", "Config.Keys cannot be used: key 0", func(c *dcr.Config) { c.Keys = []authorize.Key{{Secret: secret[1:]}} }},
		{"an Ed25519 key", "", func(c *dcr.Config) { c.Keys = []authorize.Key{signer(ed)} }},
		{"an ECDSA key", "Config.Keys[0] is of type *ecdsa.PublicKey", func(c *dcr.Config) { c.Keys = []authorize.Key{signer(ec)} }},
		{"an RSA key that only verifies", "Config.Keys[1] is of type *rsa.PublicKey", func(c *dcr.Config) { c.Keys = append(keys, signer(rs)) }},
		{"a minute", "", func(c *dcr.Config) { c.Lifetime = time.Minute }},
		{"less than a minute", "Config.Lifetime is", func(c *dcr.Config) { c.Lifetime = time.Minute - 1 }},
		{"ten years", "", func(c *dcr.Config) { c.Lifetime = 3650 * 24 * time.Hour }},
		{"more than ten years", "Config.Lifetime is", func(c *dcr.Config) { c.Lifetime = 3650*24*time.Hour + 1 }},
		{"a lifetime that is over", "Config.Lifetime is", func(c *dcr.Config) { c.Lifetime = -time.Hour }},
		{"a deadline that is over", "Config.Timeout is", func(c *dcr.Config) { c.Timeout = -1 }},
	} {
		t.Run(c.rule, func(t *testing.T) {
			changed := config()
			c.change(&changed)
			_, err := dcr.New(changed)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestMetadata(t *testing.T) {
	for want, change := range map[string]func(*dcr.Config){
		issuer + "/register":            func(*dcr.Config) {},
		issuer + "/eu/register":         func(c *dcr.Config) { c.Issuer = issuer + "/eu/" },
		"https://api.example/v1/client": func(c *dcr.Config) { c.Endpoint = "https://api.example/v1/client" },
	} {
		s, _ := open(t, change)
		if diff := cmp.Diff(map[string]any{"registration_endpoint": want}, s.Metadata()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

// It is a store for all clients.
func TestTheContractOfClientStore(t *testing.T) {
	memory := authorize.NewMemory(authorize.MemoryConfig{})
	s, _ := open(t, func(c *dcr.Config) { c.Clients = memory })
	authorizetest.TestClientStore(t, func(t *testing.T, clients ...authorize.Client) authorize.ClientStore {
		for _, client := range clients {
			if err := memory.PutClient(client); err != nil {
				t.Fatal(err)
			}
		}
		return s
	})
}

func TestRegistration(t *testing.T) {
	s, events := open(t, func(c *dcr.Config) {
		c.GrantTypes = []string{"refresh_token"}
	})
	w, got := post(s, `{
		"client_name": "The\u202e editor", "redirect_uris": ["http://127.0.0.1:4711/cb", "cursor://a/cb", "https://e.example/cb"],
		"grant_types": ["authorization_code", "refresh_token", "password"], "response_types": ["code", "token"],
		"token_endpoint_auth_method": "client_secret_basic", "scope": "admin", "client_id": "mine", "client_secret": "s",
		"software_statement": "a.b.c", "logo_uri": "https://e.example/logo", "x": 1
	}`)
	id, _ := got["client_id"].(string)
	want := map[string]any{
		"client_id": id, "client_id_issued_at": float64(now.Unix()), "client_name": "The editor",
		"redirect_uris":  []any{"http://127.0.0.1:4711/cb", "cursor://a/cb", "https://e.example/cb"},
		"grant_types":    []any{"authorization_code", "refresh_token"},
		"response_types": []any{"code"}, "token_endpoint_auth_method": "none", "scope": "openid read write",
	}
	if diff := cmp.Diff(want, got); diff != "" || w.Code != http.StatusCreated {
		t.Errorf("%d (-want +got)\n%s", w.Code, diff)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
		"Access-Control-Allow-Origin": "*",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	client, err := s.Client(t.Context(), id)
	registered := []string{"cursor://a/cb", "http://127.0.0.1/cb", "https://e.example/cb"}
	if diff := cmp.Diff(&authorize.Client{
		ID: id, Name: "The editor", Public: true, Unvetted: true,
		RedirectURIs: registered, PrivateUseSchemes: []string{"cursor"},
		Scopes: []string{"openid", "read", "write"},
	}, client); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	if err := authorize.CheckClient(*client); err != nil {
		t.Error(err)
	}
	happened := []dcr.Event{{Kind: dcr.EventRegistered, Time: now, Registration: dcr.Registration{
		ClientID: id, ClientName: "The editor", RedirectURIs: registered,
	}}}
	if diff := cmp.Diff(happened, *events); diff != "" {
		t.Errorf("events (-want +got)\n%s", diff)
	}
}

// A page shows the name, and a client_id is too long for that.
func TestAClientWithoutANameIsCalledByItsHost(t *testing.T) {
	s, _ := open(t)
	for body, want := range map[string]string{
		`{"redirect_uris":["https://e.example:8443/cb"]}`:                          "e.example:8443",
		`{"redirect_uris":["cursor://a/cb"],"client_name":" \u200b "}`:             "cursor:",
		`{"redirect_uris":["http://[::1]:80/cb"],"client_name":null}`:              "[::1]",
		`{"redirect_uris":["https://z.example","https://y.example"],"x":"\u202e"}`: "y.example",
	} {
		if client, err := s.Client(t.Context(), register(t, s, body)); err != nil || client.Name != want {
			t.Errorf("%s: %+v, %v, want %q", body, client, err, want)
		}
	}
}

func TestOnlyPostsOfJSON(t *testing.T) {
	const body = `{"redirect_uris":["https://e.example/cb"]}`
	const noJSON = `{"error":"invalid_client_metadata","error_description":"The Content-Type is not application/json."}`
	s, _ := open(t)
	for _, c := range []struct {
		rule, method, contentType string
		status                    int
		body                      string // empty: not looked at
	}{
		{"JSON", "POST", "application/json", 201, ""},
		{"JSON with a charset", "POST", "Application/JSON; charset=utf-8", 201, ""},
		{"nothing said", "POST", "", 400, noJSON},
		{"text, which needs no preflight", "POST", "text/plain", 400, noJSON},
		{"a form", "POST", "application/x-www-form-urlencoded", 400, noJSON},
		{"another JSON", "POST", "application/jose+json", 400, noJSON},
		{"a malformed type", "POST", "application/json; =", 400, noJSON},
		{"GET", "GET", "application/json", 405, ""},
		{"HEAD", "HEAD", "application/json", 405, ""},
		{"PUT, which is of RFC 7592", "PUT", "application/json", 405, ""},
		{"DELETE", "DELETE", "application/json", 405, ""},
		{"a preflight", "OPTIONS", "", 204, ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			r := httptest.NewRequest(c.method, "/register", strings.NewReader(body))
			r.Header.Set("Content-Type", c.contentType)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if got := strings.TrimSpace(w.Body.String()); w.Code != c.status || c.body != "" && got != c.body {
				t.Errorf("%d %s, want %d %s", w.Code, got, c.status, c.body)
			}
			if allow := w.Header().Get("Allow"); w.Code == 405 && allow != "POST, OPTIONS" {
				t.Errorf("Allow: %q", allow)
			}
		})
	}
}

func TestRefusedRegistrations(t *testing.T) {
	with := func(members string) string { return `{"redirect_uris":["https://e.example/cb"],` + members + `}` }
	const (
		redirect, metadata = oautherr.InvalidRedirectURI, oautherr.InvalidClientMetadata
		method             = "token_endpoint_auth_method is not none, and only public clients can register."
		app                = " has neither https, nor http on loopback, nor the scheme of an app that is known here."
	)
	padded := func(size int) string {
		return with(`"x":"` + strings.Repeat("x", size-len(with(`"x":""`))) + `"`)
	}
	for _, c := range []struct {
		rule, body   string
		code         oautherr.Code // empty: it is registered
		member, text string
	}{
		{"nothing", "", metadata, "", "the JSON is malformed."},
		{"no object", "[]", metadata, "", "the JSON is not an object."},
		{"a member twice", with(`"client_name":"a","client_name":"b"`), metadata, "client_name", "client_name comes twice."},
		{"a member of a wrong type", with(`"client_name":["a"]`), metadata, "client_name", "client_name is not a string."},
		{"a member that is not used, of a wrong type", with(`"logo_uri":1`), metadata, "logo_uri", "logo_uri is not a string."},
		{"just short enough", padded(16 << 10), "", "", ""},
		{"just too long", padded(16<<10 + 1), metadata, "", "the JSON is larger than 16384 bytes."},
		{"no redirect URIs", `{"client_name":"a"}`, redirect, "redirect_uris", "redirect_uris is missing."},
		{"redirect URIs of a wrong type", `{"redirect_uris":"https://e.example/cb"}`, redirect, "redirect_uris", "redirect_uris is not a list."},
		{"an element of a wrong type", `{"redirect_uris":[1]}`, redirect, "redirect_uris[0]", "redirect_uris[0] is not a string."},
		{"the same redirect URI twice", `{"redirect_uris":["https://e.example/cb","https://e.example/cb"]}`, "", "", ""},
		{"http", `{"redirect_uris":["http://e.example/cb"]}`, redirect, "redirect_uris[0]", "redirect_uris[0] uses http on a host that is not loopback."},
		{"a script", `{"redirect_uris":["https://e.example","javascript:alert(1)"]}`, redirect, "redirect_uris[1]", "redirect_uris[1]" + app},
		{"an app that is not listed", `{"redirect_uris":["com.example.other:/cb"]}`, redirect, "redirect_uris[0]", "redirect_uris[0]" + app},
		{"no method", with(`"client_name":"a"`), "", "", ""},
		{"the method none", with(`"token_endpoint_auth_method":"none"`), "", "", ""},
		{"a method with a secret", with(`"token_endpoint_auth_method":"client_secret_post"`), "", "", ""},
		{"a method with keys", with(`"token_endpoint_auth_method":"private_key_jwt"`), metadata, "token_endpoint_auth_method", method},
		{"a method that nobody knows", with(`"token_endpoint_auth_method":"x"`), metadata, "token_endpoint_auth_method", method},
		{"a method that is left to the server", with(`"token_endpoint_auth_method":"private_key_jwt",
			"token_endpoint_auth_methods_supported":["private_key_jwt","none"]`), "", "", ""},
		{"no grant that is done here", with(`"grant_types":["client_credentials"]`), metadata, "grant_types", "grant_types does not have authorization_code."},
		{"no response type that is done here", with(`"response_types":["id_token"]`), metadata, "response_types", "response_types does not have code."},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s, events := open(t)
			w, got := post(s, c.body)
			if c.code == "" {
				if w.Code != http.StatusCreated {
					t.Errorf("%d %s", w.Code, w.Body)
				}
				return
			}
			want := map[string]any{"error": string(c.code), "error_description": c.text}
			if diff := cmp.Diff(want, got); diff != "" || w.Code != http.StatusBadRequest {
				t.Errorf("%d (-want +got)\n%s", w.Code, diff)
			}
			if cache := w.Header().Get("Cache-Control"); cache != "no-store" {
				t.Errorf("Cache-Control: %q", cache)
			}
			if len(*events) != 1 {
				t.Fatalf("events: %+v", *events)
			}
			if e := (*events)[0]; e.Kind != dcr.EventRefused || e.Code != c.code || e.Member != c.member || e.Err == nil {
				t.Errorf("event: %+v", e)
			}
		})
	}
}

// broken is a body that ends too early.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("the connection is gone") }

func TestABodyThatBreaksOff(t *testing.T) {
	s, _ := open(t)
	r, w := httptest.NewRequest(http.MethodPost, "/register", broken{}), httptest.NewRecorder()
	r.Header.Set("Content-Type", "application/json")
	s.ServeHTTP(w, r)
	if want := `{"error":"invalid_client_metadata","error_description":"The body cannot be read."}`; w.Code != 400 || strings.TrimSpace(w.Body.String()) != want {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// longest registers a client with a redirect URI that is just short enough, and returns both,
// and the answer to one more byte.
func longest(t *testing.T, s *dcr.Store) (id, redirectURI string, refused map[string]any) {
	t.Helper()
	for size := 700; size < 1200; size++ {
		next := "https://e.example/" + strings.Repeat("a", size)
		w, answer := post(s, `{"redirect_uris":["`+next+`"]}`)
		if w.Code != http.StatusCreated {
			return id, redirectURI, answer
		}
		id, redirectURI = answer["client_id"].(string), next
	}
	t.Fatalf("there is no limit to %d bytes", len(id))
	return "", "", nil
}

// The client_id is at most 1,500 bytes, with each kind of key.
func TestTheSizeOfAClientID(t *testing.T) {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	for rule, key := range map[string]authorize.Key{"a secret": {Secret: secret}, "an Ed25519 key": {Signer: ed}} {
		t.Run(rule, func(t *testing.T) {
			s, _ := open(t, func(c *dcr.Config) { c.Keys = []authorize.Key{key} })
			id, _, refused := longest(t, s)
			if len(id) > 1500 || len(id) < 1498 { // base64 has steps of one or two bytes
				t.Errorf("the longest has %d bytes", len(id))
			}
			if client, err := s.Client(t.Context(), id); client == nil {
				t.Errorf("it cannot be opened: %v", err)
			}
			want := map[string]any{"error": "invalid_client_metadata", "error_description": "the JSON makes a client_id of " +
				"more than 1500 bytes: use fewer or shorter redirect_uris, or a shorter client_name."}
			if diff := cmp.Diff(want, refused); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
