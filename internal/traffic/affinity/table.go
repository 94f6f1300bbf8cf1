package affinity

import (
	"sync"
	"time"
)

// shards of a table: few clients meet at one lock. A power of two.
const shards = 16

// table remembers members by keys. It is bounded: when it is full, the key whose last
// request is longest ago is forgotten.
type table struct {
	parts [shards]shard
}

// shard is the part of a table for some of the keys.
type shard struct {
	// Guarded by mu, which is held for a look-up or a change of some links.
	mu      sync.Mutex
	most    int
	at      map[uint64]int32 // key -> entry
	entries []entry          // [0] is the end of both lists
	free    int32            // entries that are not in use, by their links; 0: none
}

// entry is one key. Those in use are a ring through entry 0, the latest first.
type entry struct {
	key, member  uint64
	seen         time.Duration
	older, newer int32
}

func newTable(most int) *table {
	t := new(table)
	for i := range t.parts {
		t.parts[i].at = make(map[uint64]int32)
		t.parts[i].entries = make([]entry, 1)
	}
	t.resize(most)
	return t
}

// resize changes how many keys are remembered.
func (t *table) resize(most int) {
	for i := range t.parts {
		s := &t.parts[i]
		s.mu.Lock()
		s.most = max(1, (most+shards-1)/shards)
		for len(s.at) > s.most {
			s.forget(s.entries[0].newer) // the oldest
		}
		s.mu.Unlock()
	}
}

func (t *table) len() int {
	sum := 0
	for i := range t.parts {
		t.parts[i].mu.Lock()
		sum += len(t.parts[i].at)
		t.parts[i].mu.Unlock()
	}
	return sum
}

// part returns the shard of a key, by bits that its map does not begin with.
func (t *table) part(key uint64) *shard { return &t.parts[key>>59&(shards-1)] }

// find returns the identity of the member remembered for key, or 0. What has not been
// asked for within ttl is forgotten; 0 is without end.
func (t *table) find(key uint64, now, ttl time.Duration) uint64 {
	s := t.part(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.at[key]
	if !ok {
		return 0
	}
	e := &s.entries[at]
	if ttl > 0 && now-e.seen > ttl {
		s.forget(at)
		return 0
	}
	e.seen = now
	s.unlink(at)
	s.link(at)
	return e.member
}

// learn remembers member for key.
func (t *table) learn(key, member uint64, now time.Duration) {
	s := t.part(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.at[key]
	if ok {
		s.unlink(at)
	} else {
		at = s.room()
		s.at[key] = at
	}
	s.entries[at].key, s.entries[at].member, s.entries[at].seen = key, member, now
	s.link(at)
}

// room returns an entry that is not in use; that of the oldest key if there are most.
func (s *shard) room() int32 {
	if len(s.at) >= s.most {
		s.forget(s.entries[0].newer)
	}
	if at := s.free; at != 0 {
		s.free = s.entries[at].older
		return at
	}
	s.entries = append(s.entries, entry{})
	return int32(len(s.entries) - 1)
}

// forget takes an entry out of use.
func (s *shard) forget(at int32) {
	delete(s.at, s.entries[at].key)
	s.unlink(at)
	s.entries[at].older, s.free = s.free, at
}

func (s *shard) unlink(at int32) {
	e := s.entries[at]
	s.entries[e.newer].older, s.entries[e.older].newer = e.older, e.newer
}

// link makes an entry the latest: entry 0 is newer than it, what was the latest is
// older.
func (s *shard) link(at int32) {
	latest := s.entries[0].older
	s.entries[at].newer, s.entries[at].older = 0, latest
	s.entries[latest].newer, s.entries[0].older = at, at
}
