package zone

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"pharos/internal/dns/rdata"
)

// Finish makes the zone of the records added, and returns all that is wrong with
// them. The Zone is nil if a problem is Fatal. The Builder is of no use
// afterwards.
func (b *Builder) Finish() (*Zone, []Problem) {
	order := b.canonicalOrder()
	size, records := b.arrange(order)
	b.checkApex()
	if b.problems.fatal() {
		return nil, b.problems.list
	}
	arena, table := b.newMemory(size, len(order))
	z := &Zone{
		origin: b.origin, originHash: b.nodes[0].hash, depth: int32(b.depth), names: len(order), records: records,
		arena: b.assemble(order, arena), table: table, special: new(special),
	}
	for _, i := range order {
		z.steers = z.steers || steeringOf(b.nodes[i].flags) != NotSteered
		if b.nodes[i].flags&flagHash == 0 {
			insert(z.table, b.nodes[i].hash, uint32(b.nodes[i].node))
		}
	}
	z.wild, z.types = b.wild, b.types
	b.link(z)
	if size < smallArena {
		b.join(z)
	} else {
		z.readApex(nil)
	}
	b.indexDenials(z, order)
	b.noteInsecure(z, order)
	z.unindexed = b.hashNodes(order) - z.indexedHashNodes()
	z.warnings = b.problems.lasting
	z.settle()
	problems := b.problems.list
	b.release()
	return z, problems
}

// join puts what a small zone has beside each other, so that all of it lies in one page
// of memory or two, and is one object to the garbage collector.
func (b *Builder) join(z *Zone) {
	z.readApex(b.denial)
	b.denial = z.denial.record
	arena, denial := (len(z.arena)+7)/8, (len(b.denial)+7)/8
	words := make([]uint64, arena+len(z.table)+len(z.targets)+denial)
	octets := octetsOf(words)[:len(z.arena):len(z.arena)]
	copy(octets, z.arena)
	z.arena, words = octets, words[arena:]
	place := func(from []uint64) []uint64 {
		to := words[:copy(words, from):len(from)]
		words = words[len(from):]
		return to
	}
	z.origin = z.Name(apex)
	z.table = place(z.table)
	z.targets = place(z.targets)
	z.readApex(octetsOf(words)[:0:len(b.denial)])
}

// typeSet is a set of types. Above 64 several types share a bit, so it may have a type
// that was never added.
type typeSet [2]uint64

func (s *typeSet) add(t rdata.Type) {
	word, bit := bitOf(t)
	s[word] |= bit
}

func (s *typeSet) addAll(o typeSet) {
	s[0] |= o[0]
	s[1] |= o[1]
}

// bitOf returns where a type is: 63 bits of the second word take turns, for SVCB and
// HTTPS (64 and 65), and CAA (257) to have one each.
func bitOf(t rdata.Type) (word int, bit uint64) {
	if t < 64 {
		return 0, 1 << t
	}
	return 1, 1 << (t % 63)
}

// MayHave reports whether the zone may have records of type t: if not, nobody needs
// to look for one. It looks at no record.
func (z *Zone) MayHave(t rdata.Type) bool {
	word, bit := bitOf(t)
	return z.types[word]&bit != 0
}

// hashNodes returns how many nodes are owners of nothing but NSEC3.
func (b *Builder) hashNodes(order []uint32) (count int) {
	for _, i := range order {
		count += int(b.nodes[i].flags & flagHash / flagHash)
	}
	return count
}

// indexedHashNodes returns how many of these the index of hashes has.
func (z *Zone) indexedHashNodes() (count int) {
	for _, page := range z.nsec3.pages {
		for _, entry := range page {
			count += int(z.flags(Node(entry)) & flagHash / flagHash)
		}
	}
	return count
}

// readApex takes over what the zone knows from its SOA record and its signatures. room is
// memory for it, or nil.
func (z *Zone) readApex(room []byte) {
	soa, _ := z.RRset(apex, rdata.TypeSOA)
	data, _, _ := soa.Record(0)
	numbers := data[len(data)-soaNumbers:] // SERIAL REFRESH RETRY EXPIRE MINIMUM
	z.serial = rdata.Serial(binary.BigEndian.Uint32(numbers))
	z.negative = min(soa.TTL, rdata.TTL(binary.BigEndian.Uint32(numbers[16:])))
	z.denial = newDenial(room, z.origin, z.negative, data)
	z.signatures = RRset{}
	if signatures, ok := soa.Signatures(); ok {
		z.signatures = signatures
	}
}

