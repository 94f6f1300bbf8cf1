package iterate

import (
	"math/rand/v2"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// This file is how little of a question its servers are shown (RFC 9156), and how
// its name is written so that a forger has to guess that too (0x20).

// Names with many labels would cost a query for each. RFC 9156 §2.3.
const (
	minimiseMost   = 10 // queries with less than the whole name, for one lookup: MAX_MINIMISE_COUNT
	minimiseSingle = 4  // of these, how many show one label more only: MINIMISE_ONE_LAB
)

// disclosure is how much of a lookup's name the servers of its zone are shown.
type disclosure struct {
	labels int  // of the name asked for; 0: not decided for this zone yet
	steps  int  // queries with less than the whole name so far, in all zones
	whole  bool // the servers of this zone do not answer well when shown less
}

// askNext returns the question that the servers of l's zone are asked: l's own, or one
// about an ancestor of its name, of a type that gives nothing away (RFC 9156 §2.1).
func (r *Resolver) askNext(l *lookup) question {
	total := l.q.name.Labels()
	if !r.cfg.Minimise || l.q == priming || l.forwards() || l.shown.whole || l.shown.labels >= total {
		return l.q
	}
	if l.shown.labels == 0 {
		l.shown.labels = r.firstShown(l, total)
	}
	if l.shown.labels >= total {
		return l.q
	}
	return question{name: l.q.name.Ancestor(l.shown.labels), t: rdata.TypeA}
}

// firstShown returns how many labels the servers of a zone are shown first: one
// below the zone, or below what is known to exist in it.
func (r *Resolver) firstShown(l *lookup, total int) int {
	at := l.cut.Zone.Labels() + 1
	for ; at < total; at++ {
		name := l.q.name.Ancestor(at)
		e := r.cache.Get(r.now, name, rdata.TypeA)
		if e == nil {
			e = r.cache.Get(r.now, name, rdata.TypeCNAME)
		}
		if e == nil || e.Kind == rrcache.NXDomain {
			break
		}
	}
	if l.shown.steps >= minimiseMost {
		return total
	}
	return at
}

// showMore lets the next query of l show more of its name: a label, or, of a name
// with very many, so many that minimiseMost is kept.
func (l *lookup) showMore() {
	l.shown.steps++
	add, left := 1, l.q.name.Labels()-l.shown.labels
	if l.shown.steps >= minimiseSingle {
		add = max(1, left/max(1, minimiseMost-l.shown.steps))
	}
	if l.shown.steps >= minimiseMost {
		add = left
	}
	l.shown.labels += add
}

// learnt goes on with l after a reply to less than its question that is no
// referral. That the name asked for exists, or is an alias, says nothing of the
// names below it. All else may be the fault of a server that knows no empty
// non-terminals, or answers only what it has, so that the whole name decides (RFC
// 9156 §2.3 and §3: the relaxed way).
func (r *Resolver) learnt(l *lookup, rep reply) {
	switch {
	case rep.verdict == nxDomain && r.cfg.Validate && rep.hasSOA && len(rep.denial) > 0:
		// RFC 8020 §2, and signed: what proves that a name does not exist proves it of
		// the names below.
		rep.target, rep.t = l.q.name, l.q.t
		r.keep(rep)
		r.settle(l, rep.result)
		return
	case rep.verdict == answered, rep.verdict == noData, rep.verdict == aliased && !hasDNAME(rep.chain):
		r.keep(rep)
		l.showMore()
	default:
		l.shown.whole = true
	}
	l.sends = 0 // a new question: at most minimiseMost times
	for i := range l.places {
		l.places[i].tries = 0
	}
	r.next(l)
}

func hasDNAME(chain []rdata.Record) bool {
	for _, record := range chain {
		if record.Type == rdata.TypeDNAME {
			return true
		}
	}
	return false
}

// mixCase gives each letter of the question's name in msg a case at random, which
// a reply has to repeat: one bit more for a forger to guess with each letter.
func mixCase(msg []byte, random *rand.Rand) {
	bits, left := uint64(0), 0
	for i := dnswire.HeaderLen; msg[i] != 0; i += 1 + int(msg[i]) {
		for at := i + 1; at <= i+int(msg[i]); at++ {
			if msg[at] < 'a' || msg[at] > 'z' {
				continue
			}
			if left == 0 {
				bits, left = random.Uint64(), 64
			}
			if bits&1 != 0 {
				msg[at] -= 'a' - 'A'
			}
			bits, left = bits>>1, left-1
		}
	}
}

// plainCase writes the question's name in msg, a reply, in lower case: names in its
// records that point there would else carry our own mixture further.
func plainCase(msg []byte, name dnsname.Name) { copy(msg[dnswire.HeaderLen:], name.Wire()) }
