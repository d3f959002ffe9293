package main

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
	"strings"

	"github.com/usher-auth/usher/authorize"
)

//go:embed pages
var files embed.FS

// style is inlined, so that a page needs nothing else to look as it should.
var style = func() string {
	text, err := files.ReadFile("pages/style.css")
	if err != nil {
		panic(err)
	}
	return string(text)
}()

var functions = template.FuncMap{"style": func() template.CSS { return template.CSS(style) }}

var pages = func() map[string]*template.Template {
	all := map[string]*template.Template{}
	for _, name := range []string{
		"login", "register", "consent", "edit-account", "newsletters", "home", "client", "error", "unknown", "refused",
	} {
		all[name] = template.Must(template.New("frame.html").Funcs(functions).
			ParseFS(files, "pages/frame.html", "pages/"+name+".html"))
	}
	return all
}()

// policy has no form-action: Chromium applies it to the whole chain of redirects
// that follows a form, and so would stop the answer on its way to the client.
var policy = func() string {
	sum := sha256.Sum256([]byte(style))
	source := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	return "default-src 'none'; img-src data:; style-src " + source + "; frame-ancestors 'none'; base-uri 'none'"
}()

// maxForm is the most that a form may have.
const maxForm = 64 << 10

// handler mounts everything, the two clients included, each under its host.
func (s *server) handler() (http.Handler, error) {
	var err error
	if s.endpoint, err = authorize.New(s.config()); err != nil {
		return nil, err
	}
	mux, own := http.NewServeMux(), http.NewServeMux()
	for _, c := range s.clients {
		mux.Handle(hostname(c.url)+"/", inPages(c, refuse(hostname(c.url))))
	}
	own.Handle("/oauth2/authorize", s.takeTickets(s.endpoint))
	s.mountPages(own)
	mux.Handle(hostname(s.issuer)+"/", inPages(own, refuse(s.host())))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		show(w, "", http.StatusNotFound, "unknown", s.issuer)
	})
	return mux, nil
}

// hostname is the name under which the mux finds a site.
func hostname(site string) string {
	u, err := url.Parse(site)
	if err != nil {
		return site
	}
	return u.Hostname()
}

// mountPages mounts the pages of the account. Another site cannot post to them: it
// could sign the user in as somebody else, or agree in the user's name.
func (s *server) mountPages(mux *http.ServeMux) {
	protection := http.NewCrossOriginProtection()
	mount := func(pattern string, page http.HandlerFunc) {
		mux.Handle(pattern, protection.Handler(readForm(page)))
	}
	both := func(route string, page http.HandlerFunc) {
		mount("GET "+route, page)
		mount("POST "+route, page)
	}
	both("/{$}", s.home)
	both("/login", s.login)
	both("/register", s.register)
	both("/consent", s.consent)
	for _, m := range s.methods {
		both("/"+m.name, m.page)
	}
	mount("POST /logout", s.logout)
	mount("GET /handover", s.nameBrowser)
	mount("POST /handover", s.makeTicket)
}

// readForm reads the form of a page into r.Form and r.PostForm.
func readForm(page http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil { // there is none without a server in front
			r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		}
		if err := r.ParseForm(); err != nil {
			http.Error(w, "The form cannot be read.", http.StatusBadRequest)
			return
		}
		page(w, r)
	}
}

// frame is what every page shows around its own content.
type frame struct {
	Host string // where the user is
	Page any
}

func (s *server) show(w http.ResponseWriter, status int, name string, page any) {
	show(w, s.host(), status, name, page)
}

// host is that of the account pages.
func (s *server) host() string {
	_, host, _ := strings.Cut(s.issuer, "://")
	return host
}

// refuse shows pages in place of bare text at one of the sites.
func refuse(host string) func(http.ResponseWriter, int, refusal) {
	return func(w http.ResponseWriter, status int, page refusal) { show(w, host, status, "refused", page) }
}

// showError is the endpoint's error page. There is no way back on it: all clients here
// are vetted, so what can be told to one of them is.
func (s *server) showError(w http.ResponseWriter, _ *http.Request, p authorize.PageError) {
	s.show(w, p.Status, "error", p)
}

// show writes a page, whole or not at all.
func show(w http.ResponseWriter, host string, status int, name string, page any) {
	var body bytes.Buffer
	if err := pages[name].Execute(&body, frame{Host: host, Page: page}); err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Cache-Control", "no-store")
	// Not no-referrer: browsers would then send "Origin: null" with the form.
	header.Set("Referrer-Policy", "same-origin")
	w.WriteHeader(status)
	w.Write(body.Bytes())
}
