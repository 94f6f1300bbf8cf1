// Package holding is how requests, connections and datagrams wait while their pool has nobody to
// serve them, because it scales and its first member is just starting. It owns the room that
// there is for them and the counters; what waits, and what becomes of it, is the proxy's that
// holds it.
//
//	nobody is eligible -> Room.Await: is there room? -> Wake, look, wait for a change -> Ready
//	                                  Full                  Late, Gone, Closing
//
// Entry points: Room.Under, Room.Await, Room.Read.
//
// Concurrency: a Room may be used from anywhere. Await blocks; nothing else does.
package holding

import (
	"sync/atomic"
	"time"
)

// Spec bounds what waits for a pool.
type Spec struct {
	Requests int   // requests and connections that wait at once
	Octets   int64 // of memory that they have, together
	Time     time.Duration
	// Wake asks for a member. It is called for each one that begins to wait, and whenever it has
	// looked in vain, and must not block.
	Wake func()
}

// Room is what waits for one pool. Rooms that follow each other count on.
type Room struct {
	spec Spec // constant
	*counts
}

type counts struct {
	waiting, octets         atomic.Int64
	held, refused, timeouts atomic.Uint64
}

// Counters are a reading of what became of those that waited.
type Counters struct {
	Pool     string
	Waiting  int64  // now
	Octets   int64  // that they have
	Held     uint64 // that have begun to wait
	Refused  uint64 // that found no room
	TimedOut uint64 // that have waited in vain
}

// Under returns r, or a new one if it is nil, under another spec.
func (r *Room) Under(spec Spec) *Room {
	if r == nil {
		return &Room{spec, new(counts)}
	}
	return &Room{spec, r.counts}
}

// Time is how long each waits at most.
func (r *Room) Time() time.Duration { return r.spec.Time }

// Waiting returns how many wait now.
func (r *Room) Waiting() int { return int(r.waiting.Load()) }

// Read reads the counters, for a pool of that name.
func (r *Room) Read(pool string) Counters {
	return Counters{
		Pool: pool, Waiting: r.waiting.Load(), Octets: r.octets.Load(), Held: r.held.Load(), Refused: r.refused.Load(), TimedOut: r.timeouts.Load(),
	}
}

// Guest is somebody who waits.
type Guest struct {
	Octets int64         // of memory that it has
	Most   time.Duration // that it waits, if that is less than Spec.Time
	// Changed returns what is closed when the pool may have somebody.
	Changed func() <-chan struct{}
	// Look reports whether waiting is over, whatever for.
	Look    func() bool
	IsGone  func() bool     // nobody would notice any more; asked each GoneInterval
	Closing <-chan struct{} // closed when nobody is to wait any more
}

// End is why somebody waits no longer.
type End uint8

// The ends of waiting.
const (
	Ready   End = iota // Look has said so
	Full               // there was no room: it has not waited
	Late               // its time is over
	Gone               // IsGone has said so
	Closing            // nobody is to wait any more
)

// GoneInterval is how often is looked whether one that waits is still there.
const GoneInterval = time.Second

// Await waits until one of the ends, and returns it.
func (r *Room) Await(g *Guest) End {
	defer r.leave(g.Octets)
	if !r.enter(g.Octets) {
		r.refused.Add(1)
		return Full
	}
	r.held.Add(1)
	end, look := time.NewTimer(min(r.spec.Time, g.Most)), time.NewTicker(GoneInterval)
	defer end.Stop()
	defer look.Stop()
	for {
		// First the channel, then the look: what changes in between closes it.
		changed := g.Changed()
		if g.Look() {
			return Ready
		}
		r.spec.Wake()
		select {
		case <-changed:
		case <-look.C:
			if g.IsGone() {
				return Gone
			}
		case <-end.C:
			r.timeouts.Add(1)
			return Late
		case <-g.Closing:
			return Closing
		}
	}
}

// enter counts somebody in, and reports whether there is room. It is to be followed by leave.
func (r *Room) enter(octets int64) bool {
	waiting, all := r.waiting.Add(1), r.octets.Add(octets)
	return waiting <= int64(r.spec.Requests) && all <= r.spec.Octets
}

func (r *Room) leave(octets int64) {
	r.waiting.Add(-1)
	r.octets.Add(-octets)
}
