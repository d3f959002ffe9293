package servers

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// echo is a server that answers each line with the same line, and counts them.
func echo(t *testing.T, network string) (Endpoint, *atomic.Int32) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		dir, err := os.MkdirTemp("", "echo")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		address = filepath.Join(dir, "s")
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	lines := new(atomic.Int32)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				reader := bufio.NewReader(conn)
				for {
					line, err := reader.ReadString('\n')
					if err != nil {
						return
					}
					lines.Add(1)
					_, _ = io.WriteString(conn, line)
				}
			}()
		}
	}()
	return Endpoint{Network: network, Address: listener.Addr().String()}, lines
}

// visitor is a connection of a client.
type visitor struct {
	net.Conn
	answers *bufio.Reader
}

func visit(t *testing.T, e Endpoint) *visitor {
	t.Helper()
	conn, err := net.Dial(e.Network, e.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &visitor{conn, bufio.NewReader(conn)}
}

func (v *visitor) say(line string) { _, _ = io.WriteString(v, line+"\n") }

// hear returns a line, "silence" if none came in the time, "lost" without a
// connection.
func (v *visitor) hear(within time.Duration) string {
	_ = v.SetReadDeadline(time.Now().Add(within))
	line, err := v.answers.ReadString('\n')
	switch {
	case err == nil:
		return strings.TrimSuffix(line, "\n")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "silence"
	}
	return "lost"
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

const moment = 50 * time.Millisecond // in which nothing happens

func TestProxy(t *testing.T) {
	for _, c := range []struct {
		name, to string
		tcp      bool
	}{
		{"TCP to TCP", "tcp", true},
		{"TCP to a Unix socket", "unix", true},
		{"a Unix socket to TCP", "tcp", false},
		{"a Unix socket to a Unix socket", "unix", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, lines := echo(t, c.to)
			p := For(t, ProxyTo{Endpoint: server, TCP: c.tcp})
			before := visit(t, p.Endpoint)
			before.say("hello")
			expect(t, "handed on", before.hear(patience), "hello")

			p.Cut()
			if len(p.links) > 0 {
				t.Error("Cut has not waited for the connections' end")
			}
			expect(t, "a connection from before Cut", before.hear(patience), "lost")
			if conn, err := net.Dial(p.Network, p.Address); err == nil {
				_ = conn.Close()
				t.Error("Cut, it takes connections")
			}
			if err := errors.Join(p.Restore(), p.Restore()); err != nil {
				t.Fatal(err)
			}
			after := visit(t, p.Endpoint)
			after.say("again")
			expect(t, "after Restore", after.hear(patience), "again")

			p.Hold()
			p.Hold()
			during := visit(t, p.Endpoint)
			during.say("new")
			after.say("old")
			expect(t, "held, a new connection", during.hear(moment), "silence")
			expect(t, "held, an old connection", after.hear(moment), "silence")
			if n := lines.Load(); n != 2 {
				t.Errorf("held, the server was told %d lines, want 2", n)
			}
			p.Release()
			p.Release()
			expect(t, "released, a new connection", during.hear(patience), "new")
			expect(t, "released, an old connection", after.hear(patience), "old")

			p.Hold()
			after.say("never")
			p.Cut()
			expect(t, "held and cut", after.hear(patience), "lost")
			p.Release()
			if n := lines.Load(); n != 4 {
				t.Errorf("what was held when it was cut has arrived: %d lines, want 4", n)
			}
			if want := "3 connections taken, 0 answers lost"; !strings.HasSuffix(p.Log(), want) {
				t.Errorf("%s, want %s", p.Log(), want)
			}
			if err := errors.Join(p.Close(), p.Close()); err != nil {
				t.Error(err)
			}
			if p.Restore() == nil {
				t.Error("closed, it was restored")
			}
		})
	}
}

func TestAnAnswerIsLost(t *testing.T) {
	server, lines := echo(t, "tcp")
	p := For(t, ProxyTo{Endpoint: server, TCP: true})
	one, other := visit(t, p.Endpoint), visit(t, p.Endpoint)
	lost := p.LoseAnswer(func(request []byte) bool { return strings.Contains(string(request), "take") })

	one.say("prepare")
	expect(t, "a request that does not match", one.hear(patience), "prepare")
	one.say("take")
	expect(t, "the request that matches", one.hear(patience), "lost")
	<-lost
	if n := lines.Load(); n != 2 {
		t.Errorf("the server was told %d lines, want 2", n)
	}
	other.say("take")
	expect(t, "the same on another connection, later", other.hear(patience), "take")

	lost = p.LoseAnswer(nil)
	other.say("anything")
	expect(t, "nil matches all", other.hear(patience), "lost")
	<-lost
	next := visit(t, p.Endpoint)
	next.say("hello")
	expect(t, "a connection after that", next.hear(patience), "hello")
	if want := "3 connections taken, 2 answers lost"; !strings.HasSuffix(p.Log(), want) {
		t.Errorf("%s, want %s", p.Log(), want)
	}
}

// The server may speak first. A client that goes away ends its connection to the
// server, and a server that goes away those of its clients.
func TestAProxyServesBothSides(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	p := For(t, ProxyTo{Endpoint: Endpoint{Network: "tcp", Address: listener.Addr().String()}, TCP: true})
	for _, first := range []string{"client", "server"} {
		client := visit(t, p.Endpoint)
		conn, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		server := &visitor{conn, bufio.NewReader(conn)}
		p.Hold()
		_, _ = io.WriteString(conn, "pushed\n")
		expect(t, "held, what the server says", client.hear(moment), "silence")
		p.Release()
		expect(t, "released, what the server says", client.hear(patience), "pushed")
		ends, hears := client, server
		if first == "server" {
			ends, hears = server, client
		}
		_ = ends.Close()
		expect(t, "after the "+first+" went", hears.hear(patience), "lost")
		_ = hears.Close()
	}
	_ = listener.Close()
	expect(t, "without a server", visit(t, p.Endpoint).hear(patience), "lost")
}

// What a store must live with: the code is taken, and the one who took it does not
// know.
func TestATakeWhoseAnswerIsLost(t *testing.T) {
	server := For(t, Redis{})
	p := For(t, ProxyTo{Endpoint: server.Endpoint})
	redis(t, p.Endpoint, "SET", "code", "grant")
	lost := p.LoseAnswer(func(request []byte) bool { return strings.Contains(string(request), "GETDEL") })
	if got, err := p.redis(t.Context(), "GETDEL", "code"); !errors.Is(err, io.EOF) {
		t.Errorf("the answer is %q, %v", got, err)
	}
	<-lost
	if got := redis(t, p.Endpoint, "EXISTS", "code"); got != "0" {
		t.Errorf("EXISTS says %s: the take has not arrived", got)
	}
}
