package cimd

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	oautherr "github.com/usher-auth/usher/errors"
)

// padded is a document of so many bytes.
func padded(size int) string {
	text := documentOf(testID, members{"pad": ""}).text()
	return strings.Replace(text, `"pad":""`, `"pad":"`+strings.Repeat("x", size-len(text))+`"`, 1)
}

func gzipped(text string) string {
	var buffer bytes.Buffer
	w := gzip.NewWriter(&buffer)
	w.Write([]byte(text))
	w.Close()
	return buffer.String()
}

func TestWhichResponsesAreDocuments(t *testing.T) {
	document := documentOf(testID).text()
	for _, c := range []struct {
		rule   string
		answer http.HandlerFunc
		want   string
	}{
		{"5,120 bytes", sends(padded(5120)), "client"},
		{"5,121 bytes", sends(padded(5121)), "invalid"},
		{"a length that is not said", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.(http.Flusher).Flush()
			sendText(w, document)
		}, "client"},
		{"without end", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for err := error(nil); err == nil; {
				_, err = w.Write([]byte(strings.Repeat(" ", 1024)))
			}
		}, "invalid"},
		{"a length that is more than what comes", sends(document, "Content-Length", "5000"), "unreachable"},
		{"a large header", sends(document, "X-Large", strings.Repeat("x", 15<<10)), "client"},
		{"too large a header", sends(document, "X-Large", strings.Repeat("x", 17<<10)), "unreachable"},

		{"a type of text that ends like JSON", sends2("text/x+json", document), "invalid"},
		{"application/json with a charset", sends2("application/json; charset=utf-8", document), "client"},
		{"application/json in other letters", sends2("Application/JSON", document), "client"},
		{"application/json with a parameter that is none", sends2("application/json; charset", document), "client"},
		{"a type that is JSON", sends2("application/client-metadata+json", document), "client"},
		{"no type", sends2("", document), "invalid"},
		{"text/plain", sends2("text/plain", document), "invalid"},
		{"text/html", sends2("text/html", document), "invalid"},
		{"text/json", sends2("text/json", document), "invalid"},
		{"a type that begins like JSON", sends2("application/json5", document), "invalid"},
		{"a type that is none", sends2("application/json/x", document), "invalid"},

		{"identity", sends(document, "Content-Encoding", "identity"), "client"},
		{"an encoding that was not asked for", sends(document, "Content-Encoding", "br"), "invalid"},
		{"compressed", sends(gzipped(document), "Content-Encoding", "gzip"), "invalid"},
		{"a bomb", sends(gzipped(strings.Repeat(" ", 1<<20)), "Content-Encoding", "gzip"), "invalid"},

		{"200 without a body", status(200, "Content-Type", "application/json"), "invalid"},
		{"201", status(201), "invalid"},
		{"204", status(204), "invalid"},
		{"206", status(206), "invalid"},
		{"301", status(301, "Location", "https://client.example.com/other.json"), "invalid"},
		{"302", status(302, "Location", "https://client.example.com/other.json"), "invalid"},
		{"303", status(303, "Location", "https://client.example.com/other.json"), "invalid"},
		{"307", status(307, "Location", "https://client.example.com/other.json"), "invalid"},
		{"308 to itself", status(308, "Location", testID), "invalid"},
		{"304", status(304), "invalid"},
		{"400", status(400), "invalid"},
		{"401", status(401), "invalid"},
		{"403", status(403), "invalid"},
		{"403 with JSON", status(403, "Content-Type", "application/json"), "invalid"},
		{"403 with a page", status(403, "Content-Type", "text/html; charset=utf-8"), "unreachable"},
		{"403 with a challenge", status(403, "Cf-Mitigated", "challenge"), "unreachable"},
		{"403 with another challenge", status(403, "X-Amzn-Waf-Action", "captcha"), "unreachable"},
		{"403 with a third challenge", status(403, "X-Datadome", "protected"), "unreachable"},
		{"403 with a fourth challenge", status(403, "X-Vercel-Mitigated", "challenge"), "unreachable"},
		{"404 with a page", status(404, "Content-Type", "text/html"), "invalid"},
		{"404 with a challenge", status(404, "Cf-Mitigated", "challenge"), "invalid"},
		{"408", status(408), "invalid"},
		{"410", status(410), "invalid"},
		{"429", status(429), "unreachable"},
		{"451", status(451), "invalid"},
		{"500", status(500), "unreachable"},
		{"503", status(503), "unreachable"},
		{"599", status(599), "unreachable"},
		{"no response", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "unreachable"},
		{"half a body", func(w http.ResponseWriter, r *http.Request) {
			sendText(w, document[:20])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, "unreachable"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.answers(c.answer)
				w.want(c.want)
				synctest.Wait()
				if w.fetches() != 1 || w.open != 0 {
					t.Errorf("%d requests, want 1; %d connections are open", w.fetches(), w.open)
				}
			})
		})
	}
}

