package authorize_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/session"
)

// discard is a ResponseWriter that costs next to nothing.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// roomy is a CodeStore without a bound that matters here.
func roomy(b *testing.B, change func(*authorize.Config)) *authorize.Handler {
	config := exampleConfig()
	config.Codes = authorize.NewMemory(authorize.MemoryConfig{MaxCodes: 1 << 30, MaxCodesPerSubject: 1 << 30})
	change(&config)
	endpoint, err := authorize.New(config)
	if err != nil {
		b.Fatal(err)
	}
	return endpoint
}

func benchmarkVisit(b *testing.B, endpoint http.Handler) {
	r := httptest.NewRequest("GET", requestURL("state", "af0ifjsldkj"), nil)
	w := &discard{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		endpoint.ServeHTTP(w, r)
	}
}

// A code for a user who is signed in.
func BenchmarkCode(b *testing.B) {
	benchmarkVisit(b, roomy(b, func(*authorize.Config) {}))
}

// The way to the login page for a user who is not.
func BenchmarkLogin(b *testing.B) {
	nobody := func(*http.Request) (*session.Session, error) { return nil, nil }
	benchmarkVisit(b, roomy(b, func(c *authorize.Config) { c.Sessions = authorize.SessionFunc(nobody) }))
}

// A code and its redemption.
func BenchmarkCodeAndRedeem(b *testing.B) {
	endpoint := roomy(b, func(c *authorize.Config) { c.CodeLifetime = time.Minute })
	r := httptest.NewRequest("GET", requestURL(), nil)
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		endpoint.ServeHTTP(w, r)
		to, err := w.Result().Location()
		if err != nil {
			b.Fatal(err)
		}
		_, err = endpoint.Redeem(context.Background(), authorize.Redemption{
			Code: to.Query().Get("code"), ClientID: "wiki", RedirectURI: "https://wiki.example/callback", Verifier: verifier,
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// A handler of its own for each tenant.
func BenchmarkNew(b *testing.B) {
	config := exampleConfig()
	config.Keys = []authorize.Key{{Secret: []byte("0123456789abcdef0123456789abcdef")}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := authorize.New(config); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	tenants := make([]*authorize.Handler, 10_000)
	before := heap()
	for i := range tenants {
		var err error
		if tenants[i], err = authorize.New(config); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(heap()-before)/float64(len(tenants)), "B/tenant") // what each keeps
	runtime.KeepAlive(tenants)
}

// heap is how many bytes are in use.
func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
