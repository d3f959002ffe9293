package authorizetest

import (
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// Logger returns a logger that writes into the output of the test, like t.Log, for
// Config.Logger of the endpoint and for the host's own. Each line begins with the line of
// the test that led to it, where the handler runs in the goroutine of the test, as that of
// [Browser.Handle] does. What is logged once the test has ended is dropped.
func Logger(t testing.TB) *slog.Logger {
	out := &testOutput{Writer: t.Output()}
	t.Cleanup(out.end)
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime && len(groups) == 0 {
				return slog.Attr{} // the line's own
			}
			return a
		},
	}))
}

// testOutput is the output of a test until that ends: to write later would panic.
type testOutput struct {
	mu sync.Mutex
	io.Writer
	ended bool
}

func (o *testOutput) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
}

// Write writes one line, which is what a TextHandler gives it at once.
func (o *testOutput) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return len(line), nil
	}
	if _, err := fmt.Fprintf(o.Writer, "%s%s", testLine(), line); err != nil {
		return 0, err
	}
	return len(line), nil
}

// testLine is the line of the test that led here, as t.Log writes it; empty if this is not
// the goroutine of a test. It is the outermost one, because a host may itself stand in a
// file of tests.
func testLine() string {
	callers := make([]uintptr, 256)
	frames := runtime.CallersFrames(callers[:runtime.Callers(1, callers)])
	line := ""
	for {
		frame, more := frames.Next()
		switch {
		case strings.HasSuffix(frame.File, "_test.go"):
			line = fmt.Sprintf("%s:%d: ", filepath.Base(frame.File), frame.Line)
		case strings.HasPrefix(frame.Function, "testing."):
			return line
		}
		if !more {
			return ""
		}
	}
}
