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
// not 43 characters of base64url. So nobody can choose a slot or the name of another key by
// the text they send. Records are what MarshalBinary writes, which is JSON: see
// [authorize.Code.MarshalBinary], which also says how replicas of two releases share them.
// The fields used, seen and expires replace the values in the record. The server has neither
// the codes themselves nor the values of cookies.
//
// Only the endpoint's clock decides whether a code or a session is valid. Times to live are
// durations, computed from the times in the record, with a margin; the server's clock only
// reclaims space. Clocks of the processes that use the store may differ by some minutes.
// Those of the servers of a cluster may differ by a minute: if they differ by more, saving a
// session can fail with an error.
//
// A user has 1,000 finished sessions at most, and 1,000 whose second factor is missing. If
// there are more of a kind, those of that kind that end first are deleted. A user who starts
// a sign-in and stops, again and again, can leave entries on a list that have no session.
// They are deleted after five minutes. While a list has 10,000 entries, saving one more
// session of its kind is an error.
//
// # Each step is one script
//
// Everything is done by Lua scripts. A script uses one key, and is atomic. Scripts are called
// by their hash, and sent again in full if the server does not know them, as after a restart
// or a failover.
//
// The client repeats a command if its reply was lost. So each call stores a random mark with
// its change. When a TakeCode that won is repeated, it finds its own mark and wins again,
// instead of reporting a replay. If there is no reply at all, the call is an error: the code
// may be used, but it is never returned as taken twice.
//
// Reads are scripts too. They are sent to the primary, never to a replica that lags or to the
// cache of a client. They contain a write that changes nothing, so that a demoted primary
// refuses them instead of returning a session that has ended. A server that refuses writes,
// for lack of replicas or of disk space, refuses reads as well.
//
// # What can be lost
//
// An acknowledged write is in the memory of one server. A crash, a failover or an eviction
// can lose records, and it can also bring back old ones:
//
//   - Lost codes, sessions and new consents mean that users sign in or agree once more.
//   - A lost TakeCode brings a used code back. Anybody who has the code and its verifier can
//     redeem it a second time until it expires, after a minute by default.
//   - A lost deletion brings a session or a consent back that the user has ended. If the
//     entry on a user's list is lost, DeleteSessionsOf misses that session. In a cluster it
//     can also miss a session that came back.
//
// A failover loses writes that the promoted replica had not received. Replication is
// asynchronous, and a primary that is cut off from the others goes on for a while. A restart
// loses writes that were not on disk, unless the server has appendonly yes and appendfsync
// always. Without any persistence everything is lost, so nothing comes back. Snapshots alone
// are the worst: they bring back what was used, deleted or revoked since the last one.
//
// With Config.Replicas a call waits for so many replicas if its loss would bring something
// back: TakeCode, the deletions, SaveConsent, and the list of a user's sessions in
// SaveSession. If fewer confirm in Config.WaitTimeout, the call is an error and nothing is
// approved. These calls take longer, by a round trip to the replicas, and on a cluster by two
// more to the server; and they fail while replicas are away. Such a loss becomes unlikely,
// but stays possible: Redis may still promote a replica that is not among those that
// confirmed. Set also min-replicas-to-write and min-replicas-max-lag on the server: they stop
// a primary that is cut off. If a code must never be redeemed twice, whatever happens, keep
// codes in package sqlstore.
//
// # When memory is full
//
// Then saving is an error, but existing records can be found, redeemed, touched and deleted.
// Every key here has a time to live, so with any eviction policy but noeviction the server
// would drop live ones, and New refuses such a server. New checks this only once. If the
// policy is changed later, or if the server does not show it and evicts, DeleteSessionsOf can
// miss live sessions. With Config.AllowEviction the store accepts such a server, and keeps no
// sessions.
//
// # The client
//
// The client may have any timeouts: calls end with their context or after Config.Timeout,
// with or without ContextTimeoutEnabled. The client may then go on in the background until
// its own timeouts end its work. Settings that send reads to replicas, and client-side
// caching, have no effect on the store.
//
// With ACLs the Redis user needs these keys and commands:
//
//	~usher:* +eval +evalsha +exists +del +set +pexpire +pttl +hset +hget +hmget +hdel +hvals
//	+zadd +zrem +zcard +zrange +zremrangebyscore +time +info
//
// and those of the client: hello, client, ping, and in a cluster also cluster and command.
// With Config.Replicas it needs wait, and in a cluster watch and unwatch. With config|get New
// can also warn of persistence settings that bring back used codes and ended sessions.
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
	// *redis.ClusterClient. The host closes it. New refuses a *redis.Ring: when a server is
	// away, a Ring uses another one for its keys, and when the server comes back, sessions
	// that have ended are found there.
	Client redis.UniversalClient

	// Prefix begins the name of every key: up to 64 letters, digits and any of "_.:/-".
	// Stores with different prefixes share nothing. Use one prefix for each issuer of a
	// host with tenants. Empty: "usher:".
	Prefix string

	// KeepExpired is how long a code is kept after its expiry. Until then a replay can be
	// told from an unknown code, and a used code can be found. It is also how far the
	// server's clock may run ahead. A code takes about a kilobyte of memory. Zero: an hour.
	// It must be at least a minute.
	KeepExpired time.Duration

	// ConsentLifetime is how long the consents of a user are kept after the last of them
	// was given. Zero: a year. It must be at least a minute.
	ConsentLifetime time.Duration

	// Timeout limits every call whose context has no earlier deadline. Zero: 5 s. It must
	// not be negative.
	Timeout time.Duration

	// Replicas is how many replicas must have received a write if its loss would bring
	// back a used code, an ended session or a revoked consent. The package comment has the
	// benefits and costs. While fewer replicas are reachable, redeeming a code and signing
	// out fail. Zero: no call waits.
	Replicas int

	// WaitTimeout is how long a call waits for Replicas. Zero: 1 s. It must be less than
	// Timeout and than the client's ReadTimeout.
	WaitTimeout time.Duration

	// AllowEviction lets New accept a server that may drop live codes and consents when its
	// memory is full. A code is dropped as a whole, together with the mark of its use: users
	// have to start again, and replays are not noticed. With AllowEviction the store keeps no
	// sessions, whatever the server's policy is: every call about them is an error. The server
	// could drop the list by which DeleteSessionsOf finds the sessions of a user, but keep the
	// sessions. False: New refuses such a server.
	AllowEviction bool

	// Logger gets warnings from New: of server settings that weaken the store's guarantees,
	// and of an eviction policy that it is not allowed to see. Nil: no log.
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

// New checks the configuration and the settings of every primary, and returns the store. An
// error about the configuration names the field that is wrong. An error about the server says
// what to change there. A server that cannot be reached is an error too.
//
// New does not check replicas. They need the same settings, because any may be promoted.
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
	_, err := within(ctx, s, "check the server's settings", func(ctx context.Context) (struct{}, error) {
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
