package zone

import (
	"iter"

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

// from returns n and all nodes behind it.
func (z *Zone) from(n Node) iter.Seq[Node] {
	return func(yield func(Node) bool) {
		for int(n)*nodeUnit < len(z.arena) {
			if !yield(n) {
				return
			}
			sets := z.RRsets(n)
			for sets.left > 0 {
				sets.Next()
			}
			n = Node(roundUp(sets.at) / nodeUnit)
		}
	}
}

// Preceding returns the node whose NSEC record comes before n in the chain, be n in
// it or not: the last one in canonical order that is before n, and before the apex
// the last of all. n must be in the zone. It is zero if the zone has no NSEC chain.
func (z *Zone) Preceding(n dnsname.Name) Node {
	at := z.Denying(n)
	if at == 0 || z.Name(at) != n {
		return at
	}
	nodes := z.nsec.nodes
	for low, high := 0, len(nodes); ; {
		middle := int(uint(low+high) / 2)
		switch {
		case nodes[middle] == at && middle == 0:
			return nodes[len(nodes)-1]
		case nodes[middle] == at:
			return nodes[middle-1]
		case nodes[middle] < at: // in canonical order, as nodes are in the arena
			low = middle + 1
		default:
			high = middle
		}
	}
}
