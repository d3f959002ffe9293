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

// patience is how long a request waits for a replica if none runs.
const patience = 10 * time.Second

// attempts is the maximum number of attempts for a request.
const attempts = 10

// Connections to the replicas. A request that must not be sent twice gets a new connection.
// If a kept connection fails, it is unknown whether the replica has read the request.
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

// RoundTrip sends a request to the next replica. A replica that refuses the connection has
// not got the request, so another replica gets it. A replica that fails later may have
// handled it. Then only a GET or HEAD without a body is repeated.
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

// to returns the request with another address. Its body stays open for another attempt.
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

// readWhole reads the whole response, because an incomplete response counts as none. All
// responses are short.
func readWhole(response *http.Response) error {
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	response.Body = io.NopCloser(bytes.NewReader(body))
	return err
}

// refused reports whether there was no connection, so that nothing was sent.
func refused(err error) bool {
	var failed *net.OpError
	return errors.As(err, &failed) && failed.Op == "dial"
}

// giveUp leaves out a replica that refuses connections. It has probably died. If not, it is
// killed here, to be started again.
func (f *fleet) giveUp(c *child, address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.address == address {
		c.address = ""
		c.process.Kill() // an error means that it has ended
	}
}

// proxy passes requests from the front to the replicas. It calls seen with the replica that
// answered, which is empty if none did.
func (f *fleet) proxy(seen func(r *http.Request, replica, result string)) http.Handler {
	return &httputil.ReverseProxy{
		Transport: f,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.Host = p.In.Host
			p.Out.URL.RawQuery = p.In.URL.RawQuery // else the proxy drops pairs that the endpoint refuses
			p.SetXForwarded()
		},
		ModifyResponse: func(response *http.Response) error {
			result := strings.ToLower(http.StatusText(response.StatusCode))
			if at, err := response.Location(); err == nil {
				result = "redirect to " + at.Path
			}
			seen(response.Request, response.Header.Get("X-Replica"), result)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			log.Printf("%s %s got no response: %v", r.Method, r.URL.Path, err)
			seen(r, "", "the response got lost")
			gaveNoAnswer(w, r)
		},
	}
}

// gaveNoAnswer responds if a replica died while it handled the request.
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
		Description: "The response got lost. Send the request again.",
	})
}