// arrange sorts each node's records, drops duplicates, settles the place of each
// node in the arena and what covers it. It returns the size of the arena and the
// number of records kept.
func (b *Builder) arrange(order []uint32) (size, kept int) {
	size = nodeUnit // the place of Node 0, which is none
	list := b.list[:0]
	defer func() { b.list = list }()
	for _, i := range order {
		node := &b.nodes[i]
		list = b.sortedRecords(node, list[:0])
		kept += len(list)
		if size = roundUp(size); size > maxArena {
			b.problems.add(Fatal, b.origin, 0, "the zone takes more than 16 GiB; divide it")
			return nodeUnit, 0
		}
		node.node = Node(size / nodeUnit)
		size += nodeName + int(node.nameLen) + b.arrangeNode(i, list)
		b.cover(i)
	}
	return size, kept
}

// sortedRecords puts a node's list of records into the order of the arena,
// without duplicates (RFC 2181 §5), and appends their indexes to list.
func (b *Builder) sortedRecords(node *stagedNode, list []uint32) []uint32 {
	for next := node.first; next != 0; next = b.records[next-1].next {
		list = append(list, next-1)
	}
	if len(list) < 2 {
		return list
	}
	// Stable, so that of records that differ only in TTL or case the first is kept.
	slices.SortStableFunc(list, b.compareRecords)
	unique := slices.CompactFunc(list, func(x, y uint32) bool { return b.compareRecords(x, y) == 0 })
	if len(unique) < len(list) {
		b.warn(node, 0, "%d duplicate records left out", len(list)-len(unique))
	}
	node.first = unique[0] + 1
	for i, index := range unique {
		b.records[index].next = 0
		if i > 0 {
			b.records[unique[i-1]].next = index + 1
		}
	}
	return unique
}

// compareRecords orders records of one name by their RRset and RDATA.
func (b *Builder) compareRecords(x, y uint32) int {
	p, q := &b.records[x], &b.records[y]
	pData, qData := b.rdataOf(p), b.rdataOf(q)
	if c := cmp.Compare(setKey(p.rrtype, pData), setKey(q.rrtype, qData)); c != 0 {
		return c
	}
	return compareRdata(p.rrtype, pData, qData)
}

// arrangeNode counts and checks the RRsets of node i, whose records list has in
// order. It returns the octets they take.
func (b *Builder) arrangeNode(i uint32, list []uint32) (size int) {
	node := &b.nodes[i]
	others := i == 0 // RRsets that are neither NSEC3 nor its signatures
	for len(list) > 0 {
		first := &b.records[list[0]]
		t, count := first.rrtype, b.sameSet(list)
		b.unifyTTL(node, list[:count])
		size += setHeader
		for _, index := range list[:count] {
			size += 2 + int(b.records[index].length) + linkLenOf(t)
		}
		b.checkRRset(i, t, count)
		b.types.add(t)
		node.flags |= flagOf(t, Node(i)+apex) // the apex is the first of both
		others = others || first.rrtype != rdata.TypeNSEC3 && !covers(first, b.rdataOf(first), rdata.TypeNSEC3)
		node.sets++
		list = list[count:]
	}
	if !others && node.sets > 0 {
		node.flags |= flagHash
	}
	if node.flags&flagCut != 0 {
		node.flags &^= flagSteering
	}
	b.wild = b.wild || node.flags&flagAddress != 0 && b.stagedName(node).IsWildcard()
	b.checkNode(i)
	return size
}

// covers reports whether r, with the RDATA data, is an RRSIG record of type t.
func covers(r *stagedRecord, data []byte, t rdata.Type) bool {
	return r.rrtype == rdata.TypeRRSIG && rdata.Type(binary.BigEndian.Uint16(data)) == t
}

// sameSet returns how many records at the start of list are of one RRset.
func (b *Builder) sameSet(list []uint32) int {
	first := &b.records[list[0]]
	key, count := setKey(first.rrtype, b.rdataOf(first)), 1
	for count < len(list) {
		r := &b.records[list[count]]
		if setKey(r.rrtype, b.rdataOf(r)) != key {
			break
		}
		count++
	}
	return count
}

