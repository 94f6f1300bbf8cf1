// Package iterate resolves names from the root down: a pure state machine that
// turns events (questions, replies, timeouts) into actions (queries to send,
// answers).
//
// It owns every decision of iterative resolution: which server is asked, what of
// its reply is believed, when to try again, when to give up. It does not own
// sockets, timers, or a clock (package outbound; in tests, a script), nor memory
// of records (package rrcache).
//
//	client   one Ask: its alias chain, its budget         waits for one lookup
//	lookup   one (name, type) on its way down the tree    waits for one exchange, or
//	         from zone cut to zone cut                    for lookups of server addresses
//	exchange one query to one server                      waits for the network
//
// There is at most one lookup for a question, however many clients and other
// lookups wait for it, and at most one open exchange for a lookup. So no two
// identical queries are ever outstanding, which is what birthday attacks need
// (RFC 5452 §5). Each lookup is paid for by one of the clients behind it.
//
// Entry points: New, Resolver.Step, Resolver.FromCache.
//
// Concurrency: a Resolver belongs to one goroutine, except for FromCache, which
// any may call.
//
// Sources: RFC 1034 §5.3.3, RFC 2181, RFC 2308, RFC 5452, RFC 6672, RFC 6891,
// RFC 7766, RFC 8914, RFC 9520, RFC 9609.
package iterate

import (
	"net/netip"
	"sync/atomic"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
	"pharos/internal/resolver/seats"
)

// question is what a lookup is about. The class is always IN.
type question struct {
	name dnsname.Name
	t    rdata.Type
	near netip.Prefix // the network that it is for; invalid: for all (see subnet.go)
}

// priming is the question that tells the root's servers (RFC 9609 §3).
var priming = question{name: dnsname.Root, t: rdata.TypeNS}

// Resolver is the machine. It belongs to one goroutine.
type Resolver struct {
	// Constant after New.
	cfg    Config
	limits Limits
	cache  *rrcache.Cache
	hints  *rrcache.Delegation // until a Hints
	// Servers at loopback addresses are asked: only when a root hint is one, as in
	// a laboratory. Elsewhere such an address comes from somebody who wants this
	// machine to talk to itself.
	loopback bool

	// Of the present Step.
	now   time.Time
	acts  []Action
	wakes []wake // what is to go on before Step returns

	clients   seats.Table[*client] // by token
	timers    seats.Table[*client] // by exchange of its Wait
	lookups   map[question]*lookup
	exchanges seats.Table[*exchange]
	last      uint64 // exchange number given out last

	routes     routes
	routesNow  atomic.Pointer[routes] // for FromCache, which others call
	hosts      hosts
	crowds     crowds
	quiet      quiet
	failing    failing
	anchors    anchors
	chains     keyring
	denials    denials
	reports    reports
	subnets    subnets
	memo       *dnssec.Memo
	familyOff  [2]time.Time // IPv4, IPv6: no route until then
	hintsUntil time.Time    // priming failed: the hints serve as root until then
	began      time.Time    // the first Step
	steps      uint64       // number of the last step of a story
	background int          // clients that have been answered, or are nobody's
	walk       uint64       // number of the last search for a cycle
	counters   Counters
}

// Counters count what happened since New.
type Counters struct {
	Questions, Merged      uint64          // asks; lookups that somebody was already waiting for
	Sent, SentTCP          uint64          // outgoing queries; among them those over TCP
	SentEncrypted          [DoQ + 1]uint64 // and those over each encrypted transport
	Timeouts, NetworkFails uint64
	Ignored                uint64 // packets that were no reply to their exchange's question
	Lame                   uint64
	Failures               uint64             // questions answered SERVFAIL
	Synthesised            uint64             // denials made of what proved others, and answers of wildcards that were known
	Stale                  uint64             // questions answered with what has expired
	Reports                uint64             // sent to agents of zones (RFC 9567)
	Secure, Insecure       uint64             // questions answered after validation
	Bogus                  uint64             // failures because of validation
	Signatures, Hashes     uint64             // checks and NSEC3 hashes done
	Limits                 [limitCount]uint64 // how often each Limit was met
}

// New returns a Resolver that has asked nothing yet.
func New(cfg Config) *Resolver {
	if len(cfg.Hints) == 0 && !cfg.NoHints {
		cfg.Hints = RootHints()
	}
	if cfg.Port == 0 {
		cfg.Port = 53
	}
	r := &Resolver{
		cfg: cfg, limits: cfg.Limits.withDefaults(), cache: cfg.Cache,
		lookups: make(map[question]*lookup),
		crowds:  newCrowds(), anchors: newAnchors(cfg), memo: dnssec.NewMemo(),
	}
	r.divideMemory(r.limits.Memory)
	r.setHints(cfg.Hints)
	r.setRoutes(newRoutes(cfg.Routes))
	return r
}

