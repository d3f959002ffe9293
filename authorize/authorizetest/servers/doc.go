// Package servers starts private instances of database servers that are installed
// on the machine, for the tests of stores and for a program that shows several
// replicas at work. Nothing is downloaded, nothing of the machine's own servers is
// touched, and nothing stays behind.
//
//	func TestStore(t *testing.T) {
//		postgres := servers.For(t, servers.PostgreSQL{})
//		db, err := sql.Open("pgx", postgres.DSN())
//		...
//		postgres.Kill()  // as a crash does
//		postgres.Start() // the same data at the same address
//	}
//
// [Redis], [RedisCluster], [PostgreSQL], [MariaDB] and [PgBouncer] say what to
// start. Their zero value (for PgBouncer: with a server behind it) is good for
// most tests. Their Start methods return a [Server] that is ready. A program calls
// Start itself. [For] does this for a test: it closes the server at the test's end,
// and skips the test if the server is not installed.
//
// A [Proxy] is between a client and a server and breaks the connection as a network
// does: the connection is refused, or hangs, or is lost after the request has arrived
// and before its response has.
//
//	proxy := servers.For(t, servers.ProxyTo{Endpoint: postgres.Endpoint})
//	db, err := sql.Open("pgx", proxy.DSN())
//
// # Security and durability
//
// The servers trust every client: PostgreSQL and MariaDB let the superuser
// in without a password. Their Unix sockets are in a directory that only the user
// running them (and root) can enter; with TCP every user of the machine can
// connect. Nothing listens beyond 127.0.0.1. Their settings are for tests: data
// survives the death of a server, but not of the machine.
//
// # Processes and files
//
// The servers run in sessions of their own, so that Ctrl-C reaches the program
// alone. Started by root they run as user and group 65534 (nobody), because most
// of them refuse root. When the program ends, they end too and their files are
// removed, even if it is killed with SIGKILL. So a program need not close them before
// it exits. Two mechanisms do this: the kernel kills a server with its parent, and a
// small shell process waits for the program's end, kills the remaining processes and
// removes the files.
//
// This works on Linux. Elsewhere the package compiles, and every Start but that of
// a Proxy on TCP fails with an error that wraps [errors.ErrUnsupported].
package servers
