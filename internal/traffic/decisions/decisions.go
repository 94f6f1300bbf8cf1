// Package decisions keeps what was decided for steered names during the last day, so that
// somebody who holds the id of an answer can see how it came about, and have it decided
// again. It owns what is kept, for how long and in how much memory. It decides nothing
// (package steer), and tells nothing (package explain).
//
//	answer --Note--> record: time, turn, client, number of the facts     64 octets, a ring
//	                   |
//	                   +---> facts: the Input of the decision            once for each decision
//	                         and a sum of what it has led to
//
//	id --Find--> record + facts --steer.Decide--> the same answer, octet by octet
//
// A decision is made once for a class of clients and a view of the pool, and answers are
// picked from it by turn and client: these are what a record has to hold. Facts are found by
// number, and have a bound of their own; when they are gone, Find says so.
//
// An id is the place of a record, encrypted: it cannot be guessed from another one, and
// nothing has to be looked up for it nor is it worked out before somebody asks.
//
// Entry points: New; Ring.Note on the way of an answer; Ring.Find, Ring.Stats.
//
// Concurrency: a Ring may be used by any number of goroutines. Note allocates nothing for
// decisions it has seen, and never waits: a place that is being written to is left for
// another one.
package decisions

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"
	"unsafe"

	"pharos/internal/shortid"
	"pharos/internal/traffic/steer"
)

// Limits bound a Ring.
type Limits struct {
	// Octets of all that is kept. A quarter of it is for facts. 0: nothing is kept.
	Octets int
	// Age is for how long something is kept at most.
	Age time.Duration
	// Sample is of how many answers that are the default one is kept. All others are
	// kept, each of them.
	Sample uint64
}

// DefaultLimits keep half a million answers.
var DefaultLimits = Limits{Octets: 32 << 20, Age: 24 * time.Hour, Sample: 100}

// ID stands for a kept answer. 0 is none.
type ID uint64

const idPrefix = "steer-"

// String returns the id as clients see it, such as "steer-0k3m9x2q".
func (id ID) String() string { return shortid.Text(idPrefix, uint64(id)) }

// ParseID reads what String wrote, in any case.
func ParseID(text string) (ID, error) {
	number, err := shortid.Parse(idPrefix, text, "an answer")
	return ID(number), err
}

// shardCount is over how many rings records are spread: enough for a few processors
// never to want one at the same time.
const shardCount = 16

// run is how many answers in turn go to one shard: records one after the other are what
// a processor writes fastest.
const run = 64

// Ring is what was decided. Make it with New. A nil Ring keeps nothing.
type Ring struct {
	// Constant after New.
	limits Limits
	each   int // records of a shard
	cipher cipher
	shards [shardCount]shard

	facts facts

	lost atomic.Uint64 // answers that were not kept, for nobody could write
}

// shard is one of the rings.
type shard struct {
	busy    atomic.Bool // somebody reads or writes what is below
	next    uint64      // number of the next record
	records []record    // record n is at n modulo their number; nil: there was none yet
	_       [64]byte    // shards are not to share a cache line
}

// record is one answer.
type record struct {
	number uint64 // in its shard, from 1; 0: nothing is here
	at     int64  // Unix nanoseconds
	turn   uint64
	facts  uint64
	client [16]byte
	flags  uint64
	_      [8]byte // a record is a cache line
}

// Flags of a record.
const (
	hasClient = 1 << iota
	isClient4
)

// New returns a Ring. secret is for ids: 16 octets that nobody knows.
func New(l Limits, secret [16]byte) *Ring {
	if l.Octets <= 0 {
		return nil
	}
	r := &Ring{limits: l, cipher: newCipher(secret)}
	r.limits.Sample = max(l.Sample, 1)
	r.each = max(l.Octets/4*3/int(unsafe.Sizeof(record{}))/shardCount, 1)
	for i := range r.shards {
		r.shards[i].next = 1
	}
	r.facts.init(l.Octets / 4)
	return r
}

// Note keeps the answer that p leads to for a client at a turn, and returns its id; 0 if it
// was not kept, since it is the default and not among those sampled. One that is asked for
// is kept in any case.
func (r *Ring) Note(p *steer.Prepared, client netip.Addr, turn uint64, now time.Time, asked bool) ID {
	if r == nil {
		return 0
	}
	number := p.Fact.Load()
	if number == 0 {
		number = r.facts.add(p, now)
	}
	if number&isDefault != 0 && turn%r.limits.Sample != 0 && !asked {
		return 0
	}
	return r.write(number, client, turn, now)
}

