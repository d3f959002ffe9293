package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/pkce"
)

// desk is the part that the front handles itself: the page with the replicas, and a client.
// All other requests go to a replica.
type desk struct {
	base   string
	fleet  *fleet
	keys   keyFile
	client authorize.Client

	mu     sync.Mutex
	visits map[string]*visit // by state
}

// visit is one sign-in at the application.
type visit struct {
	authorize.Redemption // without a code until the response
	Steps                []step
}

// step is a request of a visit, with the replica that answered it.
type step struct{ Replica, What, Result string }

const maxVisits = 1000

func newDesk(base string, f *fleet, keys keyFile) *desk {
	return &desk{base: base, fleet: f, keys: keys, client: f.replicas[0].client(), visits: map[string]*visit{}}
}

func (d *desk) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", d.home)
	mux.HandleFunc("GET /style.css", style)
	mux.HandleFunc("GET /sign-in", d.signIn)
	mux.HandleFunc("GET /callback", d.callback)
	forms := http.NewCrossOriginProtection()
	mux.Handle("POST /again", forms.Handler(http.HandlerFunc(d.again)))
	mux.Handle("POST /kill", forms.Handler(http.HandlerFunc(d.kill)))
	mux.Handle("POST /new-key", forms.Handler(http.HandlerFunc(d.newKey)))
	mux.Handle("/", d.fleet.proxy(d.note))
	return inPages(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if "http://"+r.Host != d.base { // cookies and buttons work only with this host
			http.Redirect(w, r, d.base, http.StatusSeeOther)
			return
		}
		mux.ServeHTTP(w, r)
	}), showRefusal)
}

// row is a replica on the page.
type row struct{ Number, Process, Answered int }

func (d *desk) home(w http.ResponseWriter, r *http.Request) {
	keys, err := d.keys.read()
	if err != nil {
		log.Print(err)
		showRefusal(w, http.StatusInternalServerError, refusals[http.StatusInternalServerError])
		return
	}
	data := struct {
		Storage string
		Rows    []row
		Keys    []key
		Steps   []step
		Code    bool
	}{Storage: d.fleet.replicas[0].kinds(), Keys: keys}
	d.fleet.mu.Lock()
	for _, c := range d.fleet.replicas {
		row := row{Number: c.Number, Answered: c.answered}
		if c.address != "" {
			row.Process = c.process.Pid
		} else {
			w.Header().Set("Refresh", "2") // shows when it runs again
		}
		data.Rows = append(data.Rows, row)
	}
	d.fleet.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, v := d.visit(r); v != nil {
		data.Steps, data.Code = v.Steps, v.Code != ""
	}
	show(w, http.StatusOK, "home.html", data)
}

// visit returns the state and the visit of the browser that sent r, nil if there is none. The
// caller holds the lock.
func (d *desk) visit(r *http.Request) (string, *visit) {
	cookie, err := r.Cookie("demo")
	if err != nil {
		return "", nil
	}
	return cookie.Value, d.visits[cookie.Value]
}

// note records which replica answered.
func (d *desk) note(r *http.Request, replica, result string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, v := d.visit(r); v != nil && len(v.Steps) < 100 {
		v.Steps = append(v.Steps, step{replica, r.Method + " " + r.URL.Path, result})
	}
}

func (d *desk) signIn(w http.ResponseWriter, r *http.Request) {
	state, verifier := pkce.NewVerifier(), pkce.NewVerifier() // 256 random bits each
	to := authorize.Redemption{ClientID: d.client.ID, RedirectURI: d.client.RedirectURIs[0], Verifier: verifier}
	query := url.Values{
		"response_type": {"code"}, "client_id": {to.ClientID}, "redirect_uri": {to.RedirectURI},
		"scope": {strings.Join(d.client.Scopes, " ")}, "state": {state},
		"code_challenge": {pkce.Challenge(verifier)}, "code_challenge_method": {pkce.MethodS256},
	}
	if prompt := r.FormValue("prompt"); prompt != "" {
		query.Set("prompt", prompt)
	}
	d.mu.Lock()
	if len(d.visits) >= maxVisits {
		clear(d.visits)
	}
	d.visits[state] = &visit{Redemption: to}
	d.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: "demo", Value: state, Path: "/", HttpOnly: true,
		SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, d.base+"/authorize?"+query.Encode(), http.StatusSeeOther)
}