func sends2(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = []string{contentType}
		w.Write([]byte(body))
	}
}

func TestTheRequestSaysWhoAsksAndNoMore(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	w := newWorld(t)
	w.want("client")
	got := w.requests[0]
	want := http.Header{
		"Accept":          {"application/json"},
		"Accept-Encoding": {"identity"},
		"User-Agent":      {"usher (OAuth client metadata for https://accounts.example.com)"},
		"Connection":      {"close"},
	}
	if got.Method != "GET" || len(got.Header) != len(want) {
		t.Errorf("%s with the header %v", got.Method, got.Header)
	}
	for name, values := range want {
		if got.Header.Get(name) != values[0] {
			t.Errorf("%s is %q, want %q", name, got.Header.Get(name), values)
		}
	}
}

func TestCertificatesAndVersionsAreChecked(t *testing.T) {
	for _, c := range []struct {
		rule   string
		server func(*tls.Config)
		trust  bool
		id     string
	}{
		{"a certificate that nobody trusts", func(*tls.Config) {}, false, testID},
		{"a certificate of another name", func(*tls.Config) {}, true, "https://client.example.org/client.json"},
		{"TLS 1.1", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 }, true, testID},
	} {
		t.Run(c.rule, func(t *testing.T) {
			w := newWorld(t)
			server := httptest.NewUnstartedServer(sends(documentOf(c.id).text()))
			server.TLS = &tls.Config{}
			c.server(server.TLS)
			server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
			server.StartTLS()
			defer server.Close()
			d := newDialer(true, 5*time.Second) // to the real socket
			d.lookup = func(ctx context.Context, _, _ string) ([]netip.Addr, error) { return addrs("127.0.0.1"), nil }
			dial := d.dial
			d.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return dial(ctx, network, server.Listener.Addr().String())
			}
			transport := newTransport(d)
			if c.trust {
				transport.TLSClientConfig.RootCAs = x509.NewCertPool()
				transport.TLSClientConfig.RootCAs.AddCert(server.Certificate())
			}
			w.store.transport = transport
			if client, err := w.get(c.id); outcome(client, err) != "unreachable" || !strings.Contains(err.Error(), "tls:") {
				t.Errorf("%v, %v", client, err)
			}
		})
	}
}

// Whatever a server does not do, the fetch ends in time, and the user is told to come back.
func TestASlowServerIsGivenUp(t *testing.T) {
	hang := func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // rather than end the response
	}
	for _, c := range []struct {
		rule   string
		answer http.HandlerFunc
	}{
		{"no response", hang},
		{"no body", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.(http.Flusher).Flush()
			hang(w, r)
		}},
		{"a body byte by byte", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for tick := time.Tick(time.Second); r.Context().Err() == nil; {
				w.Write([]byte(" "))
				w.(http.Flusher).Flush()
				select {
				case <-tick:
				case <-r.Context().Done():
					hang(w, r)
				}
			}
		}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.answers(c.answer)
				started := time.Now()
				err := w.want("unreachable")
				if took := time.Since(started); took != 5*time.Second {
					t.Errorf("it took %v, want 5s", took)
				}
				if after := oautherr.Of(err).RetryAfter; after != 10*time.Second {
					t.Errorf("Retry-After is %v, want 10s", after)
				}
			})
		})
	}
	t.Run("an address that is silent leaves time for the next", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.addresses = func(string) ([]netip.Addr, error) { return addrs("8.8.8.1", "8.8.8.2"), nil }
			d := newDialer(false, 5*time.Second)
			d.lookup = func(_ context.Context, _, host string) ([]netip.Addr, error) { return w.lookup(host) }
			d.dial = func(ctx context.Context, _, address string) (net.Conn, error) {
				if strings.HasPrefix(address, "8.8.8.1:") {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				if deadline, _ := ctx.Deadline(); time.Until(deadline) != 2500*time.Millisecond {
					t.Errorf("the next one has %v", time.Until(deadline))
				}
				return nil, errors.New("refused")
			}
			w.store.transport = newTransport(d)
			started := time.Now()
			if err := w.want("unreachable"); !strings.Contains(err.Error(), "refused") || time.Since(started) != 2500*time.Millisecond {
				t.Errorf("after %v: %v", time.Since(started), err)
			}
		})
	})
}

