package outbound

import (
	"math/bits"
	"time"
)

// The wheel's measures. A timer is late by less than two ticks, which is little beside
// the shortest time that a server is given, and never early. What is due later than
// in one turn, 16 s, is put in again when its slot comes by: a question has 10 s.
const (
	tick  = 4 * time.Millisecond
	slots = 4096
)

// stopwatch is the time of a wheel: how long servers are waited for does not depend on
// the time of day.
type stopwatch struct{ began time.Time }

func newStopwatch() stopwatch { return stopwatch{time.Now()} }

func (s stopwatch) elapsed() time.Duration { return time.Since(s.began) }

// timer is one entry of a wheel; the zero timer is in none.
type timer struct {
	exchange   uint64
	due        int64 // tick at whose beginning it is over; 0: it is in no wheel
	slot       int
	prev, next *timer
}

// wheel has timers, in slots of one tick each. To put one in, to take one out and to
// find what is due costs the same however many there are. Times are those since
// some beginning. The zero wheel is empty.
//
// Invariant: a timer is in the slot of a tick after past, and no more than a turn
// after it; busy has the bits of the slots that have timers.
type wheel struct {
	heads [slots]*timer
	busy  [slots / 64]uint64
	past  int64 // all ticks up to this one have been looked at
	count int
}

// start has t, which is in no wheel, expire after d.
func (w *wheel) start(t *timer, now, d time.Duration) {
	t.due = max(int64((now+d+tick-1)/tick), w.past+1)
	w.insert(t)
}

func (w *wheel) insert(t *timer) {
	t.slot = int(min(t.due, w.past+slots) % slots)
	t.prev, t.next = nil, w.heads[t.slot]
	if t.next != nil {
		t.next.prev = t
	}
	w.heads[t.slot] = t
	w.busy[t.slot/64] |= 1 << (t.slot % 64)
	w.count++
}

// stop takes t out, if it is in.
func (w *wheel) stop(t *timer) {
	if t.due == 0 {
		return
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	if t.prev != nil {
		t.prev.next = t.next
	} else if w.heads[t.slot] = t.next; t.next == nil {
		w.busy[t.slot/64] &^= 1 << (t.slot % 64)
	}
	w.count--
	t.due, t.prev, t.next = 0, nil, nil
}

// expired takes out a timer that is over; nil: there is none.
func (w *wheel) expired(now time.Duration) *timer {
	upTo := int64(now / tick)
	for w.count > 0 {
		at := w.nextBusy()
		if at > upTo {
			break
		}
		w.past = at - 1
		t := w.heads[at%slots]
		due := t.due
		w.stop(t)
		if due <= upTo {
			return t
		}
		t.due = due
		w.insert(t)
	}
	w.past = max(w.past, upTo)
	return nil
}

// wait returns how long it is until a timer is over, or is to be put in again; ok is
// false when there is none.
func (w *wheel) wait(now time.Duration) (d time.Duration, ok bool) {
	if w.count == 0 {
		return 0, false
	}
	return max(0, time.Duration(w.nextBusy())*tick-now), true
}

// nextBusy returns the first tick after past whose slot has timers; there are some.
func (w *wheel) nextBusy() int64 {
	first := w.past + 1
	slot := int(first % slots)
	word := w.busy[slot/64] >> (slot % 64) << (slot % 64) // from there on
	for i := slot / 64; ; {
		if word != 0 {
			found := i*64 + bits.TrailingZeros64(word)
			return first + int64((found-slot+slots)%slots)
		}
		i = (i + 1) % (slots / 64)
		word = w.busy[i]
	}
}
