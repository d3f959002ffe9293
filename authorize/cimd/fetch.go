package cimd

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxBody   = 5 * 1024 // the draft recommends 5 KB
	maxHeader = 16 << 10

	// unsaid is how long a document counts whose headers do not say it.
	unsaid = time.Hour
)

// newTransport never keeps a connection, so that it holds nothing for anybody, and uses no
// proxy of the environment, which would be the one to resolve names.
func newTransport(d *dialer) *http.Transport {
	return &http.Transport{
		DialContext:            d.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    d.timeout,
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: maxHeader,
	}
}

// response is what a fetch brought beside the body.
type response struct {
	status      int
	contentType string // as sent
	challenge   string
	retryAfter  time.Duration
	fresh       time.Duration // by the headers
	noStore     bool
}

// A failure is why there is no document.
type failure struct {
	passing  bool   // it may be over soon, so that the last document may serve
	ofHost   bool   // nothing else of this host could be fetched either
	member   string // of the document
	retry    time.Duration
	err      error
	response response
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// short is what is kept and logged of an error: http.Transport puts into some what the
// server sent, of any length.
func short(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("it took too long: %w", context.DeadlineExceeded)
	}
	return errors.New(cut(err.Error()))
}

// saysNo reports whether the host has said that there is no document, or sent one that
// cannot be used. An address that we refuse is no such case: it must look like a host
// that cannot be reached, or anybody could find out which names there are inside.
func (f *failure) saysNo() bool { return !f.passing && f.response.status != 0 }

// unreachable is the failure of a host that cannot be reached.
func unreachable(err error) *failure { return &failure{passing: true, ofHost: true, err: err} }

// fetch gets the document, or says why it is none: what is not 200 with JSON in the limits.
func (s *Store) fetch(ctx context.Context, u *url.URL) (got response, body []byte, fail *failure) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return got, nil, &failure{err: err}
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Accept-Encoding", "identity")
	r.Header.Set("User-Agent", "usher (OAuth client metadata for "+s.config.Issuer+")")
	answer, err := s.transport.RoundTrip(r) // which follows no redirects
	if err != nil {
		fail = unreachable(short(err))
		if refused := (refusedAddress{}); errors.As(err, &refused) {
			fail.passing = false
		}
		return got, nil, fail
	}
	defer answer.Body.Close()
	got = response{
		status:      answer.StatusCode,
		contentType: cut(answer.Header.Get("Content-Type")),
		retryAfter:  retryAfter(answer.Header, s.config.Now()),
	}
	if got.status == http.StatusForbidden {
		got.challenge = challenge(answer.Header)
	}
	got.fresh, got.noStore = freshness(answer.Header, s.config.Now())
	if fail = got.judge(answer); fail == nil {
		body, fail = readBody(answer)
	}
	if fail != nil {
		fail.response, fail.retry = got, got.retryAfter
	}
	return got, body, fail
}

// judge says why the body need not be read.
func (got *response) judge(answer *http.Response) *failure {
	switch {
	case got.status == http.StatusTooManyRequests:
		return &failure{passing: true, ofHost: true, err: errors.New("its host wants fewer requests")}
	case got.status >= 500:
		return &failure{passing: true, err: errors.New("its host has an error")}
	case got.challenge != "":
		return &failure{passing: true, err: errors.New("its host challenges robots")}
	case got.status != http.StatusOK:
		return &failure{err: fmt.Errorf("the status is %d, and not 200", got.status)}
	case !isJSON(answer.Header.Get("Content-Type")):
		return &failure{err: fmt.Errorf("the content type is %.80q, and not JSON", got.contentType)}
	case cmp.Or(strings.ToLower(answer.Header.Get("Content-Encoding")), "identity") != "identity":
		return &failure{err: errors.New("it has a content encoding, which was not asked for")}
	}
	return nil
}

func readBody(answer *http.Response) ([]byte, *failure) {
	body, err := io.ReadAll(io.LimitReader(answer.Body, int64(maxBody+1)))
	switch {
	case len(body) > maxBody:
		return nil, &failure{err: errTooLong}
	case err != nil:
		// The host is there: one slow address of it is no reason to leave the others alone.
		return nil, &failure{passing: true, err: fmt.Errorf("the body did not come whole: %w", short(err))}
	}
	return body, nil
}

var errTooLong = fmt.Errorf("it is longer than %d bytes", maxBody)

func isJSON(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return false
	}
	kind, found := strings.CutPrefix(media, "application/")
	return found && (kind == "json" || strings.HasSuffix(kind, "+json"))
}

// challengeHeaders are those by which services in front of a host say that they took us
// for a robot.
var challengeHeaders = []string{"Cf-Mitigated", "X-Amzn-Waf-Action", "X-Datadome", "X-Vercel-Mitigated"}

// challenge names what makes a 403 a challenge: the domain has not said that there is no
// document, only that it would like to see a browser.
func challenge(header http.Header) string {
	for _, name := range challengeHeaders {
		if value := header.Get(name); value != "" {
			return fmt.Sprintf("%s: %.40s", strings.ToLower(name), value)
		}
	}
	if media, _, _ := mime.ParseMediaType(header.Get("Content-Type")); media == "text/html" {
		return "page"
	}
	return ""
}

// freshness reads how long a response may be used (RFC 9111 §4.2.1), as a shared cache
// does. The host's bounds come later.
func freshness(header http.Header, now time.Time) (fresh time.Duration, noStore bool) {
	directives := map[string]string{}
	for _, directive := range strings.Split(strings.Join(header.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		if name = strings.ToLower(name); name != "" {
			directives[name] = strings.Trim(value, `"`)
		}
	}
	_, noStore = directives["no-store"]
	_, noCache := directives["no-cache"]
	age, _ := seconds(header.Get("Age"))
	for _, name := range []string{"s-maxage", "max-age"} {
		if value, found := directives[name]; found && !noCache {
			fresh, _ = seconds(value) // one that is no number is stale at once
			return max(fresh-age, 0), noStore
		}
	}
	if noStore || noCache {
		return 0, noStore
	}
	if expires := header.Get("Expires"); expires != "" {
		until, err := http.ParseTime(expires)
		if err != nil {
			return 0, false // such as 0
		}
		sent, err := http.ParseTime(header.Get("Date"))
		if err != nil {
			sent = now
		}
		return max(until.Sub(sent)-age, 0), false
	}
	return unsaid, false
}

// seconds reads a number of seconds, up to a year.
func seconds(text string) (time.Duration, bool) {
	n, err := strconv.ParseUint(text, 10, 64)
	if errors.Is(err, strconv.ErrSyntax) {
		return 0, false
	}
	return time.Duration(min(n, 365*24*3600)) * time.Second, true
}

func retryAfter(header http.Header, now time.Time) time.Duration {
	text := header.Get("Retry-After")
	if after, ok := seconds(text); ok {
		return after
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}
