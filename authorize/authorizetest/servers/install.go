package servers

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// MissingError says that a program is not installed. [For] skips a test because of
// it.
type MissingError struct {
	Program string // such as "redis-server"
	Package string // that has it in Debian and Ubuntu
}

// Error names the program and the command that installs it.
func (e *MissingError) Error() string {
	return fmt.Sprintf("servers: %s is not installed: apt-get install -y --no-install-recommends %s",
		e.Program, e.Package)
}

// find returns the path of the first of the programs that is installed. On Debian some
// programs are not in the PATH of users, and those of PostgreSQL not in any PATH.
func find(debian string, programs ...string) (string, error) {
	for _, program := range programs {
		if path, err := exec.LookPath(program); err == nil {
			return filepath.Abs(path)
		}
		for _, pattern := range []string{"/usr/lib/postgresql/*/bin/", "/usr/sbin/", "/usr/local/sbin/"} {
			found, _ := filepath.Glob(pattern + program)
			if len(found) > 0 {
				return newest(found), nil
			}
		}
	}
	return "", &MissingError{programs[0], debian}
}

var number = regexp.MustCompile(`\d+`)

// newest returns the path with the highest number in it.
func newest(paths []string) string {
	return slices.MaxFunc(paths, func(a, b string) int {
		x, _ := strconv.Atoi(number.FindString(a))
		y, _ := strconv.Atoi(number.FindString(b))
		return cmp.Compare(x, y)
	})
}

// write makes a file that the server can read.
func write(path, text string) error {
	return os.WriteFile(path, []byte(text), 0o644)
}
