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

// passwordACR is the level of a password, passwordAMR the method (RFC 8176 §2).
const (
	passwordACR = "1"
	passwordAMR = "pwd"
)

// maxForm is the largest form, in bytes.
const maxForm = 64 << 10

// loginPage is what login.html shows.
type loginPage struct {
	Client   string // empty without a request
	Why      string // a sentence for users who are already signed in
	Username string
	Wrong    bool
	Choose   bool   // the user may choose a signed-in account instead
	Req      string // sent back with the form
	Demo     []userConfig
}

// showLogin asks for user name and password. The endpoint sends users here with a request.
// They have to sign in even if they are already signed in.
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

// showLoginAlone is for users who come without a request.
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
		page.Why = "The application asks for a different account. You are signed in with another one."
	}
	return page
}

// signIn handles the form. It does not limit the number of attempts: a real provider does,
// for each user name and each address.
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

// passwordSession is the session after a correct password.
func passwordSession(username string) session.Session {
	return session.Session{Subject: username, ACR: passwordACR, AMR: []string{passwordAMR}}
}

// passwordIsRight takes the same time for an unknown user as for a wrong password. A real
// provider uses a slow hash, such as Argon2, for both.
func (s *server) passwordIsRight(username, password string) bool {
	u, exists := s.users[username] // if unknown, the hash is all zeros, like that of no password
	sum := sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(sum[:], u.passwordHash[:]) == 1 && exists
}

// statusPage is what status.html shows, logoutPage what logout.html shows.
type (
	statusPage struct {
		Subject, SignedOut string
		Try                string // the address of the demo, if there is one
		Explain            bool   // the page /explain exists
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

// carriesRequest reports whether a page or form belongs to a request.
func carriesRequest(r *http.Request) bool {
	return r.URL.Query().Has("req") || r.PostForm.Get("req") != ""
}

// readPageForm reads the form of a page into r.PostForm.
func readPageForm(w http.ResponseWriter, r *http.Request) error {
	if r.Body != nil { // nil if no http.Server called the handler
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
