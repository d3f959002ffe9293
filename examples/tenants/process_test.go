package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMain is the login process where a test has started this binary as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-login-process" {
		main()
	}
	os.Exit(m.Run())
}

func TestLoginProcessStarts(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewServer(w.server.sites)
	defer server.Close()
	answer, err := startLogin(task{Server: server.Listener.Addr().String(), Token: "login-process"})
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Key) != 32 {
		t.Errorf("its key is %x", answer.Key)
	}
	r, err := http.NewRequest("GET", "http://127.0.0.1:"+answer.Port+"/login?req=made.up.request", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "globex.localhost"
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusBadRequest {
		t.Errorf("status %d, want 400", response.StatusCode)
	}
}

func TestLoginProcessEndsWithItsParent(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-login-process")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, `{"Server":"127.0.0.1:1","Token":"x"}`); err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(out).Decode(&ready{}); err != nil {
		t.Fatal(err)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestLoginProcessWithoutATask(t *testing.T) {
	if err := serveLogin(strings.NewReader(""), io.Discard); err == nil || !strings.Contains(err.Error(), "no task") {
		t.Errorf("got %v", err)
	}
}
