package node

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/admin/explain"
	"pharos/internal/admin/routedesk"
	"pharos/internal/admin/versions"
	"pharos/internal/authority/answer"
	"pharos/internal/authority/steered"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/proxy/l4proxy"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/outbound"
	"pharos/internal/resolver/owncut"
	"pharos/internal/resolver/rrcache"
	"pharos/internal/traffic/decisions"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// Explain makes the decision that a query or a request would meet now, with the
// functions that make it for them, and tells its steps.
func (n *Node) Explain(ctx context.Context, r api.ExplainRequest) (*explain.Explanation, error) {
	s := n.current.Load()
	e := &explain.Explanation{Client: r.From.String(), At: clock.Now(), Revision: s.Revision}
	switch {
	case r.ID != "":
		if id, err := decisions.ParseID(r.ID); err == nil {
			return n.explainPast(id)
		}
		if l4proxy.ParseID(r.ID) == nil {
			return routedesk.PastConnection(n.streams, r.ID, s.Revision)
		}
		if _, err := iterate.ParseFailureID(r.ID); err != nil {
			return routedesk.Past(n.gateway, r.ID, s.Revision)
		}
		return n.explainFailure(r.ID)
	case r.Stream != "":
		way, err := routedesk.Stream(e, n.streams, r)
		if way != nil {
			e.AddPick(*way, n.evidence(e.At))
			n.newTrafficDesk().ExplainScale(e, way.Pool.Name())
		}
		return e, err
	case r.URL != "":
		return e, n.explainURL(ctx, s, e, r)
	}
	name, err := dnsname.Parse(r.Name)
	if err != nil {
		return nil, &api.Refused{Status: http.StatusBadRequest, Err: err}
	}
	qtype := rdata.TypeA
	if r.Type != "" {
		var ok bool
		if qtype, ok = rdata.ParseType(r.Type); !ok {
			return nil, &api.Refused{Status: http.StatusBadRequest, Err: fmt.Errorf("type: %q is no RR type; want a mnemonic such as AAAA, or TYPEnnn", r.Type)}
		}
	}
	e.Question = fmt.Sprintf("%s %s", name, qtype)
	n.explainName(ctx, s, e, explained{name: name, qtype: qtype, from: r.From, subnet: r.Subnet, anew: r.Resolve})
	return e, nil
}

// explained is a query that is explained.
type explained struct {
	name   dnsname.Name
	qtype  rdata.Type
	from   netip.Addr
	subnet netip.Prefix
	anew   bool // by servers, whatever the cache has

	near     netip.Addr // the address that an answer is chosen for
	resolver *outbound.Driver
	node     *Node
	in       *Snapshot // that answers
}

// explainView tells which view a client belongs to.
func (s *Snapshot) explainView(e *explain.Explanation, x explained) (*Snapshot, asker) {
	a := askerAt(x.from)
	switch trusted := s.subnets.Allows(x.from); {
	case !x.subnet.IsValid():
	case !trusted:
		e.Add(explain.View, fmt.Sprintf("%s is not among dns.clientSubnet.trusted: that it asks for %s is ignored", x.from, x.subnet))
	case x.subnet.Bits() == 0:
		e.Add(explain.View, fmt.Sprintf("%s keeps to itself whom it asks for", x.from))
	default:
		a.near = x.subnet.Addr()
		text := fmt.Sprintf("%s is trusted to ask for %s", x.from, x.subnet)
		if len(s.views) > 0 {
			text += fmt.Sprintf("; the answer is good for its first %d bits", s.scopeOf(a.near))
		}
		e.Add(explain.View, text)
	}
	if len(s.views) == 0 {
		return s, a
	}
	chosen := s.choose(a)
	if chosen.view == nil {
		e.Add(explain.View, fmt.Sprintf("%s belongs to none of %d views, without a key", a.near, len(s.views)))
		return chosen, a
	}
	rule, _ := chosen.view.clients.Decide(a.near)
	then := "other names are answered from the zones outside of views"
	if chosen.under == nil {
		then = "it is isolated: there are no other zones for it"
	}
	e.Add(explain.View, fmt.Sprintf("view %s is for %s, of %s", chosen.viewName(), a.near, rule.Prefix), fmt.Sprintf("%d zones of its own; %s", chosen.apexes.Len(), then))
	return chosen, a
}

// explainName tells the way of a query with RD=1.
func (n *Node) explainName(ctx context.Context, s *Snapshot, e *explain.Explanation, x explained) {
	from := x.from
	q := new(dnswire.Query)
	q.Parse(dnswire.AppendQuery(nil, dnswire.QuerySpec{Name: x.name, Type: x.qtype, Class: rdata.ClassIN, RD: true, EDNS: true}))
	s, a := s.explainView(e, x)
	x.near, x.resolver, x.node, x.in = a.near, n.resolverOf(s), n, s
	if x.anew && x.resolver != nil {
		fresh := n.emptyResolver(s)
		defer fresh.Close()
		x.resolver = fresh
	}
	var p plan
	s.decide(q, &a, &p)
	if p.recurse {
		e.Add(explain.Admission, fmt.Sprintf("%s may use the resolver", from))
	} else {
		e.Add(explain.Admission, fmt.Sprintf("%s may not use the resolver; only the zones of this node are answered", from))
	}
	switch {
	case p.rcode != dnswire.RcodeNoError:
		e.Add(explain.Zone, p.why)
		e.Outcome = p.rcode.String()
	case p.transfer:
		if _, _, why := s.admitTransfer(q, from, dnsname.Name{}, nil); why != nil {
			e.Add(explain.Zone, "without a key and TLS: "+why.Why)
			e.Outcome = why.Rcode.String()
			return
		}
		e.Add(explain.Zone, "the whole zone may be transferred to this address, without a key")
		e.Outcome = dnswire.RcodeNoError.String()
	case p.zone != nil:
		n.explainZone(ctx, s, e, p, q, x)
	default:
		e.Add(explain.Zone, "no zone of this node is at or above the name")
		x.explainResolve(ctx, e, q)
	}
}

