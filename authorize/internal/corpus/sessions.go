package corpus

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"

	"github.com/usher-auth/usher/authorize/authorizetest"
	"github.com/usher-auth/usher/session"
)

// cookieHeader returns the Cookie header of a request to the endpoint, with more cookies
// after the browser's own.
func (w *world) cookieHeader(more string) string {
	var pairs []string
	for _, c := range w.browser.Cookies(endpointURL) {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	if more != "" {
		pairs = append(pairs, more)
	}
	return strings.Join(pairs, "; ")
}

// keep stores the cookies of an answer in the browser. It is an error if the browser does not
// accept one.
func keep(b *authorizetest.Browser, header http.Header) error {
	for _, line := range header["Set-Cookie"] {
		c, err := http.ParseSetCookie(line)
		if err != nil {
			return fmt.Errorf("Set-Cookie: %w", err)
		}
		if err := b.SetCookies(endpointURL, c); err != nil {
			return err
		}
		kept := func(k *http.Cookie) bool { return k.Name == c.Name && k.Value == c.Value }
		if c.MaxAge >= 0 && !slices.ContainsFunc(b.Cookies(endpointURL), kept) {
			return fmt.Errorf("a browser does not accept the cookie %s", c.Name)
		}
	}
	return nil
}

// setCookie gives the browser a cookie for all of the host.
func setCookie(b *authorizetest.Browser, c *http.Cookie) error {
	c.Path, c.Secure, c.HttpOnly = "/", true, true
	return b.SetCookies(endpointURL, c)
}

// beSignedIn gives the browser the cookie of the named session. It keeps the cookie of a
// sign-in during the setup. Otherwise it makes the session as the model describes it.
func (w *world) beSignedIn(name string) error {
	if name == "none" || name == "" {
		w.signedIn = ""
		return setCookie(w.browser, &http.Cookie{Name: sessionCookie, MaxAge: -1})
	}
	if w.signedIn == name {
		return nil
	}
	value, err := w.cookieOf(name)
	if err != nil {
		return err
	}
	w.signedIn = name
	return setCookie(w.browser, &http.Cookie{Name: sessionCookie, Value: value})
}

// cookieOf signs in with another browser and returns the value of its session cookie. The
// ages of sessions count from the beginning of the case.
func (w *world) cookieOf(name string) (string, error) {
	model, ok := modelSessions[name]
	if !ok {
		return "", fmt.Errorf("the model has no session %q", name)
	}
	s := session.Session{
		Subject:             model.subject,
		AuthTime:            modelStart.Add(-model.age),
		SecondFactorPending: model.half,
		AMR:                 []string{"pwd"},
	}
	if model.expired {
		w.clock.advance(-model.age)
		defer w.clock.advance(model.age)
	}
	b := authorizetest.NewBrowser()
	if err := w.signIn(b, s); err != nil {
		return "", err
	}
	if model.revoked {
		if err := w.cookies.SignOut(httptest.NewRecorder(), visit(b)); err != nil {
			return "", err
		}
	}
	return b.Cookies(loginPage)[0].Value, nil
}

// sessionCookie is what {COOKIE_NAME} stands for.
const sessionCookie = "__Host-usher-session"

// signIn does what the host's login page does after a correct password.
func (w *world) signIn(b *authorizetest.Browser, s session.Session) error {
	rec := httptest.NewRecorder()
	if _, err := w.cookies.SignIn(rec, visit(b), s); err != nil {
		return err
	}
	return keep(b, rec.Header())
}

// visit is a request to a page of the host.
func visit(b *authorizetest.Browser) *http.Request {
	r := httptest.NewRequest("GET", loginPage, nil)
	for _, c := range b.Cookies(loginPage) {
		r.AddCookie(c)
	}
	return r
}

// canary is a server that must never be called.
type canary struct {
	listener net.Listener
	callers  chan string // in the order of their calls
}

func (w *world) canaryPort() (string, error) {
	if w.canary == nil {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		w.canary = &canary{listener, make(chan string, 100)}
		go w.canary.accept()
	}
	_, port, err := net.SplitHostPort(w.canary.listener.Addr().String())
	return port, err
}

func (c *canary) accept() {
	defer close(c.callers)
	for {
		conn, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.callers <- conn.RemoteAddr().String()
		conn.Close()
	}
}

// visitors returns how many connections were opened since its last call. It opens one
// itself: the connections before this one in the queue are the visitors.
func (c *canary) visitors() (int, error) {
	own, err := net.Dial("tcp", c.listener.Addr().String())
	if err != nil {
		return 0, err
	}
	defer own.Close()
	n := 0
	for caller := range c.callers {
		if caller == own.LocalAddr().String() {
			return n, nil
		}
		n++
	}
	return 0, errors.New("the canary is gone")
}

func (c *canary) close() { c.listener.Close() }
