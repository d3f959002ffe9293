package servers

import (
	"strings"
	"testing"
)

func TestDSN(t *testing.T) {
	for _, c := range []struct {
		endpoint Endpoint
		want     string
	}{
		{Endpoint{ProtocolRedis, "unix", "/d/redis.sock"}, "unix:///d/redis.sock"},
		{Endpoint{ProtocolRedis, "tcp", "127.0.0.1:7"}, "redis://127.0.0.1:7"},
		{Endpoint{ProtocolPostgreSQL, "unix", "/d/.s.PGSQL.5432"}, "host=/d port=5432 user=postgres dbname=postgres sslmode=disable"},
		{Endpoint{ProtocolPostgreSQL, "tcp", "127.0.0.1:7"}, "host=127.0.0.1 port=7 user=postgres dbname=postgres sslmode=disable"},
		{Endpoint{ProtocolMySQL, "unix", "/d/mysql.sock"}, "root@unix(/d/mysql.sock)/test"},
		{Endpoint{ProtocolMySQL, "tcp", "127.0.0.1:7"}, "root@tcp(127.0.0.1:7)/test"},
		{Endpoint{"gopher", "tcp", "127.0.0.1:7"}, ""},
	} {
		if got := c.endpoint.DSN(); got != c.want {
			t.Errorf("%v: %q, want %q", c.endpoint, got, c.want)
		}
	}
}

// redis sends a command.
func redis(t *testing.T, e Endpoint, words ...string) string {
	t.Helper()
	answer, err := e.redis(t.Context(), words...)
	if err != nil {
		t.Fatal(words, err)
	}
	return answer
}

func TestSettings(t *testing.T) {
	ours := map[string]string{"b": "ours", "c": "ours"}
	for _, c := range []struct {
		name   string
		wanted map[string]string
		want   string
	}{
		{"none", nil, "b=ours c=ours"},
		{"over ours, and new", map[string]string{"b": "wanted", "a": "wanted"}, "a=wanted b=wanted c=ours"},
	} {
		if got := strings.Join(settings("=", ours, c.wanted), " "); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
