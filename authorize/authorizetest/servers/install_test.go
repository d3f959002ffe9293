package servers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// spy is a test that is ended by its Skip or Fatal.
type spy struct {
	testing.TB
	end string
}

func (s *spy) Helper()          {}
func (s *spy) Skip(args ...any) { s.end = "skipped: " + fmt.Sprint(args...); panic(s) }
func (s *spy) Fatal(args ...any) {
	s.end = "failed: " + fmt.Sprint(args...)
	panic(s)
}

// absent is a server that cannot be started.
type absent struct{ err error }

func (a absent) Start() (*Server, error) { return nil, a.err }

func TestForWithoutAServer(t *testing.T) {
	_, missing := find("redis-server", "no-such-redis", "no-such-valkey")
	const message = "servers: no-such-redis is not installed: apt-get install -y --no-install-recommends redis-server"
	unsupported := fmt.Errorf("another system: %w", errors.ErrUnsupported)
	for _, c := range []struct {
		name, ci string
		err      error
		want     string
	}{
		{"a program is missing", "", missing, "skipped: " + message},
		{"a program is missing under CI", "true", missing, "failed: " + message},
		{"CI is no", "false", missing, "skipped: " + message},
		{"another system", "", unsupported, "skipped: " + unsupported.Error()},
		{"another system under CI", "1", unsupported, "failed: " + unsupported.Error()},
		{"it does not start", "", errors.New("broken"), "failed: broken"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("CI", c.ci)
			s := &spy{TB: t}
			func() {
				defer func() {
					if r := recover(); r != s {
						t.Errorf("it went on, or ended otherwise: %v", r)
					}
				}()
				For(s, absent{c.err})
			}()
			if s.end != c.want {
				t.Errorf("%s, want %s", s.end, c.want)
			}
		})
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"second", "third"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	if got, err := find("package", "first", "second", "third"); got != filepath.Join(dir, "second") {
		t.Errorf("found %q, %v, want the first that there is", got, err)
	}
	versions := []string{"/usr/lib/postgresql/9/bin/postgres", "/usr/lib/postgresql/15/bin/postgres", "/usr/lib/postgresql/14/bin/postgres"}
	if got := newest(versions); got != versions[1] {
		t.Errorf("the newest is %s", got)
	}
}
