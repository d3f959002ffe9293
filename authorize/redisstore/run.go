package redisstore

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/redis/go-redis/v9"
)

// within limits the time of a call and adds to its error what could not be done. The client
// ignores its context while it waits for a reply. So a call that takes too long goes on in the
// background, and its result is dropped.
func within[T any](ctx context.Context, s *Store, what string, call func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var none T
	if err := ctx.Err(); err != nil {
		return none, failed(ctx, what, err)
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := call(ctx)
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return none, failed(ctx, what, r.err)
		}
		return r.value, nil
	case <-ctx.Done():
		return none, failed(ctx, what, ctx.Err())
	}
}

// failed adds to an error what could not be done. The client reports a timeout with errors of
// its own. These are joined with the context's error, which the endpoint recognizes.
func failed(ctx context.Context, what string, err error) error {
	var network net.Error
	switch {
	case ctx.Err() != nil && !errors.Is(err, ctx.Err()):
		err = errors.Join(ctx.Err(), err)
	case errors.Is(err, context.DeadlineExceeded):
	case errors.As(err, &network) && network.Timeout(), errors.Is(err, redis.ErrPoolTimeout):
		err = errors.Join(context.DeadlineExceeded, err)
	}
	return fmt.Errorf("redisstore: %s: %w", what, err)
}

// script is one atomic step on one key.
type script struct{ text, sha string }

func newScript(text string) script {
	sum := sha1.Sum([]byte(text))
	return script{text, hex.EncodeToString(sum[:])}
}

// primary is the first line of scripts that read a hash. It is a write that changes nothing. A
// server that is no longer a primary refuses it.
const primary = "redis.call('HDEL', KEYS[1], '')\n"

// now is the beginning of scripts that use the server's clock, in milliseconds.
const now = "local now = redis.call('TIME')\nnow = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)\n"

// How a script is sent.
type sending int

const (
	repeatedly sending = iota // the client repeats it if the reply is lost
	durably                   // the same, and with Config.Replicas it waits for replicas
	onceOnly                  // the client never repeats it
)

// run sends a script by its hash, and in full to a server that does not know it.
func (s *Store) run(ctx context.Context, how sending, x script, key string, args ...any) (any, error) {
	answer, err := s.send(ctx, how, key, append([]any{"evalsha", x.sha, 1, key}, args...))
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		return s.send(ctx, how, key, append([]any{"eval", x.text, 1, key}, args...))
	}
	return answer, err
}

func (s *Store) send(ctx context.Context, how sending, key string, command []any) (any, error) {
	cmd := redis.NewCmd(ctx, command...)
	var err error
	switch {
	case how == durably && s.replicas > 0:
		err = s.sendAndWait(ctx, key, cmd)
	case how == onceOnly:
		err = s.client.Process(ctx, unrepeated{cmd})
	default:
		err = s.client.Process(ctx, cmd)
	}
	if err != nil {
		return nil, err
	}
	return cmd.Result()
}

// sendAndWait sends a command that writes and then a WAIT for replicas on the same connection.
// On another connection, WAIT would not wait for this write.
func (s *Store) sendAndWait(ctx context.Context, key string, cmd *redis.Cmd) (err error) {
	confirmed := redis.NewIntCmd(ctx, "wait", s.replicas, s.waitTimeout.Milliseconds())
	both := func(p redis.Pipeliner) error {
		return errors.Join(p.Process(ctx, cmd), p.Process(ctx, confirmed))
	}
	switch client := s.client.(type) {
	case *redis.Client:
		_, err = client.Pipelined(ctx, both)
	case *redis.ClusterClient:
		// WAIT has no key, so the client cannot find the right server for it. Watch uses
		// one connection to the server of the key.
		err = client.Watch(ctx, func(tx *redis.Tx) error {
			_, err := tx.Pipelined(ctx, both)
			return err
		}, key)
	}
	if err != nil {
		return err
	}
	return s.enough(confirmed)
}

// step is one run of a script among many.
type step struct {
	key    string
	args   []any
	answer any
	err    error
}

// runAll runs a script on many keys, durably and in one round trip to each server. It puts
// the replies into the steps. It goes on after a step that fails.
func (s *Store) runAll(ctx context.Context, x script, steps []step) {
	byServer := map[*redis.Client][]*step{}
	for i := range steps {
		server, err := s.serverOf(ctx, steps[i].key)
		if steps[i].err = err; err == nil {
			byServer[server] = append(byServer[server], &steps[i])
		}
	}
	var all sync.WaitGroup
	for server, steps := range byServer {
		all.Go(func() {
			s.sendAll(ctx, server, steps, "evalsha", x.sha)
			var again []*step
			for _, step := range steps {
				if redis.HasErrorPrefix(step.err, "NOSCRIPT") {
					again = append(again, step)
				}
			}
			s.sendAll(ctx, server, again, "eval", x.text)
		})
	}
	all.Wait()
	if _, ok := s.client.(*redis.ClusterClient); !ok {
		return
	}
	// Slots move, and replicas are promoted. The client follows such changes only for single
	// commands, so run the failed steps again one by one. Stop at the first that still fails.
	for i := range steps {
		if step := &steps[i]; step.err != nil {
			if step.answer, step.err = s.run(ctx, durably, x, step.key, step.args...); step.err != nil {
				return
			}
		}
	}
}

// serverOf returns the client of the server that has a key.
func (s *Store) serverOf(ctx context.Context, key string) (*redis.Client, error) {
	if cluster, ok := s.client.(*redis.ClusterClient); ok {
		return cluster.MasterForKey(ctx, key)
	}
	return s.client.(*redis.Client), nil
}

// sendAll sends a script for all steps to their server, and with Replicas a WAIT after them.
func (s *Store) sendAll(ctx context.Context, server *redis.Client, steps []*step, command, text string) {
	if len(steps) == 0 {
		return
	}
	pipe := server.Pipeline()
	sent := make([]*redis.Cmd, len(steps))
	for i, step := range steps {
		sent[i] = pipe.Do(ctx, append([]any{command, text, 1, step.key}, step.args...)...)
	}
	var confirmed *redis.IntCmd
	if s.replicas > 0 {
		confirmed = redis.NewIntCmd(ctx, "wait", s.replicas, s.waitTimeout.Milliseconds())
		_ = pipe.Process(ctx, confirmed) // only adds it to the pipeline
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	var unconfirmed error
	if confirmed != nil {
		unconfirmed = s.enough(confirmed)
	}
	for i, step := range steps {
		step.answer, step.err = sent[i].Result()
		if step.err == nil {
			step.err = unconfirmed
		}
	}
}

// enough returns an error unless enough replicas have confirmed the write.
func (s *Store) enough(confirmed *redis.IntCmd) error {
	n, err := confirmed.Result()
	if err == nil && n < int64(s.replicas) {
		err = fmt.Errorf("%d of %d replicas have confirmed the write within %v", n, s.replicas, s.waitTimeout)
	}
	return err
}

// unrepeated is a command that the client does not send again.
type unrepeated struct{ *redis.Cmd }

// NoRetry implements [redis.Cmder].
func (unrepeated) NoRetry() bool { return true }
