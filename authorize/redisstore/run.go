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

// within bounds a call and says what could not be done. The client does not look at its
// context while it waits for an answer, so a call that is over is left behind, and what it
// still finds is dropped.
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

// failed says what could not be done. The endpoint knows a lack of time by the context's
// error; the client has words of its own for it.
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

// primary begins scripts that read. It is a write that changes nothing, which a server
// refuses that is not a primary any more. Its key is a hash.
const primary = "redis.call('HDEL', KEYS[1], '')\n"

// now begins scripts that look at the server's clock, in milliseconds.
const now = "local now = redis.call('TIME')\nnow = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)\n"

// How a script is sent.
type sending int

const (
	repeatedly sending = iota // again by the client if the answer is lost
	durably                   // and the replicas must have it, if that is configured
	onceOnly                  // never again by the client
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

// sendAndWait sends a command that writes, and a WAIT for replicas behind it on the same
// connection: on another one it would not wait for this write.
func (s *Store) sendAndWait(ctx context.Context, key string, cmd *redis.Cmd) (err error) {
	confirmed := redis.NewIntCmd(ctx, "wait", s.replicas, s.waitTimeout.Milliseconds())
	both := func(p redis.Pipeliner) error {
		return errors.Join(p.Process(ctx, cmd), p.Process(ctx, confirmed))
	}
	switch client := s.client.(type) {
	case *redis.Client:
		_, err = client.Pipelined(ctx, both)
	case *redis.ClusterClient:
		// WAIT has no key that would lead it to the right server. Watch keeps to one
		// connection to the server of the key.
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

// runAll runs a script on many keys, durably and in one way to each server and back. The
// answers are put into the steps. It does not stop at one that fails.
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
	// Slots move and servers change places. The client knows how to follow if it is given
	// one command at a time. Where it cannot there is no use in trying all the others.
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

// sendAll sends a script for all steps, which are on one server, and with Replicas a WAIT
// behind them.
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
		_ = pipe.Process(ctx, confirmed) // it is put into the pipe
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

// enough returns an error unless so many replicas have confirmed as there have to.
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
