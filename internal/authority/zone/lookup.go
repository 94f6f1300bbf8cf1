package zone

import (
	"pharos/internal/dns/dnsname"
)

// Found is where a name falls in a zone. Everything that can be answered follows
// from it (RFC 1034 §4.3.2, RFC 4592 §3.3). A zero Node means there is none.
type Found struct {
	// Exact is the node of the name itself.
	Exact Node
	// Encloser is the closest encloser: the longest existing ancestor of the name,
	// the name itself included. It is zero only for a name outside the zone.
	Encloser Node
	// Cut is the topmost zone cut at or above the name. If it is set, the zone is
	// not authoritative for the name (except for DS at the cut itself).
	Cut Node
	// DNAME is the topmost node above the name, not the name itself, that has a
	// DNAME record and is not below a zone cut. At most one of Cut and DNAME is set:
	// what the higher one hides does not count.
	DNAME Node
	// Wildcard is the source of synthesis, the child "*" of the closest encloser,
	// for a name that has no node and is not right below a zone cut.
	Wildcard Node
}

// Lookup finds where n falls in the zone. It costs one pass over the labels of n
// and one probe for a name that exists; for another, a second pass and at most
// seven more probes. No name costs more than the deepest one of the zone,
// however many labels it has (RFC 1035 allows 127).
func (z *Zone) Lookup(n dnsname.Name) (f Found) {
	z.Locate(n, &f)
	return f
}

// Locate is Lookup into f, which is zero.
func (z *Zone) Locate(n dnsname.Name, f *Found) {
	wire := n.Wire()
	var starts [dnsname.MaxLabels + 1]uint8
	labels, ok := splitBelow(wire, z.origin.Wire(), &starts)
	if !ok {
		return
	}
	if labels > int(z.depth) {
		z.foundAbove(wire, &starts, labels, f)
		return
	}
	hash, end := z.originHash, len(wire)-z.origin.Len()
	for i := labels - 1; i >= 0; i-- {
		start := int(starts[i&dnsname.MaxLabels])
		hash = hashLabel(hash, wire[start:end])
		end = start
	}
	if node := z.probe(hash, wire); node != 0 {
		f.Exact, f.Encloser = node, node
		f.Cut, f.DNAME = z.coverOf(z.cover(node))
		return
	}
	z.foundAbove(wire, &starts, labels, f)
}

// At is what Lookup finds for the name of n.
func (z *Zone) At(n Node) Found {
	cut, dname := z.coverOf(z.cover(n))
	return Found{Exact: n, Encloser: n, Cut: cut, DNAME: dname}
}

// foundAbove describes a name that has no node, given the starts of its labels
// below the origin. All ancestors of a node are nodes, so the closest encloser
// is found by bisection over the number of labels.
func (z *Zone) foundAbove(wire string, starts *[dnsname.MaxLabels + 1]uint8, labels int, f *Found) {
	encloser, low, high := apex, 0, min(labels, int(z.depth)+1) // the ancestor with low labels exists, that with high does not
	var few [fewLabels]uint64
	hashes := few[:] // of the ancestor with so many labels below the origin
	if high > fewLabels {
		var many [dnsname.MaxLabels + 1]uint64
		hashes = many[:]
	}
	hash, end := z.originHash, len(wire)-z.origin.Len()
	for depth := 1; depth < high; depth++ {
		start := int(starts[labels-depth])
		hash = hashLabel(hash, wire[start:end])
		hashes[depth], end = hash, start
	}
	for high-low > 1 {
		middle := (low + high) / 2
		if node := z.probe(hashes[middle], wire[starts[labels-middle]:]); node != 0 {
			encloser, low = node, middle
		} else {
			high = middle
		}
	}
	cover := z.cover(encloser)
	if cover == 0 && z.HasDNAME(encloser) {
		cover = encloser
	}
	f.Encloser, f.Wildcard = encloser, z.wildcard(encloser)
	f.Cut, f.DNAME = z.coverOf(cover)
}

// coverOf returns a cover as what it is.
func (z *Zone) coverOf(cover Node) (cut, dname Node) {
	switch {
	case cover == 0:
		return 0, 0
	case z.IsCut(cover):
		return cover, 0
	}
	return 0, cover
}

// splitBelow fills starts with the offset of each label of wire that stands left
// of origin, leftmost first, and returns their number. ok is false if wire is
// not at or below origin.
func splitBelow(wire, origin string, starts *[dnsname.MaxLabels + 1]uint8) (labels int, ok bool) {
	end := len(wire) - len(origin)
	if end < 0 || wire[end:] != origin {
		return 0, false
	}
	at := 0
	for at < end {
		starts[labels&dnsname.MaxLabels] = uint8(at)
		labels++
		at += 1 + int(wire[at])
	}
	return labels, at == end
}

// fewLabels is how many labels few zones have more of below their origin. Room for all
// that a name can have would take as long to clear as the search takes.
const fewLabels = 8

// probe returns the node with the name wire, of which hash is the hash.
//
// The table is open addressing with linear probing, at most loadPercent full. A
// slot is zero, or has the low half of a name's hash above the Node; the upper
// half of the hash chose where to begin. So a probe reads a node only when it is
// very likely the right one, and in most cases touches one cache line before it.
func (z *Zone) probe(hash uint64, wire string) Node {
	n := z.inTable(hash, wire)
	if z.over == nil {
		return n
	}
	if n == 0 {
		n = z.inOverlay(hash, wire)
	}
	if n == 0 || z.over.isGone(n) || z.flags(n)&flagHash != 0 {
		return 0
	}
	return n
}

// inTable returns the node with the name wire, be it gone.
func (z *Zone) inTable(hash uint64, wire string) Node {
	for i := slotOf(hash, len(z.table)); ; {
		slot := z.table[i]
		if slot == 0 {
			return 0
		}
		if uint32(slot>>32) == uint32(hash) {
			if n := Node(slot); z.Name(n).Wire() == wire {
				return n
			}
		}
		if i++; i == len(z.table) {
			i = 0
		}
	}
}

// inOverlay returns the node with the name wire that the table has not, be it gone.
func (z *Zone) inOverlay(hash uint64, wire string) Node {
	names := &z.over.names
	if len(names.pages) == 0 {
		return 0
	}
	for i := names.start(uint32(hash)); ; i = names.next(i) {
		slot := names.at(i)
		if slot == 0 {
			return 0
		}
		if uint32(slot>>32) == uint32(hash) {
			if n := Node(slot); z.Name(n).Wire() == wire {
				return n
			}
		}
	}
}

// loadPercent is how full the table is. Linear probing needs 1.8 slots on
// average for a hit and 3.6 for a miss at 60 %, within one cache line of eight.
const loadPercent = 60

// newTable returns an empty table for so many names, with at least one slot to
// spare, at which every probe ends.
func newTable(names int) []uint64 { return make([]uint64, tableSlots(names)) }

func tableSlots(names int) int { return names*100/loadPercent + 1 }

// insert adds a node to a table that has room.
func insert(table []uint64, hash uint64, n uint32) {
	i := slotOf(hash, len(table))
	for table[i] != 0 {
		if i++; i == len(table) {
			i = 0
		}
	}
	table[i] = hash<<32 | uint64(n)
}
