package redisstore

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"net"

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
	if n := confirmed.Val(); n < int64(s.replicas) {
		return fmt.Errorf("%d of %d replicas have confirmed the write within %v", n, s.replicas, s.waitTimeout)
	}
	return nil
}

// unrepeated is a command that the client does not send again.
type unrepeated struct{ *redis.Cmd }

// NoRetry implements [redis.Cmder].
func (unrepeated) NoRetry() bool { return true }
