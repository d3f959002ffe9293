package authorize

import (
	"bytes"
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

// PageError is an error that the user has to be told, because there is nowhere
// else to send it: what [Config].ErrorPage gets. All strings but Reason, Code
// and ErrorID must be escaped.
type PageError struct {
	// Status is the HTTP status: 400 for a wrong request or an unknown client, 405,
	// 413, 414 or 415 for one that cannot be read, 503 if a store failed or the client
	// cannot be reached (see [ErrClientUnreachable]). The header
	// Retry-After is set already where the error says when to come back.
	Status int

	// Reason says what is wrong. The set is closed: a page in another language is
	// chosen by it. It is empty where Code says all there is: an invalid request of
	// an unvetted client, or an error of the host's own given to [Handler.ShowError].
	Reason Reason

	// Code is the error code, Description a sentence in English.
	Code        oautherr.Code
	Description string

	// ErrorID is in the log line of this error too.
	ErrorID string

	// ClientID and ClientName are those of the application as it is stored, if it is
	// known: for a way back. ClientName is the ID where the client has no name.
	ClientID   string
	ClientName string

	// UILocales are the languages that the request asks for, best first, wherever that
	// can be read: of an unknown client or an expired request too.
	UILocales []string

	// OutOfBand is true where the request names [Client].OutOfBand as its redirect URI:
	// a program reads the answer, so it should be JSON, as [ErrorJSON] writes it.
	OutOfBand bool

	// Return is set where the user may choose to go to the client: it is one that
	// nobody has vetted, and its error was not sent there at once, or the request has
	// expired or was refused in a browser that has no cookie for it, and the client
	// can be told access_denied. Nil otherwise.
	Return *Return
}

// Return is the way to a client: a link to URL or, where Form is true, a form that
// posts Fields to URL. For the form the header Referrer-Policy is strict-origin: with
// no-referrer the client would see "Origin: null" and take it for forged. Vetted is false
// where nobody of the host has looked at the client.
type Return struct {
	URL    string
	Host   string
	Form   bool
	Fields []Field
	Vetted bool
}

// Field is a hidden field of a form.
type Field struct{ Name, Value string }

// newErrorID returns 60 random bits for a person to read out.
func newErrorID() string { return rand.Text()[:12] }

// ShowError shows the error page for err, with all that belongs to it: the headers,
// the log line and the event. It is for the host's own pages, above all for an error
// of [Handler.Pending]. An error without a code, and [ErrClientUnreachable], are those of a
// store: see [ClientStore] and its neighbours for what becomes of them.
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
		// The code's own description is for token endpoints, and here a user reads it.
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

// writeErrorPage tells the user, in place or on the host's own page.
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
	if way := to.Deliver(to.WithStateAndIssuer(h.config.Issuer, params...)); way.URL != "" {
		p.Return = &Return{
			URL: way.URL, Host: uri.Host(way.URL), Form: way.Form != nil, Vetted: !v.client.Unvetted,
		}
		for _, f := range way.Form {
			p.Return.Fields = append(p.Return.Fields, Field(f))
		}
	}
	return p
}

// uiLocales are the languages of whatever request could be read.
func (v *visit) uiLocales() []string {
	locales := v.params.get("ui_locales")
	if !destination.ValidText(locales, maxList) || tooManyValues(locales) {
		return nil
	}
	return list(locales)
}

// mayBeElsewhere reports whether the page may be the one at Config.ErrorURL, which cannot
// have a way back to the client that is proven, and which is no answer to a prefetch.
func (v *visit) mayBeElsewhere() bool {
	return v.decision.Reason != ReasonPrefetch && v.destination.URI() == "" && v.pageStatus() == http.StatusBadRequest
}

// pageStatus is that of the reason, or of the error's code.
func (v *visit) pageStatus() int {
	switch {
	case v.status != 0:
		return v.status
	case v.err.Code == oautherr.ServerError || v.err.Code == oautherr.TemporarilyUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// writeFormPost answers by a form that posts itself (OAuth 2.0 Form Post Response
// Mode). Where its script is blocked, as by a policy that a proxy adds, there is a
// button. The answer of prompt=none is silent: it may stand in a frame of the client's
// page, and there is nothing on it that a user could be led to click.
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

// tellOrigin lets a form tell the client from which origin it comes, and no more. With
// no-referrer it would come with "Origin: null" (Fetch Standard, append a request Origin
// header), which protections against forged requests refuse.
func tellOrigin(header http.Header) { header.Set("Referrer-Policy", "strict-origin") }

// setPageHeaders sets what pages need beside the headers of every answer. There is
// no form-action: Chromium applies it to the whole chain of redirects after a form
// and would silently stop the response to the client.
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

// writePage renders first, so that a page is written whole or not at all.
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

// submitScript hides what is for those without it, and submits the form.
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

// proven writes an attribute with a URL that was proven. Its bytes stay as they are:
// html/template would re-encode some of them, such as "'" and "(", even in a
// template.URL, and the client would see another URL than the one it registered.
func proven(attribute, url string) template.HTMLAttr {
	return template.HTMLAttr(attribute + `="` + template.HTMLEscapeString(url) + `"`)
}
