package session

import (
	"log/slog"
	"slices"
	"time"
)

// Session says who is signed in in one browser, since when, and by which methods.
//
// A host with its own sessions fills one in from them. A host without sessions uses
// [Cookies]. The zero value is nobody.
type Session struct {
	// ID identifies this sign-in, for revocation. Every code has it. It must not be the
	// secret that the browser holds: use a hash of it. A host that has no such id leaves it
	// empty. Then AuthTime and Subject identify the sign-in.
	//
	// It must stay the same until the user signs in again, even if the host renews the
	// session or gives its cookie or token a new value. Completed pages of a waiting
	// request, such as consent, count only for this id. If the id changed on every visit,
	// the user would be asked again and again.
	ID string

	// Subject is the user, stable and never reused (OpenID Connect Core 1.0 §2,
	// "sub"). Empty means that nobody is signed in.
	Subject string

	// AuthTime is when the user last proved who they are (OpenID Connect Core 1.0 §2,
	// "auth_time"). Every sign-in sets it anew, even one that renews an old session;
	// visiting a page does not. prompt=login and max_age are decided by it, and the zero
	// time satisfies neither.
	AuthTime time.Time

	// SignedInAt is when this browser passed the host's login page, by a clock that is not
	// behind the endpoint's. It can be later than AuthTime, for example if another server
	// asked for the password earlier. Zero means that the host does not store it. A host
	// that keeps several accounts in one browser must set it. Otherwise choosing one of
	// them could count as the new sign-in that prompt=login and max_age require. Only a new
	// sign-in changes it: using the session, renewing it and choosing the account do not.
	// [Cookies.SignIn] sets it at every call.
	SignedInAt time.Time

	// Persistent marks a sign-in that outlives the browser ("keep me signed in"). [Cookies]
	// keeps it until [Config.Absolute], used or not; see [Cookies.SignIn]. The endpoint
	// ignores it, so a host with its own sessions can leave it unset.
	Persistent bool

	// ACR is the level of the sign-in, AMR has the methods that it used (OpenID Connect
	// Core 1.0 §2, "acr" and "amr"). Empty means unknown.
	ACR string
	AMR []string

	// SecondFactorPending marks an unfinished sign-in: the password was right, but the
	// second factor is missing. With such a session nobody is signed in.
	SecondFactorPending bool

	// Data is the host's own data, which usher does not interpret. It is copied into every
	// code of this session, so that the token endpoint finds it there.
	Data []byte
}

// SignedIn reports whether the session is that of a user who has finished signing in. It is
// false for a nil session.
func (s *Session) SignedIn() bool {
	return s != nil && s.Subject != "" && !s.SecondFactorPending
}

// LogValue keeps the session's id and data out of logs.
func (s Session) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("subject", s.Subject),
		slog.Time("auth_time", s.AuthTime),
		slog.Bool("second_factor_pending", s.SecondFactorPending),
	)
}

// String keeps the session's id and data out of logs.
func (s Session) String() string { return s.LogValue().String() }

// clone returns a copy that shares no memory with s that could be changed.
func (s Session) clone() Session {
	s.AMR = slices.Clone(s.AMR)
	s.Data = slices.Clone(s.Data)
	return s
}

// eachText replaces each text by f(text), also those in AMR, in place.
func (s *Session) eachText(f func(string) string) {
	s.ID, s.Subject, s.ACR = f(s.ID), f(s.Subject), f(s.ACR)
	for i, text := range s.AMR {
		s.AMR[i] = f(text)
	}
}
