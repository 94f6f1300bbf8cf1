package rrcache

import (
	"encoding/binary"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// PutAnswer keeps a response ready until the smallest TTL in it, or r.TTL if
// that is less, is over. It reports whether it was kept: not with TTL 0, nor if
// it is larger than 4096 octets.
func (c *Cache) PutAnswer(now time.Time, r Ready) bool {
	ttl := min(r.TTL, c.limits.MaxTTL)
	for _, records := range [...][]rdata.Record{r.Answer, r.Authority, r.Additional} {
		for _, record := range records {
			ttl = min(ttl, record.TTL)
		}
	}
	if ttl == 0 || r.Type.IsMeta() {
		return false
	}
	e := c.ready.assemble(r)
	if e == nil {
		return false
	}
	e.born = c.instant(now)
	e.until = e.born + time.Duration(ttl)*time.Second
	e.gone = e.until
	if e.rcode != dnswire.RcodeServFail {
		e.gone += c.limits.Stale
	}
	c.ready.insert(e, c.hash(e.name, e.kind), e.born)
	return true
}

// assemble writes r's records as a message and cuts the entry out of it; nil if
// it is too large.
func (t *readyTable) assemble(r Ready) *readyEntry {
	t.build.Lock()
	defer t.build.Unlock()
	var q dnswire.Query
	msg := dnswire.AppendQuery(nil, dnswire.QuerySpec{Name: r.Name, Type: r.Type, Class: r.Class})
	if q.Parse(msg) != dnswire.Accept {
		return nil
	}
	t.builder.Reset(&q, t.scratch[:readyMost], readyMost)
	e := &readyEntry{name: r.Name.Clone().Wire(), kind: readyKind(r.Type, r.Class, r.DO, r.CD), rcode: r.Rcode, failure: r.Failure, secure: r.Secure}
	for s, records := range [...][]rdata.Record{r.Answer, r.Authority, r.Additional} {
		for _, record := range records {
			if !t.builder.Add(dnswire.Section(s), record.Name, record.Type, record.Class, record.TTL, record.Data) {
				return nil
			}
		}
		e.counts[s] = uint16(len(records))
	}
	e.body = append([]byte(nil), t.builder.Finish()[q.QuestionEnd:]...)
	e.scan()
	return e
}

// scan finds the TTL fields in body, and the address records at the end of the
// answer section, which may be turned when their owner is a pointer, so that
// each can stand anywhere.
func (e *readyEntry) scan() {
	total := int(e.counts[0]) + int(e.counts[1]) + int(e.counts[2])
	e.ttls = make([]uint16, 0, total)
	at := 0
	for i := range total {
		start, pointer := at, e.body[at] >= 0xC0
		for e.body[at] != 0 && e.body[at] < 0xC0 {
			at += 1 + int(e.body[at])
		}
		if at++; e.body[at-1] != 0 {
			at++
		}
		t := rdata.Type(binary.BigEndian.Uint16(e.body[at:]))
		e.ttls = append(e.ttls, uint16(at+4))
		at += 10 + int(binary.BigEndian.Uint16(e.body[at+8:]))
		if i >= int(e.counts[0]) {
			continue
		}
		switch address := t == rdata.TypeA || t == rdata.TypeAAAA; {
		case !address || !pointer:
			e.turnCount = 0
		case e.turnCount > 0 && e.turnSize == at-start:
			e.turnCount++
		default:
			e.turnFrom, e.turnSize, e.turnCount = start, at-start, 1
		}
	}
}

// insert publishes e, in the place of one with its key, or of a slot of its set
// that is free or not in use; then makes room until the shard is in its limit.
func (t *readyTable) insert(e *readyEntry, hash uint64, now instant) {
	index := int(hash & uint64(len(t.sets)-1))
	s, set := &t.shards[index%readyShards], &t.sets[index]
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.octets() > s.limit {
		return
	}
	way := set.place(e, now)
	s.drop(set, way)
	set.entries[way].Store(e)
	set.tags[way].Store(readyTag(hash))
	s.octets += e.octets()
	s.entries++
	for s.octets > s.limit {
		t.sweep(index%readyShards, e, now)
	}
}

// place chooses the slot for e.
func (set *readySet) place(e *readyEntry, now instant) int {
	free, victim := -1, -1
	for i := range set.entries {
		old := set.entries[i].Load()
		switch {
		case old == nil || now >= old.gone:
			free = i
		case old.kind == e.kind && old.name == e.name:
			return i
		case !old.used.Swap(false) && victim < 0:
			victim = i
		}
	}
	switch {
	case free >= 0:
		return free
	case victim >= 0:
		return victim
	}
	return int(now/time.Millisecond) % readyWays // all in use: any
}

// drop empties a slot.
func (s *readyShard) drop(set *readySet, way int) bool {
	old := set.entries[way].Load()
	if old == nil {
		return false
	}
	set.tags[way].Store(0)
	set.entries[way].Store(nil)
	s.octets -= old.octets()
	s.entries--
	return true
}

// sweep moves the shard's hand on until it has emptied one slot: one that is
// expired, or that was not used since the hand last came by. keep stays.
func (t *readyTable) sweep(shard int, keep *readyEntry, now instant) {
	s := &t.shards[shard]
	slots := len(t.sets) / readyShards * readyWays
	for {
		set, way := &t.sets[s.hand/readyWays*readyShards+shard], s.hand%readyWays
		s.hand = (s.hand + 1) % slots
		old := set.entries[way].Load()
		if old == nil || old == keep || (old.used.Swap(false) && now < old.gone) {
			continue
		}
		s.drop(set, way)
		s.evicted++
		return
	}
}

// Flush forgets everything at name and below it, in both levels, and returns how
// many entries that were. An answer whose aliases lead there stays until its TTL
// is over.
func (c *Cache) Flush(name dnsname.Name) int {
	count := 0
	for i := range c.shards {
		count += c.shards[i].flush(name)
	}
	for i := range c.ready.sets {
		s, set := &c.ready.shards[i%readyShards], &c.ready.sets[i]
		s.mu.Lock()
		for way := range set.entries {
			e := set.entries[way].Load()
			if e == nil {
				continue
			}
			owner, _, err := dnsname.FromWire([]byte(e.name))
			if err == nil && owner.IsSubdomainOf(name) && s.drop(set, way) {
				count++
			}
		}
		s.mu.Unlock()
	}
	return count
}

// Stats says how full the cache is.
type Stats struct {
	Records, Answers             int // entries of each level
	RecordOctets, AnswerOctets   int
	RecordEvicted, AnswerEvicted uint64 // entries that had to make room, ever
}

// Stats counts. It takes each lock once.
func (c *Cache) Stats() Stats {
	var st Stats
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		st.Records += len(s.items)
		st.RecordOctets += s.octets
		st.RecordEvicted += s.evicted
		s.mu.Unlock()
	}
	for i := range c.ready.shards {
		s := &c.ready.shards[i]
		s.mu.Lock()
		st.Answers += s.entries
		st.AnswerOctets += s.octets
		st.AnswerEvicted += s.evicted
		s.mu.Unlock()
	}
	return st
}
