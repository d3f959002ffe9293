package session

import (
	"context"
	"strings"
	"time"
)

// Record is a session as a [Store] keeps it. Its ID is its key in the store.
//
// [Cookies] sets every time in UTC and in whole microseconds, which usual databases store
// without loss.
type Record struct {
	Session

	// CreatedAt is when the user signed in, like SignedInAt. It never changes.
	CreatedAt time.Time

	// LastSeenAt is when the session was last used. It can be up to a minute too early, as
	// [Config.Idle] describes. Only [Store.TouchSession] changes it.
	LastSeenAt time.Time

	// ExpiresAt is when the session expires unless it is used before: LastSeenAt plus
	// [Config.Idle], or EndsAt if that is earlier. For a Persistent session it is EndsAt,
	// unless its second factor is pending. A store that drops expired sessions uses this
	// time, for example as the time to live of a key. Only [Store.TouchSession] changes it,
	// and only to a later time.
	ExpiresAt time.Time

	// EndsAt is when the session ends however much it is used: CreatedAt plus the
	// [Config.Absolute] of that time. It never changes.
	EndsAt time.Time
}

// Store keeps the sessions of [Cookies]. [Memory] is a Store for a single process. A host
// with several processes needs a database that all of them share.
//
// For every method:
//
//   - It may be called by any number of goroutines at once, and each call takes effect
//     completely or not at all. Every later call sees what a call has stored or deleted, in
//     other processes too: with a database replica that lags, a user would still be signed
//     in after signing out.
//   - If the context is already done, the method changes nothing and returns the context's
//     error or one that wraps it. If it becomes done during the call, the method soon
//     returns an error; the change may have happened or not. The context is the request's
//     and may have no deadline, so a store on a network needs a time limit of its own.
//   - An error means only that the store failed: [Cookies] then treats nobody as signed in.
//     If a record does not exist, that is not an error.
//   - Keys are 43 characters of base64url and are compared as bytes: a database column
//     needs a collation in which "a" and "A" differ. Subjects are compared as bytes too,
//     and may have any bytes.
//   - Records that are passed or returned share no memory with the stored ones: a later
//     change by the caller does not change the store, and the other way round. A nil slice
//     may come back as an empty one, and an empty one as nil. Times come back exact to the
//     microsecond, in any location.
//   - The arguments are valid: a key is not empty, and a record is not nil and has a
//     subject.
type Store interface {
	// SaveSession adds a record under a new key. If the key is in use, the call fails and
	// the stored record stays as it is. The key of an expired record that is still stored
	// may count as in use or not. A full store fails too; it does not drop a valid session
	// of somebody else to make room.
	//
	// A store may limit how many sessions one subject has at a time. At the limit, a new
	// session replaces the one of the same subject that expires or ends first. Sign-ins
	// with SecondFactorPending must then have a limit of their own: a pending session
	// replaces only pending ones, and a finished session only finished ones. Otherwise an
	// attacker with the password could end the sessions of its owner, or keep the owner
	// from signing in. A finished sign-in is saved as a new record before the pending one
	// is deleted.
	SaveSession(ctx context.Context, key string, rec *Record) error

	// FindSession returns the record under the key as it was saved and touched, with its
	// ID, by which Cookies detects a wrong record. If there is none it returns nil and a
	// nil error. From ExpiresAt on, the record may be gone. If it still exists it may be
	// returned, because Cookies checks the times itself. Finding a session does not extend
	// it.
	FindSession(ctx context.Context, key string) (*Record, error)

	// TouchSession sets the record's LastSeenAt to seen if that is later than the stored
	// value, and its ExpiresAt to expires if that is later than the stored value. The two
	// are independent, and neither ever becomes earlier, in whatever order the calls
	// arrive. Nothing else is changed, and the store does not check the times. A store that
	// drops records by a timer must move the timer with ExpiresAt.
	//
	// An unknown key is not an error and adds nothing: a touch after a deletion must not
	// restore a part of the session. An expired record that is still stored may be touched
	// or not.
	TouchSession(ctx context.Context, key string, seen, expires time.Time) error

	// DeleteSession removes the record under the key. An unknown key is not an
	// error. Once it has returned nil, no FindSession returns the record.
	DeleteSession(ctx context.Context, key string) error

	// DeleteSessionsOf removes every record of the subject that was saved before the call
	// began; one saved during the call may stay. A subject without records is not an error.
	// After an error some records may remain; another call removes them.
	DeleteSessionsOf(ctx context.Context, subject string) error
}

// clone returns a copy that shares no memory with rec that could be changed.
func (rec *Record) clone() *Record {
	c := *rec
	c.Session = rec.Session.clone()
	return &c
}

// kept returns a copy for long storage. Its texts are copied too: a text that is a part of
// a request's body would keep the whole body in memory.
func (rec *Record) kept() *Record {
	c := rec.clone()
	c.eachText(strings.Clone)
	return c
}
