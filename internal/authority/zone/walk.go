package zone

import (
	"encoding/binary"
	"iter"
	"slices"

	"pharos/internal/dns/dnsname"
)

// Nodes returns all nodes of the zone in the canonical order of their names, empty
// non-terminals, glue and owners of NSEC3 records too.
func (z *Zone) Nodes() iter.Seq[Node] { return z.from(apex) }

// Below returns n and all nodes below it, in canonical order, in which they follow
// it (RFC 4034 §6.1).
func (z *Zone) Below(n Node) iter.Seq[Node] {
	return func(yield func(Node) bool) {
		top := z.Name(n)
		for next := range z.from(n) {
			if !z.Name(next).IsSubdomainOf(top) || !yield(next) {
				return
			}
		}
	}
}

// from returns n and all nodes behind it; if n was added by an edit, those that were
// added too, for the arena has nothing below it.
func (z *Zone) from(n Node) iter.Seq[Node] {
	if z.over != nil {
		return z.fromEdited(n)
	}
	return func(yield func(Node) bool) {
		for int(n)*nodeUnit < len(z.arena) {
			if !yield(n) {
				return
			}
			n = z.behind(n)
		}
	}
}

// behind returns the Node that comes after n in the arena.
func (z *Zone) behind(n Node) Node {
	return Node(roundUp(endOf(z.arena, int(n)*nodeUnit)) / nodeUnit)
}

// endOf returns where the node ends that begins at the offset at of memory.
func endOf(memory []byte, at int) int {
	left := binary.LittleEndian.Uint16(memory[at+nodeSets:])
	at += nodeName + int(memory[at+nodeNameLen])
	for ; left > 0; left-- {
		at += setHeader + int(binary.LittleEndian.Uint32(memory[at+8:]))
	}
	return at
}

// fromEdited is from for a zone with an overlay: of what the arena has and what was
// added, which comes first, but for what is gone.
func (z *Zone) fromEdited(n Node) iter.Seq[Node] {
	return func(yield func(Node) bool) {
		next, added := n, z.over.added[z.addedBefore(n):] // if n was added, next is behind the arena
		for {
			here := int(next)*nodeUnit < len(z.arena)
			if !here && len(added) == 0 {
				return
			}
			var now Node
			if here && (len(added) == 0 || z.Name(next).Compare(z.Name(added[0])) < 0) {
				now, next = next, z.behind(next)
			} else {
				now, added = added[0], added[1:]
			}
			if !z.over.isGone(now) && !yield(now) {
				return
			}
		}
	}
}

// addedBefore returns how many of the added nodes come before n.
func (z *Zone) addedBefore(n Node) int {
	name := z.Name(n)
	i, _ := slices.BinarySearchFunc(z.over.added, name, func(a Node, name dnsname.Name) int { return z.Name(a).Compare(name) })
	return i
}

// hashOf returns the hash of a name of the zone.
func (z *Zone) hashOf(name dnsname.Name) uint64 {
	b := z.below(name)
	hash, end := z.originHash, len(b.wire)-z.origin.Len()
	for i := b.labels - 1; i >= 0; i-- {
		start := int(b.starts[i&dnsname.MaxLabels])
		hash = hashLabel(hash, b.wire[start:end])
		end = start
	}
	return hash
}

// Preceding returns the node whose NSEC record comes before n in the chain, be n in
// it or not: the last one in canonical order that is before n, and before the apex
// the last of all. n must be in the zone. It is zero if the zone has no NSEC chain.
func (z *Zone) Preceding(n dnsname.Name) Node {
	chunks := z.nsec.chunks
	if len(chunks) == 0 {
		return 0
	}
	name := z.below(n)
	chunk, count := z.nsec.search(z, &name)
	if count > 0 && z.Name(chunks[chunk].nodes[count-1]) == n {
		count--
	}
	if count == 0 {
		if chunk--; chunk < 0 {
			chunk = len(chunks) - 1
		}
		count = len(chunks[chunk].nodes)
	}
	return chunks[chunk].nodes[count-1]
}
