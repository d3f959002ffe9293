package servertest

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize/sqlstore"
)

// job is what another process of these tests does with a store.
type job struct {
	Dialect             sqlstore.Dialect
	Driver, DSN, Prefix string
}

// child is the main function of such a process. It opens its store, says so, and waits
// for the end of its input; what comes before are the hashes of codes.
func child(task string) error {
	var j job
	if err := json.Unmarshal([]byte(os.Getenv("USHER_JOB")), &j); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db, err := sql.Open(j.Driver, j.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	store, err := sqlstore.New(sqlstore.Config{DB: db, Dialect: j.Dialect, Prefix: j.Prefix, Timeout: 30 * time.Second})
	if err != nil {
		return err
	}
	defer store.Close()
	fmt.Println("ready")
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	switch task {
	case "migrate":
		if err := store.Migrate(ctx); err != nil {
			return err
		}
		return takeAll(ctx, store, []string{newKey()}, true)
	case "take":
		return takeAll(ctx, store, strings.Fields(string(input)), false)
	}
	return errors.New("unknown task " + task)
}

// takeAll takes codes and says which it got, one line for each as soon as that is known.
func takeAll(ctx context.Context, store *sqlstore.Store, hashes []string, save bool) error {
	for _, hash := range hashes {
		if save {
			if err := store.SaveCode(ctx, hash, newCode()); err != nil {
				return err
			}
		}
		_, taken, err := store.TakeCode(ctx, hash, now())
		if err != nil {
			return err
		}
		if taken {
			fmt.Println("took", hash)
		}
	}
	return nil
}

// process is one that works on a store.
type process struct {
	command *exec.Cmd
	input   io.WriteCloser
	output  *bufio.Scanner
	errors  *bytes.Buffer
}

// start starts another process, which is ready and waits for its input to end.
func (d database) start(t *testing.T, task, prefix string) *process {
	t.Helper()
	j, err := json.Marshal(job{d.dialect, d.driver, d.dsn, prefix})
	must(t, err)
	p := &process{command: exec.Command(os.Args[0]), errors: &bytes.Buffer{}}
	p.command.Env = append(os.Environ(), "USHER_TASK="+task, "USHER_JOB="+string(j))
	p.command.Stderr = p.errors
	output, err := p.command.StdoutPipe()
	must(t, err)
	p.input, err = p.command.StdinPipe()
	must(t, err)
	must(t, p.command.Start())
	t.Cleanup(func() {
		p.command.Process.Kill()
		p.command.Wait()
	})
	p.output = bufio.NewScanner(output)
	if !p.output.Scan() || p.output.Text() != "ready" {
		t.Fatalf("the process does not start: %s", p.errors)
	}
	return p
}

// took returns the next code that the process says it took, or nothing at its end.
func (p *process) took() string {
	if !p.output.Scan() {
		return ""
	}
	_, hash, _ := strings.Cut(p.output.Text(), " ")
	return hash
}

func TestMigratedByManyProcessesAtOnce(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *engine) {
		for range 8 {
			d, prefix := e.open(t), newPrefix()
			var all []*process
			for range 4 {
				all = append(all, d.start(t, "migrate", prefix))
			}
			for _, p := range all {
				must(t, p.input.Close())
			}
			for i, p := range all {
				took := p.took()
				if err := p.command.Wait(); err != nil || took == "" {
					t.Fatalf("process %d of %d: %v, took %q\n%s", i, len(all), err, took, p.errors)
				}
			}
		}
	})
}

// Nothing of a process is between it and the file: this is for SQLite.
func TestCodesTakenByManyProcessesAtOnce(t *testing.T) {
	t.Parallel()
	d := engines[0].open(t)
	config := d.config(t, 8)
	store := migrated(t, config)
	hashes := saveCodes(t, store, 100)
	var all []*process
	for range 4 {
		all = append(all, d.start(t, "take", config.Prefix))
	}
	for _, p := range all {
		io.WriteString(p.input, strings.Join(hashes, "\n"))
	}
	for _, p := range all {
		must(t, p.input.Close())
	}
	winners := map[string]int{}
	for _, p := range all {
		for hash := p.took(); hash != ""; hash = p.took() {
			winners[hash]++
		}
		if err := p.command.Wait(); err != nil {
			t.Errorf("%v: %s", err, p.errors)
		}
	}
	for _, hash := range hashes {
		if winners[hash] != 1 {
			t.Errorf("%d processes took one code", winners[hash])
		}
	}
}

// What a process has said to have taken is used after its death, whenever that is.
func TestSQLiteProcessKilledDuringTake(t *testing.T) {
	t.Parallel()
	d := engines[0].open(t)
	config := d.config(t, 8)
	store := migrated(t, config)
	hashes := saveCodes(t, store, 300)
	left := hashes
	for round := range 5 {
		p := d.start(t, "take", config.Prefix)
		io.WriteString(p.input, strings.Join(left, "\n"))
		must(t, p.input.Close())
		for range 20 + round {
			hash := p.took()
			if hash != left[0] {
				t.Fatalf("the process took %q, want %q: %s", hash, left[0], p.errors)
			}
			left = left[1:]
		}
		must(t, p.command.Process.Kill())
		for hash := p.took(); hash != ""; hash = p.took() { // what was on its way
			left = left[1:]
		}
		p.command.Wait() // which closes the pipe, and so comes after
		// The next one may be used and nobody was told so: it is not taken again then.
		if _, _, err := store.TakeCode(t.Context(), left[0], now()); err != nil {
			t.Fatal(err)
		}
		left = left[1:]
	}
	for i, hash := range hashes {
		_, taken, err := store.TakeCode(t.Context(), hash, now())
		must(t, err)
		if want := i >= len(hashes)-len(left); taken != want {
			t.Fatalf("code %d, of which %d are left, could be taken: %t, want %t", i, len(left), taken, want)
		}
	}
}
