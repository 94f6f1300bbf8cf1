package rrcache

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// The answer level is a table of sets of slots. A key has one set, from its
// hash, and may be in any slot of it.
//
//	set:   tag tag tag tag tag tag tag tag     32 bits of each key's hash
//	       ptr ptr ptr ptr ptr ptr ptr ptr     -> readyEntry, immutable but for its marks
const (
	readyWays   = 8
	readyShards = 16 // writers: set i belongs to shard i%readyShards
	// readyMean is the size of an entry that the number of slots is reckoned with: that
	// of the smallest, for a set that is full has no choice of what makes room.
	readyMean = 128
	// readyMost is the largest message that is kept ready, in octets. Larger
	// answers are rare and are assembled anew each time.
	readyMost = 4096
)

// Ready is a response to keep in wire form: what PutAnswer takes. TTLs are those
// of this moment.
type Ready struct {
	Name                          dnsname.Name
	Type                          rdata.Type
	Class                         rdata.Class
	DO, CD                        bool
	Rcode                         dnswire.Rcode
	Answer, Authority, Additional []rdata.Record
	Failure                       *dnswire.ExtendedError // why it is SERVFAIL
	Secure                        bool                   // every record is: AD may be set
	TTL                           rdata.TTL              // upper bound of its life, beside the TTLs of the records
}

// readyEntry is one response after its question. There may be millions: it is 96
// octets, and one more piece of memory.
type readyEntry struct {
	// data is the question's name, lower case, in wire form; the records; and the offsets
	// of their TTL fields, two octets each.
	data    []byte
	failure *dnswire.ExtendedError
	kind    uint64 // the rest of the key
	born    instant
	ttl     uint32 // for how many seconds it may be given
	counts  [3]uint16
	rcode   dnswire.Rcode
	// The records from turnFrom on, turnCount of turnSize octets, may stand in any
	// order; turnCount is 0 if there is nothing to turn.
	turnFrom, turnSize, turnCount uint16
	nameLen                       uint8
	secure                        bool

	marks  atomic.Uint32 // see popularity.go
	passed atomic.Uint32 // revision of the Judge that has let it pass

	// Guarded by the mutex of the shard.
	at           uint32 // its slot
	newer, older uint32 // slots of its neighbours in its queue; noSlot: none
	main         bool   // of the main queue
}

const readyHead = 96 // octets of a readyEntry; a test holds it

// noSlot is the number of no slot: a table of 1 TiB has fewer.
const noSlot = 1<<32 - 1

func (e *readyEntry) name() dnsname.Name { return dnsname.View(e.data[:e.nameLen]) }

// body returns the records, compressed with regard to a question with this name.
func (e *readyEntry) body() []byte { return e.data[e.nameLen : len(e.data)-2*e.records()] }

// ttls returns the offsets in body of TTL fields.
func (e *readyEntry) ttls() []byte { return e.data[len(e.data)-2*e.records():] }

func (e *readyEntry) records() int { return int(e.counts[0]) + int(e.counts[1]) + int(e.counts[2]) }

// until is when its time is over.
func (e *readyEntry) until() instant { return e.born + instant(e.ttl)*time.Second }

// gone is when an entry may not even be given stale: until, or later.
func (t *readyTable) gone(e *readyEntry) instant {
	if e.rcode == dnswire.RcodeServFail {
		return e.until()
	}
	return e.until() + t.stale
}

func (e *readyEntry) is(name string, kind uint64) bool {
	return e.kind == kind && string(e.data[:e.nameLen]) == name
}

// octets returns what an entry costs: what the allocator makes of its parts.
func (e *readyEntry) octets() int {
	n := readyHead + (len(e.data)+15)&^15 + len(e.data)/16
	if e.failure != nil {
		n += 32 + len(e.failure.Text)
	}
	return n
}

type readySet struct {
	tags    [readyWays]atomic.Uint32
	entries [readyWays]atomic.Pointer[readyEntry]
}

// readyTable is the answer level. Readers take no lock. A reader may see the
// tag of one entry beside the pointer of another: it compares the whole key.
type readyTable struct {
	sets   []readySet // a multiple of readyShards
	shards [readyShards]readyShard
	stale  time.Duration // Limits.Stale

	onDue  func(Question)           // see OnDue; may be nil
	asks   uint32                   // Limits.PrefetchAsks
	rehash func(*readyEntry) uint64 // the hash of an entry's key

	build    sync.Mutex // guards builder, scratch and question
	builder  dnswire.Builder
	scratch  []byte
	question []byte
}

// readyShard is what writers to a part of the sets share. What makes room is chosen as
// in the record level; see queue.go.
//
// Invariant: octets is the sum over the entries of the shard's sets, and at most limit.
// Invariant: the queues hold exactly those entries.
type readyShard struct {
	mu              sync.Mutex
	octets          int
	limit           int
	probation, main readyQueue
	ghosts          ghosts
	entries, most   int // most: entries are at most this part of the slots
	evicted         uint64
}

// readyQueue is linked from the newest (head) to the oldest (tail).
type readyQueue struct {
	head, tail uint32 // slots; noSlot: it is empty
	octets     int
}

// entry returns what is in a slot; nil for noSlot.
func (t *readyTable) entry(slot uint32) *readyEntry {
	if slot == noSlot {
		return nil
	}
	return t.sets[slot/readyWays].entries[slot%readyWays].Load()
}

func (t *readyTable) push(q *readyQueue, e *readyEntry) {
	e.newer, e.older = noSlot, q.head
	if older := t.entry(q.head); older != nil {
		older.newer = e.at
	} else {
		q.tail = e.at
	}
	q.head = e.at
	q.octets += e.octets()
}

