package zone

import (
	"slices"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// DenialType is how a zone proves what it does not have: TypeNSEC (RFC 4034 §4),
// TypeNSEC3 (RFC 5155), or 0, when it does not.
func (z *Zone) DenialType() rdata.Type {
	switch {
	case z.nsec3.count > 0:
		return rdata.TypeNSEC3
	case len(z.nsec.chunks) > 0:
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

// nsecIndex is the owners of NSEC records in canonical order, in chunks, of which
// an edit copies those that it changes. A search looks at keys, which lie close
// together, and at a name only to tell equal keys apart.
type nsecIndex struct {
	first  []uint64 // the key of the first entry of each chunk
	chunks []nsecChunk
}

// nsecChunk is some successive entries, at least one.
type nsecChunk struct {
	keys  []uint64 // of each node's name, see below.key
	nodes []Node
}

// nsecChunkLen is how many entries a chunk has at first; it is divided at twice
// that. For a million entries the list of the chunks is 56 kB, a chunk 12 kB.
const nsecChunkLen = 1024

// newNSECIndex returns the index of entries in canonical order.
func newNSECIndex(keys []uint64, nodes []Node) (x nsecIndex) {
	for len(nodes) > 0 {
		n := min(nsecChunkLen, len(nodes))
		x.first = append(x.first, keys[0])
		x.chunks = append(x.chunks, nsecChunk{keys[:n:n], nodes[:n:n]})
		keys, nodes = keys[n:], nodes[n:]
	}
	return x
}

func (x *nsecIndex) size() int {
	size := 0
	for i := range x.chunks {
		size += 8 + 48 + 8*cap(x.chunks[i].keys) + 4*cap(x.chunks[i].nodes)
	}
	return size
}

// search returns the chunk of the last entry that is not behind name, and how many
// entries of the chunk are not: none if all entries are behind it.
func (x *nsecIndex) search(z *Zone, name *below) (chunk, count int) {
	key := name.key()
	low, high := 0, len(x.first)
	for low < high {
		middle := int(uint(low+high) / 2)
		k := x.first[middle]
		if k < key || k == key && !z.isBehind(x.chunks[middle].nodes[0], name) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low == 0 {
		return 0, 0
	}
	chunk = low - 1
	c := &x.chunks[chunk]
	low, high = 1, len(c.nodes) // all before low are not behind name; all from high on are
	for low < high {
		middle := int(uint(low+high) / 2)
		k := c.keys[middle]
		if k < key || k == key && !z.isBehind(c.nodes[middle], name) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return chunk, low
}

// Denying returns the node whose NSEC record matches n or, if there is none,
// would cover it: the last one in canonical order that is not behind n
// (RFC 4035 §3.1.3.2). n must be in the zone. It is zero if the zone has no NSEC
// record at its apex.
func (z *Zone) Denying(n dnsname.Name) Node {
	name := z.below(n)
	chunk, count := z.nsec.search(z, &name)
	if count == 0 {
		return 0
	}
	return z.nsec.chunks[chunk].nodes[count-1]
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
func (b *Builder) indexDenials(z *Zone, order []uint32) {
	if !z.IsSigned() {
		return
	}
	b.indexChain(z, order)
	for _, i := range order {
		if node := &b.nodes[i]; steeringOf(node.flags) != NotSteered {
			b.problems.checkSteered(z, node.node)
		}
	}
}

// indexChain makes the index of the chain of NSEC or NSEC3 records.
func (b *Builder) indexChain(z *Zone, order []uint32) {
	if b.indexNSEC3(z, order); z.nsec3.count > 0 {
		return
	}
	if _, ok := z.RRset(apex, rdata.TypeNSEC); !ok {
		b.problems.keep(aboutZone, z.origin, rdata.TypeNSEC, "the zone is signed, but has no complete chain of NSEC or NSEC3 records at its apex, so validating resolvers refuse its denials; sign it again")
		return
	}
	var keys []uint64
	var nodes []Node
	for _, i := range order {
		if n := b.nodes[i].node; z.isInChain(n) {
			name := z.below(z.Name(n))
			nodes = append(nodes, n)
			keys = append(keys, name.key())
		}
	}
	z.nsec = newNSECIndex(slices.Clip(keys), slices.Clip(nodes))
}

// isInChain reports whether n has a place in the chain of NSEC records, which
// occluded names have not (RFC 4035 §2.3).
func (z *Zone) isInChain(n Node) bool {
	if z.IsOccluded(n) {
		return false
	}
	_, ok := z.RRset(n, rdata.TypeNSEC)
	return ok
}

// insert adds n to an index whose lists nobody else has; the chunk is copied.
func (x *nsecIndex) insert(z *Zone, n Node) {
	name := z.below(z.Name(n))
	chunk, count := x.search(z, &name)
	c := x.chunks[chunk]
	c = nsecChunk{slices.Insert(slices.Clip(c.keys), count, name.key()), slices.Insert(slices.Clip(c.nodes), count, n)}
	if half := len(c.nodes) / 2; half >= nsecChunkLen {
		x.first = slices.Insert(x.first, chunk+1, c.keys[half])
		x.chunks = slices.Insert(x.chunks, chunk+1, nsecChunk{slices.Clone(c.keys[half:]), slices.Clone(c.nodes[half:])})
		c = nsecChunk{slices.Clone(c.keys[:half]), slices.Clone(c.nodes[:half])}
	}
	x.chunks[chunk], x.first[chunk] = c, c.keys[0]
}

// remove takes n, which it has, out of an index whose lists nobody else has.
func (x *nsecIndex) remove(z *Zone, n Node) {
	name := z.below(z.Name(n))
	chunk, count := x.search(z, &name)
	c := x.chunks[chunk]
	if len(c.nodes) == 1 {
		x.first, x.chunks = slices.Delete(x.first, chunk, chunk+1), slices.Delete(x.chunks, chunk, chunk+1)
		return
	}
	c = nsecChunk{slices.Delete(slices.Clone(c.keys), count-1, count), slices.Delete(slices.Clone(c.nodes), count-1, count)}
	x.chunks[chunk], x.first[chunk] = c, c.keys[0]
}