// unifyTTL gives the records of an RRset one TTL: the lowest, which promises no
// more than any of them (RFC 2181 §5.2).
func (b *Builder) unifyTTL(node *stagedNode, list []uint32) {
	lowest, same := b.records[list[0]].ttl, true
	for _, index := range list[1:] {
		same = same && b.records[index].ttl == lowest
		lowest = min(lowest, b.records[index].ttl)
	}
	if same {
		return
	}
	for _, index := range list {
		b.records[index].ttl = lowest
	}
	b.warn(node, b.records[list[0]].rrtype, "records of one RRset differ in TTL; all are served with the lowest, %d", lowest)
}

// cover settles what covers node i: its parent's cover comes first, being higher.
func (b *Builder) cover(i uint32) {
	node := &b.nodes[i]
	if i != 0 {
		parent := &b.nodes[node.parent]
		parent.flags &^= flagHash // it has a descendant, so it exists (RFC 5155 §7.2.8)
		node.cover = parent.cover
		if node.cover == 0 && parent.flags&flagDNAME != 0 {
			node.cover = parent.node
		}
		if parent.flags&flagCut == 0 && b.stagedName(node).IsWildcard() {
			parent.wildcard = node.node
		}
	}
	if node.cover == 0 && node.flags&flagCut != 0 {
		node.cover = node.node
	}
}

// newMemory returns an arena of the given size, empty, and a table for so many
// names. Those of a small zone are the Builder's: see join.
func (b *Builder) newMemory(size, names int) (arena []byte, table []uint64) {
	if size >= smallArena { // of a large zone, each is better off at the start of a page
		return make([]byte, 0, size), newTable(names)
	}
	b.arena = slices.Grow(b.arena[:0], size)
	b.slots = slices.Grow(b.slots[:0], tableSlots(names))[:tableSlots(names)]
	clear(b.slots)
	return b.arena[:0:size], b.slots
}

// assemble writes the arena into the memory it is given.
func (b *Builder) assemble(order []uint32, arena []byte) []byte {
	size := cap(arena)
	arena = arena[:nodeUnit]
	for _, i := range order {
		node := &b.nodes[i]
		for len(arena) < int(node.node)*nodeUnit {
			arena = append(arena, 0)
		}
		arena = b.appendNode(arena, i)
	}
	if len(arena) != size {
		panic(fmt.Sprintf("BUG: arena of %d octets, expected %d", len(arena), size))
	}
	return arena
}

// appendNode appends node i as it is in the arena.
func (b *Builder) appendNode(arena []byte, i uint32) []byte {
	node := &b.nodes[i]
	arena = binary.LittleEndian.AppendUint32(arena, uint32(node.cover))
	arena = binary.LittleEndian.AppendUint32(arena, uint32(node.wildcard))
	arena = binary.LittleEndian.AppendUint16(arena, uint16(node.sets))
	arena = append(arena, node.nameLen, node.flags)
	arena = append(arena, b.nameOf(i)...)
	for next := node.first; next != 0; {
		arena, next = b.appendRRset(arena, next)
	}
	return arena
}

// appendRRset appends the RRset that begins with a record, an index + 1, and
// returns the one after it.
func (b *Builder) appendRRset(arena []byte, next uint32) ([]byte, uint32) {
	first := &b.records[next-1]
	key, count := setKey(first.rrtype, b.rdataOf(first)), 0
	header := len(arena)
	arena = append(arena, make([]byte, setHeader)...)
	for next != 0 {
		r := &b.records[next-1]
		data := b.rdataOf(r)
		if setKey(r.rrtype, data) != key {
			break
		}
		arena = binary.LittleEndian.AppendUint16(arena, r.length)
		arena = append(arena, data...)
		if linkLenOf(r.rrtype) != 0 {
			arena = append(arena, 0, 0, 0, 0) // see Builder.link
		}
		count, next = count+1, r.next
	}
	h := arena[header:]
	binary.LittleEndian.PutUint16(h, uint16(first.rrtype))
	binary.LittleEndian.PutUint16(h[2:], uint16(count))
	binary.LittleEndian.PutUint32(h[4:], uint32(first.ttl))
	binary.LittleEndian.PutUint32(h[8:], uint32(len(h)-setHeader))
	return arena, next
}
