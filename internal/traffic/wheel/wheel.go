// Package wheel holds many things by the time when they are due. It is a timing wheel:
// putting, moving and taking out cost the same among ten as among a million.
//
//	cursor
//	  v
//	[1ms][1ms][1ms] ... 8192 slots, some 8.6 s; what is due later lies in its slot, and
//	  |                 is passed over once a turn until its time has come
//	 items, in a ring
//
// It does not wait and starts nothing: Due gives what is due, Next says when to come
// again.
//
// Entry points: New, Wheel.Put, Wheel.Remove, Wheel.Due, Wheel.Next, Wheel.Shift.
//
// Concurrency: a Wheel and its Items belong to whoever holds them.
package wheel

import (
	"math/bits"
	"time"
)

const (
	tickBits = 20      // a tick is 2^20 ns, about a millisecond: finer would wake more often, coarser lengthen slots
	slots    = 1 << 13 // a turn is 8.6 s: most intervals fit in one
	words    = slots / 64
)

// Item is something that is due. The zero Item but for Value is in no Wheel. It must not
// be copied while it is in one.
type Item[T any] struct {
	Value T

	due        int64 // nanoseconds since Wheel.start
	prev, next *Item[T]
	slot       int // Invariant: meaningful while next is set
}

// IsIn reports whether i is in a Wheel.
func (i *Item[T]) IsIn() bool { return i.next != nil }

// Wheel holds Items. Make it with New.
type Wheel[T any] struct {
	start  time.Time
	cursor int64 // tick before which nothing is left; Invariant: no item lies in an earlier slot of this turn
	count  int
	heads  [slots]*Item[T]
	used   [words]uint64 // bit s: heads[s] is set
}

// New returns a Wheel for times from now on.
func New[T any](now time.Time) *Wheel[T] { return &Wheel[T]{start: now} }

// Len returns how many items there are.
func (w *Wheel[T]) Len() int { return w.count }

// Put puts i, which is in no Wheel, where it is due. What was due before now is due now.
func (w *Wheel[T]) Put(i *Item[T], due time.Time) {
	if i.IsIn() {
		panic("BUG: wheel: an item is put twice")
	}
	i.due = int64(due.Sub(w.start))
	i.slot = int(max(i.due>>tickBits, w.cursor) % slots)
	if head := w.heads[i.slot]; head == nil {
		i.prev, i.next = i, i
		w.heads[i.slot] = i
		w.used[i.slot/64] |= 1 << (i.slot % 64)
	} else {
		i.prev, i.next = head.prev, head
		head.prev.next, head.prev = i, i
	}
	w.count++
}

// Remove takes i out, if it is in.
func (w *Wheel[T]) Remove(i *Item[T]) {
	if !i.IsIn() {
		return
	}
	switch {
	case i.next == i:
		w.heads[i.slot] = nil
		w.used[i.slot/64] &^= 1 << (i.slot % 64)
	case w.heads[i.slot] == i:
		w.heads[i.slot] = i.next
	}
	i.prev.next, i.next.prev = i.next, i.prev
	i.prev, i.next = nil, nil
	w.count--
}

// DueAt returns when i is due.
func (w *Wheel[T]) DueAt(i *Item[T]) time.Time { return w.start.Add(time.Duration(i.due)) }

// Due takes out what is due and appends it to into.
func (w *Wheel[T]) Due(now time.Time, into []*Item[T]) []*Item[T] {
	elapsed := int64(now.Sub(w.start))
	last := elapsed >> tickBits
	for tick := w.cursor; tick <= last; tick++ {
		if tick-w.cursor == slots { // a whole turn has been looked at
			break
		}
		into = w.dueIn(int(tick%slots), elapsed, into)
	}
	w.cursor = max(w.cursor, last)
	return into
}

func (w *Wheel[T]) dueIn(slot int, elapsed int64, into []*Item[T]) []*Item[T] {
	i := w.heads[slot]
	if i == nil {
		return into
	}
	for end := i.prev; ; {
		next, isLast := i.next, i == end
		if i.due <= elapsed {
			w.Remove(i)
			into = append(into, i)
		}
		if isLast {
			return into
		}
		i = next
	}
}

// Next returns when something is due, and false if nothing is.
func (w *Wheel[T]) Next() (time.Time, bool) {
	if w.count == 0 {
		return time.Time{}, false
	}
	earliest := int64(1<<63 - 1)
	first := int(w.cursor % slots)
	for n := 0; n <= words; n++ { // the first word twice: its later bits, and its earlier ones at the end
		word := (first/64 + n) % words
		set := w.used[word]
		if n == 0 {
			set &^= 1<<(first%64) - 1
		} else if n == words {
			set &= 1<<(first%64) - 1
		}
		for ; set != 0; set &= set - 1 {
			slot := word*64 + bits.TrailingZeros64(set)
			tick := w.cursor + int64((slot-first+slots)%slots)
			if due := w.earliestIn(slot); due < earliest {
				earliest = due
			}
			if earliest>>tickBits <= tick {
				return w.start.Add(time.Duration(earliest)), true
			}
		}
	}
	return w.start.Add(time.Duration(earliest)), true
}

func (w *Wheel[T]) earliestIn(slot int) int64 {
	head := w.heads[slot]
	earliest := head.due
	for i := head.next; i != head; i = i.next {
		earliest = min(earliest, i.due)
	}
	return earliest
}

// Shift makes everything due by d later, or earlier if d is negative: for a clock that
// was set by d, when what is held are times to wait.
func (w *Wheel[T]) Shift(d time.Duration) { w.start = w.start.Add(d) }

// check panics if an invariant does not hold. Tests call it.
func (w *Wheel[T]) check() {
	count := 0
	for slot, head := range w.heads {
		if (head != nil) != (w.used[slot/64]>>(slot%64)&1 == 1) {
			panic("BUG: wheel: used does not say which slots are")
		}
		if head == nil {
			continue
		}
		for i := head; ; i = i.next {
			count++
			if i.next.prev != i || i.slot != slot || int(max(i.due>>tickBits, 0)%slots) != slot && i.due>>tickBits >= w.cursor {
				panic("BUG: wheel: a ring is broken, or an item lies in a slot of others")
			}
			if i.next == head {
				break
			}
		}
	}
	if count != w.count {
		panic("BUG: wheel: items are lost")
	}
}
