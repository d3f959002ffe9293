package dcr

import (
	"context"
	"errors"
	"log/slog"
	"time"

	oautherr "github.com/usher-auth/usher/errors"
)

// EventKind says what happened. The set is closed.
type EventKind string

const (
	// EventRegistered: a client was given a client_id, which it may have had before.
	EventRegistered EventKind = "registered"
	// EventRefused: a registration was refused, or the host could not say.
	EventRefused EventKind = "refused"
	// EventNotUsed: a request has a client_id of the form of ours that does not count: it is
	// forged, expired, signed with a key that is gone, or no longer allowed; or the host
	// could not say.
	EventNotUsed EventKind = "not_used"
)

// Event is one thing that happened. Empty fields are not known or do not apply.
type Event struct {
	Kind EventKind
	Time time.Time

	// Registration is what was signed, now or before.
	Registration Registration

	// Member is what was wrong in the JSON of a registration, such as "redirect_uris[1]".
	// It is a member that is known here.
	Member string

	Code oautherr.Code // of the error
	Err  error         // with its cause, for the log only
}

// report logs what happened and tells the host.
func (s *Store) report(ctx context.Context, e Event) {
	e.Time = s.config.Now().UTC()
	if e.Err != nil {
		e.Code = oautherr.Of(e.Err).Code
	}
	if s.config.OnEvent != nil {
		s.config.OnEvent(ctx, e)
	}
	s.config.Logger.LogAttrs(ctx, e.level(), "client registration "+string(e.Kind), e.attrs()...)
}

// level is Error where the host has to look, Warn where a client did something wrong.
func (e Event) level() slog.Level {
	switch {
	case e.Err == nil, errors.Is(e.Err, context.Canceled):
		return slog.LevelInfo
	case e.Code == oautherr.TemporarilyUnavailable, e.Code == oautherr.ServerError:
		return slog.LevelError
	}
	return slog.LevelWarn
}

// attrs are the fields that are known.
func (e Event) attrs() (attrs []slog.Attr) {
	for _, a := range []slog.Attr{
		slog.String("client_id", e.Registration.ClientID),
		slog.String("client_name", e.Registration.ClientName),
		slog.String("member", e.Member),
	} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	if len(e.Registration.RedirectURIs) > 0 {
		attrs = append(attrs, slog.Any("redirect_uris", e.Registration.RedirectURIs))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("error", e.Err))
	}
	return attrs
}