// callback handles the response. It has to be for this browser, from this issuer, and have
// either a code or an error.
func (d *desk) callback(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	state, v := d.visit(r)
	d.mu.Unlock()
	answer := r.URL.Query()
	code, refused := answer.Get("code"), answer.Get("error")
	switch {
	case v == nil || answer.Get("state") != state:
		showRefusal(w, http.StatusBadRequest,
			refusal{"This response was not accepted", "This browser did not ask for it."})
		return
	case answer.Get("iss") != d.base || (code == "") == (refused == ""):
		showRefusal(w, http.StatusBadRequest,
			refusal{"This response was not accepted", "It is not from this provider."})
		return
	case refused != "":
		d.add(v, step{What: "The response", Result: refused})
	default:
		d.mu.Lock()
		fresh := v.Code == ""
		v.Code = code
		redemption := v.Redemption
		d.mu.Unlock()
		if fresh {
			d.add(v, d.redeem(r.Context(), redemption))
		}
	}
	http.Redirect(w, r, "/", http.StatusSeeOther) // keeps the code out of bookmarks
}

// again redeems the same code again, at the next replica.
func (d *desk) again(w http.ResponseWriter, r *http.Request) {
	redemption := authorize.Redemption{}
	d.mu.Lock()
	_, v := d.visit(r)
	if v != nil {
		redemption = v.Redemption
	}
	d.mu.Unlock()
	if redemption.Code != "" {
		d.add(v, d.redeem(r.Context(), redemption))
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (d *desk) add(v *visit, s step) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v.Steps = append(v.Steps, s)
}

// redeem redeems the code, as the server of a client does.
func (d *desk) redeem(ctx context.Context, redemption authorize.Redemption) step {
	s := step{What: "POST /token"}
	response, err := postCode(ctx, d.fleet, d.base, redemption)
	if err != nil {
		log.Print(err)
		s.Result = "The response got lost. Redeem the code again; this works unless the code was used."
		return s
	}
	s.Replica = response.replica
	if s.Result = fmt.Sprint(response.Error, " ", response.Description); response.Error == "" {
		s.Result = "signed in as " + response.Subject
	}
	return s
}

// redeemed is the response of a token endpoint, and the replica that sent it.
type redeemed struct {
	tokenAnswer
	replica string
}

// postCode redeems the code at the token endpoint at base, through t.
func postCode(
	ctx context.Context, t http.RoundTripper, base string, redemption authorize.Redemption,
) (answer redeemed, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {redemption.Code},
		"redirect_uri": {redemption.RedirectURI}, "code_verifier": {redemption.Verifier},
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		return answer, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(redemption.ClientID, clientSecret)
	response, err := t.RoundTrip(r)
	if err != nil {
		return answer, err
	}
	defer response.Body.Close()
	answer.replica = response.Header.Get("X-Replica")
	return answer, json.NewDecoder(response.Body).Decode(&answer.tokenAnswer)
}

func (d *desk) kill(w http.ResponseWriter, r *http.Request) {
	number, _ := strconv.Atoi(r.PostFormValue("replica"))
	if err := d.fleet.kill(number); err != nil {
		log.Print(err) // the page shows it too
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (d *desk) newKey(w http.ResponseWriter, r *http.Request) {
	if err := d.keys.rotate(time.Now()); err != nil {
		log.Print(err)
		showRefusal(w, http.StatusInternalServerError, refusals[http.StatusInternalServerError])
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
