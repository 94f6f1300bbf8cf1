package zone

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// patch is an edit on its way into an overlay. A Builder of its own has the names
// that were edited and all names above them, so that what holds for the records of
// a name, and what settles its cover, is said once, in Finish of Builder.
//
// Beside those, an edit concerns the names below a zone cut or DNAME that comes or
// goes, for it covers them; they are taken in as they are.
type patch struct {
	e     *Editor
	z     *Zone // before
	next  *Zone
	b     *Builder
	nodes []patchedNode // beside b.nodes
	byID  map[Node]uint32
	order []uint32 // canonical

	ids []Node // that are new, in canonical order
}

// patchedNode is what a patch knows of a node of its Builder.
type patchedNode struct {
	id     Node        // zero if the name never existed
	was    bool        // it existed before
	now    bool        // it exists now
	child  bool        // a name below it exists now, as far as looked
	edited *editedName // nil if its records stay as they are
	only   bool        // it has NSEC3 and no other records
	found  bool        // the overlay or the table has its name
	flags  uint8       // before
	cover  Node        // before
	star   Node        // its wildcard, before
	place  Node        // where it is written; zero if it is not
	size   int
}

// patch makes the edited zone out of the one before. It is not ok if the edit
// should rather be built anew.
func (e *Editor) patch() (*Zone, []Problem, bool) {
	z := e.z
	if !e.always && (len(z.arena) < leastPatched || len(e.names) > max(z.names/patchShare, leastShare)) {
		return nil, nil, false
	}
	p := &patch{e: e, z: z, b: newBuilder(z.origin, z.originHash), byID: map[Node]uint32{}}
	p.b.problems = e.refused
	p.stage()
	if p.b.problems.fatal() {
		return nil, p.b.problems.list, true
	}
	if !p.takeInCovered() {
		return nil, nil, false
	}
	p.order = p.b.canonicalOrder()
	p.settleExistence()
	need := p.identify()
	p.settleHeaders()
	if need = p.allot(need); need > maxArena || !e.always && z.over != nil && need > z.mostOverlay() {
		return nil, nil, false
	}
	p.write(need)
	p.count()
	if !p.reindex() {
		return nil, nil, false
	}
	problems := p.check()
	p.next.settle()
	return p.next, problems, true
}

// stage puts the edited names into the Builder, and checks their records.
func (p *patch) stage() {
	for _, n := range p.e.sorted() {
		i := p.b.nodeOf(n.name)
		p.b.addEdited(n)
		p.resolve()
		p.nodes[i].edited = n
	}
	p.resolve()
	var list []uint32
	for i := range p.nodes {
		n, node := &p.nodes[i], &p.b.nodes[i]
		if n.edited != nil {
			node.flags = n.edited.steering.flags() // what else stays is found again
			list = p.b.sortedRecords(node, list[:0])
			n.size = nodeName + int(node.nameLen) + p.b.arrangeNode(uint32(i), list)
			n.only = node.flags&flagHash != 0
		}
	}
	if p.nodes[0].edited != nil {
		p.b.checkApex()
	}
}

// resolve looks up what the zone has of the nodes that are new in the Builder.
func (p *patch) resolve() {
	for i := len(p.nodes); i < len(p.b.nodes); i++ {
		node := &p.b.nodes[i]
		name := p.b.stagedName(node)
		n := patchedNode{id: p.e.nodeOf(node.hash, name)}
		if n.id != 0 {
			n.found = p.z.inTable(node.hash, name.Wire()) != 0 || p.z.over != nil && p.z.inOverlay(node.hash, name.Wire()) != 0
			if n.was = !p.z.isGone(n.id); n.was {
				n.flags, n.cover, n.star = withoutOptOut(p.z.flags(n.id)), p.z.cover(n.id), p.z.wildcard(n.id)
				n.only = p.z.hasOnlyNSEC3(n.id)
				node.flags |= n.flags &^ flagHash
			}
			p.byID[n.id] = uint32(i)
		}
		p.nodes = append(p.nodes, n)
	}
}

// hasOnlyNSEC3 reports whether a node below the apex has records, all of them NSEC3
// or their signatures.
func (z *Zone) hasOnlyNSEC3(n Node) bool {
	sets := z.RRsets(n)
	if n == apex || sets.left == 0 {
		return false
	}
	for set, ok := sets.Next(); ok; set, ok = sets.Next() {
		if set.Type != rdata.TypeNSEC3 && (set.Type != rdata.TypeRRSIG || set.Covers() != rdata.TypeNSEC3) {
			return false
		}
	}
	return true
}

// takeInCovered takes in all names below those that become or cease to be a zone
// cut or an owner of DNAME, unless they are too many.
func (p *patch) takeInCovered() bool {
	limit := len(p.nodes) + p.z.names/patchShare
	for i := range p.nodes {
		n := p.nodes[i]
		if n.edited == nil || !n.was || (n.flags^p.b.nodes[i].flags)&(flagCut|flagDNAME) == 0 {
			continue
		}
		for node := range p.z.Below(n.id) {
			p.b.nodeOf(p.z.Name(node))
			if len(p.b.nodes) > limit && !p.e.always {
				return false
			}
		}
	}
	p.resolve()
	return true
}

