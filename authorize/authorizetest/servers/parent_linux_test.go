package servers

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
)

// programVariable, in the environment, makes of this test binary a program that
// starts servers, says so, and waits to be killed.
const programVariable = "USHER_SERVERS_PROGRAM"

// said is what the program says of itself.
type said struct {
	Dir       string
	Watcher   int
	Processes []int
	Memory    string
	Missing   []*MissingError
	Failed    []string
}

func TestMain(m *testing.M) {
	if os.Getenv(programVariable) == "" {
		os.Exit(m.Run())
	}
	var words said
	all := map[string]interface{ Start() (*Server, error) }{"Redis": Redis{TCP: true}}
	if os.Getenv(programVariable) == "all" {
		all["PostgreSQL"], all["MariaDB"] = PostgreSQL{}, MariaDB{}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := func(config interface{ Start() (*Server, error) }) (s *Server) {
		s, err := config.Start()
		mu.Lock()
		defer mu.Unlock()
		var missing *MissingError
		switch {
		case errors.As(err, &missing):
			words.Missing = append(words.Missing, missing)
		case err != nil:
			words.Failed = append(words.Failed, err.Error())
		default:
			words.Processes = append(words.Processes, s.all()...)
		}
		return s
	}
	for name, config := range all {
		wg.Go(func() {
			s := start(config)
			if s == nil || name != "PostgreSQL" {
				return
			}
			start(PgBouncer{Endpoint: s.Endpoint})
			// Its processes cannot hear that their parent is gone, nor end by themselves.
			words.Memory = sharedMemory(s.Dir)
			if err := s.Pause(); err != nil {
				panic(err)
			}
		})
	}
	wg.Wait()
	if words.Dir = root.dir; root.watcher != nil {
		words.Watcher = root.watcher.Process.Pid
	}
	_ = json.NewEncoder(os.Stdout).Encode(words)
	_, _ = io.Copy(io.Discard, os.Stdin)
	panic("it was not killed")
}

// runProgram starts the program and waits until its servers run. kill kills it.
func runProgram(t *testing.T, what string) (words said, kill func()) {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), programVariable+"="+what)
	command.Stderr = os.Stderr
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		_ = stdin.Close()
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &words)
	}
	if err != nil || len(words.Failed) > 0 {
		kill()
		t.Fatal(err, words.Failed)
	}
	return words, kill
}

func TestServersEndWithAProgramThatIsKilled(t *testing.T) {
	t.Parallel()
	words, kill := runProgram(t, "all")
	kill()
	ended(t, append(words.Processes, words.Watcher))
	forgotten(t, words.Memory)
	if _, err := os.Stat(words.Dir); len(words.Processes) > 0 && !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory %q: %v", words.Dir, err)
	}
	for _, missing := range words.Missing {
		refuse(t, missing)
	}
}

// The kernel does it even when nobody is left to do it.
func TestServersEndWithAProgramAndItsWatcher(t *testing.T) {
	t.Parallel()
	For(t, Redis{}) // skips where there is none
	words, kill := runProgram(t, "Redis")
	if err := syscall.Kill(words.Watcher, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	kill()
	ended(t, words.Processes)
	if err := os.RemoveAll(words.Dir); err != nil {
		t.Error(err)
	}
}
