package servertest

import (
	"bytes"
	"testing"

	"github.com/usher-auth/usher/authorize"
)

// Without a strict mode MariaDB cuts off what does not fit a column, and says nothing.
func TestNothingIsCutOff(t *testing.T) {
	t.Parallel()
	server := startMaria(t, map[string]string{"max-allowed-packet": "128M", "innodb-log-file-size": "64M", "sql-mode": ""})
	ctx, store := t.Context(), onMariaDB(server.Endpoint, "maxAllowedPacket=0").store(t)
	for _, size := range []int{1 << 20, 11 << 20, 13 << 20, 40 << 20} {
		hash, code := newKey(), newCode()
		code.Data = bytes.Repeat([]byte{7}, size)
		saved := store.SaveCode(ctx, hash, code)
		found, err := store.FindCode(ctx, hash)
		must(t, err)
		if saved == nil && (found == nil || len(found.Data) != size) || saved != nil && found != nil {
			t.Errorf("a code with %d bytes: %v, then %d bytes", size, saved, len(found.Data))
		}
		if fits := size < 12<<20; fits != (saved == nil) {
			t.Errorf("a code with %d bytes: %v", size, saved)
		}
		rec := newSession("alice")
		rec.Data = code.Data
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
