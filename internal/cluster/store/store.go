// Package store keeps what is applied at run time: an etcd with one voter,
// embedded in this process, in a folder of its own.
//
// It owns etcd's life, its keys, the commit of changes and their delivery in
// order. It does not own what objects mean (package state), nor the files that
// the data plane starts from (package snapshot).
//
//	Commit: list, if the head key has moved -> state.Validate -> one transaction, guarded by the head key
//	Follow: list -> Update{Reset} -> watch from there -> Update -> ...
//	                                 after a compaction: list again
//
// The joining, in package node, is one goroutine:
//
//	state := state.Decode(base, payload of snapshot.Load)  // or state.New(base); serve it
//	store, err := store.Open(...)                          // never before the data plane serves
//	store.Follow(ctx, 0, func(u store.Update) {
//		state, effects = u.ApplyTo(state)
//		compile state.Resources(), snapshot.Save, swap, publish state.Revision()
//	})
//
// The store is beside the data plane, never under it: Open returns before etcd
// runs, what goes wrong later is in Err, and no failure in here, not even one
// that etcd holds for fatal, ends the process. Nothing listens on a network or
// a socket.
//
//	/pharos/1/object/<kind>/<name>   canonical JSON of one object
//	/pharos/1/head                   changed by every commit; its revision is the guard
//
// Concurrency: all methods may be called from any goroutine.
package store

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"pharos/internal/cluster/state"
)

// Limits of waiting.
const (
	// closeTimeout is how long Close waits for etcd; a healthy one takes
	// milliseconds. After it the process goes on without it.
	closeTimeout = 5 * time.Second
	// commitTimeout bounds a commit whose caller gave no deadline. A commit
	// takes under a millisecond, an election a tenth of a second.
	commitTimeout = 10 * time.Second
)

// Config says where the store is and how much it may take.
type Config struct {
	Dir     string // its folder; made if it does not exist; no other process may use it
	Quota   int64  // octets on disk; at it changes are refused. 0: 256 MiB
	History int    // revisions kept before compaction. 0: 10,000
	Log     *slog.Logger
}

// Errors that callers tell apart with errors.Is.
var (
	ErrClosed   = errors.New("the store is closed")
	ErrConflict = errors.New("the object was changed by someone else")
	ErrRefused  = errors.New("the change is refused")
)

// Store is an open store.
type Store struct {
	// Constant after Open.
	config Config
	lock   *dirLock
	life   context.Context // ends when the store fails or is closed; its cause says why
	end    context.CancelCauseFunc

	closeOnce func() error // close, run once

	ready  chan struct{} // closed by run when commits are possible
	exited chan struct{} // closed by run when it is over

	// Owned by run until ready or exited is closed, then constant.
	etcd   *embed.Etcd
	client *clientv3.Client

	// turn makes commits of this process wait for each other instead of failing each
	// other's guard: who commits has put something into it. A mutex could be waited
	// for longer than a context lasts.
	turn chan struct{}
	seen *state.State // guarded by turn: of the last commit, so that a list costs only what is new
	head int64        // guarded by turn: revision of the head key that seen is of; 0: of none
}

// Open opens the store in c.Dir, or makes a new one. It checks that the folder
// can be used and returns; etcd starts behind it. See Ready and Err.
func Open(c Config) (*Store, error) {
	if c.Quota == 0 {
		c.Quota = 256 << 20
	}
	if c.History == 0 {
		c.History = 10_000
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, explainDir(c.Dir, err)
	}
	c.Dir = dir
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{
		config: c, lock: lock, seen: state.New(&state.Resources{}),
		ready: make(chan struct{}), exited: make(chan struct{}), turn: make(chan struct{}, 1),
	}
	s.closeOnce = sync.OnceValue(s.close)
	s.life, s.end = context.WithCancelCause(context.Background())
	go s.run() // ends when it has started etcd, or failed to
	return s, nil
}

// run starts etcd. It has a goroutine of its own since etcd may take its time
// with a large store, and since what etcd holds for fatal ends the goroutine
// that found it (see fatalHook).
func (s *Store) run() {
	defer close(s.exited)
	defer func() {
		if cause := recover(); cause != nil {
			s.fail(panicError(cause))
		} else if s.client == nil {
			s.fail(errors.New("etcd did not start"))
		}
	}()
	if err := verify(s.config.Dir); err != nil {
		s.fail(err)
		return
	}
	etcd, err := embed.StartEtcd(s.engineConfig())
	if err != nil {
		s.fail(err)
		return
	}
	s.etcd, s.client = etcd, v3client.New(etcd.Server)
	select {
	case <-etcd.Server.ReadyNotify():
		close(s.ready)
		s.config.Log.Info("store is ready", "dir", s.config.Dir)
	case <-s.life.Done():
	}
}

// fail ends the store because of err. Only the first cause counts.
func (s *Store) fail(err error) {
	err = explainDir(s.config.Dir, err)
	if s.life.Err() == nil {
		s.config.Log.Error("store has failed; what was applied is still served", "error", err)
	}
	s.end(err)
}

// Ready returns a channel that is closed when commits are possible. Without
// quorum, or after a failure, it never is: do not wait for it alone.
func (s *Store) Ready() <-chan struct{} { return s.ready }

// Done returns a channel that is closed when the store has failed or is closed.
func (s *Store) Done() <-chan struct{} { return s.life.Done() }

// Err returns why the store is over, with the remedy; nil while it is not.
func (s *Store) Err() error {
	if s.life.Err() == nil {
		return nil
	}
	return context.Cause(s.life)
}

// Close stops the store. What was committed is on disk already. An error means
// that etcd did not stop in time. Closing again returns what the first did.
func (s *Store) Close() error { return s.closeOnce() }

func (s *Store) close() error {
	s.end(ErrClosed)
	stopped := make(chan struct{})
	go func() { // ends with etcd; after a failure that may be never
		defer close(stopped)
		<-s.exited
		if s.client != nil {
			s.client.Close()
			s.etcd.Close()
		}
	}()
	timeout := time.NewTimer(closeTimeout)
	defer timeout.Stop()
	select {
	case <-stopped:
		return s.lock.release()
	case <-timeout.C:
		return errors.Join(errors.New("store: etcd did not stop in time"), s.lock.release())
	}
}

// use returns the client when etcd is ready, and a context that ends with ctx or
// with the store. The caller calls done. Before etcd is ready it has not replayed
// its log, and even what was acknowledged may be missing from its answers.
func (s *Store) use(ctx context.Context) (c *clientv3.Client, bound context.Context, done func(), err error) {
	select {
	case <-s.ready:
	case <-s.life.Done():
	case <-ctx.Done():
		return nil, ctx, nil, ctx.Err()
	}
	if err := s.Err(); err != nil {
		return nil, ctx, nil, err
	}
	bound, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.life, func() { cancel(s.Err()) })
	return s.client, bound, func() { stop(); cancel(nil) }, nil
}

// await returns what call returns, or the cause of ctx's end if that comes first.
// A part of etcd that has given up (see fatalHook) may have kept a lock, and those
// who wait for it do not look at their context. Then call goes on by itself, for
// as long as the process lasts; so it must not write to what its caller reads.
func await[T any](ctx context.Context, call func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() { // ends with call
		value, err := call()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}
