package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"
)

// task is what the main process tells the login process, on its standard input.
type task struct {
	Server string // address of the main process
	Token  string // authenticates the login process
}

func (t task) port() string {
	_, port, _ := net.SplitHostPort(t.Server)
	return port
}

// ready is the answer of the login process, on its standard output. The private key stays
// in the login process.
type ready struct {
	Port string
	Key  ed25519.PublicKey
}

// startLogin starts this program again, as the login process. The login process ends when its
// standard input ends, and so with the main process, even if that crashes.
func startLogin(t task) (ready, error) {
	program, err := os.Executable()
	if err != nil {
		return ready{}, err
	}
	cmd := exec.Command(program, "-login-process")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return ready{}, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return ready{}, err
	}
	if err := cmd.Start(); err != nil {
		return ready{}, err
	}
	var answer ready
	if err := json.NewEncoder(in).Encode(t); err != nil {
		return ready{}, fmt.Errorf("the login process does not read its task: %w", err)
	}
	if err := json.NewDecoder(out).Decode(&answer); err != nil {
		return ready{}, fmt.Errorf("the login process is not ready: %w", err)
	}
	go func() {
		log.Print("the login process has ended: ", cmd.Wait())
	}()
	return answer, nil
}

// serveLogin is the login process.
func serveLogin(in io.Reader, out io.Writer) error {
	var t task
	if err := json.NewDecoder(in).Decode(&t); err != nil {
		return fmt.Errorf("the task cannot be read: %w", err)
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	if err := json.NewEncoder(out).Encode(ready{port, public}); err != nil {
		return err
	}
	go func() {
		io.Copy(io.Discard, in)
		os.Exit(0)
	}()
	return serve(listener, newOwnSites(t, private, backChannel(t.Server), slog.Default(), time.Now))
}

// backChannel connects to the main process for every host in a URL, because not every
// resolver knows *.localhost.
func backChannel(server string) *http.Client {
	dialer := &net.Dialer{Timeout: time.Second}
	return &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", server)
		}},
	}
}
