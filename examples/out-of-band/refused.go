package main

import (
	"net/http"
	"strings"
)

// Every example with pages has a copy of this file and of pages/style.css, so that it
// needs no other example. A test in authorize/internal/house keeps the copies equal.

// refusal is the content of refused.html.
type refusal struct{ Title, Text string }

var refusals = map[int]refusal{
	http.StatusBadRequest: {
		"This form cannot be read",
		"It is too long or incomplete. Go back and send it again.",
	},
	http.StatusForbidden: {
		"This form was not accepted",
		"Another website sent it. If you did not want to come here, close this page.",
	},
	http.StatusNotFound: {
		"There is no such page",
		"Check the address for typing errors.",
	},
	http.StatusMethodNotAllowed: {
		"There is no page to show here",
		"This address is only for programs and for forms on other pages.",
	},
	http.StatusInternalServerError: {
		"Something went wrong",
		"Go back and try again.",
	},
}

// inPages calls show in place of an error in plain text, as a mux sends it for an unknown
// address and http.CrossOriginProtection for a form of another site. JSON stays as it is.
func inPages(h http.Handler, show func(w http.ResponseWriter, status int, page refusal)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(&pageWriter{ResponseWriter: w, show: show}, r)
	})
}

type pageWriter struct {
	http.ResponseWriter
	show  func(w http.ResponseWriter, status int, page refusal)
	shown bool // so the text that follows is dropped
}

func (p *pageWriter) WriteHeader(status int) {
	if status < 400 || !strings.HasPrefix(p.Header().Get("Content-Type"), "text/plain") {
		p.ResponseWriter.WriteHeader(status)
		return
	}
	page, known := refusals[status]
	if !known {
		page = refusals[http.StatusInternalServerError]
	}
	p.shown = true
	p.Header().Del("Content-Length") // of the text
	p.show(p.ResponseWriter, status, page)
}

func (p *pageWriter) Write(text []byte) (int, error) {
	if p.shown {
		return len(text), nil
	}
	return p.ResponseWriter.Write(text)
}

// Unwrap is for http.ResponseController.
func (p *pageWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }
