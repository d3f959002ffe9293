package dcr_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/dcr"
	"github.com/usher-auth/usher/authorize/internal/jose"
	oautherr "github.com/usher-auth/usher/errors"
)

const (
	editor = `{"client_name":"Editor","redirect_uris":["cursor://a/cb","http://localhost:80/cb","https://e.example/cb"]}`
	typ    = "usher-client+jwt"
)

func TestTheSameMetadataHaveTheSameID(t *testing.T) {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	for rule, key := range map[string]authorize.Key{"a secret": {Secret: secret}, "an Ed25519 key": {Signer: ed}} {
		s, _ := open(t, func(c *dcr.Config) { c.Keys = []authorize.Key{key} })
		want := register(t, s, editor)
		for _, c := range []struct {
			rule, body string
			same       bool
		}{
			{"again", editor, true},
			{"another order and spaces", ` {"redirect_uris": ["https://e.example/cb", "cursor://a/cb", "http://localhost:80/cb"], "client_name": "Editor"}`, true},
			{"members that count for nothing", editor[:len(editor)-1] + `,"scope":"read","software_version":"2","x":[1]}`, true},
			{"another port on loopback", strings.Replace(editor, ":80", ":4711", 1), true},
			{"no port on loopback", strings.Replace(editor, ":80", "", 1), true},
			{"an escape", strings.Replace(editor, "Editor", `\u0045ditor`, 1), true},
			{"something invisible in the name", strings.Replace(editor, "Editor", "Edi\u200btor ", 1), true},
			{"a redirect URI twice", strings.Replace(editor, `["`, `["https://e.example/cb","`, 1), true},
			{"another name", strings.Replace(editor, "Editor", "editor", 1), false},
			{"another redirect URI", strings.Replace(editor, "/cb", "/CB", 1), false},
			{"another host on loopback", strings.Replace(editor, "localhost", "127.0.0.1", 1), false},
			{"another port elsewhere", strings.Replace(editor, "e.example", "e.example:8443", 1), false},
		} {
			t.Run(rule+", "+c.rule, func(t *testing.T) {
				if got := register(t, s, c.body); c.same != (got == want) {
					t.Errorf("%s is registered as\n%s, and %s as\n%s", editor, want, c.body, got)
				}
			})
		}
	}
}

// sign makes a client_id with keys and claims of any kind.
func sign(t *testing.T, typ string, key authorize.Key, claims map[string]any) string {
	t.Helper()
	ring, err := jose.NewRing([]jose.Key{jose.Key(key)})
	if err != nil {
		t.Fatal(err)
	}
	token, err := ring.Sign(typ, claims)
	if err != nil {
		t.Fatal(err)
	}
	return "dcr." + token
}

