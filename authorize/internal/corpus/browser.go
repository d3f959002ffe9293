package corpus

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"

	"github.com/usher-auth/usher/session"
)

// browser keeps cookies, and who its user is.
type browser struct {
	cookies map[string]string
	session string // the name of the session that its cookie leads to, or ""
}

func newBrowser() *browser { return &browser{cookies: map[string]string{}} }

// header returns the Cookie header, with more cookies after its own.
func (b *browser) header(more string) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(b.cookies)) {
		pairs = append(pairs, name+"="+b.cookies[name])
	}
	if more != "" {
		pairs = append(pairs, more)
	}
	return strings.Join(pairs, "; ")
}

// keep takes the cookies of an answer. The browser sees the endpoint over https, and
// refuses a cookie whose __Host- prefix promises what its attributes do not hold.
func (b *browser) keep(header http.Header) error {
	for _, line := range header["Set-Cookie"] {
		c, err := http.ParseSetCookie(line)
		if err != nil {
			return fmt.Errorf("Set-Cookie: %w", err)
		}
		switch {
		case strings.HasPrefix(c.Name, "__Host-") && (!c.Secure || c.Path != "/" || c.Domain != ""):
			return fmt.Errorf("a browser does not take the cookie %s", c.Name)
		case c.MaxAge < 0:
			delete(b.cookies, c.Name)
		default:
			b.cookies[c.Name] = c.Value
		}
	}
	return nil
}

// beSignedIn makes the browser carry the session: the one that the user of this name
// has signed in for during the setup, or else that of the model.
func (w *world) beSignedIn(name string) error {
	if name == "none" || name == "" {
		w.browser.session = ""
		delete(w.browser.cookies, sessionCookie)
		return nil
	}
	if w.browser.session == name {
		return nil
	}
	value, err := w.cookieOf(name)
	if err != nil {
		return err
	}
	w.browser.session = name
	w.browser.cookies[sessionCookie] = value
	return nil
}

// cookieOf returns the value of a cookie that leads to the session, as a browser
// has it that signed in long ago. The ages count from the beginning of the case.
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
	b := newBrowser()
	if err := w.signIn(b, s); err != nil {
		return "", err
	}
	value := b.cookies[sessionCookie]
	if model.revoked {
		if err := w.cookies.SignOut(httptest.NewRecorder(), b.visit()); err != nil {
			return "", err
		}
	}
	return value, nil
}

// sessionCookie is what {COOKIE_NAME} stands for.
const sessionCookie = "__Host-usher-session"

// signIn is what the host's login page does once the password was right.
func (w *world) signIn(b *browser, s session.Session) error {
	rec := httptest.NewRecorder()
	if _, err := w.cookies.SignIn(rec, b.visit(), s); err != nil {
		return err
	}
	return b.keep(rec.Header())
}

// visit is a request to a page of the host.
func (b *browser) visit() *http.Request {
	r := httptest.NewRequest("GET", loginPage, nil)
	if header := b.header(""); header != "" {
		r.Header.Set("Cookie", header)
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

// visitors returns how many connections were opened since it was last called. It
// opens one itself: those in front of it in the queue are the visitors.
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
