package servers

import (
	"errors"
	"os"
	"strconv"
)

// Instance is what [For] starts: a [Server], a [Cluster] or a [Proxy].
type Instance interface {
	Close() error
	Log() string
}

// T is what [For] needs of a test: a *[testing.T] or *[testing.B]. Programs use this
// package too, and a program never links the package testing.
type T interface {
	Helper()
	Cleanup(func())
	Failed() bool
	Logf(format string, args ...any)
	Error(args ...any)
	Skip(args ...any)
	Fatal(args ...any)
}

// For starts a server for a test and closes it when the test ends; if the test has
// failed by then, the end of the server's log is in its output:
//
//	redis := servers.For(t, servers.Redis{Settings: map[string]string{"appendonly": "yes"}})
//
// Where the server is not installed, or the system is not Linux, the test is
// skipped with a message that says how to install it. If the environment variable
// CI is true, it fails instead, so that a missing server is noticed.
func For[S Instance](tb T, config interface{ Start() (S, error) }) S {
	tb.Helper()
	server, err := config.Start()
	if err != nil {
		refuse(tb, err)
	}
	tb.Cleanup(func() {
		if log := server.Log(); tb.Failed() && log != "" {
			tb.Logf("the end of the log:\n%s", log)
		}
		if err := server.Close(); err != nil {
			tb.Error(err)
		}
	})
	return server
}

// refuse ends a test for which there is no server.
func refuse(tb T, err error) {
	tb.Helper()
	var missing *MissingError
	ci, _ := strconv.ParseBool(os.Getenv("CI"))
	if !ci && (errors.As(err, &missing) || errors.Is(err, errors.ErrUnsupported)) {
		tb.Skip(err)
	}
	tb.Fatal(err)
}
