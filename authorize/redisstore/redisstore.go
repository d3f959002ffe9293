// Package redisstore keeps codes, consents and sessions in Redis or Valkey: one server, a
// primary that Sentinel watches, or a cluster. It is a module of its own, so that only
// hosts that use it have the client in their build.
//
//	client := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: []string{"redis:6379"}})
//	...
//	store, err := redisstore.New(ctx, redisstore.Config{Client: client})
//
// The [Store] goes where a Memory would: into Codes and Consent.Store of the endpoint's
// configuration, and into Store of session.Config. It keeps no clients: they are
// configuration, or rows in a database, and nothing here lives for ever.
//
// # What is kept, and how
//
// Redis 6.2 or later is needed, or Valkey. Every record is one key, a hash, with a time to
// live, so that a record is always in one slot of a cluster:
//
//	usher:code:<hash>              record, saved (by which call), used (when), taker (by which call)
//	usher:session:<key>            record, saved, of (on which list), seen, expires, ends, gone
//	usher:sessions-of:<subject>    the sessions of a user, as a sorted set; with ":pending" at
//	                               the end those whose second factor is missing
//	usher:consents-of:<subject>    the consents of a user, by client
//
// Subjects and client ids stand in names as their SHA-256, and so does every key that is
// not 43 characters of base64url: nobody can choose a slot, or another name, by what they
// send. Records are what MarshalBinary writes, which is JSON: see
// [authorize.Code.MarshalBinary], which also says how replicas of two releases share them.
// The fields used, seen and expires count in the place of what the record says. Neither a
// code nor the value of a cookie is among them.
//
// Which code or session is still good is decided by the endpoint's clock alone. Times to
// live are lengths, taken from the times in the record, with some to spare; the clock of
// the server only reclaims space. Clocks of the processes that use the store may differ by
// some minutes. Those of the servers of a cluster may differ by a minute: with more no
// session may be saved, which is an error.
//
// A user has 1,000 finished sessions at most, and 1,000 whose second factor is missing. If
// there are more of a kind, those of that kind that end first give way. Somebody who signs
// in and breaks off, again and again, can leave entries on a list that have no session. They
// go after five minutes; while there are 10,000 of them saving one more of that kind is an
// error.
//
// # Each step is one script
//
// Everything is done by Lua scripts that touch one key: all of it happens or nothing. They
// are called by their hash, and sent anew where the server does not know them, as after a
// restart or a failover.
//
// The client repeats a command whose answer was lost. A call therefore leaves a random
// mark with what it changes: the repetition of a take finds its own mark and is the winner
// that it was before, and does not report a replay that never was. If there is no answer
// at all the call is an error: the code may be used then, but nobody gets it twice.
//
// Reads are scripts too. They come from the primary, never from a replica that lags or
// from the cache of a client, and contain a write that changes nothing, so that a primary
// that was demoted refuses them instead of showing a session that has ended. A server that
// refuses writes, for want of replicas or of disk space, refuses reads as well.
//
// # What can be lost
//
// An acknowledged write is in the memory of one server. What a crash, a failover or an
// eviction takes away and what it brings back are different things:
//
//   - Lost codes, sessions and new consents mean that users sign in or agree once more.
//   - A lost take brings a used code back: whoever has it, and the verifier that belongs to
//     it, can redeem it a second time until it expires, after a minute by default.
//   - A lost deletion brings a session or a consent back that the user has ended. A session
//     that was added to the list of its user in the lost moment is missed when all of them
//     are deleted, and so is, in a cluster, one that came back.
//
// A failover loses what the promoted replica had not received: replication does not wait,
// and a primary that is cut off from the others goes on for a while. A restart loses what
// was not on disk, unless the server has appendonly yes and appendfsync always; without any
// persistence everything is gone, which brings nothing back. Snapshots alone are the worst:
// they bring back what was used, deleted or revoked since the last one.
//
// Config.Replicas makes the calls whose loss brings something back wait until so many
// replicas have received them: TakeCode, the deletions, SaveConsent, and the list of a
// user's sessions in SaveSession. If fewer confirm in Config.WaitTimeout, the call is an
// error and nothing is approved. The cost is the way to the replicas and back on those
// calls, on a cluster two more ways to the server, and that they fail while replicas are
// away. It makes the loss unlikely and not impossible: Redis may still promote a replica
// that is not among those that confirmed. The server settings min-replicas-to-write and
// min-replicas-max-lag go well with it, as they stop a primary that is cut off. Where a
// code must not be redeemed twice under any circumstances, keep codes in package sqlstore.
//
// # When memory is full
//
// Nothing new is saved then, which is an error; what is there can be found, redeemed,
// touched and deleted. Every key here has a time to live, so with any eviction policy but
// noeviction the server would drop live ones instead, and New refuses such a server. It
// asks once: with a policy that is changed later, or a server that does not say what it is
// and evicts, DeleteSessionsOf can miss sessions that live. With Config.AllowEviction the
// store takes such a server, and keeps no sessions.
//
// # The client
//
// The client may have any timeouts: calls end when their context does, or after
// Config.Timeout, with or without ContextTimeoutEnabled. What the client is still doing
// then goes on in the background until its own timeouts end it. Settings that send reads to
// replicas, and client-side caching, have no effect on the store.
//
// With access control the user needs the keys and these commands:
//
//	~usher:* +eval +evalsha +exists +del +set +pexpire +pttl +hset +hget +hmget +hdel +hvals
//	+zadd +zrem +zcard +zrange +zremrangebyscore +time +info
//
// and those of the client: hello, client, ping, and in a cluster cluster and command. With
// Config.Replicas it needs wait, and in a cluster watch and unwatch. With config|get the
// store can also say which settings of the server's persistence bring back what is gone.
package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/session"
)

