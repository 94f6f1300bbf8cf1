package httpproxy

import (
	"runtime"
	"time"

	"pharos/internal/parking"
)

// A client connection that has waited for its next request for Limits.Rest is put to rest:
// its goroutine ends, whose stack of mostly 8 KiB is nine tenths of what it occupies, and
// the descriptor is watched beside all others that rest. With the next octet it gets a
// goroutine again, which does not know that there was another one before.
//
//	awaitRequest ── nothing comes; told by the watcher of the clock ──► lot ── octets ──► serve
//	                                                                     │
//	                                     overdue, or Shutdown ──► closeIfIdle ──► end

// hasLot reports whether there is a place for connections at rest, which is made when it is
// first asked for. Without one they keep their goroutines. s.mu is held.
func (s *Server) hasLot() bool {
	if s.lotAsked {
		return s.lot.Load() != nil
	}
	s.lotAsked = true
	lot, err := parking.NewLot(func(c *client) {
		c.rests.Store(false)
		go c.serve(nil) // ends with its connection, or when it rests again
	})
	if err != nil {
		s.log.Info("idle connections keep their goroutines", "error", err)
		return false
	}
	s.lot.Store(lot)
	return true
}

// mayRest reports whether c has waited long enough.
func (c *client) mayRest() bool {
	s := c.server
	return c.raw != nil && c.secured == nil && c.state.Load() == idle && !c.rests.Load() && s.now.Load()-c.idleSince() >= int64(s.limits.Rest)
}

// idleSince returns since when c waits for a request, if it does, by the coarse clock.
func (c *client) idleSince() int64 { return c.deadline.Load() - int64(c.server.limits.Idle+tick) }

// rest puts c to rest, and reports whether it did: the caller's goroutine must not touch c
// any more then. Otherwise c is closed already, or cannot be watched; then it is closed, as
// an idle connection may be at any time (RFC 9112 §9.5), for the system is short of memory.
func (c *client) rest() bool {
	if !c.mayRest() {
		return false
	}
	c.server.rested.Add(1)
	return c.server.lot.Load().Park(c.descriptor, c, func() bool {
		c.rests.Store(c.state.Load() == idle)
		return c.rests.Load()
	})
}

// rouse takes c from where it rests, to be closed, and reports whether it was there.
func (c *client) rouse() bool {
	lot := c.server.lot.Load()
	if lot == nil || !lot.Take(c.descriptor, c) {
		return false
	}
	c.rests.Store(false)
	return true
}

// collectEach and collectFrom bound how often memory is looked through for the stacks of
// goroutines that have ended since, which otherwise happens when as much was allocated.
const (
	collectEach = time.Minute
	collectFrom = 1000 // some 8 MiB
)

// collect has the runtime find the memory that connections at rest have given up.
func (s *Server) collect(now int64) {
	if s.rested.Load() < collectFrom || now-s.collected < int64(collectEach) && s.collected != 0 {
		return
	}
	s.rested.Store(0)
	s.collected = now
	go runtime.GC() // ends with the collection, beside which all else goes on
}
