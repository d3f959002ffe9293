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
// Config.Logger of the endpoint and for the host's own. Each line begins with the file and line
// of the test that led to it, if the handler runs in the test's goroutine, as with
// [Browser.Handle]. Lines that are logged after the end of the test are dropped.
func Logger(t testing.TB) *slog.Logger {
	out := &testOutput{Writer: t.Output()}
	t.Cleanup(out.end)
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime && len(groups) == 0 {
				return slog.Attr{} // drop the time of the line itself
			}
			return a
		},
	}))
}

// testOutput is the output of a test until the test ends. A later write would panic.
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

// Write writes one line. A TextHandler calls it once for each line.
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

// testLine returns the file and line of the test that led here, as t.Log writes them. It is
// empty outside the goroutine of a test. The outermost test file counts, because the host may
// be in a test file too.
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
