package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/tokenendpoint"
	"github.com/usher-auth/usher/session"
)

type options struct {
	config  *config
	issuer  string
	demo    bool            // the provider acts as the demo client
	explain bool            // the page /explain exists
	key     *rsa.PrivateKey // nil: a new one
	log     *slog.Logger
	now     func() time.Time
}

// server is the provider.
type server struct {
	issuer   string
	origin   string // of the issuer
	path     string // of the issuer, "" or "/prefix"
	clients  map[string]client
	users    map[string]user
	endpoint *authorize.Handler
	token    *tokenendpoint.Handler
	store    *authorize.Memory // clients, codes and consent
	sessions *session.Cookies
	tokens   *tokens
	key      *signingKey
	log      *slog.Logger
	now      func() time.Time
	demo     []userConfig // nil with a file: no page shows its passwords
	explain  bool

	registration http.Handler     // nil: clients cannot register
	discovered   []map[string]any // members of the metadata, of each part of the provider
}

// client is what the authorization endpoint does not know of a client.
type client struct {
	secretHash      string
	claimsInIDToken bool
}

func newServer(o options) (*server, error) {
	issuer, err := url.Parse(o.issuer)
	if err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	if o.explain && (issuer.Scheme != "http" || !isLoopback(issuer.Host)) {
		return nil, fmt.Errorf("-explain is for development, with an issuer such as http://127.0.0.1:8080: "+
			"leave it out, or change the issuer, which is %q", o.issuer)
	}
	s := &server{
		issuer:  o.issuer,
		origin:  issuer.Scheme + "://" + issuer.Host,
		path:    strings.TrimSuffix(issuer.Path, "/"),
		clients: map[string]client{},
		users:   map[string]user{},
		tokens:  newTokens(o.now),
		log:     o.log,
		now:     o.now,
		explain: o.explain,
	}
	if o.demo {
		s.demo = o.config.Users
	}
	for _, c := range o.config.Clients {
		s.clients[c.ID] = client{tokenendpoint.SecretHash(c.Secret), c.ClaimsInIDToken}
	}
	for _, u := range o.config.Users {
		s.users[u.Username] = user{
			passwordHash: sha256.Sum256([]byte(u.Password)), claims: u.Claims, workspaces: u.Workspaces,
		}
	}
	if o.key == nil {
		if o.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return nil, err
		}
	}
	s.key = newSigningKey(o.key)
	s.sessions, err = session.NewCookies(session.Config{
		Name:     "provider-session",
		Insecure: issuer.Scheme == "http",
		Accounts: maxAccounts,
		Now:      o.now,
		Logger:   o.log,
	})
	if err != nil {
		return nil, err
	}
	return s, s.newEndpoints(o)
}

func (s *server) newEndpoints(o options) error {
	var clients []authorize.Client
	for _, c := range o.config.Clients {
		clients = append(clients, c.registration())
	}
	s.store = authorize.NewMemory(authorize.MemoryConfig{Clients: clients, Now: o.now})
	known, err := authorize.ClientStore(s.store), error(nil)
	for _, introduce := range []func(options, authorize.ClientStore) (authorize.ClientStore, error){
		s.withRegistration, // feature dcr
		s.withDocuments,    // feature cimd
	} {
		if known, err = introduce(o, known); err != nil {
			return err
		}
	}
	endpoint, err := authorize.New(authorize.Config{
		Issuer:        o.issuer,
		Clients:       known,
		Codes:         s.store,
		Sessions:      s.sessions,
		Login:         authorize.LoginURL(s.path + "/login"),
		Consent:       &authorize.Consent{Page: s.path + "/consent", Store: s.store, Covers: s.stillIn},
		Allow:         s.mayUse,
		Interactions:  []authorize.Interaction{s.accountChoice()},
		IDTokenHint:   s.verifyHint,
		ResponseTypes: o.config.responseTypes(),
		Scopes:        o.config.scopes(),
		Resources:     o.config.resources(),
		ErrorPage:     s.showError,
		CodeLifetime:  o.config.codeLifetime(),
		Logger:        o.log,
		Now:           o.now,
	})
	if err != nil {
		// The rest of the file was checked, so only the issuer or a resource can be wrong.
		field := "issuer"
		if strings.Contains(err.Error(), "Config.Resources") {
			field = "resources"
		}
		return fmt.Errorf("%s: %w", field, err)
	}
	s.endpoint = endpoint
	if s.token, err = s.newTokenEndpoint(known); err != nil {
		return err
	}
	s.discovered = append(s.discovered, s.token.Metadata(), s.metadata())
	return nil
}

// routes mounts everything under the path of the issuer.
func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(s.path+"/authorize", s.endpoint)

	// Other sites may send the browser to the endpoint above, even by POST. They must not
	// post the forms of these pages.
	protection := http.NewCrossOriginProtection()
	page := func(pattern string, show http.HandlerFunc) {
		method, route, _ := strings.Cut(pattern, " ")
		mux.Handle(method+" "+s.path+route, protection.Handler(show))
	}
	page("GET /{$}", s.showStatus)
	page("GET /login", s.showLogin)
	page("POST /login", s.signIn)
	page("GET /accounts", s.showAccounts)
	page("POST /accounts", s.decideAccounts)
	page("GET /consent", s.showConsent)
	page("POST /consent", s.decideConsent)
	page("GET /logout", s.showLogout)
	page("POST /logout", s.signOut)
	if s.demo != nil {
		page("GET /try", s.tryDemo)
		page("GET /callback", s.takeDemoAnswer)
	}
	if s.explain {
		page("GET /explain", s.showExplain)
		page("POST /explain", s.showExplain)
	}

	// Scripts of any origin may call these, because they use no cookies.
	mux.Handle(s.path+"/token", authorize.CORS(s.token, "POST"))
	mux.Handle(s.path+"/userinfo", authorize.CORS(http.HandlerFunc(s.userinfo), "GET", "POST"))
	mux.Handle(s.path+"/jwks", authorize.CORS(http.HandlerFunc(s.jwks), "GET"))
	if s.registration != nil {
		mux.Handle(s.path+"/register", s.registration)
	}
	for _, route := range s.endpoint.MetadataPaths() {
		mux.Handle(route, s.endpoint.MetadataHandler(s.discovered...))
	}
	return inPages(onlyCleanPaths(mux), s.showRefusal)
}

// onlyCleanPaths responds with 404 to an address such as //authorize. The mux would redirect
// it with a status with which browsers send a POST again.
func onlyCleanPaths(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if clean := path.Clean(r.URL.Path); clean != r.URL.Path && (clean == "/" || clean+"/" != r.URL.Path) {
			http.NotFound(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// isLoopback reports whether the host, with or without a port, is this machine.
func isLoopback(host string) bool {
	name := strings.ToLower((&url.URL{Host: host}).Hostname())
	addr, err := netip.ParseAddr(name)
	return name == "localhost" || strings.HasSuffix(name, ".localhost") || err == nil && addr.IsLoopback()
}

// metadata is added to the metadata of the authorization endpoint.
func (s *server) metadata() map[string]any {
	base := s.origin + s.path
	return map[string]any{
		"token_endpoint":                        base + "/token",
		"userinfo_endpoint":                     base + "/userinfo",
		"jwks_uri":                              base + "/jwks",
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"acr_values_supported":                  []string{passwordACR},
		"claim_types_supported":                 []string{"normal"},
		"claims_supported":                      s.claimsSupported(),
	}
}
