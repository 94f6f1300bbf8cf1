// Package offheap gives out memory that the garbage collector does not know of. What
// lies there is neither looked through nor counted when the collector decides how much
// garbage there may be beside what lives: on the heap, an octet that stays takes up to
// two.
//
// It owns the memory: what is given back, and all when the Arena is unreachable, goes to
// the system. It does not own what lies there, and must not hold Go pointers.
//
// Entry points: New; Arena.Take, Give, Taken.
//
// Concurrency: every method may be called from any goroutine. What Take returned must
// not be touched after Give, nor when the Arena cannot be reached any more: who holds
// the one has to hold the other.
package offheap

import (
	"runtime"
	"sync"
)

// slabOctets is what is asked of the system at once: 4 MiB, two huge pages, so that a
// large cache is some hundreds of mappings, of which the system allows 65,530.
const slabOctets = 4 << 20

// Arena is memory outside of the heap. Make it with New.
type Arena struct {
	slabs *slabs // constant

	mu    sync.Mutex // guards all below; no other lock is taken under it
	rest  []byte     // of the newest slab
	free  map[int][][]byte
	taken int
}

// slabs is what an Arena has from the system; it outlives the Arena for as long as it
// takes to give it back.
type slabs struct{ mapped [][]byte }

// New returns an Arena without memory.
func New() *Arena {
	a := &Arena{slabs: &slabs{}, free: make(map[int][][]byte)}
	runtime.AddCleanup(a, func(s *slabs) {
		for _, b := range s.mapped {
			unmap(b)
		}
	}, a.slabs)
	return a
}

// Take returns so many octets, in any state. They are of the heap if they are more than
// a slab, or if the system has none to give.
func (a *Arena) Take(octets int) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.taken += octets
	if list := a.free[octets]; len(list) > 0 {
		b := list[len(list)-1]
		a.free[octets] = list[:len(list)-1]
		return b
	}
	if octets > len(a.rest) {
		slab, err := newSlab(octets)
		if err != nil {
			return make([]byte, octets)
		}
		a.slabs.mapped = append(a.slabs.mapped, slab)
		a.rest = slab
	}
	b := a.rest[:octets:octets]
	a.rest = a.rest[octets:]
	return b
}

// Give takes back what Take returned, and lets the system have its pages.
func (a *Arena) Give(b []byte) {
	discard(b)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.taken -= len(b)
	a.free[len(b)] = append(a.free[len(b)], b)
}

// Taken returns how many octets are given out.
func (a *Arena) Taken() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.taken
}
