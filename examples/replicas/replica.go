package main

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// task is the configuration of a replica. It comes on standard input, because everybody on
// the machine could read a command line.
type task struct {
	Number int    // 1, 2 or 3
	Issuer string // the front's address, the same for all
	Keys   keyFile
	places
}

// client is the client on the front's page. It authenticates with clientSecret at the token
// endpoint. Its redirect URI is on loopback, so the user is asked for consent every time.
func (t task) client() authorize.Client {
	return authorize.Client{
		ID:           "demo",
		Name:         "The demo application",
		RedirectURIs: []string{t.Issuer + "/callback"},
		Scopes:       []string{"openid", "profile"},
	}
}

const clientSecret = "demo-secret"

// replica is one of several processes of a provider. When it dies, no data is lost.
type replica struct {
	task
	stores
	sessions *session.Cookies

	mu       sync.Mutex
	seen     os.FileInfo // of the file with the keys of endpoint
	endpoint *authorize.Handler
}

func newReplica(ctx context.Context, t task) (*replica, error) {
	shared, err := t.open(ctx, t.client())
	if err != nil {
		return nil, err
	}
	sessions, err := session.NewCookies(session.Config{
		Store:    shared.sessions,
		Insecure: true, // for plain http on this machine
		Name:     "replicas",
		Logger:   slog.Default(),
	})
	if err != nil {
		return nil, err
	}
	r := &replica{task: t, stores: shared, sessions: sessions}
	return r, r.renew()
}

// config is the same for all replicas.
func (r *replica) config(keys []key) authorize.Config {
	return authorize.Config{
		Issuer:    r.Issuer,
		Clients:   r.clients,
		Codes:     r.codes,
		Sessions:  r.sessions,
		Login:     authorize.LoginURL("/login"),
		Consent:   &authorize.Consent{Page: "/consent", Store: r.consents},
		Keys:      forConfig(keys),
		ErrorPage: showError,
		Logger: slog.New(slog.NewTextHandler(os.Stderr,
			&slog.HandlerOptions{Level: slog.LevelError})), // failures only
	}
}

// renew reads the keys if the file has changed, and makes an endpoint with them. HTTP requests
// that have begun end at the old endpoint.
func (r *replica) renew() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	info, err := os.Stat(string(r.Keys))
	if err != nil {
		return err
	}
	if r.seen != nil && os.SameFile(info, r.seen) && info.ModTime().Equal(r.seen.ModTime()) {
		return nil
	}
	keys, err := r.Keys.read()
	if err != nil {
		return err
	}
	endpoint, err := authorize.New(r.config(keys))
	if err != nil {
		return err
	}
	r.seen, r.endpoint = info, endpoint
	return nil
}

// current returns the endpoint with the current keys. If they cannot be read, it has the last
// keys that were read.
func (r *replica) current() *authorize.Handler {
	if err := r.renew(); err != nil {
		log.Printf("replica %d keeps its old keys: %v", r.Number, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.endpoint
}

// with calls a page with the current endpoint.
func (r *replica) with(page func(*authorize.Handler, http.ResponseWriter, *http.Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { page(r.current(), w, req) })
}

func (r *replica) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/authorize", r.with((*authorize.Handler).ServeHTTP))
	forms := http.NewCrossOriginProtection() // other sites must not post these
	mux.Handle("/login", forms.Handler(r.with(r.login)))
	mux.Handle("/consent", forms.Handler(r.with(r.consent)))
	mux.Handle("POST /sign-out", forms.Handler(r.with(r.signOut)))
	mux.Handle("POST /token", r.with(r.token))
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("X-Replica", strconv.Itoa(r.Number))
		mux.ServeHTTP(w, req)
	})
}

// page is the content of the pages of a replica.
type page struct {
	*authorize.Request      // the waiting request, nil without one
	Wrong              bool // the user name or the password
	Number, Process    int
}

func (r *replica) show(w http.ResponseWriter, name string, request *authorize.Request, wrong bool) {
	show(w, http.StatusOK, name, page{request, wrong, r.Number, os.Getpid()})
}

