package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// nobody is the user and group of servers that root starts.
const nobody = 65534

// socketName is the longest path of a socket below the directory for temporary files. A
// Unix socket's path has at most 107 bytes.
const socketName = "/usher1234567890/1234/.s.PGSQL.5432"

// root is the directory of this process under which every server has its own.
var root struct {
	sync.Mutex
	dir  string
	next int
	// watcher waits for the end of its input. Its input ends with this process, because no
	// other process has the other end of the pipe.
	watcher *exec.Cmd
	pipe    interface{ Close() error }
}

// watch waits for the end of its input. Then it kills the processes under the directory $1 and
// removes the directory, and repeats that until it succeeds. A killed PostgreSQL leaves System
// V shared memory behind; its lock file has the number.
const watch = `read -r _
for try in 1 2 3 4 5 6 7 8 9 10; do
	for process in /proc/[0-9]*; do
		cd -P "$process/cwd" 2>/dev/null || continue
		case $PWD in "$1"/*) cd / && kill -9 "${process#/proc/}" ;; esac
	done
	cd /
	for lock in "$1"/*/data/postmaster.pid; do
		[ -f "$lock" ] && ipcrm -m "$(sed -n '7s/.* //p' "$lock")"
	done
	rm -rf "$1" && exit
	sleep 0.1
done`

// newDir makes a directory for one server.
func newDir() (string, error) {
	root.Lock()
	defer root.Unlock()
	if root.dir == "" {
		if err := openRoot(); err != nil {
			return "", err
		}
	}
	root.next++
	dir := filepath.Join(root.dir, strconv.Itoa(root.next))
	return dir, makeOwn(os.Mkdir(dir, 0o700), dir)
}

func openRoot() error {
	dir, err := os.MkdirTemp(base(), "usher")
	if err := makeOwn(err, dir); err != nil {
		return err
	}
	watcher := exec.Command("sh", "-c", watch, "sh", dir)
	watcher.Dir, watcher.SysProcAttr = "/", attributes()
	pipe, err := watcher.StdinPipe()
	if err == nil {
		err = watcher.Start()
	}
	if err != nil {
		return errors.Join(err, os.Remove(dir))
	}
	root.dir, root.watcher, root.pipe = dir, watcher, pipe
	return nil
}

// base returns the directory for temporary files. It is /tmp if that directory has a name
// that is too long or needs quotes, or if the user nobody cannot use it.
func base() string {
	dir, err := filepath.EvalSymlinks(os.TempDir())
	if err != nil || len(dir)+len(socketName) > 107 || strings.ContainsAny(dir, " \t'\"\\#=;%") ||
		!filepath.IsAbs(dir) {
		return "/tmp"
	}
	if os.Geteuid() != 0 {
		return dir
	}
	need := os.FileMode(0o003) // nobody must be able to remove what is in it
	for path := dir; ; path = filepath.Dir(path) {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm()&need != need {
			return "/tmp"
		}
		if path == "/" {
			return dir
		}
		need = 0o001
	}
}

// makeOwn makes the user who runs the servers the owner of a directory.
func makeOwn(err error, dir string) error {
	if err != nil || os.Geteuid() != 0 {
		return err
	}
	return os.Chown(dir, nobody, nobody)
}

// attributes are those of every process that is started.
func attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setsid: true}
	if os.Geteuid() == 0 {
		a.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return a
}

// process is a program that was started, with all the processes that it starts.
type process struct {
	command *exec.Cmd
	done    chan struct{} // closed when it has ended
	state   error         // how it ended, nil for exit 0; read it when done is closed
}

// startLogged starts a program in a directory. The program's output is appended to the file
// "log" there.
func startLogged(dir, path string, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &process{command: exec.Command(path, args...), done: make(chan struct{})}
	p.command.Dir, p.command.Stdout, p.command.Stderr = dir, log, log
	// Servers and their tools take settings from variables, such as PGPORT.
	p.command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "LC_ALL=C", "TZ=UTC"}
	p.command.SysProcAttr = attributes()
	p.command.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started := make(chan error, 1)
	go p.run(started)
	return p, <-started
}

