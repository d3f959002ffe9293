package main

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"strings"
)

//go:embed pages
var files embed.FS

var pages = func() map[string]*template.Template {
	all := map[string]*template.Template{}
	for _, name := range []string{"client", "login", "consent", "error", "refused"} {
		all[name] = template.Must(template.ParseFS(files, "pages/frame.html", "pages/"+name+".html"))
	}
	return all
}()

func file(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "pages/"+name) }
}

// frame is the part that all pages have, around the content of one page.
type frame struct {
	Host string // where the user is
	Page any
}

func (s *server) show(w http.ResponseWriter, status int, name string, page any) {
	show(w, s.base, status, name, page)
}

// showClient shows the page of the client, which is on an origin of its own.
func (s *server) showClient(w http.ResponseWriter) {
	page := struct {
		Issuer   string
		Required []string
	}{s.base, required}
	showAt(w, s.app, s.base, http.StatusOK, "client", page)
}

// refuse shows pages in place of errors in plain text, at one of the two origins.
func (s *server) refuse(origin string) func(http.ResponseWriter, int, refusal) {
	return func(w http.ResponseWriter, status int, page refusal) {
		showAt(w, origin, s.base, status, "refused", page)
	}
}

func show(w http.ResponseWriter, base string, status int, name string, page any) {
	showAt(w, base, base, status, name, page)
}

// showAt writes a whole page or an error. A page may load only its own style and script,
// and call only the server. The policy has no form-action: with it, Chromium would block
// the redirect to the client.
func showAt(w http.ResponseWriter, origin, server string, status int, name string, page any) {
	var body bytes.Buffer
	if err := pages[name].Execute(&body, frame{strings.TrimPrefix(origin, "http://"), page}); err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", "default-src 'none'; img-src data:; script-src 'self'; "+
		"style-src 'self'; connect-src "+server+"; frame-ancestors 'none'; base-uri 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(body.Bytes())
}
