package servers

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
)

// template is an empty data directory, made once by a server's own tool and copied
// for each instance: the tools take longer than the servers' start.
type template struct {
	sync.Mutex
	dir string // empty until it is made
}

// copyTo copies the data directory into the directory of an instance. The first call runs
// tool to create it at the given path.
func (t *template) copyTo(dir string, tool func(data string) (path string, args []string)) error {
	t.Lock()
	defer t.Unlock()
	if t.dir == "" {
		made, err := newDir()
		if err != nil {
			return err
		}
		path, args := tool(filepath.Join(made, "data"))
		if err := run(made, path, args...); err != nil {
			return err
		}
		t.dir = made
	}
	return run(dir, "cp", "-a", filepath.Join(t.dir, "data"), dir)
}

// run runs a program to its end.
func run(dir, path string, args ...string) error {
	p, err := startLogged(dir, path, args...)
	if err != nil {
		return err
	}
	if !p.ended(patience) {
		err = errors.Join(errors.New("it takes too long"), p.kill())
	} else {
		err = p.state
	}
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(path), err, tail(filepath.Join(dir, "log")))
	}
	return nil
}
