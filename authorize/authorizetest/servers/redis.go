package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Redis is a redis-server, or a valkey-server where there is no redis-server. As
// it comes, it keeps nothing on disk: after Stop or Kill it starts empty. With the
// settings appendonly "yes" and appendfsync "always" nothing that it has answered
// is lost.
type Redis struct {
	// TCP makes it listen on a port of 127.0.0.1 and not on a Unix socket.
	TCP bool
	// Settings of redis.conf by name, over those of this package; nil for none.
	Settings map[string]string
}

// Start starts the server and waits until it answers PING. It is a [*MissingError]
// if neither program is installed.
func (c Redis) Start() (*Server, error) {
	path, err := find("redis-server", "redis-server", "valkey-server")
	if err != nil {
		return nil, err
	}
	return launch(ProtocolRedis, c.TCP, func(s *Server) error {
		ours := map[string]string{"dir": s.Dir, "save": `""`, "appendonly": "no", "daemonize": "no", "port": "0"}
		if c.TCP {
			ours["bind"] = "127.0.0.1"
			_, ours["port"], _ = net.SplitHostPort(s.Address)
		} else {
			ours["unixsocket"] = s.Address
		}
		file := filepath.Join(s.Dir, "redis.conf")
		s.program = program{path: path, args: []string{file}, quit: syscall.SIGTERM}
		return write(file, strings.Join(settings(" ", ours, c.Settings), "\n")+"\n")
	})
}

// RedisCluster is a Redis Cluster of three masters without replicas, each on a
// port of 127.0.0.1 with a third of the slots. Redis itself has a new node wait for
// two seconds, so that a cluster takes longer to start than everything else here.
type RedisCluster struct {
	// Settings of each node as of [Redis].
	Settings map[string]string
}

// Cluster is a Redis Cluster that runs.
type Cluster struct {
	// Nodes are the masters in the order of their slots. Each may be stopped, killed
	// and started for itself; see Await.
	Nodes []*Server
}

// Start starts the nodes, makes them a cluster and waits until each says that the
// cluster is complete. It is a [*MissingError] if Redis is not installed.
func (c RedisCluster) Start() (*Cluster, error) {
	node := Redis{TCP: true, Settings: map[string]string{"cluster-enabled": "yes"}}
	for name, value := range c.Settings {
		node.Settings[name] = value
	}
	cluster := &Cluster{}
	for range 3 {
		s, err := node.Start()
		if err != nil {
			return nil, errors.Join(err, cluster.Close())
		}
		cluster.Nodes = append(cluster.Nodes, s)
	}
	err := cluster.join()
	if err == nil {
		err = cluster.Await()
	}
	if err != nil {
		return nil, errors.Join(err, errors.New(cluster.Log()), cluster.Close())
	}
	return cluster, nil
}

// join shares out the slots and makes the first node know the others, which then
// get to know each other.
func (c *Cluster) join() error {
	const slots = 16384
	for i, node := range c.Nodes {
		// Without an epoch of its own each node claims the same one, and they argue.
		commands := [][]string{{"CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i + 1)}, {"CLUSTER", "ADDSLOTS"}}
		for slot := i * slots / len(c.Nodes); slot < (i+1)*slots/len(c.Nodes); slot++ {
			commands[1] = append(commands[1], strconv.Itoa(slot))
		}
		if i > 0 {
			host, port, _ := net.SplitHostPort(c.Nodes[0].Address)
			commands = append(commands, []string{"CLUSTER", "MEET", host, port})
		}
		for _, command := range commands {
			if _, err := node.redis(context.Background(), command...); err != nil {
				return fmt.Errorf("servers: %s %s: %w", command[0], command[1], err)
			}
		}
	}
	return nil
}

// Await waits until every node that runs says that the cluster is complete, after
// one was started again for instance. It fails after 30 seconds.
func (c *Cluster) Await() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, node := range c.Nodes {
		node.mu.Lock()
		running := node.running()
		node.mu.Unlock()
		if !running {
			continue
		}
		err := until(ctx, func() error {
			info, err := node.redis(ctx, "CLUSTER", "INFO")
			ready := strings.Contains(info, "cluster_state:ok\r\n") &&
				strings.Contains(info, "cluster_known_nodes:3\r\n")
			if err == nil && !ready {
				err = fmt.Errorf("servers: the cluster is not complete:\n%s", info)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Addrs returns the addresses of the nodes, as clients of a cluster want them.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.Nodes))
	for i, node := range c.Nodes {
		addrs[i] = node.Address
	}
	return addrs
}

// Log returns the ends of the logs of all nodes.
func (c *Cluster) Log() string {
	var log strings.Builder
	for _, node := range c.Nodes {
		fmt.Fprintf(&log, "%s:\n%s", node.Address, node.Log())
	}
	return log.String()
}

// Close closes all nodes.
func (c *Cluster) Close() error {
	var errs []error
	for _, node := range c.Nodes {
		errs = append(errs, node.Close())
	}
	return errors.Join(errs...)
}

// redis sends one command on a connection of its own.
func (e Endpoint) redis(ctx context.Context, words ...string) (string, error) {
	conn, err := e.dial(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return redisCommand(conn, words...)
}
