package main

import (
	"fmt"
	"strings"

	"github.com/usher-auth/usher/authorize/authorizetest/servers"
)

// startServers starts the private servers and sets their addresses.
func (s *settings) startServers() (stop func(), err error) {
	private := s.private
	if private == "" && s.places == (places{}) && !s.memory {
		private = "postgres,redis"
	}
	var started []*servers.Server
	stop = func() {
		for _, server := range started {
			server.Close() // on an error it ends with this process
		}
	}
	for name := range strings.SplitSeq(private, ",") {
		var server *servers.Server
		switch name {
		case "":
			continue
		case "postgres": // by default, it does not wait for the disk
			if server, err = (servers.PostgreSQL{Settings: map[string]string{"fsync": "on"}}).Start(); err == nil {
				s.PostgreSQL = server.DSN()
			}
		case "redis": // by default, it stores nothing on disk
			keepAll := map[string]string{"appendonly": "yes", "appendfsync": "always"}
			if server, err = (servers.Redis{Settings: keepAll}).Start(); err == nil {
				s.Redis = server.DSN()
			}
		default:
			err = fmt.Errorf("-private starts postgres and redis, not %q", name)
		}
		if err != nil {
			stop()
			return nil, fmt.Errorf("%w\nTo use no private servers: -postgres URL, -redis URL, -sqlite FILE", err)
		}
		started = append(started, server)
	}
	return stop, nil
}
