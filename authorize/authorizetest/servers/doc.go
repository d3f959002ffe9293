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
// start; their zero value (for PgBouncer: with a server behind it) is good for
// most tests. Their Start methods return a [Server] that answers already. A program
// calls Start itself; [For] does it for a test, closes the server at the test's
// end, and skips the test where the server is not installed.
//
// A [Proxy] stands between a client and a server and breaks the connection in the
// ways of a network: refused, silent, or lost when the request has arrived and its
// answer has not.
//
//	proxy := servers.For(t, servers.ProxyTo{Endpoint: postgres.Endpoint})
//	db, err := sql.Open("pgx", proxy.DSN())
//
// # What they are not
//
// The servers trust whoever reaches them: PostgreSQL and MariaDB let the superuser
// in without a password. Their Unix sockets are in a directory that only the user
// running them (and root) can enter; with TCP every user of the machine can
// connect. Nothing listens beyond 127.0.0.1. Their settings are for tests: data
// survives the death of a server, but not of the machine.
//
// # Processes and files
//
// The servers run in sessions of their own, so that Ctrl-C reaches the program
// alone. Started by root they run as user and group 65534 (nobody), because most
// of them refuse root. When the program ends they end too and their files are
// removed, even when it is killed with SIGKILL; a program that ends in order need
// not close them. They leave through two doors: the kernel kills a server with its
// parent, and a small shell process waits for the program's end, kills what is
// left and removes the files.
//
// This works on Linux. Elsewhere the package compiles, and every Start but that of
// a Proxy on TCP fails with an error that wraps [errors.ErrUnsupported].
package servers