// Config configures [New]. Client is required.
type Config struct {
	// Client is a *redis.Client, which may be one of Sentinel's, or a
	// *redis.ClusterClient. It stays the host's, which closes it. A *redis.Ring is
	// refused: it looks for a key on another server when one is away, and finds sessions
	// that have ended when that one comes back.
	Client redis.UniversalClient

	// Prefix begins the name of every key: up to 64 letters, digits and any of "_.:/-".
	// Stores with different prefixes know nothing of each other, as the issuers of a
	// host with tenants should. Empty: "usher:".
	Prefix string

	// KeepExpired is how long past its expiry a code is remembered, so that a replay
	// can be told from an unknown code and a used one be looked up. It is also how far
	// the server's clock may run ahead. A code takes a kilobyte or so of memory. Zero: an
	// hour. It must not be less than a minute.
	KeepExpired time.Duration

	// ConsentLifetime is how long the consents of a user are remembered after the last
	// of them was given. Zero: a year. It must not be less than a minute.
	ConsentLifetime time.Duration

	// Timeout bounds every call that comes without a nearer deadline. Zero: 5 s. It must
	// not be negative.
	Timeout time.Duration

	// Replicas is how many replicas must have received a write whose loss would bring
	// back what was used, ended or revoked; see the package's comment for what that
	// gives and costs. While fewer are reachable, redeeming a code and signing out fail.
	// Zero: no call waits.
	Replicas int

	// WaitTimeout is how long a call waits for Replicas. Zero: 1 s. It must be less than
	// Timeout and than the client's ReadTimeout.
	WaitTimeout time.Duration

	// AllowEviction starts with a server that may drop live codes and consents when its
	// memory is full. It then drops them as if they had never been there, used codes and
	// the marks of their use together: users have to start again, and replays are not
	// noticed. With it the store keeps no sessions, whatever the server's policy is: every
	// call about them is an error, because the list by which DeleteSessionsOf finds the
	// sessions of a user could be dropped while they live. False: New refuses such a
	// server.
	AllowEviction bool

	// Logger is told by New of settings of the server that weaken what the store
	// promises, and of those that it is not allowed to see. Nil: nobody.
	Logger *slog.Logger
}

