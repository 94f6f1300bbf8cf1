package l4proxy

import "sync/atomic"

// crew is goroutines that do one thing after the other. What a connection does takes more stack than a goroutine
// begins with: to find that out anew, page by page, costs more than all else that a short connection takes of this
// program.
type crew struct {
	jobs chan func()     // never closed
	stop <-chan struct{} // ends those that wait
	idle atomic.Int32
}

// mostIdle is how many goroutines wait for something to do at most: some 8 KiB each. Two of them carry a
// connection, and of short ones few are there at once.
const mostIdle = 128

func newCrew(stop <-chan struct{}) *crew { return &crew{jobs: make(chan func()), stop: stop} }

// do has job done by a goroutine of its own, as go would.
func (c *crew) do(job func()) {
	select {
	case c.jobs <- job:
	default:
		go c.work(job) // ends when too many are idle, or with stop
	}
}

func (c *crew) work(job func()) {
	for {
		job()
		if c.idle.Add(1) > mostIdle {
			c.idle.Add(-1)
			return
		}
		select {
		case job = <-c.jobs:
			c.idle.Add(-1)
		case <-c.stop:
			return
		}
	}
}
