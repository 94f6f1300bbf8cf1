package filter

import (
	"fmt"
	"sync"
	"time"
)

// Crowd bounds how many requests of one key are under way at once. Others wait in a queue of
// bounded length and time.
type Crowd struct {
	Key   []string // parts, see compileKey
	Most  int      // under way at once
	Queue int      // that wait, of one key
	Wait  time.Duration
}

// crowd is a compiled Crowd.
//
// Who waits is served in turn. Once there has been a queue for longer than the longest wait,
// there is more to do than can be done: those at its front have waited so long that their
// clients are about to give up, and serving them helps nobody. From then on the newest is
// served first, and for a new one that finds the queue full the oldest is refused (adaptive
// LIFO, Maurer, "Fail at Scale", ACM Queue 13 (8), 2015), until the queue is empty again.
//
// Invariant: gates has the keys that have requests under way, so that it is bounded by these;
// who waits under a key waits for one of them.
type crowd struct {
	spec *Crowd
	key  keyer

	mu    sync.Mutex
	gates map[uint64]*gate
}

// gate is the requests of one key.
type gate struct {
	inside  int
	waiting []*Ticket // oldest first
	since   time.Time // when the first of a queue that is there began to wait
}

// Ticket is a request that waits. Its fields are guarded by the crowd's mu; Ready is closed
// when it is let in, or refused.
type Ticket struct {
	Ready   chan struct{}
	Wait    time.Duration
	of      *crowd
	key     uint64
	refused bool
	done    bool // let in or refused
}

// compile makes a crowd anew: what is under way in the one before leaves by that, so that a
// change of the filter lets at most as many in again for a while.
func (c *Crowd) compile() (*crowd, error) {
	switch {
	case c.Most <= 0:
		return nil, fmt.Errorf("concurrency: want how many requests may be under way, as in most: 100")
	case c.Queue > 0 && c.Wait <= 0:
		return nil, fmt.Errorf("concurrency: want how long requests wait in the queue, as in wait: 1s")
	}
	out := &crowd{spec: c, gates: map[uint64]*gate{}}
	var err error
	if out.key, err = compileKey(c.Key); err != nil {
		return nil, fmt.Errorf("concurrency: %w", err)
	}
	return out, nil
}

// full is what a request is told that finds no room.
func (c *crowd) full(text string) Verdict {
	return Verdict{Status: 503, Kind: "connection_limit_reached", Text: text, After: seconds(c.spec.Wait)}
}

func (c *crowd) decide(p *Pass) Verdict {
	key := c.key.of(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.gates[key]
	if p.explains {
		inside, waiting := 0, 0
		if g != nil {
			inside, waiting = g.inside, len(g.waiting)
		}
		p.note("%d of %d requests are under way for its key, and %d of %d wait", inside, c.spec.Most, waiting, c.spec.Queue)
		return Verdict{}
	}
	switch {
	case g == nil:
		c.gates[key] = &gate{inside: 1}
	case g.inside < c.spec.Most:
		g.inside++
	default:
		return c.queue(g, key, p)
	}
	p.entered = append(p.entered, entry{c, key})
	return Verdict{}
}

// queue has a request wait, or refuses it.
func (c *crowd) queue(g *gate, key uint64, p *Pass) Verdict {
	if len(g.waiting) >= c.spec.Queue {
		if len(g.waiting) == 0 || !c.isOverloaded(g, p.Now) {
			return c.full("too many requests are under way")
		}
		oldest := g.waiting[0]
		g.waiting = g.waiting[1:]
		oldest.refused, oldest.done = true, true
		close(oldest.Ready)
	}
	if len(g.waiting) == 0 {
		g.since = p.Now
	}
	t := &Ticket{Ready: make(chan struct{}), Wait: c.spec.Wait, of: c, key: key}
	g.waiting = append(g.waiting, t)
	return Verdict{Waits: t}
}

func (c *crowd) isOverloaded(g *gate, now time.Time) bool { return now.Sub(g.since) > c.spec.Wait }

// leave gives the place of a request of that key to one that waits.
func (c *crowd) leave(key uint64, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.gates[key]
	if len(g.waiting) == 0 {
		if g.inside--; g.inside == 0 {
			delete(c.gates, key)
		}
		return
	}
	at := 0
	if c.isOverloaded(g, now) {
		at = len(g.waiting) - 1
	}
	next := g.waiting[at]
	g.waiting = append(g.waiting[:at], g.waiting[at+1:]...)
	next.done = true
	close(next.Ready)
}

// Enter ends the wait of t for p, when Ready is closed or its time is over. The verdict says
// whether it is let in; then the chain goes on (Chain.Resume).
func (t *Ticket) Enter(p *Pass) Verdict {
	c := t.of
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case t.done && !t.refused:
		p.entered = append(p.entered, entry{c, t.key})
		return Verdict{}
	case t.refused:
		return c.full("too many requests are under way, and newer ones go first under overload")
	}
	g := c.gates[t.key]
	for i, other := range g.waiting {
		if other == t {
			g.waiting = append(g.waiting[:i], g.waiting[i+1:]...)
			break
		}
	}
	t.done, t.refused = true, true
	return c.full("too many requests are under way, and none ended in time")
}

// entry is a crowd that a request is in.
type entry struct {
	crowd *crowd
	key   uint64
}

// IsInside reports whether p is counted for anything.
func (p *Pass) IsInside() bool { return len(p.entered) > 0 }

// Leave ends what p is counted for. It is to be called when the request has ended.
func (p *Pass) Leave(now time.Time) {
	for _, e := range p.entered {
		e.crowd.leave(e.key, now)
	}
	p.entered = p.entered[:0]
}
