package zone

import (
	"iter"
	"math/bits"
	"slices"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Set is the zones that a server answers for, of which one may be the parent of
// another. It finds the zone of a name in one pass over the name's labels,
// however many zones there are.
//
// The zones are in shards by the hashes of their origins, each a table of its own.
// A Set that differs in one zone from another shares all shards with it but one,
// so that a change among a million zones copies a hundred kilobytes and not all.
type Set struct {
	shards []setShard // a power of two of them, by the upper bits of the hash
	bits   int        // of a hash that choose the shard
	count  int
	depths [dnsname.MaxLabels + 1]uint32 // how many zones' origins have so many labels
	lowest int                           // the largest such number
	large  bool                          // whether some zone is, or once was, larger than the processor's cache likes
}

// setShard is a table with open addressing and linear probing. It has at least one
// empty slot, or none at all.
type setShard struct {
	slots []setSlot
	used  int
}

// setSlot is empty, or has a zone.
type setSlot struct {
	hash uint64 // of the origin
	zone *Zone
}

// shardZones is how many zones a shard has on average at most. The fewer, the less
// of a shard and the more of the list of shards is copied for a change; for a
// million zones this number makes the sum least, within a factor of two.
const shardZones = 256

// NewSet returns the set of the zones. Of two with one origin the later counts.
func NewSet(zones ...*Zone) *Set {
	s := newSet(len(zones))
	for _, z := range zones {
		s.put(z, hashName(z.origin.Wire()))
	}
	return s
}

// newSet returns an empty set with shards for so many zones.
func newSet(zones int) *Set {
	s := &Set{}
	if zones > shardZones {
		s.bits = bits.Len(uint((zones - 1) / shardZones))
	}
	s.shards = make([]setShard, 1<<s.bits)
	return s
}

// With returns s with z, in place of the zone with its origin if there is one.
func (s *Set) With(z *Zone) *Set {
	if s.count >= 2*shardZones*len(s.shards) {
		return s.regrown().With(z)
	}
	hash := hashName(z.origin.Wire())
	next := s.withShard(hash)
	next.put(z, hash)
	return next
}

// Without returns s without the zone of the given origin.
func (s *Set) Without(origin dnsname.Name) *Set {
	hash := hashName(origin.Wire())
	if s.find(hash, origin.Wire()) == nil {
		return s
	}
	next := s.withShard(hash)
	shard := &next.shards[next.shardOf(hash)]
	kept := setShard{slots: make([]setSlot, len(shard.slots))}
	for _, slot := range shard.slots {
		if slot.zone != nil && slot.zone.origin != origin {
			kept.insert(slot, s.bits)
		}
	}
	*shard = kept
	next.count--
	depth := origin.Labels()
	for next.depths[depth]--; next.lowest > 0 && next.depths[next.lowest] == 0; next.lowest-- {
	}
	return next
}

// withShard returns a copy of s whose shard for hash may be changed.
func (s *Set) withShard(hash uint64) *Set {
	next := *s
	next.shards = slices.Clone(s.shards)
	shard := &next.shards[s.shardOf(hash)]
	shard.slots = slices.Clone(shard.slots)
	return &next
}

// regrown returns s with more shards.
func (s *Set) regrown() *Set {
	next := newSet(4 * s.count)
	for z := range s.All() {
		next.put(z, hashName(z.origin.Wire()))
	}
	return next
}

// put adds z to a set that nobody else has.
func (s *Set) put(z *Zone, hash uint64) {
	s.large = s.large || len(z.arena) >= prefetchArena
	shard := &s.shards[s.shardOf(hash)]
	if i := shard.find(hash, z.origin.Wire(), s.bits); i >= 0 {
		shard.slots[i].zone = z
		return
	}
	if (shard.used+1)*100 > len(shard.slots)*loadPercent {
		grown := setShard{slots: make([]setSlot, (shard.used+shard.used/4+2)*100/loadPercent+1)}
		for _, slot := range shard.slots {
			if slot.zone != nil {
				grown.insert(slot, s.bits)
			}
		}
		*shard = grown
	}
	shard.insert(setSlot{hash, z}, s.bits)
	s.count++
	labels := z.origin.Labels()
	s.depths[labels]++
	s.lowest = max(s.lowest, labels)
}

// insert adds a slot to a shard that has room. bits of the hash chose the shard.
func (x *setShard) insert(slot setSlot, bits int) {
	i := slotOf(slot.hash<<bits, len(x.slots))
	for x.slots[i].zone != nil {
		if i++; i == len(x.slots) {
			i = 0
		}
	}
	x.slots[i] = slot
	x.used++
}

func (s *Set) shardOf(hash uint64) int { return int(hash >> 32 >> (32 - s.bits)) }

// All returns the zones of the set, in no order.
func (s *Set) All() iter.Seq[*Zone] {
	return func(yield func(*Zone) bool) {
		for _, shard := range s.shards {
			for _, slot := range shard.slots {
				if slot.zone != nil && !yield(slot.zone) {
					return
				}
			}
		}
	}
}

// Len returns the number of zones in the set.
func (s *Set) Len() int { return s.count }

// Get returns the zone with the given origin, nil if it is not in the set.
func (s *Set) Get(origin dnsname.Name) *Zone { return s.find(hashName(origin.Wire()), origin.Wire()) }

// Find returns the zone that answers for n and t: the one with the longest
// origin at or above n. DS belongs to the parent's side of a zone cut, so for an
// apex it is the zone above, if the set has that (RFC 4035 §3.1.4.1). It is nil
// if no zone is at or above n.
func (s *Set) Find(n dnsname.Name, t rdata.Type) *Zone {
	if n.IsZero() || s.count == 0 {
		return nil
	}
	wire := n.Wire()
	var starts [dnsname.MaxLabels + 1]uint8
	labels, _ := splitBelow(wire, dnsname.Root.Wire(), &starts)
	var best, above *Zone
	hash, end := hashSeed, len(wire)-1
	for depth := 0; ; {
		if s.depths[depth] != 0 {
			if z := s.find(hash, wire[end:]); z != nil {
				best, above = z, best
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
	if t == rdata.TypeDS && above != nil && best.origin.Len() == len(wire) {
		return above
	}
	return best
}

// find returns the zone with the origin wire, or nil.
func (s *Set) find(hash uint64, wire string) *Zone {
	shard := &s.shards[s.shardOf(hash)]
	if i := shard.find(hash, wire, s.bits); i >= 0 {
		return shard.slots[i].zone
	}
	return nil
}

// find returns the index of the slot with the origin wire, or -1.
func (x *setShard) find(hash uint64, wire string, bits int) int {
	slots := x.slots
	if len(slots) == 0 {
		return -1
	}
	for i := slotOf(hash<<bits, len(slots)); ; {
		slot := &slots[i]
		if slot.zone == nil {
			return -1
		}
		if slot.hash == hash && slot.zone.origin.Wire() == wire {
			return i
		}
		if i++; i == len(slots) {
			i = 0
		}
	}
}
