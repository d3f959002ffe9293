package servers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// busOffset is what a node of a Redis Cluster adds to its port for the connections
// of the nodes among each other.
const busOffset = 10000

var ports struct {
	sync.Mutex
	given map[int]bool
}

// freePort returns a port of 127.0.0.1 for which the port and port+busOffset are free. Both
// are below the ports that Linux gives to outgoing connections, so no other process gets
// them by chance while the server is down.
func freePort() (int, error) {
	ports.Lock()
	defer ports.Unlock()
	if ports.given == nil {
		ports.given = map[int]bool{}
	}
	for range 1000 {
		port := 10000 + rand.IntN(12000)
		if !ports.given[port] && isFree(port) && isFree(port+busOffset) {
			ports.given[port], ports.given[port+busOffset] = true, true
			return port, nil
		}
	}
	return 0, errors.New("no free port of 127.0.0.1 found")
}

func isFree(port int) bool {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	return listener.Close() == nil
}
