package zone

import (
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// DenialType is how a zone proves what it does not have: TypeNSEC (RFC 4034 §4),
// TypeNSEC3 (RFC 5155), or 0, when it does not.
func (z *Zone) DenialType() rdata.Type {
	switch {
	case len(z.nsec3.entries) > 0:
		return rdata.TypeNSEC3
	case len(z.nsec.nodes) > 0:
		return rdata.TypeNSEC
	}
	return 0
}

// IsSigned reports whether the zone's SOA record has signatures.
func (z *Zone) IsSigned() bool { return z.signatures.Count > 0 }

// DenialSignatures returns the RRSIG records of the SOA record that AppendDenial
// appends, with its TTL (RFC 4034 §3: that of the record they cover).
func (z *Zone) DenialSignatures() RRset {
	set := z.signatures
	set.TTL = z.negative
	return set
}

// nsecIndex is the owners of NSEC records in canonical order. A search looks at
// keys, which lie close together, and at a name only to tell equal keys apart.
type nsecIndex struct {
	keys  []uint64 // of each node's name, see below.key
	nodes []Node
}

func (x *nsecIndex) size() int { return 8*cap(x.keys) + 4*cap(x.nodes) }

// Denying returns the node whose NSEC record matches n or, if there is none,
// would cover it: the last one in canonical order that is not behind n
// (RFC 4035 §3.1.3.2). n must be in the zone. It is zero if the zone has no NSEC
// record at its apex.
func (z *Zone) Denying(n dnsname.Name) Node {
	name := z.below(n)
	key := name.key()
	low, high := 0, len(z.nsec.nodes) // all before low are not behind n; all from high on are
	for low < high {
		middle := int(uint(low+high) / 2)
		k := z.nsec.keys[middle]
		if k < key || k == key && !z.isBehind(z.nsec.nodes[middle], &name) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low == 0 {
		return 0
	}
	return z.nsec.nodes[low-1]
}

// below is a name of the zone as its labels below the origin.
type below struct {
	wire   string
	labels int
	starts [dnsname.MaxLabels + 1]uint8 // of the labels in wire, leftmost first
}

// below splits n, which is in the zone. (It returns a value, so that the memory of
// n does not escape.)
func (z *Zone) below(n dnsname.Name) (b below) {
	b.wire = n.Wire()
	b.labels, _ = splitBelow(b.wire, z.origin.Wire(), &b.starts)
	return b
}

// label returns the label that has i labels to its left.
func (b *below) label(i int) string {
	start := int(b.starts[i&dnsname.MaxLabels])
	return b.wire[start+1 : start+1+int(b.wire[start])]
}

// isBehind reports whether the name of n comes after b in canonical order
// (RFC 4034 §6.1).
func (z *Zone) isBehind(n Node, b *below) bool {
	name := z.below(z.Name(n))
	for i, j := name.labels-1, b.labels-1; i >= 0 && j >= 0; i, j = i-1, j-1 {
		if x, y := name.label(i), b.label(j); x != y {
			return x > y
		}
	}
	return name.labels > b.labels
}

// key returns the first eight octets of the name's key in canonicalOrder, zeros
// where it has ended: names with different keys are in the order of their keys.
func (b *below) key() uint64 {
	key, room := uint64(0), 8
	push := func(c byte) {
		if room > 0 {
			key, room = key<<8|uint64(c), room-1
		}
	}
	for i := b.labels - 1; i >= 0 && room > 0; i-- {
		label := b.label(i)
		for j := 0; j < len(label) && room > 0; j++ {
			c := label[j]
			if c <= 1 {
				push(1)
				c++
			}
			push(c)
		}
		push(0)
	}
	return key << (8 * room)
}

// indexDenials prepares a signed zone to prove what it does not have. order is
// the canonical order of the nodes.
func (b *Builder) indexDenials(z *Zone, soa RRset, order []uint32) {
	signatures, ok := soa.Signatures()
	if !ok {
		return
	}
	z.signatures = signatures
	for _, i := range order {
		node := &b.nodes[i]
		if node.flags&flagSteered != 0 {
			b.warn(node, 0, "steered from a pool in a signed zone: its addresses have no signature, so validating resolvers refuse them; steer a name of an unsigned zone")
		}
	}
	if b.indexNSEC3(z, order); len(z.nsec3.entries) > 0 {
		return
	}
	if _, ok := z.RRset(apex, rdata.TypeNSEC); !ok {
		b.problems.add(Warning, z.origin, rdata.TypeNSEC, "the zone is signed, but has no complete chain of NSEC or NSEC3 records at its apex, so validating resolvers refuse its denials; sign it again")
		return
	}
	for _, i := range order {
		node := &b.nodes[i]
		if node.cover != 0 && node.cover != node.node { // RFC 4035 §2.3: no place in the chain
			continue
		}
		if _, ok := z.RRset(node.node, rdata.TypeNSEC); ok {
			name := z.below(z.Name(node.node))
			z.nsec.nodes = append(z.nsec.nodes, node.node)
			z.nsec.keys = append(z.nsec.keys, name.key())
		}
	}
}
