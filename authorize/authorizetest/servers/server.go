package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// patience is how long a server may take to start, and to stop.
const patience = 30 * time.Second

// Protocol is the language that a server speaks.
type Protocol string

// The protocols of the servers that this package starts.
const (
	ProtocolRedis      Protocol = "redis"      // Redis, Valkey
	ProtocolPostgreSQL Protocol = "postgresql" // PostgreSQL, PgBouncer
	ProtocolMySQL      Protocol = "mysql"      // MariaDB
)

// Endpoint says where a server is reached, and in which language.
type Endpoint struct {
	Protocol Protocol
	// Network and Address are those of [net.Dial]: "unix" and a path, or "tcp" and
	// "127.0.0.1:port".
	Network, Address string
}

// DSN returns the endpoint in the form that the usual Go driver of its protocol
// takes: for PostgreSQL the keywords of libpq (pgx, lib/pq), as user and database
// "postgres"; for MySQL that of go-sql-driver/mysql, as user "root" and database
// "test"; for Redis a URL (ParseURL of go-redis and rueidis). It is empty for
// another protocol.
func (e Endpoint) DSN() string {
	switch e.Protocol {
	case ProtocolRedis:
		if e.Network == "unix" {
			return "unix://" + e.Address
		}
		return "redis://" + e.Address
	case ProtocolPostgreSQL:
		host, port := e.postgres()
		return fmt.Sprintf("host=%s port=%s user=postgres dbname=postgres sslmode=disable", host, port)
	case ProtocolMySQL:
		return fmt.Sprintf("root@%s(%s)/test", e.Network, e.Address)
	}
	return ""
}

// postgres returns host and port as libpq wants them. For a Unix socket these are its
// directory and the number at the end of its name.
func (e Endpoint) postgres() (host, port string) {
	if e.Network == "unix" {
		return filepath.Dir(e.Address), strings.TrimPrefix(filepath.Ext(e.Address), ".")
	}
	host, port, _ = net.SplitHostPort(e.Address)
	return host, port
}

// newEndpoint returns an address that is free: a socket in the directory, or a port.
func newEndpoint(protocol Protocol, tcp bool, dir string) (Endpoint, error) {
	if tcp {
		port, err := freePort()
		return Endpoint{protocol, "tcp", fmt.Sprintf("127.0.0.1:%d", port)}, err
	}
	name := string(protocol) + ".sock"
	if protocol == ProtocolPostgreSQL {
		name = ".s.PGSQL.5432" // its clients get only the directory
	}
	return Endpoint{protocol, "unix", filepath.Join(dir, name)}, nil
}

// Server is a database server that runs, or that was stopped and can be started
// again. Start of [Redis], [PostgreSQL], [MariaDB] and [PgBouncer] return one. Its
// methods may be called by several goroutines at once.
type Server struct {
	// Endpoint is where it is reached. It stays the same until Close.
	Endpoint
	// Dir holds all of its files. Close removes it.
	Dir string

	program program
	mu      sync.Mutex // held while the server is started or stopped
	process *process   // nil before the first start
	closed  bool
}

// program is how a server is run.
type program struct {
	path string
	args []string
	// quit ends it in order, without waiting for its clients.
	quit os.Signal
	// forget removes resources of the system that are neither processes nor files. It may be nil.
	forget func(dir string)
}

