package authorize

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/usher-auth/usher/session"
)

// A vector is one request and its expected answer: a line of a file in testdata.
// The request is the good one with changes (see ask), in the query of a GET or the
// body of a POST, unless query or body are given. {REPEAT:text:N} stands for the
// text N times.
type vector struct {
	Rule    string            `json:"rule"`
	RFC     string            `json:"rfc"`
	Method  string            `json:"method"` // empty: GET
	Change  []string          `json:"change"`
	Query   *string           `json:"query"`
	Body    *string           `json:"body"`
	Headers map[string]string `json:"headers"`
	As      string            `json:"as"` // who is signed in: alice (also if empty), bob, nobody

	Want        string  `json:"want"` // see reply.String
	Mode        string  `json:"mode"` // in which the client gets its answer; absent: any
	Status      int     `json:"status"`
	State       *string `json:"state"` // that the client gets; absent: st-1
	Description string  `json:"description"`
}

func vectors(t *testing.T, file string) []vector {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	rules := map[string]bool{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		v := vector{}
		decoder := json.NewDecoder(strings.NewReader(repeated(lines.Text())))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&v); err != nil {
			t.Fatalf("%s: %v in %s", file, err, lines.Text())
		}
		if v.Rule == "" || v.Want == "" || rules[v.Rule] {
			t.Fatalf("%s: a vector needs a rule of its own and an answer: %s", file, lines.Text())
		}
		rules[v.Rule] = true
		all = append(all, v)
	}
	return all
}

var repeat = regexp.MustCompile(`\{REPEAT:([^:{}]+):([0-9]+)\}`)

func repeated(line string) string {
	return repeat.ReplaceAllStringFunc(line, func(placeholder string) string {
		found := repeat.FindStringSubmatch(placeholder)
		times, _ := strconv.Atoi(found[2])
		return strings.Repeat(found[1], times)
	})
}

func (v vector) run(t *testing.T, s *site) *reply {
	t.Helper()
	method, query, body := v.Method, "", ""
	if method == "" {
		method = "GET"
	}
	if method == "POST" {
		body = ask(v.Change...)
	} else {
		query = ask(v.Change...)
	}
	if v.Query != nil {
		query = *v.Query
	}
	if v.Body != nil {
		body = *v.Body
	}
	r := httptest.NewRequest(method, "/authorize", strings.NewReader(body))
	r.URL.RawQuery = query
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range v.Headers {
		r.Header.Set(name, value)
	}
	who := map[string]*session.Session{"": alice(), "alice": alice(), "bob": bob()}[v.As]
	return s.visitor(who).send(s.handler, r)
}

func (v vector) check(t *testing.T, got *reply) {
	t.Helper()
	got.want(v.Want, v.Rule)
	if v.Status != 0 && got.status != v.Status {
		t.Errorf("%s: the status is %d, want %d", v.Rule, got.status, v.Status)
	}
	if v.Mode != "" && got.mode != v.Mode {
		t.Errorf("%s: the answer comes by %s, want %s", v.Rule, got.mode, v.Mode)
	}
	if v.Description != "" && got.params["error_description"] != v.Description {
		t.Errorf("%s: error_description is %q, want %q", v.Rule, got.params["error_description"], v.Description)
	}
	if got.kind != "client" {
		return
	}
	state, ok := got.params["state"]
	if want := "st-1"; v.State == nil && state != want {
		t.Errorf("%s: state is %q, want %q", v.Rule, state, want)
	}
	if v.State != nil && (state != *v.State || ok != (*v.State != "")) {
		t.Errorf("%s: state is %q, want %q", v.Rule, state, *v.State)
	}
}

func TestReading(t *testing.T) {
	s := newSite(t)
	for _, v := range vectors(t, "reading.jsonl") {
		v.check(t, v.run(t, s))
	}
}
