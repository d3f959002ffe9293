package main

import (
	"embed"
	"html/template"
	"log"
	"net/http"

	"github.com/usher-auth/usher/authorize"
)

//go:embed pages
var files embed.FS

var pages = template.Must(template.ParseFS(files, "pages/*.html"))

func style(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "pages/style.css") }

// show writes a page, which may load only its style. The policy has no form-action: with it,
// Chromium would block the redirect to the client.
func show(w http.ResponseWriter, status int, page string, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy",
		"default-src 'none'; img-src data:; style-src 'self'; frame-ancestors 'none'; base-uri 'none'")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Referrer-Policy", "same-origin")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if err := pages.ExecuteTemplate(w, page, data); err != nil {
		log.Print(err)
	}
}

func showRefusal(w http.ResponseWriter, status int, page refusal) {
	show(w, status, "refused.html", page)
}

// showError is the endpoint's error page.
func showError(w http.ResponseWriter, _ *http.Request, p authorize.PageError) {
	show(w, p.Status, "error.html", p)
}
