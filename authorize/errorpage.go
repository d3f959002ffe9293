package authorize

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"html/template"
	"net/http"
	"strings"

	"github.com/usher-auth/usher/authorize/internal/destination"
	"github.com/usher-auth/usher/authorize/internal/uri"
	oautherr "github.com/usher-auth/usher/errors"
)

// PageError is the argument of [Config].ErrorPage: an error for the user, because it cannot
// be sent to the client. Escape all strings except Reason, Code and ErrorID. Give
// Return.URL to html/template as a [template.URL]: it is checked, and of a string with the
// scheme of an app, such as com.example.wiki:/callback, the template makes #ZgotmplZ.
type PageError struct {
	// Status is the HTTP status: 400 for a wrong request or an unknown client; 405, 413,
	// 414 or 415 for a request that cannot be read; 503 if a store failed or the client
	// cannot be reached (see [ErrClientUnreachable]). If the error says when to try again,
	// the header Retry-After is set already.
	Status int

	// Reason says what is wrong. The set is closed, so that a page can choose its text by
	// it, in any language. It is empty if Code says everything: for an invalid request of
	// an unvetted client, or an error of the host's own given to [Handler.ShowError].
	Reason Reason

	// Code is the error code, Description a sentence in English.
	Code        oautherr.Code
	Description string

	// ErrorID is in the log line of this error too.
	ErrorID string

	// ClientID and ClientName are those of the stored client, if it is known. ClientName is
	// the ID if the client has no name.
	ClientID   string
	ClientName string

	// UILocales are the languages that the request asks for, best first, if they can be
	// read. They are set for an unknown client or an expired request too.
	UILocales []string

	// OutOfBand is true if the request names [Client].OutOfBand as its redirect URI. Then a
	// program reads the response, so it should be JSON, as [ErrorJSON] writes it.
	OutOfBand bool

	// Return is set if the user may choose to go to the client: if the client is unvetted
	// and its error was not sent there at once, if the request has expired, or if the user
	// refused it in a browser that has no cookie for it. In the last two cases the client
	// gets access_denied. Nil otherwise.
	Return *Return
}

// Return is the way to a client: a link to URL or, if Form is true, a form that posts
// Fields to URL. For the form the header Referrer-Policy is strict-origin: with no-referrer
// the client would see "Origin: null" and could refuse the form as forged. Vetted is false
// for a client that is Unvetted.
type Return struct {
	URL    string
	Host   string
	Form   bool
	Fields []Field
	Vetted bool
}

// Field is a hidden field of a form.
type Field struct{ Name, Value string }

// newErrorID returns 60 random bits as 12 characters, which a person can read out.
func newErrorID() string { return rand.Text()[:12] }

// ShowError shows the error page for err, with its headers, log line and event. It is for
// the host's own pages, above all for an error of [Handler.Pending]. An error without a
// code, and [ErrClientUnreachable], are treated as errors of a store: see [ClientStore].
func (h *Handler) ShowError(w http.ResponseWriter, r *http.Request, err error) {
	if err == nil {
		err = errors.New("ShowError was called without an error")
	}
	code, known := oautherr.Code(""), (*reasoned)(nil)
	switch {
	case errors.As(err, &known):
	case !errors.As(err, &code), errors.Is(err, ErrClientUnreachable):
		err = clientFailed("a page", err)
	}
	refused := oautherr.Of(err)
	if refused.Code == oautherr.InvalidClient && refused.Description == "" {
		// The code's own description is for token endpoints; this one is for users.
		forUsers := *refused
		forUsers.Description = errClientIDUnknown.err.Description
		err = &forUsers
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.config.Timeout)
	defer cancel()
	v := &visit{http: r.WithContext(ctx), started: h.config.Now()}
	h.recognize(v, reqOf(r))
	v.refuse(err)
	h.respond(w, v)
}

// writeErrorPage shows the error to the user, in place or on the page at Config.ErrorURL.
func (h *Handler) writeErrorPage(w http.ResponseWriter, v *visit) {
	if h.config.ErrorURL != "" && v.mayBeElsewhere() {
		page := appendQuery(h.config.ErrorURL, "error", string(v.err.Code))
		page = appendQuery(page, "error_description", v.err.Text())
		if v.decision.Reason != "" {
			page = appendQuery(page, "reason", string(v.decision.Reason))
		}
		if locales := v.uiLocales(); locales != nil {
			page = appendQuery(page, "ui_locales", strings.Join(locales, " "))
		}
		redirect(w, v.http, appendQuery(page, "error_id", v.errorID))
		return
	}
	p := h.pageError(v)
	if p.Status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", "GET, POST")
	}
	if after := v.err.RetryAfterHeader(); after != "" {
		w.Header().Set("Retry-After", after)
	}
	setPageHeaders(w.Header(), "", false)
	if p.Return != nil && p.Return.Form {
		tellOrigin(w.Header())
	}
	switch {
	case h.config.ErrorPage != nil:
		h.config.ErrorPage(w, v.http, p)
	case p.OutOfBand:
		ErrorJSON(w, v.http, p)
	default:
		writePage(w, p.Status, errorTemplate, p)
	}
}

