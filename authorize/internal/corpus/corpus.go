// Package corpus runs files of raw requests with their expected answers, one JSON
// object a line. The runner knows the format, and the model for which the requests are
// written (issuer, clients, users). It has no code for single cases, so every file of the
// format runs the same way. Only tests import the package.
//
//	corpus.go       read the files, run the cases, count
//	model.go        the clients, sessions and policies, on the public API
//	setup.go        what happens before the request of a stateful case
//	placeholder.go  {PORT}, {REPEAT:a:1000} and other placeholders
//	wire.go         bytes over a connection
//	sessions.go     sessions and their cookies, and the canary
//	answer.go       a response, read as a browser and a client would
//	expect.go       the expectations of a case
//	invariants.go   rules that hold for every answer
//	corpus_test.go  tests that every check can fail
//
// Only our own cases use the kind empty_redirect, the error that a page shows, the delivery,
// and the placeholder {HINT:alice}.
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

// allCases returns the cases of this package. We do not change the given cases; our own cases
// cover what the given ones leave open. The ID of such a case is a rule in words, and Why is
// the section that it comes from.
func allCases() []*testCase {
	return append(parse("cases.jsonl", givenCases), parse("own.jsonl", ownCases)...)
}

// Test runs every case of the files, each as a subtest with its id, and prints how many
// were met. A path is relative to the folder of the test or to its parent. Without files, Test
// runs the cases of this package. Then exceptions.json must name every case that is met only
// by also_ok.
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
	broken  error       // the line cannot be read, or has a member that this runner does not know
}

// UnmarshalJSON refuses unknown members of request, expect and setup, because they could
// change the meaning of the case. It ignores "requires": without the required feature, the
// runner would fail at the step that uses it.
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

// readFiles reads the cases of the files. It is an error if there are none.
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

// judgement is the result of a case, which is met if there are no problems. only names
// the outcome if it was one of also_ok.
type judgement struct {
	only     string
	problems []string
}

// run runs a case, and in some categories also as a POST: some endpoints check only one of
// the methods. A case is met if both requests are. The expectations are the same for both: a
// POST without a session is redirected (303) to the endpoint's own GET, and the runner
// follows this redirect.
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

// againByPOST reports whether a case also runs as a POST. It excludes cases that are POSTs
// already or have a body, and returns from the login page, which are always GETs.
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

// once builds a new endpoint, runs the setup, sends the request and judges the answer.
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

// exist fails the test for exceptions whose case does not exist.
func (exceptions exceptionList) exist(t *testing.T, cases []*testCase) {
	t.Helper()
	for id := range exceptions {
		if !slices.ContainsFunc(cases, func(c *testCase) bool { return c.ID == id }) {
			t.Errorf("exceptions.json names %s, but there is no such case", id)
		}
	}
}

// compare fails the test unless the list is right for this case and gives a reason.
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
