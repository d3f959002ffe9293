package main

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize/authorizetest"
	oautherr "github.com/usher-auth/usher/errors"
)

// Flows run while replicas are killed and started again and the keys change. Each flow ends in
// exactly one of three ways; see chaos.count.
func TestFlowsWhileReplicasDie(t *testing.T) {
	eachStorage(t, func(t *testing.T, s storage) {
		began := time.Now()
		c := &chaos{world: newWorld(t, s.start(t), 20*time.Millisecond)}
		const browsers = 8
		flows := make(chan int)
		var users sync.WaitGroup
		for range browsers {
			users.Go(func() {
				for number := range flows {
					c.count(number)
				}
			})
		}
		for number := range s.flows {
			flows <- number
		}
		close(flows)
		users.Wait()
		c.redeemAllAgain()

		leave := s.flows / leaving
		if c.codes+c.errors+c.logins != s.flows || c.logins != leave || c.codes < s.flows/2 {
			t.Errorf("%d codes, %d errors and %d logins, want %d in all and %d logins", c.codes, c.errors, c.logins, s.flows, leave)
		}
		if c.kills < s.flows/killing/2 || c.rotations != s.flows/rotating {
			t.Errorf("%d kills and %d changes of keys differ from the plan", c.kills, c.rotations)
		}
		t.Logf("%d flows in %v: %d codes, %d errors, %d logins; %d kills, %d changes of keys; forms sent again: %d, sign-ins started again: %d; %d codes, of which %d were used up by a lost response",
			s.flows, time.Since(began).Round(time.Millisecond), c.codes, c.errors, c.logins, c.kills, c.rotations,
			c.sentAgain, c.begunAgain, len(c.issued), c.usedUp)
	})
}

// chaos is the world while replicas die. The end of a flow may kill a replica or change the
// keys for the others.
type chaos struct {
	*world
	ended atomic.Int64

	mu                    sync.Mutex
	codes, errors, logins int
	kills, rotations      int
	sentAgain, begunAgain int
	usedUp                int
	issued                []issued
}

type issued struct {
	flow *authorizetest.Flow
	code string
}

const (
	killing  = 10 // flows until a replica is killed
	rotating = 25 // until the keys change
	leaving  = 20 // until a user signs out and then follows the client's link again
)

// count runs one flow of one user, and counts its first result: a redeemed code, an error
// that the user can act on, or the login page after a sign-out. After an error the user
// tries again, and must succeed.
func (c *chaos) count(number int) {
	u := &user{chaos: c, browser: authorizetest.NewBrowser(), name: []string{"alice", "bob"}[number%2]}
	u.browser.Connect(c.base, c.transport)
	changes := url.Values{}
	if number%4 > 1 {
		changes.Set("prompt", "consent") // the others agree only once
	}
	trouble := 0
	for !u.arrive(changes, &trouble) {
		trouble++
		c.add(&c.begunAgain)
		if trouble > 20 {
			c.t.Errorf("flow %d does not arrive", number)
			return
		}
	}
	switch {
	case number%leaving == leaving-1:
		u.leave()
		c.add(&c.logins)
	case trouble > 0:
		c.add(&c.errors)
	default:
		c.add(&c.codes)
	}
	c.strike(c.ended.Add(1))
}

func (c *chaos) add(counter *int) {
	c.mu.Lock()
	*counter++
	c.mu.Unlock()
}

// strike kills a replica, and changes the keys, while the flows of other browsers run.
func (c *chaos) strike(ended int64) {
	for i := range int64(3) { // the first one that runs
		if ended%killing == 0 && c.fleet.kill(int((ended/killing+i)%3)+1) == nil {
			c.add(&c.kills)
			break
		}
	}
	if ended%rotating == 0 {
		c.rotate()
		c.add(&c.rotations)
	}
}

// user is a user with a browser.
type user struct {
	*chaos
	browser *authorizetest.Browser
	name    string
}

