package session

import (
	"log/slog"
	"slices"
	"time"
)

// Session says who is signed in in one browser, since when and how.
//
// A host with sessions of its own fills one in from them; a host without uses
// [Cookies]. The zero value is nobody.
type Session struct {
	// ID names this sign-in for revocation. It is bound into every code and must
	// not be the secret that the browser holds: use a hash of it. A host that has
	// no such id leaves it empty; the authentication time then stands in for it
	// wherever "this sign-in and no other" is asked.
	//
	// It stays the same until the user signs in again, and does not change when the
	// host renews the session or gives its cookie or token a new value. What the
	// user has done for a request under way, such as giving consent, counts for this
	// id only: with one that changes on every visit it would be asked for over and
	// over.
	ID string

	// Subject is the user, stable and never reused (OpenID Connect Core 1.0 §2,
	// "sub"). Empty means that nobody is signed in.
	Subject string

	// AuthTime is when the user last proved who they are (OpenID Connect Core
	// 1.0 §2, "auth_time"). Every sign-in resets it, one that renews an old
	// session included; visiting a page does not. It decides prompt=login and
	// max_age, so the zero time satisfies neither.
	AuthTime time.Time

	// SignedInAt is when this browser signed in, by a clock that does not lag behind
	// the endpoint's: the moment at which the login page of the host was passed, even
	// where AuthTime is that of somebody who asked for the password earlier. An account
	// that waited in the browser and is merely chosen keeps the time of its sign-in.
	// Zero means that the host does not keep it. A host that lets several accounts wait
	// in one browser must set it, or choosing one of them could pass for the new sign-in
	// that prompt=login and max_age demand. Only a new sign-in changes it: using the
	// session, renewing it and choosing the account do not. [Cookies.SignIn] sets it at
	// every call.
	SignedInAt time.Time

	// Persistent marks a sign-in that outlives the browser ("keep me signed in").
	// [Cookies] keeps it until [Config.Absolute], used or not; see [Cookies.SignIn]. It
	// means nothing to the endpoint, and a host with sessions of its own may leave it.
	Persistent bool

	// ACR is the level the sign-in reached, AMR the methods that it used
	// (OpenID Connect Core 1.0 §2, "acr" and "amr"). Empty means not stated.
	ACR string
	AMR []string

	// SecondFactorPending marks a sign-in that is not finished: the password was
	// right, the second factor is missing. Such a session is treated as nobody's.
	SecondFactorPending bool

	// Data is the host's own and opaque to usher. It is copied into every code
	// that this session leads to, so that the token endpoint finds it there.
	Data []byte
}

// SignedIn reports whether the session stands for a user who has finished
// signing in. A nil session does not.
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

// clone returns a copy that shares nothing with s that could be changed.
func (s Session) clone() Session {
	s.AMR = slices.Clone(s.AMR)
	s.Data = slices.Clone(s.Data)
	return s
}

// eachText puts f of each text in its place, those of the list AMR too.
func (s *Session) eachText(f func(string) string) {
	s.ID, s.Subject, s.ACR = f(s.ID), f(s.Subject), f(s.ACR)
	for i, text := range s.AMR {
		s.AMR[i] = f(text)
	}
}
