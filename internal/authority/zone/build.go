package zone

import (
	"iter"
	"sync"
	"unsafe"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Limits of what a zone can hold; records beyond them are a Fatal problem.
const (
	maxRRset   = 1<<16 - 1              // records in an RRset, for the count is 16 bits; a message of 65,535 octets cannot hold more
	maxRRsets  = 1<<16 - 1              // RRsets at a name, likewise: more than there are types
	maxRdata   = 1<<16 - 1              // octets of RDATA: RDLENGTH has 16 bits (RFC 1035 §3.2.1)
	maxNames   = 1<<31 - 1              // octets of all names, whose sort keys (at most twice as long) have 32-bit offsets
	maxStaged  = 1<<32 - 1              // octets of all RDATA, which has 32-bit offsets while building
	maxRecords = 1<<32 - 2              // records in a zone, counted in 32 bits while building
	maxArena   = nodeUnit * (1<<32 - 1) // octets of the arena, for a Node has 32 bits: 16 GiB
)

// Build makes a zone of the records. The Zone is nil if a problem is Fatal.
// Records may come in any order; those outside the zone, and duplicates, are left
// out. Build keeps none of the memory of the records.
func Build(origin dnsname.Name, records iter.Seq[rdata.Record]) (*Zone, []Problem) {
	b := NewBuilder(origin)
	for r := range records {
		b.Add(r)
	}
	return b.Finish()
}

// Builder collects the records of one zone; see Build. Records are first staged:
// grouped by name in lists, everything in slices without pointers. Finish puts
// the names in canonical order, settles where each node will lie, and writes the
// arena in one go, so that it has its exact size.
type Builder struct {
	origin   dnsname.Name
	problems problems

	names   []byte       // wire names of the nodes
	data    []byte       // RDATA of the records
	nodes   []stagedNode // the origin is the first
	records []stagedRecord
	table   []uint64 // index into nodes, see insert

	depth   int  // labels of the deepest node below the origin
	wild    bool // whether some wildcard has addresses
	types   typeSet
	current uint32 // node of the record before, the likely owner of the next

	starts [dnsname.MaxLabels + 1]uint8  // scratch of nodeOf
	hashes [dnsname.MaxLabels + 1]uint64 // scratch of nodeOf

	// Scratch of Finish.
	arena  []byte
	denial []byte
	slots  []uint64
	keys   sortKeys
	order  []uint32
	list   []uint32
	wanted []uint32
}

// builders are those that have made a small zone: who reads a million of them needs one
// on each processor.
var builders = sync.Pool{New: func() any { return new(Builder) }}

// release gives the memory of a Builder of a small zone to the next one.
func (b *Builder) release() {
	if cap(b.names)+cap(b.data) < smallArena && cap(b.records) < smallArena/16 && cap(b.nodes) < smallArena/16 {
		b.origin, b.problems = dnsname.Name{}, problems{}
		builders.Put(b)
	}
}

// stagedNode is a name with data, or with a name below it that has.
type stagedNode struct {
	hash     uint64
	name     uint32 // offset in Builder.names
	parent   uint32 // index in Builder.nodes
	first    uint32 // index in Builder.records + 1; 0 for none
	last     uint32
	sets     uint32 // RRsets
	node     Node
	cover    Node
	wildcard Node
	nameLen  uint8
	flags    uint8
}

// stagedRecord is one record.
type stagedRecord struct {
	data   uint32 // offset in Builder.data
	next   uint32 // the owner's next record, index + 1; 0 for none
	ttl    rdata.TTL
	length uint16
	rrtype rdata.Type
}

// NewBuilder returns a Builder of the zone with the given origin.
func NewBuilder(origin dnsname.Name) *Builder {
	return newBuilder(origin.Clone(), hashName(origin.Wire()))
}

// leastNames is how many names a Builder has room for at first.
const leastNames = 16

// newBuilder is NewBuilder with the hash of the origin.
func newBuilder(origin dnsname.Name, hash uint64) *Builder {
	b := builders.Get().(*Builder)
	*b = Builder{
		origin: origin, names: b.names[:0], data: b.data[:0], nodes: b.nodes[:0], records: b.records[:0], table: b.table,
		arena: b.arena, denial: b.denial, slots: b.slots, keys: b.keys, order: b.order, list: b.list, wanted: b.wanted,
	}
	if least := tableSlots(leastNames); cap(b.table) < least {
		b.table = make([]uint64, least)
	} else {
		b.table = b.table[:least]
		clear(b.table)
	}
	b.names = append(b.names, origin.Wire()...)
	b.nodes = append(b.nodes, stagedNode{hash: hash, nameLen: uint8(origin.Len())})
	insert(b.table, hash, 1)
	return b
}

// Add adds one record. What is wrong with it is reported by Finish.
func (b *Builder) Add(r rdata.Record) {
	switch {
	case !r.Name.IsSubdomainOf(b.origin):
		b.problems.add(Warning, r.Name, r.Type, "left out, for it is outside the zone %s; check $ORIGIN and the final dot", b.origin)
		return
	case r.Class != rdata.ClassIN:
		b.problems.add(Fatal, r.Name, r.Type, "class %s; only zones of class IN can be served", r.Class)
		return
	case r.Type.IsMeta():
		b.problems.add(Fatal, r.Name, r.Type, "a type for queries and messages only, which no zone can hold; remove the record")
		return
	case !isWellFormed(r.Type, r.Data):
		b.problems.addMalformed(r)
		return
	case len(b.names)+dnsname.MaxLen > maxNames, len(b.data)+len(r.Data) > maxStaged, len(b.records) >= maxRecords:
		b.problems.add(Fatal, r.Name, r.Type, "more data than one zone can hold; divide the zone")
		return
	}
	node := &b.nodes[b.nodeOf(r.Name)]
	b.records = append(doubled(b.records, 1), stagedRecord{
		data: uint32(len(b.data)), length: uint16(len(r.Data)), rrtype: r.Type, ttl: r.TTL,
	})
	b.data = append(doubled(b.data, len(r.Data)), r.Data...)
	index := uint32(len(b.records))
	if node.first == 0 {
		node.first = index
	} else {
		b.records[node.last-1].next = index
	}
	node.last = index
}

// nodeOf returns the index of the node with the given name in the zone, which it
// makes if needed, with the empty non-terminals above it (RFC 4592 §2.2.2).
func (b *Builder) nodeOf(n dnsname.Name) uint32 {
	wire := n.Wire()
	if b.nameOf(b.current) == wire {
		return b.current
	}
	labels, _ := splitBelow(wire, b.origin.Wire(), &b.starts)
	end := len(wire) - b.origin.Len()
	b.hashes[0] = b.nodes[0].hash
	for depth := 1; depth <= labels; depth++ {
		start := int(b.starts[labels-depth])
		b.hashes[depth] = hashLabel(b.hashes[depth-1], wire[start:end])
		end = start
	}
	// Most names are new or have a parent that is known, so begin at the name.
	depth := labels
	parent, ok := b.find(b.hashes[depth], b.suffix(wire, labels, depth))
	for !ok {
		depth--
		parent, ok = b.find(b.hashes[depth], b.suffix(wire, labels, depth))
	}
	for at := uint32(len(b.names)); depth < labels; {
		if uint32(len(b.names)) == at {
			b.names = append(doubled(b.names, len(wire)), wire...)
		}
		depth++
		b.depth = max(b.depth, depth)
		parent = b.newNode(parent, at+uint32(b.starts[labels-depth]), b.hashes[depth])
	}
	b.current = parent
	return parent
}

// suffix returns the ancestor of wire that is depth labels below the origin.
func (b *Builder) suffix(wire string, labels, depth int) string {
	if depth == 0 {
		return b.origin.Wire()
	}
	return wire[b.starts[labels-depth]:]
}

// newNode adds a node whose name stands at the end of b.names, from name on.
func (b *Builder) newNode(parent, name uint32, hash uint64) uint32 {
	index := uint32(len(b.nodes))
	b.nodes = append(doubled(b.nodes, 1), stagedNode{
		hash: hash, name: name, parent: parent, nameLen: uint8(uint32(len(b.names)) - name),
	})
	if len(b.nodes)*100 > len(b.table)*loadPercent {
		b.table = newTable(2 * len(b.nodes))
		for i, node := range b.nodes[:index] {
			insert(b.table, node.hash, uint32(i)+1)
		}
	}
	insert(b.table, hash, index+1)
	return index
}

// doubled returns s with room for n more, twice as large if it must grow: append
// by itself grows large slices by a quarter, which for millions of records is
// four times the copying.
//
// What is large is made by make and copied in pieces. To clear a hundred megabytes, as
// slices.Grow does, or to copy them at once takes some 20 ms, in which a goroutine cannot
// be stopped; a garbage collection that begins or ends just then makes all others wait for
// it, those that answer queries too.
func doubled[T any](s []T, n int) []T {
	if len(s)+n <= cap(s) {
		return s
	}
	next := make([]T, len(s), len(s)+max(n, cap(s)))
	var one T
	piece := max(1, copiedAtOnce/int(unsafe.Sizeof(one)))
	for at := 0; at < len(s); at += piece {
		copy(next[at:], s[at:min(at+piece, len(s))])
	}
	return next
}

// emptied returns s without elements, with room for n: memory that a Builder has kept, or
// new, as doubled makes it.
func emptied[T any](s []T, n int) []T {
	if n <= cap(s) {
		return s[:0]
	}
	return make([]T, 0, n)
}

// copiedAtOnce is how many octets are: a quarter of a millisecond, with the page faults.
const copiedAtOnce = 256 << 10

// find returns the index of the node with the name wire.
func (b *Builder) find(hash uint64, wire string) (uint32, bool) {
	for i := slotOf(hash, len(b.table)); ; {
		slot := b.table[i]
		if slot == 0 {
			return 0, false
		}
		if uint32(slot>>32) == uint32(hash) && b.nameOf(uint32(slot)-1) == wire {
			return uint32(slot) - 1, true
		}
		if i++; i == len(b.table) {
			i = 0
		}
	}
}

// nameOf returns the name of a node in wire form, good until the next node.
func (b *Builder) nameOf(index uint32) string {
	node := &b.nodes[index]
	return dnsname.View(b.names[node.name : node.name+uint32(node.nameLen)]).Wire()
}

// rdataOf returns the RDATA of a record.
func (b *Builder) rdataOf(r *stagedRecord) []byte { return b.data[r.data : r.data+uint32(r.length)] }
