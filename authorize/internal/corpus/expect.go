package corpus

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// ending is one possible outcome of a request. Empty members are not checked. Error is the
// error code that the client gets or that the error page shows. Delivery is query, fragment
// or form_post.
type ending struct {
	Kind           string
	Error          string
	LocationPrefix string `json:"location_prefix"`
	Params         map[string]string
	Delivery       string
	Status         statuses
}

// expectation is the expectation of a case: one outcome, or else one of also_ok. Nothing of
// must_not may be in the answer.
type expectation struct {
	ending
	MustNot []string `json:"must_not"`
	AlsoOK  []ending `json:"also_ok"`
}

// statuses is a number or a list of them.
type statuses []int

func (s *statuses) UnmarshalJSON(text []byte) error {
	one := 0
	if json.Unmarshal(text, &one) == nil {
		*s = statuses{one}
		return nil
	}
	var list []int
	err := json.Unmarshal(text, &list)
	*s = list
	return err
}

// expand replaces the placeholders of an expectation.
func (e expectation) expand(w *world) (expectation, error) {
	var errs []error
	expand := func(text string) string {
		text, err := w.expand(text)
		errs = append(errs, err)
		return text
	}
	outcome := func(o ending) ending {
		o.LocationPrefix = expand(o.LocationPrefix)
		params := map[string]string{}
		for name, value := range o.Params {
			params[name] = expand(value)
		}
		o.Params = params
		return o
	}
	expanded := expectation{ending: outcome(e.ending)}
	for _, form := range e.MustNot {
		expanded.MustNot = append(expanded.MustNot, expand(form))
	}
	for _, o := range e.AlsoOK {
		expanded.AlsoOK = append(expanded.AlsoOK, outcome(o))
	}
	return expanded, errors.Join(errs...)
}

// judge compares an answer with the expectation.
func (e expectation) judge(a *answer) judgement {
	verdict := judgement{problems: e.forbidden(a)}
	wrong := append(e.differences(a), e.undelivered(a)...)
	if len(wrong) == 0 {
		return verdict
	}
	for _, also := range e.AlsoOK {
		if len(also.differences(a)) == 0 {
			verdict.only = a.String()
			return verdict
		}
	}
	verdict.problems = append(verdict.problems, wrong...)
	return verdict
}

// differences returns in which ways the answer differs from the outcome.
func (o ending) differences(a *answer) (wrong []string) {
	differ := func(what string, got, want any) {
		wrong = append(wrong, fmt.Sprintf("%s: got %.300s, want %.300s", what, fmt.Sprint(got), fmt.Sprint(want)))
	}
	if a.kind != o.Kind {
		differ("kind", a, o.Kind)
	}
	if o.Error != "" && a.errorCode() != o.Error {
		differ("error", a.errorCode(), o.Error)
	}
	if !strings.HasPrefix(a.target, o.LocationPrefix) {
		differ("location_prefix", a.target, o.LocationPrefix)
	}
	for name, want := range o.Params {
		if got := a.param(name); got != want {
			differ("params "+name, strconv.Quote(got), strconv.Quote(want))
		}
	}
	switch {
	case len(o.Status) > 0 && !slices.Contains(o.Status, a.status):
		differ("status", a.status, o.Status)
	case len(o.Status) == 0 && a.status >= 500:
		differ("status", a.status, "one below 500")
	}
	return wrong
}

// undelivered returns an error if the delivery is not the expected one. If the case names
// none, it must be the query, or form_post if the request asked for that.
func (o ending) undelivered(a *answer) []string {
	got, want := a.delivery(), o.Delivery
	switch {
	case want == "" && (got == "query" || got == "form_post" && a.asked.formPost):
		return nil
	case want == "":
		want = "query"
	case !slices.Contains([]string{"query", "fragment", "form_post"}, want):
		return []string{"delivery: the runner does not know " + want}
	}
	if got != want {
		return []string{"delivery: got " + got + ", want " + want}
	}
	return nil
}

// forbidden returns the forms of must_not that the answer matches.
func (e expectation) forbidden(a *answer) (wrong []string) {
	for _, form := range e.MustNot {
		found, err := a.matches(form)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("must_not %s: %v", form, err))
		}
		if found {
			wrong = append(wrong, fmt.Sprintf("must_not %s: it is there (status %d, target %.300q)", form,
				a.status, a.target))
		}
	}
	return wrong
}

// matches reports whether the answer matches a form of must_not.
func (a *answer) matches(form string) (bool, error) {
	what, rest, _ := strings.Cut(form, ":")
	if rest == "" && what != "canary" {
		return false, errors.New("the form is incomplete")
	}
	switch what {
	case "param":
		return a.has(rest), nil
	case "location":
		return containsFold(a.withoutChance(a.header.Get("Location")), rest), nil
	case "header":
		_, found := a.header[http.CanonicalHeaderKey(rest)]
		return found, nil
	case "header-missing":
		name, sub, _ := strings.Cut(rest, ":")
		values, found := a.header[http.CanonicalHeaderKey(name)]
		return !found || !containsFold(strings.Join(values, ","), sub), nil
	case "body":
		return containsFold(a.withoutChance(a.body), rest), nil
	case "set-cookie":
		return slices.ContainsFunc(a.header["Set-Cookie"], func(line string) bool {
			name, _, _ := strings.Cut(line, "=")
			return name == rest
		}), nil
	case "status":
		if class, ok := strings.CutSuffix(rest, "xx"); ok {
			return strconv.Itoa(a.status/100) == class, nil
		}
		return strconv.Itoa(a.status) == rest, nil
	case "canary":
		return a.fetched > 0, nil
	}
	return false, errors.New("the runner does not know this form")
}

func containsFold(text, sub string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(sub))
}

// withoutChance removes the endpoint's own random values: the stored code, the signed
// request (req) and the ID of an error page. Otherwise a short text would be found in them
// by chance, once in a few thousand runs.
func (a *answer) withoutChance(text string) string {
	for _, saved := range a.codes {
		if code := a.param("code"); hashOf(code) == saved.hash {
			text = strings.ReplaceAll(text, code, "(code)")
		}
	}
	if req := a.param("req"); a.kind == loginRedirect && strings.Count(req, ".") == 2 {
		text = strings.ReplaceAll(text, req, "(req)")
	}
	for _, e := range a.events {
		if e.ErrorID != "" {
			text = strings.ReplaceAll(text, e.ErrorID, "(id)")
		}
	}
	return text
}