// What is not refused at registration may have been signed with other rules than today's.
func TestWhatCannotBeUsed(t *testing.T) {
	registered := register(t, must(open(t)), editor)
	uris := []string{"https://e.example/cb"}
	claims := func(changes ...any) map[string]any {
		c := map[string]any{"iss": issuer, "client_name": "Editor", "redirect_uris": uris}
		for i := 0; i < len(changes); i += 2 {
			c[changes[i].(string)] = changes[i+1]
		}
		return c
	}
	key := authorize.Key{Secret: secret}
	short, long := "", ""
	for size := 800; len(long) <= 1500; size++ {
		short, long = long, sign(t, typ, key, claims("x", strings.Repeat("x", size)))
	}
	other := authorize.Key{Secret: []byte("another secret of at least 32 bytes")}
	for _, c := range []struct {
		rule, id, cause string // part of it; empty: it can be used
		change          func(*dcr.Config)
	}{
		{"as it was registered", registered, "", nil},
		{"made here in the same way", sign(t, typ, key, claims()), "", nil},
		{"no name", sign(t, typ, key, claims("client_name", "")), "", nil},
		{"not a JWS", "dcr.", "not a compact JWT", nil},
		{"a JWS of another form", "dcr.dcr.a.b.c", "not a compact JWT", nil},
		{"something behind", registered + "A", "signature is wrong", nil},
		{"a line break behind", registered + "\n", "not a compact JWT", nil},
		{"another key", sign(t, typ, other, claims()), "not known", nil},
		{"another key of the same ID", sign(t, typ, authorize.Key{ID: "k", Secret: other.Secret}, claims()), "signature is wrong",
			func(c *dcr.Config) { c.Keys = []authorize.Key{{ID: "k", Secret: secret}} }},
		{"another type", sign(t, "JWT", key, claims()), `type "JWT"`, nil},
		{"the type of a waiting request", sign(t, "usher-request+jwt", key, claims()), `type "usher-request+jwt"`, nil},
		{"another issuer", sign(t, typ, key, claims("iss", issuer+"/eu")), "another issuer", nil},
		{"the issuer has another name by now", registered, "another issuer", func(c *dcr.Config) { c.Issuer = issuer + "/" }},
		{"no issuer", sign(t, typ, key, claims("iss", "")), "another issuer", nil},
		{"a member of a wrong type", sign(t, typ, key, claims("redirect_uris", "x")), "json", nil},
		{"no redirect URI", sign(t, typ, key, claims("redirect_uris", nil)), "redirect_uris is missing", nil},
		{"a redirect URI against the rules", sign(t, typ, key, claims("redirect_uris", []string{"http://e.example"})), "redirect_uris[0] uses http", nil},
		{"just short enough", short, "", nil},
		{"just too long", long, "longer than 1500 bytes", nil},
		{"the app is not listed by now", registered, `scheme "cursor"`, func(c *dcr.Config) { c.AppSchemes = []string{"com.example.app"} }},
		{"just not expired", sign(t, typ, key, claims("exp", now.Unix()+1)), "", nil},
		{"just expired", sign(t, typ, key, claims("exp", now.Unix())), "expired at 2026-05-20T10:00:00Z", nil},
		{"expired long ago", sign(t, typ, key, claims("exp", 1)), "expired", nil},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s, events := open(t, func(config *dcr.Config) {
				if c.change != nil {
					c.change(config)
				}
			})
			client, err := s.Client(t.Context(), c.id)
			if c.cause == "" {
				if err != nil || client == nil || client.ID != c.id || len(*events) != 0 {
					t.Errorf("%d bytes: %+v, %v, %+v", len(c.id), client, err, *events)
				}
				return
			}
			if client != nil || !errors.Is(err, oautherr.InvalidClient) || !strings.Contains(err.Error(), c.cause) {
				t.Errorf("%d bytes: %+v, %v, want %q", len(c.id), client, err, c.cause)
			}
			if len(*events) != 1 || (*events)[0].Kind != dcr.EventNotUsed || (*events)[0].Code != oautherr.InvalidClient {
				t.Errorf("events: %+v", *events)
			}
		})
	}
}

func must(s *dcr.Store, _ *[]dcr.Event) *dcr.Store { return s }

// Whatever single character is changed, it is no client_id any more.
func TestTampering(t *testing.T) {
	s, _ := open(t)
	id := register(t, s, editor)
	for i := range id {
		for _, c := range "A_z." {
			changed := id[:i] + string(c) + id[i+1:]
			if client, _ := s.Client(t.Context(), changed); client != nil && changed != id {
				t.Errorf("byte %d as %q: %+v", i, c, client)
			}
		}
	}
}

// When the keys change, clients keep their client_ids for as long as the old key is there.
func TestRotation(t *testing.T) {
	before := authorize.Key{ID: "2026", Secret: secret}
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	after := authorize.Key{ID: "2027", Signer: ed}
	with := func(keys ...authorize.Key) *dcr.Store {
		return must(open(t, func(c *dcr.Config) { c.Keys = keys }))
	}
	old := register(t, with(before), editor)
	ready, both, done := with(before, after), with(after, before), with(after)
	fresh := register(t, both, editor)
	if register(t, ready, editor) != old || fresh == old || register(t, done, editor) != fresh {
		t.Error("the first key does not sign")
	}
	for _, c := range []struct {
		rule string
		s    *dcr.Store
		id   string
		ok   bool
	}{
		{"the new key is known, the old client", ready, old, true},
		{"the new key is known, a client of a replica that signs with it", ready, fresh, true},
		{"the new key signs, the old client", both, old, true},
		{"the new key signs, the new client", both, fresh, true},
		{"the old key is gone, the old client", done, old, false},
		{"the old key is gone, the new client", done, fresh, true},
	} {
		t.Run(c.rule, func(t *testing.T) {
			client, err := c.s.Client(t.Context(), c.id)
			if c.ok != (client != nil) {
				t.Errorf("%+v, %v", client, err)
			}
			if refused := oautherr.Of(err); !c.ok && !strings.Contains(refused.Text(), "connect it again") {
				t.Errorf("the user reads %q", refused.Text())
			}
		})
	}
}

