package authorize

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	oautherr "github.com/usher-auth/usher/errors"
)

// EventKind says what happened. The set is closed.
type EventKind string

const (
	// EventApproved: a code, or for response_type=none an empty response, went to the
	// client.
	EventApproved EventKind = "approved"
	// EventRefused: an error went to the client.
	EventRefused EventKind = "refused"
	// EventErrorPage: the user saw an error page.
	EventErrorPage EventKind = "error_page"
	// EventInteraction: the user was sent to the page named in Event.Interaction.
	EventInteraction EventKind = "interaction"
	// EventCompleted: the user completed the interaction named in Event.Interaction;
	// for consent, Event.Scopes are those granted.
	EventCompleted EventKind = "completed"
	// EventAskedAgain: a POST without a session was redirected to a GET.
	EventAskedAgain EventKind = "asked_again"
	// EventRedeemed: a code was redeemed.
	EventRedeemed EventKind = "redeemed"
	// EventNotRedeemed: a redemption was refused.
	EventNotRedeemed EventKind = "not_redeemed"
	// EventReplayed: a code was presented a second time.
	EventReplayed EventKind = "replayed"
)

// Event describes one thing that happened. It holds no code, state, verifier, hint, cookie
// or full URL. Empty fields are unknown or do not apply.
type Event struct {
	Kind         EventKind
	Time         time.Time
	Duration     time.Duration // of the whole request; zero for redemptions and EventCompleted
	ErrorID      string        // as on the error page
	ClientID     string        // of a known client, never an unknown one from the request
	RedirectHost string
	Subject      string
	SessionID    string
	GrantID      string   // Code.GrantID, if a code was issued, redeemed or presented
	Scopes       []string // granted if a code was issued, otherwise requested
	LeftOut      []string // requested scopes that were dropped without asking the user
	ResponseType string
	ResponseMode string
	Interaction  string
	Reason       Reason
	Code         oautherr.Code // of the error
	Err          error         // the error with its cause, for the log only; without Code it refused nothing
}

// report logs what happened and tells the host.
func (h *Handler) report(ctx context.Context, e Event) {
	if h.config.OnEvent != nil {
		h.config.OnEvent(ctx, e)
	}
	level := e.level()
	if !h.log.Enabled(ctx, level) {
		return
	}
	h.log.LogAttrs(ctx, level, "authorization "+string(e.Kind), e.attrs()...)
}

// LogValue returns the event as the log has it. Event.Err may hold a [ReplayError] with a
// code's record, whose fields encoders must not write.
func (e Event) LogValue() slog.Value {
	return slog.GroupValue(append(e.attrs(), slog.String("kind", string(e.Kind)))...)
}

// attrs are the fields that are set.
func (e Event) attrs() []slog.Attr {
	attrs := make([]slog.Attr, 0, 13)
	for _, a := range []slog.Attr{
		slog.String("client_id", e.ClientID),
		slog.String("redirect_host", e.RedirectHost),
		slog.String("subject", e.Subject),
		slog.String("grant_id", e.GrantID),
		slog.String("scope", strings.Join(e.Scopes, " ")),
		slog.String("left_out", strings.Join(e.LeftOut, " ")),
		slog.String("response_type", e.ResponseType),
		slog.String("interaction", e.Interaction),
		slog.String("reason", string(e.Reason)),
		slog.String("error_id", e.ErrorID),
	} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("error", e.Err))
	}
	if e.Duration != 0 {
		attrs = append(attrs, slog.Duration("duration", e.Duration))
	}
	return attrs
}

// level is Error if the host has to act, and Warn if a client or an attacker did something
// wrong.
func (e Event) level() slog.Level {
	switch {
	case errors.Is(e.Err, context.Canceled):
		return slog.LevelInfo // the browser went away; anybody can cause that
	case e.saidByTheHost():
		return slog.LevelInfo
	case e.Reason == ReasonClientUnreachable:
		return slog.LevelWarn // the client's server does not respond
	case e.Code == oautherr.ServerError || e.Code == oautherr.TemporarilyUnavailable:
		return slog.LevelError
	case e.Kind == EventReplayed || e.Kind == EventErrorPage || e.Kind == EventNotRedeemed:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// saidByTheHost reports whether the host itself says that it is unavailable, as during
// maintenance: then nothing has failed.
func (e Event) saidByTheHost() bool {
	refused := (*oautherr.Error)(nil)
	return e.Code == oautherr.TemporarilyUnavailable && errors.As(e.Err, &refused) && refused.Cause == nil
}

// event describes a response.
func (v *visit) event(now time.Time) Event {
	e := Event{
		Kind:     v.kind(),
		Time:     v.started.UTC(),
		Duration: now.Sub(v.started),
		Reason:   v.decision.Reason,
		ErrorID:  v.errorID,
	}
	if v.client != nil {
		e.ClientID = v.client.ID
	}
	if v.request != nil {
		e.Scopes, e.ResponseType, e.ResponseMode = v.request.Scopes, v.request.ResponseType, v.request.ResponseMode
		e.RedirectHost = v.request.RedirectHost()
		e.LeftOut = slices.Concat(v.request.LeftOut, v.leftOut)
	}
	if v.granted != nil {
		e.Scopes, e.GrantID = v.granted, v.grantID
	}
	if v.session.SignedIn() {
		e.Subject, e.SessionID = v.session.Subject, v.session.ID
	}
	if v.request != nil {
		e.Err = v.request.hintErr
	}
	if v.err != nil {
		e.Err, e.Code = v.err, v.err.Code
	}
	if v.page != "" {
		e.Interaction = v.decision.Interaction
	}
	return e
}

func (v *visit) kind() EventKind {
	switch {
	case v.err == nil && v.approved:
		return EventApproved
	case v.err == nil && v.decision.Outcome == interact:
		return EventInteraction
	case v.err == nil:
		return EventAskedAgain
	case v.shown:
		return EventErrorPage
	}
	return EventRefused
}

func (h *Handler) reportRedemption(ctx context.Context, r Redemption, code *Code, err error) {
	e := Event{Kind: EventRedeemed, Time: h.config.Now().UTC()}
	if code != nil {
		e.ClientID, e.Subject, e.SessionID, e.Scopes = code.ClientID, code.Subject, code.SessionID, code.Scopes
		e.GrantID = code.GrantID
	}
	var replay *ReplayError
	switch {
	case errors.As(err, &replay):
		e.Kind, e.Code, e.Err = EventReplayed, oautherr.InvalidGrant, oautherr.InvalidGrant.Because(err)
	case err != nil:
		refused := oautherr.Of(err)
		e.Kind, e.Code, e.Err = EventNotRedeemed, refused.Code, refused
	}
	h.report(ctx, e)
}
