package zone

import (
	"slices"
	"sync/atomic"
)

// overlay is what an edited zone has in front of the arena that it shares with the
// zone before it: the nodes that are new or changed, written as in the arena.
//
// A Node stays what a name is called by, for as long as versions share an arena:
// everything that refers to it (covers, wildcards, tables, chains) stays as it is
// when what the name has is written anew, elsewhere. Only who wants to know what a
// node has asks the overlay where that is now.
//
// Octets are only ever appended, by whoever claims the room behind what its version
// has, so that versions share them too. What is small is copied for each version.
type overlay struct {
	start  Node          // the first Node that is not in the arena
	octets []byte        // nodes from start on
	claim  *atomic.Int64 // octets that some version has, of the array behind octets
	moved  idTable       // where the nodes are that were written anew; 0 for those that are gone
	names  idTable       // by the low half of the hash of its name, a Node that the zone's table has not
	added  []Node        // in canonical order, all that are not in the arena, also when they are gone
	target []uint32      // further members of the zone's targets, in ascending order
}

// gone is the place of a node that does not exist any more.
const gone Node = 0

// goneNode is what such a node has: nothing.
var goneNode = [nodeName + 1]byte{nodeNameLen: 1}

// place returns where what n has now is: the memory and the offset in it.
func (o *overlay) place(arena []byte, n Node) (memory []byte, at int) {
	if p, ok := o.moved.get(uint32(n)); ok {
		n = Node(p)
	}
	switch {
	case n == gone:
		return goneNode[:], 0
	case n >= o.start:
		return o.octets, int(n-o.start) * nodeUnit
	}
	return arena, int(n) * nodeUnit
}

// isGone reports whether n does not exist any more.
func (o *overlay) isGone(n Node) bool {
	p, ok := o.moved.get(uint32(n))
	return ok && Node(p) == gone
}

// isMoved reports whether what n has was written anew, or n does not exist any more.
func (o *overlay) isMoved(n Node) bool {
	_, ok := o.moved.get(uint32(n))
	return ok
}

// extended returns the octets of o, which may be nil, with room for so many more,
// and whom that room must be claimed of. If another version has been made of o
// before, or there is no room, they are copied.
func (o *overlay) extended(more int) ([]byte, *atomic.Int64) {
	var octets []byte
	if o != nil {
		octets = o.octets
	}
	size := len(octets) + more
	if o != nil && size <= cap(octets) && o.claim.CompareAndSwap(int64(len(octets)), int64(size)) {
		return octets[:size], o.claim
	}
	claim := new(atomic.Int64)
	claim.Store(int64(size))
	return append(make([]byte, 0, size+size/2+minOverlay), octets...)[:size], claim
}

// minOverlay is how many octets an overlay has to spare at least when it is made:
// some small changes. The number is arbitrary.
const minOverlay = 1024

func (o *overlay) size() int {
	if o == nil {
		return 0
	}
	return cap(o.octets) + o.moved.sizeBytes() + o.names.sizeBytes() + 4*cap(o.added) + 4*cap(o.target)
}

// idTable is a hash table of numbers by numbers; key and value are not both zero. A
// key may have several values. It is in pages, so that a table that differs in few
// entries from another one shares most of its memory.
type idTable struct {
	pages []*idPage // each zero, or the key above the value; nil: all are zero
	own   []bool    // pages that no other table has, while this one is made
	count int
}

type idPage [idPageSlots]uint64

// idPageSlots is how many slots a page has: 1 KiB. For some ten thousand edits this
// number makes the least of the copies of one page and of the list of pages.
const idPageSlots = 128

func (t *idTable) slots() int { return len(t.pages) * idPageSlots }

func (t *idTable) sizeBytes() int { return (8*idPageSlots + 9) * len(t.pages) }

// start returns where to begin with a key.
func (t *idTable) start(key uint32) int { return slotOf(uint64(key)*mixA, t.slots()) }

// at returns a slot.
func (t *idTable) at(i int) uint64 {
	if page := t.pages[i/idPageSlots]; page != nil {
		return page[i%idPageSlots]
	}
	return 0
}

// next returns the slot behind i.
func (t *idTable) next(i int) int {
	if i++; i == t.slots() {
		return 0
	}
	return i
}

// get returns the first value of key.
func (t *idTable) get(key uint32) (value uint32, ok bool) {
	if len(t.pages) == 0 {
		return 0, false
	}
	for i := t.start(key); ; i = t.next(i) {
		slot := t.at(i)
		if slot == 0 {
			return 0, false
		}
		if uint32(slot>>32) == key {
			return uint32(slot), true
		}
	}
}

// with returns a table with the entries of t that has room for so many more.
func (t idTable) with(more int) idTable {
	if (t.count+more)*100 <= t.slots()*loadPercent {
		return idTable{pages: slices.Clone(t.pages), own: make([]bool, len(t.pages)), count: t.count}
	}
	pages := tableSlots(2*(t.count+more))/idPageSlots + 1
	next := idTable{pages: make([]*idPage, pages), own: make([]bool, pages)}
	for i := range t.slots() {
		if slot := t.at(i); slot != 0 {
			next.add(uint32(slot>>32), uint32(slot))
		}
	}
	return next
}

// put writes a slot of a table that nobody else has yet.
func (t *idTable) put(i int, slot uint64) {
	at := i / idPageSlots
	switch page := t.pages[at]; {
	case page == nil:
		t.pages[at], t.own[at] = new(idPage), true
	case !t.own[at]:
		copied := *page
		t.pages[at], t.own[at] = &copied, true
	}
	t.pages[at][i%idPageSlots] = slot
}

// add adds a value of key to a table that has room.
func (t *idTable) add(key, value uint32) {
	i := t.start(key)
	for t.at(i) != 0 {
		i = t.next(i)
	}
	t.put(i, uint64(key)<<32|uint64(value))
	t.count++
}

// set gives key one value, in a table that has room.
func (t *idTable) set(key, value uint32) {
	i := t.start(key)
	for ; t.at(i) != 0; i = t.next(i) {
		if uint32(t.at(i)>>32) == key {
			t.put(i, uint64(key)<<32|uint64(value))
			return
		}
	}
	t.put(i, uint64(key)<<32|uint64(value))
	t.count++
}
