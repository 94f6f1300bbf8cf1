package zone

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// canonicalOrder returns the indexes of all nodes in the canonical order of their
// names (RFC 4034 §6.1), an ancestor before its descendants.
//
// Each name becomes a key whose order as plain octets is the canonical one:
// labels below the origin from the right, each ended by a 0, which no key has
// twice in a row; the octets 0 and 1 in labels are escaped. A zone in order, as
// most files are, costs one comparison for each name.
func (b *Builder) canonicalOrder() []uint32 {
	keys := b.keys
	b.keys = sortKeys{} // of a large zone it is not kept any longer
	keys.octets, keys.starts = emptied(keys.octets, len(b.names)), append(emptied(keys.starts, len(b.nodes)+1), 0)
	order := emptied(b.order, len(b.nodes))[:len(b.nodes)]
	b.order = order
	sorted := true
	for i := range b.nodes {
		order[i] = uint32(i)
		keys.add(b, uint32(i))
		sorted = sorted && (i == 0 || bytes.Compare(keys.of(uint32(i-1)), keys.of(uint32(i))) < 0)
	}
	if len(keys.octets) < smallArena {
		b.keys = keys
	}
	if sorted {
		return order
	}
	chunks := make([]chunk, len(order))
	for i := range chunks {
		chunks[i].node = uint32(i)
	}
	keys.sort(chunks, 0)
	for i := range chunks {
		order[i] = chunks[i].node
	}
	return order
}

// sortKeys has the key of each node.
type sortKeys struct {
	octets []byte
	starts []uint32 // of the keys in octets; one more than keys
}

func (k *sortKeys) of(node uint32) []byte { return k.octets[k.starts[node]:k.starts[node+1]] }

// add appends the key of the next node.
func (k *sortKeys) add(b *Builder, node uint32) {
	wire := b.nameOf(node)
	labels, _ := splitBelow(wire, b.origin.Wire(), &b.starts)
	for i := labels - 1; i >= 0; i-- {
		start := int(b.starts[i])
		for _, c := range []byte(wire[start+1 : start+1+int(wire[start])]) {
			if c <= 1 {
				k.octets = append(k.octets, 1)
				c++
			}
			k.octets = append(k.octets, c)
		}
		k.octets = append(k.octets, 0)
	}
	k.starts = append(k.starts, uint32(len(k.octets)))
}

// chunk is eight octets of a node's key as a number.
type chunk struct {
	value uint64
	node  uint32
}

// sort sorts chunks by the keys of their nodes, which are equal up to depth
// octets: by eight octets at a time, so that most comparisons are of two
// integers beside each other in memory.
func (k *sortKeys) sort(chunks []chunk, depth int) {
	for i := range chunks {
		chunks[i].value = k.chunkAt(chunks[i].node, depth)
	}
	slices.SortFunc(chunks, func(a, b chunk) int { return cmp.Compare(a.value, b.value) })
	for start := 0; start < len(chunks); {
		end := start + 1
		for end < len(chunks) && chunks[end].value == chunks[start].value {
			end++
		}
		if end-start > 1 { // keys differ, so there is more of them
			k.sort(chunks[start:end], depth+8)
		}
		start = end
	}
}

// chunkAt returns eight octets of a key, zeros where it has ended.
func (k *sortKeys) chunkAt(node uint32, depth int) uint64 {
	key := k.of(node)
	if depth+8 <= len(key) {
		return binary.BigEndian.Uint64(key[depth:])
	}
	var last [8]byte
	copy(last[:], key[min(depth, len(key)):])
	return binary.BigEndian.Uint64(last[:])
}
