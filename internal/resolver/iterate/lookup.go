package iterate

import (
	"fmt"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// lookup is one question on its way from the deepest known zone cut down.
//
// Invariant: a lookup that is not done is in Resolver.lookups, has a waiter, and
// has an open exchange or a sub-lookup.
// Invariant: cut.Zone is equal to or above q.name, and strictly deeper after
// every referral.
type lookup struct {
	q       question
	depth   int       // lookups of server addresses that it is nested in
	payer   *client   // who pays for its queries, while that one lasts
	waiters []waiter  // not empty
	usual   [1]waiter // memory of waiters, until there are more
	done    bool
	result  result
	story   *story

	cut     *rrcache.Delegation // whose servers are asked; nil while priming is waited for
	route   *route              // by which cut was come to, if by one
	servers []server            // those of cut
	places  []place             // their addresses
	sends   int                 // queries sent to servers of this cut
	targets int                 // address lookups started for this cut
	limited bool                // a limit kept a server of this cut from being tried
	over    Limit               // the limit met last for this cut
	shown   disclosure          // how much of the name the servers of cut get to see

	exchange  *exchange // the open one; nil while only subs are waited for
	subs      []sub
	walk      uint64  // Resolver.walk when leadsTo was last here
	trouble   trouble // what went wrong, for the extended error
	routeless bool    // routes are over for it
	untold    bool    // a server cannot bear to be told of networks
	fallback  *reply  // of a recursor among the servers of cut, if no other has an answer
}

// sub is a lookup that another waits for: of the address of servers[server], or
// priming, when server is -1.
type sub struct {
	lookup *lookup
	server int
}

// trouble says how a server failed.
type trouble struct {
	ede  dnswire.EDE
	text string
}

func (l *lookup) waitsFor(s *lookup) bool {
	for _, have := range l.subs {
		if have.lookup == s {
			return true
		}
	}
	return false
}

func (l *lookup) forget(s *lookup) {
	for i, have := range l.subs {
		if have.lookup == s {
			l.subs = append(l.subs[:i], l.subs[i+1:]...)
			return
		}
	}
}

// wouldCycle reports whether l, if it waited for s, would wait for itself
// (TsuNAME: two zones whose servers are in each other). It looks at each lookup
// once, however many ways lead there.
func (r *Resolver) wouldCycle(l, s *lookup) bool {
	r.walk++
	return r.leadsTo(s, l) && !r.isWeak(WeakCycles)
}

func (r *Resolver) leadsTo(s, l *lookup) bool {
	if s == l {
		return true
	}
	s.walk = r.walk
	for _, next := range s.subs {
		if next.lookup.walk != r.walk && r.leadsTo(next.lookup, l) {
			return true
		}
	}
	return false
}

// begin starts a lookup at the deepest known zone cut.
func (r *Resolver) begin(l *lookup) {
	from := l.q.name
	if l.q.t == rdata.TypeDS && !from.IsRoot() {
		from = from.Parent() // RFC 4035 §3.1.4.1: DS is on the parent's side of the cut
	}
	cut := r.cache.Delegation(r.now, from)
	if rt := r.ownRoute(l, from, cut); rt != nil {
		r.takeRoute(l, rt)
		return
	}
	if rt := r.routeOf(l, from, cut); rt != nil {
		r.takeRoute(l, rt)
		return
	}
	if cut != nil {
		r.enter(l, cut)
		return
	}
	if l.q == priming || r.now.Before(r.hintsUntil) {
		r.enter(l, r.hints)
		return
	}
	// RFC 9609 §3: first ask one of the hints who the root's servers are.
	p := r.lookups[priming]
	isNew := p == nil
	if !isNew && r.wouldCycle(l, p) { // the address of a hint, which has none, is looked up for priming
		r.giveUp(l)
		return
	}
	p = r.join(priming, waiter{lookup: l}, l.payer, min(l.depth+1, r.limits.Depth))
	l.subs = append(l.subs, sub{p, -1})
	if isNew {
		r.begin(p)
	}
}

// primed goes on with a lookup that waited for priming. If that has not led to
// the root's servers, the hints serve for a while.
func (r *Resolver) primed(l *lookup) {
	if r.cache.Delegation(r.now, dnsname.Root) == nil {
		r.hintsUntil = r.now.Add(primingRetry)
	}
	r.begin(l)
}

// primingRetry is how long after priming failed the hints are used without
// trying again: 1 minute.
const primingRetry = time.Minute

// enter makes cut the zone whose servers l asks.
func (r *Resolver) enter(l *lookup, cut *rrcache.Delegation) {
	r.leave(l)
	l.cut = cut
	for _, s := range cut.Servers[:min(len(cut.Servers), r.limits.ServersPerZone)] {
		l.servers = append(l.servers, server{name: s.Name})
		r.addKnown(l, len(l.servers)-1, s.Addrs)
	}
	r.next(l)
}

// leave forgets the servers that l has asked so far.
func (r *Resolver) leave(l *lookup) {
	for _, s := range l.subs {
		r.part(s.lookup, waiter{lookup: l})
	}
	l.cut, l.route, l.subs, l.sends, l.targets, l.limited, l.over, l.trouble, l.fallback = nil, nil, nil, 0, 0, false, NoLimit, trouble{}, nil
	l.shown.labels, l.shown.whole = 0, false
	l.servers, l.places = l.servers[:0], l.places[:0]
}

// next asks the best server that is left, or looks up addresses, or gives up.
func (r *Resolver) next(l *lookup) {
	if l.exchange != nil {
		return
	}
	most := r.limits.SendsPerZone
	if l.q == priming {
		most = primingSends
	}
	if l.sends >= most {
		if l.q != priming {
			r.exceeds(l, LimitZoneTries)
		}
		l.setTrouble(dnswire.EDENoReachableAuthority, fmt.Sprintf("no useful reply to %d queries", l.sends))
		r.giveUp(l)
		return
	}
	best := r.pick(l)
	// The addresses at hand were all tried once, or are those of liars: the other
	// servers' are worth a lookup now.
	suspect := best >= 0 && l.places[best].host.isSuspect(l.cut.Zone, r.now)
	if best < 0 || suspect || l.places[best].tries > 0 {
		r.startTargets(l)
		if l.done || l.exchange != nil {
			return
		}
	}
	switch {
	case suspect && len(l.subs) > 0: // goes on when they are known
	case best >= 0:
		r.send(l, best)
	case len(l.subs) == 0:
		r.giveUp(l)
	}
}

// primingSends is how many hints are tried before they are used unprimed: 4.
const primingSends = 4

// setTrouble keeps the first trouble, or that nobody answered, which counts more.
func (l *lookup) setTrouble(code dnswire.EDE, text string) {
	if l.trouble.text == "" || code == dnswire.EDENoReachableAuthority {
		l.trouble = trouble{code, text}
	}
}

// giveUp ends l without an answer of a server that should have one.
func (r *Resolver) giveUp(l *lookup) {
	if r.passRoute(l) {
		return
	}
	if l.fallback != nil {
		if l.fallback.near.IsValid() {
			r.keepScoped(l.q, l.fallback.result)
		} else {
			r.keep(*l.fallback)
		}
		r.settle(l, l.fallback.result)
		return
	}
	t := l.trouble
	if t.text == "" {
		t = trouble{dnswire.EDENoReachableAuthority, "no server has an address that can be reached"}
	}
	zone := dnsname.Root
	if l.cut != nil {
		zone = l.cut.Zone
	}
	if zone.IsRoot() && l.route == nil && len(r.hints.Servers) == 0 {
		t.text = "the root's servers are not known: there are no hints"
	}
	if l.over == LimitServers || l.over == LimitDelegation || l.over == LimitDepth {
		t.text += "; " + r.limits.say(l.over)
	}
	text := fmt.Sprintf("%v %v, zone %v: %s", l.q.name, l.q.t, zone, t.text)
	r.note(l, Step{Kind: StepGaveUp, Note: text})
	r.settle(l, result{failure: &failure{ede: t.ede, text: text, limited: l.limited, over: l.over}})
}

// refuse ends l at a limit that says nothing about its name.
func (r *Resolver) refuse(l *lookup, at Limit) {
	r.exceeds(l, at)
	l.limited = true
	l.trouble = trouble{dnswire.EDEOther, r.limits.say(at)}
	r.giveUp(l)
}

// accept takes the reply of a server of l's zone in.
func (r *Resolver) accept(l *lookup, x *exchange, m *dnswire.Message, rep reply) {
	step := Step{Server: x.to.AddrPort, ServerName: x.server, TCP: x.tcp, RTT: r.now.Sub(x.sent), Rcode: m.Rcode}
	rep.bound(r.cache.Limits())
	rep.from, rep.result.zone, rep.others = x.to, l.cut.Zone, r.hasOthers(l, x)
	kind, useful := stepOf[rep.verdict]
	isPart := x.q != l.q && rep.verdict != referral
	if useful || isPart {
		step.Kind, step.Records, step.Target = kind, int32(len(rep.records)), rep.target
		if rep.verdict == referral {
			step.Target = rep.zone
		}
		if isPart && !useful {
			step.Kind = StepRefused
		}
		if x.q != l.q {
			step.Asked, step.AskedType = x.part(), x.q.t
		}
		r.note(l, step)
		if isPart {
			r.learnt(l, rep)
			return
		}
		r.use(l, m, rep)
		return
	}
	r.reject(l, x, m, rep, step)
}

// stepOf has the verdicts that bring a lookup on.
var stepOf = map[verdict]StepKind{
	referral: StepReferral, answered: StepAnswer, aliased: StepAlias,
	noData: StepNoData, nxDomain: StepNXDomain, tooLong: StepAnswer,
}

// use goes down a referral, or ends l with what the reply says.
func (r *Resolver) use(l *lookup, m *dnswire.Message, rep reply) {
	if rep.verdict != referral {
		if rep.near.IsValid() {
			r.keepScoped(l.q, rep.result)
		} else {
			r.keep(rep)
		}
		if l.q == priming && rep.verdict == answered {
			r.learnRoot(m)
		}
		r.settle(l, rep.result)
		return
	}
	notAfter := l.cut.Expires
	if l.cut.Zone.IsRoot() {
		notAfter = time.Time{}
	}
	// A zone cut does not outlive the cut through which it was learnt. So a zone
	// that its parent has dropped is gone when the parent's word is over, whatever
	// the zone's own servers say (ghost domains, CVE-2012-1033 and -2022-30698).
	//
	// Deviates from RFC 2181 §5.4.1: the parent's NS RRset leads to a zone's servers even when the zone's own, which has more trust, is known, because the zone's own would keep a zone alive that the parent has dropped.
	r.keepDS(rep)
	put := r.cache.PutDelegation
	if l.route != nil || r.isWeak(WeakDelegations) {
		notAfter = time.Time{} // what is configured does not expire
	}
	if l.cut.Local {
		put = r.cache.PutLocalDelegation
	}
	r.enter(l, put(r.now, rep.zone, rep.servers, rep.ttl, notAfter))
}

// reject notes what is wrong with the server that x asked, and goes on to
// another.
func (r *Resolver) reject(l *lookup, x *exchange, m *dnswire.Message, rep reply, step Step) {
	l.places[x.place].useless = true
	setLame := func() { r.hosts.setLame(x.to, l.cut.Zone, r.now.Add(lameTime)) }
	switch rep.verdict {
	case lame:
		r.counters.Lame++
		setLame()
		if rep.fallback != nil && l.fallback == nil {
			rep.fallback.bound(r.cache.Limits())
			rep.fallback.from, rep.fallback.result.zone, rep.fallback.others = rep.from, l.cut.Zone, rep.others
			l.fallback = rep.fallback
		}
		step.Kind = StepLame
		l.setTrouble(dnswire.EDENotAuthoritative, fmt.Sprintf("%s does not serve the zone", x.who()))
	case invalid:
		step.Kind, step.Note = StepIgnored, rep.note
		l.setTrouble(dnswire.EDEInvalidData, fmt.Sprintf("%s: %s", x.who(), rep.note))
	default:
		if m.Rcode == dnswire.RcodeRefused {
			setLame()
		}
		step.Kind = StepRefused
		l.setTrouble(dnswire.EDENetworkError, fmt.Sprintf("%s said %v", x.who(), m.Rcode))
	}
	r.note(l, step)
	r.next(l)
}

// keep puts what a reply taught into the cache.
func (r *Resolver) keep(rep reply) {
	trust := rrcache.TrustNonAnswer
	if rep.aa {
		trust = rrcache.TrustAnswer
	}
	for _, part := range rep.parts {
		var denial []rrcache.Signed
		if isExpanded(part) {
			denial = rep.denial
		}
		r.cache.PutSigned(r.now, part, denial, trust)
	}
	if !rep.hasSOA {
		return // RFC 2308 §5: without SOA a negative answer is not cached
	}
	e := rrcache.Entry{Kind: rrcache.NoData, SOA: rep.soa, Sigs: rep.soaSigs, Denial: rep.denial, Trust: trust}
	switch rep.verdict {
	case nxDomain:
		if rep.t != rdata.TypeDS || r.routes[rep.target] == nil { // above its zone; those that a route leads to know better
			e.Kind = rrcache.NXDomain
		}
		fallthrough
	case noData:
		r.cache.PutDenied(r.now, rep.target, rep.t, e, rep.soa.TTL)
	}
}

// learnRoot makes the root's delegation from the reply to the priming query
// (RFC 9609 §3.3 and §4): the servers that it names and their addresses from its
// additional section, or from the hints where it has none.
func (r *Resolver) learnRoot(m *dnswire.Message) {
	sets := group(m.Answer, r.limits.Records)
	for _, set := range sets {
		if set.Type != rdata.TypeNS || !set.Name.IsRoot() {
			continue
		}
		servers, ttl := glued(set, group(m.Additional, r.limits.Records), dnsname.Root, r.limits.ServersPerZone)
		some := false
		for i, s := range servers {
			for _, hint := range r.hints.Servers {
				if hint.Name == s.Name && len(s.Addrs) == 0 {
					servers[i].Addrs = hint.Addrs
				}
			}
			some = some || len(servers[i].Addrs) > 0
		}
		if some {
			r.cache.PutDelegation(r.now, dnsname.Root, servers, ttl, time.Time{})
		}
		return
	}
}