func (h *Handler) pageError(v *visit) PageError {
	p := PageError{
		Status: v.pageStatus(), Reason: v.decision.Reason, Code: v.err.Code, Description: v.err.Text(),
		ErrorID: v.errorID, OutOfBand: v.destination.OutOfBand(),
	}
	p.UILocales = v.uiLocales()
	if v.client == nil {
		return p
	}
	p.ClientID, p.ClientName = v.client.ID, v.client.DisplayName()
	to, params := v.back, theNo()
	if to.URI() == "" && !v.here {
		to, params = v.destination, v.response
	}
	way := to.Deliver(to.WithStateAndIssuer(h.config.Issuer, params...))
	if url := cmp.Or(way.URL, way.Link); url != "" {
		p.Return = &Return{URL: url, Host: uri.Host(url), Form: way.Form != nil, Vetted: !v.client.Unvetted}
		for _, f := range way.Form {
			p.Return.Fields = append(p.Return.Fields, Field(f))
		}
	}
	return p
}

// uiLocales are the languages of the request, as far as it could be read.
func (v *visit) uiLocales() []string {
	locales := v.params.get("ui_locales")
	if !destination.ValidText(locales, maxList) || tooManyValues(locales) {
		return nil
	}
	return list(locales)
}

// mayBeElsewhere reports whether the error may be shown at Config.ErrorURL. That page
// cannot have a proven link back to the client, and must not be the response to a prefetch.
func (v *visit) mayBeElsewhere() bool {
	return v.decision.Reason != ReasonPrefetch && v.destination.URI() == "" && v.pageStatus() == http.StatusBadRequest
}

// pageStatus is the HTTP status of the reason, or else of the error's code.
func (v *visit) pageStatus() int {
	switch {
	case v.status != 0:
		return v.status
	case v.err.Code == oautherr.ServerError || v.err.Code == oautherr.TemporarilyUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// writeFormPost writes a form that submits itself (OAuth 2.0 Form Post Response Mode). If
// its script is blocked, for example by a policy that a proxy adds, the user has a button.
// The response to prompt=none is silent: the client's page may show it in a frame, so it
// has no button that a user could be tricked into clicking.
func writeFormPost(w http.ResponseWriter, to destination.Delivery, silent bool) {
	setPageHeaders(w.Header(), "script-src '"+sourceHash(submitScript)+"'; ", silent)
	tellOrigin(w.Header())
	writePage(w, http.StatusOK, formPostTemplate, struct {
		URL    string
		Host   string
		Fields []destination.Param
		Silent bool
		Script template.JS
	}{
		URL:    to.URL,
		Host:   uri.Host(to.URL),
		Fields: to.Form,
		Silent: silent,
		Script: submitScript,
	})
}

// tellOrigin lets a form tell the client the origin that it comes from, and no more. With
// no-referrer a browser would send "Origin: null" (Fetch Standard, append a request Origin
// header), and protections against forged requests would refuse it.
func tellOrigin(header http.Header) { header.Set("Referrer-Policy", "strict-origin") }

// setPageHeaders sets the headers that pages need in addition to those of every response.
// There is no form-action: Chromium applies it to all redirects after a form and would
// silently block the response to the client.
func setPageHeaders(header http.Header, script string, framed bool) {
	ancestors := "frame-ancestors 'none'; "
	if framed {
		ancestors = ""
	} else {
		header.Set("X-Frame-Options", "DENY")
	}
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy",
		"default-src 'none'; "+script+"style-src '"+sourceHash(pageStyle)+"'; "+ancestors+"base-uri 'none'")
}

func sourceHash(source string) string {
	sum := sha256.Sum256([]byte(source))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// writePage renders the page before it writes, so that a page is written completely or not
// at all.
func writePage(w http.ResponseWriter, status int, page *template.Template, data any) {
	var body bytes.Buffer
	if err := page.Execute(&body, data); err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(status)
	w.Write(body.Bytes())
}

const pageStyle = `body{font:1rem/1.5 system-ui,sans-serif;color:#1c1e21;background:#f5f6f7;margin:0}` +
	`main{max-width:32rem;margin:12vh auto;padding:2rem;background:#fff;border:1px solid #dcdfe3;border-radius:.5rem}` +
	`h1{font-size:1.3rem;margin:0 0 1rem}small{color:#5f6670}button{font:inherit;padding:.5rem 1rem}` +
	`@media(max-width:36rem){main{margin:0;border:0;border-radius:0}}`

// submitScript hides the button for browsers without scripts, and submits the form.
const submitScript = `var manual=document.getElementById("manual");if(manual)manual.hidden=true;` +
	`document.forms[0].submit()`

//go:embed pages
var pageFiles embed.FS

var (
	errorTemplate    = pageTemplate("error.html")
	formPostTemplate = pageTemplate("formpost.html")
)

func pageTemplate(name string) *template.Template {
	return template.Must(template.New(name).Funcs(pageFunctions).ParseFS(pageFiles, "pages/head.html", "pages/"+name))
}

var pageFunctions = template.FuncMap{
	"style":  func() template.CSS { return pageStyle },
	"proven": proven,
}

// proven writes an attribute with a proven URL, and leaves its bytes unchanged.
// html/template would encode some of them, such as "'" and "(", even in a template.URL, and
// the client would see another URL than the registered one.
func proven(attribute, url string) template.HTMLAttr {
	return template.HTMLAttr(attribute + `="` + template.HTMLEscapeString(url) + `"`)
}
