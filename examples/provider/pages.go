package main

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"regexp"
	"strings"

	"github.com/usher-auth/usher/authorize"
)

//go:embed pages
var pageFiles embed.FS

// style is inlined, so that a page needs no second request.
var style = mustRead("pages/style.css")

var pages = map[string]*template.Template{
	"login":    parsePage("login"),
	"accounts": parsePage("accounts"),
	"consent":  parsePage("consent"),
	"logout":   parsePage("logout"),
	"status":   parsePage("status"),
	"error":    parsePage("error"),
	"refused":  parsePage("refused"),
	"explain":  parsePage("explain"),
	"demo":     parsePage("demo"),
}

func mustRead(name string) string {
	text, err := pageFiles.ReadFile(name)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// parsePage puts the page into the frame of all pages.
func parsePage(name string) *template.Template {
	functions := template.FuncMap{
		"style":      func() template.CSS { return template.CSS(style) },
		"sectionURL": sectionURL,
		"to":         to,
	}
	frame := template.New("frame").Funcs(functions)
	return template.Must(frame.Parse(mustRead("pages/frame.html") + mustRead("pages/"+name+".html")))
}

// policy has no form-action: Chromium applies it to all redirects that follow a form, so
// it would block the response to the client.
var policy = func() string {
	sum := sha256.Sum256([]byte(style))
	source := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	return "default-src 'none'; img-src data:; style-src " + source + "; frame-ancestors 'none'; base-uri 'none'"
}()

// frame is the part that all pages have, around the content of one page.
type frame struct {
	Host string // where the user is
	Path string // before every link
	Page any
}

// show writes a whole page or an error.
func (s *server) show(w http.ResponseWriter, status int, name string, page any) {
	var body bytes.Buffer
	if err := pages[name].Execute(&body, frame{Host: s.host(), Path: s.path, Page: page}); err != nil {
		s.log.Error("a page cannot be written", "page", name, "error", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Cache-Control", "no-store")
	header.Set("Pragma", "no-cache")
	// With no-referrer, browsers would send "Origin: null" with the form. For a form that is
	// sent to a client, the endpoint has set strict-origin.
	if header.Get("Referrer-Policy") != "strict-origin" {
		header.Set("Referrer-Policy", "same-origin")
	}
	w.WriteHeader(status)
	w.Write(body.Bytes())
}

// showError is the endpoint's error page.
func (s *server) showError(w http.ResponseWriter, _ *http.Request, p authorize.PageError) {
	s.show(w, p.Status, "error", p)
}

func (s *server) showRefusal(w http.ResponseWriter, status int, page refusal) {
	s.show(w, status, "refused", page)
}

// to writes an attribute with the redirect URI of a client, which the endpoint has checked.
// The template would refuse the URI of an app, such as cursor://callback.
func to(attribute, url string) template.HTMLAttr {
	return template.HTMLAttr(attribute + `="` + template.HTMLEscapeString(url) + `"`)
}

// openIDAnchors are the names of the sections in OpenID Connect Core 1.0.
var openIDAnchors = map[string]string{
	"2": "#IDToken", "3.1.2.1": "#AuthRequest", "3.1.2.3": "#Authenticates", "3.1.2.4": "#Consent",
	"5.5": "#ClaimsParameter", "6": "#JWTRequests",
}

var rfcSection = regexp.MustCompile(`^RFC (\d+) §([A-Z]?)([\d.]*)$`)

// sectionURL is the URL of a section, such as "RFC 6749 §3.1.1"; empty if unknown.
func sectionURL(section string) string {
	if m := rfcSection.FindStringSubmatch(section); m != nil {
		part := "section-"
		if m[2] != "" {
			part = "appendix-"
		}
		return "https://www.rfc-editor.org/rfc/rfc" + m[1] + "#" + part + m[2] + m[3]
	}
	switch document, number, _ := strings.Cut(section, " §"); document {
	case "OpenID Connect Core 1.0":
		return "https://openid.net/specs/openid-connect-core-1_0.html" + openIDAnchors[number]
	case "OAuth 2.0 Multiple Response Types":
		return "https://openid.net/specs/oauth-v2-multiple-response-types-1_0.html"
	}
	return ""
}
