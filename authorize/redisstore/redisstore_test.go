package redisstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/authorizetest"
	"github.com/usher-auth/usher/authorize/authorizetest/servers"
	"github.com/usher-auth/usher/session"
)

func TestMain(m *testing.M) {
	logging.Disable() // what the client says of servers that are killed
	m.Run()
}

// connect returns a client of one server.
func connect(t testing.TB, to servers.Endpoint, change ...func(*redis.Options)) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(to.DSN())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(options)
	}
	client := redis.NewClient(options)
	t.Cleanup(func() { client.Close() })
	return client
}

// open returns a store.
func open(t testing.TB, client redis.UniversalClient, change ...func(*Config)) *Store {
	t.Helper()
	config := Config{Client: client}
	for _, f := range change {
		f(&config)
	}
	s, err := New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// openOne returns a store on a server of its own.
func openOne(t testing.TB, settings map[string]string) (*Store, *servers.Server) {
	t.Helper()
	server := servers.For(t, servers.Redis{Settings: settings})
	return open(t, connect(t, server.Endpoint)), server
}

func conform(t *testing.T, s *Store) {
	t.Run("codes", func(t *testing.T) {
		authorizetest.TestCodeStore(t, func(*testing.T) authorize.CodeStore { return s })
	})
	t.Run("consents", func(t *testing.T) {
		authorizetest.TestConsentStore(t, func(*testing.T) authorize.ConsentStore { return s })
	})
	t.Run("sessions", func(t *testing.T) {
		authorizetest.TestSessionStore(t, func(*testing.T) session.Store { return s })
	})
}

func TestOneServer(t *testing.T) {
	t.Parallel()
	s, _ := openOne(t, nil)
	conform(t, s)
}

// newKey returns a hash or a session's key as the endpoint makes them.
func newKey() string { return hashed(rand.Text()) }

func newCode() *authorize.Code {
	now := time.Now().UTC().Truncate(time.Millisecond)
	return &authorize.Code{ClientID: "wiki", RedirectURI: "https://wiki.example/cb", Subject: "alice", IssuedAt: now, ExpiresAt: now.Add(time.Minute)}
}

func newSession(subject string) *session.Record {
	now := time.Now().UTC().Truncate(time.Microsecond)
	return &session.Record{
		Session:   session.Session{ID: newKey(), Subject: subject, AuthTime: now},
		CreatedAt: now, LastSeenAt: now, ExpiresAt: now.Add(time.Hour), EndsAt: now.Add(12 * time.Hour),
	}
}

func newConsent(subject, client string) *authorize.ConsentRecord {
	return &authorize.ConsentRecord{Subject: subject, ClientID: client, Scopes: []string{"openid"}, GrantedAt: time.Now().UTC().Truncate(time.Millisecond)}
}

func saveCodes(t testing.TB, s *Store, n int) (hashes []string) {
	t.Helper()
	for range n {
		hash := newKey()
		if err := s.SaveCode(t.Context(), hash, newCode()); err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, hash)
	}
	return hashes
}

func saveSessions(t testing.TB, s *Store, subject string, n int) (keys []string) {
	t.Helper()
	for range n {
		rec := newSession(subject)
		if err := s.SaveSession(t.Context(), rec.ID, rec); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, rec.ID)
	}
	return keys
}

// wantTake takes a code and wants it to be the first to.
func wantTake(t testing.TB, s *Store, hash string, want bool) {
	t.Helper()
	code, taken, err := s.TakeCode(t.Context(), hash, time.Now())
	if err != nil || code == nil || taken != want {
		t.Fatalf("took the code: %t, with the record %v and the error %v; want %t", taken, code, err, want)
	}
}

func wantSession(t testing.TB, s *Store, key string, want bool) {
	t.Helper()
	rec, err := s.FindSession(t.Context(), key)
	if err != nil || (rec != nil) != want {
		t.Fatalf("found the session: %t, with the error %v; want %t", rec != nil, err, want)
	}
}