// Within one period the same metadata have one client_id, which counts for at least one
// Lifetime more.
func TestLifetime(t *testing.T) {
	clock, day := now.Truncate(24*time.Hour), 24*time.Hour
	s, events := open(t, func(c *dcr.Config) {
		c.Lifetime, c.Now = day, func() time.Time { return clock }
	})
	begin := clock
	id := register(t, s, editor)
	if got := (*events)[0].Registration.ExpiresAt; !got.Equal(begin.Add(2 * day)) {
		t.Errorf("it expires at %s", got)
	}
	clock = begin.Add(day - time.Second)
	w, answer := post(s, editor)
	if answer["client_id"] != id || answer["client_id_issued_at"] != float64(begin.Unix()) {
		t.Errorf("at the end of the period: %s", w.Body)
	}
	clock = begin.Add(day)
	if register(t, s, editor) == id {
		t.Error("the next period has the same client_id")
	}
	clock = begin.Add(2*day - time.Second)
	if _, err := s.Client(t.Context(), id); err != nil {
		t.Error(err)
	}
	clock = begin.Add(2 * day)
	if client, err := s.Client(t.Context(), id); client != nil || !errors.Is(err, oautherr.InvalidClient) {
		t.Errorf("after its end: %+v, %v", client, err)
	}
}

// failing is a host's store that is down.
type failing struct{}

func (failing) Client(context.Context, string) (*authorize.Client, error) {
	return nil, errors.New("the database is down")
}

func TestTheHostsOwnStoreComesFirst(t *testing.T) {
	memory := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{{ID: "wiki", Name: "Wiki"}}})
	s, events := open(t, func(c *dcr.Config) { c.Clients = memory })
	id := register(t, s, editor)
	if client, err := s.Client(t.Context(), "wiki"); err != nil || client == nil || client.Name != "Wiki" {
		t.Errorf("a client of the host's: %+v, %v", client, err)
	}
	if client, err := s.Client(t.Context(), "another"); err != nil || client != nil {
		t.Errorf("an id that nobody knows: %+v, %v", client, err)
	}
	if err := memory.PutClient(authorize.Client{ID: id, Disabled: true}); err != nil {
		t.Fatal(err)
	}
	if client, err := s.Client(t.Context(), id); err != nil || client == nil || !client.Disabled {
		t.Errorf("a client that the host has disabled: %+v, %v", client, err)
	}
	down, _ := open(t, func(c *dcr.Config) { c.Clients = failing{} })
	if client, err := down.Client(t.Context(), id); client != nil || err == nil || err.Error() != "the database is down" {
		t.Errorf("a store that is down: %+v, %v", client, err)
	}
	if len(*events) != 1 {
		t.Errorf("events beside that of the registration: %+v", *events)
	}
}