// launch makes a server with a directory and an address, lets prepare lay out its
// files and say how it is run, and starts it.
func launch(protocol Protocol, tcp bool, prepare func(*Server) error) (*Server, error) {
	dir, err := newDir()
	if err != nil {
		return nil, fmt.Errorf("servers: %w", err)
	}
	s := &Server{Dir: dir}
	if s.Endpoint, err = newEndpoint(protocol, tcp, dir); err == nil {
		err = prepare(s)
	}
	if err != nil {
		err = fmt.Errorf("servers: %w", err)
	} else {
		err = s.Start()
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Start starts the server again after Stop or Kill, or after it ended by itself,
// on the same data and at the same address, and waits until it answers. It is an
// error if the server runs or is closed. If it does not answer within 30 seconds
// it is killed, and the error has the end of its log.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return fmt.Errorf("servers: %s is closed", s.name())
	case s.running():
		return fmt.Errorf("servers: %s runs already", s.name())
	}
	process, err := startLogged(s.Dir, s.program.path, s.program.args...)
	if err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	s.process = process
	if err := s.await(); err != nil {
		err = fmt.Errorf("servers: starting %s: %w", s.name(), err)
		return errors.Join(err, process.kill(), errors.New(s.Log()))
	}
	return nil
}

// await waits until the server answers.
func (s *Server) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return until(ctx, func() error {
		select {
		case <-s.process.done:
			cancel()
			return fmt.Errorf("it ended: %v", s.process.state)
		default:
			return s.ping(ctx)
		}
	})
}

// Stop ends the server in order, as an administrator does, without waiting for its
// clients. A server that does not run is left alone. One that does not end within
// 30 seconds is killed, which is an error.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running() {
		return nil
	}
	// A paused one would not hear of it.
	if err := errors.Join(s.process.resume(), s.process.signal(s.program.quit)); err != nil {
		return fmt.Errorf("servers: stopping %s: %w", s.name(), err)
	}
	if !s.process.ended(patience) {
		return errors.Join(fmt.Errorf("servers: %s did not stop, it was killed", s.name()), s.process.kill())
	}
	return nil
}

// Kill ends all processes of the server at once with SIGKILL, as a crash does, and
// returns when they are gone. A server that does not run is left alone.
func (s *Server) Kill() error {
	return s.act("killing", (*process).kill)
}

// Pause stops all processes of the server with SIGSTOP: connections stay, new ones
// are made, nothing is answered. It ends with Resume, Stop, Kill or Close. A
// server that does not run is left alone.
func (s *Server) Pause() error {
	return s.act("pausing", (*process).pause)
}

// Resume ends Pause. A server that is not paused is left alone.
func (s *Server) Resume() error {
	return s.act("resuming", (*process).resume)
}

// Close kills the server and removes its directory. After that it cannot be
// started again. A second Close does nothing.
func (s *Server) Close() error {
	err := s.Kill()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.program.forget != nil {
		s.program.forget(s.Dir)
	}
	return errors.Join(err, os.RemoveAll(s.Dir))
}

// Log returns the end of what the server has written since its first start, for
// the message of a test that fails. It is empty after Close.
func (s *Server) Log() string {
	return tail(filepath.Join(s.Dir, "log"))
}

func (s *Server) act(doing string, do func(*process) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running() {
		return nil
	}
	if err := do(s.process); err != nil {
		return fmt.Errorf("servers: %s %s: %w", doing, s.name(), err)
	}
	return nil
}

func (s *Server) running() bool { return s.process != nil && !s.process.ended(0) }

func (s *Server) name() string { return filepath.Base(s.program.path) }

// until tries until it succeeds or the context is done. Then it returns the error of the
// last try and that of the context.
func until(ctx context.Context, try func() error) error {
	pause := time.Millisecond
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, ctx.Err())
		case <-time.After(pause):
			pause = min(2*pause, 50*time.Millisecond)
		}
	}
}

// tail returns the last 8 kB of a file, or "" if it cannot be read.
func tail(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil {
		_, _ = file.Seek(max(0, info.Size()-8192), io.SeekStart)
	}
	text, _ := io.ReadAll(io.LimitReader(file, 8192))
	return string(text)
}

// settings returns the lines of the wanted settings over those of this package,
// sorted by name: name, separator, value.
func settings(separator string, ours, wanted map[string]string) []string {
	all := maps.Clone(ours)
	maps.Copy(all, wanted)
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		lines = append(lines, name+separator+all[name])
	}
	return lines
}
