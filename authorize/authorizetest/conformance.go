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

// rule is one rule of the contract of a store S. The check returns what the store does
// wrong. It does not fail a test itself, so that the suite's own tests can see the error.
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

// takers is the number of calls in a race, and rounds the number of races.
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

// newKey returns a new key of the form that stores get. It is different every time, so that
// the suite can run on a database that is not empty.
func newKey() string {
	sum := sha256.Sum256([]byte(rand.Text()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// similarKeys returns other keys of the same form that a careless comparison confuses with
// key. The last character stays, because not every character can end a key.
func similarKeys(key string) []string {
	body, last := key[:len(key)-1], key[len(key)-1:]
	return []string{
		strings.ToUpper(body) + last,
		strings.ToLower(body) + last,
		strings.Repeat("_", len(body)) + last, // a wildcard of SQL
		body[1:] + body[:1] + last,
	}
}

// hostileKeys returns keys made from an existing one. A store must find nothing under them.
func hostileKeys(key string) []string {
	half := len(key) / 2
	return []string{
		key + "\x00", "\x00" + key, key + "\x00" + key, // what ends a string in C
		key + "\xff", key[:half] + "\xc0\x80" + key[half:], "\xed\xa0\x80" + key, // no UTF-8
		key + "\r\n", key + "\n" + key, "\ufeff" + key, key + "\u200b",
		key + "' OR '1'='1", "' OR id LIKE '%" + key[half:], key + `" OR ""="`, key + "';--",
		key + `\`, key + "`", "%" + key[1:], "*", "{" + key + "}",
		key + strings.Repeat(" ", 64<<10), // a length at which a column may cut off
		strings.Repeat(key, 64<<10/len(key)+1),
		key + string(manyBytes(64<<10)),
	}
}

// endedContexts returns two contexts that have ended, by the error that the store must return.
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
			wrong = append(wrong, fmt.Errorf("%s with a context that has ended returned the error %v, want %v",
				name, err, want))
		}
	}
	return errors.Join(wrong...)
}

// awkward is a text that careless stores change: it has other alphabets, combining and four
// byte characters, quotes, wildcards, spaces at the ends, and pieces of SQL, JSON and a
// format.
const awkward = " \u00e9 e\u0301 " + `😀 日本 "'` + "`" + `\ %s %00 {"a":1} '); DROP TABLE codes;-- \0 \n <a> `

// manyBytes returns data of the size with every byte value, so with NUL and invalid UTF-8.
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

// list counts nil and empty as equal.
func (d *difference) list(name string, got, want []string) {
	if !slices.Equal(got, want) {
		d.fields = append(d.fields, fmt.Sprintf("%s is %.80q, want %.80q", name, got, want))
	}
}

// texts counts nil and empty as equal.
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

// first returns the first error. Later errors may only follow from it.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// named adds to an error which call returned it.
func named(method string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return nil
}

// roughlyNow returns a time whose milliseconds are not zero, so that the suite always finds
// a store that cuts them off.
func roughlyNow() time.Time {
	return time.Now().UTC().Truncate(time.Second).Add(123 * time.Millisecond)
}
