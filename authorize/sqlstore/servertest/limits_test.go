package servertest

import (
	"bytes"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize"
)

// Without a strict mode MariaDB cuts off what does not fit a column, and says nothing.
func TestNothingIsCutOff(t *testing.T) {
	t.Parallel()
	server := startMaria(t, map[string]string{"max-allowed-packet": "128M", "innodb-log-file-size": "64M", "sql-mode": ""})
	ctx, store := t.Context(), onMariaDB(server.Endpoint, "maxAllowedPacket=0").store(t)
	for _, size := range []int{1 << 20, 11 << 20, 13 << 20, 40 << 20} {
		hash, code := newKey(), newCode()
		code.SessionData = bytes.Repeat([]byte{7}, size)
		saved := store.SaveCode(ctx, hash, code)
		found, err := store.FindCode(ctx, hash)
		must(t, err)
		if saved == nil && (found == nil || len(found.SessionData) != size) || saved != nil && found != nil {
			t.Errorf("a code with %d bytes: %v, then %d bytes", size, saved, len(found.SessionData))
		}
		if fits := size < 12<<20; fits != (saved == nil) {
			t.Errorf("a code with %d bytes: %v", size, saved)
		}
		rec := newSession("alice")
		rec.Data = code.SessionData
		saved = store.SaveSession(ctx, rec.ID, rec)
		kept, err := store.FindSession(ctx, rec.ID)
		must(t, err)
		if (saved == nil) != (kept != nil) {
			t.Errorf("a session with %d bytes: %v, then %v", size, saved, kept)
		}
	}
}

func TestClients(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *engine) {
		ctx, store := t.Context(), e.open(t).store(t)
		// In the order of their bytes, which is that of no language.
		ids := []string{" ", "10", "9", "A", "B", "a", "a ", "a-b", "a_b", "ab", "b", "e\u0301", "https://client.example/", "é", "日本"}
		for _, id := range ids {
			must(t, store.PutClient(ctx, authorize.Client{ID: id, Name: "old"}))
			must(t, store.PutClient(ctx, authorize.Client{ID: id, Name: "the client " + id}))
		}
		var listed []string
		for after := ""; ; {
			page, err := store.ListClients(ctx, after, 4)
			must(t, err)
			for _, c := range page {
				if c.Name != "the client "+c.ID {
					t.Errorf("%q has the name %q", c.ID, c.Name)
				}
				listed = append(listed, c.ID)
			}
			if len(page) < 4 {
				break
			}
			after = page[3].ID
		}
		if len(listed) != len(ids) {
			t.Fatalf("%q, want %q", listed, ids)
		}
		for i := range ids {
			if listed[i] != ids[i] {
				t.Fatalf("%q, want %q", listed, ids)
			}
		}
		for range 2 {
			must(t, store.DeleteClient(ctx, "a"))
			if c, err := store.Client(ctx, "a"); err != nil || c != nil {
				t.Errorf("a client that was deleted: %v, %v", c, err)
			}
		}
		if c, err := store.Client(ctx, "a "); err != nil || c == nil {
			t.Errorf("a client that was not deleted: %v, %v", c, err)
		}
	})
}

// TestMaxSessionsPerSubject has stores in which alice may have three finished sessions and
// three that wait for a second factor.
func TestMaxSessionsPerSubject(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *engine) {
		ctx, config := t.Context(), e.open(t).config(t, 8)
		config.MaxSessionsPerSubject = 3
		migrated(t, config)
		for _, c := range []struct {
			rule  string
			saved string // F for a finished session, P for a pending one
			ends  string // when each of them expires; the next ones come after all
			touch int    // this one then expires last; -1 for none
			max   int    // of the store that saves what comes next
			next  string
			gone  string // the places of what has given way
		}{
			{"pending ones push out pending ones", "FFPPP", "01234", -1, 3, "P", "2"},
			{"the first to expire, wherever it is", "PPPF", "2130", -1, 3, "P", "1"},
			{"after a use another one is removed", "PPP", "012", 0, 3, "P", "1"},
			{"at the bound of finished ones they push out nothing", "FFF", "012", -1, 3, "PPP", ""},
			{"however many come", "FFFPPP", "012345", -1, 3, "PPPPP", "345"},
			{"finished ones push out finished ones", "PFPFF", "01234", -1, 3, "F", "1"},
			{"at the bound of pending ones they push out nothing", "PPP", "012", -1, 3, "FFF", ""},
			{"a bound that was made lower", "FFFPPP", "012345", -1, 1, "F", "012"},
			{"the newest stays though it expires first", "FFF", "789", -1, 3, "F", "0"},
		} {
			subject, at := newKey(), now()
			store := opened(t, config)
			var saved []string
			save := func(kind byte, life int) {
				rec := newSession(subject)
				rec.SecondFactorPending, rec.ExpiresAt = kind == 'P', at.Add(time.Duration(life)*time.Hour)
				must(t, store.SaveSession(ctx, rec.ID, rec))
				saved = append(saved, rec.ID)
			}
			bobs := newSession(newKey())
			bobs.ExpiresAt = at
			must(t, store.SaveSession(ctx, bobs.ID, bobs))
			for i := range c.saved {
				save(c.saved[i], int(c.ends[i]-'0')+1)
			}
			if c.touch >= 0 {
				must(t, store.TouchSession(ctx, saved[c.touch], at, at.Add(100*time.Hour)))
			}
			lower := config
			lower.MaxSessionsPerSubject = c.max
			store = opened(t, lower)
			for i := range c.next {
				life := 7 // which is before those of the last row
				if c.ends != "789" {
					life = 20 + i
				}
				save(c.next[i], life)
			}
			gone := ""
			for i, key := range saved {
				found, err := store.FindSession(ctx, key)
				must(t, err)
				if found == nil && i < len(c.saved) {
					gone += fmt.Sprint(i)
				}
				if found == nil && i == len(saved)-1 {
					t.Errorf("%s: the newest is gone", c.rule)
				}
			}
			if gone != c.gone {
				t.Errorf("%s: %q have given way, want %q", c.rule, gone, c.gone)
			}
			if found, err := store.FindSession(ctx, bobs.ID); err != nil || found == nil {
				t.Errorf("%s: somebody else's: %v, %v", c.rule, found, err)
			}
		}
	})
}

// At the same moment more may be saved, and the next ones delete what is too many.
func TestMaxSessionsPerSubjectAtOnce(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *engine) {
		var log bytes.Buffer
		ctx, config := t.Context(), e.open(t).config(t, 8)
		config.MaxSessionsPerSubject = 5
		config.Logger = slog.New(slog.NewTextHandler(&log, nil))
		store := migrated(t, config)
		log.Reset() // of what Migrate has to say of settings
		const n = 100
		errs := make(chan error, n)
		for range n {
			go func() {
				rec := newSession("alice")
				errs <- store.SaveSession(ctx, rec.ID, rec)
			}()
		}
		for range n {
			must(t, <-errs)
		}
		// What they have left is deleted 15 at a time.
		left := n
		for range n/15 + 1 {
			rec := newSession("alice")
			must(t, store.SaveSession(ctx, rec.ID, rec))
			must(t, config.DB.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+config.Prefix+"sessions").Scan(&left))
		}
		must(t, store.Close())
		if left != 5 || log.String() != "" {
			t.Errorf("%d sessions are left, want 5; the log has %q", left, log.String())
		}
	})
}