// Step takes one event in and appends to acts what is to be done about it. now
// must not go back. Events of exchanges that are closed are ignored.
func (r *Resolver) Step(now time.Time, ev Event, acts []Action) []Action {
	if r.now, r.acts = now, acts; r.began.IsZero() {
		r.began = now
	}
	switch ev := ev.(type) {
	case Ask:
		r.ask(ev)
	case Arrived:
		if x := r.exchanges.Get(ev.Exchange); x != nil {
			x.took = ev.Took
			r.arrived(x, ev.Msg)
		}
	case Expired:
		if x := r.exchanges.Get(ev.Exchange); x != nil {
			r.timedOut(x)
		} else if c := r.timers.Get(ev.Exchange); c != nil {
			r.timeUp(c)
		}
	case Trust:
		r.retrust(ev)
	case Reroute:
		r.reroute(ev)
	case Hints:
		r.rehint(ev)
	case Failed:
		if x := r.exchanges.Get(ev.Exchange); x != nil {
			r.notSent(x, ev.Err)
		}
	}
	for at := 0; at < len(r.wakes) || len(r.reports.due) > 0; {
		if at == len(r.wakes) {
			r.sendReports()
			continue
		}
		w := r.wakes[at]
		at++
		r.wakeUp(w)
	}
	clear(r.wakes)
	acts, r.acts, r.wakes = r.acts, nil, r.wakes[:0]
	return acts
}

// Counters returns the counters.
func (r *Resolver) Counters() Counters { return r.counters }

// Outstanding returns the number of questions in work and of open exchanges.
func (r *Resolver) Outstanding() (questions, exchanges int) {
	return r.clients.Len(), r.exchanges.Len()
}

func (r *Resolver) do(a Action) { r.acts = append(r.acts, a) }

func (r *Resolver) number() uint64 {
	r.last++
	return r.last
}

// waiter is who waits for a lookup: a client or another lookup.
type waiter struct {
	client *client
	lookup *lookup
}

// wake is news for a waiter: the lookup it waited for has come to its result.
type wake struct {
	to   waiter
	from *lookup
}

func (r *Resolver) wakeUp(w wake) {
	if c := w.to.client; c != nil {
		switch {
		case c.done:
		case c.waits == w.from:
			c.waits = nil
			r.resume(c, w.from)
		case c.fetches(w.from):
			r.fetched(c, w.from)
		}
		return
	}
	if l := w.to.lookup; !l.done && l.waitsFor(w.from) {
		l.forget(w.from)
		r.targetDone(l, w.from)
	}
}

// join makes w wait for the lookup of q, which is started if need be. cost is
// who pays for a new one. The caller has excluded cycles (see wouldCycle).
func (r *Resolver) join(q question, w waiter, cost *client, depth int) *lookup {
	l := r.lookups[q]
	if l != nil {
		r.counters.Merged++
		l.waiters = append(l.waiters, w)
		l.depth = min(l.depth, depth)
	} else {
		l = &lookup{q: q, depth: depth, payer: cost, story: r.newStory()}
		l.waiters = append(l.usual[:0], w)
		r.lookups[q] = l
	}
	if r.cfg.Untold {
		return l
	}
	if w.client != nil {
		w.client.story.join(l.story)
	} else {
		w.lookup.story.join(l.story)
	}
	return l
}

// part removes a waiter from a lookup, which is abandoned when it was the last.
func (r *Resolver) part(l *lookup, w waiter) {
	for i, other := range l.waiters {
		if other == w {
			l.waiters = append(l.waiters[:i], l.waiters[i+1:]...)
			break
		}
	}
	if len(l.waiters) > 0 || l.done {
		return
	}
	r.end(l)
}

// end takes a lookup out of the machine: its exchange is closed, and what it
// waited for is parted from.
func (r *Resolver) end(l *lookup) {
	l.done = true
	delete(r.lookups, l.q)
	if l.exchange != nil {
		r.close(l.exchange)
	}
	subs := l.subs
	l.subs = nil
	for _, s := range subs {
		r.part(s.lookup, waiter{lookup: l})
	}
}

// settle ends a lookup with its result and wakes who waits.
func (r *Resolver) settle(l *lookup, res result) {
	r.end(l)
	l.result = res
	if f := res.failure; f != nil && !f.limited {
		f.id = r.newFailureID()
		r.rememberFailure(l.q, f, 0)
	}
	for _, w := range l.waiters {
		r.wakes = append(r.wakes, wake{to: w, from: l})
	}
	l.waiters = nil
}
