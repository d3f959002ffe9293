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

// style is inlined, so that a page needs no second request.
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

// policy has no form-action: Chromium applies it to all redirects that follow a form, so
// it would block the response to the client.
var policy = func() string {
	sum := sha256.Sum256([]byte(style))
	source := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	return "default-src 'none'; img-src data:; style-src " + source + "; frame-ancestors 'none'; base-uri 'none'"
}()

// maxForm is the largest form, in bytes.
const maxForm = 64 << 10

// handler mounts everything, including the two clients, each on its host.
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

// hostname is the host of a site in a pattern of the mux.
func hostname(site string) string {
	u, err := url.Parse(site)
	if err != nil {
		return site
	}
	return u.Hostname()
}

// mountPages mounts the pages of the account. Other sites cannot post to them: they could
// sign the user in as somebody else, or give consent for the user.
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
		if r.Body != nil { // nil if no http.Server called the handler
			r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		}
		if err := r.ParseForm(); err != nil {
			http.Error(w, "The form cannot be read.", http.StatusBadRequest)
			return
		}
		page(w, r)
	}
}

// frame is the part that all pages have, around the content of one page.
type frame struct {
	Host string // where the user is
	Page any
}

func (s *server) show(w http.ResponseWriter, status int, name string, page any) {
	show(w, s.host(), status, name, page)
}

// host is the host of the account pages.
func (s *server) host() string {
	_, host, _ := strings.Cut(s.issuer, "://")
	return host
}

// refuse shows pages in place of errors in plain text, at one of the sites.
func refuse(host string) func(http.ResponseWriter, int, refusal) {
	return func(w http.ResponseWriter, status int, page refusal) { show(w, host, status, "refused", page) }
}

// showError is the endpoint's error page. It has no link to the client: all clients here are
// vetted, so they get every error that can be sent to them.
func (s *server) showError(w http.ResponseWriter, _ *http.Request, p authorize.PageError) {
	s.show(w, p.Status, "error", p)
}

// show writes a whole page or an error.
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
	// With no-referrer, browsers would send "Origin: null" with the form.
	header.Set("Referrer-Policy", "same-origin")
	w.WriteHeader(status)
	w.Write(body.Bytes())
}
