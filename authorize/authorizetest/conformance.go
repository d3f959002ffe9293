package authorizetest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// rule is one thing that the contract of a store S says. The check returns what the
// store does wrong; it does not fail a test itself, so that tests of the suite can
// see it fail.
type rule[S any] struct {
	name  string
	check func(ctx context.Context, store S) error
}

func testRules[S any](t *testing.T, rules []rule[S], open func(t *testing.T) S) {
	t.Helper()
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			if err := r.check(t.Context(), open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// takers is how many calls race for one thing, and rounds how often they do.
const (
	takers = 50
	rounds = 5
)

// race calls f in takers goroutines that all start together and returns the errors.
func race(f func(i int) error) error {
	var wg sync.WaitGroup
	start := make(chan struct{})
	errs := make([]error, takers)
	for i := range takers {
		wg.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	return errors.Join(errs...)
}

// newKey returns a key as stores are given it: new every time, so that the suite can
// run on a database that is not empty.
func newKey() string {
	sum := sha256.Sum256([]byte(rand.Text()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// similarKeys are different keys of the same form that a careless comparison takes
// for key. The last character stays, as not every one can end a key.
func similarKeys(key string) []string {
	body, last := key[:len(key)-1], key[len(key)-1:]
	return []string{
		strings.ToUpper(body) + last,
		strings.ToLower(body) + last,
		strings.Repeat("_", len(body)) + last, // a wildcard of SQL
		body[1:] + body[:1] + last,
	}
}

// hostileKeys are keys made of one that is there, with which nothing may be found.
func hostileKeys(key string) []string {
	half := len(key) / 2
	return []string{
		key + "\x00", "\x00" + key, key + "\x00" + key, // what ends a string in C
		key + "\xff", key[:half] + "\xc0\x80" + key[half:], "\xed\xa0\x80" + key, // no UTF-8
		key + "\r\n", key + "\n" + key, "\ufeff" + key, key + "\u200b",
		key + "' OR '1'='1", "' OR id LIKE '%" + key[half:], key + `" OR ""="`, key + "';--",
		key + `\`, key + "`", "%" + key[1:], "*", "{" + key + "}",
		key + strings.Repeat(" ", 64<<10), // as long as a column is cut off at
		strings.Repeat(key, 64<<10/len(key)+1),
		key + string(manyBytes(64<<10)),
	}
}

// endedContexts are two that are over, each with the error that the store returns.
func endedContexts(ctx context.Context) map[error]context.Context {
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	late, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Second))
	cancel()
	return map[error]context.Context{context.Canceled: cancelled, context.DeadlineExceeded: late}
}

// wantErrors checks that every call, by name, has failed with the error.
func wantErrors(want error, calls map[string]error) error {
	var wrong []error
	for name, err := range calls {
		if !errors.Is(err, want) {
			wrong = append(wrong, fmt.Errorf("%s with a context that was over returned the error %v, want %v",
				name, err, want))
		}
	}
	return errors.Join(wrong...)
}

// awkward has what stores get wrong in texts: other alphabets, combining and four
// byte characters, quotes, wildcards, spaces at the ends, and what looks like SQL,
// JSON or a format.
const awkward = " \u00e9 e\u0301 " + `😀 日本 "'` + "`" + `\ %s %00 {"a":1} '); DROP TABLE codes;-- \0 \n <a> `

// manyBytes returns data of a size with every byte in it, NUL and invalid UTF-8
// included.
func manyBytes(size int) []byte {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i * 7)
	}
	return data
}

// difference collects the fields in which two records differ.
type difference struct{ fields []string }

func (d *difference) text(name, got, want string) {
	if got != want {
		d.fields = append(d.fields, fmt.Sprintf("%s is %.80q, want %.80q", name, got, want))
	}
}

func (d *difference) flag(name string, got, want bool) {
	if got != want {
		d.fields = append(d.fields, fmt.Sprintf("%s is %t, want %t", name, got, want))
	}
}

// list takes nil and empty for the same.
func (d *difference) list(name string, got, want []string) {
	if !slices.Equal(got, want) {
		d.fields = append(d.fields, fmt.Sprintf("%s is %.80q, want %.80q", name, got, want))
	}
}

// texts takes nil and empty for the same.
func (d *difference) texts(name string, got, want map[string]string) {
	if !maps.Equal(got, want) {
		d.fields = append(d.fields, fmt.Sprintf("%s is %.200q, want %.200q", name, got, want))
	}
}

// time compares instants.
func (d *difference) time(name string, got, want time.Time) {
	if !got.Equal(want) {
		d.fields = append(d.fields, fmt.Sprintf("%s is %v, want %v", name, got, want))
	}
}

// utc compares instants and wants the zone to be UTC.
func (d *difference) utc(name string, got, want time.Time) {
	d.time(name, got, want)
	if zone, offset := got.Zone(); offset != 0 {
		d.fields = append(d.fields, fmt.Sprintf("%s is in the zone %s, want UTC", name, zone))
	}
}

func (d *difference) error() error {
	if len(d.fields) == 0 {
		return nil
	}
	return errors.New(strings.Join(d.fields, "; "))
}

// first returns the first error, for a check that makes no sense after it.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// named says which call an error came from.
func named(method string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return nil
}

// roughlyNow is a time whose milliseconds are never zero, so that a store that rounds
// them away is found out at any time of day.
func roughlyNow() time.Time {
	return time.Now().UTC().Truncate(time.Second).Add(123 * time.Millisecond)
}
