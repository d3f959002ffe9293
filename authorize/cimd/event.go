package cimd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"
)

// EventKind says what happened. The set is closed.
type EventKind string

const (
	// EventFetched: a document was fetched and is valid.
	EventFetched EventKind = "fetched"
	// EventFailed: a document could not be fetched, which may be over soon.
	EventFailed EventKind = "failed"
	// EventStale: a document whose time is over was used, because it could not be fetched.
	EventStale EventKind = "stale"
	// EventRefused: what was fetched is no usable document, or Allow did not let it pass.
	EventRefused EventKind = "refused"
)

// Event is one thing that happened. It has nothing of the body but what is said here.
// Empty fields are not known or do not apply.
type Event struct {
	Kind          EventKind
	Time          time.Time
	Duration      time.Duration // of the fetch
	URL           string        // of the document, without its query
	Host          string        // of the URL, with its port
	Status        int           // of the response
	ContentType   string
	Challenge     string        // the header by which a host challenges robots, or "page"
	Member        string        // of the document, that is wrong
	RedirectHosts []string      // of redirect URIs on the web, other than the document's own
	LeftOut       []string      // redirect URIs that cannot be used
	Age           time.Duration // of a stale document, since it was fetched
	Err           error         // why, for the log only
}

// report completes an event, logs it and tells the host. A panic of the host's in it must
// not end the program, as it would in a goroutine of ours.
func (s *Store) report(ctx context.Context, u *url.URL, e Event) {
	e.Time, e.URL, e.Host = s.config.Now().UTC(), shownURL(u), u.Host
	if fail := (*failure)(nil); errors.As(e.Err, &fail) {
		e.Status, e.ContentType = fail.response.status, fail.response.contentType
		e.Challenge, e.Member = fail.response.challenge, fail.member
	}
	level := slog.LevelWarn
	if e.Kind == EventFetched {
		level = slog.LevelInfo
	}
	defer func() {
		if r := recover(); r != nil {
			s.config.Logger.ErrorContext(ctx, "cimd: Config.OnEvent panics", "panic", fmt.Sprint(r))
		}
	}()
	s.config.Logger.LogAttrs(ctx, level, "client metadata document "+string(e.Kind), e.attrs()...)
	if s.config.OnEvent != nil {
		s.config.OnEvent(ctx, e)
	}
}

// LogValue writes an event as the log has it.
func (e Event) LogValue() slog.Value {
	return slog.GroupValue(append(e.attrs(), slog.String("kind", string(e.Kind)))...)
}

// attrs are the fields that are known. What a stranger can make long is cut.
func (e Event) attrs() (attrs []slog.Attr) {
	for _, a := range []slog.Attr{
		slog.String("url", cut(e.URL)),
		slog.String("content_type", cut(e.ContentType)),
		slog.String("challenge", e.Challenge),
		slog.String("member", cut(e.Member)),
		slog.String("redirect_hosts", cut(strings.Join(e.RedirectHosts, " "))),
		slog.String("left_out", cut(strings.Join(e.LeftOut, " "))),
	} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	if e.Status != 0 {
		attrs = append(attrs, slog.Int("status", e.Status))
	}
	if e.Age != 0 {
		attrs = append(attrs, slog.Duration("age", e.Age))
	}
	if e.Duration != 0 {
		attrs = append(attrs, slog.Duration("duration", e.Duration))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("error", e.Err))
	}
	return attrs
}

func cut(text string) string {
	if len(text) > 200 {
		return text[:200] + "..."
	}
	return text
}
