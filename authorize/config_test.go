package authorize

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// minimal is a configuration with what is required and nothing else.
func minimal() Config {
	memory := newUncheckedMemory(testClients(), MemoryConfig{})
	return Config{
		Issuer:   testIssuer,
		Clients:  memory,
		Codes:    memory,
		Sessions: SessionFunc(func(*http.Request) (*session.Session, error) { return nil, nil }),
		Login:    LoginURL("/login"),
	}
}

// Each row has one thing wrong; the error begins with the field's name.
func TestNewNamesTheFieldThatIsWrong(t *testing.T) {
	step := func(i Interaction) func(*Config) { return func(c *Config) { c.Interactions = []Interaction{i} } }
	interactions := func(n int) func(*Config) {
		return func(c *Config) {
			for i := range n {
				name := fmt.Sprintf("%032d", i)
				c.Interactions = append(c.Interactions, Interaction{Name: name, Page: "/page", Needed: always})
			}
		}
	}
	key := func(k Key) func(*Config) { return func(c *Config) { c.Keys = []Key{k} } }
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		rule   string
		change func(*Config)
		field  string // empty: nothing is wrong
	}{
		{"what is required", func(*Config) {}, ""},
		{"a parameter of one letter, with z and a dash", func(c *Config) { c.Parameters = []string{"z", "a-b_9"} }, ""},
		{"a parameter with a character after z", func(c *Config) { c.Parameters = []string{"a{"} }, "Parameters"},
		{"a parameter of our own name", func(c *Config) { c.Parameters = []string{"resource"} }, "Parameters"},
		{"an ErrorURL without a host", func(c *Config) { c.ErrorURL = "https:///oops" }, "ErrorURL"},
		{"an ErrorURL of another scheme on loopback", func(c *Config) { c.ErrorURL = "ftp://127.0.0.1/oops" }, "ErrorURL"},
		{"a login page with a space", func(c *Config) { c.Login = LoginURL("/log in") }, "Login"},
		{"a login page with a DEL", func(c *Config) { c.Login = LoginURL("/login\x7f") }, "Login"},
		{"a step for prompt=create", step(Interaction{Name: "a", Page: "/a", Prompt: "create"}), "Interactions"},
		{"issuer with a path", func(c *Config) { c.Issuer = "https://as.example/tenant" }, ""},
		{"issuer with a port", func(c *Config) { c.Issuer = "https://as.example:8443" }, ""},
		{"issuer with http on 127.0.0.1", func(c *Config) { c.Issuer = "http://127.0.0.1:8080" }, ""},
		{"issuer with http elsewhere on loopback", func(c *Config) { c.Issuer = "http://127.5.5.5" }, ""},
		{"issuer with http on [::1]", func(c *Config) { c.Issuer = "http://[::1]:8080" }, ""},
		{"issuer with http on localhost", func(c *Config) { c.Issuer = "http://localhost:8080" }, ""},
		{"issuer with http below localhost", func(c *Config) { c.Issuer = "http://as.localhost:8080" }, ""},
		{"issuer empty", func(c *Config) { c.Issuer = "" }, "Issuer"},
		{"issuer relative", func(c *Config) { c.Issuer = "/as" }, "Issuer"},
		{"issuer without a scheme", func(c *Config) { c.Issuer = "as.example" }, "Issuer"},
		{"issuer without a host", func(c *Config) { c.Issuer = "https:///as" }, "Issuer"},
		{"issuer with a port alone", func(c *Config) { c.Issuer = "https://:8443" }, "Issuer"},
		{"issuer opaque", func(c *Config) { c.Issuer = "https:as.example" }, "Issuer"},
		{"issuer with http", func(c *Config) { c.Issuer = "http://as.example" }, "Issuer"},
		{"issuer with http on a host that begins like localhost", func(c *Config) { c.Issuer = "http://localhost.evil.example" }, "Issuer"},
		{"issuer with another scheme", func(c *Config) { c.Issuer = "ftp://as.example" }, "Issuer"},
		{"issuer with a query", func(c *Config) { c.Issuer = "https://as.example?x=1" }, "Issuer"},
		{"issuer with an empty query", func(c *Config) { c.Issuer = "https://as.example?" }, "Issuer"},
		{"issuer with a fragment", func(c *Config) { c.Issuer = "https://as.example#x" }, "Issuer"},
		{"issuer with an empty fragment", func(c *Config) { c.Issuer = "https://as.example#" }, "Issuer"},
		{"issuer with a user", func(c *Config) { c.Issuer = "https://user@as.example" }, "Issuer"},
		{"issuer with a space", func(c *Config) { c.Issuer = "https://as.example/ x" }, "Issuer"},
		{"issuer with a line break", func(c *Config) { c.Issuer = "https://as.example\n" }, "Issuer"},
		{"issuer with a backslash", func(c *Config) { c.Issuer = `https://as.example\x` }, "Issuer"},

		{"endpoint on another host", func(c *Config) { c.Endpoint = "https://login.as.example/authorize" }, ""},
		{"endpoint relative", func(c *Config) { c.Endpoint = "/authorize" }, "Endpoint"},
		{"endpoint with http", func(c *Config) { c.Endpoint = "http://as.example/authorize" }, "Endpoint"},
		{"endpoint with http on loopback and an https issuer", func(c *Config) { c.Endpoint = "http://localhost/authorize" }, "Endpoint"},
		{"endpoint with a query", func(c *Config) { c.Endpoint = "https://as.example/authorize?x=1" }, "Endpoint"},
		{"endpoint with an empty query", func(c *Config) { c.Endpoint = "https://as.example/authorize?" }, "Endpoint"},
		{"endpoint with a fragment", func(c *Config) { c.Endpoint = "https://as.example/authorize#x" }, "Endpoint"},

		{"no clients", func(c *Config) { c.Clients = nil }, "Clients"},
		{"no sessions", func(c *Config) { c.Sessions = nil }, "Sessions"},
		{"no codes", func(c *Config) { c.Codes = nil }, "Codes"},
		{"no login", func(c *Config) { c.Login = nil }, "Login"},
		{"an empty login URL", func(c *Config) { c.Login = LoginURL("") }, "Login"},
		{"a login URL without a slash", func(c *Config) { c.Login = LoginURL("login") }, "Login"},
		{"a login URL that is another host", func(c *Config) { c.Login = LoginURL("//evil.example") }, "Login"},
		{"a login URL with http", func(c *Config) { c.Login = LoginURL("http://login.example") }, "Login"},
		{"a login URL on another domain", func(c *Config) { c.Login = LoginURL("https://login.example/in") }, ""},
		{"a required parameter that nobody knows", func(c *Config) { c.Require = []string{"stat"} }, "Require"},
		{"a page to sign up", func(c *Config) { c.Register = LoginURL("/register") }, ""},
		{"a page to sign up that is the endpoint", func(c *Config) { c.Register = LoginURL("/authorize") }, "Register"},
		{"a nil pointer for a page to sign up", func(c *Config) { c.Register = (*nowhere)(nil) }, "Register"},
		{"a required parameter", func(c *Config) { c.Require = []string{"state"} }, ""},
		{"a login URL that is the endpoint", func(c *Config) { c.Login = LoginURL("/authorize?a=b") }, "Login"},
		{"a login URL that has req", func(c *Config) { c.Login = LoginURL("/login?req=1") }, "Login"},
		{"a nil function for sessions", func(c *Config) { c.Sessions = SessionFunc(nil) }, "Sessions"},
		{"a nil pointer for codes", func(c *Config) { c.Codes = (*Memory)(nil) }, "Codes"},
		{"a code life in nanoseconds", func(c *Config) { c.CodeLifetime = 60 }, "CodeLifetime"},
		{"a login URL with http on loopback", func(c *Config) { c.Login = LoginURL("http://localhost:3000/login") }, ""},

		{"a consent page", func(c *Config) { c.Consent = &Consent{Page: "/consent"} }, ""},
		{"no consent page", func(c *Config) { c.Consent = &Consent{} }, "Consent"},
		{"a consent page that is no URL", func(c *Config) { c.Consent = &Consent{Page: "consent"} }, "Consent"},
		{"an interaction", step(Interaction{Name: "terms", Page: "/terms", Needed: always}), ""},
		{"an interaction for a prompt", step(Interaction{Name: "terms", Page: "/terms", Prompt: "terms"}), ""},
		{"an interaction without a name", step(Interaction{Page: "/terms", Needed: always}), "Interactions"},
		{"an interaction with upper case", step(Interaction{Name: "Terms", Page: "/terms", Needed: always}), "Interactions"},
		{"an interaction with a long name", step(Interaction{Name: strings.Repeat("a", 33), Page: "/terms", Needed: always}), "Interactions"},
		{"an interaction called login", step(Interaction{Name: "login", Page: "/terms", Needed: always}), "Interactions"},
		{"an interaction called consent", step(Interaction{Name: "consent", Page: "/terms", Needed: always}), "Interactions"},
		{"an interaction called consent beside consent", func(c *Config) {
			c.Consent = &Consent{Page: "/consent"}
			c.Interactions = []Interaction{{Name: "consent", Page: "/terms", Needed: always}}
		}, "Interactions"},
		{"two interactions of one name", func(c *Config) {
			c.Interactions = []Interaction{{Name: "terms", Page: "/terms", Needed: always}, {Name: "terms", Page: "/t", Needed: always}}
		}, "Interactions"},
		{"an interaction that nobody needs", step(Interaction{Name: "terms", Page: "/terms"}), "Interactions"},
		{"an interaction without a page", step(Interaction{Name: "terms", Needed: always}), "Interactions"},
		{"an interaction on another host", step(Interaction{Name: "terms", Page: "//evil.example", Needed: always}), "Interactions"},
		{"an interaction for prompt=none", step(Interaction{Name: "terms", Page: "/terms", Prompt: "none"}), "Interactions"},
		{"an interaction for prompt=login", step(Interaction{Name: "terms", Page: "/terms", Prompt: "login"}), "Interactions"},
		{"an interaction for two prompts", step(Interaction{Name: "terms", Page: "/terms", Prompt: "a b"}), "Interactions"},

		{"ten interactions", interactions(10), ""},
		{"so many interactions that no request could wait", interactions(60), "Interactions"},
		{"an issuer so long that no request could wait", func(c *Config) { c.Issuer += "/" + strings.Repeat("a", 2000) }, "Interactions"},

		{"response types code and none", func(c *Config) { c.ResponseTypes = []string{"code", "none"} }, ""},
		{"response type token", func(c *Config) { c.ResponseTypes = []string{"code", "token"} }, "ResponseTypes"},
		{"no response type", func(c *Config) { c.ResponseTypes = []string{} }, "ResponseTypes"},
		{"a malformed scope", func(c *Config) { c.Scopes = []string{"openid", `a"b`} }, "Scopes"},
		{"an empty scope", func(c *Config) { c.Scopes = []string{""} }, "Scopes"},
		{"two scopes in one", func(c *Config) { c.Scopes = []string{"openid profile"} }, "Scopes"},
		{"default scopes", func(c *Config) { c.DefaultScopes = []string{"openid", "api:read"} }, ""},
		{"default scopes that exist", func(c *Config) { c.Scopes, c.DefaultScopes = []string{"openid"}, []string{"openid"} }, ""},
		{"a default scope that does not exist", func(c *Config) { c.Scopes, c.DefaultScopes = []string{"openid"}, []string{"openid", "email"} }, "DefaultScopes"},
		{"default scopes where none exist", func(c *Config) { c.Scopes, c.DefaultScopes = []string{}, []string{"openid"} }, "DefaultScopes"},
		{"a malformed default scope", func(c *Config) { c.DefaultScopes = []string{"openid profile"} }, "DefaultScopes"},
		{"an empty default scope", func(c *Config) { c.DefaultScopes = []string{""} }, "DefaultScopes"},
		{"a further parameter", func(c *Config) { c.Parameters = []string{"x_method"} }, ""},
		{"a further parameter that is the protocol's", func(c *Config) { c.Parameters = []string{"state"} }, "Parameters"},
		{"a further parameter req", func(c *Config) { c.Parameters = []string{"req"} }, "Parameters"},
		{"a further parameter deny", func(c *Config) { c.Parameters = []string{"deny"} }, "Parameters"},
		{"a further parameter twice", func(c *Config) { c.Parameters = []string{"x", "x"} }, "Parameters"},
		{"a further parameter with an ampersand", func(c *Config) { c.Parameters = []string{"x&y"} }, "Parameters"},
		{"an empty further parameter", func(c *Config) { c.Parameters = []string{""} }, "Parameters"},

		{"a short secret", key(Key{Secret: []byte("short")}), "Keys"},
		{"an empty key", key(Key{}), "Keys"},
		{"a key on another curve", key(Key{Signer: p384}), "Keys"},
		{"a secret and a signer", key(Key{Secret: make([]byte, 32), Signer: p384}), "Keys"},

		{"a code life of ten minutes", func(c *Config) { c.CodeLifetime = 10 * time.Minute }, ""},
		{"a longer code life", func(c *Config) { c.CodeLifetime = 10*time.Minute + 1 }, "CodeLifetime"},
		{"a negative code life", func(c *Config) { c.CodeLifetime = -1 }, "CodeLifetime"},
		{"a day for the login", func(c *Config) { c.PendingLifetime = 24 * time.Hour }, ""},
		{"more than a day for the login", func(c *Config) { c.PendingLifetime = 24*time.Hour + 1 }, "PendingLifetime"},
		{"a negative time for the login", func(c *Config) { c.PendingLifetime = -time.Minute }, "PendingLifetime"},
		{"a large skew", func(c *Config) { c.ClockSkew = 6 * time.Minute }, "ClockSkew"},
		{"a negative skew", func(c *Config) { c.ClockSkew = -1 }, "ClockSkew"},
		{"a long timeout", func(c *Config) { c.Timeout = time.Hour }, "Timeout"},
		{"a negative timeout", func(c *Config) { c.Timeout = -1 }, "Timeout"},

		{"an error URL", func(c *Config) { c.ErrorURL = "/error" }, ""},
		{"an error URL that is relative", func(c *Config) { c.ErrorURL = "error" }, "ErrorURL"},
		{"an error URL on another host", func(c *Config) { c.ErrorURL = "//evil.example" }, "ErrorURL"},
		{"an error URL and an error page", func(c *Config) {
			c.ErrorURL = "/error"
			c.ErrorPage = func(http.ResponseWriter, *http.Request, PageError) {}
		}, "ErrorURL"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			config := minimal()
			c.change(&config)
			h, err := New(config)
			if c.field == "" {
				if err != nil || h == nil {
					t.Error(err)
				}
				return
			}
			if err == nil || h != nil || !strings.HasPrefix(err.Error(), "authorize: Config."+c.field+" ") && !strings.HasPrefix(err.Error(), "authorize: Config."+c.field+":") && !strings.HasPrefix(err.Error(), "authorize: Config."+c.field+"[") && !strings.HasPrefix(err.Error(), "authorize: Config."+c.field+".") {
				t.Errorf("%v, want the field %s", err, c.field)
			} else if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one field is named: %v", err)
			}
		})
	}
}

