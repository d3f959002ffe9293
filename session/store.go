package session

import (
	"context"
	"strings"
	"time"
)

// Record is a session as a [Store] keeps it. Its ID is the key that it is kept under.
//
// [Cookies] gives every time in UTC and in whole microseconds, which the columns of
// the usual databases hold without loss.
type Record struct {
	Session

	// CreatedAt is when the user signed in, as SignedInAt is. It never changes.
	CreatedAt time.Time

	// LastSeenAt is when the session was last used, give or take the minute that
	// [Config.Idle] describes. Only [Store.TouchSession] changes it.
	LastSeenAt time.Time

	// ExpiresAt is when the session is over unless it is used before: LastSeenAt and
	// [Config.Idle], or EndsAt where that is earlier. For one that is Persistent it is
	// EndsAt, unless its second factor is pending. A store that drops what has expired
	// goes by it, as the time to live of a key for example. Only [Store.TouchSession]
	// changes it, and only to a later time.
	ExpiresAt time.Time

	// EndsAt is when the session is over however much it is used: CreatedAt and
	// [Config.Absolute] as it was at that time. It never changes.
	EndsAt time.Time
}

// Store keeps the sessions of [Cookies]. [Memory] is one for a single process; a
// host with several keeps them in a database that all of them reach.
//
// For every method:
//
//   - It may be called by any number of goroutines at once, and each call takes
//     effect as a whole or not at all. What one call has stored or deleted, every
//     later call sees, in other processes too: a session read from a replica that
//     lags is a user who is still signed in after signing out.
//   - A context that is already done gives an error, its own or one that wraps it,
//     and changes nothing. One that is done in the middle ends the call soon, with
//     an error; the change may then have happened or not. The context is the
//     request's and may have no deadline, so a store on a network has a limit of
//     its own.
//   - An error means that the store failed, and nothing else: [Cookies] then treats
//     nobody as signed in. That something is not there is not an error.
//   - Keys are 43 characters of base64url and compared as bytes: a column needs a
//     collation in which "a" and "A" differ. Subjects are compared as bytes too, and
//     may hold any bytes that the host puts there.
//   - Records given and returned share no memory with what is stored: what the
//     caller does to one afterwards changes nothing in the store, and the other way
//     round. A nil slice may come back as an empty one, and an empty one as nil.
//     Times come back to the microsecond, in any location.
//   - The arguments are sound: no key is empty, no record nil or without a subject.
type Store interface {
	// SaveSession adds a record under a key that is not in use. If it is in use the
	// call fails and the record that is there stays as it is; a record that has
	// expired but is still stored may count as in use or not. A store that is full
	// fails too; it does not make room by dropping somebody else's session that is
	// still good.
	//
	// It may bound how many sessions one subject has at a time, and let those that
	// expire or end first give way to a new one of the same subject. Sign-ins that have
	// SecondFactorPending then have a share of their own: they push out only one
	// another, and finished ones only finished ones. Otherwise whoever has a password
	// could end the sessions of its owner, or keep the owner from signing in. A sign-in
	// that is finished comes as a new record, before the pending one is deleted, and
	// counts among the finished from then on.
	SaveSession(ctx context.Context, key string, rec *Record) error

	// FindSession returns the record under the key as it was saved and since touched,
	// its ID included, by which Cookies notices a mix-up. Where there is none it
	// returns nil with a nil error. From ExpiresAt on, as touches have moved it, the
	// record may be gone. If it is still there it may be returned, as Cookies checks
	// the times itself. Finding a session does not extend it.
	FindSession(ctx context.Context, key string) (*Record, error)

	// TouchSession sets the record's LastSeenAt to seen if that is later than what
	// is there, and its ExpiresAt to expires if that is later than what is there.
	// Each goes by itself: neither is ever moved back, in whatever order calls
	// arrive. Nothing else is changed, and whether the times make sense is the
	// caller's business. A store that drops records by a timer of its own moves it
	// along with ExpiresAt.
	//
	// An unknown key is not an error and adds nothing: a touch that comes after a
	// deletion must not bring a part of the session back. A record that has expired
	// but is still stored may be touched or left to go.
	TouchSession(ctx context.Context, key string, seen, expires time.Time) error

	// DeleteSession removes the record under the key. An unknown key is not an
	// error. Once it has returned nil, no FindSession returns the record.
	DeleteSession(ctx context.Context, key string) error

	// DeleteSessionsOf removes every record of the subject that was saved before
	// the call began; one saved while it runs may stay. A subject without records is
	// not an error. After an error some may be gone and some not, and calling again
	// finishes the work.
	DeleteSessionsOf(ctx context.Context, subject string) error
}

// clone returns a copy that shares nothing with rec that could be changed.
func (rec *Record) clone() *Record {
	c := *rec
	c.Session = rec.Session.clone()
	return &c
}

// kept returns a copy to keep for long. Its texts are copied too: one that was cut out
// of a request's body would keep all of that body in memory.
func (rec *Record) kept() *Record {
	c := rec.clone()
	c.eachText(strings.Clone)
	return c
}
