package node

import (
	"pharos/internal/authority/answer"
	"pharos/internal/authority/live"
	"pharos/internal/authority/steered"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/outbound"
	"pharos/internal/resolver/owncut"
	"pharos/internal/resolver/rewrite"
	"pharos/internal/serve/dnsserver"
)

// This file is the way of a query, from the listener's hands back into them:
//
//	socket -> decide -> zone of ours: answer, its steered names from a pool
//	                 -> recursion:    ready answer, or ask the resolver
//	                 -> nothing:      REFUSED, with the reason
//	       -> size, EDNS -> socket
//
// Everything up to a ready answer happens on the loop that read the socket,
// without a lock and without allocating.

// plan is who answers a query.
type plan struct {
	zone     *zone.Zone // of ours, nil if none is at or above the name
	in       *Snapshot  // that has the zone: of the view, or from outside
	transfer bool       // not an answer but the zone: see transferOut
	recurse  bool       // the resolver may be asked
	fromHere bool       // RD=0 from a client that may recurse: what the cache has
	identity string     // of class CH: what is told, if anything
	rcode    dnswire.Rcode
	ede      dnswire.EDE
	why      string // of a refusal: constant text, for EDE and explain
}

// refuse makes a plan a refusal.
func (p *plan) refuse(rcode dnswire.Rcode, ede dnswire.EDE, why string) {
	*p = plan{rcode: rcode, ede: ede, why: why}
}

// decide says in p, which is zero, who answers q. It is the one place where that is
// decided; explain asks it too.
func (s *Snapshot) decide(q *dnswire.Query, a *asker, p *plan) {
	switch {
	case q.Class == rdata.ClassCH:
		*p = s.decideChaos(q)
		return
	case q.Class != rdata.ClassIN && q.Class != rdata.ClassANY:
		p.refuse(dnswire.RcodeRefused, dnswire.EDENotSupported, "only class IN is served")
		return
	case q.Type.IsMeta() && q.Type != rdata.TypeANY:
		if q.Type == rdata.TypeAXFR || q.Type == rdata.TypeIXFR {
			p.transfer = true
			return
		}
		ede := dnswire.EDENotSupported
		if q.Type == rdata.TypeNXNAME { // RFC 9824 §3.5
			ede = dnswire.EDEInvalidQueryType
		}
		p.refuse(dnswire.RcodeFormErr, ede, "not a type that can be asked for")
		return
	}
	allowed := s.recursion.Allows(a.client)
	p.recurse, p.fromHere = allowed && q.RD(), allowed && !q.RD()
	p.zone, p.in = s.find(q.Name, q.Type)
	switch {
	case p.zone != nil:
		if !p.in.mayQuery(p.zone, a.client, a.key) {
			p.refuse(dnswire.RcodeRefused, dnswire.EDEProhibited, "the zone is not for this client")
		}
	case s.isBroken(q.Name) || s.under != nil && s.under.isBroken(q.Name):
		p.refuse(dnswire.RcodeServFail, dnswire.EDENotReady, "the zone is configured here, but there is no version of it to serve")
	case allowed:
		p.zone, p.in = s.special(q), s
	default:
		p.refuse(dnswire.RcodeRefused, dnswire.EDENotAuthoritative, "not a zone of this server, and no recursion for this client")
	}
}

// isBroken reports whether n belongs to a zone that could not be loaded.
func (s *Snapshot) isBroken(n dnsname.Name) bool {
	if s.broken == 0 {
		return false
	}
	for ; !n.IsZero(); n = n.Parent() {
		if a := s.apexes.Get(n); a != nil && a.served.Zone == nil {
			return true
		}
	}
	return false
}

// expect has what several questions will look at fetched at once.
func (n *Node) expect(questions [][]byte) { n.current.Load().zones.Prefetch(questions) }

// query answers one query. It is the Handler of the DNS listeners.
func (n *Node) query(r *dnsserver.Request) dnsserver.Verdict {
	s := n.current.Load()
	if len(s.access) > 0 {
		if a := s.refuses(r.Client.Addr(), r.Local); a != nil {
			return a.refuse(r)
		}
	}
	if r.Query.TSIG != 0 || r.Query.Opcode() != dnswire.OpcodeQuery {
		return n.queryPeer(s, r)
	}
	return n.answer(s, r, dnsname.Name{})
}

// answer answers a query that is signed with key if that is set, in the view that its
// client belongs to.
func (n *Node) answer(s *Snapshot, r *dnsserver.Request, key dnsname.Name) dnsserver.Verdict {
	a := askerAt(r.Client.Addr())
	if a.key = key; len(s.views) > 0 || r.Query.EDNS.Subnet != nil {
		s, a = s.enter(r, key)
	}
	var p plan
	s.decide(&r.Query, &a, &p)
	n.note(s, &p, r)
	r.Out.SetRA(p.recurse || p.fromHere)
	switch {
	case p.rcode != dnswire.RcodeNoError:
		r.Out.SetRcode(p.rcode)
		r.Out.SetEDE(p.ede, p.why)
		return dnsserver.Answered
	case p.zone != nil:
		if p.in.reporting != nil && !n.report(&p, r) {
			return dnsserver.Answered
		}
		return n.queryZone(s, &p, r, &a)
	case p.recurse:
		return n.recurse(s, r, a)
	case p.transfer:
		return n.transferOut(s, r, key)
	case p.identity != "":
		addIdentity(&r.Query, p.identity, &r.Out)
		return dnsserver.Answered
	default:
		return n.queryCache(s, r, a)
	}
}