// run starts the program and waits for its end on one thread: the kernel counts a
// parent as dead when the thread that started the child is (golang/go#27505).
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.command.Start()
	started <- err
	if err == nil {
		p.state = p.command.Wait()
		close(p.done)
	}
}

// ended waits for the program's end, for at most this long.
func (p *process) ended(within time.Duration) bool {
	select {
	case <-p.done:
		return true
	default:
	}
	select {
	case <-p.done:
		return true
	case <-time.After(within):
		return false
	}
}

// signal sends a signal to the program alone, if it has not ended.
func (p *process) signal(s os.Signal) error {
	if err := p.command.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// kill ends the program and all that it has started, and waits until they are gone.
func (p *process) kill() error {
	// Stop it first, so that it starts no more processes while we look for them.
	err := p.pause()
	children := descendants(p.command.Process.Pid)
	err = errors.Join(err, p.signal(syscall.SIGKILL))
	for _, child := range children {
		_ = syscall.Kill(child, syscall.SIGKILL) // an error says that it is gone
	}
	if !p.ended(patience) {
		return errors.Join(err, errors.New("it does not end"))
	}
	return errors.Join(err, wait(children, func(state byte) bool { return state == 0 || state == 'Z' }))
}

// pause stops the program and then all that it has started, and waits until they
// stand still.
func (p *process) pause() error {
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	pid := p.command.Process.Pid
	standing := func(state byte) bool { return state == 0 || state == 'T' || state == 't' || state == 'Z' }
	if err := wait([]int{pid}, standing); err != nil {
		return err
	}
	children := descendants(pid)
	for _, child := range children {
		_ = syscall.Kill(child, syscall.SIGSTOP) // an error says that it is gone
	}
	return wait(children, standing)
}

// resume lets all that was stopped go on.
func (p *process) resume() error {
	for _, child := range descendants(p.command.Process.Pid) {
		_ = syscall.Kill(child, syscall.SIGCONT) // an error says that it is gone
	}
	return p.signal(syscall.SIGCONT)
}

// wait waits until all the processes are in a state that is asked for.
func wait(pids []int, in func(state byte) bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return until(ctx, func() error {
		for _, pid := range pids {
			if state, _ := status(pid); !in(state) {
				return fmt.Errorf("process %d is in state %c", pid, state)
			}
		}
		return nil
	})
}

// status returns the state of a process as /proc has it, and its parent; zeros if
// there is no such process.
func status(pid int) (state byte, parent int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0
	}
	// Before them is the name in parentheses, which may have parentheses in it.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 2 {
		return 0, 0
	}
	parent, _ = strconv.Atoi(string(fields[1]))
	return fields[0][0], parent
}

// descendants returns the children of a process, their children and so on.
// A process group or a session would not be enough: processes of PostgreSQL open sessions of
// their own.
func descendants(pid int) []int {
	children := map[int][]int{}
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		if child, err := strconv.Atoi(entry.Name()); err == nil {
			_, parent := status(child)
			children[parent] = append(children[parent], child)
		}
	}
	found := slices.Clone(children[pid])
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i]]...)
	}
	return found
}

// forgetSharedMemory removes the System V shared memory of a PostgreSQL that was
// killed.
func forgetSharedMemory(dir string) {
	if number := sharedMemory(dir); number != "" {
		remove := exec.Command("ipcrm", "-m", number)
		remove.SysProcAttr = attributes()
		_ = remove.Run() // without ipcrm 56 bytes stay until the machine is restarted
	}
}

// sharedMemory returns the number of a PostgreSQL's System V shared memory from its lock
// file. It is empty if PostgreSQL was stopped normally.
func sharedMemory(dir string) string {
	text, _ := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if lines := strings.Split(string(text), "\n"); len(lines) > 6 {
		if numbers := strings.Fields(lines[6]); len(numbers) == 2 {
			return numbers[1]
		}
	}
	return ""
}
