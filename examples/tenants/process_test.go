package main

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize/authorizetest"
)

// TestMain runs the login process if a test has started this binary as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-login-process" {
		main()
	}
	os.Exit(m.Run())
}

// In this test, the two processes use sockets.
func TestSignInThroughTheLoginProcess(t *testing.T) {
	main := httptest.NewUnstartedServer(nil)
	at := main.Listener.Addr().String()
	work := task{Server: at, Token: "login-process"}
	own, err := startLogin(work)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, browser: authorizetest.NewBrowser()}
	w.server, err = newServer(surroundings{work.port(), own, work.Token, slog.New(slog.DiscardHandler), time.Now})
	if err != nil {
		t.Fatal(err)
	}
	main.Config.Handler = w.server.sites
	main.Start()
	defer main.Close()

	client := authorizetest.Client{RedirectURI: urlOf("app.localhost", work.port()) + "/callback", Scopes: []string{"openid"}}
	for _, on := range w.server.tenants {
		w.browser.Connect(on.issuer, backChannel(at).Transport)
		if on.OwnLogin != "" {
			w.browser.Connect(urlOf(on.host(), own.Port), backChannel("127.0.0.1:"+own.Port).Transport)
		}
		client.Issuer, client.ID = on.issuer, "notes-"+on.Name
		flow := client.Start()
		w.redeem(on, flow, w.page(w.open(flow).Submit(alice)))
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
	if err := serveLogin(strings.NewReader(""), io.Discard); err == nil || !strings.Contains(err.Error(), "the task cannot be read") {
		t.Errorf("got %v", err)
	}
}
