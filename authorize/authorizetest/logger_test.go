package authorizetest

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recorded is a test whose output can be read and which can be ended.
type recorded struct {
	testing.TB
	output   bytes.Buffer
	cleanups []func()
}

func (r *recorded) Output() io.Writer { return &r.output }

func (r *recorded) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func (r *recorded) end() {
	for _, f := range r.cleanups {
		f()
	}
}

// logsEachRequest is a host that logs.
func logsEachRequest(log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		log.Debug("asked", "path", r.URL.Path, "time", "noon")
	})
}

func TestLogger(t *testing.T) {
	r := &recorded{TB: t}
	log := Logger(r)
	server := httptest.NewServer(logsEachRequest(log))
	defer server.Close()
	b := NewBrowser()
	b.Handle("https://as.example", logsEachRequest(log))
	b.Connect(server.URL, nil)

	open := func(address string) { // not the line that is wanted
		if _, err := b.Open(address); err != nil {
			t.Fatal(err)
		}
	}
	open("https://as.example/here")
	_, _, line, _ := runtime.Caller(0)
	open(server.URL + "/there")
	r.end()
	open(server.URL + "/later")
	open("https://as.example/later")
	want := fmt.Sprintf("logger_test.go:%d: level=DEBUG msg=asked path=/here time=noon\n", line-1) +
		"level=DEBUG msg=asked path=/there time=noon\n"
	if diff := cmp.Diff(want, r.output.String()); diff != "" {
		t.Errorf("the output of the test (-want +got):\n%s", diff)
	}
}