// queryZone answers from a zone of ours. What lies beyond the zone, below a
// delegation or at the end of an alias, is the resolver's if it may be asked.
func (n *Node) queryZone(s *Snapshot, p *plan, r *dnsserver.Request, a *asker) dnsserver.Verdict {
	if r.Query.EDNS.ZoneVersion || r.Query.EDNS.Expire {
		n.addZoneOptions(p.in, p.zone, &r.Query, &r.Out)
	}
	start := r.Out.Mark()
	options := answer.Options{
		One:     r.Query.Type == rdata.TypeANY && r.Transport == dnsserver.UDP,
		Minimal: s.Config.DNS.MinimalResponses,
	}
	if r.Query.EDNS.DO {
		options.Live, options.Work = p.in.signerOf(p.zone), live.Work{Now: r.Now, Proven: r.Transport != dnsserver.UDP || r.HasCookie}
	}
	var outcome answer.Outcome
	answer.Into(&outcome, &options, &r.Query, p.zone, r.Rotation, &r.Out)
	if outcome.Kind == answer.Steered {
		var scope int
		q := p.in.steeredQuestion(options, &r.Query, p.zone, a.near, r.Now)
		n.past.keep(&q, r)
		outcome, scope = steered.Add(q, outcome, &r.Out)
		r.Out.RaiseScope(scope)
	}
	if outcome.Unsigned != live.Signed {
		r.Out.Rollback(start)
		return n.withoutSignature(late{p.in, p.zone, options, r.Rotation, a.near}, outcome.Unsigned, r)
	}
	switch outcome.Kind {
	case answer.Referral:
		if !p.recurse {
			break
		}
		if outcome.Aliases > 0 {
			owncut.Learn(n.cacheOf(s), r.Now, p.zone, outcome.Last.Cut)
			return n.resolveAlias(s, r, *a)
		}
		r.Out.Rollback(start)
		r.Out.SetAA(false)
		r.Out.SetTC(false)
		if s.rules() == nil && n.cacheOf(s).Answer(r.Now, &r.Query, &r.Out, r.Rotation) {
			return dnsserver.Answered
		}
		owncut.Learn(n.cacheOf(s), r.Now, p.zone, outcome.Last.Cut)
		return n.recurse(s, r, *a)
	case answer.Partial:
		if p.recurse && !outcome.Truncated {
			return n.resolveAlias(s, r, *a)
		}
	}
	return dnsserver.Answered
}

// resolveAlias hands the end of the alias chain in r.Out to the resolver.
func (n *Node) resolveAlias(s *Snapshot, r *dnsserver.Request, a asker) dnsserver.Verdict {
	d := r.Defer() // before Finish, which changes the header in place
	if d == nil {
		return dnsserver.Answered
	}
	msg := r.Out.Finish()
	if chain, target := answer.Chain(msg); !target.IsZero() {
		n.ask(s, d, target, chain, a)
	} else if err := d.Send(msg); err != nil { // a loop, or too long: the chain is the answer
		n.log.Debug("late answer not sent", "client", d.Client(), "error", err)
	}
	return dnsserver.Later
}

// queryCache answers a query with RD=0 of a client that may recurse: with what
// the cache has, be it a referral (RFC 1034 §4.3.2).
func (n *Node) queryCache(s *Snapshot, r *dnsserver.Request, by asker) dnsserver.Verdict {
	if rules := s.rules(); rules != nil {
		return n.cacheByRules(s, rules, r, by.near)
	}
	o := asking{Options: outbound.Options{DO: r.Query.EDNS.DO}, place: by.near, recalls: true}
	n.askResolver(s, r.Query.Name.Clone(), r.Query.Type, o, func(a iterate.Answer) {
		r.Out.RaiseScope(a.Scope)
		a.Write(&r.Out)
	})
	return dnsserver.Answered
}

// resolve hands the query to the resolver, which answers it later.
func (n *Node) resolve(s *Snapshot, r *dnsserver.Request, a asker) dnsserver.Verdict {
	d := r.Defer()
	if d == nil {
		return dnsserver.Answered // too many wait already: SERVFAIL, as Defer has put it
	}
	n.ask(s, d, r.Query.Name.Clone(), nil, a)
	return dnsserver.Later
}

// ask asks the resolver for name on behalf of d, which is answered with chain
// and what is found.
func (n *Node) ask(s *Snapshot, d *dnsserver.Deferred, name dnsname.Name, chain []rdata.Record, a asker) {
	if rules := s.rules(); rules != nil {
		n.answerByRules(s, rules, d, name, chain, a.near)
		return
	}
	n.askResolver(s, name, d.Query().Type, s.optionsOf(d), func(a iterate.Answer) { n.sendResult(d, chain, rewrite.Result{Answer: a}) })
}

// reply sends an answer that is late, as write makes it.
func (n *Node) reply(d *dnsserver.Deferred, write func(out *dnswire.Builder)) {
	b := n.builders.Get().(*lateBuilder)
	defer n.builders.Put(b)
	b.out.Reset(d.Query(), b.buf[:], d.Limit())
	n.edns.options.Add(d.Query(), d.Client().Addr(), d.Transport(), clock.Now(), &b.out)
	write(&b.out)
	if err := d.Send(b.out.Finish()); err != nil {
		n.log.Debug("late answer not sent", "client", d.Client(), "error", err)
	}
}

// lateBuilder is what a late answer is made in.
type lateBuilder struct {
	out dnswire.Builder
	buf [dnswire.MaxMessage + dnswire.BufferSlack]byte
}
