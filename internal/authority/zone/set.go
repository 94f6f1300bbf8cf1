package zone

import (
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Set is the zones that a server answers for, of which one may be the parent of
// another. It finds the zone of a name in one pass over the name's labels,
// however many zones there are.
type Set struct {
	zones  []*Zone
	table  []uint64                    // index into zones + 1, see insert
	depths [dnsname.MaxLabels + 1]bool // whether a zone's origin has so many labels
	lowest int                         // the largest such number
}

// NewSet returns the set of the zones. Of two with one origin the later counts.
func NewSet(zones ...*Zone) *Set {
	s := &Set{table: newTable(len(zones))}
	for _, z := range zones {
		if i := s.find(z.originHash, z.origin.Wire()); i != 0 {
			s.zones[i-1] = z
			continue
		}
		s.zones = append(s.zones, z)
		insert(s.table, z.originHash, uint32(len(s.zones)))
		labels := z.origin.Labels()
		s.depths[labels] = true
		s.lowest = max(s.lowest, labels)
	}
	return s
}

// Zones returns the zones of the set, which the caller must not change.
func (s *Set) Zones() []*Zone { return s.zones }

// Find returns the zone that answers for n and t: the one with the longest
// origin at or above n. DS belongs to the parent's side of a zone cut, so for an
// apex it is the zone above, if the set has that (RFC 4035 §3.1.4.1). It is nil
// if no zone is at or above n.
func (s *Set) Find(n dnsname.Name, t rdata.Type) *Zone {
	if n.IsZero() || len(s.zones) == 0 {
		return nil
	}
	wire := n.Wire()
	var starts [dnsname.MaxLabels + 1]uint8
	labels, _ := splitBelow(wire, dnsname.Root.Wire(), &starts)
	var best, above uint32
	hash, end := hashSeed, len(wire)-1
	for depth := 0; ; {
		if s.depths[depth] {
			if i := s.find(hash, wire[end:]); i != 0 {
				best, above = i, best
			}
		}
		if depth == labels || depth == s.lowest {
			break
		}
		depth++
		start := int(starts[labels-depth])
		hash = hashLabel(hash, wire[start:end])
		end = start
	}
	if best == 0 {
		return nil
	}
	z := s.zones[best-1]
	if t == rdata.TypeDS && above != 0 && z.origin.Len() == len(wire) {
		return s.zones[above-1]
	}
	return z
}

// find returns the index + 1 of the zone with the origin wire, or 0.
func (s *Set) find(hash uint64, wire string) uint32 {
	for i := slotOf(hash, len(s.table)); ; {
		slot := s.table[i]
		if slot == 0 {
			return 0
		}
		if uint32(slot>>32) == uint32(hash) && s.zones[uint32(slot)-1].origin.Wire() == wire {
			return uint32(slot)
		}
		if i++; i == len(s.table) {
			i = 0
		}
	}
}