// keys returns the names of all keys of a server.
func keys(t testing.TB, client *redis.Client) []string {
	t.Helper()
	names, err := client.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// do sends commands to a server, one on each line.
func do(t testing.TB, client *redis.Client, commands ...string) {
	t.Helper()
	for _, command := range commands {
		var words []any
		for _, word := range strings.Fields(command) {
			words = append(words, word)
		}
		if err := client.Do(t.Context(), words...).Err(); err != nil {
			t.Fatalf("%s: %v", command, err)
		}
	}
}

// calls are all methods of a store that talk to the server, by name. Each wants what the
// store was prepared with.
func calls(hash, key, subject string) map[string]func(context.Context, *Store) error {
	return map[string]func(context.Context, *Store) error{
		"SaveCode": func(ctx context.Context, s *Store) error { return s.SaveCode(ctx, newKey(), newCode()) },
		"FindCode": func(ctx context.Context, s *Store) error {
			code, err := s.FindCode(ctx, hash)
			return wanted(code != nil, err)
		},
		"TakeCode": func(ctx context.Context, s *Store) error {
			code, taken, err := s.TakeCode(ctx, hash, time.Now())
			return wanted(code != nil && taken, err)
		},
		"SaveConsent": func(ctx context.Context, s *Store) error { return s.SaveConsent(ctx, newConsent(subject, "new")) },
		"FindConsent": func(ctx context.Context, s *Store) error {
			c, err := s.FindConsent(ctx, subject, "wiki")
			return wanted(c != nil, err)
		},
		"ListConsents": func(ctx context.Context, s *Store) error {
			list, err := s.ListConsents(ctx, subject)
			return wanted(len(list) > 0, err)
		},
		"DeleteConsent": func(ctx context.Context, s *Store) error { return s.DeleteConsent(ctx, subject, "wiki") },
		"SaveSession": func(ctx context.Context, s *Store) error {
			rec := newSession(subject)
			return s.SaveSession(ctx, rec.ID, rec)
		},
		"FindSession": func(ctx context.Context, s *Store) error {
			rec, err := s.FindSession(ctx, key)
			return wanted(rec != nil, err)
		},
		"TouchSession": func(ctx context.Context, s *Store) error {
			return s.TouchSession(ctx, key, time.Now(), time.Now().Add(time.Hour))
		},
		"DeleteSession":    func(ctx context.Context, s *Store) error { return s.DeleteSession(ctx, key) },
		"DeleteSessionsOf": func(ctx context.Context, s *Store) error { return s.DeleteSessionsOf(ctx, subject) },
	}
}

var errUnwanted = errors.New("no error, but not what was wanted")

func wanted(ok bool, err error) error {
	if err == nil && !ok {
		return errUnwanted
	}
	return err
}

// prepared saves one of each and returns the calls that go with it.
func prepared(t testing.TB, s *Store) map[string]func(context.Context, *Store) error {
	t.Helper()
	subject := rand.Text()
	if err := s.SaveConsent(t.Context(), newConsent(subject, "wiki")); err != nil {
		t.Fatal(err)
	}
	return calls(saveCodes(t, s, 1)[0], saveSessions(t, s, subject, 1)[0], subject)
}

func TestNewNamesTheFieldThatIsWrong(t *testing.T) {
	t.Parallel()
	server := servers.For(t, servers.Redis{})
	client := connect(t, server.Endpoint)
	ring := redis.NewRing(&redis.RingOptions{})
	t.Cleanup(func() { ring.Close() })
	for _, c := range []struct {
		want   string
		config Config
	}{
		{"Config.Client is nil", Config{}},
		{"Config.Client is a *redis.Ring", Config{Client: ring}},
		{"Config.Prefix", Config{Client: client, Prefix: "{usher}:"}},
		{"Config.Prefix", Config{Client: client, Prefix: strings.Repeat("x", 65)}},
		{"Config.Prefix", Config{Client: client, Prefix: "a\n"}},
		{"Config.KeepExpired", Config{Client: client, KeepExpired: time.Second}},
		{"Config.KeepExpired", Config{Client: client, KeepExpired: -time.Hour}},
		{"Config.ConsentLifetime", Config{Client: client, ConsentLifetime: -time.Hour}},
		{"Config.Timeout", Config{Client: client, Timeout: -time.Second}},
		{"Config.Replicas", Config{Client: client, Replicas: -1}},
		{"Config.WaitTimeout", Config{Client: client, Replicas: 1, WaitTimeout: -1}},
		{"Config.WaitTimeout", Config{Client: client, Replicas: 1, WaitTimeout: 5 * time.Second}},
		{"Config.WaitTimeout", Config{Client: client, Replicas: 1, WaitTimeout: 5 * time.Second, Timeout: time.Minute}},
	} {
		if s, err := New(t.Context(), c.config); s != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q in it", c.config, err, c.want)
		}
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if s, err := New(t.Context(), Config{Client: client}); s != nil || err == nil {
		t.Error("New is content with a server that is not there")
	}
}

func TestEvictionPolicies(t *testing.T) {
	t.Parallel()
	client := connect(t, servers.For(t, servers.Redis{}).Endpoint)
	for _, policy := range []string{"volatile-lru", "allkeys-lru", "volatile-lfu", "allkeys-lfu", "volatile-random", "allkeys-random", "volatile-ttl", "noeviction"} {
		do(t, client, "CONFIG SET maxmemory 0", "CONFIG SET maxmemory-policy "+policy)
		if _, err := New(t.Context(), Config{Client: client}); err != nil {
			t.Errorf("%s without a limit: %v", policy, err)
		}
		do(t, client, "CONFIG SET maxmemory 100mb")
		_, err := New(t.Context(), Config{Client: client})
		if policy == "noeviction" {
			if err != nil {
				t.Errorf("%s: %v", policy, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "maxmemory-policy "+policy) || !strings.Contains(err.Error(), "to noeviction") || !strings.Contains(err.Error(), "Config.AllowEviction") {
			t.Errorf("%s: %v, want the policy and what to do about it", policy, err)
		}
		var log bytes.Buffer
		_, err = New(t.Context(), Config{Client: client, AllowEviction: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil || !strings.Contains(log.String(), policy) {
			t.Errorf("%s, allowed: %v, log %q", policy, err, log.String())
		}
	}
}

// The server may drop the list of a user's sessions while they live, and DeleteSessionsOf
// cannot know.
func TestWithAllowEvictionThereAreNoSessions(t *testing.T) {
	t.Parallel()
	s, server := openOne(t, nil)
	evicting := open(t, connect(t, server.Endpoint), func(c *Config) { c.AllowEviction = true })
	for name := range scripts {
		err := prepared(t, s)[name](t.Context(), evicting)
		if refused := err != nil && strings.Contains(err.Error(), "Config.AllowEviction"); refused != strings.Contains(name, "Session") || (err != nil && !refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatNewSaysOfTheServer(t *testing.T) {
	t.Parallel()
	server := servers.For(t, servers.Redis{})
	admin := connect(t, server.Endpoint)
	do(t, admin, "ACL SETUSER blind on nopass ~* &* +@all -info -config")
	blind := connect(t, server.Endpoint, func(o *redis.Options) { o.Username, o.Password = "blind", "x" })
	for _, c := range []struct {
		rule     string
		client   *redis.Client
		settings []string
		replicas int
		want     string
	}{
		{"nothing is kept on disk", admin, []string{"appendonly no"}, 0, ""},
		{"every answer is on disk", admin, []string{"appendonly yes", "appendfsync always"}, 0, ""},
		{"a second can be lost", admin, []string{"appendonly yes", "appendfsync everysec"}, 0, "set appendfsync to always"},
		{"snapshots bring things back", admin, []string{"appendonly no", "save 60"}, 0, "set appendonly to yes"},
		{"no replicas", admin, []string{"appendonly no"}, 2, "wanted=2"},
		{"asking is forbidden", blind, nil, 0, "does not show"},
	} {
		do(t, admin, `CONFIG SET appendonly no`)
		if err := admin.ConfigSet(t.Context(), "save", "").Err(); err != nil {
			t.Fatal(err)
		}
		for _, setting := range c.settings {
			if setting == "save 60" {
				if err := admin.ConfigSet(t.Context(), "save", "60 1").Err(); err != nil {
					t.Fatal(err)
				}
				continue
			}
			do(t, admin, "CONFIG SET "+setting)
		}
		var log bytes.Buffer
		_, err := New(t.Context(), Config{Client: c.client, Replicas: c.replicas, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil || (c.want == "") != (log.Len() == 0) || !strings.Contains(log.String(), c.want) {
			t.Errorf("%s: %v, log %q, want %q in it", c.rule, err, log.String(), c.want)
		}
	}
	do(t, admin, "REPLICAOF 127.0.0.1 1")
	if _, err := New(t.Context(), Config{Client: admin}); err == nil || !strings.Contains(err.Error(), "is a replica") {
		t.Errorf("a replica: %v", err)
	}
}

// The commands that the package's comment names are enough.
func TestAccessControl(t *testing.T) {
	t.Parallel()
	server := servers.For(t, servers.Redis{})
	admin := connect(t, server.Endpoint)
	do(t, admin, "ACL SETUSER usher on nopass ~usher:* -@all +hello +client +ping"+
		" +eval +evalsha +exists +del +set +pexpire +pttl +hset +hget +hmget +hdel +hvals +zadd +zrem +zcard +zrange +zremrangebyscore +time +info +wait")
	client := connect(t, server.Endpoint, func(o *redis.Options) { o.Username, o.Password = "usher", "x" })
	conform(t, open(t, client))
	if err := client.Set(t.Context(), "other", "", time.Second).Err(); err == nil {
		t.Error("the user may write other keys, so this test shows nothing")
	}
}

var named = regexp.MustCompile(`^usher:((code|session):~?|(sessions|consents)-of:)[A-Za-z0-9_-]{43}$`)

// hostile are keys and ids that nobody should choose.
var hostile = []string{
	"", "\x00", "a\x00b", "\xff\xfe", "{", "}", "{}", "{a}", "x{a}", "}{", "*", "?", "[a-z]", ":", "~", " ", "\r\n$1\r\n", strings.Repeat("x", 64<<10),
	"a", hashed("a"), "usher:code:x", "code:" + strings.Repeat("a", 43), "~" + hashed("a"), hashed("a") + "=", strings.Repeat("=", 43), strings.Repeat("é", 43),
}

func TestHostileKeysAreKeptApartAndChooseNoSlot(t *testing.T) {
	t.Parallel()
	s, _ := openOne(t, nil)
	ctx := t.Context()
	for i, id := range hostile {
		code, rec := newCode(), newSession(id)
		code.Nonce, rec.ID, rec.ACR = fmt.Sprint(i), id, fmt.Sprint(i)
		c := newConsent(id, id)
		c.Scopes = []string{fmt.Sprint(i)}
		if err := errors.Join(s.SaveCode(ctx, id, code), s.SaveSession(ctx, id, rec), s.SaveConsent(ctx, c)); err != nil {
			t.Errorf("%.40q: %v", id, err)
		}
	}
	for _, key := range keys(t, s.client.(*redis.Client)) {
		if !named.MatchString(key) {
			t.Errorf("the key %.80q", key)
		}
	}
	for i, id := range hostile {
		want := fmt.Sprint(i)
		code, taken, err := s.TakeCode(ctx, id, time.Now())
		if err != nil || !taken || code.Nonce != want {
			t.Errorf("%.40q: TakeCode: %v, %t, %v", id, code, taken, err)
		}
		rec, err := s.FindSession(ctx, id)
		if err != nil || rec == nil || rec.ACR != want || rec.ID != id {
			t.Errorf("%.40q: FindSession: %v, %v", id, rec, err)
		}
		list, err := s.ListConsents(ctx, id)
		if err != nil || len(list) != 1 || list[0].Scopes[0] != want || list[0].ClientID != id {
			t.Errorf("%.40q: ListConsents: %v, %v", id, list, err)
		}
		if err := s.DeleteSessionsOf(ctx, id); err != nil {
			t.Errorf("%.40q: %v", id, err)
		}
		wantSession(t, s, id, false)
	}
}

func TestEveryKeyHasATimeToLive(t *testing.T) {
	t.Parallel()
	s, _ := openOne(t, nil)
	ctx, client := t.Context(), s.client.(*redis.Client)
	kinds := map[string]bool{}
	for name, call := range prepared(t, s) {
		if err := call(ctx, s); err != nil && !errors.Is(err, errUnwanted) {
			t.Errorf("%s: %v", name, err)
		}
		saveCodes(t, s, 1)
		saveSessions(t, s, "alice", 1)
		for _, key := range keys(t, client) {
			life, err := client.PTTL(ctx, key).Result()
			if err != nil || life <= 0 {
				t.Errorf("after %s: %s lives for %v, %v", name, key, life, err)
			}
			kinds[strings.Split(key, ":")[1]] = true
		}
		if err := s.SaveConsent(ctx, newConsent("alice", name)); err != nil {
			t.Error(err)
		}
	}
	if len(kinds) != 4 {
		t.Errorf("keys of the kinds %v, so this test shows little", kinds)
	}
}

// What is on the server is what MarshalBinary writes, and a release refuses what a later one
// has written with something that must not be ignored.
func TestRecordsAreBinary(t *testing.T) {
	t.Parallel()
	server := servers.For(t, servers.Redis{})
	client := connect(t, server.Endpoint)
	s, ctx := open(t, client), t.Context()
	code, rec, consent := newCode(), newSession("alice"), newConsent("alice", "wiki")
	if err := errors.Join(s.SaveCode(ctx, "hash", code), s.SaveSession(ctx, rec.ID, rec), s.SaveConsent(ctx, consent)); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		kind, key, field string
		record           encoding.BinaryMarshaler
		find             func() error
	}{
		{"code", s.codeKey("hash"), "record", code, func() error { _, err := s.FindCode(ctx, "hash"); return err }},
		{"session", s.sessionKey(rec.ID), "record", rec, func() error { _, err := s.FindSession(ctx, rec.ID); return err }},
		{"consent", s.consentsKey("alice"), hashed("wiki"), consent, func() error { _, err := s.FindConsent(ctx, "alice", "wiki"); return err }},
	} {
		t.Run(row.kind, func(t *testing.T) {
			want, err := row.record.MarshalBinary()
			if got := client.HGet(ctx, row.key, row.field).Val(); err != nil || got != string(want) {
				t.Errorf("%v\n got %s\nwant %s", err, got, want)
			}
			later := strings.Replace(string(want), `"version":1`, `"version":2`, 1)
			if err := client.HSet(ctx, row.key, row.field, later).Err(); err != nil {
				t.Fatal(err)
			}
			if err := row.find(); err == nil || !strings.Contains(err.Error(), "version 2") {
				t.Errorf("a record of a later version: %v", err)
			}
		})
	}
}

// A code that was used in another store stays used here.
func TestACodeThatWasUsedElsewhere(t *testing.T) {
	t.Parallel()
	s, _ := openOne(t, nil)
	code := newCode()
	code.UsedAt = code.IssuedAt.Add(time.Second)
	if err := s.SaveCode(t.Context(), "hash", code); err != nil {
		t.Fatal(err)
	}
	wantTake(t, s, "hash", false)
	if found, err := s.FindCode(t.Context(), "hash"); err != nil || !found.UsedAt.Equal(code.UsedAt) {
		t.Errorf("%v, %v", found, err)
	}
}

// How long keys live is taken from the times in the record and not from a clock.
func TestTimesToLive(t *testing.T) {
	t.Parallel()
	s, _ := openOne(t, nil)
	ctx, client := t.Context(), s.client.(*redis.Client)
	lives := func(rule, key string, want time.Duration) {
		t.Helper()
		life, err := client.PTTL(ctx, key).Result()
		if err != nil || life > want+time.Second || life < want-30*time.Second {
			t.Errorf("%s: %v, %v, want %v", rule, life, err, want)
		}
	}
	ahead := newCode()
	ahead.IssuedAt, ahead.ExpiresAt = ahead.IssuedAt.Add(24*time.Hour), ahead.ExpiresAt.Add(24*time.Hour)
	behind, backwards, endless := newCode(), newCode(), newCode()
	behind.IssuedAt, behind.ExpiresAt = behind.IssuedAt.Add(-24*time.Hour), behind.ExpiresAt.Add(-24*time.Hour)
	backwards.ExpiresAt = backwards.IssuedAt.Add(-time.Hour)
	endless.IssuedAt = time.Time{}
	for _, c := range []struct {
		rule string
		code *authorize.Code
		want time.Duration
	}{
		{"a code lives for its time and an hour", newCode(), time.Hour + time.Minute},
		{"by a clock that is ahead", ahead, time.Hour + time.Minute},
		{"by a clock that is behind", behind, time.Hour + time.Minute},
		{"a code that has expired", backwards, time.Hour},
		{"a code without a time of issue", endless, longest + time.Hour},
	} {
		hash := newKey()
		if err := s.SaveCode(ctx, hash, c.code); err != nil {
			t.Fatal(err)
		}
		lives(c.rule, s.codeKey(hash), c.want)
		wantTake(t, s, hash, true)
		lives(c.rule+", when it was taken", s.codeKey(hash), c.want)
	}

	rec := newSession("alice")
	key, entries := s.sessionKey(rec.ID), s.entriesKey("alice")
	if err := s.SaveSession(ctx, rec.ID, rec); err != nil {
		t.Fatal(err)
	}
	lives("a session lives until it expires", key, time.Hour+sessionMargin)
	lives("its entry lives until it ends", entries, 12*time.Hour+entryMargin)
	for _, c := range []struct {
		rule                string
		seen, expires, want time.Duration
	}{
		{"touched", time.Minute, 2*time.Hour + time.Minute, 2 * time.Hour},
		{"touched by a clock that is behind", -time.Hour, 3*time.Hour + time.Minute, 3 * time.Hour},
		{"touched by a clock that is ahead", time.Hour + time.Minute, 0, 3 * time.Hour},
		{"touched beyond its end", time.Hour + time.Minute, 100 * time.Hour, 11*time.Hour - time.Minute},
	} {
		if err := s.TouchSession(ctx, rec.ID, rec.LastSeenAt.Add(c.seen), rec.LastSeenAt.Add(c.expires)); err != nil {
			t.Fatal(err)
		}
		lives(c.rule, key, c.want+sessionMargin)
	}
	short := newSession("alice")
	short.EndsAt = short.ExpiresAt
	if err := s.SaveSession(ctx, short.ID, short); err != nil {
		t.Fatal(err)
	}
	lives("a shorter session does not shorten the list", entries, 12*time.Hour+entryMargin)
	if err := s.SaveConsent(ctx, newConsent("alice", "wiki")); err != nil {
		t.Fatal(err)
	}
	lives("consents live for a year", s.consentsKey("alice"), 365*24*time.Hour)
}

func TestScriptsAreSentAgain(t *testing.T) {
	t.Parallel()
	s, _ := openOne(t, nil)
	for name := range calls("", "", "") {
		call := prepared(t, s)[name]
		do(t, s.client.(*redis.Client), "SCRIPT FLUSH")
		if err := call(t.Context(), s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Sessions may last longer than what the numbers of Lua can count exactly.
func TestTimesAreExact(t *testing.T) {
	t.Parallel()
	s, _ := openOne(t, nil)
	ctx := t.Context()
	far := time.Date(9999, 1, 2, 3, 4, 5, 678901000, time.UTC)
	rec := newSession("alice")
	rec.ExpiresAt, rec.EndsAt = far, far.Add(time.Hour)
	if err := s.SaveSession(ctx, rec.ID, rec); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ expires, want time.Duration }{
		{time.Microsecond, time.Microsecond},
		{0, time.Microsecond},
		{2 * time.Microsecond, 2 * time.Microsecond},
	} {
		if err := s.TouchSession(ctx, rec.ID, rec.LastSeenAt, far.Add(c.expires)); err != nil {
			t.Fatal(err)
		}
		found, err := s.FindSession(ctx, rec.ID)
		if err != nil || !found.ExpiresAt.Equal(far.Add(c.want)) {
			t.Errorf("touched to %v after: %v, %v", c.expires, found, err)
		}
	}
	zero := &session.Record{Session: session.Session{ID: newKey(), Subject: "alice"}}
	if err := s.SaveSession(ctx, zero.ID, zero); err != nil {
		t.Fatal(err)
	}
	found, err := s.FindSession(ctx, zero.ID)
	if err != nil || found == nil || !found.LastSeenAt.IsZero() || !found.ExpiresAt.IsZero() {
		t.Errorf("times that were never set: %+v, %v", found, err)
	}
}
