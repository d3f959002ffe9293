package main

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"regexp"

	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
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

var pages = func() map[string]*template.Template {
	functions := template.FuncMap{"style": func() template.CSS { return template.CSS(style) }}
	all := map[string]*template.Template{}
	for _, name := range []string{
		"app", "desk", "error", "home", "login", "own-error", "own-login", "refused", "unknown",
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

// frame is the part that all pages have, around the content of one page.
type frame struct {
	Host string // where the user is; from the configuration
	Look string // the colours: of a tenant, or shared
	App  string // the application's address, for links
	Page any
}

// show writes a whole page or an error.
func (f frame) show(w http.ResponseWriter, status int, name string, page any) {
	var body bytes.Buffer
	f.Page = page
	if err := pages[name].Execute(&body, f); err != nil {
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

func (f frame) refuse(w http.ResponseWriter, status int, page refusal) {
	f.show(w, status, "refused", page)
}

// unknown is the page for an unknown host.
func unknown(app string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		frame{App: app}.show(w, http.StatusNotFound, "unknown", nil)
	})
}

// maxForm is the largest form, in bytes.
const maxForm = 64 << 10

// form handles a page with a form. Other sites cannot post the form: they could sign the
// user in as somebody else. The page finds the fields in r.PostForm.
func form(page http.HandlerFunc) http.Handler {
	read := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodPost {
			w.Header().Set("Allow", "GET, POST")
			http.Error(w, "GET and POST only.", http.StatusMethodNotAllowed)
			return
		}
		if r.Body != nil { // nil if no http.Server called the handler
			r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		}
		if err := r.ParseForm(); err != nil {
			http.Error(w, "The form cannot be read.", http.StatusBadRequest)
			return
		}
		page(w, r)
	})
	return http.NewCrossOriginProtection().Handler(read)
}

// errorPage is what error.html and own-error.html show.
type errorPage struct{ Code, Text, ID string }

var errorIDs = regexp.MustCompile(`^[A-Z2-7]{12}$`)

// reasons are texts for the most frequent reasons. For other errors, the text depends on the
// code.
var reasons = map[authorize.Reason]string{
	authorize.ReasonUnknownClient: "The application that you come from is unknown here.",
	authorize.ReasonRedirectURI:   "The application that you come from uses an address that is not registered.",
	authorize.ReasonExpired:       "This took too long, or the link is incomplete.",
	authorize.ReasonNoCookies:     "Your browser does not keep cookies for this site. Allow them, then start again.",
}

// readError reads the query that the endpoint sent to an error page. Anybody can make a link
// to this page, so it shows no text from the link, such as error_description.
func readError(r *http.Request) errorPage {
	query := r.URL.Query()
	page := errorPage{Text: "Something went wrong."}
	if code := oautherr.Code(query.Get("error")); code.Description() != "" {
		page.Code, page.Text = string(code), code.Description()
	}
	if text := reasons[authorize.Reason(query.Get("reason"))]; text != "" {
		page.Text = text
	}
	if id := query.Get("error_id"); errorIDs.MatchString(id) {
		page.ID = id
	}
	return page
}