// Store is an [authorize.CodeStore], [authorize.ConsentStore] and [session.Store]. It is
// safe for concurrent use, by any number of processes.
type Store struct {
	client          redis.UniversalClient
	prefix          string
	keepExpired     time.Duration
	consentLifetime time.Duration
	timeout         time.Duration
	replicas        int
	waitTimeout     time.Duration
	allowEviction   bool
	log             *slog.Logger
}

var (
	_ authorize.CodeStore    = (*Store)(nil)
	_ authorize.ConsentStore = (*Store)(nil)
	_ session.Store          = (*Store)(nil)
)

var validPrefix = regexp.MustCompile(`^[A-Za-z0-9_.:/-]{1,64}$`)

// New checks the configuration, asks every primary how it is set up and returns the
// store. An error about the configuration names the field that is wrong. One about the
// server says what to change there. A server that cannot be reached is an error too.
//
// Replicas are not asked: they need the same settings, as any of them may be promoted.
func New(ctx context.Context, config Config) (*Store, error) {
	s := &Store{
		client:          config.Client,
		prefix:          cmp.Or(config.Prefix, "usher:"),
		keepExpired:     cmp.Or(config.KeepExpired, time.Hour),
		consentLifetime: cmp.Or(config.ConsentLifetime, 365*24*time.Hour),
		timeout:         cmp.Or(config.Timeout, 5*time.Second),
		replicas:        config.Replicas,
		waitTimeout:     cmp.Or(config.WaitTimeout, time.Second),
		allowEviction:   config.AllowEviction,
		log:             config.Logger,
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.checkConfig(); err != nil {
		return nil, err
	}
	_, err := within(ctx, s, "ask the server for its settings", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.eachPrimary(ctx, s.checkServer)
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Store) checkConfig() error {
	readTimeout := time.Duration(0)
	switch client := s.client.(type) {
	case nil:
		return errors.New("redisstore: Config.Client is nil: make one with redis.NewUniversalClient")
	case *redis.Client:
		readTimeout = client.Options().ReadTimeout
	case *redis.ClusterClient:
		readTimeout = client.Options().ReadTimeout
	default:
		return fmt.Errorf("redisstore: Config.Client is a %T: use a *redis.Client or a *redis.ClusterClient", client)
	}
	switch {
	case !validPrefix.MatchString(s.prefix):
		return fmt.Errorf(`redisstore: Config.Prefix is %.80q: use up to 64 letters, digits and any of "_.:/-"`,
			s.prefix)
	case s.keepExpired < time.Minute:
		return fmt.Errorf("redisstore: Config.KeepExpired is %v: use 0 for an hour, or a minute at least",
			s.keepExpired)
	case s.consentLifetime < time.Minute:
		return fmt.Errorf("redisstore: Config.ConsentLifetime is %v: use 0 for a year, or a minute at least",
			s.consentLifetime)
	case s.timeout < 0:
		return fmt.Errorf("redisstore: Config.Timeout is %v: use 0 for 5 seconds, or more", s.timeout)
	case s.replicas < 0:
		return fmt.Errorf("redisstore: Config.Replicas is %d: use 0 to wait for none, or more", s.replicas)
	case s.replicas == 0:
		return nil
	case s.waitTimeout < time.Millisecond || s.waitTimeout >= s.timeout:
		return fmt.Errorf("redisstore: Config.WaitTimeout is %v: use 0 for a second, "+
			"or a millisecond at least and less than Timeout, which is %v", s.waitTimeout, s.timeout)
	case readTimeout > 0 && s.waitTimeout >= readTimeout:
		return fmt.Errorf("redisstore: Config.WaitTimeout is %v: use less than the client's ReadTimeout, which is %v",
			s.waitTimeout, readTimeout)
	}
	return nil
}
