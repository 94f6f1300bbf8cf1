// Package bygone keeps what is over in bounded memory, for whoever asks what became of one
// request or connection. It knows neither: what is kept says its id, and when it began.
//
//	unusual -> Admits: fewer than maxUnusual in this second? -> one half of the memory
//	usual, of which its owner takes a sample                 -> the other half
//
// Entry points: New; Ring.Admits, Ring.Keep, Ring.Find, Ring.Text.
//
// Concurrency: a Ring may be used from anywhere. Nobody waits for anybody. The nil Ring keeps
// nothing.
package bygone

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Age is for how long something is kept at most: for as long as somebody asks about it.
const Age = 24 * time.Hour

// maxUnusual is how many that are unusual are kept in a second: to tell of one takes a
// microsecond, and attacks are thousands in a second that are all alike.
const maxUnusual = 1000

// Kind is what a Ring keeps.
type Kind[T any] struct {
	Name   string                                // in the plural
	Octets int                                   // that one takes, about, at most
	Told   func(*T) (id string, began time.Time) // of one that is kept
}

// Ring keeps what is over: half of its memory is for what was unusual, half for a sample of the
// others, so that neither drives the other out. Make it with New.
type Ring[T any] struct {
	kind           Kind[T]
	unusual, usual part[T]
	second, count  atomic.Int64 // of Admits
}

type part[T any] struct {
	next  atomic.Uint64 // number of the next one
	slots []atomic.Pointer[T]
}

// New returns a Ring of so much memory.
func New[T any](octets int, kind Kind[T]) *Ring[T] {
	each := octets / 2 / kind.Octets
	if each <= 0 {
		return nil
	}
	r := &Ring[T]{kind: kind}
	r.unusual.slots, r.usual.slots = make([]atomic.Pointer[T], each), make([]atomic.Pointer[T], each)
	return r
}

// Admits reports whether there is room in this second for another one that was unusual, and takes
// it. now is by any clock.
func (r *Ring[T]) Admits(now time.Duration) bool {
	second := int64(now / time.Second)
	if r.second.Swap(second) != second {
		r.count.Store(0)
	}
	return r.count.Add(1) <= maxUnusual
}

// Keep keeps q, which is not changed from then on.
func (r *Ring[T]) Keep(q *T, unusual bool) {
	p := &r.usual
	if unusual {
		p = &r.unusual
	}
	p.slots[p.next.Add(1)%uint64(len(p.slots))].Store(q)
}

// Find returns the last one with an id that is kept; nil if there is none.
func (r *Ring[T]) Find(id string, now time.Time) (found *T) {
	var latest time.Time
	r.each(now, func(q *T) {
		if its, began := r.kind.Told(q); its == id && (found == nil || latest.Before(began)) {
			found, latest = q, began
		}
	})
	return found
}

func (r *Ring[T]) each(now time.Time, f func(*T)) {
	if r == nil {
		return
	}
	for _, p := range []*part[T]{&r.unusual, &r.usual} {
		for i := range p.slots {
			q := p.slots[i].Load()
			if q == nil {
				continue
			}
			if _, began := r.kind.Told(q); now.Sub(began) <= Age {
				f(q)
			}
		}
	}
}

// Text says in a line what is kept.
func (r *Ring[T]) Text(now time.Time) string {
	if r == nil {
		return "nothing is kept"
	}
	count, oldest := 0, now
	r.each(now, func(q *T) {
		count++
		if _, began := r.kind.Told(q); began.Before(oldest) {
			oldest = began
		}
	})
	if count == 0 {
		return "no " + r.kind.Name + " are kept"
	}
	return fmt.Sprintf("%d %s are kept since %s, of at most %d", count, r.kind.Name, oldest.UTC().Format(time.DateTime), len(r.unusual.slots)+len(r.usual.slots))
}
