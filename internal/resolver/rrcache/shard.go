package rrcache

import (
	"bytes"
	"math/bits"
	"sync"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// The record level is parted into shards, so that its users seldom meet at one
// mutex. A shard keeps its items as octets in chunks, without a pointer that the
// garbage collector would have to follow, and so that its memory is what its
// limit says: about 100 octets for an RRset of one address.
const (
	maxShards = 256     // beyond that many users do not meet anyhow
	minShard  = 1 << 20 // octets; of a smaller cache there are fewer shards
	maxChunk  = 64 << 10
	minChunk  = 4 << 10
	// chunksOfShard is how many chunks a small shard has: as few as make the parts of
	// it that are in no use, the ends of two chunks, an eighth.
	chunksOfShard = 16
)

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

// chunk is octets in which items lie one after the other. They are never moved
// within it.
type chunk struct {
	octets []byte // nil: given back
	fill   int
}

// place is where an item lies: 1 + (number of the chunk * size of a chunk + offset) / 8; 0: nowhere.
// In the index the bits that places do not need are the first of the item's hash, so
// that most items of other keys need not be looked at, far away in memory as they are.
type place uint32

// shard is one part of the record level.
//
// Invariant: index has the places of exactly the items in chunks that are not dead.
// Invariant: count and octets are the number of those items and their sum.
// Invariant: the memory of chunks, index and ghosts is at most limit.
type shard struct {
	memory Memory // constant; held here, so that it lives while a method of the shard runs
	places place  // constant: the bits of the index that are a place

	mu        sync.Mutex // guards all that follows; no lock but one of memory is taken under it
	index     []place    // by hash, linear probing; the length is a power of two
	count     int
	octets    int
	chunks    []chunk
	chunkSize int   // a power of two
	chunkBits int   // of which
	unused    []int // chunks without items, with their octets
	absent    []int // chunks without octets
	probation queue
	main      queue
	ghosts    ghosts
	limit     int
	evicted   uint64
	last      uint32 // number of the newest item
}

func (s *shard) init(limit int, memory Memory) {
	s.limit, s.memory = limit, memory
	s.chunkSize = minChunk
	for s.chunkSize < maxChunk && s.chunkSize*2*chunksOfShard <= limit {
		s.chunkSize *= 2
	}
	s.chunkBits = bits.TrailingZeros(uint(s.chunkSize))
	s.places = 1<<min(32, 1+bits.Len(uint(max(limit, 4*s.chunkSize)/8))) - 1 // twice what there may be
	s.ghosts = newGhosts(limit)
}

// reset forgets everything and gives the memory back.
func (s *shard) reset() {
	for _, c := range s.chunks {
		if c.octets != nil {
			s.memory.Give(c.octets)
		}
	}
	s.index, s.count, s.octets = nil, 0, 0
	s.chunks, s.unused, s.absent, s.probation, s.main = nil, nil, nil, queue{}, queue{}
}

// taken returns the octets that the shard has taken, ghosts apart.
func (s *shard) taken() int {
	return (len(s.chunks)-len(s.absent))*s.chunkSize + 4*len(s.index)
}

// allowed returns how many chunks there may be beside the index that one more full
// of items may want.
func (s *shard) allowed() int {
	index := max(len(s.index), 16)
	for (s.count+s.chunkSize/leastItem)*4 >= index*3 {
		index *= 2
	}
	return max((s.limit-4*index-s.ghosts.octets())/s.chunkSize, 3)
}

// leastItem is about the size of the smallest items.
const leastItem = 48

func (s *shard) at(p place) item {
	offset := uint(p&s.places-1) * 8
	return item(s.chunks[offset>>s.chunkBits].octets[offset&(1<<s.chunkBits-1):])
}

// marked returns a place as it stands in the index.
func (s *shard) marked(p place, hash uint32) place { return p | place(hash)&^s.places }

// find returns where in the index the item of a key is; ok is false if there is none.
func (s *shard) find(k key, hash uint32) (i int, ok bool) {
	if len(s.index) == 0 {
		return 0, false
	}
	mask, mark := len(s.index)-1, place(hash)&^s.places
	for i = int(hash) & mask; s.index[i] != 0; i = (i + 1) & mask {
		if s.index[i]&^s.places != mark {
			continue
		}
		it := s.at(s.index[i])
		if it.hash() == hash && it.t() == k.t && it.slot() == k.slot && string(it.owner()) == k.name.Wire() {
			return i, true
		}
	}
	return i, false
}

// enlist puts an item, whose key is not there, into the index.
func (s *shard) enlist(p place, hash uint32) {
	if s.count*4 >= len(s.index)*3 {
		s.growIndex()
	}
	mask := len(s.index) - 1
	i := int(hash) & mask
	for s.index[i] != 0 {
		i = (i + 1) & mask
	}
	s.index[i] = s.marked(p, hash)
	s.count++
	s.octets += s.at(p).size()
}

func (s *shard) growIndex() {
	old := s.index
	s.index = make([]place, max(2*len(old), 16))
	mask := len(s.index) - 1
	for _, p := range old {
		if p == 0 {
			continue
		}
		i := int(s.at(p).hash()) & mask
		for s.index[i] != 0 {
			i = (i + 1) & mask
		}
		s.index[i] = p
	}
}

// remove takes the item at a place of the index out, and closes the gap.
func (s *shard) remove(i int) {
	it := s.at(s.index[i])
	it[27] |= markDead
	s.count--
	s.octets -= it.size()
	mask := len(s.index) - 1
	for next := (i + 1) & mask; s.index[next] != 0; next = (next + 1) & mask {
		home := int(s.at(s.index[next]).hash()) & mask
		if (next-home)&mask >= (next-i)&mask {
			s.index[i] = s.index[next]
			i = next
		}
	}
	s.index[i] = 0
}

// get returns a copy of what is kept under k, unless its time is over at now; nil if
// there is nothing.
func (s *shard) get(k key, hash uint32, now instant) item {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.getLocked(k, hash, now)
}

func (s *shard) getLocked(k key, hash uint32, now instant) item {
	i, ok := s.find(k, hash)
	if !ok {
		return nil
	}
	it := s.at(s.index[i])
	if now >= it.until() {
		return nil // it stays: who renews it takes its place
	}
	it.use(now)
	return bytes.Clone(it[:it.size()])
}

// put keeps value under k until the given instant, unless mayReplace, asked about a
// living item under k, objects. What is larger than a chunk is not kept.
func (s *shard) put(k key, hash uint32, value []byte, now, until instant, mayReplace func(old item) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	size, marks := packedSize(k, value), byte(0)
	keep := until > now && size <= s.chunkSize
	s.last++
	if i, ok := s.find(k, hash); ok {
		old := s.at(s.index[i])
		if now < old.until() && mayReplace != nil && !mayReplace(old) {
			return false
		}
		marks = old[27]
		if keep && old.size() == size {
			old.write(k, value, head{hash, old.born(), until, s.last, marks})
			return true
		}
		s.remove(i)
	} else if s.ghosts.has(hash) {
		marks = markMain
	}
	if !keep {
		return false
	}
	s.add(k, hash, value, now, until, marks)
	return true
}

// add puts an item whose key is not there into the queue that marks say.
func (s *shard) add(k key, hash uint32, value []byte, now, until instant, marks byte) {
	q := &s.probation
	if marks&markMain != 0 {
		q = &s.main
	}
	s.last++
	p := s.room(q, packedSize(k, value), now)
	s.at(p).write(k, value, head{hash, now, until, s.last, marks})
	s.enlist(p, hash)
}

// change lets an item that is alive be changed in place.
func (s *shard) change(k key, hash uint32, now instant, change func(item)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.find(k, hash); ok {
		if it := s.at(s.index[i]); now < it.until() {
			change(it)
		}
	}
}

// drop removes what is kept under k, if mayDrop agrees, and reports whether it did.
func (s *shard) drop(k key, hash uint32, mayDrop func(old item) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.find(k, hash)
	if !ok || !mayDrop(s.at(s.index[i])) {
		return false
	}
	s.remove(i)
	return true
}

// flush removes the items whose keys are chosen, and returns how many that were. It
// looks at every item: it is for operators, not for queries. The key is a view.
func (s *shard) flush(choose func(key) bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := 0
	for i := range s.chunks {
		for it := range s.chunks[i].living() {
			if !choose(it.key()) {
				continue
			}
			if at, ok := s.find(it.key(), it.hash()); ok {
				s.remove(at)
				count++
			}
		}
	}
	if s.count == 0 {
		s.reset()
	}
	return count
}

// living goes through the items of a chunk that are not dead.
func (c *chunk) living() func(func(item) bool) {
	return func(yield func(item) bool) {
		for at := 0; at < c.fill; {
			it := item(c.octets[at:])
			at += it.size()
			if !it.has(markDead) && !yield(it) {
				return
			}
		}
	}
}

// check panics if an invariant does not hold. For tests.
func (s *shard) check() {
	s.mu.Lock()
	defer s.mu.Unlock()
	count, octets := 0, 0
	for i := range s.chunks {
		for it := range s.chunks[i].living() {
			at, ok := s.find(it.key(), it.hash())
			if !ok || &s.at(s.index[at])[0] != &it[0] {
				panic("BUG: a living item is not in the index")
			}
			octets += it.size()
			count++
		}
	}
	listed := 0
	for _, p := range s.index {
		if p != 0 {
			listed++
		}
	}
	switch {
	case count != s.count || listed != count:
		panic("BUG: the index and the chunks differ")
	case octets != s.octets:
		panic("BUG: octets miscounted")
	case s.taken()+s.ghosts.octets() > max(s.limit, 4*minChunk):
		panic("BUG: shard over its limit")
	case len(s.probation.chunks)+len(s.main.chunks)+len(s.unused)+len(s.absent) != len(s.chunks):
		panic("BUG: a chunk is lost")
	}
}
