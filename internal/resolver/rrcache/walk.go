package rrcache

import (
	"bytes"
	"fmt"
	"iter"
	"strings"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// Item is one thing that the cache keeps, for people to look at. Exactly one of Entry,
// Delegation, Failure and Message is set.
type Item struct {
	Name dnsname.Name
	Type rdata.Type // 0 for what is about every type
	TTL  rdata.TTL  // what is left; 0 for an answer that is kept to be given stale
	Main bool       // it was asked for again, and is not the first to make room

	Entry      *Entry
	Delegation *Delegation
	Failure    *Failure

	Message *dnswire.Message // of the answer level; its TTLs are those it came with
	DO, CD  bool             // what clients it is for
	Secure  bool
}

// Has reports whether an item is selected, by its name and type alone.
func (s Selection) Has(i Item) bool {
	return s.hasName(i.Name) && (s.Type == 0 || i.Type == 0 || s.Type == i.Type)
}

// String returns the item's name and what it is.
func (i Item) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v %v %d", i.Name, i.Type, i.TTL)
	switch {
	case i.Entry != nil:
		fmt.Fprintf(&b, " %v %v %v", i.Entry.Set, i.Entry.SOA, i.Entry.Denial)
	case i.Delegation != nil:
		fmt.Fprintf(&b, " %v", i.Delegation.Servers)
	case i.Failure != nil:
		fmt.Fprintf(&b, " %v %v", i.Failure.Rcode, i.Failure.EDE)
	case i.Message != nil:
		fmt.Fprintf(&b, " %v %v", i.Message.Rcode, i.Message.Answer)
	}
	return b.String()
}

// All goes through the record level and then the answers, in no order. It holds no lock
// while an item is looked at; what comes and goes meanwhile may be missed or met twice.
func (c *Cache) All(now time.Time) iter.Seq[Item] {
	return func(yield func(Item) bool) { _ = c.records(now, yield) && c.answers(now, yield) }
}

// records and answers go through one level; they report false when yield wants no more.
func (c *Cache) records(now time.Time, yield func(Item) bool) bool {
	var octets []byte
	for i := range c.shards {
		for number := 0; ; number++ {
			var ok bool
			if octets, ok = c.shards[i].copyChunk(octets[:0], number); !ok {
				break
			}
			for rest := bytes.Clone(octets); len(rest) > 0; {
				it := item(rest)
				rest = rest[it.size():]
				if it.has(markDead) || c.instant(now) >= it.until() {
					continue
				}
				if !yield(c.look(it, now)) {
					return false
				}
			}
		}
	}
	return true
}

// copyChunk appends the items of a chunk to b; ok is false if there is no such chunk.
func (s *shard) copyChunk(b []byte, number int) (out []byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if number >= len(s.chunks) {
		return b, false
	}
	return append(b, s.chunks[number].octets[:s.chunks[number].fill]...), true
}

func (c *Cache) look(it item, now time.Time) Item {
	k := it.key()
	out := Item{Name: k.name, Type: k.t, TTL: remaining(c.instant(now), it.until()), Main: it.has(markMain)}
	switch v := c.value(k, it).(type) {
	case *Entry:
		out.Entry = v
	case *Delegation:
		out.Delegation = v
	case *Failure:
		out.Failure = v
	}
	return out
}

func (c *Cache) answers(now time.Time, yield func(Item) bool) bool {
	at := c.instant(now)
	for i := range c.ready.sets {
		for way := range c.ready.sets[i].entries {
			e := c.ready.sets[i].entries[way].Load()
			if e == nil || at >= c.ready.gone(e) {
				continue
			}
			ok := yield(Item{
				Name: e.name(), Type: e.questionType(), TTL: remaining(at, e.until()), Main: c.ready.isMain(i, e),
				Message: e.message(), DO: e.kind&1 != 0, CD: e.kind&2 != 0, Secure: e.secure,
			})
			if !ok {
				return false
			}
		}
	}
	return true
}
