package authorize_test

import (
	"cmp"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	"github.com/usher-auth/usher/session"
)

// Return.URL is proven, and may have the scheme of an app, such as
// com.example.wiki:/callback. Without safeURL, html/template would drop it.
var errorHTML = template.Must(template.New("error").Funcs(template.FuncMap{
	"safeURL": func(proven string) template.URL { return template.URL(proven) },
}).Parse(`<!DOCTYPE html>
<html lang="{{.Language}}"><link rel="stylesheet" href="/style.css"><h1>{{.Text}}</h1>
{{with .Page.Return}}{{if .Form}}<form method="post" action="{{safeURL .URL}}"><button>To {{.Host}}</button>
{{range .Fields}}<input type="hidden" name="{{.Name}}" value="{{.Value}}">{{end}}</form>
{{else}}<a href="{{safeURL .URL}}">To {{.Host}}</a>{{end}}{{end}} <small>{{.Page.ErrorID}}</small></html>`))

// errorTexts has the texts of each language; "" is for all reasons without a text of their
// own.
var errorTexts = map[string]map[authorize.Reason]string{
	"en": {authorize.ReasonExpired: "This took too long.", "": "This does not work."},
	"fr": {authorize.ReasonUnknownClient: "Application inconnue.", "": "Cela ne marche pas."},
}

var firstWord = regexp.MustCompile("[a-z]+")

func languageOf(r *http.Request, p authorize.PageError) string {
	for _, locale := range append(p.UILocales, strings.Split(r.Header.Get("Accept-Language"), ",")...) {
		if language := firstWord.FindString(locale); errorTexts[language] != nil {
			return language
		}
	}
	return "en"
}

func errorPage(w http.ResponseWriter, r *http.Request, p authorize.PageError) {
	if p.OutOfBand {
		authorize.ErrorJSON(w, r, p) // a program reads it
		return
	}
	language := languageOf(r, p) // of ui_locales, else of Accept-Language
	text := cmp.Or(errorTexts[language][p.Reason], errorTexts[language][""])
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; frame-ancestors 'none'")
	w.WriteHeader(p.Status)
	errorHTML.Execute(w, map[string]any{"Language": language, "Text": text, "Page": p})
}

// A complete error page in the style and the languages of the host. It shows the id of the
// error, which is in the log too, and a way to the client if there is one.
func Example_errorPage() {
	const issuer, callback = "https://accounts.example", "com.example.wiki:/callback"
	memory := authorize.NewMemory(authorize.MemoryConfig{Clients: []authorize.Client{
		{ID: "wiki", Public: true, RedirectURIs: []string{callback}, Scopes: []string{"openid"}},
	}})
	now := time.Now()
	nobody := func(*http.Request) (*session.Session, error) { return nil, nil }
	endpoint, err := authorize.New(authorize.Config{
		Issuer: issuer, Clients: memory, Codes: memory, Sessions: authorize.SessionFunc(nobody),
		Login: authorize.LoginURL("/login"), ErrorPage: errorPage, Now: func() time.Time { return now },
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/authorize", endpoint)
	mux.HandleFunc("/login", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "login") })

	browser := authorizetest.NewBrowser()
	browser.Handle(issuer, mux)
	see := func(page *authorizetest.Page, err error) *authorizetest.Page {
		if err != nil {
			log.Fatal(err)
		}
		text := regexp.MustCompile("<[^>]*>").ReplaceAllString(page.Body, " ")
		text = regexp.MustCompile("[A-Z2-7]{12}").ReplaceAllString(text, "ID")
		fmt.Println(page.Status, page.URL.Scheme, append(strings.Fields(text), page.URL.Query()["error"]...))
		return page
	}
	wiki := authorizetest.Client{Issuer: issuer, ID: "wiki", RedirectURI: callback, Scopes: []string{"openid"}}
	see(browser.Open(wiki.Start(url.Values{"client_id": {"unknown"}, "ui_locales": {"de fr-CH"}}).URL))
	page := see(browser.Open(wiki.Start().URL))
	now = now.Add(time.Hour) // too late
	page = see(browser.Open(issuer + "/authorize?" + page.URL.RawQuery))
	see(page.Click("To com.example.wiki:"))
	// Output:
	// 400 https [Application inconnue. ID]
	// 200 https [login]
	// 400 https [This took too long. To com.example.wiki: ID]
	// 0 com.example.wiki [access_denied]
}