// The host is asked at registration and at every use, about the same.
func TestAllow(t *testing.T) {
	id := register(t, must(open(t)), editor)
	asked := dcr.Registration{ClientID: id, ClientName: "Editor",
		RedirectURIs: []string{"cursor://a/cb", "http://localhost/cb", "https://e.example/cb"}}
	const unavailable = `{"error":"temporarily_unavailable","error_description":"The server cannot answer at the moment. Try again later."}`
	for _, c := range []struct {
		rule    string
		allow   func(ctx context.Context, r dcr.Registration) (bool, error)
		status  int
		body    string // of the registration, if it is refused
		code    oautherr.Code
		timeout time.Duration
	}{
		{"yes", func(context.Context, dcr.Registration) (bool, error) { return true, nil }, 201, "", "", 0},
		{"no", func(context.Context, dcr.Registration) (bool, error) { return false, nil }, 400,
			`{"error":"invalid_client_metadata","error_description":"The server does not take this client."}`, oautherr.InvalidClient, 0},
		{"an error", func(context.Context, dcr.Registration) (bool, error) { return false, errors.New("down") }, 503,
			unavailable, oautherr.TemporarilyUnavailable, 0},
		{"yes and an error", func(context.Context, dcr.Registration) (bool, error) { return true, errors.New("down") }, 503,
			unavailable, oautherr.TemporarilyUnavailable, 0},
		{"an error with a code, which is no refusal", func(context.Context, dcr.Registration) (bool, error) { return false, oautherr.InvalidClient }, 503,
			unavailable, oautherr.TemporarilyUnavailable, 0},
		{"a panic", func(context.Context, dcr.Registration) (bool, error) { panic("at the host") }, 503,
			unavailable, oautherr.TemporarilyUnavailable, 0},
		{"too slow", func(ctx context.Context, _ dcr.Registration) (bool, error) { <-ctx.Done(); return false, ctx.Err() }, 503,
			unavailable, oautherr.TemporarilyUnavailable, time.Millisecond},
		{"a yes that is too late", func(ctx context.Context, _ dcr.Registration) (bool, error) { <-ctx.Done(); return true, nil }, 503,
			unavailable, oautherr.TemporarilyUnavailable, time.Millisecond},
		{"it changes what it is given", func(_ context.Context, r dcr.Registration) (bool, error) {
			r.RedirectURIs[0] = "https://evil.example"
			return true, nil
		}, 201, "", "", 0},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s, events := open(t, func(config *dcr.Config) {
				config.Timeout = c.timeout
				config.Allow = func(ctx context.Context, r dcr.Registration) (bool, error) {
					if diff := cmp.Diff(asked, r); diff != "" {
						t.Errorf("asked about (-want +got)\n%s", diff)
					}
					return c.allow(ctx, r)
				}
			})
			w, _ := post(s, editor)
			if got := strings.TrimSpace(w.Body.String()); w.Code != c.status || c.body != "" && got != c.body {
				t.Errorf("%d %s, want %d %s", w.Code, got, c.status, c.body)
			}
			ctx, cancel := t.Context(), func() {}
			if c.timeout != 0 {
				ctx, cancel = context.WithTimeout(ctx, c.timeout)
			}
			defer cancel()
			client, err := s.Client(ctx, id)
			if c.code == "" {
				if err != nil || client == nil || !slices.Equal(client.RedirectURIs, asked.RedirectURIs) {
					t.Errorf("%+v, %v", client, err)
				}
				return
			}
			if client != nil || oautherr.Of(err).Code != c.code {
				t.Errorf("%+v, %v", client, err)
			}
			kinds := []dcr.EventKind{}
			for _, e := range *events {
				kinds = append(kinds, e.Kind)
			}
			if diff := cmp.Diff([]dcr.EventKind{dcr.EventRefused, dcr.EventNotUsed}, kinds); diff != "" {
				t.Errorf("events (-want +got)\n%s", diff)
			}
		})
	}
}

func TestTheHostSaysWhenToTryAgain(t *testing.T) {
	s, _ := open(t, func(c *dcr.Config) {
		c.Allow = func(context.Context, dcr.Registration) (bool, error) {
			return false, &oautherr.Error{Code: oautherr.InvalidClient, RetryAfter: 90 * time.Second}
		}
	})
	w, _ := post(s, editor)
	if got := w.Header().Get("Retry-After"); got != "90" || w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d, Retry-After: %q", w.Code, got)
	}
}

// locked is a key that is out of reach.
type locked struct{ ed25519.PrivateKey }

func (locked) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the hardware is locked")
}

func TestAKeyThatCannotSign(t *testing.T) {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	s, events := open(t, func(c *dcr.Config) { c.Keys = []authorize.Key{{Signer: &locked{ed}}} })
	w, answer := post(s, editor)
	if w.Code != http.StatusServiceUnavailable || answer["error"] != "server_error" || strings.Contains(w.Body.String(), "locked") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if err := (*events)[0].Err; !strings.Contains(err.Error(), "the hardware is locked") {
		t.Errorf("the log reads %v", err)
	}
}

