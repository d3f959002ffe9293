package cimd

import (
	"container/list"
	"time"
)

const (
	// maxStale is how long a document is at hand after it was fetched or its time was
	// over: as long as a request may wait for the user. One with no-store is kept for
	// pendingTime, which is as long as it does wait as a rule.
	maxStale    = day
	pendingTime = time.Hour

	firstRetry = 10 * time.Second
	lastRetry  = 5 * time.Minute

	// Of one host, maxFailed addresses without a document are tried in failedWindow.
	maxFailed    = 30
	failedWindow = time.Minute
	maxPerHost   = 2
)

// cached is a document that was valid when it was fetched.
type cached struct {
	*document
	response response
	at       time.Time
	expires  time.Time // it is fresh before
	noStore  bool
}

func (c *cached) fresh(now time.Time) bool { return c != nil && now.Before(c.expires) }

// atHand reports whether one that is not fresh counts where none may be fetched.
func (c *cached) atHand(now time.Time) bool {
	if c == nil {
		return false
	}
	if c.noStore {
		return now.Before(c.at.Add(pendingTime))
	}
	return now.Before(c.expires.Add(maxStale))
}

// stale reports whether it may serve although its host could not be asked again.
func (c *cached) stale(now time.Time, staleFor time.Duration) bool {
	return c != nil && !c.noStore && now.Before(c.expires.Add(staleFor))
}

// trouble is what keeps us from trying an address again.
type trouble struct {
	err   *failure
	times int // in a row
	until time.Time
}

// add makes the next try wait, twice as long each time that a host stays away.
func (t *trouble) add(fail *failure, now time.Time) {
	if now.Sub(t.until) > lastRetry || fail.saysNo() {
		t.times = 0 // long ago, or not of that kind
	}
	wait := firstRetry << min(t.times, 10)
	wait = min(max(wait, fail.retry), lastRetry)
	t.times, t.until = t.times+1, now.Add(wait)
	kept := *fail
	kept.retry = wait
	t.err = &kept
}

// host is what is known about one host and port.
type host struct {
	trouble           // with all of it
	window  time.Time // when counting failed began
	failed  int       // addresses that had no document
}

// lru keeps the values that were used last.
type lru[V any] struct {
	max   int
	order *list.List // of *entry[V], the one used last in front
	byKey map[string]*list.Element
}

type entry[V any] struct {
	key   string
	value V
}

func newLRU[V any](size int) *lru[V] {
	return &lru[V]{size, list.New(), map[string]*list.Element{}}
}

// get returns the zero value for what is not there.
func (l *lru[V]) get(key string) (value V) {
	if element := l.byKey[key]; element != nil {
		l.order.MoveToFront(element)
		value = element.Value.(*entry[V]).value
	}
	return value
}

// put puts a value in place of the one that get has just moved to the front, or adds it.
func (l *lru[V]) put(key string, value V) {
	if element := l.byKey[key]; element != nil {
		element.Value.(*entry[V]).value = value
		return
	}
	if l.order.Len() >= l.max {
		l.remove(l.order.Back().Value.(*entry[V]).key)
	}
	l.byKey[key] = l.order.PushFront(&entry[V]{key, value})
}

func (l *lru[V]) remove(key string) {
	if element := l.byKey[key]; element != nil {
		l.order.Remove(element)
		delete(l.byKey, key)
	}
}