func TestNewNamesAllThatIsMissing(t *testing.T) {
	_, err := New(Config{})
	for _, field := range []string{"Issuer", "Clients", "Sessions", "Codes", "Login"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not named in %v", field, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	h, err := New(minimal())
	if err != nil {
		t.Fatal(err)
	}
	c := h.config
	for _, d := range []struct {
		field     string
		got, want any
	}{
		{"Endpoint", c.Endpoint, testEndpoint},
		{"CodeLifetime", c.CodeLifetime, time.Minute},
		{"PendingLifetime", c.PendingLifetime, 30 * time.Minute},
		{"ClockSkew", c.ClockSkew, 5 * time.Second},
		{"Timeout", c.Timeout, 10 * time.Second},
		{"ResponseTypes", strings.Join(c.ResponseTypes, " "), "code"},
		{"ClientStore", c.Clients != nil, true},
	} {
		t.Run(d.field, func(t *testing.T) {
			if d.got != d.want {
				t.Errorf("%v, want %v", d.got, d.want)
			}
		})
	}
	if since := time.Since(c.Now()); since < -time.Minute || since > time.Minute {
		t.Errorf("the clock is %s off", since)
	}
}

// What the caller does with its own afterwards changes nothing.
func TestNewCopiesItsConfiguration(t *testing.T) {
	config := minimal()
	config.Consent = &Consent{Page: "/consent"}
	config.Interactions = []Interaction{{Name: "terms", Page: "/terms", Needed: always}}
	config.ResponseTypes = []string{"code"}
	config.Scopes, config.DefaultScopes = []string{"openid"}, []string{"openid"}
	config.Parameters, config.Require = []string{"x_one"}, []string{"state"}
	config.Keys = []Key{{ID: "a", Secret: []byte(strings.Repeat("k", 32))}}
	h, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	before, err := h.keys.Sign("x", 1)
	if err != nil {
		t.Fatal(err)
	}
	config.Consent.Page = "https://evil.example/"
	config.Interactions[0].Page, config.Interactions[0].Needed = "https://evil.example/", nil
	config.ResponseTypes[0], config.Scopes[0], config.Parameters[0] = "token", "admin", "state"
	config.DefaultScopes[0] = "admin"
	config.Require[0] = "nonce"
	clear(config.Keys[0].Secret)
	config.Keys[0].ID = "b"
	after, err := h.keys.Sign("x", 1)
	if err != nil || before != after {
		t.Errorf("the key has changed: %v", err)
	}
	for i, page := range []string{"/consent", "/terms"} {
		if h.interactions[i].Page != page || page == "/terms" && h.interactions[i].Needed == nil {
			t.Errorf("the page of %s is %q", h.interactions[i].Name, h.interactions[i].Page)
		}
	}
	if h.config.ResponseTypes[0] != "code" || h.config.Scopes[0] != "openid" || h.config.DefaultScopes[0] != "openid" || h.config.Parameters[0] != "x_one" || h.config.Require[0] != "state" || h.config.Consent.Page != "/consent" {
		t.Errorf("%+v", h.config)
	}
}

// What New fills in does not appear in the caller's values.
func TestNewLeavesTheCallersValuesAlone(t *testing.T) {
	config := minimal()
	config.Interactions = []Interaction{{Name: "terms", Page: "/terms", Needed: always}}
	if _, err := New(config); err != nil {
		t.Fatal(err)
	}
	if config.Interactions[0].Error != "" || config.Endpoint != "" {
		t.Errorf("%+v", config)
	}
}

func TestAnInteractionsOwnError(t *testing.T) {
	s := newSite(t,
		withStep(Interaction{Name: "accounts", Page: "/accounts", Needed: always, Error: oautherr.AccountSelectionRequired}),
		withTerms)
	s.visitor(alice()).get(ask("prompt=none")).want("client account_selection_required")
}

func TestNilLogsNothing(t *testing.T) {
	config := minimal()
	h, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	if h.log.Enabled(context.Background(), slog.LevelError) {
		t.Error("a nil Logger is some other logger")
	}
}

// nowhere is a page that is never asked for.
type nowhere struct{}

func (*nowhere) LoginPage(context.Context, *Pending) (string, error) { return "", nil }
