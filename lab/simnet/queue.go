package simnet

import (
	"container/heap"
	"time"
)

// Timer is an event to come. The zero Timer is one that is over.
type Timer struct{ event *event }

// Stop keeps the event from happening; it may be called at any time.
func (t Timer) Stop() {
	if t.event != nil {
		t.event.fire = nil
	}
}

// event is something that happens at a time. Events of one time happen in the
// order in which they were made, which is what makes a run repeatable.
type event struct {
	at   time.Time
	seq  uint64
	fire func() // nil when stopped
}

// queue holds the events to come, the next one first.
type queue struct {
	events eventHeap
	made   uint64
}

func (q *queue) add(at time.Time, fire func()) Timer {
	q.made++
	e := &event{at: at, seq: q.made, fire: fire}
	heap.Push(&q.events, e)
	return Timer{e}
}

// next returns the next event that has not been stopped, without taking it.
func (q *queue) next() *event {
	for len(q.events) > 0 {
		if e := q.events[0]; e.fire != nil {
			return e
		}
		heap.Pop(&q.events)
	}
	return nil
}

func (q *queue) take() { heap.Pop(&q.events) }

// eventHeap is ordered by time, then by sequence.
type eventHeap []*event

func (h eventHeap) Len() int      { return len(h) }
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h eventHeap) Less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].seq < h[j].seq
}
func (h *eventHeap) Push(x any) { *h = append(*h, x.(*event)) }
func (h *eventHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}

// At calls f when the clock reaches t; at once in the run if t is past.
func (n *Network) At(t time.Time, f func()) Timer {
	if t.Before(n.now) {
		t = n.now
	}
	return n.events.add(t, f)
}

// After calls f when d has passed.
func (n *Network) After(d time.Duration, f func()) Timer { return n.At(n.now.Add(d), f) }

// Step moves the clock to the next event and lets it happen. It reports whether
// there was one.
func (n *Network) Step() bool {
	e := n.events.next()
	if e == nil {
		return false
	}
	n.events.take()
	n.now = e.at
	e.fire()
	return true
}

// Run lets events happen until none is left, but at most limit of them; the
// limit is there to end a test in which two ends talk forever. It reports
// whether the network came to rest.
func (n *Network) Run(limit int) bool {
	for range limit {
		if !n.Step() {
			return true
		}
	}
	return n.events.next() == nil
}

// RunUntil lets every event up to and including t happen, and leaves the clock
// at t.
func (n *Network) RunUntil(t time.Time) {
	for e := n.events.next(); e != nil && !e.at.After(t); e = n.events.next() {
		n.Step()
	}
	if n.now.Before(t) {
		n.now = t
	}
}
