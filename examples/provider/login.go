package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/url"

	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
	"github.com/usher-auth/usher/session"
)

// passwordACR is the level that a password reaches, passwordAMR how (RFC 8176 §2).
const (
	passwordACR = "1"
	passwordAMR = "pwd"
)

// maxForm is the most that a form may have.
const maxForm = 64 << 10

// loginPage is what login.html shows.
type loginPage struct {
	Client   string // empty: nobody asked
	Why      string // a sentence for those who are signed in already
	Username string
	Wrong    bool
	Choose   bool   // an account that is signed in would do too
	Req      string // goes back with the form
	Demo     []userConfig
}

// showLogin asks for user name and password. Who comes here with a request has been
// sent by the endpoint and has to sign in, signed in already or not.
func (s *server) showLogin(w http.ResponseWriter, r *http.Request) {
	pending, ok := s.asked(w, r)
	switch {
	case !ok:
	case pending != nil:
		s.showLoginPage(w, r, http.StatusOK, loginPageFor(pending), pending)
	case r.URL.Query().Has("another"):
		s.showLoginPage(w, r, http.StatusOK, loginPage{}, nil)
	default:
		s.showLoginAlone(w, r)
	}
}

func (s *server) showLoginPage(
	w http.ResponseWriter, r *http.Request, status int, page loginPage, pending *authorize.Pending,
) {
	page.Demo = s.demo
	var err error
	if page.Choose, err = s.canChoose(r, pending); err != nil {
		s.endpoint.ShowError(w, r, err)
		return
	}
	s.show(w, status, "login", page)
}

// showLoginAlone is for those who come of their own accord.
func (s *server) showLoginAlone(w http.ResponseWriter, r *http.Request) {
	current, err := s.sessions.Session(r)
	if err != nil {
		s.endpoint.ShowError(w, r, err)
		return
	}
	if current.SignedIn() {
		s.showStatus(w, r)
		return
	}
	s.showLoginPage(w, r, http.StatusOK, loginPage{}, nil)
}

func loginPageFor(pending *authorize.Pending) loginPage {
	page := loginPage{
		Client:   pending.Request.Client.DisplayName(),
		Username: pending.Request.LoginHint,
		Req:      pending.JWT,
	}
	if page.Username == "" {
		page.Username = pending.Request.Subject
	}
	switch pending.Reason {
	case authorize.ReasonPromptLogin:
		page.Why = "The application wants to be sure that it is you. Please sign in again."
	case authorize.ReasonMaxAge:
		page.Why = "You signed in a while ago. Please sign in again."
	case authorize.ReasonOtherUser:
		page.Why = "The application asks for another account than the one you are signed in with."
	}
	return page
}

// signIn takes the form. Sign-ins are not counted here: a real provider slows down
// whoever tries passwords, by user name and by address.
func (s *server) signIn(w http.ResponseWriter, r *http.Request) {
	pending, ok := s.asked(w, r)
	if !ok {
		return
	}
	page := loginPage{}
	if pending != nil {
		page = loginPageFor(pending)
		if r.PostForm.Get("decision") == "deny" {
			s.endpoint.Deny(w, r)
			return
		}
	}
	username := r.PostForm.Get("username")
	if !s.passwordIsRight(username, r.PostForm.Get("password")) {
		s.log.Warn("sign-in failed")
		page.Username, page.Wrong = username, true
		s.showLoginPage(w, r, http.StatusForbidden, page, pending)
		return
	}
	if _, err := s.sessions.SignIn(w, r, passwordSession(username)); err != nil {
		s.endpoint.ShowError(w, r, err)
		return
	}
	s.log.Info("signed in", "subject", username)
	s.goOn(w, r, pending)
}

// passwordSession is what a right password leads to.
func passwordSession(username string) session.Session {
	return session.Session{Subject: username, ACR: passwordACR, AMR: []string{passwordAMR}}
}

// passwordIsRight takes as long for a user who does not exist as for a wrong
// password. A real provider keeps a slow hash, such as Argon2, for both.
func (s *server) passwordIsRight(username, password string) bool {
	u, exists := s.users[username] // without one, the hash is all zeros, which no password has
	sum := sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(sum[:], u.passwordHash[:]) == 1 && exists
}

// statusPage is what status.html shows, logoutPage what logout.html does.
type (
	statusPage struct {
		Subject, SignedOut string
		Try                string // address to try something at, if there is any
		Explain            bool   // there is a page that explains requests
	}
	logoutPage struct{ Accounts []accountLine }
)

// showStatus says who is signed in.
func (s *server) showStatus(w http.ResponseWriter, r *http.Request) {
	current, err := s.sessions.Session(r)
	if err != nil {
		s.endpoint.ShowError(w, r, err)
		return
	}
	page := statusPage{Try: s.tryURL(), Explain: s.explain}
	if current.SignedIn() {
		page.Subject = current.Subject
	}
	s.show(w, http.StatusOK, "status", page)
}

// showLogout asks before it signs out, because any page can send a browser here.
func (s *server) showLogout(w http.ResponseWriter, r *http.Request) {
	accounts, err := s.accountsFor(r, nil)
	if err != nil {
		s.endpoint.ShowError(w, r, err)
		return
	}
	if len(accounts) == 0 {
		s.showStatus(w, r)
		return
	}
	s.show(w, http.StatusOK, "logout", logoutPage{Accounts: accounts})
}

func (s *server) signOut(w http.ResponseWriter, r *http.Request) {
	if err := s.sessions.SignOut(w, r); err != nil {
		s.endpoint.ShowError(w, r, err)
		return
	}
	s.show(w, http.StatusOK, "status", statusPage{SignedOut: "You are signed out.", Try: s.tryURL(),
		Explain: s.explain})
}

// carriesRequest tells a form that belongs to a request from one that does not.
func carriesRequest(r *http.Request) bool {
	return r.URL.Query().Has("req") || r.PostForm.Get("req") != ""
}

// readPageForm reads the form of a page into r.PostForm.
func readPageForm(w http.ResponseWriter, r *http.Request) error {
	if r.Body != nil { // there is none without a server in front
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	}
	if err := r.ParseForm(); err != nil {
		return oautherr.InvalidRequest.Because(err)
	}
	return nil
}

// redirect goes to a page of the provider itself.
func (s *server) redirect(w http.ResponseWriter, r *http.Request, page string) {
	http.Redirect(w, r, s.origin+s.path+page, http.StatusSeeOther)
}

// host is what the user sees in the address bar.
func (s *server) host() string {
	u, err := url.Parse(s.origin)
	if err != nil {
		return s.origin
	}
	return u.Host
}
