package zone

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"pharos/internal/dns/dnsname"
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
	z := &Zone{
		origin: b.origin, originHash: b.nodes[0].hash, depth: b.depth, names: len(order), records: records,
		arena: b.assemble(order, size),
	}
	z.table = newTable(len(order))
	for _, i := range order {
		if b.nodes[i].flags&flagHash == 0 {
			insert(z.table, b.nodes[i].hash, uint32(b.nodes[i].node))
		}
	}
	soa, _ := z.RRset(apex, rdata.TypeSOA)
	data, _, _ := soa.Record(0)
	numbers := data[len(data)-soaNumbers:] // SERIAL REFRESH RETRY EXPIRE MINIMUM
	z.serial = rdata.Serial(binary.BigEndian.Uint32(numbers))
	z.negative = min(soa.TTL, rdata.TTL(binary.BigEndian.Uint32(numbers[16:])))
	z.denial = newDenial(z.origin, z.negative, data)
	b.link(z)
	b.indexDenials(z, soa, order)
	return z, b.problems.list
}

// arrange sorts each node's records, drops duplicates, settles the place of each
// node in the arena and what covers it. It returns the size of the arena and the
// number of records kept.
func (b *Builder) arrange(order []uint32) (size, kept int) {
	size = nodeUnit // the place of Node 0, which is none
	var list []uint32
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
		switch {
		case t == rdata.TypeNS && i != 0:
			node.flags |= flagCut
		case t == rdata.TypeCNAME:
			node.flags |= flagCNAME
		case t == rdata.TypeDNAME:
			node.flags |= flagDNAME
		}
		others = others || first.rrtype != rdata.TypeNSEC3 && !covers(first, b.rdataOf(first), rdata.TypeNSEC3)
		node.sets++
		list = list[count:]
	}
	if !others && node.sets > 0 {
		node.flags |= flagHash
	}
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
		if wire := b.nameOf(i); wire[0] == 1 && wire[1] == '*' {
			parent.wildcard = node.node
		}
	}
	if node.cover == 0 && node.flags&flagCut != 0 {
		node.cover = node.node
	}
}

// assemble writes the arena.
func (b *Builder) assemble(order []uint32, size int) []byte {
	arena := make([]byte, nodeUnit, size)
	for _, i := range order {
		node := &b.nodes[i]
		for len(arena) < int(node.node)*nodeUnit {
			arena = append(arena, 0)
		}
		arena = binary.LittleEndian.AppendUint32(arena, uint32(node.cover))
		arena = binary.LittleEndian.AppendUint32(arena, uint32(node.wildcard))
		arena = binary.LittleEndian.AppendUint16(arena, uint16(node.sets))
		arena = append(arena, node.nameLen, node.flags)
		arena = append(arena, b.nameOf(i)...)
		for next := node.first; next != 0; {
			arena, next = b.appendRRset(arena, next)
		}
	}
	if len(arena) != size {
		panic(fmt.Sprintf("BUG: arena of %d octets, expected %d", len(arena), size))
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

// link writes behind each record with a target where the target's addresses are,
// so that an answer need not look for them.
func (b *Builder) link(z *Zone) {
	for n := apex; int(n)*nodeUnit < len(z.arena); {
		sets := z.RRsets(n)
		for set, ok := sets.Next(); ok; set, ok = sets.Next() {
			if set.link != 0 {
				b.linkRRset(z, n, set)
			}
		}
		n = Node(roundUp(sets.at) / nodeUnit)
	}
}

func (b *Builder) linkRRset(z *Zone, n Node, set RRset) {
	var wire [dnsname.MaxLen]byte
	at := 0
	for range set.Count {
		data, _, next := set.Record(at)
		target := dnsname.View(wire[:copy(wire[:], set.TargetName(data).Wire())])
		dnsname.Lower(wire[:target.Len()])
		found := z.Lookup(target)
		node := found.Exact
		switch {
		case (set.Type == rdata.TypeSVCB || set.Type == rdata.TypeHTTPS) && target.IsRoot():
			node = serviceNode(z, n, data)
		case set.Type != rdata.TypeCNAME:
			node = addressNode(z, found)
		}
		binary.LittleEndian.PutUint32(set.body[at+2+len(data):], uint32(node))
		if set.Type == rdata.TypeNS && node == 0 {
			b.checkGlue(z, n, target, found)
		}
		at = next
	}
}

// serviceNode returns the node with the addresses for SVCB with the target ".",
// which is the record's owner, unless it says that there is no service
// (RFC 9460 §2.5). For a wildcard the owner is known only when it is asked for.
func serviceNode(z *Zone, owner Node, data []byte) Node {
	if priority := binary.BigEndian.Uint16(data); priority == 0 || z.Name(owner).IsWildcard() {
		return 0
	}
	return addressNode(z, z.At(owner))
}

// addressNode returns the node with the addresses of a name, be it by a wildcard
// (RFC 4592 §2.1.1: a wildcard answers for any name, whoever asks).
func addressNode(z *Zone, f Found) Node {
	node := f.Exact
	if node == 0 && f.Cut == 0 && f.DNAME == 0 {
		node = f.Wildcard
	}
	if node == 0 || z.IsSteered(node) { // what is steered is asked for, not added
		return 0
	}
	if _, ok := z.RRset(node, rdata.TypeA); ok {
		return node
	}
	if _, ok := z.RRset(node, rdata.TypeAAAA); ok {
		return node
	}
	return 0
}
