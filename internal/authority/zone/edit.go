package zone

import (
	"bytes"
	"encoding/binary"
	"slices"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Editor makes the next version of a zone out of one that is served meanwhile. It
// belongs to one goroutine; the zone that it came from never changes.
//
// What an edit costs goes by what it changes, and by what was changed since the
// zone was built: it shares everything else; see patch. What is not worth that, or
// too rare, is built anew.
type Editor struct {
	z       *Zone
	names   map[string]*editedName // by wire name
	refused problems               // of records that cannot be added
	hashed  map[string]Node        // owners of NSEC3 that no index has, once they were needed

	always bool // for tests: patch a zone however small it is
}

// editedName is all that a name has, once something of it was changed.
type editedName struct {
	name     dnsname.Name
	records  []rdata.Record // in the order of the zone, what was added behind it
	steering Steering
}

// Edit returns an Editor that begins with what z has.
func (z *Zone) Edit() *Editor { return &Editor{z: z, names: map[string]*editedName{}} }

// Delete takes away the record with the name, type and RDATA of r, and reports
// whether it was there. The TTL does not matter, nor do capital letters in names
// (RFC 2136 §1.1.1).
func (e *Editor) Delete(r rdata.Record) bool {
	if r.Class != rdata.ClassIN || !r.Name.IsSubdomainOf(e.z.origin) || !isWellFormed(r.Type, r.Data) {
		return false
	}
	n := e.edited(r.Name)
	for i, old := range n.records {
		if old.Type == r.Type && compareRdata(r.Type, old.Data, r.Data) == 0 {
			n.records = slices.Delete(n.records, i, i+1)
			return true
		}
	}
	return false
}

// Add adds a record. What is wrong with it is reported by Finish. Of an RRset
// whose records differ in TTL all get the lowest (RFC 2181 §5.2), so to raise a
// TTL delete the RRset and add it again. Add keeps the memory of r until Finish.
func (e *Editor) Add(r rdata.Record) {
	switch {
	case !r.Name.IsSubdomainOf(e.z.origin):
		e.refused.add(Warning, r.Name, r.Type, "left out, for it is outside the zone %s; check its name", e.z.origin)
	case !isWellFormed(r.Type, r.Data): // Delete compares what is well formed
		e.refused.addMalformed(r)
	default:
		n := e.edited(r.Name)
		n.records = append(n.records, r)
	}
}

// Steer is Builder.Steer. name must be in the zone.
func (e *Editor) Steer(name dnsname.Name, s Steering) {
	if !name.IsSubdomainOf(e.z.origin) {
		panic("BUG: steered name " + name.String() + " is outside of zone " + e.z.origin.String())
	}
	e.edited(name).steering = s
}

// SetSerial gives the version that e makes the serial (RFC 1035 §3.3.13: before the four
// times). The SOA record must not have been edited otherwise.
func (e *Editor) SetSerial(serial rdata.Serial) {
	if serial == e.z.Serial() {
		return
	}
	set, _ := e.z.RRset(apex, rdata.TypeSOA)
	data, _, _ := set.Record(0)
	soa := rdata.Record{Name: e.z.origin, Type: rdata.TypeSOA, Class: rdata.ClassIN, TTL: set.TTL, Data: data}
	e.Delete(soa)
	soa.Data = bytes.Clone(data)
	binary.BigEndian.PutUint32(soa.Data[len(data)-20:], uint32(serial))
	e.Add(soa)
}

// edited returns what the edited zone has at a name.
func (e *Editor) edited(name dnsname.Name) *editedName {
	if n, ok := e.names[name.Wire()]; ok {
		return n
	}
	n := &editedName{name: name.Clone()}
	if node := e.nodeOf(e.z.hashOf(name), name); node != 0 && !e.z.isGone(node) {
		n.steering = e.z.Steering(node)
		e.z.yieldNode(node, func(r rdata.Record) bool {
			n.records = append(n.records, r)
			return true
		})
	}
	e.names[n.name.Wire()] = n
	return n
}

// nodeOf returns the Node that a name has or once had, be it one that no question
// finds: an owner of nothing but NSEC3.
func (e *Editor) nodeOf(hash uint64, name dnsname.Name) Node {
	z, wire := e.z, name.Wire()
	if node := z.inTable(hash, wire); node != 0 {
		return node
	}
	if z.over != nil {
		if node := z.inOverlay(hash, wire); node != 0 {
			return node
		}
	}
	if wire[0] == HashLen && len(wire) == 1+HashLen+z.origin.Len() && z.nsec3.count > 0 {
		if _, ok := hashPrefix(wire[1 : 1+HashLen]); ok {
			if node := z.Matching(Hash([]byte(wire[1 : 1+HashLen]))); node != 0 {
				return node
			}
		}
	}
	if z.unindexed == 0 {
		return 0
	}
	if e.hashed == nil {
		e.hashed = map[string]Node{}
		for node := apex; int(node)*nodeUnit < len(z.arena); node = z.behind(node) {
			if z.arena[int(node)*nodeUnit+nodeFlags]&flagHash != 0 {
				e.hashed[z.Name(node).Wire()] = node
			}
		}
	}
	return e.hashed[wire]
}

// isGone reports whether n, which an edit knows, does not exist.
func (z *Zone) isGone(n Node) bool { return z.over != nil && z.over.isGone(n) }

// Limits of what is patched. An overlay makes every version somewhat larger, and
// every look into it somewhat slower, so it must not become large itself.
const (
	// smallArena: the arena and the table of a zone with less lie together, and its
	// overlay is compacted by an edit itself, which takes less than a millisecond.
	smallArena = 64 << 10
	// leastPatched: a zone with less is built anew for each change, which takes no
	// longer than to patch it.
	leastPatched = 1 << 10
	// patchShare: one in so many names at most is patched; more are built anew, which
	// costs about as much and leaves nothing to compact.
	patchShare = 8
	// leastShare: so many are patched in any case: a change, and the SOA record.
	leastShare = 4
	// fragmentedShare: an overlay of more than one in so many octets of the arena is
	// due to be compacted by whoever has the time; see Fragmented.
	fragmentedShare = 16
	// overlayShare: with more than one in so many the next Finish builds a small zone
	// anew, and overlayRoom is what every zone may have beside that.
	overlayShare = 4
	overlayRoom  = 8 << 10
)

// mostOverlay returns how many octets of an overlay there may be before Finish builds
// a zone anew, whoever waits for it. A large one is compacted beside its edits long
// before (package compact), so this is for who does not do that: its edits then take
// as much memory as the zone itself.
func (z *Zone) mostOverlay() int {
	if len(z.arena) < smallArena {
		return len(z.arena)/overlayShare + overlayRoom
	}
	return len(z.arena) + overlayRoom
}

// Fragmented reports whether so much of the zone was edited that it should be built
// anew by Compact, which takes a while, when nobody waits for it. Small zones never
// are.
func (z *Zone) Fragmented() bool {
	return z.over != nil && len(z.arena) >= smallArena && len(z.over.octets) > len(z.arena)/fragmentedShare+overlayRoom
}

// Edits returns how many octets edits have written beside the zone's arena.
func (z *Zone) Edits() (sizeBytes int) {
	if z.over == nil {
		return 0
	}
	return len(z.over.octets)
}

// Compact returns a zone that is built anew of all that z has. It is z itself if
// that was never edited.
func (z *Zone) Compact() *Zone {
	if z.over == nil {
		return z
	}
	next, problems := z.Edit().rebuild()
	if next == nil {
		panic("BUG: an edited zone cannot be built: " + problems[0].String())
	}
	return next
}

// Finish makes the zone that Build would make of the records that are left and
// those that were added, with all that is wrong with them; of more warnings than
// are listed it may choose others. The Zone is nil if a problem is Fatal. The
// Editor is of no use afterwards.
func (e *Editor) Finish() (*Zone, []Problem) {
	if len(e.names) == 0 && !e.refused.fatal() {
		for _, w := range e.z.warnings.list {
			e.refused.list = append(e.refused.list, w.Problem)
		}
		return e.z, e.refused.list
	}
	if z, problems, ok := e.patch(); ok {
		return z, problems
	}
	return e.rebuild()
}

// sorted returns the edited names in canonical order.
func (e *Editor) sorted() []*editedName {
	list := make([]*editedName, 0, len(e.names))
	for _, n := range e.names {
		list = append(list, n)
	}
	slices.SortFunc(list, func(x, y *editedName) int { return x.name.Compare(y.name) })
	return list
}

// rebuild is Finish for any edit.
func (e *Editor) rebuild() (*Zone, []Problem) {
	b := NewBuilder(e.z.origin)
	b.problems = e.refused
	for node := range e.z.Nodes() {
		name := e.z.Name(node)
		if len(e.names) > 0 && e.names[name.Wire()] != nil {
			continue
		}
		if how := e.z.Steering(node); how != NotSteered {
			b.Steer(name, how)
		}
		e.z.yieldNode(node, func(r rdata.Record) bool {
			b.Add(r)
			return true
		})
	}
	for _, n := range e.sorted() {
		b.addEdited(n)
	}
	return b.Finish()
}

// addEdited adds all that an edited name has.
func (b *Builder) addEdited(n *editedName) {
	if n.steering != NotSteered {
		b.Steer(n.name, n.steering)
	}
	for _, r := range n.records {
		b.Add(r)
	}
}
