// Package queue bounds how many requests are under way at once, and has others wait for their
// turn, in a queue of bounded length.
//
// It owns who goes in, who waits and who is refused. It does not own waiting itself, nor
// whose requests are counted together (packages filter and breaker).
//
// Who waits is served in turn. Once there has been a queue for longer than the longest wait,
// there is more to do than can be done: those at its front have waited so long that their
// clients are about to give up, and serving them helps nobody. From then on the newest is
// served first, and for a new one that finds the queue full the oldest is refused (adaptive
// LIFO, Maurer, "Fail at Scale", ACM Queue 13 (8), 2015), until the queue is empty again.
//
// Entry points: Line.Enter, Line.Leave, Line.GiveUp.
//
// Concurrency: a Line is guarded by the lock of its owner, as are the fields of its Tickets;
// Ready may be waited for without it.
package queue

import "time"

// Bounds are those of a Line.
type Bounds struct {
	Most  int           // under way at once
	Queue int           // that wait
	Wait  time.Duration // the longest
}

// Line is requests that are under way, and those that wait. The zero Line is empty.
type Line struct {
	inside  int
	waiting []*Ticket // oldest first
	since   time.Time // when the first of a queue that is there began to wait
}

// Ticket is a request that waits.
type Ticket struct {
	Ready   chan struct{} // closed when it is let in, or refused
	refused bool
	done    bool // let in or refused
}

// IsRefused reports whether the request was refused while it waited.
func (t *Ticket) IsRefused() bool { return t.refused }

// Inside returns how many requests are under way.
func (l *Line) Inside() int { return l.inside }

// Waiting returns how many wait.
func (l *Line) Waiting() int { return len(l.waiting) }

// Enter lets a request in (and is followed by Leave), has it wait, with a ticket (and is
// followed by GiveUp), or refuses it.
func (l *Line) Enter(b *Bounds, now time.Time) (t *Ticket, isIn bool) {
	if l.inside < b.Most {
		l.inside++
		return nil, true
	}
	if len(l.waiting) >= b.Queue {
		if len(l.waiting) == 0 || !l.isOverloaded(b, now) {
			return nil, false
		}
		oldest := l.waiting[0]
		l.waiting = l.waiting[1:]
		oldest.refused, oldest.done = true, true
		close(oldest.Ready)
	}
	if len(l.waiting) == 0 {
		l.since = now
	}
	t = &Ticket{Ready: make(chan struct{})}
	l.waiting = append(l.waiting, t)
	return t, false
}

func (l *Line) isOverloaded(b *Bounds, now time.Time) bool { return now.Sub(l.since) > b.Wait }

// Leave gives the place of a request that has ended to one that waits, and reports whether
// nobody is under way any more.
func (l *Line) Leave(b *Bounds, now time.Time) (isEmpty bool) {
	if len(l.waiting) == 0 {
		l.inside--
		return l.inside == 0
	}
	at := 0
	if l.isOverloaded(b, now) {
		at = len(l.waiting) - 1
	}
	next := l.waiting[at]
	l.waiting = append(l.waiting[:at], l.waiting[at+1:]...)
	next.done = true
	close(next.Ready)
	return false
}

// GiveUp ends the wait of t, when Ready is closed or its time is over, and reports whether it
// is let in, and has to leave.
func (l *Line) GiveUp(t *Ticket) (isIn bool) {
	if t.done {
		return !t.refused
	}
	for i, other := range l.waiting {
		if other == t {
			l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
			break
		}
	}
	t.done, t.refused = true, true
	return false
}
