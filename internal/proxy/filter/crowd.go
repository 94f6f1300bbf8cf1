package filter

import (
	"fmt"
	"sync"
	"time"

	"pharos/internal/proxy/queue"
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
// Invariant: lines has the keys that have requests under way, so that it is bounded by these;
// who waits under a key waits for one of them.
type crowd struct {
	spec   *Crowd
	bounds queue.Bounds
	key    keyer

	mu    sync.Mutex
	lines map[uint64]*queue.Line
}

// Ticket is a request that waits for its turn, no longer than Wait.
type Ticket struct {
	*queue.Ticket
	Wait time.Duration
	of   *crowd
	key  uint64
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
	out := &crowd{spec: c, bounds: queue.Bounds{Most: c.Most, Queue: c.Queue, Wait: c.Wait}, lines: map[uint64]*queue.Line{}}
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
	line := c.lines[key]
	if line == nil {
		line = new(queue.Line)
	}
	if p.explains {
		p.note("%d of %d requests are under way for its key, and %d of %d wait", line.Inside(), c.spec.Most, line.Waiting(), c.spec.Queue)
		return Verdict{}
	}
	t, isIn := line.Enter(&c.bounds, p.Now)
	switch {
	case isIn:
		c.lines[key] = line
		p.entered = append(p.entered, entry{c, key})
		return Verdict{}
	case t == nil:
		return c.full("too many requests are under way")
	}
	return Verdict{Waits: &Ticket{Ticket: t, Wait: c.spec.Wait, of: c, key: key}}
}

// leave gives the place of a request of that key to one that waits.
func (c *crowd) leave(key uint64, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lines[key].Leave(&c.bounds, now) {
		delete(c.lines, key)
	}
}

// Enter ends the wait of t for p, when Ready is closed or its time is over. The verdict says
// whether it is let in; then the chain goes on (Chain.Resume).
func (t *Ticket) Enter(p *Pass) Verdict {
	c := t.of
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.IsRefused() {
		return c.full("too many requests are under way, and newer ones go first under overload")
	}
	if !c.lines[t.key].GiveUp(t.Ticket) {
		return c.full("too many requests are under way, and none ended in time")
	}
	p.entered = append(p.entered, entry{c, t.key})
	return Verdict{}
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
