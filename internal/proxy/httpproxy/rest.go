package httpproxy

import (
	"runtime"
	"runtime/metrics"
	"time"

	"pharos/internal/parking"
)

// A client connection that has waited for its next request for Limits.Rest, in the clear or
// over TLS, by HTTP/1.1 or HTTP/2, is put to rest:
// its goroutine ends, whose stack of mostly 8 KiB is nine tenths of what it occupies, and
// the descriptor is watched beside all others that rest. With the next octet it gets a
// goroutine again, which does not know that there was another one before.
//
//	awaitRequest ── nothing comes; told by the watcher of the clock ──► lot ── octets ──► serve
//	                                                                     │
//	                                     overdue, or Shutdown ──► closeIfIdle ──► end
//
// One of HTTP/2 has its own watch on the time, and is woken for it (session.nudge).

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
	return c.raw != nil && c.state.Load() == idle && !c.rests.Load() && s.now.Load()-c.idleSince() >= int64(s.limits.Rest)
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
	return c.server.lot.Load().Park(c.socket, c, func() bool {
		c.rests.Store(c.state.Load() == idle)
		return c.rests.Load()
	})
}

// rouse takes c from where it rests, to be closed, and reports whether it was there.
func (c *client) rouse() bool {
	lot := c.server.lot.Load()
	if lot == nil || !lot.Take(c.socket, c) {
		return false
	}
	c.rests.Store(false)
	return true
}

// mayRest reports whether the session has waited for long enough. Only an idle one has a time
// since when it is; whether everything that has come is read over is the reading side's to see.
func (s *session) mayRest() bool {
	c, since := s.client, s.quiet.Load()
	return since != 0 && c.raw != nil && !c.rests.Load() && c.server.now.Load()-since >= int64(c.server.limits.Rest)
}

// noteQuiet notes since when there is nothing to do; mu is held.
func (s *session) noteQuiet(is bool) {
	switch {
	case !is || !s.conn.IsIdle():
		s.quiet.Store(0)
	case s.quiet.Load() == 0:
		s.quiet.Store(max(s.client.server.now.Load(), 1))
	}
}

// rest puts the session to rest, and reports whether it did: the caller's goroutine must not
// touch it any more then.
func (s *session) rest() bool {
	c := s.client
	lot := c.server.lot.Load()
	if lot == nil || c.secured != nil && c.secured.Pending() {
		return false
	}
	s.mu.Lock()
	ready := s.conn.Trim() && !s.flushing
	if ready {
		s.dismiss()
		s.spare, s.free, s.started = nil, nil, nil
	}
	s.mu.Unlock()
	if !ready {
		return false
	}
	if c.secured != nil {
		c.secured.Rest()
	}
	c.server.rested.Add(1)
	rests := lot.Park(c.socket, c, func() bool {
		is := !c.server.draining.Load() && !c.server.cut.Load() // else there is something to say
		c.rests.Store(is)
		return is
	})
	if !rests {
		c.rests.Store(false)
	}
	return rests
}

// How often memory is looked through for what connections at rest have given up, mostly the
// stacks of goroutines that have ended, of which the runtime's own pace knows nothing.
const (
	stackOctets  = 8 << 10 // that a connection at rest gives up, mostly
	collectLeast = 1 << 20 // octets given up that are worth it
	collectPart  = 4       // and a part of the memory in use, so that looking through it stays a part of what made it
	// collectEach is how often at most, or many small collections cost more than they find.
	collectEach = 250 * time.Millisecond
	// afterWave is for how long nobody has come to rest when the last ones are collected too.
	afterWave = 2 * time.Second
)

// collect has the runtime find the memory that connections at rest have given up: while many
// come to rest, so that the next ones use it, and when they all have.
func (s *Server) collect(now int64) {
	rested := s.rested.Load()
	if rested != s.wave.rested {
		s.wave.rested, s.wave.since = rested, now
	}
	given := rested * stackOctets
	if given < collectLeast || now-s.wave.collected < int64(collectEach) {
		return
	}
	if isOver := now-s.wave.since >= int64(afterWave); !isOver && given < int64(memoryInUse()/collectPart) {
		return
	}
	s.rested.Add(-rested)
	s.wave.collected = now
	go runtime.GC() // ends with the collection, beside which all else goes on
}

// wave is what the watcher remembers of connections that come to rest.
type wave struct {
	rested    int64 // since the last collection, when it last looked
	since     int64 // when that last changed
	collected int64 // when that was
}

// memoryInUse returns how many octets a collection looks through.
func memoryInUse() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