// The log has which member is wrong, and why, and not what else was sent.
func TestTheLog(t *testing.T) {
	var text bytes.Buffer
	s, _ := open(t, func(c *dcr.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&text, nil))
		c.Allow = func(_ context.Context, r dcr.Registration) (bool, error) {
			switch r.ClientName {
			case "Panic":
				panic("at the host")
			case "Gone":
				return false, fmt.Errorf("the query: %w", context.Canceled)
			}
			return r.ClientName != "Refused", nil
		}
	})
	for _, c := range []struct {
		rule, body string
		want       []string
	}{
		{"a scheme", `{"redirect_uris":["https://e.example","vscode://a"],"client_name":"private"}`,
			[]string{"level=WARN", "client registration refused", "member=redirect_uris[1]", `scheme \"vscode\"`}},
		{"an unknown member", `{"private":[[[[[[[[[]]]]]]]]]}`, []string{"level=WARN", "nested deeper"}},
		{"the host's no", `{"redirect_uris":["https://e.example"],"client_name":"Refused"}`,
			[]string{"level=WARN", "client_name=Refused", "https://e.example", "Config.Allow refused the client"}},
		{"a panic", `{"redirect_uris":["https://e.example"],"client_name":"Panic"}`,
			[]string{"level=ERROR", "it panicked: at the host", "clientid_test.go"}},
		{"somebody who went away", `{"redirect_uris":["https://e.example"],"client_name":"Gone"}`,
			[]string{"level=INFO", "context canceled"}},
		{"registered", editor, []string{"level=INFO", "client registration registered", "client_id=dcr.", "client_name=Editor"}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			text.Reset()
			post(s, c.body)
			for _, want := range c.want {
				if !strings.Contains(text.String(), want) {
					t.Errorf("no %q in %s", want, text.String())
				}
			}
			if strings.Contains(text.String(), "private") || strings.Count(text.String(), "\n") != 1 {
				t.Errorf("it says %s", text.String())
			}
		})
	}
}

// Whatever is posted, the answer is JSON: a client_id that can be used, or an error of the RFC.
func FuzzRegister(f *testing.F) {
	f.Add([]byte(editor))
	f.Add([]byte(`{"redirect_uris":["http://127.0.0.1:0/cb"],"grant_types":["authorization_code"],"token_endpoint_auth_method":"x"}`))
	f.Add([]byte(`{"redirect_uris":["javascript:alert(1)"],"client_name":"\u202e"}`))
	f.Add([]byte(`{"a":1,"a":2}`))
	s, _ := open(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		w, answer := post(s, string(body))
		switch {
		case w.Code == http.StatusCreated:
			id, _ := answer["client_id"].(string)
			client, err := s.Client(t.Context(), id)
			if err != nil || client == nil || authorize.CheckClient(*client) != nil || !client.Public || !client.Unvetted {
				t.Errorf("%q is registered and then %+v, %v", body, client, err)
			}
			if again := register(t, s, string(body)); again != id {
				t.Errorf("%q is registered as %s and as %s", body, id, again)
			}
		case w.Code != http.StatusBadRequest,
			answer["error"] != "invalid_redirect_uri" && answer["error"] != "invalid_client_metadata":
			t.Errorf("%q: %d %s", body, w.Code, w.Body)
		}
	})
}

// Whatever the client_id is, it is nobody's, that of a client, or refused. What the payload
// says is signed here, because nobody else could.
func FuzzClient(f *testing.F) {
	s, _ := open(f)
	f.Add(register(f, s, editor), []byte(nil))
	f.Add("dcr.a.b.c", []byte(nil))
	f.Add("", []byte(`{"iss":"https://accounts.example","redirect_uris":["https://e.example/cb"],"exp":-1}`))
	f.Add("", []byte(`{"iss":"https://accounts.example","redirect_uris":["http://localhost:80"],"client_name":"\u202e"}`))
	ring, err := jose.NewRing([]jose.Key{{Secret: secret}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, id string, payload []byte) {
		if payload != nil {
			token, err := ring.Sign(typ, rawJSON(payload))
			if err != nil {
				return
			}
			id = "dcr." + token
		}
		client, err := s.Client(t.Context(), id)
		switch {
		case client == nil && err == nil && !strings.HasPrefix(id, "dcr."):
		case client == nil && errors.Is(err, oautherr.InvalidClient):
		case client == nil || err != nil || authorize.CheckClient(*client) != nil || client.ID != id || !client.Unvetted:
			t.Errorf("%q: %+v, %v", id, client, err)
		}
	})
}

// rawJSON is a payload as it is, if it is JSON.
type rawJSON []byte

func (r rawJSON) MarshalJSON() ([]byte, error) { return r, nil }

// What is signed can be read by everybody, so it says no more than it must.
func TestWhatAClientIDSays(t *testing.T) {
	s, _ := open(t, func(c *dcr.Config) { c.Lifetime = time.Hour })
	parts := strings.Split(register(t, s, editor), ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[2])
	want := `{"iss":"https://accounts.example","exp":1779278400,"client_name":"Editor",` +
		`"redirect_uris":["cursor://a/cb","http://localhost/cb","https://e.example/cb"]}`
	if string(payload) != want || err != nil {
		t.Errorf("%s, want %s", payload, want)
	}
}
