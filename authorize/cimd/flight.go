package cimd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
)

// flight is one fetch, for all who wait for it.
type flight struct {
	done  chan struct{} // closed when the fields below are set
	found *cached
	fail  *failure
}

// find returns the document at u: the one that is fresh, one that is fetched now, or one
// that may stand in.
func (s *Store) find(ctx context.Context, u *url.URL) (*document, error) {
	now, mayFetch := s.config.Now(), s.mayFetch(ctx)
	s.mu.Lock()
	known := s.documents.get(u.String())
	if known.fresh(now) || !mayFetch && known.atHand(now) {
		s.mu.Unlock()
		return known.document, nil
	}
	if !mayFetch {
		s.mu.Unlock()
		return nil, authorize.ErrClientNotFetched
	}
	f, fail := s.join(ctx, u, known != nil, now)
	s.mu.Unlock()
	if fail == nil {
		select {
		case <-f.done:
			if f.fail == nil {
				return f.found.document, nil
			}
			fail = f.fail
		case <-ctx.Done():
			fail = &failure{passing: true, err: ctx.Err()}
		}
	}
	if fail.passing && known.stale(now, s.config.StaleFor) {
		s.report(ctx, u, Event{Kind: EventStale, Age: now.Sub(known.at), Err: fail})
		return known.document, nil
	}
	return nil, fail.answer()
}

// answer is what a ClientStore says of it.
func (f *failure) answer() error {
	if f.saysNo() {
		return invalidClient("The client metadata document at this client_id is missing or cannot be used.", f)
	}
	cause := fmt.Errorf("%w: %w", authorize.ErrClientUnreachable, f.err)
	e := *oautherr.Of(authorize.ErrClientUnreachable)
	e.Cause, e.RetryAfter = cause, cmp.Or(f.retry, e.RetryAfter)
	return &e
}

// join returns the fetch of u that is under way or begins one, unless that has to wait.
// The caller has the lock.
func (s *Store) join(ctx context.Context, u *url.URL, known bool, now time.Time) (*flight, *failure) {
	id := u.String()
	if f := s.flights[id]; f != nil {
		return f, nil
	}
	if fail := s.wait(u, known, now); fail != nil {
		return nil, fail
	}
	f := &flight{done: make(chan struct{})}
	s.flights[id] = f
	s.fetching[u.Host]++
	// Others may wait for it when the one who began it has left.
	go s.fly(context.WithoutCancel(ctx), u, f)
	return f, nil
}

// wait says why u may not be fetched yet. known says that it has had a document, so that
// nobody can hinder its use by asking for others of its host that do not exist.
func (s *Store) wait(u *url.URL, known bool, now time.Time) *failure {
	h := s.host(u)
	for _, t := range []*trouble{s.troubles.get(u.String()), &h.trouble} {
		if t != nil && now.Before(t.until) {
			again := *t.err
			again.retry = t.until.Sub(now)
			return &again
		}
	}
	switch {
	case !known && h.failed >= maxFailed && now.Before(h.window.Add(failedWindow)):
		return &failure{passing: true, retry: h.window.Add(failedWindow).Sub(now),
			err: errors.New("too many addresses of its host have had no document")}
	case len(s.flights) >= s.config.MaxFetches, s.fetching[u.Host] >= maxPerHost:
		return &failure{passing: true, retry: time.Second,
			err: errors.New("too many documents are being fetched, in all or from its host")}
	}
	return nil
}

// host returns what is known about that of u, and nothing for one that is unknown.
func (s *Store) host(u *url.URL) *host {
	if h := s.hosts.get(u.Host); h != nil {
		return h
	}
	return &host{}
}

// fly fetches and tells everybody. Nothing that goes wrong here may end the program.
func (s *Store) fly(ctx context.Context, u *url.URL, f *flight) {
	started := s.config.Now()
	f.found, f.fail = s.get(ctx, u)
	s.mu.Lock()
	s.settle(u, f, s.config.Now())
	s.mu.Unlock()
	e := Event{Kind: EventFetched, Duration: s.config.Now().Sub(started)}
	switch {
	case f.fail == nil:
		e.Status, e.ContentType = f.found.response.status, f.found.response.contentType
		e.RedirectHosts, e.LeftOut = f.found.redirectHosts, f.found.leftOut
	case f.fail.passing:
		e.Kind, e.Err = EventFailed, f.fail
	default:
		e.Kind, e.Err = EventRefused, f.fail
	}
	s.report(ctx, u, e)
	close(f.done)
}

// get fetches the document and reads it.
func (s *Store) get(ctx context.Context, u *url.URL) (found *cached, fail *failure) {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			found, fail = nil, &failure{passing: true, err: fmt.Errorf("panic: %v", r)}
		}
	}()
	got, body, fail := s.fetch(ctx, u)
	if fail != nil {
		return nil, fail
	}
	d, fail := s.read(body, u)
	if fail != nil {
		fail.response = got
		return nil, fail
	}
	now := s.config.Now()
	fresh := min(max(got.fresh, s.config.MinAge), s.config.MaxAge)
	return &cached{document: d, response: got, at: now, expires: now.Add(fresh), noStore: got.noStore}, nil
}

// settle keeps what came of a fetch. The caller has the lock.
func (s *Store) settle(u *url.URL, f *flight, now time.Time) {
	id := u.String()
	delete(s.flights, id)
	if s.fetching[u.Host]--; s.fetching[u.Host] == 0 {
		delete(s.fetching, u.Host)
	}
	h := s.host(u)
	if f.fail == nil {
		s.documents.put(id, f.found)
		s.troubles.remove(id)
		h.trouble = trouble{} // it is well
		return
	}
	known := s.documents.get(id) != nil
	t := s.troubles.get(id)
	if t == nil {
		t = &trouble{}
	}
	if f.fail.ofHost {
		h.add(f.fail, now)
	}
	t.add(f.fail, now)
	f.fail = t.err // which says when to try again
	s.troubles.put(id, t)
	if !f.fail.passing {
		s.documents.remove(id)
	}
	if !known || !f.fail.passing {
		if now.Sub(h.window) >= failedWindow {
			h.window, h.failed = now, 0
		}
		h.failed++
	}
	s.hosts.put(u.Host, h)
}
