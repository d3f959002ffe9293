package servers

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheDirectoryForTemporaryFiles(t *testing.T) {
	short, err := os.MkdirTemp("/tmp", "t")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(short) })
	make := func(name string, mode os.FileMode) string {
		dir := filepath.Join(short, name)
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, mode)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	if err := os.Chmod(short, 0o755); err != nil {
		t.Fatal(err)
	}
	private := make("private", 0o700)
	if os.Geteuid() == 0 {
		private = "/tmp"
	}
	if err := os.Symlink(make("open", 0o777), filepath.Join(short, "link")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, dir, want string }{
		{"one that all can use", make("open", 0o777), filepath.Join(short, "open")},
		{"a link to one", filepath.Join(short, "link"), filepath.Join(short, "open")},
		{"one of the user alone, which is nothing for nobody", make("private", 0o700), private},
		{"too long for a socket", make(strings.Repeat("a", 80), 0o777), "/tmp"},
		{"with a blank", make("with blank", 0o777), "/tmp"},
		{"there is none", filepath.Join(short, "none"), "/tmp"},
	} {
		t.Setenv("TMPDIR", c.dir)
		if got := base(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