// unlink takes e, which is in its slot, out of its queue.
func (t *readyTable) unlink(q *readyQueue, e *readyEntry) {
	if newer := t.entry(e.newer); newer != nil {
		newer.older = e.older
	} else {
		q.head = e.older
	}
	if older := t.entry(e.older); older != nil {
		older.newer = e.newer
	} else {
		q.tail = e.newer
	}
	e.newer, e.older = noSlot, noSlot
	q.octets -= e.octets()
}

const readySlotOctets = 12 // of a slot of the table

func (t *readyTable) init(l Limits) {
	t.stale, t.asks = l.Stale, uint32(l.PrefetchAsks)
	each := max((l.AnswerOctets+readyShards*readyWays*readyMean-1)/(readyShards*readyWays*readyMean), 1) // sets of a shard
	t.sets = make([]readySet, each*readyShards)
	for i := range t.shards {
		s := &t.shards[i]
		s.probation.head, s.probation.tail, s.main.head, s.main.tail = noSlot, noSlot, noSlot, noSlot
		s.ghosts = newGhosts(l.AnswerOctets / readyShards)
		s.most = each * readyWays * 4 / 5
		s.limit = l.AnswerOctets/readyShards - s.ghosts.octets() - each*readyWays*readySlotOctets
	}
	t.scratch = make([]byte, 0, readyMost+dnswire.BufferSlack)
}

func readyKind(t rdata.Type, class rdata.Class, do, cd bool) uint64 {
	kind := uint64(t)<<32 | uint64(class)<<16
	if do {
		kind |= 1
	}
	if cd {
		kind |= 2
	}
	return kind
}

// hash mixes the name's hash with the rest of the key.
func (c *Cache) hash(name string, kind uint64) uint64 {
	h := maphash.String(c.seed, name) ^ kind*0x9E3779B97F4A7C15
	return h ^ h>>32
}

// find returns the entry of a key; nil if there is none.
func (t *readyTable) find(name string, kind, hash uint64) *readyEntry {
	set := &t.sets[t.set(hash)]
	tag := readyTag(hash)
	for i := range set.tags {
		if set.tags[i].Load() != tag {
			continue
		}
		if e := set.entries[i].Load(); e != nil && e.is(name, kind) {
			return e
		}
	}
	return nil
}

// set returns the number of the set of a hash, from its upper half.
func (t *readyTable) set(hash uint64) int { return int(hash >> 32 * uint64(len(t.sets)) >> 32) }

// readyTag is taken from bits that do not choose the set; 0 marks an empty slot.
func readyTag(hash uint64) uint32 { return uint32(hash) | 1 }

// Answer puts the response to q into out, if one is ready: out must have been
// Reset to q. It reports false, and leaves out alone, if there is none. TTLs are
// lessened by the time the answer has lain here; what does not fit into out's
// limit is left out and TC set (RFC 2181 §9). rotation, any number, turns the
// order of addresses.
//
// It takes no lock and allocates nothing.
func (c *Cache) Answer(now time.Time, q *dnswire.Query, out *dnswire.Builder, rotation uint32) bool {
	e := c.readyFor(q)
	return e != nil && c.give(e, now, q, out, rotation)
}

// readyFor returns the entry for q, nil if there is none.
func (c *Cache) readyFor(q *dnswire.Query) *readyEntry {
	kind := readyKind(q.Type, q.Class, q.EDNS.DO, q.CD())
	name := q.Name.Wire()
	return c.ready.find(name, kind, c.hash(name, kind))
}

// give is Answer with a given entry.
func (c *Cache) give(e *readyEntry, now time.Time, q *dnswire.Query, out *dnswire.Builder, rotation uint32) bool {
	at := c.instant(now)
	if at >= e.until() {
		return false
	}
	marks := e.use(at)
	if c.ready.onDue != nil {
		c.ready.due(e, marks, at, q)
	}
	out.SetRcode(e.rcode)
	out.SetRA(true)
	if e.failure != nil {
		out.SetEDE(e.failure.Code, e.failure.Text)
	}
	if e.secure && (q.EDNS.DO || q.AD()) { // RFC 6840 §5.7, §5.8
		out.SetAD(true)
	}
	from := out.Mark()
	start := out.Len()
	if !e.copyTo(out, rotation) {
		out.Rollback(from)
		out.SetTC(true)
		return true
	}
	if age := (at - e.born) / time.Second; age > 0 {
		out.LowerTTLs(start, e.ttls(), rdata.TTL(age))
	}
	return true
}

// copyTo appends the records to out, turned by rotation.
func (e *readyEntry) copyTo(out *dnswire.Builder, rotation uint32) bool {
	answers, rest := int(e.counts[0]), e.body()
	if e.turnCount > 1 {
		// body = before | records that turn | after
		end := e.turnFrom + e.turnCount*e.turnSize
		first := e.turnFrom + uint16(rotation%uint32(e.turnCount))*e.turnSize
		if !out.AddReady(dnswire.Answer, answers, rest[:e.turnFrom]) ||
			!out.AddReady(dnswire.Answer, 0, rest[first:end]) ||
			!out.AddReady(dnswire.Answer, 0, rest[e.turnFrom:first]) {
			return false
		}
		answers, rest = 0, rest[end:]
	}
	return out.AddReady(dnswire.Answer, answers, rest) &&
		out.AddReady(dnswire.Authority, int(e.counts[1]), nil) &&
		out.AddReady(dnswire.Additional, int(e.counts[2]), nil)
}