// explainZone tells how a zone of ours answers.
func (n *Node) explainZone(ctx context.Context, s *Snapshot, e *explain.Explanation, p plan, q *dnswire.Query, x explained) {
	var out dnswire.Builder
	out.Reset(q, make([]byte, dnswire.MaxMessage+dnswire.BufferSlack), dnswire.MaxMessage)
	outcome := answer.Answer(q, p.zone, 0, &out)
	if s.designated.Has(p.zone) {
		e.Add(explain.Zone, "what the resolver says of itself to its clients (resolver.designated)")
		e.Outcome = out.Rcode().String()
		return
	}
	if isSpecial(p.zone) {
		e.Add(explain.Zone, fmt.Sprintf("%s is for special use: it is answered here, and nobody else is asked (resolver.specialNames)", p.zone.Origin()))
		e.Outcome = out.Rcode().String()
		return
	}
	e.Add(explain.Zone, fmt.Sprintf("zone %s (serial %d) is ours: %s", versions.ID(p.in.viewName(), p.zone.Origin()), p.zone.Serial(), outcome.Kind), explain.Found(p.zone, q.Name, outcome)...)
	switch {
	case outcome.Kind == answer.Steered:
		outcome = n.explainSteer(e, p.in.steeredQuestion(answer.Options{}, q, p.zone, x.near, e.At), outcome, &out)
	case outcome.Kind == answer.Referral && p.recurse && outcome.Aliases == 0:
		owncut.Learn(x.resolver.Cache(), e.At, p.zone, outcome.Last.Cut)
		x.explainResolve(ctx, e, q)
		return
	}
	e.Finish(out.Finish())
	if p.recurse && (outcome.Kind == answer.Partial || outcome.Kind == answer.Referral) {
		owncut.Learn(x.resolver.Cache(), e.At, p.zone, outcome.Last.Cut)
		if _, target := answer.Chain(out.Finish()); !target.IsZero() {
			e.Add(explain.Zone, fmt.Sprintf("the alias chain leaves what is ours at %s", target))
			next := new(dnswire.Query)
			next.Parse(dnswire.AppendQuery(nil, dnswire.QuerySpec{Name: target, Type: q.Type, Class: q.Class, RD: true, EDNS: true}))
			chain := e.Result
			x.explainResolve(ctx, e, next)
			e.Result = append(chain, e.Result...)
		}
	}
}

// explainSteer tells how pools answer, by the code that answers.
func (n *Node) explainSteer(e *explain.Explanation, q steered.Question, o answer.Outcome, out *dnswire.Builder) answer.Outcome {
	o, made := steered.Explain(q, o, out)
	told := map[*pool.View]bool{}
	for _, d := range made {
		e.AddSteering(d)
		if v := d.View(); !told[v] {
			told[v] = true
			e.AddEvidence(v, n.evidence(e.At))
		}
	}
	return o
}

// evidence is what is known of members at now.
func (n *Node) evidence(now time.Time) explain.Evidence {
	return explain.Evidence{Status: n.prober.Status, Beside: n.passive.Evidence, Now: now, History: func(target health.Target, limit int) []health.Event {
		return n.prober.History(limit, func(e health.Event) bool { return e.Target == target })
	}}
}

// explainResolve tells what the cache has, or whom the resolver asks.
func (x explained) explainResolve(ctx context.Context, e *explain.Explanation, q *dnswire.Query) {
	if x.in.rules() != nil {
		x.explainRules(ctx, e, q)
		return
	}
	var out dnswire.Builder
	out.Reset(q, make([]byte, dnswire.MaxMessage+dnswire.BufferSlack), dnswire.MaxMessage)
	switch {
	case x.anew:
		e.Add(explain.Cache, "resolved as with an empty cache, by a resolver made for this explanation")
	case x.resolver.Cache().Answer(clock.Now(), q, &out, 0):
		e.Add(explain.Cache, "a finished answer is ready in the cache; --resolve shows how it comes about")
		e.Finish(out.Finish())
		return
	default:
		e.Add(explain.Cache, "no finished answer is ready in the cache")
	}
	a, err := x.resolver.Resolve(ctx, q.Name.Clone(), q.Type, outbound.Options{Trace: true})
	if err != nil {
		e.Add(explain.Resolve, fmt.Sprintf("the resolver did not answer: %v", err))
		e.Outcome = dnswire.RcodeServFail.String()
		return
	}
	e.AddTrace(a.Trace)
	e.Add(explain.Resolve, fmt.Sprintf("%s, in %v", a.Spent, a.Elapsed.Round(time.Microsecond)))
	if a.State != rrcache.Indeterminate {
		text := fmt.Sprintf("DNSSEC: the answer is %s", a.State)
		if a.Why != "" {
			text += ": " + a.Why
		}
		e.Add(explain.Resolve, text)
	}
	e.Outcome, e.Result = a.Rcode.String(), nil
	for _, r := range a.Answer {
		e.Result = append(e.Result, r.String())
	}
	for _, x := range a.Errors {
		e.Warnings = append(e.Warnings, fmt.Sprintf("%s: %s", x.Code, x.Text))
	}
}
