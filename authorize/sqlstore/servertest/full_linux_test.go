package servertest

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/usher-auth/usher/authorize/authorizetest/servers"
	"github.com/usher-auth/usher/authorize/sqlstore"
)

// A disk that is full. None of the ways to it needs a right that a user does not have.
func TestFullDisk(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) (full, roomy database){
		"sqlite": func(t *testing.T) (full, roomy database) {
			path := filepath.Join(t.TempDir(), "usher.db")
			return onSQLite(path, "&_pragma=max_page_count(400)"), onSQLite(path, "")
		},
		"mariadb": func(t *testing.T) (full, roomy database) {
			server := startMaria(t, map[string]string{"innodb-file-per-table": "0", "innodb-data-file-path": "ibdata1:12M:autoextend:max:16M"})
			d := onMariaDB(server.Endpoint, "")
			return d, d
		},
		"postgresql": func(t *testing.T) (full, roomy database) {
			// No file of the server may grow beyond 2 MiB; those of its log have 1.
			server := startPostgres(t, nil)
			limitFiles(t, server, 2<<20)
			d := onPostgreSQL(server.Endpoint, "")
			return d, d
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fullDisk(t, open)
		})
	}
}

// limitFiles bounds the size of the files that a PostgreSQL and its future children write.
func limitFiles(t *testing.T, server *servers.Server, size int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(server.Dir, "data", "postmaster.pid"))
	must(t, err)
	pid, _, _ := strings.Cut(string(text), "\n")
	command := exec.Command("prlimit", "--pid", pid, fmt.Sprintf("--fsize=%d:", size))
	// Without a certain right it takes the same user, even for root.
	info, err := os.Stat(server.Dir)
	must(t, err)
	if owner := info.Sys().(*syscall.Stat_t); os.Geteuid() == 0 {
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
	}
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
}

func fullDisk(t *testing.T, open func(t *testing.T) (full, roomy database)) {
	ctx := t.Context()
	full, roomy := open(t)
	config := full.config(t, 4)
	store := migrated(t, config)
	hashes, refused := fill(ctx, t, store)
	t.Logf("%d codes were saved", len(hashes))

	// What was saved is there, what was refused is not.
	for i, hash := range hashes {
		if code, err := store.FindCode(ctx, hash); err != nil || code == nil {
			t.Fatalf("code %d of %d: %v, %v", i, len(hashes), code, err)
		}
	}
	for _, hash := range refused {
		if code, err := store.FindCode(ctx, hash); err != nil || code != nil {
			t.Fatalf("a code that was refused: %v, %v", code, err)
		}
	}

	// A take may need room or not. It is an error or it counts, and never twice.
	winners, failures := map[string]int{}, 0
	take := func(s *sqlstore.Store) {
		for _, hash := range hashes {
			code, taken, err := s.TakeCode(ctx, hash, now())
			switch {
			case err != nil && (taken || code != nil):
				t.Fatalf("with the error %v came taken %t, %v", err, taken, code)
			case err != nil:
				failures++
			case taken:
				winners[hash]++
			}
		}
	}
	take(store)
	t.Logf("%d codes were taken, %d calls failed", len(winners), failures)
	before := len(winners)
	if failures == 0 {
		t.Error("there was room for every take")
	}
	config.DB = roomy.pool(t, 4)
	take(opened(t, config))
	take(store)
	for _, hash := range hashes {
		if winners[hash] > 1 {
			t.Fatalf("a code was taken %d times", winners[hash])
		}
	}
	if full != roomy && len(winners) != len(hashes) {
		t.Errorf("with room again %d of %d codes could be taken, %d before", len(winners), len(hashes), before)
	}
}

// fill saves codes until nothing more goes in, large ones first and then small ones.
func fill(ctx context.Context, t *testing.T, store *sqlstore.Store) (saved, refused []string) {
	t.Helper()
	for _, size := range []int{32 << 10, 1 << 10, 0} {
		failed := 0
		for range 20_000 {
			hash, code := newKey(), newCode()
			code.SessionData = make([]byte, size)
			rand.Read(code.SessionData)
			if err := store.SaveCode(ctx, hash, code); err == nil {
				saved = append(saved, hash)
				continue
			} else if failed == 0 {
				t.Logf("%d bytes: %v", size, err)
			}
			refused = append(refused, hash)
			if failed++; failed == 5 {
				break
			}
		}
		if failed < 5 {
			t.Fatalf("the disk is not full after %d codes", len(saved))
		}
	}
	return saved, refused
}
