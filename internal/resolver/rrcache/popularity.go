package rrcache

import (
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// This file is how much answers are asked for: what makes room last, and what is
// fetched anew before its time is over.
//
// Fetching ahead spares the next client the wait, and costs the rest of the time that
// the old answer had. So it is for answers that somebody will ask for: an answer is
// popular that was asked for PrefetchAsks times in its time. What it was asked for
// before that counts half, and half of that for each further time that has gone by. An
// answer that was asked for k times is asked for once in a kth of its time, on average;
// within three times as long it is with 95 %. So it is fetched by who asks within that
// before its end, but within a tenth at least, as in Unbound and PowerDNS, and a quarter
// at most, so that servers are asked by a third more often at worst.

// The marks of an answer.
//
//	bits 0-1   uses: up to 3, less one each time its turn to make room comes
//	bit  2     told: that it is to be fetched again
//	bits 3-8   asks: how often it was asked for in its time, up to 60
const (
	markTold  = 1 << 2
	asksShift = 3
	asksMost  = 60 // no more is to be known: three times a 60th is below a tenth
)

func usesIn(marks uint32) uint32 { return marks & usesMask }
func asksIn(marks uint32) uint32 { return marks >> asksShift }

// use notes that e was asked for, and returns its marks. Once they are full it writes
// nothing, so that processors do not take the entry from each other.
func (e *readyEntry) use(at instant) uint32 {
	old := e.marks.Load()
	marks := old
	if usesIn(marks) < usesMask && at-e.born >= useAfter {
		marks++
	}
	if asksIn(marks) < asksMost {
		marks += 1 << asksShift
	}
	if marks != old {
		e.marks.CompareAndSwap(old, marks) // of two at once one is not counted: no matter
	}
	return marks
}

func (e *readyEntry) setUses(n uint32) {
	for {
		old := e.marks.Load()
		if e.marks.CompareAndSwap(old, old&^usesMask|n) {
			return
		}
	}
}

// inherit gives e the popularity of the answer whose place it takes.
func (e *readyEntry) inherit(old *readyEntry, now instant) {
	marks := old.marks.Load()
	times := 1 + max(now-old.until(), 0)/max(old.until()-old.born, time.Second)
	e.marks.Store(usesIn(marks) | asksIn(marks)>>min(uint64(times), 31)<<asksShift)
}

// Question is what an answer is kept for. The class is IN.
type Question struct {
	Name   dnsname.Name
	Type   rdata.Type
	DO, CD bool
}

// OnDue has tell called, once for each answer, when one that is popular is given out
// near the end of its time: who fetches it then spares those who ask later the wait.
// tell is called on the loops of listeners, and must neither block nor keep the name's
// memory. It is set before the first use of the cache.
func (c *Cache) OnDue(tell func(Question)) { c.ready.onDue = tell }

// due tells that e, which has just been asked for, is to be fetched again, if it is.
func (t *readyTable) due(e *readyEntry, marks uint32, at instant, q *dnswire.Query) {
	asks := asksIn(marks)
	if marks&markTold != 0 || asks < t.asks || e.rcode == dnswire.RcodeServFail {
		return
	}
	life := e.until() - e.born
	if e.until()-at > min(max(life/10, 3*life/instant(asks)), life/4) || !e.tell() {
		return
	}
	t.onDue(Question{q.Name, q.Type, q.EDNS.DO, q.CD()})
}

// tell sets told; it reports false if it was set.
func (e *readyEntry) tell() bool {
	for {
		marks := e.marks.Load()
		if marks&markTold != 0 {
			return false
		}
		if e.marks.CompareAndSwap(marks, marks|markTold) {
			return true
		}
	}
}
