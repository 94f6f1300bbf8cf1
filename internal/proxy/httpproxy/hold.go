package httpproxy

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Holding is how requests wait while their pool has nobody to serve them, because it
// scales and its first member is just starting.
type Holding struct {
	Requests int   // that wait at once
	Octets   int64 // of memory that they have, together
	Time     time.Duration
	// Wake asks for a member. It is called for each request that begins to wait, and must
	// not block.
	Wake func()
}

// hold is the waiting requests of one pool. It outlives tables.
type hold struct {
	spec Holding // constant; the counters below are shared by those that follow it
	*holdCounts
}

type holdCounts struct {
	waiting, octets         atomic.Int64
	held, refused, timeouts atomic.Uint64
}

// HoldCounters is a reading of what became of requests that waited.
type HoldCounters struct {
	Pool     string
	Waiting  int64  // now
	Octets   int64  // that they have
	Held     uint64 // that have begun to wait
	Refused  uint64 // that found no room
	TimedOut uint64 // that have waited in vain
}

// under returns h, or a new one if it is nil, under another spec.
func (h *hold) under(spec Holding) *hold {
	if h == nil {
		return &hold{spec, new(holdCounts)}
	}
	return &hold{spec, h.holdCounts}
}

// Hold has requests held for pools, by their names. It is to be called before t is used;
// what waits under prev counts on.
func (t *Table) Hold(holding map[string]Holding, prev *Table) {
	before := map[string]*hold{}
	if prev != nil {
		for i, p := range prev.pools {
			before[p.Name()] = prev.holds[i]
		}
	}
	for i, p := range t.pools {
		if spec, has := holding[p.Name()]; has {
			t.holds[i] = before[p.Name()].under(spec)
		}
	}
}

// Waiting returns how many requests wait for a member of a pool.
func (t *Table) Waiting(pool string) int {
	for i, h := range t.holds {
		if h != nil && t.pools[i].Name() == pool {
			return int(h.waiting.Load())
		}
	}
	return 0
}

// Holds returns the counters of the pools whose requests are held.
func (t *Table) Holds() (all []HoldCounters) {
	for i, h := range t.holds {
		if h != nil {
			all = append(all, HoldCounters{
				Pool: t.pools[i].Name(), Waiting: h.waiting.Load(), Octets: h.octets.Load(),
				Held: h.held.Load(), Refused: h.refused.Load(), TimedOut: h.timeouts.Load(),
			})
		}
	}
	return all
}

// goneInterval is how often is looked whether a client that waits is still there.
const goneInterval = time.Second

// retryAfter is when a client may try again that was not held: a start takes some time.
const retryAfter = 5

// awaitMember holds a request until a member of its pool can be picked. The refusal says
// why it is held no longer, or why not at all.
func (c *client) awaitMember(x *exchange) refusal {
	refused := refusal{status: 503, kind: "destination_unavailable", text: "no member of the pool takes requests"}
	h := x.table.holds[x.index]
	if h == nil || len(x.pool.View().Eligible) > 0 {
		return refused
	}
	refused.after = retryAfter
	octets := int64(len(x.in) + len(x.back) + cap(x.head))
	defer h.leave(octets)
	if !h.enter(octets) {
		h.refused.Add(1)
		refused.text = "no member of the pool is up yet, and too many requests wait for one"
		return refused
	}
	h.held.Add(1)
	c.deadline.Store(0)
	began := time.Now()
	defer func() { x.choice.held += time.Since(began) }()
	end, look := time.NewTimer(h.spec.Time-x.choice.held), time.NewTicker(goneInterval)
	defer end.Stop()
	defer look.Stop()
	for {
		// First the channel, then the look: what changes in between closes it.
		changed := x.pool.Load().Changed()
		passed := x.chain
		if r := c.findRoute(x); r.isSet() { // a reload may have another pool for it
			return r
		}
		if x.chain != passed {
			refused.text = "the filters of the route have changed while the request waited"
			return refused
		}
		if len(x.pool.View().Eligible) > 0 {
			return refusal{}
		}
		h.spec.Wake()
		select {
		case <-changed:
		case <-look.C:
			if c.wire.isGone() {
				return gone("the client closed the connection while it waited for a member of the pool")
			}
		case <-end.C:
			h.timeouts.Add(1)
			refused.text = fmt.Sprintf("no member of the pool came up within %v", h.spec.Time)
			return refused
		case <-c.server.closing:
			refused.text, refused.close = "the gateway is being shut down", true
			return refused
		}
	}
}

// enter counts a request in, and reports whether there is room for it. It is to be
// followed by leave.
func (h *hold) enter(octets int64) bool {
	waiting, all := h.waiting.Add(1), h.octets.Add(octets)
	return waiting <= int64(h.spec.Requests) && all <= h.spec.Octets
}

func (h *hold) leave(octets int64) {
	h.waiting.Add(-1)
	h.octets.Add(-octets)
}
