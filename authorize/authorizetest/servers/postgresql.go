package servers

import (
	"fmt"
	"net"
	"syscall"
)

// PostgreSQL is a postgres with one user, "postgres", who needs no password, and
// an empty database of that name in UTF-8. It does not wait for the disk (fsync
// off): what it has committed survives Kill.
type PostgreSQL struct {
	// TCP makes it listen on a port of 127.0.0.1 and not on a Unix socket.
	TCP bool
	// Settings of postgresql.conf by name, over those of this package; nil for none.
	Settings map[string]string
}

var postgresTemplate template

// Start starts the server and waits until it lets a user in. It is a
// [*MissingError] if postgres or initdb is not installed.
func (c PostgreSQL) Start() (*Server, error) {
	postgres, err := find("postgresql", "postgres")
	if err != nil {
		return nil, err
	}
	initdb, err := find("postgresql", "initdb")
	if err != nil {
		return nil, err
	}
	return launch(ProtocolPostgreSQL, c.TCP, func(s *Server) error {
		// With mmap, parallel queries share memory in files of its directory, which Close removes.
		ours := map[string]string{"fsync": "off", "dynamic_shared_memory_type": "mmap"}
		if c.TCP {
			ours["listen_addresses"], ours["port"], _ = net.SplitHostPort(s.Address)
			ours["unix_socket_directories"] = ""
		} else {
			ours["listen_addresses"], ours["unix_socket_directories"] = "", s.Dir
		}
		args := []string{"-D", s.Dir + "/data"}
		for _, setting := range settings("=", ours, c.Settings) {
			args = append(args, "-c", setting)
		}
		// SIGINT ends it without waiting for its clients, SIGTERM waits.
		s.program = program{path: postgres, args: args, quit: syscall.SIGINT, forget: forgetSharedMemory}
		return postgresTemplate.copyTo(s.Dir, func(data string) (string, []string) {
			return initdb, []string{
				"-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
				"--locale=C", "--no-sync", "--wal-segsize=1",
			}
		})
	})
}

// PgBouncer is a pgbouncer in transaction mode in front of a PostgreSQL: a client has a
// connection to the server only during a transaction. Statements that a client has
// prepared by name need PgBouncer 1.21 and the setting max_prepared_statements. In its
// mode "exec", pgx does not prepare statements by name.
type PgBouncer struct {
	// Endpoint is the PostgreSQL behind it, or a [Proxy] to one. It must run when
	// PgBouncer is started, and is not closed with it.
	Endpoint Endpoint
	// TCP makes it listen on a port of 127.0.0.1 and not on a Unix socket.
	TCP bool
	// Settings of pgbouncer.ini, section pgbouncer, by name, over those of this
	// package; nil for none.
	Settings map[string]string
}

// Start starts PgBouncer and waits until it lets a user in, which it does when
// PostgreSQL does. It is a [*MissingError] if pgbouncer is not installed.
func (c PgBouncer) Start() (*Server, error) {
	path, err := find("pgbouncer", "pgbouncer")
	if err != nil {
		return nil, err
	}
	if c.Endpoint.Protocol != ProtocolPostgreSQL {
		return nil, fmt.Errorf("servers: PgBouncer.Endpoint speaks %q, not %q", c.Endpoint.Protocol, ProtocolPostgreSQL)
	}
	return launch(ProtocolPostgreSQL, c.TCP, func(s *Server) error {
		ours := map[string]string{
			"auth_type": "any", "pool_mode": "transaction", "max_client_conn": "1000",
			"server_login_retry": "1", // seconds until it tries again to reach PostgreSQL
		}
		if c.TCP {
			ours["listen_addr"], ours["listen_port"], _ = net.SplitHostPort(s.Address)
			ours["unix_socket_dir"] = ""
		} else {
			ours["listen_addr"], ours["unix_socket_dir"] = "", s.Dir
			_, ours["listen_port"] = s.postgres()
		}
		host, port := c.Endpoint.postgres()
		text := fmt.Sprintf("[databases]\n* = host=%s port=%s user=postgres\n[pgbouncer]\n", host, port)
		for _, line := range settings(" = ", ours, c.Settings) {
			text += line + "\n"
		}
		// SIGTERM has waited for clients since 1.23, SIGQUIT never has.
		s.program = program{path: path, args: []string{s.Dir + "/pgbouncer.ini"}, quit: syscall.SIGQUIT}
		return write(s.Dir+"/pgbouncer.ini", text)
	})
}