// write puts a record into the shard of its turn, or one near it.
func (r *Ring) write(number uint64, client netip.Addr, turn uint64, now time.Time) ID {
	for try := range uint64(shardCount) {
		at := (turn/run + try) % shardCount
		s := &r.shards[at]
		if !s.busy.CompareAndSwap(false, true) {
			continue
		}
		if s.records == nil {
			s.records = make([]record, r.each)
		}
		n := s.next
		s.next++
		w := &s.records[n%uint64(len(s.records))]
		w.number, w.at, w.turn, w.facts, w.flags = n, now.UnixNano(), turn, number, 0
		if client.IsValid() {
			w.client, w.flags = client.As16(), hasClient
			if client.Is4() {
				w.flags |= isClient4
			}
		}
		s.busy.Store(false)
		return ID(r.cipher.encrypt(n*shardCount + at))
	}
	r.lost.Add(1)
	return 0
}

// Past is an answer that was kept.
type Past struct {
	ID     ID
	At     time.Time
	Turn   uint64
	Client netip.Addr
	// Input is what was decided from, nil if that is not kept any more.
	Input *steer.Input
	// First is when the decision was made that the answer was picked from, Sum what it led to.
	First time.Time
	Sum   uint64
	// Default: nothing but the turn made it what it is.
	Default bool
}

// Find returns the answer with an id; false if it is not known any more.
func (r *Ring) Find(id ID, now time.Time) (p Past, ok bool) {
	if r == nil {
		return Past{}, false
	}
	place := r.cipher.decrypt(uint64(id))
	s, number := &r.shards[place%shardCount], place/shardCount
	for !s.busy.CompareAndSwap(false, true) { // for as long as a record takes to write
	}
	var found record
	if s.records != nil {
		found = s.records[number%uint64(r.each)]
	}
	s.busy.Store(false)
	// What an id cannot hold is lost: from the 2^36th answer of a shard on, after years.
	if found.number == 0 || found.number != number || now.Sub(time.Unix(0, found.at)) > r.limits.Age {
		return Past{}, false
	}
	p = Past{ID: id, At: time.Unix(0, found.at).UTC(), Turn: found.turn, Default: found.facts&isDefault != 0}
	if found.flags&hasClient != 0 {
		p.Client = netip.AddrFrom16(found.client)
		if found.flags&isClient4 != 0 {
			p.Client = p.Client.Unmap()
		}
	}
	if f := r.facts.get(found.facts); f != nil {
		p.Input, p.First, p.Sum = f.input, f.at, f.sum
	}
	return p, true
}

// Stats is how much is kept.
type Stats struct {
	Answers     uint64    // that were kept since the start
	Lost        uint64    // that should have been and were not
	Room        uint64    // for how many there is room
	Facts       int       // decisions that are kept
	FactOctets  int       // about
	FactsGone   uint64    // that made room for others
	Oldest      time.Time // of the answers that are kept; zero: there is none
	LeftOut     []LeftOut // members that filters left out, in decisions
	LeftOutMore uint64    // of those that are not among LeftOut any more
}

// Stats returns how much is kept.
func (r *Ring) Stats() (st Stats) {
	if r == nil {
		return Stats{}
	}
	for i := range r.shards {
		s := &r.shards[i]
		for !s.busy.CompareAndSwap(false, true) {
		}
		count, size := s.next-1, uint64(r.each)
		var oldest record
		switch {
		case s.records == nil:
		case count < size:
			oldest = s.records[1%size]
		default:
			oldest = s.records[s.next%size]
		}
		s.busy.Store(false)
		st.Answers, st.Room = st.Answers+count, st.Room+size
		if at := time.Unix(0, oldest.at).UTC(); oldest.number != 0 && (st.Oldest.IsZero() || at.Before(st.Oldest)) {
			st.Oldest = at
		}
	}
	st.Lost = r.lost.Load()
	r.facts.stats(&st)
	return st
}

// String says in a line how much is kept.
func (s Stats) String() string {
	if s.Oldest.IsZero() {
		return "no answers of steered names are kept"
	}
	return fmt.Sprintf("answers of steered names are kept since %s, %d of at most %d", s.Oldest.Format(time.DateTime), min(s.Answers, s.Room), s.Room)
}
