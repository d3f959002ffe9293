package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// This is the client's side of a hand-over: see handover.go. This client has no users, so
// the visitor pastes an access token. A real app has one from the sign-in of its user.

// handOver is kept in a cookie of the client's site until the browser comes back.
type handOver struct {
	Token  string `json:"token"`
	Scope  string `json:"scope"`
	Method string `json:"method"`
}

// begin starts step 1. Only the client's own page may post to it: a form of another site
// could contain another user's token.
func (c *client) begin(w http.ResponseWriter, r *http.Request) {
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		http.Error(w, "This form was sent by another site.", http.StatusForbidden)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	mine := handOver{r.FormValue("token"), r.FormValue("scope"), r.FormValue("x_method")}
	text, err := json.Marshal(mine)
	if err != nil || len(text) > 2000 {
		c.showHome(w, http.StatusBadRequest, clientPage{Error: "the access token is too long"})
		return
	}
	nonce := rand.Text()
	http.SetCookie(w, c.handOverCookie(nonce, base64.RawURLEncoding.EncodeToString(text), 300))
	query := url.Values{"client_id": {c.id}, "redirect_uri": {c.url + "/handover"}, "state": {nonce}}
	http.Redirect(w, r, c.server.issuer+"/handover?"+query.Encode(), http.StatusSeeOther)
}

// handOverName begins with __Host-, so that no other host can set the cookie and sign in a
// stranger. With http, on loopback, browsers do not accept such names.
func (c *client) handOverName(nonce string) string {
	if strings.HasPrefix(c.url, "https:") {
		return "__Host-handover-" + nonce
	}
	return "handover-" + nonce
}

func (c *client) handOverCookie(nonce, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: c.handOverName(nonce), Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true,
		Secure: strings.HasPrefix(c.url, "https:"), SameSite: http.SameSiteLaxMode,
	}
}

// goOn gets a ticket for the browser that came back, and redirects it with the ticket.
func (c *client) goOn(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	cookie, err := r.Cookie(c.handOverName(query.Get("state")))
	var mine handOver
	if err == nil {
		mine, err = readHandOver(cookie.Value)
	}
	if err != nil || query.Get("iss") != c.server.issuer {
		c.showHome(w, http.StatusBadRequest, clientPage{NotAsked: true})
		return
	}
	http.SetCookie(w, c.handOverCookie(query.Get("state"), "", -1))
	text, err := c.ticket(r, mine.Token, query.Get("browser"))
	if err != nil {
		c.showHome(w, http.StatusBadGateway, clientPage{Error: err.Error()})
		return
	}
	c.send(w, r, mine.Method, mine.Scope, url.Values{userTicket: {text}})
}

func readHandOver(value string) (mine handOver, err error) {
	text, err := base64.RawURLEncoding.DecodeString(value)
	if err == nil {
		err = json.Unmarshal(text, &mine)
	}
	return mine, err
}

// ticket gets a ticket from server to server.
func (c *client) ticket(r *http.Request, token, browser string) (text string, err error) {
	body := strings.NewReader(url.Values{"client_id": {c.id}, "browser": {browser}}.Encode())
	address := c.server.issuer + "/handover"
	request, err := http.NewRequestWithContext(r.Context(), http.MethodPost, address, body)
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := c.server.backChannel.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var answer struct {
		Ticket string `json:"ticket"`
		Error  string `json:"error"`
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxForm)).Decode(&answer); err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK || answer.Ticket == "" {
		return "", fmt.Errorf("no ticket: %s", answer.Error)
	}
	return answer.Ticket, nil
}
