package live

import (
	"hash/maphash"
	"sync/atomic"
)

// Limits of the cache and of what is made. An entry takes some 250 octets.
const (
	// maxAnswers is how many signatures of what is asked for by name are kept: 65,536, some
	// 16 MB. When a place is needed, an older one is made again when it is asked for.
	maxAnswers = 1 << 16
	// maxInvented is the same for names that clients invent, which take no place from the
	// others.
	maxInvented = 1 << 15
	// maxPerSecond is how many signatures for invented names are made in a second, for
	// clients whose address may be forged, and as many again for those whose is not:
	// 4,000, a tenth of a core with ECDSA. What is beyond comes again over TCP, or has to
	// be asked for again.
	maxPerSecond = 4000
)

// ways is in how many places of the cache an entry may be.
const ways = 4

// Cache keeps signatures of any number of zones.
type Cache struct {
	seeds    [2]maphash.Seed
	answers  table
	invented table
	limit    atomic.Int64     // signatures for invented names in a second
	budgets  [2]atomic.Uint64 // of clients not proven, and proven: second << 32 | made in it

	hits, misses, refused atomic.Uint64
}

// NewCache returns an empty cache.
func NewCache() *Cache {
	c := &Cache{
		seeds:    [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		answers:  table{make([]atomic.Pointer[entry], maxAnswers)},
		invented: table{make([]atomic.Pointer[entry], maxInvented)},
	}
	c.SetLimit(maxPerSecond)
	return c
}

// SetLimit says how many signatures for invented names may be made in a second, for
// clients whose address may be forged, and as many again for the others.
func (c *Cache) SetLimit(perSecond int) { c.limit.Store(int64(perSecond)) }

// Stats returns how often signatures were found, made, and refused for want of budget.
func (c *Cache) Stats() (hits, misses, refused uint64) {
	return c.hits.Load(), c.misses.Load(), c.refused.Load()
}

// take takes one from the budget of a second.
func (c *Cache) take(second int64, proven bool) bool {
	b := &c.budgets[0]
	if proven {
		b = &c.budgets[1]
	}
	for {
		have := b.Load()
		next := uint64(second)<<32 | 1
		if c.limit.Load() == 0 {
			return false
		}
		if uint32(have>>32) == uint32(second) {
			if int64(uint32(have)) >= c.limit.Load() {
				return false
			}
			next = have + 1
		}
		if b.CompareAndSwap(have, next) {
			return true
		}
	}
}

// key stands for origin, keys, owner, type, TTL and records.
type key [2]uint64

// entry is the signatures of one RRset. It does not change.
type entry struct {
	key        key
	until      int64 // given out before this second
	signatures Signatures
}

// table is entries by their keys, each in one of a few places.
type table struct {
	places []atomic.Pointer[entry]
}

func (t *table) get(k key, second int64) Signatures {
	first := int(k[0]) & (len(t.places) - 1) &^ (ways - 1)
	for i := range ways {
		if e := t.places[first+i].Load(); e != nil && e.key == k && second < e.until {
			return e.signatures
		}
	}
	return nil
}

// put keeps e in the place of its elder, in an empty one, or in that of the one that ends
// first.
func (t *table) put(e *entry) {
	first := int(e.key[0]) & (len(t.places) - 1) &^ (ways - 1)
	best, until := first, int64(1<<62)
	for i := range ways {
		old := t.places[first+i].Load()
		if old == nil || old.key == e.key {
			best = first + i
			break
		}
		if old.until < until {
			best, until = first+i, old.until
		}
	}
	t.places[best].Store(e)
}
