package servers

import "testing"

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
