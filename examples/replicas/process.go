package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// fleet is the set of replicas: processes that are started again when they end.
type fleet struct {
	pause   time.Duration // before a replica is started again
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	replicas []*child
	turn     int           // index of the last replica that next returned
	changed  chan struct{} // closed when a replica has started or ended
}

// child is one replica.
type child struct {
	task
	address  string // empty while it does not run
	process  *os.Process
	answered int
}

// startFleet starts the replicas and waits until all of them run. They end with ctx.
func startFleet(ctx context.Context, count int, pause time.Duration, t task) (*fleet, error) {
	ctx, cancel := context.WithCancel(ctx)
	f := &fleet{pause: pause, cancel: cancel, changed: make(chan struct{})}
	started := make(chan error, count)
	for number := 1; number <= count; number++ {
		t.Number = number
		c := &child{task: t}
		f.replicas = append(f.replicas, c)
		f.running.Go(func() { f.keep(ctx, c, started) })
	}
	var errs []error
	for range count {
		errs = append(errs, <-started)
	}
	if err := errors.Join(errs...); err != nil {
		f.stop()
		return nil, err
	}
	return f, nil
}

// stop ends all replicas and does not start them again.
func (f *fleet) stop() {
	f.cancel()
	f.running.Wait()
}

// keep keeps one replica running. It reports the first start.
func (f *fleet) keep(ctx context.Context, c *child, started chan<- error) {
	for {
		cmd, address, err := start(ctx, c.task)
		if started != nil {
			started <- err
			started = nil
		}
		if err == nil {
			log.Printf("replica %d runs; to end it: kill -9 %d", c.Number, cmd.Process.Pid)
			f.set(c, cmd.Process, address)
			err = cmd.Wait()
			f.set(c, nil, "")
		}
		if ctx.Err() == nil {
			log.Printf("replica %d has ended: %v", c.Number, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(f.pause):
		}
	}
}

func (f *fleet) set(c *child, process *os.Process, address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.process, c.address = process, address
	close(f.changed)
	f.changed = make(chan struct{})
}

// start starts this program again, as a replica, and returns when it listens. The replica ends
// with ctx, and when its standard input ends, and so with this process.
func start(ctx context.Context, t task) (*exec.Cmd, string, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	cmd := exec.CommandContext(ctx, program, "-replica")
	cmd.Stderr = log.Writer()
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, "", err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	err = json.NewEncoder(in).Encode(t)
	var address string
	if err == nil {
		address, err = bufio.NewReader(out).ReadString('\n')
	}
	if err != nil {
		return nil, "", fmt.Errorf("replica %d does not start: %w", t.Number, errors.Join(err, cmd.Wait()))
	}
	return cmd, strings.TrimSpace(address), nil
}

// kill ends a replica as a crash would.
func (f *fleet) kill(number int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.replicas {
		if c.Number == number && c.process != nil {
			return c.process.Kill()
		}
	}
	return fmt.Errorf("replica %d does not run", number)
}
