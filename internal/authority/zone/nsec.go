package zone

import (
	"cmp"
	"encoding/binary"
	"math/bits"
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
	first  []nsecKey // the key of the first entry of each chunk
	chunks []nsecChunk
}

// nsecChunk is some successive entries, at least one.
type nsecChunk struct {
	keys  []nsecKey // of each node's name, see below.key
	nodes []Node
}

// nsecKey is the first 16 octets of a name's key in canonicalOrder.
type nsecKey struct{ high, low uint64 }

// nsecChunkLen is how many entries a chunk has at first; it is divided at twice
// that. For a million entries the list of the chunks is 64 kB, a chunk 20 kB.
const nsecChunkLen = 1024

// newNSECIndex returns the index of entries in canonical order.
func newNSECIndex(keys []nsecKey, nodes []Node) (x nsecIndex) {
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
		size += 16 + 48 + 16*cap(x.chunks[i].keys) + 4*cap(x.chunks[i].nodes)
	}
	return size
}

// search returns the chunk of the last entry that is not behind name, and how many
// entries of the chunk are not: none if all entries are behind it.
func (x *nsecIndex) search(z *Zone, name *below) (chunk, count int) {
	key := name.key()
	low, high := key.among(x.first)
	for low < high {
		middle := int(uint(low+high) / 2)
		if z.isBehind(x.chunks[middle].nodes[0], name) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	if low == 0 {
		return 0, 0
	}
	chunk = low - 1
	c := &x.chunks[chunk]
	low, high = key.among(c.keys)
	for low < high {
		middle := int(uint(low+high) / 2)
		if z.isBehind(c.nodes[middle], name) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return chunk, low
}

// among returns how many keys in ascending order are before k, and how many are not
// behind it. It makes no jump that the processor has to guess.
func (k nsecKey) among(keys []nsecKey) (before, upTo int) {
	if len(keys) == 0 {
		return 0, 0
	}
	for n := len(keys); n > 1; {
		half := n / 2
		upTo += half & -k.isFrom(keys[upTo+half-1])
		n -= half
	}
	upTo += k.isFrom(keys[upTo])
	for before = upTo; before > 0 && keys[before-1] == k; before-- {
		if upTo-before == fewSame { // names that begin alike: hostile, or long
			before, _ = slices.BinarySearchFunc(keys[:before], k, nsecKey.compare)
			break
		}
	}
	return before, upTo
}

// fewSame is how many equal keys are counted one after the other; the number is
// arbitrary.
const fewSame = 8

// isFrom returns 1 if k is at or behind other, else 0.
func (k nsecKey) isFrom(other nsecKey) int {
	_, borrow := bits.Sub64(k.low, other.low, 0)
	_, borrow = bits.Sub64(k.high, other.high, borrow)
	return int(1 - borrow)
}

func (k nsecKey) compare(other nsecKey) int {
	return cmp.Or(cmp.Compare(k.high, other.high), cmp.Compare(k.low, other.low))
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

// DenyingWildcard is Denying for the wildcard below encloser, which does not exist. As a
// rule the NSEC record of encloser itself covers it: in canonical order only names below
// encloser with a label less than "*" come between the two.
func (z *Zone) DenyingWildcard(encloser Node) Node {
	name := z.Name(encloser)
	if set, ok := z.RRset(encloser, rdata.TypeNSEC); ok && !z.IsOccluded(encloser) {
		if next, _, _ := set.Record(0); isBehindWildcard(next, name) {
			return encloser
		}
	}
	var wire [dnsname.MaxLen]byte
	wire[0], wire[1] = 1, '*'
	return z.Denying(dnsname.View(wire[:2+copy(wire[2:], name.Wire())]))
}

// isBehindWildcard reports whether the name that begins data, the next one of the NSEC
// record of encloser, comes after the wildcard below encloser. What is certain is enough.
func isBehindWildcard(data []byte, encloser dnsname.Name) bool {
	_, end, _ := namesIn(rdata.Layout{Names: 1}, data)
	label, at := 0, 0 // the label left of encloser, if the name is below it
	for end-at > encloser.Len() {
		label = at
		at += 1 + int(data[at])
	}
	if end-at == encloser.Len() {
		for i, c := range []byte(encloser.Wire()) {
			if lower(data[at+i]) != c {
				return true // it is not below encloser, nor is any name from there on
			}
		}
		return at > 0 && data[label+1] > '*'
	}
	return true
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

// key returns the first octets of the name's key in canonicalOrder, zeros where it has
// ended: names with different keys are in the order of their keys.
func (b *below) key() nsecKey {
	var octets [nsecKeyLen]byte
	at := 0
	for i := b.labels - 1; i >= 0 && at < nsecKeyLen; i-- {
		label := b.label(i)
		for j := 0; j < len(label) && at < nsecKeyLen; j++ {
			c := label[j]
			if c <= 1 {
				octets[at] = 1
				c++
				if at++; at == nsecKeyLen {
					break
				}
			}
			octets[at] = c
			at++
		}
		at++ // a zero
	}
	return nsecKey{binary.BigEndian.Uint64(octets[:]), binary.BigEndian.Uint64(octets[8:])}
}

// nsecKeyLen is the octets of an nsecKey.
const nsecKeyLen = 16

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
	var keys []nsecKey
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
