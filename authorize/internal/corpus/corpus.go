// Package corpus runs files of raw requests with their expected answers, one JSON
// object a line. The runner knows the format and the model that the requests are written
// for (issuer, clients, users), and nothing of single cases: any file of the format runs
// the same way. Only tests import it.
//
//	corpus.go       read the files, run the cases, count
//	model.go        the clients, sessions and policies, on the public API
//	setup.go        what happens before the request of a stateful case
//	placeholder.go  {PORT}, {REPEAT:a:1000} and their like
//	wire.go         bytes over a connection
//	sessions.go     sessions and their cookies, and the canary
//	answer.go       a response, read as a browser and a client would
//	expect.go       what the case expects
//	invariants.go   what holds for every answer
//	corpus_test.go  shows that all of this can fail
//
// A case of our own may expect more than a given one: the kind empty_redirect, the error that
// a page shows, and any delivery. {HINT:alice} is a placeholder of ours.
package corpus

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

//go:embed testdata/cases.jsonl
var givenCases []byte

//go:embed testdata/own.jsonl
var ownCases []byte

//go:embed testdata/exceptions.json
var ownExceptions []byte

// allCases returns the cases of this package. The given ones stay as they are. What they
// leave open is in our own: each has the words of a rule for its ID, and why is the section
// that it comes from.
func allCases() []*testCase {
	return append(parse("cases.jsonl", givenCases), parse("own.jsonl", ownCases)...)
}

// Test runs every case of the files, each as a subtest with its id, and prints how many
// were met. A path is relative to the folder of the test or to the one above it. Without
// files it runs those of this package, and wants exceptions.json to name each that is met
// by also_ok alone.
func Test(t *testing.T, files ...string) {
	cases, err := readFiles(files)
	exceptions := exceptionList{}
	if len(files) == 0 {
		cases, err = allCases(), strictly("exceptions.json", ownExceptions, &exceptions)
		exceptions.exist(t, cases)
	}
	if err != nil {
		t.Fatal(err)
	}
	run := startRunner(t)
	total, met, onlyAlso := 0, 0, 0
	for _, c := range cases {
		t.Run(c.ID, func(t *testing.T) {
			got := run.run(c)
			total++
			for _, problem := range got.problems {
				t.Error(problem)
			}
			if len(got.problems) > 0 {
				t.Log("why the case is there:", cmp.Or(c.Why, c.ID))
				return
			}
			met++
			if got.only != "" {
				onlyAlso++
			}
			if len(files) == 0 {
				exceptions.compare(t, c.ID, got.only)
			}
		})
	}
	fmt.Printf("corpus: %d cases, %d met, %d only by also_ok\n", total, met, onlyAlso)
}

// testCase is one line of a file.
type testCase struct {
	ID           string
	Category     string
	Client       string
	RedirectURIs []string `json:"registered_redirect_uris"`
	Session      string
	Why          string

	Request rawRequest  `json:"-"`
	Expect  expectation `json:"-"`
	Setup   []setupStep `json:"-"`
	broken  error       // the line has something that this runner does not know
}

// UnmarshalJSON refuses members that it does not know where they could change what
// the case means. What a case "requires" needs no look: a runner that lacked it
// would fail at the step that uses it.
func (c *testCase) UnmarshalJSON(line []byte) error {
	type plain testCase
	parts := struct {
		*plain
		Request, Expect, Setup json.RawMessage
	}{plain: (*plain)(c)}
	if err := json.Unmarshal(line, &parts); err != nil {
		return err
	}
	c.broken = errors.Join(
		strictly("request", parts.Request, &c.Request),
		strictly("expect", parts.Expect, &c.Expect),
		strictly("setup", parts.Setup, &c.Setup))
	return nil
}

func strictly(what string, raw json.RawMessage, into any) error {
	if raw == nil {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// readFiles reads the cases of the files. That there are none is an error.
func readFiles(files []string) (cases []*testCase, err error) {
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) && !filepath.IsAbs(file) {
			text, err = os.ReadFile(filepath.Join("..", file))
		}
		if err != nil {
			return nil, err
		}
		cases = append(cases, parse(file, text)...)
	}
	if len(cases) == 0 {
		return nil, fmt.Errorf("no cases in %q", files)
	}
	return cases, nil
}

