package main

import (
	"net/http"
	"strings"
)

// Every example with pages has this file, copied on purpose like pages/style.css, so that
// each stands alone. A test of the house holds the copies equal.

// refusal is what refused.html says.
type refusal struct{ Title, Text string }

var refusals = map[int]refusal{
	http.StatusBadRequest: {
		"This form cannot be read",
		"It is longer than a form may be, or not whole. Go back and send it again.",
	},
	http.StatusForbidden: {
		"This form was not accepted",
		"Another website has sent it. If you did not mean to come here, close this page.",
	},
	http.StatusNotFound: {
		"There is no such page",
		"Look for a typing error in the address.",
	},
	http.StatusMethodNotAllowed: {
		"There is no page to show here",
		"Only programs and the forms of other pages send something to this address.",
	},
	http.StatusInternalServerError: {
		"Something went wrong",
		"Go back and try again.",
	},
}

// inPages calls show where h would refuse in bare text, as a mux does at an unknown address
// and http.CrossOriginProtection for a form of another site. What is JSON stays JSON.
func inPages(h http.Handler, show func(w http.ResponseWriter, status int, page refusal)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(&pageWriter{ResponseWriter: w, show: show}, r)
	})
}

type pageWriter struct {
	http.ResponseWriter
	show  func(w http.ResponseWriter, status int, page refusal)
	shown bool // in place of the text to come
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
	p.Header().Del("Content-Length") // that of the text
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