func (r *replica) login(endpoint *authorize.Handler, w http.ResponseWriter, req *http.Request) {
	user := req.PostFormValue("username")
	if (user != "alice" && user != "bob") || req.PostFormValue("password") != user+"-password" {
		r.show(w, "login.html", nil, req.Method == http.MethodPost)
	} else if _, err := r.sessions.SignIn(w, req, session.Session{Subject: user}); err != nil {
		endpoint.ShowError(w, req, err)
	} else if !endpoint.Resume(w, req) {
		http.Redirect(w, req, "/", http.StatusSeeOther) // an ordinary sign-in, without a client
	}
}

func (r *replica) consent(endpoint *authorize.Handler, w http.ResponseWriter, req *http.Request) {
	pending, err := endpoint.Pending(req)
	if err != nil {
		endpoint.ShowError(w, req, err)
		return
	}
	switch decision := req.PostFormValue("decision"); {
	case decision == "deny":
		endpoint.Deny(w, req)
	case pending.Subject == "":
		endpoint.Resume(w, req) // another user is signed in: the endpoint asks that user
	case decision == "allow":
		endpoint.Grant(w, req, authorize.Granted{Scopes: pending.Request.Scopes})
	default:
		r.show(w, "consent.html", pending.Request, false)
	}
}

func (r *replica) signOut(endpoint *authorize.Handler, w http.ResponseWriter, req *http.Request) {
	if err := r.sessions.SignOut(w, req); err != nil {
		endpoint.ShowError(w, req, err)
		return
	}
	http.Redirect(w, req, "/", http.StatusSeeOther)
}

// tokenAnswer has the user of the code, or an error (RFC 6749 §5.2). A program with an API
// would return tokens.
type tokenAnswer struct {
	Subject     string        `json:"sub,omitempty"`
	Scopes      []string      `json:"scopes,omitempty"`
	Error       oautherr.Code `json:"error,omitempty"`
	Description string        `json:"error_description,omitempty"`
}

func (r *replica) token(endpoint *authorize.Handler, w http.ResponseWriter, req *http.Request) {
	answer, status := redeem(endpoint, req)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(answer)
}

func redeem(endpoint *authorize.Handler, req *http.Request) (tokenAnswer, int) {
	id, secret, _ := req.BasicAuth()
	if id != "demo" || subtle.ConstantTimeCompare([]byte(secret), []byte(clientSecret)) != 1 {
		refused := tokenAnswer{Error: oautherr.InvalidClient, Description: oautherr.InvalidClient.Description()}
		return refused, http.StatusUnauthorized
	}
	if req.PostFormValue("grant_type") != "authorization_code" {
		return tokenAnswer{Error: "unsupported_grant_type"}, http.StatusBadRequest
	}
	code, err := endpoint.Redeem(req.Context(), authorize.Redemption{
		Code:        req.PostFormValue("code"),
		ClientID:    id,
		RedirectURI: req.PostFormValue("redirect_uri"),
		Verifier:    req.PostFormValue("code_verifier"),
	})
	var replay *authorize.ReplayError
	switch {
	case err == nil:
		return tokenAnswer{Subject: code.Subject, Scopes: code.Scopes}, http.StatusOK
	case errors.As(err, &replay): // a real program revokes the tokens of replay.Code here
		return tokenAnswer{Error: oautherr.InvalidGrant, Description: usedBefore}, http.StatusBadRequest
	case errors.Is(err, oautherr.InvalidGrant):
		return tokenAnswer{Error: oautherr.InvalidGrant}, http.StatusBadRequest
	}
	log.Print(err) // a store failed
	return tokenAnswer{Error: oautherr.Of(err).Code}, http.StatusServiceUnavailable
}

// usedBefore is the text for a replay. A client that repeats a redemption after its response
// got lost gets it too, because it looks like a thief. It then starts a new flow.
const usedBefore = "The code was used before. Ask for authorization again."

// serveReplica runs a replica.
func serveReplica(in io.Reader, out io.Writer) error {
	var t task
	if err := json.NewDecoder(in).Decode(&t); err != nil {
		return fmt.Errorf("the task cannot be read: %w", err)
	}
	log.SetPrefix(fmt.Sprintf("replica %d: ", t.Number))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r, err := newReplica(ctx, t)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, listener.Addr()); err != nil {
		return err
	}
	go func() { // standard input ends with the front, even if that crashes
		io.Copy(io.Discard, in)
		os.Exit(0)
	}()
	return (&http.Server{Handler: r.handler(), ReadTimeout: 10 * time.Second}).Serve(listener)
}
