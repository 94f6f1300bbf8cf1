package zone

import (
	"encoding/binary"

	"pharos/internal/dns/dnsname"
)

// Prefetch has the processor fetch what the answers to a batch of questions will look
// at, before the first of them is answered. Each question begins with its name, as it
// stands in a message.
//
// In a large zone, or among a million small ones, most of what an answer costs beside the
// system calls is waiting for memory: for the slot of the Set, the Zone, its table, the
// node, each of which says where the next one is. One question can only wait for them one
// after the other. Of a batch, all slots are read before the first Zone is, then all
// Zones, then all tables, then all nodes; what does not depend on each other the
// processor waits for at the same time.
//
// It has no effect but on the processor's cache: it decides nothing, and what is made
// of a message that is no question does not matter.
func (s *Set) Prefetch(questions [][]byte) {
	if s.count < prefetchZones && !s.large || len(questions) < prefetchQuestions {
		return
	}
	var a ahead
	for _, q := range questions {
		a.add(s, q)
	}
	a.slots(s)
	a.fetch()
}

const (
	// prefetchZones is from how many zones on it is worth while: fewer, of some 1,000
	// octets each, are in the cache by themselves.
	prefetchZones = 2048
	// prefetchArena is from how many octets on a zone is large: smaller ones are in the
	// cache by themselves.
	prefetchArena = 1 << 20
	// prefetchQuestions is how many there have to be.
	prefetchQuestions = 2
	// maxAhead is how many apexes are looked for ahead: a batch of 64 questions, as a
	// rule with one zone in question for each. What is more is found without.
	maxAhead = 96
	// aheadNode is how much of a node is fetched, in octets: a name and an address with
	// its signature.
	aheadNode = 4 * 64
	// apexName is an octet of the apex that every zone has: the end of its name, if that
	// has some letters. It may be in another line of memory than the Zone's origin begins.
	apexName = int(apex)*nodeUnit + nodeName
)

// ahead is what is fetched for one batch.
type ahead struct {
	count int
	at    [maxAhead]awaited
	seen  uint64 // the sum of everything that was fetched, so that it is

	lower  [dnsname.MaxLen + 9]byte // scratch: the name in lower case, and room for the last step
	starts [dnsname.MaxLabels + 1]uint8
}

// awaited is a zone that may be the one of a question.
type awaited struct {
	shard  *setShard
	slot   int
	apex   uint64 // hash of the zone's origin
	name   uint64 // hash of the name asked for
	parent uint64 // hash of the name above it: where the answer is if there is no such name
	zone   *Zone
	node   Node
}

// add notes the zones that a question may be about.
func (a *ahead) add(s *Set, question []byte) {
	labels, end := 0, 0
	for {
		if end >= len(question) || end >= dnsname.MaxLen {
			return
		}
		length := int(question[end])
		if length == 0 {
			break
		}
		if length > dnsname.MaxLabelLen {
			return
		}
		a.starts[labels&dnsname.MaxLabels] = uint8(end)
		labels++
		end += 1 + length
	}
	for i, n := 0, copy(a.lower[:dnsname.MaxLen], question[:end+1]); i < n; i += 8 {
		b := a.lower[i : i+8]
		binary.LittleEndian.PutUint64(b, lowerEight(binary.LittleEndian.Uint64(b)))
	}
	wire := dnsname.View(a.lower[:end+1]).Wire()
	hash, parent, first := hashSeed, hashSeed, a.count
	for depth := 0; ; {
		if s.depths[depth] != 0 && a.count < maxAhead {
			a.at[a.count].apex = hash
			a.count++
		}
		if depth == labels {
			break
		}
		depth++
		start := int(a.starts[labels-depth])
		hash, parent = hashLabel(hash, wire[start:end]), hash
		end = start
	}
	for i := first; i < a.count; i++ {
		a.at[i].name, a.at[i].parent = hash, parent
	}
}

// slots fetches the slots of the zones that were noted. It is a loop of its own because a
// processor waits for as many as are within some hundred instructions of each other.
func (a *ahead) slots(s *Set) {
	kept := 0
	for i := range a.count {
		w := &a.at[i]
		shard := &s.shards[s.shardOf(w.apex)]
		if len(shard.slots) == 0 {
			continue
		}
		slot := slotOf(w.apex<<s.bits, len(shard.slots))
		a.seen += shard.slots[slot].hash
		k := &a.at[kept]
		k.shard, k.slot, k.apex, k.name, k.parent = shard, slot, w.apex, w.name, w.parent
		kept++
	}
	a.count = kept
}

// fetch fetches, of the zones that were noted, what an answer looks at.
func (a *ahead) fetch() {
	found := 0
	for i := range a.count {
		w := a.at[i]
		if z := w.shard.withHash(w.apex, w.slot); z != nil {
			a.seen += z.originHash + uint64(z.depth) // two lines of memory
			a.at[found].zone, a.at[found].name, a.at[found].parent = z, w.name, w.parent
			found++
		}
	}
	for i := range found {
		w := &a.at[i]
		table := w.zone.table
		a.seen += table[slotOf(w.name, len(table))] + table[slotOf(w.parent, len(table))] + uint64(w.zone.arena[apexName])
	}
	for i := range found {
		w := &a.at[i]
		if w.node = w.zone.likely(w.name); w.node == 0 {
			a.seen += uint64(w.zone.denial.record[0])
			w.node = w.zone.likely(w.parent)
		}
		w.zone.touch(w.node, &a.seen)
	}
	for i := range found {
		if w := &a.at[i]; w.node != 0 && w.zone.nsec3.count > 0 {
			_, covering, _ := w.zone.Insecurity(w.node)
			w.zone.touch(covering, &a.seen)
		}
	}
}

// likely returns the node that the name with a hash very likely has; 0 if it has none,
// or one that is not near in the table.
func (z *Zone) likely(hash uint64) Node {
	i := slotOf(hash, len(z.table))
	for range likelySlots {
		slot := z.table[i]
		if slot == 0 {
			break
		}
		if uint32(slot>>32) == uint32(hash) {
			return Node(slot)
		}
		if i++; i == len(z.table) {
			break
		}
	}
	return 0
}

// likelySlots is how far likely looks: on average to the end of a line of memory.
const likelySlots = 8

// touch reads a node from the arena, every line of its beginning.
func (z *Zone) touch(n Node, seen *uint64) {
	at := int(n) * nodeUnit
	if n == 0 || at >= len(z.arena) {
		return
	}
	for rest := z.arena[at:min(at+aheadNode, len(z.arena))]; ; rest = rest[64:] {
		if *seen += uint64(rest[0]); len(rest) <= 64 {
			return
		}
	}
}

// withHash returns the zone whose origin has the hash, beginning to look at a slot.
func (x *setShard) withHash(hash uint64, at int) *Zone {
	for i := at; ; {
		slot := &x.slots[i]
		if slot.zone == nil || slot.hash == hash {
			return slot.zone
		}
		if i++; i == len(x.slots) {
			i = 0
		}
	}
}

// lowerEight returns eight octets with ASCII letters in lower case.
func lowerEight(x uint64) uint64 {
	const ones = 0x0101010101010101
	seven := x &^ (0x80 * ones)
	aboveZ, fromA := seven+(127-'Z')*ones, seven+(128-'A')*ones // the high bit of each octet says so
	return x | (fromA^aboveZ)&^x&(0x80*ones)>>2
}
