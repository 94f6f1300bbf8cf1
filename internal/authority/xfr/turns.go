package xfr

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Turns bounds how many primaries are asked at a time, over all Secondaries that share
// it. Each server has a share of its own, so that one that sends without end, or not at
// all, holds up the zones that come from it and no others.
type Turns struct {
	// Constant after NewTurns.
	all       chan struct{} // has a token for each that is taken
	perServer int

	waiting atomic.Int64

	mu      sync.Mutex // guards what follows
	servers map[netip.Addr]*share
}

// share is what one server takes.
type share struct {
	taken chan struct{} // has a token for each that is taken
	users int           // who have one or wait for one; with the last it is forgotten
}

// NewTurns returns Turns for some transfers at a time, of which one server has no more
// than perServer.
func NewTurns(all, perServer int) *Turns {
	return &Turns{all: make(chan struct{}, max(1, all)), perServer: max(1, perServer), servers: map[netip.Addr]*share{}}
}

// Counts returns how many turns are taken, and how many wait for one.
func (t *Turns) Counts() (taken, waiting int) { return len(t.all), int(t.waiting.Load()) }

// take waits for a turn to ask a server, and returns what gives it back. The error is
// that of ctx.
func (t *Turns) take(ctx context.Context, server netip.Addr) (leave func(), err error) {
	t.waiting.Add(1)
	defer t.waiting.Add(-1)
	t.mu.Lock()
	s := t.servers[server]
	if s == nil {
		s = &share{taken: make(chan struct{}, t.perServer)}
		t.servers[server] = s
	}
	s.users++
	t.mu.Unlock()
	// That of the server first: who waits for it must not keep others from asking theirs.
	for _, turns := range []chan struct{}{s.taken, t.all} {
		select {
		case turns <- struct{}{}:
		case <-ctx.Done():
			if turns == t.all {
				<-s.taken
			}
			t.forget(server, s)
			return nil, ctx.Err()
		}
	}
	return func() {
		<-t.all
		<-s.taken
		t.forget(server, s)
	}, nil
}

// forget ends one use of a share.
func (t *Turns) forget(server netip.Addr, s *share) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.users--; s.users == 0 {
		delete(t.servers, server)
	}
}
