package interop

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// binaries is where the programs are built.
var binaries string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if binaries, err = os.MkdirTemp("", "usher-interop"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(binaries)
	defer func() { stopChromium() }()
	return m.Run()
}

var (
	building sync.Mutex
	built    = map[string]bool{}
)

// build builds an example program once.
func build(t *testing.T, name string) string {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	binary := filepath.Join(binaries, name)
	if built[name] {
		return binary
	}
	cmd := exec.Command("go", "build", "-o", binary, ".")
	cmd.Dir = filepath.Join("..", name) // in its own module, if it has one
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	built[name] = true
	return binary
}

// start starts an example program on a free port and returns the address that it prints. The
// program ends with the test. If the test fails, its output is shown.
func start(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(build(t, name), append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()

	address := make(chan string, 1)
	done := make(chan string, 1)
	go func() {
		defer close(address)
		var all strings.Builder
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			all.WriteString(lines.Text() + "\n")
			if _, url, ok := strings.Cut(lines.Text(), "listening on "); ok && len(address) == 0 {
				address <- strings.TrimSpace(url)
			}
		}
		done <- all.String()
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if log := <-done; t.Failed() {
			t.Logf("%s printed:\n%s", name, log)
		}
	})
	url, ok := <-address
	if !ok {
		t.Fatalf("%s ended without a line \"listening on ...\"", name)
	}
	return url
}

// config is the part of the provider's file that the tests use.
type config struct {
	Issuer  string   `json:"issuer,omitempty"`
	Clients []client `json:"clients"`
	Users   []user   `json:"users"`
}

type client struct {
	ID               string   `json:"id"`
	Secret           string   `json:"secret,omitempty"`
	Name             string   `json:"name,omitempty"`
	RedirectURIs     []string `json:"redirect_uris"`
	Scopes           []string `json:"scopes"`
	Public           bool     `json:"public,omitempty"`
	Native           bool     `json:"native,omitempty"`
	LocalhostAnyPort bool     `json:"localhost_any_port,omitempty"`
	FirstParty       bool     `json:"trusted,omitempty"`
}

type user struct {
	Username string         `json:"username"`
	Password string         `json:"password"`
	Claims   map[string]any `json:"claims,omitempty"`
}

var alice = user{"alice", "alice-password", map[string]any{"name": "Alice Example", "email": "alice@example.com"}}

// startProvider starts the provider with these clients and the user alice.
func startProvider(t *testing.T, clients ...client) string {
	t.Helper()
	return startConfigured(t, config{Clients: clients, Users: []user{alice}})
}

func startConfigured(t *testing.T, c config) string {
	t.Helper()
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "provider.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, "provider", "-config", file)
}
