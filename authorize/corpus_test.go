package authorize_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The corpus is a file of raw requests with their expected answers, one JSON object
// a line. This runner knows the format and the model that the requests are written
// for (issuer, clients, users), and nothing of single cases: any file of the format
// runs the same way.
//
//	corpus_test.go              read the files, run the cases, count
//	corpus_model_test.go        the clients, sessions and policies, on the public API
//	corpus_setup_test.go        what happens before the request of a stateful case
//	corpus_placeholder_test.go  {PORT}, {REPEAT:a:1000} and their like
//	corpus_wire_test.go         bytes over a connection
//	corpus_browser_test.go      cookies and sessions, and the canary
//	corpus_answer_test.go       a response, read as a browser and a client would
//	corpus_expect_test.go       what the case expects
//	corpus_invariants_test.go   what holds for every answer
//	corpus_self_test.go         shows that all of this can fail

const corpusDefault = "testdata/corpus/cases.jsonl"

var corpusFiles = flag.String("corpus", corpusDefault,
	"comma-separated corpus files for TestCorpus, relative to this folder or to the module")

func TestCorpus(t *testing.T) {
	cases, err := readCorpus(strings.Split(*corpusFiles, ","))
	if err != nil {
		t.Fatal(err)
	}
	run := startCorpusRunner(t)
	exceptions := readCorpusExceptions(t)
	if *corpusFiles == corpusDefault {
		exceptions.exist(t, cases)
	}
	total, met, onlyAlso := 0, 0, 0
	for _, c := range cases {
		t.Run(c.ID, func(t *testing.T) {
			verdict := run.run(c)
			total++
			for _, problem := range verdict.problems {
				t.Error(problem)
			}
			if len(verdict.problems) > 0 {
				t.Logf("why the case is there: %s", c.Why)
				return
			}
			met++
			if verdict.only != "" {
				onlyAlso++
			}
			if *corpusFiles == corpusDefault {
				exceptions.compare(t, c.ID, verdict.only)
			}
		})
	}
	fmt.Printf("corpus: %d cases, %d met, %d only by also_ok\n", total, met, onlyAlso)
}

// corpusCase is one line of a file.
type corpusCase struct {
	ID           string
	Category     string
	Client       string
	RedirectURIs []string `json:"registered_redirect_uris"`
	Session      string
	Why          string

	Request corpusRequest     `json:"-"`
	Expect  corpusExpectation `json:"-"`
	Setup   []corpusStep      `json:"-"`
	broken  error             // the line has something that this runner does not know
}

// UnmarshalJSON refuses members that it does not know where they could change what
// the case means. What a case "requires" needs no look: a runner that lacked it
// would fail at the step that uses it.
func (c *corpusCase) UnmarshalJSON(line []byte) error {
	type plain corpusCase
	parts := struct {
		*plain
		Request, Expect, Setup json.RawMessage
	}{plain: (*plain)(c)}
	if err := json.Unmarshal(line, &parts); err != nil {
		return err
	}
	c.broken = errors.Join(
		corpusStrict("request", parts.Request, &c.Request),
		corpusStrict("expect", parts.Expect, &c.Expect),
		corpusStrict("setup", parts.Setup, &c.Setup))
	return nil
}

func corpusStrict(what string, raw json.RawMessage, into any) error {
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

func readCorpus(files []string) ([]*corpusCase, error) {
	var cases []*corpusCase
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) && !filepath.IsAbs(file) {
			text, err = os.ReadFile(filepath.Join("..", file))
		}
		if err != nil {
			return nil, err
		}
		number := 0
		for line := range bytes.Lines(text) {
			number++
			if line = bytes.TrimSpace(line); len(line) == 0 {
				continue
			}
			c := &corpusCase{}
			if err := json.Unmarshal(line, c); err != nil {
				c.broken = fmt.Errorf("%s:%d: %w", file, number, err)
			}
			if c.ID == "" {
				c.ID = fmt.Sprintf("line-%d", number)
			}
			cases = append(cases, c)
		}
	}
	if len(cases) == 0 {
		return nil, fmt.Errorf("no cases in %q", files)
	}
	return cases, nil
}

// corpusVerdict says whether a case was met: no problems. only names the outcome if
// it was not the expected one but one of also_ok.
type corpusVerdict struct {
	only     string
	problems []string
}

// run runs a case, and those of some categories again by POST: endpoints that check
// one method and forget the other are a known kind of bug. A case is met if both
// are. No expectation differs for the POST: what a POST without a session gets, a
// 303 to the endpoint's own GET, is followed as part of the answer.
func (run *corpusRunner) run(c *corpusCase) corpusVerdict {
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

var corpusPOSTCategories = []string{"redirect_uri", "loopback", "duplicates", "pkce", "state"}

// againByPOST leaves out cases that are POSTs already, that are about a body of
// their own, or that come back from the login, which is a GET always.
func (c *corpusCase) againByPOST() bool {
	return c.broken == nil && slices.Contains(corpusPOSTCategories, c.Category) &&
		c.Request.Method == "GET" && c.Request.Query != nil && c.Request.Body == nil &&
		!strings.Contains(*c.Request.Query, "{RESUME")
}

func (c *corpusCase) byPOST() *corpusCase {
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
func (run *corpusRunner) once(c *corpusCase) (verdict corpusVerdict) {
	if c.broken != nil {
		return corpusVerdict{problems: []string{c.broken.Error()}}
	}
	w, err := run.newWorld(c)
	if err != nil {
		return corpusVerdict{problems: []string{err.Error()}}
	}
	defer w.close()
	for i, step := range c.Setup {
		if err := w.do(step); err != nil {
			return corpusVerdict{problems: append(w.problems, fmt.Sprintf("setup %d (%s): %v", i+1, step.Do, err))}
		}
	}
	answer, err := w.send(c.Request, c.Client, c.Session)
	if err != nil {
		return corpusVerdict{problems: append(w.problems, err.Error())}
	}
	expect, err := c.Expect.expand(w)
	if err != nil {
		return corpusVerdict{problems: append(w.problems, err.Error())}
	}
	verdict = expect.judge(answer)
	verdict.problems = append(w.problems, verdict.problems...)
	return verdict
}

// corpusExceptions are the cases of the default file that are met only by also_ok,
// each with the outcome and the reason for it.
type corpusExceptions map[string]struct {
	Outcome string
	Reason  string
}

func readCorpusExceptions(t *testing.T) corpusExceptions {
	t.Helper()
	text, err := os.ReadFile("testdata/corpus/exceptions.json")
	if err != nil {
		t.Fatal(err)
	}
	exceptions := corpusExceptions{}
	if err := corpusStrict("exceptions.json", text, &exceptions); err != nil {
		t.Fatal(err)
	}
	return exceptions
}

// exist finds the exceptions of cases that are gone.
func (exceptions corpusExceptions) exist(t *testing.T, cases []*corpusCase) {
	t.Helper()
	for id := range exceptions {
		if !slices.ContainsFunc(cases, func(c *corpusCase) bool { return c.ID == id }) {
			t.Errorf("exceptions.json names %s, and there is no such case", id)
		}
	}
}

// compare keeps the list true: each case on it needs to be there, with its reason.
func (exceptions corpusExceptions) compare(t *testing.T, id, only string) {
	t.Helper()
	listed := exceptions[id]
	if listed.Outcome != only {
		t.Errorf("met only by also_ok %q, but exceptions.json says %q", only, listed.Outcome)
	}
	if only != "" && len(listed.Reason) < 20 {
		t.Error("exceptions.json gives no reason")
	}
}
