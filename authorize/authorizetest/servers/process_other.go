//go:build !linux

package servers

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
)

var errSystem = fmt.Errorf("private servers need Linux, this is %s: %w", runtime.GOOS, errors.ErrUnsupported)

// process has no values here, because no process can be started.
type process struct {
	done  chan struct{}
	state error
}

func newDir() (string, error)                                        { return "", errSystem }
func startLogged(dir, path string, args ...string) (*process, error) { return nil, errSystem }
func forgetSharedMemory(dir string)                                  {}

func (p *process) ended(time.Duration) bool { return true }
func (p *process) signal(os.Signal) error   { return errSystem }
func (p *process) kill() error              { return errSystem }
func (p *process) pause() error             { return errSystem }
func (p *process) resume() error            { return errSystem }
