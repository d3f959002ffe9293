package cimd

import (
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
