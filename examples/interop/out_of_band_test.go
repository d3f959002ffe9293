package interop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// startOutOfBand starts out-of-band and returns its address and the commands that it
// prints, which are indented.
func startOutOfBand(t *testing.T) (address string, commands []string) {
	t.Helper()
	cmd := exec.Command(build(t, "out-of-band"), "-addr", "127.0.0.1:0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		io.Copy(io.Discard, out)
		cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			address = url
		}
		command, indented := strings.CutPrefix(lines.Text(), "  ")
		if !indented {
			continue
		}
		if commands = append(commands, command); strings.HasPrefix(command, "go run ") {
			return address, commands // the last one
		}
	}
	t.Fatalf("the program ended, and printed the commands %q", commands)
	return "", nil
}

// shell runs the commands in order, in the right folder, and stops at the first one that fails.
func shell(t *testing.T, commands ...string) (output []string, notes string) {
	t.Helper()
	cmd := exec.Command("sh", "-eu")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	cmd.Env = slices.DeleteFunc(os.Environ(), func(x string) bool {
		return strings.HasPrefix(x, "API_KEY=") || strings.HasPrefix(x, "PROFILE_JWT=")
	})
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v, and it printed:\n%s%s", err, &stdout, &stderr)
	}
	return strings.Split(strings.TrimSpace(strings.ReplaceAll(stdout.String(), "\r", "")), "\n"), stderr.String()
}

// members expects an object with these members in the line, and returns it.
func members(t *testing.T, line string, names ...string) map[string]any {
	t.Helper()
	object := map[string]any{}
	if err := json.Unmarshal([]byte(line), &object); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	for _, name := range names {
		if object[name] == nil {
			t.Fatalf("there is no %s in %s", name, line)
		}
	}
	return object
}

// All printed commands work as they are, from top to bottom.
func TestOutOfBandInAShell(t *testing.T) {
	_, commands := startOutOfBand(t)
	output, notes := shell(t, commands...)
	if len(output) < 6 {
		t.Fatalf("the output is %q", output)
	}
	first := members(t, output[0], "code", "state", "iss")
	exchanged := members(t, output[1], "access_token", "profile", "refresh_token")
	if again := members(t, output[2], "code", "state", "iss"); again["code"] == first["code"] {
		t.Errorf("the second code is the first: %v", again)
	}
	refreshed := members(t, output[len(output)-3], "access_token", "profile", "refresh_token")
	if refreshed["profile"] != exchanged["profile"] || refreshed["refresh_token"] == exchanged["refresh_token"] {
		t.Errorf("%v became %v", exchanged, refreshed)
	}
	if again := members(t, output[len(output)-2], "error"); again["error"] != "invalid_grant" {
		t.Errorf("the refresh token again: %v", again)
	}
	headers := output[3 : len(output)-3]
	location := func(line string) bool {
		return strings.HasPrefix(line, "Location: https://website.example/callback?code=")
	}
	if headers[0] != "HTTP/1.1 302 Found" || !slices.ContainsFunc(headers, location) {
		t.Errorf("the client with an address got %q", headers)
	}
	if token := output[len(output)-1]; strings.Count(token, ".") != 2 || strings.ContainsAny(token, " {") {
		t.Errorf("the client prints %q", token)
	}
	_, profile, new := strings.Cut(notes, "a new profile: ")
	profile, rest, _ := strings.Cut(profile, "\n")
	if _, same, old := strings.Cut(rest, "the profile of the token: "); !new || !old || strings.TrimSpace(same) != profile {
		t.Errorf("the client says %q", notes)
	}
}

// A user who gets no response repeats the command: it gets another code for the same profile.
// So do many repetitions at the same time.
func TestOutOfBandRetriedInAShell(t *testing.T) {
	_, commands := startOutOfBand(t)
	token := slices.IndexFunc(commands, func(command string) bool { return strings.HasPrefix(command, "token=") })
	if token < 0 {
		t.Fatalf("there is no token in %q", commands)
	}
	once := commands[:token]
	ask := strings.TrimSuffix(strings.TrimPrefix(once[1], "answer=$("), ")")
	script := []string{once[0]}
	for range 10 {
		script = append(script, ask+" >/dev/null &")
	}
	script = append(script, "wait")
	output, _ := shell(t, slices.Concat(script, once[1:], once[1:])...)
	if len(output) != 4 {
		t.Fatalf("the output is %q", output)
	}
	first, second := members(t, output[1], "profile"), members(t, output[3], "profile")
	if first["profile"] != second["profile"] {
		t.Errorf("%v became %v", first["profile"], second["profile"])
	}
}

