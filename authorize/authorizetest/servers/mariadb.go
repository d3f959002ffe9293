package servers

import (
	"net"
	"syscall"
)

// MariaDB is a mariadbd with the user "root", who needs no password, and an empty
// database "test". It writes the log at each commit and does not wait for the disk
// (innodb-flush-log-at-trx-commit 2): what it has committed survives Kill.
type MariaDB struct {
	// TCP makes it listen on a port of 127.0.0.1 and not on a Unix socket.
	TCP bool
	// Settings of mariadbd by name, over those of this package; nil for none.
	Settings map[string]string
}

var mariaTemplate template

// Start starts the server and waits for its handshake. It is a [*MissingError] if
// mariadbd or mariadb-install-db is not installed.
func (c MariaDB) Start() (*Server, error) {
	mariadbd, err := find("mariadb-server", "mariadbd")
	if err != nil {
		return nil, err
	}
	install, err := find("mariadb-server", "mariadb-install-db")
	if err != nil {
		return nil, err
	}
	// The size with which the data was created: with another one the server would rewrite the log.
	const logSize = "8M"
	return launch(ProtocolMySQL, c.TCP, func(s *Server) error {
		ours := map[string]string{
			"datadir": s.Dir + "/data", "socket": s.Address, "pid-file": s.Dir + "/pid", "tmpdir": s.Dir,
			"skip-networking": "1", "innodb-log-file-size": logSize, "innodb-flush-log-at-trx-commit": "2",
		}
		if c.TCP {
			ours["skip-networking"] = "0"
			ours["bind-address"], ours["port"], _ = net.SplitHostPort(s.Address)
			ours["socket"] = s.Dir + "/mysql.sock" // it always needs a socket
		}
		args := []string{"--no-defaults"}
		for _, setting := range settings("=", ours, c.Settings) {
			args = append(args, "--"+setting)
		}
		s.program = program{path: mariadbd, args: args, quit: syscall.SIGTERM}
		return mariaTemplate.copyTo(s.Dir, func(data string) (string, []string) {
			return install, []string{
				"--no-defaults", "--datadir=" + data, "--auth-root-authentication-method=normal",
				"--innodb-log-file-size=" + logSize, "--innodb-flush-log-at-trx-commit=0",
				"--innodb-flush-method=nosync", "--innodb-doublewrite=0",
			}
		})
	})
}