func TestFreshnessIsReadFromTheHeader(t *testing.T) {
	const date = "Sun, 01 Mar 2026 12:00:00 GMT"
	for _, c := range []struct {
		rule    string
		header  http.Header
		fresh   time.Duration
		noStore bool
	}{
		{"nothing said", http.Header{}, time.Hour, false},
		{"max-age", http.Header{"Cache-Control": {"public, max-age=600"}}, 10 * time.Minute, false},
		{"max-age in capitals and quotes", http.Header{"Cache-Control": {`Max-Age="600"`}}, 10 * time.Minute, false},
		{"in two headers", http.Header{"Cache-Control": {"public", "max-age=600"}}, 10 * time.Minute, false},
		{"s-maxage before max-age", http.Header{"Cache-Control": {"max-age=600, s-maxage=60"}}, time.Minute, false},
		{"max-age before Expires", http.Header{"Cache-Control": {"max-age=600"}, "Expires": {date}}, 10 * time.Minute, false},
		{"less the Age", http.Header{"Cache-Control": {"max-age=600"}, "Age": {"540"}}, time.Minute, false},
		{"an Age that is more", http.Header{"Cache-Control": {"max-age=600"}, "Age": {"700"}}, 0, false},
		{"an Age that is none", http.Header{"Cache-Control": {"max-age=600"}, "Age": {"-5"}}, 10 * time.Minute, false},
		{"max-age=0", http.Header{"Cache-Control": {"max-age=0, must-revalidate"}}, 0, false},
		{"max-age below zero", http.Header{"Cache-Control": {"max-age=-1"}}, 0, false},
		{"max-age without a number", http.Header{"Cache-Control": {"max-age"}}, 0, false},
		{"max-age that overflows", http.Header{"Cache-Control": {"max-age=99999999999999999999"}}, 365 * day, false},
		{"no-cache", http.Header{"Cache-Control": {"no-cache, max-age=600"}}, 0, false},
		{"no-store", http.Header{"Cache-Control": {"no-store"}}, 0, true},
		{"no-store with max-age", http.Header{"Cache-Control": {"max-age=600, no-store"}}, 10 * time.Minute, true},
		{"Expires", http.Header{"Date": {date}, "Expires": {"Sun, 01 Mar 2026 12:10:00 GMT"}}, 10 * time.Minute, false},
		{"Expires less the Age", http.Header{"Date": {date}, "Expires": {"Sun, 01 Mar 2026 12:10:00 GMT"}, "Age": {"60"}}, 9 * time.Minute, false},
		{"Expires by our clock", http.Header{"Expires": {"Sun, 01 Mar 2026 12:10:00 GMT"}}, 11 * time.Minute, false},
		{"max-age that is no number", http.Header{"Cache-Control": {"max-age=1h"}}, 0, false},
		{"Expires in the past", http.Header{"Date": {date}, "Expires": {"Sun, 01 Mar 2026 11:00:00 GMT"}}, 0, false},
		{"Expires that is no date", http.Header{"Expires": {"0"}}, 0, false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			fresh, noStore := freshness(c.header, time.Date(2026, 3, 1, 11, 59, 0, 0, time.UTC))
			if fresh != c.fresh || noStore != c.noStore {
				t.Errorf("%v, %t, want %v, %t", fresh, noStore, c.fresh, c.noStore)
			}
		})
	}
}
