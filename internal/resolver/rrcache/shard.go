package rrcache

import (
	"sync"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// shardCount parts the record level, so that its users seldom meet at one mutex.
// Arbitrary; a power of two.
const shardCount = 16

// slot tells apart what may be known under one name.
type slot uint8

const (
	slotSet     slot = iota // *Entry: Positive or NoData of a type
	slotName                // *Entry: NXDomain; the key's type is 0
	slotCut                 // *Delegation; the key's type is 0
	slotFailure             // *Failure
)

// key is what an item is found by. The class is always IN.
type key struct {
	name dnsname.Name
	t    rdata.Type
	slot slot
}

// itemOctets is what an item costs beside its names and RDATA: the item, its
// place in the map and the value it leads to. An estimate from the sizes of the types.
const itemOctets = 320

// item is a place in a shard, linked from the newest (head) to the oldest (tail).
type item struct {
	key          key
	value        any // *Entry, *Delegation or *Failure: by key.slot
	until        instant
	octets       int
	used         bool // since the hand last came by
	newer, older *item
}

// shard is one part of the record level: a map and SIEVE's queue.
//
// Invariant: octets is the sum over all items, and at most limit.
// Invariant: the queue holds exactly the items of the map.
type shard struct {
	mu         sync.Mutex // guards all that follows; no other lock is taken under it
	items      map[key]*item
	head, tail *item
	hand       *item // where the next search for a victim begins; nil: at the tail
	octets     int
	limit      int
	evicted    uint64
}

func (s *shard) init(limit int) {
	s.items = make(map[key]*item)
	s.limit = limit
}

// get returns what is kept under k, unless its time is over at now.
func (s *shard) get(k key, now instant) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	it := s.items[k]
	if it == nil {
		return nil
	}
	if now >= it.until {
		s.remove(it)
		return nil
	}
	it.used = true
	return it.value
}

// put keeps value under k until the given instant, unless mayReplace, asked
// about a living value under k, objects. What is larger than the whole shard is
// not kept.
func (s *shard) put(k key, value any, octets int, now, until instant, mayReplace func(old any) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.items[k]; old != nil {
		if now < old.until && mayReplace != nil && !mayReplace(old.value) {
			return false
		}
		s.remove(old)
	}
	octets += itemOctets
	if until <= now || octets > s.limit {
		return false
	}
	for s.octets+octets > s.limit {
		s.evict(now)
	}
	it := &item{key: k, value: value, until: until, octets: octets}
	if it.older = s.head; s.head != nil {
		s.head.newer = it
	} else {
		s.tail = it
	}
	s.head = it
	s.items[k] = it
	s.octets += octets
	return true
}

// drop removes what is kept under k, if mayDrop agrees.
func (s *shard) drop(k key, mayDrop func(old any) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if it := s.items[k]; it != nil && mayDrop(it.value) {
		s.remove(it)
	}
}

// evict removes one item: the first from the hand towards the newest that is
// expired or was not used since the hand last came by (SIEVE). The shard must
// have an item.
func (s *shard) evict(now instant) {
	it := s.hand
	for {
		if it == nil {
			it = s.tail
		}
		if !it.used || now >= it.until {
			break
		}
		it.used = false
		it = it.newer
	}
	s.hand = it.newer
	s.remove(it)
	s.evicted++
}

func (s *shard) remove(it *item) {
	if s.hand == it {
		s.hand = it.newer
	}
	if it.newer != nil {
		it.newer.older = it.older
	} else {
		s.head = it.older
	}
	if it.older != nil {
		it.older.newer = it.newer
	} else {
		s.tail = it.newer
	}
	delete(s.items, it.key)
	s.octets -= it.octets
}

// flush removes everything at name and below it, and returns how many items
// that were. It looks at every item: it is for operators, not for queries.
func (s *shard) flush(name dnsname.Name) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := 0
	for k, it := range s.items {
		if k.name.IsSubdomainOf(name) {
			s.remove(it)
			count++
		}
	}
	return count
}

// check panics if an invariant does not hold. For tests.
func (s *shard) check() {
	s.mu.Lock()
	defer s.mu.Unlock()
	count, octets, handSeen := 0, 0, s.hand == nil
	for it := s.head; it != nil; it = it.older {
		if s.items[it.key] != it {
			panic("BUG: an item of the queue is not in the map")
		}
		handSeen = handSeen || it == s.hand
		octets += it.octets
		count++
	}
	switch {
	case count != len(s.items):
		panic("BUG: the queue and the map differ")
	case octets != s.octets:
		panic("BUG: octets miscounted")
	case s.octets > s.limit:
		panic("BUG: shard over its limit")
	case !handSeen:
		panic("BUG: the hand points at no item")
	}
}
