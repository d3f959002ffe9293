package authorizetest

import (
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"testing"

	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// program is a small host in which everything is right. A fault replaces one of its parts.
type program struct {
	*authorize.Handler
	config   authorize.Config
	sessions *session.Cookies

	// pages are the handlers by pattern, secrets those of the clients.
	pages   map[string]http.HandlerFunc
	secrets map[string]string
}

var hostPages = template.Must(template.New("").Parse(`
{{define "login"}}<!DOCTYPE html><title>Sign in</title><form method="post">
<input type="hidden" name="req" value="{{.}}"><input name="user"><input name="password" type="password">
<button>Sign in</button><button name="no" value="1">Cancel</button></form>{{end}}
{{define "consent"}}<!DOCTYPE html><title>Allow?</title><form method="post">{{.Request.Client.ID}} wants {{.Request.Scopes}} {{.Claims}}
<button>Allow</button><button name="no" value="1">Deny</button></form>{{end}}`))

// newProgram starts a host with the faults.
func newProgram(faults ...func(p *program)) *http.ServeMux {
	store := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{
		{ID: "wiki", RedirectURIs: []string{wiki.RedirectURI}, Scopes: wiki.Scopes},
		{ID: "blog", RedirectURIs: []string{"https://blog.example/cb"}, Scopes: wiki.Scopes, Public: true},
		{ID: "desk", RedirectURIs: []string{"https://as.example/desk"}, Scopes: wiki.Scopes, FirstParty: true},
	}})
	sessions, err := session.NewCookies(session.Config{})
	if err != nil {
		panic(err)
	}
	p := &program{
		sessions: sessions,
		secrets:  map[string]string{"wiki": "the secret of the wiki", "blog": "", "desk": ""},
		config: authorize.Config{
			Issuer: wiki.Issuer, Clients: store, Codes: store, Sessions: sessions,
			Login: authorize.LoginURL("/login"), Consent: &authorize.Consent{Page: "/consent", Store: store},
		},
	}
	p.pages = map[string]http.HandlerFunc{
		"/authorize":    func(w http.ResponseWriter, r *http.Request) { p.ServeHTTP(w, r) },
		"GET /login":    p.showLogin,
		"POST /login":   protected(p.login),
		"GET /consent":  p.showConsent,
		"POST /consent": protected(p.consent),
		"POST /token":   p.token,
		"GET /desk":     p.desk,
	}
	for _, fault := range faults {
		fault(p)
	}
	if p.Handler, err = authorize.New(p.config); err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	for pattern, h := range p.pages {
		mux.HandleFunc(pattern, h)
	}
	return mux
}

func protected(h http.HandlerFunc) http.HandlerFunc {
	return http.NewCrossOriginProtection().Handler(h).ServeHTTP
}

func (p *program) showLogin(w http.ResponseWriter, r *http.Request) {
	hostPages.ExecuteTemplate(w, "login", r.FormValue("req"))
}

func (p *program) login(w http.ResponseWriter, r *http.Request) {
	if r.PostFormValue("no") != "" {
		p.Deny(w, r)
		return
	}
	if r.PostFormValue("user") != "alice" || r.PostFormValue("password") != "secret" {
		p.showLogin(w, r)
		return
	}
	if _, err := p.sessions.SignIn(w, r, session.Session{Subject: "alice"}); err != nil {
		p.ShowError(w, r, err)
		return
	}
	if !p.Resume(w, r) {
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
}

func (p *program) showConsent(w http.ResponseWriter, r *http.Request) {
	pending, err := p.Pending(r)
	if err != nil {
		p.ShowError(w, r, err)
		return
	}
	idToken, userInfo := pending.Request.ClaimsBeyondScopes()
	p.ask(w, pending, append(idToken, userInfo...))
}

func (p *program) ask(w http.ResponseWriter, pending *authorize.Pending, claims []string) {
	hostPages.ExecuteTemplate(w, "consent", struct {
		*authorize.Pending
		Claims []string
	}{pending, claims})
}

func (p *program) consent(w http.ResponseWriter, r *http.Request) {
	pending, err := p.Pending(r)
	switch {
	case r.PostFormValue("no") != "":
		p.Deny(w, r)
	case err != nil:
		p.ShowError(w, r, err)
	default:
		p.Grant(w, r, authorize.Granted{Scopes: pending.Request.Scopes})
	}
}

// redemption is what a token request presents, or an error if the client is not proven.
func (p *program) redemption(r *http.Request) (redemption authorize.Redemption, err error) {
	id, secret, basic := r.BasicAuth()
	if !basic {
		id = r.PostFormValue("client_id")
	}
	if unescaped, _ := url.QueryUnescape(secret); p.secrets[id] != unescaped {
		return redemption, oautherr.InvalidClient
	}
	return authorize.Redemption{
		Code: r.PostFormValue("code"), ClientID: id, RedirectURI: r.PostFormValue("redirect_uri"), Verifier: r.PostFormValue("code_verifier"),
	}, nil
}

func (p *program) token(w http.ResponseWriter, r *http.Request) {
	redemption, err := p.redemption(r)
	p.redeem(w, r, redemption, err)
}

func (p *program) redeem(w http.ResponseWriter, r *http.Request, redemption authorize.Redemption, err error) {
	var code *authorize.Code
	if err == nil {
		code, err = p.Redeem(r.Context(), redemption)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case errors.Is(err, oautherr.InvalidClient):
		w.Header().Set("WWW-Authenticate", "Basic")
		w.WriteHeader(http.StatusUnauthorized)
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
	default:
		json.NewEncoder(w).Encode(map[string]any{"access_token": "for " + code.Subject, "token_type": "Bearer"})
		return
	}
	json.NewEncoder(w).Encode(map[string]any{"error": oautherr.Of(err).Code})
}

// desk is a client in the same program, which redeems its code at once.
func (p *program) desk(w http.ResponseWriter, r *http.Request) {
	p.Redeem(r.Context(), authorize.Redemption{Code: r.FormValue("code"), ClientID: "desk"})
}

// hostOf describes the program.
func hostOf(faults ...func(p *program)) Host {
	client := wiki
	client.TokenEndpoint, client.Secret = "https://as.example/token", "the secret of the wiki"
	submit := func(values url.Values, button string) func(*Page) (*Page, error) {
		return func(page *Page) (*Page, error) { return page.Submit(values, button) }
	}
	return Host{
		Client: client,
		Other:  Client{Issuer: wiki.Issuer, ID: "blog", RedirectURI: "https://blog.example/cb"},
		Open:   func(_ *testing.T, b *Browser) { b.Handle("https://as.example", newProgram(faults...)) },
		SignIn: submit(url.Values{"user": {"alice"}, "password": {"secret"}}, "Sign in"),
		Agree:  submit(nil, "Allow"),
		Cancel: submit(nil, "Cancel"),
		Deny:   submit(nil, "Deny"),
		Claims: map[string]string{"phone_number": "", "<shoe size>": "<shoe size>"},

		WrongPassword: submit(url.Values{"user": {"alice"}, "password": {"guessed"}}, "Sign in"),
	}
}