// parse reads one case of every line that is not empty.
func parse(file string, text []byte) (cases []*testCase) {
	number := 0
	for line := range bytes.Lines(text) {
		number++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		c := &testCase{}
		if err := json.Unmarshal(line, c); err != nil {
			c.broken = fmt.Errorf("%s:%d: %w", file, number, err)
		}
		if c.ID == "" {
			c.ID = fmt.Sprintf("line-%d", number)
		}
		cases = append(cases, c)
	}
	return cases
}

// judgement says whether a case was met: no problems. only names the outcome if
// it was not the expected one but one of also_ok.
type judgement struct {
	only     string
	problems []string
}

// run runs a case, and those of some categories again by POST: endpoints that check
// one method and forget the other are a known kind of bug. A case is met if both
// are. No expectation differs for the POST: what a POST without a session gets, a
// 303 to the endpoint's own GET, is followed as part of the answer.
func (run *runner) run(c *testCase) judgement {
	verdict := run.once(c)
	if !c.againByPOST() {
		return verdict
	}
	again := run.once(c.byPOST())
	for _, problem := range again.problems {
		verdict.problems = append(verdict.problems, "by POST: "+problem)
	}
	if verdict.only == "" {
		verdict.only = again.only
	}
	return verdict
}

var pOSTCategories = []string{"redirect_uri", "loopback", "duplicates", "pkce", "state"}

// againByPOST leaves out cases that are POSTs already, that are about a body of
// their own, or that come back from the login, which is a GET always.
func (c *testCase) againByPOST() bool {
	return c.broken == nil && slices.Contains(pOSTCategories, c.Category) &&
		c.Request.Method == "GET" && c.Request.Query != nil && c.Request.Body == nil &&
		!strings.Contains(*c.Request.Query, "{RESUME")
}

func (c *testCase) byPOST() *testCase {
	post := *c
	post.Request.Method, post.Request.Query, post.Request.Body = "POST", nil, c.Request.Query
	post.Request.Headers = map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	for name, value := range c.Request.Headers {
		post.Request.Headers[name] = value
	}
	return &post
}

// once builds a fresh endpoint, does what has to happen before, sends the request
// and judges the answer.
func (run *runner) once(c *testCase) (verdict judgement) {
	if c.broken != nil {
		return judgement{problems: []string{c.broken.Error()}}
	}
	w, err := run.newWorld(c)
	if err != nil {
		return judgement{problems: []string{err.Error()}}
	}
	defer w.close()
	for i, step := range c.Setup {
		if err := w.do(step); err != nil {
			return judgement{problems: append(w.problems, fmt.Sprintf("setup %d (%s): %v", i+1, step.Do, err))}
		}
	}
	a, err := w.send(c.Request, c.Client, c.Session)
	if err != nil {
		return judgement{problems: append(w.problems, err.Error())}
	}
	expect, err := c.Expect.expand(w)
	if err != nil {
		return judgement{problems: append(w.problems, err.Error())}
	}
	verdict = expect.judge(a)
	verdict.problems = append(w.problems, verdict.problems...)
	return verdict
}

// exceptionList has the cases of this package that are met only by also_ok,
// each with the outcome and the reason for it.
type exceptionList map[string]struct {
	Outcome string
	Reason  string
}

// exist finds the exceptions of cases that are gone.
func (exceptions exceptionList) exist(t *testing.T, cases []*testCase) {
	t.Helper()
	for id := range exceptions {
		if !slices.ContainsFunc(cases, func(c *testCase) bool { return c.ID == id }) {
			t.Errorf("exceptions.json names %s, and there is no such case", id)
		}
	}
}

// compare keeps the list true: each case on it needs to be there, with its reason.
func (exceptions exceptionList) compare(t *testing.T, id, only string) {
	t.Helper()
	listed := exceptions[id]
	if listed.Outcome != only {
		t.Errorf("met only by also_ok %q, but exceptions.json says %q", only, listed.Outcome)
	}
	if only != "" && len(listed.Reason) < 20 {
		t.Error("exceptions.json gives no reason")
	}
}