// After a failed client, PROFILE_JWT is not set to an empty value.
func TestOutOfBandExportsNoEmptyToken(t *testing.T) {
	address, commands := startOutOfBand(t)
	export := slices.IndexFunc(commands, func(command string) bool { return strings.Contains(command, "export PROFILE_JWT") })
	if export < 0 {
		t.Fatalf("there is no export in %q", commands)
	}
	run := "go run ./examples/out-of-band -client " + address
	for instead, want := range map[string]string{"echo a-token": "PROFILE_JWT=a-token", "false": ""} {
		t.Run(instead, func(t *testing.T) {
			cmd := exec.Command("sh", "-c", strings.Replace(commands[export], run, instead, 1)+"; env")
			cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for line := range strings.Lines(string(out)) {
				if strings.HasPrefix(line, "PROFILE_JWT") {
					got = strings.TrimSpace(line)
				}
			}
			if got != want {
				t.Errorf("the environment has %q, want %q", got, want)
			}
		})
	}
}

// On an error the client prints it, and a script can check the exit status.
func TestOutOfBandClientFails(t *testing.T) {
	address, _ := startOutOfBand(t)
	for _, c := range []struct {
		rule string
		env  []string
		want string
	}{
		{"without a key", nil, "API_KEY is not set"},
		{"with a wrong key", []string{"API_KEY=x"}, "invalid_client"},
		{"with a token that is not good", []string{"API_KEY=demo-key-of-cli", "PROFILE_JWT=x"}, "login_required"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			cmd := exec.Command(build(t, "out-of-band"), "-client", address)
			cmd.Env = append(slices.Clone(os.Environ()), "API_KEY=", "PROFILE_JWT=")
			cmd.Env = append(cmd.Env, c.env...)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Run(); err == nil || stdout.Len() > 0 || !strings.Contains(stderr.String(), c.want) {
				t.Errorf("%v, printed %q and %q", err, &stdout, &stderr)
			}
		})
	}
}

// In a real browser, scripts of other sites cannot read or show a code, even if they know the
// API key.
func TestOutOfBandInChromium(t *testing.T) {
	b, s := newTab(t), newSite(t)
	address, commands := startOutOfBand(t)
	_, ask, found := strings.Cut(commands[1], "'")
	ask, _, _ = strings.Cut(ask, "'")
	if !found || !strings.HasPrefix(ask, address) {
		t.Fatalf("the second command is %s", commands[1])
	}
	quoted, err := json.Marshal(ask)
	if err != nil {
		t.Fatal(err)
	}
	element := func(kind, attribute string) string {
		return `new Promise(done => { const e = document.createElement("` + kind + `"); e.` + attribute + ` = ` + string(quoted) +
			`; e.onload = () => done("loaded"); e.onerror = () => done("failed"); document.body.append(e) })`
	}
	call := func(options string) string {
		return `fetch(` + string(quoted) + `, ` + options + `).then(r => r.text().then(t => r.type + " " + t), String)`
	}
	for _, c := range []struct{ rule, script, want string }{
		{"a script calls with the key", call(`{headers: {"x-api-key": "demo-key-of-cli"}}`), "TypeError: Failed to fetch"},
		{"a script calls", call(`{}`), "TypeError: Failed to fetch"},
		{"a script calls, with cookies", call(`{credentials: "include"}`), "TypeError: Failed to fetch"},
		{"a script calls without an answer", call(`{mode: "no-cors", headers: {"x-api-key": "demo-key-of-cli"}}`), "TypeError: Failed to fetch"},
		{"a script element", element("script", "src"), "failed"},
		{"an image", element("img", "src"), "failed"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			b := b.in(t)
			b.open(s.url + "/callback")
			if got := b.evaluate(c.script); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
	b.open(ask)
	if text := b.text("body"); !strings.Contains(text, `"error":"invalid_client"`) || strings.Contains(text, `"code"`) {
		t.Errorf("opened, it shows %s", text)
	}
}
