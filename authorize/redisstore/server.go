package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// eachPrimary calls check with every server that takes writes, several at once.
func (s *Store) eachPrimary(ctx context.Context, check func(context.Context, *redis.Client) error) error {
	if cluster, ok := s.client.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, check)
	}
	return check(ctx, s.client.(*redis.Client))
}

// checkServer refuses a server on which the store cannot keep its guarantees.
func (s *Store) checkServer(ctx context.Context, server *redis.Client) error {
	address := server.Options().Addr
	replication, err := s.info(ctx, server, "replication")
	if err != nil {
		return err
	}
	if replication["role"] == "slave" {
		return fmt.Errorf("%s is a replica: the store reads and writes on a primary only", address)
	}
	if n, err := strconv.Atoi(replication["connected_slaves"]); err == nil && n < s.replicas {
		s.log.Warn("redisstore: calls that wait for replicas will fail until more replicas are connected",
			"server", address, "replicas", n, "wanted", s.replicas)
	}
	memory, err := s.info(ctx, server, "memory")
	if err != nil {
		return err
	}
	if err := s.checkEviction(address, memory); err != nil {
		return err
	}
	return s.checkPersistence(ctx, server)
}

// checkEviction allows only the policy noeviction, unless the server has no memory limit. Any
// other policy may drop keys that have a time to live, as all of ours have.
func (s *Store) checkEviction(address string, memory map[string]string) error {
	policy, limit := memory["maxmemory_policy"], memory["maxmemory"]
	switch {
	case policy == "" && s.allowEviction, policy == "noeviction", limit == "0":
		return nil
	case policy == "":
		s.log.Warn("redisstore: the server does not show its maxmemory-policy: set it to noeviction. "+
			"Otherwise live codes and sessions can be lost when its memory is full, "+
			"and deleting all sessions of a user can miss some",
			"server", address)
		return nil
	case s.allowEviction:
		s.log.Warn("redisstore: the server drops live codes and consents when its memory is full; "+
			"the store keeps no sessions",
			"server", address, "maxmemory-policy", policy)
		return nil
	}
	return fmt.Errorf("%s has the maxmemory-policy %s and drops live codes and sessions when its memory is full: "+
		"set maxmemory-policy to noeviction on every server, use servers that are not a cache, "+
		"or set Config.AllowEviction and keep sessions elsewhere", address, policy)
}

// checkPersistence warns of settings with which a restart brings back used codes and ended
// sessions. The host may choose them, and most managed servers do not show them.
func (s *Store) checkPersistence(ctx context.Context, server *redis.Client) error {
	setting := func(name string) (string, error) {
		values, err := server.ConfigGet(ctx, name).Result()
		return values[name], err
	}
	log, err := setting("appendonly")
	if err != nil {
		return unlessRefused(err)
	}
	sync, err := setting("appendfsync")
	if err != nil {
		return unlessRefused(err)
	}
	snapshots, err := setting("save")
	if err != nil {
		return unlessRefused(err)
	}
	address := server.Options().Addr
	switch {
	case log == "yes" && sync != "always":
		s.log.Warn("redisstore: a crash of the machine can bring back codes that were used "+
			"and sessions that have ended: set appendfsync to always",
			"server", address, "appendfsync", sync)
	case log == "no" && snapshots != "":
		s.log.Warn("redisstore: a restart brings back codes that were used and sessions that have ended "+
			"since the last snapshot: set appendonly to yes and appendfsync to always",
			"server", address, "save", snapshots)
	}
	return nil
}

// info returns a section of the server's INFO. It is empty if the command is not allowed.
func (s *Store) info(ctx context.Context, server *redis.Client, section string) (map[string]string, error) {
	text, err := server.Info(ctx, section).Result()
	if err != nil {
		return nil, unlessRefused(err)
	}
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	return fields, nil
}

// unlessRefused returns nil for the error of a server that does not allow the command.
func unlessRefused(err error) error {
	refused := redis.Error(nil)
	if errors.As(err, &refused) &&
		(redis.HasErrorPrefix(err, "NOPERM") || strings.Contains(err.Error(), "unknown command")) {
		return nil
	}
	return err
}