// settleExistence decides from below which names exist: those with records or
// steered, and those above (RFC 4592 §2.2.2).
func (p *patch) settleExistence() {
	for _, i := range slices.Backward(p.order) {
		n, node := &p.nodes[i], &p.b.nodes[i]
		content := steeringOf(node.flags) != NotSteered
		if n.edited != nil {
			content = content || node.sets > 0
		} else {
			content = content || n.was && p.z.HasData(n.id)
		}
		if !n.child && (!content || n.only) {
			n.child = n.was && p.hasOtherBelow(n.id)
		}
		n.now = i == 0 || content || n.child
		if n.now && i != 0 {
			p.nodes[node.parent].child = true
		}
	}
}

// hasOtherBelow reports whether a name below n goes on to exist, given what was
// decided of those below it that were taken in.
func (p *patch) hasOtherBelow(n Node) bool {
	for below := range p.z.Below(n) {
		if below == n {
			continue
		}
		if i, ok := p.byID[below]; !ok || p.nodes[i].now {
			return true
		}
	}
	return false
}

// identify gives each name that never existed the Node where it will be written,
// and returns how many octets the overlay then has.
func (p *patch) identify() (size int) {
	start := p.start()
	if p.z.over != nil {
		size = len(p.z.over.octets)
	}
	for _, i := range p.order {
		n, node := &p.nodes[i], &p.b.nodes[i]
		if n.now && n.edited == nil && !n.was {
			n.size = nodeName + int(node.nameLen)
		}
		if n.id == 0 && n.now {
			n.place = start + Node(size/nodeUnit)
			n.id = n.place
			size = roundUp(size + n.size)
			p.ids = append(p.ids, n.id)
		}
		node.node = n.id
	}
	return size
}

// start returns the first Node that is not in the arena.
func (p *patch) start() Node { return Node(roundUp(len(p.z.arena)) / nodeUnit) }

// settleHeaders settles from above what covers the names, their wildcards and
// flags.
func (p *patch) settleHeaders() {
	for _, i := range p.order {
		n, node := &p.nodes[i], &p.b.nodes[i]
		if !n.now {
			continue
		}
		if _, taken := p.byID[n.star]; n.was && !taken {
			node.wildcard = n.star // else it has its turn
		}
		node.flags &^= flagHash
		if n.only && !n.child {
			node.flags |= flagHash
		}
		p.b.cover(i)
	}
}

// allot gives the other nodes that must be written a place, and returns how many
// octets the overlay then has.
func (p *patch) allot(size int) int {
	start := p.start()
	for _, i := range p.order {
		n, node := &p.nodes[i], &p.b.nodes[i]
		if !n.now || n.place != 0 ||
			n.was && n.edited == nil && n.flags == node.flags && n.cover == node.cover && n.star == node.wildcard {
			continue
		}
		if n.edited == nil && n.was {
			memory, at := p.z.place(n.id)
			n.size = endOf(memory, at) - at
		}
		n.place = start + Node(size/nodeUnit)
		size = roundUp(size + n.size)
	}
	return size
}

// write makes the overlay, and the zone with it.
func (p *patch) write(size int) {
	old := p.z.over
	if old == nil {
		old = &overlay{start: p.start()}
	}
	over := &overlay{start: old.start, target: old.target}
	over.octets, over.claim = p.z.over.extended(size - len(old.octets))
	over.moved, over.names = old.moved.with(len(p.nodes)), old.names.with(len(p.nodes))
	next, own := *p.z, *p.z.special
	next.special = &own
	p.next, next.over, next.linksHold = &next, over, false
	for _, i := range p.order {
		n := &p.nodes[i]
		switch {
		case n.now && n.place != 0:
			p.writeNode(i)
			if n.place != n.id {
				over.moved.set(uint32(n.id), uint32(n.place))
			}
		case n.was && !n.now:
			over.moved.set(uint32(n.id), uint32(gone))
		}
		if n.id != 0 && !n.found {
			over.names.add(uint32(p.b.nodes[i].hash), uint32(n.id))
		}
	}
	over.added = p.merged(old.added)
	next.depth = max(next.depth, int32(p.b.depth))
	if p.nodes[0].edited != nil {
		next.readApex(nil)
	} else if p.nodes[0].place != 0 {
		soa, _ := next.RRset(apex, rdata.TypeSOA)
		next.signatures, _ = soa.Signatures()
	}
}

