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
// it is larger than 4096 octets, nor if there is no room for answers at all.
func (c *Cache) PutAnswer(now time.Time, r Ready) bool {
	if c.limits.AnswerOctets == 0 {
		return false
	}
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
	e.ttl = uint32(ttl)
	c.ready.insert(e, c.hash(r.Name.Wire(), e.kind), e.born)
	c.own.noteAnswer(r, e.kind)
	return true
}

// assemble writes r's records as a message and cuts the entry out of it; nil if
// it is too large.
func (t *readyTable) assemble(r Ready) *readyEntry {
	t.build.Lock()
	defer t.build.Unlock()
	var q dnswire.Query
	t.question = dnswire.AppendQuery(t.question[:0], dnswire.QuerySpec{Name: r.Name, Type: r.Type, Class: r.Class})
	if q.Parse(t.question) != dnswire.Accept {
		return nil
	}
	t.builder.Reset(&q, t.scratch[:readyMost], readyMost)
	e := &readyEntry{kind: readyKind(r.Type, r.Class, r.DO, r.CD), rcode: r.Rcode, failure: r.Failure, secure: r.Secure}
	for s, records := range [...][]rdata.Record{r.Answer, r.Authority, r.Additional} {
		for _, record := range records {
			if !t.builder.Add(dnswire.Section(s), record.Name, record.Type, record.Class, record.TTL, record.Data) {
				return nil
			}
		}
		e.counts[s] = uint16(len(records))
	}
	body := t.builder.Finish()[q.QuestionEnd:]
	e.fill(r.Name, body)
	return e
}

// fill gives e, whose counts are set, its name and records. It notes where TTL fields
// are, and which address records at the end of the answer section may be turned: when
// their owner is a pointer, so that each can stand anywhere.
func (e *readyEntry) fill(name dnsname.Name, body []byte) {
	total := e.records()
	e.nameLen = uint8(name.Len())
	e.data = append(append(make([]byte, 0, name.Len()+len(body)+2*total), name.Wire()...), body...)
	at := 0
	for i := range total {
		start, pointer := at, body[at] >= 0xC0
		for body[at] != 0 && body[at] < 0xC0 {
			at += 1 + int(body[at])
		}
		if at++; body[at-1] != 0 {
			at++
		}
		t := rdata.Type(binary.BigEndian.Uint16(body[at:]))
		e.data = binary.BigEndian.AppendUint16(e.data, uint16(at+4))
		at += 10 + int(binary.BigEndian.Uint16(body[at+8:]))
		if i >= int(e.counts[0]) {
			continue
		}
		switch address := t == rdata.TypeA || t == rdata.TypeAAAA; {
		case !address || !pointer:
			e.turnCount = 0
		case e.turnCount > 0 && int(e.turnSize) == at-start:
			e.turnCount++
		default:
			e.turnFrom, e.turnSize, e.turnCount = uint16(start), uint16(at-start), 1
		}
	}
}

// insert publishes e, in the place of one with its key, or of a slot of its set
// that is free or in least use; then makes room until the shard is in its limit.
func (t *readyTable) insert(e *readyEntry, hash uint64, now instant) {
	index := t.set(hash)
	s, set := &t.shards[index%readyShards], &t.sets[index]
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.octets() > s.limit {
		return
	}
	way := t.place(set, e, now)
	if old := set.entries[way].Load(); old != nil && old.is(e.name().Wire(), e.kind) {
		if e.rcode == dnswire.RcodeServFail && old.rcode != dnswire.RcodeServFail && now < old.until() {
			return // it was asked for before the other came, from disk or ahead of its time
		}
		e.main = old.main
		e.inherit(old, now)
	} else {
		e.main = e.main || s.ghosts.has(ghostOf(hash))
	}
	t.drop(s, set, way)
	e.at = uint32(index*readyWays + way)
	set.entries[way].Store(e)
	set.tags[way].Store(readyTag(hash))
	t.push(s.queueOf(e), e)
	s.octets += e.octets()
	s.entries++
	for s.octets > s.limit || s.entries > s.most {
		t.evict(s, now)
	}
}

func ghostOf(hash uint64) uint32 { return uint32(hash >> 24) }

func (s *readyShard) queueOf(e *readyEntry) *readyQueue {
	if e.main {
		return &s.main
	}
	return &s.probation
}

// place chooses the slot for e: that of its key, a free one, or of those in the set
// that which is worth least.
func (t *readyTable) place(set *readySet, e *readyEntry, now instant) int {
	free, victim, least := -1, 0, uint32(1<<31)
	for i := range set.entries {
		old := set.entries[i].Load()
		if old == nil {
			free = i
			continue
		}
		if old.is(e.name().Wire(), e.kind) {
			return i
		}
		if now >= t.gone(old) {
			free = i
			continue
		}
		worth := usesIn(old.marks.Load())
		if old.main {
			worth += usesMask + 1
		}
		if worth < least {
			victim, least = i, worth
		}
	}
	if free >= 0 {
		return free
	}
	return victim
}

// drop empties a slot.
func (t *readyTable) drop(s *readyShard, set *readySet, way int) bool {
	old := set.entries[way].Load()
	if old == nil {
		return false
	}
	t.unlink(s.queueOf(old), old)
	set.tags[way].Store(0)
	set.entries[way].Store(nil)
	s.octets -= old.octets()
	s.entries--
	return true
}

// evict takes the oldest of the queue whose turn it is: out, or on to main.
func (t *readyTable) evict(s *readyShard, now instant) {
	q := &s.probation
	if q.tail == noSlot || s.main.tail != noSlot && q.octets <= s.limit/probationPart {
		q = &s.main
	}
	e := t.entry(q.tail)
	uses := usesIn(e.marks.Load())
	if uses > 0 && now < t.gone(e) {
		if e.main {
			uses--
		} else {
			uses = 0
		}
		e.setUses(uses)
		t.unlink(q, e)
		e.main = true
		t.push(&s.main, e)
		return
	}
	if !e.main {
		s.ghosts.add(ghostOf(t.rehash(e)))
	}
	t.drop(s, &t.sets[e.at/readyWays], int(e.at%readyWays))
	s.evicted++
}

// Stats says how full the cache is.
type Stats struct {
	Records, Answers             int // entries of each level
	RecordOctets, AnswerOctets   int
	RecordEvicted, AnswerEvicted uint64 // entries that had to make room, ever
	RecordLimit, AnswerLimit     int    // octets
}

// Stats counts. It takes each lock once.
func (c *Cache) Stats() Stats {
	st := Stats{RecordLimit: c.limits.RecordOctets, AnswerLimit: c.limits.AnswerOctets}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		st.Records += s.count
		st.RecordOctets += s.taken()
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
