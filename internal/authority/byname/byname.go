// Package byname is an immutable map by names that is changed in one entry without
// copying all: what a snapshot of a million zones is found in.
//
// Entry points: New, Map.With, Map.Without, Map.Get.
//
// Concurrency: a Map never changes; any number of goroutines read it.
package byname

import (
	"hash/maphash"
	"iter"
	"maps"
	"math/bits"
	"slices"

	"pharos/internal/dns/dnsname"
)

// Map is an immutable map by names, of which another is made that differs in one
// entry without copying all: it is in shards, and with copies one of them. So a
// change to one of a million zones takes a tenth of a millisecond.
type Map[T any] struct {
	shards []map[dnsname.Name]T // a power of two of them, by the upper bits of a hash
	count  int
}

// shardNames is how many names a shard has on average at most, as in zone.Set.
const shardNames = 256

var shardSeed = maphash.MakeSeed()

// New returns the map of the names to their values.
func New[T any](count int, all iter.Seq2[dnsname.Name, T]) Map[T] {
	m := Map[T]{shards: make([]map[dnsname.Name]T, 1<<bits.Len(uint(count/shardNames)))}
	for i := range m.shards {
		m.shards[i] = make(map[dnsname.Name]T, count/len(m.shards))
	}
	for name, value := range all {
		m.put(name, value)
	}
	return m
}

func (m *Map[T]) put(name dnsname.Name, value T) {
	shard := m.shards[m.shardOf(name)]
	before := len(shard)
	shard[name] = value
	m.count += len(shard) - before
}

// With returns m with another value for a name.
func (m Map[T]) With(name dnsname.Name, value T) Map[T] {
	m.shards = slices.Clone(m.shards)
	shard := &m.shards[m.shardOf(name)]
	*shard = maps.Clone(*shard)
	m.put(name, value)
	return m
}

// Without returns m without a name.
func (m Map[T]) Without(name dnsname.Name) Map[T] {
	if len(m.shards) == 0 {
		return m
	}
	m.shards = slices.Clone(m.shards)
	shard := &m.shards[m.shardOf(name)]
	before := len(*shard)
	*shard = maps.Clone(*shard)
	delete(*shard, name)
	m.count += len(*shard) - before
	return m
}

// Get returns the value of a name, the zero value if there is none.
func (m *Map[T]) Get(name dnsname.Name) (value T) {
	if len(m.shards) == 0 {
		return value
	}
	return m.shards[m.shardOf(name)][name]
}

// All returns all entries, in no order.
func (m *Map[T]) All() iter.Seq2[dnsname.Name, T] {
	return func(yield func(dnsname.Name, T) bool) {
		for _, shard := range m.shards {
			for name, value := range shard {
				if !yield(name, value) {
					return
				}
			}
		}
	}
}

// Len returns the number of entries.
func (m *Map[T]) Len() int { return m.count }

func (m *Map[T]) shardOf(name dnsname.Name) int {
	return int(maphash.String(shardSeed, name.Wire()) >> 32 * uint64(len(m.shards)) >> 32)
}