// writeNode writes a node to its place: what was edited from its records, another
// as it was, with a new header. What is written links to nothing yet.
func (p *patch) writeNode(i uint32) {
	n, node := &p.nodes[i], &p.b.nodes[i]
	over := p.next.over
	at := int(n.place-over.start) * nodeUnit
	room := over.octets[at : at : at+n.size]
	if n.edited != nil || !n.was {
		room = p.b.appendNode(room, i)
	} else {
		memory, from := p.z.place(n.id)
		room = append(room, memory[from:from+n.size]...)
		binary.LittleEndian.PutUint32(room[nodeCover:], uint32(node.cover))
		binary.LittleEndian.PutUint32(room[nodeWildcard:], uint32(node.wildcard))
		room[nodeFlags] = node.flags
	}
	if len(room) != n.size {
		panic(fmt.Sprintf("BUG: node %s of %d octets, expected %d", p.b.stagedName(node), len(room), n.size))
	}
}

// merged returns the added nodes with those that are new, in canonical order.
func (p *patch) merged(old []Node) []Node {
	if len(p.ids) == 0 {
		return old
	}
	all := make([]Node, 0, len(old)+len(p.ids))
	for _, id := range p.ids {
		name := p.next.Name(id)
		before, _ := slices.BinarySearchFunc(old, name, func(n Node, name dnsname.Name) int { return p.next.Name(n).Compare(name) })
		all = append(append(all, old[:before]...), id)
		old = old[before:]
	}
	return append(all, old...)
}

// count settles how many names and records there are.
func (p *patch) count() {
	for i := range p.nodes {
		n := &p.nodes[i]
		if n.was {
			p.next.names--
		}
		if n.now {
			p.next.names++
		}
		if n.edited == nil {
			continue
		}
		if n.was {
			p.next.records -= p.z.recordsAt(n.id)
		}
		if n.now {
			p.next.records += p.next.recordsAt(n.id)
		}
	}
	p.next.wild = p.next.wild || p.b.wild
	p.next.steers = p.next.steers || slices.ContainsFunc(p.b.nodes, func(n stagedNode) bool { return steeringOf(n.flags) != NotSteered })
	p.next.types.addAll(p.b.types)
}

// recordsAt returns the number of the records of n.
func (z *Zone) recordsAt(n Node) (count int) {
	sets := z.RRsets(n)
	for set, ok := sets.Next(); ok; set, ok = sets.Next() {
		count += set.Count
	}
	return count
}

// reindex takes the changes over into the indexes for denial. It is not ok if the
// zone now denies in another way than before: then all of it is built anew.
func (p *patch) reindex() bool {
	z, next := p.z, p.next
	if z.IsSigned() != next.IsSigned() {
		return false
	}
	if !z.IsSigned() {
		return true
	}
	before, _ := z.RRset(apex, rdata.TypeNSEC3PARAM)
	params, _ := next.RRset(apex, rdata.TypeNSEC3PARAM)
	if !bytes.Equal(before.body, params.body) {
		return false
	}
	nsec3 := slices.ContainsFunc(p.nodes, func(n patchedNode) bool {
		_, was := p.z.rrsetIf(n.was, n.id, rdata.TypeNSEC3)
		_, is := p.next.rrsetIf(n.now, n.id, rdata.TypeNSEC3)
		return was || is
	})
	switch {
	case z.nsec3.count > 0:
		return !nsec3 || params.Count == 1 && p.reindexNSEC3()
	case len(z.nsec.chunks) > 0:
		return (!nsec3 || params.Count == 0) && p.reindexNSEC()
	}
	return false
}

// rrsetIf is RRset of a node that may not exist.
func (z *Zone) rrsetIf(exists bool, n Node, t rdata.Type) (RRset, bool) {
	if !exists {
		return RRset{}, false
	}
	return z.RRset(n, t)
}

// reindexNSEC reports whether there still is a chain.
func (p *patch) reindexNSEC() bool {
	if !p.next.isInChain(apex) {
		return false
	}
	x, own := &p.next.nsec, false
	for i := range p.nodes {
		n := &p.nodes[i]
		was, is := n.was && p.z.isInChain(n.id), n.now && p.next.isInChain(n.id)
		if was == is {
			continue
		}
		if !own {
			own = true
			x.first, x.chunks = slices.Clone(x.first), slices.Clone(x.chunks)
		}
		if is {
			x.insert(p.next, n.id)
		} else {
			x.remove(p.next, n.id)
		}
	}
	return true
}

// reindexNSEC3 reports whether there still is a chain.
func (p *patch) reindexNSEC3() bool {
	x, own := &p.next.nsec3, false
	for i := range p.nodes {
		n := &p.nodes[i]
		if i == 0 || p.b.nodes[i].parent != 0 {
			continue
		}
		var entry uint64
		var was, is bool
		if n.was {
			entry, was = p.z.hashEntry(n.id, x.params)
		}
		if n.now {
			entry, is = p.next.hashEntry(n.id, x.params)
		}
		if was == is {
			continue
		}
		if was {
			entry, _ = p.z.hashEntry(n.id, x.params)
		}
		if !own {
			own = true
			x.pages = slices.Clone(x.pages)
		}
		x.change(p.next, entry, is)
	}
	return x.count > 0 && x.anchor(p.next)
}