// arrive goes from the client's link to the response and redeems the code. False means an
// error after which the user starts again. Other errors are counted as trouble.
func (u *user) arrive(changes url.Values, trouble *int) bool {
	flow := u.client.Start(changes)
	page := u.try(trouble, func() (*authorizetest.Page, error) { return u.browser.Open(flow.URL) })
	for signedIn := false; page != nil; {
		form := page
		switch page.URL.Path {
		case "/login":
			if signedIn {
				u.t.Errorf("somebody who has signed in is to do it again:\n%s", page)
				return true
			}
			signedIn = true
			page = u.try(trouble, func() (*authorizetest.Page, error) {
				return form.Submit(url.Values{"username": {u.name}, "password": {u.name + "-password"}})
			})
		case "/consent":
			page = u.try(trouble, func() (*authorizetest.Page, error) { return form.Submit(nil, "Allow") })
		case "/callback":
			code, err := flow.Check(page.Request)
			if err != nil {
				u.t.Errorf("the answer: %v", err)
				return true
			}
			return u.redeemTwice(flow, code)
		default:
			u.t.Errorf("an error that nobody can act on:\n%s", page)
			return true
		}
	}
	return true // try has reported it
}

// try repeats an action until a replica answers it, as the page about a lost request says.
func (u *user) try(trouble *int, do func() (*authorizetest.Page, error)) *authorizetest.Page {
	for range 20 {
		page, err := do()
		if err != nil {
			u.t.Error(err)
			return nil
		}
		if page.Status != http.StatusServiceUnavailable || !strings.Contains(page.Body, "press the button once more") {
			return page
		}
		*trouble++
		u.add(&u.sentAgain)
	}
	u.t.Error("no replica lives long enough")
	return nil
}

// redeemTwice redeems the code at two replicas at once. Exactly one must succeed. If none does,
// a response got lost, and the client tries again. If the code is used up by then, it starts
// a new flow.
func (u *user) redeemTwice(flow *authorizetest.Flow, code string) bool {
	u.mu.Lock()
	u.issued = append(u.issued, issued{flow, code})
	number := len(u.issued)
	u.mu.Unlock()
	var both sync.WaitGroup
	var tally tally
	for i := range 2 {
		both.Go(func() {
			tally.note(postCode(u.t.Context(), &at{u.fleet, (number+i)%3 + 1}, u.base, flow.Redemption(code)))
		})
	}
	both.Wait()
	for tries := 0; tally.successes == 0 && tally.refusals == 0; tries++ {
		if tries > 20 {
			u.t.Error("no replica lives long enough to redeem a code")
			return true
		}
		tally.note(postCode(u.t.Context(), u.transport, u.base, flow.Redemption(code)))
	}
	for _, problem := range tally.problems {
		u.t.Errorf("a redemption: %s", problem)
	}
	if tally.successes > 1 || tally.successes == 0 && tally.lost == 0 {
		u.t.Errorf("two redemptions at once had %+v", &tally)
	}
	if tally.successes == 0 {
		u.add(&u.usedUp)
	}
	return tally.successes > 0
}

// tally counts the results of redemptions of one code.
type tally struct {
	mu                        sync.Mutex
	successes, refusals, lost int
	problems                  []string
}

func (t *tally) note(answer redeemed, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case errors.Is(err, errNotRunning) || refused(err): // not sent
	case err != nil || answer.Error == oautherr.TemporarilyUnavailable:
		t.lost++
	case answer.Error == oautherr.InvalidGrant && answer.Description == usedBefore:
		t.refusals++
	case answer.Error == "" && answer.Subject != "":
		t.successes++
	default: // such as an unknown code
		t.refusals++
		t.problems = append(t.problems, string(answer.Error)+" "+answer.Description)
	}
}

// redeemAllAgain checks that every code is used up, also those of replicas that have died.
func (c *chaos) redeemAllAgain() {
	for _, i := range c.issued {
		var tally tally
		for tries := 0; tally.successes+tally.refusals == 0 && tries < 20; tries++ {
			tally.note(postCode(c.t.Context(), c.transport, c.base, i.flow.Redemption(i.code))) // the last killed replica may get it
		}
		if tally.refusals != 1 || len(tally.problems) > 0 {
			c.t.Errorf("a code that was used has %+v", &tally)
		}
	}
}

// leave signs the user out. Then every replica has to show the login page.
func (u *user) leave() {
	var ignored int
	u.try(&ignored, func() (*authorizetest.Page, error) { return u.browser.PostFrom(u.base, u.base+"/sign-out", nil) })
	for range 3 {
		flow := u.client.Start()
		page := u.try(&ignored, func() (*authorizetest.Page, error) { return u.browser.Open(flow.URL) })
		if page != nil && page.URL.Path != "/login" {
			u.t.Errorf("somebody who has signed out comes to\n%s", page)
		}
	}
}
