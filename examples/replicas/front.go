package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"

	oautherr "github.com/usher-auth/usher/errors"
)

// patience is how long a request waits while no replica runs.
const patience = 10 * time.Second

// attempts is how many replicas a request is sent to at most.
const attempts = 10

// Connections to the replicas. What must not be sent twice gets one of its own: of one
// that was kept open nobody knows whether the other end still reads.
var (
	kept = &http.Transport{MaxIdleConnsPerHost: 32, ResponseHeaderTimeout: 30 * time.Second}
	own  = &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: 30 * time.Second}
)

// next takes the replicas in turn. It waits while none of them runs.
func (f *fleet) next(ctx context.Context) (*child, string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		f.mu.Lock()
		for range f.replicas {
			f.turn = (f.turn + 1) % len(f.replicas)
			if c := f.replicas[f.turn]; c.address != "" {
				defer f.mu.Unlock()
				return c, c.address, nil
			}
		}
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, "", errors.New("no replica runs")
		}
	}
}

// RoundTrip sends a request to the replica whose turn it is. One that takes no
// connection has not had the request, so another gets it. One that took it and gave no
// answer may have acted on it: only a request that asks is then repeated, and nothing
// that a form sends.
func (f *fleet) RoundTrip(r *http.Request) (*http.Response, error) {
	asks := (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.ContentLength == 0
	transport := own
	if asks {
		transport = kept
	}
	var last error
	for range attempts {
		c, address, err := f.next(r.Context())
		if err != nil {
			return nil, errors.Join(last, err)
		}
		response, err := transport.RoundTrip(to(address, r))
		if err == nil {
			err = readWhole(response)
		}
		if err == nil {
			f.mu.Lock()
			c.answered++
			f.mu.Unlock()
			return response, nil
		}
		last = err
		if !asks && !refused(err) || r.Context().Err() != nil {
			break
		}
		if refused(err) {
			f.giveUp(c, address)
		}
	}
	return nil, last
}

// to is the request with another address. Its body stays open for another attempt.
func to(address string, r *http.Request) *http.Request {
	out, url := *r, *r.URL
	url.Scheme, url.Host = "http", address
	out.URL = &url
	if out.Host == "" {
		out.Host = r.URL.Host
	}
	if r.Body != nil {
		out.Body = io.NopCloser(r.Body)
	}
	return &out
}

// readWhole reads all of an answer, none of which is long: half of one is none.
func readWhole(response *http.Response) error {
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	response.Body = io.NopCloser(bytes.NewReader(body))
	return err
}

// refused says that there was no connection, and so that nothing was sent.
func refused(err error) bool {
	var failed *net.OpError
	return errors.As(err, &failed) && failed.Op == "dial"
}

// giveUp leaves out a replica that takes no connection: it has died, though that is not
// known yet. If it has not, it is started anew.
func (f *fleet) giveUp(c *child, address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.address == address {
		c.address = ""
		c.process.Kill() // an error says that it is gone
	}
}

// proxy is the way from the front's address to the replicas. It tells seen who answered
// what, with the empty name where nobody did.
func (f *fleet) proxy(seen func(r *http.Request, replica, result string)) http.Handler {
	return &httputil.ReverseProxy{
		Transport: f,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.Host = p.In.Host
			p.Out.URL.RawQuery = p.In.URL.RawQuery // the proxy would drop pairs that the endpoint refuses
			p.SetXForwarded()
		},
		ModifyResponse: func(response *http.Response) error {
			result := strings.ToLower(http.StatusText(response.StatusCode))
			if at, err := response.Location(); err == nil {
				result = "on to " + at.Path
			}
			seen(response.Request, response.Header.Get("X-Replica"), result)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			log.Printf("%s %s got no answer: %v", r.Method, r.URL.Path, err)
			seen(r, "", "the answer got lost")
			gaveNoAnswer(w, r)
		},
	}
}

// gaveNoAnswer tells what to do when a replica died with a request in its hands.
func gaveNoAnswer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Retry-After", "1")
	if r.URL.Path != "/token" {
		show(w, http.StatusServiceUnavailable, "lost.html", nil)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusServiceUnavailable)
	json.NewEncoder(w).Encode(tokenAnswer{
		Error:       oautherr.TemporarilyUnavailable,
		Description: "The answer got lost. Send it again.",
	})
}
