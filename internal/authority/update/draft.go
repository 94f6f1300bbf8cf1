package update

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// draft is a version of a zone with changes that nobody else sees yet. Only the
// names that were asked for are in it.
type draft struct {
	zone  *zone.Zone
	names map[dnsname.Name]*content
	order []dnsname.Name // of names, as they were first asked for
}

// content is the RRsets of one name. What is in before is never changed.
type content struct {
	before, now map[setKey]*rrset // none of now is empty
}

// setKey is what the records of one RRset have in common; for RRSIG also the type
// they cover, which is what they share their TTL with (RFC 4034 §3).
type setKey struct {
	rrtype, covered rdata.Type
}

func keyOf(t rdata.Type, data []byte) setKey {
	if t == rdata.TypeRRSIG && len(data) >= 2 {
		return setKey{t, rdata.Type(data[0])<<8 | rdata.Type(data[1])}
	}
	return setKey{rrtype: t}
}

// rrset is records by their identity, with the one TTL that they have (RFC 2181
// §5.2): giving all another TTL costs nothing, and an RRset that is not touched is
// not walked.
type rrset struct {
	ttl  rdata.TTL
	data map[string][]byte
}

func newDraft(z *zone.Zone) *draft { return &draft{zone: z, names: map[dnsname.Name]*content{}} }

// at returns the content of a name, which is empty if the zone does not have it.
func (d *draft) at(name dnsname.Name) *content {
	if c := d.names[name]; c != nil {
		return c
	}
	c := &content{before: map[setKey]*rrset{}}
	if node := d.zone.Lookup(name).Exact; node != 0 {
		sets := d.zone.RRsets(node)
		for set, ok := sets.Next(); ok; set, ok = sets.Next() {
			at := set.Start(0)
			for range set.Count {
				data, _, next := set.Record(at)
				at = next
				key := keyOf(set.Type, data)
				if c.before[key] == nil {
					c.before[key] = &rrset{set.TTL, make(map[string][]byte, set.Count)}
				}
				c.before[key].data[identity(set.Type, data)] = data
			}
		}
	}
	c.now = maps.Clone(c.before)
	d.names[name] = c
	d.order = append(d.order, name)
	return c
}

// own returns the RRset of now with key, which may be changed; nil if there is none.
func (c *content) own(key setKey) *rrset {
	s := c.now[key]
	if s != nil && s == c.before[key] {
		s = &rrset{s.ttl, maps.Clone(s.data)}
		c.now[key] = s
	}
	return s
}

// count returns how many records of a type there are.
func (c *content) count(t rdata.Type) int {
	if t != rdata.TypeRRSIG {
		if s := c.now[setKey{rrtype: t}]; s != nil {
			return len(s.data)
		}
		return 0
	}
	count := 0
	for key, s := range c.now {
		if key.rrtype == t {
			count += len(s.data)
		}
	}
	return count
}

// has reports whether a record is there.
func (c *content) has(t rdata.Type, data []byte) bool {
	s := c.now[keyOf(t, data)]
	if s == nil {
		return false
	}
	_, there := s.data[identity(t, data)]
	return there
}

// put adds a record, or gives the one that is there, with all of its RRset, its TTL.
func (c *content) put(r rdata.Record) {
	key, id := keyOf(r.Type, r.Data), identity(r.Type, r.Data)
	s := c.own(key)
	if s == nil {
		s = &rrset{data: map[string][]byte{}}
		c.now[key] = s
	}
	s.ttl = r.TTL
	if _, there := s.data[id]; !there { // otherwise it stays in the case that it has
		s.data[id] = r.Data
	}
}

// remove takes a record away, if it is there.
func (c *content) remove(t rdata.Type, data []byte) {
	if !c.has(t, data) {
		return
	}
	key := keyOf(t, data)
	s := c.own(key)
	if delete(s.data, identity(t, data)); len(s.data) == 0 {
		delete(c.now, key)
	}
}

// removeType takes all records of a type away.
func (c *content) removeType(t rdata.Type) {
	for key := range c.now {
		if key.rrtype == t {
			delete(c.now, key)
		}
	}
}

// types returns the types that there are, in order.
func (c *content) types() []rdata.Type {
	var all []rdata.Type
	for key := range c.now {
		all = append(all, key.rrtype)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// change returns what is different from the zone, name by name in the order in
// which they were asked for, by type and identity within a name.
func (d *draft) change() Change {
	var change Change
	for _, name := range d.order {
		c := d.names[name]
		change.Deleted = appendMissing(change.Deleted, name, c.before, c.now)
		change.Added = appendMissing(change.Added, name, c.now, c.before)
	}
	return change
}

// appendMissing appends the records of a name that are in a and not, or with another
// TTL, in b.
func appendMissing(list []rdata.Record, name dnsname.Name, a, b map[setKey]*rrset) []rdata.Record {
	keys := slices.SortedFunc(maps.Keys(a), func(x, y setKey) int {
		return cmp.Or(cmp.Compare(x.rrtype, y.rrtype), cmp.Compare(x.covered, y.covered))
	})
	for _, key := range keys {
		s, other := a[key], b[key]
		if s == other {
			continue
		}
		for _, id := range slices.Sorted(maps.Keys(s.data)) {
			if other != nil && other.ttl == s.ttl {
				if _, there := other.data[id]; there {
					continue
				}
			}
			list = append(list, rdata.Record{Name: name, Type: key.rrtype, Class: rdata.ClassIN, TTL: s.ttl, Data: s.data[id]})
		}
	}
	return list
}

// size returns how many octets the records of an RRset take in a message.
func (s *rrset) size() int {
	if s == nil {
		return 0
	}
	const header = 12 // a pointer to the owner, type, class, TTL and length
	size := header * len(s.data)
	for _, data := range s.data {
		size += len(data)
	}
	return size
}

// identity is what makes two records of one name the same: type and RDATA (RFC 2136
// §1.1.1), the letters of names in RDATA without their case (RFC 4343).
func identity(t rdata.Type, data []byte) string {
	b := make([]byte, 0, 2+len(data))
	b = append(b, byte(t>>8), byte(t))
	b = append(b, data...)
	names := b[2:]
	l := rdata.LayoutOf(t)
	at := l.Prefix
	if at < 0 { // NAPTR: two numbers and three strings before the name (RFC 3403 §4.1)
		at = 4
		for range 3 {
			if at < len(names) {
				at += 1 + int(names[at])
			}
		}
	}
	for range l.Names {
		_, length, err := dnsname.FromWire(names[min(at, len(names)):])
		if err != nil {
			break // not RDATA of its type: the octets count
		}
		dnsname.Lower(names[at : at+length])
		at += length
	}
	return string(b)
}

// sameWKS reports whether two WKS records are about the same address and protocol
// (RFC 2136 §3.4.2.2, RFC 1035 §3.4.2).
func sameWKS(a, b []byte) bool { return len(a) >= 5 && len(b) >= 5 && bytes.Equal(a[:5], b[:5]) }
