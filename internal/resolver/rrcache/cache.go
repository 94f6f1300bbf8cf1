// Package rrcache is the resolver's memory: what it learnt from other servers,
// for as long as they allowed, within bounds.
//
// It has two levels:
//
//	records   RRsets with their trust, negative answers, delegations, failures:
//	          what package iterate works with. Octets in shards behind mutexes.
//	answers   finished responses in wire form, keyed by (name, type, class, DO, CD):
//	          what the listeners' loops look up. Read without a lock and without
//	          allocation; an entry never changes once it can be seen.
//
// Both levels are bounded in octets of memory and make room by S3-FIFO (queue.go):
// what is asked for once drives nothing out that is asked for again.
//
// It does not own what may be believed: which records of a reply may enter is
// decided by package iterate. It owns which of two beliefs is the stronger
// (RFC 2181 §5.4.1), and how long each lasts.
//
// Entry points: New; Cache.Get, Records, Denied, Put, PutNegative, Delegation, PutDelegation,
// Failure, PutFailure; Cache.Answer, PutAnswer, Stale; Cache.Own, ZoneChanged; Cache.Flush,
// Stats.
//
// Concurrency: every method may be called from any goroutine. Entries that are
// handed out are immutable and stay valid for ever.
//
// Sources: RFC 1035 §7, RFC 2181 §5 and §8, RFC 2308, RFC 9520, RFC 4035 §4.7 (keys),
// RFC 8767 (TTL bounds, stale answers).
package rrcache

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"pharos/internal/dns/rdata"
)

// Limits bound what the cache holds and for how long. Fields that are 0 get
// their defaults.
type Limits struct {
	// MinTTL is the least TTL that records are given, also those with TTL 0: 0. More
	// is against RFC 2181 §8, and delegations are exempt: a parent may end them.
	MinTTL rdata.TTL
	// MaxTTL is the longest time a record or delegation is kept: 1 day, as in
	// Unbound and PowerDNS. Larger TTLs are lowered to it (RFC 8767 §4 asks for a cap).
	MaxTTL rdata.TTL
	// MaxNegativeTTL is the same for negative answers: 1 hour. RFC 2308 §5 advises
	// one to three hours.
	MaxNegativeTTL rdata.TTL
	// Stale is how much longer answers are kept beyond their time, for when nobody
	// can be asked (RFC 8767 §5 advises one to three days); 0: not at all.
	Stale time.Duration
	// StaleTTL is the TTL of records in such answers: 30 (RFC 8767 §4).
	StaleTTL rdata.TTL
	// StaleRetry is how long after a question came to nothing its expired answer is
	// given without trying again: 30 s (RFC 8767 §5, "failure recheck").
	StaleRetry time.Duration
	// FailureTime is how long a failed resolution is remembered: 5 s, at least 1 s
	// and at most 5 minutes (RFC 9520 §3.2).
	FailureTime time.Duration
	// PrefetchAsks is how often an answer has to be asked for in its time to be fetched
	// again before that is over (popularity.go): 3; 1: whatever is asked for then.
	PrefetchAsks int
	// RecordOctets and AnswerOctets bound the memory of each level: 32 MiB. At the
	// limit the least used entries make room. AnswerOctets less than 0: no answers are
	// kept ready, for nobody asks twice.
	RecordOctets int
	AnswerOctets int
	// Memory is where records lie; nil: on the heap.
	Memory Memory
}

// Memory gives out pieces of memory that hold no pointers, such as package offheap's.
type Memory interface {
	Take(octets int) []byte // in any state
	Give(piece []byte)      // back; nobody touches it any more
}

// onHeap is memory that the garbage collector takes back.
type onHeap struct{}

func (onHeap) Take(octets int) []byte { return make([]byte, octets) }
func (onHeap) Give([]byte)            {}

func (l Limits) withDefaults() Limits {
	if l.MaxTTL == 0 {
		l.MaxTTL = 86400
	}
	if l.MaxNegativeTTL == 0 {
		l.MaxNegativeTTL = 3600
	}
	if l.FailureTime == 0 {
		l.FailureTime = 5 * time.Second
	}
	l.FailureTime = min(max(l.FailureTime, time.Second), 5*time.Minute)
	if l.StaleTTL == 0 {
		l.StaleTTL = 30
	}
	if l.StaleRetry <= 0 {
		l.StaleRetry = 30 * time.Second
	}
	if l.Memory == nil {
		l.Memory = onHeap{}
	}
	if l.PrefetchAsks <= 0 {
		l.PrefetchAsks = 3
	}
	if l.RecordOctets <= 0 {
		l.RecordOctets = 32 << 20
	}
	if l.AnswerOctets == 0 {
		l.AnswerOctets = 32 << 20
	}
	return l
}

// Cache is both levels. Make it with New.
type Cache struct {
	limits Limits
	epoch  time.Time // times are kept as durations since then, so steps of the wall clock do no harm
	seed   maphash.Seed
	shards []shard // a power of two
	ready  readyTable
	own    own

	onFlush func(Selection) // constant; may be nil
	flushes atomic.Uint64   // how often Flush was called
}

// New returns an empty cache. now is any moment not after the first use.
func New(now time.Time, l Limits) *Cache {
	c := &Cache{limits: l.withDefaults(), epoch: now, seed: maphash.MakeSeed()}
	count := 1
	for count < maxShards && count*2*minShard <= c.limits.RecordOctets {
		count *= 2
	}
	c.shards = make([]shard, count)
	for i := range c.shards {
		c.shards[i].init(c.limits.RecordOctets/count, c.limits.Memory)
	}
	c.limits.AnswerOctets = max(c.limits.AnswerOctets, 0)
	c.ready.init(c.limits)
	c.ready.rehash = func(e *readyEntry) uint64 { return c.hash(e.name().Wire(), e.kind) }
	return c
}

// Limits returns the limits in force.
func (c *Cache) Limits() Limits { return c.limits }

// instant is a moment as time since the cache's epoch.
type instant = time.Duration

func (c *Cache) instant(now time.Time) instant { return now.Sub(c.epoch) }

// Bound returns the TTL that counts for records that came with ttl.
func (l Limits) Bound(ttl rdata.TTL) rdata.TTL { return min(max(ttl, l.MinTTL), l.MaxTTL) }

// BoundNegative returns the TTL that counts for a negative answer that came with ttl.
func (l Limits) BoundNegative(ttl rdata.TTL) rdata.TTL {
	return min(max(ttl, l.MinTTL), l.MaxNegativeTTL)
}

// lifetime returns how long something with this TTL is kept.
func lifetime(ttl, most rdata.TTL) time.Duration { return time.Duration(min(ttl, most)) * time.Second }

// remaining returns the TTL to give out at now for what expires then: whole
// seconds, rounded up, so that a fresh record shows the TTL it came with.
func remaining(now, expires instant) rdata.TTL {
	if now >= expires {
		return 0
	}
	return rdata.TTL((expires - now + time.Second - 1) / time.Second)
}
