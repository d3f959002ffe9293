package interop

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// programs take no arguments except flags.
var programs = []string{"account-pages", "out-of-band", "provider", "strict-pkce", "tenants"}

// fails runs a program that has to fail at once, and returns its exit code and output.
func fails(t *testing.T, name string, args ...string) (code int, says string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, build(t, name), args...).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("%s %q: %v, and it printed:\n%s", name, args, err, out)
	}
	return exit.ExitCode(), string(out)
}

// A forgotten dash is an error with the usage.
func TestUnknownArguments(t *testing.T) {
	for _, name := range programs {
		for _, args := range [][]string{{"8080"}, {"-addr", "127.0.0.1:0", "more"}, {"-port", "8080"}} {
			t.Run(name+" "+strings.Join(args, " "), func(t *testing.T) {
				if code, says := fails(t, name, args...); code != 2 || !strings.Contains(says, "Usage of ") || !strings.Contains(says, "-addr") {
					t.Errorf("it ends with %d and says:\n%s", code, says)
				}
			})
		}
	}
}

// If the port is taken, the error names the flag for another one.
func TestOccupiedPort(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, name := range append([]string{"quickstart", "replicas"}, programs...) {
		t.Run(name, func(t *testing.T) {
			args := []string{"-addr", listener.Addr().String()}
			if name == "replicas" {
				args = append(args, "-memory") // and no database servers
			}
			if code, says := fails(t, name, args...); code != 1 || !strings.Contains(says, "(another address: -addr 127.0.0.1:0)") {
				t.Errorf("it ends with %d and says:\n%s", code, says)
			}
		})
	}
}

// No program has https.
func TestProgramsListenOnThisMachineOnly(t *testing.T) {
	for _, name := range programs {
		for _, addr := range []string{":0", "0.0.0.0:0", "[::]:0"} {
			t.Run(name+" at "+addr, func(t *testing.T) {
				if code, says := fails(t, name, "-addr", addr); code != 1 || !strings.Contains(says, "this listens on 127.0.0.1 only") {
					t.Errorf("it ends with %d and says:\n%s", code, says)
				}
			})
		}
	}
}
