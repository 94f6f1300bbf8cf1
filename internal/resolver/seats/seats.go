// Package seats is a map from numbers that were given out one after the other, which is how
// exchanges and questions are known, to what has them.
//
// It owns a table in which a number's seat is its remainder: numbers that are given out
// together lie beside each other, and are mostly gone when the next for their seats come. One
// that stays for longer than that has a built-in map take the next in, which would cost
// several times as much for all: it scatters them.
//
// Entry points: Table.Get, Put, Delete, All, Len.
//
// Concurrency: none; as a map.
package seats

import "iter"

// Table maps numbers but 0 to values. The zero Table is empty.
//
// Invariant: a number is in its seat or in over, not in both.
// Invariant: at most a quarter of the seats are taken.
type Table[T any] struct {
	seats []seat[T]    // a power of two
	over  map[uint64]T // whose seat another has, or had
	count int
}

type seat[T any] struct {
	number uint64 // 0: free
	value  T
}

const fewest = 64

func (t *Table[T]) seat(number uint64) *seat[T] { return &t.seats[number&uint64(len(t.seats)-1)] }

// Get returns the value of a number; the zero T if it has none.
func (t *Table[T]) Get(number uint64) T {
	if len(t.seats) > 0 {
		if s := t.seat(number); s.number == number {
			return s.value
		}
	}
	return t.over[number]
}

// Has reports whether a number has a value.
func (t *Table[T]) Has(number uint64) bool {
	if len(t.seats) > 0 && number != 0 && t.seat(number).number == number {
		return true
	}
	_, has := t.over[number]
	return has
}

// Put gives a number a value. It must not be 0.
func (t *Table[T]) Put(number uint64, value T) {
	if number == 0 {
		panic("BUG: number 0 stands for a free seat")
	}
	if 4*t.count >= len(t.seats) {
		t.grow()
	}
	if !t.Has(number) {
		t.count++
	}
	t.place(number, value)
}

func (t *Table[T]) place(number uint64, value T) {
	s := t.seat(number)
	_, isOver := t.over[number]
	if !isOver && (s.number == 0 || s.number == number) {
		*s = seat[T]{number, value}
		return
	}
	if t.over == nil {
		t.over = make(map[uint64]T)
	}
	t.over[number] = value
}

func (t *Table[T]) grow() {
	old, over := t.seats, t.over
	t.seats, t.over = make([]seat[T], max(fewest, 2*len(old))), nil
	for _, s := range old {
		if s.number != 0 {
			t.place(s.number, s.value)
		}
	}
	for number, value := range over {
		t.place(number, value)
	}
}

// Delete takes a number's value away.
func (t *Table[T]) Delete(number uint64) {
	if !t.Has(number) {
		return
	}
	t.count--
	if s := t.seat(number); s.number == number {
		*s = seat[T]{}
		return
	}
	delete(t.over, number)
}

// Len returns how many numbers have a value.
func (t *Table[T]) Len() int { return t.count }

// All visits all of them in some order. Nothing may be put or deleted meanwhile.
func (t *Table[T]) All() iter.Seq2[uint64, T] {
	return func(yield func(uint64, T) bool) {
		for _, s := range t.seats {
			if s.number != 0 && !yield(s.number, s.value) {
				return
			}
		}
		for number, value := range t.over {
			if !yield(number, value) {
				return
			}
		}
	}
}
