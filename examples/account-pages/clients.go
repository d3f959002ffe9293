package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/usher-auth/usher/authorize"
)

// client is an application on its own domain. It has no users: it sends visitors to their
// account and learns that they are back.
type client struct {
	id, name, url string
	entryPoints   []string
	server        *server
}

// registered returns the registrations. With response_type=none a client gets neither codes
// nor tokens, so it needs no secret.
func (s *server) registered() []authorize.Client {
	// A former partner. It stays registered, so that its users are sent back with an error,
	// but it may not request anything.
	list := []authorize.Client{{
		ID:            "former-partner",
		Name:          "A former partner",
		RedirectURIs:  []string{s.clients[0].url + "/former-partner"},
		Scopes:        []string{"club-profile"},
		ResponseTypes: []string{},
	}}
	for _, c := range s.clients {
		list = append(list, authorize.Client{
			ID:            c.id,
			Name:          c.name,
			RedirectURIs:  []string{c.url + "/callback", c.url + "/handover"},
			Scopes:        c.entryPoints,
			ResponseTypes: []string{"none"},
		})
	}
	return list
}

func (c *client) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /":
		c.showHome(w, http.StatusOK, clientPage{})
	case "GET /go":
		c.ask(w, r)
	case "POST /handover":
		c.begin(w, r)
	case "GET /handover":
		c.goOn(w, r)
	case "GET /callback":
		c.takeAnswer(w, r)
	default:
		http.NotFound(w, r)
	}
}

// clientPage is what client.html shows.
type clientPage struct {
	Name        string
	EntryPoints []string
	Choices     []choice
	Back        bool   // from the account
	Task        string // the choice of the user, from the state
	Error       string
	NotAsked    bool // this browser did not make the request
}

// choice is a link on the page.
type choice struct{ Label, Method, Prompt string }

func (c *client) choices() (all []choice) {
	for _, m := range c.server.methods {
		all = append(all, choice{Label: m.label, Method: m.name})
	}
	return append(all,
		choice{Label: "Sign in and come straight back"},
		choice{Label: "Only check whether I am signed in", Prompt: "none"})
}

func (c *client) showHome(w http.ResponseWriter, status int, page clientPage) {
	page.Name, page.EntryPoints, page.Choices = c.name, c.entryPoints, c.choices()
	show(w, hostname(c.url), status, "client", page)
}

// state is the content of the parameter state. Nonce binds the response to this browser,
// which has it in a cookie.
type state struct {
	Task  string `json:"task"`
	Nonce string `json:"nonce"`
}

// ask sends the browser to the endpoint.
func (c *client) ask(w http.ResponseWriter, r *http.Request) {
	more := url.Values{}
	if prompt := r.FormValue("prompt"); prompt != "" {
		more.Set("prompt", prompt)
	}
	c.send(w, r, r.FormValue("x_method"), r.FormValue("scope"), more)
}

func (c *client) send(
	w http.ResponseWriter, r *http.Request, method, scope string, more url.Values,
) {
	mine := state{Task: method, Nonce: rand.Text()}
	for _, choice := range c.choices() {
		if choice.Method == method && choice.Prompt == more.Get("prompt") {
			mine.Task = choice.Label
		}
	}
	text, err := json.Marshal(mine)
	if err != nil {
		http.Error(w, "The state cannot be written.", http.StatusInternalServerError)
		return
	}
	sent := base64.StdEncoding.EncodeToString(text)
	http.SetCookie(w, &http.Cookie{
		Name: "asked-" + mine.Nonce, Value: sent, Path: "/callback", MaxAge: 1800, HttpOnly: true,
		Secure: strings.HasPrefix(c.url, "https:"), SameSite: http.SameSiteLaxMode,
	})
	query := url.Values{
		"client_id":     {c.id},
		"redirect_uri":  {c.url + "/callback"},
		"response_type": {"none"},
		"scope":         {scope},
		"state":         {sent},
	}
	if method != "" {
		query.Set("x_method", method)
	}
	maps.Copy(query, more)
	http.Redirect(w, r, c.server.issuer+"/oauth2/authorize?"+query.Encode(), http.StatusFound)
}

// takeAnswer accepts a response with this server's iss and a state that this browser has
// sent. The response tells that the user is back, not who the user is.
func (c *client) takeAnswer(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	var mine state
	text, err := base64.StdEncoding.DecodeString(query.Get("state"))
	if err == nil {
		err = json.Unmarshal(text, &mine)
	}
	cookie, missing := r.Cookie("asked-" + mine.Nonce)
	if err != nil || missing != nil || cookie.Value != query.Get("state") || query.Get("iss") != c.server.issuer {
		c.showHome(w, http.StatusBadRequest, clientPage{NotAsked: true})
		return
	}
	http.SetCookie(w, &http.Cookie{Name: cookie.Name, Path: "/callback", MaxAge: -1})
	c.showHome(w, http.StatusOK, clientPage{Back: true, Task: mine.Task, Error: query.Get("error")})
}
