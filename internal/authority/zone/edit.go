package zone

import (
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Editor makes the next version of a zone out of one that is served meanwhile. It
// belongs to one goroutine; the zone that it came from never changes.
type Editor struct {
	z       *Zone
	names   map[string]*editedName // by wire name
	refused problems               // of records that cannot be added
}

// editedName is all that a name has, once something of it was changed.
type editedName struct {
	name    dnsname.Name
	records []rdata.Record // in the order of the zone, what was added behind it
	steered bool
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
			n.records = append(n.records[:i], n.records[i+1:]...)
			return true
		}
	}
	return false
}

// Add adds a record. What is wrong with it is reported by Finish. Of an RRset
// whose records differ in TTL all get the lowest (RFC 2181 §5.2), so to raise a
// TTL delete the RRset and add it again. Add keeps the memory of r until Finish.
func (e *Editor) Add(r rdata.Record) {
	if r.Name.IsSubdomainOf(e.z.origin) {
		n := e.edited(r.Name)
		n.records = append(n.records, r)
		return
	}
	e.refused.add(Warning, r.Name, r.Type, "left out, for it is outside the zone %s; check its name", e.z.origin)
}

// Steer is Builder.Steer. name must be in the zone.
func (e *Editor) Steer(name dnsname.Name) { e.edited(name).steered = true }

// edited returns what the edited zone has at a name.
func (e *Editor) edited(name dnsname.Name) *editedName {
	if n, ok := e.names[name.Wire()]; ok {
		return n
	}
	n := &editedName{name: name.Clone()}
	if node := e.z.nodeOf(name); node != 0 {
		n.steered = e.z.IsSteered(node)
		e.z.yieldNode(node, func(r rdata.Record) bool {
			n.records = append(n.records, r)
			return true
		})
	}
	e.names[n.name.Wire()] = n
	return n
}

// nodeOf returns the node of a name, be it one that no question finds: an owner of
// nothing but NSEC3.
func (z *Zone) nodeOf(name dnsname.Name) Node {
	if node := z.Lookup(name).Exact; node != 0 || name.Wire()[0] != HashLen {
		return node
	}
	for node := range z.nodes() {
		if z.Name(node) == name {
			return node
		}
	}
	return 0
}

// Finish makes the zone that Build would make of the records that are left and
// those that were added, with all that is wrong with them. The Zone is nil if a
// problem is Fatal. The Editor is of no use afterwards.
func (e *Editor) Finish() (*Zone, []Problem) {
	b := NewBuilder(e.z.origin)
	b.problems = e.refused
	for node := range e.z.nodes() {
		if e.names[e.z.Name(node).Wire()] != nil {
			continue
		}
		if e.z.IsSteered(node) {
			b.Steer(e.z.Name(node))
		}
		e.z.yieldNode(node, func(r rdata.Record) bool {
			b.Add(r)
			return true
		})
	}
	for _, n := range e.names {
		if n.steered {
			b.Steer(n.name)
		}
		for _, r := range n.records {
			b.Add(r)
		}
	}
	return b.Finish()
}
